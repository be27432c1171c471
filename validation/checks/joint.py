"""Samples of links and pseudofermions together: their parts are those of the marginal and of the conditional."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Subject
from ..evidence import Trial, batch_size, seed_from
from ..sequential import sequential_p_values
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .conditional import Worst, by_map
from .conditional_samples import gamma_p_values
from .covariances import ROUNDING, copies, living, readable, rows, too_large, whitened
from .flow_samples import PRODUCTS, compared, features_of, judged, products_of, rows_of
from .transcript import normal_p_values, normal_sensitivity

Array = NDArray[np.float64]
Complex = NDArray[Any]

CHAINS = 32
REPEATED = 1e-9


def parts(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The joint log q of samples is ``log q(x) + sum_m log q_m(phi_m | x)``, by `log_prob` and `conditional_log_prob`.

    Or, without the latter, by the map.
    Fields that belong to the links of another sample have another conditional density; so have monomials that are exchanged.

    If it fails: fields and links of a sample were put together in another order than they were drawn, or a monomial is
    counted twice or not at all.
    """
    found = Worst()
    x, phi, log_q = subject.joint_sample(CHAINS, seed_from(rng))
    if subject.has("conditional_log_prob"):
        conditional = subject.conditional_log_prob(x, phi)
    elif not subject.has("conditional_inverse") and readable(subject) is not subject:
        return skipped(too_large(subject))
    else:
        conditional = by_map(subject, x, phi)
    expected = subject.log_prob(x) + conditional.sum(axis=1)
    allowed = 10_000 * ROUNDING * (int(living(subject).sum()) + subject.theory.size + float(np.abs(expected).max()))
    k = int(np.argmax(np.abs(log_q - expected)))
    found.add(np.abs(log_q - expected), allowed, f"got {log_q[k]:.10g}, expected {expected[k]:.10g}: log q", CHAINS)
    return found.verdict("max |joint log q - its parts|")


def seeds(subject: Subject, rng: np.random.Generator) -> Verdict:
    """`joint_sample` repeats itself for a seed, has other links and fields for another, and has no field twice.

    If it fails: seed links and fields from the argument alone, with a stream for each; what repeats is no independent
    sample.
    """
    seed = seed_from(rng)
    (x, phi, _), (x_again, phi_again, _) = (subject.joint_sample(CHAINS, seed) for _ in range(2))
    change = max(float(np.abs(subject.theory.difference(x_again, x)).max()), float(np.abs(phi_again - phi).max()))
    if not change <= REPEATED * max(1.0, float(np.abs(phi).max())):
        return Verdict(
            FAIL, "joint_sample: two calls with one seed differ by", change, REPEATED, "", 2 * CHAINS, 0.0, ""
        )
    calls = [(x, phi), *(subject.joint_sample(CHAINS, other)[:2] for other in (seed + 1, seed_from(rng)))]
    again = {
        name: 3 * CHAINS - len(np.unique(np.round(np.concatenate([numbers_of(call[k]) for call in calls]), 9), axis=0))
        for k, name in enumerate(("links", "pseudofermions"))
    }
    name = max(again, key=lambda key: again[key])
    detail = f"{again[name]} of the {name} of {3 * CHAINS} samples, of three seeds, are there before"
    return within("fields that come twice", float(again[name]), 0.0, "one", 3 * CHAINS, detail)


def numbers_of(x: NDArray[Any]) -> Array:
    """Real numbers, ``(chain, number)``."""
    flat = x.reshape(len(x), -1)
    return np.concatenate([flat.real, flat.imag], axis=1)


def marginal(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The links of `joint_sample` are like those of `sample`.

    Paired, their differences in log q and in observables are positive as often as negative if both have one law.
    The density of the links is judged by `sample`.

    If it fails: the links were changed after they were drawn, selected, or made by other weights than those of
    `sample`.
    """

    def differences(n: int) -> Iterator[tuple[str, Array]]:
        size = min(batch_size(subject.theory.volume), n)
        for _ in range(-(-n // size)):
            x = subject.joint_sample(size, seed_from(rng))[0]
            ours = features_of(trial, x, subject.log_prob(x))
            y, log_q = subject.sample(size, seed_from(rng))
            yield from compared(subject, ours, features_of(trial, y, log_q))

    n = PRODUCTS * trial.effort.driver_chains
    return judged("links of joint samples against samples: p-value", differences, n, trial, "larger ones")


def law(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The pseudofermions of `joint_sample` have their conditional law at the links that they came with.

    ``F^-1 phi`` are independent complex normal numbers, as in conditional_samples.law, each at links of its own. Fields that
    were drawn at other links, those of the sample before or of the map before its last layer, have other widths there. No noise
    comes twice, in one call or two.

    If it fails: hand the very links of the sample to the conditional, after the last layer and not before it.
    """
    if (at := readable(subject)) is not subject:
        return skipped(at if isinstance(at, str) else too_large(subject))
    size = 2 * subject.monomials.number * int(living(subject).sum())
    calls = [whitened(subject, *subject.joint_sample(2 * CHAINS, seed_from(rng))[:2])[0] for _ in range(2)]
    two = np.concatenate(calls).reshape(-1, size // 2 // subject.monomials.number)
    if twice := copies(two):
        detail = f"{twice} of {len(two)} fields of noise, of two seeds and {2 * CHAINS} samples"
        return within("noise that comes twice", float(twice), 0.0, "one", len(two), detail)

    def p_values(n: int) -> tuple[float, int]:
        x, phi, _ = subject.joint_sample(-(-n // size), seed_from(rng))
        white = np.sqrt(2) * whitened(subject, x, phi)[0]
        numbers = np.concatenate([white.real, white.imag], axis=2).reshape(len(x), -1)
        p = [
            *normal_p_values(numbers),
            *gamma_p_values((np.abs(white) ** 2).sum(axis=2) / 2, white.shape[2]),
        ]
        return float(min(p)), len(p)

    n = max(trial.effort.chains // 8, 256) * size
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    return Verdict(
        FAIL if result.alarm else PASS,
        "F^-1 phi ~ N(0, 1): p-value",
        result.p_value,
        result.bound,
        normal_sensitivity(n, size, trial.alpha, "the whitened fields"),
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
    )


def independent(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Joint samples i and i + 1, i and i + n/2, and i of two seeds are uncorrelated, in links, fields and log q.

    Signs of products of differences, as in flow_samples.independent. Where the conditional can be read off, fields are whitened
    at the links that they came with, and compared with them too: pseudofermions of other links, or of noise that the links were
    made of, are seen.

    If it fails: a stream of noise is used twice; the effective sample size is then not what it seems.
    """
    read = readable(subject) is subject

    def features(x: NDArray[Any], phi: Complex, log_q: Array) -> dict[str, Array]:
        out = dict(features_of(trial, x, log_q))
        fields = rows(subject, phi)
        if read:
            fields = whitened(subject, x, phi)[0]
            squares = (np.abs(fields) ** 2).sum(axis=2)
            out |= {f"|chi|^2 of field {k}": column for k, column in enumerate(squares.T)}
        out["log q"] = log_q
        out["a pseudofermion"] = fields[:, 0, 0].real
        return out

    def products(n: int) -> Iterator[tuple[str, Array]]:
        size = 4 * max(1, min(batch_size(subject.theory.volume), 2 * n) // 4)
        for _ in range(-(-2 * n // size)):
            first, second = (features(*subject.joint_sample(size, seed_from(rng))) for _ in range(2))
            half = size // 2
            for own in (first, second):
                yield from products_of(
                    "i, i + 1", subject, rows_of(own, slice(0, None, 2)), rows_of(own, slice(1, None, 2))
                )
                yield from products_of(
                    "i, i + n/2", subject, rows_of(own, slice(half)), rows_of(own, slice(half, None))
                )
            yield from products_of("i of two seeds", subject, first, second)
            if read:
                yield from _within(first)

    n = PRODUCTS * trial.effort.driver_chains
    return judged("correlation of joint samples: p-value", products, n, trial, "equal signs")


def _within(features: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Signs of products of differences, between the links of samples and the white noise of their fields."""
    white = [name for name in features if name.startswith("|chi|^2")]
    others = [
        name for name in features if features[name].ndim == 1 and name not in ("log q", "a pseudofermion", *white)
    ]
    pairs = [*((a, b) for a in white for b in others), *((a, b) for k, a in enumerate(white) for b in white[k + 1 :])]
    for a, b in pairs:
        x, y = features[a], features[b]
        yield f"{a} and {b}", (x[::2] - x[1::2]) * (y[::2] - y[1::2])
