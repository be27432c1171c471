"""Monotone rational-quadratic splines, elementwise: of the circle to itself, and of [0, 1] with fixed ends.

With K bins of widths ``w_k`` and heights ``h_k`` from knots ``(x_k, y_k)`` and slopes ``d_k`` at the knots, in bin k (Durkan
2019, arXiv:1906.04032, eqs. 4, 5; Rezende 2020, arXiv:2002.02428, on the circle)

    xi = (x - x_k)/w_k,   s = h_k/w_k,   u = xi (1 - xi),   D = s + (d_(k+1) + d_k - 2 s) u,
    y  = y_k + h_k [s xi^2 + d_k u]/D,   y' = s^2 [d_(k+1) xi^2 + 2 s u + d_k (1 - xi)^2]/D^2.

The inverse is the root ``xi = 2 c/(-b - sqrt(b^2 - 4 a c))`` for ``e = y - y_k``, ``q = d_(k+1) + d_k - 2 s``,
``a = h_k (s - d_k) + e q``, ``b = h_k d_k - e q``, ``c = -s e``.

A spline is the configuration; its numbers are ``raw`` of shape ``(outputs, ...)`` for ``x`` of shape ``(...)``, as nets give
them: K of widths, K of heights (softmax times the length, with a least fraction per bin), slopes (softplus, with a least
value), and on the circle the shift t. Every element is by itself: its bits do not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..groups import TWO_PI, fold
from ..lattice import check_flag, check_integer, check_number

Array = NDArray[np.float64]
Pull = Callable[[Array, Array], tuple[Array, Array]]


class Bins(NamedTuple):
    """Sizes ``(K, ...)`` of the bins along one axis, and knots ``(K + 1, ...)`` from 0 to the length."""

    sizes: Array
    knots: Array


class Piece(NamedTuple):
    """The bin of every element: its number, start and size along both axes, slopes at its ends."""

    k: NDArray[np.intp]
    x: Array
    w: Array
    y: Array
    h: Array
    d: Array
    e: Array


@dataclass(frozen=True)
class RationalSpline:
    """What both splines share. ``raw`` has shape ``(outputs, ...)`` for elements ``(...)``.

    Parameters
    ----------
    bins : K, at least 1.
    min_width, min_height : least width and height of a bin as fractions of the length, below 1/K.
    min_slope : added to all slopes, below 1.
    centred : with it ``raw = 0`` is the identity: slopes are ``min_slope + softplus(raw + c)``, 1 at 0. Published codes have
        ``c = 0``.
    """

    bins: int
    min_width: float = 0.0
    min_height: float = 0.0
    min_slope: float = 0.0
    centred: bool = False

    length: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_integer("bins", self.bins, 1)
        for name in ("min_width", "min_height"):
            if check_number(name, getattr(self, name), 0) * self.bins >= 1:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected less than 1/bins = {1 / self.bins:g}")
        if check_number("min_slope", self.min_slope, 0) >= 1:
            raise ValueError(f"min_slope: got {self.min_slope!r}, expected less than 1")
        check_flag("centred", self.centred)

    @property
    def outputs(self) -> int:
        """Numbers that describe one spline."""
        raise NotImplementedError

    @property
    def _slope_shift(self) -> float:
        """``c`` with ``min_slope + softplus(c) = 1``, or 0."""
        return math.log(math.expm1(1 - self.min_slope)) if self.centred else 0.0

    def _slope_rows(self, k: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of raw with the slopes at the two ends of bin ``k``."""
        raise NotImplementedError

    def _fixed(self, k: NDArray[np.intp]) -> tuple[Any, Any]:
        """Where the slopes at the two ends of bin ``k`` are 1 whatever the net says."""
        return False, False

    def _check(self, x: Array, raw: Array) -> None:
        if raw.shape != (self.outputs, *x.shape):
            raise ValueError(f"raw: got shape {raw.shape}, expected {(self.outputs, *x.shape)}")

    def _bins(self, raw: Array) -> tuple[Bins, Bins]:
        """Bins along x and along y."""
        n = self.bins
        return _bins(raw[:n], self.min_width, self.length), _bins(raw[n : 2 * n], self.min_height, self.length)

    def _piece(self, raw: Array, widths: Bins, heights: Bins, k: NDArray[np.intp]) -> tuple[Piece, Array, Array]:
        """The bins ``k`` of all elements, and the raw numbers of their slopes."""
        low, high = self._slope_rows(k)
        before, after = (_at(raw, rows) + self._slope_shift for rows in (low, high))
        slopes = [
            np.where(fixed, 1.0, self.min_slope + _softplus(r))
            for fixed, r in zip(self._fixed(k), (before, after), strict=True)
        ]
        parts = (_at(widths.knots, k), _at(widths.sizes, k), _at(heights.knots, k), _at(heights.sizes, k))
        return Piece(k, *parts, *slopes), before, after

    def _forward(self, x: Array, raw: Array) -> tuple[Array, Array]:
        widths, heights = self._bins(raw)
        piece, _, _ = self._piece(raw, widths, heights, _number(widths, x))
        return _values(piece, x)[:2]

    def _inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        widths, heights = self._bins(raw)
        piece, _, _ = self._piece(raw, widths, heights, _number(heights, y))
        xi = _root(piece, y)
        x = piece.x + xi * piece.w
        return x, -_slope(piece, xi)[0]

    def _forward_with_pullback(self, x: Array, raw: Array) -> tuple[Array, Array, Pull]:
        widths, heights = self._bins(raw)
        piece, before, after = self._piece(raw, widths, heights, _number(widths, x))
        y, log_slope, xi = _values(piece, x)

        def pull(g_y: Array, g_log: Array) -> tuple[Array, Array]:
            g = _cotangents(piece, xi, g_y, g_log)
            g_raw = np.zeros_like(raw)
            n = self.bins
            _bins_pullback(widths, self.min_width, self.length, piece.k, g.x, g.w, g_raw[:n])
            _bins_pullback(heights, self.min_height, self.length, piece.k, g.y, g.h, g_raw[n : 2 * n])
            flat, sites = g_raw.reshape(len(raw), -1), np.arange(x.size)
            ends = zip(self._slope_rows(piece.k), self._fixed(piece.k), (before, after), (g.d, g.e), strict=True)
            for rows, fixed, r, g_slope in ends:
                flat[rows.ravel(), sites] += np.where(fixed, 0.0, g_slope * _sigmoid(r)).ravel()
            return -g.x, g_raw

        return y, log_slope, pull

    def _definition(self, x: Any, raw: Any) -> tuple[Any, Any]:
        import autograd.numpy as anp

        n = self.bins
        rank = (1,) * (raw.ndim - 1)

        def sizes(numbers: Any, least: float) -> tuple[Any, Any]:
            weights = anp.exp(numbers - anp.max(numbers, axis=0))
            parts = self.length * (least + (1 - n * least) * weights / anp.sum(weights, axis=0))
            return parts, anp.cumsum(parts, axis=0) - parts

        w, x_knots = sizes(raw[:n], self.min_width)
        h, y_knots = sizes(raw[n : 2 * n], self.min_height)
        k = anp.sum(x >= x_knots[1:], axis=0).astype(int)
        rows = anp.arange(len(raw)).reshape(-1, *rank)

        def slope(row: Any, fixed: Any) -> Any:
            r = anp.sum(anp.where(rows == row, raw, 0.0), axis=0) + self._slope_shift
            return anp.where(fixed, 1.0, self.min_slope + anp.logaddexp(0.0, r))

        d, e = (slope(*end) for end in zip(self._slope_rows(k), self._fixed(k), strict=True))
        x_k, w_k, y_k, h_k = (anp.sum(anp.where(rows[:n] == k, part, 0.0), axis=0) for part in (x_knots, w, y_knots, h))
        xi, s = (x - x_k) / w_k, h_k / w_k
        bottom = s + (e + d - 2 * s) * xi * (1 - xi)
        y = y_k + h_k * (s * xi**2 + d * xi * (1 - xi)) / bottom
        slope_y = s**2 * (e * xi**2 + 2 * s * xi * (1 - xi) + d * (1 - xi) ** 2) / bottom**2
        return y, anp.log(slope_y)


@dataclass(frozen=True)
class CircularSpline(RationalSpline):
    """``y = spline(x mod 2 pi) + t mod 2 pi``, spline from [0, 2 pi] to itself with the same slope at both ends.

    ``raw``: K widths, K heights, slopes at knots 1, ..., K (knot 0 is knot K), the shift t. Angles come out in [0, 2 pi).
    """

    length: ClassVar[float] = TWO_PI

    @property
    def outputs(self) -> int:
        """``3 K + 1``."""
        return 3 * self.bins + 1

    def _slope_rows(self, k: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return 2 * self.bins + (k - 1) % self.bins, 2 * self.bins + k

    def forward(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """``y`` and ``log y'``, each the shape of ``x``."""
        self._check(x, raw)
        y, log_slope = self._forward(fold(x), raw)
        return fold(y + raw[-1]), log_slope

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """``x`` in [0, 2 pi) and ``log dx/dy``."""
        self._check(y, raw)
        x, log_slope = self._inverse(fold(y - raw[-1]), raw)
        return fold(x), log_slope

    def forward_with_pullback(self, x: Array, raw: Array) -> tuple[Array, Array, Pull]:
        """``y``, ``log y'`` and ``pull(g_y, g_log) -> (g_x, g_raw)``."""
        self._check(x, raw)
        y, log_slope, pull = self._forward_with_pullback(fold(x), raw)

        def with_shift(g_y: Array, g_log: Array) -> tuple[Array, Array]:
            g_x, g_raw = pull(g_y, g_log)
            g_raw[-1] = g_y
            return g_x, g_raw

        return fold(y + raw[-1]), log_slope, with_shift

    def definition(self, x: Any, raw: Any) -> tuple[Any, Any]:
        """``y`` and ``log y'`` as written, traceable by autograd in both arguments."""
        import autograd.numpy as anp

        y, log_slope = self._definition(anp.mod(x, TWO_PI), raw)
        return anp.mod(y + raw[-1], TWO_PI), log_slope


@dataclass(frozen=True)
class IntervalSpline(RationalSpline):
    """``y = spline(x)`` from [0, 1] to itself with ``0 -> 0`` and ``1 -> 1``; arguments are taken to lie in [0, 1].

    ``raw``: K widths, K heights, slopes at knots 0, ..., K; only at the inner ones with ``unit_ends``.

    Parameters
    ----------
    unit_ends : the slope is 1 at both ends, otherwise free.
    """

    unit_ends: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("unit_ends", self.unit_ends)

    @property
    def outputs(self) -> int:
        """``3 K + 1``, or ``3 K - 1`` with ``unit_ends``."""
        return 3 * self.bins + (-1 if self.unit_ends else 1)

    def _slope_rows(self, k: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        first = 2 * self.bins - (1 if self.unit_ends else 0)
        # Where the slope is fixed any row will do.
        return np.clip(first + k, 0, self.outputs - 1), np.clip(first + 1 + k, 0, self.outputs - 1)

    def _fixed(self, k: NDArray[np.intp]) -> tuple[Any, Any]:
        return (k == 0, k == self.bins - 1) if self.unit_ends else (False, False)

    def forward(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """``y`` and ``log y'``, each the shape of ``x``."""
        self._check(x, raw)
        y, log_slope = self._forward(x, raw)
        return _fixed_end(y, x), log_slope

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """``x`` and ``log dx/dy``."""
        self._check(y, raw)
        x, log_slope = self._inverse(y, raw)
        return _fixed_end(x, y), log_slope

    def forward_with_pullback(self, x: Array, raw: Array) -> tuple[Array, Array, Pull]:
        """``y``, ``log y'`` and ``pull(g_y, g_log) -> (g_x, g_raw)``."""
        self._check(x, raw)
        y, log_slope, pull = self._forward_with_pullback(x, raw)
        return _fixed_end(y, x), log_slope, pull

    def definition(self, x: Any, raw: Any) -> tuple[Any, Any]:
        """``y`` and ``log y'`` as written, traceable by autograd in both arguments."""
        return self._definition(x, raw)


def _fixed_end(y: Array, x: Array) -> Array:
    """``y`` with 1 where ``x`` is, and nothing above."""
    return np.where(x >= 1, 1.0, np.minimum(y, 1.0))


def _at(rows: Array, k: NDArray[np.intp]) -> Array:
    """``rows[k[i], i]`` for elements i."""
    flat: Array = rows.reshape(len(rows), -1)[k.ravel(), np.arange(k.size)].reshape(k.shape)
    return flat


def _bins(raw: Array, least: float, length: float) -> Bins:
    n = len(raw)
    sizes = np.exp(raw - raw.max(axis=0))
    knots = np.zeros((n + 1, *raw.shape[1:]))
    sizes *= length * (1 - n * least) / _running(sizes, knots)
    if least:
        sizes += length * least
    _running(sizes, knots)
    knots[n] = length
    return Bins(sizes, knots)


def _running(sizes: Array, knots: Array) -> Array:
    """``knots[k + 1] = knots[k] + sizes[k]``, in this order whatever the number of elements; returns the last."""
    for k, size in enumerate(sizes):
        np.add(knots[k], size, out=knots[k + 1])
    return knots[len(sizes)]


def _bins_pullback(
    bins: Bins, least: float, length: float, k: NDArray[np.intp], g_start: Array, g_size: Array, out: Array
) -> None:
    """Gradient of the raw numbers from those of start and size of bin ``k``.

    With ``q_j = w_j - m``, ``m = length least``, which is ``c`` times the softmax, ``c = length (1 - K least)``:
    ``g_raw_j = q_j [g_j - sum_i q_i g_i/c]`` for ``g_j = g_start (j < k), g_size (j = k), 0 (j > k)``.
    """
    n, m = len(bins.sizes), length * least
    c = length - n * m
    mean = (g_start * (_at(bins.knots, k) - k * m) + g_size * (_at(bins.sizes, k) - m)) / c
    j = np.arange(n).reshape(-1, *(1,) * k.ndim)
    np.multiply(j < k, g_start, out=out)
    out.reshape(n, -1)[k.ravel(), np.arange(k.size)] = g_size.ravel()
    out -= mean
    out *= bins.sizes - m if m else bins.sizes


def _number(bins: Bins, x: Array) -> NDArray[np.intp]:
    """The bin of every ``x``."""
    return np.add.reduce(x >= bins.knots[1:-1], axis=0, dtype=np.intp)


def _values(piece: Piece, x: Array) -> tuple[Array, Array, Array]:
    """``y``, ``log y'`` and ``xi``."""
    # Rounding of the knots may leave x an ulp outside its bin.
    xi = np.minimum(np.maximum((x - piece.x) / piece.w, 0.0), 1.0)
    log_slope, share = _slope(piece, xi)
    return piece.y + piece.h * share, log_slope, xi


def _slope(piece: Piece, xi: Array) -> tuple[Array, Array]:
    """``log y'``, and the share of the height of its bin that ``y`` has reached."""
    s, rest = piece.h / piece.w, 1 - xi
    u, square = xi * rest, xi * xi
    bottom = s + (piece.e + piece.d - 2 * s) * u
    ratio = s / bottom
    log_slope: Array = np.log(ratio * ratio * (piece.e * square + 2 * s * u + piece.d * rest * rest))
    return log_slope, (s * square + piece.d * u) / bottom


def _root(piece: Piece, y: Array) -> Array:
    """``xi`` of ``y``."""
    s, e = piece.h / piece.w, y - piece.y
    eq = e * (piece.e + piece.d - 2 * s)
    a, b, c = piece.h * (s - piece.d) + eq, piece.h * piece.d - eq, -s * e
    xi = 2 * c / (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)))
    return np.minimum(np.maximum(xi, 0.0), 1.0)


def _cotangents(piece: Piece, xi: Array, g_y: Array, g_log: Array) -> Piece:
    """Of the numbers of the pieces, in the order of `Piece`; that of the argument x is minus that of the start."""
    w, h, d, e = piece.w, piece.h, piece.d, piece.e
    s, rest, v = h / w, 1 - xi, 1 - 2 * xi
    u, square = xi * rest, xi * xi
    bend = e + d - 2 * s
    bottom = s + bend * u
    share = (s * square + d * u) / bottom
    g_share = g_y * h / bottom
    g_bottom = -(g_share * share + 2 * g_log / bottom)
    g_top = g_log / (e * square + 2 * s * u + d * rest * rest)
    g_s = g_top * 2 * u + g_bottom * (1 - 2 * u) + g_share * square + 2 * g_log / s
    g_d = g_top * rest * rest + (g_bottom + g_share) * u
    g_e = g_top * square + g_bottom * u
    g_xi = g_top * 2 * (e * xi + s * v - d * rest) + g_bottom * bend * v + g_share * (2 * s * xi + d * v)
    g_h = g_y * share + g_s / w
    g_w = -(g_s * s + g_xi * xi) / w
    return Piece(piece.k, -g_xi / w, g_w, g_y, g_h, g_d, g_e)


def _softplus(r: Array) -> Array:
    value: Array = np.maximum(r, 0.0) + np.log1p(np.exp(-np.abs(r)))
    return value


def _sigmoid(r: Array) -> Array:
    value: Array = 0.5 + 0.5 * np.tanh(0.5 * r)
    return value
