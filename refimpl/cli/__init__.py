"""The command line.

``validate | explain | report | mutants | papers | peers | vectors | harness | replay``
``exact | bench | sample | analyse | train | reproduce | fit-cv``
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import (
    analysis,
    answers,
    harness,
    mutants,
    oracle,
    papers,
    peers,
    replay,
    reports,
    sampling,
    training,
    variates,
    vectors,
)
from .arguments import in_one_thread

EPILOG = """Begin with `refimpl validate`, which judges the built-in implementation, then `refimpl validate package.module:object`
for yours, or `refimpl harness template cpp` for a program in another language. `refimpl COMMAND --help` has options, defaults and
exit codes; of all commands 0 is success, 2 wrong usage and 130 an interruption."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if sys.stdout is None:  # its descriptor was closed
        print("refimpl: standard output is closed, expected one to write to, such as /dev/null", file=sys.stderr)
        return 2
    arguments, unknown = _parser().parse_known_args(argv)
    parser: argparse.ArgumentParser = vars(arguments).pop("parser")
    if unknown:  # argparse itself would show the usage of refimpl, not of the command
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if vars(arguments).pop("one_thread", False) and argv is None:
        in_one_thread()
    try:
        from refimpl.validation import TargetError, report
        from refimpl.validation.vectors import ChecksumError
    except KeyboardInterrupt:  # it takes a second or two
        print("refimpl: interrupted", file=sys.stderr)
        return 130

    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a process that SIGPIPE ended
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, MemoryError, RecursionError) as error:
        print(f"refimpl: {error or type(error).__name__}", file=sys.stderr)
        return report.USAGE
    except TargetError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return report.NOT_STARTED
    except ChecksumError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return report.BAD_VECTORS
    except KeyboardInterrupt:
        print("refimpl: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refimpl",
        description="Reference implementation and test oracle for samplers in two-dimensional lattice field theory.",
        epilog=EPILOG,
    )
    from refimpl import __version__

    parser.add_argument("--version", action="version", version=f"refimpl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    oracle.add(commands)
    reports.add(commands)
    mutants.add(commands)
    papers.add(commands)
    peers.add(commands)
    vectors.add(commands)
    harness.add(commands)
    replay.add(commands)
    answers.add(commands)
    sampling.add(commands)
    analysis.add(commands)
    training.add(commands)
    variates.add(commands)
    return parser
