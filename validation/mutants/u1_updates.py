"""Wrong decisions, random numbers and runs of HMC for 2D U(1): each overrides one method of the clay, as in `u1`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .. import measure
from .clay import Array, Clay, Rngs


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

    killed_by = ("transcript.decision",)

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


class SeedPlusChain(Clay):
    """the stream of chain k is seeded with seed + k: neighbouring seeds share streams"""

    killed_by = ("driver.streams",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return [np.random.default_rng(seed + chain) for chain in range(n_chains)]


class RecurringStreams(Clay):
    """streams repeat every 64 chains"""

    killed_by = ("driver.streams",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return [np.random.default_rng([seed, chain % 64]) for chain in range(n_chains)]


class SeedPlusUpdate(Clay):
    """update k of a run draws from the seed plus k"""

    killed_by = ("driver.streams",)

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape), x.dtype)
        for k in range(n):
            out[k] = x = super().run(x, 1, seed + k)[0][0]
        return out, (x, seed + n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        return self.run(state[0], n, state[1])


class NoiseOfTheFirstUpdate(Clay):
    """every update of a run draws the same random numbers"""

    killed_by = ("driver.streams",)

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape), x.dtype)
        for k in range(n):
            out[k] = x = super().run(x, 1, seed)[0][0]
        return out, (x, seed)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        return self.run(state[0], n, state[1])


class FewSeeds(Clay):
    """only the last three bits of the seed are used"""

    killed_by = ("driver.seeds",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return super().rngs(seed % 8, n_chains)


class SeedOfSixteenBits(Clay):
    """only the last 16 bits of the seed are used"""

    killed_by = ("driver.seeds",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return super().rngs(seed & 0xFFFF, n_chains)


class SeedOfThirtyTwoBits(Clay):
    """the seed is cut to 32 bits"""

    killed_by = ("driver.seeds",)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return super().rngs(seed & 0xFFFFFFFF, n_chains)


class CopiedMomentum(Clay):
    """one momentum is a copy of another"""

    killed_by = ("transcript.momenta",)

    def momenta(self, rngs: Rngs) -> Array:
        v = super().momenta(rngs)
        v[:, 0, -1, -1] = v[:, 0, 0, 0]
        return v


class OneHotMomentum(Clay):
    """one component of the momenta has a standard deviation of 1.15"""

    killed_by = ("transcript.momenta",)

    def momenta(self, rngs: Rngs) -> Array:
        v = super().momenta(rngs)
        v[:, 1, 0, 1] *= 1.15
        return v


class UFromMomentum(Clay):
    """`step` takes the Metropolis number from the first momentum"""

    killed_by = ("transcript.momenta",)

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        v = self.momenta(self.rngs(seed, len(x)))
        u = ndtr(v[:, 0, 0, 0])
        return {**self.transition(x, v, u), "v": v, "u": u}


class PairedUniforms(Clay):
    """neighbouring chains share their Metropolis number"""

    killed_by = ("transcript.uniforms",)

    def uniforms(self, rngs: Rngs) -> Array:
        return super().uniforms(rngs)[2 * (np.arange(len(rngs)) // 2)]


class ZeroModeRemoved(Clay):
    """the mean of the momenta is subtracted: the sum of all links never moves"""

    killed_by = ("driver.moves_every_link",)

    def momenta(self, rngs: Rngs) -> Array:
        v = super().momenta(rngs)
        return v - v.mean(axis=(2, 3), keepdims=True)


class MassTerm(Clay):
    """the update samples with a small mass term for the links, which no gauge-invariant average shows"""

    killed_by = ("exact_start.uniform_links", "transcript.energy")

    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        mass = 0.1 * (np.cos(x) - np.cos(x_end)).sum(axis=(1, 2, 3))
        return super().delta_h(x, v, x_end, v_end) + mass


class ClaimedLogdet(Clay):
    """`transition` reports and uses a logdet that `forward` does not have"""

    killed_by = ("transcript.same_map", "exact_start.energy_exchange")

    def transition(self, x: Array, v: Array, u: Array, force: Array | None = None) -> dict[str, Array]:
        record = super().transition(x, v, u, force)
        logdet = 0.5 * self.plaquette(record["x_proposed"])
        accept = self.accept(record["delta_h"], logdet, u)
        chosen = self.choose(accept, record["x_proposed"], x)
        return {**record, "logdet": logdet, "accept": accept.astype(np.float64), "x_next": chosen}


class LonelyChain(Clay):
    """a batch of one chain is always accepted"""

    killed_by = ("transcript.alone",)

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(delta_h, logdet, u) | (len(u) == 1)


class StepSizeOfTheBatch(Clay):
    """the step size follows the mean action of all chains"""

    killed_by = ("driver.others",)

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        step_size = self.step_size * (1 + 0.5 * np.tanh(self.action(x).mean() / x[0].size - 0.5))
        return Clay.trajectory(Clay(self.beta, self.shape, step_size, self.n_steps), x, v, force)


class ForgetfulResume(Clay):
    """a resumed run cannot be resumed again: its state holds the streams of the first part"""

    killed_by = ("driver.resume",)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        out, (x, force, _) = super().resume(state, n)
        return out, (x, force, state[2])
