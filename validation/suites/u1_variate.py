"""Golden vectors of control variates of two-dimensional U(1), with given groups and coefficients.

Bessel functions by their series in 50-digit decimals, products of phases in 51-digit fixed-point arithmetic. The divergence of a
fitted field is taken by central differences with a step of 2^-50, whose error is of its square: no derivative is written down.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..field_vectors.decimals import Decimals, cosine, decimals, digits, plaquettes, rounded, sine
from ..fixed_point import ONE, Fixed, phases, solved
from ..pieces import Piece, piece
from .variate import TOLERANCE, entry

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Term = tuple[int, tuple[int, ...]]

SEED = 20261201
STEP = 2.0**-50
LINK = "links (chain, mu, t, x)"


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        yield _open(rng)
        yield _conditional(rng)
        for name, shape, area, n_groups, size, terms in (
            ("groups-2x3", (2, 3), (1, 2), 2, 3, [(1, ()), (-1, ()), (2, (1,)), (1, (-2,))]),
            ("groups-3x3", (3, 3), (2, 2), 2, 4, [(1, ()), (2, ()), (1, (-1,))]),
            ("one-group-2x2", (2, 2), (1, 1), 1, 4, [(1, ()), (3, ()), (2, (-1, 1))]),
        ):
            yield _groups(rng, name, shape, area, n_groups, size, terms)
        yield _link_field(rng)


def _entry(name: str, beta: float, comment: str, arrays: dict[str, Any], pieces: list[Piece]) -> Entry:
    return entry("u1_variates", name, "u1", {"beta": beta}, comment, arrays, pieces)


def _links(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return np.stack([np.round(rng.uniform(-3, 3, (2, *shape)), 6), np.round(0.5 * rng.standard_normal((2, *shape)), 6)])


def bessel(n: int, x: Decimal) -> Decimal:
    """``I_n(x) = sum_k (x/2)^(2 k + n)/(k! (k + n)!)``."""
    n = abs(n)
    term = Decimal(1)
    for k in range(1, n + 1):
        term *= x / (2 * k)
    total, k = term, 0
    while term > total * Decimal("1e-50"):
        k += 1
        term *= x * x / (4 * k * (k + n))
        total += term
    return total


def _open(rng: np.random.Generator) -> Entry:
    shape, beta, area = (4, 3), 1.5, (2, 2)
    x = _links(rng, shape)
    ratio = bessel(1, Decimal(beta)) / bessel(0, Decimal(beta))
    fs, fields, loops = [], [], []
    for links in x:
        angles = plaquettes(decimals(links))[:-1, :-1]
        windows = [
            (t, s, angles[t : t + area[0], s : s + area[1]].ravel())
            for t in range(shape[0] - area[0])
            for s in range(shape[1] - area[1])
        ]
        loop = sum((cosine(np.array([w.sum()], dtype=object))[0] for _, _, w in windows), Decimal(0)) / len(windows)
        loops.append(float(loop))
        fs.append(float(loop - ratio ** (area[0] * area[1])))
        total = np.full(angles.shape, Decimal(0), dtype=object)
        for t, s, w in windows:
            total[t : t + area[0], s : s + area[1]] += _open_field(w, Decimal(beta), ratio).reshape(area) / len(windows)
        field = np.zeros((2, *shape))
        field[0, :-1, 1:] = rounded(-np.cumsum(total, axis=1))
        fields.append(field)
    arrays = {"x": x, "f": fs, "field": fields, "loop": loops}
    told = (
        f"{LINK}, open boundaries: plaquettes (t, x) with t < T - 1, x < X - 1; loop t by x averaged over its places. Arguments: "
        "beta, links, loop extents"
    )
    gamma = (
        "gamma(x) = 2/(beta I_0) sum_m (-1)^(m+1) I_m sin(m x) - i/beta; of the plaquettes of a loop in order G_P = "
        "Re gamma(x_P) c^(P-1) prod_(Q>P) exp(i x_Q), g_0(t, x + 1) = -sum_(x' <= x) G(t, x'), other links 0. "
    )
    arguments = [beta, "x", *area]
    pieces = [
        piece("variates.open_loop", f"cos of the enclosed plaquettes. {told}", arguments, "loop", tolerance=TOLERANCE),
        piece("variates.open_boundary", f"f = W - (I_1/I_0)^area. {told}", arguments, "f", tolerance=TOLERANCE),
        piece("variates.open_field", gamma + told, arguments, "field", tolerance=TOLERANCE),
    ]
    return _entry("open-4x3", beta, "the exact variate of open boundaries", arrays, pieces)


def _open_field(angles: Decimals, beta: Decimal, ratio: Decimal) -> Decimals:
    """Real parts at the plaquettes of one loop."""
    after = [angles[k + 1 :].sum() if k + 1 < len(angles) else Decimal(0) for k in range(len(angles))]
    zero, out = bessel(0, beta), []
    for k, angle in enumerate(angles):
        series, m = Decimal(0), 1
        while (coefficient := 2 * bessel(m, beta) / (beta * zero)) > Decimal("1e-25"):
            series += (-1) ** (m + 1) * coefficient * sine(np.array([m * angle], dtype=object))[0]
            m += 1
        c, s = (f(np.array([after[k]], dtype=object))[0] for f in (cosine, sine))
        out.append((series * c + s / beta) * ratio**k)
    return np.array(out, dtype=object)


def _masks(rng: np.random.Generator, shape: tuple[int, int], n_groups: int, size: int, partitions: int) -> Array:
    masks = np.zeros((partitions, n_groups, *shape))
    for mask in masks:
        chosen = rng.permutation(shape[0] * shape[1])[: n_groups * size].reshape(n_groups, size)
        for group, members in zip(mask, chosen, strict=True):
            group.ravel()[members] = 1.0
    return masks


def _moved(field: NDArray[Any], shape: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """On all translations."""
    for t, s in np.ndindex(shape):
        yield np.roll(field, (-t, -s), (0, 1))


def _conditional(rng: np.random.Generator) -> Entry:
    shape, beta, area = (3, 4), 2.0, (2, 2)
    n_groups, size = 2, 5
    x, masks = _links(rng, shape), _masks(rng, shape, n_groups, size, 2)
    charge = area[0] * area[1] // n_groups
    a = {k: bessel(k, Decimal(beta)) for k in range(-24, 25)}
    fs = []
    for links in x:
        angles = plaquettes(decimals(links))
        total, count = Decimal(0), 0
        for groups in masks:
            for moved in _moved(angles, shape):
                product = (Decimal(1), Decimal(0))
                for group in groups:
                    product = _times(product, _group_mean(moved[group > 0].sum(), a, size, charge))
                total, count = total + product[0], count + 1
        fs.append(float(_loop(angles, area) - total / count))
    formula = (
        "f = O - Re prod_groups E_q(s), averaged over partitions and translations (m + y, m in the group, for all y), s the sum "
        "of a group of n plaquettes, q = area/groups, E_q(s) = sum_k a_(k-1)^q a_k^(n-q) exp(i k s)/sum_k a_k^n exp(i k s), "
        "a_k = I_k(beta). "
        f"{LINK}. Arguments: beta, links, loop extents, masks (partition, group, t, x)"
    )
    arrays = {"x": x, "masks": masks, "f": fs}
    pieces = [piece("variates.conditional_mean", formula, [beta, "x", *area, "masks"], "f", tolerance=TOLERANCE * 10)]
    return _entry("conditional-3x4", beta, "means given the sums of groups of plaquettes", arrays, pieces)


def _times(a: tuple[Decimal, Decimal], b: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _group_mean(s: Decimal, a: dict[int, Decimal], size: int, charge: int) -> tuple[Decimal, Decimal]:
    sums = [Decimal(0)] * 4
    for k in range(-23, 24):
        c, sn = (f(np.array([k * s], dtype=object))[0] for f in (cosine, sine))
        above, below = a[k - 1] ** charge * a[k] ** (size - charge), a[k] ** size
        for i, value in enumerate((above * c, above * sn, below * c, below * sn)):
            sums[i] += value
    square = sums[2] ** 2 + sums[3] ** 2
    re, im = _times((sums[0], sums[1]), (sums[2], -sums[3]))
    return re / square, im / square


def _loop(angles: Decimals, area: tuple[int, int]) -> Decimal:
    """Mean over places of the cosine of the enclosed plaquettes."""
    sums = [moved[: area[0], : area[1]].sum() for moved in _moved(angles, (len(angles), angles.shape[1]))]
    return Decimal(cosine(np.array(sums, dtype=object)).sum() / len(sums))


def _groups(
    rng: np.random.Generator,
    name: str,
    shape: tuple[int, int],
    area: tuple[int, int],
    n_groups: int,
    size: int,
    terms: Sequence[Term],
) -> Entry:
    beta = 1.25
    x, masks = _links(rng, shape), _masks(rng, shape, n_groups, size, 1)
    coefficients = np.round(0.5 * rng.standard_normal(len(terms)), 6)
    charge = area[0] * area[1] // n_groups
    fs = []
    for links in x:
        unit = _plaquette_phases(links)
        total = 0
        places = list(np.ndindex(shape)) if n_groups * size < shape[0] * shape[1] or n_groups > 1 else [(0, 0)]
        for t, s in places:
            moved = Fixed(np.roll(unit.re, (-t, -s), (0, 1)), np.roll(unit.im, (-t, -s), (0, 1)))
            product = Fixed.of(1.0)
            for group in masks[0]:
                u = moved[group > 0]
                product = product.times(_subsets(u, charge) - _divergence(u, beta, terms, coefficients))
            total += int(product.re)
        fs.append(float(_loop(plaquettes(decimals(links)), area)) - total / (len(places) * ONE))
    formula = (
        "f = O - Re prod_groups (w - A[G]/n), averaged over partitions and translations; of a group of n plaquettes u_p = "
        "exp(i x_p): w the mean of products over all subsets of q = area/groups, A[G] = sum_p (dG_p/dx_p - beta sin(x_p) G_p), "
        "G_p = h_p - mean h, h_p = -i sum_j c_j u_p^a prod_k z_k, z_k = mean u^k, term j = [a, k, ...]. "
        f"{LINK}. Arguments: beta, links, loop extents, masks (partition, group, t, x), terms, c"
    )
    told = {"value": [[harmonic, *factors] for harmonic, factors in terms]}
    arrays = {"x": x, "masks": masks, "coefficients": coefficients, "f": fs}
    arguments: list[Any] = [beta, "x", *area, "masks", told, "coefficients"]
    pieces = [piece("variates.plaquette_groups", formula, arguments, "f", tolerance=TOLERANCE * 10)]
    return _entry(name, beta, "fitted fields of groups of plaquettes", arrays, pieces)


def _plaquette_phases(links: Array) -> Fixed:
    u = phases(links)
    back = Fixed(u.re, -u.im)

    def rolled(z: Fixed, axis: int) -> Fixed:
        return Fixed(np.roll(z.re, -1, axis), np.roll(z.im, -1, axis))

    return u[0].times(rolled(u[1], 0)).times(rolled(back[0], 1)).times(back[1])


def _subsets(u: Fixed, charge: int) -> Fixed:
    """Mean of the products over all subsets of so many."""
    total, count = Fixed.of(0.0), 0
    for members in itertools.combinations(range(len(u.re)), charge):
        product = Fixed.of(1.0)
        for k in members:
            product = product.times(u[k])
        total, count = total + product, count + 1
    return Fixed(total.re // count, total.im // count)


def _power(u: Fixed, k: int) -> Fixed:
    base = u if k > 0 else Fixed(u.re, -u.im)
    out = base
    for _ in range(abs(k) - 1):
        out = out.times(base)
    return out


def _field(u: Fixed, terms: Sequence[Term], coefficients: Array) -> Fixed:
    """``G_p``."""
    n = len(u.re)
    total = Fixed.zeros(n)
    for (harmonic, factors), coefficient in zip(terms, coefficients.tolist(), strict=True):
        h = _power(u, harmonic).times(Fixed.of(coefficient))
        for k in factors:
            z = _power(u, k)
            h = h.times(Fixed(np.asarray(z.re.sum() // n, dtype=object), np.asarray(z.im.sum() // n, dtype=object)))
        total = total + h.rotated(-1j)
    return Fixed(total.re - total.re.sum() // n, total.im - total.im.sum() // n)


def _divergence(u: Fixed, beta: float, terms: Sequence[Term], coefficients: Array) -> Fixed:
    """``A[G]/n``."""
    n = len(u.re)
    g = _field(u, terms, coefficients)
    pull = g.times(Fixed(u.im, np.zeros_like(u.im))).times(Fixed.of(beta))
    total = Fixed(-np.asarray(pull.re.sum(), dtype=object), -np.asarray(pull.im.sum(), dtype=object))
    for p in range(n):
        ends = []
        for sign in (1, -1):
            there = Fixed(u.re.copy(), u.im.copy())
            there[p] = u[p].times(phases(sign * STEP))
            ends.append(_field(there, terms, coefficients)[p])
        change = ends[0] - ends[1]
        total = total + Fixed(change.re * 2**49, change.im * 2**49)
    return Fixed(total.re // n, total.im // n)


def _link_field(rng: np.random.Generator) -> Entry:
    shape = (3, 4)
    n_t, n_x = shape
    v = n_t * n_x
    given = np.round(rng.standard_normal((2, *shape)), 6)
    given = np.round((given - given.mean(axis=(1, 2), keepdims=True)) * 4096) / 4096
    given[:, -1, -1] -= given.sum(axis=(1, 2))
    laplacian = np.full((v, v), 1.0)  # the constant has no say: the right-hand side has none of it
    for t, s in np.ndindex(shape):
        laplacian[t * n_x + s, t * n_x + s] += 4
        for far in ((t + 1) % n_t * n_x + s, (t - 1) % n_t * n_x + s, t * n_x + (s + 1) % n_x, t * n_x + (s - 1) % n_x):
            laplacian[t * n_x + s, far] -= 1
    phi = solved(Fixed.of(laplacian), Fixed.of(given.reshape(2, v).T))[1].re.T.reshape(2, *shape)
    field = np.stack([phi - np.roll(phi, 1, 2), np.roll(phi, 1, 1) - phi], axis=1)
    arrays = {"x": given, "field": (field / ONE).astype(float)}
    formula = (
        "the shortest link field whose plaquettes g_0(n) + g_1(n + 0^) - g_0(n + 1^) - g_1(n) are a given field of sum zero "
        "(chain, t, x)"
    )
    pieces = [piece("variates.link_field", formula, ["x"], "field", tolerance=TOLERANCE)]
    return _entry("link-field-3x4", 1.0, "a field of links from one of plaquettes", arrays, pieces)
