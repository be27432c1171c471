"""Training of a normalizing flow by the reverse Kullback-Leibler divergence (Albergo 2019, eq. 16; Abbott 2022, eq. 18).

The loss of a batch ``z`` of the prior is ``mean (log q(x) + S(x))``, ``x = f(z)``: an estimate of ``KL(q|p) - log Z``, and so never
below ``-log Z`` but for its noise. Its gradient goes through the samples: ``dS/dx`` is the force, and ``log q(x) = log r(z) -
logdet``, so that the pullback of ``(force/B, -1/B)`` has the gradient of every parameter. The prior has none.

One Generator draws all batches of a training, whose seed fixes its bits however often it is interrupted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..estimators.reweighting import relative_ess
from ..lattice import check_integer, check_number
from ..maps.base import Layer, Params
from ..models import Flow
from ..theories import Theory
from .loop import Annealing, TrainingError
from .optimise import Adam, Rate, clipped, global_norm, joined, parted

Array = NDArray[np.float64]

ALL = "all"  # the key of the one array that Adam sees
COLUMNS = ("loss", "spread", "ess", "norm")  # of the history
WINDOW = 50  # steps over which the bar averages
RATE = Rate(2e-3)


@dataclass(frozen=True)
class FlowRecipe:
    """How to train a flow.

    Parameters
    ----------
    steps : of Adam. batch : fields drawn for each.
    rate : `Rate` of Adam; ``epsilon`` and ``weight_decay`` are those of AdamW (0.02 and 0.01 in Abbott 2022).
    clip : largest global norm of a gradient; None for any.
    average : decay of the running average of the parameters, which is what is used of a training. It is shorter at the start,
        where it would be of the untrained flow: ``min(average, (n + 1)/(n + 10))`` after step n. 0 is none.
    annealing : of the factor on the action, or None. seed : of the batches. samples : draws that judge the trained flow.
    """

    steps: int = 1000
    batch: int = 64
    rate: Rate = RATE
    clip: float | None = 10.0
    average: float = 0.99
    weight_decay: float = 0.0
    epsilon: float = Adam.EPSILON
    annealing: Annealing | None = None
    seed: int = 0
    samples: int = 4096

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 2), ("seed", 0), ("samples", 2)):
            check_integer(name, getattr(self, name), least)
        check_number("weight_decay", self.weight_decay, 0)
        check_number("epsilon", self.epsilon, 0, above=True)
        if self.clip is not None:
            check_number("clip", self.clip, 0, above=True)
        if not 0 <= check_number("average", self.average, 0) < 1:
            raise ValueError(f"average: got {self.average!r}, expected a number from 0 to below 1")
        if not isinstance(self.rate, Rate) or not isinstance(self.annealing, Annealing | None):
            raise ValueError(
                f"rate, annealing: got {self.rate!r}, {self.annealing!r}, expected a Rate, an Annealing or None"
            )

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
class FlowCheckpoint:
    """Everything a training needs to go on: all parameters in one array, their average, Adam, the Generator's state.

    ``history`` has a row for every step, of the `COLUMNS`: the loss, the standard deviation of ``log w``, the effective sample
    size as a fraction of the batch, and the norm of the gradient.
    """

    step: int
    weights: Array
    average: Array
    adam: Adam
    rng_state: Mapping[str, Any]
    history: Array

    def flow(self, like: Flow) -> Flow:
        """The flow with the averaged parameters."""
        return _with_weights(like, self.average)


def start_flow(flow: Flow, recipe: FlowRecipe) -> FlowCheckpoint:
    """The checkpoint before the first step."""
    weights = joined(_layers(flow).params)
    rng = np.random.Generator(np.random.PCG64(recipe.seed))
    return FlowCheckpoint(
        0, weights, weights, Adam.start({ALL: weights}), rng.bit_generator.state, np.zeros((0, len(COLUMNS)))
    )


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
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = checkpoint.rng_state
    steps = range(checkpoint.step, recipe.steps)
    bar = tqdm(steps, desc="training", disable=None if progress else True, file=sys.stderr)
    keep = save or (lambda checkpoint: None)
    good = checkpoint
    try:
        for n in bar:
            last = checkpoint
            checkpoint = _step(theory, flow, recipe, checkpoint, rng)
            good = last  # its loss is known by now
            if (n + 1) % WINDOW == 0:
                loss, _, ess, _ = checkpoint.history[-WINDOW:].mean(axis=0)
                bar.set_postfix({"loss": f"{loss:.5g}", f"ESS({recipe.batch})": f"{ess:.3f}"})
            if (n + 1) % save_every == 0 or n + 1 == recipe.steps:
                keep(checkpoint)
    except FloatingPointError as error:
        keep(good)
        raise TrainingError(
            f"training stopped at step {checkpoint.step}: {error}; the last good checkpoint, of step {good.step}, is kept"
        ) from error
    except KeyboardInterrupt:
        keep(checkpoint)
        raise
    return checkpoint


def reverse_kl(theory: Theory, flow: Flow, z: NDArray[Any], factor: float = 1.0) -> tuple[Array, Params]:
    """``log q(x) + factor S(x)`` of every ``x = f(z)``, shape ``(chain,)``, and the gradient of its mean in every parameter."""
    x, logdet, pull = _layers(flow).forward_with_pullback(z)
    energy, force = theory.action.action_and_force(x)
    n = len(z)
    _, grads = pull((factor / n) * force, np.full(n, -1 / n))
    return flow.prior.log_prob(z) - logdet + factor * energy, grads


def _step(
    theory: Theory, flow: Flow, recipe: FlowRecipe, checkpoint: FlowCheckpoint, rng: np.random.Generator
) -> FlowCheckpoint:
    """The checkpoint after one more step; raises `FloatingPointError` for a loss or gradient that there is not, or not finite."""
    n = checkpoint.step
    z = flow.prior.sample(rng, recipe.batch)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            losses, grads = reverse_kl(theory, _with_weights(flow, checkpoint.weights), z, recipe.factor(n))
        except (
            ValueError,
            ArithmeticError,
        ) as error:  # of fields that the flow made: large weights round without bounds
            raise FloatingPointError(str(error)) from error
        gradient = {ALL: joined({key: grads[key] for key in _layers(flow).params})}
        loss, norm = float(losses.mean()), global_norm(gradient)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(f"loss {loss:g}, norm of the gradient {norm:g}")
    if recipe.clip is not None:
        gradient = clipped(gradient, recipe.clip)
    weights = checkpoint.weights
    new, adam = checkpoint.adam.step({ALL: weights}, gradient, recipe.rate.at(n), recipe.weight_decay, recipe.epsilon)
    decay = min(recipe.average, (n + 1) / (n + 10))
    row = [loss, float(losses.std()), relative_ess(-losses), norm]
    return replace(
        checkpoint,
        step=n + 1,
        weights=new[ALL],
        average=decay * checkpoint.average + (1 - decay) * new[ALL],
        adam=adam,
        rng_state=rng.bit_generator.state,
        history=np.concatenate([checkpoint.history, [row]]),
    )


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
