"""Variates of phi^4 whose vector field is linear in the field: in closed form by ridge regression, and those of a free field.

A linear field that is covariant under translations is ``g(x) = sum_r m(r) phi(x - r)``, and

    f = div g - g . F = V m(0) - sum_r m(r) sum_x F(x) phi(x - r),   F = dS/dphi,

a sum over features of mean zero, as the networks without hidden layers of Bedaque 2023, sec. III, have it. In momentum space the
features are ``Z(k) = F(k) phi(k)^* / V - 1``, one for every mode. In the free theory ``F(k) = (k^^2 + m2) phi(k)``, and the
correlator and ``<phi^2>`` are exact combinations of them: Bhattacharya, Lawrence, Yoo, arXiv:2307.14950.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import check_number, site_sum
from ...observables.quantities import Correlator, FieldMoment
from .base import check_enough
from .files import KINDS
from .phi4_fields import check_action, check_observable, checked_fields, phi4_record
from .ridge import FLAT, ridge

Array = NDArray[np.float64]

SPACES = ("all", "reflection", "momentum_zero")
MASSES = 2.0 ** np.arange(-12, 7)  # squared: where the search for the best one starts
CHUNK = 1 << 20


@dataclass(frozen=True)
class Linear:
    """Ridge regression of an observable on the features ``Z``; penalty by folds of the configurations.

    Parameters
    ----------
    action : `Phi4` of the configurations.
    space : "all": any m(r), V features; "reflection": m(r) even in both components of r, ``(T//2 + 1)(X//2 + 1)``;
        "momentum_zero": m(r) even in time and constant in space, ``T//2 + 1``. By default where the variate of the free theory
        lies: "momentum_zero" for correlators of slice means, "reflection" for moments of the field.
    """

    action: Phi4
    space: str | None = None

    def __post_init__(self) -> None:
        check_action(self.action)
        if self.space is not None and self.space not in SPACES:
            raise ValueError(f"space: got {self.space!r}, expected one of {', '.join(SPACES)}")

    def fit(self, configurations: ArrayLike, observable: Correlator | FieldMoment) -> LinearVariate:
        """Raises `ValueError` for other observables, numbers that are not finite, and no more configurations than features."""
        x = checked_fields(configurations)
        shape = (x.shape[1], x.shape[2])
        check_observable(observable, shape[0])
        space = self.space or space_of(observable)
        check_enough(len(x), n_features(shape, space))
        fit = ridge(features(self.action, x, space), observable(x)[:, None])
        return LinearVariate(self.action, shape, observable, space, np.ascontiguousarray(fit.coefficients[:, 0]))


@dataclass(frozen=True, eq=False)
class LinearVariate:
    """``f = sum_k coefficients(k) Z(k)``."""

    action: Phi4
    field_shape: tuple[int, int]
    observable: Correlator | FieldMoment
    space: str
    coefficients: Array = field(repr=False)

    def __call__(self, x: ArrayLike) -> Array:
        fields = checked_fields(x, self.field_shape, "x")
        return site_sum(features(self.action, fields, self.space) * self.coefficients)

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and JSON for `save`."""
        meta = {
            "action": {"m2": self.action.m2, "lam": self.action.lam},
            "shape": list(self.field_shape),
            "observable": str(self.observable),
            "space": self.space,
        }
        return {"coefficients": self.coefficients}, meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> LinearVariate:
        """What `record` gave."""
        (action, shape, observable), coefficients = phi4_record(meta), arrays["coefficients"]
        if coefficients.shape != (n_features(shape, meta["space"]),):
            raise ValueError(f"coefficients: got shape {coefficients.shape} for {meta['space']!r} on {shape}")
        return cls(action, shape, observable, meta["space"], coefficients)


@dataclass(frozen=True)
class FreeField:
    """The variate that is exact for a free field of mass squared M2, times a scale: the two numbers that leave least variance."""

    action: Phi4

    def __post_init__(self) -> None:
        check_action(self.action)

    def fit(self, configurations: ArrayLike, observable: Correlator | FieldMoment) -> FreeFieldVariate:
        """Raises `ValueError` for other observables, numbers that are not finite, fewer than 3 configurations, and equal ones."""
        from scipy import optimize

        x = checked_fields(configurations)
        shape = (x.shape[1], x.shape[2])
        check_observable(observable, shape[0])
        check_enough(len(x), 2)
        values = observable(x) - observable(x).mean()
        z = features(self.action, x, space_of(observable))
        if not (z.std(axis=0) > FLAT * np.abs(z).max(axis=0)).any():
            raise ValueError(
                "configurations: got fields on which no feature varies, expected a sample of different ones"
            )
        z -= z.mean(axis=0)

        def projected(log_mass2: float) -> tuple[float, float]:
            """Best scale at this mass, and the variance that is left."""
            free = z @ free_coefficients(shape, observable, math.exp(log_mass2))
            scale = float(free @ values) / float(free @ free)
            return scale, float(np.mean((values - scale * free) ** 2))

        left_over = [projected(log_mass2)[1] for log_mass2 in np.log(MASSES)]
        best = int(np.argmin(left_over))
        around = (math.log(MASSES[max(0, best - 1)]), math.log(MASSES[min(len(MASSES) - 1, best + 1)]))
        log_mass2 = float(optimize.minimize_scalar(lambda m: projected(m)[1], bounds=around, method="bounded").x)
        return FreeFieldVariate(self.action, shape, observable, math.exp(log_mass2), projected(log_mass2)[0])


@dataclass(frozen=True, eq=False)
class FreeFieldVariate:
    """``f = scale sum_k coefficients(k; mass2) Z(k)`` with the `free_coefficients`."""

    action: Phi4
    field_shape: tuple[int, int]
    observable: Correlator | FieldMoment
    mass2: float
    scale: float

    def __post_init__(self) -> None:
        check_number("mass2", self.mass2, 0, above=True)
        check_number("scale", self.scale, -math.inf, above=True)

    def __call__(self, x: ArrayLike) -> Array:
        fields = checked_fields(x, self.field_shape, "x")
        coefficients = self.scale * free_coefficients(self.field_shape, self.observable, self.mass2)
        return site_sum(features(self.action, fields, space_of(self.observable)) * coefficients)

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and JSON for `save`."""
        meta = {
            "action": {"m2": self.action.m2, "lam": self.action.lam},
            "shape": list(self.field_shape),
            "observable": str(self.observable),
        }
        return {"parameters": np.array([self.mass2, self.scale])}, meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> FreeFieldVariate:
        """What `record` gave."""
        mass2, scale = arrays["parameters"]
        return cls(*phi4_record(meta), float(mass2), float(scale))


KINDS["LinearVariate"] = LinearVariate
KINDS["FreeFieldVariate"] = FreeFieldVariate


def features(action: Phi4, x: Array, space: str) -> Array:
    """``Z`` of fields ``(chain, T, X)``, ``(chain, feature)``, each of mean zero.

    "all": ``Re Z(k) + Im Z(k)`` of all k, which are independent, Re Z being even in k and Im Z odd; "reflection": Re Z(k), the
    mean of k and its images; "momentum_zero": those of them with ``k_1 = 0``.
    """
    few = max(1, CHUNK // x[0].size)
    return np.concatenate([_features(action, x[i : i + few], space) for i in range(0, len(x), few)])


def _features(action: Phi4, x: Array, space: str) -> Array:
    from scipy import fft

    n, (n_t, n_x) = len(x), x.shape[1:]
    force = np.ascontiguousarray(action.force(x))
    if space == "momentum_zero":
        modes = fft.rfft(force.mean(axis=2)) * np.conj(fft.rfft(x.mean(axis=2)))
        return modes.real * (n_x / n_t) - 1
    modes = fft.fft2(force) * np.conj(fft.fft2(np.ascontiguousarray(x))) / (n_t * n_x) - 1
    if space == "all":
        return np.reshape(modes.real + modes.imag, (n, -1))
    rows, columns = (np.arange(extent // 2 + 1) for extent in (n_t, n_x))
    real = (modes.real[:, rows] + modes.real[:, -rows])[
        :, :, columns
    ] / 2  # Re Z(k) is even in k: so in both components
    return np.reshape(real, (n, -1))


def n_features(shape: tuple[int, int], space: str) -> int:
    n_t, n_x = shape
    return {"all": n_t * n_x, "reflection": (n_t // 2 + 1) * (n_x // 2 + 1), "momentum_zero": n_t // 2 + 1}[space]


def space_of(observable: Correlator | FieldMoment) -> str:
    """Where the variate of a free field lies."""
    return "momentum_zero" if isinstance(observable, Correlator) else "reflection"


def free_coefficients(shape: tuple[int, int], observable: Correlator | FieldMoment, mass2: float) -> Array:
    """``cos(p t)/(V (p^^2 + M2))`` of a correlator, ``1/(V (k^^2 + M2))`` of moments, times the modes that a feature stands for."""
    hats, counts, cosines = [], [], []
    for extent in shape:
        k = 2 * np.pi * np.arange(extent // 2 + 1) / extent
        hats.append(4 * np.sin(k / 2) ** 2)
        counts.append(np.where((-np.arange(len(k))) % extent == np.arange(len(k)), 1.0, 2.0))
        cosines.append(np.cos(k * observable.t) if isinstance(observable, Correlator) else np.ones(len(k)))
    volume = shape[0] * shape[1]
    if isinstance(observable, Correlator):
        return counts[0] * cosines[0] / (volume * (hats[0] + mass2))
    return np.ravel(np.outer(*counts) / (volume * (np.add.outer(*hats) + mass2)))
