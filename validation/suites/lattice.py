"""Golden vectors of exact values that need all fields of a small lattice: phi^4 on 3 x 2 sites, quarks on 2 x 2.

As in suite ``exact`` there is no field, and none of the numbers is from `refimpl.exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors import PHI4, QUADRATURE
from ..exact_vectors.fermions import two_by_two
from ..exact_vectors.quarks import correlator
from ..exact_vectors.strips import Strip
from ..pieces import Piece, piece
from ..vector_format import description

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

STRIPS = ((0.5, 6.0, (3, 2)), (-0.5, 3.0, (2, 3)))
QUARKS = ((2.0, 0.265), (0.5, 0.2))


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for m2, lam, shape in STRIPS:
        yield _strip(m2, lam, shape)
    yield _quarks()


def _entry(
    name: str, theory: str, comment: str, arrays: dict[str, Any], pieces: list[Piece], derivation: str, reason: str
) -> Entry:
    about = description(
        f"exact_lattices/{name}",
        theory,
        np.shape(arrays["x"]),
        ["BASIC"],
        comment,
        parameters={},
        calls=[],
        derivation=derivation,
        tolerance=max(max(entry["relative"], entry["tolerance"]) for entry in pieces),
        reason=reason,
        conventions="rows of all arrays belong together where rows is true; tolerances stand in pieces",
        module=__name__,
        seed=0,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _strip(m2: float, lam: float, shape: tuple[int, int]) -> Entry:
    answers = Strip(m2, lam).answers(shape)
    formula = "; ".join(f"{name} = {text}" for name, text in PHI4.items())
    pieces = [
        piece(
            f"exact.phi4.{function}",
            formula,
            [m2, lam, list(shape)],
            {name: name for name in answers},
            relative=QUADRATURE,
            tolerance=QUADRATURE,
        )
        for function in ("answers", "transfer_matrix")
    ]
    return _entry(
        f"phi4-{shape[0]}x{shape[1]}",
        "phi4",
        f"phi^4 at m2 = {m2:g}, lam = {lam:g}",
        {"x": [m2, lam], **answers},
        pieces,
        "sums over all six fields on a grid of midpoints in longdouble (80 bit where the machine has it), rounded once; a finer "
        "grid gives the same",
        "grids of float64 that agree to 1e-13, and ratios of their sums",
    )


def _quarks() -> Entry:
    beta, kappa = (list(column) for column in zip(*QUARKS, strict=True))
    arrays: dict[str, Any] = {"x": beta, "beta": beta, "kappa": kappa}
    arrays["correlator"] = [correlator(*row) for row in QUARKS]
    charged = two_by_two(*QUARKS[0])["charge_squared"] / 2
    arrays["charge_distribution"] = [charged, 1 - 2 * charged, charged]
    pieces = [
        piece(
            "exact.schwinger_2x2.correlator",
            "C(t) = <sum_(x, y) tr |D^-1(t, x; 0, y)|^2>, t = 0, 1, two flavours on 2 x 2 sites",
            ["beta", "kappa"],
            "correlator",
            rows=True,
            relative=1e-13,
        ),
        piece(
            "exact.schwinger_2x2.charge_distribution",
            "p(Q), Q = -1, 0, 1, of the same",
            [*QUARKS[0]],
            "charge_distribution",
            relative=1e-13,
        ),
    ]
    return _entry(
        "schwinger-2x2",
        "schwinger",
        "the pion correlator and the charge of two flavours on 2 x 2 sites",
        arrays,
        pieces,
        "the adjugate of D as a polynomial with integer coefficients, weights by trapezoidal sums in 40 digits, rounded once",
        "Fourier sums of float64, which cancel by up to three digits",
    )
