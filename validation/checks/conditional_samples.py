"""Samples of conditional densities: they have the law of the map or of log q, and their weights average to the determinant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from ..contract import Subject
from ..evidence import Trial, batch_size, seed_from
from ..sequential import detectable_factor, positive_mean_wealth, sequential_p_values
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .covariances import Covariances, copies, links, readable, rows, stray
from .exact_start import e_verdict
from .fermions import SMALL
from .transcript import normal_p_values, normal_sensitivity

Array = NDArray[np.float64]
Complex = NDArray[Any]

CHAINS = 64
FIELDS = 4  # gauge fields whose samples are looked at one by one
CANDIDATES = 16  # gauge fields, of which those with the least variance are taken for the determinant
LARGEST = 300.0  # of the logarithm of a weight
MODERATE = 4.0  # relative variance beyond which little would be seen


def law(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples have the covariance ``F F^dag`` of the map (else of `conditional_log_prob`), chain by chain and call by call.

    ``F^-1 phi`` are independent complex normal numbers: exact p-values as for momenta, at four gauge fields one by one and
    together, all monomials side by side, so that noise that is used for two of them is seen; ``|F^-1 phi|^2`` has a Gamma law
    (Kolmogorov-Smirnov), of every monomial and in total; sign tests of the products of neighbouring chains, and of one chain in
    two calls. Another width of the noise, samples of other weights than those of the density, are seen. A seed repeats itself,
    and no noise comes twice: not for another chain, monomial or seed, and not with its sign turned.

    If it fails: the width of the noise (real and imaginary part of variance 1/2) and a generator shared by monomials or
    chains are the usual causes.
    """
    at = readable(subject)
    if isinstance(at, str):
        return skipped(at)
    x = links(at, rng, FIELDS)
    factor = Covariances.of(at, x).factor
    inverse = np.linalg.inv(factor)
    size, odd, used = 2 * factor.shape[1] * factor.shape[2], 0.0, 0
    first = [at.conditional_sample(x, 7)[0] for _ in range(2)]
    if not float(np.abs(first[1] - first[0]).max()) <= 1e-9 * float(np.abs(first[0]).max()):
        change = float(np.abs(first[1] - first[0]).max())
        return Verdict(
            FAIL, "conditional_sample: two calls with one seed differ by", change, 0.0, "", 2 * FIELDS, 0.0, ""
        )

    def drawn() -> Array:
        """White numbers ``(gauge field, chain, monomial, row, 2)``."""
        nonlocal odd
        phi, _ = at.conditional_sample(np.repeat(x, CHAINS, axis=0), seed_from(rng))
        odd = max(odd, stray(at, phi))
        v = rows(at, phi).reshape(FIELDS, CHAINS, *inverse.shape[1:3])
        chi = np.sqrt(2) * np.einsum("nfij,nkfj->nkfi", inverse, v)
        return np.stack([chi.real, chi.imag], axis=-1)

    two = np.concatenate([drawn().reshape(-1, *inverse.shape[2:3], 2) for _ in range(2)])
    if twice := copies(two[..., 0] + 1j * two[..., 1]):
        told = f"of {len(two)} fields of noise, of two seeds, {factor.shape[1]} monomials and {FIELDS * CHAINS} chains"
        return within("noise that comes twice", float(twice), 0.0, "one", len(two), f"{twice} {told}")

    def p_values(n: int) -> tuple[float, int]:
        nonlocal used
        parts: list[Array] = []
        while len(parts) < 2 or sum(part.size for part in parts) < n:
            parts.append(drawn())
        parts = parts[: len(parts) // 2 * 2]
        calls = [(a * b).sum(axis=(2, 3, 4)).ravel() for a, b in zip(parts[::2], parts[1::2], strict=True)]
        every = np.concatenate(parts, axis=1)
        used += every.size
        squares = (every**2).sum(axis=(3, 4)) / 2  # (gauge field, chain, monomial)
        flat = every.reshape(FIELDS, every.shape[1], size)
        neighbours = (flat[:, ::2] * flat[:, 1::2]).sum(axis=2).ravel()
        p = [
            *normal_p_values(flat.reshape(-1, size)),
            *(p for own in flat for p in normal_p_values(own)),
            *gamma_p_values(squares.reshape(-1, squares.shape[2]), factor.shape[2]),
            sign_test(np.concatenate(calls)),
            sign_test(neighbours),
        ]
        return float(min(p)), len(p)

    n = max(trial.effort.decisions * 2**14, 4 * FIELDS * CHAINS * size)
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    if odd:
        return within("largest component on odd sites", odd, 0.0, "any", n, "declared to live on the even sites")
    return Verdict(
        FAIL if result.alarm else PASS,
        "F^-1 phi ~ N(0, 1): p-value",
        result.p_value,
        result.bound,
        normal_sensitivity(n, size, trial.alpha, "the whitened fields"),
        used,
        trial.alpha,
        f"p = {result.p_value:.2g} on {at.links.shape}" if result.alarm else "",
    )


def gamma_p_values(squares: Array, size: int) -> list[float]:
    """Kolmogorov-Smirnov of ``chi^dag chi``, ``(n, monomial)``, of every monomial and in total, against Gamma."""
    from scipy.stats import gamma, kstest

    columns = [(column, size) for column in squares.T]
    if squares.shape[1] > 1:
        columns.append((squares.sum(axis=1), size * squares.shape[1]))
    return [float(kstest(column, gamma(shape).cdf).pvalue) for column, shape in columns]


def determinant(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_q[exp(-S_m)/q_m] = pi^N det K_m`` for every monomial, with the log q that `conditional_sample` has for its fields.

    S_m is the oracle's, without a regulator. Bets on the ratio to the exact determinant, of mean 1: against too large a mean
    whatever the tails, against too small a one for the variance that the eigenvalues w of ``F^dag P F`` give, ``prod w^2/(2 w -
    1) - 1``. It is finite only where they are all above 1/2: gauge fields where it is, and at most 4, are taken, of 16 those
    with the least, on a small lattice where there are none; the share of them is told. The monomials and gauge fields are bet on
    one by one, too.

    If it fails: a constant, the wrong monomial, or an action with the training regulator in it. An untrained model has
    a large variance, but does not fail.
    """
    at = readable(subject)
    if isinstance(at, str):
        return skipped(at)
    own = Covariances.of(at, links(at, rng, CANDIDATES))
    pairs = _steadiest(own.variances)
    if not len(pairs) and (tiny := subject.replace(**SMALL[0])) is not None and tiny.links.shape != at.links.shape:
        at, own = tiny, Covariances.of(tiny, links(tiny, rng, CANDIDATES))
        pairs = _steadiest(own.variances)
    least, finite = own.weights[..., 0].min(), np.isfinite(own.variances).mean(axis=0)
    told = f"w_min = {least:.3g}, w_min > 1/2 at {', '.join(f'{100 * share:.0f}%' for share in finite)} of the gauge fields"
    if not len(pairs):
        return skipped(
            f"no gauge field of {CANDIDATES} has weights with a relative variance below {MODERATE:g}: {told}; a target that can be "
            f"made at the shape {SMALL[0]['shape']}, one nearer to the determinant, or inflated (phi -> c phi, c > 1) may have some"
        )
    chosen, places = np.unique(pairs[:, 0], return_inverse=True)
    own = Covariances(at, own.x[chosen], own.factor[chosen])
    n = max(256, trial.effort.chains // 8)
    log_r = _log_ratios(at, own, n, lambda: seed_from(rng)).reshape(len(chosen), n, -1)
    r = np.exp(np.minimum(log_r[places, :, pairs[:, 1]].T, LARGEST))
    variances = own.variances[places, pairs[:, 1]]
    variance = np.broadcast_to(variances, r.shape)
    wealth = positive_mean_wealth(r, variance, trial.alpha)
    seen = detectable_factor(r.ravel(), variance.ravel(), trial.alpha / 2)
    alone = max(detectable_factor(r[:, k], variance[:, k], trial.alpha / 2 / r.shape[1]) for k in range(r.shape[1]))
    k = int(np.argmax(np.abs(r.mean(axis=0) - 1) / np.sqrt(variances + 1e-12)))
    detail = (
        f"mean of exp(-S)/q over pi^N det K = {r.mean():.6g}, {r[:, k].mean():.6g} for monomial {pairs[k, 1]} at gauge field "
        f"{places[k]}, shape {at.links.shape}; {told}"
    )
    sensitivity = f"a factor off 1 by {seen:.1e}, of one monomial at one gauge field by {alone:.1e} ({told})"
    return e_verdict("mean of exp(-S)/q over pi^N det K", wealth, r.size, trial, sensitivity, detail)


def _steadiest(variances: Array) -> NDArray[np.intp]:
    """Of every monomial the gauge fields with the least variances, as far as they are moderate: ``(pair, 2)``."""
    order = np.argsort(variances, axis=0)[:FIELDS]
    pairs = [(k, m) for m, column in enumerate(order.T) for k in column if variances[k, m] <= MODERATE]
    return np.array(pairs, np.intp).reshape(-1, 2)


def _log_ratios(at: Subject, own: Covariances, n: int, seed: Callable[[], int]) -> Array:
    """``log [exp(-S_m)/q_m] - log pi^N det K_m`` of n samples at every gauge field, ``(gauge field * n, monomial)``."""
    fields = len(own.x)
    per_call = max(1, batch_size(at.theory.volume) // fields)
    parts = []
    for start in range(0, n, per_call):
        count = min(per_call, n - start)
        phi, log_q = at.conditional_sample(np.repeat(own.x, count, axis=0), seed())
        log_r = -own.forms(phi) - log_q - own.precisions.shape[-1] * math.log(math.pi)
        parts.append(log_r.reshape(fields, count, -1) - own.log_determinants[:, None])
    return np.concatenate(parts, axis=1).reshape(fields * n, -1)
