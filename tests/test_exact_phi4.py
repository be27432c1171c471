"""Exact answers of the free field and of phi^4: every number by two routes, identities, samplers; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import Phi4
from refimpl.exact import free_scalar, phi4, phi4_grids, phi4_transfer
from refimpl.exact.phi4_grids import difference
from refimpl.observables.scalars import correlator, three_point_mass

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
MASSES = st.floats(0.01, 10)
SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed
GRIDS = 2e-13  # two grids agree to 1e-13, two routes to twice that


def precision_matrix(m2, shape):
    """The operator of the free action, one column per site."""
    unit = np.eye(math.prod(shape)).reshape(-1, *shape)
    return Phi4(m2, 0.0).hessian_product(np.zeros_like(unit), unit).reshape(len(unit), -1)


# --- free field ------------------------------------------------------------------------------------------------------
@QUICK
@given(MASSES, SHAPES)
def test_the_propagator_is_the_inverse_of_the_action_and_the_sum_over_momenta(m2, shape):
    propagator, matrix = free_scalar.propagator(m2, shape), precision_matrix(m2, shape)
    # Eigenvalues from m2 to 8 + m2: a condition number of at most 801 times the rounding of an inverse.
    tolerance = 1e-12 / m2
    np.testing.assert_allclose(propagator.reshape(-1), np.linalg.inv(matrix)[0], rtol=0, atol=tolerance)
    k_t, k_x = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    modes = 1 / (4 * np.sin(k_t / 2) ** 2 + 4 * np.sin(k_x / 2) ** 2 + m2)
    t, x = np.indices(shape)[:, :, :, None, None]
    by_momenta = (modes * np.cos(k_t * t + k_x * x)).mean(axis=(2, 3))
    np.testing.assert_allclose(propagator, by_momenta, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        free_scalar.correlator(m2, shape), by_momenta.mean(axis=1), rtol=1e-12, atol=tolerance * 1e-2
    )
    assert math.isclose(free_scalar.second_moment(m2, shape), modes.mean(), rel_tol=1e-12)
    assert math.isclose(free_scalar.susceptibility(m2, shape), by_momenta.sum(), rel_tol=1e-11)
    _, log_determinant = np.linalg.slogdet(matrix / (2 * np.pi))
    assert math.isclose(free_scalar.log_partition(m2, shape), -log_determinant / 2, rel_tol=1e-12, abs_tol=1e-12)


def test_the_correlator_is_the_printed_cosh():
    m2, n_t, n_x = 0.3, 7, 4
    w = 2 * math.asinh(math.sqrt(m2) / 2)
    cosh = [math.cosh(w * (n_t / 2 - t)) / (2 * n_x * math.sinh(w) * math.sinh(w * n_t / 2)) for t in range(n_t)]
    np.testing.assert_allclose(free_scalar.correlator(m2, (n_t, n_x)), cosh, rtol=1e-14)
    assert free_scalar.mass(m2) == w
    # Wide enough that cosh itself overflows.
    far = free_scalar.correlator(100.0, (1000, 1))
    assert far[500] == 0
    assert math.isclose(far[1] / far[0], math.exp(-free_scalar.mass(100.0)), rel_tol=1e-13)


def test_free_samples_have_every_mode_and_the_moments():
    n, m2, shape = 4000, 0.2, (3, 4)
    x = free_scalar.sample(np.random.default_rng(1), n, m2, shape)
    # In the eigenbasis of the action n V independent N(0, 1): squares of each have variance 2, products of two variance 1.
    values, vectors = np.linalg.eigh(precision_matrix(m2, shape))
    white = x.reshape(n, -1) @ vectors * np.sqrt(values)
    error = np.sqrt((1 + np.eye(len(values))) / n)
    assert np.all(np.abs(white.T @ white / n - np.eye(len(values))) < SIGMAS * error)
    for got, exact in (
        (x**4, free_scalar.fourth_moment(m2, shape)),
        (np.abs(x.mean(axis=(1, 2))), free_scalar.absolute_magnetisation(m2, shape)),
        (correlator(x)[:, 1], free_scalar.correlator(m2, shape)[1]),
    ):
        each = got.reshape(n, -1).mean(axis=1)
        assert abs(each.mean() - exact) < SIGMAS * each.std() / math.sqrt(n)


# --- phi^4 -----------------------------------------------------------------------------------------------------------
COUPLINGS = [(0.1, 24.0), (-4.0, 48.0), (0.5, 2.0)]
RINGS = [(1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (2, 2)]


@pytest.mark.parametrize("couplings", COUPLINGS)
@pytest.mark.parametrize("shape", RINGS)
def test_quadrature_and_transfer_matrix_agree(couplings, shape):
    assert difference(phi4.quadrature(*couplings, shape), phi4.transfer_matrix(*couplings, shape)) < GRIDS


@pytest.mark.parametrize("route", [phi4.quadrature, phi4.transfer_matrix])
def test_grids_are_refined_until_they_agree_and_the_error_is_honest(route, monkeypatch):
    exact = route(0.1, 24.0, (4, 1))
    monkeypatch.setattr(phi4_grids, "FIRST_STEP", 3.0)
    monkeypatch.setattr(phi4_grids, "FIRST_POINTS", 3)
    assert difference(route(0.1, 24.0, (4, 1)), exact) < GRIDS
    errors = []
    monkeypatch.setattr(phi4_grids, "LARGEST_ERROR", 1.0)
    for points in (8, 12, 16):  # of half a line, where the refinement is cut short
        monkeypatch.setattr(phi4, "LARGEST_LINE", 2 * points)
        monkeypatch.setattr(phi4_transfer, "LARGEST_BLOCK", points)
        cut = route(0.1, 24.0, (4, 1))
        assert GRIDS < difference(cut, exact) < cut.error
        errors.append(cut.error)
    assert errors == sorted(errors, reverse=True)
    monkeypatch.setattr(phi4_grids, "LARGEST_ERROR", errors[-1] / 2)
    with pytest.raises(ValueError, match="the field spreads over more points than fit"):
        route(0.1, 24.0, (4, 1))


def test_the_integral_over_the_action_itself():
    # All fields of a 2 x 2 lattice on a grid of 22 points to a side. Between steps of 0.29 and 0.24 the answers of a ring
    # move by 1e-4 and by 1e-6 (aliasing); at 0.22 by less than 1e-6.
    m2, lam = 0.1, 24.0
    line = (np.arange(22) - 10.5) * 0.22
    fields = np.stack(np.meshgrid(line, line, line, line, indexing="ij"), axis=-1).reshape(-1, 2, 2)
    weight = np.exp(-Phi4(m2, lam).action(fields))
    exact = phi4.answers(m2, lam, (2, 2))
    assert abs(math.log(weight.sum() * 0.22**4) - exact.log_partition) < 1e-6
    weight /= weight.sum()
    for t in (0, 1):
        for x in (0, 1):
            assert abs(weight @ (fields[:, 0, 0] * fields[:, t, x]) - exact.two_point[t, x]) < 1e-6
    assert abs(weight @ fields[:, 0, 0] ** 4 - exact.phi_fourth) < 1e-6
    assert abs(weight @ fields.mean(axis=(1, 2)) ** 4 - exact.magnetisation_fourth) < 1e-6
    np.testing.assert_allclose(weight @ correlator(fields), exact.correlator, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 3), (2, 3), (2, 2)])
def test_without_coupling_the_transfer_matrix_is_the_free_field(shape):
    exact = phi4.transfer_matrix(2.0, 0.0, shape)
    assert difference(exact, phi4.free(2.0, shape)) < GRIDS
    assert abs(exact.binder) < 1e-11
    assert phi4.answers(2.0, 0.0, (5, 4)).shape == (5, 4)  # in closed form on any lattice


@pytest.mark.parametrize(
    ("couplings", "shape"),
    [((0.1, 24.0), (10, 2)), ((0.1, 24.0), (2, 3)), ((0.5, 2.0), (5, 1)), ((-4.0, 48.0), (2, 1))],
)
def test_schwinger_dyson_and_derivatives_of_the_partition_function(couplings, shape):
    (m2, lam), volume, h = couplings, math.prod(shape), 1e-3
    exact = phi4.answers(m2, lam, shape)
    g = exact.two_point
    # <phi dS/dphi> = 1; an axis of one site has neighbours that are the site itself.
    neighbours = 2 * g[1 % shape[0], 0] + 2 * g[0, 1 % shape[1]]
    assert abs((4 + m2) * g[0, 0] - neighbours + lam * exact.phi_fourth / 6 - 1) < 1e-11
    logs = {k: phi4.answers(m2 + k * h, lam, shape).log_partition for k in (-2, -1, 1, 2)}
    slope = (8 * (logs[1] - logs[-1]) - (logs[2] - logs[-2])) / (12 * h)
    # h^4/30 times the fifth cumulant of sum phi^2/2, about that of a free field of this susceptibility, sum_k 12/(k^^2 + m2)^5;
    # and 1e-13 of log Z over h.
    tolerance = h**4 / 30 * 12 * volume * exact.susceptibility**5 + 1.5 / h * 1e-13 * max(1, abs(exact.log_partition))
    assert abs(slope + volume * exact.phi_squared / 2) < tolerance < 1e-8
    assert exact.phi_squared == g[0, 0]
    assert math.isclose(exact.susceptibility, volume * g.mean(), rel_tol=1e-14)


def test_weak_coupling_is_first_order_perturbation_theory():
    # <phi^2> = G(0) - (lam/2) G(0) sum_n G(n)^2 + O(lam^2): halving lam halves what is left over lam.
    m2, shape = 1.0, (5, 1)
    g = free_scalar.propagator(m2, shape)
    slope = -g[0, 0] * (g**2).sum() / 2
    left = [(phi4.answers(m2, lam, shape).phi_squared - g[0, 0]) / lam - slope for lam in (2e-3, 1e-3)]
    assert abs(left[0]) < 1e-3 * abs(slope)
    assert left[0] / left[1] == pytest.approx(2, rel=2e-3)


def test_the_lattice_of_the_paper_cut_to_two_columns():
    exact = phi4.answers(0.1, 24.0, (10, 2))
    assert exact.error < 1e-13
    # The whole spectrum on steps of 0.164 and 0.131, and the larger levels on 0.157 and 0.126, agree in these digits.
    assert exact.log_partition == pytest.approx(3.10141112663761, abs=1e-13)
    assert exact.phi_squared == pytest.approx(0.202020538622022, abs=1e-14)
    assert exact.phi_fourth == pytest.approx(0.102552026456408, abs=1e-14)
    assert exact.gap == pytest.approx(1.34959061948302, abs=1e-13)
    np.testing.assert_allclose(exact.correlator[:3], [0.13869536, 0.03596838, 0.00933089], rtol=0, atol=5e-9)
    # The first excited level is odd and of momentum zero: the correlator decays with the gap, the next odd level with more
    # than three times it.
    assert three_point_mass(exact.correlator)[3] == pytest.approx(exact.gap, rel=1e-3)


def test_time_comes_first():
    tall, wide = phi4.answers(0.1, 24.0, (10, 2)), phi4.answers(0.1, 24.0, (2, 10))
    assert tall.correlator.shape == (10,)
    assert wide.correlator.shape == (2,)
    np.testing.assert_array_equal(wide.two_point, tall.two_point.T)
    assert wide.gap == tall.gap
    assert wide.correlator[0] < 0.5 * tall.correlator[0]


def test_the_double_well_has_a_small_gap_and_a_sharp_magnetisation():
    exact = phi4.answers(-1.0, 0.5, (20, 1))
    assert 0 < exact.gap < 1e-3
    assert 0.66 < exact.binder < 2 / 3
    assert phi4.answers(5.0, 0.01, (10, 1)).binder == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("couplings", "shape"), [((0.1, 24.0), (10, 2)), ((0.1, 0.5), (2, 3)), ((-1.0, 8.0), (2, 2))])
def test_samples_have_the_exact_moments(couplings, shape):
    n = 2000
    exact = phi4.answers(*couplings, shape)
    x = phi4.sample(np.random.default_rng(3), n, *couplings, shape)
    assert x.shape == (n, *shape)
    values = [
        ((x**2).mean(axis=(1, 2)), exact.phi_squared),
        ((x**4).mean(axis=(1, 2)), exact.phi_fourth),
        (x.mean(axis=(1, 2)) ** 4, exact.magnetisation_fourth),
        *zip(correlator(x).T, exact.correlator, strict=True),
    ]
    for each, expected in values:
        assert abs(each.mean() - expected) < SIGMAS * each.std() / math.sqrt(n)


def test_a_sampler_without_coupling_is_the_free_one():
    one, two = (
        f(np.random.default_rng(1))
        for f in (lambda r: phi4.sample(r, 3, 0.5, 0.0, (2, 3)), lambda r: free_scalar.sample(r, 3, 0.5, (2, 3)))
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("couplings", "shape"), [((0.1, 24.0), (6, 6)), ((0.01, 0.1), (10, 2)), ((-1.0, 6.0), (3, 2))])
def test_the_acceptance_is_bounded_and_best_where_the_proposed_mass_is(couplings, shape):
    m2, lam = couplings
    volume = math.prod(shape)

    def acceptance(mass2):
        x = free_scalar.sample(np.random.default_rng(4), 4000, mass2, shape)
        exponent = lam / 24 * np.square(x * x - 6 * (mass2 - m2) / lam).sum(axis=(1, 2))
        return np.exp(-exponent).mean()

    best = phi4._free_mass(m2, lam, shape, phi4.PROPOSED)
    second = free_scalar.second_moment(best, shape)
    assert best == pytest.approx(m2 + lam * second / 6, rel=1e-12)
    assert phi4.acceptance_bound(m2, lam, shape) == pytest.approx(math.exp(-volume * lam * second**2 / 12), rel=1e-12)
    assert phi4.acceptance_bound(m2, lam, shape) < acceptance(best) < 1
    assert acceptance(best) > max(acceptance(0.5 * best), acceptance(2 * best))
    assert phi4.acceptance_bound(0.5, 0.0, shape) == 1
    assert phi4.free_mass(0.5, 0.0, shape) == 0.5


def test_a_few_samples_are_as_good_as_many(monkeypatch):
    """However many fields are proposed at a time."""
    exact, n = phi4.answers(0.1, 24.0, (4, 1)), 3000
    for numbers in (phi4.BATCH_NUMBERS, 40):
        monkeypatch.setattr(phi4, "BATCH_NUMBERS", numbers)
        rng = np.random.default_rng(5)
        x = np.concatenate([phi4.sample(rng, 6, 0.1, 24.0, (4, 1)) for _ in range(n // 6)])
        assert abs((x**2).mean() - exact.phi_squared) < SIGMAS * (x**2).mean(axis=(1, 2)).std() / math.sqrt(n)


def test_couplings_at_the_ends_of_their_range():
    """`LARGEST_ERROR` is what is promised. At m2 = 1e10 sites are free and independent: <phi^2> = 1/(m2 + 4) to relative 1/m2^2."""
    assert phi4.answers(1e10, 1e-100, (4, 2)).phi_squared == pytest.approx(1 / (1e10 + 4), rel=1e-8)
    for m2 in (1e-100, 1e100):
        found = phi4.answers(m2, 0.0, (1, 1))
        assert found.phi_squared == pytest.approx(1 / m2, rel=1e-14)
        assert found.phi_fourth == pytest.approx(3 / m2**2, rel=1e-14)


def test_two_wells_far_apart_are_two_free_fields():
    """Wells at phi^2 = 6 |m2|/lam, of depth 3 m2^2/(2 lam) and curvature 2 |m2|; corrections are of the order of V/|m2| = 0.008."""
    found = phi4.answers(-1000.0, 1.0, (4, 2))
    assert found.phi_squared == pytest.approx(6000, abs=0.01)
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.log_partition == pytest.approx(
        8 * 1.5 * 1000**2 + math.log(2) + free_scalar.log_partition(2000.0, (4, 2)), abs=0.01
    )


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: free_scalar.propagator(0.0, (2, 2)), "m2: got 0.0, expected a finite number > 0"),
        (lambda: free_scalar.mass(math.nan), "m2: got nan"),
        (lambda: free_scalar.correlator(1.0, (2, 0)), r"shape: got \(2, 0\)"),
        (lambda: free_scalar.correlator(1.0, (2,)), r"shape: got \(2,\)"),  # type: ignore[arg-type]
        (lambda: free_scalar.sample(np.random.default_rng(0), 0, 1.0, (2, 2)), "n: got 0"),
        (lambda: phi4.answers(math.inf, 1.0, (2, 2)), "m2: got inf"),
        (lambda: phi4.answers(1.0, -1.0, (2, 2)), "lam: got -1.0"),
        (lambda: phi4.transfer_matrix(-1.0, 0.0, (2, 2)), "m2: got -1.0 at lam = 0"),
        (lambda: phi4.answers(1.0, 1.0, (3, 3)), r"shape: got \(3, 3\), expected an extent of 1 or 2"),
        (lambda: phi4.quadrature(1.0, 1.0, (3, 1)), r"shape: got \(3, 1\), expected 1, 2 or 4 sites"),
        (lambda: phi4.answers(1e-8, 1e-12, (4, 2)), "got 1e-08, 1e-12, where the field spreads over"),
        (lambda: phi4.answers(-1e10, 1.0, (4, 2)), "m2, lam: got -10000000000.0, 1.0, where the field spreads over"),
        (lambda: phi4.answers(0.1, 1e300, (4, 2)), r"lam: got 1e\+300, expected 0 or a number from 1e-100 to 1e\+10"),
        (lambda: phi4.answers(1e300, 1.0, (1, 1)), r"m2: got 1e\+300, expected a number from -1e\+10 to 1e\+10"),
        (lambda: phi4.answers(0.0, 1e-300, (4, 2)), "lam: got 1e-300, expected 0 or a number from"),
        (lambda: phi4.answers(1e-300, 0.0, (4, 2)), r"m2: got 1e-300, expected a number from 1e-100 to 1e\+100"),
        (lambda: phi4.answers(1e300, 0.0, (4, 2)), r"m2: got 1e\+300, expected a number from"),
        (
            lambda: phi4.answers(0.1, 24.0, (1_000_000, 2)),
            r"shape: got \(1000000, 2\), expected extents of at most 20000",
        ),
        (lambda: phi4.answers(1.0, 0.0, (100_000, 100_000)), r"shape: got \(100000, 100000\), expected X \(T \+ X\)"),
        (lambda: phi4.sample(np.random.default_rng(0), 0, 1.0, 1.0, (2, 2)), "n: got 0"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_lattices_too_large_for_rejection_say_so(monkeypatch):
    monkeypatch.setattr(phi4, "PATIENCE", 1)
    monkeypatch.setattr(phi4, "BATCH", 100)
    with pytest.raises(ValueError, match=r"shape: got \(20, 20\), on which no field of 100 was accepted"):
        phi4.sample(np.random.default_rng(0), 1, 0.1, 24.0, (20, 20))
