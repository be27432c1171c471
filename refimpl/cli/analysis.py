"""The command ``analyse``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, emit, number, writable, write

if TYPE_CHECKING:
    from refimpl.analysis import Analysis

PLOTS = (".png", ".html")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    analyse = command(
        commands,
        "analyse",
        _analyse,
        "what a run says: means against exact values, autocorrelation, convergence, tunnelling",
        "An error or a time that the run is too short to give is shown as a dash, and a note says why.",
    )
    analyse.set_defaults(one_thread=True)  # exact values of phi^4
    analyse.add_argument("folder", metavar="DIR", help="a run made by `refimpl sample`")
    analyse.add_argument(
        "--thermalisation",
        type=thermalisation,
        metavar="auto|FRACTION",
        help="what to cut at the start (default: nothing after an exact start, otherwise auto, which is MSER)",
    )
    analyse.add_argument("--format", choices=["table", "json"], default="table", help="default table")
    analyse.add_argument("--out", metavar="FILE", help="write there instead of the terminal")
    analyse.add_argument("--plot", metavar="FILE", help="a picture (FILE.png), or a page with tables too (FILE.html)")


def thermalisation(text: str) -> float | str:
    """The word "auto", or a fraction from 0 to below 1."""
    return text if text == "auto" else float(number(text, float, lambda v: 0 <= v < 1, "auto or a fraction in [0, 1)"))


def _analyse(arguments: argparse.Namespace) -> int:
    from refimpl import analysis

    writable(arguments.out)
    writable(arguments.plot, "--plot")
    if arguments.plot is not None and Path(arguments.plot).suffix not in PLOTS:
        raise ValueError(f"--plot: got {arguments.plot!r}, expected a name that ends with {' or '.join(PLOTS)}")
    if not Path(arguments.folder).is_dir():
        raise ValueError(f"DIR: got {arguments.folder!r}, expected the folder of a run")
    result, series = analysed(Path(arguments.folder), arguments.thermalisation)
    if arguments.plot is not None:
        picture = analysis.png(result, series)
        page = arguments.plot.endswith(".html")
        write(Path(arguments.plot), analysis.as_html(result, picture).encode() if page else picture)
    emit(analysis.as_json(result) if arguments.format == "json" else analysis.as_text(result), arguments.out)
    return 0


def analysed(folder: Path, thermalisation: float | str | None = None) -> tuple[Analysis, dict[str, Any]]:
    """The analysis of a run, and the series it is of; by default nothing is cut after an exact start."""
    from refimpl import analysis, chains, theories

    manifest = chains.read_manifest(folder)
    configuration = manifest["configuration"]
    theory = (
        theories.by_name(configuration["theory"], **configuration["parameters"]) if "theory" in configuration else None
    )
    if manifest["done"] // manifest["record_every"] < 2:
        raise ValueError(
            f"{folder}: got {manifest['done']} trajectories that all chains have done, of {manifest['n_steps']}, expected two "
            f"records or more; refimpl sample --resume {folder} goes on"
        )
    series = chains.load(folder, [name for name in manifest["series"] if name.split("/")[0] != "delta_h"])
    if thermalisation is None:
        thermalisation = 0.0 if configuration.get("start") == "exact" else "auto"
    result = analysis.analyse(
        series,
        theory,
        thermalisation=thermalisation,
        record_every=manifest["record_every"],
        non_finite=manifest["non_finite"],
    )
    if manifest["done"] < manifest["n_steps"]:
        unfinished = f"Unfinished: {manifest['done']} of {manifest['n_steps']} trajectories are done by all chains."
        result = replace(result, notes=(unfinished, *result.notes))
    return result, series
