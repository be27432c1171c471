"""HMC of every real or O(2) target, started from exact samples, keeps the exact moments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.actions import Gaussian, Mixture, O2Chain, scaled, two_gaussians
from refimpl.exact import gaussian, mixture, o2
from refimpl.kernels import HMC, spawn_rngs

CHAINS, STEPS = 4000, 6
SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed

COVARIANCE, MEAN = np.array([[2.0, -0.6], [-0.6, 0.5]]), np.array([1.0, -0.3])
CLOSE = (
    np.array([0.3, 0.7]),
    np.array([[-1.0, 0.0], [1.0, 0.5]]),
    np.array([[[0.5, 0.1], [0.1, 0.3]], [[1.0, 0.0], [0.0, 0.4]]]),
)
TWO = two_gaussians()
TARGETS = {
    "gaussian": (
        Gaussian(COVARIANCE, MEAN),
        lambda rng: gaussian.sample(rng, CHAINS, COVARIANCE, MEAN),
        lambda c: gaussian.moment(c, COVARIANCE, MEAN),
    ),
    "cold gaussian": (
        scaled(Gaussian(COVARIANCE, MEAN), 2.0),
        lambda rng: gaussian.sample(rng, CHAINS, COVARIANCE / 2, MEAN),
        lambda c: gaussian.moment(c, COVARIANCE / 2, MEAN),
    ),
    "mixture": (
        Mixture(*CLOSE),
        lambda rng: mixture.sample(rng, CHAINS, *CLOSE),
        lambda c: mixture.moment(c, *CLOSE),
    ),
    "two gaussians": (
        TWO,
        lambda rng: mixture.sample(rng, CHAINS, TWO.weights, TWO.means, TWO.covariances),
        lambda c: mixture.moment(c, TWO.weights, TWO.means, TWO.covariances),
    ),
}


def moved(action, x, step_size):
    """Where independent chains are after some steps, and the rate of acceptance."""
    kernel, rngs = HMC(action, step_size, 4), spawn_rngs(7, len(x))
    state, accepted = kernel.init(x), []
    for _ in range(STEPS):
        state, info = kernel.step(rngs, state)
        accepted.append(info.accepted.mean())
    assert np.mean(accepted) > 0.4
    assert np.mean(accepted) < 0.97  # steps so large that leapfrog without Metropolis would show
    return state.x


@pytest.mark.parametrize(
    ("name", "step_size"), [("gaussian", 0.9), ("cold gaussian", 0.65), ("mixture", 0.75), ("two gaussians", 0.4)]
)
def test_moments_of_real_targets(name, step_size):
    action, sample, moment = TARGETS[name]
    start = sample(np.random.default_rng(5))
    x = moved(action, start, step_size)
    assert np.abs(np.corrcoef(x[:, 1], start[:, 1])[0, 1]) < 0.5  # they did move
    for coordinates in ((0,), (1,), (0, 0), (0, 1), (1, 1), (0, 0, 1, 1), (1, 1, 1, 1)):
        exact = moment(coordinates)
        error = math.sqrt((moment(coordinates * 2) - exact**2) / CHAINS)
        values = np.prod(x[:, list(coordinates)], axis=1)
        assert abs(values.mean() - exact) < SIGMAS * error, coordinates


@pytest.mark.parametrize(("beta", "length"), [(0.5, 2), (1.5, 5), (3.0, 8)])
def test_correlations_of_the_chain(beta, length):
    x = moved(O2Chain(beta), o2.sample(np.random.default_rng(6), CHAINS, beta, length), 0.9 / math.sqrt(beta))
    assert x.min() >= -np.pi
    assert x.max() < np.pi
    for r in range(1, length // 2 + 1):
        values = np.cos(np.roll(x, -r, axis=1) - x).mean(axis=1)
        assert abs(values.mean() - o2.correlation(beta, length, r)) < SIGMAS * values.std() / math.sqrt(CHAINS)
    mean = np.cos(np.roll(x, -1, axis=1) - x).mean(axis=1)
    fluctuation = (mean - o2.bond_cosine(beta, length)) ** 2
    error = fluctuation.std() / math.sqrt(CHAINS)
    assert abs(fluctuation.mean() - o2.bond_variance(beta, length)) < SIGMAS * error
