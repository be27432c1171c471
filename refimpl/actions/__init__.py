"""Actions: negative log densities up to a constant, with hand-written forces ``+ dS/d(field)`` and Hessian products.

Every action has ``angular``, ``action(x)``, ``force(x)``, ``action_and_force(x)`` and ``dynamics(x, v)`` for the kicks of one
trajectory; all but `WilsonSUN` have ``hessian_product(x, w) = sum_j d2S/dx_i dx_j w_j`` and ``definition(x)``, the formula as
written, which autograd can differentiate.
"""

from .base import Action, Dynamics, SmoothAction
from .chain import O2Chain, O2Dynamics
from .normal import Gaussian, Mixture, NormalDynamics, two_gaussians
from .scaled import Scaled, ScaledDynamics, scaled
from .wilson import U1Dynamics, WilsonU1, u1_action_definition, u1_force_definition
from .wilson_sun import SUNDynamics, WilsonSUN, sun_action_definition, sun_force_definition

__all__ = [
    "Action",
    "Dynamics",
    "Gaussian",
    "Mixture",
    "NormalDynamics",
    "O2Chain",
    "O2Dynamics",
    "SUNDynamics",
    "Scaled",
    "ScaledDynamics",
    "SmoothAction",
    "U1Dynamics",
    "WilsonSUN",
    "WilsonU1",
    "scaled",
    "sun_action_definition",
    "sun_force_definition",
    "two_gaussians",
    "u1_action_definition",
    "u1_force_definition",
]
