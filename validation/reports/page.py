"""The report as one page of HTML that asks for nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

from ..failure_text import again_command, first_failure, replay_command
from ..report import FAILED, OK, Report, assumed, effort, label
from ..verdict import PASS, SKIP, Verdict
from . import pictures
from .style import STYLE
from .wording import (
    counted,
    explained,
    families,
    family,
    headline,
    measured,
    number,
    outcomes,
    parameters,
    promise,
    ran,
    told_once,
)

COLUMNS = ("pass", "FAIL", "XPASS", "known", "skip", "not selected")  # of the table of coverage
TONES = {"pass": "good", "FAIL": "bad", "XPASS": "bad", "known": "warn", "skip": "skip"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # what is not in the page is not loaded either
e = html.escape


def as_html(report: Report) -> str:
    """The whole page. Texts of the target are escaped, pictures are drawn where matplotlib is installed."""
    title = f"{headline(report)}: {report.target}"
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{e(POLICY)}">',
        f"<title>{e(title)}</title>",
        f"<style>{STYLE}</style>",
    ]
    gallery = Gallery()
    body = [
        _header(report),
        *_failures(report, gallery),
        *_judged(report),
        *_ledger(report),
        *_coverage(report),
        *_checks(report, gallery),
        _footer(report),
    ]
    return "\n".join(
        ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    )


class Gallery:
    """Draws exhibits, numbering them so that nothing in one picture is taken for a part of another."""

    def __init__(self) -> None:
        self.open = pictures.available()
        self.n = 0

    def shown(self, v: Verdict) -> str:
        """The pictures of a verdict, or nothing."""
        if not self.open or not v.exhibits:
            return ""
        figures = []
        for exhibit in v.exhibits:
            self.n += 1
            told = f"<b>{e(exhibit.title)}</b>" + (f" {e(exhibit.caption)}" if exhibit.caption else "")
            drawing = pictures.svg(exhibit, f"p{self.n}")
            figures.append(
                f'<figure role="group" aria-label="{e(exhibit.title)}">{drawing}<figcaption>{told}</figcaption></figure>'
            )
        return f'<div class="pictures">{"".join(figures)}</div>'


def _header(report: Report) -> str:
    tone = {OK: "good", FAILED: "bad"}.get(report.exit_code, "warn")
    told = ", ".join(f"{name} = {value}" for name, value in parameters(report).items())
    tiles = [
        *((TONES[name] if n else "skip", str(n), words) for name, words, n in outcomes(report)),
        ("skip", f"{report.alpha:.1g}", "level of false alarms"),
    ]
    return "\n".join(
        [
            f'<header class="{tone}">',
            f'<div class="verdict">{headline(report)}</div>',
            f"<h1>{e(report.target)}</h1>",
            f'<p class="soft">{e(told)}; {e(effort(report))}</p>',
            f"<p>{e(counted(report))}. {e(promise(report))}</p>",
            *([f"<p><b>Conventions:</b> {e(assumed(report))}</p>"] if report.convention else []),
            "</header>",
            '<div class="tiles">',
            *(f'<div class="tile {tone}"><b>{e(str(n))}</b><span>{name}</span></div>' for tone, n, name in tiles),
            "</div>",
        ]
    )


def _failures(report: Report, gallery: Gallery) -> list[str]:
    articles = [_failure(v, report, gallery, k) for k, v in enumerate(told_once(report.failures))]
    first = first_failure(report)
    lead = [f'<p class="soft">{e(first[0].upper() + first[1:])}.</p>'] if first else []
    return ["<h2>What failed</h2>", *lead, *articles] if articles else []


def _failure(v: Verdict, report: Report, gallery: Gallery, k: int) -> str:
    """The first one at length; of the others, explanation and pictures unfold."""
    anchor, folded = f"failure-{k}", k > 0
    parts = [
        f'<article class="panel bad" id="{anchor}">',
        f"<h3>{_pill(v)} <code>{e(v.check)}</code></h3>",
        f'<div class="found"><p><b>{e(measured(v))}</b></p><p>{e(v.detail)}</p></div>',
    ]
    facts = []
    if v.smallest:
        facts.append(("smallest", e(v.smallest)))
    if v.causes:
        facts.append(("looks like", "<br>".join(e(cause) for cause in v.causes)))
    if v.convention:
        facts.append(("conventions", e(v.convention)))
    if v.reproduced_by:
        facts.append(("repeat it", f"<code>{e(replay_command(v, report.spec))}</code>"))
    facts += [("samples", f"{v.samples}"), ("once more", f"<code>{e(again_command(v, report))}</code>")]
    more = [_prose(explained(v.check)), gallery.shown(v)]
    if folded and any(more):
        more = ["<details><summary>What it checks, and pictures</summary>", *more, "</details>"]
    return "\n".join([*parts, _facts(facts), *more, "</article>"])


def _judged(report: Report) -> list[str]:
    facts = [
        ("target", e(report.target)),
        *((f"its {e(name)}", e(value)) for name, value in report.implementation.items()),
        *((e(name), f"<code>{e(value)}</code>") for name, value in parameters(report).items()),
        ("level, seed", f"<code>--level {e(report.level)} --seed {report.seed}</code> repeat the run bit for bit"),
        ("judged by", e(", ".join(f"{name} {version}" for name, version in report.versions.items()) or "refimpl")),
        ("when", f"{e(report.date or 'unknown')}, {report.seconds:.1f} s"),
    ]
    return ["<h2>What was judged</h2>", f'<div class="panel">{_facts(facts)}</div>']


def _ledger(report: Report) -> list[str]:
    """The level of false alarms, how it was spent, and how near every statistical check came to an alarm."""
    spent = [v for v in report.verdicts if v.alpha > 0]
    share = min(1.0, report.ledger["spent"] / report.alpha) if report.alpha else 0.0
    lines = [
        "<h2>False alarms</h2>",
        f'<div class="panel"><p>{e(promise(report))} Deterministic checks have none: their bounds are derived from rounding.</p>',
        f'<p class="soft">spent: {100 * share:.0f} % of {report.alpha:.1g}</p>{_bar([("rest", share)])}',
    ]
    if spent:
        rows = [
            f"<tr><td><code>{e(v.check)}</code></td><td>{number(v.alpha)}</td><td>{number(v.value)}</td><td>{number(v.bound)}</td>"
            f'<td class="wide">{_bar([("bad" if not v.good else "rest", _nearness(v))])}</td></tr>'
            for v in spent
        ]
        head = "<tr><th>check</th><th>share</th><th>found</th><th>alarm at</th><th>how near to an alarm (logarithms)</th></tr>"
        lines += [
            f"<details><summary>{len(spent)} statistical checks</summary>{_table(head, rows)}</details>",
        ]
    return [*lines, "</div>"]


def _nearness(v: Verdict) -> float:
    """Of an e-value or p-value to its bound, both being on one side of 1: 0 is no evidence, 1 an alarm."""
    if v.value is None or v.bound is None or not v.bound > 0 or v.bound == 1:
        return 0.0
    if not 0 < v.value < math.inf:
        return 0.0 if math.isnan(v.value) else 1.0
    return min(1.0, max(0.0, math.log(v.value) / math.log(v.bound)))


def _coverage(report: Report) -> list[str]:
    """What was asked and what was not, by family of checks; capabilities; the reasons of skips."""
    found = {name: counts for name, counts in families(report).items() if any(map(counts.get, COLUMNS))}
    columns = [column for column in COLUMNS if any(counts[column] for counts in found.values())]
    rows = []
    for name, counts in found.items():
        total = sum(map(counts.__getitem__, COLUMNS))
        bar = _bar([(TONES.get(column, ""), counts[column] / total) for column in columns])
        cells = "".join(f"<td>{counts[column] or ''}</td>" for column in columns)
        rows.append(f'<tr><td><code>{e(name)}</code></td>{cells}<td class="wide">{bar}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("family", *columns, ""))
    lines = ["<h2>Coverage</h2>", f'<div class="panel"><p>{ran(report)}</p>']
    lines += [_table(f"<tr>{head}</tr>", rows) + "</div>"]
    lines += ['<div class="panel">']
    if report.offered:
        lines += ["<h3>Offered by the target</h3>", _chips(report.offered)]
    if report.lacking:
        lines += [
            "<h3>Not offered</h3>",
            '<p class="soft">Checks of this theory that ask for it were skipped.</p>',
            _chips(report.lacking, "none"),
        ]
    skips = [v for v in report.verdicts if v.status == SKIP]
    lines += _folded(
        f"{len(skips)} skipped, with reasons", [f"<p><code>{e(v.check)}</code> {e(v.detail)}</p>" for v in skips]
    )
    for told, checks in (
        ("apply but were not selected", report.unselected),
        ("belong to other theories or kinds of targets", report.elsewhere),
    ):
        lines += _folded(f"{len(checks)} {told}", [_chips(checks, "none")] if checks else [])
    return [*lines, "</div>"]


def _checks(report: Report, gallery: Gallery) -> list[str]:
    failed = {v.check: f"failure-{k}" for k, v in enumerate(report.failures)}
    lines = ["<h2>All checks</h2>", '<div class="checks">']
    cells = [
        ("", ""),
        ("check", ""),
        ("measured", "number"),
        ("bound", "number"),
        ("samples", "number"),
        ("would have seen", ""),
    ]
    lines += [
        f'<div class="line head">{"".join(f"""<span class="{kind}">{name}</span>""" for name, kind in cells)}</div>'
    ]
    names = dict.fromkeys(family(v.check) for v in report.verdicts)
    for name in names:
        group = [v for v in report.verdicts if family(v.check) == name]
        lines += [f'<div class="family">{e(name)}</div>', *(_check(v, gallery, failed.get(v.check)) for v in group)]
    return [*lines, "</div>"]


def _check(v: Verdict, gallery: Gallery, anchor: str | None) -> str:
    told = v.detail if v.status == SKIP else v.sensitivity if v.status == PASS else v.quantity
    cells = [(number(v.value), "measured"), (number(v.bound), "bound"), (str(v.samples or ""), "samples")]
    summary = [
        f"<span>{_pill(v)}</span><code>{e(v.check)}{' *' if v.convention else ''}</code>",
        *(f'<span class="number" data-label="{name}">{e(cell)}</span>' for cell, name in cells),
        f'<span class="told">{e(told)}</span>',
    ]
    inside = [_prose(explained(v.check))]
    if anchor:
        inside.append(f'<p><a href="#{anchor}">What failed, at length</a></p>')
    else:
        facts = [("measured", e(v.quantity))] if v.quantity else []
        facts += [("seen", e(v.detail))] if v.detail and v.status != SKIP else []
        facts += [("known failure", e(v.expected_failure))] if v.expected_failure else []
        facts += [("conventions", e(v.convention))] if v.convention else []
        facts += [("time", f"{v.seconds:.2g} s")]
        inside += [_facts(facts), gallery.shown(v)]
    folded = f'<summary class="line">{"".join(summary)}</summary><div class="inside">{"".join(inside)}</div>'
    return f'<details class="check">{folded}</details>'


def _footer(report: Report) -> str:
    hint = "" if pictures.available() or not any(v.exhibits for v in report.verdicts) else f" {e(pictures.MISSING)}."
    told = "Every pass states the smallest error it would have seen; <code>refimpl explain CHECK</code> says what a check does."
    return f"<footer><p>{told}{hint}</p></footer>"


def _pill(v: Verdict) -> str:
    return f'<span class="pill {TONES[label(v)]}">{label(v)}</span>'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, both HTML already."""
    return f'<dl class="facts">{"".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)}</dl>'


def _bar(parts: Iterable[tuple[str, float]]) -> str:
    """Shares of a whole beside one another."""
    shares = (f'<i class="{tone}" style="width:{100 * share:.2f}%"></i>' for tone, share in parts if share > 0)
    return f'<div class="bar">{"".join(shares)}</div>'


def _table(head: str, rows: list[str]) -> str:
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _chips(names: Iterable[str], kind: str = "") -> str:
    return f'<ul class="chips {kind}">{"".join(f"<li><code>{e(name)}</code></li>" for name in names)}</ul>'


def _folded(summary: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{e(summary)}</summary>", *lines, "</details>"] if lines else []


def _prose(docstring: str) -> str:
    """Paragraphs of a docstring."""
    paragraphs = (
        re.sub(r"(``?)(.+?)\1", r"<code>\2</code>", e(part)) for part in docstring.split("\n\n") if part.strip()
    )
    return "".join(f'<p class="soft">{part}</p>' for part in paragraphs)
