"""What a target declares of its flow: the prior, the symmetries and their period, what is moved, whether it proposes updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import measure_matrices
from .contract import Subject
from .conversion import Misdeclared
from .theories import U1, Matrices, Phi4, Symmetry
from .theories.density import Density, pure_gauge

Array = NDArray[np.float64]
Field = NDArray[Any]

# Names of a prior by theory; the Haar measure of U(1) is uniform.
PRIORS = {
    "phi4": ("normal",),
    **dict.fromkeys(("u1", "schwinger"), ("uniform", "haar", "pure_gauge")),
    **dict.fromkeys(("su2", "su3"), ("haar", "pure_gauge")),
}
SYMMETRIES = {
    "phi4": ("translation", "parity", "reflection", "exchange"),
    **dict.fromkeys(("u1", "schwinger", "su2", "su3"), ("gauge", "translation", "conjugation")),
}
MOVES = ("links", "plaquettes")


@dataclass(frozen=True)
class Prior:
    """The density that a flow begins with: its name and its logarithm, with the oracle's own constants."""

    name: str
    log_prob: Callable[[Field], Array]


def lattice_theory(subject: Subject) -> U1 | Matrices | Phi4:
    """The theory, of those that flows are made for."""
    if not isinstance(subject.theory, U1 | Matrices | Phi4):
        raise TypeError(f"theory: got {subject.theory.name}, expected a theory on a lattice")
    return subject.theory


def prior(subject: Subject) -> Prior | None:
    """As ``flow_prior`` declares it, with ``flow_prior_beta`` where it is pure gauge theory; raises `Misdeclared`."""
    name = getattr(subject.target, "flow_prior", None)
    if name is None:
        return None
    known = PRIORS[subject.theory.name]
    if name not in known:
        raise Misdeclared(
            f"flow_prior: got {name!r}, expected {' or '.join(map(repr, known))} for {subject.theory.name}"
        )
    if name == "pure_gauge":
        return Prior(name, _pure_gauge(subject).log_prob)
    if name == "normal":
        constant = 0.5 * subject.theory.size * math.log(2 * math.pi)
        return Prior(name, lambda z: -0.5 * np.square(z).sum(axis=(1, 2)) - constant)
    constant = 0.0 if isinstance(subject.theory, Matrices) else subject.theory.size * math.log(2 * math.pi)
    return Prior(name, lambda z: np.full(len(z), -constant))


def _pure_gauge(subject: Subject) -> Density:
    beta = getattr(subject.target, "flow_prior_beta", None)
    try:
        number = float(beta)  # type: ignore[arg-type]
        return pure_gauge(number, subject.links.shape, getattr(subject.theory, "n", 1))
    except (TypeError, ValueError) as error:
        raise Misdeclared(f"flow_prior_beta: got {beta!r}, expected the coupling of the pure gauge theory") from error


def prior_fields(subject: Subject, rng: np.random.Generator, n: int) -> Field:
    """Fields to send through a flow, such as its prior draws: normal, uniform, or elements all over the group."""
    theory = lattice_theory(subject)
    if isinstance(theory, Matrices):
        return measure_matrices.random_elements(rng, (n, 2, *theory.shape), theory.n)
    if isinstance(theory, Phi4):
        return rng.standard_normal((n, *theory.shape))
    return rng.uniform(-np.pi, np.pi, (n, *theory.field_shape))


def symmetries(subject: Subject, rng: np.random.Generator, n: int) -> list[Symmetry]:
    """The moves of ``flow_symmetries``, translations by ``flow_period`` sites; raises `Misdeclared`."""
    known = SYMMETRIES[subject.theory.name]
    declared = getattr(subject.target, "flow_symmetries", ())
    if isinstance(declared, str) or not set(declared) <= set(known):
        raise Misdeclared(f"flow_symmetries: got {declared!r}, expected a tuple of {', '.join(known)}")
    by = dict(zip(("time", "space"), periods(subject), strict=True))
    moves = []
    for move in lattice_theory(subject).symmetries(rng, n):
        kind, last = move.name.split()[0], move.name.split()[-1]
        if kind == "translation" and kind in declared:
            name = f"{move.name} by {by[last]}"
            moves.append(Symmetry(name, _repeated(move.field, by[last]), _repeated(move.tangent, by[last])))
        elif kind in declared:
            moves.append(move)
    if "conjugation" in declared:
        moves.append(lattice_theory(subject).conjugation())
    return moves


def _repeated(move: Callable[[Any], Any], times: int) -> Callable[[Any], Any]:
    def moved(x: Any) -> Any:
        for _ in range(times):
            x = move(x)
        return x

    return moved


def periods(subject: Subject) -> tuple[int, int]:
    """By how many sites in time and space a translation leaves the flow as it is; 1 unless declared."""
    given: Any = getattr(subject.target, "flow_period", 1)
    try:
        both = (index(given),) * 2 if np.ndim(given) == 0 else (index(given[0]), index(given[1]))
    except (TypeError, ValueError, IndexError) as error:
        raise Misdeclared(f"flow_period: got {given!r}, expected an integer or two (time, space)") from error
    if min(both) < 1:
        raise Misdeclared(f"flow_period: got {given!r}, expected integers of at least 1")
    return both


def moves_plaquettes_alone(subject: Subject) -> bool:
    """Whether ``flow_moves = "plaquettes"`` says that links may stay as they are; raises `Misdeclared`."""
    given = getattr(subject.target, "flow_moves", "links")
    if given not in MOVES or (given == "plaquettes" and isinstance(subject.theory, Phi4)):
        raise Misdeclared(f"flow_moves: got {given!r}, expected 'links' or, of a gauge theory, 'plaquettes'")
    return bool(given == "plaquettes")


def proposes_updates(subject: Subject) -> bool:
    """Whether ``flow_updates`` says that an update is one Metropolis step with a proposal of `sample`; raises `Misdeclared`."""
    given = getattr(subject.target, "flow_updates", False)
    if not isinstance(given, bool | np.bool_):
        raise Misdeclared(f"flow_updates: got {given!r}, expected True or False")
    return bool(given)
