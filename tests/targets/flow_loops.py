"""A normalizing flow of phi^4 in plain Python loops, sharing no code with the package: a stranger to the oracle.

Sites are visited one after the other, each moved by an affine map of the neighbours, those that moved already being seen:
the Jacobian is triangular. Two rounds, and an independence Metropolis step.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sites = list[float]


@dataclass(frozen=True)
class LoopsFlow:
    """The target."""

    m2: float = 0.5
    lam: float = 2.0
    shape: tuple[int, int] = (4, 2)
    width: float = -0.35
    pull: float = 0.11
    theory: str = "phi4"
    name: str = "loops of a flow"
    flow_prior: str = "normal"
    flow_symmetries: tuple[str, ...] = ("parity",)
    flow_updates: bool = True

    # --- one field --------------------------------------------------------------------------------------------------------
    def neighbours(self, site: int) -> tuple[int, int, int, int]:
        n_t, n_x = self.shape
        t, x = divmod(site, n_x)
        later, earlier = (t + 1) % n_t * n_x + x, (t - 1) % n_t * n_x + x
        return later, t * n_x + (x + 1) % n_x, earlier, t * n_x + (x - 1) % n_x

    def affine(self, field: Sites, site: int) -> tuple[float, float]:
        """``s`` and ``t`` of a site."""
        around = sum(field[other] for other in self.neighbours(site))
        return self.width / (1.0 + 0.2 * around * around), self.pull * around + 0.05 * math.sin(around)

    def there(self, field: Sites) -> tuple[Sites, float]:
        moved, logdet = list(field), 0.0
        for _ in range(2):
            for site in range(len(field)):
                s, t = self.affine(moved, site)
                moved[site] = moved[site] * math.exp(s) + t
                logdet += s
        return moved, logdet

    def back(self, field: Sites) -> tuple[Sites, float]:
        moved, logdet = list(field), 0.0
        for _ in range(2):
            for site in reversed(range(len(field))):
                s, t = self.affine(moved, site)
                moved[site] = (moved[site] - t) * math.exp(-s)
                logdet -= s
        return moved, logdet

    def log_normal(self, field: Sites) -> float:
        return -sum(0.5 * phi * phi + 0.5 * math.log(2 * math.pi) for phi in field)

    def energy(self, field: Sites) -> float:
        total = 0.0
        for site, phi in enumerate(field):
            later, right, _, _ = self.neighbours(site)
            total += ((field[later] - phi) ** 2 + (field[right] - phi) ** 2) / 2
            total += self.m2 * phi**2 / 2 + self.lam * phi**4 / 24
        return total

    def log_density(self, field: Sites) -> float:
        z, logdet = self.back(field)
        return self.log_normal(z) + logdet

    def drawn(self, stream: random.Random) -> tuple[Sites, float]:
        z = [stream.gauss(0.0, 1.0) for _ in range(self.shape[0] * self.shape[1])]
        field, logdet = self.there(z)
        return field, self.log_normal(z) - logdet

    # --- many -------------------------------------------------------------------------------------------------------------
    def action(self, x: Array) -> Array:
        return np.array([self.energy(field) for field in _lists(x)])

    def flow_forward(self, z: Array) -> tuple[Array, Array]:
        return self._pairs([self.there(field) for field in _lists(z)])

    def flow_inverse(self, x: Array) -> tuple[Array, Array]:
        return self._pairs([self.back(field) for field in _lists(x)])

    def log_prob(self, x: Array) -> Array:
        return np.array([self.log_density(field) for field in _lists(x)])

    def prior_log_prob(self, z: Array) -> Array:
        return np.array([self.log_normal(field) for field in _lists(z)])

    def sample(self, n: int, seed: int) -> tuple[Array, Array]:
        return self._pairs([self.drawn(random.Random(f"{seed}-{chain}")) for chain in range(n)])

    def step(self, x: Array, seed: int) -> Array:
        out = []
        for chain, field in enumerate(_lists(x)):
            stream = random.Random(f"{seed}-{chain}")
            proposal, log_q = self.drawn(stream)
            gain = -self.energy(proposal) - log_q + self.energy(field) + self.log_density(field)
            out.append(proposal if stream.random() < math.exp(min(0.0, gain)) else field)
        return np.array(out).reshape(x.shape)

    def _pairs(self, pairs: list[tuple[Sites, float]]) -> tuple[Array, Array]:
        fields = np.array([field for field, _ in pairs], dtype=np.float64)
        return fields.reshape(-1, *self.shape), np.array([value for _, value in pairs])


def _lists(x: Array) -> list[Any]:
    return [[float(phi) for phi in field.flat] for field in x]
