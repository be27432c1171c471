"""Descent of a model with its parameters in one array: AdamW steps from checkpoint to checkpoint, the same bits if interrupted.

One Generator draws all batches of a training, whose seed fixes its bits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..lattice import check_integer, check_number
from .loop import TrainingError
from .optimise import Adam, Rate, clipped, global_norm

Array = NDArray[np.float64]

ALL = "all"  # the key of the one array that Adam sees
WINDOW = 50  # steps over which the bar averages
RATE = Rate(2e-3)


@dataclass(frozen=True)
class DescentRecipe:
    """What all recipes of this kind say.

    Parameters
    ----------
    steps : of Adam. batch : fields drawn for each.
    rate : `Rate` of Adam; ``epsilon`` and ``weight_decay`` are those of AdamW (0.02 and 0.01 in Abbott 2022).
    clip : largest global norm of a gradient; None for any.
    average : decay of the running average of the parameters, which is what is used of a training. It is shorter at the start,
        where it would be of the untrained model: ``min(average, (n + 1)/(n + 10))`` after step n. 0 is none.
    seed : of the batches. samples : draws that judge the trained model.
    """

    steps: int = 1000
    batch: int = 64
    rate: Rate = RATE
    clip: float | None = 10.0
    average: float = 0.99
    weight_decay: float = 0.0
    epsilon: float = Adam.EPSILON
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
        if not isinstance(self.rate, Rate):
            raise ValueError(f"rate: got {self.rate!r}, expected a Rate")


@dataclass(frozen=True, eq=False)
class Descent:
    """Everything a training needs to go on: all parameters in one array, their average, Adam, the Generator's state.

    ``history`` has a row for every step.
    """

    step: int
    weights: Array
    average: Array
    adam: Adam
    rng_state: Mapping[str, Any]
    history: Array


Checkpoint = TypeVar("Checkpoint", bound=Descent)
# Row of the history but for the norm, which comes last; gradient of all parameters.
Evaluation = tuple[list[float], Array]


def beginning(weights: Array, seed: int, columns: int) -> dict[str, Any]:
    """The fields of a `Descent` before its first step."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return {
        "step": 0,
        "weights": weights,
        "average": weights,
        "adam": Adam.start({ALL: weights}),
        "rng_state": rng.bit_generator.state,
        "history": np.zeros((0, columns)),
    }


def descend(
    checkpoint: Checkpoint,
    recipe: DescentRecipe,
    evaluate: Callable[[Array, int, np.random.Generator], Evaluation],
    shown: Callable[[Array], Mapping[str, str]],
    *,
    save: Callable[[Checkpoint], None] | None,
    save_every: int,
    progress: bool,
) -> Checkpoint:
    """From a checkpoint to ``recipe.steps``; ``evaluate(weights, step, rng)`` draws a batch.

    ``shown`` makes what the bar shows of the mean of the last rows of the history. Raises `TrainingError` for a loss or gradient
    that is not finite, or is none; ``save`` was called with the last checkpoint without, as it is with the present one when the
    training is interrupted.
    """
    check_integer("save_every", save_every, 1)
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = checkpoint.rng_state
    steps = range(checkpoint.step, recipe.steps)
    bar = tqdm(steps, desc="training", disable=None if progress else True, file=sys.stderr)
    keep = save or (lambda checkpoint: None)
    good = checkpoint
    try:
        for n in bar:
            last = checkpoint
            checkpoint = _step(checkpoint, recipe, evaluate, rng)
            good = last  # its loss is known by now
            if (n + 1) % WINDOW == 0:
                bar.set_postfix(shown(checkpoint.history[-WINDOW:].mean(axis=0)))
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


def _step(
    checkpoint: Checkpoint,
    recipe: DescentRecipe,
    evaluate: Callable[[Array, int, np.random.Generator], Evaluation],
    rng: np.random.Generator,
) -> Checkpoint:
    """The checkpoint after one more step; raises `FloatingPointError` for a loss or gradient that there is not, or not finite."""
    n, weights = checkpoint.step, checkpoint.weights
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            row, gradient = evaluate(weights, n, rng)
        except (
            ValueError,
            ArithmeticError,
        ) as error:  # of fields that the model made: large weights round without bounds
            raise FloatingPointError(str(error)) from error
        grads = {ALL: gradient}
        norm = global_norm(grads)
    if not (math.isfinite(row[0]) and math.isfinite(norm)):
        raise FloatingPointError(f"loss {row[0]:g}, norm of the gradient {norm:g}")
    if recipe.clip is not None:
        grads = clipped(grads, recipe.clip)
    new, adam = checkpoint.adam.step({ALL: weights}, grads, recipe.rate.at(n), recipe.weight_decay, recipe.epsilon)
    decay = min(recipe.average, (n + 1) / (n + 10))
    return replace(
        checkpoint,
        step=n + 1,
        weights=new[ALL],
        average=decay * checkpoint.average + (1 - decay) * new[ALL],
        adam=adam,
        rng_state=rng.bit_generator.state,
        history=np.concatenate([checkpoint.history, [[*row, norm]]]),
    )
