"""The kernels of the generalized leapfrog: one direction drawn per chain, or the merged involution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from ..groups import wrap
from ..lattice import chain_last, site_sum
from ..maps.l2hmc import End, GeneralizedLeapfrog
from .metropolis import Generators, Info, State, accept_reject, check_rngs, initial_state, metropolis

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class L2HMC:
    """Fresh momenta, the generalized leapfrog, Metropolis with its logdet: ``min(1, exp(H - H' + logdet))``.

    With a plain map each chain draws a direction ``d = +-1`` and takes the map or its inverse (Foreman 2020, sec. 3.1); with
    a ``merged`` map, an involution, none is needed (but with ``winding`` d is the sign of the flux). Both are exact for any
    parameters, trained or not. `Cycle` alternates it with HMC.
    """

    map: GeneralizedLeapfrog

    @property
    def action(self) -> Action:
        return self.map.action

    @property
    def directed(self) -> bool:
        """Whether a direction is drawn."""
        return not self.map.involution

    def init(self, x: Array) -> State:
        """The state at field ``x`` (checked by the action); raises `ValueError` on a field of another shape."""
        shape = self.map.architecture.field_shape
        if x.shape[1:] != shape:
            raise ValueError(f"x: got shape {x.shape}, expected (chain, {', '.join(map(str, shape))})")
        return initial_state(self.action, x)

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """Momenta, Metropolis uniforms and, where `directed`, directions; each chain's from its own Generator."""
        check_rngs(rngs, shape[0])
        from scipy.special import ndtr

        size = math.prod(shape[1:])
        normals = np.empty((shape[0], size + 1 + self.directed))
        for rng, row in zip(rngs, normals, strict=True):
            rng.standard_normal(out=row)
        v, u = normals[:, :size].reshape(shape), ndtr(normals[:, size])
        return (v, u, np.where(normals[:, -1] < 0, -1.0, 1.0)) if self.directed else (v, u)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """One proposal and one decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, v: Array, u: Array, d: Array | None = None) -> tuple[State, Array, Info]:
        """Proposed state, its momenta and the decision, for given momenta, uniforms and directions (None: all +1).

        Raises `ValueError` for a direction that is neither +1 nor -1.
        """
        if d is not None and not np.all(np.abs(d) == 1):
            raise ValueError(f"d: got {d!r}, expected +1 or -1 for every chain")
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            end = self._run(state, v, np.ones(len(v)) if d is None else d)
            kinetic = 0.5 * site_sum(end.v * end.v - v * v)
            delta_h = (end.action - state.action) + kinetic
            x = wrap(end.x) if self.action.angular else end.x
        return State(x, end.action, end.force), end.v, metropolis(delta_h, end.logdet, u)

    def _run(self, state: State, v: Array, d: Array) -> End:
        """The map for the chains with ``d = +1``, its inverse for those with ``d = -1``."""
        if self.map.involution or np.all(d == d[0]):
            return self.map.run(state.x, v, state.force, int(d[0]))
        parts = []
        for direction in (1, -1):
            chains = np.flatnonzero(d == direction)
            parts.append((chains, self.map.run(state.x[chains], v[chains], state.force[chains], direction)))
        whole = {name: chain_last(len(v), *getattr(parts[0][1], name).shape[1:]) for name in vars(parts[0][1])}
        for chains, end in parts:
            for name, value in vars(end).items():
                whole[name][chains] = value
        return End(**whole)
