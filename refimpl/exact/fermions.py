"""Free Wilson fermions in two dimensions, in momentum space.

On plane waves the operator of Abbott 2022, eq. 5, is the 2 x 2 matrix
``D(p) = 1 - 2 kappa sum_mu cos p_mu + 2 i kappa sum_mu sigma_mu sin p_mu``, with determinant
``(1 - 2 kappa sum_mu cos p_mu)^2 + 4 kappa^2 sum_mu sin^2 p_mu``. A constant field ``U_mu = exp(i a_mu)`` shifts
``p_mu`` by ``a_mu``.
"""

from __future__ import annotations

import numpy as np

# Beyond physics by a factor of thousands; far above it powers of kappa overflow, and ``tr D^-1`` is lost in rounding.
LARGEST_KAPPA = 1e3


def check_kappa(kappa: float) -> None:
    """Raises `ValueError` unless ``0 <= kappa <= LARGEST_KAPPA``."""
    if not (isinstance(kappa, int | float | np.number) and 0 <= kappa <= LARGEST_KAPPA):  # False for NaN
        raise ValueError(f"kappa: got {kappa!r}, expected a finite number >= 0 and at most {LARGEST_KAPPA:g}")


def log_determinant(
    kappa: float, shape: tuple[int, int], angles: tuple[float, float] = (0.0, 0.0), *, antiperiodic: bool = True
) -> float:
    """``log det D`` on ``T x X`` sites in the constant U(1) field of link angles ``(a_0, a_1)``; ``-inf`` where singular.

    The determinant is not negative. Constant commuting SU(N) links: the sum over their N eigenphases.

    Parameters
    ----------
    kappa : from 0 to `LARGEST_KAPPA`. shape : ``(T, X)``, each at least 2. antiperiodic : in time, ``p_0 = (2 k + 1) pi/T``.
    """
    check_kappa(kappa)
    if len(shape) != 2 or any(type(n) is bool or not isinstance(n, int | np.integer) or n < 2 for n in shape):
        raise ValueError(f"shape: got {shape!r}, expected two integers of at least 2")
    n_t, n_x = shape
    p_0 = 2 * np.pi * (np.arange(n_t) + antiperiodic / 2)[:, None] / n_t + angles[0]
    p_1 = 2 * np.pi * np.arange(n_x) / n_x + angles[1]
    scalar = 1 - 2 * kappa * (np.cos(p_0) + np.cos(p_1))
    vector = 4 * kappa**2 * (np.sin(p_0) ** 2 + np.sin(p_1) ** 2)
    with np.errstate(divide="ignore"):
        return float(np.log(scalar**2 + vector).sum())
