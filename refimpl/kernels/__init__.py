"""Markov kernels: ``init(x) -> State``, ``step(rngs, state) -> (State, Info)``."""

from .cycle import Cycle, Kernel
from .fourier import FourierHMC
from .hmc import HMC
from .metropolis import Info, Proposer, State, accept_reject, blocks, check_rngs, initial_state, metropolis, spawn_rngs
from .topology import FluxHeatBath, Winding, wind

__all__ = [
    "HMC",
    "Cycle",
    "FluxHeatBath",
    "FourierHMC",
    "Info",
    "Kernel",
    "Proposer",
    "State",
    "Winding",
    "accept_reject",
    "blocks",
    "check_rngs",
    "initial_state",
    "metropolis",
    "spawn_rngs",
    "wind",
]
