"""Hutchinson's estimator of ``log det M = tr log M = 2 log |det D|``: ``z^dag log(M) z`` with noise of ``E z z^dag = 1``.

With the exact logarithm it is unbiased for ``log det M``. With k steps of Lanczos it is the Gauss rule of k nodes for the
spectral measure of z, unbiased for the mean of that rule. The even derivatives of the logarithm are negative and the odd ones
positive, so that the rule lies above ``z^dag log(M) z``, and the rule of Gauss and Radau with one more node fixed at
``floor <= lam_min`` below: their difference is a rigorous remainder (Golub and Meurant), which every estimate is given with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import SolverError, WilsonDirac
from ..actions.dirac import check_dirac
from ..actions.dirac.matrix import even_odd_indices
from ..lattice import check_integer, check_rngs
from ..observables.spectra import chirality, extreme_eigenvalues, hermitian_matrix
from .determinant import complex_normal

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Generators = Sequence[np.random.Generator]

NOISES = ("z2", "gaussian")
BELOW = 1 - 1e-6  # times the smallest eigenvalue is below it, whatever the rounding


@dataclass(frozen=True, eq=False)
class Quadrature:
    """How good the estimates are.

    Attributes
    ----------
    remainder : ``(chain, n)``: an estimate is above ``z^dag log(M) z`` by at most this; 0 for the exact logarithm.
    variance : ``(chain,)``, exact, of the estimates of the exact logarithm ``A = log M``: ``2 sum_(i != j) (Re A_ij)^2`` for Z2
        noise, ``tr A^2`` for Gaussian; None where Lanczos was used, which does not know it.
    log_determinant : ``(chain,)``, exact: the expectation; None as above.
    """

    remainder: Array
    variance: Array | None = None
    log_determinant: Array | None = None


def log_determinant_estimate(
    rngs: Generators,
    dirac: WilsonDirac,
    n: int,
    *,
    even_odd: bool = False,
    steps: int | None = None,
    noise: str = "z2",
) -> tuple[Array, Quadrature]:
    """``n`` independent estimates of ``log det D^2``, ``(chain, n)``, and their `Quadrature`.

    Parameters
    ----------
    rngs : one Generator per chain. dirac : the operator. n : noise vectors per chain.
    even_odd : ``M = D_sc D_sc^dag`` on the even sites instead of ``D D^dag``: the same determinant, less variance.
    steps : None for the exact logarithm, from all eigenvectors; else of Lanczos, each two applications of D.
    noise : {"z2", "gaussian"}
        Entries +-1, or complex normal numbers.

    Raises
    ------
    SolverError : where the operator is singular. `ValueError` : wrong arguments, naming them.
    """
    check_dirac(dirac)
    n = check_integer("n", n, 1)
    if noise not in NOISES:
        raise ValueError(f"noise: got {noise!r}, expected one of {', '.join(NOISES)}")
    check_rngs(rngs, len(dirac.links))
    rows = chirality(dirac, even_odd=even_odd).size
    z = np.array([_noise(rng, (n, rows), noise) for rng in rngs])
    if steps is None:
        return exact_estimates(dirac, z, even_odd, noise)
    low, high = extreme_eigenvalues(dirac, even_odd).T
    if np.any(low <= (rows * np.finfo(float).eps) ** 2 * high):
        raise SolverError("log_determinant_estimate: got a singular operator, expected a regular one")
    apply, k = normal_operator(dirac, even_odd), check_integer("steps", steps, 1)
    rules = [lanczos_quadrature(apply, z[:, i], k, BELOW * low) for i in range(n)]
    gauss, radau = (np.array([rule[j] for rule in rules]).T for j in (0, 1))
    return gauss, Quadrature(gauss - radau)


def lanczos_quadrature(
    apply: Callable[[ComplexArray], ComplexArray], z: ComplexArray, steps: int, floor: Array
) -> tuple[Array, Array]:
    """An upper and a lower bound of ``z^dag log(M) z`` per chain: Gauss rule and Gauss-Radau rule with a node at ``floor``.

    Parameters
    ----------
    apply : ``M psi`` for ``psi`` ``(chain, n)``, Hermitian and positive. z : ``(chain, n)``. steps : of Lanczos.
    floor : ``(chain,)``, positive, at most the smallest eigenvalue.
    """
    size = _norms(z)
    v, basis = z / size[:, None], np.empty((0, *z.shape), np.complex128)
    alphas, betas = np.zeros((2, len(z), steps))
    for k in range(steps):
        basis = np.concatenate([basis, v[None]])
        w = apply(v)
        alphas[:, k] = (v.conj() * w).sum(axis=1).real
        scale = _norms(w)
        for _ in range(2):  # rounding makes vectors that are not orthogonal, and nodes that occur twice
            w = w - ((basis.conj() * w).sum(axis=2)[:, :, None] * basis).sum(axis=0)
        betas[:, k] = _norms(w)
        ended = betas[:, k] <= 1e-12 * scale  # the space of z is exhausted: what follows has no weight
        betas[ended, k] = 0
        v = np.divide(w, betas[:, k, None], out=np.zeros_like(w), where=~ended[:, None])
    dead = np.zeros(alphas.shape, bool)
    dead[:, 1:] = np.cumsum(betas[:, :-1] == 0, axis=1) > 0
    alphas = np.where(dead, 2 * floor[:, None] + 1, alphas)
    shifted = _tridiagonal(alphas - floor[:, None], betas[:, :-1])
    unit = np.zeros((len(z), steps, 1))
    unit[:, -1, 0] = betas[:, -1] ** 2
    last = floor + np.linalg.solve(shifted, unit)[:, -1, 0]
    radau = _tridiagonal(np.concatenate([alphas, last[:, None]], axis=1), betas)
    rules = _rule(_tridiagonal(alphas, betas[:, :-1])), _rule(radau)
    return size**2 * rules[0], size**2 * rules[1]


def exact_estimates(dirac: WilsonDirac, z: ComplexArray, even_odd: bool, noise: str) -> tuple[Array, Quadrature]:
    """``z^dag log(M) z`` of given noise ``(chain, n, rows)``, of the kind that the variance is to be told for."""
    values, vectors = np.linalg.eigh(hermitian_matrix(dirac, even_odd=even_odd))
    logs = np.log(np.maximum(values**2, np.finfo(float).tiny))
    if np.abs(values).min(axis=1).min() <= values.shape[1] * np.finfo(float).eps * np.abs(values).max():
        raise SolverError("log_determinant_estimate: got a singular operator, expected a regular one")
    gamma5 = chirality(dirac, even_odd=even_odd)
    parts = (gamma5 * z) @ vectors.conj()
    estimates = np.einsum("cni,ci->cn", parts.real**2 + parts.imag**2, logs)
    if noise == "gaussian":
        variance = (logs**2).sum(axis=1)
    else:
        logarithm = ((vectors * logs[:, None]) @ vectors.conj().swapaxes(1, 2)).real
        diagonal = np.einsum("cii->ci", logarithm)
        variance = 2 * ((logarithm**2).sum(axis=(1, 2)) - (diagonal**2).sum(axis=1))
    return estimates, Quadrature(np.zeros_like(estimates), variance, logs.sum(axis=1))


def normal_operator(dirac: WilsonDirac, even_odd: bool) -> Callable[[ComplexArray], ComplexArray]:
    """``D D^dag psi``, or ``D_sc D_sc^dag psi`` on the even sites, for ``psi`` ``(chain, n)``."""
    shape = dirac.spinor_shape

    def whole(psi: ComplexArray) -> ComplexArray:
        return dirac.apply(dirac.adjoint(psi.reshape(shape))).reshape(len(psi), -1)

    if not even_odd:
        return whole
    even, gamma5 = even_odd_indices(dirac)[0], chirality(dirac)

    def halved(psi: ComplexArray) -> ComplexArray:
        field = np.zeros((len(psi), gamma5.size), np.complex128)
        field[:, even] = gamma5[even] * psi
        for _ in range(2):
            field = gamma5 * dirac.schur(field.reshape(shape)).reshape(len(psi), -1)
        return gamma5[even] * field[:, even]

    return halved


def _noise(rng: np.random.Generator, shape: tuple[int, ...], noise: str) -> ComplexArray:
    if noise == "gaussian":
        return complex_normal(rng, shape)
    return (2 * rng.integers(0, 2, shape) - 1).astype(np.complex128)


def _norms(psi: ComplexArray) -> Array:
    return np.sqrt((psi.real**2 + psi.imag**2).sum(axis=1))


def _tridiagonal(diagonal: Array, beside: Array) -> Array:
    """Symmetric matrices ``(chain, k, k)``."""
    matrix = np.zeros((*diagonal.shape, diagonal.shape[1]))
    k = np.arange(diagonal.shape[1])
    matrix[:, k, k] = diagonal
    matrix[:, k[1:], k[:-1]] = matrix[:, k[:-1], k[1:]] = beside
    return matrix


def _rule(matrix: Array) -> Array:
    """``e_1^T log(T) e_1``: nodes are eigenvalues, weights the squared first components of eigenvectors."""
    nodes, vectors = np.linalg.eigh(matrix)
    return (vectors[:, 0] ** 2 * np.log(nodes)).sum(axis=1)
