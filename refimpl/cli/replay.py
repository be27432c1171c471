"""The command ``replay``: the calls of vector files repeated on a target."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, conventions, seconds
from .endings import ended_by_signals

if TYPE_CHECKING:
    from refimpl.validation.contract import Subject
    from refimpl.validation.replay import Comparison
    from refimpl.validation.vector_files import Vector

EXIT_CODES = """exit codes: 0 every answer agrees, 1 one does not, 2 wrong usage or no vector file, 3 the target did not start,
4 a vector file has the wrong checksum, 5 nothing was compared:
the target has none of the functions, or cannot be made at the parameters"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    replay = command(
        commands, "replay", _replay, "repeat the calls of vector files, golden ones or those of failures", EXIT_CODES
    )
    replay.add_argument(
        "arguments",
        nargs="+",
        metavar="FILE [FILE ...] [TARGET]",
        help="the .json of vectors; then the target, as for validate (default: the built-in one of the theory), or, for the "
        "pieces of vectors, package.module with functions of their names",
    )
    replay.add_argument("--deadline", type=seconds, default=120.0, help="seconds one call may take (default 120)")
    conventions(replay, "ours")
    replay.add_argument("-v", "--verbose", action="store_true", help="also what is returned at each step")


@ended_by_signals()
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

    print(f"{path}: {vector.comment}")
    codes = []
    if vector.about.get("pieces"):
        codes.append(_pieces(vector, target))
    if vector.about.get("calls") or not codes:
        codes.append(_calls(vector, target, arguments))
    for code in (report.FAILED, report.OK):
        if code in codes:
            return code
    return report.NOTHING_RAN


def _calls(vector: Vector, target: str | None, arguments: argparse.Namespace) -> int:
    from refimpl.validation import report
    from refimpl.validation.battery import convention_of
    from refimpl.validation.contract import Subject, TargetFault
    from refimpl.validation.conventions import converted
    from refimpl.validation.remote import RemoteFactory
    from refimpl.validation.replay import answers, callable_on, left_out, made_for, misfit
    from refimpl.validation.targets import target_named

    theory = vector.about["theory"]
    made = target_named(target, None if theory == "any" else theory)
    try:
        convention = convention_of(made, arguments.conventions or "ours", deadline=arguments.deadline)
        own = converted(made, convention, deadline=arguments.deadline) if convention.size else made
        at, told = made_for(Subject(own, deadline=arguments.deadline), vector)
        print(f"{at.name}: {_parameters(at)}{told}")
        if convention.size:
            print(f"conventions: {convention.told}")
        if not callable_on(at, vector):
            print("nothing ran: it has none of the functions that are called, or the file has no calls\n")
            return report.NOTHING_RAN
        if told := misfit(at, vector):
            print(f"nothing ran: {told}\n")
            return report.NOTHING_RAN
        kept, comparisons = answers(at, vector)
    except TargetFault as fault:
        print(f"FAIL    {fault}\n")
        return report.FAILED
    finally:
        if isinstance(made, RemoteFactory):  # its processes end here
            made.source.close()
    if arguments.verbose:
        for name, value in kept.items():
            print(f"        {name} = {_short(value)}")
    code = _told(comparisons)
    if vector.about.get("expected") != "invalid" and (rest := left_out(at, vector)):
        _tell(rest, len(vector.about["calls"]), "calls")
    return code


def _tell(left_out: list[tuple[str, str]], n: int, what: str) -> None:
    """What was not repeated, by reason: answers that agree say nothing of it."""
    print(f"only {n - len(left_out)} of {n} {what} were repeated, not")
    for reason in dict.fromkeys(reason for _, reason in left_out):
        names = [name for name, other in left_out if other == reason]
        print(f"        {', '.join(dict.fromkeys(names))}: {reason}")
    print()


def _pieces(vector: Vector, target: str | None) -> int:
    """The pieces of a vector, by this package or by the functions of a module; a stranger's function may raise anything."""
    from refimpl.validation import report
    from refimpl.validation.pieces import answered, pieces_of
    from refimpl.validation.references.pieces import function_named

    functions = function_named if target is None else _functions_of(target)
    comparisons: list[Comparison] = []
    names, raised = list(dict.fromkeys(entry["piece"] for entry in pieces_of(vector))), 0
    missing: list[tuple[str, str]] = []
    for name in names:
        if (function := functions(name)) is None:
            missing.append((name, f"{target} has no such function"))
            continue
        known = {name: function}
        try:
            comparisons += answered(vector, known.get)
        except Exception as error:  # noqa: BLE001 (a function of a stranger may raise anything)
            raised += 1
            print(f"FAIL    {name} raised {type(error).__name__}: {str(error)[:200]}")
    if not comparisons and not raised:
        print(f"nothing ran: {target} has none of the functions that are pieces of this vector\n")
        return report.NOTHING_RAN
    code = _told(comparisons, raised)
    if missing:
        _tell(missing, len(names), "pieces")
    return code


def _functions_of(target: str) -> Callable[[str], Callable[..., Any] | None]:
    """Those of ``package.module``, or of an object in it, by the name of a piece or its last parts, such as u1.plaquette."""
    from refimpl.validation.loading import load_module, load_target

    root = load_target(target) if ":" in target else load_module(target)

    def found(name: str) -> Callable[..., Any] | None:
        parts = name.split(".")
        for k in range(len(parts)):
            value: Any = root
            for part in parts[k:]:
                value = getattr(value, part, None)
            if callable(value):
                return value
        return None

    return found


def _told(comparisons: list[Comparison], raised: int = 0) -> int:
    from refimpl.validation import report

    widths = [max((len(name) for name in names), default=0) for names in _names(comparisons)]
    for comparison in comparisons:
        print(_line(comparison, *widths))
    if not comparisons and not raised:
        print(
            "nothing ran: no call compares anything that the target could be asked for, at the parameters of the calls\n"
        )
        return report.NOTHING_RAN
    agree, n = sum(comparison.good for comparison in comparisons), len(comparisons) + raised
    print(f"{agree} of {n} answers agree\n")
    return report.OK if agree == n else report.FAILED


def _names(comparisons: list[Comparison]) -> tuple[list[str], list[str]]:
    return [comparison.function for comparison in comparisons], [comparison.name for comparison in comparisons]


def _line(comparison: Comparison, function: int, name: int) -> str:
    """With names in columns of these widths."""
    where = f" at {comparison.worst}" if comparison.worst else ""
    circle = " (mod 2 pi)" if comparison.on_circle else ""
    return (
        f"{'agrees' if comparison.good else 'FAIL':<8}{comparison.function:<{function}}  {comparison.name:<{name}}  "
        f"off by {comparison.error:<9.3g} allowed {comparison.tolerance:<9.3g} "
        f"got {_number(comparison.got)}, expected {_number(comparison.expected)}{circle}{where}"
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
