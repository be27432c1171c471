"""Golden vectors of stochastic estimates with given noise: of ``det M`` by pseudofermions, of ``log det M`` by noise vectors.

``M = D D^dag``, or ``D_sc D_sc^dag`` on the even sites. Inverses by elimination, logarithms from eigenvalues, and the Lanczos
recursion, in 51-digit fixed-point arithmetic. A monomial has the kernel ``K = (M + mu)/(M + mu')``, the last ``K = M + mu``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import BITS, ONE, Fixed, phases, reciprocal, solved, square_root
from ..fixed_spectrum import decimal, eigensystem
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = dict[str, Any]

SEED = 20261129
TOLERANCE = 1e-12  # of the largest number: condition numbers of M reach 1e2, sums have 20 terms
DIGITS = 60
DRAWS, N_PF, STEPS = 2, 2, 3
# name, colours, lattice, kappa, even_odd, mus, mu_reg, scales
CASES: tuple[tuple[str, int, tuple[int, int], float, bool, list[float], float, list[float]], ...] = (
    ("plain-u1-2x2", 1, (2, 2), 0.2, False, [], 0.0, [1.25]),
    ("even-odd-u1-2x4", 1, (2, 4), 0.25, True, [], 0.0, [0.75]),
    ("hasenbusch-u1-2x2", 1, (2, 2), 0.25, False, [0.0625, 0.5], 0.0, [1.0, 0.875, 1.5]),
    ("hasenbusch-su2-2x2", 2, (2, 2), 0.2, True, [0.25], 0.03125, [0.9375, 1.125]),
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for k, case in enumerate(CASES):
        yield _entry(*case, rng=np.random.default_rng([SEED, k]))


def _entry(
    name: str,
    colours: int,
    shape: tuple[int, int],
    kappa: float,
    even_odd: bool,
    mus: list[float],
    mu_reg: float,
    scales: list[float],
    rng: np.random.Generator,
) -> Entry:
    rows = 2 * colours * shape[0] * shape[1] // (1 + even_odd)
    x = np.stack([fermions.random_links(rng, colours, shape, size) for size in (3.0, 0.5)])
    given: Numbers = {
        "chi": 0.75 * fermions.normal(rng, (2, DRAWS, len(mus) + 1, N_PF, rows)),
        "phi": fermions.normal(rng, (2, DRAWS, len(mus) + 1, rows)),
        "z2": (2.0 * rng.integers(0, 2, (2, DRAWS, rows)) - 1).astype(np.complex128),
        "z": 0.75 * fermions.normal(rng, (2, DRAWS, rows)),
        "floor": np.array([0.0078125, 0.015625]),
    }
    masses = list(zip([mu_reg, *mus], [*mus, None], strict=True))
    results = []
    for c in range(2):
        m = normal_matrix(x[c], colours, kappa, even_odd)
        one = {key: value[c] for key, value in given.items()}
        results.append({**_weights(m, masses, scales, one), **_logarithms(m, one)})
    arrays: Numbers = {"x": x, **given, **{key: np.array([row[key] for row in results]) for key in results[0]}}
    pieces = _pieces(arrays, kappa, even_odd, mus, mu_reg, scales)
    about = description(
        f"determinants/{name}",
        "schwinger" if colours == 1 else f"su{colours}",
        shape,
        ["BASIC", "CONVENTION"],
        "a rough field, and one near order",
        parameters={"kappa": kappa, "even_odd": even_odd, "mus": mus, "mu_reg": mu_reg},
        calls=[],
        derivation="elimination, eigenvalues by Jacobi's rotations and Lanczos' recursion in 51-digit fixed-point arithmetic, "
        "logarithms in 60-digit decimals, rounded once",
        tolerance=max(entry["tolerance"] for entry in pieces),
        reason="1e-12 of the largest number: condition numbers of M reach 1e2, sums have 20 terms",
        conventions="links (chain, mu, t, x[, a, b]), noise (chain, draw, monomial, field, row) or (chain, draw, row), rows (t, x, "
        "spin, colour), of the even sites alone where even_odd; chi has the density exp(-|chi|^2)/pi; fermions antiperiodic",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, arrays


def normal_matrix(x: NDArray[Any], colours: int, kappa: float, even_odd: bool) -> Fixed:
    """``M``."""
    links = phases(x)[..., None, None] if colours == 1 else Fixed.of(x)
    d = fermions.dirac(links, kappa, antiperiodic=True)
    if even_odd:
        even = np.flatnonzero(np.repeat((np.indices(x.shape[1:3]).sum(axis=0) % 2 == 0).ravel(), 2 * colours))
        hop = d - Fixed.eye(len(d.re))
        d = Fixed.eye(len(even)) - hop[even] @ hop[:, even]
    return d @ d.dagger


def _weights(m: Fixed, masses: list[tuple[float, float | None]], scales: list[float], given: Numbers) -> Numbers:
    """``phi^dag K^-1 phi`` of given fields, and the weights of fields made of noise."""
    n = len(m.re)
    forms, log_w = np.empty(given["phi"].shape[:2]), np.empty(given["chi"].shape[:3], dtype=object)
    for k, (mu, after) in enumerate(masses):
        shifted = m + Fixed.eye(n).times(Fixed.of(mu))
        ratio = None if after is None else after - mu

        def form(columns: NDArray[Any], shifted: Fixed = shifted, ratio: float | None = ratio) -> list[Decimal]:
            """Of every row of ``columns``."""
            right = Fixed.of(columns.T)
            solution = solved(shifted, right)[1]
            out = []
            for j in range(len(columns)):
                inside = int((right[:, j, None].dagger @ solution[:, j, None]).re[0, 0])
                if ratio is not None:
                    inside = int((right[:, j, None].dagger @ right[:, j, None]).re[0, 0]) + (
                        int(Fixed.of(ratio).re) * inside >> BITS
                    )
                out.append(decimal(inside))
            return out

        forms[:, k] = [float(value) for value in form(given["phi"][:, k])]
        chi = given["chi"][:, k].reshape(-1, n)
        c = Decimal(scales[k])
        with localcontext() as context:
            context.prec = DIGITS
            squares = [
                sum((Decimal(v.real) ** 2 + Decimal(v.imag) ** 2 for v in row.tolist()), Decimal(0)) for row in chi
            ]
            values = [n * c.ln() + s - c * f for s, f in zip(squares, form(chi), strict=True)]
        log_w[:, k] = np.array(values, dtype=object).reshape(DRAWS, N_PF)
    with localcontext() as context:
        context.prec = DIGITS
        estimates = [
            float(sum(((sum((v.exp() for v in row), Decimal(0)) / N_PF).ln() for row in draw), Decimal(0)))
            for draw in log_w
        ]
    return {"forms": forms, "log_weights": log_w.astype(float), "estimates": np.array(estimates)}


def _logarithms(m: Fixed, given: Numbers) -> Numbers:
    """``z^dag log(M) z``, what it varies by, and its bounds by Lanczos."""
    values, vectors = eigensystem(m)
    with localcontext() as context:
        context.prec = DIGITS
        logs = [decimal(value).ln() for value in values]
        out: Numbers = {"log_determinant": float(sum(logs, Decimal(0)))}
        out["gaussian_variance"] = float(sum((v * v for v in logs), Decimal(0)))
        scaled = np.array([int(v * ONE) for v in logs], dtype=object)
        matrix = Fixed(vectors.re * scaled >> BITS, vectors.im * scaled >> BITS) @ vectors.dagger
        squares = matrix.re * matrix.re
        out["z2_variance"] = 2 * int(squares.sum() - np.trace(squares)) / (ONE * ONE)
        for name in ("z2", "z"):
            columns = Fixed.of(given[name].T)
            parts = vectors.dagger @ columns
            weights = parts.re * parts.re + parts.im * parts.im
            out[f"{name}_log"] = np.array(
                [
                    float(sum((Decimal(int(w)) / ONE / ONE * v for w, v in zip(column, logs, strict=True)), Decimal(0)))
                    for column in weights.T
                ]
            )
    gauss, radau = _lanczos(m, Fixed.of(given["z"][0].reshape(-1, 1)), int(Fixed.of(given["floor"]).re))
    return {**out, "above": gauss, "below": radau}


def _lanczos(m: Fixed, z: Fixed, floor: int) -> tuple[float, float]:
    """Gauss rule, and Gauss-Radau rule with a node at ``floor``, after `STEPS` steps."""
    size = int((z.dagger @ z).re[0, 0])
    v, before = _scaled(z, reciprocal(square_root(size), 0)[0]), Fixed.zeros(*z.re.shape)
    alphas, betas = [], [0]
    for _ in range(STEPS):
        w = m @ v
        alphas.append(int((v.dagger @ w).re[0, 0]))
        w = w - _scaled(v, alphas[-1]) - _scaled(before, betas[-1])
        betas.append(square_root(int((w.dagger @ w).re[0, 0])))
        v, before = _scaled(w, reciprocal(betas[-1], 0)[0]), v
    t = _tridiagonal(alphas, betas[1:-1])
    unit = Fixed.zeros(STEPS, 1)
    unit.re[-1, 0] = betas[-1] * betas[-1] >> BITS
    last = floor + int(solved(_tridiagonal([a - floor for a in alphas], betas[1:-1]), unit)[1].re[-1, 0])
    rules = [_rule(t), _rule(_tridiagonal([*alphas, last], betas[1:]))]
    with localcontext() as context:
        context.prec = DIGITS
        gauss, radau = (float(decimal(size) * rule) for rule in rules)
    return gauss, radau


def _scaled(column: Fixed, factor: int) -> Fixed:
    return Fixed(column.re * factor >> BITS, column.im * factor >> BITS)


def _tridiagonal(diagonal: list[int], beside: list[int]) -> Fixed:
    t = Fixed.zeros(len(diagonal), len(diagonal))
    for k, value in enumerate(diagonal):
        t.re[k, k] = value
    for k, value in enumerate(beside):
        t.re[k, k + 1] = t.re[k + 1, k] = value
    return t


def _rule(t: Fixed) -> Decimal:
    """``e_1^T log(T) e_1``."""
    nodes, vectors = eigensystem(t)
    with localcontext() as context:
        context.prec = DIGITS
        return sum(
            (decimal(int(u)) ** 2 * decimal(k).ln() for u, k in zip(vectors.re[0], nodes, strict=True)), Decimal(0)
        )


def _pieces(
    arrays: Numbers, kappa: float, even_odd: bool, mus: list[float], mu_reg: float, scales: list[float]
) -> list[Piece]:
    operator: list[Any] = ["x", kappa, {"value": even_odd}]
    kernel: list[Any] = [*operator, {"value": mus}, mu_reg]
    told = "Arguments: links, kappa, even_odd"

    def of(name: str, formula: str, arguments: list[Any], returns: list[str] | str) -> Piece:
        names = returns if isinstance(returns, list) else [returns]
        size = max(float(np.ceil(np.abs(arrays[key]).max())) for key in names)
        return piece(f"estimators.{name}", formula, arguments, returns, tolerance=TOLERANCE * max(1.0, size))

    weights = f"log w = n log c + |chi|^2 - phi^dag K^-1 phi of phi = sqrt(c) chi. {told}, mus, mu_reg, c, chi"
    estimate = "log of prod over monomials of the mean over fields of w: an estimate of det(M + mu_reg)"
    return [
        of("monomial_forms", f"phi^dag K^-1 phi. {told}, mus, mu_reg, phi", [*kernel, "phi"], "forms"),
        of("gaussian_log_weights", weights, [*kernel, {"value": scales}, "chi"], "log_weights"),
        of("estimate_of_noise", estimate, [*kernel, {"value": scales}, "chi"], "estimates"),
        of("log_estimate_of_noise", f"z^dag log(M) z. {told}, z", [*operator, "z2"], "z2_log"),
        of("log_estimate_of_noise", f"z^dag log(M) z. {told}, z", [*operator, "z"], "z_log"),
        of(
            "log_estimate_laws",
            f"log det M, and the variance of z^dag log(M) z for z = +-1 and for complex normal z. {told}",
            operator,
            ["log_determinant", "z2_variance", "gaussian_variance"],
        ),
        of(
            "lanczos_bounds",
            "z^dag log(M) z of the first z from above and below, after 3 steps of Lanczos: |z|^2 times the Gauss rule, and "
            f"the Gauss-Radau rule with a node at the floor. {told}, z, steps, floor",
            [*operator, "z", STEPS, "floor"],
            ["above", "below"],
        ),
    ]
