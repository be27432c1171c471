"""Observables, action and force as functions: against explicit loops, finite differences, symmetries, golden vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .. import measure, vectors
from ..contract import Subject
from ..evidence import sampler
from ..verdict import Verdict, skipped, within

Array = NDArray[np.float64]

U = 2.0**-53
# Rounding of one plaquette angle: three sums of at most four angles of size pi, and of the function taken of it.
ANGLE = 3 * U * 4 * np.pi + 2 * U


def configurations(subject: Subject, rng: np.random.Generator) -> Array:
    """Cold, smooth, equilibrium, hot, and flux configurations: at least one of each charge from -2 to 2 that fits."""
    shape = (2, *subject.shape)
    fluxes = [flux for flux in (-2, -1, 1, 2) if 2 * abs(flux) < subject.volume]
    return np.concatenate(
        [
            np.zeros((1, *shape)),
            1e-3 * rng.standard_normal((1, *shape)),
            sampler(subject, rng, 3),
            rng.uniform(-np.pi, np.pi, (3, *shape)),
            *(measure.flux_configuration(subject.shape, flux) for flux in fluxes),
        ]
    )


def action_rounding(subject: Subject) -> float:
    """Error of ``beta sum_P (1 - cos)``: V terms with the rounding of their angles, added one after the other."""
    return subject.beta * subject.volume * (ANGLE + 2 * subject.volume * U)


def force_rounding(subject: Subject) -> float:
    """Error of a force component: two sines with the rounding of their angles."""
    return 2 * subject.beta * (ANGLE + 2 * U)


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


def _compared(subject: Subject, got: Array, expected: Array, tolerance: float, what: str) -> Verdict:
    error = float(np.max(np.abs(got - expected)))
    return within(
        f"max |{what} - loop|", error, tolerance, f"{what} error {tolerance:.1e}", len(got), worst(got, expected)
    )


def action(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The action against an explicit loop over plaquettes, up to one constant common to all configurations.

    ``S = beta sum_P (1 - cos theta_P)``; differences to the cold configuration are compared, so any constant is allowed.
    A failure with a common factor is a normalisation of beta; without one, a wrong plaquette.
    """
    x = configurations(subject, rng)
    got = subject.action(x)
    expected = np.array([measure.loop_action(c, subject.beta) for c in x])
    return _compared(subject, got - got[0], expected - expected[0], 2 * action_rounding(subject), "action")


def force(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The force ``+ dS/d theta`` against an explicit loop over links, every component.

    A wrong force leaves an accept/reject sampler exact and only slows it down: no statistical check can see it.
    """
    x = configurations(subject, rng)
    expected = np.array([measure.loop_force(c, subject.beta) for c in x])
    return _compared(subject, subject.force(x), expected, 2 * force_rounding(subject), "force")


def force_gradient(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The force against central differences of the target's own action, along random directions.

    Fourth-order differences with ``h = 0.004`` along unit vectors: truncation ``h^4/30 beta sum_P d_P^5 <= h^4/30 64 beta``
    (``|d_P| <= 2``, ``sum d_P^2 <= 8``), rounding of the action times ``1.5/h``.
    """
    h = 0.004
    x = configurations(subject, rng)
    w = rng.standard_normal(x.shape)
    w /= np.sqrt((w * w).sum(axis=(1, 2, 3), keepdims=True))
    s = {k: subject.action(x + k * h * w) for k in (-2, -1, 1, 2)}
    slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
    expected = (subject.force(x) * w).sum(axis=(1, 2, 3))
    tolerance = h**4 / 30 * 64 * subject.beta + 1.5 / h * 2 * action_rounding(subject)
    error = float(np.max(np.abs(slope - expected)))
    return within(
        "max |dS/dh - force.w|",
        error,
        tolerance,
        f"directional force error {tolerance:.1e}",
        len(x),
        worst(expected, slope),
    )


def plaquette(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The mean plaquette against an explicit loop."""
    x = configurations(subject, rng)
    expected = np.array([measure.loop_mean_plaquette(c) for c in x])
    return _compared(subject, subject.plaquette(x), expected, ANGLE + 2 * subject.volume * U, "plaquette")


def charge(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The integer charge against an explicit loop, on fields of charge -2 to 2 and hot fields; it must be an integer.

    Truncation (``int``) instead of rounding, or plaquettes wrapped to [0, 2 pi), fail here.
    """
    x = configurations(subject, rng)
    got = subject.charge(x)
    expected = np.rint([measure.loop_charge(c) for c in x])
    return within(
        "max |charge - loop|",
        float(np.max(np.abs(got - expected))),
        1e-9,
        "any wrong integer",
        len(x),
        worst(got, expected),
    )


def sine_charge(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The sine charge ``sum_P sin(theta_P)/2 pi`` against an explicit loop."""
    x = configurations(subject, rng)
    expected = np.array([measure.loop_sine_charge(c) for c in x])
    return _compared(
        subject, subject.sine_charge(x), expected, subject.volume * (ANGLE + subject.volume * U), "sine charge"
    )


def wilson_loop(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Wilson loops of every rectangle up to 3 by 3, against links multiplied one by one."""
    x = configurations(subject, rng)
    largest, detail, n = 0.0, "", 0
    for a in range(1, min(3, subject.shape[0]) + 1):
        for b in range(1, min(3, subject.shape[1]) + 1):
            got = subject.wilson_loop(x, a, b)
            expected = np.array([measure.loop_wilson_loop(c, a, b) for c in x])
            error = float(np.max(np.abs(got - expected)))
            n += len(x)
            if not error <= largest:
                largest, detail = error, f"{a} x {b} loop: {worst(got, expected)}"
    tolerance = 4 * ANGLE + 2 * subject.volume * U  # up to twelve links
    return within("max |W(a, b) - loop|", largest, tolerance, f"Wilson loop error {tolerance:.1e}", n, detail)


def _scalars(subject: Subject) -> dict[str, tuple[Callable[[Array], Array], float, int]]:
    """Name -> (function, rounding, sign under charge conjugation) of the scalar functions on offer."""
    known = {
        "action": (subject.action, 2 * action_rounding(subject), 1),
        "plaquette": (subject.plaquette, ANGLE + 2 * subject.volume * U, 1),
        "charge": (subject.charge, 1e-9, -1),
        "sine_charge": (subject.sine_charge, subject.volume * (ANGLE + subject.volume * U), -1),
    }
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
    for name, (function, rounding, parity) in _scalars(subject).items():
        before, after = function(x), function(moved)
        expected = parity * before if conjugate else before
        # The move itself rounds the links once more: twice the rounding of the function.
        ratio = float(np.max(np.abs(after - expected))) / (4 * rounding)
        looked_at.append(name)
        if not ratio <= largest:
            largest, detail = ratio, f"{name}: {worst(after, expected)}"
    if subject.has("force"):
        after, expected = subject.force(moved), move_force(subject.force(x))
        ratio = float(np.max(np.abs(after - expected))) / (8 * force_rounding(subject))
        looked_at.append("force")
        if not ratio <= largest:
            largest, detail = ratio, f"force: {worst(after, expected)}"
    if not looked_at:
        return skipped("offers none of action, force, plaquette, charge, sine_charge")
    return within(
        f"largest change over its rounding ({', '.join(looked_at)})",
        largest,
        1.0,
        "a change of 8 roundings",
        len(x),
        detail,
    )


def gauge_invariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Action, force and observables do not change under a random gauge transformation."""
    x = configurations(subject, rng)
    alpha = rng.uniform(-np.pi, np.pi, (len(x), *subject.shape))
    return _symmetry(subject, x, measure.gauge_transformed(x, alpha), lambda f: f)


def translation(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Shifting the lattice by one site in time, and in space, moves the force and leaves the scalars alone.

    A term missing on the boundary, or a plaquette left out, breaks this.
    """
    x = configurations(subject, rng)
    verdicts = [_symmetry(subject, x, np.roll(x, 1, axis), partial(np.roll, shift=1, axis=axis)) for axis in (2, 3)]
    return next((v for v in verdicts if v.status != "pass"), verdicts[0])


def periodicity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Adding multiples of 2 pi to single links changes nothing."""
    x = configurations(subject, rng)
    return _symmetry(subject, x, x + 2 * np.pi * rng.integers(-1, 2, x.shape), lambda f: f)


def conjugation(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Under ``x -> -x`` the charges and the force change sign, action and plaquette do not."""
    x = configurations(subject, rng)
    return _symmetry(subject, x, -x, lambda f: -f, conjugate=True)


def batch(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Each configuration alone gives what it gives inside a batch."""
    x = configurations(subject, rng)
    largest, detail = 0.0, ""
    functions = {name: (function, rounding) for name, (function, rounding, _) in _scalars(subject).items()}
    if subject.has("force"):
        functions["force"] = (subject.force, force_rounding(subject))
    if not functions:
        return skipped("offers none of action, force, plaquette, charge, sine_charge")
    for name, (function, rounding) in functions.items():
        together, alone = function(x), np.concatenate([function(x[i : i + 1]) for i in range(len(x))])
        ratio = float(np.max(np.abs(together - alone))) / (4 * rounding)
        if not ratio <= largest:
            largest, detail = ratio, f"{name}: {worst(together, alone)}"
    return within("largest change over its rounding", largest, 1.0, "a change of 4 roundings", len(x), detail)


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Action, force and observables on the shipped vectors, computed in 40-digit arithmetic.

    Vectors of other lattices are used where the target can be made at other shapes; action and force scale with beta.
    """
    largest, detail, used = 0.0, "", 0
    for vector in vectors.read_suite("u1"):
        at = subject if vector.shape == subject.shape else subject.replace(shape=vector.shape)
        if at is None or at.shape != vector.shape:
            continue
        used += 1
        got: dict[str, Array] = {}
        rounding = {name: entry[1] for name, entry in _scalars(at).items()}
        for name, (function, _, _) in _scalars(at).items():
            got[name] = function(vector.x)
        if at.has("action"):
            got["action"] = got["action"] - at.action(np.zeros_like(vector.x))
        if at.has("force"):
            got["force"], rounding["force"] = at.force(vector.x), 2 * force_rounding(at)
        for name, value in got.items():
            expected = vector.expected[name] * (at.beta if name in ("action", "force") else 1.0)
            ratio = float(np.max(np.abs(value - expected))) / rounding[name]
            if not ratio <= largest:
                largest, detail = ratio, f"vector {vector.name}, {name}: {worst(value, expected)}"
    if not used:
        return skipped(f"no vector has shape {subject.shape}, and the target cannot be made at another")
    return within("largest error over its rounding", largest, 1.0, "an error of one rounding bound", used, detail)


def tau_int(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The integrated autocorrelation time of white noise (1/2) and of AR(1) series with rho = 0.5 and 0.8 (1.5 and 4.5).

    2^15 steps from a fixed seed: the error of tau is at most ``tau sqrt(4 W/n)`` with a window W of some 6 tau, 6 per cent;
    the tolerance is five of these. Off by a factor of two, or ``1 + 2 sum rho``, fails.
    """
    noise = np.random.default_rng(20260101).standard_normal(2**15)
    largest, detail = 0.0, ""
    for rho in (0.0, 0.5, 0.8):
        series = np.empty_like(noise)
        series[0] = noise[0]
        for i in range(1, len(noise)):
            series[i] = rho * series[i - 1] + np.sqrt(1 - rho * rho) * noise[i]
        expected = 0.5 + rho / (1 - rho)
        got = subject.integrated_autocorrelation_time(series)
        error = abs(got / expected - 1)
        if not error <= largest:
            largest, detail = error, f"AR(1) with rho = {rho}: got {got:.4g}, expected {expected:.4g}"
    return within("max |tau/exact - 1|", largest, 0.3, "tau wrong by 30 per cent", 3 * len(noise), detail)
