"""The Wilson-Dirac operator applied, fast; `refimpl.actions.dirac.operator.dirac_definition` is what it computes.

``(1 -+ sigma_mu) psi`` has one independent component, the half spinor ``psi_0 -+ (sigma_mu psi)_0``, which is moved and then
multiplied by the link. Fields are ``(spin, colour, t, x, chain)`` in this order in memory, and every operation runs over
contiguous stretches: NumPy is several times slower over slices. Large fields go by in slabs of time slices that fit a cache.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complex128]

# Sites of a slab: its twenty or so numbers a site fit a cache of a megabyte or two, and outweigh the cost of the calls.
SLAB = 4096


def hops_of(links: ComplexArray, kappa: float) -> ComplexArray:
    """``kappa U_mu(y)`` for both directions and ``kappa U_mu(y - mu^)^dag``, as ``(slab, a, b, 4, t, x, chain)``.

    From links ``(chain, 2, T, X, N, N)``; the slabs together are the time slices in their order.
    """
    u = links.transpose(4, 5, 1, 2, 3, 0)
    n, _, _, n_t, n_x, n_chains = u.shape
    rows = _rows(n_t, n_x * n_chains)
    hops = aligned((n_t // rows, n, n, 4, rows, n_x, n_chains))
    whole = hops.transpose(1, 2, 3, 0, 4, 5, 6)
    in_slabs = (n, n, n_t // rows, rows, n_x, n_chains)
    for mu in (0, 1):
        ahead = kappa * u[:, :, mu]
        whole[:, :, mu] = ahead.reshape(in_slabs)
        whole[:, :, 2 + mu] = np.roll(ahead.swapaxes(0, 1), 1, 2 + mu).reshape(in_slabs).conj()
    return hops


def applied(hops: ComplexArray, psi: ComplexArray, *, adjoint: bool) -> ComplexArray:
    """``D psi``, or ``D^dag psi`` (D with ``sigma_mu`` of the other sign), for contiguous ``(spin, colour, t, x, chain)``."""
    n, n_t, *time_slice = psi.shape[1:]
    edge = math.prod(time_slice)
    slab = hops.shape[4] * edge
    out, work = aligned(psi.shape), aligned((4 * n + 3, slab))
    half, turned, total = work[: 4 * n].reshape(n, 4, slab), work[-3], work[-2:]
    old, new = psi.reshape(2, n, -1), out.reshape(2, n, -1)
    plus, minus = (np.subtract, np.add) if adjoint else (np.add, np.subtract)
    for k, u in enumerate(hops.reshape(-1, n, n, 4, slab)):
        here = slice(k * slab, (k + 1) * slab)
        later, earlier = (_stretches(k * slab + step, slab, n_t * edge) for step in (edge, -edge))
        for c in range(n):
            (upper, lower), (ahead_0, ahead_1, behind_0, behind_1) = old[:, c], half[c]
            for source, target in later:
                minus(upper[source], lower[source], ahead_0[target])
            for source, target in earlier:
                plus(upper[source], lower[source], behind_0[target])
            np.multiply(lower[here], 1j, turned)
            _from_space(plus, upper[here], turned, ahead_1, time_slice, ahead=True)
            _from_space(minus, upper[here], turned, behind_1, time_slice, ahead=False)
        for c, hopped in enumerate(_transported(u, half)):
            upper, lower = new[:, c, here]
            np.add(hopped[:2], hopped[2:], total)
            np.subtract(old[0, c, here], total[0], upper)
            np.subtract(upper, total[1], upper)
            np.subtract(hopped[:2], hopped[2:], total)
            np.multiply(total[1], 1j, total[1])
            plus(old[1, c, here], total[0], lower)
            plus(lower, total[1], lower)
    return out


def aligned(shape: tuple[int, ...]) -> ComplexArray:
    """An uninitialised complex array that begins at a multiple of 64 bytes, the width of a cache line and of a vector.

    Sums of arrays that begin in the middle of one, as NumPy's do, take up to twice as long.
    """
    size = math.prod(shape)
    memory = np.empty(size + 3, np.complex128)
    start = -memory.__array_interface__["data"][0] % 64 // memory.itemsize
    return memory[start : start + size].reshape(shape)


def _transported(u: ComplexArray, half: ComplexArray) -> ComplexArray:
    """``sum_b u_ab half_b`` for all hops at every site; for U(1) one product, in place."""
    if len(half) == 1:
        return np.multiply(u[0], half, half)
    out, term = aligned(half.shape), aligned(half.shape[1:])
    for row, total in zip(u, out, strict=True):
        np.multiply(row[0], half[0], total)
        for b in range(1, len(half)):
            np.multiply(row[b], half[b], term)
            np.add(total, term, total)
    return out


@lru_cache(maxsize=1024)
def _stretches(first: int, n: int, period: int) -> list[tuple[slice, slice]]:
    """Where the ``n`` numbers from ``first`` on, modulo ``period``, are among ``range(period)``, and where among themselves.

    One slice or two; ``first`` may be beyond either end.
    """
    inside = min(-first if first < 0 else period - first, n)
    parts = [(first % period, 0, inside), (0, inside, n - inside)]
    return [(slice(source, source + m), slice(target, target + m)) for source, target, m in parts if m]


def _from_space(
    combine: np.ufunc, a: ComplexArray, b: ComplexArray, out: ComplexArray, time_slice: list[int], *, ahead: bool
) -> None:
    """``combine(a, b)`` at ``x + 1`` (``ahead``) or ``x - 1``, for ``(t, x, chain)`` flattened.

    One operation moves all sites by a stretch of chains; where that is wrong, at the edge, the values are written anew.
    """
    source, target, first, last = slice(time_slice[1], None), slice(None, -time_slice[1]), 0, -1
    if not ahead:
        source, target, first, last = target, source, last, first
    combine(a[source], b[source], out[target])
    shape = (-1, *time_slice)
    combine(a.reshape(shape)[:, first], b.reshape(shape)[:, first], out.reshape(shape)[:, last])


def _rows(n_t: int, slice_size: int) -> int:
    """Time slices of a slab: the most that divide all and keep to `SLAB`."""
    return max(rows for rows in range(1, n_t + 1) if n_t % rows == 0 and (rows == 1 or rows * slice_size <= SLAB))
