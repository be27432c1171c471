"""Control variates: exactly mean-zero functions of a configuration that take variance from an observable.

A method's ``fit(configurations, observable)`` returns a variate, ``variate(x)`` is ``(chain,)``; `improve` and `cross_fit` say
what it is worth, `save` and `load` keep it as npz.
"""

from . import u1
from .base import Improvement, cross_fit, improve
from .files import load, save

__all__ = ["Improvement", "cross_fit", "improve", "load", "save", "u1"]
