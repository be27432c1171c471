"""The density of a flow and its samples belong together, and to the measure: statistics of importance weights.

Weights have heavy tails, so that no mean of them is judged by its scatter. Bets ``1 + lambda (w - 1)`` need nothing but ``w >= 0``
and ``E w <= 1``; of samples of the flow they see a density that is too small, of exact samples one that is too large. The decisions
of a Metropolis step between the two are bounded, and need no partition function.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import flow_claims as claims
from ..contract import Subject
from ..evidence import Trial, batch_size, equilibrium, seed_from
from ..sequential import (
    above_one_wealth,
    detectable_excess,
    detectable_mean,
    detectable_moment,
    mean_zero_wealth,
    moment_wealth,
)
from ..verdict import Verdict, skipped
from .exact_start import e_verdict
from .maps import Inconclusive
from .variates import EXACTNESS, Scale

Array = NDArray[np.float64]

LARGEST = 300.0  # of the logarithm of a ratio: its square would overflow
SHARE = 4  # the checks of flows look at a quarter of the chains of the level
APART = 512  # weights that teach the scale, at least
BULK = 50.0  # effective number of them, at least: with fewer the mean is in weights that were not seen
COARSEST = 2.0  # error of log q: what sees larger ones alone says nothing
LEAST_RATE = 1e-3  # of exchanges
APARTNESS = "samples of the flow and of p overlap too little to say anything"


def partition(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_q[p/q] = 1`` over samples of the flow, with the log q that comes with them: ``E_q[w] = Z``.

    p is the theory with its exact partition function where that is known, else a normalised density near it (pure gauge theory, or
    the free field of the Hartree approximation). Half the level bets on too large a mean, whatever the tails. The other bets on
    either side, where `log_prob` is offered too and the weights allow it: they have a second moment that weights set apart and
    weights of exact samples bound, both. A flow far from p, or one that misses a phase, is right and makes no such bet.

    If it fails: with flows.jacobian passing it is a constant of the prior or of the action; else the logdet. A flow
    that is merely bad does not fail.
    """
    flows, n = trial.evidence.flows, _size(trial)
    elsewhere = -flows.known(n).log_ratio if subject.has("log_prob") else None
    return _mean_of_one(-flows.drawn(n).log_ratio, elsewhere, trial, "E_q[p/q]", "small", "log_prob")


def normalised(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_p[q/p] = 1`` over exact samples of p, with the log q of `log_prob`: the density is normalised.

    p as in flow_weights.partition, and the same two bets, the second where `sample` is offered too. Constants of 2 pi, Haar measure
    taken for that of angles, a Jacobian whose sign is wrong in both directions, are all seen without one call of `sample`, where
    they make the density too large.

    If it fails: the density integrates to more or less than 1: the Jacobian or a constant. Run flows.jacobian and
    flows.prior to tell which.
    """
    flows, n = trial.evidence.flows, _size(trial)
    elsewhere = flows.drawn(n).log_ratio if subject.has("sample") else None
    return _mean_of_one(flows.known(n).log_ratio, elsewhere, trial, "E_p[q/p]", "large", "sample")


def _size(trial: Trial) -> int:
    return max(2 * APART, trial.effort.chains // SHARE)


def _mean_of_one(log_r: Array, elsewhere: Array | None, trial: Trial, name: str, side: str, besides: str) -> Verdict:
    """Bets against ``E[r] = 1``; ``side`` is what log q is where r is above 1 on average.

    ``elsewhere`` is log r over samples of the other density, that of ``besides``.
    """
    n_apart = max(APART, len(log_r) // 4)
    half, quarter = replace(trial, alpha=trial.alpha / 2), replace(trial, alpha=trial.alpha / 4)
    r = np.exp(np.minimum(log_r, LARGEST))
    density = trial.evidence.flows.density.name
    detail = f"log {name} = {_log_mean(log_r):.4g}, ESS/n = {_effective(log_r):.3g} of {len(r)}; p is {density}"
    moment, untrusted = second_moment(log_r - EXACTNESS, elsewhere, n_apart, quarter.alpha, besides)
    log_r = log_r - EXACTNESS  # a perfect flow has nothing but rounding
    seen = [detectable_excess(log_r, half.alpha), np.inf]
    wealths = [(above_one_wealth(log_r, half.alpha), half)]
    if not untrusted:
        later = (r - 1)[n_apart:]
        wealths.append((moment_wealth(later, moment, quarter.alpha), quarter))
        smallest = detectable_moment(later, moment, quarter.alpha)
        seen = [min(seen[0], np.log1p(smallest)), -np.log1p(-smallest) if smallest < 1 else np.inf]
    told = f"log q too {side} by {seen[0]:.1e}"
    other = "large" if side == "small" else "small"
    if seen[1] < np.inf:
        told += f", too {other} by {seen[1]:.1e}"
    elif untrusted:
        told += f" (none too {other}: {untrusted})"
    # The bet that alarmed, or the one that came closest to it.
    wealth, share = max(
        wealths, key=lambda pair: (pair[0].alarm_at is not None, pair[0].log10 + np.log10(pair[1].alpha))
    )
    if wealth.alarm_at is None and min(seen) == np.inf:
        raise Inconclusive(f"{APARTNESS}: {detail}")
    return replace(e_verdict(f"{name} = 1", wealth, len(r), share, told, detail), alpha=trial.alpha)


def second_moment(log_r: Array, elsewhere: Array | None, n_apart: int, alpha: float, besides: str) -> tuple[float, str]:
    """A bound on ``E[(r - 1)^2]`` where r has mean 1, or why there is none: what the false-alarm rate of that bet rests on.

    The first ``n_apart`` values measure it, and so do samples of the other density, where they are: with r = p/q,
    ``E_q[(r - 1)^2] = E_p[(r - 1)^2/r] < E_p[1 + r]``. What the flow never visits is seen by exact samples, and where p is not, by
    those of the flow. The bound is the larger, raised; trusted where neither measurement has a heavy tail and weights apart are
    those of `BULK` values. Weights that are all small, as of a flow far from p, scatter little, and their mean is made elsewhere.
    """
    if elsewhere is None:
        return np.inf, f"offers no {besides}, which would show what its weights miss"
    if (bulk := n_apart * _effective(log_r[:n_apart])) < BULK:
        return np.inf, f"the weights of {n_apart} are those of {bulk:.2g}, fewer than {BULK:g}"
    y = np.expm1(np.minimum(log_r, LARGEST))
    own = Scale.learned(y[:n_apart], alpha, EXACTNESS).beside(y)
    at = np.clip(elsewhere, -LARGEST, LARGEST) / 2
    parts = (2 * np.sinh(at), np.sqrt(1 + np.exp(2 * at)))
    other = min(
        (Scale.learned(y, alpha, EXACTNESS) for y in parts), key=lambda scale: (bool(scale.untrusted), scale.bound)
    )
    untrusted = own.untrusted or other.untrusted
    return max(own.bound, other.bound), f"q/p or p/q {untrusted}" if untrusted else ""


def _log_mean(log_r: Array) -> float:
    return float(log_r.max() + np.log(np.mean(np.exp(log_r - log_r.max()))))


def _effective(log_r: Array) -> float:
    """``(sum r)^2/(n sum r^2)``."""
    return float(np.exp(2 * _log_mean(log_r) - _log_mean(2 * log_r)))


def bridge(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_p[min(1, q/p)] = E_q[min(1, p/q)]``: a constant of log q is seen on either side, however heavy the tails.

    Both are the integral of ``min(p, q)``, the overlap of two normalised densities (Bennett 1976). For independent x of p and y of
    q the difference is a bounded number of mean zero. It takes `sample` and `log_prob`, and p with its partition function.

    If it fails: samples or exact configurations weigh by a constant too much; ``log q`` off by that constant shifts
    every ``log Z`` but no reweighted mean.
    """
    flows, n = trial.evidence.flows, _size(trial)
    x, y = flows.known(n).log_ratio, flows.drawn(n).log_ratio  # log q/p
    values = _overlap_difference(x, y, 0.0)
    smallest = detectable_mean(values, trial.alpha)
    errors = np.geomspace(1e-3, 30, 60)
    moved = [min(abs(_overlap_difference(x, y, c).mean() - values.mean()) for c in (-error, error)) for error in errors]
    seen = next((float(e) for e, m in zip(errors, moved, strict=True) if m >= smallest), np.inf)
    detail = (
        f"overlap {np.exp(np.minimum(x, 0)).mean():.4g} by samples of p, {np.exp(np.minimum(-y, 0)).mean():.4g} by those of "
        f"the flow; p is {flows.density.name}"
    )
    wealth = mean_zero_wealth(values, trial.alpha)
    if wealth.alarm_at is None and not seen <= COARSEST:
        raise Inconclusive(f"{APARTNESS}: log q off by {seen:.1e} is the least that would be seen; {detail}")
    return e_verdict("overlap of p and q", wealth, n, trial, f"log q off by {seen:.1e}", detail)


def _overlap_difference(x: Array, y: Array, shift: float) -> Array:
    """``min(1, q/p)`` at x less ``min(1, p/q)`` at y, were ``log q`` larger by ``shift``."""
    return np.asarray(np.exp(np.minimum(x + shift, 0.0)) - np.exp(np.minimum(-y - shift, 0.0)))


def exchange(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples follow the density: one Metropolis step from p to q is as probable as from q to p, whatever is looked at.

    For independent x of p and y of q, ``E[min(1, w(y)/w(x)) (g(y) - g(x))] = 0``, ``w = p/q``, for every function g: observables
    bounded by a tanh about their means, for angles also charge, links and Polyakov loops, of scalars the mean field, and log w.
    The bets are on bounded numbers: no tail and no partition function matters. Samples of other weights, another temperature or
    prior, or of one phase alone, are seen.

    If it fails: `sample` and `log_prob` are of different models. Reweighted means and Metropolis chains built on both
    are then biased.
    """
    flows, n = trial.evidence.flows, _size(trial)
    x, y = flows.known(n), flows.drawn(n)
    gain = x.log_ratio - y.log_ratio  # log w(y)/w(x)
    accepted = np.exp(np.minimum(gain, 0.0))
    columns = np.column_stack([accepted[:, None] * (y.features - x.features) / 2, accepted * np.tanh(gain)])
    rate, k = float(accepted.mean()), columns.shape[1]
    wealth = mean_zero_wealth(columns, trial.alpha)
    if wealth.alarm_at is None and not rate >= LEAST_RATE:
        raise Inconclusive(f"{APARTNESS}: one of them is exchanged for another at a rate of {rate:.2g}")
    seen = [detectable_mean(column, trial.alpha / k) / max(rate, 1e-300) for column in columns.T]
    first = flows.density.theory.observables[0]
    with np.errstate(divide="ignore"):
        shift = (
            seen[0] * 2 * first.std / np.mean(1 - np.square(y.features[:, 0]))
        )  # infinite where all are beyond the tanh
    labels = [*flows.labels, "log w"]
    off = columns.mean(axis=0) / np.maximum(columns.std(axis=0) / np.sqrt(n), 1e-300)
    most = int(np.argmax(np.abs(off)))
    detail = f"{labels[most]} is off by {off[most]:.2g} of its errors; acceptance {rate:.3g}; p is {flows.density.name}"
    told = f"samples whose {first.name} is off by {shift:.1e}, log w by {seen[-1]:.1e} (acceptance {rate:.2g})"
    return e_verdict(f"exchange of p and q in {k} functions", wealth, n, trial, told, detail)


def acceptance(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The update accepts as often as a Metropolis step of the density: ``E min(1, w(y)/w(x))`` over x of p and y of q.

    The first update of chains in exact equilibrium, one step each, against independent pairs: the indicator that the field moved
    less that minimum has mean zero, in [-1, 1]. The same number follows from a batch of the flow alone, ``E min(w, w')/E w``,
    which is shown. For targets that declare ``flow_updates = True``: an update is one proposal of `sample`, and one decision.

    If it fails: the Metropolis rule is another: ``p/q`` exchanged, a ratio taken at the wrong field, or a stale weight
    of the present state.
    """
    if not claims.proposes_updates(subject):
        return skipped("does not declare flow_updates, that an update is one proposal of sample and one decision")
    n = _size(trial)
    logs: list[tuple[Array, Array]] = []
    size = batch_size(claims.lattice_theory(subject).volume)
    for start in range(0, n, size):
        x = equilibrium(subject, rng, min(size, n - start))
        y, log_q = subject.sample(len(x), seed_from(rng))
        logs.append((-subject.theory.action(x) - subject.log_prob(x), -subject.theory.action(y) - log_q))
    old, new = (np.concatenate(part) for part in zip(*logs, strict=True))
    moved = trial.evidence.features(0, n).moved[0]
    expected = np.exp(np.minimum(new - old, 0.0))
    y_ = moved - expected
    detail = (
        f"{moved.mean():.4f} of the chains move, expected {expected.mean():.4f} +- {expected.std() / np.sqrt(n):.1e}; "
        f"from the batch of the flow alone {_closed(new):.4f}"
    )
    told = f"an acceptance off by {detectable_mean(y_, trial.alpha):.1e}"
    return e_verdict("moved - min(1, w(y)/w(x))", mean_zero_wealth(y_, trial.alpha), n, trial, told, detail)


def _closed(log_w: Array) -> float:
    """``sum_{i < j} min(w_i, w_j)`` over pairs of draws, by the mean weight."""
    w = np.sort(np.exp(log_w - log_w.max()))
    n = len(w)
    return float(2 * (w * np.arange(n - 1, -1, -1)).sum() / ((n - 1) * w.sum()))
