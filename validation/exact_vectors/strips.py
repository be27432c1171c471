"""Exact values of phi^4 on 3 x 2 sites: sums over all six fields on a grid.

Two rings of three sites, a and b, with two bonds ``exp(-(a_i - b_i)^2)`` between partners: ``Z = sum_a W(a) (C C C W)(a)``, the
kernel C applied to one field after the other. Midpoints converge faster than any power of the step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scalars import reach

Extended = NDArray[np.longdouble]

POINTS, ITERATIONS = 20, 60  # of half the line; the second even level is below a quarter of the first


class Strip:
    """The grid, weights of a ring of three, and the kernel of the bonds between rings."""

    def __init__(self, m2: float, lam: float, points: int = POINTS) -> None:
        self.step = np.longdouble(reach(m2, lam)) / points
        self.line = (np.arange(-points, points) + np.longdouble(0.5)) * self.step
        square = self.line * self.line
        self.potential = np.longdouble(m2) * square / 2 + np.longdouble(lam) * square * square / 24
        apart = (self.line[:, None] - self.line) ** 2
        self.along, self.across = np.exp(-apart / 2), np.exp(-apart)
        half = np.exp(-self.potential / 2)
        bond = half[:, None] * self.along * half
        self.ring = bond[:, :, None] * bond[None] * bond.T[:, None]

    def spread(self, weight: Extended) -> Extended:
        """``C C C`` times a function of three fields."""
        for _ in range(3):
            weight = np.moveaxis((self.across @ weight.reshape(len(self.line), -1)).reshape(weight.shape), 0, -1)
        return weight

    def answers(self, shape: tuple[int, int]) -> dict[str, Any]:
        """On (3, 2) or (2, 3) sites."""
        first = self.line[:, None, None]
        second, third = self.line[None, :, None], self.line[None, None]
        total = first + second + third
        powers = [self.spread(self.ring * total**k) for k in range(3)]
        z = (self.ring * powers[0]).sum()
        across = self.spread(self.ring * first)
        here, along = (self.ring * powers[0] * first**2).sum() / z, (self.ring * powers[0] * first * second).sum() / z
        over, diagonal = ((self.ring * across * field).sum() / z for field in (first, second))
        # <(sum a + sum b)^4>, and a and b may be exchanged.
        moments = [(self.ring * total ** (4 - k) * powers[k]).sum() / z for k in range(3)]
        fourth = (2 * moments[0] + 8 * moments[1] + 6 * moments[2]) / 6**4
        two_point = np.array([[here, over], [along, diagonal], [along, diagonal]])
        if shape == (2, 3):
            two_point = two_point.T
        mean = two_point.mean()
        values = {
            "log_partition": np.log(z) + 6 * np.log(self.step),
            "phi_squared": here,
            "phi_fourth": (self.ring * powers[0] * first**4).sum() / z,
            "magnetisation_fourth": fourth,
            "susceptibility": 6 * mean,
            "binder": 1 - fourth / (3 * mean * mean),
            "gap": self.gap(),
        }
        arrays = {"two_point": two_point, "correlator": two_point.mean(axis=1)}
        return {**{key: float(value) for key, value in values.items()}, **_rounded(arrays)}

    def gap(self) -> float:
        """The logarithm of the ratio of the largest even and odd eigenvalues between slices of two sites, by powers."""
        inside = np.exp(-(self.potential[:, None] + self.potential + (self.line[:, None] - self.line) ** 2) / 2)
        largest = []
        for parity, vector in ((1, np.ones_like(inside)), (-1, self.line[:, None] + self.line)):
            for _ in range(ITERATIONS):
                before = vector + parity * vector[::-1, ::-1]  # rounding would let the other parity grow
                before /= np.sqrt((before * before).sum())
                vector = inside * (self.along @ (inside * before) @ self.along)
            largest.append((before * vector).sum())
        return math.log(largest[0] / largest[1])


def _rounded(arrays: dict[str, Extended]) -> dict[str, NDArray[np.float64]]:
    return {key: array.astype(np.float64) for key, array in arrays.items()}
