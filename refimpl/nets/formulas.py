"""The nets as written on paper, in autograd.numpy: what `apply` and `pullback` are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive
from autograd.tracer import getval

from .activations import LEAK
from .local import VARIANCE_FLOOR
from .net import Net, Outputs

# autograd differentiates tanh as 1/cosh(z)^2, which overflows at a saturated unit (|z| > 355)
tanh = primitive(np.tanh)
defvjp(tanh, lambda y, z: lambda g: g * (1 - y * y))

ACTIVATIONS = {
    "relu": lambda z: anp.where(z > 0, z, 0.0),
    "leaky_relu": lambda z: anp.where(z > 0, z, LEAK * z),
    "tanh": tanh,
    "elu": lambda z: anp.where(z > 0, z, anp.expm1(anp.where(z > 0, 0.0, z))),
    "softplus": lambda z: anp.logaddexp(0.0, z),
    "swish": lambda z: z * 0.5 * (1 + tanh(z / 2)),
    "silu": lambda z: z * 0.5 * (1 + tanh(z / 2)),
}


def outputs(net: Net, params: Mapping[str, Any], inputs: Mapping[str, Any], time: Any) -> Outputs:
    if net.kind == "scalars":
        return Outputs(*(params[f"scalar/{letter}"] if letter in net.outputs else None for letter in "stq"))
    act = ACTIVATIONS[net.activation]
    names = sorted(inputs)
    bias = params["in/bias"] if time is None else params["in/bias"] + anp.dot(time, params["in/time"])  # (29)
    if net.kind == "dense":
        h = act(sum(flat(inputs[name]) @ matrix(params, f"in/{name}") for name in names) + bias)  # (27)-(30)
        n_hidden = len(net.units) - 1
    else:
        h = local(net, params, [inputs[name] for name in names], [params[f"in/{name}"] for name in names], bias)
        n_hidden = len(net.units)
        h = flat(h) if net.units else h
    for i in range(n_hidden):
        h = act(h @ matrix(params, f"hidden/{i}/weight") + params[f"hidden/{i}/bias"])  # (31)
    return Outputs(*(head(net, params, letter, h) if letter in net.outputs else None for letter in "stq"))


def flat(x: Any) -> Any:
    return x.reshape(x.shape[0], -1)


def matrix(params: Mapping[str, Any], key: str) -> Any:
    base = key.removesuffix("/weight")
    return params[key] if key in params else params[f"{base}/left"] @ params[f"{base}/right"]


def local(net: Net, params: Mapping[str, Any], fields: list[Any], weights: list[Any], bias: Any) -> Any:
    """The stack of convolutions, ``(chain, channel, *lattice)``."""
    act, dimension = ACTIVATIONS[net.activation], weights[0].ndim - 2
    channels = [x.reshape(x.shape[0], -1, *x.shape[-dimension:]) for x in fields]
    h = anp.concatenate(channels, axis=1)
    z = sum(convolution(x, weight) for x, weight in zip(channels, weights, strict=True)) + per_site(bias, dimension)
    for i in range(len(net.filters)):
        if i:
            z = convolution(h, params[f"conv/{i - 1}/weight"]) + per_site(params[f"conv/{i - 1}/bias"], dimension)
        if net.kind == "stencil":
            z = z + (flat(h) @ params[f"lowrank/{i}/left"] @ params[f"lowrank/{i}/right"]).reshape(z.shape)
        h = act(z)
    if net.batch_norm:
        mean, variance = (per_site(constant(params[f"norm/{key}"]), dimension) for key in ("mean", "variance"))
        gain, shift = per_site(params["norm/gain"], dimension), per_site(params["norm/bias"], dimension)
        h = gain * (h - mean) / anp.sqrt(variance + VARIANCE_FLOOR) + shift
    return h


def per_site(array: Any, dimension: int) -> Any:
    return array.reshape(array.shape + (1,) * dimension)


def constant(array: Any) -> Any:
    """The value behind every level of tracing: frozen statistics have no gradient."""
    value = getval(array)
    return value if value is array else constant(value)


def convolution(x: Any, weight: Any) -> Any:
    """``y[c, o, n] = sum_{i, k} weight[o, i, k] x[c, i, n + k - kernel // 2]``, periodic."""
    kernel = weight.shape[2:]
    y: Any = 0.0
    for k in product(*map(range, kernel)):
        shifted = x
        for axis, (size, j) in enumerate(zip(kernel, k, strict=True)):
            shifted = anp.roll(shifted, size // 2 - j, axis=axis + 2)
        y = y + anp.moveaxis(anp.tensordot(weight[(slice(None), slice(None), *k)], shifted, axes=([1], [1])), 0, 1)
    return y


def head(net: Net, params: Mapping[str, Any], letter: str, h: Any) -> Any:
    """``s = scale tanh(W h + b)`` (32), ``q`` alike (33), ``t = W h + b`` (34)."""
    bias, scale = params[f"head/{letter}/bias"], params.get(f"head/{letter}/scale")
    if net.units:
        z = (h @ matrix(params, f"head/{letter}/weight")).reshape(h.shape[0], *bias.shape) + bias
    else:
        dimension = h.ndim - 2
        weight = params[f"head/{letter}/weight"].reshape(-1, h.shape[1])
        z = anp.moveaxis(anp.tensordot(h, weight, axes=([1], [1])), -1, 1)
        z = z.reshape(h.shape[0], *bias.shape, *h.shape[2:]) + per_site(bias, dimension)
        scale = None if scale is None else per_site(scale, dimension)
    return z if letter == "t" else scale * tanh(z)
