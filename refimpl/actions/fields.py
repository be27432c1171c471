"""Checks of fields ``(chain, N)`` and of the directions that Hessians are multiplied by."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def check_rows(x: ArrayLike, length: int | None = None) -> Array:
    """``x`` as float64 of shape ``(chain, length)``, any length of at least 2 by default; `ValueError` or `TypeError`."""
    x = np.asarray(x)
    if x.dtype != np.float64:
        raise TypeError(f"x: got dtype {x.dtype}, expected float64")
    if x.ndim != 2 or (x.shape[1] < 2 if length is None else x.shape[1] != length):
        expected = "(chain, N) with N of at least 2" if length is None else f"(chain, {length})"
        raise ValueError(f"x: got shape {x.shape}, expected {expected}")
    if x.shape[0] == 0:
        raise ValueError("x: got zero chains, expected at least one")
    return x


def check_direction(w: ArrayLike, x: Array) -> Array:
    """``w`` as float64 of the shape of ``x``; raises `ValueError` or `TypeError` otherwise."""
    w = np.asarray(w)
    if w.dtype != np.float64:
        raise TypeError(f"w: got dtype {w.dtype}, expected float64")
    if w.shape != x.shape:
        raise ValueError(f"w: got shape {w.shape}, expected the shape {x.shape} of x")
    return w
