"""Conditional densities of pseudofermions: a linear map of noise at given links, its determinant, symmetries and density.

Every tolerance is what direct algebra makes of numbers, with the condition of the map: single precision is far beyond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import vectors
from ..contract import Subject
from ..conversion import Misdeclared, TargetFault
from ..evidence import seed_from
from ..verdict import Verdict, skipped, within
from .covariances import (
    LARGEST_PROBED,
    LARGEST_ROWS,
    ROUNDING,
    Covariances,
    Turn,
    gauge,
    image,
    links,
    living,
    noise,
    probed,
    readable,
    rows,
    small,
    stray,
    too_large,
    translated,
    ways,
    whitened,
)

Array = NDArray[np.float64]
Complex = NDArray[Any]

CHAINS, FEW = 8, 3
LARGEST_GAIN = 1e3  # for which a tolerance allows: a map that is worse is not one of direct algebra
SYMMETRIES = ("gauge", "translation")
GOLDEN = 1e-11  # of the size of a field: rounding of two layers


class Worst:
    """The largest error of several, in units of what is allowed."""

    def __init__(self) -> None:
        self.ratio, self.least, self.detail, self.n = -1.0, np.inf, "nothing was looked at", 0

    def add(self, error: Any, allowed: float, detail: str, n: int) -> None:
        size = float(np.max(error, initial=0.0))
        self.n, self.least = self.n + n, min(self.least, allowed)
        if not size / allowed <= self.ratio:
            self.ratio, self.detail = size / allowed, f"{detail} is off by {size:.3g}"

    def verdict(self, quantity: str, told: str = "an error of {:.1e}") -> Verdict:
        return within(f"{quantity} over its rounding", self.ratio, 1.0, told.format(self.least), self.n, self.detail)


def tolerances(at: Subject, x: NDArray[Any], step: Callable[..., Any], phi: Complex) -> tuple[float, float]:
    """Of images, and of logdets: by how much the map makes fields larger and smaller."""
    out, logdet = step(x, phi)
    gain = np.linalg.norm(rows(at, out), axis=-1) / np.linalg.norm(rows(at, phi), axis=-1)
    largest, least = float(gain.max()), float(gain.min())
    if not least > 0:
        raise TargetFault("the conditional map: it takes a field that is not zero to zero")
    size = float(np.abs(out).max()) * min(LARGEST_GAIN, max(1.0, largest, 1 / least))
    return 100 * ROUNDING * size, 100 * ROUNDING * (int(living(at).sum()) + float(np.abs(logdet).max()))


# --- the map ----------------------------------------------------------------------------------------------------------------
def linear(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``f(a chi + b chi') = a f(chi) + b f(chi')`` with complex a and b, a logdet that no field changes, and no chain another's.

    The same for fields of other sizes, for chains in another order, for one alone and again: noise, a nonlinearity, a complex
    conjugate, a place in the batch are seen.

    If it fails: the field enters a net or an activation, its conjugate is taken, or noise is added; only the links may
    enter the nets.
    """
    found = Worst()
    x = links(subject, rng, CHAINS)
    for name, step, chi in ways(subject, rng, x):
        other = noise(rng, subject, x)
        a, b = (np.exp(2j * np.pi * rng.random((CHAINS, *(1,) * (chi.ndim - 1)))) for _ in range(2))
        field, log = tolerances(subject, x, step, chi)
        (one, logdet), (two, logdet_other) = step(x, chi), step(x, other)
        for size in (1.0, 1e3, 1e-3):
            both, logdet_both = step(x, size * (a * chi + b * other))
            told = f"{name}: the image of a sum of fields of size {size:g}"
            found.add(np.abs(both / size - (a * one + b * two)), 4 * field, told, CHAINS)
            found.add(np.abs(logdet_both - logdet), log, f"{name}: the logdet at another field", CHAINS)
        found.add(np.abs(logdet_other - logdet), log, f"{name}: the logdet at another field", CHAINS)
        turned, turned_log = step(x[::-1], chi[::-1])
        found.add(np.abs(turned[::-1] - one), field, f"{name}: the image with the chains in another order", CHAINS)
        found.add(
            np.abs(turned_log[::-1] - logdet), log, f"{name}: the logdet with the chains in another order", CHAINS
        )
        alone = [step(x[k : k + 1], chi[k : k + 1]) for k in range(FEW)]
        for k, (own, own_log) in enumerate(alone):
            found.add(np.abs(own[0] - one[k]), field, f"{name}: a chain alone and in a batch", 1)
            found.add(np.abs(own_log[0] - logdet[k]), log, f"{name}: the logdet of a chain alone", 1)
    return found.verdict("max |f(a chi + b chi') - a f(chi) - b f(chi')|")


def round_trip(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Inverse after forward and forward after inverse return to the start, and the two logdets add up to nothing.

    If it fails: frozen and active components overlap, or a layer's output is not projected on the active ones.
    """
    found = Worst()
    x = links(subject, rng, CHAINS)
    both = list(ways(subject, rng, x))
    for (name, step, chi), (other, back, phi) in (both, both[::-1]):
        allowed = [tolerances(subject, x, f, y) for f, y in ((step, chi), (back, phi))]
        there, logdet = step(x, chi)
        home, logdet_back = back(x, there)
        gain = max(1.0, float(np.abs(there).max() / np.abs(chi).max()), float(np.abs(chi).max() / np.abs(there).max()))
        found.add(np.abs(home - chi), gain * sum(field for field, _ in allowed), f"{other}({name}(field))", CHAINS)
        found.add(np.abs(logdet + logdet_back), sum(log for _, log in allowed), f"{name} and {other}: a logdet", CHAINS)
    return found.verdict("max |round trip - field|")


def jacobian(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The logdet against the determinant of the real matrix, ``2 N x 2 N``, that the map makes of unit vectors, both ways.

    Every monomial for itself: what one field says about another is seen too. Colours that are not counted, complex numbers that are
    counted as one number, an inflation without its logarithm, a factor of a layer that is not there.

    If it fails: count every complex number twice and every colour once; with spin partition A is one number a site.
    """
    at = small(subject, LARGEST_ROWS)
    if at is None:
        return skipped(too_large(subject))
    found = Worst()
    x = links(at, rng, FEW)
    size, fields = int(living(at).sum()), at.monomials.number
    for name in ("conditional_forward", "conditional_inverse"):
        if not at.has(name):
            continue
        unit, logdet = image(at, x, name)
        turned, _ = image(at, x, name, 1j)
        real = np.concatenate([np.concatenate([part.real, part.imag], axis=2) for part in (unit, turned)], axis=3)
        dense = np.asarray(np.linalg.slogdet(real)[1])
        singular = np.linalg.svd(real, compute_uv=False)
        allowed = 100 * ROUNDING * size * float((singular[..., 0] / singular[..., -1]).max())
        k = np.unravel_index(np.argmax(np.abs(logdet - dense)), dense.shape)
        factor = _common_factor(logdet, dense, getattr(at.theory, "n", 1))
        told = f"{name}, shape {at.links.shape}: logdet {logdet[k]:.10g} of field {k[1]}, dense {dense[k]:.10g}{factor}: the logdet"
        found.add(np.abs(logdet - dense), allowed, told, 2 * size * FEW)
        if fields > 1:
            mixed = _mixing(at, x, name, rng)
            found.add(mixed, 100 * ROUNDING, f"{name}: what one monomial says about another", FEW * fields)
    return found.verdict("max |logdet - dense|")


def _common_factor(logdet: Array, dense: Array, colours: int) -> str:
    """The number that all logdets are times the dense ones, and what it may come from; empty where there is none."""
    factor = float((logdet * dense).sum()) / max(float((dense**2).sum()), 1e-300)
    if abs(factor - 1) < 1e-3 or not np.abs(logdet - factor * dense).max() < 1e-6 * np.abs(logdet).max():
        return ""
    causes = []
    for whole, cause in ((2, "a complex number counts as two real ones"), (colours, "every colour counts once")):
        if whole > 1 and min(abs(factor - whole), abs(factor - 1 / whole)) < 1e-6:
            causes.append(cause)
    names = {2.0: "twice", 0.5: "half"}
    told = names.get(round(factor, 6), f"{factor:.6g} times")
    return f" ({told} the dense one everywhere{': ' * bool(causes)}{', or '.join(causes)})"


def _mixing(at: Subject, x: NDArray[Any], name: str, rng: np.random.Generator) -> float:
    """The largest change of a monomial where all others change."""
    chi, new = noise(rng, at, x), noise(rng, at, x)
    before = getattr(at, name)(x, chi)[0]
    largest = 0.0
    for m in range(at.monomials.number):
        other = new.copy()
        other[:, m] = chi[:, m]
        change = np.abs(getattr(at, name)(x, other)[0][:, m] - before[:, m]).max()
        largest = max(largest, float(change / np.abs(before[:, m]).max()))
    return largest


def even_sites(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Fields that live on even sites are zero on the others, behind the map, its inverse, and as they are sampled.

    If it fails: project after each layer: transports through odd sites may fill them, but must leave nothing there.
    """
    if not subject.monomials.even_odd:
        return skipped("declares no even_odd: the fields live on all sites")
    x = links(subject, rng, CHAINS)
    found = [(name, stray(subject, step(x, chi)[0])) for name, step, chi in ways(subject, rng, x)]
    if subject.has("conditional_sample"):
        found.append(("conditional_sample", stray(subject, subject.conditional_sample(x, seed_from(rng))[0])))
    name, error = max(found, key=lambda pair: pair[1])
    detail = f"{name}: a component of size {error:.3g} on an odd site"
    return within("largest component on odd sites", error, 0.0, "any", CHAINS * len(found), detail)


# --- symmetries -------------------------------------------------------------------------------------------------------------
def declared_symmetries(subject: Subject) -> tuple[tuple[str, ...], tuple[int, int]]:
    """``conditional_symmetries``, and ``conditional_period`` in time and space; raises `Misdeclared`."""
    names: Any = subject.declared("conditional_symmetries", ())
    given: Any = subject.declared("conditional_period", 1)
    if not isinstance(names, tuple | list | set | frozenset) or not all(name in SYMMETRIES for name in names):
        raise Misdeclared(f"conditional_symmetries: got {names!r}, expected a tuple of {', '.join(SYMMETRIES)}")
    try:
        periods = (index(given),) * 2 if np.ndim(given) == 0 else (index(given[0]), index(given[1]))
    except (TypeError, ValueError, IndexError) as error:
        raise Misdeclared(f"conditional_period: got {given!r}, expected an integer or two (time, space)") from error
    if min(periods) < 1 or np.size(given) > 2:
        raise Misdeclared(f"conditional_period: got {given!r}, expected integers of at least 1")
    return tuple(names), periods


def gauge_equivariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A gauge transformation of links and field before the map is the same as after it; the densities do not see it.

    Where ``conditional_symmetries`` declares it. A field that is added to one at another site without the link between, or with its
    conjugate, a net that sees links instead of loops, is seen.

    If it fails: add no field of another site without its link; take only traces of closed loops into the nets. Else
    declare the symmetries there are.
    """
    if "gauge" not in declared_symmetries(subject)[0]:
        return skipped('declares no "gauge" in conditional_symmetries: with it errors of some 1e-10 would be seen')
    found = Worst()
    x = links(subject, rng, CHAINS)
    moved, turn = gauge(subject, rng, x)
    _compare(found, subject, rng, x, moved, turn, "a gauge transformation")
    return found.verdict("max |f(moved) - moved f|")


def translation(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Links and field moved by the declared period before the map are the same as after it, each direction for itself.

    Where ``conditional_symmetries`` declares it. Fermions change sign across the last time slice: fields that are moved beyond
    it do, so that a transport without that sign, in one direction or both, is seen; gauge transformations do not see it. It
    takes an extent in time that is longer than the period, for which a target that can be made on another lattice is.

    If it fails: look at the sign of hops across the last time slice first, then at the period of the masks and of the
    position channels.
    """
    names, periods = declared_symmetries(subject)
    if "translation" not in names:
        return skipped(
            'declares no "translation" in conditional_symmetries: with it errors of some 1e-10 would be seen'
        )
    found, at = Worst(), _longer(subject, periods[0])
    looked_at = []
    x = links(at, rng, CHAINS)
    for mu, by in enumerate(periods):
        if at.links.shape[mu] % by:
            raise Misdeclared(f"conditional_period: got {by}, which does not divide the lattice {at.links.shape}")
        if at.links.shape[mu] == by:
            continue
        looked_at.append(("time", "space")[mu])
        told = f"a translation in {looked_at[-1]} by {by} of {at.links.shape[mu]}"
        _compare(found, at, rng, x, np.roll(x, by, axis=2 + mu), translated(at, mu, by), told)
    if "time" not in looked_at:
        return skipped(
            f"conditional_period is the extent in time, {periods[0]}, and the target cannot be made at twice that"
        )
    return found.verdict("max |f(moved) - moved f|", f"an error of {{:.1e}} (in {' and '.join(looked_at)})")


def _longer(subject: Subject, period: int) -> Subject:
    """The target, or with twice the period as its extent in time where that is the extent."""
    shape = subject.links.shape
    return subject if shape[0] != period else subject.replace(shape=(2 * period, shape[1])) or subject


def _compare(
    found: Worst,
    at: Subject,
    rng: np.random.Generator,
    x: NDArray[Any],
    moved: NDArray[Any],
    turn: Turn,
    what: str,
) -> None:
    for name, step, chi in ways(at, rng, x):
        field, log = tolerances(at, x, step, chi)
        out, logdet = step(x, chi)
        got, got_log = step(moved, turn(chi))
        found.add(np.abs(got - turn(out)), 4 * field, f"{name}, {what}: an image", len(x))
        found.add(np.abs(got_log - logdet), 4 * log, f"{name}, {what}: a logdet", len(x))
    if at.has("conditional_log_prob"):
        phi = noise(rng, at, x)
        before, after = at.conditional_log_prob(x, phi), at.conditional_log_prob(moved, turn(phi))
        allowed = 1000 * ROUNDING * (int(living(at).sum()) + float(np.abs(before).max()))
        found.add(np.abs(after - before), allowed, f"conditional_log_prob, {what}: it", len(x))


# --- the density ------------------------------------------------------------------------------------------------------------
def densities(subject: Subject, rng: np.random.Generator, x: NDArray[Any]) -> Iterator[tuple[str, Array, Array]]:
    """``log q`` of fields as the target says it, and as its map and ``pi^-N exp(-chi^dag chi)`` have it."""
    for name, step, field in ways(subject, rng, x):
        if subject.has("conditional_log_prob"):
            out, logdet = step(x, field)
            chi, phi, sign = (field, out, -1) if name == "conditional_forward" else (out, field, 1)
            yield name, subject.conditional_log_prob(x, phi), _base(subject, chi) + sign * logdet
        elif name == "conditional_inverse":
            phi, log_q = subject.conditional_sample(x, seed_from(rng))
            chi, logdet = step(x, phi)
            yield name, log_q, _base(subject, chi) + logdet
        elif not subject.has("conditional_inverse") and int(living(subject).sum()) <= LARGEST_ROWS:
            phi, log_q = subject.conditional_sample(x, seed_from(rng))
            yield "the matrix of conditional_forward", log_q, by_map(subject, x, phi)


def _base(at: Subject, chi: Complex) -> Array:
    return white_log_prob(rows(at, chi))


def white_log_prob(v: Complex) -> Array:
    """``log pi^-N exp(-chi^dag chi)`` of ``(..., rows)``."""
    return np.asarray(-(np.abs(v) ** 2).sum(axis=-1) - v.shape[-1] * math.log(math.pi))


def by_map(at: Subject, x: NDArray[Any], phi: Complex) -> Array:
    """``log q`` of fields, ``(chain, field)``, by the inverse or by the matrix of the map."""
    white, logdet = whitened(at, x, phi)
    return white_log_prob(white) - logdet


def density(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``log q(phi | x) = -N log pi - chi^dag chi - logdet`` of every monomial, by the map and its inverse.

    log q is that of `conditional_log_prob`, else what `conditional_sample` says of its fields. Constants for every real number
    instead of every complex one, a base of another width, all sites counted where half of them live.

    If it fails: the constant is ``N log pi`` for N complex numbers, with ``chi^dag chi`` and not half of it; then the
    sign of logdet.
    """
    found = Worst()
    x = links(subject, rng, CHAINS)
    for name, got, expected in densities(subject, rng, x):
        allowed = 1000 * ROUNDING * (int(living(subject).sum()) + float(np.abs(expected).max()))
        k = np.unravel_index(np.argmax(np.abs(got - expected)), got.shape)
        found.add(
            np.abs(got - expected), allowed, f"by {name}: {got[k]:.10g}, expected {expected[k]:.10g}: log q", len(x)
        )
    if not found.n:
        return skipped(
            "offers neither conditional_log_prob nor an inverse, and has too many components for a dense matrix"
        )
    return found.verdict("max |log q - (log r - logdet)|")


def normalised(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``log q(phi | x) = c - phi^dag A phi`` with ``c = log det A - N log pi``: a normal density, normalised.

    A is read off entry by entry, from fields with one or two components; c is log q of the field that is zero. At random fields the
    form is asked for again. Nothing but `conditional_log_prob` is called.

    If it fails: either no normal density (a term beyond the quadratic one), or a logdet that does not match the form:
    see conditional.jacobian.
    """
    at = small(subject, LARGEST_PROBED)
    if at is None:
        return skipped(too_large(subject))
    found = Worst()
    x = links(at, rng, FEW)
    a, c = probed(at, x)
    least, most = (np.linalg.eigvalsh(a)[..., k] for k in (0, -1))
    if not least.min() > 0:
        detail = f"the least eigenvalue of A is {least.min():.3g}"
        return within("least eigenvalue of -A", -float(least.min()), 0.0, "any that is not negative", FEW, detail)
    size = a.shape[-1]
    expected = np.asarray(np.linalg.slogdet(a)[1]) - size * math.log(math.pi)
    allowed = 1000 * ROUNDING * size * (float((most / least).max()) + float(np.abs(c).max()))
    k = np.unravel_index(np.argmax(np.abs(c - expected)), c.shape)
    told = f"shape {at.links.shape}, field {k[1]}: log q(0) = {c[k]:.10g}, log det A - N log pi = {expected[k]:.10g}: the constant"
    found.add(np.abs(c - expected), allowed, told, FEW * size**2)
    phi = 3 * noise(rng, at, x)
    form = np.einsum("nfi,nfij,nfj->nf", rows(at, phi).conj(), a, rows(at, phi)).real
    got = at.conditional_log_prob(x, phi)
    allowed = 1000 * ROUNDING * size * (1 + float(np.abs(form).max()))
    found.add(np.abs(got - (c - form)), allowed, "log q at a random field, beside c - phi^dag A phi,", FEW)
    return found.verdict("max |log q - normal density|")


def sample_log_prob(subject: Subject, rng: np.random.Generator) -> Verdict:
    """What `conditional_sample` says of its fields is what `conditional_log_prob` says of them.

    If it fails: the two use different links, weights or inflations, or one adds a constant.
    """
    found = Worst()
    x = links(subject, rng, CHAINS)
    for _ in range(2):
        phi, log_q = subject.conditional_sample(x, seed_from(rng))
        again = subject.conditional_log_prob(x, phi)
        allowed = 1000 * ROUNDING * (int(living(subject).sum()) + float(np.abs(again).max()))
        found.add(np.abs(log_q - again), allowed, "log q of a sample", CHAINS)
    return found.verdict("max |log q of samples - that of conditional_log_prob|", "a difference of {:.1e}")


def exact(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Where ``conditional_is_exact = True`` is declared: ``exp(-S_m)/q_m`` is ``pi^N det`` of the covariance, at every sample.

    The actions are the oracle's, of the monomials declared, without a regulator. So are all eigenvalues of ``F^dag P F`` equal
    to 1, which is asked of the map or of the log density where there are no samples.

    If it fails: the heat bath is not of the action declared: masses, ``D`` for ``D_sc``, a dagger. Take the declaration
    away if it was not meant.
    """
    declared = subject.declared("conditional_is_exact", False)
    if not isinstance(declared, bool | np.bool_):
        raise Misdeclared(f"conditional_is_exact: got {declared!r}, expected True or False")
    if not declared:
        return skipped("does not declare conditional_is_exact: weights may vary")
    if not subject.has("conditional_sample"):
        return _unit_weights(subject, rng)
    found = Worst()
    x = links(subject, rng, CHAINS)
    phi, log_q = subject.conditional_sample(x, seed_from(rng))
    own = Covariances(subject, x, np.empty(0))
    size = own.precisions.shape[-1]
    action = own.forms(phi)
    expected = own.log_determinants + size * math.log(math.pi)
    condition = float(np.linalg.cond(own.precisions).max())
    allowed = 100 * ROUNDING * (size + float(np.abs(action).max())) * condition
    k = np.unravel_index(np.argmax(np.abs(-action - log_q - expected)), action.shape)
    told = f"field {k[1]}: {(-action - log_q)[k]:.10g}, expected {expected[k]:.10g}: log [exp(-S)/q]"
    found.add(np.abs(-action - log_q - expected), allowed, told, action.size)
    return found.verdict("max |log [exp(-S)/q] - log pi^N det K|")


def _unit_weights(subject: Subject, rng: np.random.Generator) -> Verdict:
    at = readable(subject)
    if isinstance(at, str):
        return skipped(at)
    found = Worst()
    own = Covariances.of(at, links(at, rng, FEW))
    off = np.abs(own.weights - 1).max(axis=-1)
    allowed = (
        1000 * ROUNDING * own.weights.shape[-1] * max(own.condition**2, float(np.linalg.cond(own.precisions).max()))
    )
    k = np.unravel_index(np.argmax(off), off.shape)
    found.add(off, allowed, f"field {k[1]}, shape {at.links.shape}: an eigenvalue of F^dag P F", off.size)
    return found.verdict("max |eigenvalue of F^dag P F - 1|")


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Layers with the weights of shipped files, forward and inverse, against answers in extended precision.

    Parallel transport convolutions of U(1), SU(2) and SU(3), on all and on even sites, by both partitions. Every bias is
    different from zero, every tap of a kernel has a weight of its own: an order of the transports, outputs or indices that is
    another is seen.

    If it fails: compare order of transports (self, ahead and behind in time, then in space), of outputs (real,
    imaginary) and of projectors with the file's description.
    """
    largest_error, detail, used = -1.0, "", 0
    for vector in vectors.read_suite("conditionals"):
        if vector.about["theory"] != subject.theory.name:
            continue
        params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
        chi, phi, log = (vector.expected[name] for name in ("chi", "phi", "logdet"))
        for d, start, end in ((1, chi, phi), (-1, phi, chi)):
            got, logdet = subject.conditional_with_weights(params, vector.about["architecture"], vector.x, start, d)
            errors = {"field": np.abs(got - end).max() / np.abs(end).max(), "logdet": np.abs(logdet - d * log).max()}
            used += 1
            for name, error in errors.items():
                if not (size := float(error)) <= largest_error:
                    largest_error, detail = (
                        size,
                        f"vector {vector.name}, direction {d}: its {name} is off by {size:.3g}",
                    )
    return within("max |layers - vector|", largest_error, GOLDEN, f"an error of {GOLDEN:.0e}", used, detail)
