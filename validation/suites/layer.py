"""Golden vectors of single layers of maps, and of actions pulled back through them.

Spectra of SU(2) and SU(3), transporters of pseudofermions, an affine coupling that is odd, a layer that moves holonomies, the
decimation flow. Forces of actions pulled back are central differences with a step of 1e-12 in 50-digit decimal arithmetic, and the
Jacobian of a map of spectra the determinant of such differences: no derivative is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact_vectors.decimals import arctangent
from ..field_vectors.decimals import (
    PI,
    U1,
    Decimals,
    Phi4,
    cosine,
    decimals,
    digits,
    plaquettes,
    rounded,
    sine,
    wrapped,
)
from ..fixed_point import BITS, ONE, Fixed, phases
from ..pieces import Piece, piece
from ..vector_format import description
from . import fermion as fermions
from .map import BINS, rational_spline
from .u1_variate import bessel

Array = NDArray[np.float64]
Entry = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
Numbers = list[Decimal]

SEED = 20261202
TOLERANCE = 1e-13  # rounding of numbers of size 1, amplified tenfold by the slope of a map, and by as much again by its derivative
STEP = Decimal("1e-12")


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    rng = np.random.default_rng(SEED)
    with digits():
        yield _spectrum(rng, 2)
        yield _spectrum(rng, 3)
        for n, shape, antiperiodic in ((1, (2, 3), True), (2, (3, 2), False), (3, (2, 2), True)):
            yield _transport(rng, n, shape, antiperiodic)
        yield _affine(rng)
        yield _holonomy(rng, "holonomy-3x2", (3, 2), 0, 1, None)
        yield _holonomy(rng, "holonomy-line-2x3", (2, 3), 1, 2, 1)
        yield _decimation(rng)


def _entry(
    name: str, theory: str, flags: list[str], comment: str, arrays: dict[str, Any], pieces: list[Piece]
) -> Entry:
    about = description(
        f"layers/{name}",
        theory,
        np.shape(arrays["x"])[1:],
        flags,
        comment,
        parameters={},
        calls=[],
        derivation="from the formula of each piece in arithmetic of 50 digits, derivatives by central differences, rounded once",
        tolerance=max(each["tolerance"] for each in pieces),
        reason="rounding of numbers of size 1, amplified by the slope of a map and its derivative",
        conventions="fields (chain, t, x), links (chain, mu, t, x[, a, b]), spinors (chain, t, x, spin[, colour]); y = f(x), "
        "logdet = log |det dy/dx|; force = + dS/dx",
        module=__name__,
        seed=SEED,
    )
    return name, {**about, "pieces": pieces}, {key: np.asarray(value) for key, value in arrays.items()}


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(np.round(rng.standard_normal(shape), 6))


# --- spectra ----------------------------------------------------------------------------------------------------------
def _spectrum(rng: np.random.Generator, n: int) -> Entry:
    """Phases in the cell, a few of them close to each other or to its far end, and where a map of the spectrum takes them."""
    gaps = np.array([[0.25, 0.3, 0.45], [0.02, 0.48, 0.5], [0.6, 0.1, 0.3], [0.4, 0.58, 0.02], [0.1, 0.1, 0.8]])[:, -n:]
    raw = _normal(rng, len(gaps), n * (n - 1) // 2 * (3 * BINS + 1))
    old = [_phases([Decimal(float(g)) / sum(map(Decimal, row.tolist())) for g in row[:-1]]) for row in gaps]
    images = [_moved_spectrum(row, numbers) for row, numbers in zip(old, raw, strict=True)]
    eigenvectors = [Fixed.of(v) for v in fermions.random_links(rng, n, (1, len(gaps)), 2.0)[0, 0]] if n > 1 else []
    p, moved = (
        np.array([_with_phases(v, row) for v, row in zip(eigenvectors, rows, strict=True)])
        for rows in (old, [image for image, _ in images])
    )
    turn = np.array(
        [
            _with_phases(v, [b - a for a, b in zip(before, after, strict=True)])
            for v, before, (after, _) in zip(eigenvectors, old, images, strict=True)
        ]
    )
    slopes = [float(logdet) for _, logdet in images]
    arrays = {
        "x": p,
        "phases": [rounded(np.array(row, dtype=object)) for row in old],
        "raw": raw,
        "y": moved,
        "turn": turn,
        "turn_inverse": turn.conj().swapaxes(1, 2),
        "logdet": slopes,
        "logdet_inverse": [-value for value in slopes],
    }
    told = (
        "P = V exp(i t) V^dag -> V exp(i t') V^dag, c_j = (t_(j+1) - t_1)/2 pi, c_N = 1, b_j = c_j/c_(j+1) through a spline of "
        "[0, 1] each, b_(N-1) first, with the numbers raw_j + sum_(k>j) (2 b_k - 1) raw_jk, blocks in this order, k falling, "
        "of the splines in suite maps; logdet in Haar measure. Arguments: P (site, a, b), raw (site, number), bins. Returns "
    )
    pieces = [
        piece(
            "groups.spectrum",
            "phases t_1 <= ... <= t_N <= t_1 + 2 pi of sum 0 of matrices (site, a, b)",
            ["x"],
            "phases",
            tolerance=TOLERANCE / 10,
        ),
        piece(
            "maps.spectral.forward", told + "P' P^dag", ["x", "raw", BINS], ["turn", "logdet"], tolerance=TOLERANCE * 10
        ),
        piece(
            "maps.spectral.inverse",
            told + "P P'^dag for P' given, and minus logdet",
            ["y", "raw", BINS],
            ["turn_inverse", "logdet_inverse"],
            tolerance=TOLERANCE * 10,
        ),
    ]
    comment = "eigenphases in the canonical cell, and a map of them that commutes with conjugation"
    return _entry(f"spectra-su{n}", f"su{n}", ["BASIC", "CONVENTION"], comment, arrays, pieces)


def _phases(shares: Numbers) -> Numbers:
    """Of sum 0, with these gaps in units of 2 pi."""
    out = [Decimal(0)]
    for share in shares:
        out.append(out[-1] + 2 * PI * share)
    mean = sum(out, Decimal(0)) / len(out)
    return [value - mean for value in out]


def _moved_spectrum(old: Numbers, raw: Array) -> tuple[Numbers, Decimal]:
    """The new phases, and the logdet in Haar measure."""
    n = len(old)
    blocks = [[Decimal(v) for v in row] for row in raw.reshape(-1, 3 * BINS + 1).tolist()]

    def image(shares: Numbers) -> Numbers:
        c = [*(sum(shares[: j + 1], Decimal(0)) for j in range(n - 1)), Decimal(1)]
        b = [c[j] / c[j + 1] for j in range(n - 1)]
        rest, new = list(blocks), [Decimal(0)] * (n - 1)
        for j in reversed(range(n - 1)):
            numbers = rest.pop(0)
            for k in range(n - 2, j, -1):
                block = rest.pop(0)
                numbers = [a + (2 * b[k] - 1) * other for a, other in zip(numbers, block, strict=True)]
            new[j] = rational_spline(b[j], numbers[:BINS], numbers[BINS : 2 * BINS], numbers[2 * BINS :], Decimal(1))[0]
        c_new = [Decimal(1)]
        for j in reversed(range(n - 1)):
            c_new.insert(0, c_new[0] * new[j])
        return [c_new[0], *(c_new[j] - c_new[j - 1] for j in range(1, n - 1))]

    shares = [(old[j + 1] - old[j]) / (2 * PI) for j in range(n - 1)]
    new = _phases(image(shares))
    columns = []
    for j in range(n - 1):
        ends = [image([s + sign * STEP * (i == j) for i, s in enumerate(shares)]) for sign in (1, -1)]
        columns.append([(a - b) / (2 * STEP) for a, b in zip(*ends, strict=True)])
    jacobian = columns[0][0] if n == 2 else columns[0][0] * columns[1][1] - columns[0][1] * columns[1][0]
    return new, abs(jacobian).ln() + _log_haar(new) - _log_haar(old)


def _log_haar(t: Numbers) -> Decimal:
    """``log prod_(i<j) sin^2((t_i - t_j)/2)``."""
    halves = np.array([(t[i] - t[j]) / 2 for j in range(len(t)) for i in range(j)], dtype=object)
    return sum((2 * abs(s).ln() for s in sine(halves)), Decimal(0))


def _with_phases(v: Fixed, t: Numbers) -> NDArray[np.complex128]:
    """``V exp(i t) V^dag``."""
    angles = np.array(t, dtype=object)
    re, im = (np.array([int(value * ONE) for value in function(angles)], dtype=object) for function in (cosine, sine))
    turned = Fixed((v.re * re - v.im * im) >> BITS, (v.re * im + v.im * re) >> BITS)
    return (turned @ v.dagger).rounded()


# --- transport --------------------------------------------------------------------------------------------------------
def _transport(rng: np.random.Generator, n: int, shape: tuple[int, int], antiperiodic: bool) -> Entry:
    n_t, n_x = shape
    x = np.stack([fermions.random_links(rng, n, shape, 2.0) for _ in range(2)])
    psi = fermions.normal(rng, (2, *shape, 2, *((n,) if n > 1 else ())))
    out = np.zeros((2, 5, *shape, 2, n), dtype=np.complex128)
    for c in range(2):
        u = phases(x[c])[..., None, None] if n == 1 else Fixed.of(x[c])
        field = Fixed.of(psi[c].reshape(*shape, 2, n))
        for t, s, spin in np.ndindex(n_t, n_x, 2):
            around = [
                (u[0, t, s], ((t + 1) % n_t, s), t == n_t - 1),
                (u[0, t - 1, s].dagger, ((t - 1) % n_t, s), t == 0),
                (u[1, t, s], (t, (s + 1) % n_x), False),
                (u[1, t, s - 1].dagger, (t, (s - 1) % n_x), False),
            ]
            out[c, 0, t, s, spin] = psi[c].reshape(*shape, 2, n)[t, s, spin]
            for d, (link, (far_t, far_s), crosses) in enumerate(around, start=1):
                moved = (link @ field[far_t, far_s, spin][:, None])[:, 0].rounded()
                out[c, d, t, s, spin] = -moved if crosses and antiperiodic else moved
    arrays = {"x": x, "psi": psi, "transported": out.reshape(2, 5, *psi.shape[1:])}
    formula = (
        "L(y) = psi(y), U_0(y) psi(y + 0^), U_0(y - 0^)^dag psi(y - 0^), U_1(y) psi(y + 1^), U_1(y - 1^)^dag psi(y - 1^), "
        "those that cross the end of the lattice in time with a minus where antiperiodic. Arguments: links, psi, whether "
        "antiperiodic"
    )
    arguments: list[Any] = ["x", "psi", {"value": antiperiodic}]
    pieces = [piece("maps.transported", formula, arguments, "transported", tolerance=TOLERANCE / 10)]
    theory = "schwinger" if n == 1 else f"su{n}"
    name = f"transport-{'u1' if n == 1 else theory}-{n_t}x{n_x}"
    comment = "the neighbours of every site, transported to it"
    return _entry(name, theory, ["BASIC", "CONVENTION"], comment, arrays, pieces)


# --- an affine coupling -----------------------------------------------------------------------------------------------
def pulled_force(action: Callable[[Decimals], Decimal], x: Decimals) -> Array:
    """By central differences."""
    out = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        ends = [x.copy(), x.copy()]
        ends[0][at] += STEP
        ends[1][at] -= STEP
        out[at] = float((action(ends[0]) - action(ends[1])) / (2 * STEP))
    return out


def tanh(a: Decimal) -> Decimal:
    return 1 - 2 / ((2 * a).exp() + 1)


def _net(params: dict[str, Array], h: Decimals) -> Decimals:
    """Convolutions of ``(channel, T, X)``, tanh behind each."""
    for k in range(2):
        w, b = decimals(params[f"weight/{k}"]), decimals(params[f"bias/{k}"])
        out = np.empty((len(b), *h.shape[1:]), dtype=object)
        for o in range(len(b)):
            out[o] = b[o] + sum(
                w[o, c, i, j] * np.roll(h[c], (1 - i, 1 - j), (0, 1))
                for c in range(len(h))
                for i in range(3)
                for j in range(3)
            )
        h = np.asarray(np.frompyfunc(tanh, 1, 1)(out), dtype=object)
    return h


def _affine(rng: np.random.Generator) -> Entry:
    shape, parity, theory = (4, 2), 1, Phi4(-0.5, 2.5)
    params = {
        "weight/0": 0.5 * _normal(rng, 2, 1, 3, 3),
        "bias/0": 0.5 * _normal(rng, 2),
        "weight/1": 0.5 * _normal(rng, 2, 2, 3, 3),
        "bias/1": 0.5 * _normal(rng, 2),
    }
    active = np.indices(shape).sum(axis=0) % 2 == parity
    x = _normal(rng, 2, *shape)

    def forward(phi: Decimals) -> tuple[Decimals, Decimal]:
        seen = np.where(active, 0 * phi, phi)[None]
        (s, t), (s_back, t_back) = _net(params, seen), _net(params, -seen)
        s, t = (s + s_back) / 2, (t - t_back) / 2
        scale = np.asarray(np.frompyfunc(lambda a: a.exp(), 1, 1)(s), dtype=object)
        return np.where(active, phi * scale + t, phi), np.where(active, s, 0 * s).sum()

    def action(phi: Decimals) -> Decimal:
        image, logdet = forward(phi)
        return theory.action(image) - logdet

    fields = [decimals(phi) for phi in x]
    images = [forward(phi) for phi in fields]
    logdets = [float(logdet) for _, logdet in images]
    arrays: dict[str, Any] = {"x": x, **{f"params/{key}": value for key, value in params.items()}}
    arrays |= {"y": [rounded(image) for image, _ in images], "logdet": logdets, "logdet_inverse": [-v for v in logdets]}
    arrays |= {"action": [float(action(phi)) for phi in fields], "force": [pulled_force(action, phi) for phi in fields]}
    layer = (
        "y = x exp(s) + t where t + x is 1 modulo 2, other sites as they are, (s, t) from net(x, 0 on those sites), s its even "
        "part (net_1(x) + net_1(-x))/2, t its odd part (net_2(x) - net_2(-x))/2, logdet = sum s; net: two periodic "
        "cross-correlations of 3x3 weights (out, in, 3, 3), tanh behind each. "
    )
    weights: dict[str, Any] = {"arrays": "params/"}
    couplings: list[Any] = [theory.m2, theory.lam]
    pieces = [
        piece("maps.odd_affine.forward", layer, [weights, "x"], ["y", "logdet"], tolerance=TOLERANCE),
        piece(
            "maps.odd_affine.inverse",
            layer + "The inverse",
            [weights, "y"],
            ["x", "logdet_inverse"],
            tolerance=TOLERANCE,
        ),
        piece(
            "maps.odd_affine.pulled_back",
            layer + "S(y(x)) - logdet of phi^4 and its derivative by x. Arguments: m2, lam, weights, x",
            [*couplings, weights, "x"],
            ["action", "force"],
            tolerance=TOLERANCE * 10,
        ),
    ]
    return _entry(
        "affine-odd-4x2",
        "phi4",
        ["BASIC"],
        "one affine coupling, odd in the field, and phi^4 behind it",
        arrays,
        pieces,
    )


# --- holonomies -------------------------------------------------------------------------------------------------------
def _holonomy(
    rng: np.random.Generator, name: str, shape: tuple[int, int], mu: int, index: int, line: int | None
) -> Entry:
    harmonics, beta = 2, 1.5
    sizes = {"weight/0": (12, 2), "bias/0": (2,), "weight/1": (2, 3 * BINS + 1), "bias/1": (3 * BINS + 1,)}
    params = {key: _normal(rng, *size) for key, size in sizes.items()}
    weights = {key: decimals(value) for key, value in params.items()}
    x = np.round(rng.uniform(-3, 3, (2, 2, *shape)), 6)

    def means(angles: Decimals) -> Numbers:
        flat = angles.ravel()
        return [f(k * flat).sum() / len(flat) for k in range(1, harmonics + 1) for f in (cosine, sine)]

    def forward(links: Decimals) -> tuple[Decimals, Decimal]:
        along, across = links[mu].sum(axis=mu), links[1 - mu].sum(axis=1 - mu)
        phase = (
            _argument(cosine(along).sum(), sine(along).sum()) if line is None else wrapped(along[line : line + 1])[0]
        )
        features = np.array([*means(along - phase), *means(across), *means(plaquettes(links))], dtype=object)
        hidden = np.frompyfunc(tanh, 1, 1)(features @ weights["weight/0"] + weights["bias/0"])
        numbers = list(hidden @ weights["weight/1"] + weights["bias/1"])
        slopes = [numbers[3 * BINS - 1], *numbers[2 * BINS : 3 * BINS]]
        folded = phase if phase >= 0 else phase + 2 * PI
        image, slope = rational_spline(folded, numbers[:BINS], numbers[BINS : 2 * BINS], slopes, 2 * PI)
        moved = links.copy()
        at = (mu, index) if mu == 0 else (mu, slice(None), index)
        moved[at] = moved[at] + image + numbers[-1] - folded
        return moved, slope

    def action(links: Decimals) -> Decimal:
        moved, logdet = forward(links)
        return U1(beta).action(moved) - logdet

    fields = [decimals(links) for links in x]
    images = [forward(links) for links in fields]
    logdets = [float(logdet) for _, logdet in images]
    arrays: dict[str, Any] = {"x": x, **{f"params/{key}": value for key, value in params.items()}}
    arrays |= {"y": [rounded(wrapped(image)) for image, _ in images]}
    arrays |= {"logdet": logdets, "logdet_inverse": [-v for v in logdets]}
    arrays |= {"action": [float(action(links)) for links in fields], "force": [pulled_force(action, f) for f in fields]}
    layer = (
        "all links of direction mu in the slice n_mu = s grow by g(h) - h, h = arg sum_c exp(i L_c) of the Polyakov loops L_c "
        "along mu, or one of them, g the circular spline of suite maps with the numbers W_1 tanh(W_0 f + b_0) + b_1, logdet = "
        "log g'(h); f: means of cos k a, sin k a, k = 1, 2, over a = L_c - h, then the loops along the other direction, then "
        "the plaquettes. "
    )
    told: list[Any] = [{"value": list(shape)}, mu, index, {"value": line}, {"arrays": "params/"}]
    end = "Arguments: shape, mu, s, the line or null, weights, links"
    angles: dict[str, Any] = {"tolerance": TOLERANCE * 10, "angles": ("x", "y")}
    pieces = [
        piece("maps.holonomy.forward", layer + end, [*told, "x"], ["y", "logdet"], **angles),
        piece("maps.holonomy.inverse", layer + "The inverse. " + end, [*told, "y"], ["x", "logdet_inverse"], **angles),
        piece(
            "maps.holonomy.pulled_back",
            layer + "S(y(x)) - logdet of U(1) and its derivative by x. Arguments: beta, then as above",
            [beta, *told, "x"],
            ["action", "force"],
            tolerance=TOLERANCE * 20,
        ),
    ]
    return _entry(name, "u1", ["BASIC", "CONVENTION"], "a layer that moves a holonomy and no plaquette", arrays, pieces)


def _argument(re: Decimal, im: Decimal) -> Decimal:
    """In (-pi, pi)."""
    if abs(im) > abs(re):
        return (PI / 2).copy_sign(im) - arctangent(re / im)
    return arctangent(im / re) + (0 if re > 0 else PI.copy_sign(im))


# --- the decimation flow ----------------------------------------------------------------------------------------------
def _decimation(rng: np.random.Generator) -> Entry:
    """On 2 x 2: cut in time by the link (1, 1, 0), then both halves in space by (0, 0, 1) and (0, 1, 1)."""
    beta, shape = 1.0, (2, 2)
    y = np.round(rng.uniform(-2.5, 2.5, (3, 2, *shape)), 6)
    y[2] *= 0.25
    uniform, logdets = [], []
    for links in y:
        x, logdet = _uniform(decimals(links), Decimal(beta))
        uniform.append(rounded(wrapped(x)))
        logdets.append(float(logdet))
    arrays = {"x": uniform, "y": y, "logdet": [-value for value in logdets], "logdet_inverse": logdets}
    formula = (
        "uniform links to exp(beta sum cos P): the torus, then its halves, is cut; x the sum of the plaquettes of the first "
        "half, S of both, h(x|S) = g_a(x) g_b(S - x)/g_(a+b)(S), g_n(x) = sum_k I_k(beta)^n cos(k x); one link on the cut "
        "moves x to x' with (x + pi)/2 pi = int_-pi^x' h, logdet = -sum log 2 pi h(x'|S). On 2x2: theta_1(1, 0) for the "
        "plaquettes of t = 0, then theta_0(t, 1) for the plaquette (t, 0), t = 0, 1, which falls as the link grows. Arguments: "
        "beta, links"
    )
    bounds: dict[str, Any] = {"tolerance": TOLERANCE * 10, "angles": ("x", "y")}
    pieces = [
        piece("maps.decimation.forward", formula, [beta, "x"], ["y", "logdet"], **bounds),
        piece("maps.decimation.inverse", formula + ". The inverse", [beta, "y"], ["x", "logdet_inverse"], **bounds),
    ]
    comment = "the exact flow from uniform links to pure gauge theory, beta = 1"
    return _entry("decimation-2x2", "u1", ["BASIC", "CONVENTION"], comment, arrays, pieces)


def _uniform(links: Decimals, beta: Decimal) -> tuple[Decimals, Decimal]:
    """From the fine cuts to the coarse one."""
    x, logdet = links.copy(), Decimal(0)
    for t in (0, 1):
        p = wrapped(plaquettes(x))
        new, log_h = _distributed(p[t, 0], wrapped(p[t : t + 1].sum(axis=1))[0], 1, 1, beta)
        x[0, t, 1] -= new - p[t, 0]
        logdet += log_h
    p = wrapped(plaquettes(x))
    first = wrapped(p[:1].sum(axis=1))[0]
    new, log_h = _distributed(first, Decimal(0), 2, 2, beta)
    x[1, 1, 0] += new - first
    return x, logdet + log_h


def _distributed(x: Decimal, s: Decimal, a: int, b: int, beta: Decimal) -> tuple[Decimal, Decimal]:
    """``2 pi F(x|S) - pi`` and ``log 2 pi h``: the products of two series integrated term by term."""
    top = 26
    modes = [bessel(k, beta) for k in range(top)]

    def density(n: int, at: Decimal) -> Decimal:
        values = cosine(np.array([k * at for k in range(1, top)], dtype=object))
        return modes[0] ** n + 2 * sum((m**n * v for m, v in zip(modes[1:], values, strict=True)), Decimal(0))

    weights = {
        (j, k): modes[abs(j)] ** a * modes[abs(k)] ** b for j in range(1 - top, top) for k in range(1 - top, top)
    }
    c, d = (function(np.array([k * s for k in range(1 - top, top)], dtype=object)) for function in (cosine, sine))
    # sum_(j, k) w exp(i j x + i k (S - x)), by the frequency j - k.
    modes_of_h: dict[int, Numbers] = {}
    for (j, k), weight in weights.items():
        mode = modes_of_h.setdefault(j - k, [Decimal(0), Decimal(0)])
        mode[0] += weight * c[k + top - 1]
        mode[1] += weight * d[k + top - 1]
    total = modes_of_h[0][0] * (x + PI)
    for m, (re, im) in modes_of_h.items():
        if m:
            real, imaginary = (function(np.array([m * x], dtype=object))[0] for function in (cosine, sine))
            total += (
                re * imaginary + im * (real - (-1 if m % 2 else 1))
            ) / m  # Re (re + i im) (exp(i m x) - exp(-i m pi))/(i m)
    whole = 2 * PI * modes_of_h[0][0]
    return 2 * PI * total / whole - PI, (2 * PI * density(a, x) * density(b, s - x) / whole).ln()
