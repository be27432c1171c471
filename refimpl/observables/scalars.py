"""Observables of scalar fields ``(chain, T, X)``: correlator, moments, magnetisation; one value per chain unless it says otherwise.

A chain has the same bits in any batch: sums run over a fixed tree (`refimpl.lattice.site_sum`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lattice import check_integer, check_scalars, site_sum

Array = NDArray[np.float64]


def slice_means(x: Array) -> Array:
    """``P(t) = (1/X) sum_x phi(t, x)``: the field of momentum zero on every time slice, shape ``(chain, T)``."""
    x = check_scalars(x)
    n_chains, n_t, n_x = x.shape
    return site_sum(x.reshape(-1, n_x)).reshape(n_chains, n_t) / n_x


def correlator(x: Array) -> Array:
    """``C(t) = (1/T) sum_y P(y + t) P(y)`` of `slice_means` (Bedaque 2023, eq. 15), shape ``(chain, T)``; ``C(T - t) = C(t)``."""
    means = slice_means(x)
    n_t = means.shape[1]
    result = np.empty_like(means)
    for t in range(n_t // 2 + 1):
        result[:, t] = site_sum(np.roll(means, -t, axis=1) * means) / n_t
        result[:, -t] = result[:, t]
    return result


def phi_squared(x: Array) -> Array:
    """``(1/V) sum phi^2``, shape ``(chain,)``."""
    x = check_scalars(x)
    return site_sum(x * x) / x[0].size


def phi_fourth(x: Array) -> Array:
    """``(1/V) sum phi^4``, shape ``(chain,)``."""
    square = np.square(check_scalars(x))
    return site_sum(square * square) / square[0].size


def magnetisation(x: Array) -> Array:
    """``m = (1/V) sum phi``, shape ``(chain,)``."""
    x = check_scalars(x)
    return site_sum(x) / x[0].size


def magnetisation_moments(x: Array) -> Array:
    """``|m|, m^2, m^4``, shape ``(chain, 3)``.

    Averages of these over configurations are what the functions below take, so that `refimpl.statistics.jackknife` gives
    their errors: ``jackknife(magnetisation_moments(x), binder_cumulant)``.
    """
    m = magnetisation(x)
    return np.stack([np.abs(m), m * m, (m * m) * (m * m)], axis=1)


def susceptibility(moments: ArrayLike, volume: int) -> float:
    """``V <m^2>`` from averaged `magnetisation_moments`; ``<m> = 0`` is known and not subtracted."""
    return check_integer("volume", volume, 1) * float(_moments(moments)[1])


def connected_susceptibility(moments: ArrayLike, volume: int) -> float:
    """``V (<m^2> - <|m|>^2)`` from averaged `magnetisation_moments`: finite in the broken phase."""
    absolute, square, _ = _moments(moments)
    return check_integer("volume", volume, 1) * float(square - absolute * absolute)


def binder_cumulant(moments: ArrayLike) -> float:
    """``1 - <m^4>/(3 <m^2>^2)`` from averaged `magnetisation_moments`: 0 for a normal m, 2/3 where ``|m|`` is fixed."""
    _, square, fourth = _moments(moments)
    return float(1 - fourth / (3 * square * square))


def three_point_mass(values: ArrayLike) -> Array:
    """The effective mass ``m(t) = arcosh((C(t - 1) + C(t + 1)) / 2 C(t))`` for t = 1, ..., T - 2 of a periodic correlator ``(T,)``.

    A pure ``exp(-m t) + exp(-m (T - t))`` has the same m at every t. NaN where noise leaves no solution.
    """
    c = np.asarray(values, dtype=np.float64)
    if c.ndim != 1 or len(c) < 3:
        raise ValueError(f"values: got shape {c.shape}, expected (T,) with T of at least 3")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arccosh((c[:-2] + c[2:]) / (2 * c[1:-1]))


def _moments(moments: ArrayLike) -> Array:
    values = np.asarray(moments, dtype=np.float64)
    if values.shape != (3,):
        raise ValueError(f"moments: got shape {values.shape}, expected the averages of |m|, m^2, m^4")
    return values
