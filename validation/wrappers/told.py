"""A survey in words: a table of the bugs, and a summary that says what would see the ones that are missed."""

from __future__ import annotations

import shutil
import textwrap
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from ..report import plain
from .advice import Advice
from .survey import MISSED, NOTHING, SEEN, Outcome, Survey

LABELS = {SEEN: "seen", MISSED: "MISSED", NOTHING: "same"}
CHECK_WIDTH, NAME_WIDTH = 34, 29


def table(of: Survey, width: int | None = None) -> str:
    """One line a bug, then the summary."""
    width = width or max(100, min(180, shutil.get_terminal_size((140, 24)).columns))
    parameters = ", ".join(f"{name} = {value}" for name, value in of.parameters.items())
    lines = [f"{of.target}: {parameters}; level {of.level}, seed {of.seed}", ""]
    if of.convention:
        lines[1:1] = _wrapped(f"conventions: {of.convention}", width)
    head = f"{'':8}{'mutant':<{NAME_WIDTH}}{'seen by':<{CHECK_WIDTH}}{'measured':>9}{'bound':>9}{'samples':>9}  "
    lines.append(f"{head}what is broken")
    for outcome in of.outcomes:
        lines += _rows(outcome, width, len(head))
    return "\n".join([*lines, "", *summary(of, width)])


def _rows(outcome: Outcome, width: int, indent: int) -> list[str]:
    label, name = LABELS[outcome.status], outcome.bug
    if not outcome.verdicts:
        said = "changes nothing here" if outcome.status == NOTHING else ""
        return [f"{label:<8}{name:<{NAME_WIDTH}}{said:<{indent - NAME_WIDTH - 8}}{_short(outcome, width - indent)}"]
    rows = []
    for i, v in enumerate(outcome.verdicts):
        value = "" if v.value is None else f"{v.value:.2g}"
        bound = "" if v.bound is None else f"{v.bound:.2g}"
        start = f"{label:<8}{name:<{NAME_WIDTH}}" if i == 0 else " " * (8 + NAME_WIDTH)
        told = _short(outcome, width - indent) if i == 0 else ""
        rows.append(
            f"{start}{v.check or v.quantity:<{CHECK_WIDTH}}{value:>9}{bound:>9}{v.samples or '':>9}  {told}".rstrip()
        )
    return rows


def _short(outcome: Outcome, width: int) -> str:
    return textwrap.shorten(outcome.description, max(30, width), placeholder=" ...")


def summary(of: Survey, width: int = 100) -> list[str]:
    """How many bugs the set-up would see, and what would see the others."""
    seen, missed, same = (of.of(status) for status in (SEEN, MISSED, NOTHING))
    lines = []
    for verdict in of.failing:
        told = f"{verdict.check} fails on the target as it is, and was left out: mend that first"
        lines += _wrapped(f"{told}, or name its conventions (--conventions).", width)
    could = len(seen) + len(missed)
    lines += _wrapped(
        f"Of {could} bugs that could be in your code, your set-up would see {len(seen)}"
        + (f"; {len(same)} others change nothing here" if same else "")
        + f"; {of.total - len(of.outcomes)} more do not apply to this target; {of.seconds:.0f} s.",
        width,
    )
    for advice, bugs in grouped(missed):
        names = ", ".join(sorted(bugs))
        lines += _wrapped(f"Missed: {names}: {_told(advice, of.level)}.", width)
    return lines


def grouped(missed: list[Outcome]) -> list[tuple[list[Advice], list[str]]]:
    """The missed bugs under advice of one kind: what helps most of those that are left, again and again.

    Of what helps as many, a larger sample goes before functions, and few functions before many.
    """
    left, out = list(missed), list[tuple[list[Advice], list[str]]]()
    while left:
        helped: dict[tuple[str, str], dict[str, Advice]] = defaultdict(dict)
        for outcome in left:
            for advice in reversed(outcome.advice):
                helped[advice.kind, advice.what][outcome.bug] = advice
        if not helped:
            return [*out, ([], [outcome.bug for outcome in left])]
        key = max(helped, key=lambda key: (len(helped[key]), key[0] == "level", -len(key[1].split(" and "))))
        out.append((list(helped[key].values()), list(helped[key])))
        left = [outcome for outcome in left if outcome.bug not in helped[key]]
    return out


def _told(advice: list[Advice], level: str) -> str:
    if not advice:
        return "no check of this theory is known to see it"
    checks = ", ".join(sorted({one.check for one in advice}))
    kind, what = advice[0].kind, advice[0].what
    if kind == "offer":
        return f"offer {what} (for {checks})"
    if kind == "mend":
        return f"{checks} would see it, but fails on the target as it is"
    if kind == "skipped":
        return f"{checks} would see it, but says nothing here: {what}"
    if what == level:
        return f"seen on a built-in target at this level, by {checks}: try other parameters, or a higher --level"
    return f"seen on the built-in target with --level {what}, by {checks}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="    ")


def as_record(of: Survey) -> dict[str, Any]:
    """For JSON."""
    return plain(
        {
            "target": of.target,
            "parameters": {
                name: getattr(value, "tolist", lambda value=value: value)() for name, value in of.parameters.items()
            },
            "convention": of.convention,
            "level": of.level,
            "seed": of.seed,
            "seen": len(of.of(SEEN)),
            "missed": len(of.of(MISSED)),
            "change_nothing": len(of.of(NOTHING)),
            "do_not_apply": of.total - len(of.outcomes),
            "own_failures": [{"check": v.check, "detail": v.detail} for v in of.failing],
            "summary": " ".join(summary(of)),
            "seconds": of.seconds,
            "mutants": [_entry(outcome) for outcome in of.outcomes],
        }
    )


def _entry(outcome: Outcome) -> dict[str, Any]:
    verdicts = [
        {"check": v.check, "quantity": v.quantity, "value": v.value, "bound": v.bound, "samples": v.samples}
        for v in outcome.verdicts
    ]
    return {
        "name": outcome.bug,
        "broken": outcome.description,
        "status": outcome.status,
        "seen_by": verdicts,
        "advice": [asdict(advice) for advice in outcome.advice],
        "seconds": outcome.seconds,
    }
