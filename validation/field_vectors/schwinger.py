"""Golden vectors of the Schwinger model: action and force with both flavours, operator, determinant, pion and condensate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..fixed_point import ONE, Fixed, log_absolute, phases, solved
from ..suites import fermion as fermions
from ..vector_format import call
from .cases import Case, Entry, Suite, refused, vector
from .decimals import PI, U1, decimals, digits, plaquettes, rounded, wrapped

SUITE = Suite(
    "schwinger",
    "schwinger",
    __name__,
    20261211,
    "dense elimination and analytic forces in 51-digit fixed-point arithmetic, gauge part in 50-digit decimals, rounded once",
    "axes (chain, mu, t, x), spinors (chain, t, x, spin); D as in refimpl.validation.contract, rows (t, x, spin); "
    "action = beta sum_P (1 - "
    "cos theta_P) - 2 log |det D|; pion (chain, t) = sum_(x, x0) tr S S^dag from (t0, x0) to (t0 + t, x), averaged "
    "over t0, S = D^-1; "
    "condensate = Re tr D^-1/(2 T X)",
)
TOLERANCE = 1e-11  # of the largest entry: condition numbers of D reach 1e2, its inverse is squared


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SUITE.seed)
    cases = (((2, 2), 2.0, 0.2, True), ((2, 4), 4.0, 0.265, True), ((4, 2), 1.0, 0.25, True), ((3, 4), 2.0, 0.2, True))
    for shape, beta, kappa, antiperiodic in (*cases, ((4, 4), 2.0, 0.265, True), ((2, 4), 2.0, 0.2, False)):
        parameters = {"beta": beta, "kappa": kappa, "shape": list(shape), "antiperiodic": antiperiodic}
        x = np.stack([fermions.random_links(rng, 1, shape, size) for size in (3.0, 0.5)])
        name = f"{shape[0]}x{shape[1]}" + ("" if antiperiodic else "-periodic")
        comment = "a rough field, and one near order" + ("" if antiperiodic else ", fermions periodic in time")
        yield _answered(
            Case(name, parameters, ["BASIC", "CONVENTION"], comment, x), fermions.normal(rng, (2, *shape, 2))
        )
    free = np.zeros((1, 2, 2, 4))
    parameters = {"beta": 1.0, "kappa": 0.2, "shape": [2, 4], "antiperiodic": True}
    yield _answered(
        Case("free-2x4", parameters, ["EDGE_CASE"], "no gauge field", free), fermions.normal(rng, (1, 2, 4, 2))
    )
    nan = np.where(np.arange(4) == 2, np.nan, free)
    case = Case("nan-2x4", parameters, ["EDGE_CASE"], "links that are NaN", nan)
    yield refused(SUITE, case, [("action", []), ("force", []), ("logdet_dirac", [])])


def _answered(case: Case, psi: Any) -> Entry:
    rows = [_row(case, field, spinor) for field, spinor in zip(case.x, psi, strict=True)]
    arrays = {"psi": psi, **{key: np.array([row[key] for row in rows]) for key in rows[0]}}

    def largest(name: str) -> float:
        return TOLERANCE * max(1.0, float(np.ceil(np.abs(arrays[name]).max())))

    calls = [
        call("dirac_apply", ["x", "psi"], "dirac_psi", largest("dirac_psi")),
        call("dirac_dense", ["x"], "dirac_matrix", TOLERANCE),
        call("logdet_dirac", ["x"], "log_determinant", largest("log_determinant")),
        call("plaquette", ["x"], "plaquette", TOLERANCE),
        call("charge", ["x"], "charge", 1e-9),
    ]
    if len(case.x) > 1:
        calls.append(call("action", ["x"], "action", largest("action"), up_to_constant=True))
    if "force" in arrays:
        calls.append(call("force", ["x"], "force", largest("force")))
    return vector(SUITE, case, arrays, calls, "1e-11 of the largest entry: condition numbers of D reach 1e2")


def _row(case: Case, x: Any, psi: Any) -> dict[str, Any]:
    """All numbers of one field."""
    p, (n_t, n_x) = case.parameters, x.shape[1:]
    links = phases(x)[..., None, None]
    d = fermions.dirac(links, p["kappa"], antiperiodic=p["antiperiodic"])
    det, inverse = solved(d, Fixed.eye(len(d.re)))
    theory = U1(p["beta"])
    with digits():
        field = decimals(x)
        gauge, pull = float(theory.action(field)), rounded(theory.force(field))
        charge = int((wrapped(plaquettes(field)).sum() / (2 * PI)).to_integral_value())
    out = {
        "dirac_matrix": d.rounded(),
        "dirac_psi": (d @ Fixed.of(psi.reshape(-1, 1))).rounded().reshape(psi.shape),
        "log_determinant": log_absolute(det),
        "determinant_sign": 1 if det.re > 0 else -1,
        "action": gauge - 2 * log_absolute(det),
        "plaquette": fermions.mean_plaquette(links),
        "charge": charge,
        "pion": _pion(inverse, n_t, n_x),
        "condensate": int(np.trace(inverse.re)) / (2 * n_t * n_x * ONE),
    }
    if p["antiperiodic"]:
        response = -2 * fermions.response(links, inverse, p["kappa"])
        out["force"] = pull + np.array([value / ONE for value in response.ravel()]).reshape(response.shape)
    return out


def _pion(inverse: Fixed, n_t: int, n_x: int) -> Any:
    """Sums of squares by the time from source to sink."""
    squares = (inverse.re * inverse.re + inverse.im * inverse.im).reshape(n_t, 2 * n_x, n_t, 2 * n_x).sum(axis=(1, 3))
    totals = [sum(int(squares[(t0 + t) % n_t, t0]) for t0 in range(n_t)) for t in range(n_t)]
    return np.array([total / (n_t * ONE * ONE) for total in totals])
