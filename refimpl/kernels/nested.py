"""Hybrid Monte Carlo with pseudofermions and several time scales (Sexton and Weingarten 1992).

A level kicks the momenta by its terms and leaves the drift to the level inside it, which takes ``n_steps`` steps in
that time; the innermost moves the field. Every level being a palindrome, so is the whole: reversible, with Jacobian 1.
Costly smooth forces belong to outer levels, cheap rough ones, the gauge force, to inner levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Pseudofermion, Sum, determinant_of
from ..actions.base import Dynamics
from ..actions.dirac import check_spinor
from ..groups import drift, representative
from ..lattice import chain_last, check_integer, check_number, check_shape, site_sum
from ..maps import LEAPFROG, Integrator
from .hmc import momenta_and_uniforms
from .metropolis import Generators, Info, State, accept_reject, initial_state, metropolis

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Bound = list[tuple[int, Dynamics]]


@dataclass(frozen=True)
class Level:
    """Terms of the action that share a time scale.

    Parameters
    ----------
    terms : actions and `Pseudofermion`s, at least one. n_steps : steps per drift of the level outside it; of the
    outermost,
        per trajectory. integrator : `Integrator`.
    """

    terms: tuple[Action | Pseudofermion, ...]
    n_steps: int
    integrator: Integrator = LEAPFROG

    def __post_init__(self) -> None:
        terms = self.terms if isinstance(self.terms, tuple | list) else (self.terms,)
        object.__setattr__(
            self, "terms", tuple(part for term in terms for part in (term.terms if isinstance(term, Sum) else (term,)))
        )
        if not self.terms:
            raise ValueError("terms: got none, expected at least one action or Pseudofermion")
        for term in self.terms:
            if not isinstance(term, Pseudofermion) and not hasattr(term, "dynamics"):
                raise ValueError(f"terms: got {term!r}, expected actions and Pseudofermions")
        check_integer("n_steps", self.n_steps, 1)
        if not isinstance(self.integrator, Integrator):
            raise ValueError(f"integrator: got {self.integrator!r}, expected an Integrator")

    @property
    def fixed(self) -> tuple[Action, ...]:
        """The terms that are functions of the links alone."""
        return tuple(term for term in self.terms if not isinstance(term, Pseudofermion))

    @property
    def monomials(self) -> tuple[Pseudofermion, ...]:
        """The terms that have a pseudofermion field."""
        return tuple(term for term in self.terms if isinstance(term, Pseudofermion))


@dataclass(frozen=True)
class NestedHMC:
    """HMC of nested time scales, with fresh pseudofermions at every step where there are any.

    A step draws every ``phi`` from its heat bath and momenta ``v ~ N(0, 1)``, follows a trajectory of the given length,
    and accepts with ``min(1, exp(H - H'))``, ``H = S(x) + sum_m S_m(x, phi_m) + v.v/2``. The links then have the
    distribution of `action`, in which the pseudofermions are integrated out: ``det D^2``. The state holds action and
    force of `state_action` only, which needs no determinant; `Cycle` makes the state of the next kernel anew where that
    one holds another action.

    With one level and no pseudofermions it is `HMC` of step ``length / n_steps``. Where a linear system has no accurate
    solution, or D is singular, the proposal of that chain is rejected and counted as not finite; the others go on.

    Parameters
    ----------
    levels : the outermost first. Terms are of one gauge group, at least one of them no `Pseudofermion` (``WilsonU1(0.0)``
        for fermions alone). Pseudofermions must be the monomials of one determinant, as `hasenbusch` makes them with
        ``mu_reg = 0``, on whatever levels; a regulator is refused, as the kernel would not have the distribution of its
        action.
    length : of the trajectory, positive.
    """

    levels: tuple[Level, ...]
    length: float

    def __post_init__(self) -> None:
        if not isinstance(self.levels, tuple | list):
            raise ValueError(f"levels: got {self.levels!r}, expected Level objects in a tuple")
        object.__setattr__(self, "levels", tuple(self.levels))
        for level in self.levels:
            if not isinstance(level, Level):
                raise ValueError(f"levels: got {level!r}, expected Level objects")
        if not self._fixed:
            raise ValueError("levels: got no action of the links alone, expected at least one (WilsonU1(0.0) will do)")
        check_number("length", self.length, 0, above=True)
        colours = {getattr(term, "n", 1) for level in self.levels for term in level.terms}
        if len(colours) != 1:
            raise ValueError(f"levels: got terms of {sorted(colours)} colours, expected one gauge group")
        _ = self.action  # checks the terms

    @property
    def monomials(self) -> tuple[Pseudofermion, ...]:
        """The pseudofermions of all levels, the outermost first."""
        return tuple(term for level in self.levels for term in level.monomials)

    @property
    def action(self) -> Action:
        """The whole target: the sum of the terms, and the determinant in the place of the pseudofermions."""
        return Sum((*self._fixed, determinant_of(self.monomials))) if self.monomials else self.state_action

    @property
    def state_action(self) -> Action:
        """What the state holds action and force of: the sum of the terms that have no pseudofermions."""
        return Sum(self._fixed) if len(self._fixed) > 1 else self._fixed[0]

    @property
    def n_forces(self) -> tuple[int, ...]:
        """Forces per trajectory of every level, the outermost first; what is known at the start is not counted."""
        kicks = np.count_nonzero(self._schedule[0], axis=0)
        known = next(number for number, level in enumerate(self.levels) if level.fixed)
        if not self.levels[known].monomials:
            kicks[known] -= 1
        return tuple(map(int, kicks))

    def init(self, x: Array) -> State:
        """The state at field ``x`` (checked by the action); even-odd pseudofermions need even extents."""
        state = initial_state(self.state_action, x)
        self._check_lattice(state.x)
        return state

    def noise(self, rngs: Generators, shape: tuple[int, ...]) -> tuple[NDArray[Any], ...]:
        """Momenta of this shape, that of the force, Metropolis uniforms, and ``chi`` of every pseudofermion."""
        v, u = momenta_and_uniforms(rngs, shape)
        return v, u, *(monomial.noise(rngs, (shape[2], shape[3])) for monomial in self.monomials)

    def step(self, rngs: Generators, state: State) -> tuple[State, Info]:
        """New pseudofermions, one trajectory and one accept/reject decision for every chain."""
        return accept_reject(self, rngs, state)

    def propose(self, state: State, v: Array, u: Array, *chis: Complex) -> tuple[State, Array, Info]:
        """The deterministic heart of a step: proposed state, its momenta and the decision, for given random numbers."""
        return self.propose_with(state, v, u, self.pseudofermions(state.x, *chis))

    def pseudofermions(self, x: Array, *chis: Complex) -> list[Complex]:
        """``phi`` of every one of `monomials`, made of its ``chi`` at the links ``x``."""
        with np.errstate(invalid="ignore", over="ignore"):
            return [monomial.heat_bath(x, chi) for monomial, chi in zip(self.monomials, chis, strict=True)]

    def propose_with(self, state: State, v: Array, u: Array, phis: Sequence[Complex]) -> tuple[State, Array, Info]:
        """As `propose`, for given fields of `monomials`."""
        x, momenta = chain_last(*state.x.shape, dtype=state.x.dtype), chain_last(*state.force.shape)
        x[...], momenta[...] = state.x, v
        v_squared = momenta * momenta
        with np.errstate(invalid="ignore", over="ignore"):
            before, after, action, force = self._trajectory(x, momenta, list(phis), state.force)
            delta_h = (action - state.action) + (after - before) + 0.5 * site_sum(momenta * momenta - v_squared)
            x = representative(x, self.state_action.angular)
        return State(x, action, force), momenta, metropolis(delta_h, np.zeros(len(x)), u)

    def evolve(self, x: Array, v: Array, phis: tuple[Complex, ...] = ()) -> tuple[Array, Array]:
        """``(x', v')`` at the end of a trajectory from ``(x, v)``, for a field ``phi`` of every one of `monomials`."""
        x, v = (np.array(part, order="K") for part in (x, v))
        force = self.state_action.force(x)
        if v.shape != force.shape:
            raise ValueError(f"v: got shape {v.shape}, expected {force.shape}")
        self._check_lattice(x)
        if len(phis) != len(self.monomials):
            raise ValueError(
                f"phis: got {len(phis)} fields, expected one for every pseudofermion ({len(self.monomials)})"
            )
        spinor = (len(x), *x.shape[2:4], 2, *x.shape[4:5])
        self._trajectory(x, v, [check_spinor(phi, spinor, "phis") for phi in phis], force)
        return representative(x, self.state_action.angular), v

    def _check_lattice(self, x: Array) -> None:
        """Raises `ValueError` for a field whose lattice does not suit the pseudofermions."""
        if self.monomials:
            check_shape(x.shape[2:4], even=any(monomial.even_odd for monomial in self.monomials))

    def _trajectory(self, x: Array, v: Array, phis: list[Complex], force: Array) -> tuple[Array, Array, Array, Array]:
        """Change ``x`` and ``v`` in place; ``force`` is that of `state_action` at ``x``.

        Returns the action of the pseudofermions before and after, and action and force of `state_action` after.
        """
        kicks, drifts = self._schedule
        fixed, fermions = self._bound(x, v, phis)
        before, _ = _kicked(fermions, kicks[0], v)
        # The outermost terms, which cost most, have what the others leave of the force that is known.
        (outermost, _), *inner = fixed
        for level, dynamics in inner:
            _, part = dynamics.action_and_force()
            v -= kicks[0][level] * part
            force = force - part
        v -= kicks[0][outermost] * force
        for weights, step in zip(kicks[1:-1], drifts, strict=False):
            drift(x, v, step)
            for level, dynamics in (*fixed, *fermions):
                if weights[level]:
                    dynamics.kick(weights[level])
        drift(x, v, drifts[-1])
        after, _ = _kicked(fermions, kicks[-1], v)
        action, force = _kicked(fixed, kicks[-1], v)
        return before, after, action, force

    def _bound(self, x: Array, v: Array, phis: list[Complex]) -> tuple[Bound, Bound]:
        """The terms without and with pseudofermions bound to the arrays of a trajectory, with the number of their level."""
        fields = iter(phis)
        fixed: Bound = []
        fermions: Bound = []
        for number, level in enumerate(self.levels):
            if level.fixed:
                fixed.append((number, Sum(level.fixed).dynamics(x, v)))
            fermions += [(number, monomial.at(next(fields)).dynamics(x, v)) for monomial in level.monomials]
        return fixed, fermions

    @property
    def _fixed(self) -> tuple[Action, ...]:
        return tuple(term for level in self.levels for term in level.fixed)

    @cached_property
    def _schedule(self) -> tuple[list[list[float]], list[float]]:
        """Kicks of every level before, between and after the drifts, and the drifts; adjacent kicks are one."""
        kicks, drifts = [[0.0] * len(self.levels)], []
        for level, time in _stages(self.levels, self.length):
            if level is None:
                drifts.append(time)
                kicks.append([0.0] * len(self.levels))
            else:
                kicks[-1][level] += time
        return kicks, drifts


def _stages(levels: Sequence[Level], time: float, number: int = 0) -> Iterator[tuple[int | None, float]]:
    """Kicks ``(level, time)`` and drifts ``(None, time)`` of the levels from this one inwards, in order."""
    if number == len(levels):
        yield None, time
        return
    step = time / levels[number].n_steps
    for _ in range(levels[number].n_steps):
        for k, coefficient in enumerate(levels[number].integrator.coefficients):
            if k % 2:
                yield from _stages(levels, coefficient * step, number + 1)
            else:
                yield number, coefficient * step


def _kicked(bound: Bound, weights: list[float], v: Array) -> tuple[Array, Array]:
    """Sums of the actions and of the forces at the current field; does ``v -= weight * force`` for every term."""
    total, total_force = np.zeros(len(v)), np.zeros_like(v)
    for level, dynamics in bound:
        action, force = dynamics.action_and_force()
        v -= weights[level] * force
        total = total + action
        total_force += force
    return total, total_force
