"""The average plaquette against the weights of S, T and Q: no bias, and the bias of a map that is no bijection; round trips.

Foreman 2020, Figs. 9, 10, 23, 24 (net weights) and 20 (reversibility).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import observables
from ..groups import wrap
from ..kernels.l2hmc import L2HMC
from ..maps.architecture import Architecture, NetWeights
from ..maps.l2hmc import GeneralizedLeapfrog
from ..nets import Net
from ..theories import Theory, u1
from .counterexamples import FAULTS, WrongLeapfrog, perturbed
from .measure import run_chains
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

BETA, SHAPE = 2.0, (4, 4)
ALPHAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)
OUTPUTS = ("s_x", "t_x", "q_x", "s_v", "t_v", "q_v")
NONE = dict.fromkeys(OUTPUTS, 0.0)
EXACT, COMBINED, WRONG = "random mask", "combined mask", "wrapped scaling (no bijection)"


def dense(theory: Theory, n_layers: int, mask: str = "random", seed: int = 0) -> GeneralizedLeapfrog:
    """Dense nets of S, T and Q for x and v that are perturbed, not trained."""
    net = Net("dense", units=(16, 16), activation="tanh")
    architecture = Architecture(theory.field_shape, True, n_layers, v_net=net, x_net=net, mask=mask)
    model = GeneralizedLeapfrog(theory.smooth_action, architecture, architecture.init(np.random.default_rng(seed), 0.2))
    return perturbed(model, seed + 1, 1.0, 0.7)


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Bias of the average plaquette for nine weights of each of S_x, T_x, Q_x, S_v, T_v, Q_v alone, and all together."""
    quick = check_effort(effort)
    alphas = (0.0, 0.5, 2.0) if quick else ALPHAS
    n_chains, n_steps = (500, 4) if quick else (2000, 5)
    theory = u1(BETA, SHAPE)
    assert theory.sample is not None
    root = np.random.SeedSequence([seed, 24])
    models = {EXACT: dense(theory, 2), COMBINED: dense(theory, 2, "combined"), WRONG: dense(theory, 2)}
    rows: list[tuple[Cell, ...]] = []
    jobs = [
        (name, output, alpha)
        for name in models
        for output in ((*OUTPUTS, "all") if name != WRONG else ("s_x", "all"))
        for alpha in alphas
    ]
    for (name, output, alpha), own in zip(bar(jobs, "weights", progress), root.spawn(len(jobs)), strict=True):
        weights = NetWeights(**(dict.fromkeys(OUTPUTS, alpha) if output == "all" else {**NONE, output: alpha}))
        model = replace(models[name], net_weights=weights)
        kernel = L2HMC(WrongLeapfrog(model, "wrapped scaling") if name == WRONG else model)  # type: ignore[arg-type]
        first, second = own.spawn(2)
        x = theory.sample(np.random.default_rng(first), n_chains)
        series = run_chains(kernel, x, n_steps, second, {"plaquette": observables.mean_plaquette})
        plaquettes = series.series["plaquette"] - theory.exact["plaquette"]
        moved = (plaquettes[1:] - plaquettes[0]).mean(axis=0)
        bias, error = controlled(plaquettes[0] + moved, plaquettes[0])
        acceptance = float(series.acceptance.mean())
        rows.append((name, output, alpha, acceptance, bias, error, bias / error if error else None))
    ours = [abs(row[-1]) for row in rows if row[0] != WRONG and isinstance(row[-1], float)]
    table = Table(
        "net-weights",
        f"bias of the average plaquette against net weights, U(1) on 4 x 4, beta = {BETA:g} (Foreman 2020, Figs. 9, 10, 23, 24)",
        ("kernel", "output", "alpha", "acceptance", "bias", "error", "sigmas"),
        tuple(rows),
        (
            f"bias: <cos P> over {n_steps} updates of {n_chains} exact configurations minus its exact value, where the plaquette",
            "of the start is a control variate. Zero is expected for a correct kernel.",
            "One output at its weight, the others at zero; 'all': all six.",
            f"Largest of {len(ours)} deviations of our kernels: {max(ours):.1f} sigmas.",
            "No sigmas where nothing was accepted.",
            "The counter-example scales the angle itself and wraps it, with logdet = sum e s.",
            "Nets are perturbed and lean to one side, not trained; exactness does not depend on training.",
        ),
        seed,
    )
    return finish(table, out, lambda: _weight_panels(table))


def controlled(values: Array, control: Array) -> tuple[float, float]:
    """Mean and error of independent ``values`` by their regression on a control of expectation zero; 0, 0 if they are it."""
    if np.array_equal(values, control):
        return 0.0, 0.0
    covariance = np.cov(values, control)
    residuals = values - covariance[0, 1] / covariance[1, 1] * control
    return float(residuals.mean()), float(residuals.std(ddof=2) / math.sqrt(len(values)))


def _weight_panels(table: Table) -> Sequence[Panel]:
    panels = []
    for kernel in (EXACT, COMBINED, WRONG):
        lines = []
        for output in dict.fromkeys(table.column("output")):
            found = table.where(kernel=kernel, output=output)
            if found:
                columns = [[row[name] for row in found] for name in ("alpha", "bias", "error")]
                lines.append((output, *columns, "o-"))
        panels.append(Panel(kernel, "net weight", "<cos P> - exact", lines, [("", 0.0)]))
    return panels


def reversibility(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Largest violation of the round trip against the number of layers, for our map and for the counter-examples."""
    quick = check_effort(effort)
    numbers = (1, 4) if quick else (1, 2, 4, 8, 16, 32)
    theory = u1(5.0, (8, 8))
    assert theory.sample is not None
    rng = np.random.default_rng([seed, 20])
    x = theory.sample(rng, 16 if quick else 64)
    v = rng.standard_normal(x.shape)
    rows: list[tuple[Cell, ...]] = []
    for n in bar(numbers, "layers", progress):
        model = dense(theory, n)
        for fault in FAULTS:
            back = _round_trip(WrongLeapfrog(model, fault) if fault else model, x, v)
            rows.append((fault or "ours", n, *back))
    table = Table(
        "reversibility",
        "violation of the round trip against the number of layers, U(1) on 8 x 8, beta = 5 (Foreman 2020, Fig. 20)",
        ("map", "layers", "max_dx", "max_dv", "max_dlogdet", "mean_dx"),
        tuple(rows),
        (
            "Map, then inverse: largest |wrap(x'' - x)|, |v'' - v|, |logdet + logdet of the way back|, and the mean of the first.",
            "wrapped scaling: angles scaled and wrapped; old force: force from before the position update in the second half.",
        ),
        seed,
    )
    return finish(table, out, lambda: _round_trip_panels(table))


def _round_trip(map_: GeneralizedLeapfrog | WrongLeapfrog, x: Array, v: Array) -> tuple[float, float, float, float]:
    there = map_.run(x, v, map_.action.force(x), 1)
    middle = wrap(there.x)
    back = map_.run(middle, there.v, map_.action.force(middle), -1)
    dx = np.abs(wrap(back.x - x))
    return (
        float(dx.max()), float(np.abs(back.v - v).max()), float(np.abs(there.logdet + back.logdet).max()), float(dx.mean())
    )  # fmt: skip


def _round_trip_panels(table: Table) -> Sequence[Panel]:
    panels = []
    for column in ("max_dx", "max_dv", "max_dlogdet"):
        lines = []
        for name in dict.fromkeys(table.column("map")):
            found = table.where(map=name)
            y = [max(row[column], 1e-17) for row in found]
            lines.append((name, [row["layers"] for row in found], y, None, "o-"))
        panels.append(Panel(column, "layers", column, lines, log_x=True, log_y=True))
    return panels
