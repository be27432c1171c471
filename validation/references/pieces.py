"""The package's own answers to the pieces of vectors, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from refimpl import exact, lattice
from refimpl.estimators import conditional, determinant, reweighting
from refimpl.groups import fold, wrap
from refimpl.kernels import topology
from refimpl.maps import blocks
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.splines import CircularSpline, IntervalSpline
from refimpl.nets import Outputs

from .controls import CONTROLS
from .layers import LAYERS
from .models import MODELS
from .moves import MOVES
from .quarks import QUARKS
from .readings import READINGS

ESTIMATORS = {"conditional": conditional, "determinant": determinant, "reweighting": reweighting}


def function_named(name: str) -> Callable[..., Any] | None:
    """The function of a piece: of `PIECES`, else of `refimpl.exact` or an estimator's module by its path, or None."""
    if name in PIECES:
        return PIECES[name]
    package, _, rest = name.partition(".")
    module, _, function = rest.partition(".")
    if package == "exact" and module in exact.__all__:
        return getattr(getattr(exact, module), function, None)
    return getattr(ESTIMATORS[module], function, None) if package == "estimators" and module in ESTIMATORS else None


def _exact(module: str) -> Any:
    return importlib.import_module(f"refimpl.exact.{module}")


def _free_determinant(kappa: float, shape: Any, angles: Any, antiperiodic: bool) -> float:
    return float(_exact("fermions").log_determinant(kappa, shape, angles, antiperiodic=antiperiodic))


def _fields(answers: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(answers, name) for name in names}


PHI4: tuple[str, ...] = (
    "log_partition",
    "two_point",
    "phi_squared",
    "phi_fourth",
    "magnetisation_fourth",
    "correlator",
)
PHI4 += ("susceptibility", "binder", "gap")
FREE = ("propagator", "correlator", "second_moment", "fourth_moment", "susceptibility", "absolute_magnetisation")


def _free_scalar(m2: float, shape: Any) -> dict[str, Any]:
    module = _exact("free_scalar")
    values = {name: getattr(module, name)(m2, shape) for name in (*FREE, "log_partition")}
    return {**values, "mass": module.mass(m2)}


def _quarks(name: str) -> Callable[..., Any]:
    return lambda *couplings: getattr(_exact("schwinger_2x2").two_by_two(*couplings), name)


def _charges(*couplings: Any) -> list[float]:
    law = _quarks("charge_distribution")(*couplings)
    return [law[q] for q in (-1, 0, 1)]


def _two(step: Any) -> tuple[Any, Any]:
    """Without the pullback."""
    return step[0], step[1]


def _half_kick(v: Any, force: Any, outputs: Any, eps: float, direction: int) -> tuple[Any, Any]:
    return _two(blocks.half_kick(v, force, Outputs(*outputs), eps, direction))


def _drift(x: Any, v: Any, outputs: Any, move: Any, eps: float, direction: int, angular: bool) -> tuple[Any, Any]:
    return _two(blocks.drift(x, v, Outputs(*outputs), move, eps, direction, angular))


PIECES: dict[str, Callable[..., Any]] = {
    **QUARKS,
    **CONTROLS,
    **LAYERS,
    **MODELS,
    **MOVES,
    **READINGS,
    "groups.wrap": wrap,
    "groups.fold": fold,
    "lattice.parity_mask": lattice.parity_mask,
    "lattice.stripe_mask": lattice.stripe_mask,
    "lattice.unit_flux": lattice.unit_flux,
    "kernels.wind": topology.wind,
    "maps.stretch_angle": lambda x, exponent: _two(blocks.stretch_angle(x, exponent)),
    "maps.half_kick": _half_kick,
    "maps.drift": _drift,
    "maps.projections.forward": lambda n, x, raw: ProjectionMixture(n).forward(x, raw),
    "maps.projections.inverse": lambda n, y, raw: ProjectionMixture(n).inverse(y, raw),
    "maps.circular_spline.forward": lambda bins, x, raw: CircularSpline(bins).forward(x, raw),
    "maps.circular_spline.inverse": lambda bins, y, raw: CircularSpline(bins).inverse(y, raw),
    "maps.interval_spline.forward": lambda bins, x, raw: IntervalSpline(bins).forward(x, raw),
    "maps.interval_spline.inverse": lambda bins, y, raw: IntervalSpline(bins).inverse(y, raw),
    "exact.fermions.log_determinant": _free_determinant,
    "exact.free_scalar": _free_scalar,
    "exact.phi4.answers": lambda *couplings: _fields(_exact("phi4").answers(*couplings), *PHI4),
    "exact.phi4.free": lambda *couplings: _fields(_exact("phi4").free(*couplings), *PHI4),
    "exact.phi4.quadrature": lambda *couplings: _fields(_exact("phi4").quadrature(*couplings), *PHI4),
    "exact.phi4.transfer_matrix": lambda *couplings: _fields(_exact("phi4").transfer_matrix(*couplings), *PHI4),
    "exact.schwinger_2x2.correlator": _quarks("correlator"),
    "exact.schwinger_2x2.charge_distribution": _charges,
    "exact.schwinger_2x2": lambda *couplings: vars(_exact("schwinger_2x2").two_by_two(*couplings)),
    "exact.u1_open.wilson_loop": lambda beta, area: _exact("u1_open").wilson_loop(beta, area),
}
