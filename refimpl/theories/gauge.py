"""Two-dimensional gauge theories: U(1), SU(2) and SU(3), and two flavours of Wilson fermions on their links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import actions, exact, observables
from ..groups import SUN
from ..lattice import check_number, check_shape
from .base import Array, Sampler, Squared, Theory, by_sector
from .matching import pure_gauge_beta

# Sites of the largest lattice where exact configurations with quarks are drawn by rejection: a millisecond each there, more than
# a second on 8 x 8. Not of SU(3), where less than one draw in 10,000 is accepted.
EXACT_SITES = 16
LOOP = 2  # sides of the Wilson loop that is recorded, where the lattice is larger


def u1(beta: float, shape: tuple[int, int]) -> Theory:
    """Two-dimensional U(1), `refimpl.actions.WilsonU1`."""
    shape = check_shape(shape)
    volume = shape[0] * shape[1]
    return Theory(
        "u1",
        {"beta": beta, "shape": list(shape)},
        actions.WilsonU1(beta),
        (2, *shape),
        lambda rng, n: exact.u1.sample(rng, n, beta, shape),
        lambda rng, n: rng.uniform(-np.pi, np.pi, (n, 2, *shape)),
        CHARGES,
        lambda: {
            "plaquette": exact.u1.plaquette(beta, shape),
            "sine_charge": 0.0,
            "charge^2": volume * exact.u1.charge_susceptibility(beta, shape),
            "sine_charge^2": volume * exact.u1.sine_charge_susceptibility(beta, shape),
        },
        observables.charge,
        "charge",
        lambda: by_sector(exact.u1.charge_distribution(beta, shape)),
        TOGETHER,
        at_beta=lambda other: u1(other, shape),
    )


def schwinger(beta: float, kappa: float, shape: tuple[int, int]) -> Theory:
    """The Schwinger model: U(1) with two flavours of Wilson fermions, ``WilsonU1(beta) + WilsonDeterminant(kappa)``.

    Fermions are antiperiodic in time. ``kappa`` is above 0: without fermions the theory is `u1`.
    """
    shape = check_shape(shape)
    check_number("kappa", kappa, 0, above=True)
    action = actions.WilsonU1(beta) + actions.WilsonDeterminant(kappa)
    solved = shape == (2, 2) and beta <= exact.schwinger_2x2.LARGEST_BETA

    def answers() -> Mapping[str, float]:
        if not solved:
            return {"sine_charge": 0.0}
        integrals = exact.schwinger_2x2.two_by_two(beta, kappa)
        return {"plaquette": integrals.plaquette, "sine_charge": 0.0, "charge^2": integrals.charge_squared}

    return Theory(
        "schwinger",
        {"beta": beta, "kappa": kappa, "shape": list(shape)},
        action,
        (2, *shape),
        _rejection(beta, kappa, shape, 1),
        lambda rng, n: rng.uniform(-np.pi, np.pi, (n, 2, *shape)),
        {**CHARGES, "polyakov": observables.polyakov_loop},
        answers,
        observables.charge,
        "charge",
        lambda: exact.schwinger_2x2.two_by_two(beta, kappa).charge_distribution if solved else {},
        TOGETHER,
        near=lambda rng, n: exact.u1.sample(rng, n, pure_gauge_beta(beta, kappa, shape), shape),
        symmetric=True,  # charge conjugation
    )


def su2(beta: float, shape: tuple[int, int], kappa: float = 0.0) -> Theory:
    """Two-dimensional SU(2), `refimpl.actions.WilsonSUN`; where kappa is not 0 with two flavours of Wilson fermions."""
    return _sun(beta, shape, kappa, 2)


def su3(beta: float, shape: tuple[int, int], kappa: float = 0.0) -> Theory:
    """Two-dimensional SU(3), as `su2`."""
    return _sun(beta, shape, kappa, 3)


def _sun(beta: float, shape: tuple[int, int], kappa: float, n: int) -> Theory:
    shape = check_shape(shape)
    check_number("kappa", kappa, 0)
    action: Any = actions.WilsonSUN(beta, n)
    if kappa:
        action += actions.WilsonDeterminant(kappa, n)
    found: dict[str, Callable[[Array], Array]] = {"plaquette": observables.mean_plaquette}
    contractible = min(shape) > LOOP
    if contractible:
        found[f"wilson_loop_{LOOP}x{LOOP}"] = observables.WilsonLoop(LOOP, LOOP)

    def answers() -> Mapping[str, float]:
        if kappa or beta > exact.sun.HIGHEST_BETA:
            return {}
        loop = {f"wilson_loop_{LOOP}x{LOOP}": exact.sun.wilson_loop(beta, shape, LOOP**2, n)} if contractible else {}
        # A centre element on the links of one time slice leaves the action as it is and turns the Polyakov loop.
        return {"plaquette": exact.sun.plaquette(beta, shape, n), **loop, "polyakov": 0.0}

    def matched() -> float:
        return pure_gauge_beta(beta, kappa, shape, n)

    return Theory(
        f"su{n}",
        {"beta": beta, "shape": list(shape), "kappa": kappa},
        action,
        (2, *shape, n, n),
        _rejection(beta, kappa, shape, n) if kappa else lambda rng, count: exact.sun.sample(rng, count, beta, shape, n),
        lambda rng, count: SUN(n).haar(rng, (count, 2, *shape)),
        {**found, "polyakov": observables.polyakov_loop},
        answers,
        near=None if not kappa else lambda rng, count: exact.sun.sample(rng, count, matched(), shape, n),
        at_beta=None if kappa else lambda other: _sun(other, shape, 0.0, n),
    )


def _rejection(beta: float, kappa: float, shape: tuple[int, int], n: int) -> Sampler | None:
    """The exact sampler with quarks, where it is fast and its bound is proven for all extents."""
    if shape[0] * shape[1] > EXACT_SITES or n > 2 or kappa > 0.5:
        return None
    return lambda rng, count: exact.schwinger.sample(rng, count, beta, kappa, shape, n=n)


# Observables are objects that other processes can be sent, and so no lambdas.
CHARGES: dict[str, Callable[[Array], Array]] = {
    "plaquette": observables.mean_plaquette,
    "sine_charge": observables.sine_charge,
    "charge^2": Squared(observables.charge),
    "sine_charge^2": Squared(observables.sine_charge),
}
TOGETHER: Mapping[tuple[str, ...], Callable[[Array], tuple[NDArray[Any], ...]]] = {
    ("plaquette", "sine_charge", "charge"): observables.plaquette_and_charges
}
