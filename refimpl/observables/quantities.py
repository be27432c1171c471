"""Observables as objects with a name: what a control variate is fitted to, and what other processes and files can be told.

Each is called with fields and returns one value per chain; ``str`` of it is the name that `quantity` understands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer, check_scalars, site_sum
from .gauge import mean_plaquette, wilson_loop
from .scalars import slice_means

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlator:
    """``C(t) = (1/T) sum_y P(y + t) P(y)`` of the slice means P of a scalar field (Bedaque 2023, eq. 15); ``correlator_t``."""

    t: int

    def __post_init__(self) -> None:
        check_integer("t", self.t, 0)

    def __call__(self, x: Array) -> Array:
        means = slice_means(x)
        check_integer("t", self.t, 0, means.shape[1] - 1)
        return site_sum(np.roll(means, -self.t, axis=1) * means) / means.shape[1]

    def __str__(self) -> str:
        return f"correlator_{self.t}"


@dataclass(frozen=True)
class FieldMoment:
    """``(1/V) sum phi^power`` of a scalar field, for an even power; ``phi^power``."""

    power: int

    def __post_init__(self) -> None:
        if check_integer("power", self.power, 2) % 2:
            raise ValueError(f"power: got {self.power}, expected an even number: odd moments vanish")

    def __call__(self, x: Array) -> Array:
        square = np.square(check_scalars(x))
        product = square.copy()
        for _ in range(self.power // 2 - 1):
            product *= square
        return site_sum(product) / square[0].size

    def __str__(self) -> str:
        return f"phi^{self.power}"


@dataclass(frozen=True)
class Plaquette:
    """``(1/V) sum_P cos theta_P``, or ``Re tr/N``, of links; ``plaquette``."""

    def __call__(self, x: NDArray[Any]) -> Array:
        return mean_plaquette(x)

    def __str__(self) -> str:
        return "plaquette"


@dataclass(frozen=True)
class WilsonLoop:
    """`wilson_loop` of these extents; ``wilson_loop_TxX``."""

    extent_t: int
    extent_x: int

    def __post_init__(self) -> None:
        check_integer("extent_t", self.extent_t, 1)
        check_integer("extent_x", self.extent_x, 1)

    def __call__(self, x: NDArray[Any]) -> Array:
        return wilson_loop(x, self.extent_t, self.extent_x)

    def __str__(self) -> str:
        return f"wilson_loop_{self.extent_t}x{self.extent_x}"


Quantity = Correlator | FieldMoment | Plaquette | WilsonLoop

_NAMES: tuple[tuple[str, Callable[..., Quantity]], ...] = (
    (r"correlator_(\d+)", Correlator),
    (r"phi\^(\d+)", FieldMoment),
    (r"plaquette", Plaquette),
    (r"wilson_loop_(\d+)x(\d+)", WilsonLoop),
)


def quantity(name: str) -> Quantity:
    """The observable of this name; raises `ValueError` for a name that does not exist."""
    for pattern, make in _NAMES:
        if found := re.fullmatch(pattern, name):
            return make(*map(int, found.groups()))
    raise ValueError(f"name: got {name!r}, expected correlator_T, phi^2, phi^4, plaquette or wilson_loop_TxX")
