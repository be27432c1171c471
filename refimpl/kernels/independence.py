"""Metropolis with proposals that do not depend on the field: from an exact sampler of another theory, or from a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import exact
from ..actions import Action, WilsonU1
from ..groups import representative
from ..lattice import chain_last, check_number, check_shape
from .metropolis import Generators, Info, State, accept_reject, check_rngs, initial_state, metropolis, proposal_state

Array = NDArray[np.float64]

SMALL = 1e-5  # 1 - plaquette: the next term of its expansion, q^2, is then 1e-15 of beta


class Proposal(Protocol):
    """A density ``exp(-S_q)``, up to a constant, and independent draws from it.

    ``action(x)``: ``S_q``, shape ``(chain,)``. ``draw(rngs)``: one field for each Generator, from it alone, and its ``S_q``. A
    flow has ``S_q = -log_prob``; it draws its prior per Generator and maps all chains at once.
    """

    def action(self, x: Array) -> Array: ...
    def draw(self, rngs: Generators) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class ProposedState(State):
    """With ``S_q`` of the field, ``(chain,)``: where a kernel begins with one it is not asked for again, which takes an inverse.

    A state that is stored without it, and taken up again, has the same decisions but for rounding.
    """

    proposal_action: Array

    @classmethod
    def of(cls, proposal: Proposal, state: State) -> ProposedState:
        """The same state, with ``S_q`` asked for where it is not known."""
        if isinstance(state, ProposedState):
            return state
        return cls(state.x, state.action, state.force, proposal.action(state.x))


def kept_with(old: State, new: State, s_q: Array) -> State:
    """The new state, with its ``S_q`` if the old one has its own."""
    return ProposedState(new.x, new.action, new.force, s_q.copy()) if isinstance(old, ProposedState) else new


@dataclass(frozen=True)
class IndependenceMetropolis:
    """Proposals ``y ~ exp(-S_q)`` that know nothing of x, accepted with ``min(1, w(y)/w(x))``, ``log w = S_q - S``.

    Every observable decorrelates at once where it accepts; a field of large weight stays for about ``w/<w>`` steps. In
    equilibrium the acceptance is ``sum_ij min(w_i, w_j) / (n sum_i w_i)`` for independent draws, `pool_acceptance`.
    A step costs one action; the force of the new field, for the kernels beside it in a `Cycle`, is computed where it accepts.
    A `ProposedState` saves the ``S_q`` of the old field.

    `Info`: ``delta_h = log w(x) - log w(y)``.

    Parameters
    ----------
    action : S, of the target. proposal : see `Proposal`.
    """

    action: Action
    proposal: Proposal

    def __post_init__(self) -> None:
        for name in ("action", "draw"):
            if not callable(getattr(self.proposal, name, None)):
                raise ValueError(f"proposal: got {self.proposal!r}, expected an object with action and draw")

    def init(self, x: Array) -> State:
        """The state at field ``x`` (checked by the action)."""
        return initial_state(self.action, x)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Proposed fields, their ``S_q``, and the Metropolis uniforms; each chain's from its own Generator."""
        check_rngs(rngs, shape[0])
        y, s_q = self.proposal.draw(rngs)
        return y, s_q, np.array([rng.random() for rng in rngs])

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One proposal and one decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, y: Array, s_q: Array, u: Array) -> tuple[State, Array, Info]:
        """The state at ``y`` (its force where it was accepted), ``log w(y)``, and the decision, for given draws and uniforms.

        Raises `ValueError` where ``y`` has not the shape of the field.
        """
        if y.shape != state.x.shape:
            raise ValueError(f"proposal: got fields of shape {y.shape}, expected {state.x.shape}")
        x = chain_last(*y.shape, dtype=state.x.dtype)
        x[...] = representative(y, self.action.angular)
        energy = self.action.action(x)
        log_w = s_q - energy
        log_w_old = ProposedState.of(self.proposal, state).proposal_action - state.action
        info = metropolis(log_w_old - log_w, np.zeros(len(u)), u)
        new = proposal_state(self.action, state, x, energy, info.accepted)
        return kept_with(state, new, s_q), log_w, info


@dataclass(frozen=True)
class PureGauge:
    """Two-dimensional U(1) without quarks as a `Proposal`: exact configurations, `refimpl.exact.u1.sample`.

    For quarks at beta the best beta is `matched_beta` of their plaquette, some larger: the determinant orders.

    Parameters
    ----------
    beta : of the proposals, at most `refimpl.exact.u1.HIGHEST_BETA`. shape : ``(T, X)``.
    """

    beta: float
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if check_number("beta", self.beta, 0) > exact.u1.HIGHEST_BETA:
            raise ValueError(f"beta: got {self.beta!r}, expected at most {exact.u1.HIGHEST_BETA:g}")
        object.__setattr__(self, "shape", check_shape(self.shape))

    def action(self, x: Array) -> Array:
        """``beta sum_P (1 - cos theta_P)``."""
        return WilsonU1(self.beta).action(x)

    def draw(self, rngs: Generators) -> tuple[Array, Array]:
        """One configuration for each Generator, and its action."""
        x = exact.u1.sample(rngs, len(rngs), self.beta, self.shape)
        return x, self.action(x)


def matched_beta(plaquette: float) -> float:
    """The beta whose infinite pure gauge theory has this plaquette: ``I_1(beta)/I_0(beta) = plaquette``.

    The root lies between ``p/(1 - p^2)`` and ``2 p/(1 - p^2)``, by Amos' bounds of the ratio (1974, Math. Comp. 28, 239).
    Close to 1, where the ratio keeps few digits of ``q = 1 - p``, it is ``1/(2 q) + 1/4 + 3 q/8``, as ``q = 1/(2 beta) +
    1/(8 beta^2) + 1/(8 beta^3) + ...``.
    Raises `ValueError` for a plaquette that is not in [0, 1).
    """
    from scipy.optimize import brentq
    from scipy.special import ive

    check_number("plaquette", plaquette, 0)
    if plaquette >= 1:
        raise ValueError(f"plaquette: got {plaquette}, expected less than 1")
    if plaquette == 0:
        return 0.0
    if (q := 1 - float(plaquette)) < SMALL:
        return 1 / (2 * q) + 1 / 4 + 3 * q / 8
    scale = plaquette / (1 - plaquette**2)
    return float(brentq(lambda beta: ive(1, beta) / ive(0, beta) - plaquette, 0.99 * scale, 2.01 * scale, rtol=1e-14))


def pool_acceptance(log_weights: Array) -> float:
    """The acceptance of the independence sampler in equilibrium, from ``log w`` of independent proposals ``(n,)``, n >= 2.

    ``E_{x ~ w q, y ~ q} min(1, w(y)/w(x)) = E_{x, y ~ q} min(w(x), w(y)) / E w``, over pairs of different draws.
    """
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.ndim != 1 or len(log_weights) < 2:
        raise ValueError(f"log_weights: got shape {log_weights.shape}, expected (n,) with n of at least 2")
    if not np.isfinite(top := log_weights.max()):
        raise ValueError(f"log_weights: got a largest of {top}, expected a finite one (-inf for fields without weight)")
    w = np.sort(np.exp(log_weights - top))
    n = len(w)
    # The i-th smallest is the smaller one in a pair with each of the n - 1 - i larger ones.
    return float(2 * np.sum(w * np.arange(n - 1, -1, -1)) / ((n - 1) * np.sum(w)))
