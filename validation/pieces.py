"""The pieces of a vector: functions that belong to no target, such as an exact value, part of a map, or an estimator's formula.

The ``.json`` of a vector may have ``pieces``, a list of::

    {"piece": "exact.u1.plaquette", "formula": "<cos theta_P>", "arguments": ["beta", "shape"], "returns": "plaquette",
     "rows": true, "relative": 4.5e-16, "tolerance": 0.0}

``formula`` says what the function is, for whoever writes it in another language; ``piece`` is its name in this package, for
replaying. ``arguments`` and ``returns`` are as in `refimpl.validation.replay`: names of arrays, numbers, lists for tuples,
``{"value": ...}`` and ``{"arrays": "params/"}``, a mapping. Where ``rows`` is true the function is called once per row of all named
arrays, with plain numbers, or tuples of them. An entry may differ by ``tolerance + relative |expected|``; names in ``angles`` are
compared on the circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import VectorError
from .measure import angle_difference
from .replay import Comparison, beginning
from .vector_files import Vector

Arrays = Mapping[str, NDArray[Any]]
Piece = dict[str, Any]
Functions = Callable[[str], Callable[..., Any] | None]


def piece(
    name: str,
    formula: str,
    arguments: list[Any],
    returns: Any,
    *,
    rows: bool = False,
    relative: float = 0.0,
    tolerance: float = 0.0,
    angles: tuple[str, ...] = (),
) -> Piece:
    """One entry of ``pieces``."""
    entry = {"piece": name, "formula": formula, "arguments": arguments, "returns": returns, "rows": rows}
    return {**entry, "relative": relative, "tolerance": tolerance, **({"angles": list(angles)} if angles else {})}


def pieces_of(vector: Vector) -> list[Piece]:
    """Those of a vector, each of a form that can be answered; raises `VectorError`."""
    entries = vector.about.get("pieces", [])
    if not isinstance(entries, list):
        raise VectorError(f"pieces: got {_shown(entries)}, expected a list")
    there = {"x", *vector.expected}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("piece"), str):
            raise VectorError(f"pieces: got {_shown(entry)}, expected an object with the name of a piece")
        for key, kind in (("arguments", list), ("rows", bool), ("angles", list)):
            if not isinstance(entry.get(key, kind()), kind):
                raise VectorError(f"pieces: {key}: got {_shown(entry[key])}, expected a {kind.__name__}")
        for key in ("relative", "tolerance"):
            bound = entry.get(key, 0.0)
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < 1e300:
                raise VectorError(f"pieces: {key}: got {_shown(bound)}, expected a finite number >= 0")
        used = [*_names(entry.get("arguments", [])), *_names(entry.get("returns"))]
        if unknown := sorted(set(used) - there):
            raise VectorError(f"pieces: got {_shown(unknown)}, expected names of arrays")
    return entries


def answered(vector: Vector, functions: Functions) -> list[Comparison]:
    """Every array of every piece for which ``functions(name)`` is a function, against what is expected."""
    arrays = {"x": vector.x, **vector.expected}
    return [
        comparison
        for entry in pieces_of(vector)
        if (function := functions(entry["piece"])) is not None
        for comparison in _compared(entry, function, arrays)
    ]


def _compared(entry: Piece, function: Callable[..., Any], arrays: Arrays) -> Iterator[Comparison]:
    if entry.get("rows"):
        columns = [arrays[name].tolist() if isinstance(name, str) else None for name in entry["arguments"]]
        n = max(len(column) for column in columns if column is not None)
        calls = [
            [
                _plain(column[k]) if column is not None else value
                for column, value in zip(columns, entry["arguments"], strict=True)
            ]
            for k in range(n)
        ]
        leaves = [list(_leaves(function(*arguments), entry["returns"])) for arguments in calls]
        answers = [(parts[0][0], np.array([value for _, value in parts])) for parts in zip(*leaves, strict=True)]
    else:
        arguments = [_argument(argument, arrays) for argument in entry["arguments"]]
        answers = [(name, np.asarray(value)) for name, value in _leaves(function(*arguments), entry["returns"])]
    for name, got in answers:
        yield _comparison(entry, name, got, arrays[name])


def _comparison(entry: Piece, name: str, got: NDArray[Any], expected: NDArray[Any]) -> Comparison:
    """At the entry that is farthest off in units of what it may be; equal infinities agree."""
    if got.shape != expected.shape:
        raise ValueError(f"{entry['piece']}: got {name} of shape {got.shape}, expected {expected.shape}")
    if expected.dtype == bool:
        got, expected = got.astype(int), expected.astype(int)
    with np.errstate(invalid="ignore"):
        size = np.abs(angle_difference(got, expected) if name in entry.get("angles", ()) else got - expected)
    size = np.atleast_1d(np.where(got == expected, 0.0, size))
    finite = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    allowed = np.atleast_1d(entry.get("tolerance", 0.0) + entry.get("relative", 0.0) * finite)
    ratio = np.where(size > 0, size / np.maximum(allowed, 1e-300), 0.0)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(np.isnan(size), np.inf, ratio)), size.shape))
    where = worst if got.ndim else ()
    return Comparison(
        entry["piece"], name, float(size[worst]), float(allowed[worst]), where, got[where], expected[where]
    )


def _argument(entry: Any, arrays: Arrays) -> Any:
    if isinstance(entry, list):
        return tuple(_argument(part, arrays) for part in entry)
    if isinstance(entry, dict):
        return entry["value"] if "value" in entry else beginning(arrays, entry["arrays"])
    return arrays[entry] if isinstance(entry, str) else entry


def _plain(value: Any) -> Any:
    return tuple(_plain(part) for part in value) if isinstance(value, list) else value


def _leaves(got: Any, names: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(names, str):
        yield names, got
    elif isinstance(names, dict):
        for key, name in names.items():
            yield from _leaves(got[key], name)
    elif names is not None:
        for part, name in zip(got, names, strict=True):
            yield from _leaves(part, name)


def _names(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        if set(entry) in ({"value"}, {"arrays"}):
            return
        for part in entry.values():
            yield from _names(part)
    elif isinstance(entry, list):
        for part in entry:
            yield from _names(part)


def _shown(value: Any) -> str:
    return ascii(value)[:80]
