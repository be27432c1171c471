"""Nets of the generalized leapfrog: a ladder from three numbers to convolutions, each with its reverse mode by hand.

Parameters are flat dicts of arrays (`init` lists the keys); `apply` is the fast form, `definition` the readable one in
autograd.numpy, `pullback` the gradient of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import dense, local
from .compression import compress, explained_variance
from .files import load, save
from .net import KINDS, Net, Outputs, Params, checked_inputs, init

Array = NDArray[np.float64]

__all__ = [
    "KINDS",
    "Net",
    "Outputs",
    "Params",
    "apply",
    "compress",
    "definition",
    "explained_variance",
    "init",
    "load",
    "pullback",
    "save",
    "update_statistics",
]

_FAMILIES = {"dense": dense, "conv": local, "stencil": local}


def apply(
    net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None
) -> tuple[Outputs, Any]:
    """Outputs of the net (Foreman 2020, eqs. 27-34) and what `pullback` needs.

    Parameters
    ----------
    params : as from `init`, of one layer.
    inputs : the named arrays ``(chain, *shape)`` that `init` was told of, float64, in any memory order.
    time : ``(cos 2 pi t/N, sin 2 pi t/N)``, or None for a net without time encoding.

    Returns
    -------
    `Outputs` of arrays ``(chain, *out_shape)``, or of shape ``()`` for kind ``"scalars"``; None where there is no such
    output. A chain has the same bits alone and in any batch (on one machine; see `refimpl.nets.linear`). The cache may
    refer to the inputs: they must not change before `pullback`.

    Raises `ValueError` for missing or unknown inputs, other shapes or types, and a time encoding that does not belong.
    """
    if net.kind == "scalars":
        values = (np.asarray(params[f"scalar/{letter}"]) if letter in net.outputs else None for letter in "stq")
        return Outputs(*values), dict(inputs)
    arrays, time = checked_inputs(params, inputs, time)
    outputs, cache = _FAMILIES[net.kind].apply(net, params, arrays, time)
    return outputs, cache


def pullback(net: Net, params: Mapping[str, Array], cache: Any, cotangents: Outputs) -> tuple[Params, dict[str, Array]]:
    """Gradients of ``sum(cotangent * output)`` with respect to every parameter and every input.

    ``cache`` is from `apply` with the same ``params``; ``cotangents`` have the shapes of the outputs, None where there
    is none. Gradients of the statistics of a batch normalisation are zero. Raises `ValueError` for other shapes.
    """
    if net.kind == "scalars":
        grads = {}
        for letter in "stq":
            g = getattr(cotangents, letter)
            if (g is None) == (letter in net.outputs) or (g is not None and np.shape(g) != ()):
                expected = "one of shape ()" if letter in net.outputs else "None"
                raise ValueError(f"cotangents: got {g!r} for {letter!r}, expected {expected}")
            if g is not None:
                grads[f"scalar/{letter}"] = np.asarray(g, dtype=np.float64)
        return grads, {name: np.zeros(np.shape(x)) for name, x in cache.items()}
    grads, grad_inputs = _FAMILIES[net.kind].pullback(net, params, cache, cotangents)
    return grads, grad_inputs


def definition(net: Net, params: Mapping[str, Any], inputs: Mapping[str, Any], time: Any) -> Outputs:
    """`apply` without the cache as written on paper, traceable by autograd; statistics count as constants."""
    from . import formulas  # loads autograd

    return formulas.outputs(net, params, inputs, time)


def update_statistics(
    net: Net, params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None, momentum: float
) -> Params:
    """Parameters whose frozen statistics have moved by the fraction ``momentum`` towards those of this batch.

    Mean and (biased) variance of each channel over chains and sites; the other parameters are the same arrays. Not to be
    called while sampling: statistics of the current batch couple its chains and break detailed balance.

    Raises `ValueError` for a net without ``batch_norm`` and for a momentum outside [0, 1].
    """
    if not net.batch_norm:
        raise ValueError(f"net: got batch_norm = {net.batch_norm!r}, expected a net with batch normalisation")
    arrays, time = checked_inputs(params, inputs, time)
    return local.update_statistics(net, params, arrays, time, momentum)
