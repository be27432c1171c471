"""Distributions of observables from joint models, reweighted, against HMC, and their means: Abbott 2022, Figs. 6 and 7."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import observables, statistics
from ..actions import wilson_dirac
from ..estimators import reweighting
from ..kernels import HMC
from ..observables import pseudoscalar_correlator
from ..theories import Theory
from ..tuning import adapted
from .histograms import RESAMPLES, Histogram, common_edges, disagreement, histogram, integer_edges
from .joint_models import (
    HASENBUSCH,
    HEAVY_QUARKS,
    KAPPA,
    QUICK,
    SIZES,
    SU3_SIZES,
    Draws,
    Sizes,
    Target,
    best_inflation,
    draws,
    finite_share,
    inflated,
    joint_log_weights,
    plan_for,
    schwinger,
    su3,
    trained,
)
from .measure import run_chains
from .notebook import metropolis_chains
from .table import Cell, Panel, Table, check_effort_of_paper, finish

Array = NDArray[np.float64]
Observables = Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]]

COLUMNS = ("quantity", "from", "N_pf", "mean", "error", "sigmas", "ESS", "acceptance")
EXACT, HMC_NAME, REWEIGHTED = "independent exact fields", "HMC", "flow, reweighted"
KEPT, REFRESHED = "pseudomarginal, estimate kept", "estimate refreshed (wrong)"
# Pseudofermions for which a refreshed estimate is shown to be wrong, and their inflation beyond the best: estimates of a good model
# have too little noise for the bias to be seen in minutes.
FEW, NOISE = 1, 1.1


@dataclass(frozen=True)
class Statistics:
    """How much of everything.

    Parameters
    ----------
    links : of the flow. n_pf : pseudofermions of every monomial at each. chains : of Metropolis over these links.
    hmc : chains, their steps, and every how many of these are kept. fields : independent ones, where there is an exact sampler.
    bins : of histograms.
    """

    links: int
    n_pf: int
    chains: int
    hmc: tuple[int, int, int]
    fields: int
    bins: int


STATISTICS = {
    "quick": Statistics(96, 4, 8, (4, 8, 2), 64, 5),
    "full": Statistics(32_768, 64, 64, (64, 600, 5), 16_384, 24),
    "paper": Statistics(51_200, 64, 64, (64, 2000, 10), 51_200, 24),
}
SU3_STATISTICS = {
    "quick": Statistics(32, 2, 4, (2, 6, 2), 0, 3),
    "full": Statistics(8192, 64, 32, (32, 300, 5), 0, 16),
    "paper": Statistics(41_000, 64, 32, (32, 1000, 10), 0, 16),
}


@dataclass(frozen=True)
class Case:
    """A figure: its theory, the target of its model, the observables shown, and sizes."""

    name: str
    what: str
    theory: Theory
    target: Target
    shown: Observables
    sizes: Sizes
    numbers: Statistics


def fig6(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Plaquette and charge of the Schwinger model; `refimpl.reproduce` describes the arguments."""
    sizes, numbers = SIZES[check_effort_of_paper(effort)], STATISTICS[effort]
    shown = {"plaquette": observables.mean_plaquette, "charge": observables.charge}
    what = Case("fig6", "Schwinger model", schwinger(sizes), HASENBUSCH, shown, sizes, numbers)
    return _distributions(what, seed, out, progress)


def fig7(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Plaquette and pseudoscalar correlator of SU(3); `refimpl.reproduce` describes the arguments."""
    sizes, numbers = SU3_SIZES[check_effort_of_paper(effort)], SU3_STATISTICS[effort]
    shown = {"plaquette": observables.mean_plaquette, "correlator": middle_of_correlator}
    what = Case("fig7", "SU(3)", su3(sizes), HEAVY_QUARKS, shown, sizes, numbers)
    return _distributions(what, seed, out, progress)


def middle_of_correlator(x: NDArray[Any]) -> Array:
    """The pseudoscalar correlator (C3) at half of the time extent, ``(chain,)``."""
    correlator = pseudoscalar_correlator(wilson_dirac(x, KAPPA))
    return np.asarray(correlator[:, correlator.shape[1] // 2])


def _distributions(case: Case, seed: int, out: Path | None, progress: bool) -> Table:
    theory, target, shown, sizes, numbers = case.theory, case.target, case.shown, case.sizes, case.numbers
    model, seconds = trained(theory, plan_for(theory, sizes, target, seed), progress)
    rng = np.random.default_rng([seed, 6])
    flow = draws(model, theory, rng, numbers.links, shown, "links of the flow", progress)
    inflation = best_inflation(flow.w)
    w = inflated(flow.w, inflation)
    noisy = inflated(w, [NOISE] * w.shape[1])
    joint = {
        n_pf: joint_log_weights(rng, flow.log_w, at, (n_pf,))[:, 0] for n_pf, at in ((FEW, noisy), (numbers.n_pf, w))
    }
    start, _ = model.marginal.sample(rng, numbers.hmc[0])
    chains, hmc = hmc_chains(theory, start, numbers.hmc[1], shown, np.random.SeedSequence([seed, 66]), progress)
    chains = {key: series[:: numbers.hmc[2]] for key, series in chains.items()}
    independent = (
        {} if theory.sample is None else _independent(theory, numbers.fields, shown, np.random.default_rng([seed, 666]))
    )
    rows = means(flow, noisy, joint, numbers, chains, independent, rng)
    found: dict[str, tuple[Histogram, Histogram]] = {}
    for key in shown:
        edges = _edges(key, flow.values[key], chains[key], numbers.bins)
        found[key] = (
            histogram(rng, flow.values[key], edges, joint[numbers.n_pf]),
            histogram(rng, chains[key].ravel(), edges),
        )
    agreement = ", ".join(f"{key} {_agreement(*pair)}" for key, pair in found.items())
    title = f"{case.what}, {sizes.extent} x {sizes.extent}, {target.name}: distributions from the flow and from HMC"
    table = Table(
        case.name,
        f"{title}; {QUICK}" if sizes in (SIZES["quick"], SU3_SIZES["quick"]) else title,
        COLUMNS,
        tuple(rows),
        (
            f"{numbers.links} links of the flow. Without N_pf: with the exact determinant. HMC: {numbers.hmc[0]} chains of "
            f"{numbers.hmc[1]} trajectories, {hmc.n_steps} steps of {hmc.step_size:.3f}; one in {numbers.hmc[2]} is kept.",
            "sigmas: from the flow reweighted with the exact determinant, whose links are also those of the Metropolis chains, "
            "which are not independent of it. No error, and no sigmas, where a quantity has one value only.",
            f"N_pf = {FEW}: pseudofermions are inflated by {NOISE:g} more. Estimates have the noise then that refreshed ones "
            "are wrong with.",
            f"Mean of (difference/error)^2 over bins of both histograms: {agreement}. Bands: 68 % of {RESAMPLES} bootstrap "
            "resamples.",
            f"Inflations {', '.join(f'{c:.3f}' for c in inflation)}; weights have a variance on {finite_share(w):.2%} of links.",
            f"The training took {seconds:.0f} CPU seconds.",
        ),
        seed,
    )
    return finish(table, out, lambda: _panels(found))


def hmc_chains(
    theory: Theory, x: NDArray[Any], n_steps: int, record: Observables, seed: np.random.SeedSequence, progress: bool
) -> tuple[dict[str, Array], HMC]:
    """Observables ``(step, chain)`` of HMC with the determinant from ``x``, the first quarter left out, and the kernel."""
    tuning, running = seed.spawn(2)
    kernel = adapted(HMC(theory.action, 0.15, 8), x, tuning, trajectories=min(40, n_steps)).kernel
    series = run_chains(kernel, x, n_steps, running, record, HMC_NAME if progress else None).series
    return {key: np.asarray(values[n_steps // 4 :], np.float64) for key, values in series.items()}, kernel


def kept_chains(
    log_weights: Array, chains: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which draw each pseudomarginal chain over these draws has at every step, ``(step, chain)``, and if it moved."""
    steps = len(log_weights) // chains
    at, moved = metropolis_chains(log_weights[: steps * chains].reshape(steps, chains), rng)
    return at * chains + np.arange(chains), moved


def refreshed_chains(
    log_w: Array, w: Array, n_pf: int, chains: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """As `kept_chains`, where the estimate at the current links is drawn anew in every step.

    This is not the pseudomarginal Metropolis: its distribution is not that of the theory.
    """
    steps = len(log_w) // chains
    order = np.arange(steps * chains).reshape(steps, chains)
    at, moved = order.copy(), np.ones(order.shape, bool)
    for k in range(1, steps):
        here, there = at[k - 1], order[k]
        both = np.concatenate([here, there])
        estimate = joint_log_weights(rng, log_w[both], w[both], (n_pf,))[:, 0]
        moved[k] = np.log(rng.random(chains)) < estimate[chains:] - estimate[:chains]
        at[k] = np.where(moved[k], there, here)
    return at, moved


def means(
    flow: Draws,
    noisy: Array,
    joint: Mapping[int, Array],
    numbers: Statistics,
    hmc: Mapping[str, Array],
    independent: Mapping[str, Array],
    rng: np.random.Generator,
) -> list[tuple[Cell, ...]]:
    """Rows of means in every way, quantity by quantity.

    Parameters
    ----------
    noisy : eigenvalues for `FEW` pseudofermions. joint : log weights by the number of pseudofermions, `FEW` and another.
    """
    kept = {n_pf: kept_chains(log_w, numbers.chains, rng) for n_pf, log_w in joint.items()}
    wrong = refreshed_chains(flow.log_w, noisy, FEW, numbers.chains, rng)
    ess = {None: reweighting.relative_ess(flow.log_w), numbers.n_pf: reweighting.relative_ess(joint[numbers.n_pf])}
    rows: list[tuple[Cell, ...]] = []
    for key, raw in flow.values.items():
        label, of = ("<Q^2>", np.square) if key == "charge" else (key, np.asarray)
        values, exact = of(raw), reweighting.reweighted_mean(flow.log_w, of(raw))
        found: list[tuple[str, int | None, tuple[Any, Any], float | None, float | None]] = [
            (REWEIGHTED, None, exact, ess[None], None),
            (
                REWEIGHTED,
                numbers.n_pf,
                reweighting.reweighted_mean(joint[numbers.n_pf], values),
                ess[numbers.n_pf],
                None,
            ),
            *((KEPT, n_pf, _chain_mean(values, at), None, _rate(moved)) for n_pf, (at, moved) in kept.items()),
            (REFRESHED, FEW, _chain_mean(values, wrong[0]), None, _rate(wrong[1])),
            (HMC_NAME, None, statistics.mean(of(hmc[key]))[:2], None, None),
        ]
        if independent:
            own = of(independent[key])
            found.append((EXACT, None, (own.mean(), own.std(ddof=1) / math.sqrt(len(own))), None, None))
        for k, (source, n_pf, (mean, error), *more) in enumerate(found):
            sigmas = _sigmas(mean - exact.value, error, exact.error) if k else None
            known = float(error) if 0 < error < math.inf else None
            rows.append((label, source, n_pf, float(mean), known, sigmas, *more))
    return rows


def _sigmas(difference: float, *errors: float) -> float | None:
    """In the errors of both; None where one of them is none, of draws that all have one value or of too few."""
    return float(difference / math.hypot(*errors)) if all(0 < error < math.inf for error in errors) else None


def _agreement(one: Histogram, other: Histogram) -> str:
    """`disagreement` in words."""
    found = disagreement(one, other)
    return "not known (all draws in one bin)" if math.isnan(found) else f"{found:.2f}"


def _rate(moved: NDArray[np.bool_]) -> float:
    """Of acceptance, a quarter left out."""
    return float(moved[len(moved) // 4 :].mean())


def _chain_mean(values: Array, at: NDArray[np.int64]) -> tuple[float, float]:
    """Of chains over draws, a quarter left out, with the error from their autocorrelations."""
    mean = statistics.mean(values[at[len(at) // 4 :]])
    return mean.value, mean.error


def _independent(theory: Theory, n: int, record: Observables, rng: np.random.Generator) -> dict[str, Array]:
    assert theory.sample is not None
    x = theory.sample(rng, n)
    return {key: np.asarray(f(x), np.float64) for key, f in record.items()}


def _edges(key: str, *samples_and_bins: Any) -> Array:
    *samples, bins = samples_and_bins
    if key == "charge":
        return integer_edges(min(3, int(max(np.abs(values).max() for values in samples))))
    return common_edges(bins, *(values.ravel() for values in samples))


def _panels(found: Mapping[str, tuple[Histogram, Histogram]]) -> Sequence[Panel]:
    """The densities, and below them the ratios to that of HMC."""
    upper, lower = [], []
    for key, (flow, hmc) in found.items():
        name = "Q" if key == "charge" else key
        drawn = (("flow, reweighted", flow), ("HMC", hmc))
        upper.append(
            Panel(
                name, name, "density",
                [(label, *_outline(one.edges, one.density), None, "-") for label, one in drawn],
                bands=[_band(one) for _, one in drawn],
            )
        )  # fmt: skip
        ratios = [(label, one.over(hmc)) for label, one in drawn]
        lower.append(
            Panel(
                f"{name}: over HMC", name, "ratio",
                [(label, *_outline(one.edges, one.density), None, "-") for label, one in ratios],
                bands=[_band(one) for _, one in ratios],
            )
        )  # fmt: skip
    return [*upper, *lower]


def _outline(edges: Array, values: Array) -> tuple[Array, Array]:
    """The steps of a histogram as a line."""
    return np.repeat(edges, 2)[1:-1], np.repeat(values, 2)


def _band(one: Histogram) -> tuple[Array, Array, Array]:
    x, low = _outline(one.edges, one.low)
    return x, low, _outline(one.edges, one.high)[1]
