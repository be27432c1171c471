"""Mixtures of non-compact projections, elementwise maps of the circle to itself.

``h_s(x) = 2 atan(e^s tan(x/2))`` stretches the line on which the circle is projected; the map of Kanwar 2020
(arXiv:2003.06413, eqs. 24, 28) and of the tutorial arXiv:2101.08176 is ``g(x) = mean_i h_(s_i)(x) + t mod 2 pi`` with every
``h`` in [0, 2 pi]. With ``A = e^(-s/2) cos(x/2)`` and ``B = e^(s/2) sin(x/2)`` it is ``h = 2 atan2(B, A)``, which has no poles, and

    h' = 1/(A^2 + B^2),   dh/ds = sin h,   d log h'/ds = cos h,   d log h'/dx = -h' sinh(s) sin(x),
    log g' = log mean_i h'_i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..groups import TWO_PI, fold
from ..lattice import check_integer

Array = NDArray[np.float64]
Pull = Callable[[Array, Array], tuple[Array, Array]]

# The inverse has settled where g is off by less than its rounding (some ulps of 2 pi) or x moves by less than an ulp of 2 pi.
ROUNDING = 2e-15
STILL = 5e-16
# Every third step halves the bracket: at worst 2 pi to less than an ulp.
STEPS = 3 * 54


@dataclass(frozen=True)
class ProjectionMixture:
    """``y = mean_i h_(s_i)(x) + t mod 2 pi``, see the module.

    ``raw`` of shape ``(n_mix + 1, ...)`` for ``x`` of shape ``(...)``: the ``s_i``, then ``t``. Angles come out in [0, 2 pi).

    Parameters
    ----------
    n_mix : projections in the mixture, at least 1.
    """

    n_mix: int

    def __post_init__(self) -> None:
        check_integer("n_mix", self.n_mix, 1)

    @property
    def outputs(self) -> int:
        """``n_mix + 1``."""
        return self.n_mix + 1

    def forward(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """``y`` and ``log y'``, each the shape of ``x``."""
        self._check(x, raw)
        h, log_slopes = _projections(fold(x), raw[:-1])
        return fold(_mean(h) + raw[-1]), _log_mean(log_slopes)

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """``x`` in [0, 2 pi) and ``log dx/dy``, by Newton steps within a bracket that bisection shrinks.

        An element that has settled stays, so that its bits do not depend on the others.
        """
        self._check(y, raw)
        goal = fold(y - raw[-1])
        low, high = np.zeros_like(goal), np.full_like(goal, TWO_PI)
        x, moving = goal.copy(), np.ones(goal.shape, bool)
        for i in range(STEPS):
            h, log_slopes = _projections(x, raw[:-1])
            excess = _mean(h) - goal
            low, high = np.where(excess <= 0, x, low), np.where(excess >= 0, x, high)
            new = x - excess * np.exp(-_log_mean(log_slopes))
            halve = (new <= low) | (new >= high) | (i % 3 == 2)
            new = np.where(halve, 0.5 * (low + high), new)
            moving &= np.abs(excess) > ROUNDING
            step, x = np.abs(new - x), np.where(moving, new, x)
            moving &= step > STILL
            if not moving.any():
                break
        return fold(x), -_log_mean(_projections(x, raw[:-1])[1])

    def forward_with_pullback(self, x: Array, raw: Array) -> tuple[Array, Array, Pull]:
        """``y``, ``log y'`` and ``pull(g_y, g_log) -> (g_x, g_raw)``."""
        self._check(x, raw)
        x, s = fold(x), raw[:-1]
        h, log_slopes = _projections(x, s)
        log_slope = _log_mean(log_slopes)

        def pull(g_y: Array, g_log: Array) -> tuple[Array, Array]:
            slopes = np.exp(log_slopes)
            shares = np.exp(log_slopes - log_slope) / self.n_mix
            g_raw = np.empty_like(raw)
            g_raw[:-1] = g_y * np.sin(h) / self.n_mix + g_log * shares * np.cos(h)
            g_raw[-1] = g_y
            bends = _total(shares * slopes * np.sinh(s)) * np.sin(x)
            return g_y * np.exp(log_slope) - g_log * bends, g_raw

        return fold(_mean(h) + raw[-1]), log_slope, pull

    def definition(self, x: Any, raw: Any) -> tuple[Any, Any]:
        """``y`` and ``log y'`` as written, traceable by autograd in both arguments (not at ``x = pi``, where tan has its pole)."""
        import autograd.numpy as anp

        s = raw[:-1]
        h = anp.mod(2 * anp.arctan(anp.exp(s) * anp.tan(x / 2)), TWO_PI)
        slopes = 1 / (anp.exp(-s) * anp.cos(x / 2) ** 2 + anp.exp(s) * anp.sin(x / 2) ** 2)
        return anp.mod(anp.mean(h, axis=0) + raw[-1], TWO_PI), anp.log(anp.mean(slopes, axis=0))

    def _check(self, x: Array, raw: Array) -> None:
        if raw.shape != (self.outputs, *x.shape):
            raise ValueError(f"raw: got shape {raw.shape}, expected {(self.outputs, *x.shape)}")


def _projections(x: Array, s: Array) -> tuple[Array, Array]:
    """``h_s(x)`` in [0, 2 pi] and ``log h_s'``, for ``x`` in [0, 2 pi]."""
    stretch = np.exp(0.5 * s)
    a, b = np.cos(0.5 * x) / stretch, np.sin(0.5 * x) * stretch
    # at x = 2 pi rounding may leave the sine negative
    return 2 * np.arctan2(np.maximum(b, 0.0), a), -np.log(a * a + b * b)


def _total(rows: Array) -> Array:
    """The sum of rows in their order, whatever their length (numpy.sum has another order for rows of one element)."""
    total: Array = np.add.accumulate(rows, axis=0)[-1]
    return total


def _mean(rows: Array) -> Array:
    return _total(rows) / len(rows)


def _log_mean(rows: Array) -> Array:
    """``log mean exp``."""
    top = rows.max(axis=0)
    value: Array = top + np.log(_mean(np.exp(rows - top)))
    return value
