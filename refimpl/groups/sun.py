"""The groups SU(N): Haar measure, algebra, exponential and logarithm, projection.

Elements are complex128 matrices ``(..., n, n)`` in any memory order; functions are fastest on memory with components slowest
and the first axis fastest (`refimpl.lattice.chain_last`), and return such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .angles import sincos
from .matrices import components, coordinates, dagger, determinant, field, hermitian, product

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]

# Smaller squared norms of w/2 are taken for this one: far below what can be seen in the exponential, far above underflow.
_TINY = 1e-100


@dataclass(frozen=True)
class SUN:
    """The group SU(n): elements ``U``, ``U^dag U = 1`` and ``det U = 1``.

    Generators ``T_a`` are Hermitian and traceless, ``tr T_a T_b = delta_ab / 2``: half the Pauli matrices for n = 2, half the
    Gell-Mann matrices for n = 3. Algebra elements are real coordinates ``w`` of shape ``(..., n^2 - 1)``.

    Parameters
    ----------
    n : int, at least 2.
    """

    n: int
    # What `check` allows |U^dag U - 1| and |det U - 1| to be: rounding of long products passes, single precision does not.
    tolerance: ClassVar[float] = 1e-10

    def __post_init__(self) -> None:
        if not isinstance(self.n, int | np.integer) or self.n < 2:
            raise ValueError(f"n: got {self.n!r}, expected an integer of at least 2")

    @property
    def basis(self) -> Matrices:
        """The generators, shape ``(n^2 - 1, n, n)``: for k = 1, 2, ...: the pairs of (j, k) for j < k, and a diagonal one."""
        return np.moveaxis(hermitian(np.eye(self.n**2 - 1), self.n), -1, 0)

    def haar(self, rng: np.random.Generator | Sequence[np.random.Generator], shape: tuple[int, ...]) -> Matrices:
        """Haar-distributed elements ``(*shape, n, n)``: QR of a complex Ginibre matrix, columns times the phases of diag R.

        ``rng`` is one Generator, or one for each entry of the first axis.

        Without the phases Q is not Haar distributed (Mezzadri 2007, math-ph/0609050, sec. 5); dividing by ``det^(1/n)`` takes
        U(n) to SU(n), where all n roots give the same distribution.
        """
        size = (*shape, self.n, self.n, 2)
        if isinstance(rng, np.random.Generator):
            numbers = rng.standard_normal(size)
        else:
            numbers = np.stack([own.standard_normal(size[1:]) for own in rng])
        z = numbers.view(np.complex128)[..., 0]
        q, r = np.linalg.qr(z)
        diagonal = np.einsum("...ii->...i", r)
        return self._special(q * (diagonal / np.abs(diagonal))[..., None, :])

    def algebra(self, w: Array) -> Matrices:
        """The Hermitian matrices ``w_a T_a``, shape ``(..., n, n)``."""
        return field(hermitian(components(self._checked_algebra(w), 1), self.n), 2)

    def coordinates(self, m: Matrices) -> Array:
        """``w_a = 2 tr(T_a m)`` of Hermitian ``m``; the inverse of `algebra`, blind to the trace."""
        return field(coordinates(components(m, 2)), 1)

    def exp(self, w: Array) -> Matrices:
        """``exp(i w_a T_a)``: closed form for n = 2, Cayley-Hamilton for n = 3, eigenvectors for other n.

        Absolute error of a few rounding errors for ``|w| < 100``, equal eigenvalues or not; `exp_definition` is the check.
        """
        return field(_exponential(components(self._checked_algebra(w), 1), self.n), 2)

    def exp_definition(self, w: Array) -> Matrices:
        """``V diag(exp(i lambda)) V^dag`` with eigenvalues and eigenvectors of ``w_a T_a``."""
        return _exponential_by_eigenvectors(self.algebra(w))

    def log(self, u: Matrices) -> Array:
        """The coordinates ``w`` of smallest norm with ``exp(w) = u``.

        Eigenphases in [-pi, pi] add up to ``2 pi k``; the k largest are moved by ``-2 pi`` (for k < 0 the smallest by ``2 pi``), so
        that the matrix is traceless. By the Schur form, which for a unitary matrix is diagonal even where eigenvalues are equal.
        """
        from scipy.linalg import schur

        u = self.check(u)
        w = np.empty((*u.shape[:-2], self.n**2 - 1))
        for site in np.ndindex(u.shape[:-2]):
            triangle, vectors = schur(u[site], output="complex")
            phases = np.angle(np.diag(triangle))
            k = round(phases.sum() / (2 * np.pi))
            order = np.argsort(-np.sign(k) * phases)[: abs(k)]
            phases[order] -= 2 * np.pi * np.sign(k)
            w[site] = self.coordinates((vectors * phases) @ vectors.conj().T)
        return w

    def multiply(self, u: Matrices, v: Matrices) -> Matrices:
        """The matrix product ``u v``, `numpy.matmul` unrolled over components."""
        return field(product(components(u, 2), components(v, 2)), 2)

    def inverse(self, u: Matrices) -> Matrices:
        """The inverse, the Hermitian conjugate."""
        return field(dagger(components(u, 2)), 2)

    def project(self, u: Matrices) -> Matrices:
        """The nearest unitary matrix (the polar factor) divided by the n-th root of its determinant; for invertible ``u``."""
        left, _, right = np.linalg.svd(u)
        return self._special(left @ right)

    def reunitarised(self, u: Matrices) -> Matrices:
        """`project` for matrices that rounding has moved off the group: a deviation d becomes one of order d^2.

        A step of Newton-Schulz, ``u (3 - u^dag u)/2``, is the polar factor to second order (Higham, Functions of Matrices, 2008,
        eq. (8.20)); the phase of the determinant goes the same way.
        """
        matrices = components(u, 2)
        defect = product(dagger(matrices), matrices)
        defect *= -0.5
        for i in range(self.n):
            defect[i, i] += 1.5
        unitary = product(matrices, defect)
        unitary *= 1 - 1j / self.n * determinant(unitary).imag
        return field(unitary, 2)

    def rotate(self, u: Matrices, w: Array) -> None:
        """``u <- exp(i w_a T_a) u``, in place."""
        matrices = components(u, 2)
        matrices[...] = product(_exponential(components(w, 1), self.n), matrices)

    def check(self, u: ArrayLike, name: str = "u") -> Matrices:
        """``u`` as elements of the group; raises `TypeError` or `ValueError` unless unitary with determinant 1 to `tolerance`."""
        u = np.asarray(u)
        if u.dtype != np.complex128:
            raise TypeError(f"{name}: got dtype {u.dtype}, expected complex128")
        if u.shape[-2:] != (self.n, self.n):
            raise ValueError(f"{name}: got shape {u.shape}, expected (..., {self.n}, {self.n})")
        if u.size == 0:
            raise ValueError(f"{name}: got shape {u.shape}, expected at least one matrix")
        matrices = components(u, 2)
        defect = product(dagger(matrices), matrices)
        for i in range(self.n):
            defect[i, i] -= 1
        deviations = {"U^dag U": np.abs(defect).max(), "det U": np.abs(determinant(matrices) - 1).max()}
        for what, deviation in deviations.items():
            if not deviation <= self.tolerance:
                raise ValueError(
                    f"{name}: got matrices with {what} off 1 by {deviation:.3g}, expected elements of SU({self.n}) "
                    f"to {self.tolerance:g}"
                )
        return u

    def _special(self, u: Matrices) -> Matrices:
        """Unitary matrices divided by ``det^(1/n)``."""
        phase = np.angle(np.linalg.det(u)) / self.n
        return u * np.exp(-1j * phase)[..., None, None]

    def _checked_algebra(self, w: ArrayLike) -> Array:
        w = np.asarray(w)
        if w.dtype != np.float64:
            raise TypeError(f"w: got dtype {w.dtype}, expected float64")
        if w.ndim == 0 or w.shape[-1] != self.n**2 - 1:
            raise ValueError(f"w: got shape {w.shape}, expected (..., {self.n**2 - 1})")
        return w


def _exponential(w: Array, n: int) -> Matrices:
    """``exp(i w_a T_a)`` component first."""
    if n == 2:
        return _exponential_su2(w)
    if n == 3:
        return _exponential_su3(w)
    return components(_exponential_by_eigenvectors(field(hermitian(w, n), 2)), 2)


def _exponential_by_eigenvectors(q: Matrices) -> Matrices:
    values, vectors = np.linalg.eigh(q)
    return (vectors * np.exp(1j * values)[..., None, :]) @ vectors.conj().swapaxes(-2, -1)


def _exponential_su2(w: Array) -> Matrices:
    """``cos r + 2i (sin r / r) w_a T_a / 2``, ``r = |w|/2``: ``(w_a T_a)^2 = r^2``."""
    r = np.sqrt(np.maximum(0.25 * _square(w), _TINY))
    sine, cosine = sincos(r, "tan")
    out = hermitian(w * (sine / r), 2)
    out *= 1j
    out[0, 0] += cosine
    out[1, 1] += cosine
    return out


def _exponential_su3(w: Array) -> Matrices:
    """``f_0 + f_1 Q + f_2 Q^2``, ``Q = w_a T_a``: Morningstar and Peardon, hep-lat/0311018, eqs. (19)-(34).

    With ``c_0 >= 0`` (the other sign by eq. (34)) the denominator ``9 u^2 - w^2`` is at least ``2 c_1``: nothing is lost where
    eigenvalues are equal. There the angle has an error of the root of rounding, but it enters through ``cos(theta/3)`` and even
    functions of ``sin(theta/3)``. For small Q the errors of ``f_1`` and ``f_2`` grow no faster than ``1/|Q|`` and ``1/|Q|^2``.
    """
    q = hermitian(w, 3)
    c1 = np.maximum(0.25 * _square(w), _TINY)
    c0 = determinant(q).real
    root = np.sqrt(c1 / 3)
    ratio = np.minimum(np.abs(c0) / (2 * root * root * root), 1.0)
    sine, cosine = sincos(np.arccos(ratio) / 3, "tan")
    u, w0 = root * cosine, np.sqrt(c1) * sine
    sin_u, cos_u = sincos(u, "tan")
    sin_w, cos_w = sincos(w0, "tan")
    xi = np.where(w0 > 0, sin_w, 1.0) / np.where(w0 > 0, w0, 1.0)
    u2, w2 = u * u, w0 * w0
    norm = 1 / (9 * u2 - w2)
    # e^(2iu), and the products of e^(-iu) = cos u - i sin u with a bracket p + i q, in real and imaginary parts.
    cos_2u, sin_2u = cos_u * cos_u - sin_u * sin_u, 2 * sin_u * cos_u
    p, s = 8 * u2 * cos_w, 2 * u * (3 * u2 + w2) * xi
    f0_re, f0_im = (u2 - w2) * cos_2u + p * cos_u + s * sin_u, (u2 - w2) * sin_2u + s * cos_u - p * sin_u
    p, s = 2 * u * cos_w, (w2 - 3 * u2) * xi
    f1_re, f1_im = 2 * u * cos_2u - p * cos_u - s * sin_u, 2 * u * sin_2u - s * cos_u + p * sin_u
    p, s = cos_w, 3 * u * xi
    f2_re, f2_im = cos_2u - p * cos_u - s * sin_u, sin_2u - s * cos_u + p * sin_u
    sign = np.copysign(norm, c0)
    f0, f1, f2 = (np.empty(c0.shape, np.complex128) for _ in range(3))
    f0.real, f0.imag = f0_re * norm, f0_im * sign
    f1.real, f1.imag = f1_re * sign, f1_im * norm
    f2.real, f2.imag = f2_re * norm, f2_im * sign
    out = product(q, q)
    out *= f2
    q *= f1
    out += q
    for i in range(3):
        out[i, i] += f0
    return out


def _square(w: Array) -> Array:
    """``w_a w_a`` at every site, added in a fixed order."""
    total = w[0] * w[0]
    for component in w[1:]:
        total += component * component
    return total
