"""Unbiased estimates of the determinant: a test of a positive mean that is exactly valid."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import Subject, TargetFault
from ..evidence import Trial, sampler, seed_from
from ..sequential import detectable_factor, positive_mean_wealth
from ..verdict import Verdict, skipped
from .exact_start import e_verdict
from .fermions import fermions_of

Array = NDArray[np.float64]

LARGEST_EIGENVALUE = 2.0  # of D D^dag: the variance of the Gaussian estimator is finite below
FIELDS = 8  # gauge fields at which the determinant is estimated
MODERATE = 4.0  # relative variance beyond which little would be seen
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


def determinant(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean of ``determinant_estimate`` is ``det D^2``: bets on the ratio to the exact determinant, whose mean is 1.

    Against too large a mean ``1 + lambda (r - 1)``, a martingale for every positive r; against too small a mean
    ``(1 + y + y^2/2)/(1 + lambda^2 s^2/2)``, ``y = lambda (1 - r)``, for a variance of at most ``s^2`` (that of the Gaussian
    estimator, or what the target declares). Estimates are made at gauge fields where all eigenvalues of ``D D^dag`` are below 2,
    else that variance is infinite, and where it is at most 4: at the target's own parameters, or the first of some smaller
    lattices and hopping parameters that will do. No error bar is formed, which would take a fourth moment.
    """
    place = _best(subject, rng)
    if place is None and subject.determinant_variance is not None:
        return skipped(f"declares a relative variance of {subject.determinant_variance:g}, above {MODERATE:g}")
    if place is None:
        return skipped(
            "D D^dag has an eigenvalue above 2, where the Gaussian estimator has no variance, or a relative variance above "
            f"{MODERATE:g}, and the target cannot be made where it is smaller"
        )
    n = trial.effort.chains // FIELDS
    estimates = place.at.determinant_estimate(place.x, n, seed_from(rng))
    if np.any(estimates <= 0):
        raise TargetFault(f"determinant_estimate: got {estimates.min():.3g}, expected positive estimates")
    # In an order that lets every field take its turn.
    r = (estimates / np.exp(place.log_det)[:, None]).T.ravel()
    variance = np.tile(place.variance, n)
    seen = detectable_factor(r, variance, trial.alpha)
    own = fermions_of(place.at)
    detail = f"mean of estimate/det D^2 = {r.mean():.5f} at kappa = {own.kappa:g}, shape {place.at.links.shape}"
    wealth = positive_mean_wealth(r, variance, trial.alpha)
    return e_verdict("mean of estimate/det D^2 = 1", wealth, r.size, trial, f"a factor off 1 by {seen:.1e}", detail)


def _best(subject: Subject, rng: np.random.Generator) -> Place | None:
    """The first parameters, of the target's own and those where it can be made, at which estimates scatter little enough."""
    for at in (subject, *(subject.replace(**changes) for changes in EASIER)):
        if at is not None and (place := _place(at, rng)) is not None:
            return place
    return None


def _place(at: Subject, rng: np.random.Generator) -> Place | None:
    x = sampler(at, rng, 8 * FIELDS)
    squares = np.linalg.svd(fermions_of(at).matrix(x), compute_uv=False) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.exp(-np.log(squares * (2 - squares)).sum(axis=1)) - 1
    known = squares.max(axis=1) < LARGEST_EIGENVALUE
    if (declared := at.determinant_variance) is not None:
        variance, known = np.full(len(x), declared), np.ones(len(x), dtype=bool)
    good = np.flatnonzero(known & (variance <= MODERATE))
    if len(good) < FIELDS:
        return None
    best = good[np.argsort(variance[good])[:FIELDS]]
    return Place(at, x[best], np.log(squares[best]).sum(axis=1), variance[best])
