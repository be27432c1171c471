"""Unbiased estimates of the determinant: a test of a positive mean that is exactly valid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from ..contract import Subject, TargetFault
from ..evidence import EFFORTS, Trial, seed_from
from ..sequential import detectable_factor, positive_mean_wealth
from ..verdict import FAIL, Verdict, skipped, within
from .exact_start import e_verdict
from .fermions import fermions_of, fields_of_all_sizes

Array = NDArray[np.float64]

LARGEST_EIGENVALUE = 2.0  # of D D^dag: the variance of the Gaussian estimator is finite below
FIELDS = 8  # gauge fields at which the determinant is estimated
MODERATE = 4.0  # relative variance beyond which little would be seen
REPEATED = 1e-6  # estimates of one seed may differ by rounding
PAIRS = {1: ((0, 1), (2, 3), (4, 5), (6, 7)), 2: ((0, 2), (1, 3), (4, 6), (5, 7)), 4: ((0, 4), (1, 5), (2, 6), (3, 7))}
EASIER: tuple[dict[str, Any], ...] = (
    {"shape": (2, 2)},
    {"kappa": 0.1},
    *({"shape": (2, 2), "kappa": kappa} for kappa in (0.2, 0.15, 0.1, 0.05)),
)


class Place(NamedTuple):
    """Where estimates are made: gauge fields, their ``log det D^2``, and a bound on the relative variance of an estimate."""

    at: Subject
    x: NDArray[Any]
    log_det: Array
    variance: Array

    def contrast(self) -> float:
        """How far the determinants differ, in standard deviations of an estimate."""
        return float(np.expm1(np.ptp(self.log_det)) / np.sqrt(self.variance.max()))


def determinant(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean of ``determinant_estimate`` is ``det D^2``: bets on the ratio to the exact determinant, whose mean is 1.

    Against too large a mean ``1 + lambda (r - 1)``, a martingale for every positive r; against too small a mean
    ``(1 + y + y^2/2)/(1 + lambda^2 s^2/2)``, ``y = lambda (1 - r)``, for a variance of at most ``s^2`` (that of the Gaussian
    estimator, or what the target declares). Estimates are made at gauge fields where all eigenvalues of ``D D^dag`` are below 2,
    else that variance is infinite, and where it is at most 4: at the target's own parameters, or one of some smaller lattices
    and hopping parameters. No error bar is formed, which would take a fourth moment. The gauge fields
    have small and large determinants in turn, and each is bet on alone too: estimates of another field are seen.

    Half the false-alarm level goes to exact p-values that the estimates are independent (see `dependence`), without which
    bets mean nothing. A seed that is given again has to repeat its estimates.

    If it fails: an average of logarithms, a factor ``pi^N`` or ``2 pi`` left in, or a variance that is larger than the
    one declared. It tells bias from noise: variance alone does not fail it.
    """
    place = _best(subject, rng)
    if place is None and subject.determinant_variance is not None:
        return skipped(f"declares a relative variance of {subject.determinant_variance:g}, above {MODERATE:g}")
    if place is None:
        return skipped(
            "D D^dag has an eigenvalue above 2, where the Gaussian estimator has no variance, or a relative variance above "
            f"{MODERATE:g}, and the target cannot be made where it is smaller"
        )
    # Estimates are cheap whatever the theory: the effort is not shared out.
    n, share = EFFORTS[trial.effort.name].chains // 4, replace(trial, alpha=trial.alpha / 2)
    seeds = seed_from(rng), seed_from(rng)
    first, second = (place.at.determinant_estimate(place.x, n, seed) for seed in seeds)
    if min(first.min(), second.min()) <= 0:
        raise TargetFault(
            f"determinant_estimate: got {min(first.min(), second.min()):.3g}, expected positive estimates"
        )
    repeated = [place.at.determinant_estimate(place.x, FIELDS, seeds[0]) for _ in range(2)]
    again = np.abs(repeated[1] / repeated[0] - 1).max()
    if not again <= REPEATED:
        told = "the same arguments and seed give other estimates"
        return within("estimates of one seed, relative difference", float(again), REPEATED, "any", first.size, told)
    tests = dependence(first, second, rng)
    worst = min(tests, key=lambda name: tests[name])
    if tests[worst] <= share.alpha / len(tests):
        bound = share.alpha / len(tests)
        detail = f"{worst}: p = {tests[worst]:.2g}"
        return Verdict(
            FAIL, "independent estimates: p-value", tests[worst], bound, "", 2 * first.size, trial.alpha, detail
        )
    r = np.concatenate([first, second], axis=1).T / np.exp(place.log_det)
    variance = np.broadcast_to(place.variance, r.shape)
    wealth = positive_mean_wealth(r, variance, share.alpha)
    # The stakes: half on all fields together, half shared out among the fields.
    seen = detectable_factor(r.ravel(), variance.ravel(), share.alpha / 2)
    alone = max(detectable_factor(r[:, k], variance[:, k], share.alpha / 2 / FIELDS) for k in range(FIELDS))
    own, span = fermions_of(place.at), float(np.exp(np.ptp(place.log_det)))
    told = f"a factor off 1 by {seen:.1e}, at one gauge field by {alone:.1e} (determinants span a factor {span:.2g})"
    k = int(np.argmax(np.abs(r.mean(axis=0) - 1)))
    detail = (
        f"mean of estimate/det D^2 = {r.mean():.5f}, {r[:, k].mean():.5f} at field {k}, at kappa = {own.kappa:g}, "
        f"shape {place.at.links.shape}"
    )
    verdict = e_verdict("mean of estimate/det D^2 = 1", wealth, r.size, share, told, detail)
    return replace(verdict, alpha=trial.alpha)  # the p-values had the other half


def dependence(first: Array, second: Array, rng: np.random.Generator) -> dict[str, float]:
    """Exact p-values that estimates ``(field, n)`` of two seeds are independent, each field having one law, whatever it is.

    Differences of two estimates of a field have a symmetric law: sign tests of their products between the two seeds, and
    between fields. For values that occur again: given half of a row, the others are as often among them as those of the other
    seed; and a value is as often that of the other seed as a later one is.
    """
    n = first.shape[1] // 2
    early, late = first[:, :n], first[:, n : 2 * n]
    a = early - late
    b = second[:, :n] - second[:, n : 2 * n]
    known, others = np.split(rng.permutation(first.shape[1])[: 2 * n], 2)
    found = [
        np.isin(row[others], row[known]).astype(float) - np.isin(other[others], row[known])
        for row, other in zip(first, second, strict=True)
    ]
    return {
        "the same from seed to seed": sign_test((early == second[:, :n]).astype(float) - (late == second[:, :n])),
        "correlated from seed to seed": sign_test(a * b),
        "occur again in a row": sign_test(np.array(found)),
        **{
            f"correlated between chains {lag} apart": sign_test(np.concatenate([a[i] * a[j] for i, j in pairs]))
            for lag, pairs in PAIRS.items()
        },
        "correlated with the next in a row": sign_test(_quadruples(first)),
    }


def _quadruples(row: Array) -> Array:
    """``(r_1 - r_3)(r_2 - r_4)`` of every four that follow each other."""
    r = row[:, : row.shape[1] // 4 * 4].reshape(len(row), -1, 4)
    return np.asarray((r[..., 0] - r[..., 2]) * (r[..., 1] - r[..., 3]))


def _best(subject: Subject, rng: np.random.Generator) -> Place | None:
    """Of the target's own parameters, and those where it can be made, the place that tells gauge fields apart best."""
    subjects = (subject, *(subject.replace(**changes) for changes in EASIER))
    places = (_place(at, rng) for at in subjects if at is not None)
    return max((place for place in places if place is not None), key=Place.contrast, default=None)


def _place(at: Subject, rng: np.random.Generator) -> Place | None:
    """Fields of all sizes, no exact ones: of the half that scatters least, those with the smallest and largest determinants."""
    n = 16 * FIELDS
    x = fields_of_all_sizes(at.links, rng, n)
    squares = np.linalg.svd(fermions_of(at).matrix(x), compute_uv=False) ** 2
    declared = at.determinant_variance
    if declared is not None:
        variance = np.full(n, declared)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.exp(-np.log(squares * (2 - squares)).sum(axis=1)) - 1
        variance[squares.max(axis=1) >= LARGEST_EIGENVALUE] = np.inf
    good = np.flatnonzero(variance <= MODERATE)
    if len(good) < 2 * FIELDS:
        return None
    log_det = np.log(squares).sum(axis=1)
    calm = good[np.argsort(variance[good], kind="stable")[: len(good) // 2]]
    calm = calm[np.argsort(log_det[calm])]
    # Small and large in turn: the estimates of a neighbour, or in reversed order, are far off.
    best = np.stack([calm[: FIELDS // 2], calm[-FIELDS // 2 :]], axis=1).ravel()
    return Place(at, x[best], log_det[best], variance[best])
