"""A first try of a program that speaks the protocol: what is wrong with how it answers, before any check of what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import protocol
from .child import GRACE, Crashed
from .contract import Subject
from .conversion import Declined, TargetError, TargetFault
from .operations import OPERATIONS
from .protocol import ProtocolError
from .remote import Live, Processes, RemoteFactory
from .theories import Matrices

CHAINS = 3  # no extent of a lattice that is likely, so that axes in a wrong order are seen
_ERRORED = 'answer {"status":"errored","message":"..."} and read on'
_BAD_LINES = {
    "no JSON": b"this is not JSON\n",
    "an empty line": b"\n",
    "no type": b'{"id":1}\n',
    "an unknown type": b'{"type":"dance","id":1}\n',
    "an unknown op": b'{"type":"run","id":1,"op":"dance","params":{},"in":{},"out":{},"deadline":10.0}\n',
}
# What may be asked for, by the theories' names of it, to see that it is in force then.
_OTHERS: dict[str, Any] = {
    "shape": (2, 3),
    "length": 5,
    "step_size": 0.0625,
    "n_steps": 3,
    "beta": 1.25,
    "kappa": 0.125,
}


class Attempt(NamedTuple):
    """One thing that was tried, whether it went well, and what there is to say."""

    what: str
    good: bool
    told: str = ""


def trials(command: str, deadline: float) -> Iterator[Attempt]:
    """Everything in turn; raises `TargetError` where the program does not start."""
    source = Processes(command, most_failures=len(OPERATIONS))
    try:
        subject = Subject(RemoteFactory(source), deadline=deadline)
        yield Attempt("start", True, f"{subject.name}, {subject.theory.name}, {len(subject.capabilities)} ops")
        varies = source.declared({}, deadline).varies
        yield from (_varied(subject, name, name in varies) for name in _OTHERS if hasattr(subject.target, name))
        for name in subject.capabilities:
            yield _called(subject, name)
    finally:
        source.close()
    yield from _refusals(command, deadline, subject.capabilities)
    yield _stopped(command, deadline)
    yield _ended(command, deadline)


def _varied(subject: Subject, name: str, offered: bool) -> Attempt:
    what, value = f"start with {name}", _OTHERS[name]
    if not offered:
        return Attempt(what, True, "not in varies: checks that need others are skipped")
    try:
        Subject(subject._factory, deadline=subject.deadline, parameters={name: value})
    except TargetError as error:
        return Attempt(what, False, f"asked for {value}: {error}")
    return Attempt(what, True, f"{value} is in force")


def _called(subject: Subject, name: str) -> Attempt:
    """An op on a field of zeros (of SU(N): of ones) and on a small one, each twice: the same request, the same bits."""
    if name.endswith("_with_weights"):
        return Attempt(name, True, "not tried here: needs weights, the golden vectors have some")
    rng = np.random.default_rng(1)
    try:
        for what, size in (("zero", 0.0), ("small", 0.1)):
            call = _call(subject, name, _arrays(subject, rng, size))
            if not _alike(call(), call()):
                return Attempt(name, False, f"{what} field: two results of one request, expected the same bits")
    except Declined as reason:
        return Attempt(name, True, f"skipped: {reason}")
    except (TargetFault, TargetError) as fault:
        return Attempt(name, False, f"{what} field: {fault}")
    return Attempt(name, True, "zero and small field")


def _arrays(subject: Subject, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Arguments of every name: fields of this size, and noise."""
    theory, extra = subject.theory, {}
    if isinstance(theory, Matrices):
        cold: Any = np.broadcast_to(np.eye(theory.n, dtype=np.complex128), (CHAINS, *theory.field_shape))
    else:
        cold = np.zeros((CHAINS, *theory.field_shape))
    v = rng.standard_normal((CHAINS, *theory.momentum_shape))
    x = np.asarray(theory.pushed(cold.copy(), size * v))
    if subject.flavours is not None:
        shape = subject.pseudofermion_shape(x)
        noise = rng.standard_normal((2, *shape))
        t, s = np.indices(shape[2:4])
        living = (t + s) % 2 == 0 if subject.monomials.even_odd else np.ones(shape[2:4], dtype=bool)
        phi = (noise[0] + 1j * noise[1]) * living.reshape(*shape[2:4], *(1,) * (len(shape) - 4))
        extra = {"phi": phi, "chi": phi, "psi": phi[:, 0] if shape[1] else np.ones(subject.spinor_shape(x)) + 0j}
    one = {"x": x, "z": x, "v": v, "u": rng.random(CHAINS), "d": np.ones(CHAINS), "log_w": np.zeros(CHAINS)}
    return {**one, **extra, "series": rng.standard_normal(256)}


def _call(subject: Subject, name: str, arrays: dict[str, Any]) -> Callable[[], Any]:
    if name == "resume":
        return lambda: subject.resume(subject.run(arrays["x"], 2, 1)[1], 2, arrays["x"])[0]
    if name == "run":
        return lambda: subject.run(arrays["x"], 2, 1)[0]
    point = (arrays["x"], arrays["v"])
    if name in ("forward", "inverse"):
        return lambda: getattr(subject, name)(point)
    if name == "transition":
        return lambda: subject.transition(*point, arrays["u"], arrays["d"], arrays.get("phi"))
    op = OPERATIONS[name]
    given = [arrays[part] if part in op.arrays else 1 for part in (*op.arrays, *op.params)]
    return lambda: getattr(subject, name)(*given)


def _alike(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return all(_alike(one[name], two[name]) for name in one)
    if isinstance(one, tuple):
        return all(map(_alike, one, two))
    return bool(np.array_equal(one, two, equal_nan=True))


def _refusals(command: str, deadline: float, ops: tuple[str, ...]) -> Iterator[Attempt]:
    """Requests that make no sense; the program says so each time and lives on."""
    process: Live | None = None
    for what in (*_BAD_LINES, "a file that is not there", "an array of a wrong shape"):
        process = process or Live(command, None, {}, deadline)
        line = _BAD_LINES.get(what) or _bad_call(process, what, ops)
        if not line:
            continue
        try:
            answer = protocol.decoded(process.child.ask(line, deadline))
            message = answer.get("message")
            good = answer.get("status") == "errored" and isinstance(message, str)
            told = protocol.plain(str(message), 90) if good else f"got {protocol.shown(answer, 80)}; mend: {_ERRORED}"
            yield Attempt(f"refuses {what}", good, told)
        except (Crashed, ProtocolError) as error:
            told = f"{error}{process.child.ended_words()}; mend: {_ERRORED}"
            process.close()
            process = None
            yield Attempt(f"refuses {what}", False, told)
    if process is not None:
        process.close()


def _bad_call(process: Live, what: str, ops: tuple[str, ...]) -> bytes | None:
    """A call of the first op of one field, with a file that is none, or with a field of two axes."""
    name = next((name for name in ops if set(OPERATIONS[name].arrays) == {"x"} and not OPERATIONS[name].params), None)
    if name is None:
        return None
    folder, files = process.folder, ("bad.x.npy", "bad.out.npy")
    if what == "an array of a wrong shape":
        folder.write(files[0], np.ones((CHAINS, 7)))
    out = {result: folder.where(files[1]) for result in OPERATIONS[name].results}
    return protocol.encoded(protocol.run_message(1, name, {}, {"x": folder.where(files[0])}, out, 10.0))


def _stopped(command: str, deadline: float) -> Attempt:
    process = Live(command, None, {}, deadline)
    try:
        answer = protocol.decoded(process.child.ask(protocol.encoded({"type": "stop"}), deadline))
        if answer.get("status") != "ok":
            return Attempt("stop", False, f'got {protocol.shown(answer)}; mend: answer {{"status":"ok"}}, then exit')
        return _exit(process, "stop", "after the answer")
    except (Crashed, ProtocolError) as error:
        return Attempt("stop", False, f'{error}; mend: answer {{"status":"ok"}}, flush, then exit')
    finally:
        process.close()


def _ended(command: str, deadline: float) -> Attempt:
    process = Live(command, None, {}, deadline)
    try:
        process.child.close_input()
        return _exit(process, "end of input", "at the end of its input")
    finally:
        process.close()


def _exit(process: Live, what: str, when: str) -> Attempt:
    code = process.child.kill(GRACE)
    if code is None:
        return Attempt(
            what, False, f"still runs after {GRACE:g} s; mend: exit {when}, or it stays behind when the oracle dies"
        )
    return Attempt(
        what, code == 0, "exits with code 0" if code == 0 else f"got exit code {code}; mend: exit with code 0"
    )
