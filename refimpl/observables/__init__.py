"""Observables of gauge fields, one value per chain unless a docstring says otherwise.

`gauge`: plaquette, loops, charges, of the links. `fermions`: pseudoscalar correlator, effective mass, chiral condensate, of the
Wilson-Dirac operator (`refimpl.actions.wilson_dirac`). `spectra`: its extreme eigenvalues, condition numbers and the spectra of
Hasenbusch monomials. `scalars`: correlator, moments and magnetisation of scalar fields, by the name of that module.
`quantities`: observables as objects with a name.
"""

from .fermions import (
    EffectiveMass,
    chiral_condensate,
    chiral_condensate_estimate,
    effective_mass,
    effective_mass_estimate,
    pseudoscalar_correlator,
)
from .gauge import (
    charge,
    charge_susceptibility,
    mean_plaquette,
    plaquette_and_charges,
    polyakov_loop,
    sine_charge,
    tunnelling_rate,
    wilson_loop,
)
from .quantities import Correlator, FieldMoment, Plaquette, Quantity, WilsonLoop, quantity
from .spectra import (
    Quantiles,
    condition_numbers,
    eigenvalues,
    extreme_eigenvalues,
    hasenbusch_spectra,
    monomial_eigenvalues,
    monomial_masses,
    quantiles,
)

__all__ = [
    "Correlator",
    "EffectiveMass",
    "FieldMoment",
    "Plaquette",
    "Quantiles",
    "Quantity",
    "WilsonLoop",
    "charge",
    "charge_susceptibility",
    "chiral_condensate",
    "chiral_condensate_estimate",
    "condition_numbers",
    "effective_mass",
    "effective_mass_estimate",
    "eigenvalues",
    "extreme_eigenvalues",
    "hasenbusch_spectra",
    "mean_plaquette",
    "monomial_eigenvalues",
    "monomial_masses",
    "plaquette_and_charges",
    "polyakov_loop",
    "pseudoscalar_correlator",
    "quantiles",
    "quantity",
    "sine_charge",
    "tunnelling_rate",
    "wilson_loop",
]
