"""Mixture of normal distributions ``sum_m weights_m N(means_m, covariances_m)``: sampler, density and moments.

``weights`` is an array (M,), positive and of sum 1, ``means`` (M, D), ``covariances`` (M, D, D), each symmetric and positive
definite. Every function raises `ValueError` otherwise. Foreman 2020, sec. 9, samples two components of D = 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import gaussian

Array = NDArray[np.float64]


def sample(rng: np.random.Generator, n: int, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``n`` independent points, shape ``(n, D)``: a component for each, and a point of it."""
    w, mu, sigma = checked(weights, means, covariances)
    component = rng.choice(len(w), size=gaussian.checked_count(n), p=w)
    normals = rng.standard_normal((n, mu.shape[1], 1))
    return mu[component] + (np.linalg.cholesky(sigma)[component] @ normals)[..., 0]


def log_density(x: Array, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``log p(x)``, normalised, shape ``(n,)`` for points ``(n, D)``."""
    return np.asarray(np.logaddexp.reduce(_log_joint(x, weights, means, covariances), axis=0), dtype=np.float64)


def responsibilities(x: Array, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``p(m | x)``, shape ``(n, M)`` for points ``(n, D)``: occupancies whose means are the weights exactly."""
    joint = _log_joint(x, weights, means, covariances)
    return np.exp(joint - np.logaddexp.reduce(joint, axis=0)).T


def mean(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``<x>``, shape ``(D,)``."""
    w, mu, _ = checked(weights, means, covariances)
    return w @ mu


def covariance(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """Covariance of x, ``(D, D)``: that within the components and that of their means."""
    w, mu, sigma = checked(weights, means, covariances)
    apart = mu - w @ mu
    return np.einsum("m,mij->ij", w, sigma) + np.einsum("m,mi,mj->ij", w, apart, apart)


def moment(coordinates: Sequence[int], weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> float:
    """``<x_i x_j ... x_k>`` for ``coordinates = (i, j, ..., k)``, from 0, of any number and repeated at will."""
    w, mu, sigma = checked(weights, means, covariances)
    return float(sum(p * gaussian.moment(coordinates, s, m) for p, m, s in zip(w, mu, sigma, strict=True)))


def absolute_moments(
    coordinate: int, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike
) -> tuple[float, float]:
    """Mean and variance of ``|x_i|``, from the folded normal distributions of the components.

    In the example of Foreman 2020 this shows how well a mode is explored, apart from hops between the modes.
    """
    w, mu, sigma = checked(weights, means, covariances)
    parts = np.array([gaussian.absolute_moments(coordinate, s, m) for m, s in zip(mu, sigma, strict=True)])
    average = w @ parts[:, 0]
    return float(average), float(w @ (parts[:, 1] + (parts[:, 0] - average) ** 2))


def cumulative(t: ArrayLike, coordinate: int, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``P(x_i <= t)``, the shape of ``t``; one minus it at 0 is the occupancy of the half space ``x_i > 0``."""
    w, mu, sigma = checked(weights, means, covariances)
    parts = [p * gaussian.cumulative(t, coordinate, s, m) for p, m, s in zip(w, mu, sigma, strict=True)]
    return np.asarray(sum(parts), dtype=np.float64)


def checked(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> tuple[Array, Array, Array]:
    """Weights, means and covariances as float64 arrays; raises `ValueError` naming the one that is wrong."""
    w, mu, sigma = (np.asarray(part, dtype=np.float64) for part in (weights, means, covariances))
    if w.ndim != 1 or not w.size or not np.all(w > 0) or not abs(w.sum() - 1) <= 1e-12:
        raise ValueError(f"weights: got {weights!r}, expected positive numbers of sum 1")
    if mu.ndim != 2 or len(mu) != len(w) or not mu.size:
        raise ValueError(f"means: got shape {mu.shape}, expected ({len(w)}, D)")
    if sigma.shape != (*mu.shape, mu.shape[1]):
        raise ValueError(f"covariances: got shape {sigma.shape}, expected {(*mu.shape, mu.shape[1])}")
    for m in range(len(w)):
        try:
            gaussian.checked(sigma[m], mu[m])
        except ValueError as error:
            raise ValueError(f"component {m}: {error}") from None
    return w / w.sum(), mu, sigma


def _log_joint(x: Array, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Array:
    """``log p(x, m)``, shape ``(M, n)``."""
    w, mu, sigma = checked(weights, means, covariances)
    return np.array([np.log(p) + gaussian.log_density(x, s, m) for p, m, s in zip(w, mu, sigma, strict=True)])
