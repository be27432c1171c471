"""Pseudoscalar correlator, its effective mass, and the chiral condensate, from inverses of the Wilson-Dirac operator.

Everything is a function of a `WilsonDirac` (`refimpl.actions.wilson_dirac` of a gauge field), U(1) and SU(N) alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions import SolverError, WilsonDirac
from ..actions.dirac import check_dirac
from ..actions.dirac.matrix import (
    dense_matrix,
    has_checkerboard,
    schur_complement,
    sparse_even_odd_blocks,
    sparse_matrices,
    sparse_schur_of,
)
from ..actions.dirac.solve import DENSE_ROWS, sparse_factors, sparse_solutions
from ..lattice import check_integer, check_rngs

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Generators = Sequence[np.random.Generator]

# Of |D S - 1|: LU is backward stable, so that more than this says an inverse of size 1e8, and no digits in its squares.
TOLERANCE = 1e-8
BISECTIONS = 60  # halve an interval of length log 2 below the spacing of floats


def pseudoscalar_correlator(dirac: WilsonDirac, sources: str | int = "all", method: str = "auto") -> Array:
    """Pion correlator ``C(t) = sum_(x, x0) tr S S^dag`` with ``S = D^-1(t0 + t, x; t0, x0)``, averaged over ``t0``; ``(chain, T)``.

    That is (C3) with ``- gamma5 S gamma5 S`` made positive by gamma5-hermiticity; the trace is over spin and colour. (C3) sums over
    all ``X`` sites of one source slice; ``sources="all"`` averages over the slices. A number takes so many point sources,
    spread evenly over the lattice, and multiplies their mean by ``X``: unbiased in an ensemble, as the theory is
    translation invariant (the boundary sign moves with a gauge transformation and drops out of ``S S^dag``).

    Parameters
    ----------
    sources : "all", or the number of point sources from 1 to ``V``.
    method : {"auto", "dense", "sparse"}
        LU of the dense matrix, or sparse LU with many right-hand sides; ``auto`` takes what is faster at this size.

    Raises
    ------
    SolverError : where an operator is singular or nearly so. `ValueError` : wrong arguments.
    """
    check_dirac(dirac)
    n_t, n_x = dirac.shape
    if sources != "all" and isinstance(sources, str):
        raise ValueError(f"sources: got {sources!r}, expected 'all' or a number of point sources")
    volume = n_t * n_x
    count = volume if isinstance(sources, str) else check_integer("sources", sources, 1, volume)
    sites = np.arange(count) * volume // count
    columns = propagator(dirac, sites, method).reshape(len(dirac.links), n_t, -1, count, 2 * dirac.colours)
    squares = (columns.real**2 + columns.imag**2).sum(axis=(2, 4))  # (chain, sink time, source)
    by_distance = [np.roll(squares[:, :, k], -(site // n_x), axis=1) for k, site in enumerate(sites)]
    return n_x * np.mean(by_distance, axis=0)


def propagator(dirac: WilsonDirac, sites: ArrayLike, method: str = "auto") -> ComplexArray:
    """``S = D^-1`` from these sites (numbers ``t X + x``): ``(chain, 2 N V, sites, 2 N)``; refuses singular operators."""
    volume, width = dirac.shape[0] * dirac.shape[1], 2 * dirac.colours
    sites = np.asarray(sites)
    columns = (width * sites[:, None] + np.arange(width)).ravel()
    right = np.zeros((volume * width, columns.size), np.complex128)
    right[columns, np.arange(columns.size)] = 1
    inverse = _solutions(dirac, np.broadcast_to(right, (len(dirac.links), *right.shape)), method)
    return inverse.reshape(len(inverse), len(right), sites.size, width)


def effective_mass(correlator: ArrayLike) -> Array:
    """``m(t)`` of ``C(t)/C(t + 1) = cosh(m (t - T/2))/cosh(m (t + 1 - T/2))`` for ``t = 0, ..., T - 2``, last axis ``T``.

    With ``a`` the larger and ``b`` the smaller distance from ``T/2``, ``log cosh(m a) - log cosh(m b)`` grows from 0 at
    ``m = 0`` and lies between ``m (a - b) - log 2`` and ``m (a - b)``: bisection between these finds the one solution. NaN where
    there is none (a ratio on the wrong side of 1, a correlator that is not positive) and in the middle of an odd ``T``.

    Parameters
    ----------
    correlator : ``(T,)`` or ``(chain, T)`` or with more axes in front. Means over an ensemble, not single fields, have masses.
    """
    c = np.asarray(correlator, dtype=np.float64)
    if c.ndim < 1 or c.shape[-1] < 2:
        raise ValueError(f"correlator: got shape {c.shape}, expected a last axis of at least two times")
    extent = c.shape[-1]
    distance = np.abs(np.arange(extent) - extent / 2)
    a, b = np.maximum(distance[:-1], distance[1:]), np.minimum(distance[:-1], distance[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_c = np.where(c > 0, np.log(c), np.nan)
        ratio = log_c[..., :-1] - log_c[..., 1:]
        ratio = np.where(distance[:-1] > distance[1:], ratio, -ratio)
        low = np.where((ratio >= 0) & np.isfinite(ratio) & (a > b), ratio / (a - b), np.nan)
        high = np.where(ratio > 0, low + np.log(2) / (a - b), low)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = _log_cosh_ratio(middle, a, b) > ratio
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _log_cosh_ratio(m: Array, a: Array, b: Array) -> Array:
    """``log cosh(m a) - log cosh(m b)`` for ``m``, ``a``, ``b`` not negative, without overflow."""
    return m * (a - b) + np.log1p(np.exp(-2 * m * a)) - np.log1p(np.exp(-2 * m * b))


class EffectiveMass(NamedTuple):
    """``m(t)`` of the mean correlator with jackknife errors, each ``(T - 1,)``; NaN where there is none."""

    value: Array
    error: Array


def effective_mass_estimate(correlators: ArrayLike, bins: int = 50) -> EffectiveMass:
    """Effective mass of the mean over steps and chains, with the error of a jackknife over blocks.

    Blocks are groups of chains, which are independent, where there are at least ``bins`` of them; else they are ``bins`` stretches
    of the run, all chains together, which must be longer than the autocorrelation time. Fewer bins where there is less data.
    The error is NaN where a mean without one block has no mass.

    Parameters
    ----------
    correlators : ``(step, chain, T)``.
    """
    data = np.asarray(correlators, dtype=np.float64)
    if data.ndim != 3 or data.shape[2] < 2 or max(data.shape[:2]) < 2 or 0 in data.shape:
        raise ValueError(f"correlators: got shape {data.shape}, expected (step, chain, T) with two steps or chains")
    bins = check_integer("bins", bins, 2)
    axis = 1 if data.shape[1] >= bins or data.shape[1] > data.shape[0] else 0
    means = data.mean(axis=1 - axis)
    blocks = np.array_split(means, min(bins, len(means)))
    total = means.sum(axis=0)
    left_out = np.array([(total - block.sum(axis=0)) / (len(means) - len(block)) for block in blocks])
    error = np.sqrt((len(blocks) - 1) * effective_mass(left_out).var(axis=0))
    return EffectiveMass(effective_mass(total / len(means)), error)


def chiral_condensate(dirac: WilsonDirac, method: str = "auto") -> Array:
    """``tr D^-1 / (2 N V)``, ``(chain,)``: real, 1 at ``kappa = 0``.

    Positive for heavy quarks: ``<psi-bar psi> = - tr D^-1`` per flavour has the other sign. For fields with the normalisation
    ``D = m0 + 2 - ...`` the value is to be multiplied by ``2 kappa``. For even extents ``tr D^-1 = 2 tr D_sc^-1``.

    Raises
    ------
    SolverError : where an operator is singular or nearly so. `ValueError` : wrong arguments.
    """
    halved = has_checkerboard(dirac)
    volume, width = dirac.shape[0] * dirac.shape[1], 2 * dirac.colours
    rows = volume * width // (1 + halved)
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    if method == "dense" or (method == "auto" and rows < DENSE_ROWS):
        matrix = schur_complement(dirac) if halved else dense_matrix(dirac)
        right = np.broadcast_to(np.eye(rows, dtype=np.complex128), matrix.shape)
        inverse = _checked(matrix, _solved(matrix, right), right)
        return np.einsum("cii->c", inverse).real / rows
    matrices = [sparse_schur_of(*pair) for pair in sparse_even_odd_blocks(dirac)] if halved else sparse_matrices(dirac)
    one = np.eye(rows, dtype=np.complex128)
    return np.array([np.trace(_factorised(matrix, one)).real / rows for matrix in matrices])


def chiral_condensate_estimate(rngs: Generators, dirac: WilsonDirac, n: int) -> Array:
    """Unbiased estimates ``Re z^dag D^-1 z / (2 N V)`` of `chiral_condensate` with Z2 noise ``z = +-1``; ``(chain, n)``.

    The variance is that of the elements off the diagonal: ``sum_(i<j) (Re (A_ij + A_ji))^2 / (2 N V)^2`` for ``A = D^-1``.
    Raises `SolverError` where an operator is singular or nearly so.
    """
    n = check_integer("n", n, 1)
    check_rngs(rngs, len(dirac.links))
    rows = dirac.shape[0] * dirac.shape[1] * 2 * dirac.colours
    noise = np.array([2.0 * rng.integers(0, 2, (n, rows)) - 1 for rng in rngs])
    solution = _solutions(dirac, noise.swapaxes(1, 2) + 0j, "auto")
    return (noise * solution.real.swapaxes(1, 2)).mean(axis=2)


def _solutions(dirac: WilsonDirac, right: ComplexArray, method: str) -> ComplexArray:
    """``D^-1 b`` for right-hand sides ``(chain, n, k)``, each matrix factorised once."""
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    if method == "dense" or (method == "auto" and right.shape[1] < DENSE_ROWS):
        matrix = dense_matrix(dirac)
        return _checked(matrix, _solved(matrix, right), right)
    return sparse_solutions(dirac, right, _factorised)


def _solved(matrix: ComplexArray, right: ComplexArray) -> NDArray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        raise SolverError("propagator: got a singular operator, expected a regular one") from None


def _factorised(matrix: csc_array, right: ComplexArray) -> ComplexArray:
    factors = sparse_factors(matrix)
    if factors is None:
        raise SolverError("propagator: got a singular operator, expected a regular one")
    return _checked(matrix, factors.solve(right), right)


def _checked(matrix: csc_array | ComplexArray, solution: ComplexArray, right: ComplexArray) -> ComplexArray:
    defect = np.abs(matrix @ solution - right).max()
    if not defect <= TOLERANCE:
        raise SolverError(
            f"propagator: got |D S - 1| = {defect:.1e}, expected at most {TOLERANCE:g}; D is singular or nearly so"
        )
    return solution
