"""The generalized leapfrog of U(1), sampling and training, against PyTorch."""

from __future__ import annotations

import importlib.util

import numpy as np

from refimpl.actions import WilsonU1
from refimpl.exact import u1
from refimpl.kernels import spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.maps.architecture import Architecture
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.nets import Net

from .timing import Stepper

_DENSE, _CONV = Net("dense", units=(100, 100)), Net("conv", filters=(16, 16))
ARCHITECTURES = {
    "dense": Architecture((2, 8, 8), True, 5, _DENSE, _DENSE),
    "conv": Architecture((2, 8, 8), True, 4, _CONV, _CONV, mask="checkerboard"),
    "scalars": Architecture((2, 8, 8), True, 16, Net("scalars")),
}


def l2hmc_model(kind: str, beta: float) -> GeneralizedLeapfrog:
    """An architecture of the benchmark with random parameters; the one of scalars is merged."""
    architecture, rng = ARCHITECTURES[kind], np.random.default_rng(2)
    params = {
        key: value + (0.03 * rng.standard_normal(value.shape) if "/" in key else 0.0)
        for key, value in architecture.init(rng, 0.1).items()
    }
    return GeneralizedLeapfrog(WilsonU1(beta), architecture, params, merged=kind == "scalars")


def l2hmc_sample(kind: str, n_chains: int) -> dict[str, Stepper]:
    """One transition of the generalized leapfrog of 8x8 U(1) for all chains, beta = 4."""
    beta = 4.0
    model, x = l2hmc_model(kind, beta), u1.sample(np.random.default_rng(1), n_chains, beta, (8, 8))
    kernel, rngs = L2HMC(model), spawn_rngs(1, n_chains)
    state = kernel.init(x)

    def ours() -> object:
        nonlocal state
        state, _ = kernel.step(rngs, state)
        return state

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("torch"):
        import torch

        from ..peers import l2hmc_torch

        torch.set_num_threads(1)
        peer = l2hmc_torch.L2HMC(model.architecture, model.params, beta, model.merged)
        competitors["pytorch"] = l2hmc_torch.sampler(peer, x)
    return competitors


def l2hmc_train(kind: str, n_chains: int) -> dict[str, Stepper]:
    """One step of training on 8x8 U(1), beta = 4: trajectories, charge loss, gradient, clipping, Adam."""
    # autograd is loaded here and not with the module, which the command line imports for every item.
    from refimpl.training import loss_and_gradient
    from refimpl.training.losses import LOSSES
    from refimpl.training.optimise import Adam, clipped

    beta, rate, clip = 4.0, 1e-4, 0.1
    model, x = l2hmc_model(kind, beta), u1.sample(np.random.default_rng(1), n_chains, beta, (8, 8))
    rngs, params = spawn_rngs(1, n_chains), dict(model.params)
    adam = Adam.start(params)

    def ours() -> object:
        nonlocal params, adam
        loss, grads, *_ = loss_and_gradient(L2HMC(model.replace(params=params)), LOSSES["charge"], x, rngs)
        params, adam = adam.step(params, clipped(grads, clip), rate)
        return loss

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("torch"):
        import torch

        from ..peers import l2hmc_torch

        torch.set_num_threads(1)
        peer = l2hmc_torch.L2HMC(model.architecture, model.params, beta, model.merged)
        competitors["pytorch"] = l2hmc_torch.trainer(peer, x, rate, clip)
    return competitors
