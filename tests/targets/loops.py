"""2D U(1) HMC in plain Python loops: slow, and sharing no code with the package, so that the oracle meets a stranger.

A chain's links are two lists of angles, time links and space links, over the sites ``t * X + x``. Every chain draws
from a stream of its own, so what happens to it does not depend on the batch it is in.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Links = list[list[float]]


class Site(NamedTuple):
    """The index of a site and of its four neighbours."""

    here: int
    later: int
    right: int
    earlier: int
    left: int


class Update(NamedTuple):
    """One HMC update of one chain."""

    x_proposed: Links
    v_proposed: Links
    logdet: float
    delta_h: float
    accept: bool
    x_next: Links


@dataclass(frozen=True)
class RunState:
    """Where a run stopped: the links and the state of every chain's random stream."""

    links: Array
    generators: list[tuple[Any, ...]]


def wrap(angle: float) -> float:
    """The angle in [-pi, pi)."""
    wrapped = angle - math.tau * math.floor((angle + math.pi) / math.tau)
    return wrapped if -math.pi <= wrapped < math.pi else -math.pi  # rounding can only miss next to the cut


def streams(seed: int, n_chains: int) -> list[random.Random]:
    """One random stream per chain."""
    return [random.Random(f"{seed}-{chain}") for chain in range(n_chains)]


@dataclass(frozen=True)
class LoopsU1:
    """The target: leapfrog HMC of the Wilson action ``beta sum_P (1 - cos theta_P)`` on a periodic rectangle."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int
    theory: str = "u1"
    name: str = "loops"
    sites: tuple[Site, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nt, nx = self.shape
        if nt < 2 or nx < 2 or self.n_steps < 1:
            raise ValueError(f"got shape {self.shape}, n_steps {self.n_steps}: expected extents >= 2, n_steps >= 1")
        sites = []
        for t in range(nt):
            for x in range(nx):
                later, earlier = (t + 1) % nt * nx + x, (t - 1) % nt * nx + x
                right, left = t * nx + (x + 1) % nx, t * nx + (x - 1) % nx
                sites.append(Site(t * nx + x, later, right, earlier, left))
        object.__setattr__(self, "sites", tuple(sites))

    # --- observables ------------------------------------------------------------------------------------------------
    def action(self, x: Array) -> Array:
        return np.array([self._action(links) for links in self._lists(x)], dtype=np.float64)

    def force(self, x: Array) -> Array:
        return self._array([self._force(links) for links in self._lists(x)])

    def plaquette(self, x: Array) -> Array:
        return np.array([self._sum_of_cosines(links) / len(self.sites) for links in self._lists(x)], dtype=np.float64)

    def charge(self, x: Array) -> NDArray[np.int64]:
        sums = [sum(wrap(angle) for angle in self._plaquettes(links)) for links in self._lists(x)]
        return np.array([round(total / math.tau) for total in sums], dtype=np.int64)

    def sine_charge(self, x: Array) -> Array:
        sums = [sum(math.sin(angle) for angle in self._plaquettes(links)) for links in self._lists(x)]
        return np.array([total / math.tau for total in sums], dtype=np.float64)

    def wilson_loop(self, x: Array, a: int, b: int) -> Array:
        means = []
        for links in self._lists(x):
            cosines = [math.cos(self._loop_angle(links, site.here, a, b)) for site in self.sites]
            means.append(sum(cosines) / len(cosines))
        return np.array(means, dtype=np.float64)

    # --- hybrid Monte Carlo -----------------------------------------------------------------------------------------
    def forward(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        ends = [self._leapfrog(x, v) for x, v in zip(self._lists(z[0]), self._lists(z[1]), strict=True)]
        return (self._array([x for x, _ in ends]), self._array([v for _, v in ends])), np.zeros(len(ends))

    def inverse(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (x, v), logdet = self.forward((z[0], -z[1]))
        return (x, -v), logdet

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, NDArray[Any]]:
        noise = zip(self._lists(x), self._lists(v), u, strict=True)
        return self._mapping([self._update(links, momenta, float(level)) for links, momenta, level in noise])

    def transcript(self, x: Array, seed: int) -> dict[str, NDArray[Any]]:
        noise = [self._draw(stream) for stream in streams(seed, len(x))]
        updates = [self._update(links, v, u) for links, (v, u) in zip(self._lists(x), noise, strict=True)]
        drawn = {"v": self._array([v for v, _ in noise]), "u": np.array([u for _, u in noise], dtype=np.float64)}
        return {**self._mapping(updates), **drawn}

    def step(self, x: Array, seed: int) -> Array:
        configurations, _ = self.run(x, 1, seed)
        return np.array(configurations[0])

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, RunState]:
        return self._run(x, n, streams(seed, len(x)))

    def resume(self, state: RunState, n: int) -> tuple[Array, RunState]:
        generators = streams(0, len(state.generators))
        for generator, saved in zip(generators, state.generators, strict=True):
            generator.setstate(saved)
        return self._run(state.links, n, generators)

    def integrated_autocorrelation_time(self, series: Array) -> float:
        """``1/2 + sum rho(t)`` up to the first window of at least 6 times the result; NaN for a constant series."""
        values = [float(value) for value in series]
        if min(values) == max(values):
            return math.nan
        mean = sum(values) / len(values)
        deviations = [value - mean for value in values]
        variance = sum(deviation * deviation for deviation in deviations) / len(values)
        tau = 0.5
        for t in range(1, len(values) // 2):
            products = [now * then for now, then in zip(deviations[t:], deviations[:-t], strict=True)]
            tau += sum(products) / len(products) / variance
            if t >= 6.0 * tau:
                break
        return tau

    # --- one chain --------------------------------------------------------------------------------------------------
    def _plaquettes(self, links: Links) -> list[float]:
        th0, th1 = links
        return [th0[here] + th1[later] - th0[right] - th1[here] for here, later, right, _, _ in self.sites]

    def _sum_of_cosines(self, links: Links) -> float:
        return sum([math.cos(angle) for angle in self._plaquettes(links)])

    def _action(self, links: Links) -> float:
        return self.beta * (len(self.sites) - self._sum_of_cosines(links))

    def _force(self, links: Links) -> Links:
        """Time links are in the plaquettes here (+) and to the left (-), space links earlier (+) and here (-)."""
        sine = [self.beta * math.sin(angle) for angle in self._plaquettes(links)]
        return [
            [sine[here] - sine[left] for here, _, _, _, left in self.sites],
            [sine[earlier] - sine[here] for here, _, _, earlier, _ in self.sites],
        ]

    def _loop_angle(self, links: Links, start: int, a: int, b: int) -> float:
        """Walk a links forward in time, b to the right, and back again."""
        th0, th1 = links
        angle, at = 0.0, start
        for _ in range(a):
            angle += th0[at]
            at = self.sites[at].later
        for _ in range(b):
            angle += th1[at]
            at = self.sites[at].right
        for _ in range(a):
            at = self.sites[at].earlier
            angle -= th0[at]
        for _ in range(b):
            at = self.sites[at].left
            angle -= th1[at]
        return angle

    def _leapfrog(self, x: Links, v: Links) -> tuple[Links, Links]:
        eps = self.step_size
        v = self._add(v, -0.5 * eps, self._force(x))
        for step in range(1, self.n_steps + 1):
            x = self._add(x, eps, v)
            v = self._add(v, -eps if step < self.n_steps else -0.5 * eps, self._force(x))
        return x, v

    def _add(self, left: Links, factor: float, right: Links) -> Links:
        """``left + factor * right``, as new lists."""
        return [[p + factor * q for p, q in zip(ps, qs, strict=True)] for ps, qs in zip(left, right, strict=True)]

    def _energy(self, x: Links, v: Links) -> float:
        return self._action(x) + 0.5 * sum([p * p for ps in v for p in ps])

    def _update(self, x: Links, v: Links, u: float) -> Update:
        x_proposed, v_proposed = self._leapfrog(x, v)
        logdet, delta_h = 0.0, self._energy(x_proposed, v_proposed) - self._energy(x, v)
        accept = u < math.exp(min(logdet - delta_h, 700.0))  # exp raises beyond 709
        x_next = [[wrap(angle) for angle in angles] for angles in x_proposed] if accept else x
        return Update(x_proposed, v_proposed, logdet, delta_h, accept, x_next)

    def _draw(self, stream: random.Random) -> tuple[Links, float]:
        return [[stream.gauss(0.0, 1.0) for _ in self.sites] for _ in range(2)], stream.random()

    # --- batches of chains ------------------------------------------------------------------------------------------
    def _run(self, x: Array, n: int, generators: list[random.Random]) -> tuple[Array, RunState]:
        chains = self._lists(x)
        history = []
        for _ in range(n):
            chains = [self._update(links, *self._draw(g)).x_next for links, g in zip(chains, generators, strict=True)]
            history.append(self._array(chains))
        configurations = np.array(history, dtype=np.float64).reshape(n, *x.shape)
        return configurations, RunState(self._array(chains), [generator.getstate() for generator in generators])

    def _lists(self, x: Array) -> list[Links]:
        if x.shape[1:] != (2, *self.shape):
            raise ValueError(f"x: got shape {x.shape}, expected (chain, 2, {self.shape[0]}, {self.shape[1]})")
        return [[[float(angle) for angle in angles.flat] for angles in links] for links in x]

    def _array(self, chains: list[Links]) -> Array:
        return np.array(chains, dtype=np.float64).reshape(len(chains), 2, *self.shape)

    def _mapping(self, updates: list[Update]) -> dict[str, NDArray[Any]]:
        def column(name: str) -> list[Any]:
            return [getattr(update, name) for update in updates]

        links = {name: self._array(column(name)) for name in ("x_proposed", "v_proposed", "x_next")}
        return {**links, **{name: np.array(column(name)) for name in ("logdet", "delta_h", "accept")}}


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> LoopsU1:
    """The factory the oracle calls."""
    return LoopsU1(beta, (int(shape[0]), int(shape[1])), step_size, n_steps)
