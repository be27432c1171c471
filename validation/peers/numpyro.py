"""The PyPI package numpyro as targets for two-dimensional U(1): our potential, numpyro's integrator, HMC and NUTS.

Read from the source of numpyro 0.22.0, ``infer/hmc.py`` and ``infer/hmc_util.py``:

- ``hmc(potential_fn, algo=...)`` gives ``init_kernel`` and ``sample_kernel``, which is what `numpyro.infer.HMC` and ``NUTS`` wrap.
  With ``num_steps`` and ``trajectory_length=None`` the step size is taken as it is; otherwise it is the length over
  ``ceil(length/step size)``, and so not what was asked for.
- Adaptation is off here (``num_warmup=0``): with it, the updates of the warm-up are no Markov chain with this density.
- HMC does not flip the momentum: it draws a new one for every update, unless ``HMCState.r`` is set. It accepts where
  ``bernoulli(key, min(1, exp(-dH)))``; a NaN is a rejection.
- The update does not show its proposal: `step` is opaque. `forward` and `inverse` are ``velocity_verlet`` of the same module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

try:
    from .jax_chains import Array, JaxU1, PhasePoint, compiled, in_turns, jax, jnp, wrapped
    import numpyro  # type: ignore[import-untyped]  # isort: skip (after x64 is set)
    from numpyro.infer import hmc_util  # type: ignore[import-untyped]
    from numpyro.infer.hmc import hmc  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f"numpyro cannot be imported ({error}): pip install 'refimpl[numpyro]'") from error


class NumpyroU1(JaxU1):
    """One update of ``hmc`` with unit mass, without adaptation."""

    step_size: float
    algorithm: ClassVar[str]
    options: dict[str, Any]

    def potential(self, links: Any) -> Any:
        return -self.log_density(links)

    def kernel(self, key: Any, links: Any) -> Any:
        init, sample = hmc(self.potential, algo=self.algorithm)
        fixed = {"adapt_step_size": False, "adapt_mass_matrix": False, "trajectory_length": None}
        state = init(links, num_warmup=0, step_size=self.step_size, rng_key=key, **fixed, **self.options)
        return sample(state).z


@dataclass(frozen=True, eq=False)
class NumpyroHmc(NumpyroU1):
    """HMC with a fixed number of steps."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int

    name: ClassVar[str] = f"numpyro {numpyro.__version__} hmc"
    order: ClassVar[int] = 2
    algorithm: ClassVar[str] = "HMC"

    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]
        return {"num_steps": self.n_steps}

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrated(z, "forward")

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrated(z, "inverse")

    def _integrated(self, z: PhasePoint, direction: str) -> tuple[PhasePoint, Array]:
        x, v = in_turns(self._maps[direction], *z)
        return (wrapped(x), v), np.zeros(len(x))

    @cached_property
    def _maps(self) -> dict[str, Callable[..., Any]]:
        begin, update = hmc_util.velocity_verlet(self.potential, hmc_util.euclidean_kinetic_energy)
        mass = jnp.ones(2 * self.shape[0] * self.shape[1])

        def integrated(step_size: float) -> Callable[..., Any]:
            def mapped(x: Any, v: Any) -> Any:
                end = jax.lax.fori_loop(0, self.n_steps, lambda _, s: update(step_size, mass, s), begin(x, v))
                return end.z, end.r

            return mapped

        return compiled({"forward": integrated(self.step_size), "inverse": integrated(-self.step_size)})


@dataclass(frozen=True, eq=False)
class NumpyroNuts(NumpyroU1):
    """NUTS, opaque."""

    beta: float
    shape: tuple[int, int]
    step_size: float

    name: ClassVar[str] = f"numpyro {numpyro.__version__} nuts"
    algorithm: ClassVar[str] = "NUTS"
    thrift: ClassVar[int] = 4  # the longest of 128 trajectories is waited for

    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]
        return {"max_tree_depth": 6}


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> NumpyroHmc:
    """HMC at these parameters."""
    return NumpyroHmc(beta, shape, step_size, n_steps)


def nuts(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.4) -> NumpyroNuts:
    """NUTS at these parameters."""
    return NumpyroNuts(beta, shape, step_size)
