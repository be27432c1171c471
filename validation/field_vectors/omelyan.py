"""Golden vectors of the integrator of Omelyan, Mryglod and Folk with two forces a step, ahead and back.

Its coefficient is the one that makes the error of second order smallest, in closed form from their paper (2003, eq. 31).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, vector
from .decimals import Stages, digits
from .trajectories import DERIVATION, Start, arrivals, starts

CONVENTIONS = (
    "one step: v -= l eps dS/dx, x += eps/2 v (links: U -> exp(i eps/2 v_a T_a) U), v -= (1 - 2 l) eps dS/dx, x += eps/2 v, "
    "v -= l eps dS/dx, l = 1/2 - r/12 + 1/(6 r), r = (2 sqrt(326) + 36)^(1/3); n_steps of these with step_size eps; momenta like "
    "the force; angles compared on the circle, stored in [-pi, pi); inverse: flip v, forward, flip v"
)
SUITE = Suite("omelyan", "any", __name__, 20261211, DERIVATION, CONVENTIONS)
LENGTHS = ((0.25, 1), (0.125, 3))
THEORIES = ("u1-2x3", "o2-8", "gmm-3", "phi4-strong-4x6", "su2-2x2")


def stages() -> Stages:
    """Kick, drift, kick, drift, kick."""
    with digits():
        root = (2 * Decimal(326).sqrt() + 36) ** (1 / Decimal(3))
        first = Decimal("0.5") - root / 12 + 1 / (6 * root)
        return first, Decimal("0.5"), 1 - 2 * first, Decimal("0.5"), first


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for start in starts(np.random.default_rng(SUITE.seed), 2):
        if start.name in THEORIES:
            for step_size, n_steps in LENGTHS:
                yield _answered(start, step_size, n_steps)


def _answered(start: Start, step_size: float, n_steps: int) -> Entry:
    arrays: dict[str, Any] = {"v": start.v}
    for way, sign in (("forward", 1), ("inverse", -1)):
        ends = arrivals(start, step_size, n_steps, sign, stages())
        arrays[f"x_{way}"], arrays[f"v_{way}"] = np.array([e.x for e in ends]), np.array([e.v for e in ends])
    arrays["logdet"] = np.zeros(len(start.x))
    declared = {"integrator": "omelyan"}
    parameters = {**start.parameters, "step_size": step_size, "n_steps": n_steps, **declared}
    comment = f"{n_steps} step{'s' if n_steps > 1 else ''} of {step_size}, each of three kicks and two drifts"
    case = Case(f"{start.name}-{n_steps}x{step_size}", parameters, ["BASIC", "CONVENTION"], comment, start.x)
    tolerance = 2e-13 * n_steps
    calls = []
    for way in ("forward", "inverse"):
        angles = {"angles": [f"x_{way}"]} if start.angular else {}
        calls.append(call(way, [["x", "v"]], [[f"x_{way}", f"v_{way}"], "logdet"], tolerance, **angles))
    reason = "2e-13 per step: rounding of two forces, and its growth along the trajectory"
    return vector(SUITE, case, arrays, calls, reason, theory=start.theory, declares=declared)
