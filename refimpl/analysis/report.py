"""An analysis as aligned text, as JSON, and as a page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .estimates import Analysis

SCHEMA = 1
MOST_CHAINS = 16  # in the text; more would push the estimates off the screen

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 68rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .2rem 0; color: #46505e; } img { max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e2e6ec; white-space: nowrap; }
th { color: #46505e; font-weight: 600; border-bottom: 2px solid #b8c0cc; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
ul { background: #fff7e0; border-left: 4px solid #e0a800; padding: .6rem 1rem .6rem 2rem; }
"""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def heading(analysis: Analysis) -> str:
    """Theory and parameters, in a line."""
    parameters = ", ".join(f"{name} = {value}" for name, value in analysis.parameters.items())
    return f"{analysis.theory or 'chains'}{': ' if parameters else ''}{parameters}"


def summary(analysis: Analysis) -> tuple[str, ...]:
    """Size of the run, what was cut, acceptance and tunnelling, a sentence each."""
    every, kind = analysis.record_every, "automatic, MSER" if analysis.automatic else "given"
    spacing = "trajectory" if every == 1 else f"{every} trajectories"
    lines = [
        f"chains: {analysis.chains}, records of each: {analysis.records}, one every {spacing}; tau_int in trajectories",
        f"thermalisation: {analysis.cut} records cut at the start ({kind})",
    ]
    parts = [f"{name} {math.fsum(part) / len(part):.4f}" for name, part in analysis.acceptance.items()]
    lines.append(f"proposals: {', '.join([*parts, f'{analysis.non_finite} not finite'])}")
    if (sector := analysis.sector) is not None:
        rate = with_error(sector.rate, sector.rate_error)
        lines.append(
            f"tunnelling: {sum(sector.events)} changes of {sector.name}, mean |change| {rate} from record to record"
        )
    return tuple(lines)


def tables(analysis: Analysis, most_chains: int | None = None) -> list[Table]:
    """Observables, the sector against its exact distribution, and the chains (only a summary of more than ``most_chains``)."""
    estimates = Table(
        "Observables",
        ("", "mean", "error", "exact", "deviation", "tau_int", "error", "R-hat", "ESS"),
        tuple(
            (
                e.name,
                _value(e.mean, e.error),
                _error(e.error),
                _short(e.exact, ".8g"),
                _short(e.deviation, "+.2f"),
                _value(e.tau, e.tau_error),
                _error(e.tau_error),
                _short(e.r_hat, ".4f"),
                _short(e.ess, ".0f"),
            )
            for e in analysis.estimates
        ),
    )
    return [estimates, *_sector_table(analysis), *_chain_table(analysis, most_chains)]


def as_text(analysis: Analysis) -> str:
    """Aligned columns, for a terminal."""
    blocks = [[heading(analysis), *(f"  {line}" for line in summary(analysis))]]
    blocks += [_aligned(table) for table in tables(analysis, MOST_CHAINS)]
    blocks += [[f"! {note}" for note in analysis.notes]] if analysis.notes else []
    return "\n\n".join("\n".join(block) for block in blocks)


def as_json(analysis: Analysis) -> str:
    """Every field, with ``schema`` as the version of the format; null stands for what is unknown or not finite."""
    return json.dumps(_finite({"schema": SCHEMA, **asdict(analysis)}), indent=1, allow_nan=False)


def as_html(analysis: Analysis, png: bytes) -> str:
    """One page with the tables and the picture in it."""
    title = html.escape(heading(analysis))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in analysis.notes)
    body = [
        f"<h1>{title}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in summary(analysis)),
        f"<ul>{notes}</ul>" if notes else "",
    ]
    picture = f'<h2>Series</h2>\n<img alt="series" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    first, *others = [f"<h2>{html.escape(t.title)}</h2>\n{_html_table(t)}" for t in tables(analysis)]
    head = f'<meta charset="utf-8">\n<title>{title}</title>\n<style>{STYLE}</style>'
    content = "\n".join([*body, first, picture, *others])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{content}\n</body>\n</html>'


def _sector_table(analysis: Analysis) -> list[Table]:
    s = analysis.sector
    if s is None:
        return []
    columns: tuple[str, ...] = (s.name, "fraction", "error")
    rows: list[tuple[str, ...]] = [
        (str(q), _value(f, error), _error(error)) for q, f, error in zip(s.values, s.fractions, s.errors, strict=True)
    ]
    if s.exact is not None:
        columns = (*columns, "exact")
        rows = [(*row, f"{p:.6f}") for row, p in zip(rows, s.exact, strict=True)]
    return [Table(f"Distribution of the {s.name}", columns, tuple(rows))]


def _chain_table(analysis: Analysis, most_chains: int | None) -> list[Table]:
    """Acceptance and tunnelling events for each chain, as the tables of Foreman 2020."""
    columns = [(name, ".4f", fractions) for name, fractions in analysis.acceptance.items()]
    if analysis.sector is not None:
        columns.append((f"changes of {analysis.sector.name}", ".0f", analysis.sector.events))
    if not columns:
        return []

    def row(label: str, numbers: Sequence[float]) -> tuple[str, ...]:
        return label, *(format(number, style) for number, (_, style, _) in zip(numbers, columns, strict=True))

    rows = [row(str(i), [values[i] for _, _, values in columns]) for i in range(analysis.chains)]
    if most_chains is not None and analysis.chains > most_chains:
        rows = []
    extremes = [row(label, [of(values) for _, _, values in columns]) for label, of in (("least", min), ("most", max))]
    return [Table("Chains", ("chain", *(name for name, _, _ in columns)), (*rows, *extremes))]


def _aligned(table: Table) -> list[str]:
    cells = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return [table.title, lines[0], "-" * len(lines[0]), *lines[1:]]


def _html_table(table: Table) -> str:
    def line(tag: str, cells: tuple[str, ...]) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return "\n".join(["<table>", line("th", table.columns), *(line("td", row) for row in table.rows), "</table>"])


def _short(number: float | None, style: str) -> str:
    return "-" if number is None else format(number, style)


def with_error(number: float, error: float | None) -> str:
    """Such as ``0.2130 +- 0.0021``."""
    return _value(number, error) + (f" +- {_error(error)}" if error else "")


def _error(number: float | None) -> str:
    """Two digits, also where the second is a zero."""
    return _short(number, "#.2g").rstrip(".")


def _value(number: float | None, error: float | None) -> str:
    """The number to two digits of its error."""
    if number is None:
        return "-"
    if not error:
        return f"{number:.6g}"
    digits = 1 - math.floor(math.log10(error))
    return f"{number:.{digits}f}" if 0 <= digits < 12 else f"{number:.8g}"


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
