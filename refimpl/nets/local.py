"""Kinds "conv" and "stencil": periodic convolutions, with a low-rank product of all sites added for the second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_number
from .activations import ACTIVATIONS
from .heads import dense_heads, dense_heads_pullback, hidden, hidden_pullback, site_heads, site_heads_pullback
from .linear import convolution, convolution_pullback, rows, times_factors, times_factors_pullback
from .net import Net, Outputs, Params, channels_of, check_kernel

Array = NDArray[np.float64]

# Added to the variance, so that a channel that is always silent stays finite; the usual value (Ioffe 2015).
VARIANCE_FLOOR = 1e-5


class Layer(NamedTuple):
    """One convolution: its input ``(chain, channel, T, X)``, its output and what the slope needs besides."""

    x: Array
    weight: Array
    y: Array
    kept: Array | None


def _joined(params: Mapping[str, Array], inputs: Mapping[str, Array]) -> tuple[Array, Array]:
    """All inputs as channels ``(chain, channel, T, X)`` and the weights on them; a chain is a lattice of T = 1."""
    dimension = params[f"in/{next(iter(inputs))}"].ndim - 2
    lattice = next(iter(inputs.values())).shape[-dimension:]
    fields, weights = [], []
    for name, array in inputs.items():
        weight = params[f"in/{name}"]
        channels = channels_of(name, array.shape[1:], lattice)
        if len(lattice) != dimension or channels != weight.shape[1]:
            count = weight.shape[1]
            raise ValueError(
                f"inputs[{name!r}]: got shape {array.shape}, expected {count} channels on {dimension} axes"
            )
        check_kernel(weight.shape[2:], lattice)
        fields.append(array.reshape(len(array), channels, *_planar(lattice)))
        weights.append(weight)
    return np.concatenate(fields, axis=1), _planar_kernel(np.concatenate(weights, axis=1))


def _planar(lattice: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *lattice) if len(lattice) == 1 else lattice


def _planar_kernel(weight: Array) -> Array:
    return weight[:, :, None] if weight.ndim == 3 else weight


def _stack(net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None) -> list[Layer]:
    """The convolutions of the net, one after the other."""
    x, weight = _joined(params, inputs)
    bias = params["in/bias"]
    if time is not None:
        bias = bias + time @ params["in/time"]
    layers = []
    for i in range(len(net.filters)):
        if i:
            weight, bias = _planar_kernel(params[f"conv/{i - 1}/weight"]), params[f"conv/{i - 1}/bias"]
        z = convolution(x, weight, bias)
        if net.kind == "stencil":
            factors = params[f"lowrank/{i}/left"], params[f"lowrank/{i}/right"]
            if len(factors[0]) != x[0].size:
                raise ValueError(
                    f"inputs: got {x[0].size} numbers a chain, expected {len(factors[0])}: another lattice"
                )
            z += times_factors(rows(x), factors)[: len(x)].reshape(z.shape)
        layers.append(Layer(x, weight, *ACTIVATIONS[net.activation].value(z)))
        x = layers[-1].y
    return layers


def _per_channel(array: Array) -> Array:
    return array[:, None, None]


def _standard(params: Mapping[str, Array], h: Array) -> Array:
    """``(h - mean) / std`` with the frozen statistics."""
    inverse_std = 1 / np.sqrt(params["norm/variance"] + VARIANCE_FLOOR)
    return (h - _per_channel(params["norm/mean"])) * _per_channel(inverse_std)


def apply(
    net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None
) -> tuple[Outputs, Any]:
    shapes = {name: array.shape for name, array in inputs.items()}
    layers = _stack(net, params, inputs, time)
    h = layers[-1].y
    if net.batch_norm:
        h = _standard(params, h) * _per_channel(params["norm/gain"]) + _per_channel(params["norm/bias"])
    kept: list[Any] = []
    if net.units:
        expected = params["hidden/0/weight"].shape[0]
        if h[0].size != expected:
            raise ValueError(f"inputs: got a lattice of {h[0, 0].size} sites, expected {expected // h.shape[1]}")
        last, kept = hidden(net, params, len(net.units), rows(h))
        outputs, bounded = dense_heads(net, params, last, len(h))
    else:
        last = h
        outputs, bounded = site_heads(net, params, last)
        if params[f"in/{next(iter(inputs))}"].ndim == 3:
            outputs = Outputs(*(None if out is None else out[..., 0, :] for out in outputs))
    return outputs, (shapes, time, layers, kept, last, bounded)


def pullback(net: Net, params: Mapping[str, Array], cache: Any, cotangents: Outputs) -> tuple[Params, dict[str, Array]]:
    shapes, time, layers, kept, last, bounded = cache
    h = layers[-1].y
    if net.units:
        grads, g = dense_heads_pullback(net, params, last, bounded, cotangents, len(h))
        more, g = hidden_pullback(net, params, kept, g)
        grads |= more
        g = g.reshape(h.shape)
    else:
        if params[f"in/{next(iter(shapes))}"].ndim == 3:
            cotangents = Outputs(*(None if g is None else np.expand_dims(g, -2) for g in cotangents))
        grads, g = site_heads_pullback(net, params, last, bounded, cotangents)
    if net.batch_norm:
        grads["norm/gain"] = (g * _standard(params, h)).sum(axis=(0, 2, 3))
        grads["norm/bias"] = g.sum(axis=(0, 2, 3))
        grads |= {key: np.zeros_like(params[key]) for key in ("norm/mean", "norm/variance")}
        g = g * _per_channel(params["norm/gain"] / np.sqrt(params["norm/variance"] + VARIANCE_FLOOR))
    for i, layer in reversed(list(enumerate(layers))):
        g = g * ACTIVATIONS[net.activation].slope(layer.y, layer.kept)
        grad_x, grad_weight, grad_bias = convolution_pullback(layer.x, layer.weight, g)
        if net.kind == "stencil":
            factors = params[f"lowrank/{i}/left"], params[f"lowrank/{i}/right"]
            flat_x, flat_g = (array.reshape(len(g), -1) for array in (layer.x, g))
            (left, right), back = times_factors_pullback(flat_x, factors, flat_g)
            grads |= {f"lowrank/{i}/left": left, f"lowrank/{i}/right": right}
            grad_x += back.reshape(grad_x.shape)
        if i:
            grads[f"conv/{i - 1}/weight"] = grad_weight.reshape(params[f"conv/{i - 1}/weight"].shape)
            grads[f"conv/{i - 1}/bias"] = grad_bias
        g = grad_x
    grads["in/bias"] = grad_bias
    if time is not None:
        grads["in/time"] = np.outer(time, grad_bias)
    grad_inputs, start = {}, 0
    for name, shape in shapes.items():
        key = f"in/{name}"
        part = slice(start, start + params[key].shape[1])
        grads[key] = grad_weight[:, part].reshape(params[key].shape)
        grad_inputs[name] = g[:, part].reshape(shape)
        start = part.stop
    return grads, grad_inputs


def update_statistics(
    net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None, momentum: float
) -> Params:
    if check_number("momentum", momentum, 0.0) > 1:
        raise ValueError(f"momentum: got {momentum}, expected a number from 0 to 1")
    h = _stack(net, params, inputs, time)[-1].y
    batch = {"norm/mean": h.mean(axis=(0, 2, 3)), "norm/variance": h.var(axis=(0, 2, 3))}
    return {key: array + momentum * (batch[key] - array) if key in batch else array for key, array in params.items()}
