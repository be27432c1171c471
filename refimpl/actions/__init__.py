"""Actions: negative log densities up to a constant, with hand-written forces ``+ dS/d(field)`` and Hessian products."""

from .wilson import U1Dynamics, WilsonU1, u1_action_definition, u1_force_definition

__all__ = ["U1Dynamics", "WilsonU1", "u1_action_definition", "u1_force_definition"]
