"""Wrong HMC of SU(2): each overrides one method of the clay in `matrices_clay` and names the checks it must fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .clay import Array, Rngs
from .matrices_clay import Complex, MatrixClay, T, at, h


class ActionWithoutColours(MatrixClay):
    """the action is -beta sum Re tr P, without 1/N"""

    killed_by = (
        "static.action",
        "static.force_gradient",
        "transcript.energy",
        "exact_start.observables_later",
        "golden.vectors",
    )

    def action(self, x: Complex) -> Array:
        return 2 * super().action(x)


@dataclass(frozen=True)
class ExtentsInAQuotient(MatrixClay):
    """the action is T/X times too large, which is right on the square that is declared"""

    shape: tuple[int, int] = (4, 4)
    killed_by = ("static.action", "static.force", "golden.vectors")

    def action(self, x: Complex) -> Array:
        return super().action(x) * self.shape[0] / self.shape[1]

    def force(self, x: Complex) -> Array:
        return super().force(x) * self.shape[0] / self.shape[1]


@dataclass(frozen=True)
class LoopsTurned(MatrixClay):
    """plaquette and Wilson loops take space for time where the lattice is not a square"""

    shape: tuple[int, int] = (4, 4)
    killed_by = ("static.plaquette", "static.wilson_loop", "golden.vectors")

    def plaquette(self, x: Complex) -> Array:
        return super().plaquette(x) * self.shape[0] / self.shape[1]

    def wilson_loop(self, x: Complex, extent_t: int, extent_x: int) -> Array:
        turned = self.shape[0] != self.shape[1]
        return super().wilson_loop(x, *((extent_x, extent_t) if turned else (extent_t, extent_x)))


class TraceWithoutColours(MatrixClay):
    """the plaquette is the real trace, without 1/N"""

    killed_by = ("static.plaquette", "golden.vectors")

    def plaquette(self, x: Complex) -> Array:
        return 2 * super().plaquette(x)


class ColourTraceWithoutHalf(MatrixClay):
    """the force is taken along generators with tr T_a T_b = delta_ab: the 1/2 is missing"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def components(self, m: Complex) -> Array:
        return 2 * super().components(m)


class TransposedGenerators(MatrixClay):
    """the force is taken along the complex conjugate generators"""

    killed_by = (
        "static.force",
        "static.force_gradient",
        "static.gauge_invariance",
        "maps.energy_scaling",
        "golden.vectors",
    )

    def generators(self) -> Complex:
        return T.conj()


class StapleWithoutDagger(MatrixClay):
    """one link of a staple lacks its dagger: the sampler stays exact"""

    killed_by = ("static.force", "static.gauge_invariance", "maps.equivariance", "golden.vectors")

    def staples(self, x: Complex) -> Complex:
        u0, u1 = x[:, 0], x[:, 1]
        out = super().staples(x)
        out[:, 0] += at(u1, 1, 0) @ (at(u0, 0, 1) - h(at(u0, 0, 1))) @ h(u1)
        return out


class OneStaple(MatrixClay):
    """a time link has the plaquette to its right only"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def staples(self, x: Complex) -> Complex:
        out = super().staples(x)
        out[:, 0] = at(x[:, 1], 1, 0) @ h(at(x[:, 0], 0, 1)) @ h(x[:, 1])
        return out


class DriftOnTheRight(MatrixClay):
    """links move by U exp(i eps v), with the force of exp(i eps v) U: exact, and no longer an integrator"""

    killed_by = ("maps.energy_scaling", "maps.equivariance")

    def drift(self, x: Complex, w: Array) -> Complex:
        return x @ self.exponential(w)


class LinearDrift(MatrixClay):
    """links move by U + i eps v U: out of the group"""

    killed_by = ("driver.stays_in_group", "maps.round_trip")

    def drift(self, x: Complex, w: Array) -> Complex:
        return x + 1j * np.tensordot(w, T, axes=(-1, 0)) @ x

    def wrapped(self, x: Complex) -> Complex:
        return x


class SingleLinks(MatrixClay):
    """links are kept in single precision"""

    killed_by = ("driver.stays_in_group", "transcript.next_state")

    def wrapped(self, x: Complex) -> Complex:
        return x.astype(np.complex64).astype(np.complex128)


class LinksKeptAsTheyAre(MatrixClay):
    """a phase that rounding would give is left on the links: U(2) instead of SU(2)"""

    killed_by = ("driver.stays_in_group",)

    def wrapped(self, x: Complex) -> Complex:
        return x * np.exp(1e-6j)


class MomentaPerMatrix(MatrixClay):
    """momenta have variance 1/2, that of a matrix normalised by its trace"""

    killed_by = ("transcript.momenta", "exact_start.energy_exchange")

    def momenta(self, rngs: Rngs) -> Array:
        return super().momenta(rngs) * np.sqrt(0.5)


class CentreOneWay(MatrixClay):
    """after each update the time links of a slice change sign where that makes the Polyakov loop negative"""

    killed_by = ("exact_start.observables", "exact_start.observables_later")
    reversible: ClassVar[bool] = False

    def choose(self, accept: NDArray[np.bool_], x_end: Complex, x: Complex) -> Complex:
        now = super().choose(accept, x_end, x)
        loop = now[:, 0, 0]
        for t in range(1, self.shape[0]):
            loop = loop @ now[:, 0, t]
        now[self.trace(loop).mean(axis=1) > 0, 0, 0] *= -1
        return now
