"""A step of training of the neural control variate as one writes it in JAX: float64, `jax.jvp` for the divergence, jitted.

The first layer is either the net on gathered translates, mapped over them, as the formulas read, or a Fourier transform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = list[jax.Array]


def variate(weights: Weights, phi: jax.Array, force: jax.Array, first_layer: str) -> jax.Array:
    """``f = sum_y [ dg_y/dphi_y - g_y F_y ]`` of one field ``(T, X)``, with force ``(V,)``."""
    g, divergence = (_by_gather if first_layer == "gather" else _by_fft)(weights, phi)
    return jnp.sum(divergence - g * force)


def trainer(
    params: Mapping[str, Array],
    x: Array,
    force: Array,
    targets: Array,
    rate: float,
    delta: float,
    first_layer: str = "gather",
) -> Callable[[], float]:
    """A function that does one step of Adam with the next configuration, and returns ``(O - f - mu)^2`` before it."""
    jax.config.update("jax_enable_x64", True)
    state = {"w": [jnp.asarray(params[f"weight/{i}"]) for i in range(len(params))], "mu": jnp.zeros(())}
    moments = (jax.tree.map(jnp.zeros_like, state), jax.tree.map(jnp.zeros_like, state))

    def loss(state: dict, phi: jax.Array, force: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        square = (target - variate(state["w"], phi, force, first_layer) - state["mu"]) ** 2
        return square + delta * sum(jnp.sum(w * w) for w in state["w"]), square

    @jax.jit
    def step(state: dict, moments: tuple, n: jax.Array, phi: jax.Array, force: jax.Array, target: jax.Array) -> tuple:
        (_, square), grads = jax.value_and_grad(loss, has_aux=True)(state, phi, force, target)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
        second = jax.tree.map(lambda m, g: 0.999 * m + 0.001 * g * g, moments[1], grads)

        def moved(p: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
            return p - rate * (a / (1 - 0.9**n)) / (jnp.sqrt(b / (1 - 0.999**n)) + 1e-8)

        return jax.tree.map(moved, state, first, second), (first, second), n + 1, square

    data = [tuple(map(jnp.asarray, one)) for one in zip(x, force, targets, strict=True)]
    n, count = jnp.ones(()), 0

    def advance() -> float:
        nonlocal state, moments, n, count
        state, moments, n, square = step(state, moments, n, *data[count % len(data)])
        count += 1
        return float(square)

    return advance


def _by_gather(weights: Weights, phi: jax.Array) -> tuple[jax.Array, jax.Array]:
    n_t, n_x = phi.shape
    t, s = (site.ravel() for site in np.indices(phi.shape))
    translates = phi[(t[:, None] + t) % n_t, (s[:, None] + s) % n_x]  # (y, z): phi(y + z)
    direction = jnp.zeros(phi.size).at[0].set(1.0)

    def g_0(field: jax.Array) -> jax.Array:
        value = field @ weights[0]
        for weight in weights[1:]:
            value = jnp.arcsinh(value) @ weight
        return value[0]

    values, derivatives = jax.vmap(lambda field: jax.jvp(g_0, (field,), (direction,)))(translates)
    return values, derivatives


def _by_fft(weights: Weights, phi: jax.Array) -> tuple[jax.Array, jax.Array]:
    spectrum = jnp.conj(jnp.fft.rfft2(weights[0].T.reshape(-1, *phi.shape)))
    first = jnp.fft.irfft2(spectrum * jnp.fft.rfft2(phi), s=phi.shape).reshape(-1, phi.size).T

    def others(value: jax.Array) -> jax.Array:
        for weight in weights[1:]:
            value = jnp.arcsinh(value) @ weight
        return value[:, 0]

    values, derivatives = jax.jvp(others, (first,), (jnp.broadcast_to(weights[0][0], first.shape),))
    return values, derivatives
