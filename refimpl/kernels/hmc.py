"""Hybrid Monte Carlo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..groups import representative
from ..lattice import chain_last, site_sum
from ..maps import LEAPFROG, Integrator, MolecularDynamics, trajectory
from .metropolis import Generators, Info, State, accept_reject, check_rngs, initial_state, metropolis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HMC:
    """Hybrid Monte Carlo: fresh momenta ``v ~ N(0, 1)``, a reversible volume-preserving trajectory, Metropolis.

    ``H = S(x) + v.v/2``; the proposal is accepted with ``min(1, exp(H - H'))``. Action and force of the current field
    are kept in the state, so a trajectory of ``n`` leapfrog steps costs ``n`` forces. Each chain has its own
    Generator and its own bits: results do not depend on the batch a chain is run in.
    """

    action: Action
    step_size: float
    n_steps: int
    integrator: Integrator = LEAPFROG

    def __post_init__(self) -> None:
        MolecularDynamics(self.action, self.step_size, self.n_steps, self.integrator)  # checks the arguments

    @property
    def n_forces(self) -> int:
        """Gradients of the action that a trajectory costs, the first being known from the step before."""
        return self.n_steps * (len(self.integrator.coefficients) // 2)

    def init(self, x: Array) -> State:
        """The state at field ``x`` (checked by the action)."""
        return initial_state(self.action, x)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Momenta of this shape, that of the force, and the Metropolis uniforms, each chain's from its own Generator."""
        return momenta_and_uniforms(rngs, shape)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One trajectory and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, v: Array, u: Array) -> tuple[State, Array, Info]:
        """The deterministic heart of a step: proposed state, its momenta and the decision, for given ``v`` and ``u``."""
        x, momenta = chain_last(*state.x.shape, dtype=state.x.dtype), chain_last(*state.force.shape)
        x[...], momenta[...] = state.x, v
        v_squared = momenta * momenta
        with np.errstate(invalid="ignore", over="ignore"):
            action, force = trajectory(
                self.action, self.integrator, self.step_size, self.n_steps, x, momenta, state.force
            )
            kinetic = np.multiply(momenta, momenta)
            kinetic -= v_squared
            delta_h = (action - state.action) + 0.5 * site_sum(kinetic)
            x = representative(x, self.action.angular)
        return State(x, action, force), momenta, metropolis(delta_h, np.zeros(len(x)), u)


def momenta_and_uniforms(rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Momenta ``v ~ N(0, 1)`` of this shape, chains first, and a uniform per chain, each chain's from its own Generator."""
    check_rngs(rngs, shape[0])
    from scipy.special import ndtr

    normals = np.empty((shape[0], math.prod(shape[1:]) + 1))
    for rng, row in zip(rngs, normals, strict=True):
        rng.standard_normal(out=row)
    # One call per chain: the last normal becomes the uniform through its distribution function.
    return normals[:, :-1].reshape(shape), ndtr(normals[:, -1])
