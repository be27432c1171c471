"""Low rank for the dense nets of a trained model (Foreman 2020, AI7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nets
from .architecture import Params, layer
from .l2hmc import GeneralizedLeapfrog

Array = NDArray[np.float64]


def compressed(model: GeneralizedLeapfrog, rank: int) -> tuple[GeneralizedLeapfrog, dict[str, Array]]:
    """The model with every weight matrix of its dense nets replaced by its best approximation of that rank.

    Another sampler, as exact as the one before: only the outputs of its nets have changed.

    Parameters
    ----------
    model : with a dense net at least, none of them compressed before; nets of other kinds stay as they are.
    rank : at least 1; a matrix with a side that is smaller is kept to rounding.

    Returns
    -------
    The model, and all singular values by the key of the matrix, ``(layers, values)``, descending.

    Raises
    ------
    ValueError : no dense net, a dense net that has a rank already, a rank below 1.
    """
    architecture = model.architecture
    found = {"v": architecture.v_net, "x": architecture.x_net}
    if all(net is None or net.kind != "dense" for net in found.values()):
        kinds = [None if net is None else net.kind for net in found.values()]
        raise ValueError(f"model: got nets {kinds}, expected a dense one")
    params = dict(model.params)
    values: dict[str, Array] = {}
    smaller: dict[str, Any] = {}
    for which, net in found.items():
        if net is None or net.kind != "dense":
            continue
        n_nets = len(params[f"{which}/in/bias"])
        parts = [nets.compress(net, layer(model.params, which, k), rank) for k in range(n_nets)]
        smaller[f"{which}_net"] = parts[0][0]
        params = {key: value for key, value in params.items() if not key.startswith(f"{which}/")}
        params |= _stacked(which, [part[1] for part in parts])
        values |= _stacked(which, [part[2] for part in parts])
    return model.replace(architecture=replace(architecture, **smaller), params=params), values


def _stacked(which: str, layers: list[Params]) -> Params:
    return {f"{which}/{key}": np.stack([one[key] for one in layers]) for key in layers[0]}
