"""Eigenphases and eigenvectors of SU(N) matrices at many sites, orthogonal at any gap, component first.

Jacobi's method for normal matrices: the unitary rotation of the rows and columns i, j of ``P`` that leaves least of
``|P_ij|^2 + |P_ji|^2`` has the direction of the largest eigenvector of ``a a^T + b b^T``, where ``a + i b = h`` and

    h = (P_ii - P_jj, P_ij + P_ji, i (P_ij - P_ji))

(Bunse-Gerstner, Byers, Mehrmann 1993; Cardoso, Souloumiac 1996, eqs. 9-13). One rotation diagonalises SU(2); for larger n the
sweeps through all pairs converge faster than quadratically, at equal eigenvalues too, and their number is fixed: a matrix has
the same bits in any batch. No eigenvector is ever normalised, so that small gaps cost nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .matrices import dagger

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]

# Sites in work: two complex 3 x 3 matrices of so many stay in the second-level cache.
WORK = 2048


def spectrum(p: Matrices) -> tuple[Array, Matrices]:
    """``t`` of shape ``(n, *sites)`` and ``V`` of shape ``(n, n, *sites)`` with ``P = V diag(e^(i t)) V^dag``.

    The phases lie in the canonical cell ``t_1 <= ... <= t_n <= t_1 + 2 pi``, ``sum t = 0``, which every conjugacy class of SU(n)
    meets once. That of a determinant a little off 1 is not among them: powers would multiply it. ``V`` is unitary but not
    special; its columns have arbitrary phases.
    """
    n, sites = len(p), p.shape[2:]
    flat = p.reshape(n, n, -1)
    values, vectors = np.empty((n, flat.shape[2]), np.complex128), np.empty_like(flat)
    for start in range(0, flat.shape[2], WORK):
        part = slice(start, start + WORK)
        values[:, part], vectors[..., part] = _diagonalised(flat[..., part])
    phases, order = _canonical(np.angle(values))
    vectors = np.take_along_axis(vectors, order[None], axis=1)
    return phases.reshape(n, *sites), vectors.reshape(n, n, *sites)


def with_phases(vectors: Matrices, phases: Array) -> Matrices:
    """``V diag(e^(i phases)) V^dag``."""
    return conjugated(vectors, np.exp(1j * phases))


def conjugated(vectors: Matrices, values: NDArray[Any]) -> Matrices:
    """``V diag(values) V^dag``."""
    n = len(vectors)
    out = np.empty(np.broadcast_shapes(vectors.shape, values.shape), np.complex128)
    back = dagger(vectors)
    left = vectors * values
    for i in range(n):
        np.multiply(left[i, 0], back[0], out[i])
        for k in range(1, n):
            out[i] += left[i, k] * back[k]
    return out


def _diagonalised(p: Matrices) -> tuple[Matrices, Matrices]:
    """Eigenvalues ``(n, sites)`` and vectors of ``p``, in any order."""
    n = len(p)
    a, v = p.copy(), np.zeros(p.shape, np.complex128)
    for i in range(n):
        v[i, i] = 1
    for _ in range(1 if n == 2 else n + 2):
        for j in range(n):
            for i in range(j):
                _rotate(a, v, i, j)
    return np.stack([a[i, i] for i in range(n)]), v


def _rotate(a: Matrices, v: Matrices, i: int, j: int) -> None:
    """``a <- R^dag a R`` and ``v <- v R``, ``R`` the best rotation of i and j, by at most 45 degrees."""
    cosine, sine = _rotation(a[i, i] - a[j, j], a[i, j] + a[j, i], a[i, j] - a[j, i])
    back = sine.conj()
    for m in (a, v):
        m[:, i], m[:, j] = cosine * m[:, i] + sine * m[:, j], cosine * m[:, j] - back * m[:, i]
    a[i], a[j] = cosine * a[i] + back * a[j], cosine * a[j] - sine * a[i]


def _rotation(x: Matrices, y: Matrices, z: Matrices) -> tuple[Array, Matrices]:
    """``cos`` and ``e^(i alpha) sin`` for ``h = (x, y, i z)``.

    The eigenvector is ``a cos phi + b sin phi`` with ``tan 2 phi = 2 a.b/(a.a - b.b)``, scaled to length 1 and turned to a first
    component that is not negative; (1, 0, 0), no rotation, where ``h = 0``.
    """
    difference = x.real**2 + y.real**2 + z.imag**2 - x.imag**2 - y.imag**2 - z.real**2
    mixed = x.real * x.imag + y.real * y.imag - z.real * z.imag
    phi = 0.5 * np.arctan2(2 * mixed, difference)
    c, s = np.cos(phi), np.sin(phi)
    e_x, e_y, e_z = c * x.real + s * x.imag, c * y.real + s * y.imag, s * z.real - c * z.imag
    norm = np.sqrt(e_x * e_x + e_y * e_y + e_z * e_z)
    none = norm == 0
    scale = np.copysign(1.0, e_x) / np.where(none, 1.0, norm)
    cosine = np.sqrt(0.5 + 0.5 * np.where(none, 1.0, e_x * scale))
    sine = np.empty(cosine.shape, np.complex128)
    scale *= 0.5 / cosine
    sine.real, sine.imag = e_y * scale, e_z * scale
    return cosine, sine


def _canonical(phases: Array) -> tuple[Array, NDArray[np.intp]]:
    """Phases in [-pi, pi] moved to the canonical cell, and the index that each of them had.

    They add up to ``2 pi k``, k rounded to an integer; the k largest are moved by ``-2 pi`` and become the smallest (for k < 0 the
    smallest by ``2 pi``). What is left of the sum is shared out.
    """
    n = len(phases)
    order = np.argsort(phases, axis=0, kind="stable")
    phases = np.take_along_axis(phases, order, axis=0)
    total = phases[0].copy()
    for phase in phases[1:]:
        total += phase
    k = np.rint(total / (2 * np.pi)).astype(np.intp)
    share = (total - 2 * np.pi * k) / n
    place = np.arange(n).reshape(n, *(1,) * k.ndim) - k
    turn = place // n  # -1 for the k last that come first, 1 for the first that come last
    place -= n * turn
    moved = np.take_along_axis(phases, place, axis=0) + 2 * np.pi * turn
    moved -= share
    return moved, np.take_along_axis(order, place, axis=0)
