"""Golden vectors of SU(2) and SU(3) links: action, force, plaquette, Wilson loops, staples, in 51-digit fixed-point arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import ONE, Fixed
from ..suites.fermion import components, random_links
from ..vector_format import call
from .cases import Case, Entry, Suite, refused, vector
from .decimals import allowance

SUITE = Suite(
    "sun",
    "su2",
    __name__,
    20261207,
    "link by link in 51-digit fixed-point arithmetic from the float64 numbers, whatever their unitarity, rounded once",
    "axes (chain, mu, t, x, a, b), mu = 0 time; P = U_0(n) U_1(n + 0^) U_0(n + 1^)^dag U_1(n)^dag; action = -(beta/N) "
    "sum_P Re tr P; "
    "force (chain, mu, t, x, a) = + d action/d eps under U -> exp(i eps T_a) U, half the Pauli or Gell-Mann matrices; staples: the "
    "sum of both, such that -(beta/N) Re tr(U staple) is the part of the action that holds U; wilson_loop_AxB: mean of "
    "Re tr W/N over "
    "the loops of A links in time and B in space",
)
LOOPS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2))


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SUITE.seed)
    for n in (2, 3):
        for shape, beta in (((2, 2), 2.0), ((2, 3), 1.0), ((3, 2), 4.0), ((4, 4), 6.0)):
            x = np.stack([random_links(rng, n, shape, size) for size in (3.0, 0.3)])
            flags = ["BASIC", "CONVENTION"] if shape[0] != shape[1] else ["BASIC"]
            name, parameters = f"su{n}-{shape[0]}x{shape[1]}", {"beta": beta, "shape": list(shape)}
            yield _answered(n, Case(name, parameters, flags, "a rough field, and one near order", x))
        one = np.tile(np.eye(n, dtype=np.complex128), (2, 2, 4, 4, 1, 1))
        one[0, 0, 3, 3], one[1, 1, 3, 3] = random_links(rng, n, (1, 1), 1.0)[:, 0, 0]
        comment = "one link on the boundary: orientation, axes and generators"
        case = Case(f"su{n}-one-link-4x4", {"beta": 1.0, "shape": [4, 4]}, ["BASIC", "CONVENTION"], comment, one)
        yield _answered(n, case)
        centre = np.tile(np.eye(n, dtype=np.complex128), (1, 2, 2, 2, 1, 1))
        centre[0, 0, 0, 0] *= -1 if n == 2 else complex(-0.5, 3**0.5 / 2)
        comment = "one link in the centre of the group: plaquettes far from 1, and no force in SU(2)"
        yield _answered(n, Case(f"su{n}-centre-2x2", {"beta": 1.0, "shape": [2, 2]}, ["EDGE_CASE"], comment, centre))
        nan = np.tile(np.eye(n, dtype=np.complex128), (1, 2, 2, 2, 1, 1))
        nan[0, 1, 1, 0, 0, 1] = np.nan
        case = Case(f"su{n}-nan-2x2", {"beta": 1.0, "shape": [2, 2]}, ["EDGE_CASE"], "an entry that is NaN", nan)
        functions: list[tuple[str, list[Any]]] = [
            ("action", []),
            ("force", []),
            ("plaquette", []),
            ("wilson_loop", [1, 1]),
        ]
        name, about, arrays = refused(SUITE, case, functions)
        yield name, {**about, "theory": f"su{n}"}, arrays


def _answered(n: int, case: Case) -> Entry:
    beta, shape = case.parameters["beta"], tuple(case.parameters["shape"])
    loops = [(a, b) for a, b in LOOPS if a <= shape[0] and b <= shape[1]]
    rows = [_row(Fixed.of(field), beta, loops) for field in case.x]
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    calls = [
        call("force", ["x"], "force", allowance(8, beta)),
        call("plaquette", ["x"], "wilson_loop_1x1", allowance(8, 1.0)),
        *(call("wilson_loop", ["x", a, b], f"wilson_loop_{a}x{b}", allowance(4 * (a + b), 1.0)) for a, b in loops),
    ]
    if len(case.x) > 1:
        calls.insert(0, call("action", ["x"], "action", allowance(8 * shape[0] * shape[1], beta), up_to_constant=True))
    reason = (
        "rounding: 16 units in the last place of a trace, times the factors of the product and the terms of the sum"
    )
    return vector(SUITE, case, arrays, calls, reason, theory=f"su{n}")


def _row(x: Fixed, beta: float, loops: list[tuple[int, int]]) -> dict[str, Any]:
    """All answers of one field ``(2, T, X, N, N)``."""
    _, n_t, n_x, n, _ = x.re.shape
    staples = np.zeros((2, n_t, n_x, n, n), np.complex128)
    for mu, t, s in np.ndindex(2, n_t, n_x):
        staples[mu, t, s] = staple(x, mu, t, s).rounded()
    plaquette = mean_loop(x, 1, 1)
    return {
        "action": -beta * n_t * n_x * plaquette,
        "force": rounded_force(force(x, beta)),
        "staples": staples,
        **{f"wilson_loop_{a}x{b}": mean_loop(x, a, b) for a, b in loops},
    }


def staple(x: Fixed, mu: int, t: int, s: int) -> Fixed:
    """The sum of both staples of a link, such that ``Re tr(U staple)`` is that of its two plaquettes."""
    _, n_t, n_x = x.re.shape[:3]
    after, before = (t + 1) % n_t, (t - 1) % n_t
    right, left = (s + 1) % n_x, (s - 1) % n_x
    if mu == 0:
        ahead = x[1, after, s] @ x[0, t, right].dagger @ x[1, t, s].dagger
        return ahead + x[1, after, left].dagger @ x[0, t, left].dagger @ x[1, t, left]
    ahead = x[0, t, right] @ x[1, after, s].dagger @ x[0, t, s].dagger
    return ahead + x[0, before, right].dagger @ x[1, before, s].dagger @ x[0, before, s]


def force(x: Fixed, beta: float) -> NDArray[np.object_]:
    """``(beta/N) Im tr(T_a U staple)``, in integers of fixed point."""
    _, n_t, n_x, n, _ = x.re.shape
    out = np.empty((2, n_t, n_x, n * n - 1), dtype=object)
    numerator, denominator = float(beta).as_integer_ratio()
    for mu, t, s in np.ndindex(2, n_t, n_x):
        pulled = components((x[mu, t, s] @ staple(x, mu, t, s)).rotated(-1j))
        out[mu, t, s] = [value * numerator // (n * denominator) for value in pulled]
    return out


def rounded_force(values: NDArray[np.object_]) -> NDArray[np.float64]:
    return np.array([value / ONE for value in values.ravel()]).reshape(values.shape)


def mean_loop(x: Fixed, extent_t: int, extent_x: int) -> float:
    """Mean of ``Re tr W/N`` over the loops of these extents."""
    _, n_t, n_x, n, _ = x.re.shape
    return total_trace(x, extent_t, extent_x) / (n * n_t * n_x * ONE)


def total_trace(x: Fixed, extent_t: int, extent_x: int) -> int:
    """Sum of ``Re tr W`` over the loops of these extents, link by link, in fixed point."""
    _, n_t, n_x, n, _ = x.re.shape
    total = 0
    for t, s in np.ndindex(n_t, n_x):
        up, over = Fixed.eye(n), Fixed.eye(n)
        for k in range(extent_t):
            up = up @ x[0, (t + k) % n_t, s]
        for k in range(extent_x):
            up, over = up @ x[1, (t + extent_t) % n_t, (s + k) % n_x], over @ x[1, t, (s + k) % n_x]
        for k in range(extent_t):
            over = over @ x[0, (t + k) % n_t, (s + extent_x) % n_x]
        total += int(np.trace((up @ over.dagger).re))
    return total
