"""What a target distribution is: action, exact sampler, observables with their exact values, and what tunnelling means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import actions
from ..lattice import check_number

Array = NDArray[np.float64]
MATRIX_LINKS = 5  # axes of the links (2, T, X, n, n) of one chain
Sampler = Callable[[np.random.Generator, int], NDArray[Any]]


def only_sector(x: Array) -> NDArray[np.int64]:
    """Sector 0 of every chain, for distributions that have no others."""
    return np.zeros(len(x), dtype=np.int64)


def no_probabilities() -> Mapping[int, float]:
    """Of sectors whose distribution is not known."""
    return {}


def by_sector(distribution: tuple[NDArray[np.int64], Array]) -> Mapping[int, float]:
    """Sectors and their probabilities as a mapping."""
    return dict(zip(distribution[0].tolist(), distribution[1].tolist(), strict=True))


@dataclass(frozen=True)
class Squared:
    """The square of an observable, in float64."""

    of: Callable[[Array], NDArray[Any]]

    def __call__(self, x: Array) -> Array:
        return np.asarray(self.of(x), dtype=np.float64) ** 2


@dataclass(frozen=True, eq=False)
class Theory:
    """One target distribution.

    Attributes
    ----------
    name : of the function that makes it, see `refimpl.theories.by_name`. parameters : what that takes, as numbers and lists.
    action : the action at these parameters. field_shape : of one chain; complex fields are SU(N) links ``(2, T, X, n, n)``.
    sample : ``(rng, n) -> x``, independent exact configurations; None where there is no exact sampler.
    start : ``(rng, n) -> x``, the initialisation distribution: uniform angles, Haar matrices, or standard normal numbers.
    observables : name -> ``x -> (chain,)``. answers : their expectations, as far as they are known, computed when `exact` is
        asked for the first time: annealing makes a theory at every step, and many digits take as long as a step.
    sector : ``x -> int64 (chain,)``: topological charge, winding number, or index of the nearest component; a change of
        it is a tunnelling event. sector_name : what it is called. sector_probabilities : ``() -> {sector: p}``, empty where not
        known. symmetric : whether sectors q and -q are equally likely, so that the mean is 0 though no probability is known.
    together : names -> a function that returns as many observables at once, where that is cheaper.
    near : ``(rng, n) -> x``, independent configurations of a distribution close to this one, to start from where there is no
        exact sampler: pure gauge theory at `refimpl.theories.pure_gauge_beta`, a free field.
    at_beta : ``beta -> Theory``, where the action is proportional to beta.
    odd : observables that change sign with the sector though not called after it: they are known no better than it is.
    """

    name: str
    parameters: Mapping[str, Any]
    action: actions.Action
    field_shape: tuple[int, ...]
    sample: Sampler | None
    start: Sampler
    observables: Mapping[str, Callable[[Array], Array]]
    answers: Callable[[], Mapping[str, float]]
    sector: Callable[[Array], NDArray[np.int64]] = only_sector
    sector_name: str = "sector"
    sector_probabilities: Callable[[], Mapping[int, float]] = no_probabilities
    together: Mapping[tuple[str, ...], Callable[[Array], tuple[NDArray[Any], ...]]] = field(default_factory=dict)
    near: Sampler | None = None
    at_beta: Callable[[float], Theory] | None = None
    symmetric: bool = False
    odd: tuple[str, ...] = ()

    @property
    def has_sectors(self) -> bool:
        """Whether there is more than one, between which chains tunnel."""
        return self.sector is not only_sector

    @property
    def colours(self) -> int:
        """N where fields are SU(N) links, 1 otherwise."""
        return self.field_shape[-1] if len(self.field_shape) == MATRIX_LINKS else 1

    @property
    def recorded(self) -> dict[str | tuple[str, ...], Callable[[Array], Any]]:
        """The observables that are not squares of others, and the sector where there is more than one: what a run records.

        A key of several names belongs to a function that returns as many arrays.
        """
        single: dict[str, Callable[[Array], Any]] = {
            name: f for name, f in self.observables.items() if not isinstance(f, Squared)
        }
        if self.has_sectors:
            single[self.sector_name] = self.sector
        covered = {name for names in self.together for name in names}
        left = {name: f for name, f in single.items() if name not in covered}
        return dict([*self.together.items(), *left.items()])

    @property
    def smooth_action(self) -> actions.SmoothAction:
        """The action, for trajectories that are differentiated; raises `ValueError` where it has no second derivatives."""
        if not hasattr(self.action, "hessian_product"):
            raise ValueError(
                f"theory: got {self.name!r}, expected u1, o2, gaussian, gmm or phi4: generalized leapfrogs and their training need "
                "second derivatives of the action, which SU(N) and fermions do not have here"
            )
        return cast(actions.SmoothAction, self.action)

    @cached_property
    def exact(self) -> Mapping[str, float]:
        """Name -> expectation of the observable, of those that are known."""
        return self.answers()

    def cold(self, n: int) -> NDArray[Any]:
        """Fields of ``n`` chains that are 0 everywhere; unit matrices for SU(N)."""
        x = np.zeros((n, *self.field_shape))
        return x if self.colours == 1 else x + np.eye(self.colours, dtype=np.complex128)

    def scaled(self, factor: float) -> Theory:
        """The theory whose action is ``factor`` times this one's: annealing in beta, gamma or the inverse temperature.

        Raises `ValueError` for fermions, whose determinant would be raised to a power that is no theory of them.
        """
        check_number("factor", factor, 0, above=True)
        if factor == 1:
            return self
        if self.parameters.get("kappa"):
            raise ValueError(f"factor: got {factor} for {self.name!r} with fermions, expected 1: no power of det D^2")
        if self.at_beta is not None:
            return self.at_beta(self.parameters["beta"] * factor)
        return replace(self, action=actions.scaled(self.smooth_action, factor), sample=None, answers=dict)
