"""From data to a decision with a stated false-alarm rate: e-values for bounded means, sequential exact p-values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Bets of the mixture: from biases of a third of a standard deviation down to a few per cent.
BETS = np.array([s * b for b in (0.03, 0.1, 0.3, 0.6) for s in (1, -1)])

# Probability with which an error of the stated sensitivity is found, and its Gaussian quantile.
POWER, POWER_QUANTILE = 0.999, 3.09


class Wealth(NamedTuple):
    """Largest log10 wealth reached, number of values at which it first passed the alarm level (None: never), and its path."""

    log10: float
    alarm_at: int | None
    path: Array  # (2, step): numbers of values, and the log10 wealth after them, at a hundred of all steps


DRAWN = 100  # steps of a path that are kept


def _history(log_wealth: Array, alpha: float, per_step: int = 1) -> Wealth:
    """The wealth after every step, each of ``per_step`` values."""
    alarms = np.flatnonzero(log_wealth >= -math.log(alpha))
    log10 = log_wealth / math.log(10)
    some = np.append(np.linspace(0, len(log10) - 1, DRAWN).astype(int), np.argmax(log10))
    some = np.unique(np.concatenate([some, alarms[:1]]))
    return Wealth(
        float(log10.max()), per_step * (int(alarms[0]) + 1) if alarms.size else None,
        np.array([per_step * (some + 1), log10[some]]),
    )  # fmt: skip


def mean_zero_wealth(y: Array, alpha: float) -> Wealth:
    """Bet against ``E[Y] = 0`` for independent ``Y`` in [-1, 1].

    The wealth ``mean over bets of prod_i (1 + lambda Y_i)`` is a non-negative martingale of mean 1 under the null, so it
    ever reaches ``1/alpha`` with probability at most alpha (Ville): valid at any sample size, however it was chosen. With
    several statistics per value, ``y`` of shape ``(n, d)``, the bets on all of them average.
    """
    if np.any(np.abs(y) > 1 + 1e-12):
        raise ValueError("y: got values outside [-1, 1], expected a bounded statistic")
    gains = np.log1p(y.reshape(len(y), -1, 1) * BETS).reshape(len(y), -1)
    paths = np.cumsum(gains, axis=0)
    peak = paths.max(axis=1)
    log_wealth = peak + np.log(np.exp(paths - peak[:, None]).mean(axis=1))
    return _history(log_wealth, alpha)


def detectable_mean(y: Array, alpha: float) -> float:
    """Smallest mean that `mean_zero_wealth` would have found with probability `POWER`, for data that scatter like ``y``.

    For one bet the log wealth of n values is Gaussian; ask that its mean less `POWER_QUANTILE` standard deviations pay for
    the alarm level and the mixture. The best bet counts, and the mean has to be seen both as a shift of every value and as
    a few values moved to 1. 1.0 means that nothing would have been seen.
    """
    centred = y[:: max(1, len(y) // 4000)]
    centred = centred - centred.mean()
    target, bets = math.log(len(BETS) / alpha), BETS[BETS > 0]
    still = np.log1p(np.outer(np.clip(centred, -1, 1), bets))
    still_mean, still_square = still.mean(axis=0), np.square(still).mean(axis=0)

    def seen(shift: float) -> bool:
        gains = np.log1p(np.outer(np.clip(centred + shift, -1, 1), bets))
        mean, variance = gains.mean(axis=0), gains.var(axis=0)
        if not np.max(len(y) * mean - POWER_QUANTILE * np.sqrt(len(y) * variance)) >= target:
            return False
        mean = (1 - shift) * still_mean + shift * np.log1p(bets)
        variance = (1 - shift) * still_square + shift * np.log1p(bets) ** 2 - mean**2
        return bool(np.max(len(y) * mean - POWER_QUANTILE * np.sqrt(len(y) * variance)) >= target)

    if not seen(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def multinomial_wealth(counts_in_order: NDArray[np.int64], probabilities: Array, alpha: float) -> Wealth:
    """Bet against independent categories (values 0..k-1) of these probabilities with a Dirichlet mixture.

    The wealth is ``prod_i q_i/p_i`` where ``q_i`` predicts value i from those before it, starting from ``200 p``: the ratio of
    a marginal likelihood to the null likelihood, a martingale of mean 1.
    """
    prior = 200.0 * probabilities
    one_hot = np.eye(len(probabilities))[counts_in_order]
    seen_before = np.cumsum(one_hot, axis=0) - one_hot
    n_before = np.arange(len(counts_in_order))
    predicted = (prior[counts_in_order] + seen_before[n_before, counts_in_order]) / (prior.sum() + n_before)
    log_wealth = np.cumsum(np.log(predicted / probabilities[counts_in_order]))
    return _history(log_wealth, alpha)


@dataclass(frozen=True)
class Decision:
    """Outcome of `sequential_p_values`: alarm or not, the last combined p-value, its bound, values used.

    ``rounds`` are the values used so far, the p-value and its bound of every round.
    """

    alarm: bool
    p_value: float
    bound: float
    samples: int
    rounds: tuple[tuple[int, float, float], ...] = ()


def sequential_p_values(
    p_values: Callable[[int], tuple[float, int]], alpha: float, n: int, rounds: int = 7, growth: int = 4
) -> Decision:
    """Sequential test of Gandy and Scott 2020 (arXiv:2001.06465, algorithm 2) on exact p-values.

    ``p_values(n)`` draws ``n`` fresh values and returns the smallest of the ``d`` p-values it looks at, and ``d``. With ``beta
    = alpha/k`` and ``gamma = beta^(1/k)``: alarm where ``q = d min p <= beta``, stop in peace where ``q > gamma + beta``, else draw
    again, ``growth`` times more from the second round on. Alarms wrongly with probability at most alpha.
    """
    beta = alpha / rounds
    gamma = beta ** (1 / rounds)
    used, history = 0, []
    for attempt in range(rounds):
        size = n if attempt == 0 else growth * n
        smallest, d = p_values(size)
        used += size
        q = min(1.0, d * smallest)
        history.append((used, q, beta))
        if q <= beta:
            return Decision(True, q, beta, used, tuple(history))
        if q > gamma + beta:
            break
        beta /= gamma
    return Decision(False, q, beta, used, tuple(history))


def detectable_sign_excess(n: int, alpha: float) -> float:
    """Smallest ``P(Y > 0) - P(Y < 0)`` that a sign test of n non-zero values at level alpha finds with probability `POWER`."""
    from scipy.stats import norm

    if n == 0:
        return 1.0
    return min(1.0, float(norm.isf(alpha / 2) + POWER_QUANTILE) / math.sqrt(n))


# Bets on a positive ratio: its variance is not of order 1, so they reach further down.
RATIO_BETS = np.array([0.01, 0.03, 0.1, 0.3, 0.9])


def positive_mean_wealth(r: Array, variance: Array, alpha: float) -> Wealth:
    """Bet against ``E[r] = 1`` for independent ``r >= 0`` of at most these variances.

    On too large a mean with ``1 + lambda (r - 1)``, non-negative for ``lambda <= 1`` and of mean 1 whatever the variance. On too
    small a one with ``(1 + y + y^2/2)/(1 + lambda^2 variance/2)``, ``y = lambda (1 - r)``: positive, as twice the numerator is
    ``1 + (1 + y)^2``, and of mean at most 1 (the bound behind Catoni's estimator, here for every value). The bets average.

    Several sequences, ``r`` of shape ``(n, d)``, are bet on round by round: half the wealth is staked on all of them together,
    half is shared out among bets on each alone, which means that cancel do not escape. A sum of martingales is one.
    """
    r, variance = (np.asarray(array).reshape(len(array), -1) for array in (r, variance))
    n, d = r.shape
    gains = _ratio_gains(r.ravel(), variance.ravel()).reshape(n, d, -1)
    together, alone = np.cumsum(gains.sum(axis=1), axis=0), np.cumsum(gains, axis=0).reshape(n, -1)
    paths = np.concatenate([together - math.log(together.shape[1]), alone - math.log(alone.shape[1])], axis=1)
    peak = paths.max(axis=1)
    log_wealth = peak + np.log(np.exp(paths - peak[:, None]).sum(axis=1) / 2)
    return _history(log_wealth, alpha, d)


def _ratio_gains(r: Array, variance: Array) -> Array:
    """Logs of the factors of the wealth, ``(n, bet)``."""
    up = np.log1p(np.outer(r - 1, RATIO_BETS))
    return np.concatenate([up, _catoni(np.outer(1 - r, RATIO_BETS), np.outer(variance, RATIO_BETS**2))], axis=1)


def _catoni(y: Array, second_moment: Array) -> Array:
    """Log of ``(1 + y + y^2/2)/(1 + m/2)``: positive, and of mean at most 1 where ``E[y] <= 0`` and ``E[y^2] <= m``."""
    return np.asarray(np.log1p(y + y * y / 2) - np.log1p(second_moment / 2))


def detectable_factor(r: Array, variance: Array, alpha: float) -> float:
    """Smallest relative error of the mean, of either sign, that `positive_mean_wealth` finds with probability `POWER`."""
    target = math.log(2 * len(RATIO_BETS) / alpha)
    r = r / r.mean()

    def seen(factor: float) -> bool:
        gains = _ratio_gains(factor * r, variance)
        mean, std = gains.mean(axis=0), gains.std(axis=0)
        return bool(np.max(len(r) * mean - POWER_QUANTILE * math.sqrt(len(r)) * std) >= target)

    errors = np.geomspace(1e-3, 0.99, 40)
    return next((float(e) for e in errors if seen(1 + e) and seen(1 - e)), 1.0)


def above_one_wealth(log_r: Array, alpha: float) -> Wealth:
    """Bet against ``E[r] <= 1`` for independent ``r = exp(log_r) >= 0``, whatever their tails: ``1 + lambda (r - 1)``."""
    gains = _excess_gains(log_r)
    paths = np.cumsum(gains, axis=0)
    peak = paths.max(axis=1)
    log_wealth = peak + np.log(np.exp(paths - peak[:, None]).mean(axis=1))
    return _history(log_wealth, alpha)


def detectable_excess(log_r: Array, alpha: float) -> float:
    """Smallest c for which `above_one_wealth` finds ``r exp(c)`` with probability `POWER`, for data that scatter like these."""
    target, n = math.log(len(RATIO_BETS) / alpha), len(log_r)
    log_r = log_r[:: max(1, n // 4000)]
    largest = float(log_r.max())
    log_r = log_r - largest - float(np.log(np.mean(np.exp(log_r - largest))))
    for shift in np.geomspace(1e-3, 30, 60):
        gains = _excess_gains(log_r + shift)
        mean, std = n * gains.mean(axis=0), math.sqrt(n) * gains.std(axis=0)
        if np.max(mean - POWER_QUANTILE * std) >= target:
            return float(shift)
    return math.inf


LARGEST_LOG = 600.0  # of a ratio: the rest would overflow


def _excess_gains(log_r: Array) -> Array:
    return np.asarray(np.log1p(np.outer(np.expm1(np.minimum(log_r, LARGEST_LOG)), RATIO_BETS)))


# Bets on a value of unbounded size, in units of the bound on its root mean square.
MOMENT_BETS = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
# By how much a measured second moment is raised to make a bound, see `trusted_kurtosis`.
RAISED = 4.0


def moment_wealth(y: Array, second_moment: float, alpha: float, *, above: bool = False) -> Wealth:
    """Bet against ``E[Y] = 0`` (``above``: against ``E[Y] <= 0``) for independent Y of any size with ``E[Y^2] <= second_moment``.

    ``(1 + lambda Y + (lambda Y)^2/2)/(1 + lambda^2 second_moment/2)`` is positive and of mean at most 1, as in
    `positive_mean_wealth`: no moment beyond the second is asked for, and no largest value. The bets average.
    """
    gains = _moment_gains(y, second_moment, above)
    paths = np.cumsum(gains, axis=0)
    peak = paths.max(axis=1)
    log_wealth = peak + np.log(np.exp(paths - peak[:, None]).mean(axis=1))
    return _history(log_wealth, alpha)


def detectable_moment(y: Array, second_moment: float, alpha: float, *, above: bool = False) -> float:
    """Smallest mean that `moment_wealth` would have found with probability `POWER`, for data that scatter like ``y``."""
    centred = y[:: max(1, len(y) // 4000)]
    centred = centred - centred.mean()
    target = math.log((1 if above else 2) * len(MOMENT_BETS) / alpha)
    for shift in math.sqrt(second_moment) * np.geomspace(1e-3, 10, 60):
        gains = _moment_gains(centred + shift, second_moment, True)
        mean, std = len(y) * gains.mean(axis=0), math.sqrt(len(y)) * gains.std(axis=0)
        if np.max(mean - POWER_QUANTILE * std) >= target:
            return float(shift)
    return math.inf


def trusted_kurtosis(n: int, alpha: float) -> float:
    """Up to which ``E[Y^4]/E[Y^2]^2`` a second moment measured on n values, times `RAISED`, is a bound on ``E[Y^2]``.

    Sums of the squares, which are not negative, do not fall far below their mean: ``E[exp(-t Y^2)] <= exp(-t E[Y^2] + t^2
    E[Y^4]/2)``, so that the mean of n of them is below ``E[Y^2]/RAISED`` with probability at most ``exp(-n (1 - 1/RAISED)^2/(2
    kurtosis))``. That is at most alpha for kurtoses up to this one.
    """
    return n * (1 - 1 / RAISED) ** 2 / (2 * math.log(1 / alpha))


def _moment_gains(y: Array, second_moment: float, above: bool) -> Array:
    bets = MOMENT_BETS / math.sqrt(second_moment)
    bets = bets if above else np.concatenate([bets, -bets])
    return _catoni(np.outer(y, bets), np.broadcast_to(bets**2 * second_moment, (len(y), len(bets))))
