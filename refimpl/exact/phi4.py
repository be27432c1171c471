"""The phi^4 theory on a periodic T x X lattice: quadrature on rings of up to four sites, transfer matrix for extents up to 2.

``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24 ]``; on an extent of 2 both bonds count, on an
extent of 1 there is none. Integrals over fields are midpoint sums on the whole line, whose error falls faster than any
power of the step. Every answer is computed on two grids, the second finer and wider, and reports how far they differ.

Quadrature: lattices of 1, 2 and 4 sites are rings with bonds of weight ``w`` (2 on 2 x 2). With ``a, b`` opposite sites of a ring
of four, the other two are independent: ``Z = int da db exp(-V(a) - V(b)) g_0(a, b)^2``,
``g_k(a, b) = int dc c^k exp(-V(c) - w (c - a)^2/2 - w (c - b)^2/2)``.

Transfer matrix: slices across the longer extent are sites, or pairs of sites ``(a, b)``. For these ``u = (a + b)/sqrt 2`` and
``d = (a - b)/sqrt 2`` have the potential

``V(u, d) = m2 (u^2 + d^2)/2 + lam (u^4 + 6 u^2 d^2 + d^4)/48 + 2 d^2``,

and ``T = exp(-V/2) exp(-(u - u')^2/2 - (d - d')^2/2) exp(-V'/2)`` keeps the parities of ``u`` and of ``d``: four blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import free_scalar
from .free_scalar import Shape

Array = NDArray[np.float64]

# Grids reach to where the density has fallen by exp(-REACH). The first step is this one, or a fraction of the reach of a site.
REACH = 40.0
FIRST_STEP = 0.35
FIRST_POINTS = 16
REFINEMENT = 1.25
# Two grids agree where no answer differs by more, relative to its size.
AGREEMENT = 1e-13
LARGEST_ERROR = 1e-8  # of the finest grid that fits
# Points of the largest block of a transfer matrix (a second or two), and of the largest grid on the line.
LARGEST_BLOCK = 1600
LARGEST_LINE = 2000
# Eigenvalues, relative to (a bound of) the largest, that are dropped.
NEGLIGIBLE = 1e-17

Parities = tuple[int, int]


@dataclass(frozen=True)
class Answers:
    """Exact expectation values.

    Attributes
    ----------
    shape : extents ``(T, X)``, time first.
    log_partition : ``log int prod dphi exp(-S)``.
    two_point : ``<phi(0) phi(t, x)>``, array ``(T, X)``.
    phi_fourth : ``<phi^4>``.
    magnetisation_fourth : ``<m^4>`` of ``m = (1/V) sum phi``.
    gap : ``log(lambda_0/lambda_1)`` of the transfer matrix along the longer extent, the first odd level: what the zero-momentum
        correlator of that direction decays with at infinite length. None from a quadrature.
    error : the largest difference between the two grids, relative to the size of an answer (to 1 where gap or log Z are smaller).
    """

    shape: Shape
    log_partition: float
    two_point: Array
    phi_fourth: float
    magnetisation_fourth: float
    gap: float | None
    error: float

    @property
    def phi_squared(self) -> float:
        """``<phi^2>``."""
        return float(self.two_point[0, 0])

    @property
    def correlator(self) -> Array:
        """``C(t) = <P(t) P(0)>`` of slice means ``P(t) = (1/X) sum_x phi(t, x)`` (Bedaque 2023, eq. 15), shape ``(T,)``."""
        return self.two_point.mean(axis=1)

    @property
    def susceptibility(self) -> float:
        """``V <m^2>``."""
        return float(self.two_point.sum())

    @property
    def binder(self) -> float:
        """``1 - <m^4>/(3 <m^2>^2)``: 0 for a free field, 2/3 where the size of m is fixed."""
        return 1 - self.magnetisation_fourth / (3 * float(self.two_point.mean()) ** 2)


def answers(m2: float, lam: float, shape: Shape) -> Answers:
    """From closed forms where ``lam = 0``, else by `quadrature` on one site and by `transfer_matrix` on extents up to 2."""
    if lam == 0:
        return free(m2, shape)
    n_t, n_x = checked(m2, lam, shape)
    return quadrature(m2, lam, shape) if n_t * n_x == 1 else transfer_matrix(m2, lam, shape)


def free(m2: float, shape: Shape) -> Answers:
    """The answers at ``lam = 0``, from `refimpl.exact.free_scalar`, on any lattice."""
    two_point = free_scalar.propagator(m2, shape)
    return Answers(
        free_scalar.checked_shape(shape),
        free_scalar.log_partition(m2, shape),
        two_point,
        free_scalar.fourth_moment(m2, shape),
        3 * float(two_point.mean()) ** 2,
        free_scalar.mass(m2),
        0.0,
    )


# --- quadrature -------------------------------------------------------------------------------------------------------
def quadrature(m2: float, lam: float, shape: Shape) -> Answers:
    """Integrals over the fields of 1, 2 or 4 sites: shapes ``(1, 1)``, ``(2, 1)``, ``(4, 1)``, ``(2, 2)`` and the transposed."""
    n_t, n_x = checked(m2, lam, shape)
    if n_t * n_x not in _RINGS:
        raise ValueError(f"shape: got {shape!r}, expected 1, 2 or 4 sites")
    end = _end(m2 / 2, lam / 24)

    def on_grid(step: float, stretch: float) -> Answers | None:
        n = 2 * math.ceil(stretch * end / step)
        return None if n > LARGEST_LINE else _ring(m2, lam, (n_t, n_x), _half_line(stretch * end, n // 2))

    return _refined(on_grid, _end(m2 / 2, lam / 24))


def _ring(m2: float, lam: float, shape: Shape, half: Array) -> Answers:
    line = np.concatenate([-half[::-1], half])
    squared = line * line
    potential = m2 * squared / 2 + lam * squared * squared / 24
    density = np.exp(potential.min() - potential)
    n_sites = math.prod(shape)
    total, by_distance, phi_fourth, magnetisation_fourth = _RINGS[n_sites](line, density, 2 if shape == (2, 2) else 1)
    t, x = np.indices(shape)
    # Steps around the ring: along an axis of four sites the shorter way, on 2 x 2 one for every axis crossed.
    steps = np.minimum(t, shape[0] - t) + np.minimum(x, shape[1] - x)
    log_partition = math.log(total) + n_sites * (math.log(2 * half[0]) - potential.min())
    return Answers(
        shape, log_partition, np.array(by_distance)[steps], phi_fourth, magnetisation_fourth, gap=None, error=math.nan
    )


# Of each ring: the sum of the weights, <phi phi> by steps around the ring, <phi^4>, <m^4>.
Ring = tuple[float, list[float], float, float]


def _one_site(a: Array, density: Array, bonds: int) -> Ring:
    total = float(density.sum())
    second, fourth = (float((density * a**k).sum()) / total for k in (2, 4))
    return total, [second], fourth, fourth


def _two_sites(line: Array, density: Array, bonds: int) -> Ring:
    a, b = line[:, None], line
    weight = density[:, None] * density * np.exp(-((a - b) ** 2))  # two bonds
    total = weight.sum()
    values = (a * a, a * b, a**4, ((a + b) / 2) ** 4)
    here, there, fourth, mean_fourth = (float((weight * value).sum() / total) for value in values)
    return float(total), [here, there], fourth, mean_fourth


def _four_sites(line: Array, density: Array, bonds: int) -> Ring:
    a, b = line[:, None], line
    bond = np.exp(-bonds * (a - b) ** 2 / 2)
    g = [(bond * (line**k * density)) @ bond for k in range(5)]
    weight = density[:, None] * density
    total = (weight * g[0] ** 2).sum()
    # <(a + b + c + c')^4>, the integrals over c and c' being products of two g.
    fourth = sum(
        math.comb(4, k) * math.comb(k, j) * (a + b) ** (4 - k) * g[j] * g[k - j] for k in range(5) for j in range(k + 1)
    )
    values = (a * a * g[0] ** 2, a * g[1] * g[0], a * b * g[0] ** 2, a**4 * g[0] ** 2, fourth / 256)
    here, near, far, phi_fourth, mean_fourth = (float((weight * value).sum() / total) for value in values)
    return float(total), [here, near, far], phi_fourth, mean_fourth


_RINGS: dict[int, Callable[[Array, Array, int], Ring]] = {1: _one_site, 2: _two_sites, 4: _four_sites}


# --- transfer matrix --------------------------------------------------------------------------------------------------
def transfer_matrix(m2: float, lam: float, shape: Shape) -> Answers:
    """Traces of powers of the transfer matrix along the longer extent, the shorter being 1 or 2."""
    n_t, n_x = checked(m2, lam, shape)
    length, width = max(n_t, n_x), min(n_t, n_x)
    if width > 2:
        raise ValueError(f"shape: got {shape!r}, expected an extent of 1 or 2")
    if width == 1:
        end_u, end_d = _end(m2 / 2, lam / 24), 0.0
    else:
        end_u, end_d = _end(m2 / 2, lam / 48), _end_across(m2, lam)

    def on_grid(step: float, stretch: float) -> Answers | None:
        n_u, n_d = math.ceil(stretch * end_u / step), math.ceil(stretch * end_d / step)
        if n_u * max(n_d, 1) > LARGEST_BLOCK:
            return None
        u = _half_line(stretch * end_u, n_u)
        d = _half_line(stretch * end_d, n_d) if width == 2 else np.zeros(1)
        levels = _levels(m2, lam, u, d, width, REACH * stretch)
        along = _traces(levels, length, width)
        return along if n_t >= n_x else replace(along, shape=(n_t, n_x), two_point=along.two_point.T)

    return _refined(on_grid, _end(m2 / 2, lam / 24))


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


def _levels(m2: float, lam: float, u: Array, d: Array, width: int, reach: float) -> _Levels:
    from scipy.linalg import eigh

    y, z = u[:, None] ** 2, d**2
    if width == 1:
        potential = m2 * y / 2 + lam * y * y / 24 + 0 * z
    else:
        potential = m2 * (y + z) / 2 + lam * (y * y + 6 * y * z + z * z) / 48 + 2 * z
    potential = potential - (lowest := potential.min())
    inside = np.flatnonzero(potential <= reach)  # without the corners of the box
    root = np.exp(-potential.reshape(-1)[inside] / 2)
    values, vectors = {}, {}
    for parities in itertools.product((1, -1), (1, -1)[:width]):
        block = np.kron(_kernel(u, parities[0]), _kernel(d, parities[1]))[np.ix_(inside, inside)]
        block *= root[:, None] * root
        least = NEGLIGIBLE * np.abs(block).sum(axis=0).max()  # a bound of the largest eigenvalue
        values[parities], vectors[parities] = eigh(
            block, overwrite_a=True, check_finite=False, subset_by_value=(least, np.inf)
        )
    largest = max(v[-1] for v in values.values() if v.size)
    values = {parities: v / largest for parities, v in values.items()}
    at_u, at_d = (part.reshape(-1)[inside] for part in np.broadcast_arrays(u[:, None], d))
    return _Levels(at_u, at_d, values, vectors, math.log(largest) - lowest)


def _kernel(line: Array, parity: int) -> Array:
    """``exp(-(x - x')^2/2) dx`` on even or odd functions of the half line; 1 where there is a single point, no line."""
    if line[0] == 0:
        return np.ones((1, 1))
    kernel = np.exp(-(np.subtract.outer(line, line) ** 2) / 2) + parity * np.exp(-(np.add.outer(line, line) ** 2) / 2)
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
    fourth = _fourth_moment(levels, length) * width**2 / (length * width) ** 4
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


# --- grids ------------------------------------------------------------------------------------------------------------
def _refined(on_grid: Callable[[float, float], Answers | None], end: float) -> Answers:
    """The answers on ever finer and wider grids, until two agree or the next is too large; with their difference."""
    step, stretch = min(FIRST_STEP, end / FIRST_POINTS), 1.0
    coarse, fine = on_grid(step, stretch), None
    while coarse is not None:
        step, stretch = step / REFINEMENT, stretch + 0.05
        if (fine := on_grid(step, stretch)) is None:
            break
        fine = replace(fine, error=_difference(coarse, fine))
        if fine.error < AGREEMENT:
            return fine
        coarse = fine
    if coarse is None or not coarse.error < LARGEST_ERROR:
        raise ValueError("m2, lam: the field spreads over more points than fit, expected a narrower potential")
    return coarse


def _difference(a: Answers, b: Answers) -> float:
    differences = [
        abs(a.log_partition - b.log_partition) / max(1.0, abs(b.log_partition)),
        float(np.abs(a.two_point - b.two_point).max()) / b.phi_squared,
        abs(a.phi_fourth / b.phi_fourth - 1),
        abs(a.magnetisation_fourth / b.magnetisation_fourth - 1),
    ]
    if a.gap is not None and b.gap is not None:
        differences.append(abs(a.gap - b.gap) / max(1.0, b.gap))
    return max(differences)


def _half_line(end: float, n: int) -> Array:
    """Midpoints of n steps from 0 to ``end``."""
    return np.asarray((np.arange(n) + 0.5) * (end / n), dtype=np.float64)


def _end(quadratic: float, quartic: float) -> float:
    """Where ``quadratic x^2 + quartic x^4`` is `REACH` above its minimum."""
    if quartic == 0:
        return math.sqrt(REACH / quadratic)
    lowest = -(quadratic**2) / (4 * quartic) if quadratic < 0 else 0.0
    root = math.sqrt(quadratic**2 + 4 * quartic * (REACH - lowest))
    y = (root - quadratic) / (2 * quartic) if quadratic < 0 else 2 * (REACH - lowest) / (root + quadratic)
    return math.sqrt(y)


def _end_across(m2: float, lam: float) -> float:
    """A d beyond which ``V(u, d)`` is more than `REACH` above its minimum, at any u.

    With W the potential of a site, V = W(a) + W(b) + 2 d^2: both 2 d^2 and W(a), W(b) above their minima are bounded.
    """
    ends = [math.sqrt(REACH / 2), math.sqrt(2) * _end(m2 / 2, lam / 24)]
    if m2 >= 0:
        ends.append(_end(2 + m2 / 2, lam / 48))
    return min(ends)


def checked(m2: float, lam: float, shape: Shape) -> Shape:
    """The extents as ints; raises `ValueError` naming the argument that is wrong."""
    for name, value in (("m2", m2), ("lam", lam)):
        if not free_scalar._is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name}: got {value!r}, expected a finite number")
    if lam < 0:
        raise ValueError(f"lam: got {lam!r}, expected a number >= 0")
    if lam == 0 and m2 <= 0:
        raise ValueError(f"m2: got {m2!r} at lam = 0, expected a number > 0")
    return free_scalar.checked_shape(shape)
