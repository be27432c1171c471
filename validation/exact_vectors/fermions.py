"""Exact values of Wilson fermions: free determinants by dense elimination, and two flavours on 2 x 2 sites by exact polynomials.

On 2 x 2 sites ``det D`` is a polynomial in kappa and of degree 1 in every phase ``exp(+-i theta)`` of the links. With phases 1, i,
-1, -i for the five links outside a tree, traces of powers of the hopping matrix are Gaussian integers that float64 holds exactly,
and so are the coefficients. Averages of ``exp(i d.P)`` over plaquettes come from the Fourier coefficients of their weight, those
with charge 1 from integrals over pairs of plaquettes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import Fixed, log_absolute, phases, solved
from ..suites.fermion import dirac
from .decimals import ONE, ZERO, cosine, gauss, pi, total
from .plaquettes import Angles

Frequencies = tuple[int, int, int]  # of three plaquettes; the fourth has none
Polynomial = dict[tuple[int, Frequencies], int]  # by the power of kappa too

# Links (mu, t, x) outside the tree, and what they count in the plaquettes at (0, 0), (0, 1), (1, 0), (1, 1).
TREE = ((0, 0, 0), (1, 0, 0), (1, 1, 0))
SITES = ((0, 0), (0, 1), (1, 0), (1, 1))
LINKS = tuple((mu, t, x) for mu, t, x in np.ndindex(2, 2, 2) if (mu, t, x) not in TREE)


def free_log_determinant(
    kappa: float, shape: tuple[int, int], angles: tuple[float, float], antiperiodic: bool
) -> float:
    """Of constant links, in position space."""
    links = np.empty((2, *shape))
    links[0], links[1] = angles
    det, _ = solved(
        dirac(phases(links)[..., None, None], kappa, antiperiodic=antiperiodic), Fixed.zeros(2 * links[0].size, 0)
    )
    return log_absolute(det)


@lru_cache(maxsize=4)
def two_by_two(beta: float, kappa: float) -> dict[str, float]:
    """Under the weight ``exp(beta sum cos P) det D^2``."""
    angles = Angles.of(beta, 4)
    with localcontext() as context:
        context.prec = 40
        loops, change = loops_of(Decimal(kappa)), loops_of(Decimal(kappa), slope=True)
        averages = {d: average(angles, d) for d in loops}
        z = total(c * averages[d][0] for d, c in loops.items())
        plaquette = total(c * averages[d][1] for d, c in loops.items()) / z
        slope = total(c * averages[d][0] for d, c in change.items()) / z
        charged = _charged(Decimal(beta), loops) / z
        return {
            "log_z": float((z / averages[0, 0, 0][0]).ln()),
            "plaquette": float(plaquette),
            "condensate": float((8 - slope / 2) / 8),  # kappa d log det D/d kappa = 8 - tr D^-1
            "charge_squared": float(2 * charged),
        }


def loops_of(kappa: Decimal, *, slope: bool = False) -> dict[Frequencies, Decimal]:
    """Coefficients of ``det D^2``, or of ``kappa d/d kappa`` of it, by the frequencies of plaquettes."""
    out: dict[Frequencies, Decimal] = defaultdict(Decimal)
    for (power, d), c in _square().items():
        out[d] += c * (power if slope else 1) * kappa**power
    return out


@lru_cache(maxsize=1)
def _square() -> Polynomial:
    """``det D^2`` averaged over holonomies: those terms that depend on plaquettes alone."""
    single = _determinant()
    by_frequencies = {
        tuple(sum(d[p] * incidence()[p][j] for p in range(3)) for j in range(len(LINKS))): d
        for d in itertools.product(range(-4, 5), repeat=3)
    }
    out: Polynomial = defaultdict(int)
    for (a, f), c in single.items():
        for (b, g), e in single.items():
            d = by_frequencies.get(tuple(x + y for x, y in zip(f, g, strict=True)))
            if d is not None:
                out[a + b, (d[0], d[1], d[2])] += c * e
    return {key: c for key, c in out.items() if c}


@lru_cache(maxsize=1)
def incidence() -> list[list[int]]:
    """How often each link of `LINKS` stands in each plaquette, with its sign."""
    rows = []
    for t, x in SITES:
        loop = [((0, t, x), 1), ((1, 1 - t, x), 1), ((0, t, 1 - x), -1), ((1, t, x), -1)]
        rows.append([sum(sign for link, sign in loop if link == chosen) for chosen in LINKS])
    return rows


def _determinant() -> dict[tuple[int, tuple[int, ...]], int]:
    """Coefficients of ``det D`` by the power of kappa and the frequencies of the links."""
    e = elementary(hopping())
    out = {}
    for k in range(9):
        waves = np.fft.fftn(np.rint(((-1) ** k * e[k]).real).reshape((4,) * len(LINKS))) / 4 ** len(LINKS)
        for index in np.argwhere(np.abs(waves) > 0.25):
            frequencies = tuple(int(i) if i < 2 else int(i) - 4 for i in index)
            out[k, frequencies] = int(np.rint(waves[tuple(index)].real))
    return out


def elementary(h: NDArray[np.complex128]) -> list[NDArray[np.complex128]]:
    """``det(1 - kappa H) = sum_k (-kappa)^k e_k(H)`` by Newton's identities, ``k e_k = sum_j (-1)^(j - 1) e_(k - j) tr H^j``."""
    traces, power = [], np.eye(8, dtype=np.complex128)[None]
    for _ in range(8):
        power = power @ h
        traces.append(np.trace(power, axis1=1, axis2=2))
    e = [np.ones(len(h), dtype=complex)]
    for k in range(1, 9):
        e.append(sum((-1) ** (j - 1) * e[k - j] * traces[j - 1] for j in range(1, k + 1)) / k)
    return e


def hopping() -> NDArray[np.complex128]:
    """``H = (1 - D)/kappa`` for all phases of the links, fermions antiperiodic; the entries are Gaussian integers."""
    chosen = np.stack(np.meshgrid(*[np.array([1, 1j, -1, -1j])] * len(LINKS), indexing="ij"), axis=-1)
    u = {link: np.ones(4 ** len(LINKS), dtype=complex) for link in TREE}
    u |= dict(zip(LINKS, np.moveaxis(chosen.reshape(-1, len(LINKS)), -1, 0), strict=True))
    h = np.zeros((4 ** len(LINKS), 8, 8), dtype=complex)
    sigma = (np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]))
    for (mu, t, x), phase in u.items():
        here, ahead = 2 * (2 * t + x), 2 * (2 * ((t + 1) % 2) + x if mu == 0 else 2 * t + (x + 1) % 2)
        hop = (-1 if (mu, t) == (0, 1) else 1) * phase[:, None, None]
        h[:, here : here + 2, ahead : ahead + 2] += hop * (np.eye(2) - sigma[mu])
        h[:, ahead : ahead + 2, here : here + 2] += hop.conj() * (np.eye(2) + sigma[mu])
    return h


def average(angles: Angles, d: Frequencies) -> tuple[Decimal, Decimal]:
    """Of ``exp(i d.P)``, and with the mean of ``cos P`` besides, up to the same factor."""
    shifts = (*d, 0)
    plain = ZERO
    with_cosine = ZERO
    for n in angles.modes:
        factors = [angles.coefficient(n + s) for s in shifts]
        plain += factors[0] * factors[1] * factors[2] * factors[3]
        for j, s in enumerate(shifts):
            others = ONE
            for k in range(4):
                others *= angles.cos(n + s) if k == j else factors[k]
            with_cosine += others / 4
    return plain, with_cosine


def _charged(beta: Decimal, loops: dict[Frequencies, Decimal]) -> Decimal:
    """The part of charge 1: plaquettes in [-pi, pi) with a sum of 2 pi, in pairs with sums s and 2 pi - s."""
    rule = gauss(ZERO, 2 * pi(), 36)
    pairs = [_pair(beta, s) for s, _ in rule]
    out = ZERO
    for (a, b, c), coefficient in loops.items():
        for k, (s, w) in enumerate(rule):  # nodes come in mirrored pairs
            wave = cosine(((a + b) * s + c * (2 * pi() - s)) / 2)
            out += coefficient * w * wave * pairs[k][abs(a - b)] * pairs[k ^ 1][abs(c)]
    return out / (2 * pi()) ** 3


def _pair(beta: Decimal, s: Decimal) -> list[Decimal]:
    """``int exp(2 beta (cos(s/2) cos y - 1)) cos(k y) dy`` over |y| < pi - s/2, for k = 0, 1, ..., 8."""
    out, c = [ZERO] * 9, cosine(s / 2)
    for y, w in gauss(ZERO, pi() - s / 2, 36):
        cos = cosine(y)
        weight = 2 * w * (2 * beta * (c * cos - 1)).exp()
        before, now = cos, ONE
        for k in range(9):
            out[k] += weight * now
            before, now = now, 2 * cos * now - before
    return out
