"""The picture of an analysis: traces, autocorrelation functions with their windows, and the histogram of the sector."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .. import statistics
from .estimates import Analysis, Estimate, Series
from .report import heading, with_error

MOST_ROWS = 4
MOST_TRACES = 4
MOST_POINTS = 2000  # of a trace: more than there are pixels


def png(analysis: Analysis, series: Series) -> bytes:
    """The picture as PNG. ``series`` are those of the analysis, before the cut; needs matplotlib.

    A row for each recorded observable, the sector first and four at most: a few chains, and the autocorrelation function.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("A plot needs matplotlib: pip install 'refimpl[plot]'") from error
    sector = analysis.sector
    shown = sorted(
        (e for e in analysis.estimates if e.name in series), key=lambda e: sector is None or e.name != sector.name
    )[:MOST_ROWS]
    rows = len(shown) + (sector is not None)
    figure = Figure(figsize=(11, 0.6 + 2.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(heading(analysis), fontsize=11, wrap=True)
    grid = figure.add_gridspec(rows, 2, width_ratios=[3, 2])
    labels: dict[str, Any] = {}
    for i, estimate in enumerate(shown):
        data = np.asarray(series[estimate.name], dtype=np.float64)
        trace = figure.add_subplot(grid[i, 0])
        _trace(trace, analysis, estimate, data)
        labels |= dict(zip(*reversed(trace.get_legend_handles_labels()), strict=True))
        _autocorrelation(figure.add_subplot(grid[i, 1]), analysis, estimate, data[analysis.cut :])
    if sector is not None:
        _histogram(figure.add_subplot(grid[-1, 0]), analysis)
        _events(figure.add_subplot(grid[-1, 1]), analysis)
    figure.legend(labels.values(), labels.keys(), fontsize=8, loc="outside lower center", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    return buffer.getvalue()


def _trace(axes: Any, analysis: Analysis, estimate: Estimate, data: Any) -> None:
    every = analysis.record_every
    stride = -(-len(data) // MOST_POINTS)
    steps = every * np.arange(1, len(data) + 1)[::stride]
    spread = np.unique(np.linspace(0, data.shape[1] - 1, MOST_TRACES).astype(int))
    for chain in data.T[spread]:
        axes.plot(steps, chain[::stride], linewidth=0.7, alpha=0.5)
    axes.plot(steps, data.mean(axis=1)[::stride], color="black", linewidth=0.9, label="mean of all chains")
    if estimate.exact is not None:
        axes.axhline(estimate.exact, color="C3", linestyle="--", linewidth=1.2, label="exact")
    if analysis.cut:
        axes.axvspan(0, every * analysis.cut, color="grey", alpha=0.25, linewidth=0, label="thermalisation, cut")
    axes.set_title(f"{estimate.name}: {len(spread)} of {data.shape[1]} chains", fontsize=10)
    axes.set_xlabel("trajectory")
    axes.margins(x=0)


def _autocorrelation(axes: Any, analysis: Analysis, estimate: Estimate, data: Any) -> None:
    every = analysis.record_every
    rho = statistics.autocorrelation(data)
    window = len(rho) // 12 if estimate.window is None else estimate.window // every
    shown = rho[: max(2 * window, 10)]
    axes.plot(every * np.arange(len(shown)), shown, marker="." if len(shown) < 60 else "", linewidth=1)
    axes.axhline(0, color="black", linewidth=0.6)
    if np.isnan(rho[0]):
        title = "does not fluctuate"
    elif estimate.tau is None or estimate.window is None:
        title = "no tau_int" if estimate.error is not None else "the run is too short for tau_int"
    else:
        title = f"tau_int = {with_error(estimate.tau, estimate.tau_error)}"
        axes.axvline(estimate.window, color="C1", linestyle="--", linewidth=1, label=f"window {estimate.window}")
        axes.legend(fontsize=7, loc="upper right")
    axes.set_title(f"{estimate.name}: {title}", fontsize=10)
    axes.set_xlabel("lag in trajectories")
    axes.set_ylabel("rho")


def _histogram(axes: Any, analysis: Analysis) -> None:
    sector = analysis.sector
    assert sector is not None
    errors = [np.nan if error is None else error for error in sector.errors]
    axes.bar(sector.values, sector.fractions, width=0.8, yerr=errors, alpha=0.5, capsize=2, label="run")
    if sector.exact is not None:
        axes.plot(sector.values, sector.exact, "_", color="C3", markersize=18, markeredgewidth=2, label="exact")
    axes.set_title(f"distribution of the {sector.name}", fontsize=10)
    axes.set_xlabel(sector.name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("probability")
    axes.legend(fontsize=7)


def _events(axes: Any, analysis: Analysis) -> None:
    sector = analysis.sector
    assert sector is not None
    axes.bar(range(analysis.chains), sector.events, width=0.8, alpha=0.5)
    axes.set_ylim(0, 1.1 * max(1, *sector.events))
    axes.set_title(f"changes of the {sector.name}: {sum(sector.events)}", fontsize=10)
    axes.set_xlabel("chain")
    axes.xaxis.get_major_locator().set_params(integer=True)
