"""Models of densities: priors, and flows, which are maps of priors."""

from .files import load, save
from .flow import Flow
from .priors import Haar, Normal, Prior, PureGauge, UniformAngles

__all__ = ["Flow", "Haar", "Normal", "Prior", "PureGauge", "UniformAngles", "load", "save"]
