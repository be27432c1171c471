"""What a generalized leapfrog is made of: masks, the inputs of its nets, the layout of its parameters.

Parameters are one flat dict of arrays, which is also the layout of a weight file:

=====================  ==============================================================================================
key                    array
=====================  ==============================================================================================
``eps_x``, ``eps_v``   step sizes ``(N,)``
``v/...``              the nets of the momentum updates: the keys of `refimpl.nets`, each array with a leading axis of
                       N (a net per layer) or 1 (``shared``)
``x/...``              the same for the position updates
=====================  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import nets
from ..groups import sincos, wrap
from ..lattice import (
    check_integer,
    check_number,
    gradient_program,
    parity_mask,
    plaquette_angles,
    run,
    shift,
    stripe_mask,
)

Array = NDArray[np.float64]
Params = dict[str, Array]

MASKS = ("random", "checkerboard", "stripes", "combined")
ENCODINGS = ("cartesian", "masked_angle", "angle", "plaquette")


@dataclass(frozen=True)
class NetWeights:
    """Factors on the outputs of the nets (Foreman 2020, eqs. 52-56); all zero is HMC."""

    s_x: float = 1.0
    t_x: float = 1.0
    q_x: float = 1.0
    s_v: float = 1.0
    t_v: float = 1.0
    q_v: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_number(name, value, -math.inf)

    @property
    def trivial(self) -> bool:
        return astuple(self) == (1.0,) * 6


@dataclass(frozen=True)
class Architecture:
    """Everything but the numbers.

    Parameters
    ----------
    field_shape : shape of the field of one chain: ``(2, T, X)`` links, ``(N,)`` a chain of angles, ``(D,)`` or ``(T, X)`` a real
        field.
    angular : angles on the circle (the position update is projective) or real numbers (affine).
    n_layers : number of leapfrog layers.
    v_net, x_net : nets of the momentum and of the position updates (`refimpl.nets.Net`), None for none. Without an
        ``x_net`` a position update is the drift ``x + eps_x v`` and needs no mask.
    mask : which half of the entries moves first. ``random``: half of them, drawn from ``mask_seed`` once per layer;
        ``checkerboard``: even sites; ``stripes``: every other row, in time and in space by turns; both exchange their
        halves from layer to layer; ``combined``: all at once, the net then sees only v (Foreman 2020, eqs. 63-70).
    shared : one net for all layers instead of one each.
    time : whether nets are told ``(cos 2 pi k/N, sin 2 pi k/N)``.
    encoding : how nets see angles: ``cartesian``, cos and sin times the mask; ``masked_angle``, cos and sin of the
        masked angle; ``angle``, the masked angle itself, discontinuous at the cut; ``plaquette``, cos and sin of the
        plaquettes whose links are all frozen: gauge invariant. A position net then must not scale (no ``s``), and sees
        little but v: masks of single sites leave few plaquettes frozen.
    winding : units of flux that are added in the middle of the trajectory (links only).

    Raises
    ------
    ValueError : naming the argument.
    """

    field_shape: tuple[int, ...]
    angular: bool
    n_layers: int
    v_net: nets.Net | None = None
    x_net: nets.Net | None = None
    mask: str = "random"
    mask_seed: int = 0
    shared: bool = False
    time: bool = False
    encoding: str = "cartesian"
    winding: int = 0

    def __post_init__(self) -> None:
        shape = self.field_shape
        if (
            not isinstance(shape, tuple)
            or len(shape) not in ((1, 3) if self.angular else (1, 2, 3))
            or any(not isinstance(n, int) or n < 1 for n in shape)
        ):
            raise ValueError(
                f"field_shape: got {shape!r}, expected (2, T, X), (N,) or, of real numbers, (D,) or (T, X)"
            )
        if len(shape) == 3 and (shape[0] != 2 or min(shape) < 2 or not self.angular):
            raise ValueError(f"field_shape: got {shape!r}, expected (2, T, X) angles with extents of at least 2")
        check_integer("n_layers", self.n_layers, 1)
        check_integer("mask_seed", self.mask_seed, 0)
        if not isinstance(self.winding, int):
            raise ValueError(f"winding: got {self.winding!r}, expected an integer")
        if self.mask not in MASKS:
            raise ValueError(f"mask: got {self.mask!r}, expected one of {', '.join(MASKS)}")
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding: got {self.encoding!r}, expected one of {', '.join(ENCODINGS)}")
        if not self.angular and self.encoding != "cartesian":
            raise ValueError(
                f"encoding: got {self.encoding!r} on a real field, expected 'cartesian' (the field itself)"
            )
        for name in ("angular", "shared", "time"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected True or False")
        for name in ("v_net", "x_net"):
            if not isinstance(getattr(self, name), nets.Net | None):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected a Net or None")
        if len(shape) == 3 and abs(self.winding) >= shape[1] * shape[2]:
            raise ValueError(f"winding: got {self.winding}, expected less than the {shape[1] * shape[2]} plaquettes")
        if len(shape) != 3 and (self.encoding == "plaquette" or self.winding):
            raise ValueError(f"field_shape: got {shape!r}, expected (2, T, X) links for plaquettes or winding")
        if self.x_net is not None and self.mask in ("checkerboard", "stripes") and any(n % 2 for n in shape[-2:]):
            raise ValueError(f"mask: got {self.mask!r} on {shape}, expected even extents")
        if self.encoding == "plaquette" and self.x_net is not None and "s" in self.x_net.outputs:
            raise ValueError(
                f"x_net: got outputs {self.x_net.outputs!r}, expected no 's': scaling a link is not gauge covariant"
            )

    @property
    def affine_kicks(self) -> bool:
        """Whether the trajectory is a list of numbers: no position net, and momentum nets of scalars only."""
        return self.x_net is None and (self.v_net is None or self.v_net.kind == "scalars")

    @property
    def batch_norm(self) -> bool:
        """Whether a net has statistics, which `GeneralizedLeapfrog.with_statistics` updates."""
        return any(net is not None and net.batch_norm for net in (self.v_net, self.x_net))

    def masks(self) -> NDArray[np.bool_]:
        """Entries that move first, ``(N, *field_shape)``; their complement moves second. All of them without an ``x_net``."""
        shape = self.field_shape
        if self.mask == "combined" or self.x_net is None:
            return np.ones((self.n_layers, *shape), dtype=bool)
        if self.mask == "random":
            rng = np.random.default_rng(self.mask_seed)
            half = np.arange(math.prod(shape)) < math.prod(shape) // 2
            return np.array([rng.permutation(half).reshape(shape) for _ in range(self.n_layers)])
        out = np.empty((self.n_layers, *shape), dtype=bool)
        for k in range(self.n_layers):
            if len(shape) == 1:
                out[k] = np.arange(shape[0]) % 2 == k % 2
            elif self.mask == "checkerboard":
                out[k] = parity_mask(shape[-2:], k)  # type: ignore[arg-type]
            else:
                out[k] = stripe_mask(shape[-2:], k % 2, 2, k // 2)  # type: ignore[arg-type]
        return out

    def time_encoding(self, k: int) -> Array | None:
        """``tau(k) = (cos 2 pi k/N, sin 2 pi k/N)`` of layer k, or None."""
        angle = 2 * math.pi * k / self.n_layers
        return np.array([math.cos(angle), math.sin(angle)]) if self.time else None

    def inputs(self, which: str) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what the net ``which`` = "v" or "x" is shown."""
        other = {"force" if which == "v" else "v": self.field_shape}
        if not self.angular:
            return {"x": self.field_shape, **other}
        if self.encoding == "angle":
            return {"angle": self.field_shape, **other}
        if self.encoding == "plaquette":
            return {"cos_p": self.field_shape[1:], "sin_p": self.field_shape[1:], **other}
        return {"cos": self.field_shape, "sin": self.field_shape, **other}

    def init(self, rng: np.random.Generator, step_size: float) -> Params:
        """Parameters of the untrained sampler, which is HMC of this step size: all outputs of the nets are zero."""
        check_number("step_size", step_size, 0, above=True)
        params = {name: np.full(self.n_layers, float(step_size)) for name in ("eps_x", "eps_v")}
        for which, net in (("v", self.v_net), ("x", self.x_net)):
            if net is None:
                continue
            layers = [
                nets.init(net, rng, self.inputs(which), self.field_shape, self.time)
                for _ in range(1 if self.shared else self.n_layers)
            ]
            params |= {f"{which}/{key}": np.stack([layer[key] for layer in layers]) for key in layers[0]}
        return params

    def check_params(self, params: Mapping[str, Array]) -> None:
        """Raise `ValueError` naming the key unless the parameters belong to this architecture and are finite."""
        expected = _shapes(self)
        if missing := sorted(set(expected) - set(params)):
            raise ValueError(f"params: got no {', '.join(missing)}, expected the keys of this architecture")
        if extra := sorted(set(params) - set(expected)):
            raise ValueError(f"params: got unknown keys {', '.join(extra)}, expected the keys of this architecture")
        for key, shape in expected.items():
            got = np.asarray(params[key])
            if got.shape != shape or got.dtype != np.float64:
                raise ValueError(f"params: got {key} of {got.dtype} {got.shape}, expected float64 {shape}")
            if not np.all(np.isfinite(got)):
                raise ValueError(f"params: got NaN or infinite numbers in {key}, expected finite ones")


@lru_cache(maxsize=64)
def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    # Kept: a step of training makes a new map, and drawing all its weights anew would be a fifth of the step.
    return {key: value.shape for key, value in architecture.init(np.random.default_rng(0), 1.0).items()}


def layer(params: Mapping[str, Array], which: str, k: int) -> Params:
    """Parameters of the net ``which`` in layer k: views, of shape ``()`` where they are numbers."""
    return {key[2:]: value[k % len(value), ...] for key, value in params.items() if key.startswith(which + "/")}


def frozen_plaquettes(move: NDArray[np.bool_]) -> Array:
    """1 for plaquettes none of whose links moves, ``(T, X)``."""
    moved = move.astype(np.float64)
    touched = moved[0] + moved[1] + shift(moved[0], 1) + shift(moved[1], 0)
    return (touched == 0).astype(np.float64)


class Angles(NamedTuple):
    """``tan(x/2)``, ``sin x`` and ``cos x`` of a field."""

    half_tangent: Array
    sin: Array
    cos: Array


def angles_of(x: Array) -> Angles:
    """All that the updates need of the angles ``x`` from one tangent; the formulas of `refimpl.groups.sincos`."""
    t = np.tan(0.5 * x)
    c = t * t
    c += 1.0
    np.divide(2.0, c, out=c)
    sin = t * c
    c -= 1.0
    return Angles(t, sin, c)


Pull = Callable[[dict[str, Array]], Array]


def encode(
    architecture: Architecture, x: Array, move: NDArray[np.bool_] | None, angles: Angles | None = None
) -> tuple[dict[str, Array], Pull]:
    """What a net is shown of the field, and the pullback of that: cotangents of the inputs -> cotangent of ``x``.

    ``move`` is None for a momentum update (everything is shown) or marks the entries that move (and are hidden);
    ``angles``, where they are known, are those of ``x``.
    """
    frozen = 1.0 if move is None else (~move).astype(np.float64)
    if not architecture.angular:
        return {"x": x * frozen}, lambda g: g["x"] * frozen
    if architecture.encoding == "angle":
        return {"angle": wrap(x) * frozen}, lambda g: g["angle"] * frozen
    if architecture.encoding == "plaquette":
        shown = 1.0 if move is None else frozen_plaquettes(move)
        sin_p, cos_p = sincos(plaquette_angles(x), "tan")

        def pull_plaquettes(g: dict[str, Array]) -> Array:
            g_x = np.zeros_like(x)
            run(gradient_program((g["cos_p"] * sin_p - g["sin_p"] * cos_p) * shown, g_x))
            return g_x

        return {"cos_p": cos_p * shown, "sin_p": sin_p * shown}, pull_plaquettes
    if architecture.encoding == "masked_angle":
        angles = angles_of(x * frozen)
    elif angles is None:
        angles = angles_of(x)
    _, sin, cos = angles

    def pull(g: dict[str, Array]) -> Array:
        g_x = g["sin"] * cos
        g_x -= g["cos"] * sin
        return g_x if move is None else np.multiply(g_x, frozen, out=g_x)

    if move is None or architecture.encoding == "masked_angle":
        return {"cos": cos, "sin": sin}, pull
    return {"cos": cos * frozen, "sin": sin * frozen}, pull
