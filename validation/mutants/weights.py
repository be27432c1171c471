"""Loaders of weight files that lose something on the way, around a sampler that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..contract import PhasePoint
from ..references.l2hmc import map_with_weights
from .l2hmc_clay import L2HMC, Array


def _after(lose: Callable[[str, Array], Array]) -> Any:
    """The map whose weights went through ``lose(key, value)``."""

    def mapped(params: dict[str, Array], record: dict[str, Any], z: PhasePoint, d: int) -> tuple[PhasePoint, Array]:
        return map_with_weights({key: lose(key, value) for key, value in params.items()}, record, z, d)

    return staticmethod(mapped)


class BiasesLost(L2HMC):
    """the biases of the hidden layers are zero after loading (the exporter of Foreman 2020, sec. 16)"""

    killed_by = ("static.weights",)
    map_with_weights = _after(lambda key, value: value * ("/head/" in key or not key.endswith("bias")))


class HeadBiasesLost(L2HMC):
    """the biases of the heads are zero after loading"""

    killed_by = ("static.weights",)
    map_with_weights = _after(lambda key, value: value * ("/head/" not in key or not key.endswith("bias")))


class FirstLayerForAll(L2HMC):
    """every layer gets the nets of the first"""

    killed_by = ("static.weights",)
    map_with_weights = _after(lambda key, value: value if "eps" in key else np.repeat(value[:1], len(value), axis=0))


class ReversedInputs(L2HMC):
    """the links are handed to the nets in reverse order"""

    killed_by = ("static.weights",)
    map_with_weights = _after(lambda key, value: value[:, ::-1].copy() if "/in/" in key and value.ndim == 3 else value)
