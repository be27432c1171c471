"""Wrong observables, forces and trajectories of 2D U(1): each overrides one method of the clay and names the checks it must fail.

All are mistakes that were made somewhere. The docstring of a mutant is what `refimpl mutants` prints.
"""

from __future__ import annotations

import numpy as np

from .clay import Array, Clay


# --- observables -----------------------------------------------------------------------------------------------------
class RolledPlaquette(Clay):
    """the link theta_1 of the plaquette is taken at n - 0^ instead of n + 0^"""

    killed_by = ("static.action", "static.gauge_invariance", "static.golden", "golden.vectors")

    def angles(self, x: Array) -> Array:
        return x[:, 0] + np.roll(x[:, 1], 1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]


class ExchangedAxes(Clay):
    """time and space are exchanged: the plaquette runs the other way round"""

    killed_by = ("static.charge", "static.sine_charge", "static.golden", "golden.vectors")

    def charge(self, x: Array) -> Array:
        return -super().charge(x)

    def sine_charge(self, x: Array) -> Array:
        return -super().sine_charge(x)


class DroppedPlaquette(Clay):
    """the action leaves out the last plaquette"""

    killed_by = ("static.action", "static.translation", "static.force_gradient", "golden.vectors")

    def action(self, x: Array) -> Array:
        return super().action(x) - self.beta * (1 - np.cos(self.angles(x)[:, -1, -1]))


class NonCompactAction(Clay):
    """the action is the square of the plaquette angle"""

    killed_by = ("static.action", "static.periodicity", "exact_start.wilson_loops", "golden.vectors")

    def action(self, x: Array) -> Array:
        return 0.5 * self.beta * np.square(self.angles(x)).sum(axis=(1, 2))


class TruncatedCharge(Clay):
    """the charge is truncated to an integer instead of rounded"""

    killed_by = ("static.charge", "golden.vectors")

    def charge(self, x: Array) -> Array:
        return np.trunc(self.wrapped(self.angles(x)).sum(axis=(1, 2)) / (2 * np.pi))


class UnsignedWrap(Clay):
    """plaquettes are wrapped to [0, 2 pi) for the charge"""

    killed_by = ("static.charge", "static.conjugation", "golden.vectors")

    def charge(self, x: Array) -> Array:
        return np.rint(np.remainder(self.angles(x), 2 * np.pi).sum(axis=(1, 2)) / (2 * np.pi))


class UnwrappedCharge(Clay):
    """plaquettes are not wrapped for the charge, which is then always zero"""

    killed_by = ("static.charge", "golden.vectors")

    def charge(self, x: Array) -> Array:
        return np.rint(self.angles(x).sum(axis=(1, 2)) / (2 * np.pi))


class SineChargeNormalisation(Clay):
    """the sine charge lacks its 1/(2 pi)"""

    killed_by = ("static.sine_charge", "golden.vectors")

    def sine_charge(self, x: Array) -> Array:
        return np.sin(self.angles(x)).sum(axis=(1, 2))


class PlaquettePerLink(Clay):
    """the plaquette is averaged over links instead of plaquettes"""

    killed_by = ("static.plaquette", "golden.vectors")

    def plaquette(self, x: Array) -> Array:
        return 0.5 * super().plaquette(x)


class TransposedLoop(Clay):
    """the extents of a Wilson loop are exchanged"""

    killed_by = ("static.wilson_loop", "golden.vectors")

    def wilson_loop(self, x: Array, extent_t: int, extent_x: int) -> Array:
        return super().wilson_loop(x, extent_x, extent_t)


class DoubledTau(Clay):
    """tau_int in the convention 1 + 2 sum rho"""

    killed_by = ("static.tau_int",)

    def integrated_autocorrelation_time(self, series: Array) -> float:
        return 2 * super().integrated_autocorrelation_time(series)


class TauWithoutHalf(Clay):
    """tau_int without the 1/2 of lag zero"""

    killed_by = ("static.tau_int",)

    def integrated_autocorrelation_time(self, series: Array) -> float:
        return super().integrated_autocorrelation_time(series) - 0.5


class SinglePrecision(Clay):
    """float32 inside"""

    killed_by = ("static.action", "static.force", "maps.round_trip", "golden.vectors")

    def angles(self, x: Array) -> Array:
        return super().angles(x.astype(np.float32)).astype(np.float64)


# --- force and trajectory: mistakes that leave the sampler exact -------------------------------------------------------
class DoubledForce(Clay):
    """the force is twice too large"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def force(self, x: Array) -> Array:
        return 2 * super().force(x)


class FlippedForce(Clay):
    """the force has the wrong sign"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def force(self, x: Array) -> Array:
        return -super().force(x)


class WrongStaple(Clay):
    """the second plaquette of a time link is taken at n + 1^ instead of n - 1^"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.angles(x))
        return np.stack([s - np.roll(s, -1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)


class OpenBoundaryForce(Clay):
    """the force misses the plaquettes that close the lattice in space"""

    killed_by = ("static.force", "static.translation", "maps.energy_scaling", "maps.equivariance", "golden.vectors")

    def force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.angles(x))
        s[:, :, -1] = 0
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)


class FirstHalfKickMissing(Clay):
    """the trajectory starts with a drift"""

    killed_by = ("maps.round_trip", "maps.energy_scaling")

    def kicks(self) -> list[float]:
        return [0.0, *super().kicks()[1:]]


class LastHalfKickMissing(Clay):
    """the trajectory ends with a drift"""

    killed_by = ("maps.round_trip", "maps.energy_scaling")

    def kicks(self) -> list[float]:
        return [*super().kicks()[:-1], 0.0]


class FullEndKicks(Clay):
    """the first and last kicks take eps instead of eps/2: reversible, so only the order of the energy error shows it"""

    killed_by = ("maps.energy_scaling",)

    def kicks(self) -> list[float]:
        return [1.0] * (self.n_steps + 1)


class StaleForce(Clay):
    """the force is computed once and used for the whole trajectory"""

    killed_by = ("maps.round_trip", "transcript.reversible_proposal")

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        kept = self.kick_force(x)
        for _ in range(self.n_steps):
            v = v - 0.5 * self.step_size * kept
            x = x + self.step_size * v
            v = v - 0.5 * self.step_size * kept
        return x, v


class FrozenLink(Clay):
    """one link is never moved"""

    killed_by = ("maps.moves_every_link",)

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        v = v.copy()
        v[:, 0, 0, 0] = 0
        return super().trajectory(x, v, force)

    def kick_force(self, x: Array) -> Array:
        force = super().kick_force(x)
        force[:, 0, 0, 0] = 0
        return force


class CoupledChains(Clay):
    """the force of a chain takes one link from the next chain of the batch"""

    killed_by = ("maps.batch_of_one", "static.batch", "golden.vectors")

    def force(self, x: Array) -> Array:
        mixed = x.copy()
        mixed[:, 0, 0, 0] = np.roll(x[:, 0, 0, 0], 1)
        return super().force(mixed)


class NoisyMap(Clay):
    """the step size is drawn anew at every call"""

    killed_by = ("maps.repeat_call", "maps.round_trip")

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        fresh = self.replace(step_size=self.step_size * np.random.default_rng().uniform(0.9, 1.1))
        return Clay.trajectory(fresh, x, v, force)


class ConsistentLogdet(Clay):
    """a logdet that is wrong, and wrong consistently in both directions"""

    killed_by = ("maps.jacobian", "exact_start.creutz", "exact_start.energy_exchange")

    def logdet(self, x: Array) -> Array:
        return np.cos(self.angles(x)).sum(axis=(1, 2)) / 8


class ForwardLogdet(Clay):
    """the inverse reports the logdet of the forward direction"""

    killed_by = ("maps.logdet_antisymmetry",)

    def logdet(self, x: Array) -> Array:
        return np.full(len(x), 0.1)

    def inverse(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        z_start, logdet = super().inverse(z)
        return z_start, -logdet
