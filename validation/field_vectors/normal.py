"""Golden vectors of Gaussians and their mixtures: what the suites `gaussian` and `gmm` have, with their factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .cases import Case, Entry, Suite, actions, refused
from .decimals import Array, Mixture

SUITE = Suite(
    "gaussian",
    "gaussian",
    __name__,
    20261202,
    "the inverse of the covariance in fractions, the rest in 50-digit decimal arithmetic from the float64 numbers, rounded once",
    "axes (chain, i); action = (x - m)^T C^-1 (x - m)/2 + log sqrt(det 2 pi C), the constant being free; force = C^-1 (x - m)",
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector of suite `gaussian`."""
    yield from actions(SUITE, _cases(), _theory, size)
    for name, value in (("nan-2", np.nan), ("infinite-2", np.inf)):
        x = np.array([[0.0, value]])
        case = Case(
            name,
            {"covariance": [[1.0, 0.5], [0.5, 2.0]], "mean": [0.0, 0.0]},
            ["EDGE_CASE"],
            f"a coordinate that is {value}",
            x,
        )
        yield refused(SUITE, case, [("action", []), ("force", [])])


def _theory(parameters: dict[str, Any]) -> Mixture:
    return Mixture([1.0], [parameters["mean"]], [parameters["covariance"]])


def size(theory: Mixture, x: Array, force: Array) -> float:
    """Of one term: what is added up to the action and the force, amplified by the condition of the covariances."""
    condition = max(float(np.linalg.cond(p.astype(float))) for p in theory.precisions)
    entries = max(float(np.abs(p.astype(float)).max()) for p in theory.precisions)
    away = np.abs(x[:, None] - theory.means.astype(float)).max() + 1
    return float(max(1.0, entries) * away * away * condition * x.shape[1])


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(SUITE.seed)
    yield Case(
        "one", {"covariance": [[0.25]], "mean": [0.5]}, ["BASIC"], "one dimension", 2 * rng.standard_normal((4, 1))
    )
    two = {"covariance": [[1.0, 0.75], [0.75, 2.0]], "mean": [1.0, -2.0]}
    comment = "correlated, with a mean: C and not its inverse, m and not -m"
    yield Case("two", two, ["BASIC", "CONVENTION"], comment, 2 * rng.standard_normal((4, 2)))
    root = np.round(rng.standard_normal((5, 5)), 3)
    five = {
        "covariance": (root @ root.T + np.eye(5)).round(6).tolist(),
        "mean": rng.standard_normal(5).round(3).tolist(),
    }
    yield Case("five", five, ["BASIC"], "five correlated dimensions", 2 * rng.standard_normal((4, 5)))
    narrow = {"covariance": [[100.0, 99.999], [99.999, 100.0]], "mean": [0.0, 0.0]}
    comment = "condition number 2e5: a direction with a standard deviation of 0.03 beside one of 14"
    yield Case("narrow", narrow, ["ILL_CONDITIONED"], comment, 10 * rng.standard_normal((4, 2)))
    yield Case("at-the-mean", two, ["EDGE_CASE"], "the mean itself: no force", np.array([[1.0, -2.0], [1.0, -2.0]]))
