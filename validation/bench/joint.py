"""Joint models of the Schwinger model at L = 4, sampling and training, against PyTorch.

Even-odd with three Hasenbusch steps, 8 gauge layers, 4 pseudofermion layers for each of the 4 monomials.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np

from refimpl import theories
from refimpl.actions import hasenbusch
from refimpl.maps.context import Context
from refimpl.maps.plaquette_coupling import SPLINE, gauge_chain
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.models import Flow, UniformAngles
from refimpl.models.conditional import Conditional
from refimpl.models.joint import JointModel

from .timing import Stepper

SHAPE, BETA, KAPPA, MUS, MU_REG = (4, 4), 2.0, 0.265, (0.001, 0.01, 0.05), 1e-5
GAUGE_LAYERS, LAYERS, HIDDEN = 8, 4, 16
RATE, CLIP = 5e-4, 10.0


def model(even_odd: bool = True, n_pt: int = 6, features: int = 2, gain: float = 0.5) -> JointModel:
    """A joint model with random weights; the paper has ``n_pt`` 6 with even-odd and 3 without."""
    rng = np.random.default_rng(2)
    marginal = Flow(UniformAngles(SHAPE), gauge_chain(rng, SHAPE, GAUGE_LAYERS, hidden=(8, 8), circle=SPLINE, last=0.3))
    context = Context.init(rng, HIDDEN)
    options = {"even_odd": even_odd, "n_pt": n_pt, "features": features, "hidden": HIDDEN, "gain": gain}
    conditionals = tuple(
        Conditional(monomial, tuple(PseudofermionLayer.init(rng, SHAPE, i, **options) for i in range(LAYERS)))
        for monomial in hasenbusch(KAPPA, MUS, even_odd=even_odd)
    )
    return JointModel(marginal, context, conditionals)


def joint_step(what: str, batch: int) -> dict[str, Stepper]:
    """A batch of links, pseudofermions and their weights, or one step of training: loss by the trace, gradient, clipping, AdamW."""
    flow = model()
    competitors = {"refimpl": _sampling(flow, batch) if what == "sample" else _training(flow, batch)}
    if importlib.util.find_spec("torch"):
        competitors["pytorch"] = _torch(flow, what, batch)
    return competitors


def _sampling(flow: JointModel, batch: int) -> Stepper:
    rng, gauge = np.random.default_rng(1), theories.by_name("u1", beta=BETA, shape=SHAPE).action

    def step() -> tuple[np.ndarray, np.ndarray]:
        x, log_q, phi, log_q_phi = flow.sample(rng, batch)
        log_weights = -gauge.action(x) - log_q - log_q_phi.sum(axis=1)
        for m, monomial in enumerate(flow.monomials):
            log_weights -= monomial.action(x, phi[:, m])
        return x, log_weights

    return step


def _training(flow: JointModel, batch: int) -> Stepper:
    from refimpl.training.joint import JointRecipe, fit_joint, start_joint
    from refimpl.training.optimise import Rate

    theory = theories.by_name("schwinger", beta=BETA, kappa=KAPPA, shape=SHAPE)
    recipe = JointRecipe(steps=1, batch=batch, rate=Rate(RATE), clip=CLIP, mu_reg=MU_REG)
    checkpoint = start_joint(flow, recipe)

    def step() -> float:
        nonlocal checkpoint
        checkpoint = fit_joint(theory, flow, replace(recipe, steps=checkpoint.step + 1), checkpoint)
        return float(checkpoint.history[-1, 0])

    return step


def _torch(flow: JointModel, what: str, batch: int) -> Stepper:
    """The same in PyTorch, on one thread."""
    import torch

    from refimpl.training.joint import JointRecipe, regularised

    from ..peers import flow_torch, joint_torch

    torch.set_num_threads(1)
    peer, prior, action = joint_torch.Joint(flow), flow_torch.uniform_angles(batch, SHAPE), flow_torch.wilson(BETA)
    if what == "sample":
        return joint_torch.sampler(peer, prior, action)
    recipe, monomials = JointRecipe(), regularised(flow.monomials, MU_REG)
    return joint_torch.trainer(peer, monomials, prior, action, RATE, recipe.epsilon, recipe.weight_decay, CLIP)
