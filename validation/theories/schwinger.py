"""The Schwinger model with two flavours: two-dimensional U(1) with fermions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact.schwinger_2x2 import TwoByTwo, two_by_two

from .. import measure
from .base import Array, Observable
from .circle import U1
from .fermions import Flavours, Rejection, parsed

SCALING = 512  # exact configurations that give the centre and width of bounded functions


@dataclass(frozen=True)
class Schwinger(U1):
    """U(1) with two flavours: ``S = beta sum_P (1 - cos theta_P) - 2 log |det D|``, fields ``(n, 2, T, X)``."""

    kappa: float
    antiperiodic: bool = True
    name: ClassVar[str] = "schwinger"
    parameters: ClassVar[tuple[str, ...]] = ("beta", "kappa", "shape", "antiperiodic")
    required: ClassVar[tuple[str, ...]] = ("beta", "kappa", "shape")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Schwinger:
        """From declared attributes; raises `ValueError`."""
        gauge, (kappa, antiperiodic) = U1.parse(given), parsed(given)
        if not kappa:
            raise ValueError("kappa: got 0, expected a number > 0; without fermions the theory is u1")
        return cls(gauge.beta, gauge.shape, kappa, antiperiodic)

    def declared(self) -> dict[str, Any]:
        return {"beta": self.beta, "kappa": self.kappa, "shape": self.shape, "antiperiodic": self.antiperiodic}

    @property
    def thrift(self) -> int:  # type: ignore[override]
        return 4 if self.volume > 8 else 2

    @property
    def flavours(self) -> Flavours:
        return Flavours(self.kappa, self.antiperiodic, np.ones((1, 1, 1), np.complex128))

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        return self._rejection.sample(rng, n)

    def starts(self, rng: np.random.Generator, n: int) -> Array:
        return self._rejection.starts(rng, n, self.flavours)

    @property
    def _rejection(self) -> Rejection:
        return Rejection(self.beta, self.kappa, self.shape, self.antiperiodic, 1)

    def configurations(self, rng: np.random.Generator) -> Array:
        """Those of U(1), equilibrium being that without fermions; fields where D is nearly singular are left out."""
        return self.flavours.judged(self.fields(rng))

    def action(self, x: Array) -> Array:
        return super().action(x) + self.flavours.action(x)

    def loop_action(self, x: Array) -> float:
        return super().loop_action(x) + self.flavours.loop_action(x)

    def loop_force(self, x: Array) -> Array:
        return super().loop_force(x) + self.flavours.loop_force(x)[..., 0]

    def action_rounding(self, x: Array) -> float:
        return super().action_rounding(x) + self.flavours.action_rounding(x)

    def force_rounding(self, x: Array) -> float:
        return super().force_rounding(x) + self.flavours.force_rounding(x)

    def step_rounding(self, x: Array, v: Array) -> float:
        """Of the angles, and of the force, which may be worse conditioned in the middle of a trajectory."""
        return super().step_rounding(x, v) + 10 * self.flavours.force_rounding(x)

    def truncation(self, x: Array, w: Array, h: float) -> float:
        """Twice the error that the same differences make of the oracle's own action."""
        s = {k: self.action(x + k * h * w) for k in (-2, -1, 1, 2)}
        slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
        exact = (np.array([self.loop_force(c) for c in x]) * w).sum(axis=(1, 2, 3))
        return super().truncation(x, w, h) + 2 * float(np.abs(slope - exact).max())

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        """Plaquette and log determinant; only the centre and width of a bounded function hang on their mean and deviation."""
        x = self.sample(np.random.default_rng(1), SCALING)
        cosines, logs = measure.mean_plaquette(x), self.flavours.log_determinant(x)
        mean = float(cosines.mean()) if self._quadrature is None else self._quadrature.plaquette
        known = self._quadrature is not None
        return (
            Observable(self.label, measure.mean_plaquette, mean, float(cosines.std()), known),
            Observable("<log |det D|>", self.flavours.log_determinant, float(logs.mean()), float(logs.std()), False),
        )

    @cached_property
    def _quadrature(self) -> TwoByTwo | None:
        """The answers of quadrature, on the one lattice that has them."""
        return two_by_two(self.beta, self.kappa, self.antiperiodic) if self.shape == (2, 2) else None

    def loop_mean(self, side: int) -> float | None:
        return None

    def uniform_phases(self, x: Array) -> Array:
        """Mean cosines of the links; the Polyakov loops are not uniform with fermions."""
        return measure.mean_phases(x)[:2]

    def charge_distribution(self) -> tuple[NDArray[np.int64], Array] | None:
        """Known by quadrature on 2x2."""
        if self._quadrature is None:
            return None
        charges = sorted(self._quadrature.charge_distribution.items())
        return np.array([q for q, _ in charges], dtype=np.int64), np.array([p for _, p in charges])
