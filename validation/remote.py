"""Targets in other processes, in any language: ``refimpl validate cmd:"./harness --flag"``.

What is written and read is said in `validation/PROTOCOL.md`. A `RemoteFactory` makes targets with the attributes and functions that
a process declares; what it asks is a `Source`: the processes themselves, or what they said in an earlier run.
"""

from __future__ import annotations

import inspect
import json
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import protocol
from .child import GRACE, Child, Crashed
from .conversion import Declined, Lost, Raised, TargetError, TargetFault, Timed
from .operations import OPAQUE, Operation, flattened, operation, returned
from .protocol import Declaration, ProtocolError
from .run_folder import FileFault, RunFolder, array_in

MOST_PROCESSES = 4  # that live at a time
MOST_RESTARTS = 3  # of processes that crashed, hung or broke the protocol

Key = str  # parameters as JSON
Values = Mapping[str, Any]  # arrays by name, and bytes


def key_of(parameters: Mapping[str, Any]) -> Key:
    """The same text for the same parameters."""
    return json.dumps(plain_parameters(parameters), sort_keys=True)


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them: lists, and numbers of Python."""
    return {name: np.asarray(value).tolist() for name, value in parameters.items()}


class Source(Protocol):
    """Who answers."""

    def close(self) -> None:
        """End what answers."""

    def declared(self, parameters: Mapping[str, Any], deadline: float) -> Declaration:
        """What the target says of itself at these parameters; raises `TargetError`."""

    def results(
        self,
        parameters: Mapping[str, Any],
        op: str,
        asked: tuple[Values, Values],
        wanted: tuple[str, ...],
        deadline: float,
    ) -> dict[str, Any]:
        """The results of this name for parameters and arrays; raises `TargetFault` and `Declined`."""


class RemoteFactory(Timed):
    """Makes targets of a source at any parameters that it takes; processes end with it, or before with its `source.close`."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __call__(self, **parameters: Any) -> RemoteTarget:
        """A target; raises `TargetError` where the process does not start, or declares other parameters than these."""
        declared = self.source.declared(parameters, self.deadline)
        for name, value in plain_parameters(parameters).items():
            got = plain_parameters(declared.parameters).get(name)
            if got != value:
                raise TargetError(f"{name}: got {got}, expected {value} as it was asked for, or an answer 'errored'")
        # What `inspect.signature` finds is what the oracle knows of a factory.
        known = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in declared.varies]
        self.__signature__ = inspect.Signature(known)
        return RemoteTarget(self.source, declared, parameters, self.deadline)


class RemoteTarget(Timed):
    """A target with the attributes that a process declares, and one function for each of its ops."""

    theory: str

    def __init__(self, source: Source, declared: Declaration, parameters: Mapping[str, Any], deadline: float) -> None:
        self.deadline = deadline
        for name, value in {**declared.attributes, **declared.parameters}.items():
            setattr(self, name, value)
        self.theory, self.name = declared.theory, declared.title
        self._source, self._parameters = source, dict(parameters)
        extra = {
            "directed": declared.attributes.get("reversal") == "direction",
            "pseudofermions": bool(declared.attributes.get("pseudofermions")),
        }
        self._ops = {name: operation(name, **extra) for name in declared.ops}

    def __getattr__(self, name: str) -> Any:
        """The function of an op. Were they kept here, a target would hold itself, and its processes, until garbage is collected."""
        ops: Mapping[str, Operation] = self.__dict__.get("_ops", {})
        if name not in ops:
            raise AttributeError(f"{name}: the process has no such op, and declares no such attribute")
        return partial(self._result, name, ops[name])

    def _result(self, name: str, op: Operation, *arguments: Any) -> Any:
        asked = flattened(op, arguments)
        return returned(op, self._source.results(self._parameters, name, asked, tuple(op.results), self.deadline))


class Live:
    """A process that runs, with its folder and the number of its last request."""

    def __init__(self, command: str, keep: Path | None, parameters: Mapping[str, Any], deadline: float) -> None:
        """Raises `TargetError` where it does not start."""
        self.request = 0
        self.folder = RunFolder(keep)
        try:
            self.child = Child(command)
        except (OSError, ValueError) as error:
            self.folder.close()
            raise TargetError(f"TARGET: starting {command!r}: {getattr(error, 'strerror', None) or error}") from error
        try:
            asked = protocol.start_message(self.folder.path, plain_parameters(parameters))
            self.declared = protocol.declaration(self.child.ask(protocol.encoded(asked), deadline))
        except (Crashed, ProtocolError) as error:
            told = str(error) if isinstance(error, Crashed) else f"{error}{self.child.ended_words()}"
            self.close()
            raise TargetError(f"TARGET: {command}: start: {told}") from error
        except BaseException as error:
            self.close()
            if isinstance(error, protocol.Refused):
                raise TargetError(f"TARGET: {command}: start: {error}") from error
            raise

    def close(self) -> None:
        """End the process, and remove the folder."""
        close_all({"": self})


def close_all(live: Mapping[Key, Live]) -> None:
    """End processes, all at the same time, and remove their folders."""
    for process in live.values():
        process.child.stop()
    until = time.monotonic() + GRACE
    for process in live.values():
        process.child.kill(max(0.0, until - time.monotonic()))
        process.folder.close()


class Processes:
    """The processes of a command, one for each set of parameters; a `Source`."""

    def __init__(self, command: str, keep: Path | None = None, most_failures: int = MOST_RESTARTS) -> None:
        self._most_failures = most_failures
        self.command, self.keep = command, keep
        self._declared: dict[Key, Declaration] = {}
        self._live: OrderedDict[Key, Live] = OrderedDict()
        self._failures: list[str] = []
        self._end = weakref.finalize(self, _close_and_forget, self._live)  # also where nobody calls `close`

    def close(self) -> None:
        """End all of them; a call after this starts one again."""
        _close_and_forget(self._live)

    def declared(self, parameters: Mapping[str, Any], deadline: float) -> Declaration:
        if (key := key_of(parameters)) not in self._declared:
            self._declared[key] = self._started(parameters, deadline).declared
        return self._declared[key]

    def results(
        self,
        parameters: Mapping[str, Any],
        op: str,
        asked: tuple[Values, Values],
        wanted: tuple[str, ...],
        deadline: float,
    ) -> dict[str, Any]:
        if len(self._failures) > self._most_failures:
            raise Lost(
                f"{op}: not called: the process has failed {len(self._failures)} times, at last it {self._failures[-1]}"
            )
        process = self._at(parameters, op, deadline)
        process.request += 1
        try:
            return _exchanged(process, op, asked, wanted, deadline)
        except (Crashed, ProtocolError) as error:
            self._failures.append(str(error))
            told = "the process " if isinstance(error, Crashed) else "protocol: "
            words = "" if isinstance(error, Crashed) else process.child.ended_words()
            self._forget(parameters)
            raise Lost(f"{op}: {told}{error}{words}") from error
        except BaseException as error:
            if not isinstance(error, TargetFault | Declined):
                self._forget(parameters)
            raise

    def _at(self, parameters: Mapping[str, Any], op: str, deadline: float) -> Live:
        """The process of these parameters, started again where it is no more."""
        key = key_of(parameters)
        if key in self._live:
            self._live.move_to_end(key)
            return self._live[key]
        try:
            process = self._started(parameters, deadline)
        except TargetError as error:
            self._failures.append(str(error))
            raise Lost(f"{op}: starting the process again: {error}") from error
        if process.declared != self._declared[key]:
            raise TargetFault(f"{op}: started again, the process declares something else than at first")
        return process

    def _started(self, parameters: Mapping[str, Any], deadline: float) -> Live:
        if len(self._live) >= MOST_PROCESSES:
            self._live.popitem(last=False)[1].close()
        process = Live(self.command, self.keep, parameters, deadline)
        self._live[key_of(parameters)] = process
        return process

    def _forget(self, parameters: Mapping[str, Any]) -> None:
        if process := self._live.pop(key_of(parameters), None):
            process.close()


def _close_and_forget(live: OrderedDict[Key, Live]) -> None:
    close_all(live)
    live.clear()


def _exchanged(
    process: Live, op: str, asked: tuple[Values, Values], wanted: tuple[str, ...], deadline: float
) -> dict[str, Any]:
    """One request, and the files before and after it."""
    params, arrays = asked
    folder, number = process.folder, process.request
    kinds = operation(op)
    ins = {name: f"{number}.{_file(name, k)}" for k, name in enumerate(arrays)}
    outs = {name: f"{number}.{_file(name, 0, kinds.results.get(name) == OPAQUE)}" for name in wanted}
    try:
        sent = {name: folder.write(file, arrays[name]) for name, file in ins.items()}
        expected = {name: folder.where(file) for name, file in outs.items()}
        message = protocol.run_message(number, op, params, sent, expected, deadline)
        answer = protocol.answer(process.child.ask(protocol.encoded(message), deadline), number)
        if answer.status == "skipped":
            raise Declined(f"{op}: the target says: {answer.text}")
        if answer.status == "errored":
            raise Raised(f"{op}: the target says: {answer.text}")
        return {name: _read(folder, op, name, file) for name, file in outs.items()}
    finally:
        folder.remove(*ins.values(), *outs.values())


def _read(folder: RunFolder, op: str, name: str, file: str) -> Any:
    try:
        content = folder.read(file)
        return content if file.endswith(".bin") else array_in(content)
    except FileFault as fault:
        raise TargetFault(f"{op}: {name}: {fault}") from None


def _file(name: str, k: int, opaque: bool = False) -> str:
    """The end of a file's name; keys of weights have slashes and go by number."""
    if opaque or name == "state":
        return f"{name}.bin"
    return f"{f'params-{k}' if '/' in name else name}.npy"


def remote_target(command: str, keep: Path | None = None) -> RemoteFactory:
    """A factory of the target that this command offers."""
    return RemoteFactory(Processes(command, keep))
