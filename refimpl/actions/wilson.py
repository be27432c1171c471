"""The Wilson action of two-dimensional U(1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..lattice import (
    chain_last,
    check_links,
    check_number,
    gradient_program,
    plaquette_angles_definition,
    plaquette_gradient_definition,
    plaquette_program,
    run,
    site_sum,
)
from .angles import cosine, half_sine
from .fields import check_direction
from .sum import Additive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WilsonU1(Additive):
    """Wilson action of two-dimensional U(1): ``S(theta) = beta sum_P (1 - cos theta_P)``.

    The SU(N) form ``-(beta/N) sum_P Re Tr P`` at N = 1 is this minus the constant ``beta V``. The force of a link is
    ``dS/d theta_0(n) = beta [sin theta_P(n) - sin theta_P(n - 1^)]``,
    ``dS/d theta_1(n) = beta [sin theta_P(n - 0^) - sin theta_P(n)]``.

    All methods take link angles ``(chain, 2, T, X)`` and work through ``t = tan(theta_P / 2)``:
    ``sin theta_P = 2t/(1 + t^2)``, ``1 - cos theta_P = 2t^2/(1 + t^2)``, which unlike ``1 - cos`` does not cancel at
    small angles. `u1_action_definition` and `u1_force_definition` are the readable forms.

    Parameters
    ----------
    beta : float
        Inverse coupling, finite and not negative.
    """

    beta: float
    angular: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0)

    def action(self, x: Array) -> Array:
        """``S``, shape ``(chain,)``."""
        return self.action_and_force(check_links(x))[0]

    def force(self, x: Array) -> Array:
        """``+ dS/d theta``, the shape of ``x``."""
        return self.action_and_force(check_links(x))[1]

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Action and force from one pass over the plaquettes; ``x`` is taken as checked."""
        return self.dynamics(x, np.empty_like(x)).action_and_force()

    def dynamics(self, x: Array, v: Array) -> U1Dynamics:
        """The action bound to the arrays of one trajectory."""
        return U1Dynamics(self.beta, x, v)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``sum_j d2S/dx_i dx_j w_j``, the shape of ``x``: with ``G`` the plaquette map, ``G^T (beta cos theta_P * G w)``."""
        x = check_links(x)
        w = check_direction(w, x)
        curvature, turn = (chain_last(x.shape[0], *x.shape[2:]) for _ in range(2))
        run(plaquette_program(x, curvature))
        run(plaquette_program(w, turn))
        cosine(curvature)
        np.multiply(curvature, turn, curvature)
        np.multiply(curvature, -self.beta, curvature)
        product = chain_last(*x.shape)
        product[...] = 0.0
        run(gradient_program(curvature, product))
        return product

    def definition(self, x: Array) -> Array:
        """``beta sum_P (1 - cos theta_P)`` as written, shape ``(chain,)``, in operations that autograd can trace."""
        import autograd.numpy as anp

        angles = x[:, 0] + anp.roll(x[:, 1], -1, axis=1) - anp.roll(x[:, 0], -1, axis=2) - x[:, 1]
        return self.beta * anp.sum(1 - anp.cos(angles), axis=(1, 2))


class U1Dynamics:
    """`WilsonU1` bound to arrays ``x`` and ``v``: kicks of ``v`` in place, with slices and scratch arrays held ready."""

    def __init__(self, beta: float, x: Array, v: Array) -> None:
        self._beta = beta
        self._p, self._q = (chain_last(x.shape[0], *x.shape[2:]) for _ in range(2))
        self._plaquettes = plaquette_program(x, self._p)
        self._gradient = gradient_program(self._p, v)
        self._shape = x.shape

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        half_sine = self._half_sine()
        np.multiply(half_sine, 2 * self._beta * scale, half_sine)
        run(self._gradient)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        half_sine, q = self._half_sine(), self._q
        q *= half_sine
        q *= half_sine  # t^2/(1 + t^2) = (1 - cos theta_P)/2
        action = 2 * self._beta * site_sum(q)
        half_sine *= -2 * self._beta
        force = chain_last(*self._shape)
        force[...] = 0.0
        run(gradient_program(half_sine, force))
        return action, force

    def _half_sine(self) -> Array:
        """``sin(theta_P)/2 = t/(1 + t^2)``, ``t = tan(theta_P/2)``; leaves ``1 + t^2`` in the second scratch array."""
        run(self._plaquettes)
        return half_sine(self._p, self._q)


def u1_action_definition(x: Array, beta: float) -> Array:
    """``beta sum_P (1 - cos theta_P)`` as written, shape ``(chain,)``."""
    return beta * (1 - np.cos(plaquette_angles_definition(x))).sum(axis=(1, 2))


def u1_force_definition(x: Array, beta: float) -> Array:
    """``beta sum_P sin(theta_P) d theta_P/d theta_mu(n)`` as written, the shape of ``x``."""
    return beta * plaquette_gradient_definition(np.sin(plaquette_angles_definition(x)))
