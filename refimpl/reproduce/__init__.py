"""The experiments of the papers on L2HMC and LeapfrogLayers, some with quarks, and figures and tables of others, as functions.

Each is ``run(seed=0, out=None, progress=False, effort="full") -> Table``; with ``out`` the table is saved there as
``NAME.json`` and ``NAME.txt`` and, with matplotlib, the figure as ``NAME.png``. ``effort="quick"`` takes seconds and shows
that an experiment runs, not what it finds. Those of `PAPERS`, named as in their paper, and of `LONG` have a third: ``"paper"``,
with the numbers of the paper, or as long, which may take hours (those of Abbott 2022 are then on 8 x 8, not 4 x 4). Foreman 2020
are the L2HMC notes, Foreman 2021 is LeapfrogLayers, Abbott 2022 the flows, Bedaque 2023 the control variates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import (
    condition_numbers,
    freezing,
    gmm,
    joint_distributions,
    joint_histories,
    joint_pseudofermions,
    notebook,
    pion_mass,
    schwinger_topology,
    trajectory,
    transfer,
    tunnelling,
    variate_histories,
    variate_masses,
    weights,
)
from .table import Table

__all__ = ["DESCRIPTIONS", "EXPERIMENTS", "PAPERS", "PAPER_DESCRIPTIONS", "Table", "run"]

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
    "pion-mass": pion_mass.run,
    "schwinger-topology": schwinger_topology.run,
    "condition-numbers": condition_numbers.run,
    "notebook": notebook.run,
}

# Experiments that have the effort "paper" too.
LONG = ("notebook",)

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
    "pion-mass": "mass of the pseudoscalar, Schwinger model and SU(3), against Abbott 2022",
    "plaquette": "plaquette and susceptibility of trained samplers against exact values",
    "schwinger-topology": "charge with two flavours: HMC, winding and orbit moves, independence Metropolis",
    "condition-numbers": "of D D^dag: plain, even-odd, Hasenbusch; Schwinger and SU(3) (Abbott 2022, sec. IV.A.2)",
    "notebook": "the tutorial on flows, arXiv:2101.08176: phi^4 and U(1), its recipe and ours, against exact values and HMC",
}


PAPERS: dict[str, dict[str, Callable[..., Table]]] = {
    "abbott2022": {
        "fig2": joint_histories.fig2,
        "fig3": joint_pseudofermions.fig3,
        "fig4": joint_histories.fig4,
        "fig5": joint_histories.fig5,
        "fig6": joint_distributions.fig6,
        "fig7": joint_distributions.fig7,
    },
    "bedaque2023": {
        "fig1": variate_histories.fig1,
        "fig2": variate_histories.fig2,
        "fig3": variate_masses.fig3,
        "table2": variate_masses.table2,
    },
}

PAPER_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "abbott2022": {
        "fig2": "Schwinger model, even-odd and three Hasenbusch masses: training history of a joint model",
        "fig3": "the same: effective sample size and acceptance against the pseudofermions at the same links",
        "fig4": "Schwinger model: targets without and with preconditioning after trainings of equal length",
        "fig5": "SU(3), even-odd and one Hasenbusch mass: training history of a joint model",
        "fig6": "Schwinger model: plaquette and charge, flow reweighted against HMC, and means in every way",
        "fig7": "the same of SU(3): plaquette and pseudoscalar correlator",
    },
    "bedaque2023": {
        "fig1": "phi^4 on 20 x 20: training histories of neural control variates, beside closed forms",
        "fig2": "the same on 40 x 40, and nets of several depths",
        "fig3": "phi^4 on 40 x 10: correlators with control variates, and their errors",
        "table2": "the same: masses from these correlators",
    },
}


def run(
    name: str,
    seed: int = 0,
    out: Path | None = None,
    progress: bool = False,
    effort: str = "full",
    paper: str | None = None,
) -> Table:
    """The experiment of this name, of a paper where one is named; raises `ValueError` for a name that does not exist."""
    if paper is not None and paper not in PAPERS:
        raise ValueError(f"paper: got {paper!r}, expected one of {', '.join(PAPERS)}")
    experiments = EXPERIMENTS if paper is None else PAPERS[paper]
    if name not in experiments:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(experiments)}")
    return experiments[name](seed=seed, out=out, progress=progress, effort=effort)
