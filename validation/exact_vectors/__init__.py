"""Golden vectors of exact values: expectation values of every theory at a table of couplings and shapes.

There is no field: ``x`` repeats the first parameter, and every row of the arrays is one line of the table. All numbers come from
sums and quadratures in decimal, rational or fixed-point arithmetic of at least 36 digits, rounded once; none is from
`refimpl.exact`, whose character expansions, transfer matrices and closed forms they are there to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pieces import Piece, piece
from ..vector_format import description
from . import fermions, normals, scalars
from .matrices import Torus
from .plaquettes import Angles, charges, distribution

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

ROUNDED = 4.5e-16  # two units in the last place, relative: answers that are rounded once, and parameters that are
FEW = 4e-15  # some ten roundings of float64
QUADRATURE = 4e-13  # two grids that agree to 1e-13, and ratios of their sums


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    yield _u1()
    yield _u1_charges()
    yield _open()
    yield _o2()
    yield from (_sun(n) for n in (2, 3))
    yield from _normals()
    yield from _free()
    yield from _phi4()
    yield _oscillator()
    yield _free_fermions()
    yield _schwinger()


# What the pieces are, in words: of U(1), and with bonds for plaquettes of O(2).
_U1 = {
    "log_partition": "log Z of the density exp(-beta sum_P (1 - cos theta_P)), links with d theta/2 pi",
    "plaquette": "<cos theta_P>",
    "single_plaquette_variance": "<cos^2 theta_P> - <cos theta_P>^2",
    "plaquette_covariance": "<cos theta_P cos theta_P'> - <cos>^2 of two different plaquettes",
    "plaquette_variance": "variance over configurations of the mean of cos theta_P over the lattice",
    "sine_correlation": "<sin theta_P sin theta_P'> of two different plaquettes",
    "sine_charge_susceptibility": "<Q_sin^2>/V, Q_sin = sum_P sin theta_P/2 pi",
}
_CIRCLE = "Fourier coefficients of exp(-beta (1 - cos P)) by trapezoidal sums over the circle in 50 digits or more, rounded once"
_TWO_ULPS = "two units in the last place: both sides are rounded once"


def _entry(
    name: str,
    theory: str,
    comment: str,
    arrays: dict[str, Any],
    pieces: list[Piece],
    derivation: str,
    reason: str,
    flags: tuple[str, ...] = ("BASIC",),
) -> Entry:
    about = description(
        f"exact/{name}",
        theory,
        np.shape(arrays["x"]) or (1,),
        list(flags),
        comment,
        parameters={},
        calls=[],
        derivation=derivation,
        tolerance=max(max(entry["relative"], entry["tolerance"]) for entry in pieces),
        reason=reason,
        conventions="rows of all arrays belong together; relative and absolute tolerances stand in pieces",
        module=f"refimpl.validation.{__name__.rpartition('.')[2]}",
        seed=0,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


U1_ROWS = [(1e-8, (4, 4)), (1e-3, (2, 2)), (0.5, (8, 8)), (1.0, (2, 2)), (2.0, (2, 3)), (2.0, (3, 2)), (2.0, (4, 4))]
U1_ROWS += [(4.0, (8, 8)), (7.0, (8, 8)), (7.0, (1, 5)), (30.0, (6, 4)), (300.0, (2, 2))]


def _u1() -> Entry:
    rows = [(beta, shape) for beta, shape in U1_ROWS if min(shape) > 1]
    table = []
    for beta, (n_t, n_x) in rows:
        angles, v = Angles.of(beta, n_t * n_x), n_t * n_x
        loops = angles.loops(1, n_x, v // 2, v)
        table.append({**angles.answers(), **{f"wilson_loop_{k}": loop for k, loop in enumerate(loops)}})
    betas, shapes = [row[0] for row in rows], [row[1] for row in rows]
    areas = {f"area_{k}": [(1, x, t * x // 2, t * x)[k] for t, x in shapes] for k in range(4)}
    pieces = [
        piece(f"exact.u1.{name}", formula, ["beta", "shape"], name, rows=True, relative=ROUNDED)
        for name, formula in _U1.items()
    ]
    loop = "<cos> of a contractible Wilson loop around so many plaquettes"
    pieces += [
        piece(
            "exact.u1.wilson_loop",
            loop,
            ["beta", "shape", f"area_{k}"],
            f"wilson_loop_{k}",
            rows=True,
            relative=ROUNDED,
        )
        for k in range(4)
    ]
    arrays = {"x": betas, "beta": betas, "shape": shapes, **areas, **_columns(table)}
    comment = "U(1) on a torus of (T, X) sites"
    return _entry("u1", "u1", comment, arrays, pieces, _CIRCLE, _TWO_ULPS, ("BASIC", "EDGE_CASE"))


CHARGED = [(1e-3, (2, 2)), (0.5, (2, 2)), (2.0, (2, 2)), (4.0, (4, 4)), (7.0, (8, 8))]


def _u1_charges() -> Entry:
    arrays: dict[str, Any] = {"x": [beta for beta, _ in CHARGED]}
    arrays |= {"beta": arrays["x"], "shape": [shape for _, shape in CHARGED]}
    pieces = []
    law = "charges Q = sum_P wrap(theta_P)/2 pi with p(Q) >= 1e-30, and -1, 0, 1, and their probabilities"
    susceptibility, ceiling = [], []
    for k, (beta, (n_t, n_x)) in enumerate(CHARGED):
        arrays[f"charges_{k}"], arrays[f"probabilities_{k}"] = distribution(beta, n_t * n_x)
        p = charges(beta, n_t * n_x)
        susceptibility.append(float(2 * sum(q * q * value for q, value in enumerate(p)) / (n_t * n_x)))
        ceiling.append(float(2 * sum(min(a, b) for a, b in pairwise(p))))
        returns = [f"charges_{k}", f"probabilities_{k}"]
        pieces.append(piece("exact.u1.charge_distribution", law, [beta, [n_t, n_x]], returns, relative=ROUNDED))
    arrays |= {"charge_susceptibility": susceptibility, "winding_ceiling": ceiling}
    named = {"charge_susceptibility": "<Q^2>/V", "winding_ceiling": "sum_Q min(p(Q), p(Q + 1))"}
    pieces += [
        piece(f"exact.u1.{name}", formula, ["beta", "shape"], name, rows=True, relative=FEW)
        for name, formula in named.items()
    ]
    derivation = (
        "the law of a sum of angles in [-pi, pi) by quadrature of Gauss and Legendre in 36 to 60 digits, rounded once"
    )
    reason = "two units in the last place of every probability, however small; some roundings of their sums"
    return _entry("u1-charges", "u1", "topological charge", arrays, pieces, derivation, reason, ("BASIC", "SECTOR"))


def _open() -> Entry:
    rows = [(beta, area) for beta in (1e-6, 0.5, 2.0, 12.0, 150.0) for area in (0, 1, 6)]
    loops = []
    for beta, area in rows:
        a = Angles.of(beta, 1).a
        loops.append(float((a[1] / a[0]) ** area if area else 1.0))
    arrays = {"x": [row[0] for row in rows], "beta": [row[0] for row in rows], "area": [row[1] for row in rows]}
    formula = "<cos> of a loop around so many plaquettes, boundaries open: (I_1/I_0)^area"
    pieces = [piece("exact.u1_open.wilson_loop", formula, ["beta", "area"], "wilson_loop", rows=True, relative=ROUNDED)]
    return _entry("u1-open", "u1", "open boundaries", {**arrays, "wilson_loop": loops}, pieces, _CIRCLE, _TWO_ULPS)


_O2 = {
    "log_partition": "log Z of the density exp(-beta sum_i (1 - cos(x_(i+1) - x_i))), sites with dx/2 pi",
    "bond_cosine": "<cos(x_(i+1) - x_i)>",
    "single_bond_variance": "variance of the cosine of one bond",
    "bond_covariance": "covariance of the cosines of two different bonds",
    "bond_variance": "variance over configurations of the mean of the N cosines",
    "sine_winding_susceptibility": "<Q_sin^2>/N, Q_sin = sum_i sin(x_(i+1) - x_i)/2 pi",
}
O2_ROWS = [(1e-4, 3), (0.5, 2), (0.5, 10), (1.0, 3), (2.0, 24), (4.0, 16), (20.0, 5), (200.0, 3)]
WINDING = [(0.5, 3), (2.0, 4), (1.0, 3), (3.0, 16)]


def _o2() -> Entry:
    table = []
    for beta, length in O2_ROWS:
        angles = Angles.of(beta, length)
        answers = dict(zip(_O2, [v for k, v in angles.answers().items() if k != "sine_correlation"], strict=True))
        if length == 2:  # two opposite bonds: their sines cancel
            answers["sine_winding_susceptibility"] = 0.0
        one, half = angles.loops(1, length // 2)
        table.append(
            {**answers, "correlation_1": one, "correlation_half": half, "susceptibility": angles.susceptibility()}
        )
    arrays: dict[str, Any] = {"x": [row[0] for row in O2_ROWS], "beta": [row[0] for row in O2_ROWS]}
    arrays |= {"length": [row[1] for row in O2_ROWS], "one": [1] * len(O2_ROWS), "half": [n // 2 for _, n in O2_ROWS]}
    named = {**_O2, "susceptibility": "<|sum_i exp(i x_i)|^2>/N"}
    pieces = [
        piece(f"exact.o2.{name}", formula, ["beta", "length"], name, rows=True, relative=ROUNDED, tolerance=1e-50)
        for name, formula in named.items()
    ]
    for distance, name in (("one", "correlation_1"), ("half", "correlation_half")):
        arguments = ["beta", "length", distance]
        pieces.append(
            piece("exact.o2.correlation", "<cos(x_(i+r) - x_i)>", arguments, name, rows=True, relative=ROUNDED)
        )
    for k, (beta, length) in enumerate(WINDING):
        arrays[f"windings_{k}"], arrays[f"probabilities_{k}"] = distribution(beta, length)
        returns = [f"windings_{k}", f"probabilities_{k}"]
        law = "winding numbers sum_i wrap(x_(i+1) - x_i)/2 pi, and their probabilities"
        pieces.append(piece("exact.o2.winding_distribution", law, [beta, length], returns, relative=FEW))
    arrays |= {"winding_beta": [row[0] for row in WINDING], "winding_length": [row[1] for row in WINDING]}
    arrays["winding_susceptibility"] = [
        float(2 * sum(q * q * value for q, value in enumerate(charges(*row))) / row[1]) for row in WINDING
    ]
    arguments, returned = ["winding_beta", "winding_length"], "winding_susceptibility"
    pieces.append(piece("exact.o2.winding_susceptibility", "<Q^2>/N", arguments, returned, rows=True, relative=FEW))
    comment = "the periodic O(2) chain of N sites"
    return _entry(
        "o2", "o2", comment, {**arrays, **_columns(table)}, pieces, _CIRCLE, _TWO_ULPS, ("BASIC", "EDGE_CASE")
    )


_SUN = {
    "log_partition": "log Z of the density exp((beta/N) sum_P Re tr P), Haar measure of volume 1",
    "plaquette": "<Re tr P>/N",
    "single_plaquette_variance": "variance of Re tr P/N of one plaquette",
    "plaquette_covariance": "covariance of Re tr P/N of two different plaquettes",
    "plaquette_variance": "variance over configurations of the mean of Re tr P/N",
}
SUN_BETAS = {2: (0.05, 1.0, 2.2, 12.0), 3: (0.5, 2.0)}


def _sun(n: int) -> Entry:
    rows, table = [], []
    for beta in SUN_BETAS[n]:
        torus = Torus.of(beta, n)
        for t, x in ((2, 2), (2, 3), (4, 4)):
            rows.append((beta, (t, x)))
            loops = {f"wilson_loop_{area}": torus.loop(t * x, area) for area in (1, 2, 4)}
            table.append({**torus.answers(t * x), **loops})
    arrays: dict[str, Any] = {"x": [row[0] for row in rows], "beta": [row[0] for row in rows]}
    arrays |= {"shape": [row[1] for row in rows], "n": [n] * len(rows)}
    pieces = [
        piece(f"exact.sun.{name}", formula, ["beta", "shape", "n"], name, rows=True, relative=FEW)
        for name, formula in _SUN.items()
    ]
    for area in (1, 2, 4):
        arrays[f"area_{area}"] = [area] * len(rows)
        arguments = ["beta", "shape", f"area_{area}", "n"]
        loop = "<Re tr W>/N of a contractible loop around so many plaquettes"
        pieces.append(piece("exact.sun.wilson_loop", loop, arguments, f"wilson_loop_{area}", rows=True, relative=FEW))
    derivation = "coefficients of exp((beta/N) Re tr U) by trapezoidal sums over eigenphases in 60 digits, rounded once"
    reason = "beta/N is rounded to float64, and covariances of V plaquettes are of the order of its power V - 2: some 18 roundings"
    return _entry(f"su{n}", f"su{n}", f"SU({n}) on a torus", {**arrays, **_columns(table)}, pieces, derivation, reason)


POINTS, LIMITS = [[0.0, 0.0], [1.0, 2.0], [-3.0, 2.5]], [-3.0, -0.25, 0.0, 1.0, 4.0]
NORMALS = {
    "round": ([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
    "tilted": ([1.0, -2.0], [[1.0, 0.3], [0.3, 0.5]]),
    "narrow": ([0.5, 0.25], [[1.0, 0.999], [0.999, 1.0]]),
}
MIXTURES = {
    "foreman": ([0.5, 0.5], [[-2.0, 0.0], [2.0, 0.0]], [[[0.1, 0.0], [0.0, 0.1]]] * 2),
    "three": (
        [0.5, 0.25, 0.25],
        [[-2.0, 0.0], [2.0, 0.5], [0.0, 1.0]],
        [[[0.125, 0.0], [0.0, 0.25]], [[0.5, 0.25], [0.25, 1.0]], [[1.0, -0.5], [-0.5, 2.0]]],
    ),
}


def _normals() -> Iterator[Entry]:
    derivation = "pairings of coordinates in rational, densities and erf in 60-digit decimal arithmetic, rounded once"
    reason = "some roundings of float64, of log densities times some hundreds, as the narrow covariance has condition number 2e3"
    for name, (mean, covariance) in NORMALS.items():
        answers = normals.of_mixture([1.0], [mean], [covariance], POINTS, LIMITS)
        arrays = {"x": POINTS, "mean": mean, "covariance": covariance, "t": LIMITS, **_kept(answers, 3)}
        given = ["covariance", "mean"]
        comment = f"a {name} normal distribution"
        yield _entry(
            f"gaussian-{name}", "gaussian", comment, arrays, _of_normals("gaussian", given), derivation, reason
        )
    for name, (weights, means, covariances) in MIXTURES.items():
        answers = normals.of_mixture(weights, means, covariances, POINTS, LIMITS)
        arrays = {"x": POINTS, "weights": weights, "means": means, "covariances": covariances, "t": LIMITS, **answers}
        given = ["weights", "means", "covariances"]
        more = [
            piece(
                "exact.mixture.responsibilities", "p(component | x)", ["x", *given], "responsibilities", tolerance=FEW
            ),
            piece("exact.mixture.mean", "<x>", given, "mean", tolerance=FEW),
            piece("exact.mixture.covariance", "<x x^T> - <x><x>^T", given, "covariance", tolerance=FEW),
        ]
        pieces = [*_of_normals("mixture", given), *more]
        yield _entry(f"gmm-{name}", "gmm", "a mixture of normal distributions", arrays, pieces, derivation, reason)


def _kept(answers: dict[str, Any], skipped: int) -> dict[str, Any]:
    """Without responsibilities, mean and covariance, which a single component has no need of."""
    names = ("responsibilities", "mean", "covariance")[:skipped]
    return {key: value for key, value in answers.items() if key not in names}


def _of_normals(module: str, given: list[Any]) -> list[Piece]:
    pieces = [
        piece(
            f"exact.{module}.log_density",
            "log p(x), normalised",
            ["x", *given],
            "log_density",
            relative=1e-13,
            tolerance=1e-13,
        ),
        piece(
            f"exact.{module}.absolute_moments",
            "mean and variance of |x_0|",
            [0, *given],
            ["absolute_mean", "absolute_variance"],
            relative=FEW,
        ),
        piece(f"exact.{module}.cumulative", "P(x_0 <= t)", ["t", 0, *given], "cumulative", relative=FEW, tolerance=FEW),
    ]
    for name, coordinates in normals.MOMENTS.items():
        formula = f"<prod x_i> over i of {coordinates}, from 0"
        arguments = [{"value": list(coordinates)}, *given]
        pieces.append(piece(f"exact.{module}.moment", formula, arguments, name, relative=FEW, tolerance=FEW))
    return pieces


_FREE = {
    "propagator": "<phi(0) phi(t, x)>",
    "correlator": "<P(t) P(0)> of slice means",
    "second_moment": "<phi^2>",
    "fourth_moment": "<phi^4>",
    "susceptibility": "V <m^2>",
    "absolute_magnetisation": "<|m|>",
    "log_partition": "log int exp(-S)",
    "mass": "2 asinh(sqrt(m2)/2)",
}


def _free() -> Iterator[Entry]:
    for m2, shape in ((1e-6, (4, 6)), (0.5, (2, 2)), (0.1, (8, 3)), (1e4, (1, 5)), (1.0, (1, 1))):
        answers = scalars.free(m2, shape)
        tolerances = {name: FEW * float(np.max(np.abs(answers[name]))) for name in _FREE}
        formula = "; ".join(f"{name} = {text}" for name, text in _FREE.items())
        pieces = [
            piece("exact.free_scalar", formula, [m2, list(shape)], {name: name}, tolerance=tolerances[name])
            for name in _FREE
        ]
        flags = ("EDGE_CASE",) if 1 in shape else ("BASIC",)
        yield _entry(
            f"free-{shape[0]}x{shape[1]}",
            "phi4",
            f"the free scalar field, m2 = {m2:g}",
            {"x": [m2], **answers},
            pieces,
            "sums over both momenta in 50-digit decimal arithmetic, rounded once",
            "some ten roundings, of the largest entry of every array",
            flags,
        )


PHI4 = {
    "log_partition": "log int exp(-S)",
    "two_point": "<phi(0) phi(t, x)>",
    "phi_squared": "<phi^2>",
    "phi_fourth": "<phi^4>",
    "magnetisation_fourth": "<m^4>",
    "correlator": "<P(t) P(0)> of slice means",
    "susceptibility": "V <m^2>",
    "binder": "1 - <m^4>/3<m^2>^2",
    "gap": "log of the ratio of the two largest eigenvalues of the transfer matrix along the longer extent",
}
PHI4_ROWS = [(1.0, 1.0, (1, 1)), (-1.0, 6.0, (1, 1)), (1.0, 1.0, (2, 1)), (0.5, 6.0, (2, 2)), (-0.5, 3.0, (4, 1))]
PHI4_ROWS += [(0.1, 50.0, (1, 3))]


def _phi4() -> Iterator[Entry]:
    for k, (m2, lam, shape) in enumerate(PHI4_ROWS):
        answers = scalars.ring(m2, lam, shape)
        functions = ["answers", *(["quadrature"] if shape in ((2, 1), (2, 2), (4, 1)) else [])]
        formula = "; ".join(f"{name} = {text}" for name, text in PHI4.items() if name in answers)
        pieces = []
        for function in functions:
            returns = {name: name for name in answers if name != "gap" or function == "answers"}
            arguments = [m2, lam, list(shape)]
            pieces.append(
                piece(f"exact.phi4.{function}", formula, arguments, returns, relative=QUADRATURE, tolerance=QUADRATURE)
            )
        yield _entry(
            f"phi4-{k}-{shape[0]}x{shape[1]}",
            "phi4",
            f"phi^4 at m2 = {m2:g}, lam = {lam:g}",
            {"x": [m2, lam], **answers},
            pieces,
            "powers of a kernel on a grid of midpoints in fixed-point arithmetic of 42 digits, rounded once",
            "grids of float64 that agree to 1e-13, and ratios of their sums",
        )


OSCILLATORS = [(1.0, 0.1, 10), (2.0, 0.5, 7), (1.0, 1.9, 3), (1e-3, 1.0, 100), (1.0, 1e-4, 50), (3.0, 0.25, 1)]


def _oscillator() -> Entry:
    table = [normals.oscillator(*row) for row in OSCILLATORS]
    arrays: dict[str, Any] = {"x": [row[0] for row in OSCILLATORS], "omega": [row[0] for row in OSCILLATORS]}
    arrays |= {"step_size": [row[1] for row in OSCILLATORS], "n_steps": [row[2] for row in OSCILLATORS]}
    three = ["omega", "step_size", "n_steps"]
    named = {
        "energy_error_scale": "d = sqrt(2 <H' - H>) of n leapfrog steps from equilibrium, S = omega^2 x^2/2",
        "mean_energy_error": "<H' - H>",
        "acceptance": "the mean of min(1, exp(H - H'))",
        "unadjusted_variance": "<x^2> of leapfrog steps from fresh momenta without accept/reject",
    }
    pieces = [
        piece(f"exact.toy.{name}", text, three[: 2 if "unadjusted" in name else 3], name, rows=True, relative=2e-14)
        for name, text in named.items()
    ]
    derivation = "powers of the matrix of one leapfrog step in 60-digit decimal arithmetic, rounded once"
    reason = "roundings of float64, tenfold where step_size omega is near 2 and its distance from 2 has lost a digit"
    comment = "leapfrog on a harmonic oscillator"
    return _entry("oscillator", "gaussian", comment, {**arrays, **_columns(table)}, pieces, derivation, reason)


FREE_FERMIONS = [
    (1e-3, (2, 2), (0.0, 0.0), True),
    (0.1, (2, 2), (0.0, 0.0), True),
    (0.25, (2, 2), (0.0, 0.0), True),
    (0.25, (2, 3), (0.3, -1.1), False),
    (0.25, (3, 3), (0.0, 0.0), True),
    (0.276, (4, 4), (0.5, 3.0), True),
    (0.276, (4, 4), (0.0, 0.0), False),
    (100.0, (2, 4), (1.0, 2.0), False),
]


def _free_fermions() -> Entry:
    kappa, shape, angles, boundary = (list(column) for column in zip(*FREE_FERMIONS, strict=True))
    arrays = {"x": kappa, "kappa": kappa, "shape": shape, "angles": angles, "antiperiodic": boundary}
    arrays["log_determinant"] = [fermions.free_log_determinant(*row) for row in FREE_FERMIONS]
    formula = "log det D on T x X sites, all links exp(i angles[mu]), antiperiodic in time or not"
    arguments = ["kappa", "shape", "angles", "antiperiodic"]
    name = "exact.fermions.log_determinant"
    pieces = [piece(name, formula, arguments, "log_determinant", rows=True, relative=FEW, tolerance=FEW)]
    # The largest of all fields: antiperiodic in both directions.
    arrays["colours"] = [1 + k % 3 for k in range(len(kappa))]
    arrays["largest"] = [
        n * fermions.free_log_determinant(k if k < 1 else 0.4, s, (0.0 if b else np.pi / s[0], np.pi / s[1]), b)
        for k, s, b, n in zip(kappa, shape, boundary, arrays["colours"], strict=True)
    ]
    arrays["largest_kappa"] = [k if k < 1 else 0.4 for k in kappa]
    formula = "the largest log |det D| of all U(N) fields, N = colours: the free one, antiperiodic in both directions"
    arguments = ["largest_kappa", "shape", "colours", "antiperiodic"]
    name = "exact.schwinger.largest_log_determinant"
    pieces.append(piece(name, formula, arguments, "largest", rows=True, relative=FEW, tolerance=FEW))
    derivation = "dense elimination in position space in 51-digit fixed-point arithmetic, rounded once"
    reason = "some ten roundings of logarithms of size 1"
    return _entry("free-fermions", "schwinger", "free Wilson fermions", arrays, pieces, derivation, reason)


SCHWINGER = [(2.0, 0.265)]


def _schwinger() -> Entry:
    table = [fermions.two_by_two(*row) for row in SCHWINGER]
    arrays: dict[str, Any] = {"x": [row[0] for row in SCHWINGER], "beta": [row[0] for row in SCHWINGER]}
    arrays |= {"kappa": [row[1] for row in SCHWINGER], **_columns(table)}
    formula = "log_z = log <det D^2> in the pure gauge theory, plaquette = <cos theta_P>, condensate = <Re tr D^-1>/8, "
    formula += "charge_squared = <Q^2>, under exp(beta sum cos theta_P) det D^2 on 2 x 2 sites"
    returns = {name: name for name in table[0]}
    pieces = [piece("exact.schwinger_2x2", formula, ["beta", "kappa"], returns, rows=True, relative=1e-13)]
    derivation = (
        "det D as a polynomial with integer coefficients, weights by trapezoidal sums in 40 digits, rounded once"
    )
    reason = "Fourier sums of float64, which cancel by up to three digits"
    comment = "two flavours on 2 x 2 sites"
    return _entry("schwinger-2x2", "schwinger", comment, arrays, pieces, derivation, reason)
