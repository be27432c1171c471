"""Wrong decisions, energies and noise of an update, and wrong trajectories."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Field, PhasePoint, Subject
from ..evidence import Noise
from ..hamiltonian import Hamiltonian
from .components import first, per_chain
from .updates import Ends, Functions, Update, accepted, kicks_of, leapfrog, trajectory_bug, update_bug, update_of
from .wrapped import Bug

Array = NDArray[np.float64]
Decision = Callable[[Array, Array, Array], NDArray[np.bool_]]
Drawn = Callable[[Noise], Noise]


def _decision(name: str, description: str, decision: Decision) -> Bug:
    return update_bug(name, description, lambda s, update: replace(update, accept=decision))


def _noise(name: str, description: str, changed: Callable[[Subject, Noise], Noise]) -> Bug:
    def change(s: Subject, update: Update) -> Update:
        return replace(update, draw=lambda rng, x: changed(s, update.draw(rng, x)))

    return update_bug(name, description, change)


def _momenta(name: str, description: str, changed: Callable[[Subject, Array], Array]) -> Bug:
    return _noise(name, description, lambda s, drawn: drawn._replace(v=changed(s, drawn.v)))


def _uniforms(name: str, description: str, changed: Callable[[Array], Array]) -> Bug:
    return _noise(name, description, lambda s, drawn: drawn._replace(u=changed(drawn.u)))


def _energies(name: str, description: str, delta_h: Callable[[Subject, Ends], Array]) -> Bug:
    return update_bug(name, description, lambda s, update: replace(update, delta_h=lambda ends: delta_h(s, ends)))


def _own_noise(values: NDArray[Any]) -> list[np.random.Generator]:
    """A generator per chain, which a chain has alone as in a batch, and again when the call is repeated."""
    return [np.random.default_rng(zlib.crc32(one.tobytes())) for one in values]


def _fresh(v: Array) -> Array:
    return np.array([rng.standard_normal(v.shape[1:]) for rng in _own_noise(v)]).reshape(v.shape)


def _of_h(s: Subject, ends: Ends, start: Array, end: Array) -> Array:
    """``H' - H`` with these momenta."""
    h = Hamiltonian(s)
    return h(ends.end[0], end, ends.phi) - h(ends.start[0], start, ends.phi)


def _mass_term(s: Subject, ends: Ends) -> Array:
    axes = tuple(range(1, ends.start[0].ndim))
    mass = 0.1 * (np.cos(ends.start[0]) - np.cos(ends.end[0])).real.sum(axis=axes)
    return np.asarray(_of_h(s, ends, ends.start[1], ends.end[1]) + mass)


def _batch_decision(delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
    return accepted(np.full_like(delta_h, (delta_h - logdet).mean()), np.zeros_like(logdet), np.full_like(u, u[0]))


def _taken_over(s: Subject, accept: NDArray[np.bool_], proposed: Field, x: Field) -> Field:
    """Nine in ten of the components of an accepted proposal, drawn anew every time."""
    shape = x.shape[1 : len(first(s))]
    taken = np.array([rng.random(shape) < 0.9 for rng in _own_noise(proposed)])
    taken = taken.reshape(*taken.shape, *(1,) * (x.ndim - taken.ndim))
    return np.where(taken & per_chain(accept, x), proposed, x)


def _lonely(delta_h: Array, logdet: Array, u: Array) -> NDArray[np.bool_]:
    return accepted(delta_h, logdet, u) | (len(u) == 1)


def _zero_mode(s: Subject, v: Array) -> Array:
    axes = (2, 3) if v.ndim >= 4 else tuple(range(1, v.ndim))
    return np.asarray(v - v.mean(axis=axes, keepdims=True))


def _of_first(factor: float) -> Callable[[Subject, Array], Array]:
    def changed(s: Subject, v: Array) -> Array:
        v[first(s)] *= factor
        return v

    return changed


def _copied(s: Subject, v: Array) -> Array:
    flat = v.reshape(len(v), -1)
    flat[:, -1] = flat[:, 0]
    return flat.reshape(v.shape)


def _one_way(s: Subject, drawn: Noise) -> Noise:
    return drawn if drawn.d is None else drawn._replace(d=np.ones_like(drawn.d))


def _direction_of_the_batch(s: Subject, drawn: Noise) -> Noise:
    return drawn if drawn.d is None else drawn._replace(d=np.full_like(drawn.d, drawn.d[0]))


def _large_fields(s: Subject, drawn: Noise) -> Noise:
    return drawn if drawn.phi is None else drawn._replace(phi=1.1 * drawn.phi)


def _stale_fields(s: Subject, update: Update) -> Update | None:
    if not s.pseudofermions:
        return None
    noiseless = update.draw

    def draw(rng: np.random.Generator, x: Field) -> Noise:
        return noiseless(rng, x)._replace(phi=noiseless(np.random.default_rng(1), x).phi)

    return replace(update, draw=draw)


def _only(applies: Callable[[Subject], bool], bug: Bug) -> Bug:
    """The same bug, of the targets that it belongs to."""

    def functions(s: Subject) -> Functions:
        return bug.functions(s) if applies(s) else {}

    return replace(bug, functions=functions)


def _kicked(name: str, description: str, kicks: Callable[[list[float]], list[float]]) -> Bug:
    return trajectory_bug(name, description, lambda s, z: leapfrog(s, z, kicks(kicks_of(s))))


def _with_force(name: str, description: str, force: Callable[[Subject, PhasePoint, Field], Array]) -> Bug:
    return trajectory_bug(name, description, lambda s, z: leapfrog(s, z, force=lambda x: force(s, z, x)))


def _frozen_link(s: Subject, z: PhasePoint) -> PhasePoint:
    still = z[1].copy()
    still[first(s)] = 0

    def force(x: Field) -> Array:
        gradient = s.force(x)
        gradient[first(s)] = 0
        return gradient

    return leapfrog(s, (z[0], still), force=force)


def _neighbours_force(s: Subject, z: PhasePoint, x: Field) -> Array:
    mixed = x.copy()
    mixed[first(s)] = np.roll(x[first(s)], 1, axis=0)
    return s.force(mixed)


def _adaptive(s: Subject, update: Update) -> Update | None:
    """One step size for all chains, by their mean energy: the trajectory of the target, or of it at another step size."""
    base = s.parameter("step_size")
    if base is None or s.replace(step_size=base) is None:
        return None

    def propose(x: Field, drawn: Noise) -> tuple[PhasePoint, Array]:
        scale = 1 + 0.5 * np.tanh(float(s.theory.action(x).mean()) / s.theory.size - 0.5)
        other = s.replace(step_size=base * scale)
        honest = None if other is None else update_of(other)
        return update.propose(x, drawn) if honest is None else honest.propose(x, drawn)

    return replace(update, propose=propose)


BUGS: tuple[Bug, ...] = (
    _decision("AlwaysAccepted", "no accept/reject", lambda dh, logdet, u: np.ones(len(u), dtype=bool)),
    _decision("NeverAccepted", "every proposal is rejected", lambda dh, logdet, u: np.zeros(len(u), dtype=bool)),
    _decision(
        "EnergiesExchanged",
        "accepted with exp(+dH): initial and final energy exchanged",
        lambda dh, logdet, u: accepted(-dh, logdet, u),
    ),
    _decision("HalfEnergy", "accepted with exp(-dH/2)", lambda dh, logdet, u: accepted(0.5 * dh, logdet, u)),
    _decision("BatchDecision", "one decision for the whole batch, by the mean energy change", _batch_decision),
    _decision("LogdetNotUsed", "accepted without the logdet", lambda dh, logdet, u: accepted(dh, 0 * logdet, u)),
    _decision("LogdetSubtracted", "accepted with minus the logdet", lambda dh, logdet, u: accepted(dh, -logdet, u)),
    _decision("LonelyChain", "a batch of one chain is always accepted", _lonely),
    update_bug(
        "RejectedKept",
        "the proposal is kept where it was rejected too: the decision changes nothing",
        lambda s, update: replace(update, choose=lambda accept, proposed, x: proposed),
    ),
    update_bug(
        "PartlyAccepted",
        "one component in ten of an accepted proposal is not taken over",
        lambda s, update: replace(update, choose=lambda accept, proposed, x: _taken_over(s, accept, proposed, x)),
    ),
    _energies(
        "KineticOmitted",
        "the accept/reject step compares actions, without the kinetic term",
        lambda s, ends: _of_h(s, ends, 0 * ends.start[1], 0 * ends.end[1]),
    ),
    _energies(
        "MomentaRedrawnAfter",
        "momenta are drawn anew before H' is computed (the bug of the 2020 notes)",
        lambda s, ends: _of_h(s, ends, ends.start[1], _fresh(ends.end[1])),
    ),
    _energies(
        "MomentaRedrawnBefore",
        "momenta are drawn anew between the computation of H and the trajectory",
        lambda s, ends: _of_h(s, ends, _fresh(ends.start[1]), ends.end[1]),
    ),
    _only(
        lambda s: bool(getattr(s.theory, "angular", False)),
        _energies(
            "MassTerm",
            "the update samples with a small mass term for the links, which no gauge-invariant average shows",
            _mass_term,
        ),
    ),
    _momenta("HotMomenta", "momenta with a standard deviation of 1.1", lambda s, v: 1.1 * v),
    _momenta("PushedMomenta", "momenta with a mean of 0.05", lambda s, v: v + 0.05),
    _momenta("OneHotMomentum", "one component of the momenta has a standard deviation of 1.15", _of_first(1.15)),
    _momenta("CopiedMomentum", "one momentum is a copy of another", _copied),
    _momenta("ZeroModeRemoved", "the mean of the momenta is subtracted: the sum of all links never moves", _zero_mode),
    _uniforms("NarrowUniforms", "the Metropolis number is drawn from [0, 0.9)", lambda u: 0.9 * u),
    _uniforms("OneUniform", "one Metropolis number for all chains", lambda u: np.full_like(u, u[0])),
    _uniforms(
        "PairedUniforms", "neighbouring chains share their Metropolis number", lambda u: u[2 * (np.arange(len(u)) // 2)]
    ),
    update_bug("StepSizeOfTheBatch", "the step size follows the mean action of all chains", _adaptive),
    _only(lambda s: s.directed, _noise("DirectionNeverFlips", "the direction is always forward", _one_way)),
    _only(
        lambda s: s.directed,
        _noise("DirectionOfTheBatch", "one direction is drawn for all chains", _direction_of_the_batch),
    ),
    _only(
        lambda s: s.pseudofermions,
        _noise("LargeFields", "the pseudofermions of the kernel are 10 per cent too large", _large_fields),
    ),
    update_bug(
        "NotRefreshed",
        "HMC makes the pseudofermions of every trajectory of one noise: they are never integrated over",
        _stale_fields,
    ),
    _kicked("FirstHalfKickMissing", "the trajectory starts with a drift", lambda kicks: [0.0, *kicks[1:]]),
    _kicked("LastHalfKickMissing", "the trajectory ends with a drift", lambda kicks: [*kicks[:-1], 0.0]),
    _kicked(
        "FullEndKicks",
        "the first and last kicks take eps instead of eps/2: reversible, so only the order of the energy error shows it",
        lambda kicks: [1.0, *kicks[1:-1], 1.0],
    ),
    _with_force(
        "StaleForce",
        "the force is computed once and used for the whole trajectory",
        lambda s, z, x: s.force(z[0]),
    ),
    _with_force(
        "TrajectoryForce",
        "the trajectory takes twice the force: the sampler stays exact, and the force on its own is right",
        lambda s, z, x: 2 * s.force(x),
    ),
    _with_force(
        "CoupledTrajectories",
        "the force in the trajectory of a chain takes one link from the next chain of the batch",
        lambda s, z, x: _neighbours_force(s, z, x),
    ),
    trajectory_bug("FrozenLink", "one link is never moved", _frozen_link),
)
