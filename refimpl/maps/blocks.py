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
    growth, scaled_force, pushed = push(force, t, q, eps)
    stretch = None if s is None else np.exp((0.5 * sign * eps) * s)
    new = (0.5 * eps) * pushed
    if sign > 0:
        np.subtract(v if stretch is None else v * stretch, new, out=new)
    else:
        new += v
        if stretch is not None:
            new *= stretch
    logdet = (0.5 * sign * eps) * total(s, v)

    def pull(g_v: Array, g_logdet: Array) -> tuple[Array, Array, Outputs, float]:
        through = g_v if stretch is None else g_v * stretch
        g_unit = -0.5 * g_v if sign > 0 else 0.5 * through
        g_eps, g_s = dot(g_unit, pushed), None
        if s is not None:
            g_exponent = g_v * new if sign < 0 else through * v
            g_exponent += over(g_logdet, v)
            g_eps += 0.5 * sign * dot(g_exponent, s)
            g_s = np.multiply(g_exponent, 0.5 * sign * eps, out=g_exponent)
        g_unit *= eps
        g_force, g_q, more = pull_push(g_unit, q, growth, scaled_force, eps)
        return through, g_force, Outputs(like(g_s, s), like(g_unit, t), like(g_q, q)), g_eps + more

    return new, logdet, pull


def drift(
    x: Array,
    v: Array,
    out: Outputs,
    move: Array | None,
    eps: float,
    sign: int,
    angular: bool,
    half_tangent: Array | None = None,
) -> tuple[Array, Array, Pull]:
    """Position update of the entries where ``move`` is 1 (None: all), ``d = e (v exp(e q) + t)``, ``scale`` by ``e s``.

    Real fields: ``x' = x exp(e s) + d``, ``logdet = sum e s``. Angles: ``x' = 2 atan(exp(e s) tan(x/2)) + d``, not wrapped;
    ``half_tangent`` is ``tan(x/2)`` where it is known. The inverse undoes the shift first. ``pull(g_x, g_logdet)`` gives
    cotangents of ``x``, ``v``, the outputs and ``eps``.
    """
    s, t, q = out
    growth, scaled_v, pushed = push(v, t, q, eps)
    if move is not None:
        pushed = pushed * move
    exponent = None if s is None else (sign * eps) * (s if move is None else s * move)
    new = eps * pushed
    start = x if sign > 0 else np.subtract(x, new, out=new)
    if angular:
        y, logdet, pull_stretch = stretch_angle(start, exponent, half_tangent if sign > 0 else None)
    else:
        y, logdet, pull_stretch = stretch_real(start, exponent)
    new = np.add(y, new, out=new) if sign > 0 else y

    def pull(g_x: Array, g_logdet: Array) -> tuple[Array, Array, Outputs, float]:
        g_before, g_exponent = pull_stretch(g_x, g_logdet)
        g_unit = g_x if sign > 0 else -g_before
        g_eps, g_s = dot(g_unit, pushed), None
        if s is not None:
            g_s = g_exponent if move is None else np.multiply(g_exponent, move, out=g_exponent)
            g_eps += sign * dot(g_s, s)
            g_s *= sign * eps
        g_pushed = eps * (g_unit if move is None else g_unit * move)
        g_v, g_q, more = pull_push(g_pushed, q, growth, scaled_v, eps)
        return g_before, g_v, Outputs(like(g_s, s), like(g_pushed, t), like(g_q, q)), g_eps + more

    return new, logdet, pull


def push(u: Array, t: Array | None, q: Array | None, eps: float) -> tuple[Array | None, Array, Array]:
    """``exp(e q)``, ``u exp(e q)`` and ``u exp(e q) + t``."""
    growth = None if q is None else np.exp(eps * q)
    scaled = u if growth is None else u * growth
    return growth, scaled, scaled if t is None else scaled + t


def pull_push(
    g: Array, q: Array | None, growth: Array | None, scaled: Array, eps: float
) -> tuple[Array, Array | None, float]:
    """Cotangents of ``u``, ``q`` and ``eps`` (through the exponent) from that of the result of `push`."""
    if q is None or growth is None:
        return g, None, 0.0
    slope = g * scaled
    g_eps = dot(slope, q)
    slope *= eps
    return g * growth, slope, g_eps


def stretch_real(x: Array, exponent: Array | None) -> tuple[Array, Array, Pull]:
    """``x exp(exponent)`` with ``logdet = sum exponent``; pull: cotangents of ``x`` and ``exponent``."""
    if exponent is None:
        return x, np.zeros(len(x)), lambda g, g_logdet: (g, None)
    factor = np.exp(exponent)
    new = x * factor
    # One number times a mask has no chain axis.
    logdet = site_sum(np.broadcast_to(exponent, x.shape))
    return new, logdet, lambda g, g_logdet: (g * factor, g * new + over(g_logdet, x))


def stretch_angle(x: Array, exponent: Array | None, half_tangent: Array | None = None) -> tuple[Array, Array, Pull]:
    """``y = 2 atan(exp(exponent) tan(x/2))``, a bijection of the circle that fixes 0 and pi, and its ``sum log dy/dx``.

    With ``a = exp(exponent)``, ``t = tan(x/2)``, ``u = a t = tan(y/2)``: ``dy/dx = a (1 + t^2)/(1 + u^2)``; written as ``y = x +
    2 atan((u - t)/(1 + u t))``, which has no branch cut. ``dy/d exponent = sin y``, ``d log(dy/dx)/d exponent = cos y``,
    ``d log(dy/dx)/dx = (t - a u)/(1 + u^2)``.
    """
    if exponent is None:
        return x, np.zeros(len(x)), lambda g, g_logdet: (g, None)
    t = np.tan(0.5 * x) if half_tangent is None else half_tangent
    a = np.exp(exponent)
    u = a * t
    turn = u * t
    turn += 1.0
    np.divide(u - t, turn, out=turn)
    np.arctan(turn, out=turn)
    turn *= 2.0
    turn += x
    denominator = u * u
    denominator += 1.0
    ratio = t * t
    ratio += 1.0
    ratio /= denominator
    logdet = site_sum(exponent + np.log(ratio))

    def pull(g: Array, g_logdet: Array) -> tuple[Array, Array]:
        g_log = over(g_logdet, x)
        g_x = t - a * u
        g_x /= denominator
        g_x *= g_log
        g_x += g * (a * ratio)
        g_exponent = 2.0 / denominator
        sine = u * g_exponent
        g_exponent -= 1.0
        g_exponent *= g_log
        g_exponent += np.multiply(sine, g, out=sine)
        return g_x, g_exponent

    return turn, logdet, pull


def total(values: Array | None, field: Array) -> Array:
    """Sum over the field of each chain, for values that may be absent or one number for all."""
    if values is None:
        return np.zeros(len(field))
    return site_sum(values) if values.ndim else np.full(len(field), float(values) * field[0].size)


def over(per_chain: Array, field: Array) -> Array:
    """A ``(chain,)`` array with axes of length 1 appended, to broadcast over a field."""
    return per_chain.reshape((-1,) + (1,) * (field.ndim - 1))


def dot(a: Array, b: Array) -> float:
    """Sum of the product over everything; ``b`` may be one number."""
    return float(np.vdot(a, b) if b.ndim else a.sum() * b)


def like(g: Array | None, value: Array | None) -> Array | None:
    """The cotangent in the shape of its value: summed where the value is one number."""
    if value is None or g is None:
        return None
    return g if value.ndim else np.asarray(g.sum())
