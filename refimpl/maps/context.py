"""What conditional flows know of the links: hidden channels that all their layers share (Abbott 2022, app. B2).

``h = ELU(conv([Re tr P(n), Im tr P(n), n_0 mod 4, n_1 mod 4]))`` (B2, B3), P the plaquette, its trace not divided by the number of
colours; for U(1) its cosine and sine. Plaquettes are those of the periodic links, without the boundary sign of fermions, which
is a matter of transport. Traces do not see a gauge transformation; translations by multiples of 4 move ``h`` along, and without
the positions n mod 4 all translations do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..groups import matrices, sincos
from ..groups.links import check_matrix_links, plaquettes
from ..groups.matrices import coordinates, trace
from ..lattice import chain_last, check_flag, check_links, gradient_program, plaquette_angles, run
from ..nets import convolution
from ..nets.convolution import ConvNet
from .base import Field, Params, check_params
from .loops import plaquettes_pullback, scaled_traces_pullback

Array = NDArray[np.float64]
# Cotangent of the hidden channels -> cotangent of the links, as forces have it, and the gradients of the parameters.
ContextPull = Callable[[Array], tuple[Array, Params]]

PERIOD = 4  # of the positions (B3)


@dataclass(frozen=True, eq=False)
class Context:
    """The part of the context function that all layers and monomials share, of links of U(1) or SU(n).

    Parameters
    ----------
    net : 4 input channels, or 2 to do without positions. With positions both extents must be multiples of 4, or the two ends of
        the lattice would not meet.
    params : those of the net.
    """

    net: ConvNet
    params: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.net, ConvNet):
            raise TypeError(f"net: got {self.net!r:.60}, expected a ConvNet")
        if self.net.channels[0] not in (2, 4):
            raise ValueError(f"net: got {self.net.channels[0]} input channels, expected 4, or 2 without positions")
        check_params(self.params, self.net.shapes())

    @classmethod
    def init(
        cls,
        rng: np.random.Generator,
        hidden: int | tuple[int, ...] = 16,
        gain: float = 0.5,
        *,
        positions: bool = True,
        kernel_size: int | tuple[int, ...] = 3,
    ) -> Self:
        """Random weights (`refimpl.nets.convolution.xavier_normal`); ``hidden`` channels, or those of each convolution."""
        check_flag("positions", positions)
        widths = hidden if isinstance(hidden, tuple) else (hidden,)
        net = ConvNet((4 if positions else 2, *widths), kernel_size, activation="elu", final="elu")
        return cls(net, convolution.xavier_normal(net, rng, gain))

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same net with other weights."""
        return replace(self, params=params)

    @property
    def positions(self) -> bool:
        """Whether the net sees where on the lattice it is, modulo 4."""
        return self.net.channels[0] == 4

    @property
    def hidden(self) -> int:
        """Channels that layers see."""
        return self.net.channels[-1]

    def inputs(self, x: Field) -> Array:
        """``Re tr P, Im tr P, n_0 mod 4, n_1 mod 4`` (B2), ``(chain, 4 or 2, T, X)``."""
        return self._seen(x)[0]

    def apply(self, x: Field) -> Array:
        """Hidden channels ``(chain, hidden, T, X)`` of angles ``(chain, 2, T, X)`` or matrices ``(chain, 2, T, X, n, n)``."""
        return convolution.apply(self.net, self.params, self.inputs(x))[0]

    def apply_with_pullback(self, x: Field) -> tuple[Array, ContextPull]:
        """As `apply`, and the pullback, whose cotangent of the links has the shape of their force."""
        inputs, pull_inputs = self._seen(x)
        hidden, cache = convolution.apply(self.net, self.params, inputs)

        def pull(g_hidden: Array) -> tuple[Array, Params]:
            grads, g = convolution.pullback(self.net, self.params, cache, g_hidden)
            return pull_inputs(g[:, :2]), grads

        return hidden, pull

    def definition(self, params: Mapping[str, Any], x: Any) -> Any:
        """`apply` as written, traceable by autograd."""
        import autograd.numpy as anp

        u0, u1 = x[:, 0], x[:, 1]
        if x.ndim == 4:
            angle = u0 + anp.roll(u1, -1, 1) - anp.roll(u0, -1, 2) - u1
            seen = [anp.cos(angle), anp.sin(angle)]
        else:
            there, back = u0 @ anp.roll(u1, -1, 1), u1 @ anp.roll(u0, -1, 2)
            traces = anp.sum(there * anp.conj(back), axis=(-2, -1))  # tr(there back^dag)
            seen = [anp.real(traces), anp.imag(traces)]
        if self.positions:
            seen += [np.broadcast_to(axis % PERIOD, seen[0].shape) for axis in np.indices(seen[0].shape[1:])]
        return convolution.definition(self.net, params, anp.stack(seen, axis=1))

    def _seen(self, x: Field) -> tuple[Array, Callable[[Array], Array]]:
        """`inputs`, and the pullback of the first two to the links."""
        x = np.asarray(x)
        traces, pull = _matrix_traces(check_matrix_links(x)) if np.iscomplexobj(x) else _angle_traces(check_links(x))
        chains, _, *shape = traces.shape
        inputs = chain_last(chains, self.net.channels[0], *shape)
        inputs[:, :2] = traces
        if self.positions:
            if any(extent % PERIOD for extent in shape):
                raise ValueError(
                    f"x: got links on a lattice of shape {tuple(shape)}, expected multiples of {PERIOD}: "
                    "positions of other extents do not meet at the ends (a net of 2 channels has none)"
                )
            inputs[:, 2:] = np.indices(shape) % PERIOD
        return inputs, pull


def _angle_traces(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """``(cos P, sin P)``, ``(chain, 2, T, X)``, and the pullback to the angles."""
    sin, cos = sincos(plaquette_angles(x), "tan")

    def pull(g: Array) -> Array:
        g_x = np.zeros_like(x)
        run(gradient_program(g[:, 0] * sin - g[:, 1] * cos, g_x))
        return g_x

    return np.stack([cos, sin], axis=1), pull


def _matrix_traces(x: NDArray[np.complex128]) -> tuple[Array, Callable[[Array], Array]]:
    """``(Re tr P, Im tr P)``, ``(chain, 2, T, X)``, and the pullback to the links, by generators."""
    links = np.ascontiguousarray(matrices.components(x, 2))
    p, n = plaquettes(links), len(links)
    t = trace(p)

    def pull(g: Array) -> Array:
        g_plaquettes = scaled_traces_pullback(p, [n * part for part in np.moveaxis(g, 0, -1)])
        return matrices.field(0.5 * coordinates(plaquettes_pullback(links, p, g_plaquettes)), 1)

    return np.moveaxis(np.stack([t.real, t.imag]), -1, 0), pull
