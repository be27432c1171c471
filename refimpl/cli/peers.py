"""The command ``peers`` and the target ``builtin:all``: many targets judged, some at a time, and a table of what was found."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .arguments import command, count, emit, seconds, seed, writable
from .endings import ended_by_signals

if TYPE_CHECKING:
    from refimpl.validation.peer_runs import Outcome, Peer

EPILOG = """exit codes: 0 all that are installed passed, 1 one failed or did not start, 2 wrong usage, 5 none is installed. Every
target runs in a process of its own; the line above its failures repeats them."""
ALL = "builtin:all"
PASSED_ON = {"select": "-k", "alpha": "--alpha", "deadline": "--deadline"}  # to every target of `ALL`
FORMS_OF_ALL = ("table", "json", "markdown")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    peers = command(commands, "peers", _peers, "judge packages of others that are installed, and print a table", EPILOG)
    peers.add_argument(
        "names", nargs="*", metavar="NAME", help="of a package, or of one of its targets (default: all); see --list"
    )
    peers.add_argument("--list", action="store_true", dest="only_list", help="show the names and run nothing")
    peers.add_argument("--level", choices=["smoke", "standard", "thorough"], default="smoke", help="default smoke")
    peers.add_argument("--seed", type=seed, default=1, help="of every target (default 1)")
    peers.add_argument("--deadline", type=seconds, help="seconds one target may take (default 1800)")
    peers.add_argument("--jobs", type=count, default=1, metavar="N", help="judge so many at a time (default 1)")
    peers.add_argument("--format", choices=["table", "json", "markdown"], default="table", help="default table")
    peers.add_argument("--out", metavar="FILE", help="write there instead of the terminal")


@ended_by_signals()
def _peers(arguments: argparse.Namespace) -> int:
    from refimpl.validation import peer_runs, report

    writable(arguments.out)
    peers = peer_runs.chosen(arguments.names)
    if arguments.only_list:
        emit("\n".join(f"{p.name:<24}{p.version if p.installed else p.install}" for p in peers), arguments.out)
        return report.OK
    deadline = arguments.deadline or peer_runs.DEADLINE
    outcomes = _judged(peers, arguments, deadline)
    return _told(outcomes, arguments, {"level": arguments.level, "seed": arguments.seed}, "peers")


def refused(arguments: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Raises `ValueError` for an option of ``validate`` that is for a single target; ``defaults`` are those that are not None."""
    expected = ("target", "level", "seed", "jobs", "format", "out", "command", *PASSED_ON)
    for name, value in vars(arguments).items():
        if name not in expected and value != defaults.get(name):
            option = "--steps" if name == "n_steps" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option}: got it with {ALL}, expected a single target")
    if arguments.format not in FORMS_OF_ALL:
        raise ValueError(f"--format: got {arguments.format} with {ALL}, expected one of {', '.join(FORMS_OF_ALL)}")


def judge_built_in(arguments: argparse.Namespace, defaults: dict[str, Any]) -> int:
    """``refimpl validate builtin:all``: every built-in target in a process of its own, and the exit code."""
    from refimpl.chains.executors import processors
    from refimpl.validation import peer_runs
    from refimpl.validation.builtin import BUILT_IN

    refused(arguments, defaults)
    writable(arguments.out)
    arguments.level = arguments.level or "standard"
    arguments.seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    arguments.jobs = arguments.jobs or processors()
    given = {option: getattr(arguments, name) for name, option in PASSED_ON.items()}
    given = {option: value for option, value in given.items() if value not in (None, defaults.get(option.strip("-")))}
    options = [part for option, value in given.items() for part in (option, str(value))]
    start, before = time.perf_counter(), _of_children()
    found = {
        outcome.peer.target: outcome for outcome in _judged(peer_runs.built_in(BUILT_IN), arguments, None, options)
    }
    wall, cpu = time.perf_counter() - start, _of_children() - before
    print(f"refimpl: {len(found)} targets in {wall:.0f} s, {cpu:.0f} s of CPU, seed {arguments.seed}", file=sys.stderr)
    run = {"level": arguments.level, "seed": arguments.seed, "jobs": arguments.jobs}
    run |= {"seconds": wall, "cpu_seconds": cpu}
    return _told([found[f"builtin:{name}"] for name in BUILT_IN], arguments, run, "targets")


def _of_children() -> float:
    """CPU seconds of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _judged(
    peers: Sequence[Peer], arguments: argparse.Namespace, deadline: float | None, options: Sequence[str] = ()
) -> list[Outcome]:
    """The outcome of each, with a line on the standard error as it ends."""
    from refimpl.validation import peer_runs
    from refimpl.validation.side_by_side import Children, side_by_side

    def work(peer: Peer, children: Children) -> Outcome:
        return peer_runs.outcome_of(peer, arguments.level, arguments.seed, deadline, children, options)

    def told(done: int, outcome: Outcome) -> None:
        line = f"refimpl: {done} of {len(peers)}: {outcome.peer.name} {outcome.status}, {outcome.seconds:.0f} s"
        print(line, file=sys.stderr, flush=True)

    return side_by_side(peers, work, arguments.jobs, told)


def _told(outcomes: Sequence[Outcome], arguments: argparse.Namespace, run: dict[str, Any], name: str) -> int:
    """The table in the form that was asked for, and the exit code."""
    from refimpl.validation import peer_runs

    if arguments.format == "json":
        text = json.dumps({**run, name: peer_runs.as_records(outcomes)}, indent=1, allow_nan=False)
    else:
        text = (peer_runs.as_markdown if arguments.format == "markdown" else peer_runs.as_table)(outcomes)
    emit(text, arguments.out)
    return peer_runs.exit_code(outcomes)
