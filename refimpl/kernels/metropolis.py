"""What kernels share: the state of the chains, their random streams, and the accept/reject step in blocks of chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..groups import representative
from ..lattice import chain_last, check_integer, check_rngs, over
from ..streams import streams

Array = NDArray[np.float64]
Generators = Sequence[np.random.Generator]

# Entries of the field that one block of chains may have: large enough that the cost of a NumPy call does not show, small
# enough that the work arrays (a megabyte each) stay in cache. Results do not depend on it.
BLOCK_ELEMENTS = 131072


@dataclass(frozen=True)
class State:
    """What the next step needs: field ``x``, its action ``(chain,)`` and force (the shape of ``x``, or that of its momenta)."""

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


class Proposer(Protocol):
    """What `accept_reject` needs of a kernel.

    ``noise(rngs, shape)``: all random numbers of a step for a force of this shape, as arrays whose first axis is the
    chain, each chain's from its own Generator. ``propose(state, *noise)``: the proposed state in new arrays, its
    momenta (or other auxiliary variables) and the decision; deterministic.
    """

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, ...]: ...
    @property
    def propose(self) -> Callable[..., tuple[State, Array, Info]]: ...


def spawn_rngs(seed: int | np.random.SeedSequence, n_chains: int) -> list[np.random.Generator]:
    """One independent Generator per chain, spawned from one seed."""
    check_integer("n_chains", n_chains, 1)
    if isinstance(seed, int | np.integer):
        return streams(int(seed), n_chains)
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [np.random.Generator(np.random.PCG64(child)) for child in root.spawn(n_chains)]


def initial_state(action: Action, x: Array) -> State:
    """The state at field ``x``, which the action checks; angles are wrapped, matrices made unitary to rounding."""
    energy, force = action.action(x), action.force(x)
    if not np.all(np.isfinite(energy)):
        raise ValueError(f"x: got a field of action {energy[~np.isfinite(energy)][0]}, expected a finite action")
    state = State(chain_last(*x.shape, dtype=x.dtype), energy, chain_last(*force.shape))
    state.x[...] = representative(x, action.angular)
    state.force[...] = force
    return state


def metropolis(delta_h: Array, logdet: Array, u: Array) -> Info:
    """Accept where ``u < exp(logdet - delta_h)``, per chain; a ratio that is not finite rejects and is counted."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        log_ratio = logdet - delta_h
        non_finite = ~np.isfinite(log_ratio)
        log_ratio = np.where(non_finite, -np.inf, log_ratio)
        accepted = np.log(u) < log_ratio
    return Info(accepted & ~non_finite, delta_h, logdet, np.exp(np.minimum(log_ratio, 0.0)), non_finite)


def proposal_state(action: Action, old: State, x: Array, energy: Array, accepted: NDArray[np.bool_]) -> State:
    """The state at fields ``x`` whose action is known, for kernels that decide without the force.

    The force is computed for chains where the proposal was ``accepted``; for the others it is the old one, which is what
    `accept_reject` keeps.
    """
    force = chain_last(*old.force.shape)
    force[...] = old.force
    new = np.flatnonzero(accepted)
    if new.size:
        force[new] = action.force(x[new])
    return State(x, energy, force)


def accept_reject(kernel: Proposer, rngs: Generators, state: State) -> tuple[State, Info]:
    """One proposal and one decision for every chain, block by block: the proposed state where accepted, else the old one."""
    check_rngs(rngs, len(state.x))
    states, infos = [], []
    for block in blocks(state.x.shape):
        old = type(state)(*(part[block] for part in _parts(state)))
        proposal, _, info = kernel.propose(old, *kernel.noise(rngs[block], old.force.shape))
        # What only the kernel before knew of its states ends here.
        for candidate, current in zip(_parts(proposal), _parts(old)[: len(_parts(proposal))], strict=True):
            np.copyto(candidate, current, where=~over(info.accepted, candidate.ndim))
        states.append(proposal)
        infos.append(info)
    if len(states) == 1:
        return states[0], infos[0]
    return type(states[0])(*map(_joined, zip(*map(_parts, states), strict=True))), type(infos[0])(
        *map(_joined, zip(*map(_parts, infos), strict=True))
    )


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices over the chains of a field of this shape, each of at most `BLOCK_ELEMENTS` entries (or one chain)."""
    size = max(1, BLOCK_ELEMENTS // math.prod(shape[1:]))
    return (slice(start, start + size) for start in range(0, shape[0], size))


def _parts(record: State | Info) -> tuple[NDArray, ...]:
    return tuple(vars(record).values())


def _joined(parts: Sequence[NDArray]) -> NDArray:
    """The blocks as one array, chains slowest in memory (copying blocks into chain-last memory is slow)."""
    out = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate(parts, out=out)
