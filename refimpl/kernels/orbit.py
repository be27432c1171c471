"""Moves along the orbit of the unit flux for U(1) with more than the gauge action, such as quarks.

The target is ``pi(x) = exp(-beta sum_P (1 - cos theta_P) - R(x))``; with two flavours ``exp(-R) = det D^2``. The unit flux I acts
by ``T_k x = x + k I``, ``k = 0, ..., V - 1``, with Jacobian 1. On the orbit of x, V fields, the pure gauge theory is the softmax

    q(T_k x) = exp(beta Re(z exp(2 pi i k/V))) / Z(x),    z = sum_P exp(i theta_P),

whose normaliser Z belongs to the orbit and not to the member x that it is computed from (a shift of k permutes the terms). Hence
``pi/q = Z exp(-R)`` along an orbit, and draws from q are proposals that do not depend on x: only R is left to decide. Three ways
to decide, from one evaluation of R to V:

- `OrbitMetropolis` (C1): one candidate, Metropolis.
- `OrbitPool` (CM): M candidates, one of them or x.
- `OrbitHeatBath`: all V members.

A window of k about the *current* x would be wrong for the last two: the window moves with x, and its normaliser with it. With
R = 0 `FluxHeatBath` is all of them; `Winding` works for any action, as ``k = +-1`` is symmetric by itself.

Alone these keep a field on its orbit: `Cycle` them with `HMC`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Sum, WilsonU1
from ..lattice import check_integer, check_links
from .metropolis import Generators, Info, State, accept_reject, initial_state, metropolis, proposal_state
from .topology import FluxHeatBath, drawn, uniforms, wind

Array = NDArray[np.float64]
Flux = NDArray[np.int64]


@dataclass(frozen=True)
class OrbitInfo(Info):
    """`Info` of a move along an orbit: ``delta_h`` is the change of R, and ``evaluations`` counts how often it was computed."""

    evaluations: NDArray[np.int64]


@dataclass(frozen=True)
class Slots:
    """Members of the orbit to choose from, x in the first slot: flux, log weight and R, ``(slot, chain)``; evaluations of R."""

    k: Flux
    log_weights: Array
    rest: Array
    evaluations: Flux

    @property
    def weights(self) -> Array:
        """Up to a factor per chain that makes the largest 1; 0 where R is not finite, as at a zero of the determinant."""
        log_weights = np.where(np.isfinite(self.log_weights), self.log_weights, -np.inf)
        return np.exp(log_weights - log_weights.max(axis=0))


@dataclass(frozen=True)
class OrbitMove:
    """What the moves share: the target in two parts, and R along the orbit.

    Parameters
    ----------
    action : a sum of one `WilsonU1` and at least one other action of U(1) links.
    """

    action: Sum

    def __post_init__(self) -> None:
        terms = self.action.terms if isinstance(self.action, Sum) else ()
        if sum(isinstance(term, WilsonU1) for term in terms) != 1 or len(terms) < 2:
            raise ValueError(f"action: got {self.action!r}, expected a sum of one WilsonU1 and other actions")

    @property
    def gauge(self) -> WilsonU1:
        """The pure gauge term, of which the candidates are drawn."""
        return next(term for term in self.action.terms if isinstance(term, WilsonU1))

    @property
    def rest(self) -> Action:
        """R, the other terms, which decide."""
        return Sum(tuple(term for term in self.action.terms if not isinstance(term, WilsonU1)))

    def init(self, x: Array) -> State:
        """The state at link angles ``x``."""
        return initial_state(self.action, check_links(x))

    def log_softmax(self, x: Array) -> Array:
        """``log q(x + k I)`` up to a constant per chain, shape ``(V, chain)``."""
        return FluxHeatBath(self.gauge).log_weights(x)

    def rest_along(self, state: State, k: Flux) -> tuple[Array, Flux]:
        """``R(x)``, and ``R(x + k I)`` for flux ``k`` of shape ``(n, chain)``: ``(n + 1, chain)``; evaluations per chain.

        Each field of a chain is evaluated once, and x itself not at all: its R is the action it has less the gauge action.
        """
        slots = np.vstack([np.zeros_like(k[:1]), k])
        values = np.empty(slots.shape)
        values[0] = state.action - self.gauge.action(state.x)
        evaluations = np.zeros_like(k[0])
        for i in range(1, len(slots)):
            first = np.argmax(slots[: i + 1] == slots[i], axis=0)
            new = np.flatnonzero(first == i)
            if new.size:
                values[i, new] = self.rest.action(wind(state.x[new], slots[i, new])[0])
            values[i] = np.take_along_axis(values, first[None], axis=0)[0]
            evaluations[new] += 1
        return values, evaluations

    def _chosen(self, state: State, slots: Slots, u: Array) -> tuple[State, Array, OrbitInfo]:
        """One slot drawn by its weight: the new state, its flux, and what happened."""
        weights, rest = slots.weights, slots.rest
        slot = drawn(weights, u)
        left = 1 - weights[0] / np.cumsum(weights, axis=0)[-1]  # a sum in the same order whatever the number of chains
        k, chosen = (np.take_along_axis(values, slot[None], axis=0)[0] for values in (slots.k, rest))
        broken = np.logical_or.reduce(~np.isfinite(rest))
        info = OrbitInfo(slot > 0, chosen - rest[0], np.zeros(len(u)), left, broken, slots.evaluations)
        return self._wound(state, k, chosen, info.accepted), k.astype(np.float64), info

    def _wound(self, state: State, k: Flux, rest: Array, accepted: NDArray[np.bool_]) -> State:
        """The state at ``x + k I`` with this R; where k = 0 that is the old one to the bit."""
        x, _ = wind(state.x, k)
        moved = k != 0
        energy = np.where(moved, self.gauge.action(x) + rest, state.action)
        return proposal_state(self.action, state, x, energy, accepted & moved)


@dataclass(frozen=True)
class OrbitMetropolis(OrbitMove):
    """One candidate ``y = T_k x`` from the softmax q, accepted with ``min(1, exp(R(x) - R(y)))``.

    Proof: ``pi(x) q(y) min(1, exp(R(x) - R(y)))`` is ``q(x) q(y)`` times ``min(exp(-R(x)), exp(-R(y)))``, up to the constant of
    the orbit, and so symmetric in x and y. Where k = 0 nothing is computed; else R once, and a force where it is accepted.
    """

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Uniforms for the candidate and for Metropolis, each chain's from its own Generator."""
        candidate, u = uniforms(rngs, shape[0], 2)
        return candidate, u

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One candidate and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, candidate: Array, u: Array) -> tuple[State, Array, OrbitInfo]:
        """The candidate (its force where it was accepted), its flux k, and the decision, for given uniforms."""
        k = drawn(np.exp(self.log_softmax(state.x)), candidate)
        rest, evaluations = self.rest_along(state, k[None])
        info = OrbitInfo(**vars(metropolis(rest[1] - rest[0], np.zeros(len(k)), u)), evaluations=evaluations)
        return self._wound(state, k, rest[1], info.accepted), k.astype(np.float64), info


@dataclass(frozen=True)
class OrbitPool(OrbitMove):
    """M candidates ``y_1, ..., y_M`` drawn independently from the softmax q; one of x, y_1, ..., y_M is chosen by ``exp(-R)``.

    The rule is the one of a pool of independent draws (Barker's, with M = 1; "ensemble" independence sampling), and no multiple-try
    Metropolis: there are no reference points, and nothing is rejected after the choice.

    Proof. Let j be uniform in 0, ..., M, put x in slot j and the candidates in the others (which slot x has plays no role in the
    rule; the code takes the first). If x has the law pi, slots and j have the law

        p(x_0, ..., x_M, j) = pi(x_j) prod_{i != j} q(x_i) / (M + 1) = Z exp(-R(x_j)) prod_i q(x_i) / (M + 1).

    Given the slots, j has probabilities proportional to ``exp(-R(x_j))``: to draw it anew is a Gibbs step, which keeps p, under
    which the chosen ``x_j`` has the law pi. It is reversible: the flow from x to y by one slot, ``Z exp(-R(x)) q(x) q(y) q(others)
    exp(-R(y)) / sum_i exp(-R(x_i))``, is symmetric in x and y, the members of the pool being the same from either. Candidates that
    coincide, with each other or with x, count once for each slot but are evaluated once.

    `Info`: ``acceptance`` is the probability of another slot than that of x, ``accepted`` whether one was chosen.

    Parameters
    ----------
    action : a sum of one `WilsonU1` and others. candidates : M, at least 1.
    """

    candidates: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("candidates", self.candidates, 1)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Uniforms ``(chain, M)`` for the candidates and ``(chain,)`` for the choice, each chain's from its own Generator."""
        u = uniforms(rngs, shape[0], self.candidates + 1)
        return u[:-1].T, u[-1]

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One pool and one choice for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, candidates: Array, u: Array) -> tuple[State, Array, OrbitInfo]:
        """The new state, the flux that was added, and what happened, for given uniforms."""
        k = drawn(np.exp(self.log_softmax(state.x)), candidates.T)
        return self._chosen(state, self.slots(state, k), u)

    def slots(self, state: State, k: Flux) -> Slots:
        """x and the members of flux ``k``, ``(M, chain)``, with the weights ``exp(-R)``."""
        rest, evaluations = self.rest_along(state, k)
        return Slots(np.vstack([np.zeros_like(k[:1]), k]), -rest, rest, evaluations)


@dataclass(frozen=True)
class OrbitHeatBath(OrbitMove):
    """Heat bath over all V members of the orbit: k is drawn with probability proportional to ``q(T_k x) exp(-R(T_k x))``.

    That is pi conditioned on the orbit, whatever member x is; it costs V - 1 evaluations of R. `Info` is as that of `OrbitPool`.
    """

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array]:
        """One uniform per chain, from its own Generator."""
        return (uniforms(rngs, shape[0], 1)[0],)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """A new member of the orbit for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, u: Array) -> tuple[State, Array, OrbitInfo]:
        """The new state, the flux that was added, and what happened, for given uniforms."""
        return self._chosen(state, self.slots(state), u)

    def slots(self, state: State) -> Slots:
        """All members of the orbit, with the weights ``q exp(-R)``."""
        log_softmax = self.log_softmax(state.x)
        k = np.broadcast_to(np.arange(len(log_softmax))[:, None], log_softmax.shape)
        rest, evaluations = self.rest_along(state, k[1:])
        return Slots(k, log_softmax - rest, rest, evaluations)
