"""A generalized leapfrog on the real line, with constant scalings: ``v`` shrinks, ``x`` stretches, and logdet is a constant."""

from dataclasses import dataclass

import numpy as np

from refimpl.validation.mutants.toy_clay import Toy

S_V, S_X = -0.3, 0.25


@dataclass(frozen=True)
class Affine(Toy):
    """Two steps of ``v' = v e^s_v - eps F``, ``x' = x e^s_x + eps v'``, or their inverse, by a direction drawn per chain."""

    theory: str = "gmm"
    step_size: float = 0.3
    n_steps: int = 2
    order = None
    reversal = "direction"

    def logdet(self, x):
        return np.full(len(x), self.n_steps * x.shape[1] * (S_V + S_X))

    def forward(self, z):
        x, v = z
        for _ in range(self.n_steps):
            v = v * np.exp(S_V) - self.step_size * self.force(x)
            x = x * np.exp(S_X) + self.step_size * v
        return (x, v), self.logdet(x)

    def inverse(self, z):
        x, v = z
        for _ in range(self.n_steps):
            x = (x - self.step_size * v) * np.exp(-S_X)
            v = (v + self.step_size * self.force(x)) * np.exp(-S_V)
        return (x, v), -self.logdet(x)

    def transition(self, x, v, u, d):
        (up, v_up), a = self.forward((x, v))
        (down, v_down), b = self.inverse((x, v))
        ahead = d[:, None] > 0
        x_end, v_end, logdet = np.where(ahead, up, down), np.where(ahead, v_up, v_down), np.where(d > 0, a, b)
        delta_h = self.action(x_end) - self.action(x) + 0.5 * (v_end**2 - v**2).sum(axis=1)
        accept = self.accept(delta_h - logdet, u)
        return {
            "x_proposed": x_end,
            "v_proposed": v_end,
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept,
            "x_next": np.where(accept[:, None], x_end, x),
        }

    def transcript(self, x, seed):
        rngs = self.rngs(seed, len(x))
        noise = {
            "v": self.momenta(rngs, x.shape[1]),
            "u": np.array([rng.random() for rng in rngs]),
            "d": np.array([rng.choice([-1.0, 1.0]) for rng in rngs]),
        }
        return {**self.transition(x, **noise), **noise}
