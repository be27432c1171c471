"""Pseudomarginal Metropolis: a determinant that is only estimated, and yet the exact target (Andrieu and Roberts 2009).

The target is ``exp(-S_g) det M``. With ``E d = det M`` of an estimate ``d > 0`` at given links, ``log w = S_q - S``,
``S = S_g - log d`` (46), takes the place of the exact weight in the independence Metropolis: the chain is one of the pair
(links, estimate), whose density is ``exp(-S_g) d P(d | U)``, and the links alone have the target. So the estimate at the current
links is kept, bit for bit, until a proposal is accepted. Drawn anew in every step, the chain has another distribution.

At links from the target the estimate is not from P but from ``d P(d)/det M``. For the mean of ``N_pf`` weights (42) that is: one
of the fields from its heat bath ``exp(-S_m)``, the others from the proposals q. Estimates that are drawn so where a chain starts
leave no thermalisation, and are exact between kernels that change the links: a Gibbs step of the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Sum
from ..groups import representative
from ..lattice import chain_last
from .independence import Proposal, ProposedState, kept_with
from .metropolis import Generators, Info, State, accept_reject, check_rngs, initial_state, metropolis

Array = NDArray[np.float64]


class DeterminantEstimator(Protocol):
    """Positive estimates ``d`` of ``exp(-S_det)``, without bias; each chain's numbers from its own Generator.

    ``determinant``: the action ``S_det``. ``log_determinant_estimate(rngs, x)``: ``log d``, shape ``(chain,)``.
    ``start_estimate(rngs, x)``: as this, from the distribution of d times ``d exp(S_det)``.
    """

    @property
    def determinant(self) -> Action: ...
    def log_determinant_estimate(self, rngs: Generators, x: NDArray[Any]) -> Array: ...
    def start_estimate(self, rngs: Generators, x: NDArray[Any]) -> Array: ...


@dataclass(frozen=True)
class PseudomarginalMetropolis:
    """Proposals ``y ~ exp(-S_q)`` with an estimate d of their own, accepted with ``min(1, w(y, d')/w(x, d))``.

    The action of the state is the estimate ``S_g - log d``, which no other kernel knows: between it and others a `Cycle` makes
    the state anew. Of the state that `init` makes the action is NaN, and the first step draws it by ``start_estimate``, from
    the Generator of the chain. A state has no force (shape ``(chain, 0)``). A proposal whose estimate is not finite is rejected
    and counted.

    `Info`: ``delta_h = log w(x, d) - log w(y, d')``.

    Parameters
    ----------
    gauge : S_g. proposal : see `Proposal`. estimator : see `DeterminantEstimator`.
    """

    gauge: Action
    proposal: Proposal
    estimator: DeterminantEstimator

    def __post_init__(self) -> None:
        _check_has("proposal", self.proposal, "action", "draw")
        _check_has("estimator", self.estimator, "determinant", "log_determinant_estimate", "start_estimate")

    @property
    def action(self) -> Action:
        """The whole target, with the determinant itself."""
        return Sum((self.gauge, self.estimator.determinant))

    @property
    def state_action(self) -> Any:
        """What the state holds the action of: like that of no kernel that does not estimate the same way."""
        return self.estimator

    def init(self, x: NDArray[Any]) -> State:
        """The state at field ``x`` (checked by the gauge action), without an estimate: its action is NaN."""
        state = initial_state(self.gauge, x)
        return State(state.x, np.full(len(state.x), np.nan), chain_last(len(state.x), 0))

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[NDArray[Any], Array, Array, Array]:
        """Proposed fields, their ``S_q``, their ``log d``, and the Metropolis uniforms; each chain's from its own Generator."""
        check_rngs(rngs, shape[0])
        y, s_q = self.proposal.draw(rngs)
        log_d = self.estimator.log_determinant_estimate(rngs, y)
        return y, s_q, log_d, np.array([rng.random() for rng in rngs])

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One proposal and one decision for every chain; before the first one, an estimate for the field it starts from."""
        check_rngs(rngs, len(state.x))
        return accept_reject(self, rngs, self.started(rngs, state))

    def started(self, rngs: Generators, state: State) -> State:
        """The state with an estimate where it had none; raises `ValueError` where there is no finite one."""
        new = np.flatnonzero(np.isnan(state.action))
        if not new.size:
            return state
        x, action = state.x[new], state.action.copy()
        log_d = self.estimator.start_estimate([rngs[int(k)] for k in new], x)
        action[new] = self.gauge.action(x) - log_d
        if not np.all(np.isfinite(action)):
            bad = action[~np.isfinite(action)][0]
            raise ValueError(f"x: got a field of estimated action {bad}, expected a finite one")
        return replace(state, action=action)

    def propose(self, state: State, y: NDArray[Any], s_q: Array, log_d: Array, u: Array) -> tuple[State, Array, Info]:
        """The state at ``y``, ``log w(y, d')``, and the decision, for given draws, estimates and uniforms.

        Raises `ValueError` where ``y`` has not the shape of the field.
        """
        if y.shape != state.x.shape:
            raise ValueError(f"proposal: got fields of shape {y.shape}, expected {state.x.shape}")
        x = chain_last(*y.shape, dtype=state.x.dtype)
        x[...] = representative(y, self.gauge.angular)
        estimated = self.gauge.action(x) - log_d
        log_w = s_q - estimated
        log_w_old = ProposedState.of(self.proposal, state).proposal_action - state.action
        info = metropolis(log_w_old - log_w, np.zeros(len(u)), u)
        return kept_with(state, State(x, estimated, state.force.copy()), s_q), log_w, info


def _check_has(name: str, part: object, *attributes: str) -> None:
    """Raises `ValueError` naming the argument unless ``part`` has all of these."""
    if not all(hasattr(part, attribute) for attribute in attributes):
        expected = f"{', '.join(attributes[:-1])} and {attributes[-1]}"
        raise ValueError(f"{name}: got {part!r:.80}, expected an object with {expected}")
