"""The command ``mutants``: wrong implementations, those of the bank and those made of any target, and which check sees which."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from .arguments import (
    command,
    conventions,
    emit,
    parameters_given,
    seconds,
    seed_and_output,
    target_parameters,
    writable,
)
from .endings import ended_by_signals

EPILOG = """All bugs of a fast TARGET take a minute or two at the level smoke, the bank much longer; where stderr is no terminal,
a line there says every half minute how far it is. exit codes: 0 every mutant is killed (with TARGET: every bug that could be in
it is seen), 1 one lives, or TARGET itself fails a check, 2 wrong usage, 3 TARGET did not start, 5 no mutant applies. A bug that is
missed is no fault of the code: it says what the set-up (the functions on offer, the level, the parameters) is blind to."""
DEADLINE = 120.0


def add(commands: Any) -> None:
    """Add the command to the parser."""
    mutants = command(
        commands,
        "mutants",
        _mutants,
        "judge wrong implementations, and show which check kills which; with TARGET: break it in every way that applies, and say "
        "which bugs would be missed",
        EPILOG,
    )
    mutants.add_argument(
        "names",
        nargs="*",
        metavar="NAME | TARGET",
        help="mutants of the bank, only these (default: all); or one target, as for validate (it has a colon)",
    )
    mutants.add_argument(
        "--level",
        choices=["smoke", "standard", "thorough"],
        help="sample sizes (default: standard for the bank, smoke for TARGET)",
    )
    mutants.add_argument(
        "-k", dest="select", metavar="EXPR", help="only mutants whose name contains EXPR, or a pattern such as '*Force'"
    )
    mutants.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help="do not stop at the first check that sees a bug (of the bank: at those it names): show all that do",
    )
    target_parameters(mutants)
    conventions(mutants, "ours")
    mutants.add_argument("--deadline", type=seconds, help="seconds one call of TARGET may take (default 120)")
    mutants.add_argument(
        "--signatures",
        metavar="FILE",
        help="instead: which checks fail on which (by cheap checks), into the file that likely causes of failures are read from: "
        "what is not yet in it is added; those named are measured anew",
    )
    seed_and_output(mutants, "of the bank 0, of TARGET drawn and printed")


def _mutants(arguments: argparse.Namespace) -> int:
    writable(arguments.out)
    targets = [name for name in arguments.names if ":" in name]
    if not targets:
        return _bank(arguments)
    if len(arguments.names) > 1:
        raise ValueError(
            f"NAME | TARGET: got {' '.join(arguments.names)}, expected names of the bank or one TARGET; to choose among the "
            "mutants of a target: -k EXPR"
        )
    return _around(targets[0], arguments)


def _bank(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from refimpl.validation import mutants, report
    from refimpl.validation.wrappers import named_so

    others = [name for name in ("deadline", "conventions") if getattr(arguments, name) is not None]
    if given := [*parameters_given(arguments), *others]:
        option = "steps" if given[0] == "n_steps" else given[0].replace("_", "-")
        raise ValueError(f"--{option}: got it without TARGET, for which it is")
    if unknown := sorted(set(arguments.names) - set(mutants.BY_NAME)):
        raise ValueError(
            f"NAME: got {', '.join(unknown)}, expected a TARGET (with a colon), or one of {', '.join(mutants.BY_NAME)}"
        )
    names = [name for name in arguments.names or mutants.BY_NAME if named_so(name, arguments.select)]
    if not names:
        raise ValueError(f"-k: got {arguments.select!r}, expected part of the name of a mutant, or a pattern")
    if arguments.signatures is not None:
        return _signatures(arguments, names)
    kills = mutants.run_mutants(
        names,
        level=arguments.level or "standard",
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


def _signatures(arguments: argparse.Namespace, names: list[str]) -> int:
    """Those that are not yet in the file are added to it, one by one, so that an end before the end loses little."""
    from refimpl.validation import report, signatures

    file = Path(arguments.signatures)
    writable(arguments.signatures, "--signatures")
    found = dict(signatures.known(file)) if file.exists() else {}
    chosen = arguments.names or arguments.select
    missing = [name for name in names if chosen or name not in found]
    for name, signature in signatures.measuring(missing, arguments.seed or 0, progress=True):
        found[name] = signature
        emit(signatures.as_json(found), arguments.signatures)
    print(f"refimpl: {len(missing)} measured, {len(found)} in {file}", file=sys.stderr)
    return report.OK


@ended_by_signals()
def _around(target: str, arguments: argparse.Namespace) -> int:
    from refimpl.validation import report
    from refimpl.validation.battery import convention_of
    from refimpl.validation.conventions import converted
    from refimpl.validation.remote import RemoteFactory
    from refimpl.validation.targets import target_named
    from refimpl.validation.wrappers.survey import survey
    from refimpl.validation.wrappers.told import as_record, table

    if arguments.signatures is not None:
        raise ValueError("--signatures: got it with TARGET, expected it without: it is of the bank")
    made, parameters, deadline = target_named(target), parameters_given(arguments), arguments.deadline or DEADLINE
    try:
        name = arguments.conventions or "ours"
        convention = convention_of(made, name, parameters=parameters, deadline=deadline)
        found = survey(
            converted(made, convention, deadline=deadline) if convention.size else made,
            level=arguments.level or "smoke",
            seed=arguments.seed,
            select=arguments.select,
            parameters=parameters,
            deadline=deadline,
            everything=arguments.everything,
            progress=True,
        )
    finally:
        if isinstance(made, RemoteFactory):
            made.source.close()
    found = replace(found, convention=convention.told if convention.size else "")
    text = json.dumps(as_record(found), indent=1, allow_nan=False) if arguments.format == "json" else table(found)
    emit(text, arguments.out)
    if not found.outcomes:
        return report.NOTHING_RAN
    return report.FAILED if found.of("missed") or found.failing else report.OK
