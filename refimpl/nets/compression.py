"""Low-rank approximation of a trained dense net by singular values (Foreman 2020, AI7, eq. 62)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer
from .net import Net, Params

Array = NDArray[np.float64]


def compress(net: Net, params: Mapping[str, Array], rank: int) -> tuple[Net, Params, dict[str, Array]]:
    """The net with every weight matrix ``W = U S V^H`` (62) replaced by its best approximation of that rank.

    Each matrix of inputs, hidden layers and heads becomes ``left @ right`` with ``left = U_r sqrt(S_r)`` and
    ``right = sqrt(S_r) V_r^H``, so that the two factors train at one pace; biases, scales and ``in/time`` stay.

    Parameters
    ----------
    net : of kind ``"dense"``, not yet compressed.
    params : of one layer.
    rank : at least 1. Where a matrix has a smaller side the rank is that side, and the matrix is kept to rounding.

    Returns
    -------
    The net with ``rank`` set, its parameters (keys as in `init`), and all singular values, descending, by the key of
    the matrix they belong to; `explained_variance` turns them into fractions.

    Raises `ValueError` for another kind of net, one with a rank already, and parameters of more than one layer.
    """
    if net.kind != "dense" or net.rank:
        raise ValueError(f"net: got kind {net.kind!r} of rank {net.rank}, expected kind 'dense' of rank 0")
    check_integer("rank", rank, 1)
    compressed: Params = {}
    values: dict[str, Array] = {}
    for key, array in params.items():
        if key in ("in/time", "in/bias") or not (key.startswith("in/") or key.endswith("/weight")):
            compressed[key] = array
            continue
        if array.ndim != 2:
            raise ValueError(f"params[{key!r}]: got shape {array.shape}, expected the two axes of one layer's matrix")
        u, s, vh = np.linalg.svd(array, full_matrices=False)
        root = np.sqrt(s[:rank])
        base = key.removesuffix("/weight")
        compressed[f"{base}/left"] = u[:, :rank] * root
        compressed[f"{base}/right"] = root[:, None] * vh[:rank]
        values[key] = s
    return replace(net, rank=rank), compressed, values


def explained_variance(singular_values: Array) -> Array:
    """Fractions ``s_i^2 / sum_j s_j^2`` of the variance of a matrix; all zero for a zero matrix."""
    s = np.asarray(singular_values, dtype=np.float64)
    largest = s.max(initial=0.0)
    if largest == 0:
        return np.zeros_like(s)
    squares = (s / largest) ** 2
    fractions: Array = squares / squares.sum()
    return fractions
