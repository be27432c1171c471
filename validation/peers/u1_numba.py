"""U(1) HMC as one writes it in numba: explicit loops over chains and sites, compiled."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=False)
def _force(x, sines, force, beta):
    _, n_t, n_x = x.shape
    for t in range(n_t):
        for s in range(n_x):
            angle = x[0, t, s] + x[1, (t + 1) % n_t, s] - x[0, t, (s + 1) % n_x] - x[1, t, s]
            sines[t, s] = beta * np.sin(angle)
    for t in range(n_t):
        for s in range(n_x):
            force[0, t, s] = sines[t, s] - sines[t, s - 1]
            force[1, t, s] = sines[t - 1, s] - sines[t, s]


@numba.njit(cache=False)
def _energy(x, v, beta):
    _, n_t, n_x = x.shape
    total = 0.0
    for t in range(n_t):
        for s in range(n_x):
            angle = x[0, t, s] + x[1, (t + 1) % n_t, s] - x[0, t, (s + 1) % n_x] - x[1, t, s]
            total += beta * (1 - np.cos(angle)) + 0.5 * (v[0, t, s] ** 2 + v[1, t, s] ** 2)
    return total


@numba.njit(cache=False)
def _step(links, beta, step_size, n_steps, rng):
    n_chains, _, n_t, n_x = links.shape
    sines, force = np.empty((n_t, n_x)), np.empty((2, n_t, n_x))
    for chain in range(n_chains):
        x = links[chain].copy()
        v = rng.standard_normal((2, n_t, n_x))
        h_old = _energy(x, v, beta)
        _force(x, sines, force, beta)
        v -= 0.5 * step_size * force
        for k in range(n_steps):
            x += step_size * v
            _force(x, sines, force, beta)
            v -= (step_size if k < n_steps - 1 else 0.5 * step_size) * force
        if np.log(rng.random()) < h_old - _energy(x, v, beta):
            links[chain] = np.remainder(x + np.pi, 2 * np.pi) - np.pi


def hmc_stepper(
    beta: float, step_size: float, n_steps: int, x: NDArray[np.float64], seed: int = 0
) -> Callable[[], NDArray[np.float64]]:
    """A function that advances all chains by one HMC trajectory and returns the links."""
    links, rng = np.array(x, order="C"), np.random.default_rng(seed)

    def step() -> NDArray[np.float64]:
        _step(links, beta, step_size, n_steps, rng)
        return links

    return step
