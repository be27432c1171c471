"""What the oracle knows of each theory: its own action and force, exact samples, test fields, observables, symmetries.

Everything is written from the formulas. Exact samples and values come from `refimpl.exact`; nothing is shared with the actions,
maps and kernels of the package, which are judged by it like anybody else's. Fields have the chain axis first.
"""

from __future__ import annotations

from .base import ANGLE, Array, Observable, Symmetry, U, Unsampled
from .circle import O2, U1
from .fermions import Flavours, Monomials
from .line import Gaussian, Mixture
from .matrices import SU2, SU3, Matrices
from .scalar import Phi4
from .schwinger import Schwinger

__all__ = [
    "ANGLE",
    "O2",
    "SU2",
    "SU3",
    "THEORIES",
    "U1",
    "Array",
    "Flavours",
    "Gaussian",
    "Matrices",
    "Mixture",
    "Monomials",
    "Observable",
    "Phi4",
    "Schwinger",
    "Symmetry",
    "Theory",
    "U",
    "Unsampled",
    "energy",
    "flavours",
]

Theory = U1 | O2 | Gaussian | Mixture | Matrices | Phi4  # Schwinger is a U1

THEORIES: dict[
    str, type[U1] | type[O2] | type[Gaussian] | type[Mixture] | type[Schwinger] | type[SU2] | type[SU3] | type[Phi4]
] = {theory.name: theory for theory in (U1, O2, Gaussian, Mixture, Schwinger, SU2, SU3, Phi4)}


def flavours(theory: Theory) -> Flavours | None:
    """The fermions of a theory, where there are any."""
    return theory.flavours if isinstance(theory, Schwinger | Matrices) else None


def energy(theory: Theory, x: Array, v: Array) -> Array:
    """``S(x) + sum v^2/2``, per chain."""
    return theory.action(x) + 0.5 * (v * v).sum(axis=tuple(range(1, v.ndim)))
