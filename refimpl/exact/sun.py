"""Two-dimensional SU(2) and SU(3) on a periodic T x X lattice: exact answers and an exact independent sampler.

Density ``exp((beta/n) sum_P Re Tr P) / Z`` with Haar measure on every link; ``V = T X`` plaquettes. With the irreducible
characters ``exp((beta/n) Re Tr P) = sum_r d_r a_r chi_r(P)`` the torus has ``Z = sum_r a_r^V`` (Migdal 1975), and every
expectation below is an average over r with weights ``w_r = a_r^V / Z``.

Sums are done in decimal arithmetic of 50 digits and rounded once: determinants of Bessel functions and variances cancel.
"""

from __future__ import annotations

import decimal
import itertools
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import u1
from .u1 import Streams

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]
Shape = tuple[int, int]
# A representation as the rows of its Young diagram; the last is 0.
Rows = tuple[int, ...]

# Beyond it the sums take many seconds.
HIGHEST_BETA = 100.0
# Determinants cancel by some ten digits at that coupling.
_DIGITS = 70
_NEGLIGIBLE = Decimal(10) ** -30


def log_partition(beta: float, shape: Shape, n: int) -> float:
    """``log Z = log sum_r a_r^V``: zero at ``beta = 0``, positive otherwise, as the action is ``-(beta/n) sum_P Re Tr P``."""
    volume = _volume(beta, shape, n)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        trivial = _coefficient((0,) * n, float(beta), n)
        total = sum((w for _, w in _powers(float(beta), volume, n)), Decimal(0))
        scaled = n * Decimal(
            float(beta) / n
        )  # as in the coefficients: beta/n is rounded, and must not be cancelled by beta
        return float(volume * (scaled + trivial.ln()) + total.ln())


def plaquette(beta: float, shape: Shape, n: int) -> float:
    """``<Re Tr P>/n = sum_r w_r a_r'/a_r``."""
    volume = _volume(beta, shape, n)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(_average(float(beta), volume, n, _slope))


def single_plaquette_variance(beta: float, shape: Shape, n: int) -> float:
    """Variance of ``Re Tr P/n`` of one plaquette: ``sum_r w_r a_r''/a_r - (sum_r w_r a_r'/a_r)^2``."""
    volume = _volume(beta, shape, n)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        mean = _average(float(beta), volume, n, _slope)
        return float(_average(float(beta), volume, n, _curvature) - mean**2)


def plaquette_covariance(beta: float, shape: Shape, n: int) -> float:
    """Covariance of ``Re Tr P/n`` of two different plaquettes, the same at any distance: the variance of ``a_r'/a_r``."""
    volume = _volume(beta, shape, n)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        return float(_covariance(float(beta), volume, n))


def plaquette_variance(beta: float, shape: Shape, n: int) -> float:
    """Variance, over configurations, of the mean plaquette ``sum_P Re Tr P/(n V)``; equals ``(1/V) d<Re Tr P/n>/d beta``."""
    volume = _volume(beta, shape, n)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        mean = _average(float(beta), volume, n, _slope)
        single = _average(float(beta), volume, n, _curvature) - mean**2
        return float((single + (volume - 1) * _covariance(float(beta), volume, n)) / volume)


def wilson_loop(beta: float, shape: Shape, area: int, n: int) -> float:
    """``<Re Tr W>/n`` of a contractible loop around ``area`` plaquettes.

    ``(1/nZ) sum_r a_r^(V-A) / d_r sum_s d_s a_s^A`` over the s in ``r x fundamental``: the torus with a hole carries
    ``sum_r a_r^(V-A) chi_r(W)/d_r``, the disc ``sum_s d_s a_s^A chi_s(W)`` (Migdal 1975).
    """
    volume = _volume(beta, shape, n)
    if not u1._is_integer(area) or not 0 <= area <= volume:
        raise ValueError(f"area: got {area!r}, expected an integer from 0 to the volume {volume}")
    beta = float(beta)
    with decimal.localcontext(u1._context(u1._DIGITS)):
        powers = _powers(beta, volume, n)
        # A term is at most max(a_r, a_s)^V: one of the two is among those that matter.
        outside = {r for s, _ in powers for r in (s, *_removed(s))}
        total = Decimal(0)
        for r in sorted(outside):
            disc = sum((dimension(s) * u1._power(_ratio(s, beta, n), area) for s in _added(r)), Decimal(0))
            total += u1._power(_ratio(r, beta, n), volume - area) * disc / dimension(r)
        return float(total / n / sum((power for _, power in powers), Decimal(0)))


def dimension(r: Rows) -> int:
    """Dimension of a representation, by Weyl's formula: ``prod_(i<j) (l_i - l_j + j - i)/(j - i)``."""
    pairs = [(i, j) for j in range(len(r)) for i in range(j)]
    return math.prod(r[i] - r[j] + j - i for i, j in pairs) // math.prod(j - i for i, j in pairs)


def _volume(beta: float, shape: Shape, n: int) -> int:
    """The number of plaquettes; raises `ValueError` for a coupling, shape or group that is not covered."""
    if n not in (2, 3):
        raise ValueError(f"n: got {n!r}, expected 2 or 3")
    if isinstance(beta, int | float) and HIGHEST_BETA < beta < math.inf:
        raise ValueError(f"beta: got {beta!r}, expected at most {HIGHEST_BETA:g}: the number of terms grows with it")
    return u1._volume(beta, shape)


@lru_cache(maxsize=100_000)
def _coefficient(r: Rows, beta: float, n: int) -> Decimal:
    """``exp(-beta) d_r a_r = exp(-beta) sum_(q in Z) det I_(l_i - i + j + q)(beta/n)``, the coefficient of ``chi_r``."""
    a = u1._bessel(beta / n, _DIGITS)

    def bessel(k: int) -> Decimal:
        return a[abs(k)] if abs(k) < len(a) else Decimal(0)

    with decimal.localcontext(u1._context(_DIGITS)):
        # Beyond, all n factors of a term are so small that it is nothing.
        reach = n + next((k for k, value in enumerate(a) if value**n < Decimal(10) ** -_DIGITS), len(a))
        shifts = range(-reach - r[0], reach + 1)
        rows = [[bessel(r[i] - i + k) for k in range(shifts[0], shifts[-1] + n)] for i in range(n)]
        return sum((_determinant([row[k : k + n] for row in rows]) for k in range(len(shifts))), Decimal(0))


def _determinant(m: list[list[Decimal]]) -> Decimal:
    if len(m) == 2:
        return m[0][0] * m[1][1] - m[0][1] * m[1][0]
    return sum(
        ((-1) ** j * m[0][j] * _determinant([row[:j] + row[j + 1 :] for row in m[1:]]) for j in range(len(m))),
        Decimal(0),
    )


def _ratio(r: Rows, beta: float, n: int) -> Decimal:
    """``a_r/a_0``."""
    return _coefficient(r, beta, n) / dimension(r) / _coefficient((0,) * n, beta, n)


@lru_cache(maxsize=64)
def _powers(beta: float, volume: int, n: int) -> list[tuple[Rows, Decimal]]:
    """The representations that matter, with ``(a_r/a_0)^V``: by the length of the first row, until a length adds nothing.

    Nothing to what the fundamental one adds, that is: a covariance is all of that size.
    """
    found: list[tuple[Rows, Decimal]] = []
    least = _NEGLIGIBLE * _ratio((1,) + (0,) * (n - 1), beta, n) ** volume
    for length in itertools.count():
        middles = [()] if n == 2 else [(k,) for k in range(length + 1)]
        new = [(r, _ratio(r, beta, n) ** volume) for r in ((length, *middle, 0) for middle in middles)]
        found += [(r, power) for r, power in new if power > 0]
        if max(power for _, power in new) <= least:
            break
    return found


def _average(beta: float, volume: int, n: int, value: Callable[[Rows, float, int], Decimal]) -> Decimal:
    """``sum_r w_r value(r)``."""
    powers = _powers(beta, volume, n)
    total = sum((power * value(r, beta, n) for r, power in powers), Decimal(0))
    return total / sum((power for _, power in powers), Decimal(0))


def _covariance(beta: float, volume: int, n: int) -> Decimal:
    centre = _slope(
        (0,) * n, beta, n
    )  # the mean differs from it by little, and by nothing where other weights are tiny
    mean = _average(beta, volume, n, lambda r, b, n: _slope(r, b, n) - centre)
    return _average(beta, volume, n, lambda r, b, n: (_slope(r, b, n) - centre) ** 2) - mean**2


def _added(r: Rows) -> list[Rows]:
    """The representations in ``r x fundamental``: a box more in a row; a full column is dropped."""
    larger = [(*r[:i], r[i] + 1, *r[i + 1 :]) for i in range(len(r)) if i == 0 or r[i] < r[i - 1]]
    return [tuple(row - s[-1] for row in s) for s in larger]


def _removed(r: Rows) -> list[Rows]:
    """The representations in ``r x antifundamental``: a box less in a row, where need be after adding a column."""
    smaller = [(*r[:i], r[i] - 1, *r[i + 1 :]) for i in range(len(r)) if i == len(r) - 1 or r[i] > r[i + 1]]
    return [tuple(row - s[-1] for row in s) for s in smaller]


def _neighbours(r: Rows) -> list[Rows]:
    """``chi_r Re Tr P/n`` is the sum of the characters of these over 2n."""
    return _added(r) + _removed(r)


def _slope(r: Rows, beta: float, n: int) -> Decimal:
    """``a_r'/a_r``: the derivative of ``exp((beta/n) Re Tr P)`` is itself times ``Re Tr P/n``, which couples neighbours."""
    return sum((_coefficient(s, beta, n) for s in _neighbours(r)), Decimal(0)) / (2 * n) / _coefficient(r, beta, n)


def _curvature(r: Rows, beta: float, n: int) -> Decimal:
    """``a_r''/a_r``."""
    total = sum((_coefficient(t, beta, n) for s in _neighbours(r) for t in _neighbours(s)), Decimal(0))
    return total / (2 * n) ** 2 / _coefficient(r, beta, n)


def sample(rng: Streams, count: int, beta: float, shape: Shape, n: int) -> Matrices:
    """``count`` independent configurations of links, exactly distributed, complex128 of shape ``(count, 2, T, X, n, n)``.

    ``rng`` is one Generator, or one for each configuration, which then depends on it alone.

    In a gauge with ``U_1 = 1`` but in the last column and ``U_0 = 1`` in the first column but for the first link, the links follow
    from the two holonomies and the plaquettes, whose product, row by row from the last, is the commutator of the holonomies:
    ``R_(T-1) ... R_1 (h_0^dag R_0 h_0) = h_1 h_0^dag h_1^dag h_0`` with ``R_i = P(i, 0) ... P(i, X-1)``. The holonomies are Haar
    but for the density that this product has. A gauge transformation by Haar elements ends it.

    The last pair of plaquettes takes about ``exp(beta)/a_0`` draws, a_0 being the first coefficient of the expansion: 20 for SU(2),
    117 for SU(3) at beta = 6. Raises `ValueError` where it would be more than 10000.
    """
    volume = _volume(beta, shape, n)
    if not u1._is_integer(count) or count < 1:
        raise ValueError(f"count: got {count!r}, expected an integer >= 1")
    if not isinstance(rng, np.random.Generator) and len(rng) != count:
        raise ValueError(f"rng: got {len(rng)} generators, expected one per configuration ({count})")
    beta = float(beta)
    draws = 1 / float(_coefficient((0,) * n, beta, n))
    if draws > 1e4:
        raise ValueError(
            f"beta: got {beta:g}, where a pair of plaquettes takes {draws:.1g} draws, expected at most 1e4"
        )
    n_t, n_x = shape
    h_0, h_1 = _holonomies(rng, count, beta, n, volume)
    commutator = h_1 @ _dagger(h_0) @ _dagger(h_1) @ h_0
    p = _plaquettes_of_product(rng, commutator, beta, n, volume).reshape(count, n_t, n_x, n, n)[:, ::-1]
    p[:, 0] = h_0[:, None] @ p[:, 0] @ _dagger(h_0)[:, None]
    links = np.broadcast_to(np.eye(n, dtype=np.complex128), (count, 2, n_t, n_x, n, n)).copy()
    u_0, u_1 = links[:, 0], links[:, 1]
    u_0[:, 0, 0], u_1[:, 0, -1] = h_0, h_1
    # P = U_0(i, j) U_1(i + 1, j) U_0(i, j + 1)^dag U_1(i, j)^dag, solved for one link after the other.
    for j in range(n_x - 1):
        u_0[:, :, j + 1] = _dagger(p[:, :, j]) @ u_0[:, :, j]
    for i in range(n_t - 1):
        u_1[:, i + 1, -1] = _dagger(u_0[:, i, -1]) @ p[:, i, -1] @ u_1[:, i, -1] @ u_0[:, i, 0]
    turn = _haar_columns(rng, np.repeat(np.arange(count), volume), n, special=True).reshape(count, n_t, n_x, n, n)
    return np.stack([turn @ links[:, mu] @ _dagger(np.roll(turn, -1, 1 + mu)) for mu in (0, 1)], axis=1)


def _holonomies(rng: Streams, count: int, beta: float, n: int, volume: int) -> Matrices:
    """Pairs ``(2, count, n, n)``, Haar times the density of their commutator as a product of all plaquettes."""
    out = np.empty((2, count, n, n), np.complex128)
    todo = np.arange(count)
    while todo.size:
        h = _haar_columns(rng, np.repeat(todo, 2), n, special=True).reshape(-1, 2, n, n).swapaxes(0, 1)
        commutator = h[1] @ _dagger(h[0]) @ _dagger(h[1]) @ h[0]
        accept = _random(rng, todo, 1)[:, 0] < _product_density(commutator, beta, n, volume)
        out[:, todo[accept]] = h[:, accept]
        todo = todo[~accept]
    return out


def _plaquettes_of_product(rng: Streams, product: Matrices, beta: float, n: int, volume: int) -> Matrices:
    """Matrices of the plaquette density conditioned on their ordered ``product`` ``(count, n, n)``; ``(count, volume, n, n)``.

    A halving tree: of ``m`` matrices left draw half freely, and accept with the density that what is then required of the rest has
    as a product of so many, over its largest value, at 1. Only what is rejected is drawn again.
    """
    matrices = np.empty((len(product), volume, n, n), np.complex128)
    required = product.copy()
    filled = 0
    while (left := volume - filled) > 1:
        m = left // 2
        todo = np.arange(len(product))
        while todo.size:
            draw = _plaquettes(rng, np.repeat(todo, m), beta, n).reshape(todo.size, m, n, n)
            rest = required[todo]
            for k in range(m):
                rest = _dagger(draw[:, k]) @ rest
            accept = _random(rng, todo, 1)[:, 0] < _product_density(rest, beta, n, left - m)
            matrices[todo[accept], filled : filled + m] = draw[accept]
            required[todo[accept]] = rest[accept]
            todo = todo[~accept]
        filled += m
    matrices[:, -1] = required
    return matrices


def _product_density(u: Matrices, beta: float, n: int, m: int) -> Array:
    """``g_m(u)/g_m(1)``, ``g_m = sum_r d_r (a_r/a_0)^m chi_r``: the density of a product of m plaquette matrices.

    Characters by Jacobi-Trudi from the complete symmetric polynomials of the eigenvalues,
    ``h_k = t h_(k-1) - t^* h_(k-2) + h_(k-3)`` (SU(2): ``t h_(k-1) - h_(k-2)``), ``t`` the trace.
    """
    t = np.einsum("cii->c", u)
    if m == 1:
        return np.asarray(np.exp(beta / n * (t.real - n)))
    terms = _product_terms(beta, n, m)
    h = [np.zeros_like(t), np.zeros_like(t), np.ones_like(t)]  # h_(-2), h_(-1), h_0
    for _ in range(max(r[0] for r, _ in terms) + 1):
        h.append(t * h[-1] - h[-2] if n == 2 else t * h[-1] - t.conj() * h[-2] + h[-3])
    total = np.zeros(len(u))
    for r, weight in terms:
        character = h[r[0] + 2] if n == 2 else h[r[0] + 2] * h[r[1] + 2] - h[r[0] + 3] * h[r[1] + 1]
        total += weight * character.real
    return np.asarray(total / sum(weight * dimension(r) for r, weight in terms))


@lru_cache(maxsize=64)
def _product_terms(beta: float, n: int, m: int) -> list[tuple[Rows, float]]:
    """The representations with ``d_r (a_r/a_0)^m`` that can be seen in `_product_density`."""
    with decimal.localcontext(u1._context(u1._DIGITS)):
        terms = [(r, float(power) * dimension(r)) for r, power in _powers(beta, m, n)]
    return [(r, weight) for r, weight in terms if weight * dimension(r) > 1e-18]


def sample_plaquettes(rng: np.random.Generator, count: int, beta: float, n: int) -> Matrices:
    """``count`` independent matrices of density ``exp((beta/n) Re Tr P)`` to Haar measure, shape ``(count, n, n)``.

    Haar eigenvectors, and eigenphases of density ``exp((beta/n) sum cos) prod |e^(i theta_i) - e^(i theta_j)|^2`` (Weyl) by
    rejection from a bound that is constant on the cells of a grid.
    """
    _volume(beta, (2, 2), n)  # checks coupling and group
    return _plaquettes(rng, np.zeros(count, np.intp), beta, n)


def _plaquettes(rng: Streams, owners: NDArray[np.intp], beta: float, n: int) -> Matrices:
    """A matrix of that density for each of the ``owners``: configurations, in order, whose stream it is drawn from."""
    cumulative, bound, cells = _envelope(beta, n)
    width = 2 * np.pi / cells
    phases = np.empty((len(owners), n))
    todo = np.arange(len(owners))
    while todo.size:
        numbers = _random(rng, owners[todo], n + 1)
        cell = np.searchsorted(cumulative, numbers[:, 0] * cumulative[-1], side="right")
        cell = np.minimum(cell, len(cumulative) - 1)
        corner = np.stack(np.unravel_index(cell, (cells,) * (n - 1)), axis=-1)
        free = (corner + numbers[:, 1:n]) * width - np.pi
        theta = np.concatenate([free, -free.sum(axis=1, keepdims=True)], axis=1)
        accept = numbers[:, n] * bound[cell] < _weyl(theta, beta)
        phases[todo[accept]] = theta[accept]
        todo = todo[~accept]
    vectors = _haar_columns(rng, owners, n)
    return (vectors * np.exp(1j * phases)[:, None, :]) @ _dagger(vectors)


def _weyl(theta: Array, beta: float) -> Array:
    """``exp((beta/n) sum (cos theta_i - 1)) prod_(i<j) 4 sin^2((theta_i - theta_j)/2)``."""
    n = theta.shape[-1]
    density = np.exp(beta / n * (np.cos(theta) - 1).sum(axis=-1))
    for i, j in _pairs(n):
        density = density * 4 * np.sin((theta[..., i] - theta[..., j]) / 2) ** 2
    return density


@lru_cache(maxsize=8)
def _envelope(beta: float, n: int) -> tuple[Array, Array, int]:
    """Cumulated bounds of `_weyl` over the cells of the first n - 1 phases, the bounds, and the cells per phase.

    Each cosine and sine is replaced by its largest value over the interval that its argument has in the cell.
    """
    cells = 2048 if n == 2 else 512
    half = np.pi / cells
    centre = (np.arange(cells) + 0.5) * 2 * half - np.pi
    free = np.stack(np.meshgrid(*[centre] * (n - 1), indexing="ij"), axis=-1).reshape(-1, n - 1)
    theta = np.concatenate([free, -free.sum(axis=1, keepdims=True)], axis=1)
    log_bound = np.zeros(len(theta))
    for i in range(n):
        radius = half if i < n - 1 else (n - 1) * half
        distance = np.abs(u1._wrapped(theta[:, i]))
        log_bound += beta / n * (np.cos(np.maximum(distance - radius, 0)) - 1)
    bound = np.exp(log_bound)
    for i, j in _pairs(n):
        radius = 2 * half if j < n - 1 else n * half
        distance = np.abs(u1._wrapped(theta[:, i] - theta[:, j]))
        bound *= 4 * np.sin(np.minimum(distance + radius, np.pi) / 2) ** 2
    bound *= 1 + 1e-12  # rounding
    return np.cumsum(bound), bound, cells


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(n) for i in range(j)]


def _haar_columns(rng: Streams, owners: NDArray[np.intp], n: int, special: bool = False) -> Matrices:
    """Haar unitary matrices but for the phases of their columns, as many as owners; with ``special`` Haar SU(n) matrices."""
    z = _normal(rng, owners, 2 * n * n).view(np.complex128).reshape(-1, n, n)
    q, r = np.linalg.qr(z)
    if special:
        diagonal = np.einsum("cii->ci", r)
        q = q * (diagonal / np.abs(diagonal))[:, None, :]
        q = q * np.exp(-1j / n * np.angle(np.linalg.det(q)))[:, None, None]
    return np.asarray(q)


def _dagger(u: Matrices) -> Matrices:
    return u.conj().swapaxes(-2, -1)


def _random(rng: Streams, owners: NDArray[np.intp], size: int) -> Array:
    """Uniform numbers ``(owner, size)``, each row from the stream of its owner; owners of several rows are in succession."""
    if isinstance(rng, np.random.Generator):
        return rng.random((len(owners), size))
    return np.concatenate([rng[k].random((rows, size)) for k, rows in _counted(owners)])


def _normal(rng: Streams, owners: NDArray[np.intp], size: int) -> Array:
    """As `_random`, standard normal ones."""
    if isinstance(rng, np.random.Generator):
        return rng.standard_normal((len(owners), size))
    return np.concatenate([rng[k].standard_normal((rows, size)) for k, rows in _counted(owners)])


def _counted(owners: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Each owner with the number of its rows."""
    different, rows = np.unique(owners, return_counts=True)
    return zip(different.tolist(), rows.tolist(), strict=True)
