"""Maps of SU(N) that commute with conjugation: spectra are moved, eigenvectors stay (Boyda 2021, arXiv:2008.05456, sec. III).

The phases ``t_1 <= ... <= t_N <= t_1 + 2 pi``, ``sum t = 0``, of ``P = V e^(it) V^dag`` lie in a simplex whose corners are the
elements of the centre. With the gaps ``g_i = t_(i+1) - t_i``, ``g_N = 2 pi - g_1 - ... - g_(N-1)``, and
``c_j = (g_1 + ... + g_j)/2 pi``,

    b_j = c_j/c_(j+1) in [0, 1], j < N,      |dc/db| = prod_j b_j^(j-1):

the map is a monotone spline with fixed ends on every axis of this box, ``b -> b'``, and ``P' = V e^(it') V^dag``. With respect to
Haar measure, by Weyl's formula,

    logdet = sum_j [log db_j'/db_j + (j-1) log(b_j'/b_j)] + 2 sum_(i<j) log r_ij,
    r_ij = sin(t_ij'/2)/sin(t_ij/2),   t_ij = t_i - t_j.

At a wall of the cell, where eigenvalues meet, all of this stays finite: a ratio of two gaps becomes a ratio of slopes. So that
it is exact beside a wall too, every axis is looked at from its nearer end: ``b`` or ``1 - b``, whichever is small, is known to
full relative precision.

Where at least three eigenvalues meet, for n = 3 at elements of the centre, the map is continuous but logdet has no limit: it
depends on the ratios of the gaps that close, which ``b`` keeps and P does not. There ``b_j = 0`` where ``c_(j+1) = 0``, gaps below
`CLOSED` being closed in both directions, so that the logdets of a map and of its inverse add up to 0 at such points too.
Near by, at gaps g, they do to ``1e-16/g``.

Derivatives never meet those of eigenvectors (Daleckii and Krein 1965): for ``P -> e^(iX) P`` the answer ``P' -> e^(iX') P'``
is, in the basis V, ``X_ij' = X_ij e^(i (t_ij' - t_ij)/2) r_ij`` off the diagonal and ``X_ii' = sum_j (dt_i'/dt_j) X_jj`` on it.
On a wall the map is continuous but has no derivative, as ``|x|`` at 0: there logdet is given the derivative 0 along what opens
the gap.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..groups.matrices import dagger, product
from ..groups.spectrum import spectrum, with_phases
from ..lattice import check_flag, check_integer
from .splines import IntervalSpline

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]
# Hermitian cotangent of P' and cotangent of logdet -> Hermitian cotangent of P, and that of raw.
Pull = Callable[[Matrices, Array], tuple[Matrices, Array]]

# Logarithmic derivatives are taken no closer to a wall: nearer by, the difference of two of them is rounding.
NEAREST = 1e-8
# Gaps below are rounding, and taken to be closed: at a corner their ratio is nothing, but must be the same on the way back.
CLOSED = 1e-13
# 8 bins, none of them empty or flat, the identity where raw is 0.
SPLINE = IntervalSpline(8, min_width=1e-3, min_height=1e-3, min_slope=1e-3, centred=True)


class Box(NamedTuple):
    """``b`` and ``1 - b``, each ``(n - 1, *sites)``."""

    low: Array
    high: Array


class Cell(NamedTuple):
    """A point of the cell: its box and gaps ``(n, *sites)``."""

    box: Box
    gaps: Array


class Move(NamedTuple):
    """From a point of the cell to another: the log slopes of the axes, the ratios ``b'/b``, and the ``r_ij`` of all pairs."""

    old: Cell
    new: Cell
    log_slopes: Array
    shrink: Array
    ratios: list[Array]


@dataclass(frozen=True)
class SpectralKernel:
    """The map, of component-first matrices ``(n, n, *sites)`` by numbers ``raw`` of shape ``(outputs, *sites)``.

    The last axis b_(n-1), the distance from the identity, is moved first. With ``conditioned`` the numbers of a later axis are
    ``raw_j + sum_(k>j) (2 b_k - 1) raw_jk``: the density of the box need not be a product.

    Parameters
    ----------
    n : colours. spline : of every axis. conditioned : see above; without meaning for n = 2.
    """

    n: int
    spline: IntervalSpline = SPLINE
    conditioned: bool = True

    def __post_init__(self) -> None:
        check_integer("n", self.n, 2)
        if not isinstance(self.spline, IntervalSpline):
            raise ValueError(f"spline: got {self.spline!r}, expected an IntervalSpline")
        check_flag("conditioned", self.conditioned)

    @property
    def outputs(self) -> int:
        """Numbers that describe the map of one matrix."""
        axes = self.n * (self.n - 1) // 2 if self.conditioned else self.n - 1
        return axes * self.spline.outputs

    def forward(self, p: Matrices, raw: Array) -> tuple[Matrices, Array]:
        """``T = P' P^dag`` and the logdet, shape ``(*sites)``."""
        phases, vectors = spectrum(p)
        move = self._move(_cell(phases), raw)
        return with_phases(vectors, _phases(move.new.gaps) - phases), _logdet(move)

    def inverse(self, p: Matrices, raw: Array) -> tuple[Matrices, Array]:
        """``T = P P'^dag`` for a given ``P'``, and the logdet of the inverse."""
        phases, vectors = spectrum(p)
        move = self._inverse_move(_cell(phases), raw)
        return with_phases(vectors, _phases(move.new.gaps) - phases), _logdet(move)

    def forward_with_pullback(self, p: Matrices, raw: Array) -> tuple[Matrices, Array, Pull]:
        """As `forward`, and the pullback.

        Cotangents of matrices are Hermitian G: ``tr(G X)`` is the change along ``P -> e^(iX) P``. Their traces mean nothing.
        """
        phases, vectors = spectrum(p)
        old = _cell(phases)
        box, log_slopes, pull_box = self._box_with_pullback(old.box, raw)
        move = _moved(old, box, log_slopes)
        new_phases = _phases(move.new.gaps)

        def pull(g: Matrices, g_logdet: Array) -> tuple[Matrices, Array]:
            inner = product(dagger(vectors), product(g, vectors))
            g_phases = np.stack([inner[i, i].real for i in range(self.n)])
            g_new = _pairs_pullback(move.new, move, g_logdet, 1) + _phases_pullback(g_phases)
            floor = np.maximum(move.old.box.low, NEAREST)
            powers = np.arange(self.n - 1).reshape(-1, *(1,) * g_logdet.ndim) * g_logdet
            g_b = _gaps_pullback(move.new, g_new) + powers / (move.shrink * floor)
            g_b, g_raw = pull_box(g_b, g_logdet)
            g_old = _box_pullback(move.old, g_b - powers / floor) + _pairs_pullback(move.old, move, g_logdet, -1)
            half = np.exp(0.5j * (new_phases - phases))
            for (i, j), ratio in zip(_pairs(self.n), move.ratios, strict=True):
                inner[i, j] *= half[j] * half[i].conj() * ratio
                np.conj(inner[i, j], out=inner[j, i, ...])
            for i, g_phase in enumerate(np.roll(g_old, 1, axis=0) - g_old):
                inner[i, i] = g_phase
            return product(product(vectors, inner), dagger(vectors)), g_raw

        return with_phases(vectors, new_phases - phases), _logdet(move), pull

    def _move(self, old: Cell, raw: Array) -> Move:
        new, log_slopes = _empty(old.box), np.empty_like(old.box.low)
        for j, numbers in self._axes(raw, old.box):
            log_slopes[j] = self._set(new, j, old.box, numbers, self.spline.forward)
        return _moved(old, new, log_slopes)

    def _inverse_move(self, old: Cell, raw: Array) -> Move:
        new, log_slopes = _empty(old.box), np.empty_like(old.box.low)
        for j, numbers in self._axes(raw, new):  # an axis is asked for when those before it are known
            log_slopes[j] = self._set(new, j, old.box, numbers, self.spline.inverse)
        return _moved(old, new, log_slopes)

    def _set(self, new: Box, j: int, old: Box, numbers: Array, spline: Any) -> Array:
        """Moves axis j, seen from its nearer end, and returns the log slope."""
        upper = old.high[j] < old.low[j]
        moved, log_slope = spline(np.where(upper, old.high[j], old.low[j]), self._seen(numbers, upper))
        _set_from(new, j, upper, moved)
        slope: Array = log_slope
        return slope

    def _axes(self, raw: Array, condition: Box) -> Iterator[tuple[int, Array]]:
        """Axes from the last to the first, and their numbers."""
        if raw.shape != (self.outputs, *condition.low.shape[1:]):
            raise ValueError(f"raw: got shape {raw.shape}, expected {(self.outputs, *condition.low.shape[1:])}")
        blocks = iter(raw.reshape(-1, self.spline.outputs, *raw.shape[1:]))
        for j in reversed(range(self.n - 1)):
            numbers = next(blocks)
            for k in self._conditions(j):
                numbers = numbers + (condition.low[k] - condition.high[k]) * next(blocks)
            yield j, numbers

    def _conditions(self, j: int) -> range:
        return range(self.n - 2, j, -1) if self.conditioned else range(0)

    @cached_property
    def _reflection(self) -> NDArray[np.intp]:
        """Numbers of the spline seen from the other end: ``1 - spline(1 - x)``."""
        bins, outputs = self.spline.bins, self.spline.outputs
        parts = (range(bins), range(bins, 2 * bins), range(2 * bins, outputs))
        return np.array([row for part in parts for row in reversed(part)])

    def _seen(self, numbers: Array, upper: NDArray[np.bool_]) -> Array:
        """The numbers as seen from the nearer end; its own inverse."""
        return np.where(upper, numbers[self._reflection], numbers)

    def _box_with_pullback(self, old: Box, raw: Array) -> tuple[Box, Array, Any]:
        """The new box, log slopes, and their pullback to ``b`` and ``raw``."""
        new, log_slopes, pulls = _empty(old), np.empty_like(old.low), []
        for j, numbers in self._axes(raw, old):
            upper = old.high[j] < old.low[j]
            u, seen = np.where(upper, old.high[j], old.low[j]), self._seen(numbers, upper)
            moved, log_slopes[j], pull = self.spline.forward_with_pullback(u, seen)
            _set_from(new, j, upper, moved)
            pulls.append((j, upper, pull))

        def pull_box(g_new: Array, g_logdet: Array) -> tuple[Array, Array]:
            g_old, g_raw = np.zeros_like(g_new), np.empty_like(raw)
            blocks = raw.reshape(-1, self.spline.outputs, *raw.shape[1:])
            g_blocks = g_raw.reshape(blocks.shape)
            at = 0
            for j, upper, pull in pulls:
                sign = np.where(upper, -1.0, 1.0)
                g_u, g_seen = pull(sign * g_new[j], g_logdet)
                g_old[j] += sign * g_u
                g_blocks[at] = self._seen(g_seen, upper)
                for i, k in enumerate(self._conditions(j), start=at + 1):
                    g_blocks[i] = (old.low[k] - old.high[k]) * g_blocks[at]
                    g_old[k] += 2 * np.add.reduce(blocks[i] * g_blocks[at], axis=0)
                at += 1 + len(self._conditions(j))
            return g_old, g_raw

        return new, log_slopes, pull_box


def _pairs(n: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(n), 2))


def _cell(phases: Array) -> Cell:
    """Gaps and box of phases in the cell; where ``c_(j+1) = 0`` any ``b_j`` will do, and 0 stays where it is."""
    gaps = np.empty_like(phases)
    np.subtract(phases[1:], phases[:-1], out=gaps[:-1])
    np.subtract(2 * np.pi, phases[-1] - phases[0], out=gaps[-1])
    gaps[gaps < CLOSED] = 0.0
    low, high = np.empty_like(gaps[:-1]), np.empty_like(gaps[:-1])
    total = gaps[0]
    for j, gap in enumerate(gaps[1:]):
        before, total = total, total + gap
        safe = np.where(total > 0, total, 1.0)
        low[j], high[j] = before / safe, np.where(total > 0, gap / safe, 1.0)
    return Cell(Box(low, high), gaps)


def _gaps(box: Box) -> Array:
    """``g_(j+1) = 2 pi c_(j+1) (1 - b_j)``, ``g_1 = 2 pi c_1``."""
    gaps = np.empty((len(box.low) + 1, *box.low.shape[1:]))
    c = np.full(box.low.shape[1:], 2 * np.pi)
    for j in reversed(range(len(box.low))):
        gaps[j + 1] = c * box.high[j]
        c = c * box.low[j]
    gaps[0] = c
    return gaps


def _phases(gaps: Array) -> Array:
    """Phases of sum 0 with these gaps."""
    phases = np.zeros_like(gaps)
    mean = np.zeros(gaps.shape[1:])
    for i in range(1, len(gaps)):
        np.add(phases[i - 1], gaps[i - 1], out=phases[i])
        mean += phases[i]
    phases -= mean / len(gaps)
    return phases


def _empty(box: Box) -> Box:
    return Box(np.empty_like(box.low), np.empty_like(box.high))


def _set_from(box: Box, j: int, upper: NDArray[np.bool_], u: Array) -> None:
    """Axis j from its distance to one of its ends."""
    box.low[j], box.high[j] = np.where(upper, 1 - u, u), np.where(upper, u, 1 - u)


def _moved(old: Cell, box: Box, log_slopes: Array) -> Move:
    """The move to a box."""
    new = Cell(box, _gaps(box))
    slopes = np.exp(log_slopes)
    shrink, rise = (_growth(*pair, slopes) for pair in zip(old.box, box, strict=True))
    growth = np.empty_like(new.gaps)
    c = np.ones(box.low.shape[1:])
    for j in reversed(range(len(shrink))):
        growth[j + 1] = c * rise[j]
        c = c * shrink[j]
    growth[0] = c
    ratios = []
    for pair in _pairs(len(new.gaps)):
        (before, _), (after, _) = _distance(old.gaps, pair), _distance(new.gaps, pair)
        # On a wall the limit: the growth of the gap; where several are zero at once, of the last of them.
        near, far = _sides(pair, len(new.gaps))
        closed = np.where(_sum(old.gaps, near) <= _sum(old.gaps, far), growth[near[-1]], growth[far[-1]])
        open_ = before > 0
        ratios.append(np.where(open_, np.sin(0.5 * after) / np.where(open_, np.sin(0.5 * before), 1.0), closed))
    return Move(old, new, log_slopes, shrink, ratios)


def _growth(old: Array, new: Array, slopes: Array) -> Array:
    """``new/old``, and its limit where both are zero."""
    return np.where(old > 0, new / np.where(old > 0, old, 1.0), slopes)


def _sides(pair: tuple[int, int], n: int) -> tuple[list[int], list[int]]:
    """The gaps from one phase of a pair to the other, and those the other way round the circle."""
    i, j = pair
    return list(range(i, j)), [*range(i), *range(j, n)]


def _sum(gaps: Array, side: list[int]) -> Array:
    total: Array = gaps[side[0]]
    for k in side[1:]:
        total = total + gaps[k]
    return total


def _distance(gaps: Array, pair: tuple[int, int]) -> tuple[Array, NDArray[np.bool_]]:
    """The distance on the circle, and where it goes the other way round."""
    near, far = (_sum(gaps, side) for side in _sides(pair, len(gaps)))
    return np.minimum(near, far), far < near


def _logdet(move: Move) -> Array:
    total = np.zeros(move.log_slopes.shape[1:])
    for j, log_slope in enumerate(move.log_slopes):
        total += log_slope
        if j:
            total += j * np.log(move.shrink[j])
    for ratio in move.ratios:
        total += 2 * np.log(ratio)
    return total


def _pairs_pullback(at: Cell, move: Move, g_logdet: Array, sign: int) -> Array:
    """Cotangent of the gaps of the new (sign 1) or old (-1) point in ``2 sign sum log sin(t_ij/2)``.

    Old distances below `NEAREST` are taken to be that, new ones to be larger by the same factor.
    """
    n = len(at.gaps)
    g_gaps = np.zeros_like(at.gaps)
    for pair, ratio in zip(_pairs(n), move.ratios, strict=True):
        distance, around = _distance(at.gaps, pair)
        before, _ = _distance(move.old.gaps, pair)
        distance = np.where(before < NEAREST, NEAREST * (ratio if sign > 0 else 1.0), distance)
        slope = sign * g_logdet / np.tan(0.5 * distance)
        for side, here in zip(_sides(pair, n), (~around, around), strict=True):
            for k in side:
                g_gaps[k] += np.where(here, slope, 0.0)
    return g_gaps


def _phases_pullback(g_phases: Array) -> Array:
    """Cotangent of the gaps, from that of the phases."""
    n = len(g_phases)
    g_gaps = np.zeros_like(g_phases)
    mean = _sum(g_phases, list(range(n))) / n
    for k in reversed(range(n - 1)):
        g_gaps[k] = g_gaps[k + 1] + (g_phases[k + 1] - mean)
    return g_gaps


def _gaps_pullback(at: Cell, g_gaps: Array) -> Array:
    """Cotangent of ``b``, from that of the gaps."""
    low, high = at.box
    c = np.full((len(low) + 1, *low.shape[1:]), 2 * np.pi)
    for j in reversed(range(len(low))):
        np.multiply(c[j + 1], low[j], out=c[j])
    g_b, g_c = np.empty_like(low), g_gaps[0]
    for j in range(len(low)):
        g_b[j] = c[j + 1] * (g_c - g_gaps[j + 1])
        g_c = g_c * low[j] + g_gaps[j + 1] * high[j]
    return g_b


def _box_pullback(at: Cell, g_b: Array) -> Array:
    """Cotangent of the gaps, from that of ``b``."""
    g_gaps, total = np.zeros_like(at.gaps), at.gaps[0]
    for j, (low, high) in enumerate(zip(*at.box, strict=True)):
        total = total + at.gaps[j + 1]
        g = g_b[j] / np.maximum(total, NEAREST)
        g_gaps[: j + 1] += high * g
        g_gaps[j + 1] -= low * g
    return g_gaps
