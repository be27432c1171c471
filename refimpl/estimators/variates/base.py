"""Control variates: what a method and a variate owe, and what a variate is worth on configurations it was not fitted to.

A control variate f of a density ``exp(-S)`` has mean zero, so that O - f has the mean of O, and with luck less variance (Bedaque
2023, eqs. 1-4). All variates here are divergences of a field g of the fields, ``f = A[g] = div g - g . grad S``, whose mean is zero
for any g without boundary terms (eqs. 5, 6), so that a bad fit costs precision and never truth. What does cost truth is a mean over
the configurations of the fit: `improve` wants others, and `cross_fit` fits to all but those it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import statistics
from ...lattice import check_integer
from ...observables.quantities import Quantity

Array = NDArray[np.float64]
Observable = Callable[[Array], Array]

BINS = 50  # of the jackknife that gives the error of a ratio
ROUNDING = 2.0**-50  # of the values of an observable and a variate, of some hundred operations each
CHUNK = 1 << 21  # numbers of configurations that a variate is handed at a time


class Variate(Protocol):
    """A function of fields ``(chain, *field_shape)`` whose mean is zero, ``(chain,)``; `observable` is what it was fitted to."""

    @property
    def field_shape(self) -> tuple[int, ...]: ...

    def __call__(self, x: Array) -> Array: ...


class Method(Protocol):
    """How to fit variates, as a frozen dataclass of options."""

    def fit(self, configurations: Array, observable: Any) -> Variate: ...


@dataclass(frozen=True)
class Improvement:
    """What a variate is worth.

    Attributes
    ----------
    value, error : mean of O - f with its standard error, by the Gamma method but not below that of independent values, which short
        series can pretend to beat, nor below rounding. raw_value, raw_error : those of O.
    variate_value, variate_error : those of f, whose mean is zero: where it is many errors away, the configurations are not of the
        action that the variate is for, or far too few.
    ratio, ratio_error : standard deviation of O over that of O - f, with a jackknife error.
    kurtosis : ``m_4/m_2^2`` of O - f, 3 for a normal distribution: where it is large, errors need many configurations.
    n : configurations they were measured on.
    """

    value: float
    error: float
    raw_value: float
    raw_error: float
    ratio: float
    ratio_error: float
    kurtosis: float
    n: int
    variate_value: float
    variate_error: float

    @property
    def pull(self) -> float:
        """How many errors the mean of f is away from zero."""
        return abs(self.variate_value) / self.variate_error if self.variate_error > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"{self.value:.8g} +- {self.error:.2g} (raw {self.raw_value:.6g} +- {self.raw_error:.2g}); sigma ratio "
            f"{self.ratio:.4g} +- {self.ratio_error:.2g}, kurtosis {self.kurtosis:.3g}, {self.n} configurations"
        )


def improve(configurations: ArrayLike, observable: Observable, variate: Variate) -> Improvement:
    """Estimate of an observable with a variate that was fitted to other configurations.

    Parameters
    ----------
    configurations : float64 ``(n, *field_shape)``, independent or in the order of one chain, or ``(step, chain, *field_shape)``.
    observable : ``x -> (n,)``, such as the variate's own. variate : of these fields.

    Raises `ValueError` for fields of another shape or with numbers that are not finite.
    """
    x, steps = _series_of_fields(configurations, variate.field_shape)
    raw, f = in_chunks(observable, x), in_chunks(variate, x)
    return improvement(raw.reshape(steps), (raw - f).reshape(steps))


def cross_fit(
    method: Method, configurations: ArrayLike, observable: Observable, folds: int = 5
) -> tuple[Improvement, tuple[Variate, ...]]:
    """Estimate from all configurations, each judged by a variate that was fitted to the other folds; and the variates.

    The folds are successive stretches of the configurations ``(n, *field_shape)``. The estimates of two folds share configurations
    of their fits, but none of them is biased, whatever the fits did.
    """
    x = real_numbers("configurations", configurations)
    check_integer("folds", folds, 2, len(x) // 2)
    parts = np.array_split(np.arange(len(x)), folds)
    variates = tuple(method.fit(np.delete(x, part, axis=0), observable) for part in parts)
    raw = in_chunks(observable, x)
    f = np.concatenate([in_chunks(variate, x[part]) for variate, part in zip(variates, parts, strict=True)])
    return improvement(raw, raw - f), variates


def improvement(raw: Array, improved: Array) -> Improvement:
    """The same from the two series ``(n,)`` or ``(step, chain)`` of O and O - f."""
    (value, error), (raw_value, raw_error) = _mean(improved), _mean(raw)
    f = _mean(raw - improved)
    ratio, ratio_error = _ratio(raw.ravel(), improved.ravel())
    deviations = improved.ravel() - improved.mean()
    variance = float(np.mean(deviations**2))
    kurtosis = float(np.mean(deviations**4)) / variance**2 if variance**2 > 0 else math.nan
    return Improvement(value, error, raw_value, raw_error, ratio, ratio_error, kurtosis, raw.size, *f)


def in_chunks(function: Observable, x: Array) -> Array:
    """``function(x)``, of few configurations at a time; raises `ValueError` unless there is one number for each."""
    few = max(1, CHUNK // max(1, x[0].size))
    values = [np.asarray(function(x[i : i + few]), dtype=np.float64) for i in range(0, len(x), few)]
    for i, value in enumerate(values):
        if value.shape != (len(x[i * few : (i + 1) * few]),):
            raise ValueError(f"observable: got values of shape {value.shape}, expected one for each configuration")
    return np.concatenate(values)


def checked_configurations(
    configurations: ArrayLike, field_shape: tuple[int, ...] | None = None, name: str = "configurations"
) -> Array:
    """Finite float64 fields ``(n, *field_shape)``, at least one; raises `ValueError` naming what is wrong."""
    x = real_numbers(name, configurations)
    if field_shape is not None and x.shape[1:] != tuple(field_shape):
        raise ValueError(f"{name}: got shape {x.shape}, expected (n, {', '.join(map(str, field_shape))})")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: got shape {x.shape}, expected at least one field")
    finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name}: got numbers that are not finite in field {int(np.argmin(finite))}, expected finite ones"
        )
    return x


def real_numbers(name: str, values: ArrayLike) -> Array:
    """``values`` as float64; raises `ValueError` naming the argument unless they are real floating or integer numbers."""
    try:
        x = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name}: got what makes no array ({error}), expected real numbers") from None
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{name}: got dtype {x.dtype}, expected real floating or integer numbers")
    return np.asarray(x, dtype=np.float64)


def named(observable: object) -> str:
    """Its name, where it has one."""
    return str(observable) if isinstance(observable, Quantity) else repr(observable)


def check_enough(n: int, n_features: int) -> None:
    """Raises `ValueError` where there are no more configurations than numbers to fit."""
    if n <= n_features:
        raise ValueError(f"configurations: got {n} for {n_features} features, expected more than features")


def _series_of_fields(configurations: ArrayLike, field_shape: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    x = real_numbers("configurations", configurations)
    axes = x.ndim - len(field_shape)
    if axes not in (1, 2):
        expected = ", ".join(map(str, field_shape))
        raise ValueError(f"configurations: got shape {x.shape}, expected (n, {expected}) or (step, chain, {expected})")
    steps = x.shape[:axes]
    if math.prod(steps) < 2:
        raise ValueError(f"configurations: got {math.prod(steps)}, expected at least 2")
    return checked_configurations(x.reshape(-1, *x.shape[axes:]), field_shape), steps


def _mean(series: Array) -> tuple[float, float]:
    """Mean and error, which is at least that of independent values, and some ulp of the largest."""
    found, values = statistics.mean(series), series.ravel()
    independent = float(values.std(ddof=1)) / math.sqrt(values.size)
    return found.value, max(found.error, independent, ROUNDING * float(np.abs(values).max()))


def _ratio(raw: Array, improved: Array) -> tuple[float, float]:
    """Ratio of the standard deviations; the error is infinite where there are too few values for a jackknife."""
    centred = [series - series.mean() for series in (raw, improved)]
    data = np.stack([*centred, *(series**2 for series in centred)], axis=1)

    def ratio(means: Array) -> float:
        variances = means[2:] - means[:2] ** 2
        return math.sqrt(variances[0] / variances[1]) if variances[1] > 0 else math.inf

    if len(raw) < 2 * BINS:
        return ratio(data.mean(axis=0)), math.inf
    with np.errstate(invalid="ignore"):
        return statistics.jackknife(data, ratio, BINS)
