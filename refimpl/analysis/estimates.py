"""Estimates from the series of a run: means against exact values, autocorrelation, convergence, tunnelling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import observables, statistics
from ..theories import Theory

Series = Mapping[str, NDArray[Any]]

# Fewer effective samples than this give no error. A series that never decorrelates closes the window of the Gamma method at
# 0.116 n, if at all (rho = 1 solves exp(-1/1.5) = 1.5 sqrt(W/n)), and would be reported with a time and an error that
# say 4.3 samples.
LEAST_ESS = 10.0
R_HAT_BOUND = 1.01  # Vehtari et al. 2021, sec. 4
R_HAT_VALUES = 1 << 20  # it sorts: of longer runs as many as this, evenly spaced, say the same
LEAST_EVENTS = 30  # an error from k rare events is itself known to 1/sqrt(2 k), and less than that from skewed ones
MOST_SECTORS = 100  # an integer with more values is no sector
SIGMAS = 4.0  # a correct run crosses it once in 16,000 estimates
SHOWN_PROBABILITY = 1e-3  # sectors at least as likely are listed though the run never saw them


@dataclass(frozen=True)
class Estimate:
    """One observable after the thermalisation cut; None is what the run cannot tell.

    Attributes
    ----------
    mean, error : of all chains, by the Gamma method. tau, tau_error : ``1/2 + sum rho``, in trajectories; window : last lag
    summed, in trajectories. r_hat, ess : see `refimpl.statistics`; of a long run, r_hat is that of a million values. exact :
    expectation; deviation : of the mean from it, in errors.
    """

    name: str
    mean: float
    error: float | None
    tau: float | None
    tau_error: float | None
    window: int | None
    r_hat: float | None
    ess: float | None
    exact: float | None
    deviation: float | None


@dataclass(frozen=True)
class Sector:
    """Topological charge, winding number or component, after the cut.

    Attributes
    ----------
    rate, rate_error : mean ``|Q' - Q|`` from a record to the next (Foreman 2020, eq. 57). events : number of changes, for each
    chain. values, fractions, errors : the histogram; exact : ``p(Q)`` of these values, None where it is not known.
    """

    name: str
    rate: float
    rate_error: float | None
    events: tuple[int, ...]
    values: tuple[int, ...]
    fractions: tuple[float, ...]
    errors: tuple[float | None, ...]
    exact: tuple[float, ...] | None


@dataclass(frozen=True)
class Analysis:
    """Everything a run says.

    Attributes
    ----------
    theory, parameters : None and empty where not known. chains, records : numbers, before the cut. record_every :
    trajectories from a record to the next. cut : records dropped at the start; automatic : whether by MSER. acceptance :
    name of the part -> fraction for each chain. non_finite : proposals rejected for a value that is not finite. notes :
    sentences a reader needs.
    """

    theory: str | None
    parameters: Mapping[str, Any]
    chains: int
    records: int
    record_every: int
    cut: int
    automatic: bool
    estimates: tuple[Estimate, ...]
    sector: Sector | None
    acceptance: Mapping[str, tuple[float, ...]]
    non_finite: int
    notes: tuple[str, ...]


def analyse(
    series: Series,
    theory: Theory | None = None,
    *,
    thermalisation: float | str = 0.0,
    record_every: int = 1,
    non_finite: int = 0,
) -> Analysis:
    """Estimates from the series ``(step, chain)`` of a run.

    Series called ``accepted``, ``delta_h``, or one of these with ``/part`` are about the update, all others are observables,
    and their squares where the theory knows them. The sector is what the theory calls so, or the only series of integers.

    Parameters
    ----------
    series : name -> ``(step, chain)``. theory : for exact values.
    thermalisation : fraction of the run to drop, or "auto": the largest `statistics.thermalisation_cut` of all observables.
    record_every : trajectories between records. non_finite : count of the run.

    Raises
    ------
    ValueError : bad fraction, shapes that differ, values that are not finite, fewer than two records left.
    """
    updates = {name: values for name, values in series.items() if name.split("/")[0] in ("accepted", "delta_h")}
    sector = _sector_name(series, theory)
    recorded = _with_squares({name: series[name] for name in series if name not in updates}, theory, sector)
    records, chains = _check(recorded, updates)
    automatic = thermalisation == "auto"
    cut = max(map(statistics.thermalisation_cut, recorded.values())) if automatic and records > 2 else 0
    if not automatic:
        if isinstance(thermalisation, str) or not 0 <= thermalisation < 1:
            raise ValueError(f"thermalisation: got {thermalisation!r}, expected 'auto' or a fraction from 0 to below 1")
        cut = int(thermalisation * records)
    if records - cut < 2:
        raise ValueError(f"series: got {records} records and a cut of {cut}, expected at least two records to be left")
    kept = {name: values[cut:] for name, values in recorded.items()}
    known = _expectations(theory, sector)
    many = sector is not None and len(np.unique(kept[sector])) > MOST_SECTORS
    tunnelling = None if sector is None or many else _sector(sector, kept[sector], theory)
    rare = tunnelling is not None and 0 < sum(tunnelling.events) < LEAST_EVENTS
    estimates = tuple(
        _estimate(name, values, known.get(name), record_every, rare and _is_of(name, sector, theory))
        for name, values in kept.items()
    )
    acceptance = {
        name: tuple(values[cut:].mean(axis=0).tolist())
        for name, values in updates.items()
        if name.split("/")[0] == "accepted"
    }
    notes = [
        *_cut_notes(automatic and cut == records // 2),
        *_estimate_notes(estimates, kept, record_every),
        *([] if tunnelling is None else _tunnelling_notes(tunnelling, kept[tunnelling.name], record_every)),
        *([f"{sector}: more than {MOST_SECTORS} values, of which no table is made."] if many else []),
        *([f"{non_finite} proposals were rejected because a value was not finite."] if non_finite else []),
    ]
    return Analysis(
        None if theory is None else theory.name,
        {} if theory is None else dict(theory.parameters),
        chains,
        records,
        record_every,
        cut,
        automatic,
        estimates,
        tunnelling,
        acceptance,
        non_finite,
        tuple(notes),
    )


def sector_distribution(theory: Theory | None) -> dict[int, float]:
    """Exact ``p(Q)`` of every sector; empty where it is not known."""
    return {} if theory is None else dict(theory.sector_probabilities())


def _sector_name(series: Series, theory: Theory | None) -> str | None:
    if theory is not None:
        return theory.sector_name if theory.has_sectors and theory.sector_name in series else None
    integers = [name for name, values in series.items() if np.issubdtype(values.dtype, np.integer)]
    return integers[0] if len(integers) == 1 else None


def _with_squares(recorded: dict[str, NDArray[Any]], theory: Theory | None, sector: str | None) -> Series:
    """The observables as floats, in the order of the theory, with the squares that are known or say how far tunnelling goes."""
    squares = [f"{sector}^2"] if theory is None and sector else []
    squares += [] if theory is None else [name for name in theory.observables if name.endswith("^2")]
    if theory is not None and not theory.has_sectors:
        recorded.pop(theory.sector_name, None)
    derived = {name: recorded[name[:-2]].astype(float) ** 2 for name in squares if name[:-2] in recorded}
    return {name: np.asarray(values, dtype=np.float64) for name, values in {**recorded, **derived}.items()}


def _check(recorded: Series, updates: Series) -> tuple[int, int]:
    """Records and chains, the same for every series."""
    if not recorded:
        raise ValueError("series: got no observable, expected at least one")
    first, shape = next((name, values.shape) for name, values in recorded.items())
    for name, values in {**recorded, **updates}.items():
        if values.ndim != 2 or values.shape != shape:
            raise ValueError(
                f"series: got {name!r} of shape {values.shape}, expected (step, chain) as {first!r}: {shape}"
            )
    for name, values in recorded.items():
        if bad := int(np.sum(~np.isfinite(values))):
            raise ValueError(f"series: got {bad} NaN or infinite values of {name!r}, expected finite ones")
    return shape[0], shape[1]


def _expectations(theory: Theory | None, sector: str | None) -> Mapping[str, float]:
    if theory is None:
        return {}
    distribution = sector_distribution(theory)
    known = sector and (distribution or theory.symmetric)
    mean = {sector: math.fsum(q * p for q, p in distribution.items())} if sector and known else {}
    return {**mean, **theory.exact}


def _reliable_mean(data: NDArray[Any]) -> tuple[statistics.Mean, bool]:
    """The mean, and whether its error and its autocorrelation time mean anything."""
    m = statistics.mean(data)
    return m, 0 < m.tau.error < math.inf and data.size >= LEAST_ESS * max(1.0, 2 * m.tau.tau)


def _is_of(name: str, sector: str | None, theory: Theory | None) -> bool:
    """Whether an observable is a function of the sector, such as its square, or follows it, as the sine charge does the charge."""
    if theory is not None and name in theory.odd:
        return True
    return sector is not None and name.removesuffix("^2").endswith(sector)


def _estimate(name: str, data: NDArray[Any], expected: float | None, record_every: int, rare: bool = False) -> Estimate:
    m, reliable = _reliable_mean(data)
    reliable = reliable and not rare
    # Records that far apart hardly know of one another: tau_int is anything up to about their distance.
    timed = reliable and (record_every == 1 or m.tau.tau >= 1)
    spaced = data[:: 1 + data.size // R_HAT_VALUES]
    r_hat = statistics.r_hat(spaced) if len(spaced) >= 4 else math.nan
    return Estimate(
        name,
        m.value,
        m.error if reliable else None,
        record_every * m.tau.tau if timed else None,
        record_every * m.tau.error if timed else None,
        record_every * m.tau.window if timed else None,
        None if math.isnan(r_hat) else r_hat,
        data.size / (2 * m.tau.tau) if reliable else None,
        expected,
        (m.value - expected) / m.error if reliable and expected is not None else None,
    )


def _sector(name: str, data: NDArray[Any], theory: Theory | None) -> Sector:
    changes = np.abs(np.diff(data, axis=0))
    rate = float(observables.tunnelling_rate(data).mean())
    m, reliable = _reliable_mean(changes) if len(changes) > 1 else (None, False)
    p = sector_distribution(theory)
    likely = {q for q, probability in p.items() if probability >= SHOWN_PROBABILITY}
    values = sorted(likely.union(np.unique(data).astype(int).tolist()))
    bins = [_reliable_mean(data == q) for q in values]
    return Sector(
        name,
        rate,
        m.error if m and reliable else None,
        tuple(np.count_nonzero(changes, axis=0).tolist()),
        tuple(values),
        tuple(b.value for b, _ in bins),
        tuple(b.error if known else None for b, known in bins),
        tuple(p.get(q, 0.0) for q in values) if p else None,
    )


def _cut_notes(at_bound: bool) -> list[str]:
    if not at_bound:
        return []
    return [
        "The automatic cut is half of the run, the most it may be: the run is too short to tell that it thermalised."
    ]


def _estimate_notes(estimates: tuple[Estimate, ...], kept: Series, record_every: int) -> list[str]:
    """Why numbers are missing, and which numbers should worry."""
    constant = [e.name for e in estimates if np.ptp(kept[e.name]) == 0]
    missing = [e for e in estimates if e.error is None and e.name not in constant]
    frozen = [e.name for e in missing if np.all(kept[e.name] == kept[e.name][0])]
    short = [e.name for e in missing if e.name not in frozen]
    sparse = [e.name for e in estimates if e.error is not None and e.tau is None]
    apart = [f"{e.name} {e.r_hat:.4g}" for e in estimates if e.r_hat is not None and e.r_hat > R_HAT_BOUND]
    wrong = [
        f"{e.name}: {e.deviation:+.1f} errors from the exact value."
        for e in estimates
        if e.deviation is not None and abs(e.deviation) > SIGMAS
    ]
    notes = {
        "One value in the whole run, which gives no error and no tau_int": constant,
        "Frozen in every chain, at values that differ: tau_int is longer than the run, and gives no error": frozen,
        f"The run is too short for tau_int and errors (no window found, or fewer than {LEAST_ESS:.0f} effective samples)": short,
        f"Records {record_every} trajectories apart are too sparse for tau_int, which is about that or less": sparse,
        f"R-hat above {R_HAT_BOUND}: the chains disagree, or are too short to tell that they agree": apart,
    }
    return [*(f"{text} ({', '.join(names)})." for text, names in notes.items() if names), *wrong]


def _tunnelling_notes(sector: Sector, data: NDArray[Any], record_every: int) -> list[str]:
    notes = []
    if not any(sector.events):
        n = (len(data) - 1) * data.shape[1]
        # (1 - p)^n = 0.05 at p = 3/n
        notes = [f"{sector.name}: no change in {n} steps; fewer than one in {max(1, n // 3)}, with 95 % confidence."]
    elif sum(sector.events) < LEAST_EVENTS:
        notes = [
            f"{sector.name}: only {sum(sector.events)} changes, too few for errors and tau_int of what follows it."
        ]
    elif record_every > 1:
        notes = [
            f"{sector.name}: changes are counted from record to record; those there and back between are not seen."
        ]
    return notes
