"""The O(2) model on a periodic chain: the one-dimensional relative of the Wilson action, bonds in place of plaquettes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..lattice import chain_last, check_number, site_sum
from .angles import cosine, half_sine
from .fields import check_direction, check_rows
from .sum import Additive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class O2Chain(Additive):
    """``S(x) = beta sum_i (1 - cos(x_(i+1) - x_i))`` for angles ``x`` of shape ``(chain, N)``, periodic, N at least 2.

    The force is ``dS/dx_i = beta [sin(x_i - x_(i-1)) - sin(x_(i+1) - x_i)]``. Two sites have two bonds, both of them
    the same difference. Exact answers: `refimpl.exact.o2`.

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
        return self.action_and_force(check_rows(x))[0]

    def force(self, x: Array) -> Array:
        """``+ dS/dx``, the shape of ``x``."""
        return self.action_and_force(check_rows(x))[1]

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Action and force from one pass over the bonds; ``x`` is taken as checked."""
        return self.dynamics(x, np.empty_like(x)).action_and_force()

    def dynamics(self, x: Array, v: Array) -> O2Dynamics:
        """The action bound to the arrays of one trajectory."""
        return O2Dynamics(self.beta, x, v)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``sum_j d2S/dx_i dx_j w_j``, the shape of ``x``: bonds of ``w`` times ``beta cos`` of those of ``x``, and back."""
        x = check_rows(x)
        w = check_direction(w, x)
        curvature, turn = chain_last(*x.shape), chain_last(*x.shape)
        _bonds(x, curvature)
        _bonds(w, turn)
        cosine(curvature)
        curvature *= turn
        curvature *= self.beta
        product = chain_last(*x.shape)
        product[...] = 0.0
        _subtract_divergence(curvature, product)
        np.negative(product, product)
        return product

    def definition(self, x: Array) -> Array:
        """``S`` as written, shape ``(chain,)``, in operations that autograd can trace."""
        import autograd.numpy as anp

        return self.beta * anp.sum(1 - anp.cos(anp.roll(x, -1, axis=1) - x), axis=1)


class O2Dynamics:
    """`O2Chain` bound to arrays ``x`` and ``v``: kicks of ``v`` in place, with scratch arrays held ready."""

    def __init__(self, beta: float, x: Array, v: Array) -> None:
        self._beta, self._x, self._v = beta, x, v
        self._p, self._q = chain_last(*x.shape), chain_last(*x.shape)

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        sine = self._half_sine()
        np.multiply(sine, 2 * self._beta * scale, sine)
        _subtract_divergence(sine, self._v)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        sine, q = self._half_sine(), self._q
        q *= sine
        q *= sine  # t^2/(1 + t^2) = (1 - cos)/2
        action = 2 * self._beta * site_sum(q)
        sine *= -2 * self._beta
        force = chain_last(*sine.shape)
        force[...] = 0.0
        _subtract_divergence(sine, force)
        return action, force

    def _half_sine(self) -> Array:
        _bonds(self._x, self._p)
        return half_sine(self._p, self._q)


def _bonds(x: Array, out: Array) -> None:
    """``out_i = x_(i+1) - x_i``, by slices: `numpy.roll` costs more than the arithmetic."""
    np.subtract(x[:, 1:], x[:, :-1], out[:, :-1])
    np.subtract(x[:, :1], x[:, -1:], out[:, -1:])


def _subtract_divergence(s: Array, v: Array) -> None:
    """``v_i -= s_(i-1) - s_i``: minus the transpose of `_bonds`."""
    v += s
    v[:, 1:] -= s[:, :-1]
    v[:, :1] -= s[:, -1:]
