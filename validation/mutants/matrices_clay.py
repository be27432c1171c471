"""A plain HMC of two-dimensional SU(2), one method per decision an implementer takes: the material of the mutants in `matrices`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .clay import Array, Clay

Complex = NDArray[Any]

# Half the Pauli matrices.
T: Complex = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]) / 2


def h(u: Complex) -> Complex:
    """The Hermitian conjugate."""
    return u.conj().swapaxes(-1, -2)


def at(u: Complex, t: int, s: int) -> Complex:
    """The field t sites later and s sites to the right."""
    return np.roll(u, (-t, -s), (1, 2))


@dataclass(frozen=True)
class MatrixClay(Clay):
    """Correct HMC: forces by staples, links moved by exponentials from the left."""

    beta: float = 2.0
    shape: tuple[int, int] = (2, 4)
    step_size: float = 0.7
    n_steps: int = 3
    theory: ClassVar[str] = "su2"
    charge: ClassVar[Any] = None
    sine_charge: ClassVar[Any] = None

    @property
    def momentum_shape(self) -> tuple[int, ...]:
        return (2, *self.shape, 3)

    def wrapped(self, x: Complex) -> Complex:
        """Links as they are kept: divided by the root of their determinant."""
        return x / np.sqrt(np.linalg.det(x))[..., None, None]

    # --- observables --------------------------------------------------------------------------------------------------
    def trace(self, u: Complex) -> Array:
        """``Re tr/2``."""
        return np.einsum("...ii->...", u).real / 2

    def plaquettes(self, x: Complex) -> Complex:
        return x[:, 0] @ at(x[:, 1], 1, 0) @ h(at(x[:, 0], 0, 1)) @ h(x[:, 1])

    def action(self, x: Complex) -> Array:
        return -self.beta * self.trace(self.plaquettes(x)).sum(axis=(1, 2))

    def plaquette(self, x: Complex) -> Array:
        return self.trace(self.plaquettes(x)).mean(axis=(1, 2))

    def wilson_loop(self, x: Complex, extent_t: int, extent_x: int) -> Array:
        up, right = x[:, 0], x[:, 1]
        for k in range(1, extent_t):
            up = up @ at(x[:, 0], k, 0)
        for k in range(1, extent_x):
            right = right @ at(x[:, 1], 0, k)
        return self.trace(up @ at(right, extent_t, 0) @ h(at(up, 0, extent_x)) @ h(right)).mean(axis=(1, 2))

    # --- molecular dynamics ---------------------------------------------------------------------------------------------
    def staples(self, x: Complex) -> Complex:
        """Sums of the rest of the two plaquettes of every link."""
        u0, u1 = x[:, 0], x[:, 1]
        time = at(u1, 1, 0) @ h(at(u0, 0, 1)) @ h(u1) + h(at(u1, 1, -1)) @ h(at(u0, 0, -1)) @ at(u1, 0, -1)
        space = at(u0, 0, 1) @ h(at(u1, 1, 0)) @ h(u0) + h(at(u0, -1, 1)) @ h(at(u1, -1, 0)) @ at(u0, -1, 0)
        return np.stack([time, space], axis=1)

    def generators(self) -> Complex:
        return T

    def components(self, m: Complex) -> Array:
        """``Im tr(T_a m)``."""
        return np.einsum("aij,...ji->...a", self.generators(), m).imag

    def force(self, x: Complex) -> Array:
        """``(beta/2) Im tr(T_a U A)`` with the staples A."""
        return self.beta / 2 * self.components(x @ self.staples(x))

    def exponential(self, w: Array) -> Complex:
        """``exp(i w_a T_a)``."""
        values, vectors = np.linalg.eigh(np.tensordot(w, T, axes=(-1, 0)))
        return (vectors * np.exp(1j * values)[..., None, :]) @ h(vectors)

    def drift(self, x: Complex, w: Array) -> Complex:
        return self.exponential(w) @ x
