"""What all theories share: the names of things that a check asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Move = Callable[[Array], Array]

U = 2.0**-53
# Rounding of one plaquette angle: three sums of at most four angles of size pi, and of the function taken of it.
ANGLE = 3 * U * 4 * np.pi + 2 * U


class Observable(NamedTuple):
    """A scalar of a configuration ``(n, ...) -> (n,)``, with its mean and standard deviation in equilibrium."""

    name: str
    values: Move
    mean: float
    std: float


class Symmetry(NamedTuple):
    """A move of the field, and of its tangent vectors (momenta, forces), that leaves the action alone."""

    name: str
    field: Move
    tangent: Move
