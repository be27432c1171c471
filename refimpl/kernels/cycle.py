"""Kernels in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..actions import Action
from .metropolis import Generators, State


class Kernel(Protocol):
    """A Markov kernel of one action; ``step`` returns the new state and what happened."""

    @property
    def action(self) -> Action: ...
    def init(self, x: NDArray[np.float64]) -> State: ...
    def step(self, rngs: Generators, state: State) -> tuple[State, Any]: ...


@dataclass(frozen=True)
class Cycle:
    """Kernels one after another, the state passed on: stationary where each of them is, but not reversible.

    Five trajectories and a winding step: ``Cycle([hmc] * 5 + [winding])``. The information of a step is the tuple of
    theirs.

    Parameters
    ----------
    kernels : at least one, all of the same action.
    """

    kernels: Sequence[Kernel]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(self.kernels))
        if not self.kernels:
            raise ValueError("kernels: got none, expected at least one")
        for kernel in self.kernels:
            if not _same(kernel.action, self.action):
                raise ValueError(f"kernels: got actions {self.action} and {kernel.action}, expected one action")

    @property
    def action(self) -> Action:
        """The action of the kernels."""
        return self.kernels[0].action

    def init(self, x: NDArray[np.float64]) -> State:
        """The state at field ``x``, by the first kernel."""
        return self.kernels[0].init(x)

    def step(self, rngs: Generators, state: State) -> tuple[State, tuple[Any, ...]]:
        """One step of every kernel in turn."""
        infos = []
        for kernel in self.kernels:
            state, info = kernel.step(rngs, state)
            infos.append(info)
        return state, tuple(infos)


def _same(a: object, b: object) -> bool:
    """Equality that sees into dataclasses and tuples of them, whose ``==`` fails on arrays."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if a is b or not (is_dataclass(a) and is_dataclass(b)):
        return a is b or bool(np.array_equal(a, b))  # type: ignore[arg-type]
    return type(a) is type(b) and all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
