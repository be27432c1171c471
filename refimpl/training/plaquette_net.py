"""Training of the neural variate of 2D U(1): Adam on ``mean (O - f - mu)^2 + delta sum w^2`` (Bedaque 2023, eq. 13)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimators.variates.base import in_chunks
from ..estimators.variates.u1.neural import PlaquetteNetVariate
from ..estimators.variates.u1.stein import Loop, check_beta, checked_links, without_mean
from ..lattice import check_integer, check_number, plaquette_angles
from ..nets import plaquettes
from .loop import TrainingError
from .optimise import Adam, Rate

Array = NDArray[np.float64]
Params = dict[str, Array]

MU = "mu"  # trained with the weights, and used for nothing else: the estimate is the mean of O - f


@dataclass(frozen=True)
class PlaquetteNet:
    """The neural control variate of 2D U(1) as a method.

    Parameters
    ----------
    beta : float, of the density the configurations are from.
    radius, harmonics : of the inputs (`refimpl.nets.plaquettes`). neurons : int, of the hidden layer.
    delta : float, strength of the sum of the squares of all weights, in units of the variance of the observable.
    steps, batch : int, of Adam, and configurations in each. rate : float at the start; it falls to zero as a cosine.
    seed : of the weights at the start and of the order of configurations: same seed, same variate.
    """

    beta: float
    radius: int = 0
    harmonics: int = 3
    neurons: int = 16
    delta: float = 0.0
    steps: int = 10_000
    batch: int = 16
    rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        check_beta(self.beta)
        for name, least in (("radius", 0), ("harmonics", 1), ("neurons", 1), ("steps", 1), ("batch", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), least)
        check_number("delta", self.delta, 0)
        check_number("rate", self.rate, 0, above=True)

    def fit(self, configurations: ArrayLike, observable: Loop) -> PlaquetteNetVariate:
        """The variate of configurations ``(n, 2, T, X)``; raises `TrainingError` where the loss stops being finite."""
        x = checked_links(configurations, name="configurations")
        rng = np.random.default_rng(self.seed)
        params = plaquettes.init(rng, self.radius, self.harmonics, self.neurons)
        start = PlaquetteNetVariate(params, self.radius, self.harmonics, self.beta, x.shape[2:], observable)
        values = in_chunks(observable, x)
        spread = float(values.std())
        if not 0 < spread < math.inf:
            raise ValueError(f"observable: got standard deviation {spread} of {len(x)} values, expected a positive one")
        angles = plaquette_angles(x)
        force = self.beta * without_mean(np.sin(angles)).reshape(len(x), -1)
        data = Data(start.inputs(angles), force, (values - values.mean()) / spread)
        params = _trained({**params, MU: np.zeros(1)}, data, self, rng)
        params["out"] = params["out"] * spread
        return PlaquetteNetVariate(params, self.radius, self.harmonics, self.beta, x.shape[2:], observable)


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs, forces ``beta (sin x_P - mean sin)``, ``(n, V)``, and the observable ``(n,)``, with mean zero and variance one."""

    inputs: plaquettes.Inputs
    force: Array
    targets: Array

    def take(self, chosen: NDArray[np.intp]) -> Data:
        return Data(self.inputs.take(chosen), self.force[chosen], self.targets[chosen])


def loss_and_gradient(params: Params, data: Data, delta: float) -> tuple[float, Params]:
    """The loss and its gradient by all weights and mu, by hand."""
    weights = {key: value for key, value in params.items() if key != MU}
    h, derivative, cache = plaquettes.apply(weights, data.inputs)
    residuals = data.targets - (derivative - data.force * h).sum(axis=1) - params[MU]
    slopes = (-2 / len(residuals) * residuals)[:, None]
    grads = plaquettes.pullback(weights, cache, -slopes * data.force, slopes + np.zeros_like(h))
    grads = {key: grad + 2 * delta * params[key] for key, grad in grads.items()}
    square = sum(float(np.vdot(w, w)) for w in weights.values())
    return float(residuals @ residuals) / len(residuals) + delta * square, {**grads, MU: slopes.sum(axis=0)}


def _trained(params: Params, data: Data, method: PlaquetteNet, rng: np.random.Generator) -> Params:
    adam, rate = Adam.start(params), Rate(method.rate, "cosine", every=method.steps)
    n, batch = len(data.targets), min(method.batch, len(data.targets))
    order = np.empty(0, dtype=np.intp)
    for step in range(method.steps):
        if len(order) < batch:
            order = np.concatenate([order, rng.permutation(n)])
        chosen, order = order[:batch], order[batch:]
        loss, grads = loss_and_gradient(params, data.take(chosen), method.delta)
        if not math.isfinite(loss):
            raise TrainingError(f"step {step}: the loss is {loss}")
        params, adam = adam.step(params, grads, rate.at(step))
    return {key: value for key, value in params.items() if key != MU}
