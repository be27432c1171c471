"""The Schwinger model in plain Python loops: Gaussian elimination on lists, no code of the package.

HMC with the exact determinant on top of the stranger in `loops`; rows and columns of D are ``2 (t X + x) + spin``.
"""

from __future__ import annotations

import cmath
import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .loops import Array, Links, LoopsU1

Row = list[complex]
Matrix = list[Row]


def spin(mu: int, sign: int) -> list[list[complex]]:
    """``1 + sign sigma_mu``."""
    return [[1, sign * (1, -1j)[mu]], [sign * (1, 1j)[mu], 1]]


def eliminated(matrix: Matrix, right: Matrix) -> tuple[float, Matrix]:
    """``log |det|`` and the solution of ``matrix X = right``, by elimination with row pivots."""
    rows = [list(a) + list(b) for a, b in zip(matrix, right, strict=True)]
    n, log_det = len(rows), 0.0
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        log_det += math.log(abs(rows[k][k]))
        scale = 1 / rows[k][k]
        rows[k] = [scale * value for value in rows[k]]
        for i in range(n):
            if i != k and rows[i][k]:
                factor = rows[i][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return log_det, [row[n:] for row in rows]


def identity(n: int) -> Matrix:
    return [[complex(i == j) for j in range(n)] for i in range(n)]


@dataclass(frozen=True)
class LoopsSchwinger(LoopsU1):
    """The target: HMC of ``beta sum_P (1 - cos theta_P) - 2 log |det D|``."""

    kappa: float = 0.2
    theory: str = "schwinger"
    name: str = "loops with fermions"

    def dirac_dense(self, x: Array) -> NDArray[np.complex128]:
        return np.array([self._matrix(links) for links in self._lists(x)])

    def dirac_apply(self, x: Array, psi: NDArray[np.complex128]) -> NDArray[np.complex128]:
        out = [self._times(self._matrix(links), list(p.flat)) for links, p in zip(self._lists(x), psi, strict=True)]
        return np.array(out).reshape(psi.shape)

    def logdet_dirac(self, x: Array) -> Array:
        return np.array([eliminated(m, [[] for _ in m])[0] for m in map(self._matrix, self._lists(x))])

    def pseudofermion_action(self, x: Array, phi: NDArray[np.complex128]) -> Array:
        """Plain: ``|D^-1 phi|^2``."""
        chis = [
            eliminated(self._matrix(links), [[value] for value in p.flat])[1]
            for links, p in zip(self._lists(x), phi, strict=True)
        ]
        return np.array([sum(abs(value) ** 2 for (value,) in chi) for chi in chis])

    def pseudofermion_heat_bath(self, x: Array, seed: int) -> NDArray[np.complex128]:
        out = []
        for chain, links in enumerate(self._lists(x)):
            stream = random.Random(f"{seed} {chain}")
            chi = [complex(stream.gauss(0, 0.5**0.5), stream.gauss(0, 0.5**0.5)) for _ in range(2 * len(self.sites))]
            out.append(self._times(self._matrix(links), chi))
        return np.array(out).reshape(len(x), 1, *self.shape, 2)

    # --- one chain --------------------------------------------------------------------------------------------------
    def _phase(self, links: Links, mu: int, site: int) -> complex:
        crosses = mu == 0 and site // self.shape[1] == self.shape[0] - 1
        return (-1 if crosses else 1) * cmath.exp(1j * links[mu][site])

    def _hops(self, links: Links) -> list[tuple[int, int, int, complex]]:
        """Direction, site, site ahead and phase of every link."""
        return [
            (mu, site.here, (site.later, site.right)[mu], self._phase(links, mu, site.here))
            for mu in (0, 1)
            for site in self.sites
        ]

    def _matrix(self, links: Links) -> Matrix:
        d = identity(2 * len(self.sites))
        for mu, here, ahead, phase in self._hops(links):
            for a in (0, 1):
                for b in (0, 1):
                    d[2 * here + a][2 * ahead + b] -= self.kappa * phase * spin(mu, -1)[a][b]
                    d[2 * ahead + a][2 * here + b] -= self.kappa * phase.conjugate() * spin(mu, 1)[a][b]
        return d

    def _times(self, matrix: Matrix, vector: Row) -> Row:
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    def _action(self, links: Links) -> float:
        matrix = self._matrix(links)
        return super()._action(links) - 2 * eliminated(matrix, [[] for _ in matrix])[0]

    def _force(self, links: Links) -> Links:
        matrix = self._matrix(links)
        inverse = eliminated(matrix, identity(len(matrix)))[1]
        force = super()._force(links)
        for mu, here, ahead, phase in self._hops(links):
            z = 0.0
            for a in (0, 1):
                for b in (0, 1):
                    z += (1j * phase * inverse[2 * ahead + b][2 * here + a] * spin(mu, -1)[a][b]).real
                    z += ((1j * phase).conjugate() * inverse[2 * here + b][2 * ahead + a] * spin(mu, 1)[a][b]).real
            force[mu][here] += 2 * self.kappa * z
        return force


def target(
    beta: float = 2.0,
    kappa: float = 0.2,
    shape: tuple[int, int] = (2, 2),
    step_size: float = 0.5,
    n_steps: int = 3,
) -> LoopsSchwinger:
    """The factory the oracle calls."""
    return LoopsSchwinger(beta, (int(shape[0]), int(shape[1])), step_size, n_steps, kappa=kappa)
