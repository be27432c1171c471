"""The neural variate of 2D U(1): ``f = sum_P (d_P G_P - beta sin(x_P) G_P)`` with a net of plaquettes for G.

``G_P = h_P - (1/V) sum_Q h_Q`` is the nearest plaquette field to the outputs ``h_P`` of `refimpl.nets.plaquettes`
that comes from links. With its tangent, ``f = sum_P [h'_P - beta (sin x_P - mean sin) h_P]``: gauge invariant,
invariant under translations and, since h is odd, under charge conjugation; its mean is zero for any weights.
`refimpl.training.PlaquetteNet` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....lattice import check_integer, check_shape, plaquette_angles, site_sum
from ....nets import plaquettes
from ..files import KINDS
from .groups import few_at_a_time
from .stein import Loop, check_beta, checked_links, enclosed, link_field, loop, without_mean

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaquetteNetVariate:
    """The variate of a net.

    Parameters
    ----------
    params : as from `refimpl.nets.plaquettes.init`. radius, harmonics : of its inputs. beta : of the density. shape : ``(T, X)``.
    observable : what it was fitted to.
    """

    params: Mapping[str, Array]
    radius: int
    harmonics: int
    beta: float
    shape: tuple[int, int]
    observable: Loop

    def __post_init__(self) -> None:
        check_beta(self.beta)
        check_integer("harmonics", self.harmonics, 1)
        check_integer("radius", self.radius, 0, (min(check_shape(self.shape)) - 1) // 2)
        enclosed(self.observable, self.shape)
        neurons = np.size(self.params.get("out", ()))
        expected = plaquettes.shapes(self.radius, self.harmonics, neurons)
        got = {key: np.shape(value) for key, value in self.params.items()}
        if got != expected:
            raise ValueError(f"params: got shapes {got}, expected {expected}")
        for key, value in self.params.items():
            if not np.isfinite(value).all():
                raise ValueError(f"params[{key!r}]: got numbers that are not finite, expected finite ones")

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    def __call__(self, x: Array) -> Array:
        """``f``, shape ``(chain,)``."""
        x = checked_links(x, self.field_shape)
        result = np.empty(len(x))
        for part, links in few_at_a_time(x):
            angles = plaquette_angles(links)
            h, derivative, _ = plaquettes.apply(self.params, self.inputs(angles))
            result[part] = site_sum(derivative - self.beta * without_mean(np.sin(angles)).reshape(h.shape) * h)
        return result

    def inputs(self, angles: Array) -> plaquettes.Inputs:
        """What the net sees of plaquette angles ``(chain, T, X)``."""
        return plaquettes.inputs(angles, self.radius, self.harmonics)

    def field(self, x: Array) -> Array:
        """The link field g ``(chain, 2, T, X)`` whose Stein divergence is f."""
        angles = plaquette_angles(checked_links(x, self.field_shape))
        h = plaquettes.apply(self.params, self.inputs(angles))[0].reshape(angles.shape)
        return link_field(without_mean(h))

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        meta = {"radius": self.radius, "harmonics": self.harmonics, "beta": self.beta, "shape": list(self.shape)}
        return dict(self.params), {**meta, "observable": str(self.observable)}

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> PlaquetteNetVariate:
        n_t, n_x = meta["shape"]
        return cls(arrays, meta["radius"], meta["harmonics"], meta["beta"], (n_t, n_x), loop(meta["observable"]))


KINDS["PlaquetteNetVariate"] = PlaquetteNetVariate
