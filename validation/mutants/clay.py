"""A plain HMC for 2D U(1), one method per decision an implementer takes: the material that mutants are made of.

Readable before fast (`numpy.roll`, all chains at once), complete (every capability of the contract), and correct: the clay
itself passes the whole battery, so whatever a mutant fails is due to the one method it overrides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.streams import streams

Array = NDArray[np.float64]
Rngs = list[np.random.Generator]


@dataclass(frozen=True)
class Clay:
    """Correct HMC; `killed_by` names the checks that must fail on a mutant of it."""

    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    step_size: float = 0.42
    n_steps: int = 4
    theory: ClassVar[str] = "u1"
    killed_by: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: Any) -> Clay:
        return replace(self, **changes)

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def momentum_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    # --- observables ------------------------------------------------------------------------------------------------
    def angles(self, x: Array) -> Array:
        return x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]

    def wrapped(self, x: Array) -> Array:
        return np.remainder(x + np.pi, 2 * np.pi) - np.pi

    def action(self, x: Array) -> Array:
        return self.beta * (1 - np.cos(self.angles(x))).sum(axis=(1, 2))

    def force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.angles(x))
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)

    def plaquette(self, x: Array) -> Array:
        return np.cos(self.angles(x)).mean(axis=(1, 2))

    def charge(self, x: Array) -> Array:
        return np.rint(self.wrapped(self.angles(x)).sum(axis=(1, 2)) / (2 * np.pi))

    def sine_charge(self, x: Array) -> Array:
        return np.sin(self.angles(x)).sum(axis=(1, 2)) / (2 * np.pi)

    def wilson_loop(self, x: Array, extent_t: int, extent_x: int) -> Array:
        p = self.angles(x)
        inside = sum(np.roll(p, (-a, -b), axis=(1, 2)) for a in range(extent_t) for b in range(extent_x))
        return np.cos(inside).mean(axis=(1, 2))

    def integrated_autocorrelation_time(self, series: Array) -> float:
        centred = series - series.mean()
        tau, variance = 0.5, centred @ centred
        for t in range(1, len(series)):
            tau += (centred[:-t] @ centred[t:]) / variance
            if t >= 6 * tau:
                break
        return tau

    # --- molecular dynamics -------------------------------------------------------------------------------------------
    def kick_force(self, x: Array) -> Array:
        """The force that drives the trajectory."""
        return self.force(x)

    def kicks(self) -> list[float]:
        """Weights of the n + 1 kicks of a trajectory."""
        return [0.5] + [1.0] * (self.n_steps - 1) + [0.5]

    def drift(self, x: Array, w: Array) -> Array:
        return x + w

    def trajectory(self, x: Array, v: Array, force: Array | None = None) -> tuple[Array, Array]:
        weights = self.kicks()
        v = v - weights[0] * self.step_size * (self.kick_force(x) if force is None else force)
        for weight in weights[1:]:
            x = self.drift(x, self.step_size * v)
            v = v - weight * self.step_size * self.kick_force(x)
        return x, v

    def logdet(self, x: Array) -> Array:
        return np.zeros(len(x))

    def forward(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        x, v = self.trajectory(*z)
        return (self.wrapped(x), v), self.logdet(x)

    def inverse(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (x, v), logdet = self.forward((z[0], -z[1]))
        return (x, -v), -logdet

    # --- the update ----------------------------------------------------------------------------------------------------
    def kinetic(self, v: Array) -> Array:
        return 0.5 * (v * v).sum(axis=tuple(range(1, v.ndim)))

    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        return self.action(x_end) - self.action(x) + self.kinetic(v_end) - self.kinetic(v)

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        with np.errstate(divide="ignore"):
            return np.log(u) < logdet - delta_h

    def choose(self, accept: NDArray[np.bool_], x_end: Array, x: Array) -> Array:
        return np.where(accept.reshape(-1, *(1,) * (x.ndim - 1)), self.wrapped(x_end), x)

    def transition(self, x: Array, v: Array, u: Array, force: Array | None = None) -> dict[str, Array]:
        x_end, v_end = self.trajectory(x, v, force)
        delta_h, logdet = self.delta_h(x, v, x_end, v_end), self.logdet(x_end)
        accept = self.accept(delta_h, logdet, u)
        return {
            "x_proposed": x_end,
            "v_proposed": v_end,
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept.astype(np.float64),
            "x_next": self.choose(accept, x_end, x),
        }

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return streams(seed, n_chains)

    def momenta(self, rngs: Rngs) -> Array:
        return np.array([rng.standard_normal(self.momentum_shape) for rng in rngs])

    def uniforms(self, rngs: Rngs) -> Array:
        return np.array([rng.random() for rng in rngs])

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        rngs = self.rngs(seed, len(x))
        v, u = self.momenta(rngs), self.uniforms(rngs)
        return {**self.transition(x, v, u), "v": v, "u": u}

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]

    # --- runs ----------------------------------------------------------------------------------------------------------
    def next_force(self, record: dict[str, Array]) -> Array:
        """The force kept for the next trajectory."""
        return self.kick_force(record["x_next"])

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self.advance(x, self.kick_force(x), self.rngs(seed, len(x)), n)

    def advance(self, x: Array, force: Array, rngs: Rngs, n: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape), x.dtype)
        for i in range(n):
            record = self.transition(x, self.momenta(rngs), self.uniforms(rngs), force)
            x, force = record["x_next"], self.next_force(record)
            out[i] = x
        return out, (x, force, [rng.bit_generator.state for rng in rngs])

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        x, force, rng_states = state
        rngs = self.rngs(0, len(x))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self.advance(x, force, rngs, n)
