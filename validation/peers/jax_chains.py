"""U(1) as one writes it in JAX, and chains of it: functions compiled for one number of fields, applied to any number of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError(f"jax cannot be imported ({error}): pip install 'refimpl[bench]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]
State = tuple[Array, int, int]

BATCH = 128


class JaxU1:
    """The density of one field ``(2, T, X)``, and chains of a kernel of one field."""

    beta: float
    shape: tuple[int, int]
    theory: ClassVar[str] = "u1"

    kernel: Callable[[Any, Any], Any]  # a key and links -> the next links

    def log_density(self, links: Any) -> Any:
        return -self.beta * (1 - jnp.cos(plaquette_angles(links))).sum()

    def action(self, x: Array) -> Array:
        return in_turns(self._chains["action"], x)

    def force(self, x: Array) -> Array:
        return in_turns(self._chains["force"], x)

    def step(self, x: Array, seed: int) -> Array:
        """One update of every chain, each with a key of its own."""
        return self._updated(x, keys_of(seed, len(x)))

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, State]:
        return self.resume((x, seed, 0), n)

    def resume(self, state: State, n: int) -> tuple[Array, State]:
        """The state is the links, the seed, and how many updates were made of it."""
        x, seed, done = state
        links = []
        for k in range(done, done + n):
            x = self._updated(x, jax.random.split(jax.random.fold_in(jax.random.key(seed), k), len(x)))
            links.append(x)
        return np.array(links).reshape(n, *x.shape), (x, seed, done + n)

    def _updated(self, x: Array, keys: Any) -> Array:
        return wrapped(in_turns(self._chains["update"], x, keys))

    @cached_property
    def _chains(self) -> dict[str, Callable[..., Any]]:
        return compiled(
            {
                "action": lambda x: -self.log_density(x),
                "force": jax.grad(lambda x: -self.log_density(x)),
                "update": lambda x, key: self.kernel(key, x),
            }
        )


def compiled(functions: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Functions of one field, for batches of them."""
    return {name: jax.jit(jax.vmap(function)) for name, function in functions.items()}


def in_turns(function: Callable[..., Any], *arrays: Any) -> Any:
    """A function of `BATCH` fields, of any number of them: the last one fills the batch up."""
    n, parts = len(arrays[0]), []
    for start in range(0, n, BATCH):
        some = np.minimum(np.arange(start, start + BATCH), n - 1)
        parts.append(function(*(array[some] for array in arrays)))
    return joined(parts, n)


def joined(parts: list[Any], n: int) -> Any:
    """The results of batches, as arrays of n fields."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:n], *parts)


def keys_of(seed: int, n: int) -> Any:
    """A key for every chain."""
    return jax.random.split(jax.random.key(seed), n)


def plaquette_angles(links: Any) -> Any:
    """``th0(n) + th1(n + 0^) - th0(n + 1^) - th1(n)`` of one field ``(2, T, X)``."""
    th0, th1 = links
    return th0 + jnp.roll(th1, -1, 0) - jnp.roll(th0, -1, 1) - th1


def wrapped(x: Array) -> Array:
    """Angles in [-pi, pi); one that is there already keeps its bits, so that a rejection returns its input."""
    x = np.asarray(x)
    x = x - 2 * np.pi * np.floor((x + np.pi) / (2 * np.pi))
    return np.where(x >= np.pi, -np.pi, np.maximum(x, -np.pi))  # rounding can leave +pi, or just below -pi
