"""Freezing of the topological charge, and what trained and untrained samplers make of it (Foreman 2021, Figs. 1, 4)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import exact, observables
from ..kernels import HMC, Cycle, FluxHeatBath, Kernel, Winding
from ..kernels.l2hmc import L2HMC
from ..maps.l2hmc import GeneralizedLeapfrog
from ..nets import Net
from ..statistics import integrated_autocorrelation_time
from ..theories import Theory, u1
from ..training import Rate, recipes
from ..tuning import TARGET
from .measure import (
    Charge,
    adapted_hmc,
    charge_of,
    combined,
    gradients,
    how,
    one_proposal,
    one_step_tau,
    run_chains,
    trained,
    tuned_hmc,
)
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

SHAPE = (8, 8)
COLUMNS = (
    "beta", "sampler", "gradients", "acceptance", "tau", "tau_error", "how", "rate", "rate_error",
    "ceiling", "ms_per_step", "cost_gradients", "cost_ms", "gain_gradients", "gain_seconds", "training_s",
)  # fmt: skip
HMC_NAME, TEMPERED, SCALARS, CONVOLUTIONAL = "HMC", "tempering by hand", "scalars", "convolutional, 8 layers"
WOUND, WINDING_ALONE, HEAT_BATH = "HMC + winding", "winding alone", "HMC + flux heat bath"
LAYERS = 16
STEP_SCALES = (0.3, 0.35, 0.4, 0.45, 0.5)  # times 1/sqrt(beta)
HEATS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Charge of 8x8 U(1) at beta = 2..7 by HMC, tempering, trained scalars and convolutions, winding, flux heat bath."""
    quick = check_effort(effort)
    betas = (2.0, 6.0) if quick else (2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    with_convolutions = () if quick else (4.0, 6.0)
    n_chains, n_seeds = (64, 2) if quick else (256, 3)
    length = 40 if quick else 200
    rows: list[tuple[Cell, ...]] = []
    baselines: dict[float, HMC] = {}
    for beta in bar(betas, "beta", progress):
        theory = u1(beta, SHAPE)
        seeds = np.random.SeedSequence([seed, 1, int(beta)]).spawn(16)
        hmc = baselines[beta] = tuned_hmc(theory, seed, quick)
        scalars, scalars_seconds = trained(theory, *recipes.scalars(theory, LAYERS, 20 if quick else 600), seed)
        samplers: list[tuple[str, Kernel, int, float | None]] = [
            (HMC_NAME, hmc, 5 * length, None),
            (TEMPERED, L2HMC(best_tempering(theory, 128 if quick else 512, seeds[0])), length, None),
            (SCALARS, L2HMC(scalars), length, scalars_seconds),
            (WOUND, Cycle([hmc, Winding(theory.action)]), length, None),
            (HEAT_BATH, Cycle([hmc, FluxHeatBath(theory.action)]), length, None),  # type: ignore[arg-type]
        ]
        if beta in with_convolutions:
            model, seconds = trained_convolutions(theory, seed)
            samplers.insert(3, (CONVOLUTIONAL, L2HMC(model), 50, seconds))
        baseline: tuple[float, float] | None = None
        for i, (name, kernel, n_steps, cost) in enumerate(samplers):
            runs = [charge_of(kernel, theory, n_chains, n_steps, s) for s in seeds[1 + i].spawn(n_seeds)]
            charge = combined(runs)
            own = charge.tau * gradients(kernel), charge.tau * charge.seconds
            baseline = own if baseline is None else baseline
            rows.append(_row(beta, name, kernel, charge, baseline, cost))
        rows.append(winding_row(theory, 2000 if quick else 20000, seeds[12]))
    notes, extra = heat_bath_far_out(seed, quick)
    rows += extra
    table = Table(
        "freezing",
        "integer charge of U(1) on 8 x 8 against beta (Foreman 2021, Figs. 1, 4)",
        COLUMNS,
        tuple(rows),
        (
            f"{n_seeds} seeds of {n_chains} chains from exact starts. rate: mean |change of Q| per step. ms per step and chain.",
            "how: measured = Gamma method; one-step = 2 <Q^2>/<(Q' - Q)^2> - 1/2 with exact <Q^2>, as if the charge were a",
            "single mode (a lower bound for a reversible kernel); lower bound = no change was seen, 95 %.",
            "cost = tau times gradients (or CPU ms) of a step; gain = cost of HMC / cost. Merged maps count both halves.",
            f"HMC: best of 5, 10, 20 steps, each with the step size of acceptance {TARGET:g}; the cycles have the same.",
            "ceiling: sum_Q min(p(Q), p(Q + 1)), for a step that proposes one unit of flux.",
            *notes,
        ),
        seed,
    )
    return finish(table, out, lambda: _panels(table, baselines, seed, quick))


def best_tempering(theory: Theory, n_chains: int, seed: np.random.SeedSequence) -> GeneralizedLeapfrog:
    """The hand-tuned tempering of the best one-step tau on a grid of step size and heat, on one set of configurations."""
    beta = theory.parameters["beta"]
    found = []
    for scale, s in itertools.product(STEP_SCALES, HEATS):
        model = recipes.tempering(theory, LAYERS, scale / np.sqrt(beta), s)
        same = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
        state, proposal, info = one_proposal(L2HMC(model), theory, n_chains, same)
        squared = info.acceptance * (observables.charge(proposal.x) - observables.charge(state.x)) ** 2.0
        found.append((one_step_tau(squared[None], theory.exact["charge^2"])[0], model))
    return min(found, key=lambda pair: pair[0])[1]


def trained_convolutions(
    theory: Theory, seed: int, n_layers: int = 8, steps: tuple[int, int] = (300, 200), progress: bool = False
) -> tuple[GeneralizedLeapfrog, float]:
    """Gauge-invariant convolutions that start as scalars trained for ``steps[0]``; CPU seconds of both trainings."""
    model, recipe = recipes.scalars(theory, n_layers, steps[0])
    hotter = 0.8 * LAYERS / n_layers * recipes.heat(theory.parameters["beta"])
    model = model.replace(params=recipes.heated(model.architecture, model.params, hotter))
    model, seconds = trained(theory, model, recipe, seed, progress)
    model = recipes.promoted(model, Net("conv", filters=(8,), activation="tanh", outputs="sq"))
    recipe = replace(recipe, steps=steps[1], rate=Rate(3e-3, "cosine", every=steps[1]), average=0.95)
    model, more = trained(theory, model, recipe, seed, progress)
    return model, seconds + more


def winding_row(theory: Theory, n: int, seed: np.random.SeedSequence) -> tuple[Cell, ...]:
    """One winding step from exact configurations: the mean of acceptance times |change of Q|, and its ceiling."""
    kernel = Winding(theory.action)
    state, proposal, info = one_proposal(kernel, theory, n, seed)  # type: ignore[arg-type]
    change = info.acceptance * np.abs(observables.charge(proposal.x) - observables.charge(state.x))
    beta = theory.parameters["beta"]
    numbers = float(info.acceptance.mean()), float(change.mean()), float(change.std(ddof=1) / np.sqrt(n))
    ceiling = exact.u1.winding_ceiling(beta, theory.field_shape[1:])  # type: ignore[arg-type]
    return (beta, WINDING_ALONE, 1, numbers[0], None, None, "one-step", *numbers[1:], ceiling, *[None] * 6)


def heat_bath_far_out(seed: int, quick: bool) -> tuple[list[str], list[tuple[Cell, ...]]]:
    """HMC with the flux heat bath where HMC alone is frozen for ever: beta = 20, on 8 x 8 and on 32 x 32."""
    notes: list[str] = []
    rows: list[tuple[Cell, ...]] = []
    for extent, n_chains, n_steps in ((8, 500, 200), (32, 500, 200)) if not quick else ((8, 64, 40),):
        theory = u1(20.0, (extent, extent))
        first, second = np.random.SeedSequence([seed, 20, extent]).spawn(2)
        hmc = adapted_hmc(theory, 4, seed, quick)
        kernel = Cycle([hmc, FluxHeatBath(theory.action)])  # type: ignore[arg-type]
        assert theory.sample is not None
        x = theory.sample(np.random.default_rng(first), n_chains)
        chains = run_chains(kernel, x, n_steps, second, {"charge": observables.charge})
        charges = chains.series["charge"][1:]
        changes = np.abs(np.diff(charges, axis=0))
        tau = integrated_autocorrelation_time(charges.astype(np.float64))
        rows.append(
            (20.0, f"{HEAT_BATH}, {extent}x{extent}", gradients(kernel), float(chains.acceptance.mean()),
             tau.tau, tau.error, "measured", float(changes.mean()),
             float(changes.mean(axis=0).std(ddof=1) / np.sqrt(n_chains)), None, 1e3 * chains.seconds / n_chains,
             tau.tau * gradients(kernel), 1e3 * tau.tau * chains.seconds / n_chains, None, None, None)
        )  # fmt: skip
        statistic, bins, p_value = charge_fit(charges, theory)
        notes.append(
            f"p(Q) at beta = 20 on {extent} x {extent}, {charges.size} draws: "
            f"chi^2 = {statistic:.1f} in {bins} bins, p = {p_value:.3f}"
        )
    return notes, rows


def charge_fit(charges: NDArray[np.int64], theory: Theory) -> tuple[float, int, float]:
    """Pearson's chi^2 of the histogram against the exact p(Q), tails joined to expect 10 draws; bins and p-value."""
    from scipy.stats import chi2

    values, p = exact.u1.charge_distribution(theory.parameters["beta"], theory.field_shape[1:])  # type: ignore[arg-type]
    common = p * charges.size >= 10
    expected = np.append(p[common], 1 - p[common].sum()) * charges.size
    counts = np.array([(charges == q).sum() for q in values[common]])
    observed = np.append(counts, charges.size - counts.sum())
    if expected[-1] < 10:  # too few in the tails for a bin of their own: they join the rarest sector
        rarest = int(np.argmin(expected[:-1]))
        expected[rarest] += expected[-1]
        observed[rarest] += observed[-1]
        expected, observed = expected[:-1], observed[:-1]
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return statistic, len(expected), float(chi2.sf(statistic, len(expected) - 1))


def _row(
    beta: float, name: str, kernel: Kernel, charge: Charge, baseline: tuple[float, float], cost: float | None
) -> tuple[Cell, ...]:
    price = gradients(kernel)
    costs = charge.tau * price, charge.tau * charge.seconds
    ceiling = exact.u1.winding_ceiling(beta, SHAPE) if name == WOUND else None
    return (
        beta, name, price, charge.acceptance, charge.tau, charge.error, how(charge), charge.rate, charge.rate_error,
        ceiling, 1e3 * charge.seconds, costs[0], 1e3 * costs[1], baseline[0] / costs[0], baseline[1] / costs[1], cost,
    )  # fmt: skip


def _panels(table: Table, baselines: dict[float, HMC], seed: int, quick: bool) -> Sequence[Panel]:
    names = [n for n in dict.fromkeys(table.column("sampler")) if n != WINDING_ALONE and not n[-1].isdigit()]
    panels = []
    for column, error, label in (
        ("tau", "tau_error", "tau_int of Q, steps"),
        ("cost_gradients", None, "gradients per independent Q"),
        ("cost_ms", None, "CPU ms per independent Q"),
    ):
        lines = []
        for name in names:
            found = table.where(sampler=name)
            bars = None if error is None else [r[error] if np.isfinite(r[error]) else 0.0 for r in found]
            lines.append((name, [r["beta"] for r in found], [r[column] for r in found], bars, "o-"))
        panels.append(Panel(label, "beta", label, lines, log_y=True))
    histories: list[tuple[str, Any, Any, Any, str]] = []
    for i, (beta, hmc) in enumerate(baselines.items()):
        theory = u1(beta, SHAPE)
        assert theory.sample is not None
        x = theory.sample(np.random.default_rng([seed, i]), 1)
        n_steps = 100 if quick else 1000
        charge = run_chains(hmc, x, n_steps, i, {"charge": observables.charge}).series["charge"]
        histories.append((f"beta = {beta:g}", np.arange(n_steps + 1), charge[:, 0] + 8 * i, None, "-"))
    panels.append(Panel("HMC, one chain each, shifted by 8", "step", "Q", histories))
    points = [[(row["beta"], max(row["rate"], 1e-6)) for row in table.where(sampler=name)] for name in names]
    rates = [(name, *zip(*own, strict=True), None, "o-") for name, own in zip(names, points, strict=True)]
    panels.append(Panel("tunnelling rate", "beta", "mean |change of Q| per step", rates, log_y=True))
    return panels
