"""Wrong joint samples and pseudomarginal chains: each overrides one method of `joint_clay` and names the checks it must fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import u1

from .clay import streams
from .joint_clay import Array, Field, JointClay, Rngs


# --- samples -----------------------------------------------------------------------------------------------------------------
class LinksForgotten(JointClay):
    """the joint log q is that of the pseudofermions"""

    killed_by = ("joint.parts",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        x, phi, log_q = super().joint_sample(n, seed)
        return x, phi, log_q - self.log_prob(x)


class OneMonomialForgotten(JointClay):
    """the joint log q has the first monomial alone"""

    killed_by = ("joint.parts",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        x, phi, log_q = super().joint_sample(n, seed)
        return x, phi, log_q - self.conditional_log_prob(x, phi)[:, 1]


class FieldsOfOtherLinks(JointClay):
    """pseudofermions are drawn at the links of the sample before, and have the log q of their own"""

    killed_by = ("joint.law",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x = self.links(rngs)
        phi, _ = self.drawn(np.roll(x, 1, axis=0), rngs)
        return x, phi, self.log_prob(x) + self.conditional_log_prob(x, phi).sum(axis=1)


class NoiseOfTheWidth(JointClay):
    """samples with many flat plaquettes have the narrower noise of two"""

    killed_by = ("joint.independent",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x = self.links(rngs)
        first, second = self.noise(rngs), self.noise(rngs)
        axes = tuple(range(1, first.ndim))
        swap = (np.abs(first) ** 2).sum(axis=axes) > (np.abs(second) ** 2).sum(axis=axes)
        narrow = np.where(np.expand_dims(swap, axes), second, first)
        wide = np.where(np.expand_dims(swap, axes), first, second)
        chi = np.where(np.expand_dims(self.energy(x) < np.median(self.energy(x)), axes), narrow, wide)
        phi, logdet = self.conditional_forward(x, chi)
        return x, phi, self.log_prob(x) + (self.base(chi) - logdet).sum(axis=1)


class JointSeedAdded(JointClay):
    """sample i has the generator of seed + i"""

    killed_by = ("joint.seeds",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = [np.random.default_rng(seed + i) for i in range(n)]
        x = self.links(rngs)
        phi, log_q = self.drawn(x, rngs)
        return x, phi, self.log_prob(x) + log_q.sum(axis=1)


class JointLinksElsewhere(JointClay):
    """joint samples have links of another beta than `sample`, with the log q of the latter"""

    killed_by = ("joint.marginal",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x = u1.sample(rngs, n, 2 * self.flow_prior_beta, self.shape)
        phi, log_q = self.drawn(x, rngs)
        return x, phi, self.log_prob(x) + log_q.sum(axis=1)


class NoiseOfTheNextButOne(JointClay):
    """samples k and k + 2 have one noise, at links of their own"""

    killed_by = ("joint.law",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x, chi = self.links(rngs), self.noise(rngs)[np.arange(n) & ~2]
        phi, logdet = self.conditional_forward(x, chi)
        return x, phi, self.log_prob(x) + (self.base(chi) - logdet).sum(axis=1)


class LinksForgottenByTheMap(LinksForgotten):
    """the joint log q is that of the pseudofermions, of a target without a log density of these"""

    killed_by = ("joint.parts",)
    conditional_log_prob: ClassVar[Any] = None


class AntitheticNoise(JointClay):
    """every other sample has the noise of the one before, turned by a sign"""

    killed_by = ("joint.independent",)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x, chi = self.links(rngs), self.noise(rngs)
        chi[1::2] = -chi[: n // 2 * 2 : 2]
        phi, logdet = self.conditional_forward(x, chi)
        return x, phi, self.log_prob(x) + (self.base(chi) - logdet).sum(axis=1)


# --- estimates ---------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class EstimateRefreshed(JointClay):
    """the estimate of the links that a chain has is drawn anew in every update"""

    killed_by = ("pseudomarginal.decision", "pseudomarginal.stationary")
    beta: float = 0.5

    def held(self, x: Array, log_w: Array, rngs: Rngs) -> Array:
        return self.estimate(x, rngs, False)


@dataclass(frozen=True)
class RunRefreshed(JointClay):
    """the same, of a chain that shows nothing but its links"""

    killed_by = ("exact_start.observables_later",)
    beta: float = 0.5
    shape: tuple[int, int] = (4, 2)
    pseudomarginal: ClassVar[Any] = None
    pseudomarginal_start: ClassVar[Any] = None

    def held(self, x: Array, log_w: Array, rngs: Rngs) -> Array:
        return self.estimate(x, rngs, False)


class FreshStart(JointClay):
    """chains start with an estimate of fresh draws, too small on average"""

    killed_by = ("pseudomarginal.starts", "pseudomarginal.stationary")

    def begun(self, x: Array, rngs: Rngs) -> Array:
        return self.estimate(x, rngs, False)


class RegulatorLeftIn(JointClay):
    """weights have the regulator of the training, here 0.1"""

    killed_by = ("pseudomarginal.proposals",)

    def masses(self) -> list[tuple[float, float | None]]:
        return [(0.1, self.mus[0]), (self.mus[0], None)]


class MassOfTheMonomialBefore(JointClay):
    """the last monomial has the mass of the one before"""

    killed_by = ("pseudomarginal.proposals", "pseudomarginal.starts")

    def masses(self) -> list[tuple[float, float | None]]:
        return [(0.0, self.mus[0]), (0.0, None)]


class GaugeActionForgotten(JointClay):
    """weights are of the determinant alone"""

    killed_by = ("pseudomarginal.proposals", "pseudomarginal.stationary")

    def estimate(self, x: Array, rngs: Rngs, start: bool) -> Array:
        return super().estimate(x, rngs, start) + self.beta * self.energy(x)


class DensityOfLinksForgotten(JointClay):
    """weights are not divided by the density of the links"""

    killed_by = ("pseudomarginal.proposals",)

    def estimate(self, x: Array, rngs: Rngs, start: bool) -> Array:
        return super().estimate(x, rngs, start) + self.log_prob(x)


class PowersOfPi(JointClay):
    """estimates are not divided by pi^N"""

    killed_by = ("pseudomarginal.proposals", "pseudomarginal.starts")

    def ratio(self, x: Array, precisions: list[Field], phi: Field, log_q: Array) -> Array:
        return super().ratio(x, precisions, phi, log_q) + self.size * math.log(math.pi)


class AverageOfLogs(JointClay):
    """the log of an estimate is the average of the logs of four"""

    killed_by = ("pseudomarginal.proposals",)
    n_pf: ClassVar[int] = 4

    def averaged(self, logs: Array) -> Array:
        return np.asarray(logs.mean(axis=0))


class SumOfDraws(JointClay):
    """draws are added up, not averaged"""

    killed_by = ("pseudomarginal.proposals", "pseudomarginal.starts")
    n_pf: ClassVar[int] = 4

    def averaged(self, logs: Array) -> Array:
        return super().averaged(logs) + math.log(self.n_pf)


class LargestDraw(JointClay):
    """of four draws the largest is taken"""

    killed_by = ("pseudomarginal.proposals",)
    n_pf: ClassVar[int] = 4

    def averaged(self, logs: Array) -> Array:
        return np.asarray(logs.max(axis=0))


class FewerDrawsThanDeclared(JointClay):
    """estimates are averages of half as many draws as are declared, which is right, but not what is said"""

    killed_by = ("pseudomarginal.proposals",)
    n_pf: ClassVar[int] = 8

    def estimate(self, x: Array, rngs: Rngs, start: bool) -> Array:
        other = JointClay(self.beta, self.kappa, self.shape)
        return other.estimate(x, rngs, start)


# --- the rule ----------------------------------------------------------------------------------------------------------------
class RatioTurned(JointClay):
    """proposals are accepted by the inverse of the ratio"""

    killed_by = ("pseudomarginal.decision", "pseudomarginal.stationary")

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return np.asarray(np.log(u) < -log_ratio)


class EveryEstimateAccepted(JointClay):
    """every proposal is taken"""

    killed_by = ("pseudomarginal.decision", "pseudomarginal.stationary")

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return np.ones(len(u), dtype=bool)


class BatchDecides(JointClay):
    """proposals are accepted by the mean ratio of the batch"""

    killed_by = ("pseudomarginal.decision",)

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return np.asarray(np.log(u) < log_ratio.mean())


class EstimateOfTheRejected(JointClay):
    """a chain that stays takes the estimate of the proposal all the same"""

    killed_by = ("pseudomarginal.kept", "pseudomarginal.stationary")

    def next_estimate(self, accepted: NDArray[np.bool_], log_w: Array, proposed: Array) -> Array:
        return proposed


class EstimateLeftBehind(JointClay):
    """a chain that moves keeps the estimate of the links it had"""

    killed_by = ("pseudomarginal.kept",)

    def next_estimate(self, accepted: NDArray[np.bool_], log_w: Array, proposed: Array) -> Array:
        return log_w


class EstimateInSinglePrecision(JointClay):
    """the estimate that is kept is stored in single precision"""

    killed_by = ("pseudomarginal.kept",)

    def next_estimate(self, accepted: NDArray[np.bool_], log_w: Array, proposed: Array) -> Array:
        return super().next_estimate(accepted, log_w, proposed).astype(np.float32).astype(np.float64)


# --- random numbers ----------------------------------------------------------------------------------------------------------
class UniformOfTheBatch(JointClay):
    """one Metropolis number for all chains"""

    killed_by = ("pseudomarginal.uniforms", "pseudomarginal.seeds")

    def pseudomarginal(self, x: Array, log_w: Array, seed: int) -> dict[str, Array]:
        rngs = streams(seed, len(x))
        record = self.update(x, log_w, rngs)
        u = np.full(len(x), record["u"][0])
        accepted = self.accept(record["log_w_proposed"] - log_w, u)
        chosen = np.where(accepted[:, None, None, None], record["x_proposed"], x)
        log_w_next = self.next_estimate(accepted, log_w, record["log_w_proposed"])
        return {**record, "u": u, "accept": accepted.astype(np.float64), "x_next": chosen, "log_w_next": log_w_next}


class UniformOfTheEstimate(JointClay):
    """chains with the larger estimates of two have the smaller Metropolis numbers"""

    killed_by = ("pseudomarginal.uniforms",)

    def pseudomarginal(self, x: Array, log_w: Array, seed: int) -> dict[str, Array]:
        record = self.update(x, log_w, streams(seed, len(x)))
        order = np.empty(len(x))
        order[np.argsort(-record["log_w_proposed"])] = np.sort(record["u"])
        accepted = self.accept(record["log_w_proposed"] - log_w, order)
        chosen = np.where(accepted[:, None, None, None], record["x_proposed"], x)
        log_w_next = self.next_estimate(accepted, log_w, record["log_w_proposed"])
        return {**record, "u": order, "accept": accepted.astype(np.float64), "x_next": chosen, "log_w_next": log_w_next}


class ChainSeedAdded(JointClay):
    """chain i has the generator of seed + i"""

    killed_by = ("pseudomarginal.seeds",)

    def pseudomarginal(self, x: Array, log_w: Array, seed: int) -> dict[str, Array]:
        return self.update(x, log_w, [np.random.default_rng(seed + i) for i in range(len(x))])


class LinksOfTheNextButOne(JointClay):
    """chains k and k + 2 propose the same links, with estimates of their own"""

    killed_by = ("pseudomarginal.seeds",)

    def proposal(self, rngs: Rngs) -> tuple[Array, Array]:
        y = self.links(rngs)[np.arange(len(rngs)) & ~2]
        return y, self.estimate(y, rngs, False)


class NoiseWithoutSeed(JointClay):
    """estimates have the same noise in every update"""

    killed_by = ("pseudomarginal.proposals",)

    def proposal(self, rngs: Rngs) -> tuple[Array, Array]:
        y = self.links(rngs)
        return y, self.estimate(y, streams(123, len(rngs)), False)


class StartWithoutSeed(JointClay):
    """estimates to begin from have the same noise whatever the seed"""

    killed_by = ("pseudomarginal.starts",)

    def pseudomarginal_start(self, x: Array, seed: int) -> Array:
        return self.begun(x, streams(3, len(x)))


class AllFromTheHeatBath(JointClay):
    """estimates to begin from have all draws from the heat bath, not one of every monomial"""

    killed_by = ("pseudomarginal.starts",)
    n_pf: ClassVar[int] = 4

    def pseudomarginal_start(self, x: Array, seed: int) -> Array:
        rngs, precisions = streams(seed, len(x)), self.precisions(x)
        fields = [self.heat_bath(precisions, rngs) for _ in range(self.n_pf)]
        logs = [self.ratio(x, precisions, phi, self.conditional_log_prob(x, phi)) for phi in fields]
        return self.averaged(np.array(logs)).sum(axis=1) - self.beta * self.energy(x) - self.log_prob(x)


class ProposedElsewhere(JointClay):
    """links are proposed at another beta than that of their density"""

    killed_by = ("pseudomarginal.proposed_links",)

    def proposal(self, rngs: Rngs) -> tuple[Array, Array]:
        y = u1.sample(rngs, len(rngs), 2 * self.flow_prior_beta, self.shape)
        return y, self.estimate(y, rngs, False)


class ProposedNearby(JointClay):
    """every other proposal is the links that the chain has, with another estimate"""

    killed_by = ("pseudomarginal.proposed_links",)

    def update(self, x: Array, log_w: Array, rngs: Rngs) -> dict[str, Array]:
        record = super().update(x, log_w, rngs)
        stays = np.arange(len(x)) % 2 == 0
        again = self.estimate(x, rngs, False)
        proposed = np.where(stays, again, record["log_w_proposed"])
        y = np.where(stays[:, None, None, None], x, record["x_proposed"])
        accepted = self.accept(proposed - log_w, record["u"])
        return {
            **record,
            "x_proposed": y,
            "log_w_proposed": proposed,
            "accept": accepted.astype(np.float64),
            "x_next": np.where(accepted[:, None, None, None], y, x),
            "log_w_next": self.next_estimate(accepted, log_w, proposed),
        }
