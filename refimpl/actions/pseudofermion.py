"""Pseudofermions: Gaussian fields whose integral is the determinant of two flavours, ``det M`` with ``M = D D^dag``.

``S = phi^dag (M + mu)^-1 phi`` (12), (37), or, between two Hasenbusch masses (38),
``S = phi^dag [1 + (mu' - mu)(M + mu)^-1] phi``: with ``D_s = D + i sqrt(mu) gamma5`` and ``M + mu = D_s D_s^dag``
(`refimpl.actions.dirac.twisted`), ``S = c |w|^2`` and ``S = |phi|^2 + c |w|^2`` for ``w = D_s^-1 phi``, c being 1 or
``mu' - mu``. The integral over phi is ``pi^n det(M + mu)``, or times ``1/det(M + mu')``.

Heat bath: ``phi = D_s chi``, or ``phi = D_s D_s'^-1 chi``, for chi with density ``exp(-chi^dag chi)``. Force:
``dS = -2 c Re X^dag dD D^dag X`` with ``X = (M + mu)^-1 phi = D_s^dag^-1 w``, and ``D^dag X = w + i sqrt(mu) gamma5 X`` may be
replaced by w, as ``X^dag dD gamma5 X`` is real: ``D gamma5`` is Hermitian. Even-odd (35), ``D_sc`` stands for D and phi is
zero on the odd sites; ``X^dag dD_sc w`` is ``X~^dag dD w~`` of the full operator for ``X~ = (X, -D_eo^dag X)``,
``w~ = (w, -D_oe w)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lattice import check_flag, check_number, check_rngs, check_shape, parity_mask, site_sum
from .determinant import WilsonDeterminant, check_fermion_links, check_fermions, link_force
from .dirac import ComplexArray, WilsonDirac, check_spinor, gamma5, signed_links, wilson_dirac
from .dirac.solve import METHODS
from .dirac.twisted import TwistedDirac, TwistedInverse, checked
from .sum import Additive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pseudofermion:
    """One pseudofermion field, a monomial of ``det M``, on U(1) (n = 1) or SU(n) links.

    ``S = phi^dag (M + mu)^-1 phi``, or ``S = phi^dag [1 + (mu_next - mu)(M + mu)^-1] phi``; ``M = D D^dag``, or
    ``D_sc D_sc^dag`` where ``even_odd``. Fields are complex128 ``(chain, t, x, spin)``, for SU(n)
    ``(chain, t, x, spin, colour)``. `hasenbusch` makes sets of them.

    ``action``, ``force`` and ``draw`` raise `SolverError` where a linear system has no accurate solution.
    ``action_and_force``, which takes its arguments as checked, has NaN for such a chain and goes on with the others,
    and so have the actions made by ``at`` in a trajectory: a kernel rejects the proposal of that chain, and counts it
    as not finite.

    Parameters
    ----------
    kappa : hopping parameter, finite and not negative. n : colours.
    even_odd : of the Schur complement; phi is then zero on the odd sites. Needs even extents.
    mu, mu_next : masses, ``0 <= mu < mu_next``; None for the last monomial.
    antiperiodic : in time (the default), or periodic.
    method : {"auto", "dense", "sparse", "cg"}, see `TwistedInverse`.
    """

    kappa: float
    n: int = 1
    even_odd: bool = False
    mu: float = 0.0
    mu_next: float | None = None
    antiperiodic: bool = True
    method: str = "auto"

    def __post_init__(self) -> None:
        check_fermions(self.kappa, self.n)
        check_number("mu", self.mu, 0)
        if self.mu_next is not None:
            check_number("mu_next", self.mu_next, self.mu, above=True)
        check_flag("even_odd", self.even_odd)
        check_flag("antiperiodic", self.antiperiodic)
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, expected one of {', '.join(METHODS)}")

    @property
    def coefficient(self) -> float:
        """The number c before ``(M + mu)^-1``."""
        return 1.0 if self.mu_next is None else self.mu_next - self.mu

    def action(self, x: NDArray[Any], phi: ArrayLike) -> Array:
        """``S``, shape ``(chain,)``."""
        dirac, phi = self._checked(x, phi)
        w = TwistedInverse(self._operator(dirac), self.method).apply(phi)
        return self._energy(phi, checked(w, self.mu, self.method))

    def force(self, x: NDArray[Any], phi: ArrayLike) -> Array:
        """``+ dS/d theta``, the shape of ``x``; for SU(n) by generators, ``(chain, 2, T, X, n^2 - 1)``."""
        dirac, phi = self._checked(x, phi)
        inverse = TwistedInverse(self._operator(dirac), self.method)
        solution = inverse.adjoint(w := inverse.apply(phi))
        return self._force(dirac, w, checked(solution, self.mu, self.method))

    def action_and_force(self, x: NDArray[Any], phi: ComplexArray) -> tuple[Array, Array]:
        """Both; arguments are taken as checked, and a chain that has no solution is NaN."""
        dirac = self._unchecked(x)
        inverse = TwistedInverse(self._operator(dirac), self.method)
        w = inverse.apply(phi)
        return self._energy(phi, w), self._force(dirac, w, inverse.adjoint(w))

    def draw(self, rngs: Sequence[np.random.Generator], x: NDArray[Any]) -> ComplexArray:
        """``phi`` from its distribution ``exp(-S)`` at given links, by one Generator per chain."""
        dirac = self._checked_links(x)
        check_rngs(rngs, len(dirac.links))
        return checked(self._heat_bath(dirac, self.noise(rngs, dirac.shape)), self.mu_next or 0.0, self.method)

    def noise(self, rngs: Sequence[np.random.Generator], shape: tuple[int, int]) -> ComplexArray:
        """``chi`` with density ``exp(-chi^dag chi)`` on this lattice, zero on the odd sites where ``even_odd``."""
        rows = shape[0] * shape[1] * 2 * self.n
        drawn = rows // 2 if self.even_odd else rows
        normals = np.empty((len(rngs), 2 * drawn))
        for rng, row in zip(rngs, normals, strict=True):
            rng.standard_normal(out=row)
        normals *= np.sqrt(0.5)
        colour = (self.n,) if self.n > 1 else ()
        chi = normals.view(np.complex128)
        if self.even_odd:
            out = np.zeros((len(rngs), *shape, 2, *colour), np.complex128)
            out[:, parity_mask(shape)] = chi.reshape(len(rngs), -1, 2, *colour)
            return out
        return chi.reshape(len(rngs), *shape, 2, *colour)

    def heat_bath(self, x: NDArray[Any], chi: ComplexArray) -> ComplexArray:
        """``phi`` made of ``chi``, linearly; arguments are taken as checked, a chain without a solution is NaN."""
        return self._heat_bath(self._unchecked(x), chi)

    def at(self, phi: ArrayLike) -> FixedPseudofermion:
        """The action of the links for this ``phi``, which adds with others."""
        return FixedPseudofermion(self, np.asarray(phi))

    def _heat_bath(self, dirac: WilsonDirac, chi: ComplexArray) -> ComplexArray:
        if self.mu_next is not None:
            chi = TwistedInverse(TwistedDirac(dirac, self.mu_next, self.even_odd), self.method).apply(chi)
        with np.errstate(invalid="ignore"):
            return self._operator(dirac).apply(chi)

    def _energy(self, phi: ComplexArray, w: ComplexArray) -> Array:
        energy = self.coefficient * _square(w)
        return energy if self.mu_next is None else energy + _square(phi)

    def _force(self, dirac: WilsonDirac, w: ComplexArray, x: ComplexArray) -> Array:
        with np.errstate(invalid="ignore"):
            if self.even_odd:
                x, w = x - gamma5(dirac.hop(gamma5(x))), w - dirac.hop(w)
            return link_force(hop_response(dirac, x, w), -2 * self.coefficient * self.kappa)

    def _operator(self, dirac: WilsonDirac) -> TwistedDirac:
        return TwistedDirac(dirac, self.mu, self.even_odd)

    def _checked(self, x: NDArray[Any], phi: ArrayLike) -> tuple[WilsonDirac, ComplexArray]:
        dirac = self._checked_links(x)
        phi = check_spinor(phi, dirac.spinor_shape, "phi")
        if not np.all(np.isfinite(phi)):
            raise ValueError(f"phi: got {phi[~np.isfinite(phi)][0]}, expected finite numbers")
        if self.even_odd and phi[:, ~parity_mask(dirac.shape)].any():
            raise ValueError(
                "phi: got a field that is not zero on the odd sites, expected zeros there (even_odd = True)"
            )
        return dirac, phi

    def _checked_links(self, x: NDArray[Any]) -> WilsonDirac:
        dirac = wilson_dirac(check_fermion_links(x, self.n), self.kappa, antiperiodic=self.antiperiodic)
        check_shape(dirac.shape, even=self.even_odd)
        return dirac

    def _unchecked(self, x: NDArray[Any]) -> WilsonDirac:
        return WilsonDirac(signed_links(x, antiperiodic=self.antiperiodic), self.kappa)


def hasenbusch(
    kappa: float,
    mus: Sequence[float] = (),
    *,
    even_odd: bool = False,
    mu_reg: float = 0.0,
    n: int = 1,
    antiperiodic: bool = True,
    method: str = "auto",
) -> tuple[Pseudofermion, ...]:
    """The ``Nh + 1`` monomials of ``det(M + mu_reg)`` for Hasenbusch masses ``mu_1 < ... < mu_Nh`` (38).

    Parameters
    ----------
    mus : masses above ``mu_reg``, increasing. mu_reg : regulator, which takes the place of ``mu_0 = 0`` (it is not
    exact).
    """
    return tuple(
        Pseudofermion(kappa, n, even_odd, mu, mu_next, antiperiodic, method)
        for mu, mu_next in monomial_masses(mus, mu_reg)
    )


def monomial_masses(mus: Sequence[float] = (), mu_reg: float = 0.0) -> tuple[tuple[float, float | None], ...]:
    """``(mu_m, mu_(m + 1))`` of the ``N_h + 1`` monomials (38), None after the last; checked.

    The regulator takes the place of ``mu_0 = 0``, so that the product of all monomials is ``det(M + mu_reg)``.
    """
    if np.ndim(mus) != 1:
        raise ValueError(f"mus: got {mus!r}, expected a sequence of numbers")
    masses = [check_number("mu_reg", mu_reg, 0)]
    for mu in mus:
        masses.append(check_number("mus", mu, masses[-1], above=True))
    return tuple(zip(masses, [*masses[1:], None], strict=True))


def determinant_of(monomials: Sequence[Pseudofermion]) -> WilsonDeterminant:
    """The determinant that pseudofermions telescope to, in whatever order; raises `ValueError` if they do not."""
    if not monomials:
        raise ValueError("pseudofermions: got none, expected at least one")
    ordered = sorted(monomials, key=lambda monomial: monomial.mu)
    operators = {(m.kappa, m.n, m.even_odd, m.antiperiodic) for m in ordered}
    if len(operators) != 1:
        raise ValueError(
            f"pseudofermions: got {sorted(operators)} for (kappa, n, even_odd, antiperiodic), expected one operator"
        )
    got = [(m.mu, m.mu_next) for m in ordered]
    if ordered[0].mu or [m.mu_next for m in ordered] != [*(m.mu for m in ordered[1:]), None]:
        raise ValueError(
            f"pseudofermions: got {got} for (mu, mu_next), expected (0, mu_1), (mu_1, mu_2), ..., (mu_Nh, None), "
            "whose product is det M"
        )
    return WilsonDeterminant(ordered[0].kappa, ordered[0].n, ordered[0].antiperiodic)


@dataclass(frozen=True, eq=False)
class FixedPseudofermion(Additive):
    """A `Pseudofermion` with its field fixed: an action of the links."""

    monomial: Pseudofermion
    phi: ComplexArray

    @property
    def angular(self) -> bool:
        """Whether links are angles: for n = 1."""
        return self.monomial.n == 1

    def action(self, x: NDArray[Any]) -> Array:
        """``S``, shape ``(chain,)``."""
        return self.monomial.action(x, self.phi)

    def force(self, x: NDArray[Any]) -> Array:
        """``+ dS/dx``, the shape of the gauge force."""
        return self.monomial.force(x, self.phi)

    def action_and_force(self, x: NDArray[Any]) -> tuple[Array, Array]:
        """Both; ``x`` is taken as checked, and a chain that has no solution is NaN."""
        return self.monomial.action_and_force(x, self.phi)

    def dynamics(self, x: NDArray[Any], v: Array) -> PseudofermionDynamics:
        """The action bound to the arrays of one trajectory."""
        return PseudofermionDynamics(self, x, v)


class PseudofermionDynamics:
    """`FixedPseudofermion` bound to arrays ``x`` and ``v``."""

    def __init__(self, action: FixedPseudofermion, x: NDArray[Any], v: Array) -> None:
        self._action, self._x, self._v = action, x, v

    def kick(self, scale: float) -> None:
        """``v -= scale * force(x)``."""
        self._v -= scale * self._action.action_and_force(self._x)[1]

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``x``, in new arrays."""
        return self._action.action_and_force(self._x)


def hop_response(dirac: WilsonDirac, x: ComplexArray, y: ComplexArray) -> ComplexArray:
    """``W_mu(z) = U_mu(z) [h(Y)(z + mu^) h(X)(z)^dag + g(X)(z + mu^) g(Y)(z)^dag]``, ``(chain, 2, T, X, N, N)``.

    ``h = psi_0 - (sigma_mu psi)_0`` and ``g = psi_0 + (sigma_mu psi)_0`` are the half spinors of the hops ahead and
    back. For ``U -> exp(i eps T) U``: ``Re X^dag dD Y = kappa Im tr(T W) d eps``.
    """
    (x_ahead, x_back), (y_ahead, y_back) = (_halves(psi, dirac.colours) for psi in (x, y))
    # Axes (mu, colour, colour, t, x, chain).
    outer = _moved(y_ahead)[:, :, None] * x_ahead.conj()[:, None]
    outer += _moved(x_back)[:, :, None] * y_back.conj()[:, None]
    links = dirac.links.transpose(1, 4, 5, 2, 3, 0)
    response = links[:, :, 0, None] * outer[:, None, 0]
    for k in range(1, dirac.colours):
        response += links[:, :, k, None] * outer[:, None, k]
    return response.transpose(5, 0, 3, 4, 1, 2)


def _halves(psi: ComplexArray, colours: int) -> ComplexArray:
    """``psi_0 -+ (sigma_mu psi)_0``, ``(sign, mu, colour, t, x, chain)``."""
    upper, lower = psi.reshape(*psi.shape[:4], colours).transpose(3, 4, 1, 2, 0)
    out = np.empty((2, 2, *upper.shape), np.complex128)
    np.subtract(upper, lower, out[0, 0])
    np.add(upper, lower, out[1, 0])
    turned = 1j * lower
    np.add(upper, turned, out[0, 1])
    np.subtract(upper, turned, out[1, 1])
    return out


def _moved(half: ComplexArray) -> ComplexArray:
    """The values at ``z + mu^``, by slices; axes ``(mu, colour, t, x, chain)``."""
    out = np.empty_like(half)
    out[0, :, :-1], out[0, :, -1] = half[0, :, 1:], half[0, :, 0]
    out[1, :, :, :-1], out[1, :, :, -1] = half[1, :, :, 1:], half[1, :, :, 0]
    return out


def _square(psi: ComplexArray) -> Array:
    """``psi^dag psi`` per chain, the same bits in any batch."""
    with np.errstate(invalid="ignore", over="ignore"):
        return site_sum(psi.real * psi.real + psi.imag * psi.imag)
