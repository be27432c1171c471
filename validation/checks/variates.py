"""Control variates: mean zero, the divergence of the field they come from, their symmetries, and what they are worth.

A variate of mean zero takes variance from an observable and leaves its mean alone; one that is off looks the same and is worse
than nothing. Its size is bounded by nothing, so that bets on a bounded statistic are no choice: what is bounded is its second
moment, by that of configurations set apart, raised fourfold (`refimpl.validation.sequential.trusted_kurtosis`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import u1

from .. import measure
from ..contract import Subject, TargetFault
from ..conversion import Misdeclared
from ..evidence import Trial, batch_size, sampler
from ..sequential import (
    RAISED,
    detectable_moment,
    detectable_sign_excess,
    moment_wealth,
    trusted_kurtosis,
)
from ..theories import U1, Phi4, Symmetry, U
from ..theories.scalar import correlator, moment
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .exact_start import e_verdict
from .maps import LEAST_USEFUL, Inconclusive
from .static import worst

Array = NDArray[np.float64]

APART = 16_384  # configurations that teach the scale, at least
LARGEST_FIELD = 1024  # components of a field whose divergence is taken one by one
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
CHUNK = 2**18  # components of the fields of one call
COMPONENTS = 2**22  # of g, for the divergence in unusual fields
OFF = 0.1  # how far unusual fields are moved at random
# Two calls with the same input agree to this part of their size. What is below `ZERO` may be rounding altogether.
SAME, ZERO = 1e-11, 1e-9
# Scatter of O - f below this part of O is rounding, or the error of the exact mean (below 1e-8).
EXACTNESS = 1e-6
# A claim is not reached where the ratio is below this part of it; of pairs, whose typical ratio is not that of the deviations: for
# normal numbers it is, for the square of one (as O, of O - f normal) it is 0.6 of that.
FORGIVEN, HALF = 0.9, 0.5


def observable(subject: Subject) -> Callable[[Array], Array]:
    """The declared observable by the oracle's own measurements; raises `Misdeclared`."""
    name, theory = str(getattr(subject.target, "observable", None)), subject.theory
    if isinstance(theory, Phi4):
        if (found := re.fullmatch(r"correlator_(\d+)", name)) and int(found[1]) < theory.shape[0]:
            return partial(correlator, t=int(found[1]))
        if (found := re.fullmatch(r"phi\^(\d+)", name)) and int(found[1]) > 0:
            return partial(moment, k=int(found[1]))
        expected = f"correlator_T with T below {theory.shape[0]}, or phi^K"
    else:
        if name == "plaquette":
            return measure.mean_plaquette
        if found := re.fullmatch(r"wilson_loop_(\d+)x(\d+)", name):
            extents = int(found[1]), int(found[2])
            if all(0 < extent <= side for extent, side in zip(extents, subject.u1.shape, strict=True)):
                return partial(measure.mean_loop, extent_t=extents[0], extent_x=extents[1])
        expected = f"plaquette, or wilson_loop_TxX of at most {subject.u1.shape}"
    raise Misdeclared(f"observable: got {name!r}, expected {expected}")


# --- the identity ------------------------------------------------------------------------------------------------------
def divergence(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``f = div g - g . force`` with the oracle's own force, and every ``d g_i/d x_i`` by central differences.

    Fourth-order differences of four step sizes from 1e-2 to 1e-5: the two neighbours that agree best give the answer, and ten
    times their difference, with the rounding of g over the step, its error. A divergence that is dropped or halved, cross terms
    that are left out, a force of another action: all are seen, whatever the statistics. In typical fields, and in unusual ones:
    smooth, rough, large, of large mean or charge. On fields of at most 1024 components, else on a smaller lattice where the target
    can be made there. What fails must fail again a little further on, where no kink of a net is in the way.

    If it fails: f is not the divergence of the field that is offered, so its mean need not vanish: subtract it from no
    observable until this passes.
    """
    at: Subject | None = subject
    if subject.theory.size > LARGEST_FIELD:
        smaller = (subject.replace(**changes) for changes in subject.theory.smaller())
        at = next((other for other in smaller if other is not None), None)
    if at is None:
        return skipped(
            f"fields of shape {subject.theory.field_shape} are too large, and the target cannot be made smaller"
        )
    typical = np.concatenate([sampler(at, rng, 3), 0.3 * sampler(at, rng, 1)])
    affordable = max(1, COMPONENTS // (4 * len(STEPS) * at.theory.size**2))
    fields = np.concatenate([typical, unusual(at, rng)[:affordable]])
    found: list[Identity] = []
    for one in fields:
        identity = Identity.at(at, one)
        if identity.broken:
            further = Identity.at(at, one + OFF * at.theory.scale * rng.standard_normal(one.shape))
            identity = further if further.settled else identity
        found.append(identity)
    settled = [identity for identity in found if identity.settled]
    if not any(identity.settled for identity in found[: len(typical)]) and not any(each.broken for each in settled):
        raise Inconclusive("finite differences of control_variate_field do not settle")
    worst_of = max(settled, key=lambda identity: identity.off / identity.slack)
    slacks = [
        max((each.slack for each in part if each.settled), default=math.inf)
        for part in (found[: len(typical)], found[len(typical) :])
    ]
    told = f"an error of f of {slacks[0]:.1e}, in unusual fields of {slacks[1]:.1e} ({len(settled)} of {len(fields)} fields)"
    samples = 4 * len(STEPS) * len(settled) * at.theory.size
    return within("max |f - (div g - g.force)|", worst_of.off, worst_of.slack, told, samples, worst_of.detail)


@dataclass(frozen=True)
class Identity:
    """How far f is from the divergence of its field at one configuration, and how well that is known."""

    off: float
    slack: float
    settled: bool
    detail: str

    @property
    def broken(self) -> bool:
        return self.settled and not self.off <= self.slack

    @classmethod
    def at(cls, subject: Subject, x: Array) -> Identity:
        f, g = float(subject.control_variate(x[None])[0]), subject.control_variate_field(x[None])
        repeated("control_variate_field", g, subject.control_variate_field(x[None]))
        products = g[0] * subject.theory.loop_force(x)
        diagonals = np.array([_diagonal(subject, x, h * subject.theory.scale) for h in STEPS])
        sums = diagonals.sum(axis=1)
        gaps = np.abs(np.diff(sums))
        best = int(np.argmin(gaps))
        size = float(np.abs(diagonals[best + 1]).sum() + np.abs(products).sum())
        rounding = 64 * U * float(np.abs(g).sum()) / (STEPS[best + 1] * subject.theory.scale)
        slack = 10 * float(gaps[best]) + rounding + 1e3 * U * (size + abs(f)) + 1e-300
        expected = float(sums[best + 1] - products.sum())
        detail = (
            f"in a field {_described(subject, x)}: f = {f:.10g}, div g - g.force = {expected:.10g}, of these div g = "
            f"{sums[best + 1]:.6g}, g.force = {products.sum():.6g}"
        )
        return cls(abs(f - expected), slack, slack < LEAST_USEFUL * max(1.0, size), detail)


def unusual(subject: Subject, rng: np.random.Generator) -> Array:
    """Fields that are hardly ever drawn, and yet are the theory's: the test fields of all checks, and before them some of a large
    mean, large ones and a large site, or of U(1) some of large charge. All are moved off the points where a net may have a kink.
    """
    theory = subject.theory
    if isinstance(theory, U1):
        most = (theory.volume - 1) // 2
        charges = sorted({q for q in (3, 4, most) if 3 <= q <= most})
        more = [measure.flux_configuration(theory.shape, sign * q) for q in charges for sign in (1, -1)]
    else:
        x = theory.starts(rng, 3)
        size, single = float(np.sqrt(np.mean(x * x))), np.zeros_like(x[:1])
        single[0, 0, -1] = 8 * size
        more = [x[:1] + math.copysign(4 * size, x[0].mean()), 3 * x[1:], np.full_like(single, -6 * size), single]
    fields = np.concatenate([*more, theory.configurations(rng)[::-1]])
    return np.asarray(fields + OFF * theory.scale * rng.standard_normal(fields.shape))


def _described(subject: Subject, x: Array) -> str:
    if isinstance(subject.theory, U1):
        return f"of charge {int(measure.charge(x[None])[0])}"
    return f"of mean {x.mean():.3g}, the largest {np.abs(x).max():.3g}"


def without_field(trial: Trial) -> str:
    """What offering the field would buy, in words: beside it what `mean_zero` sees of an f of normal numbers."""
    normal = np.random.default_rng(1).standard_normal(trial.effort.chains)
    seen = detectable_moment(normal, RAISED, trial.alpha / 2)
    return (
        "with it errors of f of some 1e-10 would be seen, in every kind of field; without it only variates.mean_zero sees them, "
        f"from about {100 * seen:.2g} % of the standard deviation of f at this level, or less where the exact mean of O is known"
    )


def _diagonal(subject: Subject, x: Array, h: float) -> Array:
    """``d g_i/d x_i`` for every i, at one field."""
    few = max(1, CHUNK // (4 * x.size))
    out = np.empty(x.size)
    for start in range(0, x.size, few):
        at = np.arange(start, min(start + few, x.size))
        units = np.zeros((len(at), x.size))
        units[np.arange(len(at)), at] = h
        units = units.reshape(len(at), *x.shape)
        moved = np.concatenate([subject.theory.pushed(x, k * units) for k in (-2, -1, 1, 2)])
        g = subject.control_variate_field(moved).reshape(4, len(at), x.size)[:, np.arange(len(at)), at]
        out[at] = (8 * (g[2] - g[1]) - (g[3] - g[0])) / (12 * h)
    return out


# --- symmetries --------------------------------------------------------------------------------------------------------
def symmetry(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The variate is left alone by the moves it is declared, or taken, to be left alone by; of angles always by turns of 2 pi.

    Translations, and parity or gauge transformations and conjugation, unless ``variate_symmetries`` says otherwise. A variate
    without them may have mean zero all the same, but has noise of its own, which no symmetric observable shares.

    If it fails: declare the symmetries that the variate has in ``variate_symmetries``, or average it over the others.
    The mean may be right even so.
    """
    x = sampler(subject, rng, 6)
    before = subject.control_variate(x)
    tolerance = rounding(subject, rng, x, before)
    largest, detail, names = 0.0, "", []
    for move in _moves(subject, rng, x):
        after = subject.control_variate(np.asarray(move.field(x)))
        names.append(move.name)
        error = float(np.max(np.abs(after - before)))
        if not error <= largest:
            largest, detail = error, f"{move.name}: {worst(after, before)}"
    if not names:
        return skipped("declares no symmetries of its variate")
    told = f"a change of f by {tolerance:.1e} ({', '.join(names)})"
    return within("max |f(moved) - f|", largest, tolerance, told, len(x), detail)


def symmetries(subject: Subject) -> tuple[str, ...]:
    """What leaves the variate alone, as declared or by default; raises `Misdeclared`."""
    scalar = isinstance(subject.theory, Phi4)
    default = ("translation", "parity") if scalar else ("gauge", "translation", "conjugation")
    known = (*default, "reflection", "exchange") if scalar else default
    declared = getattr(subject.target, "variate_symmetries", default)
    if isinstance(declared, str) or not set(declared) <= set(known):
        raise Misdeclared(f"variate_symmetries: got {declared!r}, expected a tuple of {', '.join(known)}")
    return tuple(declared)


def _moves(subject: Subject, rng: np.random.Generator, x: Array) -> list[Symmetry]:
    wanted = symmetries(subject)
    moves = [move for move in subject.theory.symmetries(rng, len(x)) if move.name.split()[0] in wanted]
    if "conjugation" in wanted and isinstance(subject.theory, U1):
        moves.append(subject.theory.conjugation())
    if isinstance(subject.theory, U1):
        turns = 2 * np.pi * rng.integers(-1, 2, x.shape)
        moves.append(Symmetry("turns of 2 pi", lambda x: x + turns, lambda f: f))
    return moves


def batch(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The variate is a function of the configuration: whatever was asked before, alone, among few and among many it is the same.

    One that subtracts the mean over its batch, or over all it has seen, has mean zero by force, and is none; nor is one with
    noise of its own. Many are twice as many as the statistical checks hand over in one call. In unusual fields it is finite.

    If it fails: take out what is averaged over the batch; a correct variate needs nothing but its own configuration.
    """
    try:
        subject.control_variate(unusual(subject, rng))
    except TargetFault as fault:
        raise TargetFault(f"{fault} (in fields that are smooth, rough, large, of large mean or charge)") from fault
    many = sampler(subject, rng, 2 * batch_size(subject.theory.volume))
    rows = np.linspace(0, len(many) - 1, 8).astype(int)
    x = many[rows]
    few = subject.control_variate(x)
    tolerance = rounding(subject, rng, x, few)
    alone = np.concatenate([subject.control_variate(x[i : i + 1]) for i in range(len(x))])
    largest, detail = -1.0, ""
    for size, together in ((len(x), few), (len(many), subject.control_variate(many)[rows])):
        error = float(np.max(np.abs(alone - together)))
        if not error <= largest:
            largest, detail = error, f"alone and in a batch of {size}: {worst(alone, together)}"
    told = f"a change of f by {tolerance:.1e}, in batches of {len(x)} and {len(many)}"
    return within("max |f alone - f in a batch|", largest, tolerance, told, len(many), detail)


def rounding(subject: Subject, rng: np.random.Generator, x: Array, f: Array) -> float:
    """A thousand times what disturbances of an ulp do to f, which is as well conditioned as it is; at least 1e-11 of its size.

    At most a thousandth of it: an f that an ulp changes by more is not excused. Raises `TargetFault` where f is not the same again.
    """
    subject.control_variate(x[:1])  # what remembers its calls has now another mean to subtract
    repeated("control_variate", f, subject.control_variate(x))
    noise, ulps = 0.0, 2 * U * np.maximum(np.abs(x), subject.theory.scale)
    for _ in range(4):
        moved = x + rng.choice([-1.0, 1.0], x.shape) * ulps
        noise = max(noise, float(np.max(np.abs(subject.control_variate(moved) - f))))
    size = float(np.max(np.abs(f)))
    return min(1e3 * noise + SAME * size, max(1e-3 * size, ZERO))


def repeated(name: str, first: Array, second: Array) -> None:
    """Raises `TargetFault` where a second call with the same input gave something else: state, or noise of its own."""
    change, size = float(np.max(np.abs(second - first))), float(np.max(np.abs(first)))
    if change > SAME * size + 1e3 * U:
        raise TargetFault(f"{name}: two calls with one input differ by {change:.3g}, where it is of size {size:.3g}")


# --- statistics --------------------------------------------------------------------------------------------------------
def mean_zero(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The mean of the variate over exact, independent configurations is zero: bets that need a second moment and no bound.

    The second moment is measured on configurations of its own and raised fourfold, which makes it a bound, up to half the
    false-alarm level, for every variate of a kurtosis that is told; where the measured kurtosis is larger, nothing is decided.
    The other half goes to bets with ``1 + y + y^2/2``, whose mean such a bound keeps at 1, however heavy the tails. Where the
    exact mean of the observable is known, ``O - f`` less that mean is bet on instead, if it scatters less.

    If it fails: the estimate ``<O - f>`` is biased by what is shown. Usual causes: divergence halved or dropped, force
    of the wrong sign, cross terms of a product left out.
    """
    exact, function = exact_mean(subject), _declared(subject)
    (f, o), judged = _values(subject, trial, function)
    scale, name = Scale.learned(f, trial.alpha / 2), "mean of f = 0"
    if exact is not None:
        floor = EXACTNESS * float(np.sqrt(np.mean(o * o)))
        better = Scale.learned(o - f - exact, trial.alpha / 2, floor)
        if better.bound < scale.bound and not better.untrusted:
            scale, name = better, "mean of O - f = exact <O>"
    f, o = judged
    y = f if exact is None or "exact" not in name else o - f - exact
    scale = scale.beside(y)
    if scale.untrusted:
        return skipped(f"{name.partition(' = ')[0].removeprefix('mean of ')} {scale.untrusted}")
    seen = detectable_moment(y, scale.bound, trial.alpha / 2)
    verdict = e_verdict(
        name, moment_wealth(y, scale.bound, trial.alpha / 2), len(y), replace(trial, alpha=trial.alpha / 2),
        f"a mean of f of {seen:.1e} ({seen / max(float(f.std()), 1e-300):.2g} of its sd)",
        f"{name.partition(' = ')[0]}: off by {y.mean():.3e} +- {y.std() / np.sqrt(len(y)):.1e}, {scale}",
    )  # fmt: skip
    return replace(verdict, alpha=trial.alpha)  # the bound had the other half


def _declared(subject: Subject) -> Callable[[Array], Array] | None:
    """`observable`, or None where it is not known here: the variate may be right all the same."""
    try:
        return observable(subject)
    except Misdeclared:
        return None


def exact_mean(subject: Subject) -> float | None:
    """Of the declared observable, where it is known."""
    if _declared(subject) is None:
        return None
    name, theory = str(subject.target.observable), subject.theory
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    if isinstance(theory, Phi4):
        answers = theory.answers
        if answers is None:
            return None
        known = {"phi^2": answers.phi_squared, "phi^4": answers.phi_fourth}
        return float(answers.correlator[numbers[0]]) if name.startswith("correlator") else known.get(name)
    if name == "plaquette":
        return u1.plaquette(subject.u1.beta, subject.u1.shape)
    return u1.wilson_loop(subject.u1.beta, subject.u1.shape, math.prod(numbers))


def improvement(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """The standard deviation of O over that of O - f, on exact configurations, is what is claimed, or 1 where nothing is.

    f is subtracted as it stands, so that its scale and sign matter: the best multiple of it is told where it fails. Alarms
    where the ratio is below 0.9 of the claim (``improvement_ratio`` of the target), by one-sided bets against ``E[(b r)^2 - o^2]
    <= 0`` with the deviations r of O - f and o of O from their means, in the way of `mean_zero`; where the tails are too heavy
    for those, below half of it in pairs of configurations, by an exact sign test of ``|o - o'| >= b |r - r'|`` in at least every
    other pair. The ratio is shown beside what would have been seen.

    If it fails: the sign or the scale of f (shown), training data that were judged by their own fit, or another theory
    than that of the training. The mean stays right.
    """
    function, claim = observable(subject), subject.improvement_ratio
    claimed = 1.0 if claim is None else claim
    (f, o), judged = _values(subject, trial, function)
    centres = (o - f).mean(), o.mean()

    def excess(f: Array, o: Array) -> Array:
        return np.asarray((FORGIVEN * claimed * (o - f - centres[0])) ** 2 - (o - centres[1]) ** 2)

    scale = Scale.learned(excess(f, o), trial.alpha / 4)
    f, o = judged
    ratio, error, kurtosis = worth(o, o - f)
    multiple = float(np.cov(o, f)[0, 1] / max(float(np.var(f)), 1e-300))
    told = (
        f"ratio {ratio:.4g} +- {error:.1g}, kurtosis of O - f {kurtosis:.3g}, claimed "
        f"{'nothing' if claim is None else f'{claim:g}'}; f times {multiple:.3g} would take most variance"
    )
    pairs = PairTest.of(o, o - f, HALF * claimed)
    if pairs.p_value <= trial.alpha / 2:
        quantity = f"pairs with sigma(O)/sigma(O - f) >= {HALF * claimed:.3g}: p-value"
        return Verdict(FAIL, quantity, pairs.p_value, trial.alpha / 2, "", len(f), trial.alpha, told)
    quantity = f"sigma(O)/sigma(O - f) >= {FORGIVEN * claimed:.3g}"
    typical = f"a ratio below {pairs.seen(trial.alpha / 2):.2g} in typical pairs; it is {ratio:.4g}"
    z = excess(f, o)
    scale = scale.beside(z)
    if scale.untrusted:
        detail = f"{told}; the excess of squares {scale.untrusted}: by pairs alone"
        return Verdict(
            PASS, f"{quantity}: p-value", pairs.p_value, trial.alpha / 2, typical, len(f), trial.alpha, detail
        )
    seen = detectable_moment(z, scale.bound, trial.alpha / 4, above=True)
    worse = FORGIVEN * claimed / np.sqrt(1 + seen / float(np.var(o)))
    verdict = e_verdict(
        quantity, moment_wealth(z, scale.bound, trial.alpha / 4, above=True), len(z),
        replace(trial, alpha=trial.alpha / 4), f"a ratio below {worse:.2g}, {typical.removeprefix('a ratio ')}", told,
    )  # fmt: skip
    return replace(verdict, alpha=trial.alpha)


@dataclass(frozen=True)
class PairTest:
    """The ratios ``|o - o'|/|r - r'|`` of pairs, and the p-value that at least half of them are as large as was asked."""

    ratios: Array
    least: float
    p_value: float

    @classmethod
    def of(cls, raw: Array, improved: Array, least: float) -> PairTest:
        from scipy.stats import binom

        o, r = (
            np.abs(values[: len(values) // 2 * 2].reshape(-1, 2) @ np.array([1.0, -1.0])) for values in (raw, improved)
        )
        ratios = o / np.maximum(r, 1e-300)
        return cls(ratios, least, float(binom.sf(int((ratios < least).sum()) - 1, len(ratios), 0.5)))

    def seen(self, alpha: float) -> float:
        """The median of ratios that scatter like these, at which the test would have alarmed with probability `POWER`."""
        share = min(1.0, 0.5 + detectable_sign_excess(len(self.ratios), 2 * alpha) / 2)
        return self.least * float(np.median(self.ratios) / max(np.quantile(self.ratios, share), 1e-300))


def worth(raw: Array, improved: Array) -> tuple[float, float, float]:
    """Ratio of the standard deviations of independent values with its jackknife error over 50 bins, kurtosis of the improved."""
    bins = 50
    deviations = [values - values.mean() for values in (raw, improved)]
    squares = np.array([[np.square(part).mean() for part in np.array_split(d, bins)] for d in deviations])
    ratio = float(np.sqrt(squares[0].mean() / squares[1].mean()))
    left_out = np.sqrt((squares[0].sum() - squares[0]) / (squares[1].sum() - squares[1]))
    error = float(np.sqrt((bins - 1) * np.mean((left_out - left_out.mean()) ** 2)))
    return ratio, error, float(np.mean(deviations[1] ** 4) / np.mean(deviations[1] ** 2) ** 2)


@dataclass(frozen=True)
class Scale:
    """A bound on a second moment, from values set apart; their kurtosis, and that up to which it is a bound."""

    bound: float
    kurtosis: float
    trusted: float

    @classmethod
    def learned(cls, y: Array, alpha: float, floor: float = 0.0) -> Scale:
        """From these values, taken as at least ``floor`` in size."""
        return cls(RAISED * max(float(np.mean(y * y)), floor**2, 1e-300), _kurtosis(y), trusted_kurtosis(len(y), alpha))

    def beside(self, y: Array) -> Scale:
        """With the kurtosis of further values, if that is larger: a law whose tails the first ones missed is not trusted either."""
        return replace(self, kurtosis=max(self.kurtosis, _kurtosis(y)))

    @property
    def untrusted(self) -> str:
        """Why there is no bound, if there is none."""
        if self.kurtosis <= self.trusted:
            return ""
        return f"has a kurtosis of {self.kurtosis:.3g}, more than the {self.trusted:.3g} that this level is good for"

    def __str__(self) -> str:
        told = f"the bound on the second moment holds for tails up to a kurtosis of {self.trusted:.3g}"
        return f"kurtosis {self.kurtosis:.3g} ({told})"


def _kurtosis(y: Array) -> float:
    """``E[y^4]/E[y^2]^2``, about zero."""
    square = float(np.mean(y * y))
    return float(np.mean((y * y / square) ** 2)) if square > 0 else 1.0


def _values(subject: Subject, trial: Trial, function: Callable[[Array], Array] | None) -> tuple[Array, Array]:
    """``(2, n)`` the variate and the observable: on configurations set apart, and on those that are judged."""
    apart, judged = max(APART, trial.effort.chains), trial.effort.chains
    values = trial.evidence.variates.values(apart + judged, function)
    return values[:, :apart], values[:, apart:]
