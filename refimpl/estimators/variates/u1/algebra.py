"""The algebra of Stein's operator on power sums of a group of plaquettes: every derivative is a product of power sums again.

With ``u_p = exp(i x_p)`` and the mean powers ``z_k = (1/n) sum_p u_p^k`` of a group of n plaquettes, the field

    G_p = h_p - (1/n) sum_q h_q,    h_p = -i u_p^a prod_j z_(k_j)

sums to zero, and ``A[G] = sum_p (d_p G_p - beta sin(x_p) G_p)`` is n times

    prod_j z_(k_j) { a (1 - 1/n) z_a + (beta/2) [z_(a+1) - z_(a-1) - z_a (z_1 - z_-1)] }
        + (1/n) sum_j k_j [z_(a+k_j) - z_a z_(k_j)] prod_(i != j) z_(k_i)

(the factor of -i makes all coefficients real). So a fitted f is one polynomial in power sums, however it was put
together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Monomial = tuple[int, ...]  # orders of the mean powers in a product; () is 1
Polynomial = dict[Monomial, float]


@dataclass(frozen=True)
class FieldTerm:
    """``h_p = -i u_p^harmonic prod_k z_k`` over the orders in ``factors``."""

    harmonic: int
    factors: Monomial

    def divergence(self, beta: float, size: int) -> Polynomial:
        """``A[G]/n`` of the field, as a polynomial in the mean powers of the group."""
        a, m = self.harmonic, self.factors
        terms: list[tuple[Monomial, float]] = [
            ((a, *m), a * (1 - 1 / size)),
            ((a + 1, *m), beta / 2),
            ((a - 1, *m), -beta / 2),
            ((a, 1, *m), -beta / 2),
            ((a, -1, *m), beta / 2),
        ]
        for j, k in enumerate(m):
            rest = m[:j] + m[j + 1 :]
            terms += [((a + k, *rest), k / size), ((a, k, *rest), -k / size)]
        result: Polynomial = {}
        for orders, coefficient in terms:
            key = tuple(sorted(k for k in orders if k))  # z_0 = 1
            result[key] = result.get(key, 0.0) + coefficient
        return result


def field_terms(harmonics: int, products: int, orders: int, both_signs: bool) -> tuple[FieldTerm, ...]:
    """Terms with ``|harmonic| <= harmonics`` and up to ``products`` factors ``z_k``, ``|k| <= orders``.

    Reversing all signs conjugates a divergence, up to its sign: where only real parts matter, positive harmonics say
    everything.
    """
    leading = [a for a in range(-harmonics, harmonics + 1) if a > 0 or (both_signs and a < 0)]
    powers = [k for k in range(-orders, orders + 1) if k]
    factors = [m for d in range(products + 1) for m in itertools.combinations_with_replacement(powers, d)]
    return tuple(FieldTerm(a, m) for a in leading for m in factors)


def polynomials(terms: Sequence[FieldTerm], beta: float, size: int) -> tuple[tuple[Monomial, ...], Array]:
    """All monomials of the divergences of the terms, and their coefficients ``(monomial, term)``."""
    divergences = [term.divergence(beta, size) for term in terms]
    monomials = tuple(sorted({key for one in divergences for key in one}, key=lambda key: (len(key), key)))
    place = {key: i for i, key in enumerate(monomials)}
    matrix = np.zeros((len(monomials), len(terms)))
    for j, one in enumerate(divergences):
        for key, coefficient in one.items():
            matrix[place[key], j] = coefficient
    return monomials, matrix


class Powers:
    """Mean powers ``z_k`` of groups, any shape, from those of positive order; ``z_(-k)`` is the conjugate."""

    def __init__(self, positive: Sequence[Complex]) -> None:
        self._positive = positive

    def map(self, function: Callable[[Complex], Complex]) -> Powers:
        """A function of every mean power that keeps conjugates."""
        return Powers([function(power) for power in self._positive])

    def __getitem__(self, k: int) -> Complex:
        if k == 0:
            return np.ones_like(self._positive[0])
        return self._positive[k - 1] if k > 0 else np.conj(self._positive[-k - 1])

    def monomial(self, key: Monomial) -> Complex:
        value = self[key[0]] if key else self[0]
        for k in key[1:]:
            value = value * self[k]
        return value

    def monomials(self, keys: Sequence[Monomial]) -> Complex:
        """``(..., monomial)``."""
        return np.stack([self.monomial(key) for key in keys], axis=-1)

    def polynomial(self, keys: Sequence[Monomial], coefficients: Array) -> Complex:
        """``sum_m coefficients[m] prod z``, term by term, so that every element has the same bits in any batch."""
        total = np.zeros_like(self._positive[0])
        for key, coefficient in zip(keys, coefficients.tolist(), strict=True):
            if coefficient:
                total += coefficient * self.monomial(key)
        return total

    def subsets(self, charge: int, size: int) -> Complex:
        """Mean of ``prod u_p`` over all subsets of ``charge`` plaquettes: elementary symmetric, by Newton's identities."""
        elementary = [self[0]]
        for j in range(1, charge + 1):
            signed = [(-1) ** (i - 1) * size / j * elementary[j - i] * self[i] for i in range(1, j + 1)]
            elementary.append(np.sum(signed, axis=0))
        return elementary[charge] / math.comb(size, charge)


def highest_order(keys: Sequence[Monomial], charge: int) -> int:
    return max(charge, *(abs(k) for key in keys for k in key))
