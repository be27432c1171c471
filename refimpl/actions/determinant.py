"""The exact determinant of the Wilson-Dirac operator, and the action of two flavours of quarks that are integrated out.

With ``z = tr[D^-1(x + mu^, x) (1 - sigma_mu) U_mu(x)]`` over spin and colour, the boundary sign in ``U``,
``d log det D / d theta_mu(x) = 2 kappa Im z``: the hops forward and back are complex conjugates by gamma5-hermiticity. All entries
of the inverse that occur connect even sites with odd ones, so that for even extents half the matrix is solved for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..groups.links import check_matrix_links
from ..groups.matrices import components, coordinates, dagger, field
from ..lattice import check_integer, check_links, check_number
from .dirac import SIGMA, ComplexArray, WilsonDirac, signed_links, wilson_dirac
from .dirac_matrix import (
    checkerboard,
    dense_matrix,
    even_odd_blocks,
    has_checkerboard,
    neighbours,
    schur_complement,
    schur_of,
    sparse_even_odd_blocks,
    sparse_matrices,
    sparse_schur_of,
)
from .dirac_solve import DENSE_ROWS, solutions, sparse_factors
from .sum import Additive

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Array = NDArray[np.float64]


def log_determinant(dirac: WilsonDirac, method: str = "auto") -> tuple[Array, Array]:
    """``log |det D|`` and the sign of ``det D``, which is real, each ``(chain,)``; ``-inf`` and 0 where D is singular.

    Through ``det D = det D_sc`` (34) for even extents, through D itself for others.

    Parameters
    ----------
    method : {"auto", "dense", "sparse"}
        LU factorisation of dense matrices, or sparse ones; ``auto`` takes what is faster at this size.
    """
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    halved = has_checkerboard(dirac)
    rows = dirac.shape[0] * dirac.shape[1] * 2 * dirac.colours // (1 + halved)
    if method == "dense" or (method == "auto" and rows < DENSE_ROWS):
        phase, log_abs = np.linalg.slogdet(schur_complement(dirac) if halved else dense_matrix(dirac))
        return log_abs, np.sign(phase.real)
    matrices = [sparse_schur_of(*pair) for pair in sparse_even_odd_blocks(dirac)] if halved else sparse_matrices(dirac)
    log_abs, sign = np.array([_sparse_log_determinant(matrix) for matrix in matrices]).T
    return log_abs, sign


def link_response(dirac: WilsonDirac) -> ComplexArray:
    """``W_mu(x) = U_mu(x) tr_spin[D^-1(x + mu^, x) (1 - sigma_mu)]``, matrices in colour, ``(chain, 2, T, X, N, N)``.

    ``d log |det D| = 2 kappa Im tr(T W_mu(x)) d eps`` under ``U_mu(x) -> exp(i eps T) U_mu(x)``, for U(1) with ``T = 1``.
    NaN for a chain whose operator is singular.
    """
    n = dirac.colours
    entries = (_even_odd_entries if has_checkerboard(dirac) else _dense_entries)(dirac)
    blocks = entries.reshape(2, *dirac.shape, len(dirac.links), 2, n, 2, n)
    # The spin trace, written out: 1 - sigma_mu has ones on its diagonal.
    trace = blocks[..., 0, :, 0, :] + blocks[..., 1, :, 1, :]
    for s, t in ((0, 1), (1, 0)):
        trace -= SIGMA[:, t, s][:, None, None, None, None, None] * blocks[..., s, :, t, :]
    return dirac.links @ trace.transpose(3, 0, 1, 2, 4, 5)


@dataclass(frozen=True)
class WilsonDeterminant(Additive):
    """Two degenerate flavours of Wilson fermions: ``S = -2 log |det D|``, the weight ``det D^2`` (9).

    The force along generator a is ``-4 kappa Im tr(T_a W_mu(x))`` with `link_response` W; for U(1), ``T = 1``. The sign
    of ``det D`` may be either; it cancels in the weight, and `log_determinant` has it. Where D is singular the action
    is infinite and the force NaN.

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
        dirac = self._unchecked(x)
        return -2 * log_determinant(dirac)[0], _force(dirac)

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


def _dense_entries(dirac: WilsonDirac) -> ComplexArray:
    """``D^-1(x + mu^, x)`` of all links, ``(2, V, chain, 2 N, 2 N)``, from the whole inverse."""
    matrix = dense_matrix(dirac)
    volume = dirac.shape[0] * dirac.shape[1]
    inverse = solutions(matrix, np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape))
    inverse = inverse.reshape(len(matrix), volume, 2 * dirac.colours, volume, -1)
    return np.stack([inverse[:, ahead, :, np.arange(volume), :] for ahead in neighbours(dirac.shape)])


def _even_odd_entries(dirac: WilsonDirac) -> ComplexArray:
    """As `_dense_entries`, from ``(D^-1)_eo = -D_sc^-1 D_eo`` and ``(D^-1)_oe = gamma5 (D^-1)_eo^dag gamma5``."""
    d_eo, d_oe = even_odd_blocks(dirac)
    n = dirac.colours
    parity, place = checkerboard(dirac.shape)
    half = parity.size // 2
    inverse = solutions(schur_of(d_eo, d_oe), d_eo).reshape(len(d_eo), half, 2 * n, half, 2 * n)
    even, odd, ahead = np.flatnonzero(parity == 0), np.flatnonzero(parity), neighbours(dirac.shape)
    signs = np.repeat([1, -1], n)
    entries = np.empty((2, parity.size, len(d_eo), 2 * n, 2 * n), np.complex128)
    entries[:, odd] = -inverse[:, place[ahead[:, odd]], :, place[odd], :]
    transposed = inverse[:, place[even], :, place[ahead[:, even]], :].swapaxes(-1, -2)
    entries[:, even] = -np.multiply.outer(signs, signs) * transposed.conj()
    return entries


def _sparse_log_determinant(matrix: csc_array) -> tuple[float, float]:
    """``log |det|`` and the sign of the real determinant of a sparse matrix, from its factors; ``-inf`` and 0 if singular."""
    factors = sparse_factors(matrix)
    if factors is None:
        return -np.inf, 0.0
    diagonal = factors.U.diagonal()
    size = np.abs(diagonal)
    phase = np.prod(diagonal / size) * _permutation_sign(factors.perm_r) * _permutation_sign(factors.perm_c)
    return float(np.log(size).sum()), float(np.sign(phase.real))


def _permutation_sign(permutation: NDArray[np.int32]) -> int:
    """``(-1)^(n - number of cycles)``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(permutation)
    cycles, _ = connected_components(coo_array((np.ones(n), (np.arange(n), permutation)), (n, n)))
    return (-1) ** (n - cycles)
