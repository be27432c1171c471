"""Plain control variates of phi^4 and of U(1), from eq. (5) of Bedaque 2023: the material of the mutants in `variates`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Variate:
    """What the two have in common: ``f = div g - g . force``."""

    killed_by: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return type(self).__name__

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)

    def control_variate(self, x: Array) -> Array:
        return self.divergence(x) - (self.control_variate_field(x) * self.force(x)).sum(axis=tuple(range(1, x.ndim)))

    def control_variate_field(self, x: Array) -> Array:
        raise NotImplementedError

    def divergence(self, x: Array) -> Array:
        raise NotImplementedError

    def force(self, x: Array) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class ScalarVariate(Variate):
    """For the correlator of phi^4 at a distance t: from slice means ``P_a`` and their own variates ``D_a = u_a . force``.

    ``u_a`` is the propagator of a free field applied to the slice a. With ``R_a = P_a - D_a``, which would be zero without
    interaction, the field is ``g = - mean_a [u_a P_b + u_b R_a]``, ``b = a + t``, so that ``O - f = mean_a [R_a R_b] - div g``.
    """

    m2: float = 0.5
    lam: float = 2.0
    shape: tuple[int, int] = (4, 4)
    t: int = 1
    mass2: float = 0.7
    improvement_ratio: float | None = 6.0
    theory: ClassVar[str] = "phi4"

    @property
    def observable(self) -> str:
        return f"correlator_{self.t}"

    def force(self, x: Array) -> Array:
        return np.asarray((self.m2 + self.lam / 6 * x * x) * x - self.laplacian(x))

    def laplacian(self, x: Array) -> Array:
        return np.asarray(sum(np.roll(x, step, axis) - x for axis in (-2, -1) for step in (1, -1)))

    def slices(self) -> Array:
        """``p_a``, the gradient of ``P_a``, ``(slice, T, X)``."""
        n_t, n_x = self.shape
        return np.repeat(np.eye(n_t)[:, :, None], n_x, axis=2) / n_x

    def shifted(self, values: Array) -> Array:
        """Those of slice ``a + t`` in place of a; slices are the second axis of values, the first of fields."""
        return np.roll(values, -self.t, axis=0 if values.ndim == 3 else 1)

    def spread(self) -> Array:
        """``u_a``, ``(slice, T, X)``."""
        n_t, n_x = self.shape
        hats = [4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in (n_t, n_x)]
        return np.asarray(np.fft.ifft2(np.fft.fft2(self.slices()) / (hats[0][:, None] + hats[1] + self.mass2)).real)

    def means(self, x: Array) -> Array:
        """``P_a``, ``(chain, slice)``."""
        return np.asarray(x.mean(axis=2))

    def remainders(self, x: Array) -> Array:
        """``R_a``."""
        return self.means(x) - np.einsum("ats,nts->na", self.spread(), self.force(x))

    def control_variate_field(self, x: Array) -> Array:
        u = self.spread()
        return (
            -np.einsum("na,ats->nts", self.shifted(self.means(x)), u) / self.shape[0]
            - np.einsum("na,ats->nts", self.remainders(x), self.shifted(u)) / self.shape[0]
        )

    def divergence(self, x: Array) -> Array:
        """``- mean_a [u_a . p_b + u_b . grad R_a]``, ``grad R_a = p_a - (d force/d phi) u_a``."""
        u, p = self.spread(), self.slices()
        linear = self.m2 * u - self.laplacian(u)
        constant = (u * self.shifted(p)).sum() + (self.shifted(u) * (p - linear)).sum()
        return np.asarray(self.overlap(x) - constant) / self.shape[0]

    def overlap(self, x: Array) -> Array:
        """The part of ``sum_a u_b . (d force/d phi) u_a`` that depends on the field."""
        u = self.spread()
        return np.asarray(np.einsum("nts,ts->n", self.lam / 2 * x * x, (self.shifted(u) * u).sum(axis=0)))


@dataclass(frozen=True)
class GaugeVariate(Variate):
    """For the plaquette of U(1): every link has the sines of its two plaquettes, ``g_l = c sum_P +- sin theta_P``."""

    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    strength: float = 0.073
    improvement_ratio: float | None = 1.5
    theory: ClassVar[str] = "u1"
    observable: ClassVar[str] = "plaquette"

    def angles(self, x: Array) -> Array:
        return x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]

    def charge(self, x: Array) -> Array:
        return np.asarray((np.remainder(self.angles(x) + np.pi, 2 * np.pi) - np.pi).sum(axis=(1, 2)) / (2 * np.pi))

    def around(self, values: Array) -> Array:
        """The signed sum of a function of the plaquettes over the two that have a link."""
        return np.stack([values - np.roll(values, 1, axis=2), np.roll(values, 1, axis=1) - values], axis=1)

    def force(self, x: Array) -> Array:
        return self.beta * self.around(np.sin(self.angles(x)))

    def odd(self, angles: Array) -> Array:
        """Of a plaquette."""
        return np.sin(angles)

    def slope(self, angles: Array) -> Array:
        return np.cos(angles)

    @property
    def factor(self) -> float:
        return self.strength / (self.shape[0] * self.shape[1])

    def control_variate_field(self, x: Array) -> Array:
        return self.factor * self.around(self.odd(self.angles(x)))

    def divergence(self, x: Array) -> Array:
        """Each plaquette is moved by four links."""
        return 4 * self.factor * self.slope(self.angles(x)).sum(axis=(1, 2))
