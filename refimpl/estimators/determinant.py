"""Estimators of ``det M = det D^2`` by Gaussian pseudofermions, ``M = D D^dag`` or ``D_sc D_sc^dag`` (Abbott 2022, III.D, III.E).

The determinant is a product over monomials m with kernels ``K_m`` (38; `refimpl.observables.monomial_eigenvalues`), and each
factor is an integral (10), ``det K = pi^-n int exp(-phi^dag K^-1 phi)`` over real and imaginary parts. With ``phi`` from the
density ``q = (pi c)^-n exp(-phi^dag phi/c)`` the weight of importance sampling is

``w = pi^-n exp(-phi^dag K^-1 phi) / q(phi) = c^n exp(-phi^dag (K^-1 - 1/c) phi)``, ``E w = det K`` (41).

Its laws are exact in the eigenvalues ``lam`` of ``K/c``: ``E w^k / c^(n k) = prod lam/(k - (k - 1) lam)``, finite only for
``lam_max < k/(k - 1)``. So the variance is finite for ``lam_max < 2``, that of the variance (an honest error bar) for
``lam_max < 4/3``. ``log w - n log c`` has mean ``tr(1 - c K^-1)`` and variance ``tr(c K^-1 - 1)^2`` always. The average of
``N_pf`` draws (42) divides the relative variance X_m of each monomial by ``N_pf``; the product of the averages (46) has
``prod_m (1 + X_m/N_pf) - 1``, which is (45) for one monomial only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions import SolverError, WilsonDirac
from ..actions.dirac import check_dirac
from ..actions.dirac.solve import sparse_factors
from ..lattice import check_integer, check_number, check_rngs
from ..observables.spectra import (
    chirality,
    eigenvalues,
    hermitian_matrix,
    monomial_eigenvalues,
    monomial_masses,
    sparse_hermitian_matrices,
)

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Generators = Sequence[np.random.Generator]

SPECTRAL_ROWS = 256  # from here on sparse factorisations, one per monomial, are faster than eigenvectors
RESIDUAL = 1e-8  # of |A psi - b| / |b|
NUMBERS = 1 << 21  # complex numbers of noise that are held at a time


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the spectrum says about the weights of each configuration.

    Attributes
    ----------
    lam_min, lam_max : ``(chain, monomial)``, of the kernels over their scales.
    finite_variance, finite_fourth_moment : ``(chain,)``: whether all ``lam_max < 2``, and ``< 4/3``.
    relative_variance : ``(chain,)``, exact, of one estimate (all monomials, ``N_pf`` draws of each); infinite where it is.
    log_mean, log_variance : ``(chain,)``, exact, of the logarithm of the estimate for ``N_pf = 1``; finite always.
    log_determinant : ``(chain,)``, exact: the logarithm of the expectation.
    """

    lam_min: Array
    lam_max: Array
    finite_variance: NDArray[np.bool_]
    finite_fourth_moment: NDArray[np.bool_]
    relative_variance: Array
    log_mean: Array
    log_variance: Array
    log_determinant: Array


def determinant_estimate(
    rngs: Generators,
    dirac: WilsonDirac,
    n: int,
    *,
    even_odd: bool = False,
    mus: Sequence[float] = (),
    mu_reg: float = 0.0,
    scales: float | Sequence[float] = 1.0,
    n_pf: int = 1,
    method: str = "auto",
    diagnose: bool = True,
) -> tuple[Array, Conditions | None]:
    """Logarithms of ``n`` independent estimates of ``det(M + mu_reg)``, ``(chain, n)``, and the conditions of their moments.

    ``exp(values)`` has the expectation ``det D^2`` for ``mu_reg = 0``. Each estimate is the product (46) over monomials of averages
    over ``n_pf`` weights, with noise of its own for every weight.

    Parameters
    ----------
    rngs : one Generator per chain. dirac : the operator. n : estimates per chain.
    even_odd, mus, mu_reg : the monomials, as in `refimpl.observables.hasenbusch_spectra`.
    scales : c of the Gaussian, one number or one per monomial; see `best_scale`.
    n_pf : draws of every monomial in one estimate.
    method : {"auto", "dense", "sparse"}
        Eigenvectors of the dense matrix, or sparse LU factors for each monomial; ``auto`` by size.
    diagnose : whether to return `Conditions`, for which all eigenvalues are needed, or None.

    Raises
    ------
    SolverError : where a kernel is singular. `ValueError` : wrong arguments, naming them.
    """
    check_dirac(dirac)
    n, n_pf = check_integer("n", n, 1), check_integer("n_pf", n_pf, 1)
    masses = monomial_masses(mus, mu_reg)
    c = _checked_scales(scales, len(masses))
    check_rngs(rngs, len(dirac.links))
    values = np.empty((len(rngs), n))
    for rng, row, forms in zip(rngs, values, _forms(dirac, masses, even_odd, method), strict=True):
        some = max(1, NUMBERS // (n_pf * len(masses) * forms.rows))
        for first in range(0, n, some):
            part = row[first : first + some]
            chi = complex_normal(rng, (len(part), len(masses), n_pf, forms.rows))
            part[:] = averaged_log_weight(gaussian_log_weights(chi, forms, c)).sum(axis=1)
    if not diagnose:
        return values, None
    return values, conditions(monomial_eigenvalues(eigenvalues(dirac, even_odd), mus, mu_reg), c, n_pf)


def gaussian_log_weights(chi: ComplexArray, forms: Forms, scales: Array) -> Array:
    """``log w = n log c + chi^dag chi - phi^dag K^-1 phi`` of ``phi = sqrt(c) chi``, for ``chi`` ``(draw, monomial, n_pf, n)``.

    ``chi`` is from ``pi^-n exp(-chi^dag chi)``; all but the last axis remain.
    """
    phi = np.sqrt(scales)[:, None, None] * chi
    return chi.shape[-1] * np.log(scales)[:, None] + _squares(chi) - forms(phi)


def averaged_log_weight(log_weights: ArrayLike) -> Array:
    """``log (1/N_pf) sum_i w_i`` (42) over the last axis, without overflow; ``-inf`` where all weights vanish."""
    log_weights = np.asarray(log_weights, dtype=np.float64)
    top = log_weights.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return top[..., 0] + np.log(np.exp(log_weights - top).mean(axis=-1))


def monomial_forms(
    dirac: WilsonDirac,
    phi: ArrayLike,
    *,
    even_odd: bool = False,
    mus: Sequence[float] = (),
    mu_reg: float = 0.0,
    method: str = "auto",
) -> Array:
    """``phi^dag K_m^-1 phi`` of every monomial, for ``phi`` complex ``(chain, draw, monomial, n)``; ``(chain, draw, monomial)``.

    Rows n are those of D, or of its even sites. Minus this and ``n log pi`` is the logarithm of the density ``p(phi|U)`` of (41)
    that a model ``q(phi|U)`` of any kind is compared with.
    """
    masses = monomial_masses(mus, mu_reg)
    phi = np.asarray(phi)
    rows = dirac.shape[0] * dirac.shape[1] * 2 * dirac.colours // (1 + even_odd)
    expected = (len(dirac.links), "draw", len(masses), rows)
    if phi.ndim != 4 or (phi.shape[0], *phi.shape[2:]) != (expected[0], *expected[2:]):
        raise ValueError(f"phi: got shape {phi.shape}, expected {expected}")
    if phi.dtype != np.complex128:
        raise TypeError(f"phi: got dtype {phi.dtype}, expected complex128")
    forms = _forms(dirac, masses, even_odd, method)
    return np.array([form(one[:, :, None])[..., 0] for form, one in zip(forms, phi, strict=True)])


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> ComplexArray:
    """Numbers of density ``exp(-|z|^2)/pi``."""
    return rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0] * math.sqrt(0.5)


def log_moment(lams: ArrayLike, k: float) -> Array:
    """``log E w^k = sum log lam/(k - (k - 1) lam)`` over the last axis, for the scale 1; infinite where it diverges."""
    lams = np.asarray(lams, dtype=np.float64)
    rest = k - (k - 1) * lams
    finite = (rest > 0).all(axis=-1)
    total = np.log(lams) - np.log(np.where(rest > 0, rest, 1.0))
    return np.where(finite, total.sum(axis=-1), np.inf)


def finite_moment(lams: ArrayLike, k: float) -> NDArray[np.bool_]:
    """Whether ``E w^k`` is finite: ``lam_max < k/(k - 1)`` over the last axis, for ``k > 1``."""
    return np.asarray(np.asarray(lams).max(axis=-1) < k / (k - 1))


def relative_variance(lams: ArrayLike) -> Array:
    """``Var w / (E w)^2 = prod 1/(lam (2 - lam)) - 1`` over the last axis; infinite where some ``lam >= 2``."""
    deviation = 1 - np.asarray(lams, dtype=np.float64)  # lam (2 - lam) = 1 - (1 - lam)^2
    finite = np.asarray((np.abs(deviation) < 1).all(axis=-1))
    inside = np.where(finite[..., None], deviation, 0.0)
    with np.errstate(over="ignore"):
        return np.where(finite, np.expm1(-np.log1p(-(inside**2)).sum(axis=-1)), np.inf)


def relative_variance_of_average(variances: ArrayLike, n_pf: int) -> Array:
    """``prod_m (1 + X_m/N_pf) - 1`` over the last axis, monomials: of the product (46) of averages over ``N_pf`` draws."""
    variances = np.asarray(variances, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.expm1(np.log1p(variances / n_pf).sum(axis=-1))


def log_mean(lams: ArrayLike) -> Array:
    """``E log w = tr(1 - K^-1)`` over the last axis, for the scale 1."""
    return (1 - 1 / np.asarray(lams, dtype=np.float64)).sum(axis=-1)


def log_variance(lams: ArrayLike) -> Array:
    """``Var log w = tr(K^-1 - 1)^2`` over the last axis, for any scale."""
    return ((1 / np.asarray(lams, dtype=np.float64) - 1) ** 2).sum(axis=-1)


def best_scale(lams: ArrayLike) -> float:
    """The scale c with the least relative variance for eigenvalues ``lams`` of a kernel: above ``lam_max/2``, so that it is finite.

    ``- sum log(s lam) - sum log(2 - s lam)`` is convex in ``s = 1/c``; its slope is bisected. Eigenvalues of several
    configurations together give one scale for them all. A scale may depend on the gauge field, never on the noise.
    """
    return float(best_scales(np.ravel(lams)))


def best_scales(lams: ArrayLike) -> Array:
    """`best_scale` of the eigenvalues along the last axis, for each of the others."""
    lams = np.asarray(lams, dtype=np.float64)
    if not lams.size or not np.all(np.isfinite(lams)) or lams.min() <= 0:
        raise ValueError("lams: got none, or some that are not finite and positive, expected eigenvalues of a kernel")
    low, high = np.zeros(lams.shape[:-1]), 2 / lams.max(axis=-1)
    for _ in range(100):
        s = (low + high) / 2
        with np.errstate(divide="ignore"):
            slope = (lams / (2 - s[..., None] * lams)).sum(axis=-1) - lams.shape[-1] / s
        low, high = np.where(slope < 0, s, low), np.where(slope < 0, high, s)
    return 1 / low


def conditions(kernels: Array, scales: ArrayLike = 1.0, n_pf: int = 1) -> Conditions:
    """`Conditions` from the eigenvalues ``(chain, monomial, n)`` of kernels."""
    c = np.broadcast_to(np.asarray(scales, dtype=np.float64), kernels.shape[1:2])
    lams = kernels / c[:, None]
    size = kernels.shape[-1]
    return Conditions(
        lam_min=lams.min(axis=-1),
        lam_max=lams.max(axis=-1),
        finite_variance=np.all(finite_moment(lams, 2), axis=-1),
        finite_fourth_moment=np.all(finite_moment(lams, 4), axis=-1),
        relative_variance=relative_variance_of_average(relative_variance(lams), n_pf),
        log_mean=log_mean(lams).sum(axis=-1) + size * float(np.log(c).sum()),
        log_variance=log_variance(lams).sum(axis=-1),
        log_determinant=np.log(kernels).sum(axis=(-2, -1)),
    )


class Forms(ABC):
    """``phi^dag K_m^-1 phi`` of one configuration, for ``phi`` ``(draw, monomial, n_pf, n)``; all but the last axis remain.

    With ``Q = gamma5 D`` Hermitian, ``phi^dag (M + mu)^-1 phi = |(Q + i sqrt(mu))^-1 gamma5 phi|^2``: one solution for each mass.
    """

    def __init__(self, masses: Sequence[tuple[float, float | None]], gamma5: Array) -> None:
        self._masses, self._gamma5 = masses, gamma5

    @property
    def rows(self) -> int:
        """Complex numbers of a field."""
        return len(self._gamma5)

    def __call__(self, phi: ComplexArray) -> Array:
        out = np.empty(phi.shape[:-1])
        for m, (mu, after) in enumerate(self._masses):
            field = phi[:, m]
            inverse = self._inverse_form(m, (self._gamma5 * field).reshape(-1, self.rows)).reshape(field.shape[:-1])
            out[:, m] = inverse if after is None else _squares(field) + (after - mu) * inverse
        return out

    @abstractmethod
    def _inverse_form(self, m: int, phi: ComplexArray) -> Array:
        """``phi^dag (Q^2 + mu_m)^-1 phi`` for ``phi`` ``(draw, n)``."""


class SpectralForms(Forms):
    """From eigenvalues and eigenvectors of Q."""

    def __init__(self, masses: Sequence[tuple[float, float | None]], gamma5: Array, matrix: ComplexArray) -> None:
        super().__init__(masses, gamma5)
        values, self._vectors = np.linalg.eigh(matrix)
        self._squared = values**2
        if masses[0][0] == 0 and self._squared.min() <= (values.size * np.finfo(float).eps) ** 2 * self._squared.max():
            raise SolverError("determinant_estimate: got a singular operator, expected a regular one")

    def _inverse_form(self, m: int, phi: ComplexArray) -> Array:
        parts = phi @ self._vectors.conj()
        return (parts.real**2 + parts.imag**2) @ (1 / (self._squared + self._masses[m][0]))


class SparseForms(Forms):
    """From sparse LU factors of ``Q + i sqrt(mu)`` for each mass, with residuals checked."""

    def __init__(self, masses: Sequence[tuple[float, float | None]], gamma5: Array, matrix) -> None:  # type: ignore[no-untyped-def]
        from scipy.sparse import csc_array, dia_array

        super().__init__(masses, gamma5)
        one = dia_array((np.ones((1, self.rows)), [0]), shape=matrix.shape)
        self._matrices = [csc_array(matrix + 1j * math.sqrt(mu) * one) for mu, _ in masses]
        self._factors = [sparse_factors(shifted) for shifted in self._matrices]

    def _inverse_form(self, m: int, phi: ComplexArray) -> Array:
        factors = self._factors[m]
        if factors is None:
            raise SolverError("determinant_estimate: got a singular operator, expected a regular one")
        right = np.ascontiguousarray(phi.T)
        solution = factors.solve(right)
        defect, size = np.abs(self._matrices[m] @ solution - right).max(), np.abs(right).max()
        if not defect <= RESIDUAL * size:
            raise SolverError(
                f"determinant_estimate: got a residual of {defect:.1e} for |phi| = {size:.1e}, expected at most {RESIDUAL:g} "
                "of it; D is singular or nearly so"
            )
        return _squares(solution.T)


def _forms(
    dirac: WilsonDirac, masses: Sequence[tuple[float, float | None]], even_odd: bool, method: str
) -> Iterator[Forms]:
    """`Forms` of one chain after the other."""
    if method not in ("auto", "dense", "sparse"):
        raise ValueError(f"method: got {method!r}, expected 'auto', 'dense' or 'sparse'")
    gamma5 = chirality(dirac, even_odd=even_odd)
    if method == "dense" or (method == "auto" and gamma5.size < SPECTRAL_ROWS):
        return (SpectralForms(masses, gamma5, q) for q in hermitian_matrix(dirac, even_odd=even_odd))
    return (SparseForms(masses, gamma5, q) for q in sparse_hermitian_matrices(dirac, even_odd=even_odd))


def _squares(phi: ComplexArray) -> Array:
    """``phi^dag phi`` over the last axis."""
    return (phi.real**2 + phi.imag**2).sum(axis=-1)


def _checked_scales(scales: float | Sequence[float], n_monomials: int) -> Array:
    single = np.ndim(scales) == 0
    values = [cast(float, scales)] * n_monomials if single else list(cast(Sequence[float], scales))
    if len(values) != n_monomials:
        raise ValueError(f"scales: got {len(values)}, expected one or one for each of {n_monomials} monomials")
    return np.array([check_number("scales", c, 0, above=True) for c in values])
