"""U(1) HMC as one writes it in JAX, as a target: autograd for the force, `jax.lax.scan`, a key for every chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from .jax_chains import Array, JaxU1, PhasePoint, compiled, in_turns, jax, jnp, plaquette_angles, wrapped


@dataclass(frozen=True, eq=False)
class JaxHmc(JaxU1):
    """Everything of one field ``(2, T, X)``, mapped over the chains."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int

    name: ClassVar[str] = f"JAX {jax.__version__} hmc"
    order: ClassVar[int] = 2

    def leapfrog(self, x: Any, v: Any, step_size: float) -> Any:
        force = jax.grad(lambda links: -self.log_density(links))

        def one(z: Any, _: None) -> Any:
            links, momentum = z
            momentum = momentum - step_size / 2 * force(links)
            links = links + step_size * momentum
            return (links, momentum - step_size / 2 * force(links)), None

        return jax.lax.scan(one, (x, v), None, length=self.n_steps)[0]

    def updated(self, x: Any, v: Any, u: Any) -> dict[str, Any]:
        y, w = self.leapfrog(x, v, self.step_size)
        delta_h = self.log_density(x) - self.log_density(y) + (w**2 - v**2).sum() / 2
        accept = u < jnp.exp(-delta_h)
        proposed = {"x_proposed": y, "v_proposed": w, "logdet": jnp.zeros(()), "delta_h": delta_h}
        return proposed | {"accept": accept, "x_next": jnp.where(accept, y, x), "v": v, "u": u}

    def kernel(self, key: Any, links: Any) -> Any:
        return self._drawn(key, links)["x_next"]

    def _drawn(self, key: Any, links: Any) -> dict[str, Any]:
        momentum, uniform = jax.random.split(key)
        return self.updated(links, jax.random.normal(momentum, links.shape), jax.random.uniform(uniform))

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, Array]:
        return _in_range(in_turns(self._functions["transition"], x, v, u))

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        keys = jax.random.split(jax.random.key(seed), len(x))
        return _in_range(in_turns(self._functions["transcript"], x, keys))

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        x, v = in_turns(self._functions["forward"], *z)
        return (wrapped(x), v), np.zeros(len(x))

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        x, v = in_turns(self._functions["inverse"], *z)
        return (wrapped(x), v), np.zeros(len(x))

    def plaquette(self, x: Array) -> Array:
        return in_turns(self._functions["plaquette"], x)

    def charge(self, x: Array) -> Array:
        return in_turns(self._functions["charge"], x)

    def sine_charge(self, x: Array) -> Array:
        return in_turns(self._functions["sine_charge"], x)

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        def charge(links: Any) -> Any:
            angles = plaquette_angles(links)
            return jnp.rint((angles - 2 * jnp.pi * jnp.rint(angles / (2 * jnp.pi))).sum() / (2 * jnp.pi))

        return compiled(
            {
                "forward": lambda x, v: self.leapfrog(x, v, self.step_size),
                "inverse": lambda x, v: self.leapfrog(x, v, -self.step_size),
                "transition": self.updated,
                "transcript": lambda x, key: self._drawn(key, x),
                "plaquette": lambda x: jnp.cos(plaquette_angles(x)).mean(),
                "charge": charge,
                "sine_charge": lambda x: jnp.sin(plaquette_angles(x)).sum() / (2 * math.pi),
            }
        )


def _in_range(record: dict[str, Array]) -> dict[str, Array]:
    return record | {name: wrapped(record[name]) for name in ("x_proposed", "x_next")}


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> JaxHmc:
    """HMC at these parameters."""
    return JaxHmc(beta, shape, step_size, n_steps)
