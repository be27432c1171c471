"""Errors of means against closed forms for AR(1) series, resampling against error propagation, exact tests by hand."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import chi2

from refimpl import statistics

U = 2.0**-53


def ar1(phi, steps, chains, seed):
    """Stationary ``x_i = phi x_(i-1) + sqrt(1 - phi^2) noise`` of variance 1, shape ``(step, chain)``."""
    noise = np.random.default_rng(seed).standard_normal((steps, chains))
    noise[1:] *= math.sqrt(1 - phi * phi)
    return lfilter([1.0], [1.0, -phi], noise, axis=0)


def ar1_tau(phi):
    """``1/2 + sum_t phi^t``."""
    return (1 + phi) / (2 * (1 - phi))


def ar1_error_of_mean(phi, steps):
    """``sqrt(1/n^2 sum_ij phi^|i-j|)``, the sum over a chain of ``n`` steps done exactly."""
    t = np.arange(1, steps)
    return math.sqrt((1 + 2 * np.sum((1 - t / steps) * phi**t)) / steps)


# --- autocovariance --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(2,), (9,), (8, 1), (7, 3), (50, 4)])
def test_autocovariance_equals_the_average_of_products(shape):
    data = np.random.default_rng(1).normal(3.0, 1.0, shape)
    centred = (data - data.mean()).reshape(shape[0], -1)
    n = shape[0]
    expected = [np.mean(centred[: n - t] * centred[t:]) for t in range(n)]
    got = statistics.autocovariance(data)
    assert got.shape == (n,)
    # A transform of 2n points rounds the sum of n squares by some log2(2n) units; the last lag divides it by 1.
    tolerance = 4 * math.log2(2 * n) * U * np.max(np.sum(centred**2, axis=0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_autocovariance_is_about_the_mean_over_all_chains():
    # Two constant chains at +1 and -1 about 5: their common mean makes every lag 1.
    got = statistics.autocovariance(np.tile([6.0, 4.0], (8, 1)))
    np.testing.assert_allclose(got, np.ones(8), rtol=0, atol=4 * 4 * U * 8)  # log2(16) = 4 and a sum of 8 squares


# --- integrated autocorrelation time ---------------------------------------------------------------------------------
@pytest.mark.parametrize("phi", [0.0, 0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("chains", [1, 4])
def test_tau_of_ar1_is_its_closed_form(phi, chains):
    tau = statistics.integrated_autocorrelation_time(ar1(phi, 2**15 // chains, chains, seed=11))
    assert abs(tau.tau - ar1_tau(phi)) < 5 * tau.error
    assert 0 < tau.error < 0.2 * tau.tau  # so that five errors tell the conventions apart
    assert tau.window >= 1


def test_tau_of_white_noise_is_one_half():
    tau = statistics.integrated_autocorrelation_time(np.random.default_rng(2).standard_normal(2**15))
    assert abs(tau.tau - 0.5) < 5 * tau.error
    assert tau.error < 0.01  # tau sqrt(4 W/n) = 0.0055 at W = 1


@pytest.mark.parametrize(("steps", "chains"), [(60, 1), (40, 3), (500, 1)])
def test_tau_its_error_and_its_window_are_the_formulas_of_wolff(steps, chains):
    series = ar1(0.6, steps, chains, seed=10)
    result = statistics.integrated_autocorrelation_time(series)
    centred, n = series - series.mean(), series.size
    rho = np.array([np.mean(centred[: steps - t] * centred[t:]) for t in range(result.window + 1)]) / np.mean(
        centred**2
    )

    def closes(window):
        tau = 0.5 + rho[1 : window + 1].sum()
        scale = 1.5 / math.log((2 * tau + 1) / (2 * tau - 1))
        return math.exp(-window / scale) < scale / math.sqrt(window * n)

    assert [closes(window) for window in range(1, result.window + 1)] == [False] * (result.window - 1) + [True]
    expected = (0.5 + rho[1:].sum()) * (1 + (2 * result.window + 1) / n)
    # Sums of n products by transform against one by one.
    assert result.tau == pytest.approx(expected, rel=1e-12)
    assert result.error == pytest.approx(expected * math.sqrt(4 / n * (result.window + 0.5 - expected)), rel=1e-12)


def test_the_error_of_tau_covers_the_truth():
    series = ar1(0.7, 4000, 200, seed=3)
    results = [statistics.integrated_autocorrelation_time(series[:, replica]) for replica in range(200)]
    pulls = np.array([(tau.tau - ar1_tau(0.7)) / tau.error for tau in results])
    # 200 pulls: 0.07 and 0.05 of noise; the rest is for the truncation and the error of the error of the method.
    assert abs(pulls.mean()) < 0.5
    assert 0.7 < pulls.std() < 1.4


def test_chains_are_more_data():
    series = ar1(0.6, 4000, 16, seed=4)
    one = statistics.integrated_autocorrelation_time(series[:, 0])
    all_ = statistics.integrated_autocorrelation_time(series)
    assert abs(all_.tau - ar1_tau(0.6)) < 5 * all_.error
    # 16 times the data: errors smaller by 4, but for a window that grows like log n and the error of either tau.
    assert 2.5 < one.error / all_.error < 6


def test_the_order_of_chains_does_not_matter():
    series = ar1(0.6, 500, 6, seed=5)
    a = statistics.integrated_autocorrelation_time(series)
    b = statistics.integrated_autocorrelation_time(series[:, ::-1])
    assert a.window == b.window
    assert a.tau == pytest.approx(b.tau, rel=1e-12)  # 3000 terms in another order: 3000 u at the very most


@pytest.mark.parametrize("exponent", [-40, -1, 40])
def test_tau_does_not_depend_on_the_unit(exponent):
    series = ar1(0.5, 1000, 1, seed=6)
    expected = statistics.integrated_autocorrelation_time(series)
    assert statistics.integrated_autocorrelation_time(series * 2.0**exponent) == expected  # powers of 2 are exact


def test_tau_does_not_depend_on_a_very_small_unit():
    series = ar1(0.5, 1000, 1, seed=6)
    expected = statistics.integrated_autocorrelation_time(series)
    assert statistics.integrated_autocorrelation_time(series * 2.0**-60) == expected


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e9, 1e-300])
@pytest.mark.parametrize("shape", [(100,), (77, 3)])
def test_a_constant_series_has_tau_one_half_without_error(value, shape):
    assert statistics.integrated_autocorrelation_time(np.full(shape, value)) == (0.5, 0.0, 0)


def test_a_series_shorter_than_its_correlations_has_an_infinite_error():
    tau = statistics.integrated_autocorrelation_time(ar1(0.99, 10, 500, seed=9))
    assert tau.error == math.inf
    assert tau.window == 5
    assert 5 < tau.tau < 6  # 1/2 and five lags of correlation almost 1


def test_a_larger_stretch_sums_more_lags():
    series = ar1(0.8, 4000, 1, seed=7)
    windows = [statistics.integrated_autocorrelation_time(series, stretch).window for stretch in (1.0, 1.5, 3.0)]
    assert windows == sorted(set(windows))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_emcee_reports_twice_our_tau(phi):
    autocorr = pytest.importorskip("emcee.autocorr", reason="emcee, which has the other convention, is not installed")
    series = ar1(phi, 2**17, 1, seed=8)[:, 0]
    ours = statistics.integrated_autocorrelation_time(series)
    theirs = float(autocorr.integrated_time(series, c=5, quiet=True)[0])
    # Their window is five of their times; the error of a sum over W lags is tau sqrt(4 (W + 1/2 - tau)/n).
    window = 5 * theirs
    error = theirs * math.sqrt(4 * (window + 0.5) / series.size)
    assert abs(theirs - 2 * ours.tau) < 5 * (error + 2 * ours.error)
    assert 5 * (error + 2 * ours.error) < 0.6 * theirs  # so that equal conventions, off by 1/2, would fail


@pytest.mark.parametrize("phi", [-0.3, -0.8])
def test_tau_of_anticorrelated_series_is_its_closed_form(phi):
    tau = statistics.integrated_autocorrelation_time(ar1(phi, 2**15, 1, seed=11))
    assert abs(tau.tau - ar1_tau(phi)) < 5 * tau.error


# --- means -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("chains", [1, 8])
def test_the_error_of_the_mean_of_ar1_is_exact(phi, chains):
    steps = 2**15 // chains
    result = statistics.mean(7.0 + ar1(phi, steps, chains, seed=12))
    exact = ar1_error_of_mean(phi, steps) / math.sqrt(chains)
    # sqrt(2 tau var/n): half the relative errors of tau, and of the variance, sqrt(2/n sum_t phi^(2|t|)).
    relative = result.tau.error / result.tau.tau + math.sqrt(2 / 2**15 * (1 + phi**2) / (1 - phi**2))
    assert abs(result.error / exact - 1) < 5 * relative / 2
    assert relative < 0.2
    assert abs(result.value - 7.0) < 5 * exact


def test_the_error_of_the_mean_covers_the_truth():
    series = ar1(0.7, 2000, 200, seed=13)
    results = [statistics.mean(series[:, replica]) for replica in range(200)]
    pulls = np.array([result.value / result.error for result in results])
    # The mean of 200 pulls has error 0.07, their standard deviation 0.05: five of each.
    assert abs(pulls.mean()) < 0.35
    assert abs(pulls.std() - 1) < 0.25


def test_the_mean_is_that_of_all_chains_and_carries_its_tau():
    series = ar1(0.5, 300, 3, seed=14)
    result = statistics.mean(series)
    assert result.value == pytest.approx(series.mean(), rel=1e-14)
    assert result.tau == statistics.integrated_autocorrelation_time(series)


def test_the_variance_is_corrected_for_the_mean_being_of_the_same_data():
    series = ar1(0.5, 40, 1, seed=17)
    result = statistics.mean(series)
    variance = series.var() * (1 + 2 * result.tau.tau / 40)
    assert result.error == pytest.approx(math.sqrt(2 * result.tau.tau * variance / 40), rel=1e-13)  # by transform


def test_the_mean_of_white_noise_has_the_error_of_independent_data():
    data = np.random.default_rng(15).standard_normal(10_000)
    result = statistics.mean(data)
    # tau is 1/2 up to its error, which enters with half its relative size; n and n - 1 are the same here.
    expected = data.std(ddof=1) / 100
    assert abs(result.error / expected - 1) < 5 * result.tau.error / (2 * result.tau.tau)


def test_the_mean_of_a_constant_has_no_error():
    assert statistics.mean([2.5] * 10)[:2] == (2.5, 0.0)


def test_the_mean_of_an_anticorrelated_series_has_an_error():
    series = ar1(-0.8, 4000, 1, seed=16)
    assert statistics.mean(series).error > 0


@pytest.mark.parametrize(
    "function",
    [
        statistics.autocovariance,
        statistics.autocorrelation,
        statistics.integrated_autocorrelation_time,
        statistics.mean,
        statistics.effective_sample_size,
        statistics.rank_normalised,
        statistics.potential_scale_reduction,
        statistics.r_hat,
        statistics.thermalisation_cut,
    ],
)
@pytest.mark.parametrize(
    ("series", "match"),
    [
        ([], r"series: got shape \(0,\)"),
        ([1.0], r"series: got shape \(1,\)"),
        (3.0, r"series: got shape \(\)"),
        (np.zeros((1, 5)), r"series: got shape \(1, 5\)"),
        (np.zeros((5, 0)), r"series: got shape \(5, 0\)"),
        (np.zeros((5, 2, 2)), r"series: got shape \(5, 2, 2\)"),
        ([1.0, math.nan, 2.0], "series: got NaN or infinite values"),
        ([[1.0, 2.0], [math.inf, 0.0]], "series: got NaN or infinite values"),
    ],
)
def test_a_bad_series_is_named(function, series, match):
    with pytest.raises(ValueError, match=match):
        function(series)


# --- jackknife and bootstrap -----------------------------------------------------------------------------------------
def first(mean):
    return float(mean)


@pytest.mark.parametrize("n", [2, 10, 101])
def test_jackknife_of_the_mean_with_one_row_per_bin_is_the_standard_error(n):
    data = np.random.default_rng(20).normal(2.0, 3.0, n)
    value, error = statistics.jackknife(data, first, bins=n)
    assert value == pytest.approx(data.mean(), rel=1e-14)
    # The n means left out are rounded at a size 2, and spread by the standard error over sqrt(n).
    assert error == pytest.approx(data.std(ddof=1) / math.sqrt(n), rel=100 * n * U)


@pytest.mark.parametrize(("n", "bins"), [(1000, 50), (60, 5)])
def test_jackknife_of_the_mean_has_the_standard_error_of_the_bins(n, bins):
    data = ar1(0.5, n, 1, seed=21)[:, 0]
    means = data.reshape(bins, -1).mean(axis=1)
    _, error = statistics.jackknife(data, first, bins)
    assert error == pytest.approx(means.std(ddof=1) / math.sqrt(bins), rel=100 * n * U)  # as above


def test_jackknife_of_correlated_data_has_the_exact_error_if_bins_are_long():
    data = ar1(0.5, 50 * 400, 1, seed=22)[:, 0]
    _, error = statistics.jackknife(data, first)
    # 50 bins: the error has a relative error of 1/sqrt(2 49) = 0.1.
    assert abs(error / ar1_error_of_mean(0.5, len(data)) - 1) < 0.5


def test_jackknife_of_a_nonlinear_function_is_error_propagation():
    data = np.random.default_rng(23).normal(5.0, 1.0, 400)
    value, error = statistics.jackknife(data, lambda mean: float(mean**2), bins=400)
    m = data.mean()
    assert value == pytest.approx(m * m, rel=1e-14)
    # A mean moves by d = (x - m)/(n - 1) if x is left out, its square by 2 m d (1 + d/2m).
    largest = np.max(np.abs(data - m)) / 399
    assert error == pytest.approx(2 * m * data.std(ddof=1) / 20, rel=largest / m)


def test_jackknife_of_a_ratio_of_means_knows_their_correlation():
    rng = np.random.default_rng(24)
    common = rng.standard_normal(500)
    data = np.stack([4 + common, 3 + common + 0.5 * rng.standard_normal(500)], axis=1)
    value, error = statistics.jackknife(data, lambda mean: float(mean[0] / mean[1]), bins=500)
    m = data.mean(axis=0)
    gradient = np.array([1 / m[1], -m[0] / m[1] ** 2])
    assert value == pytest.approx(m[0] / m[1], rel=1e-14)
    # As above: the largest relative change of either mean, of both together.
    largest = np.max(np.abs(data - m) / m) / 499
    expected = math.sqrt(gradient @ np.cov(data.T) @ gradient / 500)
    assert error == pytest.approx(expected, rel=4 * largest)


@pytest.mark.parametrize(("n", "bins"), [(7, 3), (11, 10), (1007, 50)])
def test_jackknife_leaves_out_one_bin_after_the_other_also_of_unequal_length(n, bins):
    data = np.random.default_rng(25).normal(3.0, 1.0, n)
    value, error = statistics.jackknife(data, lambda mean: float(mean**3), bins)
    rows = np.array_split(np.arange(n), bins)
    left_out = [np.delete(data, row).mean() ** 3 for row in rows]
    assert value == pytest.approx(data.mean() ** 3, rel=1e-13)  # sums in another order
    expected = math.sqrt((bins - 1) / bins * math.fsum((v - np.mean(left_out)) ** 2 for v in left_out))
    assert error == pytest.approx(expected, rel=100 * n * U)  # as above


@pytest.mark.parametrize("bins", [-1, 0, 1, 11])
def test_jackknife_names_a_bad_number_of_bins(bins):
    with pytest.raises(ValueError, match=f"bins: got {bins}, expected from 2 to the number of rows 10"):
        statistics.jackknife(np.arange(10.0), first, bins)


RESAMPLES = 2000
# Standard deviation of that many draws.
BOOTSTRAP = 1 / math.sqrt(2 * RESAMPLES)


def test_bootstrap_of_the_mean_is_the_standard_error():
    data = np.random.default_rng(26).normal(2.0, 3.0, 300)
    value, error = statistics.bootstrap(data, lambda rows: rows.mean(), np.random.default_rng(0), RESAMPLES)
    assert value == data.mean()
    assert abs(error / (data.std() / math.sqrt(300)) - 1) < 5 * BOOTSTRAP


def test_bootstrap_of_a_nonlinear_function_of_rows_is_error_propagation():
    rng = np.random.default_rng(27)
    common = rng.standard_normal(500)
    data = np.stack([4 + common, 3 + common + 0.5 * rng.standard_normal(500)], axis=1)
    value, error = statistics.bootstrap(
        data, lambda rows: rows[:, 0].mean() / rows[:, 1].mean(), np.random.default_rng(1), RESAMPLES
    )
    m = data.mean(axis=0)
    gradient = np.array([1 / m[1], -m[0] / m[1] ** 2])
    expected = math.sqrt(gradient @ np.cov(data.T, ddof=0) @ gradient / 500)
    assert value == pytest.approx(m[0] / m[1], rel=1e-13)  # means of 500 numbers in another order
    # Second order: the relative variance of the denominator, (1.25/9)/500.
    assert abs(error / expected - 1) < 5 * BOOTSTRAP + 3e-4


def test_bootstrap_repeats_with_its_generator():
    data = np.arange(20.0)
    runs = [statistics.bootstrap(data, np.median, np.random.default_rng(seed), 50) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(("rows", "resamples"), [(1, 10), (0, 10), (10, 1), (10, 0)])
def test_bootstrap_names_too_little_data(rows, resamples):
    with pytest.raises(ValueError, match=f"data, resamples: got {rows} rows and {resamples} resamples"):
        statistics.bootstrap(np.zeros(rows), lambda data: data.sum(), np.random.default_rng(0), resamples)


# --- sign test -------------------------------------------------------------------------------------------------------
def signs_by_hand(positive, n):
    """Probability of a number of heads as far from ``n/2`` as this one, exactly."""
    far = abs(2 * positive - n)
    return Fraction(sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= far), 2**n)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13])
def test_sign_test_is_the_binomial_sum(n):
    for positive in range(n + 1):
        y = np.concatenate([np.full(positive, 0.3), np.full(n - positive, -7.0)])
        # Sums of n floating-point binomial probabilities, each to some units in the last place.
        assert statistics.sign_test(y) == pytest.approx(float(signs_by_hand(positive, n)), rel=1e-12)


def test_sign_test_of_a_large_sample_is_the_binomial_sum():
    y = np.concatenate([np.ones(430), -np.ones(570)])
    # Probabilities come from logarithms of size 1000: 1000 u, and a factor for their computation.
    assert statistics.sign_test(y) == pytest.approx(float(signs_by_hand(430, 1000)), rel=1e-11)


def test_sign_test_drops_zeros():
    assert statistics.sign_test([0.0, 1.0, 0.0, 2.0, 3.0, -0.0]) == statistics.sign_test([1.0, 2.0, 3.0]) == 0.25
    assert statistics.sign_test([0.0, 0.0]) == 1.0
    assert statistics.sign_test([]) == 1.0


@pytest.mark.parametrize("n", [6, 9])
def test_sign_test_rejects_a_true_hypothesis_no_more_often_than_it_says(n):
    p = [statistics.sign_test([1.0] * k + [-1.0] * (n - k)) for k in range(n + 1)]
    for alpha in p:
        rejected = sum(math.comb(n, k) for k in range(n + 1) if p[k] <= alpha * (1 + 1e-12)) / 2**n
        assert rejected == pytest.approx(alpha, rel=1e-12)  # attained at each p-value


# --- permutation test ------------------------------------------------------------------------------------------------
def every_labelling(a, b):
    """The exact p-value: all ways of choosing ``a`` from the pool, means by exact fractions."""
    pool = [Fraction(float(value)) for value in (*a, *b)]
    total = sum(pool)

    def difference(chosen):
        part = sum(pool[i] for i in chosen)
        return abs(part / len(a) - (total - part) / len(b))

    observed = difference(range(len(a)))
    every = [difference(chosen) for chosen in itertools.combinations(range(len(pool)), len(a))]
    return sum(value >= observed for value in every) / len(every)


def assert_estimates(p, exact, permutations):
    """Five binomial standard deviations, and the observed labelling that is always counted."""
    assert abs(p - exact) < 5 * math.sqrt(exact * (1 - exact) / permutations) + 1 / permutations


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 2.0, 3.5], [4.0, 5.5, 7.0]),
        ([1.0, 4.0], [2.0, 3.5, 9.0, 0.5]),
        ([5.0], [1.0, 2.0, 3.0]),
        ([0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]),  # with ties
    ],
)
def test_permutation_test_estimates_the_sum_over_all_labellings(a, b):
    p = statistics.permutation_test(a, b, np.random.default_rng(30), 2999)
    assert_estimates(p, every_labelling(a, b), 2999)


def test_permutation_test_does_not_depend_on_a_large_offset():
    a = 1e6 + np.array([0.1, 0.2, 0.3, 0.47])
    b = 1e6 + np.array([1.13, 1.27, 1.31, 1.43])
    assert_estimates(statistics.permutation_test(a, b, np.random.default_rng(1), 9999), every_labelling(a, b), 9999)


def test_permutation_p_values_are_uniform_where_the_laws_agree():
    rng = np.random.default_rng(31)
    p = [statistics.permutation_test(rng.normal(size=4), rng.normal(size=6), rng, 19) for _ in range(2000)]
    counts = np.bincount(np.rint(np.multiply(p, 20)).astype(int), minlength=21)
    assert counts[0] == 0
    assert np.allclose(np.multiply(p, 20), np.rint(np.multiply(p, 20)))  # multiples of 1/20
    statistic = np.sum((counts[1:] - 100) ** 2 / 100)
    assert chi2.sf(statistic, 19) > 1e-3  # fixed seed


def test_permutation_test_finds_a_shift():
    rng = np.random.default_rng(32)
    a, b = rng.normal(size=30), rng.normal(size=40)
    assert statistics.permutation_test(a, b + 3, rng) == 1 / 1000  # twelve standard errors
    assert statistics.permutation_test(a + 3, b, rng) == 1 / 1000  # on either side
    assert statistics.permutation_test(a, b, rng) > 0.01


def test_permutation_test_of_equal_values_finds_nothing():
    assert statistics.permutation_test(np.full(5, 0.1), np.full(8, 0.1), np.random.default_rng(0)) == 1.0


def test_permutation_test_leaves_its_arguments_alone():
    a, b = np.arange(5.0), np.arange(10.0, 14.0)
    statistics.permutation_test(a, b, np.random.default_rng(0), 50)
    np.testing.assert_array_equal(a, np.arange(5.0))
    np.testing.assert_array_equal(b, np.arange(10.0, 14.0))


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([[1.0]], [1.0]), ([1.0], 2.0)])
def test_permutation_test_names_bad_samples(a, b):
    with pytest.raises(ValueError, match=r"a, b: got shapes .* expected two non-empty vectors"):
        statistics.permutation_test(a, b, np.random.default_rng(0))


def test_tests_refuse_what_is_not_a_number():
    with pytest.raises(ValueError, match="y: got NaN"):
        statistics.sign_test([1.0, math.nan])
    with pytest.raises(ValueError, match="finite samples"):
        statistics.permutation_test([1.0, math.nan], [1.0, 2.0], np.random.default_rng(0))
    with pytest.raises(ValueError, match="got 0 permutations"):
        statistics.permutation_test([1.0], [2.0], np.random.default_rng(0), 0)


# --- autocorrelation function and effective samples ------------------------------------------------------------------
def test_the_autocorrelation_function_is_one_at_lag_zero_and_that_of_ar1():
    rho = statistics.autocorrelation(ar1(0.8, 2**14, 4, seed=40))
    assert rho[0] == 1
    # Bartlett: the variance of rho(t) is at most (1 + 2 sum phi^(2t))/n = (1 + phi^2)/(1 - phi^2)/n.
    noise = math.sqrt(1.64 / 0.36 / 2**16)
    np.testing.assert_allclose(rho[:20], 0.8 ** np.arange(20), rtol=0, atol=5 * noise)


def test_the_autocorrelation_function_of_a_constant_is_not_a_number():
    rho = statistics.autocorrelation(np.full((9, 2), 0.1))
    assert rho.shape == (9,)
    assert np.all(np.isnan(rho))


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_effective_samples_of_ar1(phi):
    series = ar1(phi, 2**13, 4, seed=41)
    tau = statistics.integrated_autocorrelation_time(series)
    # n / (2 tau): the relative error of tau, to first order, and its square for the rest.
    relative = 5 * tau.error / tau.tau
    expected = 2**15 / (2 * ar1_tau(phi))
    assert abs(statistics.effective_sample_size(series) / expected - 1) < relative + relative**2
    assert relative < 0.5  # so that the convention 1 + 2 sum rho, a factor of two, fails


# --- R-hat -----------------------------------------------------------------------------------------------------------
def test_rank_normalised_scores_are_normal_quantiles_and_ties_share_theirs():
    quantile = NormalDist().inv_cdf
    got = statistics.rank_normalised([[10.0, -3.0], [10.0, 500.0]])
    # Ranks 2.5, 1, 2.5, 4 of 4: (rank - 3/8)/(17/4).
    expected = [[0.0, quantile(2.5 / 17)], [0.0, quantile(14.5 / 17)]]
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=4 * U)  # two implementations of the quantile


def test_potential_scale_reduction_by_hand():
    # Means 2 and 6, variances 1 and 4: W = 5/2, B/n = 8, n = 3.
    got = statistics.potential_scale_reduction([[1.0, 4.0], [2.0, 6.0], [3.0, 8.0]])
    assert got == pytest.approx(math.sqrt(2 / 3 + 8 / 2.5), rel=4 * U)


def test_r_hat_by_hand():
    # Ranks of one chain 1 2 | 3 4: scores -b -a | a b, means apart by a + b, variance (b - a)^2/2 in either half.
    a, b = (NormalDist().inv_cdf((rank - 0.375) / 4.25) for rank in (3, 4))
    expected = math.sqrt(1 / 2 + ((a + b) ** 2 / 2) / ((b - a) ** 2 / 2))
    assert statistics.r_hat([1.0, 2.0, 30.0, 400.0]) == pytest.approx(expected, rel=1e-12)  # quantiles as above


def test_r_hat_sees_a_spread_that_differs():
    rng = np.random.default_rng(42)
    series = rng.standard_normal((500, 4)) * [1.0, 1.0, 1.0, 5.0]
    # Same medians: the bulk sees nothing (expected 1 + 1/(2 250)), the folded ranks do.
    halves = np.concatenate([series[:250], series[250:]], axis=1)
    assert statistics.potential_scale_reduction(statistics.rank_normalised(halves)) < 1.02
    assert statistics.r_hat(series) > 1.1


def test_r_hat_sees_a_trend_in_one_chain():
    assert statistics.r_hat(np.arange(100.0)) > 1.5
    assert statistics.r_hat(np.tile([0.0, 1.0, 5.0], 40)) < 1.02


def test_r_hat_leaves_the_middle_of_an_odd_number_out():
    series = np.random.default_rng(43).standard_normal((7, 3))
    assert statistics.r_hat(series) == statistics.r_hat(np.delete(series, 3, axis=0))


def test_r_hat_of_chains_without_fluctuation():
    assert statistics.r_hat(np.tile([0.1, 0.1, 0.3], (6, 1))) == math.inf
    assert math.isnan(statistics.r_hat(np.full((6, 3), 0.1)))
    # Two values at the same distance from the median: the folded series is constant, and only the bulk speaks.
    assert 0.5 < statistics.r_hat(np.tile([-1.0, 1.0], 8)) < 1.1


@pytest.mark.parametrize("shape", [(4, 2), (100, 4), (51, 7)])
@pytest.mark.parametrize("digits", [0, 12])
def test_arviz_agrees_about_r_hat(shape, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its next version when it is imported
        arviz = pytest.importorskip("arviz", reason="arviz, which has R-hat too, is not installed")
    series = np.random.default_rng(44).normal(size=shape).round(digits) + 0.3 * np.arange(shape[1])
    # The same formula: scores and sums of some 400 numbers.
    assert statistics.r_hat(series) == pytest.approx(float(arviz.rhat(series.T, method="rank")), rel=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(st.integers(4, 40), st.integers(1, 5)))
def test_r_hat_does_not_depend_on_order_sign_unit_or_origin(seed, shape):
    rng = np.random.default_rng(seed)
    series = rng.integers(-3, 4, shape) + rng.integers(0, 3, shape[1])  # integers: exact under all that follows
    expected = statistics.r_hat(series)
    shuffled = rng.permutation(series, axis=1)
    for same in (shuffled, -series, series * 4.0, series + 1024.0, series[::-1]):
        # Sums of 200 scores in another order; constant half chains keep what they are.
        assert statistics.r_hat(same) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_scores_do_not_depend_on_a_monotone_transformation(seed):
    series = np.random.default_rng(seed).standard_normal((20, 3))
    np.testing.assert_array_equal(statistics.rank_normalised(np.exp(series)), statistics.rank_normalised(series))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(10, 60))
def test_chains_shifted_apart_raise_r_hat(seed, steps):
    series = np.random.default_rng(seed).standard_normal((2 * steps, 2))
    far = statistics.r_hat(series + 100.0 * np.arange(2))
    # The ranks of the two chains are disjoint, the lower half and the upper half of a normal law: means -+0.8, and
    # variance 1 - 2/pi inside: sqrt(1 + (4/3) (2/pi)/(1 - 2/pi)) = 1.83, less some noise of the halves.
    assert far > 1.5
    assert far > statistics.r_hat(series)


@pytest.mark.parametrize("steps", [2, 3])
def test_r_hat_names_too_few_steps(steps):
    with pytest.raises(ValueError, match=f"series: got {steps} steps, expected at least four"):
        statistics.r_hat(np.zeros((steps, 4)))


def test_potential_scale_reduction_names_a_single_chain():
    with pytest.raises(ValueError, match="series: got 1 chain, expected at least two to compare"):
        statistics.potential_scale_reduction([1.0, 2.0, 3.0])


# --- thermalisation --------------------------------------------------------------------------------------------------
def test_the_cut_is_the_smallest_squared_error_of_the_rest():
    series = ar1(0.7, 60, 3, seed=45) + 4 * np.exp(-np.arange(60) / 5)[:, None]
    y = series.mean(axis=1)
    errors = [np.var(y[d:]) / (60 - d) for d in range(31)]
    assert statistics.thermalisation_cut(series) == int(np.argmin(errors))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_step_is_cut_where_it_is(offset):
    series = np.random.default_rng(46).standard_normal((400, 4)) + offset
    series[:70] += 100.0
    # Dropping ten more of 330 loses a tenth of 30 %; noise pays for less.
    assert 70 <= statistics.thermalisation_cut(series) <= 80


def test_nothing_or_little_of_an_equilibrium_is_cut():
    cuts = [statistics.thermalisation_cut(ar1(0.5, 1000, 4, seed=seed)) for seed in range(40)]
    # Cutting d raises the squared error by d/n and noise lowers it by sqrt(2 d 2 tau_2)/n: some d of 4 tau_2 = 3.
    assert np.median(cuts) <= 10


def test_a_trend_is_cut_to_the_bound():
    assert statistics.thermalisation_cut(np.arange(101.0)) == 50


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_nothing_of_a_constant_is_cut(value):
    assert statistics.thermalisation_cut(np.full((31, 3), value)) == 0
