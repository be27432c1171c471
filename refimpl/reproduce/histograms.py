"""Histograms of weighted draws as densities, with bands from the bootstrap.

The density in a bin of width h is ``sum w [in the bin] / (h sum w)``. Draws outside of all bins count in the sum of the weights:
where there are some, densities do not integrate to 1. A resample takes n of the n draws with replacement, each with its own weight,
and so knows what it costs that few draws have much of the weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lattice import check_integer

Array = NDArray[np.float64]

RESAMPLES = 200  # Abbott 2022, Fig. 6
ONE_SIGMA = 0.6826894921370859  # of a normal distribution


class Histogram(NamedTuple):
    """Density in every bin, and its band, of 68 % of the resamples; arrays ``(bin,)``, and ``(bin + 1,)`` of edges."""

    edges: Array
    density: Array
    low: Array
    high: Array

    @property
    def centres(self) -> Array:
        """Of the bins."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def error(self) -> Array:
        """Half of the width of the band."""
        return (self.high - self.low) / 2

    def over(self, other: Histogram) -> Histogram:
        """This histogram and its band over the density of another one with the same bins (Abbott 2022, Fig. 6, lower panels).

        NaN where the other has nothing.
        """
        if not np.array_equal(self.edges, other.edges):
            raise ValueError(f"other: got edges {other.edges}, expected those of this histogram, {self.edges}")
        below = np.where(other.density > 0, other.density, np.nan)
        return Histogram(self.edges, self.density / below, self.low / below, self.high / below)


def integer_edges(most: int) -> Array:
    """Edges of bins around ``-most, ..., most``."""
    return np.asarray(np.arange(-check_integer("most", most, 0), most + 2) - 0.5)


def common_edges(bins: int, *samples: ArrayLike, share: float = 0.998) -> Array:
    """Edges of equal bins over the central ``share`` of the values of every sample."""
    check_integer("bins", bins, 1)
    tail = (1 - share) / 2
    quantiles = np.array([np.quantile(np.asarray(values, np.float64), [tail, 1 - tail]) for values in samples])
    low, high = quantiles[:, 0].min(), quantiles[:, 1].max()
    if not low < high:
        raise ValueError(f"samples: got the one value {low}, expected several")
    return np.linspace(float(low), float(high), bins + 1)


def density(values: ArrayLike, edges: ArrayLike, log_weights: ArrayLike | None = None) -> Array:
    """The weighted histogram of values ``(n,)``, ``(bin,)``; the last bin has its right edge."""
    at, w, widths = _binned(values, edges, log_weights)
    return _density(at, w, widths)


def bootstrap_densities(
    rng: np.random.Generator,
    values: ArrayLike,
    edges: ArrayLike,
    log_weights: ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> Array:
    """Densities ``(resample, bin)`` of n of the n draws, with replacement."""
    check_integer("resamples", resamples, 1)
    at, w, widths = _binned(values, edges, log_weights)
    out = np.empty((resamples, len(widths)))
    for row in out:
        some = rng.integers(len(at), size=len(at))
        row[:] = _density(at[some], w[some], widths)
    return out


def histogram(
    rng: np.random.Generator,
    values: ArrayLike,
    edges: ArrayLike,
    log_weights: ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> Histogram:
    """`density` with the band of its bootstrap."""
    found = bootstrap_densities(rng, values, edges, log_weights, resamples)
    low, high = np.quantile(found, [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2], axis=0)
    return Histogram(np.asarray(edges, np.float64), density(values, edges, log_weights), low, high)


def disagreement(one: Histogram, other: Histogram) -> float:
    """The mean over bins of ``(difference / error)^2``: near 1 for two histograms of one distribution.

    Bins where an error is 0, of one or no draw, are left out; NaN where there is no other.
    """
    error = np.hypot(one.error, other.error)
    some = (one.error > 0) & (other.error > 0)
    if not some.any():
        return float("nan")
    return float(np.mean(((one.density - other.density)[some] / error[some]) ** 2))


def _density(at: NDArray[np.int64], w: Array, widths: Array) -> Array:
    counts = np.bincount(at, weights=w, minlength=len(widths) + 1)
    return np.asarray(counts[: len(widths)] / (counts.sum() * widths))


def _binned(
    values: ArrayLike, edges: ArrayLike, log_weights: ArrayLike | None
) -> tuple[NDArray[np.int64], Array, Array]:
    """The bin of every value (one more than there are for a value outside), weights with a largest of 1, widths of bins."""
    values, edges = np.asarray(values, np.float64), np.asarray(edges, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values: got shape {values.shape}, expected (n,) finite numbers")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges: got {edges}, expected two or more increasing numbers")
    log_w = np.zeros(len(values)) if log_weights is None else np.asarray(log_weights, np.float64)
    if log_w.shape != values.shape or not np.isfinite(log_w).all():
        raise ValueError(f"log_weights: got shape {log_w.shape}, expected {values.shape} finite numbers")
    at = np.searchsorted(edges, values, side="right") - 1
    at[values == edges[-1]] -= 1
    at[at < 0] = len(edges) - 1
    return at, np.exp(log_w - log_w.max()), np.diff(edges)
