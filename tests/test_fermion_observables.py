"""Pion correlator, effective mass, condensate and spectra: free fields, symmetries, one algorithm against another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import exact, observables
from refimpl.actions import SolverError, log_determinant, wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix, schur_complement
from refimpl.kernels import spawn_rngs
from refimpl.lattice import gauge_transform

from .gauge_fields import links

KAPPA = 0.265
SHAPES = [(2, 2), (2, 3), (3, 2), (4, 4), (4, 6)]
# LU and eigenvalues are backward stable: 1e-16 times the condition number of D, below a thousand for uniform links, times
# a few factors of ten for sums.
LU = 1e-12


def free_momenta(shape, antiperiodic=True):
    """``D(p) = scalar + 2 i kappa sum_mu sigma_mu sin p_mu`` on all momenta: scalar and sines."""
    n_t, n_x = shape
    p_0 = 2 * np.pi * (np.arange(n_t) + antiperiodic / 2)[:, None] / n_t
    p_1 = 2 * np.pi * np.arange(n_x)[None] / n_x
    scalar = 1 - 2 * KAPPA * (np.cos(p_0) + np.cos(p_1))
    return p_0, scalar, 2 * KAPPA * np.sin(p_0) + 0 * p_1, 2 * KAPPA * np.sin(p_1) + 0 * p_0


def free_correlator(shape, antiperiodic=True):
    """``X sum_x tr S S^dag`` with ``S(t, x) = (1/V) sum_p exp(i p.(t, x)) D(p)^-1``; Parseval does the sum over x."""
    p_0, scalar, sine_0, sine_1 = free_momenta(shape, antiperiodic)
    size = scalar**2 + sine_0**2 + sine_1**2
    out = []
    for t in range(shape[0]):
        # D^-1 = (scalar - i sigma_mu sine_mu)/size; the Pauli matrices and 1 are orthogonal, with tr 1 = 2.
        parts = [(np.exp(1j * p_0 * t) * f / size).sum(axis=0) / shape[0] for f in (scalar, sine_0, sine_1)]
        out.append(2 * sum((np.abs(part) ** 2).sum() for part in parts))
    return np.array(out)


@pytest.mark.parametrize("method", ["dense", "sparse"])
@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (5, 3), (6, 4)])
def test_the_free_correlator_is_that_of_momentum_space(shape, antiperiodic, method):
    dirac = wilson_dirac(np.zeros((1, 2, *shape)), KAPPA, antiperiodic=antiperiodic)
    expected = free_correlator(shape, antiperiodic)
    np.testing.assert_allclose(observables.pseudoscalar_correlator(dirac, method=method)[0], expected, rtol=LU)
    # A free field is the same from everywhere: one source is enough.
    np.testing.assert_allclose(observables.pseudoscalar_correlator(dirac, 1, method)[0], expected, rtol=LU)


@pytest.mark.parametrize("n", [2, 3])
def test_free_colours_add_up(n):
    x = np.zeros((1, 2, 4, 2, n, n), complex)
    x[...] = np.eye(n)
    got = observables.pseudoscalar_correlator(wilson_dirac(x, KAPPA))[0]
    np.testing.assert_allclose(got, n * free_correlator((4, 2)), rtol=LU)
    assert abs(observables.chiral_condensate(wilson_dirac(x, KAPPA))[0] - free_condensate((4, 2))) < LU


def free_condensate(shape, antiperiodic=True):
    _, scalar, sine_0, sine_1 = free_momenta(shape, antiperiodic)
    return (scalar / (scalar**2 + sine_0**2 + sine_1**2)).mean()


@pytest.mark.parametrize("method", ["dense", "sparse"])
@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (5, 3)])
def test_the_free_condensate_is_that_of_momentum_space(shape, antiperiodic, method):
    dirac = wilson_dirac(np.zeros((1, 2, *shape)), KAPPA, antiperiodic=antiperiodic)
    assert abs(observables.chiral_condensate(dirac, method)[0] - free_condensate(shape, antiperiodic)) < LU


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_and_sparse_are_the_definition(shape, n):
    dirac = wilson_dirac(links(np.random.default_rng(1), n, 2, shape), 0.2)
    inverse = np.linalg.inv(dense_matrix(dirac)).reshape(2, shape[0], shape[1] * 2 * n, shape[0], -1)
    squares = (np.abs(inverse) ** 2).sum(axis=(2, 4))
    expected = [
        [sum(s[(t + t0) % shape[0], t0] for t0 in range(shape[0])) / shape[0] for t in range(shape[0])] for s in squares
    ]
    trace = np.einsum("cii->c", np.linalg.inv(dense_matrix(dirac))) / (2 * n * shape[0] * shape[1])
    for method in ("auto", "dense", "sparse"):
        np.testing.assert_allclose(observables.pseudoscalar_correlator(dirac, method=method), expected, rtol=LU)
        np.testing.assert_allclose(observables.chiral_condensate(dirac, method), trace.real, rtol=0, atol=LU)
    assert np.abs(trace.imag).max() < LU


def test_all_point_sources_are_all_sources_and_some_lie_between():
    dirac = wilson_dirac(links(np.random.default_rng(2), 1, 2, (4, 3)), KAPPA)
    every = observables.pseudoscalar_correlator(dirac)
    np.testing.assert_allclose(observables.pseudoscalar_correlator(dirac, 12), every, rtol=LU)
    # Each of the sources of 4 x 3 sites alone, moved to the origin: their mean is that of all.
    x = dirac.links
    single = []
    for t, s in np.ndindex(4, 3):
        moved = np.roll(x, (-t, -s), axis=(2, 3))
        single.append(observables.pseudoscalar_correlator(type(dirac)(moved, KAPPA), 1))
    np.testing.assert_allclose(np.mean(single, axis=0), every, rtol=LU)
    assert np.abs(single[0] / every - 1).max() > 0.01


@pytest.mark.parametrize("shape", [(4, 4), (3, 4)])
def test_gauge_transformations_and_translations_change_nothing(shape):
    rng = np.random.default_rng(3)
    x = links(rng, 1, 2, shape)

    def values(y):
        dirac = wilson_dirac(y, KAPPA)
        return np.column_stack(
            [
                observables.pseudoscalar_correlator(dirac),
                observables.chiral_condensate(dirac),
                observables.extreme_eigenvalues(dirac),
            ]
        )

    expected = values(x)
    np.testing.assert_allclose(values(gauge_transform(x, rng.uniform(-3, 3, (2, *shape)))), expected, rtol=LU)
    # A translation in time carries the sign of the boundary along, which a gauge transformation puts back.
    np.testing.assert_allclose(values(np.roll(x, (1, 2), axis=(2, 3))), expected, rtol=LU)
    assert np.abs(values(x[:, :, ::-1]) / expected - 1).max() > 0.01


def test_the_boundary_sign_is_seen():
    x = links(np.random.default_rng(4), 1, 2, (4, 4))
    for value in (observables.pseudoscalar_correlator, observables.chiral_condensate, observables.extreme_eigenvalues):
        there, here = (value(wilson_dirac(x, KAPPA, antiperiodic=a)) for a in (True, False))
        assert np.abs(there / here - 1).min() > 1e-4


def test_the_condensate_is_the_slope_of_the_determinant():
    # D = 1 - kappa H: kappa d log det D / d kappa = n - tr D^-1.
    x, h = links(np.random.default_rng(5), 3, 2, (2, 4)), 1e-3

    def log(kappa):
        return log_determinant(wilson_dirac(x, kappa))[0]

    slope = (8 * (log(0.2 + h) - log(0.2 - h)) - (log(0.2 + 2 * h) - log(0.2 - 2 * h))) / (12 * h)
    got = observables.chiral_condensate(wilson_dirac(x, 0.2))
    # Differences of fourth order: h^4 = 1e-12 times a fifth derivative of some 5! (1/0.2)^5 traces of 48 rows, over 30.
    np.testing.assert_allclose(48 * (1 - got), 0.2 * slope, rtol=0, atol=1e-6)
    assert observables.chiral_condensate(wilson_dirac(x, 0.0))[0] == 1


@pytest.mark.parametrize("n", [1, 3])
def test_a_chain_has_its_bits_in_any_batch(n):
    rng = np.random.default_rng(6)
    x = links(rng, n, 4, (4, 4))
    dirac, single = wilson_dirac(x, 0.2), wilson_dirac(x[2:3], 0.2)
    for value in (observables.pseudoscalar_correlator, observables.chiral_condensate, observables.hasenbusch_spectra):
        np.testing.assert_array_equal(value(dirac)[2], value(single)[0])
    got = observables.chiral_condensate_estimate(spawn_rngs(1, 4), dirac, 3)
    np.testing.assert_array_equal(got[2], observables.chiral_condensate_estimate(spawn_rngs(1, 4)[2:3], single, 3)[0])


def test_the_noisy_condensate_has_the_mean_and_the_variance_it_says():
    x, n = links(np.random.default_rng(7), 1, 2, (2, 4)), 4000
    dirac = wilson_dirac(x, 0.2)
    values = observables.chiral_condensate_estimate(spawn_rngs(2, 2), dirac, n)
    a = np.linalg.inv(dense_matrix(dirac)).real
    off = a + a.swapaxes(1, 2)
    variance = (np.triu(off[0], 1) ** 2).sum(), (np.triu(off[1], 1) ** 2).sum()
    variance = np.array(variance) / 16**2
    # Normal errors of 4000 values: 5 sigma has p = 6e-7; the sixth-moment-heavy variance has an error of some 3 %.
    assert np.all(np.abs(values.mean(1) - observables.chiral_condensate(dirac)) < 5 * np.sqrt(variance / n))
    np.testing.assert_allclose(values.var(1), variance, rtol=0.15)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 33), st.floats(1e-3, 5), st.floats(-300, 100))
def test_an_exact_cosh_has_its_mass(extent, mass, log_size):
    time = np.arange(extent) - extent / 2
    # In units of the largest value: no overflow. Correlators below 1e-290 of it have no digits left.
    log_cosh = mass * np.abs(time) + np.log1p(np.exp(-2 * mass * np.abs(time)))
    got = observables.effective_mass(np.exp(log_cosh - log_cosh.max() + log_size))
    assert got.shape == (extent - 1,)
    middle = np.arange(extent - 1) == (extent - 1) / 2  # of an odd extent: equal distances from T/2 on both sides
    assert np.isnan(got[middle]).all()
    # A logarithm of C of up to 400 has an error of 400 U, and its slope in m is at least m/8 (tanh, for a >= 1, b = a - 1).
    np.testing.assert_allclose(got[~middle], mass, rtol=0, atol=1e-12 * max(1, 1 / mass))


def test_no_mass_where_the_correlator_has_none():
    rising, flat, negative = np.array([1.0, 2.0, 4.0, 2.0]), np.ones(4), np.array([4.0, -1.0, 0.5, -1.0])
    got = observables.effective_mass(np.stack([rising, flat, negative]))
    assert np.isnan(got[[0, 2]]).all()
    np.testing.assert_array_equal(got[1], 0)
    with pytest.raises(ValueError, match="correlator: got shape"):
        observables.effective_mass(np.ones((3, 1)))


def test_the_pion_of_the_free_theory():
    # Two quarks of mass log(1 + m0), m0 = 1/(2 kappa) - 2: what the correlator of a long lattice falls with.
    kappa = 0.2
    dirac = wilson_dirac(np.zeros((1, 2, 32, 2)), kappa)
    mass = observables.effective_mass(observables.pseudoscalar_correlator(dirac, 1)[0])
    assert abs(mass[13] - 2 * np.log(1 + 1 / (2 * kappa) - 2)) < 1e-3  # e^(-2 E 13) of excited quarks of momentum pi


@pytest.mark.parametrize(("steps", "chains"), [(400, 2), (1, 400), (5, 100)])
def test_the_jackknife_error_is_that_of_linear_propagation(steps, chains):
    extent, m, noise = 6, 0.5, 0.05
    shape = np.cosh(m * (np.arange(extent) - extent / 2))
    data = shape * (1 + noise * np.random.default_rng(8).standard_normal((steps, chains, extent)))
    value, error = observables.effective_mass_estimate(data, bins=40)
    assert value.shape == error.shape == (extent - 1,)
    # log cosh(m a) - log cosh(m b) = log ratio, whose variance is 2 noise^2 / n.
    distance = np.abs(np.arange(extent) - extent / 2)
    slope = np.abs(np.diff(distance * np.tanh(m * distance)))
    expected = noise * np.sqrt(2 / (steps * chains)) / slope
    np.testing.assert_allclose(error, expected, rtol=0.6)  # 40 blocks: 11 % each, five of them; small n is not linear
    assert np.all(np.abs(value - m) < 5 * expected)


def test_blocks_see_correlations_in_time():
    # Every value stays for ten steps: an error from single steps would be sqrt(10) too small.
    data = 2 + 0.1 * np.random.default_rng(9).standard_normal((40, 1, 4)).repeat(10, axis=0)
    data[..., [0, 1]] *= [3, 1.5]
    whole = observables.effective_mass_estimate(data, bins=40).error
    single = observables.effective_mass_estimate(data[:, :, :], bins=400).error
    np.testing.assert_allclose(whole[0] / single[0], np.sqrt(10), rtol=0.2)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (4, 6)])
def test_spectra_are_those_of_the_squared_matrix(shape, even_odd, n):
    dirac = wilson_dirac(links(np.random.default_rng(10), n, 3, shape), KAPPA)
    d = schur_complement(dirac) if even_odd else dense_matrix(dirac)
    squared = np.linalg.eigvalsh(d @ d.conj().swapaxes(1, 2))
    got = observables.eigenvalues(dirac, even_odd, 0.1)
    np.testing.assert_allclose(
        got, squared + 0.1, rtol=0, atol=1e-13 * 30
    )  # rounding of the square, of size lam_max < 30
    np.testing.assert_allclose(np.log(got - 0.1).sum(1), 2 * log_determinant(dirac)[0], rtol=1e-10)
    for method in ("auto", "dense", "sparse"):
        low, high = observables.extreme_eigenvalues(dirac, even_odd, 0.1, method).T
        np.testing.assert_allclose(low, got[:, 0], rtol=1e-11)
        np.testing.assert_allclose(high, got[:, -1], rtol=1e-11)
        condition = observables.condition_numbers(dirac, even_odd, 0.1, method)
        np.testing.assert_allclose(condition, got[:, -1] / got[:, 0], rtol=1e-11)


def test_even_odd_lowers_condition_numbers_of_thermal_fields():
    x = exact.u1.sample(np.random.default_rng(11), 6, 2.0, (6, 6))
    dirac = wilson_dirac(x, KAPPA)
    assert np.all(observables.condition_numbers(dirac, True) < observables.condition_numbers(dirac))


@pytest.mark.parametrize("method", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 4)])
def test_a_singular_operator_has_no_condensate(shape, method):
    # Rounding hides the zero mode from LU of all but 2 x 2 sites, where its trace was -6e15.
    dirac = wilson_dirac(np.zeros((1, 2, *shape)), 0.25, antiperiodic=False)
    with pytest.raises(SolverError, match="singular"):
        observables.chiral_condensate(dirac, method)
    with pytest.raises(SolverError, match="singular"):
        observables.chiral_condensate_estimate(spawn_rngs(1, 1), dirac, 2)


@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_a_singular_operator_has_an_infinite_condition_number_and_no_correlator(method):
    dirac = wilson_dirac(np.zeros((1, 2, 2, 2)), 0.25, antiperiodic=False)
    assert observables.condition_numbers(dirac, method=method)[0] > 1e28
    with pytest.raises(SolverError, match="singular"):
        observables.pseudoscalar_correlator(dirac, method=method)
    with pytest.raises(SolverError, match="singular"):
        observables.chiral_condensate(dirac, method)


@pytest.mark.parametrize("mus", [(), (0.3,), (0.001, 0.01, 0.05)])
@pytest.mark.parametrize("mu_reg", [0.0, 0.0005])
def test_hasenbusch_kernels_multiply_to_the_regulated_determinant(mus, mu_reg):
    dirac = wilson_dirac(links(np.random.default_rng(12), 1, 2, (4, 4)), KAPPA)
    spectra = observables.hasenbusch_spectra(dirac, mus, True, mu_reg)
    assert spectra.shape == (2, len(mus) + 1, 16)
    lams = observables.eigenvalues(dirac, True) + mu_reg
    np.testing.assert_allclose(spectra.prod(axis=1), lams, rtol=1e-13)  # telescopes, a dozen roundings
    assert np.all(np.diff(spectra, axis=2) >= 0)
    assert np.all(spectra[:, :-1] < 1)
    # The first kernel as a matrix: its inverse is 1 + (mu_1 - mu_reg) (M + mu_reg)^-1 (37).
    if mus:
        d = schur_complement(dirac)
        m = d @ d.conj().swapaxes(1, 2) + mu_reg * np.eye(16)
        inverse = np.eye(16) + (mus[0] - mu_reg) * np.linalg.inv(m)
        np.testing.assert_allclose(1 / spectra[:, 0, ::-1], np.linalg.eigvalsh(inverse), rtol=1e-10)


def test_quantiles_of_known_values():
    values = np.arange(101.0)
    np.testing.assert_allclose(observables.quantiles(values[::-1]), (50, 9.6, 90.4), rtol=1e-14)
    # A weight of two is the value twice; of zero, no value.
    doubled = observables.quantiles(np.repeat(values, 2))
    np.testing.assert_allclose(observables.quantiles(values, 2 * np.ones(101)), (50, 9.6, 90.4), rtol=1e-14)
    np.testing.assert_allclose(doubled, (50, 9.6, 90.4), atol=0.5)
    weights = (values < 51).astype(float)
    np.testing.assert_allclose(observables.quantiles(values, weights), observables.quantiles(values[:51]), rtol=1e-14)


def test_bad_input_is_named():
    dirac = wilson_dirac(np.zeros((2, 2, 2, 4)), 0.1)
    odd = wilson_dirac(np.zeros((1, 2, 3, 4)), 0.1)
    for sources in ("some", 0, 9, 1.5):
        with pytest.raises(ValueError, match="sources: got"):
            observables.pseudoscalar_correlator(dirac, sources)
    for function in (
        observables.pseudoscalar_correlator,
        observables.chiral_condensate,
        observables.extreme_eigenvalues,
        observables.condition_numbers,
    ):
        with pytest.raises(ValueError, match="method: got 'magic'"):
            function(dirac, method="magic")
    with pytest.raises(TypeError, match="dirac: got ndarray, expected a WilsonDirac"):
        observables.pseudoscalar_correlator(np.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match=r"mus: got 0.1, expected a sequence of numbers"):
        observables.monomial_masses(0.1)
    with pytest.raises(ValueError, match="rngs: got 1, expected a list of generators"):
        observables.chiral_condensate_estimate(1, dirac, 2)
    with pytest.raises(ValueError, match="correlators: got shape"):
        observables.effective_mass_estimate(np.ones((1, 1, 4)))
    with pytest.raises(ValueError, match="bins: got 1"):
        observables.effective_mass_estimate(np.ones((5, 1, 4)), bins=1)
    with pytest.raises(ValueError, match="rngs: got 1"):
        observables.chiral_condensate_estimate(spawn_rngs(1, 1), dirac, 2)
    for method in ("dense", "sparse"):
        with pytest.raises(ValueError, match="even extent"):
            observables.extreme_eigenvalues(odd, True, method=method)
    with pytest.raises(ValueError, match="mu: got -1"):
        observables.eigenvalues(dirac, mu=-1)
    for mus in ((0.1, 0.1), (0.2, 0.1), (0.0,), (float("nan"),), (0.01,)):
        with pytest.raises(ValueError, match="mus: got"):
            observables.hasenbusch_spectra(dirac, mus, mu_reg=0.01)
    with pytest.raises(ValueError, match="mu_reg: got"):
        observables.hasenbusch_spectra(dirac, (0.1,), mu_reg=-1.0)
    for values, weights in (([], None), ([np.nan], None), ([1.0], [-1.0]), ([1.0], [1.0, 2.0]), ([1.0], [0.0])):
        with pytest.raises(ValueError, match="got"):
            observables.quantiles(values, weights)
