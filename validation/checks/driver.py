"""Whole runs: many updates in a row, random streams, and the bookkeeping around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import u1
from refimpl.statistics import sign_test

from .. import measure
from ..contract import Subject
from ..evidence import MOVED, Trial, batch_size, drivers, sampler, seed_from, updates
from ..sequential import detectable_mean, detectable_sign_excess, mean_zero_wealth, sequential_p_values
from ..verdict import FAIL, PASS, Verdict, within
from .exact_start import charge_verdict, e_verdict, shift_of, soft

Array = NDArray[np.float64]

CONTROLS = 8  # independent exact configurations that each chain is compared with


def _runs(subject: Subject, rng: np.random.Generator, trial: Trial) -> tuple[Array, NDArray[np.int64]]:
    """Mean plaquettes ``(steps, chains)`` of runs from exact starts, and the final charges."""
    plaquettes, charges = [], []
    for start in range(0, trial.effort.driver_chains, batch_size(subject.volume)):
        x = sampler(subject, rng, min(batch_size(subject.volume), trial.effort.driver_chains - start))
        run = updates(subject, rng, x, trial.effort.driver_steps, drivers(subject)[0])
        plaquettes.append(np.array([measure.mean_plaquette(y) for y in run]))
        charges.append(measure.charge(run[-1]))
    return np.concatenate(plaquettes, axis=1), np.concatenate(charges)


def plaquette(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean plaquette over a run from equilibrium, one value per chain, against independent exact configurations."""
    p, _ = _runs(subject, rng, trial)
    exact = u1.plaquette(subject.beta, subject.shape)
    scale = float(np.sqrt(u1.plaquette_variance(subject.beta, subject.shape)))
    control = measure.mean_plaquette(sampler(subject, rng, CONTROLS * p.shape[1])).reshape(CONTROLS, -1)
    along = soft(p, exact, scale)
    y = (along.mean(axis=0) - soft(control, exact, scale).mean(axis=0)) / 2
    bias = shift_of(detectable_mean(y, trial.alpha), along, scale)
    per_chain = p.mean(axis=0)
    detail = f"<cos P> = {p.mean():.6f} +- {per_chain.std() / np.sqrt(len(per_chain)):.1e}, exact {exact:.6f}"
    return e_verdict(
        f"<cos P> over {len(p)} updates", mean_zero_wealth(y, trial.alpha), len(y), trial,
        f"bias of <cos P> {bias:.1e}", detail,
    )  # fmt: skip


def charge_distribution(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The integer charge at the end of a run from equilibrium follows the exact p(Q)."""
    return charge_verdict(subject, trial, _runs(subject, rng, trial)[1], f"{trial.effort.driver_steps} updates")


def _one_update(subject: Subject, x: Array, seed: int) -> Array:
    return subject.step(x, seed) if subject.has("step") else subject.run(x, 1, seed)[0][-1]


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Ten updates of 64 chains change every link: a kernel that stands still leaves any density invariant."""
    x = sampler(subject, rng, 64)
    moved = np.zeros(x.shape[1:])
    for name in drivers(subject):
        end = updates(subject, rng, x, 10, name)
        moved = np.abs(np.sin(end - x)).max(axis=(0, 1))
        still = int(np.sum(moved <= MOVED))
        if still:
            break
    detail = f"{still} of {moved.size} links never moved by {name}, first {np.argwhere(moved <= MOVED)[:1].tolist()}"
    return within("links that never move", float(still), 0.0, "one link", 640, detail)


def streams(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Chains that start from one configuration part ways: no two share a random stream.

    Two chains may meet only by rejecting, and then in the same field whatever the seed: fields that come back with another
    seed do not count.
    """
    x = np.repeat(sampler(subject, rng, 1), 32, axis=0)
    seed = seed_from(rng)
    batches = [[field.tobytes() for field in _one_update(subject, x, seed + k)] for k in range(3)]
    rejected = {field for k, batch in enumerate(batches) for field in batch if field in batches[k - 1]}
    moved = [[field for field in batch if field not in rejected] for batch in batches]
    twins = sum(len(batch) - len(set(batch)) for batch in moved)
    return within(
        "chains equal to another after one update", float(twins), 0.0, "one shared stream in 32", 96,
        f"{twins} of {sum(map(len, moved))} chains moved exactly like another from the same start",
    )  # fmt: skip


def seeds(subject: Subject, rng: np.random.Generator) -> Verdict:
    """One seed gives one result, bit for bit; another seed another."""
    x = sampler(subject, rng, 16)
    seed = seed_from(rng)
    first, again = _one_update(subject, x, seed), _one_update(subject, x, seed)
    other = _one_update(subject, x, seed + 1)
    faults = [] if np.array_equal(first, again) else ["the same seed gave two results"]
    if np.array_equal(first, other) and not np.array_equal(first, x):
        faults.append("two seeds gave one result")
    return within(
        "faults", float(len(faults)), 0.0, "any difference, or none where there must be one", 3, "; ".join(faults)
    )


def independent_chains(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The moves of neighbouring chains are uncorrelated: signs of ``sum sin(dx_i) sin(dx_j)`` are balanced.

    Under ``x -> -x`` of one chain its move changes sign with equal probability, so the product is symmetric.
    """

    def p_values(n: int) -> tuple[float, int]:
        products: list[Array] = []
        while sum(map(len, products)) < n:
            x = sampler(subject, rng, 2 * min(batch_size(subject.volume), n))
            move = np.sin(_one_update(subject, x, seed_from(rng)) - x)
            products.append((move[::2] * move[1::2]).sum(axis=(1, 2, 3)))
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
    """A run interrupted and resumed is, bit for bit, the run that was not."""
    x, seed = sampler(subject, rng, 8), seed_from(rng)
    whole, _ = subject.run(x, 9, seed)
    first, state = subject.run(x, 4, seed)
    second, _ = subject.resume(state, 5, x.shape)
    parts = np.concatenate([first, second])
    if parts.shape != whole.shape:
        missing = f"got {len(parts)} configurations in two parts, {len(whole)} in one"
        return within("missing configurations", float(abs(len(whole) - len(parts))), 0.0, "one", 9, missing)
    differing = np.flatnonzero(np.any(parts != whole, axis=(1, 2, 3, 4)))
    detail = f"the first differing update is number {int(differing[0])} of 9, resumed after 4" if differing.size else ""
    return within("updates that differ", float(differing.size), 0.0, "one bit", 9, detail)
