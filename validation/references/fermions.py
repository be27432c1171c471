"""Built-in targets with fermions or SU(N) links: HMC with the exact determinant, and with pseudofermions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl import observables
from refimpl.actions import (
    Action,
    Pseudofermion,
    WilsonDeterminant,
    WilsonDirac,
    WilsonSUN,
    WilsonU1,
    hasenbusch,
    log_determinant,
    wilson_dirac,
)
from refimpl.actions.dirac.matrix import dense_matrix
from refimpl.estimators.determinant import determinant_estimate
from refimpl.kernels import HMC, Level, NestedHMC, spawn_rngs
from refimpl.maps import INTEGRATORS

from .kernels import Kernel, KernelTarget, Updates, record

Array = NDArray[np.float64]
Field = NDArray[Any]


class Fermions:
    """The capabilities of the contract that belong to the Wilson-Dirac operator, on links of one colour or more."""

    kappa: float
    even_odd: bool
    mus: tuple[float, ...]
    mu_reg: float
    antiperiodic: bool

    @property
    def colours(self) -> int:
        """1 for angles."""
        return 1

    @property
    def monomials(self) -> tuple[Pseudofermion, ...]:
        """The monomials of ``det(D D^dag + mu_reg)``."""
        return hasenbusch(
            self.kappa,
            self.mus,
            even_odd=self.even_odd,
            mu_reg=self.mu_reg,
            n=self.colours,
            antiperiodic=self.antiperiodic,
        )

    def dirac(self, x: Field) -> WilsonDirac:
        return wilson_dirac(x, self.kappa, antiperiodic=self.antiperiodic)

    def dirac_dense(self, x: Field) -> Field:
        return dense_matrix(self.dirac(x))

    def dirac_apply(self, x: Field, psi: Field) -> Field:
        return self.dirac(x).apply(psi)

    def logdet_dirac(self, x: Field) -> Array:
        return log_determinant(self.dirac(x))[0]

    def pseudofermion_action(self, x: Field, phi: Field) -> Array:
        parts = [monomial.action(x, phi[:, k]) for k, monomial in enumerate(self.monomials)]
        return np.sum(parts, axis=0)

    def pseudofermion_force(self, x: Field, phi: Field) -> Array:
        parts = [monomial.force(x, phi[:, k]) for k, monomial in enumerate(self.monomials)]
        return np.sum(parts, axis=0)

    def pseudofermion_heat_bath(self, x: Field, seed: int) -> Field:
        rngs = spawn_rngs(seed, len(x))
        return np.stack([monomial.draw(rngs, x) for monomial in self.monomials], axis=1)

    def determinant_estimate(self, x: Field, n: int, seed: int) -> Array:
        """Of the plain Gaussian pseudofermion, whatever the monomials of the action."""
        return np.exp(determinant_estimate(spawn_rngs(seed, len(x)), self.dirac(x), n, diagnose=False)[0])


@dataclass(frozen=True)
class ReferenceSchwinger(KernelTarget, Fermions):
    """HMC of two-dimensional U(1) with two flavours, by the exact determinant."""

    beta: float = 2.0
    kappa: float = 0.2
    shape: tuple[int, int] = (4, 4)
    antiperiodic: bool = True
    step_size: float = 0.4
    n_steps: int = 4
    integrator: str = "leapfrog"
    even_odd: bool = False
    mus: tuple[float, ...] = ()
    mu_reg: float = 0.0
    theory: ClassVar[str] = "schwinger"
    name: ClassVar[str] = "refimpl Schwinger HMC"
    thrift: ClassVar[int] = 4

    @property
    def sampled(self) -> Action:
        return WilsonU1(self.beta) + WilsonDeterminant(self.kappa, antiperiodic=self.antiperiodic)

    plaquette = staticmethod(observables.mean_plaquette)
    charge = staticmethod(observables.charge)
    sine_charge = staticmethod(observables.sine_charge)
    wilson_loop = staticmethod(observables.wilson_loop)


@dataclass(frozen=True)
class ReferencePseudofermion(Updates, Fermions):
    """HMC of the Schwinger model by even-odd pseudofermions with one Hasenbusch mass, the gauge force on a shorter time scale.

    The random numbers of a step are momenta, a uniform and the pseudofermions.
    """

    beta: float = 2.0
    kappa: float = 0.2
    shape: tuple[int, int] = (4, 4)
    antiperiodic: bool = True
    step_size: float = 0.4
    n_steps: int = 4
    even_odd: bool = True
    mus: tuple[float, ...] = (0.3,)
    mu_reg: float = 0.0  # another is of use for the pseudofermions alone: updates refuse it
    theory: ClassVar[str] = "schwinger"
    name: ClassVar[str] = "refimpl Schwinger HMC with pseudofermions"
    pseudofermions: ClassVar[bool] = True
    thrift: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.even_odd and (self.shape[0] % 2 or self.shape[1] % 2):
            raise ValueError(f"shape: got {self.shape}, expected even extents")

    @property
    def kernel(self) -> NestedHMC:
        levels = (Level(self.monomials, self.n_steps), Level((WilsonU1(self.beta),), 2))
        return NestedHMC(levels, self.step_size * self.n_steps)

    @property
    def sampled(self) -> Action:
        return self.kernel.action

    def transition(self, x: Field, v: Array, u: Array, phi: Field) -> dict[str, Array]:
        fields = [phi[:, k] for k in range(phi.shape[1])]
        kernel = self.kernel
        state = kernel.init(x)
        return record(state, *kernel.propose_with(state, v, u, fields))

    def transcript(self, x: Field, seed: int) -> dict[str, Array]:
        kernel = self.kernel
        state = kernel.init(x)
        v, u, *chis = kernel.noise(spawn_rngs(seed, len(x)), x.shape)
        phi = np.stack(kernel.pseudofermions(state.x, *chis), axis=1)
        return {**record(state, *kernel.propose(state, v, u, *chis)), "v": v, "u": u, "phi": phi}

    def replace(self, **changes: Any) -> ReferencePseudofermion:
        return replace(self, **changes)


@dataclass(frozen=True)
class ReferenceSUN(KernelTarget, Fermions):
    """HMC of two-dimensional SU(n), with two flavours by the exact determinant where ``kappa > 0``."""

    n: int = 2
    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    kappa: float = 0.0
    antiperiodic: bool = True
    step_size: float = 0.5
    n_steps: int = 4
    integrator: str = "leapfrog"
    even_odd: bool = False
    mus: tuple[float, ...] = ()
    mu_reg: float = 0.0

    @property
    def colours(self) -> int:
        return self.n

    @property
    def thrift(self) -> int:
        """Besides that of the theory."""
        return 2 if self.n > 2 else 1

    @property
    def theory(self) -> str:
        return f"su{self.n}"

    @property
    def name(self) -> str:
        return f"refimpl SU({self.n}) HMC"

    @property
    def sampled(self) -> Action:
        gauge: Any = WilsonSUN(self.beta, self.n)  # its fields are complex, what an Action's need not be
        return gauge + WilsonDeterminant(self.kappa, self.n, self.antiperiodic) if self.kappa else gauge

    @property
    def kernel(self) -> Kernel:
        return HMC(self.sampled, self.step_size, self.n_steps, INTEGRATORS[self.integrator])

    def plaquette(self, x: Field) -> Array:
        return observables.mean_plaquette(x)

    def wilson_loop(self, x: Field, extent_t: int, extent_x: int) -> Array:
        return observables.wilson_loop(x, extent_t, extent_x)
