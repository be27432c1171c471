"""Small matrices at many sites, component first: arrays ``(n, n, *sites)``, so that one ufunc call serves all sites.

Every function works site by site with the same operations whatever the number of sites: a matrix has the same bits in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]


def components(field: NDArray[Any], n_axes: int) -> NDArray[Any]:
    """View of ``(chain, ..., *components)`` as ``(*components, ..., chain)``, the last ``n_axes`` axes being components.

    In this order `refimpl.lattice.chain_last` lays its arrays out in memory.
    """
    sites = field.ndim - n_axes
    return field.transpose(*range(sites, field.ndim), *range(1, sites), *range(min(sites, 1)))


def field(components: NDArray[Any], n_axes: int) -> NDArray[Any]:
    """The inverse of `components`, a view too."""
    sites = components.ndim - n_axes
    last = components.ndim - 1
    return components.transpose(*([last] if sites else []), *range(n_axes, last if sites else n_axes), *range(n_axes))


def product(a: Matrices, b: Matrices) -> Matrices:
    """``a b`` at every site, unrolled: the row i of the product is ``sum_k a_ik b_k``."""
    n = len(a)
    out = np.empty((n, n, *np.broadcast_shapes(a.shape[2:], b.shape[2:])), np.complex128)
    term = np.empty(out.shape[1:], np.complex128)
    for i in range(n):
        np.multiply(a[i, 0], b[0], out[i])
        for k in range(1, n):
            np.multiply(a[i, k], b[k], term)
            out[i] += term
    return out


def dagger(a: Matrices) -> Matrices:
    """The Hermitian conjugate at every site."""
    return np.conj(a.swapaxes(0, 1))


def trace(a: Matrices) -> Matrices:
    """The trace at every site."""
    total = a[0, 0].copy()
    for i in range(1, len(a)):
        total += a[i, i]
    return total


def determinant(a: Matrices) -> Matrices:
    """The determinant at every site, expanded along the first row."""
    if len(a) == 1:
        return a[0, 0]
    rest = [[k for k in range(len(a)) if k != j] for j in range(len(a))]
    terms = [(-1) ** j * a[0, j] * determinant(a[1:, columns]) for j, columns in enumerate(rest)]
    return np.asarray(sum(terms[1:], terms[0]))


def hermitian(w: Array, n: int) -> Matrices:
    """``w_a T_a`` for coordinates ``(n^2 - 1, *sites)`` along the generators of `refimpl.groups.SUN.basis`."""
    out = np.zeros((n, n, *w.shape[1:]), np.complex128)
    a = 0
    for k in range(1, n):
        for j in range(k):
            entry = out[j, k, ...]
            entry.real, entry.imag = 0.5 * w[a], -0.5 * w[a + 1]
            np.conj(entry, out[k, j, ...])
            a += 2
        part = w[a] / np.sqrt(2 * k * (k + 1))
        for j in range(k):
            out[j, j] += part
        out[k, k] -= k * part
        a += 1
    return out


def coordinates(m: Matrices) -> Array:
    """``2 tr(T_a m)`` of Hermitian ``m``, shape ``(n^2 - 1, *sites)``: the inverse of `hermitian`, blind to the trace."""
    n = len(m)
    out = np.empty((n * n - 1, *m.shape[2:]))
    a = 0
    for k in range(1, n):
        for j in range(k):
            np.multiply(m[j, k].real, 2, out[a, ...])
            np.multiply(m[j, k].imag, -2, out[a + 1, ...])
            a += 2
        total = m[0, 0].real.copy()
        for j in range(1, k):
            total += m[j, j].real
        np.multiply(total - k * m[k, k].real, np.sqrt(2 / (k * (k + 1))), out[a, ...])
        a += 1
    return out


def imaginary_coordinates(m: Matrices) -> Array:
    """`coordinates` of ``(m - m^dag)/2i``, for any ``m``."""
    n = len(m)
    out = np.empty((n * n - 1, *m.shape[2:]))
    a = 0
    for k in range(1, n):
        for j in range(k):
            np.add(m[j, k].imag, m[k, j].imag, out[a, ...])
            np.subtract(m[j, k].real, m[k, j].real, out[a + 1, ...])
            a += 2
        total = m[0, 0].imag.copy()
        for j in range(1, k):
            total += m[j, j].imag
        np.multiply(total - k * m[k, k].imag, np.sqrt(2 / (k * (k + 1))), out[a, ...])
        a += 1
    return out
