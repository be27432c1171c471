"""The O(2) model on a periodic chain of N sites: exact answers and an exact independent sampler.

Density ``exp(-beta sum_i (1 - cos(x_(i+1) - x_i))) / Z`` with ``dx/2 pi`` on every site, N at least 2. The N bonds are von
Mises angles conditioned on a sum of 0 modulo 2 pi, which is also the law of N plaquettes of two-dimensional U(1) on a torus:
``Z = sum_n a_n^N``, ``a_n = exp(-beta) I_n(beta)``, and the decimal sums of `refimpl.exact.u1` serve here, every digit right.
"""

from __future__ import annotations

import decimal
import math

import numpy as np
from numpy.typing import NDArray

from . import u1

Array = NDArray[np.float64]


def log_partition(beta: float, length: int) -> float:
    """``log Z = log sum_n a_n^N``."""
    _check(beta, length)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(u1._partition(beta, length).ln())


def correlation(beta: float, length: int, distance: int) -> float:
    """``G(r) = <cos(x_(i+r) - x_i)> = sum_n a_n^(N-r) a_(n+1)^r / sum_n a_n^N`` for r from 0 to N."""
    _check(beta, length)
    if not u1._is_integer(distance) or not 0 <= distance <= length:
        raise ValueError(f"distance: got {distance!r}, expected an integer from 0 to the length {length}")
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(_correlation(beta, length, distance))


def susceptibility(beta: float, length: int) -> float:
    """``<|sum_i exp(i x_i)|^2>/N = sum_(r < N) G(r)``, for at most 4096 sites."""
    _check(beta, length, largest_length=4096)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(sum((_correlation(beta, length, r) for r in range(length)), decimal.Decimal(0)))


def bond_cosine(beta: float, length: int) -> float:
    """``<cos(x_(i+1) - x_i)>``; the mean action is ``beta N (1 - <cos>)``."""
    _check(beta, length)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(u1._average(beta, length, u1._cos))


def single_bond_variance(beta: float, length: int) -> float:
    """``<cos^2> - <cos>^2`` of one bond."""
    _check(beta, length)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(_single_bond_variance(beta, length))


def bond_covariance(beta: float, length: int) -> float:
    """``<cos cos'> - <cos>^2`` of two different bonds, the same at any distance."""
    _check(beta, length)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(_bond_covariance(beta, length))


def bond_variance(beta: float, length: int) -> float:
    """Variance, over configurations, of the mean bond cosine; ``(beta N)^2`` times it is the variance of the action."""
    _check(beta, length)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        pairs = (length - 1) * _bond_covariance(beta, length)
        return float((_single_bond_variance(beta, length) + pairs) / length)


def winding_distribution(beta: float, length: int) -> tuple[NDArray[np.int64], Array]:
    """Winding numbers ``Q = sum_i wrap(x_(i+1) - x_i) / 2 pi`` and their probabilities, symmetric in Q.

    Lists every Q of probability at least `u1.SMALLEST_PROBABILITY`, and -1, 0, 1 where they exist (from three sites on). For
    ``beta <= u1.LARGEST_BETA`` and at most `u1.LARGEST_VOLUME` sites.
    """
    _check(beta, length, u1.LARGEST_BETA, u1.LARGEST_VOLUME)
    if length == 2:  # the two bonds are opposite, and |Q| < N/2
        return np.array([0]), np.array([1.0])
    charges, probabilities = u1._charge_distribution(float(beta), int(length))
    return charges.copy(), probabilities.copy()


def winding_susceptibility(beta: float, length: int) -> float:
    """``<Q^2>/N`` of the winding number, from its distribution."""
    charges, probabilities = winding_distribution(beta, length)
    return math.fsum(charges**2 * probabilities) / length


def sine_winding_susceptibility(beta: float, length: int) -> float:
    """``<Q_sin^2>/N`` of ``Q_sin = sum_i sin(x_(i+1) - x_i) / 2 pi``: ``(<sin^2> + (N-1) <sin sin'>) / 4 pi^2``."""
    _check(beta, length)
    if length == 2:  # opposite bonds
        return 0.0
    with decimal.localcontext(u1._context(u1._DIGITS)):
        sin_squared = 1 - u1._average(beta, length, u1._cos_squared)
        total = sin_squared + (length - 1) * u1._average(beta, length, u1._sine_correlation)
        return float(total / (4 * u1._pi() ** 2))


def sample(rng: np.random.Generator, n: int, beta: float, length: int) -> Array:
    """``n`` independent configurations of angles in [-pi, pi), shape ``(n, N)``: exact bonds and a uniform first angle."""
    _check(beta, length)
    if not u1._is_integer(n) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    bonds = u1.sample_plaquettes(rng, n, beta, length)
    angles = rng.uniform(-np.pi, np.pi, (n, length))
    angles[:, 1:] = angles[:, :1] + np.cumsum(bonds[:, :-1], axis=1)
    return u1._wrapped(angles)


def _correlation(beta: float, length: int, distance: int) -> decimal.Decimal:
    a = u1._bessel(beta, u1._DIGITS)
    terms = (
        u1._power(a[abs(n)], length - distance) * u1._power(a[abs(n + 1)], distance)
        for n in range(-len(a) + 1, len(a) - 1)
    )
    return sum(terms, decimal.Decimal(0)) / u1._partition(beta, length)


def _single_bond_variance(beta: float, length: int) -> decimal.Decimal:
    return u1._average(beta, length, u1._cos_squared) - u1._average(beta, length, u1._cos) ** 2


def _bond_covariance(beta: float, length: int) -> decimal.Decimal:
    # Two sites have opposite bonds; there the sum over n does not reach beta = 0, where it is 0 times infinity.
    return _single_bond_variance(beta, length) if length == 2 else u1._plaquette_covariance(beta, length)


def _check(beta: float, length: int, largest_beta: float = math.inf, largest_length: float = math.inf) -> None:
    number = isinstance(beta, int | float | np.integer | np.floating)
    if not number or not math.isfinite(beta) or not 0 <= beta <= largest_beta:
        limit = "a finite number >= 0" if largest_beta == math.inf else f"a number from 0 to {largest_beta:g}"
        raise ValueError(f"beta: got {beta!r}, expected {limit}")
    if not u1._is_integer(length) or not 2 <= length <= largest_length:
        limit = "of at least 2" if largest_length == math.inf else f"from 2 to {largest_length}"
        raise ValueError(f"length: got {length!r}, expected an integer {limit}")
