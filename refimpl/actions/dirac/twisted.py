"""The operator ``D_s = D + i s gamma5``, ``s = sqrt(mu)``, a square root of ``M + mu``, and its inverse.

With the Hermitian ``Q' = D gamma5``, ``Q'^2 = D D^dag = M``, so that ``M + mu = (Q' + i s)(Q' - i s) = D_s D_s^dag``
with ``Q' + i s = D_s gamma5``. All of it holds for the Schur complement ``D_sc`` in the place of D, which is
gamma5-hermitian as well.

For even extents the inverse goes through the even sites: with ``R = (1 + i s gamma5)^-1`` on the odd ones,
``S = 1 + i s gamma5 - D_eo R D_oe``, ``w_e = S^-1 (b_e - D_eo R b_o)``, ``w_o = R (b_o - D_oe w_e)``; for ``D_sc`` R is
1, b_o 0, and ``w_e`` is all. `twisted_entries` has S, for all chains at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .matrix import dense_matrix, even_odd_indices, has_checkerboard, sparse_matrices
from .operator import ComplexArray, WilsonDirac, gamma5
from .pattern import SparseOrder, schur_pattern, sparse_order, twisted_entries
from .solve import SolverError, conjugate_gradients, norm, solutions, sparse_factors

if TYPE_CHECKING:
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import SuperLU

# From this many rows on a sparse factorisation is faster than a dense one of S.
DENSE_ROWS = 100

TOLERANCE, MAX_ITERATIONS = 1e-10, 10_000


@dataclass(frozen=True, eq=False)
class TwistedDirac:
    """``D + i sqrt(mu) gamma5``, or ``D_sc + i sqrt(mu) gamma5`` on spinors that vanish on the odd sites."""

    dirac: WilsonDirac
    mu: float
    even_odd: bool = False

    @property
    def s(self) -> float:
        """``sqrt(mu)``."""
        return math.sqrt(self.mu)

    def apply(self, psi: ComplexArray) -> ComplexArray:
        """``D_s psi``."""
        out = self.dirac.schur(psi) if self.even_odd else self.dirac.apply(psi)
        return self._turned(psi, self.s, out)

    def adjoint(self, psi: ComplexArray) -> ComplexArray:
        """``D_s^dag psi``; ``D_sc^dag = gamma5 D_sc gamma5``."""
        out = gamma5(self.dirac.schur(gamma5(psi))) if self.even_odd else self.dirac.adjoint(psi)
        return self._turned(psi, -self.s, out)

    @staticmethod
    def _turned(psi: ComplexArray, s: float, out: ComplexArray) -> ComplexArray:
        """``out + i s gamma5 psi``."""
        if s:
            out[:, :, :, 0] += 1j * s * psi[:, :, :, 0]
            out[:, :, :, 1] -= 1j * s * psi[:, :, :, 1]
        return out


class TwistedInverse:
    """``D_s^-1`` and ``D_s^dag^-1`` of every chain, factorised once where that is the method.

    Every residual is checked; the solution is NaN for a chain where it is above the tolerance, or where ``D_s`` is
    singular or not finite: one lost chain is no reason to stop others. `checked` makes an error of it.

    Parameters
    ----------
    method : {"auto", "dense", "sparse", "cg"}
        LU of S (of ``D_s`` for odd extents), dense or sparse, or conjugate gradients; ``auto`` by size.
    """

    def __init__(self, operator: TwistedDirac, method: str = "auto") -> None:
        self.operator, self.dirac = operator, operator.dirac
        self.halved = has_checkerboard(self.dirac)
        t, x = self.dirac.shape
        self.rows = t * x * 2 * self.dirac.colours // (1 + self.halved)
        self.method = ("dense" if self.rows < DENSE_ROWS else "sparse") if method == "auto" else method

    def apply(self, b: ComplexArray) -> ComplexArray:
        """``D_s^-1 b``."""
        return self._solved(b, self.operator.apply, self.operator.adjoint, adjoint=False)

    def adjoint(self, b: ComplexArray) -> ComplexArray:
        """``D_s^dag^-1 b``."""
        return self._solved(b, self.operator.adjoint, self.operator.apply, adjoint=True)

    def _solved(
        self,
        b: ComplexArray,
        operator: Callable[..., ComplexArray],
        other: Callable[..., ComplexArray],
        *,
        adjoint: bool,
    ) -> ComplexArray:
        with np.errstate(invalid="ignore", over="ignore"):
            if self.method == "cg":
                w = conjugate_gradients(operator, other, b, TOLERANCE * 1e-2, MAX_ITERATIONS)
            elif self.halved:
                w = self._by_parity(b, adjoint)
            else:
                w = self._back(b.reshape(len(b), -1), adjoint).reshape(b.shape)
            reached = norm(b - operator(w)) <= TOLERANCE * norm(b)
        w[~reached] = np.nan
        return w

    def _by_parity(self, b: ComplexArray, adjoint: bool) -> ComplexArray:
        """The solution through the even sites."""
        even, odd = even_odd_indices(self.dirac)
        rows = b.reshape(len(b), -1)
        out = np.zeros(rows.shape, np.complex128)
        if self.operator.even_odd:
            out[:, even] = self._back(rows[:, even], adjoint)
            return out.reshape(b.shape)
        inner = np.zeros(rows.shape, np.complex128)
        inner[:, odd] = self._odd_inverse(rows[:, odd], adjoint)
        hop = self._hop(inner.reshape(b.shape), adjoint).reshape(rows.shape)
        out[:, even] = self._back(rows[:, even] - hop[:, even], adjoint)
        hop = self._hop(out.reshape(b.shape), adjoint).reshape(rows.shape)
        out[:, odd] = self._odd_inverse(rows[:, odd] - hop[:, odd], adjoint)
        return out.reshape(b.shape)

    def _hop(self, psi: ComplexArray, adjoint: bool) -> ComplexArray:
        return gamma5(self.dirac.hop(gamma5(psi))) if adjoint else self.dirac.hop(psi)

    def _odd_inverse(self, rows: ComplexArray, adjoint: bool) -> ComplexArray:
        """``R`` or ``R^dag`` on rows ``(chain, sites * spin * colour)``."""
        s = -self.operator.s if adjoint else self.operator.s
        return (rows.reshape(len(rows), -1, 2, self.dirac.colours) * _odd_inverse(s)[:, None]).reshape(rows.shape)

    def _back(self, rows: ComplexArray, adjoint: bool) -> ComplexArray:
        """S or ``S^dag``, of ``D_s`` for odd extents, solved for right-hand sides ``(chain, rows)``."""
        if self.method == "dense":
            matrix = self._matrix.conj().swapaxes(1, 2) if adjoint else self._matrix
            return solutions(matrix, rows[..., None])[..., 0]
        order = self._order.order if self.halved else np.arange(self.rows)
        out = np.full(rows.shape, np.nan, np.complex128)
        finite = np.isfinite(norm(rows))
        for k, factors in enumerate(self._factors):
            if factors is not None and finite[k]:
                out[k, order] = factors.solve(rows[k, order], "H" if adjoint else "N")
        return out

    @cached_property
    def _factors(self) -> list[SuperLU | None]:
        """LU factors of every chain, None where the matrix is singular or not finite."""
        return [sparse_factors(m, ordered=self.halved) if np.isfinite(m.data).all() else None for m in self._sparse()]

    @property
    def _order(self) -> SparseOrder:
        return sparse_order(self.dirac.shape, self.dirac.colours)

    def _entries(self) -> ComplexArray:
        """The entries of S, ``(chain, entry)``."""
        s = self.operator.s
        return twisted_entries(self.dirac, s, np.ones(2) if self.operator.even_odd else _odd_inverse(s))

    @cached_property
    def _matrix(self) -> ComplexArray:
        """S or ``D_s`` of every chain, dense."""
        if not self.halved:
            matrix = dense_matrix(self.dirac)
            np.einsum("cii->ci", matrix)[...] += self._diagonal()
            return matrix
        pattern = schur_pattern(self.dirac.shape, self.dirac.colours)
        matrix = np.zeros((len(self.dirac.links), self.rows * self.rows), np.complex128)
        matrix[:, pattern.rows * self.rows + pattern.columns] = self._entries()
        return matrix.reshape(-1, self.rows, self.rows)

    def _sparse(self) -> Iterator[csc_array]:
        """S or ``D_s`` of every chain in turn; S is the same array with other numbers, whose checks SciPy then does once."""
        from scipy.sparse import csc_array

        if not self.halved:
            n = self.rows
            shift = csc_array((self._diagonal(), (np.arange(n), np.arange(n))), (n, n))
            yield from (csc_array(m + shift) for m in sparse_matrices(self.dirac))
            return
        at = self._order
        entries = np.take(self._entries(), at.entries, axis=1)
        matrix = csc_array((entries[0], at.rows, at.starts), (self.rows, self.rows))
        for matrix.data in entries:
            yield matrix

    def _diagonal(self) -> ComplexArray:
        """``i s gamma5`` as a vector of all rows."""
        n = self.dirac.colours
        return 1j * self.operator.s * np.tile(np.repeat([1.0, -1.0], n), self.rows // (2 * n))


def checked(solution: ComplexArray, mu: float, method: str) -> ComplexArray:
    """The solution itself; raises `SolverError`, naming the chain, where it is not finite."""
    lost = np.flatnonzero(~np.isfinite(solution.reshape(len(solution), -1)).all(axis=1))
    if lost.size:
        raise SolverError(
            f"no solution of (M + {mu:g}) X = phi by method {method!r} in chain {lost[0]}, expected a residual "
            f"of at most {TOLERANCE:g} |phi|; M is singular or nearly so"
        )
    return solution


def _odd_inverse(s: float) -> NDArray:
    """``(1 + i s gamma5)^-1``, its two diagonal elements."""
    return (1 - 1j * s * np.array([1.0, -1.0])) / (1 + s * s)
