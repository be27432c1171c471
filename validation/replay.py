"""The calls of a vector, repeated on a target: what it answers against what is expected.

The ``.json`` of a vector may have ``calls``, a list of::

    {"function": "force", "arguments": ["x"], "returns": "force", "tolerance": 1e-13}

``arguments`` are names of arrays, numbers, or lists of names for a tuple, ``[["x", "v"]]`` for a point of phase space; ``{"arrays":
"params/"}`` is a mapping of all arrays whose names begin so, by the rest of their names, ``{"value": ...}`` any JSON as it
stands. ``NAME:k`` is column k of an array, ``[:, k]``. ``returns`` has the structure of what is returned, with the name of the
expected array at every leaf: a name, a list for a tuple, an object for a mapping; null for what is not compared. Names in
``angles`` are compared on the circle. ``tolerance`` is absolute. Optional: ``"up_to_constant": true`` compares differences to the
first chain, for functions whose constant is free; ``parameters`` are those of this call alone, beside those of the vector.

A vector whose ``expected`` is ``invalid`` has no answer: the target is to refuse it, by an error or by NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Subject
from .measure import angle_difference
from .vector_files import Vector


@dataclass(frozen=True)
class Comparison:
    """One array that a target returned, and where it is farthest from the one that was expected."""

    function: str
    name: str
    error: float
    tolerance: float
    worst: tuple[int, ...]
    got: Any
    expected: Any

    @property
    def good(self) -> bool:
        """Whether it is within the tolerance; a NaN never is."""
        return self.error <= self.tolerance


def callable_on(subject: Subject, vector: Vector) -> list[dict[str, Any]]:
    """Those calls of the vector for which the target has the function."""
    return [call for call in vector.about.get("calls", ()) if subject.has(call["function"])]


def repeated(subject: Subject, vector: Vector) -> list[Comparison]:
    """Every array of every call that the target can answer; raises `TargetFault` where it fails to."""
    arrays = {"x": vector.x, **vector.expected}
    return [
        compared(call["function"], name, got, arrays[name], call["tolerance"], name in call.get("angles", ()))
        for call in callable_on(subject, vector)
        for name, got in _leaves(_answer(subject, call, arrays), call["returns"])
    ]


def compared(
    function: str, name: str, got: NDArray[Any], expected: NDArray[Any], tolerance: float, on_circle: bool = False
) -> Comparison:
    """The largest difference, and where it is."""
    difference = angle_difference(got, expected) if on_circle else np.asarray(got) - expected
    size = np.atleast_1d(np.abs(difference))
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(np.isnan(size), np.inf, size)), size.shape))
    where = worst if np.ndim(difference) else ()
    return Comparison(
        function, name, float(size[worst]), float(tolerance), where, np.asarray(got)[where], np.asarray(expected)[where]
    )


def _answer(subject: Subject, call: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    def argument(entry: Any) -> Any:
        if isinstance(entry, list):
            return tuple(argument(part) for part in entry)
        return arrays[entry] if isinstance(entry, str) else entry

    return getattr(subject, call["function"])(*(argument(entry) for entry in call["arguments"]))


def _leaves(got: Any, names: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if names is None:
        return
    if isinstance(names, str):
        yield names, got
    elif isinstance(names, dict):
        for key, name in names.items():
            yield from _leaves(got[key], name)
    else:
        for part, name in zip(got, names, strict=True):
            yield from _leaves(part, name)
