"""The preconditioned two-stage variate of phi^4: one-slice improvement squared, with exact overlap terms, then a regression.

Stage 1 is that of `slices`: the correlator of improved slice means less its overlap terms, at any distance.

Stage 2 regresses it, or the moments of the field themselves, on mean-zero scalars: the lattice means ``E_j`` of brackets
of odd monomials, and products of brackets with slice means. The field ``g_k^a P_b`` of one even monomial on one slice
has ``A = P_b B_k^a + g_k^a . grad P_b``, in momentum space ``Re[P(-p) B_k(p)] + G(p) sum_x h_k/X^2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import check_number, site_sum
from ...observables.quantities import Correlator, FieldMoment
from .base import check_enough
from .files import KINDS
from .monomials import Propagator
from .phi4_fields import check_action, check_observable, checked_fields, phi4_record
from .ridge import ridge
from .slices import EVEN, ODD, PRODUCTS, Stage, fitted_stage

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoStage:
    """The preconditioned two-stage method for `Correlator` and `FieldMoment` of fields ``(n, T, X)``.

    Parameters
    ----------
    action : `Phi4` of the configurations.
    mass2 : M2 of the propagator, positive. By default that of 1, 2, 4, 8, 16 times ``<(sum_x F)^2>/V`` that leaves least of the
        slice means on folds of the configurations; ``<(sum_x F)^2>/V = m2 + lam <phi^2>/2`` is the mean curvature of the action.
    """

    action: Phi4
    mass2: float | None = None

    def __post_init__(self) -> None:
        check_action(self.action)
        if self.mass2 is not None:
            check_number("mass2", self.mass2, 0, above=True)

    def fit(self, configurations: ArrayLike, observable: Correlator | FieldMoment) -> TwoStageVariate:
        """The variate of one observable."""
        return self.fit_all(configurations, (observable,))[0]

    def fit_slices(self, configurations: ArrayLike, times: Sequence[int]) -> tuple[TwoStageVariate, ...]:
        """Variates of the correlator at these times, with one stage 1; `joint_values` evaluates them together."""
        return self.fit_all(configurations, tuple(Correlator(t) for t in times))

    def fit_all(
        self, configurations: ArrayLike, observables: Sequence[Correlator | FieldMoment]
    ) -> tuple[TwoStageVariate, ...]:
        """Variates of several observables, with one stage 1.

        Raises `ValueError` for other observables, numbers that are not finite, no more configurations than features, and fields
        without a force.
        """
        x = checked_fields(configurations)
        for observable in observables:
            check_observable(observable, x.shape[1])
        check_enough(len(x), max(len(EVEN), n_features(x.shape[1])))
        stage = fitted_stage(self.action, x, self.mass2)
        correlators = any(isinstance(observable, Correlator) for observable in observables)
        scores, features = stage.scores(x, correlators)
        targets = [
            stage.at_time(scores, observable.t) if isinstance(observable, Correlator) else observable(x)
            for observable in observables
        ]
        coefficients = ridge(features, np.stack(targets, axis=1)).coefficients
        return tuple(
            TwoStageVariate(stage, observable, np.ascontiguousarray(column))
            for observable, column in zip(observables, coefficients.T, strict=True)
        )


@dataclass(frozen=True, eq=False)
class TwoStageVariate:
    """``f = O - Y + features . coefficients`` for a correlator O, ``features . coefficients`` for a moment of the field."""

    stage: Stage
    observable: Correlator | FieldMoment
    coefficients: Array = field(repr=False)

    @property
    def action(self) -> Phi4:
        return self.stage.action

    @property
    def field_shape(self) -> tuple[int, int]:
        return self.stage.propagator.shape

    def __call__(self, x: ArrayLike) -> Array:
        return joint_values((self,), x)[:, 0]

    def from_scores(self, x: Array, scores: Array, features: Array) -> Array:
        """The variate of fields whose scores and features are known, ``(chain,)``."""
        regression = site_sum(features * self.coefficients)
        if isinstance(self.observable, FieldMoment):
            return regression
        return self.observable(x) - self.stage.at_time(scores, self.observable.t) + regression

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and JSON for `save`."""
        action, propagator = self.stage.action, self.stage.propagator
        meta = {
            "action": {"m2": action.m2, "lam": action.lam},
            "shape": list(propagator.shape),
            "observable": str(self.observable),
            "mass2": propagator.mass2,
        }
        return {"kernel": self.stage.kernel, "coefficients": self.coefficients}, meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> TwoStageVariate:
        """What `record` gave."""
        action, shape, observable = phi4_record(meta)
        n_t = shape[0]
        kernel, coefficients = arrays["kernel"], arrays["coefficients"]
        if kernel.shape != (n_t // 2 + 1, len(EVEN)) or coefficients.shape != (n_features(n_t),):
            raise ValueError(f"kernel, coefficients: got shapes {kernel.shape}, {coefficients.shape} for T = {n_t}")
        return cls(Stage(action, Propagator(shape, meta["mass2"]), kernel), observable, coefficients)


KINDS["TwoStageVariate"] = TwoStageVariate


def joint_values(variates: Sequence[TwoStageVariate], x: ArrayLike) -> Array:
    """Several variates with one stage 1 of fields ``(chain, T, X)``, ``(chain, variate)``, for little more than the cost of one."""
    stage = variates[0].stage
    if any(variate.stage is not stage for variate in variates):
        raise ValueError("variates: got some with another stage 1, expected those of one fit")
    x = checked_fields(x, stage.propagator.shape, "x")
    scores, features = stage.scores(x, any(isinstance(variate.observable, Correlator) for variate in variates))
    return np.stack([variate.from_scores(x, scores, features) for variate in variates], axis=1)


def n_features(n_t: int) -> int:
    """Of stage 2."""
    return len(ODD) + len(PRODUCTS) * (n_t // 2 + 1)
