"""The command ``analyse``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import command, emit, number, writable, write

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
    from refimpl import analysis, theories
    from refimpl.chains import load, read_manifest

    writable(arguments.out)
    writable(arguments.plot, "--plot")
    if arguments.plot is not None and Path(arguments.plot).suffix not in PLOTS:
        raise ValueError(f"--plot: got {arguments.plot!r}, expected a name that ends with {' or '.join(PLOTS)}")
    if not Path(arguments.folder).is_dir():
        raise ValueError(f"DIR: got {arguments.folder!r}, expected the folder of a run")
    series, manifest = load(arguments.folder), read_manifest(arguments.folder)
    configuration = manifest["configuration"]
    theory = (
        theories.by_name(configuration["theory"], **configuration["parameters"]) if "theory" in configuration else None
    )
    cut = arguments.thermalisation
    if cut is None:
        cut = 0.0 if configuration.get("start") == "exact" else "auto"
    result = analysis.analyse(
        series,
        theory,
        thermalisation=cut,
        record_every=manifest["record_every"],
        non_finite=manifest["non_finite"],
    )
    if arguments.plot is not None:
        picture = analysis.png(result, series)
        page = arguments.plot.endswith(".html")
        write(Path(arguments.plot), analysis.as_html(result, picture).encode() if page else picture)
    emit(analysis.as_json(result) if arguments.format == "json" else analysis.as_text(result), arguments.out)
    return 0
