"""Parallel transport of pseudofermions to one site, and their linear combinations there (Abbott 2022, sec. III.C).

``L[U, phi](y)`` (25) has the field at y and at its neighbours, transported to y, in the order itself, ahead and behind in time,
ahead and behind in space: ``phi(y), U_0(y) phi(y + 0^), U_0(y - 0^)^dag phi(y - 0^), ...``, with the links of the Dirac
operator, whose sign across the last time slice makes fermions antiperiodic. A parallel transport convolution (26) is
``PTC(y)_h = sum_g M_hg(y) L_g(y)``: M mixes features (spin, and what there is between two of them) and directions, never
colours. Written on features and colours together it is a matrix ``M_(h, dk) (U_d)_ab`` at every site, here a *stencil*.

Fields are *columns*: ``(chain, site, features * colours, k)``, k independent fields of one gauge field, sites flattened.
Cotangents g of complex arrays z are such that ``d loss = Re sum(conj(g) dz)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..actions.determinant import link_force
from ..actions.dirac import signed_links

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Indices = NDArray[np.intp]

DIRECTIONS = 5


@dataclass(frozen=True, eq=False)
class Transport:
    """Transporters of a gauge field.

    Attributes
    ----------
    links : with the boundary sign, ``(chain, 2, T, X, N, N)``. u : what brings the field of each neighbour to a site,
    ``(chain, site, 5, N, N)``, the first of them 1.
    """

    links: ComplexArray
    u: ComplexArray

    @property
    def shape(self) -> tuple[int, int]:
        """The lattice."""
        return self.links.shape[2], self.links.shape[3]

    @property
    def colours(self) -> int:
        return self.links.shape[-1]

    def pullback(self, g: ComplexArray) -> Array:
        """The cotangent of the links, in the shape of the gauge force, from that of ``u``."""
        n, shape = self.colours, self.shape
        g_sites = g.reshape(len(g), *shape, DIRECTIONS, n, n)
        response = np.empty_like(self.links)
        for mu in (0, 1):
            ahead, behind = g_sites[:, :, :, 1 + 2 * mu], np.roll(g_sites[:, :, :, 2 + 2 * mu], -1, 1 + mu)
            # U(y) goes ahead at y, and as U^dag behind at y + mu^.
            total = ahead + behind.conj().swapaxes(-1, -2)
            response[:, mu] = self.links[:, mu] @ total.conj().swapaxes(-1, -2)
        return link_force(response, -1.0)


def transport(x: NDArray[Any], *, antiperiodic: bool = True) -> Transport:
    """The transporters of links ``(chain, 2, T, X)``, or ``(chain, 2, T, X, N, N)``, taken as checked."""
    links = signed_links(x, antiperiodic=antiperiodic)
    chains, _, n_t, n_x, n, _ = links.shape
    u = np.empty((chains, n_t, n_x, DIRECTIONS, n, n), np.complex128)
    u[:, :, :, 0] = np.eye(n)
    for mu in (0, 1):
        u[:, :, :, 1 + 2 * mu] = links[:, mu]
        u[:, :, :, 2 + 2 * mu] = np.roll(links[:, mu].conj().swapaxes(-1, -2), 1, 1 + mu)
    return Transport(links, u.reshape(chains, n_t * n_x, DIRECTIONS, n, n))


@lru_cache(maxsize=64)
def neighbours(shape: tuple[int, int]) -> Indices:
    """The sites that L gathers at every site, flattened, ``(5, V)``."""
    sites = np.arange(shape[0] * shape[1]).reshape(shape)
    rolled = [np.roll(sites, step, mu) for mu in (0, 1) for step in (-1, 1)]
    return np.stack([sites, *rolled]).reshape(DIRECTIONS, -1)


def stencils(m: ComplexArray, u: ComplexArray) -> ComplexArray:
    """``M_(h, dk) (U_d)_ab`` as matrices ``(chain, site, H N, 5 K N)``, from ``m`` ``(chain, site, H, 5 K)``."""
    chains, sites, h, width = m.shape
    n, k = u.shape[-1], width // DIRECTIONS
    parts = m.reshape(chains, sites, h, DIRECTIONS, k)
    if n == 1:
        return (parts * u[:, :, None, :, :, 0]).reshape(m.shape)
    product = parts[:, :, :, None, :, :, None] * u.swapaxes(2, 3)[:, :, None, :, :, None, :]
    return product.reshape(chains, sites, h * n, width * n)


def stencils_pullback(m: ComplexArray, u: ComplexArray, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Cotangents of ``m`` and ``u``."""
    chains, sites, h, width = m.shape
    n, k = u.shape[-1], width // DIRECTIONS
    parts = m.reshape(chains, sites, h, DIRECTIONS, k)
    if n == 1:
        whole = g.reshape(parts.shape)
        products = whole * parts.conj()
        # Few terms, which NumPy's sums over short axes would take five times as long for.
        g_u = np.asarray(sum(products[:, :, i, :, j] for i in range(h) for j in range(k)))[..., None, None]
        return (whole * u[:, :, None, :, :, 0].conj()).reshape(m.shape), g_u
    whole = g.reshape(chains, sites, h, n, DIRECTIONS, k, n)
    g_m = np.einsum("cshadkb,csdab->cshdk", whole, u.conj(), optimize=True)
    g_u = np.einsum("cshadkb,cshdk->csdab", whole, parts.conj(), optimize=True)
    return g_m.reshape(m.shape), g_u


def gathered(psi: ComplexArray, table: Indices) -> ComplexArray:
    """L without the transporters, ``(chain, site, 5 K N, k)``, at the sites of ``table`` ``(5, site)``."""
    chains, _, rows, k = psi.shape
    return psi.take(table.T, axis=1).reshape(chains, table.shape[1], DIRECTIONS * rows, k)


def gathered_pullback(g: ComplexArray, table: Indices, sites: int) -> ComplexArray:
    """The cotangent of ``psi`` on all ``sites``, which in each direction are the neighbour of one site at most."""
    chains, here, rows, k = g.shape
    width = rows // DIRECTIONS
    parts = g.reshape(chains, here, DIRECTIONS, width, k)
    out = np.zeros((chains, sites, width, k), np.complex128)
    for d, where in enumerate(table):
        out[:, where] += parts[:, :, d]
    return out
