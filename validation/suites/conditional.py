"""Golden vectors of what a Gaussian conditional model of pseudofermions is worth, and of the determinant that it estimates.

The field of a monomial ``phi^dag P phi`` is drawn as ``phi = Dt chi``; all that counts are the eigenvalues w of ``W = Dt^dag P
Dt``. Matrices in 51-digit fixed-point arithmetic, their eigenvalues by Jacobi's rotations; all else in 50-digit decimals.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import total
from ..field_vectors.decimals import digits
from ..fixed_point import ONE, Fixed, log_size, solved
from ..fixed_spectrum import decimal, eigensystem
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions
from .noise import normal_matrix

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = list[Decimal]

SEED = 20261214
RELATIVE = 1e-13  # sums of some ten terms; roots of sums of them
SPECTRAL = 1e-12  # matrices of condition numbers up to some 100
ROUNDED = 1e-15  # a quotient, a root, and a step to the next number

# Fields, monomials, eigenvalues: one field is close to perfect, two have weights of infinite variance.
W = np.array(
    [
        [[0.75, 1.0, 1.25], [0.875, 1.5, 2.0]],
        [[0.4375, 0.75, 1.0], [1.0, 1.0, 1.5]],
        [[0.9375, 1.0, 1.0625], [1.0, 0.96875, 1.03125]],
        [[1.5, 2.0, 3.0], [0.25, 1.0, 4.0]],
        [[0.625, 0.6875, 1.0], [0.5625, 0.75, 1.0]],
    ]
)
MASSES = {"plain": [], "hasenbusch": [0.25], "even-odd": [0.125]}


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    with digits():
        yield _inflations()
        yield _matrices(np.random.default_rng([SEED, 0]))
        for k, kind in enumerate(MASSES):
            yield _determinant(np.random.default_rng([SEED, 1 + k]), kind)


def _entry(
    name: str, theory: str, flags: list[str], comment: str, arrays: dict[str, Any], pieces: list[Piece]
) -> Entry:
    about = description(
        f"gaussian_models/{name}",
        theory,
        np.shape(arrays["x"]) if theory == "any" else np.shape(arrays["x"])[2:],
        flags,
        comment,
        parameters={},
        calls=[],
        derivation="matrices in 51-digit fixed-point, formulas and bisected roots in 50-digit decimal arithmetic, rounded once",
        tolerance=max(max(each["relative"], each["tolerance"]) for each in pieces),
        reason="some ten roundings of float64; of matrices, amplified by condition numbers up to some 100",
        conventions="eigenvalues (field, monomial, n), matrices (chain, row, column); tolerances stand in pieces",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


# --- eigenvalues ------------------------------------------------------------------------------------------------------
def _rows(w: Array) -> list[Numbers]:
    return [[Decimal(v) for v in row] for row in w.reshape(-1, w.shape[-1]).tolist()]


def _of_rows(function: Callable[[Numbers], Any]) -> Array:
    return np.array([function(row) for row in _rows(W)]).reshape(W.shape[:-1])


def _log_moment(w: Numbers, k: int) -> float:
    """``log E [weight/det K]^k``."""
    if min(w) * k <= k - 1:
        return np.inf
    return float(total(k * v.ln() - (k * v - (k - 1)).ln() for v in w))


def _best(w: Numbers) -> float:
    """The c with the least ``sum log (c^2 w)^2/(2 c^2 w - 1)``: where ``sum 1/s = sum w/(2 s w - 1)``, ``s = c^2``, bisected."""
    low = 1 / (2 * min(w))
    high = 4 * low + 4
    for _ in range(160):
        s = (low + high) / 2
        if total(1 / s - v / (2 * s * v - 1) for v in w) < 0:
            low = s
        else:
            high = s
    return float(high.sqrt())


def _smallest(share: Decimal, k: int) -> float:
    """The least c of at least 1 with ``c^2 min w > (k - 1)/k`` for so many fields."""
    needed = sorted(Decimal(k - 1) / k / Decimal(float(field.min())) for field in W)
    count = int((share * len(needed)).to_integral_value("ROUND_CEILING"))
    return float(max(Decimal(1), needed[count - 1]).sqrt())


def _inflations() -> Entry:
    arrays: dict[str, Any] = {"x": W}
    bounds: dict[str, Any] = {"relative": RELATIVE, "tolerance": RELATIVE}
    pieces = []
    for share, k in itertools.product((1.0, 0.75, 0.5), (2, 4)):
        name = f"smallest_inflation_{share}_{k}"
        arrays[name] = _smallest(Decimal(share), k)
        formula = (
            "the least c >= 1 for which this share of the fields, rounded up, has c^2 w_min > (k - 1)/k, w_min over all monomials. "
            "Arguments: w, share, k"
        )
        pieces.append(
            piece("estimators.conditional.smallest_inflation", formula, ["x", share, k], name, relative=ROUNDED)
        )
    arrays["best_inflation"] = _best([v for row in _rows(W) for v in row])
    formula = (
        "the c with the least mean of log (1 + X) over all fields and monomials, 1 + X = prod (c^2 w)^2/(2 c^2 w - 1)"
    )
    pieces.append(piece("estimators.conditional.best_inflation", formula, ["x"], "best_inflation", **bounds))
    arrays["field_inflation"] = _of_rows(_best)
    formula = "the c with the least X, for every field and monomial"
    pieces.append(piece("estimators.conditional.field_inflation", formula, ["x"], "field_inflation", **bounds))
    arrays["log_variance"] = _of_rows(lambda w: float(total((v - 1) ** 2 for v in w)))
    formula = "Var log weight = sum (w - 1)^2"
    pieces.append(piece("estimators.conditional.log_variance", formula, ["x"], "log_variance", **bounds))
    for k in (2, 3):
        arrays[f"log_moment_{k}"] = _of_rows(partial(_log_moment, k=k))
        arrays[f"finite_moment_{k}"] = np.isfinite(arrays[f"log_moment_{k}"])
        formula = "log E [weight/det K]^k = sum log w^k/(k w - (k - 1)), infinite where it diverges. Arguments: w, k"
        pieces.append(piece("estimators.conditional.log_moment", formula, ["x", k], f"log_moment_{k}", **bounds))
        formula = "whether that is finite. Arguments: w, k"
        pieces.append(piece("estimators.conditional.finite_moment", formula, ["x", k], f"finite_moment_{k}"))
    return _entry(
        "inflations", "any", ["BASIC", "EDGE_CASE"], "widths that make weights behave, and moments", arrays, pieces
    )


# --- matrices ---------------------------------------------------------------------------------------------------------
def _matrices(rng: np.random.Generator) -> Entry:
    """Precisions ``1 + B B^dag`` of entries that are multiples of 1/64: exactly Hermitian in float64."""
    n, chains = 4, 2
    steps = np.rint(4 * fermions.normal(rng, (chains, n, n)).view(np.float64)).view(np.complex128) / 8
    precision = np.eye(n) + steps @ steps.conj().swapaxes(1, 2)
    columns = 0.5 * np.eye(n) + np.round(0.125 * fermions.normal(rng, (chains, n, n)), 6)
    chi = np.round(fermions.normal(rng, (chains, n)), 6)
    rows = [_of_matrices(*row) for row in zip(columns, precision, chi, strict=True)]
    arrays: dict[str, Any] = {"x": columns, "precision": precision, "chi": chi}
    arrays |= {key: np.array([row[key] for row in rows]) for key in rows[0]}
    told = "Arguments: "
    named: tuple[tuple[str, str, list[Any], str], ...] = (
        ("weight_matrix", f"W = Dt^dag P Dt. {told}Dt, P", ["x", "precision"], "w_matrix"),
        ("weight_eigenvalues", f"eigenvalues of W, rising. {told}W", ["w_matrix"], "w"),
        (
            "smallest_curvature",
            f"the smallest eigenvalue of 2 P - (Dt Dt^dag)^-1. {told}Dt, P",
            ["x", "precision"],
            "curvature",
        ),
        (
            "log_kernel_determinant",
            f"log det P^-1 = logdet - sum log w, logdet = 2 log |det Dt|. {told}logdet, w",
            ["logdet", "w"],
            "log_kernel",
        ),
        (
            "field_log_weight",
            f"log [pi^-n exp(-S)/q] = logdet + chi^dag chi - S, S = phi^dag P phi, phi = Dt chi. {told}S, chi, logdet",
            ["action", "chi", "logdet"],
            "log_weight",
        ),
    )
    pieces = [
        piece(f"estimators.conditional.{name}", formula, arguments, returns, relative=SPECTRAL, tolerance=SPECTRAL)
        for name, formula, arguments, returns in named
    ]
    return _entry("matrices", "any", ["BASIC"], "weights of a Gaussian model, from its matrices", arrays, pieces)


def _of_matrices(columns: Complex, precision: Complex, chi: Complex) -> dict[str, Any]:
    dt, p, noise = Fixed.of(columns), Fixed.of(precision), Fixed.of(chi[:, None])
    det, inverse = solved(dt, Fixed.eye(len(columns)))
    w_matrix = dt.dagger @ p @ dt
    values = [decimal(value) for value in eigensystem(w_matrix)[0]]
    curvatures, _ = eigensystem(p + p - inverse.dagger @ inverse)
    phi = dt @ noise
    action = decimal(int((phi.dagger @ (p @ phi)).re[0, 0]))
    logdet, square = 2 * log_size(det), decimal(int((noise.dagger @ noise).re[0, 0]))
    return {
        "w_matrix": w_matrix.rounded(),
        "w": [float(value) for value in values],
        "curvature": curvatures[0] / ONE,
        "logdet": float(logdet),
        "log_kernel": float(logdet - total(value.ln() for value in values)),
        "action": float(action),
        "log_weight": float(logdet + square - action),
    }


# --- the determinant --------------------------------------------------------------------------------------------------
def _determinant(rng: np.random.Generator, kind: str) -> Entry:
    kappa, shape, chains, n_pf, even_odd, mus = 0.2, (2, 2), 2, 3, kind == "even-odd", MASSES[kind]
    masses = list(itertools.zip_longest([0.0, *mus], mus))
    rows = 8 // (1 + even_odd)
    x = np.stack([fermions.random_links(rng, 1, shape, size) for size in (3.0, 0.5)])
    columns = 0.875 * np.eye(rows) + np.round(0.125 * fermions.normal(rng, (chains, len(masses), rows, rows)), 6)
    e = np.round(rng.standard_exponential((chains, len(masses), n_pf, rows)), 6)
    logdets = np.zeros((chains, len(masses)))
    estimates, starts = [], []
    for c in range(chains):
        m = normal_matrix(x[c], 1, kappa, even_odd)
        sums = [Decimal(0), Decimal(0)]
        for k, (mu, after) in enumerate(masses):
            dt = Fixed.of(columns[c, k])
            logdet = 2 * log_size(solved(dt, Fixed.zeros(rows, 0))[0])
            logdets[c, k] = float(logdet)
            w = [decimal(value) for value in eigensystem(dt.dagger @ _precision(m, mu, after) @ dt)[0]]
            for j in (0, 1):
                sums[j] += logdet + _log_mean_weight(w, e[c, k], first_from_target=j == 1)
        estimates.append(float(sums[0]))
        starts.append(float(sums[1]))
    arrays = {"x": x, "columns": columns, "logdet": logdets, "e": e, "estimate": estimates, "start": starts}
    formula = (
        "sum over monomials of logdet + log mean_i exp(-sum_k (w_k - 1) e_ik), w rising, eigenvalues of Dt^dag P Dt, P = (M + "
        "mu)^-1, or 1 + (mu' - mu)(M + mu)^-1, M = D D^dag, antiperiodic, or that of D_sc on even sites; logdet = log |det Dt|^2; "
        "at a start the first of the fields is from the target, e_1k/w_k in place of e_1k. Arguments: links, kappa, masses mu', "
        "whether on even sites, Dt (chain, monomial, n, n), logdet, e (chain, monomial, field, n), whether at a start"
    )
    given: list[Any] = ["x", kappa, {"value": mus}, {"value": even_odd}, "columns", "logdet", "e"]
    pieces = [
        piece(
            "kernels.joint_determinant",
            formula,
            [*given, {"value": name == "start"}],
            name,
            relative=SPECTRAL,
            tolerance=SPECTRAL,
        )
        for name in ("estimate", "start")
    ]
    comment = "a determinant by pseudofermions of a Gaussian model, for given noise"
    return _entry(f"determinant-{kind}-2x2", "schwinger", ["BASIC", "CONVENTION"], comment, arrays, pieces)


def _precision(m: Fixed, mu: float, after: float | None) -> Fixed:
    one = Fixed.eye(len(m.re))
    _, inverse = solved(m + one.times(Fixed.of(mu)), one)
    return inverse if after is None else one + inverse.times(Fixed.of(after - mu))


def _log_mean_weight(w: Numbers, e: Array, *, first_from_target: bool) -> Decimal:
    weights = []
    for i, row in enumerate(e.tolist()):
        noise = [Decimal(v) / a if first_from_target and i == 0 else Decimal(v) for v, a in zip(row, w, strict=True)]
        weights.append((-total((a - 1) * v for a, v in zip(w, noise, strict=True))).exp())
    return (total(weights) / len(weights)).ln()
