"""Whole runs: many updates in a row, random streams, and the bookkeeping around them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from ..contract import Subject, TargetFault
from ..evidence import MOVED, Trial, batch_size, drivers, sampler, seed_from, updates
from ..sequential import detectable_mean, detectable_sign_excess, mean_zero_wealth, sequential_p_values
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .exact_start import NOT_REVERSIBLE, biases_seen, charge_verdict, e_verdict, shift_of, soft

Array = NDArray[np.float64]

KEPT = 1e-12  # a phase that changed by less was only rounded
DISCRETE = "declares discrete moves, which repeat by right"
CONTROLS = 8  # independent exact configurations that each chain is compared with


def _runs(subject: Subject, rng: np.random.Generator, trial: Trial) -> tuple[Array, NDArray[np.int64]]:
    """Observables ``(steps, chains, observable)`` of runs from exact starts, and the final charges."""
    theory = subject.theory
    values, charges = [], []
    for start in range(0, trial.effort.driver_chains, batch_size(theory.volume)):
        x = sampler(subject, rng, min(batch_size(theory.volume), trial.effort.driver_chains - start))
        run = updates(subject, rng, x, trial.effort.driver_steps, drivers(subject)[0])
        values.append(np.array([np.stack([o.values(y) for o in theory.observables], axis=1) for y in run]))
        charges.append(theory.charge(run[-1]))
    return np.concatenate(values, axis=1), np.concatenate(charges)


def observables(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The observables of the theory over a run from equilibrium, one value per chain, against independent exact samples.

    Each is bounded by a tanh about its exact mean; their wealths average.
    """
    values, _ = _runs(subject, rng, trial)
    steps, n, k = values.shape
    control = sampler(subject, rng, CONTROLS * n)
    columns, biases, details = [], [], []
    for observable, series in zip(subject.theory.observables, np.moveaxis(values, 2, 0), strict=True):
        name, function, exact, scale = observable
        along = soft(series, exact, scale)
        apart = soft(function(control), exact, scale).reshape(CONTROLS, -1)
        y = (along.mean(axis=0) - apart.mean(axis=0)) / 2
        columns.append(y)
        biases.append(shift_of(detectable_mean(y, trial.alpha / k), along, scale))
        per_chain = series.mean(axis=0)
        details.append(f"{name} = {series.mean():.6f} +- {per_chain.std() / np.sqrt(n):.1e}, exact {exact:.6f}")
    label = subject.theory.label if k == 1 else f"{k} observables"
    return e_verdict(
        f"{label} over {steps} updates", mean_zero_wealth(np.stack(columns, axis=1), trial.alpha), n, trial,
        biases_seen(subject, biases), "; ".join(details),
    )  # fmt: skip


def plaquette(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean plaquette over a run from equilibrium, one value per chain, against independent exact configurations."""
    return observables(subject, rng, trial)


def charge_distribution(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The integer charge (winding number) at the end of a run from equilibrium follows the exact p(Q)."""
    return charge_verdict(subject, trial, _runs(subject, rng, trial)[1], f"{trial.effort.driver_steps} updates")


def _one_update(subject: Subject, x: Array, seed: int, driver: str) -> Array:
    if driver == "step":
        return subject.step(x, seed)
    configurations, _ = subject.run(x, 1, seed)
    if len(configurations) != 1:
        raise TargetFault(f"run: got {len(configurations)} configurations, expected 1")
    return configurations[0]


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Ten updates of 64 chains change every component and their sum (of links: also every Polyakov loop).

    A kernel that stands still, or keeps a part of the field for ever, leaves any density invariant. An acceptance far below
    one per cent fails here too: nothing could be learnt from such a kernel.
    """
    x = sampler(subject, rng, 64)
    detail, still, n = "", 0, 0
    for name in drivers(subject):
        change = updates(subject, rng, x, 10, name)[-1] - x
        for part, value in subject.theory.modes(change).items():
            moved = subject.theory.moved(value)
            n += moved.size
            if np.any(moved <= KEPT):
                still += int(np.sum(moved <= KEPT))
                detail = f"{int(np.sum(moved <= KEPT))} of {moved.size} ({part}) never change by {name}"
    return within("quantities that never change", float(still), 0.0, f"one of {n}", 640, detail)


def _recurring(subject: Subject, x: Array, batches: list[Array]) -> tuple[int, int, int]:
    """Fields other than ``x`` that occur more than once, how many values are such repeats, and how many values moved."""
    moved = [y for batch in batches for y in batch if np.abs(subject.theory.displacement(y, x)).max() > MOVED]
    repeats = [count for count in Counter(y.tobytes() for y in moved).values() if count > 1]
    return len(repeats), sum(repeats), len(moved)


def _shared(subject: Subject, x: Array, batches: list[Array]) -> str:
    """What in these updates from one field ``x`` shows a stream used twice, in words; empty where nothing does.

    A reversible continuous update comes back to ``x`` only. In a cycle a discrete move may carry the field of a rejected
    proposal to as many others as it has outcomes (taken to be at most the entries of a field): there it counts only if all
    chains of a call end in one field, or nearly all fields come back and are more than that.
    """
    fields, repeats, moved = _recurring(subject, x, batches)
    told = f"{repeats} of {sum(map(len, batches))} chains from one start ended in {fields} fields that occur again"
    if subject.reversible:
        return told if fields else ""
    alike = any(len(batch) > 3 and _recurring(subject, x, [batch])[1:] == (len(batch),) * 2 for batch in batches)
    single = alike and any(len({y.tobytes() for y in batch}) == 1 for batch in batches if len(batch) > 3)
    return told if single or (repeats > 0.95 * moved and fields > subject.theory.size) else ""


def streams(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Chains that start from one configuration part ways: no two share a random stream, within a call or between calls.

    256 chains by three neighbouring seeds. They may meet in the field they started from, by rejecting; any other field that
    comes back is a stream used twice (as in ``seed + chain``). Cycles with discrete moves meet by right, and are only judged
    where nearly all chains do.
    """
    if subject.discrete:
        return skipped(DISCRETE)
    x = np.repeat(sampler(subject, rng, 1), 256, axis=0)
    seed, faults = seed_from(rng), []
    for driver in drivers(subject):
        told = _shared(subject, x[0], [_one_update(subject, x, seed + k, driver) for k in range(3)])
        if told:
            faults.append(f"{driver}: {told}")
    seen = "one shared stream in 768" if subject.reversible else "streams shared by nearly all of 768 chains"
    return within("drivers with shared streams", float(len(faults)), 0.0, seen, 768, "; ".join(faults))


def seeds(subject: Subject, rng: np.random.Generator) -> Verdict:
    """One seed gives one result, bit for bit; 64 seeds give 64 (of a cycle with discrete moves: more than one)."""
    x = np.repeat(sampler(subject, rng, 1), 2, axis=0)
    faults = []
    for driver in drivers(subject):
        seed = seed_from(rng)
        first, again = _one_update(subject, x, seed, driver), _one_update(subject, x, seed, driver)
        if not np.array_equal(first, again):
            faults.append(f"{driver}: the same seed gave two results")
        if not subject.discrete:
            told = _shared(
                subject,
                x[0],
                [np.concatenate([_one_update(subject, x, seed_from(rng), driver)[:1] for _ in range(64)])],
            )
            if told:
                faults.append(f"{driver}: {told}, by 64 seeds")
    return within(
        "faults", float(len(faults)), 0.0, "two results of a seed, or two seeds alike in 64", 66, "; ".join(faults)
    )


def independent_chains(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The moves of neighbouring chains are uncorrelated: signs of ``sum sin(dx_i) sin(dx_j)`` (angles) are balanced.

    A reversible chain in equilibrium moves up and down alike, so the product of two independent moves is symmetric.
    """
    if not subject.reversible:
        return skipped(NOT_REVERSIBLE)

    def p_values(n: int) -> tuple[float, int]:
        products: list[Array] = []
        while sum(map(len, products)) < n:
            x = sampler(subject, rng, 2 * min(batch_size(subject.theory.volume), n))
            move = subject.theory.displacement(_one_update(subject, x, seed_from(rng), drivers(subject)[0]), x)
            move[np.abs(move) <= MOVED] = 0.0
            products.append((move[::2] * move[1::2]).reshape(len(x) // 2, -1).sum(axis=1))
        return sign_test(np.concatenate(products)), 1

    n = trial.effort.driver_chains
    result = sequential_p_values(p_values, trial.alpha, n)
    return Verdict(
        FAIL if result.alarm else PASS,
        "correlation of neighbouring chains: p-value",
        result.p_value,
        result.bound,
        f"an excess of {detectable_sign_excess(n, trial.alpha):.1e} of equal signs",
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
    )


def outputs(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A run of n updates gives n configurations: rejected updates repeat the old one and are not dropped."""
    x = sampler(subject, rng, 4)
    counts = {n: len(subject.run(x, n, seed_from(rng))[0]) for n in (1, 7, 20)}
    wrong = {n: got for n, got in counts.items() if n != got}
    detail = "; ".join(f"asked for {n}, got {got}" for n, got in wrong.items())
    return within("runs of a wrong length", float(len(wrong)), 0.0, "one configuration", 3, detail)


def resume(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A run interrupted twice and resumed is, bit for bit, the run that was not."""
    x, seed = sampler(subject, rng, 8), seed_from(rng)
    whole, _ = subject.run(x, 9, seed)
    first, state = subject.run(x, 4, seed)
    second, state = subject.resume(state, 2, x.shape)
    third, _ = subject.resume(state, 3, x.shape)
    parts = np.concatenate([first, second, third])
    if parts.shape != whole.shape:
        missing = f"got {len(parts)} configurations in three parts, {len(whole)} in one"
        return within("missing configurations", float(abs(len(whole) - len(parts))), 0.0, "one", 9, missing)
    differing = np.flatnonzero(np.any(parts != whole, axis=tuple(range(1, whole.ndim))))
    first_one = int(differing[0]) + 1 if differing.size else 0
    detail = f"the first differing update is number {first_one} of 9, resumed after 4 and 6"
    return within("updates that differ", float(differing.size), 0.0, "one bit", 9, detail)
