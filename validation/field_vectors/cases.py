"""What the suites of plain fields share: a case is a field with parameters, its vector the answers of a theory in decimals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..vector_format import call, description
from .decimals import Array, Theory, allowance, decimals, digits, rounded

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]


class Case(NamedTuple):
    """A field ``(chain, ...)`` at these parameters, and why it is there."""

    name: str
    parameters: dict[str, Any]
    flags: list[str]
    comment: str
    x: NDArray[Any]
    expected: str = "valid"


class Suite(NamedTuple):
    """What all vectors of a suite have in common."""

    name: str
    theory: str
    module: str
    seed: int
    derivation: str
    conventions: str


def vector(
    suite: Suite, case: Case, arrays: dict[str, Any], calls: list[dict[str, Any]], reason: str, **more: Any
) -> Entry:
    """Name, description and arrays; the tolerance of the whole is the largest of its calls."""
    about = description(
        f"{suite.name}/{case.name}",
        more.pop("theory", suite.theory),
        tuple(case.parameters.get("shape", case.x.shape[1:] or case.x.shape)),
        case.flags,
        case.comment,
        parameters=case.parameters,
        calls=calls,
        derivation=suite.derivation,
        tolerance=max((entry["tolerance"] for entry in calls if entry["returns"] is not None), default=0.0),
        reason=reason,
        conventions=suite.conventions,
        module=suite.module,
        seed=suite.seed,
        expected=case.expected,
        **more,
    )
    return case.name, about, {"x": case.x, **arrays}


REFUSED = "there is no answer: an error or NaN is right, a finite number is wrong"


def refused(suite: Suite, case: Case, functions: list[tuple[str, list[Any]]]) -> Entry:
    """A field that is no field of the theory, with what is to refuse it."""
    calls = [call(function, ["x", *arguments], None, 0.0) for function, arguments in functions]
    return vector(suite, case._replace(expected="invalid"), {}, calls, REFUSED)


def actions(
    suite: Suite, cases: Iterator[Case], theory_of: Callable[[dict[str, Any]], Theory], size_of: Callable[..., float]
) -> Iterator[Entry]:
    """Action and force of every case; ``size_of(theory, x, force)`` is that of one term of the action."""
    for case in cases:
        theory = theory_of(case.parameters)
        with digits():
            rows = [decimals(field) for field in case.x]
            action = rounded([theory.action(row) for row in rows])
            force = np.array([rounded(theory.force(row)) for row in rows])
        terms, size = case.x[0].size, size_of(theory, case.x, force)
        calls = [call("force", ["x"], "force", allowance(1, size))]
        if len(case.x) > 1:
            calls.insert(0, call("action", ["x"], "action", allowance(terms, size), up_to_constant=True))
        reason = "rounding: 16 units in the last place of the largest term, times the terms of the sum"
        yield vector(suite, case, {"action": action, "force": force}, calls, reason)


def largest(values: Array) -> float:
    return float(np.abs(values).max())
