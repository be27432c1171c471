"""Stage 1 of the two-stage variate of phi^4: slice means improved in momentum space, and the exact overlap terms of their products.

With ``g^a = G H^a``, ``H^a(x) = (1/X) sum_k c_k(|x_0 - a|) h_k(x)``, the propagator G and even monomials h_k of
`monomials`, ``D_a = A[g^a]`` is linear in c, and ``R_a = P_a - D_a`` has little of the variance of the slice mean
``P_a = (1/X) sum_x phi(a, x)``. c is fitted by least squares ``P_a ~ D_a`` over all slices. As D is a convolution in
time, this is one small fit for each momentum p of time; slices are written ``P(p) = sum_a exp(i p a) P_a``.

As ``A[h g] = h A[g] + g . grad h``, the vector field ``g^a P_b + g^b R_a`` has

    P_a P_b - A[g] = R_a R_b - X_ab,   X_ab = g^a . grad P_b + g^b . grad R_a,

exactly, whatever the supports. The mean over all slices at distances t and -t is ``(1/T^2) sum_p cos(p t) Y(p)``,
``Y(p) = |R(p)|^2 - X(p)``. With ``w = m2 - M2 + lam phi^2/2``, so that the Hessian of the action is ``G^(-1) + w``, and
fields of momentum p, ``H(p) = exp(i p x_0) h/X``, ``h = sum_k c_k(p) h_k``, slopes ``q_j = sum_k c_k(p) dB_k/dl_j``,

    X(p) = Re[ 2 g(p) . grad P(-p) + g(p) . H(-p) ] + sum_x w |g(p)|^2 - (1/X) Re sum_j S_j g(p) . q_j exp(-i p x_0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...actions import Phi4
from ...lattice import site_sum
from .monomials import N_LINEAR, LocalFields, Monomial, Propagator
from .ridge import ridge

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

EVEN: tuple[Monomial, ...] = (
    *((0, 0, 0), (2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 0, 2)),
    *((4, 0, 0), (3, 0, 1), (2, 0, 2), (1, 0, 3), (0, 0, 4), (3, 1, 0), (2, 2, 0), (2, 1, 1), (1, 1, 2)),
    *((6, 0, 0), (5, 0, 1), (4, 0, 2), (3, 0, 3)),
)
ODD: tuple[Monomial, ...] = (
    *((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *((3, 0, 0), (2, 0, 1), (1, 0, 2), (0, 0, 3), (2, 1, 0), (1, 2, 0), (0, 3, 0), (1, 1, 1)),
    *((5, 0, 0), (4, 0, 1), (3, 0, 2), (7, 0, 0), (6, 0, 1)),
)
PRODUCTS = EVEN[:2]
MASS_FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
SCAN = 250  # configurations that tell the masses apart
CHUNK = 1 << 18  # complex numbers that an array of the overlap terms may have: more would leave the cache


@dataclass(frozen=True, eq=False)
class Stage:
    """Stage 1: the propagator and the kernels ``c_k(p)``, ``(momentum, monomial)``, for momenta ``2 pi j/T``, j = 0, ..., T//2."""

    action: Phi4
    propagator: Propagator
    kernel: Array

    @cached_property
    def momenta(self) -> Array:
        return momenta(self.propagator.shape[0])

    @cached_property
    def on_slices(self) -> Array:
        """``G(p)`` of momentum zero in space."""
        return 1 / (4 * np.sin(self.momenta / 2) ** 2 + self.propagator.mass2)

    def at_time(self, values: Array, t: int) -> Array:
        """``(1/T^2) sum_p cos(p t) values(p)`` over all momenta, from ``(chain, momentum)`` of half of them."""
        n_t = self.propagator.shape[0]
        return site_sum(values * (multiplicities(n_t) * np.cos(self.momenta * t) / n_t**2))

    def scores(self, x: Array, correlators: bool = True) -> tuple[Array, Array]:
        """``Y(p)``, ``(chain, momentum)``, zero unless there are correlators to improve, and the features of stage 2."""
        few = max(1, CHUNK // (len(self.kernel) * x[0].size))
        parts = [self._scores(x[i : i + few], correlators) for i in range(0, len(x), few)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _scores(self, x: Array, correlators: bool) -> tuple[Array, Array]:
        fields = LocalFields(self.action, self.propagator, x)
        means = of_momentum(x.mean(axis=2))
        score = np.zeros((len(x), len(self.kernel)))
        if correlators:
            rest = means - self.improvement(brackets(fields, EVEN))
            score = rest.real**2 + rest.imag**2 - self.overlap(fields)
        return score, np.concatenate([local_means(fields), self.products(fields, means)], axis=1)

    def improvement(self, modes: ComplexArray) -> ComplexArray:
        """``D(p) = sum_k c_k(p) B_k(p)``."""
        return np.einsum("pk,nkp->np", self.kernel, modes)

    def products(self, fields: LocalFields, means: ComplexArray) -> Array:
        """``A[g_k(p) P(-p)]`` of single monomials, ``(chain, monomial * momentum)``."""
        modes = brackets(fields, PRODUCTS)
        sums = np.stack([site_sum(fields.monomial(powers)) for powers in PRODUCTS], axis=1)
        overlaps = sums[:, :, None] * self.on_slices / self.propagator.shape[1] ** 2
        return np.reshape((means.conj()[:, None] * modes).real + overlaps, (len(means), -1))

    def overlap(self, fields: LocalFields) -> Array:
        """``X(p)``, ``(chain, momentum)``; fields of momentum p are kept without their factor ``exp(i p x_0)``."""
        from scipy import fft

        n, (n_t, n_x), n_p = len(fields.x), self.propagator.shape, len(self.kernel)
        mass2 = self.propagator.mass2
        source = self._combined(np.stack([fields.monomial(powers) for powers in EVEN], axis=1))
        modes = fft.fft2(source.reshape(n, n_p, n_t, n_x))
        shifted = np.stack([self.propagator.modes(p) for p in self.momenta])
        g = fft.ifft2(modes * shifted).reshape(n, n_p, -1)
        smeared = mass2 * fft.ifft2(modes * shifted**2, overwrite_x=True).real.reshape(n, n_p, -1)
        real = np.ascontiguousarray(g.real)
        sliced = real.reshape(n, n_p, n_t, n_x).mean(axis=3, keepdims=True)
        sliced = np.broadcast_to(sliced, (n, n_p, n_t, n_x)).reshape(n, n_p, -1)
        total = 2 * self.on_slices * np.einsum("npx->np", source) + np.einsum("npx,npx->np", real, source)
        for j, field_j in zip(range(N_LINEAR), (real, sliced, smeared), strict=True):
            slopes = self._combined(np.stack([fields.slope(powers, j) for powers in EVEN], axis=1))
            total -= np.einsum("npx,npx->np", field_j, slopes)
        weight = (self.action.m2 - mass2) + (self.action.lam / 2) * np.square(fields.x).reshape(n, 1, -1)
        total += np.einsum("npx,nqx->np", real**2 + np.square(g.imag), weight)
        return total / n_x**2

    def _combined(self, values: Array) -> Array:
        """``sum_k c_k(p) values_k``, ``(chain, momentum, site)``."""
        return np.matmul(self.kernel, values.reshape(*values.shape[:2], -1))


# --- fits -------------------------------------------------------------------------------------------------------------
def fitted_stage(action: Phi4, x: Array, mass2: float | None = None) -> Stage:
    """Stage 1 of configurations ``(n, T, X)``, with the mass that leaves least on folds of them unless there is one."""
    if mass2 is None:
        some = x[:: max(1, len(x) // SCAN)]
        curvature = _curvature(action, x)
        if curvature == 0:
            raise ValueError("configurations: got fields on which no force acts, expected a sample of exp(-S)")
        masses = [factor * curvature for factor in MASS_FACTORS]
        mass2 = min(masses, key=lambda mass: _slice_fit(action, some, mass)[1])
    return _slice_fit(action, x, mass2)[0]


def _slice_fit(action: Phi4, x: Array, mass2: float) -> tuple[Stage, float]:
    """Stage 1 with this mass, and the variance that it leaves of slice means on folds of the configurations."""
    propagator = Propagator((x.shape[1], x.shape[2]), float(mass2))
    few = max(1, CHUNK // 8 // x[0].size)  # there are dozens of arrays of this size
    fields = (LocalFields(action, propagator, x[i : i + few]) for i in range(0, len(x), few))
    modes = np.concatenate([brackets(some, EVEN) for some in fields])
    targets = of_momentum(x.mean(axis=2))
    # Real and imaginary parts of one configuration stay together, so that no fold knows anything of another.
    fits = [ridge(_parts(modes[:, :, p]), _parts(targets[:, p, None]), centred=False) for p in range(targets.shape[1])]
    left = multiplicities(x.shape[1]) @ np.array([fit.left_over[0] for fit in fits])
    return Stage(action, propagator, np.stack([fit.coefficients[:, 0] for fit in fits])), float(left)


def _curvature(action: Phi4, x: Array) -> float:
    """``<(sum_x F)^2>/V``, which is ``<sum_y d2S/dphi_x dphi_y> = m2 + lam <phi^2>/2`` and positive in any sample."""
    return float(np.mean(site_sum(action.force(x)) ** 2)) / x[0].size


def _parts(values: ComplexArray) -> Array:
    """Real and imaginary parts of ``(n, k)`` as rows ``(2 n, k)``, those of a configuration next to each other."""
    return np.stack([values.real, values.imag], axis=1).reshape(-1, values.shape[1])


# --- slices in momentum space -----------------------------------------------------------------------------------------
def momenta(n_t: int) -> Array:
    """``2 pi j/T`` for j = 0, ..., T//2; the others are minus these."""
    return 2 * np.pi * np.arange(n_t // 2 + 1) / n_t


def multiplicities(n_t: int) -> Array:
    """How many momenta each of `momenta` stands for: 2, or 1 where minus p is p."""
    counts = np.full(n_t // 2 + 1, 2.0)
    counts[0] = 1
    if n_t % 2 == 0:
        counts[-1] = 1
    return counts


def of_momentum(slices: Array) -> ComplexArray:
    """``sum_a exp(i p a) slices_a`` over the last axis, at `momenta`."""
    from scipy import fft

    return np.conj(fft.rfft(slices, axis=-1))


def brackets(fields: LocalFields, monomials: Sequence[Monomial]) -> ComplexArray:
    """``B_k(p)``, ``(chain, monomial, momentum)``, of the slice means of brackets."""
    return of_momentum(np.stack([fields.bracket(powers).mean(axis=2) for powers in monomials], axis=1))


def local_means(fields: LocalFields) -> Array:
    """``E_j``, ``(chain, monomial)``: lattice means of the brackets of odd monomials."""
    return np.stack([site_sum(fields.bracket(powers)) / fields.x[0].size for powers in ODD], axis=1)
