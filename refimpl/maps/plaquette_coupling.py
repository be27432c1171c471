"""Gauge equivariant coupling layers of U(1): plaquettes are moved by maps of the circle, and links follow.

One link of every active plaquette is active (`refimpl.maps.stripes`), and with ``P' = g(P)`` it becomes (Kanwar 2020,
arXiv:2003.06413, eqs. 13, 16)

    theta_0' = theta_0 + (P' - P)   or   theta_1' = theta_1 - (P' - P),      logdet = sum_active log g'(P).

The numbers of g come from a periodic convolution over what contains no active link: angles a of frozen plaquettes and loops of
two plaquettes, as ``cos a``, ``sin a``, and Polyakov loops along the direction nu that no active link has. All are gauge
invariant, so the layer is gauge equivariant, and equivariant under translations that keep its masks.

With ``staples`` the map acts in the frame of the staples. The loop ``W`` around the active plaquette P and the passive one, on the
other side of the link, does not contain the link, whose density at fixed W is in pure gauge theory

    exp(beta (cos P + cos(W - P))) = exp(2 beta cos(W/2) cos(P - W/2)):

centred at W/2, which a net that sees cos W and sin W would have to make itself. So ``q = P - a W``, W in [-pi, pi) and a one more
output of the net, 1/2 at the start, and ``P' - P = g(q) - q``. The logdet is as before, as W and a do not depend on the link. At
W = pi, where W is cut, that density is flat; what the first layers see is another one, and there every second W is nearer to pi
than to 0. From uniform links it trains worse: U(1), 8 x 8, beta = 2, 24 layers had after 250 steps a loss 2.2 above -log Z,
against 0.7 without staples (0.9 with a = 0 at the start). For the Schwinger model from pure gauge theory there was no difference.
So it is not the default here. It helps for SU(2), see `refimpl.maps.frames`, whose W is rarely far from 1 even then.

Moves of plaquettes never change Polyakov loops but by plaquettes: see `refimpl.maps.holonomy` for what that means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..groups import sincos, wrap
from ..lattice import (
    chain_last,
    check_flag,
    check_integer,
    check_links,
    gradient_program,
    plaquette_angles,
    run,
    site_sum,
)
from ..nets import convolution
from ..nets.convolution import ConvNet
from . import stripes
from .base import Chain, Params, Pull, check_params
from .frames import passive_sites
from .projections import ProjectionMixture
from .splines import CircularSpline

Array = NDArray[np.float64]
Circle = CircularSpline | ProjectionMixture

LOOPS = ("none", "across", "all")
# Of the circle maps where nothing else is said: 8 bins, none of them empty or flat, the identity where the net says 0.
SPLINE = CircularSpline(8, min_width=1e-3, min_height=1e-3, min_slope=1e-3, centred=True)
EXPONENT = 0.5  # of the loop W, at the start


class Context(NamedTuple):
    """Links with chains fastest in memory, what the circle map moves, ``(site, chain)``, and by which numbers ``(outputs, site,
    chain)``, exponents and loops W, 0 without ``staples``, channels ``(channel, T, X, chain)`` of the net and its cache."""

    links: Array
    old: Array
    raw: Array
    exponent: Array
    around: Array
    inputs: Array
    cache: Any


@dataclass(frozen=True, eq=False)
class PlaquetteCoupling:
    """One layer, of links ``(chain, 2, T, X)`` in [-pi, pi).

    Channels of the net, in this order: ``cos P, sin P``; then ``cos W_0, cos W_1, sin W_0, sin W_1``, ``W_rho`` the loop of the
    plaquettes n and ``n + rho^``; then ``cos L, sin L``, L the Polyakov loop along nu through n. Angles that contain an active
    link are put to 0, and channels of loops in which nothing is left are left out.

    Parameters
    ----------
    shape : ``(T, X)``, multiples of 4. index : of the layer in its pattern, see `refimpl.maps.stripes`.
    pattern : "stripes" or "tiles". circle : the map of active plaquettes.
    net : `n_channels` inputs, ``circle.outputs`` outputs, and one more, the exponent a, with ``staples``.
    loops : "none", "all" that contain no active link, or those of frozen plaquettes "across", n and ``n + nu^``, with the other
        ``W`` as a channel of angle 0: the inputs of the public code of arXiv:2202.11712.
    polyakov : with the Polyakov loops.
    masked_values : masked sites feed (0, 0), not the cosine and sine of 0.
    staples : see above. Without, or where a is 0, the layer is that of the papers.
    """

    shape: tuple[int, int]
    index: int
    pattern: str
    circle: Circle
    net: ConvNet
    loops: str = "all"
    polyakov: bool = True
    masked_values: bool = False
    staples: bool = False
    params: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", stripes.check_pattern(self.pattern, self.shape))
        check_integer("index", self.index, 0)
        if not isinstance(self.circle, CircularSpline | ProjectionMixture):
            raise ValueError(f"circle: got {self.circle!r}, expected a CircularSpline or a ProjectionMixture")
        check_flag("masked_values", self.masked_values)
        check_flag("staples", self.staples)
        inputs = n_channels(self.shape, self.index, self.pattern, self.loops, self.polyakov)
        expected = (inputs, self.circle.outputs + self.staples)
        if (got := (self.net.channels[0], self.net.channels[-1])) != expected:
            raise ValueError(f"net: got {got} channels in and out, expected {expected}")
        check_params(self.params, self.net.shapes())

    @classmethod
    def init(
        cls,
        rng: np.random.Generator,
        shape: tuple[int, int],
        index: int,
        *,
        pattern: str = "stripes",
        circle: Circle = SPLINE,
        hidden: tuple[int, ...] = (16,),
        kernel_size: int | tuple[int, ...] = 3,
        dilations: int | tuple[int, ...] = 1,
        activation: str = "leaky_relu",
        loops: str = "all",
        polyakov: bool = True,
        masked_values: bool = False,
        staples: bool = False,
        last: float = 1.0,
    ) -> Self:
        """A layer with random weights, those of the last convolution times ``last``; ``hidden`` channels between.

        Exponents begin close to `EXPONENT`.
        """
        check_flag("staples", staples)
        channels = (n_channels(shape, index, pattern, loops, polyakov), *hidden, circle.outputs + staples)
        net = ConvNet(channels, kernel_size, dilations, activation)
        params = convolution.init(net, rng, last)
        if staples:
            params[f"bias/{net.n_layers - 1}"][-1] += EXPONENT
        return cls(shape, index, pattern, circle, net, loops, polyakov, masked_values, staples, params)

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer with other weights."""
        return replace(self, params=params)

    @property
    def masks(self) -> stripes.Masks:
        """What is active, passive and frozen."""
        return stripes.masks(self.pattern, self.index, self.shape)

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Links and ``logdet``."""
        x, old, raw = self._context(x)[:3]
        new, log_slopes = self.circle.forward(old, raw)
        return self._moved(x, new - old), site_sum(log_slopes.T)

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """Links and the logdet of the inverse; the frozen loops are the same."""
        y, new, raw = self._context(y)[:3]
        old, log_slopes = self.circle.inverse(new, raw)
        return self._moved(y, old - new), site_sum(log_slopes.T)

    def forward_with_pullback(self, x: Array) -> tuple[Array, Array, Pull]:
        """As `forward`, and the pullback."""
        masks = self.masks
        x, old, raw, exponent, around, inputs, cache = self._context(x)
        new, log_slopes, pull_circle = self.circle.forward_with_pullback(old, raw)

        def pull(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            g_x = _chain_fastest(g_y).copy(order="K")
            g_move = _sign(masks) * _rows(g_x[:, masks.mu])[masks.active]
            g_old, g_raw = pull_circle(g_move, np.broadcast_to(g_logdet, old.shape))
            g_old = g_old - g_move
            g_out = np.concatenate([g_raw, [-g_old * around]]) if self.staples else g_raw
            grads, g_inputs = convolution.pullback(self.net, self.params, cache, g_out.transpose(2, 0, 1))
            g_angles = self._inputs_pullback(inputs, g_inputs.transpose(1, 2, 3, 0), g_x)
            g_angles[masks.active] += g_old * (1 - exponent)
            if self.staples:
                g_angles[passive_sites(masks)] -= g_old * exponent
            np.negative(g_angles, g_angles)
            run(gradient_program(g_angles.transpose(2, 0, 1), g_x))
            return g_x, grads

        return self._moved(x, new - old), site_sum(log_slopes.T), pull

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        """The layer as in the papers, traceable by autograd in ``params`` and ``x``; angles are not wrapped."""
        import autograd.numpy as anp

        masks = self.masks
        loop = anp.roll
        angles = x[:, 0] + loop(x[:, 1], -1, 1) - loop(x[:, 0], -1, 2) - x[:, 1]
        out = convolution.definition(self.net, params, self._inputs_definition(angles, x))
        raw = anp.transpose(out, (1, 0, 2, 3))
        old = angles
        if self.staples:
            around = angles + loop(angles, 1, 2 - masks.mu)
            old = angles - raw[-1] * (anp.mod(around + np.pi, 2 * np.pi) - np.pi)
        new, log_slopes = self.circle.definition(old, raw[: self.circle.outputs])
        move = anp.where(masks.active, new - old, 0.0)
        direction = np.zeros((2, 1, 1))
        direction[masks.mu] = _sign(masks)
        return x + move[:, None] * direction, anp.sum(anp.where(masks.active, log_slopes, 0.0), axis=(1, 2))

    def _inputs_definition(self, angles: Any, x: Any) -> Any:
        import autograd.numpy as anp

        masks = self.masks
        nu = 1 - masks.mu
        cosines, sines = [], []
        for rho, mask in self._channels():
            whole = angles if rho is None else angles + anp.roll(angles, -1, axis=1 + rho)
            cosine, sine = anp.cos(mask * whole), anp.sin(mask * whole)
            cosines.append(mask * cosine if self.masked_values else cosine)
            sines.append(mask * sine if self.masked_values else sine)
        channels = [cosines[0], sines[0], *cosines[1:], *sines[1:]]
        if self.polyakov:
            line = anp.sum(x[:, nu], axis=1 + nu, keepdims=True) * np.ones(self.shape)
            channels += [anp.cos(line), anp.sin(line)]
        return anp.stack(channels, axis=1)

    def _channels(self) -> list[tuple[int | None, NDArray[np.bool_]]]:
        """Which angles the net sees, None for plaquettes or the direction of loops of two, and where."""
        masks = self.masks
        return [(None, masks.frozen), *loop_masks(masks, self.loops)]

    def _context(self, x: Array) -> Context:
        """Everything that the circle map needs."""
        x = check_links(x)
        if x.shape[2:] != self.shape:
            raise ValueError(f"x: got links of shape {x.shape[1:]}, expected {(2, *self.shape)}")
        x = _chain_fastest(x)
        angles = _rows(plaquette_angles(x))
        inputs = self._inputs(angles, x)
        out, cache = convolution.apply(self.net, self.params, inputs.transpose(3, 0, 1, 2), self.masks.active)
        raw = np.ascontiguousarray(out.transpose(1, 2, 0))
        old, exponent, around = angles[self.masks.active], np.zeros(()), np.zeros(())
        if self.staples:
            raw, exponent = raw[:-1], raw[-1]
            around = wrap(old + angles[passive_sites(self.masks)])
            old = old - exponent * around
        return Context(x, old, raw, exponent, around, inputs, cache)

    def _inputs(self, angles: Array, x: Array) -> Array:
        """Channels ``(channel, T, X, chain)`` of the net."""
        channels = self._channels()
        n_all = self.net.channels[0] // 2
        stacked = np.empty((n_all, *angles.shape))
        for out, (rho, mask) in zip(stacked, channels, strict=False):
            whole = angles if rho is None else angles + np.roll(angles, -1, axis=rho)
            np.multiply(whole, mask[:, :, None], out=out)
        if self.polyakov:
            nu = 1 - self.masks.mu
            stacked[-1] = _line(_rows(x[:, nu]), nu)
        inputs = np.empty((2 * n_all, *angles.shape))
        cosines, sines = _order(len(channels), n_all)
        inputs[sines], inputs[cosines] = sincos(stacked, "tan")
        if self.masked_values:
            for i, (_, mask) in enumerate(channels):
                for part in (cosines[i], sines[i]):
                    inputs[part] *= mask[:, :, None]
        return inputs

    def _inputs_pullback(self, inputs: Array, g_inputs: Array, g_x: Array) -> Array:
        """The cotangent ``(T, X, chain)`` of the plaquettes; that of the links in Polyakov loops is added to ``g_x``."""
        channels, n_all = self._channels(), self.net.channels[0] // 2
        pairs = list(zip(*_order(len(channels), n_all), strict=True))
        g_angles = np.zeros(inputs.shape[1:])
        for (cosine, sine), (rho, mask) in zip(pairs, channels, strict=False):
            g_whole = (g_inputs[sine] * inputs[cosine] - g_inputs[cosine] * inputs[sine]) * mask[:, :, None]
            g_angles += g_whole
            if rho is not None:
                g_angles += np.roll(g_whole, 1, axis=rho)
        if self.polyakov:
            nu, (cosine, sine) = 1 - self.masks.mu, pairs[-1]
            line = _line(g_inputs[sine] * inputs[cosine] - g_inputs[cosine] * inputs[sine], nu)
            links = _rows(g_x[:, nu])
            links += line
        return g_angles

    def _moved(self, x: Array, move: Array) -> Array:
        """Links after the active plaquettes ``(site, chain)`` have moved."""
        masks = self.masks
        y = x.copy(order="K")
        links = _rows(y[:, masks.mu])
        links[masks.active] = wrap(links[masks.active] + _sign(masks) * move)
        return y


def n_channels(shape: tuple[int, int], index: int, pattern: str, loops: str, polyakov: bool) -> int:
    """Channels that the net of a layer sees."""
    check_flag("polyakov", polyakov)
    masks = stripes.masks(pattern, index, stripes.check_pattern(pattern, shape))
    return 2 * (1 + len(loop_masks(masks, loops)) + polyakov)


def loop_masks(masks: stripes.Masks, loops: str) -> list[tuple[int, NDArray[np.bool_]]]:
    """Directions of the loops of two plaquettes that the net sees, and where."""
    if loops not in LOOPS:
        raise ValueError(f"loops: got {loops!r}, expected one of {LOOPS}")
    if loops == "none":
        return []
    if loops == "across":
        nu = 1 - masks.mu
        both = masks.frozen & np.roll(masks.frozen, -1, axis=nu)
        return [(rho, both if rho == nu else np.zeros_like(both)) for rho in (0, 1)]
    return [(rho, mask) for rho, mask in enumerate(masks.loops) if mask.any()]


def gauge_chain(rng: np.random.Generator, shape: tuple[int, int], n_layers: int, **options: Any) -> Chain:
    """Coupling layers 0, ..., n_layers - 1 of a pattern; ``options`` are those of `PlaquetteCoupling.init`."""
    check_integer("n_layers", n_layers, 1)
    return Chain(tuple(PlaquetteCoupling.init(rng, shape, index, **options) for index in range(n_layers)))


def _order(n: int, n_all: int) -> tuple[list[int], list[int]]:
    """Channels of the cosines and of the sines of n_all angles: plaquettes, n - 1 kinds of loops, Polyakov loops."""
    cosines = [0, *range(2, n + 1), *range(2 * n, 2 * n_all, 2)]
    sines = [1, *range(n + 1, 2 * n), *range(2 * n + 1, 2 * n_all, 2)]
    return cosines, sines


def _sign(masks: stripes.Masks) -> int:
    """Of the active link in its plaquette."""
    return 1 if masks.mu == 0 else -1


def _chain_fastest(x: Array) -> Array:
    """``x``, or a copy whose chains are fastest in memory."""
    if x.transpose(1, 2, 3, 0).flags.c_contiguous:
        return x
    out = chain_last(*x.shape)
    out[...] = x
    return out


def _rows(field: Array) -> Array:
    """A view ``(T, X, chain)``."""
    return field.transpose(1, 2, 0)


def _line(rows: Array, nu: int) -> Array:
    """Sums ``(T, X, chain)`` along nu in a fixed order, at every site of the line."""
    slices = np.moveaxis(rows, nu, 0)
    total = slices[0].copy()
    for part in slices[1:]:
        total += part
    return np.broadcast_to(np.expand_dims(total, nu), rows.shape)
