"""Golden vectors of conditional flows: weights of a context and of layers, links, a field and where the layers take it.

The suite ``conditionals`` has layers as Abbott 2022 (arXiv:2207.08945, sec. III.C, D and app. B) writes them, of U(1), SU(2) and
SU(3), with colours in the logdet and the transports projected. The answers are computed here from the formulas, site by site in
extended precision, and share no code with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..measure_matrices import random_elements

Array = NDArray[np.float64]
Extended = NDArray[np.longdouble]
Complex = NDArray[Any]  # of twice that

SHAPE, CHAINS, HIDDEN = (4, 4), 2, 2
SEED = 20261126


class Case(NamedTuple):
    """A vector: theory, whether fields live on even sites, transports of a layer and features between them, and the layers."""

    name: str
    theory: str
    even_odd: bool
    n_pt: int
    features: int
    layers: tuple[tuple[str, int], ...]


CASES = (
    Case("schwinger-even-4x4", "schwinger", True, 2, 3, (("spatial", 0), ("spatial", 1))),
    Case("schwinger-all-4x4", "schwinger", False, 2, 2, (("spatial", 1), ("spin", 0))),
    Case("su2-even-4x4", "su2", True, 3, 2, (("spatial", 1), ("spin", 1))),
    Case("su3-all-4x4", "su3", False, 2, 2, (("spatial", 0), ("spin", 0))),
)
TOLD = (
    "context: elu of a periodic cross-correlation with 3x3 weights (out, in, 3, 3) of Re tr P, Im tr P, t mod 4, x mod 4, P = "
    "U_0(n) U_1(n + 0^) U_0(n + 1^)^dag U_1(n)^dag; of every layer a tanh of another one, whose outputs are real and imaginary "
    "parts of the matrices M of its n_pt transports, row by row, then of A - 1; L(y) = phi(y), U_0(y) phi(y + 0^), U_0(y - 0^)^dag "
    "phi(y - 0^), the same along x, the time links of the last slice with a sign, in columns direction by direction; layer: "
    "phi_a' = A phi_a + P M_n L ... M_1 L phi_f; active are sites of parity t + x = p (even_odd: even sites with t = p modulo 2), "
    "or the component p of all sites, for which A is a number; logdet = 2 N sum log |det A|"
)


def vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, NDArray[Any]]]]:
    """Name, description and arrays of each vector."""
    for k, case in enumerate(CASES):
        rng = np.random.default_rng([SEED, k])
        n = 1 if case.theory == "schwinger" else int(case.theory[-1])
        x: NDArray[Any] = (
            rng.uniform(-np.pi, np.pi, (CHAINS, 2, *SHAPE)) if n == 1 else random_elements(rng, (CHAINS, 2, *SHAPE), n)
        )
        params = _parameters(rng, case)
        chi = rng.standard_normal((CHAINS, *SHAPE, 2, n)) + 1j * rng.standard_normal((CHAINS, *SHAPE, 2, n))
        if case.even_odd:
            chi[:, np.indices(SHAPE).sum(axis=0) % 2 == 1] = 0
        phi, logdet = transformed(case, params, x, chi)
        shown = (CHAINS, 1, *SHAPE, 2, *((n,) if n > 1 else ()))
        about = {
            "id": f"conditionals/{case.name}",
            "theory": case.theory,
            "shape": SHAPE,
            "flags": ["BASIC", "CONVENTION"],
            "comment": TOLD,
            "architecture": {
                "even_odd": case.even_odd,
                "n_pt": case.n_pt,
                "features": case.features,
                "layers": [list(layer) for layer in case.layers],
            },
            "expected": "valid",
            "derivation": "from the formulas, site by site in longdouble (80 bit where the machine has it), rounded once",
            "tolerance": "1e-11 of the largest component: rounding of two layers",
            "conventions": "axes (chain, mu, t, x), mu = 0 time, and (chain, field, t, x, spin[, colour]); params/context/weight/0 "
            "and bias/0, params/<layer>/weight and bias",
        }
        arrays: dict[str, NDArray[Any]] = {
            "x": x,
            "chi": chi.reshape(shown),
            "phi": phi.astype(np.complex128).reshape(shown),
            "logdet": np.asarray(logdet, np.float64)[:, None],
        }
        yield case.name, about, {**arrays, **{f"params/{key}": value for key, value in params.items()}}


def shapes(case: Case, kind: str) -> list[tuple[int, int]]:
    """Of the matrices of a layer: M of every transport, then A."""
    widths = [2, *[case.features] * (case.n_pt - 1), 2]
    side = 2 if kind == "spatial" else 1
    return [*((after, 5 * before) for before, after in pairwise(widths)), (side, side)]


def _parameters(rng: np.random.Generator, case: Case) -> dict[str, Array]:
    """Random parameters, every one of them different from zero."""
    out = {
        "context/weight/0": 0.2 * rng.standard_normal((HIDDEN, 4, 3, 3)),
        "context/bias/0": 0.2 * rng.standard_normal(HIDDEN),
    }
    for layer, (kind, _) in enumerate(case.layers):
        numbers = 2 * sum(rows * columns for rows, columns in shapes(case, kind))
        out[f"{layer}/weight"] = 0.1 * rng.standard_normal((numbers, HIDDEN, 3, 3))
        out[f"{layer}/bias"] = 0.1 * rng.standard_normal(numbers)
    return out


def transformed(case: Case, params: dict[str, Array], x: NDArray[Any], chi: Complex) -> tuple[Complex, Extended]:
    """The field ``(chain, t, x, spin, colour)`` behind the layers, and the logdet."""
    u = x.astype(np.clongdouble) if np.iscomplexobj(x) else np.exp(1j * x.astype(np.longdouble))[..., None, None]
    seen = convolved(params["context/weight/0"], params["context/bias/0"], _inputs(u))
    hidden = np.where(seen > 0, seen, np.expm1(np.minimum(seen, 0)))
    signed = u.copy()
    signed[:, 0, -1] *= -1
    psi: Complex = chi.astype(np.clongdouble)
    logdet = np.zeros(len(x), np.longdouble)
    for layer, (kind, parity) in enumerate(case.layers):
        outputs = np.tanh(convolved(params[f"{layer}/weight"], params[f"{layer}/bias"], hidden))
        psi, added = _layer(case, kind, parity, outputs, signed, psi)
        logdet = logdet + added
    return psi, logdet


def _inputs(u: Complex) -> Extended:
    """``(chain, 4, T, X)``, plaquette by plaquette."""
    chains, _, n_t, n_x = u.shape[:4]
    out = np.zeros((chains, 4, n_t, n_x), np.longdouble)
    for t in range(n_t):
        for s in range(n_x):
            later, beside = (t + 1) % n_t, (s + 1) % n_x
            loop = u[:, 0, t, s] @ u[:, 1, later, s] @ _dagger(u[:, 0, t, beside]) @ _dagger(u[:, 1, t, s])
            trace = sum(loop[:, a, a] for a in range(loop.shape[-1]))
            out[:, 0, t, s], out[:, 1, t, s], out[:, 2, t, s], out[:, 3, t, s] = trace.real, trace.imag, t % 4, s % 4
    return out


def _dagger(u: Complex) -> Complex:
    return np.asarray(u.conj().swapaxes(-1, -2))


def convolved(weight: Array, bias: Array, h: Extended) -> Extended:
    """A periodic cross-correlation of ``(chain, channel, T, X)``, tap by tap."""
    n_t, n_x = h.shape[2:]
    out = np.zeros((len(h), len(bias), n_t, n_x), np.longdouble) + bias[:, None, None]
    for t in range(n_t):
        for s in range(n_x):
            for i in range(3):
                for j in range(3):
                    there = h[:, :, (t + i - 1) % n_t, (s + j - 1) % n_x]
                    out[:, :, t, s] += np.einsum("oc,nc->no", weight[:, :, i, j].astype(np.longdouble), there)
    return out


def _layer(case: Case, kind: str, parity: int, outputs: Extended, u: Complex, psi: Complex) -> tuple[Complex, Extended]:
    n_t, n_x, colours = psi.shape[1], psi.shape[2], psi.shape[-1]
    *transports, a = _matrices(case, kind, outputs)
    active = np.zeros((n_t, n_x, 2), bool)
    for t in range(n_t):
        for s in range(n_x):
            for spin in (0, 1):
                alive = not case.even_odd or (t + s) % 2 == 0
                turn = (t if case.even_odd else t + s) % 2 if kind == "spatial" else spin
                active[t, s, spin] = alive and turn == parity
    shift = np.where(active[..., None], 0, psi)
    for m in transports:
        moved = np.zeros((len(psi), n_t, n_x, m.shape[3], colours), np.clongdouble)
        for t in range(n_t):
            for s in range(n_x):
                moved[:, t, s] = np.einsum("nhg,ngc->nhc", m[:, t, s], _gathered(u, shift, t, s))
        shift = moved
    out, logdet = psi.copy(), np.zeros(len(psi), np.longdouble)
    for t in range(n_t):
        for s in range(n_x):
            spins = np.flatnonzero(active[t, s])
            if not len(spins):
                continue
            own = a[:, t, s]
            out[:, t, s, spins] = np.einsum("nhg,ngc->nhc", own, psi[:, t, s, spins]) + shift[:, t, s, spins]
            det = own[:, 0, 0] if kind == "spin" else own[:, 0, 0] * own[:, 1, 1] - own[:, 0, 1] * own[:, 1, 0]
            logdet += 2 * colours * np.log(np.abs(det))
    return out, logdet


def _matrices(case: Case, kind: str, outputs: Extended) -> list[Complex]:
    """``(chain, T, X, rows, columns)`` of the outputs ``(chain, number, T, X)`` of a net."""
    values = np.moveaxis(outputs, 1, -1)
    numbers = values[..., 0::2] + 1j * values[..., 1::2]
    found, begin = [], 0
    for rows, columns in shapes(case, kind):
        part = numbers[..., begin : begin + rows * columns]
        found.append(part.reshape(*part.shape[:3], rows, columns))
        begin += rows * columns
    found[-1] = found[-1] + np.eye(found[-1].shape[-1])
    return found


def _gathered(u: Complex, psi: Complex, t: int, s: int) -> Complex:
    """``L(y)``, ``(chain, 5 features, colour)``."""
    n_t, n_x = psi.shape[1:3]
    before, left = ((t - 1) % n_t, s), (t, (s - 1) % n_x)
    parts = [
        psi[:, t, s],
        np.einsum("nab,nkb->nka", u[:, 0, t, s], psi[:, (t + 1) % n_t, s]),
        np.einsum("nab,nkb->nka", _dagger(u[:, 0, *before]), psi[:, *before]),
        np.einsum("nab,nkb->nka", u[:, 1, t, s], psi[:, t, (s + 1) % n_x]),
        np.einsum("nab,nkb->nka", _dagger(u[:, 1, *left]), psi[:, *left]),
    ]
    return np.concatenate(parts, axis=1)
