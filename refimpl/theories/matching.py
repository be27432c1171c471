"""The pure gauge theory that is closest to one with fermions: where to start from, and what to propose."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .. import exact, observables
from ..actions.determinant import check_fermions, log_determinant
from ..actions.dirac import wilson_dirac
from ..lattice import check_number, check_shape

# Extent of the lattice on which it is found, configurations and Newton steps, of U(1) and of SU(n): half a second or so. The
# shift of beta is local, and is found to 0.05 at beta = 2 (1/sqrt(samples ESS V dp/dbeta)), which costs no acceptance that is seen.
EFFORT = ((8, 400, 3), (4, 200, 2))


def pure_gauge_beta(beta: float, kappa: float, shape: tuple[int, int], n: int = 1) -> float:
    """The coupling ``beta'`` at which pure gauge theory has the plaquette of the theory with two flavours.

    Of all pure gauge theories this one is closest, in relative entropy. Where it is used any number would be right, and so
    it is estimated, the same every time: Newton steps ``beta' += (<p>_w - <p>)/(V Var p)`` with exact pure gauge
    configurations at beta', on a small lattice, reweighted by ``w = det^2 D exp((beta - beta') V p)``. To leading
    order in kappa it is ``beta + 16 n kappa^4``, from the four hops around a plaquette.

    Parameters
    ----------
    n : colours; 1 for U(1).
    """
    check_number("beta", beta, 0)
    check_fermions(kappa, n)
    return _matched(beta, kappa, check_shape(shape), n)


@lru_cache(maxsize=64)
def _matched(beta: float, kappa: float, shape: tuple[int, int], n: int) -> float:
    largest, samples, passes = EFFORT[n > 1]
    small = min(shape[0], largest), min(shape[1], largest)
    volume, rng, matched = small[0] * small[1], np.random.default_rng(2022), float(beta)
    for _ in range(passes):
        x = exact.schwinger.pure_gauge(rng, samples, matched, small, n)
        p = observables.mean_plaquette(x)
        log_w = 2 * log_determinant(wilson_dirac(x, kappa))[0] + (beta - matched) * volume * p
        w = np.exp(log_w - log_w.max())
        matched += float((w @ p / w.sum() - p.mean()) / (volume * p.var()))
        matched = max(matched, 0.0)
    return matched
