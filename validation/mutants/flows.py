"""Wrong normalizing flows of phi^4, U(1) and SU(2): each overrides one method of the clay in `flow_clay`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .. import measure
from .flow_clay import Array, Field, GaugeFlow, MatrixFlow, PureGaugeFlow, Rngs, ScalarFlow, SplineFlow, projected

_BOTH = ("flow_weights.partition", "flow_weights.normalised", "flow_weights.bridge")


# --- logdet ----------------------------------------------------------------------------------------------------------------
class LogdetOfOtherSign(GaugeFlow):
    """the logdet has the wrong sign, forward and backward, so that the two agree"""

    killed_by = ("flows.jacobian", *_BOTH, "flow_weights.exchange")

    def through(self, x: Array, order: range, sign: int) -> tuple[Array, Array]:
        x, logdet = super().through(x, order, sign)
        return x, -logdet


class LogdetOfInverseNotNegated(ScalarFlow):
    """the inverse returns the logdet of the forward direction"""

    killed_by = ("flows.logdet_antisymmetry", "flows.jacobian", "flows.density", "flows.sample_log_prob")

    def flow_inverse(self, x: Array) -> tuple[Array, Array]:
        z, logdet = super().flow_inverse(x)
        return z, -logdet


class LastLayerNotCounted(GaugeFlow):
    """the sum of logdets misses the last layer, in both directions"""

    killed_by = ("flows.jacobian", "flow_weights.partition", "flow_weights.bridge")

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        x, logdet = super().layer(i, x, sign)
        return x, logdet * (i < self.layers - 1)


class LogdetOfAllSites(ScalarFlow):
    """the scalings of all sites are summed, of those too that a layer leaves alone"""

    killed_by = ("flows.jacobian", *_BOTH)

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        y, _ = super().layer(i, x, sign)
        s, _ = self.scale_and_shift(i, self.context(i, x))
        return y, sign * self.logdet(i, s)


class LogdetAveraged(ScalarFlow):
    """the logdet is averaged over sites instead of summed"""

    killed_by = ("flows.jacobian", *_BOTH)

    def logdet(self, i: int, s: Array) -> Array:
        return super().logdet(i, s) / math.prod(self.shape)


class VandermondeDropped(MatrixFlow):
    """the Jacobian is that of the angles of a plaquette, without the factor of Haar measure, (sin theta'/sin theta)^2"""

    killed_by = ("flows.jacobian", "flow_weights.partition", "flow_weights.exchange")

    def logdet(self, r: Array) -> Array:
        return super().logdet(r) / 3


# --- masks and contexts ------------------------------------------------------------------------------------------------------
class LinkLeftOut(GaugeFlow):
    """the masks of the last space row are those of the first: its time links never move"""

    killed_by = ("flows.moves_every_link",)

    def active(self, i: int) -> NDArray[np.bool_]:
        return super().active(0 if i == 6 else i)


class SiteLeftOut(ScalarFlow):
    """one site is in no mask"""

    killed_by = ("flows.moves_every_link", "flows.equivariance")

    def active(self, i: int) -> NDArray[np.bool_]:
        active = super().active(i)
        active[-1, 0] = False
        return active


class ActiveSeesItself(GaugeFlow):
    """the context is that of the active plaquettes, which are about to change"""

    killed_by = ("flows.round_trip", "flows.logdet_antisymmetry", "flows.jacobian")

    def context(self, i: int, angles: Array) -> Array:
        return angles


class PassiveInContext(GaugeFlow):
    """the context is the row of plaquettes before, which the active links move along"""

    killed_by = ("flows.round_trip", "flows.jacobian")

    def context(self, i: int, angles: Array) -> Array:
        return np.roll(angles, 1, axis=2 - i % 2)


class OneHalfMoves(ScalarFlow):
    """every layer moves the same half of the sites"""

    killed_by = ("flows.moves_every_link",)

    def active(self, i: int) -> NDArray[np.bool_]:
        return super().active(0)


class BiasOfAPlace(ScalarFlow):
    """the shift has a bias that depends on the site"""

    killed_by = ("flows.equivariance",)

    def scale_and_shift(self, i: int, h: Array) -> tuple[Array, Array]:
        s, t = super().scale_and_shift(i, h)
        return s, t + 0.1 * np.arange(self.shape[0])[:, None]


class ShiftNotOdd(ScalarFlow):
    """the shift has a bias, where parity is declared"""

    killed_by = ("flows.equivariance",)

    def scale_and_shift(self, i: int, h: Array) -> tuple[Array, Array]:
        s, t = super().scale_and_shift(i, h)
        return s, t + 0.05


class SeesLinks(GaugeFlow):
    """the context is a link of the row beyond, no loop"""

    killed_by = ("flows.equivariance",)

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        self.__dict__["links"] = self.beyond(i, x[:, i % 2])
        return super().layer(i, x, sign)

    def context(self, i: int, angles: Array) -> Array:
        return np.asarray(self.__dict__["links"])


class NormalisedOverBatch(ScalarFlow):
    """the context is centred over the batch"""

    killed_by = ("flows.batch",)

    def context(self, i: int, x: Array) -> Array:
        h = super().context(i, x)
        return h - 0.1 * h.mean(axis=0)


# --- circles and matrices ----------------------------------------------------------------------------------------------------
class PlaquetteNotWrapped(GaugeFlow):
    """the scaling acts on the plaquette angle as it is, which is no function on the circle"""

    killed_by = ("flows.periodicity", "flow_weights.normalised")

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        factor = 1 - 0.05 * (1 + 0.1 * i)
        log = np.full(angles.shape, math.log(factor))
        return (angles * factor, log) if sign > 0 else (angles / factor, -log)


class TurnedBeforeUndoing(GaugeFlow):
    """the inverse of a layer undoes the circle map first and its turn afterwards"""

    killed_by = ("flows.round_trip",)

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        if sign > 0:
            return super().circle(i, angles, context, sign)
        s, t = 0.15 * np.cos(context) - 0.4 - 0.02 * i, 0.2 * np.sin(context)
        moved, slope = projected(angles, s, 0 * t, sign)
        return moved - t, slope


class OneBinWrong(SplineFlow):
    """the inverse of a spline takes the other slope at the right end of its bins where they are steep"""

    killed_by = ("flows.round_trip",)

    def fraction(self, rise: Array, height: Array, s: Array, d_0: Array, d_1: Array) -> Array:
        return super().fraction(rise, height, s, d_0, np.where(d_0 > 1.45, 1.01 * d_1, d_1))


class SplineSlopeLinear(SplineFlow):
    """the slope of a spline is that of the straight line through its bin"""

    killed_by = ("flows.jacobian", "flow_weights.partition")

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        moved, _ = super().circle(i, angles, context, sign)
        x, y, _ = self.knots(i, context)
        turn = 0.1 * np.sin(context)
        at = self.wrapped(angles if sign > 0 else angles - turn)
        k = np.clip((at[..., None] >= (x if sign > 0 else y)).sum(axis=-1) - 1, 0, 3)[..., None]
        rise, run = (np.take_along_axis(np.diff(part, axis=-1), k, -1)[..., 0] for part in (y, x))
        return moved, sign * np.log(rise / run)


class OffTheGroup(MatrixFlow):
    """the change of a link is not put back into the group: its determinant drifts"""

    killed_by = ("flows.stays_in_group",)

    def layer(self, i: int, x: Field, sign: int) -> tuple[Field, Array]:
        x, logdet = super().layer(i, x, sign)
        return x * (1 + sign * 1e-6), logdet


# --- the density -------------------------------------------------------------------------------------------------------------
class PriorForgotten(ScalarFlow):
    """log q is minus the logdet, without the log prior"""

    killed_by = ("flows.density", *_BOTH, "flow_weights.exchange")

    def log_prob(self, x: Array) -> Array:
        return self.flow_inverse(x)[1]

    def draw(self, rngs: Rngs) -> tuple[Array, Array]:
        x, _ = super().draw(rngs)
        return x, self.log_prob(x)


class PriorOfHalfTheLinks(GaugeFlow):
    """the constant of the prior counts sites instead of links"""

    killed_by = ("flows.prior", "flows.density", *_BOTH)

    def prior_log_prob(self, z: Array) -> Array:
        return super().prior_log_prob(z) / 2


class HaarOfAngles(GaugeFlow):
    """densities of U(1) are with respect to d theta/2 pi"""

    killed_by = ("flows.prior", *_BOTH)

    def prior_log_prob(self, z: Array) -> Array:
        return 0 * super().prior_log_prob(z)


class NormalWithoutConstant(ScalarFlow):
    """the log density of the normal prior is -z^2/2"""

    killed_by = ("flows.prior", "flow_weights.normalised")

    def prior_log_prob(self, z: Array) -> Array:
        return np.asarray(-0.5 * np.square(z).sum(axis=(1, 2)))


class PriorAtOtherBeta(PureGaugeFlow):
    """the log density of the pure gauge prior is that of another beta than that of its draws"""

    killed_by = ("flows.prior", "flow_weights.partition", "flow_weights.exchange")

    def prior_log_prob(self, z: Array) -> Array:
        other = self.flow_prior_beta + 0.2
        angles = measure.plaquette_angles(z)
        return -other * (1 - np.cos(angles)).sum(axis=(1, 2)) - self.log_partition(other)


class ConstantForgotten(ScalarFlow):
    """log q is too large by 0.25: a tenth of a constant of the prior"""

    killed_by = ("flow_weights.bridge", "flow_weights.normalised")

    def flow_inverse(self, x: Array) -> tuple[Array, Array]:
        z, logdet = super().flow_inverse(x)
        return z, logdet + 0.25

    def flow_forward(self, z: Array) -> tuple[Array, Array]:
        x, logdet = super().flow_forward(z)
        return x, logdet - 0.25


class WiderPrior(ScalarFlow):
    """samples begin with a standard deviation of 1.2, log q is that of 1"""

    killed_by = ("flow_weights.partition", "flow_weights.exchange")

    def prior(self, rng: np.random.Generator) -> Array:
        return 1.2 * super().prior(rng)


class SamplesOfOtherWeights(ScalarFlow):
    """samples come from an older version of the weights, with log_prob of the new one"""

    killed_by = ("flow_weights.partition", "flow_weights.exchange")

    def draw(self, rngs: Rngs) -> tuple[Array, Array]:
        x, _ = OlderWeights(shape=self.shape).draw(rngs)
        return x, self.log_prob(x)


class OlderWeights(ScalarFlow):
    """What `SamplesOfOtherWeights` samples: right by itself."""

    def scale_and_shift(self, i: int, h: Array) -> tuple[Array, Array]:
        s, t = super().scale_and_shift(i, h)
        return s, 0.3 * t


class OnePhaseAlone(ScalarFlow):
    """samples are turned to a positive mean, where log q has both signs"""

    killed_by = ("flow_weights.exchange",)

    def draw(self, rngs: Rngs) -> tuple[Array, Array]:
        x, log_prob = super().draw(rngs)
        return x * np.sign(x.mean(axis=(1, 2)))[:, None, None], log_prob


class LogProbOfOtherWeights(GaugeFlow):
    """log_prob is evaluated with weights that are a little older than those of sample"""

    killed_by = ("flows.sample_log_prob",)

    def log_prob(self, x: Array) -> Array:
        return super().log_prob(x) * 0.999


class MapInSinglePrecision(GaugeFlow):
    """the map computes in single precision"""

    killed_by = ("flows.round_trip", "flows.sample_log_prob")

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        x, logdet = super().layer(i, x.astype(np.float32), sign)
        return x.astype(np.float32).astype(np.float64), logdet.astype(np.float64)


class OneStreamForAll(ScalarFlow):
    """pairs of samples share a random stream"""

    killed_by = ("flows.samples",)

    def draw(self, rngs: Rngs) -> tuple[Array, Array]:
        x, log_prob = super().draw(rngs)
        again = np.arange(len(x)) // 2 * 2
        return x[again], log_prob[again]
