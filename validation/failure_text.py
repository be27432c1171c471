"""One failure on one screen: what was seen, the smallest configuration that shows it, what it looks like, how to see it again."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Collection
from typing import TYPE_CHECKING

from .verdict import FAIL, Verdict

if TYPE_CHECKING:
    from .report import Report

REPEAT, CHECKS, AGAIN = "repeat it: ", "what it checks: ", "again: "
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
    """All failures: the first one at length, of the others what is new; what is the same for all comes at the end.

    One mistake fails many checks. They stand in the order of what they rest on, so that the first one is the most basic.
    """
    lines: list[str] = []
    first: dict[str, str] = {}  # the check that told it, by what it told
    failed = [v for v in report.failures if v.status == FAIL]
    general = _any_check(failed[0], report) if len(failed) > 1 else ""
    said: set[str] = set()
    for v in report.failures:
        unanswered = v.status == FAIL and v.quantity == UNANSWERED
        if unanswered and v.detail in first:
            lines += ["", f"FAIL  {v.check}: {v.quantity}, as {first[v.detail]} above"]
            continue
        if unanswered:
            first[v.detail] = v.check
        lines += ["", *failure_text(v, width, report, said, general if said else "")]
        if v.status == FAIL:
            said |= {text for _, text in _told(v, report)}
    if general:
        lines += ["", f"any of them again: {general}", "what one checks: refimpl explain CHECK"]
    return lines


def first_failure(report: Report) -> str:
    """Where to begin, if more than one check failed."""
    failed = [v.check for v in report.failures if v.status == FAIL]
    if len(failed) < 2:
        return ""
    return f"begin with {failed[0]}: checks stand in the order of what they rest on, and one mistake fails many"


def _any_check(verdict: Verdict, report: Report) -> str:
    """What repeats a check, whichever it is."""
    return again_command(verdict, report).removesuffix(shlex.quote(verdict.check)) + "CHECK"


def _told(verdict: Verdict, report: Report) -> list[tuple[str, str]]:
    """What is said below the first line, with what introduces it."""
    return [
        ("", verdict.detail),
        ("smallest: ", verdict.smallest),
        ("looks like: ", "; or: ".join(verdict.causes)),
        (REPEAT, replay_command(verdict, report.spec) if verdict.reproduced_by else ""),
        (CHECKS, f"refimpl explain {verdict.check}"),
        (AGAIN, again_command(verdict, report)),
    ]


def failure_text(
    verdict: Verdict, width: int, report: Report, said: Collection[str] = (), general: str = ""
) -> list[str]:
    """The lines about a failure, or about a declared failure that passed, without what was ``said`` already.

    ``general``: what repeats any check is told elsewhere.
    """
    if verdict.status != FAIL:
        return [f"XPASS {verdict.check}: passed, but was declared to fail: {verdict.expected_failure}"]
    measured = "" if verdict.value is None else f" = {verdict.value:.6g}, bound {verdict.bound:.3g}"
    lines = [f"FAIL  {verdict.check}: {verdict.quantity}{measured}"]
    for label, text in _told(verdict, report):
        elsewhere = general and (label == CHECKS or (label == AGAIN and general == _any_check(verdict, report)))
        if not text or text in said or elsewhere:
            continue
        if label in (REPEAT, AGAIN):  # in one line, to be copied
            lines.append(f"      {label}{text}")
        else:
            lines += textwrap.wrap(
                label + text, width, initial_indent="      ", subsequent_indent="        ", break_on_hyphens=False
            )
    return lines
