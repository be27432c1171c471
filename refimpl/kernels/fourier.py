"""Fourier-accelerated Hybrid Monte Carlo of scalar fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..lattice import chain_last, check_number, check_scalars, site_sum
from ..maps import LEAPFROG, Integrator, MolecularDynamics, trajectory
from .hmc import HMC
from .metropolis import Generators, Info, State, accept_reject, initial_state, metropolis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FourierHMC:
    """HMC of fields ``(chain, T, X)`` whose momenta have the covariance of a free propagator's inverse.

    ``H = S(x) + v.K^(-1).v/2``, where ``K`` is diagonal in momentum space, ``K(k) = stiffness k^^2 + mass2``, ``k^^2 = sum_mu 4
    sin^2(k_mu/2)``. A kick is ``v -= eps dS/dx``, a drift ``x += eps K^(-1) v``: one pair of real Fourier transforms for every
    force. With ``K`` the precision of a free field all of its modes turn at one frequency, so that long waves move as fast as
    short ones and the critical slowing down of HMC is gone (Duane, Kennedy, Pendleton, Roweth 1986; Batrouni et al. 1985).
    An interacting field wants ``mass2`` near the square of its physical mass.

    ``mass2 = 1, stiffness = 0`` is `HMC`, up to the rounding of the transforms. Each chain has its own Generator and its own
    bits: results do not depend on the batch a chain is run in.

    Parameters
    ----------
    action : an action of real fields ``(chain, T, X)``, such as `refimpl.actions.Phi4`.
    step_size : float, positive. n_steps : int, at least 1. integrator : `Integrator`.
    mass2 : float, positive. stiffness : float, not negative.
    """

    action: Action
    step_size: float
    n_steps: int
    mass2: float
    stiffness: float = 1.0
    integrator: Integrator = LEAPFROG

    def __post_init__(self) -> None:
        MolecularDynamics(self.action, self.step_size, self.n_steps, self.integrator)  # checks the arguments
        check_number("mass2", self.mass2, 0, above=True)
        check_number("stiffness", self.stiffness, 0)
        if self.action.angular:
            raise ValueError(f"action: got {self.action!r} of angles, expected an action of real fields")

    @property
    def n_forces(self) -> int:
        """Gradients of the action that a trajectory costs, as for `HMC`."""
        return self._plain.n_forces

    def init(self, x: Array) -> State:
        """The state at field ``x``."""
        return initial_state(self.action, check_scalars(x))

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Momenta of this shape and the Metropolis uniforms, each chain's from its own Generator: those of `HMC`, coloured."""
        white, u = self._plain.noise(rngs, shape)
        return filtered(white, np.sqrt(self.covariance(shape))), u

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One trajectory and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, v: Array, u: Array) -> tuple[State, Array, Info]:
        """The deterministic heart of a step: proposed state, its momenta and the decision, for given ``v`` and ``u``."""
        x, momenta = chain_last(*state.x.shape), chain_last(*state.x.shape)
        x[...], momenta[...] = state.x, v
        inverse = 1 / self.covariance(x.shape)

        def move(x: Array, v: Array, scale: float) -> None:
            np.add(x, filtered(v, inverse if scale == 1 else scale * inverse), x)

        with np.errstate(invalid="ignore", over="ignore"):
            before = momenta * filtered(momenta, inverse)
            action, force = trajectory(
                self.action, self.integrator, self.step_size, self.n_steps, x, momenta, state.force, move
            )
            delta_h = (action - state.action) + 0.5 * site_sum(momenta * filtered(momenta, inverse) - before)
        return State(x, action, force), momenta, metropolis(delta_h, np.zeros(len(x)), u)

    def covariance(self, shape: tuple[int, ...]) -> Array:
        """``K(k)`` on the modes of a real transform of fields of this shape, ``(T, X//2 + 1)``."""
        n_t, n_x = shape[-2:]
        hat_t, hat_x = (4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in (n_t, n_x))
        return self.stiffness * (hat_t[:, None] + hat_x[: n_x // 2 + 1]) + self.mass2

    @property
    def _plain(self) -> HMC:
        return HMC(self.action, self.step_size, self.n_steps, self.integrator)


def filtered(field: Array, factor: Array) -> Array:
    """Fields ``(chain, T, X)`` with every mode multiplied by ``factor (T, X//2 + 1)``, real and even in k; memory chain-last."""
    from scipy import fft

    rows = np.moveaxis(field, 0, -1)
    modes = fft.rfftn(rows, axes=(0, 1))
    modes *= factor[..., None]
    return np.moveaxis(fft.irfftn(modes, s=rows.shape[:2], axes=(0, 1), overwrite_x=True), -1, 0)
