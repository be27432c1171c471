"""Models and recipes that are known to work: what the command line trains unless told otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_number
from ..maps.architecture import Architecture, Params
from ..maps.l2hmc import GeneralizedLeapfrog
from ..nets import Net
from ..theories import Theory
from .loop import Annealing, Recipe
from .losses import Term
from .optimise import Rate

Array = NDArray[np.float64]


def heated(architecture: Architecture, params: Mapping[str, Array], s: float) -> Params:
    """Parameters whose momentum nets return ``s`` (nearly) everywhere: a tempered trajectory to start training from.

    Scalars are set; in other nets ``scale tanh(h W + b)`` gets ``scale = 1``, ``b = atanh(s)`` and a W of a hundredth.
    Raises `ValueError` where there is no momentum net with an output ``s``, or ``s`` does not fit a tanh.
    """
    net = architecture.v_net
    if net is None or "s" not in net.outputs:
        raise ValueError("architecture: got no momentum net with an output 's', expected one to be heated")
    check_number("s", s, 0)
    if net.kind == "scalars":
        return {**params, "v/scalar/s": np.full_like(params["v/scalar/s"], s)}
    if s >= 1:
        raise ValueError(f"s: got {s}, expected a number below 1 for a net with tanh outputs")
    weight = "v/head/s/left" if net.kind == "dense" and net.rank else "v/head/s/weight"
    changed = {
        "v/head/s/scale": np.ones_like(params["v/head/s/scale"]),
        "v/head/s/bias": np.full_like(params["v/head/s/bias"], math.atanh(s)),
        weight: 0.01 * params[weight],
    }
    return {**params, **changed}


def tuned_step_size(beta: float) -> float:
    """``0.35/sqrt(beta)``: leapfrog step of U(1) HMC near its best, acceptance about 0.7 for ten steps on 8 x 8."""
    return 0.35 / math.sqrt(beta)


def heat(beta: float) -> float:
    """Momentum scaling per layer from which training at this beta starts: hand-tuned tempering on 8 x 8, 16 layers."""
    return min(max(0.3 + 0.07 * (beta - 4), 0.05), 0.6)


def _coupling(theory: Theory) -> float:
    if theory.name != "u1":
        raise ValueError(f"theory: got {theory.name!r}, expected 'u1'")
    return float(theory.parameters["beta"])


def tempering(theory: Theory, n_layers: int, step_size: float, s: float) -> GeneralizedLeapfrog:
    """Hand-tuned tempered trajectory: momenta grow by ``exp(step_size s)`` a layer, and shrink again on the way back.

    Two numbers and no training: the baseline that a trained model has to beat. A merged map of ``2 n_layers`` steps.
    """
    architecture = Architecture(theory.field_shape, theory.action.angular, n_layers, v_net=Net("scalars", outputs="s"))
    params = heated(architecture, architecture.init(np.random.default_rng(0), step_size), s)
    return GeneralizedLeapfrog(theory.smooth_action, architecture, params, merged=True)


@dataclass(frozen=True)
class Plan:
    """A model before it has numbers, and how to train it.

    ``step_size`` and ``heat`` (the momentum scaling of every layer, 0 for none) are where training starts; ``seed`` draws the
    initial weights.
    """

    architecture: Architecture
    merged: bool
    step_size: float
    heat: float
    recipe: Recipe
    seed: int = 0

    def model(self, theory: Theory) -> GeneralizedLeapfrog:
        """The untrained model for this theory."""
        params = self.architecture.init(np.random.default_rng(self.seed), self.step_size)
        if self.heat:
            params = heated(self.architecture, params, self.heat)
        return GeneralizedLeapfrog(theory.smooth_action, self.architecture, params, merged=self.merged)


def scalars_plan(theory: Theory, n_layers: int = 16, steps: int = 700) -> Plan:
    """Per-layer scalars for U(1), merged: starts from hand-tuned heat at the target beta, exact configurations."""
    beta = _coupling(theory)
    architecture = Architecture(theory.field_shape, True, n_layers, v_net=Net("scalars", outputs="sq"))
    recipe = Recipe(steps=steps, chains=64, loss="charge", rate=Rate(3e-3, "cosine", every=steps), refresh="exact")
    return Plan(architecture, True, tuned_step_size(beta), heat(beta), recipe)


def convolutional_plan(theory: Theory, n_layers: int = 8, filters: tuple[int, ...] = (8,), steps: int = 500) -> Plan:
    """Gauge-equivariant convolutional momentum nets for U(1): s and q of a link from the plaquettes around it."""
    beta = _coupling(theory)
    net = Net("conv", filters=filters, activation="tanh", outputs="sq")
    architecture = Architecture(theory.field_shape, True, n_layers, v_net=net, encoding="plaquette")
    recipe = Recipe(steps=steps, chains=64, loss="charge", rate=Rate(3e-3, "cosine", every=steps), refresh="exact")
    return Plan(architecture, True, tuned_step_size(beta), min(0.9, heat(beta) * 16 / n_layers * 0.7), recipe)


def promoted(model: GeneralizedLeapfrog, net: Net, encoding: str = "plaquette", seed: int = 0) -> GeneralizedLeapfrog:
    """A model with momentum nets ``net`` that begins (nearly) as a trained model of scalars does.

    Heads ``scale tanh(h W + b)`` get ``scale = max(1, 2 |value|)``, ``b`` such that they return the scalar, and a W of a
    hundredth: a net has the trajectory of the scalars to improve on, which it does not find by itself in minutes.
    Raises `ValueError` for a model without scalars, or a net with an output that the scalars do not have.
    """
    old = model.architecture
    if old.v_net is None or old.v_net.kind != "scalars" or set(net.outputs) - set(old.v_net.outputs) - {"t"}:
        raise ValueError(f"model: got momentum net {old.v_net}, expected scalars with the outputs of {net}")
    architecture = replace(old, v_net=net, encoding=encoding)
    params = architecture.init(np.random.default_rng(seed), 1.0)
    params |= {key: model.params[key] for key in ("eps_x", "eps_v")}
    for letter in set(net.outputs) - {"t"}:
        head = f"v/head/{letter}/"
        shape = params[head + "scale"].shape
        value = model.params[f"v/scalar/{letter}"].reshape((-1,) + (1,) * (len(shape) - 1))
        scale = np.broadcast_to(np.maximum(1.0, 2 * np.abs(value)), shape)
        params |= {head + "scale": scale.copy(), head + "bias": np.arctanh(value / scale)}
        params[head + "weight"] = 0.01 * params[head + "weight"]
    return GeneralizedLeapfrog(model.action, architecture, params, merged=model.merged)


def mixture_plan(theory: Theory, n_layers: int = 5, units: tuple[int, ...] = (10, 10), steps: int = 1500) -> Plan:
    """Dense nets for a Gaussian mixture, annealed from temperature 10 (Foreman 2020, sec. 9)."""
    net = Net("dense", units=units, activation="relu")
    architecture = Architecture(theory.field_shape, False, n_layers, v_net=net, x_net=net, mask_seed=1)
    recipe = Recipe(
        steps=steps,
        chains=128,
        loss=(Term("euclidean", "mixed"),),
        rate=Rate(3e-3, "cosine", every=steps),
        clip=1.0,
        annealing=Annealing(0.1, max(1, int(0.7 * steps))),
    )
    return Plan(architecture, False, 0.2, 0.0, recipe, seed=1)


def dense_plan(theory: Theory, n_layers: int = 5, units: tuple[int, ...] = (100, 100), steps: int = 1000) -> Plan:
    """Dense nets of any theory as in the papers; on U(1) with the charge loss, else with the expected squared jump."""
    net = Net("dense", units=units, activation="relu")
    angular = theory.smooth_action.angular  # refuses what cannot be trained before anything else does
    architecture = Architecture(theory.field_shape, angular, n_layers, v_net=net, x_net=net)
    loss = {"u1": "charge", "o2": "circular"}.get(theory.name, "esjd")
    recipe = Recipe(
        steps=steps, chains=64, loss=loss, rate=Rate(1e-3, "cosine", every=steps), refresh="exact", clip=1.0
    )
    step_size = tuned_step_size(theory.parameters["beta"]) if angular else 0.2
    return Plan(architecture, False, step_size, 0.0, recipe)


def scalars(theory: Theory, n_layers: int = 16, steps: int = 700) -> tuple[GeneralizedLeapfrog, Recipe]:
    plan = scalars_plan(theory, n_layers, steps)
    return plan.model(theory), plan.recipe


def convolutional(
    theory: Theory, n_layers: int = 8, filters: tuple[int, ...] = (8,), steps: int = 500
) -> tuple[GeneralizedLeapfrog, Recipe]:
    plan = convolutional_plan(theory, n_layers, filters, steps)
    return plan.model(theory), plan.recipe


def mixture(
    theory: Theory, n_layers: int = 5, units: tuple[int, ...] = (10, 10), steps: int = 1500, merged: bool = False
) -> tuple[GeneralizedLeapfrog, Recipe]:
    plan = replace(mixture_plan(theory, n_layers, units, steps), merged=merged)
    return plan.model(theory), plan.recipe
