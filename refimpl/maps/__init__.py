"""Maps ``forward(z) -> (z', logdet)`` with exact inverses: integrators, the generalized leapfrog, and layers of flows."""

from .base import Chain, Inverse, Layer, Map
from .md import (
    INTEGRATORS,
    LEAPFROG,
    OMELYAN,
    OMELYAN_LAMBDA,
    Integrator,
    MolecularDynamics,
    PhasePoint,
    trajectory,
)

__all__ = [
    "INTEGRATORS",
    "LEAPFROG",
    "OMELYAN",
    "OMELYAN_LAMBDA",
    "Chain",
    "Integrator",
    "Inverse",
    "Layer",
    "Map",
    "MolecularDynamics",
    "PhasePoint",
    "trajectory",
]
