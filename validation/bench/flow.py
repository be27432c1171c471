"""Normalizing flows of eight convolutional couplings on 8x8, sampling and training, against PyTorch."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np

from refimpl import theories
from refimpl.maps.coupling import affine_chain
from refimpl.maps.plaquette_coupling import SPLINE, gauge_chain
from refimpl.maps.projections import ProjectionMixture
from refimpl.models import Flow, Normal, UniformAngles

from .timing import Stepper

SHAPE, LAYERS, HIDDEN = (8, 8), 8, (8, 8)
M2, LAM, BETA = -4.0, 48.0, 2.0
RATE, CLIP = 1e-4, 10.0


def model(kind: str) -> Flow:
    """A flow with random weights: "affine" for phi^4, "projections" (the tutorial's net) or "splines" for U(1)."""
    rng = np.random.default_rng(2)
    if kind == "affine":
        return Flow(Normal(SHAPE), affine_chain(rng, LAYERS, HIDDEN, last=0.3))
    tutorial = {"circle": ProjectionMixture(6), "loops": "none", "polyakov": False}
    options = tutorial if kind == "projections" else {"circle": SPLINE}
    return Flow(UniformAngles(SHAPE), gauge_chain(rng, SHAPE, LAYERS, hidden=HIDDEN, last=0.3, **options))


def flow_sample(kind: str, batch: int) -> dict[str, Stepper]:
    """A batch of fields with their log q."""
    flow, rng = model(kind), np.random.default_rng(1)
    competitors: dict[str, Stepper] = {"refimpl": lambda: flow.sample(rng, batch)}
    if importlib.util.find_spec("torch"):
        from ..peers import flow_torch

        competitors["pytorch"] = flow_torch.sampler(*_peer(flow, kind, batch))
    return competitors


def flow_train(kind: str, batch: int) -> dict[str, Stepper]:
    """One step of training by the reverse KL divergence: a batch, its gradient, clipping, Adam."""
    from refimpl.training.flow import FlowRecipe, fit_flow, start_flow
    from refimpl.training.optimise import Rate

    if kind == "affine":
        theory = theories.by_name("phi4", m2=M2, lam=LAM, shape=SHAPE)
    else:
        theory = theories.by_name("u1", beta=BETA, shape=SHAPE)
    flow = model(kind)
    recipe = FlowRecipe(steps=1, batch=batch, rate=Rate(RATE), clip=CLIP)
    checkpoint = start_flow(flow, recipe)

    def ours() -> object:
        nonlocal checkpoint
        checkpoint = fit_flow(theory, flow, replace(recipe, steps=checkpoint.step + 1), checkpoint)
        return checkpoint.history[-1, 0]

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("torch"):
        from ..peers import flow_torch

        action = flow_torch.phi4(M2, LAM) if kind == "affine" else flow_torch.wilson(BETA)
        competitors["pytorch"] = flow_torch.trainer(*_peer(flow, kind, batch), action, RATE, CLIP)
    return competitors


def _peer(flow: Flow, kind: str, batch: int) -> tuple[Any, Any]:
    """The flow and its prior in PyTorch, on one thread."""
    import torch

    from ..peers import flow_torch

    torch.set_num_threads(1)
    prior = flow_torch.normal if kind == "affine" else flow_torch.uniform_angles
    return flow_torch.Flow(flow.map, SHAPE), prior(batch, SHAPE)
