"""Replay of single updates: every energy, every decision and every random number recomputed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from .. import exhibits
from ..contract import Subject
from ..evidence import Effort, Trial, noise, sampler, seed_from
from ..hamiltonian import Hamiltonian
from ..sequential import POWER_QUANTILE, detectable_sign_excess, sequential_p_values
from ..theories import U
from ..verdict import FAIL, PASS, Verdict, within
from .exact_start import shown_too
from .maps import against, along, difference, rounding
from .static import worst

Array = NDArray[np.float64]
Record = dict[str, Array]

CHAINS = 16
CROWD = 256  # chains whose random numbers are looked at; more where the field is small
LOOKED_AT = 128  # components that are looked at one by one
# Decisions closer to the edge than this are left out: rounding may turn them (oracle and target add in other orders).
AMBIGUOUS = 1e-6


def records(subject: Subject, trial: Trial) -> list[Record]:
    """Updates of 16 chains that follow one another, by `transcript` (own noise) and by `transition` (the oracle's)."""
    return trial.evidence.shared("records", lambda rng: _recorded(subject, rng, trial.effort))


def _recorded(subject: Subject, rng: np.random.Generator, effort: Effort) -> list[Record]:
    out = []
    for kind in ("transcript", "transition"):
        if not subject.has(kind):
            continue
        x = sampler(subject, rng, CHAINS)
        for _ in range(effort.decisions):
            if kind == "transcript":
                record = subject.transcript(x, seed_from(rng))
            else:
                drawn = noise(subject, rng, x)
                record = {
                    **subject.transition(x, *drawn),
                    **{k: r for k, r in drawn._asdict().items() if r is not None},
                }
            out.append({**record, "x": x})
            x = record["x_next"]
    return out


def _rounding(subject: Subject, rng: np.random.Generator, trial: Trial) -> float:
    """That of the trajectories of all records at once: one call with many chains costs a fraction of many calls."""
    found = records(subject, trial)
    x, v = (np.concatenate([record[name] for record in found]) for name in ("x", "v"))
    phi = np.concatenate([record["phi"] for record in found]) if "phi" in found[0] else None
    return rounding(subject.bound(phi), (x, v), rng)


def true_delta_h(subject: Subject, record: Record) -> Array:
    """``H' - H`` of a record, by the oracle's own action; pseudofermions are those of the start."""
    h, phi = Hamiltonian(subject), record.get("phi")
    return h(record["x_proposed"], record["v_proposed"], phi) - h(record["x"], record["v"], phi)


def energy(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The reported ``delta_h`` is ``S + v.v/2`` after minus before, from the momenta that were drawn.

    With pseudofermions ``S_g(x) + sum_m phi_m^dag K_m(x) phi_m + v.v/2``, before and after at the ``phi`` that were drawn.
    Kinetic term left out, momenta drawn anew before H or before H', an action at another beta: all are seen here.

    If it fails: compare S and v.v/2 apart; the difference that is shown is often one of them.
    """
    theory, h = subject.theory, Hamiltonian(subject)
    largest, detail, n, size, rounded, worst_one = 0.0, "", 0, 0.0, 0.0, np.zeros(1)
    for record in records(subject, trial):
        expected = true_delta_h(subject, record)
        phi = record.get("phi")
        size = max(size, float(np.nanmax(h(record["x_proposed"], record["v_proposed"], phi))))
        both = None if phi is None else np.concatenate([phi, phi])
        rounded = max(rounded, h.rounding(np.concatenate([record["x"], record["x_proposed"]]), both))
        error = np.abs(record["delta_h"] - expected)
        n += len(error)
        if not np.max(error) <= largest:
            largest, detail, worst_one = float(np.max(error)), worst(record["delta_h"], expected), error
    # Two energies, each of an action and some squares of unit size, and the cancellation of their difference.
    tolerance = 4 * (rounded + 16 * theory.volume**1.5 * U) + 64 * U * size
    told, shown = f"energy error {tolerance:.1e}", exhibits.errors(worst_one, tolerance, "delta_h")
    return within("max |delta_h - recomputed|", largest, tolerance, told, n, detail, shown)


def decision(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Each proposal is accepted exactly where ``u < exp(logdet - delta_h)``, with the recomputed energies.

    Decisions within 1e-6 of the edge are left out. A wrong sign, an exchanged energy, a decision per batch or per link, a
    proposal accepted always or by half the energy show as wrong decisions.

    If it fails: look at the sign of delta_h and of logdet first, then for one uniform number shared by all chains.
    """
    wrong, n, detail = 0, 0, ""
    for record in records(subject, trial):
        log_ratio = record["logdet"] - true_delta_h(subject, record)
        with np.errstate(divide="ignore"):
            margin = log_ratio - np.log(record["u"])
        clear = np.abs(margin) > AMBIGUOUS
        bad = clear & ((margin > 0) != (record["accept"] != 0))
        n += int(clear.sum())
        wrong += int(bad.sum())
        if bad.any() and not detail:
            k = int(np.argmax(bad))
            detail = (
                f"u = {record['u'][k]:.6g}, exp(logdet - delta_h) = {np.exp(log_ratio[k]):.6g}, "
                f"accept = {bool(record['accept'][k])}"
            )
    return within(
        "wrong decisions", float(wrong), 0.0, f"one wrong decision in {n}", n, f"{wrong} of {n}; first: {detail}"
    )


def next_state(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The next field is the proposal where it was accepted, and the old field where not, component by component.

    If it fails: rejected chains must get back the field they had, before it was moved in place; a mask broadcast over
    the wrong axis mixes them.
    """
    largest, detail, n, size = 0.0, "", 0, np.pi
    shown: exhibits.Exhibits = ()
    for record in records(subject, trial):
        size = max(size, float(np.nanmax(np.abs(record["x_proposed"]))))
        accepted = (record["accept"] != 0).reshape(-1, *(1,) * (record["x"].ndim - 1))
        error = subject.theory.difference(record["x_next"], np.where(accepted, record["x_proposed"], record["x"]))
        n += len(error)
        if not np.max(np.abs(error)) <= largest:
            largest = float(np.max(np.abs(error)))
            chain = int(np.unravel_index(np.argmax(np.abs(error)), error.shape)[0])
            detail = f"chain {chain}, accept = {bool(record['accept'][chain])}: a component is off by {largest:.3g}"
            shown = exhibits.error_map(subject.theory, error, "next field")
    tolerance = 32 * size * U  # wrapping once more
    told = f"one component off by {tolerance:.1e}"
    return within("max |x_next - chosen field|", largest, tolerance, told, n, detail, shown)


def reversible_proposal(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The proposals of the records come from the map: its inverse takes ``(x', v')`` back to ``(x, v)``.

    Momenta drawn anew between the trajectory and the decision break this; so does a force that is not one of the field alone,
    as one of pseudofermions that are kept from the start, or drawn anew on the way.

    If it fails: if maps.round_trip passes, the transition does something besides the map: find what is drawn or changed
    on the way.
    """
    largest, n, tolerance = 0.0, 0, _rounding(subject, rng, trial)
    for record in records(subject, trial):
        z, end = (record["x"], record["v"]), (record["x_proposed"], record["v_proposed"])
        at = subject.bound(record.get("phi"))
        error = float(np.max(np.abs(difference(at, against(at, end, record.get("d"))[0], z))))
        n += len(z[0])
        largest = largest if error <= largest else error
    detail = f"the inverse of a recorded proposal misses its start by {largest:.3g}"
    return within("max |inverse(proposal) - start|", largest, tolerance, f"irreversibility {tolerance:.1e}", n, detail)


def same_map(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """`forward` and the proposals of `transition` or `transcript` are one map, with one logdet.

    If it fails: training and sampling code differ, as in step size, number of steps or mode of a net; what was judged
    is then not what is run.
    """
    largest, n, tolerance = 0.0, 0, _rounding(subject, rng, trial)
    for record in records(subject, trial):
        z, end = (record["x"], record["v"]), (record["x_proposed"], record["v_proposed"])
        image, logdet = along(subject, z, record.get("d"))
        error = max(
            np.max(np.abs(difference(subject, image, end))), np.max(np.abs(logdet - record["logdet"])) / z[1][0].size
        )
        n += len(z[0])
        largest = largest if error <= largest else float(error)
    detail = f"forward and a recorded proposal (or its logdet, per degree of freedom) differ by {largest:.3g}"
    return within("max |forward - proposal|", largest, tolerance, f"a difference of {tolerance:.1e}", n, detail)


def alone(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """`transition` decides for a chain alone as it does for the chain inside a batch.

    If it fails: the decision is one for the batch, or the uniform number is drawn in another shape.
    """
    x = sampler(subject, rng, CHAINS)
    drawn = noise(subject, rng, x)
    together = subject.transition(x, *drawn)
    records = []
    for i in range(CHAINS):
        v, u, d, phi = (None if part is None else part[i : i + 1] for part in drawn)
        records.append(subject.transition(x[i : i + 1], np.asarray(v), np.asarray(u), d, phi))
    delta_h = np.concatenate([record["delta_h"] for record in records])
    accept = np.concatenate([record["accept"] for record in records])
    clear = np.abs(together["logdet"] - together["delta_h"] - np.log(drawn.u)) > AMBIGUOUS
    wrong = int(np.sum(clear & (accept != together["accept"])))
    wrong += int(np.sum(~(np.abs(delta_h - together["delta_h"]) < AMBIGUOUS)))
    detail = f"{wrong} of {CHAINS} chains decide otherwise, or have another delta_h, when alone"
    return within("chains that decide otherwise alone", float(wrong), 0.0, f"one chain in {CHAINS}", CHAINS, detail)


def same_step(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """`step` and `transcript` with one seed give the same next field: what is shown is what is run.

    If it fails: the two draw in another order or number, so that the transcript shows another update than the chain
    makes.
    """
    x = sampler(subject, rng, CHAINS)
    seed = seed_from(rng)
    error = subject.theory.difference(subject.step(x, seed), subject.transcript(x, seed)["x_next"])
    largest = float(np.max(np.abs(error)))
    tolerance = 8 * np.pi * U * 4
    detail = f"step and transcript differ by {largest:.3g} for seed {seed}"
    told, shown = (
        f"a difference of {tolerance:.1e}",
        exhibits.differences(subject.theory, error, tolerance, "next field"),
    )
    return within("max |step - transcript|", largest, tolerance, told, CHAINS, detail, shown)


def momenta(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The momenta of `transcript` are independent N(0, 1), each component for itself, and apart from the Metropolis number.

    chi^2 of all squares and of those of each component (of at most 128), their sum, Kolmogorov-Smirnov, the largest
    correlation of two components, or of one (or the kinetic energy) with ``u``, taken as the normal number of that quantile.

    If it fails: a variance that is off is a missing mass or factor; correlations mean one draw for several components
    or chains. False alarms are as rare as the level says.
    """
    from scipy.special import ndtr, ndtri
    from scipy.stats import chi2

    size, drawn, following = subject.theory.size, np.empty(0), _own_noise(subject, trial)

    def normal(p: Array) -> Array:
        return np.asarray(ndtri(np.clip(p, U, 1 - U)))

    def p_values(n: int) -> tuple[float, int]:
        nonlocal drawn
        calls = following(-(-n // size))
        v, u = (np.concatenate([call[name] for call in calls]) for name in "vu")
        rows, turned = v.reshape(-1, size), normal(u)
        drawn = rows.ravel()
        kinetic = normal(chi2.cdf((rows * rows).sum(axis=1), size))
        p = [*normal_p_values(rows, turned), _p_correlation(np.column_stack([kinetic, turned]))]
        return float(min(p)), len(p)

    # Small fields cost as much a chain as large ones.
    n = trial.effort.decisions * min(2**16, 2**13 * size)
    told = normal_sensitivity(n, size, trial.alpha, "the momenta")
    verdict = _noise_verdict("momenta ~ N(0, 1)", p_values, n, trial, told)
    return shown_too(verdict, exhibits.against_law(drawn, ndtr, "momenta", "N(0, 1)"))


def normal_p_values(rows: Array, *others: Array) -> list[float]:
    """Exact p-values of independent standard normal components, one vector a row; ``others`` are normal columns besides.

    chi^2 of all squares and of those of each component (of at most `LOOKED_AT`), the sum, Kolmogorov-Smirnov, and the largest
    correlation of two columns.
    """
    from scipy.stats import chi2, kstest, norm

    def p_squares(squares: Array, n: int) -> float:
        tails = np.minimum(chi2.cdf(squares, n), chi2.sf(squares, n))
        return float(min(1.0, 2 * squares.size * tails.min()))

    squares = (rows * rows).sum(axis=0)
    return [
        p_squares(squares.sum(keepdims=True), rows.size),
        p_squares(squares[:: _stride(rows.shape[1])], len(rows)),
        float(2 * norm.sf(abs(rows.sum()) / np.sqrt(rows.size))),
        float(kstest(rows.ravel(), "norm").pvalue),
        _p_correlation(np.column_stack([rows[:, :LOOKED_AT], *others])),
    ]


def normal_sensitivity(n: int, size: int, alpha: float, what: str) -> str:
    """What `normal_p_values` of n numbers, ``size`` to a row, would have seen."""
    looked_at = -(-size // _stride(size))
    # The variance of a sum of squares is 2 n.
    seen = detectable_sign_excess(n, alpha) / np.sqrt(2)
    single = detectable_sign_excess(-(-n // size), alpha / looked_at) / np.sqrt(2)
    told = f"std of {what} off by {seen:.1e}, of one component by {single:.1e}"
    return told + (f" (one of the {looked_at} of {size} looked at)" if looked_at < size else "")


def _stride(size: int) -> int:
    """Every so many components are looked at one by one."""
    return -(-size // LOOKED_AT)


def _p_correlation(rows: Array) -> float:
    """Bonferroni p-value of the largest correlation between columns: Student's t, exact for independent normal columns."""
    from scipy.stats import t as student

    n, k = rows.shape
    if n < 4 or k < 2:
        return 1.0
    r = np.abs(np.asarray(np.corrcoef(rows, rowvar=False))[np.triu_indices(k, 1)]).max()
    if np.isnan(r):
        return 0.0  # a column that is constant: no normal numbers
    statistic = r * np.sqrt((n - 2) / max(1 - r * r, 1e-300))
    return float(min(1.0, k * (k - 1) * student.sf(statistic, n - 2)))


def uniforms(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The Metropolis numbers ``u`` of `transcript` are uniform on [0, 1), and each chain has its own.

    Kolmogorov-Smirnov; and the number of values that occur again within a call, against that of numbers on a grid of 2^-23,
    the coarsest (single precision) that is in use.

    If it fails: one number for all chains, a generator seeded anew, or numbers of low precision.
    """
    from scipy.stats import kstest, poisson

    drawn, following = np.empty(0), _own_noise(subject, trial)

    def p_values(n: int) -> tuple[float, int]:
        nonlocal drawn
        calls = [call["u"] for call in following(n)]
        again = sum(len(u) - len(np.unique(u)) for u in calls)
        pairs = sum(len(u) * (len(u) - 1) / 2 for u in calls)
        p_again = poisson.sf(again - 1, pairs / 2**23)
        drawn = np.concatenate(calls)
        return float(min(kstest(drawn, "uniform").pvalue, p_again)), 2

    n = trial.effort.decisions * 2 * CROWD
    # Kolmogorov's tail 2 exp(-2 n D^2), and the power quantile with the largest standard deviation 1/2 of the empirical law.
    seen = (np.sqrt(np.log(2 / trial.alpha) / 2) + POWER_QUANTILE / 2) / np.sqrt(n)
    verdict = _noise_verdict("u ~ U(0, 1)", p_values, n, trial, f"distribution of u off by {min(1.0, seen):.1e}")
    return shown_too(verdict, exhibits.against_law(drawn, lambda u: np.clip(u, 0, 1), "u", "U(0, 1)"))


def pseudofermions(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The ``phi`` of `transcript` have the density ``exp(-phi^dag K phi)`` at the field they start from, apart from the rest.

    With ``K = L L^dag`` the components of ``L^dag phi`` are independent complex normal numbers: p-values as for the momenta,
    with the largest correlation with any of those or ``u``; ``phi^dag K phi`` of a chain has a Gamma law (Kolmogorov-Smirnov);
    sign tests of the products of neighbouring chains, and of one chain's in two calls.

    If it fails: see pseudofermions.heat_bath, which judges the same law apart from the update; the update may use the
    field of the step before.
    """
    from scipy.special import ndtri
    from scipy.stats import chi2, kstest

    h, chains = Hamiltonian(subject), 64
    x = sampler(subject, rng, chains)
    size, stray = 1, 0.0

    def p_values(n: int) -> tuple[float, int]:
        nonlocal x, size, stray
        rows: list[Array] = []
        others: list[Array] = []
        while sum(row.size for row in rows) < n or len(rows) < 2:
            record = subject.transcript(x, seed_from(rng))
            stray = max(stray, h.stray(record["phi"]))
            eta = h.whitened(x, record["phi"]) * np.sqrt(2)
            rows.append(np.concatenate([eta.real, eta.imag], axis=1))
            u = np.asarray(ndtri(np.clip(record["u"], U, 1 - U)))
            others.append(np.column_stack([record["v"].reshape(chains, -1)[:, :LOOKED_AT], u]))
            x, size = record["x_next"], rows[-1].shape[1]
        drawn, pairs = np.concatenate(rows), len(rows) // 2
        squares = (drawn * drawn).sum(axis=1)
        calls = [(rows[2 * k] * rows[2 * k + 1]).sum(axis=1) for k in range(pairs)]
        p = [
            *normal_p_values(drawn, np.concatenate(others)),
            float(kstest(squares, chi2(size).cdf).pvalue),
            sign_test(np.concatenate(calls)),
            sign_test((drawn[::2] * drawn[1::2]).sum(axis=1)),
        ]
        return float(min(p)), len(p)

    n = trial.effort.decisions * 2**15
    told = normal_sensitivity(n, 2 * h.whitened(x[:1], h.draw(rng, x[:1])).shape[1], trial.alpha, "the whitened fields")
    verdict = _noise_verdict("L^dag phi ~ N(0, 1)", p_values, n, trial, told)
    if stray:
        return within("largest field on odd sites", stray, 0.0, "any", n, "declared to live on the even sites")
    return verdict


def direction(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The direction ``d`` of `transcript` is +1 or -1 with equal probability, drawn per chain and apart from the rest.

    Sign tests of d, of the product of neighbouring chains, of one chain's product from call to call, and of d times the sign
    of: ``u - 1/2`` and whether u is in the outer or inner, odd or even quarters; the sum of the momenta and their kinetic
    energy less its median; each momentum (of at most 128), and the product of each with the next. A direction that never
    flips, one for the whole batch, or one read off another random number, shows here; gauge-invariant averages are blind to it.

    If it fails: draw it anew for each chain and update from a stream of its own.
    """
    from scipy.stats import chi2

    size, following = subject.theory.size, _own_noise(subject, trial, least=2)
    median = chi2.median(size)
    odd: list[float] = []

    def p_values(n: int) -> tuple[float, int]:
        tested: dict[str, list[Array]] = {}
        before = np.empty(0)
        for k, call in enumerate(following(n)):
            d, v = call["d"], call["v"].reshape(len(call["d"]), -1)
            odd.extend(d[np.abs(d) != 1])
            half, quarter = call["u"] - 0.5, (2 * call["u"]) % 1 - 0.5
            single = v[:, :: _stride(size)]
            rest = [half, quarter, half * quarter, v.sum(axis=1), (v * v).sum(axis=1) - median]
            others = np.column_stack([*rest, single, np.sign(single[:, :-1]) * np.sign(single[:, 1:])])
            products = {"d": d[:, None], "neighbours": (d[::2] * d[1::2])[:, None], "others": d[:, None] * others}
            if k % 2:
                products["calls"] = (d * before)[:, None]
            before = d
            for name, product in products.items():
                tested.setdefault(name, []).append(product)
        p = [sign_test(column) for parts in tested.values() for column in np.concatenate(parts).T]
        return min(p), len(p)

    n = trial.effort.decisions * 2 * CROWD
    seen = detectable_sign_excess(n // 2, trial.alpha / (7 + 2 * -(-size // _stride(size))))
    verdict = _noise_verdict("d = +-1, each by half", p_values, n, trial, f"an excess of {seen:.1e}")
    if odd:
        return within("directions other than +1 and -1", float(len(odd)), 0.0, "one", n, f"first: {odd[0]:.6g}")
    return verdict


class OwnNoise:
    """The random numbers ``v``, ``u``, ``d`` that `transcript` draws, call by call along the same chains, when first asked for."""

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self._subject, self._rng = subject, rng
        self._x = sampler(subject, rng, max(CROWD, 2**13 // subject.theory.size))
        self._calls: list[Record] = []

    def calls(self, start: int, n: int) -> list[Record]:
        """n of them."""
        while len(self._calls) < start + n:
            record = self._subject.transcript(self._x, seed_from(self._rng))
            self._calls.append({name: record[name] for name in ("v", "u", "d") if name in record})
            self._x = record["x_next"]
        return self._calls[start : start + n]

    @property
    def chains(self) -> int:
        """Of one call."""
        return len(self._x)


def _own_noise(subject: Subject, trial: Trial, least: int = 1) -> Callable[[int], list[Record]]:
    """A function of n: the next calls of `transcript`, at least ``least`` and enough for n updates of a chain.

    Every check reads them from the first, so that they are made for one of them and are there for the others.
    """
    noise = trial.evidence.shared("noise", lambda rng: OwnNoise(subject, rng))
    position = 0

    def following(n: int) -> list[Record]:
        nonlocal position
        calls = noise.calls(position, max(least, -(-n // noise.chains)))
        position += len(calls)
        return calls

    return following


def _noise_verdict(quantity: str, p_values, n: int, trial: Trial, sensitivity: str) -> Verdict:  # type: ignore[no-untyped-def]
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    return Verdict(
        FAIL if result.alarm else PASS,
        f"{quantity}: p-value",
        result.p_value,
        result.bound,
        sensitivity,
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
        exhibits=exhibits.rounds(result),
    )
