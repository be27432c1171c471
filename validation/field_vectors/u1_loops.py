"""Golden vectors of U(1) loops: Wilson loops, kinetic energies, couplings, and links that are to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, refused, vector
from .decimals import U1, Decimals, allowance, cosine, decimals, digits, rounded

SUITE = Suite(
    "u1_loops",
    "u1",
    __name__,
    20261205,
    "loop by loop in 50-digit decimal arithmetic from the float64 links, rounded once",
    "axes (chain, mu, t, x), mu = 0 time; wilson_loop_AxB: mean cosine of the loops of A links in time and B in space; "
    "kinetic = sum "
    "v^2/2; action = beta sum_P (1 - cos theta_P); force = + d action/d theta",
)
LARGEST = 4  # sites along a loop


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SUITE.seed)
    for shape, beta in (((2, 2), 1.0), ((2, 3), 0.5), ((3, 2), 6.0), ((4, 4), 2.0), ((4, 6), 4.0), ((6, 4), 10.0)):
        parameters = {"beta": beta, "shape": list(shape)}
        hot = rng.uniform(-np.pi, np.pi, (2, 2, *shape))
        flags = ["BASIC", "CONVENTION"] if shape[0] != shape[1] else ["BASIC"]
        case = Case(f"hot-{shape[0]}x{shape[1]}", parameters, flags, "uniform links and normal momenta", hot)
        yield _answered(case, rng.standard_normal(hot.shape))
    far = rng.uniform(-np.pi, np.pi, (2, 2, 4, 4)) + 2 * np.pi * rng.integers(-3, 4, (2, 2, 4, 4))
    comment = "angles beyond [-pi, pi): whoever wants them wrapped may refuse"
    case = Case(
        "unwrapped-4x4", {"beta": 2.0, "shape": [4, 4]}, ["EDGE_CASE", "BRANCH_CUT"], comment, far, "acceptable"
    )
    yield _answered(case, rng.standard_normal(far.shape))
    smooth = 1e-7 * rng.standard_normal((2, 2, 4, 4))
    comment = "nearly ordered: 1 - cos of 1e-7 has no digit left when taken as it stands"
    case = Case("smooth-4x4", {"beta": 100.0, "shape": [4, 4]}, ["ILL_CONDITIONED"], comment, smooth)
    yield _answered(case, rng.standard_normal(smooth.shape))
    for name, comment, x in _refused():
        case = Case(name, {"beta": 2.0, "shape": [4, 4]}, ["EDGE_CASE"], comment, x)
        functions: list[tuple[str, list[Any]]] = [("action", []), ("force", []), ("plaquette", [])]
        yield refused(SUITE, case, [*functions, ("charge", []), ("sine_charge", []), ("wilson_loop", [2, 2])])


def _refused() -> Iterator[tuple[str, str, Any]]:
    for label, value in (("nan", np.nan), ("infinite", np.inf)):
        x = np.zeros((2, 2, 4, 4))
        x[1, 0, 2, 3] = value
        yield f"{label}-4x4", f"a link that is {value}, in the second chain alone", x
    yield "three-directions", "links in three directions on a lattice of two", np.zeros((1, 3, 4, 4))
    yield "no-space", "one axis less: (chain, mu, t)", np.zeros((1, 2, 4))


def _answered(case: Case, v: Any) -> Entry:
    shape, theory = case.x.shape[2:], U1(case.parameters["beta"])
    loops = [(a, b) for a in range(1, min(LARGEST, shape[0]) + 1) for b in range(1, min(LARGEST, shape[1]) + 1)]
    with digits():
        rows = [decimals(field) for field in case.x]
        momenta = [decimals(field) for field in v]
        arrays: dict[str, Any] = {
            "v": v,
            "action": rounded([theory.action(row) for row in rows]),
            "force": np.array([rounded(theory.force(row)) for row in rows]),
            "kinetic": rounded([(row * row).sum() / 2 for row in momenta]),
        }
        for a, b in loops:
            arrays[f"wilson_loop_{a}x{b}"] = rounded([mean_loop(row, a, b) for row in rows])
    beta, turns = theory.beta, float(np.abs(case.x).max())
    calls = [
        call("action", ["x"], "action", allowance(case.x[0].size, beta * turns), up_to_constant=True),
        call("force", ["x"], "force", allowance(4, beta * turns)),
        call("plaquette", ["x"], "wilson_loop_1x1", allowance(4, turns)),
    ]
    for a, b in loops:
        calls.append(call("wilson_loop", ["x", a, b], f"wilson_loop_{a}x{b}", allowance(2 * (a + b), turns)))
    reason = (
        "rounding: 16 units in the last place of the largest angle, times the links of a loop, and the terms of a sum"
    )
    return vector(SUITE, case, arrays, calls, reason)


def mean_loop(x: Decimals, extent_t: int, extent_x: int) -> Any:
    """Mean cosine of the loops of these extents, link by link."""
    n_t, n_x = x.shape[1:]
    angles = []
    for t in range(n_t):
        for s in range(n_x):
            angle = sum(x[0, (t + k) % n_t, s] - x[0, (t + k) % n_t, (s + extent_x) % n_x] for k in range(extent_t))
            angle += sum(x[1, (t + extent_t) % n_t, (s + k) % n_x] - x[1, t, (s + k) % n_x] for k in range(extent_x))
            angles.append(angle)
    return cosine(np.array(angles, dtype=object)).sum() / len(angles)
