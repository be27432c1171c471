"""A plain HMC of phi^4, and one with coloured momenta: the material of the mutants in `scalars`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .clay import Array, Clay, Rngs


@dataclass(frozen=True)
class ScalarClay(Clay):
    """Correct HMC of phi^4."""

    m2: float = 0.1
    lam: float = 6.0
    shape: tuple[int, int] = (4, 4)
    step_size: float = 0.35
    n_steps: int = 4
    theory: ClassVar[str] = "phi4"
    charge: ClassVar[Any] = None
    sine_charge: ClassVar[Any] = None
    plaquette: ClassVar[Any] = None
    wilson_loop: ClassVar[Any] = None

    @property
    def momentum_shape(self) -> tuple[int, ...]:
        return self.shape

    def wrapped(self, x: Array) -> Array:
        return x

    # --- action, force, observables -----------------------------------------------------------------------------------
    def bonds(self, x: Array) -> list[Array]:
        """Differences to the next site, in time and in space."""
        return [np.roll(x, -1, axis) - x for axis in (1, 2)]

    def potential(self, x: Array) -> Array:
        return (self.m2 / 2 + self.lam / 24 * x * x) * x * x

    def slope(self, x: Array) -> Array:
        """Of the potential."""
        return (self.m2 + self.lam / 6 * x * x) * x

    def laplacian(self, x: Array) -> Array:
        return np.asarray(sum(bond - np.roll(bond, 1, axis) for axis, bond in zip((1, 2), self.bonds(x), strict=True)))

    def action(self, x: Array) -> Array:
        bonds = sum(bond**2 for bond in self.bonds(x))
        return np.asarray((bonds / 2 + self.potential(x)).sum(axis=(1, 2)))

    def force(self, x: Array) -> Array:
        return self.slope(x) - self.laplacian(x)

    def correlator(self, x: Array, t: int) -> Array:
        means = x.mean(axis=2)
        return np.asarray((means * np.roll(means, -t, axis=1)).mean(axis=1))

    def field_moment(self, x: Array, k: int) -> Array:
        return np.asarray((x**k).mean(axis=(1, 2)))


@dataclass(frozen=True)
class FourierClay(ScalarClay):
    """Correct HMC with ``H = S + v.K^-1.v/2``, shown in white momenta ``w = K^(-1/2) v``."""

    mass2: float = 0.5
    step_size: float = 0.45
    n_steps: int = 4

    def modes(self) -> list[Array]:
        """``4 sin^2(k/2)`` along either axis."""
        return [4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in self.shape]

    def covariance(self) -> Array:
        """``K(k)``."""
        hat_t, hat_x = self.modes()
        return np.asarray(hat_t[:, None] + hat_x + self.mass2)

    def filtered(self, field: Array, factor: Array) -> Array:
        return np.asarray(np.fft.ifft2(np.fft.fft2(field) * factor).real)

    def white(self, v: Array) -> Array:
        return self.filtered(v, self.covariance() ** -0.5)

    def coloured(self, w: Array) -> Array:
        return self.filtered(w, self.covariance() ** 0.5)

    def drift(self, x: Array, w: Array) -> Array:
        return x + self.filtered(w, 1 / self.covariance())

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        x, v = super().trajectory(x, self.coloured(v), force)
        return x, self.white(v)

    def drawn(self, normal: Array) -> Array:
        """Momenta v of these normal numbers."""
        return self.coloured(normal)

    def momenta(self, rngs: Rngs) -> Array:
        return self.white(self.drawn(super().momenta(rngs)))
