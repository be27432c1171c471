"""What more pseudofermions at the same links are worth: Abbott 2022, Fig. 3, and the acceptance of the pseudomarginal chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimators import conditional, reweighting
from ..kernels.independence import pool_acceptance
from .joint_models import (
    HASENBUSCH,
    MOST,
    QUICK,
    SIZES,
    best_inflation,
    draws,
    finite_share,
    inflated,
    joint_log_weights,
    plan_for,
    schwinger,
    trained,
)
from .notebook import metropolis_chains
from .table import Cell, Panel, Table, check_effort_of_paper, finish

Array = NDArray[np.float64]

COUNTS = (1, 2, 4, 8, 16, 32, 64)  # Abbott 2022, Fig. 3
COLUMNS = (
    "N_pf", "ESS", "ESS_error", "law", "ESS/law", "ESS/law_error", "linear law", "fit of (45)", "ESS/ESS_exact",
    "acceptance", "acceptance_error", "expected",
)  # fmt: skip


@dataclass(frozen=True)
class Batches:
    """Batches of links and their size, as many as errors are from; chains and their steps share the links of all batches."""

    number: int
    size: int
    chains: int


BATCHES = {"quick": Batches(3, 32, 8), "full": Batches(10, 4096, 64), "paper": Batches(10, 10_240, 64)}


def fig3(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """ESS and acceptance against the number of pseudofermions; `refimpl.reproduce` describes the arguments."""
    sizes, batches = SIZES[check_effort_of_paper(effort)], BATCHES[effort]
    theory = schwinger(sizes)
    plan = plan_for(theory, sizes, HASENBUSCH, seed)
    model, seconds = trained(theory, plan, progress)
    rng = np.random.default_rng([seed, 3])
    found = draws(model, theory, rng, batches.number * batches.size, {}, "links", progress)
    inflation = best_inflation(found.w)
    w = inflated(found.w, inflation)
    joint = joint_log_weights(rng, found.log_w, w, COUNTS)
    rows, fit = _rows(found.log_w, w, joint, batches, rng)
    title = f"Schwinger model, {sizes.extent} x {sizes.extent}, {HASENBUSCH.name}: ESS against pseudofermions at the same links"
    table = Table(
        "fig3",
        f"{title}; {QUICK}" if effort == "quick" else title,
        COLUMNS,
        tuple(rows),
        (
            f"{batches.number} batches of {batches.size} links, whose scatter errors are from. The row without N_pf: exact "
            "determinant.",
            f"Inflations {', '.join(f'{c:.3f}' for c in inflation)}, best for {MOST:.1%} of links; weights have a variance on "
            f"{finite_share(w):.2%}.",
            "law: <w>^2/<w^2 prod_m (1 + X_m/N_pf)>, X exact, of links where it is finite, as ESS/law. linear law: (45), with "
            f"the C of N_pf = 1. fit of (45): ESS(inf) = {fit[0]:.4f}, C = {fit[1]:.3f}.",
            f"acceptance: of {batches.chains} pseudomarginal chains over these draws, estimates kept, a quarter left out; "
            "expected: of pairs of draws.",
            f"The training took {seconds:.0f} CPU seconds.",
        ),
        seed,
    )
    return finish(table, out, lambda: _panels(table, fit))


def linear_fit(n_pf: ArrayLike, ess: ArrayLike, error: ArrayLike) -> tuple[float, float]:
    """``ESS(inf)`` and C of (45), ``ESS = ESS(inf)/(1 + C/N_pf)``: least squares of ``1/ESS``, which is linear in ``1/N_pf``."""
    ess = np.asarray(ess, np.float64)
    error = np.asarray(error, np.float64)
    if not (ess > 0).all() or not (error > 0).all():
        raise ValueError(f"ess, error: got {ess}, {error}, expected positive numbers")
    scale = ess**2 / error  # 1 over the error of 1/ESS
    matrix = np.stack([np.ones_like(ess), 1 / np.asarray(n_pf, np.float64)], axis=1)
    (a, b), *_ = np.linalg.lstsq(scale[:, None] * matrix, scale / ess, rcond=None)
    return float(1 / a), float(b / a)


def batch_ess(log_weights: Array, number: int) -> tuple[float, float]:
    """The mean of the ESS of ``number`` batches in turn, and its error from their scatter."""
    each = [reweighting.relative_ess(part) for part in np.split(log_weights, number)]
    return float(np.mean(each)), float(np.std(each, ddof=1) / math.sqrt(number))


def _rows(
    log_w: Array, w: Array, joint: Array, batches: Batches, rng: np.random.Generator
) -> tuple[list[tuple[Cell, ...]], tuple[float, float]]:
    """The rows of all ``N_pf`` and of the determinant, and the fit."""
    finite = conditional.finite_moment(w).all(axis=1)
    variances = conditional.relative_variance(w[finite])
    laws = conditional.product_law(log_w[finite], variances, COUNTS)
    linear = conditional.linear_law(log_w[finite], variances, COUNTS)
    sizes = [batch_ess(joint[:, k], batches.number) for k in range(len(COUNTS))]
    fit = linear_fit(COUNTS, [size for size, _ in sizes], [max(error, 1e-12) for _, error in sizes])
    exact = batch_ess(log_w, batches.number)
    rows: list[tuple[Cell, ...]] = []
    for k, (n_pf, (ess, error)) in enumerate(zip(COUNTS, sizes, strict=True)):
        measured = reweighting.relative_ess(joint[finite, k])
        fitted = fit[0] / (1 + fit[1] / n_pf)
        rows.append(
            (n_pf, ess, error, float(laws[k]), measured / float(laws[k]), _ratio_error(joint[:, k], log_w, w, n_pf, batches.number),
             float(linear[k]), fitted, ess / exact[0], *_chains(joint[:, k], batches.chains, rng))
        )  # fmt: skip
    rows.append((None, *exact, *[None] * 5, 1.0, *_chains(log_w, batches.chains, rng)))
    return rows, fit


def _ratio_error(joint: Array, log_w: Array, w: Array, n_pf: int, number: int) -> float:
    """Error of ESS/law from the scatter of batches, links of finite variance."""
    ratios = []
    for own, marginal, spectra in zip(*(np.split(values, number) for values in (joint, log_w, w)), strict=True):
        some = conditional.finite_moment(spectra).all(axis=1)
        law = conditional.product_law(marginal[some], conditional.relative_variance(spectra[some]), n_pf)[0]
        ratios.append(reweighting.relative_ess(own[some]) / law)
    return float(np.std(ratios, ddof=1) / math.sqrt(number))


def _chains(log_weights: Array, chains: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Acceptance of chains over these draws and its error, and what is expected of pairs of draws."""
    steps = len(log_weights) // chains
    _, moved = metropolis_chains(log_weights[: steps * chains].reshape(steps, chains), rng)
    rates = moved[steps // 4 :].mean(axis=0)
    return float(rates.mean()), float(rates.std(ddof=1) / math.sqrt(chains)), pool_acceptance(log_weights)


def _panels(table: Table, fit: tuple[float, float]) -> Sequence[Panel]:
    found = [row for row in table.where() if row["N_pf"] is not None]
    (exact,) = table.where(N_pf=None)
    at = [1 / row["N_pf"] for row in found]
    grid = np.linspace(0, 1, 101)
    return [
        Panel(
            "effective sample size",
            "1/N_pf",
            "ESS",
            [
                ("measured", at, [row["ESS"] for row in found], [row["ESS_error"] for row in found], "o"),
                ("law, exact in X", at, [row["law"] for row in found], None, "x"),
                ("exact determinant", [0.0], [exact["ESS"]], [exact["ESS_error"]], "^"),
                ("fit of (45)", grid, fit[0] / (1 + fit[1] * grid), None, "-"),
            ],
        ),
        Panel(
            "acceptance of the pseudomarginal chain",
            "N_pf",
            "acceptance",
            [
                ("chains", [row["N_pf"] for row in found], [row["acceptance"] for row in found],
                 [row["acceptance_error"] for row in found], "o"),
                ("pairs of draws", [row["N_pf"] for row in found], [row["expected"] for row in found], None, "-"),
            ],
            [("exact determinant", exact["acceptance"])],
            log_x=True,
        ),
    ]  # fmt: skip
