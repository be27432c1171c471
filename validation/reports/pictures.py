"""Exhibits drawn by matplotlib, as SVG that takes its ink from the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verdict import Exhibit

MISSING = "Pictures need matplotlib: pip install 'refimpl[plot]'"
INK = "#012345"  # in place of which the page's own colour is put
BLUE, RED, ORANGE = "#3a86c8", "#d64545", "#d98a1f"
LARGEST = 1e100  # beyond which the axes of matplotlib overflow
# Places in the picture: matplotlib would find its own, but takes longer for it than for all the rest.
AXES = {"left": 0.15, "right": 0.98, "bottom": 0.18, "top": 0.88}
MAPS = {"left": 0.08, "right": 0.84, "bottom": 0.16, "top": 0.9}
STYLE = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
Arrays = Mapping[str, NDArray[Any]]


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def svg(exhibit: Exhibit, key: str) -> str:
    """The picture as an ``<svg>`` element, the ids in it made unique by the key. Needs matplotlib."""
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    arrays = {name: np.clip(np.asarray(a, dtype=np.float64), -LARGEST, LARGEST) for name, a in exhibit.arrays.items()}
    labels = [label.replace("$", r"\$") for label in exhibit.labels]
    with style.context(["default", {**STYLE, "svg.hashsalt": key}]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of axes that numbers without any spread, or beyond all measure, do not suit
        figure = Figure(figsize=(4.6, 2.7))
        FigureCanvasSVG(figure)
        DRAWN[exhibit.kind](figure, arrays, labels)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'( id="| xlink:href="#|url\(#)', rf"\g<1>{key}-", text)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    return text.replace(INK, "currentColor").strip()


def _map(figure: Any, arrays: Arrays, labels: list[str]) -> None:
    """One lattice beside the other, on one scale of colours."""
    from matplotlib.ticker import MaxNLocator

    error = arrays["error"]
    shown = error[:4]
    largest = float(np.nanmax(error)) if not np.isnan(error).all() else 0.0
    places = np.ravel(figure.subplots(1, len(shown), squeeze=False, gridspec_kw=MAPS))
    for k, (axes, part) in enumerate(zip(places, shown, strict=True)):
        image = axes.imshow(
            part, vmin=0, vmax=largest if largest > 0 else 1.0, cmap="viridis", interpolation="none", aspect="equal"
        )
        axes.set_title(labels[k] if k < len(labels) else "", fontsize=8.5)
        axes.set_xlabel("x")
        axes.set_ylabel("t" if k == 0 else "")
        axes.spines[:].set_visible(False)
        for axis, extent in ((axes.xaxis, part.shape[1]), (axes.yaxis, part.shape[0])):
            axis.set_ticks(sorted({0, (extent - 1) // 2, extent - 1}))
    bar = figure.colorbar(image, cax=figure.add_axes((0.87, 0.2, 0.025, 0.6)), ticks=MaxNLocator(4))
    bar.outline.set_visible(False)
    bar.ax.set_title("|error|", fontsize=8)


def _errors(figure: Any, arrays: Arrays, labels: list[str]) -> None:
    from matplotlib.ticker import NullLocator

    value, bound = arrays["value"], float(np.max(arrays["bound"])) if "bound" in arrays else np.inf
    axes = _axes(figure)
    place = np.arange(len(value))
    above = ~(value <= bound)
    exact = value == 0
    floor = min([float(v) for v in (*value[~exact & np.isfinite(value)], bound) if 0 < v < np.inf], default=1.0) / 10
    for chosen, colour, marker, told in (
        (~above & ~exact, BLUE, "o", ""),
        (exact & ~above, BLUE, "v", "exactly 0"),
        (above, RED, "o", "beyond the bound"),
    ):
        if chosen.any():
            axes.plot(
                place[chosen], np.maximum(value[chosen], floor), marker, color=colour, markersize=4, label=told or None
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0e}")
    axes.yaxis.set_minor_locator(NullLocator())
    if 0 < bound < np.inf:
        axes.axhline(bound, color=RED, linestyle="--", linewidth=1, label="bound")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    _labelled(axes, labels)


def _trace(figure: Any, arrays: Arrays, labels: list[str]) -> None:
    samples, value, axes = arrays["samples"], arrays["value"], _axes(figure)
    if "low" in arrays and "high" in arrays:
        low, high = (np.broadcast_to(arrays[name], samples.shape) for name in ("low", "high"))
        axes.fill_between(samples, low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(samples, value, color=BLUE, linewidth=1.3, marker="o" if len(samples) < 8 else "", markersize=3)
    if "exact" in arrays:
        axes.plot(
            samples, np.broadcast_to(arrays["exact"], samples.shape), "--", color=ORANGE, linewidth=1.2, label="exact"
        )
    if "bound" in arrays:
        bound = np.broadcast_to(arrays["bound"], samples.shape)
        axes.plot(samples, bound, "--", color=RED, linewidth=1, label="alarm")
    axes.margins(x=0.01)
    axes.xaxis.get_major_locator().set_params(integer=True)  # samples and updates are counted
    _labelled(axes, labels)


def _histogram(figure: Any, arrays: Arrays, labels: list[str]) -> None:
    axes, (value, observed, expected) = _axes(figure), (arrays[name] for name in ("value", "observed", "expected"))
    middles = (value[1:] + value[:-1]) / 2 if len(value) > 1 else value + 0.5
    edges = np.concatenate([[2 * value[0] - middles[0]], middles[: len(value) - 1], [2 * value[-1] - middles[-1]]])
    scatter = 2 * np.sqrt(np.maximum(expected, 0))
    axes.stairs(observed, edges, fill=True, color=BLUE, alpha=0.55, linewidth=0, label="observed")
    low = np.maximum(expected - scatter, 0)
    axes.stairs(expected + scatter, edges, baseline=low, fill=True, color=ORANGE, alpha=0.35, linewidth=0)
    axes.stairs(expected, edges, color=ORANGE, linewidth=1.2, label="expected, with 2 sd of a count")
    if len(value) < 12:
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_ylim(bottom=0)
    _labelled(axes, labels)


def _axes(figure: Any) -> Any:
    return figure.subplots(gridspec_kw=AXES)


def _labelled(axes: Any, labels: list[str]) -> None:
    for put, label in zip((axes.set_xlabel, axes.set_ylabel), labels, strict=False):
        put(label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)


DRAWN: dict[str, Callable[[Any, Arrays, list[str]], None]] = {
    "map": _map,
    "errors": _errors,
    "trace": _trace,
    "histogram": _histogram,
}
