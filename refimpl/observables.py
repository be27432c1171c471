"""Observables of U(1) link angles ``(chain, 2, T, X)``, one value per chain unless a docstring says otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .groups import TWO_PI, sincos, wrap
from .lattice import Array, check_integer, check_links, plaquette_angles, shift, site_sum


def mean_plaquette(x: Array) -> Array:
    """``(1/V) sum_P cos theta_P``, shape ``(chain,)``."""
    angles = plaquette_angles(check_links(x))
    return site_sum(sincos(angles, "tan")[1]) / angles[0].size


def charge(x: Array) -> NDArray[np.int64]:
    """Integer topological charge ``Q = sum_P wrap(theta_P) / 2 pi``, int64 of shape ``(chain,)``.

    The sum is an integer up to rounding because the unwrapped plaquettes of a torus add up to zero.
    """
    return _charge(plaquette_angles(check_links(x)))


def sine_charge(x: Array) -> Array:
    """``Q_sin = sum_P sin(theta_P) / 2 pi``, shape ``(chain,)``: differentiable, not an integer."""
    return site_sum(sincos(plaquette_angles(check_links(x)), "tan")[0]) / TWO_PI


def plaquette_and_charges(x: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """`mean_plaquette`, `sine_charge` and `charge`, the same bits at half the price of the three."""
    angles = plaquette_angles(check_links(x))
    sine, cosine = sincos(angles, "tan")
    return site_sum(cosine) / angles[0].size, site_sum(sine) / TWO_PI, _charge(angles)


def _charge(angles: Array) -> NDArray[np.int64]:
    total = site_sum(wrap(angles)) / TWO_PI
    if not np.all(np.isfinite(total)):
        raise ValueError("x: got NaN or infinite links, expected finite ones")
    return np.rint(total).astype(np.int64)


def wilson_loop(x: Array, extent_t: int, extent_x: int) -> Array:
    """Cosine of the Wilson loop of an ``extent_t`` by ``extent_x`` rectangle, averaged over its positions, ``(chain,)``.

    Extents from 1 to those of the lattice; a loop as long as the lattice closes on itself and loses two of its sides.
    """
    x = check_links(x)
    extent_t = check_integer("extent_t", extent_t, 1, x.shape[2])
    extent_x = check_integer("extent_x", extent_x, 1, x.shape[3])
    side_t = np.sum([shift(x[:, 0], 0, k) for k in range(extent_t)], axis=0)
    side_x = np.sum([shift(x[:, 1], 1, k) for k in range(extent_x)], axis=0)
    angle = side_t + shift(side_x, 0, extent_t) - shift(side_t, 1, extent_x) - side_x
    return site_sum(sincos(angle, "tan")[1]) / angle[0].size


def charge_susceptibility(charges: ArrayLike, volume: int) -> float:
    """``<Q^2>/V`` from charges of any shape; ``<Q> = 0`` is known and not subtracted. Works for the sine charge too."""
    return float(np.mean(np.square(charges, dtype=np.float64)) / volume)


def tunnelling_rate(charges: ArrayLike) -> Array:
    """Mean of ``|Q_(i+1) - Q_i|`` per transition, for charges ``(step, chain)``; shape ``(chain,)`` (Foreman 2020, eq. 57)."""
    charges = np.asarray(charges)
    if charges.ndim != 2 or len(charges) < 2:
        raise ValueError(f"charges: got shape {charges.shape}, expected (step, chain) with at least two steps")
    return np.abs(np.diff(charges, axis=0)).mean(axis=0)
