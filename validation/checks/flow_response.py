"""How a flow responds to small changes of its input: what rounding grows to, and dense Jacobians."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import flow_claims as claims
from ..contract import Subject, TargetFault
from ..theories import U1
from .maps import DISTURBANCES, LEAST_USEFUL, Inconclusive

Array = NDArray[np.float64]
Field = NDArray[Any]
Step = Callable[[Field], tuple[Field, Array]]

# Accuracy of an inverse that is found by iteration, in units of the field, with room for some tens of layers.
STOPPED = 2e-12
NUDGE = 1e-8  # of the disturbances that measure growth
REPEATED = 1e-13  # two calls with one input, in units of the field or of its size
CLOSE = 1e-3  # to the cut at +-pi
STEPS, FEW_STEPS = (1e-2, 1e-3, 1e-4, 1e-5), (1e-3, 1e-4)
CHUNK = 4096  # fields of one call


class Way(NamedTuple):
    """The flow in one direction, with fields to begin from."""

    name: str
    step: Step
    start: Field


def ways(subject: Subject, rng: np.random.Generator, n: int) -> list[Way]:
    """Forward from prior draws, backward from typical fields, as far as they are offered; in half some angles are near +-pi."""
    out = []
    z = claims.prior_fields(subject, rng, n)
    if isinstance(subject.theory, U1):
        near = rng.random(z[n // 2 :].shape) < 0.25
        z[n // 2 :][near] = np.pi - CLOSE * rng.uniform(-1, 1, int(near.sum()))
    if subject.has("flow_forward"):
        out.append(Way("flow_forward", subject.flow_forward, z))
    if subject.has("flow_inverse"):
        out.append(Way("flow_inverse", subject.flow_inverse, subject.theory.phase_fields(rng, n)))
    return out


@dataclass(frozen=True)
class Response:
    """How disturbances grow: the largest change of a component of the image, and of the logdet, per size of the disturbance."""

    growth: float
    slope: float

    @classmethod
    def of(cls, subject: Subject, way: Way, rng: np.random.Generator) -> Response:
        image, logdet = way.step(way.start)
        again, logdet_again = way.step(way.start)
        change = float(np.abs(subject.theory.difference(again, image)).max(initial=0.0)) / subject.theory.scale
        if not max(change, float(np.abs(logdet_again - logdet).max()) / (1 + np.abs(logdet).max())) < REPEATED:
            raise TargetFault(f"{way.name}: two calls with one input differ by {change:.3g}")
        w = (
            NUDGE
            * subject.theory.scale
            * rng.standard_normal((DISTURBANCES, len(image), *subject.theory.momentum_shape))
        )
        many = np.concatenate([way.start] * DISTURBANCES)
        moved, moved_logdet = way.step(subject.theory.pushed(many, w.reshape(-1, *subject.theory.momentum_shape)))
        far = np.abs(subject.theory.difference(moved, np.concatenate([image] * DISTURBANCES))).max()
        slope = np.abs(moved_logdet - np.concatenate([logdet] * DISTURBANCES)).max()
        out = cls(max(1.0, float(far) / (NUDGE * subject.theory.scale)), float(slope) / NUDGE)
        if not out.growth * STOPPED < LEAST_USEFUL:
            raise Inconclusive(
                f"{way.name} amplifies small differences {out.growth:.1e} times: nothing to see in float64"
            )
        return out


class Tolerance(NamedTuple):
    """Of fields, and of logdets or log densities."""

    field: float
    log: float


def tolerance(subject: Subject, both: list[Way], rng: np.random.Generator) -> Tolerance:
    """For what goes one way, or there and back."""
    responses = [Response.of(subject, way, rng) for way in both]
    growth = math.prod(response.growth for response in responses)
    slope = sum(response.slope for response in responses) * max(response.growth for response in responses)
    return Tolerance(STOPPED * subject.theory.scale * growth, STOPPED * (subject.theory.size + slope))


@dataclass(frozen=True)
class Determinant:
    """A logdet beside that of the dense Jacobian at one field, and how well that is known."""

    off: float
    slack: float
    settled: bool
    reversed: bool
    detail: str

    @classmethod
    def at(cls, subject: Subject, way: Way, x: Field, few: bool) -> Determinant:
        logdet = float(way.step(x[None])[1][0])
        steps = FEW_STEPS if few else STEPS
        logs = np.array([dense_logdet(subject, way.step, x, h * subject.theory.scale) for h in steps])
        gaps = np.abs(np.diff(logs))
        best = int(np.argmin(np.where(np.isnan(gaps), np.inf, gaps)))
        slack = 10 * float(gaps[best]) + 1e-10 * subject.theory.size
        shape = claims.lattice_theory(subject).shape
        detail = f"{way.name} on {shape[0]}x{shape[1]}: logdet {logdet:.10g}, dense Jacobian {logs[best + 1]:.10g}"
        dense = float(logs[best + 1])
        turned = abs(logdet + dense) <= slack < abs(logdet - dense)
        return cls(abs(logdet - dense), slack, slack < LEAST_USEFUL, turned, detail)


def dense_logdet(subject: Subject, step: Step, x: Field, h: float) -> float:
    """``log |det|`` of the derivatives along every direction, of angles and group elements from the image of x."""
    theory, size = subject.theory, subject.theory.size
    centre = step(x[None])[0]
    units = h * np.concatenate([k * np.eye(size) for k in (-2, -1, 1, 2)]).reshape(-1, *theory.momentum_shape)
    parts = []
    for start in range(0, len(units), CHUNK):
        some = units[start : start + CHUNK]
        moved = step(theory.pushed(np.repeat(x[None], len(some), axis=0), some))[0]
        parts.append(theory.difference(moved, np.repeat(centre, len(some), axis=0)).reshape(len(some), -1))
    d = np.concatenate(parts).reshape(4, size, size)
    return float(np.linalg.slogdet((8 * (d[2] - d[1]) - (d[3] - d[0])) / (12 * h))[1])
