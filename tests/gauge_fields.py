"""Gauge fields of U(1) and SU(N), gauge transformations, and the Gell-Mann basis, for tests of fermions."""

from __future__ import annotations

import numpy as np


def haar(rng, shape, n):
    """SU(n) matrices of this shape, from the QR decomposition of complex normal numbers; uniform enough for tests."""
    z = rng.standard_normal((*shape, n, n)) + 1j * rng.standard_normal((*shape, n, n))
    q = np.linalg.qr(z)[0]
    return q / np.linalg.det(q)[..., None, None] ** (1 / n)


def links(rng, n, chains, shape):
    """Uniform link angles for n = 1, link matrices of SU(n) otherwise."""
    if n == 1:
        return rng.uniform(-np.pi, np.pi, (chains, 2, *shape))
    return haar(rng, (chains, 2, *shape), n)


def spinor(rng, dirac):
    return rng.standard_normal(dirac.spinor_shape) + 1j * rng.standard_normal(dirac.spinor_shape)


def generators(n):
    """Hermitian traceless matrices with ``tr T_a T_b = delta_ab/2``."""
    basis = []
    for i in range(n):
        for j in range(i):
            for entry in (0.5, -0.5j):
                t = np.zeros((n, n), complex)
                t[j, i], t[i, j] = entry, np.conj(entry)
                basis.append(t)
        if i:
            basis.append(np.diag([1.0] * i + [-i] + [0.0] * (n - 1 - i)) / np.sqrt(2 * i * (i + 1)) + 0j)
    return np.array(basis)
