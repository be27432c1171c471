"""Maps ``forward(z) -> (z', logdet)`` and their inverses: symplectic integrators of the molecular dynamics.

With ``H = S(x) + v.v/2`` an integrator alternates kicks ``v -= c eps dS/dx`` and drifts ``x += c eps v``, for SU(N) links
``U -> exp(i c eps v_a T_a) U``. It is a list of coefficients, kick first, that reads the same backwards; a
palindrome of shears is reversible and has Jacobian 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..groups import drift, representative
from ..lattice import check_integer, check_number

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]


@dataclass(frozen=True)
class Integrator:
    """Coefficients of one step, ``(kick, drift, kick, ..., kick)``: palindromic, kicks and drifts each summing to 1."""

    name: str
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        c = self.coefficients
        if len(c) < 3 or len(c) % 2 == 0 or c != c[::-1]:
            raise ValueError(f"coefficients: got {c}, expected an odd palindrome (kick, drift, ..., kick)")
        if not all(c[1::2]):
            raise ValueError(f"coefficients: got {c}, expected drifts other than zero")
        if not (math.isclose(sum(c[::2]), 1) and math.isclose(sum(c[1::2]), 1)):
            raise ValueError(f"coefficients: got {c}, expected kicks and drifts that sum to 1 each")


LEAPFROG = Integrator("leapfrog", (0.5, 1.0, 0.5))

# Minimum-norm coefficient of the second-order five-stage scheme: Omelyan, Mryglod, Folk 2003, eq. (31).
OMELYAN_LAMBDA = 0.1931833275037836
OMELYAN = Integrator("omelyan", (OMELYAN_LAMBDA, 0.5, 1 - 2 * OMELYAN_LAMBDA, 0.5, OMELYAN_LAMBDA))

INTEGRATORS = {integrator.name: integrator for integrator in (LEAPFROG, OMELYAN)}


def trajectory(
    action: Action,
    integrator: Integrator,
    step_size: float,
    n_steps: int,
    x: Array,
    v: Array,
    force: Array,
    move: Callable[[Array, Array, float], None] = drift,
) -> tuple[Array, Array]:
    """Integrate ``n_steps`` steps, changing ``x`` and ``v`` in place; ``force`` is the force at the given ``x``.

    ``move(x, v, scale)`` moves the field along the momenta, in place: `refimpl.groups.drift` where the kinetic energy is
    ``v.v/2``.

    The last kick of a step and the first of the next are one, and the momentum is carried as ``eps v`` so that a drift
    is one addition. Angles are not wrapped, nor matrices projected. Returns action ``(chain,)`` and force at the end.
    """
    kicks, drifts = integrator.coefficients[::2], integrator.coefficients[1::2]
    unit = step_size * drifts[0]
    dynamics = action.dynamics(x, v)
    v -= (kicks[0] * step_size) * force
    v *= unit
    last = n_steps * len(drifts) - 1
    for stage in range(last + 1):
        k = stage % len(drifts)
        move(x, v, drifts[k] / drifts[0])
        if stage < last:
            weight = kicks[k + 1] if k + 1 < len(drifts) else 2 * kicks[0]
            dynamics.kick(weight * step_size * unit)
    end_action, end_force = dynamics.action_and_force()
    v /= unit
    v -= (kicks[-1] * step_size) * end_force
    return end_action, end_force


@dataclass(frozen=True)
class MolecularDynamics:
    """``n_steps`` of an integrator as a map of ``z = (x, v)``; ``logdet`` is zero exactly.

    Parameters
    ----------
    action : the action whose force drives the momenta; the result is wrapped to [-pi, pi) where it is angular.
    step_size : float, positive. n_steps : int, at least 1. integrator : `Integrator`.
    """

    action: Action
    step_size: float
    n_steps: int
    integrator: Integrator = LEAPFROG

    def __post_init__(self) -> None:
        check_number("step_size", self.step_size, 0, above=True)
        check_integer("n_steps", self.n_steps, 1)

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        """``(x', v')`` after the trajectory, and ``log |det d(x', v')/d(x, v)| = 0`` of shape ``(chain,)``."""
        x, v = (np.array(part, order="K") for part in z)
        _, force = self.action.action_and_force(x)
        trajectory(self.action, self.integrator, self.step_size, self.n_steps, x, v, force)
        return (representative(x, self.action.angular), v), np.zeros(len(x))

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        """The inverse map: flip the momenta, integrate, flip again."""
        x, v = z
        (x, v), logdet = self.forward((x, -v))
        return (x, -v), -logdet
