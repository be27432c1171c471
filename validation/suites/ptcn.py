"""Golden vectors of parallel transport convolutions alone, one behind the other, from frozen to active sites.

Site by site in 51-digit fixed-point arithmetic, on the whole lattice: what the sites between are good for is left to whoever is
in a hurry.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import Fixed, phases
from ..pieces import piece
from ..vector_format import description
from . import fermion as fermions

Complex = NDArray[np.complex128]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]

SEED = 20261217
TOLERANCE = 2e-13  # three convolutions of some twenty terms of size 1 to 10
CHAINS = 2
# name, colours, lattice, features before, between and behind, frozen sites and active ones, t X + x
CASES: tuple[tuple[str, int, tuple[int, int], tuple[int, ...], list[int], list[int]], ...] = (
    ("u1-2x2", 1, (2, 2), (2, 3, 2), [1, 2], [0, 3]),
    ("u1-2x3", 1, (2, 3), (2, 2), [0, 4], [1, 2, 3]),
    ("u1-3x2", 1, (3, 2), (2, 1, 3, 2), [1], [2, 4]),
    ("su2-2x2", 2, (2, 2), (2, 2, 2), [0], [1, 2]),
)


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for k, case in enumerate(CASES):
        yield _entry(np.random.default_rng([SEED, k]), *case)


def _entry(
    rng: np.random.Generator,
    name: str,
    n: int,
    shape: tuple[int, int],
    features: tuple[int, ...],
    frozen: list[int],
    active: list[int],
) -> Entry:
    x = np.stack([fermions.random_links(rng, n, shape, 2.0) for _ in range(CHAINS)])
    convolutions = {
        f"m_{k}": np.round(0.5 * fermions.normal(rng, (CHAINS, *shape, after, 5, before)), 6)
        for k, (before, after) in enumerate(pairwise(features))
    }
    arrays: dict[str, Any] = {"x": x, "frozen": np.array(frozen), "active": np.array(active), **convolutions}
    rows = len(frozen) * features[0] * n
    formula = (
        "psi_h(y) = sum_dk M_h,dk(y) L_dk(y), L_d the psi_k of the sites y, y + 0^, y - 0^, y + 1^, y - 1^ transported to y as in "
        "suite layers, antiperiodic in time; one convolution after the other, the first psi zero but on the frozen sites, the last "
        "read on the active ones, sites counted as t X + x. Arguments: links, frozen sites, active sites, psi (chain, column, "
        "site, k, colour), every M (chain, t, x, h, d, k)"
    )
    pieces = []
    for key, columns in (("few", 1), ("many", rows + 1)):
        psi = np.round(fermions.normal(rng, (CHAINS, columns, len(frozen), features[0], n)), 6)
        moved = [
            [_convolved(x[c], n, frozen, active, column, [m[c] for m in convolutions.values()]) for column in psi[c]]
            for c in range(CHAINS)
        ]
        arrays |= {f"{key}_psi": psi, f"{key}_out": np.array(moved)}
        arguments = ["x", "frozen", "active", f"{key}_psi", *convolutions]
        pieces.append(piece("maps.ptcn", formula, arguments, f"{key}_out", tolerance=TOLERANCE))
    about = description(
        f"ptcn/{name}",
        "schwinger" if n == 1 else f"su{n}",
        shape,
        ["BASIC", "CONVENTION"],
        f"{len(convolutions)} convolutions of pseudofermions, of one column and of more than there are rows",
        parameters={},
        calls=[],
        derivation="site by site in 51-digit fixed-point arithmetic, rounded once",
        tolerance=TOLERANCE,
        reason="rounding of sums of some twenty terms of size 1 to 10, three times",
        conventions="links (chain, mu, t, x[, a, b]); d = 0 is the site itself, then ahead and behind in time, in space",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _convolved(
    links: NDArray[Any], n: int, frozen: list[int], active: list[int], psi: Complex, convolutions: list[Complex]
) -> Complex:
    """``(site, h, colour)``."""
    u = phases(links)[..., None, None] if n == 1 else Fixed.of(links)
    n_t, n_x = links.shape[1:3]
    field = Fixed.zeros(n_t * n_x, *psi.shape[1:])
    field[frozen] = Fixed.of(psi)
    for m in map(Fixed.of, convolutions):
        moved = Fixed.zeros(n_t * n_x, m.re.shape[2], n)
        for t, s in np.ndindex(n_t, n_x):
            around = _gathered(u, field, t, s)
            weights = m[t, s]
            moved[t * n_x + s] = _flat(weights, 1) @ _flat(around, 2)
        field = moved
    return field[active].rounded()


def _flat(z: Fixed, kept: int) -> Fixed:
    """A matrix: one axis of rows, or of columns, and the others together."""
    shape = (z.re.shape[0], -1) if kept == 1 else (-1, z.re.shape[-1])
    return Fixed(z.re.reshape(shape), z.im.reshape(shape))


def _gathered(u: Fixed, field: Fixed, t: int, s: int) -> Fixed:
    """``L``, ``(5, k, colour)``."""
    n_t, n_x = u.re.shape[1:3]
    signs = (1, -1 if t == n_t - 1 else 1, -1 if t == 0 else 1, 1, 1)
    links = (None, u[0, t, s], u[0, t - 1, s].dagger, u[1, t, s], u[1, t, s - 1].dagger)
    sites = ((t, s), ((t + 1) % n_t, s), ((t - 1) % n_t, s), (t, (s + 1) % n_x), (t, (s - 1) % n_x))
    out = Fixed.zeros(5, *field.re.shape[1:])
    for d, (sign, link, (far_t, far_s)) in enumerate(zip(signs, links, sites, strict=True)):
        there = field[far_t * n_x + far_s]
        if link is not None:
            there = there @ Fixed(link.re.T, link.im.T)  # sum_b U_ab psi_kb
        out[d] = there.rotated(sign)
    return out
