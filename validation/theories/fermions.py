"""Two flavours of Wilson fermions, integrated out: what the theories that have them add to their action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import measure_dirac
from .base import Array, U

# The largest hopping parameter that is taken: beyond, the extreme quark masses are of no interest and D is singular often.
LARGEST_KAPPA = 0.5


@dataclass(frozen=True)
class Flavours:
    """``-2 log |det D|`` of a hopping parameter, with the generators along which the links move (the number 1 for angles)."""

    kappa: float
    antiperiodic: bool
    generators: NDArray[np.complex128]

    def action(self, x: NDArray[Any]) -> Array:
        return -2 * self.log_determinant(x)

    def log_determinant(self, x: NDArray[Any]) -> Array:
        return measure_dirac.log_determinant(x, self.kappa, self.antiperiodic)

    def loop_action(self, x: NDArray[Any]) -> float:
        return -2 * float(np.linalg.slogdet(self.matrix(x[None])[0])[1])

    def loop_force(self, x: NDArray[Any]) -> Array:
        """``(2, T, X, generator)``."""
        return measure_dirac.determinant_force(x, self.generators, self.kappa, self.antiperiodic)

    def matrix(self, x: NDArray[Any]) -> NDArray[np.complex128]:
        return measure_dirac.dirac_matrix(x, self.kappa, self.antiperiodic)

    def action_rounding(self, x: NDArray[Any]) -> float:
        """A factorisation is that of a matrix off by some ``n U |D|``: ``tr(D^-1 dD)`` of it is at most ``n cond(D)`` of that."""
        n, largest, least = self._singular_values(x)
        return float(8 * n * n * U * (largest / least).max())

    def force_rounding(self, x: NDArray[Any]) -> float:
        """Entries of the inverse are wrong by some ``n U cond(D)/s_min``; a link has ``4 N`` of size kappa in either hop."""
        n, largest, least = self._singular_values(x)
        return float(32 * self.generators.shape[-1] * self.kappa * n * U * (largest / least**2).max())

    def _singular_values(self, x: NDArray[Any]) -> tuple[int, Array, Array]:
        """Rows of D, its largest and smallest singular values; of configurations that are finite."""
        x = x[np.isfinite(x).reshape(len(x), -1).all(axis=1)]
        d = self.matrix(x)
        s = np.linalg.svd(d, compute_uv=False)
        return int(d.shape[-1]), np.asarray(s[:, 0]), np.asarray(np.maximum(s[:, -1], U))


class Monomials(NamedTuple):
    """Pseudofermions as declared: ``S_m = phi^dag [1 + (m_{k+1} - m_k)(M + m_k)^-1] phi`` for the masses ``mu_reg, *mus``, the last
    one ``phi^dag (M + m)^-1 phi``; ``M = D D^dag``, on even sites ``D_sc D_sc^dag``."""

    even_odd: bool
    mus: tuple[float, ...]
    mu_reg: float

    @classmethod
    def declared(cls, target: Any) -> Monomials:
        """From the attributes of a target; raises `ValueError`."""
        given = [getattr(target, name, None) for name in ("even_odd", "mus", "mu_reg")]
        try:
            own = cls(bool(given[0] or False), tuple(float(mu) for mu in given[1] or ()), float(given[2] or 0.0))
        except (TypeError, ValueError) as error:
            raise ValueError(f"even_odd, mus, mu_reg: got {given}, expected a bool, numbers and a number") from error
        if not own.mu_reg >= 0 or sorted({own.mu_reg, *own.mus}) != [own.mu_reg, *own.mus]:
            raise ValueError(f"mu_reg, mus: got {own.mu_reg} and {own.mus}, expected masses that increase from 0 on")
        return own

    @property
    def number(self) -> int:
        """Of fields."""
        return 1 + len(self.mus)


def parsed(given: Mapping[str, Any]) -> tuple[float, bool]:
    """Hopping parameter (0 where there is none) and boundary condition of declared attributes; raises `ValueError`."""
    kappa, antiperiodic = given.get("kappa"), given.get("antiperiodic")
    try:
        kappa = 0.0 if kappa is None else float(kappa)
        antiperiodic = True if antiperiodic is None else bool(index(antiperiodic))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kappa, antiperiodic: got {kappa!r} and {antiperiodic!r}, expected a number and True or False"
        ) from error
    if not 0 <= kappa <= LARGEST_KAPPA:
        raise ValueError(f"kappa: got {kappa}, expected a number from 0 to {LARGEST_KAPPA:g}")
    return kappa, antiperiodic
