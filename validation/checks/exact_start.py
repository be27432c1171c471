"""Statistics of one and three updates started in exact equilibrium: detailed balance and stationarity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from .. import exhibits
from ..contract import Subject
from ..evidence import LATER, Trial, batch_size, directions, equilibrium, momenta
from ..sequential import (
    POWER_QUANTILE,
    Wealth,
    detectable_mean,
    detectable_sign_excess,
    mean_zero_wealth,
    multinomial_wealth,
    sequential_p_values,
)
from ..theories import U1, energy
from ..verdict import FAIL, PASS, Verdict, skipped
from .maps import along

Array = NDArray[np.float64]

NOT_REVERSIBLE = "declared not reversible: only stationarity is claimed"


def e_verdict(quantity: str, wealth: Wealth, n: int, trial: Trial, sensitivity: str, detail: str) -> Verdict:
    """FAIL where the wealth passed 1/alpha."""
    failed = wealth.alarm_at is not None
    return Verdict(
        FAIL if failed else PASS,
        f"{quantity}: e-value",
        10**wealth.log10 if wealth.log10 < 300 else float("inf"),
        1 / trial.alpha,
        sensitivity,
        wealth.alarm_at if wealth.alarm_at is not None else n,
        trial.alpha,
        detail,
        exhibits=exhibits.wealth(wealth, trial.alpha),
    )


def shown_too(verdict: Verdict, more: exhibits.Exhibits) -> Verdict:
    """The verdict with further exhibits before its own."""
    return replace(verdict, exhibits=(*more, *verdict.exhibits))


def soft(values: Array, centre: float, scale: float) -> Array:
    """An observable bounded to (-1, 1): ``tanh((value - centre)/scale)``."""
    return np.tanh((values - centre) / scale)


def shift_of(y_shift: float, z: Array, scale: float) -> float:
    """The shift of an observable that moves the mean of ``(tanh' - tanh)/2`` by ``y_shift``: ``2 scale / <sech^2>`` times it."""
    return 2 * y_shift * scale / float(np.mean(1 - z * z))


def bounded_creutz(d: Array) -> Array:
    """``1{D > 0} exp(-D) - 1{D < 0}``, in [-1, 1]; a D that is not finite counts as a rejection, 0."""
    d = np.where(np.isnan(d), np.inf, d)
    return np.where(d > 0, np.exp(-np.maximum(d, 0)), np.where(d < 0, -1.0, 0.0))


def creutz(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Bounded Creutz identity: ``Y = 1{D > 0} exp(-D) - 1{D < 0}``, ``D = H' - H - logdet``, has mean zero.

    For any involution with the right logdet, from exact equilibrium with fresh momenta; for any bijection where a direction
    bit applies it or its inverse by half. The usual ``<exp(-dH)> = 1`` is not
    used: it is heavy-tailed, and blind to momenta drawn anew. H is the oracle's, momenta are the oracle's.

    If it fails: run maps.jacobian and maps.round_trip: one of them usually fails with it. If not, the action of the map
    is not that of the theory.
    """
    parts, theory = [], subject.theory
    size = batch_size(theory.volume)
    for start in range(0, trial.effort.chains, size):
        x = equilibrium(subject, rng, min(size, trial.effort.chains - start))
        v = momenta(subject, rng, len(x))
        d = directions(rng, len(x)) if subject.directed else None
        (x_end, v_end), logdet = along(subject, (x, v), d)
        parts.append(energy(theory, x_end, v_end) - energy(theory, x, v) - logdet)
    d = np.concatenate(parts)
    y = bounded_creutz(d)
    smallest = detectable_mean(y, trial.alpha)
    # The logdet error that moves <Y> so far, whichever its sign: D shifted by it, step by step.
    errors = np.geomspace(1e-3, 10, 60)
    moved = [min(abs(bounded_creutz(d + e).mean() - y.mean()) for e in (-error, error)) for error in errors]
    logdet_error = next((float(e) for e, m in zip(errors, moved, strict=True) if m >= smallest), np.inf)
    detail = f"<Y> = {y.mean():.2e} +- {y.std() / np.sqrt(len(y)):.1e}"
    weights = np.exp(-np.clip(np.nan_to_num(d, nan=np.inf), -700, 700))
    verdict = e_verdict(
        "bounded Creutz <Y> = 0",
        mean_zero_wealth(y, trial.alpha),
        len(y),
        trial,
        f"logdet error {logdet_error:.1e}",
        detail,
    )
    return shown_too(verdict, exhibits.against_samples(d, -d, "D = H' - H - logdet", "detailed balance", weights))


def energy_exchange(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Detailed balance in the energy: ``tanh((E' - E)/sd)``, averaged over three reversible updates, has mean zero.

    A path and the reversed path have one law, so every function that is odd under reversal averages to nothing.

    If it fails: accept/reject is wrong or missing; transcript.decision says where. A correct sampler passes however
    slow or badly tuned it is.
    """
    if not subject.reversible:
        return skipped(NOT_REVERSIBLE)
    p, sd, label = (
        trial.evidence.features(0, trial.effort.chains).energy,
        subject.theory.observables[0].std,
        subject.theory.label,
    )
    z = np.tanh(np.diff(p, axis=0) / sd)
    y = z.mean(axis=0)
    # Where two drivers share the evidence, one alone has to be wrong by twice as much.
    bias = len(trial.evidence.drivers) * detectable_mean(y, trial.alpha) * sd / float(np.mean(1 - z * z))
    change = (p[-1] - p[0]) / LATER
    detail = f"{label} changes by {change.mean():.1e} +- {change.std() / np.sqrt(len(change)):.1e} in one update"
    return e_verdict(
        "antisymmetric energy change", mean_zero_wealth(y, trial.alpha), len(y), trial,
        f"drift of {label} by {bias:.1e} an update", detail,
    )  # fmt: skip


def moves(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The fraction of chains that move is the same in the first and in the third update.

    In equilibrium every update is as good as the first. Something stale that is carried along, such as the force of a
    rejected proposal, lowers the later acceptance long before it shows in an average.

    If it fails: after a rejection restore everything that the next update reads, or compute it anew.
    """
    if not subject.reversible:
        return skipped(NOT_REVERSIBLE)
    moved = trial.evidence.features(0, trial.effort.chains).moved
    y = moved[0] - moved[-1]
    smallest = detectable_mean(y, trial.alpha)
    detail = f"{moved[0].mean():.4f} of the chains move in the first update, {moved[-1].mean():.4f} in update {LATER}"
    return e_verdict(
        "change of the acceptance", mean_zero_wealth(y, trial.alpha), len(y), trial,
        f"a change of the acceptance by {smallest:.1e}", detail,
    )  # fmt: skip


def _sign_verdict(subject: Subject, what: str, trial: Trial, name: str) -> Verdict:
    """Sequential sign test of one antisymmetric feature; further rounds look at fresh chains."""
    if not subject.reversible:
        return skipped(NOT_REVERSIBLE)
    position, non_zero = 0, 0
    shown: exhibits.Exhibits = ()

    def p_values(n: int) -> tuple[float, int]:
        nonlocal position, non_zero, shown
        features = trial.evidence.features(position, position + n)
        y = features.drift[0] if name == "drift" else features.charge[-1] - features.charge[0]
        position, non_zero = position + n, max(non_zero, int(np.count_nonzero(y)))
        shown = exhibits.against_samples(y, -y, what, "their mirror image")
        return sign_test(y), 1

    result = sequential_p_values(p_values, trial.alpha, trial.effort.chains, growth=trial.effort.growth)
    excess = detectable_sign_excess(non_zero, trial.alpha)
    if not result.alarm and excess >= 1:
        return skipped(f"only {non_zero} {what} in {result.samples} chains: too few to see any excess")
    return Verdict(
        FAIL if result.alarm else PASS,
        f"{what}, up against down: p-value",
        result.p_value,
        result.bound,
        f"an excess of {excess:.1e} among {non_zero}",
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
        exhibits=(*shown, *exhibits.rounds(result)),
    )


def charge_exchange(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Detailed balance in the charge (winding number): three updates raise and lower it equally often.

    If it fails: a topological move with the wrong acceptance, or one direction chosen more often. A frozen sampler does
    not fail, it is only not tested.
    """
    return _sign_verdict(subject, "changes of charge", trial, "charge")


def drift(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """No component drifts: the projection of ``sin(x' - x)`` on a direction learned beforehand is symmetric.

    The direction is the mean drift of chains that are not tested; on the real line the move itself counts. Gauge-invariant
    observables are blind to such a drift.

    If it fails: a direction bit that never flips, a sign of T, or a translation that is not undone: look at
    maps.reversal and transcript.direction.
    """
    return _sign_verdict(subject, "drift along the learned direction", trial, "drift")


def biases_seen(subject: Subject, biases: list[float]) -> str:
    """The bias of the first observable, and the largest of the others in standard deviations."""
    first, *others = zip(subject.theory.observables, biases, strict=True)
    seen = f"bias of {first[0].name} {first[1]:.1e}"
    return seen + (f", of others {max(b / o.std for o, b in others):.1e} sd" if others else "")


def _stationary(subject: Subject, trial: Trial, updates: int) -> Verdict:
    """Every observable of the theory after some updates against itself before; their wealths average."""
    values = trial.evidence.features(0, trial.effort.chains).observables
    columns, biases, details, k = [], [], [], len(subject.theory.observables)
    for i, observable in enumerate(subject.theory.observables):
        p, scale = values[:, :, i], observable.std
        before, after = soft(p[0], observable.mean, scale), soft(p[updates], observable.mean, scale)
        y = (after - before) / 2
        columns.append(y)
        biases.append(len(trial.evidence.drivers) * shift_of(detectable_mean(y, trial.alpha / k), after, scale))
        error = p[updates].std() / np.sqrt(p.shape[1])
        details.append(f"{observable.name} = {p[updates].mean():.6f} +- {error:.1e}, {observable.told}")
    seen = biases_seen(subject, biases)
    if isinstance(subject.theory, U1):
        beta_shift = biases[0] / (subject.theory.volume * subject.theory.observables[0].std ** 2)
        seen += f" (beta shift {beta_shift:.1e})"
    label = subject.theory.label if k == 1 else f"{k} observables"
    verdict = e_verdict(
        f"{label} after {updates} update{'s' if updates > 1 else ''}",
        mean_zero_wealth(np.stack(columns, axis=1), trial.alpha), values.shape[1], trial, seen,
        "; ".join(details),
    )  # fmt: skip
    before, after = values[0, :, 0], values[updates, :, 0]
    law = "the exact starts"
    return shown_too(verdict, exhibits.against_samples(after, before, subject.theory.observables[0].name, law))


def observables(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The observables of the theory after one update from equilibrium; each chain is its own control.

    Energy, moments, weights of components, correlations, winding: each bounded by a tanh about its exact mean.

    If it fails: the density is not left invariant: the observable that is named and its sign say whether the chain is
    too hot or too cold.
    """
    return _stationary(subject, trial, 1)


def observables_later(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The observables of the theory after three updates, where the driver carries its state from one to the next.

    If it fails: if exact_start.observables passes, what is carried from update to update is stale: a force, an energy,
    an estimate, a momentum.
    """
    return _stationary(subject, trial, LATER)


def plaquette(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean plaquette after one update from equilibrium is that of equilibrium; each chain is its own control.

    If it fails: an action or a decision that is wrong (no accept/reject shows as a hot plaquette). Compare with
    transcript.decision.
    """
    return _stationary(subject, trial, 1)


def plaquette_later(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean plaquette after three updates, where the driver carries its state from one update to the next.

    If it fails: if exact_start.plaquette passes, something stale is carried along: an energy or force of a rejected
    proposal.
    """
    return _stationary(subject, trial, LATER)


def wilson_loops(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Square Wilson loops of side 2 to 4 after three updates, against their values before; their wealths average.

    If it fails: small loops right and large ones wrong points at topology or at a move of many links; both wrong, at
    beta.
    """
    features = trial.evidence.features(0, trial.effort.chains)
    n_loops = len(trial.evidence.sides)
    if not n_loops:
        return skipped(f"a lattice of shape {subject.u1.shape} has no square loop besides the plaquette")
    columns, smallest, details = [], 1.0, []
    sides, scales = trial.evidence.sides, trial.evidence.loop_scales
    for side, scale, first, last in zip(sides, scales, features.first_loops, features.last_loops, strict=True):
        exact = subject.u1.loop_mean(side)
        centre = float(first.mean()) if exact is None else exact
        after = soft(last, centre, scale)
        y = (after - soft(first, centre, scale)) / 2
        columns.append(y)
        smallest = min(smallest, shift_of(detectable_mean(y, trial.alpha / n_loops), after, scale))
        told = f"before {centre:.5f}" if exact is None else f"exact {exact:.5f}"
        details.append(f"W({side}x{side}) = {last.mean():.5f}, {told}")
    wealth = mean_zero_wealth(np.stack(columns, axis=1), trial.alpha)
    return e_verdict(
        "Wilson loops after 3 updates", wealth, len(features.drift[0]), trial,
        f"bias of a loop of {smallest:.1e}", "; ".join(details),
    )  # fmt: skip


def charge_distribution(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The integer charge (winding number) after three updates follows the exact p(Q), or with fermions that of the start.

    If it fails: sectors are visited with wrong weights: look at the Jacobian and the acceptance of whatever changes the
    charge.
    """
    history = trial.evidence.features(0, trial.effort.chains).charge.astype(np.int64)
    return charge_verdict(subject, trial, history, f"{LATER} updates")


def charge_verdict(subject: Subject, trial: Trial, history: NDArray[np.int64], when: str) -> Verdict:
    """Independent charges against the exact p(Q), sectors expected less than five times pooled on either side.

    ``history`` has the charges at the start first, at the end last; these are compared where p(Q) is not known.
    """
    exact, charges = subject.theory.charge_distribution(), history[-1]
    if exact is None:
        return _same_charges(trial, history[0], charges, when)
    sectors, probabilities = exact
    largest = max([int(q) for q, p in zip(sectors, probabilities, strict=True) if p * len(charges) >= 5] + [0]) + 1
    pooled = np.clip(sectors, -largest, largest)
    p = np.array([probabilities[pooled == q].sum() for q in range(-largest, largest + 1)])
    p = np.maximum(p, 1e-300) / p.sum()
    wealth = multinomial_wealth(np.clip(charges, -largest, largest) + largest, p, trial.alpha)
    square = float((probabilities * sectors.astype(float) ** 2).sum())
    seen = detectable_tunnelling(p, len(charges), trial.alpha)
    detail = f"<Q^2> = {np.mean(charges.astype(float) ** 2):.4g}, exact {square:.4g}"
    verdict = e_verdict(f"p(Q) after {when}", wealth, len(charges), trial, f"weight of Q /= 0 off by {seen}", detail)
    inside = np.arange(-largest, largest + 1)
    observed = np.bincount(np.clip(charges, -largest, largest) + largest, minlength=len(inside))
    return shown_too(verdict, exhibits.counts(inside, observed, len(charges) * p, "charge", "the exact p(Q)"))


def _same_charges(trial: Trial, first: NDArray[np.int64], last: NDArray[np.int64], when: str) -> Verdict:
    """Each sector is as probable at the end as at the start, for ``Q`` of 0, +-1 and beyond; their wealths average."""
    sectors = {
        "Q = 0": lambda q: q == 0,
        "Q > 0": lambda q: q > 0,
        "Q = 1": lambda q: q == 1,
        "Q = -1": lambda q: q == -1,
    }
    changes = {name: is_in(last) * 1.0 - is_in(first) for name, is_in in sectors.items()}
    y = np.stack(list(changes.values()), axis=1)
    seen = max(detectable_mean(column, trial.alpha / len(sectors)) for column in y.T)
    told = ", ".join(
        f"p({name}) {is_in(first).mean():.4f} -> {is_in(last).mean():.4f}" for name, is_in in sectors.items()
    )
    wealth = mean_zero_wealth(y, trial.alpha)
    verdict = e_verdict(f"p(Q) after {when} against before", wealth, len(y), trial, f"p(Q) off by {seen:.1e}", told)
    largest = int(min(10, max(np.abs(first).max(), np.abs(last).max())))
    before, after = (
        np.bincount(np.clip(q, -largest, largest) + largest, minlength=2 * largest + 1) for q in (first, last)
    )
    inside = np.arange(-largest, largest + 1)
    return shown_too(verdict, exhibits.counts(inside, after, before, "charge", "that of the exact starts"))


def detectable_tunnelling(p: Array, n: int, alpha: float) -> str:
    """The factor on the weight of all sectors but 0 that the wealth on n charges would have found, in words.

    Its log grows by ``n KL`` with the scatter of the log likelihood ratio, and pays for alpha and for learning each sector.
    """
    middle = len(p) // 2
    cost = -np.log(alpha) + sum(max(0.5 * np.log1p(n / 200), np.log1p(1 / (200 * q))) for q in np.delete(p, middle))
    for factor in np.geomspace(1.01, 1e3, 120):
        q = p * factor
        q[middle] = p[middle]
        q /= q.sum()
        ratio = np.log(q / p)
        mean, square = float((q * ratio).sum()), float((q * ratio**2).sum())
        if n * mean - POWER_QUANTILE * np.sqrt(n * max(square - mean**2, 0.0)) >= cost:
            return f"{100 * (factor - 1):.0f} %" if factor < 2 else f"a factor of {factor:.1f}"
    return "any factor: too few charges"


def schwinger_dyson(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Schwinger-Dyson: ``<sin^2 P> - <sin P sin P'> - <cos P>/beta = 0`` after three updates; needs no exact value.

    If it fails: beta of the update differs from beta of the target; it is an identity, so that no reference value can
    be at fault.
    """
    w = trial.evidence.features(0, trial.effort.chains).schwinger_dyson[0]
    bound = 2 + 1 / subject.u1.beta
    y = w / bound
    wealth = mean_zero_wealth(y, trial.alpha)
    smallest = detectable_mean(y, trial.alpha) * bound
    detail = f"defect {w.mean():.1e} +- {w.std() / np.sqrt(len(w)):.1e}"
    return e_verdict("Schwinger-Dyson defect", wealth, len(y), trial, f"a defect of {smallest:.1e}", detail)


def uniform_links(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Links (without fermions also Polyakov loops) are uniform on the circle after three updates: mean cosines average to 0.

    Gauge invariance makes the links uniform, and the Polyakov loops are independent of the plaquettes: a mass term, a
    boundary condition or a fixed gauge leaves Wilson loops right and fails here.

    If it fails: find what singles out a direction on the circle: a term with bare angles, a boundary, a gauge that is
    fixed.
    """
    phases = trial.evidence.features(0, trial.effort.chains).phases
    smallest = max(detectable_mean(y, trial.alpha / len(phases)) for y in phases)
    detail = "mean cosines of links (time, space), without fermions of Polyakov loops: " + ", ".join(
        f"{y.mean():.1e}" for y in phases
    )
    return e_verdict(
        "mean cosine of links and Polyakov loops", mean_zero_wealth(phases.T, trial.alpha), phases.shape[1], trial,
        f"a mean cosine of {smallest:.1e}", detail,
    )  # fmt: skip
