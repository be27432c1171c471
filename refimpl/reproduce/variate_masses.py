"""Masses from correlators with control variates: Bedaque 2023, Fig. 3 and Table II."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..actions import Phi4
from ..ensembles import phi4_fields
from ..estimators.variates import NeuralVariate, TwoStage, joint_values
from ..estimators.variates.base import improvement
from ..fits import CoshFit, cosh_fit
from ..observables import Correlator, scalars
from ..training import Neural, transferred
from .table import Cell, Panel, Table, check_effort_of_paper, finish

Array = NDArray[np.float64]

ACTION, SHAPE = Phi4(0.01, 0.1), (40, 10)
# First of the slices that are fitted, to the middle. Excited states shift the mass by 1e-4 from t = 5 on, half of the smallest
# error of the paper, and by 3e-4 from t = 2 on; from t = 10 on by less than 1e-5, the error of the two-stage variate.
FIRST, FIRST_OF_TWO_STAGE = 5, 10
# Table II: amplitude, mass and their errors.
PAPER = {
    "raw": (1.12e-4, 1.8e-5, 0.1935, 0.0040),
    "neural at t = 20": (1.191e-4, 5.1e-6, 0.1920, 0.0013),
    "neural at t = 10": (1.083e-4, 4.4e-6, 0.1944, 0.0013),
    "neural at all points": (1.096e-4, 7e-7, 0.1938, 0.0002),
    "raw, large": (1.088e-4, 1.8e-6, 0.1940, 0.0004),
}
MASS_COLUMNS = (
    "estimate", "n", "first", "A", "A_error", "A_printed", "A_printed_error", "m", "m_error", "raw_error/error", "chi2/dof",
    "p", "kurtosis", "paper_A", "paper_m", "paper_m_error",
)  # fmt: skip
CORRELATOR_COLUMNS = ("estimate", "t", "C", "C_error", "ratio", "kurtosis")
VARIATES = (
    "neural: the net of the paper, one layer of 16; linear net: the same without a layer; trained with mirror images.",
    "At t = 20, 10: one variate for all slices, times the coefficient of the regression of C(t) on it.",
    "At all points: one for each slice, each started from the one above it.",
    "two-stage: refimpl.estimators.variates.TwoStage, in closed form, one fit for all slices.",
    "Variates are judged by configurations they were not fitted to; the paper judges by those of the training and as many others.",
)
MASS_NOTES = (
    "n: configurations of the estimate; a variate was fitted to as many others. chi2/dof, p: of the correlated fit of the slices",
    "from first to 20, which gives m and A of eq. (17), C(t) = A (exp(-m t) + exp(-m (T - t))). Excited states shift a mass from",
    "t = 5 on by 1e-4, one from t = 10 on by less than 1e-5. A_printed = A exp(-m T): the amplitudes of the paper are these.",
    "raw_error/error: of the masses from the same configurations and slices, without a variate and with it.",
    "kurtosis: of C - f at t = 20, 3 for a normal distribution.",
)
CORRELATOR_NOTES = (
    "ratio: standard deviation of C(t) of a configuration over that of C(t) - f. kurtosis: of C(t) - f, 3 for a normal law.",
)
QUICK = ("Quick: this shows that it runs; nets are hardly trained and configurations few.",)


@dataclass(frozen=True)
class Budget:
    """Configurations of fit and estimate, of the large raw estimate, and steps, penalty and unit of a training."""

    n: int
    large: int
    steps: int
    delta: float
    unit: float | None


BUDGETS = {
    "quick": Budget(120, 120, 20, 10.0, 0.1),
    "full": Budget(1_000, 20_000, 60_000, 1.0, 0.1),
    "paper": Budget(1_000, 200_000, 690_000, 0.1, None),
}


@dataclass(frozen=True, eq=False)
class Estimate:
    """Correlators of single configurations ``(n, T//2 + 1)``, with what was subtracted, and without."""

    name: str
    rows: Array
    raw: Array
    first: int = FIRST


def table2(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Masses of all estimates; `refimpl.reproduce` describes the arguments."""
    found = estimates(seed, effort, progress)
    rows = tuple(_mass_row(estimate) for estimate in found)
    title = "phi^4 on 40 x 10: masses with control variates (Bedaque 2023, Table II)"
    notes = (*MASS_NOTES, *VARIATES, *(QUICK if effort == "quick" else ()))
    names = [estimate.name for estimate in found]
    masses = [_fit(estimate.rows, estimate.first) for estimate in found]
    places, papers = np.arange(len(names)), [PAPER.get(name) for name in names]
    printed = [(i + 0.2, paper[2], paper[3]) for i, paper in enumerate(papers) if paper is not None]
    lines: list[tuple[str, Any, Any, Any, str]] = [
        ("here", places, [fit.mass for fit in masses], [fit.mass_error for fit in masses], "o"),
        ("paper", *np.transpose(printed), "s"),
    ]
    panel = Panel("m2 = 0.01, lambda = 0.1", "", "m", lines, x_names=names)
    return finish(Table("table2", title, MASS_COLUMNS, rows, notes, seed), out, lambda: [panel])


def fig3(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Correlators with their errors and the improvement at every slice; `refimpl.reproduce` describes the arguments."""
    found = estimates(seed, effort, progress)
    rows: list[tuple[Cell, ...]] = []
    correlators: list[tuple[str, Any, Any, Any, str]] = []
    errors: list[tuple[str, Any, Any, Any, str]] = []
    for estimate in found:
        worth = [improvement(raw, own) for raw, own in zip(estimate.raw.T, estimate.rows.T, strict=True)]
        rows += [(estimate.name, t, one.value, one.error, one.ratio, one.kurtosis) for t, one in enumerate(worth)]
        t = np.arange(len(worth)) + 0.08 * len(correlators)
        correlators.append((estimate.name, t, [one.value for one in worth], [one.error for one in worth], "."))
        errors.append((estimate.name, t, [one.error for one in worth], None, ".-"))
    title = "phi^4 on 40 x 10: correlators with control variates (Bedaque 2023, Fig. 3)"
    notes = (*CORRELATOR_NOTES, *VARIATES, *(QUICK if effort == "quick" else ()))
    panels = [
        Panel("correlators", "t", "C(t)", correlators, log_y=True),
        Panel("their errors", "t", "standard error of C(t)", errors, log_y=True),
    ]
    return finish(Table("fig3", title, CORRELATOR_COLUMNS, tuple(rows), notes, seed), out, lambda: panels)


@lru_cache(maxsize=1)  # figure and table are of the same ones
def estimates(seed: int, effort: str, progress: bool) -> list[Estimate]:
    """All of them, the raw one first: fitted to the first n configurations, judged by the second n."""
    budget = BUDGETS[check_effort_of_paper(effort)]
    n, times = budget.n, range(SHAPE[0] // 2 + 1)
    x = phi4_fields(ACTION, SHAPE, 2 * n + budget.large, np.random.SeedSequence([seed, 1]))
    train, test, large = x[:n], x[n : 2 * n], _correlators(x[2 * n :])
    raw = _correlators(test)

    found = [Estimate("raw", raw, raw)]
    for name, layers in (("linear net", 0), ("neural", 1)):
        method = Neural(ACTION, layers, 16, budget.delta, budget.steps, unit=budget.unit, seed=seed)
        by_slice = _by_slice(method, with_mirror_images(train), progress)
        quarter = method.train(with_mirror_images(train), Correlator(SHAPE[0] // 4), progress=progress).variate
        for t, one in ((SHAPE[0] // 2, by_slice[-1]), (SHAPE[0] // 4, quarter)):
            slopes = _slopes(one(train), _correlators(train))
            found.append(Estimate(f"{name} at t = {t}", raw - np.outer(one(test), slopes), raw))
        found.append(Estimate(f"{name} at all points", raw - np.stack([one(test) for one in by_slice], axis=1), raw))
    two_stage = TwoStage(ACTION).fit_slices(train, times)
    found.append(Estimate("two-stage", raw - joint_values(two_stage, test), raw, FIRST_OF_TWO_STAGE))
    return [*found, Estimate("raw, large", large, large)]


def with_mirror_images(x: Array) -> Array:
    """Fields ``(n, T, X)`` and their reflections in time, space and both, ``(4 n, T, X)``: correlators and density are the same."""
    return np.concatenate([x[:, ::t, ::s] for t in (1, -1) for s in (1, -1)])


def _by_slice(method: Neural, train: Array, progress: bool) -> tuple[NeuralVariate, ...]:
    """A variate for every t, trained from t = T/2 to 0, each for a fifth of the steps from the one before."""
    steps = max(1, method.steps // 5)
    later = replace(method, steps=steps, schedule=replace(method.rate, initial=3e-4).within(steps))
    downwards = [Correlator(t) for t in range(SHAPE[0] // 2, -1, -1)]
    return transferred(method, train, downwards, later, progress=progress)[::-1]


def _slopes(f: Array, correlators: Array) -> Array:
    """``cov(C(t), f)/var(f)`` for every t: the multiples of f that take most variance, as `NeuralVariate.regressed`."""
    centred = f - f.mean()
    return np.asarray(centred @ correlators / (centred @ centred))


def _correlators(x: Array) -> Array:
    """``C(t)`` of single configurations for t = 0, ..., T//2."""
    return scalars.correlator(x)[:, : SHAPE[0] // 2 + 1]


def _fit(rows: Array, first: int) -> CoshFit:
    return cosh_fit(np.concatenate([rows, rows[:, -2:0:-1]], axis=1), first)


def _mass_row(estimate: Estimate) -> tuple[Cell, ...]:
    fit, raw = (_fit(rows, estimate.first) for rows in (estimate.rows, estimate.raw))
    middle = improvement(estimate.raw[:, -1], estimate.rows[:, -1])
    paper = PAPER.get(estimate.name)
    return (
        estimate.name, len(estimate.rows), estimate.first, fit.amplitude, fit.amplitude_error, fit.printed_amplitude,
        fit.printed_amplitude_error, fit.mass, fit.mass_error, raw.mass_error / fit.mass_error,
        fit.chi2_per_dof, fit.p_value, middle.kurtosis, *((None,) * 3 if paper is None else (paper[0], paper[2], paper[3])),
    )  # fmt: skip
