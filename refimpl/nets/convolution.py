"""Periodic two-dimensional convolutions, the nets of flows on the lattice.

``h_0 = x``, ``h_(l+1)[o, n] = a(b_l[o] + sum_(i, k) w_l[o, i, k] h_l[i, n + d_l (k - K_l//2)])``: a cross-correlation, as
PyTorch's ``Conv2d(..., padding_mode="circular")`` has it, whose weights it shares, with dilation ``d_l``. The activation ``a``
stands between the layers; behind the last one is nothing, a tanh or an ELU. No layer knows where on the lattice it is.

Parameters are a flat dict, for each layer ``l`` from 0: ``weight/l`` (out, in, K, K) and ``bias/l`` (out,).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer, check_number
from . import lanes
from .activations import ACTIVATIONS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Params = dict[str, Array]

FINAL = (None, "tanh", "elu")
# Where fewer than one in so many sites are asked for, the last layer is computed at these alone.
FEW = 3


@dataclass(frozen=True)
class ConvNet:
    """Configuration: ``channels`` of the input, the hidden layers and the output, such as (1, 8, 8, 2) for three layers.

    Parameters
    ----------
    channels : at least two numbers, each at least 1.
    kernel_size : odd; one number, or one a layer. dilations : at least 1; one number, or one a layer.
    activation : between layers, a key of `refimpl.nets.activations.ACTIVATIONS`. final : None, "tanh" or "elu".
    """

    channels: tuple[int, ...]
    kernel_size: int | tuple[int, ...] = 3
    dilations: int | tuple[int, ...] = 1
    activation: str = "leaky_relu"
    final: str | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.channels) != 1 or len(self.channels) < 2:
            raise ValueError(f"channels: got {self.channels!r}, expected a tuple of at least two numbers")
        object.__setattr__(self, "channels", tuple(check_integer("channels", n, 1) for n in self.channels))
        for name in ("kernel_size", "dilations"):
            value: Any = getattr(self, name)
            sizes = (value,) * self.n_layers if np.ndim(value) == 0 else tuple(value)
            if len(sizes) != self.n_layers:
                raise ValueError(
                    f"{name}: got {value!r}, expected one number, or one for each of {self.n_layers} layers"
                )
            object.__setattr__(self, name, tuple(check_integer(name, size, 1) for size in sizes))
        if even := [size for size in self.kernels if size % 2 == 0]:
            raise ValueError(f"kernel_size: got {even[0]}, expected an odd number of sites")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation: got {self.activation!r}, expected one of {tuple(ACTIVATIONS)}")
        if self.final not in FINAL:
            raise ValueError(f"final: got {self.final!r}, expected one of {FINAL}")

    @property
    def n_layers(self) -> int:
        return len(self.channels) - 1

    @property
    def kernels(self) -> tuple[int, ...]:
        """The side of each layer's kernel."""
        return tuple(np.broadcast_to(self.kernel_size, self.n_layers).tolist())

    @property
    def steps(self) -> tuple[int, ...]:
        """The dilation of each layer."""
        return tuple(np.broadcast_to(self.dilations, self.n_layers).tolist())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, by key."""
        found: dict[str, tuple[int, ...]] = {}
        for i, ((before, after), size) in enumerate(zip(itertools.pairwise(self.channels), self.kernels, strict=True)):
            found |= {f"weight/{i}": (after, before, size, size), f"bias/{i}": (after,)}
        return found


class Cache(NamedTuple):
    """What `pullback` needs: the blocks before each layer, and behind it with what the slope asks for besides."""

    chains: int
    shape: tuple[int, int]
    sites: tuple[int, ...] | None
    before: list[Array]
    behind: list[tuple[Array, Array | None]]
    seen: Array | None


def init(net: ConvNet, rng: np.random.Generator, last: float = 1.0) -> Params:
    """Weights and biases uniform in ``+-1/sqrt(K^2 C_in)``, the default of PyTorch; those of the last layer times ``last``.

    A small ``last`` starts a flow close to the identity; at 0 only the last layer has a gradient.
    """
    check_number("last", last, 0)
    params = {}
    for i, (before, size) in enumerate(zip(net.channels, net.kernels, strict=False)):
        bound = (last if i == net.n_layers - 1 else 1.0) / math.sqrt(size * size * before)
        for key in (f"weight/{i}", f"bias/{i}"):
            params[key] = rng.uniform(-bound, bound, net.shapes()[key])
    return params


def xavier_normal(net: ConvNet, rng: np.random.Generator, gain: float = 1.0) -> Params:
    """Normal weights of standard deviation ``gain sqrt(2/(fan_in + fan_out))``, fans ``K^2 C_in`` and ``K^2 C_out``; no biases.

    ``torch.nn.init.xavier_normal_`` (Glorot and Bengio 2010); biases are 0.
    """
    check_number("gain", gain, 0)
    params = {}
    for key, shape in net.shapes().items():
        if key.startswith("weight"):
            after, before, size, _ = shape
            params[key] = gain * math.sqrt(2 / (size * size * (before + after))) * rng.standard_normal(shape)
        else:
            params[key] = np.zeros(shape)
    return params


def apply(net: ConvNet, params: Mapping[str, Array], x: Array, sites: Mask | None = None) -> tuple[Array, Cache]:
    """The output, its chains fastest in memory, and what `pullback` needs; a chain has the same bits in any batch.

    Parameters
    ----------
    x : ``(chain, channels[0], T, X)``, float64, in any memory order. sites : a mask ``(T, X)``, or None for all sites.

    Returns
    -------
    ``(chain, channels[-1], T, X)``; with ``sites`` only there, ``(chain, channels[-1], n)``, in the order of
    `numpy.flatnonzero`.

    Raises `ValueError` or `TypeError` for other shapes and types. The parameters are taken as those of `init`.
    """
    x = check_input(net, x)
    chains, _, n_t, n_x = x.shape
    where = None if sites is None else _addresses(sites, (n_t, n_x))
    few = where is not None and FEW * len(where) <= n_t * n_x
    h, before, behind, seen = lanes.blocks(x), [], [], None
    for i, step in enumerate(net.steps):
        before.append(h)
        if where is not None and few and i == net.n_layers - 1:
            z, seen = lanes.correlation_at(h, n_x, params[f"weight/{i}"], step, where)
            z += params[f"bias/{i}"][:, None, None]
        else:
            z = lanes.correlation(h, n_x, params[f"weight/{i}"], step)
            z += params[f"bias/{i}"][:, None]
        name = net.activation if i < net.n_layers - 1 else net.final
        behind.append((z, None) if name is None else ACTIVATIONS[name].value(z))
        h = behind[-1][0]
    cache = Cache(chains, (n_t, n_x), where, before, behind, seen)
    if where is None:
        return lanes.fields(h, chains, n_x), cache
    return lanes.joined(h if few else lanes.at_sites(h, n_x, where), chains), cache


def pullback(net: ConvNet, params: Mapping[str, Array], cache: Cache, g: Array) -> tuple[Params, Array]:
    """Gradients of ``sum(g * output)`` with respect to every parameter, summed over chains, and to ``x``."""
    (n_t, n_x), sites, seen = cache.shape, cache.sites, cache.seen
    expected = (cache.chains, net.channels[-1], *((n_t, n_x) if sites is None else (len(sites),)))
    if np.shape(g) != expected:
        raise ValueError(f"g: got shape {np.shape(g)}, expected {expected}")
    if sites is None:
        back = lanes.blocks(g)
    else:
        back = lanes.split(g, lanes.lanes(n_x))
        back = back if seen is not None else lanes.to_sites(back, (n_t, n_x), sites)
    grads: Params = {}
    for i in reversed(range(net.n_layers)):
        name = net.activation if i < net.n_layers - 1 else net.final
        if name is not None:
            slope = ACTIVATIONS[name].slope(*cache.behind[i])
            back = np.multiply(slope, back, out=slope)
        h, weight, step = cache.before[i], params[f"weight/{i}"], net.steps[i]
        if sites is not None and seen is not None and i == net.n_layers - 1:
            grads[f"bias/{i}"] = np.add.reduce(back, axis=(0, 2, 3))
            back, grads[f"weight/{i}"] = lanes.correlation_at_pullback(h, n_x, weight, step, sites, seen, back)
        else:
            grads[f"bias/{i}"] = np.add.reduce(back, axis=(0, 1, 3))
            back, grads[f"weight/{i}"] = lanes.correlation_pullback(h, n_x, weight, step, back)
    return {key: grads[key] for key in params}, lanes.fields(back, cache.chains, n_x)


def definition(net: ConvNet, params: Mapping[str, Any], x: Any, sites: Mask | None = None) -> Any:
    """`apply` without the cache, site by site of the kernel as written, traceable by autograd."""
    import autograd.numpy as anp

    from .formulas import ACTIVATIONS, per_site

    h = x
    for i, (size, step) in enumerate(zip(net.kernels, net.steps, strict=True)):
        z: Any = 0.0
        for a, b in itertools.product(range(size), repeat=2):
            shifted = anp.roll(anp.roll(h, (size // 2 - a) * step, axis=2), (size // 2 - b) * step, axis=3)
            z = z + anp.einsum("oi,citx->cotx", params[f"weight/{i}"][:, :, a, b], shifted)
        z = z + per_site(params[f"bias/{i}"], 2)
        name = net.activation if i < net.n_layers - 1 else net.final
        h = z if name is None else ACTIVATIONS[name](z)
    return h if sites is None else h.reshape(*h.shape[:2], -1)[:, :, np.flatnonzero(sites)]


def check_input(net: ConvNet, x: Array) -> Array:
    """``x`` as the array that it is; raises `ValueError` or `TypeError` unless it is ``(chain, channels[0], T, X)``."""
    x = np.asarray(x)
    if x.dtype != np.float64:
        raise TypeError(f"x: got dtype {x.dtype}, expected float64")
    if x.ndim != 4 or x.shape[1] != net.channels[0] or 0 in x.shape:
        raise ValueError(f"x: got shape {x.shape}, expected (chain, {net.channels[0]}, T, X), none of them 0")
    return x


def _addresses(sites: Mask, shape: tuple[int, int]) -> tuple[int, ...]:
    """The sites ``t X + x`` of a mask; raises `ValueError` unless it is one of this lattice."""
    mask = np.asarray(sites)
    if mask.dtype != np.bool_ or mask.shape != shape or not mask.any():
        raise ValueError(f"sites: got {mask.dtype} of shape {mask.shape}, expected a mask of shape {shape}, not empty")
    return tuple(np.flatnonzero(mask).tolist())
