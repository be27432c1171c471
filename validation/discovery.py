"""Finding the conventions of a target whose action, force, plaquette or charge are not those of the contract.

The fields of the first checks are handed over in every order of axes and form of angles that `inputs` knows; what comes back is
compared with explicit loops, up to the signs and normalisations that conventions differ in. A convention is found where

- it makes one of *all* functions of `BASIC` that the target offers: an action twice too large with the right force is an error,
  as is a factor that no convention has;
- every failed check passes under it, on its own fields and lattices, and at another coupling where the target can be made there;
- with the other sign of the force the trajectories conserve the energy: else they are driven by that sign, which is an error.

The simplest are taken, those with the fewest changes. Among as simple ones Wilson loops decide, if there are any, which tell time
from space, and then the energies of updates: they tell a coupling from what functions return. What is still left is all told.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import measure
from .checks import BY_ID
from .checks.static import fields_of
from .child import Crashed
from .contract import Subject, TargetError, TargetFault
from .conventions import OURS, Convention, Converted, option
from .conversion import Declined
from .protocol import ProtocolError
from .theories import U1, Matrices, Phi4, Theory
from .theories.circle import Angles
from .translation import axes_of
from .verdict import FAIL, PASS

if TYPE_CHECKING:
    from .battery import Battery

Array = NDArray[np.float64]

# A failure of any of these begins the search. They are always judged in the conventions of the contract.
BASIC = ("static.action", "static.force", "static.plaquette", "static.charge", "static.sine_charge")
# What says more of the contract than of the target: judged in its conventions too, whatever was found.
CONTRACT = (*BASIC, "static.wilson_loop", "static.golden", "golden.vectors")
ENERGY, DECIDING = "maps.energy_scaling", ("static.wilson_loop", "transcript.energy")
NOTHING = "no change of conventions explains it"
LAYOUTS = (
    "",
    "chain mu x t",
    "mu t x a b chain",
    "chain t x mu",
    "mu x t a b chain",
    "t x mu chain",
    "x t mu chain",
    "b a x t mu chain",
    "mu t x",
    "t x mu",
    "mu x t",
    "x t mu",
)
# Of phi4: mass and quartic term with and without their 1/2 and 1/24, or with a quarter.
SCALARS = tuple((m2, lam) for m2 in (1.0, 2.0) for lam in (1.0, 24.0, 6.0))
AGREE = 1e-9  # of answers that are the same but for rounding, in units of the largest


@dataclass(frozen=True)
class Discovery:
    """``convention``: what was found, or None; ``others``: as simple, and as good; ``told``: what there is to say of it."""

    convention: Convention | None = None
    others: tuple[Convention, ...] = ()
    told: str = ""

    @property
    def option(self) -> str:
        """What was found, as ``--conventions`` names it, where it does."""
        return "" if self.convention is None else option(self.convention)

    @property
    def advice(self) -> str:
        """``told``, with the option beside what was found."""
        if self.convention is None or not self.option:
            return self.told
        words = self.convention.told
        return self.told.replace(words, f"{words} (--conventions {self.option})", 1)


def discovered(battery: Battery, failed: Sequence[str]) -> Discovery:
    """The conventions under which these checks, which failed, pass."""
    alike = sorted(_alike(battery.subject), key=lambda convention: convention.size)
    found: list[Convention] = []
    told = NOTHING
    for convention in alike if all(convention.size for convention in alike) else ():
        if found and convention.size > found[0].size:
            break
        if not _passes(battery.under(convention), failed):
            continue
        if convention.force < 0 < convention.action and _status(battery.under(convention), ENERGY) == FAIL:
            if told == NOTHING:
                told = (
                    f"{convention.told} would explain it, but trajectories go that way too: an error, not a convention"
                )
            continue
        found.append(convention)
    if not found:
        return Discovery(told=told)
    first, *others = _best(battery, found)
    also = f", and so after {' or '.join(other.told for other in others)}" if others else ""
    return Discovery(first, tuple(others), f"matches after {first.told}{also}")


def _passes(battery: Battery, checks: Sequence[str]) -> bool:
    """On the lattice of the target, and at a larger coupling, where it can be made there and that is another one."""
    if any(_status(battery, check) != PASS for check in checks):
        return False
    beta = battery.subject.theory.declared().get("beta")
    other = battery.subject.replace(beta=1.25 * beta) if beta is not None else None
    return other is None or OURS in _with_outputs(other, OURS)


def _status(battery: Battery, check: str) -> str:
    return battery.verdict(BY_ID[check]).status


def _best(battery: Battery, found: list[Convention]) -> list[Convention]:
    """Those alone that make Wilson loops right too, then energies of updates, where any do."""
    for check in DECIDING if len(found) > 1 else ():
        found = [one for one in found if _status(battery.under(one), check) == PASS] or found
    return found


def _alike(subject: Subject) -> Iterator[Convention]:
    """Conventions under which all basic functions agree on the fields of the first checks."""
    alone = copy.copy(subject)  # it may hang, or hold against the target what it did with fields of another order
    for convention in inputs(subject.theory):
        at = Subject(Converted(alone, convention), deadline=subject.deadline)
        start = time.monotonic()
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # of what a target computes with fields it does not expect
                alike = list(_with_outputs(at, convention))
        except (TargetFault, TargetError, Declined) as error:
            died = isinstance(error.__cause__, Crashed | ProtocolError)
            if died or time.monotonic() - start >= subject.deadline:
                return  # one call that does not return is enough, and a process is started again a few times only
            continue
        yield from alike
        if OURS in alike:
            return


def inputs(theory: Theory) -> Iterator[Convention]:
    """What a target may expect of fields: order of axes and directions, form of angles; and parameters of another meaning.

    Both directions and both axes exchanged are a lattice that is turned, on which only the sign of the charge is another.
    """
    names = axes_of(theory)
    seen = set()
    for layout in LAYOUTS:
        axes = tuple(name for name in layout.split() if name in names) or names
        axes = (*axes, *(name for name in ("a", "b") if name in names and name not in axes))
        if axes in seen:
            continue
        seen.add(axes)
        turned = "x" in axes and axes.index("x") < axes.index("t")
        for directions in ("tx", "xt") if "mu" in names and not turned else ("tx",):
            for angles in ("any", "[0, 2 pi)", "phases") if isinstance(theory, Angles) else ("any",):
                for shape in (
                    ("axes", "contract") if turned and theory.field_shape[-1] != theory.field_shape[-2] else ("axes",)
                ):
                    for m2, lam in SCALARS if isinstance(theory, Phi4) else ((1.0, 1.0),):
                        yield Convention(layout, shape, directions, angles, m2=m2, lam=lam)


@lru_cache(maxsize=16)
def _loops(theory: Theory) -> dict[str, Array]:
    """What the basic functions are on the fields of the first checks, by explicit loops; of an action its differences."""
    x = fields_of(theory)
    loops: dict[str, Callable[[Any], Any]] = {"action": theory.loop_action, "force": theory.loop_force}
    if isinstance(theory, U1 | Matrices):
        loops["plaquette"] = theory.loop_mean_plaquette
    if isinstance(theory, U1):
        loops |= {"charge": lambda c: np.rint(measure.loop_charge(c)), "sine_charge": measure.loop_sine_charge}
    values = {name: np.array([loop(c) for c in x], dtype=np.float64) for name, loop in loops.items()}
    return values | {"action": _differences(values["action"])}


def _with_outputs(at: Subject, convention: Convention) -> Iterator[Convention]:
    """The convention with the signs and normalisations that the answers have, where these are consistent."""
    x = np.array(fields_of(at.theory))
    factors: dict[str, float] = {}
    for name, expected in _loops(at.theory).items():
        if not at.has(name):
            continue
        got = getattr(at, name)(x)
        factor = _factor(_differences(got) if name == "action" else got, expected)
        if factor is None or (name == "plaquette" and factor != 1):
            return
        factors[name] = factor
    turns = {factors[name] for name in ("charge", "sine_charge") if name in factors}
    if not turns <= {1.0} and turns != {-1.0}:
        return
    for normalised in _normalisations(at.theory, factors.get("action"), factors.get("force")):
        yield replace(convention, orientation=int(min(turns, default=1)), **normalised)


class Norm(NamedTuple):
    """How much larger an action may be, and which convention that is."""

    factor: float
    changes: dict[str, Any]


def _norms(theory: Theory) -> Iterator[Norm]:
    yield Norm(1.0, {})
    n = {"su2": 2, "su3": 3}.get(theory.name, 1)
    for factor in sorted({2.0, 0.5, float(n), 1.0 / n, 2.0 * n, 0.5 / n} - {1.0}):
        if hasattr(theory, "beta"):
            yield Norm(factor, {"beta": factor})
        if not isinstance(theory, Phi4):
            yield Norm(factor, {"action": factor, "force": factor})
    if hasattr(theory, "beta"):
        yield Norm(1 / theory.beta, {"per_beta": True})


def _normalisations(theory: Theory, action: float | None, force: float | None) -> Iterator[dict[str, Any]]:
    """Of both functions together: a factor of one of them, or of the only one, is an error; signs are those of use.

    These are ``S`` with ``- dS/dx``, and ``log exp(-S)`` with its derivative.
    """
    if action is None or force is None:
        sign = force if action is None else action
        if sign in (None, 1):
            yield {}
        elif sign == -1:
            yield {"force": -1.0} if action is None else {"action": -1.0, "force": -1.0}
        return
    if not _same(abs(action), abs(force)) or (action < 0 < force):
        return
    for norm in _norms(theory):
        if _same(abs(action), norm.factor):
            scale = float(norm.changes.get("action", 1.0))
            signs = {"action": np.sign(action) * scale, "force": np.sign(force) * scale}
            yield {**norm.changes, **{name: float(value) for name, value in signs.items()}}


def _differences(values: Array) -> Array:
    """To the first: an action has any constant."""
    return values - values[:1]


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= AGREE * abs(b)


def _factor(got: Array, expected: Array) -> float | None:
    """How many times larger it is, everywhere; None where it is not."""
    norm = float((expected * expected).sum())
    if not np.all(np.isfinite(got)) or norm == 0:
        return None
    factor = float((got * expected).sum()) / norm
    if np.abs(got - factor * expected).max() > AGREE * np.abs(expected).max() or factor == 0:
        return None
    return float(np.rint(factor)) if _same(factor, float(np.rint(factor))) else factor
