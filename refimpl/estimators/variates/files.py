"""Variates as ``.npz`` files: arrays under their own keys, and a JSON header with the action, the lattice and the observable."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...nets import files as weights

Array = NDArray[np.float64]

FITTED = "fitted_to"  # key of the fingerprints in the meta data


class Stored(Protocol):
    """A variate that can be saved: ``from_record(*record())`` is the variate again, bit for bit."""

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Its arrays, float64, and the rest of it as JSON: the fields of action, method and observable."""
        ...

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> Stored:
        """Raises `ValueError`, `TypeError`, `LookupError` or `ArithmeticError` where arrays and meta data do not fit each other."""
        ...


# The kinds of variate that `load` knows, by the names of their classes.
KINDS: dict[str, type[Stored]] = {}


def save(variate: Stored, path: str | os.PathLike[str], fitted_to: ArrayLike = ()) -> None:
    """Write a variate to ``path``, whole or not at all: the format of `refimpl.nets.files.save`, with its kind in ``meta``.

    ``fitted_to``: the configurations of the fit, of which the file keeps fingerprints, for `was_fitted_to`.
    """
    arrays, meta = variate.record()
    weights.save(path, arrays, {"variate": type(variate).__name__, FITTED: _fingerprints(fitted_to), **meta})


def load(path: str | os.PathLike[str]) -> Stored:
    """A variate written by `save`; raises `ValueError` naming the file where it is no such file, and `FileNotFoundError`."""
    arrays, meta = weights.load(path)
    kind = meta.pop("variate", None)
    meta.pop(FITTED, None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{path}: got a file of {kind!r}, expected a variate of kind {', '.join(KINDS)}")
    try:
        return KINDS[kind].from_record(arrays, meta)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"{path}: got a {kind} that does not hold together ({error}), expected one that was saved"
        ) from error


def was_fitted_to(path: str | os.PathLike[str], configurations: ArrayLike) -> NDArray[np.bool_]:
    """Which of these configurations ``(n, ...)`` the variate of this file was fitted to, as far as the file tells, ``(n,)``."""
    known = set(weights.load(path)[1].get(FITTED, ()))
    return np.array([mark in known for mark in _fingerprints(configurations)], dtype=np.bool_)


def _fingerprints(configurations: ArrayLike) -> list[str]:
    fields = np.ascontiguousarray(configurations, dtype="<f8")
    return [hashlib.sha256(field.tobytes()).hexdigest()[:16] for field in fields]
