"""The oracle's own measurements of SU(N) links, N = 2 or 3: explicit loops as the definition, and for many chains.

Written from the formulas; shares no code with the package. Links are complex ``(n, 2, T, X, N, N)``, tangents (forces, momenta) are
real components along the generators, ``U -> exp(i eps w_a T_a) U``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[Any]

_PAULI = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
_GELL_MANN = [
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    [[0, -1j, 0], [1j, 0, 0], [0, 0, 0]],
    [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
    [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
    [[0, 0, -1j], [0, 0, 0], [1j, 0, 0]],
    [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
    [[0, 0, 0], [0, 0, -1j], [0, 1j, 0]],
    [[3**-0.5, 0, 0], [0, 3**-0.5, 0], [0, 0, -2 * 3**-0.5]],
]
# ``T_a`` with ``tr T_a T_b = delta_ab / 2``: half the Pauli and half the Gell-Mann matrices, in their usual order.
GENERATORS: dict[int, Complex] = {
    2: np.array(_PAULI, np.complex128) / 2,
    3: np.array(_GELL_MANN, np.complex128) / 2,
}


def dagger(u: Complex) -> Complex:
    return np.asarray(u.conj().swapaxes(-1, -2))


def algebra(w: Array, n: int) -> Complex:
    """``w_a T_a``."""
    return np.asarray(np.tensordot(w, GENERATORS[n], axes=(-1, 0)))


def coordinates(m: Complex) -> Array:
    """``2 tr(T_a (m - m^dag)/2i)``, odd under ``m -> m^dag``: near 1 the ``w`` of ``m = exp(i w_a T_a)``."""
    hermitian = (m - dagger(m)) / 2j
    n = m.shape[-1]
    # tr(T_a h) as a product of flattened matrices.
    flat = GENERATORS[n].swapaxes(-1, -2).reshape(n * n - 1, n * n)
    return np.asarray(2 * (hermitian.reshape(*m.shape[:-2], n * n) @ flat.T).real)


def exponential(w: Array, n: int) -> Complex:
    """``exp(i w_a T_a)`` by eigenvectors."""
    values, vectors = np.linalg.eigh(algebra(w, n))
    return np.asarray((vectors * np.exp(1j * values)[..., None, :]) @ dagger(vectors))


def random_elements(rng: np.random.Generator, shape: tuple[int, ...], n: int) -> Complex:
    """Elements all over the group, not Haar distributed: exponentials of wide normal coordinates."""
    return exponential(3 * rng.standard_normal((*shape, n * n - 1)), n)


def distance_from_group(u: Complex) -> float:
    """The largest ``|U^dag U - 1|`` and ``|det U - 1|``."""
    unitary = np.abs(dagger(u) @ u - np.eye(u.shape[-1])).max()
    return float(max(unitary, np.abs(np.linalg.det(u) - 1).max()))


# --- one configuration (2, T, X, N, N), loop by loop -----------------------------------------------------------------------
def loop_plaquette(x: Complex, t: int, s: int) -> Complex:
    n_t, n_x = x.shape[1:3]
    up, right = x[0, t, s] @ x[1, (t + 1) % n_t, s], x[1, t, s] @ x[0, t, (s + 1) % n_x]
    return np.asarray(up @ right.conj().T)


def loop_mean_plaquette(x: Complex) -> float:
    n_t, n_x = x.shape[1:3]
    traces = [np.trace(loop_plaquette(x, t, s)).real for t in range(n_t) for s in range(n_x)]
    return float(np.sum(traces)) / (x.shape[-1] * n_t * n_x)


def loop_action(x: Complex, beta: float) -> float:
    return -beta * x.shape[1] * x.shape[2] * loop_mean_plaquette(x)


def loop_force(x: Complex, beta: float) -> Array:
    """``-(beta/N) d/d eps sum_P Re tr P`` per link and generator: each of the two plaquettes of a link with it moved."""
    n_t, n_x, n = x.shape[1], x.shape[2], x.shape[-1]
    force = np.zeros((2, n_t, n_x, n * n - 1))
    for t in range(n_t):
        for s in range(n_x):
            left, below = (t, (s - 1) % n_x), ((t - 1) % n_t, s)
            for a, generator in enumerate(GENERATORS[n]):
                for mu, sites in ((0, ((t, s), left)), (1, ((t, s), below))):
                    for site in sites:
                        force[mu, t, s, a] -= beta / n * _slope(x, site, (mu, t, s), 1j * generator)
    return force


def _slope(x: Complex, site: tuple[int, int], link: tuple[int, int, int], turn: Complex) -> float:
    """Derivative of ``Re tr P(site)`` when one link moves by ``dU = turn U``, term by term of the product rule."""
    n_t, n_x = x.shape[1:3]
    t, s = site
    corners = [(0, t, s), (1, (t + 1) % n_t, s), (0, t, (s + 1) % n_x), (1, t, s)]
    total = 0.0
    for place in [k for k, corner in enumerate(corners) if corner == link]:
        factors = []
        for k, corner in enumerate(corners):
            u = turn @ x[corner] if k == place else x[corner]
            factors.append(u if k < 2 else u.conj().T)
        total += float(np.trace(factors[0] @ factors[1] @ factors[2] @ factors[3]).real)
    return total


def loop_wilson_loop(x: Complex, extent_t: int, extent_x: int) -> float:
    """Mean of ``Re tr W/N`` over positions, links multiplied one by one."""
    n_t, n_x, n = x.shape[1], x.shape[2], x.shape[-1]
    total = 0.0
    for t in range(n_t):
        for s in range(n_x):
            out, back = np.eye(n, dtype=np.complex128), np.eye(n, dtype=np.complex128)
            for k in range(extent_t):
                out = out @ x[0, (t + k) % n_t, s]
            for k in range(extent_x):
                out, back = out @ x[1, (t + extent_t) % n_t, (s + k) % n_x], back @ x[1, t, (s + k) % n_x]
            for k in range(extent_t):
                back = back @ x[0, (t + k) % n_t, (s + extent_x) % n_x]
            total += float(np.trace(out @ back.conj().T).real)
    return total / (n * n_t * n_x)


# --- many configurations (n, 2, T, X, N, N) --------------------------------------------------------------------------------
def plaquettes(x: Complex) -> Complex:
    up = x[:, 0] @ np.roll(x[:, 1], -1, axis=1)
    right = x[:, 1] @ np.roll(x[:, 0], -1, axis=2)
    return np.asarray(up @ dagger(right))


def mean_trace(m: Complex) -> Array:
    """``Re tr/N`` averaged over all axes but the first and the last two."""
    traces = np.einsum("...ii->...", m).real / m.shape[-1]
    return np.asarray(traces.reshape(len(m), -1).mean(axis=1))


def mean_plaquette(x: Complex) -> Array:
    """``Re tr P/N`` without making the product: ``sum_ij Re(up_ij right_ij^*)``."""
    up = x[:, 0] @ np.roll(x[:, 1], -1, axis=1)
    right = x[:, 1] @ np.roll(x[:, 0], -1, axis=2)
    total = (up.real * right.real + up.imag * right.imag).reshape(len(x), -1).sum(axis=1)
    return np.asarray(total / (x.shape[-1] * x.shape[2] * x.shape[3]))


def square_loop(x: Complex, side: int) -> Array:
    """Mean of ``Re tr W/N`` over the positions of square loops."""
    up, right = x[:, 0], x[:, 1]
    for k in range(1, side):
        up, right = up @ np.roll(x[:, 0], -k, axis=1), right @ np.roll(x[:, 1], -k, axis=2)
    out = up @ np.roll(right, -side, axis=1)
    return mean_trace(out @ dagger(right @ np.roll(up, -side, axis=2)))


def polyakov_loops(x: Complex, mu: int) -> Complex:
    """Products of all links along mu, ``(n, positions, N, N)``."""
    links = np.moveaxis(x[:, mu], 1 + mu, 0)
    out = links[0]
    for u in links[1:]:
        out = out @ u
    return np.asarray(out)


def gauge_transformed(x: Complex, g: Complex) -> Complex:
    """``g(n) U_mu(n) g(n + mu^)^dag`` for ``g`` of shape ``(n, T, X, N, N)``."""
    return np.stack([g @ x[:, mu] @ dagger(np.roll(g, -1, axis=1 + mu)) for mu in (0, 1)], axis=1)


def rotated(w: Array, g: Complex) -> Array:
    """Tangents under that transformation: ``w_a T_a -> g w_a T_a g^dag``, ``w`` of shape ``(n, 2, T, X, generator)``."""
    turned = g[:, None] @ algebra(w, g.shape[-1]) @ dagger(g[:, None])
    return coordinates(1j * turned)
