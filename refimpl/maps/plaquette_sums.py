"""Sums of plaquette angles of two-dimensional U(1): their density, and the law of a part of a sum given the whole.

``g_n(x)`` is the density of the sum of n independent plaquettes of density ``exp(beta cos x)``, on the circle;
``g_(a+b) = g_a * g_b``, a convolution of positive numbers, which is exact relative to the result however small that is. (The
series ``sum_k r_k^n exp(i k x) / 2 pi`` with ``r_k = I_k/I_0`` is the same, with errors relative to its peak.) Kept is the
logarithm, a series ``log g_n(x) = sum_k A_k cos(k x)`` up to a constant, which does not lose the tails either.

Of a sum ``S`` of ``a + b`` plaquettes the part ``x`` of the first a has the density ``h(x|S) = g_a(x) g_b(S - x) / g_(a+b)(S)``
(`Part`). Its distribution function is integrated mode by mode, from one transform on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..groups import TWO_PI

Array = NDArray[np.float64]

KERNELS = ("exact", "heat")
LARGEST_BETA = 50.0  # the kink of log g_n at pi, as sharp as 1/beta, sets the number of modes
MOST_POINTS = 16384
NEGLIGIBLE = 3e-16  # modes of log g_n, relative to the largest or to 1
BLOCK_ELEMENTS = 65536  # of the grids that are worked on at a time; results do not depend on it
# Modes of h relative to its mean: above what rounding leaves of log g_n = -100. They fall as those of a Gaussian or faster, so
# that 1/8 more of them end at 1e-16.
SMALL = 1e-13
CLOSE = 2e-15  # of the distribution function: the rounding of its series
NEWTON_STEPS, MOST_STEPS = 8, 120  # of a search that from then on halves its bracket every other time


@lru_cache(maxsize=512)
def log_density(beta: float, n: int, kernel: str) -> Array:
    """``A_0, A_1, ...`` of ``log g_n(x) = sum_k A_k cos(k x)``, normalised to 0 at ``x = 0``.

    ``kernel`` "heat" has the Gaussian heat kernel with the ``<cos>`` of a plaquette in place of ``g_1``.
    """
    points = 64
    while points <= MOST_POINTS:
        values = _log_density_on_grid(beta, n, kernel, points)
        modes = np.fft.rfft(values - values[0]).real * (2 / points)
        modes[0] /= 2
        size = np.abs(modes)
        kept = int(np.flatnonzero(size > NEGLIGIBLE * max(1.0, size.max())).max(initial=0)) + 1
        if kept <= 3 * points // 8:
            return modes[:kept]
        points *= 2
    raise ValueError(f"beta: got {beta!r}, expected less: log g_{n} needs more than {MOST_POINTS} points")


def _log_density_on_grid(beta: float, n: int, kernel: str, points: int) -> Array:
    """``log g_n`` up to a constant at ``x = 2 pi j/points``."""
    x = TWO_PI / points * np.arange(points)
    if beta == 0:
        return np.zeros(points)
    if kernel == "heat":
        return _log_heat_kernel(n * heat_time(beta), points)
    if n == 1:
        return beta * (np.cos(x) - 1)
    half, rest = (np.exp(_on_grid(log_density(beta, part, kernel), points)) for part in (n // 2, n - n // 2))
    turned = np.lib.stride_tricks.sliding_window_view(np.concatenate([rest[::-1], rest[::-1]]), points)
    return np.log([np.sum(half * turned[points - 1 - j]) for j in range(points)])  # sum_i half_i rest_(j - i)


def heat_time(beta: float) -> float:
    """``sigma^2`` of the heat kernel that has the ``<cos> = exp(-sigma^2/2)`` of a plaquette."""
    from scipy.special import ive

    return -2 * math.log(ive(1, beta) / ive(0, beta))


def _log_heat_kernel(variance: float, points: int) -> Array:
    """``log sum_m exp(-(x + 2 pi m)^2 / 2 sigma^2)``."""
    images = math.ceil(math.sqrt(80 * variance) / TWO_PI) + 1
    x = TWO_PI / points * np.arange(points)[:, None] + TWO_PI * np.arange(-images - 1, images + 1)
    exponents = -(x**2) / (2 * variance)
    top = exponents.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(exponents - top).sum(axis=1, keepdims=True)))[:, 0]


def _on_grid(modes: Array, points: int) -> Array:
    """``sum_k A_k cos(k x)`` at ``x = 2 pi j/points``; modes that the grid cannot hold are folded onto those it can."""
    x = TWO_PI / points * (np.outer(np.arange(points), np.arange(len(modes))) % points)
    return (np.cos(x) * modes).sum(axis=1)


class Grids(NamedTuple):
    """For every row: ``h`` on the grid up to a factor, its mean ``c_0``, and the series of its distribution function.

    ``F = y/2 pi + sum_m Re p_m (exp(i m y) - 1)`` with ``y = x + pi``; ``re`` and ``im`` are ``(row, m)``, from m = 1 on.
    """

    values: Array
    mean: Array
    re: Array
    im: Array


@dataclass(frozen=True, eq=False)
class Part:
    """The sum ``x`` of ``a`` plaquettes, given the sum ``S`` of these and ``b`` others.

    ``F(x|S)`` is the integral of h from ``-pi``, so that ``F(-pi) = 0`` whatever S is, and ``F(-x|-S) = 1 - F(x|S)``. Arrays
    have one axis, a row for each node of each chain; x is in [-pi, pi). Rows do not know of each other, to the last bit.
    """

    first: Array
    rest: Array
    points: int
    band: int

    def uniform(self, x: Array, s: Array) -> tuple[Array, Array]:
        """``2 pi F(x|S) - pi``, uniform on the circle, and ``log 2 pi h(x|S)``."""
        u, log_h = np.empty_like(x), np.empty_like(x)
        for rows in self._blocks(len(x)):
            grids = self._grids(s[rows])
            u[rows] = self._distribution(grids, x[rows] + np.pi)[0]
            log_h[rows] = self._log_h(grids, x[rows], s[rows])
        return TWO_PI * u - np.pi, log_h

    def quantile(self, uniform: Array, s: Array) -> tuple[Array, Array]:
        """The inverse of `uniform` in its first argument, and ``log 2 pi h`` there."""
        x, log_h = np.empty_like(s), np.empty_like(s)
        for rows in self._blocks(len(s)):
            grids = self._grids(s[rows])
            x[rows] = self._solve(grids, (uniform[rows] + np.pi) / TWO_PI) - np.pi
            log_h[rows] = self._log_h(grids, x[rows], s[rows])
        return x, log_h

    def derivatives(self, x: Array, s: Array) -> tuple[Array, Array, Array]:
        """``2 pi dF/dS`` at fixed x, ``d log h/dx``, ``d log h/dS``.

        With ``l = (log g_b)'``: ``dh/dS = h (l(S - x) - E_h l)``, whose integral is ``dF/dS``.
        """
        by_s, log_x, log_s = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        slope = _derivative(self.rest)
        for rows in self._blocks(len(x)):
            at, total = x[rows], s[rows]
            grids = self._grids(total)
            slopes = self._shifted(slope, total, odd=True)
            weighted = grids.values * slopes
            mean = weighted.sum(axis=1) / (self.points * grids.mean)
            change = self._series(weighted - mean[:, None] * grids.values, grids.mean)
            by_s[rows] = TWO_PI * (self._distribution(change, at + np.pi)[0] - (at + np.pi) / TWO_PI)
            there = odd_series(slope, total - at)
            log_x[rows] = odd_series(_derivative(self.first), at) - there
            log_s[rows] = there - mean
        return by_s, log_x, log_s

    def _blocks(self, n: int) -> Iterator[slice]:
        size = max(1, BLOCK_ELEMENTS // self.points)
        return (slice(start, start + size) for start in range(0, n, size))

    def _grids(self, s: Array) -> Grids:
        x = TWO_PI / self.points * np.arange(self.points, dtype=np.float64) - np.pi
        values = self._shifted(self.rest, s)
        values += even_series(self.first, x)
        np.exp(values, values)
        return self._series(values, None)

    def _series(self, values: Array, mean: Array | None) -> Grids:
        modes = np.fft.rfft(values, axis=1)
        mean = modes[:, 0].real / self.points if mean is None else mean
        scale = 1 / (np.pi * self.points * np.arange(1, self.band + 1)) / mean[:, None]  # p_m = 2 c_m/(2 pi i m c_0)
        return Grids(values, mean, modes.imag[:, 1 : self.band + 1] * scale, -modes.real[:, 1 : self.band + 1] * scale)

    def _shifted(self, modes: Array, s: Array, odd: bool = False) -> Array:
        """``sum_k A_k cos k(S - x)``, or ``sin``, at the points ``x`` of the grid, ``(row, point)``.

        It is ``Re sum_k A_k exp(i k (S + pi)) exp(-i k y)``: modes with equal remainder modulo the number of points are one.
        """
        folds = -(-len(modes) // self.points)
        turned = np.zeros((len(s), folds * self.points), np.complex128)
        cos, sin = multiples(s + np.pi, len(modes))
        if odd:
            turned.real[:, : len(modes)], turned.imag[:, : len(modes)] = modes * sin, -modes * cos
        else:
            turned.real[:, : len(modes)], turned.imag[:, : len(modes)] = modes * cos, modes * sin
        folded = turned.reshape(len(s), folds, self.points).sum(axis=1) if folds > 1 else turned
        return np.ascontiguousarray(np.fft.fft(folded, axis=1).real)

    def _log_h(self, grids: Grids, x: Array, s: Array) -> Array:
        return even_series(self.first, x) + even_series(self.rest, s - x) - np.log(grids.mean)

    def _distribution(self, grids: Grids, y: Array) -> tuple[Array, Array]:
        """``F`` and ``dF/dy`` at ``y = x + pi``, by Horner's rule in ``exp(i y)``, in real arithmetic."""
        return _horner(grids.re.T.copy(), grids.im.T.copy(), y)

    def _solve(self, grids: Grids, u: Array) -> Array:
        """The y with ``F(y) = u``: Newton's method within a bracket, which is halved where a step leaves it."""
        spacing, rows = TWO_PI / self.points, np.arange(len(u))
        # By the trapezoidal rule, for a start: F at the points of the grid, 0 at the first of them, and 1 at the end.
        rough = np.cumsum(grids.values, axis=1)
        rough -= 0.5 * (grids.values + grids.values[:, :1])
        rough /= self.points * grids.mean[:, None]
        cell = np.maximum((rough <= u[:, None]).sum(axis=1), 1)  # u is reached between points cell - 1 and cell
        left = rough[rows, cell - 1]
        right = np.where(cell < self.points, rough[rows, np.minimum(cell, self.points - 1)], 1.0)
        share = np.clip((u - left) / np.maximum(right - left, 1e-300), 0, 1)
        y = (cell - 1 + share) * spacing
        low, high = np.zeros_like(y), np.full_like(y, TWO_PI)
        out = np.empty_like(y)
        re, im = grids.re.T.copy(), grids.im.T.copy()
        for step in range(MOST_STEPS):
            value, slope = _horner(re, im, y)
            miss = value - u
            low, high = np.where(miss < 0, y, low), np.where(miss > 0, y, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = y - miss / slope
            inside = (newton >= low) & (newton <= high) & (step < NEWTON_STEPS or step % 2 == 0)
            new = np.where(inside, newton, 0.5 * (low + high))
            close = np.abs(miss) <= CLOSE
            done = close | (np.abs(new - y) <= 4e-16)
            # Where h is so small that rounding of F is far in y, a last step would be noise.
            out[rows[done]] = np.where(close & ~(np.abs(newton - y) < 1e-6), y, np.where(close, newton, new))[done]
            if done.all():
                break
            left_over = ~done
            y, u, low, high, rows = new[left_over], u[left_over], low[left_over], high[left_over], rows[left_over]
            re, im = re[:, left_over], im[:, left_over]
        else:
            out[rows] = y
        return out


@lru_cache(maxsize=512)
def part(beta: float, a: int, b: int, kernel: str) -> Part:
    """The `Part` of a plaquettes in a sum of ``a + b``, on the grid it needs."""
    first, rest = log_density(beta, a, kernel), log_density(beta, b, kernel)
    trial, s = Part(first, rest, MOST_POINTS // 8, MOST_POINTS // 16 - 1), np.linspace(0, np.pi, 33)
    band = 1
    for rows in trial._blocks(len(s)):
        modes = np.abs(np.fft.rfft(trial._grids(s[rows]).values, axis=1))
        band = max(band, int(np.flatnonzero((modes > SMALL * modes[:, :1]).any(axis=0)).max()))
    band += 1 + math.ceil(band / 8)
    points = max(16, 1 << math.ceil(math.log2(2.5 * band)))
    return Part(first, rest, points, band)


def definition(beta: float, a: int, b: int, kernel: str, x: Any, s: Any) -> tuple[Any, Any]:
    """``F(x|S)`` and ``h(x|S)`` from Fourier series, as written, for arrays of one shape, traceable by autograd.

    With ``g_n = sum_k r_k^n exp(i k x)``, ``r_k = I_k(beta)/I_0(beta)`` (or ``r_1^(k^2)``), the coefficient of ``exp(i m x)`` in
    ``g_a(x) g_b(S - x)`` is ``c_m = sum_l r_(m+l)^a r_l^b exp(i l S)``. Right to 1e-15 of the largest h.
    """
    import autograd.numpy as anp
    from scipy.special import ive

    top = math.ceil(9 * math.sqrt(beta)) + 9  # r_k falls as exp(-k^2/2 beta), or faster
    k, m = np.arange(-top, top + 1), np.arange(1, 2 * top + 1)
    ratio = ive(np.arange(4 * top), beta) / ive(0, beta)
    if kernel == "heat":
        ratio = ratio[1] ** np.arange(4 * top) ** 2
    x, s = x[..., None], s[..., None]

    def coefficient(m: NDArray[np.int_]) -> tuple[Any, Any]:
        products = (ratio[np.abs(m[:, None] + k)] ** a * ratio[np.abs(k)] ** b).T
        return anp.dot(anp.cos(k * s), products), anp.dot(anp.sin(k * s), products)

    c_0 = coefficient(np.array([0]))[0][..., 0]
    re, im = coefficient(m)
    h = c_0 + 2 * anp.sum(re * anp.cos(m * x) - im * anp.sin(m * x), axis=-1)
    waves = (re * (anp.sin(m * x)) + im * (anp.cos(m * x) - np.cos(m * np.pi))) / m
    return (x[..., 0] + np.pi) / TWO_PI + anp.sum(waves, axis=-1) / (np.pi * c_0), h / (TWO_PI * c_0)


def even_series(modes: Array, x: Array) -> Array:
    """``sum_k A_k cos(k x)``, by Horner's rule in ``exp(i x)``."""
    return _power_series(modes, x)[0]


def odd_series(modes: Array, x: Array) -> Array:
    """``sum_k A_k sin(k x)``."""
    return _power_series(modes, x)[1]


def _derivative(modes: Array) -> Array:
    """Of a cosine series: the modes of a sine series."""
    return -modes * np.arange(len(modes))


def multiples(angle: Array, n: int) -> tuple[Array, Array]:
    """Cosine and sine of ``k angle``, k = 0, ..., n - 1, ``(row, k)``, by doublings."""
    cos, sin = np.empty((len(angle), n)), np.empty((len(angle), n))
    cos[:, 0], sin[:, 0] = 1.0, 0.0
    done = 1
    while done < n:
        more = min(done, n - done)
        turn = done * angle
        c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
        cos[:, done : done + more] = c * cos[:, :more] - s * sin[:, :more]
        sin[:, done : done + more] = s * cos[:, :more] + c * sin[:, :more]
        done += more
    return cos, sin


def _power_series(modes: Array, x: Array) -> tuple[Array, Array]:
    """Real and imaginary part of ``sum_k A_k exp(i k x)``."""
    c, s = np.cos(x), np.sin(x)
    re, im = np.full_like(x, modes[-1]), np.zeros_like(x)
    t, r = np.empty_like(x), np.empty_like(x)
    for mode in modes[-2::-1]:
        np.multiply(im, s, t)
        np.multiply(re, s, r)
        np.multiply(re, c, re)
        np.subtract(re, t, re)
        np.add(re, mode, re)
        np.multiply(im, c, im)
        np.add(im, r, im)
    return re, im


def _horner(re: Array, im: Array, y: Array) -> tuple[Array, Array]:
    """``y/2 pi + Re sum_m p_m (z^m - 1)`` and its derivative in y, for ``p`` of shape (m, row), ``z = exp(i y)``."""
    c, s = np.cos(y), np.sin(y)
    band = len(re)
    value_re, value_im = re[-1].copy(), im[-1].copy()
    slope_re, slope_im = band * re[-1], band * im[-1]
    t, r = np.empty_like(y), np.empty_like(y)
    for m in range(band - 1, 0, -1):
        for a, b, factor in ((value_re, value_im, 1), (slope_re, slope_im, m)):
            np.multiply(b, s, t)
            np.multiply(a, s, r)
            np.multiply(a, c, a)
            np.subtract(a, t, a)
            np.multiply(b, c, b)
            np.add(b, r, b)
            np.add(a, re[m - 1] if factor == 1 else factor * re[m - 1], a)
            np.add(b, im[m - 1] if factor == 1 else factor * im[m - 1], b)
    constant = np.zeros_like(y)
    for row in re:
        constant += row
    value = y / TWO_PI + (value_re * c - value_im * s - constant)
    slope = 1 / TWO_PI - (slope_re * s + slope_im * c)  # Re i m p_m z^m = -Im m p_m z^m
    return value, slope
