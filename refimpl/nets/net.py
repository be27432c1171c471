"""What a net is: its configuration, its outputs, its parameters at the start, and the checks of what it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer

Array = NDArray[np.float64]
Params = dict[str, Array]

KINDS = ("scalars", "dense", "conv", "stencil")
# Variance of the weights times fan-in: 2 where half of the units are silent (He 2015), 1 otherwise (Glorot 2010).
GAINS = {"relu": 2.0, "leaky_relu": 2.0, "elu": 2.0, "softplus": 2.0, "swish": 2.0, "silu": 2.0, "tanh": 1.0}
RESERVED = ("bias", "time")


class Outputs(NamedTuple):
    """Scale ``s``, translation ``t`` and force or momentum scale ``q``; None where the net has no such output."""

    s: Any
    t: Any
    q: Any


@dataclass(frozen=True)
class Net:
    """Configuration of the net of one update of the generalized leapfrog (Foreman 2020, sec. 7, App. A, AI7, AI8).

    The ladder, from nothing to much:

    - ``"scalars"``: one number for each output, whatever the field.
    - ``"dense"``: ``h = act(sum_name x_name W_name + tau W_time + b)`` (27)-(30), hidden layers ``act(h W + b)`` (31) of
      sizes ``units``, heads (32)-(34). With ``rank`` above 0 every weight matrix is a product of two factors of at most
      that rank (AI7).
    - ``"conv"``: periodic convolutions with ``filters`` channels and a kernel of ``kernel_size`` sites a side (App. A,
      without pooling), then, with ``units``, the dense layers and heads, or, with none, heads on each site: the latter
      is translation equivariant and runs on any lattice. ``batch_norm`` normalises the last convolution's output by
      frozen statistics, which are parameters: the statistics of a batch would couple the chains.
    - ``"stencil"``: as conv with ``act(conv(x) + U (V x) + b)`` for every layer, ``U V`` of rank ``rank`` (AI8).

    ``outputs`` holds the letters of the outputs that exist. Heads: ``s = scale tanh(.)``, ``q = scale tanh(.)`` and
    ``t`` linear; ``scale`` is trained, one per output entry or, for heads on sites, one per output channel.
    ``tau`` is the time encoding, an extra term of the first layer's bias.

    Raises `ValueError` for an unknown kind, activation or output letter, sizes below 1, an even kernel, and for options
    the kind does not have.
    """

    kind: str
    units: tuple[int, ...] = ()
    activation: str = "relu"
    outputs: str = "stq"
    filters: tuple[int, ...] = ()
    kernel_size: int = 3
    rank: int = 0
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: got {self.kind!r}, expected one of {KINDS}")
        if self.activation not in GAINS:
            raise ValueError(f"activation: got {self.activation!r}, expected one of {tuple(GAINS)}")
        letters = self.outputs
        if not isinstance(letters, str) or not letters or set(letters) - set("stq") or len(set(letters)) < len(letters):
            raise ValueError(f"outputs: got {letters!r}, expected some of the letters s, t, q, each at most once")
        for name in ("units", "filters"):
            sizes = getattr(self, name)
            if np.ndim(sizes) != 1:
                raise ValueError(f"{name}: got {sizes!r}, expected a tuple of sizes")
            object.__setattr__(self, name, tuple(check_integer(name, size, 1) for size in sizes))
        local = self.kind in ("conv", "stencil")
        wanted = {"units": self.kind == "dense" or (local and bool(self.units)), "filters": local}
        for name, expected in wanted.items():
            if bool(getattr(self, name)) != expected:
                sizes = "at least one size" if expected else "no sizes"
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {sizes} for kind {self.kind!r}")
        if check_integer("kernel_size", self.kernel_size, 1) % 2 == 0:
            raise ValueError(f"kernel_size: got {self.kernel_size}, expected an odd number of sites")
        least, most = {"dense": (0, None), "stencil": (1, None)}.get(self.kind, (0, 0))
        check_integer(f"rank of kind {self.kind!r}", self.rank, least, most)
        if self.batch_norm and not local:
            raise ValueError(f"batch_norm: got {self.batch_norm!r}, expected False for kind {self.kind!r}")


def init(
    net: Net, rng: np.random.Generator, inputs: Mapping[str, tuple[int, ...]], out_shape: tuple[int, ...], time: bool
) -> Params:
    """Parameters of one net at the start of training: the output is exactly zero, its gradient is not.

    Parameters
    ----------
    inputs : for each named input its shape without the chain axis: ``(2, T, X)`` on links, ``(T, X)`` on plaquettes,
        ``(N,)`` on a chain or a real field. Not used by kind ``"scalars"``, nor is ``out_shape``.
    out_shape : shape of each output without the chain axis. It tells the lattice of a convolution: ``(N,)``, ``(T, X)``
        or ``(channels, T, X)``; an input has that lattice, with or without a channel axis in front.
    time : whether the net gets the time encoding.

    Returns
    -------
    The flat dict of arrays. With ``n`` the size of an output, ``F`` channels, ``V`` sites, ``d`` lattice dimensions:

    ======================================= ===================================================================
    ``scalar/<o>``                          ``()``, kind ``"scalars"`` only, for each letter ``o`` of the outputs
    ``in/<name>``                           dense ``(size, units[0])``; conv ``(filters[0], channels, *kernel)``
    ``in/time``, ``in/bias``                ``(2, first)``, ``(first,)`` with ``first`` the size of the first layer
    ``conv/<i>/weight``, ``conv/<i>/bias``  ``(filters[i+1], filters[i], *kernel)``, ``(filters[i+1],)``
    ``lowrank/<i>/left``, ``.../right``     stencil, each layer i from 0: ``(channels V, rank)``, ``(rank, filters[i] V)``;
                                            channels of the first in the order of sorted input names
    ``norm/mean, variance, gain, bias``     ``(filters[-1],)``: batch_norm; mean and variance get no gradient
    ``hidden/<i>/weight``, ``.../bias``     ``(before, after)``, ``(after,)``; dense: from ``units[i]`` to ``units[i+1]``;
                                            conv: from ``filters[-1] V`` (channel-major) through all units
    ``head/<o>/weight``                     ``(units[-1], n)``; on sites ``(channels, filters[-1])`` or ``(filters[-1],)``
    ``head/<o>/bias``, ``head/<o>/scale``   ``out_shape``; on sites ``(channels,)`` or ``()``; t has no scale
    ======================================= ===================================================================

    With ``rank`` a dense net has ``<key>/left`` ``(before, r)`` and ``<key>/right`` ``(r, after)`` for every weight
    matrix but ``in/time``: ``in/<name>/left``, ``hidden/<i>/left``, ``head/<o>/left``; ``r = min(rank, before, after)``.
    """
    if net.kind == "scalars":
        return {f"scalar/{letter}": np.zeros(()) for letter in net.outputs}
    shapes = {name: _shape(f"inputs[{name!r}]", shape) for name, shape in sorted(inputs.items())}
    if not shapes:
        raise ValueError("inputs: got none, expected at least one named input")
    for name in shapes:
        if name in RESERVED or "/" in name:
            raise ValueError(f"inputs: got the name {name!r}, expected one without a slash that is not in {RESERVED}")
    out_shape = _shape("out_shape", out_shape)
    if net.kind == "dense":
        params, before = _dense_inputs(net, rng, shapes), net.units[0]
        first = net.units[0]
        after = net.units[1:]
    else:
        lattice = out_shape[-2:]
        params, before = _local_layers(net, rng, shapes, lattice), net.filters[-1] * math.prod(lattice)
        first = net.filters[0]
        after = net.units
    if time:
        params["in/time"] = rng.normal(0, math.sqrt(2 / (2 + first)), (2, first))
    params["in/bias"] = np.zeros(first)
    for i, size in enumerate(after):
        params |= _matrix(net, rng, f"hidden/{i}/weight", before, size, GAINS[net.activation])
        params[f"hidden/{i}/bias"] = np.zeros(size)
        before = size
    for letter in net.outputs:
        params |= _head(net, rng, letter, before, out_shape)
    return params


def _dense_inputs(net: Net, rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]]) -> Params:
    params: Params = {}
    total = sum(math.prod(shape) for shape in shapes.values())
    for name, shape in shapes.items():
        size = math.prod(shape)
        params |= _matrix(net, rng, f"in/{name}", size, net.units[0], GAINS[net.activation] * size / total)
    return params


def _local_layers(
    net: Net, rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]], lattice: tuple[int, ...]
) -> Params:
    kernel, params = (net.kernel_size,) * len(lattice), {}
    check_kernel(kernel, lattice)
    channels = {name: channels_of(name, shape, lattice) for name, shape in shapes.items()}
    gain = GAINS[net.activation] / (2 if net.kind == "stencil" else 1)
    sizes = [sum(channels.values()), *net.filters]
    for name, count in channels.items():
        std = math.sqrt(gain / (sizes[0] * math.prod(kernel)))
        params[f"in/{name}"] = rng.normal(0, std, (net.filters[0], count, *kernel))
    for i, (before, after) in enumerate(zip(net.filters, net.filters[1:], strict=False)):
        std = math.sqrt(gain / (before * math.prod(kernel)))
        params[f"conv/{i}/weight"] = rng.normal(0, std, (after, before, *kernel))
        params[f"conv/{i}/bias"] = np.zeros(after)
    if net.kind == "stencil":
        sites = math.prod(lattice)
        for i, (before, after) in enumerate(zip(sizes, net.filters, strict=False)):
            params[f"lowrank/{i}/left"] = rng.normal(0, math.sqrt(1 / (before * sites)), (before * sites, net.rank))
            params[f"lowrank/{i}/right"] = rng.normal(0, math.sqrt(gain / net.rank), (net.rank, after * sites))
    if net.batch_norm:
        for key, value in {"mean": 0.0, "variance": 1.0, "gain": 1.0, "bias": 0.0}.items():
            params[f"norm/{key}"] = np.full(net.filters[-1], value)
    return params


def _matrix(net: Net, rng: np.random.Generator, key: str, before: int, after: int, gain: float) -> Params:
    """Weights ``(before, after)`` of variance ``gain / before``, as two factors where the net has a rank."""
    if not net.rank or net.kind != "dense":
        return {key: rng.normal(0, math.sqrt(gain / before), (before, after))}
    rank = min(net.rank, before, after)
    base = key.removesuffix("/weight")
    return {
        f"{base}/left": rng.normal(0, math.sqrt(1 / before), (before, rank)),
        f"{base}/right": rng.normal(0, math.sqrt(gain / rank), (rank, after)),
    }


def _head(net: Net, rng: np.random.Generator, letter: str, before: int, out_shape: tuple[int, ...]) -> Params:
    if net.units:
        shape, params = out_shape, _matrix(net, rng, f"head/{letter}/weight", before, math.prod(out_shape), 1.0)
    else:
        shape, features = out_shape[:-2], net.filters[-1]
        params = {f"head/{letter}/weight": rng.normal(0, math.sqrt(1 / features), (*shape, features))}
    params[f"head/{letter}/bias"] = np.zeros(shape)
    if letter == "t":
        params[next(key for key in params if key.endswith(("/weight", "/right")))][...] = 0
    else:
        params[f"head/{letter}/scale"] = np.zeros(shape)
    return params


def _shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if np.ndim(shape) != 1 or not 1 <= len(shape) <= 3:
        raise ValueError(f"{name}: got {shape!r}, expected a shape of one to three extents, without the chain axis")
    return tuple(check_integer(name, extent, 1) for extent in shape)


def check_kernel(kernel: tuple[int, ...], lattice: tuple[int, ...]) -> None:
    """Raises `ValueError` where a kernel reaches around the lattice more than once."""
    if any(size // 2 > extent for size, extent in zip(kernel, lattice, strict=True)):
        raise ValueError(f"kernel_size: got {kernel[0]}, expected at most {2 * min(lattice) + 1} on lattice {lattice}")


def channels_of(name: str, shape: tuple[int, ...], lattice: tuple[int, ...]) -> int:
    """Channels of an input of that shape on that lattice; raises `ValueError` where the lattice is another one."""
    if shape == lattice:
        return 1
    if shape[1:] == lattice:
        return shape[0]
    raise ValueError(
        f"inputs[{name!r}]: got shape {shape}, expected {lattice} or (channels, {', '.join(map(str, lattice))})"
    )


def input_names(params: Mapping[str, Array]) -> list[str]:
    """Names of the inputs that the parameters are for, sorted."""
    found = {key.split("/")[1] for key in params if key.startswith("in/")}
    return sorted(found.difference(RESERVED))


def checked_inputs(
    params: Mapping[str, Array], inputs: Mapping[str, Array], time: Array | None
) -> tuple[dict[str, Array], Array | None]:
    """The inputs as float64 arrays of one number of chains, in sorted order, and the time encoding.

    Raises `ValueError` where an input is missing or unknown, is not a real array with a chain axis, or where the time
    encoding is missing, given to a net without one, or not of shape ``(2,)``.
    """
    names = input_names(params)
    if sorted(inputs) != names:
        raise ValueError(f"inputs: got {sorted(inputs)}, expected {names}")
    arrays = {name: np.asarray(inputs[name]) for name in names}
    n_chains = {array.shape[:1] for array in arrays.values()}
    if len(n_chains) != 1 or min(n_chains) in {(), (0,)}:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(
            f"inputs: got shapes {shapes}, expected one number of chains, at least 1, along the first axis"
        )
    for name, array in arrays.items():
        if array.dtype != np.float64:
            raise ValueError(f"inputs[{name!r}]: got dtype {array.dtype}, expected float64")
    if (time is None) == ("in/time" in params):
        raise ValueError(f"time: got {time!r}, expected {'(cos, sin) of the time' if time is None else 'None'}")
    if time is not None:
        time = np.asarray(time, dtype=np.float64)
        if time.shape != (2,):
            raise ValueError(f"time: got shape {time.shape}, expected (2,)")
    return arrays, time
