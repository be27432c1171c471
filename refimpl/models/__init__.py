"""Models of densities: priors, and flows, which are maps of priors."""

from .flow import Flow
from .priors import Haar, Normal, Prior, PureGauge, UniformAngles

__all__ = ["Flow", "Haar", "Normal", "Prior", "PureGauge", "UniformAngles"]
