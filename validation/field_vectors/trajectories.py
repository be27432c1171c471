"""Trajectories of palindromic integrators in extended precision, of all theories alike.

What suites `leapfrog`, `omelyan` and `updates` are made of. An integrator is a list of coefficients, (kick, drift, ..., kick).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import BITS, ONE, Fixed
from ..measure_matrices import GENERATORS
from ..suites.fermion import random_links
from . import decimals, sun
from .decimals import LEAPFROG, O2, U1, Mixture, Phi4, Stages, Theory, digits, rounded, wrapped
from .gmm import SKEW

GAUSSIAN: dict[str, Any] = {"covariance": [[1.0, 0.75], [0.75, 2.0]], "mean": [1.0, -2.0]}
CONVENTIONS = (
    "one step: v -= eps/2 dS/dx, x += eps v (links: U -> exp(i eps v_a T_a) U), v -= eps/2 dS/dx; n_steps of these "
    "with step_size eps; "
    "momenta like the force, H = S + sum v^2/2; angles compared on the circle, stored in [-pi, pi)"
)
DERIVATION = (
    "step by step in decimal arithmetic of 50 digits (SU(2): 51, exponentials by their series) from the float64 "
    "numbers, rounded once"
)


class Start(NamedTuple):
    """A theory at its parameters, with fields and momenta of some chains."""

    name: str
    theory: str
    parameters: dict[str, Any]
    x: NDArray[Any]
    v: NDArray[np.float64]

    @property
    def angular(self) -> bool:
        return self.theory in ("u1", "o2")


class Arrival(NamedTuple):
    """Where a trajectory of one chain ends, and by how much H has grown."""

    x: NDArray[Any]
    v: NDArray[np.float64]
    delta_h: float


def starts(rng: np.random.Generator, chains: int) -> Iterator[Start]:
    """Ordinary fields of every theory: neither ordered nor hot, so that trajectories are those of a run."""
    for shape, beta in (((4, 4), 2.0), ((2, 3), 4.0)):
        x = _wrap(rng.normal(0, 0.8, (chains, 2, *shape)))
        yield Start(f"u1-{shape[0]}x{shape[1]}", "u1", {"beta": beta, "shape": list(shape)}, x, _normal(rng, x.shape))
    x = _wrap(rng.normal(0, 1.0, (chains, 8)))
    yield Start("o2-8", "o2", {"beta": 2.0, "length": 8}, x, _normal(rng, x.shape))
    x = rng.normal(0, 1.5, (chains, 2))
    yield Start("gaussian-2", "gaussian", GAUSSIAN, x, _normal(rng, x.shape))
    x = rng.normal(0, 1.5, (chains, 2))
    yield Start("gmm-3", "gmm", SKEW, x, _normal(rng, x.shape))
    for label, m2, lam in (("strong", 0.1, 6.0), ("broken", -1.0, 2.4)):
        x = rng.normal(0, 0.8, (chains, 4, 6))
        parameters = {"m2": m2, "lam": lam, "shape": [4, 6]}
        yield Start(f"phi4-{label}-4x6", "phi4", parameters, x, _normal(rng, x.shape))
    x = np.stack([random_links(rng, 2, (2, 2), 0.5) for _ in range(chains)])
    yield Start("su2-2x2", "su2", {"beta": 2.0, "shape": [2, 2]}, x, _normal(rng, (chains, 2, 2, 2, 3)))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return rng.standard_normal(shape)


def _wrap(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(x, -3.1, 3.1))


def arrivals(start: Start, step_size: float, n_steps: int, sign: int = 1, stages: Stages = LEAPFROG) -> list[Arrival]:
    """The end of every chain, of the map (``sign`` 1) or of its inverse: flip the momenta, go ahead, flip."""
    pairs = zip(start.x, sign * start.v, strict=True)
    if start.theory == "su2":
        ends = [_of_links(x, v, start.parameters["beta"], step_size, n_steps, stages) for x, v in pairs]
    else:
        theory = _theory(start)
        ends = [_of_numbers(theory, x, v, step_size, n_steps, start.angular, stages) for x, v in pairs]
    return [end._replace(v=sign * end.v) for end in ends]


def _theory(start: Start) -> Theory:
    p = start.parameters
    if start.theory == "phi4":
        return Phi4(p["m2"], p["lam"])
    if start.theory == "gaussian":
        return Mixture([1.0], [p["mean"]], [p["covariance"]])
    if start.theory == "gmm":
        return Mixture(**p)
    return U1(p["beta"]) if start.theory == "u1" else O2(p["beta"])


def _of_numbers(
    theory: Theory, x: Any, v: Any, step_size: float, n_steps: int, angular: bool, stages: Stages
) -> Arrival:
    with digits():
        first, momenta = decimals.decimals(x), decimals.decimals(v)
        end, last = decimals.integrated(theory, first, momenta, step_size, n_steps, stages)
        delta_h = decimals.energy(theory, end, last) - decimals.energy(theory, first, momenta)
        return Arrival(rounded(wrapped(end) if angular else end), rounded(last), float(delta_h))


def _of_links(x: Any, v: Any, beta: float, step_size: float, n_steps: int, stages: Stages) -> Arrival:
    first, momenta = Fixed.of(x), Fixed.of(v).re
    with digits():
        times = [int(Decimal(step_size) * stage * ONE) for stage in stages]
    end, last = first, momenta
    for _ in range(n_steps):
        for k, time in enumerate(times):
            if k % 2:
                end = _drifted(end, time * last >> BITS)
            else:
                last = last - (time * sun.force(end, beta) >> BITS)
    delta_h = _energy(end, last, beta) - _energy(first, momenta, beta)
    return Arrival(end.rounded(), sun.rounded_force(last), float(delta_h))


def _energy(x: Fixed, v: NDArray[np.object_], beta: float) -> Decimal:
    with digits():
        kinetic = Decimal(int((v * v).sum())) / (2 * Decimal(ONE) ** 2)
        colours = x.re.shape[-1]
        return kinetic - Decimal(beta) * Decimal(sun.total_trace(x, 1, 1)) / (colours * Decimal(ONE))


def _drifted(x: Fixed, w: NDArray[np.object_]) -> Fixed:
    """``exp(i w_a T_a) U`` of every link, by the Taylor series."""
    halves = [Fixed.of(generator) for generator in GENERATORS[2]]
    re, im = x.re.copy(), x.im.copy()
    for mu, t, s in np.ndindex(x.re.shape[:3]):
        generator = Fixed.zeros(2, 2)
        for a, half in enumerate(halves):
            generator = generator + Fixed(half.re * w[mu, t, s, a] >> BITS, half.im * w[mu, t, s, a] >> BITS)
        generator = generator.rotated(1j)
        term = total = Fixed.eye(2)
        for k in range(1, 50):
            term = term @ generator
            term = Fixed(term.re // k, term.im // k)
            total = total + term
        moved = total @ x[mu, t, s]
        re[mu, t, s], im[mu, t, s] = moved.re, moved.im
    return Fixed(re, im)
