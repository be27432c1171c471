"""Gauge equivariant coupling layers of SU(N): spectra of plaquettes are moved, and links follow (Boyda 2021, arXiv:2008.05456).

One link ``U_mu(n)`` of every active plaquette is active (`refimpl.maps.stripes`). The loop L around the plaquette that begins with
it is ``P(n)`` for mu = 0 and ``P(n)^dag`` for mu = 1; with ``L' = f(L)``, f a `SpectralKernel`,

    U_mu'(n) = L' L^dag U_mu(n),      logdet = sum_active logdet f(L),

as the rest of the loop does not move and Haar measure does not see it. With ``staples`` it is ``L W^a`` that f moves, W the loop
around the link's two plaquettes, which does not contain it (`refimpl.maps.frames`): the link goes where both want it.

The numbers of f, and a, come from a periodic convolution over traces of loops that contain no active link: of frozen
plaquettes, and around two plaquettes. A gauge transformation conjugates L and W and leaves traces as they are, so the layer is
gauge equivariant, and equivariant under translations that keep its masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..groups import SUN, matrices
from ..groups.links import check_matrix_links, plaquettes
from ..groups.matrices import coordinates, dagger, hermitian, product
from ..lattice import check_flag, check_integer, site_sum
from ..nets import convolution
from ..nets.convolution import ConvNet
from . import stripes
from .base import Chain, Params, Pull, check_params
from .frames import Frame, frame, frame_pullback, passive_sites
from .loops import (
    double_loop,
    double_loop_pullback,
    plaquettes_pullback,
    reversed_pullback,
    scaled_traces,
    scaled_traces_pullback,
)
from .spectral import SpectralKernel

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]
Sites = tuple[NDArray[np.intp], NDArray[np.intp]]

# Between that of the papers, 0, which first layers want, whose staples are noise, and that of a heat bath, -1/2.
EXPONENT = -0.25


class Context(NamedTuple):
    """Of one field: links and plaquettes, component first, ``(W, A)`` of the loops seen, what the kernel moves and by which
    numbers, ``(..., site, chain)``, with the frame where there is one, and the cache of the net."""

    links: Matrices
    plaquettes: Matrices
    carried: list[tuple[Matrices, Matrices]]
    moved: Matrices
    frame: Frame | None
    raw: Array
    cache: Any


@dataclass(frozen=True, eq=False)
class SpectralCoupling:
    """One layer, of links ``(chain, 2, T, X, n, n)``.

    Channels of the net: ``Re tr P/n`` and for n > 2 ``Im tr P/n``, then with ``loops`` the same of ``W_0`` and ``W_1``, the loops
    around the plaquettes n and ``n + rho^``. Loops with an active link are put to 0, and channels with nothing left are left out.

    Parameters
    ----------
    shape : ``(T, X)``, multiples of 4. index : of the layer in its pattern, see `refimpl.maps.stripes`.
    pattern : "stripes" or "tiles". kernel : the map of the active loops.
    net : `layer_channels` inputs, ``kernel.outputs`` outputs. loops : with those around two plaquettes.
    staples : see above; the net has one more output, the exponent a. Without, or where a is 0, the layer is that of the papers.
    """

    shape: tuple[int, int]
    index: int
    pattern: str
    kernel: SpectralKernel
    net: ConvNet
    loops: bool = True
    staples: bool = True
    params: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", stripes.check_pattern(self.pattern, self.shape))
        check_integer("index", self.index, 0)
        if not isinstance(self.kernel, SpectralKernel):
            raise ValueError(f"kernel: got {self.kernel!r}, expected a SpectralKernel")
        check_flag("staples", self.staples)
        inputs = layer_channels(self.n, self.shape, self.index, self.pattern, self.loops)
        expected = (inputs, self.kernel.outputs + self.staples)
        if (got := (self.net.channels[0], self.net.channels[-1])) != expected:
            raise ValueError(f"net: got {got} channels in and out, expected {expected}")
        check_params(self.params, self.net.shapes())

    @classmethod
    def init(
        cls,
        rng: np.random.Generator,
        n: int,
        shape: tuple[int, int],
        index: int,
        *,
        pattern: str = "stripes",
        kernel: SpectralKernel | None = None,
        hidden: tuple[int, ...] = (16,),
        kernel_size: int | tuple[int, ...] = 3,
        dilations: int | tuple[int, ...] = 1,
        activation: str = "leaky_relu",
        loops: bool = True,
        staples: bool = True,
        last: float = 1.0,
    ) -> Self:
        """A layer with random weights, those of the last convolution times ``last``; ``hidden`` channels between.

        Exponents begin close to `EXPONENT`.
        """
        kernel = SpectralKernel(n) if kernel is None else kernel
        if kernel.n != n:
            raise ValueError(f"kernel: got one of n = {kernel.n}, expected n = {n}")
        check_flag("staples", staples)
        channels = (layer_channels(n, shape, index, pattern, loops), *hidden, kernel.outputs + staples)
        net = ConvNet(channels, kernel_size, dilations, activation)
        params = convolution.init(net, rng, last)
        if staples:
            params[f"bias/{net.n_layers - 1}"][-1] += EXPONENT
        return cls(shape, index, pattern, kernel, net, loops, staples, params)

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer with other weights."""
        return replace(self, params=params)

    @property
    def n(self) -> int:
        """Colours."""
        return self.kernel.n

    @property
    def masks(self) -> stripes.Masks:
        """What is active, passive and frozen."""
        return stripes.masks(self.pattern, self.index, self.shape)

    @property
    def _sites(self) -> Sites:
        """Coordinates of the active sites."""
        t, x = np.nonzero(self.masks.active)
        return t, x

    def forward(self, x: Matrices) -> tuple[Matrices, Array]:
        """Links and ``logdet``."""
        context = self._context(x)
        turn, logdets = self.kernel.forward(context.moved, context.raw)
        return self._turned(context, turn), site_sum(logdets.T)

    def inverse(self, y: Matrices) -> tuple[Matrices, Array]:
        """Links and the logdet of the inverse; the frozen loops are the same."""
        context = self._context(y)
        turn, logdets = self.kernel.inverse(context.moved, context.raw)
        return self._turned(context, turn), site_sum(logdets.T)

    def forward_with_pullback(self, x: Matrices) -> tuple[Matrices, Array, Pull]:
        """As `forward`, and the pullback."""
        context = self._context(x)
        turn, logdets, pull_kernel = self.kernel.forward_with_pullback(context.moved, context.raw)

        def pull(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            # A link moves with its loop, and where the rest of the loop moves against it.
            g = 2 * hermitian(matrices.components(np.asarray(g_y), 1), self.n)
            g_active = _at(g[:, :, self.masks.mu], self._sites)
            direct = product(product(dagger(turn), g_active), turn)
            g_loop, g_raw = pull_kernel(g_active, np.broadcast_to(g_logdet, logdets.shape))
            g_plaquettes, g_links = np.zeros_like(context.plaquettes), g
            _add_at(g_links[:, :, self.masks.mu], self._sites, direct - g_active)
            g_exponent = self._moved_pullback(context, g_loop - direct, g_plaquettes, g_links)
            g_out = np.concatenate([g_raw, *g_exponent]).transpose(2, 0, 1)
            grads, g_channels = convolution.pullback(self.net, self.params, context.cache, g_out)
            self._channels_pullback(context, g_channels.transpose(1, 2, 3, 0), g_plaquettes, g_links)
            g_links += plaquettes_pullback(context.links, context.plaquettes, g_plaquettes)
            return matrices.field(0.5 * coordinates(g_links), 1), grads

        return self._turned(context, turn), site_sum(logdets.T), pull

    def definition(self, params: Mapping[str, Any], x: Matrices) -> tuple[Matrices, Array]:
        """The layer as in the paper, matrix by matrix, in NumPy: not traceable, as autograd has no spectra of such matrices."""
        from .spectral_definition import spectral_layer

        return spectral_layer(self, params, check_matrix_links(x, self.n))

    def _context(self, x: Matrices) -> Context:
        """Everything that the kernel needs."""
        x = check_matrix_links(x, self.n)
        if x.shape[2:4] != self.shape:
            raise ValueError(f"x: got links of shape {x.shape[1:]}, expected {(2, *self.shape, self.n, self.n)}")
        links = np.ascontiguousarray(matrices.components(x, 2))
        p = plaquettes(links)
        carried = [double_loop(links, p, rho) for rho, _ in self._doubles()]
        channels = [t * self.masks.frozen[:, :, None] for t in scaled_traces(p)]
        for (_, mask), (loop, _) in zip(self._doubles(), carried, strict=True):
            channels += [t * mask[:, :, None] for t in scaled_traces(loop)]
        inputs = np.stack(channels).transpose(3, 0, 1, 2)
        out, cache = convolution.apply(self.net, self.params, inputs, self.masks.active)
        loop = _at(p, self._sites)
        loop = dagger(loop) if self.masks.mu == 1 else loop
        raw = np.ascontiguousarray(out.transpose(1, 2, 0))
        own = frame(links, p, loop, raw[-1], self.masks) if self.staples else None
        moved = loop if own is None else product(loop, own.turn)
        return Context(links, p, carried, moved, own, raw[: self.kernel.outputs], cache)

    def _doubles(self) -> list[tuple[int, stripes.Mask]]:
        """Directions and masks of the loops around two plaquettes that the net sees."""
        return _double_masks(self.masks) if self.loops else []

    def _channels_pullback(self, context: Context, g: Array, g_plaquettes: Matrices, g_links: Matrices) -> None:
        """Adds to the cotangents of plaquettes and links what the channels ``(channel, T, X, chain)`` owe."""
        parts = 1 if self.n == 2 else 2
        g_plaquettes += scaled_traces_pullback(context.plaquettes, list(g[:parts] * self.masks.frozen[:, :, None]))
        for i, ((rho, mask), (loop, carried)) in enumerate(zip(self._doubles(), context.carried, strict=True), start=1):
            g_loop = scaled_traces_pullback(loop, list(g[i * parts : (i + 1) * parts] * mask[:, :, None]))
            more, g_link = double_loop_pullback(context.links, context.plaquettes, carried, rho, g_loop)
            g_plaquettes += more
            g_links[:, :, rho] += g_link

    def _moved_pullback(self, context: Context, g: Matrices, g_plaquettes: Matrices, g_links: Matrices) -> list[Array]:
        """Adds to the cotangents of plaquettes and links what g, that of what the kernel moves at fixed active links, owes.

        Returns the cotangent of the exponents, where there are some, ``(1, site, chain)``.
        """
        loop, exponent = _at(context.plaquettes, self._sites), []
        if context.frame is not None:
            sites = passive_sites(self.masks)
            g, g_passive, g_link, g_exponent = frame_pullback(context.frame, self.masks, g)
            exponent = [g_exponent[None]]
            _add_at(g_plaquettes, sites, g_passive)
            _add_at(g_links[:, :, 1 - self.masks.mu], sites, g_link)
        # For mu = 1 the loop is P^dag.
        _add_at(g_plaquettes, self._sites, g if self.masks.mu == 0 else reversed_pullback(dagger(loop), g))
        return exponent

    def _turned(self, context: Context, turn: Matrices) -> Matrices:
        """The links, the active ones turned; components slowest in memory and chains fastest."""
        links = context.links.copy()
        own = links[:, :, self.masks.mu]
        t, x = self._sites
        own[:, :, t, x] = product(turn, own[:, :, t, x])
        return matrices.field(links, 2)


def layer_channels(n: int, shape: tuple[int, int], index: int, pattern: str = "stripes", loops: bool = True) -> int:
    """Channels that the net of a layer sees."""
    SUN(n)  # checks n
    check_flag("loops", loops)
    kinds = 1 + (len(_double_masks(stripes.masks(pattern, index, shape))) if loops else 0)
    return kinds * (1 if n == 2 else 2)


def spectral_chain(
    rng: np.random.Generator, n: int, shape: tuple[int, int], n_layers: int, *, last: float = 0.1, **options: Any
) -> Chain:
    """Layers 0, 1, ... of a pattern, near the identity at the start; options are those of `SpectralCoupling.init`."""
    check_integer("n_layers", n_layers, 1)
    return Chain(tuple(SpectralCoupling.init(rng, n, shape, i, last=last, **options) for i in range(n_layers)))


def _double_masks(masks: stripes.Masks) -> list[tuple[int, stripes.Mask]]:
    return [(rho, mask) for rho, mask in enumerate(masks.loops) if mask.any()]


def _at(m: Matrices, sites: Sites) -> Matrices:
    """Matrices ``(n, n, T, X, chain)`` at some sites, ``(n, n, site, chain)``."""
    return m[:, :, sites[0], sites[1]]


def _add_at(m: Matrices, sites: Sites, values: Matrices) -> None:
    """Adds at sites, none of them twice."""
    m[:, :, sites[0], sites[1]] += values
