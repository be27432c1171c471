"""HMC of phi^4 in plain Python, site by site: shares no code with the package, nor with NumPy's rolls."""

import math
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class LoopsPhi4:
    """Fields are nested lists; everything but `transition` is one function of one field, looped over chains."""

    m2: float = 0.1
    lam: float = 6.0
    shape: tuple[int, int] = (4, 3)
    step_size: float = 0.3
    n_steps: int = 4
    theory = "phi4"
    name = "phi^4 in loops"

    def replace(self, **changes):
        return replace(self, **changes)

    def action(self, x):
        return np.array([self._action(phi) for phi in x.tolist()])

    def force(self, x):
        return np.array([self._force(phi) for phi in x.tolist()])

    def correlator(self, x, t):
        n_t = self.shape[0]
        out = []
        for phi in x.tolist():
            means = [sum(row) / len(row) for row in phi]
            out.append(sum(means[y] * means[(y + t) % n_t] for y in range(n_t)) / n_t)
        return np.array(out)

    def field_moment(self, x, k):
        return np.array([sum(value**k for row in phi for value in row) / math.prod(self.shape) for phi in x.tolist()])

    def transition(self, x, v, u):
        fields, momenta, changes = [], [], []
        for phi, p in zip(x.tolist(), v.tolist(), strict=True):
            end, q = self._leapfrog(phi, p)
            fields.append(end)
            momenta.append(q)
            changes.append(self._energy(end, q) - self._energy(phi, p))
        delta_h = np.array(changes)
        accept = np.array([math.log(level) < -change for level, change in zip(u.tolist(), changes, strict=True)])
        proposed = np.array(fields)
        return {
            "x_proposed": proposed,
            "v_proposed": np.array(momenta),
            "logdet": np.zeros(len(x)),
            "delta_h": delta_h,
            "accept": accept,
            "x_next": np.where(accept[:, None, None], proposed, x),
        }

    def _sites(self):
        n_t, n_x = self.shape
        return [(t, s, (t + 1) % n_t, (s + 1) % n_x) for t in range(n_t) for s in range(n_x)]

    def _action(self, phi):
        total = 0.0
        for t, s, later, right in self._sites():
            here = phi[t][s]
            total += ((phi[later][s] - here) ** 2 + (phi[t][right] - here) ** 2) / 2
            total += self.m2 * here**2 / 2 + self.lam * here**4 / 24
        return total

    def _force(self, phi):
        force = [[self.m2 * value + self.lam * value**3 / 6 for value in row] for row in phi]
        for t, s, later, right in self._sites():
            for a, b in ((later, s), (t, right)):
                step = phi[a][b] - phi[t][s]
                force[t][s] -= step
                force[a][b] += step
        return force

    def _leapfrog(self, phi, p):
        eps = self.step_size
        p = self._added(p, -eps / 2, self._force(phi))
        for step in range(self.n_steps):
            phi = self._added(phi, eps, p)
            p = self._added(p, -eps / (1 if step < self.n_steps - 1 else 2), self._force(phi))
        return phi, p

    def _energy(self, phi, p):
        return self._action(phi) + sum(value * value for row in p for value in row) / 2

    def _added(self, left, factor, right):
        return [[a + factor * b for a, b in zip(r, q, strict=True)] for r, q in zip(left, right, strict=True)]
