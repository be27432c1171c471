"""Free Wilson fermions in two dimensions, in momentum space.

On plane waves the operator of Abbott 2022, eq. 5, is the 2 x 2 matrix
``D(p) = 1 - 2 kappa sum_mu cos p_mu + 2 i kappa sum_mu sigma_mu sin p_mu``, with determinant
``(1 - 2 kappa sum_mu cos p_mu)^2 + 4 kappa^2 sum_mu sin^2 p_mu``. A constant field ``U_mu = exp(i a_mu)`` shifts
``p_mu`` by ``a_mu``.
"""

from __future__ import annotations

import math

import numpy as np


def log_determinant(
    kappa: float, shape: tuple[int, int], angles: tuple[float, float] = (0.0, 0.0), *, antiperiodic: bool = True
) -> float:
    """``log det D`` on ``T x X`` sites in the constant U(1) field of link angles ``(a_0, a_1)``; ``-inf`` where singular.

    The determinant is not negative. Constant commuting SU(N) links: the sum over their N eigenphases.

    Parameters
    ----------
    kappa : finite, not negative. shape : ``(T, X)``, each at least 2. antiperiodic : in time, ``p_0 = (2 k + 1) pi/T``.
    """
    if not math.isfinite(kappa) or kappa < 0:
        raise ValueError(f"kappa: got {kappa!r}, expected a finite number >= 0")
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(f"shape: got {shape!r}, expected two extents of at least 2")
    n_t, n_x = shape
    p_0 = 2 * np.pi * (np.arange(n_t) + antiperiodic / 2)[:, None] / n_t + angles[0]
    p_1 = 2 * np.pi * np.arange(n_x) / n_x + angles[1]
    scalar = 1 - 2 * kappa * (np.cos(p_0) + np.cos(p_1))
    vector = 4 * kappa**2 * (np.sin(p_0) ** 2 + np.sin(p_1) ** 2)
    with np.errstate(divide="ignore"):
        return float(np.log(scalar**2 + vector).sum())
