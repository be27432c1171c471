"""Control variates of two-dimensional U(1): plaquettes and Wilson loops on the torus and with open boundaries."""

from .conditional import ConditionalMean, ConditionalMeanVariate
from .factorised import GroupVariate, PlaquetteGroups
from .groups import Grouping
from .neural import PlaquetteNetVariate
from .open_boundary import OpenBoundary, OpenVariate, OpenWilsonLoop
from .stein import link_field

__all__ = [
    "ConditionalMean",
    "ConditionalMeanVariate",
    "GroupVariate",
    "Grouping",
    "OpenBoundary",
    "OpenVariate",
    "OpenWilsonLoop",
    "PlaquetteGroups",
    "PlaquetteNetVariate",
    "link_field",
]
