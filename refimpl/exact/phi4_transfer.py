"""The phi^4 theory on L x 1 and L x 2 lattices by transfer matrix.

Slices across the longer extent are sites, or pairs of sites ``(a, b)``. For these ``u = (a + b)/sqrt 2`` and ``d = (a - b)/sqrt 2``
have the potential

``V(u, d) = m2 (u^2 + d^2)/2 + lam (u^4 + 6 u^2 d^2 + d^4)/48 + 2 d^2``,

and ``T = exp(-V/2) exp(-(u - u')^2/2 - (d - d')^2/2) exp(-V'/2)`` keeps the parities of ``u`` and of ``d``: four blocks.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .free_scalar import Shape
from .phi4_grids import REACH, Answers, checked, first_step, half_line, reach_of, refined

Array = NDArray[np.float64]
Parities = tuple[int, int]

LARGEST_BLOCK = 1600  # points of a block: some seconds
LARGEST_GRID = 10_000_000  # points of the quadrant that the blocks are chosen from
LONGEST = 20_000  # extent: a distance takes 0.6 ms
NEGLIGIBLE = 1e-17  # eigenvalues, relative to (a bound of) the largest, that are dropped


def transfer_matrix(m2: float, lam: float, shape: Shape) -> Answers:
    """Traces of powers of the transfer matrix along the longer extent, the shorter being 1 or 2."""
    n_t, n_x = checked(m2, lam, shape)
    length, width = max(n_t, n_x), min(n_t, n_x)
    if width > 2:
        raise ValueError(f"shape: got {shape!r}, expected an extent of 1 or 2")
    if length > LONGEST:
        raise ValueError(f"shape: got {shape!r}, expected extents of at most {LONGEST} at lam = {lam:g}")
    # Of every slice, two Gaussians exp(-(u - u')^2/2) of its neighbours, and the bonds exp(-2 d^2) inside.
    ends = [reach_of(m2 / 2, lam / (24 * width)), _reach_across(m2, lam)][:width]
    steps = [first_step(m2, lam, couplings) for couplings in (1, 3)]

    def on_grid(fineness: float, stretch: float) -> Answers | None:
        wide = [stretch * end for end in ends]
        points = [math.ceil(fineness * end / step) for end, step in zip(wide, steps, strict=False)]
        if math.prod(points) > LARGEST_GRID:
            return None
        lines = [half_line(end, n) for end, n in zip(wide, points, strict=True)]
        u, d = (lines[0], np.zeros(1)) if width == 1 else lines
        potential = _potential(m2, lam, u, d, width)
        # Neither the corners of the box nor a barrier.
        inside = np.flatnonzero(potential <= potential.min() + REACH * stretch)
        if inside.size > LARGEST_BLOCK:
            return None
        along = _traces(_levels(potential, u, d, inside), length, width)
        return along if n_t >= n_x else replace(along, shape=(n_t, n_x), two_point=along.two_point.T)

    return refined(on_grid, m2, lam)


def _potential(m2: float, lam: float, u: Array, d: Array, width: int) -> Array:
    y, z = u[:, None] ** 2, d**2
    if width == 1:
        return m2 * y / 2 + lam * y * y / 24
    return m2 * (y + z) / 2 + lam * (y * y + 6 * y * z + z * z) / 48 + 2 * z


@dataclass(frozen=True)
class _Levels:
    """Eigenvalues over the largest and eigenvectors, by parities of u and d, on the points ``u, d`` of the quadrant."""

    u: Array
    d: Array
    values: dict[Parities, Array]
    vectors: dict[Parities, Array]
    log_largest: float

    def element(self, field: Array, bra: Parities, ket: Parities) -> Array:
        """``<i| field |j>`` of a function of u and d whose parities are those of bra times ket."""
        return self.vectors[bra].T @ (field[:, None] * self.vectors[ket])


def _levels(potential: Array, u: Array, d: Array, inside: NDArray[np.int64]) -> _Levels:
    """The levels of the transfer matrix on the points ``inside``, by their number in the array ``potential (u, d)``."""
    from scipy.linalg import eigh

    lowest = float(potential.min())
    root = np.exp((lowest - potential.reshape(-1)[inside]) / 2)
    at_u, at_d = np.unravel_index(inside, potential.shape)
    (of_u, back_u), (of_d, back_d) = (np.unique(at, return_inverse=True) for at in (at_u, at_d))
    values, vectors = {}, {}
    for parities in itertools.product((1, -1), (1, -1) if len(d) > 1 else (1,)):
        block = _kernel(u, parities[0], of_u)[np.ix_(back_u, back_u)]
        block *= _kernel(d, parities[1], of_d)[np.ix_(back_d, back_d)]
        block *= root[:, None] * root
        least = NEGLIGIBLE * np.abs(block).sum(axis=0).max()  # a bound of the largest eigenvalue
        values[parities], vectors[parities] = eigh(
            block, overwrite_a=True, check_finite=False, subset_by_value=(least, np.inf)
        )
    largest = max(v[-1] for v in values.values() if v.size)
    values = {parities: v / largest for parities, v in values.items()}
    return _Levels(u[at_u], d[at_d], values, vectors, math.log(largest) - lowest)


def _kernel(line: Array, parity: int, some: NDArray[np.int64]) -> Array:
    """``exp(-(x - x')^2/2) dx`` on even or odd functions, at some points of the half line; 1 where one point is no line."""
    if line[0] == 0:
        return np.ones((1, 1))
    x = line[some]
    kernel = np.exp(-(np.subtract.outer(x, x) ** 2) / 2) + parity * np.exp(-(np.add.outer(x, x) ** 2) / 2)
    return 2 * line[0] * kernel


def _traces(levels: _Levels, length: int, width: int) -> Answers:
    u, d = levels.u, levels.d
    weights = {key: v**length for key, v in levels.values.items()}
    total = sum(w.sum() for w in weights.values())

    def mean(field: Array) -> float:
        return sum(float(field @ levels.vectors[key] ** 2 @ weights[key]) for key in weights) / float(total)

    def correlation(field: Array, flips: Parities) -> Array:
        """``<field(0) field(s)>``, s = 0, ..., length - 1, of a field that flips these parities."""
        result = np.zeros(length)
        result[0] = mean(field * field)
        for bra in weights:
            ket = (bra[0] * flips[0], bra[1] * flips[1])
            square = levels.element(field, bra, ket) ** 2
            for s in range(1, length):
                result[s] += levels.values[bra] ** (length - s) @ square @ levels.values[ket] ** s / total
        return result

    even, odd = levels.values[1, 1], levels.values[-1, 1]
    if width == 1:
        two_point, phi_fourth = correlation(u, (-1, 1))[:, None], mean(u**4)
    else:
        sums, differences = correlation(u, (-1, 1)), correlation(d, (1, -1))
        two_point = np.stack([sums + differences, sums - differences], axis=1) / 2
        phi_fourth = mean(u**4 + 6 * u * u * d * d + d**4) / 4
    fourth = float(_fourth_moment(levels, length)) * width**2 / (length * width) ** 4
    log_partition = length * levels.log_largest + math.log(total)
    gap = math.log(even[-1] / odd[-1])
    return Answers((length, width), log_partition, two_point, phi_fourth, fourth, gap, math.nan)


def _fourth_moment(levels: _Levels, length: int) -> float:
    """``<(sum_s u(s))^4>``: 4! times the fourth order in h of ``tr (T exp(h u))^length``, by powers of polynomials in h."""
    total, fourth = 0.0, 0.0
    for parity in {key[1] for key in levels.values}:
        keys = [(1, parity), (-1, parity)]
        values = np.concatenate([levels.values[key] for key in keys])
        size, orders = len(levels.values[keys[0]]), []
        for k in range(5):
            element = np.zeros((len(values), len(values)))
            for i, j in itertools.product((0, 1), repeat=2):
                if (i + j + k) % 2 == 0:
                    rows, columns = (slice(size) if m == 0 else slice(size, None) for m in (i, j))
                    element[rows, columns] = levels.element(levels.u**k, keys[i], keys[j])
            orders.append(values[:, None] * element / math.factorial(k))
        power = _polynomial_power(orders, length)
        total += np.trace(power[0])
        fourth += 24 * np.trace(power[4])
    return fourth / total


def _polynomial_power(orders: list[Array], n: int) -> list[Array]:
    """The n-th power of ``sum_k h^k orders[k]`` up to the given order, by squaring."""
    if n == 1:
        return orders
    half = _polynomial_power(orders, n // 2)
    squared = _polynomial_product(half, half)
    return _polynomial_product(squared, orders) if n % 2 else squared


def _polynomial_product(a: list[Array], b: list[Array]) -> list[Array]:
    return [np.sum([a[j] @ b[k - j] for j in range(k + 1)], axis=0) for k in range(len(a))]


def _reach_across(m2: float, lam: float) -> float:
    """A d beyond which ``V(u, d)`` is more than `REACH` above its minimum, at any u.

    With W the potential of a site, V = W(a) + W(b) + 2 d^2: both 2 d^2 and W(a), W(b) above their minima are bounded.
    """
    ends = [math.sqrt(REACH / 2), math.sqrt(2) * reach_of(m2 / 2, lam / 24)]
    if m2 >= 0:
        ends.append(reach_of(2 + m2 / 2, lam / 48))
    return min(ends)
