"""The experiments of the papers on L2HMC, LeapfrogLayers and flows with pseudofermions: functions that return tables and draw.

Each is ``run(seed=0, out=None, progress=False, effort="full") -> Table``; with ``out`` the table is saved there as
``NAME.json`` and ``NAME.txt`` and, with matplotlib, the figure as ``NAME.png``. ``effort="quick"`` takes seconds and shows
that an experiment runs, not what it finds. Foreman 2020 are the L2HMC notes, Foreman 2021 is LeapfrogLayers,
Abbott 2022 the flows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import condition_numbers, freezing, gmm, trajectory, transfer, tunnelling, weights
from .table import Table

__all__ = ["DESCRIPTIONS", "EXPERIMENTS", "Table", "run"]

EXPERIMENTS: dict[str, Callable[..., Table]] = {
    "gmm": gmm.run,
    "freezing": freezing.run,
    "length": tunnelling.length,
    "trajectory": trajectory.run,
    "net-weights": weights.run,
    "reversibility": weights.reversibility,
    "tunnelling": tunnelling.run,
    "step-size": tunnelling.step_size,
    "transfer": transfer.run,
    "plaquette": tunnelling.plaquette,
    "condition-numbers": condition_numbers.run,
}

DESCRIPTIONS: dict[str, str] = {
    "gmm": "two Gaussians that HMC cannot connect: annealed, un-annealed, in a cycle (2020, Figs. 5, 6)",
    "freezing": "tau of the charge for beta = 2..7: HMC, tempering, scalars, convolutions, flux (2021, Figs. 1, 4)",
    "length": "tau of the charge against the length of the trajectory (2021, Fig. 5)",
    "trajectory": "energy, plaquette and charge along a trained trajectory (2021, Figs. 6, 7)",
    "net-weights": "bias of the plaquette against weights of S, T, Q: none, and a counter-example (2020, Figs. 9, 10, 23, 24)",
    "reversibility": "violation of the round trip against the number of layers (2020, Fig. 20)",
    "tunnelling": "tunnelling events of four chains, trained and HMC (2020, Tables 1, 2)",
    "step-size": "tunnelling rate against the step size of HMC (2020, Figs. 33, 34)",
    "transfer": "models of 8 x 8 run on 16 x 16, as they are and fine-tuned",
    "plaquette": "plaquette and susceptibility of trained samplers against exact values",
    "condition-numbers": "of D D^dag: plain, even-odd, Hasenbusch; Schwinger and SU(3) (Abbott 2022, sec. IV.A.2)",
}


def run(name: str, seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """The experiment of this name; raises `ValueError` for a name that does not exist."""
    if name not in EXPERIMENTS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name](seed=seed, out=out, progress=progress, effort=effort)
