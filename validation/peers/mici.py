"""The PyPI package mici as a target for two-dimensional U(1): our density, mici's leapfrog and HMC transition.

Read from the source of mici 0.4.1:

- The number of steps is random only in ``MetropolisRandomIntegrationTransition``. The static transition used here
  always makes ``n_step`` steps and accepts where ``uniform < exp(min(0, H - H'))``, the usual rule.
- The transition reverses the integration direction after a rejection. Each `MiciU1.step` starts forward with a fresh
  momentum, so this has no effect.
- A trajectory that is not finite raises nothing: the leapfrog does not look, and the static transition has no limit
  on ``H' - H`` (``HamiltonianDivergenceError`` is raised by the dynamic transitions only). ``H' = inf`` has acceptance
  0, and NaN is set to 0 explicitly. An ``IntegratorError`` of another integrator would be caught and be a rejection.

There is no ``run``: mici's samplers return no state of the generators from which a chain could be resumed. A second
``sample_chains`` of one sampler reuses the noise of the first: its streams are ``jumped`` from a generator that the
chains do not advance.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    import mici  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError("mici is not installed: pip install 'refimpl[peers]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]


@dataclass(frozen=True)
class MiciU1:
    """U(1) by mici, chain by chain; links and momenta are ``(chain, 2, T, X)``, flat vectors to mici."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int

    theory: ClassVar[str] = "u1"
    # mici has no __version__ of its own.
    name: ClassVar[str] = f"mici {version('mici')}"
    order: ClassVar[int] = 2

    def neg_log_dens(self, q: Array) -> float:
        """``beta sum_P (1 - cos theta_P)`` of one chain."""
        return float(self.beta * (1 - np.cos(self._plaquette_angles(q))).sum())

    def grad_neg_log_dens(self, q: Array) -> Array:
        """Its gradient: ``beta [sin P(n) - sin P(n - 1^)]`` and ``beta [sin P(n - 0^) - sin P(n)]``."""
        s = self.beta * np.sin(self._plaquette_angles(q))
        return np.stack([s - np.roll(s, 1, axis=1), np.roll(s, 1, axis=0) - s]).ravel()

    def action(self, x: Array) -> Array:
        return np.array([self.neg_log_dens(links.ravel()) for links in x])

    def force(self, x: Array) -> Array:
        return np.array([self.grad_neg_log_dens(links.ravel()) for links in x]).reshape(x.shape)

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrate(z, direction=1)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._integrate(z, direction=-1)

    def step(self, x: Array, seed: int) -> Array:
        """One momentum refresh and one HMC transition per chain, each chain with a generator of its own."""
        integrator = self._integrator()
        refresh = mici.transitions.IndependentMomentumTransition(integrator.system)
        hmc = mici.transitions.MetropolisStaticIntegrationTransition(integrator.system, integrator, self.n_steps)
        positions = []
        for links, source in zip(x, np.random.SeedSequence(seed).spawn(len(x)), strict=True):
            rng = np.random.default_rng(source)
            state = mici.states.ChainState(pos=links.ravel(), mom=None, dir=1)
            state, _ = refresh.sample(state, rng)
            state, _ = hmc.sample(state, rng)
            positions.append(state.pos)
        return _wrapped(np.array(positions)).reshape(x.shape)

    def _plaquette_angles(self, q: Array) -> Array:
        """``th0(n) + th1(n + 0^) - th0(n + 1^) - th1(n)``, shape ``(T, X)``."""
        th0, th1 = q.reshape(2, *self.shape)
        return th0 + np.roll(th1, -1, axis=0) - np.roll(th0, -1, axis=1) - th1

    def _integrator(self) -> Any:
        """mici's leapfrog for this density with unit metric (mici's default)."""
        system = mici.systems.EuclideanMetricSystem(self.neg_log_dens, grad_neg_log_dens=self.grad_neg_log_dens)
        return mici.integrators.LeapfrogIntegrator(system, self.step_size)

    def _integrate(self, z: PhasePoint, direction: int) -> tuple[PhasePoint, Array]:
        """``n_steps`` steps forward or backward in time; the leapfrog preserves volume."""
        integrator = self._integrator()
        positions, momenta = [], []
        for links, momentum in zip(*z, strict=True):
            state = mici.states.ChainState(pos=links.ravel(), mom=momentum.ravel(), dir=direction)
            for _ in range(self.n_steps):
                state = integrator.step(state)
            positions.append(state.pos)
            momenta.append(state.mom)
        shape = z[0].shape
        return (_wrapped(np.array(positions)).reshape(shape), np.array(momenta).reshape(shape)), np.zeros(shape[0])


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> MiciU1:
    """mici at these parameters."""
    return MiciU1(beta, shape, step_size, n_steps)


def _wrapped(x: Array) -> Array:
    """``x`` in [-pi, pi); an angle that is there already keeps its bits, so that a rejection returns its input."""
    x = x - 2 * np.pi * np.floor((x + np.pi) / (2 * np.pi))
    # Rounding can leave the result at +pi, or just below -pi.
    return np.where(x >= np.pi, -np.pi, np.maximum(x, -np.pi))
