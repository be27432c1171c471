"""Golden vectors of trajectories on several time scales, with pseudofermions and without, for given noise.

A level kicks the momenta by its own terms and leaves the drift to the level inside it. Written down as that recursion, in
fixed-point arithmetic of 51 digits, the pseudofermions by the dense matrices of `suites.fermion`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import LEAPFROG, PI, Stages, digits
from ..field_vectors.omelyan import stages as omelyan
from ..fixed_point import BITS, ONE, Fixed, Integers, solved, turned
from ..pieces import piece
from ..vector_format import description
from .dirac import twisted
from .fermion import dirac, monomial, normal
from .move import accepted, uniforms

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Term = dict[str, Any]
Point = tuple[Integers, Integers]

SEED = 20261213
TOLERANCE = 1e-12  # a dozen forces, those of pseudofermions with condition numbers of D D^dag up to some 100
KAPPA, CHAINS, LENGTH = 0.2, 2, 1.0


class Level(NamedTuple):
    """Terms with a ``beta`` (the gauge action) or a ``mu`` and a ``mu_next`` (a pseudofermion), steps per drift outside."""

    terms: list[Term]
    n_steps: int
    integrator: str

    def told(self) -> dict[str, Any]:
        return self._asdict()


GAUGE, LIGHT, HEAVY = {"beta": 2.0}, {"mu": 0.0, "mu_next": 0.25}, {"mu": 0.25, "mu_next": None}
CASES = (
    ("gauge-2x3", (2, 3), [Level([{"beta": 0.5}], 2, "leapfrog"), Level([{"beta": 2.5}], 3, "omelyan")]),
    ("quarks-2x2", (2, 2), [Level([{"mu": 0.0, "mu_next": None}], 2, "leapfrog"), Level([GAUGE], 2, "leapfrog")]),
    ("hasenbusch-2x3", (2, 3), [Level([LIGHT], 1, "omelyan"), Level([HEAVY, {"beta": 0.5}], 2, "leapfrog")]),
    ("three-2x2", (2, 2), [Level([LIGHT], 1, "leapfrog"), Level([HEAVY], 2, "leapfrog"), Level([GAUGE], 1, "omelyan")]),
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    with digits():
        for k, (name, shape, levels) in enumerate(CASES):
            yield _entry(name, shape, levels, np.random.default_rng([SEED, k]))


class Trajectory:
    """The forces of the terms, whose pseudofermions are made of noise at the beginning, and their time scales."""

    def __init__(self, levels: list[Level], links: Integers, chis: list[NDArray[Any]]) -> None:
        given = iter(chis)
        self.levels = [([(term, self._drawn(term, links, given)) for term in level.terms], level) for level in levels]

    def _drawn(self, term: Term, links: Integers, chis: Iterator[NDArray[Any]]) -> Fixed | None:
        """``phi = (D + i sqrt(mu) gamma5) (D + i sqrt(mu_next) gamma5)^-1 chi``, without the inverse of the last mass."""
        if "beta" in term:
            return None
        d, column = _dirac(links), Fixed.of(next(chis).reshape(-1, 1))
        chirality = np.tile([1, -1], len(d.re) // 2)
        if term["mu_next"] is not None:
            column = solved(twisted(d, chirality, term["mu_next"]), column)[1]
        return twisted(d, chirality, term["mu"]) @ column

    def energy(self, x: Integers, v: Integers) -> Decimal:
        actions = [_action_and_force(term, phi, x)[0] for terms, _ in self.levels for term, phi in terms]
        return Decimal(sum(actions)) / ONE + Decimal(int((v * v).sum())) / (2 * ONE * ONE)

    def moved(self, point: Point, time: Decimal, number: int = 0) -> Point:
        """By so much time, from this level inwards."""
        x, v = point
        if number == len(self.levels):
            return x + (int(time * ONE) * v >> BITS), v
        terms, level = self.levels[number]
        step = time / level.n_steps
        for _ in range(level.n_steps):
            for k, stage in enumerate(_stages(level.integrator)):
                if k % 2:
                    x, v = self.moved((x, v), stage * step, number + 1)
                else:
                    force = sum((_action_and_force(term, phi, x)[1] for term, phi in terms), 0 * x)
                    v = v - (int(stage * step * ONE) * force >> BITS)
        return x, v


def _stages(integrator: str) -> Stages:
    return LEAPFROG if integrator == "leapfrog" else omelyan()


def _dirac(x: Integers) -> Fixed:
    return dirac(turned(x)[..., None, None], KAPPA, antiperiodic=True)


def _action_and_force(term: Term, phi: Fixed | None, x: Integers) -> tuple[int, Integers]:
    """``beta sum_P (1 - cos theta_P)``, or the pseudofermion's."""
    if phi is not None:
        return monomial(turned(x)[..., None, None], _dirac(x), phi, KAPPA, term["mu"], term["mu_next"])
    loops = turned(x[0] + np.roll(x[1], -1, 0) - np.roll(x[0], -1, 1) - x[1])
    beta = int(Decimal(term["beta"]) * ONE)
    s = beta * loops.im >> BITS
    force = np.stack([s - np.roll(s, 1, 1), np.roll(s, 1, 0) - s])
    return beta * int((ONE - loops.re).sum()) >> BITS, force


def _wrapped(x: Integers) -> NDArray[np.float64]:
    """In [-pi, pi)."""
    half = int(PI * ONE)
    folded = (x + half) % (2 * half) - half
    return np.array([value / ONE for value in folded.ravel()]).reshape(x.shape)


def _entry(name: str, shape: tuple[int, int], levels: list[Level], rng: np.random.Generator) -> Entry:
    x = np.round(rng.uniform(-3, 3, (CHAINS, 2, *shape)), 6)
    x[CHAINS // 2 :] *= 0.25
    v = np.round(rng.standard_normal(x.shape), 6)
    n_fields = sum("mu" in term for level in levels for term in level.terms)
    chis = {f"chi_{k}": normal(rng, (CHAINS, *shape, 2)) for k in range(n_fields)}
    ends, deltas = [], []
    for c in range(CHAINS):
        start = Fixed.of(x[c]).re, Fixed.of(v[c]).re
        trajectory = Trajectory(levels, start[0], [chi[c] for chi in chis.values()])
        ends.append(trajectory.moved(start, Decimal(LENGTH)))
        deltas.append(trajectory.energy(*ends[-1]) - trajectory.energy(*start))
    u = uniforms(deltas)
    arrays: dict[str, Any] = {"x": x, "v": v, "u": u, **chis}
    arrays |= {
        "x_end": [_wrapped(end) for end, _ in ends],
        "v_end": [[value / ONE for value in momenta.ravel()] for _, momenta in ends],
        "delta_h": [float(delta) for delta in deltas],
        "accepted": accepted(u, deltas),
    }
    arrays["v_end"] = np.reshape(arrays["v_end"], x.shape)
    formula = (
        "U(1) links; a drift of time s at a level is n steps of s/n: v -= c_0 s/n F, a drift of c_1 s/n at the next level, v -= "
        "c_2 s/n F, ..., F the force of the level's terms, at the innermost x += s v; c as in suites leapfrog and omelyan; the "
        "outermost takes the length. Terms: the gauge action beta sum (1 - cos P), or phi^dag (M + mu)^-1 phi, with mu_next "
        "phi^dag [1 + (mu_next - mu) (M + mu)^-1] phi, M = D D^dag, antiperiodic, phi made of chi at the first links as in "
        "dirac.heat_bath of suite dirac; H = sum of terms + v^2/2, accepted where u < exp(-delta_h). Arguments: levels, outermost "
        "first, length, kappa, x, v, u, chi of every pseudofermion"
    )
    arguments: list[Any] = [{"value": [level.told() for level in levels]}, LENGTH, KAPPA, "x", "v", "u", *chis]
    returns = ["x_end", "v_end", "delta_h", "accepted"]
    pieces = [piece("kernels.nested", formula, arguments, returns, tolerance=TOLERANCE, angles=("x_end",))]
    about = description(
        f"nested/{name}",
        "schwinger" if n_fields else "u1",
        shape,
        ["BASIC", "CONVENTION"],
        f"{len(levels)} time scales, {n_fields or 'no'} pseudofermion{'s' if n_fields != 1 else ''}",
        parameters={},
        calls=[],
        derivation="the recursion of the formula in 51-digit fixed-point arithmetic, dense matrices for D, rounded once",
        tolerance=TOLERANCE,
        reason="rounding of a dozen forces, those of pseudofermions amplified by condition numbers up to some 100",
        conventions="links and momenta (chain, mu, t, x), chi (chain, t, x, spin), with density exp(-chi^dag chi) when drawn",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}
