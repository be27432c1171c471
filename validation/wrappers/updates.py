"""An update put together from what a target offers, in parts of which a bug may replace one.

The proposal is the target's: its map, or the leapfrog with its force, step size and number of steps. Energies are the oracle's
(a target that passes has the same), noise comes from one generator for all chains. With an honest update in place of its own, a
target that is right stays right; with a broken one it is what the same mistake would make of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checks.maps import along
from ..contract import FLIP, Field, PhasePoint, Subject
from ..evidence import Noise, noise
from ..hamiltonian import Hamiltonian
from .wrapped import Bug, Functions

Array = NDArray[np.float64]


class Ends(NamedTuple):
    """Where a proposal begins and ends, its logdet, and the pseudofermions that it is made with."""

    start: PhasePoint
    end: PhasePoint
    logdet: Array
    phi: Field | None


@dataclass(frozen=True)
class Update:
    """The parts of an update.

    ``propose`` of a field and the noise; ``delta_h`` of a proposal; ``accept`` of ``delta_h``, logdet and ``u``; ``choose`` of the
    decision, the proposed and the old field; ``draw`` of a generator and a field.
    """

    propose: Callable[[Field, Noise], tuple[PhasePoint, Array]]
    delta_h: Callable[[Ends], Array]
    accept: Callable[[Array, Array, Array], NDArray[np.bool_]]
    choose: Callable[[NDArray[np.bool_], Field, Field], Field]
    draw: Callable[[np.random.Generator, Field], Noise]

    def record(self, x: Field, drawn: Noise) -> dict[str, Any]:
        """What `transition` returns."""
        end, logdet = self.propose(x, drawn)
        delta_h = self.delta_h(Ends((x, drawn.v), end, logdet, drawn.phi))
        accept = self.accept(delta_h, logdet, drawn.u)
        return {
            "x_proposed": end[0],
            "v_proposed": end[1],
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept,
            "x_next": self.choose(accept, end[0], x),
        }


def chosen(accept: NDArray[np.bool_], proposed: Field, x: Field) -> Field:
    """The proposed field where it was accepted, the old one where not."""
    return np.where(accept.reshape(-1, *(1,) * (x.ndim - 1)), proposed, x)


def accepted(delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
    """By Metropolis; never where the energy is not finite."""
    return np.asarray(np.log(u) < logdet - delta_h)


def recomputed(s: Subject) -> Callable[[Ends], Array]:
    """``H' - H`` of proposals, by the oracle's energies."""

    def delta_h(ends: Ends) -> Array:
        h = Hamiltonian(s)
        return h(*ends.end, ends.phi) - h(*ends.start, ends.phi)

    return delta_h


def update_of(s: Subject) -> Update | None:
    """The honest update, where the target offers enough to put one together."""
    if not s.reversible or s.discrete or s.declared("flow_updates", False):
        return None
    if s.has("transition") or (s.has("forward") and (not s.directed or s.has("inverse"))):

        def propose(x: Field, drawn: Noise) -> tuple[PhasePoint, Array]:
            return along(s.bound(drawn.phi), (x, drawn.v), drawn.d)

    elif integrates(s):

        def propose(x: Field, drawn: Noise) -> tuple[PhasePoint, Array]:
            return leapfrog(s, (x, drawn.v)), np.zeros(len(x))

    else:
        return None
    return Update(propose, recomputed(s), accepted, chosen, lambda rng, x: noise(s, rng, x))


def integrates(s: Subject) -> bool:
    """Whether its trajectory can be made of its force: a leapfrog, undone by turning the momenta."""
    if s.reversal != FLIP or not s.order or s.pseudofermions or s.declared("flow_updates", False):
        return False
    n_steps = s.parameter("n_steps")
    return s.has("force") and s.parameter("step_size") is not None and n_steps is not None and int(n_steps) >= 1


def kicks_of(s: Subject) -> list[float]:
    """The weights of the kicks of a leapfrog: half ones at the ends."""
    return [0.5, *[1.0] * (int(s.parameter("n_steps")) - 1), 0.5]


def leapfrog(
    s: Subject, z: PhasePoint, kicks: list[float] | None = None, force: Callable[[Field], Array] | None = None
) -> PhasePoint:
    """The trajectory with the force, step size and number of steps of the target, or other kicks or another force."""
    (x, v), eps = z, float(s.parameter("step_size"))
    first, *others = kicks_of(s) if kicks is None else kicks
    gradient = s.force if force is None else force
    v = v - first * eps * gradient(x)
    for kick in others:
        x = s.theory.pushed(x, eps * v)
        v = v - kick * eps * gradient(x)
    return x, v


def functions_of(s: Subject, update: Update | None) -> Functions:
    """`transition`, `transcript`, `step`, `run` and `resume` by this update."""
    if update is None:
        return {}

    def transition(x: Field, v: Array, u: Array, *last: Any) -> dict[str, Any]:
        d, phi = (last[0] if last and on else None for on in (s.directed, s.pseudofermions))
        return update.record(x, Noise(v, u, d, phi))

    def transcript(x: Field, seed: int) -> dict[str, Any]:
        drawn = update.draw(np.random.default_rng(seed), x)
        shown = {name: part for name, part in drawn._asdict().items() if part is not None}
        return {**update.record(x, drawn), **shown}

    def step(x: Field, seed: int) -> Field:
        return np.asarray(update.record(x, update.draw(np.random.default_rng(seed), x))["x_next"])

    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        return resume((x, np.random.default_rng(seed)), n)

    def resume(state: Any, n: int) -> tuple[Field, Any]:
        x, rng = copy.deepcopy(state)
        out = np.empty((n, *x.shape), x.dtype)
        for i in range(n):
            out[i] = x = update.record(x, update.draw(rng, x))["x_next"]
        return out, (x, rng)

    return {"transition": transition, "transcript": transcript, "step": step, "run": run, "resume": resume}


def update_bug(name: str, description: str, change: Callable[[Subject, Update], Update | None]) -> Bug:
    """A bug in one part of the update; ``change`` returns None where it does not apply."""

    def functions(s: Subject) -> Functions:
        update = update_of(s)
        return functions_of(s, None if update is None else change(s, update))

    return Bug(name, description, functions, honest_update)


def honest_update(s: Subject) -> Functions:
    """The functions of an update without a mistake."""
    return functions_of(s, update_of(s))


def integrated(s: Subject, trajectory: Callable[[Subject, PhasePoint], PhasePoint]) -> Functions:
    """The map that is this trajectory, its inverse, by turning the momenta, and updates that propose by it."""
    update = update_of(s)
    if update is None or not integrates(s):
        return {}

    def forward(z: PhasePoint) -> tuple[PhasePoint, Array]:
        return trajectory(s, z), np.zeros(len(z[0]))

    def inverse(z: PhasePoint) -> tuple[PhasePoint, Array]:
        x, v = trajectory(s, (z[0], -z[1]))
        return (x, -v), np.zeros(len(x))

    parts = replace(update, propose=lambda x, drawn: forward((x, drawn.v)))
    return {"forward": forward, "inverse": inverse, **functions_of(s, parts)}


def honest_trajectory(s: Subject) -> Functions:
    """The leapfrog without a mistake, and all that is made of it."""
    return integrated(s, leapfrog)


def trajectory_bug(name: str, description: str, trajectory: Callable[[Subject, PhasePoint], PhasePoint]) -> Bug:
    """A bug in a leapfrog: of the map, of what is undone by turning its momenta, and of every update that proposes by it."""

    return Bug(name, description, lambda s: integrated(s, trajectory), honest_trajectory)
