"""Observables of U(1) link angles ``(chain, 2, T, X)``, one value per chain unless a docstring says otherwise.

Plaquette and Wilson loop are those of SU(N) links too, complex ``(chain, 2, T, X, n, n)``: ``Re Tr / n``, the cosine for n = 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..groups import TWO_PI, sincos, wrap
from ..groups.links import check_matrix_links, plaquettes
from ..groups.matrices import components, dagger, product, trace
from ..lattice import Array, check_integer, check_links, plaquette_angles, shift, site_sum

Matrices = NDArray[np.complex128]


def mean_plaquette(x: Array | Matrices) -> Array:
    """``(1/V) sum_P cos theta_P``, or ``(1/V) sum_P Re Tr P/n`` for SU(N) links; shape ``(chain,)``."""
    if np.iscomplexobj(x):
        return _mean_trace(plaquettes(components(check_matrix_links(x), 2)))
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


def wilson_loop(x: Array | Matrices, extent_t: int, extent_x: int) -> Array:
    """Cosine (SU(N): ``Re Tr W/n``) of the ``extent_t`` by ``extent_x`` Wilson loop, averaged over its positions, ``(chain,)``.

    Extents from 1 to those of the lattice; a loop as long as the lattice closes on itself and loses two of its sides.
    """
    if np.iscomplexobj(x):
        x = check_matrix_links(x)
        return _mean_trace(_matrix_loops(components(x, 2), *_checked_extents(x, extent_t, extent_x)))
    x = check_links(x)
    extent_t, extent_x = _checked_extents(x, extent_t, extent_x)
    side_t = np.sum([shift(x[:, 0], 0, k) for k in range(extent_t)], axis=0)
    side_x = np.sum([shift(x[:, 1], 1, k) for k in range(extent_x)], axis=0)
    angle = side_t + shift(side_x, 0, extent_t) - shift(side_t, 1, extent_x) - side_x
    return site_sum(sincos(angle, "tan")[1]) / angle[0].size


def _checked_extents(x: Array | Matrices, extent_t: int, extent_x: int) -> tuple[int, int]:
    return check_integer("extent_t", extent_t, 1, x.shape[2]), check_integer("extent_x", extent_x, 1, x.shape[3])


def _matrix_loops(links: Matrices, extent_t: int, extent_x: int) -> Matrices:
    """Wilson loops from every site, component first: two sides, times the other two conjugated."""

    def line(mu: int, steps: int) -> Matrices:
        u = total = links[:, :, mu]
        for _ in range(steps - 1):
            u = np.roll(u, -1, 2 + mu)
            total = product(total, u)
        return total

    side_t, side_x = line(0, extent_t), line(1, extent_x)
    there = product(side_t, np.roll(side_x, -extent_t, 2))
    return product(there, dagger(product(side_x, np.roll(side_t, -extent_x, 3))))


def _mean_trace(loops: Matrices) -> Array:
    """``Re Tr/n`` of component-first matrices, averaged over sites."""
    real = np.moveaxis(trace(loops).real, -1, 0)
    return site_sum(real) / (len(loops) * real[0].size)


def charge_susceptibility(charges: ArrayLike, volume: int) -> float:
    """``<Q^2>/V`` from charges of any shape; ``<Q> = 0`` is known and not subtracted. Works for the sine charge too."""
    return float(np.mean(np.square(charges, dtype=np.float64)) / volume)


def tunnelling_rate(charges: ArrayLike) -> Array:
    """Mean of ``|Q_(i+1) - Q_i|`` per transition, for charges ``(step, chain)``; shape ``(chain,)`` (Foreman 2020, eq. 57)."""
    charges = np.asarray(charges)
    if charges.ndim != 2 or len(charges) < 2:
        raise ValueError(f"charges: got shape {charges.shape}, expected (step, chain) with at least two steps")
    return np.abs(np.diff(charges, axis=0)).mean(axis=0)
