"""Two Gaussians that HMC cannot connect (Foreman 2020, sec. 9, Figs. 5, 6)."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..kernels import HMC, Cycle, Kernel
from ..kernels.l2hmc import L2HMC
from ..statistics import autocovariance, integrated_autocorrelation_time
from ..theories import Theory, gmm
from ..training import recipes
from ..tuning import largest_tau, tune_hmc
from .measure import Chains, gradients, run_chains, trained
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

COLUMNS = (
    "sampler", "gradients", "acceptance", "transitions", "hops", "hop_rate", "tau_abs_x0", "tau_abs_x0_error",
    "tau_x1", "tau_x1_error", "tau_x1^2", "tau_x1^2_error", "occupancy", "occupancy_error",
    "worst_moment", "worst_moment_sigmas", "training_s",
)  # fmt: skip
STEP_SIZES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)  # of HMC; 0.25 and 0.5 are those of Fig. 5
WITHIN = ("|x_0|", "x_1", "x_1^2")  # observables of one mode, as good as the other
TRAJECTORY = 5  # leapfrog steps of HMC, as many as the layers of the trained sampler


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Train with and without annealing, scan HMC, and compare: acceptance, hops, autocorrelation, moments, cost."""
    quick = check_effort(effort)
    theory = gmm()
    n_chains, n_steps, training = (16, 40, 6) if quick else (128, 800, 1500)
    seeds = np.random.SeedSequence([seed, 9]).spawn(32)
    model, recipe = recipes.mixture(theory, steps=training)
    annealed, seconds = trained(theory, model, recipe, seed, progress)
    cold, cold_seconds = trained(theory, model, replace(recipe, annealing=None, warm_up=0), seed, progress)

    samplers: dict[str, tuple[Kernel, float | None]] = {
        f"HMC, step {eps:g}": (HMC(theory.action, eps, TRAJECTORY), None) for eps in STEP_SIZES
    }
    results: dict[str, Chains] = {}
    rows: list[tuple[Cell, ...]] = []

    def measure(name: str, kernel: Kernel, training_seconds: float | None) -> None:
        first, second = seeds[len(rows)].spawn(2)
        assert theory.sample is not None
        x = theory.sample(np.random.default_rng(first), n_chains)
        record = {**theory.observables, "sector": theory.sector}
        results[name] = run_chains(kernel, x, n_steps, second, record)
        rows.append(_row(name, theory, kernel, results[name], training_seconds))

    hmc = _tuned_hmc(theory, seed, quick)
    samplers["HMC, tuned"] = hmc, None
    for name, (kernel, cost) in bar(list(samplers.items()), "HMC", progress):
        measure(name, kernel, cost)
    for name, kernel, cost in (
        ("L2HMC, annealed", L2HMC(annealed), seconds),
        ("L2HMC, annealed + HMC", Cycle([L2HMC(annealed), hmc]), seconds),
        ("L2HMC, not annealed", L2HMC(cold), cold_seconds),
    ):
        measure(name, kernel, cost)

    table = Table(
        "gmm",
        "mixture of two Gaussians in two dimensions (Foreman 2020, Figs. 5, 6)",
        COLUMNS,
        tuple(rows),
        (
            f"{n_chains} chains of {n_steps} steps from exact starts; coordinates count from 0: the modes are at x_0 = -2, 2.",
            f"tau in steps; a step costs 'gradients'. Tuned, and in the cycle: step {hmc.step_size:.3g}, gradients as listed.",
            "worst_moment: deviation from the exact value, of x_0, x_1, x_0^2, x_1^2, |x_0|, with the largest significance.",
            "Errors of occupancy and moments come from the scatter of the chains, which are independent.",
        ),
        seed,
    )
    shown = ["L2HMC, annealed", "HMC, step 0.25", "HMC, step 0.5", "L2HMC, annealed + HMC"]
    costs = {str(row[0]): int(row[1] or 1) for row in rows}
    return finish(table, out, lambda: _panels({name: results[name] for name in shown}, costs))


def _row(name: str, theory: Theory, kernel: Kernel, chains: Chains, seconds: float | None) -> tuple[Cell, ...]:
    series = chains.series
    hops = np.diff(series["sector"], axis=0) != 0
    taus = [integrated_autocorrelation_time(series[key]) for key in WITHIN]
    occupancy = series["sector"].mean(axis=0)
    n_chains = len(occupancy)
    deviations = {}
    for key, expected in theory.exact.items():
        means = series[key].mean(axis=0) - expected
        deviations[key] = (means.mean(), means.std(ddof=1) / math.sqrt(n_chains))
    worst = max(deviations.values(), key=lambda d: abs(d[0]) / d[1])
    return (
        name, gradients(kernel), float(chains.acceptance.mean()), hops.size, int(hops.sum()), float(hops.mean()),
        taus[0].tau, taus[0].error, taus[1].tau, taus[1].error, taus[2].tau, taus[2].error,
        float(occupancy.mean()), float(occupancy.std(ddof=1) / math.sqrt(n_chains)),
        float(worst[0]), float(abs(worst[0]) / worst[1]), seconds,
    )  # fmt: skip


def _tuned_hmc(theory: Theory, seed: int, quick: bool) -> HMC:
    """The cheapest HMC within a mode, where alone it moves.

    With x_1^2: half a period of the oscillator turns x_1 over and leaves its square, which x_1 alone would praise.
    """
    first, second = np.random.SeedSequence([seed, 2014]).spawn(2)
    assert theory.sample is not None
    x = theory.sample(np.random.default_rng(first), 128)
    tau = largest_tau({name: theory.observables[name] for name in WITHIN}, 40 if quick else 400)
    return tune_hmc(theory.action, x, second, tau, steps=(1, 2, 3, 5, 8)).kernel


def _panels(results: dict[str, Chains], costs: dict[str, int]) -> list[Panel]:
    panels = []
    for name, chains in list(results.items())[:3]:
        x = chains.series["x_0"][:200, 0]
        y = chains.series["x_1"][:200, 0]
        panels.append(Panel(f"{name}: one chain", "x_0", "x_1", [(name, x, y, None, "o-")], legend=False))
    for key in ("x_0", "|x_0|", "x_1"):
        lines = []
        for name, chains in results.items():
            gamma = autocovariance(chains.series[key])
            n = min(len(gamma) // 4, max(2, 400 // costs[name]))
            lines.append((name, costs[name] * np.arange(n), gamma[:n] / gamma[0], None, "-"))
        panels.append(Panel(f"autocorrelation of {key}", "gradient evaluations", "rho", lines, [("", 0.0)]))
    return panels
