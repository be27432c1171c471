"""Golden vectors of the O(2) chain: action and force of angles on a ring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .cases import Case, Entry, Suite, actions, refused
from .decimals import O2

SUITE = Suite(
    "o2",
    "o2",
    __name__,
    20261201,
    "angle by angle in 50-digit decimal arithmetic from the float64 field, rounded once",
    "axes (chain, i); action = beta sum_i (1 - cos(x_{i+1} - x_i)) on a ring, both bonds on a length of 2; force = + d action/d x",
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    yield from actions(SUITE, _cases(), lambda p: O2(p["beta"]), lambda theory, x, force: theory.beta * 12.0)
    for name, comment, x in (
        ("nan-8", "an angle that is NaN", np.where(np.arange(8) == 3, np.nan, np.zeros((2, 8)))),
        ("infinite-8", "an angle that is infinite", np.where(np.arange(8) == 7, np.inf, np.zeros((2, 8)))),
    ):
        case = Case(name, {"beta": 1.0, "length": 8}, ["EDGE_CASE"], comment, x)
        yield refused(SUITE, case, [("action", []), ("force", [])])


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(SUITE.seed)
    for length, beta in ((2, 1.0), (3, 0.5), (8, 1.0), (16, 4.0), (32, 2.5)):
        flags = ["BASIC", "CONVENTION"] if length > 2 else ["EDGE_CASE", "CONVENTION"]
        x = rng.uniform(-np.pi, np.pi, (2, length))
        yield Case(f"hot-{length}", {"beta": beta, "length": length}, flags, "uniform angles", x)
    one = np.zeros((2, 8))
    one[0, 0], one[1, 7] = 0.5, -2.0
    yield Case(
        "one-angle-8", {"beta": 2.0, "length": 8}, ["BASIC", "CONVENTION"], "one angle at an end of the ring", one
    )
    turn = np.arange(8) * 2 * np.pi / 8
    wound = np.stack([turn, -2 * turn, turn + 0.1 * rng.standard_normal(8)])
    yield Case("winding-8", {"beta": 1.0, "length": 8}, ["SECTOR"], "winding numbers 1, -2 and 1", wound)
    cut = np.zeros((2, 8))
    cut[0, 4], cut[1, 4] = np.pi - 1e-9, -np.pi + 1e-9
    yield Case("cut-8", {"beta": 1.0, "length": 8}, ["EDGE_CASE", "BRANCH_CUT"], "bonds within 1e-9 of +-pi", cut)
    smooth = 1.0 + 1e-7 * rng.standard_normal((2, 8))
    comment = "nearly ordered: 1 - cos of 1e-7 has no digit left when taken as it stands"
    yield Case("smooth-8", {"beta": 1.0, "length": 8}, ["ILL_CONDITIONED"], comment, smooth)
    far = rng.uniform(-np.pi, np.pi, (2, 8)) + 2 * np.pi * rng.integers(-2, 3, (2, 8))
    comment = "angles beyond [-pi, pi): whoever wants them wrapped may refuse"
    yield Case("unwrapped-8", {"beta": 1.0, "length": 8}, ["EDGE_CASE", "BRANCH_CUT"], comment, far, "acceptable")
