"""What a flow is worth: importance weights ``w = exp(-S)/q`` of many independent draws, pooled.

The loss is the mean of ``-log w``, ``E_q[w] = Z``, and an expectation of the theory is a ratio of means, ``E_q[w O]/E_q[w]``. The
effective sample size ``(sum w)^2/(n sum w^2)`` says how much of n draws is left, if n is large enough to meet the largest weights:
of few draws it is too large, and is printed with their number. A learned flow is as good as its tails: where their shape k
(`refimpl.estimators.reweighting.pareto_shape`) is 1/2 or more, the errors are too small, and where few draws have most of the
weight they mean nothing. What a flow does not reach at all, no weight knows of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..estimators import reweighting
from ..kernels.independence import pool_acceptance
from ..lattice import check_integer
from ..models import Flow
from ..theories import Theory, log_partition

Array = NDArray[np.float64]

LEAST = 25  # draws for the shape of a tail
HEAVY = 0.5  # shapes from which on the weights have no variance
FEW = 10  # draws that must be left for errors
SHARE = 0.2  # of the weight, above which one draw decides


class Estimate(NamedTuple):
    """A value, its standard error, and the exact value, None where it is not known."""

    value: float
    error: float
    exact: float | None = None

    @property
    def deviation(self) -> float | None:
        """From the exact value, in errors."""
        if self.exact is None or self.error == 0:
            return None
        return (self.value - self.exact) / self.error


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A flow against its theory.

    Attributes
    ----------
    log_weights : ``(n,)``. loss : mean of ``-log w``; its exact value is that of the perfect flow, ``-log Z``, the least possible.
    ess : effective sample size as a fraction of n. shape : of the tail of the weights, NaN of fewer than 25 draws.
    log_z : from the mean weight. acceptance : of the independence Metropolis in equilibrium. observables : by reweighting.
    """

    log_weights: Array
    loss: Estimate
    ess: float
    shape: float
    log_z: Estimate
    acceptance: float
    observables: Mapping[str, Estimate]

    @property
    def n(self) -> int:
        """Draws."""
        return len(self.log_weights)

    def __str__(self) -> str:
        head = (
            f"{self.n} draws: ESS/n {self.ess:.4f}, acceptance of independence Metropolis {self.acceptance:.4f}, tail of the "
            f"weights k = {self.shape:.2f}"
        )
        rows = [("", "value", "error", "exact", "deviation")]
        loss = self.loss._replace(exact=None)  # the perfect loss is no expectation to deviate from
        for name, estimate in {"loss": loss, "log Z": self.log_z, **self.observables}.items():
            exact = "" if estimate.exact is None else f"{estimate.exact:.8g}"
            deviation = "" if estimate.deviation is None else f"{estimate.deviation:+.2f}"
            rows.append((name, f"{estimate.value:.6g}", f"{estimate.error:.2g}", exact, deviation))
        return "\n".join([head, *aligned(rows), *self.notes()])

    def notes(self) -> list[str]:
        """What to know of the numbers, from the worst on."""
        notes, share = [], reweighting.largest_share(self.log_weights)
        if self.ess * self.n < FEW or share > SHARE:
            notes.append(
                f"! Few draws have the weight (ESS {self.ess * self.n:.1f}, the largest {share:.0%} of all): errors mean nothing."
            )
        if self.shape >= HEAVY:
            notes.append("! The weights have a heavy tail (k of 0.5 or more): errors are too small.")
        if self.loss.exact is not None:
            notes.append(f"The least possible loss, of a perfect flow, is -log Z = {self.loss.exact:.8g}.")
        return notes


def evaluate(
    flow: Flow, theory: Theory, rng: np.random.Generator, n: int = 4096, *, chunk: int = 512, progress: bool = False
) -> Evaluation:
    """``n`` independent draws of the flow, ``chunk`` at a time, as estimates of the theory.

    Raises `ValueError` for a flow of other fields, and where the weights are not finite numbers.
    """
    import sys

    from tqdm import tqdm

    if theory.field_shape != flow.field_shape:
        raise ValueError(f"theory: got fields {theory.field_shape}, expected those of the flow, {flow.field_shape}")
    check_integer("n", n, 2)
    check_integer("chunk", chunk, 1)
    log_weights: list[Array] = []
    values: dict[str, list[Array]] = {name: [] for name in theory.observables}
    starts = range(0, n, chunk)
    for start in tqdm(starts, desc="evaluation", disable=None if progress else True, file=sys.stderr):
        x, log_prob = flow.sample(rng, min(chunk, n - start))
        log_weights.append(-theory.action.action(x) - log_prob)
        for name, observable in theory.observables.items():
            values[name].append(np.asarray(observable(x), np.float64))
    return evaluation_of(theory, np.concatenate(log_weights), {name: np.concatenate(v) for name, v in values.items()})


def evaluation_of(theory: Theory, log_w: Array, values: Mapping[str, Array]) -> Evaluation:
    """What weights ``(n,)`` of independent draws are worth, and the values of the observables there.

    Raises `ValueError` where the weights are not finite numbers.
    """
    n = len(log_w)
    if not np.isfinite(log_w).all():
        raise ValueError(f"flow: got {int((~np.isfinite(log_w)).sum())} of {n} weights that are not finite")
    exact = log_partition(theory)
    loss = Estimate(float(-log_w.mean()), float(log_w.std() / math.sqrt(n)), None if exact is None else -exact)
    return Evaluation(
        log_w,
        loss,
        reweighting.relative_ess(log_w),
        reweighting.pareto_shape(log_w) if n >= LEAST else math.nan,
        Estimate(*reweighting.log_partition(log_w), exact),
        pool_acceptance(log_w),
        {name: _reweighted(log_w, value, theory.exact.get(name)) for name, value in values.items()},
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is names, the others numbers."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def _reweighted(log_weights: Array, values: Array, exact: float | None) -> Estimate:
    value, error = reweighting.reweighted_mean(log_weights, values)
    return Estimate(float(value), float(error), exact)
