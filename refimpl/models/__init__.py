"""Models of densities: priors, flows, which are maps of priors, and joint models of links and pseudofermions."""

from .conditional import Conditional
from .files import load, save
from .flow import Flow
from .joint import JointModel, JointSample
from .joint_files import load_joint, save_joint
from .priors import Haar, Normal, Prior, PureGauge, UniformAngles

__all__ = [
    "Conditional",
    "Flow",
    "Haar",
    "JointModel",
    "JointSample",
    "Normal",
    "Prior",
    "PureGauge",
    "UniformAngles",
    "load",
    "load_joint",
    "save",
    "save_joint",
]
