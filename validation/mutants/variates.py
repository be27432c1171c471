"""Wrong control variates of phi^4 and U(1): each overrides one method of the clay in `variate_clay`.

Some have a mean; some have none, and take no variance, or claim more than they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .variate_clay import Array, GaugeVariate, ScalarVariate


# --- not of mean zero ----------------------------------------------------------------------------------------------------
class DivergenceDropped(ScalarVariate):
    """the variate is - g . force, without the divergence"""

    killed_by = ("variates.divergence", "variates.mean_zero")

    def divergence(self, x: Array) -> Array:
        return np.zeros(len(x))


class DivergenceHalved(ScalarVariate):
    """the divergence is counted half"""

    killed_by = ("variates.divergence", "variates.mean_zero")

    def divergence(self, x: Array) -> Array:
        return super().divergence(x) / 2


class ForceOfOtherSign(ScalarVariate):
    """the force enters with the wrong sign: div g + g . force"""

    killed_by = ("variates.divergence", "variates.mean_zero", "variates.improvement")

    def control_variate(self, x: Array) -> Array:
        return 2 * self.divergence(x) - super().control_variate(x)


class ForceWithoutFactorial(ScalarVariate):
    """the force is that of lam phi^4, without the 1/24"""

    killed_by = ("static.force", "variates.divergence", "golden.vectors")

    def force(self, x: Array) -> Array:
        return super().force(x) + (4 - 1 / 6) * self.lam * x * x * x


class MassOfBothDirections(ScalarVariate):
    """the force counts mass and quartic term once per direction, as eq. (14) is printed"""

    killed_by = ("static.force", "variates.divergence", "variates.mean_zero", "golden.vectors")

    def force(self, x: Array) -> Array:
        return 2 * super().force(x) + self.laplacian(x)


@dataclass(frozen=True)
class OverlapDropped(ScalarVariate):
    """the gradient of the brackets has no part from the quartic term: their overlap is left out"""

    shape: tuple[int, int] = (4, 2)
    lam: float = 4.0
    mass2: float = 0.9
    killed_by = ("variates.divergence", "variates.mean_zero")

    def overlap(self, x: Array) -> Array:
        return np.zeros(len(x))


@dataclass(frozen=True)
class CrossTermsDropped(ScalarVariate):
    """the divergence of g^a P_b + g^b R_a misses the terms g^b . grad R_a"""

    shape: tuple[int, int] = (4, 2)
    lam: float = 4.0
    mass2: float = 0.9
    killed_by = ("variates.divergence", "variates.mean_zero")

    def divergence(self, x: Array) -> Array:
        here = (self.spread() * self.shifted(self.slices())).sum() / self.shape[0]
        return np.full(len(x), -here)


class ConstantOffset(ScalarVariate):
    """a constant is left in the variate: the mean of the fit, say"""

    killed_by = ("variates.divergence", "variates.mean_zero")

    def control_variate(self, x: Array) -> Array:
        return super().control_variate(x) + 0.06


class SawtoothVariate(GaugeVariate):
    """the sine of a plaquette is replaced by its wrapped angle, which jumps: integration by parts leaves the jump"""

    killed_by = ("variates.mean_zero",)

    def odd(self, angles: Array) -> Array:
        return np.remainder(angles + np.pi, 2 * np.pi) - np.pi

    def slope(self, angles: Array) -> Array:
        return np.ones_like(angles)


class TwoLinksAPlaquette(GaugeVariate):
    """the divergence counts two of the four links of a plaquette"""

    killed_by = ("variates.divergence", "variates.mean_zero")

    def divergence(self, x: Array) -> Array:
        return super().divergence(x) / 2


class UncompactVariate(GaugeVariate):
    """the field is the plaquette angle as it is, which is no function on the circle"""

    killed_by = ("variates.symmetry",)

    def odd(self, angles: Array) -> Array:
        return angles

    def slope(self, angles: Array) -> Array:
        return np.ones_like(angles)


# --- wrong in fields that are hardly ever drawn ----------------------------------------------------------------------------
class ClippedVariate(ScalarVariate):
    """the field is clipped at 2 on its way into the variate, which has the divergence of another field there"""

    killed_by = ("variates.divergence",)

    def control_variate(self, x: Array) -> Array:
        return super().control_variate(np.clip(x, -2, 2))


class OffAtLargeMean(ScalarVariate):
    """the variate is off by 3 in fields of a mean above 1.3, as one that was fitted to a single phase"""

    killed_by = ("variates.divergence",)

    def control_variate(self, x: Array) -> Array:
        return super().control_variate(x) + 3 * (np.abs(x.mean(axis=(1, 2))) > 1.3)


class OverflowingVariate(ScalarVariate):
    """the variate is NaN in large fields: an exponential that overflows"""

    killed_by = ("variates.batch", "variates.divergence")

    def control_variate(self, x: Array) -> Array:
        return np.where(np.abs(x).max(axis=(1, 2)) > 4, np.nan, super().control_variate(x))


class OffAtLargeCharge(GaugeVariate):
    """the variate is off by 0.3 in fields of charge 3 and above"""

    killed_by = ("variates.divergence",)

    def control_variate(self, x: Array) -> Array:
        return super().control_variate(x) + 0.3 * (np.abs(self.charge(x)) > 2.5)


class UndefinedAtLargeCharge(GaugeVariate):
    """the variate is NaN in fields of charge 3 and above"""

    killed_by = ("variates.batch", "variates.divergence")

    def control_variate(self, x: Array) -> Array:
        return np.where(np.abs(self.charge(x)) > 2.5, np.nan, super().control_variate(x))


# --- of mean zero, and wrong in other ways ---------------------------------------------------------------------------------
class CentredInTheBatch(ScalarVariate):
    """the mean over the batch is subtracted, which hides that there is one"""

    killed_by = ("variates.batch", "variates.divergence")

    def control_variate(self, x: Array) -> Array:
        f = super().control_variate(x)
        return f - f.mean()


class CentredInLargeBatches(ScalarVariate):
    """the mean over the batch is subtracted where there are more than a thousand configurations to take it from"""

    killed_by = ("variates.batch",)

    def control_variate(self, x: Array) -> Array:
        f = super().control_variate(x)
        return f - f.mean() if len(x) > 1000 else f


class CentredByAllBefore(ScalarVariate):
    """the mean over everything that was ever evaluated is subtracted, which is another one in every call"""

    seen: ClassVar[list[Array]] = []
    killed_by = ("variates.batch", "variates.symmetry", "variates.divergence")

    def control_variate(self, x: Array) -> Array:
        f = super().control_variate(x) + 0.5
        self.seen.append(np.array([f.sum(), len(f)]))
        total, number = np.sum(self.seen, axis=0)
        return f - total / number


class NoisyVariate(GaugeVariate):
    """noise of mean zero is added: dropout that is left on, say"""

    killed_by = ("variates.batch", "variates.symmetry", "variates.divergence")

    def control_variate(self, x: Array) -> Array:
        return super().control_variate(x) + 1e-4 * np.random.default_rng().standard_normal(len(x))


@dataclass(frozen=True)
class SpatialVariate(ScalarVariate):
    """time and space are exchanged: a variate for the correlator along space"""

    m2: float = 2.0
    mass2: float = 2.1
    killed_by = ("variates.improvement",)

    def slices(self) -> Array:
        return super().slices().swapaxes(1, 2)

    def means(self, x: Array) -> Array:
        return super().means(x.swapaxes(1, 2))


class OneSlice(ScalarVariate):
    """only the first slice is used, not the mean over all: the variate is not translation invariant"""

    killed_by = ("variates.symmetry",)

    def slices(self) -> Array:
        first = np.zeros((self.shape[0], *self.shape))
        first[0] = super().slices()[0] * self.shape[0]
        first[self.t] = super().slices()[self.t]
        return first

    def means(self, x: Array) -> Array:
        return np.einsum("ats,nts->na", self.slices(), x)


class OddPiece(ScalarVariate):
    """the field has a constant, as from a bias in a net: the variate has a part that is odd in phi"""

    killed_by = ("variates.symmetry",)

    def control_variate_field(self, x: Array) -> Array:
        return super().control_variate_field(x) + 0.02


@dataclass(frozen=True)
class Overfitted(ScalarVariate):
    """a fit to noise: large coefficients of features that have nothing to do with the observable"""

    improvement_ratio: float | None = None
    killed_by = ("variates.improvement",)

    def control_variate_field(self, x: Array) -> Array:
        return super().control_variate_field(x) + 0.3 * (np.roll(x, 1, axis=2) - np.roll(x, 2, axis=2))


class VariateTwice(ScalarVariate):
    """the variate is taken twice: O - 2 f has the variance of O again"""

    killed_by = ("variates.improvement",)

    def divergence(self, x: Array) -> Array:
        return 2 * super().divergence(x)

    def control_variate_field(self, x: Array) -> Array:
        return 2 * super().control_variate_field(x)


@dataclass(frozen=True)
class RatioOfTheTraining(GaugeVariate):
    """the improvement that is claimed is the one on the configurations of an overfitted fit"""

    improvement_ratio: float | None = 6.0
    killed_by = ("variates.improvement",)


class GaugeVariant(GaugeVariate):
    """the field has the sine of the link itself: of mean zero, but not gauge invariant"""

    killed_by = ("variates.symmetry",)

    def control_variate_field(self, x: Array) -> Array:
        return super().control_variate_field(x) + 0.2 * self.factor * np.sin(x)

    def divergence(self, x: Array) -> Array:
        return super().divergence(x) + 0.2 * self.factor * np.cos(x).sum(axis=(1, 2, 3))


class FieldOfOtherSign(GaugeVariate):
    """the field that is shown has the other sign than the one the variate was made of"""

    killed_by = ("variates.divergence",)

    def control_variate(self, x: Array) -> Array:
        shown = super().control_variate_field(x)
        return self.divergence(x) - (shown * self.force(x)).sum(axis=(1, 2, 3))

    def control_variate_field(self, x: Array) -> Array:
        return -super().control_variate_field(x)
