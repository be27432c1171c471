"""Ridge regression with the penalty chosen by folds within the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...lattice import check_integer

Array = NDArray[np.float64]

PENALTIES = 10.0 ** np.arange(-12, 1.1, 0.5)  # of features of unit variance; the lowest are what rounding allows
FLAT = 1e-12  # a feature whose deviation is less than this part of its size is a constant


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients ``(feature, target)``, and the mean squares of what is left on data that was not fitted, ``(target,)``."""

    coefficients: Array
    left_over: Array


def ridge(features: Array, targets: Array, folds: int = 5, centred: bool = True) -> Fit:
    """Least squares of targets ``(n, target)`` on features ``(n, feature)`` with a penalty on the coefficients.

    ``|y - mean y - (z - mean z) c|^2/n + penalty |c|^2`` for features z of unit variance, each target with the penalty that leaves
    least on folds of the data, successive stretches of it, which are fitted without them. ``centred=False`` subtracts no means, for
    features and targets whose means are known to be zero.
    """
    check_integer("folds", folds, 2, len(features))
    left_over = np.zeros((len(PENALTIES), targets.shape[1]))
    for part in np.array_split(np.arange(len(features)), folds):
        rest = np.delete(np.arange(len(features)), part)
        residuals = targets[part] - _Path(features[rest], targets[rest], centred).predictions(features[part])
        left_over += np.einsum("pnt,pnt->pt", residuals, residuals)
    best = left_over.argmin(axis=0)
    coefficients = _Path(features, targets, centred).coefficients(PENALTIES[best])
    return Fit(coefficients, left_over.min(axis=0) / len(features))


class _Path:
    """Solutions for every penalty, from the eigenvectors of one covariance matrix."""

    def __init__(self, features: Array, targets: Array, centred: bool) -> None:
        n = len(features)
        self._mean = features.mean(axis=0) if centred else np.zeros(features.shape[1])
        self._target_mean = targets.mean(axis=0) if centred else np.zeros(targets.shape[1])
        deviations = features - self._mean
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            size, deviation = np.sqrt((features**2).mean(axis=0)), np.sqrt((deviations**2).mean(axis=0))
            self._scale = np.where(deviation > FLAT * size, 1 / deviation, 0.0)
        if not np.isfinite(size).all():
            raise ValueError("configurations: got fields whose features leave float64, expected a sample of exp(-S)")
        z = deviations * self._scale
        values, self._vectors = np.linalg.eigh(z.T @ z / n)
        self._values = np.maximum(values, 0)
        self._projections = self._vectors.T @ (z.T @ (targets - self._target_mean)) / n

    def coefficients(self, penalties: Array) -> Array:
        """``(feature, target)``, of features as they came, with one penalty for each target."""
        shrunk = self._projections / (self._values[:, None] + penalties)
        return self._scale[:, None] * (self._vectors @ shrunk)

    def predictions(self, features: Array) -> Array:
        """``(penalty, n, target)`` for every penalty."""
        rotated = ((features - self._mean) * self._scale) @ self._vectors
        return self._target_mean + rotated @ (self._projections / (self._values[:, None] + PENALTIES[:, None, None]))
