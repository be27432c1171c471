"""All that a target in another process was asked and answered, in one file; and that file judged again, without the process.

The file is a zip archive: ``transcript.jsonl``, one JSON object a line, and ``arrays/SHA256.npy`` (``.bin`` for states of runs),
named by their content. The first line has the ``settings`` of the run. Each other one is a ``start`` with its ``parameters`` and
the ``answer`` (or ``error``), or a ``run`` with ``parameters``, ``op``, ``params``, ``in`` and ``out`` (or ``fault``, ``lost``,
``raised`` or ``declined``). The last one, ``end``, has the ``count`` of the lines before it and their ``sha256``: what was cut
off would look as if it had never been asked.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from refimpl.files import whole_file

from . import protocol
from .conversion import Declined, Lost, Raised, TargetError, TargetFault, Untold
from .protocol import Declaration, ProtocolError
from .remote import Key, RemoteFactory, Source, Values, key_of, plain_parameters
from .run_folder import LARGEST_FILE, FileFault, array_in, plain_array

VERSION = 1
_MESSAGES = "transcript.jsonl"
_LEVEL = 1  # of compression: random numbers do not get smaller, but zeros and small integers do
_LONGEST = 1 << 28  # bytes of all messages
_LONGEST_TEXT = 4000  # characters of a fault, as it was told then
_FAULTS: dict[str, type[Exception]] = {"fault": TargetFault, "lost": Lost, "raised": Raised, "declined": Declined}


class Recording:
    """A `Source` whose questions and answers are written down."""

    def __init__(self, source: Source, archive: zipfile.ZipFile, settings: Mapping[str, Any]) -> None:
        self._source, self._archive = source, archive
        self._lines: list[dict[str, Any]] = [{"type": "transcript", "version": VERSION, "settings": dict(settings)}]
        self._written: set[str] = set()

    def declared(self, parameters: Mapping[str, Any], deadline: float) -> Declaration:
        line: dict[str, Any] = {"type": "start", "parameters": plain_parameters(parameters)}
        self._lines.append(line)
        try:
            found = self._source.declared(parameters, deadline)
        except TargetError as error:
            line["error"] = str(error)
            raise
        line["answer"] = {"status": "ok", "protocol": protocol.VERSION, **asdict(found)}
        return found

    def results(
        self,
        parameters: Mapping[str, Any],
        op: str,
        asked: tuple[Values, Values],
        wanted: tuple[str, ...],
        deadline: float,
    ) -> dict[str, Any]:
        params, arrays = asked
        line = {"type": "run", "parameters": plain_parameters(parameters), "op": op, "params": dict(params)}
        line["in"] = {name: self._kept(value) for name, value in arrays.items()}
        self._lines.append(line)
        try:
            found = self._source.results(parameters, op, asked, wanted, deadline)
        except (TargetFault, Declined) as error:
            line[next(name for name in reversed(_FAULTS) if isinstance(error, _FAULTS[name]))] = str(error)
            raise
        line["out"] = {name: self._kept(value) for name, value in found.items()}
        return found

    @property
    def calls(self) -> int:
        """How many were written down."""
        return sum(line["type"] == "run" for line in self._lines)

    def close(self) -> None:
        """End what answers; the file is finished by `finish`."""
        self._source.close()

    def finish(self) -> None:
        """Write the messages, at the end."""
        content = b"".join(map(_line, self._lines))
        end = {"type": "end", "count": len(self._lines), "sha256": hashlib.sha256(content).hexdigest()}
        self._archive.writestr(_MESSAGES, content + _line(end), compresslevel=_LEVEL)

    def _kept(self, value: Any) -> str:
        content = _content(value)
        name = _name(value, content)
        if name not in self._written:
            self._archive.writestr(name, content, compresslevel=_LEVEL)
            self._written.add(name)
        return name


class Played:
    """A `Source` that says again what was said: to the same question the same answer, in the same order, and nothing to others."""

    def __init__(self, path: Path) -> None:
        """Raises `TargetError` where the file is not a transcript, or is damaged."""
        self.settings: dict[str, Any] = {}
        self._starts: dict[Key, Any] = {}
        self._runs: defaultdict[Any, deque[Any]] = defaultdict(deque)
        try:
            self._archive = zipfile.ZipFile(path)
            self._names = set(self._archive.namelist())
            for k, line in enumerate(_whole(self._read(_MESSAGES, _LONGEST))):
                self._take(k, protocol.decoded(line))
            for name in sorted(self._names - {_MESSAGES}):
                if not name.startswith("arrays/"):
                    raise ValueError(
                        f"got {protocol.shown(name)} in the archive, expected {_MESSAGES} and arrays/ alone"
                    )
                self._array(name)
        except OSError as error:
            raise TargetError(f"TARGET: transcript {path}: {error.strerror or error}") from error
        except Exception as error:  # a damaged archive raises almost anything
            told = f"{type(error).__name__}: {protocol.plain(str(error))}"
            raise TargetError(f"TARGET: transcript {path}: got a file that is none, or damaged: {told}") from error

    def declared(self, parameters: Mapping[str, Any], deadline: float) -> Declaration:
        found = self._starts.get(key_of(parameters))
        if isinstance(found, Declaration):
            return found
        raise TargetError(found or f"TARGET: {plain_parameters(parameters)} is not in the transcript")

    def results(
        self,
        parameters: Mapping[str, Any],
        op: str,
        asked: tuple[Values, Values],
        wanted: tuple[str, ...],
        deadline: float,
    ) -> dict[str, Any]:
        params, arrays = asked
        names = {name: _name(value, _content(value)) for name, value in arrays.items()}
        left = self._runs.get(_question(key_of(parameters), op, params, names))
        if not left:
            raise Untold(f"{op}: this call is not in the transcript (another version of refimpl, or other settings)")
        kind, found = left.popleft()
        if kind in _FAULTS:
            raise _FAULTS[kind](found)
        if missing := [name for name in wanted if name not in found]:
            raise Untold(f"{op}: {', '.join(missing)} is not in the transcript")
        return {name: self._array(found[name]) for name in wanted}

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _take(self, k: int, line: Mapping[str, Any]) -> None:
        """One line of the messages; raises `ValueError`, `KeyError` and the like for one that is none."""
        kind = line.get("type")
        if (k == 0) != (kind == "transcript") or kind not in ("transcript", "start", "run"):
            raise ValueError(
                f"line {k + 1}: got type {protocol.shown(kind)}, expected first 'transcript', then 'start' and 'run'"
            )
        if kind == "transcript":
            if line["version"] != VERSION or not isinstance(line["settings"], dict):
                raise ValueError(f"version: got {protocol.shown(line['version'])}, expected {VERSION}")
            self.settings = line["settings"]
            return
        key = key_of(dict(line["parameters"]))
        if kind == "start":
            text = line.get("error")
            declared = None if text is not None else protocol.declaration(protocol.encoded(line["answer"]))
            self._starts.setdefault(key, protocol.plain(str(text), _LONGEST_TEXT) if declared is None else declared)
            return
        ((name, answer),) = [(name, line[name]) for name in ("out", *_FAULTS) if name in line]
        if name != "out":
            answer = protocol.plain(str(answer), _LONGEST_TEXT)
        elif not isinstance(answer, dict) or not set(answer.values()) <= self._names - {_MESSAGES}:
            raise ValueError(f"line {k + 1}: got results that are not in the archive")
        self._runs[_question(key, line["op"], line["params"], line["in"])].append((name, answer))

    def _array(self, name: str) -> Any:
        content = self._read(name, LARGEST_FILE)
        if hashlib.sha256(content).hexdigest() not in name:
            raise FileFault(f"got {name} with another checksum than its name says")
        return content if name.endswith(".bin") else array_in(content)

    def _read(self, name: str, most: int) -> bytes:
        if name not in self._names:
            raise ValueError(f"got no {name}, expected it in the archive")
        with self._archive.open(name) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"got more than {most} bytes in {name}")
        return content


class Recorded(RemoteFactory):
    """A factory of targets whose calls are written down."""

    source: Recording

    def __init__(self, source: Recording) -> None:
        super().__init__(source)


@contextmanager
def recorded(factory: RemoteFactory, path: Path, settings: Mapping[str, Any]) -> Iterator[Recorded]:
    """The same factory, writing down what passes; the file is there, whole, when the block ends without an error."""
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        recording = Recording(factory.source, archive, settings)
        yield Recorded(recording)
        recording.finish()


def played(path: Path) -> RemoteFactory:
    """A factory of the target that this transcript is of; raises `TargetError`."""
    return RemoteFactory(Played(path))


def _line(message: Mapping[str, Any]) -> bytes:
    return (json.dumps(message, separators=(",", ":")) + "\n").encode("utf-8", "backslashreplace")


def _whole(content: bytes) -> list[bytes]:
    """The lines before the last one, which says how many they are, and their checksum; raises `ValueError`."""
    *lines, last = content.splitlines(keepends=True) or [b""]
    end = protocol.decoded(last) if last.endswith(b"\n") else {}
    if end.get("type") != "end":
        raise ValueError(f"{_MESSAGES}: got no line of type 'end' as the last one, so the end is missing")
    expected = {"type": "end", "count": len(lines), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    if end != expected:
        told = (
            "another checksum than"
            if end.get("count") == len(lines)
            else f"{len(lines)} lines before the last one, not what"
        )
        raise ValueError(f"{_MESSAGES}: got {told} its last line says: lines were cut out, added or edited")
    return lines


def _content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plain_array(value), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _name(value: Any, content: bytes) -> str:
    return f"arrays/{hashlib.sha256(content).hexdigest()}{'.bin' if isinstance(value, bytes) else '.npy'}"


def _question(key: Key, op: Any, params: Any, names: Any) -> Any:
    """What a call is recognised by."""
    if not isinstance(params, Mapping) or not isinstance(names, Mapping):
        raise ProtocolError("run: got no params and in, expected objects")
    return key, op, json.dumps(dict(params), sort_keys=True), tuple(sorted(names.items()))
