"""Kernels in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Sum
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
    theirs. A kernel whose state holds action and force of something else than its ``action`` says so by
    ``state_action``, as `NestedHMC` with pseudofermions does; between kernels that differ in it the state is made anew
    from the field.

    Parameters
    ----------
    kernels : at least one, all of the same action; the kernels of a cycle among them take its place.
    """

    kernels: Sequence[Kernel]

    def __post_init__(self) -> None:
        if not isinstance(self.kernels, Sequence):
            raise ValueError(f"kernels: got {self.kernels!r}, expected a list of kernels")
        flat = tuple(
            part for kernel in self.kernels for part in (kernel.kernels if isinstance(kernel, Cycle) else (kernel,))
        )
        object.__setattr__(self, "kernels", flat)
        if not self.kernels:
            raise ValueError("kernels: got none, expected at least one")
        for kernel in self.kernels:
            if not all(hasattr(kernel, name) for name in ("action", "init", "step")):
                raise ValueError(f"kernels: got {kernel!r}, expected kernels, which have action, init and step")
            if not _same(kernel.action, self.action):
                raise ValueError(f"kernels: got actions {self.action} and {kernel.action}, expected one action")

    @property
    def action(self) -> Action:
        """The action of the kernels."""
        return self.kernels[0].action

    def init(self, x: NDArray[np.float64]) -> State:
        """The state at field ``x``, by the first kernel."""
        return self.kernels[0].init(x)

    @property
    def state_action(self) -> Action:
        """What the state between steps holds action and force of: as for the first kernel."""
        return _state_action(self.kernels[0])

    @property
    def one_state_action(self) -> bool:
        """Whether the state holds action and force of the same action behind every kernel."""
        return all(_same(_state_action(kernel), self.state_action) for kernel in self.kernels)

    def step(self, rngs: Generators, state: State) -> tuple[State, tuple[Any, ...]]:
        """One step of every kernel in turn."""
        infos = []
        for kernel, following in zip(self.kernels, (*self.kernels[1:], self.kernels[0]), strict=True):
            state, info = kernel.step(rngs, state)
            infos.append(info)
            if not _same(_state_action(kernel), _state_action(following)):
                state = following.init(state.x)
        return state, tuple(infos)


def _state_action(kernel: Kernel) -> Action:
    """The action that the state of a kernel holds: its own, unless it says otherwise."""
    return getattr(kernel, "state_action", kernel.action)


def _same(a: object, b: object) -> bool:
    """Equality that sees into dataclasses, tuples and mappings, whose ``==`` fails on arrays; terms of a sum in any order."""
    if isinstance(a, Sum) and isinstance(b, Sum):
        return len(a.terms) == len(b.terms) and _same_terms(a.terms, b.terms)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if a is b or not (is_dataclass(a) and is_dataclass(b)):
        return a is b or bool(np.array_equal(a, b))  # type: ignore[arg-type]
    return type(a) is type(b) and all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def _same_terms(a: tuple[Action, ...], b: tuple[Action, ...]) -> bool:
    """Whether the terms pair off."""
    left = list(b)
    for term in a:
        match = next((k for k, other in enumerate(left) if _same(term, other)), None)
        if match is None:
            return False
        del left[match]
    return True
