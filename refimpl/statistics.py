"""Errors of means of correlated data, and exact tests. Series are ``(step, chain)``, or ``(step,)`` for one chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FFT_NUMBERS = 1 << 20  # of a series that are transformed at a time: long runs would need many times their own memory


class AutocorrelationTime(NamedTuple):
    """``tau = 1/2 + sum_t rho(t)`` with its standard error, and the window (last lag summed)."""

    tau: float
    error: float
    window: int


class Mean(NamedTuple):
    """A mean with its standard error, and the autocorrelation time the error rests on."""

    value: float
    error: float
    tau: AutocorrelationTime


def autocovariance(series: ArrayLike) -> Array:
    """``Gamma(t)`` for ``t = 0, ..., steps - 1``: averaged over chains, about the mean over all of them (Wolff 2004, eq. 31)."""
    data = _series(series)
    n, n_chains = data.shape
    centre, few = data.mean(), max(1, FFT_NUMBERS // n)
    spectrum = np.zeros(n + 1)
    for first in range(0, n_chains, few):
        transform = np.fft.rfft(data[:, first : first + few] - centre, 2 * n, axis=0)
        spectrum += (transform.real**2 + transform.imag**2).sum(axis=1)
    return np.fft.irfft(spectrum / n_chains)[:n] / np.arange(n, 0, -1)


def autocorrelation(series: ArrayLike) -> Array:
    """``rho(t) = Gamma(t) / Gamma(0)`` for ``t = 0, ..., steps - 1``; NaN for a series without fluctuation."""
    data = _series(series)
    gamma = autocovariance(data)
    if gamma[0] <= (1e-14 * float(np.max(np.abs(data)))) ** 2:  # rounding of a constant series
        return np.full(len(gamma), np.nan)
    return gamma / gamma[0]


def integrated_autocorrelation_time(series: ArrayLike, stretch: float = 1.5) -> AutocorrelationTime:
    """Integrated autocorrelation time in the convention ``1/2 + sum_{t >= 1} rho(t)``: 1/2 for independent data.

    Gamma method with automatic window (Wolff 2004, hep-lat/0306017, eqs. 35, 42, 49, 51, 52): the window is the first W at
    which ``exp(-W/tau) - tau/sqrt(W N)`` turns negative, where ``tau = stretch / log((2 tau_W + 1)/(2 tau_W - 1))`` and
    ``tau_W`` is the sum up to W. Where that is below 1/2 it is ``1/2 + sum |rho|`` instead, so that oscillating correlations
    (long trajectories) do not close the window at once. A series without fluctuation has ``tau = 1/2`` and error 0. Where
    no window is found (the series is too short) half of the lags are summed and the error is infinite.
    """
    data = _series(series)
    rho = autocorrelation(data)[1:]
    n = data.size
    if np.isnan(rho[0]):
        return AutocorrelationTime(0.5, 0.0, 0)
    signed, size = 0.5 + np.cumsum(rho), 0.5 + np.cumsum(np.abs(rho))
    half = max(1, len(data) // 2)
    for window in range(1, half + 1):
        reach = float(signed[window - 1] if signed[window - 1] > 0.5 else size[window - 1])
        scale = stretch / math.log((2 * reach + 1) / (2 * reach - 1)) if reach > 0.5 else 1e-9
        if math.exp(-window / scale) - scale / math.sqrt(window * n) < 0:
            tau = float(signed[window - 1]) * (1 + (2 * window + 1) / n)  # bias of the mean that was subtracted
            tau = max(tau, 1 / (4 * window + 2))  # below this a window cannot tell tau from zero
            return AutocorrelationTime(tau, tau * math.sqrt(4 / n * max(window + 0.5 - tau, 0.5)), window)
    return AutocorrelationTime(max(float(signed[half - 1]), 1 / (4 * half + 2)), math.inf, half)


def mean(series: ArrayLike) -> Mean:
    """Mean with the error ``sqrt(2 tau var / n)`` of the Gamma method."""
    data = _series(series)
    tau = integrated_autocorrelation_time(data)
    variance = data.var() * (1 + 2 * tau.tau / data.size)  # the mean was taken from the same data
    return Mean(float(data.mean()), math.sqrt(2 * tau.tau * variance / data.size), tau)


def effective_sample_size(series: ArrayLike) -> float:
    """``n / (2 tau_int)``: the number of independent values with an error of the mean as large, n in all chains."""
    data = _series(series)
    return data.size / (2 * integrated_autocorrelation_time(data).tau)


def rank_normalised(series: ArrayLike) -> Array:
    """Normal scores of the ranks among all values, ``Phi^-1((rank - 3/8) / (n + 1/4))``, in the shape ``(step, chain)``.

    Equal values share their mean rank. Vehtari et al. 2021 (arXiv:1903.08008), with the fractional offset of Blom.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    data = _series(series)
    ranks = rankdata(data).reshape(data.shape)
    return np.asarray(ndtri((ranks - 0.375) / (data.size + 0.25)), dtype=np.float64)


def potential_scale_reduction(series: ArrayLike) -> float:
    """``sqrt(((n - 1) W + B) / (n W))`` of n steps: W the mean variance in a chain, B/n the variance of the chain means.

    Gelman and Rubin 1992, in the form of Vehtari et al. 2021. Infinite for constant chains that differ, NaN for equal ones.
    """
    data = _series(series)
    if data.shape[1] < 2:
        raise ValueError(f"series: got {data.shape[1]} chain, expected at least two to compare")
    data = data - data[:1, :1]  # the rounding of a mean must not give a constant a variance
    n, means = len(data), data.mean(axis=0)
    within = float((data - data[:1]).var(axis=0, ddof=1).mean())
    between = float((means - means[0]).var(ddof=1))
    if within == 0:
        return math.inf if between > 0 else math.nan
    return math.sqrt((n - 1) / n + between / within)


def r_hat(series: ArrayLike) -> float:
    """Rank-normalised split R-hat: 1 where the chains, and their halves, agree; above 1.01 they do not yet.

    The larger of `potential_scale_reduction` of `rank_normalised` half chains (do they agree about the location) and of their
    distances from the median (about the spread); Vehtari et al. 2021, arXiv:1903.08008. A step in the middle of an odd number
    is left out. Needs four steps; one chain is two halves. Infinite where all chains are constant and not all the same, NaN
    where all values are.
    """
    data = _series(series)
    half = len(data) // 2
    if half < 2:
        raise ValueError(f"series: got {len(data)} steps, expected at least four")
    halves = np.concatenate([data[:half], data[-half:]], axis=1)
    folded = np.abs(halves - np.median(halves))
    # Two values at equal distances have a folded series without fluctuation, which says nothing: fmax drops its NaN.
    bulk, spread = (potential_scale_reduction(rank_normalised(part)) for part in (halves, folded))
    return float(np.fmax(bulk, spread))


def thermalisation_cut(series: ArrayLike) -> int:
    """Number of steps to drop at the start: the d, up to half of the run, with the smallest squared error of the mean.

    MSER (White 1997, Simulation 69, 323): the minimum of ``sum_(i >= d) (y_i - mean_(i >= d) y)^2 / (n - d)^2``, for y the
    mean over chains. It falls as long as what is dropped lies further out than noise. A cut of half of the run is the
    bound, not a minimum: the run is too short.
    """
    y = _series(series).mean(axis=1)
    y = y - y[-1]  # against cancellation, and exactly zero for a constant
    left = np.arange(len(y), 0, -1)
    sums, squares = np.cumsum(y[::-1])[::-1], np.cumsum(y[::-1] ** 2)[::-1]
    squared_error = (squares - sums**2 / left) / left**2
    return int(np.argmin(squared_error[: len(y) // 2 + 1]))


def jackknife(data: ArrayLike, statistic: Callable[[Array], float], bins: int = 50) -> tuple[float, float]:
    """A statistic of the mean over the first axis, and its jackknife error from this many bins.

    ``statistic`` takes the mean of ``data`` over axis 0. Bins must be longer than the autocorrelation time.
    """
    data = np.asarray(data, dtype=np.float64)
    if not 2 <= bins <= len(data):
        raise ValueError(f"bins: got {bins}, expected from 2 to the number of rows {len(data)}")
    blocks = np.array_split(data, bins)
    sums, sizes = np.array([b.sum(axis=0) for b in blocks]), np.array([len(b) for b in blocks])
    total = sums.sum(axis=0)
    left_out = [statistic((total - s) / (len(data) - size)) for s, size in zip(sums, sizes, strict=True)]
    return float(statistic(total / len(data))), float(np.sqrt((bins - 1) * np.var(left_out)))


def bootstrap(
    data: ArrayLike, statistic: Callable[[Array], float], rng: np.random.Generator, resamples: int = 1000
) -> tuple[float, float]:
    """``statistic(data)`` and its standard error over resamples of the rows, which must be independent."""
    data = np.asarray(data, dtype=np.float64)
    if len(data) < 2 or resamples < 2:
        raise ValueError(f"data, resamples: got {len(data)} rows and {resamples} resamples, expected at least two each")
    draws = [statistic(data[rng.integers(len(data), size=len(data))]) for _ in range(resamples)]
    return float(statistic(data)), float(np.std(draws, ddof=1))


def sign_test(y: ArrayLike) -> float:
    """Exact two-sided p-value that positive and negative values are equally likely (zeros are dropped).

    Valid for independent values with symmetric laws, e.g. an antisymmetric function of ``(x, x')`` under detailed balance.
    """
    from scipy.stats import binomtest

    y = np.asarray(y)
    if np.any(np.isnan(y)):
        raise ValueError("y: got NaN, expected numbers")
    positive, negative = int(np.sum(y > 0)), int(np.sum(y < 0))
    if positive + negative == 0:
        return 1.0
    return float(binomtest(positive, positive + negative).pvalue)


def permutation_test(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, permutations: int = 999) -> float:
    """Exact two-sided p-value that independent samples ``a`` and ``b`` have one law, by the difference of means.

    The observed labelling counts as one permutation, so the p-value is at least ``1/(permutations + 1)`` and exact.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or b.ndim != 1 or not a.size or not b.size:
        raise ValueError(f"a, b: got shapes {a.shape} and {b.shape}, expected two non-empty vectors")
    if permutations < 1 or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        raise ValueError(f"a, b, permutations: got {permutations} permutations, expected at least 1 and finite samples")
    pool = np.concatenate([a, b])

    def difference(values: Array) -> float:
        return abs(values[: a.size].mean() - values[a.size :].mean())

    observed = difference(pool) - 1e-13 * np.max(np.abs(pool))  # equal labellings may differ by rounding
    larger = sum(difference(rng.permutation(pool)) >= observed for _ in range(permutations))
    return (1 + larger) / (1 + permutations)


def _series(series: ArrayLike) -> Array:
    data = np.asarray(series, dtype=np.float64)
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim != 2 or len(data) < 2 or data.shape[1] < 1:
        raise ValueError(
            f"series: got shape {np.shape(series)}, expected (step,) or (step, chain) with two or more steps"
        )
    if not np.all(np.isfinite(data)):
        raise ValueError("series: got NaN or infinite values, expected finite ones")
    return data
