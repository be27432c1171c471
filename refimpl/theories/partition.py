"""Exact partition functions of theories, where they are known: what ``E_q[exp(-S)/q]`` is, for a flow's density q."""

from __future__ import annotations

import math

from .. import exact
from .base import Theory


def log_partition(theory: Theory) -> float | None:
    """``log int exp(-S)`` over ``d phi``, ``d theta``, or Haar measure of volume 1; None where it is not known.

    Known are pure gauge theories, the Schwinger model on 2 x 2 sites, and phi^4 where `refimpl.exact.phi4` has answers.
    """
    p = theory.parameters
    shape = tuple(p.get("shape", ()))
    angles = math.prod(theory.field_shape) * math.log(2 * math.pi)
    if theory.name == "u1":
        return exact.u1.log_partition(p["beta"], shape) + angles
    if theory.name == "schwinger" and shape == (2, 2) and p["beta"] <= exact.schwinger_2x2.LARGEST_BETA:
        fermions = exact.schwinger_2x2.two_by_two(p["beta"], p["kappa"]).log_z
        return exact.u1.log_partition(p["beta"], shape) + angles + fermions
    if theory.name in ("su2", "su3") and not p["kappa"] and p["beta"] <= exact.sun.HIGHEST_BETA:
        return exact.sun.log_partition(p["beta"], shape, theory.colours)
    if theory.name == "phi4" and (p["lam"] == 0 or min(shape) <= exact.phi4.WIDEST):
        try:
            return exact.phi4.answers(p["m2"], p["lam"], shape).log_partition
        except ValueError:  # the field spreads too far for a quadrature
            return None
    return None
