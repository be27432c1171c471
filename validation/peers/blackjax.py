"""The PyPI package blackjax as targets for two-dimensional U(1): our density, blackjax's integrator, HMC and NUTS.

Read from the source of blackjax 1.7.1:

- ``hmc.hmc_proposal`` integrates with ``trajectory.static_integration`` a fixed number of steps, flips the momentum and accepts
  by ``static_binomial_sampling``: ``bernoulli(key, min(1, exp(H - H')))``, which is ``uniform(key) < p``. `BlackjaxU1.transcript`
  draws that uniform number again from the key; all else is what ``HMCInfo`` shows. The momentum it shows is flipped back.
- ``HMCInfo.energy`` is that of the proposal, also after a rejection; its docstring says "total energy of the transition".
- ``safe_energy_diff`` makes a NaN energy a rejection; a ``divergence_threshold`` passed in HMC is reported and has no effect.
- NUTS ends a trajectory where it turns, in the coordinates that go on beyond pi: on angles that is valid, as the density is
  periodic and nothing depends on where the sheet begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    from .jax_chains import JaxU1, compiled, in_turns, jax, jnp, keys_of, wrapped  # isort: skip (x64 before blackjax)
    import blackjax  # type: ignore[import-untyped]
    from blackjax.mcmc import integrators, metrics, trajectory  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f"blackjax cannot be imported ({error}): pip install 'refimpl[blackjax]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class BlackjaxU1(JaxU1):
    """HMC: ``velocity_verlet`` with unit mass, a fixed number of steps."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int

    name: ClassVar[str] = f"blackjax {blackjax.__version__} hmc"
    order: ClassVar[int] = 2

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrated(z, "forward")

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrated(z, "inverse")

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        """One step with what ``HMCInfo`` tells of it."""
        record = in_turns(self._functions["transcript"], x, keys_of(seed, len(x)))
        return record | {name: wrapped(record[name]) for name in ("x_proposed", "x_next")}

    def kernel(self, key: Any, links: Any) -> Any:
        return self._stepped(key, links)[0].position

    def _stepped(self, key: Any, links: Any) -> Any:
        sampler = blackjax.hmc(self.log_density, self.step_size, jnp.ones(links.size), self.n_steps)
        return sampler.step(key, sampler.init(links))

    def _integrated(self, z: PhasePoint, direction: str) -> tuple[PhasePoint, Array]:
        x, v = in_turns(self._functions[direction], *z)
        return (wrapped(x), v), np.zeros(len(x))

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        kinetic = metrics.default_metric(jnp.ones(2 * self.shape[0] * self.shape[1])).kinetic_energy
        leapfrog = integrators.velocity_verlet(self.log_density, kinetic)

        def integrated(direction: int) -> Callable[..., Any]:
            def mapped(x: Any, v: Any) -> Any:
                begin = integrators.new_integrator_state(self.log_density, x, v)
                end = trajectory.static_integration(leapfrog, direction)(begin, self.step_size, self.n_steps)
                return end.position, end.momentum

            return mapped

        def transcript(x: Any, key: Any) -> dict[str, Any]:
            state, info = self._stepped(key, x)
            energy = -self.log_density(x) + kinetic(info.momentum)
            chance = jax.random.split(key)[1]  # as in blackjax.mcmc.hmc.build_kernel
            return {
                "x_proposed": info.proposal.position,
                "v_proposed": -info.proposal.momentum,
                "logdet": jnp.zeros(()),
                "delta_h": info.energy - energy,
                "accept": info.is_accepted,
                "x_next": state.position,
                "v": info.momentum,
                "u": jax.random.uniform(chance, dtype=info.acceptance_rate.dtype),
            }

        functions = {"forward": integrated(1), "inverse": integrated(-1), "transcript": transcript}
        return compiled(functions)


@dataclass(frozen=True, eq=False)
class BlackjaxNuts(JaxU1):
    """NUTS with unit mass, opaque."""

    beta: float
    shape: tuple[int, int]
    step_size: float

    name: ClassVar[str] = f"blackjax {blackjax.__version__} nuts"
    thrift: ClassVar[int] = 4  # the longest of 128 trajectories is waited for

    def kernel(self, key: Any, links: Any) -> Any:
        sampler = blackjax.nuts(self.log_density, self.step_size, jnp.ones(links.size), max_num_doublings=6)
        return sampler.step(key, sampler.init(links))[0].position


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> BlackjaxU1:
    """HMC at these parameters."""
    return BlackjaxU1(beta, shape, step_size, n_steps)


def nuts(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.4) -> BlackjaxNuts:
    """NUTS at these parameters."""
    return BlackjaxNuts(beta, shape, step_size)
