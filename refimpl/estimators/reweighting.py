"""What weights of independent draws from another density are worth: sample size, normalisation, averages, and their tails.

``log w = -S - log q`` for draws from q, independent of each other where an error is asked for. With ``<>`` over q, ``<w> = Z``,
``<w f>/<w> = <f>_p``, and ``1/ESS = <w^2>/<w>^2 = 1 + chi^2(p, q)`` (Albergo 2019, 2021). All is computed from differences of
logarithms: a constant in ``log w`` of any size changes nothing, but for log Z.

Where the tail of the weights is so heavy that ``<w^2>`` is infinite the errors below are too small, and an ESS means nothing:
`pareto_shape` of 1/2 and more says so, and above 0.7 also the averages are not to be trusted; `largest_share` is the crudest of
these warnings. The acceptance of an independence sampler is `refimpl.kernels.independence.pool_acceptance`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TAIL_LEAST = 5  # weights in a tail that a shape is fitted to
NOTHING = 1e-200  # of the largest weight


class Estimate(NamedTuple):
    """A value and its standard error: numbers, or arrays with one entry for each observable."""

    value: Array
    error: Array


def relative_ess(log_weights: ArrayLike) -> float:
    """``(sum w)^2 / (n sum w^2)`` of weights ``(n,)``: from 1/n to 1."""
    return pooled_ess([log_weights])


def pooled_ess(chunks: Iterable[ArrayLike]) -> float:
    """`relative_ess` of the weights of all chunks together, taken one at a time; n is at least 2 in all.

    It is not the mean over chunks, which is larger: weights that are rare are missing in most of them.
    """
    n, log_sum, log_square_sum = 0, -math.inf, -math.inf
    for chunk in chunks:
        log_w = _checked(chunk, least=1, zero=True)
        n += len(log_w)
        log_sum = float(np.logaddexp(log_sum, np.logaddexp.reduce(log_w)))
        log_square_sum = float(np.logaddexp(log_square_sum, np.logaddexp.reduce(2 * log_w)))
    if n < 2:
        raise ValueError(f"log_weights: got {n} in all, expected at least 2")
    if log_sum == -math.inf:
        raise ValueError(f"log_weights: got {n} of -inf, expected one with weight")
    return min(1.0, math.exp(2 * log_sum - log_square_sum - math.log(n)))


def log_partition(log_weights: ArrayLike) -> tuple[float, float]:
    """``log Z = log <w>`` and its standard error ``sqrt((1/ESS - 1)/(n - 1))``, from weights ``(n,)`` of independent draws.

    Half of the squared error is the bias, downwards, of the logarithm.
    """
    w, top = _relative(log_weights)
    mean = w.mean()
    return top + math.log(mean), float(w.std(ddof=1) / mean / math.sqrt(len(w)))


def reweighted_mean(log_weights: ArrayLike, values: ArrayLike) -> Estimate:
    """``sum w f / sum w`` and its jackknife error, for weights ``(n,)`` and values ``(n, ...)`` of independent draws.

    Without draw i the ratio moves by ``-p_i (f_i - mean)/(1 - p_i)``, ``p = w/sum w``. The error is infinite where one draw has all
    of the weight. A value without weight may be anything finite.
    """
    w, _ = _relative(log_weights)
    f = np.asarray(values)
    if np.iscomplexobj(f):
        raise TypeError(f"values: got {f.dtype} numbers, expected real ones, such as the real part")
    f = f.astype(np.float64)
    if f.ndim == 0 or len(f) != len(w):
        raise ValueError(f"values: got shape {f.shape}, expected ({len(w)}, ...), as many as there are weights")
    if not np.all(np.isfinite(f)):
        raise ValueError("values: got NaN or infinite values, expected finite ones")
    p = (w / w.sum()).reshape(-1, *[1] * (f.ndim - 1))
    centre = f[np.argmax(w)]  # against cancellation
    mean = np.sum(p * (f - centre), axis=0)
    if p.max() == 1:
        return Estimate(centre + mean, np.full_like(mean, np.inf))
    moves = p * (f - centre - mean) / (1 - p)
    n = len(w)
    return Estimate(centre + mean, np.sqrt((n - 1) * np.var(moves, axis=0)))


def largest_share(log_weights: ArrayLike) -> float:
    """``max w / sum w``: the part of every average that one draw decides, from 1/n to 1."""
    w, _ = _relative(log_weights)
    return float(1 / w.sum())


def pareto_shape(log_weights: ArrayLike) -> float:
    """The shape k of the generalized Pareto law of the largest weights: moments of order ``1/k`` and above are infinite.

    Fitted to the ``min(n/5, 3 sqrt n)`` largest by the posterior mean of Zhang and Stephens (2009, Technometrics 51, 316), as in
    Vehtari et al. (2024, arXiv:1507.02646, with their weak prior at 1/2). Negative or zero for tails that end or fall
    exponentially; ``-inf`` where the largest are equal, ``inf`` where fewer than 5 draws have all of the weight. Needs n of at
    least 21.
    """
    w = np.sort(_relative(log_weights)[0])
    n = len(w)
    m = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    if m < TAIL_LEAST:
        raise ValueError(f"log_weights: got {n}, expected at least {5 * (TAIL_LEAST - 1) + 1} for a tail")
    excess = w[n - m :] - w[n - m - 1]
    if excess[0] < 1e-14 * w[-1] and excess[-1] < 1e-14 * w[-1]:
        return -math.inf
    excess = excess[excess > NOTHING]
    m = len(excess)
    if m < TAIL_LEAST:
        return math.inf
    grid = 30 + int(math.sqrt(m))
    quartile = excess[int(m / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)
    shapes = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    log_likelihood = m * (np.log(-theta / shapes) - shapes - 1)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    mean = float(np.sum(theta * posterior) / np.sum(posterior))
    shape = float(np.mean(np.log1p(-mean * excess)))
    return (m * shape + 10 * 0.5) / (m + 10)


def _relative(log_weights: ArrayLike) -> tuple[Array, float]:
    """Weights with a largest of 1, and the logarithm of what they were divided by."""
    log_w = _checked(log_weights, least=2)
    top = float(log_w.max())
    return np.exp(log_w - top), top


def _checked(log_weights: ArrayLike, least: int, zero: bool = False) -> Array:
    given = np.asarray(log_weights)
    if np.iscomplexobj(given):
        raise TypeError(f"log_weights: got {given.dtype} numbers, expected real ones")
    log_w = given.astype(np.float64)
    if log_w.ndim != 1 or len(log_w) < least:
        raise ValueError(f"log_weights: got shape {log_w.shape}, expected (n,) with n of at least {least}")
    if np.any(np.isnan(log_w)):
        raise ValueError(f"log_weights: got {np.isnan(log_w).sum()} NaN among {len(log_w)}, expected numbers")
    if np.any(log_w == np.inf):
        raise ValueError("log_weights: got inf, expected numbers, or -inf for fields without weight")
    if not zero and log_w.max() == -np.inf:
        raise ValueError(f"log_weights: got {len(log_w)} of -inf, expected one with weight")
    return log_w
