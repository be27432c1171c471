"""The training loop: trajectories with their pullback, a loss on proposals, Adam; annealing, checks, resuming."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..kernels import HMC, accept_reject, spawn_rngs
from ..kernels.l2hmc import L2HMC
from ..lattice import check_integer, check_number
from ..maps.l2hmc import GeneralizedLeapfrog
from ..theories import Theory
from .checkpoints import Checkpoint
from .gradient import loss_and_gradient
from .losses import LOSSES, ON_LINKS, Term
from .optimise import Adam, Rate, clipped, global_norm

Array = NDArray[np.float64]

ANNEALINGS = ("gamma", "temperature")
REFRESHES = ("chains", "exact")
CONSTANT = Rate()
WINDOW = 50  # steps over which acceptance and tunnelling are averaged before they are compared


class TrainingError(ArithmeticError):
    """The loss or its gradient is not finite; the last good checkpoint is kept."""


@dataclass(frozen=True)
class Annealing:
    """Training begins at ``start`` times the action and comes to the action itself after ``steps`` steps.

    ``gamma``: the factor grows linearly (Foreman 2021, sec. 3.3). ``temperature``: its inverse falls linearly, which is
    both ``T(n) = (T_i - T_f)(1 - n/N) + T_f`` and ``1/beta(n)`` linear (Foreman 2020, eqs. 41, 49; n = 0..N).
    """

    start: float
    steps: int
    kind: str = "temperature"

    def __post_init__(self) -> None:
        check_number("start", self.start, 1e-6)
        check_integer("steps", self.steps, 1)
        if self.kind not in ANNEALINGS:
            raise ValueError(f"kind: got {self.kind!r}, expected one of {', '.join(ANNEALINGS)}")

    def factor(self, step: int) -> float:
        """The factor on the action at a step."""
        done = min(step / self.steps, 1.0)
        if self.kind == "gamma":
            return self.start + (1.0 - self.start) * done
        return 1.0 / (1.0 / self.start + (1.0 - 1.0 / self.start) * done)


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    steps : training steps, of which the first ``pretrain`` change only the step sizes (the nets are still zero).
    chains : training chains.
    loss : a name in `LOSSES`, or terms. rate : `Rate` of Adam. clip : largest global norm of a gradient.
    annealing : `Annealing` or None. thermalise : HMC trajectories after each change of the action.
    refresh : ``chains`` go on by their own updates; ``exact`` draws every configuration anew from the exact sampler.
    statistics : fraction by which the frozen statistics of batch normalisations move after each step, towards those of
        the chains (`GeneralizedLeapfrog.with_statistics`).
    average : decay of the running average of the parameters; the averages are what is kept and returned. 0 is none.
    warm_up : steps before a set of parameters may be called the best (annealing is always part of it).
    """

    steps: int = 1000
    chains: int = 64
    loss: str | tuple[Term, ...] = "charge"
    rate: Rate = CONSTANT
    clip: float = 0.1
    annealing: Annealing | None = None
    thermalise: int = 0
    refresh: str = "chains"
    pretrain: int = 0
    average: float = 0.98
    warm_up: int = 0
    statistics: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("chains", 1), ("thermalise", 0), ("pretrain", 0), ("warm_up", 0)):
            check_integer(name, getattr(self, name), least)
        check_number("clip", self.clip, 0, above=True)
        if not 0 <= check_number("average", self.average, 0) < 1:
            raise ValueError(f"average: got {self.average!r}, expected a number from 0 to below 1")
        if check_number("statistics", self.statistics, 0) > 1:
            raise ValueError(f"statistics: got {self.statistics!r}, expected a number from 0 to 1")
        if self.refresh not in REFRESHES:
            raise ValueError(f"refresh: got {self.refresh!r}, expected one of {', '.join(REFRESHES)}")
        named = isinstance(self.loss, str) and self.loss in LOSSES
        if not named and not (self.loss and all(isinstance(term, Term) for term in self.loss)):
            raise ValueError(f"loss: got {self.loss!r}, expected one of {', '.join(LOSSES)}, or terms")
        if not isinstance(self.rate, Rate) or not isinstance(self.annealing, Annealing | None):
            raise ValueError(
                f"rate, annealing: got {self.rate!r}, {self.annealing!r}, expected a Rate, an Annealing or None"
            )
        if self.pretrain > self.steps:
            raise ValueError(f"pretrain: got {self.pretrain}, expected at most steps = {self.steps}")

    @property
    def terms(self) -> tuple[Term, ...]:
        return LOSSES[self.loss] if isinstance(self.loss, str) else self.loss

    def factor(self, step: int) -> float:
        return 1.0 if self.annealing is None else self.annealing.factor(step)


def recipe_from(record: Mapping[str, Any]) -> Recipe:
    """The recipe of its JSON record (`dataclasses.asdict`); raises `ValueError` for another record."""
    fields = dict(record)
    try:
        fields["rate"] = Rate(**fields["rate"])
        if fields["annealing"] is not None:
            fields["annealing"] = Annealing(**fields["annealing"])
        if not isinstance(fields["loss"], str):
            fields["loss"] = tuple(Term(**term) for term in fields["loss"])
        return Recipe(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"record: got {error!r}, expected the record of a recipe") from error


def start(theory: Theory, model: GeneralizedLeapfrog, recipe: Recipe, seed: int) -> Checkpoint:
    """The checkpoint before the first step; raises `ValueError` where recipe and theory do not fit together."""
    if theory.field_shape != model.architecture.field_shape:
        raise ValueError(f"theory: got fields {theory.field_shape}, expected {model.architecture.field_shape}")
    for term in recipe.terms:
        if term.metric in ON_LINKS and theory.name != "u1":
            raise ValueError(f"loss: got {term.metric!r} on {theory.name!r}, which has no plaquettes")
        if term.metric == "euclidean" and theory.action.angular:
            raise ValueError(f"loss: got 'euclidean' on the angles of {theory.name!r}, expected 'circular' or another")
    if recipe.refresh == "exact" and theory.scaled(recipe.factor(0)).sample is None:
        raise ValueError(f"refresh: got 'exact', but {theory.name!r} at another temperature has no exact sampler")
    # One Generator per chain, and one more for exact configurations and auxiliary starts.
    rngs = spawn_rngs(seed, recipe.chains + 1)
    at = theory.scaled(recipe.factor(0))
    x = at.start(rngs[-1], recipe.chains) if at.sample is None else at.sample(rngs[-1], recipe.chains)
    params = {key: np.array(value) for key, value in model.params.items()}
    return Checkpoint(
        step=0,
        params=params,
        average=dict(params),
        adam=Adam.start(params),
        x=x,
        rng_states=tuple(rng.bit_generator.state for rng in rngs),
        best=dict(params),
        best_score=-np.inf,
        history=np.zeros((0, 4)),
    )


def fit(
    theory: Theory,
    model: GeneralizedLeapfrog,
    recipe: Recipe,
    checkpoint: Checkpoint,
    *,
    save: Callable[[Checkpoint], None] | None = None,
    save_every: int = 100,
    progress: bool = False,
) -> Checkpoint:
    """Train from a checkpoint to ``recipe.steps``; the result is the same bits however often it was interrupted.

    ``history`` has columns loss, mean acceptance, mean ``A (change of sector)^2`` and the norm of the gradient. The
    parameters to use are ``best``: the running average at the end of the window of `WINDOW` steps that had the largest
    third column at the full action (where sectors do not exist, the smallest loss).

    Raises
    ------
    TrainingError : a loss or gradient that is not finite; ``save`` was called with the last good checkpoint, as it is when
        the training is interrupted.
    ValueError : a checkpoint of other chains or of another architecture.
    """
    expected = (recipe.chains, *model.architecture.field_shape)
    if checkpoint.x.shape != expected:
        raise ValueError(f"checkpoint: got chains {checkpoint.x.shape}, expected {expected}")
    rngs = spawn_rngs(0, len(checkpoint.rng_states))
    for rng, state in zip(rngs, checkpoint.rng_states, strict=True):
        rng.bit_generator.state = state
    bar = tqdm(
        range(checkpoint.step, recipe.steps), desc="training", disable=None if progress else True, file=sys.stderr
    )
    keep = save or (lambda checkpoint: None)
    try:
        for n in bar:
            checkpoint = _with_best(_step(theory, model, recipe, checkpoint, rngs), recipe, theory)
            if (n + 1) % WINDOW == 0:
                loss, mean_acceptance, hops, _ = checkpoint.history[-WINDOW:].mean(axis=0)
                bar.set_postfix(loss=f"{loss:.4g}", acceptance=f"{mean_acceptance:.2f}", tunnelling=f"{hops:.3g}")
            if (n + 1) % save_every == 0 or n + 1 == recipe.steps:
                keep(checkpoint)
    except FloatingPointError as error:
        keep(checkpoint)
        raise TrainingError(
            f"training stopped at step {checkpoint.step}: {error}; the last good checkpoint, of step {checkpoint.step}, is kept"
        ) from error
    except KeyboardInterrupt:
        keep(checkpoint)
        raise
    return checkpoint


def _step(
    theory: Theory, model: GeneralizedLeapfrog, recipe: Recipe, checkpoint: Checkpoint, rngs: list[np.random.Generator]
) -> Checkpoint:
    """The checkpoint after one more step; raises `FloatingPointError` for a loss or gradient that is not finite."""
    n = checkpoint.step
    factor = recipe.factor(n)
    at = theory.scaled(factor)
    kernel = L2HMC(model.replace(action=at.smooth_action, params=checkpoint.params))
    x = checkpoint.x
    if recipe.refresh == "exact":
        assert at.sample is not None  # `start` has seen to it
        x = at.sample(rngs[-1], recipe.chains)
    elif recipe.thermalise and n > 0 and factor != recipe.factor(n - 1):
        x = _thermalised(at, checkpoint, recipe.thermalise, rngs[:-1])
    loss, grads, proposal, x_moved, v = loss_and_gradient(kernel, recipe.terms, x, rngs[:-1])
    if any(term.auxiliary for term in recipe.terms):
        other = at.start(rngs[-1], recipe.chains)
        more = loss_and_gradient(kernel, recipe.terms, other, rngs[:-1], auxiliary=True)
        loss, grads = loss + more[0], {key: g + more[1][key] for key, g in grads.items()}
    norm = global_norm(grads)
    if not (np.isfinite(loss) and np.isfinite(norm)):
        raise FloatingPointError(f"loss {loss:g}, norm of the gradient {norm:g}")
    if n == recipe.pretrain:
        checkpoint = replace(checkpoint, adam=Adam.start(checkpoint.params))  # the nets begin here
    if n < recipe.pretrain:
        grads = {key: grads[key] for key in ("eps_x", "eps_v")}
    params, adam = checkpoint.adam.step(checkpoint.params, clipped(grads, recipe.clip), recipe.rate.at(n))
    if kernel.map.architecture.batch_norm:
        params = kernel.map.replace(params=params).with_statistics(x, v, recipe.statistics)
    weight = recipe.average if n > 0 else 0.0
    average = {key: weight * checkpoint.average[key] + (1 - weight) * value for key, value in params.items()}
    change = at.sector(x_moved) - at.sector(x)
    # Components have no order: between them a hop is a hop.
    hops = float(np.mean(proposal.acceptance * (change != 0 if theory.name == "gmm" else change**2)))
    row = [loss, float(proposal.acceptance.mean()), hops, norm]
    return replace(
        checkpoint,
        step=n + 1,
        params=params,
        average=average,
        adam=adam,
        x=np.where(proposal.accepted.reshape((-1,) + (1,) * (x.ndim - 1)), x_moved, x),
        rng_states=tuple(rng.bit_generator.state for rng in rngs),
        history=np.concatenate([checkpoint.history, [row]]),
    )


def _with_best(checkpoint: Checkpoint, recipe: Recipe, theory: Theory) -> Checkpoint:
    """At the end of a window, the running average becomes the best parameters if the window was the best."""
    n = checkpoint.step
    settled = max(recipe.warm_up, recipe.pretrain, 0 if recipe.annealing is None else recipe.annealing.steps)
    if n % WINDOW == 0 and n - WINDOW >= settled:
        window = checkpoint.history[-WINDOW:].mean(axis=0)
        score = float(window[2] if theory.has_sectors else -window[0])
        if score > checkpoint.best_score:
            return replace(checkpoint, best=checkpoint.average, best_score=score)
    if n == recipe.steps and checkpoint.best_score == -np.inf:
        return replace(checkpoint, best=checkpoint.average)
    return checkpoint


def _thermalised(theory: Theory, checkpoint: Checkpoint, n: int, rngs: list[np.random.Generator]) -> Array:
    """The chains after ``n`` HMC trajectories at the new action, with the present step size (Foreman 2020, sec. 22)."""
    kernel = HMC(theory.action, max(float(np.median(np.abs(checkpoint.params["eps_x"]))), 1e-3), 10)
    state = kernel.init(checkpoint.x)
    for _ in range(n):
        state, _ = accept_reject(kernel, rngs, state)
    return np.ascontiguousarray(state.x)
