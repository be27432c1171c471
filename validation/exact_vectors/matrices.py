"""Exact values of SU(2) and SU(3) on a torus, by quadrature over the eigenphases in fixed-point arithmetic.

``Z = sum_r a_r^V`` (Migdal 1975), ``d_r a_r = int dU exp((beta/n) Re tr U) chi_r(U)``. By Weyl's formulas for the measure and the
characters that is ``sum_sigma sgn(sigma) w^(sigma(l + rho) - rho)``, where ``w^(p)`` are the Fourier coefficients of the weight
on the torus of eigenphases: trapezoidal sums here, and no Bessel functions. Insertions of ``Re tr U/n`` average over neighbours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .decimals import circle, total

DIGITS, BITS = 60, 200
Rows = tuple[int, ...]  # a Young diagram, the last row 0
Coefficients = dict[Rows, Decimal]  # of the reduced monomials z^p, p_n = 0


@dataclass(frozen=True)
class Torus:
    """``a`` and its first two derivatives by beta, of every representation that counts, times ``exp(-beta)``."""

    n: int
    beta: float
    a: dict[Rows, tuple[Decimal, Decimal, Decimal]]

    @classmethod
    def of(cls, beta: float, n: int) -> Torus:
        with localcontext() as context:
            context.prec = DIGITS
            reach = _reach(beta / 2)  # three phases share a frequency in three ways
            weight = _weight(Decimal(beta), n, reach)
            once = _inserted(weight, n)
            layers = (weight, once, _inserted(once, n))
            longest = reach - 4  # of the first row, such that all coefficients are there
            middles: Callable[[int], range] = (lambda k: range(1)) if n == 2 else (lambda k: range(k + 1))
            rows = [(k, *((m,) if n == 3 else ()), 0) for k in range(longest // (n - 1)) for m in middles(k)]
            found = {r: [_projected(layer, r) / dimension(r) for layer in layers] for r in rows}
        return cls(n, beta, {r: (v[0], v[1], v[2]) for r, v in found.items()})

    def answers(self, volume: int) -> dict[str, float]:
        with localcontext() as context:
            context.prec = DIGITS
            values = list(self.a.values())
            z = total(a**volume for a, _, _ in values)
            mean = total(b * a ** (volume - 1) for a, b, _ in values) / z
            squared = total(c * a ** (volume - 1) for a, _, c in values) / z
            pair = total(b * b * a ** (volume - 2) for a, b, _ in values) / z
            single, covariance = squared - mean**2, pair - mean**2
            return {
                "log_partition": float(volume * Decimal(self.beta) + z.ln()),
                "plaquette": float(mean),
                "single_plaquette_variance": float(single),
                "plaquette_covariance": float(covariance),
                "plaquette_variance": float((single + (volume - 1) * covariance) / volume),
            }

    def loop(self, volume: int, area: int) -> float:
        """The torus without a disc, and the disc, share a loop: ``sum_r a_r^(V - A)/d_r sum_(s in r x fundamental) d_s a_s^A``."""
        with localcontext() as context:
            context.prec = DIGITS
            z = total(a**volume for a, _, _ in self.a.values())
            terms = []
            for r, (a, _, _) in self.a.items():
                larger = [tuple(row + (i == j) for i, row in enumerate(r)) for j in range(self.n)]
                more = [tuple(row - s[-1] for row in s) for s in larger if list(s) == sorted(s, reverse=True)]
                disc = total(dimension(s) * self.a[s][0] ** area for s in more if s in self.a)
                terms.append((a ** (volume - area) if volume > area else Decimal(1)) * disc / dimension(r))
            return float(total(terms) / (self.n * z))


def dimension(r: Rows) -> int:
    """The number of ways to fill the diagram, by hooks."""
    n, columns = len(r), [sum(row > j for row in r) for j in range(r[0])]
    cells = [(i, j) for i, row in enumerate(r) for j in range(row)]
    size = Fraction(1)
    for i, j in cells:
        size *= Fraction(n + j - i, r[i] - j + columns[j] - i - 1)
    return int(size)


def _reach(size: float) -> int:
    """Where ``size^k/k!``, that of the Fourier coefficients, falls below 1e-36; even, so that circles have quarters."""
    k = 10
    while k * math.log(size) - math.lgamma(k + 1) > -36 * math.log(10):
        k += 2
    return k


def _weight(beta: Decimal, n: int, reach: int) -> Coefficients:
    """Fourier coefficients of ``exp((beta/n) Re tr U - beta)``."""
    points = 2 * reach
    cosines = circle(points)
    j = np.arange(points)
    scale = Decimal(2) ** BITS
    table: NDArray[np.object_] = np.array([int(c * scale) for c in cosines], dtype=object)
    k = np.arange(-reach + 1, reach)
    c, s = (table[(np.outer(k, j) - shift * points // 4) % points] for shift in (0, 1))
    if n == 2:
        w = np.array([int((beta * (value - 1)).exp() * scale) for value in cosines], dtype=object)
        return {(int(p), 0): Decimal(int(v)) / (points * scale * scale) for p, v in zip(k, c @ w, strict=True)}
    grid = [[cosines[a] + cosines[b] + cosines[(a + b) % points] for b in j] for a in j[: reach + 1]]
    half = [[int((beta * (value / 3 - 1)).exp() * scale) for value in row] for row in grid]
    w = np.array(half + [[half[-a % points][-b % points] for b in j] for a in j[reach + 1 :]], dtype=object)
    values = (c @ w >> BITS) @ c.T - (s @ w >> BITS) @ s.T
    norm = points * points * scale * scale
    return {(int(p), int(q), 0): Decimal(int(values[a, b])) / norm for a, p in enumerate(k) for b, q in enumerate(k)}


def _inserted(weight: Coefficients, n: int) -> Coefficients:
    """Of the weight times ``Re tr U/n``: the mean over z_i and 1/z_i, where all are there."""
    out = {}
    for p in weight:
        near = [_reduced([x + sign * (i == j) for j, x in enumerate(p)]) for i in range(n) for sign in (1, -1)]
        if all(q in weight for q in near):
            out[p] = total(weight[q] for q in near) / (2 * n)
    return out


def _projected(weight: Coefficients, r: Rows) -> Decimal:
    n = len(r)
    rho = list(range(n - 1, -1, -1))
    terms = []
    for order in itertools.permutations(range(n)):
        sign = (-1) ** sum(order[i] > order[j] for j in range(n) for i in range(j))
        terms.append(sign * weight[_reduced([r[o] + rho[o] - rho[i] for i, o in enumerate(order)])])
    return total(terms)


def _reduced(p: list[int]) -> Rows:
    """As all z multiply to 1."""
    return tuple(x - p[-1] for x in p)
