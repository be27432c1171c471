"""Samples of a flow are independent, of each other and of those of other seeds, and of one law however many are asked for.

Nothing is assumed of the law: signs of differences between samples are balanced where samples are independent and alike, whatever
their density, and counts of signs have exact p-values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from .. import flow_claims as claims
from ..contract import Subject
from ..evidence import Trial, batch_size, seed_from
from ..sequential import detectable_sign_excess, sequential_p_values
from ..theories import Phi4
from ..verdict import FAIL, PASS, Verdict, skipped

Array = NDArray[np.float64]
Field = NDArray[Any]
Rows = tuple[Field, Array]

PRODUCTS = 4  # of two pairs of samples, per chain of the drivers
FEWEST = range(1, 17)  # samples of the small calls
MANY = 512  # of the large ones, at least
ROUNDING = 1e-9  # of the size of what is compared


def independent(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples i and i + 1, samples i and i + n/2, and samples i of two seeds are uncorrelated, in the field, log q and observables.

    Of two pairs (a, b) and (a', b') the product of ``a - a'`` and ``b - b'`` is as often positive as negative: to exchange b and b'
    turns its sign, and changes no law where all four are independent. Of fields the product is summed over sites and components.
    Antithetic samples, a part of the noise that is drawn once for several or that does not follow the seed, are seen: they leave
    every single sample right.

    If it fails: errors are then larger than those of independent samples: look for a seed that is reused, or noise that
    is mirrored or shared.
    """

    def products(n: int) -> Iterator[tuple[str, Array]]:
        size = 4 * max(1, min(batch_size(subject.theory.volume), 2 * n) // 4)
        for _ in range(-(-2 * n // size)):
            first, second = (features_of(trial, *subject.sample(size, seed_from(rng))) for _ in range(2))
            half = size // 2
            for features in (first, second):
                yield from products_of(
                    "i, i + 1", subject, rows_of(features, slice(0, None, 2)), rows_of(features, slice(1, None, 2))
                )
                yield from products_of(
                    "i, i + n/2", subject, rows_of(features, slice(half)), rows_of(features, slice(half, None))
                )
            yield from products_of("i of two seeds", subject, first, second)

    n = PRODUCTS * trial.effort.driver_chains
    return judged("correlation of samples: p-value", products, n, trial, "equal signs")


def calls(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples of calls of 1 to 16 are like samples of large calls.

    Paired, their differences in log q and in observables are positive as often as negative if both have one law.
    The density is judged on large calls, and sampled in calls of any size.

    If it fails: something depends on the size of the call: batch statistics, blocks that are cut, or a first sample
    that is thrown away.
    """

    def differences(n: int) -> Iterator[tuple[str, Array]]:
        for _ in range(n // sum(FEWEST)):
            few = [subject.sample(size, seed_from(rng)) for size in FEWEST]
            x, log_q = (np.concatenate(parts) for parts in zip(*few, strict=True))
            many = subject.sample(max(MANY, len(x)), seed_from(rng))
            ours, theirs = features_of(trial, x, log_q), features_of(trial, *many)
            yield from compared(subject, ours, theirs)

    n = sum(FEWEST) * max(1, trial.effort.driver_chains // sum(FEWEST))
    return judged("small calls against large: p-value", differences, n, trial, "larger ones")


def images(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Samples are like images, under `flow_forward`, of draws of the declared ``flow_prior``.

    Paired, their differences in log q and in observables are positive as often as negative if both have one law. The draws are
    the oracle's own, log q of an image is ``log r - logdet``. A prior of another width than is declared, samples by other weights
    than those of `flow_forward`, are seen without `log_prob` or an inverse.

    If it fails: `sample` does not draw what `flow_forward` maps: another prior, temperature or set of weights. One of
    the two is to be mended.
    """
    prior = claims.prior(subject)
    if prior is None or prior.name == "pure_gauge":
        return skipped("declares no flow_prior of independent sites or links")

    def differences(n: int) -> Iterator[tuple[str, Array]]:
        size = min(batch_size(subject.theory.volume), n)
        for _ in range(-(-n // size)):
            z = claims.prior_fields(subject, rng, size)
            x, logdet = subject.flow_forward(z)
            ours = features_of(trial, x, prior.log_prob(z) - logdet)
            theirs = features_of(trial, *subject.sample(size, seed_from(rng)))
            yield from compared(subject, theirs, ours)

    n = PRODUCTS * trial.effort.driver_chains
    return judged("samples against images of the prior: p-value", differences, n, trial, "larger ones")


FIELD = "the field"


def compared(subject: Subject, ours: dict[str, Array], theirs: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Differences of every number, row by row, as far as both go."""
    for name, values in ours.items():
        if name != FIELD:
            rows = min(len(values), len(theirs[name]))
            yield name, _difference(subject, name, values[:rows], theirs[name][:rows])


def features_of(trial: Trial, x: Field, log_q: Array) -> dict[str, Array]:
    theory = trial.evidence.flows.density.theory  # whose observables are known on any lattice
    first = theory.observables[0]
    named = {FIELD: x, "log q": log_q, first.name: first.values(x)}
    return {**named, "the mean field": x.mean(axis=(1, 2))} if isinstance(theory, Phi4) else named


def rows_of(features: dict[str, Array], rows: slice) -> dict[str, Array]:
    return {name: values[rows] for name, values in features.items()}


def products_of(
    pairing: str, subject: Subject, a: dict[str, Array], b: dict[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Of every feature, for every two pairs of neighbours in the rows ``(a, b)``."""
    for name in a:
        both = [_difference(subject, name, values[::2], values[1::2]) for values in (a[name], b[name])]
        product = both[0] * both[1]
        yield f"{name}, samples {pairing}", product.reshape(len(product), -1).sum(axis=1)


def _difference(subject: Subject, name: str, x: Field, y: Field) -> Array:
    """Of the two, with its sign turned where they are exchanged; none where rounding, which may depend on the batch, makes it."""
    if name == FIELD:
        difference, size = subject.theory.displacement(x, y), subject.theory.scale
    else:
        difference, size = x - y, float(np.abs(x).max())
    return np.where(np.abs(difference) <= ROUNDING * size, 0, difference)


def judged(
    quantity: str, values: Callable[[int], Iterator[tuple[str, Array]]], n: int, trial: Trial, what: str
) -> Verdict:
    """Whether the values of every name are as often positive as negative."""
    told: dict[str, Array] = {}

    def p_values(n: int) -> tuple[float, int]:
        found: dict[str, list[Array]] = {}
        for name, some in values(n):
            found.setdefault(name, []).append(some)
        told.clear()
        told.update({name: np.concatenate(parts) for name, parts in found.items()})
        return min(map(sign_test, told.values())), len(told)

    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    worst = min(told, key=lambda name: sign_test(told[name]))
    detail = f"{worst}: {np.sum(told[worst] > 0)} positive, {np.sum(told[worst] < 0)} negative"
    return Verdict(
        FAIL if result.alarm else PASS,
        quantity,
        result.p_value,
        result.bound,
        f"an excess of {detectable_sign_excess(n, trial.alpha / len(told)):.1e} of {what}",
        result.samples,
        trial.alpha,
        detail if result.alarm else "",
    )
