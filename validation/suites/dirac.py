"""Golden vectors of the Wilson-Dirac operator and what is made of it, on rectangles, antiperiodic and periodic in time.

The dense matrix of `suites.fermion` in 51-digit fixed-point arithmetic: applied, adjoint, reduced to even sites, inverted. A
pseudofermion is drawn from noise as ``phi = (D + i sqrt(mu) gamma5) (D + i sqrt(mu') gamma5)^-1 chi``, whose action is
``chi^dag chi``, by the matrices themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import ONE, Fixed, phases, solved, square_root
from ..fixed_spectrum import eigensystem
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions

Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = dict[str, Any]

SEED = 20261128
TOLERANCE = 1e-12  # of the largest entry: condition numbers of D D^dag reach 1e3
# name, colours, lattice, hopping parameter, antiperiodic in time
FIELDS = (
    ("u1-2x4", 1, (2, 4), 0.25, True),
    ("u1-4x2-periodic", 1, (4, 2), 0.25, False),
    ("u1-3x2", 1, (3, 2), 0.2, True),
    ("su2-2x2", 2, (2, 2), 0.25, True),
    ("su2-2x2-periodic", 2, (2, 2), 0.2, False),
    ("su2-2x3", 2, (2, 3), 0.2, True),
    ("su3-2x2", 3, (2, 2), 0.2, True),
    ("su3-2x2-periodic", 3, (2, 2), 0.2, False),
)
MASSES = ((0.0, None), (0.0, 0.25), (0.0625, 0.5))
SPECTRAL_ROWS = 8


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for k, (name, colours, shape, kappa, antiperiodic) in enumerate(FIELDS):
        rng = np.random.default_rng([SEED, k])
        yield _entry(name, colours, shape, kappa, antiperiodic, rng)


def _entry(
    name: str, colours: int, shape: tuple[int, int], kappa: float, antiperiodic: bool, rng: np.random.Generator
) -> Entry:
    even_odd = not any(extent % 2 for extent in shape)
    x = np.stack([fermions.random_links(rng, colours, shape, size) for size in (3.0, 0.5)])
    spinors = (2, *shape, 2, *((colours,) if colours > 1 else ()))
    psi, chi = fermions.normal(rng, spinors), fermions.normal(rng, spinors)
    even = np.indices(shape).sum(axis=0) % 2 == 0
    given = {"psi": psi, "chi": chi}
    if even_odd:
        mask = even.reshape(1, *shape, *(1,) * (len(spinors) - 3))
        given |= {"even_psi": np.where(mask, psi, 0), "even_chi": np.where(mask, chi, 0)}
    rows = [
        _row(x[c], {key: value[c] for key, value in given.items()}, kappa, antiperiodic, colours, even_odd)
        for c in range(2)
    ]
    arrays = {"x": x, **given, **{key: np.array([row[key] for row in rows]) for key in rows[0]}}
    pieces = _pieces(arrays, kappa, colours, antiperiodic, even_odd)
    about = description(
        f"dirac/{name}",
        "schwinger" if colours == 1 else f"su{colours}",
        shape,
        ["BASIC", "CONVENTION"],
        "a rough field, and one near order" + ("" if antiperiodic else "; fermions periodic in time"),
        parameters={"kappa": kappa, "antiperiodic": antiperiodic},
        calls=[],
        derivation="dense matrices in 51-digit fixed-point arithmetic, inverted by elimination, rounded once",
        tolerance=max(entry["tolerance"] for entry in pieces),
        reason="1e-12 of the largest entry: condition numbers of D D^dag reach 1e3",
        conventions="links (chain, mu, t, x[, a, b]), spinors (chain, t, x, spin[, colour]), D as in "
        "refimpl.validation.contract, antiperiodic where the last slice's time links have a minus; gamma5 = sigma_z, "
        "D^dag = gamma5 D gamma5; D_sc = 1 - D_eo D_oe on even sites, fields zero on the odd ones",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, arrays


def _row(x: NDArray[Any], given: Numbers, kappa: float, antiperiodic: bool, colours: int, even_odd: bool) -> Numbers:
    """All numbers of one field."""
    shape = given["psi"].shape
    n_t, n_x = shape[:2]
    links = phases(x)[..., None, None] if colours == 1 else Fixed.of(x)
    d = fermions.dirac(links, kappa, antiperiodic=antiperiodic)
    n = len(d.re)
    _, inverse = solved(d, Fixed.eye(n))
    chirality = np.tile(np.repeat([1, -1], colours), n_t * n_x)
    psi = Fixed.of(given["psi"].reshape(-1, 1))

    def spinor(column: Fixed) -> NDArray[Any]:
        return column.rounded().reshape(shape)

    out: Numbers = {
        "dirac_psi": spinor(d @ psi),
        "adjoint_psi": spinor(d.dagger @ psi),
        "inverse_psi": spinor(inverse @ psi),
        "gamma5_psi": given["psi"] * chirality.reshape(shape),
        "condensate": int(np.trace(inverse.re)) / (n * ONE),
    }
    squares = inverse.re * inverse.re + inverse.im * inverse.im
    out |= {"pion": _pion(squares, n_t, n_x), "pion_of_one": _pion_of_one(squares, n_t, n_x)}
    out |= _drawn("", d, chirality, given["chi"], np.arange(n))
    reduced = d
    if even_odd:
        rows = np.flatnonzero(np.repeat((np.indices((n_t, n_x)).sum(axis=0) % 2 == 0).ravel(), 2 * colours))
        hop = d - Fixed.eye(n)
        reduced = Fixed.eye(len(rows)) - hop[rows] @ hop[:, rows]
        whole = Fixed.zeros(n, 1)
        whole[rows] = reduced @ Fixed.of(given["even_psi"].reshape(-1, 1)[rows])
        out["schur_even_psi"] = spinor(whole)
        out |= _drawn("even_", reduced, chirality[rows], given["even_chi"], rows)
    if len(reduced.re) <= SPECTRAL_ROWS:
        values, _ = eigensystem(reduced @ reduced.dagger)
        out["eigenvalues"] = np.array([value / ONE for value in values])
        out["condition_number"] = values[-1] / values[0]
    return out


def _drawn(prefix: str, d: Fixed, chirality: NDArray[np.int64], chi: NDArray[Any], rows: NDArray[np.int64]) -> Numbers:
    """``phi`` of every pair of `MASSES`, on the rows that ``d`` acts on."""
    out: Numbers = {}
    column = Fixed.of(chi.reshape(-1, 1)[rows])
    for k, (mu, after) in enumerate(MASSES):
        phi = column if after is None else solved(twisted(d, chirality, after), column)[1]
        whole = Fixed.zeros(chi.size, 1)
        whole[rows] = twisted(d, chirality, mu) @ phi
        out[f"{prefix}phi_{k}"] = whole.rounded().reshape(chi.shape)
    return out


def twisted(d: Fixed, chirality: NDArray[np.int64], mu: float) -> Fixed:
    """``D + i sqrt(mu) gamma5``."""
    root, here = square_root(int(Fixed.of(mu).re)), np.arange(len(chirality))
    out = Fixed(d.re.copy(), d.im.copy())
    out.im[here, here] += root * chirality.astype(object)
    return out


def _pion(squares: Any, n_t: int, n_x: int) -> NDArray[np.float64]:
    """``sum_(x, x0) tr S S^dag`` from ``(t0, x0)`` to ``(t0 + t, x)``, averaged over t0."""
    by_time = squares.reshape(n_t, squares.shape[0] // n_t, n_t, -1).sum(axis=(1, 3))
    sums = [sum(int(by_time[(t0 + t) % n_t, t0]) for t0 in range(n_t)) for t in range(n_t)]
    return np.array([value / (n_t * ONE * ONE) for value in sums])


def _pion_of_one(squares: Any, n_t: int, n_x: int) -> NDArray[np.float64]:
    """The same from the site 0 alone, times X."""
    width = len(squares) // (n_t * n_x)
    sums = squares[:, :width].reshape(n_t, -1).sum(axis=1)
    return np.array([n_x * int(value) / (ONE * ONE) for value in sums])


def _pieces(arrays: Numbers, kappa: float, colours: int, antiperiodic: bool, even_odd: bool) -> list[Piece]:
    operator: list[Any] = ["x", kappa, {"value": antiperiodic}]
    told = "Arguments: links, kappa, whether antiperiodic"

    def bound(name: str) -> float:
        return TOLERANCE * max(1.0, float(np.ceil(np.abs(arrays[name]).max())))

    def of(name: str, formula: str, arguments: list[Any], returns: str) -> Piece:
        return piece(f"dirac.{name}", formula, arguments, returns, tolerance=bound(returns))

    pieces = [
        of("apply", f"D psi. {told}, psi", [*operator, "psi"], "dirac_psi"),
        of("adjoint", f"D^dag psi. {told}, psi", [*operator, "psi"], "adjoint_psi"),
        of("solve", f"D^-1 psi. {told}, psi", [*operator, "psi"], "inverse_psi"),
        of("gamma5", "sigma_z on the spin of psi", ["psi"], "gamma5_psi"),
        of("chiral_condensate", f"tr D^-1/(2 N V). {told}", operator, "condensate"),
        of(
            "pseudoscalar_correlator",
            "C(t) = sum_(x, x0) tr S S^dag, S = D^-1(t0 + t, x; t0, x0), averaged over t0; or of the source 0 alone, times X. "
            f"{told}, sources",
            [*operator, {"value": "all"}],
            "pion",
        ),
        of(
            "pseudoscalar_correlator",
            f"the same, of the source 0 alone. {told}, sources",
            [*operator, 1],
            "pion_of_one",
        ),
    ]
    if even_odd:
        pieces.append(of("schur", f"D_sc psi. {told}, psi", [*operator, "even_psi"], "schur_even_psi"))
    for prefix, reduced in (("", False), ("even_", True)) if even_odd else (("", False),):
        for k, (mu, after) in enumerate(MASSES):
            pieces.append(
                of(
                    "heat_bath",
                    "phi = (D + i sqrt(mu) gamma5) (D + i sqrt(mu') gamma5)^-1 chi, without the inverse where mu' is null; "
                    f"D_sc in place of D where reduced. {told}, colours, whether reduced, mu, mu', chi",
                    [*operator, colours, {"value": reduced}, mu, {"value": after}, f"{prefix}chi"],
                    f"{prefix}phi_{k}",
                )
            )
    if "eigenvalues" in arrays:
        formula = f"eigenvalues of D D^dag, rising, or of D_sc D_sc^dag where reduced. {told}, whether reduced"
        arguments = [*operator, {"value": even_odd}]
        pieces.append(of("eigenvalues", formula, arguments, "eigenvalues"))
        formula = f"the largest of them over the smallest. {told}, whether reduced"
        pieces.append(of("condition_numbers", formula, arguments, "condition_number"))
    return pieces
