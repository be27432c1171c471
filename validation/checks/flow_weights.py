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
from .exact_start import e_verdict, shift_of
from .variates import EXACTNESS, Scale

Array = NDArray[np.float64]

SHARE = 4  # the checks of flows look at a quarter of the chains of the level
APART = 1024  # weights that teach the scale, at least


def partition(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_q[p/q] = 1`` over samples of the flow, with the log q that comes with them: ``E_q[w] = Z``.

    p is the theory with its exact partition function where that is known, else a normalised density near it (pure gauge theory, or
    the free field of the Hartree approximation). Half the level bets on too large a mean, whatever the tails; the other on too
    small a one, with a bound on the second moment from weights set apart, where the tails allow one (as in variates.mean_zero).
    """
    flows = trial.evidence.flows
    log_r = -flows.drawn(_size(trial)).log_ratio
    return _mean_of_one(log_r, trial, "E_q[p/q]", "small", flows.density.name)


def normalised(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """``E_p[q/p] = 1`` over exact samples of p, with the log q of `log_prob`: the density is normalised.

    p as in flow_weights.partition, and the same two bets. Constants of 2 pi, Haar measure taken for that of angles, a Jacobian
    whose sign is wrong in both directions, are all seen without one call of `sample`.
    """
    flows = trial.evidence.flows
    log_r = flows.known(_size(trial)).log_ratio
    return _mean_of_one(log_r, trial, "E_p[q/p]", "large", flows.density.name)


def _size(trial: Trial) -> int:
    return max(2 * APART, trial.effort.chains // SHARE)


def _mean_of_one(log_r: Array, trial: Trial, name: str, side: str, density: str) -> Verdict:
    """Bets against ``E[r] = 1``; ``side`` is what log q is where r is above 1 on average."""
    n_apart = max(APART, len(log_r) // 4)
    half, r = replace(trial, alpha=trial.alpha / 2), np.exp(np.minimum(log_r, 300.0))
    log_mean = float(log_r.max() + np.log(np.mean(np.exp(log_r - log_r.max()))))
    effective = float(np.exp(2 * (log_mean - log_r.max())) / np.mean(np.exp(2 * (log_r - log_r.max()))))
    other = "large" if side == "small" else "small"
    detail = f"log {name} = {log_mean:.4g}, effective sample size {effective:.3g} of {len(r)}; p is {density}"
    above = above_one_wealth(log_r - EXACTNESS, half.alpha)  # a perfect flow has nothing but rounding
    seen = f"log q too {side} by {detectable_excess(log_r, half.alpha):.1e}"
    scale = Scale.learned((r - 1)[:n_apart], half.alpha / 2, EXACTNESS).beside(r - 1)
    verdict = e_verdict(f"{name} <= 1", above, len(r), half, seen, detail)
    if above.alarm_at is None and not scale.untrusted:
        later = (1 - r)[n_apart:]
        below = moment_wealth(later, scale.bound, half.alpha / 2, above=True)
        smallest = detectable_moment(later, scale.bound, half.alpha / 2, above=True)
        seen += f", too {other} by {-np.log1p(-smallest):.1e}" if smallest < 1 else ""
        verdict = replace(verdict, sensitivity=seen)
        if below.alarm_at is not None:
            verdict = e_verdict(f"{name} >= 1", below, len(r), replace(trial, alpha=half.alpha / 2), seen, detail)
    elif above.alarm_at is None:
        verdict = replace(verdict, sensitivity=f"{seen} (tails too heavy for the other side: p - q {scale.untrusted})")
    return replace(verdict, alpha=trial.alpha)  # what the scale may get wrong has its part


def exchange(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples follow the density: one Metropolis step from p to q is as probable as from q to p, whatever is looked at.

    For independent x of p and y of q, ``E[min(1, w(y)/w(x)) (g(y) - g(x))] = 0``, ``w = p/q``, for every function g: observables
    bounded by a tanh about their means, for angles also charge and links, and log w itself. The bets are on bounded
    numbers: no tail and no partition function matters. Samples of other weights, another temperature or prior, are seen.
    """
    flows, n = trial.evidence.flows, _size(trial)
    x, y = flows.known(n), flows.drawn(n)
    gain = x.log_ratio - y.log_ratio  # log w(y)/w(x)
    accepted = np.exp(np.minimum(gain, 0.0))
    columns = np.column_stack([accepted[:, None] * (y.features - x.features) / 2, accepted * np.tanh(gain)])
    rate, k = float(accepted.mean()), columns.shape[1]
    seen = [detectable_mean(column, trial.alpha / k) / max(rate, 1e-300) for column in columns.T]
    first = flows.density.theory.observables[0]
    shift = shift_of(seen[0], y.features[:, 0], first.std)
    labels = [*flows.labels, "log w"]
    off = columns.mean(axis=0) / np.maximum(columns.std(axis=0) / np.sqrt(n), 1e-300)
    most = int(np.argmax(np.abs(off)))
    detail = f"{labels[most]} is off by {off[most]:.2g} of its errors; acceptance {rate:.3g}; p is {flows.density.name}"
    told = f"samples whose {first.name} is off by {shift:.1e}, log w by {seen[-1]:.1e} (acceptance {rate:.2g})"
    return e_verdict(
        f"exchange of p and q in {k} functions", mean_zero_wealth(columns, trial.alpha), n, trial, told, detail
    )


def acceptance(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The update accepts as often as a Metropolis step of the density: ``E min(1, w(y)/w(x))`` over x of p and y of q.

    The first update of chains in exact equilibrium, one step each, against independent pairs: the indicator that the field moved
    less that minimum has mean zero, in [-1, 1]. The same number follows from a batch of the flow alone, ``E min(w, w')/E w``,
    which is shown. For targets that declare ``flow_updates = True``: an update is one proposal of `sample`, and one decision.
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
