"""The command ``mutants``: wrong implementations, and which check kills which."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .arguments import command, emit, seed_and_output, writable


def add(commands: Any) -> None:
    """Add the command to the parser."""
    mutants = command(
        commands,
        "mutants",
        _mutants,
        "judge wrong implementations, and show which check kills which",
        "exit 1 if any lives",
    )
    mutants.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    mutants.add_argument("--level", choices=["smoke", "standard", "thorough"], default="standard", help="sample sizes")
    mutants.add_argument(
        "--all", action="store_true", dest="everything", help="run the whole battery, show all that kill"
    )
    mutants.add_argument(
        "--signatures",
        metavar="FILE",
        help="instead: which checks fail on which (by cheap checks), the file that likely causes of failures are read from",
    )
    seed_and_output(mutants)


def _mutants(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from refimpl.validation import mutants, report

    writable(arguments.out)
    if unknown := sorted(set(arguments.names) - set(mutants.BY_NAME)):
        raise ValueError(f"NAME: got {', '.join(unknown)}, expected one of {', '.join(mutants.BY_NAME)}")
    if arguments.signatures is not None:
        from refimpl.validation import signatures

        writable(arguments.signatures, "--signatures")
        found = signatures.measured_all(arguments.names, arguments.seed or 0, progress=True)
        emit(signatures.as_json(found), arguments.signatures)
        return report.OK
    kills = mutants.run_mutants(
        arguments.names,
        level=arguments.level,
        seed=arguments.seed or 0,
        everything=arguments.everything,
        progress=True,
    )
    if arguments.format == "json":
        text = json.dumps(report.plain([asdict(kill) | {"killed": kill.killed} for kill in kills]), indent=1)
    else:
        text = mutants.table(kills)
    emit(text, arguments.out)
    return report.OK if all(kill.killed for kill in kills) else report.FAILED
