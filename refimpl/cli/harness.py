"""The command ``harness``, and options for targets in other processes, see ``validation/PROTOCOL.md``."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .arguments import command, seconds, writable
from .endings import ended_by_signals

DEFAULTS = {"level": "standard", "alpha": 1e-6, "conventions": "auto"}  # of a run that is not of a transcript
TEMPLATES = {"cpp": "harness.cpp", "julia": "harness.jl", "python": "harness.py"}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "programs in other languages as targets: try one, offer one, print one to start from"
    parser = commands.add_parser("harness", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    smoke = command(
        actions, "smoke", _smoke, "try a program: the handshake, each op, bad requests, the end; and say what to mend",
        "exit codes: 0 all is well, 1 something was wrong, 2 wrong usage, "
        "3 the program did not start or broke the protocol at start",
    )  # fmt: skip
    smoke.add_argument("program", metavar="CMD", help="the command, such as './harness --flag'")
    smoke.add_argument("--deadline", type=seconds, default=20.0, help="seconds one answer may take (default 20)")
    serve = command(
        actions, "serve", _serve, "offer a target of this Python on standard input and output",
        "exit codes: 0 it was told to stop, 2 wrong usage, 3 the target did not start",
    )  # fmt: skip
    serve.add_argument("target", metavar="TARGET", help="package.module:object, builtin:NAME, mutant:NAME or model:DIR")
    template = command(actions, "template", _template, "print a program to start from")
    template.add_argument("language", choices=sorted(TEMPLATES), help="its language")
    template.add_argument(
        "--out", metavar="FILE", help="write there instead of the terminal; no file of that name may exist"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``validate`` for targets in other processes."""
    text = (
        "write all that a cmd: target is asked and answers into this file, to be judged again as transcript:FILE; U(1) HMC on "
        "4 x 4 makes some 25 MB of it at --level smoke, 200 MB at standard, 800 MB at thorough, other lattices in proportion to "
        "their sites, and -k a part of that"
    )
    parser.add_argument("--transcript", metavar="FILE", help=text)
    parser.add_argument(
        "--keep", metavar="DIR", help="keep the files that a cmd: target reads and writes, in this folder"
    )


def megabytes(size: int) -> str:
    """A number of bytes in words: 41 MB, or 0.2 MB."""
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e6:.1g} MB"


@contextmanager
def opened(arguments: argparse.Namespace, parameters: dict[str, Any]) -> Iterator[Any]:
    """The target that ``validate`` judges, or its factory. Processes are ended with the block.

    A transcript sets the seed, the level and what else the run was that it is of, otherwise `DEFAULTS` do what was not given.
    """
    from refimpl.validation.remote import Processes, RemoteFactory
    from refimpl.validation.targets import target_named
    from refimpl.validation.transcripts import Played, recorded

    target = target_named(arguments.target, arguments.theory)
    if not isinstance(target, RemoteFactory) or not isinstance(target.source, Processes):
        for option in ("transcript", "keep"):
            if getattr(arguments, option) is not None:
                raise ValueError(f"--{option}: got it for {arguments.target}, expected a target cmd:COMMAND")
    if not isinstance(target, RemoteFactory):
        _set(arguments, DEFAULTS)
        yield target
        return
    try:
        if isinstance(target.source, Played):
            _take_settings(arguments, parameters, target.source.settings)
        elif arguments.keep is not None and isinstance(target.source, Processes):
            if not Path(arguments.keep).is_dir():
                raise ValueError(f"--keep: got {arguments.keep!r}, expected a folder that exists")
            target.source.keep = Path(arguments.keep)
        _set(arguments, DEFAULTS)
        if arguments.transcript is None:
            yield target
            return
        if arguments.seed is None:
            arguments.seed = secrets.randbelow(2**31)
        settings = {"command": arguments.target, "seed": arguments.seed, "level": arguments.level}
        settings |= {"alpha": arguments.alpha, "select": arguments.select, "parameters": parameters}
        settings |= {"conventions": arguments.conventions, "xfail": arguments.known}
        path = Path(arguments.transcript)
        with recorded(target, path, settings) as writing:
            yield writing
        size, calls = path.stat().st_size, writing.source.calls
        print(f"refimpl: {path}, {megabytes(size)}, {calls} calls", file=sys.stderr)
    finally:
        target.source.close()


def _take_settings(arguments: argparse.Namespace, parameters: dict[str, Any], settings: dict[str, Any]) -> None:
    """The run that a transcript is of; raises `ValueError` for other ones that are asked for, and for settings that are none."""
    from refimpl.validation.known import known_failures

    kinds = {"seed": int, "level": str, "alpha": float, "conventions": str, "parameters": dict}
    for name, kind in kinds.items():
        if not isinstance(settings.get(name), kind):
            raise ValueError(f"transcript: got {name} {settings.get(name)!r}, expected what kind of run it is of")
    of_run = {name: settings[name] for name in ("seed", *DEFAULTS)}
    given = {name: getattr(arguments, name) for name in of_run if getattr(arguments, name) is not None}
    for name, value in {**parameters, **given}.items():
        recorded = {**settings["parameters"], **of_run}.get(name)
        if recorded != (list(value) if isinstance(value, tuple) else value):
            raise ValueError(f"--{name}: got {value}, but the transcript is of a run with {recorded}")
    _set(arguments, of_run)
    if arguments.known is None and settings.get("xfail") is not None:
        arguments.known = known_failures(settings["xfail"], "transcript: xfail")
    if arguments.select is None and isinstance(settings.get("select"), str):
        arguments.select = settings["select"]
    for name, value in settings["parameters"].items():
        parameters[name] = tuple(value) if isinstance(value, list) else value


def _set(arguments: argparse.Namespace, values: Mapping[str, Any]) -> None:
    """Those that were not given."""
    for name, value in values.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


@ended_by_signals()
def _smoke(arguments: argparse.Namespace) -> int:
    from refimpl.validation.smoke import trials

    good = True
    for trial in trials(arguments.program, arguments.deadline):
        good = good and trial.good
        print(f"{'ok  ' if trial.good else 'FAIL'}  {trial.what:<34}{trial.told}", flush=True)
    print("all is well: refimpl validate cmd:" + repr(arguments.program) if good else "something is to be mended")
    return 0 if good else 1


def _serve(arguments: argparse.Namespace) -> int:
    from refimpl.validation.serving import own_pipes, serve
    from refimpl.validation.targets import target_named

    requests, answers = own_pipes()
    serve(target_named(arguments.target), requests, answers)
    return 0


def _template(arguments: argparse.Namespace) -> int:
    from importlib.resources import files

    text = (files("refimpl.validation") / "templates" / TEMPLATES[arguments.language]).read_text(encoding="utf-8")
    if arguments.out is None:
        print(text, end="")
        return 0
    writable(arguments.out)
    try:
        with open(arguments.out, "x", encoding="utf-8") as file:  # whole at once: it is short
            file.write(text)
    except FileExistsError:
        raise ValueError(f"--out: got {arguments.out!r}, which exists already; expected a new file") from None
    return 0
