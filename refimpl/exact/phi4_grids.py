"""What quadratures of the phi^4 theory share: the answers, and grids that are refined until two agree.

Integrals over fields are midpoint sums on the whole line, whose error falls faster than any power of the step. Every answer is
computed on two grids, the second finer and wider, and reports how far they differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import free_scalar
from .free_scalar import Shape

Array = NDArray[np.float64]

# Grids reach to where the density has fallen by exp(-REACH). A normal density exp(-c x^2) is summed to exp(-pi^2/(c h^2)) by steps
# of h, so that a first step of 0.5/sqrt(c) is good for exp(-39); a quartic one has to have so many points to either side.
REACH = 40.0
FIRST_STEP = 0.5
FIRST_POINTS = 16
REFINEMENT = 1.25
STRETCH = 0.05
# Two grids agree where no answer differs by more, relative to its size.
AGREEMENT = 1e-13
LARGEST_ERROR = 1e-8  # of the finest grid that fits
# Of couplings where lam is not 0: beyond, neighbours hardly see each other (<phi^2> is 1/m2, and the odd levels of a transfer
# matrix are that small), and 1e-100 has squares and fourth powers in float64.
LARGEST_COUPLING, SMALLEST_COUPLING = 1e10, 1e-100


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


def refined(on_grid: Callable[[float, float], Answers | None], m2: float, lam: float) -> Answers:
    """The answers on ever finer and wider grids, until two agree or the next is too large; with their difference.

    ``on_grid(fineness, stretch)`` has steps smaller and ends larger by these factors than the first grid.
    """
    fineness, stretch = 1.0, 1.0
    coarse, fine = on_grid(fineness, stretch), None
    while coarse is not None:
        fineness, stretch = fineness * REFINEMENT, stretch + STRETCH
        if (fine := on_grid(fineness, stretch)) is None:
            break
        fine = replace(fine, error=difference(coarse, fine))
        if fine.error < AGREEMENT:
            return fine
        coarse = fine
    if coarse is None or not coarse.error < LARGEST_ERROR:
        raise ValueError(
            f"m2, lam: got {m2!r}, {lam!r}, where the field spreads over more points than fit; expected a narrower potential"
        )
    return coarse


def difference(a: Answers, b: Answers) -> float:
    differences = [
        abs(a.log_partition - b.log_partition) / max(1.0, abs(b.log_partition)),
        float(np.abs(a.two_point - b.two_point).max()) / b.phi_squared,
        abs(a.phi_fourth / b.phi_fourth - 1),
        abs(a.magnetisation_fourth / b.magnetisation_fourth - 1),
    ]
    if a.gap is not None and b.gap is not None:
        differences.append(abs(a.gap - b.gap) / max(1.0, b.gap))
    return max(differences)


def half_line(end: float, n: int) -> Array:
    """Midpoints of n steps from 0 to ``end``."""
    return np.asarray((np.arange(n) + 0.5) * (end / n), dtype=np.float64)


def first_step(m2: float, lam: float, couplings: float) -> float:
    """The step of the first grid: of a site on which ``exp(-couplings x^2)`` acts besides its own potential."""
    curvature = m2 / 2 if m2 > 0 else -m2  # the latter at the bottom of a double well
    return min(FIRST_STEP / math.sqrt(couplings + curvature), reach_of(m2 / 2, lam / 24) / FIRST_POINTS)


def reach_of(quadratic: float, quartic: float) -> float:
    """Where ``quadratic x^2 + quartic x^4`` is `REACH` above its minimum."""
    if quartic == 0:
        return math.sqrt(REACH / quadratic)
    lowest = -(quadratic**2) / (4 * quartic) if quadratic < 0 else 0.0
    root = math.sqrt(quadratic**2 + 4 * quartic * (REACH - lowest))
    y = (root - quadratic) / (2 * quartic) if quadratic < 0 else 2 * (REACH - lowest) / (root + quadratic)
    return math.sqrt(y)


def checked(m2: float, lam: float, shape: Shape) -> Shape:
    """The extents as ints; raises `ValueError` naming the argument that is wrong."""
    for name, value in (("m2", m2), ("lam", lam)):
        if not free_scalar.is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name}: got {value!r}, expected a finite number")
    if lam < 0:
        raise ValueError(f"lam: got {lam!r}, expected a number >= 0")
    if lam == 0:
        if m2 <= 0:
            raise ValueError(f"m2: got {m2!r} at lam = 0, expected a number > 0")
        return free_scalar.checked(m2, shape)
    if not SMALLEST_COUPLING <= lam <= LARGEST_COUPLING:
        raise ValueError(f"lam: got {lam!r}, expected 0 or a number from {SMALLEST_COUPLING:g} to {LARGEST_COUPLING:g}")
    if abs(m2) > LARGEST_COUPLING:
        raise ValueError(f"m2: got {m2!r}, expected a number from {-LARGEST_COUPLING:g} to {LARGEST_COUPLING:g}")
    return free_scalar.checked_shape(shape)
