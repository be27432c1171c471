"""What models are made of, as JSON can hold it.

Priors, maps, nets and monomials are dataclasses: their record is the name of the class and its fields, which are numbers,
strings, lists of these and further dataclasses. ``params``, the arrays of a layer, are no part of it. What is read is only ever
made by the classes of `CLASSES`, which check their fields and the shapes of their parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..actions import Pseudofermion
from ..maps.base import Chain, Inverse, Layer, Map, Params, parted
from ..maps.context import Context
from ..maps.coupling import AffineCoupling
from ..maps.decimation import Decimation
from ..maps.holonomy import Holonomy
from ..maps.plaquette_coupling import PlaquetteCoupling
from ..maps.projections import ProjectionMixture
from ..maps.pseudofermion_layer import PseudofermionLayer
from ..maps.spectral import SpectralKernel
from ..maps.splines import CircularSpline, IntervalSpline
from ..maps.sun_coupling import SpectralCoupling
from ..nets.convolution import ConvNet
from .priors import Haar, Normal, PureGauge, UniformAngles

Array = NDArray[np.float64]

CLASS, PARAMS = "class", "params"
LARGEST = 2**20  # integer of a record: what is larger is damage, and may take all memory before it is noticed
PRIORS: tuple[type, ...] = (Normal, UniformAngles, Haar, PureGauge)
MAPS: tuple[type, ...] = (Chain, Inverse, AffineCoupling, PlaquetteCoupling, Holonomy, Decimation, SpectralCoupling)
PARTS: tuple[type, ...] = (ConvNet, CircularSpline, IntervalSpline, ProjectionMixture, SpectralKernel)
CONDITIONAL: tuple[type, ...] = (Pseudofermion, Context, PseudofermionLayer)
CLASSES: dict[str, type] = {cls.__name__: cls for cls in (*PRIORS, *MAPS, *PARTS, *CONDITIONAL)}


def parameters(of: Any) -> Params:
    """The parameters of a map; none where it has no such thing."""
    return dict(getattr(of, PARAMS, {}))


def record(name: str, value: Any) -> Any:
    """A configuration as JSON can hold it; ``name`` is for the message of the `ValueError` where it cannot."""
    if isinstance(value, np.integer | np.floating | np.bool_):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [record(f"{name}[{i}]", part) for i, part in enumerate(value)]
    if not is_dataclass(value) or CLASSES.get(type(value).__name__) is not type(value):
        raise ValueError(f"{name}: got {value!r:.60}, expected numbers, strings, lists, or one of {', '.join(CLASSES)}")
    own = (f.name for f in fields(value) if f.init and f.name != PARAMS)
    return {CLASS: type(value).__name__, **{key: record(f"{name}.{key}", getattr(value, key)) for key in own}}


def made(record: Any, params: Mapping[str, Array]) -> Any:
    """What a record is of, with these parameters."""
    if isinstance(record, list):
        return tuple(made(part, {}) for part in record)
    if isinstance(record, int) and abs(record) > LARGEST:
        raise ValueError(f"the number {record:.6g}, expected at most {LARGEST}")
    if not isinstance(record, dict):
        return record
    name = record[CLASS]
    if name not in CLASSES:
        raise ValueError(f"the class {name!r}, expected one of {', '.join(CLASSES)}")
    cls, configuration = CLASSES[name], {key: value for key, value in record.items() if key != CLASS}
    if PARAMS in configuration:
        raise ValueError(f"{PARAMS} of {name}, expected them among the arrays")
    if cls is Chain:
        layers = layered(configuration.pop("layers"), params)
        return Chain(tuple(cast(Layer, made_map(layer, part)) for layer, part in layers), **configuration)
    if cls is Inverse:
        return Inverse(made_map(configuration.pop("of"), params), **configuration)
    found = {key: made(value, {}) for key, value in configuration.items()}
    if PARAMS in {f.name for f in fields(cls)}:
        found[PARAMS] = dict(params)
    elif params:
        raise ValueError(f"parameters {sorted(params)} of {name}, expected none")
    return cls(**found)


def made_map(record: Any, params: Mapping[str, Array]) -> Map:
    """What a record is of, if that is a map: anything else would lose its parameters."""
    found: Any = made(record, params)
    if not (hasattr(found, "forward") and hasattr(found, "inverse")):
        raise TypeError(f"the map {found!r:.40}")
    return cast(Map, found)


def layered(listed: Any, params: Mapping[str, Array]) -> list[tuple[Any, Params]]:
    """The records of layers, each with its own parameters."""
    if not isinstance(listed, list):
        raise TypeError(f"the layers {listed!r:.40}, expected a list")
    return list(zip(listed, parted(params, len(listed)), strict=True))


class KindError(ValueError):
    """A file of another kind of model, as good as new."""


def check_kind(path: str | os.PathLike[str], found: Mapping[str, Any], kind: str) -> None:
    """Raises `KindError` unless the file holds models of this kind."""
    if found.get("kind") != kind:
        raise KindError(f"{path}: got a file of kind {found.get('kind')!r}, expected {kind!r}")


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Whatever goes wrong with a record ends as a `ValueError` that names the file, and ``what`` it should be of."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        deep, large = isinstance(error, RecursionError), isinstance(error, MemoryError | OverflowError)
        found = "too many levels" if deep else f"too large numbers ({error})" if large else str(error)
        found = f"no {error}" if isinstance(error, KeyError) else found
        raise ValueError(f"{path}: got a record of {what} with {found}") from error
