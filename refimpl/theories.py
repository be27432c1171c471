"""The target distributions by name: action, exact sampler, observables with their exact values, and what tunnelling means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import actions, exact, observables
from .groups import TWO_PI, wrap
from .lattice import check_integer, check_number, check_shape

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Theory:
    """One target distribution.

    Attributes
    ----------
    name : "u1", "o2", "gaussian" or "gmm". parameters : what the function of that name takes, as numbers and lists.
    action : the action at these parameters. field_shape : of one chain.
    sample : ``(rng, n) -> x``, independent exact configurations; None where there is no exact sampler.
    start : ``(rng, n) -> x``, the initialisation distribution: uniform angles, or standard normal numbers.
    sector : ``x -> int64 (chain,)``: topological charge, winding number, or index of the nearest component; a change of
        it is a tunnelling event. sector_name : what it is called.
    observables : name -> ``x -> (chain,)``. together : names -> a function that returns as many of them at once, where that is
        cheaper. answers : their expectations, computed when `exact` is asked for the first time:
        annealing makes a theory at every step, and many digits take as long as a step.
    """

    name: str
    parameters: Mapping[str, Any]
    action: actions.SmoothAction
    field_shape: tuple[int, ...]
    sample: Callable[[np.random.Generator, int], Array] | None
    start: Callable[[np.random.Generator, int], Array]
    sector: Callable[[Array], NDArray[np.int64]]
    sector_name: str
    observables: Mapping[str, Callable[[Array], Array]]
    answers: Callable[[], Mapping[str, float]]
    together: Mapping[tuple[str, ...], Callable[[Array], tuple[NDArray[Any], ...]]] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str | tuple[str, ...], Callable[[Array], Any]]:
        """The observables that are not squares of others, and the sector where there is more than one: what a run records.

        A key of several names belongs to a function that returns as many arrays.
        """
        single: dict[str, Callable[[Array], Any]] = {
            name: f for name, f in self.observables.items() if not isinstance(f, Squared)
        }
        if self.sector is not _only_sector:
            single[self.sector_name] = self.sector
        covered = {name for names in self.together for name in names}
        left = {name: f for name, f in single.items() if name not in covered}
        return dict([*self.together.items(), *left.items()])

    @cached_property
    def exact(self) -> Mapping[str, float]:
        """Name -> expectation of the observable; empty where none is known."""
        return self.answers()

    def scaled(self, factor: float) -> Theory:
        """The theory whose action is ``factor`` times this one's: annealing in beta, gamma or the inverse temperature."""
        check_number("factor", factor, 0, above=True)
        if factor == 1:
            return self
        if self.name in ("u1", "o2"):
            return by_name(self.name, **{**self.parameters, "beta": self.parameters["beta"] * factor})
        return replace(self, action=actions.scaled(self.action, factor), sample=None, answers=dict)


def u1(beta: float, shape: tuple[int, int]) -> Theory:
    """Two-dimensional U(1), `refimpl.actions.WilsonU1`."""
    shape = check_shape(shape)
    volume = shape[0] * shape[1]
    return Theory(
        "u1",
        {"beta": beta, "shape": list(shape)},
        actions.WilsonU1(beta),
        (2, *shape),
        lambda rng, n: exact.u1.sample(rng, n, beta, shape),
        lambda rng, n: rng.uniform(-np.pi, np.pi, (n, 2, *shape)),
        observables.charge,
        "charge",
        {
            "plaquette": observables.mean_plaquette,
            "sine_charge": observables.sine_charge,
            "charge^2": Squared(observables.charge),
            "sine_charge^2": Squared(observables.sine_charge),
        },
        lambda: {
            "plaquette": exact.u1.plaquette(beta, shape),
            "sine_charge": 0.0,
            "charge^2": volume * exact.u1.charge_susceptibility(beta, shape),
            "sine_charge^2": volume * exact.u1.sine_charge_susceptibility(beta, shape),
        },
        {("plaquette", "sine_charge", "charge"): observables.plaquette_and_charges},
    )


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
        _winding,
        "winding",
        {"bond_cosine": _bond_cosine, "winding^2": Squared(_winding)},
        lambda: {
            "bond_cosine": exact.o2.bond_cosine(beta, length),
            "winding^2": length * exact.o2.winding_susceptibility(beta, length),
        },
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
        _only_sector,
        "sector",
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
        Nearest(action.means),
        "component",
        {**_coordinates(dimension), "|x_0|": _abs_first},
        lambda: {
            **_coordinate_moments(dimension, lambda indices: exact.mixture.moment(indices, *own)),
            "|x_0|": exact.mixture.absolute_moments(0, *own)[0],
        },
    )


def by_name(name: str, **parameters: Any) -> Theory:
    """The theory of this name; raises `ValueError` for a name or a parameter that does not exist."""
    functions: dict[str, Callable[..., Theory]] = {"u1": u1, "o2": o2, "gaussian": gaussian, "gmm": gmm}
    if name not in functions:
        raise ValueError(f"theory: got {name!r}, expected one of {', '.join(functions)}")
    try:
        return functions[name](**parameters)
    except TypeError as error:
        raise ValueError(f"theory: got parameters {parameters} for {name!r}: {error}") from error


# Observables are objects that other processes can be sent, and so no lambdas.


@dataclass(frozen=True)
class Squared:
    """The square of an observable, in float64."""

    of: Callable[[Array], NDArray[Any]]

    def __call__(self, x: Array) -> Array:
        return np.asarray(self.of(x), dtype=np.float64) ** 2


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


def _only_sector(x: Array) -> NDArray[np.int64]:
    return np.zeros(len(x), dtype=np.int64)


def _coordinates(dimension: int) -> dict[str, Callable[[Array], Array]]:
    first = {f"x_{i}": Coordinate(i) for i in range(dimension)}
    return {**first, **{f"{name}^2": Squared(f) for name, f in first.items()}}


def _coordinate_moments(dimension: int, moment: Callable[[tuple[int, ...]], float]) -> dict[str, float]:
    first = {f"x_{i}": moment((i,)) for i in range(dimension)}
    return {**first, **{f"x_{i}^2": moment((i, i)) for i in range(dimension)}}
