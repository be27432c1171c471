"""The phi^4 theory of one real field on the two-dimensional torus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar

import numpy as np

from refimpl.exact import free_scalar, phi4

from .base import Array, Move, Observable, Symmetry, U, Unsampled
from .line import Line

# Nominal seconds that one exact configuration may take: a standard run asks for some hundred thousand of them.
LONGEST_DRAW = 5e-4
SECONDS_A_SITE = 1.5e-7  # of a proposal of the sampler
PROBES = 2048  # proposals from which the acceptance is estimated
SCALING = 4096  # fields from which standard deviations are estimated
SMALLER = ((8, 8), (4, 4), (4, 2), (2, 2))


@dataclass(frozen=True)
class Phi4(Line):
    """``S = sum_n [ sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24 ]``, fields ``(n, T, X)``.

    Exact samples are by rejection from a free field, whose acceptance falls exponentially with the volume. It is estimated once,
    from proposals of a fixed seed, and held against nominal times, so that the same target always gets the same checks.
    """

    m2: float
    lam: float
    shape: tuple[int, int]
    name: ClassVar[str] = "phi4"
    parameters: ClassVar[tuple[str, ...]] = ("m2", "lam", "shape")
    required: ClassVar[tuple[str, ...]] = ("m2", "lam", "shape")
    label: ClassVar[str] = "<phi dS/dphi>"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Phi4:
        """From declared attributes; raises `ValueError`."""
        m2, lam, shape = (given[name] for name in cls.parameters)
        try:
            theory = cls(float(m2), float(lam), (int(shape[0]), int(shape[1])))
            whole = len(shape) == 2 and theory.shape == tuple(shape)
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"m2, lam, shape: got {m2!r}, {lam!r} and {shape!r}, expected two numbers and two integers (T, X)"
            ) from error
        bound = theory.m2 > 0 if theory.lam == 0 else theory.lam > 0
        if not whole or min(theory.shape) < 1 or not bound or not math.isfinite(theory.m2 + theory.lam):
            raise ValueError(
                f"m2, lam, shape: got {m2!r}, {lam!r} and {shape!r}, expected finite numbers, lam >= 0 and m2 > 0 where lam = 0, "
                "and extents of at least 1"
            )
        return theory

    def declared(self) -> dict[str, Any]:
        return {"m2": self.m2, "lam": self.lam, "shape": self.shape}

    @property
    def field_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def volume(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.volume

    @property
    def scale(self) -> float:
        """The standard deviation of the wave of the shortest length, in mean field theory."""
        return 1 / math.sqrt(8 + self.free_mass)

    # --- action and force -----------------------------------------------------------------------------------------------
    def action(self, x: Array) -> Array:
        bonds = sum(np.square(np.roll(x, -1, axis) - x) for axis in (1, 2))
        squared = x * x
        return np.asarray((bonds / 2 + (self.m2 / 2 + self.lam / 24 * squared) * squared).sum(axis=(1, 2)))

    def force(self, x: Array) -> Array:
        laplacian = sum(np.roll(x, step, axis) - x for axis in (1, 2) for step in (1, -1))
        return np.asarray((self.m2 + self.lam / 6 * x * x) * x - laplacian)

    def loop_action(self, x: Array) -> float:
        n_t, n_x = x.shape
        terms = []
        for t, s in np.ndindex(n_t, n_x):
            here = float(x[t, s])
            terms += [(float(x[(t + 1) % n_t, s]) - here) ** 2 / 2, (float(x[t, (s + 1) % n_x]) - here) ** 2 / 2]
            terms += [self.m2 * here**2 / 2, self.lam * here**4 / 24]
        return math.fsum(terms)

    def loop_force(self, x: Array) -> Array:
        n_t, n_x = x.shape
        force = np.empty(x.shape)
        for t, s in np.ndindex(n_t, n_x):
            here = float(x[t, s])
            neighbours = x[(t + 1) % n_t, s], x[t - 1, s], x[t, (s + 1) % n_x], x[t, s - 1]
            force[t, s] = math.fsum(
                [self.m2 * here, self.lam * here**3 / 6, *(here - float(other) for other in neighbours)]
            )
        return force

    def action_rounding(self, x: Array) -> float:
        """V sites, each wrong by some ulp of its terms, with the squares of the differences multiplied out, added one by one."""
        x = x[np.isfinite(x).all(axis=(1, 2))]
        squared = x * x
        terms = ((4 + abs(self.m2) / 2 + self.lam / 24 * squared) * squared).sum(axis=(1, 2))
        return float((self.volume + 16) * U * terms.max(initial=1.0))

    def force_rounding(self, x: Array) -> float:
        """Some ulp of the largest field, its neighbours, and their potential."""
        largest = np.abs(x[np.isfinite(x).all(axis=(1, 2))]).max(initial=1.0)
        return float(16 * U * (8 + abs(self.m2) + self.lam / 6 * largest**2) * largest)

    def truncation(self, x: Array, w: Array, h: float) -> float:
        """None: fourth-order differences of a polynomial of degree four are exact."""
        return 0.0

    # --- observables ----------------------------------------------------------------------------------------------------
    def loop_correlator(self, x: Array, t: int) -> float:
        """``(1/T) sum_y P(y + t) P(y)``, ``P(y)`` the mean of time slice y."""
        n_t, n_x = x.shape
        means = [math.fsum(float(x[y, s]) for s in range(n_x)) / n_x for y in range(n_t)]
        return math.fsum(means[(y + t) % n_t] * means[y] for y in range(n_t)) / n_t

    def loop_moment(self, x: Array, k: int) -> float:
        return math.fsum(float(phi) ** k for phi in x.flat) / x.size

    def moment_rounding(self, x: Array, k: int) -> float:
        """Of the mean of k-th powers, and of products of k means: V terms, or their factors, added one by one."""
        return float((k * self.volume + 16) * U * (np.abs(x) ** k).mean(axis=(1, 2)).max(initial=1.0))

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        """First ``phi dS/dphi``, whose mean is exactly 1 (Schwinger-Dyson); standard deviations are estimates."""
        return _observables(self)

    @property
    def answers(self) -> phi4.Answers | None:
        """Exact expectation values, on the lattices that have them."""
        return _answers(self)

    def schwinger_dyson(self, x: Array) -> Array:
        """``(1/V) sum phi dS/dphi``, per chain."""
        return np.asarray((x * self.force(x)).mean(axis=(1, 2)))

    # --- fields ---------------------------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Exact and independent fields; raises `Unsampled`."""
        if self.seconds > LONGEST_DRAW:
            raise Unsampled(self.refusal)
        try:
            return phi4.sample(rng, n, self.m2, self.lam, self.shape)
        except ValueError as error:  # far fewer are accepted than the estimate said
            raise Unsampled(self.refusal) from error

    def starts(self, rng: np.random.Generator, n: int) -> Array:
        """Fields to start from where equilibrium is not needed: exact ones, else those of mean field theory."""
        if self.seconds <= LONGEST_DRAW:
            return self.sample(rng, n)
        return free_scalar.sample(rng, n, self.free_mass, self.shape)

    def configurations(self, rng: np.random.Generator) -> Array:
        """Cold, smooth, typical, rough and large fields, one that is constant, and one with a single site."""
        shape = self.shape
        single = np.zeros((1, *shape))
        single[0, -1, 0] = 1.5
        return np.concatenate(
            [
                np.zeros((1, *shape)),
                1e-3 * rng.standard_normal((1, *shape)),
                self.starts(rng, 3),
                rng.standard_normal((3, *shape)),
                8 * rng.standard_normal((2, *shape)),
                np.full((1, *shape), -0.7),
                single,
            ]
        )

    def smaller(self) -> tuple[dict[str, Any], ...]:
        """Parameters of the same theory with few degrees of freedom, for dense Jacobians."""
        return {"shape": (2, 2)}, {"shape": (2, 3)}

    def symmetries(self, rng: np.random.Generator, n: int) -> tuple[Symmetry, ...]:
        moves: dict[str, Move] = {
            "translation in time": partial(np.roll, shift=1, axis=1),
            "translation in space": partial(np.roll, shift=1, axis=2),
            "reflection of time": partial(np.flip, axis=1),
            "reflection of space": partial(np.flip, axis=2),
            "parity": np.negative,
        }
        if self.shape[0] == self.shape[1]:
            moves["exchange of the axes"] = partial(np.swapaxes, axis1=1, axis2=2)
        return tuple(Symmetry(name, move, move) for name, move in moves.items())

    def modes(self, after: Array, before: Array) -> dict[str, Array]:
        """Parts of a change of the field that must not stay zero for ever."""
        change = after - before
        return {"site": change, "sum of the field": change.sum(axis=(1, 2))[:, None]}

    # --- how fast fields are to be had ------------------------------------------------------------------------------------
    @property
    def free_mass(self) -> float:
        """Squared mass ``M2 = m2 + lam <phi^2>/6`` of the free field from which fields are accepted most often."""
        return _free_mass(self.m2, self.lam, self.shape)

    @property
    def seconds(self) -> float:
        """Nominal, of one exact field."""
        return SECONDS_A_SITE * self.volume / max(self.acceptance, 1e-300)

    @property
    def acceptance(self) -> float:
        return _acceptance(self)

    @property
    def refusal(self) -> str:
        """Why there are no samples, and where there would be some."""
        smaller = [
            f"{shape[0]}x{shape[1]}"
            for shape in SMALLER
            if math.prod(shape) < self.volume and replace(self, shape=shape).seconds <= LONGEST_DRAW
        ]
        at = f"shape {' or '.join(smaller)}" if smaller else "a smaller lam"
        return (
            f"needs exact equilibrium, and the sampler by rejection accepts {self.acceptance:.1e} of its draws at m2 = "
            f"{self.m2:g}, lam = {self.lam:g}, shape {self.shape[0]}x{self.shape[1]}, some {self.seconds:.2g} s for a "
            f"configuration (at most {LONGEST_DRAW:g} s); judge it at {at}"
        )


def moment(x: Array, k: int) -> Array:
    """``(1/V) sum phi^k``, per chain."""
    return np.asarray((x**k).mean(axis=(1, 2)))


def correlator(x: Array, t: int) -> Array:
    """``(1/T) sum_y P(y + t) P(y)`` of the means ``P(y)`` of time slices, per chain."""
    means = x.mean(axis=2)
    return np.asarray((np.roll(means, -t, axis=1) * means).mean(axis=1))


@lru_cache(maxsize=64)
def _observables(of: Phi4) -> tuple[Observable, ...]:
    x = of.sample(np.random.default_rng(1), SCALING)
    far = of.shape[0] // 2
    functions: dict[str, Move] = {
        of.label: of.schwinger_dyson,
        "<phi^2>": partial(moment, k=2),
        "<phi^4>": partial(moment, k=4),
        "<m^2>": lambda x: np.square(moment(x, 1)),
        f"<C({far})>": partial(correlator, t=far),
    }
    exact: dict[str, float] = {of.label: 1.0}
    if (answers := of.answers) is not None:
        exact |= {"<phi^2>": answers.phi_squared, "<phi^4>": answers.phi_fourth}
        exact |= {"<m^2>": answers.susceptibility / of.volume, f"<C({far})>": float(answers.correlator[far])}
    out = []
    for name, function in functions.items():
        values = function(x)
        mean = exact.get(name, float(values.mean()))
        out.append(Observable(name, function, mean, float(values.std()), name in exact))
    return tuple(out)


@lru_cache(maxsize=64)
def _answers(of: Phi4) -> phi4.Answers | None:
    try:
        return phi4.answers(of.m2, of.lam, of.shape)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _free_mass(m2: float, lam: float, shape: tuple[int, int]) -> float:
    """By bisection: the right side falls with M2."""
    if lam == 0:
        return m2

    def excess(mass2: float) -> float:
        return mass2 - m2 - lam * free_scalar.second_moment(mass2, shape) / 6

    low, high = 1e-6, 1.0 + abs(m2) + lam
    while excess(high) < 0:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return high


@lru_cache(maxsize=64)
def _acceptance(of: Phi4) -> float:
    """``<exp(- sum c (phi^2 - b)^2)>`` in the free field, see `refimpl.exact.phi4.sample`."""
    if of.lam == 0:
        return 1.0
    x = free_scalar.sample(np.random.default_rng(1), PROBES, of.free_mass, of.shape)
    centre = 6 * (of.free_mass - of.m2) / of.lam
    return float(np.exp(-of.lam / 24 * np.square(x * x - centre).sum(axis=(1, 2))).mean())
