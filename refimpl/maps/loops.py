"""Traces of small loops of SU(N) links and their derivatives, component first: what nets may see of a gauge field.

Plaquettes ``P(n)`` begin and end at n, and are what everything here is written in: the loop around the plaquettes n and
``n + rho^`` is

    W_rho(n) = P(n) A,   A = U_rho(n) P(n + rho^) U_rho(n)^dag.

A cotangent of a matrix M is a Hermitian G, with ``tr(G X)`` the change along ``M -> e^(iX) M``; for links it is ``2 g_a T_a``
of the components ``g_a`` that forces have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..groups.matrices import dagger, product, trace
from ..groups.spectrum import spectrum, with_phases

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Matrices = NDArray[np.complex128]

# The least divisor in a derivative of a power: where W has eigenphases 2 pi apart, powers have a cut.
LEAST = 1e-8
# Phases as close as this to 2 pi apart are taken to be that: rounding, which must not choose a side of the cut.
CUT = 1e-13


def double_loop(links: Matrices, plaquettes: Matrices, rho: int) -> tuple[Matrices, Matrices]:
    """``W_rho`` and ``A`` at all sites, for links ``(n, n, 2, T, X, chain)`` and plaquettes ``(n, n, T, X, chain)``."""
    link = links[:, :, rho]
    carried = product(product(link, np.roll(plaquettes, -1, 2 + rho)), dagger(link))
    return product(plaquettes, carried), carried


def scaled_traces(loops: Matrices) -> list[Array]:
    """``Re tr/n`` and, for n > 2, where there is one, ``Im tr/n``."""
    n = len(loops)
    t = trace(loops)
    return [t.real / n] if n == 2 else [t.real / n, t.imag / n]


def scaled_traces_pullback(loops: Matrices, g: list[Array]) -> Matrices:
    """Cotangent of the loops: with ``z = (g_im + i g_re)/n`` it is the Hermitian part of ``z W``."""
    n = len(loops)
    z = np.empty(g[0].shape, np.complex128)
    z.real, z.imag = g[1] if len(g) > 1 else 0.0, g[0]
    half = loops * (z / (2 * n))
    return half + dagger(half)


def double_loop_pullback(
    links: Matrices, plaquettes: Matrices, carried: Matrices, rho: int, g: Matrices
) -> tuple[Matrices, Matrices]:
    """Cotangents of the plaquettes and of the links rho, from that of traces of ``W_rho``, which commutes with it.

    Seen from A, ``tr P A = tr A P``, it is ``P^dag g P``; A begins and ends with the link, which takes the difference.
    """
    link = links[:, :, rho]
    behind = product(product(dagger(plaquettes), g), plaquettes)
    far = product(product(dagger(link), behind), link)
    return g + np.roll(far, 1, 2 + rho), behind - g


def plaquettes_pullback(links: Matrices, plaquettes: Matrices, g: Matrices) -> Matrices:
    """Cotangent of the links ``(n, n, 2, T, X, chain)``, from that of the plaquettes, carried to where each link begins."""
    u0, u1 = links[:, :, 0], links[:, :, 1]
    behind = product(product(dagger(plaquettes), g), plaquettes)
    above = product(product(dagger(u0), g), u0)
    right = product(product(dagger(u1), behind), u1)
    out = np.empty(links.shape, np.complex128)
    out[:, :, 0] = g - np.roll(right, 1, 3)
    out[:, :, 1] = np.roll(above, 1, 2) - behind
    return out


def reversed_pullback(m: Matrices, g: Matrices) -> Matrices:
    """Cotangent of ``M^dag``, from that of ``M``."""
    return -product(product(dagger(m), g), m)


def power(w: Matrices, exponent: Array) -> tuple[Matrices, Callable[[Matrices], tuple[Matrices, Array]]]:
    """``W^a``, with phases of the canonical cell, for exponents ``(*sites)``, and its pullback to W and a.

    Where phases are 2 pi apart, on a set of codimension 3 with all of the centre but 1, W^a has no limit: a pair of opposite
    phases there would take any direction. It is given their mean for both, so that W^a commutes with all that commutes with W.

    By Daleckii and Krein, for ``t -> a t``: off the diagonal ``X_ij' = X_ij e^(i (a - 1) t_ij/2) sin(a t_ij/2)/sin(t_ij/2)``.
    """
    phases, vectors = spectrum(w)
    phases = _joined(phases)

    def pull(g: Matrices) -> tuple[Matrices, Array]:
        inner = product(dagger(vectors), product(g, vectors))
        g_exponent = np.zeros(exponent.shape)
        for i in range(len(phases)):
            g_exponent += inner[i, i].real * phases[i]
            inner[i, i] *= exponent
            for j in range(i + 1, len(phases)):
                t = phases[j] - phases[i]
                ratio = exponent * np.sinc(exponent * t / (2 * np.pi)) / np.maximum(np.sinc(t / (2 * np.pi)), LEAST)
                inner[i, j] *= np.exp(0.5j * (exponent - 1) * t) * ratio
                np.conj(inner[i, j], out=inner[j, i, ...])
        return product(product(vectors, inner), dagger(vectors)), g_exponent

    return with_phases(vectors, exponent * phases), pull


def _joined(phases: Array) -> Array:
    """Phases with their mean for all that meet across the cut."""
    cut = phases[-1] - phases[0] > 2 * np.pi - CUT
    if not cut.any():
        return phases
    meeting = cut & ((phases - phases[0] < CUT) | (phases[-1] - phases < CUT))
    mean = np.add.reduce(np.where(meeting, phases, 0.0)) / np.maximum(np.add.reduce(meeting), 1)
    return np.where(meeting, mean, phases)
