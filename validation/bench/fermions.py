"""Wilson fermions on U(1) links against PyTorch."""

from __future__ import annotations

import importlib.util

import numpy as np

from refimpl.actions import WilsonDeterminant, WilsonU1, link_response, log_determinant, wilson_dirac
from refimpl.exact import u1
from refimpl.kernels import HMC, spawn_rngs

from .timing import Stepper

BETA, KAPPA, STEP_SIZE, N_STEPS = 2.0, 0.265, 0.1, 10


def dirac(what: str, n_chains: int, extent: int) -> dict[str, Stepper]:
    """Wilson-Dirac operator of U(1) at beta = 2, kappa = 0.265: on a vector, log |det D|, its force, HMC trajectory of 10 steps.

    The vector is one that the operator has made, in the memory order it makes, as in a solver. The peer's determinants are of the
    dense matrix, and its force takes the inverse of that.
    """
    x = u1.sample(np.random.default_rng(1), n_chains, BETA, (extent, extent))
    competitors = {"refimpl": _ours(what, x)}
    if importlib.util.find_spec("torch"):
        competitors["pytorch"] = _torch(what, x)
    return competitors


def _ours(what: str, x: np.ndarray) -> Stepper:
    operator = wilson_dirac(x, KAPPA)
    psi = operator.apply(_spinor(x))
    if what == "HMC":
        hmc, rngs = HMC(WilsonU1(BETA) + WilsonDeterminant(KAPPA), STEP_SIZE, N_STEPS), spawn_rngs(1, len(x))
        state = hmc.init(x)

        def step() -> object:
            nonlocal state
            state, _ = hmc.step(rngs, state)
            return state.x

        return step
    calls: dict[str, Stepper] = {
        "apply": lambda: operator.apply(psi),
        "log det": lambda: log_determinant(wilson_dirac(x, KAPPA))[0],
        "force": lambda: -4 * KAPPA * link_response(wilson_dirac(x, KAPPA))[..., 0, 0].imag,
    }
    return calls[what]


def _torch(what: str, x: np.ndarray) -> Stepper:
    import torch

    from ..peers import dirac_torch

    torch.set_num_threads(1)
    if what == "HMC":
        return dirac_torch.hmc_stepper(BETA, KAPPA, STEP_SIZE, N_STEPS, x)
    angles = torch.from_numpy(np.ascontiguousarray(x))
    links = dirac_torch.signed_links(angles)
    psi = dirac_torch.apply(links, torch.from_numpy(_spinor(x)), KAPPA)
    calls: dict[str, Stepper] = {
        "apply": lambda: dirac_torch.apply(links, psi, KAPPA),
        "log det": lambda: dirac_torch.log_determinant(dirac_torch.signed_links(angles), KAPPA),
        "force": lambda: dirac_torch.determinant_force(dirac_torch.signed_links(angles), KAPPA),
    }
    return calls[what]


def _spinor(x: np.ndarray) -> np.ndarray:
    rng, shape = np.random.default_rng(2), (len(x), *x.shape[2:], 2)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
