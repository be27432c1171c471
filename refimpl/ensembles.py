"""Configurations of phi^4 to work on, nearly independent, by Fourier-accelerated HMC: where there is no exact sampler."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .actions import Phi4
from .exact import free_scalar, phi4
from .kernels import FourierHMC, spawn_rngs
from .lattice import check_integer

Array = NDArray[np.float64]

CHAINS = 100
# A trajectory of a quarter of a period turns a field of the matched free theory into an independent one. The field itself is
# not free, so there are a few between configurations and some at the start.
BETWEEN, DISCARDED = 3, 50
STEPS_PER_QUARTER = (6, 8, 12, 16, 24, 32, 48)
ACCEPTANCE, TRIALS = 0.8, 10  # wanted of a number of steps, over this many trajectories


def phi4_fields(
    action: Phi4,
    shape: tuple[int, int],
    n: int,
    seed: int | np.random.SeedSequence,
    tick: Callable[[int], None] = lambda done: None,
) -> Array:
    """``n`` configurations ``(n, T, X)`` in equilibrium; exact and independent where ``lam = 0``.

    Of `CHAINS` chains, started from free fields of the mass `refimpl.exact.phi4.free_mass`, `DISCARDED` trajectories are discarded
    and then every `BETWEEN`-th field is kept, by step and chain, so that neighbours belong to different chains. In the symmetric
    phase autocorrelations are gone by then (tau_int of the correlator 0.5 to 0.6 trajectories); where ``m2 < 0`` breaks the
    symmetry chains do not tunnel, and the result is a mixture by the signs of the starts.

    ``tick``: told how many configurations there are, as they come.
    """
    shape = free_scalar.checked_shape(shape)
    check_integer("n", n, 1)
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(check_integer("seed", seed, 0))
    first, second = seed.spawn(2)
    rng = np.random.default_rng(first)
    if action.lam == 0:
        return free_scalar.sample(rng, n, action.m2, shape)
    mass2 = phi4.free_mass(action.m2, action.lam, shape)
    chains = min(CHAINS, n)
    kernel, x = _tuned(action, mass2, free_scalar.sample(rng, chains, mass2, shape), second)
    state, rngs = kernel.init(x), spawn_rngs(second, chains)
    found = np.empty((math.ceil(n / chains) * chains, *shape))
    for step in range(1 - DISCARDED, BETWEEN * len(found) // chains + 1):
        state, _ = kernel.step(rngs, state)
        if step > 0 and step % BETWEEN == 0:
            end = step // BETWEEN * chains
            found[end - chains : end] = state.x
            tick(min(end, n))
    return found[:n]


def _tuned(action: Phi4, mass2: float, x: Array, seed: np.random.SeedSequence) -> tuple[FourierHMC, Array]:
    """The kernel with the first number of steps that is accepted often enough, and the fields after the trials."""
    for n_steps in STEPS_PER_QUARTER:
        kernel = FourierHMC(action, math.pi / 2 / n_steps, n_steps, mass2)
        state, rngs = kernel.init(x), spawn_rngs(seed.spawn(1)[0], len(x))
        accepted = []
        for _ in range(TRIALS):
            state, info = kernel.step(rngs, state)
            accepted.append(info.acceptance.mean())
        x = state.x
        if np.mean(accepted) > ACCEPTANCE:
            break
    return kernel, x
