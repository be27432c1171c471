"""Markov kernels: ``init(x) -> State``, ``step(rngs, state) -> (State, Info)``."""

from .hmc import HMC
from .metropolis import Info, Proposer, State, accept_reject, blocks, check_rngs, initial_state, metropolis, spawn_rngs

__all__ = [
    "HMC",
    "Info",
    "Proposer",
    "State",
    "accept_reject",
    "blocks",
    "check_rngs",
    "initial_state",
    "metropolis",
    "spawn_rngs",
]
