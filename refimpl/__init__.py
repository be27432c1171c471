"""refimpl: a float64 NumPy reference, and a test oracle, for machine-learned sampling in 2D lattice field theory."""

import importlib
from types import ModuleType

from . import (
    actions,
    estimators,
    exact,
    fits,
    groups,
    kernels,
    lattice,
    maps,
    models,
    observables,
    statistics,
    theories,
    tuning,
)

__version__ = "0.1.0"
__all__ = [
    "actions",
    "estimators",
    "exact",
    "fits",
    "groups",
    "kernels",
    "lattice",
    "maps",
    "models",
    "observables",
    "statistics",
    "theories",
    "tuning",
]

# What loads autograd, or much of the rest, waits until it is asked for.
_LATER = ("analysis", "chains", "nets", "training", "reproduce", "validation")


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return importlib.import_module(f"refimpl.{name}")
    raise AttributeError(f"module 'refimpl' has no attribute {name!r}")
