"""A normalizing flow: a prior and a map of it (Albergo 2019, eqs. 4, 5; Abbott 2022, eqs. 13, 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..maps.base import Map, check_map
from .priors import Prior, Streams

Array = NDArray[np.float64]
Field = NDArray[Any]


@dataclass(frozen=True)
class Flow:
    """The density of ``x = f(z)``, z from the prior r: ``log q(x) = log r(z) - log |det df/dz|``.

    It is a `refimpl.kernels.Proposal`: `action` and `draw` are those of the independence Metropolis.

    Parameters
    ----------
    prior : where z is from. map : f.
    """

    prior: Prior
    map: Map

    def __post_init__(self) -> None:
        if isinstance(self.prior, type) or not (hasattr(self.prior, "sample") and hasattr(self.prior, "log_prob")):
            raise TypeError(f"prior: got {self.prior!r:.60}, expected one with sample and log_prob")
        check_map("map", self.map)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Of one field, without the chain axis."""
        return self.prior.field_shape

    def sample(self, rngs: Streams, n: int) -> tuple[Field, Array]:
        """``n`` independent fields and their ``log q``; ``rngs`` is one Generator, or one for each field."""
        z = self.prior.sample(rngs, n)
        x, logdet = self.map.forward(z)
        return x, self.prior.log_prob(z) - logdet

    def log_prob(self, x: Field) -> Array:
        """``log q(x)``, normalised, by the inverse of the map, shape ``(chain,)``."""
        z, logdet = self.map.inverse(x)
        return self.prior.log_prob(z) + logdet

    def action(self, x: Field) -> Array:
        """``-log q(x)``."""
        return -self.log_prob(x)

    def draw(self, rngs: Sequence[np.random.Generator]) -> tuple[Field, Array]:
        """One field for each Generator, and its ``-log q``."""
        x, log_prob = self.sample(rngs, len(rngs))
        return x, -log_prob
