"""Normal distribution ``N(mean, covariance)`` in D dimensions: sampler, density and moments.

``covariance`` is an array (D, D), symmetric and positive definite; ``mean`` an array (D,), zero by default. Every function
raises `ValueError` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def sample(rng: np.random.Generator, n: int, covariance: ArrayLike, mean: ArrayLike | None = None) -> Array:
    """``n`` independent points, shape ``(n, D)``: the Cholesky factor of the covariance times standard normals."""
    sigma, mu = checked(covariance, mean)
    return mu + rng.standard_normal((checked_count(n), len(mu))) @ np.linalg.cholesky(sigma).T


def log_density(x: Array, covariance: ArrayLike, mean: ArrayLike | None = None) -> Array:
    """``log N(x; mean, covariance)``, normalised, shape ``(n,)`` for points ``(n, D)``."""
    sigma, mu = checked(covariance, mean)
    root = np.linalg.cholesky(sigma)
    whitened = np.linalg.solve(root, (np.asarray(x) - mu).T)
    return -0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(root)).sum() - 0.5 * len(mu) * math.log(2 * math.pi)


def moment(coordinates: Sequence[int], covariance: ArrayLike, mean: ArrayLike | None = None) -> float:
    """``<x_i x_j ... x_k>`` for ``coordinates = (i, j, ..., k)``, from 0, of any number and repeated at will.

    By Stein's identity ``<x_i f(x)> = mean_i <f> + sum_j covariance_ij <df/dx_j>``, which for products is Wick's theorem
    with means.
    """
    sigma, mu = checked(covariance, mean)
    for i in coordinates:
        checked_coordinate(i, len(mu))
    return _moment(tuple(coordinates), sigma, mu)


def action_moments(covariance: ArrayLike, mean: ArrayLike | None = None) -> tuple[float, float]:
    """Mean and variance of ``S = (x - mean)^T covariance^(-1) (x - mean)/2``: both D/2 (twice S is chi-square)."""
    _, mu = checked(covariance, mean)
    return len(mu) / 2, len(mu) / 2


def absolute_moments(coordinate: int, covariance: ArrayLike, mean: ArrayLike | None = None) -> tuple[float, float]:
    """Mean and variance of ``|x_i|``: the folded normal distribution."""
    sigma, mu = checked(covariance, mean)
    i = checked_coordinate(coordinate, len(mu))
    size, std = abs(float(mu[i])), math.sqrt(sigma[i, i])
    # <|x|> = |mean| + excess: the variance written with the excess does not cancel where the mean is far from zero.
    a = size / std
    excess = math.sqrt(2 / math.pi) * math.exp(-a * a / 2) - a * math.erfc(a / math.sqrt(2))
    return size + std * excess, std**2 * (1 - 2 * a * excess - excess**2)


def cumulative(t: ArrayLike, coordinate: int, covariance: ArrayLike, mean: ArrayLike | None = None) -> Array:
    """``P(x_i <= t)``, the shape of ``t``."""
    from scipy.special import ndtr

    sigma, mu = checked(covariance, mean)
    i = checked_coordinate(coordinate, len(mu))
    return np.asarray(ndtr((np.asarray(t) - mu[i]) / math.sqrt(sigma[i, i])), dtype=np.float64)


def checked(covariance: ArrayLike, mean: ArrayLike | None = None) -> tuple[Array, Array]:
    """Covariance and mean as float64 arrays; raises `ValueError` naming the one that is wrong."""
    sigma = np.asarray(covariance, dtype=np.float64)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or not sigma.size:
        raise ValueError(f"covariance: got shape {sigma.shape}, expected (D, D)")
    if not np.all(np.isfinite(sigma)) or np.abs(sigma - sigma.T).max() > 1e-12 * np.abs(sigma).max():
        raise ValueError(f"covariance: got {covariance!r}, expected a finite symmetric matrix")
    try:
        np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        raise ValueError(f"covariance: got {covariance!r}, expected a positive-definite matrix") from None
    mu = np.zeros(len(sigma)) if mean is None else np.asarray(mean, dtype=np.float64)
    if mu.shape != sigma.shape[:1] or not np.all(np.isfinite(mu)):
        raise ValueError(f"mean: got {mean!r}, expected {len(sigma)} finite numbers")
    return sigma, mu


def checked_coordinate(coordinate: int, dimension: int) -> int:
    """A coordinate from 0 to ``dimension - 1``; raises `ValueError` otherwise."""
    if not isinstance(coordinate, int | np.integer) or not 0 <= coordinate < dimension:
        raise ValueError(f"coordinate: got {coordinate!r}, expected an integer from 0 to {dimension - 1}")
    return int(coordinate)


def checked_count(n: int) -> int:
    """A number of points of at least 1; raises `ValueError` otherwise."""
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    return int(n)


def _moment(indices: tuple[int, ...], sigma: Array, mu: Array) -> float:
    if not indices:
        return 1.0
    i, rest = indices[0], indices[1:]
    pairs = sum(float(sigma[i, j]) * _moment(rest[:k] + rest[k + 1 :], sigma, mu) for k, j in enumerate(rest))
    return float(mu[i]) * _moment(rest, sigma, mu) + pairs
