"""Kernels of this package that change the charge, as targets: `winding`, `flux`, `winding_cycle` and `flux_cycle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl import observables, statistics
from refimpl.actions import WilsonU1
from refimpl.kernels import HMC, Cycle, FluxHeatBath, Kernel, State, Winding, spawn_rngs

Array = NDArray[np.float64]

# A uniform flux touches the space links of t > 0 and the last time links only: not ergodic, and not meant to be.
ONE_ORBIT = {"driver.moves_every_link": "moves along the orbit of uniform flux; made ergodic by a cycle with HMC"}


@dataclass(frozen=True)
class KernelU1:
    """Any U(1) kernel as a driver of updates, with the observables of the package."""

    name: str
    beta: float
    shape: tuple[int, int]
    kernel: Kernel
    reversible: bool
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    theory: ClassVar[str] = "u1"
    discrete: ClassVar[bool] = True  # a cycle too: where HMC rejects, few fields are left to go to

    def action(self, x: Array) -> Array:
        return self.kernel.action.action(x)

    def force(self, x: Array) -> Array:
        return self.kernel.action.force(x)

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

    def step(self, x: Array, seed: int) -> Array:
        return self.kernel.step(spawn_rngs(seed, len(x)), self.kernel.init(x))[0].x

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self._advance(spawn_rngs(seed, len(x)), self.kernel.init(x), n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        current, rng_states = state
        rngs = spawn_rngs(0, len(rng_states))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self._advance(rngs, current, n)

    def _advance(self, rngs: list[np.random.Generator], state: State, n: int) -> tuple[Array, Any]:
        configurations = np.empty((n, *state.x.shape))
        for i in range(n):
            state, _ = self.kernel.step(rngs, state)
            configurations[i] = state.x
        return configurations, (state, [rng.bit_generator.state for rng in rngs])


def winding(beta: float = 4.0, shape: tuple[int, int] = (8, 8)) -> KernelU1:
    """The winding step alone."""
    return KernelU1("winding", beta, shape, Winding(WilsonU1(beta)), True, ONE_ORBIT)


def flux(beta: float = 4.0, shape: tuple[int, int] = (8, 8)) -> KernelU1:
    """The flux heat bath alone."""
    return KernelU1("flux heat bath", beta, shape, FluxHeatBath(WilsonU1(beta)), True, ONE_ORBIT)


def winding_cycle(
    beta: float = 4.0, shape: tuple[int, int] = (8, 8), step_size: float = 0.2, n_steps: int = 10
) -> KernelU1:
    """A trajectory, then a winding step."""
    return _cycle("HMC and winding", beta, shape, step_size, n_steps, Winding)


def flux_cycle(
    beta: float = 4.0, shape: tuple[int, int] = (8, 8), step_size: float = 0.2, n_steps: int = 10
) -> KernelU1:
    """A trajectory, then a flux heat bath."""
    return _cycle("HMC and flux heat bath", beta, shape, step_size, n_steps, FluxHeatBath)


def _cycle(
    name: str,
    beta: float,
    shape: tuple[int, int],
    step_size: float,
    n_steps: int,
    last: Callable[[WilsonU1], Kernel],
) -> KernelU1:
    action = WilsonU1(beta)
    return KernelU1(name, beta, shape, Cycle((HMC(action, step_size, n_steps), last(action))), False)
