"""Training of a normalizing flow by the reverse Kullback-Leibler divergence (Albergo 2019, eq. 16; Abbott 2022, eq. B1).

The loss of a batch ``z`` of the prior is ``mean (log q(x) + S(x))``, ``x = f(z)``: an estimate of ``KL(q|p) - log Z``, and so never
below ``-log Z`` but for its noise. Its gradient goes through the samples: ``dS/dx`` is the force, and ``log q(x) = log r(z) -
logdet``, so that the pullback of ``(force/B, -1/B)`` has the gradient of every parameter. The prior has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..estimators.reweighting import relative_ess
from ..maps.base import Layer, Params
from ..models import Flow
from ..theories import Theory
from .descent import Descent, DescentRecipe, Evaluation, beginning, descend
from .loop import Annealing
from .optimise import Rate, joined, parted

Array = NDArray[np.float64]

COLUMNS = ("loss", "spread", "ess", "norm")  # of the history


@dataclass(frozen=True)
class FlowRecipe(DescentRecipe):
    """How to train a flow: the parameters of `DescentRecipe`, and ``annealing``, of the factor on the action, or None."""

    annealing: Annealing | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.annealing, Annealing | None):
            raise ValueError(f"annealing: got {self.annealing!r}, expected an Annealing or None")

    def factor(self, step: int) -> float:
        """The factor on the action at a step."""
        return 1.0 if self.annealing is None else self.annealing.factor(step)


def flow_recipe_from(record: Mapping[str, Any]) -> FlowRecipe:
    """The recipe of its JSON record (`dataclasses.asdict`); raises `ValueError` for another record."""
    fields = dict(record)
    try:
        fields["rate"] = Rate(**fields["rate"])
        if fields["annealing"] is not None:
            fields["annealing"] = Annealing(**fields["annealing"])
        return FlowRecipe(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"record: got {error!r}, expected the record of a flow's recipe") from error


@dataclass(frozen=True, eq=False)
class FlowCheckpoint(Descent):
    """The state of a training.

    ``history`` has a row for every step, of the `COLUMNS`: the loss, the standard deviation of ``log w``, the effective sample
    size as a fraction of the batch, and the norm of the gradient.
    """

    def flow(self, like: Flow) -> Flow:
        """The flow with the averaged parameters."""
        return _with_weights(like, self.average)


def start_flow(flow: Flow, recipe: FlowRecipe) -> FlowCheckpoint:
    """The checkpoint before the first step."""
    return FlowCheckpoint(**beginning(joined(_layers(flow).params), recipe.seed, len(COLUMNS)))


def fit_flow(
    theory: Theory,
    flow: Flow,
    recipe: FlowRecipe,
    checkpoint: FlowCheckpoint | None = None,
    *,
    save: Callable[[FlowCheckpoint], None] | None = None,
    save_every: int = 100,
    progress: bool = False,
) -> FlowCheckpoint:
    """Train from a checkpoint to ``recipe.steps``; the result is the same bits however often it was interrupted.

    The trained flow is ``fit_flow(...).flow(flow)``.

    Raises
    ------
    TrainingError : a loss or gradient that is not finite, or fields of the flow that its theory or a layer refuses; ``save`` was
        called with the last checkpoint without, as it is with the present one when the training is interrupted.
    ValueError : a theory or a checkpoint that does not belong to the flow; a flow that has nothing to train.
    """
    checkpoint = _checked(theory, flow, recipe, checkpoint)

    def evaluate(weights: Array, step: int, rng: np.random.Generator) -> Evaluation:
        z = flow.prior.sample(rng, recipe.batch)
        losses, grads = reverse_kl(theory, _with_weights(flow, weights), z, recipe.factor(step))
        ess = relative_ess(-losses) if np.isfinite(losses).all() else math.nan
        return [float(losses.mean()), float(losses.std()), ess], joined(
            {key: grads[key] for key in _layers(flow).params}
        )

    def shown(row: Array) -> Mapping[str, str]:
        return {"loss": f"{row[0]:.5g}", f"ESS({recipe.batch})": f"{row[2]:.3f}"}

    return descend(checkpoint, recipe, evaluate, shown, save=save, save_every=save_every, progress=progress)


def reverse_kl(theory: Theory, flow: Flow, z: NDArray[Any], factor: float = 1.0) -> tuple[Array, Params]:
    """``log q(x) + factor S(x)`` of every ``x = f(z)``, shape ``(chain,)``, and the gradient of its mean in every parameter."""
    x, logdet, pull = _layers(flow).forward_with_pullback(z)
    energy, force = theory.action.action_and_force(x)
    n = len(z)
    _, grads = pull((factor / n) * force, np.full(n, -1 / n))
    return flow.prior.log_prob(z) - logdet + factor * energy, grads


def _layers(flow: Flow) -> Layer:
    """The map of the flow, of which `_checked` has seen that it can be trained."""
    return cast(Layer, flow.map)


def _with_weights(flow: Flow, weights: Array) -> Flow:
    layers = _layers(flow)
    return replace(flow, map=layers.with_params(parted(weights, layers.params)))


def _checked(theory: Theory, flow: Flow, recipe: FlowRecipe, checkpoint: FlowCheckpoint | None) -> FlowCheckpoint:
    if theory.field_shape != flow.field_shape:
        raise ValueError(f"theory: got fields {theory.field_shape}, expected those of the flow, {flow.field_shape}")
    if not all(hasattr(flow.map, name) for name in ("params", "with_params", "forward_with_pullback")):
        raise ValueError(f"flow: got a map {type(flow.map).__name__}, expected one with a pullback")
    size = sum(value.size for value in _layers(flow).params.values())
    if size == 0:
        raise ValueError("flow: got a map without parameters, expected some to train")
    if checkpoint is None:
        return start_flow(flow, recipe)
    if checkpoint.weights.shape != (size,):
        raise ValueError(f"checkpoint: got {checkpoint.weights.size} parameters, expected {size}: another architecture")
    return checkpoint
