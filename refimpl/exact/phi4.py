"""The phi^4 theory on small periodic T x X lattices: exact answers and an exact independent sampler.

``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24 ]``; on an extent of 2 both bonds count, on an
extent of 1 there is none.

Lattices of 1, 2 and 4 sites are rings with bonds of weight ``w`` (2 on 2 x 2, 1 on 4 x 1). With ``a, b`` opposite sites of a ring
of four, the other two are independent: ``Z = int da db exp(-V(a) - V(b)) g_0(a, b)^2``,
``g_k(a, b) = int dc c^k exp(-V(c) - w (c - a)^2/2 - w (c - b)^2/2)``. Extents up to 2 have a transfer matrix: `phi4_transfer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import free_scalar
from .free_scalar import Shape
from .phi4_grids import Answers, checked, first_step, half_line, reach_of, refined
from .phi4_transfer import transfer_matrix

__all__ = ["Answers", "acceptance_bound", "answers", "free", "free_mass", "quadrature", "sample", "transfer_matrix"]

Array = NDArray[np.float64]

WIDEST = 2  # the shorter extent of lattices with exact answers where lam is not 0
LARGEST_LINE = 2000  # points of a quadrature
BATCH, BATCH_NUMBERS = 10_000, 2_000_000  # the most fields, and numbers in them, proposed at a time
PATIENCE = 1_000  # batches without a field accepted
# What lam <phi^2> counts in the mass of the free field that is accepted most, and of the closest one.
PROPOSED, CLOSEST = 1 / 6, 1 / 2


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
    end, step = reach_of(m2 / 2, lam / 24), first_step(m2, lam, couplings=2)

    def on_grid(fineness: float, stretch: float) -> Answers | None:
        n = math.ceil(fineness * stretch * end / step)
        return None if 2 * n > LARGEST_LINE else _ring(m2, lam, (n_t, n_x), half_line(stretch * end, n))

    return refined(on_grid, m2, lam)


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
    log_partition = math.log(total) + n_sites * (math.log(2 * half[0]) - float(potential.min()))
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


# --- sampler ----------------------------------------------------------------------------------------------------------
def sample(rng: np.random.Generator, n: int, m2: float, lam: float, shape: Shape) -> Array:
    """``n`` independent configurations ``(n, T, X)`` by rejection from a free field: for small lattices, or small ``lam``.

    With ``b = (M2 - m2)/2`` and ``c = lam/24`` the density is that of a free field of mass ``M2`` times
    ``exp(-sum (c phi^4 - b phi^2 + b^2/4c))``, which is at most 1 and is the probability to accept. The mean acceptance is largest
    where ``M2 = m2 + lam <phi^2>/6`` in the free field, and falls exponentially with the volume: `acceptance_bound`.
    """
    shape = checked(m2, lam, shape)
    if lam == 0:
        return free_scalar.sample(rng, n, m2, shape)
    if not free_scalar.is_integer(n) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    mass2, bound = _free_mass(m2, lam, shape, PROPOSED), acceptance_bound(m2, lam, shape)
    centre = 6 * (mass2 - m2) / lam  # where c phi^4 - b phi^2 is lowest, in phi^2
    most = max(1, min(BATCH, BATCH_NUMBERS // math.prod(shape)))
    found: list[Array] = []
    wanted, misses = n, 0
    while wanted > 0:
        x = free_scalar.sample(rng, most if wanted > most * bound else math.ceil(wanted / bound), mass2, shape)
        exponent = lam / 24 * ((x * x - centre) ** 2).sum(axis=(1, 2))
        x = x[rng.random(len(x)) < np.exp(-exponent)]
        misses = 0 if len(x) else misses + 1
        if misses == PATIENCE:
            raise ValueError(
                f"shape: got {shape}, on which no field of {most * PATIENCE} was accepted; expected a smaller one"
            )
        found.append(x[:wanted])
        wanted -= len(x)
    return np.concatenate(found)


def acceptance_bound(m2: float, lam: float, shape: Shape) -> float:
    """A probability that the mean acceptance of `sample` is not below: ``exp(-V lam <phi^2>^2/12)`` of the field it proposes.

    This is Jensen's inequality for the mean of the exponent, ``c (phi^2 - <phi^2>)^2`` at every site.
    """
    shape = checked(m2, lam, shape)
    second = free_scalar.second_moment(_free_mass(m2, lam, shape, PROPOSED), shape)
    return math.exp(-math.prod(shape) * lam * second * second / 12)


def free_mass(m2: float, lam: float, shape: Shape) -> float:
    """Mass squared of the free field that is closest: ``M2 = m2 + lam <phi^2>/2``, the Gaussian (Hartree) approximation.

    Of all free fields it has the smallest Kullback-Leibler divergence from ``exp(-S)``. A field of two wells, whose sign is
    random, has no close one.
    """
    return _free_mass(m2, lam, checked(m2, lam, shape), CLOSEST)


@lru_cache(maxsize=64)
def _free_mass(m2: float, lam: float, shape: Shape, share: float) -> float:
    """The root of ``M2 = m2 + share lam <phi^2>``, whose right side falls with M2, by bisection."""
    if lam == 0:
        return m2

    def excess(mass2: float) -> float:
        return mass2 - m2 - share * lam * free_scalar.second_moment(mass2, shape)

    low, high = 1e-6, max(1.0, m2) + lam
    while excess(high) < 0:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return high
