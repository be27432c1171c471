"""What a sampler, and the training of one, needs of an action."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Field = NDArray[Any]  # of real numbers, or of matrices


class Action(Protocol):
    """Negative log density up to a constant, of fields with the chain axis first; where ``angular`` they are angles.

    Complex fields are SU(N) links ``(chain, mu, t, x, a, b)``: their force and momenta ``v`` are ``(chain, mu, t, x, generator)``.

    ``action_and_force`` and ``dynamics`` take their arrays as checked; the other methods raise `TypeError` or `ValueError`
    where dtype or shape is wrong, but for ``definition``, which only computes.
    """

    @property
    def angular(self) -> bool: ...
    def action(self, x: Field) -> Array: ...
    def force(self, x: Field) -> Array: ...
    def action_and_force(self, x: Field) -> tuple[Array, Array]: ...
    def dynamics(self, x: Field, v: Array) -> Dynamics: ...


class SmoothAction(Action, Protocol):
    """An action whose trajectories can be differentiated: its Hessian applied to ``w``, and S as written for autograd."""

    def hessian_product(self, x: Array, w: Array) -> Array: ...
    def definition(self, x: Array) -> Array: ...


class Dynamics(Protocol):
    """``kick(scale)`` does ``v -= scale * force(x)`` in place; ``action_and_force()`` is evaluated at the current ``x``."""

    def kick(self, scale: float) -> None: ...
    def action_and_force(self) -> tuple[Array, Array]: ...
