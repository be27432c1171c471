"""The forms of a report as options of ``validate``, and the command ``report``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, emit, writable, write

if TYPE_CHECKING:
    from refimpl.validation import Report

FORMS = ("table", "json", "junit", "markdown", "html")  # written out: importing the oracle would take a second


def add(commands: Any) -> None:
    """Add the command to the parser."""
    report = command(commands, "report", _report, "turn a report that was saved as JSON into another form")
    report.add_argument(
        "file", metavar="FILE", help="written by `refimpl validate --format json` or `--report json=FILE`"
    )
    report.add_argument("--format", choices=FORMS, default="table", help="default table")
    report.add_argument("--out", metavar="FILE", help="write there instead of the terminal")


def options(parser: argparse.ArgumentParser) -> None:
    """Options ``--format``, ``--out`` and ``--report``."""
    parser.add_argument("--format", choices=FORMS, default="table", help="default table")
    parser.add_argument("--out", metavar="FILE", help="write there instead of the terminal")
    parser.add_argument(
        "--report", type=form_and_file, action="append", default=[], metavar="FORMAT=FILE",
        help="write a file besides, such as html=report.html; may be given several times",
    )  # fmt: skip


def form_and_file(text: str) -> tuple[str, str]:
    """The two parts of ``FORMAT=FILE``."""
    form, equals, file = text.partition("=")
    if form not in FORMS or not equals or not file:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected FORMAT=FILE with a FORMAT of {', '.join(FORMS)}")
    return form, file


def writable_files(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be written, or are one, before the work is done; and keep where they are.

    A target may change the working directory, which files go into that are written after it.
    """
    writable(arguments.out)
    writable(arguments.transcript, "--transcript")
    seen = [Path(file).resolve() for file in (arguments.out, arguments.transcript) if file]
    if len(set(seen)) < len(seen):
        raise ValueError(f"--transcript: got {arguments.transcript!r}, which the report is written to")
    for form, file in arguments.report:
        writable(file, f"--report {form}")
        if Path(file).resolve() in seen and not (Path(file).exists() and not Path(file).is_file()):
            raise ValueError(f"--report {form}: got {file!r}, which another report, or the transcript, is written to")
        seen.append(Path(file).resolve())
    for name in ("out", "transcript", "keep"):
        if getattr(arguments, name):
            setattr(arguments, name, os.path.abspath(getattr(arguments, name)))
    arguments.report = [(form, os.path.abspath(file)) for form, file in arguments.report]


def emit_all(report: Report, arguments: argparse.Namespace) -> None:
    """The report in every form that was asked for."""
    from refimpl.validation.reports import FORMS as WRITERS

    for form, file in arguments.report:
        write(Path(file), (WRITERS[form](report) + "\n").encode())
    emit(WRITERS[arguments.format](report), arguments.out)


def _report(arguments: argparse.Namespace) -> int:
    from refimpl.validation.reports import FORMS as WRITERS
    from refimpl.validation.reports import read_report

    writable(arguments.out)
    emit(WRITERS[arguments.format](read_report(arguments.file)), arguments.out)
    return 0
