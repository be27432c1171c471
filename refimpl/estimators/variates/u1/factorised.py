"""The factorised variate of 2D U(1): fitted bases for disjoint groups of plaquettes, and products of what they leave.

Groups of n plaquettes carry q plaquettes of a loop each. With ``w`` the mean of ``prod u_p`` over the q-subsets of a
group, ``u = exp(i x)``, and ``f = A[G]`` a Stein variate of the plaquettes of that group (`algebra`), ``r = w - f``
has the mean of w, given all other groups:

    <Re prod_groups r> = <Re prod_groups w> = <W(A)>,    A = q times the number of groups,

exactly, whatever the coefficients of f, since the supports are disjoint. Fluctuations of r multiply to second order
in the product: this is what a variate that is linear in the features of the whole lattice does not see. For one group
that holds the whole lattice the fit is linear and the variate is a plain one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....lattice import check_integer, plaquette_angles, site_sum
from ..base import check_enough
from ..files import KINDS
from ..ridge import ridge
from .algebra import FieldTerm, Powers, field_terms, highest_order, polynomials
from .groups import Grouping, check_recorded, few_at_a_time, group_sums, spread
from .stein import Loop, check_beta, checked_links, enclosed, link_field, loop

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

# Rows of a fit: groups, of all configurations, on as many translations as this leaves, at least one.
ROWS_PER_CONFIGURATION = 32
# Of the least squares that start a fit, relative to features of variance one: they are nearly dependent.
_RIDGE = 1e-9


@dataclass(frozen=True)
class PlaquetteGroups:
    """The method.

    Parameters
    ----------
    beta : float, of the density the configurations are from.
    grouping : `Grouping`, how plaquettes are shared out.
    harmonics : int. Fields ``u_p^a`` with ``|a|`` up to it, times
    products : int, up to so many mean powers of the group, by default 2 for a single group and 1 otherwise, of
    orders : int, orders up to it.
    rounds : int. Gauss-Newton steps on the variance of the product, with a ridge by cross-validation inside the configurations of
        the fit, after least squares of every group by itself; a single group, where the problem is linear, takes one.
    """

    beta: float
    grouping: Grouping = field(default=Grouping())
    harmonics: int = 4
    products: int | None = None
    orders: int = 2
    rounds: int = 2

    def __post_init__(self) -> None:
        check_beta(self.beta)
        check_integer("harmonics", self.harmonics, 1)
        if self.products is not None:
            check_integer("products", self.products, 0, 3)
        check_integer("orders", self.orders, 1)
        check_integer("rounds", self.rounds, 1)

    def fit(self, configurations: ArrayLike, observable: Loop) -> GroupVariate:
        """The variate fitted to configurations ``(n, 2, T, X)``."""
        x = checked_links(configurations, name="configurations")
        shape = (x.shape[2], x.shape[3])
        masks = self.grouping.masks(shape, enclosed(observable, shape))
        single = masks.shape[1] == 1
        products = (2 if single else 1) if self.products is None else self.products
        terms = field_terms(self.harmonics, products, self.orders, both_signs=not single)
        check_enough(len(x), len(terms))
        variate = GroupVariate(self.beta, observable, masks, terms, np.zeros(len(terms)))
        rows = FitRows(variate, x, self.grouping.seed)
        coefficients = np.zeros(len(terms)) if single else rows.least_squares()
        for _ in range(1 if single else self.rounds):
            coefficients = coefficients + rows.gauss_newton_step(coefficients)
        return GroupVariate(self.beta, observable, masks, terms, coefficients)


@dataclass(frozen=True, eq=False)
class GroupVariate:
    """``O - Re prod_groups (w - f)``, averaged over partitions ``masks (partition, group, T, X)`` and all their translations.

    ``f = sum_j coefficients[j] A[G_j]/n``, with `terms` ``G_j`` the fields of `algebra`.
    """

    beta: float
    observable: Loop
    masks: Array
    terms: tuple[FieldTerm, ...]
    coefficients: Array

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.masks.shape[2:])

    @property
    def size(self) -> int:
        """Plaquettes in a group."""
        return int(self.masks[0, 0].sum())

    @property
    def charge(self) -> int:
        """Plaquettes of the loop in a group."""
        return enclosed(self.observable, self.masks.shape[2:]) // self.masks.shape[1]

    def __call__(self, x: Array) -> Array:
        x = checked_links(x, self.field_shape)
        return self.observable(x) - self.improved(x)

    def improved(self, x: Array) -> Array:
        """O - f by itself, ``(chain,)``."""
        return self._average(x, self.coefficients)

    def symmetrised(self, x: Array) -> Array:
        """The observable over exchanged plaquettes that the fit improves: ``Re prod_groups w``, of the same mean as O."""
        return self._average(x, np.zeros_like(self.coefficients))

    def _average(self, x: Array, coefficients: Array) -> Array:
        x = checked_links(x, self.field_shape)
        keys, matrix = polynomials(self.terms, self.beta, self.size)
        weights, result = matrix @ coefficients, np.empty(len(x))
        for part, links in few_at_a_time(x):
            powers = self.powers(plaquette_angles(links), highest_order(keys, self.charge))
            rest = powers.subsets(self.charge, self.size) - powers.polynomial(keys, weights)
            products = np.prod(rest, axis=2).real
            result[part] = site_sum(products) / products[0].size
        return result

    def powers(self, angles: Array, highest: int) -> Powers:
        """Mean powers of all groups on all translations, ``(chain, partition, group, T, X)``."""
        unit = np.exp(1j * angles)
        power, positive = np.ones_like(unit), list[Complex]()
        for _ in range(highest):
            power = power * unit
            positive.append(np.asarray(group_sums(power, self.masks) / self.size, dtype=np.complex128))
        return Powers(positive)

    def field(self, x: Array) -> Array:
        """Link field g ``(chain, 2, T, X)`` whose Stein divergence is `symmetrised` less `improved`; a check, and slow.

        With the groups in any order ``prod w - prod r = sum_P (prod_(Q<P) r_Q) f_P (prod_(Q>P) w_Q)``, and ``f_P M =
        A[G_P M]`` for a factor M that does not depend on the plaquettes of P.
        """
        x = checked_links(x, self.field_shape)
        angles = plaquette_angles(x)
        total = np.zeros_like(angles)
        n_partitions = len(self.masks)
        n_t, n_x = self.field_shape[1:]
        moves = [(t, s) for t in range(n_t) for s in range(n_x)] if spread(self.masks) else [(0, 0)]
        for masks in self.masks:
            for move in moves:
                moved = np.roll(angles, (-move[0], -move[1]), axis=(1, 2))
                total += np.roll(self._partition_field(moved, masks), move, axis=(1, 2))
        return link_field(total / (n_partitions * len(moves)))

    def _partition_field(self, angles: Array, masks: Array) -> Array:
        """The plaquette field of one partition at one place."""
        keys, matrix = polynomials(self.terms, self.beta, self.size)
        weights = matrix @ self.coefficients
        groups = [np.exp(1j * angles[:, mask > 0]) for mask in masks]
        powers = [Powers([_mean(unit**k) for k in range(1, 1 + highest_order(keys, self.charge))]) for unit in groups]
        whole = [z.subsets(self.charge, self.size) for z in powers]
        rest = [w - z.polynomial(keys, weights) for w, z in zip(whole, powers, strict=True)]
        result = np.zeros_like(angles)
        for p, (unit, z) in enumerate(zip(groups, powers, strict=True)):
            factor = np.prod(np.array([*rest[:p], *whole[p + 1 :], np.ones(len(angles))]), axis=0)
            h = np.zeros_like(unit)
            for term, coefficient in zip(self.terms, self.coefficients.tolist(), strict=True):
                h += -1j * coefficient * unit**term.harmonic * z.monomial(term.factors)[:, None]
            result[:, masks[p] > 0] = np.real((h - h.mean(axis=1, keepdims=True)) * factor[:, None]) / self.size
        return result

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        terms = [[term.harmonic, *term.factors] for term in self.terms]
        arrays = {"masks": self.masks, "coefficients": self.coefficients}
        return arrays, {"beta": self.beta, "observable": str(self.observable), "terms": terms}

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> GroupVariate:
        observable, masks, coefficients = loop(meta["observable"]), arrays["masks"], arrays["coefficients"]
        check_recorded(masks, observable)
        terms = tuple(FieldTerm(int(a), tuple(map(int, factors))) for a, *factors in meta["terms"])
        if coefficients.shape != (len(terms),):
            raise ValueError(f"coefficients: got shape {coefficients.shape}, expected ({len(terms)},)")
        return cls(check_beta(meta["beta"]), observable, masks, terms, coefficients)


KINDS["GroupVariate"] = GroupVariate


class FitRows:
    """What a fit needs of its configurations, on some of the translations of the groups."""

    def __init__(self, variate: GroupVariate, x: Array, seed: int) -> None:
        self._variate, self._x = variate, x
        self._keys, self._matrix = polynomials(variate.terms, variate.beta, variate.size)
        volume, n_groups = variate.masks[0, 0].size, variate.masks.shape[1]
        wanted = max(1, ROWS_PER_CONFIGURATION // n_groups)
        rng = np.random.default_rng(seed)
        self._moves: NDArray[np.int64] = np.sort(rng.permutation(volume)[:wanted])

    def least_squares(self) -> Array:
        """Coefficients that take most variance from every ``w - f``, complex, by itself."""
        n_terms = self._matrix.shape[1]
        gram, moment, sums, total, n = np.zeros((n_terms, n_terms)), np.zeros(n_terms), np.zeros(n_terms), 0.0, 0
        for _, whole, features in self._chunks():
            f, w = features.reshape(-1, n_terms), whole.ravel()
            gram += f.real.T @ f.real + f.imag.T @ f.imag
            moment += f.real.T @ w.real + f.imag.T @ w.imag
            sums, total, n = sums + f.real.sum(axis=0), total + w.real.sum(), n + len(w)
        gram -= np.outer(sums, sums) / n
        moment -= sums * (total / n)
        scale = np.sqrt(np.diag(gram))
        scale[scale == 0] = 1.0
        scaled = gram / np.outer(scale, scale) + _RIDGE * np.eye(n_terms)
        return np.asarray(np.linalg.solve(scaled, moment / scale) / scale)

    def gauss_newton_step(self, coefficients: Array) -> Array:
        """Change of the coefficients that lowers the variance of ``Re prod (w - f)``, averaged over translations."""
        values, slopes = self.linearised(coefficients)
        return ridge(slopes, values[:, None]).coefficients[:, 0]

    def linearised(self, coefficients: Array) -> tuple[Array, Array]:
        """``Re prod (w - f)``, averaged over translations, ``(n,)``, and minus its derivatives ``(n, term)``."""
        n, n_terms = len(self._x), self._matrix.shape[1]
        values, slopes = np.empty(n), np.empty((n, n_terms))
        for part, whole, features in self._chunks():
            rest = whole - features @ coefficients
            others = _products_of_others(rest)
            values[part] = np.prod(rest, axis=2).real.mean(axis=1)
            slopes[part] = np.einsum("cmg,cmgj->cj", others, features).real / rest.shape[1]
        return values, slopes

    def _chunks(self) -> Any:
        """Of few configurations: their slice, w ``(chain, place, group)``, features ``(chain, place, group, term)``."""
        v = self._variate
        for part, links in few_at_a_time(self._x):
            powers = v.powers(plaquette_angles(links), highest_order(self._keys, v.charge)).map(self._places)
            yield part, powers.subsets(v.charge, v.size), powers.monomials(self._keys) @ self._matrix

    def _places(self, power: Complex) -> Complex:
        """Mean powers of the first partition on the translations of the fit, ``(chain, place, group)``."""
        flat = power[:, 0].reshape(len(power), power.shape[2], -1)
        return np.moveaxis(flat[..., self._moves] if flat.shape[-1] > 1 else flat, 1, -1)


def _mean(unit: Complex) -> Complex:
    return np.asarray(unit.mean(axis=1))


def _products_of_others(rest: Complex) -> Complex:
    """``prod_(h != g) rest_h`` along the last axis, without division."""
    ones = np.ones_like(rest[..., :1])
    before = np.cumprod(np.concatenate([ones, rest[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, rest[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return np.asarray(before * after)
