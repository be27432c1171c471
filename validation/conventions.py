"""Targets whose conventions are not those of the contract: `converted(target, Convention(...))` is one whose conventions are.

For code that keeps its links as ``(x, t, mu, chain)``, and calls ``- dS/dx`` the force::

    from refimpl.validation import Convention, check_target, converted

    import mine  # with theory, beta, shape, action(x), force(x), ...

    print(check_target(converted(mine, Convention(axes="x t mu chain", force=-1))).as_table())

Those that have a name in `NAMED` are also options: ``refimpl validate mine --conventions minus-force``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .contract import DEADLINE, Subject
from .conversion import Timed, Untold
from .theories import U1, Matrices, Theory
from .theories.circle import Angles
from .translation import AXES, CALLS, Code, Layout, axes_of, has_spinors

COUPLINGS = ("beta", "m2", "lam")
ANGLES = ("any", "[0, 2 pi)", "phases")


@dataclass(frozen=True)
class Convention:
    """How a target differs from the contract; the defaults are the contract.

    Attributes
    ----------
    axes : order of the axes of fields, such as ``"x t mu chain"``; without ``chain`` the functions take one configuration at a
        time. Names that a theory has not are left out (the one axis of a chain of sites, or of components, is ``t``); ``a b``,
        of matrices, come last where they are not named.
    shape : whether the declared ``shape`` has the extents in the order of these axes ("axes"), or is ``(T, X)`` ("contract").
    directions : "xt" where the links of ``mu = 0`` point along space.
    angles : "[0, 2 pi)" where fields have to be, and are, in this interval; "phases" where they are ``exp(i theta)``.
    orientation : -1 where plaquettes run the other way round: the charges have the other sign.
    action, force : what the functions return, in units of ``S`` and of ``+ dS/dx``. The force is the derivative of the action
        up to its sign, or it is wrong: ``|force| = |action|`` is asked for.
    per_beta : whether both of them are divided by beta besides.
    beta, m2, lam : the parameter of the contract, in units of the target's: 1/2 for one with half of ``beta`` in its action.
    generators : those of SU(N) along which forces are taken, in units of half the Gell-Mann matrices.
    momenta : their standard deviation.
    logdet : -1 where maps return ``log |det|`` of the inverse.
    """

    axes: str = ""
    shape: str = "axes"
    directions: str = "tx"
    angles: str = "any"
    orientation: int = 1
    action: float = 1.0
    force: float = 1.0
    per_beta: bool = False
    beta: float = 1.0
    m2: float = 1.0
    lam: float = 1.0
    generators: float = 1.0
    momenta: float = 1.0
    logdet: int = 1

    def __post_init__(self) -> None:
        names = self.axes.split() if isinstance(self.axes, str) else ["?"]
        if not set(names) <= set(AXES) or len(set(names)) < len(names):
            raise ValueError(f"axes: got {self.axes!r}, expected an order of {', '.join(AXES)}, each at most once")
        one_of: dict[str, tuple[Any, ...]] = {
            "shape": ("axes", "contract"),
            "directions": ("tx", "xt"),
            "angles": ANGLES,
        }
        one_of |= {"orientation": (1, -1), "logdet": (1, -1), "per_beta": (False, True)}
        for name, values in one_of.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected one of {values}")
        for name in ("action", "force", "beta", "m2", "lam", "generators", "momenta"):
            value, signed = getattr(self, name), name in ("action", "force")
            number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
            if not number or value == 0 or (value < 0 and not signed):
                raise ValueError(f"{name}: got {value!r}, expected a finite number {'other than' if signed else '>'} 0")
        if abs(self.force) != abs(self.action):
            raise ValueError(
                f"force: got {self.force:g} for an action of {self.action:g}, expected its derivative up to a sign: another "
                "factor is an error of the target, not a convention"
            )

    @property
    def changes(self) -> dict[str, Any]:
        """What is not as in the contract."""
        pairs = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in pairs.items() if value != getattr(type(self), name)}

    @property
    def size(self) -> int:
        """How many things are otherwise; an action and force that change together are one."""
        return len(set(self.changes) - ({"force"} if self.action != 1 else set()))

    @property
    def told(self) -> str:
        """In words, to follow 'matches after'."""
        words = {
            "axes": f"axes ({', '.join(self.axes.split())})",
            "shape": "shape = (T, X) whatever the axes",
            "directions": "mu = 0 taken for space",
            "angles": "links as phases exp(i theta)" if self.angles == "phases" else f"angles in {self.angles}",
            "orientation": "plaquettes the other way round (Q -> -Q)",
            "action": f"S -> {_times(self.action)}S",
            "force": f"F -> {_times(self.force)}F",
            "per_beta": "S and F without their beta",
            "beta": f"beta -> {self.beta:.4g} beta",
            "m2": f"m2 -> {self.m2:.4g} m2",
            "lam": f"lam -> {self.lam:.4g} lam",
            "generators": f"generators {self.generators:.4g} times T_a",
            "momenta": f"momenta of std {self.momenta:.4g}",
            "logdet": "logdet of the inverse",
        }
        return " and ".join(words[name] for name in self.changes) or "nothing"


OURS = Convention()

NAMED: dict[str, Convention] = {
    "ours": OURS,
    "space-time": Convention(axes="chain mu x t"),
    "contract-shape": Convention(shape="contract"),
    "chain-last": Convention(axes="mu t x a b chain"),
    "mu-last": Convention(axes="chain t x mu"),
    "column-major": Convention(axes="b a x t mu chain"),
    "one-chain": Convention(axes="mu t x"),
    "space-first": Convention(directions="xt"),
    "positive-angles": Convention(angles="[0, 2 pi)"),
    "phases": Convention(angles="phases"),
    "other-orientation": Convention(orientation=-1),
    "minus-force": Convention(force=-1),
    "log-density": Convention(action=-1, force=-1),
    "half-beta": Convention(beta=0.5),
    "double-beta": Convention(beta=2),
    "per-beta": Convention(per_beta=True),
    "inverse-logdet": Convention(logdet=-1),
}


def named(names: str) -> Convention:
    """The convention of that name, or of several with ``+`` between them; raises `ValueError`."""
    found: dict[str, Any] = {}
    for name in names.split("+"):
        if name not in NAMED:
            raise ValueError(f"conventions: got {name!r}, expected one of {', '.join(NAMED)}, or some with + between")
        if both := sorted(found.keys() & NAMED[name].changes.keys()):
            raise ValueError(f"conventions: got {names!r} with two for {', '.join(both)}, expected one")
        found |= NAMED[name].changes
    return Convention(**found)


def option(convention: Convention) -> str:
    """The names of `NAMED`, with ``+`` between, that make it up; nothing where there are none."""
    rest, names = dict(convention.changes), []
    for name, one in sorted(NAMED.items(), key=lambda pair: -len(pair[1].changes)):
        if one.changes and one.changes.items() <= rest.items():
            names.append(name)
            rest = {key: value for key, value in rest.items() if key not in one.changes}
    return "" if rest else "+".join(names)


def converted(target: Any, convention: Convention, *, deadline: float = DEADLINE) -> Any:
    """The target, or the factory of it, in the conventions of the contract.

    What it offers and declares stays as it is, parameters apart. Functions that cannot be translated decline, with the reason:
    those of spinor fields where ``axes`` are others, those of weight files where fields are. Raises `ValueError` for a
    convention that the theory of the target does not have.
    """
    if hasattr(target, "theory") and not isinstance(target, type):
        return Converted(Subject(target, deadline=deadline), convention)
    if not callable(target):
        return target  # no target: `Subject` says so

    def made(**parameters: Any) -> Converted:
        at = deadline if not isinstance(target, Timed) else target.deadline
        own = Subject(target, deadline=at, parameters=_theirs(convention, parameters))
        return Converted(own, convention)

    made.__name__ = getattr(target, "__name__", type(target).__name__)
    made.__signature__ = inspect.signature(target)  # type: ignore[attr-defined]  # which parameters it can be asked for
    return made


class Converted(Timed):
    """The target of a subject, translated call by call; the subject keeps the deadline."""

    def __init__(self, subject: Subject, convention: Convention) -> None:
        _refuse(subject.theory, convention)
        self._subject, self.convention = subject, convention
        self._layout = Layout(subject.theory, convention)

    def __getattr__(self, name: str) -> Any:
        if name in ("_subject", "convention", "_layout"):  # before they are set, as in a copy
            raise AttributeError(name)
        found = getattr(self._subject.target, name)
        if name == "replace" and callable(found):
            return self._replaced
        if name in CALLS and callable(found):
            return lambda *arguments: self._translated(name, *arguments)
        if name == "shape" and self._layout.reversed and self.convention.shape == "axes":
            return tuple(found)[::-1]
        return found * getattr(self.convention, name) if name in COUPLINGS and found is not None else found

    @property
    def name(self) -> str:
        return self._subject.name

    @property
    def deadline(self) -> float:
        return self._subject.deadline

    @deadline.setter
    def deadline(self, seconds: float) -> None:
        self._subject.deadline = seconds
        if isinstance(self._subject.target, Timed):
            self._subject.target.deadline = seconds

    def _replaced(self, **changes: Any) -> Converted:
        at = self._subject._call("replace", **_theirs(self.convention, changes))
        return Converted(Subject(at, deadline=self.deadline), self.convention)

    def _translated(self, name: str, *arguments: Any) -> Any:
        asked, answer = CALLS[name]
        if reason := self._why_not(name, asked, answer):
            raise Untold(f"{name}: {reason}")
        layout, call = self._layout, self._subject._call
        if name == "transition":  # phi goes as it is, a direction as u does
            asked += "p" if self._subject.pseudofermions else "n" * (len(arguments) - len(asked))
        theirs = [layout.inward(code, value) for code, value in zip(asked, arguments, strict=True)]
        if not layout.batched and set(asked) & set("xzr"):
            first = theirs[0][0] if asked[0] == "z" else theirs[0]
            alone = [
                call(name, *(layout.of_chain(code, value, k) for code, value in zip(asked, theirs, strict=True)))
                for k in range(len(first))
            ]
            return layout.outward(name, answer, layout.stacked(name, answer, alone))
        return layout.outward(name, answer, call(name, *theirs))

    def _why_not(self, name: str, asked: str, answer: Code) -> str:
        convention = self.convention
        drawn = name in ("transition", "transcript") and self._subject.pseudofermions
        if convention.axes and (drawn or has_spinors(asked, answer)):
            return "spinor fields are handed on with the axes of the contract alone"
        if name.endswith("_with_weights") and (
            convention.axes or convention.directions != "tx" or convention.angles != "any"
        ):
            return "weights are those of fields in the conventions of the contract"
        return ""


def _theirs(convention: Convention, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the contract, as the target has them."""
    out = dict(parameters)
    for name in COUPLINGS:
        if name in out and getattr(convention, name) != 1:
            out[name] = out[name] / getattr(convention, name)
    names = convention.axes.split()
    if "shape" in out and convention.shape == "axes" and "x" in names and names.index("x") < names.index("t"):
        out["shape"] = tuple(out["shape"])[::-1]
    return out


def _refuse(theory: Theory, convention: Convention) -> None:
    """Raise `ValueError` for what a theory has not."""
    has = {
        "angles": isinstance(theory, Angles),
        "orientation": isinstance(theory, U1),
        "directions": "mu" in axes_of(theory),
        "generators": isinstance(theory, Matrices),
        "shape": "x" in axes_of(theory),
        **{name: name in theory.parameters for name in COUPLINGS},
        "per_beta": "beta" in theory.parameters,
    }
    if none := [name for name in convention.changes if not has.get(name, True)]:
        raise ValueError(f"{none[0]}: got {getattr(convention, none[0])!r} for theory {theory.name}, which has none")


def _times(factor: float) -> str:
    return {1.0: "", -1.0: "-"}.get(factor, f"{factor:.4g} ")
