"""Observables of scalar fields against explicit loops and golden vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import vectors
from ..contract import Subject
from ..verdict import Verdict, skipped, within
from .static import compared, worst

Array = NDArray[np.float64]

MOMENTS = (1, 2, 3, 4)


def correlator(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The correlator of time slices at every distance against an explicit loop, also on a rectangle each way.

    Axes that are exchanged, slices that are summed instead of averaged, a disconnected part that is subtracted are all seen.

    If it fails: compare ``C(0)``, the mean of the squared slice means, first: a factor there is a normalisation, a
    difference at other distances only is an axis or a shift.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        times = range(at.scalars.shape[0])
        got = np.stack([at.correlator(x, t) for t in times], axis=1)
        expected = np.array([[at.scalars.loop_correlator(c, t) for t in times] for c in x])
        return got, expected, at.scalars.moment_rounding(x, 2)

    return compared(subject, rng, "correlator", answers)


def field_moment(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The means of phi, phi^2, phi^3 and phi^4 over the lattice against explicit loops, also on a rectangle each way.

    If it fails: a sum where the mean is asked for, or a power taken of the mean field instead of the field at each
    site.
    """

    def answers(at: Subject, x: NDArray[Any]) -> tuple[Array, Array, float]:
        units = [at.scalars.moment_rounding(x, k) for k in MOMENTS]
        got = np.stack([at.field_moment(x, k) / unit for k, unit in zip(MOMENTS, units, strict=True)], axis=1)
        loops = [[at.scalars.loop_moment(c, k) / unit for k, unit in zip(MOMENTS, units, strict=True)] for c in x]
        return got, np.array(loops), 1.0

    return compared(subject, rng, "moment/rounding", answers)


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Action, force, correlator and moments of phi^4 on the shipped vectors, computed in exact rational arithmetic.

    Action and force are shipped term by term, and put together with the couplings of the target; vectors of other lattices are
    used where the target can be made at other shapes.

    If it fails: the vectors give each term of the action apart, so that the failing one shows; with scalars.correlator
    passing, precision is lost in large or smooth fields.
    """
    largest, detail, used = 0.0, "", 0
    for vector in vectors.read_suite("phi4"):
        at = subject if vector.shape == subject.scalars.shape else subject.replace(shape=vector.shape)
        if at is None or at.scalars.shape != vector.shape:
            continue
        used += 1
        for name, (value, expected, rounding) in _on_vector(at, vector).items():
            ratio = float(np.max(np.abs(value - expected))) / rounding
            if not ratio <= largest:
                largest, detail = ratio, f"vector {vector.name}, {name}: {worst(value, expected)}"
    if not used:
        return skipped(f"no vector has shape {subject.scalars.shape}, and the target cannot be made at another")
    return within("largest error over its rounding", largest, 1.0, "an error of one rounding bound", used, detail)


def _on_vector(at: Subject, vector: vectors.Vector) -> dict[str, tuple[Array, Array, float]]:
    """What the target gives, what is expected, and the rounding, of every function on offer."""
    x, want, theory = vector.x, vector.expected, at.scalars
    couplings = {"bonds": 1.0, "mass": theory.m2, "quartic": theory.lam}
    out = {}
    if at.has("action"):
        expected = np.sum([c * want[f"action_{term}"] for term, c in couplings.items()], axis=0)
        out["action"] = (at.action(x) - at.action(np.zeros_like(x)), expected, 2 * theory.action_rounding(x))
    if at.has("force"):
        expected = np.sum([c * want[f"force_{term}"] for term, c in couplings.items()], axis=0)
        out["force"] = (at.force(x), expected, 2 * theory.force_rounding(x))
    if at.has("correlator"):
        for t in range(theory.shape[0]):
            rounding = theory.moment_rounding(x, 2)
            out[f"correlator at {t}"] = (at.correlator(x, t), want["correlator"][:, t], rounding)
    if at.has("field_moment"):
        for k in MOMENTS:
            out[f"moment {k}"] = (at.field_moment(x, k), want["moments"][:, k - 1], theory.moment_rounding(x, k))
    return out
