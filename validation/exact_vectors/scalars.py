"""Exact values of scalar fields: the free one by sums over momenta, phi^4 on rings by powers of a kernel.

The fields of a ring of L sites with bonds of weight w are summed over by ``tr K^L``, ``K(a, b) = exp(-V(a)/2 - w (a - b)^2/2 -
V(b)/2)`` on a grid of midpoints, which converges faster than any power; blocks of even and of odd functions. A lattice of 2 x 2
sites is the ring of four with w = 2. In fixed-point arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decimals import circle, pi, total

DIGITS, BITS = 50, 140
POINTS = 22  # of half the line

Shape = tuple[int, int]
Integers = NDArray[np.object_]


def free(m2: float, shape: Shape) -> dict[str, Any]:
    """Sums over both momenta."""
    n_t, n_x = shape
    volume = n_t * n_x
    with localcontext() as context:
        context.prec = DIGITS
        c_t, c_x = circle(n_t), circle(n_x)
        modes = {(k, q): 2 * (1 - c_t[k]) + 2 * (1 - c_x[q]) + Decimal(m2) for k in range(n_t) for q in range(n_x)}
        two_point = [
            [total(_wave(c_t, c_x, k * t, q * x) / size for (k, q), size in modes.items()) / volume for x in range(n_x)]
            for t in range(n_t)
        ]
        root = Decimal(m2).sqrt() / 2
        return {
            "propagator": [[float(value) for value in row] for row in two_point],
            "correlator": [float(total(row) / n_x) for row in two_point],
            "second_moment": float(two_point[0][0]),
            "fourth_moment": float(3 * two_point[0][0] ** 2),
            "susceptibility": float(total(value for row in two_point for value in row)),
            "absolute_magnetisation": float((2 / (pi() * volume * Decimal(m2))).sqrt()),
            "log_partition": float((volume * (2 * pi()).ln() - total(size.ln() for size in modes.values())) / 2),
            "mass": float(2 * (root + (1 + root * root).sqrt()).ln()),
        }


def _wave(c_t: list[Decimal], c_x: list[Decimal], a: int, b: int) -> Decimal:
    """``cos(2 pi a/T) cos(2 pi b/X)``: the sum over both signs of a momentum leaves no sines."""
    return c_t[a % len(c_t)] * c_x[b % len(c_x)]


@dataclass(frozen=True)
class Ring:
    """``step`` of the grid, the fields on half the line, and the blocks of K, even and odd."""

    step: Decimal
    half: Integers
    blocks: tuple[Integers, Integers]

    @classmethod
    def of(cls, m2: float, lam: float, weight: int, points: int = POINTS) -> Ring:
        scale = Decimal(2) ** BITS
        end = reach(m2, lam)
        step = Decimal(end) / points
        phi = [(j + Decimal("0.5")) * step for j in range(points)]
        half_weight = [(-(Decimal(m2) * f**2 / 4 + Decimal(lam) * f**4 / 48)).exp() for f in phi]
        near, far = ([[(-weight * (a - sign * b) ** 2 / 2).exp() for b in phi] for a in phi] for sign in (1, -1))
        blocks = []
        for sign in (1, -1):
            rows = [
                [int(half_weight[i] * (near[i][j] + sign * far[i][j]) * half_weight[j] * scale) for j in range(points)]
                for i in range(points)
            ]
            blocks.append(np.array(rows, dtype=object))
        return cls(step, np.array([int(f * scale) for f in phi], dtype=object), (blocks[0], blocks[1]))

    def answers(self, length: int) -> dict[str, Any]:
        """By steps around the ring, but for the moments."""
        powers = [self.blocks]
        for _ in range(length - 1):
            powers.append(tuple(a @ b >> BITS for a, b in zip(powers[-1], self.blocks, strict=True)))
        z = sum(int(np.trace(block)) for block in powers[-1])
        by_distance = [self._pair(powers, length, d) / z for d in range(length)]
        squared = self.half * self.half >> BITS
        fourth = sum(int((squared * squared >> BITS) @ np.diagonal(block)) >> BITS for block in powers[-1]) / z
        return {
            "log_partition": float((Decimal(z) / 2**BITS).ln() + length * self.step.ln()),
            "by_distance": by_distance,
            "phi_fourth": fourth,
            "magnetisation_fourth": self._fourth(length, z),
        }

    def _pair(self, powers: list[Any], length: int, d: int) -> int:
        """``tr Phi K^d Phi K^(L - d)``; a field turns even functions into odd ones."""
        if d == 0:
            return sum(int((self.half * self.half >> BITS) @ np.diagonal(block)) >> BITS for block in powers[-1])
        out = 0
        for p in (0, 1):
            a, b = powers[d - 1][1 - p], powers[length - d - 1][p]
            out += int(((self.half[:, None] * a >> BITS) * self.half >> BITS).ravel() @ b.T.ravel()) >> BITS
        return out

    def _fourth(self, length: int, z: int) -> float:
        """``<m^4>``: the fourth order of ``tr (exp(e Phi) K)^L`` in e, by orders and parities."""
        orders = []
        field = np.array([1 << BITS] * len(self.half), dtype=object)
        for k in range(5):
            orders.append([(field[:, None] * block >> BITS) // math.factorial(k) for block in self.blocks])
            field = field * self.half >> BITS
        result = orders
        for _ in range(length - 1):
            result = [
                [
                    sum(
                        (result[j][(p + k - j) % 2] @ orders[k - j][p] >> BITS for j in range(k + 1)),
                        np.zeros((1, 1), dtype=object),
                    )
                    for p in (0, 1)
                ]
                for k in range(5)
            ]
        return sum(int(np.trace(block)) for block in result[4]) * 24 / (z * length**4)

    def gap(self) -> float:
        """The logarithm of the ratio of the largest eigenvalues, from ``tr K^(m + 1)/tr K^m`` for m = 2^8."""
        largest = []
        for block in self.blocks:
            power = block
            for _ in range(8):
                power = power @ power
                power = power // (int(np.trace(power)) >> BITS)
            largest.append(Decimal(int(np.trace(power @ block))) / int(np.trace(power)))
        return float((largest[0] / largest[1]).ln())


def reach(m2: float, lam: float) -> float:
    """Where ``m2 phi^2/2 + lam phi^4/24`` is 50 above its least value."""
    least = -1.5 * m2 * m2 / lam if m2 < 0 else 0.0
    end = 0.1
    while m2 * end**2 / 2 + lam * end**4 / 24 - least < 50:
        end += 0.01
    return end


def ring(m2: float, lam: float, shape: Shape) -> dict[str, Any]:
    """Answers on L x 1, 1 x L and 2 x 2 sites."""
    with localcontext() as context:
        context.prec = DIGITS
        square = shape == (2, 2)
        length = shape[0] * shape[1]
        grid = Ring.of(m2, lam, 2 if square else 1 if length > 1 else 0)
        out = grid.answers(length) if length > 1 else _one_site(m2, lam)
        by_distance = out.pop("by_distance")
        t, x = np.indices(shape)
        steps = t + x  # on 2 x 2, one for every axis crossed
        two_point = np.array(by_distance)[steps]
        out |= {"two_point": two_point, "phi_squared": by_distance[0], "correlator": two_point.mean(axis=1)}
        square_mean = math.fsum(two_point.ravel()) / length
        out["susceptibility"] = math.fsum(two_point.ravel())
        out["binder"] = 1 - out["magnetisation_fourth"] / (3 * square_mean**2)
        return out if square or length == 1 else {**out, "gap": grid.gap()}


def _one_site(m2: float, lam: float) -> dict[str, Any]:
    """Integrals over one field, by the trapezoidal rule."""
    end = Decimal(reach(m2, lam))
    nodes = [k * end / 60 for k in range(-60, 61)]
    weights = [(-(Decimal(m2) * f**2 / 2 + Decimal(lam) * f**4 / 24)).exp() for f in nodes]
    z = total(weights)
    second, fourth = (float(total(w * f**k for w, f in zip(weights, nodes, strict=True)) / z) for k in (2, 4))
    return {
        "log_partition": float((z * end / 60).ln()),
        "by_distance": [second],
        "phi_fourth": fourth,
        "magnetisation_fourth": fourth,
    }
