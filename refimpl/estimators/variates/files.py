"""Variates as ``.npz`` files: arrays under their own keys, and a JSON header with the action, the lattice and the observable."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...nets import files as weights

Array = NDArray[np.float64]


class Stored(Protocol):
    """A variate that can be saved: ``from_record(*record())`` is the variate again, bit for bit."""

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Its arrays, float64, and the rest of it as JSON: the fields of action, method and observable."""
        ...

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> Stored:
        """Raises `ValueError`, `TypeError` or `KeyError` where arrays and meta data do not fit each other."""
        ...


# The kinds of variate that `load` knows, by the names of their classes.
KINDS: dict[str, type[Stored]] = {}


def save(variate: Stored, path: str | os.PathLike[str]) -> None:
    """Write a variate to ``path``, whole or not at all: the format of `refimpl.nets.files.save`, with its kind in ``meta``."""
    arrays, meta = variate.record()
    weights.save(path, arrays, {"variate": type(variate).__name__, **meta})


def load(path: str | os.PathLike[str]) -> Stored:
    """A variate written by `save`; raises `ValueError` naming the file where it is no such file, and `FileNotFoundError`."""
    arrays, meta = weights.load(path)
    kind = meta.pop("variate", None)
    if kind not in KINDS:
        raise ValueError(f"{path}: got a file of {kind!r}, expected a variate of kind {', '.join(KINDS)}")
    try:
        return KINDS[kind].from_record(arrays, meta)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: got a {kind} that does not hold together ({error}), expected one that was saved"
        ) from error
