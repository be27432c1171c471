"""Estimators of the determinant: forms and weights against matrices, their exact laws, unbiasedness, conditions, logarithms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import exact
from refimpl.actions import SolverError, log_determinant, wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix, schur_complement
from refimpl.estimators import (
    averaged_log_weight,
    best_scale,
    best_scales,
    determinant_estimate,
    finite_moment,
    gaussian_log_weights,
    lanczos_quadrature,
    log_determinant_estimate,
    log_mean,
    log_moment,
    log_variance,
    monomial_forms,
    relative_variance,
    relative_variance_of_average,
)
from refimpl.estimators.determinant import SpectralForms, complex_normal, conditions
from refimpl.kernels import spawn_rngs
from refimpl.observables import eigenvalues, hasenbusch_spectra, monomial_masses
from refimpl.observables.spectra import chirality, hermitian_matrix

from .gauge_fields import links

MUS = [(), (0.1, 0.5)]
# Condition numbers of M below 1e4 for the fields here, times 1e-16, some ten roundings.
LU = 1e-10
P_VALUE = 1e-7  # of each statistical test, with a fixed seed
SIGMAS = 5.3  # of a normal variable, two-sided


def squared(dirac, even_odd, mu_reg=0.0):
    d = schur_complement(dirac) if even_odd else dense_matrix(dirac)
    return d @ d.conj().swapaxes(1, 2) + mu_reg * np.eye(d.shape[-1])


def kernels(dirac, even_odd, mus, mu_reg=0.0):
    """``K_m`` as matrices, from (37) and (38): ``(chain, monomial, n, n)``."""
    m = squared(dirac, even_odd)
    one = np.eye(m.shape[-1])
    masses = [mu_reg, *mus]
    ratios = [(m + a * one) @ np.linalg.inv(m + b * one) for a, b in itertools.pairwise(masses)]
    return np.stack([*ratios, m + masses[-1] * one], axis=1)


def bernstein(variance, largest, n):
    """t with ``P(|mean - expectation| > t) <= p``, n values from 0 to ``largest``: ``n t^2 = 2 log(2/p) (var + largest t/3)``."""
    log = np.log(2 / P_VALUE)
    b = largest * log / (3 * n)
    return b + np.sqrt(b * b + 2 * log * variance / n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("method", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize(("mus", "mu_reg"), [((), 0.0), ((), 0.02), ((0.01, 0.3), 0.0), ((0.03, 0.3), 0.02)])
def test_forms_are_those_of_the_inverse_kernels(n, method, even_odd, mus, mu_reg):
    rng = np.random.default_rng(1)
    dirac = wilson_dirac(links(rng, n, 2, (2, 4)), 0.2)
    matrices = kernels(dirac, even_odd, mus, mu_reg)
    phi = complex_normal(rng, (2, 3, *matrices.shape[1:3]))
    expected = np.einsum("cdmi,cmij,cdmj->cdm", phi.conj(), np.linalg.inv(matrices), phi)
    got = monomial_forms(dirac, phi, even_odd=even_odd, mus=mus, mu_reg=mu_reg, method=method)
    np.testing.assert_allclose(got, expected.real, rtol=LU)


@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_odd_extents_have_plain_forms(shape):
    rng = np.random.default_rng(2)
    dirac = wilson_dirac(links(rng, 1, 1, shape), 0.2)
    phi = complex_normal(rng, (1, 2, 1, 2 * shape[0] * shape[1]))
    expected = np.einsum("di,ij,dj->d", phi[0, :, 0].conj(), np.linalg.inv(squared(dirac, False)[0]), phi[0, :, 0]).real
    for method in ("dense", "sparse"):
        np.testing.assert_allclose(monomial_forms(dirac, phi, method=method)[0, :, 0], expected, rtol=LU)


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("mus", MUS)
def test_a_perfect_conditional_has_the_determinant_as_its_only_weight(even_odd, mus):
    # phi = B chi with B B^dag = K has the density exp(-phi^dag K^-1 phi) / (pi^n det K): log p - log q = log det K, always.
    rng = np.random.default_rng(3)
    dirac = wilson_dirac(links(rng, 1, 2, (4, 4)), 0.265)
    matrices = kernels(dirac, even_odd, mus)
    rows = matrices.shape[-1]
    chi = complex_normal(rng, (2, 5, matrices.shape[1], rows))
    roots = np.linalg.cholesky((matrices + matrices.conj().swapaxes(-1, -2)) / 2)
    if not mus:
        roots = (schur_complement(dirac) if even_odd else dense_matrix(dirac))[:, None]  # phi = D chi
    phi = np.einsum("cmij,cdmj->cdmi", roots, chi)
    log_p = -monomial_forms(dirac, phi, even_odd=even_odd, mus=mus) - rows * np.log(np.pi)
    log_q = -(np.abs(chi) ** 2).sum(-1) - rows * np.log(np.pi) - np.linalg.slogdet(matrices)[1][:, None]
    log_w = (log_p - log_q).sum(-1)
    np.testing.assert_allclose(log_w, np.tile(2 * log_determinant(dirac)[0][:, None], 5), rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 0.7, 2.0])
def test_weights_are_density_over_density(scale):
    rng = np.random.default_rng(4)
    dirac = wilson_dirac(links(rng, 1, 1, (2, 2)), 0.2)
    (k,) = kernels(dirac, False, (0.3,)).swapaxes(0, 1)[0]
    chi = complex_normal(rng, (3, 2, 4, 8))
    forms = SpectralForms(monomial_masses((0.3,)), chirality(dirac), hermitian_matrix(dirac)[0])
    got = gaussian_log_weights(chi, forms, np.array([scale, 1.0]))[:, 0]
    phi = np.sqrt(scale) * chi[:, 0]
    log_q = -(np.abs(phi) ** 2).sum(-1) / scale - 8 * np.log(np.pi * scale)
    log_p = -np.einsum("dpi,ij,dpj->dp", phi.conj(), np.linalg.inv(k), phi).real - 8 * np.log(np.pi)
    np.testing.assert_allclose(got, log_p - log_q, rtol=LU)


def test_noise_has_the_density_of_the_gaussian():
    z = complex_normal(np.random.default_rng(5), (20000,))
    # |z|^2 is exponential, real and imaginary part have variance 1/2 (relative error sqrt(2/n)); no correlation.
    assert abs((np.abs(z) ** 2).mean() - 1) < SIGMAS / np.sqrt(20000)
    assert abs(z.real.var() - 0.5) < SIGMAS * 0.5 * np.sqrt(2 / 20000)
    assert abs((z.real * z.imag).mean()) < SIGMAS * 0.5 / np.sqrt(20000)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.2, 1.3), min_size=1, max_size=4), st.integers(1, 4))
def test_moments_are_integrals(lams, k):
    # Every mode has |chi|^2 exponential: E exp(-k (1/lam - 1) u), by 80 nodes of Gauss and Laguerre.
    nodes, weights = np.polynomial.laguerre.laggauss(80)
    lams = np.array(lams)
    if k * (1 - 1 / lams.max()) > 0.8:
        return  # close to divergence the rule needs more nodes
    rates = 1 / lams - 1
    moments = (weights * np.exp(-k * rates[:, None] * nodes)).sum(1)
    np.testing.assert_allclose(log_moment(lams, k), np.log(moments).sum(), rtol=0, atol=1e-6)
    variance = np.exp(log_moment(lams, 2) - 2 * log_moment(lams, 1)) - 1
    np.testing.assert_allclose(relative_variance(lams), variance, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(
        log_mean(lams), -(weights * nodes).sum() * rates.sum(), rtol=0, atol=1e-9 * len(lams) * 4
    )
    np.testing.assert_allclose(log_variance(lams), (rates**2).sum(), rtol=1e-12)


def test_moments_end_where_they_diverge():
    lams = np.array([[0.5, 1.3], [0.5, 1.4], [0.5, 1.9], [0.5, 2.0], [0.5, 2.7]])
    np.testing.assert_array_equal(finite_moment(lams, 2), [True, True, True, False, False])
    np.testing.assert_array_equal(finite_moment(lams, 4), [True, False, False, False, False])
    np.testing.assert_array_equal(np.isfinite(relative_variance(lams)), finite_moment(lams, 2))
    np.testing.assert_array_equal(np.isfinite(log_moment(lams, 4)), finite_moment(lams, 4))
    info = conditions(lams[:, None])
    np.testing.assert_array_equal(info.finite_variance, finite_moment(lams, 2))
    np.testing.assert_array_equal(info.finite_fourth_moment, finite_moment(lams, 4))
    assert relative_variance(np.ones(5)) == 0
    assert np.isinf(relative_variance([0.0, 1.0]))


# Scales of at least lam_max make weights bounded by c^n, and Bernstein's inequality rigorous.
@pytest.mark.parametrize(
    ("n", "shape", "kappa", "even_odd", "mus", "n_pf"),
    [
        (1, (2, 2), 0.1, False, (), 1),
        (1, (2, 2), 0.2, True, (), 3),
        (1, (2, 2), 0.1, False, (0.1, 0.5), 2),
        (1, (4, 4), 0.1, True, (), 1),
        (1, (4, 4), 0.1, True, (0.3,), 2),
        (1, (2, 3), 0.05, False, (0.2,), 1),
        (2, (2, 2), 0.1, True, (0.2,), 1),
        (3, (2, 2), 0.1, True, (), 2),
    ],
)
def test_estimates_are_unbiased(n, shape, kappa, even_odd, mus, n_pf):
    draws = 20000
    dirac = wilson_dirac(links(np.random.default_rng(6), n, 2, shape), kappa)
    spectra = hasenbusch_spectra(dirac, mus, even_odd)
    scales = spectra.max(axis=(0, 2))
    values, info = determinant_estimate(
        spawn_rngs(7, 2), dirac, draws, even_odd=even_odd, mus=mus, scales=tuple(scales), n_pf=n_pf
    )
    exact_log = 2 * log_determinant(dirac)[0]
    np.testing.assert_allclose(info.log_determinant, exact_log, rtol=0, atol=1e-10)
    weights = np.exp(values - exact_log[:, None])
    largest = np.exp(spectra.shape[2] * np.log(scales).sum() - exact_log)
    assert np.all(weights <= largest[:, None])
    bound = bernstein(info.relative_variance, largest, draws)
    assert bound.min() < 0.2  # strong enough to see a flavour too few, or a wrong scale
    assert np.all(np.abs(weights.mean(axis=1) - 1) < bound)


def test_without_a_scale_where_the_fourth_moment_is_finite():
    dirac = wilson_dirac(exact.u1.sample(np.random.default_rng(8), 3, 2.0, (4, 4)), 0.1)
    values, info = determinant_estimate(spawn_rngs(9, 3), dirac, 5000, even_odd=True)
    assert info.finite_fourth_moment.all()
    weights = np.exp(values - info.log_determinant[:, None])
    assert np.all(np.abs(weights.mean(1) - 1) < SIGMAS * np.sqrt(info.relative_variance / 5000))
    lams = eigenvalues(dirac, True)
    fourth = sum(
        c * np.exp(log_moment(lams, k) - k * log_moment(lams, 1)) for k, c in enumerate((-3, 6, -4, 1), 1) if k > 1
    )
    fourth -= 3  # E (w - 1)^4 = E w^4 - 4 E w^3 + 6 E w^2 - 3 for E w = 1
    error = np.sqrt((fourth - info.relative_variance**2) / 5000)
    assert np.all(np.abs(weights.var(1) - info.relative_variance) < SIGMAS * error)


@pytest.mark.parametrize(
    ("even_odd", "mus", "scales"), [(False, (), 1.0), (True, (0.001, 0.01, 0.05), (1.0, 1.1, 0.9, 1.5))]
)
def test_logarithms_have_their_mean_and_variance_at_any_size(even_odd, mus, scales):
    draws = 800
    dirac = wilson_dirac(exact.u1.sample(np.random.default_rng(10), 2, 2.0, (8, 8)), 0.265)
    values, info = determinant_estimate(spawn_rngs(11, 2), dirac, draws, even_odd=even_odd, mus=mus, scales=scales)
    assert not info.finite_variance.any() or even_odd
    lams = hasenbusch_spectra(dirac, mus, even_odd) / np.broadcast_to(scales, len(mus) + 1)[:, None]
    rates = (1 / lams - 1).reshape(2, -1)
    # Sums of exponentials: cumulants r^2 and 6 r^4 each, so that both errors are exact.
    assert np.all(np.abs(values.mean(1) - info.log_mean) < SIGMAS * np.sqrt(info.log_variance / draws))
    error = np.sqrt((6 * (rates**4).sum(1) + 2 * info.log_variance**2) / draws)
    assert np.all(np.abs(values.var(1) - info.log_variance) < SIGMAS * error)
    np.testing.assert_allclose(info.log_variance, (rates**2).sum(1), rtol=1e-9)


def test_averages_over_n_pf_follow_the_product_law():
    # Two monomials of weights with variance of order 1; c = lam_max bounds them.
    dirac = wilson_dirac(links(np.random.default_rng(12), 1, 1, (2, 2)), 0.15)
    spectra = hasenbusch_spectra(dirac, (0.4,), False)
    scales = tuple(spectra.max(axis=2)[0])
    single = relative_variance(spectra[0] / np.array(scales)[:, None])
    assert single.min() > 0.3
    for n_pf in (1, 3):
        law = np.prod(1 + single / n_pf) - 1
        values, info = determinant_estimate(spawn_rngs(13, 1), dirac, 20000, mus=(0.4,), scales=scales, n_pf=n_pf)
        np.testing.assert_allclose(
            [info.relative_variance[0], relative_variance_of_average(single, n_pf)], law, rtol=1e-12
        )
        squares = (np.exp(values - info.log_determinant[:, None])[0] - 1) ** 2
        error = squares.std() / np.sqrt(20000)
        assert abs(squares.mean() - law) < SIGMAS * error
        assert abs(squares.mean() - single.sum() / n_pf) > 2 * error or n_pf > 1  # (45) with C = sum X_m is not the law


def test_averages_in_logarithms_do_not_overflow():
    np.testing.assert_allclose(
        averaged_log_weight([[1000.0, 1000.0], [-2000.0, -2000.0 + np.log(3)]]), [1000, -2000 + np.log(2)]
    )
    np.testing.assert_array_equal(averaged_log_weight([-np.inf, -np.inf]), -np.inf)


def test_thermal_fields_break_the_conditions_and_a_scale_mends_the_variance():
    dirac = wilson_dirac(exact.u1.sample(np.random.default_rng(14), 2, 2.0, (8, 8)), 0.265)
    for options in ({}, {"even_odd": True}, {"even_odd": True, "mus": (0.001, 0.01, 0.05)}):
        _, info = determinant_estimate(spawn_rngs(15, 2), dirac, 1, **options)
        spectra = hasenbusch_spectra(dirac, options.get("mus", ()), options.get("even_odd", False))
        np.testing.assert_allclose(info.lam_min, spectra.min(2), rtol=1e-12)
        np.testing.assert_allclose(info.lam_max, spectra.max(2), rtol=1e-12)
        assert np.all(info.lam_max[:, -1] > 2)
        assert np.all(info.lam_max[:, :-1] < 1)
        assert not info.finite_variance.any()
        assert not info.finite_fourth_moment.any()
        assert np.isinf(info.relative_variance).all()
        best = conditions(spectra, [best_scale(spectra[:, m]) for m in range(spectra.shape[1])])
        assert best.finite_variance.all()
        assert not best.finite_fourth_moment.any()
        bounded = conditions(spectra, spectra.max(axis=(0, 2)))
        assert bounded.finite_fourth_moment.all()
        np.testing.assert_allclose(bounded.log_determinant, 2 * log_determinant(dirac)[0], rtol=0, atol=1e-9)


def test_the_best_scale_has_the_least_variance():
    lams = np.array([0.3, 0.9, 1.4, 2.6])
    best = best_scale(lams)
    assert best > 1.3
    around = relative_variance(lams / (best * np.array([0.99, 1.0, 1.01]))[:, None])
    assert np.argmin(around) == 1
    assert abs(best_scale([0.7]) - 0.7) < 1e-12
    many = np.random.default_rng(1).uniform(0.2, 3.0, (2, 3, 4))
    np.testing.assert_allclose(best_scales(many), [[best_scale(one) for one in some] for some in many], rtol=1e-12)
    for bad in ([], [0.0], [np.inf], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="lams: got"):
            best_scale(bad)


@pytest.mark.parametrize("options", [{}, {"even_odd": True, "mus": (0.1,), "n_pf": 2, "mu_reg": 0.01}])
def test_a_chain_has_its_bits_in_any_batch_and_methods_agree(options):
    x = links(np.random.default_rng(16), 2, 3, (2, 4))
    dirac, single = wilson_dirac(x, 0.2), wilson_dirac(x[1:2], 0.2)
    values, info = determinant_estimate(spawn_rngs(17, 3), dirac, 4, **options)
    alone, _ = determinant_estimate(spawn_rngs(17, 3)[1:2], single, 4, **options)
    np.testing.assert_array_equal(values[1], alone[0])
    sparse, none = determinant_estimate(spawn_rngs(17, 3), dirac, 4, method="sparse", diagnose=False, **options)
    assert none is None
    np.testing.assert_allclose(sparse, values, rtol=0, atol=1e-8)
    regulated = np.linalg.slogdet(squared(dirac, options.get("even_odd", False), options.get("mu_reg", 0.0)))[1]
    np.testing.assert_allclose(info.log_determinant, regulated, rtol=0, atol=1e-9)
    assert len(np.unique(values)) == values.size


def test_many_draws_are_made_in_parts(monkeypatch):
    dirac = wilson_dirac(links(np.random.default_rng(18), 1, 1, (2, 2)), 0.2)
    whole, _ = determinant_estimate(spawn_rngs(19, 1), dirac, 7, mus=(0.1,), n_pf=2)
    monkeypatch.setattr("refimpl.estimators.determinant.NUMBERS", 70)
    parts, _ = determinant_estimate(spawn_rngs(19, 1), dirac, 7, mus=(0.1,), n_pf=2)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("noise", ["z2", "gaussian"])
def test_log_determinants_have_their_mean_and_variance(n, even_odd, noise):
    draws = 2000
    dirac = wilson_dirac(links(np.random.default_rng(20), n, 2, (2, 4)), 0.2)
    values, info = log_determinant_estimate(spawn_rngs(21, 2), dirac, draws, even_odd=even_odd, noise=noise)
    np.testing.assert_allclose(info.log_determinant, 2 * log_determinant(dirac)[0], rtol=0, atol=1e-10)
    assert np.all(np.abs(values.mean(1) - info.log_determinant) < SIGMAS * np.sqrt(info.variance / draws))
    # Quadratic forms of some tens of modes have a kurtosis of a few: ((3 + few) - 1)/n under the root.
    np.testing.assert_allclose(values.var(1), info.variance, rtol=SIGMAS * np.sqrt(6 / draws))
    assert (info.remainder == 0).all()
    gauss, _ = log_determinant_estimate(spawn_rngs(21, 2), dirac, 3, even_odd=even_odd, noise=noise, steps=48)
    same, _ = log_determinant_estimate(spawn_rngs(21, 2), dirac, 3, even_odd=even_odd, noise=noise)
    np.testing.assert_allclose(gauss, same, rtol=0, atol=1e-9)  # as many steps as rows, at least: exact


@pytest.mark.parametrize("even_odd", [False, True])
def test_lanczos_brackets_the_logarithm(even_odd):
    dirac = wilson_dirac(exact.u1.sample(np.random.default_rng(22), 3, 2.0, (4, 4)), 0.265)
    same, _ = log_determinant_estimate(spawn_rngs(23, 3), dirac, 4, even_odd=even_odd)
    before = np.inf
    for steps in (1, 3, 6, 12):
        values, info = log_determinant_estimate(spawn_rngs(23, 3), dirac, 4, even_odd=even_odd, steps=steps)
        excess = values - same
        assert np.all(excess > -1e-9)
        assert np.all(excess < info.remainder + 1e-9)
        assert info.variance is None
        assert excess.max() < before
        before = excess.max()


def test_lanczos_of_an_exhausted_space_is_exact():
    # Two distinct eigenvalues: two steps see all there is, and the third finds nothing.
    diagonal = np.array([2.0, 2.0, 2.0, 5.0])
    z = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 3.0]]) + 0j
    for steps in (2, 3, 4):
        bounds = lanczos_quadrature(lambda psi: diagonal * psi, z, steps, np.array([1.5, 1.5]))
        np.testing.assert_allclose(bounds, [[5 * np.log(2) + np.log(5), 9 * np.log(5)]] * 2, rtol=1e-12)
    free = wilson_dirac(np.zeros((1, 2, 2, 2)), 0.0)
    assert np.abs(log_determinant_estimate(spawn_rngs(1, 1), free, 2, steps=2)[0]).max() < 1e-14


def test_bad_input_is_named():
    dirac = wilson_dirac(np.zeros((2, 2, 2, 4)), 0.1)
    rngs = spawn_rngs(1, 2)
    for options, text in (
        ({"n": 0}, "n: got 0"),
        ({"n_pf": 0}, "n_pf: got 0"),
        ({"mus": (0.2, 0.1)}, "mus: got"),
        ({"mus": 0.1}, "mus: got 0.1, expected a sequence of numbers"),
        ({"mu_reg": -1.0}, "mu_reg: got"),
        ({"scales": 0.0}, "scales: got 0"),
        ({"scales": (1.0, 1.0)}, "scales: got 2, expected one or one for each of 1"),
        ({"method": "magic"}, "method: got 'magic'"),
    ):
        with pytest.raises(ValueError, match=text):
            determinant_estimate(rngs, dirac, **{"n": 1, **options})
    for estimate in (determinant_estimate, log_determinant_estimate):
        with pytest.raises(ValueError, match="rngs: got 1"):
            estimate(rngs[:1], dirac, 1)
        with pytest.raises(ValueError, match=r"rngs: got Generator.*expected a list of generators"):
            estimate(rngs[0], dirac, 1)
        with pytest.raises(TypeError, match="dirac: got ndarray, expected a WilsonDirac"):
            estimate(rngs, np.zeros((2, 2, 2, 4)), 1)
        with pytest.raises(ValueError, match="even extent"):
            estimate(rngs[:1], wilson_dirac(np.zeros((1, 2, 3, 4)), 0.1), 1, even_odd=True)
    with pytest.raises(ValueError, match="phi: got shape"):
        monomial_forms(dirac, np.zeros((2, 1, 1, 15), complex))
    with pytest.raises(TypeError, match="phi: got dtype float64"):
        monomial_forms(dirac, np.zeros((2, 1, 1, 16)))
    with pytest.raises(ValueError, match="noise: got 'pink'"):
        log_determinant_estimate(rngs, dirac, 1, noise="pink")
    with pytest.raises(ValueError, match="steps: got 0"):
        log_determinant_estimate(rngs, dirac, 1, steps=0)


@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_a_singular_operator_is_refused_and_a_regulator_mends_it(method):
    dirac = wilson_dirac(np.zeros((1, 2, 2, 2)), 0.25, antiperiodic=False)
    with pytest.raises(SolverError, match="singular"):
        determinant_estimate(spawn_rngs(1, 1), dirac, 1, method=method)
    values, info = determinant_estimate(spawn_rngs(1, 1), dirac, 1, mu_reg=0.1, method=method)
    assert np.isfinite(values).all()
    assert np.isfinite(info.log_determinant).all()
    for steps in (None, 3):
        with pytest.raises(SolverError, match="singular"):
            log_determinant_estimate(spawn_rngs(1, 1), dirac, 1, steps=steps)
