"""The Hamiltonian of a kernel: the action of the theory and the momenta, or, with pseudofermions, what stands for the determinant.

``H = S_g(x) + sum_m phi_m^dag K_m(x) phi_m + v.v/2``, ``phi`` drawn from ``exp(-phi^dag K phi)`` at the start of an update and
kept. By dense algebra of `measure_dirac`, with the monomials a target declares, but without a regulator: with one the kernel would
not have the distribution of the theory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import measure_dirac as measure
from .contract import Subject, TargetFault
from .theories import U1, Matrices, Theory, U
from .theories import energy as total_energy

Array = NDArray[np.float64]
Complex = NDArray[Any]


class Hamiltonian:
    """H of a target, per chain."""

    def __init__(self, subject: Subject) -> None:
        self._theory = subject.theory
        self._flavours = subject.flavours if subject.pseudofermions else None
        if self._flavours is None:
            return
        self._gauge, self._monomials, self._shape = (
            pure_gauge_theory(subject.theory),
            subject.monomials,
            subject.links.shape,
        )
        rows = 2 * self._shape[0] * self._shape[1] * getattr(subject.theory, "n", 1)
        self._living = np.ones(rows, dtype=bool)
        if self._monomials.even_odd:
            if self._shape[0] % 2 or self._shape[1] % 2:
                raise TargetFault(f"even_odd: got True on a lattice of shape {self._shape}, expected even extents")
            self._living = measure.even_rows(self._shape, rows // (self._shape[0] * self._shape[1]))
        self._phi_shape = subject.pseudofermion_shape

    def __call__(self, x: NDArray[Any], v: Array, phi: Complex | None = None) -> Array:
        if self._flavours is None or phi is None:
            return total_energy(self._theory, x, v)
        return total_energy(self._gauge, x, v) + self.pseudofermion_action(x, phi)

    def rounding(self, x: NDArray[Any], phi: Complex | None = None) -> float:
        """Of the action: of solutions of linear systems by the condition number of ``M = C C^dag``."""
        if self._flavours is None or phi is None:
            return self._theory.action_rounding(x)
        core = self._cores(x)
        whole = np.isfinite(core).all(axis=(1, 2))
        s = np.linalg.svd(core[whole], compute_uv=False)
        condition = (s[:, 0] / np.maximum(s[:, -1], U)) ** 2
        fermions = 16 * self._living.size * U * condition * self.pseudofermion_action(x, phi)[whole]
        return self._gauge.action_rounding(x) + float(fermions.max(initial=0.0))

    def pseudofermion_action(self, x: NDArray[Any], phi: Complex) -> Array:
        """``sum_m phi_m^dag K_m phi_m``; NaN where the field is not finite, or D singular."""
        return np.asarray((np.abs(self.whitened(x, phi)) ** 2).sum(axis=1))

    def whitened(self, x: NDArray[Any], phi: Complex) -> Complex:
        """``L^dag phi`` with ``K = L L^dag`` of every monomial, ``(chain, component)``: of density ``exp(-|L^dag phi|^2)``."""
        fields = phi.reshape(*phi.shape[:2], -1)[:, :, self._living]
        parts = [np.einsum("nji,nj->ni", root.conj(), fields[:, k]) for k, root in enumerate(self._factors(x))]
        return np.concatenate(parts, axis=1)

    def stray(self, phi: Complex) -> float:
        """The largest component where none belongs."""
        return float(np.abs(phi.reshape(*phi.shape[:2], -1)[:, :, ~self._living]).max(initial=0.0))

    def draw(self, rng: np.random.Generator, x: NDArray[Any]) -> Complex:
        """Fields of all monomials, from their heat bath at ``x``."""
        factors, shape = self._factors(x), self._phi_shape(x)
        flat = np.zeros((*shape[:2], self._living.size), np.complex128)
        for k, factor in enumerate(factors):
            eta = measure.random_spinors(rng, (len(x), factor.shape[-1], 1)) / np.sqrt(2)
            flat[:, k, self._living] = np.linalg.solve(factor.conj().swapaxes(-1, -2), eta)[..., 0]
        return flat.reshape(shape)

    def _cores(self, x: NDArray[Any]) -> Complex:
        if self._flavours is None:
            raise TypeError("subject: got one without pseudofermions")
        return measure.cores(self._flavours.matrix(x), self._shape, self._monomials.even_odd)

    def _factors(self, x: NDArray[Any]) -> list[Complex]:
        core = self._cores(x)
        finite = np.isfinite(core).all(axis=(1, 2))
        out = []
        for kernel in measure.kernels(core[finite], self._monomials.mus, 0.0):
            factor = np.full(core.shape, np.nan, np.complex128)
            factor[finite] = np.linalg.cholesky((kernel + kernel.conj().swapaxes(-1, -2)) / 2)
            out.append(factor)
        return out


def pure_gauge_theory(theory: Theory) -> U1 | Matrices:
    """The same theory without its fermions."""
    if isinstance(theory, Matrices):
        return replace(theory, kappa=0.0)
    if isinstance(theory, U1):
        return U1(theory.beta, theory.shape)
    raise TypeError(f"theory: got {theory.name}, expected a gauge theory")
