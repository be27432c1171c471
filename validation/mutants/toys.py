"""Wrong samplers of the O(2) chain, the Gaussian and the mixture: each overrides one method of the clay in `toy_clay`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .toy_clay import Array, Rngs, Toy


# --- the chain ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OpenChain(Toy):
    """the action of the chain misses the bond that closes it"""

    theory: str = "o2"
    killed_by = ("static.action", "static.translation", "exact_start.observables", "golden.vectors")

    def chain_action(self, x: Array) -> Array:
        return self.beta * (1 - np.cos(self.bonds(x)[:, :-1])).sum(axis=1)


@dataclass(frozen=True)
class VillainBond(Toy):
    """the action of the chain is the square of the wrapped bond angle, which is right for small angles"""

    theory: str = "o2"
    killed_by = ("static.action", "exact_start.observables", "golden.vectors")

    def chain_action(self, x: Array) -> Array:
        return 0.5 * self.beta * np.square(self.wrapped(self.bonds(x))).sum(axis=1)


@dataclass(frozen=True)
class OneSidedForce(Toy):
    """the force of an angle has only the bond to its right"""

    theory: str = "o2"
    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def chain_force(self, x: Array) -> Array:
        return -self.beta * np.sin(self.bonds(x))


@dataclass(frozen=True)
class OneWayTwist(Toy):
    """after each update a twist by one full turn along the chain is proposed, only ever in one sense"""

    theory: str = "o2"
    killed_by = ("exact_start.charge_exchange", "exact_start.charge_distribution", "driver.charge_distribution")

    def chosen(self, accept: NDArray[np.bool_], x_end: Array, x: Array) -> Array:
        now = super().chosen(accept, x_end, x)
        twisted = self.wrapped(now + 2 * np.pi / self.length * np.arange(self.length))
        change = self.action(twisted) - self.action(now)
        return np.where((np.random.default_rng().random(len(x)) < np.exp(-change))[:, None], twisted, now)


# --- the Gaussian --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class CovarianceForPrecision(Toy):
    """the covariance is taken for its inverse"""

    theory: str = "gaussian"
    killed_by = ("static.action", "static.force", "exact_start.observables", "driver.observables", "golden.vectors")

    def precision(self, covariance: Array) -> Array:
        return covariance


@dataclass(frozen=True)
class DiagonalPrecision(Toy):
    """correlations are left out: the inverse of the diagonal of the covariance"""

    theory: str = "gaussian"
    killed_by = ("static.action", "exact_start.observables_later", "golden.vectors")

    def precision(self, covariance: Array) -> Array:
        return np.diag(1 / np.diag(covariance))


@dataclass(frozen=True)
class MeanForgotten(Toy):
    """the Gaussian is centred at the origin"""

    theory: str = "gaussian"
    killed_by = ("static.action", "static.force", "exact_start.observables", "golden.vectors")

    def components(self) -> list[tuple[float, Array, Array]]:
        return [(w, 0 * m, c) for w, m, c in super().components()]


@dataclass(frozen=True)
class Unadjusted(Toy):
    """no accept/reject: leapfrog samples variances that are too large"""

    theory: str = "gaussian"
    step_size: float = 0.6
    killed_by = ("transcript.decision", "exact_start.energy_exchange", "exact_start.observables_later")

    def accept(self, delta_h: Array, u: Array) -> NDArray[np.bool_]:
        return np.ones(len(u), dtype=bool)


@dataclass(frozen=True)
class MassLeftOver(Toy):
    """momenta are drawn with the standard deviations of x, as if there were a mass matrix"""

    theory: str = "gaussian"
    killed_by = ("transcript.momenta", "exact_start.observables")

    def momenta(self, rngs: Rngs, size: int) -> Array:
        return super().momenta(rngs, size) * np.sqrt(np.diag(np.array(self.covariance)))


# --- the mixture -----------------------------------------------------------------------------------------------------------
class WeightForgotten(Toy):
    """the weights of the components are left out of the action"""

    killed_by = ("static.action", "transcript.energy", "exact_start.observables", "golden.vectors")

    def log_weight(self, weight: float, covariance: Array) -> float:
        return super().log_weight(0.5, covariance)


class DeterminantForgotten(Toy):
    """the components lack the determinants that normalise them"""

    killed_by = ("static.action", "exact_start.observables_later", "golden.vectors")

    def log_weight(self, weight: float, covariance: Array) -> float:
        return float(np.log(weight))


class NearestComponent(Toy):
    """the log of the sum over components is replaced by its largest term"""

    killed_by = ("static.action", "static.force_gradient", "golden.vectors")

    def log_sum(self, terms: Array) -> Array:
        return np.asarray(terms.max(axis=0))


class HardForce(Toy):
    """the force is that of the most probable component: the sampler stays exact"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def shares(self, x: Array) -> Array:
        terms = self.log_joint(x)
        return (terms == terms.max(axis=0)).astype(np.float64)
