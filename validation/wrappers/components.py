"""Parts of fields and momenta, whatever the theory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Subject
from ..theories import Matrices


def first(s: Subject) -> tuple[Any, ...]:
    """The index of the first link (of matrices: with all its entries), site or component of every chain."""
    rank = 3 if isinstance(s.theory, Matrices) else len(s.theory.field_shape)
    return (slice(None), *(0,) * rank)


def last_plane(s: Subject) -> tuple[Any, ...]:
    """The index of what is last along space: the last time slice, the last space slice of a lattice, or the last component."""
    rank = 3 if isinstance(s.theory, Matrices) else len(s.theory.field_shape)
    return (slice(None), *(slice(None),) * (rank - 1), -1)


def single(value: Any) -> Any:
    """Numbers rounded to single precision, in arrays, and in tuples of them."""
    if isinstance(value, tuple):
        return tuple(single(part) for part in value)
    array: NDArray[Any] = np.asarray(value)
    kind = np.complex64 if np.iscomplexobj(array) else np.float32
    return array.astype(kind).astype(array.dtype)


def per_chain(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """One number per chain, to be multiplied with fields like this one."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))
