"""A target of this Python offered as a process: the other side of `refimpl.validation.remote`.

With it a target of one environment, with torch say, is judged from another one::

    refimpl validate cmd:"/path/to/its/python -m refimpl harness serve package.module:target"
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from . import protocol
from .contract import CAPABILITIES
from .conversion import Declined, TargetError, TargetFault, converted
from .loading import made
from .operations import OPAQUE, Operation, arguments, named_results, operation
from .protocol import ATTRIBUTES, LONGEST_LINE, PARAMETERS, ProtocolError, Request
from .remote import plain_parameters
from .run_folder import BorrowedFolder, FileFault, array_in
from .theories import THEORIES

MOST_STATES = 16  # of runs that may be resumed; a state may be any object and stays here, its file has only its number


class Server:
    """What a target answers, line by line."""

    def __init__(self, target: Any) -> None:
        self._given = target
        self._target: Any = None
        self._folder: BorrowedFolder | None = None
        self._path = ""
        self._states: OrderedDict[bytes, Any] = OrderedDict()
        self._kept = 0

    def answer(self, line: bytes) -> dict[str, Any] | None:
        """The answer to a line; None when it was the last one. Whatever goes wrong becomes an answer."""
        number: dict[str, int] = {}
        try:
            message = protocol.request(line)
            if message.type == "stop":
                return None
            if message.type == "start":
                return self._started(message)
            number = {"id": message.id}
            return self._ran(message)
        except Declined as reason:
            return {"status": "skipped", **number, "reason": protocol.plain(str(reason))}
        except (ProtocolError, FileFault, TargetError, TargetFault) as error:
            return {"status": "errored", **number, "message": protocol.plain(str(error))}
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a target may raise anything)
            traceback.print_exc()  # to standard error, for whoever looks for the line
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return {"status": "errored", **number, "message": protocol.plain(told)}

    def _started(self, message: Request) -> dict[str, Any]:
        if self._target is not None:
            raise ProtocolError("start: got it twice, expected it once")
        try:
            folder = BorrowedFolder(message.folder)
        except (OSError, ValueError) as error:
            raise ProtocolError(f"folder: got {protocol.shown(message.folder)}: {error}") from None
        target = _target_at(self._given, message.params or {})
        declared = _declaration(target, _varies(self._given, target))
        self._target, self._folder, self._path = target, folder, message.folder
        return {"status": "ok", "protocol": protocol.VERSION, **declared}

    def _ran(self, message: Request) -> dict[str, Any]:
        if self._target is None or self._folder is None:
            raise ProtocolError("run: got it before start, expected start first")
        function = getattr(self._target, message.op, None)
        if not callable(function):
            raise ProtocolError(f"op: got {message.op!r}, which this target does not offer")
        op = _operation(self._target, message.op)
        params, files_in, files_out = message.params or {}, message.files_in or {}, message.files_out or {}
        if missing := [name for name in op.results if name not in files_out]:
            raise ProtocolError(f"out: got no {', '.join(missing)}, expected {', '.join(op.results)}")
        names = {name: protocol.inside(self._path, files_out[name]) for name in op.results}
        arrays = {name: self._array(op, name, path) for name, path in files_in.items()}
        try:
            result = function(*arguments(op, params, arrays))
        except KeyError as error:
            if error.args[:1] and error.args[0] in op.arrays:
                raise ProtocolError(f"in: got no {error.args[0]}, expected {', '.join(op.arrays)}") from None
            raise
        try:
            results = named_results(op, result)
        except ValueError as error:
            raise TargetFault(f"{message.op}: {error}") from None
        for name, value in results.items():
            self._folder.write(names[name], self._content(op, name, value))
        return {"status": "ok", "id": message.id}

    def _array(self, op: Operation, name: str, path: str) -> Any:
        if self._folder is None:
            raise ProtocolError("in: got it before start, expected start first")
        try:
            content = self._folder.read(protocol.inside(self._path, path))
            if op.arrays.get(name) != OPAQUE:
                return array_in(content).copy()
        except FileFault as fault:
            raise ProtocolError(f"in: {name}: {fault}") from None
        if content not in self._states:
            raise TargetFault(f"{name}: got one that is not kept here, expected one of the last {MOST_STATES}")
        return self._states[content]

    def _content(self, op: Operation, name: str, value: Any) -> Any:
        if op.results.get(name) != OPAQUE:
            array = converted(name, value, np.complex128)
            return array if array.imag.any() or np.iscomplexobj(value) else array.real
        self._kept += 1
        token = str(self._kept).encode()
        self._states[token] = value
        if len(self._states) > MOST_STATES:
            self._states.popitem(last=False)
        return token


def serve(target: Any, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until told to stop, or until there are no more requests."""
    server = Server(target)
    while line := requests.readline(LONGEST_LINE + 1):
        if not line.endswith(b"\n"):
            _skip_rest(requests)
        answer = server.answer(line)
        answers.write(protocol.encoded(answer or {"status": "ok"}))
        answers.flush()
        if answer is None:
            return


def own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output for the protocol alone: what a target prints goes to standard error from now on."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return requests, answers


def _skip_rest(requests: IO[bytes]) -> None:
    """Read to the end of a line that is too long."""
    while (rest := requests.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def _target_at(given: Any, parameters: Mapping[str, Any]) -> Any:
    """The target at these parameters; raises `TargetError`."""
    if not hasattr(given, "theory") or isinstance(given, type):
        if not callable(given):
            raise TargetError(f"target: got {type(given).__name__}, expected an object with theory, or a callable")
        return made(given, parameters)
    if not parameters:
        return given
    if not callable(getattr(given, "replace", None)):
        raise TargetError(f"target: got {', '.join(parameters)}, but it is no factory and has no replace")
    return made(given.replace, parameters)


def _varies(given: Any, target: Any) -> list[str]:
    """Which parameters can be asked for: arguments of the factory, or what any `replace` is asked for."""
    usual = [*THEORIES[target.theory].parameters, "step_size", "n_steps", "even_odd", "mus", "mu_reg"]
    if given is target:
        return usual if callable(getattr(given, "replace", None)) else []
    arguments = inspect.signature(given).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in arguments):
        return usual
    return [p.name for p in arguments if p.name in PARAMETERS and p.kind is not p.POSITIONAL_ONLY]


def _declaration(target: Any, varies: list[str]) -> dict[str, Any]:
    """The answer to ``start``; raises `TargetError`."""
    if getattr(target, "theory", None) not in THEORIES:
        raise TargetError(f"theory: got {getattr(target, 'theory', None)!r}, expected one of {', '.join(THEORIES)}")
    names = dict.fromkeys((*THEORIES[target.theory].parameters, *PARAMETERS))
    parameters = {name: value for name in names if (value := getattr(target, name, None)) is not None}
    attributes = {name: _plain(getattr(target, name)) for name in ATTRIBUTES if hasattr(target, name)}
    for attribute, value in attributes.items():
        good, expected = ATTRIBUTES[attribute]
        if value is not None and not good(value):
            raise TargetError(f"{attribute}: got {protocol.plain(repr(value), 60)}, expected {expected}")
    name = str(getattr(target, "name", None) or getattr(target, "__name__", None) or type(target).__name__)
    return {
        "name": protocol.plain(name, 60),
        "language": f"Python {'.'.join(map(str, sys.version_info[:2]))}",
        "theory": target.theory,
        "parameters": plain_parameters(parameters),
        "ops": [name for name in CAPABILITIES if callable(getattr(target, name, None))],
        "varies": varies,
        "attributes": {name: value for name, value in attributes.items() if ATTRIBUTES[name][0](value)},
    }


def _plain(value: Any) -> Any:
    """Tuples, sets and mappings as JSON has them."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset | list):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _operation(target: Any, name: str) -> Operation:
    directed = getattr(target, "reversal", None) == "direction"
    return operation(name, directed=directed, pseudofermions=bool(getattr(target, "pseudofermions", False)))
