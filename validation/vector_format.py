"""What stands in the ``.json`` of a vector, checked on reading: types, names, finite numbers.

==============  ==========================================================================================================
key             meaning
==============  ==========================================================================================================
``id``          ``suite/name``, for good
``theory``      as in `refimpl.validation.contract`, or ``"any"``
``parameters``  what the target is made with, such as ``{"beta": 2.0, "shape": [4, 4], "step_size": 0.1, "n_steps": 3}``
``declares``    optional: what a target must declare, with this value, for the calls to be of its algorithm, such as
                ``{"integrator": "leapfrog"}``: a target without that attribute is not asked
``shape``       of the lattice, or of one field
``flags``       some of `FLAGS`
``comment``     what is special about the field
``expected``    ``valid``: the answers are right. ``invalid``: the input has none, and is to be refused: an error, or NaN, no
                finite number. ``acceptable``: the answers are right, but refusing the input is, too
``derivation``  how the answers were found; ``conventions`` what the arrays are
``tolerance``   ``{"absolute": 1e-13, "reason": "..."}``, of arrays without one in ``calls``; in the first suites a sentence
``calls``       what to call with which arrays, and what is to come out, see `refimpl.validation.replay`
``provenance``  the command, module and seed that made it, and the versions of Python and NumPy
``arrays``      of every array its dtype, shape and the sha256 of its data: C order, little endian, behind the header
==============  ==========================================================================================================
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import VectorError

FLAGS: Mapping[str, str] = {
    "BASIC": "an ordinary field: begin here",
    "EDGE_CASE": "the smallest lattices, a single site, no fluctuation, what an implementation may not have thought of",
    "CONVENTION": "tells one convention from another: axes, signs, factors, normalisation",
    "BRANCH_CUT": "angles at +-pi, where wrapping and the charge jump",
    "SECTOR": "fields of topological charge other than 0",
    "ILL_CONDITIONED": "digits are lost by subtraction or inversion: a test of how, not only of what",
    "KNOWN_BUG": "an input on which a published implementation, named in the comment, is wrong",
}
EXPECTED = ("valid", "invalid", "acceptable")
LARGEST_TEXT = 4 << 20  # bytes of a .json file
DEEPEST = 40  # lists and objects inside one another
_KEYS = {"id": str, "theory": str, "comment": str, "derivation": str, "expected": str, "flags": list, "shape": list}


def description(
    name: str,
    theory: str,
    shape: tuple[int, ...],
    flags: list[str],
    comment: str,
    *,
    parameters: Mapping[str, Any],
    calls: list[dict[str, Any]],
    derivation: str,
    tolerance: float,
    reason: str,
    conventions: str,
    module: str,
    seed: int,
    expected: str = "valid",
    declares: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ``about`` of a new vector, ``name = suite/name``; `write_vector` adds the checksums of its arrays."""
    return {
        "format": 2,
        "id": name,
        "theory": theory,
        "parameters": dict(parameters),
        **({"declares": dict(declares)} if declares else {}),
        "shape": list(shape),
        "flags": flags,
        "comment": comment,
        "expected": expected,
        "derivation": derivation,
        "tolerance": {"absolute": tolerance, "reason": reason},
        "conventions": conventions,
        "calls": calls,
        "provenance": {
            "command": "refimpl vectors write",
            "module": module,
            "seed": seed,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def call(function: str, arguments: list[Any], returns: Any, tolerance: float, **more: Any) -> dict[str, Any]:
    """One entry of ``calls``; ``more`` is ``angles=["x_forward"]`` or ``up_to_constant=True``."""
    return {"function": function, "arguments": arguments, "returns": returns, "tolerance": tolerance, **more}


def json_object(name: str, content: bytes) -> dict[str, Any]:
    """The object in the bytes of a ``.json`` file: no NaN, no infinity, no name twice; raises `VectorError`."""
    if len(content) > LARGEST_TEXT:
        raise VectorError(f"{name}: got {len(content)} bytes, expected at most {LARGEST_TEXT}")
    try:
        text = content.decode()
        value = json.loads(
            text, parse_constant=_refused, parse_float=_finite, parse_int=_integer, object_pairs_hook=_once
        )
        _check_depth(value, DEEPEST)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could not be printed
    except (ValueError, RecursionError, OverflowError) as error:
        told = str(error).encode("ascii", "replace").decode()[:120]
        raise VectorError(f"{name}: got {type(error).__name__} ({told}), expected a JSON object in UTF-8") from error
    if not isinstance(value, dict):
        raise VectorError(f"{name}: got {_shown(value)}, expected a JSON object")
    return value


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is beyond float64")
    return value


def _integer(text: str) -> int:
    if abs(value := int(text)) >= 1 << 128:
        raise ValueError(f"{text[:40]} is beyond 128 bits")
    return value


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"nested deeper than {DEEPEST}")
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _check_depth(part, left - 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(out := dict(pairs)) < len(pairs):
        raise ValueError("a name twice in one object")
    return out


def check_description(name: str, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse what a reader of vectors would stumble over later; raises `VectorError`."""
    for key, kind in _KEYS.items():
        if not isinstance(about.get(key), kind):
            raise VectorError(f"{name}: {key}: got {_shown(about.get(key))}, expected a {_KINDS[kind]}")
    if not all(type(extent) is int and 0 < extent < 1 << 31 for extent in about["shape"]) or len(about["shape"]) > 32:
        raise VectorError(f"{name}: shape: got {_shown(about['shape'])}, expected a few integers >= 1")
    if not all(isinstance(flag, str) for flag in about["flags"]):
        raise VectorError(f"{name}: flags: got {_shown(about['flags'])}, expected names such as {', '.join(FLAGS)}")
    if about["expected"] not in EXPECTED:
        raise VectorError(f"{name}: expected: got {_shown(about['expected'])}, expected one of {', '.join(EXPECTED)}")
    for key in ("parameters", "declares", "arrays", "provenance"):
        if not isinstance(about.get(key, {}), dict):
            raise VectorError(f"{name}: {key}: got {_shown(about[key])}, expected an object")
    if "x" not in arrays:
        raise VectorError(f"{name}: got no array x, expected the field x among the arrays")
    check_calls(name, about.get("calls", []), set(arrays))


def check_calls(name: str, calls: Any, arrays: set[str]) -> None:
    """Refuse calls that `refimpl.validation.replay` could not make; raises `VectorError`."""
    if not isinstance(calls, list):
        raise VectorError(f"{name}: calls: got {_shown(calls)}, expected a list")
    there = set(arrays)
    for entry in calls:
        if not isinstance(entry, dict) or len({"function", "operation"} & set(entry)) != 1:
            raise VectorError(f"{name}: calls: got {_shown(entry)}, expected an object with a function or an operation")
        function = entry.get("function", entry.get("operation"))
        if not isinstance(function, str) or not function.isidentifier():
            raise VectorError(f"{name}: calls: got {_shown(function)}, expected the name of a function")
        for key, kind in _OF_CALLS.items():
            if not isinstance(entry.get(key, kind()), kind):
                raise VectorError(f"{name}: calls: {key}: got {_shown(entry[key])}, expected a {_KINDS[kind]}")
        if entry.get("returns") is not None:
            tolerance = entry.get("tolerance")
            if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1e300:
                raise VectorError(f"{name}: calls: tolerance: got {_shown(tolerance)}, expected a finite number >= 0")
        used = [*_arguments(name, entry.get("arguments", [None])), *_leaves(name, entry.get("returns"))]
        if unknown := sorted({each for each in used if each.partition(":")[0] not in there}):
            raise VectorError(f"{name}: calls: got {_shown(unknown)}, expected names of arrays")
        keeps = set(_leaves(name, entry.get("keeps")))
        if taken := sorted(keeps & ({*arrays, "x"} | set(_leaves(name, entry.get("returns"))))):
            raise VectorError(
                f"{name}: calls: keeps: got {_shown(taken)}, expected names of no array of the file or of returns"
            )
        there |= keeps


def array_named(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """The array ``NAME``, or the column ``k`` of the array ``NAME`` where that is called ``NAME:k``; raises `VectorError`."""
    base, colon, column = name.partition(":")
    if not colon:
        return arrays[base]
    if not column.isdecimal() or arrays[base].ndim < 2 or int(column) >= arrays[base].shape[1]:
        raise VectorError(f"calls: got {_shown(name)}, expected a column of an array of shape {arrays[base].shape}")
    return np.asarray(arrays[base][:, int(column)])


def _arguments(name: str, entries: Any) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, list):
            yield from _arguments(name, entry)
        elif isinstance(entry, dict):
            prefix = entry.get("arrays")
            if set(entry) != {"value"} and not (set(entry) == {"arrays"} and isinstance(prefix, str)):
                raise VectorError(
                    f'{name}: calls: got {_shown(entry)}, expected {{"value": ...}} or {{"arrays": "PREFIX"}}'
                )
        elif isinstance(entry, bool) or not isinstance(entry, int | float):
            raise VectorError(f"{name}: calls: got an argument {_shown(entry)}, expected a name, a number or a list")


def _leaves(name: str, returns: Any) -> Iterator[str]:
    if isinstance(returns, str):
        yield returns
    elif isinstance(returns, list | dict):
        for part in returns.values() if isinstance(returns, dict) else returns:
            yield from _leaves(name, part)
    elif returns is not None:
        raise VectorError(f"{name}: calls: returns: got {_shown(returns)}, expected names, lists, objects or null")


_KINDS = {str: "string", list: "list", dict: "object", bool: "true or false"}
_OF_CALLS: dict[str, type] = {"arguments": list, "angles": list, "parameters": dict, "up_to_constant": bool}


def _shown(value: Any) -> str:
    return ascii(value)[:80]
