"""Markov kernels: ``init(x) -> State``, ``step(rngs, state) -> (State, Info)``."""

from .cycle import Cycle, Kernel
from .hmc import HMC
from .metropolis import Info, Proposer, State, accept_reject, blocks, check_rngs, initial_state, metropolis, spawn_rngs
from .nested import Level, NestedHMC
from .topology import FluxHeatBath, Winding, wind

__all__ = [
    "HMC",
    "Cycle",
    "FluxHeatBath",
    "Info",
    "Kernel",
    "Level",
    "NestedHMC",
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
