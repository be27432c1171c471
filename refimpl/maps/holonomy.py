"""A layer of U(1) flows that moves a holonomy and no plaquette.

Layers that move plaquettes leave the two holonomies as independent of all else as the prior had them, at any depth. Here all links
``theta_mu`` of one slice, at ``n_mu = s``, grow by the same angle a: no plaquette changes, and all Polyakov loops ``L_c`` along mu,
c the coordinate along nu, the other direction, grow by a. With their common phase

    h = arg sum_c u_c exp(i L_c),   h' = g(h) = h + a,   logdet = log g'(h),

``u`` uniform or of one line alone. As h moves by a, and what follows does not move, it may decide on the circle map g:
``mean_c exp(i k (L_c - h))``, ``mean_r exp(i k L^nu_r)`` of the loops along nu, and ``mean_P exp(i k P)``, for k = 1, ...,
`harmonics`, real and imaginary parts, through one hidden layer of tanh. All is gauge invariant; with uniform u it is invariant
under translations too, and which slice moves is a choice of gauge.

The phase of all lines has no value where their sum is zero, and its derivative grows like ``1/|sum|`` on the way there; that of
one line is smooth, and singles that line out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..groups import wrap
from ..lattice import (
    check_integer,
    check_links,
    check_number,
    check_shape,
    plaquette_angles,
    plaquette_gradient_definition,
    site_sum,
)
from ..nets import linear
from .base import Params, Pull, check_params
from .plaquette_coupling import SPLINE, Circle
from .projections import ProjectionMixture
from .splines import CircularSpline

Array = NDArray[np.float64]


class Angles(NamedTuple):
    """Loops along mu and along nu, ``(chain, line)``, plaquettes ``(chain, V)``, the phase h and ``|sum_c u_c exp(i L_c)|``."""

    along: Array
    across: Array
    plaquettes: Array
    phase: Array
    modulus: Array


@dataclass(frozen=True, eq=False)
class Holonomy:
    """One layer, of links ``(chain, 2, T, X)`` in [-pi, pi).

    Parameters
    ----------
    shape : ``(T, X)``. mu : the direction of the links. index : s, of the slice that moves.
    line : None for the phase of all Polyakov loops, or the coordinate of the one that counts.
    circle : the map of the phase. harmonics : k, at least 1. neurons : of the hidden layer.
    """

    shape: tuple[int, int]
    mu: int
    index: int = 0
    line: int | None = None
    circle: Circle = SPLINE
    harmonics: int = 2
    neurons: int = 32
    params: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape(self.shape))
        check_integer("mu", self.mu, 0, 1)
        check_integer("index", self.index, 0, self.shape[self.mu] - 1)
        if self.line is not None:
            check_integer("line", self.line, 0, self.shape[1 - self.mu] - 1)
        if not isinstance(self.circle, CircularSpline | ProjectionMixture):
            raise ValueError(f"circle: got {self.circle!r}, expected a CircularSpline or a ProjectionMixture")
        check_params(self.params, _shapes(self.harmonics, self.neurons, self.circle.outputs))

    @classmethod
    def init(
        cls,
        rng: np.random.Generator,
        shape: tuple[int, int],
        mu: int,
        *,
        index: int = 0,
        line: int | None = None,
        circle: Circle = SPLINE,
        harmonics: int = 2,
        neurons: int = 32,
        last: float = 1.0,
    ) -> Self:
        """A layer with uniform weights in ``+-1/sqrt(inputs)``, those of the last matrix times ``last``."""
        check_number("last", last, 0)
        params = {}
        for key, size in _shapes(harmonics, neurons, circle.outputs).items():
            before = 6 * harmonics if key.endswith("0") else neurons
            bound = (1.0 if key.endswith("0") else last) / math.sqrt(before)
            params[key] = rng.uniform(-bound, bound, size)
        return cls(shape, mu, index, line, circle, harmonics, neurons, params)

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layer with other weights."""
        return replace(self, params=params)

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Links and ``logdet``."""
        angles, _, _, raw = self._context(x)
        new, log_slope = self.circle.forward(angles.phase, raw)
        return self._moved(x, new - angles.phase), log_slope

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """Links and the logdet of the inverse."""
        angles, _, _, raw = self._context(y)
        old, log_slope = self.circle.inverse(angles.phase, raw)
        return self._moved(y, old - angles.phase), log_slope

    def forward_with_pullback(self, x: Array) -> tuple[Array, Array, Pull]:
        """As `forward`, and the pullback."""
        angles, features, hidden, raw = self._context(x)
        new, log_slope, pull_circle = self.circle.forward_with_pullback(angles.phase, raw)

        def pull(g_y: Array, g_logdet: Array) -> tuple[Array, Params]:
            g_move = self._slice(g_y).sum(axis=1)
            g_phase, g_raw = pull_circle(g_move, np.broadcast_to(g_logdet, log_slope.shape))
            g_raw = g_raw.T
            g_hidden = (g_raw @ self.params["weight/1"].T) * (1 - hidden * hidden)
            grads = {
                "weight/0": features.T @ g_hidden,
                "bias/0": g_hidden.sum(axis=0),
                "weight/1": hidden.T @ g_raw,
                "bias/1": g_raw.sum(axis=0),
            }
            g_features = g_hidden @ self.params["weight/0"].T
            return g_y + self._context_pullback(angles, g_features, g_phase - g_move), grads

        return self._moved(x, new - angles.phase), log_slope, pull

    def definition(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any]:
        """The layer as written, traceable by autograd in ``params`` and ``x``; angles are not wrapped."""
        import autograd.numpy as anp

        nu = 1 - self.mu
        plaquettes = x[:, 0] + anp.roll(x[:, 1], -1, 1) - anp.roll(x[:, 0], -1, 2) - x[:, 1]
        along, across = anp.sum(x[:, self.mu], axis=1 + self.mu), anp.sum(x[:, nu], axis=1 + nu)
        u = self._line_weights()
        phase = anp.arctan2(anp.sum(u * anp.sin(along), axis=1), anp.sum(u * anp.cos(along), axis=1))
        features = []
        for angles in (along - phase[:, None], across, anp.reshape(plaquettes, (len(x), -1))):
            for k in range(1, self.harmonics + 1):
                features += [anp.mean(anp.cos(k * angles), axis=1), anp.mean(anp.sin(k * angles), axis=1)]
        hidden = anp.tanh(anp.dot(anp.stack(features, axis=1), params["weight/0"]) + params["bias/0"])
        raw = anp.dot(hidden, params["weight/1"]) + params["bias/1"]
        new, log_slope = self.circle.definition(phase, raw.T)
        moves = np.zeros((2, *self.shape))
        self._slice(moves[None])[...] = 1.0
        return x + (new - phase)[:, None, None, None] * moves, log_slope

    def _line_weights(self) -> Array:
        """``u``."""
        lines = self.shape[1 - self.mu]
        return np.full(lines, 1 / lines) if self.line is None else (np.arange(lines) == self.line).astype(np.float64)

    def _slice(self, x: Array) -> Array:
        """The links that move, ``(chain, line)``, a view."""
        return x[:, 0, self.index] if self.mu == 0 else x[:, 1, :, self.index]

    def _moved(self, x: Array, move: Array) -> Array:
        y = np.array(x, order="C")
        links = self._slice(y)
        links[...] = wrap(links + move[:, None])
        return y

    def _context(self, x: Array) -> tuple[Angles, Array, Array, Array]:
        """Angles, features and hidden layer ``(chain, n)``, and the numbers ``(outputs, chain)`` of the circle map."""
        x = check_links(x)
        if x.shape[2:] != self.shape:
            raise ValueError(f"x: got links of shape {x.shape[1:]}, expected {(2, *self.shape)}")
        angles = self._angles(x)
        features = np.empty((len(x), 6 * self.harmonics))
        kinds = (angles.along - angles.phase[:, None], angles.across, angles.plaquettes)
        for i, kind in enumerate(kinds):
            for k in range(1, self.harmonics + 1):
                at = 2 * (i * self.harmonics + k - 1)
                features[:, at], features[:, at + 1] = _mean(np.cos(k * kind)), _mean(np.sin(k * kind))
        hidden = np.tanh(linear.times(linear.rows(features), self.params["weight/0"]) + self.params["bias/0"])
        raw = linear.times(hidden, self.params["weight/1"]) + self.params["bias/1"]
        return angles, features, hidden[: len(x)], np.ascontiguousarray(raw[: len(x)].T)

    def _angles(self, x: Array) -> Angles:
        nu = 1 - self.mu
        along, across = _lines(x[:, self.mu], self.mu), _lines(x[:, nu], nu)
        plaquettes = np.ascontiguousarray(plaquette_angles(x)).reshape(len(x), -1)
        if self.line is not None:
            return Angles(along, across, plaquettes, along[:, self.line], np.ones(len(x)))
        real, imaginary = _mean(np.cos(along)), _mean(np.sin(along))
        return Angles(along, across, plaquettes, np.arctan2(imaginary, real), np.hypot(imaginary, real))

    def _context_pullback(self, angles: Angles, g_features: Array, g_phase: Array) -> Array:
        """The cotangent of the links from those of the features and of the phase."""
        parts = []
        kinds = (angles.along - angles.phase[:, None], angles.across, angles.plaquettes)
        for i, kind in enumerate(kinds):
            g_kind = np.zeros_like(kind)
            for k in range(1, self.harmonics + 1):
                at = 2 * (i * self.harmonics + k - 1)
                g_kind -= g_features[:, at, None] * k * np.sin(k * kind)
                g_kind += g_features[:, at + 1, None] * k * np.cos(k * kind)
            parts.append(g_kind / kind.shape[1])
        g_along, g_across, g_plaquettes = parts
        # The phase: from the circle map, and with a minus from the features.
        pull = (g_phase - g_along.sum(axis=1)) / angles.modulus
        g_along += self._line_weights() * np.cos(kinds[0]) * pull[:, None]
        g_x: Array = plaquette_gradient_definition(g_plaquettes.reshape(-1, *self.shape))
        for direction, g_lines in ((self.mu, g_along), (1 - self.mu, g_across)):
            g_x[:, direction] += np.expand_dims(g_lines, 1 + direction)
        return g_x


def _shapes(harmonics: int, neurons: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters, by key."""
    check_integer("harmonics", harmonics, 1)
    check_integer("neurons", neurons, 1)
    return {
        "weight/0": (6 * harmonics, neurons),
        "bias/0": (neurons,),
        "weight/1": (neurons, outputs),
        "bias/1": (outputs,),
    }


def _lines(angles: Array, mu: int) -> Array:
    """Sums of ``(chain, T, X)`` along mu, in a fixed order: ``(chain, line)``."""
    rows = np.moveaxis(angles, 1 + mu, 0)
    total = rows[0].copy(order="C")
    for row in rows[1:]:
        total += row
    return total


def _mean(values: Array) -> Array:
    """Over the second axis."""
    return site_sum(values) / values.shape[1]
