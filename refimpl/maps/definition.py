"""The generalized leapfrog as it is written, in `autograd.numpy`: to be read beside the papers, and differentiated.

`refimpl.maps.l2hmc` is the same for speed and must agree to rounding; its gradients must agree with those of this module.
"""

from __future__ import annotations

from typing import Any

import autograd
import autograd.numpy as np
from numpy.typing import NDArray

from .. import nets
from ..lattice import unit_flux
from .architecture import Architecture, NetWeights, frozen_plaquettes

AS_TRAINED = NetWeights()

Box = Any  # an array, or autograd's record of one


def half_kick(v: Box, force: Box, s: Box, t: Box, q: Box, e: Box) -> tuple[Box, Box]:
    """``v' = v exp(e s/2) - (e/2) (F exp(e q) + t)``, ``logdet = (e/2) sum s`` (Foreman 2020, eq. 17)."""
    return v * np.exp(e * s / 2) - e / 2 * (force * np.exp(e * q) + t), e / 2 * total(s, v)


def half_kick_inverse(v: Box, force: Box, s: Box, t: Box, q: Box, e: Box) -> tuple[Box, Box]:
    """``v = (v' + (e/2) (F exp(e q) + t)) exp(-e s/2)``, ``logdet = -(e/2) sum s`` (eq. 21)."""
    return (v + e / 2 * (force * np.exp(e * q) + t)) * np.exp(-e * s / 2), -e / 2 * total(s, v)


def affine(x: Box, v: Box, s: Box, t: Box, q: Box, move: Box, e: Box) -> tuple[Box, Box]:
    """``x' = x exp(e s) + e (v exp(e q) + t)`` where ``move`` is 1, ``logdet = sum_move e s`` (eq. 18)."""
    return x * np.exp(e * s * move) + e * move * (v * np.exp(e * q) + t), total(e * s * move, x)


def affine_inverse(x: Box, v: Box, s: Box, t: Box, q: Box, move: Box, e: Box) -> tuple[Box, Box]:
    """``x = (x' - e (v exp(e q) + t)) exp(-e s)`` where ``move`` is 1 (eq. 22)."""
    return (x - e * move * (v * np.exp(e * q) + t)) * np.exp(-e * s * move), -total(e * s * move, x)


def projective(x: Box, v: Box, s: Box, t: Box, q: Box, move: Box, e: Box) -> tuple[Box, Box]:
    """``x' = 2 atan(exp(e s) tan(x/2)) + e (v exp(e q) + t)`` where ``move`` is 1: a bijection of the circle.

    ``logdet = sum_move [e s - log(cos^2(x/2) + exp(2 e s) sin^2(x/2))]``.
    """
    stretched = 2 * np.arctan(np.exp(e * s * move) * np.tan(x / 2))
    density = e * s * move - np.log(np.cos(x / 2) ** 2 + np.exp(2 * e * s * move) * np.sin(x / 2) ** 2)
    return stretched + e * move * (v * np.exp(e * q) + t), total(density, x)


def projective_inverse(x: Box, v: Box, s: Box, t: Box, q: Box, move: Box, e: Box) -> tuple[Box, Box]:
    """The shift is undone first, ``y = x' - d``, then ``x = 2 atan(exp(-e s) tan(y/2))``."""
    return projective(x - e * move * (v * np.exp(e * q) + t), v * 0.0, -s, t * 0.0, q * 0.0, move, e)


def run(
    action: Any,
    architecture: Architecture,
    params: Any,
    x: Box,
    v: Box,
    direction: int = 1,
    net_weights: NetWeights = AS_TRAINED,
    merged: bool = False,
) -> tuple[Box, Box, Box]:
    """``(x', v', logdet)`` of the whole map, or for ``direction = -1`` of its inverse; angles are not wrapped."""
    position, position_inverse = (projective, projective_inverse) if architecture.angular else (affine, affine_inverse)
    force = autograd.elementwise_grad(lambda y: np.sum(action.definition(y)))
    masks, n = architecture.masks().astype(float), architecture.n_layers
    logdet = np.zeros(len(x))

    def momentum(k: int, update: Any, x: Box, v: Box) -> tuple[Box, Box]:
        f = force(x)
        s, t, q = outputs(architecture, params, net_weights, "v", k, x, None, f)
        return update(v, f, s, t, q, params["eps_v"][k])

    def move_half(k: int, update: Any, half: NDArray, x: Box, v: Box) -> tuple[Box, Box]:
        s, t, q = outputs(architecture, params, net_weights, "x", k, x, half, v)
        return update(x, v, s, t, q, half, params["eps_x"][k])

    def forward_layer(k: int, x: Box, v: Box, logdet: Box) -> tuple[Box, Box, Box]:
        v, j1 = momentum(k, half_kick, x, v)
        x, j2 = move_half(k, position, masks[k], x, v)
        x, j3 = move_half(k, position, 1 - masks[k], x, v)
        v, j4 = momentum(k, half_kick, x, v)
        return x, v, logdet + j1 + j2 + j3 + j4

    def inverse_layer(k: int, x: Box, v: Box, logdet: Box) -> tuple[Box, Box, Box]:
        v, j4 = momentum(k, half_kick_inverse, x, v)
        x, j3 = move_half(k, position_inverse, 1 - masks[k], x, v)
        x, j2 = move_half(k, position_inverse, masks[k], x, v)
        v, j1 = momentum(k, half_kick_inverse, x, v)
        return x, v, logdet + j1 + j2 + j3 + j4

    flux = architecture.winding * unit_flux(architecture.field_shape[1:]) if architecture.winding else 0.0  # type: ignore[arg-type]
    z = (x, v, logdet)
    if merged:
        for k in range(n):
            z = forward_layer(k, *z)
        z = (z[0] + direction * flux, -z[1], z[2])
        for k in reversed(range(n)):
            z = inverse_layer(k, *z)
    elif direction > 0:
        for k in range(n):
            z = (z[0] + (flux if k == n // 2 else 0.0), *z[1:])
            z = forward_layer(k, *z)
    else:
        for k in reversed(range(n)):
            z = inverse_layer(k, *z)
            z = (z[0] - (flux if k == n // 2 else 0.0), *z[1:])
    return z


def outputs(
    architecture: Architecture, params: Any, net_weights: NetWeights, which: str, k: int, x: Box, move: Any, other: Box
) -> list[Box]:
    """S, T, Q of a net with its weights; zeros where there is none."""
    net = architecture.v_net if which == "v" else architecture.x_net
    if net is None:
        return [0.0 * other] * 3
    prefix = which + "/"
    own = {key[2:]: params[key][k % len(params[key])] for key in params if key.startswith(prefix)}
    inputs = {**seen(architecture, x, move), "force" if which == "v" else "v": other}
    out = nets.definition(net, own, inputs, architecture.time_encoding(k))
    weights = [getattr(net_weights, f"{letter}_{which}") for letter in "stq"]
    return [0.0 * other if value is None else w * value + 0.0 * other for value, w in zip(out, weights, strict=True)]


def seen(architecture: Architecture, x: Box, move: Any) -> dict[str, Box]:
    """The field as a net sees it, the entries that move hidden."""
    frozen = 1.0 if move is None else 1 - move
    if not architecture.angular:
        return {"x": x * frozen}
    if architecture.encoding == "angle":
        return {"angle": (x - 2 * np.pi * np.floor((x + np.pi) / (2 * np.pi))) * frozen}
    if architecture.encoding == "plaquette":
        shown = 1.0 if move is None else frozen_plaquettes(move.astype(bool))
        p = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
        return {"cos_p": np.cos(p) * shown, "sin_p": np.sin(p) * shown}
    if architecture.encoding == "masked_angle":
        return {"cos": np.cos(x * frozen), "sin": np.sin(x * frozen)}
    return {"cos": np.cos(x) * frozen, "sin": np.sin(x) * frozen}


def total(values: Box, field: Box) -> Box:
    """Sum over the field of each chain."""
    return np.sum(np.reshape(values + 0.0 * field, (len(field), -1)), axis=1)
