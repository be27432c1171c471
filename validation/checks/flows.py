"""Normalizing flows as functions: the map and its inverse, their Jacobian, symmetries, masks, and the density they give.

Every tolerance is what an inverse that stops at `STOPPED` would do to a result, with how far disturbances grow in the flow: both
directions are asked for that. Arithmetic of single precision is far beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import flow_claims as claims
from .. import measure, measure_matrices, vectors
from ..contract import Subject, TargetFault
from ..evidence import batch_size, seed_from
from ..theories import Matrices, Phi4
from ..verdict import FAIL, Verdict, skipped, within
from .flow_response import FEW_STEPS, STEPS, STOPPED, Determinant, Step, Way, tolerance, ways
from .maps import Inconclusive
from .static import worst

Array = NDArray[np.float64]
Field = NDArray[Any]

# Where nothing says how a density is computed, the growth of disturbances on the way is taken to be at most this.
HIDDEN = 10.0
STILL = 1e-9  # what moves by less does not move
# Degrees of freedom: up to the second a dense Jacobian is that of the target itself, up to the last if there is no smaller one;
# beyond the first, at few fields and by few steps.
CHEAP_JACOBIAN, SMALL_JACOBIAN, LARGEST_JACOBIAN = 64, 128, 512
SHAPES = ((2, 2), (2, 3), (2, 4), (4, 4))
FURTHER = 1e-3
FEWEST_OF_MANY = 64  # fields of one call
OUTSIDE = 1e-8  # of the group: what is off it by rounding may grow in a flow; single precision would be beyond
GOLDEN = 1e-11  # rounding of three layers and of their inverses


# --- the map -------------------------------------------------------------------------------------------------------------
def round_trip(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Inverse after forward, from prior draws, and forward after inverse, from typical fields, return to the start.

    Angles on the circle, some of them near +-pi. A layer whose context is not frozen, or an inverse that is wrong in one bin of a
    spline, is seen; the logdet is not.

    If it fails: the density is that of no samples: check that a layer's context does not move with it, and that the
    inverse runs the layers backwards.
    """
    both = ways(subject, rng, 16)
    allowed = tolerance(subject, both, rng)
    largest, detail = 0.0, ""
    for one, other in (both, both[::-1]):
        back = other.step(one.step(one.start)[0])[0]
        error = subject.theory.difference(back, one.start)
        if not (size := float(np.abs(error).max())) <= largest:
            at = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(error)), error.shape))
            largest, detail = size, f"{other.name}({one.name}(field)) misses the field by {size:.3g} at index {at}"
    told = f"irreversibility of {allowed.field:.1e}"
    return within("max |round trip - field|", largest, allowed.field, told, 32, detail)


def logdet_antisymmetry(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The logdet of the inverse at the image is minus that of the flow, whichever of them is first.

    If it fails: a sign, or a logdet evaluated at the image instead of the start. Correct maps have it by the chain
    rule. Both may still be wrong together: see flows.jacobian.
    """
    both = ways(subject, rng, 16)
    allowed = tolerance(subject, both, rng)
    largest, detail = 0.0, ""
    for one, other in (both, both[::-1]):
        image, logdet = one.step(one.start)
        back = other.step(image)[1]
        if not (size := float(np.abs(logdet + back).max())) <= largest:
            largest, detail = size, f"{one.name} says {logdet[0]:.8g}, {other.name} at its image {back[0]:.8g}"
    told = f"a mismatch of {allowed.log:.1e}"
    return within("max |logdet + logdet of inverse|", largest, allowed.log, told, 32, detail)


def jacobian(subject: Subject, rng: np.random.Generator) -> Verdict:
    """logdet of the flow, and of its inverse, against dense Jacobians by fourth-order differences; of SU(N) in Haar measure.

    At the target's own parameters up to 128 degrees of freedom, else on a smaller lattice where it can be made there. Of four
    step sizes from 1e-2 to 1e-5 (beyond 64 degrees of freedom of two) the neighbours that agree best give the answer, and ten
    times their difference its error. What fails must fail again a little further on, where no knot of a spline and no kink of a
    net is in the way.

    If it fails: a layer's term is missing, has the wrong sign, counts masked components, or leaves out the Haar
    measure. Weights and acceptance are then wrong, however good the samples look.
    """
    at = _small(subject)
    if at is None:
        return skipped(f"cannot be made at a small shape, and {subject.theory.size} degrees of freedom are too many")
    few = at.theory.size > CHEAP_JACOBIAN
    found: list[Determinant] = []
    for way in ways(at, rng, 2):
        for point in way.start[: 1 if few else 2]:
            one = Determinant.at(at, way, point, few)
            if one.settled and not one.off <= one.slack:
                push = FURTHER * at.theory.scale * rng.standard_normal((1, *at.theory.momentum_shape))
                further = Determinant.at(at, way, at.theory.pushed(point[None], push)[0], few)
                one = further if further.settled else one
            found.append(one)
    settled = [one for one in found if one.settled]
    if not settled:
        raise Inconclusive("finite differences of the flow do not settle")
    worst_of = max(settled, key=lambda one: one.off / one.slack)
    told = f"an error of {max(one.slack for one in settled):.1e} ({len(settled)} of {len(found)} Jacobians)"
    detail = worst_of.detail + (": the sign is reversed" if all(one.reversed for one in settled) else "")
    samples = len(settled) * 4 * at.theory.size * len(FEW_STEPS if few else STEPS)
    return within("max |logdet - dense|", worst_of.off, worst_of.slack, told, samples, detail)


def _small(subject: Subject) -> Subject | None:
    """The target, or on a small lattice; itself again where there is none, if it is not too large."""
    if subject.theory.size <= SMALL_JACOBIAN:
        return subject
    smaller = (subject.replace(shape=shape) for shape in SHAPES)
    at = next((other for other in smaller if other is not None and other.theory.size < subject.theory.size), None)
    return at or (subject if subject.theory.size <= LARGEST_JACOBIAN else None)


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The flow moves every site or link in some of 16 fields: one that no mask covers keeps the law of the prior.

    Where ``flow_moves = "plaquettes"`` is declared, every plaquette: a flow may leave what is uniform as it is.

    If it fails: list the masks of one period: together they must cover every link; one that is left out keeps the prior
    for ever.
    """
    way = ways(subject, rng, 16)[0]
    image, plaquettes = way.step(way.start)[0], claims.moves_plaquettes_alone(subject)
    before, after = (_plaquettes(subject, x) if plaquettes else x for x in (way.start, image))
    change = np.abs(subject.theory.difference(after, before)).max(axis=0)
    change = change.max(axis=-1) if isinstance(subject.theory, Matrices) else change
    still = change < STILL * subject.theory.scale
    if still.all():
        return skipped(
            "the flow moves nothing at all: of the identity no error would be seen, judge it at other weights"
        )
    first = tuple(int(k) for k in np.argwhere(still)[0]) if still.any() else ()
    what = "plaquettes" if plaquettes else "sites" if isinstance(subject.theory, Phi4) else "links"
    remedy = ""
    if what == "links" and _every_plaquette_moves(subject, way.start, image):
        remedy = '; every plaquette moves: where those links are uniform anyway, declare flow_moves = "plaquettes"'
    return within(
        f"{what} that never move", float(still.sum()), 0.0, f"one of {still.size}", 16,
        f"{still.sum()} of {still.size} {what} are never moved, first at index {first}{remedy}",
    )  # fmt: skip


def _every_plaquette_moves(subject: Subject, x: Field, image: Field) -> bool:
    change = np.abs(subject.theory.difference(*(_plaquettes(subject, y) for y in (image, x)))).max(axis=0)
    change = change.max(axis=-1) if isinstance(subject.theory, Matrices) else change
    return bool(np.all(change >= STILL * subject.theory.scale))


def _plaquettes(subject: Subject, x: Field) -> Field:
    return measure_matrices.plaquettes(x) if isinstance(subject.theory, Matrices) else measure.plaquette_angles(x)


def stays_in_group(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Images in either direction, and samples, are in the group: ``U^dag U = 1`` and ``det U = 1``.

    If it fails: matrices are multiplied by what is not unitary, or too many products pass without projection.
    """
    images = [(way.name, way.step(way.start)[0]) for way in ways(subject, rng, 16)]
    if subject.has("sample"):
        images.append(("sample", subject.sample(16, seed_from(rng))[0]))
    name, error = max(((n, measure_matrices.distance_from_group(x)) for n, x in images), key=lambda pair: pair[1])
    detail = f"{name}: a link is off the group by {error:.3g}"
    told = f"an error of {OUTSIDE:.0e}"
    return within("max |U^dag U - 1|, |det U - 1|", error, OUTSIDE, told, 16 * len(images), detail)


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The flow with the weights of shipped files, forward and inverse, against answers in extended precision.

    Affine couplings of phi4, moves of U(1) plaquettes by projections and splines, of SU(2) and SU(3) spectra. Every bias is
    different from zero, every tap of a kernel has a weight of its own: what drops, transposes or flips one is seen, and what takes
    the layers in another order.

    If it fails: compare the layout of weights, the order of taps (cross-correlation, as torch has it), masks and layers
    with the description in the file.
    """
    largest, detail, used = -1.0, "", 0
    for vector in vectors.read_suite("flows"):
        if vector.about["theory"] != subject.theory.name:
            continue
        params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
        image, log = vector.expected["image"], vector.expected["logdet"]
        for d, start, end in ((1, vector.x, image), (-1, image, vector.x)):
            got, logdet = subject.flow_with_weights(params, vector.about["architecture"], start, d)
            errors = {"field": np.abs(subject.theory.difference(got, end)), "logdet": np.abs(logdet - d * log)}
            used += 1
            for name, error in errors.items():
                if not (size := float(error.max())) <= largest:
                    largest, detail = size, f"vector {vector.name}, direction {d}: its {name} is off by {size:.3g}"
    return within("max |flow - vector|", largest, GOLDEN, f"an error of {GOLDEN:.0e}", used, detail)


# --- functions of the field ------------------------------------------------------------------------------------------------
def functions(subject: Subject, rng: np.random.Generator, n: int) -> Iterator[Way]:
    """The map both ways, and the densities as maps to nothing but a number, as far as they are offered."""
    yield from ways(subject, rng, n)
    for name, fields in (("log_prob", subject.theory.phase_fields), ("prior_log_prob", None)):
        if subject.has(name):
            x = claims.prior_fields(subject, rng, n) if fields is None else fields(rng, n)
            yield Way(name, _number(subject, name), x)


def _number(subject: Subject, name: str) -> Step:
    """A function of fields to numbers as a map that leaves them where they are."""
    return lambda x: (x, getattr(subject, name)(x))


def periodicity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Angles that are turned by multiples of 2 pi have the same image on the circle, the same logdet and log density.

    A net that sees the angle itself, or a map that is put on the circle in the wrong place, is no function of links.

    If it fails: give the net cosine and sine, and fold angles after the layer, not before the logdet.
    """

    def turned(way: Way) -> Iterator[tuple[str, Way, Field, Array]]:
        image, log = way.step(way.start)
        turns = 2 * np.pi * rng.integers(-1, 2, way.start.shape)
        yield "x + 2 pi k", way._replace(start=way.start + turns), image, log

    return _unchanged(subject, rng, turned, "max |f(x + 2 pi k) - f(x)|", "a change by {:.1e}")


def equivariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The symmetries that ``flow_symmetries`` declares: a move before the flow is the same as after it, and q does not see it.

    Gauge transformations, translations by the declared period, parity or conjugation. A bias or a mask that depends on the place
    in other ways, a net that sees links instead of loops, is seen. A flow without symmetries is valid, and has to learn them.

    If it fails: if the flow was not meant to have the symmetry, declare the ones it has in ``flow_symmetries``; else
    look for the term that depends on the place or on a bare link.
    """
    if not getattr(subject.target, "flow_symmetries", ()):
        return skipped("declares no flow_symmetries: with them errors of some 1e-10 would be seen")
    names = [move.name for move in claims.symmetries(subject, rng, 1)]

    def moved(way: Way) -> Iterator[tuple[str, Way, Field, Array]]:
        image, log = way.step(way.start)
        for move in claims.symmetries(subject, rng, len(way.start)):
            yield move.name, way._replace(start=np.asarray(move.field(way.start))), np.asarray(move.field(image)), log

    return _unchanged(subject, rng, moved, "max |f(moved) - moved f|", "a change by {:.1e} (" + ", ".join(names) + ")")


def _unchanged(
    subject: Subject,
    rng: np.random.Generator,
    moves: Callable[[Way], Iterator[tuple[str, Way, Field, Array]]],
    quantity: str,
    told: str,
) -> Verdict:
    """Every function offered, at fields that were moved: ``moves`` says what it should give there."""
    largest, least, detail, n = -1.0, 0.0, "", 0
    for way in functions(subject, rng, 8):
        allowed = tolerance(subject, [way], rng)
        hidden = 4 * (HIDDEN if way.name.endswith("log_prob") else 1.0)
        for name, other, image, log in moves(way):
            got, got_log = other.step(other.start)
            errors = {
                "image": (float(np.abs(subject.theory.difference(got, image)).max()), 4 * allowed.field),
                "logarithm": (float(np.abs(got_log - log).max()), hidden * allowed.log),
            }
            n += len(log)
            if way.name.endswith("log_prob"):
                del errors["image"]
            for what, (error, slack) in errors.items():
                least = max(least, slack)
                if not error / slack <= largest:
                    largest, detail = error / slack, f"{way.name}, {name}: its {what} is off by {error:.3g}"
    return within(f"{quantity} over its rounding", largest, 1.0, told.format(least), n, detail)


def batch(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Every function gives a field alone, among few and among many the same; and finite numbers in unusual fields.

    Many are twice as many as the statistical checks hand over in one call, divided by the thrift, but at least 64. A normalisation
    over the batch is no part of a density.

    If it fails: batch statistics, an axis that is summed over, or a division by zero at an unusual field.
    """
    largest, detail, n, least = -1.0, "", 0, 0.0
    size = max(FEWEST_OF_MANY, 2 * batch_size(subject.theory.volume) // subject.thrift)
    for way in functions(subject, rng, 6):
        allowed = tolerance(subject, [way], rng)
        repeats = -(-size // len(way.start))
        crowd = np.concatenate([way.start, *[way.start[::-1]] * repeats])[:size]
        few, many = way.step(way.start), way.step(crowd)
        alone = [way.step(way.start[k : k + 1]) for k in range(len(way.start))]
        for name, (image, log) in (("few", few), ("many", many)):
            for k, (own, own_log) in enumerate(alone):
                far = float(np.abs(subject.theory.difference(image[k : k + 1], own)).max()) / allowed.field
                off = float(np.abs(log[k] - own_log[0])) / (HIDDEN * allowed.log)
                if not max(far, off) <= largest:
                    largest, detail = max(far, off), f"{way.name}: a field alone and among {name} differ"
        n, least = n + size, max(least, HIDDEN * allowed.log)
        try:
            way.step(subject.theory.configurations(rng))
        except TargetFault as fault:
            raise TargetFault(f"{fault} (in fields that are cold, smooth, rough, large or of large charge)") from fault
    return within("max |alone - in a batch| over its rounding", largest, 1.0, f"a change by {least:.1e}", n, detail)


# --- the density -----------------------------------------------------------------------------------------------------------
def prior(subject: Subject, rng: np.random.Generator) -> Verdict:
    """`prior_log_prob` is the logarithm of the declared ``flow_prior``, with its constant.

    Measures are ``d phi``, ``d theta`` (where the uniform prior of 2V links has ``-2V log 2 pi``) and Haar measure of volume 1.

    If it fails: the constant is missing or of another measure: with weights that are normalised by themselves it drops
    out, with ``log Z`` it does not.
    """
    own = claims.prior(subject)
    if own is None:
        return skipped("declares no flow_prior")
    z = np.concatenate([claims.prior_fields(subject, rng, 8), subject.theory.phase_fields(rng, 8)])
    got, expected = subject.prior_log_prob(z), own.log_prob(z)
    allowed = STOPPED * (subject.theory.size + float(np.abs(expected).max()))
    told, detail = f"an error of {allowed:.1e}", f"{own.name}: {worst(got, expected)}"
    return within("max |prior_log_prob - log r|", float(np.abs(got - expected).max()), allowed, told, len(z), detail)


def density(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``log q(x) = log r(z) - logdet``: the density is that of the prior, moved along by the map.

    The prior is the declared one with the oracle's own constants, else `prior_log_prob`; log q that of `log_prob`, else what
    `sample` says of its samples. A log prior that is forgotten, a logdet of the wrong sign in one of them, is seen.

    If it fails: the sign of logdet, the prior at x in place of z, or a layer counted twice. If flows.jacobian passes,
    it is in the sum, not in the layers.
    """
    own = claims.prior(subject)
    if own is None and not subject.has("prior_log_prob"):
        return skipped("declares no flow_prior, and offers no prior_log_prob")
    log_prior = subject.prior_log_prob if own is None else own.log_prob
    largest, least, detail, n = -1.0, 0.0, "", 0
    for way in ways(subject, rng, 16):
        forward = way.name == "flow_forward"
        if not subject.has("log_prob"):
            if forward:
                continue
            x, log_q = subject.sample(16, seed_from(rng))
            way = way._replace(start=x)
        image, logdet = way.step(way.start)
        z, x = (way.start, image) if forward else (image, way.start)
        expected = log_prior(z) - logdet if forward else log_prior(z) + logdet
        log_q = subject.log_prob(x) if subject.has("log_prob") else log_q
        allowed = 4 * (tolerance(subject, [way], rng).log + _prior_rounding(log_prior, subject, z, rng))
        n, least = n + len(z), max(least, allowed)
        if not (error := float(np.abs(log_q - expected).max())) / allowed <= largest:
            largest, detail = error / allowed, f"by {way.name}: {worst(log_q, expected)}"
    if not n:
        return skipped("offers neither log_prob, nor sample and flow_inverse")
    return within(
        "max |log q - (log r - logdet)| over its rounding", largest, 1.0, f"an error of {least:.1e}", n, detail
    )


def _prior_rounding(log_prior: Callable[[Field], Array], subject: Subject, z: Field, rng: np.random.Generator) -> float:
    return tolerance(subject, [Way("prior", lambda z: (z, log_prior(z)), z)], rng).log * HIDDEN


def sample_log_prob(subject: Subject, rng: np.random.Generator) -> Verdict:
    """What `sample` says of its samples is what `log_prob` says of them.

    If it fails: two versions of the weights, noise or dropout in one of them, or a logdet that is kept from another
    call.
    """
    x, log_q = subject.sample(64, seed_from(rng))
    again = subject.log_prob(x)
    allowed = HIDDEN * tolerance(subject, [Way("log_prob", _number(subject, "log_prob"), x)], rng).log
    error = float(np.abs(again - log_q).max())
    told, detail = f"a difference of {allowed:.1e}", worst(again, log_q)
    return within("max |log_prob of samples - that of sample|", error, allowed, told, len(x), detail)


def samples(subject: Subject, rng: np.random.Generator) -> Verdict:
    """`sample` repeats itself for a seed, has other fields for the next one, and no field twice; prefixes need not agree.

    A generator of seed + i for sample i has most fields of a seed again under the next.

    If it fails: seed every generator from the argument, and from nothing else; samples that repeat are fewer than they
    seem.
    """
    seed = seed_from(rng)
    (first, log_q), (again, log_q_again) = (subject.sample(64, seed) for _ in range(2))
    others = [subject.sample(64, other)[0] for other in (seed + 1, seed_from(rng))]
    change = float(np.abs(subject.theory.difference(again, first)).max()) / subject.theory.scale
    if not max(change, float(np.abs(log_q_again - log_q).max())) <= HIDDEN * STOPPED:
        return Verdict(FAIL, "sample: two calls with one seed differ by", change, HIDDEN * STOPPED, "", 128, 0.0, "")
    distinct = [_distinct(x) for x in (first, *others)]
    alike = 192 - _distinct(np.concatenate([first, *others]))
    detail = f"{alike} fields of 192, of three seeds, are there before"
    if alike == 128 and distinct == [64, 64, 64]:
        detail = "three seeds have the same fields: is the seed ignored?"
    elif alike and distinct == [64, 64, 64]:
        detail += f", {128 - _distinct(np.concatenate([first, others[0]]))} of them in the next seed: is it added to?"
    return within("fields that come twice", float(alike), 0.0, "one", 256, detail)


def _distinct(x: Field) -> int:
    rows = x.reshape(len(x), -1)
    return len(np.unique(np.round(np.concatenate([rows.real, rows.imag], axis=1), 9), axis=0))
