"""The phi^4 theory of one real field on the two-dimensional torus, and its couplings in the conventions of others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import (
    chain_last,
    check_number,
    check_scalars,
    difference_program,
    neighbour_program,
    run,
    shift,
    site_sum,
)
from .fields import check_direction
from .sum import Additive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Phi4(Additive):
    """``S(phi) = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi(n)^2/2 + lam phi(n)^4/24 ]``.

    Mass and quartic term stand once per site: Bedaque 2023, eq. (14), with the potential taken out of the sum over directions,
    which the masses of its Table II ask for. Fields are real, ``(chain, T, X)``, periodic, on any rectangle; on an extent of 2
    both bonds count, on an extent of 1 there is none. The force is
    ``dS/d phi(n) = (4 + m2) phi + lam phi^3/6 - sum_mu [phi(n + mu^) + phi(n - mu^)]``.

    The action is summed from differences of neighbours, which do not cancel where the field is large and smooth.
    `phi4_action_definition` and `phi4_force_definition` are the readable forms; exact answers are in `refimpl.exact.phi4`.

    Parameters
    ----------
    m2 : float
        Bare mass squared, finite; negative only where ``lam`` is positive.
    lam : float
        Quartic coupling, finite and not negative; positive unless ``m2`` is.
    """

    m2: float
    lam: float
    angular: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_couplings(self.m2, self.lam)

    def action(self, x: Array) -> Array:
        """``S``, shape ``(chain,)``."""
        return self.action_and_force(check_scalars(x))[0]

    def force(self, x: Array) -> Array:
        """``+ dS/d phi``, the shape of ``x``."""
        return self.action_and_force(check_scalars(x))[1]

    def action_and_force(self, x: Array) -> tuple[Array, Array]:
        """Action and force; ``x`` is taken as checked."""
        return self.dynamics(x, np.empty_like(x)).action_and_force()

    def dynamics(self, x: Array, v: Array) -> Phi4Dynamics:
        """The action bound to the arrays of one trajectory."""
        return Phi4Dynamics(self.m2, self.lam, x, v)

    def hessian_product(self, x: Array, w: Array) -> Array:
        """``sum_j d2S/dx_i dx_j w_j``, the shape of ``x``: ``(4 + m2 + lam phi^2/2) w`` less the neighbours of ``w``."""
        x = check_scalars(x)
        w = check_direction(w, x)
        product = chain_last(*x.shape)
        np.multiply(x, x, product)
        product *= -0.5 * self.lam
        product -= 4 + self.m2
        product *= w
        pair = chain_last(*x.shape)
        for mu in (0, 1):
            run(neighbour_program(w, mu, pair))
            product += pair
        np.negative(product, product)
        return product

    def definition(self, x: Array) -> Array:
        """``S`` as written, shape ``(chain,)``, in operations that autograd can trace."""
        import autograd.numpy as anp

        bonds = (anp.roll(x, -1, axis=1) - x) ** 2 + (anp.roll(x, -1, axis=2) - x) ** 2
        return anp.sum(bonds / 2 + self.m2 * x**2 / 2 + self.lam * x**4 / 24, axis=(1, 2))


class Phi4Dynamics:
    """`Phi4` bound to arrays ``x`` and ``v``: kicks of ``v`` in place, with slices and scratch arrays held ready."""

    def __init__(self, m2: float, lam: float, x: Array, v: Array) -> None:
        self._m2, self._lam, self._x, self._v = m2, lam, x, v
        self._p, self._q = chain_last(*x.shape), chain_last(*x.shape)
        self._neighbours = [neighbour_program(x, mu, self._q) for mu in (0, 1)]
        self._bonds = [difference_program(x, mu, out) for mu, out in enumerate((self._p, self._q))]

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        p = self._force(self._p)
        np.multiply(p, scale, p)
        np.subtract(self._v, p, self._v)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        force = chain_last(*self._x.shape)
        action = 0.5 * site_sum(self._twice_density(force))
        return action, self._force(force)

    def _force(self, out: Array) -> Array:
        q, x = self._q, self._x
        np.multiply(x, x, out)  # x**3 would call pow
        np.multiply(out, self._lam / 6, out)
        np.add(out, 4 + self._m2, out)
        np.multiply(out, x, out)
        for pair in self._neighbours:
            run(pair)
            np.subtract(out, q, out)
        return out

    def _twice_density(self, scratch: Array) -> Array:
        p, q, x = self._p, self._q, self._x
        for bonds, square in zip(self._bonds, (p, q), strict=True):
            run(bonds)
            np.multiply(square, square, square)
        np.add(p, q, p)
        np.multiply(x, x, q)
        np.multiply(q, self._lam / 12, scratch)
        np.add(scratch, self._m2, scratch)
        np.multiply(scratch, q, scratch)
        np.add(p, scratch, p)
        return p


def phi4_action_definition(x: Array, m2: float, lam: float) -> Array:
    """``sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24 ]`` as written, shape ``(chain,)``."""
    bonds = sum((shift(x, mu) - x) ** 2 for mu in (0, 1))
    return (bonds / 2 + m2 * x**2 / 2 + lam * x**4 / 24).sum(axis=(1, 2))


def phi4_force_definition(x: Array, m2: float, lam: float) -> Array:
    """``sum_mu [2 phi(n) - phi(n + mu^) - phi(n - mu^)] + m2 phi + lam phi^3/6`` as written, the shape of ``x``."""
    laplacian = sum(shift(x, mu) + shift(x, mu, -1) - 2 * x for mu in (0, 1))
    return m2 * x + lam * x**3 / 6 - laplacian


def check_couplings(m2: float, lam: float) -> None:
    """Raises `ValueError` naming ``m2`` or ``lam`` unless ``exp(-S)`` can be normalised."""
    check_number("m2", m2, -math.inf, above=True)
    check_number("lam", lam, 0)
    if lam == 0 and m2 <= 0:
        raise ValueError(f"m2: got {m2!r} at lam = 0, expected a number > 0 (the zero mode is not bound)")


# --- the couplings of other conventions -------------------------------------------------------------------------------
class Hopping(NamedTuple):
    """``S = sum_n [ -2 kappa sum_mu phi(n) phi(n + mu^) + phi^2 + lam (phi^2 - 1)^2 ]``: hopping form, of spin models."""

    kappa: float
    lam: float


class Unhalved(NamedTuple):
    """``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2 + m2 phi^2 + lam phi^4 ]``: arXiv:2101.08176 and 1904.12072."""

    m2: float
    lam: float


def to_hopping(m2: float, lam: float) -> tuple[Hopping, float]:
    """The hopping form of these couplings, and ``phi_there / phi_here``.

    ``phi_here = sqrt(2 kappa) phi_there``, where ``kappa`` is the positive root of ``lam kappa^2/3 + (4 + m2) kappa = 1``, and
    ``lam_there = lam kappa^2/6``. The actions differ by the constant ``V lam_there``.
    """
    check_couplings(m2, lam)
    b = 4 + m2
    root = math.sqrt(b * b + 4 * lam / 3)
    kappa = 2 / (root + b) if b >= 0 else (root - b) / (2 * lam / 3)  # neither form cancels
    return Hopping(kappa, lam * kappa * kappa / 6), 1 / math.sqrt(2 * kappa)


def from_hopping(kappa: float, lam: float) -> tuple[Phi4, float]:
    """The action of these couplings, and ``phi_here / phi_there``: ``m2 = (1 - 2 lam)/kappa - 4``, ``lam_here = 6 lam/kappa^2``."""
    check_number("kappa", kappa, 0, above=True)
    check_number("lam", lam, 0)
    return Phi4((1 - 2 * lam) / kappa - 4, 6 * lam / (kappa * kappa)), math.sqrt(2 * kappa)


def to_unhalved(m2: float, lam: float) -> tuple[Unhalved, float]:
    """The form without halves, and ``phi_there / phi_here = 1/sqrt 2``: ``m2`` is the same, ``lam_there = lam/6``."""
    check_couplings(m2, lam)
    return Unhalved(m2, lam / 6), math.sqrt(0.5)


def from_unhalved(m2: float, lam: float) -> tuple[Phi4, float]:
    """The action of these couplings, and ``phi_here / phi_there = sqrt 2``: ``m2`` is the same, ``lam_here = 6 lam``."""
    return Phi4(m2, 6 * lam), math.sqrt(2)


def from_quartic(m2: float, g: float) -> Phi4:
    """The action with ``g phi^4`` in place of ``lam phi^4/24``, the rest being the same: ``lam = 24 g``."""
    return Phi4(m2, 24 * g)
