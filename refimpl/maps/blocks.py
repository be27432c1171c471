"""The two updates of a generalized leapfrog layer with their exact logdet and their hand-written pullback.

An update is ``f(...) -> (new value, logdet, pull)``; ``pull`` takes the cotangents of value and logdet to those of the
arguments. ``sign`` is +1 for the update and -1 for its inverse. Outputs of nets that are None are zero and cost nothing;
outputs of shape ``()`` are one number for all entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..groups import sincos
from ..lattice import site_sum
from ..nets import Outputs

Array = NDArray[np.float64]
Pull = Callable[[Array, Array], Any]


def half_kick(v: Array, force: Array, out: Outputs, eps: float, sign: int) -> tuple[Array, Array, Pull]:
    """Half momentum update, ``v' = v exp(e s/2) - (e/2) (F exp(e q) + t)``, ``logdet = (e/2) sum s``.

    The inverse is ``v = (v' + (e/2) (F exp(e q) + t)) exp(-e s/2)``, ``logdet = -(e/2) sum s`` (Foreman 2020, eqs. 17, 21).
    ``pull(g_v, g_logdet)`` gives cotangents of ``v``, ``force``, the outputs and ``eps``.
    """
    s, t, q = out
    scaled_force = force if q is None else force * np.exp(eps * q)
    pushed = scaled_force if t is None else scaled_force + t
    stretch = None if s is None else np.exp((0.5 * sign * eps) * s)
    if sign > 0:
        new = (v if stretch is None else v * stretch) - (0.5 * eps) * pushed
    else:
        new = v + (0.5 * eps) * pushed
        new = new if stretch is None else new * stretch
    logdet = (0.5 * sign * eps) * total(s, v)

    def pull(g_v: Array, g_logdet: Array) -> tuple[Array, Array, Outputs, float]:
        through = g_v if stretch is None else g_v * stretch
        g_unit = -0.5 * g_v if sign > 0 else 0.5 * through
        g_pushed, g_eps = eps * g_unit, dot(g_unit, pushed)
        g_s = g_q = None
        if s is not None:
            stretched = g_v * new if sign < 0 else through * v
            g_exponent = stretched + over(g_logdet, v)
            g_s = (0.5 * sign * eps) * g_exponent
            g_eps += 0.5 * sign * dot(g_exponent, s)
        g_force = g_pushed
        if q is not None:
            slope = g_pushed * scaled_force
            g_q, g_eps = eps * slope, g_eps + dot(slope, q)
            g_force = g_pushed * np.exp(eps * q)
        return through, g_force, Outputs(like(g_s, s), like(g_pushed, t), like(g_q, q)), g_eps

    return new, logdet, pull


def drift(
    x: Array, v: Array, out: Outputs, move: Array | None, eps: float, sign: int, angular: bool
) -> tuple[Array, Array, Pull]:
    """Position update of the entries where ``move`` is 1 (None: all), ``d = e (v exp(e q) + t)``, ``scale`` by ``e s``.

    Real fields: ``x' = x exp(e s) + d``, ``logdet = sum e s``. Angles: ``x' = 2 atan(exp(e s) tan(x/2)) + d``, not wrapped.
    The inverse undoes the shift first. ``pull(g_x, g_logdet)`` gives cotangents of ``x``, ``v``, the outputs and ``eps``.
    """
    s, t, q = out
    scaled_v = v if q is None else v * np.exp(eps * q)
    pushed = scaled_v if t is None else scaled_v + t
    if move is not None:
        pushed = pushed * move
    exponent = None if s is None else (sign * eps) * (s if move is None else s * move)
    stretch = stretch_angle if angular else stretch_real
    if sign > 0:
        y, logdet, pull_stretch = stretch(x, exponent)
        new = y + eps * pushed
    else:
        new, logdet, pull_stretch = stretch(x - eps * pushed, exponent)

    def pull(g_x: Array, g_logdet: Array) -> tuple[Array, Array, Outputs, float]:
        g_before, g_exponent = pull_stretch(g_x, g_logdet)
        g_unit = g_x if sign > 0 else -g_before
        g_eps = dot(g_unit, pushed)
        g_pushed = eps * (g_unit if move is None else g_unit * move)
        g_s = g_q = None
        if s is not None:
            slope_s = sign * (g_exponent if move is None else g_exponent * move)
            g_s, g_eps = eps * slope_s, g_eps + dot(slope_s, s)
        g_v = g_pushed
        if q is not None:
            slope = g_pushed * scaled_v
            g_q, g_eps = eps * slope, g_eps + dot(slope, q)
            g_v = g_pushed * np.exp(eps * q)
        return g_before, g_v, Outputs(like(g_s, s), like(g_pushed, t), like(g_q, q)), g_eps

    return new, logdet, pull


def stretch_real(x: Array, exponent: Array | None) -> tuple[Array, Array, Pull]:
    """``x exp(exponent)`` with ``logdet = sum exponent``; pull: cotangents of ``x`` and ``exponent``."""
    if exponent is None:
        return x, np.zeros(len(x)), lambda g, g_logdet: (g, None)
    factor = np.exp(exponent)
    new = x * factor
    return new, total(exponent, x), lambda g, g_logdet: (g * factor, g * new + over(g_logdet, x))


def stretch_angle(x: Array, exponent: Array | None) -> tuple[Array, Array, Pull]:
    """``y = 2 atan(exp(exponent) tan(x/2))``, a bijection of the circle that fixes 0 and pi, and its ``sum log dy/dx``.

    With ``a = exp(exponent)``, ``c, s`` the cosine and sine of ``x/2``: ``dy/dx = a/(c^2 + a^2 s^2)``; written as ``y = x + 2
    atan((a - 1) s c/(c^2 + a s^2))``, which has no branch cut. ``dy/d exponent = sin y``, ``d log(dy/dx)/d exponent = cos y``.
    """
    if exponent is None:
        return x, np.zeros(len(x)), lambda g, g_logdet: (g, None)
    s, c = sincos(0.5 * x, "tan")
    a = np.exp(exponent)
    s_squared, c_squared = s * s, c * c
    y = x + 2 * np.arctan((a - 1) * s * c / (c_squared + a * s_squared))
    denominator = c_squared + a * a * s_squared
    logdet = site_sum(np.broadcast_to(exponent, x.shape) - np.log(denominator))

    def pull(g: Array, g_logdet: Array) -> tuple[Array, Array]:
        g_log = over(g_logdet, x)
        sin_y, cos_y = 2 * a * s * c / denominator, (c_squared - a * a * s_squared) / denominator
        return (g * a - g_log * (a * a - 1) * s * c) / denominator, g * sin_y + g_log * cos_y

    return y, logdet, pull


def total(values: Array | None, field: Array) -> Array:
    """Sum over the field of each chain, for values that may be absent, one number for all, or the same in all chains."""
    if values is None:
        return np.zeros(len(field))
    if values.ndim:
        return site_sum(np.broadcast_to(values, field.shape))
    return np.full(len(field), float(values) * field[0].size)


def over(per_chain: Array, field: Array) -> Array:
    """A ``(chain,)`` array with axes of length 1 appended, to broadcast over a field."""
    return per_chain.reshape((-1,) + (1,) * (field.ndim - 1))


def dot(a: Array, b: Array) -> float:
    """Sum of the product over everything."""
    return float(np.sum(a * b))


def like(g: Array | None, value: Array | None) -> Array | None:
    """The cotangent in the shape of its value: summed where the value is one number."""
    if value is None or g is None:
        return None
    return g if value.ndim else np.asarray(g.sum())
