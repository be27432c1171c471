"""Scalar fields: the two-dimensional phi^4 theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import actions, exact
from ..observables import Correlator, scalars
from .base import Array, Sampler, Squared, Theory

LARGEST_TIME = 20  # of the correlators that are recorded
# Normal numbers that rejection may take for a configuration, by the bound of its acceptance: 60 ms at worst, commonly 1 ms.
AFFORDABLE = 1_000_000


def phi4(m2: float, lam: float, shape: tuple[int, int]) -> Theory:
    """The theory of one real field, `refimpl.actions.Phi4`; free where ``lam`` is 0. Extents of 1 and 2 are lattices too.

    There is an exact sampler where rejection from a free field is cheap: always at ``lam = 0``, at ``lam = 24`` up to some 8 x 8
    sites, at ``lam = 0.1`` up to thousands. Exact answers are those of `refimpl.exact.phi4`: at ``lam = 0``, or where an extent is
    1 or 2; of all others only those that follow from symmetry. Sectors are the signs of the magnetisation, between which chains
    tunnel where ``m2`` is negative enough.
    """
    action, shape = actions.Phi4(m2, lam), exact.free_scalar.checked_shape(shape)
    times = range(min(shape[0] // 2, LARGEST_TIME) + 1)
    return Theory(
        "phi4",
        {"m2": m2, "lam": lam, "shape": list(shape)},
        action,
        shape,
        _sampler(m2, lam, shape),
        lambda rng, n: rng.standard_normal((n, *shape)),
        {
            "phi^2": scalars.phi_squared,
            "phi^4": scalars.phi_fourth,
            "magnetisation": scalars.magnetisation,
            "|magnetisation|": absolute_magnetisation,
            "magnetisation^2": Squared(scalars.magnetisation),
            **{f"correlator_{t}": Correlator(t) for t in times},
        },
        lambda: _answers(m2, lam, shape, times),
        magnetisation_sign,
        "sign",
        lambda: {-1: 0.5, 1: 0.5},
        {
            (
                "phi^2",
                "phi^4",
                "magnetisation",
                "|magnetisation|",
                *(f"correlator_{t}" for t in times),
                "sign",
            ): Measured(len(times))
        },
        near=lambda rng, n: exact.free_scalar.sample(rng, n, exact.phi4.free_mass(m2, lam, shape), shape),
        symmetric=True,
        odd=("magnetisation",),
    )


def _sampler(m2: float, lam: float, shape: tuple[int, int]) -> Sampler | None:
    """The exact sampler, where a configuration is known to take no more random numbers than is affordable."""
    if lam and math.prod(shape) > AFFORDABLE * exact.phi4.acceptance_bound(m2, lam, shape):
        return None
    return lambda rng, n: exact.phi4.sample(rng, n, m2, lam, shape)


def _answers(m2: float, lam: float, shape: tuple[int, int], times: range) -> Mapping[str, float]:
    symmetry = {"magnetisation": 0.0}
    if lam and min(shape) > exact.phi4.WIDEST:
        return symmetry
    try:
        found = exact.phi4.answers(m2, lam, shape)
    except ValueError:  # the field spreads too far for a quadrature
        return symmetry
    free = {} if lam else {"|magnetisation|": exact.free_scalar.absolute_magnetisation(m2, shape)}
    return {
        "phi^2": found.phi_squared,
        "phi^4": found.phi_fourth,
        **symmetry,
        **free,
        "magnetisation^2": found.susceptibility / math.prod(shape),
        **{f"correlator_{t}": float(found.correlator[t]) for t in times},
    }


# Observables are objects that other processes can be sent, and so no lambdas.


@dataclass(frozen=True)
class Measured:
    """What a run records of a field, in one pass: moments, magnetisation, ``n_times`` correlators, and the sign."""

    n_times: int

    def __call__(self, x: Array) -> tuple[NDArray[Any], ...]:
        m = scalars.magnetisation(x)
        correlators = np.ascontiguousarray(scalars.correlator(x)[:, : self.n_times].T)
        return scalars.phi_squared(x), scalars.phi_fourth(x), m, np.abs(m), *correlators, _sign(m)


def absolute_magnetisation(x: Array) -> Array:
    """``|m|``."""
    return np.abs(scalars.magnetisation(x))


def magnetisation_sign(x: Array) -> NDArray[np.int64]:
    """1 where the magnetisation is 0 or more, -1 where it is negative."""
    return _sign(scalars.magnetisation(x))


def _sign(m: Array) -> NDArray[np.int64]:
    return np.where(m < 0, -1, 1).astype(np.int64)
