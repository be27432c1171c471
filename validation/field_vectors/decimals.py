"""Theories of real fields in decimal arithmetic of 50 digits: arrays of `Decimal`, one configuration at a time.

Floats are taken as the numbers they are, and answers rounded once. All of it runs inside `digits()`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Decimals = NDArray[np.object_]
Array = NDArray[np.float64]

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")


def digits() -> AbstractContextManager[Context]:
    """Arithmetic of 50 digits."""
    return localcontext(prec=50)


def decimals(values: ArrayLike) -> Decimals:
    """Floats as the numbers they are."""
    return np.asarray(np.frompyfunc(Decimal, 1, 1)(np.asarray(values, dtype=np.float64).astype(object)), dtype=object)


def rounded(values: Any) -> Array:
    """To float64, once."""
    return np.asarray(values, dtype=object).astype(np.float64)


def wrapped(angles: Any) -> Decimals:
    """Angles in [-pi, pi)."""
    return np.asarray(np.frompyfunc(_wrapped, 1, 1)(angles), dtype=object)


def cosine(angles: Any) -> Decimals:
    return np.asarray(np.frompyfunc(_cosine, 1, 1)(angles), dtype=object)


def sine(angles: Any) -> Decimals:
    return np.asarray(np.frompyfunc(lambda a: _cosine(a - PI / 2), 1, 1)(angles), dtype=object)


def _wrapped(a: Decimal) -> Decimal:
    return a - 2 * PI * ((a + PI) / (2 * PI)).to_integral_value("ROUND_FLOOR")


def _cosine(a: Decimal) -> Decimal:
    """Taylor series of an angle of at most pi; terms of up to 5 lose one digit."""
    a = _wrapped(a)
    square, term, total, k = a * a, Decimal(1), Decimal(1), 0
    while abs(term) > Decimal("1e-52"):
        k += 2
        term *= -square / (k * (k - 1))
        total += term
    return total


def inverse(matrix: ArrayLike) -> tuple[Decimals, Decimal]:
    """Of a matrix of floats, and its determinant: elimination in fractions, exact, then rounded to 50 digits."""
    a = [[Fraction(float(v)) for v in row] for row in np.asarray(matrix, dtype=np.float64)]
    n, det = len(a), Fraction(1)
    work = [row + [Fraction(int(i == j)) for j in range(n)] for i, row in enumerate(a)]
    for k in range(n):  # symmetric and positive: no pivot is zero
        det *= work[k][k]
        work[k] = [v / work[k][k] for v in work[k]]
        for i in range(n):
            if i != k:
                work[i] = [v - work[i][k] * w for v, w in zip(work[i], work[k], strict=True)]
    return np.array([[_decimal(v) for v in row[n:]] for row in work], dtype=object), _decimal(det)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


class Theory(Protocol):
    """An action, and ``+ dS/dx``, of one configuration."""

    def action(self, x: Decimals) -> Decimal: ...
    def force(self, x: Decimals) -> Decimals: ...


@dataclass(frozen=True)
class U1:
    """``beta sum_P (1 - cos theta_P)`` of links ``(2, T, X)``."""

    beta: float

    def action(self, x: Decimals) -> Decimal:
        return Decimal(self.beta) * (1 - cosine(plaquettes(x))).sum()

    def force(self, x: Decimals) -> Decimals:
        s = Decimal(self.beta) * sine(plaquettes(x))
        return np.stack([s - np.roll(s, 1, 1), np.roll(s, 1, 0) - s])


def plaquettes(x: Decimals) -> Decimals:
    """``theta_0(n) + theta_1(n + 0^) - theta_0(n + 1^) - theta_1(n)``."""
    return np.asarray(x[0] + np.roll(x[1], -1, 0) - np.roll(x[0], -1, 1) - x[1])


@dataclass(frozen=True)
class O2:
    """``beta sum (1 - cos(x_{i+1} - x_i))`` of angles on a ring."""

    beta: float

    def action(self, x: Decimals) -> Decimal:
        return Decimal(self.beta) * (1 - cosine(np.roll(x, -1) - x)).sum()

    def force(self, x: Decimals) -> Decimals:
        s = Decimal(self.beta) * sine(np.roll(x, -1) - x)
        return np.asarray(np.roll(s, 1) - s)


@dataclass(frozen=True)
class Phi4:
    """``sum (d phi)^2/2 + m2 phi^2/2 + lam phi^4/24`` of a field ``(T, X)``."""

    m2: float
    lam: float

    def action(self, x: Decimals) -> Decimal:
        bonds = sum((np.roll(x, -1, axis) - x) ** 2 for axis in (0, 1)) / 2
        return (bonds + Decimal(self.m2) * x**2 / 2 + Decimal(self.lam) * x**4 / 24).sum()

    def force(self, x: Decimals) -> Decimals:
        around = sum(np.roll(x, step, axis) for axis in (0, 1) for step in (-1, 1))
        return np.asarray((4 + Decimal(self.m2)) * x - around + Decimal(self.lam) * x**3 / 6)


class Mixture:
    """``-log sum_k w_k N(x; m_k, C_k)``; of one component, the Gaussian with its normalisation."""

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        self.weights, self.means = decimals(weights), decimals(means)
        self.precisions, self.dets = zip(*map(inverse, np.asarray(covariances)), strict=True)

    def action(self, x: Decimals) -> Decimal:
        densities, _ = self._components(x)
        return -sum(densities, Decimal(0)).ln()

    def force(self, x: Decimals) -> Decimals:
        densities, slopes = self._components(x)
        pulls = [density * slope for density, slope in zip(densities, slopes, strict=True)]
        return np.asarray(sum(pulls) / sum(densities, Decimal(0)))

    def _components(self, x: Decimals) -> tuple[list[Decimal], list[Decimals]]:
        """Densities with their weights, and ``C^-1 (x - m)``."""
        densities, slopes = [], []
        for weight, m, precision, det in zip(self.weights, self.means, self.precisions, self.dets, strict=True):
            slope = (precision * (x - m)).sum(axis=1)
            size = (det * (2 * PI) ** len(x)).sqrt()
            densities.append(weight * (-(slope * (x - m)).sum() / 2).exp() / size)
            slopes.append(slope)
        return densities, slopes


Stages = tuple[Decimal, ...]  # kick, drift, ..., kick, in units of the step
LEAPFROG: Stages = (Decimal("0.5"), Decimal(1), Decimal("0.5"))


def integrated(
    theory: Theory, x: Decimals, v: Decimals, step_size: float, n_steps: int, stages: Stages = LEAPFROG
) -> tuple[Decimals, Decimals]:
    """``n_steps`` times the stages, kicks ``v -= c eps dS/dx`` and drifts ``x += c eps v`` by turns."""
    times = [Decimal(step_size) * stage for stage in stages]
    for _ in range(n_steps):
        for k, time in enumerate(times):
            if k % 2:
                x = x + time * v
            else:
                v = v - time * theory.force(x)
    return x, v


def energy(theory: Theory, x: Decimals, v: Decimals) -> Decimal:
    """``H = S + sum v^2/2``."""
    return theory.action(x) + (v * v).sum() / 2


def allowance(terms: int, size: float) -> float:
    """Rounding of a sum of so many terms of this size, each known to some units in the last place: one digit of it."""
    return float(f"{16 * 2.0**-53 * terms * max(size, 1.0):.0e}")
