"""The golden vectors that say what to call: what the target answers, against answers found without any implementation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..contract import Subject, TargetFault
from ..replay import Comparison, callable_on, parameters_of, repeated
from ..vector_files import Vector
from ..vectors import SUITES, read_suite
from ..verdict import Verdict, skipped, within

# Suites of which other checks make use: of u1, phi4 and fermions at all couplings, of weight files with their records, of series
# of a known autocorrelation time (windows differ between correct estimators on series as odd as some of the vectors).
ELSEWHERE = ("u1", "phi4", "fermions", "l2hmc", "flows", "conditionals", "statistics")
# What the calls of the others ask for.
CALLED = (
    "action",
    "force",
    "plaquette",
    "charge",
    "sine_charge",
    "wilson_loop",
    "correlator",
    "field_moment",
    "forward",
    "inverse",
    "transition",
    "dirac_dense",
    "dirac_apply",
    "logdet_dirac",
)


def vectors(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Every shipped vector of the theory whose functions the target has, at the parameters of the vector.

    Answers come from decimal, rational or fixed-point arithmetic, with a tolerance derived for each: fields on small and
    rectangular lattices, at branch cuts, in charged sectors, trajectories and whole updates. A target that can be made at other
    parameters is; else only the vectors at its own count. To refuse what is no field is good, but no part of the contract:
    those vectors, and ill-conditioned ones, are left to ``refimpl replay``.

    If it fails: the file that is named holds input and answer; `refimpl vectors show` prints it, a C++ or Julia program
    can read it without Python.
    """
    largest, detail, used, wanted = 0.0, "", 0, ""
    widest: dict[str, float] = {}
    for vector in _of(subject):
        if (at := _at(subject, vector)) is None:
            wanted = wanted or ", ".join(f"{name} = {value}" for name, value in vector.about["parameters"].items())
            continue
        used += 1
        for comparison in _comparisons(at, vector):
            widest[comparison.function] = max(widest.get(comparison.function, 0.0), comparison.tolerance)
            ratio = _ratio(comparison)
            if not ratio <= largest:
                largest, detail = ratio, f"vector {vector.about['id']}, {_told(comparison)}"
    if not used:
        return skipped(
            f"no vector for what the target offers is at its parameters; there are some at {wanted}"
            if wanted
            else f"no vector of theory {subject.theory.name} calls what the target offers"
        )
    told = "action" if "action" in widest else max(widest, key=lambda function: widest[function])
    seen = f"{told} error {widest[told]:.1e}" + (f"; {len(widest)} functions" if len(widest) > 1 else "")
    return within("largest error over its tolerance", largest, 1.0, seen, used, detail)


def _of(subject: Subject) -> Iterator[Vector]:
    """Of the theory, and of the algorithm where they say so, with calls of functions that the target has."""
    for suite in SUITES:
        if suite in ELSEWHERE:
            continue
        for vector in read_suite(suite):
            if vector.about["theory"] != subject.theory.name or vector.about["expected"] == "invalid":
                continue
            if "ILL_CONDITIONED" in vector.flags:  # where another right formula may lose digits
                continue
            if not callable_on(subject, vector):
                continue
            if all(_same(subject.declared(k, None), value) for k, value in vector.about.get("declares", {}).items()):
                yield vector


def _at(subject: Subject, vector: Vector) -> Subject | None:
    """The target at the parameters of the vector, itself where it has them, None where it cannot be."""
    wanted = {name: _shaped(value) for name, value in parameters_of(subject, vector).items()}
    changes = {name: value for name, value in wanted.items() if not _same(_declared(subject, name), value)}
    if not changes:
        return subject
    at = subject.replace(**changes)
    return at if at is not None and all(_same(_declared(at, name), value) for name, value in wanted.items()) else None


def _declared(subject: Subject, name: str) -> Any:
    values = subject.theory.declared()
    return values[name] if name in values else subject.declared(name, True if name == "antiperiodic" else None)


def _shaped(value: Any) -> Any:
    """Extents are tuples, matrices lists."""
    return tuple(value) if isinstance(value, list) and all(type(part) is int for part in value) else value


def _same(a: Any, b: Any) -> bool:
    return a is not None and np.array_equal(a, b)


def _comparisons(subject: Subject, vector: Vector) -> list[Comparison]:
    try:
        return repeated(subject, vector)
    except TargetFault as fault:
        if vector.about["expected"] == "acceptable":
            return []
        raise TargetFault(f"vector {vector.about['id']}: {fault}") from fault


def _ratio(comparison: Comparison) -> float:
    if comparison.tolerance:
        return comparison.error / comparison.tolerance
    return 0.0 if comparison.error == 0 else np.inf


def _told(c: Comparison) -> str:
    where = f" at {list(c.worst)}" if c.worst else ""
    return f"{c.function}: {c.name}{where}: got {c.got:.9g}, expected {c.expected:.9g}, tolerance {c.tolerance:.1g}"
