"""What a Gaussian conditional ``q(phi|U) = CN(0, Dt Dt^dag)`` is worth at fixed U, exactly (Abbott 2022, eqs. 22, 41-46).

The field of a monomial ``S = phi^dag P phi``, P its precision and ``K = P^-1`` its kernel, is drawn as ``phi = Dt chi`` with chi
from ``pi^-n exp(-chi^dag chi)``, so that ``log q = -n log pi - chi^dag chi - 2 log |det Dt|``. The weight

``pi^-n exp(-phi^dag P phi) / q(phi) = |det Dt|^2 exp(-chi^dag (W - 1) chi)``, ``W = Dt^dag P Dt``, has the mean ``det K`` (41),

and the eigenvalues w of W, ``(chain, monomial, n)`` here, say everything about it: in their basis ``|chi_i|^2 = e_i`` is Exp(1),

``log [weight / det K] = sum log w_i - sum (w_i - 1) e_i``,  ``E [weight / det K]^k = prod w_i^k/(k w_i - (k - 1))``,

finite only where ``k w_min > k - 1``. So ``KL(q || p) = sum (w_i - 1 - log w_i)``, always finite, and the relative variance is
``X = prod w_i^2/(2 w_i - 1) - 1`` where ``w_min > 1/2`` (where ``2 P - (Dt Dt^dag)^-1`` is positive), infinite elsewhere. The laws
are those of `refimpl.estimators.determinant` at ``lam = 1/w``. A perfect conditional has w = 1.

Over fields U from q(U) with marginal weights w(U), ``N_pf`` draws of every monomial (46) leave the share

``1/ESS(N_pf) = <w^2 prod_m (1 + X_m/N_pf)> / <w>^2``

of each draw, which is ``(1 + C/N_pf)/ESS(inf)``, ``C = <w^2 X>/<w^2>``, of one monomial (45). An inflation ``Dt -> c Dt`` makes
``W -> c^2 W``: some c makes the variance finite on as many fields as one likes, at a price in KL, and c(U) on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lattice import check_integer, check_number, check_rngs
from . import determinant, reweighting

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Generators = Sequence[np.random.Generator]


def weight_matrix(transform: ComplexArray, precision: ComplexArray) -> ComplexArray:
    """``W = Dt^dag P Dt`` of dense matrices ``(..., n, n)``, Hermitian to the bit."""
    product = _adjoint(transform) @ precision @ transform
    return (product + _adjoint(product)) / 2


def weight_eigenvalues(matrices: ArrayLike) -> Array:
    """The eigenvalues w, ascending, ``(..., n)``, of weight matrices W ``(..., n, n)``; `ValueError` where one is not positive."""
    return _checked(np.linalg.eigvalsh(np.asarray(matrices, np.complex128)))


def smallest_curvature(transform: ComplexArray, precision: ComplexArray) -> Array:
    """The smallest eigenvalue of ``2 P - (Dt Dt^dag)^-1`` (dense, ``(..., n, n)``): above 0 where the variance is finite."""
    inverse = np.asarray(np.linalg.inv(transform), np.complex128)
    form = 2 * precision - _adjoint(inverse) @ inverse
    return np.asarray(np.linalg.eigvalsh((form + _adjoint(form)) / 2)[..., 0], np.float64)


def kl(w: ArrayLike) -> Array:
    """``KL(q || p) = sum (w - 1 - log w)`` over the last axis."""
    rest = _checked(w) - 1
    return (rest - np.log1p(rest)).sum(axis=-1)


def log_variance(w: ArrayLike) -> Array:
    """``Var log weight = sum (w - 1)^2`` over the last axis, finite always."""
    return determinant.log_variance(1 / _checked(w))


def log_moment(w: ArrayLike, k: float) -> Array:
    """``log E [weight/det K]^k`` over the last axis; infinite where it diverges."""
    w = _checked(w)
    return determinant.log_moment(1 / w, k) + k * np.log(w).sum(axis=-1)


def finite_moment(w: ArrayLike, k: float = 2) -> NDArray[np.bool_]:
    """Whether ``E weight^k`` is finite, over the last axis: ``w_min > (k - 1)/k``; of the variance for k = 2."""
    return np.asarray(k * _checked(w).min(axis=-1) > k - 1)


def relative_variance(w: ArrayLike) -> Array:
    """``X = Var weight / (det K)^2`` over the last axis; infinite where some ``w <= 1/2``."""
    return determinant.relative_variance(1 / _checked(w))


def inflated(w: ArrayLike, c: float) -> Array:
    """The eigenvalues of ``q(phi|U)`` for ``phi = c Dt chi``: ``c^2 w``."""
    return check_number("c", c, 0, above=True) ** 2 * _checked(w)


def smallest_inflation(w: ArrayLike, share: float = 1.0, k: float = 2) -> float:
    """The least ``c >= 1`` for which this share of the fields, the first axis of w, has a finite k-th moment of the weights.

    ``c^2 w_min > (k - 1)/k``, 1/2 for the variance; ``w_min`` is over all other axes, one c for all of them. With k = 2 the
    variance is finite and huge for the last of these fields; with k = 4 it has an honest error bar.
    """
    w, order = _checked(w), check_number("k", k, 1, above=True)
    least = np.sort(w.reshape(len(w), -1).min(axis=1))[::-1][kept_fields(len(w), share) - 1]
    c = max(1.0, math.sqrt((order - 1) / order / float(least)))
    while not finite_moment([c**2 * least], order):  # rounding
        c = math.nextafter(c, math.inf)
    return c


def kept_fields(n: int, share: float) -> int:
    """The least number of n fields that is this share of them."""
    if not 0 < check_number("share", share, 0) <= 1:
        raise ValueError(f"share: got {share}, expected more than 0 and at most 1")
    return max(1, math.ceil(share * n * (1 - 1e-12)))  # 0.07 * 100 is more than 7 in floating point


def best_inflation(w: ArrayLike) -> float:
    """The c with the least mean of ``log (1 + X)`` over all fields and monomials, all of them finite; it may be below 1."""
    return math.sqrt(determinant.best_scale(1 / _checked(w)))


def field_inflation(w: ArrayLike) -> Array:
    """The c with the least X for each field and monomial, over the last axis: always finite.

    An inflation may depend on the gauge field, as Dt does, never on the noise; then no field has infinite variance.
    """
    return np.sqrt(determinant.best_scales(1 / _checked(w)))


def log_kernel_determinant(logdet: ArrayLike, w: ArrayLike) -> Array:
    """``log det K = logdet - log det W`` for the real ``logdet = 2 log |det Dt|`` of the same shape as w without its last axis."""
    return np.asarray(logdet, np.float64) - np.log(_checked(w)).sum(axis=-1)


def field_log_weight(action: ArrayLike, chi: ComplexArray, logdet: ArrayLike) -> Array:
    """``log [pi^-n exp(-S)/q]`` of fields ``phi = Dt chi`` with action S, for chi ``(..., n)``: its mean is ``det K``."""
    return np.asarray(logdet, np.float64) + (chi.real**2 + chi.imag**2).sum(axis=-1) - np.asarray(action, np.float64)


def single_log_weight(w: ArrayLike, e: ArrayLike) -> Array:
    """``log [weight/det K] = sum log w - sum (w - 1) e`` over the last axis, for ``e = |chi|^2`` in the basis of W."""
    w = _checked(w)
    return np.log(w).sum(axis=-1) - ((w - 1) * np.asarray(e, np.float64)).sum(axis=-1)


def log_weights(
    rngs: Generators, w: ArrayLike, n_pf: int | Sequence[int] = 1, *, log_kernel: ArrayLike | None = None
) -> Array:
    """Logarithms of the averages (42) over ``N_pf`` weights, relative to ``det K``, drawn by their exact law.

    Every ``N_pf`` averages the first of the same draws, so that its values are the same whatever the others are (and are not
    independent of theirs). The weight (46) of a field is the sum over monomials.

    Parameters
    ----------
    rngs : one Generator per chain. w : eigenvalues ``(chain, monomial, n)``. n_pf : one or several numbers of draws.
    log_kernel : ``log det K``, ``(chain, monomial)``, to be added: of the weights of (41) themselves.

    Returns
    -------
    ``(chain, monomial, number of n_pf)``, or ``(chain, monomial)`` for a single ``n_pf``.
    """
    w = _checked(w)
    if w.ndim != 3:
        raise ValueError(f"w: got shape {w.shape}, expected (chain, monomial, n)")
    check_rngs(rngs, len(w))
    counts = draw_counts(n_pf)
    values = np.empty((*w.shape[:2], len(counts)))
    for rng, one, out in zip(rngs, w, values, strict=True):
        e = rng.standard_exponential((max(counts), *one.shape))
        single = single_log_weight(one, e).T
        for k, count in enumerate(counts):
            out[:, k] = determinant.averaged_log_weight(single[:, :count])
    if log_kernel is not None:
        values += np.broadcast_to(np.asarray(log_kernel, np.float64), w.shape[:2])[..., None]
    return values[..., 0] if np.ndim(n_pf) == 0 else values


def product_law(log_weights: ArrayLike, variances: ArrayLike, n_pf: int | Sequence[int]) -> Array:
    """``ESS(N_pf) = <w>^2 / <w^2 prod_m (1 + X_m/N_pf)>`` for each ``n_pf``, an array of their number; 0 where an X is infinite.

    Parameters
    ----------
    log_weights : of the marginal, ``(n,)``, of independent fields. variances : X of each field and monomial, ``(n, monomial)``.
    """
    return np.array(
        [_ess(log_weights, determinant.relative_variance_of_average(variances, count)) for count in draw_counts(n_pf)]
    )


def linear_law(log_weights: ArrayLike, variances: ArrayLike, n_pf: int | Sequence[int]) -> Array:
    """``ESS(N_pf) = ESS(inf) / (1 + C/N_pf)`` (45), C from the exact ``ESS(1)``, as `product_law`.

    It is exact for one monomial. For several it is too small: averaging each monomial leaves terms up to ``N_pf^-(N_h + 1)``.
    """
    single = determinant.relative_variance_of_average(variances, 1)
    return np.array([_ess(log_weights, single / count) for count in draw_counts(n_pf)])


def draw_counts(n_pf: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of draws as a tuple, checked."""
    counts = tuple(np.atleast_1d(np.asarray(n_pf, dtype=object)))
    if not counts:
        raise ValueError("n_pf: got none, expected at least one number of draws")
    return tuple(check_integer("n_pf", count, 1) for count in counts)


def _ess(log_weights: ArrayLike, variance: Array) -> float:
    """``<w>^2 / <w^2 (1 + variance)>``."""
    log_w = np.asarray(log_weights, np.float64)
    if log_w.shape != variance.shape:
        raise ValueError(f"variances: got those of {variance.shape} fields, expected {log_w.shape}, as log_weights")
    ess = reweighting.relative_ess(log_w)
    some = log_w > -np.inf
    squares = np.exp(2 * (log_w[some] - log_w.max()))
    return float(ess / (1 + squares @ variance[some] / squares.sum()))


def _adjoint(matrix: ComplexArray) -> ComplexArray:
    return matrix.conj().swapaxes(-1, -2)


def _checked(w: ArrayLike) -> Array:
    w = np.asarray(w, dtype=np.float64)
    if not w.ndim or not w.size:
        raise ValueError(f"w: got shape {w.shape}, expected (..., n), eigenvalues of weight matrices")
    if not (np.isfinite(w).all() and w.min() > 0):
        raise ValueError(f"w: got {w[~(np.isfinite(w) & (w > 0))][0]}, expected finite, positive eigenvalues")
    return w
