"""Wrong implementations of 2D U(1) and its HMC: each overrides one method of the clay and names the checks it must fail.

All are mistakes that were made somewhere. The docstring of a mutant is what `refimpl mutants` prints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import measure
from .clay import Array, Clay, Rngs


# --- observables -----------------------------------------------------------------------------------------------------
class RolledPlaquette(Clay):
    """the link theta_1 of the plaquette is taken at n - 0^ instead of n + 0^"""

    killed_by = ("static.action", "static.gauge_invariance", "static.golden")

    def angles(self, x: Array) -> Array:
        return x[:, 0] + np.roll(x[:, 1], 1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]


class ExchangedAxes(Clay):
    """time and space are exchanged: the plaquette runs the other way round"""

    killed_by = ("static.charge", "static.sine_charge", "static.golden")

    def charge(self, x: Array) -> Array:
        return -super().charge(x)

    def sine_charge(self, x: Array) -> Array:
        return -super().sine_charge(x)


class DroppedPlaquette(Clay):
    """the action leaves out the last plaquette"""

    killed_by = ("static.action", "static.translation", "static.force_gradient")

    def action(self, x: Array) -> Array:
        return super().action(x) - self.beta * (1 - np.cos(self.angles(x)[:, -1, -1]))


class NonCompactAction(Clay):
    """the action is the square of the plaquette angle"""

    killed_by = ("static.action", "static.periodicity", "exact_start.wilson_loops")

    def action(self, x: Array) -> Array:
        return 0.5 * self.beta * np.square(self.angles(x)).sum(axis=(1, 2))


class TruncatedCharge(Clay):
    """the charge is truncated to an integer instead of rounded"""

    killed_by = ("static.charge",)

    def charge(self, x: Array) -> Array:
        return np.trunc(self.wrapped(self.angles(x)).sum(axis=(1, 2)) / (2 * np.pi))


class UnsignedWrap(Clay):
    """plaquettes are wrapped to [0, 2 pi) for the charge"""

    killed_by = ("static.charge", "static.conjugation")

    def charge(self, x: Array) -> Array:
        return np.rint(np.remainder(self.angles(x), 2 * np.pi).sum(axis=(1, 2)) / (2 * np.pi))


class UnwrappedCharge(Clay):
    """plaquettes are not wrapped for the charge, which is then always zero"""

    killed_by = ("static.charge",)

    def charge(self, x: Array) -> Array:
        return np.rint(self.angles(x).sum(axis=(1, 2)) / (2 * np.pi))


class SineChargeNormalisation(Clay):
    """the sine charge lacks its 1/(2 pi)"""

    killed_by = ("static.sine_charge",)

    def sine_charge(self, x: Array) -> Array:
        return np.sin(self.angles(x)).sum(axis=(1, 2))


class PlaquettePerLink(Clay):
    """the plaquette is averaged over links instead of plaquettes"""

    killed_by = ("static.plaquette",)

    def plaquette(self, x: Array) -> Array:
        return 0.5 * super().plaquette(x)


class TransposedLoop(Clay):
    """the extents of a Wilson loop are exchanged"""

    killed_by = ("static.wilson_loop",)

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

    killed_by = ("static.action", "static.force", "maps.round_trip")

    def angles(self, x: Array) -> Array:
        return super().angles(x.astype(np.float32)).astype(np.float64)


# --- force and trajectory: mistakes that leave the sampler exact -------------------------------------------------------
class DoubledForce(Clay):
    """the force is twice too large"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling")

    def force(self, x: Array) -> Array:
        return 2 * super().force(x)


class FlippedForce(Clay):
    """the force has the wrong sign"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling")

    def force(self, x: Array) -> Array:
        return -super().force(x)


class WrongStaple(Clay):
    """the second plaquette of a time link is taken at n + 1^ instead of n - 1^"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling")

    def force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.angles(x))
        return np.stack([s - np.roll(s, -1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)


class OpenBoundaryForce(Clay):
    """the force misses the plaquettes that close the lattice in space"""

    killed_by = ("static.force", "static.translation", "maps.energy_scaling", "maps.equivariance")

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

    killed_by = ("maps.batch_of_one", "static.batch")

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


# --- energies and decisions ----------------------------------------------------------------------------------------------
class KineticOmitted(Clay):
    """the accept/reject step compares actions, without the kinetic term"""

    killed_by = ("transcript.energy", "transcript.decision", "exact_start.energy_exchange")

    def kinetic(self, v: Array) -> Array:
        return np.zeros(len(v))


class MomentaRedrawnAfter(Clay):
    """momenta are drawn anew before H' is computed (the bug of the 2020 notes)"""

    killed_by = ("transcript.energy", "exact_start.energy_exchange")

    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        return super().delta_h(x, v, x_end, np.random.default_rng().standard_normal(v.shape))


class MomentaRedrawnBefore(Clay):
    """momenta are drawn anew between the computation of H and the trajectory"""

    killed_by = ("transcript.energy", "exact_start.energy_exchange")

    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        return super().delta_h(x, np.random.default_rng().standard_normal(v.shape), x_end, v_end)


class EnergiesExchanged(Clay):
    """accepted with exp(+dH): initial and final energy exchanged"""

    killed_by = (
        "transcript.decision",
        "exact_start.energy_exchange",
        "exact_start.plaquette",
        "exact_start.schwinger_dyson",
        "driver.plaquette",
    )

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(-delta_h, logdet, u)


class AlwaysAccepted(Clay):
    """no accept/reject"""

    killed_by = ("transcript.decision", "exact_start.energy_exchange")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return np.ones(len(u), dtype=bool)


class HalfEnergy(Clay):
    """accepted with exp(-dH/2)"""

    killed_by = ("transcript.decision", "exact_start.energy_exchange")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(0.5 * delta_h, logdet, u)


class AcceptedPerLink(Clay):
    """each link is accepted by itself, with the probability of its chain"""

    killed_by = ("transcript.next_state", "exact_start.energy_exchange")

    def transition(self, x: Array, v: Array, u: Array, force: Array | None = None) -> dict[str, Array]:
        record = super().transition(x, v, u, force)
        probability = np.exp(np.minimum(-record["delta_h"], 0))[:, None, None, None]
        pick = np.random.default_rng().random(x.shape) < probability
        return {**record, "x_next": np.where(pick, self.wrapped(record["x_proposed"]), x)}


class BatchDecision(Clay):
    """one decision for the whole batch, by the mean energy change"""

    killed_by = ("transcript.decision", "exact_start.energy_exchange")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(np.full_like(delta_h, delta_h.mean()), logdet, np.full_like(u, u[0]))


class OneWayWinding(Clay):
    """a winding proposal, ``x -> x + unit flux``, that is only ever made upwards: the direction never flips"""

    killed_by = ("exact_start.charge_exchange", "exact_start.charge_distribution", "driver.charge_distribution")

    def transition(self, x: Array, v: Array, u: Array, force: Array | None = None) -> dict[str, Array]:
        record = super().transition(x, v, u, force)
        x_now = record["x_next"]
        x_up = self.wrapped(x_now + measure.flux_configuration(self.shape, 1))
        accept = np.random.default_rng().random(len(x)) < np.exp(self.action(x_now) - self.action(x_up))
        return {**record, "x_next": self.choose(accept, x_up, x_now)}


class CouplingLeak(Clay):
    """trajectory and decision run at a coupling 3 % too large"""

    killed_by = ("transcript.energy", "transcript.same_map", "exact_start.plaquette_later")

    def transition(self, x: Array, v: Array, u: Array, force: Array | None = None) -> dict[str, Array]:
        return Clay.transition(Clay(1.03 * self.beta, self.shape, self.step_size, self.n_steps), x, v, u)


# --- random numbers and runs ----------------------------------------------------------------------------------------------
class HotMomenta(Clay):
    """momenta with a standard deviation of 1.1"""

    killed_by = ("transcript.momenta", "exact_start.energy_exchange")

    def momenta(self, rngs: Rngs) -> Array:
        return 1.1 * super().momenta(rngs)


class PushedMomenta(Clay):
    """momenta with a mean of 0.05"""

    killed_by = ("transcript.momenta", "exact_start.drift")

    def momenta(self, rngs: Rngs) -> Array:
        return super().momenta(rngs) + 0.05


class NarrowUniforms(Clay):
    """the Metropolis number is drawn from [0, 0.9)"""

    killed_by = ("transcript.uniforms",)

    def uniforms(self, rngs: Rngs) -> Array:
        return 0.9 * super().uniforms(rngs)


class SharedStream(Clay):
    """all chains use the random stream of the first"""

    killed_by = ("driver.streams", "driver.independent_chains")

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return [np.random.default_rng(seed) for _ in range(n_chains)]


class PairedStreams(Clay):
    """neighbouring chains share a random stream"""

    killed_by = ("driver.streams", "driver.independent_chains")

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return [np.random.default_rng([seed, chain // 2]) for chain in range(n_chains)]


class IgnoredSeed(Clay):
    """every call repeats the random numbers of the first"""

    killed_by = ("driver.seeds",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return super().rngs(0, n_chains)


class NeverAccepted(Clay):
    """every proposal is rejected"""

    killed_by = ("driver.moves_every_link", "transcript.decision")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return np.zeros(len(u), dtype=bool)


class WrongStep(Clay):
    """`run` is right, but `step` takes the square root of the acceptance"""

    killed_by = ("exact_start.energy_exchange", "transcript.same_step")

    def step(self, x: Array, seed: int) -> Array:
        rngs = self.rngs(seed, len(x))
        return Clay.transition(self, x, self.momenta(rngs), self.uniforms(rngs) ** 2)["x_next"]


class RejectionsDropped(Clay):
    """updates that every chain rejected are left out of the run"""

    killed_by = ("driver.outputs", "exact_start.plaquette_later")

    def advance(self, x: Array, force: Array, rngs: Rngs, n: int) -> tuple[Array, Any]:
        out, state = super().advance(x, force, rngs, n)
        before = np.concatenate([x[None], out[:-1]])
        return out[np.any(out[:, 0] != before[:, 0], axis=(1, 2, 3))], state


class StaleForceAfterReject(Clay):
    """after a rejection the kept force is that of the rejected proposal"""

    killed_by = ("exact_start.moves",)

    def next_force(self, record: dict[str, Array]) -> Array:
        return self.kick_force(record["x_proposed"])


class RestartedStreams(Clay):
    """a resumed run begins its random streams again"""

    killed_by = ("driver.resume",)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        x, force, _ = state
        return self.advance(x, force, self.rngs(0, len(x)), n)


MUTANTS: tuple[type[Clay], ...] = tuple(Clay.__subclasses__())
