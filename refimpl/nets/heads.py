"""Hidden dense layers and the heads of every kind, forward and reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .linear import Factors, times_factors, times_factors_pullback
from .net import Net, Outputs, Params

Array = NDArray[np.float64]


def factors_of(params: Mapping[str, Array], key: str) -> Factors:
    """The matrix under ``key`` or its two factors, ``<key without /weight>/left`` and ``/right``."""
    if key in params:
        return (params[key],)
    base = key.removesuffix("/weight")
    return params[f"{base}/left"], params[f"{base}/right"]


def grads_of(key: str, grads: list[Array]) -> Params:
    """Gradients of `factors_of` under the keys of the parameters."""
    if len(grads) == 1:
        return {key: grads[0]}
    base = key.removesuffix("/weight")
    return {f"{base}/left": grads[0], f"{base}/right": grads[1]}


def hidden(net: Net, params: Mapping[str, Array], n_layers: int, h: Array) -> tuple[Array, list[Any]]:
    """``h = act(h W + b)`` (31), ``n_layers`` times, and what `hidden_pullback` needs."""
    value, kept = ACTIVATIONS[net.activation].value, []
    for i in range(n_layers):
        z = times_factors(h, factors_of(params, f"hidden/{i}/weight"))
        z += params[f"hidden/{i}/bias"]
        y, more = value(z)
        kept.append((h, y, more))
        h = y
    return h, kept


def hidden_pullback(net: Net, params: Mapping[str, Array], kept: list[Any], g: Array) -> tuple[Params, Array]:
    """Gradients of `hidden` with respect to its parameters and its input, from rows ``g`` without padding."""
    slope, grads = ACTIVATIONS[net.activation].slope, {}
    for i, (h, y, more) in reversed(list(enumerate(kept))):
        g = g * slope(y, more)[: len(g)]
        key = f"hidden/{i}/weight"
        grads[f"hidden/{i}/bias"] = g.sum(axis=0)
        matrices, g = times_factors_pullback(h, factors_of(params, key), g)
        grads |= grads_of(key, matrices)
    return grads, g


def heads(
    net: Net, params: Mapping[str, Array], linear: Callable[[str], Array], add_axes: tuple[int, ...]
) -> tuple[Outputs, dict[str, Array]]:
    """Outputs (32)-(34), and the ``tanh`` of each scaled one, from ``linear(letter)``, its head without bias.

    Biases and scales get axes at ``add_axes``.
    """
    outputs: dict[str, Array | None] = dict.fromkeys("stq")
    bounded = {}
    for letter in net.outputs:
        z = linear(letter)
        z += _spread(params[f"head/{letter}/bias"], add_axes)
        if letter == "t":
            outputs[letter] = z
        else:
            bounded[letter] = np.tanh(z, out=z)
            outputs[letter] = _spread(params[f"head/{letter}/scale"], add_axes) * z
    return Outputs(**outputs), bounded


def _spread(array: Array, add_axes: tuple[int, ...]) -> Array:
    """With the last axes ``add_axes`` of length 1 added; numpy.expand_dims costs as much as the product that follows."""
    spread: Array = array[(..., *(None for _ in add_axes))]
    return spread


def heads_pullback(
    net: Net,
    params: Mapping[str, Array],
    bounded: Mapping[str, Array],
    cotangents: Outputs,
    add_axes: tuple[int, ...],
    shape: tuple[int, ...],
) -> tuple[Params, dict[str, Array]]:
    """Gradients of `heads` with respect to biases, scales and each linear part; outputs are of ``shape``."""
    grads, linear = {}, {}
    axes = (0, *add_axes)
    for letter in "stq":
        g = getattr(cotangents, letter)
        if letter not in net.outputs:
            if g is not None:
                raise ValueError(
                    f"cotangents: got one for {letter!r}, expected None: the net has outputs {net.outputs!r}"
                )
            continue
        if np.shape(g) != shape:
            got = None if g is None else np.shape(g)
            raise ValueError(f"cotangents: got shape {got} for {letter!r}, expected {shape}")
        if letter != "t":
            tanh, scale = bounded[letter], params[f"head/{letter}/scale"]
            product = g * tanh
            grads[f"head/{letter}/scale"] = product.sum(axis=axes)
            product *= tanh
            g = np.subtract(g, product, out=product)
            g *= _spread(scale, add_axes)
        grads[f"head/{letter}/bias"] = np.sum(g, axis=axes)
        linear[letter] = g
    return grads, linear


def dense_heads(net: Net, params: Mapping[str, Array], h: Array, n_chains: int) -> tuple[Outputs, dict[str, Array]]:
    """Heads on the features of each chain, rows ``(padded chain, feature)``; outputs ``(chain, *out_shape)``."""

    def linear(letter: str) -> Array:
        z = times_factors(h, factors_of(params, f"head/{letter}/weight"))
        return z[:n_chains].reshape(n_chains, *params[f"head/{letter}/bias"].shape)

    return heads(net, params, linear, ())


def dense_heads_pullback(
    net: Net,
    params: Mapping[str, Array],
    h: Array,
    bounded: Mapping[str, Array],
    cotangents: Outputs,
    n_chains: int,
) -> tuple[Params, Array]:
    """Gradients of `dense_heads` with respect to its parameters and to the rows of ``h`` that are chains."""
    out_shape = params[f"head/{net.outputs[0]}/bias"].shape
    grads, linear = heads_pullback(net, params, bounded, cotangents, (), (n_chains, *out_shape))
    total = np.zeros_like(h[:n_chains])
    for letter, g in linear.items():
        key = f"head/{letter}/weight"
        matrices, back = times_factors_pullback(h, factors_of(params, key), g.reshape(n_chains, -1))
        grads |= grads_of(key, matrices)
        total += back
    return grads, total


def site_heads(net: Net, params: Mapping[str, Array], h: Array) -> tuple[Outputs, dict[str, Array]]:
    """Heads on the channels of each site, ``h`` of shape ``(chain, channel, T, X)``; outputs on the same lattice."""
    n_chains, channels, t, n = h.shape
    flat = h.reshape(n_chains, channels, -1)

    def linear(letter: str) -> Array:
        weight = params[f"head/{letter}/weight"]
        z = np.matmul(weight.reshape(-1, channels), flat)
        return z.reshape(n_chains, *weight.shape[:-1], t, n)

    return heads(net, params, linear, (-2, -1))


def site_heads_pullback(
    net: Net, params: Mapping[str, Array], h: Array, bounded: Mapping[str, Array], cotangents: Outputs
) -> tuple[Params, Array]:
    """Gradients of `site_heads` with respect to its parameters and ``h``."""
    n_chains, channels, t, n = h.shape
    flat = h.reshape(n_chains, channels, -1)
    leading = params[f"head/{net.outputs[0]}/bias"].shape
    grads, linear = heads_pullback(net, params, bounded, cotangents, (-2, -1), (n_chains, *leading, t, n))
    total = np.zeros_like(flat)
    for letter, g in linear.items():
        weight = params[f"head/{letter}/weight"]
        g = np.ascontiguousarray(g).reshape(n_chains, -1, t * n)
        grads[f"head/{letter}/weight"] = np.matmul(g, flat.transpose(0, 2, 1)).sum(axis=0).reshape(weight.shape)
        total += np.matmul(weight.reshape(-1, channels).T, g)
    return grads, total.reshape(h.shape)
