"""The messages of `validation/PROTOCOL.md`, made and taken apart: one JSON object a line, of which nothing is believed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from .operations import OPERATIONS
from .theories import THEORIES

VERSION = 1
# Bytes of a line, with its newline.
LONGEST_LINE = 1 << 20
_TEXT = 300  # characters shown of what a stranger wrote


class ProtocolError(ValueError):
    """The other side wrote something that the protocol does not have: what was got, and what is expected."""


@dataclass(frozen=True)
class Declaration:
    """What a process says of itself: the answer to ``start``."""

    name: str
    language: str
    version: str
    theory: str
    parameters: Mapping[str, Any]
    ops: tuple[str, ...]
    varies: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Name, version and language as a report shows them."""
        language = f" ({self.language})" if self.language else ""
        return " ".join(filter(None, (self.name, self.version))) + language


@dataclass(frozen=True)
class Answer:
    """What a process says of a request: its status is "ok", "skipped" with the reason, or "errored" with the message."""

    status: str
    text: str = ""


@dataclass(frozen=True)
class Request:
    """One request as a process sees it; fields that its type does not have are empty."""

    type: str
    id: int = 0
    op: str = ""
    folder: str = ""
    params: Mapping[str, Any] | None = None
    files_in: Mapping[str, str] | None = None
    files_out: Mapping[str, str] | None = None


# --- kinds of JSON values ---------------------------------------------------------------------------------------------------
def _is_number(value: Any) -> bool:
    """A finite number that float64 holds; huge integers are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list_of(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(good, value))


def _is_nested(value: Any) -> bool:
    """Numbers in lists, at most three deep."""
    return _is_list_of(lambda a: _is_number(a) or _is_list_of(lambda b: _is_number(b) or _NUMBERS(b))(a))(value)


_NUMBERS, _TEXTS = _is_list_of(_is_number), _is_list_of(_is_text)
_Kind = tuple[Callable[[Any], bool], str]
_NUMBER: _Kind = (_is_number, "a finite number")
_INTEGER: _Kind = (_is_integer, "an integer")
_FLAG: _Kind = (_is_flag, "true or false")
_TEXT_KIND: _Kind = (_is_text, "a text")
_NAMES: _Kind = (_TEXTS, "a list of texts")
_POSITIVE: _Kind = (lambda v: _is_number(v) and v > 0, "a finite number > 0")
_COUNT: _Kind = (lambda v: _is_integer(v) and v >= 1, "an integer >= 1")
_list_of_counts = _is_list_of(_COUNT[0])
_EXTENTS: _Kind = (lambda v: _list_of_counts(v) and len(v) == 2, "a list [T, X] of two integers >= 1")
_ARRAY: _Kind = (_is_nested, "a list of finite numbers, or of such lists")
_PERIOD: _Kind = (lambda v: _COUNT[0](v) or (_list_of_counts(v) and len(v) == 2), "an integer >= 1 or a list of two")
_MOST_MASSES, _HIGHEST_ORDER = 64, 64
_REASONS: _Kind = (lambda v: isinstance(v, dict) and all(map(_is_text, v.values())), "an object of texts")

PARAMETERS: Mapping[str, _Kind] = {
    **dict.fromkeys(("beta", "kappa", "m2", "lam"), _NUMBER),
    "step_size": _POSITIVE,
    "mu_reg": _NUMBER,
    **dict.fromkeys(("length", "n_steps"), _COUNT),
    **dict.fromkeys(("antiperiodic", "even_odd"), _FLAG),
    **dict.fromkeys(("covariance", "mean", "weights", "means", "covariances"), _ARRAY),
    "shape": _EXTENTS,
    "mus": (
        lambda v: _NUMBERS(v) and len(v) <= _MOST_MASSES,
        f"a list of at most {_MOST_MASSES} finite numbers",
    ),
}
ATTRIBUTES: Mapping[str, _Kind] = {
    "order": (
        lambda v: v is None or (_is_integer(v) and 0 <= v <= _HIGHEST_ORDER),
        f"an integer from 0 to {_HIGHEST_ORDER}, or null",
    ),
    **dict.fromkeys(("reversal", "observable", "flow_prior", "flow_moves"), _TEXT_KIND),
    **dict.fromkeys(("equivariant", "reversible", "discrete", "pseudofermions"), _FLAG),
    **dict.fromkeys(("flow_updates", "conditional_is_exact"), _FLAG),
    **dict.fromkeys(("determinant_variance", "improvement_ratio"), _NUMBER),
    **dict.fromkeys(("flow_prior_beta", "pseudomarginal_constant"), _NUMBER),
    **dict.fromkeys(("variate_symmetries", "flow_symmetries", "conditional_symmetries"), _NAMES),
    **dict.fromkeys(("flow_period", "conditional_period"), _PERIOD),
    "n_pf": _COUNT,
    "thrift": (lambda v: _is_integer(v) and 1 <= v <= 4096, "an integer from 1 to 4096"),
    "expected_failures": _REASONS,
}


# --- lines ------------------------------------------------------------------------------------------------------------------
def encoded(message: Mapping[str, Any]) -> bytes:
    """A message as a line; raises `ValueError` where it would be too long, or where JSON has no word for something in it."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    line = (text + "\n").encode("utf-8", "backslashreplace")
    if len(line) > LONGEST_LINE:
        raise ValueError(f"message: got {len(line)} bytes, expected at most {LONGEST_LINE}")
    return line


def decoded(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; raises `ProtocolError`."""
    if len(line) > LONGEST_LINE:
        raise ProtocolError(f"got a line of more than {LONGEST_LINE} bytes, expected at most that")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"got {shown(line)}, expected UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except ProtocolError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "numbers too long, or nested too deep"
        raise ProtocolError(
            f"got {shown(line)}, expected a line with one JSON object, as standard output is for answers: {reason}"
        ) from None
    if not isinstance(value, dict):
        raise ProtocolError(f"got {shown(line)}, expected a JSON object")
    return value


def _no_number(name: str) -> Any:
    raise ProtocolError(f"got {name}, which is no JSON; expected finite numbers")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ProtocolError(f"got the key {shown(twice)} twice in an object, expected it once")
    return out


def shown(value: Any, longest: int = _TEXT) -> str:
    """What a stranger wrote as one line of text that is safe to print, not too long."""
    if isinstance(value, bytes):
        return shown(value[: longest + 1].decode("utf-8", "backslashreplace"), longest)
    if isinstance(value, str):
        return repr(value[:longest]) + ("..." if len(value) > longest else "")
    try:
        return shown(json.dumps(value, ensure_ascii=True), longest)[1:-1]
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def plain(text: str, longest: int = _TEXT) -> str:
    """A text of a stranger without what a terminal would obey, and without half characters that nothing can print."""
    cut = text[:longest] + ("..." if len(text) > longest else "")
    return "".join(c if c.isprintable() else " " if c in "\n\t" else c.encode("unicode_escape").decode() for c in cut)


# --- answers, as the parent takes them ----------------------------------------------------------------------------------------
def start_message(folder: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The first request."""
    return {"type": "start", "protocol": VERSION, "folder": folder, "parameters": dict(parameters)}


def declaration(line: bytes) -> Declaration:
    """The answer to ``start``; raises `ProtocolError`, and `Refused` with its message where it is "errored"."""
    message = decoded(line)
    answer = _status(message, ("ok", "errored"))
    if answer.status == "errored":
        raise Refused(answer.text)
    if not _is_integer(message.get("protocol")) or message["protocol"] != VERSION:
        raise ProtocolError(f"protocol: got {shown(message.get('protocol'))}, expected {VERSION}")
    theory = _field(message, "theory", _TEXT_KIND)
    if theory not in THEORIES:
        raise ProtocolError(f"theory: got {shown(theory)}, expected one of {', '.join(THEORIES)}")
    ops = _known("ops", _field(message, "ops", _NAMES), OPERATIONS)
    parameters = _values("parameters", _field(message, "parameters", (_is_object, "an object")), PARAMETERS)
    if missing := [name for name in THEORIES[theory].required if name not in parameters]:
        raise ProtocolError(f"parameters: got no {', '.join(missing)}, expected what {theory} requires")
    return Declaration(
        name=plain(_field(message, "name", _TEXT_KIND), 80),
        language=plain(_field(message, "language", _TEXT_KIND, ""), 80),
        version=plain(_field(message, "version", _TEXT_KIND, ""), 80),
        theory=theory,
        parameters=parameters,
        ops=ops,
        varies=_known("varies", _field(message, "varies", _NAMES, []), PARAMETERS),
        attributes=_values("attributes", _field(message, "attributes", (_is_object, "an object"), {}), ATTRIBUTES),
    )


class Refused(ValueError):
    """The process has answered ``start`` by an error of its own: it cannot be had with these parameters."""


def answer(line: bytes, request: int) -> Answer:
    """The answer to this request; raises `ProtocolError`."""
    message = decoded(line)
    found = _status(message, ("ok", "skipped", "errored"))
    got = message.get("id")
    if not _is_integer(got) or got != request:
        raise ProtocolError(f"id: got {shown(got)}, expected {request}, one answer for each request")
    return found


def _status(message: Mapping[str, Any], expected: tuple[str, ...]) -> Answer:
    status = message.get("status")
    if not isinstance(status, str) or status not in expected:
        raise ProtocolError(f"status: got {shown(status)}, expected {' or '.join(map(repr, expected))}")
    if status == "ok":
        return Answer(status)
    key = {"skipped": "reason", "errored": "message"}[status]
    return Answer(status, plain(_field(message, key, _TEXT_KIND)))


def _field(message: Mapping[str, Any], key: str, kind: _Kind, default: Any = None) -> Any:
    good, expected = kind
    if key not in message and default is not None:
        return default
    if not good(message.get(key)):
        got = shown(message[key]) if key in message else "nothing"
        raise ProtocolError(f"{key}: got {got}, expected {expected}")
    return message[key]


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names, each once; raises `ProtocolError` for one that is not known."""
    expected = list(known)
    for name in (found := tuple(dict.fromkeys(names))):
        if name not in expected:
            close = get_close_matches(name, expected, n=1)
            hint = f"{close[0]!r}" if close else f"some of {', '.join(expected)}"
            raise ProtocolError(f"{what}: got {shown(name, 60)}, expected {hint}")
    return found


def _values(what: str, given: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> dict[str, Any]:
    """The values of an object whose keys are all known and of the right kind; lists as tuples."""
    _known(what, given, kinds)
    return {key: _tuples(_field(given, key, kinds[key])) for key in given}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


# --- requests, as a process takes them ------------------------------------------------------------------------------------------
_FILE = re.compile(r"[0-9A-Za-z_.-]{1,128}")


def run_message(
    request: int,
    op: str,
    params: Mapping[str, Any],
    files_in: Mapping[str, str],
    files_out: Mapping[str, str],
    deadline: float,
) -> dict[str, Any]:
    """One call."""
    head = {"type": "run", "id": request, "op": op, "params": dict(params)}
    return {**head, "in": dict(files_in), "out": dict(files_out), "deadline": deadline}


def request(line: bytes) -> Request:
    """A request; raises `ProtocolError`."""
    message = decoded(line)
    kind = _field(message, "type", _TEXT_KIND)
    if kind == "stop":
        return Request(kind)
    if kind == "start":
        if not _is_integer(message.get("protocol")) or message["protocol"] != VERSION:
            raise ProtocolError(f"protocol: got {shown(message.get('protocol'))}, expected {VERSION}")
        given = _field(message, "parameters", (_is_object, "an object"))
        return Request(
            kind, folder=_field(message, "folder", _TEXT_KIND), params=_values("parameters", given, PARAMETERS)
        )
    if kind != "run":
        raise ProtocolError(f"type: got {shown(kind)}, expected 'start', 'run' or 'stop'")
    op = _field(message, "op", _TEXT_KIND)
    _known("op", [op], OPERATIONS)
    params = _field(message, "params", (_is_object, "an object"), {})
    if missing := [name for name in OPERATIONS[op].params if name not in params]:
        raise ProtocolError(
            f"params: got no {', '.join(missing)}, expected {', '.join(OPERATIONS[op].params)} for {op}"
        )
    for name in OPERATIONS[op].params:
        _field(params, name, (_is_object, "an object") if name == "architecture" else _INTEGER)
    files = (_is_files, "an object of paths")
    return Request(
        kind,
        id=_field(message, "id", _INTEGER),
        op=op,
        params=params,
        files_in=_field(message, "in", files, {}),
        files_out=_field(message, "out", files),
    )


def _is_files(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def inside(folder: str, path: str) -> str:
    """The name of a file directly in the run folder; raises `ProtocolError` for a path that is anywhere else."""
    head, _, name = path.rpartition("/")
    if head != folder.rstrip("/") or not _FILE.fullmatch(name) or name in (".", ".."):
        raise ProtocolError(f"path: got {shown(path)}, expected a file in the run folder {shown(folder)}")
    return name
