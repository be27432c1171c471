"""What the variates of phi^4 ask of fields and observables."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import check_integer
from ...observables.quantities import Correlator, FieldMoment
from .base import checked_configurations

Array = NDArray[np.float64]


def check_action(action: object) -> None:
    """Raises `ValueError` unless it is that of phi^4."""
    if not isinstance(action, Phi4):
        raise ValueError(f"action: got {action!r}, expected a Phi4")


def checked_fields(configurations: ArrayLike) -> Array:
    """Finite float64 scalar fields ``(n, T, X)``; raises `ValueError` otherwise."""
    x = checked_configurations(configurations)
    if x.ndim != 3:
        raise ValueError(f"configurations: got shape {x.shape}, expected (n, T, X)")
    return x


def check_observable(observable: object, n_t: int) -> None:
    """Raises `ValueError` unless it is a correlator at a time on the lattice or a moment of the field."""
    if isinstance(observable, Correlator):
        check_integer("observable.t", observable.t, 0, n_t - 1)
    elif not isinstance(observable, FieldMoment):
        raise ValueError(f"observable: got {observable!r}, expected a Correlator or a FieldMoment")
