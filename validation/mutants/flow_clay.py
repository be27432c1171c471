"""Plain normalizing flows of phi^4, U(1) and SU(2), with their independence Metropolis: the material of the mutants in `flows`.

Every map is in closed form: contexts are fixed functions of what a layer leaves alone, without nets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import u1

from .. import measure
from .. import measure_matrices as matrices
from .clay import streams

Array = NDArray[np.float64]
Field = NDArray[Any]
Rngs = list[np.random.Generator]


@dataclass(frozen=True)
class FlowClay:
    """A chain of layers ``x, logdet = layer(i, x, sign)``, forward for sign = 1 and its inverse for -1, and a prior."""

    killed_by: ClassVar[tuple[str, ...]] = ()
    layers: ClassVar[int] = 8
    flow_updates: ClassVar[bool] = True
    shape: tuple[int, int] = (4, 4)

    @property
    def name(self) -> str:
        return type(self).__name__

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)

    # --- the flow -------------------------------------------------------------------------------------------------------
    def action(self, x: Field) -> Array:
        raise NotImplementedError

    def layer(self, i: int, x: Field, sign: int) -> tuple[Field, Array]:
        raise NotImplementedError

    def prior_log_prob(self, z: Field) -> Array:
        raise NotImplementedError

    def prior(self, rng: np.random.Generator) -> Field:
        """One field of the prior."""
        raise NotImplementedError

    def flow_forward(self, z: Field) -> tuple[Field, Array]:
        return self.through(z, range(self.layers), 1)

    def flow_inverse(self, x: Field) -> tuple[Field, Array]:
        return self.through(x, range(self.layers - 1, -1, -1), -1)

    def through(self, x: Field, order: range, sign: int) -> tuple[Field, Array]:
        logdet = np.zeros(len(x))
        for i in order:
            x, own = self.layer(i, x, sign)
            logdet = logdet + own
        return x, logdet

    def log_prob(self, x: Field) -> Array:
        z, logdet = self.flow_inverse(x)
        return self.prior_log_prob(z) + logdet

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        return self.draw(streams(seed, n))

    def draw(self, rngs: Rngs) -> tuple[Field, Array]:
        z = np.array([self.prior(rng) for rng in rngs])
        x, logdet = self.flow_forward(z)
        return x, self.prior_log_prob(z) - logdet

    # --- the independence Metropolis --------------------------------------------------------------------------------------
    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        """For ``log w(y)/w(x)``."""
        return np.asarray(u < np.exp(np.minimum(log_ratio, 0.0)))

    def kept(self, accepted: NDArray[np.bool_], log_weight: Array, proposed: Array) -> Array:
        """The log weight of the next field."""
        return np.where(accepted, proposed, log_weight)

    def log_weight(self, x: Field) -> Array:
        return -self.action(x) - self.log_prob(x)

    def step(self, x: Field, seed: int) -> Field:
        return self.run(x, 1, seed)[0][0]

    def run(self, x: Field, n: int, seed: int) -> tuple[Field, Any]:
        return self.advance(x, self.log_weight(x), streams(seed, len(x)), n)

    def resume(self, state: Any, n: int) -> tuple[Field, Any]:
        x, log_weight, rng_states = state
        rngs = streams(0, len(rng_states))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self.advance(x, log_weight, rngs, n)

    def advance(self, x: Field, log_weight: Array, rngs: Rngs, n: int) -> tuple[Field, Any]:
        out = np.empty((n, *x.shape), x.dtype)
        for i in range(n):
            x, log_weight = self.update(x, log_weight, rngs)
            out[i] = x
        return out, (x, log_weight, [rng.bit_generator.state for rng in rngs])

    def update(self, x: Field, log_weight: Array, rngs: Rngs) -> tuple[Field, Array]:
        y, log_prob = self.draw(rngs)
        proposed = -self.action(y) - log_prob
        accepted = self.accept(proposed - log_weight, np.array([rng.random() for rng in rngs]))
        x = np.where(accepted.reshape(-1, *(1,) * (x.ndim - 1)), y, x)
        return x, self.kept(accepted, log_weight, proposed)


@dataclass(frozen=True)
class ScalarFlow(FlowClay):
    """Affine couplings on checkerboards: ``phi' = phi e^s + t`` where ``t + x + i`` is odd, of the four neighbours' sum there."""

    m2: float = 0.5
    lam: float = 2.0
    shape: tuple[int, int] = (4, 2)
    layers: ClassVar[int] = 4
    theory: ClassVar[str] = "phi4"
    flow_prior: ClassVar[str] = "normal"
    flow_symmetries: ClassVar[tuple[str, ...]] = ("translation", "parity")
    flow_period: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if any(extent % 2 for extent in self.shape):
            raise ValueError(f"shape: got {self.shape}, expected even extents")

    def action(self, x: Array) -> Array:
        bonds = sum(np.square(np.roll(x, -1, axis) - x) for axis in (1, 2))
        return np.asarray((bonds / 2 + self.m2 / 2 * x**2 + self.lam / 24 * x**4).sum(axis=(1, 2)))

    def active(self, i: int) -> NDArray[np.bool_]:
        t, x = np.indices(self.shape)
        return np.asarray((t + x + i) % 2 == 1)

    def context(self, i: int, x: Array) -> Array:
        """The sum over neighbours, of what the layer leaves alone."""
        frozen = np.where(self.active(i), 0.0, x)
        return np.asarray(sum(np.roll(frozen, step, axis) for axis in (1, 2) for step in (1, -1)))

    def scale_and_shift(self, i: int, h: Array) -> tuple[Array, Array]:
        scale, a, b = _AFFINE[i]
        return 0.1 * np.cos(h) + scale, a * h + b * np.tanh(h)

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        active = self.active(i)
        s, t = self.scale_and_shift(i, self.context(i, x))
        moved = x * np.exp(s) + t if sign > 0 else (x - t) * np.exp(-s)
        return np.where(active, moved, x), sign * self.logdet(i, np.where(active, s, 0.0))

    def logdet(self, i: int, s: Array) -> Array:
        return np.asarray(s.sum(axis=(1, 2)))

    def prior_log_prob(self, z: Array) -> Array:
        return np.asarray(-0.5 * np.square(z).sum(axis=(1, 2)) - 0.5 * math.prod(self.shape) * math.log(2 * math.pi))

    def prior(self, rng: np.random.Generator) -> Array:
        return rng.standard_normal(self.shape)


# Of every layer the scale, and how the shift depends on the neighbours: roughly where the reverse KL divergence is least.
_AFFINE = ((-0.48, -0.1, 0.04), (-0.58, 0.06, 0.25), (-0.28, 0.16, -0.13), (-0.16, 0.19, -0.17))


class Stripes(FlowClay):
    """Masks of Kanwar 2020: the links along ``mu = i % 2`` in every fourth row, whose plaquettes see the row beyond."""

    flow_symmetries: ClassVar[tuple[str, ...]] = ("gauge", "translation", "conjugation")
    flow_period: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if any(extent % 4 for extent in self.shape):
            raise ValueError(f"shape: got {self.shape}, expected multiples of 4")

    def active(self, i: int) -> NDArray[np.bool_]:
        """The active plaquettes ``(T, X)``, which have the names of their active links."""
        return np.asarray(np.indices(self.shape)[1 - i % 2] % 4 == (i // 2) % 4)

    def beyond(self, i: int, plaquettes: Field) -> Field:
        """The plaquettes one row further, at the places of the active ones."""
        return np.asarray(np.roll(plaquettes, -1, axis=2 - i % 2))


@dataclass(frozen=True)
class GaugeFlow(Stripes):
    """Of U(1): every active plaquette ``P -> h_s(P) + t``, ``h_s(P) = 2 atan(e^s tan(P/2))``, by a shift of its active link."""

    beta: float = 1.0
    theory: ClassVar[str] = "u1"
    flow_prior: ClassVar[str] = "uniform"

    def action(self, x: Array) -> Array:
        return np.asarray(self.beta * (1 - np.cos(measure.plaquette_angles(x))).sum(axis=(1, 2)))

    def context(self, i: int, angles: Array) -> Array:
        return self.beyond(i, angles)

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        """The map of angles, or its inverse, and the log of its slope."""
        s, t = 0.15 * np.cos(context) - 0.4 - 0.02 * i, 0.2 * np.sin(context)
        return projected(angles, s, t, sign)

    def layer(self, i: int, x: Array, sign: int) -> tuple[Array, Array]:
        angles, mu = measure.plaquette_angles(x), i % 2
        moved, slope = self.circle(i, angles, self.context(i, angles), sign)
        active = self.active(i)
        out = x.copy()
        out[:, mu] += (1 - 2 * mu) * np.where(active, moved - angles, 0.0)
        return self.wrapped(out), np.where(active, slope, 0.0).sum(axis=(1, 2))

    def wrapped(self, x: Array) -> Array:
        return measure.angle_difference(x, np.zeros(1))

    def prior_log_prob(self, z: Array) -> Array:
        return np.full(len(z), -2 * math.prod(self.shape) * math.log(2 * math.pi))

    def prior(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-np.pi, np.pi, (2, *self.shape))


@dataclass(frozen=True)
class PureGaugeFlow(GaugeFlow):
    """From exact pure gauge theory at a smaller beta, which weak layers move on."""

    beta: float = 1.5
    flow_prior_beta: float = 1.4
    flow_prior: ClassVar[str] = "pure_gauge"

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        return projected(angles, 0.02 * np.cos(context) - 0.02, 0 * context, sign)

    def log_partition(self, beta: float) -> float:
        return u1.log_partition(beta, self.shape) + 2 * math.prod(self.shape) * math.log(2 * math.pi)

    def prior_log_prob(self, z: Array) -> Array:
        energy = (1 - np.cos(measure.plaquette_angles(z))).sum(axis=(1, 2))
        return np.asarray(-self.flow_prior_beta * energy - self.log_partition(self.flow_prior_beta))

    def draw(self, rngs: Rngs) -> tuple[Array, Array]:
        z = u1.sample(rngs, len(rngs), self.flow_prior_beta, self.shape)
        x, logdet = self.flow_forward(z)
        return x, self.prior_log_prob(z) - logdet


def projected(x: Array, s: Array, t: Array, sign: int) -> tuple[Array, Array]:
    """``h_s(x) + t`` or its inverse ``h_-s(x - t)``, and the log of the slope."""
    x = x if sign > 0 else x - t
    half = np.remainder(x + np.pi, 2 * np.pi) / 2 - np.pi / 2
    s = sign * s
    slope = -np.log(np.exp(-s) * np.cos(half) ** 2 + np.exp(s) * np.sin(half) ** 2)
    return 2 * np.arctan(np.exp(s) * np.tan(half)) + (t if sign > 0 else 0.0), slope


@dataclass(frozen=True)
class SplineFlow(GaugeFlow):
    """Of U(1): plaquettes go through circular rational-quadratic splines of four bins, turned by t."""

    flow_symmetries: ClassVar[tuple[str, ...]] = ("gauge", "translation")

    def knots(self, i: int, context: Array) -> tuple[Array, Array, Array]:
        """Places and heights of five knots, from -pi to pi, and the slopes there, the last that of the first."""
        waves = np.stack([np.cos(context + k) for k in range(4)], axis=-1)
        widths, heights = (2 * np.pi * _softmax(c * waves + b) for c, b in ((0.1, _WIDER), (0.05, -_WIDER)))
        slopes = _SLOPES + (0.1 + 0.01 * i) * waves
        places = [
            np.concatenate([0 * part[..., :1], part.cumsum(axis=-1)], axis=-1) - np.pi for part in (widths, heights)
        ]
        return places[0], places[1], np.concatenate([slopes, slopes[..., :1]], axis=-1)

    def circle(self, i: int, angles: Array, context: Array, sign: int) -> tuple[Array, Array]:
        x, y, d = self.knots(i, context)
        turn = 0.1 * np.sin(context)
        angles = measure.angle_difference(angles, turn if sign < 0 else np.zeros(1))
        knots = x if sign > 0 else y
        bin_ = np.clip((angles[..., None] >= knots).sum(axis=-1) - 1, 0, 3)[..., None]
        x_0, y_0, d_0 = (np.take_along_axis(part, bin_, -1)[..., 0] for part in (x, y, d))
        x_1, y_1, d_1 = (np.take_along_axis(part, bin_ + 1, -1)[..., 0] for part in (x, y, d))
        s = (y_1 - y_0) / (x_1 - x_0)
        rise = angles - (x_0 if sign > 0 else y_0)
        xi = rise / (x_1 - x_0) if sign > 0 else self.fraction(rise, y_1 - y_0, s, d_0, d_1)
        below = s + (d_0 + d_1 - 2 * s) * xi * (1 - xi)
        slope = np.log(s**2 * (d_1 * xi**2 + 2 * s * xi * (1 - xi) + d_0 * (1 - xi) ** 2) / below**2)
        if sign < 0:
            return x_0 + xi * (x_1 - x_0), -slope
        return y_0 + (y_1 - y_0) * (s * xi**2 + d_0 * xi * (1 - xi)) / below + turn, slope

    def fraction(self, rise: Array, height: Array, s: Array, d_0: Array, d_1: Array) -> Array:
        """Where in its bin the spline has risen so far: the root of a quadratic equation."""
        q = d_0 + d_1 - 2 * s
        a, b, c = height * (s - d_0) + rise * q, height * d_0 - rise * q, -s * rise
        return np.asarray(2 * c / (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))))


# The density is raised around 0, where bins are wide and low.
_WIDER, _SLOPES = np.array([-0.1, 0.1, 0.1, -0.1]), np.array([1.5, 1.1, 0.7, 1.1])


def _softmax(a: Array) -> Array:
    e = np.exp(a)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class MatrixFlow(Stripes):
    """Of SU(2): active plaquettes ``P = c + i w.sigma -> c' + r (P - c)``, whose angle theta goes to ``2 atan(e^s tan(theta/2))``.

    ``r = sin theta'/sin theta`` happens to be the slope of that, so that the log of the Jacobian in Haar measure, the slope times
    ``(sin theta'/sin theta)^2``, is ``3 log r``.
    """

    beta: float = 1.0
    theory: ClassVar[str] = "su2"
    flow_prior: ClassVar[str] = "haar"

    def action(self, x: Field) -> Array:
        return -self.beta * math.prod(self.shape) * matrices.mean_plaquette(x)

    def plaquettes(self, i: int, x: Field) -> Field:
        """Those that begin with the active link, of determinant 1 to rounding, which is amplified where they are close to +-1."""
        loops = matrices.plaquettes(x)
        loops = loops / np.sqrt(np.linalg.det(loops).real)[..., None, None]
        return matrices.dagger(loops) if i % 2 else loops

    def context(self, i: int, loops: Field) -> Array:
        return self.beyond(i, np.einsum("...ii->...", loops).real / 2)

    def logdet(self, r: Array) -> Array:
        return 3 * np.log(r)

    def layer(self, i: int, x: Field, sign: int) -> tuple[Field, Array]:
        loops = self.plaquettes(i, x)
        s = sign * (0.1 * self.context(i, loops) - 0.12 - 0.01 * i)
        c = np.einsum("...ii->...", loops).real / 2
        up, down = (1 + c) / 2, np.exp(2 * s) * (1 - c) / 2
        turned, r = (up - down) / (up + down), np.exp(s) / (up + down)
        one = np.eye(2)
        moved = turned[..., None, None] * one + r[..., None, None] * (loops - c[..., None, None] * one)
        active = self.active(i)
        change = np.where(active[..., None, None], moved @ matrices.dagger(loops), one)
        out = x.copy()
        out[:, i % 2] = change @ x[:, i % 2]
        return out, np.where(active, self.logdet(r), 0.0).sum(axis=(1, 2))

    def prior_log_prob(self, z: Field) -> Array:
        return np.zeros(len(z))

    def prior(self, rng: np.random.Generator) -> Field:
        """Unit quaternions."""
        q = rng.standard_normal((*self.shape, 4, 2))
        a, b, c, d = np.moveaxis(q / np.linalg.norm(q, axis=2, keepdims=True), 2, 0)
        flat = np.array([[a + 1j * b, c + 1j * d], [-c + 1j * d, a - 1j * b]])
        return np.ascontiguousarray(np.moveaxis(flat, (0, 1, 4), (-2, -1, 0)))
