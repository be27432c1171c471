"""Two flavours of Wilson fermions, integrated out: what the theories that have them add to their action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import schwinger

from .. import measure_dirac
from .base import Array, U, Unsampled

# The largest hopping parameter that is taken: beyond, the extreme quark masses are of no interest and D is singular often.
LARGEST_KAPPA = 0.5
# The least singular value of D in test fields. Numerical derivatives move a field by 0.008 along unit vectors, where
# ``|dD| <= 2 sqrt(2) kappa |w|`` moves it by at most 0.012: it cannot vanish between.
LEAST_SINGULAR = 0.02
# Nominal seconds that one exact configuration may take: some thousands of them are what the smallest level asks for.
LONGEST_DRAW = 0.01
_PROBE_SECONDS, _PROBES = 1.0, (16, 512)
SMALLER = ((4, 4), (2, 4), (2, 2))


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

    def invertible(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """In which fields D is not nearly singular, see `LEAST_SINGULAR`."""
        return np.asarray(np.linalg.svd(self.matrix(x), compute_uv=False)[:, -1] >= LEAST_SINGULAR)

    def judged(self, x: NDArray[Any]) -> NDArray[Any]:
        """The fields in which D is not nearly singular; if there are none, the one where it is furthest from it."""
        good = self.invertible(x)
        if not good.any():
            good[np.argmax(np.linalg.svd(self.matrix(x), compute_uv=False)[:, -1])] = True
        return x[good]

    def _singular_values(self, x: NDArray[Any]) -> tuple[int, Array, Array]:
        """Rows of D, its largest and smallest singular values; of configurations that are finite."""
        x = x[np.isfinite(x).reshape(len(x), -1).all(axis=1)]
        d = self.matrix(x)
        s = np.linalg.svd(d, compute_uv=False)
        return int(d.shape[-1]), np.asarray(s[:, 0]), np.asarray(np.maximum(s[:, -1], U))


@dataclass(frozen=True)
class Rejection:
    """The exact sampler of a theory with fermions, by rejection, and whether it is fast enough to be used.

    Its acceptance falls exponentially with the volume. It is estimated once, from a small batch of weights of a fixed seed, and
    held against nominal times of this machine's class, so that the same target always gets the same checks.
    """

    beta: float
    kappa: float
    shape: tuple[int, int]
    antiperiodic: bool
    n: int

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[Any]:
        """Exact and independent fields; raises `Unsampled`."""
        if self.seconds > LONGEST_DRAW:
            raise Unsampled(self.refusal)
        arguments = (self.beta, self.kappa, self.shape, self.antiperiodic, self.n)
        try:
            return np.asarray(schwinger.sample(rng, count, *arguments))
        except ValueError as error:  # a batch whose weights are lower still than those of the estimate
            raise Unsampled(self.refusal) from error

    def starts(self, rng: np.random.Generator, count: int, flavours: Flavours) -> NDArray[Any]:
        """Fields to start from where equilibrium is not needed: exact ones, else of the pure gauge theory at the same beta."""
        return self.sample(rng, count) if self.seconds <= LONGEST_DRAW else self.pure_gauge(rng, count, flavours)

    def pure_gauge(self, rng: np.random.Generator, count: int, flavours: Flavours) -> NDArray[Any]:
        """Fields of the theory without fermions in which D is not nearly singular, as far as four tries for each find any."""
        x = schwinger.pure_gauge(rng, count, self.beta, self.shape, self.n)
        for _ in range(4):
            bad = np.flatnonzero(~flavours.invertible(x))
            if not len(bad):
                break
            x[bad] = schwinger.pure_gauge(rng, len(bad), self.beta, self.shape, self.n)
        return x

    @property
    def seconds(self) -> float:
        """Nominal, of one exact field."""
        return self._draw / max(self.acceptance, 1e-300)

    @property
    def acceptance(self) -> float:
        return _acceptance(self)

    @property
    def refusal(self) -> str:
        """Why there are no samples, and where there would be some."""
        smaller = [
            f"{shape[0]}x{shape[1]}"
            for shape in SMALLER
            if shape[0] * shape[1] < self.shape[0] * self.shape[1]
            and replace(self, shape=shape).seconds <= LONGEST_DRAW
        ]
        at = f"shape {' or '.join(smaller)}" if smaller else "a smaller kappa"
        return (
            f"needs exact equilibrium, and the sampler by rejection accepts {self.acceptance:.1e} of its draws at beta = "
            f"{self.beta:g}, kappa = {self.kappa:g}, shape {self.shape[0]}x{self.shape[1]}, some {self.seconds:.2g} s for a "
            f"configuration (at most {LONGEST_DRAW:g} s); judge it at {at}"
        )

    @property
    def _draw(self) -> float:
        """Nominal seconds of one draw: links, and a factorisation."""
        return 5e-5 * self.n**2 + 2.5e-10 * (2 * self.n * self.shape[0] * self.shape[1]) ** 3

    @property
    def _probes(self) -> int:
        return int(np.clip(_PROBE_SECONDS / self._draw, *_PROBES))


@lru_cache(maxsize=64)
def _acceptance(of: Rejection) -> float:
    x = schwinger.pure_gauge(np.random.default_rng(1), of._probes, of.beta, of.shape, of.n)
    bound = schwinger.largest_log_determinant(of.kappa, of.shape, of.n, of.antiperiodic)
    return float(np.exp(2 * (measure_dirac.log_determinant(x, of.kappa, of.antiperiodic) - bound)).mean())


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
        even_odd, mus, mu_reg = given
        try:
            own = cls(
                truth(even_odd, False),
                () if mus is None else tuple(float(mu) for mu in mus),
                0.0 if mu_reg is None else float(mu_reg),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"even_odd, mus, mu_reg: got {given}, expected a bool, numbers and a number") from error
        if not np.all(np.isfinite([own.mu_reg, *own.mus])):
            raise ValueError(f"mu_reg, mus: got {own.mu_reg} and {own.mus}, expected finite masses")
        if not own.mu_reg >= 0 or sorted({own.mu_reg, *own.mus}) != [own.mu_reg, *own.mus]:
            raise ValueError(f"mu_reg, mus: got {own.mu_reg} and {own.mus}, expected masses that increase from 0 on")
        return own

    @property
    def number(self) -> int:
        """Of fields."""
        return 1 + len(self.mus)


def truth(value: Any, default: bool) -> bool:
    """A declared bool, of Python, NumPy or as the number 0 or 1; raises `TypeError` for anything else, as a string."""
    if value is None:
        return default
    return bool(value) if isinstance(value, np.bool_) else bool(index(value))


def parsed(given: Mapping[str, Any]) -> tuple[float, bool]:
    """Hopping parameter (0 where there is none) and boundary condition of declared attributes; raises `ValueError`."""
    kappa, antiperiodic = given.get("kappa"), given.get("antiperiodic")
    try:
        kappa = 0.0 if kappa is None else float(kappa)
        antiperiodic = truth(antiperiodic, True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kappa, antiperiodic: got {kappa!r} and {antiperiodic!r}, expected a number and True or False"
        ) from error
    if not 0 <= kappa <= LARGEST_KAPPA:
        raise ValueError(f"kappa: got {kappa}, expected a number from 0 to {LARGEST_KAPPA:g}")
    return kappa, antiperiodic
