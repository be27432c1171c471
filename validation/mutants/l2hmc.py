"""Wrong generalized leapfrogs: each overrides one method of the clay and names the checks that must fail on it.

Most leave no statistical trace, and those with one leave it only where the weights are coherent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .l2hmc_clay import L2HMC, Array, Nets, Phase, Rngs

Mask = NDArray[np.bool_]


# --- the log-determinant ---------------------------------------------------------------------------------------------
class LogdetForgotten(L2HMC):
    """the logdet is not carried"""

    killed_by = ("maps.jacobian", "exact_start.creutz")

    def total(self, *logdets: Array) -> Array:
        return np.zeros(len(logdets[0]))


class BackwardLogdetSign(L2HMC):
    """the inverse reports the logdet of the forward direction"""

    killed_by = ("maps.logdet_antisymmetry", "exact_start.creutz")

    def undone_logdet(self, logdet: Array) -> Array:
        return logdet


class LogdetSignBothWays(L2HMC):
    """the logdet has the wrong sign, consistently in both directions"""

    killed_by = ("maps.jacobian", "exact_start.creutz")

    def total(self, *logdets: Array) -> Array:
        return -np.sum(logdets, axis=0)


class LogdetOverAllLinks(L2HMC):
    """the logdet of a position update sums over all links, also those that do not move"""

    killed_by = ("maps.jacobian",)

    def stretch_logdet(self, x: Array, es: Array, move: Mask) -> Array:
        return super().stretch_logdet(x, es, np.ones_like(move))


class LogdetFullStep(L2HMC):
    """the logdet of a half momentum update takes eps for eps/2"""

    killed_by = ("maps.jacobian", "exact_start.creutz")

    def kick_logdet(self, s: Array) -> Array:
        return 2 * super().kick_logdet(s)


class LinearLogdet(L2HMC):
    """the linear formula ``sum e s`` for the projective map"""

    killed_by = ("maps.jacobian",)

    def stretch_logdet(self, x: Array, es: Array, move: Mask) -> Array:
        return (move * es).sum(axis=(1, 2, 3))


class LogdetAtFullAngle(L2HMC):
    """the projective logdet takes cosine and sine of the angle, not of its half"""

    killed_by = ("maps.jacobian",)

    def stretch_logdet(self, x: Array, es: Array, move: Mask) -> Array:
        return super().stretch_logdet(2 * x, es, move)


@dataclass(frozen=True)
class FirstHalfLogdet(L2HMC):
    """the merged kernel takes the logdet of its forward layers only"""

    kernel: str = "merged"
    killed_by = ("maps.jacobian", "maps.reversal")

    def merged(self, z: Phase) -> tuple[Phase, Array]:
        return super().merged(z)[0], self.through(z)[1]


# --- position updates ------------------------------------------------------------------------------------------------
class ScaledAngle(L2HMC):
    """the affine counter-example: ``x exp(e s)`` for the projective map, wrapped, with its own logdet ``sum e s``"""

    killed_by = ("maps.round_trip", "maps.periodicity")

    def stretched(self, x: Array, es: Array) -> Array:
        return x * np.exp(es)

    def stretch_logdet(self, x: Array, es: Array, move: Mask) -> Array:
        return (move * es).sum(axis=(1, 2, 3))


class ShiftUndoneLast(L2HMC):
    """the inverse of a position update undoes the scaling first, then the shift"""

    killed_by = ("maps.round_trip", "transcript.reversible_proposal")

    def unmoved(self, layer: int, half: int, x: Array, v: Array, move: Mask) -> tuple[Array, Array]:
        s, t, q = self.x_net(layer, half, x, v, ~move)
        es = self.eps * s
        start = self.wrapped(self.stretched(x, -es) - self.shift(v, t, q))
        return np.where(move, start, x), -self.stretch_logdet(start, es, move)


class MaskNotSwapped(L2HMC):
    """both position updates move the same half of the links, and all layers have one mask"""

    killed_by = ("maps.moves_every_link", "driver.moves_every_link")

    def halves(self, layer: int) -> tuple[Mask, Mask]:
        return self.mask(0), self.mask(0)


class MaskLeak(L2HMC):
    """the net of a position update sees the links that it moves"""

    killed_by = ("maps.round_trip", "maps.jacobian")

    def x_net(self, layer: int, half: int, x: Array, v: Array, frozen: Mask) -> Nets:
        return super().x_net(layer, half, x, v, np.ones_like(frozen))


class MaskRedrawn(L2HMC):
    """the masks are drawn anew at every call"""

    killed_by = ("maps.repeat_call", "maps.round_trip")

    def mask(self, layer: int) -> Mask:
        return np.random.default_rng().random((2, *self.shape)) < 0.5


class OldMomentumInMove(L2HMC):
    """the inverse moves the links with the momenta it was given, not with those before the half update"""

    killed_by = ("maps.round_trip", "transcript.reversible_proposal")

    def unlayer(self, k: int, x: Array, v: Array) -> tuple[Array, Array, Array]:
        first, second = self.halves(k)
        earlier, a = self.unkicked(k, x, v, self.force(x))
        x, b = self.unmoved(k, 1, x, v, second)
        x, c = self.unmoved(k, 0, x, v, first)
        v, d = self.unkicked(k, x, earlier, self.force(x))
        return x, v, self.total(a, b, c, d)


class LaterMomentumInNet(L2HMC):
    """the nets of the position updates get v' (as printed in the 2020 notes), guessed by a plain half kick"""

    killed_by = ("maps.round_trip",)

    def layer(self, k: int, x: Array, v: Array) -> tuple[Array, Array, Array]:
        first, second = self.halves(k)
        v, a = self.kicked(k, x, v, self.force(x))
        x, b = self.moved(k, 0, x, v - 0.5 * self.eps * self.force(x), first)
        x, c = self.moved(k, 1, x, v - 0.5 * self.eps * self.force(x), second)
        v, d = self.kicked(k, x, v, self.force(x))
        return x, v, self.total(a, b, c, d)


# --- momentum updates --------------------------------------------------------------------------------------------------
class StaleForceInLayer(L2HMC):
    """the second half momentum update uses the force at the old x (the literal reading of both papers)"""

    killed_by = ("maps.round_trip", "transcript.reversible_proposal")

    def layer(self, k: int, x: Array, v: Array) -> tuple[Array, Array, Array]:
        first, second = self.halves(k)
        force = self.force(x)
        v, a = self.kicked(k, x, v, force)
        x, b = self.moved(k, 0, x, v, first)
        x, c = self.moved(k, 1, x, v, second)
        v, d = self.kicked(k, x, v, force)
        return x, v, self.total(a, b, c, d)


class SinglePrecisionMomenta(L2HMC):
    """momentum updates end in float32"""

    killed_by = ("maps.round_trip", "transcript.reversible_proposal")

    def kicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        v, logdet = super().kicked(layer, x, v, force)
        return v.astype(np.float32).astype(np.float64), logdet


class TranslationSign(L2HMC):
    """T has the wrong sign in the inverse"""

    killed_by = ("maps.round_trip",)

    def unkicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        s, t, q = self.v_net(layer, x, force)
        half = 0.5 * self.eps
        return (v + half * (force * np.exp(self.eps * q) - t)) * np.exp(-half * s), -self.kick_logdet(s)


class QSign(L2HMC):
    """Q has the wrong sign in the inverse"""

    killed_by = ("maps.round_trip",)

    def unkicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        s, t, q = self.v_net(layer, x, force)
        half = 0.5 * self.eps
        return (v + half * (force * np.exp(-self.eps * q) + t)) * np.exp(-half * s), -self.kick_logdet(s)


class UnscaledLast(L2HMC):
    """the inverse of a momentum update removes the scaling before the force"""

    killed_by = ("maps.round_trip",)

    def unkicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        s, t, q = self.v_net(layer, x, force)
        half = 0.5 * self.eps
        return v * np.exp(-half * s) + half * (force * np.exp(self.eps * q) + t), -self.kick_logdet(s)


class LayersInSameOrder(L2HMC):
    """the inverse runs its layers from the first to the last"""

    killed_by = ("maps.round_trip",)

    def backward_order(self) -> list[int]:
        return list(range(self.n_layers))


# --- nets ----------------------------------------------------------------------------------------------------------------
class RawAngle(L2HMC):
    """the nets see the raw angle: a valid sampler, but not a function on the circle"""

    killed_by = ("maps.periodicity",)

    def encoded(self, x: Array) -> list[Array]:
        return [x, np.sin(x)]


class BatchNormalised(L2HMC):
    """the hidden layer is normalised with the mean and variance of the batch, also while sampling"""

    killed_by = ("maps.batch_of_one", "transcript.alone")

    def hidden(self, h: Array) -> Array:
        return np.tanh((h - h.mean(axis=0)) / (h.std(axis=0) + 1))


class DropoutLeftOn(L2HMC):
    """a tenth of the hidden units is dropped at random while sampling"""

    killed_by = ("maps.repeat_call", "maps.round_trip")

    def hidden(self, h: Array) -> Array:
        return np.tanh(h) * (np.random.default_rng().random(h.shape) > 0.1)


# --- directions --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class DirectionNeverFlips(L2HMC):
    """the direction is always forward"""

    shape: tuple[int, int] = (2, 2)
    regime: str = "coherent_t"
    killed_by = ("transcript.direction", "exact_start.drift")

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.ones(len(rngs))


class DirectionOfTheBatch(L2HMC):
    """one direction is drawn for all chains"""

    killed_by = ("transcript.direction",)

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.full(len(rngs), 1.0 if rngs[0].random() < 0.5 else -1.0)


class DirectionFromU(L2HMC):
    """the direction is read off the Metropolis number"""

    killed_by = ("transcript.direction",)

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.where(u < 0.5, 1.0, -1.0)


class DirectionFromQuarters(L2HMC):
    """the direction is read off the second bit of the Metropolis number"""

    killed_by = ("transcript.direction",)

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.where((2 * u) % 1 < 0.5, 1.0, -1.0)


class DirectionFromMomenta(L2HMC):
    """the direction is the sign of the product of two momenta"""

    killed_by = ("transcript.direction",)

    def noise(self, rngs: Rngs) -> dict[str, Array]:
        noise = super().noise(rngs)
        return {**noise, "d": np.where(noise["v"][:, 0, 0, 0] * noise["v"][:, 0, 0, 1] > 0, 1.0, -1.0)}


class DirectionByChain(L2HMC):
    """even chains always go forward, odd ones backward"""

    killed_by = ("transcript.direction",)

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.where(np.arange(len(rngs)) % 2 == 0, 1.0, -1.0)


class BackwardByFlip(L2HMC):
    """the backward direction is the forward map between two flips of v, as if it were HMC"""

    killed_by = ("maps.reversal", "transcript.same_map")

    def proposed(self, x: Array, v: Array, d: Array | None) -> tuple[Phase, Array]:
        sign = np.ones((len(x), 1, 1, 1)) if d is None else d[:, None, None, None]
        (x_end, v_end), logdet = self.forward((x, sign * v))
        return (x_end, sign * v_end), logdet


class ForwardLogdetForBoth(L2HMC):
    """a backward proposal is accepted with the logdet of the forward map at the same point"""

    killed_by = ("maps.reversal", "transcript.same_map")

    def proposed(self, x: Array, v: Array, d: Array | None) -> tuple[Phase, Array]:
        return super().proposed(x, v, d)[0], self.forward((x, v))[1]


@dataclass(frozen=True)
class MergedWithoutFlip(L2HMC):
    """the merged kernel does not turn the momenta between its halves: it proposes where it stands"""

    kernel: str = "merged"
    killed_by = ("maps.moves_every_link", "driver.moves_every_link")

    def turned(self, v: Array) -> Array:
        return v


@dataclass(frozen=True)
class MergedOfTwoForwards(L2HMC):
    """the merged kernel runs its layers forward twice, with a flip between"""

    kernel: str = "merged"
    killed_by = ("maps.reversal", "maps.round_trip")

    def merged(self, z: Phase) -> tuple[Phase, Array]:
        (x, v), there = self.through(z)
        z, on = self.through((x, -v))
        return z, there + on


# --- the decision ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class LogdetNotUsed(L2HMC):
    """accepted without the logdet"""

    shape: tuple[int, int] = (2, 2)
    eps: float = 0.7
    killed_by = ("transcript.decision", "exact_start.energy_exchange")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(delta_h, np.zeros_like(logdet), u)


class LogdetSubtracted(L2HMC):
    """accepted with minus the logdet"""

    killed_by = ("transcript.decision",)

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(delta_h, -logdet, u)


class MomentumRedrawn(L2HMC):
    """the momentum is drawn anew before H' is computed"""

    killed_by = ("transcript.energy", "transcript.decision")

    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        return super().delta_h(x, v, x_end, np.random.default_rng().standard_normal(v.shape))
