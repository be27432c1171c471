"""The commands that judge and say how: ``validate | explain``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import harness, papers, peers, reports
from .arguments import command, conventions, count, parameters_given, probability, seconds, seed, target_parameters
from .endings import ended_by_signals

if TYPE_CHECKING:
    from refimpl.validation.verdict import Verdict

EXIT_CODES = """Where stderr is no terminal, a line there says every half minute how far the run is. exit codes: 0 every check
passed, or was skipped, or failed as declared; 1 a check failed, or passed that was declared to fail; 2 wrong usage; 3 the target
did not start; 4 a file that is shipped has the wrong checksum; 5 nothing ran; 130 interrupted, 143 or 129 ended by a signal"""

FAILURES = "refimpl-failures"
ALPHA, DEADLINE = 1e-6, 120.0

THEORIES = (
    "u1",
    "o2",
    "gaussian",
    "gmm",
    "schwinger",
    "su2",
    "su3",
    "phi4",
)  # written out: importing the oracle for a help text would take a second


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    validate = command(
        commands,
        "validate",
        _validate,
        "judge an implementation by every check that applies to it; without TARGET the built-in one",
        EXIT_CODES,
    )
    validate.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="package.module:object (a target or a factory of one), builtin:NAME, mutant:NAME, model:DIR of a trained one, "
        "cmd:'./harness --flag' of a program in any language, transcript:FILE of what one said, or builtin:all: every built-in "
        "one in a process of its own, dearest first, and a table of what was found",
    )
    validate.add_argument("--theory", choices=THEORIES, help="what TARGET must declare (without TARGET: default u1)")
    target_parameters(validate)
    validate.add_argument(
        "--level",
        choices=["smoke", "standard", "thorough"],
        help="sample sizes: smoke takes seconds, standard (default) half a minute or more, thorough minutes; slow targets longer",
    )
    validate.add_argument(
        "--alpha",
        type=probability,
        help="false-alarm level: the probability that correct code fails anything at all (default 1e-6)",
    )
    validate.add_argument(
        "-k",
        dest="select",
        metavar="EXPR",
        help="only checks whose id contains EXPR, or a pattern such as 'static.*' (default: all that apply)",
    )
    validate.add_argument(
        "--xfail",
        metavar="FILE",
        help='JSON file of known failures, such as {"static.tau_int": "why"}; one that passes counts as a failure',
    )
    conventions(validate, "auto")
    validate.add_argument("--deadline", type=seconds, default=DEADLINE, help="seconds one call may take (default 120)")
    harness.add_options(validate)
    validate.add_argument(
        "--failures",
        metavar="DIR",
        help=f"where the smallest failing configurations go, made only if there are any; none: nowhere (default {FAILURES})",
    )
    validate.add_argument("--seed", type=seed, help="repeats a run bit for bit (default: drawn and printed)")
    text = f"with {peers.ALL}: judge so many at a time (default: as many as there are processors for this process)"
    validate.add_argument("--jobs", type=count, metavar="N", help=text)
    reports.options(validate)

    explain = command(commands, "explain", _explain, "what a check does; without CHECK, the list of checks")
    text = "id of a check, such as maps.jacobian, or a family of them, such as maps; or conventions, for the names of these"
    explain.add_argument("check", nargs="?", metavar="CHECK", help=text)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OSError(
            f"--xfail: got {path!r}, expected a JSON file: {getattr(error, 'strerror', None) or error}"
        ) from error


@ended_by_signals()
def _validate(arguments: argparse.Namespace) -> int:
    if arguments.target == peers.ALL:
        return peers.judge_built_in(arguments, {"deadline": DEADLINE, "report": []})
    if arguments.jobs is not None:
        raise ValueError(f"--jobs: got it with {arguments.target or 'one target'}, expected {peers.ALL}")
    from refimpl.validation import check_target
    from refimpl.validation.contract import Subject
    from refimpl.validation.known import known_failures_in

    reports.writable_files(arguments)
    folder = _failures(arguments.failures)
    whole_path = folder and folder.absolute()  # wherever a target goes
    arguments.known = (
        None if arguments.xfail is None else known_failures_in(_text(arguments.xfail), f"--xfail: {arguments.xfail}")
    )
    parameters = parameters_given(arguments)
    with harness.opened(arguments, parameters) as target:
        if arguments.target is not None and arguments.theory is not None:
            declared = Subject(target, parameters=parameters).theory.name
            if declared != arguments.theory:
                raise ValueError(f"--theory: got {arguments.theory}, but the target declares {declared}")
        report = check_target(
            target,
            level=arguments.level,
            alpha=arguments.alpha,
            seed=arguments.seed,
            select=arguments.select,
            expected_failures=arguments.known,
            parameters=parameters,
            deadline=arguments.deadline,
            progress=True,
            failures=whole_path,
            command=shlex.join(["refimpl", *sys.argv[1:]]),
            conventions=arguments.conventions,
            spec=arguments.target or f"builtin:{arguments.theory or 'u1'}",
            options=_options(arguments),
        )
    if folder is not None:
        report = replace(report, verdicts=tuple(_as_given(verdict, folder) for verdict in report.verdicts))
    reports.emit_all(report, arguments)
    if not report.verdicts:
        from refimpl.validation.battery import matching

        if others := matching(arguments.select):
            print(
                f"refimpl: {', '.join(others)}: do not apply to this target: {_declared(report.parameters)}",
                file=sys.stderr,
            )
        else:
            print(f"refimpl: no check matches {arguments.select!r}; refimpl explain lists them", file=sys.stderr)
    if written := {verdict.reproduced_by for verdict in report.verdicts if verdict.reproduced_by}:
        files = "file" if len(written) == 1 else "files"
        print(f"refimpl: {len(written)} vector {files} in {folder}; --failures none writes none", file=sys.stderr)
    return report.exit_code


def _options(arguments: argparse.Namespace) -> list[str]:
    """Those that were typed and that a verdict depends on, beside the level, the seed and what is selected."""
    told = []
    for name, value in parameters_given(arguments).items():
        option = "--steps" if name == "n_steps" else f"--{name.replace('_', '-')}"
        told += [option, *map(str, value if isinstance(value, tuple) else (value,))]
    for name, default in {"alpha": ALPHA, "conventions": "auto", "deadline": DEADLINE, "xfail": None}.items():
        if (value := getattr(arguments, name)) != default:
            told += [f"--{name}", str(value)]
    return told


def _failures(given: str | None) -> Path | None:
    """The folder for failing configurations; refused before work is done for it if it cannot be one."""
    path = Path(FAILURES if given is None else given)
    if given == "none":
        return None
    if given == "" or (path.exists() and not path.is_dir()) or not path.resolve().parent.is_dir():
        if given is None:  # nobody asked for it
            return None
        raise ValueError(f"--failures: got {given!r}, expected a folder, or a new one inside one that exists")
    return path


def _as_given(verdict: Verdict, folder: Path) -> Verdict:
    """With the path of its vector file as it is typed where the command was."""
    path = verdict.reproduced_by
    return replace(verdict, reproduced_by=str(folder / Path(path).name)) if path else verdict


def _declared(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in parameters.items())


def _explain(arguments: argparse.Namespace) -> int:
    from refimpl.validation.checks import BY_ID, CHECKS
    from refimpl.validation.conventions import NAMED
    from refimpl.validation.mutants import MUTANTS

    families = {check.id.partition(".")[0]: True for check in CHECKS}
    if arguments.check is None or arguments.check in families:
        for check in CHECKS:
            if arguments.check in (None, check.id.partition(".")[0]):
                print(f"{check.id:<34}{check.explanation.splitlines()[0]}")
        return 0
    if arguments.check == "conventions":
        print("\n".join(f"{name:<18}{convention.told}" for name, convention in NAMED.items()))
        return 0
    if arguments.check not in BY_ID:
        family = arguments.check.partition(".")[0]
        known = [check.id for check in CHECKS if check.id.startswith(f"{family}.")]
        expected = f"one of {', '.join(known)}" if known else f"a check, or a family of them: {', '.join(families)}"
        raise ValueError(f"CHECK: got {arguments.check!r}, expected {expected}")
    check = BY_ID[arguments.check]
    needs = ", and ".join(" or ".join(any_of) for any_of in check.needs)
    print(f"{check.id}\n\n{check.explanation}\n\nneeds: {needs}")
    print(
        f"kind: {'statistical: spends part of the false-alarm level' if check.statistical else 'deterministic: no false alarms'}"
    )
    reversals = "" if check.offering else f"; reversals: {', '.join(check.reversals)}"  # densities have none
    print(f"theories: {', '.join(check.theories)}{reversals}")
    for line in papers.equations_of(check.id):
        print(f"proves: {line}")
    for mutant in MUTANTS:
        if check.id in mutant.killed_by:
            print(f"kills: {mutant.__name__}: {(mutant.__doc__ or '').strip()}")
    return 0
