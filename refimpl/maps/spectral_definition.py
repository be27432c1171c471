"""Spectral layers as written in the papers, one matrix at a time: the form to read, and to check the fast one with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..groups.links import plaquettes_definition
from ..nets import convolution

if TYPE_CHECKING:
    from .spectral import SpectralKernel
    from .sun_coupling import SpectralCoupling

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]


def spectral_layer(layer: SpectralCoupling, params: Mapping[str, Any], x: Matrices) -> tuple[Matrices, Array]:
    """The layer: loops of active plaquettes that begin with the active link, moved by `spectral_map`; the links follow."""
    masks = layer.masks
    raw = convolution.definition(layer.net, params, channels(layer, x))
    p, outer = plaquettes_definition(x), _outer_loops(x, masks.mu)
    y, logdet = x.copy(), np.zeros(len(x))
    for chain, t, s in np.argwhere(np.broadcast_to(masks.active, (len(x), *layer.shape))):
        loop = p[chain, t, s] if masks.mu == 0 else p[chain, t, s].conj().T
        if layer.staples:
            loop = loop @ _power(outer[chain, t, s], raw[chain, -1, t, s])
        moved, part = spectral_map(layer.kernel, loop, raw[chain, : layer.kernel.outputs, t, s])
        y[chain, masks.mu, t, s] = moved @ loop.conj().T @ x[chain, masks.mu, t, s]
        logdet[chain] += part
    return y, logdet


def channels(layer: SpectralCoupling, x: Matrices) -> Array:
    """Traces of frozen plaquettes, and of the loops around two plaquettes, link by link."""
    masks, n = layer.masks, layer.n
    u0, u1 = x[:, 0], x[:, 1]

    def at(u: Matrices, t: int, s: int) -> Matrices:
        return np.roll(u, (-t, -s), (1, 2))

    def h(u: Matrices) -> Matrices:
        return u.conj().swapaxes(-2, -1)

    loops = [
        (masks.frozen, plaquettes_definition(x)),
        (masks.loops[0], u0 @ at(u0, 1, 0) @ at(u1, 2, 0) @ h(at(u0, 1, 1)) @ h(at(u0, 0, 1)) @ h(u1)),
        (masks.loops[1], u0 @ at(u1, 1, 0) @ at(u1, 1, 1) @ h(at(u0, 0, 2)) @ h(at(u1, 0, 1)) @ h(u1)),
    ]
    out = []
    for mask, loop in loops if layer.loops else loops[:1]:
        if mask.any():
            t = np.where(mask, np.einsum("ctxii->ctx", loop), 0) / n
            out += [t.real] if n == 2 else [t.real, t.imag]
    return np.stack(out, axis=1)


def _outer_loops(x: Matrices, mu: int) -> Matrices:
    """The loop from n along the staple below the link ``U_mu(n)`` and back above it, nu being up: six links."""
    u, v = x[:, mu], x[:, 1 - mu]
    n_mu, n_nu = np.eye(2, dtype=int)[[mu, 1 - mu]]

    def at(w: Matrices, step: NDArray[np.int64]) -> Matrices:
        return np.roll(w, tuple(-step), (1, 2))

    def h(w: Matrices) -> Matrices:
        return w.conj().swapaxes(-2, -1)

    below = h(at(v, -n_nu)) @ at(u, -n_nu) @ at(v, n_mu - n_nu)
    return below @ at(v, n_mu) @ h(at(u, n_nu)) @ h(v)


def _power(w: Matrices, exponent: float) -> Matrices:
    """``W^a`` with phases of the canonical cell."""
    t, vectors = _spectrum(w)
    return (vectors * np.exp(1j * exponent * t)) @ vectors.conj().T


def _spectrum(p: Matrices) -> tuple[Array, Matrices]:
    """Phases in the canonical cell, sorted, and eigenvectors."""
    values, vectors = np.linalg.eig(p)
    vectors = np.linalg.qr(vectors)[0]  # orthogonal where eigenvalues are close, too
    t = np.angle(values)
    k = round(t.sum() / (2 * np.pi))
    order = np.argsort(t)
    for i in range(abs(k)):
        t[order[-1 - i if k > 0 else i]] -= 2 * np.pi * np.sign(k)
    order = np.argsort(t)
    return t[order], vectors[:, order]


def spectral_map(kernel: SpectralKernel, p: Matrices, raw: Array) -> tuple[Matrices, float]:
    """``V e^(it') V^dag`` and the logdet, for one matrix whose eigenvalues differ."""
    n, size = kernel.n, kernel.spline.outputs
    t, vectors = _spectrum(p)
    c = np.append((t[1:] - t[0]) / (2 * np.pi), 1.0)
    b = c[:-1] / c[1:]
    new, logdet = np.empty(n - 1), 0.0
    blocks = iter(raw.reshape(-1, size))
    for j in reversed(range(n - 1)):
        numbers = next(blocks).copy()
        for i in range(n - 2, j, -1) if kernel.conditioned else ():
            numbers += (2 * b[i] - 1) * next(blocks)
        new[j], log_slope = kernel.spline.definition(b[j], numbers)
        logdet += log_slope + j * np.log(new[j] / b[j])
    c_new = np.append(np.cumprod(new[::-1])[::-1], 1.0)
    t_new = 2 * np.pi * np.append(0.0, c_new[:-1])
    t_new -= t_new.mean()
    return (vectors * np.exp(1j * t_new)) @ vectors.conj().T, float(
        logdet + _log_vandermonde(t_new) - _log_vandermonde(t)
    )


def _log_vandermonde(t: Array) -> float:
    """``sum_(i<j) log 4 sin^2((t_i - t_j)/2)``: the density of spectra with respect to Haar measure (Weyl)."""
    i, j = np.triu_indices(len(t), 1)
    return float(np.log(4 * np.sin((t[i] - t[j]) / 2) ** 2).sum())
