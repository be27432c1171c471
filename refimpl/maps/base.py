"""Maps of fields with exact inverses and log-determinants: what a layer owes, and how layers are composed.

A *layer* is a frozen dataclass: its configuration, and a flat dict ``params`` of float64 arrays, empty where nothing is trained.
``forward`` returns ``(y, log |det dy/dx|)``, ``inverse`` the input and the log-determinant of the inverse direction. Densities
move along: ``log q(y) = log r(x) - logdet``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Field = NDArray[Any]  # of real numbers, or of matrices
Params = dict[str, Array]
# Cotangents of y and logdet -> cotangent of x, and the gradient of every parameter, summed over chains. The cotangent of links
# of SU(N) has components along the generators, as forces have.
Pull = Callable[[Array, Array], tuple[Array, Params]]


class Map(Protocol):
    """A bijection of fields whose first axis is the chain; logdets have shape ``(chain,)``."""

    def forward(self, x: Field) -> tuple[Field, Array]: ...
    def inverse(self, y: Field) -> tuple[Field, Array]: ...


class Layer(Map, Protocol):
    """A `Map` with parameters and a reverse mode; ``definition`` is the same as written on paper, for autograd."""

    @property
    def params(self) -> Mapping[str, Array]: ...
    def forward_with_pullback(self, x: Field) -> tuple[Field, Array, Pull]: ...
    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]: ...
    def with_params(self, params: Mapping[str, Array]) -> Self: ...


@dataclass(frozen=True)
class Chain:
    """Layers one after the other, ``layers[0]`` first; the key of a parameter is ``<number of the layer>/<its key>``."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for i, layer in enumerate(self.layers):
            check_map(f"layers[{i}]", layer)

    @property
    def params(self) -> Params:
        """The parameters of all layers, the arrays themselves."""
        return {f"{i}/{key}": value for i, layer in enumerate(self.layers) for key, value in layer.params.items()}

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layers with other parameters; raises `ValueError` unless there are exactly those of the layers."""
        parts = parted(params, len(self.layers))
        return replace(
            self, layers=tuple(layer.with_params(part) for layer, part in zip(self.layers, parts, strict=True))
        )

    def forward(self, x: Field) -> tuple[Field, Array]:
        """``layers[-1](... layers[0](x))`` and the sum of the logdets."""
        logdet = np.zeros(len(x))
        for layer in self.layers:
            x, own = layer.forward(x)
            logdet = logdet + own
        return x, logdet

    def inverse(self, y: Field) -> tuple[Field, Array]:
        """The inverses from the last to the first."""
        logdet = np.zeros(len(y))
        for layer in reversed(self.layers):
            y, own = layer.inverse(y)
            logdet = logdet + own
        return y, logdet

    def forward_with_pullback(self, x: Field) -> tuple[Field, Array, Pull]:
        """As `forward`, and the pullback."""
        logdet, pulls = np.zeros(len(x)), []
        for layer in self.layers:
            x, own, pull = layer.forward_with_pullback(x)
            logdet = logdet + own
            pulls.append(pull)

        def pull_all(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            grads: dict[int, Params] = {}
            for i in range(len(pulls) - 1, -1, -1):
                g_y, grads[i] = pulls[i](g_y, g_logdet)
            return g_y, {f"{i}/{key}": grads[i][key] for i in range(len(pulls)) for key in grads[i]}

        return x, logdet, pull_all

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        """The layers as written on paper, traceable by autograd."""
        logdet = np.zeros(len(x))
        for layer, part in zip(self.layers, parted(params, len(self.layers)), strict=True):
            x, own = layer.definition(part, x)
            logdet = logdet + own
        return x, logdet


@dataclass(frozen=True)
class Inverse:
    """A map the other way round; it has the parameters of the map, and no pullback."""

    of: Map

    def __post_init__(self) -> None:
        check_map("of", self.of)

    @property
    def params(self) -> Params:
        return dict(getattr(self.of, "params", {}))

    def forward(self, x: Field) -> tuple[Field, Array]:
        return self.of.inverse(x)

    def inverse(self, y: Field) -> tuple[Field, Array]:
        return self.of.forward(y)


def check_map(name: str, value: object) -> None:
    """Raises `TypeError` naming the argument unless it has ``forward`` and ``inverse``."""
    if isinstance(value, type) or not (hasattr(value, "forward") and hasattr(value, "inverse")):
        raise TypeError(f"{name}: got {value!r:.60}, expected a map, with forward and inverse")


def check_params(params: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises `ValueError` unless there are float64 arrays of exactly these keys and shapes: weights of another architecture."""
    if extra := sorted(set(params) ^ set(shapes)):
        raise ValueError(f"params: got keys {sorted(params)}, expected {sorted(shapes)} (they differ in {extra[0]!r})")
    for key, shape in shapes.items():
        array = params[key]
        if getattr(array, "dtype", None) != np.float64 or array.shape != shape:
            got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else repr(array)
            raise ValueError(f"params[{key!r}]: got {got}, expected float64 of shape {shape}")


def parted(params: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """The parameters of each of n layers under their own keys."""
    parts: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, value in params.items():
        number, _, own = key.partition("/")
        if not number.isdecimal() or int(number) >= n or not own:
            raise ValueError(f"params: got the key {key!r}, expected <layer>/<key> with layers 0 to {n - 1}")
        parts[int(number)][own] = value
    return parts
