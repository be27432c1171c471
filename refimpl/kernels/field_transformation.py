"""Hybrid Monte Carlo of a field that is the image of another one, in which the trajectories run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..groups import representative
from ..lattice import chain_last, site_sum
from ..maps import LEAPFROG, Integrator, MolecularDynamics, trajectory
from ..maps.base import Layer
from ..maps.pulled_back import PulledBack, pulled_force
from .hmc import momenta_and_uniforms
from .metropolis import Generators, Info, State, accept_reject, initial_state, metropolis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FieldTransformationHMC:
    """HMC in ``z`` with ``x = f(z)``: trajectories of ``H = S(f(z)) - log |det df/dz| + v.v/2``, see `PulledBack`.

    The state keeps the physical field x with its action and force, so that it cycles with other kernels of the same theory; a
    step is ``z = f^(-1)(x)``, a trajectory, ``x' = f(z')``, and costs one map and pullback more than the forces of z. The momenta
    are those of z: fresh at every step, returned by `propose`, which is reversible in (x, v). Luescher 2009, arXiv:0907.5491;
    Foreman et al. 2021, arXiv:2112.01586. `HMC` of a `PulledBack` action is the same chain with z for its field.

    `Info`: ``delta_h`` is that of ``S(x) + v.v/2``, and ``logdet`` the Jacobian of ``(x, v) -> (x', v')``: ``log |det df/dz|`` at
    z' less that at z. What the integrator keeps to its order in the step is ``delta_h - logdet``, the change of H; to the first
    order only where the map has kinks (a leaky ReLU, the logdet at the knots of a spline), at which the force jumps. Its mean
    size for U(1), 4 x 4, beta = 2, 8 couplings with random weights (``last=0.3``), trajectories of length 0.5, by step size:

        circle map, activation           0.1      0.05     0.025
        CircularSpline, leaky_relu       0.26     0.13     0.061
        CircularSpline, tanh             0.34     0.16     0.084
        CircularSpline, silu             0.21     0.098    0.044
        ProjectionMixture, leaky_relu    0.060    0.018    0.0064
        ProjectionMixture, tanh          0.058    0.014    0.0036
        ProjectionMixture, silu          0.055    0.014    0.0034

    A smooth net does not help splines; mixtures with one are of second order.

    Parameters
    ----------
    action : S, of the physical field. map : f, a `Layer` or a `Chain`, such as ``flow.map``.
    step_size : float, positive. n_steps : int, at least 1. integrator : `Integrator`.
    """

    action: Action
    map: Layer
    step_size: float
    n_steps: int
    integrator: Integrator = LEAPFROG

    def __post_init__(self) -> None:
        MolecularDynamics(self.pulled_back, self.step_size, self.n_steps, self.integrator)  # checks the arguments

    @property
    def pulled_back(self) -> PulledBack:
        """The action of z."""
        return PulledBack(self.action, self.map)

    @property
    def n_forces(self) -> int:
        """Forces of z that a trajectory costs, each one of x with the map and its pullback."""
        return self.n_steps * (len(self.integrator.coefficients) // 2)

    def init(self, x: Array) -> State:
        """The state at the physical field ``x``."""
        return initial_state(self.action, x)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Momenta of this shape, that of the force, and the Metropolis uniforms, each chain's from its own Generator."""
        return momenta_and_uniforms(rngs, shape)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One trajectory and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, v: Array, u: Array) -> tuple[State, Array, Info]:
        """The deterministic heart of a step: proposed state, its momenta and the decision, for given ``v`` and ``u``."""
        z, momenta = chain_last(*state.x.shape, dtype=state.x.dtype), chain_last(*state.force.shape)
        x = chain_last(*state.x.shape, dtype=state.x.dtype)
        z[...], momenta[...] = self.map.inverse(state.x)[0], v
        with np.errstate(invalid="ignore", over="ignore"):
            v_squared = momenta * momenta
            _, logdet, pull = self.map.forward_with_pullback(z)
            force = pulled_force(pull(state.force, -np.ones(len(z)))[0])
            trajectory(self.pulled_back, self.integrator, self.step_size, self.n_steps, z, momenta, force)
            kinetic = np.multiply(momenta, momenta)
            kinetic -= v_squared
            image, new_logdet = self.map.forward(representative(z, self.action.angular))
            x[...] = representative(image, self.action.angular)
            action, force = self.action.action_and_force(x)
            delta_h = (action - state.action) + 0.5 * site_sum(kinetic)
        return State(x, action, force), momenta, metropolis(delta_h, new_logdet - logdet, u)
