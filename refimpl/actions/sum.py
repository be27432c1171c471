"""Actions add: ``WilsonU1(2.0) + WilsonDeterminant(0.265)``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Action, Dynamics

Array = NDArray[np.float64]


class Additive:
    """What makes an action take part in ``+``, on either side."""

    def __add__(self: Action, other: Action) -> Sum:
        return Sum((self, other)) if _is_action(other) else NotImplemented


@dataclass(frozen=True)
class Sum(Additive):
    """The sum of actions of the same fields: actions and forces add.

    Parameters
    ----------
    terms : at least one action, all of angles or none, of one gauge group; the terms of a sum among them take its place.
    """

    terms: tuple[Action, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple | list):
            raise ValueError(f"terms: got {self.terms!r}, expected actions in a tuple")
        for term in self.terms:
            if not _is_action(term):
                raise ValueError(f"terms: got {term!r}, expected actions")
        object.__setattr__(self, "terms", tuple(part for term in self.terms for part in _terms(term)))
        if len({term.angular for term in self.terms}) != 1:
            raise ValueError(f"terms: got {self.terms}, expected at least one action, all of angles or none")
        colours = {term.n for term in self.terms if hasattr(term, "n")}
        if len(colours) > 1:
            raise ValueError(f"terms: got actions of {sorted(colours)} colours, expected one gauge group")

    @property
    def angular(self) -> bool:
        """Whether fields are angles, as for every term."""
        return self.terms[0].angular

    def action(self, x: Array) -> Array:
        """The sum of the actions, shape ``(chain,)``."""
        return _total([term.action(x) for term in self.terms])

    def force(self, x: Array) -> Array:
        """The sum of the forces, the shape of ``x``."""
        return _total([term.force(x) for term in self.terms])

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Both sums; ``x`` is taken as checked."""
        return _both([term.action_and_force(x) for term in self.terms])

    def dynamics(self, x: Array, v: Array) -> SumDynamics:
        """The action bound to the arrays of one trajectory."""
        return SumDynamics([term.dynamics(x, v) for term in self.terms])


class SumDynamics:
    """The dynamics of several actions on the same arrays."""

    def __init__(self, terms: list[Dynamics]) -> None:
        self._terms = terms

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)`` of every term in turn."""
        for term in self._terms:
            term.kick(scale)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        return _both([term.action_and_force() for term in self._terms])


def _terms(action: Action) -> tuple[Action, ...]:
    """The terms of a sum, or the action itself: sums do not nest."""
    return action.terms if isinstance(action, Sum) else (action,)


def _is_action(term: object) -> bool:
    return all(hasattr(term, name) for name in ("angular", "action", "force"))


def _total(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _both(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    actions, forces = zip(*pairs, strict=True)
    return _total(list(actions)), _total(list(forces))
