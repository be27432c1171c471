"""Kernels that change the topological charge of two-dimensional U(1) by adding a uniform flux."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, WilsonU1
from ..groups import TWO_PI, sincos, wrap
from ..lattice import add_flux, chain_last, check_integer, check_links, plaquette_angles, site_sum
from .metropolis import Generators, Info, State, accept_reject, check_rngs, initial_state, metropolis

Array = NDArray[np.float64]


def wind(x: Array, k: NDArray[np.int64]) -> tuple[Array, Array]:
    """The map ``x -> wrap(x + k I)`` with the field of unit flux ``I``, and its logdet 0; ``wind(x, -k)`` is the inverse.

    Every plaquette moves by ``2 pi k/V``, and the charge by ``k`` less the plaquettes that cross the cut at pi.

    Parameters
    ----------
    x : link angles ``(chain, 2, T, X)``. k : integers ``(chain,)``.
    """
    return wrap(add_flux(x, k, out=chain_last(*x.shape))), np.zeros(len(x))


def _moved(action: Action, state: State, k: NDArray[np.int64]) -> tuple[State, Array, Array]:
    """The state at ``x + k I``, the change of the action, and the logdet."""
    x, logdet = wind(state.x, k)
    energy, force = action.action_and_force(x)
    return State(x, energy, force), energy - state.action, logdet


@dataclass(frozen=True)
class Winding:
    """Metropolis step ``x -> x + d k I``: uniform flux ``k`` added or taken, ``d = +-1`` by a fair coin per chain.

    Accepted with ``min(1, exp(S(x) - S(x + d k I)))``; the inverse of a move is the move of the other ``d``, the Jacobian
    is 1. Alone it keeps a field on its orbit ``x + n I`` (`Cycle` it with `HMC`). In equilibrium, with ``flux = 1``, the
    charge changes at about the rate `refimpl.exact.u1.winding_ceiling`, less one part in ``I_0(beta) exp(beta)`` for the
    plaquettes that cross the cut.

    Parameters
    ----------
    action : an action of U(1) links. flux : int, at least 1.
    """

    action: Action
    flux: int = 1

    def __post_init__(self) -> None:
        check_integer("flux", self.flux, 1)

    def init(self, x: Array) -> State:
        """The state at link angles ``x``."""
        return initial_state(self.action, check_links(x))

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Directions -1 or +1 and the Metropolis uniforms, each chain's from its own Generator."""
        coin, u = uniforms(rngs, shape[0], 2)
        return np.where(coin < 0.5, -1.0, 1.0), u

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One move and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, d: Array, u: Array) -> tuple[State, Array, Info]:
        """The proposed state, the directions as they were given, and the decision."""
        proposal, delta_h, logdet = _moved(self.action, state, self.flux * d.astype(np.int64))
        return proposal, d, metropolis(delta_h, logdet, u)


@dataclass(frozen=True)
class FluxHeatBath:
    """Heat bath along the orbit ``x + k I``, ``k = 0, ..., V - 1``: the uniform flux is drawn anew, nothing is rejected.

    With ``theta = 2 pi/V`` and ``z = sum_P exp(i theta_P)`` the action at ``k`` is ``beta V - beta Re(z exp(i k theta))``,
    so ``k`` is drawn from the softmax of ``beta Re(z exp(i k theta))``, at a cost of O(V). Alone it keeps a field on
    its orbit (`Cycle` it with `HMC`). An orbit remembers a little of the charge at strong coupling: in a cycle, tau_int of
    the charge falls from 0.6 at beta = 2 to 1/2 from beta = 6 on.

    `Info`: all accepted with ``acceptance`` 1; ``delta_h`` is the change of the action, which decides nothing here.

    Parameters
    ----------
    action : `WilsonU1`.
    """

    action: WilsonU1

    def __post_init__(self) -> None:
        if not isinstance(self.action, WilsonU1):
            raise ValueError(f"action: got {self.action!r}, expected a WilsonU1")

    def init(self, x: Array) -> State:
        """The state at link angles ``x``."""
        return initial_state(self.action, x)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array]:
        """One uniform per chain, from its own Generator."""
        return (uniforms(rngs, shape[0], 1)[0],)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """A new uniform flux for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, u: Array) -> tuple[State, Array, Info]:
        """The new state, the flux ``k`` that was added, and what happened, for given uniforms."""
        k = drawn(self.weights(state.x), u)
        new, delta_h, logdet = _moved(self.action, state, k)
        ones = np.ones(len(k))
        return new, k.astype(np.float64), Info(ones > 0, delta_h, logdet, ones, ones < 0)

    def weights(self, x: Array) -> Array:
        """``exp(-S(x + k I))`` up to a factor per chain that makes the largest 1, shape ``(V, chain)``."""
        return np.exp(self.log_weights(x))

    def log_weights(self, x: Array) -> Array:
        """The logarithms of the weights, the largest of a chain 0."""
        sine, cosine = sincos(plaquette_angles(x), "tan")
        volume = cosine[0].size
        angle = TWO_PI / volume * np.arange(volume)
        re_z = np.multiply.outer(np.cos(angle), site_sum(cosine)) - np.multiply.outer(np.sin(angle), site_sum(sine))
        return self.action.beta * (re_z - re_z.max(axis=0))


def drawn(weights: Array, u: Array) -> NDArray[np.int64]:
    """Indices with probability proportional to the weights ``(index, chain)``, for given uniforms ``(..., chain)``."""
    cdf = np.cumsum(weights, axis=0)
    # The last entry is left out of the count: u * total may be rounded up to the total.
    return (cdf[:-1].reshape(-1, *(1,) * (u.ndim - 1), u.shape[-1]) <= u * cdf[-1]).sum(axis=0)


def uniforms(rngs: Generators, n_chains: int, n: int) -> Array:
    """``n`` uniforms per chain, each chain's from its own Generator, shape ``(n, chain)``."""
    check_rngs(rngs, n_chains)
    return np.array([rng.random(n) for rng in rngs]).T
