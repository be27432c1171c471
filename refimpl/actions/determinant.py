"""The exact determinant of the Wilson-Dirac operator, and the action of two flavours of quarks that are integrated out.

With ``z = tr[D^-1(x + mu^, x) (1 - sigma_mu) U_mu(x)]`` over spin and colour, the boundary sign in ``U``,
``d log det D / d theta_mu(x) = 2 kappa Im z``: the hops forward and back are complex conjugates by gamma5-hermiticity. Determinant
and these entries of the inverse come from one elimination of time slices, `refimpl.actions.dirac.slices`, and from the dense matrix
for chains where that would lose digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..groups.links import check_matrix_links
from ..groups.matrices import components, coordinates, dagger, field
from ..lattice import check_flag, check_integer, check_links, check_number
from .dirac import SIGMA, ComplexArray, WilsonDirac, check_dirac, signed_links, wilson_dirac
from .dirac.matrix import (
    dense_matrix,
    has_checkerboard,
    neighbours,
    schur_complement,
    sparse_even_odd_blocks,
    sparse_matrices,
    sparse_schur_of,
)
from .dirac.slices import Slices, eliminated
from .dirac.solve import solutions, sparse_factors
from .sum import Additive

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Array = NDArray[np.float64]

EPSILON = 2.0**-52


def log_determinant(dirac: WilsonDirac, method: str = "auto") -> tuple[Array, Array]:
    """``log |det D|`` and the sign of ``det D``, which is real, each ``(chain,)``; ``-inf`` and 0 where D is singular.

    Singular is what LU cannot tell from it: the smallest pivot is below ``n eps`` of the largest, for n rows, ``eps = 2^-52``.

    Parameters
    ----------
    method : {"auto", "dense", "sparse"}
        LU factorisation of dense or sparse matrices, of D_sc for even extents, where ``det D = det D_sc`` (34), of D itself for
        others. ``auto``: elimination of time slices, ``dense`` for the chains where that would lose digits.
    """
    check_dirac(dirac)
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    if method == "auto":
        return _determinants(dirac, eliminated(dirac))
    halved = has_checkerboard(dirac)
    if method == "dense":
        dense = schur_complement(dirac) if halved else dense_matrix(dirac)
        log_abs, sign = np.array([_dense_log_determinant(matrix) for matrix in dense]).T
        return log_abs, sign
    matrices = [sparse_schur_of(*pair) for pair in sparse_even_odd_blocks(dirac)] if halved else sparse_matrices(dirac)
    log_abs, sign = np.array([_sparse_log_determinant(matrix) for matrix in matrices]).T
    return log_abs, sign


def link_response(dirac: WilsonDirac) -> ComplexArray:
    """``W_mu(x) = U_mu(x) tr_spin[D^-1(x + mu^, x) (1 - sigma_mu)]``, matrices in colour, ``(chain, 2, T, X, N, N)``.

    ``d log |det D| = 2 kappa Im tr(T W_mu(x)) d eps`` under ``U_mu(x) -> exp(i eps T) U_mu(x)``, for U(1) with ``T = 1``.
    NaN for a chain whose operator is singular.
    """
    return _response(dirac, eliminated(dirac))


def determinant_and_response(dirac: WilsonDirac) -> tuple[Array, ComplexArray]:
    """``log |det D|`` and `link_response`, from one elimination."""
    slices = eliminated(dirac)
    return _determinants(dirac, slices)[0], _response(dirac, slices)


@dataclass(frozen=True)
class WilsonDeterminant(Additive):
    """Two degenerate flavours of Wilson fermions: ``S = -2 log |det D|``, the weight ``det D^2`` (9).

    The force along generator a is ``-4 kappa Im tr(T_a W_mu(x))`` with `link_response` W; for U(1), ``T = 1``. The sign
    of ``det D`` may be either; it cancels in the weight, and `log_determinant` has it. Where D is singular (to
    rounding, see `log_determinant`) the action is infinite and the force NaN.

    Parameters
    ----------
    kappa : hopping parameter, finite and not negative. n : colours, 1 for U(1) links.
    antiperiodic : in time (the default), or periodic.
    """

    kappa: float
    n: int = 1
    antiperiodic: bool = True

    def __post_init__(self) -> None:
        check_fermions(self.kappa, self.n)
        check_flag("antiperiodic", self.antiperiodic)

    @property
    def angular(self) -> bool:
        """Whether links are angles: for n = 1."""
        return self.n == 1

    def action(self, x: NDArray[Any]) -> Array:
        """``S``, shape ``(chain,)``; raises `TypeError` or `ValueError` for what are no links of this group."""
        return -2 * log_determinant(self._checked(x))[0]

    def force(self, x: NDArray[Any]) -> Array:
        """``+ dS/d theta``, the shape of ``x``; for SU(n) by generators, ``(chain, 2, T, X, n^2 - 1)``."""
        return _force(self._checked(x))

    def action_and_force(self, x: NDArray[Any]) -> tuple[Array, Array]:
        """Both; ``x`` is taken as checked."""
        log, response = determinant_and_response(self._unchecked(x))
        return -2 * log, link_force(response, -4 * self.kappa)

    def dynamics(self, x: NDArray[Any], v: Array) -> DeterminantDynamics:
        """The action bound to the arrays of one trajectory."""
        return DeterminantDynamics(self, x, v)

    def _checked(self, x: NDArray[Any]) -> WilsonDirac:
        return wilson_dirac(check_fermion_links(x, self.n), self.kappa, antiperiodic=self.antiperiodic)

    def _unchecked(self, x: NDArray[Any]) -> WilsonDirac:
        return WilsonDirac(signed_links(x, antiperiodic=self.antiperiodic), self.kappa)


class DeterminantDynamics:
    """`WilsonDeterminant` bound to arrays ``x`` and ``v``: a kick needs no determinant, only the inverse."""

    def __init__(self, action: WilsonDeterminant, x: NDArray[Any], v: Array) -> None:
        self._action, self._x, self._v = action, x, v

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        self._v -= scale * _force(self._action._unchecked(self._x))

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        return self._action.action_and_force(self._x)


def link_force(response: ComplexArray, scale: float) -> Array:
    """``scale * Im tr(T_a W_mu(x))`` of matrices ``W`` as `link_response` has them, in the shape of the gauge force.

    For SU(N) ``(chain, 2, T, X, N^2 - 1)``: ``Im tr(T_a W)`` is half a coordinate of ``(W - W^dag)/2i``. For U(1)
    ``(chain, 2, T, X)``.
    """
    if response.shape[-1] == 1:
        return scale * response[..., 0, 0].imag
    w = components(response, 2)
    return field(coordinates((-0.25j * scale) * (w - dagger(w))), 1)


def check_fermions(kappa: float, n: int) -> None:
    """Raises `ValueError` unless ``kappa`` is finite and not negative, and ``n`` a number of colours."""
    check_number("kappa", kappa, 0)
    check_integer("n", n, 1)


def check_fermion_links(x: ArrayLike, n: int) -> NDArray[Any]:
    """``x`` as U(1) angles for n = 1, as SU(n) matrices otherwise; raises `TypeError` or `ValueError` for other fields."""
    return check_links(x) if n == 1 else check_matrix_links(x, n)


def _force(dirac: WilsonDirac) -> Array:
    """``-4 kappa Im tr(T_a W)``."""
    return link_force(link_response(dirac), -4 * dirac.kappa)


def _determinants(dirac: WilsonDirac, slices: Slices) -> tuple[Array, Array]:
    log, sign = slices.log_determinant()
    doubtful = ~slices.reliable
    if doubtful.any():
        log[doubtful], sign[doubtful] = log_determinant(_some(dirac, doubtful), "dense")
    return log, sign


def _response(dirac: WilsonDirac, slices: Slices) -> ComplexArray:
    traces = slices.traces()
    doubtful = ~slices.reliable
    if doubtful.any():
        traces[doubtful] = dense_traces(_some(dirac, doubtful))
    return dirac.links * traces if dirac.colours == 1 else dirac.links @ traces


def dense_traces(dirac: WilsonDirac) -> ComplexArray:
    """``tr_spin[D^-1(x + mu^, x) (1 - sigma_mu)]``, ``(chain, 2, T, X, N, N)``, from the whole inverse; NaN where D is singular."""
    matrix = dense_matrix(dirac)
    volume, n = dirac.shape[0] * dirac.shape[1], dirac.colours
    inverse = solutions(matrix, np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape))
    inverse = inverse.reshape(len(matrix), volume, 2, n, volume, 2, n)
    pairs = [inverse[:, ahead, :, :, np.arange(volume)] for ahead in neighbours(dirac.shape)]
    traces = np.einsum("mrcsatb,mts->cmrab", pairs, np.eye(2) - SIGMA)
    traces[np.isneginf(log_determinant(dirac, "dense")[0])] = np.nan  # rounding may hide it from the inverse
    return traces.reshape(len(matrix), 2, *dirac.shape, n, n)


def _some(dirac: WilsonDirac, chains: NDArray[np.bool_]) -> WilsonDirac:
    return WilsonDirac(dirac.links[chains], dirac.kappa)


def _sparse_log_determinant(matrix: csc_array) -> tuple[float, float]:
    """``log |det|`` and the sign of the real determinant of a sparse matrix, from its factors; ``-inf`` and 0 if singular."""
    factors = sparse_factors(matrix)
    if factors is None:
        return -np.inf, 0.0
    return _from_pivots(factors.U.diagonal(), _permutation_sign(factors.perm_r) * _permutation_sign(factors.perm_c))


def _dense_log_determinant(matrix: ComplexArray) -> tuple[float, float]:
    """The same of a dense one."""
    from scipy.linalg.lapack import zgetrf

    factors, swaps, _ = zgetrf(matrix)
    return _from_pivots(factors.diagonal(), (-1) ** int(np.count_nonzero(swaps != np.arange(len(swaps)))))


def _from_pivots(pivots: ComplexArray, permutation_sign: int) -> tuple[float, float]:
    """``log |det|`` and its sign; ``-inf`` and 0 where the smallest pivot may be rounding.

    LU is that of a matrix off by a few eps of the largest pivot (partial pivoting hardly grows here). A zero eigenvalue becomes
    that many eps; the last pivot is the inverse of an entry of the inverse, which is n times smaller for a mode spread out.
    """
    size = np.abs(pivots)
    if size.min() <= len(size) * EPSILON * size.max():
        return -np.inf, 0.0
    return float(np.log(size).sum()), float(np.sign((np.prod(pivots / size) * permutation_sign).real))


def _permutation_sign(permutation: NDArray[np.int32]) -> int:
    """``(-1)^(n - number of cycles)``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(permutation)
    cycles, _ = connected_components(coo_array((np.ones(n), (np.arange(n), permutation)), (n, n)))
    return (-1) ** (n - cycles)
