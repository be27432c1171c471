"""Determinant and inverse of the Wilson-Dirac operator between neighbours, by elimination of time slices.

In the eigenbasis ``(-, +)`` of ``sigma_0`` the hop from the slice ahead, ``F_t = 2 kappa U_0(t)``, concerns ``psi^-`` only, and the
one from the slice behind, ``F_(t-1)^dag``, only ``psi^+``: ``D`` is a ring of slices ``A_t``, one-dimensional operators in space,

``(D psi)_t = A_t psi_t - F_t psi^-_(t+1) - F_(t-1)^dag psi^+_(t-1)``.

Solving for ``psi_j`` with ``g = A_j^-1`` leaves a ring of the same kind without slice j. With its neighbours l behind and r ahead,
``F_l' = F_l g^-- F_j``, ``A_l^-+ -= F_l g^-+ F_l^dag``, ``A_r^+- -= F_j^dag g^+- F_j``, and ``det D = det A_j det D'``. Every other
slice goes at once, until one is left. On the way back, for ``G = D^-1``,

``G_jj = g + g W g`` with ``W^-- = F_j G_rl^-- F_l``, ``W^-+ = F_j G_rr^-+ F_j^dag``, ``W^+- = F_l^dag G_ll^+- F_l`` and
``W^++ = (W^--)^dag``, as gamma5-hermiticity exchanges - and +; and ``G_jl^-- = g^-- F_j G_rl^-- + g^-+ F_l^dag G_ll^+-``,
``G_rj^-- = G_rl^-- F_l g^-- + G_rr^-+ F_j^dag g^+-``. For ``T`` slices of ``m = 2 N X`` rows this takes ``T m^3`` operations, and
the whole matrix ``(T m)^3``; but it pivots within slices only, so it needs ``g`` that are not large.

Errors, to first order and in units of the rounding ``eps = 2^-52``, with f, g, a the 2-norms of ``F, g, A``: one elimination
multiplies an error of ``A`` or ``F`` by ``r = (f g)^2`` and adds that of g, ``e' = e + r (e + a)``, from e = 0. By that
``log |det A_j|`` is off by ``g (e + a)``, ``G`` of the last slice by ``max(1, G e) G``, and every level of the way back
multiplies this by r again. What grows are hops as well as ``g``, and over the levels the growths multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .operator import SIGMA, ComplexArray, WilsonDirac

Array = NDArray[np.float64]

# The largest error, as above, that passes: logarithm and inverse, relative to the larger of 1 and its largest entry, are then
# off by less than GROWTH eps = 2e-8 (0.6 of the estimate at most, of 600 fields each at kappa = 0.265, 0.3, 0.4, 0.5 on 8 x 8).
# At beta = 2, kappa = 0.265 the estimate is 16 for most fields.
GROWTH = 1e8


class _Level(NamedTuple):
    """A ring before every other slice goes: hops ``(slice, chain, n, n)``, and the inverses of what goes."""

    hops: ComplexArray
    inverses: ComplexArray


@dataclass(frozen=True)
class Slices:
    """What is left of a ring when all slices but the first are eliminated; `eliminated` makes it.

    ``reliable``, by chain: whether errors stay below ``GROWTH eps``, by the estimate at the top of this module.
    ``pivots``: the matrices of each level whose determinants multiply to ``det D``, ``(slice, chain, m, m)``.
    """

    shape: tuple[int, int]
    levels: list[_Level]
    pivots: list[ComplexArray]
    last: ComplexArray
    reliable: NDArray[np.bool_]

    @property
    def colours(self) -> int:
        """N, 1 for U(1)."""
        return self.last.shape[-1] // (2 * self.shape[1])

    def log_determinant(self) -> tuple[Array, Array]:
        """``log |det D|`` and its sign, each ``(chain,)``."""
        log, phase = np.zeros(len(self.reliable)), np.ones(len(self.reliable), np.complex128)
        with np.errstate(invalid="ignore"):  # NaN behind a singular slice
            for matrices in self.pivots:
                for one_phase, one_log in zip(*np.linalg.slogdet(matrices), strict=True):
                    phase *= one_phase
                    log += one_log
        return log, np.sign(phase.real)

    def traces(self) -> ComplexArray:
        """``tr_spin[D^-1(x + mu^, x) (1 - sigma_mu)]``, ``(chain, 2, T, X, N, N)``."""
        slices, ahead = self.inverse()
        n_t, n_chains = slices.shape[:2]
        x = np.arange(self.shape[1])
        time = ahead.reshape(n_t, n_chains, len(x), self.colours, len(x), -1)[:, :, x, :, x, :]
        space = slices.reshape(n_t, n_chains, 2, len(x), self.colours, 2, len(x), -1)
        space = space[:, :, :, (x + 1) % len(x), :, :, x, :]  # (x, t, chain, spin, colour, spin, colour)
        traces = np.empty((n_chains, 2, n_t, len(x), self.colours, self.colours), np.complex128)
        traces[:, 0] = 2 * time.transpose(2, 1, 0, 3, 4)
        trace = space[..., 0, :, 0, :] + space[..., 1, :, 1, :] - 1j * (space[..., 0, :, 1, :] - space[..., 1, :, 0, :])
        traces[:, 1] = trace.transpose(2, 1, 0, 3, 4)
        return traces

    def inverse(self) -> tuple[ComplexArray, ComplexArray]:
        """``G_tt``, ``(T, chain, m, m)``, and ``G_(t+1)t^--``, ``(T, chain, m/2, m/2)``."""
        n = self.last.shape[-1] // 2
        here, ahead = self.last, self.last[..., :n, :n]
        for level in reversed(self.levels):
            here, ahead = _extended(level, here, ahead)
        return here, ahead


def eliminated(dirac: WilsonDirac) -> Slices:
    """The elimination of all time slices but one."""
    slices, hops = _ring(dirac)
    levels: list[_Level] = []
    pivots: list[ComplexArray] = []
    errors = _Errors(len(dirac.links))
    while len(slices) > 1:
        level = _Level(hops, _inverse(slices[1::2]))
        levels.append(level)
        pivots.append(slices[1::2])
        errors.add(slices, level)
        slices, hops = _reduced(slices, level)
    n = hops.shape[-1]
    slices[..., :n, :n] -= hops
    slices[..., n:, n:] -= _dagger(hops)
    last = _inverse(slices)
    reliable = errors.largest(slices, last) <= GROWTH  # False for NaN
    return Slices(dirac.shape, levels, [*pivots, slices], last, reliable)


class _Errors:
    """The estimate at the top of this module, each number ``(chain,)``."""

    def __init__(self, n_chains: int) -> None:
        self._matrices, self._determinant, self._back = np.zeros(n_chains), np.zeros(n_chains), np.ones(n_chains)

    def add(self, slices: ComplexArray, level: _Level) -> None:
        """One elimination."""
        with np.errstate(over="ignore", invalid="ignore"):
            g = _largest(level.inverses)
            error = self._matrices + _largest(slices)
            growth = (_largest(level.hops) * g) ** 2
            self._determinant = np.maximum(self._determinant, g * error)
            self._matrices = self._matrices + growth * error
            self._back = self._back * np.maximum(1, growth)

    def largest(self, slices: ComplexArray, last: ComplexArray) -> Array:
        """Of determinant and inverse, NaN behind a singular slice."""
        with np.errstate(over="ignore", invalid="ignore"):
            g = _largest(last)
            relative = g * (self._matrices + _largest(slices))
            return np.maximum(self._determinant, self._back * np.maximum(relative, g * np.maximum(1, relative)))


def _largest(matrices: ComplexArray) -> Array:
    """The largest 2-norm per chain: of each matrix ``|M^dag c|/|c|`` with its largest column c, exact where M is of rank 1.

    Rank 1 is what inverses are near to where norms are large. Largest entries fall short of norms by up to m, in every factor.
    """
    squares = (matrices.real**2 + matrices.imag**2).sum(2)
    at = squares.argmax(2)[..., None]
    column = np.take_along_axis(matrices, at[:, :, None], 3)
    image = (_dagger(column) @ matrices)[:, :, 0]
    norms = (image.real**2 + image.imag**2).sum(2) / np.take_along_axis(squares, at, 2)[..., 0]
    return np.sqrt(norms.max(0))


def _ring(dirac: WilsonDirac) -> tuple[ComplexArray, ComplexArray]:
    """Slices ``A_t``, ``(T, chain, m, m)``, and hops ``F_t``, ``(T, chain, m/2, m/2)``; rows are ``(-+, x, colour)`` flattened."""
    (n_t, n_x), colours, n_chains = dirac.shape, dirac.colours, len(dirac.links)
    u = dirac.kappa * dirac.links.transpose(1, 3, 2, 0, 4, 5)  # (mu, x, t, chain, colour, colour)
    here = np.arange(n_x)
    ahead = (here + 1) % n_x
    hops = np.zeros((n_t, n_chains, n_x, colours, n_x, colours), np.complex128)
    hops[:, :, here, :, here, :] = 2 * u[0]
    slices = np.zeros((n_t, n_chains, 2, n_x, colours, 2, n_x, colours), np.complex128)
    back = u[1].conj().swapaxes(-1, -2)
    # On two sites both hops join the same sites. In this basis sigma_1 is the matrix it is in the other.
    for s, t in np.ndindex(2, 2):
        slices[:, :, s, here, :, t, ahead, :] -= ((s == t) - SIGMA[1, s, t]) * u[1]
        slices[:, :, s, ahead, :, t, here, :] -= ((s == t) + SIGMA[1, s, t]) * back
    rows = n_x * colours
    flat = slices.reshape(n_t, n_chains, 2 * rows, 2 * rows)
    np.einsum("tcii->tci", flat)[...] += 1
    return flat, hops.reshape(n_t, n_chains, rows, rows)


def _reduced(slices: ComplexArray, level: _Level) -> tuple[ComplexArray, ComplexArray]:
    """The ring without every other slice."""
    hops, g = level
    n, gone = hops.shape[-1], len(g)
    slices, left = slices[::2].copy(), hops[::2].copy()
    f_l, f_j = left[:gone], hops[1::2]
    slices[:gone, :, :n, n:] -= f_l @ g[..., :n, n:] @ _dagger(f_l)
    slices[_right(gone, len(slices)), :, n:, :n] -= _dagger(f_j) @ g[..., n:, :n] @ f_j
    left[:gone] = f_l @ g[..., :n, :n] @ f_j
    return slices, left


def _extended(level: _Level, here: ComplexArray, ahead: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """``G_tt`` and ``G_(t+1)t^--`` of the ring of this level, from those of the one without every other slice."""
    hops, g = level
    n, gone = hops.shape[-1], len(g)
    f_l, f_j = hops[::2][:gone], hops[1::2]
    at_l, at_r = here[:gone, :, n:, :n], here[_right(gone, len(here)), :, :n, n:]
    w = np.empty_like(g)
    reach = f_j @ ahead[:gone]
    back_l, back_r = _dagger(f_l) @ at_l, at_r @ _dagger(f_j)
    w[..., :n, :n] = reach @ f_l
    w[..., :n, n:] = f_j @ back_r
    w[..., n:, :n] = back_l @ f_l
    w[..., n:, n:] = _dagger(w[..., :n, :n])
    all_here = np.empty((len(hops), *here.shape[1:]), np.complex128)
    all_here[::2], all_here[1::2] = here, g + g @ w @ g
    all_ahead = np.empty_like(hops)
    all_ahead[::2] = ahead
    all_ahead[::2][:gone] = g[..., :n, :n] @ reach + g[..., :n, n:] @ back_l
    all_ahead[1::2] = ahead[:gone] @ f_l @ g[..., :n, :n] + back_r @ g[..., n:, :n]
    return all_here, all_ahead


def _right(gone: int, left: int) -> NDArray[np.int64]:
    """Of each slice that goes the neighbour ahead, among those that are left."""
    return np.arange(1, gone + 1) % left


def _dagger(matrices: ComplexArray) -> ComplexArray:
    return matrices.conj().swapaxes(-1, -2)


def _inverse(matrices: ComplexArray) -> ComplexArray:
    """Inverses of ``(slice, chain, m, m)``, NaN where a matrix is singular."""
    try:
        return np.linalg.inv(matrices).astype(np.complex128, copy=False)
    except np.linalg.LinAlgError:
        if len(matrices) == matrices.shape[1] == 1:
            return np.full_like(matrices, np.nan)
        axis = 0 if len(matrices) > 1 else 1
        parts = np.split(matrices, matrices.shape[axis], axis)
        return np.concatenate([_inverse(part) for part in parts], axis)
