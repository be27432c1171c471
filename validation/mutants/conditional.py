"""Wrong conditional flows of pseudofermions: each overrides one method of `joint_clay` and names the checks it must fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..references.joint import conditional_with_weights
from .clay import streams
from .joint_clay import Array, ColourClay, ConditionalClay, Field, HeatBathClay, Rngs


# --- logdets -----------------------------------------------------------------------------------------------------------------
class ColoursNotCounted(ColourClay):
    """the logdet of a layer lacks the factor of the number of colours, as in the paper's equations"""

    killed_by = ("conditional.jacobian", "conditional.normalised")

    def layer_logdet(self, a: Field, active: NDArray[np.bool_]) -> Array:
        return super().layer_logdet(a, active) / self.colours


class ComplexCountedOnce(ConditionalClay):
    """the logdet is log |det|, without the 2 of complex numbers"""

    killed_by = ("conditional.jacobian", "conditional.normalised", "conditional_samples.determinant")

    def layer_logdet(self, a: Field, active: NDArray[np.bool_]) -> Array:
        return super().layer_logdet(a, active) / 2


class InactiveSitesCounted(ConditionalClay):
    """the logdet of a layer is that of the matrices of all sites"""

    killed_by = ("conditional.jacobian", "conditional.normalised")

    def layer_logdet(self, a: Field, active: NDArray[np.bool_]) -> Array:
        return super().layer_logdet(a, np.ones_like(active))


class InflationWithoutLogdet(ConditionalClay):
    """fields are inflated without a word about it"""

    killed_by = ("conditional.jacobian", "conditional.normalised", "conditional_samples.determinant")

    def inflated(self, psi: Field, sign: int) -> tuple[Field, float]:
        return super().inflated(psi, sign)[0], 0.0


class InflationCountedOnce(ConditionalClay):
    """the logdet of the inflation is N log c where there are 2 N real numbers"""

    killed_by = ("conditional.jacobian", "conditional.normalised")

    def inflated(self, psi: Field, sign: int) -> tuple[Field, float]:
        image, logdet = super().inflated(psi, sign)
        return image, logdet / 2


class LogdetOfTheOtherDirection(ConditionalClay):
    """the inverse returns the logdet of the map"""

    killed_by = ("conditional.round_trip", "conditional.density", "conditional.normalised")

    def conditional_inverse(self, x: Field, phi: Field) -> tuple[Field, Array]:
        chi, logdet = super().conditional_inverse(x, phi)
        return chi, -logdet


# --- the map -----------------------------------------------------------------------------------------------------------------
class TransportsNotProjected(ConditionalClay):
    """what the transports say is added to the even sites that should be left alone too, by which they were made"""

    killed_by = ("conditional.round_trip", "conditional.jacobian")

    def projected(self, layer: int, psi: Field) -> Field:
        return np.where(self.even()[..., None, None], psi, 0)


class OddSitesFilled(ConditionalClay):
    """the projector is that of a row, so that the transports leave something on its odd sites"""

    killed_by = ("conditional.even_sites",)

    def projected(self, layer: int, psi: Field) -> Field:
        return np.where((np.indices(self.shape)[0] % 2 == layer % 2)[..., None, None], psi, 0)

    def neighbours(self, u: Field, psi: Field, t: int, s: int) -> list[Field]:
        out = super().neighbours(u, psi, t, s)
        return [*out[:-1], out[-1] + 0.1 * out[0]]  # a term that stays where it is, on odd sites too


class LayersBackInOrder(ConditionalClay):
    """the inverse goes through the layers from the first to the last"""

    killed_by = ("conditional.round_trip",)

    def through(self, x: Field, psi: Field, monomial: int, sign: int) -> tuple[Field, Array]:
        if sign > 0:
            return super().through(x, psi, monomial, sign)
        psi, _ = self.inflated(psi, sign)
        for layer in range(3):
            psi, _ = self.layer(x, psi, monomial, layer, sign)
        return psi, -super().through(x, psi, monomial, 1)[1]


class Squeezed(ConditionalClay):
    """a nonlinearity of the field behind the last layer, of a part in a million"""

    killed_by = ("conditional.linear",)

    def through(self, x: Field, psi: Field, monomial: int, sign: int) -> tuple[Field, Array]:
        image, logdet = super().through(x, psi, monomial, sign)
        return image * (1 - sign * 1e-6 * np.tanh(np.abs(image))), logdet


class PhaseDrawnAnew(ConditionalClay):
    """every call of the map draws a phase of its own, which no density shows"""

    killed_by = ("conditional.linear", "conditional.round_trip")

    def all_through(self, x: Field, fields: Field, sign: int) -> tuple[Field, Array]:
        image, logdet = super().all_through(x, fields, sign)
        return image * np.exp(2j * np.pi * np.random.default_rng().random()), logdet


class ConjugateInTheContext(ConditionalClay):
    """a layer adds the complex conjugate of what it should"""

    killed_by = ("conditional.linear", "conditional.gauge_equivariance")

    def projected(self, layer: int, psi: Field) -> Field:
        return super().projected(layer, psi.conj())


class BatchInTheContext(ConditionalClay):
    """the context is normalised by its mean over the batch"""

    killed_by = ("conditional.linear",)

    def context(self, x: Field) -> Field:
        h = super().context(x)
        return h / np.abs(h.mean(axis=0)).clip(0.5)


class ConditionalInSinglePrecision(ConditionalClay):
    """arithmetic in single precision"""

    killed_by = ("conditional.linear",)

    def through(self, x: Field, psi: Field, monomial: int, sign: int) -> tuple[Field, Array]:
        image, logdet = super().through(x, psi.astype(np.complex64), monomial, sign)
        return image.astype(np.complex64).astype(np.complex128), logdet.astype(np.float32).astype(np.float64)


class MonomialsMixed(ConditionalClay):
    """the second field has a share in the first, which their determinants do not show"""

    killed_by = ("conditional.jacobian",)

    def all_through(self, x: Field, fields: Field, sign: int) -> tuple[Field, Array]:
        mixed = np.asarray(fields).copy()
        mixed[:, 0] += sign * 0.1 * mixed[:, 1]
        return super().all_through(x, mixed, sign)


# --- symmetries --------------------------------------------------------------------------------------------------------------
class PeriodicTransports(ConditionalClay):
    """fields that are transported across the last time slice do not change sign"""

    killed_by = ("conditional.translation",)

    def boundary(self) -> tuple[float, float]:
        return 1.0, 1.0


class SignInOneDirection(ConditionalClay):
    """fields change sign on the way back across the last time slice, but not ahead"""

    killed_by = ("conditional.translation",)

    def boundary(self) -> tuple[float, float]:
        return 1.0, -1.0


class LinkNotTurned(ConditionalClay):
    """fields from behind come by the link itself, not by its adjoint"""

    killed_by = ("conditional.gauge_equivariance",)

    def back(self, u: Field) -> Field:
        return u


class ConjugateForAdjoint(ColourClay):
    """matrices are conjugated where their adjoint is meant: right for one colour"""

    killed_by = ("conditional.gauge_equivariance",)

    def back(self, u: Field) -> Field:
        return u.conj()


class TransportsWithoutLinks(ConditionalClay):
    """fields are added to their neighbours as they are"""

    killed_by = ("conditional.gauge_equivariance",)

    def matrices(self, x: Field) -> Field:
        return np.ones_like(super().matrices(x))


class LinksInTheContext(ConditionalClay):
    """the net sees a link, not a loop"""

    killed_by = ("conditional.gauge_equivariance",)

    def context(self, x: Field) -> Field:
        return np.exp(1j * x[:, 0])


class PlaceInTheContext(ConditionalClay):
    """coefficients are others in the first time slice, beyond the period that is declared"""

    killed_by = ("conditional.translation",)

    def context(self, x: Field) -> Field:
        return super().context(x) + (np.indices(self.shape)[0] == 0)


# --- the density -------------------------------------------------------------------------------------------------------------
class PiForEveryNumber(ConditionalClay):
    """the base has a power of pi for every real number"""

    killed_by = ("conditional.density", "conditional.normalised", "conditional_samples.determinant")

    def base_constant(self) -> float:
        return -2 * self.size * math.log(math.pi)


class TwoPi(ConditionalClay):
    """the base has (2 pi)^N, as in the paper, which is for another measure"""

    killed_by = ("conditional.density", "conditional.normalised", "conditional_samples.determinant")

    def base_constant(self) -> float:
        return -self.size * math.log(2 * math.pi)


class HalfTheSquares(ConditionalClay):
    """the base is exp(-chi^dag chi/2), with the constant of the other one"""

    killed_by = ("conditional.density", "conditional.normalised")

    def base(self, chi: Field) -> Array:
        return self.base_constant() + (super().base(chi) - self.base_constant()) / 2


class DensitiesExchanged(ConditionalClay):
    """the log densities of the two monomials are in each other's place"""

    killed_by = ("conditional.density", "conditional.sample_log_prob")

    def conditional_log_prob(self, x: Field, phi: Field) -> Array:
        return super().conditional_log_prob(x, phi)[:, ::-1]


class DensityOfTheNeighbour(ConditionalClay):
    """samples come with the log density of the chain before"""

    killed_by = ("conditional.sample_log_prob",)

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        phi, log_q = super().conditional_sample(x, seed)
        return phi, np.roll(log_q, 1, axis=0)


# --- samples -----------------------------------------------------------------------------------------------------------------
class VarianceOfOne(ConditionalClay):
    """real and imaginary parts of the noise have a variance of 1 each"""

    killed_by = ("conditional_samples.law", "conditional_samples.determinant")

    def variance(self) -> float:
        return 1.0


class SlightlyWide(ConditionalClay):
    """the noise is three per cent too wide"""

    killed_by = ("conditional_samples.law",)

    def variance(self) -> float:
        return 0.5 * 1.06


class RealConditionalNoise(ConditionalClay):
    """the noise is real"""

    killed_by = ("conditional_samples.law",)

    def noise(self, rngs: Rngs) -> Field:
        return np.sqrt(2) * super().noise(rngs).real.astype(np.complex128)


class NoiseOfOneMonomial(ConditionalClay):
    """the noise of the first monomial is used for all of them"""

    killed_by = ("conditional_samples.law",)

    def noise(self, rngs: Rngs) -> Field:
        chi = super().noise(rngs)
        return np.repeat(chi[:, :1], self.monomials, axis=1)


class NoiseOfOneChain(ConditionalClay):
    """neighbouring chains share their noise"""

    killed_by = ("conditional_samples.law",)

    def noise(self, rngs: Rngs) -> Field:
        chi = super().noise(rngs)
        return chi[np.arange(len(chi)) // 2 * 2]


class SeedForgotten(ConditionalClay):
    """samples have the same noise whatever the seed"""

    killed_by = ("conditional_samples.law",)

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        return self.drawn(x, streams(5, len(x)))


class OtherWeights(ConditionalClay):
    """samples are those of a context without the response to the plaquette, and come with the density of the right one"""

    killed_by = ("conditional_samples.law",)

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        phi, _ = self.drawn(np.zeros_like(x), streams(seed, len(x)))
        return phi, self.conditional_log_prob(x, phi)


class AntitheticChains(ConditionalClay):
    """the second half of the chains has the noise of the first, turned by a sign"""

    killed_by = ("conditional_samples.law",)

    def noise(self, rngs: Rngs) -> Field:
        chi = super().noise(rngs)
        half = len(chi) // 2
        chi[len(chi) - half :] = -chi[:half]
        return chi


class LogdetAddedToSamples(ConditionalClay):
    """samples come with log r + logdet; neither an inverse nor a log density is offered, and the weights have no variance"""

    killed_by = ("conditional.density",)
    inflation: ClassVar[float] = 0.6
    conditional_inverse: ClassVar[Any] = None
    conditional_log_prob: ClassVar[Any] = None

    def drawn(self, x: Field, rngs: Rngs) -> tuple[Field, Array]:
        chi = self.noise(rngs)
        phi, logdet = self.conditional_forward(x, chi)
        return phi, self.base(chi) + logdet


class PlaceInTheBatch(ConditionalClay):
    """the sixth chain of a batch has another context"""

    killed_by = ("conditional.linear",)

    def context(self, x: Field) -> Field:
        return super().context(x) * np.where(np.arange(len(x)) == 5, 1.01, 1.0)[:, None, None]


# --- the heat bath -----------------------------------------------------------------------------------------------------------
class ExactInName(ConditionalClay):
    """a flow that is declared to have the density of the heat bath"""

    killed_by = ("conditional.exact",)
    conditional_is_exact: ClassVar[bool] = True


@dataclass(frozen=True)
class RegulatorInTheHeatBath(HeatBathClay):
    """the heat bath keeps the regulator of the training, 1e-5"""

    killed_by = ("conditional.exact",)

    def covariances(self, x: Field) -> list[Field]:
        core = self.fermions.schur(self.fermions.dirac_dense(x))
        m, one = core @ core.conj().swapaxes(-1, -2), np.eye(core.shape[-1])
        above = m + self.mus[0] * one
        ratio = (m + 1e-5 * one) @ np.linalg.inv(above)
        return [(ratio + ratio.conj().swapaxes(-1, -2)) / 2, above]


@dataclass(frozen=True)
class ExactForTheAdjoint(HeatBathClay):
    """the heat bath is that of D^dag D"""

    killed_by = ("conditional.exact",)

    def covariances(self, x: Field) -> list[Field]:
        core = self.fermions.schur(self.fermions.dirac_dense(x))
        m = core.conj().swapaxes(-1, -2) @ core
        above = m + self.mus[0] * np.eye(m.shape[-1])
        ratio = m @ np.linalg.inv(above)
        return [(ratio + ratio.conj().swapaxes(-1, -2)) / 2, above]


@dataclass(frozen=True)
class MonomialsExchanged(HeatBathClay):
    """the heat baths of the two monomials are in each other's place"""

    killed_by = ("conditional.exact",)

    def covariances(self, x: Field) -> list[Any]:
        return super().covariances(x)[::-1]


class ExchangedAndUnsampled(MonomialsExchanged):
    """the same, of a target that offers its map alone"""

    killed_by = ("conditional.exact",)
    conditional_sample: ClassVar[Any] = None
    conditional_log_prob: ClassVar[Any] = None


# --- weights of files --------------------------------------------------------------------------------------------------------
class ImaginaryPartsFirst(ConditionalClay):
    """of a weight file the outputs of a net are taken for imaginary and real parts, in this order"""

    killed_by = ("conditional.golden",)

    def conditional_with_weights(
        self, params: dict[str, Array], record: dict[str, Any], x: Field, chi: Field, d: int
    ) -> tuple[Field, Array]:
        turned = {
            key: value
            if key.startswith("context/")
            else value.reshape(-1, 2, *value.shape[1:])[:, ::-1].reshape(value.shape)
            for key, value in params.items()
        }
        return conditional_with_weights(turned, record, x, chi, d)


class FilesWithoutColours(ColourClay):
    """layers of a weight file lack the colours in their logdet"""

    killed_by = ("conditional.golden",)

    def conditional_with_weights(
        self, params: dict[str, Array], record: dict[str, Any], x: Field, chi: Field, d: int
    ) -> tuple[Field, Array]:
        image, logdet = conditional_with_weights(params, record, x, chi, d)
        return image, logdet / self.colours
