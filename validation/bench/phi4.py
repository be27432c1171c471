"""HMC of phi^4 against our own readable form and PyTorch."""

from __future__ import annotations

import importlib.util

import numpy as np

from refimpl.actions import Phi4
from refimpl.actions.phi4 import phi4_action_definition, phi4_force_definition
from refimpl.exact import free_scalar, phi4
from refimpl.kernels import HMC, spawn_rngs

from .timing import Stepper


def roll_hmc_stepper(action: Phi4, step_size: float, n_steps: int, x: np.ndarray, seed: int = 0) -> Stepper:
    """HMC by the readable definitions (`numpy.roll`), with our random numbers: a Generator per chain."""
    kernel, rngs, field = HMC(action, step_size, n_steps), spawn_rngs(seed, len(x)), x.copy()
    couplings = action.m2, action.lam

    def step() -> np.ndarray:
        nonlocal field
        v, u = kernel.noise(rngs, field.shape)
        h_old = phi4_action_definition(field, *couplings) + 0.5 * (v * v).sum((1, 2))
        phi = field
        v = v - 0.5 * step_size * phi4_force_definition(phi, *couplings)
        for k in range(n_steps):
            phi = phi + step_size * v
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * phi4_force_definition(phi, *couplings)
        h_new = phi4_action_definition(phi, *couplings) + 0.5 * (v * v).sum((1, 2))
        accept = np.log(u) < h_old - h_new
        field = np.where(accept[:, None, None], phi, field)
        return field

    return step


def phi4_hmc(n_chains: int, extent: int) -> dict[str, Stepper]:
    """One phi^4 HMC trajectory of 10 leapfrog steps for all chains, m2 = 0.1, lam = 24."""
    m2, lam, step_size, n_steps = 0.1, 24.0, 0.1, 10
    shape = (extent, extent)
    x = free_scalar.sample(np.random.default_rng(1), n_chains, phi4.free_mass(m2, lam, shape), shape)
    hmc, rngs = HMC(Phi4(m2, lam), step_size, n_steps), spawn_rngs(1, n_chains)
    state = hmc.init(x)

    def ours() -> object:
        nonlocal state
        state, _ = hmc.step(rngs, state)
        return state

    competitors: dict[str, Stepper] = {
        "refimpl": ours,
        "numpy roll": roll_hmc_stepper(Phi4(m2, lam), step_size, n_steps, x),
    }
    if importlib.util.find_spec("torch"):
        import torch

        from ..peers import phi4_torch

        torch.set_num_threads(1)
        competitors["pytorch"] = phi4_torch.hmc_stepper(m2, lam, step_size, n_steps, x)
        competitors["pytorch autograd"] = phi4_torch.hmc_stepper(m2, lam, step_size, n_steps, x, autograd=True)
    return competitors
