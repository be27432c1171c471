"""Golden vectors of Wilson fermions: gauge fields with their determinants, pseudofermion actions and forces.

Everything is computed from the dense matrix of Abbott 2022, eq. 5, in fixed-point arithmetic of 51 digits and rounded once. The
links are taken as the float64 numbers they are, so that no digit depends on their unitarity. Forces are analytic:
``dD`` has two blocks per link, ``-kappa (1 - sigma) x i T U`` ahead and ``-kappa (1 + sigma) x (-i U^dag T)`` back, and

``d(-2 log |det D|) = -2 Re tr(D^-1 dD)``,  ``d(phi^dag (D D^dag + mu)^-1 phi) = -2 Re tr(Y X^dag dD)``,

``X = (D D^dag + mu)^-1 phi``, ``Y = D^dag X``. Even-odd: ``D_sc = 1 - D_eo D_oe`` for D. No code is shared with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import BITS, ONE, Fixed, Integers, log_absolute, phases, reciprocal, solved, square_root

SEED = 20260303

# name, group, lattice, hopping parameter. Two fields each: a rough one and one near the ordered one.
FIELDS = (
    ("u1-2x2", 1, (2, 2), 0.265),
    ("u1-2x4", 1, (2, 4), 0.2),
    ("u1-3x4", 1, (3, 4), 0.265),
    ("u1-4x4", 1, (4, 4), 0.265),
    ("su2-2x2", 2, (2, 2), 0.265),
    ("su2-3x4", 2, (3, 4), 0.2),
    ("su3-2x2", 3, (2, 2), 0.265),
    ("su3-2x4", 3, (2, 4), 0.2),
    ("minus-3x3", 1, (3, 3), 0.45),
)

# What a target sets to have the action of these pseudofermions; even-odd ones need even extents.
PSEUDOFERMIONS: dict[str, dict[str, Any]] = {
    "plain": {"even_odd": False, "mus": [], "mu_reg": 0.0},
    "hasenbusch": {"even_odd": False, "mus": [0.0625, 0.5], "mu_reg": 0.0},
    "even_odd": {"even_odd": True, "mus": [], "mu_reg": 0.0},
    "even_odd_hasenbusch": {"even_odd": True, "mus": [0.125], "mu_reg": 0.03125},
}

_SIGMA = (((0, 1), (1, 0)), ((0, -1j), (1j, 0)))


@lru_cache(maxsize=1)
def vectors() -> tuple[tuple[str, dict[str, Any], dict[str, NDArray[Any]]], ...]:
    """Name, description and arrays of every vector: five seconds of arithmetic, done once."""
    return tuple(_vectors())


def _vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, NDArray[Any]]]]:
    for k, (name, colours, shape, kappa) in enumerate(FIELDS):
        rng = np.random.default_rng([SEED, k])
        x = np.stack([random_links(rng, colours, shape, size) for size in (3.0, 0.5)])
        kinds = {
            key: kind for key, kind in PSEUDOFERMIONS.items() if not (kind["even_odd"] and any(e % 2 for e in shape))
        }
        spinors = (2, *shape, 2, *((colours,) if colours > 1 else ()))
        arrays: dict[str, NDArray[Any]] = {"x": x, "psi": normal(rng, spinors)}
        for key, kind in kinds.items():
            phi = normal(rng, (2, len(kind["mus"]) + 1, *spinors[1:]))
            if kind["even_odd"]:
                phi[:, :, np.indices(shape).sum(axis=0) % 2 == 1] = 0
            arrays[f"{key}/phi"] = phi
        rows = [_answers({key: value[c] for key, value in arrays.items()}, colours, kappa, kinds) for c in range(2)]
        about = {
            "id": f"fermions/{name}",
            "theory": "schwinger" if colours == 1 else f"su{colours}",
            "kappa": kappa,
            "shape": list(shape),
            "pseudofermions": kinds,
            "flags": ["EDGE_CASE"] if "minus" in name else ["BASIC", "CONVENTION"],
            "comment": "a rough field"
            + (" of negative determinant" if "minus" in name else "")
            + ", and one near order",
            "expected": "valid",
            "derivation": "dense elimination and analytic forces in 51-digit fixed-point arithmetic, rounded once",
            "tolerance": "1e-11 of the largest entry: condition numbers of D D^dag reach 1e4",
            "conventions": "axes (chain, mu, t, x[, a, b]), spinors (chain, t, x, spin[, colour]), phi (chain, field, t, x, "
            "spin[, colour]), zero on odd sites where even_odd; action = sum over fields phi^dag (M + mu)^-1 phi, with mu_next "
            "phi^dag [1 + (mu_next - mu)(M + mu)^-1] phi; force = + d action / d eps under U -> exp(i eps T) U, T = 1 or "
            "tr T_a T_b = delta_ab/2; determinant_force of -2 log|det D|; periodic_*: without the sign of the last time slice",
        }
        yield name, about, {**arrays, **{key: np.array([row[key] for row in rows]) for key in rows[0]}}


def _answers(
    arrays: dict[str, NDArray[Any]], colours: int, kappa: float, kinds: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """All numbers of one field."""
    shape = arrays["psi"].shape[:2]
    links = phases(arrays["x"])[..., None, None] if colours == 1 else Fixed.of(arrays["x"])
    d = dirac(links, kappa, antiperiodic=True)
    one = Fixed.eye(len(d.re))
    det, inverse = solved(d, one)
    periodic, _ = solved(dirac(links, kappa, antiperiodic=False), one[:, :0])
    even = np.flatnonzero(np.repeat((np.indices(shape).sum(axis=0) % 2 == 0).ravel(), 2 * colours))
    out: dict[str, Any] = {
        "dirac_psi": (d @ Fixed.of(arrays["psi"].reshape(-1, 1))).rounded().reshape(arrays["psi"].shape),
        "log_determinant": log_absolute(det),
        "determinant_sign": 1 if det.re > 0 else -1,
        "periodic_log_determinant": log_absolute(periodic),
        "periodic_determinant_sign": 1 if periodic.re > 0 else -1,
        "plaquette": mean_plaquette(links),
        "determinant_force": _rounded(-2 * response(links, inverse, kappa)),
    }
    for key, kind in kinds.items():
        masses = [kind["mu_reg"], *kind["mus"]]
        total: Any = 0
        force: Any = 0
        for k, phi in enumerate(arrays[f"{key}/phi"]):
            column = Fixed.of(phi.reshape(-1, 1))
            after = masses[k + 1] if k + 1 < len(masses) else None
            action, change = monomial(links, d, column, kappa, masses[k], after, even if kind["even_odd"] else None)
            total, force = total + action, force + change
        out[f"{key}/action"], out[f"{key}/force"] = total / ONE, _rounded(force)
    return out


def monomial(
    links: Fixed,
    d: Fixed,
    phi: Fixed,
    kappa: float,
    mu: float,
    after: float | None,
    even: NDArray[np.int64] | None = None,
) -> tuple[int, Integers]:
    """Action and force of one pseudofermion, ``after`` the next mass, if any; of even rows alone where they are given."""
    inside = _whole(d, phi, mu) if even is None else _even_odd(d, phi, mu, even)
    action, change = inside[0], -2 * response(links, inside[1], kappa)
    if after is None:
        return action, change
    ratio = int(Fixed.of(after - mu).re)
    return int((phi.dagger @ phi).re[0, 0]) + (ratio * action >> BITS), ratio * change >> BITS


def dirac(links: Fixed, kappa: float, *, antiperiodic: bool) -> Fixed:
    """``D`` of links ``(2, T, X, N, N)``, rows and columns (t, x, spin, colour)."""
    _, n_t, n_x, n, _ = links.re.shape
    d = Fixed.eye(2 * n * n_t * n_x)
    for mu, t, s in np.ndindex(2, n_t, n_x):
        u = links[mu, t, s].times(Fixed.of(-kappa)).rotated(_boundary(mu, t, n_t, antiperiodic))
        here, ahead = rows_of(mu, t, s, n_t, n_x, n)
        for a, b in np.ndindex(2, 2):
            one, sigma = complex(a == b), complex(_SIGMA[mu][a][b])
            # Added, not set: on two sites both hops connect the same pair.
            for rows, columns, unit, block in ((here, ahead, -sigma, u), (ahead, here, sigma, u.dagger)):
                at = np.ix_(rows[a], columns[b])
                d[at] = d[at] + block.rotated(one) + block.rotated(unit)
    return d


def response(links: Fixed, density: Fixed, kappa: float) -> Integers:
    """``Re tr(density dD)`` by every link and generator, ``(2, T, X)`` or ``(2, T, X, N^2 - 1)``; fermions antiperiodic.

    ``K`` collects what stands at T in ``tr(T K)``.
    """
    _, n_t, n_x, n, _ = links.re.shape
    out = np.empty((2, n_t, n_x, max(1, n * n - 1)), dtype=object)
    for mu, t, s in np.ndindex(2, n_t, n_x):
        u = links[mu, t, s].times(Fixed.of(-kappa)).rotated(_boundary(mu, t, n_t, antiperiodic=True))
        here, ahead = rows_of(mu, t, s, n_t, n_x, n)
        k = Fixed.zeros(n, n)
        for a, b in np.ndindex(2, 2):
            one, sigma = complex(a == b), complex(_SIGMA[mu][a][b])
            forward = u @ density[np.ix_(ahead[b], here[a])]
            backward = density[np.ix_(here[b], ahead[a])] @ u.dagger
            k += forward.rotated(1j * one) - forward.rotated(1j * sigma)
            k -= backward.rotated(1j * one) + backward.rotated(1j * sigma)
        out[mu, t, s] = [k.re[0, 0]] if n == 1 else components(k)
    return out[..., 0] if n == 1 else out


def components(k: Fixed) -> list[int]:
    """``Re tr(T_a K)``: for c = 1, 2, ... the pairs of (b, c) for b < c, symmetric and antisymmetric, and a diagonal one."""
    out: list[int] = []
    for c in range(1, len(k.re)):
        for b in range(c):
            out += [(k.re[b, c] + k.re[c, b]) // 2, (k.im[c, b] - k.im[b, c]) // 2]
        norm, _ = reciprocal(square_root(2 * c * (c + 1) * ONE), 0)
        out.append((sum(k.re[b, b] for b in range(c)) - c * k.re[c, c]) * norm >> BITS)
    return out


def _whole(d: Fixed, phi: Fixed, mu: float) -> tuple[int, Fixed]:
    """``phi^dag (D D^dag + mu)^-1 phi``, and the density ``Y X^dag`` of its change."""
    action, x, y = _quadratic(d, phi, mu)
    return action, y @ x.dagger


def _even_odd(d: Fixed, phi: Fixed, mu: float, even: NDArray[np.int64]) -> tuple[int, Fixed]:
    """The same for ``D_sc = 1 - H H`` on even sites, ``H = D - 1``: ``dD_sc = -dH H - H dH`` turns Y X^dag into a sum of two."""
    hop = d - Fixed.eye(len(d.re))
    schur = Fixed.eye(len(even)) - hop[even] @ hop[:, even]
    action, x_even, y_even = _quadratic(schur, phi[even], mu)
    x, y = Fixed.zeros(*phi.re.shape), Fixed.zeros(*phi.re.shape)
    x[even], y[even] = x_even, y_even
    return action, ((hop @ y) @ x.dagger + y @ (x.dagger @ hop)).rotated(-1)


def _quadratic(d: Fixed, phi: Fixed, mu: float) -> tuple[int, Fixed, Fixed]:
    """``phi^dag X``, ``X = (D D^dag + mu)^-1 phi`` and ``Y = D^dag X``."""
    m = d @ d.dagger + Fixed.eye(len(d.re)).times(Fixed.of(mu))
    _, x = solved(m, phi)
    return int((phi.dagger @ x).re[0, 0]), x, d.dagger @ x


def _boundary(mu: int, t: int, n_t: int, antiperiodic: bool) -> int:
    return -1 if antiperiodic and mu == 0 and t == n_t - 1 else 1


def rows_of(mu: int, t: int, s: int, n_t: int, n_x: int, n: int) -> list[list[NDArray[np.int64]]]:
    """The rows of D of a site and of the one ahead of it, by spin."""
    sites = (t * n_x + s, (t + 1) % n_t * n_x + s if mu == 0 else t * n_x + (s + 1) % n_x)
    return [[(2 * site + spin) * n + np.arange(n) for spin in range(2)] for site in sites]


def mean_plaquette(links: Fixed) -> float:
    """Mean of ``Re Tr P/N`` over the lattice."""
    _, n_t, n_x, n, _ = links.re.shape
    total = 0
    for t, s in np.ndindex(n_t, n_x):
        ahead = links[0, t, s] @ links[1, (t + 1) % n_t, s]
        back = links[1, t, s] @ links[0, t, (s + 1) % n_x]
        total += int(np.trace((ahead @ back.dagger).re))
    return total / (n * n_t * n_x * ONE)


def _rounded(values: Integers) -> NDArray[np.float64]:
    return np.array([value / ONE for value in values.ravel()]).reshape(values.shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    return rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0]


def random_links(rng: np.random.Generator, n: int, shape: tuple[int, int], size: float) -> NDArray[Any]:
    """Normal angles, or the unit plus a normal matrix made special unitary row by row; of ``size`` both."""
    if n == 1:
        angles = size * rng.standard_normal((2, *shape))
        return np.where(np.abs(angles) < 3, angles, 3 * rng.uniform(-1, 1, angles.shape))
    near = np.eye(n) + size * normal(rng, (2, *shape, n, n))
    flat = [_special_unitary(Fixed.of(m)).rounded() for m in near.reshape(-1, n, n)]
    return np.array(flat).reshape(near.shape)


def _special_unitary(m: Fixed) -> Fixed:
    """Rows made orthonormal one after the other, the last row by determinant 1; in integers, so the same on every machine."""
    n = len(m.re)
    for k in range(n - 1):
        row = m[k, None]
        for j in range(k):
            row = row - (row @ m[j, None].dagger) @ m[j, None]
        norm, _ = reciprocal(square_root(int((row @ row.dagger).re[0, 0])), 0)
        m[k] = Fixed(row.re[0] * norm >> BITS, row.im[0] * norm >> BITS)
    minors = [solved(_without(m, c), Fixed.zeros(n - 1, 0))[0] for c in range(n)]
    for c, minor in enumerate(minors):
        m[n - 1, c] = Fixed(minor.re, -minor.im).rotated((-1) ** (n - 1 + c))
    return m


def _without(m: Fixed, column: int) -> Fixed:
    """All rows but the last, all columns but one."""
    return Fixed(*(np.delete(part[:-1], column, axis=1) for part in (m.re, m.im)))
