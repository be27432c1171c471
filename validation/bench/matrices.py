"""SU(3) links against PyTorch."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from refimpl.actions import WilsonSUN
from refimpl.groups import SUN
from refimpl.kernels import HMC, spawn_rngs

from .timing import Stepper

BETA, STEP_SIZE, N_STEPS = 6.0, 0.1, 10
GROUP = SUN(3)


def su3(what: str, n_chains: int, extent: int) -> dict[str, Stepper]:
    """SU(3) at beta = 6: exponentials of as many matrices as there are links, the force, one HMC trajectory of 10 leapfrog steps.

    Each in the memory order that its own functions make.
    """
    w = np.random.default_rng(1).standard_normal((n_chains, 2, extent, extent, 8))
    competitors = {"refimpl": _ours(what, w)}
    if importlib.util.find_spec("torch"):
        competitors["pytorch"] = _torch(what, w)
    return competitors


def _ours(what: str, w: np.ndarray) -> Stepper:
    action = WilsonSUN(BETA, 3)
    x: np.ndarray[Any, Any] = GROUP.exp(w)
    if what == "HMC":
        hmc, rngs = HMC(action, STEP_SIZE, N_STEPS), spawn_rngs(1, len(x))
        state = hmc.init(x)

        def step() -> object:
            nonlocal state
            state, _ = hmc.step(rngs, state)
            return state.x

        return step
    w = action.action_and_force(x)[1]
    return (lambda: GROUP.exp(w)) if what == "exp" else lambda: action.action_and_force(x)[1]


def _torch(what: str, w: np.ndarray) -> Stepper:
    import torch

    from ..peers import sun_torch

    torch.set_num_threads(1)
    x, basis = np.ascontiguousarray(GROUP.exp(w)), np.ascontiguousarray(GROUP.basis)
    if what == "HMC":
        return sun_torch.hmc_stepper(BETA, STEP_SIZE, N_STEPS, x, basis)
    links, generators = torch.from_numpy(x), torch.from_numpy(basis)
    force = sun_torch.force(links, BETA, generators)
    if what == "exp":
        return lambda: sun_torch.exp(force, generators)
    return lambda: sun_torch.force(links, BETA, generators)
