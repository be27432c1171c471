"""Golden vectors of phi^4: fields with their action, force, correlator and moments, in exact rational arithmetic.

The field is taken as the float64 numbers it is; sums and products of fractions are exact, and every answer is rounded once. Action
and force are linear in the couplings and are given term by term: ``action_bonds + m2 action_mass + lam action_quartic``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEED = 20261125
SHAPES = ((1, 1), (2, 2), (2, 3), (3, 2), (4, 4), (4, 6), (6, 4), (10, 2))


def vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    """Name, description and arrays of every vector."""
    for name, shape, flags, comment, x in _inputs():
        about = {
            "id": f"phi4/{name}",
            "theory": "phi4",
            "shape": shape,
            "flags": flags,
            "comment": comment,
            "expected": "valid",
            "derivation": "site by site in exact rational arithmetic from the float64 fields, rounded once",
            "tolerance": "rounding: some ulp of each term, times the terms of the sum",
            "conventions": "axes (chain, t, x); action = action_bonds + m2 action_mass + lam action_quartic, bonds "
            "sum_mu (phi(n + mu^) - phi(n))^2/2 summed over sites (both on an extent of 2, none on 1), mass phi^2/2, quartic "
            "phi^4/24; force = + d action/d phi in the same terms; correlator (chain, t) = (1/T) sum_y P(y + t) P(y) of slice "
            "means; moments (chain, k - 1) = mean of phi^k, k = 1 to 4",
        }
        rows = [_answers([[Fraction(float(value)) for value in line] for line in field]) for field in x]
        yield name, about, {"x": x, **{key: np.array([row[key] for row in rows]) for key in rows[0]}}


def _inputs() -> Iterator[tuple[str, tuple[int, int], list[str], str, Array]]:
    rng = np.random.default_rng(SEED)
    for shape in SHAPES:
        flags = ["EDGE_CASE"] if 1 in shape else ["BASIC", "CONVENTION"] if 2 in shape else ["BASIC"]
        x = np.array([1.0, 5.0])[:, None, None] * rng.standard_normal((2, *shape))
        yield f"rough-{shape[0]}x{shape[1]}", shape, flags, "independent sites of size 1, and of size 5", x
    one = np.zeros((2, 4, 6))
    one[0, 3, 0], one[1, 0, 5] = 0.5, -2.0
    yield "one-site-4x6", (4, 6), ["BASIC", "CONVENTION"], "one site on the boundary of each axis", one
    smooth = 30 + 1e-6 * rng.standard_normal((1, 4, 4))
    yield "smooth-4x4", (4, 4), ["ILL_CONDITIONED"], "small differences of large fields", smooth


def _answers(phi: list[list[Fraction]]) -> dict[str, Any]:
    """All numbers of one field."""
    n_t, n_x = len(phi), len(phi[0])
    sites = [(t, s) for t in range(n_t) for s in range(n_x)]
    values = [phi[t][s] for t, s in sites]
    ahead = [(phi[(t + 1) % n_t][s], phi[t][(s + 1) % n_x]) for t, s in sites]
    behind = [(phi[t - 1][s], phi[t][s - 1]) for t, s in sites]
    bonds = [sum((a - here) ** 2 for a in pair) / 2 for here, pair in zip(values, ahead, strict=True)]
    pulls = [4 * here - sum(a) - sum(b) for here, a, b in zip(values, ahead, behind, strict=True)]
    means = [sum(row) / n_x for row in phi]

    def field(numbers: list[Fraction]) -> Array:
        return np.array([float(number) for number in numbers]).reshape(n_t, n_x)

    return {
        "action_bonds": float(sum(bonds)),
        "action_mass": float(sum(here**2 for here in values) / 2),
        "action_quartic": float(sum(here**4 for here in values) / 24),
        "force_bonds": field(pulls),
        "force_mass": field(values),
        "force_quartic": field([here**3 / 6 for here in values]),
        "correlator": [float(sum(means[(y + t) % n_t] * means[y] for y in range(n_t)) / n_t) for t in range(n_t)],
        "moments": [float(sum(here**k for here in values) / len(values)) for k in (1, 2, 3, 4)],
    }
