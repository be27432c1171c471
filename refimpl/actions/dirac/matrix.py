"""Matrices of the Wilson-Dirac operator: dense, sparse, and the even-odd blocks with their Schur complement.

Rows and columns are ``(t, x, spin, colour)`` flattened. On two sites in a direction the neighbours ahead and behind are
the same site through different links, so entries are added, never set.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...lattice import check_shape
from .operator import SIGMA, ComplexArray, WilsonDirac

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Indices = NDArray[np.int64]


def dense_matrix(dirac: WilsonDirac) -> ComplexArray:
    """``D`` of every chain, ``(chain, n, n)`` with ``n = 2 N T X``."""
    volume, width = _sizes(dirac)
    matrix = np.zeros((len(dirac.links), volume, width, volume, width), np.complex128)
    for rows, columns, block in _hops(dirac):
        matrix[:, rows, :, columns, :] += block
    flat = matrix.reshape(-1, volume * width, volume * width)
    np.einsum("cii->ci", flat)[...] += 1
    return flat


def sparse_matrices(dirac: WilsonDirac) -> list[csc_array]:
    """``D`` of every chain as a SciPy sparse matrix of compressed columns."""
    from scipy.sparse import csc_array

    volume, width = _sizes(dirac)
    n, inside = volume * width, np.arange(width)
    rows, columns, values = [np.arange(n)], [np.arange(n)], [np.ones((len(dirac.links), n), np.complex128)]
    for row_sites, column_sites, block in _hops(dirac):
        r, c = (width * sites[:, None, None] for sites in (row_sites, column_sites))
        rows.append(np.broadcast_to(r + inside[:, None], block[:, 0].shape).ravel())
        columns.append(np.broadcast_to(c + inside, block[:, 0].shape).ravel())
        values.append(block.swapaxes(0, 1).reshape(len(dirac.links), -1))
    at = np.concatenate(rows), np.concatenate(columns)
    return [csc_array((v, at), (n, n)) for v in np.concatenate(values, axis=1)]


def sparse_even_odd_blocks(dirac: WilsonDirac) -> list[tuple[csc_array, csc_array]]:
    """``D_eo`` and ``D_oe`` (33) of every chain as sparse matrices; refuses odd extents."""
    even, odd = even_odd_indices(dirac)
    return [(d[:, odd][even], d[:, even][odd]) for d in sparse_matrices(dirac)]


def sparse_schur_of(d_eo: csc_array, d_oe: csc_array) -> csc_array:
    """``1 - D_eo D_oe`` of given sparse blocks."""
    from scipy.sparse import csc_array

    n = d_eo.shape[0]
    one = csc_array((np.ones(n), (np.arange(n), np.arange(n))), (n, n))
    return csc_array(one - d_eo @ d_oe)


def even_odd_blocks(dirac: WilsonDirac) -> tuple[ComplexArray, ComplexArray]:
    """``D_eo`` and ``D_oe`` of ``D = [[1, D_eo], [D_oe, 1]]`` (33), each ``(chain, n/2, n/2)``; refuses odd extents.

    Sites of one parity, ``(t + x) mod 2``, in the order of the lattice.
    """
    parity, place = checkerboard(dirac.shape)
    half, width = len(parity) // 2, _sizes(dirac)[1]
    blocks = np.zeros((2, len(dirac.links), half, width, half, width), np.complex128)
    for rows, columns, block in _hops(dirac):
        blocks[parity[rows], :, place[rows], :, place[columns], :] += block
    d_eo, d_oe = blocks.reshape(2, -1, half * width, half * width)
    return d_eo, d_oe


def schur_complement(dirac: WilsonDirac) -> ComplexArray:
    """``D_sc = 1 - D_eo D_oe`` (34) on the even sites, ``(chain, n/2, n/2)``; ``det D_sc = det D``."""
    return schur_of(*even_odd_blocks(dirac))


def schur_of(d_eo: ComplexArray, d_oe: ComplexArray) -> ComplexArray:
    """``1 - D_eo D_oe`` of given blocks."""
    schur = -(d_eo @ d_oe)
    np.einsum("cii->ci", schur)[...] += 1
    return schur


def even_odd_indices(dirac: WilsonDirac) -> tuple[Indices, Indices]:
    """Rows of ``D`` that belong to the even and to the odd sites."""
    return parity_rows(dirac.shape, _sizes(dirac)[1])


@lru_cache(maxsize=64)
def parity_rows(shape: tuple[int, int], width: int) -> tuple[Indices, Indices]:
    """Rows of the even and of the odd sites, ``width`` of each site."""
    parity, _ = checkerboard(shape)
    rows = np.arange(parity.size * width).reshape(parity.size, width)
    return rows[parity == 0].ravel(), rows[parity == 1].ravel()


def has_checkerboard(dirac: WilsonDirac) -> bool:
    """Whether both extents are even, so that even sites have odd neighbours only."""
    return not (dirac.shape[0] % 2 or dirac.shape[1] % 2)


@lru_cache(maxsize=64)
def checkerboard(shape: tuple[int, int]) -> tuple[Indices, Indices]:
    """Parity of every site, and its place among the sites of its parity, flattened; refuses odd extents."""
    t, x = np.indices(check_shape(shape, even=True))
    parity = ((t + x) % 2).ravel()
    place = np.empty_like(parity)
    for p in (0, 1):
        place[parity == p] = np.arange(parity.size // 2)
    return parity, place


@lru_cache(maxsize=64)
def neighbours(shape: tuple[int, int]) -> Indices:
    """The flattened site ``y + mu^`` of every site ``y``, shape ``(2, V)``."""
    sites = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.stack([np.roll(sites, -1, mu).ravel() for mu in (0, 1)])


def _hops(dirac: WilsonDirac) -> Iterator[tuple[Indices, Indices, ComplexArray]]:
    """Rows, columns (sites) and blocks ``(2 V, chain, 2 N, 2 N)`` of the hops ahead and behind, both directions in one.

    No entry occurs twice among the hops of one sense.
    """
    volume, width = _sizes(dirac)
    here, ahead = np.tile(np.arange(volume), 2), neighbours(dirac.shape).ravel()
    u = -dirac.kappa * dirac.links.transpose(1, 2, 3, 0, 4, 5)
    for sign, rows, columns, link in ((-1, here, ahead, u), (1, ahead, here, u.conj().swapaxes(-1, -2))):
        block = np.empty((*u.shape[:4], 2, dirac.colours, 2, dirac.colours), np.complex128)
        for s, t in np.ndindex(2, 2):
            block[..., s, :, t, :] = ((s == t) + sign * SIGMA[:, s, t])[:, None, None, None, None, None] * link
        yield rows, columns, block.reshape(2 * volume, -1, width, width)


def _sizes(dirac: WilsonDirac) -> tuple[int, int]:
    """Number of sites, and of components at a site."""
    return dirac.shape[0] * dirac.shape[1], 2 * dirac.colours
