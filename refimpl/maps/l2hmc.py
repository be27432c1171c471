"""The generalized leapfrog of L2HMC and LeapfrogLayers: layers of trained updates with exact inverse and logdet.

With ``F = +dS/dx``, half momentum updates ``V_k`` and position updates ``X_k`` of the entries a mask picks, one layer is

    V_k half update; X_k on the entries of the mask; X_k on the rest; V_k half update with the force at the new x

and its inverse is the four inverses in reverse order. The map runs layers 0..N-1, its inverse N-1..0. The nets of ``X_k`` see
the frozen part of x and the current v. With all outputs zero this is the leapfrog. (Foreman 2020, eqs. 17-26, with the
readings that make it invertible; Foreman 2021, sec. 3.) `refimpl.maps.definition` is the same for reading and autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nets
from ..actions import SmoothAction
from ..groups import wrap
from ..lattice import check_number, unit_flux
from . import affine
from .architecture import Angles, Architecture, NetWeights, Params, angles_of, encode, layer
from .blocks import drift, half_kick
from .md import PhasePoint

Array = NDArray[np.float64]

NOTHING = nets.Outputs(None, None, None)
AS_TRAINED = NetWeights()


@dataclass(frozen=True)
class End:
    """Where a trajectory ends: field (not wrapped), momenta, logdet, action and force there."""

    x: Array
    v: Array
    logdet: Array
    action: Array
    force: Array


# Cotangents of x, v, logdet and action at the end -> gradient of every parameter.
Pullback = Callable[[Array, Array, Array, Array], Params]


@dataclass(frozen=True, eq=False)
class GeneralizedLeapfrog:
    """The map ``z = (x, v) -> (z', logdet)`` of an architecture with its parameters.

    Parameters
    ----------
    action : whose force drives the momenta. architecture : `Architecture`. params : as laid out there; to change them, `replace`.
    net_weights : factors on the outputs of the nets.
    merged : the involution ``M = inverse layers . flip of v . layers`` instead of the layers. It is its own inverse; with
        ``winding`` the inverse is the same with the flux the other way round.

    Raises
    ------
    ValueError : parameters that do not belong to the architecture, or an action on another kind of field.
    """

    action: SmoothAction
    architecture: Architecture
    params: Mapping[str, Array]
    net_weights: NetWeights = AS_TRAINED
    merged: bool = False
    _masks: NDArray[np.bool_] = field(init=False, repr=False)
    _layers: dict[str, list[Params]] = field(init=False, repr=False)
    _flux: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.action.angular != self.architecture.angular:
            raise ValueError(
                f"action: got one on {'angles' if self.action.angular else 'real fields'}, "
                f"expected the other: the architecture has angular = {self.architecture.angular}"
            )
        # A mapping of its own that cannot be changed: the layers below are views into these very arrays.
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        self.architecture.check_params(self.params)
        object.__setattr__(self, "_masks", self.architecture.masks())
        layers = {w: [layer(self.params, w, k) for k in range(self.architecture.n_layers)] for w in "vx"}
        object.__setattr__(self, "_layers", layers)
        winding = self.architecture.winding
        shape = self.architecture.field_shape[-2:]
        object.__setattr__(self, "_flux", winding * unit_flux(shape) if winding else np.zeros(()))  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.action, self.architecture, dict(self.params), self.net_weights, self.merged)

    @property
    def involution(self) -> bool:
        """Whether the map is its own inverse."""
        return self.merged and not self.architecture.winding

    @property
    def n_forces(self) -> int:
        """Forces that one trajectory costs, the first being known."""
        n = self.architecture.n_layers * (2 if self.merged else 1)
        return n + (1 if self.architecture.winding else 0)

    def replace(self, **changes: object) -> GeneralizedLeapfrog:
        return replace(self, **changes)  # type: ignore[arg-type]

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        """``((x', v'), logdet)``, angles wrapped to [-pi, pi); raises `ValueError` on a field of another shape."""
        return self._mapped(z, 1)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        """The inverse map, with the logdet of the inverse direction."""
        return self._mapped(z, -1)

    def _mapped(self, z: PhasePoint, direction: int) -> tuple[PhasePoint, Array]:
        x, v = z
        if x.shape[1:] != self.architecture.field_shape or v.shape != x.shape:
            raise ValueError(
                f"z: got x {x.shape} and v {v.shape}, expected (chain, {', '.join(map(str, self.architecture.field_shape))})"
            )
        _, force = self.action.action_and_force(x)
        end = self.run(x, v, force, direction)
        return (self.wrapped(end.x), end.v), end.logdet

    def path(self, z: PhasePoint, direction: int = 1) -> list[tuple[PhasePoint, Array]]:
        """The points of a trajectory, each as `forward` returns its end: the start, and the point after every layer.

        A merged map has twice as many layers; the flip of the momenta comes before the layers that run back. The last point
        is what `forward` (or for ``direction = -1`` `inverse`) returns, exactly.
        """
        if direction not in (1, -1):
            raise ValueError(f"direction: got {direction!r}, expected 1 or -1")
        x, v = z
        end = self._mapped(z, direction)
        _, force = self.action.action_and_force(x)
        walk = _Walk(self, x, v, force, keep=False)
        points: list[tuple[Array, Array, Array]] = []
        walk.points = points
        walk.walk(direction)
        inner = [((self.wrapped(x), v), logdet) for x, v, logdet in points[:-1]]
        return [((self.wrapped(x), v), np.zeros(len(x))), *inner, end]

    def wrapped(self, x: Array) -> Array:
        """Angles in [-pi, pi); real fields as they are."""
        return wrap(x) if self.action.angular else x

    def run(self, x: Array, v: Array, force: Array, direction: int) -> End:
        """The map (or for ``direction = -1`` its inverse) where the force at ``x`` is known already."""
        if self.architecture.affine_kicks:
            steps = self._steps(self._numbers(self.params, direction), direction)
            return End(*affine.run(self.action, steps, x, v, force))
        return _Walk(self, x, v, force, keep=False).walk(direction)

    def run_with_pullback(self, x: Array, v: Array, force: Array, direction: int) -> tuple[End, Pullback]:
        """As `run`, and the reverse mode: gradients of the parameters from the cotangents of the end."""
        if self.architecture.affine_kicks:
            import autograd

            trace = autograd.make_vjp(lambda params: affine.joined(self._numbers(params, direction)))
            to_params, flat = trace(dict(self.params))
            steps = self._steps(affine.split(flat), direction)
            end, pull = affine.run_with_pullback(self.action, steps, x, v, force)
            return End(*end), lambda *g: to_params(affine.joined(pull(*g)))
        walk = _Walk(self, x, v, force, keep=True)
        return walk.walk(direction), walk.pullback

    def with_statistics(self, x: Array, v: Array, momentum: float) -> Params:
        """Parameters whose batch statistics have moved by the fraction ``momentum`` towards those of these chains.

        The statistics of a net become those of all its visits on the way of the map from ``(x, v)`` and, unless it is
        ``merged``, of its inverse: a kernel takes both. Chains that diverge do not count. For training only: while
        sampling the statistics have to stay. Raises `ValueError` for a momentum outside [0, 1].
        """
        if check_number("momentum", momentum, 0) > 1:
            raise ValueError(f"momentum: got {momentum!r}, expected a number from 0 to 1")
        _, force = self.action.action_and_force(x)
        seen: dict[tuple[str, int], list[tuple[Array, Array]]] = {}
        for direction in (1,) if self.merged else (1, -1):
            walk = _Walk(self, x, v, force, keep=False, watch=True)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                end = walk.walk(direction)
                good = np.isfinite(end.action) & np.isfinite(end.logdet)
            for net, which, k, inputs in walk.visits if good.any() else []:
                own = layer(self.params, which, k)
                shown = {name: value[good] for name, value in inputs.items()}
                batch = nets.update_statistics(net, own, shown, self.architecture.time_encoding(k), 1.0)
                row = k % len(self.params[f"{which}/norm/mean"])
                seen.setdefault((which, row), []).append((batch["norm/mean"], batch["norm/variance"]))
        params = dict(self.params)
        for (which, row), found in seen.items():
            means, variances = (np.array(part) for part in zip(*found, strict=True))
            pooled = {"mean": means.mean(axis=0), "variance": variances.mean(axis=0) + means.var(axis=0)}
            for name, value in pooled.items():
                key = f"{which}/norm/{name}"
                params[key] = params[key].copy()
                params[key][row] += momentum * (value - params[key][row])
        return params

    def _numbers(self, params: Mapping[str, Array], direction: int) -> affine.Numbers:
        """The kicks and drifts of a trajectory without nets; traceable by autograd."""
        n, weights = self.architecture.n_layers, self.net_weights
        s, t, q = (
            weight * params[f"v/scalar/{letter}"] + np.zeros(n) if f"v/scalar/{letter}" in params else np.zeros(n)
            for letter, weight in (("s", weights.s_v), ("t", weights.t_v), ("q", weights.q_v))
        )
        wind = self.architecture.winding != 0
        return affine.numbers(params["eps_x"], params["eps_v"], s, t, q, self._order(direction), wind)

    def _order(self, direction: int) -> str:
        return "+r-" if self.merged else "+" if direction > 0 else "-"

    def _steps(self, numbers: affine.Numbers, direction: int) -> affine.Steps:
        winding = self.architecture.winding != 0
        at = affine.flux_position(self.architecture.n_layers, self._order(direction)) if winding else -1
        return affine.Steps(numbers, at, direction * self._flux)


class _Cotangents:
    """Cotangents of the current field, momenta, force and logdet on the way back, and the gradients so far."""

    def __init__(self, model: GeneralizedLeapfrog, x: Array, v: Array, logdet: Array, force: Array) -> None:
        self.x, self.v, self.logdet, self.force = x, v, logdet, force
        self.params = {
            key: np.empty_like(value) if "/" in key else np.zeros_like(value) for key, value in model.params.items()
        }
        self.visited: set[tuple[str, int]] = set()

    def add(self, which: str, k: int, grads: Params) -> None:
        """Gradients of a net: every net is met at least once, and the first time there is nothing to add to."""
        for key, value in grads.items():
            total = self.params[f"{which}/{key}"]
            at = k % len(total)
            if (which, at) in self.visited:
                total[at] += value
            else:
                total[at] = value
        self.visited.add((which, at))


class _Walk:
    """One trajectory: the current point, where ``keep`` is set the steps back, and where ``watch`` is set what nets saw.

    Fields are in C order here, chains slowest: the rows that nets want. Only forces are computed chain-last.
    """

    def __init__(
        self, model: GeneralizedLeapfrog, x: Array, v: Array, force: Array, keep: bool, watch: bool = False
    ) -> None:
        self.model = model
        self.angles: Angles | None = None  # those of x, where they are known
        self.x, self.v, self.force = (np.ascontiguousarray(part) for part in (x, v, force))
        self.logdet = np.zeros(len(x))
        self.action = np.zeros(len(x))
        self.keep, self.watch = keep, watch
        self.visits: list[tuple[nets.Net, str, int, dict[str, Array]]] = []
        self.back: list[Callable[[_Cotangents], None]] = []
        self.points: list[tuple[Array, Array, Array]] | None = None  # x, v and logdet after each layer, where asked for

    def walk(self, direction: int) -> End:
        if self.model.merged:
            self._layers(1)
            self._flip()
            self._wind(direction)
            self._layers(-1)
        else:
            self._layers(direction)
        return End(self.x, self.v, self.logdet, self.action, self.force)

    def pullback(self, g_x: Array, g_v: Array, g_logdet: Array, g_action: Array) -> Params:
        per_chain = g_action.reshape((-1,) + (1,) * (self.x.ndim - 1))
        g = _Cotangents(self.model, g_x + per_chain * self.force, g_v, g_logdet, np.zeros_like(g_x))
        for step in reversed(self.back):
            step(g)
        return g.params

    def _layers(self, sign: int) -> None:
        n, x_net = self.model.architecture.n_layers, self.model.architecture.x_net
        for k in range(n) if sign > 0 else reversed(range(n)):
            if not self.model.merged and k == n // 2 - (sign < 0):
                self._wind(sign)
            self._kick(k, sign)
            if x_net is None:
                self._move(k, None, sign)
            else:
                halves = [self.model._masks[k], ~self.model._masks[k]]
                for move in halves[::sign]:
                    if move.any():
                        self._move(k, move, sign)
            self._update_force()
            self._kick(k, sign)
            if self.points is not None:
                self.points.append((self.x, self.v, self.logdet))
        if not self.model.merged and n == 1 and sign < 0:
            self._wind(sign)

    def _kick(self, k: int, sign: int) -> None:
        eps = float(self.model.params["eps_v"][k])
        out, pull_net = self._net("v", k, None)
        self.v, logdet, pull = half_kick(self.v, self.force, out, eps, sign)
        self.logdet = self.logdet + logdet

        def back(g: _Cotangents) -> None:
            g.v, g_force, g_out, g_eps = pull(g.v, g.logdet)
            g.params["eps_v"][k] += g_eps
            g.force = g.force + g_force
            pull_net(g, g_out)

        self._keep(back)

    def _move(self, k: int, move: NDArray[np.bool_] | None, sign: int) -> None:
        eps, angular = float(self.model.params["eps_x"][k]), self.model.architecture.angular
        out, pull_net = self._net("x", k, move)
        moved = None if move is None or move.all() else move.astype(np.float64)
        known = None if self.angles is None else self.angles.half_tangent
        self.x, logdet, pull = drift(self.x, self.v, out, moved, eps, sign, angular, known)
        self.angles = None
        self.logdet = self.logdet + logdet

        def back(g: _Cotangents) -> None:
            g.x, g_v, g_out, g_eps = pull(g.x, g.logdet)
            g.params["eps_x"][k] += g_eps
            g.v = g.v + g_v
            pull_net(g, g_out)

        self._keep(back)

    def _net(
        self, which: str, k: int, move: NDArray[np.bool_] | None
    ) -> tuple[nets.Outputs, Callable[[_Cotangents, nets.Outputs], None]]:
        """Outputs of a net times their weights, and the way back to the parameters and the inputs."""
        model, other = self.model, "force" if which == "v" else "v"
        net = model.architecture.v_net if which == "v" else model.architecture.x_net
        if net is None:
            return NOTHING, lambda g, g_out: None
        params = model._layers[which][k]
        if self.angles is None and model.architecture.encoding == "cartesian" and model.architecture.angular:
            self.angles = angles_of(self.x)
        seen, pull_seen = encode(model.architecture, self.x, move, self.angles)
        inputs = {**seen, other: getattr(self, other)}
        if self.watch and net.batch_norm:
            self.visits.append((net, which, k, inputs))
        out, cache = nets.apply(net, params, inputs, model.architecture.time_encoding(k))
        weights = [getattr(model.net_weights, f"{letter}_{which}") for letter in "stq"]

        def pull(g: _Cotangents, g_out: nets.Outputs) -> None:
            g_params, g_inputs = nets.pullback(net, params, cache, _weighted(g_out, weights))
            g.add(which, k, g_params)
            if net.kind != "scalars":
                g.x = g.x + pull_seen(g_inputs)
                setattr(g, other, getattr(g, other) + g_inputs[other])

        return _weighted(out, weights), pull

    def _update_force(self) -> None:
        model, x = self.model, self.x
        self.action, force = model.action.action_and_force(x)
        self.force = np.ascontiguousarray(force)

        def back(g: _Cotangents) -> None:
            g.x = g.x + np.ascontiguousarray(model.action.hessian_product(x, g.force))
            g.force = np.zeros_like(g.force)

        self._keep(back)

    def _flip(self) -> None:
        self.v = -self.v

        def back(g: _Cotangents) -> None:
            g.v = -g.v

        self._keep(back)

    def _wind(self, sign: int) -> None:
        if self.model.architecture.winding:
            self.x, self.angles = self.x + sign * self.model._flux, None
            self._update_force()

    def _keep(self, back: Callable[[_Cotangents], None]) -> None:
        if self.keep:
            self.back.append(back)


def _weighted(out: nets.Outputs, weights: list[float]) -> nets.Outputs:
    return nets.Outputs(
        *(value if value is None or w == 1.0 else w * value for value, w in zip(out, weights, strict=True))
    )
