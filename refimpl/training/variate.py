"""Training of the neural control variate (Bedaque 2023, sec. II B), for one observable and from one to the next.

The loss of a batch of configurations is ``mean (O - f - mu)^2 + delta sum w^2`` (eq. 13). mu is trained with the weights w
and serves the fit alone: the estimate is the mean of O - f. Batches are drawn without repetition until all configurations
had their turn.

Adam takes steps of one size whatever the size of the loss, so the size of f relative to that of the weights is a choice.
Here the net makes ``f/u``, where u is `Neural.unit` standard deviations of the observable, and the loss is in units of
``u^2``. A correlator as it stands (unit None) is small, and weights small enough for it are found late, when the learning
rate has fallen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from ..actions import Action
from ..estimators.variates.base import Observable, checked_configurations, in_chunks
from ..estimators.variates.neural import NeuralVariate
from ..lattice import check_integer, check_number
from ..nets import translates
from .loop import TrainingError
from .optimise import Adam, Decline, Params

Array = NDArray[np.float64]

ROWS = 20  # of the history, by default
ALL = "all"  # the key of the one array that Adam sees


class FitError(TrainingError):
    """A loss that is not finite; ``variate`` has the last parameters whose loss was."""

    def __init__(self, message: str, variate: NeuralVariate) -> None:
        super().__init__(message)
        self.variate = variate


@dataclass(frozen=True, eq=False)
class Trained:
    """A variate and how it came about.

    ``history`` has a row for every stretch of the training: the steps done, the mean of ``(O - f - mu)^2`` over the stretch
    in units of the variance of O, and the ratio of the standard deviations of O and O - f on test configurations, NaN where
    there are none.
    """

    variate: NeuralVariate
    history: Array


@dataclass(frozen=True)
class Neural:
    """The neural control variate of a scalar field as a method: its net, its loss and its training.

    Parameters
    ----------
    action : of real fields ``(chain, T, X)``.
    layers, neurons : hidden layers, none for a linear f, and the neurons of each.
    delta : strength of the sum of the squares of all weights in the loss, in units of u^2. From 1,000 configurations nets fit
        noise, and 1 to 10 helps: ratios of standard deviations on others went from 2.6 to 3.7 (5x4 net, 20x20, lam = 0.5) and
        from 4.5 to 7.6 (1x16 net, 40x10, lam = 0.1).
    steps : of Adam. batch : configurations in one step; the paper finds 1 best.
    schedule : of the learning rate; by default the one of the paper within ``steps``.
    unit : of f, in standard deviations of the observable; None takes the observable as it stands, as in the paper.
    seed : of the weights at the start and of the order of configurations: same seed, same variate.
    """

    action: Action
    layers: int = 5
    neurons: int = 4
    delta: float = 0.0
    steps: int = 30_000
    batch: int = 1
    schedule: Decline | None = None
    unit: float | None = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("layers", 0), ("neurons", 1), ("steps", 1), ("batch", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), least)
        check_number("delta", self.delta, 0)
        if self.unit is not None:
            check_number("unit", self.unit, 0, above=True)
        if not isinstance(self.schedule, Decline | None):
            raise ValueError(f"schedule: got {self.schedule!r}, expected a Decline or None")

    @property
    def rate(self) -> Decline:
        """The schedule of the learning rate."""
        return Decline().within(self.steps) if self.schedule is None else self.schedule

    def fit(self, configurations: ArrayLike, observable: Observable) -> NeuralVariate:
        """The variate of configurations ``(n, T, X)``."""
        return self.train(configurations, observable).variate

    def train(
        self,
        configurations: ArrayLike,
        observable: Observable,
        *,
        start: NeuralVariate | None = None,
        test: ArrayLike | None = None,
        every: int | None = None,
        progress: bool = False,
    ) -> Trained:
        """The variate with the history of its training.

        Parameters
        ----------
        configurations : ``(n, T, X)``, finite. observable : ``x -> (n,)``.
        start : a variate to start from, of the same net, `regressed` on the observable; by default the start is random.
        test : configurations for the history, which the fit does not use. every : steps between its rows.

        Raises
        ------
        FitError : a loss or gradient that is not finite.
        ValueError : configurations, an observable or a start that do not belong together.
        """
        x = checked_configurations(configurations)
        if x.ndim != 3:
            raise ValueError(f"configurations: got shape {x.shape}, expected (n, T, X)")
        problem = _Problem.of(self, x, observable, test)
        rng = np.random.Generator(np.random.PCG64(self.seed))
        if start is None:
            params, mu = translates.init(rng, x[0].size, self.layers, self.neurons), float(problem.data.targets.mean())
        else:
            variate = _checked_start(start, self, x.shape[1:]).regressed(x, observable)
            params = translates.scaled(variate.params, 1 / problem.unit)
            mu = float(problem.data.targets.mean() - variate(x).mean() / problem.unit)
        order = _order(rng, len(x), self.steps, self.batch)
        stretch = max(1, self.steps // ROWS) if every is None else check_integer("every", every, 1)
        return _descent(self, problem, params, mu, order, stretch, progress)


def transferred(
    method: Neural,
    configurations: ArrayLike,
    observables: Sequence[Observable],
    later: Neural | None = None,
    *,
    progress: bool = False,
) -> tuple[NeuralVariate, ...]:
    """Variates of several observables, each but the first trained from the one before: the paper's "CV at all points".

    ``later`` is the method of all but the first: by default a tenth of the steps of ``method``, at rates from a tenth of its.
    """
    if later is None:
        steps = max(1, method.steps // 10)
        rate = replace(method.rate, initial=method.rate.initial / 10).within(steps)
        later = replace(method, steps=steps, schedule=rate)
    variates: list[NeuralVariate] = []
    for observable in observables:
        used, start = (later, variates[-1]) if variates else (method, None)
        variates.append(used.train(configurations, observable, start=start, progress=progress).variate)
    return tuple(variates)


class Batch(NamedTuple):
    """What a step needs of configurations: their `translates.modes`, the forces ``(n, V)``, the values of O ``(n,)``."""

    modes: NDArray[np.complex128]
    force: Array
    targets: Array

    def take(self, chosen: NDArray[np.intp]) -> Batch:
        """The configurations of these numbers."""
        return Batch(self.modes[chosen], self.force[chosen], self.targets[chosen])


def loss_and_gradient(
    weights: Array, like: Params, batch: Batch, shape: tuple[int, int], delta: float
) -> tuple[float, float, Array]:
    """``mean (O - f - mu)^2``, the same with ``delta sum w^2`` (eq. 13), and the gradient of the latter.

    ``weights`` are parameters and mu in one array (`joined`), shaped ``like`` these parameters; so is the gradient.
    """
    params, mu = parted(weights, like)
    g, derivative, cache = translates.apply(params, batch.modes, shape)
    residuals = batch.targets - (derivative - g * batch.force).sum(axis=1) - mu
    slopes = (-2 / len(residuals)) * residuals
    grads = translates.pullback(params, cache, -slopes[:, None] * batch.force, slopes[:, None])
    gradient = joined(grads, float(slopes.sum()))
    square = float(residuals @ residuals) / len(residuals)
    if not delta:
        return square, square, gradient
    w = weights[:-1]
    gradient[:-1] += 2 * delta * w
    return square, square + delta * float(w @ w), gradient


@dataclass(frozen=True, eq=False)
class _Problem:
    """The observable in its unit on the configurations of the fit, and on those of the history."""

    action: Action
    shape: tuple[int, int]
    observable: Observable
    unit: float
    spread: float
    data: Batch
    test: Array | None
    test_values: Array | None

    @classmethod
    def of(cls, method: Neural, x: Array, observable: Observable, test: ArrayLike | None) -> _Problem:
        shape, values = (x.shape[1], x.shape[2]), in_chunks(observable, x)
        spread = float(values.std())
        if not 0 < spread < math.inf:
            raise ValueError(f"observable: got standard deviation {spread} of {len(x)} values, expected a positive one")
        unit = 1.0 if method.unit is None else method.unit * spread
        force = np.ascontiguousarray(method.action.force(x)).reshape(len(x), -1)
        tested = None if test is None else checked_configurations(test, shape, "test")
        test_values = None if tested is None else in_chunks(observable, tested)
        data = Batch(translates.modes(x), force, values / unit)
        return cls(method.action, shape, observable, unit, spread, data, tested, test_values)

    def variate(self, params: Params) -> NeuralVariate:
        return NeuralVariate(translates.scaled(params, self.unit), self.action, self.shape, self.observable)

    def ratio(self, variate: NeuralVariate) -> float:
        """Of the standard deviations of O and O - f on the test configurations."""
        if self.test is None or self.test_values is None:
            return math.nan
        return float(self.test_values.std() / (self.test_values - variate(self.test)).std())


def step(
    weights: Array, adam: Adam, like: Params, batch: Batch, shape: tuple[int, int], delta: float, rate: float
) -> tuple[Array, Adam, float]:
    """One step of Adam: new weights and state, and ``mean (O - f - mu)^2`` before it; arguments as of `loss_and_gradient`.

    Raises `FloatingPointError` for a loss or gradient that is not finite.
    """
    square, loss, gradient = loss_and_gradient(weights, like, batch, shape, delta)
    if not (math.isfinite(loss) and math.isfinite(float(gradient.sum()))):
        raise FloatingPointError(f"loss {loss:g}, largest component of the gradient {np.abs(gradient).max():g}")
    new, adam = adam.step({ALL: weights}, {ALL: gradient}, rate)
    return new[ALL], adam, square


def joined(params: Params, mu: float) -> Array:
    """All weights and mu in one array: Adam passes over it once."""
    return np.concatenate([*(value.ravel() for value in params.values()), [mu]])


def parted(weights: Array, like: Params) -> tuple[Params, float]:
    """Parameters of the shapes of ``like``, as views of the array, and mu."""
    parts, at = {}, 0
    for key, value in like.items():
        parts[key] = weights[at : at + value.size].reshape(value.shape)
        at += value.size
    return parts, float(weights[at])


def _descent(
    method: Neural, problem: _Problem, params: Params, mu: float, order: NDArray[np.intp], stretch: int, progress: bool
) -> Trained:
    def variate(weights: Array) -> NeuralVariate:
        return problem.variate(parted(weights, params)[0])

    weights = good = joined(params, mu)
    adam, rate = Adam.start({ALL: weights}), method.rate
    history: list[tuple[int, float, float]] = []
    squares = 0.0
    bar = tqdm(order, desc=f"variate of {problem.observable}", disable=None if progress else True, file=sys.stderr)
    with np.errstate(over="ignore", invalid="ignore"):
        for n, chosen in enumerate(bar):
            batch, last = problem.data.take(chosen), weights
            try:
                weights, adam, square = step(weights, adam, params, batch, problem.shape, method.delta, rate.at(n))
            except FloatingPointError as error:
                raise FitError(
                    f"training stopped at step {n}: {error}; the variate of the last good step is kept", variate(good)
                ) from error
            good = last
            squares += square
            if (n + 1) % stretch == 0 or n + 1 == method.steps:
                done = n + 1 - (history[-1][0] if history else 0)
                loss = squares / done * (problem.unit / problem.spread) ** 2
                history.append((n + 1, loss, problem.ratio(variate(weights))))
                squares = 0.0
                bar.set_postfix(loss=f"{loss:.3g}", ratio=f"{history[-1][2]:.3g}")
    return Trained(variate(weights), np.array(history))


def _order(rng: np.random.Generator, n: int, steps: int, batch: int) -> NDArray[np.intp]:
    """Numbers of the configurations of every step, ``(steps, batch)``: one random permutation after the other."""
    rounds = -(-steps * batch // n)
    return np.concatenate([rng.permutation(n) for _ in range(rounds)])[: steps * batch].reshape(steps, batch)


def _checked_start(start: NeuralVariate, method: Neural, shape: tuple[int, ...]) -> NeuralVariate:
    net = (start.layers, start.neurons)
    if start.shape != shape or net != (method.layers, method.neurons if method.layers else 1):
        raise ValueError(
            f"start: got a net of {net[0]} layers of {net[1]} on {start.shape}, expected {method.layers} of "
            f"{method.neurons} on {shape}"
        )
    return start
