"""Parallel transport convolutional networks (Abbott 2022, sec. III.C): PTCs one behind the other, from frozen to active rows.

A PTC is given by its stencils (`refimpl.maps.transport`), at those sites alone where it matters: which frozen sites reach by the
PTCs before, and which active sites see through those behind. There are two ways through the network. Few columns walk through
it site by site. For many, its matrix is made, active rows by frozen rows: the product of the matrices of the PTCs, which are
zero between sites that are no neighbours. They are faster than products site by site, on 4 x 4 by a factor of two; on 8 x 8 it
is even.

Rows of a site are features times colours; cotangents are as in `refimpl.maps.transport`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import transport
from .transport import DIRECTIONS, ComplexArray, Indices

# Directions whose neighbours differ on any lattice; where an extent is 2, the neighbours ahead and behind are the same.
GROUPS = ((0, 1, 3), (2, 4))

Stencils = list[ComplexArray]
# Cotangent of active rows -> those of frozen rows and of stencils.
Pull = Callable[[ComplexArray], tuple[ComplexArray, Stencils]]


class Ptc(NamedTuple):
    """Where a PTC is computed: from a field on ``before`` sites to one on ``sites``.

    ``table`` has the positions of neighbours among the sites before, ``(5, site)``, and their number for a neighbour where the
    field is zero. The matrix of a PTC and its stencils consist of blocks, the numbers of a row for one site before or for one
    direction: ``sources`` are the blocks of stencils in the places of the matrix, in one array or in two whose sum it is, and
    their number where it is zero; ``places`` are the blocks of the matrix in the places of the stencils, ``nothing`` those
    where it has none.
    """

    sites: Indices
    before: int
    table: Indices
    sources: tuple[Indices, ...]
    places: Indices
    nothing: Indices


class Network(NamedTuple):
    """PTCs, and which rows of frozen sites go in and which of active sites come out."""

    ptcs: tuple[Ptc, ...]
    starts: Indices
    ends: Indices


def ptcs(shape: tuple[int, int], frozen: Indices, active: Indices, widths: Sequence[int]) -> tuple[Ptc, ...]:
    """The PTCs between these sites; ``widths`` are the rows of a site, before the first, ..., behind the last."""
    around, n = transport.neighbours(shape), len(widths) - 1
    reached, seen = [frozen], [active]
    for _ in range(n - 1):
        reached.append(np.flatnonzero(np.isin(around, reached[-1]).any(axis=0)))
        seen.insert(0, np.unique(around[:, seen[0]]))
    sites = [reached[0], *map(np.intersect1d, reached[1:], seen[:-1]), seen[-1]]
    groups = GROUPS if min(shape) == 2 else (sum(GROUPS, ()),)
    return tuple(
        _ptc(around, before, here, rows, groups)
        for before, here, rows in zip(sites[:-1], sites[1:], widths[1:], strict=True)
    )


def _ptc(around: Indices, before: Indices, here: Indices, rows: int, groups: tuple[tuple[int, ...], ...]) -> Ptc:
    position = np.full(around.shape[1], len(before))
    position[before] = np.arange(len(before))
    table = position[around[:, here]]
    # Of every row of the stencils and direction, the block of the matrix.
    columns = table.T.repeat(rows, axis=0)
    places = np.arange(len(columns))[:, None] * len(before) + columns
    there, blocks, sources = columns < len(before), np.arange(columns.size).reshape(columns.shape), []
    for group in map(list, groups):
        own = np.full(len(columns) * len(before), columns.size)
        own[places[:, group][there[:, group]]] = blocks[:, group][there[:, group]]
        sources.append(own)
    return Ptc(here, len(before), table, tuple(sources), np.where(there, places, 0).ravel(), np.flatnonzero(~there))


def shift(network: Network, stencils: Stencils, psi: ComplexArray) -> tuple[ComplexArray, Pull]:
    """What the network makes of columns ``(chain, frozen row, k)``, ``(chain, active row, k)``, and its pullback."""
    if psi.shape[2] <= len(network.starts):
        return _walked(network, stencils, psi)
    matrix, pull_matrix = _matrix(network, stencils)

    def pull(g: ComplexArray) -> tuple[ComplexArray, Stencils]:
        return matrix.conj().swapaxes(1, 2) @ g, pull_matrix(g @ psi.conj().swapaxes(1, 2))

    return matrix @ psi, pull


def _walked(network: Network, stencils: Stencils, psi: ComplexArray) -> tuple[ComplexArray, Pull]:
    """`shift` site by site."""
    steps, starts, ends = network
    chains, _, k = psi.shape
    first = stencils[0].shape[3] // DIRECTIONS
    field = np.zeros((chains, steps[0].before, first, k), np.complex128)
    field.reshape(chains, -1, k)[:, starts] = psi
    fields = []
    for ptc, stencil in zip(steps, stencils, strict=True):
        # One more site, where the field is zero, and whose cotangent means nothing.
        fields.append(np.concatenate([field, np.zeros((chains, 1, *field.shape[2:]))], axis=1))
        field = stencil @ transport.gathered(fields[-1], ptc.table)

    def pull(g: ComplexArray) -> tuple[ComplexArray, Stencils]:
        grads: Stencils = []
        g_field = np.zeros(field.shape, np.complex128)
        g_field.reshape(chains, -1, k)[:, ends] = g
        for before, ptc, stencil in reversed(list(zip(fields, steps, stencils, strict=True))):
            seen = transport.gathered(before, ptc.table)
            grads.insert(0, g_field @ seen.conj().swapaxes(-1, -2))
            g_seen = stencil.conj().swapaxes(-1, -2) @ g_field
            g_field = transport.gathered_pullback(g_seen, ptc.table, before.shape[1])[:, :-1]
        return g_field.reshape(chains, -1, k)[:, starts], grads

    return field.reshape(chains, -1, k)[:, ends], pull


def _matrix(network: Network, stencils: Stencils) -> tuple[ComplexArray, Callable[[ComplexArray], Stencils]]:
    """The matrix ``(chain, active row, frozen row)``, and its pullback to the stencils."""
    steps, starts, ends = network
    products: Stencils = []
    for ptc, stencil in zip(steps, stencils, strict=True):
        whole = _spread(ptc, stencil)
        products.append(whole @ products[-1] if products else whole.take(starts, axis=2))

    def pull(g: ComplexArray) -> Stencils:
        grads: Stencils = []
        g_product = np.zeros(products[-1].shape, np.complex128)
        g_product[:, ends] = g.conj()
        for i in range(len(stencils) - 1, 0, -1):
            grads.insert(0, _collected(steps[i], g_product @ products[i - 1].swapaxes(1, 2), stencils[i]))
            # Made anew: matrices are too large to be kept.
            g_product = _spread(steps[i], stencils[i]).swapaxes(1, 2) @ g_product
        g_whole = np.zeros((*g_product.shape[:2], steps[0].before * stencils[0].shape[3] // DIRECTIONS), np.complex128)
        g_whole[:, :, starts] = g_product
        return [_collected(steps[0], g_whole, stencils[0]), *grads]

    return products[-1].take(ends, axis=1), pull


def _spread(ptc: Ptc, stencil: ComplexArray) -> ComplexArray:
    """A PTC as a matrix ``(chain, row, row before)``."""
    chains, sites, h, width = stencil.shape
    blocks = np.zeros((chains, sites * h * DIRECTIONS + 1, width // DIRECTIONS), np.complex128)
    blocks[:, :-1] = stencil.reshape(chains, -1, blocks.shape[2])
    matrix = blocks.take(ptc.sources[0], axis=1)
    for source in ptc.sources[1:]:
        matrix += blocks.take(source, axis=1)
    return matrix.reshape(chains, sites * h, -1)


def _collected(ptc: Ptc, g: ComplexArray, stencil: ComplexArray) -> ComplexArray:
    """The cotangent of the stencils, from the complex conjugate of that of their matrix."""
    blocks = g.reshape(len(g), -1, stencil.shape[3] // DIRECTIONS).take(ptc.places, axis=1)
    blocks[:, ptc.nothing] = 0
    return np.conj(blocks, out=blocks).reshape(stencil.shape)
