"""A report as JSON, complete, and read again; ``report.schema.json`` in `refimpl.validation` describes it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..report import SCHEMA, Report, plain
from ..verdict import FAIL, PASS, SKIP, Exhibit, Verdict

DEPTH = 4  # down to which every entry has a line of its own
LARGEST = 2**26  # bytes of a file that is read


def as_json(report: Report) -> str:
    """The whole report; infinities and NaN are strings, as JSON has none."""
    own = {entry.name: getattr(report, entry.name) for entry in fields(report)}
    own["verdicts"] = [_written(v) for v in report.verdicts]
    told = {"ledger": report.ledger, "summary": report.summary(), "exit_code": report.exit_code}
    for name in ("alpha", "applicable", "total"):  # they are in the ledger and the summary
        del own[name]
    verdicts = own.pop("verdicts")
    return _laid_out(plain({"schema": SCHEMA, **own, **told, "verdicts": verdicts}))


def _written(v: Verdict) -> dict[str, Any]:
    own = {entry.name: getattr(v, entry.name) for entry in fields(v)}
    exhibits = [{entry.name: getattr(e, entry.name) for entry in fields(e)} | {"arrays": _short(e)} for e in v.exhibits]
    return {"check": own.pop("check"), **own, "good": v.good, "exhibits": exhibits}


def _short(exhibit: Exhibit) -> dict[str, Any]:
    """Nested lists of six digits: they are drawn, not computed with."""

    def cut(value: Any) -> Any:
        return [cut(part) for part in value] if isinstance(value, list) else float(f"{value:.6g}")

    return {name: cut(np.asarray(array, dtype=np.float64).tolist()) for name, array in exhibit.arrays.items()}


def _laid_out(value: Any, depth: int = 0) -> str:
    """JSON with a line for every entry that is not deep inside."""
    before, after = "\n" + " " * (depth + 1), "\n" + " " * depth
    if depth < DEPTH and isinstance(value, dict) and value:
        lines = (f"{json.dumps(k)}: {_laid_out(v, depth + 1)}" for k, v in value.items())
        return f"{{{before}{f',{before}'.join(lines)}{after}}}"
    if depth < DEPTH and isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return f"[{before}{f',{before}'.join(_laid_out(v, depth + 1) for v in value)}{after}]"
    return json.dumps(value, allow_nan=False)


def read_report(path: str | os.PathLike[str]) -> Report:
    """The report of a JSON file that `as_json` wrote; raises `ValueError` for any other."""
    file = Path(path)
    if (size := file.stat().st_size) > LARGEST:
        raise ValueError(f"{file}: got {size} bytes, expected a report of at most {LARGEST}")
    try:
        content = json.loads(file.read_bytes(), parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: got what is no JSON ({error}), expected a report") from None
    try:
        return _report(content)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{file}: is no report: {error}") from None


def _not_json(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _report(content: Any) -> Report:
    entry = _object(content, "the file")
    if entry.get("schema") != SCHEMA:
        raise ValueError(f"schema: got {_kind(entry.get('schema'))}, expected {SCHEMA}")
    ledger, summary = _object(entry.get("ledger"), "ledger"), _object(entry.get("summary"), "summary")
    own: dict[str, Any] = {name: _text(entry, name) for name in ("target", "level", "date", "convention")}
    entry = {"spec": "", "options": [], "option": "", **entry}  # older files have none
    own |= {name: _text(entry, name) for name in ("spec", "option")}
    own |= {name: _tuple(entry, name) for name in ("offered", "lacking", "belonging", "elsewhere", "options")}
    own |= {name: _object(entry.get(name), name) for name in ("parameters", "versions", "implementation")}
    own |= {name: _count(summary, name) for name in ("applicable", "total")}
    if "thrift" in entry:
        own["thrift"] = _count(entry, "thrift")
    for name in ("versions", "implementation"):
        own[name] = {key: _text(own[name], key) for key in own[name]}
    verdicts = tuple(_verdict(part) for part in _list(entry, "verdicts"))
    seed, alpha, seconds = _count(entry, "seed"), _number(ledger, "alpha"), _number(entry, "seconds")
    report = Report(**own, seed=seed, alpha=alpha, seconds=seconds, verdicts=verdicts)
    for name, told, found in (
        ("summary", {"declined": 0, **summary}, report.summary()),  # older files have no such count
        ("exit_code", entry.get("exit_code"), report.exit_code),
    ):
        if told != found:
            raise ValueError(f"{name}: got another than that of its verdicts, {found}")
    return report


def _verdict(content: Any) -> Verdict:
    entry = _object(content, "verdict")
    if entry.get("status") not in (PASS, FAIL, SKIP):
        raise ValueError(f"status: got {_kind(entry.get('status'))}, expected {PASS}, {FAIL} or {SKIP}")
    texts = ("status", "quantity", "sensitivity", "detail", "check", "smallest", "reproduced_by", "convention")
    own: dict[str, Any] = {name: _text(entry, name) for name in texts}
    own |= {name: _number(entry, name) for name in ("alpha", "seconds")}
    own |= {name: _number(entry, name) for name in ("value", "bound") if entry.get(name) is not None}
    if entry.get("expected_failure") is not None:
        own["expected_failure"] = _text(entry, "expected_failure")
    if "declined" in entry:  # older files have none
        own["declined"] = _flag(entry, "declined")
    exhibits = tuple(_exhibit(part) for part in _list(entry, "exhibits"))
    return Verdict(**own, samples=_count(entry, "samples"), exhibits=exhibits, causes=_tuple(entry, "causes"))


def _exhibit(content: Any) -> Exhibit:
    entry = _object(content, "exhibit")
    arrays = {
        name: np.asarray(value, dtype=np.float64) for name, value in _object(entry.get("arrays"), "arrays").items()
    }
    kind = _text(entry, "kind")
    if kind not in DRAWABLE or not DRAWABLE[kind](arrays):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"exhibit: got kind {kind[:40]!r} with arrays of shape {shapes[:200]}")
    return Exhibit(kind, _text(entry, "title"), arrays, _text(entry, "caption"), _tuple(entry, "labels"))


Arrays = Mapping[str, NDArray[Any]]


def _rows(*names: str, also: tuple[str, ...] = ()) -> Callable[[Arrays], bool]:
    """Whether there are one-dimensional arrays of these names, as long as one another; numbers too under the others."""

    def fit(arrays: Arrays) -> bool:
        if not set(names) <= set(arrays) <= {*names, *also}:
            return False
        shape = arrays[names[0]].shape
        return (
            len(shape) == 1
            and shape[0] > 0
            and all(array.shape == shape or (name in also and array.ndim == 0) for name, array in arrays.items())
        )

    return fit


DRAWABLE: dict[str, Callable[[Arrays], bool]] = {
    "map": lambda arrays: set(arrays) == {"error"} and arrays["error"].ndim == 3 and arrays["error"].size > 0,
    "errors": _rows("value", also=("bound",)),
    "trace": _rows("samples", "value", also=("bound", "exact", "low", "high")),
    "histogram": _rows("value", "observed", "expected"),
}


def _kind(value: Any) -> str:
    return f"{str(value)[:40]!r}" if isinstance(value, str | int | float) else type(value).__name__


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: got {_kind(value)}, expected an object")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: got {_kind(value)}, expected a string")
    return value


def _flag(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: got {_kind(value)}, expected true or false")
    return value


def _list(entry: Mapping[str, Any], name: str) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name}: got {_kind(value)}, expected an array")
    return value


def _tuple(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(_text({name: part}, name) for part in _list(entry, name))


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: got {_kind(value)}, expected a number")
    return float(value)


def _count(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}: got {_kind(value)}, expected an integer of at least 0")
    return value
