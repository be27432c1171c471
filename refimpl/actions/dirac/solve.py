"""Solutions of ``D psi = b``: dense or sparse LU, or conjugate gradients for all chains at once. Every residual is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lattice import check_integer, check_number, over
from .matrix import (
    dense_matrix,
    even_odd_indices,
    has_checkerboard,
    sparse_even_odd_blocks,
    sparse_matrices,
    sparse_schur_of,
)
from .operator import ComplexArray, WilsonDirac, check_spinor

if TYPE_CHECKING:
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import SuperLU

Array = NDArray[np.float64]
Operator = Callable[[ComplexArray], ComplexArray]

METHODS = ("auto", "dense", "sparse", "cg")

# From this many rows on a sparse factorisation, with its overhead in Python, is faster than a dense one of D.
DENSE_ROWS = 256


class SolverError(ArithmeticError):
    """No solution to the required residual: the operator is singular or nearly so, or iterations ran out."""


def solve(
    dirac: WilsonDirac,
    b: ArrayLike,
    method: str = "auto",
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 10_000,
) -> ComplexArray:
    """``D^-1 b``; ``D^dag^-1 b`` is ``gamma5(solve(dirac, gamma5(b)))``.

    Parameters
    ----------
    b : spinor field, complex128.
    method : {"auto", "dense", "sparse", "cg"}
        ``dense``: LU of D. ``sparse``: sparse LU, of the Schur complement where extents are even, of D otherwise. ``cg``:
        conjugate gradients on ``D^dag D``, all chains at once, each stopped by itself. ``auto``: ``dense`` or ``sparse`` by size.
    tolerance : largest ``|b - D psi| / |b|`` of any chain. max_iterations : of ``cg``.

    Raises
    ------
    SolverError : naming chain and residual, where the tolerance is not reached. `TypeError`, `ValueError` : wrong arguments.
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    check_number("tolerance", tolerance, 0, above=True)
    check_integer("max_iterations", max_iterations, 1)
    b = check_spinor(b, dirac.spinor_shape, "b")
    if not np.all(np.isfinite(b)):
        raise ValueError(f"b: got {b[~np.isfinite(b)][0]}, expected finite numbers")
    if method == "auto":
        method = "dense" if b[0].size < DENSE_ROWS else "sparse"
    if method == "cg":
        psi = conjugate_gradients(dirac.apply, dirac.adjoint, b, tolerance, max_iterations)
    else:
        rows = b.reshape(len(b), -1)
        psi = _dense(dirac, rows) if method == "dense" else sparse_solutions(dirac, rows, _factorised)
        psi = psi.reshape(b.shape)
    residual, size = norm(b - dirac.apply(psi)), norm(b)
    failed = np.flatnonzero(~(residual <= tolerance * size))
    if failed.size:
        k = failed[0]
        raise SolverError(
            f"solve: got |b - D psi| = {residual[k]:.1e} for |b| = {size[k]:.1e} in chain {k} by {method!r}, expected at most "
            f"{tolerance:g} |b|; D is singular or nearly so, or max_iterations = {max_iterations} is too small"
        )
    return psi


def solutions(matrix: ComplexArray, right: ComplexArray) -> NDArray:
    """``matrix^-1 right`` per chain, NaN for a chain whose matrix is singular: one lost chain is no reason to stop others."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        if len(matrix) == 1:
            return np.full(right.shape, np.nan, np.complex128)
        return np.concatenate(
            [solutions(m, r) for m, r in zip(np.split(matrix, len(matrix)), right[:, None], strict=True)]
        )


def sparse_factors(matrix: csc_array, *, ordered: bool = False) -> SuperLU | None:
    """LU factors of a sparse matrix, None where it is singular.

    The ordering is for the symmetric pattern that D has: SciPy's default fills in 1.5 to 4 times as much here. A matrix that is
    ``ordered`` is factorised as it stands, without the search for supernodes that does not pay at these sizes.
    """
    from scipy.sparse.linalg import splu

    options = {"permc_spec": "NATURAL", "relax": 1, "panel_size": 1} if ordered else {"permc_spec": "MMD_AT_PLUS_A"}
    try:
        return splu(matrix, **options)
    except RuntimeError:
        return None


def _dense(dirac: WilsonDirac, b: ComplexArray) -> NDArray:
    try:
        return np.linalg.solve(dense_matrix(dirac), b[..., None])[..., 0]
    except np.linalg.LinAlgError:
        raise SolverError("solve: got a singular operator, expected a regular one") from None


def sparse_solutions(
    dirac: WilsonDirac, b: ComplexArray, factorised: Callable[[csc_array, ComplexArray], ComplexArray]
) -> ComplexArray:
    """``D^-1 b`` for ``b`` ``(chain, n)`` or ``(chain, n, k)``, by ``factorised(matrix, right)`` of one sparse matrix at a time.

    ``psi_e = D_sc^-1 (b_e - D_eo b_o)``, ``psi_o = b_o - D_oe psi_e`` where extents are even.
    """
    psi = np.empty(b.shape, np.complex128)
    if not has_checkerboard(dirac):
        for k, matrix in enumerate(sparse_matrices(dirac)):
            psi[k] = factorised(matrix, b[k])
        return psi
    even, odd = even_odd_indices(dirac)
    for k, (d_eo, d_oe) in enumerate(sparse_even_odd_blocks(dirac)):
        psi[k, even] = factorised(sparse_schur_of(d_eo, d_oe), b[k, even] - d_eo @ b[k, odd])
        psi[k, odd] = b[k, odd] - d_oe @ psi[k, even]
    return psi


def _factorised(matrix: csc_array, b: ComplexArray) -> ComplexArray:
    factors = sparse_factors(matrix)
    if factors is None:
        raise SolverError("solve: got a singular operator, expected a regular one")
    return factors.solve(b)


def conjugate_gradients(
    apply: Operator, adjoint: Operator, b: ComplexArray, tolerance: float, max_iterations: int
) -> ComplexArray:
    """Conjugate gradients on ``D^dag D psi = D^dag b`` in the form that carries the residual ``r = b - D psi`` itself.

    ``apply`` and ``adjoint`` are D and ``D^dag`` on spinor fields. The residual is the caller's to check.
    """
    psi, r = np.zeros_like(b), b.copy()
    s = adjoint(r)
    p, s_squared = s.copy(), norm(s) ** 2
    target = tolerance / 2 * norm(b)  # half of it is left for the rounding that the recursion collects
    for _ in range(max_iterations):
        # A chain that is done stands still, so that its bits do not depend on the others; a breakdown ends in the check.
        running = (norm(r) > target) & (s_squared > 0)
        if not running.any():
            break
        q = apply(p)
        q_squared = norm(q) ** 2
        alpha = over(
            np.divide(s_squared, q_squared, out=np.zeros_like(s_squared), where=running & (q_squared > 0)), b.ndim
        )
        psi += alpha * p
        r -= alpha * q
        s = adjoint(r)
        new = norm(s) ** 2
        beta = over(np.divide(new, s_squared, out=np.zeros_like(new), where=running), b.ndim)
        p = s + beta * p
        s_squared = new
    return psi


def norm(psi: ComplexArray) -> Array:
    """``|psi|`` per chain."""
    return np.linalg.norm(psi.reshape(len(psi), -1), axis=1)
