"""The factorised variate of phi^4 correlators: slices improved one by one, their product exact because their supports are disjoint.

The vector field ``g^a(x) = c_k(|x_0 - a|) h_k(x)`` summed over k, nonzero within W slices of slice a, is made of even monomials
``h = phi^i s^j`` in the field at x and the mean s of its four neighbours. As s does not hold the field at x,

    D_a = A[g^a] = div g^a - g^a . F = sum_x c_k(|x_0 - a|) B_k(x),   B_k = dh_k/dphi - h_k F,   F = dS/dphi,

and c is fitted by least squares ``P_a ~ D_a`` of slice means over all slices, of both axes where the lattice is square. With
``R_a = P_a - D_a`` the vector field ``mean_a [g^a P_b + g^b R_a]``, b = a + t, has

    O - f = mean_a [R_a R_b - g^a . grad P_b - g^b . grad R_a],

and both gradients vanish on the supports of the fields where ``2 W + 1`` is less than t and T - t: F and s reach one slice further
than g. So the improvement of one slice is squared. `two_stage` has the overlap terms, and no such condition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import check_integer, site_sum
from ...observables.quantities import Correlator
from ...observables.scalars import slice_means
from .base import check_enough, named
from .files import KINDS
from .phi4_fields import check_action, check_observable, checked_fields, phi4_record
from .ridge import ridge

Array = NDArray[np.float64]
Monomial = tuple[int, int]

ROWS = 40_000  # slices that a fit is made of: more are left out evenly
CHUNK = 1 << 18


@dataclass(frozen=True)
class Factorised:
    """Fit of the factorised variate to `Correlator` of a distance that leaves room.

    Parameters
    ----------
    action : `Phi4` of the configurations.
    width : W, at least 0 with ``2 W + 1 < min(t, T - t)``; by default the largest.
    degree : largest ``i + j`` of the monomials ``phi^i s^j``, even.
    """

    action: Phi4
    width: int | None = None
    degree: int = 6

    def __post_init__(self) -> None:
        check_action(self.action)
        if self.width is not None:
            check_integer("width", self.width, 0)
        if check_integer("degree", self.degree, 0) % 2:
            raise ValueError(f"degree: got {self.degree}, expected an even number")

    def fit(self, configurations: ArrayLike, observable: Correlator) -> FactorisedVariate:
        """Raises `ValueError` for overlapping supports, other observables, bad numbers, no more configurations than features."""
        x = checked_fields(configurations)
        shape = checked_extents((x.shape[1], x.shape[2]))
        width = checked_width(self.width, observable, shape[0])
        check_enough(len(x), len(monomials(self.degree)) * (width + 1))
        axes = (x, x.swapaxes(1, 2)) if shape[0] == shape[1] else (x,)
        every = -(-len(axes) * len(x) * shape[0] // ROWS)
        parts = [_rows(self.action, fields, self.degree, width, every) for fields in axes]
        features, targets = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
        fit = ridge(features.reshape(-1, features.shape[2]), targets.reshape(-1, 1), centred=False)
        kernel = np.ascontiguousarray(fit.coefficients.reshape(width + 1, -1))
        return FactorisedVariate(self.action, shape, observable, self.degree, kernel)


@dataclass(frozen=True, eq=False)
class FactorisedVariate:
    """``f = mean_a (P_a P_{a+t} - R_a R_{a+t})``; ``kernel[d, k]`` is ``c_k(d)``, d = 0, ..., W. Refuses overlapping supports."""

    action: Phi4
    field_shape: tuple[int, int]
    observable: Correlator
    degree: int
    kernel: Array = field(repr=False)

    def __post_init__(self) -> None:
        check_integer("degree", self.degree, 0)
        checked_extents(self.field_shape)
        checked_width(self.width, self.observable, self.field_shape[0])
        if self.kernel.shape != (self.width + 1, len(monomials(self.degree))):
            raise ValueError(f"kernel: got shape {self.kernel.shape} for monomials to degree {self.degree}")

    @cached_property
    def width(self) -> int:
        return len(self.kernel) - 1

    def __call__(self, x: ArrayLike) -> Array:
        fields = checked_fields(x, self.field_shape, "x")
        few = max(1, CHUNK // fields[0].size)
        return np.concatenate([self._values(fields[i : i + few]) for i in range(0, len(fields), few)])

    def improvement(self, x: Array) -> Array:
        """``D_a``, ``(chain, T)``."""
        modes = brackets(self.action, x, self.degree)
        # A slice mean of brackets of slice y enters D_a of the slices a = y - d and y + d.
        by_distance = np.einsum("dk,nky->dny", self.kernel, modes)
        result = by_distance[0].copy()
        for d in range(1, self.width + 1):
            result += np.roll(by_distance[d], d, axis=1) + np.roll(by_distance[d], -d, axis=1)
        return result

    def _values(self, x: Array) -> Array:
        rest = slice_means(x) - self.improvement(x)
        return self.observable(x) - site_sum(np.roll(rest, -self.observable.t, axis=1) * rest) / x.shape[1]

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and JSON for `save`."""
        meta = {
            "action": {"m2": self.action.m2, "lam": self.action.lam},
            "shape": list(self.field_shape),
            "observable": str(self.observable),
            "degree": self.degree,
        }
        return {"kernel": self.kernel}, meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> FactorisedVariate:
        """What `record` gave."""
        action, shape, observable = phi4_record(meta)
        return cls(action, shape, observable, meta["degree"], arrays["kernel"])  # type: ignore[arg-type]


KINDS["FactorisedVariate"] = FactorisedVariate


def monomials(degree: int) -> tuple[Monomial, ...]:
    """Powers (i, j) of phi and s with i + j even, up to this degree."""
    return tuple((total - j, j) for total in range(0, degree + 1, 2) for j in range(total + 1))


def brackets(action: Phi4, x: Array, degree: int) -> Array:
    """``X`` times the slice means, that is the slice sums, of ``dh/dphi - h F``: ``(chain, monomial, T)``."""
    x = np.ascontiguousarray(x)
    force = np.ascontiguousarray(action.force(x))
    neighbours = sum(np.roll(x, step, axis) for axis in (1, 2) for step in (1, -1)) / 4
    powers, sides = [np.ones_like(x)], [np.ones_like(x)]
    for _ in range(degree):
        powers.append(powers[-1] * x)
        sides.append(sides[-1] * neighbours)
    result = np.empty((len(x), len(monomials(degree)), x.shape[1]))
    for k, (i, j) in enumerate(monomials(degree)):
        bracket = -powers[i] * sides[j] * force
        if i:
            bracket += i * powers[i - 1] * sides[j]
        result[:, k] = bracket.sum(axis=2)
    return result


def checked_extents(shape: tuple[int, int]) -> tuple[int, int]:
    """Raises `ValueError` where a site is its own neighbour: s holds phi there, and D_a would not have mean zero."""
    if min(shape) < 2:
        raise ValueError(f"shape: got {shape}, expected extents of at least 2: other methods take rings")
    return shape


def checked_width(width: int | None, observable: object, n_t: int) -> int:
    """The width, or the largest; raises `ValueError` where the supports of slices at the distance of the correlator overlap."""
    check_observable(observable, n_t)
    if not isinstance(observable, Correlator):
        raise ValueError(
            f"observable: got {named(observable)}, expected a Correlator (correlator_T): moments of the field have the methods "
            "two-stage, linear, free and neural"
        )
    distance = min(observable.t, n_t - observable.t)
    largest = (distance - 2) // 2  # 2 width + 1 < distance
    if largest < 0:
        raise ValueError(
            f"observable.t: got {observable.t} on T = {n_t}, expected at least 2 slices either way: supports overlap at any width"
        )
    if width is not None and width > largest:
        raise ValueError(
            f"width: got {width}, expected at most {largest} at t = {observable.t} on T = {n_t} (2 width + 1 < {distance}): "
            "the supports of the slices overlap, and their cross terms are not here"
        )
    return largest if width is None else width


def _rows(action: Phi4, x: Array, degree: int, width: int, every: int) -> tuple[Array, Array]:
    """Features ``(n, slice, distance * monomial)`` and slice means ``(n, slice)`` of every so many slices."""
    few = max(1, CHUNK // x[0].size)
    modes = np.concatenate([brackets(action, x[i : i + few], degree) for i in range(0, len(x), few)])
    slices = np.arange(0, x.shape[1], every)
    features = [modes[:, :, slices]]
    for d in range(1, width + 1):
        features.append(modes[:, :, (slices - d) % x.shape[1]] + modes[:, :, (slices + d) % x.shape[1]])
    return np.concatenate(features, axis=1).swapaxes(1, 2), slice_means(np.ascontiguousarray(x))[:, slices]
