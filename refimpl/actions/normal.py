"""Normal distributions and their mixtures on fields ``(chain, D)`` of real numbers.

Arrays inside have the components first and the chains last, and sums over components go term by term: a matrix product
of `numpy` would give a chain other bits in another batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fields import check_direction, check_rows
from .sum import Additive

Array = NDArray[np.float64]

# Asymmetry of a covariance, and error of a sum of weights, that is taken for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Gaussian(Additive):
    """``S(x) = (x - mean)^T covariance^(-1) (x - mean)/2``, without the constant that normalises ``exp(-S)``.

    Fields are real, of shape ``(chain, D)``. Exact answers: `refimpl.exact.gaussian`.

    Parameters
    ----------
    covariance : array (D, D)
        Symmetric and positive definite; kept as a read-only copy.
    mean : array (D,), optional
        Zero by default.
    """

    covariance: Array
    mean: Array = None  # type: ignore[assignment]  # an array once built
    angular: ClassVar[bool] = False
    _precision: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        covariance, precision = _checked_covariance("covariance", self.covariance)
        mean = _checked_array(
            "mean", np.zeros(len(covariance)) if self.mean is None else self.mean, covariance.shape[:1]
        )
        for name, value in (("covariance", covariance), ("mean", mean), ("_precision", precision[..., None])):
            object.__setattr__(self, name, value)

    def action(self, x: Array) -> Array:
        """``S``, shape ``(chain,)``."""
        return self.action_and_force(self._checked(x))[0]

    def force(self, x: Array) -> Array:
        """``+ dS/dx = covariance^(-1) (x - mean)``, the shape of ``x``."""
        return self.action_and_force(self._checked(x))[1]

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Action and force from one matrix product; ``x`` is taken as checked."""
        distance = x.T - self.mean[:, None]
        force = _product(self._precision, distance)
        return 0.5 * _total(distance * force), force.T

    def dynamics(self, x: Array, v: Array) -> NormalDynamics:
        """The action bound to the arrays of one trajectory."""
        return NormalDynamics(self, x, v)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``covariance^(-1) w``, the shape of ``x``."""
        return _product(self._precision, check_direction(w, self._checked(x)).T).T

    def definition(self, x: Array) -> Array:
        """``S`` as written, shape ``(chain,)``, in operations that autograd can trace."""
        import autograd.numpy as anp

        distance = x - self.mean
        return anp.einsum("ci,ij,cj->c", distance, np.linalg.inv(self.covariance), distance) / 2

    def _checked(self, x: Array) -> Array:
        return check_rows(x, len(self.mean))


@dataclass(frozen=True, eq=False)
class Mixture(Additive):
    """Mixture of normal distributions, ``S(x) = -log sum_m weights_m N(x; means_m, covariances_m)`` (Foreman 2020, (38)).

    The density is normalised. With responsibilities ``r_m = p(m | x)`` and ``f_m = covariances_m^(-1) (x - means_m)`` the
    force is ``F = sum_m r_m f_m``, and the Hessian is ``sum_m r_m [covariances_m^(-1) - (f_m - F) (f_m - F)^T]``. Fields are
    real, of shape ``(chain, D)``. Exact answers: `refimpl.exact.mixture`.

    Parameters
    ----------
    weights : array (M,)
        Positive, with sum 1 (to 1e-12; the rounding is divided out).
    means : array (M, D)
    covariances : array (M, D, D)
        Symmetric and positive definite. All three are kept as read-only copies.
    """

    weights: Array
    means: Array
    covariances: Array
    angular: ClassVar[bool] = False
    _precisions: Array = field(init=False, repr=False)
    _log_peaks: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        weights = _checked_array("weights", self.weights, (None,))
        if not np.all(weights > 0) or abs(weights.sum() - 1) > ROUNDING:
            raise ValueError(f"weights: got {weights}, expected positive numbers of sum 1")
        weights = _frozen(weights / weights.sum())
        means = _checked_array("means", self.means, (len(weights), None))
        covariances = _checked_array("covariances", self.covariances, (*means.shape, means.shape[1]))
        pairs = [_checked_covariance(f"covariances[{m}]", covariance) for m, covariance in enumerate(covariances)]
        values = {
            "weights": weights,
            "means": means,
            "covariances": _frozen(np.stack([covariance for covariance, _ in pairs])),
            # (D, D, M, 1) and (M, 1), to broadcast over chains
            "_precisions": np.stack([precision for _, precision in pairs], axis=-1)[..., None],
            "_log_peaks": np.array(
                [[_log_peak(w, covariance)] for w, (covariance, _) in zip(weights, pairs, strict=True)]
            ),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def action(self, x: Array) -> Array:
        """``-log p``, shape ``(chain,)``."""
        return self.action_and_force(self._checked(x))[0]

    def force(self, x: Array) -> Array:
        """``+ dS/dx``, the shape of ``x``."""
        return self.action_and_force(self._checked(x))[1]

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Action and force from one pass over the components; ``x`` is taken as checked."""
        action, responsibilities, forces = self._components(x)
        return action, _total(np.moveaxis(responsibilities * forces, 1, 0)).T

    def dynamics(self, x: Array, v: Array) -> NormalDynamics:
        """The action bound to the arrays of one trajectory."""
        return NormalDynamics(self, x, v)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``sum_j d2S/dx_i dx_j w_j``, the shape of ``x``."""
        x = self._checked(x)
        direction = check_direction(w, x).T[:, None]  # (D, 1, chain)
        _, responsibilities, forces = self._components(x)
        spread = forces - _total(np.moveaxis(responsibilities * forces, 1, 0))[:, None]
        terms = responsibilities * (_product(self._precisions, direction) - spread * _total(spread * direction))
        return _total(np.moveaxis(terms, 1, 0)).T

    def definition(self, x: Array) -> Array:
        """``S`` as written, shape ``(chain,)``, in operations that autograd can trace."""
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp

        distance = x[None] - self.means[:, None]
        squares = anp.einsum("mci,mij,mcj->mc", distance, np.linalg.inv(self.covariances), distance)
        peaks = np.log(self.weights) - np.linalg.slogdet(2 * np.pi * self.covariances)[1] / 2
        return -logsumexp(peaks[:, None] - squares / 2, axis=0)

    def _components(self, x: Array) -> tuple[Array, Array, Array]:
        """Action ``(chain,)``, responsibilities ``(M, chain)``, and the forces ``f`` of the components, ``(D, M, chain)``."""
        distance = x.T[:, None] - self.means.T[..., None]
        forces = _product(self._precisions, distance)
        logs = self._log_peaks - 0.5 * _total(distance * forces)
        top = logs.max(axis=0)
        parts = np.exp(logs - top)
        whole = _total(parts)
        return -(top + np.log(whole)), parts / whole, forces

    def _checked(self, x: Array) -> Array:
        return check_rows(x, self.means.shape[1])


class NormalDynamics:
    """A `Gaussian` or a `Mixture` bound to arrays ``x`` and ``v``."""

    def __init__(self, action: Gaussian | Mixture, x: Array, v: Array) -> None:
        self._action, self._x, self._v = action, x, v

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)`` in place."""
        self._v -= scale * self._action.action_and_force(self._x)[1]

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        return self._action.action_and_force(self._x)


def two_gaussians() -> Mixture:
    """The example of Foreman 2020, sec. 9.1: two modes at ``(-2, 0)`` and ``(2, 0)``, each of covariance 0.1 (39)-(40)."""
    return Mixture(np.array([0.5, 0.5]), np.array([[-2.0, 0.0], [2.0, 0.0]]), np.array([0.1 * np.eye(2)] * 2))


def _product(matrix: Array, vector: Array) -> Array:
    """Symmetric ``matrix (D, D, ...)`` times ``vector (D, ...)``."""
    product = matrix[0] * vector[0]
    for row, component in zip(matrix[1:], vector[1:], strict=True):
        product += row * component
    return product


def _total(terms: Array) -> Array:
    """Sum over the first axis, one term after another."""
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


def _log_peak(weight: float, covariance: Array) -> float:
    """``log`` of weight times the density at the mean of a component."""
    roots = np.diag(np.linalg.cholesky(covariance))
    return math.log(weight) - 0.5 * len(roots) * math.log(2 * math.pi) - float(np.log(roots).sum())


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _checked_array(name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> Array:
    """A read-only float64 copy of this shape, None for any extent; raises `ValueError` naming the argument otherwise."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {value!r}, expected an array of numbers") from None
    fits = array.ndim == len(shape) and all(n in (None, m) and m for n, m in zip(shape, array.shape, strict=True))
    if not fits:
        letters = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: got shape {array.shape}, expected ({letters}{',' * (len(shape) == 1)})")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: got {array}, expected finite numbers")
    return _frozen(array)


def _checked_covariance(name: str, value: ArrayLike) -> tuple[Array, Array]:
    """A covariance, exactly symmetric and read-only, and its inverse; raises `ValueError` if it is none."""
    covariance = _checked_array(name, value, (None, None))
    scale = np.abs(covariance).max()
    if covariance.shape[0] != covariance.shape[1] or np.abs(covariance - covariance.T).max() > ROUNDING * scale:
        raise ValueError(f"{name}: got {covariance}, expected a symmetric matrix")
    covariance = _frozen((covariance + covariance.T) / 2)
    try:
        root = np.linalg.inv(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        raise ValueError(f"{name}: got {covariance}, expected a positive-definite matrix") from None
    return covariance, root.T @ root
