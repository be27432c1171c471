"""What checks leave for a report to draw: small arrays, made of what a check has at hand anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sequential import Decision, Wealth
from .verdict import Exhibit

Array = NDArray[Any]
Exhibits = tuple[Exhibit, ...]

LARGEST = 2048  # numbers of a picture
BINS = 40
LOOKED_AT = 2**15  # values that are sorted into bins
LINKS = ("links in time", "links in space")


def differences(theory: Any, error: Array, bound: float, what: str) -> Exhibits:
    """Of errors ``(chain, ...)``: a map of the configuration where they are largest, and the largest of every configuration."""
    return (*error_map(theory, error, what), *errors(error, bound, what))


def error_map(theory: Any, error: Array, what: str) -> Exhibits:
    """Site by site the error ``(chain, ...)`` of the configuration where it is largest.

    ``error`` has the shape of fields or forces of the theory, of matrices the largest entry counts. Nothing where there are no
    sites, where there is no error, or where the map would be large.
    """
    sites = {"o2": 1, "gaussian": 0, "gmm": 0}.get(theory.name, 2)
    link = int(sites == 2 and theory.name != "phi4")
    if not sites or error.ndim < 1 + link + sites:
        return ()
    size = np.abs(error)
    k = int(np.argmax(size.reshape(len(size), -1).max(axis=1)))
    extents = size.shape[1 + link : 1 + link + sites]
    shown = size[k].reshape(-1, *((1,) * (2 - sites)), *extents, *size.shape[1 + link + sites :])
    shown = shown.reshape(*shown.shape[:3], -1).max(axis=-1)
    if not shown.max() > 0 or shown.size > LARGEST:
        return ()
    caption = f"configuration {k} of {len(size)}, counted from 0"
    return (
        Exhibit("map", f"{what}, where on the lattice", {"error": shown}, caption, LINKS if len(shown) == 2 else ()),
    )


def errors(error: Array, bound: float, what: str) -> Exhibits:
    """The largest error of every configuration, and its bound."""
    value = np.abs(error).reshape(len(error), -1).max(axis=1)
    if not np.any(value > 0) or len(value) > LARGEST:
        return ()
    arrays = {"value": value, "bound": np.array(bound)}
    return (Exhibit("errors", f"{what}, in every configuration", arrays, "", ("configuration", "largest error")),)


def wealth(outcome: Wealth, alpha: float) -> Exhibits:
    """The path of an e-value."""
    samples, value = outcome.path
    caption = (
        "A bet against the target: where it is right the wealth stays near 1 or falls, where it is wrong it grows."
    )
    arrays = {"samples": samples, "value": value, "bound": np.array(-np.log10(alpha))}
    return (Exhibit("trace", "evidence against the target", arrays, caption, ("samples", "log10 of the e-value")),)


def rounds(decision: Decision) -> Exhibits:
    """The p-values of a sequential test, where it took several rounds."""
    if len(decision.rounds) < 2:
        return ()
    samples, p, bound = np.array(decision.rounds).T
    arrays = {"samples": samples, "value": np.log10(np.maximum(p, 1e-300)), "bound": np.log10(bound)}
    return (Exhibit("trace", "p-values, round by round", arrays, "", ("samples", "log10 of the p-value")),)


def course(series: Array, exact: float | None, name: str) -> Exhibits:
    """The mean over chains of ``(step, chain)`` at every step, with a band of two standard errors."""
    mean, n = series.mean(axis=1), series.shape[1]
    error = 2 * series.std(axis=1) / np.sqrt(n)
    arrays = {"samples": np.arange(1, len(mean) + 1), "value": mean, "low": mean - error, "high": mean + error}
    if exact is not None:
        arrays["exact"] = np.array(exact)
    told = f"mean of {n} chains, with two standard errors"
    return (Exhibit("trace", f"{name}, update by update", arrays, told, ("update", name)),)


def counts(values: Array, observed: Array, expected: Array, label: str, law: str) -> Exhibits:
    """Counts of some values against those that a law expects."""
    arrays = {"value": np.asarray(values), "observed": np.asarray(observed), "expected": np.asarray(expected)}
    return (Exhibit("histogram", f"{label} against {law}", arrays, "", (label, "count")),)


def against_law(data: Array, cdf: Callable[[Array], Array], label: str, law: str) -> Exhibits:
    """Values in bins, against their distribution function."""
    data = data[np.isfinite(data)][:LOOKED_AT]
    edges = _edges(data)
    if edges is None:
        return ()
    inner = np.concatenate([[0.0], cdf(edges[1:-1]), [1.0]])  # what is beyond counts in the last bins
    return counts(_middles(edges), _binned(data, edges), len(data) * np.diff(inner), label, law)


def against_samples(data: Array, reference: Array, label: str, law: str, weights: Array | None = None) -> Exhibits:
    """Values in bins, against those of a reference: as many, or with weights that make them as many."""
    data, reference = data[:LOOKED_AT], reference[:LOOKED_AT]
    both = np.concatenate([data, reference])
    edges = _edges(both[np.isfinite(both)])
    if edges is None:
        return ()
    expected = _binned(reference, edges, None if weights is None else weights[:LOOKED_AT])
    return counts(_middles(edges), _binned(data, edges), expected, label, law)


def _edges(data: Array) -> Array | None:
    """Of bins between the extremes, but for one value in a thousand; a bin for each of a few integers."""
    if not data.size:
        return None
    low, high = np.quantile(data, [0.001, 0.999])
    if low < high <= low + BINS and np.array_equal(data, np.rint(data)):
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + 1)
    return np.linspace(low, high, BINS + 1) if high > low else None


def _middles(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2


def _binned(data: Array, edges: Array, weights: Array | None = None) -> Array:
    return np.histogram(np.clip(np.nan_to_num(data, nan=np.inf), edges[0], edges[-1]), edges, weights=weights)[0]
