"""What an experiment returns: a table that prints as aligned text and is saved whole or not at all; and its figure."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..files import whole_file

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Numbers of one experiment.

    Attributes
    ----------
    name, title : of the experiment. columns : names. rows : one tuple of cells per row, None where there is no number.
    notes : sentences a reader needs. seed : the seed it was made with.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"rows: got a row of {len(row)} cells, expected {len(self.columns)} ({self.columns})")

    def column(self, name: str) -> list[Any]:
        """The cells of a column."""
        return [row[self.columns.index(name)] for row in self.rows]

    def where(self, **cells: Cell) -> list[dict[str, Any]]:
        """The rows with these cells, as dicts."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return [row for row in rows if all(row[name] == value for name, value in cells.items())]

    def __str__(self) -> str:
        cells = [list(self.columns), *(self._texts(row) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        words = [any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.ljust(width) if word else cell.rjust(width)
                for cell, width, word in zip(row, widths, words, strict=True)
            ).rstrip()
            for row in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join(
            [f"{self.name}: {self.title} (seed {self.seed})", rule, lines[0], rule, *lines[1:], *self.notes]
        )

    def _texts(self, row: tuple[Cell, ...]) -> list[str]:
        """The cells in words; a number with its error in a column of that name shows two digits of it."""
        errors = {name.removesuffix("_error"): cell for name, cell in zip(self.columns, row, strict=True)
                  if name.endswith("_error")}  # fmt: skip
        return [_text(cell, errors.get(name)) for name, cell in zip(self.columns, row, strict=True)]

    def save(self, folder: Path) -> None:
        """Write ``NAME.json`` and ``NAME.txt`` into a folder, which is made where it does not exist."""
        record = {
            "name": self.name,
            "title": self.title,
            "seed": self.seed,
            "columns": list(self.columns),
            "rows": [[_json(cell) for cell in row] for row in self.rows],
            "notes": list(self.notes),
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        for suffix, text in (("json", json.dumps(record, indent=1)), ("txt", str(self))):
            with whole_file(Path(folder) / f"{self.name}.{suffix}") as file:
                file.write((text + "\n").encode())


@dataclass(frozen=True)
class Panel:
    """One plot: lines ``(label, x, y, error or None, style)``, horizontal lines ``(label, y)``; ``x_names`` of x = 0, 1, ...

    ``bands``: ``(x, low, high)``, in the colours of the lines, one after the other.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[tuple[str, Any, Any, Any, str]]
    levels: Sequence[tuple[str, float]] = ()
    log_x: bool = False
    log_y: bool = False
    legend: bool = True
    x_names: Sequence[str] = ()
    bands: Sequence[tuple[Any, Any, Any]] = ()


def finish(table: Table, out: Path | None, panels: Callable[[], Sequence[Panel]]) -> Table:
    """Save the table and draw its figure into ``out``, if there is one; returns the table.

    Where matplotlib is missing there is no figure, and a note of the table says what to install.
    """
    if out is None:
        return table
    Path(out).mkdir(parents=True, exist_ok=True)
    try:
        figure = _figure(table.title, panels())
        with whole_file(Path(out) / f"{table.name}.png") as file:
            figure.savefig(file, dpi=110, format="png")
    except ImportError as error:
        table = replace(table, notes=(*table.notes, str(error)))
    table.save(out)
    return table


def check_effort(effort: str) -> bool:
    """Whether the effort is "quick" (seconds, for tests) and not "full"; raises `ValueError` for another word."""
    if effort not in ("quick", "full"):
        raise ValueError(f"effort: got {effort!r}, expected 'quick' or 'full'")
    return effort == "quick"


def check_effort_of_paper(effort: str) -> str:
    """The effort: "quick", "full" (minutes on a laptop) or "paper" (the numbers of the paper, hours); `ValueError` for others."""
    if effort not in ("quick", "full", "paper"):
        raise ValueError(f"effort: got {effort!r}, expected 'quick', 'full' or 'paper'")
    return effort


def bar(items: Iterable[Any], what: str, progress: bool) -> Iterable[Any]:
    """The items with a progress bar on the standard error, where wanted; a line that says what, where that is no terminal."""
    if progress and not sys.stderr.isatty():
        print(what, file=sys.stderr, flush=True)
    return tqdm(items, desc=what, disable=None if progress else True, file=sys.stderr)


def _figure(title: str, panels: Sequence[Panel]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("No figure: it needs matplotlib, pip install 'refimpl[plot]'.") from error
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    n_rows = math.ceil(len(panels) / columns)
    room = 2.5 if any(panel.x_names for panel in panels) else 0.0
    figure = Figure(figsize=(max(7.5, 5.2 * columns), 3.9 * n_rows + room), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(n_rows, columns, i + 1)
        for j, (label, x, y, bars, style) in enumerate(panel.lines):
            axes.errorbar(x, y, bars, fmt=style, label=label, color=f"C{j % 10}", markersize=4, linewidth=1, capsize=2)
        for j, (x, low, high) in enumerate(panel.bands):
            axes.fill_between(x, low, high, color=f"C{j % 10}", alpha=0.25, linewidth=0)
        for label, level in panel.levels:
            axes.axhline(level, color="grey", linestyle="--", linewidth=1)
            axes.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        if panel.log_x:
            axes.set_xscale("log")
        if panel.log_y:
            axes.set_yscale("log")
        if panel.x_names:
            axes.set_xticks(range(len(panel.x_names)), panel.x_names, rotation=60, ha="right", fontsize=7)
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.y_label)
        if panel.legend:
            axes.legend(fontsize=7)
    return figure


def _text(cell: Cell, error: Cell = None) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, float):
        return str(cell)
    if isinstance(error, float) and 0 < error < abs(cell) < math.inf:
        return f"{cell:.{max(4, 2 + math.floor(math.log10(abs(cell))) - math.floor(math.log10(error)))}g}"
    return "inf" if math.isinf(cell) else f"{cell:.4g}"


def _json(cell: Cell) -> Cell:
    """JSON knows no infinity and no NaN."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
