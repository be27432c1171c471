"""One failure on one screen: what was seen, the smallest configuration that shows it, what it looks like, how to see it again."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from .verdict import FAIL, Verdict

if TYPE_CHECKING:
    from .report import Report

REPEAT, AGAIN = "repeat it: ", "again: "
UNANSWERED = "the call itself"


def replay_command(verdict: Verdict, spec: str = "") -> str:
    """What repeats the smallest configuration, on the target as it was typed, or on what stands for it where none was."""
    return f"refimpl replay {shlex.quote(verdict.reproduced_by)} {shlex.quote(spec) if spec else 'TARGET'}"


def again_command(verdict: Verdict, report: Report) -> str:
    """What repeats one check bit for bit, with the options that were typed and the conventions that were found."""
    found = ["--conventions", report.option] if verdict.convention and report.option else []
    rest = [*report.options, *found, "--level", report.level, "--seed", str(report.seed), "-k", verdict.check]
    return f"refimpl validate {shlex.quote(report.spec) if report.spec else 'TARGET'} {shlex.join(rest)}"


def failures_text(report: Report, width: int) -> list[str]:
    """All failures; a call that fails in the same words once more is told in a line."""
    lines: list[str] = []
    first: dict[str, str] = {}  # the check that told it, by what it told
    for v in report.failures:
        if v.status != FAIL or v.quantity != UNANSWERED or v.detail not in first:
            lines += ["", *failure_text(v, width, report)]
        else:
            lines += ["", f"FAIL  {v.check}: {v.quantity}, as {first[v.detail]} above"]
        if v.status == FAIL and v.quantity == UNANSWERED:
            first.setdefault(v.detail, v.check)
    return lines


def failure_text(verdict: Verdict, width: int, report: Report) -> list[str]:
    """The lines about a failure, or about a declared failure that passed."""
    if verdict.status != FAIL:
        return [f"XPASS {verdict.check}: passed, but was declared to fail: {verdict.expected_failure}"]
    measured = "" if verdict.value is None else f" = {verdict.value:.6g}, bound {verdict.bound:.3g}"
    told = [
        ("", verdict.detail),
        ("smallest: ", verdict.smallest),
        ("looks like: ", "; or: ".join(verdict.causes)),
        (REPEAT, replay_command(verdict, report.spec) if verdict.reproduced_by else ""),
        ("what it checks: ", f"refimpl explain {verdict.check}"),
        (AGAIN, again_command(verdict, report)),
    ]
    lines = [f"FAIL  {verdict.check}: {verdict.quantity}{measured}"]
    for label, text in told:
        if label in (REPEAT, AGAIN) and text:  # in one line, to be copied
            lines.append(f"      {label}{text}")
        elif text:
            lines += textwrap.wrap(
                label + text, width, initial_indent="      ", subsequent_indent="        ", break_on_hyphens=False
            )
    return lines
