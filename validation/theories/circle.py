"""Theories of angles: two-dimensional U(1) and the periodic O(2) chain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from operator import index
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import o2, u1
from refimpl.exact.u1 import LARGEST_BETA

from .. import measure
from .base import ANGLE, Additive, Array, Observable, Symmetry, U


class Angles(Additive):
    """Fields of angles: distances on the circle, moves measured by their sine."""

    angular: ClassVar[bool] = True
    scale = 1.0
    beta: float

    @property
    def size(self) -> int:
        return math.prod(self.field_shape)

    def difference(self, a: Array, b: Array) -> Array:
        return measure.angle_difference(a, b)

    def displacement(self, after: Array, before: Array) -> Array:
        """An odd function of the move, per component."""
        return np.sin(after - before)

    def step_rounding(self, x: Array, v: Array) -> float:
        """Rounding of one step of a trajectory: some ulp of an angle."""
        return 4 * np.pi * U

    def moved(self, changes: Array) -> Array:
        """How far sums of angles moved on the circle, the largest over chains."""
        return np.asarray(np.abs(np.exp(1j * changes) - 1).max(axis=0))

    def action_rounding(self, x: Array) -> float:
        """Error of ``beta sum (1 - cos)``: V terms with the rounding of their angles, added one after the other."""
        return self.beta * self.volume * (ANGLE + 2 * self.volume * U)

    def force_rounding(self, x: Array) -> float:
        """Error of a force component: two sines with the rounding of their angles."""
        return 2 * self.beta * (ANGLE + 2 * U)

    @property
    def volume(self) -> int:
        """Sites: the axes ``(t, x)``, or the one of a chain."""
        return math.prod(self.field_shape[-2:])

    def truncation(self, x: Array, w: Array, h: float) -> float:
        """Fourth-order differences along unit vectors: ``h^4/30 beta sum_P d_P^5``, with ``|d_P| <= 2`` and ``sum d_P^2 <= 8``."""
        return h**4 / 30 * 64 * self.beta


@dataclass(frozen=True)
class U1(Angles):
    """Two-dimensional U(1): ``S = beta sum_P (1 - cos theta_P)``, fields ``(n, 2, T, X)``."""

    beta: float
    shape: tuple[int, int]
    name: ClassVar[str] = "u1"
    parameters: ClassVar[tuple[str, ...]] = ("beta", "shape")
    required: ClassVar[tuple[str, ...]] = ("beta", "shape")
    label: ClassVar[str] = "<cos P>"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> U1:
        """From declared attributes; raises `ValueError`."""
        return cls(*lattice(given, LARGEST_BETA))

    def declared(self) -> dict[str, Any]:
        return {"beta": self.beta, "shape": self.shape}

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        return u1.sample(rng, n, self.beta, self.shape)

    def action(self, x: Array) -> Array:
        """``1 - cos`` as ``2 sin^2`` of the half angle."""
        return np.asarray(2 * self.beta * np.square(np.sin(measure.plaquette_angles(x) / 2)).sum(axis=(1, 2)))

    def loop_action(self, x: Array) -> float:
        return measure.loop_action(x, self.beta)

    def loop_force(self, x: Array) -> Array:
        return measure.loop_force(x, self.beta)

    def configurations(self, rng: np.random.Generator) -> Array:
        """Cold, smooth, equilibrium, hot, and flux configurations: at least one of each charge from -2 to 2 that fits."""
        return self.fields(rng)

    def fields(self, rng: np.random.Generator) -> Array:
        """The configurations for functions of the links alone; with fermions D may be singular in some."""
        shape = self.field_shape
        fluxes = [flux for flux in (-2, -1, 1, 2) if 2 * abs(flux) < self.volume]
        return np.concatenate(
            [
                np.zeros((1, *shape)),
                1e-3 * rng.standard_normal((1, *shape)),
                u1.sample(rng, 3, self.beta, self.shape),
                rng.uniform(-np.pi, np.pi, (3, *shape)),
                *(measure.flux_configuration(self.shape, flux) for flux in fluxes),
            ]
        )

    def phase_fields(self, rng: np.random.Generator, n: int) -> Array:
        """Equilibrium fields; in half of them a quarter of the links are put within 1e-3 of the cut at +-pi by a gauge."""
        x = self.starts(rng, n)
        alpha = np.zeros((n, *self.shape))
        alpha[n // 2 :, ::2, ::2] = np.pi - 1e-3 * rng.random() - x[n // 2 :, 0, ::2, ::2]
        return measure.gauge_transformed(x, alpha)

    def smaller(self) -> tuple[dict[str, Any], ...]:
        """Parameters of the same theory with few degrees of freedom, for dense Jacobians."""
        return {"shape": (2, 2)}, {"shape": (2, 3)}

    def symmetries(self, rng: np.random.Generator, n: int) -> tuple[Symmetry, ...]:
        alpha = rng.uniform(-np.pi, np.pi, (n, *self.shape))
        return (
            Symmetry("gauge transformation", lambda x: measure.gauge_transformed(x, alpha), lambda f: f),
            *_translations({2: "translation in time", 3: "translation in space"}),
        )

    def modes(self, after: Array, before: Array) -> dict[str, Array]:
        """Parts of a change of the field that must not stay zero for ever."""
        change = after - before
        return {
            "link": change,
            "Polyakov loop in time": change[:, 0].sum(axis=1),
            "Polyakov loop in space": change[:, 1].sum(axis=2),
            "sum of links": change.sum(axis=(2, 3)),
        }

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        mean, variance = u1.plaquette(self.beta, self.shape), u1.plaquette_variance(self.beta, self.shape)
        return (Observable(self.label, measure.mean_plaquette, mean, math.sqrt(variance)),)

    def charge(self, x: Array) -> NDArray[np.int64]:
        return measure.charge(x)

    def charge_distribution(self) -> tuple[NDArray[np.int64], Array] | None:
        """Charges and their probabilities, where they are known."""
        return u1.charge_distribution(self.beta, self.shape)

    loop_mean_plaquette = staticmethod(measure.loop_mean_plaquette)
    loop_wilson_loop = staticmethod(measure.loop_wilson_loop)

    @property
    def plaquette_rounding(self) -> float:
        return ANGLE + 2 * self.volume * U

    @property
    def loop_rounding(self) -> float:
        """Of a Wilson loop of up to twelve links."""
        return 4 * ANGLE + 2 * self.volume * U

    def loop_mean(self, side: int) -> float | None:
        """The mean of a square Wilson loop, where it is known."""
        return u1.wilson_loop(self.beta, self.shape, side**2)

    def uniform_phases(self, x: Array) -> Array:
        """Mean cosines ``(phase, n)`` of phases that are uniform on the circle: links and Polyakov loops."""
        return measure.mean_phases(x)


def lattice(given: Mapping[str, Any], largest_beta: float) -> tuple[float, tuple[int, int]]:
    """Coupling and shape of declared attributes; raises `ValueError`."""
    beta, shape = given["beta"], given["shape"]
    try:
        coupling, extents = float(beta), (index(shape[0]), index(shape[1]))
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"beta, shape: got {beta!r} and {shape!r}, expected a number and two integers (T, X)"
        ) from error
    if not 0 < coupling <= largest_beta or min(extents) < 2 or len(shape) != 2:
        raise ValueError(
            f"beta, shape: got {coupling}, {shape}, "
            f"expected beta > 0 and at most {largest_beta:g}, and extents of at least 2"
        )
    return coupling, extents


def _translations(axes: Mapping[int, str]) -> tuple[Symmetry, ...]:
    moves = {name: partial(np.roll, shift=1, axis=axis) for axis, name in axes.items()}
    return tuple(Symmetry(name, move, move) for name, move in moves.items())


@dataclass(frozen=True)
class O2(Angles):
    """The periodic O(2) chain: ``S = beta sum_i (1 - cos(x_{i+1} - x_i))``, fields ``(n, N)``."""

    beta: float
    length: int
    name: ClassVar[str] = "o2"
    parameters: ClassVar[tuple[str, ...]] = ("beta", "length")
    required: ClassVar[tuple[str, ...]] = ("beta", "length")
    label: ClassVar[str] = "<cos bond>"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> O2:
        """From declared attributes; raises `ValueError`."""
        beta, length = given["beta"], given["length"]
        try:
            theory = cls(float(beta), index(length))
        except (TypeError, ValueError) as error:
            raise ValueError(f"beta, length: got {beta!r} and {length!r}, expected a number and an integer") from error
        if not 0 < theory.beta <= LARGEST_BETA or theory.length < 2:
            raise ValueError(
                f"beta, length: got {theory.beta}, {length}, "
                f"expected beta > 0 and at most {LARGEST_BETA:g}, and a length of at least 2"
            )
        return theory

    def declared(self) -> dict[str, Any]:
        return {"beta": self.beta, "length": self.length}

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.length,)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        return o2.sample(rng, n, self.beta, self.length)

    def action(self, x: Array) -> Array:
        return np.asarray(2 * self.beta * np.square(np.sin(_bonds(x) / 2)).sum(axis=1))

    def loop_action(self, x: Array) -> float:
        n = self.length
        return self.beta * math.fsum(1 - math.cos(x[(i + 1) % n] - x[i]) for i in range(n))

    def loop_force(self, x: Array) -> Array:
        n = self.length
        return np.array(
            [self.beta * (math.sin(x[i] - x[i - 1]) - math.sin(x[(i + 1) % n] - x[i])) for i in range(n)],
            dtype=np.float64,
        )

    def configurations(self, rng: np.random.Generator) -> Array:
        """Aligned, smooth, equilibrium, hot, and chains that wind -2 to 2 times as far as that fits."""
        windings = [q for q in (-2, -1, 1, 2) if 2 * abs(q) < self.length]
        turns = [2 * np.pi * q / self.length * np.arange(self.length, dtype=np.float64)[None] for q in windings]
        return np.concatenate(
            [
                np.zeros((1, self.length)),
                1e-3 * rng.standard_normal((1, self.length)),
                self.sample(rng, 3),
                rng.uniform(-np.pi, np.pi, (3, self.length)),
                *(measure.angle_difference(turn, np.zeros(1)) for turn in turns),
            ]
        )

    def phase_fields(self, rng: np.random.Generator, n: int) -> Array:
        """Equilibrium fields; half of them are rotated so that the first angle is within 1e-3 of the cut at +-pi."""
        x = self.sample(rng, n)
        x[n // 2 :] += np.pi - 1e-3 * rng.random() - x[n // 2 :, :1]
        return measure.angle_difference(x, np.zeros(1))

    def smaller(self) -> tuple[dict[str, Any], ...]:
        """Parameters of the same theory with few degrees of freedom, for dense Jacobians."""
        return {"length": 4}, {"length": 5}

    def symmetries(self, rng: np.random.Generator, n: int) -> tuple[Symmetry, ...]:
        a = rng.uniform(-np.pi, np.pi, (n, 1))
        rotation = Symmetry("rotation", lambda x: measure.angle_difference(x + a, np.zeros(1)), lambda f: f)
        return (rotation, *_translations({1: "translation"}))

    def modes(self, after: Array, before: Array) -> dict[str, Array]:
        """Parts of a change of the field that must not stay zero for ever."""
        change = after - before
        return {"angle": change, "sum of angles": change.sum(axis=1, keepdims=True)}

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        g = [o2.correlation(self.beta, self.length, r) for r in range(self.length)]
        far = self.length // 2
        # <|magnetisation|^2>/N^2 = sum_r G(r)/N, half of it along each axis.
        axis = math.sqrt(max(sum(g), 0.0) / self.length / 2)
        q, p = self.charge_distribution()
        square = float((p * q**2).sum())
        spread = math.sqrt(float((p * q**4.0).sum()) - square**2)
        bond = math.sqrt(o2.bond_variance(self.beta, self.length))
        return (
            Observable(self.label, lambda x: np.cos(_bonds(x)).mean(axis=1), g[1], bond),
            Observable(f"<cos(x_{far} - x_0)>", lambda x: np.cos(x[:, far] - x[:, 0]), g[far], 1.0),
            Observable("<cos x>", lambda x: np.cos(x).mean(axis=1), 0.0, axis),
            Observable("<Q^2>", lambda x: self.charge(x).astype(np.float64) ** 2, square, max(spread, 0.1)),
        )

    def charge(self, x: Array) -> NDArray[np.int64]:
        """The winding number."""
        return np.rint(measure.angle_difference(_bonds(x), np.zeros(1)).sum(axis=1) / (2 * np.pi)).astype(np.int64)

    def charge_distribution(self) -> tuple[NDArray[np.int64], Array]:
        return o2.winding_distribution(self.beta, self.length)


def _bonds(x: Array) -> Array:
    return np.roll(x, -1, axis=1) - x
