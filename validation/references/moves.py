"""The package's own answers to the pieces of updates with given draws."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refimpl.actions import Phi4, Pseudofermion, Sum, WilsonDeterminant, WilsonU1
from refimpl.kernels import (
    FluxHeatBath,
    FourierHMC,
    IndependenceMetropolis,
    Level,
    NestedHMC,
    OrbitHeatBath,
    OrbitMetropolis,
    OrbitPool,
    PseudomarginalMetropolis,
    PureGauge,
    Winding,
)
from refimpl.kernels.metropolis import State
from refimpl.maps import INTEGRATORS


def _independence(beta: float, other: float, x: Any, y: Any, s_q: Any, u: Any) -> tuple[Any, Any, Any]:
    kernel = IndependenceMetropolis(WilsonU1(beta), PureGauge(other, x.shape[2:]))
    _, log_w, info = kernel.propose(kernel.init(x), y, s_q, u)
    return log_w, info.delta_h, info.accepted


def _pseudomarginal(
    beta: float, other: float, x: Any, y: Any, s_q: Any, log_d_old: Any, log_d: Any, u: Any
) -> tuple[Any, Any, Any]:
    estimator: Any = SimpleNamespace(determinant=None, log_determinant_estimate=None, start_estimate=None)
    kernel = PseudomarginalMetropolis(WilsonU1(beta), PureGauge(other, x.shape[2:]), estimator)
    start = kernel.init(x)
    state = State(start.x, kernel.gauge.action(x) - log_d_old, start.force)
    _, log_w, info = kernel.propose(state, y, s_q, log_d, u)
    return log_w, info.delta_h, info.accepted


def _winding(beta: float, x: Any, d: Any, u: Any) -> tuple[Any, Any, Any]:
    kernel = Winding(WilsonU1(beta))
    state, _, info = kernel.propose(kernel.init(x), d, u)
    return state.x, info.delta_h, info.accepted


def _flux_heat_bath(beta: float, x: Any, u: Any) -> tuple[Any, Any]:
    kernel = FluxHeatBath(WilsonU1(beta))
    state, k, _ = kernel.propose(kernel.init(x), np.asarray(u))
    return state.x, k


def _fourier(
    m2: float, lam: float, eps: float, n: int, mass2: float, stiffness: float, x: Any, v: Any, u: Any
) -> tuple[Any, Any, Any, Any]:
    kernel = FourierHMC(Phi4(m2, lam), eps, n, mass2, stiffness)
    state, momenta, info = kernel.propose(kernel.init(x), v, u)
    return state.x, momenta, info.delta_h, info.accepted


def _orbit(move: Callable[[Sum], Any], beta: float, kappa: float, x: Any, *uniforms: Any) -> tuple[Any, ...]:
    kernel = move(Sum((WilsonU1(beta), WilsonDeterminant(kappa))))
    state, k, info = kernel.propose(kernel.init(x), *uniforms)
    return state.x, state.action, k, info.delta_h, info.accepted, info.acceptance


def _term(told: Any, kappa: float) -> Any:
    return WilsonU1(told["beta"]) if "beta" in told else Pseudofermion(kappa, mu=told["mu"], mu_next=told["mu_next"])


def _nested(levels: Any, length: float, kappa: float, x: Any, v: Any, u: Any, *chis: Any) -> tuple[Any, Any, Any, Any]:
    scales = tuple(
        Level(tuple(_term(term, kappa) for term in each["terms"]), each["n_steps"], INTEGRATORS[each["integrator"]])
        for each in levels
    )
    kernel = NestedHMC(scales, length)
    state, momenta, info = kernel.propose(kernel.init(x), v, u, *chis)
    return state.x, momenta, info.delta_h, info.accepted


MOVES: dict[str, Callable[..., Any]] = {
    "kernels.independence": _independence,
    "kernels.pseudomarginal": _pseudomarginal,
    "kernels.winding": _winding,
    "kernels.flux_heat_bath": _flux_heat_bath,
    "kernels.fourier": _fourier,
    "kernels.nested": _nested,
    "kernels.orbit_metropolis": lambda *told: _orbit(OrbitMetropolis, *told),
    "kernels.orbit_pool": lambda *told: _orbit(lambda action: OrbitPool(action, told[3].shape[1]), *told),
    "kernels.orbit_heat_bath": lambda *told: _orbit(OrbitHeatBath, *told),
}
