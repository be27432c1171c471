"""Activation functions: value and slope, in place where the value alone gives the slope back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAK = 0.01


class Activation(NamedTuple):
    """``value(z) -> (y, kept)`` may overwrite ``z``; ``slope(y, kept)`` is ``dy/dz``, a new array."""

    value: Callable[[Array], tuple[Array, Array | None]]
    slope: Callable[[Array, Array | None], Array]


def _relu(z: Array) -> tuple[Array, None]:
    return np.maximum(z, 0.0, out=z), None


def _leaky_relu(z: Array) -> tuple[Array, None]:
    return np.maximum(z, LEAK * z, out=z), None


def _tanh(z: Array) -> tuple[Array, None]:
    return np.tanh(z, out=z), None


def _elu(z: Array) -> tuple[Array, None]:
    below = np.expm1(np.minimum(z, 0.0))
    return np.add(np.maximum(z, 0.0, out=z), below, out=z), None


def _softplus(z: Array) -> tuple[Array, None]:
    tail = np.abs(z)
    np.exp(np.negative(tail, out=tail), out=tail)
    return np.add(np.maximum(z, 0.0, out=z), np.log1p(tail, out=tail), out=z), None


def _swish(z: Array) -> tuple[Array, Array]:
    sigmoid = 0.5 * z
    np.tanh(sigmoid, out=sigmoid)
    sigmoid += 1.0
    sigmoid *= 0.5
    return np.multiply(z, sigmoid, out=z), sigmoid


def _relu_slope(y: Array, kept: Array | None) -> Array:
    return (y > 0).astype(np.float64)


def _leaky_relu_slope(y: Array, kept: Array | None) -> Array:
    slope = _relu_slope(y, kept)
    slope *= 1 - LEAK
    slope += LEAK
    return slope


def _tanh_slope(y: Array, kept: Array | None) -> Array:
    slope = y * y
    return np.subtract(1.0, slope, out=slope)


def _elu_slope(y: Array, kept: Array | None) -> Array:
    return np.minimum(y, 0.0) + 1.0


def _softplus_slope(y: Array, kept: Array | None) -> Array:
    return -np.expm1(-y)


def _swish_slope(y: Array, kept: Array | None) -> Array:
    assert kept is not None
    slope = 1.0 - kept
    slope *= y
    slope += kept
    return slope


ACTIVATIONS = {
    "relu": Activation(_relu, _relu_slope),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_slope),
    "tanh": Activation(_tanh, _tanh_slope),
    "elu": Activation(_elu, _elu_slope),
    "softplus": Activation(_softplus, _softplus_slope),
    "swish": Activation(_swish, _swish_slope),
    "silu": Activation(_swish, _swish_slope),
}
