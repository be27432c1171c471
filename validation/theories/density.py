"""Normalised densities of fields with exact samplers: a theory itself where its partition function is known, else one near it.

Whether the density of a flow is normalised can be asked of any that is: ``E_p[q/p] = 1``. Measures are ``d phi`` of scalars,
``d theta`` of angles, and Haar measure of volume 1 of SU(N).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import phi4, sun, u1
from refimpl.exact.schwinger_2x2 import two_by_two

from .base import Array
from .circle import U1
from .fermions import LONGEST_DRAW as LONGEST_WITH_FERMIONS
from .matrices import SU2, SU3, Matrices
from .scalar import LONGEST_DRAW, Phi4
from .schwinger import Schwinger


@dataclass(frozen=True)
class Density:
    """``exp(-S)/Z`` of a theory.

    Parameters
    ----------
    theory : what is sampled. log_partition : ``log Z``. name : in words.
    """

    theory: U1 | Matrices | Phi4
    log_partition: float
    name: str

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return np.asarray(self.theory.sample(rng, n))

    def log_prob(self, x: NDArray[Any]) -> Array:
        return np.asarray(-self.theory.action(x) - self.log_partition)


def nearest(theory: U1 | Matrices | Phi4) -> Density:
    """The theory, or with fermions its pure gauge theory, or the free field closest to an interacting one."""
    if isinstance(theory, Phi4):
        return _scalars(theory)
    if isinstance(theory, Matrices):
        return pure_gauge(theory.beta, theory.shape, theory.n, "the theory itself" if not theory.kappa else "")
    if isinstance(theory, Schwinger):
        return _schwinger(theory)
    return pure_gauge(theory.beta, theory.shape, 1, "the theory itself")


def pure_gauge(beta: float, shape: tuple[int, int], n: int, name: str = "") -> Density:
    """Of U(1), ``n = 1``, or SU(n)."""
    name = name or f"pure gauge theory at beta = {beta:g}"
    if n == 1:
        return Density(
            U1(beta, shape), u1.log_partition(beta, shape) + 2 * math.prod(shape) * math.log(2 * math.pi), name
        )
    return Density((SU2 if n == 2 else SU3)(beta, shape), sun.log_partition(beta, shape, n), name)


def _schwinger(theory: Schwinger) -> Density:
    gauge = pure_gauge(theory.beta, theory.shape, 1)
    if theory.shape != (2, 2) or theory._rejection.seconds > LONGEST_WITH_FERMIONS:
        return gauge
    ratio = two_by_two(theory.beta, theory.kappa, theory.antiperiodic).log_z
    return Density(theory, gauge.log_partition + ratio, "the theory itself")


def _scalars(theory: Phi4) -> Density:
    answers = theory.answers if theory.seconds <= LONGEST_DRAW else None
    if answers is not None:
        return Density(theory, answers.log_partition, "the theory itself")
    mass2 = phi4.free_mass(theory.m2, theory.lam, theory.shape)
    free = replace(theory, m2=mass2, lam=0.0)
    return Density(free, phi4.free(mass2, theory.shape).log_partition, f"the free field of mass squared {mass2:.4g}")
