"""The target distributions by name: action, exact sampler, observables with their exact values, and what tunnelling means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Squared, Theory
from .gauge import schwinger, su2, su3, u1
from .matching import pure_gauge_beta
from .partition import log_partition
from .plain import Coordinate, Nearest, gaussian, gmm, o2
from .scalars import Correlator, phi4

__all__ = [
    "Coordinate",
    "Correlator",
    "Nearest",
    "Squared",
    "Theory",
    "by_name",
    "gaussian",
    "gmm",
    "log_partition",
    "o2",
    "phi4",
    "pure_gauge_beta",
    "schwinger",
    "su2",
    "su3",
    "u1",
]


def by_name(name: str, **parameters: Any) -> Theory:
    """The theory of this name; raises `ValueError` for a name or a parameter that does not exist."""
    functions: dict[str, Callable[..., Theory]] = {
        "u1": u1,
        "schwinger": schwinger,
        "su2": su2,
        "su3": su3,
        "o2": o2,
        "gaussian": gaussian,
        "gmm": gmm,
        "phi4": phi4,
    }
    if name not in functions:
        raise ValueError(f"theory: got {name!r}, expected one of {', '.join(functions)}")
    try:
        return functions[name](**parameters)
    except TypeError as error:
        raise ValueError(f"theory: got parameters {parameters} for {name!r}: {error}") from error
