"""The Wilson-Dirac operator in two dimensions, for U(1) and SU(N) links through the same code.

``(D psi)(y) = psi(y) - kappa sum_mu {(1 - sigma_mu) U_mu(y) psi(y + mu^) + (1 + sigma_mu) U_mu(y - mu^)^dag psi(y - mu^)}``
(Abbott 2022, eq. 5), with ``sigma_0 = sigma_x``, ``sigma_1 = sigma_y``, ``gamma5 = sigma_z``, ``kappa = 1/(4 + 2 m0)``.
Fermions are antiperiodic in time: the links that cross the last time slice carry a sign, which `signed_links` puts there.

``D`` is gamma5-hermitian, ``gamma5 D gamma5 = D^dag``, so its determinant is real; it can be negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...groups import sincos
from ...lattice import check_links, check_number, check_shape
from .apply import applied, hops_of

ComplexArray = NDArray[np.complex128]

SIGMA: ComplexArray = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])

# Links multiplied along long trajectories leave the group by rounding, 1e-16 a step; a wrong link is off by much more.
UNITARITY = 1e-10


@dataclass(frozen=True, eq=False)
class WilsonDirac:
    """The operator ``D`` of the links of every chain; `wilson_dirac` makes it from a gauge field, with checks.

    Spinors are complex128, ``(chain, t, x, spin)`` for U(1) and ``(chain, t, x, spin, colour)`` for SU(N); a matrix of D
    acts on them flattened, ``psi.reshape(chain, -1)``.

    Parameters
    ----------
    links : complex ``(chain, 2, T, X, N, N)``, N = 1 for U(1), the boundary sign included. kappa : hopping parameter.
    """

    links: ComplexArray
    kappa: float

    @property
    def shape(self) -> tuple[int, int]:
        """The lattice ``(T, X)``."""
        return self.links.shape[2], self.links.shape[3]

    @property
    def colours(self) -> int:
        """N; 1 for U(1), whose spinors have no colour axis."""
        return self.links.shape[-1]

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of a spinor field, chains first."""
        colour = (self.colours,) if self.colours > 1 else ()
        return (len(self.links), *self.shape, 2, *colour)

    def apply(self, psi: ArrayLike) -> ComplexArray:
        """``D psi``; raises `TypeError` or `ValueError` where ``psi`` is no spinor field of this operator."""
        return self._apply(psi, adjoint=False)

    def adjoint(self, psi: ArrayLike) -> ComplexArray:
        """``D^dag psi``: D with ``sigma_mu`` of the other sign."""
        return self._apply(psi, adjoint=True)

    def hop(self, psi: ArrayLike) -> ComplexArray:
        """``(D - 1) psi``, the part that connects even sites with odd ones."""
        return self.apply(psi) - np.asarray(psi)

    def schur(self, psi: ArrayLike) -> ComplexArray:
        """``D_sc psi = psi - D_eo D_oe psi`` on the even sites (34), for ``psi`` that vanishes on the odd ones.

        On any ``psi`` it acts within each parity, as ``1 - D_oe D_eo`` on the odd sites. Refuses odd extents.
        """
        check_shape(self.shape, even=True)
        return np.asarray(psi) - self.hop(self.hop(psi))

    def _apply(self, psi: ArrayLike, *, adjoint: bool) -> ComplexArray:
        """Memory is components first and chains last, behind the same logical shape, and so is that of the result."""
        psi = check_spinor(psi, self.spinor_shape).reshape(*self.spinor_shape[:4], self.colours)
        out = applied(self._hops, np.ascontiguousarray(psi.transpose(3, 4, 1, 2, 0)), adjoint=adjoint)
        return out.transpose(4, 2, 3, 0, 1).reshape(self.spinor_shape)

    @cached_property
    def _hops(self) -> ComplexArray:
        """What `applied` multiplies by."""
        return hops_of(self.links, self.kappa)


def wilson_dirac(x: ArrayLike, kappa: float, *, antiperiodic: bool = True) -> WilsonDirac:
    """The Wilson-Dirac operator of a gauge field.

    Parameters
    ----------
    x : U(1) link angles ``(chain, 2, T, X)``, or SU(N) link matrices, complex ``(chain, 2, T, X, N, N)``.
    kappa : hopping parameter, finite and not negative. antiperiodic : in time (the default), or periodic.

    Raises `TypeError` for a wrong dtype, `ValueError` for a wrong shape, a link that is not finite or not unitary, and for
    ``kappa`` out of range.
    """
    x = check_gauge_field(x)
    return WilsonDirac(signed_links(x, antiperiodic=antiperiodic), check_number("kappa", kappa, 0))


def signed_links(x: NDArray, *, antiperiodic: bool = True) -> ComplexArray:
    """Links as matrices ``(chain, 2, T, X, N, N)``, those that cross the last time slice times -1 where antiperiodic."""
    if np.iscomplexobj(x):
        links = x.copy()
    else:
        links = np.empty((*x.shape, 1, 1), np.complex128)
        links.imag[..., 0, 0], links.real[..., 0, 0] = sincos(x, "tan")
    if antiperiodic:
        links[:, 0, -1] *= -1
    return links


def gamma5(psi: ComplexArray) -> ComplexArray:
    """``sigma_z`` on the spin axis of a spinor field; ``D^dag psi = gamma5(D gamma5(psi))``, and so for the inverse."""
    out = psi.copy()
    out[:, :, :, 1] *= -1
    return out


def dirac_definition(links: ComplexArray, psi: ComplexArray, kappa: float) -> ComplexArray:
    """Eq. 5 as written: ``D psi`` for links `signed_links` and spinors ``(chain, t, x, spin, colour)``, colour 1 for U(1)."""
    out = psi.copy()
    for mu in (0, 1):
        u, axis = links[:, mu], 1 + mu
        forward = np.einsum("st,cyxab,cyxtb->cyxsa", np.eye(2) - SIGMA[mu], u, np.roll(psi, -1, axis))
        backward = np.roll(np.einsum("st,cyxba,cyxtb->cyxsa", np.eye(2) + SIGMA[mu], u.conj(), psi), 1, axis)
        out -= kappa * (forward + backward)
    return out


def check_gauge_field(x: ArrayLike) -> NDArray:
    """Link angles as float64 or link matrices as complex128, finite and unitary; `TypeError` or `ValueError` otherwise."""
    x = np.asarray(x)
    if x.ndim == 4:
        x = check_links(x)
    elif x.ndim != 6 or x.shape[1] != 2 or x.shape[4] != x.shape[5] or x.shape[4] < 2 or x.shape[0] == 0:
        raise ValueError(f"x: got shape {x.shape}, expected (chain, 2, T, X) or (chain, 2, T, X, N, N)")
    elif x.dtype != np.complex128:
        raise TypeError(f"x: got dtype {x.dtype}, expected complex128 link matrices")
    check_shape(x.shape[2:4])
    if not np.all(np.isfinite(x)):
        raise ValueError(f"x: got {x[~np.isfinite(x)][0]} among the links, expected finite numbers")
    if x.ndim == 6:
        defect = np.abs(x @ x.conj().swapaxes(-1, -2) - np.eye(x.shape[-1])).max()
        if defect > UNITARITY:
            raise ValueError(
                f"x: got a link with |U U^dag - 1| = {defect:.1e}, expected unitary links (to {UNITARITY:g})"
            )
    return x


def check_dirac(dirac: object) -> None:
    """Raises `TypeError` for what is no operator, such as a gauge field."""
    if not isinstance(dirac, WilsonDirac):
        raise TypeError(f"dirac: got {type(dirac).__name__}, expected a WilsonDirac (wilson_dirac(x, kappa) makes it)")


def check_spinor(psi: ArrayLike, shape: tuple[int, ...], name: str = "psi") -> ComplexArray:
    """``psi`` as complex128 of this shape; raises `TypeError` or `ValueError` otherwise."""
    psi = np.asarray(psi)
    if psi.dtype != np.complex128:
        raise TypeError(f"{name}: got dtype {psi.dtype}, expected complex128")
    if psi.shape != shape:
        raise ValueError(f"{name}: got shape {psi.shape}, expected {shape}")
    return psi
