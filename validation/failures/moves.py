"""Symmetries as arithmetic on arrays that a vector can hold: gauge transformations, translations, reflections, rotations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import measure_matrices
from ..contract import Subject
from ..replay import Call
from ..theories import O2, U1, Matrices, Phi4
from .case import operation

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]


@dataclass(frozen=True)
class Move:
    """A symmetry: arithmetic that moves a field, and one that moves its tangent vectors, each from one name to another."""

    name: str
    field: Callable[[str, str], Call]
    tangent: Callable[[str, str], Call]
    arrays: dict[str, Array]


def moves(at: Subject, draw: Draws, chains: int = 1) -> list[Move]:
    """Of the theory, the drawn ones with few numbers that are not zero."""
    theory = at.theory
    if isinstance(theory, U1):
        return [_gauge_of_angles(at, draw, chains), *_shifts({2: "time", 3: "space"})]
    if isinstance(theory, Matrices):
        return [_gauge_of_matrices(at, draw, chains), *_shifts({2: "time", 3: "space"})]
    if isinstance(theory, O2):
        turn = draw.numbers((chains, 1))
        return [Move("rotation", _with("total", "turn"), _same, {"turn": turn}), *_shifts({1: "time"})]
    if isinstance(theory, Phi4):
        parity = Move("parity", _with("negative"), _with("negative"), {})
        flips = [
            Move(f"reflection of {n}", _with("flipped", a), _with("flipped", a), {})
            for a, n in ((1, "time"), (2, "space"))
        ]
        return [*_shifts({1: "time", 2: "space"}), *flips, parity]
    return []


def translation(at: Subject, mu: int, by: int) -> Move:
    """By several sites, in time (mu = 0) or space."""
    axis = mu + (1 if isinstance(at.theory, Phi4) else 2)
    rolled = _with("rolled", axis, by)
    return Move(f"translation in {('time', 'space')[mu]}", rolled, rolled, {})


def turned_by_two_pi(draw: Draws, x: Array) -> Move:
    """Angles turned by multiples of 2 pi: the same point."""
    return Move("x + 2 pi k", _with("total", "turn"), _same, {"turn": draw.turns(x.shape)})


def _with(name: str, *more: Any) -> Callable[[str, str], Call]:
    return lambda source, target: operation(name, source, *more, keeps=target)


def _same(source: str, target: str) -> Call:
    return operation("unchanged", source, keeps=target)


def _shifts(axes: dict[int, str]) -> list[Move]:
    return [
        Move(f"translation in {name}", _with("rolled", axis, 1), _with("rolled", axis, 1), {})
        for axis, name in axes.items()
    ]


def _gauge_of_angles(at: Subject, draw: Draws, chains: int) -> Move:
    alpha = draw.numbers((chains, *at.links.shape))
    change = np.stack([alpha - np.roll(alpha, -1, axis=1), alpha - np.roll(alpha, -1, axis=2)], axis=1)
    return Move("gauge transformation", _with("total", "change"), _same, {"change": change})


def _gauge_of_matrices(at: Subject, draw: Draws, chains: int) -> Move:
    theory = at.links
    if not isinstance(theory, Matrices):
        raise TypeError(f"theory: got {theory.name}, expected matrices")
    g = measure_matrices.exponential(draw.numbers((chains, *theory.shape, theory.n**2 - 1)), theory.n)
    right = np.stack([measure_matrices.dagger(np.roll(g, -1, axis=1 + mu)) for mu in (0, 1)], axis=1)
    left = np.stack([g, g], axis=1)
    units = np.eye(theory.n**2 - 1)
    # Columns are the images of the generators.
    adjoint = np.stack(
        [measure_matrices.rotated(np.broadcast_to(e, (chains, *theory.momentum_shape)), g) for e in units], axis=-1
    )
    return Move(
        "gauge transformation",
        lambda source, target: operation("product", "g_left", source, "g_right", keeps=target),
        lambda source, target: operation("applied", "adjoint", source, keeps=target),
        {"g_left": left, "g_right": right, "adjoint": adjoint},
    )
