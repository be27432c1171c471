"""Observables, action and force as functions: against explicit loops, finite differences, symmetries, golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import exhibits, measure, vectors
from ..contract import Subject
from ..theories import ANGLE, U1, Matrices, Phi4, Theory, U
from ..verdict import Verdict, skipped, within

Array = NDArray[np.float64]

# Lattices on which time and space cannot be taken for each other; small where the operator is a dense matrix.
RECTANGLES = ((4, 6), (6, 4))
NARROW_RECTANGLES = ((2, 4), (4, 2))  # with fermions; of scalars to see both bonds of an extent of 2


def worst(got: Array, expected: Array) -> str:
    """Where two arrays differ most, and the factor between them if there is one."""
    error = np.abs(got - expected)
    site = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    text = f"worst at index {site}: got {got[site]:.15g}, expected {expected[site]:.15g}"
    norm = float((expected * expected).sum())
    factor = float((got * expected).sum()) / norm if norm > 0 else 1.0
    if abs(factor - 1) > 1e-3 and np.abs(got - factor * expected).max() < 1e-6 * np.abs(expected).max():
        text += f"; got = {factor:.6g} times the expected everywhere"
    elif error[site] < 1e-5 * (1 + np.abs(expected).max()):
        text += "; an error of the size of single precision"
    return text


def lattices(subject: Subject, rng: np.random.Generator) -> Iterator[tuple[Subject, NDArray[Any]]]:
    """The target and test fields, on its own lattice and on a rectangle each way where it can be made there.

    Extents that are exchanged, or stand in a quotient, do no harm on a square.
    """
    yield subject, subject.theory.configurations(rng)
    if isinstance(subject.theory, U1 | Matrices | Phi4):
        narrow = subject.flavours or isinstance(subject.theory, Phi4)
        for shape in NARROW_RECTANGLES if narrow else RECTANGLES:
            if shape != subject.theory.shape and (at := subject.replace(shape=shape)) is not None:
                yield at, fields_of(at.theory)


@lru_cache(maxsize=16)
def fields_of(theory: Theory) -> NDArray[Any]:
    """The configurations of a theory, one set for all checks: exact ones with fermions are costly."""
    x = theory.configurations(np.random.default_rng(1))
    x.flags.writeable = False
    return x


def worst_lattice(verdicts: list[tuple[Subject, Verdict]]) -> Verdict:
    """The verdict that is the largest part of its bound, and the samples of all; those of another lattice say so."""
    first, n = verdicts[0][0], sum(verdict.samples for _, verdict in verdicts)

    def part(verdict: Verdict) -> float:
        ratio = float(verdict.value or 0.0) / float(verdict.bound or 1.0)
        return ratio if ratio == ratio else np.inf

    at, verdict = max(verdicts, key=lambda pair: part(pair[1]))
    shape = () if at is first else getattr(at.theory, "shape", ())
    detail = f"shape {shape[0]}x{shape[1]}: {verdict.detail}" if shape and verdict.detail else verdict.detail
    return replace(verdict, samples=n, detail=detail)


def compared(
    subject: Subject,
    rng: np.random.Generator,
    what: str,
    answers: Callable[[Subject, NDArray[Any]], tuple[Array, Array, float]],
) -> Verdict:
    """What the target gives, what a loop does, and the tolerance, on every lattice."""
    verdicts = []
    for at, x in lattices(subject, rng):
        got, expected, tolerance = answers(at, x)
        error = float(np.max(np.abs(got - expected)))
        told = worst(got, expected)
        seen, shown = f"{what} error {tolerance:.1e}", exhibits.differences(at.theory, got - expected, tolerance, what)
        verdict = within(f"max |{what} - loop|", error, tolerance, seen, len(got), told, shown)
        verdicts.append((at, verdict))
    return worst_lattice(verdicts)


def action(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The action against an explicit loop over its terms, up to one constant common to all configurations.

    Differences to the first (cold) configuration are compared, so any constant is allowed. A failure with a common factor is
    a normalisation (of beta, say); without one, a wrong or missing term. On lattices also on a rectangle each way.

    If it fails: compare one configuration by hand, term by term, with `refimpl vectors show`; `refimpl replay` on the
    file written repeats it. What follows from the energy will fail too.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        got, expected = at.action(x), np.array([at.theory.loop_action(c) for c in x])
        return got - got[0], expected - expected[0], 2 * at.theory.action_rounding(x)

    return compared(subject, rng, "action", answers)


def force(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The force ``+ dS/dx`` against an explicit loop over the field, every component; on lattices also on rectangles.

    A wrong force leaves an accept/reject sampler exact and only slows it down: no statistical check can see it.

    If it fails: look at the sign first (``+ dS/dx`` is asked for, not minus), then at the factor of beta, then at the
    links of one plaquette.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        return at.force(x), np.array([at.theory.loop_force(c) for c in x]), 2 * at.theory.force_rounding(x)

    return compared(subject, rng, "force", answers)


def force_gradient(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The force against central differences of the target's own action, along random directions.

    Fourth-order differences with a step ``h`` of 0.004 (times the smallest standard deviation on the real line) along unit
    vectors: the truncation is bounded by the theory, the rounding of the action counts ``1.5/h`` times.

    If it fails: action and force of the target contradict each other, whatever the convention: one of them has a term,
    a sign or a factor that the other has not. Mend static.action first.
    """
    theory = subject.theory
    h = 0.004 * theory.scale
    x = subject.theory.configurations(rng)
    w = rng.standard_normal((len(x), *theory.momentum_shape))
    axes = tuple(range(1, w.ndim))
    w /= np.sqrt((w * w).sum(axis=axes, keepdims=True))
    s = {k: subject.action(theory.pushed(x, k * h * w)) for k in (-2, -1, 1, 2)}
    slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
    expected = (subject.force(x) * w).sum(axis=axes)
    tolerance = theory.truncation(x, w, h) + 1.5 / h * 2 * theory.action_rounding(x)
    error = float(np.max(np.abs(slope - expected)))
    return within(
        "max |dS/dh - force.w|",
        error,
        tolerance,
        f"directional force error {tolerance:.1e}",
        len(x),
        worst(expected, slope),
        exhibits.errors(slope - expected, tolerance, "force along one direction"),
    )


def plaquette(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The mean plaquette against an explicit loop, also on a rectangle each way.

    If it fails: a loop that takes the wrong neighbour (exchanged axes show on the rectangle), a missing dagger, or a
    sum where the mean is asked for.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        expected = np.array([at.links.loop_mean_plaquette(c) for c in x])
        return at.plaquette(x), expected, at.links.plaquette_rounding

    return compared(subject, rng, "plaquette", answers)


def charge(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The integer charge against an explicit loop, on fields of charge -2 to 2 and hot fields; it must be an integer.

    Truncation (``int``) instead of rounding, or plaquettes wrapped to [0, 2 pi), fail here. Also on a rectangle each way.

    If it fails: wrap each plaquette to [-pi, pi) before the sum, divide by 2 pi, round; a field of charge 1 on a 4 x 4
    lattice shows which step is wrong.
    """
    verdicts = []
    for at, x in lattices(subject, rng):
        got = at.charge(x)
        expected = np.rint([measure.loop_charge(c) for c in x])
        error = float(np.max(np.abs(got - expected)))
        told = worst(got, expected)
        shown = exhibits.errors(got - expected, 1e-9, "charge")
        verdicts.append((at, within("max |charge - loop|", error, 1e-9, "any wrong integer", len(x), told, shown)))
    return worst_lattice(verdicts)


def sine_charge(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The sine charge ``sum_P sin(theta_P)/2 pi`` against an explicit loop, also on a rectangle each way.

    If it fails: a missing ``1/2 pi``, or the orientation of the plaquette turned: static.charge then fails with the
    same sign.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        expected = np.array([measure.loop_sine_charge(c) for c in x])
        return at.sine_charge(x), expected, at.u1.volume * (ANGLE + at.u1.volume * U)

    return compared(subject, rng, "sine charge", answers)


def wilson_loop(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Wilson loops of every rectangle up to 3 by 3, against links multiplied one by one; also on a lattice longer each way.

    If it fails: the path is not closed, time and space are exchanged (seen on the rectangle only), or the mean over
    positions is not taken.
    """
    verdicts = [(at, _wilson_loops(at, x)) for at, x in lattices(subject, rng)]
    return worst_lattice(verdicts)


def _wilson_loops(subject: Subject, x: NDArray[Any]) -> Verdict:
    theory = subject.links
    largest, detail, n = 0.0, "", 0
    for a in range(1, min(3, theory.shape[0]) + 1):
        for b in range(1, min(3, theory.shape[1]) + 1):
            got = subject.wilson_loop(x, a, b)
            expected = np.array([theory.loop_wilson_loop(c, a, b) for c in x])
            error = float(np.max(np.abs(got - expected)))
            n += len(x)
            if not error <= largest:
                largest, detail = error, f"{a} x {b} loop: {worst(got, expected)}"
    tolerance = theory.loop_rounding
    return within("max |W(a, b) - loop|", largest, tolerance, f"Wilson loop error {tolerance:.1e}", n, detail)


class Scalar(NamedTuple):
    """A scalar function on offer, its rounding, and its sign under ``x -> -x``."""

    function: Callable[[Array], Array]
    rounding: float
    parity: int


def _scalars(subject: Subject, x: Array) -> dict[str, Scalar]:
    known = {"action": Scalar(subject.action, 2 * subject.theory.action_rounding(x), 1)}
    if isinstance(subject.theory, U1):
        volume = subject.theory.volume
        known |= {
            "plaquette": Scalar(subject.plaquette, ANGLE + 2 * volume * U, 1),
            "charge": Scalar(subject.charge, 1e-9, -1),
            "sine_charge": Scalar(subject.sine_charge, volume * (ANGLE + volume * U), -1),
        }
    if isinstance(subject.theory, Matrices):
        known["plaquette"] = Scalar(subject.plaquette, subject.theory.plaquette_rounding, 1)
    if isinstance(subject.theory, Phi4):
        rounding = subject.theory.moment_rounding
        known["correlator"] = Scalar(partial(subject.correlator, t=min(1, x.shape[1] - 1)), rounding(x, 2), 1)
        known["field_moment"] = Scalar(partial(subject.field_moment, k=3), rounding(x, 3), -1)
    if subject.flavours:
        known["logdet_dirac"] = Scalar(subject.logdet_dirac, subject.flavours.action_rounding(x), 1)
    return {name: entry for name, entry in known.items() if subject.has(name)}


def _symmetry(
    subject: Subject,
    x: Array,
    moved: Array,
    move_force: Callable[[Array], Array],
    conjugate: bool = False,
) -> Verdict:
    """Scalars at ``moved`` equal those at ``x`` (up to their sign under conjugation); the force moves along."""
    largest, detail, looked_at = 0.0, "", []
    shown: exhibits.Exhibits = ()
    for name, (function, rounding, parity) in _scalars(subject, x).items():
        before, after = function(x), function(moved)
        expected = parity * before if conjugate else before
        # The move itself rounds the links once more: twice the rounding of the function.
        ratio = float(np.max(np.abs(after - expected))) / (4 * rounding)
        looked_at.append(name)
        if not ratio <= largest:
            largest, detail = ratio, f"{name}: {worst(after, expected)}"
            shown = exhibits.errors(after - expected, 4 * rounding, name)
    if subject.has("force"):
        after, expected = subject.force(moved), move_force(subject.force(x))
        bound = 8 * subject.theory.force_rounding(x)
        ratio = float(np.max(np.abs(after - expected))) / bound
        looked_at.append("force")
        if not ratio <= largest:
            largest, detail = ratio, f"force: {worst(after, expected)}"
            shown = exhibits.differences(subject.theory, after - expected, bound, "force")
    if not looked_at:
        return skipped(NO_SCALAR)
    return within(
        f"largest change over its rounding ({', '.join(looked_at)})",
        largest,
        1.0,
        "a change of 8 roundings",
        len(x),
        detail,
        shown,
    )


NO_SCALAR = "offers none of action, force and the scalar observables of its theory"


def gauge_invariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Action, force and observables do not change under a random gauge transformation.

    If it fails: some loop is not closed: a link at the boundary, or one that stands without its dagger. A correct code
    passes because only closed loops enter.
    """
    x = subject.theory.configurations(rng)
    move = next(move for move in subject.theory.symmetries(rng, len(x)) if move.name.startswith("gauge"))
    return _symmetry(subject, x, move.field(x), move.tangent)


def translation(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Shifting the lattice by one site, in every direction, moves the force and leaves the scalars alone.

    A term missing on the boundary, or a plaquette left out, breaks this.

    If it fails: look at the last row and column: a correct code on a periodic lattice has no place that differs from
    the others.
    """
    return _moved(subject, rng, "translation")


def reflection(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The mirror image of the lattice, in time and in space, has the mirror image of the force, and the same scalars.

    A derivative that looks one way only breaks this.

    If it fails: look for a difference to one neighbour only, where both directions count.
    """
    return _moved(subject, rng, "reflection")


def _moved(subject: Subject, rng: np.random.Generator, kind: str) -> Verdict:
    x = subject.theory.configurations(rng)
    moves = [move for move in subject.theory.symmetries(rng, len(x)) if move.name.startswith(kind)]
    verdicts = [_symmetry(subject, x, move.field(x), move.tangent) for move in moves]
    return next((v for v in verdicts if v.status != "pass"), verdicts[0])


def periodicity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Adding multiples of 2 pi to single angles changes nothing.

    If it fails: an angle is used bare, outside of sine, cosine or a wrapping: what depends on its representative is no
    function of the link.
    """
    x = subject.theory.configurations(rng)
    return _symmetry(subject, x, x + 2 * np.pi * rng.integers(-1, 2, x.shape), lambda f: f)


def conjugation(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Under ``x -> -x`` (of matrices: complex conjugation) the charges and the force change sign, action and plaquette do not.

    If it fails: an odd term, such as a phase or a sine, has entered the action, or an orientation is mixed within one
    sum.
    """
    x, move = subject.theory.configurations(rng), subject.theory.conjugation()
    return _symmetry(subject, x, move.field(x), move.tangent, conjugate=True)


def batch(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Each configuration alone gives what it gives inside a batch.

    If it fails: an axis of chains is summed over, broadcast or reshaped wrongly, or a cache keeps what belongs to the
    chain before.
    """
    x = subject.theory.configurations(rng)
    largest, detail = 0.0, ""
    shown: exhibits.Exhibits = ()
    functions = {name: (function, rounding) for name, (function, rounding, _) in _scalars(subject, x).items()}
    if subject.has("force"):
        functions["force"] = (subject.force, subject.theory.force_rounding(x))
    if not functions:
        return skipped(NO_SCALAR)
    for name, (function, rounding) in functions.items():
        together, alone = function(x), np.concatenate([function(x[i : i + 1]) for i in range(len(x))])
        ratio = float(np.max(np.abs(together - alone))) / (4 * rounding)
        if not ratio <= largest:
            largest, detail = ratio, f"{name}: {worst(together, alone)}"
            shown = exhibits.differences(subject.theory, together - alone, 4 * rounding, name)
    return within("largest change over its rounding", largest, 1.0, "a change of 4 roundings", len(x), detail, shown)


# Two layers on 32 entries of size pi, forces of size 8, nets of 36 inputs: some 1e3 roundings, amplified at most tenfold.
WEIGHTS_ROUNDING = 1e4 * U


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Action, force and observables on the shipped vectors, computed in 40-digit arithmetic.

    Vectors of other lattices are used where the target can be made at other shapes; action and force scale with beta.

    If it fails: if static.action and static.force pass, the loss is one of precision or of an unusual field (charged,
    at the cut); `refimpl replay` names the field.
    """
    largest, detail, used = 0.0, "", 0
    shown: exhibits.Exhibits = ()
    for vector in vectors.read_suite("u1"):
        at = subject if vector.shape == subject.u1.shape else subject.replace(shape=vector.shape)
        if at is None or at.u1.shape != vector.shape:
            continue
        used += 1
        got: dict[str, Array] = {}
        rounding = {name: entry[1] for name, entry in _scalars(at, vector.x).items()}
        for name, (function, _, _) in _scalars(at, vector.x).items():
            got[name] = function(vector.x)
        if at.has("action"):
            got["action"] = got["action"] - at.action(np.zeros_like(vector.x))
        if at.has("force"):
            got["force"], rounding["force"] = at.force(vector.x), 2 * at.theory.force_rounding(vector.x)
        for name, value in got.items():
            expected = vector.expected[name] * (at.u1.beta if name in ("action", "force") else 1.0)
            ratio = float(np.max(np.abs(value - expected))) / rounding[name]
            if not ratio <= largest:
                largest, detail = ratio, f"vector {vector.name}, {name}: {worst(value, expected)}"
                shown = exhibits.differences(at.theory, value - expected, rounding[name], f"{name} of {vector.name}")
    if not used:
        return skipped(f"no vector has shape {subject.u1.shape}, and the target cannot be made at another")
    return within(
        "largest error over its rounding", largest, 1.0, "an error of one rounding bound", used, detail, shown
    )


def weights(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The generalized leapfrog with the weights of a shipped file, forward and inverse, against answers in extended precision.

    Every bias of the file is different from zero: a loader that drops or zeroes one, transposes a matrix or takes another
    layer's gives another point.

    If it fails: load the file and compare shapes and order of layers with its description; zeroed biases are the
    commonest fault.
    """
    largest, detail, used = 0.0, "", 0
    for vector in vectors.read_suite("l2hmc"):
        if vector.about["theory"] != subject.theory.name:
            continue
        used += 1
        params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
        record = {name: vector.about[name] for name in ("theory", "parameters", "masks")} | vector.about["architecture"]
        for d, way in ((1, "forward"), (-1, "inverse")):
            expected = [vector.expected[f"{name}_{way}"] for name in ("x", "v", "logdet")]
            (x, v), logdet = subject.map_with_weights(params, record, (vector.x, vector.expected["v"]), d)
            errors = (subject.theory.difference(x, expected[0]), v - expected[1], logdet - expected[2])
            error = float(max(np.max(np.abs(part)) for part in errors))
            if not error <= largest:
                largest = error
                worst_part = ("x", "v", "logdet")[int(np.argmax([np.max(np.abs(part)) for part in errors]))]
                detail = f"vector {vector.name}, {way}: {worst_part} is off by {error:.3g}"
    if not used:
        return skipped(f"no vector of weights is for theory {subject.theory.name}")
    return within("max |map - vector|", largest, WEIGHTS_ROUNDING, f"an error of {WEIGHTS_ROUNDING:.0e}", used, detail)


AUTOREGRESSIVE_STEPS = 2**15


@lru_cache(maxsize=8)
def autoregressive(rho: float) -> Array:
    """A series ``s_i = rho s_{i-1} + sqrt(1 - rho^2) noise`` of variance 1."""
    noise, c = np.random.default_rng(20260101).standard_normal(AUTOREGRESSIVE_STEPS), np.sqrt(1 - rho * rho)
    return np.array(list(accumulate(noise.tolist(), lambda before, new: rho * before + float(c) * new)))


def tau_int(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The integrated autocorrelation time of white noise (1/2) and of AR(1) series with rho = 0.5 and 0.8 (1.5 and 4.5).

    2^15 steps from a fixed seed: the error of tau is at most ``tau sqrt(4 W/n)`` with a window W of some 6 tau, 6 per cent;
    the tolerance is five of these. Off by a factor of two, or ``1 + 2 sum rho``, fails.

    If it fails: agree on the convention first (1/2 for white noise here, 1 elsewhere), then on window and normalisation
    by the variance.
    """
    largest, detail = 0.0, ""
    for rho in (0.0, 0.5, 0.8):
        series = autoregressive(rho).copy()
        expected = 0.5 + rho / (1 - rho)
        got = subject.integrated_autocorrelation_time(series)
        error = abs(got / expected - 1)
        if not error <= largest:
            largest, detail = error, f"AR(1) with rho = {rho}: got {got:.4g}, expected {expected:.4g}"
    return within("max |tau/exact - 1|", largest, 0.3, "tau wrong by 30 per cent", 3 * AUTOREGRESSIVE_STEPS, detail)
