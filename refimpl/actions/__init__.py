"""Actions: negative log densities up to a constant, with hand-written forces ``+ dS/d(field)`` and Hessian products.

Every action has ``angular``, ``action(x)``, ``force(x)``, ``action_and_force(x)`` and ``dynamics(x, v)`` for the kicks of one
trajectory; actions of the same fields add with ``+``. All but sums, fermions and `WilsonSUN` have ``hessian_product(x, w) =
sum_j d2S/dx_i dx_j w_j`` and ``definition(x)``: the formula as written, which autograd can differentiate.

The folder `dirac` has the Wilson-Dirac operator, its matrices and solvers; `determinant` its determinant, `pseudofermion` its
pseudofermions.
"""

from .base import Action, Dynamics, SmoothAction
from .chain import O2Chain, O2Dynamics
from .determinant import DeterminantDynamics, WilsonDeterminant, link_response, log_determinant
from .dirac import WilsonDirac, gamma5, wilson_dirac
from .dirac.solve import SolverError, solve
from .normal import Gaussian, Mixture, NormalDynamics, two_gaussians
from .phi4 import (
    Hopping,
    Phi4,
    Phi4Dynamics,
    Unhalved,
    from_hopping,
    from_quartic,
    from_unhalved,
    phi4_action_definition,
    phi4_force_definition,
    to_hopping,
    to_unhalved,
)
from .pseudofermion import FixedPseudofermion, Pseudofermion, PseudofermionDynamics, determinant_of, hasenbusch
from .scaled import Scaled, ScaledDynamics, scaled
from .sum import Sum, SumDynamics
from .wilson import U1Dynamics, WilsonU1, u1_action_definition, u1_force_definition
from .wilson_sun import SUNDynamics, WilsonSUN, sun_action_definition, sun_force_definition

__all__ = [
    "Action",
    "DeterminantDynamics",
    "Dynamics",
    "FixedPseudofermion",
    "Gaussian",
    "Hopping",
    "Mixture",
    "NormalDynamics",
    "O2Chain",
    "O2Dynamics",
    "Phi4",
    "Phi4Dynamics",
    "Pseudofermion",
    "PseudofermionDynamics",
    "SUNDynamics",
    "Scaled",
    "ScaledDynamics",
    "SmoothAction",
    "SolverError",
    "Sum",
    "SumDynamics",
    "U1Dynamics",
    "Unhalved",
    "WilsonDeterminant",
    "WilsonDirac",
    "WilsonSUN",
    "WilsonU1",
    "determinant_of",
    "from_hopping",
    "from_quartic",
    "from_unhalved",
    "gamma5",
    "hasenbusch",
    "link_response",
    "log_determinant",
    "phi4_action_definition",
    "phi4_force_definition",
    "scaled",
    "solve",
    "sun_action_definition",
    "sun_force_definition",
    "to_hopping",
    "to_unhalved",
    "two_gaussians",
    "u1_action_definition",
    "u1_force_definition",
    "wilson_dirac",
]
