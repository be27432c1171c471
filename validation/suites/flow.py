"""Golden vectors of coupling flows: weights of convolutions, a field of the prior, and where the layers take it.

The suite ``flows`` has one vector for each kind of layer that is published with its conventions: affine couplings of phi^4 on
checkerboards, moves of U(1) plaquettes in stripes by mixtures of projections or by circular splines (arXiv:2101.08176,
2202.11712), and of the spectra of SU(2) and SU(3) plaquettes (arXiv:2008.05456). The answers are computed here from the formulas in
extended precision, and share no code with the package: eigenvectors are never formed, only projectors on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measure_matrices import plaquettes, random_elements

Array = NDArray[np.float64]
Extended = NDArray[np.longdouble]

SHAPE, CHAINS, HIDDEN, BINS, MIXED = (4, 4), 2, 3, 3, 2
SEED = 20261126
# Of the layers: parities of checkerboards, numbers in the cycle of stripes.
AFFINE, STRIPES = (0, 1, 0), (0, 3, 6)
TWO_PI = 2 * np.longdouble("3.14159265358979323846264338327950288")
KNOTS = 3 * BINS + 1  # numbers of a spline, on the circle and on an interval
FAMILIES = (("affine", "phi4"), ("projections", "u1"), ("spline", "u1"), ("spectral", "su2"), ("spectral", "su3"))
TOLD = {
    "affine": "layer of parity p: phi' = phi exp(s) + t where t + x is p modulo 2, (s, t) = net(phi, 0 on those sites)",
    "projections": "g(P) = mean_i 2 atan(exp(s_i) tan(P/2)) + t, each atan in [0, 2 pi]; outputs s_1, ..., s_n, t",
    "spline": "g(P) = spline(P mod 2 pi) + t; outputs: widths and heights (softmax times 2 pi), slopes at knots 1, ..., K "
    "(softplus; the slope at knot 0 is that at K), t",
    "spectral": "the loop L = P (mu = 0) or P^dag (mu = 1) has phases t_1 <= ... <= t_N <= t_1 + 2 pi of sum 0; with c_j = "
    "(t_(j+1) - t_1)/2 pi, c_N = 1, every b_j = c_j/c_(j+1) goes through a spline from 0, 0 to 1, 1; L' has the new phases; "
    "outputs for b_(N-1), ..., b_1: K widths and K heights (softmax), slopes at knots 0, ..., K (softplus)",
}
STRIPES_TOLD = (
    "layer i: mu = i mod 2, y the coordinate along the other direction; links of direction mu with y = (i div 2) mod 4 move with "
    "the plaquettes of their names, theta_0 += g(P) - P or theta_1 -= g(P) - P, matrices U -> L' L^dag U; inputs cos(f P), "
    "sin(f P), of matrices f Re tr P/N and for N = 3 f Im tr P/N, f = 1 on plaquettes one and two rows beyond, else 0"
)
NET = (
    "periodic cross-correlations of 3x3 weights (out, in, 3, 3), leaky_relu (slope 0.01 below 0) between them, "
    "behind the last nothing, or of affine a tanh"
)


def vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    """Name, description and arrays of each vector."""
    for family, theory in FAMILIES:
        name = f"{family}-{theory}-4x4" if family == "spectral" else f"{family}-4x4"
        rng = np.random.default_rng([SEED, len(name)])
        layers = AFFINE if family == "affine" else STRIPES
        channels = [_inputs(theory), HIDDEN, _outputs(family, theory)]
        params = _parameters(rng, len(layers), channels)
        z = _field(rng, theory)
        x, logdet = transformed(family, layers, params, z)
        about = {
            "id": f"flows/{name}",
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
        arrays = {"x": z, "image": x.astype(z.dtype), "logdet": np.asarray(logdet, np.float64)}
        yield name, about, {**arrays, **{f"params/{key}": value for key, value in params.items()}}


def _inputs(theory: str) -> int:
    """Channels that a net sees."""
    return 1 if theory in ("phi4", "su2") else 2


def _outputs(family: str, theory: str) -> int:
    """Numbers that a net says about every site."""
    own = {"affine": 2, "projections": MIXED + 1, "spline": KNOTS}
    return own[family] if family in own else (int(theory[-1]) - 1) * KNOTS


def _field(rng: np.random.Generator, theory: str) -> NDArray[Any]:
    if theory == "phi4":
        return rng.standard_normal((CHAINS, *SHAPE))
    if theory == "u1":
        return rng.uniform(-np.pi, np.pi, (CHAINS, 2, *SHAPE))
    return random_elements(rng, (CHAINS, 2, *SHAPE), int(theory[-1]))


def _parameters(rng: np.random.Generator, n_layers: int, channels: list[int]) -> dict[str, Array]:
    """Random parameters, every one of them different from zero."""
    out = {}
    for layer in range(n_layers):
        for k in range(len(channels) - 1):
            out[f"{layer}/weight/{k}"] = 0.15 * rng.standard_normal((channels[k + 1], channels[k], 3, 3))
            out[f"{layer}/bias/{k}"] = 0.2 * rng.standard_normal(channels[k + 1])
    return out


def transformed(
    family: str, layers: tuple[int, ...], params: dict[str, Array], z: NDArray[Any]
) -> tuple[NDArray[Any], Extended]:
    """The field behind the layers, and the logdet."""
    x: NDArray[Any] = z.astype(np.clongdouble if np.iscomplexobj(z) else np.longdouble)
    logdet = np.zeros(len(z), np.longdouble)
    for number, place in enumerate(layers):
        own = {key.partition("/")[2]: value for key, value in params.items() if key.startswith(f"{number}/")}
        if family == "spectral":
            x, added = _spectra(own, place, x)
        else:
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
        d = np.log1p(np.exp(raw[2 * BINS : 3 * BINS]))
        y, slope[place] = _rational(x, TWO_PI, raw, np.concatenate([d[-1:], d]))
        moved[place] = y + raw[-1]
    return moved, slope


def _rational(x: Any, length: Any, raw: Extended, d: Extended) -> tuple[Any, Any]:
    """One spline from 0 to this length, with slopes d at the knots, and its slope at x."""
    w, h = (length * np.exp(part) / np.exp(part).sum() for part in (raw[:BINS], raw[BINS : 2 * BINS]))
    left, below, k = np.longdouble(0), np.longdouble(0), 0
    while k < BINS - 1 and x >= left + w[k]:
        left, below, k = left + w[k], below + h[k], k + 1
    xi, s = (x - left) / w[k], h[k] / w[k]
    divisor = s + (d[k + 1] + d[k] - 2 * s) * xi * (1 - xi)
    slope = s**2 * (d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2) / divisor**2
    return below + h[k] * (s * xi**2 + d[k] * xi * (1 - xi)) / divisor, slope


def _spectra(params: dict[str, Array], i: int, x: NDArray[Any]) -> tuple[NDArray[Any], Extended]:
    p = plaquettes(x)
    mu, row = i % 2, np.indices(SHAPE)[1 - i % 2] - (i // 2) % 4
    traces = np.where(np.isin(row % 4, (1, 2)), np.einsum("...ii->...", p) / p.shape[-1], 0)
    channels = [traces.real, traces.imag] if p.shape[-1] > 2 else [traces.real]
    outputs = net(params, np.stack(channels, axis=1))
    out, logdet = x.copy(), np.zeros(len(x), np.longdouble)
    for chain, t, s in zip(*np.nonzero(np.broadcast_to(row % 4 == 0, p.shape[:3])), strict=True):
        loop = p[chain, t, s] if mu == 0 else p[chain, t, s].conj().T
        moved, added = _spectrum(outputs[chain, :, t, s], loop)
        out[chain, mu, t, s] = moved @ loop.conj().T @ x[chain, mu, t, s]
        logdet[chain] += added
    return out, logdet


def _spectrum(raw: Extended, loop: NDArray[Any]) -> tuple[NDArray[Any], Any]:
    """One loop with its phases moved, and the logdet in Haar measure: a projector on every eigenvector, a factor for every pair."""
    n = len(loop)
    old = _phases(loop)
    gaps = np.diff(old)
    c = np.append(gaps.cumsum(), TWO_PI) / TWO_PI
    new_c, logdet = c.copy(), np.longdouble(0)
    for block, j in enumerate(range(n - 2, -1, -1)):
        own, b = raw[block * KNOTS : (block + 1) * KNOTS], c[j] / c[j + 1]
        moved, slope = _rational(b, np.longdouble(1), own, np.log1p(np.exp(own[2 * BINS :])))
        new_c[j] = moved * new_c[j + 1]
        logdet += np.log(slope) + j * np.log(moved / b)
    new = TWO_PI * np.append(np.longdouble(0), new_c[:-1])
    new -= new.mean()
    image = np.zeros_like(loop)
    for a in range(n):
        term = np.exp(1j * new[a]) * np.eye(n, dtype=loop.dtype)
        for b in range(n):
            if b != a:
                term = term @ (loop - np.exp(1j * old[b]) * np.eye(n)) / (np.exp(1j * old[a]) - np.exp(1j * old[b]))
            if b < a:
                logdet += 2 * np.log(np.abs(np.sin((new[a] - new[b]) / 2) / np.sin((old[a] - old[b]) / 2)))
        image += term
    return image, logdet


def _phases(loop: NDArray[Any]) -> Extended:
    """Of the eigenvalues, in the cell ``t_1 <= ... <= t_N <= t_1 + 2 pi`` of sum 0; roots are polished by Newton steps."""
    n, trace = len(loop), np.trace(loop)
    polynomial = np.array([1, -trace, 1] if n == 2 else [1, -trace, trace.conj(), -1], np.clongdouble)
    roots = np.linalg.eigvals(loop.astype(np.complex128)).astype(np.clongdouble)
    for _ in range(3):
        roots = roots - np.polyval(polynomial, roots) / np.polyval(np.polyder(polynomial), roots)
    phases = np.sort(np.arctan2(roots.imag, roots.real))
    turns = int(np.rint(phases.sum() / TWO_PI))
    if turns > 0:
        phases[n - turns :] -= TWO_PI
    elif turns < 0:
        phases[:-turns] += TWO_PI
    return np.sort(phases)
