"""An action seen through a map: the action of ``z`` whose image ``x = f(z)`` has the action S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..lattice import chain_last
from .base import Layer

Array = NDArray[np.float64]
Field = NDArray[Any]


@dataclass(frozen=True)
class PulledBack:
    """``S~(z) = S(f(z)) - log |det df/dz|``: where z has the density ``exp(-S~)``, ``x = f(z)`` has ``exp(-S)``.

    Luescher 2009, arXiv:0907.5491. If f is a perfect flow from the uniform or normal prior r, ``S~ = -log r`` up to a
    constant: where S has barriers S~ has none. The force is one pullback, ``dS~/dz = (df/dz)^T dS/dx - d logdet/dz``.
    `refimpl.kernels.HMC` of it samples z; `refimpl.kernels.FieldTransformationHMC` keeps x.

    Parameters
    ----------
    base : S, the action of the physical field. map : f, a `Layer`, or a `Chain` of them.
    """

    base: Action
    map: Layer

    def __post_init__(self) -> None:
        if not callable(getattr(self.base, "action_and_force", None)):
            raise ValueError(f"base: got {self.base!r}, expected an action")
        if not callable(getattr(self.map, "forward_with_pullback", None)):
            raise ValueError(
                f"map: got {self.map!r}, expected a layer or a chain of layers, with forward_with_pullback"
            )

    @property
    def angular(self) -> bool:
        """Whether fields are angles, as for S."""
        return self.base.angular

    def action(self, z: Field) -> Array:
        """``S~``, shape ``(chain,)``."""
        x, logdet = self.map.forward(z)
        return self.base.action(x) - logdet

    def force(self, z: Field) -> Array:
        """``+ dS~/dz``, the shape of the momenta."""
        return self.action_and_force(z)[1]

    def action_and_force(self, z: Field) -> tuple[Array, Array]:
        """Action and force from one pass through the map and back."""
        x, logdet, pull = self.map.forward_with_pullback(z)
        action, force = self.base.action_and_force(x)
        return action - logdet, pulled_force(pull(force, -np.ones(len(z)))[0])

    def dynamics(self, z: Field, v: Array) -> PulledBackDynamics:
        """The action bound to the arrays of one trajectory."""
        return PulledBackDynamics(self, z, v)


class PulledBackDynamics:
    """`PulledBack` bound to arrays ``z`` and ``v``."""

    def __init__(self, action: PulledBack, z: Field, v: Array) -> None:
        self._action, self._z, self._v = action, z, v

    def kick(self, scale: float) -> None:
        """``v -= scale * force(z)`` in place."""
        _, force = self.action_and_force()
        force *= scale
        np.subtract(self._v, force, self._v)

    def action_and_force(self) -> tuple[Array, Array]:
        """Action ``(chain,)`` and force at the current ``z``, in new arrays."""
        return self._action.action_and_force(self._z)


def pulled_force(force: Array) -> Array:
    """A new array with the chain axis fastest, as forces are kept."""
    out = chain_last(*force.shape)
    out[...] = force
    return out
