"""The package's own answers to the pieces of what is read off fields and averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refimpl import actions, kernels, observables
from refimpl.actions import wilson_dirac
from refimpl.observables import scalars


def _couplings(converted: tuple[Any, float]) -> tuple[tuple[float, float], float]:
    action, factor = converted
    return (action.m2, action.lam), factor


READINGS: dict[str, Callable[..., Any]] = {
    "observables.polyakov_loop": observables.polyakov_loop,
    "observables.effective_mass_early": lambda c: observables.effective_mass(c)[:, : np.shape(c)[1] // 2],
    "observables.three_point_mass": scalars.three_point_mass,
    "observables.susceptibility": scalars.susceptibility,
    "observables.connected_susceptibility": scalars.connected_susceptibility,
    "observables.binder_cumulant": scalars.binder_cumulant,
    "observables.charge_susceptibility": observables.charge_susceptibility,
    "observables.tunnelling_rate": observables.tunnelling_rate,
    "observables.extreme_eigenvalues": lambda x, kappa, *told: observables.extreme_eigenvalues(
        wilson_dirac(x, kappa), *told
    ),
    "observables.hasenbusch_spectra": lambda x, kappa, even_odd, mus, mu_reg: observables.hasenbusch_spectra(
        wilson_dirac(x, kappa), mus, even_odd, mu_reg
    ),
    "observables.monomial_eigenvalues": observables.monomial_eigenvalues,
    "observables.quantiles": observables.quantiles,
    "observables.effective_mass_estimate": observables.effective_mass_estimate,
    "kernels.matched_beta": kernels.matched_beta,
    "actions.from_quartic": lambda g: actions.from_quartic(0.5, g).lam,
    "actions.to_hopping": actions.to_hopping,
    "actions.from_hopping": lambda kappa, lam: _couplings(actions.from_hopping(kappa, lam)),
    "actions.to_unhalved": actions.to_unhalved,
    "actions.from_unhalved": lambda m2, lam: _couplings(actions.from_unhalved(m2, lam)),
}
