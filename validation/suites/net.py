"""Golden vectors of control variates that are nets, with given weights, of phi^4 and of two-dimensional U(1).

The field g is computed as it is defined, at every translate or for every plaquette and link, and f is its Stein divergence ``div g
- g . F`` by central differences in 50-digit decimal arithmetic: no derivative is written down, and no Fourier transform is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import U1, Decimals, Phi4, cosine, decimals, digits, inverse, plaquettes, rounded, sine
from ..pieces import piece
from .layer import tanh
from .variate import TOLERANCE, entry, stein

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Weights = Mapping[str, Decimals]

SEED = 20261216
THEORY, BETA = Phi4(-0.5, 2.5), 1.5
# name, lattice, neurons of hidden layers
SCALAR = (("neural-4x2", (4, 2), (3, 3)), ("neural-2x3", (2, 3), (2,)), ("neural-3x2-linear", (3, 2), ()))
# name, lattice, radius, harmonics, neurons
GAUGE = (("plaquettes-3x3", (3, 3), 1, 1, 2), ("plaquettes-3x2", (3, 2), 0, 2, 3))


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        for scalar in SCALAR:
            yield _of_sites(rng, *scalar)
        for gauge in GAUGE:
            yield _of_plaquettes(rng, *gauge)


def _given(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    return np.asarray(np.round(rng.standard_normal(shape), 6))


def _arcsinh(a: Decimal) -> Decimal:
    return (a + (1 + a * a).sqrt()).ln()


# --- phi^4 ------------------------------------------------------------------------------------------------------------
def _of_sites(rng: np.random.Generator, name: str, shape: tuple[int, int], neurons: tuple[int, ...]) -> Entry:
    sizes = itertools.pairwise((shape[0] * shape[1], *neurons, 1))
    params = {f"weight/{k}": 0.5 * _given(rng, *size) for k, size in enumerate(sizes)}
    weights = [decimals(weight) for weight in params.values()]
    x = _given(rng, 2, *shape)

    def field(phi: Decimals) -> Decimals:
        out = np.empty(shape, dtype=object)
        for y in np.ndindex(shape):
            h = np.roll(phi, (-y[0], -y[1]), (0, 1)).ravel() @ weights[0]
            for weight in weights[1:]:
                h = np.array([_arcsinh(a) for a in h], dtype=object) @ weight
            out[y] = h[0]
        return out

    fields = [decimals(phi) for phi in x]
    arrays: dict[str, Any] = {"x": x, **{f"params/{key}": value for key, value in params.items()}}
    arrays |= {
        "g": [rounded(field(phi)) for phi in fields],
        "f": [float(stein(field, THEORY.force, phi)) for phi in fields],
    }
    formula = (
        "g_y = W_L^T a(W_(L-1)^T ... a(W_0^T z)), a = arcsinh, z the field phi(y + r), r = (0, 0), (0, 1), ... row by row; W_k "
        "(before, after), no biases, one output; f = div g - g . F. Arguments: m2, lam, weights, phi"
    )
    arguments: list[Any] = [THEORY.m2, THEORY.lam, {"arrays": "params/"}, "x"]
    pieces = [
        piece("variates.neural", formula, arguments, "f", tolerance=TOLERANCE * 10),
        piece("variates.neural_field", formula + ". Returns g", arguments, "g", tolerance=TOLERANCE),
    ]
    parameters = {"m2": THEORY.m2, "lam": THEORY.lam}
    comment = f"a net of the whole field, {len(neurons)} hidden layers"
    return entry("net_variates", name, "phi4", parameters, comment, arrays, pieces)


# --- U(1) -------------------------------------------------------------------------------------------------------------
def _of_plaquettes(
    rng: np.random.Generator, name: str, shape: tuple[int, int], radius: int, harmonics: int, neurons: int
) -> Entry:
    features = harmonics * ((2 * radius + 1) ** 2 + 1)
    params = {
        "odd": 0.5 * _given(rng, features, neurons),
        "even": 0.5 * _given(rng, features, neurons),
        "bias": _given(rng, neurons),
        "out": _given(rng, neurons),
    }
    weights = {key: decimals(value) for key, value in params.items()}
    x = np.round(rng.uniform(-3, 3, (2, 2, *shape)), 6)
    spread = _inverse_laplacian(shape)

    def field(links: Decimals) -> Decimals:
        h = _outputs(plaquettes(links), weights, radius, harmonics)
        phi = (spread @ (h - h.sum() / h.size).ravel()).reshape(shape)
        return np.stack([phi - np.roll(phi, 1, 1), np.roll(phi, 1, 0) - phi])

    fields = [decimals(links) for links in x]
    arrays: dict[str, Any] = {"x": x, **{f"params/{key}": value for key, value in params.items()}}
    arrays |= {
        "g": [rounded(field(links)) for links in fields],
        "f": [float(stein(field, U1(BETA).force, links)) for links in fields],
    }
    formula = (
        "h_P = sum_j out_j arcsinh(sum_a o_a odd_aj) tanh(sum_a e_a even_aj + bias_j); features a, for k = 1, ..., harmonics: o "
        "sin k x_Q, e cos k x_Q, Q = P + (t, s), t, s = -radius, ..., radius row by row, then the means of both over all Q; g the "
        "shortest link field whose plaquettes are h_P less its mean; f = div g - g . F. "
        "Arguments: beta, weights, radius, harmonics, links (chain, mu, t, x)"
    )
    arguments: list[Any] = [BETA, {"arrays": "params/"}, radius, harmonics, "x"]
    pieces = [
        piece("variates.plaquette_net", formula, arguments, "f", tolerance=TOLERANCE * 20),
        piece("variates.plaquette_net_field", formula + ". Returns g", arguments, "g", tolerance=TOLERANCE * 2),
    ]
    comment = f"a net of the plaquettes up to {radius} sites away"
    return entry("net_variates", name, "u1", {"beta": BETA}, comment, arrays, pieces)


def _inverse_laplacian(shape: tuple[int, int]) -> Decimals:
    """Of fields of sum zero: the constant that is added has no say."""
    n_t, n_x = shape
    laplacian = np.ones((n_t * n_x, n_t * n_x))
    for t, s in np.ndindex(shape):
        here = t * n_x + s
        laplacian[here, here] += 4
        for far_t, far_s in ((t + 1, s), (t - 1, s), (t, s + 1), (t, s - 1)):
            laplacian[here, far_t % n_t * n_x + far_s % n_x] -= 1
    return inverse(laplacian)[0]


def _outputs(angles: Decimals, weights: Weights, radius: int, harmonics: int) -> Decimals:
    """``h_P``."""
    steps = list(itertools.product(range(-radius, radius + 1), repeat=2))
    out = np.empty(angles.shape, dtype=object)
    waves = [(sine(k * angles), cosine(k * angles)) for k in range(1, harmonics + 1)]
    for t, s in np.ndindex(angles.shape):
        odd, even = (
            [
                number
                for wave in (pair[parity] for pair in waves)
                for number in (*(np.roll(wave, (-i, -j), (0, 1))[t, s] for i, j in steps), wave.sum() / wave.size)
            ]
            for parity in (0, 1)
        )
        gates = np.array(even, dtype=object) @ weights["even"] + weights["bias"]
        values = np.array(odd, dtype=object) @ weights["odd"]
        out[t, s] = sum(
            (o * _arcsinh(a) * tanh(b) for o, a, b in zip(weights["out"], values, gates, strict=True)), Decimal(0)
        )
    return out
