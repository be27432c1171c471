"""The exact decimation flow of two-dimensional U(1): uniform links to pure gauge theory, at any beta and volume.

The plaquettes of a torus are independent but for their sum, which is 0 modulo 2 pi. A *node* is a rectangle of n plaquettes whose
sum ``S`` is settled (the torus, with ``S = 0``, is the first). Cut into halves of a and b plaquettes, the sum ``x`` of the first is
uniform for uniform links, and is to have the density ``h(x'|S) = g_a(x') g_b(S - x') / g_(a+b)(S)`` of `plaquette_sums.Part`:

    ``x' = F^(-1)((x + pi)/2 pi | S)``,    ``theta_l -> theta_l +- (x' - x)``,    ``logdet = - log 2 pi h(x'|S)``

for one link l of the cut, which moves the sum of the second half by the opposite. All nodes of a level are cut at once, coarse
levels first, down to single plaquettes; V - 1 links have moved then, each once. What is left, holonomies and gauge, is uniform
before and after. The active loops are Wilson loops and so is their context, the boundary of the node: the map is gauge
equivariant, and it commutes with the reflection ``theta -> -theta``.

For uniform links, of density ``(2 pi)^(-2 V)``, the density of the result is ``exp(-S(theta))/Z`` with ``S = beta sum_P (1 - cos
theta_P)`` and ``Z`` the integral over ``d theta``: ``(2 pi)^(2 V)`` times that of `refimpl.exact.u1.log_partition`, which is over
``d theta/2 pi``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..groups import TWO_PI, wrap
from ..lattice import (
    check_links,
    check_number,
    check_shape,
    plaquette_angles_definition,
    plaquette_gradient_definition,
    site_sum,
)
from . import plaquette_sums
from .base import Params, Pull, check_params
from .plaquette_sums import KERNELS, LARGEST_BETA, Part, part

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


class Cut(NamedTuple):
    """Nodes of one level and shape, cut into halves by one link each.

    Attributes
    ----------
    sign : by how much the sum of the first half grows with the link.
    links : indices ``(direction, t, x)`` of the links, behind the chain axis.
    first : the number of plaquettes of the first half.
    t, x : the plaquettes of the nodes, ``(node, plaquette)``, those of the first half before the others.
    """

    sign: int
    links: tuple[int, Indices, Indices]
    first: int
    t: Indices
    x: Indices


@dataclass(frozen=True, eq=False)
class Decimation:
    """Uniform link angles to pure gauge theory of U(1) at ``beta``, with effective sample size 1: see the module.

    Nothing is trained. Halves need not be equal, so that any rectangle will do; powers of two have the fewest different nodes.

    Parameters
    ----------
    beta : float, from 0 to `LARGEST_BETA`. shape : ``(T, X)``, extents of at least 2.
    kernel : {"exact", "heat"}
        With "heat" the density of a plaquette is not ``exp(beta cos)`` but the Gaussian heat kernel with the same ``<cos>``: a map
        as good, to another theory, whose effective sample size is below 1. A control.
    """

    beta: float
    shape: tuple[int, int]
    kernel: str = "exact"
    params: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if check_number("beta", self.beta, 0) > LARGEST_BETA:
            raise ValueError(f"beta: got {self.beta!r}, expected at most {LARGEST_BETA:g}")
        object.__setattr__(self, "shape", check_shape(self.shape))
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel: got {self.kernel!r}, expected one of {KERNELS}")
        check_params(self.params, {})

    @classmethod
    def init(
        cls, rng: np.random.Generator | None, beta: float, shape: tuple[int, int], kernel: str = "exact"
    ) -> Decimation:
        """The layer; there are no weights to draw."""
        return cls(beta, shape, kernel)

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer; raises `ValueError` unless ``params`` is empty."""
        return replace(self, params=params)

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Links ``(chain, 2, T, X)`` in [-pi, pi) and ``log |det dy/dx|``; exactly distributed for uniform ``x``."""
        y, logdet, _ = self._forward(x)
        return wrap(y), logdet

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """The uniform links, by the same levels, fine ones first.

        A plaquette near pi has ``h`` of ``exp(-2 beta)`` or less: of fields that are unlikely at large beta the uniform links
        round to few digits, from which `forward` cannot come back; the logdet keeps its own.
        """
        x, logdet = self._links(y, "y").copy(), np.zeros(len(y))
        for cut in reversed(cuts(self.shape)):
            moved, total = sums(x, cut)
            uniform, log_h = _rows(self._part(cut).uniform, moved, total)
            x[(slice(None), *cut.links)] += cut.sign * (uniform - moved)
            logdet += site_sum(log_h)
        return wrap(x), logdet

    def forward_with_pullback(self, x: Array) -> tuple[Array, Array, Pull]:
        """As `forward`, and its pullback: with ``dx'/dx = 1/2 pi h`` and ``dx'/dS = -(dF/dS)/h`` at every node."""
        y, logdet, kept = self._forward(x)

        def pull(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            g = np.array(g_y)
            for cut, moved, total, log_h in reversed(kept):
                by_s, log_x, log_s = _rows(self._part(cut).derivatives, moved, total)
                grown = np.exp(-log_h)  # dx'/dx
                g_moved = cut.sign * g[(slice(None), *cut.links)]
                # The cotangent of x', where links and logdet depend on it, then of x and of S.
                g_new = (g_moved - g_logdet[:, None] * log_x) * grown
                g += _spread(g_new - g_moved, -g_new * by_s - g_logdet[:, None] * log_s, cut, self.shape)
            return g, {}

        return wrap(y), logdet, pull

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        """The map with Fourier series for the densities, traceable by autograd to first derivatives; not wrapped.

        ``x'`` solves ``F(x'|S) = u``: it is the quantile, taken as a constant, and a step of Newton's method, which is traced.
        """
        import autograd.numpy as anp
        from autograd.tracer import getval

        logdet = anp.zeros(len(x))
        for cut in cuts(self.shape):
            p = x[:, 0] + anp.roll(x[:, 1], -1, axis=1) - anp.roll(x[:, 0], -1, axis=2) - x[:, 1]
            first, total = (anp.sum(p[:, t, s], axis=2) for t, s in _nodes(cut))
            first = first - TWO_PI * anp.floor((first + np.pi) / TWO_PI)
            law = (float(self.beta), cut.first, cut.t.shape[1] - cut.first, self.kernel)
            start = _rows(part(*law).quantile, getval(first), getval(total))[0]
            reached, h = plaquette_sums.definition(*law, start, total)
            moved = start - (reached - (first + np.pi) / TWO_PI) / h
            logdet = logdet - anp.sum(anp.log(TWO_PI * plaquette_sums.definition(*law, moved, total)[1]), axis=1)
            unit = np.zeros((len(cut.t), *x.shape[1:]))
            unit[(np.arange(len(cut.t)), *cut.links)] = cut.sign
            x = x + anp.tensordot(moved - first, unit, 1)
        return x, logdet

    def _forward(self, x: Array) -> tuple[Array, Array, list[tuple[Cut, Array, Array, Array]]]:
        y, logdet, kept = self._links(x, "x").copy(), np.zeros(len(x)), []
        for cut in cuts(self.shape):
            uniform, total = sums(y, cut)
            moved, log_h = _rows(self._part(cut).quantile, uniform, total)
            y[(slice(None), *cut.links)] += cut.sign * (moved - uniform)
            logdet -= site_sum(log_h)
            kept.append((cut, moved, total, log_h))
        return y, logdet, kept

    def _links(self, x: Array, name: str) -> Array:
        x = check_links(x, name)
        if x.shape[2:] != self.shape:
            raise ValueError(f"{name}: got a lattice of shape {x.shape[2:]}, expected {self.shape}")
        return x

    def _part(self, cut: Cut) -> Part:
        return part(float(self.beta), cut.first, cut.t.shape[1] - cut.first, self.kernel)


@lru_cache(maxsize=32)
def cuts(shape: tuple[int, int]) -> tuple[Cut, ...]:
    """All cuts, coarse ones first: at each level the longer side of every node, at its middle."""
    edges = [[0, extent] for extent in shape]
    out: list[Cut] = []
    while (longest := [max(np.diff(edge)) for edge in edges]) != [1, 1]:
        axis = int(longest[1] > longest[0])
        out.extend(_level(edges, axis))
        edges[axis] = sorted({*edges[axis], *(int(middle) for _, middle, _ in _middles(edges[axis]))})
    return tuple(out)


def _middles(edges: list[int]) -> Iterator[tuple[int, int, int]]:
    """Begin, middle and end of the intervals that can be cut."""
    for begin, end in itertools.pairwise(edges):
        if end - begin > 1:
            yield begin, (begin + end) // 2, end


def _level(edges: list[list[int]], axis: int) -> Iterator[Cut]:
    """The cuts of one level, nodes of the same shape together."""
    groups: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    across = edges[1 - axis]
    for begin, middle, end in _middles(edges[axis]):
        for low, high in itertools.pairwise(across):
            groups.setdefault((middle - begin, end - middle, high - low), []).append((begin, low))
    for (first, second, width), corners in groups.items():
        begin, low = np.array(corners).T[:, :, None, None]
        along, beside = begin + np.arange(first + second)[:, None], low + np.arange(width)
        t, x = (along, beside) if axis == 0 else (beside, along)
        links = (1, begin.ravel() + first, low.ravel()) if axis == 0 else (0, low.ravel(), begin.ravel() + first)
        sites = [np.broadcast_to(site, (len(corners), *np.broadcast_shapes(t.shape, x.shape)[1:])) for site in (t, x)]
        t, x = (site.reshape(len(corners), -1) for site in sites)
        # The space link at the middle of a cut in time is on top of the first half, the time link on the right of it.
        yield Cut(1 if axis == 0 else -1, links, first * width, t, x)


def sums(x: Array, cut: Cut) -> tuple[Array, Array]:
    """The sums of the first halves and of the nodes, ``(chain, node)``, wrapped."""
    p = wrap(plaquette_angles_definition(x))[:, cut.t, cut.x].reshape(-1, cut.t[0].size)
    first, rest = site_sum(p[:, : cut.first]), site_sum(p[:, cut.first :])
    return wrap(first).reshape(len(x), -1), wrap(first + rest).reshape(len(x), -1)


def _nodes(cut: Cut) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
    """The plaquettes ``(t, x)`` of the first halves, and of the nodes."""
    return (cut.t[:, : cut.first], cut.x[:, : cut.first]), (cut.t, cut.x)


def _rows(law: Callable[[Array, Array], tuple[Array, ...]], x: Array, s: Array) -> list[Array]:
    """A function of rows, for every node of every chain."""
    return [out.reshape(x.shape) for out in law(x.ravel(), s.ravel())]


def _spread(g_first: Array, g_total: Array, cut: Cut, shape: tuple[int, int]) -> Array:
    """Cotangents of `sums` as one of the links."""
    p = np.zeros((len(g_first), *shape))
    p[:, cut.t, cut.x] = g_total[:, :, None]
    p[:, cut.t[:, : cut.first], cut.x[:, : cut.first]] += g_first[:, :, None]
    return plaquette_gradient_definition(p)
