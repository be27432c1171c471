"""Monomials in linear fields of phi^4, and the divergences of vector fields made of them by a free propagator.

Let ``G = (-Lap + M2)^(-1)`` be the propagator, h a function of a few linear fields ``l_i = S_i phi`` at one site, S_i even and
invariant under translations, and w any weights of the sites. The vector field ``g = G (w h)`` has

    A[g] = div g - g . F = sum_x w(x) B_h(x),   B_h = sum_i s_i dh/dl_i - h psi,   s_i = (S_i G)_00,   psi = G F,   F = dS/dphi,

so that the brackets B_h have mean zero at every site. The divergence needs only constants, ``div g = sum_x w(x) sum_i dh/dl_i(x)
(S_i G)(x, x)``. ``h = 1`` solves the free theory: the propagator carries the long waves, and h what is local.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...actions import Phi4
from ...lattice import check_number

Array = NDArray[np.float64]
Monomial = tuple[int, int, int]  # powers of phi, of its slice mean, of M2 G phi

N_LINEAR = 3


@dataclass(frozen=True)
class Propagator:
    """``G = (-Lap + M2)^(-1)`` on a torus ``(T, X)``, and the linear fields ``phi``, its slice mean over x, and ``M2 G phi``."""

    shape: tuple[int, int]
    mass2: float

    def __post_init__(self) -> None:
        check_number("mass2", self.mass2, 0, above=True)

    def __call__(self, field: Array) -> Array:
        """``G field`` for real fields ``(chain, T, X)``."""
        from scipy import fft

        modes = fft.rfft2(field)
        modes *= self.modes(0.0)[:, : self.shape[1] // 2 + 1]
        return np.asarray(fft.irfft2(modes, s=self.shape, overwrite_x=True))

    def modes(self, p: float) -> Array:
        """``exp(-i p t) G exp(i p t)`` on all modes ``(T, X)``: ``1/(4 sin^2((k_0 + p)/2) + 4 sin^2(k_1/2) + M2)``."""
        k_0, k_1 = (2 * np.pi * np.fft.fftfreq(n) for n in self.shape)
        return 1 / ((4 * np.sin((k_0 + p) / 2) ** 2)[:, None] + 4 * np.sin(k_1 / 2) ** 2 + self.mass2)

    @cached_property
    def contractions(self) -> tuple[float, ...]:
        """``s_i = (S_i G)_00``."""
        modes = self.modes(0.0)
        return tuple(float(value.sum()) / modes.size for value in (modes, modes[:, 0], self.mass2 * modes * modes))


class LocalFields:
    """Monomials and brackets of configurations ``(chain, T, X)``, all of this shape."""

    def __init__(self, action: Phi4, propagator: Propagator, x: Array) -> None:
        x = np.ascontiguousarray(x)
        self.x = x
        self._contractions = propagator.contractions
        self.psi = propagator(np.ascontiguousarray(action.force(x)))
        means = np.broadcast_to(x.mean(axis=2, keepdims=True), x.shape)
        self._linear = (x, means, propagator.mass2 * propagator(x))
        self._monomials: dict[Monomial, Array] = {(0, 0, 0): np.ones_like(x)}
        self._brackets: dict[Monomial, Array] = {}

    def monomial(self, powers: Monomial) -> Array:
        if powers not in self._monomials:
            i = next(i for i, power in enumerate(powers) if power)
            self._monomials[powers] = self.monomial(_lowered(powers, i)) * self._linear[i]
        return self._monomials[powers]

    def bracket(self, powers: Monomial) -> Array:
        """``B_h = sum_i s_i dh/dl_i - h psi``."""
        if powers not in self._brackets:
            result = -self.monomial(powers) * self.psi
            for i, power in enumerate(powers):
                if power:
                    result += (self._contractions[i] * power) * self.monomial(_lowered(powers, i))
            self._brackets[powers] = result
        return self._brackets[powers]

    def slope(self, powers: Monomial, j: int) -> Array:
        """``dB_h/dl_j`` at fixed psi: ``sum_i s_i d2h/dl_i dl_j - psi dh/dl_j``, the bracket of ``dh/dl_j``."""
        return powers[j] * self.bracket(_lowered(powers, j)) if powers[j] else np.zeros_like(self.x)


def _lowered(powers: Monomial, i: int) -> Monomial:
    lower = list(powers)
    lower[i] -= 1
    return (lower[0], lower[1], lower[2])
