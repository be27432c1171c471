"""Markdown: for a README, or the summary of a job."""

from __future__ import annotations

import html
import re

from ..failure_text import again_command, first_failure, replay_command
from ..report import Report, assumed, effort, label
from ..verdict import PASS, SKIP, Verdict
from .wording import counted, declared, headline, measured, number, parameters, promise, ran, told_once

SPECIAL = re.compile(r"([\\`*_{}\[\]!|~$]|^[#+\-=]|(?<=^\d)[.)])")


def as_markdown(report: Report) -> str:
    """Headline, failures that unfold, the ledger of false alarms, and a table of all checks that unfolds."""
    told = [counted(report), f"alpha {report.alpha:.1g}", effort(report), f"seed {report.seed}"]
    told += [f"{name} {version}" for name, version in report.versions.items() if name == "refimpl"]
    told += [report.date[:10]] if report.date else []
    lines = [f"**{headline(report)}: {escaped(report.target)}** ({escaped(declared(parameters(report)))})", ""]
    lines += [escaped(" | ".join(told)), ""]
    if report.convention:
        lines += [f"Conventions: {escaped(assumed(report))}", ""]
    if first := first_failure(report):
        lines += [escaped(f"{first[0].upper()}{first[1:]}."), ""]
    for v in told_once(report.failures):
        lines += _failure(v, report)
    lines += [escaped(promise(report)), ""]
    lines += [ran(report), "", "<details><summary>All checks</summary>", "", *_table(report), "", "</details>"]
    return "\n".join(lines)


def _failure(v: Verdict, report: Report) -> list[str]:
    lines = [f"<details><summary>{label(v)} {html.escape(v.check)}: {html.escape(measured(v))}</summary>", ""]
    lines += [escaped(v.detail), ""] if v.detail else []
    if v.smallest:
        lines += [f"Smallest: {escaped(v.smallest)}", ""]
    if v.causes:
        lines += ["Looks like:", "", *(f"- {escaped(cause)}" for cause in v.causes), ""]
    if v.reproduced_by:
        lines += [f"Repeat it: {escaped(replay_command(v, report.spec))}", ""]
    told = f"What it checks: {escaped(f'refimpl explain {v.check}')}; again: {escaped(again_command(v, report))}"
    return [*lines, told, "", "</details>", ""]


def _table(report: Report) -> list[str]:
    rows = [_row(v) for v in report.verdicts]
    head = ["| | check | measured | bound | samples | would have seen |", "|---|---|---:|---:|---:|---|"]
    return [*head, *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows)]


def _row(v: Verdict) -> tuple[str, ...]:
    check = f"{v.check} *" if v.convention else v.check
    if v.status == SKIP:
        return label(v), check, "", "", "", v.detail
    told = v.sensitivity if v.status == PASS else v.quantity
    return label(v), check, number(v.value), number(v.bound), str(v.samples), told


def escaped(text: str) -> str:
    """Text that stands for itself in a paragraph or a cell: no markup, no links, no mentions."""
    plain = SPECIAL.sub(r"\\\1", html.escape(text, quote=False))
    return plain.replace("@", "&#64;").replace("://", ":&#47;/")
