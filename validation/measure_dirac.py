"""The oracle's own Wilson-Dirac operator: an explicit matrix, its determinant and derivative, pseudofermion kernels.

``(D psi)(y) = psi(y) - kappa sum_mu {(1 - sigma_mu) U_mu(y) psi(y + mu^) + (1 + sigma_mu) U_mu(y - mu^)^dag psi(y - mu^)}``, the
links that cross the last time slice with a sign where fermions are antiperiodic. Rows are ``(t, x, spin, colour)`` flattened.
Written from the formula, hop by hop; shares no code with the package. Links are U(1) angles ``(n, 2, T, X)`` or matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[Any]

SIGMA: Complex = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])
ONE: Complex = np.eye(2, dtype=np.complex128)
_CHUNK = 64  # configurations whose matrices fit in cache


def link_matrices(x: NDArray[Any]) -> Complex:
    """Links as complex matrices ``(n, 2, T, X, N, N)``, N = 1 for angles."""
    return np.asarray(x if np.iscomplexobj(x) else np.exp(1j * x)[..., None, None])


def hops(links: Complex, antiperiodic: bool = True) -> Complex:
    """The matrix H of ``D = 1 - kappa H``, ``(n, size, size)``; linear in the links, which may be any matrices.

    On two sites in a direction the neighbours ahead and behind are one site: entries are added.
    """
    n, _, n_t, n_x, colours, _ = links.shape
    h = np.zeros((n, n_t, n_x, 2, colours, n_t, n_x, 2, colours), np.complex128)
    for mu in (0, 1):
        for t in range(n_t):
            for s in range(n_x):
                next_t, next_s = ((t + 1) % n_t, s) if mu == 0 else (t, (s + 1) % n_x)
                sign = -1.0 if antiperiodic and mu == 0 and t == n_t - 1 else 1.0
                u = sign * links[:, mu, t, s]
                back = u.conj().swapaxes(-1, -2)
                h[:, t, s, :, :, next_t, next_s] += np.einsum("pq,nab->npaqb", ONE - SIGMA[mu], u)
                h[:, next_t, next_s, :, :, t, s] += np.einsum("pq,nab->npaqb", ONE + SIGMA[mu], back)
    size = 2 * n_t * n_x * colours
    return h.reshape(n, size, size)


def dirac_matrix(x: NDArray[Any], kappa: float, antiperiodic: bool = True) -> Complex:
    """``D`` of every configuration, ``(n, size, size)``."""
    h = hops(link_matrices(x), antiperiodic)
    return np.asarray(np.eye(h.shape[-1]) - kappa * h)


def derivative(x: NDArray[Any], w: Array, generators: Complex, kappa: float, antiperiodic: bool = True) -> Complex:
    """``d D`` under ``U -> exp(i eps w_a T_a) U`` at ``eps = 0``: D without its 1, the links replaced by their derivatives.

    ``w`` is ``(n, 2, T, X, generator)``; for angles there is one generator, ``1``.
    """
    links = link_matrices(x)
    return -kappa * hops(1j * np.einsum("nmtxg,gab->nmtxab", w, generators) @ links, antiperiodic)


def log_determinant(x: NDArray[Any], kappa: float, antiperiodic: bool = True) -> Array:
    """``log |det D|``, by ``det D = det(1 - D_eo D_oe)`` where both extents are even; ``-inf`` where D is singular."""
    shape, out = x.shape[2:4], np.empty(len(x))
    even_lattice = not (shape[0] % 2 or shape[1] % 2)
    for start in range(0, len(x), _CHUNK):
        h = hops(link_matrices(x[start : start + _CHUNK]), antiperiodic)
        h *= -kappa
        if even_lattice:
            h = schur(h, shape)
        else:
            np.einsum("nii->ni", h)[...] += 1
        out[start : start + _CHUNK] = np.linalg.slogdet(h)[1]
    return out


def even_rows(shape: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    """Which rows of D belong to even sites; ``width`` rows a site."""
    t, x = np.indices(shape)
    return np.repeat(((t + x) % 2 == 0).ravel(), width)


def schur(d: Complex, shape: tuple[int, ...]) -> Complex:
    """``D_sc = 1 - D_eo D_oe`` on the even sites; the blocks within a parity are not looked at."""
    even = even_rows(shape, d.shape[-1] // (shape[0] * shape[1]))
    d_eo, d_oe = d[:, even][:, :, ~even], d[:, ~even][:, :, even]
    out = -d_eo @ d_oe
    np.einsum("nii->ni", out)[...] += 1
    return out


def determinant_force(x: NDArray[Any], generators: Complex, kappa: float, antiperiodic: bool = True) -> Array:
    """``d(-2 log |det D|)`` per link and generator of one configuration, ``-2 Re tr(D^-1 dD)``, link by link."""
    links = link_matrices(x[None])[0]
    n_t, n_x, colours = links.shape[1], links.shape[2], links.shape[-1]
    inverse = np.linalg.inv(dirac_matrix(x[None], kappa, antiperiodic)[0])
    blocks = inverse.reshape(n_t, n_x, 2, colours, n_t, n_x, 2, colours)
    force = np.empty((2, n_t, n_x, len(generators)))
    for mu in (0, 1):
        for t in range(n_t):
            for s in range(n_x):
                ahead = ((t + 1) % n_t, s) if mu == 0 else (t, (s + 1) % n_x)
                sign = -1.0 if antiperiodic and mu == 0 and t == n_t - 1 else 1.0
                for a, generator in enumerate(generators):
                    du = sign * 1j * generator @ links[mu, t, s]
                    forward = np.einsum("qbpa,pq,ab->", blocks[ahead][:, :, t, s], ONE - SIGMA[mu], du)
                    back = np.einsum("qbpa,pq,ab->", blocks[t, s][:, :, *ahead], ONE + SIGMA[mu], du.conj().T)
                    force[mu, t, s, a] = 2 * kappa * (forward + back).real
    return force


# --- pseudofermions ------------------------------------------------------------------------------------------------------
def cores(d: Complex, shape: tuple[int, ...], even_odd: bool) -> Complex:
    """The matrix C of ``M = C C^dag``: D, or its Schur complement."""
    return schur(d, shape) if even_odd else d


def kernels(core: Complex, mus: tuple[float, ...], mu_reg: float) -> list[Complex]:
    """``K_m`` of ``S_m = phi^dag K_m phi``, their inverses telescoping to ``det(M + mu_reg)``.

    With ``m_0 = mu_reg < m_1 < ... < m_Nh``: ``1 + (m_{k+1} - m_k)(M + m_k)^-1``, and ``(M + m_Nh)^-1`` last.
    """
    m = core @ core.conj().swapaxes(-1, -2)
    one = np.eye(m.shape[-1])
    masses = (mu_reg, *mus)
    inverses = [np.linalg.inv(m + mass * one) for mass in masses]
    steps = zip(masses[1:], masses[:-1], inverses[:-1], strict=True)
    return [one + (above - below) * inverse for above, below, inverse in steps] + [inverses[-1]]


def core_derivative(d: Complex, dd: Complex, shape: tuple[int, ...], even_odd: bool) -> Complex:
    """``dC`` for the derivative ``dD``."""
    if not even_odd:
        return dd
    even = even_rows(shape, d.shape[-1] // (shape[0] * shape[1]))

    def eo(matrix: Complex) -> Complex:
        return matrix[:, even][:, :, ~even]

    def oe(matrix: Complex) -> Complex:
        return matrix[:, ~even][:, :, even]

    return np.asarray(-eo(dd) @ oe(d) - eo(d) @ oe(dd))


def kernel_derivatives(core: Complex, dcore: Complex, mus: tuple[float, ...], mu_reg: float) -> list[Complex]:
    """``dK_m``: ``d(M + m)^-1 = -(M + m)^-1 dM (M + m)^-1`` times the factor of the monomial."""
    h = core.conj().swapaxes(-1, -2)
    m = core @ h
    dm = dcore @ h
    dm = dm + dm.conj().swapaxes(-1, -2)
    masses = (mu_reg, *mus)
    factors = [above - below for above, below in zip(masses[1:], masses[:-1], strict=True)] + [1.0]
    out = []
    for mass, factor in zip(masses, factors, strict=True):
        inverse = np.linalg.inv(m + mass * np.eye(m.shape[-1]))
        out.append(-factor * inverse @ dm @ inverse)
    return out


# --- spinors and symmetries ----------------------------------------------------------------------------------------------
def random_spinors(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
    return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def gauge_rotation(omega: Complex) -> Complex:
    """``R(Omega)`` on spinors as a matrix ``(n, size, size)``, for ``Omega`` of shape ``(n, T, X, N, N)``."""
    n, n_t, n_x, colours, _ = omega.shape
    out = np.zeros((n, n_t * n_x, 2, colours, n_t * n_x, 2, colours), np.complex128)
    for site, turn in enumerate(omega.reshape(n, n_t * n_x, colours, colours).swapaxes(0, 1)):
        for spin in (0, 1):
            out[:, site, spin, :, site, spin] = turn
    size = 2 * n_t * n_x * colours
    return out.reshape(n, size, size)


def gamma5(size: int, colours: int) -> Array:
    """The diagonal of gamma5 = sigma_z on rows ``(t, x, spin, colour)``."""
    return np.tile(np.repeat([1.0, -1.0], colours), size // (2 * colours))
