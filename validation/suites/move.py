"""Golden vectors of updates with given draws: independence and pseudomarginal Metropolis, winding, Fourier-accelerated HMC.

Every number in 50-digit decimal arithmetic. Decisions are far enough from their thresholds that rounding changes none of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import PI, U1, Decimals, Phi4, cosine, decimals, digits, plaquettes, rounded, wrapped
from ..pieces import Piece, piece
from ..vector_format import description

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

SEED = 20261203
TOLERANCE = 4e-13  # sums of twenty terms of size 10
SHAPE = (2, 3)
DECIDED = "accepted where u < exp(-delta_h)"


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        yield _independence(rng)
        yield _winding(rng)
        yield _fourier(rng)


def _entry(name: str, theory: str, comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    about = description(
        f"moves/{name}",
        theory,
        np.shape(arrays["x"])[1:],
        ["BASIC", "CONVENTION"],
        comment,
        parameters={},
        calls=[],
        derivation="from the formula of each piece in 50-digit decimal arithmetic, rounded once",
        tolerance=TOLERANCE,
        reason="rounding of sums of some twenty terms of size 10; decisions are exact",
        conventions="links (chain, mu, t, x), fields (chain, t, x); one uniform u per chain",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def uniforms(deltas: list[Decimal]) -> list[float]:
    """Of those that may be rejected one after the other is, three halves and two thirds of what decides; else 0.95."""
    factors = itertools.cycle((Decimal("1.5"), Decimal("0.65")))
    return [float((-delta).exp() * next(factors)) if delta > Decimal("0.5") else 0.95 for delta in deltas]


def accepted(u: list[float], deltas: list[Decimal]) -> NDArray[np.bool_]:
    return np.array([Decimal(a) < (-delta).exp() for a, delta in zip(u, deltas, strict=True)])


def _independence(rng: np.random.Generator) -> Entry:
    beta, proposal = 2.0, 1.25
    x, y = (np.round(rng.uniform(-3, 3, (4, 2, *SHAPE)), 6) for _ in range(2))
    y[3] *= 0.125
    target, other = ([U1(b).action(decimals(links)) for links in (*x, *y)] for b in (beta, proposal))
    log_d, log_d_old = np.round(rng.standard_normal((2, 4)), 6)
    log_w = [q - s for q, s in zip(other, target, strict=True)]
    deltas = [log_w[c] - log_w[c + 4] for c in range(4)]
    estimated = [value + Decimal(float(d)) for value, d in zip(log_w, [*log_d_old, *log_d], strict=True)]
    noisy = [estimated[c] - estimated[c + 4] for c in range(4)]
    u, u_noisy = uniforms(deltas), uniforms(noisy)
    arrays = {"x": x, "y": y, "s_q": [float(q) for q in other[4:]], "log_d": log_d, "log_d_old": log_d_old}
    arrays |= {"u": u, "delta_h": [float(d) for d in deltas], "accepted": accepted(u, deltas)}
    arrays |= {"log_w": [float(w) for w in log_w[4:]], "estimated_log_w": [float(w) for w in estimated[4:]]}
    arrays |= {
        "noisy_u": u_noisy,
        "noisy_delta_h": [float(d) for d in noisy],
        "noisy_accepted": accepted(u_noisy, noisy),
    }
    told = (
        f"delta_h = log w(x) - log w(y), {DECIDED}. S_q and S the actions of U(1) at two betas. "
        "Arguments: beta, beta of q, x, y, S_q(y)"
    )
    pieces = [
        piece(
            "kernels.independence",
            f"log w(y) = S_q(y) - S(y); {told}, u",
            [beta, proposal, "x", "y", "s_q", "u"],
            ["log_w", "delta_h", "accepted"],
            tolerance=TOLERANCE,
        ),
        piece(
            "kernels.pseudomarginal",
            f"log w(y, d) = S_q(y) - S(y) + log d of an estimate d of a determinant, that of x kept; {told}, log d of x and y, u",
            [beta, proposal, "x", "y", "s_q", "log_d_old", "log_d", "noisy_u"],
            ["estimated_log_w", "noisy_delta_h", "noisy_accepted"],
            tolerance=TOLERANCE,
        ),
    ]
    return _entry(
        "independence-2x3",
        "u1",
        "proposals that know nothing of the field, weights exact and estimated",
        arrays,
        pieces,
    )


def _winding(rng: np.random.Generator) -> Entry:
    beta = 2.0
    x = np.round(rng.uniform(-3, 3, (4, 2, *SHAPE)), 6)
    x[:2] *= 0.25
    directions, u_bath = np.array([1.0, -1.0, 1.0, -1.0]), [0.125, 0.5, 0.75, 0.9375]
    flux = unit_flux(SHAPE)
    theory, fields = U1(beta), [decimals(links) for links in x]
    moved = [wrapped(field + int(d) * flux) for field, d in zip(fields, directions, strict=True)]
    deltas = [theory.action(b) - theory.action(a) for a, b in zip(fields, moved, strict=True)]
    u = uniforms(deltas)
    drawn = [chosen(orbit_weights(field, Decimal("0.25")), Decimal(a)) for field, a in zip(fields, u_bath, strict=True)]
    arrays = {"x": x, "d": directions, "u": u, "y": [rounded(b) for b in moved], "delta_h": [float(d) for d in deltas]}
    arrays |= {"accepted": accepted(u, deltas), "bath_u": u_bath, "k": [float(k) for k in drawn]}
    arrays["bath_y"] = [rounded(wrapped(field + k * flux)) for field, k in zip(fields, drawn, strict=True)]
    told = "x + k I, wrapped, I the uniform flux of suite maps; S of U(1)"
    pieces = [
        piece(
            "kernels.winding",
            f"{told}, k = d; delta_h = S(x + k I) - S(x), {DECIDED}. Arguments: beta, x, d, u",
            [beta, "x", "d", "u"],
            ["y", "delta_h", "accepted"],
            tolerance=TOLERANCE,
            angles=("y",),
        ),
        piece(
            "kernels.flux_heat_bath",
            f"{told}, k = 0, ..., V - 1 the first with u < sum_(j <= k) w_j/sum_j w_j, w_j = exp(-S(x + j I)). Arguments: beta, "
            "x, u",
            [0.25, "x", "bath_u"],
            ["bath_y", "k"],
            tolerance=TOLERANCE,
            angles=("bath_y",),
        ),
    ]
    return _entry("winding-2x3", "u1", "moves along uniform flux", arrays, pieces)


def unit_flux(shape: tuple[int, int]) -> Decimals:
    """Every plaquette is ``2 pi/V`` modulo 2 pi."""
    n_t, n_x = shape
    flux = decimals(np.zeros((2, *shape)))
    for t, s in np.ndindex(*shape):
        flux[1, t, s] = 2 * PI * t / (n_t * n_x)
        flux[0, t, s] = -2 * PI * s / n_x if t == n_t - 1 else Decimal(0)
    return flux


def orbit_weights(field: Decimals, beta: Decimal) -> list[Decimal]:
    """``exp(-S)`` along the orbit, up to a factor."""
    p = plaquettes(field)
    return [(beta * cosine((p + 2 * PI * k / p.size).ravel()).sum()).exp() for k in range(p.size)]


def chosen(weights: list[Decimal], u: Decimal) -> int:
    """The first index with ``u`` below its share of the sum of the weights up to there."""
    shares = list(itertools.accumulate(weights))
    return sum(share <= u * shares[-1] for share in shares[:-1])


def _fourier(rng: np.random.Generator) -> Entry:
    theory, (n_t, n_x), eps, n_steps, mass2, stiffness = Phi4(-0.5, 2.5), (4, 3), 0.5, 4, 1.5, 0.75
    x, v = (np.round(rng.standard_normal((4, n_t, n_x)), 6) for _ in range(2))
    x[1::2] *= 0.25
    kernel = np.full((n_t, n_x), Decimal(0), dtype=object)
    for k, q in np.ndindex(n_t, n_x):
        hat = 4 - 2 * _cosine(k, n_t) - 2 * _cosine(q, n_x)
        weight = 1 / (Decimal(stiffness) * hat + Decimal(mass2)) / (n_t * n_x)
        for t, s in np.ndindex(n_t, n_x):
            kernel[t, s] += weight * _cosine(k * t, n_t) * _cosine(q * s, n_x)

    def spread(field: Decimals) -> Decimals:
        """``K^-1`` times a field."""
        return np.asarray(sum(kernel[r] * np.roll(field, r, (0, 1)) for r in np.ndindex(n_t, n_x)), dtype=object)

    ends, deltas = [], []
    for phi, momenta in zip(map(decimals, x), map(decimals, v), strict=True):
        here, p, half = phi, momenta, Decimal(eps) / 2
        for _ in range(n_steps):
            p = p - half * theory.force(here)
            here = here + Decimal(eps) * spread(p)
            p = p - half * theory.force(here)
        ends.append((here, p))
        change = (p * spread(p)).sum() / 2 - (momenta * spread(momenta)).sum() / 2
        deltas.append(theory.action(here) - theory.action(phi) + change)
    u = uniforms(deltas)
    arrays = {"x": x, "v": v, "u": u, "x_end": [rounded(a) for a, _ in ends], "v_end": [rounded(b) for _, b in ends]}
    arrays |= {"delta_h": [float(d) for d in deltas], "accepted": accepted(u, deltas)}
    formula = (
        "n leapfrog steps of H = S + v K^-1 v/2, K diagonal in momentum space, K(k) = stiffness k^^2 + M2, k^^2 = sum_mu 4 "
        f"sin^2(k_mu/2): v -= eps/2 F, x += eps K^-1 v, v -= eps/2 F; {DECIDED}. Arguments: m2, lam, eps, n, M2, stiffness, x, "
        "v, u"
    )
    arguments: list[Any] = [theory.m2, theory.lam, eps, n_steps, mass2, stiffness, "x", "v", "u"]
    returns = ["x_end", "v_end", "delta_h", "accepted"]
    pieces = [piece("kernels.fourier", formula, arguments, returns, tolerance=TOLERANCE)]
    return _entry("fourier-4x3", "phi4", "Fourier-accelerated trajectories of phi^4", arrays, pieces)


def _cosine(n: int, extent: int) -> Decimal:
    return Decimal(cosine(np.array([2 * PI * n / extent], dtype=object))[0])
