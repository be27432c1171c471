"""A plain generalized leapfrog sampler for 2D U(1), one method per decision: the material of the mutants in `l2hmc`.

Layers ``k = 0..N-1`` with a random half ``m_k`` of the links; half momentum update, move of ``m_k``, move of the complement,
half momentum update at the new x (Foreman 2020, 2021; the projective map of the circle). Readable before fast, and correct in
five regimes of weights, which differ in what they make visible:

- "zero": leapfrog; "small": random weights, where a wrong logdet hides;
- "coherent_s": all scalings alike, |logdet| about 2 at an acceptance of 0.5 (0.4 in the merged kernel, where they cancel);
- "coherent_t": a translation along one direction, acceptance 0.4 to 0.6;
- "large": acceptance about zero, for deterministic checks only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refimpl.streams import streams

Array = NDArray[np.float64]
Rngs = list[np.random.Generator]
Phase = tuple[Array, Array]

HIDDEN = 6


class Regime(NamedTuple):
    """Scales of the random part of s, t, q, and the constant part of s and of t."""

    s: float
    t: float
    q: float
    s_bias: float = 0.0
    t_bias: float = 0.0


REGIMES = {
    "zero": Regime(0.0, 0.0, 0.0),
    "small": Regime(0.1, 0.1, 0.1),
    "coherent_s": Regime(0.3, 0.1, 0.1, s_bias=0.12),
    "coherent_t": Regime(0.1, 0.2, 0.1, t_bias=0.2),
    "large": Regime(1.5, 2.0, 1.0, s_bias=0.5, t_bias=1.0),
}


class Nets(NamedTuple):
    """What a net says of every link: log scaling, translation, log scaling of force or momentum."""

    s: Array
    t: Array
    q: Array


@lru_cache(maxsize=256)
def weights(seed: int, layer: int, name: str, n_in: int, n_out: int) -> tuple[Array, ...]:
    """Random matrices: inputs to hidden, hidden to s, t and q; and an offset of the hidden layer."""
    rng = np.random.default_rng([seed, layer, *name.encode()])
    first = rng.standard_normal((n_in, HIDDEN)) / np.sqrt(n_in)
    return first, *rng.standard_normal((3, HIDDEN, n_out)) / np.sqrt(HIDDEN), rng.standard_normal(HIDDEN)


@dataclass(frozen=True)
class L2HMC:
    """A correct sampler; `killed_by` names the checks that must fail on a mutant of it."""

    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    kernel: str = "direction"
    regime: str = "coherent_s"
    eps: float = 0.3
    n_layers: int = 2
    seed: int = 1
    theory: ClassVar[str] = "u1"
    order: ClassVar[None] = None
    equivariant: ClassVar[bool] = False
    killed_by: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: Any) -> L2HMC:
        return replace(self, **changes)

    @property
    def name(self) -> str:
        return f"{type(self).__name__}, {self.kernel}, {self.regime}"

    @property
    def reversal(self) -> str:
        return "direction" if self.kernel == "direction" else "involution"

    # --- the action -------------------------------------------------------------------------------------------------
    def angles(self, x: Array) -> Array:
        return x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]

    def action(self, x: Array) -> Array:
        return self.beta * (1 - np.cos(self.angles(x))).sum(axis=(1, 2))

    def force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.angles(x))
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)

    def wrapped(self, x: Array) -> Array:
        return np.remainder(x + np.pi, 2 * np.pi) - np.pi

    # --- nets ---------------------------------------------------------------------------------------------------------
    def mask(self, layer: int) -> NDArray[np.bool_]:
        """The half of the links that moves first."""
        order = np.random.default_rng([self.seed, layer]).permutation(2 * self.shape[0] * self.shape[1])
        return (order % 2 == 0).reshape(2, *self.shape)

    def encoded(self, x: Array) -> list[Array]:
        """Angles as a net may see them."""
        return [np.cos(x), np.sin(x)]

    def net(self, layer: int, name: str, inputs: list[Array]) -> Nets:
        flat = np.concatenate([part.reshape(len(part), -1) for part in inputs], axis=1)
        first, s, t, q, offset = weights(self.seed, layer, name, flat.shape[1], inputs[0][0].size)
        h = self.hidden(flat @ first + offset)
        r = REGIMES[self.regime]
        shape = inputs[0].shape
        return Nets(
            (r.s * np.tanh(h @ s) + r.s_bias).reshape(shape),
            (r.t * (h @ t) + r.t_bias).reshape(shape),
            (r.q * np.tanh(h @ q)).reshape(shape),
        )

    def hidden(self, h: Array) -> Array:
        return np.tanh(h)

    def v_net(self, layer: int, x: Array, force: Array) -> Nets:
        return self.net(layer, "v", [*self.encoded(x), force / max(1.0, self.beta)])

    def x_net(self, layer: int, half: int, x: Array, v: Array, frozen: NDArray[np.bool_]) -> Nets:
        return self.net(layer, f"x{half}", [*(frozen * part for part in self.encoded(x)), v])

    # --- momentum update ------------------------------------------------------------------------------------------------
    def kicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        s, t, q = self.v_net(layer, x, force)
        half = 0.5 * self.eps
        return v * np.exp(half * s) - half * (force * np.exp(self.eps * q) + t), self.kick_logdet(s)

    def unkicked(self, layer: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        s, t, q = self.v_net(layer, x, force)
        half = 0.5 * self.eps
        return (v + half * (force * np.exp(self.eps * q) + t)) * np.exp(-half * s), self.undone_logdet(
            self.kick_logdet(s)
        )

    def kick_logdet(self, s: Array) -> Array:
        return 0.5 * self.eps * s.sum(axis=(1, 2, 3))

    # --- position update ------------------------------------------------------------------------------------------------
    def stretched(self, x: Array, es: Array) -> Array:
        """The circle to itself: ``tan(y/2) = exp(e s) tan(x/2)``."""
        return 2 * np.arctan2(np.exp(es) * np.sin(x / 2), np.cos(x / 2))

    def stretch_logdet(self, x: Array, es: Array, move: NDArray[np.bool_]) -> Array:
        """``log dy/dx`` of the links that move."""
        slope = es - np.log(np.cos(x / 2) ** 2 + np.exp(2 * es) * np.sin(x / 2) ** 2)
        return (move * slope).sum(axis=(1, 2, 3))

    def shift(self, v: Array, t: Array, q: Array) -> Array:
        return self.eps * (v * np.exp(self.eps * q) + t)

    def moved(self, layer: int, half: int, x: Array, v: Array, move: NDArray[np.bool_]) -> tuple[Array, Array]:
        s, t, q = self.x_net(layer, half, x, v, ~move)
        es = self.eps * s
        y = self.wrapped(self.stretched(x, es) + self.shift(v, t, q))
        return np.where(move, y, x), self.stretch_logdet(x, es, move)

    def unmoved(self, layer: int, half: int, x: Array, v: Array, move: NDArray[np.bool_]) -> tuple[Array, Array]:
        s, t, q = self.x_net(layer, half, x, v, ~move)
        es = self.eps * s
        start = self.stretched(self.wrapped(x - self.shift(v, t, q)), -es)
        return np.where(move, start, x), self.undone_logdet(self.stretch_logdet(start, es, move))

    def undone_logdet(self, logdet: Array) -> Array:
        """The logdet of the inverse of an update whose logdet is given."""
        return -logdet

    # --- layers -----------------------------------------------------------------------------------------------------------
    def halves(self, layer: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The links that move first, and those that move second."""
        return self.mask(layer), ~self.mask(layer)

    def layer(self, k: int, x: Array, v: Array) -> tuple[Array, Array, Array]:
        first, second = self.halves(k)
        v, a = self.kicked(k, x, v, self.force(x))
        x, b = self.moved(k, 0, x, v, first)
        x, c = self.moved(k, 1, x, v, second)
        v, d = self.kicked(k, x, v, self.force(x))
        return x, v, self.total(a, b, c, d)

    def unlayer(self, k: int, x: Array, v: Array) -> tuple[Array, Array, Array]:
        first, second = self.halves(k)
        v, a = self.unkicked(k, x, v, self.force(x))
        x, b = self.unmoved(k, 1, x, v, second)
        x, c = self.unmoved(k, 0, x, v, first)
        v, d = self.unkicked(k, x, v, self.force(x))
        return x, v, self.total(a, b, c, d)

    def total(self, *logdets: Array) -> Array:
        return np.sum(logdets, axis=0)

    def through(self, z: Phase) -> tuple[Phase, Array]:
        """All layers."""
        (x, v), logdet = z, np.zeros(len(z[0]))
        for k in range(self.n_layers):
            x, v, more = self.layer(k, x, v)
            logdet = logdet + more
        return (x, v), logdet

    def back(self, z: Phase) -> tuple[Phase, Array]:
        """All inverse layers."""
        (x, v), logdet = z, np.zeros(len(z[0]))
        for k in self.backward_order():
            x, v, more = self.unlayer(k, x, v)
            logdet = logdet + more
        return (x, v), logdet

    def backward_order(self) -> list[int]:
        return list(range(self.n_layers))[::-1]

    # --- the two kernels --------------------------------------------------------------------------------------------------
    def merged(self, z: Phase) -> tuple[Phase, Array]:
        """``inverse layers o (v -> -v) o layers``, its own inverse."""
        (x, v), there = self.through(z)
        z, back = self.back((x, self.turned(v)))
        return z, there + back

    def turned(self, v: Array) -> Array:
        return -v

    def forward(self, z: Phase) -> tuple[Phase, Array]:
        return self.through(z) if self.kernel == "direction" else self.merged(z)

    def inverse(self, z: Phase) -> tuple[Phase, Array]:
        return self.back(z) if self.kernel == "direction" else self.merged(z)

    def proposed(self, x: Array, v: Array, d: Array | None) -> tuple[Phase, Array]:
        if d is None:
            return self.forward((x, v))
        x_end, v_end, logdet = np.empty_like(x), np.empty_like(v), np.empty(len(x))
        for chains, step in ((d > 0, self.forward), (d < 0, self.inverse)):
            if chains.any():
                (x_end[chains], v_end[chains]), logdet[chains] = step((x[chains], v[chains]))
        return (x_end, v_end), logdet

    # --- the update -------------------------------------------------------------------------------------------------------
    def delta_h(self, x: Array, v: Array, x_end: Array, v_end: Array) -> Array:
        kinetic = 0.5 * (v_end**2 - v**2).sum(axis=(1, 2, 3))
        return self.action(x_end) - self.action(x) + kinetic

    def accept(self, delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
        with np.errstate(divide="ignore"):
            return np.log(u) < logdet - delta_h

    def transition(self, x: Array, v: Array, u: Array, d: Array | None = None) -> dict[str, Array]:
        (x_end, v_end), logdet = self.proposed(x, v, d)
        delta_h = self.delta_h(x, v, x_end, v_end)
        accept = self.accept(delta_h, logdet, u)
        return {
            "x_proposed": x_end,
            "v_proposed": v_end,
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept.astype(np.float64),
            "x_next": np.where(accept[:, None, None, None], x_end, x),
        }

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return streams(seed, n_chains)

    def momenta(self, rngs: Rngs) -> Array:
        return np.array([rng.standard_normal((2, *self.shape)) for rng in rngs])

    def uniforms(self, rngs: Rngs) -> Array:
        return np.array([rng.random() for rng in rngs])

    def directions(self, rngs: Rngs, u: Array) -> Array:
        return np.array([1.0 if rng.random() < 0.5 else -1.0 for rng in rngs])

    def noise(self, rngs: Rngs) -> dict[str, Array]:
        noise = {"v": self.momenta(rngs), "u": self.uniforms(rngs)}
        if self.kernel == "direction":
            noise["d"] = self.directions(rngs, noise["u"])
        return noise

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        noise = self.noise(self.rngs(seed, len(x)))
        return {**self.transition(x, **noise), **noise}

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]

    # --- runs -------------------------------------------------------------------------------------------------------------
    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self.advance(x, self.rngs(seed, len(x)), n)

    def advance(self, x: Array, rngs: Rngs, n: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape))
        for i in range(n):
            x = out[i] = self.transition(x, **self.noise(rngs))["x_next"]
        return out, (x, [rng.bit_generator.state for rng in rngs])

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        x, rng_states = state
        rngs = self.rngs(0, len(x))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self.advance(x, rngs, n)
