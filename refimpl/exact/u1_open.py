"""Two-dimensional U(1) with open boundaries: independent plaquettes, and all answers are powers of one ratio.

Links ``(chain, 2, T, X)`` as on the torus, without those that would leave the lattice: direction 0 at the last t,
direction 1 at the last x. They are there, uniform, and nothing depends on them. The ``(T-1)(X-1)`` plaquettes left
are independent von Mises angles.
"""

from __future__ import annotations

import decimal

import numpy as np
from numpy.typing import NDArray

from . import u1

Array = NDArray[np.float64]


def wilson_loop(beta: float, area: int) -> float:
    """``<W> = (I_1/I_0)^A`` of a loop that encloses ``area`` plaquettes, on any lattice that has room for it."""
    u1._volume(beta, (2, 2), u1.LARGEST_BETA)
    if not u1._is_integer(area) or area < 0:
        raise ValueError(f"area: got {area!r}, expected an integer of at least 0")
    with decimal.localcontext(u1._context(u1._DIGITS)):
        a = u1._bessel(beta, u1._DIGITS)
        return float(u1._power(a[1] / a[0], int(area)))


def sample(rng: np.random.Generator, n: int, beta: float, shape: tuple[int, int]) -> Array:
    """``n`` independent configurations of link angles in [-pi, pi), exactly distributed, shape ``(n, 2, T, X)``."""
    u1._volume(beta, shape)
    n_t, n_x = shape
    links = np.zeros((n, 2, n_t, n_x))
    p = rng.vonmises(0.0, beta, (n, n_t - 1, n_x - 1))
    links[:, 0, :-1, 1:] = -np.cumsum(p, axis=2)
    alpha = rng.uniform(-np.pi, np.pi, (n, n_t, n_x))
    links[:, 0] += alpha - np.roll(alpha, -1, axis=1)
    links[:, 1] += alpha - np.roll(alpha, -1, axis=2)
    links[:, 0, -1] = rng.uniform(-np.pi, np.pi, (n, n_x))
    links[:, 1, :, -1] = rng.uniform(-np.pi, np.pi, (n, n_t))
    return u1._wrapped(links)
