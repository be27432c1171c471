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

A call may hand its answer on: ``keeps`` has the structure of ``returns``, with names that are new (no array of the file, nothing
that the call itself expects), which later calls take as arguments or expect. Between calls of the target there may be arithmetic,
``operation`` (one of `refimpl.validation.arithmetic`) in place of ``function``. That the map is undone by its
inverse, and that the logdets of both add to nothing::

    {"function": "forward", "arguments": [["x", "v"]], "keeps": [["x_end", "v_end"], "logdet"]}
    {"function": "inverse", "arguments": [["x_end", "v_end"]], "returns": [["x", "v"], "minus_logdet"], "tolerance": 1e-12, ...}

with ``{"operation": "negative", "arguments": ["logdet"], "keeps": "minus_logdet"}`` between them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import OPERATIONS
from .contract import CAPABILITIES, Subject, TargetFault
from .conversion import Lost, kind_of
from .measure import angle_difference
from .theories import Matrices
from .vector_files import Vector
from .vector_format import array_named

Arrays = dict[str, NDArray[Any]]
Call = dict[str, Any]


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
    on_circle: bool = False  # the error is one modulo 2 pi

    @property
    def good(self) -> bool:
        """Whether it is within the tolerance; a NaN never is."""
        return self.error <= self.tolerance


def callable_on(subject: Subject, vector: Vector) -> list[Call]:
    """Those calls of the vector for which the target has the function, and whose arguments are there; raises `ValueError`."""
    there, out = {"x", *vector.expected}, []
    for call in checked_calls(vector.about.get("calls", ())):
        if ("operation" in call or subject.has(call["function"])) and _needed(call) <= there:
            there |= set(_names(call.get("keeps")))
            out.append(call)
    return out


def left_out(subject: Subject, vector: Vector) -> list[tuple[str, str]]:
    """The calls of the vector that are not repeated on this target, in words, each with the reason."""
    there, out = {"x", *vector.expected}, []
    for call in checked_calls(vector.about.get("calls", ())):
        if "function" in call and not subject.has(call["function"]):
            out.append((_label(call), "the target has no such function"))
        elif _at(subject, call) is None:
            told = ", ".join(f"{name} = {value}" for name, value in call["parameters"].items())
            out.append((_label(call), f"the target cannot be made at {told}"))
        elif missing := sorted(_needed(call) - there):
            out.append((_label(call), f"without {', '.join(missing)}, of a call that is left out"))
        else:
            there |= set(_names(call.get("keeps")))
    return out


def _needed(call: Call) -> set[str]:
    """Names of arrays that there have to be."""
    names = (*_names(call["arguments"]), *_names(call.get("returns")))
    return {name.partition(":")[0] for name in names}


def _at(subject: Subject, call: Call) -> Subject | None:
    """The target at the parameters of the call, or None where it cannot be made there."""
    return subject.replace(**call["parameters"]) if call.get("parameters") else subject


def repeated(subject: Subject, vector: Vector) -> list[Comparison]:
    """Every array of every call that the target can answer; raises `TargetFault` where it fails to."""
    if vector.about.get("expected") == "invalid":
        return [_refusal(subject, call, vector) for call in callable_on(subject, vector)]
    return list(comparisons(subject, callable_on(subject, vector), {"x": vector.x, **vector.expected}))


def answers(subject: Subject, vector: Vector) -> tuple[Arrays, list[Comparison]]:
    """As `repeated`, with everything that the target answered, by name."""
    kept: Arrays = {}
    if vector.about.get("expected") == "invalid":
        return kept, repeated(subject, vector)
    arrays = {"x": vector.x, **vector.expected}
    return kept, list(comparisons(subject, callable_on(subject, vector), arrays, kept))


def parameters_of(subject: Subject, vector: Vector) -> dict[str, Any]:
    """Those that the vector is for: links as matrices are without fermions where it has no kappa."""
    without = {"kappa": 0.0} if isinstance(subject.theory, Matrices) and subject.theory.kappa else {}
    return {**without, **vector.about.get("parameters", {})}


def made_for(subject: Subject, vector: Vector) -> tuple[Subject, str]:
    """The target at the parameters of the vector; itself where it cannot be made there, and which ones it then has not.

    Raises `ValueError` where the vector is of another theory.
    """
    if vector.about.get("theory", "any") not in ("any", subject.theory.name):
        raise ValueError(
            f"theory: got a target of {subject.theory.name}, expected {vector.about['theory']}, that of the file"
        )
    wanted = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters_of(subject, vector).items()}
    own: dict[str, Any] = {name: getattr(subject.target, name, None) for name in wanted} | subject.theory.declared()
    changes = {name: value for name, value in wanted.items() if not np.array_equal(own[name], value)}
    if not changes:
        return subject, ""
    at = subject.replace(**changes)
    if at is None:  # one that has no steps, say, at those of the theory
        changes = {name: value for name, value in changes.items() if name in subject.theory.parameters}
        at = subject.replace(**changes) or subject
    there: dict[str, Any] = {name: getattr(at.target, name, None) for name in wanted} | at.theory.declared()
    other = [f"{k} = {v}" for k, v in wanted.items() if k in there and not np.array_equal(there[k], v)]
    return at, f"; the vector is for {', '.join(other)}" if other else ""


def misfit(subject: Subject, vector: Vector) -> str:
    """Why the answers of a target say nothing of the vector: couplings of its own, or a field that is not of its lattice."""
    declared = subject.theory.declared()
    wanted = {k: v for k, v in parameters_of(subject, vector).items() if k in declared}
    other = [f"{k} = {v}" for k, v in wanted.items() if not np.array_equal(declared[k], v)]
    if other:
        return f"the target cannot be made at {', '.join(other)} of the file"
    shape = tuple(subject.theory.field_shape)
    if vector.about.get("theory", "any") == "any" or vector.about.get("expected") == "invalid":
        return ""
    return "" if vector.x.shape[1:] == shape else f"x: got shape {vector.x.shape}, expected (chains, {str(shape)[1:]}"


def comparisons(
    subject: Subject, calls: list[Call], arrays: Mapping[str, NDArray[Any]], kept: Arrays | None = None
) -> Iterator[Comparison]:
    """What is to be compared, call by call; ``kept`` takes the answers, by the names of ``keeps`` or ``returns``."""
    there, kept = dict(arrays), {} if kept is None else kept
    for call in calls:
        at = _at(subject, call)
        if at is None or not _needed(call) <= there.keys():
            continue
        got, before = _answer(at, call, there), dict(there)  # nothing is compared with itself
        for name, value in _leaves(got, call.get("keeps")):
            there[name] = kept[name] = np.asarray(value)
        for name, value in _leaves(got, call.get("returns")):
            label, on_circle = _label(call), name in call.get("angles", ())
            expected = array_named(before, name)
            if name not in kept and "function" in call:
                kept[name] = np.asarray(value)
            if call.get("up_to_constant"):
                value, expected = value - value[:1], expected - expected[:1]
            yield compared(label, name, value, expected, call["tolerance"], on_circle)


def _label(call: Call) -> str:
    """What an answer is the answer of: a function, or what was done with earlier answers."""
    if "function" in call:
        return str(call["function"])
    told = ", ".join(str(entry) for entry in call["arguments"])
    return told if call["operation"] == "unchanged" else f"{call['operation']}({told})"


def _refusal(subject: Subject, call: Call, vector: Vector) -> Comparison:
    """Of a call whose arguments have no answer: an error and NaN are right, a crash and a hang are not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it computes with NaN on its way to one
            got = _answer(subject, call, {"x": vector.x, **vector.expected})
    except Lost:
        raise
    except TargetFault:
        return Comparison(call["function"], "refusal", 0.0, 0.0, (), "a refusal", "a refusal")
    return Comparison(call["function"], "refusal", np.inf, 0.0, (), _short(got), "a refusal")


def compared(
    function: str, name: str, got: NDArray[Any], expected: NDArray[Any], tolerance: float, on_circle: bool = False
) -> Comparison:
    """The largest difference, and where it is; raises `ValueError` where the shapes do not match."""
    if np.shape(got) != np.shape(expected):
        raise ValueError(f"{function}: got {name} of shape {np.shape(got)}, expected {np.shape(expected)}")
    difference = angle_difference(got, expected) if on_circle else np.asarray(got) - expected
    size = np.atleast_1d(np.abs(difference))
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(np.isnan(size), np.inf, size)), size.shape))
    where = worst if np.ndim(difference) else ()
    return Comparison(
        function,
        name,
        float(size[worst]),
        float(tolerance),
        where,
        np.asarray(got)[where],
        np.asarray(expected)[where],
        on_circle,
    )


def checked_calls(calls: Any) -> list[Call]:
    """The calls of a file, each of a form that can be repeated; raises `ValueError`."""
    if not isinstance(calls, list | tuple):
        raise ValueError(f"calls: got {_short(calls)}, expected a list")
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("arguments"), list):
            raise ValueError(f"calls: got {_short(call)}, expected objects with a list of arguments")
        kinds = [(kind, call[kind]) for kind in ("function", "operation") if kind in call]
        known: dict[str, Any] = {"function": CAPABILITIES, "operation": OPERATIONS}
        if len(kinds) != 1 or not isinstance(kinds[0][1], str) or kinds[0][1] not in known[kinds[0][0]]:
            raise ValueError(f"calls: got {_short(call)}, expected a function of the contract, or an operation")
        if "returns" in call and call["returns"] is not None:
            tolerance = call.get("tolerance")
            if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance >= 0:
                raise ValueError(
                    f"tolerance: got {_short(tolerance)} in a call of {kinds[0][1]}, expected a number >= 0"
                )
        if not isinstance(call.get("angles", []), list):
            raise ValueError(f"angles: got {_short(call['angles'])}, expected a list of names")
    return list(calls)


def _answer(subject: Subject, call: Call, arrays: Mapping[str, NDArray[Any]]) -> Any:
    def argument(entry: Any) -> Any:
        if isinstance(entry, list):
            return tuple(argument(part) for part in entry)
        if isinstance(entry, dict):
            return entry["value"] if "value" in entry else beginning(arrays, entry["arrays"])
        return array_named(arrays, entry) if isinstance(entry, str) else entry

    arguments = [argument(entry) for entry in call["arguments"]]
    if "function" in call:
        return _called(subject, call["function"], arguments)
    try:
        return OPERATIONS[call["operation"]](subject, *arguments)
    except (TypeError, IndexError, AttributeError, np.linalg.LinAlgError) as error:
        raise ValueError(f"{call['operation']}: cannot take {_short(call['arguments'])}: {error}") from error


def _called(subject: Subject, name: str, arguments: list[Any]) -> Any:
    """What the target answers; raises `ValueError` for arguments that the function does not have, or that are of another kind."""
    function = getattr(subject, name)
    signature = inspect.signature(function)
    expected = ", ".join(signature.parameters)
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ValueError(f"calls: {name}: got {len(arguments)} arguments, expected ({expected})") from None
    try:
        return function(*arguments)
    except (TypeError, IndexError, AttributeError) as error:  # what the target itself raises is a `TargetFault`
        kinds = ", ".join(kind_of(argument) for argument in arguments)
        raise ValueError(f"calls: {name}: got {kinds}, expected ({expected}) as the contract has them") from error


def beginning(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _leaves(got: Any, names: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if names is None:
        return
    if isinstance(names, str):
        yield names, got
    elif isinstance(names, dict):
        for key, name in names.items():
            if name is not None:
                if not isinstance(got, Mapping) or key not in got:
                    raise ValueError(f"calls: got an answer without {key!r}, expected {', '.join(names)}")
                yield from _leaves(got[key], name)
    else:
        if not isinstance(got, tuple) or len(got) != len(names):
            raise ValueError(f"calls: got an answer of another structure than {_short(names)}")
        for part, name in zip(got, names, strict=True):
            yield from _leaves(part, name)


def _names(entry: Any) -> Iterator[str]:
    """All names in a structure."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict) and set(entry) in ({"value"}, {"arrays"}):
        return
    elif isinstance(entry, dict | list):
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from _names(part)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
