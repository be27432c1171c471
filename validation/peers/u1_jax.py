"""U(1) HMC as one writes it in JAX: float64, `jnp.roll`, one jitted trajectory for all chains."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray


def hmc_stepper(
    beta: float, step_size: float, n_steps: int, x: NDArray[np.float64], seed: int = 0
) -> Callable[[], NDArray[np.float64]]:
    """A function that advances all chains by one HMC trajectory and returns the links."""
    jax.config.update("jax_enable_x64", True)

    def plaquettes(theta: jax.Array) -> jax.Array:
        theta_0, theta_1 = theta[:, 0], theta[:, 1]
        return theta_0 + jnp.roll(theta_1, -1, 1) - jnp.roll(theta_0, -1, 2) - theta_1

    def action(theta: jax.Array) -> jax.Array:
        return beta * (1 - jnp.cos(plaquettes(theta))).sum((1, 2))

    def force(theta: jax.Array) -> jax.Array:
        s = beta * jnp.sin(plaquettes(theta))
        return jnp.stack([s - jnp.roll(s, 1, 2), jnp.roll(s, 1, 1) - s], 1)

    @jax.jit
    def trajectory(key: jax.Array, theta_old: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, key_v, key_u = jax.random.split(key, 3)
        v_old = jax.random.normal(key_v, theta_old.shape, dtype=jnp.float64)

        def leapfrog(_: int, z: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            theta, v = z
            theta = theta + step_size * v
            return theta, v - step_size * force(theta)

        z = (theta_old, v_old - 0.5 * step_size * force(theta_old))
        theta, v = jax.lax.fori_loop(0, n_steps - 1, leapfrog, z)
        theta = theta + step_size * v
        v = v - 0.5 * step_size * force(theta)
        h_old = action(theta_old) + 0.5 * (v_old**2).sum((1, 2, 3))
        h_new = action(theta) + 0.5 * (v**2).sum((1, 2, 3))
        u = jax.random.uniform(key_u, (len(theta_old),), dtype=jnp.float64)
        accept = jnp.log(u) < h_old - h_new
        theta = jnp.remainder(theta + jnp.pi, 2 * jnp.pi) - jnp.pi
        return key, jnp.where(accept[:, None, None, None], theta, theta_old)

    key, links = jax.random.key(seed), jnp.asarray(x)

    def step() -> NDArray[np.float64]:
        nonlocal key, links
        key, links = trajectory(key, links)
        return np.asarray(links)

    return step
