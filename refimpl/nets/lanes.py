"""Periodic convolutions of many chains, laid out so that their windows are views: the hot path of the flows.

Fields are ``(block, T, channel, X * lanes)``: the chains of a block are the lanes, fastest in memory, and a step along X is
one of ``lanes`` numbers. With the shifts along X stored beside each other, ``(block, row, kernel X * channel, X * lanes)``,
the window of an output row is the rows it sees, one behind the other: a matrix without a further copy. Under a dilation d
rows go in steps of d, so they are stored in that order, one cycle for each of the ``gcd(d, T)`` residues.

Every product has a shape that does not know the number of chains, and a chain has the same bits in any lane of any
batch (a measured property of BLAS, see `refimpl.nets.linear`; a test measures it).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import CACHE_LINE

Array = NDArray[np.float64]

# Numbers in a row of a product: long enough for BLAS, short enough for windows to stay in the first two caches.
ROW = 256
# Rows of windows a power of two apart would fall into few sets of the cache.
PAD = CACHE_LINE // 8


def lanes(n_x: int) -> int:
    """Chains of a block on lattices with rows of ``n_x`` sites: a whole number of cache lines."""
    return max(PAD, ROW // n_x // PAD * PAD)


def split(x: Array, size: int) -> Array:
    """``(chain, ...)``, of any memory order, as ``(block, ..., lanes)`` of this many lanes, padded with zeros."""
    full, rest = divmod(len(x), size)
    out = (np.zeros if rest else np.empty)((full + bool(rest), *x.shape[1:], size))
    axes = range(1, x.ndim)
    out[:full] = x[: full * size].reshape(full, size, *x.shape[1:]).transpose(0, *(axis + 1 for axis in axes), 1)
    if rest:
        out[full, ..., :rest] = x[full * size :].transpose(*axes, 0)
    return out


def joined(h: Array, chains: int) -> Array:
    """The inverse of `split`; the chains are fastest in memory."""
    out = np.empty((*h.shape[1:-1], len(h), h.shape[-1]))
    axes = range(h.ndim - 2)
    out[...] = h.transpose(*(axis + 1 for axis in axes), 0, h.ndim - 1)
    return out.reshape(*h.shape[1:-1], -1)[..., :chains].transpose(h.ndim - 2, *axes)


def blocks(x: Array) -> Array:
    """Fields ``(chain, channel, T, X)`` as ``(block, T, channel, X * lanes)``."""
    parts = split(x.transpose(0, 2, 1, 3), lanes(x.shape[-1]))
    return parts.reshape(*parts.shape[:3], -1)


def fields(h: Array, chains: int, n_x: int) -> Array:
    """The inverse of `blocks`."""
    return joined(h.reshape(*h.shape[:3], n_x, -1), chains).transpose(0, 2, 1, 3)


class Run(NamedTuple):
    """Rows of a lattice in steps of the dilation: positions ``stored`` of cycle ``cycle`` hold the rows ``rows``."""

    cycle: int
    stored: slice
    rows: slice


@lru_cache
def runs(n_t: int, dilation: int) -> tuple[Run, ...]:
    """The cycles ``r, r + d, r + 2 d, ... mod T``, cut where they wrap."""
    cycles, found = math.gcd(dilation, n_t), []
    length = n_t // cycles
    for cycle in range(cycles):
        position, row = 0, cycle
        while position < length:
            step = dilation % n_t or n_t
            count = min(length - position, -(-(n_t - row) // step))
            found.append(Run(cycle, slice(position, position + count), slice(row, row + (count - 1) * step + 1, step)))
            row = (row + count * step) % n_t
            position += count
    return tuple(found)


def windows(h: Array, n_x: int, kernel: tuple[int, int], dilation: int) -> Array:
    """``w[n, cycle, j, (a, b, i), x] = h[n, t_j + (a - kT//2) d, i, x + (b - kX//2) d]``: a view of shifted copies."""
    (n_blocks, n_t, channels, size), (k_t, k_x) = h.shape, kernel
    cycles, margin, lane = math.gcd(dilation, n_t), k_t // 2, size // n_x
    length = n_t // cycles
    wide = np.empty((n_blocks, cycles, length + 2 * margin, k_x, channels, size + PAD))
    for run in runs(n_t, dilation):
        source = h[:, run.rows]
        target = wide[:, run.cycle, margin + run.stored.start : margin + run.stored.stop]
        for b in range(k_x):
            step = (b - k_x // 2) * dilation % n_x * lane
            target[:, :, b, :, : size - step] = source[..., step:]
            if step:
                target[:, :, b, :, size - step : size] = source[..., :step]
    for j in range(margin):
        wide[:, :, j] = wide[:, :, margin + (j - margin) % length]
        wide[:, :, margin + length + j] = wide[:, :, margin + j % length]
    of_block, of_cycle, of_row, _, of_feature, of_site = wide.strides
    shape = (n_blocks, cycles, length, k_t * k_x * channels, size)
    # Windows of neighbouring rows overlap in memory; as `numpy.lib.stride_tricks.as_strided`, at a tenth of its price.
    return np.ndarray(shape, np.float64, wide, 0, (of_block, of_cycle, of_row, of_feature, of_site))


def correlation(h: Array, n_x: int, weight: Array, dilation: int) -> Array:
    """``y[n, t, o, x] = sum_(i, k) weight[o, i, k] h[n, t + (k_T - kT//2) d, i, x + (k_X - kX//2) d]``, periodic."""
    n_blocks, n_t, _, size = h.shape
    matrix = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    seen = windows(h, n_x, (weight.shape[2], weight.shape[3]), dilation)
    y = np.empty((n_blocks, n_t, len(weight), size))
    for run in runs(n_t, dilation):
        np.matmul(matrix, seen[:, run.cycle, run.stored], out=y[:, run.rows])
    return y


def correlation_pullback(h: Array, n_x: int, weight: Array, dilation: int, g: Array) -> tuple[Array, Array]:
    """Gradients of `correlation` with respect to ``h`` and ``weight``, from the windows of the narrower of ``h`` and ``g``."""
    narrower = _pullback_by_input if weight.shape[1] < weight.shape[0] else _pullback_by_output
    return narrower(h, n_x, weight, dilation, g)


def _pullback_by_output(h: Array, n_x: int, weight: Array, dilation: int, g: Array) -> tuple[Array, Array]:
    """The windows of ``g`` give both."""
    out, channels, k_t, k_x = weight.shape
    matrix = weight[:, :, ::-1, ::-1].transpose(1, 2, 3, 0).reshape(channels, -1)
    seen = windows(g, n_x, (k_t, k_x), dilation)
    grad_h = np.empty_like(h)
    grad_matrix = np.zeros((k_t * k_x * out, channels))
    for run in runs(h.shape[1], dilation):
        rows = seen[:, run.cycle, run.stored]
        np.matmul(matrix, rows, out=grad_h[:, run.rows])
        grad_matrix += np.add.reduce(rows @ h[:, run.rows].swapaxes(2, 3), axis=(0, 1))
    grad_weight = grad_matrix.reshape(k_t, k_x, out, channels)[::-1, ::-1].transpose(2, 3, 0, 1)
    return grad_h, np.ascontiguousarray(grad_weight)


def _pullback_by_input(h: Array, n_x: int, weight: Array, dilation: int, g: Array) -> tuple[Array, Array]:
    """The windows of ``h`` give the weight's, and the windows' own gradients are added where they came from."""
    (out, channels, k_t, k_x), (n_blocks, n_t, _, size) = weight.shape, h.shape
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, out)
    seen = windows(h, n_x, (k_t, k_x), dilation)
    grad_matrix = np.zeros((out, len(matrix)))
    for run in runs(n_t, dilation):
        rows = seen[:, run.cycle, run.stored]
        grad_matrix += np.add.reduce(g[:, run.rows] @ rows.swapaxes(2, 3), axis=(0, 1))
    of_windows = np.matmul(matrix, g).reshape(n_blocks, n_t, k_t, k_x, channels, size)
    grad_h = np.zeros_like(h)
    for a, b in np.ndindex(k_t, k_x):
        step = (b - k_x // 2) * dilation % n_x * (size // n_x)
        tap = np.roll(of_windows[:, :, a, b], (a - k_t // 2) * dilation, axis=1)
        grad_h[..., step:] += tap[..., : size - step]
        if step:
            grad_h[..., :step] += tap[..., size - step :]
    return grad_h, np.ascontiguousarray(grad_matrix.reshape(out, k_t, k_x, channels).transpose(0, 3, 1, 2))


def at_sites(h: Array, n_x: int, sites: tuple[int, ...]) -> Array:
    """``(block, channel, site, lanes)``: the blocks at these sites ``t X + x``."""
    return _points(h, n_x).take(_addresses(h.shape[1], h.shape[2], n_x, (1, 1), 1, sites), axis=1)


def to_sites(g: Array, shape: tuple[int, int], sites: tuple[int, ...]) -> Array:
    """Blocks that are ``g``, as from `at_sites`, at these sites, and zero elsewhere."""
    (n_blocks, channels, _, size), (n_t, n_x) = g.shape, shape
    h = np.zeros((n_blocks, n_t, channels, n_x * size))
    _points(h, n_x)[:, _addresses(n_t, channels, n_x, (1, 1), 1, sites)] = g
    return h


def correlation_at(h: Array, n_x: int, weight: Array, dilation: int, sites: tuple[int, ...]) -> tuple[Array, Array]:
    """`correlation` at few sites, ``(block, out, site, lanes)``, and the copied windows ``(block, feature, site * lanes)``."""
    n_blocks, n_t, channels, _ = h.shape
    matrix = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    addresses = _addresses(n_t, channels, n_x, (weight.shape[2], weight.shape[3]), dilation, sites)
    seen = _points(h, n_x).take(addresses, axis=1).reshape(n_blocks, matrix.shape[1], -1)
    return np.matmul(matrix, seen).reshape(n_blocks, len(matrix), len(sites), -1), seen


def correlation_at_pullback(
    h: Array, n_x: int, weight: Array, dilation: int, sites: tuple[int, ...], seen: Array, g: Array
) -> tuple[Array, Array]:
    """Gradients of `correlation_at` with respect to ``h`` and ``weight``."""
    (out, channels, k_t, k_x), (n_blocks, n_t) = weight.shape, h.shape[:2]
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, out)
    flat = g.reshape(n_blocks, out, -1)
    grad_matrix = np.add.reduce(flat @ seen.swapaxes(1, 2), axis=0)
    of_windows = np.matmul(matrix, flat).reshape(n_blocks, k_t * k_x, channels * len(sites), -1)
    grad_h = np.zeros_like(h)
    points = _points(grad_h, n_x)
    addresses = _addresses(n_t, channels, n_x, (k_t, k_x), dilation, sites).reshape(k_t * k_x, -1)
    for tap, where in enumerate(addresses):
        points[:, where] += of_windows[:, tap]
    return grad_h, np.ascontiguousarray(grad_matrix.reshape(out, k_t, k_x, channels).transpose(0, 3, 1, 2))


def _points(h: Array, n_x: int) -> Array:
    """A view ``(block, T * channel * X, lanes)`` of blocks."""
    return h.reshape(len(h), -1, h.shape[-1] // n_x)


@lru_cache(maxsize=256)
def _addresses(
    n_t: int, channels: int, n_x: int, kernel: tuple[int, int], dilation: int, sites: tuple[int, ...]
) -> NDArray[np.intp]:
    """Places in `_points` that the windows at these sites are filled from, ``(kernel T * kernel X * channel, site)``."""
    t, x = np.divmod(np.array(sites, np.intp), n_x)
    a, b, i = (axis.reshape(-1, 1) for axis in np.indices((*kernel, channels)))
    rows = (t + (a - kernel[0] // 2) * dilation) % n_t
    return (rows * channels + i) * n_x + (x + (b - kernel[1] // 2) * dilation) % n_x
