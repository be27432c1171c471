"""Affine coupling layers of real fields on checkerboards: RealNVP for phi^4 (Albergo 2019, arXiv:1904.12072; 2101.08176).

A layer of parity p moves the sites with ``(t + x) mod 2 = p``, the active ones, as a net tells that sees the others. With m = 1
on the frozen sites and 0 on the active ones

    phi' = m phi + (1 - m) (phi exp(s) + t),    (s, t) = net(m phi),    logdet = sum (1 - m) s.

The net is a periodic convolution, so a layer commutes with translations by an even number of sites. With ``odd`` it also
commutes with ``phi -> -phi``, for twice the price: s is the even part of the net's first output, t the odd part of its second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_flag, check_integer, check_scalars, check_shape, parity_mask, site_sum
from ..nets import convolution
from ..nets.convolution import ConvNet
from .base import Chain, Params, Pull, check_params

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sites = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class AffineCoupling:
    """One layer, of fields ``(chain, T, X)`` on any lattice of even extents.

    Parameters
    ----------
    parity : 0 or 1, of ``t + x`` of the active sites. net : from one channel to two, s and t.
    odd : whether the layer is an odd function of the field. params : of the net.
    """

    parity: int
    net: ConvNet
    odd: bool = False
    params: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_integer("parity", self.parity, 0, 1)
        check_flag("odd", self.odd)
        if (ends := (self.net.channels[0], self.net.channels[-1])) != (1, 2):
            raise ValueError(f"net: got {ends[0]} channels in and {ends[1]} out, expected 1 and 2")
        check_params(self.params, self.net.shapes())

    @classmethod
    def init(cls, rng: np.random.Generator, parity: int, net: ConvNet, *, odd: bool = False, last: float = 1.0) -> Self:
        """A layer with random weights, those of the last convolution times ``last``."""
        return cls(parity, net, odd, convolution.init(net, rng, last))

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer with other weights."""
        return replace(self, params=params)

    def forward(self, x: Array) -> tuple[Array, Array]:
        """``phi exp(s) + t`` on the active sites, and ``sum s``."""
        rows, sites, s, t, _ = self._numbers(x)
        rows[sites] = rows[sites] * np.exp(s) + t
        return _field(rows, np.shape(x)), site_sum(s.T)

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """``(phi' - t) exp(-s)`` on the active sites, and ``-sum s``."""
        rows, sites, s, t, _ = self._numbers(y)
        rows[sites] = (rows[sites] - t) * np.exp(-s)
        return _field(rows, np.shape(y)), -site_sum(s.T)

    def forward_with_pullback(self, x: Array) -> tuple[Array, Array, Pull]:
        """As `forward`, and the pullback."""
        rows, sites, s, t, cache = self._numbers(x)
        scale = np.exp(s)
        scaled = rows[sites] * scale
        rows[sites] = scaled + t

        def pull(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            g_rows = _rows(g_y)
            g_t = g_rows[sites]
            g_s = g_t * scaled + g_logdet
            g_rows[sites] = g_t * scale
            grads, g_seen = convolution.pullback(self.net, self.params, cache, self._parts(g_s, g_t))
            g_frozen = _rows(g_seen[:, 0])
            if self.odd:
                g_frozen = g_frozen[:, : len(x)] - g_frozen[:, len(x) :]
            g_frozen[sites] = 0
            g_rows += g_frozen
            return _field(g_rows, np.shape(x)), grads

        return _field(rows, np.shape(x)), site_sum(s.T), pull

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        """The layer as in the papers, traceable by autograd in ``params`` and ``x``."""
        import autograd.numpy as anp

        m = 1.0 - parity_mask(x.shape[1:], self.parity)
        out = convolution.definition(self.net, params, (m * x)[:, None])
        s, t = out[:, 0], out[:, 1]
        if self.odd:
            mirrored = convolution.definition(self.net, params, (-m * x)[:, None])
            s, t = (s + mirrored[:, 0]) / 2, (t - mirrored[:, 1]) / 2
        return m * x + (1 - m) * (x * anp.exp(s) + t), anp.sum((1 - m) * s, axis=(1, 2))

    def _numbers(self, x: Array) -> tuple[Array, Sites, Array, Array, Any]:
        """A copy of the field ``(V, chain)``, its active sites, s and t there, and what the pullback of the net needs."""
        x = check_scalars(x)
        active, sites = _checkerboard(check_shape(x.shape[1:], even=True), self.parity)
        rows = _rows(x)
        frozen = rows.copy()
        frozen[sites] = 0
        seen = np.concatenate([frozen, -frozen], axis=1) if self.odd else frozen
        seen = _field(seen, (-1, *x.shape[1:]))
        out, cache = convolution.apply(self.net, self.params, seen[:, None], active)
        s, t = out.transpose(1, 2, 0)
        if self.odd:
            n = len(x)
            s, t = (s[:, :n] + s[:, n:]) / 2, (t[:, :n] - t[:, n:]) / 2
        return rows, sites, s, t, cache

    def _parts(self, g_s: Array, g_t: Array) -> Array:
        """Cotangents of the net's output from those of s and t, ``(site, chain)``."""
        parts = (
            [np.concatenate([g_s, g_s], axis=1) / 2, np.concatenate([g_t, -g_t], axis=1) / 2]
            if self.odd
            else [g_s, g_t]
        )
        return np.stack(parts).transpose(2, 0, 1)


def affine_chain(
    rng: np.random.Generator,
    n_layers: int = 16,
    hidden: Sequence[int] = (8, 8),
    *,
    kernel_size: int | tuple[int, ...] = 3,
    activation: str = "leaky_relu",
    final: str | None = "tanh",
    odd: bool = False,
    last: float = 1.0,
) -> Chain:
    """Layers of alternating parity, from 0, with ``hidden`` channels between the convolutions.

    The defaults are the model of the tutorial, arXiv:2101.08176.
    """
    check_integer("n_layers", n_layers, 1)
    net = ConvNet((1, *hidden, 2), kernel_size, 1, activation, final)
    return Chain(tuple(AffineCoupling.init(rng, i % 2, net, odd=odd, last=last) for i in range(n_layers)))


def _rows(x: Array) -> Array:
    """A copy ``(V, chain)`` of fields ``(chain, T, X)``: sites by rows are taken and put in whole rows."""
    rows = np.empty((x[0].size, len(x)))
    rows.reshape(*x.shape[1:], -1)[...] = x.transpose(1, 2, 0)
    return rows


def _field(rows: Array, shape: tuple[int, ...]) -> Array:
    """Fields of the shape ``(chain, T, X)`` from their `_rows`, a view."""
    return rows.reshape(*shape[1:], -1).transpose(2, 0, 1)


@lru_cache
def _checkerboard(shape: tuple[int, int], parity: int) -> tuple[Mask, Sites]:
    """The active sites as a mask and as numbers."""
    active = parity_mask(shape, parity)
    return active, np.flatnonzero(active)
