"""Loss of a batch of proposals and its gradient with respect to every parameter."""

from __future__ import annotations

from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from numpy.typing import NDArray

from ..kernels.l2hmc import L2HMC
from ..kernels.metropolis import Generators, Info, State, initial_state, metropolis
from ..lattice import over, site_sum
from ..maps.architecture import Params
from ..maps.l2hmc import End, GeneralizedLeapfrog
from .losses import Term, acceptance, expected_loss

Array = NDArray[np.float64]


def loss_and_gradient(
    kernel: L2HMC, terms: tuple[Term, ...], x: Array, rngs: Generators, auxiliary: bool = False
) -> tuple[float, Params, Info, Array, Array]:
    """Loss, gradient of every parameter, the decisions, the proposed fields and the momenta.

    One proposal of the kernel for every chain, with the noise of its Generator; ``auxiliary`` takes the weights of the terms
    over the initialisation distribution. A proposal that diverges counts as one that is rejected and has not moved.

    Raises `FloatingPointError` where every proposal diverges, or a start has no finite action.
    """
    try:
        state = initial_state(kernel.action, x)
    except ValueError as error:
        raise FloatingPointError(str(error)) from error
    noise = kernel.noise(rngs, x.shape)
    v, u = noise[:2]
    d = noise[2] if kernel.directed else np.ones(len(x))
    loss, grads = 0.0, {key: np.zeros_like(value) for key, value in kernel.map.params.items()}
    whole = {"x": np.empty_like(x), "v": np.empty_like(x), "logdet": np.empty(len(x)), "action": np.empty(len(x))}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for direction in np.unique(d):
            chains = np.flatnonzero(d == direction)
            end, share, part = _one_direction(kernel.map, terms, state, v, chains, int(direction), auxiliary)
            loss += share
            grads = {key: g + part[key] for key, g in grads.items()}
            for name, value in whole.items():
                value[chains] = getattr(end, name)
        delta_h = (whole["action"] - state.action) + 0.5 * site_sum(whole["v"] * whole["v"] - v * v)
        info = metropolis(delta_h, whole["logdet"], u)
        if info.non_finite.all():
            raise FloatingPointError("every proposal diverges")
        x_moved = np.where(over(info.non_finite, x.ndim), x, kernel.map.wrapped(whole["x"]))
    return loss, grads, info, x_moved, v


def _one_direction(
    model: GeneralizedLeapfrog,
    terms: tuple[Term, ...],
    state: State,
    v: Array,
    chains: NDArray[np.intp],
    direction: int,
    auxiliary: bool,
) -> tuple[End, float, Params]:
    """End, share of the loss and gradient of the chains that go one way."""
    x, momenta, n = state.x[chains], v[chains], len(v)
    end, pull = model.run_with_pullback(x, momenta, state.force[chains], direction)
    good = np.isfinite(end.action) & np.isfinite(end.logdet) & np.isfinite(site_sum(end.v * end.v))
    if not good.all():
        bad = x[~good]
        lost = len(bad) / n * float(expected_loss(terms, bad, bad, np.zeros(len(bad)), auxiliary))
        if not good.any():
            return end, lost, {key: np.zeros_like(value) for key, value in model.params.items()}
        _, share, grads = _one_direction(model, terms, state, v, chains[good], direction, auxiliary)
        return end, lost + share, grads
    start_energy = state.action[chains] + 0.5 * site_sum(momenta * momenta)

    def loss_of(parts: tuple[Any, ...]) -> Any:
        x_end, v_end, logdet, action = parts
        kinetic = 0.5 * anp.sum(anp.reshape(v_end * v_end, (len(chains), -1)), axis=1)
        accept = acceptance(action + kinetic - start_energy, logdet)
        return len(chains) / n * expected_loss(terms, x, x_end, accept, auxiliary)

    value, cotangents = autograd.value_and_grad(loss_of)((end.x, end.v, end.logdet, end.action))
    return end, float(value), pull(*cotangents)
