"""Wrong maps: logdets, inverses and steps of `forward` and `inverse`, and of the proposals of an update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..contract import FLIP, Field, PhasePoint, Subject
from ..evidence import Noise
from .components import first, single
from .updates import Functions, Update, functions_of, update_of
from .wrapped import Bug

Array = NDArray[np.float64]
Image = tuple[PhasePoint, Array]


def _images(
    name: str, description: str, forward: Callable[[Subject, Image], Image], inverse: Callable[[Subject, Image], Image]
) -> Bug:
    """What the map and its inverse return is changed, of updates that propose by them too."""
    return Bug(name, description, lambda s: _proposing(s, forward, inverse), _as_it_is)


def _proposing(
    s: Subject, forward: Callable[[Subject, Image], Image], inverse: Callable[[Subject, Image], Image]
) -> Functions:
    update = update_of(s) if s.has("forward") or s.has("transition") else None

    def propose(honest: Update, x: Field, drawn: Noise) -> Image:
        (y, w), logdet = honest.propose(x, drawn)
        if drawn.d is None:
            return forward(s, ((y, w), logdet))
        for chains, change in ((drawn.d > 0, forward), (drawn.d < 0, inverse)):
            (y[chains], w[chains]), logdet[chains] = change(s, ((y[chains], w[chains]), logdet[chains]))
        return (y, w), logdet

    parts = None if update is None else replace(update, propose=lambda x, drawn: propose(update, x, drawn))
    return {
        "forward": lambda z: forward(s, s.forward(z)),
        "inverse": lambda z: inverse(s, s.inverse(z)),
        **functions_of(s, parts),
    }


def _as_it_is(s: Subject) -> Functions:
    return _proposing(s, lambda s, image: image, lambda s, image: image)


def _logdets(name: str, description: str, forward: Callable[[Array], Array], inverse: Callable[[Array], Array]) -> Bug:
    return _images(
        name,
        description,
        lambda s, image: (image[0], forward(image[1])),
        lambda s, image: (image[0], inverse(image[1])),
    )


def _consistent(sign: int) -> Callable[[Subject, Image], Image]:
    return lambda s, image: (image[0], image[1] + sign * 0.3)


def _scaled(factor: float) -> Callable[[Subject, Image], Image]:
    def changed(s: Subject, image: Image) -> Image:
        (x, v), logdet = image
        v[first(s)] *= factor
        return (x, v), logdet

    return changed


def _noisy(s: Subject, image: Image) -> Image:
    (x, v), logdet = image
    return (x, v * (1 + 1e-6 * np.random.default_rng().standard_normal(v.shape))), logdet


def _inverse_is_forward(s: Subject) -> Functions:
    return {"inverse": s.forward} if s.has("forward") else {}


def _turned_back(s: Subject) -> Functions:
    """As if it were HMC."""
    if not s.has("forward") or s.reversal == FLIP:
        return {}

    def inverse(z: PhasePoint) -> Image:
        (x, v), logdet = s.forward((z[0], -z[1]))
        return (x, -v), logdet

    return {"inverse": inverse}


def _other_step(s: Subject) -> Functions:
    base = s.parameter("step_size")
    if base is None or s.replace(step_size=1.05 * base) is None:
        return {}

    def forward(z: PhasePoint) -> Image:
        other = s.replace(step_size=1.05 * base)
        if other is None:
            raise ValueError("step_size: the target cannot be made at another")
        return other.forward(z)

    return {"forward": forward}


def _coupled(s: Subject) -> Functions:
    def mixed(z: PhasePoint) -> PhasePoint:
        v = z[1].copy()
        v[first(s)] += 1e-3 * v[first(s)].mean(axis=0)
        return z[0], v

    return {"forward": lambda z: s.forward(mixed(z))}


def _leaking(s: Subject, image: Image) -> Image:
    """The first component is scaled by a function of itself, and the logdet counts the scaling as if it were another's."""
    (x, v), logdet = image
    before = v[first(s)]
    scale = 0.1 * np.tanh(before)
    v[first(s)] = before * np.exp(scale)
    return (x, v), logdet + scale.reshape(len(scale), -1).sum(axis=1)


BUGS: tuple[Bug, ...] = (
    _logdets("LogdetForgotten", "the logdet is not carried", lambda d: 0 * d, lambda d: 0 * d),
    _logdets(
        "LogdetSignBothWays",
        "the logdet has the wrong sign, consistently in both directions",
        lambda d: -d,
        lambda d: -d,
    ),
    _logdets(
        "LogdetHalved", "the logdet is half of what it should be, in both directions", lambda d: d / 2, lambda d: d / 2
    ),
    _logdets(
        "LogdetLayerLost",
        "a tenth of the logdet is missing, as of one layer of ten",
        lambda d: 0.9 * d,
        lambda d: 0.9 * d,
    ),
    _logdets("ForwardLogdet", "the inverse reports the logdet of the forward direction", lambda d: d, lambda d: -d),
    _images(
        "LogdetConstant",
        "the logdet has a constant too much, consistently in both directions",
        _consistent(1),
        _consistent(-1),
    ),
    _images(
        "ScaledMomentum",
        "one momentum is scaled, back again by the inverse, and the logdet does not know",
        _scaled(1.1),
        _scaled(1 / 1.1),
    ),
    _images(
        "LeakingMask",
        "one component is scaled by a function of itself: the mask leaks",
        _leaking,
        lambda s, image: image,
    ),
    _images("NoiseInTheMap", "the map has noise of a millionth in it: every call gives another image", _noisy, _noisy),
    _images(
        "SinglePrecisionMap",
        "the map computes in single precision",
        lambda s, image: (single(image[0]), image[1]),
        lambda s, image: (single(image[0]), image[1]),
    ),
    Bug("InverseIsForward", "the inverse is the map itself", _inverse_is_forward),
    Bug(
        "BackwardByFlip",
        "the backward direction is the forward map between two flips of v, as if it were HMC",
        _turned_back,
    ),
    Bug("OtherStepSize", "`forward` has a step size 5 per cent larger than all else", _other_step),
    Bug("CoupledMap", "the map adds a thousandth of a mean over the batch to one momentum", _coupled),
)
