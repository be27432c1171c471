"""A net that sees the whole field, evaluated at all of its translates, with the derivative that a divergence asks for.

``g_0(phi) = W_L^T a(W_(L-1)^T a(... a(W_0^T phi)))`` with ``a = arcsinh`` and no biases is an odd function of all V sites;
without hidden layers it is linear. With ``(T_y phi)_z = phi_(y + z)`` the field ``g_y = g_0(T_y phi)`` is covariant under
translations (Bedaque 2023, eqs. 8, 9), and ``dg_y/dphi_y`` is the derivative of ``g_0`` along its site 0 at ``T_y phi``: a
forward tangent, which enters with row 0 of ``W_0`` and needs no Jacobian.

The first layer at all translates is the correlation ``z_n(y) = sum_z W_0[z, n] phi(y + z)``, done by Fourier transforms,
which are products with small matrices: on lattices of these sizes they beat the fast transform. `modes` of a field are
worth keeping where it is used again. Values and tangents of a layer are one array ``(chain, 2, neuron, V)``, which one call
moves to the next. Every product is of one chain, which has the same bits in any batch.

Parameters are a flat dict, ``weight/l`` of shape (before, after): (V, n), (n, n), ..., (n, 1); or (V, 1) alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer

Array = NDArray[np.float64]
Modes = NDArray[np.complex128]
Params = dict[str, Array]
Cache = tuple[Modes, tuple[int, int], list[tuple[Array, Array, Array]]]


def shapes(sites: int, layers: int, neurons: int) -> dict[str, tuple[int, int]]:
    """Shapes of the parameters, by key, of ``layers`` hidden layers of ``neurons`` each."""
    check_integer("layers", layers, 0)
    sizes = [sites] + [check_integer("neurons", neurons, 1)] * layers + [1]
    return {f"weight/{i}": pair for i, pair in enumerate(itertools.pairwise(sizes))}


def init(rng: np.random.Generator, sites: int, layers: int, neurons: int) -> Params:
    """Normal weights of variance 1/before."""
    return {
        key: rng.standard_normal(shape) / math.sqrt(shape[0]) for key, shape in shapes(sites, layers, neurons).items()
    }


def modes(x: Array) -> Modes:
    """Fourier modes of real fields ``(..., T, X)``: all of the shorter axis, those from 0 to n//2 of the longer, which is last."""
    rows = x.swapaxes(-2, -1) if x.shape[-2] > x.shape[-1] else x
    short, long = rows.shape[-2:]
    return _whole(short) @ (rows @ _half(long)).view(np.complex128)


def apply(params: Mapping[str, Array], field_modes: Modes, shape: tuple[int, int]) -> tuple[Array, Array, Cache]:
    """``g_y`` and ``dg_y/dphi_y``, each ``(chain, V)``, of fields with these `modes`; and what `pullback` needs."""
    first, *others = matrices(params)
    z = _correlation(first, field_modes, shape)
    pairs = np.empty((len(z), 2, *z.shape[1:]))
    pairs[:, 0] = z
    pairs[:, 1] = first[0, :, None]
    kept = []
    for weight in others:
        z = pairs[:, 0]
        slope = z * z
        slope += 1
        np.sqrt(slope, slope)
        np.divide(1.0, slope, slope)
        active = np.empty_like(pairs)
        np.arcsinh(z, active[:, 0])
        np.multiply(slope, pairs[:, 1], active[:, 1])
        kept.append((z, slope, active))
        pairs = weight.T @ active
    return pairs[:, 0, 0], pairs[:, 1, 0], (field_modes, shape, kept)


def pullback(params: Mapping[str, Array], cache: Cache, g: Array, derivative: Array) -> Params:
    """Gradients of ``sum(g_cotangent * g_y + derivative_cotangent * dg_y/dphi_y)`` for cotangents ``(chain, V)``.

    A layer ``(a, t) = (arcsinh z, s u)`` with ``s = (1 + z^2)^(-1/2)`` has ``ds/dz = -z s^3``, so that cotangents ``(a', t')``
    go to ``z' = s (a' - z s t t')`` and ``u' = s t'``.
    """
    field_modes, shape, kept = cache
    weights = matrices(params)
    grads = {}
    back = np.empty((len(g), 2, 1, g.shape[1]))
    back[:, 0, 0], back[:, 1, 0] = g, derivative
    for i in range(len(kept), 0, -1):
        z, slope, active = kept[i - 1]
        grads[f"weight/{i}"] = np.add.reduce(active @ back.swapaxes(2, 3), axis=(0, 1))
        back = weights[i] @ back
        bend = z * slope
        bend *= active[:, 1]
        bend *= back[:, 1]
        back[:, 0] -= bend
        back *= slope[:, None]
    first = _correlation_pullback(back[:, 0], field_modes, shape)
    first[0] += back[:, 1].sum(axis=(0, 2))
    grads["weight/0"] = first
    return {key: grads[key] for key in params}


def definition(params: Mapping[str, Any], x: Array) -> tuple[Any, Any]:
    """``g_y`` and ``dg_y/dphi_y`` from gathered translates and the chain rule as written, traceable by autograd."""
    import autograd.numpy as anp

    n_t, n_x = x.shape[1:]
    t, s = (site.ravel() for site in np.indices((n_t, n_x)))
    value = x[:, (t[:, None] + t) % n_t, (s[:, None] + s) % n_x]  # (chain, y, z): phi(y + z)
    tangent = np.zeros(n_t * n_x)
    tangent[0] = 1.0
    first, *others = matrices(params)
    value, tangent = anp.dot(value, first), anp.dot(tangent, first)
    for weight in others:
        value, tangent = anp.arcsinh(value), tangent / anp.sqrt(1 + value**2)
        value, tangent = anp.dot(value, weight), anp.dot(tangent, weight)
    return value[..., 0], tangent[..., 0] * anp.ones(value.shape[:2])


def scaled(params: Mapping[str, Array], factor: float) -> Params:
    """The net whose values and derivatives are ``factor`` times those of this one."""
    last = f"weight/{len(params) - 1}"
    return {**params, last: factor * params[last]}


def matrices(params: Mapping[str, Any]) -> list[Any]:
    """The weights in the order of the layers."""
    return [params[f"weight/{i}"] for i in range(len(params))]


def _correlation(weight: Array, field_modes: Modes, shape: tuple[int, int]) -> Array:
    """``sum_z weight[z, n] phi(y + z)``, shape (chain, n, V)."""
    spectrum = modes(weight.T.reshape(-1, *shape))
    product = np.conj(spectrum, spectrum) * field_modes[:, None]
    return _field(product, shape).reshape(len(field_modes), -1, len(weight))


def _correlation_pullback(back: Array, field_modes: Modes, shape: tuple[int, int]) -> Array:
    """``sum_y back[n, y] phi(y + z)``, summed over chains, shape (V, n)."""
    spectrum = modes(back.reshape(*back.shape[:2], *shape))
    product = np.conj(spectrum, spectrum) * field_modes[:, None]
    total = _field(np.add.reduce(product, axis=0), shape)
    return total.reshape(len(total), -1).T.copy()


def _field(spectrum: Modes, shape: tuple[int, int]) -> Array:
    """The real fields ``(..., T, X)`` of these `modes`."""
    short, long = sorted(shape)
    rows = (_inverse(short) @ spectrum).view(np.float64) @ _half_inverse(long)
    return rows.swapaxes(-2, -1) if shape[0] > shape[1] else rows


@lru_cache
def _whole(n: int) -> Modes:
    """``exp(-2 pi i k x/n)`` for k, x = 0, ..., n - 1."""
    phases: Modes = np.exp(-2j * np.pi * (np.outer(np.arange(n), np.arange(n)) % n) / n)
    return phases


@lru_cache
def _inverse(n: int) -> Modes:
    phases: Modes = _whole(n).conj() / n
    return phases


@lru_cache
def _half(n: int) -> Array:
    """From a real row to real and imaginary parts, in turn, of its modes k = 0, ..., n//2: ``(n, 2 (n//2 + 1))``."""
    return np.ascontiguousarray(_whole(n)[:, : n // 2 + 1]).view(np.float64)


@lru_cache
def _half_inverse(n: int) -> Array:
    """From these parts to the real row: modes that have no conjugate partner count once, others twice."""
    k = np.arange(n // 2 + 1)
    counts = np.where((k == 0) | (2 * k == n), 1, 2)
    # Re(c e^(i a)) = Re c cos a - Im c sin a = Re(conj(c) e^(-i a)): the same numbers as on the way there.
    return np.ascontiguousarray((np.repeat(counts, 2) * _half(n)).T) / n
