"""A plain HMC for the O(2) chain, the Gaussian and the mixture of Gaussians: the material of the mutants in `toys`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.streams import streams

Array = NDArray[np.float64]
Rngs = list[np.random.Generator]


@dataclass(frozen=True)
class Toy:
    """Correct HMC of the theory that is named; the parameters of the others are not looked at."""

    theory: str = "gmm"
    beta: float = 2.0
    length: int = 8
    covariance: Any = ((2.0, 0.6), (0.6, 0.5))
    mean: Any = (0.5, -1.0)
    weights: Any = (0.3, 0.7)
    means: Any = ((-1.0, 0.0), (1.0, 0.5))
    covariances: Any = (((0.3, 0.1), (0.1, 0.4)), ((0.9, 0.0), (0.0, 0.4)))
    step_size: float = 0.35
    n_steps: int = 5
    killed_by: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: Any) -> Toy:
        return replace(self, **changes)

    @property
    def name(self) -> str:
        return f"{type(self).__name__}, {self.theory}"

    # --- the chain --------------------------------------------------------------------------------------------------
    def bonds(self, x: Array) -> Array:
        return np.roll(x, -1, axis=1) - x

    def chain_action(self, x: Array) -> Array:
        return self.beta * (1 - np.cos(self.bonds(x))).sum(axis=1)

    def chain_force(self, x: Array) -> Array:
        s = self.beta * np.sin(self.bonds(x))
        return np.roll(s, 1, axis=1) - s

    # --- the mixture, of which the Gaussian is the case of one component ------------------------------------------------
    def components(self) -> list[tuple[float, Array, Array]]:
        """Weight, mean and covariance of each."""
        if self.theory == "gaussian":
            return [(1.0, np.array(self.mean), np.array(self.covariance))]
        return [
            (w, np.array(m), np.array(c)) for w, m, c in zip(self.weights, self.means, self.covariances, strict=True)
        ]

    def precision(self, covariance: Array) -> Array:
        return np.asarray(np.linalg.inv(covariance), dtype=np.float64)

    def log_weight(self, weight: float, covariance: Array) -> float:
        return float(np.log(weight) - 0.5 * np.linalg.slogdet(covariance)[1])

    def log_joint(self, x: Array) -> Array:
        """Log of each term of the density, ``(component, chain)``."""
        terms = []
        for w, m, c in self.components():
            square = ((x - m) @ self.precision(c) * (x - m)).sum(axis=1)
            terms.append(self.log_weight(w, c) - 0.5 * square)
        return np.array(terms)

    def log_sum(self, terms: Array) -> Array:
        return np.asarray(np.logaddexp.reduce(terms, axis=0), dtype=np.float64)

    def shares(self, x: Array) -> Array:
        """Posterior probability of each component, ``(component, chain)``."""
        terms = self.log_joint(x)
        return np.exp(terms - np.logaddexp.reduce(terms, axis=0))

    def normal_force(self, x: Array) -> Array:
        parts = [(x - m) @ self.precision(c) for _, m, c in self.components()]
        return (self.shares(x)[:, :, None] * np.array(parts)).sum(axis=0)

    def action(self, x: Array) -> Array:
        return self.chain_action(x) if self.theory == "o2" else -self.log_sum(self.log_joint(x))

    def force(self, x: Array) -> Array:
        return self.chain_force(x) if self.theory == "o2" else self.normal_force(x)

    def wrapped(self, x: Array) -> Array:
        return np.remainder(x + np.pi, 2 * np.pi) - np.pi if self.theory == "o2" else x

    # --- HMC ------------------------------------------------------------------------------------------------------------
    def forward(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        x, v = z
        for _ in range(self.n_steps):
            v = v - 0.5 * self.step_size * self.force(x)
            x = x + self.step_size * v
            v = v - 0.5 * self.step_size * self.force(x)
        return (self.wrapped(x), v), np.zeros(len(x))

    def inverse(self, z: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (x, v), logdet = self.forward((z[0], -z[1]))
        return (x, -v), -logdet

    def accept(self, delta_h: Array, u: Array) -> NDArray[np.bool_]:
        with np.errstate(divide="ignore"):
            return np.log(u) < -delta_h

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, Array]:
        (x_end, v_end), logdet = self.forward((x, v))
        delta_h = self.action(x_end) - self.action(x) + 0.5 * (v_end**2 - v**2).sum(axis=1)
        accept = self.accept(delta_h, u)
        return {
            "x_proposed": x_end,
            "v_proposed": v_end,
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept.astype(np.float64),
            "x_next": self.chosen(accept, x_end, x),
        }

    def chosen(self, accept: NDArray[np.bool_], x_end: Array, x: Array) -> Array:
        return np.where(accept[:, None], x_end, x)

    def rngs(self, seed: int, n_chains: int) -> Rngs:
        return streams(seed, n_chains)

    def momenta(self, rngs: Rngs, size: int) -> Array:
        return np.array([rng.standard_normal(size) for rng in rngs])

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        rngs = self.rngs(seed, len(x))
        v, u = self.momenta(rngs, x.shape[1]), np.array([rng.random() for rng in rngs])
        return {**self.transition(x, v, u), "v": v, "u": u}

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]
