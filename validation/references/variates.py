"""Built-in control variates as targets: fitted to exact configurations of their own, judged on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.actions import Phi4
from refimpl.estimators.variates import u1 as groups
from refimpl.estimators.variates.factorised import Factorised
from refimpl.estimators.variates.linear import FreeField, Linear
from refimpl.estimators.variates.two_stage import TwoStage
from refimpl.exact import phi4, u1
from refimpl.observables.quantities import quantity
from refimpl.training import Neural, PlaquetteNet

Array = NDArray[np.float64]

SCALAR_METHODS: Mapping[str, Callable[[Phi4], Any]] = {
    "two-stage": TwoStage,
    "factorised": Factorised,
    "linear": Linear,
    "free": FreeField,
    "neural": lambda action: Neural(action, layers=1, steps=2000),
}
GAUGE_METHODS: Mapping[str, Callable[[float], Any]] = {
    "groups": groups.PlaquetteGroups,
    "conditional": groups.ConditionalMean,
    "neural": lambda beta: PlaquetteNet(beta, steps=200),
}
SEED = 20261125


@dataclass(frozen=True, eq=False)
class ReferenceVariate:
    """A control variate of phi^4, of one of `SCALAR_METHODS`."""

    m2: float = 0.1
    lam: float = 6.0
    shape: tuple[int, int] = (6, 4)
    observable: str = "correlator_2"
    method: str = "two-stage"
    fitted_to: int = 1000
    improvement_ratio: float | None = None
    theory: ClassVar[str] = "phi4"

    @property
    def name(self) -> str:
        return f"refimpl {self.method} variate of {self.observable}"

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)

    @cached_property
    def variate(self) -> Any:
        rng = np.random.default_rng(SEED)
        x = phi4.sample(rng, self.fitted_to, self.m2, self.lam, self.shape)
        return SCALAR_METHODS[self.method](Phi4(self.m2, self.lam)).fit(x, quantity(self.observable))

    def control_variate(self, x: Array) -> Array:
        return np.asarray(self.variate(x))

    @property
    def control_variate_field(self) -> Callable[[Array], Array] | None:
        """Of the net: the others have none that is written out."""
        return self.variate.g if self.method == "neural" else None


@dataclass(frozen=True, eq=False)
class ReferenceGaugeVariate:
    """A control variate of U(1), of one of `GAUGE_METHODS`, with the field it is the divergence of where there is one.

    Of a Wilson loop there is none: part of the variate is the difference to a loop whose plaquettes are exchanged.
    """

    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    observable: str = "plaquette"
    method: str = "groups"
    fitted_to: int = 1000
    improvement_ratio: float | None = None
    theory: ClassVar[str] = "u1"

    @property
    def name(self) -> str:
        return f"refimpl {self.method} variate of {self.observable}"

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)

    @cached_property
    def variate(self) -> Any:
        x = u1.sample(np.random.default_rng(SEED), self.fitted_to, self.beta, self.shape)
        return GAUGE_METHODS[self.method](self.beta).fit(x, quantity(self.observable))

    def control_variate(self, x: Array) -> Array:
        return np.asarray(self.variate(x))

    @property
    def control_variate_field(self) -> Callable[[Array], Array] | None:
        """Where it is offered."""
        if self.method == "neural" or (self.method, self.observable) == ("groups", "plaquette"):
            return self.variate.field
        return None
