"""The neural control variate of a scalar field (Bedaque 2023, eqs. 5, 9): ``f = sum_y [ dg_y/dphi_y - g_y dS/dphi_y ]``.

``g_y = g_0(T_y phi)`` for a net ``g_0`` (`refimpl.nets.translates`), so that f is invariant under translations and, since
``g_0`` is odd, under ``phi -> -phi``. Its mean is zero for any weights. `refimpl.training.Neural` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Action, Phi4
from ...lattice import check_integer, site_sum
from ...nets import translates
from ...observables.quantities import Quantity, quantity
from .base import Observable, check_enough, checked_configurations, in_chunks
from .files import KINDS

Array = NDArray[np.float64]

# Numbers in one layer of the chains in work: a MB, so that the layers of a net stay in the second-level cache.
WORK = 1 << 17
DEPENDENT = 1e-10  # singular values of the features of a regression below this, relative to the largest, are rounding


@dataclass(frozen=True, eq=False)
class NeuralVariate:
    """The variate of a net.

    Parameters
    ----------
    params : as from `refimpl.nets.translates.init`, for the sites of the lattice.
    action : of real fields ``(chain, T, X)``, such as `refimpl.actions.Phi4`. shape : ``(T, X)``.
    observable : ``x -> (chain,)``, what it was fitted to.
    """

    params: Mapping[str, Array]
    action: Action
    shape: tuple[int, int]
    observable: Observable

    def __post_init__(self) -> None:
        first = self.params.get("weight/0")
        if first is None or np.ndim(first) != 2:
            raise ValueError(
                f"params: got keys {sorted(self.params)}, expected weight/0 of shape (V, neurons) and so on"
            )
        expected = translates.shapes(self.shape[0] * self.shape[1], len(self.params) - 1, first.shape[1])
        got = {key: np.shape(value) for key, value in self.params.items()}
        if got != expected:
            raise ValueError(f"params: got shapes {got}, expected {expected} on the lattice {self.shape}")
        for key, value in self.params.items():
            if not np.isfinite(value).all():
                raise ValueError(f"params[{key!r}]: got numbers that are not finite, expected finite ones")

    @property
    def field_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return len(self.params) - 1

    @property
    def neurons(self) -> int:
        """Neurons of a hidden layer; 1 where there is none."""
        return int(self.params["weight/0"].shape[1])

    def __call__(self, x: ArrayLike) -> Array:
        """``f``, shape ``(chain,)``; a chain has the same bits in any batch."""
        fields = checked_configurations(x, self.shape, "x")
        few = self._few
        return np.concatenate([self._of_few(fields[i : i + few]) for i in range(0, len(fields), few)])

    def g(self, x: ArrayLike) -> Array:
        """The field ``g_y``, shape ``(chain, T, X)``, whose divergence makes f."""
        fields = checked_configurations(x, self.shape, "x")
        return translates.apply(self.params, translates.modes(fields), self.shape)[0].reshape(fields.shape)

    def regressed(self, configurations: ArrayLike, observable: Observable) -> NeuralVariate:
        """The variate with the weights of the last layer that take most variance from another observable, by least squares.

        What the net of one time slice does for the others, which fluctuate with it. f is linear in these weights: one feature
        for every neuron of the last hidden layer, and f itself where there is none. The configurations may be those of the
        fit, but not those of the estimate; they are more than the features.
        """
        x = checked_configurations(configurations, self.shape)
        check_enough(len(x), self.neurons if self.layers else 1)
        few = self._few
        features = np.concatenate([self._features(x[i : i + few]) for i in range(0, len(x), few)])
        values = in_chunks(observable, x)
        fitted = np.linalg.lstsq(features - features.mean(axis=0), values - values.mean(), rcond=DEPENDENT)[0]
        last = f"weight/{self.layers}"
        weight = fitted[:, None] if self.layers else fitted[0] * self.params[last]
        return NeuralVariate({**self.params, last: weight}, self.action, self.shape, observable)

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and meta data of a file; raises `ValueError` for an action or an observable without a name."""
        if not isinstance(self.action, Phi4):
            raise ValueError(f"action: got {self.action!r}, expected a Phi4 in a file")
        if not isinstance(self.observable, Quantity):
            raise ValueError(f"observable: got {self.observable!r}, expected one of refimpl.observables with a name")
        meta = {"action": asdict(self.action), "shape": list(self.shape), "observable": str(self.observable)}
        return dict(self.params), meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> NeuralVariate:
        n_t, n_x = (check_integer("shape", extent, 1) for extent in meta["shape"])
        return cls(arrays, Phi4(**meta["action"]), (n_t, n_x), quantity(meta["observable"]))

    @property
    def _few(self) -> int:
        return max(1, WORK // (2 * self.params["weight/0"].size))

    def _features(self, x: Array) -> Array:
        """What f has the last weights times of: ``(chain, neuron)``, or f itself without hidden layers."""
        g, derivative, (_, _, kept) = translates.apply(self.params, translates.modes(x), self.shape)
        values, tangents = (kept[-1][2][:, 0], kept[-1][2][:, 1]) if kept else (g[:, None], derivative[:, None])
        return np.asarray((tangents - values * self.action.force(x).reshape(len(x), 1, -1)).sum(axis=2))

    def _of_few(self, x: Array) -> Array:
        g, derivative, _ = translates.apply(self.params, translates.modes(x), self.shape)
        return site_sum(derivative - g * self.action.force(x).reshape(g.shape))


KINDS["NeuralVariate"] = NeuralVariate
