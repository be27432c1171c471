"""Theories of SU(N) links in two dimensions, N = 2 and 3, with and without fermions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import sun

from .. import measure_matrices as measure
from .base import Array, Observable, Symmetry, U
from .circle import lattice
from .fermions import Flavours, Rejection, parsed

Links = NDArray[Any]

SCALING = 512  # exact configurations that give the centre and width of bounded functions
FAR = 1.0  # matrices further apart than this, as ``|a b^dag - 1|``, are told by their distance


@dataclass(frozen=True)
class Matrices:
    """SU(N) links: ``S = -(beta/N) sum_P Re tr P``, with fermions ``- 2 log |det D|``; fields complex ``(n, 2, T, X, N, N)``.

    Momenta and forces are components along the generators, ``(n, 2, T, X, N^2 - 1)``.
    """

    beta: float
    shape: tuple[int, int]
    kappa: float = 0.0
    antiperiodic: bool = True
    name: ClassVar[str]
    n: ClassVar[int]
    angular: ClassVar[bool] = False
    scale: ClassVar[float] = 1.0
    parameters: ClassVar[tuple[str, ...]] = ("beta", "shape", "kappa", "antiperiodic")
    required: ClassVar[tuple[str, ...]] = ("beta", "shape")
    label: ClassVar[str] = "<Re tr P>/N"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Matrices:
        """From declared attributes; raises `ValueError`."""
        return cls(*lattice(given, sun.HIGHEST_BETA), *parsed(given))

    def declared(self) -> dict[str, Any]:
        own = {"beta": self.beta, "shape": self.shape}
        return own | ({"kappa": self.kappa, "antiperiodic": self.antiperiodic} if self.kappa else {})

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape, self.n, self.n)

    @property
    def momentum_shape(self) -> tuple[int, ...]:
        return (2, *self.shape, self.n**2 - 1)

    @property
    def size(self) -> int:
        """Degrees of freedom: momenta."""
        return math.prod(self.momentum_shape)

    @property
    def volume(self) -> int:
        return math.prod(self.shape)

    @property
    def thrift(self) -> int:
        return 16 if self.kappa else 4

    @property
    def flavours(self) -> Flavours | None:
        return Flavours(self.kappa, self.antiperiodic, measure.GENERATORS[self.n]) if self.kappa else None

    # --- geometry of the fields -------------------------------------------------------------------------------------
    def pushed(self, x: Links, w: Array) -> Links:
        """``exp(i w_a T_a) U``."""
        return np.asarray(measure.exponential(w, self.n) @ x)

    def difference(self, a: Links, b: Links) -> Array:
        """Components of ``a b^dag`` along the generators; where that is far from 1, where they fold back, the distance itself."""
        turn = a @ measure.dagger(b)
        out = measure.coordinates(turn)
        distance = np.linalg.norm(turn - np.eye(self.n), axis=(-2, -1))
        far = ~(distance <= FAR)
        out[..., 0][far] = distance[far]
        return out

    def displacement(self, after: Links, before: Links) -> Array:
        """Components of ``2 tr(T_a (W - W^dag)/2i)``, ``W = after before^dag``: odd under exchange of the two."""
        return measure.coordinates(after @ measure.dagger(before))

    def moved(self, changes: Array) -> Array:
        return np.asarray(np.abs(changes).max(axis=0))

    def modes(self, after: Links, before: Links) -> dict[str, Array]:
        """Parts of a change of the field that must not stay zero for ever."""
        loops = [
            self.displacement(measure.polyakov_loops(after, mu), measure.polyakov_loops(before, mu)) for mu in (0, 1)
        ]
        return {
            "link": self.displacement(after, before),
            "Polyakov loop in time": loops[0],
            "Polyakov loop in space": loops[1],
        }

    def step_rounding(self, x: Links, v: Array) -> float:
        """Rounding of one step: of a product of matrices and an exponential, of momenta, and of the force."""
        fermions = 10 * self.flavours.force_rounding(x) if self.flavours else 0.0
        return float(16 * self.n**2 * U * max(1.0, float(np.abs(v).max()))) + fermions

    # --- the action ---------------------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, n: int) -> Links:
        if self.kappa:
            return self._rejection.sample(rng, n)
        return sun.sample(rng, n, self.beta, self.shape, self.n)

    def starts(self, rng: np.random.Generator, n: int) -> Links:
        """Typical fields to start from, where equilibrium is not needed."""
        return self._rejection.starts(rng, n, self.flavours) if self.flavours else self.sample(rng, n)

    @property
    def _rejection(self) -> Rejection:
        return Rejection(self.beta, self.kappa, self.shape, self.antiperiodic, self.n)

    def action(self, x: Links) -> Array:
        gauge = -self.beta * self.volume * measure.mean_plaquette(x)
        return gauge + self.flavours.action(x) if self.flavours else gauge

    def loop_action(self, x: Links) -> float:
        fermions = self.flavours.loop_action(x) if self.flavours else 0.0
        return measure.loop_action(x, self.beta) + fermions

    def loop_force(self, x: Links) -> Array:
        gauge = measure.loop_force(x, self.beta)
        return gauge + self.flavours.loop_force(x) if self.flavours else gauge

    def action_rounding(self, x: Links) -> float:
        """V traces of products of four matrices, added one after the other."""
        fermions = self.flavours.action_rounding(x) if self.flavours else 0.0
        return self.beta * self.volume * self.plaquette_rounding + fermions

    def force_rounding(self, x: Links) -> float:
        """Two plaquettes with a generator, ``n^2`` products each."""
        fermions = self.flavours.force_rounding(x) if self.flavours else 0.0
        return 32 * self.beta * self.n**2 * U + fermions

    @property
    def plaquette_rounding(self) -> float:
        return (8 * self.n**2 + 2 * self.volume) * U

    @property
    def loop_rounding(self) -> float:
        """Of a Wilson loop of up to twelve links."""
        return 4 * self.plaquette_rounding

    def truncation(self, x: Links, w: Array, h: float) -> float:
        """Twice the error that the same differences make of the oracle's own action."""
        s = {k: self.action(self.pushed(x, k * h * w)) for k in (-2, -1, 1, 2)}
        slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
        exact = (np.array([self.loop_force(c) for c in x]) * w).sum(axis=(1, 2, 3, 4))
        return 2 * float(np.abs(slope - exact).max()) + h**4 * self.beta

    loop_mean_plaquette = staticmethod(measure.loop_mean_plaquette)
    loop_wilson_loop = staticmethod(measure.loop_wilson_loop)

    # --- fields and symmetries ----------------------------------------------------------------------------------------
    def configurations(self, rng: np.random.Generator) -> Links:
        """Cold, smooth, equilibrium (of the pure gauge theory), links all over the group; with fermions not nearly singular."""
        return self.flavours.judged(self.fields(rng)) if self.flavours else self.fields(rng)

    def fields(self, rng: np.random.Generator) -> Links:
        """The configurations for functions of the links alone; with fermions D may be singular in some."""
        cold = np.broadcast_to(np.eye(self.n, dtype=np.complex128), (1, *self.field_shape))
        smooth = self.pushed(cold, 1e-3 * rng.standard_normal((1, *self.momentum_shape)))
        hot = measure.random_elements(rng, (3, 2, *self.shape), self.n)
        return np.concatenate([cold, smooth, sun.sample(rng, 3, self.beta, self.shape, self.n), hot])

    def phase_fields(self, rng: np.random.Generator, n: int) -> Links:
        return self.starts(rng, n)

    def smaller(self) -> tuple[dict[str, Any], ...]:
        """Parameters of the same theory with few degrees of freedom, for dense Jacobians."""
        return ({"shape": (2, 2)}, {"shape": (2, 3)}) if self.n == 2 else ({"shape": (2, 2)},)

    def symmetries(self, rng: np.random.Generator, n: int) -> tuple[Symmetry, ...]:
        g = measure.random_elements(rng, (n, *self.shape), self.n)
        moves = {"translation in time": 2, "translation in space": 3}
        shifts = {name: partial(np.roll, shift=1, axis=axis) for name, axis in moves.items()}
        return (
            Symmetry("gauge transformation", partial(measure.gauge_transformed, g=g), partial(measure.rotated, g=g)),
            *(Symmetry(name, move, move) for name, move in shifts.items()),
        )

    def conjugation(self) -> Symmetry:
        """Complex conjugation; components along real generators change sign."""
        real = np.array([not np.any(t.imag) for t in measure.GENERATORS[self.n]])
        return Symmetry("complex conjugation", np.conj, lambda w: np.where(real, -w, w))

    # --- observables --------------------------------------------------------------------------------------------------
    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        """Plaquette, a larger loop, Polyakov loops, links (whose traces average to 0), with fermions the log determinant.

        Without fermions the plaquette is known in closed form; else the centre and width of a bounded function come from samples.
        """
        functions: dict[str, Callable[[Any], Array]] = {self.label: measure.mean_plaquette}
        if min(self.shape) > 2:
            functions["<Re tr W(2x2)>/N"] = partial(measure.square_loop, side=2)
        functions["<Re tr L_t>/N"] = partial(_polyakov, mu=0)
        functions["<Re tr L_x>/N"] = partial(_polyakov, mu=1)
        functions["<Re tr U>/N"] = measure.mean_trace
        if self.flavours:
            functions["<log |det D|>"] = self.flavours.log_determinant
        x = self.sample(np.random.default_rng(1), SCALING)
        found = {name: (float(f(x).mean()), float(f(x).std())) for name, f in functions.items()}
        if not self.kappa:
            spread = math.sqrt(sun.plaquette_variance(self.beta, self.shape, self.n))
            found[self.label] = (sun.plaquette(self.beta, self.shape, self.n), spread)
        known = {self.label} if not self.kappa else set()
        return tuple(Observable(name, f, *found[name], name in known) for name, f in functions.items())

    def charge(self, x: Links) -> NDArray[np.int64]:
        """There is none: zero."""
        return np.zeros(len(x), dtype=np.int64)

    def charge_distribution(self) -> None:
        return None


class SU2(Matrices):
    """SU(2)."""

    name: ClassVar[str] = "su2"
    n: ClassVar[int] = 2


class SU3(Matrices):
    """SU(3)."""

    name: ClassVar[str] = "su3"
    n: ClassVar[int] = 3


def _polyakov(x: Links, mu: int) -> Array:
    return measure.mean_trace(measure.polyakov_loops(x, mu))
