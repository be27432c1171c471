"""The built-in target: our own U(1) HMC, entering by the same door as a stranger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl import observables, statistics
from refimpl.actions import WilsonU1
from refimpl.kernels import HMC, State, spawn_rngs
from refimpl.maps import INTEGRATORS, MolecularDynamics, PhasePoint

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceU1:
    """HMC of this package at the given parameters, with every capability of the contract."""

    beta: float = 4.0
    shape: tuple[int, int] = (8, 8)
    step_size: float = 0.2
    n_steps: int = 10
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = "refimpl U(1) HMC"

    @property
    def _action(self) -> WilsonU1:
        return WilsonU1(self.beta)

    @property
    def _map(self) -> MolecularDynamics:
        return MolecularDynamics(self._action, self.step_size, self.n_steps, INTEGRATORS[self.integrator])

    @property
    def _kernel(self) -> HMC:
        return HMC(self._action, self.step_size, self.n_steps, INTEGRATORS[self.integrator])

    def replace(self, **changes: Any) -> ReferenceU1:
        return replace(self, **changes)

    def action(self, x: Array) -> Array:
        return self._action.action(x)

    def force(self, x: Array) -> Array:
        return self._action.force(x)

    def plaquette(self, x: Array) -> Array:
        return observables.mean_plaquette(x)

    def charge(self, x: Array) -> NDArray[np.int64]:
        return observables.charge(x)

    def sine_charge(self, x: Array) -> Array:
        return observables.sine_charge(x)

    def wilson_loop(self, x: Array, extent_t: int, extent_x: int) -> Array:
        return observables.wilson_loop(x, extent_t, extent_x)

    def integrated_autocorrelation_time(self, series: Array) -> float:
        return statistics.integrated_autocorrelation_time(series).tau

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._map.forward(z)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._map.inverse(z)

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, Array]:
        state = self._kernel.init(x)
        proposal, momenta, info = self._kernel.propose(state, v, u)
        accepted = info.accepted[:, None, None, None]
        return {
            "x_proposed": proposal.x,
            "v_proposed": momenta,
            "logdet": info.logdet,
            "delta_h": info.delta_h,
            "accept": info.accepted,
            "x_next": np.where(accepted, proposal.x, state.x),
        }

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        v, u = self._kernel.noise(spawn_rngs(seed, len(x)), x.shape)
        return {**self.transition(x, v, u), "v": v, "u": u}

    def step(self, x: Array, seed: int) -> Array:
        kernel = self._kernel
        return kernel.step(spawn_rngs(seed, len(x)), kernel.init(x))[0].x

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self._advance(spawn_rngs(seed, len(x)), self._kernel.init(x), n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        current, rng_states = state
        rngs = spawn_rngs(0, len(rng_states))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self._advance(rngs, current, n)

    def _advance(self, rngs: list[np.random.Generator], state: State, n: int) -> tuple[Array, Any]:
        configurations = np.empty((n, *state.x.shape))
        for i in range(n):
            state, _ = self._kernel.step(rngs, state)
            configurations[i] = state.x
        return configurations, (state, [rng.bit_generator.state for rng in rngs])
