"""The Wilson-Dirac operator: `operator` says what it is and applies it, `matrix` has its matrices, `solve` and `twisted` solve.

`slices` eliminates time slices for the determinant and its force, `pattern` knows where the Schur complement has entries.
"""

from .operator import (
    SIGMA,
    ComplexArray,
    WilsonDirac,
    check_dirac,
    check_gauge_field,
    check_spinor,
    dirac_definition,
    gamma5,
    signed_links,
    wilson_dirac,
)

__all__ = [
    "SIGMA",
    "ComplexArray",
    "WilsonDirac",
    "check_dirac",
    "check_gauge_field",
    "check_spinor",
    "dirac_definition",
    "gamma5",
    "signed_links",
    "wilson_dirac",
]
