"""Leapfrog on the harmonic oscillator ``S = omega^2 x^2/2``, in closed form.

With ``h = step_size omega < 2`` a step rotates phase space by ``mu``, ``cos mu = 1 - h^2/2``, along an ellipse of axis ratio
``kappa = sqrt(1 - h^2/4)``. After ``N`` steps from equilibrium the energy error is governed by
``d = |sin N mu| (1/kappa - kappa)``.
"""

from __future__ import annotations

import math


def energy_error_scale(omega: float, step_size: float, n_steps: int) -> float:
    """``d = |sin N mu| (1/kappa - kappa)``; raises `ValueError` where leapfrog is unstable (``h >= 2``)."""
    try:
        h = float(step_size * omega)
    except (TypeError, ValueError):
        h = math.nan
    if not 0 < h < 2:
        raise ValueError(f"step_size * omega: got {h}, expected a number between 0 and 2 (leapfrog is unstable beyond)")
    kappa = math.sqrt(1 - h * h / 4)
    return abs(math.sin(n_steps * 2 * math.asin(h / 2))) * (h * h / 4 / kappa)  # mu and 1/kappa - kappa, not cancelling


def mean_energy_error(omega: float, step_size: float, n_steps: int) -> float:
    """``<H' - H> = d^2/2`` over equilibrium, per degree of freedom."""
    return energy_error_scale(omega, step_size, n_steps) ** 2 / 2


def acceptance(omega: float, step_size: float, n_steps: int) -> float:
    """Exact mean acceptance in one dimension, ``(4/pi) atan(2/(d + sqrt(d^2 + 4)))``.

    The usual ``erfc(sqrt(<dH>)/2)`` is its many-dimensional limit and is off by up to 0.25 here.
    """
    d = energy_error_scale(omega, step_size, n_steps)
    return 4 / math.pi * math.atan(2 / (d + math.sqrt(d * d + 4)))


def unadjusted_variance(omega: float, step_size: float) -> float:
    """Stationary ``<x^2>`` without accept/reject, ``1/(omega^2 (1 - h^2/4))`` for any number of steps."""
    energy_error_scale(omega, step_size, 1)
    return 1 / (omega**2 * (1 - (step_size * omega) ** 2 / 4))
