"""Control variates: exactly mean-zero functions of a configuration that take variance from an observable.

A method's ``fit(configurations, observable)`` returns a variate, ``variate(x)`` is ``(chain,)``; `improve` and `cross_fit` say
what it is worth, `save` and `load` keep it as npz.
"""

from . import u1
from .base import Improvement, cross_fit, improve
from .factorised import Factorised, FactorisedVariate
from .files import load, save, was_fitted_to
from .linear import FreeField, FreeFieldVariate, Linear, LinearVariate
from .neural import NeuralVariate
from .two_stage import TwoStage, TwoStageVariate, joint_values

__all__ = [
    "Factorised",
    "FactorisedVariate",
    "FreeField",
    "FreeFieldVariate",
    "Improvement",
    "Linear",
    "LinearVariate",
    "NeuralVariate",
    "TwoStage",
    "TwoStageVariate",
    "cross_fit",
    "improve",
    "joint_values",
    "load",
    "save",
    "u1",
    "was_fitted_to",
]
