"""The conditional-mean variate of 2D U(1): closed form, no fit, nothing to overfit.

Given the sum s of a group of n plaquettes, the mean of ``exp(i x)`` over q of them is

    E_q(s) = sum_k a_(k-1)^q a_k^(n-q) exp(i k s) / sum_k a_k^n exp(i k s),    a_k = exp(-beta) I_k(beta),

and plaquettes of different groups are independent once the sums are given. So ``Re prod_groups E_q(s)`` has the mean
of the Wilson loop of area A = q times the number of groups, and less variance (Rao and Blackwell). One group that is
the whole lattice has s = 0 and no variance: that is the exact answer itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....lattice import check_shape, plaquette_angles, site_sum
from ..files import KINDS
from .groups import Grouping, check_recorded, few_at_a_time, group_sums
from .stein import Loop, check_beta, checked_links, enclosed, loop

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_NEGLIGIBLE = 1e-18  # of the peak of the density of s


@dataclass(frozen=True)
class ConditionalMean:
    """The method: `variate` needs the lattice only, and `fit` takes nothing but the lattice from the configurations.

    Parameters
    ----------
    beta : float, from 0 to `LARGEST_BETA`, of the density the configurations are from.
    grouping : `Grouping`, by default of four partitions. Fewer groups are better, down to
        one, which holds the exact answer.
    """

    beta: float
    grouping: Grouping = field(default=Grouping(partitions=4))

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def fit(self, configurations: ArrayLike, observable: Loop) -> ConditionalMeanVariate:
        """The variate on the lattice of these configurations ``(n, 2, T, X)``."""
        n_t, n_x = checked_links(configurations, name="configurations").shape[2:]
        return self.variate((n_t, n_x), observable)

    def variate(self, shape: tuple[int, int], observable: Loop) -> ConditionalMeanVariate:
        """The variate of a plaquette or a Wilson loop on a lattice ``(T, X)``."""
        shape = check_shape(shape)
        masks = self.grouping.masks(shape, enclosed(observable, shape))
        return ConditionalMeanVariate(self.beta, observable, masks)


@dataclass(frozen=True, eq=False)
class ConditionalMeanVariate:
    """``O - Re prod_groups E_q(s)``, averaged over partitions ``masks (partition, group, T, X)`` and all their translations."""

    beta: float
    observable: Loop
    masks: Array

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.masks.shape[2:])

    def __call__(self, x: Array) -> Array:
        x = checked_links(x, self.field_shape)
        return self.observable(x) - self.improved(x)

    def improved(self, x: Array) -> Array:
        """O - f by itself, ``(chain,)``."""
        x = checked_links(x, self.field_shape)
        charge = enclosed(self.observable, self.masks.shape[2:]) // self.masks.shape[1]
        mean = GroupMean(self.beta, int(self.masks[0, 0].sum()), charge)
        result = np.empty(len(x))
        for part, links in few_at_a_time(x):
            sums = group_sums(plaquette_angles(links), self.masks)
            products = np.prod(mean(sums), axis=2).real
            result[part] = site_sum(products) / products[0].size
        return result

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {"masks": self.masks}, {"beta": self.beta, "observable": str(self.observable)}

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> ConditionalMeanVariate:
        observable, masks = loop(meta["observable"]), arrays["masks"]
        check_recorded(masks, observable)
        return cls(check_beta(meta["beta"]), observable, masks)


KINDS["ConditionalMeanVariate"] = ConditionalMeanVariate


class GroupMean:
    """``E_q(s)`` of groups of ``size`` plaquettes, for arrays of sums."""

    def __init__(self, beta: float, size: int, charge: int) -> None:
        from scipy.special import ive

        top = 1
        while (ive(top, beta) / ive(0, beta)) ** size > _NEGLIGIBLE:
            top += 1
        a = ive(np.abs(np.arange(-top - 1, top + 2)), beta) / ive(0, beta)
        self._weights = a[1:] ** size
        self._shifted = a[:-1] ** charge * a[1:] ** (size - charge)

    def __call__(self, sums: Array) -> Complex:
        """By Horner's rule in ``exp(i s)``. Where the density of s falls to the rounding of its peak, moduli are cut at 1."""
        unit = np.exp(1j * sums)
        above, below = np.zeros_like(unit), np.zeros_like(unit)
        for w, v in zip(self._weights[::-1], self._shifted[::-1], strict=True):
            below = below * unit + w
            above = above * unit + v
        density = np.maximum(np.abs(below), np.finfo(float).tiny)
        return np.asarray(above / density * (np.conj(below) / np.maximum(density, np.abs(above))))
