"""Golden vectors of U(1): action, force, plaquette and charges of links, plaquette by plaquette in 40-digit decimal arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import measure

Array = NDArray[np.float64]

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097")


def vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    """Name, description and arrays of every vector."""
    for name, shape, flags, comment, x in _inputs():
        about = {
            "id": f"u1/{name}",
            "theory": "u1",
            "beta": 1.0,
            "shape": shape,
            "flags": flags,
            "comment": comment,
            "expected": "valid",
            "derivation": "plaquette by plaquette in 40-digit decimal arithmetic from the float64 links, rounded once",
            "tolerance": "rounding: 8e-15 per plaquette angle, times the terms of the sum",
            "conventions": "axes (chain, mu, t, x), mu = 0 time; action = sum_P (1 - cos theta_P), force = + d action/d theta",
        }
        yield name, about, {"x": x, **_expected(x)}


def _inputs() -> list[tuple[str, tuple[int, int], list[str], str, Array]]:
    rng = np.random.default_rng(20260101)
    inputs: list[tuple[str, tuple[int, int], list[str], str, Array]] = []
    for shape in ((2, 2), (2, 3), (3, 2), (4, 4), (8, 8), (4, 6)):
        label = f"{shape[0]}x{shape[1]}"
        hot = rng.uniform(-np.pi, np.pi, (2, 2, *shape))
        inputs.append((f"hot-{label}", shape, ["BASIC"], "uniform links", hot))
        smooth = 0.1 * rng.standard_normal((1, 2, *shape))
        flux = measure.angle_difference(measure.flux_configuration(shape, 1) + smooth, np.zeros(1))
        inputs.append((f"flux-{label}", shape, ["SECTOR"], "charge 1 with small fluctuations", flux))
    one = np.zeros((2, 2, 4, 4))
    one[0, 0, 3, 3], one[1, 1, 3, 3] = 0.5, 0.25
    inputs.append(
        ("one-link-4x4", (4, 4), ["BASIC", "CONVENTION"], "one link on the boundary: orientation and axes", one)
    )
    cut = np.zeros((1, 2, 4, 4))
    cut[0, 0, 1, 2], cut[0, 1, 0, 0] = 3.141592653589793 - 1e-9, -3.141592653589793 + 1e-9
    inputs.append(("cut-4x4", (4, 4), ["EDGE_CASE", "BRANCH_CUT"], "plaquettes within 1e-9 of +-pi", cut))
    return inputs


def _expected(x: Array) -> dict[str, Array]:
    rows = [_decimal(configuration) for configuration in x]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _decimal(x: Array) -> dict[str, Any]:
    """All observables of one configuration ``(2, T, X)`` at beta = 1, in decimal arithmetic."""
    n_t, n_x = x.shape[1:]
    with localcontext() as context:
        context.prec = 40
        d = [[[Decimal(float(x[mu, t, s])) for s in range(n_x)] for t in range(n_t)] for mu in (0, 1)]
        angle = [
            [d[0][t][s] + d[1][(t + 1) % n_t][s] - d[0][t][(s + 1) % n_x] - d[1][t][s] for s in range(n_x)]
            for t in range(n_t)
        ]
        cosine, sine = ([[f(a) for a in row] for row in angle] for f in (_cos, lambda a: _cos(a - _PI / 2)))
        force = np.array(
            [
                [[float(sine[t][s] - sine[t][s - 1]) for s in range(n_x)] for t in range(n_t)],
                [[float(sine[t - 1][s] - sine[t][s]) for s in range(n_x)] for t in range(n_t)],
            ]
        )
        flat = [a for row in angle for a in row]
        total = sum((c for row in cosine for c in row), Decimal(0))
        wrapped = sum(
            (a - 2 * _PI * ((a + _PI) / (2 * _PI)).to_integral_value("ROUND_FLOOR") for a in flat), Decimal(0)
        )
        return {
            "action": float(len(flat) - total),
            "force": force,
            "plaquette": float(total / len(flat)),
            "charge": int((wrapped / (2 * _PI)).to_integral_value()),
            "sine_charge": float(sum((s for row in sine for s in row), Decimal(0)) / (2 * _PI)),
        }


def _cos(a: Decimal) -> Decimal:
    """Taylor series; arguments are at most 4 pi, so 40 digits lose five."""
    term, total, k = Decimal(1), Decimal(1), 0
    while abs(term) > Decimal(10) ** -38:
        k += 2
        term *= -a * a / (k * (k - 1))
        total += term
    return total
