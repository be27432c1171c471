"""Markov kernels: ``init(x) -> State``, ``step(rngs, state) -> (State, Info)``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .groups import wrap
from .lattice import chain_last, check_integer, site_sum
from .maps import LEAPFROG, Action, Integrator, MolecularDynamics, trajectory

Array = NDArray[np.float64]

# Sites times chains that one block of chains may have: large enough that the cost of a NumPy call does not show, small
# enough that the work arrays (half a megabyte each) stay in cache. Results do not depend on it.
BLOCK_ELEMENTS = 65536


@dataclass(frozen=True)
class State:
    """What the next step needs: field ``x``, its action ``(chain,)`` and force (the shape of ``x``)."""

    x: Array
    action: Array
    force: Array


@dataclass(frozen=True)
class Info:
    """What a step did, per chain.

    ``accepted`` (bool), ``delta_h = H' - H`` of the proposal, ``logdet`` of the proposing map, ``acceptance =
    min(1, exp(logdet - delta_h))``, and ``non_finite``: proposals whose energy was not finite, rejected and counted.
    """

    accepted: NDArray[np.bool_]
    delta_h: Array
    logdet: Array
    acceptance: Array
    non_finite: NDArray[np.bool_]


def spawn_rngs(seed: int | np.random.SeedSequence, n_chains: int) -> list[np.random.Generator]:
    """One independent Generator per chain, spawned from one seed."""
    check_integer("n_chains", n_chains, 1)
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [np.random.Generator(np.random.PCG64(child)) for child in root.spawn(n_chains)]


def metropolis(delta_h: Array, logdet: Array, u: Array) -> Info:
    """Accept where ``u < exp(logdet - delta_h)``, per chain; a ratio that is not finite rejects and is counted."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        log_ratio = logdet - delta_h
        non_finite = ~np.isfinite(log_ratio)
        log_ratio = np.where(non_finite, -np.inf, log_ratio)
        accepted = np.log(u) < log_ratio
    return Info(accepted & ~non_finite, delta_h, logdet, np.exp(np.minimum(log_ratio, 0.0)), non_finite)


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

    def init(self, x: Array) -> State:
        """The state at field ``x`` (checked by the action)."""
        action, force = self.action.action(x), self.action.force(x)
        if not np.all(np.isfinite(action)):
            raise ValueError(f"x: got a field of action {action[~np.isfinite(action)][0]}, expected a finite action")
        state = State(chain_last(*x.shape), action, chain_last(*x.shape))
        state.x[...] = wrap(x) if self.action.angular else x
        state.force[...] = force
        return state

    def noise(self, rngs: Sequence[np.random.Generator], shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Momenta of this field shape and the Metropolis uniforms, each chain's from its own Generator."""
        if len(rngs) != shape[0]:
            raise ValueError(f"rngs: got {len(rngs)} generators, expected one per chain ({shape[0]})")
        from scipy.special import ndtr

        normals = np.empty((shape[0], math.prod(shape[1:]) + 1))
        for rng, row in zip(rngs, normals, strict=True):
            rng.standard_normal(out=row)
        # One call per chain: the last normal becomes the uniform through its distribution function.
        return normals[:, :-1].reshape(shape), ndtr(normals[:, -1])

    def step(self, rngs: Sequence[np.random.Generator], state: State) -> tuple[State, Info]:
        """One trajectory and one accept/reject decision for every chain."""
        states, infos = [], []
        for block in _blocks(state.x.shape):
            old = State(state.x[block], state.action[block], state.force[block])
            v, u = self.noise(rngs[block], old.x.shape)
            proposal, _, info = self.propose(old, v, u)
            for candidate, current in zip(_parts(proposal), _parts(old), strict=True):
                np.copyto(candidate, current, where=~_over(info.accepted, candidate.ndim))
            states.append(proposal)
            infos.append(info)
        if len(states) == 1:
            return states[0], infos[0]
        return State(*map(_joined, zip(*map(_parts, states), strict=True))), Info(
            *map(_joined, zip(*map(_parts, infos), strict=True))
        )

    def propose(self, state: State, v: Array, u: Array) -> tuple[State, Array, Info]:
        """The deterministic heart of a step: proposed state, its momenta and the decision, for given ``v`` and ``u``."""
        x, momenta = chain_last(*state.x.shape), chain_last(*state.x.shape)
        x[...], momenta[...] = state.x, v
        v_squared = momenta * momenta
        with np.errstate(invalid="ignore", over="ignore"):
            action, force = trajectory(
                self.action, self.integrator, self.step_size, self.n_steps, x, momenta, state.force
            )
            delta_h = (action - state.action) + 0.5 * site_sum(momenta * momenta - v_squared)
            if self.action.angular:
                x = wrap(x)
        return State(x, action, force), momenta, metropolis(delta_h, np.zeros(len(x)), u)


def _parts(record: State | Info) -> tuple[NDArray, ...]:
    return tuple(vars(record).values())


def _over(per_chain: NDArray, ndim: int) -> NDArray:
    """A ``(chain,)`` array with axes of length 1 appended, to broadcast over a field."""
    return per_chain.reshape((-1,) + (1,) * (ndim - 1))


def _joined(parts: Sequence[NDArray]) -> NDArray:
    """The blocks as one array, chains slowest in memory (copying blocks into chain-last memory is slow)."""
    out = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate(parts, out=out)


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices over chains whose work arrays stay within `BLOCK_ELEMENTS`."""
    size = max(1, BLOCK_ELEMENTS // math.prod(shape[2:]))
    return (slice(start, start + size) for start in range(0, shape[0], size))
