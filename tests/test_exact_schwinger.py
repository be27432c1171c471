"""Exact answers with fermions: the operator written out, the diamagnetic bound, rejection, 2 x 2 sites, reweighting."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import iv

from refimpl.actions.determinant import log_determinant
from refimpl.actions.dirac import wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix, schur_complement
from refimpl.exact import fermions, schwinger, u1
from refimpl.exact.schwinger_2x2 import LARGEST_BETA, two_by_two
from refimpl.validation.strategies import lattice_shapes

from .gauge_fields import generators, links

BETA, KAPPA = 2.0, 0.265


def plaquette_angle(x):
    return x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]


def plaquette(x):
    return np.cos(plaquette_angle(x)).mean(axis=(1, 2))


def charge_squared(x):
    wrapped = (plaquette_angle(x) + np.pi) % (2 * np.pi) - np.pi
    return np.rint(wrapped.sum(axis=(1, 2)) / (2 * np.pi)) ** 2


def correlator(x, t):
    inverse = np.linalg.inv(schwinger.dirac_matrix(x, KAPPA)).reshape(len(x), *(2, 4, 2, 4))
    return (np.abs(inverse[:, t, :, 0]) ** 2).sum(axis=(1, 2))


# The operator


@given(lattice_shapes(max_extent=4), st.sampled_from([1, 2, 3]), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_written_out_operator_is_the_fast_one(shape, n, antiperiodic, seed):
    x = links(np.random.default_rng(seed), n, 2, shape)
    fast = wilson_dirac(x, KAPPA, antiperiodic=antiperiodic)
    # an entry is a sum of at most three products of three numbers of size 1
    assert np.abs(schwinger.dirac_matrix(x, KAPPA, antiperiodic) - dense_matrix(fast)).max() < 1e-15
    # condition numbers reach 1e4: n^2 roundings of 1e-16, amplified
    assert np.abs(schwinger.log_determinant(x, KAPPA, antiperiodic) - log_determinant(fast)[0]).max() < 1e-9


def test_many_chains_are_done_in_pieces_of_the_same_bits(monkeypatch):
    x = links(np.random.default_rng(1), 1, 7, (2, 3))
    whole = schwinger.log_determinant(x, KAPPA)
    monkeypatch.setattr(schwinger, "_MATRIX_BYTES", 16 * 12**2 * 3)
    assert np.array_equal(schwinger.log_determinant(x, KAPPA), whole)


def test_what_is_no_gauge_field_is_refused():
    for x in (
        np.zeros((1, 3, 2, 2)),
        np.zeros((2, 2, 2)),
        np.zeros((1, 2, 2, 2), complex),
        np.zeros((1, 2, 2, 2, 2, 2)),
    ):
        with pytest.raises(ValueError, match="x: got"):
            schwinger.dirac_matrix(x, KAPPA)


# The diamagnetic bound


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (4, 2), (5, 4)])
@pytest.mark.parametrize("kappa", [0.1, 0.265, 0.5])
def test_no_constant_field_exceeds_the_bound(shape, kappa):
    angles = np.linspace(-np.pi, np.pi, 25)
    grid = max(fermions.log_determinant(kappa, shape, (a, b)) for a in angles for b in angles)
    bound = schwinger.largest_log_determinant(kappa, shape)
    # a sum of at most 20 logarithms
    assert grid <= bound + 1e-13
    # the distance to the grid is at most 0.19 in an angle, the curvature at most that of T X logarithms
    assert grid >= bound - 0.5
    assert schwinger.largest_log_determinant(kappa, shape, antiperiodic=False) == pytest.approx(bound, abs=1e-13)


def test_the_bound_for_even_extents_holds_beyond_one_half():
    angles = np.linspace(-np.pi, np.pi, 33)
    for shape in ((2, 2), (2, 4)):
        grid = max(fermions.log_determinant(0.9, shape, (a, b)) for a in angles for b in angles)
        assert grid == pytest.approx(schwinger.largest_log_determinant(0.9, shape), abs=1e-12)
    with pytest.raises(ValueError, match="n: got 0, expected an integer >= 1"):
        schwinger.largest_log_determinant(0.9, (2, 2), 0)
    with pytest.raises(ValueError, match=r"kappa: got 0\.9, expected at most 1/2 for the odd extents \(2, 3\)"):
        schwinger.largest_log_determinant(0.9, (2, 3))


def largest_found(shape, n, starts, antiperiodic=True):
    """The largest ``log |det D|`` that BFGS finds from random fields, by coordinates along the generators."""
    basis = np.ones((1, 1, 1)) if n == 1 else generators(n)

    def field(w):
        a = np.einsum("...a,aij->...ij", w.reshape(2, *shape, -1), basis)
        value, vector = np.linalg.eigh(a)
        u = (vector * np.exp(1j * value)[..., None, :]) @ vector.conj().swapaxes(-1, -2)
        return np.angle(u[None, ..., 0, 0]) if n == 1 else u[None]

    def minus(w):
        step = 1e-6 * np.eye(w.size)
        x = np.concatenate([field(v) for v in (w, *(w + step), *(w - step))])
        f = -schwinger.log_determinant(x, KAPPA, antiperiodic)
        return f[0], (f[1 : 1 + w.size] - f[1 + w.size :]) / 2e-6

    best = []
    for seed in range(starts):
        w = np.random.default_rng(seed).normal(0, 2, 2 * shape[0] * shape[1] * len(basis))
        best.append(-minimize(minus, w, jac=True, method="L-BFGS-B", options={"maxiter": 60}).fun)
    return max(best)


@pytest.mark.parametrize(("shape", "n"), [((2, 2), 1), ((3, 2), 1), ((3, 3), 1), ((2, 2), 2)])
def test_the_bound_is_reached_by_some_field_and_exceeded_by_none(shape, n):
    bound = schwinger.largest_log_determinant(KAPPA, shape, n)
    # the gradient, by differences, is right to 1e-9; the maximum is quadratic, 60 steps come within 1e-4
    assert largest_found(shape, n, 2) == pytest.approx(bound, abs=1e-4)
    assert largest_found(shape, n, 2) <= bound + 1e-9


def test_su3_stays_below_the_bound_as_no_constant_field_of_it_is_antiperiodic_in_space():
    # eigenphases a_i with X a_i = pi (mod 2 pi) do not add up to 0 for an even X and N = 3
    assert largest_found((2, 2), 3, 1) < schwinger.largest_log_determinant(KAPPA, (2, 2), 3) - 0.5


# 2 x 2 sites


def test_without_hopping_it_is_the_pure_gauge_theory():
    for beta in (0.0, 2.0, 10.0):
        answer = two_by_two(beta, 0.0)
        assert answer.log_z == pytest.approx(0, abs=1e-14)
        assert answer.plaquette == pytest.approx(u1.plaquette(beta, (2, 2)), rel=1e-13)
        # the smallest charge squared here is 2e-15: relative precision, by a sum of positive terms
        assert answer.charge_squared == pytest.approx(4 * u1.charge_susceptibility(beta, (2, 2)), rel=1e-11)
        assert answer.correlator == pytest.approx((4.0, 0.0), abs=1e-13)
        assert answer.condensate == pytest.approx(1, abs=1e-13)


def grid_of_plaquettes(points):
    """Three plaquettes on an equidistant grid, the first up to pi: conjugation of charge gives the rest."""
    p = 2 * np.pi * np.arange(points) / points
    return np.meshgrid(p[: points // 2 + 1], p, p, indexing="ij")


def over_holonomies(a, b, c):
    """The 25 fields of these plaquettes whose holonomies are multiples of 2 pi/5; another gauge than that of the package."""
    for h_0 in 2 * np.pi * np.arange(5) / 5 + 0.1:
        for h_1 in 2 * np.pi * np.arange(5) / 5 + 0.3:
            x = np.zeros((a.size, 2, 2, 2))
            x[:, 1, 1, 0], x[:, 1, 0, 1], x[:, 1, 1, 1] = a.ravel(), h_1, h_1 + c.ravel()
            x[:, 0, 1, 0], x[:, 0, 1, 1] = h_0, h_0 - a.ravel() - b.ravel()
            yield x


def weighted(f, angles, beta):
    """``<f>`` over the plaquettes by the trapezoid rule, under the weight of the gauge action with its factor ``exp(-4 beta)``."""
    a, b, c = angles
    twice = np.where((np.arange(len(a)) == 0) | (np.arange(len(a)) == len(a) - 1), 1, 2)[:, None, None]
    weight = twice * np.exp(beta * (np.cos(a) + np.cos(b) + np.cos(c) + np.cos(a + b + c) - 4))
    return float((weight * f).sum() / (2 * len(a) - 2) / a.shape[1] ** 2)


@functools.cache
def mean_square_determinant():
    """``<det D^2>`` over the holonomies on a grid of plaquettes: the second route, by the Schur complement of the fast operator."""
    angles = grid_of_plaquettes(24)
    total = sum(np.linalg.det(schur_complement(wilson_dirac(x, KAPPA))).real ** 2 for x in over_holonomies(*angles))
    return total.reshape(angles[0].shape) / 25, angles


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_two_by_two_is_the_trapezoid_sum(beta):
    f, (a, b, c) = mean_square_determinant()
    answer = two_by_two(beta, KAPPA)
    z = weighted(f, (a, b, c), beta)
    # Aliasing: I_20(4)/I_0(4) = 4e-14 at beta = 2, with some hundred coefficients.
    assert answer.log_z == pytest.approx(math.log(z / weighted(np.ones_like(f), (a, b, c), beta)), abs=1e-11)
    cosine = (np.cos(a) + np.cos(b) + np.cos(c) + np.cos(a + b + c)) / 4
    assert answer.plaquette == pytest.approx(weighted(f * cosine, (a, b, c), beta) / z, rel=1e-11)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_charge_on_two_by_two_is_the_curvature_of_the_theta_sum(beta):
    """``Z(theta) = Z_0 + 2 Z_1 cos theta``, and ``Z(pi)`` from plaquette integrals of half-integer frequency: no simplex."""
    half, _ = mean_square_determinant()
    back = -np.arange(24) % 24
    f = np.concatenate([half, half[11:0:-1, back][:, :, back]])
    coefficients = np.fft.fftn(f, norm="forward").real
    k = np.arange(-2010, 2010) + 0.5
    m = np.arange(-60, 61)
    c = np.sinc(k[:, None] - m) @ iv(m, beta)
    assert np.abs(coefficients[5:20]).max() < 1e-13
    assert np.abs(coefficients[:, 3:22]).max() < 1e-13
    middle = slice(10, -10)
    z_pi = z_0 = 0.0
    for index in np.ndindex(9, 5, 5):
        shifts = index[0] - 4, index[1] - 2, index[2] - 2
        z_pi += coefficients[shifts] * (c[middle] * np.prod([np.roll(c, -s)[middle] for s in shifts], axis=0)).sum()
        z_0 += coefficients[shifts] * (iv(m, beta) * np.prod([iv(m + s, beta) for s in shifts], axis=0)).sum()
    answer = two_by_two(beta, KAPPA)
    # The terms beyond fall as 1/n^4: 2/(3 pi^4 2000^3) = 1e-12 of z_0 > 1, and p(1) > 7e-4.
    assert answer.charge_distribution[1] == pytest.approx((1 - z_pi / z_0) / 4, abs=1e-12)
    assert answer.charge_squared == pytest.approx(2 * answer.charge_distribution[-1], rel=1e-15)
    assert sum(answer.charge_distribution.values()) == pytest.approx(1, abs=1e-15)


def test_correlator_and_condensate_on_two_by_two_are_trapezoid_sums():
    beta, angles = 0.5, grid_of_plaquettes(16)
    sums = np.zeros((4, *angles[0].shape))
    for x in over_holonomies(*angles):
        d = dense_matrix(wilson_dirac(x, KAPPA))
        inverse, square = np.linalg.inv(d), np.linalg.det(d).real ** 2
        size = np.abs(inverse) ** 2
        terms = (1, size[:, :4, :4].sum((1, 2)), size[:, 4:, :4].sum((1, 2)), np.einsum("cii->c", inverse).real / 8)
        sums += np.stack([(square * term).reshape(angles[0].shape) for term in terms])
    z, c_0, c_1, trace = (weighted(f, angles, beta) for f in sums)
    answer = two_by_two(beta, KAPPA)
    # Aliasing: I_12(1)/I_0(1) = 4e-13.
    assert answer.correlator == pytest.approx((c_0 / z, c_1 / z), rel=1e-10)
    assert answer.condensate == pytest.approx(trace / z, rel=1e-10)


def test_boundary_conditions_are_absorbed_by_the_holonomies_on_two_by_two():
    periodic, antiperiodic = (two_by_two(BETA, KAPPA, flag) for flag in (False, True))
    assert periodic.log_z == pytest.approx(antiperiodic.log_z, abs=1e-13)
    assert periodic.correlator == pytest.approx(antiperiodic.correlator, rel=1e-13)


def test_two_by_two_at_the_point_of_the_paper():
    """The digits that both routes agree on, so that neither can drift."""
    answer = two_by_two(BETA, KAPPA)
    assert answer.log_z == pytest.approx(1.70736821490, abs=1e-11)
    assert answer.plaquette == pytest.approx(0.810555414630, abs=1e-12)
    assert answer.charge_squared == pytest.approx(0.00149280874125, abs=1e-14)
    assert answer.correlator == pytest.approx((2.77515204265, 0.892999362772), abs=1e-11)


def test_large_beta_has_a_charged_sector_of_relative_precision():
    # two Gauss rules agree on all digits shown, at a probability of 5e-47
    assert two_by_two(LARGEST_BETA, KAPPA).charge_squared == pytest.approx(1.11859460144e-46, rel=1e-10)


@pytest.mark.parametrize(
    ("beta", "kappa", "name"),
    [
        (-1, 0.2, "beta"),
        (31, 0.2, "beta"),
        (math.nan, 0.2, "beta"),
        ("2", 0.2, "beta"),
        (2, -0.1, "kappa"),
        (2, math.inf, "kappa"),
        (2, 1e20, "kappa"),
        (2, "0.2", "kappa"),
    ],
)
def test_parameters_out_of_range_are_refused(beta, kappa, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        two_by_two(beta, kappa)


@pytest.mark.parametrize("kappa", [-0.1, math.nan, math.inf, 1e200, "0.2"])
def test_no_determinant_has_a_kappa_out_of_range(kappa):
    for call in (
        lambda: schwinger.log_determinant(np.zeros((1, 2, 2, 2)), kappa),
        lambda: fermions.log_determinant(kappa, (4, 4)),
        lambda: schwinger.largest_log_determinant(kappa, (4, 4)),
    ):
        with pytest.raises(ValueError, match=r"kappa: got .*, expected a finite number >= 0 and at most 1000"):
            call()


@pytest.mark.parametrize("shape", [(2.5, 4), (4, 4.0), (1, 2), (2, 2, 2), ("2", 2), (True, 2)])
def test_extents_of_free_fermions_are_integers(shape):
    with pytest.raises(ValueError, match=r"shape: got .*, expected two integers of at least 2"):
        fermions.log_determinant(0.2, shape)


def test_the_largest_kappa_has_finite_answers():
    answers = two_by_two(2.0, fermions.LARGEST_KAPPA)
    assert np.isfinite(
        [answers.log_z, answers.plaquette, answers.charge_squared, *answers.correlator, answers.condensate]
    ).all()


# Rejection


def mean_is(values, expected, alpha=1e-6):
    """Whether the mean of independent values is ``expected``, by its own error; 4.9 errors for a false alarm of 1e-6."""
    return abs(np.mean(values) - expected) < 4.9 * np.std(values) / math.sqrt(len(values))


def test_rejection_on_two_by_two_has_the_exact_moments():
    answer = two_by_two(BETA, KAPPA)
    x = schwinger.sample(np.random.default_rng(1), 4000, BETA, KAPPA, (2, 2))
    assert x.shape == (4000, 2, 2, 2)
    assert np.all((x >= -np.pi) & (x < np.pi))
    assert mean_is(plaquette(x), answer.plaquette)
    for t in (0, 1):
        assert mean_is(correlator(x, t), answer.correlator[t])
    # some six of 4000 are charged: a binomial probability, 4e-7 for more than 22
    assert charge_squared(x).sum() <= 22


def test_rejection_at_strong_coupling_has_the_exact_charge():
    answer = two_by_two(0.0, KAPPA)
    x = schwinger.sample(np.random.default_rng(2), 2000, 0.0, KAPPA, (2, 2))
    assert mean_is(charge_squared(x), answer.charge_squared)
    assert mean_is(plaquette(x), answer.plaquette)


def test_without_hopping_every_draw_is_accepted():
    x, acceptance = schwinger.rejection(np.random.default_rng(3), 300, BETA, 0.0, (2, 3))
    assert acceptance == 1
    assert len(x) == 300


def test_the_same_generator_gives_the_same_bits():
    first, second = (schwinger.sample(np.random.default_rng(4), 50, BETA, KAPPA, (2, 2)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("n", [2, 3])
def test_rejection_with_colour_agrees_with_reweighting(n):
    def trace(x):
        p = x[:, 0] @ np.roll(x[:, 1], -1, 1) @ np.roll(x[:, 0], -1, 2).conj().swapaxes(-1, -2)
        return np.einsum("ctxab,ctxab->c", p, x[:, 1].conj()).real / (4 * n)

    x, acceptance = schwinger.rejection(np.random.default_rng(5), 300, 1.0, 0.1, (2, 2), n=n)
    assert x.shape == (300, 2, 2, 2, n, n)
    assert 0.05 < acceptance < 1
    values, ess = schwinger.reweighted(np.random.default_rng(6), 1000, 1.0, 0.1, (2, 2), {"plaquette": trace}, n=n)
    value, error = values["plaquette"]
    assert 0.5 < ess < 1
    # both have an error; 4.9 of them
    assert abs(trace(x).mean() - value) < 4.9 * math.hypot(error, trace(x).std() / math.sqrt(300))


def test_a_hopeless_acceptance_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"accepts .*e-0[5-9].* of its draws .* expected at least 0\.0001; reweight"):
        schwinger.sample(np.random.default_rng(7), 10, BETA, 0.3, (8, 8))


def test_a_draw_above_the_bound_is_an_error(monkeypatch):
    monkeypatch.setattr(schwinger, "largest_log_determinant", lambda *_: 1.0)
    with pytest.raises(ArithmeticError, match="the diamagnetic bound is violated by"):
        schwinger.sample(np.random.default_rng(8), 10, BETA, KAPPA, (2, 2))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 2.0, 0.2, (2, 2)), "n_samples"),
        ((5, -2.0, 0.2, (2, 2)), "beta"),
        ((5, 2.0, -0.2, (2, 2)), "kappa"),
        ((5, 2.0, 0.2, (1, 2)), "shape"),
    ],
)
def test_arguments_of_the_samplers_are_checked(arguments, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        schwinger.sample(np.random.default_rng(9), *arguments)
    with pytest.raises(ValueError, match=f"{name}: got"):
        schwinger.reweighted(np.random.default_rng(9), *arguments, {})


# Reweighting


def test_reweighting_agrees_with_the_exact_numbers_and_its_error_is_honest():
    answer = two_by_two(BETA, KAPPA)
    pulls = []
    for seed in range(40):
        values, ess = schwinger.reweighted(
            np.random.default_rng(seed),
            500,
            BETA,
            KAPPA,
            (2, 2),
            {"plaquette": plaquette, "c_1": functools.partial(correlator, t=1)},
        )
        value, error = values["plaquette"]
        pulls.append((value - answer.plaquette) / error)
        assert 0.2 < ess < 0.6
    # 40 pulls of variance 1: their mean square has a standard deviation of 0.22
    assert 0.3 < np.mean(np.square(pulls)) < 2.2


def test_reweighting_matches_rejection_on_four_by_four():
    x = schwinger.sample(np.random.default_rng(10), 400, BETA, KAPPA, (4, 4))
    values, _ = schwinger.reweighted(
        np.random.default_rng(11), 4000, BETA, KAPPA, (4, 4), {"plaquette": plaquette, "charge": charge_squared}
    )
    for name, o in (("plaquette", plaquette(x)), ("charge", charge_squared(x))):
        value, error = values[name]
        assert abs(o.mean() - value) < 4.9 * math.hypot(error, o.std() / 20)


def test_an_observable_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"observables: angle has shape \(10, 2, 2, 2\), expected \(10,\)"):
        schwinger.reweighted(np.random.default_rng(12), 10, BETA, KAPPA, (2, 2), {"angle": lambda x: x})
