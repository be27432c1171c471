"""The Schwinger model with two flavours on 2 x 2 sites, by Fourier sums and quadrature: no sampling.

Of eight links three are gauge, and five angles are left: the holonomies ``h_0, h_1`` and three plaquettes A, B, C, the fourth
being ``-(A + B + C)``. A link enters D through one hop ahead and one back, both of rank 1 in spin: ``det D`` and its minors are
of degree 1 in each ``exp(+-i theta)``. With A in two links and B, C in one, ``F(A, B, C) = <det D^2>`` over the holonomies is a
trigonometric polynomial of degrees 4, 2, 2, which a small grid gives exactly, and whose coefficients meet the weight of the
plaquettes in

``<F> = sum_abc F_abc sum_n I_n I_(n+a) I_(n+b) I_(n+c)``,  ``I_n = I_n(beta)``.

The charge is ``Q = -1, 0, 1`` and jumps where a plaquette is pi: ``Q = 1`` is the simplex of positive ``pi - A, pi - B, pi - C``
with a sum below ``2 pi``, inside which everything is smooth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .fermions import check_kappa
from .schwinger import dirac_matrix

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

# Up to there the quadrature of the charged sector holds twelve digits, of a probability of 1e-46 at kappa = 0.265.
LARGEST_BETA = 30.0
# Points per angle: more than twice the degrees in A, B, C; more than the degree, 4, in the holonomies.
_GRID = (9, 5, 5)
_HOLONOMIES = 5
_NODES = 64


@dataclass(frozen=True)
class TwoByTwo:
    """Exact answers on 2 x 2 sites, under the weight ``exp(beta sum cos theta_P) det D^2``.

    Parameters
    ----------
    log_z : ``log <det D^2>`` in the pure gauge theory, the logarithm of the ratio of partition functions.
    plaquette : ``<cos theta_P>``. charge_squared : ``<Q^2>``. charge_distribution : ``p(Q)`` by Q.
    correlator : ``C(t) = <sum_(x, y) tr |D^-1(t, x; 0, y)|^2>`` for t = 0, 1 (Abbott 2022, C3: a sum over source and sink).
    condensate : ``<Re tr D^-1>/8``, 1 at ``kappa = 0``.
    """

    log_z: float
    plaquette: float
    charge_squared: float
    charge_distribution: dict[int, float]
    correlator: tuple[float, float]
    condensate: float


def two_by_two(beta: float, kappa: float, antiperiodic: bool = True) -> TwoByTwo:
    """The answers for ``0 <= beta <= LARGEST_BETA`` and ``0 <= kappa <= fermions.LARGEST_KAPPA``; raises `ValueError` otherwise.

    The average over holonomies absorbs the sign of antiperiodic fermions: both boundaries give the same numbers.
    """
    check_kappa(kappa)
    if not (isinstance(beta, int | float | np.number) and 0 <= beta <= LARGEST_BETA):  # False for NaN
        raise ValueError(f"beta: got {beta!r}, expected a number from 0 to {LARGEST_BETA:g}")
    coefficients = _coefficients(float(kappa), antiperiodic)
    bessel, slope = _bessel_sums(float(beta))
    z, c_0, c_1, trace = (float((f * bessel).sum()) for f in coefficients)
    p_1 = _charged(coefficients[0], float(beta)) / z
    return TwoByTwo(
        log_z=math.log(z / bessel[0, 0, 0]),
        plaquette=float((coefficients[0] * slope).sum()) / (4 * z),
        charge_squared=2 * p_1,
        charge_distribution={-1: p_1, 0: 1 - 2 * p_1, 1: p_1},
        correlator=(c_0 / z, c_1 / z),
        condensate=trace / (8 * z),
    )


@lru_cache(maxsize=64)
def _coefficients(kappa: float, antiperiodic: bool) -> Array:
    """``F_abc`` of ``det D^2`` times 1, the correlator at t = 0 and 1, and ``tr D^-1``: ``(4, *_GRID)``, ordered as by `numpy.fft`.

    By eigenvectors of the hermitian ``H = gamma5 D``: products of all eigenvalues but one make ``det(D) D^-1`` also of singular D.
    """
    angles = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in (*_GRID, _HOLONOMIES, _HOLONOMIES)), indexing="ij")
    a, b, c, h_0, h_1 = (angle.ravel() for angle in angles)
    x = np.zeros((a.size, 2, 2, 2))
    x[:, 0, 0, 0], x[:, 0, 0, 1], x[:, 0, 1, 1] = h_0, h_0 - a, -b
    x[:, 1, 0, 1], x[:, 1, 1, 1] = h_1, h_1 + a + c
    gamma5 = np.tile([1.0, -1.0], 4)
    values, vectors = np.linalg.eigh(gamma5[:, None] * dirac_matrix(x, kappa, antiperiodic))
    others = np.stack([np.delete(values, k, axis=1).prod(axis=1) for k in range(8)], axis=1)
    adjugate = (vectors * others[:, None, :]) @ vectors.conj().swapaxes(1, 2) * gamma5
    determinant = values.prod(axis=1)
    square = np.abs(adjugate) ** 2  # rows and columns (t, x, spin): four to a time slice
    f = np.stack(
        [
            determinant**2,
            square[:, :4, :4].sum(axis=(1, 2)),
            square[:, 4:, :4].sum(axis=(1, 2)),
            determinant * np.einsum("cii->c", adjugate).real,
        ]
    )
    return np.fft.fftn(f.reshape(4, *_GRID, -1).mean(axis=-1), axes=(1, 2, 3), norm="forward").real


def _bessel_sums(beta: float) -> tuple[Array, Array]:
    """``exp(-4 beta) sum_n I_n I_(n+a) I_(n+b) I_(n+c)``, and the same with its derivative by beta, of the shape of `_GRID`."""
    from scipy.special import ive

    orders = np.arange(-40 - math.ceil(12 * math.sqrt(beta)), 41 + math.ceil(12 * math.sqrt(beta)))
    shifts = [_frequencies(n) for n in _GRID]
    factors = [ive(orders, beta)[None], *(ive(orders + shift[:, None], beta) for shift in shifts)]
    slopes = [(ive(n - 1, beta) + ive(n + 1, beta)) / 2 for n in (orders[None], *(orders + s[:, None] for s in shifts))]

    def total(terms: list[Array]) -> Array:
        return np.asarray(np.einsum("zn,an,bn,cn->abc", *terms))

    slope = sum(total([*factors[:k], slopes[k], *factors[k + 1 :]]) for k in range(4))
    return total(factors), np.asarray(slope)


def _charged(coefficients: Array, beta: float) -> float:
    """``exp(-4 beta) <F>`` restricted to ``Q = 1``, by Gauss and Legendre on the simplex that it is."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    node, weight = (node + 1) / 2, weight / 2
    u, v, w = node[:, None, None], node[:, None], node
    a, b, c = (2 * np.pi * part for part in (u, (1 - u) * v, (1 - u) * (1 - v) * w))
    jacobian = weight[:, None, None] * weight[:, None] * weight * (1 - u) ** 2 * (1 - v)
    plaquettes = np.exp(-beta * (4 + np.cos(a) + np.cos(b) + np.cos(c) + np.cos(a + b + c)))
    waves = [
        np.exp(1j * _frequencies(n) * (np.pi - angle)[..., None]) for n, angle in zip(_GRID, (a, b, c), strict=True)
    ]
    by_a = np.einsum("abc,ua->ubc", coefficients, waves[0][:, 0, 0])
    by_b = np.einsum("ubc,uvb->uvc", by_a, waves[1][:, :, 0])
    f = np.einsum("uvc,uvwc->uvw", by_b, waves[2]).real
    return float((jacobian * plaquettes * f).sum())


def _frequencies(n: int) -> NDArray[np.int64]:
    """Of the entries of a Fourier transform over n points."""
    return np.rint(np.fft.fftfreq(n) * n).astype(np.int64)
