"""Matrix products and periodic convolutions in which a chain has the same bits alone and in any batch.

BLAS picks a code path from the shape of a product, so the bits of a row depend on how many rows come with it. Here
every call to BLAS has a shape that does not know the number of chains: rows go in blocks of one size, padded with zeros,
and a convolution is one product per chain. For convolutions nothing else is needed. For rows all positions of a block
must be alike, which is a measured property of BLAS and not a promise (a test measures it again). With OpenBLAS 0.3 and
weights stored by rows it holds on every kernel tried (AVX-512, AVX2, AVX, SSE) for blocks of 32, in products below the
limit for small ones, so wide matrices are cut by columns, and above it if the number of columns is a multiple of 16.
Small products skip the packing of operands, which on AVX-512 pays for the blocks. Gradients are not held to this:
transposed weights are stored by columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Factors = tuple[Array, ...]

BLOCK = 32
# OpenBLAS takes its path without packing up to 1e6 multiplications; its inner loops like whole groups of columns.
SMALL_PRODUCT = 1_000_000
COLUMNS = 32
# Window columns of the chains in work: half a MB, so that they stay in the second-level cache.
WORK = 1 << 16


def rows(x: Array) -> Array:
    """``x`` of shape ``(chain, ...)`` as contiguous rows ``(padded chain, size)``, padded with zeros to whole blocks."""
    n_chains = len(x)
    flat = np.ascontiguousarray(x).reshape(n_chains, -1)
    if n_chains % BLOCK == 0:
        return flat
    padded = np.zeros((-(-n_chains // BLOCK) * BLOCK, flat.shape[1]))
    padded[:n_chains] = flat
    return padded


def times(x: Array, weight: Array) -> Array:
    """``x @ weight`` for rows from `rows`."""
    before, after = weight.shape
    width = SMALL_PRODUCT // (BLOCK * before * COLUMNS) * COLUMNS
    if not width and after % COLUMNS:
        wide = np.zeros((before, after + -after % COLUMNS))
        wide[:, :after] = weight
        return np.ascontiguousarray(times(x, wide)[:, :after])
    product = np.empty((len(x), after))
    blocks, out = x.reshape(-1, BLOCK, before), product.reshape(-1, BLOCK, after)
    for start in range(0, after, width or after):
        part = slice(start, start + (width or after))
        np.matmul(blocks, weight[:, part], out=out[..., part])
    return product


def times_factors(x: Array, factors: Factors) -> Array:
    """``x`` times one matrix or the product of two factors."""
    for factor in factors:
        # in a matrix stored by columns the positions of a block are not alike, see above
        x = times(x, np.ascontiguousarray(factor))
    return x


def times_factors_pullback(x: Array, factors: Factors, g: Array) -> tuple[list[Array], Array]:
    """Gradients of `times_factors` with respect to each factor and to ``x``, whose rows beyond those of ``g`` are padding.

    Gradients are sums over chains and have other bits in another batch anyhow: no blocks.
    """
    values = [x[: len(g)]]
    for factor in factors[:-1]:
        values.append(values[-1] @ factor)
    grads = []
    for value, factor in zip(reversed(values), reversed(factors), strict=True):
        grads.append(value.T @ g)
        g = g @ factor.T
    return grads[::-1], g


def _windows(x: Array, kernel: tuple[int, int], wide: Array, columns: Array) -> None:
    """``columns[c, a, i, b, n] = x[c, i, n + (a, b) - kernel // 2]``, periodic, for the chains ``c`` of ``x``.

    Two steps, so that all but the first copies are of whole lattices: shifts along the last axis into ``wide``, which
    has a periodic margin of rows, then slices of it shifted along the first.
    """
    (chains, channels, t, n), (kt, kx) = x.shape, kernel
    margin = kt // 2
    middle = wide[:, :, :, margin : margin + t]
    for b in range(kx):
        step = (b - kx // 2) % n
        middle[:, :, b, :, : n - step] = x[..., step:]
        if step:
            middle[:, :, b, :, n - step :] = x[..., :step]
    if margin:
        wide[:, :, :, :margin] = wide[:, :, :, t : t + margin]
        wide[:, :, :, t + margin :] = wide[:, :, :, margin : 2 * margin]
    flat = wide.reshape(chains, channels * kx, -1)
    for a in range(kt):
        columns[:, a] = flat[:, :, a * n : (a + t) * n]


def _chunks(x: Array, kernel: tuple[int, int]) -> Iterator[tuple[slice, Array]]:
    """Slices of chains, and the windows ``(chain, features + 1, site)`` of these; the last feature is 1, for a bias."""
    (chains, channels, t, n), (kt, kx) = x.shape, kernel
    features = kt * channels * kx
    size = max(1, min(chains, WORK // (features * t * n)))
    wide = np.empty((size, channels, kx, t + 2 * (kt // 2), n))
    columns = np.ones((size, features + 1, t * n))
    for start in range(0, chains, size):
        part = slice(start, min(chains, start + size))
        count = part.stop - start
        windows = columns[:count, :-1].reshape(count, kt, channels * kx, t * n)
        _windows(x[part], kernel, wide[:count], windows)
        yield part, columns[:count]


def convolution(x: Array, weight: Array, bias: Array) -> Array:
    """``y[c, o, n] = bias[o] + sum_{i, k} weight[o, i, k] x[c, i, n + k - kernel // 2]``, periodic.

    ``x`` is ``(chain, channel, T, X)``, ``weight`` ``(out, channel, kernel T, kernel X)``.
    """
    (chains, _, t, n), out = x.shape, len(weight)
    matrix = np.concatenate([weight.transpose(0, 2, 1, 3).reshape(out, -1), bias[:, None]], axis=1)
    y = np.empty((chains, out, t * n))
    for part, columns in _chunks(x, (weight.shape[2], weight.shape[3])):
        np.matmul(matrix, columns, out=y[part])
    return y.reshape(chains, out, t, n)


def convolution_pullback(x: Array, weight: Array, g: Array) -> tuple[Array, Array, Array]:
    """Gradients of `convolution` with respect to ``x``, ``weight`` and ``bias``; the windows of ``g`` give all three."""
    (chains, channels, t, n), (out, _, kt, kx) = x.shape, weight.shape
    matrix = weight[:, :, ::-1, ::-1].transpose(1, 2, 0, 3).reshape(channels, -1)
    sites = x.reshape(chains, channels, t * n)
    grad_x = np.empty((chains, channels, t * n))
    grad_matrix = np.zeros((kt * out * kx, channels))
    for part, columns in _chunks(g, (kt, kx)):
        windows = columns[:, :-1]
        np.matmul(matrix, windows, out=grad_x[part])
        grad_matrix += np.matmul(windows, sites[part].transpose(0, 2, 1)).sum(axis=0)
    grad_weight = grad_matrix.reshape(kt, out, kx, channels)[::-1, :, ::-1].transpose(1, 3, 0, 2)
    return grad_x.reshape(x.shape), grad_weight, g.sum(axis=(0, 2, 3))
