"""A small experiment on a target: arrays, the calls to make with them, and what should come of it: a vector, not yet written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Subject, TargetFault
from ..replay import Arrays, Call, Comparison, comparisons

if TYPE_CHECKING:  # it needs Hypothesis
    from .drawing import Draws

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """The target at some parameters, arrays by name (``x`` among them), and calls as `refimpl.validation.replay` describes."""

    at: Subject
    arrays: Mapping[str, Array] = field(repr=False)  # Hypothesis warns of what is long to print
    calls: list[Call] = field(repr=False)

    def comparisons(self, kept: Arrays | None = None) -> list[Comparison]:
        """What the target gives now against what is expected; raises `TargetFault`."""
        return list(comparisons(self.at, self.calls, self.arrays, kept))


class BrokenCall(Exception):
    """A call that the target did not answer while a case was made of it."""

    def __init__(self, case: Case) -> None:
        super().__init__("a call was not answered")
        self.case = case


# What makes a case at a target, or None where nothing can be said with what was drawn.
Build = Callable[[Subject, "Draws"], Case | None]


def call(function: str, *arguments: Any, keeps: Any = None) -> Call:
    """A call whose answer is handed on."""
    return {"function": function, "arguments": list(arguments), **({} if keeps is None else {"keeps": keeps})}


def answer(at: Subject, arrays: Mapping[str, Array], function: str, *names: str) -> Any:
    """What the target answers to a call that a case begins with; raises `BrokenCall` where it does not."""
    try:
        return getattr(at, function)(*(arrays[name] for name in names))
    except TargetFault as fault:
        raise BrokenCall(Case(at, arrays, [call(function, *names)])) from fault


def expecting(entry: Call, returns: Any, tolerance: float, angles: tuple[str, ...] = ()) -> Call:
    """The call, with what it should return."""
    return {**entry, "returns": returns, "tolerance": float(tolerance), **({"angles": list(angles)} if angles else {})}


def operation(name: str, *arguments: Any, keeps: Any = None) -> Call:
    """Arithmetic, the result of which is handed on."""
    return {"operation": name, "arguments": list(arguments), **({} if keeps is None else {"keeps": keeps})}


def is_small(x: Array, below: float) -> bool:
    """Whether every number is finite and of at most this size."""
    return bool(np.all(np.isfinite(x)) and np.abs(x).max(initial=0.0) <= below)
