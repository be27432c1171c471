"""Spectra of ``M = D D^dag`` and of the kernels of pseudofermion monomials: extreme eigenvalues and condition numbers.

``gamma5 D`` is Hermitian and its squared eigenvalues are those of ``D D^dag``; the same holds for ``D_sc`` on the even sites.
Squaring last keeps digits of small eigenvalues that squaring first would lose.

Condition numbers have heavy tails. Where an eigenvalue of ``gamma5 D`` crosses zero it has a finite density there, which the
weight ``det D^2`` multiplies by its square, so that ``P(cond > c)`` falls like ``c^(-3/2)`` in the end: means exist, variances do
not, the error bar of a sample mean is none and the largest value grows with the sample. Compare medians and `quantiles`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions import WilsonDirac
from ..actions.dirac.matrix import (
    dense_matrix,
    even_odd_indices,
    schur_complement,
    sparse_even_odd_blocks,
    sparse_matrices,
    sparse_schur_of,
)
from ..actions.pseudofermion import monomial_masses
from ..lattice import check_number, check_shape

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

DENSE_ROWS = 400  # from here on two Lanczos runs with a sparse factorisation are faster than all eigenvalues
SEED = 1  # of the vector that Lanczos starts from: the same numbers in every run


def chirality(dirac: WilsonDirac, *, even_odd: bool = False) -> Array:
    """The diagonal of ``gamma5``, on all rows of ``D`` or on those of the even sites."""
    n_sites = dirac.shape[0] * dirac.shape[1]
    signs = np.tile(np.repeat([1.0, -1.0], dirac.colours), n_sites)
    return signs[even_odd_indices(dirac)[0]] if even_odd else signs


def hermitian_matrix(dirac: WilsonDirac, *, even_odd: bool = False) -> ComplexArray:
    """``gamma5 D``, or ``gamma5 D_sc`` on the even sites, ``(chain, n, n)``; refuses odd extents for the latter."""
    matrix = schur_complement(dirac) if even_odd else dense_matrix(dirac)
    return chirality(dirac, even_odd=even_odd)[:, None] * matrix


def sparse_hermitian_matrices(dirac: WilsonDirac, *, even_odd: bool = False) -> list[csc_array]:
    """As `hermitian_matrix`, a SciPy sparse matrix per chain."""
    from scipy.sparse import csc_array, dia_array

    blocks = sparse_even_odd_blocks(dirac) if even_odd else []
    matrices = [sparse_schur_of(*pair) for pair in blocks] if even_odd else sparse_matrices(dirac)
    signs = chirality(dirac, even_odd=even_odd)
    gamma5 = dia_array((signs[None], [0]), shape=(signs.size, signs.size))
    return [csc_array(gamma5 @ matrix) for matrix in matrices]


def eigenvalues(dirac: WilsonDirac, even_odd: bool = False, mu: float = 0.0) -> Array:
    """All eigenvalues of ``M + mu``, ascending, ``(chain, n)``: ``M = D D^dag``, or ``D_sc D_sc^dag`` with half as many."""
    mu = check_number("mu", mu, 0)
    return np.sort(np.linalg.eigvalsh(hermitian_matrix(dirac, even_odd=even_odd)) ** 2, axis=1) + mu


def extreme_eigenvalues(dirac: WilsonDirac, even_odd: bool = False, mu: float = 0.0, method: str = "auto") -> Array:
    """Smallest and largest eigenvalue of ``M + mu``, ``(chain, 2)``, with ``M`` as in `eigenvalues`.

    Parameters
    ----------
    method : {"auto", "dense", "sparse"}
        All eigenvalues of the dense matrix, or Lanczos (for the smallest with the inverse); ``auto`` by size.
    """
    mu = check_number("mu", mu, 0)
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    rows = dirac.shape[0] * dirac.shape[1] * 2 * dirac.colours // (1 + even_odd)
    if method == "dense" or (method == "auto" and rows < DENSE_ROWS):
        return eigenvalues(dirac, even_odd, mu)[:, [0, -1]]
    if even_odd:
        check_shape(dirac.shape, even=True)
    return np.array([_lanczos_extremes(matrix) for matrix in sparse_hermitian_matrices(dirac, even_odd=even_odd)]) + mu


def condition_numbers(dirac: WilsonDirac, even_odd: bool = False, mu: float = 0.0, method: str = "auto") -> Array:
    """``lam_max/lam_min`` of ``M + mu``, ``(chain,)``; infinite for a singular operator. Heavy tailed: see the module."""
    low, high = extreme_eigenvalues(dirac, even_odd, mu, method).T
    with np.errstate(divide="ignore"):
        return high / low


def monomial_eigenvalues(lams: ArrayLike, mus: Sequence[float] = (), mu_reg: float = 0.0) -> Array:
    """Eigenvalues of the kernels K of the monomials ``phi^dag K^-1 phi``, from ``lams`` ``(..., n)`` of M: ``(..., N_h + 1, n)``.

    ``K_m = (M + mu_m) / (M + mu_(m + 1))`` (37, 38), growing with M and below 1; the last is ``M + mu_(N_h)``.
    """
    lams = np.asarray(lams, dtype=np.float64)
    kernels = [
        lams + mu if after is None else (lams + mu) / (lams + after) for mu, after in monomial_masses(mus, mu_reg)
    ]
    return np.stack(kernels, axis=-2)


def hasenbusch_spectra(
    dirac: WilsonDirac, mus: Sequence[float] = (), even_odd: bool = False, mu_reg: float = 0.0
) -> Array:
    """`monomial_eigenvalues` of an operator, ascending, ``(chain, N_h + 1, n)``: ``[..., -1] / [..., 0]`` are condition numbers."""
    return monomial_eigenvalues(eigenvalues(dirac, even_odd), mus, mu_reg)


class Quantiles(NamedTuple):
    """Median, and the values that 10 % and 90 % lie below."""

    median: float
    low: float
    high: float


def quantiles(values: ArrayLike, weights: ArrayLike | None = None) -> Quantiles:
    """Quantiles of ``values``, of any shape, each counted with its weight (equally where there are none).

    The value at which the cumulative weight passes the fraction, linear between midpoints of the steps. The means of heavy
    tailed values (condition numbers) are not reported by this function on purpose.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    w = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if not values.size or np.isnan(values).any():
        raise ValueError(f"values: got {values.size} with {int(np.isnan(values).sum())} NaN, expected numbers")
    if w.shape != values.shape or not np.all(np.isfinite(w)) or np.any(w < 0) or not w.sum() > 0:
        raise ValueError("weights: got a wrong shape or wrong numbers, expected one finite weight >= 0 per value")
    order = np.argsort(values, kind="stable")
    steps = np.cumsum(w[order]) - w[order] / 2
    low, median, high = np.interp(np.array([0.1, 0.5, 0.9]) * w.sum(), steps, values[order])
    return Quantiles(float(median), float(low), float(high))


def _lanczos_extremes(matrix: csc_array) -> tuple[float, float]:
    """Smallest and largest squared eigenvalue of a sparse Hermitian matrix; the smallest is 0 where it is singular."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    from ..actions.dirac.solve import sparse_factors

    n = matrix.shape[0]
    start = np.random.default_rng(SEED).standard_normal(n) + 0j
    largest = eigsh(matrix, k=1, which="LM", v0=start, return_eigenvectors=False)[0]
    factors = sparse_factors(matrix)
    if factors is None:
        return 0.0, float(largest**2)
    inverse = LinearOperator((n, n), matvec=factors.solve, dtype=np.complex128)
    smallest = eigsh(inverse, k=1, which="LM", v0=start, return_eigenvectors=False)[0]
    return float(1 / smallest**2) if math.isfinite(smallest) else 0.0, float(largest**2)
