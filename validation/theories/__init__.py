"""What the oracle knows of each theory: its own action and force, exact samples, test fields, observables, symmetries.

Everything is written from the formulas. Exact samples and values come from `refimpl.exact`; nothing is shared with the actions,
maps and kernels of the package, which are judged by it like anybody else's. Fields have the chain axis first.
"""

from __future__ import annotations

from .base import ANGLE, Array, Observable, Symmetry, U
from .circle import O2, U1
from .line import Gaussian, Mixture

__all__ = [
    "ANGLE",
    "O2",
    "THEORIES",
    "U1",
    "Array",
    "Gaussian",
    "Mixture",
    "Observable",
    "Symmetry",
    "Theory",
    "U",
    "energy",
]

Theory = U1 | O2 | Gaussian | Mixture

THEORIES: dict[str, type[U1] | type[O2] | type[Gaussian] | type[Mixture]] = {
    theory.name: theory for theory in (U1, O2, Gaussian, Mixture)
}


def energy(theory: Theory, x: Array, v: Array) -> Array:
    """``S(x) + sum v^2/2``, per chain."""
    return theory.action(x) + 0.5 * (v * v).sum(axis=tuple(range(1, v.ndim)))
