"""Condition numbers of the Wilson-Dirac operator, plain, even-odd, and of Hasenbusch monomials (Abbott 2022, secs. IV.A.2, IV.B).

The ensemble is exact: independent configurations of the pure gauge theory at a coupling near the dynamical plaquette, each with
the weight ``det D^2 exp((beta - beta') sum Re Tr P/N)``. The pure theory visits small eigenvalues more often than the dynamical one
and the weight is in proportion to them, so that even the mean of a condition number has a finite variance here, which it has
not in a sample of the dynamical theory itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..actions import log_determinant, wilson_dirac
from ..exact import sun, u1
from ..observables import extreme_eigenvalues, mean_plaquette, monomial_eigenvalues, quantiles
from ..statistics import bootstrap
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

KAPPA = 0.265
MUS = (0.001, 0.01, 0.05)
MUS_SU3 = (0.3,)
PAPER_SAMPLE = 40_000
BLOCK = 50  # configurations that are worked on at a time
COLUMNS = (
    "theory", "L", "ensemble", "matrix", "median", "median_error", "q10", "q90", "mean", "mean_error", "one_in_40k", "paper",
)  # fmt: skip
PLAIN, EVEN_ODD = "D D^dag", "even-odd"
PAPER_L8 = {
    PLAIN: "average ~960, some O(10^5)",
    EVEN_ODD: "average ~195, some O(10^5)",
}
PAPER_MONOMIAL = "average O(10), all < 100"
PAPER_SU3 = "lower than in the Schwinger model"


@dataclass(frozen=True)
class Case:
    """One theory: U(1) for ``n = 1`` and SU(n) else, on L x L sites, sampled at ``coupling`` and weighted to ``beta``."""

    n: int
    extent: int
    beta: float
    coupling: float
    mus: tuple[tuple[float, ...], ...]

    @property
    def name(self) -> str:
        """The group."""
        return "U(1)" if self.n == 1 else f"SU({self.n})"


@dataclass(frozen=True)
class Ensemble:
    """Extreme eigenvalues ``(configuration, 2)`` of both matrices, and weights that add up to 1."""

    plain: Array
    even_odd: Array
    weights: Array

    @property
    def ess(self) -> float:
        """Effective sample size (15), as a fraction."""
        return float(1 / (len(self.weights) * (self.weights**2).sum()))


# I_1/I_0(2.26) is the dynamical plaquette 0.738 of beta = 2, and SU(3) at 6.5 has that of beta = 6, 0.451.
SCHWINGER = (MUS[:1], MUS[:2], MUS)
CASES = (
    (Case(1, 8, 2.0, 2.26, SCHWINGER), 10_000),
    (Case(1, 16, 2.0, 2.26, SCHWINGER[2:]), 400),
    (Case(3, 16, 6.0, 6.5, (MUS_SU3,)), 60),
)
QUICK_CASES = ((Case(1, 4, 2.0, 2.26, SCHWINGER), 300), (Case(3, 4, 6.0, 6.5, (MUS_SU3,)), 30))


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Median, quantiles and mean of condition numbers beside what the paper prints: Schwinger, L = 8 and 16; SU(3), L = 16."""
    cases = QUICK_CASES if check_effort(effort) else CASES
    seeds = np.random.SeedSequence([seed, 2022]).spawn(2 * len(cases))
    rows: list[tuple[Cell, ...]] = []
    ensembles: dict[Case, Ensemble] = {}
    for i, (case, size) in enumerate(cases):
        drawn = ensembles[case] = ensemble(case, size, np.random.default_rng(seeds[2 * i]), progress)
        rows += case_rows(case, drawn, np.random.default_rng(seeds[2 * i + 1]))
    sizes = ", ".join(f"{c.name} L = {c.extent}: {size} ({ensembles[c].ess:.2f})" for c, size in cases)
    table = Table(
        "condition-numbers",
        f"condition numbers of D D^dag at kappa = {KAPPA}, beta = 2 (Schwinger) and 6 (SU(3)) (Abbott 2022, IV.A.2, IV.B)",
        COLUMNS,
        tuple(rows),
        notes=(
            f"Independent configurations (effective fraction): {sizes}.",
            "Ensemble 'target': exact pure gauge theory weighted with det^2. 'pure gauge': the same without the determinant.",
            "Eigenvalues that cross zero make P(cond > c) fall like c^(-1/2) without and c^(-3/2) with the determinant in the end:",
            "no mean, no variance. Crossings are rare: below c = 10^5 the tail of the Schwinger model is steeper (figure).",
            "The averages of the paper are over ensembles of its flow models, not weighted, which may be why they are larger.",
            "Monomial 'm of mu_1 ...': the kernel (M + mu_m)/(M + mu_(m+1)), the last one M + mu_Nh, with M = D_sc D_sc^dag.",
            "one_in_40k: exceeded by one configuration in 40000, the paper's sample; a typical largest value of it.",
        ),
        seed=seed,
    )
    return finish(table, out, lambda: _panels(table, ensembles))


def ensemble(case: Case, size: int, rng: np.random.Generator, progress: bool = False) -> Ensemble:
    """Exact configurations of the pure theory at ``case.coupling`` with their weights in the dynamical theory."""
    shape = (case.extent, case.extent)
    parts = []
    for first in bar(range(0, size, BLOCK), f"{case.name} L = {case.extent}", progress):
        count = min(BLOCK, size - first)
        if case.n == 1:
            x: NDArray = u1.sample(rng, count, case.coupling, shape)
        else:
            x = sun.sample(rng, count, case.coupling, shape, case.n)
        dirac = wilson_dirac(x, KAPPA)
        log_weight = 2 * log_determinant(dirac)[0]
        log_weight += (case.beta - case.coupling) * case.extent**2 * mean_plaquette(x)
        parts.append((extreme_eigenvalues(dirac), extreme_eigenvalues(dirac, even_odd=True), log_weight))
    plain, even_odd, log_weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    weights = np.exp(log_weights - log_weights.max())
    return Ensemble(plain, even_odd, weights / weights.sum())


def case_rows(case: Case, drawn: Ensemble, rng: np.random.Generator) -> list[tuple[Cell, ...]]:
    """The rows of one theory."""
    at_l8, su3 = case.n == 1 and case.extent == 8, case.n == 3 and case.extent == 16
    rows = []
    for matrix, extremes in ((PLAIN, drawn.plain), (EVEN_ODD, drawn.even_odd)):
        values = extremes[:, 1] / extremes[:, 0]
        paper = PAPER_L8[matrix] if at_l8 else PAPER_SU3 if su3 and matrix == PLAIN else None
        rows.append((*_head(case, "target", matrix), *_numbers(values, drawn.weights, rng), paper))
        equal = np.full(len(values), 1 / len(values))
        median, error, low, high, *_ = _numbers(values, equal, rng)
        rows.append((*_head(case, "pure gauge", matrix), median, error, low, high, None, None, None, None))
    for mus in case.mus:
        kernels = monomial_eigenvalues(drawn.even_odd, mus)
        for m in range(len(mus) + 1):
            values = kernels[:, m, 1] / kernels[:, m, 0]
            paper = PAPER_MONOMIAL if at_l8 and mus == MUS else None
            rows.append((*_head(case, "target", _monomial(m, mus)), *_numbers(values, drawn.weights, rng), paper))
    return rows


def _head(case: Case, ensemble_name: str, matrix: str) -> tuple[str, int, str, str]:
    return case.name, case.extent, ensemble_name, matrix


def _monomial(m: int, mus: Sequence[float]) -> str:
    return f"{m} of {', '.join(f'{mu:g}' for mu in mus)}, even-odd"


def _numbers(values: Array, weights: Array, rng: np.random.Generator) -> tuple[float | None, ...]:
    """Median with error, 10 % and 90 %, mean with error, and the value that one in 40000 exceeds."""
    data = np.stack([values, weights], axis=1)
    spread = quantiles(values, weights)
    _, median_error = bootstrap(data, lambda rows: quantiles(*rows.T).median, rng, 200)
    mean, mean_error = bootstrap(data, lambda rows: float(np.average(rows[:, 0], weights=rows[:, 1])), rng, 200)
    return spread.median, median_error, spread.low, spread.high, mean, mean_error, _exceeded(values, weights)


def _exceeded(values: Array, weights: Array) -> float | None:
    """The value that a fraction ``1/PAPER_SAMPLE`` of the weight lies above; None where the largest value has more than that."""
    order = np.argsort(-values)
    k = int(np.searchsorted(np.cumsum(weights[order]), 1 / PAPER_SAMPLE))
    return float(values[order[k]]) if k > 0 else None


def _panels(table: Table, ensembles: dict[Case, Ensemble]) -> list[Panel]:
    case, drawn = next(iter(ensembles.items()))
    lines = []
    for name, extremes, weights in (
        ("D D^dag", drawn.plain, drawn.weights),
        ("even-odd", drawn.even_odd, drawn.weights),
        ("D D^dag, pure gauge", drawn.plain, np.full(len(drawn.weights), 1 / len(drawn.weights))),
    ):
        values = extremes[:, 1] / extremes[:, 0]
        order = np.argsort(values)
        above = 1 - np.cumsum(weights[order]) + weights[order]
        kept = above > 1e-5
        lines.append((name, values[order][kept], above[kept], None, "-"))
    start, power = (math.log10(v) for v in (np.median(drawn.plain[:, 1] / drawn.plain[:, 0]), 0.1))
    guide = np.logspace(start, start + 2, 10)
    lines.append(("c^(-3/2)", guide, 10**power * (guide / guide[0]) ** -1.5, None, ":"))
    bars = []
    names: list[str] = []
    for group in sorted({(row["theory"], row["L"]) for row in table.where()}, key=str):
        rows = table.where(theory=group[0], L=group[1], ensemble="target")
        places = np.arange(len(rows)) + len(names)
        median = np.array([row["median"] for row in rows])
        spread = np.array([[row["median"] - row["q10"], row["q90"] - row["median"]] for row in rows]).T
        bars.append((f"{group[0]}, L = {group[1]}", places, median, spread, "o"))
        names += [str(row["matrix"]).removesuffix(", even-odd") for row in rows]
    title = f"tail at {case.name}, L = {case.extent}"
    return [
        Panel(title, "c", "P(cond > c)", lines, log_x=True, log_y=True),
        Panel("median, 10 % to 90 %", "", "condition number", bars, log_y=True, x_names=names),
    ]
