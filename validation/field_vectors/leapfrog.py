"""Golden vectors of the leapfrog: where trajectories of one step and of many end, ahead and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, vector
from .trajectories import CONVENTIONS, DERIVATION, Start, arrivals, starts

SUITE = Suite("leapfrog", "any", __name__, 20261209, DERIVATION, CONVENTIONS + "; inverse: flip v, forward, flip v")
LENGTHS = ((0.2, 1), (0.1, 7))


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SUITE.seed)
    for start in starts(rng, 2):
        for step_size, n_steps in LENGTHS:
            yield _answered(start, step_size, n_steps)
    (long,) = [each for each in starts(rng, 1) if each.name == "u1-2x3"]
    yield _answered(long, 0.05, 60)


def _answered(start: Start, step_size: float, n_steps: int) -> Entry:
    arrays: dict[str, Any] = {"v": start.v}
    for way, sign in (("forward", 1), ("inverse", -1)):
        ends = arrivals(start, step_size, n_steps, sign)
        arrays[f"x_{way}"], arrays[f"v_{way}"] = np.array([e.x for e in ends]), np.array([e.v for e in ends])
    arrays["logdet"] = np.zeros(len(start.x))
    parameters = {**start.parameters, "step_size": step_size, "n_steps": n_steps}
    flags = ["BASIC", "CONVENTION"] if n_steps == 1 else ["ILL_CONDITIONED"] if n_steps > 50 else ["BASIC"]
    comment = f"{n_steps} step{'s' if n_steps > 1 else ''} of {step_size}: half kicks at both ends"
    case = Case(f"{start.name}-{n_steps}x{step_size}", parameters, flags, comment, start.x)
    tolerance = 1e-13 * max(1, n_steps)
    calls = []
    for way in ("forward", "inverse"):
        angles = {"angles": [f"x_{way}"]} if start.angular else {}
        calls.append(call(way, [["x", "v"]], [[f"x_{way}", f"v_{way}"], "logdet"], tolerance, **angles))
    reason = "1e-13 per step: rounding of the force, and its growth along the trajectory"
    return vector(SUITE, case, arrays, calls, reason, theory=start.theory, declares={"integrator": "leapfrog"})
