"""Golden vectors of moves along the orbit of the unit flux with two flavours of quarks: Metropolis, a pool, a heat bath.

Determinants by elimination in fixed-point arithmetic of 51 digits, all else in 50-digit decimals. Uniforms are far enough from what
they decide that rounding changes no decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import U1, Decimals, decimals, digits, rounded, wrapped
from ..fixed_point import ONE, Fixed, log_size, solved, turned
from ..pieces import Piece, piece
from ..vector_format import description
from .fermion import dirac
from .move import accepted, chosen, orbit_weights, uniforms, unit_flux

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

SEED = 20261212
TOLERANCE = 1e-12  # logarithms of determinants, of size 1, of matrices of condition numbers up to some 100
BETA, KAPPA, SHAPE, CHAINS, CANDIDATES = 0.5, 0.25, (2, 3), 4, 3
TOLD = (
    "U(1) with R = -2 log |det D|, antiperiodic in time; members x + k I, wrapped, k = 0, ..., V - 1, I the uniform flux of suite "
    "maps; q(k) the share of exp(-S(x + k I)) of the gauge action alone. A draw from weights w_j by a uniform u is the first i "
    "with u < sum_(j <= i) w_j/sum_j w_j. "
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of the vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        yield _entry(rng)


class Orbit:
    """The members of the orbit of a field, their gauge weights, and R."""

    def __init__(self, links: NDArray[np.float64]) -> None:
        flux, self.theory = unit_flux(SHAPE), U1(BETA)
        field = decimals(links)
        self.members = [field + k * flux for k in range(field[0].size)]
        self.q = orbit_weights(field, Decimal(BETA))
        self.rest = [-2 * _log_determinant(member) for member in self.members]

    def action(self, k: int) -> float:
        return float(self.theory.action(self.members[k]) + self.rest[k])


def _log_determinant(links: Decimals) -> Decimal:
    angles = np.array([int(angle * ONE) for angle in wrapped(links).ravel()], dtype=object).reshape(links.shape)
    d = dirac(turned(angles)[..., None, None], KAPPA, antiperiodic=True)
    return log_size(solved(d, Fixed.zeros(len(d.re), 0))[0])


def _entry(rng: np.random.Generator) -> Entry:
    x = np.round(rng.uniform(-3, 3, (CHAINS, 2, *SHAPE)), 6)
    x[CHAINS // 2 :] *= 0.5
    orbits = [Orbit(links) for links in x]
    arrays: dict[str, Any] = {"x": x}
    pieces = [_metropolis(orbits, arrays), _pool(rng, orbits, arrays), _heat_bath(orbits, arrays)]
    about = description(
        "orbits/quarks-2x3",
        "schwinger",
        SHAPE,
        ["BASIC", "CONVENTION"],
        "uniform flux drawn from the gauge action, decided by the determinant",
        parameters={"beta": BETA, "kappa": KAPPA},
        calls=[],
        derivation="from the formula of each piece in 50-digit decimal arithmetic, determinants in fixed point, rounded once",
        tolerance=TOLERANCE,
        reason="logarithms of determinants of matrices of condition numbers up to some 100; decisions are exact",
        conventions="links (chain, mu, t, x); one uniform u per chain, candidates (chain, candidate)",
        module=__name__,
        seed=SEED,
    )
    return "quarks-2x3", {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _answers(arrays: dict[str, Any], prefix: str, orbits: list[Orbit], found: list[int]) -> list[str]:
    """The field, its action, the flux, the change of R."""
    pairs = list(zip(orbits, found, strict=True))
    arrays[f"{prefix}_y"] = [rounded(wrapped(orbit.members[k])) for orbit, k in pairs]
    arrays[f"{prefix}_action"] = [orbit.action(k) for orbit, k in pairs]
    arrays[f"{prefix}_k"] = [float(k) for k in found]
    arrays[f"{prefix}_delta"] = [float(orbit.rest[k] - orbit.rest[0]) for orbit, k in pairs]
    return [f"{prefix}_{name}" for name in ("y", "action", "k", "delta")]


def _piece(name: str, formula: str, arguments: list[Any], returns: list[str]) -> Piece:
    given = [BETA, KAPPA, "x", *arguments]
    return piece(f"kernels.{name}", TOLD + formula, given, returns, tolerance=TOLERANCE, angles=(returns[0],))


def _metropolis(orbits: list[Orbit], arrays: dict[str, Any]) -> Piece:
    candidate = np.array([0.625, 0.375, 0.9375, 0.96875])
    found = [chosen(orbit.q, Decimal(float(a))) for orbit, a in zip(orbits, candidate, strict=True)]
    returns = _answers(arrays, "metropolis", orbits, found)
    deltas = [orbit.rest[k] - orbit.rest[0] for orbit, k in zip(orbits, found, strict=True)]
    u = uniforms(deltas)
    arrays |= {"candidate": candidate, "u": u, "metropolis_accepted": accepted(u, deltas)}
    arrays["metropolis_acceptance"] = [float(min(Decimal(1), (-delta).exp())) for delta in deltas]
    formula = (
        "The proposal y = x + k I, k drawn from q; delta = R(y) - R(x), accepted where u < exp(-delta), with probability min(1, "
        "exp(-delta)). Arguments: beta, kappa, x, uniform of k, u. Returns y, its action, k, delta, accepted, the probability"
    )
    names = ["metropolis_accepted", "metropolis_acceptance"]
    return _piece("orbit_metropolis", formula, ["candidate", "u"], [*returns, *names])


def _of_slots(
    arrays: dict[str, Any],
    prefix: str,
    orbits: list[Orbit],
    slots: list[list[int]],
    weights: list[list[Decimal]],
    u: Any,
) -> list[str]:
    """Where one of several slots is chosen, x being the first."""
    found = [chosen(w, Decimal(float(a))) for w, a in zip(weights, u, strict=True)]
    returns = _answers(arrays, prefix, orbits, [ks[slot] for ks, slot in zip(slots, found, strict=True)])
    arrays[f"{prefix}_accepted"] = [slot > 0 for slot in found]
    arrays[f"{prefix}_acceptance"] = [float(1 - w[0] / sum(w, Decimal(0))) for w in weights]
    return [*returns, f"{prefix}_accepted", f"{prefix}_acceptance"]


def _pool(rng: np.random.Generator, orbits: list[Orbit], arrays: dict[str, Any]) -> Piece:
    candidates, u = np.round(rng.random((CHAINS, CANDIDATES)), 6), np.array([0.5, 0.9375, 0.96875, 0.03125])
    slots = [
        [0, *(chosen(orbit.q, Decimal(float(a))) for a in row)] for orbit, row in zip(orbits, candidates, strict=True)
    ]
    weights = [[(-orbit.rest[k]).exp() for k in ks] for orbit, ks in zip(orbits, slots, strict=True)]
    returns = _of_slots(arrays, "pool", orbits, slots, weights, u)
    arrays |= {"pool_candidates": candidates, "pool_u": u}
    formula = (
        "x and candidates x + k_i I, k_i drawn from q; one of them drawn from exp(-R). Arguments: beta, kappa, x, uniforms of k_i "
        "(chain, i), u. Returns the field, its action, k, R less that of x, whether another slot than that of x, the probability "
        "of that"
    )
    return _piece("orbit_pool", formula, ["pool_candidates", "pool_u"], returns)


def _heat_bath(orbits: list[Orbit], arrays: dict[str, Any]) -> Piece:
    u = np.array([2.0**-20, 0.625, 0.9375, 0.984375])
    slots = [list(range(len(orbit.q))) for orbit in orbits]
    weights = [[a * (-r).exp() for a, r in zip(orbit.q, orbit.rest, strict=True)] for orbit in orbits]
    returns = _of_slots(arrays, "bath", orbits, slots, weights, u)
    arrays["bath_u"] = u
    formula = (
        "One of all members, drawn from q(k) exp(-R(x + k I)). Arguments: beta, kappa, x, u. Returns as of the pool"
    )
    return _piece("orbit_heat_bath", formula, ["bath_u"], returns)
