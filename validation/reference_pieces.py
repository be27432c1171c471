"""The package's own answers to the pieces of vectors, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def function_named(name: str) -> Callable[..., Any] | None:
    """The function of a piece: of `PIECES`, or of `refimpl.exact` by its path; None where there is none."""
    if name in PIECES:
        return PIECES[name]
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "exact":
        return None
    module = getattr(importlib.import_module("refimpl.exact"), parts[1], None)
    return getattr(module, parts[2], None)


def _exact(module: str) -> Any:
    return importlib.import_module(f"refimpl.exact.{module}")


def _free_determinant(kappa: float, shape: Any, angles: Any, antiperiodic: bool) -> float:
    return float(_exact("fermions").log_determinant(kappa, shape, angles, antiperiodic=antiperiodic))


def _fields(answers: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(answers, name) for name in names}


PHI4 = ("log_partition", "two_point", "phi_squared", "phi_fourth", "magnetisation_fourth", "correlator")
PHI4 += ("susceptibility", "binder", "gap")
FREE = ("propagator", "correlator", "second_moment", "fourth_moment", "susceptibility", "absolute_magnetisation")


def _free_scalar(m2: float, shape: Any) -> dict[str, Any]:
    module = _exact("free_scalar")
    values = {name: getattr(module, name)(m2, shape) for name in (*FREE, "log_partition")}
    return {**values, "mass": module.mass(m2)}


PIECES: dict[str, Callable[..., Any]] = {
    "exact.fermions.log_determinant": _free_determinant,
    "exact.free_scalar": _free_scalar,
    "exact.phi4.answers": lambda *couplings: _fields(_exact("phi4").answers(*couplings), *PHI4),
    "exact.phi4.free": lambda *couplings: _fields(_exact("phi4").free(*couplings), *PHI4),
    "exact.phi4.quadrature": lambda *couplings: _fields(_exact("phi4").quadrature(*couplings), *PHI4),
    "exact.schwinger_2x2": lambda *couplings: vars(_exact("schwinger_2x2").two_by_two(*couplings)),
    "exact.u1_open.wilson_loop": lambda beta, area: _exact("u1_open").wilson_loop(beta, area),
}
