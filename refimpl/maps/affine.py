"""Trajectories of numbers only: momenta stretched by one factor per kick, as in tempered molecular dynamics.

Without position nets, and with one s, t, q per layer, the generalized leapfrog is a list of affine kicks ``v -> a v - b F(x) -
c`` and drifts ``x -> x + e v``. Adjacent half kicks see the same force and become one, so a layer costs what a leapfrog step
does, and logdet is a constant. Heating is ``a > 1``, cooling ``a < 1`` (Foreman 2021, Figs. 6, 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, SmoothAction
from ..lattice import chain_last

Array = NDArray[np.float64]


class Numbers(NamedTuple):
    """K + 1 kicks ``v -> a v - b F - c``, K drifts, and the logdet per degree of freedom."""

    a: Array
    b: Array
    c: Array
    drifts: Array
    logdet: Array


@dataclass(frozen=True)
class Steps:
    """`Numbers`, and the configuration that is added at one of the drifts (``flux_at`` is -1 for none)."""

    numbers: Numbers
    flux_at: int
    flux: Array


def numbers(eps_x: Any, eps_v: Any, s: Any, t: Any, q: Any, order: str, wind: bool) -> Numbers:
    """The kicks and drifts of N layers from their step sizes and scalars, all ``(N,)``; plain arrays or autograd's.

    ``order`` is a word of ``+`` (layers), ``-`` (inverse layers) and ``r`` (flip of the momenta), such as ``+``, ``-`` or
    ``+r-``. With ``wind`` a drift of length 0 is put in the middle, for the flux.
    """
    import autograd.numpy as anp

    n = len(eps_x)
    a, b, c = anp.exp(eps_v * s / 2), eps_v / 2 * anp.exp(eps_v * q), eps_v / 2 * t
    halves = {
        "+": (a, b, c, eps_x, eps_v * s, np.arange(n)),
        "-": (1 / a, -b / a, -c / a, -eps_x, -eps_v * s, np.arange(n)[::-1]),
    }
    signs = [sign for sign in order if sign != "r"]
    picked = [[anp.repeat(part[halves[sign][5]], 2) for part in halves[sign][:3]] for sign in signs]
    all_halves = [anp.concatenate([part[i] for part in picked]) for i in range(3)]
    if "r" in order:
        flip = np.ones(2 * n * len(signs))
        flip[2 * n * order.index("r") - 1] = -1.0
        all_halves = [half * flip for half in all_halves]
    # Kick j is half 2j-1 followed by half 2j; the first and the last are halves, and so are two around the flux.
    identity = 2 * n * len(signs)
    first = np.concatenate([[identity], np.arange(1, identity, 2)])
    second = np.concatenate([np.arange(0, identity, 2), [identity]])
    drifts = anp.concatenate([halves[sign][3][halves[sign][5]] for sign in signs])
    if wind:
        middle = flux_position(n, order)
        first = np.insert(first, middle + 1, identity)
        second = np.insert(second, middle, identity)
        drifts = anp.concatenate([drifts[:middle], np.zeros(1), drifts[middle:]])
    ones = (1.0, 0.0, 0.0)
    ha, hb, hc = (anp.concatenate([half, np.array([one])]) for half, one in zip(all_halves, ones, strict=True))
    return Numbers(
        ha[first] * ha[second],
        hb[first] * ha[second] + hb[second],
        hc[first] * ha[second] + hc[second],
        drifts,
        sum(anp.sum(halves[sign][4]) for sign in signs),
    )


def joined(parts: Numbers) -> Any:
    """One vector of all numbers; plain or autograd's."""
    import autograd.numpy as anp

    return anp.concatenate([*parts[:4], anp.reshape(parts.logdet, (1,))])


def split(flat: Array) -> Numbers:
    """The inverse of `joined`."""
    k = (len(flat) - 4) // 4
    a, b, c, drifts, logdet = np.split(flat, [k + 1, 2 * k + 2, 3 * k + 3, 4 * k + 3])
    return Numbers(a, b, c, drifts, logdet[0])


def flux_position(n: int, order: str) -> int:
    """The drift at which flux is added: after the first half of the layers, or at the flip."""
    if "r" in order:
        return n
    return n // 2 if order == "+" else n - n // 2


def run(action: Action, steps: Steps, x: Array, v: Array, force: Array) -> tuple[Array, Array, Array, Array, Array]:
    """``(x', v', logdet, action, force)``; the momentum is carried times the next drift, which is then one addition."""
    a, b, c, drifts, _ = steps.numbers
    units = np.where(drifts == 0, 1.0, drifts)
    x_now, w = chain_last(*x.shape), chain_last(*x.shape)
    x_now[...], w[...] = x, v
    dynamics = action.dynamics(x_now, w)
    w *= a[0]
    w -= b[0] * force
    w -= c[0]
    w *= units[0]
    for j, unit in enumerate(units):
        if drifts[j] != 0:
            np.add(x_now, w, x_now)
        if j == steps.flux_at:
            x_now += steps.flux
        if j == len(units) - 1:
            break
        following = units[j + 1]
        factor = a[j + 1] * following / unit
        if factor != 1.0:
            np.multiply(w, factor, w)
        dynamics.kick(b[j + 1] * following)
        if c[j + 1] != 0:
            w -= c[j + 1] * following
    end_action, end_force = dynamics.action_and_force()
    w *= a[-1] / units[-1]
    w -= b[-1] * end_force
    w -= c[-1]
    return x_now, w, _logdet(steps, x), end_action, end_force


def _logdet(steps: Steps, x: Array) -> Array:
    return np.full(len(x), float(steps.numbers.logdet) * x[0].size)


def run_with_pullback(
    action: SmoothAction, steps: Steps, x: Array, v: Array, force: Array
) -> tuple[tuple[Array, Array, Array, Array, Array], Callable[[Array, Array, Array, Array], Numbers]]:
    """As `run`, and the pullback: cotangents of x, v, logdet and action at the end -> those of the `Numbers`."""
    a, b, c, drifts, _ = steps.numbers
    x, v, force = _chain_last(x), _chain_last(v), _chain_last(force)
    xs, vs, forces, end_action = [x], [v], [force], np.zeros(len(x))

    def kicked(j: int) -> Array:
        new = a[j] * vs[-1]
        new -= b[j] * forces[-1]
        new -= c[j]
        return new

    for j, e in enumerate(drifts):
        v = kicked(j)
        x = np.add(x, moved := e * v, out=moved)
        if j == steps.flux_at:
            x += steps.flux
        end_action, force = action.action_and_force(x)
        xs.append(x)
        vs.append(v)
        forces.append(force)
    v = kicked(-1)

    def pull(g_x: Array, g_v: Array, g_logdet: Array, g_action: Array) -> Numbers:
        g_a, g_b, g_c, g_drifts = (np.zeros_like(part) for part in (a, b, c, drifts))
        g_x, g_v = _chain_last(g_x), _chain_last(g_v)
        g_x += g_action.reshape((-1,) + (1,) * (x.ndim - 1)) * forces[-1]
        for j in range(len(drifts), -1, -1):
            g_a[j], g_b[j], g_c[j] = _dot(g_v, vs[j]), -_dot(g_v, forces[j]), -g_v.sum()
            if j == 0:
                break
            g_x -= action.hessian_product(xs[j], b[j] * g_v)
            g_drifts[j - 1] = _dot(g_x, vs[j])
            g_v *= a[j]
            g_v += drifts[j - 1] * g_x
        return Numbers(g_a, g_b, g_c, g_drifts, np.asarray(g_logdet.sum() * x[0].size))

    return (x, v, _logdet(steps, x), end_action, force), pull


def _chain_last(field: Array) -> Array:
    """A copy whose chain axis is fastest in memory."""
    copy = chain_last(*field.shape)
    copy[...] = field
    return copy


def _dot(a: Array, b: Array) -> float:
    """Sum of the product over everything, without a copy where the chain axis is fastest in memory."""
    return float(np.vdot(np.moveaxis(a, 0, -1), np.moveaxis(b, 0, -1)))
