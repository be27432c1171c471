"""Maps ``forward(z) -> (z', logdet)`` with exact inverses: symplectic integrators, and the generalized leapfrog."""

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
    "Integrator",
    "MolecularDynamics",
    "PhasePoint",
    "trajectory",
]
