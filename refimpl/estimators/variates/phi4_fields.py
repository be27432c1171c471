"""What the variates of phi^4 ask of fields and observables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import check_integer
from ...observables.quantities import Correlator, FieldMoment, quantity
from .base import checked_configurations, named

Array = NDArray[np.float64]


def check_action(action: object) -> None:
    """Raises `ValueError` unless it is that of phi^4."""
    if not isinstance(action, Phi4):
        raise ValueError(f"action: got {action!r}, expected a Phi4")


# A bracket has up to phi^7 times a force of phi^3, and is squared: 1e240 lam^2, within float64 with room for sums.
LARGEST_FIELD = 1e12


def checked_fields(
    configurations: ArrayLike, field_shape: tuple[int, int] | None = None, name: str = "configurations"
) -> Array:
    """Float64 scalar fields ``(n, T, X)`` of numbers up to `LARGEST_FIELD`; raises `ValueError` otherwise."""
    x = checked_configurations(configurations, field_shape, name)
    if x.ndim != 3:
        raise ValueError(f"{name}: got shape {x.shape}, expected (n, T, X)")
    largest = float(np.abs(x).max())
    if largest > LARGEST_FIELD:
        raise ValueError(f"{name}: got numbers up to {largest:.3g}, expected fields of at most {LARGEST_FIELD:g}")
    return x


def check_observable(observable: object, n_t: int) -> None:
    """Raises `ValueError` unless it is a correlator at a time on the lattice or a moment of the field."""
    if isinstance(observable, Correlator):
        check_integer("observable.t", observable.t, 0, n_t - 1)
    elif not isinstance(observable, FieldMoment):
        raise ValueError(
            f"observable: got {named(observable)}, expected a Correlator (correlator_T) or a FieldMoment (phi^2, phi^4)"
        )


def phi4_record(meta: dict[str, Any]) -> tuple[Phi4, tuple[int, int], Correlator | FieldMoment]:
    """Action, lattice ``(T, X)`` and observable in the header of a file; raises `ValueError`, `TypeError` or `KeyError`."""
    n_t, n_x = (check_integer("shape", extent, 1) for extent in meta["shape"])
    observable: Any = quantity(meta["observable"])
    check_observable(observable, n_t)
    return Phi4(**meta["action"]), (n_t, n_x), observable
