"""The determinant, estimated by the pseudofermions of a joint model (Abbott 2022, eqs. 41 to 46)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Pseudofermion, determinant_of
from ..actions.pseudofermion_columns import MonomialForms
from ..lattice import check_integer, once, site_sum
from .metropolis import Generators, blocks, check_rngs

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class ConditionalModel(Protocol):
    """What `JointDeterminant` needs of a `refimpl.models.JointModel`: dense conditionals ``phi = Dt chi``, ``(Dt, log|Dt|^2)``."""

    @property
    def monomials(self) -> tuple[Pseudofermion, ...]: ...
    def dense(self, x: NDArray[Any]) -> Sequence[tuple[Complex, Array]]: ...


@dataclass(frozen=True)
class JointDeterminant:
    """``det M`` by ``N_pf`` fields of every monomial from the conditionals of a joint model (46).

    At given links the conditional is Gaussian: with the eigenvalues w of ``W = Dt^dag P Dt``, P the precision of the monomial, and
    e from Exp(1), one field has the weight ``exp(-S_m)/q_m = |Dt|^2 exp(-sum_k (w_k - 1) e_k)`` up to a constant; from the heat
    bath it has ``e_k/w_k`` in the place of ``e_k``. No field is needed, however many there are.

    Parameters
    ----------
    model : `refimpl.models.JointModel`; its monomials are those of one determinant without regulator. n_pf : at least 1.
    """

    model: ConditionalModel
    n_pf: int = 1

    def __post_init__(self) -> None:
        check_integer("n_pf", self.n_pf, 1)
        _ = self.determinant  # checks the monomials

    @property
    def determinant(self) -> Action:
        """The determinant as an action of the links, ``-log det M``."""
        return determinant_of(self.model.monomials)

    def log_determinant_estimate(self, rngs: Generators, x: NDArray[Any]) -> Array:
        """``sum_m log d_m``, all fields from the conditionals."""
        return self._estimate(rngs, x, first_from_target=False)

    def start_estimate(self, rngs: Generators, x: NDArray[Any]) -> Array:
        """``sum_m log d_m``, the first field of every monomial from its heat bath, the others from the conditionals."""
        return self._estimate(rngs, x, first_from_target=True)

    def _estimate(self, rngs: Generators, x: NDArray[Any], *, first_from_target: bool) -> Array:
        check_rngs(rngs, len(x))
        monomials, out = self.model.monomials, np.zeros(len(x))
        n = 2 * x.shape[2] * x.shape[3] * monomials[0].n // (2 if monomials[0].even_odd else 1)
        for block in blocks((len(x), max(n, len(monomials) * self.n_pf), n)):
            e = np.array([rng.standard_exponential((len(monomials), self.n_pf, n)) for rng in rngs[block]])
            links, repeats = once(x[block])
            forms = MonomialForms(monomials, links)
            for m, (columns, logdet) in enumerate(self.model.dense(links)):
                w = eigenvalues(forms.weight_matrix(m, columns)).repeat(repeats, axis=0)
                weight = log_mean_weight(w, e[:, m], first_from_target=first_from_target)
                out[block] += logdet.repeat(repeats) + weight
        return out


def eigenvalues(w: Complex) -> Array:
    """Of positive Hermitian matrices ``(chain, n, n)``, increasing; NaN where they are not positive or not finite."""
    finite = np.isfinite(w).all(axis=(1, 2))
    out = np.full(w.shape[:2], np.nan)
    out[finite] = np.linalg.eigvalsh(w[finite])
    return np.where(out > 0, out, np.nan)


def log_mean_weight(w: Array, e: Array, *, first_from_target: bool = False) -> Array:
    """``log mean_i exp(-sum_k (w_k - 1) e_ik)``, shape ``(chain,)``, for w ``(chain, n)`` and e ``(chain, N_pf, n)`` from Exp(1).

    The mean over e is ``1/prod_k w_k``. ``first_from_target``: ``e_1k/w_k`` for the first field.
    """
    if first_from_target:
        e = np.concatenate([e[:, :1] / w[:, None], e[:, 1:]], axis=1)
    log_weights = -site_sum(((w[:, None] - 1) * e).reshape(-1, w.shape[1])).reshape(e.shape[:2])
    top = log_weights.max(axis=1)
    return top + np.log(site_sum(np.exp(log_weights - top[:, None])) / e.shape[1])
