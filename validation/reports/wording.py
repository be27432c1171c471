"""What several forms of a report say in the same words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..report import FAILED, OK, Report, label, skips
from ..verdict import FAIL, Verdict

HEADLINES = {OK: "PASSED", FAILED: "FAILED"}
LONGEST_VALUE = 200


def headline(report: Report) -> str:
    """PASSED, FAILED or NOTHING RAN."""
    return HEADLINES.get(report.exit_code, "NOTHING RAN")


OUTCOMES = {
    "pass": "passed",
    "FAIL": "failed",
    "XPASS": "passed unexpectedly",
    "known": "failed as declared",
    "skip": "skipped",
}


def outcomes(report: Report) -> list[tuple[str, str, int]]:
    """Outcomes with what they are called and how often they occurred; the unusual ones only where they did."""
    labels = [label(v) for v in report.verdicts]
    return [
        (name, told, labels.count(name))
        for name, told in OUTCOMES.items()
        if name in ("pass", "FAIL", "skip") or name in labels
    ]


def counted(report: Report) -> str:
    """Such as ``52 passed, 1 failed, 0 skipped``; known failures and unexpected passes by themselves, where there are any."""
    return ", ".join(skips(report) if name == "skip" else f"{n} {told}" for name, told, n in outcomes(report))


def told_once(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The same, without causes that one before has, and without the same reason why no smallest configuration is told."""
    causes: set[tuple[str, ...]] = set()
    reasons: set[str] = set()
    out = []
    for v in verdicts:
        shown = replace(v, causes=()) if v.causes in causes else v
        out.append(replace(shown, smallest="") if v.smallest in reasons else shown)
        causes.add(v.causes)
        reasons |= {v.smallest} - ({v.smallest} if v.reproduced_by else set())
    return out


def parameters(report: Report) -> dict[str, str]:
    """Parameters as short texts."""
    return {
        name: textwrap.shorten(str(value), LONGEST_VALUE, placeholder=" ...")
        for name, value in report.parameters.items()
    }


def promise(report: Report) -> str:
    """What the level of false alarms means."""
    return (
        f"A correct implementation fails anything in such a run with a probability of at most {report.alpha:.1g} "
        f"({report.ledger['spent']:.2g} spent, {report.ledger['remaining']:.2g} left)."
    )


def ran(report: Report) -> str:
    """How many checks ran, of how many."""
    s = report.summary()
    told = f"{s['applicable']} apply to this target, {s['total']} there are in all."
    return f"Ran {s['ran']} of {s['selected']} selected checks; {told}"


def number(value: float | None) -> str:
    """Two digits, as in the terminal table."""
    return "" if value is None else f"{value:.2g}"


def measured(v: Verdict) -> str:
    """What was found in a failure, against its bound."""
    if v.status != FAIL:
        return f"{v.quantity}: passed, but was declared to fail: {v.expected_failure}"
    return v.quantity if v.value is None else f"{v.quantity} = {v.value:.6g}, bound {v.bound:.3g}"


def family(check: str) -> str:
    """The first part of the id of a check."""
    return check.partition(".")[0]


def families(report: Report) -> dict[str, dict[str, int]]:
    """How many checks of every family have which outcome, were not selected, or do not belong to the target."""
    columns = ("pass", "FAIL", "XPASS", "known", "skip", "not selected", "not for this target")
    found: dict[str, dict[str, int]] = {}

    def count(checks: Iterable[str], column: str) -> None:
        for check in checks:
            found.setdefault(family(check), dict.fromkeys(columns, 0))[column] += 1

    for v in report.verdicts:
        count([v.check], label(v))
    count(report.unselected, "not selected")
    count(report.elsewhere, "not for this target")
    return found


def explained(check: str) -> str:
    """What a check does; nothing for the check of another version."""
    from ..checks import BY_ID

    return BY_ID[check].explanation if check in BY_ID else ""


def declared(values: Mapping[str, Any]) -> str:
    """``name = value``, with commas between."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())
