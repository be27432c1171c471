"""A net on the plaquettes of 2D U(1), odd under charge conjugation, with its derivative along one tangent.

Inputs of plaquette P are ``cos k x_Q`` (even) and ``sin k x_Q`` (odd), ``k = 1, ..., harmonics``, for the plaquettes
Q up to ``radius`` sites from P in both directions, and the means of both over the lattice: gauge invariant, covariant
under translations. One hidden layer of gated neurons,

    h_P = sum_j v_j arcsinh(sum_a odd_a A_aj) tanh(sum_a even_a B_aj + b_j),

changes its sign with all angles. The tangent is that of a field without sum, ``d x_Q = delta_QP - 1/V``: with it the
divergence of ``G_P = h_P - (1/V) sum_Q h_Q`` is the sum of the derivatives of the ``h_P``, and no Jacobian is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import site_sum

Array = NDArray[np.float64]
Params = dict[str, Array]


class Inputs(NamedTuple):
    """Even and odd inputs of every plaquette and their tangents, ``(chain, V, feature)`` each."""

    even: Array
    odd: Array
    even_tangent: Array
    odd_tangent: Array

    def take(self, chosen: Any) -> Inputs:
        """Those of some chains."""
        return Inputs(*(array[chosen] for array in self))


def n_features(radius: int, harmonics: int) -> int:
    """Even inputs of a plaquette, and odd ones."""
    return harmonics * ((2 * radius + 1) ** 2 + 1)


def shapes(radius: int, harmonics: int, neurons: int) -> dict[str, tuple[int, ...]]:
    n = n_features(radius, harmonics)
    return {"odd": (n, neurons), "even": (n, neurons), "bias": (neurons,), "out": (neurons,)}


def init(rng: np.random.Generator, radius: int, harmonics: int, neurons: int) -> Params:
    """Parameters at the start of a training: the net is zero, its gradient is not."""
    params = {key: np.zeros(shape) for key, shape in shapes(radius, harmonics, neurons).items()}
    for key in ("odd", "even"):
        params[key] = rng.standard_normal(params[key].shape) / np.sqrt(len(params[key]))
    params["bias"] = rng.standard_normal(neurons)
    return params


def inputs(angles: Array, radius: int, harmonics: int) -> Inputs:
    """Inputs of plaquette angles ``(chain, T, X)``."""
    volume = angles[0].size
    parts: tuple[list[Array], ...] = ([], [], [], [])
    steps = [(t, x) for t in range(-radius, radius + 1) for x in range(-radius, radius + 1)]
    for k in range(1, harmonics + 1):
        cosine, sine = np.cos(k * angles), np.sin(k * angles)
        for step in steps:
            own = float(step == (0, 0)) - 1 / volume
            c, s = (np.roll(array, (-step[0], -step[1]), axis=(1, 2)) for array in (cosine, sine))
            _append(parts, c, s, -k * own * s, k * own * c)
        mean_c, mean_s = ((site_sum(array) / volume)[:, None, None] + np.zeros_like(array) for array in (cosine, sine))
        _append(parts, mean_c, mean_s, -k / volume * (sine - mean_s), k / volume * (cosine - mean_c))
    return Inputs(*(np.stack(part, axis=-1).reshape(len(angles), volume, -1) for part in parts))


def _append(parts: tuple[list[Array], ...], *arrays: Array) -> None:
    for part, array in zip(parts, arrays, strict=True):
        part.append(array)


class Cache(NamedTuple):
    """What the slope needs: inputs, pre-activations and their tangents."""

    inputs: Inputs
    p: Array
    dp: Array
    q: Array
    dq: Array


def apply(params: Mapping[str, Array], given: Inputs) -> tuple[Array, Array, Cache]:
    """``h_P`` and its derivative along the tangent, ``(chain, V)`` each."""
    p, dp = given.odd @ params["odd"], given.odd_tangent @ params["odd"]
    q, dq = given.even @ params["even"] + params["bias"], given.even_tangent @ params["even"]
    (y, dy, _), (t, dt, _) = _arcsinh(p), _tanh(q)
    out = params["out"]
    return (y * t) @ out, (dy * dp * t + y * dt * dq) @ out, Cache(given, p, dp, q, dq)


def pullback(params: Mapping[str, Array], cache: Cache, h_bar: Array, derivative_bar: Array) -> Params:
    """Gradient of the parameters from those of ``h`` and its derivative."""
    given, p, dp, q, dq = cache
    (y, y1, y2), (t, t1, t2) = _arcsinh(p), _tanh(q)
    a, b = h_bar[..., None], derivative_bar[..., None]
    out = params["out"]
    p_bar = out * (a * y1 * t + b * (y2 * dp * t + y1 * t1 * dq))
    q_bar = out * (a * y * t1 + b * (y1 * dp * t1 + y * t2 * dq))
    return {
        "odd": _outer(given.odd, p_bar) + _outer(given.odd_tangent, out * b * y1 * t),
        "even": _outer(given.even, q_bar) + _outer(given.even_tangent, out * b * y * t1),
        "bias": q_bar.sum(axis=(0, 1)),
        "out": (a * y * t + b * (y1 * dp * t + y * t1 * dq)).sum(axis=(0, 1)),
    }


def _outer(left: Array, right: Array) -> Array:
    return np.asarray(left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1]))


def _arcsinh(p: Array) -> tuple[Array, Array, Array]:
    """Value and first two derivatives."""
    first = 1 / np.sqrt(1 + p * p)
    return np.arcsinh(p), first, -p * first * first * first


def _tanh(q: Array) -> tuple[Array, Array, Array]:
    """Value and first two derivatives."""
    value = np.tanh(q)
    first = 1 - value * value
    return value, first, -2 * value * first
