"""The free real scalar field on a periodic T x X lattice: closed forms and an exact independent sampler.

``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 ]``, ``m2 > 0``; on an extent of 2 both bonds count. Modes of
momentum ``(k_0, k_1)`` are independent, ``<|phi(k)|^2>/V = 1/(k^_0^2 + k^_1^2 + m2)`` with ``k^ = 2 sin(k/2)``. The sum over one
momentum is a geometric series: with ``w = 2 asinh(M/2)``

``(1/N) sum_k cos(k t)/(k^^2 + M^2) = cosh(w (N/2 - t)) / (2 sinh w sinh(w N/2))``, ``prod_k (k^^2 + M^2) = 4 sinh^2(w N/2)``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = tuple[int, int]

SMALLEST, LARGEST = 1e-100, 1e100  # masses squared: <phi^4> is of the order of 1/m2^2, which has to be a float64
LARGEST_TABLE = 50_000_000  # numbers that a propagator holds, 400 MB: it takes some ten seconds


def propagator(m2: float, shape: Shape) -> Array:
    """``<phi(0) phi(t, x)>``, shape ``(T, X)``."""
    n_t, n_x = checked(m2, shape)
    if n_x * (n_t + n_x) > LARGEST_TABLE:
        raise ValueError(f"shape: got {shape!r}, expected X (T + X) of at most {LARGEST_TABLE}")
    k = 2 * np.pi * np.arange(n_x) / n_x
    waves = np.array([_periodic(m2 + 4 * math.sin(p / 2) ** 2, n_t) for p in k])
    return waves.T @ np.cos(np.outer(k, np.arange(n_x))) / n_x


def correlator(m2: float, shape: Shape) -> Array:
    """``C(t) = <P(t) P(0)>`` of slice means ``P(t) = (1/X) sum_x phi(t, x)``: Bedaque 2023, eq. (15); shape ``(T,)``."""
    n_t, n_x = checked(m2, shape)
    return _periodic(m2, n_t) / n_x


def mass(m2: float) -> float:
    """``w = 2 asinh(sqrt(m2)/2)``, the mass that `correlator` decays with."""
    checked(m2, (1, 1))
    return 2 * math.asinh(math.sqrt(m2) / 2)


def second_moment(m2: float, shape: Shape) -> float:
    """``<phi^2>``: the sum over one momentum of ``coth(w T/2)/(2 sinh w)``."""
    n_t, n_x = checked(m2, shape)
    w = 2 * np.arcsinh(np.sqrt(m2 / 4 + np.sin(np.pi * np.arange(n_x) / n_x) ** 2))
    return float(np.mean(0.5 / (np.sinh(w) * np.tanh(w * n_t / 2))))


def fourth_moment(m2: float, shape: Shape) -> float:
    """``<phi^4> = 3 <phi^2>^2``."""
    return 3 * second_moment(m2, shape) ** 2


def log_partition(m2: float, shape: Shape) -> float:
    """``log int exp(-S)``: ``(V/2) log 2 pi - (1/2) sum_k log(k^_0^2 + k^_1^2 + m2)``."""
    n_t, n_x = checked(m2, shape)
    masses = [mass(m2 + 4 * math.sin(math.pi * p / n_x) ** 2) for p in range(n_x)]
    logs = math.fsum(0.5 * w * n_t + math.log(-math.expm1(-w * n_t)) for w in masses)  # log(2 sinh(w T/2))
    return 0.5 * n_t * n_x * math.log(2 * math.pi) - logs


def susceptibility(m2: float, shape: Shape) -> float:
    """``V <m^2> = 1/m2`` of the mean field ``m = (1/V) sum phi``, which is normal: ``<m^4> = 3 <m^2>^2``."""
    checked(m2, shape)
    return 1 / m2


def absolute_magnetisation(m2: float, shape: Shape) -> float:
    """``<|m|> = sqrt(2/(pi V m2))``."""
    n_t, n_x = checked(m2, shape)
    return math.sqrt(2 / (math.pi * n_t * n_x * m2))


def sample(rng: np.random.Generator, n: int, m2: float, shape: Shape) -> Array:
    """``n`` independent configurations, shape ``(n, T, X)``: white noise over ``sqrt(k^_0^2 + k^_1^2 + m2)``, mode by mode."""
    n_t, n_x = checked(m2, shape)
    if not is_integer(n) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    hat_t, hat_x = (4 * np.sin(np.pi * np.arange(extent) / extent) ** 2 for extent in (n_t, n_x))
    precision = hat_t[:, None] + hat_x[: n_x // 2 + 1] + m2
    modes = np.fft.rfft2(rng.standard_normal((n, n_t, n_x))) / np.sqrt(precision)
    return np.fft.irfft2(modes, s=(n_t, n_x))


def checked(m2: float, shape: Shape) -> Shape:
    """The extents as ints; raises `ValueError` naming ``m2`` or ``shape`` where one is wrong."""
    if not is_number(m2) or not math.isfinite(m2) or m2 <= 0:
        raise ValueError(f"m2: got {m2!r}, expected a finite number > 0")
    if not SMALLEST <= m2 <= LARGEST:
        raise ValueError(f"m2: got {m2!r}, expected a number from {SMALLEST:g} to {LARGEST:g}")
    return checked_shape(shape)


def checked_shape(shape: Shape) -> Shape:
    """The extents ``(T, X)`` as ints of at least 1; raises `ValueError` otherwise."""
    if np.ndim(shape) != 1 or len(shape) != 2 or not all(is_integer(n) and n >= 1 for n in shape):
        raise ValueError(f"shape: got {shape!r}, expected two integers (T, X) of at least 1")
    return int(shape[0]), int(shape[1])


def _periodic(m2: float, n: int) -> Array:
    """``(1/n) sum_k cos(k t)/(k^^2 + m2)`` for t = 0, ..., n - 1, by decaying exponentials, which do not overflow."""
    w, t = mass(m2), np.arange(n)
    return (np.exp(-w * t) + np.exp(-w * (n - t))) / (2 * math.sinh(w) * -math.expm1(-w * n))


def is_integer(n: object) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
