"""Golden vectors of coupling flows: weights of convolutions, a field of the prior, and where the layers take it.

The suite ``flows`` has one vector for each kind of layer that is published with its conventions: affine couplings of phi^4 on
checkerboards, and moves of U(1) plaquettes in stripes by mixtures of projections or by circular splines (arXiv:2101.08176,
2202.11712). The answers are computed here from the formulas in extended precision, and share no code with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Extended = NDArray[np.longdouble]

SHAPE, CHAINS, HIDDEN, BINS, MIXED = (4, 4), 2, 3, 3, 2
SEED = 20261126
# Of the layers: parities of checkerboards, numbers in the cycle of stripes.
AFFINE, STRIPES = (0, 1, 0), (0, 3, 6)
TWO_PI = 2 * np.longdouble("3.14159265358979323846264338327950288")
OUTPUTS = {"affine": 2, "projections": MIXED + 1, "spline": 3 * BINS + 1}
TOLD = {
    "affine": "layer of parity p: phi' = phi exp(s) + t where t + x is p modulo 2, (s, t) = net(phi, 0 on those sites)",
    "projections": "g(P) = mean_i 2 atan(exp(s_i) tan(P/2)) + t, each atan in [0, 2 pi]; outputs s_1, ..., s_n, t",
    "spline": "g(P) = spline(P mod 2 pi) + t; outputs: widths and heights (softmax times 2 pi), slopes at knots 1, ..., K "
    "(softplus; the slope at knot 0 is that at K), t",
}
STRIPES_TOLD = (
    "layer i: mu = i mod 2, y the coordinate along the other direction; links of direction mu with y = (i div 2) mod 4 move with "
    "the plaquettes of their names, theta_0 += g(P) - P or theta_1 -= g(P) - P; inputs cos(f P), sin(f P), f = 1 on plaquettes "
    "one and two rows beyond, else 0"
)
NET = (
    "periodic cross-correlations of 3x3 weights (out, in, 3, 3), leaky_relu (slope 0.01 below 0) between them, "
    "behind the last nothing, or of affine a tanh"
)


def vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    """Name, description and arrays of each vector."""
    for family, theory in (("affine", "phi4"), ("projections", "u1"), ("spline", "u1")):
        rng = np.random.default_rng([SEED, len(family)])
        layers = AFFINE if family == "affine" else STRIPES
        channels = [1 if family == "affine" else 2, HIDDEN, OUTPUTS[family]]
        params = _parameters(rng, len(layers), channels)
        field = (CHAINS, *SHAPE) if theory == "phi4" else (CHAINS, 2, *SHAPE)
        z = rng.standard_normal(field) if theory == "phi4" else rng.uniform(-np.pi, np.pi, field)
        x, logdet = transformed(family, layers, params, z)
        about = {
            "id": f"flows/{family}-4x4",
            "theory": theory,
            "shape": SHAPE,
            "flags": ["BASIC", "CONVENTION"],
            "comment": f"{TOLD[family]}{'' if family == 'affine' else '; ' + STRIPES_TOLD}",
            "architecture": {"family": family, "layers": list(layers), "channels": channels, "bins": BINS, "net": NET},
            "expected": "valid",
            "derivation": "from the formulas, layer by layer in longdouble (80 bit where the machine has it), rounded once",
            "tolerance": "1e-11: rounding of three layers; angles on the circle",
            "conventions": "axes (chain, t, x) or (chain, mu, t, x), mu = 0 time; params/<layer>/weight/<convolution>, and bias",
        }
        arrays = {"x": z, "image": np.asarray(x, np.float64), "logdet": np.asarray(logdet, np.float64)}
        yield f"{family}-4x4", about, {**arrays, **{f"params/{key}": value for key, value in params.items()}}


def _parameters(rng: np.random.Generator, n_layers: int, channels: list[int]) -> dict[str, Array]:
    """Random parameters, every one of them different from zero."""
    out = {}
    for layer in range(n_layers):
        for k in range(len(channels) - 1):
            out[f"{layer}/weight/{k}"] = 0.15 * rng.standard_normal((channels[k + 1], channels[k], 3, 3))
            out[f"{layer}/bias/{k}"] = 0.2 * rng.standard_normal(channels[k + 1])
    return out


def transformed(family: str, layers: tuple[int, ...], params: dict[str, Array], z: Array) -> tuple[Extended, Extended]:
    """The field behind the layers, and the logdet."""
    x, logdet = z.astype(np.longdouble), np.zeros(len(z), np.longdouble)
    for number, place in enumerate(layers):
        own = {key.partition("/")[2]: value for key, value in params.items() if key.startswith(f"{number}/")}
        x, added = _affine(own, place, x) if family == "affine" else _plaquettes(family, own, place, x)
        logdet = logdet + added
    return x, logdet


def net(params: dict[str, Array], h: Extended) -> Extended:
    """The convolutions of ``(chain, channel, T, X)``, tap by tap."""
    n = sum(key.startswith("weight") for key in params)
    for k in range(n):
        w, b = (params[f"{name}/{k}"].astype(np.longdouble) for name in ("weight", "bias"))
        out = np.zeros((len(h), len(b), *h.shape[2:]), np.longdouble) + b[:, None, None]
        for i in range(3):
            for j in range(3):
                beside = np.roll(h, (1 - i, 1 - j), axis=(2, 3))
                for o in range(len(b)):
                    for c in range(h.shape[1]):
                        out[:, o] += w[o, c, i, j] * beside[:, c]
        h = out if k == n - 1 else np.where(out > 0, out, np.longdouble("0.01") * out)
    return h


def _affine(params: dict[str, Array], parity: int, x: Extended) -> tuple[Extended, Extended]:
    active = np.indices(x.shape[1:]).sum(axis=0) % 2 == parity
    s, t = np.tanh(np.moveaxis(net(params, np.where(active, 0, x)[:, None]), 1, 0))
    return np.where(active, x * np.exp(s) + t, x), np.where(active, s, 0).sum(axis=(1, 2))


def _plaquettes(family: str, params: dict[str, Array], i: int, x: Extended) -> tuple[Extended, Extended]:
    angles = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
    mu, row = i % 2, np.indices(SHAPE)[1 - i % 2] - (i // 2) % 4
    frozen, active = np.isin(row % 4, (1, 2)), row % 4 == 0
    outputs = net(params, np.stack([np.cos(frozen * angles), np.sin(frozen * angles)], axis=1))
    circle = _projections if family == "projections" else _spline
    moved, slope = circle(np.moveaxis(outputs, 1, 0), np.remainder(angles, TWO_PI))
    out = x.copy()
    out[:, mu] += (1 - 2 * mu) * np.where(active, moved - angles, 0)
    return np.remainder(out + TWO_PI / 2, TWO_PI) - TWO_PI / 2, np.where(active, np.log(slope), 0).sum(axis=(1, 2))


def _projections(outputs: Extended, angles: Extended) -> tuple[Extended, Extended]:
    """The mixture of angles in [0, 2 pi), and its slope."""
    images, slopes = [], []
    for s in outputs[:-1]:
        images.append(2 * np.arctan2(np.exp(s) * np.sin(angles / 2), np.cos(angles / 2)))
        slopes.append(1 / (np.exp(-s) * np.cos(angles / 2) ** 2 + np.exp(s) * np.sin(angles / 2) ** 2))
    return sum(images) / MIXED + outputs[-1], np.asarray(sum(slopes) / MIXED)


def _spline(outputs: Extended, angles: Extended) -> tuple[Extended, Extended]:
    """The spline of angles in [0, 2 pi), and its slope, element by element."""
    moved, slope = np.empty_like(angles), np.empty_like(angles)
    for place in np.ndindex(angles.shape):
        raw, x = outputs[(slice(None), *place)], angles[place]
        w, h = (TWO_PI * np.exp(part) / np.exp(part).sum() for part in (raw[:BINS], raw[BINS : 2 * BINS]))
        d = np.log1p(np.exp(raw[2 * BINS : 3 * BINS]))
        d = np.concatenate([d[-1:], d])
        left, below, k = np.longdouble(0), np.longdouble(0), 0
        while k < BINS - 1 and x >= left + w[k]:
            left, below, k = left + w[k], below + h[k], k + 1
        xi, s = (x - left) / w[k], h[k] / w[k]
        divisor = s + (d[k + 1] + d[k] - 2 * s) * xi * (1 - xi)
        moved[place] = below + h[k] * (s * xi**2 + d[k] * xi * (1 - xi)) / divisor + raw[-1]
        slope[place] = s**2 * (d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2) / divisor**2
    return moved, slope
