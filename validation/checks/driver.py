"""Whole runs: many updates in a row, random streams, and the bookkeeping around them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from .. import exhibits
from ..contract import Subject, TargetFault
from ..conversion import Declined, Raised
from ..evidence import MOVED, Trial, batch_size, drivers, equilibrium, momenta, noise, sampler, seed_from, updates
from ..measure_matrices import distance_from_group
from ..sequential import detectable_mean, detectable_sign_excess, mean_zero_wealth, sequential_p_values
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .exact_start import NOT_REVERSIBLE, biases_seen, charge_verdict, e_verdict, shift_of, shown_too, soft
from .maps import Inconclusive

Array = NDArray[np.float64]

FAMILIES = 8
# No field of 640 moves while 32 of 640 other updates are accepted: probability below 1e-10 for any one acceptance.
CLEARLY_ACCEPTED = 32
KEPT = 1e-12  # a phase that changed by less was only rounded
OFF_GROUP = 1e-10  # rounding of some hundred products of matrices, with room; single precision is far beyond
DISCRETE = "declares discrete moves, which repeat by right"
# Where seeds are cut: at 16, 31 and 32 bits, in the upper half, and at the largest, below 2^63.
SEED_BITS = (16, 31, 32, 48, 62)
FEW_CHAINS = (8, 64, 512)  # of which one is to move: at an acceptance of 0.02 it does with probability 0.99997
SAME = 1e-9  # two ways to make one update differ by rounding, and by far more where random numbers do
CONTROLS = 8  # independent exact configurations that each chain is compared with


def _runs(subject: Subject, trial: Trial) -> tuple[Array, NDArray[np.int64]]:
    """Observables ``(steps, chains, observable)`` of runs from exact starts, and the charges ``(2, chains)`` before and after."""
    return trial.evidence.shared("runs", lambda rng: _drawn_runs(subject, rng, trial))


def _drawn_runs(subject: Subject, rng: np.random.Generator, trial: Trial) -> tuple[Array, NDArray[np.int64]]:
    theory = subject.theory
    values, charges = [], []
    for start in range(0, trial.effort.driver_chains, batch_size(theory.volume)):
        x = equilibrium(subject, rng, min(batch_size(theory.volume), trial.effort.driver_chains - start))
        run = updates(subject, rng, x, trial.effort.driver_steps, drivers(subject)[0])
        values.append(np.array([np.stack([o.values(y) for o in theory.observables], axis=1) for y in run]))
        charges.append([theory.charge(x), theory.charge(run[-1])])
    return np.concatenate(values, axis=1), np.concatenate(charges, axis=1)


def observables(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The observables of the theory over a run from equilibrium, one value per chain, against independent exact samples.

    Each is bounded by a tanh about its exact mean; their wealths average.

    If it fails: if the exact_start checks pass, an error that builds up over many updates, or outputs that are
    selected; else mend those first.
    """
    values, _ = _runs(subject, trial)
    steps, n, k = values.shape
    control = equilibrium(subject, rng, CONTROLS * n)
    columns, biases, details = [], [], []
    for observable, series in zip(subject.theory.observables, np.moveaxis(values, 2, 0), strict=True):
        centre, scale = observable.mean, observable.std
        along = soft(series, centre, scale)
        apart = soft(observable.values(control), centre, scale).reshape(CONTROLS, -1)
        y = (along.mean(axis=0) - apart.mean(axis=0)) / 2
        columns.append(y)
        biases.append(shift_of(detectable_mean(y, trial.alpha / k), along, scale))
        per_chain = series.mean(axis=0)
        error = per_chain.std() / np.sqrt(n)
        details.append(f"{observable.name} = {series.mean():.6f} +- {error:.1e}, {observable.told}")
    label = subject.theory.label if k == 1 else f"{k} observables"
    verdict = e_verdict(
        f"{label} over {steps} updates", mean_zero_wealth(np.stack(columns, axis=1), trial.alpha), n, trial,
        biases_seen(subject, biases), "; ".join(details),
    )  # fmt: skip
    first = subject.theory.observables[0]
    return shown_too(verdict, exhibits.course(values[:, :, 0], first.mean if first.known else None, first.name))


def plaquette(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean plaquette over a run from equilibrium, one value per chain, against independent exact configurations.

    If it fails: if exact_start.plaquette passes, look at how the run records: dropped rejections and reused states show
    here first.
    """
    return observables(subject, rng, trial)


def charge_distribution(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The integer charge (winding number) at the end of a run from equilibrium follows the exact p(Q).

    If it fails: as exact_start.charge_distribution, after a longer run; a chain that hardly tunnels keeps its exact
    start and passes.
    """
    return charge_verdict(subject, trial, _runs(subject, trial)[1], f"{trial.effort.driver_steps} updates")


def _one_update(subject: Subject, x: Array, seed: int, driver: str) -> Array:
    return _after(subject, x, 1, seed, driver)


def _after(subject: Subject, x: Array, n: int, seed: int, driver: str) -> Array:
    """The field after n updates by `run`, or after one by `step`."""
    if driver == "step":
        return subject.step(x, seed)
    return _run(subject, x, n, seed)[-1]


def _run(subject: Subject, x: Array, n: int, seed: int) -> Array:
    configurations, _ = subject.run(x, n, seed)
    if len(configurations) != n:
        raise TargetFault(f"run: got {len(configurations)} configurations, expected {n}")
    return configurations


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Ten updates of 64 chains, or of fewer by thrift, change every component and their sum (of links: also every Polyakov loop).

    A kernel that stands still, or keeps a part of the field for ever, leaves any density invariant. Where too few updates were
    accepted to say so, see `_moves_needed`, up to a hundred are made, and then it is inconclusive; nothing at all that moved
    counts only where `transcript` or `transition` says that updates are accepted.

    If it fails: a mask that leaves something out, a total that is conserved (no Polyakov loop moves), or a step so
    large that nothing is accepted.
    """
    x = sampler(subject, rng, _spared(subject, 64, 16))
    detail, few, still, n, made = "", "", 0, 0, 0
    for name in drivers(subject):
        last, moves, components = x, 0, 0
        for _ in range(10):
            path = np.concatenate([last[None], updates(subject, rng, last, 10, name)])
            changed = np.abs(subject.theory.displacement(path[1:], path[:-1])) > MOVED
            last, made = path[-1], made + 10 * len(x)
            moves += int(changed.reshape(-1, subject.theory.size).any(axis=1).sum())
            components += int(changed.sum())
            parts = {mode: subject.theory.moved(v) <= KEPT for mode, v in subject.theory.modes(last, x).items()}
            kept = sum(int(part.sum()) for part in parts.values())
            needed = _moves_needed(subject.theory.size, moves, components)
            if not kept or moves >= needed:
                break
        n += sum(part.size for part in parts.values())
        if kept and (moves >= needed or (not moves and _accepted(subject, rng) >= CLEARLY_ACCEPTED)):
            still += kept
            where = ", ".join(
                f"{int(part.sum())} of {part.size} ({mode})" for mode, part in parts.items() if part.any()
            )
            detail = f"{where} never change by {name}"
        elif kept:
            few = f"by {name} {moves} updates moved the field, expected at least {needed:g}"
    if few and not still:
        return skipped(f"too few updates were accepted to say: {few}")
    return within("quantities that never change", float(still), 0.0, f"one of {n}", made, detail)


def stays_in_group(subject: Subject, rng: np.random.Generator) -> Verdict:
    """After twenty updates the links are in the group, ``U^dag U = 1`` and ``det U = 1``; after five or more by thrift.

    A drift by ``U + i eps v U`` instead of the exponential leaves it at once, and sums that measure components do not see it.

    If it fails: use the exponential of the algebra and project now and then; then compare the distance from the group
    before and after one update.
    """
    x = sampler(subject, rng, 16)
    largest, detail = 0.0, ""
    for name in drivers(subject):
        error = distance_from_group(updates(subject, rng, x, _spared(subject, 20, 5), name)[-1])
        if not error <= largest:
            largest, detail = error, f"{name}: a link is off the group by {error:.3g}"
    return within("max |U^dag U - 1|, |det U - 1|", largest, OFF_GROUP, f"an error of {OFF_GROUP:.0e}", 16, detail)


def _moves_needed(n: int, moves: int, components: int) -> float:
    """How many moves of a field it takes before one of its n components left alone is a fault.

    A sampler that picks its components at random, a fraction f in a move, leaves any of n alone in m moves with probability
    at most ``n (1 - f)^m``; asked to be 1e-9. f is what the moves changed, ``components`` in all; one that changes all needs
    to be seen once.
    """
    fraction = components / max(1, moves * n)
    if fraction in (0.0, 1.0):
        return 1.0
    return float(np.ceil(np.log(n / 1e-9) / -np.log1p(-fraction)))


def _accepted(subject: Subject, rng: np.random.Generator) -> int:
    """Updates of 640 that the target says it accepted; 0 where it does not say."""
    x = sampler(subject, rng, 640)
    if subject.has("transcript"):
        return int(np.sum(subject.transcript(x, seed_from(rng))["accept"] != 0))
    if subject.has("transition"):
        return int(np.sum(subject.transition(x, *noise(subject, rng, x))["accept"] != 0))
    return 0


def _recurring(subject: Subject, x: Array, batches: list[Array]) -> tuple[int, int]:
    """Fields other than ``x`` that occur more than once, and how many of the values are such repeats."""
    moved = [y for batch in batches for y in batch if np.abs(subject.theory.displacement(y, x)).max() > MOVED]
    repeats = [count for count in Counter(y.tobytes() for y in moved).values() if count > 1]
    return len(repeats), sum(repeats)


def streams(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Chains that start from one configuration part ways: no two share a random stream, within a call or between calls.

    256 chains, or as many as thrift leaves but at least 64, by three neighbouring seeds. They may meet in the field they started
    from, by rejecting; any other field that comes back is a stream used twice (as in ``seed + chain``). A cycle (``reversible =
    False``) may reach a few fields by right, from any seed: see `_shared`. Nor is the second update of a run the first one of
    another, by the same seed or by the next (as in ``seed + update``).

    If it fails: spawn streams (`numpy.random.SeedSequence.spawn`), do not add numbers to seeds: equal streams make
    errors look smaller than they are.
    """
    if subject.discrete:
        return skipped(DISCRETE)
    x = np.repeat(sampler(subject, rng, 1), _spared(subject, 256, 64) if subject.reversible else 256, axis=0)
    n = 3 * len(x)
    seed, worst, detail = seed_from(rng), 0, ""
    for driver in drivers(subject):
        if subject.reversible:
            fields, repeats = _recurring(subject, x[0], [_one_update(subject, x, seed + k, driver) for k in range(3)])
            told = f"{repeats} of {n} chains from one start ended in {fields} fields that occur again"
            if driver == "run" and not fields:
                fields, told = _handed_on(subject, x, seed)
        else:
            fields = _shared(subject, rng, x, driver)
            told = f"{fields} pairs of 768 chains end in one field again and again, each time in another"
        if fields > worst:
            worst, detail = fields, f"{driver}: {told}"
    often = "" if subject.reversible else " at an acceptance of 0.8"
    quantity = "fields that occur again" if subject.reversible else "pairs that share a stream"
    return within(quantity, float(worst), 0.0, f"one shared stream in {n}{often}", n, detail)


def _handed_on(subject: Subject, x: Array, seed: int) -> tuple[int, str]:
    """Chains of a run whose second update is the first of a run from where they are, and by which seed."""
    path = _run(subject, x, 2, seed)
    moved = np.abs(subject.theory.displacement(path[1], path[0])).reshape(len(x), -1).max(axis=1) > SAME
    for k, which in enumerate(("the same seed", "the next seed")):
        first = _run(subject, path[0], 1, seed + k)[0]
        off = np.abs(subject.theory.displacement(first, path[1])).reshape(len(x), -1).max(axis=1)
        if again := int(np.sum(moved & (off <= SAME))):
            return again, f"the second update of {again} of {len(x)} chains is the first one of a run by {which}"
    return 0, ""


def _shared(subject: Subject, rng: np.random.Generator, x: Array, driver: str) -> int:
    """Pairs of chains that agree in at least three of eight families of three seeds, in fields no other family has.

    A rejected field that a discrete move carries on comes back in any family, and in any chains; what two chains with one
    stream agree in is their own. Among exchangeable chains K fields that occur twice each are alone in a family with
    probability 1/8 each, and hit one pair three times with ``(K/8)^3 / 6 / (768 767/2)^2``: 1e-9 at K = 64. A shared pair is
    found in three of eight with probability 0.999 where 0.8 of the updates are accepted.
    """
    seen: list[dict[bytes, list[int]]] = []
    for _ in range(FAMILIES):
        seed = seed_from(rng)
        found: dict[bytes, list[int]] = {}
        results = np.concatenate([_one_update(subject, x, seed + k, driver) for k in range(3)])
        away = np.abs(subject.theory.displacement(results, x[:1])).reshape(len(results), -1).max(axis=1) > MOVED
        for chain in np.flatnonzero(away):
            found.setdefault(results[chain].tobytes(), []).append(int(chain))
        seen.append(found)
    families = Counter(field for found in seen for field in found)
    own = [[chains for field, chains in found.items() if families[field] == 1 and len(chains) > 1] for found in seen]
    pairs = Counter(pair for groups in own for chains in groups for pair in combinations(chains, 2))
    return sum(count >= 3 for count in pairs.values())


def seeds(subject: Subject, rng: np.random.Generator) -> Verdict:
    """One seed gives one result, bit for bit; 64 seeds give 64, or as many as `_number_of_seeds` says.

    Seeds are numbers from 0 to 2^63 - 1: also two that differ in one bit alone, of 16, 31, 32, 48 and 62, give two results. To
    refuse a seed beyond 31 bits by an error is no fault; to drop its upper half is, and so are a crash and a hang.

    If it fails: a global generator, the clock or the order of threads is part of the result: pass the generator along. Where
    bits of the seed are dropped, fold them in before: PyTorch takes 32 of them, for which ``seed % (2**32 - 5)`` will do.
    """
    x = np.repeat(sampler(subject, rng, 1), 2 if subject.reversible else 64, axis=0)
    n, faults, unsaid = _number_of_seeds(subject), [], ""
    for driver in drivers(subject):
        seed = seed_from(rng)
        first, again = _one_update(subject, x, seed, driver), _one_update(subject, x, seed, driver)
        if not np.array_equal(first, again):
            faults.append(f"{driver}: the same seed gave two results")
        if not subject.discrete:
            batches = [_one_update(subject, x, seed_from(rng), driver) for _ in range(n)]
            if subject.reversible:
                fields, repeats = _recurring(subject, x[0], [batch[:1] for batch in batches])
            else:
                fields, repeats = _alike(subject, x[0], batches)
            if fields:
                faults.append(f"{driver}: {repeats} of {n} seeds gave one of {fields} results that occur again")
            try:
                dropped = _dropped_bits(subject, x, seed, driver)
            except Inconclusive as reason:
                dropped, unsaid = [], str(reason)
            if dropped:
                faults.append(
                    f"{driver}: seeds that differ in bit {', '.join(map(str, dropped))} alone gave one result"
                )
    if unsaid and not faults:
        return skipped(unsaid)
    return within(
        "faults",
        float(len(faults)),
        0.0,
        f"two results of a seed, or two seeds alike in {n}, or a bit that is dropped",
        n + 2,
        "; ".join(faults),
    )


def _dropped_bits(subject: Subject, x: Array, seed: int, driver: str) -> list[int]:
    """Bits of the seed on which the result does not depend; a chain that was rejected twice says nothing.

    Raises `Inconclusive` where no chain moves.
    """
    dropped, (x, first) = [], _accepted_once(subject, x, seed, driver)
    for bit in SEED_BITS:
        try:
            other = _one_update(subject, x, seed ^ (1 << bit), driver)
        except (Raised, Declined):
            if bit < 31:
                raise
            continue  # which nobody overlooks, as they would a crash
        if subject.reversible:
            moved = np.abs(subject.theory.displacement(first, x)).reshape(len(x), -1).max(axis=1) > MOVED
            alike = bool(np.any(moved & (first == other).reshape(len(x), -1).all(axis=1)))
        else:
            alike = _alike(subject, x[0], [first, other])[0] > 0
        if alike:
            dropped.append(bit)
    return dropped


def _accepted_once(subject: Subject, x: Array, seed: int, driver: str) -> tuple[Array, Array]:
    """Chains in one field, as many as it takes for one of them to move, and the fields they move to."""
    if not subject.reversible:
        return x, _one_update(subject, x, seed, driver)
    for n in FEW_CHAINS:
        start = np.repeat(x[:1], n, axis=0)
        end = _one_update(subject, start, seed, driver)
        if np.abs(subject.theory.displacement(end, start)).max() > MOVED:
            return start, end
    raise Inconclusive(f"{driver} moved none of {n} chains, so that one seed cannot be told from another")


def _number_of_seeds(subject: Subject) -> int:
    """64, of which the target's own thrift leaves at least 16: seeds that are truncated, or not used, show in those too."""
    return _spared(subject, 64, 16) if subject.reversible else 64


def _spared(subject: Subject, n: int, least: int) -> int:
    """n divided by the target's own thrift, but not less than ``least``."""
    return max(least, n * subject.theory.thrift // subject.thrift)


def _alike(subject: Subject, x: Array, batches: list[Array]) -> tuple[int, int]:
    """Results of all 64 chains, from one start, that occur again; only those with six fields of one chain alone.

    Fields that a cycle reaches by right may agree, but which chains reach them is exchangeable: six that occur once each
    are at the same six chains for two of 64 seeds by chance with probability 2016/(64 63 62 61 60 59), 4e-8.
    """

    def lonely(batch: Array) -> int:
        away = batch[np.abs(subject.theory.displacement(batch, x)).reshape(len(batch), -1).max(axis=1) > MOVED]
        return sum(count == 1 for count in Counter(y.tobytes() for y in away).values())

    counts = Counter(batch.tobytes() for batch in batches if lonely(batch) >= 6)
    repeats = [count for count in counts.values() if count > 1]
    return len(repeats), sum(repeats)


def independent_chains(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The moves of neighbouring chains are uncorrelated: signs of ``sum sin(dx_i) sin(dx_j)`` (angles) are balanced.

    A reversible chain in equilibrium moves up and down alike, so the product of two independent moves is symmetric.

    If it fails: chains share momenta or uniform numbers: averages are right, their errors are not. See driver.streams.
    """
    if not subject.reversible:
        return skipped(NOT_REVERSIBLE)

    def p_values(n: int) -> tuple[float, int]:
        products: list[Array] = []
        while sum(map(len, products)) < n:
            x = equilibrium(subject, rng, 2 * min(batch_size(subject.theory.volume), n))
            move = subject.theory.displacement(_one_update(subject, x, seed_from(rng), drivers(subject)[0]), x)
            move[np.abs(move) <= MOVED] = 0.0
            products.append((move[::2] * move[1::2]).reshape(len(x) // 2, -1).sum(axis=1))
        return sign_test(np.concatenate(products)), 1

    n = trial.effort.driver_chains
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    return Verdict(
        FAIL if result.alarm else PASS,
        "correlation of neighbouring chains: p-value",
        result.p_value,
        result.bound,
        f"an excess of {detectable_sign_excess(n, trial.alpha):.1e} of equal signs",
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
        exhibits=exhibits.rounds(result),
    )


def others(subject: Subject, rng: np.random.Generator) -> Verdict:
    """With one seed, a small push of every second chain leaves the other chains' updates alone.

    Batch norm in training mode, or a step size tuned on the batch, carries a small part of the push over. A target may draw its
    noise in an amount that depends on the fields, from one stream for all chains; then the updates differ as a whole, which is
    not held against it: counted are chains that differ by more than 1e-6 but by less than a tenth of their own move, and they
    must be half of those that moved. By chance, at most some ten per cent of the chains of one component are that close.

    If it fails: find what is averaged or tuned over the batch while sampling, and freeze it.
    """
    x = sampler(subject, rng, 64)
    pushed, theory = x.copy(), subject.theory
    # The scale of a field: the typical distance of two.
    distances = x[1::2] - x[::2] if not np.iscomplexobj(x) else theory.difference(x[1::2], x[::2])
    scale = float(np.median(np.abs(distances)))
    pushed[1::2] = theory.pushed(x[1::2], 0.03 * scale * momenta(subject, rng, 32))
    detail, worst = "", 0
    for driver in drivers(subject):
        seed = seed_from(rng)
        n = 3 if driver == "run" else 1
        first, again = (_after(subject, y, n, seed, driver)[::2] for y in (x, pushed))
        apart, move = (
            np.abs(subject.theory.displacement(first, y)).reshape(32, -1).max(axis=1) for y in (again, x[::2])
        )
        moved = move > 1e-4
        close = int(np.sum(moved & (apart > 1e-6) & (apart < 0.1 * move)))
        if close > worst and close >= max(12, moved.sum() / 2):
            worst = close
            detail = f"{driver}: {close} of 32 chains change, by {np.median(apart[moved]):.1e}, when others are pushed"
    return within("chains that follow others", float(worst), 0.0, "a change of 1e-6 of half of the chains", 64, detail)


def outputs(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A run of n updates gives n configurations: rejected updates repeat the old one and are not dropped.

    If it fails: append after every update, accepted or not. Dropping rejections weighs improbable fields too much.
    """
    x = sampler(subject, rng, 4)
    counts = {n: len(subject.run(x, n, seed_from(rng))[0]) for n in (1, 7, 20)}
    wrong = {n: got for n, got in counts.items() if n != got}
    detail = "; ".join(f"asked for {n}, got {got}" for n, got in wrong.items())
    return within("runs of a wrong length", float(len(wrong)), 0.0, "one configuration", 3, detail)


def resume(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A run interrupted twice and resumed is, bit for bit, the run that was not.

    If it fails: store the state of the generator, and what the kernel carries along (force, step size, estimate), with
    the field.
    """
    x, seed = sampler(subject, rng, 8), seed_from(rng)
    whole, _ = subject.run(x, 9, seed)
    first, state = subject.run(x, 4, seed)
    second, state = subject.resume(state, 2, x)
    third, _ = subject.resume(state, 3, x)
    parts = np.concatenate([first, second, third])
    if parts.shape != whole.shape:
        missing = f"got {len(parts)} configurations in three parts, {len(whole)} in one"
        return within("missing configurations", float(abs(len(whole) - len(parts))), 0.0, "one", 9, missing)
    differing = np.flatnonzero(np.any(parts != whole, axis=tuple(range(1, whole.ndim))))
    first_one = int(differing[0]) + 1 if differing.size else 0
    detail = f"the first differing update is number {first_one} of 9, resumed after 4 and 6"
    return within("updates that differ", float(differing.size), 0.0, "one bit", 9, detail)
