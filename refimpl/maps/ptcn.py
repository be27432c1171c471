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

# The first neighbours of a site, and the others: on a lattice of extent 2 they are the same sites, one by one.
GROUPS = ((0, 1, 3), (2, 4))

Stencils = list[ComplexArray]
# Cotangent of active rows -> those of frozen rows and of stencils.
Pull = Callable[[ComplexArray], tuple[ComplexArray, Stencils]]


class Ptc(NamedTuple):
    """Where a PTC is computed.

    ``sites``; the number of those ``before``, of the field it is applied to; the positions of neighbours among these,
    ``(5, site)``, which are that number for a neighbour where the field is zero; for each of `GROUPS` the places of its
    numbers in the matrix and in the stencils, both flattened.
    """

    sites: Indices
    before: int
    table: Indices
    places: tuple[tuple[Indices, Indices], ...]


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
    found = []
    for before, here, k, h in zip(sites, sites[1:], widths, widths[1:], strict=False):
        position = np.full(shape[0] * shape[1], len(before))
        position[before] = np.arange(len(before))
        table = position[around[:, here]]
        places = tuple(_places(table, len(before), h, k, group) for group in GROUPS)
        found.append(Ptc(here, len(before), table, places))
    return tuple(found)


def _places(table: Indices, n_before: int, h: int, k: int, group: tuple[int, ...]) -> tuple[Indices, Indices]:
    """See `Ptc`."""
    rows, d, columns = np.arange(table.shape[1] * h)[:, None, None], np.array(group)[:, None], np.arange(k)
    of_row = table[list(group)].T.repeat(h, axis=0)[:, :, None]
    there = np.broadcast_to(of_row < n_before, (len(rows), len(group), k))
    in_matrix = (rows * n_before + of_row) * k + columns
    in_stencils = (rows * DIRECTIONS + d) * k + columns
    return in_matrix[there], in_stencils[there]


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
        # One more site, where the field is zero.
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
        g_whole = np.zeros((*g_product.shape[:2], _rows_before(steps[0], stencils[0])), np.complex128)
        g_whole[:, :, starts] = g_product
        return [_collected(steps[0], g_whole, stencils[0]), *grads]

    return products[-1].take(ends, axis=1), pull


def _rows_before(ptc: Ptc, stencil: ComplexArray) -> int:
    """Of the field that a PTC is applied to."""
    return ptc.before * stencil.shape[3] // DIRECTIONS


def _spread(ptc: Ptc, stencil: ComplexArray) -> ComplexArray:
    """A PTC as a matrix ``(chain, row, row before)``."""
    chains, sites, h, _ = stencil.shape
    rows, flat = _rows_before(ptc, stencil), stencil.reshape(chains, -1)
    out = np.zeros((chains, sites * h * rows), np.complex128)
    (first, of_first), (others, of_others) = ptc.places
    out[:, first] = flat.take(of_first, axis=1)
    out[:, others] += flat.take(of_others, axis=1)
    return out.reshape(chains, sites * h, rows)


def _collected(ptc: Ptc, g: ComplexArray, stencil: ComplexArray) -> ComplexArray:
    """The cotangent of the stencils, from the complex conjugate of that of their matrix."""
    out, flat = np.zeros((len(g), stencil[0].size), np.complex128), g.reshape(len(g), -1)
    for place, source in ptc.places:
        out[:, source] = flat.take(place, axis=1)
    return np.conj(out, out=out).reshape(stencil.shape)
