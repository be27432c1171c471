"""Golden vectors of mixtures of Gaussians: near the components, between them, and where every density underflows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .cases import Case, Entry, Suite, actions, refused
from .decimals import Mixture
from .normal import size

SUITE = Suite(
    "gmm",
    "gmm",
    __name__,
    20261203,
    "inverses in fractions, densities in 50-digit decimal arithmetic from the float64 numbers, rounded once",
    "axes (chain, i); action = -log sum_k w_k N(x; m_k, C_k), densities with their factor det(2 pi C_k)^(-1/2); force = + d "
    "action/d x",
)
TWO: dict[str, Any] = {
    "weights": [0.5, 0.5],
    "means": [[-2.0, 0.0], [2.0, 0.0]],
    "covariances": [[[0.1, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.0, 0.1]]],
}
SKEW: dict[str, Any] = {
    "weights": [0.2, 0.3, 0.5],
    "means": [[-1.0, 0.5], [1.0, 1.0], [0.0, -1.5]],
    "covariances": [[[0.5, 0.2], [0.2, 0.4]], [[0.1, 0.0], [0.0, 2.0]], [[1.0, -0.5], [-0.5, 0.75]]],
}


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    yield from actions(SUITE, _cases(), lambda p: Mixture(**p), size)
    case = Case("nan", TWO, ["EDGE_CASE"], "a coordinate that is NaN", np.array([[0.0, np.nan]]))
    yield refused(SUITE, case, [("action", []), ("force", [])])


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(SUITE.seed)
    yield Case("two", TWO, ["BASIC"], "two components of equal weight", 2 * rng.standard_normal((6, 2)))
    comment = "three components of other weights and covariances: a factor det C_k or w_k left out is seen"
    yield Case("skew", SKEW, ["BASIC", "CONVENTION"], comment, 2 * rng.standard_normal((6, 2)))
    line = {"weights": [0.25, 0.75], "means": [[-1.0], [3.0]], "covariances": [[[0.25]], [[4.0]]]}
    yield Case("line", line, ["BASIC"], "one dimension", 3 * rng.standard_normal((6, 1)))
    middle = np.array([[0.0, 0.0], [1e-3, 1.0], [-1e-3, -1.0]])
    yield Case("between", TWO, ["EDGE_CASE"], "between the components, where the force changes sign", middle)
    far = np.array([[30.0, 0.0], [-25.0, 40.0], [0.0, 60.0]])
    comment = "so far out that exp(-action) is 0 in float64: the logarithm is to be that of a sum relative to its largest term"
    yield Case("far", TWO, ["ILL_CONDITIONED", "EDGE_CASE"], comment, far)
    lonely = {"weights": [1.0], "means": [[0.5, 0.5]], "covariances": [[[1.0, 0.5], [0.5, 1.0]]]}
    yield Case("lonely", lonely, ["EDGE_CASE"], "one component: a Gaussian", rng.standard_normal((3, 2)))
