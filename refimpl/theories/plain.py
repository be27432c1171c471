"""Theories that are no gauge theories: the chain of O(2) spins, a Gaussian, a mixture of Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import actions, exact
from ..groups import TWO_PI, wrap
from ..lattice import check_integer
from .base import Array, Squared, Theory, by_sector


def o2(beta: float, length: int) -> Theory:
    """The periodic chain of O(2) spins, `refimpl.actions.O2Chain`."""

    check_integer("length", length, 2)
    return Theory(
        "o2",
        {"beta": beta, "length": length},
        actions.O2Chain(beta),
        (length,),
        lambda rng, n: exact.o2.sample(rng, n, beta, length),
        lambda rng, n: rng.uniform(-np.pi, np.pi, (n, length)),
        {"bond_cosine": _bond_cosine, "winding^2": Squared(_winding)},
        lambda: {
            "bond_cosine": exact.o2.bond_cosine(beta, length),
            "winding^2": length * exact.o2.winding_susceptibility(beta, length),
        },
        _winding,
        "winding",
        lambda: by_sector(exact.o2.winding_distribution(beta, length)),
        at_beta=lambda other: o2(other, length),
    )


def gaussian(covariance: ArrayLike, mean: ArrayLike | None = None) -> Theory:
    """A normal distribution, `refimpl.actions.Gaussian`; one sector only."""
    centre = () if mean is None else (np.asarray(mean, dtype=np.float64),)
    action = actions.Gaussian(np.asarray(covariance, dtype=np.float64), *centre)
    dimension = len(action.covariance)
    return Theory(
        "gaussian",
        {"covariance": action.covariance.tolist(), "mean": action.mean.tolist()},
        action,
        (dimension,),
        lambda rng, n: exact.gaussian.sample(rng, n, action.covariance, action.mean),
        lambda rng, n: rng.standard_normal((n, dimension)),
        _coordinates(dimension),
        lambda: _coordinate_moments(
            dimension, lambda indices: exact.gaussian.moment(indices, action.covariance, action.mean)
        ),
    )


def gmm(
    weights: ArrayLike = (0.5, 0.5),
    means: ArrayLike = ((-2.0, 0.0), (2.0, 0.0)),
    covariances: ArrayLike = (((0.1, 0.0), (0.0, 0.1)), ((0.1, 0.0), (0.0, 0.1))),
) -> Theory:
    """A Gaussian mixture, `refimpl.actions.Mixture`; by default the one of Foreman 2020, sec. 9."""
    action = actions.Mixture(*(np.asarray(part, dtype=np.float64) for part in (weights, means, covariances)))
    own = (action.weights, action.means, action.covariances)
    dimension = action.means.shape[1]

    return Theory(
        "gmm",
        {name: value.tolist() for name, value in zip(("weights", "means", "covariances"), own, strict=True)},
        action,
        (dimension,),
        lambda rng, n: exact.mixture.sample(rng, n, *own),
        lambda rng, n: rng.standard_normal((n, dimension)),
        {**_coordinates(dimension), "|x_0|": _abs_first},
        lambda: {
            **_coordinate_moments(dimension, lambda indices: exact.mixture.moment(indices, *own)),
            "|x_0|": exact.mixture.absolute_moments(0, *own)[0],
        },
        Nearest(action.means),
        "component",
    )


# Observables are objects that other processes can be sent, and so no lambdas.


@dataclass(frozen=True)
class Coordinate:
    """``x_i``."""

    i: int

    def __call__(self, x: Array) -> Array:
        return x[:, self.i].copy()


@dataclass(frozen=True, eq=False)
class Nearest:
    """Index of the nearest of these points ``(n, dimension)``, int64."""

    points: Array

    def __call__(self, x: Array) -> NDArray[np.int64]:
        return np.asarray(np.argmin(np.square(x[:, None] - self.points).sum(axis=2), axis=1))


def _winding(x: Array) -> NDArray[np.int64]:
    return np.rint(wrap(np.roll(x, -1, axis=1) - x).sum(axis=1) / TWO_PI).astype(np.int64)


def _bond_cosine(x: Array) -> Array:
    return np.cos(np.roll(x, -1, axis=1) - x).mean(axis=1)


def _abs_first(x: Array) -> Array:
    return np.abs(x[:, 0])


def _coordinates(dimension: int) -> dict[str, Callable[[Array], Array]]:
    first = {f"x_{i}": Coordinate(i) for i in range(dimension)}
    return {**first, **{f"{name}^2": Squared(f) for name, f in first.items()}}


def _coordinate_moments(dimension: int, moment: Callable[[tuple[int, ...]], float]) -> dict[str, float]:
    first = {f"x_{i}": moment((i,)) for i in range(dimension)}
    return {**first, **{f"x_{i}^2": moment((i, i)) for i in range(dimension)}}
