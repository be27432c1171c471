"""The tutorial on flows for lattice field theory, arXiv:2101.08176: phi^4 and U(1), trained, and used by weights and Metropolis.

Its phi^4 has ``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2 + M2 phi^2 + lam phi^4 ]``, here called unhalved: fields are those of
`refimpl.actions.Phi4` over sqrt 2, squares half of theirs, and ``log Z`` less by ``(V/2) log 2``. Its flows begin with N(0, 1)
of these fields. Its U(1) is ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import statistics, theories
from ..actions.phi4 import from_unhalved
from ..estimators import reweighting
from ..kernels import HMC
from ..kernels.independence import pool_acceptance
from ..maps.base import Chain, Layer, Pull
from ..maps.coupling import affine_chain
from ..maps.decimation import Decimation
from ..maps.plaquette_coupling import PlaquetteCoupling
from ..maps.projections import ProjectionMixture
from ..models import Flow, Normal, UniformAngles
from ..theories import Theory
from ..training.flow import FlowRecipe, fit_flow
from ..training.flow_plans import flow_plan
from ..training.optimise import Rate
from ..tuning import adapted
from .measure import run_chains
from .table import Cell, Panel, Table, check_effort_of_paper, finish

Array = NDArray[np.float64]

SHAPE = (8, 8)
M2, LAM, BETA = -4.0, 8.0, 2.0
TUTORIAL, OURS, EXACT = "tutorial", "ours", "decimation"
REWEIGHTED, METROPOLIS, HMC_NAME = "reweighted", "Metropolis", "HMC"
TITLE = "the tutorial arXiv:2101.08176 on 8 x 8"
QUICK = "quick: shows that it runs, and nothing else"
COLUMNS = ("theory", "flow", "from", "quantity", "n", "value", "error", "reference", "reference_error", "sigmas")
CHUNK = 512
ROUNDING = 1e-9  # errors below it are none
FEW = 5  # draws that must be left for an error of a reweighted mean
WINDOW = 25  # training steps that a point of the figure averages


@dataclass(frozen=True)
class Effort:
    """Training steps of the tutorial's flows and of ours, chains and their steps, and those of HMC."""

    steps: Mapping[str, int]
    chains: int
    length: int
    hmc: tuple[int, int]


# A step of ours costs 1.7 times one of the tutorial's: the trainings take the same time.
EFFORTS = {
    "quick": Effort({TUTORIAL: 4, OURS: 3}, 8, 32, (16, 30)),
    "full": Effort({TUTORIAL: 1000, OURS: 600}, 64, 256, (64, 2000)),
    "paper": Effort({TUTORIAL: 10_000, OURS: 6000}, 64, 1024, (64, 8000)),
}


@dataclass(frozen=True, eq=False)
class Stretch:
    """A layer without parameters: ``y = factor x`` of scalars."""

    factor: float
    params: Mapping[str, Array] = field(default_factory=dict)

    def with_params(self, params: Mapping[str, Array]) -> Stretch:
        return self

    def forward(self, x: Array) -> tuple[Array, Array]:
        return self.factor * x, np.full(len(x), x[0].size * math.log(self.factor))

    def inverse(self, y: Array) -> tuple[Array, Array]:
        return y / self.factor, np.full(len(y), -y[0].size * math.log(self.factor))

    def forward_with_pullback(self, x: Array) -> tuple[Array, Array, Pull]:
        return *self.forward(x), lambda g_y, g_logdet: (self.factor * g_y, {})

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        return self.factor * x, np.full(len(x), x[0].size * math.log(self.factor))


@dataclass(frozen=True)
class Case:
    """A flow for a theory, how it is trained (None: it is exact), and its names."""

    theory: Theory
    name: str
    flow: Flow
    recipe: FlowRecipe | None


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """The tutorial's flows by its recipe, and ours, against exact values and HMC; `refimpl.reproduce` describes the arguments."""
    sizes = EFFORTS[check_effort_of_paper(effort)]
    own = np.random.SeedSequence([seed, 11])
    reference, tuned = hmc_reference(phi4(), sizes.hmc, own.spawn(1)[0], progress)
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = [
        f"HMC: {tuned.n_steps} steps of {tuned.step_size:.3f}, {sizes.hmc[0]} chains of {sizes.hmc[1]}."
    ]
    histories: dict[tuple[str, str], Array] = {}
    for case, seeds in zip(cases(sizes, seed), own.spawn(5), strict=True):
        begun, flow = time.process_time(), case.flow
        if case.recipe is not None:
            checkpoint = fit_flow(case.theory, flow, case.recipe, progress=progress)
            flow, histories[case.theory.name, case.name] = checkpoint.flow(flow), checkpoint.history[:, 0]
            seconds = time.process_time() - begun
            notes.append(f"{case.theory.name}, {case.name}: {case.recipe.steps} steps in {seconds:.0f} CPU seconds.")
        known = reference if case.theory.name == "phi4" else _known(case.theory)
        rows += judged(replace(case, flow=flow), known, sizes, np.random.default_rng(seeds))
    title = f"{TITLE}; {QUICK}" if effort == "quick" else TITLE
    table = Table("notebook", title, COLUMNS, tuple(rows), (*NOTES, *notes), seed)
    return finish(table, out, lambda: _panels(table, histories))


NOTES = (
    f"phi4: M2 = {M2:g}, lam = {LAM:g} and the units of the tutorial: phi^2, susceptibility V <m^2>, and C(t), of means of "
    "slices, are half of those of refimpl.actions.Phi4 at m2 = -4, lam = 48. u1: beta = 2.",
    "tutorial: 16 affine couplings, nets 1-8-8-2; 16 plaquette couplings in stripes, mixtures of 2 projections, nets 2-8-8-3; "
    "Adam, 1e-3, batches of 64. The number of steps is ours.",
    "ours: as refimpl train flow does it (couplings odd in phi; splines, loops, Polyakov loops), in the same time.",
    "ESS/n is of these n draws, and falls with n where the tail is heavy; k is the shape of the tail of the weights: from 0.5 on "
    "they have no variance, and errors of reweighted means, log Z and Metropolis are too small.",
    "Errors of weights and of Metropolis do not know of what a flow does not reach, nor does k: where phi4 is off by many errors, "
    f"its flow has tails that it did not meet, and wants more training. No error (-) where the ESS of all draws is below {FEW}.",
    "The tutorial's own trained model of u1 has an ESS of 0.10; its weights are not at hand, and what is here is trained anew.",
    "loss: mean of -log w; its reference is the least possible, -log Z. acceptance: its reference is from pairs of draws.",
    "Metropolis: independence chains over the same draws, the first accepted, a quarter left out. Reference of phi4: HMC.",
)  # fmt: skip


def phi4() -> Theory:
    """The tutorial's, in our units."""
    action, _ = from_unhalved(M2, LAM)
    return theories.phi4(action.m2, action.lam, SHAPE)


def cases(sizes: Effort, seed: int) -> list[Case]:
    """The tutorial's flow and ours for both theories, and the exact one."""
    scalars, gauge = phi4(), theories.u1(BETA, SHAPE)
    found = []
    for theory, flow in ((scalars, tutorial_phi4(seed)), (gauge, tutorial_u1(seed))):
        plain = FlowRecipe(sizes.steps[TUTORIAL], rate=Rate(1e-3), clip=None, average=0.0, seed=seed)
        plan = flow_plan(theory, sizes.steps[OURS])
        found.append(Case(theory, TUTORIAL, flow, plain))
        found.append(Case(theory, OURS, replace(plan, seed=seed).flow(theory), replace(plan.recipe, seed=seed)))
    return [*found, Case(gauge, EXACT, Flow(UniformAngles(SHAPE), Decimation(BETA, SHAPE)), None)]


def tutorial_phi4(seed: int) -> Flow:
    """16 affine couplings of the unhalved field, then in our units."""
    layers = affine_chain(np.random.default_rng([seed, 1]), 16, (8, 8))
    return Flow(Normal(SHAPE), Chain((*layers.layers, Stretch(math.sqrt(2)))))


def tutorial_u1(seed: int) -> Flow:
    """16 couplings of plaquettes that see frozen plaquettes alone."""
    rng = np.random.default_rng([seed, 2])
    layers: tuple[Layer, ...] = tuple(
        PlaquetteCoupling.init(rng, SHAPE, i, circle=ProjectionMixture(2), hidden=(8, 8), loops="none", polyakov=False)
        for i in range(16)
    )
    return Flow(UniformAngles(SHAPE), Chain(layers))


def hmc_reference(
    theory: Theory, size: tuple[int, int], seed: np.random.SeedSequence, progress: bool
) -> tuple[dict[str, tuple[float, float]], HMC]:
    """Averages of long chains of HMC with errors, the first quarter left out, and the kernel."""
    n_chains, n_steps = size
    start, tuning, running = seed.spawn(3)
    # From a field of unit variance, three times what it should be, many a trajectory is never accepted.
    assert theory.near is not None
    x = theory.near(np.random.default_rng(start), n_chains)
    kernel = adapted(HMC(theory.action, 0.15, 8), x, tuning, trajectories=min(60, n_steps)).kernel
    shown = f"{HMC_NAME} of {theory.name}, the reference" if progress else None
    series = run_chains(kernel, x, n_steps, running, theory.observables, shown).series
    return {name: _mean(values[n_steps // 4 :]) for name, values in series.items()}, kernel


def _known(theory: Theory) -> dict[str, tuple[float, float]]:
    return {name: (theory.exact[name], 0.0) for name in theory.observables}


def judged(
    case: Case, known: Mapping[str, tuple[float, float]], sizes: Effort, rng: np.random.Generator
) -> list[tuple[Cell, ...]]:
    """The rows of a flow: its weights, what they say, and what Metropolis says."""
    log_w, values = draws(case, sizes.chains * sizes.length, rng)
    units, log_z = Units.of(case.theory), theories.log_partition(case.theory)
    pairs = (pool_acceptance(log_w), 0.0)
    at, moved = metropolis_chains(log_w.reshape(sizes.length, -1), rng)
    kept = slice(sizes.length // 4, None)
    rates = moved[kept].mean(axis=0)
    loss = (units.log_volume - log_w.mean(), log_w.std() / math.sqrt(len(log_w)))
    ess = reweighting.relative_ess(log_w)
    certain, moves = ess * len(log_w) >= FEW, rates.std(ddof=1) / math.sqrt(len(rates))
    value, error = reweighting.log_partition(log_w)
    found: list[tuple[str, str, float, float | None, tuple[float, float] | None]] = [
        (REWEIGHTED, "ESS/n", ess, None, None),
        (REWEIGHTED, "k", reweighting.pareto_shape(log_w), None, None),
        (REWEIGHTED, "loss", *loss, None if log_z is None else (-log_z, 0.0)),
        (
            REWEIGHTED,
            "log Z",
            value - units.log_volume,
            error if certain else None,
            None if log_z is None else (log_z, 0.0),
        ),
        (METROPOLIS, "acceptance", rates.mean(), moves if certain else None, pairs),
    ]
    for name, (label, factor) in units.quantities.items():
        expected = (factor * known[name][0], factor * known[name][1])
        weighted = reweighting.reweighted_mean(log_w, values[name])
        series = np.take_along_axis(values[name].reshape(sizes.length, -1), at, axis=0)[kept]
        for source, one in ((REWEIGHTED, weighted), (METROPOLIS, _mean(series))):
            spread = factor * float(one[1]) if certain else None
            found.append((source, label, factor * float(one[0]), spread, expected))
    return [_row(case, len(log_w), *cells) for cells in found]


def draws(case: Case, n: int, rng: np.random.Generator) -> tuple[Array, dict[str, Array]]:
    """``log w`` and the observables of n fields of the flow."""
    log_w: list[Array] = []
    values: dict[str, list[Array]] = {name: [] for name in case.theory.observables}
    for start in range(0, n, CHUNK):
        x, log_prob = case.flow.sample(rng, min(CHUNK, n - start))
        log_w.append(-case.theory.action.action(x) - log_prob)
        for name, observable in case.theory.observables.items():
            values[name].append(np.asarray(observable(x), np.float64))
    return np.concatenate(log_w), {name: np.concatenate(parts) for name, parts in values.items()}


def metropolis_chains(log_w: Array, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Independence Metropolis over draws ``(step, chain)``: which draw a chain has at each step, and if it moved."""
    u, chains = rng.random(log_w.shape), np.arange(log_w.shape[1])
    at, moved = np.zeros(log_w.shape, np.int64), np.ones(log_w.shape, bool)
    for k in range(1, len(log_w)):
        before = at[k - 1]
        moved[k] = np.log(u[k]) < log_w[k] - log_w[before, chains]
        at[k] = np.where(moved[k], k, before)
    return at, moved


@dataclass(frozen=True)
class Units:
    """What the tutorial's units make of ours: labels and factors of observables by name, and ``log(d phi/d phi_there)``."""

    quantities: Mapping[str, tuple[str, float]]
    log_volume: float

    @classmethod
    def of(cls, theory: Theory) -> Units:
        volume = math.prod(SHAPE)
        if theory.name == "u1":
            return cls({"plaquette": ("plaquette", 1.0), "charge^2": ("<Q^2>/V", 1 / volume)}, 0.0)
        correlators = {f"correlator_{t}": (f"C({t})", 0.5) for t in range(SHAPE[0] // 2 + 1)}
        moments = {"phi^2": ("phi^2", 0.5), "magnetisation^2": ("susceptibility", volume / 2)}
        return cls(moments | correlators, 0.5 * volume * math.log(2))


def _mean(series: Array) -> tuple[float, float]:
    """Of chains ``(step, chain)``."""
    mean = statistics.mean(series)
    return mean.value, mean.error


def _row(
    case: Case, n: int, source: str, label: str, value: float, error: float | None, expected: tuple[float, float] | None
) -> tuple[Cell, ...]:
    """None for what is not a finite number; no deviation where the error is of rounding, or there is none."""
    cells = [None if number is None or not math.isfinite(number) else float(number) for number in (value, error)]
    if expected is None:
        return (case.theory.name, case.name, source, label, n, *cells, None, None, None)
    reference, own = expected
    total = math.hypot(error or 0.0, own)
    # A loss has its reference as a bound.
    comparable = error is not None and ROUNDING < total < math.inf and label != "loss"
    sigmas = float((value - reference) / total) if comparable else None
    return (case.theory.name, case.name, source, label, n, *cells, reference, own or None, sigmas)


def _panels(table: Table, histories: Mapping[tuple[str, str], Array]) -> list[Panel]:
    panels = []
    for theory in ("phi4", "u1"):
        lines: list[tuple[str, Any, Any, Any, str]] = []
        for (of, name), losses in histories.items():
            if of == theory:
                points = len(losses) // min(WINDOW, len(losses))
                means = [part.mean() for part in np.array_split(losses, points)]
                lines.append((name, np.linspace(0, len(losses), points), means, None, "-"))
        known = theories.log_partition(theories.u1(BETA, SHAPE)) if theory == "u1" else None
        levels = [] if known is None else [("-log Z", -known)]
        panels.append(Panel(f"training, {theory}", "step", "loss", lines, levels))
    found: list[tuple[str, Any, Any, Any, str]] = []
    for name, source, style in ((TUTORIAL, REWEIGHTED, "o"), (OURS, REWEIGHTED, "s"), (OURS, METROPOLIS, "^")):
        rows = [
            row for row in table.where(theory="phi4", flow=name) if row["from"] == source and row["quantity"][0] == "C"
        ]
        t = np.arange(len(rows)) + 0.1 * len(found)
        found.append(
            (f"{name}, {source}", t, [row["value"] for row in rows], [row["error"] or 0.0 for row in rows], style)
        )
    hmc = [(row["reference"], row["reference_error"]) for row in rows]
    found.append((HMC_NAME, np.arange(len(hmc)), [value for value, _ in hmc], [error for _, error in hmc], "-"))
    return [*panels, Panel("phi4", "t", "C(t)", found)]
