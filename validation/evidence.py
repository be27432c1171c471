"""Samples that the statistical checks share: updates started in exact equilibrium.

Each chain starts from an independent exact configuration, so there is no burn-in, no autocorrelation, and frozen topology
does no harm: whatever an exact kernel does to such a chain, its law stays the equilibrium law after any number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import measure
from .contract import Subject, TargetFault
from .flow_claims import lattice_theory
from .hamiltonian import Hamiltonian
from .theories import U1, Phi4, Schwinger
from .theories.density import Density, nearest

Array = NDArray[np.float64]
T = TypeVar("T")

SHARED = ("flows", "variates", "runs", "records", "noise")  # by several checks, each from a stream of its own
LATER = 3  # the second time at which evidence is taken, in updates
MOVED = 1e-12  # a link that changed by less was only wrapped again
LEARNING = 1024  # chains, divided by the thrift, that only teach the direction of the per-link drift, and scales


@dataclass(frozen=True)
class Effort:
    """Sample sizes of a level."""

    name: str
    chains: int  # independent chains of `LATER` updates
    driver_chains: int
    driver_steps: int
    decisions: int  # replayed updates per chain, for 16 chains
    growth: int = 4  # of the second and later rounds of sequential tests, in units of the first

    def shared_out(self, thrift: int) -> Effort:
        """Sample sizes divided by this, for theories whose configurations are expensive."""
        if thrift == 1:
            return self
        sizes = [-(-size // thrift) for size in (self.chains, self.driver_chains, self.decisions)]
        return Effort(self.name, max(256, sizes[0]), max(64, sizes[1]), self.driver_steps, sizes[2], self.growth)


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("smoke", 4_096, 128, 20, 4),
        Effort("standard", 65_536, 512, 50, 16),
        Effort("thorough", 262_144, 4096, 50, 64, growth=1),
    )
}


def batch_size(volume: int) -> int:
    """Chains per call: at most 2^16 sites, at least 16 chains."""
    return max(16, min(1024, 2**16 // volume))


def sampler(subject: Subject, rng: np.random.Generator, n: int) -> Array:
    """Typical configurations to start from: exact ones, but of the pure gauge theory where fermions make those too costly.

    For checks that hold in any field. One that needs the law of the theory takes `equilibrium`.
    """
    return subject.theory.starts(rng, n)


def equilibrium(subject: Subject, rng: np.random.Generator, n: int) -> Array:
    """Exact equilibrium configurations of the theory the target claims; raises `Unsampled` where there are none."""
    return subject.theory.sample(rng, n)


class Noise(NamedTuple):
    """What an update draws: momenta, the Metropolis number, direction and pseudofermions where the target has them."""

    v: Array
    u: Array
    d: Array | None
    phi: NDArray[Any] | None


def noise(subject: Subject, rng: np.random.Generator, x: Array) -> Noise:
    """The oracle's own noise for one update."""
    v, u = momenta(subject, rng, len(x)), rng.random(len(x))
    d = directions(rng, len(x)) if subject.directed else None
    return Noise(v, u, d, Hamiltonian(subject).draw(rng, x) if subject.pseudofermions else None)


def momenta(subject: Subject, rng: np.random.Generator, n: int) -> Array:
    """Standard normal numbers of the shape of n momenta."""
    return rng.standard_normal((n, *subject.theory.momentum_shape))


def directions(rng: np.random.Generator, n: int) -> Array:
    """Plus or minus one, per chain."""
    return np.where(rng.random(n) < 0.5, 1.0, -1.0)


def seed_from(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def drivers(subject: Subject) -> list[str]:
    """The ways to update on offer; `transition`, which is replayed decision by decision, only where there is no other."""
    return [name for name in ("run", "step") if subject.has(name)] or ["transition"]


@contextmanager
def untouched_by_faults(rng: np.random.Generator) -> Iterator[None]:
    """A stream that several checks read goes on from where it was when the target failed: whoever asks next meets the same."""
    state = rng.bit_generator.state
    try:
        yield
    except BaseException:
        rng.bit_generator.state = state
        raise


def updates(subject: Subject, rng: np.random.Generator, x: Array, n_steps: int, driver: str) -> Array:
    """``n_steps`` updates of every chain by this driver, shape ``(n_steps, *x.shape)``."""
    if driver == "run":
        configurations, _ = subject.run(x, n_steps, seed_from(rng))
        if len(configurations) != n_steps:
            raise TargetFault(f"run: got {len(configurations)} configurations, expected {n_steps}")
        return configurations
    out = []
    for _ in range(n_steps):
        opaque = driver == "step"
        x = subject.step(x, seed_from(rng)) if opaque else subject.transition(x, *noise(subject, rng, x))["x_next"]
        out.append(x)
    return np.array(out)


@dataclass
class Features:
    """What is kept of n chains, with the field after 0, 1, ..., `LATER` updates; the last four are of U(1) alone."""

    observables: Array  # (LATER + 1, n, observable): those of the theory, its energy-like one first
    charge: Array  # (LATER + 1, n): topological charge or winding number, zero where there is none
    moved: Array  # (LATER, n): 1 where an update changed the field
    drift: Array  # (1, n): sum over updates of the learned projection of the moves
    first_loops: Array  # (loop, n) at the start
    last_loops: Array  # (loop, n) at the end
    schwinger_dyson: Array  # (1, n) at the end, without fermions
    phases: Array  # (phase, n) at the end: mean cosines of phases that are uniform on the circle

    @property
    def energy(self) -> Array:
        """The observable that stands for the energy, ``(LATER + 1, n)``."""
        return self.observables[:, :, 0]


class Evidence:
    """Chains of `LATER` updates from exact starts, drawn when first asked for and then shared between checks.

    Where a target offers both `run` and `step`, batches take them in turn.
    """

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self._subject, self._rng, self._theory = subject, rng, subject.theory
        self._streams = dict(zip(SHARED, rng.spawn(len(SHARED)), strict=True))
        self._shared: dict[str, Any] = {}
        self._learned: Array | None = None
        self.loop_scales: list[float] = []  # standard deviations of the loops, from the learning chains
        self._parts: list[Features] = []
        self.drivers, self._turn = drivers(subject), 0
        self.n = 0
        self.sides: list[int] = []
        if isinstance(self._theory, U1):
            shape = self._theory.shape
            self.sides = [side for side in (2, 3, 4) if side <= min(shape) and side**2 < self._theory.volume]

    def shared(self, name: str, make: Callable[[np.random.Generator], T]) -> T:
        """What ``make`` draws from the stream of this name, one of `SHARED`: once, and the same whoever asks first."""
        if name not in self._shared:
            self._shared[name] = make(deepcopy(self._streams[name]))
        found: T = self._shared[name]
        return found

    @property
    def flows(self) -> FlowEvidence:
        """The draws that the checks of flows share, from a stream of their own."""
        return self.shared("flows", partial(FlowEvidence, self._subject))

    @property
    def variates(self) -> VariateEvidence:
        """The values that the checks of control variates share."""
        return self.shared("variates", partial(VariateEvidence, self._subject))

    def extend(self, n: int) -> None:
        """Have at least ``n`` chains; where the target fails, all that was drawn before is as it was, for who asks next."""
        if self._learned is None:
            x, later = self._chains(max(64, LEARNING // self._subject.thrift))
            self._learned = self._theory.displacement(later[0], x).mean(axis=0)
            self.loop_scales = [float(measure.square_loop(x, side).std()) for side in self.sides]
        while self.n < n:
            size = min(batch_size(self._theory.volume), n - self.n)
            x, later = self._chains(size)
            self._parts.append(self._features(x, later))
            self.n += size

    def features(self, start: int, stop: int) -> Features:
        """Features of chains ``start`` to ``stop``, drawn if they do not exist yet."""
        self.extend(stop)
        if len(self._parts) > 1:
            columns = zip(*(vars(part).values() for part in self._parts), strict=True)
            self._parts = [Features(*(np.concatenate(column, axis=1) for column in columns))]
        return Features(*(column[:, start:stop] for column in vars(self._parts[0]).values()))

    def _chains(self, n: int) -> tuple[Array, Array]:
        out = []
        size, turn = batch_size(self._theory.volume), self._turn
        with untouched_by_faults(self._rng):
            for start in range(0, n, size):
                x = equilibrium(self._subject, self._rng, min(size, n - start))
                turn += 1
                driver = self.drivers[turn % len(self.drivers)]
                out.append((x, updates(self._subject, self._rng, x, LATER, driver)))
        self._turn = turn
        return np.concatenate([x for x, _ in out]), np.concatenate([later for _, later in out], axis=1)

    def _features(self, x: Array, later: Array) -> Features:
        path = [x, *later]
        theory = self._theory
        moves = [theory.displacement(after, before) for before, after in pairwise(path)]
        for move in moves:
            move[np.abs(move) <= MOVED] = 0.0  # a rejected field that was wrapped again did not move
        learned, axes = np.asarray(self._learned), tuple(range(1, moves[0].ndim))
        first = last = defect = phases = np.empty((0, len(x)))
        if isinstance(theory, U1):
            first, last = (
                np.array([measure.square_loop(y, side) for side in self.sides]).reshape(-1, len(x))
                for y in (x, path[-1])
            )
            phases = theory.uniform_phases(path[-1])
            if not isinstance(theory, Schwinger):
                defect = schwinger_dyson_defect(path[-1], theory.beta)[None]
        return Features(
            np.array([np.stack([o.values(y) for o in theory.observables], axis=1) for y in path]),
            np.array([theory.charge(y) for y in path]),
            np.array([np.abs(move).max(axis=axes) > MOVED for move in moves], dtype=np.float64),
            np.sum([(move * learned).sum(axis=axes) for move in moves], axis=0)[None],
            first,
            last,
            defect,
            phases,
        )


_LOOPS = ("time links", "space links", "Polyakov loops in time", "Polyakov loops in space")


@dataclass(frozen=True)
class Draws:
    """Of n independent fields of one density: ``log q/p`` and bounded features ``(n, feature)``."""

    log_ratio: Array
    features: Array


class FlowEvidence:
    """Draws of either density, made when first asked for. The known density is that of the theory, or one near it."""

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self._subject = subject
        self._known_rng, self._drawn_rng = (
            rng,
            rng.spawn(1)[0],
        )  # the one does not depend on whether the other was asked for
        self.density: Density = nearest(lattice_theory(subject))
        self._known: list[Draws] = []
        self._drawn: list[Draws] = []

    @property
    def labels(self) -> list[str]:
        """Of the features."""
        named = [observable.name for observable in self.density.theory.observables]
        if isinstance(self.density.theory, U1):
            return [*named, "charge", *(f"<cos> of {loops}" for loops in _LOOPS)]
        return [*named, "mean field"] if isinstance(self.density.theory, Phi4) else named

    def known(self, n: int) -> Draws:
        """n fields of the known density, with what `log_prob` says of them."""
        while (missing := n - sum(len(part.log_ratio) for part in self._known)) > 0:
            with untouched_by_faults(self._known_rng):
                x = self.density.sample(self._known_rng, min(self._size, missing))
                self._known.append(self._seen(x, self._subject.log_prob(x)))
        return _joined(self._known, n)

    def drawn(self, n: int) -> Draws:
        """n samples of the flow, with what `sample` says of them."""
        while (missing := n - sum(len(part.log_ratio) for part in self._drawn)) > 0:
            with untouched_by_faults(self._drawn_rng):
                seed = seed_from(self._drawn_rng)
                self._drawn.append(self._seen(*self._subject.sample(min(self._size, missing), seed)))
        return _joined(self._drawn, n)

    @property
    def _size(self) -> int:
        return batch_size(self.density.theory.volume)

    def _seen(self, x: NDArray[Any], log_q: Array) -> Draws:
        theory = self.density.theory
        columns = [np.tanh((o.values(x) - o.mean) / o.std) for o in theory.observables]
        if isinstance(theory, U1):
            columns += [np.tanh(theory.charge(x)), *measure.mean_phases(x)]
        if isinstance(theory, Phi4):
            columns.append(np.tanh(x.mean(axis=(1, 2)) / theory.scale))
        return Draws(log_q - self.density.log_prob(x), np.stack(columns, axis=1))


def _joined(parts: list[Draws], n: int) -> Draws:
    return Draws(
        np.concatenate([part.log_ratio for part in parts])[:n], np.concatenate([part.features for part in parts])[:n]
    )


class VariateEvidence:
    """A variate f and its observable O on exact, independent configurations, drawn when first asked for."""

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self._subject, self._rng = subject, rng
        self._parts: list[Array] = []

    def values(self, n: int, observable: Callable[[Array], Array] | None) -> Array:
        """f and O of the first n configurations, ``(2, n)``; O is 0 where there is none. One target has one observable."""
        size = batch_size(self._subject.theory.volume)
        while (missing := n - sum(part.shape[1] for part in self._parts)) > 0:
            with untouched_by_faults(self._rng):
                x = equilibrium(self._subject, self._rng, min(size, missing))
                f = self._subject.control_variate(x)
            self._parts.append(np.stack([f, np.zeros(len(x)) if observable is None else observable(x)]))
        self._parts = [np.concatenate(self._parts, axis=1)]
        return self._parts[0][:, :n]


def schwinger_dyson_defect(x: Array, beta: float) -> Array:
    """``mean sin^2 - mean over pairs of sin sin' - mean cos/beta`` per configuration: zero on average at this beta."""
    angles = measure.plaquette_angles(x)
    volume = angles[0].size
    s = np.sin(angles)
    squares = np.square(s).sum(axis=(1, 2))
    pairs = np.square(s.sum(axis=(1, 2))) - squares
    return squares / volume - pairs / (volume * (volume - 1)) - np.cos(angles).mean(axis=(1, 2)) / beta


@dataclass(frozen=True)
class Trial:
    """What a statistical check works with: its share of the false-alarm level, the sample sizes, the shared evidence."""

    alpha: float
    effort: Effort
    evidence: Evidence
