"""Built-in targets of phi^4: HMC, and HMC with momenta of the covariance of an inverse propagator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.actions import Action, Phi4
from refimpl.kernels import FourierHMC, Info, State
from refimpl.kernels.fourier import filtered
from refimpl.maps import INTEGRATORS, PhasePoint
from refimpl.observables import scalars

from .kernels import KernelTarget

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReferencePhi4(KernelTarget):
    """HMC of phi^4 in two dimensions, with every capability of the contract."""

    m2: float = 0.1
    lam: float = 6.0
    shape: tuple[int, int] = (6, 4)
    step_size: float = 0.3
    n_steps: int = 5
    integrator: str = "leapfrog"
    theory: ClassVar[str] = "phi4"
    name: ClassVar[str] = "refimpl phi^4 HMC"

    @property
    def sampled(self) -> Action:
        return Phi4(self.m2, self.lam)

    def correlator(self, x: Array, t: int) -> Array:
        return scalars.correlator(x)[:, t]

    def field_moment(self, x: Array, k: int) -> Array:
        return _MOMENTS[k](x)


def _third(x: Array) -> Array:
    return np.asarray((x * x * x).mean(axis=(1, 2)))


_MOMENTS = {1: scalars.magnetisation, 2: scalars.phi_squared, 3: _third, 4: scalars.phi_fourth}


@dataclass(frozen=True)
class ReferenceFourierHMC(ReferencePhi4):
    """Fourier-accelerated HMC of phi^4, shown in the white momenta ``w = K^(-1/2) v``, for which ``H = S + w.w/2``."""

    step_size: float = 0.4
    n_steps: int = 4
    mass2: float = 0.5
    stiffness: float = 1.0
    integrator: str = "fourier-leapfrog"  # of white momenta, which is another map than the leapfrog of vectors
    name: ClassVar[str] = "refimpl phi^4 Fourier HMC"

    @property
    def coloured(self) -> FourierHMC:
        """The kernel, whose momenta are ``v``."""
        integrator = INTEGRATORS[self.integrator.removeprefix("fourier-")]
        return FourierHMC(self.sampled, self.step_size, self.n_steps, self.mass2, self.stiffness, integrator)

    @property
    def kernel(self) -> White:
        return White(self.coloured)

    @property
    def map(self) -> White:
        return self.kernel


@dataclass(frozen=True)
class White:
    """A Fourier kernel and its proposing map in white momenta."""

    coloured: FourierHMC

    def init(self, x: Array) -> State:
        return self.coloured.init(x)

    def noise(self, rngs: Sequence[np.random.Generator], shape: tuple[int, ...]) -> tuple[Array, Array]:
        v, u = self.coloured.noise(rngs, shape)
        return self._white(v), u

    def propose(self, state: State, w: Array, u: Array) -> tuple[State, Array, Info]:
        v = filtered(w, np.sqrt(self.coloured.covariance(w.shape)))
        proposal, v, info = self.coloured.propose(state, v, u)
        return proposal, self._white(v), info

    def step(self, rngs: Sequence[np.random.Generator], state: State) -> tuple[State, Info]:
        return self.coloured.step(rngs, state)

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        x, w = z
        proposal, w, info = self.propose(self.init(x), w, np.full(len(x), 0.5))
        return (proposal.x, w), info.logdet

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        (x, w), logdet = self.forward((z[0], -z[1]))
        return (x, -w), -logdet

    def _white(self, v: Array) -> Array:
        return filtered(v, 1 / np.sqrt(self.coloured.covariance(v.shape)))
