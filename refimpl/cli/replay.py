"""The command ``replay``: the calls of vector files repeated on a target."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, positive

if TYPE_CHECKING:
    from refimpl.validation.contract import Subject
    from refimpl.validation.replay import Comparison
    from refimpl.validation.vector_files import Vector

EXIT_CODES = """exit codes: 0 every answer agrees, 1 one does not, 2 wrong usage or no vector file, 3 the target did not start,
4 a vector file has the wrong checksum, 5 the target has none of the functions"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    replay = command(
        commands, "replay", _replay, "repeat the calls of vector files, golden ones or those of failures", EXIT_CODES
    )
    replay.add_argument(
        "arguments",
        nargs="+",
        metavar="FILE [FILE ...] [TARGET]",
        help="the .json of vectors; then the target, as for validate (default: the built-in one of the theory)",
    )
    replay.add_argument("--deadline", type=positive, default=120.0, help="seconds one call may take (default 120)")
    replay.add_argument("-v", "--verbose", action="store_true", help="also what is returned at each step")


def _replay(arguments: argparse.Namespace) -> int:
    from refimpl.validation import report, vectors

    paths, target = _split(arguments.arguments)
    codes = [_one(vectors.read(path), path, target, arguments) for path in paths]
    for code in (report.NOT_STARTED, report.FAILED):
        if code in codes:
            return code
    return report.OK if report.OK in codes else report.NOTHING_RAN


def _split(given: list[str]) -> tuple[list[Path], str | None]:
    """Files, and the target if there is one, which comes last."""
    is_file = [Path(text).suffix == ".json" for text in given]
    if not is_file[0] or not all(is_file[:-1]):
        wrong = next(text for text, good in zip(given, is_file, strict=True) if not good)
        raise ValueError(f"FILE: got {wrong!r}, expected .json files of vectors, and a target after them")
    return [Path(text) for text, good in zip(given, is_file, strict=True) if good], None if is_file[-1] else given[-1]


def _one(vector: Vector, path: Path, target: str | None, arguments: argparse.Namespace) -> int:
    from refimpl.validation import report
    from refimpl.validation.contract import Subject, TargetFault
    from refimpl.validation.replay import answers, callable_on, made_for
    from refimpl.validation.targets import target_named

    theory = vector.about["theory"]
    subject = Subject(target_named(target, None if theory == "any" else theory), deadline=arguments.deadline)
    at, told = made_for(subject, vector)
    print(f"{path}: {vector.comment}")
    print(f"{at.name}: {_parameters(at)}{told}")
    if not callable_on(at, vector):
        print("nothing ran: it has none of the functions that are called, or the file has no calls\n")
        return report.NOTHING_RAN
    try:
        kept, comparisons = answers(at, vector)
    except TargetFault as fault:
        print(f"FAIL    {fault}\n")
        return report.FAILED
    if arguments.verbose:
        for name, value in kept.items():
            print(f"        {name} = {_short(value)}")
    for comparison in comparisons:
        print(_line(comparison))
    agree = sum(comparison.good for comparison in comparisons)
    print(f"{agree} of {len(comparisons)} answers agree\n")
    return report.OK if agree == len(comparisons) else report.FAILED


def _line(comparison: Comparison) -> str:
    where = f" at {comparison.worst}" if comparison.worst else ""
    return (
        f"{'agrees' if comparison.good else 'FAIL':<8}{comparison.function:<22}{comparison.name:<22}"
        f"off by {comparison.error:<9.3g} allowed {comparison.tolerance:<9.3g}"
        f"got {_number(comparison.got)}, expected {_number(comparison.expected)}{where}"
    )


def _number(value: Any) -> str:
    try:
        return f"{value:.12g}"
    except (TypeError, ValueError):
        return str(value)


def _short(value: Any) -> str:
    import numpy as np

    text = np.array2string(np.asarray(value), precision=6, threshold=16, edgeitems=2, separator=", ")
    return " ".join(text.split())[:160]


def _parameters(at: Subject) -> str:
    values = at.theory.declared() | {
        n: at.parameter(n) for n in ("step_size", "n_steps") if at.parameter(n) is not None
    }
    return ", ".join(["theory = " + at.theory.name, *(f"{name} = {value}" for name, value in values.items())])
