"""Stochastic estimators: ``(rngs, x, n) -> (values (chain, n), info)``, unbiased for what their docstrings state.

`determinant`: of ``det D^2`` by pseudofermions, with the exact laws of their weights. `log_determinant`: of ``log det D^2`` by
noise vectors. `conditional`: the laws of pseudofermions from a learned Gaussian, its weights from eigenvalues.
"""

from .determinant import (
    Conditions,
    averaged_log_weight,
    best_scale,
    best_scales,
    determinant_estimate,
    finite_moment,
    gaussian_log_weights,
    log_mean,
    log_moment,
    log_variance,
    monomial_forms,
    relative_variance,
    relative_variance_of_average,
)
from .log_determinant import Quadrature, lanczos_quadrature, log_determinant_estimate

__all__ = [
    "Conditions",
    "Quadrature",
    "averaged_log_weight",
    "best_scale",
    "best_scales",
    "determinant_estimate",
    "finite_moment",
    "gaussian_log_weights",
    "lanczos_quadrature",
    "log_determinant_estimate",
    "log_mean",
    "log_moment",
    "log_variance",
    "monomial_forms",
    "relative_variance",
    "relative_variance_of_average",
]
