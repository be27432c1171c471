"""Exact answers and exact samplers. Imports numpy only, and shares no code with what it judges."""

from . import fermions, free_scalar, gaussian, mixture, o2, phi4, schwinger, schwinger_2x2, sun, toy, u1

__all__ = [
    "fermions",
    "free_scalar",
    "gaussian",
    "mixture",
    "o2",
    "phi4",
    "schwinger",
    "schwinger_2x2",
    "sun",
    "toy",
    "u1",
]
