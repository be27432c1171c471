"""Correlated cosh fits: exact curves, another minimiser, laws of chi^2 and of the pulls, the free field; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import fits
from refimpl.exact import free_scalar
from refimpl.observables.scalars import correlator

SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed
M2, SHAPE = 0.1, (12, 6)
MASS, SLICES = free_scalar.mass(M2), 7
CURVE = free_scalar.correlator(M2, SHAPE)
AMPLITUDE = CURVE[0] / (1 + math.exp(-MASS * SHAPE[0]))


def free_covariance():
    """Covariance, over configurations, of ``C(t)``, t = 0, ..., 6, of a free field, by Wick's theorem."""
    n_t = SHAPE[0]
    c, r = CURVE, np.arange(n_t)
    return np.array(
        [
            [(c[r] * c[(r + s - t) % n_t] + c[(r + s) % n_t] * c[(r - t) % n_t]).mean() for s in range(SLICES)]
            for t in range(SLICES)
        ]
    )


COVARIANCE = free_covariance()
ROOT = np.linalg.cholesky(COVARIANCE)


def unfolded(half):
    """Rows ``(n, 7)`` of C(0), ..., C(6) as rows of C(0), ..., C(11)."""
    return np.concatenate([half, half[:, -2:0:-1]], axis=1)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 2), st.floats(0.01, 100), st.integers(6, 40), st.integers(0, 2))
def test_an_exact_curve_is_found(mass, amplitude, extent, first):
    t = np.arange(first, min(extent // 2, first + 6) + 1)
    if len(t) < 3:
        return
    y = amplitude * (np.exp(-mass * t) + np.exp(-mass * (extent - t)))
    fit = fits.cosh_fit_of_means(y, np.diag((0.01 * y) ** 2), extent, first, t[-1])
    # chi^2 has its minimum where the curvature of the curve, down to (m T/2)^2/2 at small masses, still tells the mass.
    assert math.isclose(fit.mass, mass, rel_tol=1e-6)
    assert math.isclose(fit.amplitude, amplitude, rel_tol=1e-6)
    assert fit.chi2 < 1e-12
    np.testing.assert_allclose(fit.curve(t), y, rtol=1e-8)
    assert fit.dof == len(t) - 2
    assert math.isclose(fit.printed_amplitude, amplitude * math.exp(-mass * extent), rel_tol=1e-4)


def test_another_minimiser_finds_the_same():
    from scipy.optimize import curve_fit

    y = CURVE[:SLICES] + 0.05 * ROOT @ np.random.default_rng(1).standard_normal(SLICES)
    s, n_t = 0.05**2 * COVARIANCE, SHAPE[0]
    fit = fits.cosh_fit_of_means(y, s, n_t, 0)
    t = np.arange(SLICES)
    best, covariance = curve_fit(
        lambda t, a, m: a * (np.exp(-m * t) + np.exp(-m * (n_t - t))), t, y, (1, 1), s, absolute_sigma=True
    )
    np.testing.assert_allclose([fit.amplitude, fit.mass], best, rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-4)  # its derivatives are differences
    r = y - fit.curve(t)
    assert fit.chi2 == pytest.approx(r @ np.linalg.solve(s, r), rel=1e-9)
    # A exp(-m T) by differences.
    h = 1e-6
    slope = [
        (a * math.exp(-m * n_t) - fit.printed_amplitude) / h
        for a, m in ((fit.amplitude + h, fit.mass), (fit.amplitude, fit.mass + h))
    ]
    assert fit.printed_amplitude_error == pytest.approx(math.sqrt(slope @ fit.covariance @ slope), rel=1e-4)


def test_a_growing_cosh_is_the_same_curve_with_the_printed_amplitude(monkeypatch):
    monkeypatch.setattr(fits, "_start", lambda means, times, extent: np.array([1e-4, -MASS]))
    fit = fits.cosh_fit_of_means(CURVE[:SLICES], COVARIANCE, SHAPE[0], 0)
    assert fit.mass == pytest.approx(MASS, rel=1e-9)
    assert fit.amplitude == pytest.approx(AMPLITUDE, rel=1e-9)


def chi_square_bounds(n):
    """Bounds of the mean of n squares of N(0, 1), SIGMAS standard errors wide."""
    return 1 - SIGMAS * math.sqrt(2 / n), 1 + SIGMAS * math.sqrt(2 / n)


def test_pulls_are_normal_and_chi_squared_is_chi_squared_where_the_covariance_is_known():
    from scipy.stats import kstest

    n, size, rng = 300, 0.02, np.random.default_rng(2)  # small errors: the model is linear over them
    results = [
        fits.cosh_fit_of_means(CURVE[:SLICES] + size * ROOT @ rng.standard_normal(SLICES), size**2 * COVARIANCE, 12, 0)
        for _ in range(n)
    ]
    for pulls in (
        np.array([(f.mass - MASS) / f.mass_error for f in results]),
        np.array([(f.amplitude - AMPLITUDE) / f.amplitude_error for f in results]),
    ):
        low, high = chi_square_bounds(n)
        assert low < (pulls**2).mean() < high
        assert abs(pulls.mean()) < SIGMAS / math.sqrt(n)
    assert kstest([f.p_value for f in results], "uniform").pvalue > 1e-6
    chi2 = np.array([f.chi2 for f in results])
    assert abs(chi2.mean() - 5) < SIGMAS * math.sqrt(2 * 5 / n)
    assert results[0].chi2_per_dof == results[0].chi2 / 5
    assert np.isnan(results[0].jackknife_errors).all()


def test_few_bins_have_the_laws_of_hotelling_and_rao():
    # Eight bins for five slices: with nu = 7, dof = 3 the variance of a parameter is (nu - 1)/(nu - dof - 1) = 2 times that of
    # known weights, where the curvature of chi^2 claims (nu - dof)/nu = 4/7 of it.
    from scipy.stats import kstest

    n, bins, slices, size, rng = 150, 8, 5, 0.02, np.random.default_rng(3)
    data = CURVE[:SLICES] + size * rng.standard_normal((n, bins, SLICES)) @ ROOT.T
    results = [fits.cosh_fit(unfolded(rows), 0, slices - 1) for rows in data]
    assert kstest([f.p_value for f in results], "uniform").pvalue > 1e-6
    known = fits.cosh_fit_of_means(CURVE[:slices], COVARIANCE[:slices, :slices] * size**2 / bins, 12, 0, slices - 1)
    claimed = np.array([f.mass_error**2 for f in results]) / known.mass_error**2
    assert abs(claimed.mean() - 2) < SIGMAS * 2 * math.sqrt(2 / 4 / n)  # chi-squared with nu - dof = 4
    squares = np.array([(f.mass - MASS) ** 2 for f in results]) / known.mass_error**2
    assert abs(squares.mean() - 2) < SIGMAS * squares.std() / math.sqrt(n)
    jack = np.mean([f.jackknife_errors[1] ** 2 for f in results]) / known.mass_error**2
    assert 1.5 < jack < 8  # too wide, as the jackknife of weights from few bins is known to be


def test_the_jackknife_is_the_fit_without_a_bin():
    rng, bins = np.random.default_rng(4), 20
    rows = unfolded(CURVE[:SLICES] + 0.1 * rng.standard_normal((bins, SLICES)) @ ROOT.T)
    fit = fits.cosh_fit(rows, 1, 5)
    for i in (0, 7):
        left = np.delete(rows, i, axis=0)
        without = fits.cosh_fit(left, 1, 5)
        np.testing.assert_allclose(fit.replicas[i], [without.amplitude, without.mass], rtol=1e-7)
    for k in (0, 1):
        spread = fit.replicas[:, k] - fit.replicas[:, k].mean()
        assert fit.jackknife_errors[k] == pytest.approx(math.sqrt((bins - 1) / bins * (spread**2).sum()), rel=1e-12)
    # With many bins both errors are one.
    rows = unfolded(CURVE[:SLICES] + 0.1 * rng.standard_normal((400, SLICES)) @ ROOT.T)
    fit = fits.cosh_fit(rows, 0, bins=200)
    assert fit.jackknife_errors[1] == pytest.approx(fit.mass_error, rel=0.3)


def test_bins_are_means_of_successive_rows_and_both_halves_of_a_correlator_count():
    rng = np.random.default_rng(5)
    rows = CURVE + 0.1 * rng.standard_normal((65, 12))  # the halves differ
    folded = (rows + rows[:, -np.arange(12) % 12]) / 2
    blocks = folded[5:].reshape(12, 5, 12).mean(axis=1)
    one, two = fits.cosh_fit(rows, 1, 5, bins=12), fits.cosh_fit(blocks, 1, 5)
    assert one.mass == pytest.approx(two.mass, rel=1e-9)
    assert one.chi2 == pytest.approx(two.chi2, rel=1e-9)
    assert len(fits.cosh_fit(np.tile(rows, (2, 1)), 1, 5).replicas) == 100


def test_the_mass_of_free_fields_is_found():
    x = free_scalar.sample(np.random.default_rng(6), 3000, M2, SHAPE)
    fit = fits.cosh_fit(correlator(x), 0)
    assert abs(fit.mass - MASS) < SIGMAS * fit.mass_error
    assert abs(fit.amplitude - AMPLITUDE) < SIGMAS * fit.amplitude_error
    assert fit.p_value > 1e-6
    assert fit.mass_error < 0.03 * MASS
    # The errors are those of the exact covariance of a free field.
    exact = fits.cosh_fit_of_means(CURVE[:SLICES], COVARIANCE / 3000, SHAPE[0], 0)
    assert fit.mass_error == pytest.approx(exact.mass_error, rel=0.5)  # 93 degrees of freedom: 4.9/sqrt(2 * 93)


# --- bad input -------------------------------------------------------------------------------------------------------
GOOD = unfolded(CURVE[:SLICES] + 0.1 * np.random.default_rng(7).standard_normal((20, SLICES)) @ ROOT.T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fits.cosh_fit(GOOD[0], 0), r"samples: got shape \(12,\)"),
        (lambda: fits.cosh_fit(np.where(GOOD > 0.3, np.nan, GOOD), 0), "samples: got NaN"),
        (lambda: fits.cosh_fit(GOOD, 7), "first: got 7"),
        (lambda: fits.cosh_fit(GOOD, 0, 7), "last: got 7, expected an integer from 0 to 6"),
        (lambda: fits.cosh_fit(GOOD, 3, 4), "first, last: got slices 3 to 4, expected at least 3"),
        (lambda: fits.cosh_fit(GOOD, 0, bins=21), "bins: got 21"),
        (lambda: fits.cosh_fit(GOOD, 0, bins=8), "bins: got 8, expected at least 9 to weigh 7 slices"),
        (lambda: fits.cosh_fit(np.tile(CURVE, (20, 1)), 0), "covariance: not positive definite"),
        (lambda: fits.cosh_fit_of_means(CURVE[:3], np.eye(4), 12, 0, 2), r"got shapes \(3,\) and \(4, 4\)"),
        (lambda: fits.cosh_fit_of_means(CURVE[:3], np.full((3, 3), np.nan), 12, 0, 2), "got NaN"),
        (lambda: fits.cosh_fit_of_means(CURVE[:3], -np.eye(3), 12, 0, 2), "covariance: not positive definite"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
