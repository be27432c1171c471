"""An action times a number, for annealing: a temperature ``T`` is the factor ``1/T``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_number
from .base import Dynamics, SmoothAction
from .chain import O2Chain
from .sum import Additive
from .wilson import WilsonU1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaled(Additive):
    """``factor`` times an action; every method is the one of ``base`` times ``factor``.

    Parameters
    ----------
    base : an action.
    factor : float, finite and not negative.
    """

    base: SmoothAction
    factor: float

    def __post_init__(self) -> None:
        check_number("factor", self.factor, 0)

    @property
    def angular(self) -> bool:
        """Whether fields are angles, as for ``base``."""
        return self.base.angular

    def action(self, x: Array) -> Array:
        """``factor * S``, shape ``(chain,)``."""
        return self.factor * self.base.action(x)

    def force(self, x: Array) -> Array:
        """``+ factor * dS/dx``, the shape of ``x``."""
        return self.factor * self.base.force(x)

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """SmoothAction and force from one pass; ``x`` is taken as checked."""
        action, force = self.base.action_and_force(x)
        return self.factor * action, self.factor * force

    def dynamics(self, x: Array, v: Array) -> ScaledDynamics:
        """The action bound to the arrays of one trajectory."""
        return ScaledDynamics(self.base.dynamics(x, v), self.factor)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``factor * sum_j d2S/dx_i dx_j w_j``, the shape of ``x``."""
        return self.factor * self.base.hessian_product(x, w)

    def definition(self, x: Array) -> Array:
        """``factor * S`` as written, in operations that autograd can trace."""
        return self.factor * self.base.definition(x)


class ScaledDynamics:
    """The dynamics of an action times ``factor``."""

    def __init__(self, base: Dynamics, factor: float) -> None:
        self._base, self._factor = base, factor

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)`` in place."""
        self._base.kick(self._factor * scale)

    def action_and_force(self) -> tuple[Array, Array]:
        """SmoothAction ``(chain,)`` and force at the current ``x``, in new arrays."""
        action, force = self._base.action_and_force()
        return self._factor * action, self._factor * force


def scaled(action: SmoothAction, factor: float) -> SmoothAction:
    """``factor`` times an action: another ``beta`` where the action is proportional to one, `Scaled` otherwise."""
    check_number("factor", factor, 0)
    if isinstance(action, WilsonU1 | O2Chain):
        return replace(action, beta=factor * action.beta)
    if isinstance(action, Scaled):
        return Scaled(action.base, factor * action.factor)
    return Scaled(action, factor)
