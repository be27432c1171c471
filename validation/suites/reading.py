"""Golden vectors of what is read off fields and averages: Polyakov loops, masses, cumulants, rates, couplings of phi^4."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import total
from ..field_vectors.decimals import cosine, decimals, digits
from ..fixed_point import ONE, Fixed
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

SEED = 20261204
TOLERANCE = 1e-14  # some roundings of numbers of size 1
COUPLINGS = [(-0.5, 2.5), (1.0, 0.0), (-4.5, 6.0), (0.25, 0.125)]


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        for n in (1, 2, 3):
            yield _polyakov(rng, n)
        yield _masses()
        yield _averages(rng)
        yield _couplings()


def _entry(name: str, theory: str, comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    about = description(
        f"readings/{name}",
        theory,
        np.shape(arrays["x"])[1:],
        ["BASIC", "CONVENTION"],
        comment,
        parameters={},
        calls=[],
        derivation="from the formula of each piece in arithmetic of 50 digits, rounded once",
        tolerance=max(entry["tolerance"] for entry in pieces),
        reason="some roundings of numbers of size 1, and of logarithms",
        conventions="links (chain, mu, t, x[, a, b]); other axes as the pieces tell",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _polyakov(rng: np.random.Generator, n: int) -> Entry:
    shape = (3, 2)
    x = np.stack([fermions.random_links(rng, n, shape, 2.0) for _ in range(3)])
    values = []
    for links in x:
        if n == 1:
            values.append(float(cosine(decimals(links)[0].sum(axis=0)).sum() / shape[1]))
            continue
        traces = 0
        for s in range(shape[1]):
            line = Fixed.eye(n)
            for t in range(shape[0]):
                line = line @ Fixed.of(links[0, t, s])
            traces += int(np.trace(line.re))
        values.append(traces / (n * shape[1] * ONE))
    formula = "Re tr U_0(0, x) U_0(1, x) .../N averaged over x. Arguments: links"
    pieces = [piece("observables.polyakov_loop", formula, ["x"], "loop", tolerance=TOLERANCE)]
    theory = "u1" if n == 1 else f"su{n}"
    return _entry(f"polyakov-{theory}", theory, "loops around the lattice in time", {"x": x, "loop": values}, pieces)


def _masses() -> Entry:
    masses, extent = [0.125, 0.5, 1.5], 7
    rows = []
    for m in masses:
        ends = [(Decimal(m) * (t - Decimal(extent) / 2)).exp() for t in range(extent)]
        rows.append([float(end + 1 / end) for end in ends])
    expected = np.repeat(np.array(masses)[:, None], extent - 1, axis=1)
    told = "C(t)/C(t + 1) = cosh(m (t - T/2))/cosh(m (t + 1 - T/2)), t = 0, ..., T/2 - 1. Arguments: C"
    three = "m(t) = arcosh((C(t - 1) + C(t + 1))/2 C(t)), t = 1, ..., T - 2. Arguments: C of one row"
    arrays = {"x": rows, "mass": expected[:, : extent // 2], "three_point": expected[:, : extent - 2]}
    pieces = [
        piece("observables.effective_mass_early", told, ["x"], "mass", tolerance=TOLERANCE * 100),
        piece("observables.three_point_mass", three, ["x"], "three_point", rows=True, tolerance=TOLERANCE * 100),
    ]
    return _entry("masses", "any", "correlators of one state on a ring of odd extent, and its mass", arrays, pieces)


def _averages(rng: np.random.Generator) -> Entry:
    moments = [[0.5, 0.375, 0.25], [1.0, 1.0, 1.0], [0.25, 0.125, 0.0625]]
    charges = rng.integers(-2, 3, (6, 2))
    rows = [[Decimal(v) for v in row] for row in moments]
    arrays: dict[str, Any] = {
        "x": moments,
        "volume": [12, 1, 64],
        "charges": charges,
        "susceptibility": [float(v * r[1]) for v, r in zip((12, 1, 64), rows, strict=True)],
        "connected": [float(v * (r[1] - r[0] * r[0])) for v, r in zip((12, 1, 64), rows, strict=True)],
        "binder": [float(1 - r[2] / (3 * r[1] * r[1])) for r in rows],
        "topological": float(total(Decimal(int(q)) ** 2 for q in charges.ravel()) / charges.size / 16),
        "rate": [float(total(abs(Decimal(int(b - a))) for a, b in itertools.pairwise(q)) / 5) for q in charges.T],
    }
    rows_told: dict[str, Any] = {"rows": True, "tolerance": TOLERANCE}
    pieces = [
        piece(
            "observables.susceptibility",
            "V <m^2>. Arguments: <|m|>, <m^2>, <m^4>; V",
            ["x", "volume"],
            "susceptibility",
            **rows_told,
        ),
        piece("observables.connected_susceptibility", "V (<m^2> - <|m|>^2)", ["x", "volume"], "connected", **rows_told),
        piece("observables.binder_cumulant", "1 - <m^4>/(3 <m^2>^2)", ["x"], "binder", **rows_told),
        piece(
            "observables.charge_susceptibility",
            "<Q^2>/V. Arguments: Q, V",
            ["charges", 16],
            "topological",
            tolerance=TOLERANCE,
        ),
        piece(
            "observables.tunnelling_rate",
            "mean |Q_(i+1) - Q_i| of (step, chain)",
            ["charges"],
            "rate",
            tolerance=TOLERANCE,
        ),
    ]
    return _entry("averages", "any", "numbers made of averages and histories", arrays, pieces)


def _couplings() -> Entry:
    m2, lam = np.array(COUPLINGS).T
    there = []
    for a, b in COUPLINGS:
        m, g = Decimal(a), Decimal(b)
        half = 4 + m
        kappa = 1 / half if g == 0 else (-half + (half * half + 4 * g / 3).sqrt()) / (2 * g / 3)
        there.append((kappa, g * kappa * kappa / 6, 1 / (2 * kappa).sqrt()))
    arrays = {
        "x": m2,
        "lam": lam,
        "kappa": [float(k) for k, _, _ in there],
        "hopping_lam": [float(b) for _, b, _ in there],
    }
    arrays |= {"factor": [float(f) for _, _, f in there], "back": [float((2 * k).sqrt()) for k, _, _ in there]}
    arrays |= {"unhalved_lam": [float(Decimal(b) / 6) for _, b in COUPLINGS]}
    arrays |= {"unhalved_factor": [float(Decimal("0.5").sqrt())] * 4, "unhalved_back": [float(Decimal(2).sqrt())] * 4}
    here = "S = sum (d phi)^2/2 + m2 phi^2/2 + lam phi^4/24"
    hopping = "S' = sum -2 kappa phi phi_next + phi^2 + lam' (phi^2 - 1)^2"
    unhalved = "S' = sum (d phi)^2 + m2 phi^2 + lam' phi^4"
    bound: dict[str, Any] = {"rows": True, "tolerance": TOLERANCE, "relative": TOLERANCE}
    pieces = [
        piece(
            "actions.to_hopping",
            f"{here} as {hopping}: kappa, lam', phi'/phi",
            ["x", "lam"],
            [["kappa", "hopping_lam"], "factor"],
            **bound,
        ),
        piece(
            "actions.from_hopping",
            f"back: m2, lam, phi/phi'. {hopping}",
            ["kappa", "hopping_lam"],
            [["x", "lam"], "back"],
            **{**bound, "tolerance": 10 * TOLERANCE},
        ),
        piece(
            "actions.to_unhalved",
            f"{here} as {unhalved}: m2, lam', phi'/phi",
            ["x", "lam"],
            [["x", "unhalved_lam"], "unhalved_factor"],
            **bound,
        ),
        piece(
            "actions.from_unhalved",
            f"back: m2, lam, phi/phi'. {unhalved}",
            ["x", "unhalved_lam"],
            [["x", "lam"], "unhalved_back"],
            **bound,
        ),
    ]
    return _entry("couplings-phi4", "phi4", "couplings of phi^4 in other conventions", arrays, pieces)
