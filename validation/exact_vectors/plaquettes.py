"""Exact values of U(1) on a torus and of the O(2) chain, by quadrature in decimal arithmetic.

``V`` von Mises angles with a sum of 0 modulo 2 pi. A function of one of them counts through its Fourier coefficients under the
weight ``w(P) = exp(-beta (1 - cos P))``, here trapezoidal sums over the circle, which converge exponentially, and no Bessel
functions: ``<f(P) g(P')> = sum_n f_n g_n a_n^(V - 2)/sum_n a_n^V``. The charge sums angles in [-pi, pi): its law is that of a
sum of real numbers, a convolution on the line for 3 and 4 of them, and for more the transform of ``c(k)^V``, ``c(k) = int cos(k P)
w dP/2 pi`` by Gauss and Legendre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

from .decimals import ONE, ZERO, circle, cosine, gauss, pi, total

DIGITS = 50
LEAST = Decimal("1e-30")  # probabilities below are not listed


@dataclass(frozen=True)
class Angles:
    """``V`` plaquettes or bonds: ``a[n]`` are the coefficients of w, n = 0, 1, ...; ``digits`` are those of the arithmetic."""

    volume: int
    digits: int
    a: tuple[Decimal, ...]

    @classmethod
    def of(cls, beta: float, volume: int) -> Angles:
        """The smallest a_n^V that counts is that of n = 1, about (beta/2)^V where beta is small."""
        digits = DIGITS + (math.ceil(-volume * math.log10(beta / 2)) if beta < 2 else 0)
        with localcontext() as context:
            context.prec = digits
            return cls(volume, digits, tuple(_coefficients(Decimal(beta), _modes(beta, digits))))

    def coefficient(self, n: int) -> Decimal:
        return self.a[abs(n)] if abs(n) < len(self.a) else ZERO

    def cos(self, n: int) -> Decimal:
        """Of ``w cos``."""
        return (self.coefficient(n - 1) + self.coefficient(n + 1)) / 2

    def cos_squared(self, n: int) -> Decimal:
        return (self.cos(n - 1) + self.cos(n + 1)) / 2

    def sin(self, n: int) -> Decimal:
        """Of ``w sin``, without the factor -i."""
        return (self.coefficient(n - 1) - self.coefficient(n + 1)) / 2

    @property
    def modes(self) -> range:
        return range(-len(self.a) - 2, len(self.a) + 3)

    def power(self, n: int, exponent: int) -> Decimal:
        return self.coefficient(n) ** exponent if exponent else ONE

    @property
    def partition(self) -> Decimal:
        return total(self.power(n, self.volume) for n in self.modes)

    def loop(self, area: int) -> Decimal:
        """``<cos>`` of the sum of `area` of them."""
        v = self.volume
        return total(self.power(n, v - area) * self.power(n + 1, area) for n in self.modes) / self.partition

    def answers(self) -> dict[str, float]:
        """What both theories have, by the names of U(1)."""
        v = self.volume
        with localcontext() as context:
            context.prec = self.digits
            z = self.partition
            mean = total(self.cos(n) * self.power(n, v - 1) for n in self.modes) / z
            squared = total(self.cos_squared(n) * self.power(n, v - 1) for n in self.modes) / z
            pair = total(self.cos(n) ** 2 * self.power(n, v - 2) for n in self.modes) / z
            sines = -total(self.sin(n) ** 2 * self.power(n, v - 2) for n in self.modes) / z
            single, covariance = squared - mean**2, pair - mean**2
            sine_charge = (1 - squared + (v - 1) * sines) / (4 * pi() ** 2)
            return {
                "log_partition": float(z.ln()),
                "plaquette": float(mean),
                "single_plaquette_variance": float(single),
                "plaquette_covariance": float(covariance),
                "plaquette_variance": float((single + (v - 1) * covariance) / v),
                "sine_correlation": float(sines),
                "sine_charge_susceptibility": float(sine_charge),
            }

    def loops(self, *areas: int) -> list[float]:
        with localcontext() as context:
            context.prec = self.digits
            return [float(self.loop(area)) for area in areas]

    def susceptibility(self) -> float:
        """Of the O(2) chain: the sum of the correlation over all distances."""
        with localcontext() as context:
            context.prec = self.digits
            return float(total(self.loop(r) for r in range(self.volume)))


def _modes(beta: float, digits: int) -> int:
    """Beyond, ``a_n <= exp(sqrt(n^2 + beta^2) - beta - n asinh(n/beta))`` is nothing."""
    n = 4
    while n * math.asinh(n / beta) - math.hypot(n, beta) + beta < digits * math.log(10):
        n += 1 + n // 8
    return n


def _coefficients(beta: Decimal, n_modes: int) -> list[Decimal]:
    """``a_n`` for n = 0, ..., n_modes, by twice as many points of the circle."""
    points = 2 * n_modes
    cosines = circle(points)
    weights = [(beta * (c - 1)).exp() for c in cosines[: n_modes + 1]]
    weights = [w if j in (0, n_modes) else 2 * w for j, w in enumerate(weights)]
    return [total(w * cosines[n * j % points] for j, w in enumerate(weights)) / points for n in range(n_modes + 1)]


# --- charges ----------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=32)
def charges(beta: float, volume: int) -> list[Decimal]:
    """``p(Q)`` for Q = 0, 1, ..., each to some twenty digits where it is at least `LEAST`."""
    with localcontext() as context:
        context.prec = 36 if volume <= 4 else 60
        weights = _few(Decimal(beta), volume) if volume <= 4 else _many(Decimal(beta), volume)
        norm = weights[0] + 2 * total(weights[1:])
        return [w / norm for w in weights]


def distribution(beta: float, volume: int) -> tuple[list[int], list[float]]:
    """Charges and probabilities of at least `LEAST`, and those of -1, 0, 1."""
    p = charges(beta, volume)
    highest = max([1, *(q for q, value in enumerate(p) if value >= LEAST)])
    listed = list(range(-highest, highest + 1))
    return listed, [float(p[abs(q)]) for q in listed]


def _few(beta: Decimal, volume: int) -> list[Decimal]:
    """Q = 0 and 1 of three or four angles, up to a factor: densities at 0 and 2 pi of a sum."""
    nodes = 36 + 2 * (3 * int(beta) // 2)

    def pair(s: Decimal) -> Decimal:
        """The density at s of the sum of two, ``int exp(2 beta (cos(s/2) cos y - 1)) dy`` over |y| < pi - s/2."""
        c = cosine(s / 2)
        return total(w * (2 * beta * (c * cosine(y) - 1)).exp() for y, w in gauss(ZERO, pi() - s / 2, nodes))

    def single(p: Decimal) -> Decimal:
        return (beta * (cosine(p) - 1)).exp() / 2

    if volume == 3:
        return [
            2 * total(w * pair(s) * single(s) for s, w in gauss(ZERO, pi(), nodes)),
            total(w * pair(s) * single(2 * pi() - s) for s, w in gauss(pi(), 2 * pi(), nodes)),
        ]
    rule = gauss(ZERO, 2 * pi(), nodes)
    values = [pair(s) for s, _ in rule]  # nodes come in mirrored pairs
    opposite = total(w * values[k] * values[k ^ 1] for k, (_, w) in enumerate(rule))
    return [2 * total(w * p * p for p, (_, w) in zip(values, rule, strict=True)), opposite]


def _many(beta: Decimal, volume: int) -> list[Decimal]:
    """Up to a factor: ``sum_j Z(2 pi j/M) cos(2 pi Q j/M)`` with M = V + 1, ``Z(theta) = sum_n c(n + theta/2 pi)^V``."""
    points, reach = volume + 1, 40
    integrals = _integrals(beta, points, reach)
    z = [total(integrals[abs(n * points + j)] ** volume for n in range(-reach + 1, reach)) for j in range(points)]
    cosines = circle(points)
    return [total(z[j] * cosines[q * j % points] for j in range(points)) for q in range((volume - 1) // 2 + 1)]


def _integrals(beta: Decimal, points: int, reach: int) -> list[Decimal]:
    """``c(m/points)`` for m from 0 to ``points reach``: cosines of multiples of an angle by their recurrence."""
    out = [ZERO] * (points * reach + 1)
    for p, w in gauss(ZERO, pi(), 120):
        weight = w * (beta * (cosine(p) - 1)).exp() / pi()
        step = 2 * cosine(p / points)
        before, now = step / 2, ONE
        for m in range(len(out)):
            out[m] += weight * now
            before, now = now, step * now - before
    return out
