"""Transition matrices of orbit moves from the probabilities of the code itself, and moves that are wrong."""

import itertools
from dataclasses import dataclass

import numpy as np

from refimpl.groups import wrap
from refimpl.kernels import FluxHeatBath, OrbitHeatBath, OrbitMetropolis, OrbitPool, Winding
from refimpl.kernels.orbit import OrbitMove, Slots
from refimpl.lattice import unit_flux


def orbit(x):
    """All V members ``x + k I`` of the orbit of one configuration ``(2, T, X)``, shape ``(V, 2, T, X)``."""
    flux = unit_flux(x.shape[1:])
    return wrap(np.array([x + k * flux for k in range(flux[0].size)]))


def stationary(action, members):
    """The target's probabilities on an orbit, from the whole action of each member."""
    actions = action.action(members)
    weights = np.exp(actions.min() - actions)
    return weights / weights.sum()


def transition_matrix(kernel, members):
    """``P[a, b]`` of a move from member a to b of an orbit."""
    volume = len(members)
    state = kernel.init(members)
    at = np.arange(volume)
    matrix = np.zeros((volume, volume))

    def add(k, probability):
        np.add.at(matrix, (at, (at + k) % volume), probability)

    if isinstance(kernel, Winding):
        for d in (-1.0, 1.0):
            info = kernel.propose(state, np.full(volume, d), np.full(volume, 0.5))[2]
            add(int(d) * kernel.flux, 0.5 * info.acceptance)
            add(0, 0.5 * (1 - info.acceptance))
        return matrix
    if isinstance(kernel, OrbitMetropolis):
        q = np.exp(kernel.log_softmax(state.x))
        q /= q.sum(axis=0)
        middles = np.cumsum(q, axis=0) - q / 2
        for k in range(volume):
            _, drawn_k, info = kernel.propose(state, middles[k], np.full(volume, 0.5))
            assert np.array_equal(drawn_k, np.full(volume, k))
            add(k, q[k] * info.acceptance)
            add(0, q[k] * (1 - info.acceptance))
        return matrix
    if isinstance(kernel, OrbitPool):
        q = np.exp(kernel.log_softmax(state.x))
        q /= q.sum(axis=0)
        for pool in itertools.product(range(volume), repeat=kernel.candidates):
            k = np.broadcast_to(np.array(pool)[:, None], (len(pool), volume))
            weights = kernel.slots(state, k).weights
            for slot, chance in zip((0, *pool), weights / weights.sum(axis=0), strict=True):
                add(slot, q[list(pool)].prod(axis=0) * chance)
        return matrix
    slots = kernel.slots(state)
    for k, chance in zip(slots.k, slots.weights / slots.weights.sum(axis=0), strict=True):
        add(k, chance)
    return matrix


# --- moves that are wrong ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MovingWindow(OrbitHeatBath):
    """Heat bath over ``k = -K, ..., K`` about the current field: the window moves with it, its normaliser too."""

    reach: int = 1

    def slots(self, state):
        window, log_softmax = np.arange(-self.reach, self.reach + 1), self.log_softmax(state.x)
        k = np.broadcast_to(np.append(0, window[window != 0])[:, None], (len(window), len(state.x)))
        rest, evaluations = self.rest_along(state, k[1:])
        return Slots(k, np.take_along_axis(log_softmax, k % len(log_softmax), axis=0) - rest, rest, evaluations)


class OneDeterminant(OrbitMove):
    """R halved: det D in place of its square."""

    def rest_along(self, state, k):
        rest, evaluations = super().rest_along(state, k)
        return rest / 2, evaluations


class HereForgotten(OrbitMove):
    """R of the current field is taken for zero."""

    def rest_along(self, state, k):
        rest, evaluations = super().rest_along(state, k)
        return np.where(np.arange(len(rest))[:, None] == 0, 0.0, rest), evaluations


class Inverted(OrbitMove):
    """The determinant ratio upside down."""

    def rest_along(self, state, k):
        rest, evaluations = super().rest_along(state, k)
        return -rest, evaluations


class WrongSoftmax(OrbitMove):
    """The softmax of another coupling."""

    def log_softmax(self, x):
        return 0.7 * FluxHeatBath(self.gauge).log_weights(x)


FAULTS = (OneDeterminant, HereForgotten, Inverted, WrongSoftmax)


def broken(kernel, fault):
    """The move with a fault."""
    return type(f"Broken{type(kernel).__name__}", (fault, type(kernel)), {})(**vars(kernel))
