"""The built-in targets: kernels of our own, entering by the same door as a stranger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from refimpl import observables, statistics
from refimpl.actions import Action, Gaussian, Mixture, O2Chain, WilsonU1
from refimpl.kernels import HMC, Info, State, spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.maps import INTEGRATORS, MolecularDynamics, PhasePoint
from refimpl.maps.l2hmc import GeneralizedLeapfrog

Array = NDArray[np.float64]
Rngs = list[np.random.Generator]

# What a kernel's `noise` returns, in order; the direction only from kernels that draw one.
NOISE = ("v", "u", "d")


class Kernel(Protocol):
    """What `KernelTarget` asks of a Markov kernel."""

    def init(self, x: Array) -> State: ...
    def noise(self, rngs: Sequence[np.random.Generator], shape: tuple[int, ...]) -> tuple[Array, ...]: ...
    @property
    def propose(self) -> Callable[..., tuple[State, Array, Info]]: ...
    def step(self, rngs: Sequence[np.random.Generator], state: State) -> tuple[State, Info]: ...


class Map(Protocol):
    """What `KernelTarget` asks of the map that proposes."""

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]: ...
    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]: ...


class Updates(ABC):
    """A target made of an action and a kernel of this package: updates and runs, opaque."""

    @property
    @abstractmethod
    def sampled(self) -> Action:
        """The action that is sampled."""

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """The update."""

    def action(self, x: Array) -> Array:
        return self.sampled.action(x)

    def force(self, x: Array) -> Array:
        return self.sampled.force(x)

    def step(self, x: Array, seed: int) -> Array:
        kernel = self.kernel
        return kernel.step(spawn_rngs(seed, len(x)), kernel.init(x))[0].x

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self._advance(spawn_rngs(seed, len(x)), self.kernel.init(x), n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        current, rng_states = state
        rngs = spawn_rngs(0, len(rng_states))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self._advance(rngs, current, n)

    def _advance(self, rngs: Rngs, state: State, n: int) -> tuple[Array, Any]:
        kernel = self.kernel
        configurations = np.empty((n, *state.x.shape), state.x.dtype)
        for i in range(n):
            state, _ = kernel.step(rngs, state)
            configurations[i] = state.x
        return configurations, (state, [rng.bit_generator.state for rng in rngs])

    def integrated_autocorrelation_time(self, series: Array) -> float:
        return statistics.integrated_autocorrelation_time(series).tau


def record(state: State, proposal: State, momenta: Array, info: Info) -> dict[str, Array]:
    """What `transition` returns, of what a kernel proposes from ``state``."""
    accepted = info.accepted.reshape(-1, *(1,) * (state.x.ndim - 1))
    return {
        "x_proposed": proposal.x,
        "v_proposed": momenta,
        "logdet": info.logdet,
        "delta_h": info.delta_h,
        "accept": info.accepted,
        "x_next": np.where(accepted, proposal.x, state.x),
    }


class KernelTarget(Updates):
    """A target made of an action, a proposing map and a kernel of this package, whatever the theory: HMC by default.

    A subclass is a dataclass that declares the theory and its parameters, and says what is `sampled`; for the generalized
    leapfrog also `map`. `NOISE` names what its kernel draws.
    """

    step_size: float
    n_steps: int
    integrator: str

    @cached_property
    def map(self) -> Map:
        """The map whose image is proposed."""
        return MolecularDynamics(self.sampled, self.step_size, self.n_steps, INTEGRATORS[self.integrator])

    @cached_property
    def kernel(self) -> Kernel:
        """The update: the generalized leapfrog's, where that is the map."""
        if isinstance(self.map, GeneralizedLeapfrog):
            return L2HMC(self.map)
        return HMC(self.sampled, self.step_size, self.n_steps, INTEGRATORS[self.integrator])

    @property
    def reversal(self) -> str:
        """As the contract has it."""
        if isinstance(self.map, GeneralizedLeapfrog):
            return "involution" if self.map.involution else "direction"
        return "flip"

    @property
    def order(self) -> int:
        """Of the integrator; 0 where there is none."""
        return 0 if isinstance(self.map, GeneralizedLeapfrog) else 2

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)  # type: ignore[type-var]  # subclasses are dataclasses

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self.map.forward(z)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self.map.inverse(z)

    def transition(self, x: Array, *noise: Array) -> dict[str, Array]:
        state = self.kernel.init(x)
        return record(state, *self.kernel.propose(state, *noise))

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        shape = (*x.shape[:4], x.shape[-1] ** 2 - 1) if np.iscomplexobj(x) else x.shape  # that of the momenta
        noise = self.kernel.noise(spawn_rngs(seed, len(x)), shape)
        return {**self.transition(x, *noise), **dict(zip(NOISE, noise, strict=False))}


@dataclass(frozen=True)
class ReferenceU1(KernelTarget):
    """HMC of two-dimensional U(1), with every capability of the contract."""

    beta: float = 4.0
    shape: tuple[int, int] = (8, 8)
    step_size: float = 0.2
    n_steps: int = 10
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = "refimpl U(1) HMC"

    @property
    def sampled(self) -> Action:
        return WilsonU1(self.beta)

    plaquette = staticmethod(observables.mean_plaquette)
    charge = staticmethod(observables.charge)
    sine_charge = staticmethod(observables.sine_charge)
    wilson_loop = staticmethod(observables.wilson_loop)


@dataclass(frozen=True)
class ReferenceO2(KernelTarget):
    """HMC of the periodic O(2) chain."""

    beta: float = 2.0
    length: int = 16
    step_size: float = 0.3
    n_steps: int = 6
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "o2"
    name: ClassVar[str] = "refimpl O(2) HMC"

    @property
    def sampled(self) -> Action:
        return O2Chain(self.beta)


# Three unequal standard deviations (1.5, 1, 0.6 along the axes), correlated, off the origin.
COVARIANCE = ((2.25, 0.6, 0.0), (0.6, 1.0, -0.2), (0.0, -0.2, 0.36))
MEAN = (0.5, -1.0, 0.0)


@dataclass(frozen=True)
class ReferenceGaussian(KernelTarget):
    """HMC of a Gaussian."""

    covariance: Any = COVARIANCE
    mean: Any = MEAN
    step_size: float = 0.3
    n_steps: int = 6
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "gaussian"
    name: ClassVar[str] = "refimpl Gaussian HMC"

    @cached_property
    def sampled(self) -> Action:
        return Gaussian(np.array(self.covariance), np.array(self.mean))


# Two components that a trajectory can pass between, so that their weights are tested.
WEIGHTS = (0.3, 0.7)
MEANS = ((-1.0, 0.0), (1.0, 0.5))
COVARIANCES = (((0.3, 0.1), (0.1, 0.4)), ((0.6, 0.0), (0.0, 0.2)))


@dataclass(frozen=True)
class ReferenceMixture(KernelTarget):
    """HMC of a mixture of Gaussians."""

    weights: Any = WEIGHTS
    means: Any = MEANS
    covariances: Any = COVARIANCES
    step_size: float = 0.3
    n_steps: int = 6
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "gmm"
    name: ClassVar[str] = "refimpl mixture HMC"

    @cached_property
    def sampled(self) -> Action:
        return Mixture(np.array(self.weights), np.array(self.means), np.array(self.covariances))
