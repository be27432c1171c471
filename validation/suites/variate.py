"""Golden vectors of control variates of phi^4: f of given fields with given parameters, from Stein's identity itself.

``f = div g - g . F``, ``F = dS/dphi``. Linear fields in closed form; of the others g is computed as it is defined, and its
divergence by central differences with a step of 1e-12 in 50-digit decimal arithmetic, where their error is below 1e-22: no
derivative is written down.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import PI, Decimals, Phi4, cosine, decimals, digits, inverse, sine
from ..pieces import Piece, piece
from ..vector_format import description

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Fields = Callable[[Decimals], Decimals]

SEED = 20261130
TOLERANCE = 2e-14  # some hundred roundings of terms of size 1
THEORY = Phi4(-0.5, 2.5)
STEP = Decimal("1e-12")
ARGUMENTS = "Arguments: m2, lam, phi"


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        yield _linear(rng)
        yield _free(rng)
        yield _factorised(rng)
        yield _two_stage(rng)


def entry(
    suite: str,
    name: str,
    theory: str,
    parameters: dict[str, Any],
    comment: str,
    arrays: dict[str, Any],
    pieces: list[Piece],
) -> Entry:
    """A vector of control variates."""
    about = description(
        f"{suite}/{name}",
        theory,
        np.shape(arrays["x"])[1:],
        ["BASIC", "CONVENTION"],
        comment,
        parameters=parameters,
        calls=[],
        derivation="from the formula of each piece in arithmetic of 50 digits, divergences by central differences, rounded once",
        tolerance=max(each["tolerance"] for each in pieces),
        reason="some hundred roundings of float64 of the largest term",
        conventions="fields (chain, t, x), links (chain, mu, t, x); f has mean zero, and O - f the mean of O",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _phi4(name: str, comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    return entry("variates", name, "phi4", {"m2": THEORY.m2, "lam": THEORY.lam}, comment, arrays, pieces)


def _given(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(np.round(rng.standard_normal(shape), 6))


def _products(phi: Decimals) -> Decimals:
    """``C(r) = sum_y F(y + r) phi(y)``."""
    force = THEORY.force(phi)
    out = np.empty(phi.shape, dtype=object)
    for r in np.ndindex(phi.shape):
        out[r] = (np.roll(force, (-r[0], -r[1]), (0, 1)) * phi).sum()
    return out


def _turn(n: int, extent: int) -> tuple[Decimal, Decimal]:
    angle = np.array([2 * PI * n / extent], dtype=object)
    return cosine(angle)[0], sine(angle)[0]


def _linear(rng: np.random.Generator) -> Entry:
    n_t, n_x = shape = (4, 3)
    x = _given(rng, 2, *shape)
    sizes = {"all": n_t * n_x, "reflection": 3 * 2, "momentum_zero": 3}
    arrays: dict[str, Any] = {"x": x}
    pieces = []
    for space, size in sizes.items():
        c = arrays[f"{space}/coefficients"] = _given(rng, size)
        arrays[f"{space}/f"] = [float(_linear_f(_products(decimals(phi)), space, c)) for phi in x]
        pieces.append(
            piece(
                "variates.linear",
                "f = sum_k c(k) Z(k), Z(k) = F(k) phi(k)^*/V - 1, phi(k) = sum_x exp(-i k x) phi(x); all: Re Z + Im Z of all k, "
                "in the order of (k_0, k_1); reflection: Re Z averaged over the signs of k_0 and k_1, k_mu = 2 pi n/L, n = 0, "
                f"..., L/2; momentum_zero: those with k_1 = 0. {ARGUMENTS}, space, c",
                [THEORY.m2, THEORY.lam, "x", {"value": space}, f"{space}/coefficients"],
                f"{space}/f",
                tolerance=TOLERANCE * 10,
            )
        )
    return _phi4("linear-4x3", "variates whose field is linear in phi", arrays, pieces)


def _linear_f(products: Decimals, space: str, c: Array) -> Decimal:
    n_t, n_x = products.shape
    modes = [range(n_t), range(n_x)]
    if space != "all":
        modes = [range(n_t // 2 + 1), range(n_x // 2 + 1 if space == "reflection" else 1)]
    total = Decimal(0)
    for coefficient, (k, q) in zip(c.tolist(), itertools.product(*modes), strict=True):
        z = Decimal(0)
        for r, s in np.ndindex(n_t, n_x):
            (c_t, s_t), (c_x, s_x) = _turn(k * r, n_t), _turn(q * s, n_x)
            weight = c_t * c_x - s_t * s_x - s_t * c_x - c_t * s_x if space == "all" else c_t * c_x
            z += weight * products[r, s]
        total += Decimal(coefficient) * (z / (n_t * n_x) - 1)
    return total


def _free(rng: np.random.Generator) -> Entry:
    shape = (4, 3)
    x, mass2, scale = _given(rng, 2, *shape), 0.75, 1.25
    arrays: dict[str, Any] = {"x": x}
    pieces = []
    for name, t in (("correlator_1", 1), ("correlator_2", 2), ("phi^2", None)):
        key = name.replace("^", "_")
        arrays[f"{key}/f"] = [float(_free_f(_products(decimals(phi)), t, mass2, scale)) for phi in x]
        pieces.append(
            piece(
                "variates.free_field",
                "f = scale sum_k w(k) Re Z(k), Z as in linear; correlator_t: k_1 = 0, w = cos(k_0 t)/(V (k_0^^2 + M2)); phi^2: "
                f"all k, w = 1/(V (k^^2 + M2)); k^^2 = sum_mu 4 sin^2(k_mu/2). {ARGUMENTS}, observable, M2, scale",
                [THEORY.m2, THEORY.lam, "x", {"value": name}, mass2, scale],
                f"{key}/f",
                tolerance=TOLERANCE * 10,
            )
        )
    return _phi4("free-4x3", "the variate that is exact for a free field", arrays, pieces)


def _free_f(products: Decimals, t: int | None, mass2: float, scale: float) -> Decimal:
    n_t, n_x = products.shape
    total = Decimal(0)
    for k, q in np.ndindex(n_t, n_x if t is None else 1):
        hat = 4 - 2 * _turn(k, n_t)[0] - 2 * _turn(q, n_x)[0]
        weight = (_turn(k * t, n_t)[0] if t is not None else 1) / (n_t * n_x * (hat + Decimal(mass2)))
        z = sum(
            (
                (_turn(k * r, n_t)[0] * _turn(q * s, n_x)[0] - _turn(k * r, n_t)[1] * _turn(q * s, n_x)[1])
                * products[r, s]
                for r, s in np.ndindex(n_t, n_x)
            ),
            Decimal(0),
        )
        total += weight * (z / (n_t * n_x) - 1)
    return Decimal(scale) * total


def stein(field: Fields, force: Fields, x: Decimals) -> Decimal:
    """``div g - g . F``."""
    total = -(field(x) * force(x)).sum()
    for at in np.ndindex(x.shape):
        there = [x.copy(), x.copy()]
        there[0][at] += STEP
        there[1][at] -= STEP
        total += (field(there[0])[at] - field(there[1])[at]) / (2 * STEP)
    return Decimal(total)


def _factorised(rng: np.random.Generator) -> Entry:
    shape, t, degree = (8, 2), 4, 2
    x = _given(rng, 2, *shape)
    powers = [(0, 0), (2, 0), (1, 1), (0, 2)]
    kernel = np.round(0.25 * rng.standard_normal((2, len(powers))), 6)
    fields = [decimals(phi) for phi in x]
    values = [float(stein(lambda phi: _slice_field(phi, t, powers, kernel), THEORY.force, phi)) for phi in fields]
    arrays: dict[str, Any] = {"x": x, "kernel": kernel, "f": values}
    formula = (
        "f = div g - g . F of g = (1/T) sum_a (g^a P_b + g^b R_a), b = a + t: P_a slice means, R_a = P_a - div g^a + g^a . F, "
        "g^a(x) = sum_k c_k(d) phi(x)^i s(x)^j, d = |x_0 - a| = 0, 1 on the ring, s the mean of the four neighbours, k: (i, j) = "
        f"(0, 0), (2, 0), (1, 1), (0, 2). {ARGUMENTS}, t, degree, c (d, k)"
    )
    pieces = [
        piece(
            "variates.factorised",
            formula,
            [THEORY.m2, THEORY.lam, "x", t, degree, "kernel"],
            "f",
            tolerance=TOLERANCE * 20,
        )
    ]
    return _phi4("factorised-8x2", "the factorised variate of a correlator", arrays, pieces)


def _slice_field(phi: Decimals, t: int, powers: list[tuple[int, int]], kernel: Array) -> Decimals:
    n_t, n_x = phi.shape
    c = decimals(kernel)
    near = sum(np.roll(phi, step, axis) for axis in (0, 1) for step in (1, -1)) / Decimal(4)
    force, means = THEORY.force(phi), phi.sum(axis=1) / n_x
    monomials = np.stack([phi**i * near**j for i, j in powers])
    slopes = np.stack([(i * phi ** (i - 1) if i else 0 * phi) * near**j for i, j in powers])
    total = np.full(phi.shape, Decimal(0), dtype=object)
    rests, g = [], []
    for a in range(n_t):
        weights = np.array(
            [
                [c[d, k] if (d := min((y - a) % n_t, (a - y) % n_t)) < len(c) else Decimal(0) for y in range(n_t)]
                for k in range(len(powers))
            ],
            dtype=object,
        )[:, :, None]
        g.append((weights * monomials).sum(axis=0))
        rests.append(means[a] - (weights * (slopes - monomials * force)).sum())
    for a in range(n_t):
        b = (a + t) % n_t
        total = total + g[a] * means[b] + g[b] * rests[a]
    return np.asarray(total / n_t)


EVEN = [
    *((0, 0, 0), (2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 0, 2)),
    *((4, 0, 0), (3, 0, 1), (2, 0, 2), (1, 0, 3), (0, 0, 4), (3, 1, 0), (2, 2, 0), (2, 1, 1), (1, 1, 2)),
    *((6, 0, 0), (5, 0, 1), (4, 0, 2), (3, 0, 3)),
]
ODD = [
    *((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *((3, 0, 0), (2, 0, 1), (1, 0, 2), (0, 0, 3), (2, 1, 0), (1, 2, 0), (0, 3, 0), (1, 1, 1)),
    *((5, 0, 0), (4, 0, 1), (3, 0, 2), (7, 0, 0), (6, 0, 1)),
]


class TwoStage:
    """The vector field of the two-stage variate on a lattice, with its parameters."""

    def __init__(self, shape: tuple[int, int], mass2: float, kernel: Array, coefficients: Array, t: int | None) -> None:
        self.shape, self.t = shape, t
        n_t, n_x = shape
        v = n_t * n_x
        laplacian = np.zeros((v, v))
        for y, s in np.ndindex(shape):
            here = y * n_x + s
            laplacian[here, here] += 4 + mass2
            for far in (
                (y + 1) % n_t * n_x + s,
                (y - 1) % n_t * n_x + s,
                y * n_x + (s + 1) % n_x,
                y * n_x + (s - 1) % n_x,
            ):
                laplacian[here, far] -= 1
        self.g = inverse(laplacian)[0]
        self.mass2 = Decimal(mass2)
        same = self.g[0].reshape(shape)
        self.contractions = (self.g[0, 0], same[0].sum() / n_x, self.mass2 * (self.g[0] * self.g[0]).sum())
        waves = np.array([[_turn(p * y, n_t)[0] for y in range(n_t)] for p in range(n_t)], dtype=object)
        c = decimals(kernel)
        self.waves = waves
        self.kernel = np.array(
            [
                [sum((waves[p, d] * c[min(p, n_t - p), k] for p in range(n_t)), Decimal(0)) / n_t for d in range(n_t)]
                for k in range(len(EVEN))
            ],
            dtype=object,
        )
        self.coefficients = decimals(coefficients)

    def spread(self, field: Decimals) -> Decimals:
        """``G`` times a field."""
        return np.asarray((self.g @ field.ravel()).reshape(self.shape))

    def __call__(self, phi: Decimals) -> Decimals:
        n_t, n_x = self.shape
        means = phi.sum(axis=1) / n_x
        linear = (phi, np.repeat(means[:, None], n_x, 1), self.mass2 * self.spread(phi))

        def monomial(powers: tuple[int, ...]) -> Decimals:
            return np.asarray(linear[0] ** powers[0] * linear[1] ** powers[1] * linear[2] ** powers[2])

        total = np.full(self.shape, Decimal(0), dtype=object)
        even = [monomial(powers) for powers in EVEN]
        if self.t is not None:
            psi = self.spread(THEORY.force(phi))
            brackets = []
            for powers, h in zip(EVEN, even, strict=True):
                bracket = -h * psi
                for i, power in enumerate(powers):
                    if power:
                        lower = tuple(p - (j == i) for j, p in enumerate(powers))
                        bracket = bracket + self.contractions[i] * power * monomial(lower)
                brackets.append(bracket.sum(axis=1) / n_x)
            fields, rests = [], []
            for a in range(n_t):
                weights = np.array(
                    [[self.kernel[k, (y - a) % n_t] for y in range(n_t)] for k in range(len(EVEN))], dtype=object
                )
                source = sum(w[:, None] * h for w, h in zip(weights, even, strict=True)) / Decimal(n_x)
                fields.append(self.spread(source))
                rests.append(means[a] - sum((w * b).sum() for w, b in zip(weights, brackets, strict=True)))
            for a, sign in itertools.product(range(n_t), (1, -1)):
                b = (a + sign * self.t) % n_t
                total = total + (fields[a] * means[b] + fields[b] * rests[a]) / (2 * n_t)
        parts = [self.spread(monomial(powers)) / Decimal(n_t * n_x) for powers in ODD]
        for h in even[:2]:
            for p in range(n_t // 2 + 1):
                parts.append(self._product(h, means, p))
        return np.asarray(total + sum(c * part for c, part in zip(self.coefficients, parts, strict=True)))

    def _product(self, h: Decimals, means: Decimals, p: int) -> Decimals:
        """``Re [G (exp(i p x_0) h/X) sum_a exp(-i p a) P_a]``."""
        n_t, n_x = self.shape
        sines = np.array([_turn(p * y, n_t)[1] for y in range(n_t)], dtype=object)
        real, imaginary = (self.spread(wave[:, None] * h / Decimal(n_x)) for wave in (self.waves[p], sines))
        return np.asarray(real * (self.waves[p] * means).sum() + imaginary * (sines * means).sum())


def _two_stage(rng: np.random.Generator) -> Entry:
    shape, mass2 = (4, 2), 1.5
    x = np.round(0.75 * rng.standard_normal((2, *shape)), 6)
    kernel = np.round(0.125 * rng.standard_normal((3, len(EVEN))), 6)
    coefficients = np.round(0.25 * rng.standard_normal(len(ODD) + 2 * 3), 6)
    arrays: dict[str, Any] = {"x": x, "kernel": kernel, "coefficients": coefficients}
    formula = (
        "f = div g - g . F of g = mean over b = a + t and b = a - t, and over a, of (g^a P_b + g^b R_a) for correlator_t, none "
        "for phi^2, plus sum_j c_j g_j. P_a slice means, R_a = P_a - div g^a + g^a . F; G = (-Lap + M2)^-1, g^a = G sum_k "
        "c_k(x_0 - a) h_k/X, c_k(d) = (1/T) sum_p cos(p d) c_k(p), p = 2 pi n/T; monomials h in phi, its slice mean and M2 G "
        f"phi, of the powers {EVEN}; g_j: G h/V of the powers {ODD}, then Re [G exp(i p x_0) h/X sum_a exp(-i p a) P_a] of h = "
        f"1 and phi^2, p = 0, ..., pi. {ARGUMENTS}, observable, M2, c_k(p) (p, k), c_j"
    )
    pieces = []
    for name, t in (("correlator_1", 1), ("phi^2", None)):
        key = f"{name.replace('^', '_')}/f"
        field = TwoStage(shape, mass2, kernel, coefficients, t)
        arrays[key] = [float(stein(field, THEORY.force, decimals(phi))) for phi in x]
        arguments: list[Any] = [THEORY.m2, THEORY.lam, "x", {"value": name}, mass2, "kernel", "coefficients"]
        pieces.append(piece("variates.two_stage", formula, arguments, key, tolerance=TOLERANCE * 10))
    return _phi4("two-stage-4x2", "the two-stage variate, with the overlaps of its slices", arrays, pieces)
