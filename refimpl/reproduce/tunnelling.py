"""Tunnelling of trained samplers against HMC: chain by chain, against the step size, against the length; and no bias.

Foreman 2020, Tables 1, 2 (tunnelling) and Figs. 33, 34 (step size); Foreman 2021, Fig. 5 (length).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import observables
from ..kernels import HMC, Kernel
from ..kernels.l2hmc import L2HMC
from ..maps.l2hmc import GeneralizedLeapfrog
from ..statistics import mean
from ..theories import Theory, u1
from ..training import recipes
from .measure import adapted_hmc, charge_of, gradients, how, run_chains, trained, tuned_hmc
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

SHAPE = (8, 8)


def trained_scalars(
    theory: Theory, steps: int, seed: int, n_layers: int = 16, progress: bool = False
) -> tuple[GeneralizedLeapfrog, float]:
    """Merged scalars; a short trajectory starts hotter, with about the total heat of sixteen layers."""
    model, recipe = recipes.scalars(theory, n_layers, steps)
    if n_layers != 16:
        s = min(2.0, 0.8 * 16 / n_layers * recipes.heat(theory.parameters["beta"]))
        model = model.replace(params=recipes.heated(model.architecture, model.params, s))
    return trained(theory, model, recipe, seed, progress)


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Tunnelling events of four chains at beta = 5: trained scalars, HMC of as many gradients, and tuned HMC."""
    quick = check_effort(effort)
    theory = u1(5.0, SHAPE)
    n_chains, n_steps = 4, 200 if quick else 2000
    model, _ = trained_scalars(theory, 20 if quick else 300, seed, progress=progress)
    samplers: dict[str, Kernel] = {
        "trained scalars": L2HMC(model),
        "HMC, 32 steps": adapted_hmc(theory, 32, seed, quick),
        "HMC, tuned": tuned_hmc(theory, seed, quick),
    }
    rows: list[tuple[Cell, ...]] = []
    histories = {}
    for i, (name, kernel) in enumerate(bar(list(samplers.items()), "samplers", progress)):
        first, second = np.random.SeedSequence([seed, 12, i]).spawn(2)
        assert theory.sample is not None
        x = theory.sample(np.random.default_rng(first), n_chains)
        chains = run_chains(kernel, x, n_steps, second, {"charge": observables.charge})
        histories[name] = chains.series["charge"]
        changes = np.abs(np.diff(chains.series["charge"], axis=0))
        for c in range(n_chains):
            accepted = mean(chains.acceptance[:, c])
            rows.append(
                (name, f"chain {c + 1}", gradients(kernel), int((changes[:, c] > 0).sum()),
                 float(changes[:, c].mean()), accepted.value, accepted.error)
            )  # fmt: skip
        rates = changes.mean(axis=0)
        whole = mean(chains.acceptance)
        rows.append(
            (name, "average", gradients(kernel), float((changes > 0).sum() / n_chains), float(rates.mean()),
             whole.value, whole.error)
        )  # fmt: skip
    table = Table(
        "tunnelling",
        f"tunnelling events in {n_steps} steps at beta = 5 on 8 x 8 (Foreman 2020, Tables 1, 2)",
        ("sampler", "chain", "gradients", "events", "rate", "acceptance", "acceptance_error"),
        tuple(rows),
        (
            "events: steps in which the integer charge changed; rate: mean |change| per step (eqs. 57, 82). Exact starts.",
            "The tables of 2020 found 2.4 (trained) and 2 (HMC) events in 10,000 steps: there was no gain, and no tuning.",
        ),
        seed,
    )

    def panels() -> Sequence[Panel]:
        return [
            Panel(name, "step", "Q, chains shifted by 10",
                  [(f"chain {c + 1}", np.arange(n_steps + 1), q[:, c] + 10 * c, None, "-") for c in range(n_chains)])
            for name, q in histories.items()
        ]  # fmt: skip

    return finish(table, out, panels)


def step_size(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Tunnelling rate of HMC against its step size at beta = 4, 4.5, 5, with the trained sampler beside it."""
    quick = check_effort(effort)
    betas = (4.0,) if quick else (4.0, 4.5, 5.0)
    steps = (0.1, 0.2) if quick else (0.05, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.35)
    n_chains, length = (64, 40) if quick else (256, 150)
    rows: list[tuple[Cell, ...]] = []
    for beta in bar(betas, "beta", progress):
        theory = u1(beta, SHAPE)
        seeds = np.random.SeedSequence([seed, 33, int(10 * beta)]).spawn(len(steps) + 1)
        model, _ = trained_scalars(theory, 20 if quick else 250, seed, progress=progress)
        samplers: list[tuple[str, float | None, Kernel]] = [
            *(("HMC, 10 steps", eps, HMC(theory.action, eps, 10)) for eps in steps),
            ("trained scalars", None, L2HMC(model)),
        ]
        for (name, eps, kernel), own in zip(samplers, seeds, strict=True):
            charge = charge_of(kernel, theory, n_chains, length, own)
            price = gradients(kernel)
            rows.append(
                (beta, name, eps, price, charge.acceptance, charge.rate, charge.rate_error, charge.rate / price)
            )
    table = Table(
        "step-size",
        "tunnelling rate against the step size on 8 x 8 (Foreman 2020, Figs. 33, 34)",
        ("beta", "sampler", "step_size", "gradients", "acceptance", "rate", "rate_error", "rate_per_gradient"),
        tuple(rows),
        (f"{n_chains} chains of {length} steps from exact starts; rate: mean |change of Q| per step.",),
        seed,
    )

    def panels() -> Sequence[Panel]:
        result = []
        for beta in betas:
            hmc = [row for row in table.where(beta=beta, sampler="HMC, 10 steps") if row["rate"] > 0]
            own = table.where(beta=beta, sampler="trained scalars")[0]
            columns = [[row[name] for row in hmc] for name in ("step_size", "rate", "rate_error")]
            levels = [("trained scalars, per step", own["rate"]), ("per 10 gradients", 10 * own["rate_per_gradient"])]
            panels = [("HMC, 10 steps", *columns, "o-"), ("acceptance of HMC", columns[0], [r["acceptance"] for r in hmc],
                      None, ".:")]  # fmt: skip
            result.append(Panel(f"beta = {beta:g}", "step size", "rate", panels, levels, log_y=True))  # type: ignore[arg-type]
        return result

    return finish(table, out, panels)


def length(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """tau_int of Q against the length of the trajectory: HMC of adapted step size, and scalars trained with 4, 8 and 16 layers."""
    quick = check_effort(effort)
    betas = (4.0,) if quick else (4.0, 5.0, 6.0, 7.0)
    numbers = (4,) if quick else (4, 8, 16)
    n_chains = 64 if quick else 256
    rows: list[tuple[Cell, ...]] = []
    jobs = [(beta, n) for beta in betas for n in numbers]
    for beta, n in bar(jobs, "length", progress):
        theory = u1(beta, SHAPE)
        first, second = np.random.SeedSequence([seed, 5, int(beta), n]).spawn(2)
        model, seconds = trained_scalars(theory, 20 if quick else 300, seed, n, progress)
        kernels: list[tuple[str, Kernel, int, float | None]] = [
            ("HMC", adapted_hmc(theory, 2 * n, seed, quick), 60 if quick else 400, None),
            ("trained scalars", L2HMC(model), 60 if quick else 200, seconds),
        ]
        for (name, kernel, n_steps, cost), own in zip(kernels, (first, second), strict=True):
            charge = charge_of(kernel, theory, n_chains, n_steps, own)
            price = gradients(kernel)
            rows.append(
                (beta, name, price, charge.acceptance, charge.tau, charge.error, how(charge), charge.tau * price, cost)
            )
    table = Table(
        "length",
        "autocorrelation of Q against the length of the trajectory on 8 x 8 (Foreman 2021, Fig. 5)",
        ("beta", "sampler", "gradients", "acceptance", "tau", "tau_error", "how", "cost_gradients", "training_s"),
        tuple(rows),
        (
            f"{n_chains} chains from exact starts. N layers are merged with their inverses: 2 N gradients, as HMC of 2 N steps.",
            "how: as in 'freezing'; one-step is a lower bound, 'lower bound' means that no change was seen (95 %).",
        ),
        seed,
    )

    def panels() -> Sequence[Panel]:
        result = []
        for beta in betas:
            lines = []
            for name in ("HMC", "trained scalars"):
                found = table.where(beta=beta, sampler=name)
                errors = [r["tau_error"] if math.isfinite(r["tau_error"]) else 0.0 for r in found]
                lines.append((name, [r["gradients"] for r in found], [r["tau"] for r in found], errors, "o-"))
            result.append(
                Panel(f"beta = {beta:g}", "gradients of a trajectory", "tau_int of Q, steps", lines, log_y=True)
            )
        return result

    return finish(table, out, panels)


def plaquette(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """The average plaquette of trained samplers at beta = 2, 4, 6 against its exact value in the finite volume."""
    quick = check_effort(effort)
    betas = (4.0,) if quick else (2.0, 4.0, 6.0)
    n_chains, n_steps = (64, 40) if quick else (512, 1500)
    rows: list[tuple[Cell, ...]] = []
    for beta in bar(betas, "beta", progress):
        theory = u1(beta, SHAPE)
        first, second = np.random.SeedSequence([seed, 51, int(beta)]).spawn(2)
        # The loss on the charge ends at an acceptance of 0.15 at beta = 2; this one moves plaquettes.
        model, recipe = recipes.scalars(theory, 8, 20 if quick else 300)
        model, _ = trained(theory, model, replace(recipe, loss="plaquette-plain"), seed, progress)
        assert theory.sample is not None
        x = theory.sample(np.random.default_rng(first), n_chains)
        record = {name: theory.observables[name] for name in ("plaquette", "charge^2")}
        chains = run_chains(L2HMC(model), x, n_steps, second, record)
        for name in record:
            # The mean over steps 1, 2, ... of each chain; the chains are independent and start in equilibrium.
            means = chains.series[name][1:].mean(axis=0)
            error = float(means.std(ddof=1) / math.sqrt(n_chains))
            deviation = float(means.mean()) - theory.exact[name]
            tau = mean(chains.series[name][1:]).tau.tau
            rows.append(
                (beta, name, float(chains.acceptance.mean()), float(means.mean()), error, theory.exact[name],
                 deviation, deviation / error, tau)
            )  # fmt: skip
    table = Table(
        "plaquette",
        "averages of trained samplers against exact values on 8 x 8 (Foreman 2020, sec. 10.3)",
        ("beta", "observable", "acceptance", "mean", "error", "exact", "deviation", "sigmas", "tau"),
        tuple(rows),
        (
            f"{n_chains} chains of {n_steps} steps of scalars of 8 layers, trained on the plaquette distance, exact starts.",
            "Errors from the scatter of the chains, which are independent.",
        ),
        seed,
    )

    def panels() -> Sequence[Panel]:
        lines = []
        for name in ("plaquette", "charge^2"):
            found = table.where(observable=name)
            lines.append((name, [r["beta"] for r in found], [r["sigmas"] for r in found], [1.0] * len(found), "o"))
        return [Panel("deviation from the exact value", "beta", "sigmas", lines, [("", 0.0)])]

    return finish(table, out, panels)
