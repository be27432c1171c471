"""Wrong Wilson fermions: each overrides one method of the clay in `fermions_clay` and names the checks it must fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .clay import Array, Rngs
from .fermions_clay import ONE, SIGMA_Y, Complex, OrbitClay, PseudofermionClay, SchwingerClay


# --- the operator ------------------------------------------------------------------------------------------------------
class PeriodicFermions(SchwingerClay):
    """fermions are periodic in time: the boundary sign is missing, which no average over U(1) fields shows"""

    killed_by = (
        "fermions.dense",
        "fermions.free_determinant",
        "fermions.determinant",
        "static.action",
        "golden.vectors",
    )

    def boundary(self) -> float:
        return 1.0


class PeriodicApply(SchwingerClay):
    """the matrix-free operator lacks the boundary sign that the matrix has"""

    killed_by = ("fermions.apply", "golden.vectors")

    def apply_links(self, x: Array) -> Complex:
        return np.exp(1j * x)


class OverwrittenHop(SchwingerClay):
    """entries of the matrix are set where they should be added: wrong on two sites in a direction"""

    killed_by = ("fermions.dense", "fermions.determinant", "static.action", "golden.vectors")

    def put(self, d: Complex, row: int, column: int, block: Complex) -> None:
        d[:, row, :, column] = block


class OneGamma(SchwingerClay):
    """sigma_y stands for sigma_x too"""

    killed_by = ("fermions.dense", "fermions.apply", "fermions.free_determinant", "golden.vectors")

    def gammas(self) -> tuple[Complex, Complex]:
        return SIGMA_Y, SIGMA_Y


class ExchangedProjectors(SchwingerClay):
    """hops ahead have 1 + sigma: the adjoint operator, with the same determinant"""

    killed_by = ("fermions.dense", "fermions.apply", "fermions.golden", "golden.vectors")

    def ahead(self, mu: int) -> Complex:
        return ONE + self.gammas()[mu]

    def behind(self, mu: int) -> Complex:
        return ONE - self.gammas()[mu]


class SameProjectors(SchwingerClay):
    """the hop back has the projector of the hop ahead"""

    killed_by = ("fermions.dense", "fermions.gamma5_hermiticity", "golden.vectors")

    def behind(self, mu: int) -> Complex:
        return ONE - self.gammas()[mu]


class NoDaggerBack(SchwingerClay):
    """the hop back goes through the link and not its conjugate"""

    killed_by = (
        "fermions.dense",
        "fermions.apply",
        "fermions.gamma5_hermiticity",
        "fermions.gauge_covariance",
        "golden.vectors",
    )

    def back(self, u: Complex) -> Complex:
        return u


class TwiceKappa(SchwingerClay):
    """2 kappa before the hops, from another normalisation of the field"""

    killed_by = ("fermions.dense", "fermions.determinant", "static.action", "golden.vectors")

    def hopping(self) -> float:
        return 2 * self.kappa


class MassOfThreeDimensions(SchwingerClay):
    """kappa is turned into a mass by 1/(2 m + 6) and back by 1/(2 m + 4)"""

    killed_by = ("fermions.dense", "fermions.free_determinant", "golden.vectors")

    def hopping(self) -> float:
        mass = (1 / self.kappa - 6) / 2
        return 1 / (2 * mass + 4)


class ApplyOfOneChain(SchwingerClay):
    """the matrix-free operator of a single chain lacks the boundary sign, as a slice is dropped with the chain axis"""

    killed_by = ("fermions.batch", "golden.vectors")

    def apply_links(self, x: Array) -> Complex:
        return np.exp(1j * x) if len(x) == 1 else super().apply_links(x)


class ForceOfOneChain(SchwingerClay):
    """the pseudofermion force of a single chain lacks the 2 of 2 Re"""

    killed_by = ("fermions.batch",)

    def pseudofermion_force(self, x: Array, phi: Complex) -> Array:
        force = super().pseudofermion_force(x, phi)
        return force / 2 if len(x) == 1 else force


# --- the determinant ---------------------------------------------------------------------------------------------------
class OneFlavour(SchwingerClay):
    """the weight has the first power of the determinant"""

    killed_by = ("static.action", "transcript.energy", "exact_start.observables_later", "golden.vectors")

    def fermion_action(self, x: Array) -> Array:
        return -self.logdet_dirac(x)


class SquaredLogdet(SchwingerClay):
    """`logdet_dirac` is that of D D^dag; the action knows"""

    killed_by = ("fermions.determinant", "fermions.free_determinant", "golden.vectors")

    def logdet_dirac(self, x: Array) -> Array:
        return 2 * super().logdet_dirac(x)

    def fermion_action(self, x: Array) -> Array:
        return -self.logdet_dirac(x)


class PositiveDeterminants(SchwingerClay):
    """the logarithm of a negative determinant is that of a tiny number"""

    killed_by = ("fermions.determinant",)

    def logdet_dirac(self, x: Array) -> Array:
        return np.log(np.maximum(np.linalg.det(self.dirac_dense(x)).real, 1e-300))


class ForceWithoutBoundary(SchwingerClay):
    """the force takes the links without the boundary sign: the sampler stays exact"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def force_links(self, x: Array) -> Complex:
        return np.exp(1j * x)


class DoubledFermionForce(SchwingerClay):
    """the force of the determinant is twice too large"""

    killed_by = ("static.force", "static.force_gradient", "maps.energy_scaling", "golden.vectors")

    def determinant_force(self, x: Array) -> Array:
        return 2 * super().determinant_force(x)


class QuenchedForce(SchwingerClay):
    """the trajectory is driven by the gauge force alone: exact, and badly accepted"""

    killed_by = ("static.force", "maps.energy_scaling", "golden.vectors")

    def determinant_force(self, x: Array) -> Array:
        return np.zeros(x.shape)


# --- pseudofermions ------------------------------------------------------------------------------------------------------
class EvenOddSign(SchwingerClay):
    """D_sc = 1 + D_eo D_oe"""

    killed_by = ("pseudofermions.action", "pseudofermions.determinant", "pseudofermions.heat_bath")

    def schur(self, d: Complex) -> Complex:
        d_eo, d_oe = self.blocks(d)
        return np.eye(d_eo.shape[1]) + d_eo @ d_oe


class HasenbuschOffByOne(SchwingerClay):
    """a monomial between two masses has the inverse of the larger one"""

    killed_by = ("pseudofermions.action", "pseudofermions.determinant")

    def inverses(self, core: Complex) -> list[Complex]:
        m = core @ core.conj().swapaxes(-1, -2)
        masses = [below if above is None else above for below, above in self.steps()]
        return [np.linalg.inv(m + mass * np.eye(m.shape[-1])) for mass in masses]


class LastMassForgotten(SchwingerClay):
    """the last monomial is that of M without a mass: the determinant is counted too often"""

    killed_by = ("pseudofermions.action", "pseudofermions.determinant")

    def steps(self) -> list[tuple[float, float | None]]:
        return [*super().steps()[:-1], (0.0, None)]


class HalfTheSchurForce(SchwingerClay):
    """the derivative of D_eo D_oe has one term of the product rule"""

    killed_by = ("pseudofermions.force",)

    def schur_derivative(self, d: Complex, dd: Complex) -> Complex:
        return -self.blocks(dd)[0] @ self.blocks(d)[1]


class PseudofermionForceWithoutTwo(SchwingerClay):
    """the force of pseudofermions lacks the 2 of 2 Re"""

    killed_by = ("pseudofermions.force",)

    def pseudofermion_factor(self) -> float:
        return -1.0


class RealVariance(SchwingerClay):
    """real and imaginary part of the noise have variance 1 each"""

    killed_by = ("pseudofermions.heat_bath",)

    def pseudofermion_heat_bath(self, x: Array, seed: int) -> Complex:
        return np.sqrt(2) * super().pseudofermion_heat_bath(x, seed)


class RealNoise(SchwingerClay):
    """the noise has no imaginary part"""

    killed_by = ("pseudofermions.heat_bath",)

    def noise(self, rngs: Rngs, rows: int) -> Complex:
        return np.array([rng.standard_normal(rows) for rng in rngs]).astype(np.complex128)


class HeatBathOfTheInverse(SchwingerClay):
    """phi = K^1/2 chi instead of K^-1/2 chi"""

    killed_by = ("pseudofermions.heat_bath",)

    def drawn(self, x: Array, rngs: Rngs) -> Complex:
        kernels, even = self.kernels(x), self.even()
        flat = np.zeros((len(x), len(kernels), even.size), np.complex128)
        for m, kernel in enumerate(kernels):
            root = np.linalg.cholesky(kernel)
            flat[:, m, even] = np.einsum("nij,nj->ni", root, self.noise(rngs, root.shape[-1]))
        return flat.reshape(len(x), len(kernels), *self.shape, 2)


class StaleNoise(SchwingerClay):
    """pseudofermions are not drawn anew: every call has the noise of the first"""

    killed_by = ("pseudofermions.heat_bath",)

    def pseudofermion_heat_bath(self, x: Array, seed: int) -> Complex:
        return super().pseudofermion_heat_bath(x, 0)


class NormalisedNoise(SchwingerClay):
    """the noise of a field is scaled to its mean square exactly"""

    killed_by = ("pseudofermions.heat_bath",)

    def noise(self, rngs: Rngs, rows: int) -> Complex:
        chi = super().noise(rngs, rows)
        return np.asarray(chi * np.sqrt(rows / (np.abs(chi) ** 2).sum(axis=1, keepdims=True)))


class AdjointKernels(SchwingerClay):
    """M = D^dag D throughout"""

    killed_by = ("pseudofermions.action", "pseudofermions.heat_bath")

    def inverses(self, core: Complex) -> list[Complex]:
        return super().inverses(core.conj().swapaxes(-1, -2))


class HeatBathOfTheAdjoint(SchwingerClay):
    """phi has the covariance D^dag D where the action has D D^dag: right on average over gauge fields"""

    killed_by = ("pseudofermions.heat_bath",)

    def drawn(self, x: Array, rngs: Rngs) -> Complex:
        return AdjointKernels(**vars(self)).drawn(x, rngs)


@dataclass(frozen=True)
class NotRefreshed(PseudofermionClay):
    """HMC makes the pseudofermions of every trajectory of one noise: they are never integrated over"""

    beta: float = 1.0
    kappa: float = 0.35
    killed_by = ("exact_start.observables_later",)

    def fields(self, x: Array, rngs: Rngs) -> Complex:
        return self.drawn(x, [np.random.default_rng(1) for _ in rngs])


class RefreshedInside(PseudofermionClay):
    """pseudofermions are drawn anew for the energy at the end"""

    killed_by = ("exact_start.energy_exchange", "exact_start.observables_later")

    def hamiltonian(self, x: Array, v: Array, phi: Complex) -> Array:
        rngs = [np.random.default_rng() for _ in x]
        return super().hamiltonian(x, v, self.drawn(x, rngs))


class WrongNoiseInHMC(PseudofermionClay):
    """HMC with pseudofermions of twice their variance"""

    killed_by = ("exact_start.observables_later",)

    def fields(self, x: Array, rngs: Rngs) -> Complex:
        return np.sqrt(2) * super().fields(x, rngs)


class FrozenForce(PseudofermionClay):
    """the force of the pseudofermions at the start of the trajectory drives all of it"""

    killed_by = ("transcript.reversible_proposal",)

    def driving_force(self, y: Array, phi: Complex, x: Array, k: int) -> Array:
        return self.pseudofermion_force(x, phi)


class LargeFields(PseudofermionClay):
    """the pseudofermions of the kernel are 10 per cent too large"""

    killed_by = ("transcript.pseudofermions",)

    def fields(self, x: Array, rngs: Rngs) -> Complex:
        return 1.1 * super().fields(x, rngs)


class FieldsOfTheMomenta(PseudofermionClay):
    """pseudofermions are made of the random numbers of the momenta"""

    killed_by = ("transcript.pseudofermions",)

    def update(self, x: Array, rngs: Rngs) -> dict[str, Array]:
        states = [rng.bit_generator.state for rng in rngs]
        v, u = self.momenta(rngs), self.uniforms(rngs)
        for rng, state in zip(rngs, states, strict=True):
            rng.bit_generator.state = state
        phi = self.fields(x, rngs)
        return {**self.transition(x, v, u, phi), "v": v, "u": u, "phi": phi}


class RefreshedOnTheWay(PseudofermionClay):
    """pseudofermions are drawn anew in the middle of the trajectory, H has the old ones"""

    killed_by = ("transcript.reversible_proposal",)

    def driving_force(self, y: Array, phi: Complex, x: Array, k: int) -> Array:
        if 2 * k > self.n_steps:
            phi = self.drawn(x, [np.random.default_rng(1) for _ in x])
        return self.pseudofermion_force(y, phi)


class MonomialForgotten(PseudofermionClay):
    """the kernel has no force and no energy of the middle Hasenbusch monomial"""

    killed_by = ("transcript.energy", "transcript.decision")

    def without(self, phi: Complex) -> Complex:
        kept = phi.copy()
        kept[:, 1] = 0
        return kept

    def driving_force(self, y: Array, phi: Complex, x: Array, k: int) -> Array:
        return self.pseudofermion_force(y, self.without(phi))

    def hamiltonian(self, x: Array, v: Array, phi: Complex) -> Array:
        return super().hamiltonian(x, v, self.without(phi))


class Regulated(PseudofermionClay):
    """the kernel has a regulator that is not taken out again"""

    killed_by = ("transcript.energy", "transcript.pseudofermions")

    def steps(self) -> list[tuple[float, float | None]]:
        return [(0.1, self.mus[0]), *super().steps()[1:]]


# --- estimates -----------------------------------------------------------------------------------------------------------
class EstimateOfOneFlavour(SchwingerClay):
    """the estimate is that of |det D|"""

    killed_by = ("estimates.determinant",)

    def log_weight(self, m: Complex, phi: Complex) -> Array:
        return 0.5 * super().log_weight(m, phi)


class ScaleForgotten(SchwingerClay):
    """fields of another variance, the power of which the weight lacks"""

    killed_by = ("estimates.determinant",)

    def scale(self) -> float:
        return 1.1

    def log_weight(self, m: Complex, phi: Complex) -> Array:
        return super().log_weight(m, phi) - m.shape[-1] * np.log(self.scale())


class InverseEstimate(SchwingerClay):
    """M where its inverse belongs: an estimate of 1/det M"""

    killed_by = ("estimates.determinant",)

    def log_weight(self, m: Complex, phi: Complex) -> Array:
        return super().log_weight(np.linalg.inv(m), phi)


class EstimatesOfReversedChains(SchwingerClay):
    """estimates come in reversed order of the chains: right on average over gauge fields"""

    killed_by = ("estimates.determinant",)

    def determinant_estimate(self, x: Array, n: int, seed: int) -> Array:
        return super().determinant_estimate(x, n, seed)[::-1]


class EstimatesWithoutSeed(SchwingerClay):
    """the seed is ignored: always the same noise"""

    killed_by = ("estimates.determinant",)

    def determinant_estimate(self, x: Array, n: int, seed: int) -> Array:
        return super().determinant_estimate(x, n, 0)


class EveryEstimateTwice(SchwingerClay):
    """every estimate is returned twice"""

    killed_by = ("estimates.determinant",)

    def determinant_estimate(self, x: Array, n: int, seed: int) -> Array:
        return np.repeat(super().determinant_estimate(x, (n + 1) // 2, seed), 2, axis=1)[:, :n]


# --- moves along the orbit -----------------------------------------------------------------------------------------------
class MovingWindow(OrbitClay):
    """flux is drawn from a window around the current field, which moves with it, and accepted by the determinant"""

    killed_by = ("exact_start.observables",)

    def window(self) -> range:
        return range(-1, 2)
