"""Golden vectors of topology: links of every charge from -3 to 3, smooth, rough and gauge transformed, on rectangles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..measure import angle_difference, flux_configuration, gauge_transformed
from ..vector_format import call
from .cases import Case, Entry, Suite, vector
from .decimals import PI, allowance, decimals, digits, plaquettes, rounded, sine, wrapped

SUITE = Suite(
    "topology",
    "u1",
    __name__,
    20261206,
    "plaquette by plaquette in 50-digit decimal arithmetic from the float64 links, rounded once",
    "axes (chain, mu, t, x), mu = 0 time; charge = sum_P wrap(theta_P)/2 pi with wrap into [-pi, pi), an integer, stored as int64; "
    "sine_charge = sum_P sin theta_P/2 pi",
)
CHARGES = (-3, -2, -1, 0, 1, 2, 3)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector; of sectors, chain k has charge ``k - 3``."""
    for case in _cases():
        with digits():
            angles = [plaquettes(decimals(field)) for field in case.x]
            exact = [wrapped(a).sum() / (2 * PI) for a in angles]
            sines = rounded([sine(a).sum() / (2 * PI) for a in angles])
        arrays: dict[str, Any] = {"charge": np.array([int(q.to_integral_value()) for q in exact]), "sine_charge": sines}
        calls = [
            call("charge", ["x"], "charge", 1e-9),
            call("sine_charge", ["x"], "sine_charge", allowance(case.x[0].size, 4.0)),
        ]
        yield vector(SUITE, case, arrays, calls, "charge: an integer; sine charge: rounding of each angle, summed")


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(SUITE.seed)
    for shape in ((4, 4), (4, 6), (6, 4), (3, 5), (8, 2), (8, 8)):
        label, parameters = f"{shape[0]}x{shape[1]}", {"beta": 4.0, "shape": list(shape)}
        flux = np.concatenate([flux_configuration(shape, q) for q in CHARGES])
        rough = flux + 0.15 * rng.standard_normal(flux.shape)
        moved = gauge_transformed(rough, rng.uniform(-np.pi, np.pi, (len(flux), *shape)))
        comment = "charges -3 to 3 with fluctuations, in a random gauge"
        yield Case(f"sectors-{label}", parameters, ["BASIC", "SECTOR"], comment, angle_difference(moved, np.zeros(1)))
    shape = (8, 8)
    parameters = {"beta": 4.0, "shape": list(shape)}
    bare = np.concatenate([flux_configuration(shape, q) for q in (-3, -1, 1, 3)])
    bare = gauge_transformed(bare, rng.uniform(-np.pi, np.pi, (len(bare), *shape)))
    comment = (
        "sums that rounding leaves a little short of an integer: int() instead of rounding to the nearest gives the "
        "charge next to 0, "
        "as in published code"
    )
    yield Case("rounding-8x8", parameters, ["SECTOR", "KNOWN_BUG"], comment, bare)
    near = np.concatenate([flux_configuration(shape, q) for q in (-1, 0, 1)]) + 1e-3 * rng.standard_normal((3, 2, 8, 8))
    comment = "smooth fields, whose sine charge is near the integer and none"
    yield Case("smooth-8x8", parameters, ["SECTOR", "BASIC"], comment, angle_difference(near, np.zeros(1)))
    hot = rng.uniform(-np.pi, np.pi, (16, 2, 4, 6))
    yield Case("hot-4x6", {"beta": 0.5, "shape": [4, 6]}, ["SECTOR", "BASIC"], "uniform links", hot)
    jump = np.zeros((4, 2, 4, 4))
    jump[:, 0, 1, 2] = [np.pi - 1e-6, -np.pi + 1e-6, 3.0, -3.0]
    jump[:, 1, 2, 2] = [5e-7, -5e-7, 0.2, -0.2]
    comment = (
        "one link near pi, beside another that takes a plaquette over the cut in chains 2 and 3 and not in 0 and 1"
    )
    yield Case("cut-4x4", {"beta": 1.0, "shape": [4, 4]}, ["BRANCH_CUT", "EDGE_CASE"], comment, jump)
