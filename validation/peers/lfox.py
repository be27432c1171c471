"""The PyPI package lfox, lattice fields over JAX, as targets for two-dimensional phi^4: its HMC, leapfrog and Omelyan's integrator.

The kernel is theirs: `SquareLattice`, `LatticeField`, the force of `Action`, the integrators, `HMC.evolve` with its momenta and its
decision. Ours are the density of the action, written as their README does, and `jax.vmap` over chains, each with a key of its own.
At level smoke and seed 1 `target` passes everything, and `omelyan` all of ``maps.*``, which is what its integrator changes.

Read from the wheel of lfox 0.0.1, and measured; tests/test_peers_lfox.py has every point:

- **An action whose parameters are changed keeps its old values, and so do others**: ``params`` is a dict in a static field, which
  is compared, not copied, where compiled functions are looked up. After ``a.S(fields); a.params["lam"] = 5``, ``a.S(fields)`` is
  that of the old ``lam``, and so is that of *another* action made with ``lam = 5`` from the start.
- **a + b changes a**: the sum shares the dict of ``a``, and ``a.params.update(b.params)`` follows. A parameter of both has the
  value of ``b`` in either term; the source says "TODO: warn in case of collision".
- ``a + (b + c)`` raises FrozenInstanceError (``other.sub_actions = []``).
- Integrators begin and end with a half step of the field, not of the momenta; acceptance is ``uniform < exp(-dH)``, where dH is
  summed site by site. `HMC` draws momenta first and splits the key again for the uniform: ``evolve`` hands the last key on.
- ``-phi`` and ``1.0 - phi`` raise TypeError, where ``phi - 1`` is a field.
- It asks for Python 3.12, but runs on 3.11: ``pip install --no-deps --ignore-requires-python lfox``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    from .jax_chains import compiled, in_turns, jax, jnp  # isort: skip (x64 before lfox)
    from lfox.action import Action  # type: ignore[import-untyped]
    from lfox.evolution import HMC, LeapfrogIntegrator, OmelyanIntegrator  # type: ignore[import-untyped]
    from lfox.lattice import LatticeField, SquareLattice  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f"lfox cannot be imported ({error}): pip install 'refimpl[lfox]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]
Shape = tuple[int, int]
State = tuple[Array, Array]


class Phi4Action(Action):
    """``sum_mu (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24``, with neighbours moved from n to n + mu^."""

    @staticmethod
    def _S(fields: Any, params: Any) -> Any:
        (phi,) = fields
        density = (phi.d() + params["m2"] / 2) * phi**2 + params["lam"] / 24 * phi**4
        for axis in range(phi.d()):
            density = density - phi * phi.nn_field(axis)
        return density


@dataclass(frozen=True, eq=False)
class LfoxPhi4:
    """`HMC` of one field ``(T, X)``, mapped over the chains."""

    m2: float
    lam: float
    shape: Shape
    step_size: float
    n_steps: int
    integrator: type

    theory: ClassVar[str] = "phi4"
    name: ClassVar[str] = f"lfox {version('lfox')} hmc"
    order: ClassVar[int] = 2

    def action(self, x: Array) -> Array:
        return in_turns(self._functions["action"], x)

    def force(self, x: Array) -> Array:
        return in_turns(self._functions["force"], x)

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return in_turns(self._functions["forward"], *z), np.zeros(len(z[0]))

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        """Forward with reversed momenta."""
        (x, v), logdet = self.forward((z[0], -z[1]))
        return (x, -v), logdet

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        """One update, with what ``evolve`` tells of it; momenta and uniform are drawn again from its key."""
        return in_turns(self._functions["transcript"], x, _keys(seed, len(x)))

    def step(self, x: Array, seed: int) -> Array:
        return self.run(x, 1, seed)[0][0]

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, State]:
        return self.resume((x, _keys(seed, len(x))), n)

    def resume(self, state: State, n: int) -> tuple[Array, State]:
        """The state is the fields and the keys that ``evolve`` handed on."""
        fields = []
        for _ in range(n):
            state = in_turns(self._functions["update"], *state)
            fields.append(state[0])
        return np.array(fields).reshape(n, *state[0].shape), state

    @cached_property
    def _own(self) -> Any:
        action = Phi4Action(field_names=["phi"], params={"m2": self.m2, "lam": self.lam})
        return HMC(action=action, integrator=self.integrator(eps=self.step_size, Nstep=self.n_steps))

    def _field(self, x: Any) -> dict[str, Any]:
        return {"phi": LatticeField(lattice=SquareLattice(st_dims=self.shape), F=x)}

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        own, field = self._own, self._field

        def forward(x: Any, v: Any) -> Any:
            end, momenta, *_ = own.MD_traj(field(x), {"phi": v})
            return end["phi"].F, momenta["phi"].F

        def update(x: Any, key: Any) -> Any:
            end, _, key = own.evolve(field(x), key)
            return end["phi"].F, key

        def transcript(x: Any, key: Any) -> dict[str, Any]:
            end, monitor, _ = own.evolve(field(x), key)
            momenta, key = own.momentum_refresh(field(x), key)  # as in HMC.evolve
            proposed = forward(x, momenta["phi"])
            return {
                "x_proposed": proposed[0],
                "v_proposed": proposed[1],
                "logdet": jnp.zeros(()),
                "delta_h": monitor["delta_H"],
                "accept": monitor["accept"],
                "x_next": end["phi"].F,
                "v": momenta["phi"],
                "u": jax.random.uniform(jax.random.split(key)[1]),
            }

        return compiled(
            {
                "action": lambda x: own.action.S(field(x)),
                "force": lambda x: own.action.dS(field(x))["phi"].F,
                "forward": forward,
                "update": update,
                "transcript": transcript,
            }
        )


def _keys(seed: int, n: int) -> Array:
    """A key for every chain, of the kind that ``Chain`` has."""
    return np.asarray(jax.random.split(jax.random.PRNGKey(seed), n))


def target(
    m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4), step_size: float = 0.2, n_steps: int = 6
) -> LfoxPhi4:
    """HMC with `LeapfrogIntegrator`."""
    return LfoxPhi4(m2, lam, shape, step_size, n_steps, LeapfrogIntegrator)


def omelyan(
    m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4), step_size: float = 0.4, n_steps: int = 3
) -> LfoxPhi4:
    """HMC with `OmelyanIntegrator`."""
    return LfoxPhi4(m2, lam, shape, step_size, n_steps, OmelyanIntegrator)
