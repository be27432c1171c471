"""Which links a layer of a gauge flow moves: the two published patterns on the square lattice.

A layer moves *active* links of one direction mu. The plaquette that begins at an active link is active too and is what the layer
transforms; the plaquette on the other side of the link, ``n - nu``, nu the other direction, is *passive* and moves by the
opposite; all others are *frozen*: they contain no active link, and may be seen by the layer. Both patterns move a quarter of
the links of one direction in a layer, every link once in `PERIOD` layers, and ask for extents that 4 divides.

- ``stripes`` (Kanwar 2020, arXiv:2003.06413; the tutorial arXiv:2101.08176): layer i has ``mu = i mod 2`` and moves whole lines,
  those where the coordinate along nu is ``(i//2) mod 4`` modulo 4.
- ``tiles`` (Albergo 2022, arXiv:2202.11712, for the Schwinger model, as in its public code): layer i has
  ``mu = (i//4) mod 2``; links where ``r - i - 2 (c mod 2)`` is 0 modulo 4, r the coordinate along mu and c along nu. Frozen
  plaquettes fill the rows where ``r - i`` is odd.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer, check_shape

Mask = NDArray[np.bool_]

PATTERNS = ("stripes", "tiles")
# Layers after which every link has been active once.
PERIOD = 8
# Extents are multiples of it, and shifts by it leave a layer as it is.
SPACING = 4


class Masks(NamedTuple):
    """Of one layer: the direction of the active links, and masks ``(T, X)`` of plaquettes, which the first is of links too.

    ``loops[rho]`` are the loops of two plaquettes n and ``n + rho^`` that contain no active link: two frozen ones, or the two
    around an active link, whose moves cancel.
    """

    mu: int
    active: Mask
    passive: Mask
    frozen: Mask
    loops: tuple[Mask, Mask]


def check_pattern(pattern: str, shape: tuple[int, int]) -> tuple[int, int]:
    """The shape as two ints; raises `ValueError` for an unknown pattern or extents that 4 does not divide."""
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: got {pattern!r}, expected one of {PATTERNS}")
    extents = check_shape(shape)
    for name, extent in zip("TX", extents, strict=True):
        if extent % SPACING:
            raise ValueError(
                f"shape: got extent {name} = {extent}, expected a multiple of {SPACING} (masks repeat after it)"
            )
    return extents


@lru_cache
def masks(pattern: str, index: int, shape: tuple[int, int]) -> Masks:
    """The masks of layer ``index``, counted from 0, of a pattern; arrays that cannot be written to."""
    extents = check_pattern(pattern, shape)
    index = check_integer("index", index, 0) % PERIOD
    mu = index % 2 if pattern == "stripes" else index // 4
    along, across = np.indices(extents)[[mu, 1 - mu]]
    place = across - index // 2 if pattern == "stripes" else along - index - 2 * (across % 2)
    active = place % SPACING == 0
    passive = np.roll(active, -1, axis=1 - mu)
    frozen = ~(active | passive)
    first, second = (frozen & np.roll(frozen, -1, axis=rho) for rho in (0, 1))
    (second if mu == 0 else first)[passive] = (
        True  # the loop of a passive plaquette and the active one behind it along nu
    )
    for mask in (active, passive, frozen, first, second):
        mask.flags.writeable = False
    return Masks(mu, active, passive, frozen, (first, second))
