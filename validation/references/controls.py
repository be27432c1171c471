"""The package's own answers to the pieces of control variates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refimpl.actions import Phi4
from refimpl.estimators.variates import factorised, linear, two_stage
from refimpl.estimators.variates.monomials import Propagator
from refimpl.estimators.variates.neural import NeuralVariate
from refimpl.estimators.variates.slices import Stage
from refimpl.estimators.variates.u1.algebra import FieldTerm
from refimpl.estimators.variates.u1.conditional import ConditionalMeanVariate
from refimpl.estimators.variates.u1.factorised import GroupVariate
from refimpl.estimators.variates.u1.neural import PlaquetteNetVariate
from refimpl.estimators.variates.u1.open_boundary import OpenBoundary, OpenWilsonLoop
from refimpl.estimators.variates.u1.stein import link_field
from refimpl.observables import Correlator, Plaquette, WilsonLoop, quantity


def _linear(m2: float, lam: float, x: Any, space: str, coefficients: Any) -> Any:
    return linear.LinearVariate(Phi4(m2, lam), x.shape[1:], Correlator(1), space, coefficients)(x)


def _free(m2: float, lam: float, x: Any, name: str, mass2: float, scale: float) -> Any:
    observable: Any = quantity(name)
    return linear.FreeFieldVariate(Phi4(m2, lam), x.shape[1:], observable, mass2, scale)(x)


def _factorised(m2: float, lam: float, x: Any, t: int, degree: int, kernel: Any) -> Any:
    return factorised.FactorisedVariate(Phi4(m2, lam), x.shape[1:], Correlator(t), degree, kernel)(x)


def _two_stage(m2: float, lam: float, x: Any, name: str, mass2: float, kernel: Any, coefficients: Any) -> Any:
    observable: Any = quantity(name)
    stage = Stage(Phi4(m2, lam), Propagator(x.shape[1:], mass2), kernel)
    return two_stage.TwoStageVariate(stage, observable, coefficients)(x)


def _open(beta: float, x: Any, extent_t: int, extent_x: int) -> Any:
    return OpenBoundary(beta).variate(x.shape[2:], OpenWilsonLoop(extent_t, extent_x))


def _loop(extent_t: int, extent_x: int) -> Plaquette | WilsonLoop:
    return Plaquette() if extent_t == extent_x == 1 else WilsonLoop(extent_t, extent_x)


def _conditional(beta: float, x: Any, extent_t: int, extent_x: int, masks: Any) -> Any:
    return ConditionalMeanVariate(beta, _loop(extent_t, extent_x), masks)(x)


def _groups(beta: float, x: Any, extent_t: int, extent_x: int, masks: Any, terms: Any, coefficients: Any) -> Any:
    fields = tuple(FieldTerm(harmonic, tuple(factors)) for harmonic, *factors in terms)
    return GroupVariate(beta, _loop(extent_t, extent_x), masks, fields, coefficients)(x)


def _neural(m2: float, lam: float, params: Any, x: Any) -> NeuralVariate:
    return NeuralVariate(params, Phi4(m2, lam), x.shape[1:], Correlator(1))


def _plaquette_net(beta: float, params: Any, radius: int, harmonics: int, x: Any) -> PlaquetteNetVariate:
    return PlaquetteNetVariate(params, radius, harmonics, beta, x.shape[2:], Plaquette())


CONTROLS: dict[str, Callable[..., Any]] = {
    "variates.linear": _linear,
    "variates.free_field": _free,
    "variates.factorised": _factorised,
    "variates.two_stage": _two_stage,
    "variates.open_loop": lambda beta, x, extent_t, extent_x: OpenWilsonLoop(extent_t, extent_x)(x),
    "variates.open_boundary": lambda beta, x, *extents: _open(beta, x, *extents)(x),
    "variates.open_field": lambda beta, x, *extents: _open(beta, x, *extents).field(x),
    "variates.conditional_mean": _conditional,
    "variates.plaquette_groups": _groups,
    "variates.link_field": link_field,
    "variates.neural": lambda *told: _neural(*told)(told[-1]),
    "variates.neural_field": lambda *told: _neural(*told).g(told[-1]),
    "variates.plaquette_net": lambda *told: _plaquette_net(*told)(told[-1]),
    "variates.plaquette_net_field": lambda *told: _plaquette_net(*told).field(told[-1]),
}
