"""The pion correlator of two flavours on 2 x 2 sites, by the adjugate of D as a polynomial with Gaussian integers.

``adj D = det(D) D^-1 = sum_k kappa^k A_k``, ``A_k = sum_(j <= k) c_j H^(k - j)`` for ``det D = sum_j c_j kappa^j`` and the hopping
matrix H. Its entries are of degree 1 in every phase, as ``det D`` is. Of ``|adj D|^2`` only what depends on plaquettes alone has
an average.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fixed_point import BITS, ONE
from .decimals import total
from .fermions import LINKS, Frequencies, average, elementary, hopping, incidence, loops_of
from .plaquettes import Angles

DIGITS = 40


def correlator(beta: float, kappa: float) -> list[float]:
    """``<sum_(x, y) tr |D^-1(t, x; 0, y)|^2>`` for t = 0, 1, under the weight ``exp(beta sum cos P) det D^2``."""
    angles = Angles.of(beta, 4)
    with localcontext() as context:
        context.prec = DIGITS
        sums = [loops_of(Decimal(kappa)), _squares(kappa, slice(0, 4)), _squares(kappa, slice(4, 8))]
        averages = {d: average(angles, d)[0] for d in set().union(*sums)}
        z, *values = (total(c * averages[d] for d, c in loops.items()) for loops in sums)
        return [float(value / z) for value in values]


def _squares(kappa: float, rows: slice) -> dict[Frequencies, Decimal]:
    """``sum |adj D|^2`` over these rows and the columns of t = 0, by the frequencies of plaquettes."""
    power = ONE
    re: Any = 0
    im: Any = 0
    k = int(Decimal(kappa) * ONE)
    for coefficients in _adjugate():
        part = coefficients[:, rows, :4]
        re, im = re + power * part.real.astype(int).astype(object), im + power * part.imag.astype(int).astype(object)
        power = power * k >> BITS
    grids = [np.moveaxis(np.asarray(part).reshape((3,) * len(LINKS) + (-1,)), -1, 0) for part in (re, im)]
    out = {}
    for d, shift in _shifts():
        ahead = (slice(None), *(slice(max(s, 0), 3 + min(s, 0)) for s in shift))
        behind = (slice(None), *(slice(max(-s, 0), 3 + min(-s, 0)) for s in shift))
        size = sum(int((part[ahead] * part[behind]).sum()) for part in grids)
        if size:
            out[d] = Decimal(size) / ONE / ONE
    return out


def _shifts() -> Iterator[tuple[Frequencies, list[int]]]:
    """Frequencies of plaquettes, and those of the links outside the tree, that a product of two entries may have."""
    for d in itertools.product(range(-4, 5), repeat=3):
        shift = [sum(d[p] * incidence()[p][j] for p in range(3)) for j in range(len(LINKS))]
        if max(map(abs, shift)) <= 2:
            yield (d[0], d[1], d[2]), shift


@lru_cache(maxsize=1)
def _adjugate() -> list[NDArray[np.complex128]]:
    """``A_k`` by the frequencies -1, 0, 1 of the links outside the tree, flattened: ``(3^5, row, column)``."""
    h = hopping()
    c = [(-1) ** j * e for j, e in enumerate(elementary(h))]
    out, matrix = [], np.zeros_like(h)
    for k in range(8):
        matrix = matrix @ h + c[k][:, None, None] * np.eye(8)
        waves = np.fft.fftn(np.rint(matrix).reshape((4,) * len(LINKS) + (64,)), axes=range(len(LINKS)))
        waves = np.rint(waves / 4 ** len(LINKS))
        out.append(waves[np.ix_(*([[3, 0, 1]] * len(LINKS)))].reshape(-1, 8, 8))
    return out
