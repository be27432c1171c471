"""Golden vectors of phi^4 at couplings: action, force, correlator and moments as targets return them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, actions, refused
from .decimals import Array, Phi4, allowance, decimals, digits, rounded

SUITE = Suite(
    "phi4_couplings",
    "phi4",
    __name__,
    20261204,
    "site by site in 50-digit decimal arithmetic from the float64 fields, rounded once",
    "axes (chain, t, x); action = sum (phi(n + mu^) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24, both bonds on an extent of 2; force "
    "= + d action/d phi; correlator (chain, t) = (1/T) sum_y P(y + t) P(y) of slice means P; moments (chain, k - 1) = "
    "mean of phi^k",
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    cases = list(_cases())
    entries = actions(SUITE, iter(cases), lambda p: Phi4(p["m2"], p["lam"]), _size)
    for case, (name, about, arrays) in zip(cases, entries, strict=True):
        with digits():
            rows = [decimals(field) for field in case.x]
            means = [row.sum(axis=1) / row.shape[1] for row in rows]
            products = [[(np.roll(m, -t) * m).sum() / len(m) for t in range(len(m))] for m in means]
            moments = [[(row**k).sum() / row.size for k in range(1, 5)] for row in rows]
            arrays |= {"correlator": rounded(products), "moments": rounded(moments)}
        top, volume = float(np.abs(case.x).max()), case.x[0].size
        for t in range(case.x.shape[1]):
            about["calls"].append(call("correlator", ["x", t], f"correlator:{t}", allowance(volume, top**2)))
        for k in range(1, 5):
            about["calls"].append(call("field_moment", ["x", k], f"moments:{k - 1}", allowance(volume, top**k)))
        yield name, about, arrays
    parameters = {"m2": 0.1, "lam": 6.0, "shape": [4, 4]}
    for name, value in (("nan-4x4", np.nan), ("infinite-4x4", -np.inf)):
        x = np.zeros((2, 4, 4))
        x[1, 3, 0] = value
        case = Case(name, parameters, ["EDGE_CASE"], f"a site that is {value}", x)
        yield refused(SUITE, case, [("action", []), ("force", []), ("correlator", [1]), ("field_moment", [2])])


def _size(theory: Phi4, x: Array, force: Array) -> float:
    top = float(np.abs(x).max())
    return 8 * top**2 + abs(theory.m2) * top**2 + theory.lam * top**4


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(SUITE.seed)
    couplings = (("free", 1.0, 0.0), ("weak", 0.25, 0.5), ("strong", 0.1, 6.0), ("broken", -1.0, 2.4))
    for shape in ((2, 2), (2, 3), (4, 6), (6, 4)):
        for label, m2, lam in couplings:
            flags = ["BASIC", "CONVENTION"] if shape[0] != shape[1] else ["BASIC"]
            comment = f"independent sites of size 1, {label} coupling"
            name, parameters = f"{label}-{shape[0]}x{shape[1]}", {"m2": m2, "lam": lam, "shape": list(shape)}
            yield Case(name, parameters, flags, comment, rng.standard_normal((2, *shape)))
    deep = np.sqrt(18.0) + 1e-8 * rng.standard_normal((2, 4, 4))  # the minimum: phi^2 = -6 m2/lam
    parameters = {"m2": -3.0, "lam": 1.0, "shape": [4, 4]}
    yield Case("minimum-4x4", parameters, ["ILL_CONDITIONED"], "in a minimum, where terms of size 40 cancel", deep)
    single = rng.standard_normal((3, 1, 1))
    yield Case("single-1x1", {"m2": 0.5, "lam": 3.0, "shape": [1, 1]}, ["EDGE_CASE"], "one site: no bonds", single)
