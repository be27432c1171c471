"""Golden vectors of estimators: what their formulas give for given eigenvalues, noise and weights, in 50-digit decimal arithmetic.

The kernel of a Gaussian estimate has eigenvalues ``lam`` (w = 1/lam is what a conditional model leaves of it); noise is given as
the squared moduli ``e = |chi|^2`` of its components. Rows are configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import ONE, ZERO, total
from ..pieces import Piece, piece
from ..vector_format import description

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = list[Decimal]

SEED = 20261215
DIGITS = 50
RELATIVE = 1e-13  # sums of some ten terms, of exponentials of sums

LAMS = np.array([[0.25, 0.5, 0.75, 1.25], [0.9, 0.95, 1.0, 1.1], [0.1, 1.0, 1.5, 1.9375], [0.5, 1.0, 1.5, 2.5]])
NOISE = np.array([[0.5, 1.0, 0.25, 2.0], [0.125, 3.0, 1.5, 0.75], [1.0, 1.0, 1.0, 1.0], [4.0, 0.0625, 0.5, 1.0]])
LOG_WEIGHTS = {
    "mild": [0.0, -0.5, 0.25, 1.0, -1.25, 0.125],
    "one-rules": [-800.0, -790.0, -785.0, -810.0, -805.5, -795.0],
    "equal": [3.5] * 6,
}
VARIANCES = np.array([[0.5, 0.25], [1.0, 2.0], [0.0, 0.125], [3.0, 0.5], [0.75, 0.75], [8.0, 0.0]])


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    with localcontext() as context:
        context.prec = DIGITS
        yield _eigenvalues()
        yield _draws()
        for name, log_weights in LOG_WEIGHTS.items():
            yield _reweighting(name, [Decimal(v) for v in log_weights])
        yield _tails(np.random.default_rng(SEED))


def _entry(name: str, flags: list[str], comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    about = description(
        f"estimators/{name}",
        "any",
        np.shape(arrays["x"]),
        flags,
        comment,
        parameters={},
        calls=[],
        derivation="from the formula of each piece in 50-digit decimal arithmetic, rounded once",
        tolerance=max(max(each["relative"], each["tolerance"]) for each in pieces),
        reason="some ten roundings of float64, tenfold where logarithms of small numbers are summed",
        conventions="one row per configuration; relative and absolute tolerances stand in pieces",
        module=__name__,
        seed=SEED if name == "tails" else 0,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _rows(values: Array) -> list[Numbers]:
    return [[Decimal(float(v)) for v in row] for row in values]


def _product(values: Any) -> Decimal:
    out = ONE
    for value in values:
        out *= value
    return out


def _variance(lams: Numbers) -> float:
    return float(_product(1 / (v * (2 - v)) for v in lams) - 1) if max(lams) < 2 else np.inf


def _log_moment(lams: Numbers, k: int) -> float:
    rest = [k - (k - 1) * v for v in lams]
    return float(total((v / r).ln() for v, r in zip(lams, rest, strict=True))) if min(rest) > 0 else np.inf


_GAUSSIAN: dict[str, tuple[str, Callable[[Numbers], Any]]] = {
    "relative_variance": ("Var w/<w>^2 = prod 1/(lam (2 - lam)) - 1, infinite where some lam >= 2", _variance),
    "log_mean": ("<log w> = sum (1 - 1/lam)", lambda lams: float(total(1 - 1 / v for v in lams))),
    "log_variance": ("Var log w = sum (1/lam - 1)^2", lambda lams: float(total((1 / v - 1) ** 2 for v in lams))),
}


def _eigenvalues() -> Entry:
    rows = _rows(LAMS)
    arrays: dict[str, Any] = {"x": LAMS}
    bounds: dict[str, Any] = {"relative": RELATIVE, "tolerance": RELATIVE}
    pieces = []
    for name, (formula, function) in _GAUSSIAN.items():
        arrays[name] = [function(row) for row in rows]
        pieces.append(piece(f"estimators.determinant.{name}", formula, ["x"], name, **bounds))
    for k in (2, 3):
        arrays[f"log_moment_{k}"] = [_log_moment(row, k) for row in rows]
        arrays[f"finite_moment_{k}"] = [max(row) < Decimal(k) / (k - 1) for row in rows]
        formula = "log <w^k> = sum log lam/(k - (k - 1) lam), infinite where it diverges. Arguments: lam, k"
        pieces.append(piece("estimators.determinant.log_moment", formula, ["x", k], f"log_moment_{k}", **bounds))
        formula = "whether <w^k> is finite. Arguments: lam, k"
        pieces.append(piece("estimators.determinant.finite_moment", formula, ["x", k], f"finite_moment_{k}"))
    arrays["best_scales"] = [float(1 / _best_inverse_scale(row)) for row in rows]
    formula = "the c with the least relative variance of fields of covariance c, where lam is divided by c"
    pieces.append(piece("estimators.determinant.best_scales", formula, ["x"], "best_scales", **bounds))
    arrays["w"] = w = 1 / LAMS
    exact_w = _rows(w)
    arrays["kl"] = [float(total(v - 1 - v.ln() for v in row)) for row in exact_w]
    pieces.append(piece("estimators.conditional.kl", "KL(q || p) = sum (w - 1 - log w)", ["w"], "kl", **bounds))
    arrays["conditional_variance"] = [_variance([1 / v for v in row]) for row in exact_w]
    formula = "Var weight/<weight>^2 = prod w^2/(2 w - 1) - 1, infinite where some w <= 1/2"
    pieces.append(piece("estimators.conditional.relative_variance", formula, ["w"], "conditional_variance", **bounds))
    arrays["inflated"] = [[float(Decimal("2.25") * v) for v in row] for row in exact_w]
    formula = "the w of an inflated model, phi = c D chi: c^2 w. Arguments: w, c"
    pieces.append(piece("estimators.conditional.inflated", formula, ["w", 1.5], "inflated", **bounds))
    arrays["e"] = NOISE
    arrays["single_log_weight"] = [
        float(total(v.ln() for v in row) - total((v - 1) * e for v, e in zip(row, noise, strict=True)))
        for row, noise in zip(exact_w, _rows(NOISE), strict=True)
    ]
    formula = "log (weight/det K) = sum log w - sum (w - 1) e of given noise, e = |chi|^2. Arguments: w, e"
    pieces.append(piece("estimators.conditional.single_log_weight", formula, ["w", "e"], "single_log_weight", **bounds))
    return _entry("eigenvalues", ["BASIC", "EDGE_CASE"], "Gaussian estimates of a determinant", arrays, pieces)


def _best_inverse_scale(lams: Numbers) -> Decimal:
    """Where ``sum 1/s = sum lam/(2 - s lam)``: bisected."""
    low, high = ZERO, 2 / max(lams)
    for _ in range(150):
        s = (low + high) / 2
        if total(v / (2 - s * v) for v in lams) < len(lams) / s:
            low = s
        else:
            high = s
    return low


def _draws() -> Entry:
    log_w = np.array([[0.0, -1.0, 0.5, 2.0], [-900.0, -905.0, -900.5, -1000.0], [800.0, 790.0, 805.0, 0.0]])
    average = [float((total(v.exp() for v in row) / len(row)).ln()) for row in _rows(log_w)]
    arrays: dict[str, Any] = {"x": log_w, "average": average, "variances": VARIANCES}
    bounds: dict[str, Any] = {"relative": RELATIVE, "tolerance": RELATIVE}
    formula = "log of the mean weight of N_pf draws, for logarithms that overflow"
    pieces = [piece("estimators.determinant.averaged_log_weight", formula, ["x"], "average", **bounds)]
    weights = [Decimal(v) for v in LOG_WEIGHTS["mild"]]
    arrays["log_weights"] = LOG_WEIGHTS["mild"]
    for n in (1, 2, 10):
        arrays[f"variance_of_{n}"] = [float(_product(1 + v / n for v in row) - 1) for row in _rows(VARIANCES)]
        formula = (
            "prod_m (1 + X_m/N_pf) - 1: relative variance of a product of averages of N_pf draws. Arguments: X, N_pf"
        )
        name = "estimators.determinant.relative_variance_of_average"
        pieces.append(piece(name, formula, ["variances", n], f"variance_of_{n}", **bounds))
    product, linear = [], []
    single = [_product(1 + v for v in row) - 1 for row in _rows(VARIANCES)]
    for n in (1, 2, 10):
        product.append(_law(weights, [_product(1 + v / n for v in row) for row in _rows(VARIANCES)]))
        linear.append(_law(weights, [1 + v / n for v in single]))
    arrays |= {"product_law": product, "linear_law": linear}
    formula = "ESS(N_pf) = <w>^2/<w^2 prod_m (1 + X_m/N_pf)> for N_pf = 1, 2, 10. Arguments: log w, X, N_pf"
    arguments = ["log_weights", "variances", {"value": [1, 2, 10]}]
    pieces.append(piece("estimators.conditional.product_law", formula, arguments, "product_law", **bounds))
    formula = "the same with prod_m (1 + X_m) - 1 divided by N_pf"
    pieces.append(piece("estimators.conditional.linear_law", formula, arguments, "linear_law", **bounds))
    return _entry("draws", ["BASIC", "EDGE_CASE"], "averages over draws of noise", arrays, pieces)


def _law(log_weights: Numbers, factors: Numbers) -> float:
    w = [v.exp() for v in log_weights]
    return float(total(w) ** 2 / (len(w) * total(v * v * f for v, f in zip(w, factors, strict=True))))


def _reweighting(name: str, log_weights: Numbers) -> Entry:
    w = [v.exp() for v in log_weights]
    n = len(w)
    values = [Decimal(v) for v in (1.0, -2.0, 0.5, 3.25, 0.0, 1.5)]
    mean = total(a * f for a, f in zip(w, values, strict=True)) / total(w)
    without = [
        (total(w[:i] + w[i + 1 :]), total(w[j] * values[j] for j in range(n) if j != i)) for i in range(n)
    ]  # the jackknife as it is defined: the ratio without each draw
    moved = [f / z for z, f in without]
    centre = total(moved) / n
    error = ((n - 1) * total((v - centre) ** 2 for v in moved) / n).sqrt()
    average = total(w) / n
    spread = (total((v - average) ** 2 for v in w) / (n - 1) / n).sqrt() / average
    arrays: dict[str, Any] = {"x": [float(v) for v in log_weights], "values": [float(v) for v in values]}
    arrays |= {
        "relative_ess": float(total(w) ** 2 / (n * total(v * v for v in w))),
        "log_partition": float(average.ln()),
        "log_partition_error": float(spread),
        "mean": float(mean),
        "error": float(error),
        "largest_share": float(max(w) / total(w)),
    }
    bounds: dict[str, Any] = {"relative": RELATIVE, "tolerance": RELATIVE}
    log_z = "log of the mean weight, and its standard error, that of the mean over the mean"
    ratio = "sum w f/sum w and its jackknife error. Arguments: log w, f"
    pieces = [
        piece("estimators.reweighting.relative_ess", "(sum w)^2/(n sum w^2)", ["x"], "relative_ess", **bounds),
        piece("estimators.reweighting.largest_share", "max w/sum w", ["x"], "largest_share", **bounds),
        piece("estimators.reweighting.log_partition", log_z, ["x"], ["log_partition", "log_partition_error"], **bounds),
        piece("estimators.reweighting.reweighted_mean", ratio, ["x", "values"], ["mean", "error"], **bounds),
    ]
    flags = ["BASIC"] if name == "mild" else ["EDGE_CASE"]
    return _entry(f"weights-{name}", flags, "logarithms of weights of independent draws", arrays, pieces)


def _tails(rng: np.random.Generator) -> Entry:
    """A tail of shape 0.8, one that falls exponentially, one that ends, and two that have no shape."""
    given: dict[str, Array] = {
        "heavy": -0.8 * np.log(rng.random(100)),
        "falling": np.log(rng.standard_exponential(400)),
        "ending": np.log1p(rng.random(24)),
        "equal": np.full(30, 2.5),
        "four": np.concatenate([np.zeros(4), np.full(26, -1000.0)]),
    }
    arrays: dict[str, Any] = {"x": list(range(len(given)))}
    formula = (
        "m = ceil(min(n/5, 3 sqrt n)) largest weights, y their excess over the next one, rising, without those below 1e-200 of the "
        "largest weight; G = 30 + floor(sqrt m), t_j = 1/y_m + (1 - sqrt(G/(j - 1/2)))/(3 y_q), q = floor(m/4 + 1/2), k(t) = mean "
        "log(1 - t y), l_j = m (log(-t_j/k_j) - k_j - 1), t the mean of t_j with weights exp(l_j): the shape is (m k(t) + 5)/(m + "
        "10); -inf where the m are equal to the next one, inf where fewer than 5 of them have weight. Argument: log w"
    )
    pieces = []
    for name, log_weights in given.items():
        arrays[name] = np.round(log_weights, 6)
        arrays[f"{name}_shape"] = _shape([Decimal(v) for v in arrays[name].tolist()])
        bounds: dict[str, Any] = {"relative": 1e-12, "tolerance": 1e-12}  # differences of weights close to each other
        pieces.append(piece("estimators.reweighting.pareto_shape", formula, [name], f"{name}_shape", **bounds))
    parts = [[Decimal(v) for v in arrays[name].tolist()] for name in ("heavy", "falling")]
    w = [v.exp() for part in parts for v in part]
    arrays["pooled_ess"] = float(total(w) ** 2 / (len(w) * total(v * v for v in w)))
    formula = "(sum w)^2/(n sum w^2) of all weights together. Argument: a list of arrays of log w"
    arguments = [["heavy", "falling"]]
    pieces.append(piece("estimators.reweighting.pooled_ess", formula, arguments, "pooled_ess", relative=RELATIVE * 10))
    return _entry(
        "tails", ["BASIC", "EDGE_CASE"], "how heavy the tail of weights is, and weights in parts", arrays, pieces
    )


def _shape(log_weights: Numbers) -> float:
    """As Zhang and Stephens (2009) and Vehtari et al. (2024) have it."""
    top = max(log_weights)
    w = sorted((v - top).exp() for v in log_weights)
    n = len(w)
    m = int(min(Decimal(n) / 5, 3 * Decimal(n).sqrt()).to_integral_value("ROUND_CEILING"))
    y = [v - w[n - m - 1] for v in w[n - m :]]
    if y[-1] == 0:
        return -np.inf
    y = [v for v in y if v > Decimal("1e-200")]
    m = len(y)
    if m < 5:
        return np.inf
    grid = 30 + int(Decimal(m).sqrt())
    quartile = y[int(Decimal(m) / 4 + Decimal("0.5")) - 1]
    halves = [Decimal(2 * j + 1) / 2 for j in range(grid)]
    thetas = [1 / y[-1] + (1 - (grid / half).sqrt()) / (3 * quartile) for half in halves]
    shapes = [total((1 - theta * v).ln() for v in y) / m for theta in thetas]
    logs = [m * ((-theta / k).ln() - k - 1) for theta, k in zip(thetas, shapes, strict=True)]
    posterior = [(v - max(logs)).exp() for v in logs]
    mean = total(a * b for a, b in zip(thetas, posterior, strict=True)) / total(posterior)
    shape = total((1 - mean * v).ln() for v in y) / m
    return float((m * shape + 5) / (m + 10))
