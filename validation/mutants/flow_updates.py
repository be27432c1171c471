"""Wrong Metropolis steps with the samples of a right flow, and wrong loaders of weights: each overrides one method of the clay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..references.flows import flow_with_weights
from .flow_clay import Array, Field, GaugeFlow, Rngs, ScalarFlow


# --- the Metropolis step -----------------------------------------------------------------------------------------------------
class InverseRatio(ScalarFlow):
    """accepted with w(x)/w(y)"""

    killed_by = ("exact_start.energy_exchange", "exact_start.moves", "flow_weights.acceptance")

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return super().accept(-log_ratio, u)


class ProposalsAlwaysAccepted(ScalarFlow):
    """samples of the flow are taken as they are"""

    killed_by = ("exact_start.observables", "flow_weights.acceptance")

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return np.ones(len(u), dtype=bool)


class StaleWeight(ScalarFlow):
    """after a rejection the log weight of the proposal is kept"""

    killed_by = ("exact_start.moves",)

    def kept(self, accepted: NDArray[np.bool_], log_weight: Array, proposed: Array) -> Array:
        return proposed


class ActionAlone(ScalarFlow):
    """the decision compares actions, as if proposals were symmetric"""

    killed_by = ("exact_start.observables", "flow_weights.acceptance")

    def log_weight(self, x: Field) -> Array:
        return -self.action(x)

    def update(self, x: Field, log_weight: Array, rngs: Rngs) -> tuple[Field, Array]:
        y, _ = self.draw(rngs)
        proposed = -self.action(y)
        accepted = self.accept(proposed - log_weight, np.array([rng.random() for rng in rngs]))
        return np.where(accepted[:, None, None], y, x), self.kept(accepted, log_weight, proposed)


class TwoProposals(ScalarFlow):
    """an update tries twice, and counts as one"""

    killed_by = ("flow_weights.acceptance",)

    def update(self, x: Field, log_weight: Array, rngs: Rngs) -> tuple[Field, Array]:
        return super().update(*super().update(x, log_weight, rngs), rngs)


# --- loaders of weights ------------------------------------------------------------------------------------------------------
def _after(lose: Callable[[str, Array], Array], order: int = 1) -> Any:
    """The flow whose weights went through ``lose(key, value)``, its layers in this order."""

    def mapped(params: dict[str, Array], record: dict[str, Any], z: Array, d: int) -> tuple[Array, Array]:
        taken = record | {"layers": record["layers"][::order]}
        return flow_with_weights({key: lose(key, value) for key, value in params.items()}, taken, z, d)

    return staticmethod(mapped)


class ConvolutionFlipped(ScalarFlow):
    """kernels are flipped: a convolution in the sense of the word, where nets have cross-correlations"""

    killed_by = ("flows.golden",)
    flow_with_weights = _after(lambda key, value: value[..., ::-1, ::-1].copy() if value.ndim == 4 else value)


class AxesOfKernelExchanged(GaugeFlow):
    """kernels are loaded with time and space exchanged"""

    killed_by = ("flows.golden",)
    flow_with_weights = _after(lambda key, value: value.swapaxes(-1, -2).copy() if value.ndim == 4 else value)


class LastBiasLost(GaugeFlow):
    """the biases of the last convolution are zero after loading"""

    killed_by = ("flows.golden",)
    flow_with_weights = _after(lambda key, value: value * (not key.endswith("bias/1")))


class LayersReversed(GaugeFlow):
    """the masks of the layers are taken from the last to the first, their weights from the first to the last"""

    killed_by = ("flows.golden",)
    flow_with_weights = _after(lambda key, value: value, -1)
