"""Topology with two flavours of quarks: HMC with the exact determinant, moves along the flux orbit, independence Metropolis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import exact, observables, theories
from ..actions import Sum, WilsonDeterminant, WilsonU1
from ..kernels import (
    HMC,
    Cycle,
    IndependenceMetropolis,
    Kernel,
    OrbitHeatBath,
    OrbitMetropolis,
    OrbitPool,
    PureGauge,
    Winding,
    matched_beta,
)
from ..kernels.independence import pool_acceptance
from ..tuning import TARGET, adapted
from .measure import Chains, charge_in, how, run_chains, tuned_hmc
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

COLUMNS = (
    "beta", "kappa", "L", "sampler", "tau", "tau_error", "how", "acceptance", "expected", "determinants",
    "plaquette", "plaquette_error", "charge^2", "charge^2_error", "ms_per_step", "seconds_per_charge", "gain",
)  # fmt: skip
REWEIGHTED, HMC_NAME, INDEPENDENCE = "reweighted proposals", "HMC", "independence"
MOVES = ("HMC + W", "HMC + C1", "HMC + CM", "HMC + full orbit")
CANDIDATES = 4
EQUILIBRATION = 20  # steps of independence Metropolis, which keep what is left of a start by a factor of two each


@dataclass(frozen=True)
class Start:
    """Where a run begins: its target, the proposals of the beta that matches, fields near equilibrium, and what they say.

    ``averages``: name -> (value, error) of plaquette and charge^2 from independent weighted proposals. ``acceptance``: that
    of independence Metropolis, from the same weights. ``size``: their effective sample size as a fraction.
    """

    action: Sum
    proposal: PureGauge
    x: Array
    averages: dict[str, tuple[float, float]]
    acceptance: float
    size: float


@dataclass(frozen=True)
class Effort:
    """Lattices, chains and steps."""

    couplings: tuple[tuple[float, float], ...]  # beta and kappa, of a m about 0.5 and 0.35
    extents: tuple[int, ...]
    proposals: int
    hmc: tuple[int, int]
    moves: tuple[int, int]
    independence: tuple[tuple[int, int], ...]


FULL = Effort(((6.0, 0.2432), (2.0, 0.265)), (8, 16), 600, (48, 300), (32, 100), ((32, 400), (16, 100)))
QUICK = Effort(((2.0, 0.265),), (4,), 200, (16, 20), (16, 20), ((16, 40),))


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Charge of the Schwinger model at beta = 6, kappa = 0.2432 by HMC, alone and with moves, and by independence Metropolis."""
    quick = check_effort(effort)
    sizes = QUICK if quick else FULL
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    histories: list[tuple[str, NDArray[np.int64]]] = []
    jobs = [(coupling, extent) for coupling in sizes.couplings for extent in sizes.extents]
    for i, ((beta, kappa), extent) in enumerate(bar(jobs, "lattice", progress)):
        seeds = np.random.SeedSequence([seed, 5, int(10 * beta), extent]).spawn(10)
        n_chains, n_steps = sizes.independence[sizes.extents.index(extent)]
        most = max(n_chains, sizes.hmc[0]) if i == 0 else n_chains
        start = near_equilibrium(beta, kappa, extent, most, sizes.proposals, seeds[0])
        where = (beta, kappa, extent)
        rows.append((*where, REWEIGHTED, *[None] * 4, start.acceptance, None, *_averages(start), *[None] * 3))
        notes.append(
            f"beta = {beta:g}, L = {extent}: proposals at beta' = {start.proposal.beta:.3f}, "
            f"effective sample size {start.size:.2f} of {sizes.proposals} weighted proposals."
        )
        price = None
        if i == 0:
            hmc = baseline(start, seed, quick)
            notes.append(f"HMC: {hmc.n_steps} steps of {hmc.step_size:.4f}.")
            for own, (name, kernel) in zip(seeds[2:], samplers(hmc, start.action).items(), strict=False):
                chains_and_steps = sizes.hmc if name == HMC_NAME else sizes.moves
                chains = _run(kernel, start, *chains_and_steps, own, _shown(where, name, progress))
                rows.append((*where, name, *_measured(chains, kernel, start, price)))
                price = rows[-1][COLUMNS.index("seconds_per_charge")] if name == HMC_NAME else price
                histories.append((name, chains.series["charge"][:, 0]))
        kernel = IndependenceMetropolis(start.action, start.proposal)
        chains = _run(kernel, start, n_chains, n_steps, seeds[1], _shown(where, INDEPENDENCE, progress))
        rows.append((*where, INDEPENDENCE, *_measured(chains, kernel, start, price)))
        histories += [(INDEPENDENCE, chains.series["charge"][:, 0])] if i == 0 else []
    table = Table(
        "schwinger-topology",
        "charge with two flavours: HMC, orbit moves, independence Metropolis",
        COLUMNS,
        tuple(rows),
        (
            "tau_int of the charge in steps; a step of a cycle is one trajectory and one move. how: see the experiment freezing.",
            "acceptance: of the move, or of HMC alone; in C1 a flux of 0 is accepted; CM: the probability of a candidate, full",
            "orbit: of another member. expected: that of independence Metropolis, from independent weights.",
            "determinants: of the move, per step; a trajectory takes one more, and as many inverses as steps.",
            "seconds per charge: CPU, of 2 tau steps of a chain; gain: those of HMC / these.",
            f"CM: {CANDIDATES} candidates. HMC: the number of steps that is best without quarks at beta', the step size of "
            f"acceptance {TARGET:g}.",
            f"Starts: proposals, {EQUILIBRATION} steps of independence Metropolis. Reweighted: the proposals and their weights.",
            *notes,
        ),
        seed,
    )
    return finish(table, out, lambda: _panels(table, histories))


def near_equilibrium(
    beta: float, kappa: float, extent: int, n_chains: int, n_proposals: int, seed: np.random.SeedSequence
) -> Start:
    """The beta that matches, averages from weighted proposals at it, and fields after some independence steps."""
    rng, last = np.random.default_rng(seed.spawn(1)[0]), seed.spawn(1)[0]
    shape = (extent, extent)
    action = WilsonU1(beta) + WilsonDeterminant(kappa)
    proposal = PureGauge(beta, shape)
    for _ in range(2):  # the beta that is matched hardly depends on the one it is found at, only its error does
        x = exact.u1.sample(rng, n_proposals, proposal.beta, shape)
        log_w = proposal.action(x) - action.action(x)
        w = np.exp(log_w - log_w.max())
        averages = {name: _weighted(w, f(x)) for name, f in _recorded().items()}
        found, proposal = proposal, PureGauge(matched_beta(averages["plaquette"][0]), shape)
    kernel = IndependenceMetropolis(action, found)
    start = exact.u1.sample(rng, n_chains, found.beta, shape)
    x = run_chains(kernel, start, EQUILIBRATION, last, {"x": np.array}).series["x"][-1]
    return Start(action, found, x, averages, pool_acceptance(log_w), float(w.sum() ** 2 / np.sum(w**2) / len(w)))


def baseline(start: Start, seed: int, quick: bool) -> HMC:
    """HMC with the number of steps that is best for the charge without quarks, and the step size that is right with them."""
    if quick:
        return adapted(HMC(start.action, 0.3, 5), start.x, seed, trajectories=10).kernel
    pure = tuned_hmc(theories.u1(start.proposal.beta, start.proposal.shape), seed, quick=True)
    return adapted(HMC(start.action, pure.step_size, pure.n_steps), start.x[:16], seed, trajectories=40).kernel


def samplers(hmc: HMC, action: Sum) -> dict[str, Kernel]:
    """HMC alone and in cycles with one move each, by name."""
    moves: tuple[Kernel, ...] = (
        Winding(action), OrbitMetropolis(action), OrbitPool(action, CANDIDATES), OrbitHeatBath(action)
    )  # fmt: skip
    return {HMC_NAME: hmc, **{name: Cycle([hmc, move]) for name, move in zip(MOVES, moves, strict=True)}}


def _run(
    kernel: Kernel, start: Start, n_chains: int, n_steps: int, seed: np.random.SeedSequence, shown: str | None
) -> Chains:
    return run_chains(kernel, start.x[:n_chains], n_steps, seed, {"charge": observables.charge, **_recorded()}, shown)


def _shown(where: tuple[float, float, int], sampler: str, progress: bool) -> str | None:
    """What the progress bar of a run says."""
    return f"beta = {where[0]:g}, L = {where[2]}: {sampler}" if progress else None


def _measured(chains: Chains, kernel: Kernel, start: Start, price: Any) -> tuple[Cell, ...]:
    """The cells of a run from tau on."""
    charge = charge_in(chains, start.averages["charge^2"][0])
    infos = [info[-1] for info in chains.infos]
    move = kernel.kernels[-1] if isinstance(kernel, Cycle) else kernel
    expected = start.acceptance if isinstance(move, IndependenceMetropolis) else None
    each = 0.0 if isinstance(move, HMC) else 1.0
    determinants = float(np.mean([getattr(info, "evaluations", each) for info in infos]))
    averages = []
    for name in ("plaquette", "charge^2"):
        means = chains.series[name][1:].mean(axis=0)
        averages += [float(means.mean()), float(means.std(ddof=1) / math.sqrt(means.size))]
    seconds = 2 * charge.tau * charge.seconds
    return (
        charge.tau, charge.error, how(charge), float(np.mean([info.acceptance for info in infos])), expected, determinants,
        *averages, 1e3 * charge.seconds, seconds, None if price is None else price / seconds,
    )  # fmt: skip


def _recorded() -> dict[str, Any]:
    return {"plaquette": observables.mean_plaquette, "charge^2": theories.Squared(observables.charge)}


def _averages(start: Start) -> list[float]:
    return [number for name in ("plaquette", "charge^2") for number in start.averages[name]]


def _weighted(w: Array, values: Array) -> tuple[float, float]:
    """The weighted mean and its error."""
    mean = float(np.sum(w * values) / w.sum())
    return mean, float(np.sqrt(np.sum(w**2 * (values - mean) ** 2)) / w.sum())


def _panels(table: Table, histories: Sequence[tuple[str, NDArray[np.int64]]]) -> list[Panel]:
    found = [row for row in table.where(L=table.rows[0][2], beta=table.rows[0][0]) if row["tau"] is not None]
    names = [row["sampler"] for row in found]
    x = np.arange(len(found))
    errors = [row["tau_error"] if math.isfinite(row["tau_error"]) else 0.0 for row in found]
    panels = [
        Panel("tau_int of Q, steps", "", "tau_int of Q", [("", x, [row["tau"] for row in found], errors, "o")],
              [("every step independent", 0.5)], log_y=True, legend=False, x_names=names),
        Panel("CPU seconds per independent Q", "", "seconds", [("", x, [row["seconds_per_charge"] for row in found], None, "o")],
              log_y=True, legend=False, x_names=names),
    ]  # fmt: skip
    length = min(len(charge) for _, charge in histories)
    lines: list[tuple[str, Any, Any, Any, str]] = []
    levels: list[tuple[str, float]] = []
    for i, (name, charge) in enumerate(reversed(histories)):
        lines.append(("", np.arange(length), charge[:length] + 6 * i, None, "-"))
        levels.append((f"{name}: Q = 0", 6.0 * i))
    return [*panels, Panel("one chain each, shifted by 6", "step", "Q", lines, levels, legend=False)]
