"""Golden vectors of the parts that maps are made of: angles, the sublayers of the generalized leapfrog, circular maps, masks, flux.

Pointwise functions in 50-digit decimal arithmetic, from the formulas that each piece tells; no net and no lattice but where told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import arctangent, cosine, pi, sine, total
from ..pieces import Piece, piece
from ..vector_format import description

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = list[Decimal]

SEED, DIGITS = 20261127, 50
ROUNDING = 4e-15  # ten units in the last place of numbers of size 1
AMPLIFIED = 1e-13  # where a slope of up to exp(3) amplifies them, twice


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    with localcontext() as context:
        context.prec = DIGITS
        yield from (_angles(), _tangent(), _sublayers(), _projections(), _circular_spline(), _interval_spline())
    yield _masks()
    yield _flux()


def _entry(
    name: str, theory: str, flags: list[str], comment: str, arrays: dict[str, Any], pieces: list[Piece]
) -> Entry:
    about = description(
        f"maps/{name}",
        theory,
        np.shape(arrays["x"]),
        flags,
        comment,
        parameters={},
        calls=[],
        derivation="from the formula of each piece, number by number in 50-digit decimal arithmetic or integers, rounded once",
        tolerance=max(entry["tolerance"] for entry in pieces),
        reason="rounding of some operations on numbers of size 1, amplified where a map is steep; masks are exact",
        conventions="the formulas stand in pieces; angles are compared on the circle where that is told",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _of(function: Callable[..., Decimal], *columns: Array) -> Array:
    """A function of decimals, at every entry of arrays of one shape."""
    rows = [[Decimal(float(v)) for v in column.ravel()] for column in columns]
    return np.array([float(function(*values)) for values in zip(*rows, strict=True)]).reshape(columns[0].shape)


def _folded(a: Decimal) -> Decimal:
    """In [0, 2 pi)."""
    return a - 2 * pi() * (a / (2 * pi())).to_integral_value("ROUND_FLOOR")


def _angles() -> Entry:
    at = [
        0.0,
        1.0,
        -3.0,
        3.0,
        3.2,
        -3.2,
        6.0,
        9.5,
        -100.0,
        1e3,
        3.141592653589793,
        -3.141592653589793,
        -1e-20,
        6.283185307179586,
    ]
    x = np.array(at)
    arrays = {"x": x, "wrapped": _of(lambda a: _folded(a + pi()) - pi(), x), "folded": _of(_folded, x)}
    bounds: dict[str, Any] = {"tolerance": 2e-13}  # 2 pi is rounded, and 1e3 holds it 160 times
    pieces = [
        piece("groups.wrap", "the angle in [-pi, pi), modulo 2 pi", ["x"], "wrapped", angles=("wrapped",), **bounds),
        piece("groups.fold", "the angle in [0, 2 pi), modulo 2 pi", ["x"], "folded", angles=("folded",), **bounds),
    ]
    return _entry("angles", "any", ["BASIC", "BRANCH_CUT"], "representatives of angles", arrays, pieces)


def _turned(x: Decimal, exponent: Decimal) -> Decimal:
    """``2 atan(exp(e) tan(x/2))`` for |x| <= pi."""
    return 2 * arctangent(exponent.exp() * sine(x / 2) / cosine(x / 2))


def _log_slope(x: Decimal, exponent: Decimal) -> Decimal:
    return -((-exponent).exp() * cosine(x / 2) ** 2 + exponent.exp() * sine(x / 2) ** 2).ln()


def _tangent() -> Entry:
    points = [
        (0.0, 0.7),
        (0.5, -1.0),
        (-0.5, 1.0),
        (1.5, 2.0),
        (-2.5, 0.3),
        (3.0, -2.0),
        (3.14, 1.0),
        (-3.141592653589793, 0.5),
    ]
    x, e = np.array(points).T[:, :, None]
    pieces = [
        piece(
            "maps.stretch_angle",
            "x -> 2 atan(exp(e) tan(x/2)), a bijection of the circle, and the logarithm of its slope, "
            "-log(exp(-e) cos^2(x/2) + exp(e) sin^2(x/2)); one angle per chain",
            ["x", "exponent"],
            ["y", "logdet"],
            tolerance=AMPLIFIED,
            angles=("y",),
        ),
    ]
    arrays = {"x": x, "exponent": e, "y": _of(_turned, x, e), "logdet": _of(_log_slope, x, e)[:, 0]}
    return _entry("stretch", "any", ["BASIC", "BRANCH_CUT"], "the stretch of angles", arrays, pieces)


def _sublayers() -> Entry:
    """Half kick and drift, of real fields and of angles, with every output different from zero; 4 entries in 2 chains."""
    rng = np.random.default_rng(SEED)
    names = ("v", "force", "s", "t", "q")
    given = {name: np.round(rng.standard_normal((2, 4)), 6) for name in names}
    given["x"] = np.round(rng.uniform(-3, 3, (2, 4)), 6)
    move, eps = np.array([1.0, 0.0, 1.0, 1.0]), 0.25
    e = Decimal(eps)

    def kicked(v: Decimal, f: Decimal, s: Decimal, t: Decimal, q: Decimal) -> Decimal:
        return v * (e * s / 2).exp() - e / 2 * (f * (e * q).exp() + t)

    def unkicked(v: Decimal, f: Decimal, s: Decimal, t: Decimal, q: Decimal) -> Decimal:
        return (v + e / 2 * (f * (e * q).exp() + t)) * (-e * s / 2).exp()

    def shift(v: Decimal, t: Decimal, q: Decimal, m: Decimal) -> Decimal:
        return m * e * (v * (e * q).exp() + t)

    moves = np.broadcast_to(move, (2, 4))
    arrays: dict[str, Any] = {**given, "move": move}
    column = [given[name] for name in names]
    half = [float(e / 2 * total(Decimal(float(s)) for s in row)) for row in given["s"]]
    scaled = [float(e * total(Decimal(float(s * m)) for s, m in zip(row, move, strict=True))) for row in given["s"]]
    arrays |= {"v_forward": _of(kicked, *column), "v_inverse": _of(unkicked, *column)}
    arrays |= {"kick_logdet": half, "kick_logdet_inverse": [-value for value in half]}
    field = [given[name] for name in ("x", "v", "s", "t", "q")]

    def real(x: Decimal, v: Decimal, s: Decimal, t: Decimal, q: Decimal, m: Decimal) -> Decimal:
        return x * (m * e * s).exp() + shift(v, t, q, m)

    def unreal(x: Decimal, v: Decimal, s: Decimal, t: Decimal, q: Decimal, m: Decimal) -> Decimal:
        return (x - shift(v, t, q, m)) * (-m * e * s).exp()

    def angular(x: Decimal, v: Decimal, s: Decimal, t: Decimal, q: Decimal, m: Decimal) -> Decimal:
        return _turned(x, m * e * s) + shift(v, t, q, m)

    def unangular(x: Decimal, v: Decimal, s: Decimal, t: Decimal, q: Decimal, m: Decimal) -> Decimal:
        return _turned(x - shift(v, t, q, m), -m * e * s)

    arrays |= {"real_forward": _of(real, *field, moves), "real_inverse": _of(unreal, *field, moves)}
    arrays |= {"real_logdet": scaled, "real_logdet_inverse": [-value for value in scaled]}
    arrays |= {"angle_forward": _of(angular, *field, moves), "angle_inverse": _of(unangular, *field, moves)}
    slopes = _of(lambda x, s, m: _log_slope(x, m * e * s), given["x"], given["s"], moves)
    back = _of(lambda x, v, s, t, q, m: _log_slope(x - shift(v, t, q, m), -m * e * s), *field, moves)
    arrays |= {
        "angle_logdet": [float(sum(row)) for row in slopes],
        "angle_logdet_inverse": [float(sum(row)) for row in back],
    }
    outputs = ["s", "t", "q"]
    kick = "v' = v exp(e s/2) - (e/2) (force exp(e q) + t), logdet = (e/2) sum s; direction -1: its inverse. Arguments: v, force, "
    kick += "(s, t, q), e, direction"
    drift = "where move is 1: x' = g(x) + e (v exp(e q) + t), g of real fields x exp(e s), of angles 2 atan(exp(e s) tan(x/2)); "
    drift += "direction -1: the inverse, shift first. Arguments: x, v, (s, t, q), move, e, direction, whether angles"
    pieces = []
    for sign, way in ((1, "forward"), (-1, "inverse")):
        end = "" if sign == 1 else "_inverse"
        pieces.append(
            piece(
                "maps.half_kick",
                kick,
                ["v", "force", outputs, eps, sign],
                [f"v_{way}", f"kick_logdet{end}"],
                tolerance=ROUNDING,
            )
        )
        for kind in ("real", "angle"):
            arguments: list[Any] = ["x", "v", outputs, "move", eps, sign, {"value": kind == "angle"}]
            returns = [f"{kind}_{way}", f"{kind}_logdet{end}"]
            angles = (returns[0],) if kind == "angle" else ()
            pieces.append(piece("maps.drift", drift, arguments, returns, tolerance=AMPLIFIED, angles=angles))
    return _entry(
        "sublayers", "any", ["BASIC", "CONVENTION"], "the sublayers of the generalized leapfrog", arrays, pieces
    )


def _columns(
    points: Array, raw: Array, function: Callable[[Decimal, Numbers], tuple[Decimal, Decimal]]
) -> tuple[Array, Array]:
    values = [
        function(Decimal(float(p)), [Decimal(float(r)) for r in column])
        for p, column in zip(points, raw.T, strict=True)
    ]
    return np.array([float(y) for y, _ in values]), np.array([float(slope) for _, slope in values])


def _two_ways(name: str, formula: str, settings: list[Any], angles: bool) -> list[Piece]:
    wide = ("y", "x") if angles else ()
    bounds: dict[str, Any] = {"tolerance": AMPLIFIED, "angles": wide}
    back = "the inverse, and minus the logarithm of the slope: "
    return [
        piece(f"{name}.forward", formula, [*settings, "x", "raw"], ["y", "log_slope"], **bounds),
        piece(f"{name}.inverse", back + formula, [*settings, "y", "raw"], ["x", "log_slope_inverse"], **bounds),
    ]


POINTS = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 3.5, 4.5, 6.0, 6.25])


def _projections() -> Entry:
    raw = np.round(np.random.default_rng(SEED + 1).standard_normal((3, len(POINTS))), 6)

    def mixed(x: Decimal, numbers: Numbers) -> tuple[Decimal, Decimal]:
        *s, t = numbers
        heights = [_turned(x, e) if x <= pi() else 2 * pi() + _turned(x - 2 * pi(), e) for e in s]
        slopes = [_log_slope(x, e).exp() for e in s]
        return _folded(total(heights) / len(s) + t), (total(slopes) / len(s)).ln()

    y, slope = _columns(POINTS, raw, mixed)
    formula = "mean over i of 2 atan(exp(s_i) tan(x/2)) in [0, 2 pi], plus t, modulo 2 pi, and log of the slope; raw: s_1, s_2, t"
    arrays = {"x": POINTS, "raw": raw, "y": y, "log_slope": slope, "log_slope_inverse": -slope}
    pieces = _two_ways("maps.projections", formula, [2], True)
    return _entry("projections", "any", ["BASIC"], "a mixture of two non-compact projections", arrays, pieces)


BINS = 3
_SPLINE = (
    "monotone rational-quadratic spline of K bins: widths and heights are softmax times the length, slopes softplus; in bin k, "
    "xi = (x - x_k)/w_k, s = h_k/w_k, y = y_k + h_k (s xi^2 + d_k xi (1 - xi))/(s + (d_(k+1) + d_k - 2 s) xi (1 - xi)); and log "
    "of the slope. raw, one column per point: K of widths, K of heights, "
)


def rational_spline(
    x: Decimal, widths: Numbers, heights: Numbers, slopes: Numbers, length: Decimal
) -> tuple[Decimal, Decimal]:
    w, h = ([length * r.exp() / total(v.exp() for v in numbers) for r in numbers] for numbers in (widths, heights))
    d = [(1 + r.exp()).ln() for r in slopes]
    k = 0
    while k < len(w) - 1 and x >= total(w[: k + 1]):
        k += 1
    xi, s = (x - total(w[:k])) / w[k], h[k] / w[k]
    u = xi * (1 - xi)
    bottom = s + (d[k + 1] + d[k] - 2 * s) * u
    slope = s**2 * (d[k + 1] * xi**2 + 2 * s * u + d[k] * (1 - xi) ** 2) / bottom**2
    return total(h[:k]) + h[k] * (s * xi**2 + d[k] * u) / bottom, slope.ln()


def _circular_spline() -> Entry:
    raw = np.round(np.random.default_rng(SEED + 2).standard_normal((3 * BINS + 1, len(POINTS))), 6)

    def spline(x: Decimal, numbers: Numbers) -> tuple[Decimal, Decimal]:
        slopes = [numbers[3 * BINS - 1], *numbers[2 * BINS : 3 * BINS]]
        y, slope = rational_spline(x, numbers[:BINS], numbers[BINS : 2 * BINS], slopes, 2 * pi())
        return _folded(y + numbers[-1]), slope

    y, slope = _columns(POINTS, raw, spline)
    formula = _SPLINE + "K slopes at knots 1, ..., K (the slope at knot 0 is that at K), and a shift t, modulo 2 pi"
    arrays = {"x": POINTS, "raw": raw, "y": y, "log_slope": slope, "log_slope_inverse": -slope}
    pieces = _two_ways("maps.circular_spline", formula, [BINS], True)
    return _entry("circular-spline", "any", ["BASIC", "CONVENTION"], "a spline of the circle", arrays, pieces)


def _interval_spline() -> Entry:
    x = np.array([0.0, 0.125, 0.25, 0.5, 0.625, 0.875, 1.0])
    raw = np.round(np.random.default_rng(SEED + 3).standard_normal((3 * BINS + 1, len(x))), 6)

    def spline(at: Decimal, numbers: Numbers) -> tuple[Decimal, Decimal]:
        return rational_spline(at, numbers[:BINS], numbers[BINS : 2 * BINS], numbers[2 * BINS :], Decimal(1))

    y, slope = _columns(x, raw, spline)
    arrays = {"x": x, "raw": raw, "y": y, "log_slope": slope, "log_slope_inverse": -slope}
    pieces = _two_ways("maps.interval_spline", _SPLINE + "K + 1 slopes at knots 0, ..., K", [BINS], False)
    return _entry("interval-spline", "any", ["BASIC", "CONVENTION"], "a spline of [0, 1]", arrays, pieces)


def _masks() -> Entry:
    arrays: dict[str, Any] = {"x": [4, 6]}
    pieces = []
    sites = list(itertools.product(range(4), range(6)))
    for parity in (0, 1):
        name = f"parity_{parity}"
        arrays[name] = np.array([(t + x) % 2 == parity for t, x in sites]).reshape(4, 6)
        formula = "true where (t + x) mod 2 = parity. Arguments: shape, parity"
        pieces.append(piece("lattice.parity_mask", formula, [[4, 6], parity], name))
    for mu, period, offset in ((0, 4, 1), (1, 2, 0), (1, 3, 2)):
        name = f"stripe_{mu}_{period}_{offset}"
        arrays[name] = np.array([(t, x)[mu] % period == offset for t, x in sites]).reshape(4, 6)
        formula = "true where the coordinate along mu is offset modulo period. Arguments: shape, mu, period, offset"
        pieces.append(piece("lattice.stripe_mask", formula, [[4, 6], mu, period, offset], name))
    return _entry("masks", "any", ["BASIC", "CONVENTION"], "checkerboards and stripes", arrays, pieces)


def _flux() -> Entry:
    """The plaquettes of the field are checked by `tests`; here the field itself, link by link."""
    n_t, n_x = 3, 4
    field = np.zeros((2, n_t, n_x))
    with localcontext() as context:
        context.prec = DIGITS
        for t, x in itertools.product(range(n_t), range(n_x)):
            field[1, t, x] = float(_folded(2 * pi() * t / (n_t * n_x) + pi()) - pi())
            if t == n_t - 1:
                field[0, t, x] = float(_folded(-2 * pi() * x / n_x + pi()) - pi())
        x0 = np.round(np.random.default_rng(SEED + 4).uniform(-3, 3, (3, 2, n_t, n_x)), 6)
        k = [1, -1, 5]
        wound = np.empty_like(x0)
        for chain, mu, t, x in np.ndindex(x0.shape):
            unit = Decimal(t) / (n_t * n_x) if mu == 1 else Decimal(-x if t == n_t - 1 else 0) / n_x
            wound[chain, mu, t, x] = float(
                _folded(Decimal(float(x0[chain, mu, t, x])) + 2 * pi() * k[chain] * unit + pi()) - pi()
            )
    unit_told = (
        "I_1(t, x) = 2 pi t/(T X), I_0(T - 1, x) = -2 pi x/X, other I_0 = 0: every plaquette is 2 pi/(T X) modulo 2 pi"
    )
    pieces = [
        piece("lattice.unit_flux", unit_told, [[n_t, n_x]], "unit_flux", tolerance=ROUNDING, angles=("unit_flux",)),
        piece(
            "kernels.wind",
            f"x + k I, wrapped, one integer k per chain, and its logdet 0; {unit_told}",
            ["x", "k"],
            ["wound", "logdet"],
            tolerance=ROUNDING,
            angles=("wound",),
        ),
    ]
    arrays = {"x": x0, "k": np.array(k, dtype=np.int64), "unit_flux": field, "wound": wound, "logdet": np.zeros(3)}
    return _entry("flux", "u1", ["BASIC", "CONVENTION", "SECTOR"], "uniform flux and winding moves", arrays, pieces)
