"""U(1) HMC against our own readable form and other packages."""

from __future__ import annotations

import importlib.util

import numpy as np

from refimpl.actions import WilsonU1, u1_action_definition, u1_force_definition
from refimpl.exact import u1
from refimpl.groups import wrap
from refimpl.kernels import HMC, spawn_rngs

from .timing import Stepper


def roll_hmc_stepper(beta: float, step_size: float, n_steps: int, x: np.ndarray, seed: int = 0) -> Stepper:
    """HMC by the readable definitions (`numpy.roll`, `numpy.sin`), with our random numbers: a Generator per chain."""
    kernel, rngs, links = HMC(WilsonU1(beta), step_size, n_steps), spawn_rngs(seed, len(x)), x.copy()

    def step() -> np.ndarray:
        nonlocal links
        v, u = kernel.noise(rngs, links.shape)
        h_old = u1_action_definition(links, beta) + 0.5 * (v * v).sum((1, 2, 3))
        theta = links
        v = v - 0.5 * step_size * u1_force_definition(theta, beta)
        for k in range(n_steps):
            theta = theta + step_size * v
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * u1_force_definition(theta, beta)
        h_new = u1_action_definition(theta, beta) + 0.5 * (v * v).sum((1, 2, 3))
        accept = np.log(u) < h_old - h_new
        links = np.where(accept[:, None, None, None], wrap(theta), links)
        return links

    return step


def u1_hmc(n_chains: int, extent: int) -> dict[str, Stepper]:
    """One U(1) HMC trajectory of 10 leapfrog steps for all chains, beta = 4."""
    beta, step_size, n_steps = 4.0, 0.1, 10
    x = u1.sample(np.random.default_rng(1), n_chains, beta, (extent, extent))
    hmc, rngs = HMC(WilsonU1(beta), step_size, n_steps), spawn_rngs(1, n_chains)
    state = hmc.init(x)

    def ours() -> object:
        nonlocal state
        state, _ = hmc.step(rngs, state)
        return state

    competitors: dict[str, Stepper] = {"refimpl": ours, "numpy roll": roll_hmc_stepper(beta, step_size, n_steps, x)}
    if importlib.util.find_spec("torch"):
        import torch

        from ..peers import u1_torch

        torch.set_num_threads(1)
        competitors["pytorch"] = u1_torch.hmc_stepper(beta, step_size, n_steps, x)
    if importlib.util.find_spec("jax"):
        from ..peers import u1_jax

        competitors["jax jit"] = u1_jax.hmc_stepper(beta, step_size, n_steps, x)
    if importlib.util.find_spec("numba"):
        from ..peers import u1_numba

        competitors["numba"] = u1_numba.hmc_stepper(beta, step_size, n_steps, x)
    return competitors
