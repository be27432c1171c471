"""The Wilson action of two-dimensional SU(N)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..groups import SUN
from ..groups.links import check_matrix_links, plaquettes_definition
from ..groups.matrices import components, dagger, imaginary_coordinates, product, trace
from ..lattice import chain_last, check_number, site_sum
from .sum import Additive

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]


@dataclass(frozen=True)
class WilsonSUN(Additive):
    """Wilson action of two-dimensional SU(n): ``S(U) = -(beta/n) sum_P Re Tr P``.

    `WilsonU1` is the form for n = 1 plus the constant ``beta V``. Links are complex128 ``(chain, 2, T, X, n, n)``; the force has
    a component per generator, ``(chain, 2, T, X, n^2 - 1)``: ``F_a = dS/d eps`` for ``U -> exp(i eps T_a) U``. With the plaquette
    matrix ``M = (P - P^dag)/2i`` and the coordinates ``c_a(M) = 2 tr(T_a M)``, for the links of site n,
    ``F_0 = beta/2n [c(M(n)) - c(U_1^dag M U_1)(n - 1^)]``, ``F_1 = beta/2n [c(U_0^dag M U_0)(n - 0^) - c(M(n))]``.
    `sun_action_definition` and `sun_force_definition` are the readable forms.

    Parameters
    ----------
    beta : float
        Inverse coupling, finite and not negative.
    n : int
        Colours, at least 2.
    """

    beta: float
    n: int
    angular: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0)
        SUN(self.n)  # checks n

    def action(self, x: Matrices) -> Array:
        """``S``, shape ``(chain,)``."""
        return self.action_and_force(check_matrix_links(x, self.n))[0]

    def force(self, x: Matrices) -> Array:
        """``+ dS/dw``, shape ``(chain, 2, T, X, n^2 - 1)``."""
        return self.action_and_force(check_matrix_links(x, self.n))[1]

    def action_and_force(self, x: Matrices) -> tuple[Array, Array]:
        """Action and force from one pass over the plaquettes; ``x`` is taken as checked."""
        return SUNDynamics(self.beta, x).action_and_force()

    def dynamics(self, x: Matrices, v: Array) -> SUNDynamics:
        """The action bound to the arrays of one trajectory."""
        return SUNDynamics(self.beta, x, v)


class SUNDynamics:
    """`WilsonSUN` bound to links ``x`` and momenta ``v``: kicks of ``v`` in place, on component-first views of both."""

    def __init__(self, beta: float, x: Matrices, v: Array | None = None) -> None:
        self._links = components(x, 2)
        self._v = v
        self._coupling = beta / len(self._links)
        self._shape = (*x.shape[:4], x.shape[4] ** 2 - 1)

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        assert self._v is not None
        self._add_force(components(self._v, 1), -scale)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        force = chain_last(*self._shape)
        force[...] = 0.0
        p = self._add_force(components(force, 1), 1.0)
        action = -self._coupling * site_sum(np.moveaxis(trace(p).real, -1, 0))
        return action, force

    def _add_force(self, out: Array, scale: float) -> Matrices:
        """``out += scale * force``, component first; returns the plaquettes.

        With ``E = U_1^dag U_0`` and ``K = U_1(n + 0^) U_0(n + 1^)^dag`` the plaquette is ``P = U_0 K U_1^dag``, and carried along
        its links ``U_1^dag P U_1 = E K`` and ``U_0^dag P U_0 = K E``: six products.
        """
        links = np.ascontiguousarray(self._links)
        u0, u1 = links[:, :, 0], links[:, :, 1]
        back = dagger(u1)
        near, far = product(back, u0), product(np.roll(u1, -1, 2), dagger(np.roll(u0, -1, 3)))
        p = product(u0, product(far, back))
        here, below, left = (imaginary_coordinates(m) for m in (p, product(near, far), product(far, near)))
        for part in (here, below, left):
            part *= 0.5 * scale * self._coupling
        out_0, out_1 = out[:, 0], out[:, 1]
        out_0 += here
        out_0[:, :, 1:] -= below[:, :, :-1]
        out_0[:, :, 0] -= below[:, :, -1]
        out_1 -= here
        out_1[:, 1:] += left[:, :-1]
        out_1[:, 0] += left[:, -1]
        return p


def sun_action_definition(x: Matrices, beta: float) -> Array:
    """``-(beta/n) sum_P Re Tr P`` as written, shape ``(chain,)``."""
    p = plaquettes_definition(x)
    return -beta / x.shape[-1] * np.einsum("ctxii->c", p).real


def sun_force_definition(x: Matrices, beta: float) -> Array:
    """``F_a = (beta/n) Im Tr(T_a U A)`` with the staples ``A`` of link ``U`` as written: ``S = -(beta/n) Re Tr(U A) + ...``"""
    u0, u1 = x[:, 0], x[:, 1]

    def at(u: Matrices, t: int, s: int) -> Matrices:
        return np.roll(u, (-t, -s), (1, 2))

    def h(u: Matrices) -> Matrices:
        return u.conj().swapaxes(-2, -1)

    staples_0 = at(u1, 1, 0) @ h(at(u0, 0, 1)) @ h(u1) + h(at(u1, 1, -1)) @ h(at(u0, 0, -1)) @ at(u1, 0, -1)
    staples_1 = at(u0, 0, 1) @ h(at(u1, 1, 0)) @ h(u0) + h(at(u0, -1, 1)) @ h(at(u1, -1, 0)) @ at(u0, -1, 0)
    products = np.stack([u0 @ staples_0, u1 @ staples_1], axis=1)
    n = x.shape[-1]
    return beta / n * np.einsum("aij,cmtxji->cmtxa", SUN(n).basis, products).imag
