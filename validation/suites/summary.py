"""Golden vectors of what summarises many numbers: spectra of kernels, quantiles, masses with errors, matched couplings.

Eigenvalues by Jacobi's rotations in 51-digit fixed-point arithmetic, roots by bisection in 50-digit decimals.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import total
from ..field_vectors.decimals import digits
from ..fixed_spectrum import decimal, eigensystem
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions
from .noise import normal_matrix
from .u1_variate import bessel

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = list[Decimal]

SEED = 20261218
TOLERANCE = 1e-13  # some ten roundings, of roots and of a jackknife
ROOT = 4e-12  # where root finders of float64 stop


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        for even_odd in (False, True):
            yield _spectra(rng, even_odd)
        yield _quantiles(rng)
        yield _masses(rng)
        yield _couplings()


def _entry(name: str, theory: str, comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    about = description(
        f"summaries/{name}",
        theory,
        np.shape(arrays["x"])[2:] if theory != "any" else np.shape(arrays["x"]),
        ["BASIC", "CONVENTION"],
        comment,
        parameters={},
        calls=[],
        derivation="eigenvalues in 51-digit fixed-point, all else in 50-digit decimal arithmetic, rounded once",
        tolerance=max(max(entry["relative"], entry["tolerance"]) for entry in pieces),
        reason="some ten roundings, and those of eigenvalues relative to the largest",
        conventions="links (chain, mu, t, x); other axes as the pieces tell",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _spectra(rng: np.random.Generator, even_odd: bool) -> Entry:
    kappa, mu, mus, mu_reg = 0.2, 0.25, [0.0625, 0.5], 0.03125
    x = np.stack([fermions.random_links(rng, 1, (2, 2), size) for size in (3.0, 0.5)])
    lams = [[decimal(v) for v in eigensystem(normal_matrix(links, 1, kappa, even_odd))[0]] for links in x]
    arrays = {
        "x": x,
        "lams": [[float(v) for v in row] for row in lams],
        "extremes": [[float(row[k] + Decimal(mu)) for k in (0, -1)] for row in lams],
        "kernels": [_kernels(row, [mu_reg, *mus]) for row in lams],
    }
    told = "links, kappa, whether of D_sc on even sites"
    kernels = "eigenvalues (lam + mu_m)/(lam + mu_(m+1)) of every monomial, the last lam + mu, lam those of M = D D^dag, rising"
    operator: list[Any] = ["x", kappa, {"value": even_odd}]
    pieces = [
        piece("observables.extreme_eigenvalues", f"of M + mu. Arguments: {told}, mu", [*operator, mu], "extremes"),
        piece(
            "observables.hasenbusch_spectra",
            f"{kernels}. Arguments: {told}, masses, mu_0",
            [*operator, {"value": mus}, mu_reg],
            "kernels",
        ),
        piece(
            "observables.monomial_eigenvalues",
            f"{kernels}. Arguments: lam, masses, mu_0",
            ["lams", {"value": mus}, mu_reg],
            "kernels",
        ),
    ]
    pieces = [{**each, "relative": TOLERANCE, "tolerance": TOLERANCE * 10} for each in pieces]
    name = f"spectra-{'even-odd-' if even_odd else ''}2x2"
    return _entry(name, "schwinger", "eigenvalues of kernels of pseudofermions", arrays, pieces)


def _kernels(lams: Numbers, masses: list[float]) -> list[list[float]]:
    rows = [[float((v + Decimal(a)) / (v + Decimal(b))) for v in lams] for a, b in itertools.pairwise(masses)]
    return [*rows, [float(v + Decimal(masses[-1])) for v in lams]]


def _quantiles(rng: np.random.Generator) -> Entry:
    values = np.round(rng.standard_normal((3, 4)), 6)
    weights = np.round(rng.random((3, 4)), 6)
    weights[1, 2] = 0.0
    arrays = {"x": values, "weights": weights, "weighted": _quantiles_of(values, weights)}
    arrays["equal"] = _quantiles_of(values, np.ones_like(values))
    formula = (
        "median, 10 % and 90 % quantile: of the values in rising order the cumulative weight at the middle of each step, linear "
        "between, at this share of all weight. Arguments: values, weights or null"
    )
    pieces = [
        piece("observables.quantiles", formula, ["x", weighting], name, tolerance=TOLERANCE)
        for weighting, name in (("weights", "weighted"), ({"value": None}, "equal"))
    ]
    return _entry("quantiles", "any", "quantiles of weighted values", arrays, pieces)


def _quantiles_of(values: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
    pairs = sorted(zip(map(Decimal, values.ravel().tolist()), map(Decimal, weights.ravel().tolist()), strict=True))
    whole = total(w for _, w in pairs)
    steps, below = [], Decimal(0)
    for value, w in pairs:
        steps.append((below + w / 2, value))
        below += w
    out = []
    for share in ("0.5", "0.1", "0.9"):
        at = Decimal(share) * whole
        (a, low), (b, high) = next(pair for pair in itertools.pairwise(steps) if pair[0][0] <= at < pair[1][0])
        out.append(float(low + (high - low) * (at - a) / (b - a)))
    return out


def _masses(rng: np.random.Generator) -> Entry:
    """Of 7 steps of 2 chains, in 3 stretches; of 2 steps of 5 chains, in 4 groups of chains."""
    steps, groups = (_correlators(rng, *size) for size in ((7, 2), (2, 5)))
    arrays: dict[str, Any] = {"x": steps, "groups": groups}
    formula = (
        "m(t), t = 0, ..., T - 2, of the mean correlator, C(t)/C(t + 1) = cosh(m (t - T/2))/cosh(m (t + 1 - T/2)), and its "
        "jackknife error over blocks: groups of chains, successive, of sizes that differ by 1 at most, the larger first, where "
        "there are as many chains as bins or more chains than steps, else stretches of steps. Arguments: correlators (step, chain, "
        "T), bins"
    )
    pieces = []
    for name, data, axis, bins in (("x", steps, 0, 3), ("groups", groups, 1, 4)):
        arrays[f"{name}_mass"], arrays[f"{name}_error"] = _estimate(np.moveaxis(data, axis, 0), bins)
        returns = [f"{name}_mass", f"{name}_error"]
        pieces.append(
            piece("observables.effective_mass_estimate", formula, [name, bins], returns, tolerance=TOLERANCE * 10)
        )
    return _entry("masses", "any", "effective masses with the errors of a jackknife", arrays, pieces)


def _correlators(rng: np.random.Generator, *size: int) -> NDArray[np.float64]:
    t = np.arange(4)
    return np.asarray(np.round(np.cosh(0.75 * (t - 2)) * (1 + 0.05 * rng.standard_normal((*size, 4))), 6))


def _estimate(data: NDArray[np.float64], bins: int) -> tuple[list[float], list[float]]:
    """Blocks along the first axis."""
    rows = [[total(Decimal(v) for v in column) for column in each.T.tolist()] for each in data]
    n, extent = len(rows), data.shape[2]
    sizes = [n // bins + (k < n % bins) for k in range(bins)]
    ends = list(itertools.accumulate(sizes, initial=0))
    whole = [total(column) for column in zip(*rows, strict=True)]
    left_out = [
        [a - total(row[t] for row in rows[i:j]) for t, a in enumerate(whole)] for i, j in itertools.pairwise(ends)
    ]
    masses, errors = [], []
    for t in range(extent - 1):
        values = [_mass(c, t) for c in left_out]
        centre = total(values) / bins
        errors.append(float(((bins - 1) * total((v - centre) ** 2 for v in values) / bins).sqrt()))
        masses.append(float(_mass(whole, t)))
    return masses, errors


def _mass(c: Numbers, t: int) -> Decimal:
    half = Decimal(len(c)) / 2

    def excess(m: Decimal) -> Decimal:
        far, near = ((m * x).exp() + (-m * x).exp() for x in (t - half, t + 1 - half))
        return (far * c[t + 1] - near * c[t]) * (1 if t < half - Decimal("0.5") else -1)

    return _root(excess, Decimal(0), Decimal(20))


def _root(rising: Callable[[Decimal], Decimal], low: Decimal, high: Decimal) -> Decimal:
    """Where it changes its sign, from below to above."""
    for _ in range(160):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def _matched(p: Decimal) -> float:
    return float(_root(lambda beta: bessel(1, beta) - p * bessel(0, beta), Decimal(0), Decimal(20)))


def _couplings() -> Entry:
    plaquettes, quartic = [0.125, 0.4464, 0.75, 0.9375], [0.25, 0.0, 1.5]
    arrays = {
        "x": plaquettes,
        "beta": [_matched(Decimal(p)) for p in plaquettes],
        "g": quartic,
        "lam": [float(24 * Decimal(g)) for g in quartic],
    }
    pieces = [
        piece("kernels.matched_beta", "I_1(beta)/I_0(beta) = p", ["x"], "beta", rows=True, tolerance=ROOT),
        piece("actions.from_quartic", "lam/24 = g", ["g"], "lam", rows=True, relative=TOLERANCE),
    ]
    return _entry("couplings", "any", "couplings from plaquettes, and from another normalisation", arrays, pieces)
