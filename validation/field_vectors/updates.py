"""Golden vectors of HMC updates with given noise: proposals, changes of energy and decisions, near them and far."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, vector
from .trajectories import CONVENTIONS, DERIVATION, Arrival, Start, arrivals, starts

SUITE = Suite(
    "updates",
    "any",
    __name__,
    20261210,
    DERIVATION,
    CONVENTIONS
    + "; proposal (x', v') of x and v; delta_h = H(x', v') - H(x, v); accept, 1 or 0, where u < exp(-delta_h); x_next is "
    "x_proposed where accepted, else x to the bit; logdet 0",
)
# By how much u is off the decision, relative: beyond the rounding of exp(-delta_h), within what any other rule would give.
NEAR = 1e-6
LAST = 1 - 2.0**-53
STEPS = {"u1-2x3": (0.2, 4), "su2-2x2": (0.5, 3), "phi4-strong-4x6": (0.2, 4), "phi4-broken-4x6": (0.3, 4)}


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SUITE.seed)
    for start in starts(rng, 8):
        step_size, n_steps = STEPS.get(start.name, (0.4, 4))
        yield _answered(_both_ways(start, step_size, n_steps), step_size, n_steps)


def _both_ways(start: Start, step_size: float, n_steps: int) -> Start:
    """Every other chain begins where a trajectory ends, with its momenta turned: H grows in some, and falls in others."""
    ends = arrivals(start, step_size, n_steps)
    turned = np.arange(len(ends)) % 2 == 1
    x, v = start.x.copy(), start.v.copy()
    x[turned] = np.array([end.x for end in ends])[turned]
    v[turned] = -np.array([end.v for end in ends])[turned]
    return start._replace(x=x, v=v)


def _answered(start: Start, step_size: float, n_steps: int) -> Entry:
    ends = arrivals(start, step_size, n_steps)
    order = sorted(range(len(ends)), key=lambda k: -ends[k].delta_h)
    start = start._replace(x=start.x[order], v=start.v[order])
    ends = [ends[k] for k in order]
    u = np.array([_uniform(k, end) for k, end in enumerate(ends)])
    accept = np.array([math.log(number) < -end.delta_h for number, end in zip(u, ends, strict=True)])
    where = accept.reshape(-1, *(1,) * (start.x.ndim - 1))
    proposed = np.array([end.x for end in ends])
    arrays: dict[str, Any] = {
        "v": start.v,
        "u": u,
        "x_proposed": proposed,
        "v_proposed": np.array([end.v for end in ends]),
        "logdet": np.zeros(len(u)),
        "delta_h": np.array([end.delta_h for end in ends]),
        "accept": accept.astype(np.float64),
        "x_next": np.where(where, proposed, start.x),
    }
    parameters = {**start.parameters, "step_size": step_size, "n_steps": n_steps}
    comment = f"from the largest delta_h to the smallest; u within {NEAR:g} of the decision "
    comment += "in chains 0 and 1, at the ends of [0, 1) else"
    case = Case(start.name, parameters, ["BASIC", "CONVENTION", "EDGE_CASE"], comment, start.x)
    names = ("x_proposed", "v_proposed", "logdet", "delta_h", "accept", "x_next")
    angles = {"angles": ["x_proposed", "x_next"]} if start.angular else {}
    calls = [call("transition", ["x", "v", "u"], {name: name for name in names}, 1e-11, **angles)]
    reason = "rounding of energies of some 100, and of four steps with its growth; a decision is to be the same"
    return vector(SUITE, case, arrays, calls, reason, theory=start.theory, declares={"integrator": "leapfrog"})


def _uniform(k: int, end: Arrival) -> float:
    """Just below the decision, just above it, then the largest and the smallest number there is by turns."""
    edge = math.exp(-end.delta_h)
    if k < 2 and edge < 1:
        return edge * (1 + NEAR if k % 2 else 1 - NEAR)
    return 2.0**-53 if k % 2 else LAST
