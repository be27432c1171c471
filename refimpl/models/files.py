"""Flows on disk: one ``.npz`` with the parameters under their keys and, as JSON, what the flow is made of.

Prior, map and nets are dataclasses: their record is the name of the class and its fields, which are numbers, strings, lists
of these and further dataclasses. ``params``, the arrays of a layer, are no part of it. What is read is only ever made by the
classes of `CLASSES`, which check their fields and the shapes of their parameters.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import nets
from ..maps.base import Chain, Inverse, Layer, Map, Params, parted
from ..maps.coupling import AffineCoupling
from ..maps.decimation import Decimation
from ..maps.holonomy import Holonomy
from ..maps.plaquette_coupling import PlaquetteCoupling
from ..maps.projections import ProjectionMixture
from ..maps.spectral import SpectralKernel
from ..maps.splines import CircularSpline, IntervalSpline
from ..maps.sun_coupling import SpectralCoupling
from ..nets.convolution import ConvNet
from .flow import Flow
from .priors import Haar, Normal, PureGauge, UniformAngles

Array = NDArray[np.float64]

KIND, CLASS, PARAMS = "flow", "class", "params"
PRIORS: tuple[type, ...] = (Normal, UniformAngles, Haar, PureGauge)
MAPS: tuple[type, ...] = (Chain, Inverse, AffineCoupling, PlaquetteCoupling, Holonomy, Decimation, SpectralCoupling)
PARTS: tuple[type, ...] = (ConvNet, CircularSpline, IntervalSpline, ProjectionMixture, SpectralKernel)
CLASSES: dict[str, type] = {cls.__name__: cls for cls in (*PRIORS, *MAPS, *PARTS)}


def save(path: str | os.PathLike[str], flow: Flow, meta: Mapping[str, Any]) -> None:
    """Write a flow to ``path``, whole or not at all (`refimpl.nets.save`); ``meta`` is anything else that JSON can hold.

    Raises `ValueError` for a prior or a layer that `CLASSES` does not know, and for parameters that are not finite.
    """
    record = {"kind": KIND, "prior": _record("prior", flow.prior), "map": _record("map", flow.map), "meta": dict(meta)}
    nets.save(path, parameters(flow.map), record)


def load(path: str | os.PathLike[str]) -> tuple[Flow, dict[str, Any]]:
    """The flow and the ``meta`` written by `save`.

    Raises `ValueError`, naming the file, for one that is damaged or no flow, and for parameters of another architecture. A
    missing file raises `FileNotFoundError`.
    """
    arrays, record = nets.load(path)
    if record.get("kind") != KIND:
        raise ValueError(f"{path}: got a file of kind {record.get('kind')!r}, expected {KIND!r}")
    try:
        prior = _made(record["prior"], {})
        if not hasattr(prior, "log_prob"):
            raise TypeError(f"the prior {prior!r:.40}")
        flow, meta = Flow(prior, _map(record["map"], arrays)), dict(record["meta"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        what = f"no {error}" if isinstance(error, KeyError) else "too many levels" if deep else str(error)
        raise ValueError(f"{path}: got a record of a flow with {what}") from error
    return flow, meta


def parameters(of: Map) -> Params:
    """The parameters of a map; none where it has no such thing."""
    return dict(getattr(of, PARAMS, {}))


def _record(name: str, value: Any) -> Any:
    """A configuration as JSON can hold it; ``name`` is for the message."""
    if isinstance(value, np.integer | np.floating | np.bool_):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_record(f"{name}[{i}]", part) for i, part in enumerate(value)]
    if not is_dataclass(value) or CLASSES.get(type(value).__name__) is not type(value):
        raise ValueError(f"{name}: got {value!r:.60}, expected numbers, strings, lists, or one of {', '.join(CLASSES)}")
    own = (f.name for f in fields(value) if f.init and f.name != PARAMS)
    return {CLASS: type(value).__name__, **{key: _record(f"{name}.{key}", getattr(value, key)) for key in own}}


def _map(record: Any, params: Mapping[str, Array]) -> Map:
    """What a record is of, if that is a map: anything else would lose its parameters."""
    made: Any = _made(record, params)
    if not (hasattr(made, "forward") and hasattr(made, "inverse")):
        raise TypeError(f"the map {made!r:.40}")
    return cast(Map, made)


def _made(record: Any, params: Mapping[str, Array]) -> Any:
    """What a record is of, with these parameters."""
    if isinstance(record, list):
        return tuple(_made(part, {}) for part in record)
    if not isinstance(record, dict):
        return record
    name = record[CLASS]
    if name not in CLASSES:
        raise ValueError(f"the class {name!r}, expected one of {', '.join(CLASSES)}")
    cls, configuration = CLASSES[name], {key: value for key, value in record.items() if key != CLASS}
    if cls is Chain:
        listed = configuration.pop("layers")
        if not isinstance(listed, list):
            raise TypeError(f"the layers {listed!r:.40}, expected a list")
        layers = zip(listed, parted(params, len(listed)), strict=True)
        return Chain(tuple(cast(Layer, _map(layer, part)) for layer, part in layers), **configuration)
    if cls is Inverse:
        return Inverse(_map(configuration.pop("of"), params), **configuration)
    made = {key: _made(value, {}) for key, value in configuration.items()}
    if PARAMS in {f.name for f in fields(cls)}:
        made[PARAMS] = dict(params)
    elif params:
        raise ValueError(f"parameters {sorted(params)} of {name}, expected none")
    return cls(**made)
