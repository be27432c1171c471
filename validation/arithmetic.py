"""Arithmetic between the calls of a vector: what turns an answer of the target into the argument, or the expectation, of the next.

Everything is a plain formula on arrays; whoever replays a vector does it, never the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Subject
from .hamiltonian import Hamiltonian

Array = NDArray[Any]


def unchanged(subject: Subject, a: Array) -> Array:
    """what was kept, to be compared"""
    return a


def difference(subject: Subject, a: Array, b: Array) -> Array:
    """``a - b``"""
    return np.asarray(a - b)


def total(subject: Subject, *parts: Array) -> Array:
    """the sum"""
    return np.asarray(sum(parts[1:], start=parts[0]))


def negative(subject: Subject, a: Array) -> Array:
    """``-a``"""
    return np.asarray(-a)


def conjugate(subject: Subject, a: Array) -> Array:
    """the complex conjugate"""
    return np.conj(a)


def chains(subject: Subject, a: Array, *rows: int) -> Array:
    """these chains alone, ``a[[i, j, ...]]``"""
    return a[list(rows)]


def joined(subject: Subject, *parts: Array) -> Array:
    """chains of all parts, one after the other"""
    return np.concatenate(parts)


def rolled(subject: Subject, a: Array, axis: int, by: int = 1) -> Array:
    """``numpy.roll(a, by, axis)``: a translation"""
    return np.roll(a, by, axis)


def flipped(subject: Subject, a: Array, axis: int) -> Array:
    """``numpy.flip(a, axis)``: a reflection"""
    return np.flip(a, axis)


def exchanged(subject: Subject, a: Array) -> Array:
    """axes 1 and 2 of a scalar field exchanged"""
    return a.swapaxes(1, 2)


def product(subject: Subject, *matrices: Array) -> Array:
    """the matrix product, site by site"""
    out = matrices[0]
    for matrix in matrices[1:]:
        out = out @ matrix
    return out


def applied(subject: Subject, matrix: Array, v: Array) -> Array:
    """``matrix v`` for the last axis of v, site by site"""
    return np.einsum("...ab,...b->...a", matrix, v)


def times(subject: Subject, a: Array, b: Array) -> Array:
    """the product, number by number"""
    return np.asarray(a * b)


def log_determinant(subject: Subject, images: Array) -> Array:
    """``log |det|`` of the real matrix of a linear map of complex fields, from the images of unit vectors and of i times these

    Of N components that are not held at zero there are 2 N images; what is zero in all of them is left out.
    """
    flat = images.reshape(len(images), -1)
    alive = np.abs(flat).max(axis=0) > 0
    if 2 * int(alive.sum()) != len(flat):
        return np.array([np.nan])
    return np.linalg.slogdet(np.concatenate([flat[:, alive].real, flat[:, alive].imag], axis=1))[1][None]


def contracted(subject: Subject, a: Array, b: Array) -> Array:
    """the sum of ``a b`` over all but the chains"""
    return np.asarray((a * b).reshape(len(a), -1).sum(axis=1))


def energy_change(subject: Subject, x: Array, v: Array, x_end: Array, v_end: Array, phi: Array | None = None) -> Array:
    """``H(x', v') - H(x, v)`` by the oracle's own action, at these pseudofermions if there are any"""
    h = Hamiltonian(subject)
    return h(x_end, v_end, phi) - h(x, v, phi)


def decision(subject: Subject, logdet: Array, delta_h: Array, u: Array) -> Array:
    """1 where ``u < exp(logdet - delta_h)``, else 0"""
    with np.errstate(divide="ignore"):
        return (np.log(u) < logdet - delta_h).astype(np.float64)


def chosen(subject: Subject, accept: Array, proposed: Array, before: Array) -> Array:
    """the proposal where it was accepted, else the field before"""
    return np.where(accept.reshape(-1, *(1,) * (before.ndim - 1)) != 0, proposed, before)


def log_jacobian(subject: Subject, x: Array, v: Array, x_centre: Array, v_centre: Array, step: float) -> Array:
    """``log |det|`` of the map of phase space of which these are the images of a stencil, and of its centre

    The stencil is that of fourth-order differences: the point moved by k times the step (times the scale of the theory
    for x), k = -2, -1, 1 and 2, along every component of x and then of v.
    """
    size, centre = v_centre.size, (np.broadcast_to(x_centre, x.shape), np.broadcast_to(v_centre, v.shape))
    rows = [subject.theory.difference(x, centre[0]).reshape(len(x), -1), (v - centre[1]).reshape(len(v), -1)]
    d = np.concatenate(rows, axis=1).reshape(4, 2 * size, 2 * size)
    scales = np.repeat([subject.theory.scale, 1.0], size)
    return np.linalg.slogdet((8 * (d[2] - d[1]) - (d[3] - d[0])).T / (12 * step * scales))[1][None]


def standing(subject: Subject, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
    """how many components of the field and of the momenta are in all chains where they were, to 1e-9"""
    moved = np.stack([subject.theory.difference(x_end, x).reshape(v.shape), v_end - v])
    return np.array([float((np.abs(moved).max(axis=1) < 1e-9).sum())])


def log_jacobian_of_field(subject: Subject, x: Array, centre: Array, step: float) -> Array:
    """the same of a map of the field alone"""
    size = subject.theory.size
    rows = subject.theory.difference(x, np.broadcast_to(centre, x.shape)).reshape(4, size, size)
    slopes = (8 * (rows[2] - rows[1]) - (rows[3] - rows[0])).T / (12 * step * subject.theory.scale)
    return np.linalg.slogdet(slopes)[1][None]


def divergence(subject: Subject, g: Array, step: float) -> Array:
    """``sum_i d g_i/d x_i`` of a field g at a stencil (without the part of v)"""
    size = g[0].size
    rows = np.arange(size)
    d = g.reshape(4, size, size)[:, rows, rows]
    return ((8 * (d[2] - d[1]) - (d[3] - d[0])) / (12 * step * subject.theory.scale)).sum()[None]


OPERATIONS: Mapping[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (
        unchanged,
        difference,
        total,
        negative,
        conjugate,
        chains,
        joined,
        rolled,
        flipped,
        exchanged,
        product,
        applied,
        times,
        log_determinant,
        contracted,
        energy_change,
        decision,
        chosen,
        standing,
        log_jacobian,
        log_jacobian_of_field,
        divergence,
    )
}
