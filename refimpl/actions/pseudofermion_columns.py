"""Quadratic forms ``sum over columns of S_m = tr(C^dag P_m C)`` of pseudofermion monomials, with derivatives, for many columns C.

With the Hermitian ``Q = D gamma5`` (``D_sc gamma5`` where even_odd), ``M = D D^dag = Q^2``, and every precision is a function of
the same matrix: ``P_m = c/(Q^2 + mu)``, or ``(Q^2 + mu')/(Q^2 + mu)`` between two masses (12), (38). One eigendecomposition
``Q = V q V^dag`` of every chain serves all monomials, all columns and all determinants ``log det K_m = -sum log P_m(q)``.

Derivatives are written by hand, through no solver: the cotangent of columns is ``2 P C``; for the links, with
``X = (M + mu)^-1 C``, ``dS = -2 c Re X^dag dD D^dag X = -2 Re tr(Z dD)``, where ``Z = gamma5 Q sum_m c_m X_m X_m^dag`` needs to be
known between neighbours alone. Even-odd, ``tr(Z dD_sc) = -tr(D_oe Z dD_eo) - tr(Z D_eo dD_oe)``.

Rows are ``(t, x, spin, colour)`` flattened, those of the even sites where even_odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .determinant import link_force
from .dirac import SIGMA, ComplexArray, WilsonDirac, signed_links
from .dirac.matrix import checkerboard, dense_matrix, even_odd_blocks, neighbours, schur_of
from .dirac.twisted import TOLERANCE
from .pseudofermion import Pseudofermion

Array = NDArray[np.float64]

EPSILON = 2.0**-52


def quadratic(monomial: Pseudofermion, x: NDArray[Any], columns: ArrayLike) -> tuple[Array, ComplexArray, Array]:
    """The sum over columns of ``S_m``, ``(chain,)``, and its derivatives.

    Parameters
    ----------
    x : gauge field, taken as checked. columns : complex ``(chain, n, k)``; for ``Dt(U)`` the sum is the trace of
    `weight_matrix`, the mean of ``S_m`` over ``phi = Dt chi``.

    Returns
    -------
    value : ``(chain,)``. g_columns : ``2 P C``, so that ``d value = Re sum(conj(g) dC)``. force : ``+ d value/d links``, as of
    an action. All three are NaN for a chain without an accurate solution.
    """
    forms = MonomialForms((monomial,), x)
    value, g_columns, outer = forms.quadratic(0, columns)
    return value, g_columns, forms.force(outer)


def weight_matrix(monomial: Pseudofermion, x: NDArray[Any], columns: ArrayLike) -> ComplexArray:
    """``W = C^dag P_m C``, ``(chain, k, k)``, Hermitian to the bit; arguments as of `quadratic`."""
    return MonomialForms((monomial,), x).weight_matrix(0, columns)


class MonomialForms:
    """The quadratic forms of monomials of one operator at given links, from one eigendecomposition of ``Q`` of every chain.

    A chain whose links are not finite has NaN everywhere; one whose smallest ``sqrt(q^2 + mu)`` is so small that rounding, eps of
    the largest ``|q|``, is more than the tolerance of `TwistedInverse` of it, has NaN for this monomial and for the force.

    Parameters
    ----------
    monomials : of the same ``(kappa, n, even_odd, antiperiodic)``, with any masses. x : gauge field, taken as checked.
    """

    def __init__(self, monomials: Sequence[Pseudofermion], x: NDArray[Any]) -> None:
        if not monomials:
            raise ValueError("monomials: got none, expected at least one")
        operators = {(m.kappa, m.n, m.even_odd, m.antiperiodic) for m in monomials}
        if len(operators) != 1:
            raise ValueError(
                f"monomials: got {sorted(operators)} for (kappa, n, even_odd, antiperiodic), expected one operator"
            )
        first = monomials[0]
        self.monomials, self.even_odd = tuple(monomials), first.even_odd
        self._dirac = WilsonDirac(signed_links(x, antiperiodic=first.antiperiodic), first.kappa)
        with np.errstate(invalid="ignore", over="ignore"):
            if self.even_odd:
                self._blocks = even_odd_blocks(self._dirac)
                d = schur_of(*self._blocks)
            else:
                d = dense_matrix(self._dirac)
        self._signs = np.tile(np.repeat([1.0, -1.0], first.n), d.shape[1] // (2 * first.n))
        self._q, self._vectors = _eigen(d * self._signs)

    @property
    def rows(self) -> int:
        """The number n of rows of a column."""
        return self._q.shape[1]

    def log_determinant(self) -> Array:
        """``log det M``, ``(chain,)``: the target of the monomials without a regulator."""
        with np.errstate(divide="ignore"):
            return 2 * np.log(np.abs(self._q)).sum(axis=1)

    def log_covariances(self) -> Array:
        """``log det K_m`` of every monomial, ``(chain, monomial)``; ``pi^n det K_m`` is the integral of ``exp(-S_m)``."""
        return np.stack([-np.log(self._precision(m)).sum(axis=1) for m in self.monomials], axis=1)

    def quadratic(self, index: int, columns: ArrayLike) -> tuple[Array, ComplexArray, ComplexArray]:
        """Of one monomial the value ``(chain,)``, the cotangent of the columns, and what `force` makes the force of.

        The last is ``c X X^dag`` in the eigenbasis, ``(chain, n, n)``: those of several monomials add, and have one force.
        """
        monomial, y = self.monomials[index], self._projected(columns)
        with np.errstate(invalid="ignore", over="ignore"):
            p = self._precision(monomial)
            value = (p * _row_squares(y)).sum(axis=1)
            cotangent = self._vectors @ ((2 * p)[:, :, None] * y)
            y *= self._inverse(monomial)[:, :, None]
            return value, cotangent, monomial.coefficient * (y @ _dagger(y))

    def force(self, outer: ComplexArray) -> Array:
        """``+ d value/d links`` for the ``c X X^dag`` of `quadratic`, in the shape of a gauge force."""
        with np.errstate(invalid="ignore", over="ignore"):
            z = (self._vectors * (self._signs[:, None] * self._q[:, None, :])) @ outer @ _dagger(self._vectors)
            traces = self._even_odd_traces(z) if self.even_odd else self._traces(z)
            links = self._dirac.links
            return link_force(links * traces if links.shape[-1] == 1 else links @ traces, -2 * self._dirac.kappa)

    def weight_matrix(self, index: int, columns: ArrayLike) -> ComplexArray:
        """``C^dag P_m C`` of one monomial, ``(chain, k, k)``, Hermitian to the bit."""
        with np.errstate(invalid="ignore", over="ignore"):
            y = self._projected(columns)
            y *= np.sqrt(self._precision(self.monomials[index]))[:, :, None]
            w = _dagger(y) @ y
            return 0.5 * (w + _dagger(w))

    def _projected(self, columns: ArrayLike) -> ComplexArray:
        """Columns in the eigenbasis, ``V^dag C``."""
        columns = np.asarray(columns)
        chains, rows = self._q.shape
        if columns.ndim != 3 or columns.shape[:2] != (chains, rows):
            raise ValueError(f"columns: got shape {columns.shape}, expected ({chains}, {rows}, k)")
        return _dagger(self._vectors) @ columns.astype(np.complex128, copy=False)

    def _inverse(self, monomial: Pseudofermion) -> Array:
        """``1/(q^2 + mu)``, NaN for a chain where rounding is as large as the tolerance."""
        squares = self._q**2 + monomial.mu
        accurate = EPSILON * np.abs(self._q).max(axis=1) <= TOLERANCE * np.sqrt(squares.min(axis=1))
        return np.where(accurate[:, None], 1, np.nan) / np.where(accurate[:, None], squares, 1)

    def _precision(self, monomial: Pseudofermion) -> Array:
        """The eigenvalues of ``P_m``, ``(chain, n)``."""
        p = monomial.coefficient * self._inverse(monomial)
        return p if monomial.mu_next is None else 1 + p

    def _traces(self, z: ComplexArray) -> ComplexArray:
        """``tr_spin[Z(y + mu^, y)(1 - sigma_mu)] + tr_spin[Z(y, y + mu^)(1 + sigma_mu)]^dag``, ``(chain, 2, T, X, N, N)``."""
        t, x = self._dirac.shape
        width = 2 * self._dirac.colours
        blocks = z.reshape(-1, t * x, width, t * x, width)
        here, ahead = np.tile(np.arange(t * x), 2), neighbours((t, x)).ravel()
        return self._spin_traces(blocks[:, ahead, :, here, :], blocks[:, here, :, ahead, :])

    def _even_odd_traces(self, z: ComplexArray) -> ComplexArray:
        """The same of ``(-D_oe Z, -Z D_eo)``, rows of the one and of the other parity."""
        d_eo, d_oe = self._blocks
        t, x = self._dirac.shape
        width = 2 * self._dirac.colours
        blocks = np.stack([-(z @ d_eo), -(d_oe @ z)]).reshape(2, -1, t * x // 2, width, t * x // 2, width)
        parity, place = checkerboard((t, x))
        here, ahead = np.tile(np.arange(t * x), 2), neighbours((t, x)).ravel()
        return self._spin_traces(
            blocks[parity[ahead], :, place[ahead], :, place[here], :],
            blocks[parity[here], :, place[here], :, place[ahead], :],
        )

    def _spin_traces(self, forward: ComplexArray, backward: ComplexArray) -> ComplexArray:
        """From blocks ``(2 V, chain, 2 N, 2 N)``."""
        n, (t, x) = self._dirac.colours, self._dirac.shape
        shape = (2, t, x, -1, 2, n, 2, n)
        ahead = np.einsum("mtxcsajb,mjs->cmtxab", forward.reshape(shape), np.eye(2) - SIGMA)
        back = np.einsum("mtxcsajb,mjs->cmtxab", backward.reshape(shape), np.eye(2) + SIGMA)
        return ahead + _dagger(back)


def _eigen(matrix: ComplexArray) -> tuple[Array, ComplexArray]:
    """Eigenvalues and eigenvectors of Hermitian matrices, NaN for a chain that is not finite."""
    lost = ~np.isfinite(matrix).all(axis=(1, 2))
    matrix[lost] = np.eye(matrix.shape[1])
    values, vectors = np.linalg.eigh(matrix)
    values[lost], vectors[lost] = np.nan, np.nan
    return values, vectors


def _dagger(matrix: ComplexArray) -> ComplexArray:
    return matrix.conj().swapaxes(-1, -2)


def _row_squares(y: ComplexArray) -> Array:
    """``sum_k |y_ik|^2``, ``(chain, n)``."""
    return (y.real * y.real + y.imag * y.imag).sum(axis=2)
