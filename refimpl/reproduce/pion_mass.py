"""The mass of the pseudoscalar in the Schwinger model and in SU(3) with two flavours (Abbott 2022, secs. IV.A and IV.B)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import exact, theories
from ..actions import hasenbusch, wilson_dirac
from ..kernels import IndependenceMetropolis, Kernel, Level, NestedHMC, PureGauge, spawn_rngs
from ..observables import effective_mass, effective_mass_estimate, pseudoscalar_correlator
from ..statistics import integrated_autocorrelation_time
from ..theories import Theory
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

KAPPA = 0.265
# Of the pure gauge theories that are closest (`refimpl.theories.pure_gauge_beta`): proposals, and where chains start.
SCHWINGER_BETA, SU3_BETA = 2.26, 6.4
COLUMNS = ("ensemble", "t", "correlator", "correlator_error", "mass", "mass_error", "paper")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One set of parameters, how it is sampled, and what the paper has.

    ``discarded`` steps are for thermalisation, then there is a correlator after every ``every``-th of ``steps``; ``sources`` as in
    `pseudoscalar_correlator`. ``start``: ``(rng, n) -> x``.
    """

    name: str
    theory: Theory
    kernel: Kernel
    start: Callable[[np.random.Generator, int], NDArray[Any]]
    chains: int
    discarded: int
    steps: int
    every: int
    sources: int
    paper: float | None

    @property
    def window(self) -> tuple[int, int]:
        """First and last t of the plateau: the second half of the way to the middle of the lattice."""
        extent = self.theory.parameters["shape"][0]
        return extent // 4, extent // 2 - 1


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Effective masses over t, and their mean over the plateau against the paper; `refimpl.reproduce` describes the arguments."""
    quick = check_effort(effort)
    rows: list[tuple[Cell, ...]] = []
    notes, panels = [], []
    found = ensembles(quick)
    for number, ensemble in enumerate(found):
        correlators, acceptance = measured(ensemble, np.random.SeedSequence([seed, number]), progress)
        own, panel = _analysed(ensemble, correlators)
        rows += own
        panels.append(panel)
        tau = integrated_autocorrelation_time(correlators[:, :, ensemble.window[1]])
        time = f"{tau.tau * ensemble.every:.1f}" if np.isfinite(tau.error) else "more than the run can tell"
        notes.append(
            f"{ensemble.name}: {ensemble.chains} chains of {ensemble.steps} steps after {ensemble.discarded}, acceptance "
            f"{acceptance:.2f}, tau_int of C({ensemble.window[1]}) {time}."
        )
    uncertain = ", ".join(f"{(2 * (n - 1)) ** -0.5:.0%} for n = {n}" for n in sorted({e.chains for e in found}))
    table = Table(
        "pion-mass",
        "mass of the pseudoscalar with two flavours of Wilson fermions, kappa = 0.265 (Abbott 2022, sec. IV)",
        COLUMNS,
        tuple(rows),
        (
            *notes,
            "Schwinger: independence Metropolis from exact pure gauge configurations at beta' = "
            f"{SCHWINGER_BETA:g}; SU(3): HMC with even-odd",
            f"pseudofermions from exact pure gauge configurations at beta' = {SU3_BETA:g}. Discarded: five to ten tau_int.",
            "mass: of cosh(m (t - T/2)) through C(t), C(t + 1); rows with two t: its mean over the plateau, weighted by 1/error^2.",
            "Errors: jackknife over chains, which are independent. An error from n chains is itself uncertain by some "
            f"1/sqrt(2 (n - 1)): {uncertain}.",
            "Between t = L/4 and L/2 excited states still contribute, more on the smaller lattice: L = 8 and L = 16 of SU(3) have "
            "different plateaus.",
        ),
        seed,
    )
    return finish(table, out, lambda: panels)


def ensembles(quick: bool) -> list[Ensemble]:
    """What is sampled; quickly smaller lattices and a few steps."""
    extent = 8 if quick else 16
    model = theories.schwinger(2.0, KAPPA, (extent, extent))
    proposal = PureGauge(SCHWINGER_BETA, (extent, extent))
    size = (6, 2, 6, 2) if quick else (16, 20, 320, 2)
    found = [
        Ensemble(
            f"Schwinger, beta = 2, L = {extent}", model, IndependenceMetropolis(model.action, proposal),
            lambda rng, n: exact.u1.sample(rng, n, SCHWINGER_BETA, (extent, extent)), *size, sources=extent,
            paper=None if quick else 0.35,
        )
    ]  # fmt: skip
    sizes = ((4, 5, (3, 1, 3, 1)),) if quick else ((8, 5, (8, 10, 60, 2)), (16, 8, (6, 10, 24, 2)))
    return [*found, *(_su3(*size) for size in sizes)]


def _su3(extent: int, n_steps: int, size: tuple[int, int, int, int]) -> Ensemble:
    """SU(3) on ``extent x extent``, by HMC with pseudofermions: trajectories of length 1, the gauge force four times as often."""
    theory = theories.su3(6.0, (extent, extent), KAPPA)
    gauge = theory.action.terms[0]  # type: ignore[attr-defined]
    monomials = hasenbusch(KAPPA, even_odd=True, n=3)
    kernel = NestedHMC((Level(monomials, n_steps), Level((gauge,), 4)), 1.0)
    return Ensemble(
        f"SU(3), beta = 6, L = {extent}", theory, kernel,
        lambda rng, n: exact.sun.sample(rng, n, SU3_BETA, (extent, extent), 3), *size, sources=extent,
        paper=0.72 if extent > 4 else None,
    )  # fmt: skip


def measured(ensemble: Ensemble, seed: np.random.SeedSequence, progress: bool = False) -> tuple[Array, float]:
    """Correlators ``(record, chain, T)``, the two directions of time averaged, and the mean acceptance."""
    first, second = seed.spawn(2)
    x = ensemble.start(np.random.default_rng(first), ensemble.chains)
    state, rngs = ensemble.kernel.init(x), spawn_rngs(second, ensemble.chains)
    correlators, acceptance = [], []
    for step in bar(range(1 - ensemble.discarded, ensemble.steps + 1), ensemble.name, progress):
        state, info = ensemble.kernel.step(rngs, state)
        acceptance.append(info.acceptance.mean())
        if step > 0 and step % ensemble.every == 0:
            correlators.append(pseudoscalar_correlator(wilson_dirac(state.x, KAPPA), ensemble.sources))
    found = np.array(correlators)
    found[:, :, 1:] = (found[:, :, 1:] + found[:, :, :0:-1]) / 2
    return found, float(np.mean(acceptance))


def plateau(correlators: Array, window: tuple[int, int]) -> tuple[float, float]:
    """Mean of the effective mass over ``t = first, ..., last``, weighted by ``1/error^2``, and its jackknife error over chains.

    NaN where the correlators are too few to have a mass everywhere.
    """
    error = effective_mass_estimate(correlators, bins=correlators.shape[1]).error
    inside = slice(window[0], window[1] + 1)
    weights = error[inside] ** -2.0 / np.sum(error[inside] ** -2.0)
    means = correlators.mean(axis=0)
    n = len(means)
    left_out = (means.sum(axis=0) - means) / (n - 1)
    masses = effective_mass(np.vstack([means.mean(axis=0), left_out]))[:, inside] @ weights
    return float(masses[0]), float(np.sqrt((n - 1) * masses[1:].var()))


def _analysed(ensemble: Ensemble, correlators: Array) -> tuple[list[tuple[Cell, ...]], Panel]:
    """The rows of an ensemble, up to the middle of the lattice, and its plot."""
    half = correlators.shape[2] // 2
    mean, n = correlators.mean(axis=(0, 1)), correlators.shape[1]
    errors = correlators.mean(axis=0).std(axis=0, ddof=1) / np.sqrt(n)
    masses = effective_mass_estimate(correlators, bins=n)
    rows: list[tuple[Cell, ...]] = [
        (ensemble.name, str(t), float(mean[t]), float(errors[t]), _cell(masses.value[t]), _cell(masses.error[t]), None)
        for t in range(half)
    ]
    first, last = ensemble.window
    value, error = plateau(correlators, ensemble.window)
    rows.append((ensemble.name, f"{first}-{last}", None, None, _cell(value), _cell(error), ensemble.paper))
    t = np.arange(1, half)  # the contact point at 0 would flatten the rest
    lines: list[tuple[str, Any, Any, Any, str]] = [
        ("m(t)", t, masses.value[1:half], np.nan_to_num(masses.error[1:half]), "o"),
        (f"plateau {value:.3f} +- {error:.3f}", [first, last], [value, value], None, "-"),
    ]
    levels = [] if ensemble.paper is None else [(f"paper {ensemble.paper:g}", ensemble.paper)]
    return rows, Panel(ensemble.name, "t", "effective mass", lines, levels)


def _cell(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
