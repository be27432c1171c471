"""Wrong actions, forces, charges and observables: each changes what one function of a target answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import measure
from ..contract import Field, Subject
from ..theories import U1, Matrices, Phi4, Theory
from .components import first, last_plane, single
from .wrapped import Bug, Functions

Array = NDArray[np.float64]

SCALARS = ("action", "plaquette", "charge", "sine_charge", "correlator", "field_moment", "logdet_dirac")


def _changed(name: str, description: str, function: str, change: Callable[[Array], Array]) -> Bug:
    """What a function returns, changed."""

    def functions(s: Subject) -> Functions:
        return {function: lambda *arguments: change(getattr(s, function)(*arguments))}

    return Bug(name, description, functions)


def _asked(name: str, description: str, function: str, ask: Callable[..., tuple[Any, ...]]) -> Bug:
    """What a function is asked, changed."""

    def functions(s: Subject) -> Functions:
        return {function: lambda *arguments: getattr(s, function)(*ask(*arguments))}

    return Bug(name, description, functions)


def _of(theories: type[Theory] | tuple[type[Theory], ...], bug: Bug) -> Bug:
    """The same bug, of these theories alone."""
    functions = bug.functions
    return Bug(bug.name, bug.description, lambda s: functions(s) if isinstance(s.theory, theories) else {})


def _new(name: str, description: str, function: str, answer: Callable[[Subject, Field], Array]) -> Bug:
    """A function that answers something else."""
    return Bug(name, description, lambda s: {function: lambda x: answer(s, x)})


def _charge(name: str, description: str, charge: Callable[[Array], Array]) -> Bug:
    def answer(s: Subject, x: Field) -> Array:
        return np.asarray(charge(measure.plaquette_angles(x)), dtype=np.float64)

    return _of(U1, _new(name, description, "charge", answer))


def _turns(angles: Array) -> Array:
    return np.asarray(angles.sum(axis=(1, 2)) / (2 * np.pi))


def _wrapped(angles: Array) -> Array:
    return measure.angle_difference(angles, np.zeros(1))


def _without_last(s: Subject, x: Field) -> Array:
    """The action less the last of its terms."""
    if isinstance(s.theory, U1):
        last = s.theory.beta * (1 - np.cos(measure.plaquette_angles(x)[:, -1, -1]))
    elif isinstance(s.theory, Phi4):
        last = 0.5 * s.theory.m2 * x[:, -1, -1] ** 2 + s.theory.lam / 24 * x[:, -1, -1] ** 4
    else:
        # A translation-invariant part of it, at one place alone.
        links = x[last_plane(s)]
        last = (
            np.abs(links.reshape(len(x), -1)[:, -1])
            if np.iscomplexobj(x)
            else 0.1 * np.cos(x.reshape(len(x), -1)[:, -1])
        )
    return np.asarray(s.action(x) - last)


def _open_boundary(s: Subject, x: Field) -> Array:
    force = s.force(x)
    force[last_plane(s)] = 0
    return force


def _one_staple(s: Subject, x: Field) -> Array:
    """Time links without the plaquette that lies behind them."""
    force, angles = s.force(x), measure.plaquette_angles(x)
    force[:, 0] += s.u1.beta * np.sin(np.roll(angles, 1, axis=2))
    return force


def _neighbours(s: Subject, x: Field) -> Array:
    mixed = x.copy()
    mixed[first(s)] = np.roll(x[first(s)], 1, axis=0)
    return s.force(mixed)


def _single(s: Subject) -> Functions:
    def of(name: str) -> Callable[..., Any]:
        return lambda x, *others: single(getattr(s, name)(single(x), *others))

    return {name: of(name) for name in (*SCALARS, "force", "wilson_loop") if name != "charge"}


def _of_next_chain(s: Subject) -> Functions:
    """The last chain has the answer of the first: an index that runs over."""

    def of(name: str) -> Callable[..., Any]:
        def answer(x: Field, *others: Any) -> Array:
            values = getattr(s, name)(x, *others)
            values[-1] = values[0]
            return np.asarray(values)

        return answer

    return {name: of(name) for name in (*SCALARS, "force", "wilson_loop")}


BUGS: tuple[Bug, ...] = (
    _changed("ActionNormalisation", "the action is twice too large: beta for beta/2", "action", lambda s: 2 * s),
    _changed("ActionSign", "the action has the wrong sign", "action", lambda s: -s),
    _new("DroppedPlaquette", "the action leaves out the last plaquette", "action", _without_last),
    _asked("ActionOfHalfAngles", "the action is that of half the field", "action", lambda x: (x / 2,)),
    Bug("SinglePrecision", "float32 inside", _single),
    Bug("LastChainIsFirst", "the last chain of a batch gets the answer of the first", _of_next_chain),
    _changed("DoubledForce", "the force is twice too large", "force", lambda f: 2 * f),
    _changed("HalvedForce", "the force is half of what it should be", "force", lambda f: f / 2),
    _changed("FlippedForce", "the force has the wrong sign", "force", lambda f: -f),
    _new("ForceMissingOnBoundary", "the force misses what closes the lattice in space", "force", _open_boundary),
    _of(U1, _new("OneStaple", "a time link has the plaquette to its right only", "force", _one_staple)),
    _new("CoupledChains", "the force of a chain takes one link from the next chain of the batch", "force", _neighbours),
    _changed(
        "ExchangedAxes", "time and space are exchanged: the plaquette runs the other way round", "charge", lambda q: -q
    ),
    _charge(
        "TruncatedCharge",
        "the charge is truncated to an integer instead of rounded",
        lambda p: np.trunc(_turns(_wrapped(p))),
    ),
    _charge(
        "UnsignedWrap",
        "plaquettes are wrapped to [0, 2 pi) for the charge",
        lambda p: np.rint(_turns(np.remainder(p, 2 * np.pi))),
    ),
    _charge(
        "UnwrappedCharge",
        "plaquettes are not wrapped for the charge, which is then always zero",
        lambda p: np.rint(_turns(p)),
    ),
    _charge(
        "RolledCharge",
        "the charge takes theta_1 at n - 0^ instead of n + 0^",
        lambda p: np.rint(_turns(_wrapped(p + np.roll(p, 1, axis=1) / 2))),
    ),
    _changed("SineChargeSign", "the sine charge has the other orientation", "sine_charge", lambda q: -q),
    _changed("SineChargeNormalisation", "the sine charge lacks its 1/(2 pi)", "sine_charge", lambda q: 2 * np.pi * q),
    _changed(
        "PlaquettePerLink", "the plaquette is averaged over links instead of plaquettes", "plaquette", lambda p: p / 2
    ),
    _changed("PlaquetteFourthDigit", "the plaquette is off in its fourth digit", "plaquette", lambda p: 1.0001 * p),
    _of(
        (U1, Matrices),
        _asked(
            "TransposedLoop", "the extents of a Wilson loop are exchanged", "wilson_loop", lambda x, a, b: (x, b, a)
        ),
    ),
    _asked("LoopOffByOne", "a Wilson loop is one link too long in time", "wilson_loop", lambda x, a, b: (x, a + 1, b)),
    _asked("CorrelatorOffByOne", "the correlator counts its times from 1", "correlator", lambda x, t: (x, t + 1)),
    Bug(
        "SpatialCorrelator",
        "the correlator runs along space: the axes are exchanged",
        lambda s: {"correlator": lambda x, t: _along_space(x, t)},
    ),
    Bug(
        "ConnectedCorrelator",
        "the square of the mean field of the configuration is subtracted from the correlator",
        lambda s: {"correlator": lambda x, t: s.correlator(x, t) - x.mean(axis=(1, 2)) ** 2},
    ),
    _asked("AbsoluteMoment", "the moments are those of |phi|", "field_moment", lambda x, k: (np.abs(x), k)),
    Bug(
        "MomentOfTheMean",
        "the moments are powers of the mean field",
        lambda s: {"field_moment": lambda x, k: x.mean(axis=(1, 2)) ** k},
    ),
    _changed(
        "DoubledTau", "tau_int in the convention 1 + 2 sum rho", "integrated_autocorrelation_time", lambda t: 2 * t
    ),
    _changed(
        "TauWithoutHalf", "tau_int without the 1/2 of lag zero", "integrated_autocorrelation_time", lambda t: t - 0.5
    ),
)


def _along_space(x: Field, t: int) -> Array:
    means = x.mean(axis=1)
    return np.asarray((np.roll(means, -t, axis=1) * means).mean(axis=1))
