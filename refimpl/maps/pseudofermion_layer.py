"""Layers of conditional flows: linear, gauge-equivariant maps of a pseudofermion field at given links (Abbott 2022, III.C, D).

``phi' = P [A phi + PTCN((1 - P) phi)] + (1 - P) phi`` (28): the active part, selected by the projector P, is multiplied by a
matrix A of its site and shifted by the frozen part through a parallel transport convolutional network, ``n_pt`` convolutions
one behind the other without bias or nonlinearity (`refimpl.maps.transport`). P is

- ``"spatial"``: every second site like a checkerboard (29); where ``even_odd``, the field lives on even sites alone, and every
  second row (time slice) of these is active. Odd sites are between two convolutions only, so that ``n_pt`` has to be at least 2;
- ``"spin"``: the upper or the lower component on all sites (31).

A, in spin space, and M are the outputs of a periodic convolution of ``hidden`` gauge-invariant channels, with a tanh behind it:
M as they are, A with 1 added. All layers see the same channels, whose windows are gathered once (`Given`). First come the M in
their order, ``(H, 5 K)`` each, then A, row by row; of every complex number the real part, then the imaginary part.
``logdet = 2 N sum log |det A|`` (30), (32): A is the same for all N colours.

Fields are columns ``(chain, n, k)``: k fields at the same links, whose n rows are ``(t, x, spin, colour)`` flattened, of the
even sites where ``even_odd``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_flag, check_integer, check_shape, parity_mask, site_sum
from ..nets import convolution
from ..nets.convolution import ConvNet
from . import ptcn, transport
from .base import Params, check_params
from .ptcn import Network
from .transport import ComplexArray, Indices, Transport

Array = NDArray[np.float64]

PARTITIONS = ("spatial", "spin")
SPINS = 2
ROWS, COLUMNS = 256, 8  # of the products of windows and weights


@dataclass(frozen=True, eq=False)
class Given:
    """What layers know of the links.

    Attributes
    ----------
    transport : of the fields. windows : what a K x K kernel sees of the context around every site, ``(chain, site, hidden K^2)``.
    """

    transport: Transport
    windows: Array

    @classmethod
    def of(cls, transport: Transport, hidden: Array, kernel_size: int = 3) -> Self:
        """From the channels of the context, ``(chain, hidden, T, X)``."""
        chains, channels, *shape = hidden.shape
        values = np.ascontiguousarray(hidden.reshape(chains, channels, -1).swapaxes(1, 2))
        seen = values.take(kernel_sites((shape[0], shape[1]), kernel_size).T, axis=1)
        return cls(transport, seen.swapaxes(2, 3).reshape(chains, values.shape[1], -1))


class GivenCotangent(NamedTuple):
    """Of ``transport.u`` and ``windows`` of a `Given`."""

    u: ComplexArray
    windows: Array

    def hidden(self, shape: tuple[int, int], kernel_size: int = 3) -> Array:
        """The cotangent of the context's channels ``(chain, hidden, T, X)``."""
        chains, sites, _ = self.windows.shape
        taps = kernel_size**2
        parts = self.windows.reshape(chains, sites, -1, taps)
        # The window of tap k at a site has what is at its k-th neighbour, whose tap of the opposite offset is that site.
        back = kernel_sites(shape, kernel_size)[::-1]
        total = sum(parts[..., k][:, back[k]] for k in range(taps))
        return np.asarray(total).swapaxes(1, 2).reshape(chains, -1, *shape)


Pull = Callable[[ComplexArray, Array], tuple[ComplexArray, GivenCotangent, Params]]


class Partition(NamedTuple):
    """Rows of the columns that are active and frozen; their sites; their rows among all those of their sites."""

    active: Indices
    frozen: Indices
    sites: Indices
    frozen_sites: Indices
    active_rows: Indices
    frozen_rows: Indices


@dataclass(frozen=True, eq=False)
class PseudofermionLayer:
    """One layer.

    Parameters
    ----------
    shape : lattice. index : which part is active: sites or rows of this parity, or the component of this number, modulo 2.
    partition : "spatial" or "spin". even_odd : whether fields live on the even sites. colours : N.
    n_pt : convolutions of the PTCN. features : H between them. hidden : channels of the context.
    scalar : for "spatial", whether A is a number instead of a 2 x 2 matrix. kernel_size : of the net.
    params : ``weight`` ``(out, hidden, K, K)`` and ``bias`` of the net.
    """

    shape: tuple[int, int]
    index: int
    params: Mapping[str, Array]
    partition: str = "spatial"
    even_odd: bool = False
    colours: int = 1
    n_pt: int = 6
    features: int = 2
    hidden: int = 16
    scalar: bool = False
    kernel_size: int = 3

    def __post_init__(self) -> None:
        if self.partition not in PARTITIONS:
            raise ValueError(f"partition: got {self.partition!r}, expected one of {', '.join(PARTITIONS)}")
        check_flag("even_odd", self.even_odd)
        check_flag("scalar", self.scalar)
        even = self.even_odd or self.partition == "spatial"
        object.__setattr__(self, "shape", check_shape(self.shape, even=even))
        for name, least in (("index", 0), ("colours", 1), ("n_pt", 1), ("features", 1), ("hidden", 1)):
            check_integer(name, getattr(self, name), least)
        check_params(self.params, {"weight": self.net.shapes()["weight/0"], "bias": self.net.shapes()["bias/0"]})

    @classmethod
    def init(
        cls, rng: np.random.Generator, shape: tuple[int, int], index: int, *, gain: float = 0.5, **options: Any
    ) -> Self:
        """Random weights (`refimpl.nets.convolution.xavier_normal`); ``options`` are the fields."""
        blank = _Outputs(**{name: options[name] for name in _Outputs.__annotations__ if name in options})
        net = blank.net(options.get("hidden", 16), options.get("kernel_size", 3))
        start = convolution.xavier_normal(net, rng, gain)
        return cls(shape, index, {"weight": start["weight/0"], "bias": start["bias/0"]}, **options)

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer with other weights."""
        return replace(self, params=params)

    @property
    def net(self) -> ConvNet:
        """The net behind the context."""
        return self._outputs.net(self.hidden, self.kernel_size)

    @property
    def rows(self) -> int:
        """Numbers of a field: the rows of columns."""
        return SPINS * self.colours * self.shape[0] * self.shape[1] // (1 + self.even_odd)

    @property
    def parts(self) -> Partition:
        """Which rows are active."""
        return partition(self.shape, self.index % 2, self.partition, self.even_odd, self.colours)

    @property
    def network(self) -> Network:
        """The PTCN, without its numbers."""
        widths = self._outputs.widths
        return network(self.shape, self.index % 2, self.partition, self.even_odd, self.colours, widths)

    def columns(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array]:
        """``phi'`` of columns ``(chain, n, k)``, and the logdet ``(chain,)``, which knows nothing of them."""
        a, ms, _ = self._matrices(given)
        shift, _ = self._shift(given, ms, psi)
        return self._moved(psi, self._multiplied(a, psi[:, self.parts.active]) + shift), self._logdet(a)

    def inverse_columns(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array]:
        """The field whose image is ``psi``, and the logdet of the inverse."""
        a, ms, _ = self._matrices(given)
        shift, _ = self._shift(given, ms, psi)
        back = np.asarray(np.linalg.inv(a), np.complex128)
        return self._moved(psi, self._multiplied(back, psi[:, self.parts.active] - shift)), -self._logdet(a)

    def columns_with_pullback(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array, Pull]:
        """As `columns`, and the pullback of cotangents of both."""
        a, ms, pull_matrices = self._matrices(given)
        shift, pull_shift = self._shift(given, ms, psi)
        active = psi[:, self.parts.active]
        out = self._moved(psi, self._multiplied(a, active) + shift)

        def pull(g: ComplexArray, g_logdet: Array) -> tuple[ComplexArray, GivenCotangent, Params]:
            g_active, wide = g[:, self.parts.active], self._blocks(a, active)
            g_wide = self._blocks(a, g_active)
            g_a = g_wide @ wide.conj().swapaxes(-1, -2)
            g_a += (2 * self._copies * g_logdet)[:, None, None, None] * np.linalg.inv(a).conj().swapaxes(-1, -2)
            g_psi = self._moved(g, self._multiplied(a.conj().swapaxes(-1, -2), g_active))
            g_frozen, g_ms, g_u = pull_shift(g_active)
            g_psi[:, self.parts.frozen] += g_frozen
            g_windows, grads = pull_matrices(g_a, g_ms)
            return g_psi, GivenCotangent(g_u, g_windows), grads

        return out, self._logdet(a), pull

    def _matrices(self, given: Given) -> tuple[ComplexArray, list[ComplexArray], Callable[..., tuple[Array, Params]]]:
        """A at active sites ``(chain, site, s, s)``, the M ``(chain, site, H, 5 K)`` of the network, and their pullback."""
        matrix = self.params["weight"].reshape(len(self.params["bias"]), -1)
        chains, volume, seen = given.windows.shape
        values = _products(given.windows, matrix)
        values += self.params["bias"]
        np.tanh(values, out=values)
        outputs, sites = self._outputs, self.parts.sites
        side, ends = outputs.side, np.cumsum([h * w for h, w in outputs.sizes])
        where = [ptc.sites for ptc in self.network.ptcs] + [sites]
        pieces = [piece[:, at] for piece, at in zip(np.split(values.view(np.complex128), ends, 2), where, strict=True)]
        ms = [piece.reshape(chains, -1, *size) for piece, size in zip(pieces, outputs.sizes, strict=False)]
        a = np.eye(side) + pieces[-1].reshape(chains, -1, side, side)

        def pull(g_a: ComplexArray, g_ms: list[ComplexArray]) -> tuple[Array, Params]:
            g = np.zeros((chains, volume, values.shape[2] // 2), np.complex128)
            for part, at, own in zip(np.split(g, ends, axis=2), where, [*g_ms, g_a], strict=True):
                part[:, at] = own.reshape(chains, len(at), -1)
            back = g.view(np.float64).reshape(chains * volume, -1)
            slope = np.square(values).reshape(back.shape)
            np.subtract(1.0, slope, out=slope)
            back *= slope
            grads = {"weight": back.T @ given.windows.reshape(chains * volume, seen), "bias": back.sum(axis=0)}
            grads["weight"] = grads["weight"].reshape(self.params["weight"].shape)
            return (back @ matrix).reshape(given.windows.shape), grads

        return a, ms, pull

    def _shift(
        self, given: Given, ms: list[ComplexArray], psi: ComplexArray
    ) -> tuple[ComplexArray, Callable[..., Any]]:
        """``PTCN((1 - P) phi)`` on the active rows, and its pullback to the frozen rows, the M and the transporters."""
        ptcs, u = self.network.ptcs, given.transport.u
        us = [u[:, ptc.sites] for ptc in ptcs]
        stencils = [transport.stencils(m, v) for m, v in zip(ms, us, strict=True)]
        shift, pull_shift = ptcn.shift(self.network, stencils, psi[:, self.parts.frozen])

        def pull(g_shift: ComplexArray) -> tuple[ComplexArray, list[ComplexArray], ComplexArray]:
            g_frozen, g_stencils = pull_shift(g_shift)
            g_ms, g_u = [], np.zeros_like(u)
            for ptc, m, v, g in zip(ptcs, ms, us, g_stencils, strict=True):
                g_m, g_own = transport.stencils_pullback(m, v, g)
                g_ms.append(g_m)
                g_u[:, ptc.sites] += g_own
            return g_frozen, g_ms, g_u

        return shift, pull

    def _moved(self, psi: ComplexArray, active: ComplexArray) -> ComplexArray:
        """The columns with other active rows."""
        out = psi.astype(np.complex128)
        out[:, self.parts.active] = active
        return out

    def _blocks(self, a: ComplexArray, active: ComplexArray) -> ComplexArray:
        """Active rows as ``(chain, site, s, rest)``, on whose third axis A acts."""
        return active.reshape(len(active), a.shape[1], a.shape[2], -1)

    def _multiplied(self, a: ComplexArray, active: ComplexArray) -> ComplexArray:
        """``A phi`` on the active rows."""
        return (a @ self._blocks(a, active)).reshape(active.shape)

    @property
    def _copies(self) -> int:
        """How often A stands in the map: for every colour, and for both components where it is a number of both."""
        return len(self.parts.active) // (len(self.parts.sites) * self._outputs.side)

    def _logdet(self, a: ComplexArray) -> Array:
        """``2 N sum log |det A|`` (30), (32)."""
        return 2 * self._copies * site_sum(np.log(np.abs(np.linalg.det(a))))

    @property
    def _outputs(self) -> _Outputs:
        return _Outputs(self.partition, self.n_pt, self.features, self.scalar)


class _Outputs(NamedTuple):
    """The shapes of the matrices that the net of a layer makes."""

    partition: str = "spatial"
    n_pt: int = 6
    features: int = 2
    scalar: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Features before, between and behind the convolutions."""
        return (SPINS, *(self.features,) * (self.n_pt - 1), SPINS)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """``(H, 5 K)`` of every M."""
        return [(after, transport.DIRECTIONS * before) for before, after in itertools.pairwise(self.widths)]

    @property
    def side(self) -> int:
        """Of A: 2 for a matrix in spin space, 1 for a number."""
        return SPINS if self.partition == "spatial" and not self.scalar else 1

    def net(self, hidden: int, kernel_size: int) -> ConvNet:
        numbers = sum(h * w for h, w in self.sizes) + self.side**2
        return ConvNet((hidden, 2 * numbers), kernel_size, final="tanh")


def _products(windows: Array, matrix: Array) -> Array:
    """``windows @ matrix.T`` for ``windows`` ``(chain, site, seen)``, in products that do not know the number of chains.

    A chain has the same bits at any place of a product if that has whole groups of columns (of OpenBLAS, a measured property).
    """
    chains, volume, seen = windows.shape
    outputs, block = len(matrix), max(1, ROWS // volume)
    if lacking := -outputs % COLUMNS:
        matrix = np.concatenate([matrix, np.zeros((lacking, seen))])
    out = np.empty((chains, volume, len(matrix)))
    whole = chains // block * block
    np.matmul(
        windows[:whole].reshape(-1, block * volume, seen),
        matrix.T,
        out=out[:whole].reshape(-1, block * volume, len(matrix)),
    )
    if whole < chains:
        rest = np.zeros((block, volume, seen))
        rest[: chains - whole] = windows[whole:]
        out[whole:] = (rest.reshape(-1, seen) @ matrix.T).reshape(block, volume, -1)[: chains - whole]
    return out[:, :, :outputs]


@lru_cache(maxsize=64)
def partition(shape: tuple[int, int], parity: int, kind: str, even_odd: bool, colours: int) -> Partition:
    """Active and frozen rows, see `PseudofermionLayer`."""
    sites = np.arange(shape[0] * shape[1])
    there = sites[parity_mask(shape).ravel()] if even_odd else sites
    rows = np.arange(SPINS * colours * sites.size).reshape(sites.size, SPINS, colours)
    chosen = np.zeros(rows.shape, bool)
    if kind == "spin":
        chosen[there, parity] = True
        active_sites = there
    else:
        t = there // shape[1]
        own = t % 2 if even_odd else (t + there % shape[1]) % 2
        active_sites = there[own == parity]
        chosen[active_sites] = True
    flags = chosen[there].ravel()
    frozen_sites = there[~chosen[there].all(axis=(1, 2))]
    active_rows, frozen_rows = np.flatnonzero(chosen[active_sites]), np.flatnonzero(~chosen[frozen_sites])
    return Partition(
        np.flatnonzero(flags), np.flatnonzero(~flags), active_sites, frozen_sites, active_rows, frozen_rows
    )


@lru_cache(maxsize=64)
def network(
    shape: tuple[int, int], parity: int, kind: str, even_odd: bool, colours: int, features: tuple[int, ...]
) -> Network:
    """Where the convolutions of a PTCN are computed that takes frozen rows to active ones."""
    parts = partition(shape, parity, kind, even_odd, colours)
    widths = [colours * k for k in features]
    return Network(ptcn.ptcs(shape, parts.frozen_sites, parts.sites, widths), parts.frozen_rows, parts.active_rows)


@lru_cache(maxsize=64)
def kernel_sites(shape: tuple[int, int], kernel_size: int) -> Indices:
    """The flattened sites that a kernel sees around every site, ``(K^2, V)``; the k-th from the end is opposite to the k-th."""
    sites, offsets = np.arange(shape[0] * shape[1]).reshape(shape), range(-(kernel_size // 2), kernel_size // 2 + 1)
    return np.stack([np.roll(sites, (-a, -b), (0, 1)).ravel() for a in offsets for b in offsets])
