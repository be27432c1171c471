"""Kind "dense": fields flattened, every site connected to every other (Foreman 2020, sec. 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .heads import dense_heads, dense_heads_pullback, factors_of, grads_of, hidden, hidden_pullback
from .linear import rows, times_factors, times_factors_pullback
from .net import Net, Outputs, Params

Array = NDArray[np.float64]


def apply(
    net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None
) -> tuple[Outputs, Any]:
    n_chains = len(next(iter(inputs.values())))
    x = {name: rows(array) for name, array in inputs.items()}
    bias = params["in/bias"]
    if time is not None:
        bias = bias + time @ params["in/time"]
    total = None
    for name, array in x.items():
        factors = factors_of(params, f"in/{name}")
        if array.shape[1] != len(factors[0]):
            raise ValueError(f"inputs[{name!r}]: got {array.shape[1]} entries a chain, expected {len(factors[0])}")
        z = times_factors(array, factors)
        total = z if total is None else np.add(total, z, out=total)
    assert total is not None
    total += bias
    first, kept_first = ACTIVATIONS[net.activation].value(total)
    last, kept = hidden(net, params, len(net.units) - 1, first)
    outputs, bounded = dense_heads(net, params, last, n_chains)
    shapes = {name: array.shape for name, array in inputs.items()}
    return outputs, (x, shapes, time, first, kept_first, kept, last, bounded)


def pullback(net: Net, params: Mapping[str, Array], cache: Any, cotangents: Outputs) -> tuple[Params, dict[str, Array]]:
    x, shapes, time, first, kept_first, kept, last, bounded = cache
    n_chains = next(iter(shapes.values()))[0]
    grads, g = dense_heads_pullback(net, params, last, bounded, cotangents, n_chains)
    more, g = hidden_pullback(net, params, kept, g)
    grads |= more
    g = g * ACTIVATIONS[net.activation].slope(first, kept_first)[:n_chains]
    grads["in/bias"] = g.sum(axis=0)
    if time is not None:
        grads["in/time"] = np.outer(time, grads["in/bias"])
    grad_inputs = {}
    for name, array in x.items():
        key = f"in/{name}"
        matrices, back = times_factors_pullback(array, factors_of(params, key), g)
        grads |= grads_of(key, matrices)
        grad_inputs[name] = back.reshape(shapes[name])
    return grads, grad_inputs
