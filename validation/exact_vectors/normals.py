"""Exact values of normal distributions and their mixtures, and of leapfrog on the oscillator, in rational and decimal arithmetic.

Parameters are the float64 numbers they are. Moments are sums over all ways to pair coordinates or leave them to their means;
densities have an exact inverse and determinant; ``|x|`` and the distribution function need the Taylor series of erf.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from .decimals import HALF, arctangent, error_function, pi, total

DIGITS = 60
Matrix = list[list[Fraction]]


def exact(values: Any) -> Any:
    """Nested lists of fractions."""
    return [exact(v) for v in values] if isinstance(values, list | tuple) else Fraction(values)


def decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / value.denominator


def moment(coordinates: Sequence[int], covariance: Matrix, mean: list[Fraction]) -> Fraction:
    """The first coordinate stands alone, or has one of the others as its partner."""
    if not coordinates:
        return Fraction(1)
    result = Fraction(0)
    for pairs, singles in _pairings(list(coordinates)):
        term = Fraction(1)
        for i, j in pairs:
            term *= covariance[i][j]
        for i in singles:
            term *= mean[i]
        result += term
    return result


def _pairings(rest: list[int]) -> list[tuple[list[tuple[int, int]], list[int]]]:
    if not rest:
        return [([], [])]
    first, others = rest[0], rest[1:]
    found = [(pairs, [first, *singles]) for pairs, singles in _pairings(others)]
    for k, partner in enumerate(others):
        found += [([(first, partner), *p], s) for p, s in _pairings(others[:k] + others[k + 1 :])]
    return found


def eliminated(matrix: Matrix, right: list[Fraction]) -> tuple[Fraction, list[Fraction]]:
    """Determinant and solution, by Gauss and Jordan; matrices are positive definite."""
    n, work, det = len(matrix), [[*row, b] for row, b in zip(matrix, right, strict=True)], Fraction(1)
    for k in range(n):
        det *= work[k][k]
        work[k] = [value / work[k][k] for value in work[k]]
        for i in range(n):
            if i != k:
                work[i] = [a - work[i][k] * b for a, b in zip(work[i], work[k], strict=True)]
    return det, [row[n] for row in work]


def log_density(x: list[Fraction], covariance: Matrix, mean: list[Fraction]) -> Decimal:
    away = [a - b for a, b in zip(x, mean, strict=True)]
    det, solved = eliminated(covariance, away)
    square = sum((a * b for a, b in zip(away, solved, strict=True)), Fraction(0))
    return -(decimal(square) + decimal(det).ln() + len(x) * (2 * pi()).ln()) / 2


def folded(i: int, covariance: Matrix, mean: list[Fraction]) -> tuple[Decimal, Decimal]:
    """Mean and variance of ``|x_i|``."""
    m, variance = decimal(mean[i]), decimal(covariance[i][i])
    average = m * error_function(m / (2 * variance).sqrt())
    average += (2 * variance / pi()).sqrt() * (-m * m / (2 * variance)).exp()
    return average, m * m + variance - average**2


def cumulative(t: Fraction, i: int, covariance: Matrix, mean: list[Fraction]) -> Decimal:
    away = decimal(t - mean[i]) / (2 * decimal(covariance[i][i])).sqrt()
    return HALF + error_function(away) / 2


def of_mixture(
    weights: list[float], means: list[list[float]], covariances: list[Any], points: list[list[float]], ts: list[float]
) -> dict[str, Any]:
    """All answers of a mixture; of a normal distribution where it has one component."""
    with localcontext() as context:
        context.prec = DIGITS
        w, mu, sigma = exact(weights), exact(means), exact(covariances)
        w = [value / sum(w) for value in w]
        parts = list(zip(w, sigma, mu, strict=True))
        d = range(len(mu[0]))
        joint = [[decimal(p) * log_density(exact(x), s, m).exp() for p, s, m in parts] for x in points]
        centre = [sum((p * m[i] for p, _, m in parts), Fraction(0)) for i in d]
        out: dict[str, Any] = {
            "log_density": [float(total(row).ln()) for row in joint],
            "responsibilities": [[float(value / total(row)) for value in row] for row in joint],
            "mean": [float(value) for value in centre],
        }
        two = [[sum((p * moment((i, j), s, m) for p, s, m in parts), Fraction(0)) for j in d] for i in d]
        out["covariance"] = [[float(two[i][j] - centre[i] * centre[j]) for j in d] for i in d]
        for name, coordinates in MOMENTS.items():
            if max(coordinates) in d:
                out[name] = float(sum((p * moment(coordinates, s, m) for p, s, m in parts), Fraction(0)))
        sizes = [(decimal(p), *folded(0, s, m)) for p, s, m in parts]
        average = total(p * a for p, a, _ in sizes)
        variance = total(p * (v + (a - average) ** 2) for p, a, v in sizes)
        out |= {"absolute_mean": float(average), "absolute_variance": float(variance)}
        below = [total(decimal(p) * cumulative(Fraction(t), 0, s, m) for p, s, m in parts) for t in ts]
        out["cumulative"] = [float(value) for value in below]
        return out


MOMENTS = {"moment_0": (0,), "moment_01": (0, 1), "moment_0011": (0, 0, 1, 1), "moment_000001": (0, 0, 0, 0, 0, 1)}
MOMENTS |= {"moment_0000": (0, 0, 0, 0)}


def oscillator(omega: float, step_size: float, n_steps: int) -> dict[str, float]:
    """From powers of the matrix of one leapfrog step, of momenta and ``omega x``: it maps equilibrium, a disc, to an ellipse.

    The axes of the ellipse are s and 1/s. Half of the difference of their squares is the mean energy error, and a point is
    accepted for sure where it lies inside: with the same probability, by the involution, where it lies outside.
    """
    with localcontext() as context:
        context.prec = DIGITS
        h = Decimal(omega) * Decimal(step_size)
        one = (1 - h * h / 2, h, -h * (1 - h * h / 4), 1 - h * h / 2)
        a, b, c, d = Decimal(1), Decimal(0), Decimal(0), Decimal(1)
        for _ in range(n_steps):
            a, b, c, d = (
                one[0] * a + one[1] * c,
                one[0] * b + one[1] * d,
                one[2] * a + one[3] * c,
                one[2] * b + one[3] * d,
            )
        squares = a * a + b * b + c * c + d * d  # s^2 + 1/s^2
        scale = (squares - 2).sqrt()  # s - 1/s
        s = (scale + (squares + 2).sqrt()) / 2
        return {
            "energy_error_scale": float(scale),
            "mean_energy_error": float((squares - 2) / 2),
            "acceptance": float(4 * arctangent(1 / s) / pi()),
            "unadjusted_variance": float((one[1] / Decimal(omega)) ** 2 / (1 - one[0] ** 2)),
        }
