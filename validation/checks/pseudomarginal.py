"""Chains that accept by estimates of a weight: the rule, the laws of estimates, and equilibrium.

Where the conditional densities can be read off a target, the law of an estimate at given links is known: of every average of
``prod w_i exp(-sum (w_i - 1) e_i)`` with exponential e_i, in equilibrium one of them with rates w_i. The oracle draws estimates
of its own, among which that of the target has every rank with the same probability: exact, whatever the tails of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from ..contract import Subject
from ..evidence import LATER, Trial, batch_size, equilibrium, sampler, seed_from
from ..hamiltonian import pure_gauge_theory
from ..sequential import POWER_QUANTILE, detectable_mean, mean_zero_wealth, sequential_p_values
from ..theories import Unsampled
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .covariances import Covariances, living, readable
from .exact_start import e_verdict
from .flow_samples import PRODUCTS, compared, features_of, judged
from .joint import numbers_of
from .transcript import AMBIGUOUS

Array = NDArray[np.float64]
Record = dict[str, Array]

CHAINS = 16
OFFSET = 3.0  # of estimates that are handed over, up to
RANKS, FEWEST_RANKS = 99, 19  # estimates of the oracle beside every one of the target
MOST_NUMBERS = 10**9  # that are drawn for them; some ten seconds of CPU for a quarter of that
PER_BLOCK = 2**12  # rows of a block of these
COPIED = 0.01  # share of equal estimates at one gauge field that is no chance
TIED = 1e-9  # logs of estimates closer than this, per unit of their size, are not told apart
SHARE = 2  # the chains of the level over those of stationarity


def records(subject: Subject, rng: np.random.Generator, n: int) -> Iterator[tuple[Record, bool]]:
    """Updates of 16 chains that follow one another, and whether the estimate that an update began with was the oracle's own.

    Every other time it is one that no draw has made: some larger, some smaller than that of the target.
    """
    x = sampler(subject, rng, CHAINS)
    log_w = subject.pseudomarginal_start(x, seed_from(rng)) if subject.has("pseudomarginal_start") else None
    if log_w is None:
        log_w = subject.pseudomarginal(x, np.full(CHAINS, -1e6), seed_from(rng))["log_w_proposed"]
    for k in range(n):
        foreign = bool(k % 2)
        given = log_w + OFFSET * rng.uniform(-1, 1, CHAINS) if foreign else log_w
        record = subject.pseudomarginal(x, given, seed_from(rng))
        yield {**record, "x": x, "log_w": given}, foreign
        x, log_w = record["x_next"], record["log_w_next"]


def decision(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Each proposal is accepted exactly where ``u < exp(log_w_proposed - log_w)``, with the estimate that was handed over.

    Half of those are other ones than the target would have drawn, so that an update that draws a new estimate for the links that it
    has (of the right mean, and biased) is seen, as are the wrong sign and rules of a batch. Decisions within 1e-6 of the edge are
    left out.

    If it fails: look at the sign and at which estimate is compared: the one that was accepted, never a new one for the
    same links.
    """
    wrong, n, detail = 0, 0, ""
    for record, foreign in records(subject, rng, max(4, trial.effort.decisions)):
        margin = record["log_w_proposed"] - record["log_w"] - np.log(record["u"])
        clear = np.abs(margin) > AMBIGUOUS
        bad = clear & ((margin > 0) != (record["accept"] != 0))
        n, wrong = n + int(clear.sum()), wrong + int(bad.sum())
        if bad.any() and not detail:
            k = int(np.argmax(bad))
            detail = (
                f"u = {record['u'][k]:.6g}, log_w_proposed - log_w = {(record['log_w_proposed'] - record['log_w'])[k]:.6g}, "
                f"accept = {bool(record['accept'][k])}{', with an estimate that the oracle chose' if foreign else ''}"
            )
    detail = f"{wrong} of {n}; first: {detail}"
    return within("wrong decisions", float(wrong), 0.0, f"one wrong decision in {n}", n, detail)


def kept(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Links that stay keep their estimate bit for bit; links that are taken have the estimate they were accepted with.

    And the links are those of before, or of the proposal, component by component.

    If it fails: an estimate that is refreshed, or one kept beside links that changed, makes the chain inexact; store
    the two together.
    """
    wrong, n, detail = 0, 0, ""
    for record, _ in records(subject, rng, max(4, trial.effort.decisions)):
        accepted = record["accept"] != 0
        shown = accepted.reshape(-1, *(1,) * (record["x"].ndim - 1))
        bad_w = record["log_w_next"] != np.where(accepted, record["log_w_proposed"], record["log_w"])
        off = subject.theory.difference(record["x_next"], np.where(shown, record["x_proposed"], record["x"]))
        bad_x = np.abs(off).reshape(CHAINS, -1).max(axis=1) > TIED
        n, wrong = n + CHAINS, wrong + int((bad_w | bad_x).sum())
        if (bad_w | bad_x).any() and not detail:
            k = int(np.argmax(bad_w | bad_x))
            of = "accepted" if accepted[k] else "rejected"
            what = "log_w_next" if bad_w[k] else "x_next"
            detail = (
                f"{of}: {what} is another; log_w {record['log_w'][k]:.17g}, proposed {record['log_w_proposed'][k]:.17g}, "
                f"next {record['log_w_next'][k]:.17g}"
            )
    return within(
        "states that are neither kept nor taken", float(wrong), 0.0, f"one in {n}", n, f"{wrong}; first: {detail}"
    )


def seeds(subject: Subject, rng: np.random.Generator) -> Verdict:
    """An update repeats itself for a seed, has other proposals for another, and no two chains have one.

    That is, no links, no estimate and no Metropolis number come twice, in one call or three.

    If it fails: streams are reused between chains, calls or seeds; see driver.streams for how a correct target spawns
    them.
    """
    x = sampler(subject, rng, CHAINS)
    log_w, seed = np.zeros(CHAINS), seed_from(rng)
    first, again = (subject.pseudomarginal(x, log_w, seed) for _ in range(2))
    others = [subject.pseudomarginal(x, log_w, other) for other in (seed + 1, seed_from(rng))]
    change = max(float(np.abs(first[name] - again[name]).max()) for name in first)
    if not change <= TIED * max(1.0, float(np.abs(first["log_w_proposed"]).max())):
        return Verdict(FAIL, "pseudomarginal: two calls with one seed differ by", change, TIED, "", 2 * CHAINS, 0.0, "")
    counts = {}
    for name in ("log_w_proposed", "u", "x_proposed"):
        values = np.concatenate([numbers_of(record[name]) for record in (first, *others)])
        counts[name] = len(values) - len(np.unique(np.round(values, 9), axis=0))
    name = max(counts, key=lambda key: counts[key])
    told = f"{counts[name]} of {3 * CHAINS} values of {name}, of three seeds, are there before"
    return within("numbers that come twice", float(counts[name]), 0.0, "one", 3 * CHAINS, told)


# --- laws of estimates --------------------------------------------------------------------------------------------------------
def simulated(rng: np.random.Generator, weights: Array, n_pf: int, n: int, start: bool) -> Array:
    """Logs of n estimates over the weight, ``(chain, n)``, from eigenvalues ``(chain, field, rows)``; in equilibrium at a start."""
    chains, fields, size = weights.shape
    out = np.zeros((chains, n))
    for m in range(fields):
        w = weights[:, m, None, :]
        total = np.full((chains, n), -np.inf)
        for i in range(n_pf):
            e = rng.standard_exponential((chains, n, size))
            e = e / w if start and i == 0 else e
            total = np.logaddexp(total, np.log(w).sum(axis=-1) - ((w - 1) * e).sum(axis=-1))
        out += total - np.log(n_pf)
    return out


def rivals(at: Subject, n: int) -> int:
    """How many estimates of the oracle n of the target are compared with, fewer where they take many draws; or 0."""
    each = at.n_pf * at.monomials.number * int(living(at).sum()) * n
    return 0 if FEWEST_RANKS * each > MOST_NUMBERS else max(FEWEST_RANKS, min(RANKS, MOST_NUMBERS // (4 * each)))


def log_weight(at: Subject, own: Covariances) -> Array:
    """``log w(x) = -S_g + log det M - log q``, and the constant that is declared."""
    action = pure_gauge_theory(at.theory).action(own.x)
    determinant = own.log_determinants.sum(axis=1)
    return np.asarray(-action + determinant - at.log_prob(own.x) + at.pseudomarginal_constant)


def ranks(
    at: Subject, rng: np.random.Generator, weights: Array, excess: Array, start: bool, count: int = RANKS
) -> tuple[Array, Array]:
    """Of every ``log_w - log w`` among those of the oracle, as a uniform number; and how wide the law of it is."""
    many = max(1, PER_BLOCK // weights.shape[-1])
    blocks = [slice(k, k + many) for k in range(0, len(weights), many)]
    expected = np.concatenate([simulated(rng, weights[block], at.n_pf, count, start) for block in blocks])
    # On a grid, so that numbers that rounding makes have ties, which are broken at random, whichever of them is the target's.
    grid = TIED * (1 + np.median(np.abs(excess)))
    got, others = np.rint(excess / grid)[:, None], np.rint(expected / grid)
    below, level = (others < got).sum(axis=1), (others == got).sum(axis=1)
    return (below + rng.random(len(got)) * (level + 1)) / (count + 1), expected.std(axis=1)


def _judged_ranks(
    trial: Trial, quantity: str, n: int, told: str, drawn: Callable[[int], tuple[Array, Array, dict[str, Array]]]
) -> Verdict:
    """Whether ranks are uniform, independent from chain to chain and of other uniform numbers."""
    from scipy.stats import kstest

    last: dict[str, Any] = {}

    def p_values(n: int) -> tuple[float, int]:
        u, width, besides = drawn(n)
        centred = u - 0.5
        p = {
            "their distribution": float(kstest(u, "uniform").pvalue),
            "their mean": sign_test(centred),
            "neighbouring chains": sign_test(centred[: len(u) // 2 * 2 : 2] * centred[1::2]),
            "chains k and k + 2": sign_test(centred[: len(u) // 4 * 4].reshape(-1, 2, 2).prod(axis=1).ravel()),
            "two halves of the calls": sign_test(centred[: len(u) // 2] * centred[-(len(u) // 2) :]),
            **{f"beside {name}": sign_test(centred * (other - 0.5)) for name, other in besides.items()},
        }
        worst = min(p, key=lambda name: p[name])
        last.update(worst=worst, mean=float(u.mean()), width=float(np.median(width)))
        return p[worst], len(p)

    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    # Kolmogorov's tail 2 exp(-2 n D^2); a shift by a width moves the ranks by at most 0.4.
    seen = (np.sqrt(np.log(6 / trial.alpha) / 2) + POWER_QUANTILE / 2) / np.sqrt(n)
    shift = (
        f"a shift of log w by {seen * last['width'] / 0.4:.1e}" if seen < 0.4 else "a shift of log w by several widths"
    )
    return Verdict(
        FAIL if result.alarm else PASS,
        f"{quantity}: p-value",
        result.p_value,
        result.bound,
        f"{shift} (the law of it has a width of {last['width']:.2g})",
        result.samples,
        trial.alpha,
        f"{last['worst']}: mean rank {last['mean']:.3f} (0.5 expected){told}" if result.alarm else "",
    )


def _readable(subject: Subject, n: int) -> Subject | str:
    _ = subject.n_pf, subject.pseudomarginal_constant  # which may be misdeclared
    at = readable(subject)
    if isinstance(at, str) or rivals(at, n):
        return at
    return f"declares n_pf = {at.n_pf}, too many for the oracle to draw estimates of its own; a target with fewer is judged"


def proposals(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Estimates at proposed links have the law of averages of ``n_pf`` fresh draws, whose mean is ``exp(-S_g) det M/q``.

    Their rank among 99 of the oracle, made of the eigenvalues of ``F^dag P F``, is uniform, independent from chain to chain, of
    the Metropolis number, and from call to call. A constant of log q or S, a regulator, a Hasenbusch mass that is off by one,
    averages of logs, noise that is used for two monomials or calls, another number of draws, are seen, with or without a variance.

    If it fails: conditional.density and conditional_samples.determinant tell whether it is the density or the average
    over draws.
    """
    n = max(256, trial.effort.chains // 16)
    at = _readable(subject, n)
    if isinstance(at, str):
        return skipped(at)
    count = rivals(at, n)

    def drawn(n: int) -> tuple[Array, Array, dict[str, Array]]:
        parts = []
        size = min(n // 2, 256)
        x = sampler(at, rng, size)
        for _ in range(2 * -(-n // (2 * size))):
            record = at.pseudomarginal(x, np.zeros(size), seed_from(rng))
            own = Covariances.of(at, record["x_proposed"])
            excess = record["log_w_proposed"] - log_weight(at, own)
            parts.append((*ranks(at, rng, own.weights, excess, False, count), record["u"]))
            x = record["x_next"]
        u, width, metropolis = (np.concatenate(part) for part in zip(*parts, strict=True))
        return u, width, {"the Metropolis number": metropolis}

    return _judged_ranks(trial, "ranks of proposed estimates", n, "", drawn)


def starts(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Estimates to begin from have the law of equilibrium: that of fresh draws times their size, so that ``E[1/w-hat] = 1/w``.

    One draw of every monomial is then one of the heat bath. Fresh draws alone are too small on average, and a chain that starts
    from them leaves its start too easily. Ranks as in pseudomarginal.proposals. A seed repeats itself; another one, and another
    chain, has another estimate at the same links.

    If it fails: draw the first estimate from the law weighted by its size, as the heat bath does, or thermalise and
    discard.
    """
    n = max(512, trial.effort.chains // 16)
    at = _readable(subject, n)
    if isinstance(at, str):
        return skipped(at)
    count = rivals(at, n)
    x = sampler(at, rng, CHAINS)
    own = Covariances.of(at, x)
    if verdict := _repeated(at, rng, x, own):
        return verdict
    expected = log_weight(at, own)

    def drawn(n: int) -> tuple[Array, Array, dict[str, Array]]:
        times = -(-n // CHAINS)
        log_w = at.pseudomarginal_start(np.repeat(x, times, axis=0), seed_from(rng))
        excess = log_w - np.repeat(expected, times)
        return *ranks(at, rng, np.repeat(own.weights, times, axis=0), excess, True, count), {}

    hint = "; too low where estimates are those of fresh draws"
    return _judged_ranks(trial, "ranks of estimates at the start", n, hint, drawn)


def _repeated(at: Subject, rng: np.random.Generator, x: NDArray[Any], own: Covariances) -> Verdict | None:
    """A failure where a seed does not repeat itself, or two of them or two chains have one noise; else none."""
    many, seed = np.repeat(x, CHAINS, axis=0), seed_from(rng)
    first, again = (at.pseudomarginal_start(many, seed) for _ in range(2))
    change, size = float(np.abs(first - again).max()), max(1.0, float(np.abs(first).max()))
    name = "pseudomarginal_start: two calls with one seed differ by"
    if not change <= TIED * size:
        return Verdict(FAIL, name, change, TIED * size, "", 2 * len(many), 0.0, "")
    values = np.stack([first, at.pseudomarginal_start(many, seed_from(rng))]).reshape(2, CHAINS, CHAINS)
    # Where the conditional is that of the heat bath, estimates do not vary.
    vary = np.abs(own.weights - 1).max(axis=(1, 2)) > np.sqrt(TIED)
    at_one = np.round(np.moveaxis(values, 0, 1)[vary].reshape(-1, 2 * CHAINS) / (1e-11 * size))
    twice = sum(len(row) - len(np.unique(row)) for row in at_one)
    if twice > COPIED * at_one.size:
        detail = f"{twice} of {at_one.size} estimates, of two seeds, {CHAINS} chains each at one gauge field, are there before"
        return within("estimates that come twice", float(twice), COPIED * at_one.size, "one", at_one.size, detail)
    return None


def uniforms(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The Metropolis numbers are uniform on [0, 1), each chain has its own, and they say nothing of the proposal.

    If it fails: the number is shared by chains, drawn on a coarse grid, or read off the stream that made the proposal.
    """
    from scipy.stats import kstest

    x = sampler(subject, rng, 4 * CHAINS)

    def p_values(n: int) -> tuple[float, int]:
        calls = [subject.pseudomarginal(x, np.zeros(len(x)), seed_from(rng)) for _ in range(-(-n // len(x)))]
        u = np.array([record["u"] for record in calls])
        w = np.array([record["log_w_proposed"] for record in calls])
        dw = w[:, ::2] - w[:, 1::2]
        p = [
            float(kstest(u.ravel(), "uniform").pvalue),
            sign_test(((u[:, ::2] - 0.5) * (u[:, 1::2] - 0.5)).ravel()),
            sign_test((dw * (u[:, ::2] - u[:, 1::2])).ravel()),
        ]
        return min(p), len(p)

    n = trial.effort.decisions * 128
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    seen = (np.sqrt(np.log(2 / trial.alpha) / 2) + POWER_QUANTILE / 2) / np.sqrt(n)
    return Verdict(
        FAIL if result.alarm else PASS,
        "u ~ U(0, 1): p-value",
        result.p_value,
        result.bound,
        f"distribution of u off by {min(1.0, seen):.1e}",
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
    )


def proposed_links(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Links are proposed from the density of `sample`, whatever the present state of the chain is.

    Proposals are paired with samples: the differences in log q and in observables are positive as often as negative if both have
    one law. Products of differences of two chains, before the update and proposed, are so too if the start does not matter.

    If it fails: proposals depend on the present state, or come of other weights than `log_prob` judges. The acceptance
    rule holds for independent ones only. Which quantity is off is shown.
    """

    def differences(n: int) -> Iterator[tuple[str, Array]]:
        size = min(batch_size(subject.theory.volume), n)
        x = sampler(subject, rng, size)
        for _ in range(-(-n // size)):
            record = subject.pseudomarginal(x, np.zeros(size), seed_from(rng))
            y, log_q = subject.sample(size, seed_from(rng))
            ours = features_of(trial, record["x_proposed"], subject.log_prob(record["x_proposed"]))
            before = features_of(trial, x, subject.log_prob(x))
            yield from compared(subject, ours, features_of(trial, y, log_q))
            for name in ("log q",):
                a, b = ours[name], before[name]
                yield f"{name} of proposal and start", (a[::2] - a[1::2]) * (b[::2] - b[1::2])

    n = 4 * (PRODUCTS * trial.effort.driver_chains // 4)
    return judged("proposed links against samples: p-value", differences, n, trial, "larger ones")


# --- equilibrium --------------------------------------------------------------------------------------------------------------
def stationary(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Chains that start from exact links and an estimate of equilibrium stay there: links and estimate change either way alike.

    A path and its reverse have one law, so that ``tanh`` of observables and of ``log_w`` after three updates less that before
    has mean zero. An estimate that is drawn anew for the links that stay, of any mean, pulls the chain away from links where it
    scatters.

    If it fails: with pseudomarginal.kept and pseudomarginal.decision passing, look at the estimate itself; a chain that
    is only slow does not fail.
    """
    theory = subject.theory
    if not getattr(theory, "observables", ()):
        raise Unsampled("the theory has no observables here")
    n, size = max(256, trial.effort.chains // SHARE), batch_size(theory.volume)
    columns, moved = [], []
    for start in range(0, n, size):
        x = equilibrium(subject, rng, min(size, n - start))
        log_w = first = subject.pseudomarginal_start(x, seed_from(rng))
        y = x
        for _ in range(LATER):
            record = subject.pseudomarginal(y, log_w, seed_from(rng))
            y, log_w = record["x_next"], record["log_w_next"]
            moved.append(record["accept"].mean())
        soft = [np.tanh((o.values(f) - o.mean) / o.std) for f in (x, y) for o in theory.observables]
        half = len(soft) // 2
        columns.append(
            np.stack(
                [*((b - a) / 2 for a, b in zip(soft[:half], soft[half:], strict=True)), np.tanh(log_w - first)], axis=1
            )
        )
    values = np.concatenate(columns)
    wealth = mean_zero_wealth(values, trial.alpha)
    labels = [*(o.name for o in theory.observables), "log w"]
    seen = [detectable_mean(column, trial.alpha / values.shape[1]) for column in values.T]
    off = values.mean(axis=0) / np.maximum(values.std(axis=0) / np.sqrt(n), 1e-300)
    most = int(np.argmax(np.abs(off)))
    first_of = theory.observables[0]
    told = (
        f"{first_of.name} off by {2 * seen[0] * first_of.std / 0.6:.1e}, log w by {seen[-1]:.1e} "
        f"(acceptance {np.mean(moved):.2g})"
    )
    detail = f"{labels[most]} is off by {off[most]:.2g} of its errors; acceptance {np.mean(moved):.3g}"
    return e_verdict("paths there and back, <Y> = 0", wealth, n, trial, told, detail)
