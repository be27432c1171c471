"""Loaders of weight files that lose something on the way, around a sampler that is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import PhasePoint
from ..reference_l2hmc import map_with_weights
from .l2hmc_clay import L2HMC, Array


class BiasesLost(L2HMC):
    """the biases of the hidden layers are zero after loading (the exporter of Foreman 2020, sec. 16)"""

    killed_by = ("static.weights",)

    def loaded(self, key: str, value: Array) -> Array:
        return np.zeros_like(value) if key.endswith("bias") and "/head/" not in key else value

    def map_with_weights(
        self, params: dict[str, Array], record: dict[str, Any], z: PhasePoint, d: int
    ) -> tuple[PhasePoint, Array]:
        return map_with_weights({key: self.loaded(key, value) for key, value in params.items()}, record, z, d)


class HeadBiasesLost(BiasesLost):
    """the biases of the heads are zero after loading"""

    def loaded(self, key: str, value: Array) -> Array:
        return np.zeros_like(value) if key.endswith("bias") and "/head/" in key else value


class FirstLayerForAll(BiasesLost):
    """every layer gets the nets of the first"""

    def loaded(self, key: str, value: Array) -> Array:
        return np.broadcast_to(value[:1], value.shape).copy() if "/" in key else value


class OtherTimeAxis(BiasesLost):
    """the inputs of the nets are flattened with space before time"""

    def loaded(self, key: str, value: Array) -> Array:
        if "/in/" not in key or value.ndim < 3:
            return value
        sites = value.reshape(len(value), 2, *self.shape, -1)
        return np.asarray(np.swapaxes(sites, 2, 3).reshape(value.shape))
