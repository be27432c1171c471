"""The command ``peers``: packages of others judged by the oracle, and a table of what was found."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .arguments import command, emit, seconds, seed, writable

EPILOG = """exit codes: 0 all that are installed passed, 1 one failed or did not start, 2 wrong usage, 5 none is installed. Every
target runs in a process of its own; the line above its failures repeats them."""


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
    peers.add_argument("--format", choices=["table", "json", "markdown"], default="table", help="default table")
    peers.add_argument("--out", metavar="FILE", help="write there instead of the terminal")


def _peers(arguments: argparse.Namespace) -> int:
    from refimpl.validation import peer_runs, report
    from refimpl.validation.progress import watched

    writable(arguments.out)
    peers = peer_runs.chosen(arguments.names)
    if arguments.only_list:
        emit("\n".join(f"{p.name:<24}{p.version if p.installed else p.install}" for p in peers), arguments.out)
        return report.OK
    deadline = arguments.deadline or peer_runs.DEADLINE
    outcomes = [
        peer_runs.outcome_of(peer, arguments.level, arguments.seed, deadline)
        for peer in watched(peers, "targets", True, lambda peer: peer.name)
    ]
    if arguments.format == "json":
        record = {"level": arguments.level, "seed": arguments.seed, "peers": peer_runs.as_records(outcomes)}
        text = json.dumps(record, indent=1, allow_nan=False)
    else:
        text = (peer_runs.as_markdown if arguments.format == "markdown" else peer_runs.as_table)(outcomes)
    emit(text, arguments.out)
    return peer_runs.exit_code(outcomes)
