"""Wrong actions, observables and updates of phi^4: each overrides one method of the clay in `scalar_clay`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scalar_clay import Array, FourierClay, Rngs, ScalarClay


# --- action and force ----------------------------------------------------------------------------------------------------
class QuarticWithoutFactorial(ScalarClay):
    """the quartic term is lam phi^4, without the 1/24"""

    killed_by = ("static.action", "static.force", "scalars.golden", "golden.vectors")

    def potential(self, x: Array) -> Array:
        return (self.m2 / 2 + self.lam * x * x) * x * x

    def slope(self, x: Array) -> Array:
        return (self.m2 + 4 * self.lam * x * x) * x


class PotentialPerDirection(ScalarClay):
    """mass and quartic term are counted once per direction, as eq. (14) of Bedaque 2023 is printed"""

    killed_by = ("static.action", "static.force", "scalars.golden", "exact_start.observables", "golden.vectors")

    def potential(self, x: Array) -> Array:
        return 2 * super().potential(x)

    def slope(self, x: Array) -> Array:
        return 2 * super().slope(x)


class SingleBonds(ScalarClay):
    """on an extent of 2 the two bonds between a pair of sites are counted once"""

    killed_by = ("static.action", "static.force", "scalars.golden", "golden.vectors")

    def bonds(self, x: Array) -> list[Array]:
        return [bond * (0.5**0.5 if bond.shape[axis] == 2 else 1.0) for axis, bond in enumerate(super().bonds(x), 1)]

    def laplacian(self, x: Array) -> Array:
        halves = [0.5 if n == 2 else 1.0 for n in x.shape[1:]]
        differences = [np.roll(x, -1, axis) + np.roll(x, 1, axis) - 2 * x for axis in (1, 2)]
        return halves[0] * differences[0] + halves[1] * differences[1]


class OpenInTime(ScalarClay):
    """the bonds between the last and the first time slice are missing from the action"""

    killed_by = ("static.action", "static.translation", "static.force_gradient", "golden.vectors")

    def action(self, x: Array) -> Array:
        return super().action(x) - 0.5 * np.square(x[:, 0] - x[:, -1]).sum(axis=1)


class OneSidedLaplacian(ScalarClay):
    """the force has twice the bond to the next site, in place of the bonds to either side"""

    killed_by = ("static.force", "static.reflection", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def laplacian(self, x: Array) -> Array:
        in_time, in_space = self.bonds(x)
        return 2 * (in_time + in_space)


# --- observables -----------------------------------------------------------------------------------------------------------
class SpatialCorrelator(ScalarClay):
    """the correlator runs along space: the axes are exchanged"""

    killed_by = ("scalars.correlator", "scalars.golden", "golden.vectors")

    def correlator(self, x: Array, t: int) -> Array:
        return super().correlator(x.swapaxes(1, 2), t)


class ConnectedCorrelator(ScalarClay):
    """the square of the mean field of the configuration is subtracted from the correlator"""

    killed_by = ("scalars.correlator", "scalars.golden", "golden.vectors")

    def correlator(self, x: Array, t: int) -> Array:
        return super().correlator(x - x.mean(axis=(1, 2), keepdims=True), t)


class OpenCorrelator(ScalarClay):
    """the correlator averages over pairs of slices that do not cross the boundary"""

    killed_by = ("scalars.correlator", "static.translation", "golden.vectors")

    def correlator(self, x: Array, t: int) -> Array:
        means = x.mean(axis=2)
        return np.asarray((means[:, t:] * means[:, : means.shape[1] - t]).mean(axis=1))


class MomentOfTheMean(ScalarClay):
    """the moments are powers of the mean field"""

    killed_by = ("scalars.field_moment", "scalars.golden", "golden.vectors")

    def field_moment(self, x: Array, k: int) -> Array:
        return np.asarray(x.mean(axis=(1, 2)) ** k)


class AbsoluteMoment(ScalarClay):
    """the moments are those of |phi|"""

    killed_by = ("scalars.field_moment", "static.conjugation", "golden.vectors")

    def field_moment(self, x: Array, k: int) -> Array:
        return super().field_moment(np.abs(x), k)


# --- updates -----------------------------------------------------------------------------------------------------------------
class UnadjustedScalar(ScalarClay):
    """no accept/reject step"""

    killed_by = ("transcript.decision", "exact_start.observables", "exact_start.observables_later")

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        return np.ones(len(u), dtype=bool)


class FoldedSign(ScalarClay):
    """after every update the sign of the field is turned so that its mean is positive: no even observable can tell"""

    killed_by = ("transcript.next_state", "exact_start.drift")

    def choose(self, accept: NDArray[np.bool_], x_end: Array, x: Array) -> Array:
        now = super().choose(accept, x_end, x)
        return now * np.where(now.mean(axis=(1, 2), keepdims=True) < 0, -1.0, 1.0)


class WhiteMomenta(FourierClay):
    """the Fourier kernel draws white momenta, but moves the field by the inverse of the covariance they should have"""

    killed_by = ("exact_start.energy_exchange", "exact_start.observables")

    def drawn(self, normal: Array) -> Array:
        return normal


class PropagatorForItsInverse(FourierClay):
    """the drift of the Fourier kernel multiplies by K, not by its inverse: still exact, but no integrator"""

    killed_by = ("maps.energy_scaling",)

    def drift(self, x: Array, w: Array) -> Array:
        return x + self.filtered(w, self.covariance() / np.square(self.covariance()).max())


class PlainKineticEnergy(FourierClay):
    """the Fourier kernel decides with v.v/2 in place of v.K^-1.v/2"""

    killed_by = ("transcript.energy", "transcript.decision", "exact_start.energy_exchange")

    def kinetic(self, v: Array) -> Array:
        return super().kinetic(self.coloured(v))


class ColouredUniformly(FourierClay):
    """the modes of the momenta are multiplied by K, not by its root"""

    killed_by = ("transcript.momenta",)

    def drawn(self, normal: Array) -> Array:
        return self.filtered(normal, self.covariance())


class ZeroModeFrozen(FourierClay):
    """the Fourier kernel leaves out the mode of momentum zero: the mean field never moves"""

    killed_by = ("driver.moves_every_link",)

    def momenta(self, rngs: Rngs) -> Array:
        w = super().momenta(rngs)
        return w - w.mean(axis=(1, 2), keepdims=True)

    def kick_force(self, x: Array) -> Array:
        force = super().kick_force(x)
        return force - force.mean(axis=(1, 2), keepdims=True)
