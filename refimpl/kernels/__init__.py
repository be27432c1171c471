"""Markov kernels: ``init(x) -> State``, ``step(rngs, state) -> (State, Info)``."""

from .cycle import Cycle, Kernel
from .field_transformation import FieldTransformationHMC
from .fourier import FourierHMC
from .hmc import HMC
from .independence import IndependenceMetropolis, Proposal, PureGauge, matched_beta
from .joint_determinant import JointDeterminant
from .metropolis import Info, Proposer, State, accept_reject, blocks, check_rngs, initial_state, metropolis, spawn_rngs
from .nested import Level, NestedHMC
from .orbit import OrbitHeatBath, OrbitMetropolis, OrbitPool
from .pseudomarginal import DeterminantEstimator, PseudomarginalMetropolis
from .topology import FluxHeatBath, Winding, wind

__all__ = [
    "HMC",
    "Cycle",
    "DeterminantEstimator",
    "FieldTransformationHMC",
    "FluxHeatBath",
    "FourierHMC",
    "IndependenceMetropolis",
    "Info",
    "JointDeterminant",
    "Kernel",
    "Level",
    "NestedHMC",
    "OrbitHeatBath",
    "OrbitMetropolis",
    "OrbitPool",
    "Proposal",
    "Proposer",
    "PseudomarginalMetropolis",
    "PureGauge",
    "State",
    "Winding",
    "accept_reject",
    "blocks",
    "check_rngs",
    "initial_state",
    "matched_beta",
    "metropolis",
    "spawn_rngs",
    "wind",
]
