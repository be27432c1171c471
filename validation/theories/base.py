"""What all theories share: the names of things that a check asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Move = Callable[[Any], Any]

U = 2.0**-53
# Rounding of one plaquette angle: three sums of at most four angles of size pi, and of the function taken of it.
ANGLE = 3 * U * 4 * np.pi + 2 * U


class Unsampled(Exception):
    """Why exact equilibrium samples of a theory are out of reach. Becomes a skip with this reason."""


class Observable(NamedTuple):
    """A scalar of a configuration ``(n, ...) -> (n,)``, with its mean and standard deviation in equilibrium.

    Where the mean is not ``known`` it is an estimate that only centres a bounded function: no verdict hangs on it.
    """

    name: str
    values: Move
    mean: float
    std: float
    known: bool = True

    @property
    def told(self) -> str:
        """The mean, and what it is, in words."""
        return f"{'exact' if self.known else 'from samples'} {self.mean:.6f}"


class Symmetry(NamedTuple):
    """A move of the field, and of its tangent vectors (momenta, forces), that leaves the action alone."""

    name: str
    field: Move
    tangent: Move


class Additive:
    """Theories whose momenta have the shape of the field, and move it by addition."""

    # By how many the sample sizes of a level are divided where a configuration is expensive.
    thrift: ClassVar[int] = 1
    field_shape: Any  # an attribute or a property
    sample: Any  # a method: exact equilibrium fields

    @property
    def momentum_shape(self) -> tuple[int, ...]:
        return tuple(self.field_shape)

    def pushed(self, x: Array, w: Array) -> Array:
        """The field moved by ``w``."""
        return x + w

    def starts(self, rng: np.random.Generator, n: int) -> Array:
        """Typical fields to start from, where equilibrium is not needed."""
        return np.asarray(self.sample(rng, n))

    def conjugation(self) -> Symmetry:
        """``x -> -x``."""
        return Symmetry("x -> -x", np.negative, np.negative)
