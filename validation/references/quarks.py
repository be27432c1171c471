"""The package's own answers to the pieces of fermions: the Dirac operator, and estimates of its determinant from given noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refimpl import observables
from refimpl.actions import Pseudofermion, gamma5, solve, wilson_dirac
from refimpl.actions.dirac import WilsonDirac
from refimpl.estimators import determinant, log_determinant
from refimpl.lattice import parity_mask
from refimpl.observables import spectra
from refimpl.observables.spectra import monomial_masses
from refimpl.streams import streams


def _operator(x: Any, kappa: float, antiperiodic: bool) -> WilsonDirac:
    return wilson_dirac(x, kappa, antiperiodic=antiperiodic)


def _heat_bath(
    x: Any, kappa: float, antiperiodic: bool, n: int, even_odd: bool, mu: float, mu_next: float | None, chi: Any
) -> Any:
    return Pseudofermion(kappa, n, even_odd, mu, mu_next, antiperiodic).heat_bath(x, chi)


def _weights(x: Any, kappa: float, even_odd: bool, mus: Any, mu_reg: float, scales: Any, chi: Any) -> Any:
    """One chain after the other."""
    dirac = wilson_dirac(x, kappa)
    matrices = spectra.hermitian_matrix(dirac, even_odd=even_odd)
    chirality, masses = spectra.chirality(dirac, even_odd=even_odd), monomial_masses(mus, mu_reg)
    forms = [determinant.SpectralForms(masses, chirality, q) for q in matrices]
    scales = np.array(scales)
    return np.array([determinant.gaussian_log_weights(c, f, scales) for c, f in zip(chi, forms, strict=True)])


def _estimate(*arguments: Any) -> Any:
    return determinant.averaged_log_weight(_weights(*arguments)).sum(axis=-1)


def _forms(x: Any, kappa: float, even_odd: bool, mus: Any, mu_reg: float, phi: Any) -> Any:
    dirac = wilson_dirac(x, kappa)
    return determinant.monomial_forms(dirac, phi, even_odd=even_odd, mus=mus, mu_reg=mu_reg)


def _log_estimate(x: Any, kappa: float, even_odd: bool, z: Any) -> Any:
    return log_determinant.exact_estimates(wilson_dirac(x, kappa), z, even_odd, "z2")[0]


def _log_laws(x: Any, kappa: float, even_odd: bool) -> Any:
    laws = [
        log_determinant.log_determinant_estimate(
            streams(0, len(x)), wilson_dirac(x, kappa), 1, even_odd=even_odd, noise=noise
        )
        for noise in log_determinant.NOISES
    ]
    return laws[0][1].log_determinant, *(quadrature.variance for _, quadrature in laws)


def _bounds(x: Any, kappa: float, even_odd: bool, z: Any, steps: int, floor: Any) -> Any:
    operator = log_determinant.normal_operator(wilson_dirac(x, kappa), even_odd)
    return log_determinant.lanczos_quadrature(operator, z[:, 0], steps, floor)


QUARKS: dict[str, Callable[..., Any]] = {
    "dirac.apply": lambda x, kappa, antiperiodic, psi: _operator(x, kappa, antiperiodic).apply(psi),
    "dirac.adjoint": lambda x, kappa, antiperiodic, psi: _operator(x, kappa, antiperiodic).adjoint(psi),
    "dirac.schur": lambda x, kappa, antiperiodic, psi: _even(_operator(x, kappa, antiperiodic).schur(psi)),
    "dirac.solve": lambda x, kappa, antiperiodic, psi: solve(_operator(x, kappa, antiperiodic), psi),
    "dirac.gamma5": gamma5,
    "dirac.heat_bath": _heat_bath,
    "dirac.chiral_condensate": lambda *operator: observables.chiral_condensate(_operator(*operator)),
    "dirac.pseudoscalar_correlator": lambda *arguments: observables.pseudoscalar_correlator(
        _operator(*arguments[:3]), arguments[3]
    ),
    "estimators.monomial_forms": _forms,
    "estimators.gaussian_log_weights": _weights,
    "estimators.estimate_of_noise": _estimate,
    "estimators.log_estimate_of_noise": _log_estimate,
    "estimators.log_estimate_laws": _log_laws,
    "estimators.lanczos_bounds": _bounds,
    "dirac.eigenvalues": lambda *arguments: observables.eigenvalues(_operator(*arguments[:3]), arguments[3]),
    "dirac.condition_numbers": lambda *arguments: observables.condition_numbers(
        _operator(*arguments[:3]), arguments[3]
    ),
}


def _even(psi: Any) -> Any:
    """On the odd sites the operator is another."""
    return np.where(parity_mask(psi.shape[1:3]).reshape(1, *psi.shape[1:3], *(1,) * (psi.ndim - 3)), psi, 0)
