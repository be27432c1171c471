"""The Schur complement ``1 + i s gamma5 - D_eo R D_oe`` on the even sites, entry by entry, for all chains at once.

Its entries are sums over paths of two hops, from an even site to an odd one and on: the pattern is computed once for a
lattice, the values are products of links. R is diagonal in spin: ``(1 + i s gamma5)^-1``, or 1 for the even-odd
operator ``D_sc + i s gamma5``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .matrix import Indices, checkerboard, neighbours
from .operator import SIGMA, ComplexArray, WilsonDirac
from .solve import sparse_factors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Spin of a hop ahead in time and space, then back: 1 - sigma_mu, 1 + sigma_mu.
_SPIN: ComplexArray = np.concatenate([np.eye(2) - SIGMA, np.eye(2) + SIGMA])


@dataclass(frozen=True, eq=False)
class SchurPattern:
    """Where the entries are: compressed columns, and which products of links add up to them.

    Parameters
    ----------
    rows, columns : of every entry, sorted by columns. starts : the first entry of every column, as SciPy's ``indptr``.
    diagonal : the entries on the diagonal, in the order of rows.
    paths : ``(entries, values)``, ones where a value of a path belongs to an entry.
    even, middle : the even sites, and, ``(4, even)``, where each of the hops from them arrives.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    starts: NDArray[np.int32]
    diagonal: Indices
    paths: csr_array
    even: Indices
    middle: Indices


@dataclass(frozen=True, eq=False)
class SparseOrder:
    """The entries in the order of a sparse factorisation, which is found once for a lattice.

    Parameters
    ----------
    order : rows of S in this order. entries : those of `SchurPattern`, by columns in this order; rows, starts : theirs.
    """

    order: Indices
    entries: Indices
    rows: NDArray[np.int32]
    starts: NDArray[np.int32]


@lru_cache(maxsize=16)
def sparse_order(shape: tuple[int, int], colours: int) -> SparseOrder:
    """The minimum-degree order of the symmetric pattern, which depends on nothing but the lattice."""
    from scipy.sparse import csc_array

    pattern = schur_pattern(shape, colours)
    n = pattern.diagonal.size
    values = np.full(pattern.rows.size, 1.0)
    values[pattern.diagonal] = n  # regular, and no row is exchanged
    factors = sparse_factors(csc_array((values, pattern.rows, pattern.starts), (n, n)))
    assert factors is not None
    rank = factors.perm_c.astype(np.int64)
    rows, columns = rank[pattern.rows], rank[pattern.columns]
    entries = np.lexsort((rows, columns))
    starts = np.searchsorted(columns[entries], np.arange(n + 1))
    return SparseOrder(np.argsort(rank), entries, rows[entries].astype(np.int32), starts.astype(np.int32))


@lru_cache(maxsize=16)
def schur_pattern(shape: tuple[int, int], colours: int) -> SchurPattern:
    """The pattern for a lattice of even extents."""
    from scipy.sparse import csr_array

    parity, place = checkerboard(shape)
    even, hops = np.flatnonzero(parity == 0), _hop_targets(shape)
    width, middle = 2 * colours, hops[:, even]
    ends = place[hops[:, middle].swapaxes(0, 1)]  # (a, b, even)
    # Values are laid out as (a, b, spin, spin, colour, colour, even).
    index = np.ix_(range(4), range(4), range(2), range(2), range(colours), range(colours), range(even.size))
    a, b, s, t, i, j, y = index
    row = np.broadcast_to(width * y + colours * s + i, np.broadcast_shapes(*(k.shape for k in index))).ravel()
    column = (width * ends[a, b, y] + colours * t + j + 0 * (s + i)).ravel()
    n = width * even.size
    code, inverse = np.unique(column * n + row, return_inverse=True)
    paths = csr_array((np.ones(row.size), (inverse.ravel(), np.arange(row.size))), (code.size, row.size))
    rows, columns = code % n, code // n
    starts = np.searchsorted(columns, np.arange(n + 1))
    return SchurPattern(
        rows.astype(np.int32), columns.astype(np.int32), starts.astype(np.int32), np.flatnonzero(rows == columns),
        paths, even, middle,
    )  # fmt: skip


def twisted_entries(dirac: WilsonDirac, s: float, inner: NDArray) -> ComplexArray:
    """The entries ``(chain, entry)`` of ``1 + i s gamma5 - D_eo R D_oe``, ``inner`` being the diagonal of R in spin."""
    pattern = schur_pattern(dirac.shape, dirac.colours)
    links = _hop_links(dirac)
    first = links[:, :, :, pattern.even]
    second = links[:, :, :, pattern.middle].transpose(3, 0, 1, 2, 4, 5)
    n = dirac.colours
    spin = -(dirac.kappa**2) * (_SPIN[:, None] * inner) @ _SPIN  # (a, b, s, t)
    # Products of links, (a, b, i, j, even, chain).
    product = first[:, None, :, 0, None] * second[:, :, None, 0]
    for k in range(1, n):
        product += first[:, None, :, k, None] * second[:, :, None, k]
    values = spin[..., None, None, None, None] * product[:, :, None, None]
    entries = pattern.paths @ values.reshape(pattern.paths.shape[1], -1)
    signs = np.tile(np.repeat([1.0, -1.0], n), pattern.even.size)
    entries[pattern.diagonal] += (1 + 1j * s * signs)[:, None]
    return np.ascontiguousarray(entries.T)


@lru_cache(maxsize=64)
def _hop_targets(shape: tuple[int, int]) -> Indices:
    """The sites ``(4, V)`` where the hops of `_SPIN` lead to, flattened."""
    ahead = neighbours(shape)
    back = np.empty_like(ahead)
    for mu in (0, 1):
        back[mu, ahead[mu]] = np.arange(ahead.shape[1])
    return np.concatenate([ahead, back])


def _hop_links(dirac: WilsonDirac) -> ComplexArray:
    """The links ``(4, N, N, V, chain)`` of the hops: ``U_mu(y)``, and ``U_mu(y - mu^)^dag``."""
    ahead = dirac.links.transpose(1, 4, 5, 2, 3, 0)
    ahead = ahead.reshape(2, dirac.colours, dirac.colours, -1, len(dirac.links))
    links = np.empty((4, *ahead.shape[1:]), np.complex128)
    links[:2] = ahead
    for mu, sites in enumerate(neighbours(dirac.shape)):
        links[2 + mu][:, :, sites] = ahead[mu].swapaxes(0, 1).conj()
    return links
