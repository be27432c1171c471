"""What a joint model of links and pseudofermions is worth: its marginal, its conditionals, and both with ``N_pf`` draws (42)-(46).

The marginal is judged by the exact determinant. A conditional is a Gaussian at fixed links, so that its KL and the law of its
weights are exact in the eigenvalues w of ``W = Dt^dag P Dt`` (`refimpl.estimators.conditional`): one eigenvalue call per field
and monomial gives the weights for every ``N_pf``. Conditionals are those of the exact determinant (``mu_0 = 0``), whatever
regulator the model was trained with.

**A joint ESS means something only where the variance of the weights is finite**, ``w_min > 1/2``, which is ``2 A_p - A_q > 0`` for
the precisions of target and model. The share of such fields, and the least of both numbers, stand on the line of every ESS. Where
a few fields are beyond, the ESS of n draws is a random number that falls as n grows, and an inflation c mends it: ``W -> c^2 W``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..actions import Pseudofermion
from ..actions.pseudofermion_columns import MonomialForms
from ..estimators import conditional, reweighting
from ..estimators.determinant import relative_variance_of_average
from ..lattice import check_integer
from ..models import JointModel
from ..theories import Theory
from .evaluation import SHARE, Estimate, Evaluation, aligned, evaluation_of
from .joint import gauge_action

Array = NDArray[np.float64]

TRUST = ("finite variance", "least w", "least eig(2 A_p - A_q)")  # on the line of every ESS
ROUNDING = 1e-9  # of eigenvalues, between two evaluations
FAR = 1.25  # factor between a measured ESS and its law, beyond which they are said to differ
MOST = 0.999  # of the fields, for which an inflation is proposed


@dataclass(frozen=True, eq=False)
class JointEvaluation:
    """A joint model against its theory.

    Attributes
    ----------
    marginal : by the exact determinant. joint : the same by averages over ``N_pf`` draws of every monomial, by ``N_pf``; its
        acceptance is that of the pseudomarginal chain in equilibrium.
    w : eigenvalues of W, ascending, ``(n, monomial, rows)``, with the inflation.
    curvature : least eigenvalue of ``2 A_p - A_q``, ``(n, monomial)``.
    monomials : the targets. inflation : c of each of their conditionals.
    """

    marginal: Evaluation
    joint: Mapping[int, Evaluation]
    w: Array
    curvature: Array
    monomials: tuple[Pseudofermion, ...]
    inflation: tuple[float, ...]

    @property
    def n(self) -> int:
        """Draws of links."""
        return len(self.w)

    @property
    def kl_marginal(self) -> Estimate:
        """``KL(q(U) || p(U)) = log Z - E log w``: Z exact where it is known, or from the same draws."""
        log_w, log_z = self.marginal.log_weights, self.marginal.log_z
        deviations = log_w.mean() - log_w
        if log_z.exact is not None:
            return Estimate(log_z.exact - float(log_w.mean()), float(deviations.std() / math.sqrt(self.n)))
        deviations = deviations + np.exp(log_w - log_z.value) - 1
        return Estimate(log_z.value - float(log_w.mean()), float(deviations.std() / math.sqrt(self.n)))

    @property
    def kls(self) -> Array:
        """``KL(q_m || p_m)`` at the links of every draw, exact, ``(n, monomial)``."""
        return conditional.kl(self.w)

    @property
    def kl_conditional(self) -> tuple[Estimate, ...]:
        """``E_q(U) KL(q_m || p_m)`` of every monomial."""
        return tuple(_mean(kl) for kl in self.kls.T)

    @property
    def kl_joint(self) -> Estimate:
        """Of links and pseudofermions together, the sum; the error takes marginal and conditionals as independent."""
        pseudofermions = _mean(self.kls.sum(axis=1))
        error = math.hypot(self.kl_marginal.error, pseudofermions.error)
        return Estimate(self.kl_marginal.value + pseudofermions.value, error)

    @property
    def variances(self) -> Array:
        """Exact relative variances X of single draws, ``(n, monomial)``; infinite where ``w_min <= 1/2``."""
        return conditional.relative_variance(self.w)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Whether the variance is finite for all monomials, ``(n,)``."""
        return conditional.finite_moment(self.w.reshape(self.n, -1))

    @property
    def finite_share(self) -> float:
        """Of the fields."""
        return float(self.finite.mean())

    def law(self, n_pf: int) -> float:
        """`refimpl.estimators.conditional.product_law` of the ESS, over the fields of finite variance; NaN of less than two."""
        if self.finite.sum() < 2:
            return math.nan
        log_w = self.marginal.log_weights[self.finite]
        return float(conditional.product_law(log_w, self.variances[self.finite], n_pf)[0])

    def finite_ess(self, n_pf: int) -> float:
        """The measured ESS over the fields of finite variance, to be compared with `law`; NaN of less than two."""
        if self.finite.sum() < 2:
            return math.nan
        return reweighting.relative_ess(self.joint[n_pf].log_weights[self.finite])

    def law_share(self, n_pf: int) -> float:
        """The part of the second moment in `law` that one field has: where it is large, the law is a random number too."""
        return float(reweighting.largest_share(self._log_squares(n_pf)))

    def deciding_fields(self, n_pf: int) -> int:
        """The least number of fields that have half of the second moment in `law`."""
        log_squares = np.sort(self._log_squares(n_pf))[::-1]
        parts = np.cumsum(np.exp(log_squares - log_squares[0]))
        return int(np.searchsorted(parts, parts[-1] / 2)) + 1

    def _log_squares(self, n_pf: int) -> Array:
        """Logarithms of ``w^2 prod_m (1 + X_m/N_pf)``, of the fields of finite variance."""
        variance = relative_variance_of_average(self.variances[self.finite], n_pf)
        return 2 * self.marginal.log_weights[self.finite] + np.log1p(variance)

    def inflation_for(self, share: float = 1.0, k: float = 2) -> tuple[float, ...]:
        """The least inflation of every monomial, the present one or more, for finite k-th moments on this share of the fields.

        Those left out are the ones that would need most. With k = 2 the variance is finite, but huge for the last field.
        """
        kept = self._kept(share)
        least = [conditional.smallest_inflation(w, k=k) for w in kept.swapaxes(0, 1)]
        return tuple(c * (factor + ROUNDING * (factor > 1)) for c, factor in zip(self.inflation, least, strict=True))

    def best_inflation(self, share: float = 1.0) -> tuple[float, ...]:
        """The inflation of every monomial with the least mean of ``log (1 + X)`` over this share of the fields, all finite."""
        best = [conditional.best_inflation(w) for w in self._kept(share).swapaxes(0, 1)]
        return tuple(c * factor for c, factor in zip(self.inflation, best, strict=True))

    def _kept(self, share: float) -> Array:
        """w of this share of the fields, those of the largest ``w_min``."""
        order = np.argsort(-self.w.min(axis=(1, 2)), kind="stable")
        return self.w[order[: conditional.kept_fields(self.n, share)]]

    def __str__(self) -> str:
        kind = "even-odd" if self.monomials[0].even_odd else "all sites"
        monomials = "1 monomial" if len(self.monomials) == 1 else f"{len(self.monomials)} monomials"
        head = f"{self.n} draws, {monomials} ({kind}), inflation {_listed(self.inflation)}"
        tables = [*aligned(self._sizes()), "", *aligned(self._divergences()), "", *aligned(self._observables())]
        return "\n".join([head, *tables, *self.notes()])

    def notes(self) -> list[str]:
        """What to know of the numbers, the worst first."""
        found = []
        if lost := int(self.n - self.finite.sum()):
            found.append(
                f"! {lost} of {self.n} fields have weights of infinite variance (least w of 1/2 or less). A joint ESS of few draws "
                "N_pf, of one above all,\n  is a random number there, which differs from run to run and falls as n grows; law and "
                f"ratio are those of the other fields.\n  Inflations of {_listed(self.best_inflation(MOST))}, the best, would "
                f"make it finite on {MOST:.1%}."
            )
        found += [note for n_pf in self.joint if self.finite.sum() > 1 for note in self._law_notes(n_pf)]
        parts = {"marginal": self.marginal, **{f"joint, N_pf = {n_pf}": found for n_pf, found in self.joint.items()}}
        for name, part in parts.items():
            found += [f"{note[:2]}{name}: {note[2:]}" for note in part.notes() if note.startswith("! ")]
        return found

    def _law_notes(self, n_pf: int) -> list[str]:
        """Whether the law is one, or a few fields decide it."""
        share, ratio = self.law_share(n_pf), self.finite_ess(n_pf) / self.law(n_pf)
        if share > SHARE:
            return [
                f"! N_pf = {n_pf}: one field has {share:.0%} of the second moment in the law: law and ESS/law are not reliable."
            ]
        if not 1 / FAR < ratio < FAR:
            few = self.deciding_fields(n_pf)
            return [
                f"! N_pf = {n_pf}: ESS/law is {ratio:.3g}, far from 1: {few} of {self.n} fields have half of the second moment in "
                "the law,\n  so that neither ESS nor law is reliable. More fields are needed, or more draws N_pf."
            ]
        return []

    def _sizes(self) -> list[tuple[str, ...]]:
        trust = _trust(self.finite, self.w, self.curvature)
        rows: list[tuple[str, ...]] = [("", "ESS/n", "law", "ESS/law", "acceptance", "tail k", *TRUST)]
        marginal = self.marginal
        rows.append(
            ("marginal", f"{marginal.ess:.4f}", "", "", f"{marginal.acceptance:.4f}", f"{marginal.shape:.2f}", *trust)
        )
        for n_pf, found in self.joint.items():
            law = self.law(n_pf)
            own = f"{found.ess:.4f}", f"{law:.4f}", f"{self.finite_ess(n_pf) / law:.4g}", f"{found.acceptance:.4f}"
            rows.append((f"joint, N_pf = {n_pf}", *own, f"{found.shape:.2f}", *trust))
        return rows

    def _divergences(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("KL", "mean", "error", "median", "median X", *TRUST)]
        rows.append(("marginal", *_numbers(self.kl_marginal), *[""] * 5))
        finite, kls, variances = conditional.finite_moment(self.w), self.kls, self.variances
        for m, monomial in enumerate(self.monomials):
            masses = f"mu = {monomial.mu:g}" + ("" if monomial.mu_next is None else f" over {monomial.mu_next:g}")
            medians = f"{np.median(kls[:, m]):.4g}", f"{np.median(variances[:, m]):.4g}"
            trust = _trust(finite[:, m], self.w[:, m], self.curvature[:, m])
            rows.append((f"monomial {m}, {masses}", *_numbers(_mean(kls[:, m])), *medians, *trust))
        rows.append(("joint", *_numbers(self.kl_joint), *[""] * 5))
        return rows

    def _observables(self) -> list[tuple[str, ...]]:
        columns = {"marginal": self.marginal, **{f"N_pf = {n_pf}": found for n_pf, found in self.joint.items()}}
        rows: list[tuple[str, ...]] = [("", "exact", *columns)]
        estimates = [{"log Z": found.log_z, **found.observables} for found in columns.values()]
        for name, first in estimates[0].items():
            exact = "" if first.exact is None else f"{first.exact:.6g}"
            rows.append((name, exact, *(f"{e[name].value:.6g} +- {e[name].error:.2g}" for e in estimates)))
        return rows


def _trust(finite: NDArray[np.bool_], w: Array, curvature: Array) -> tuple[str, str, str]:
    """`TRUST` of these fields and monomials."""
    return f"{finite.mean():.2%}", f"{w.min():.4g}", f"{curvature.min():.4g}"


def evaluate_joint(
    model: JointModel,
    theory: Theory,
    rng: np.random.Generator,
    n: int = 4096,
    *,
    n_pf: int | Sequence[int] = (1,),
    inflation: float | Sequence[float] | None = None,
    chunk: int = 256,
    progress: bool = False,
) -> JointEvaluation:
    """``n`` independent draws of links, ``chunk`` at a time, and ``N_pf`` draws of pseudofermions at each by their exact law.

    The links are those that `refimpl.training.evaluate` of the marginal draws from ``rng``, whatever the ``n_pf``, which take the
    first of the same draws; pseudofermions have the noise of a spawned Generator.

    Parameters
    ----------
    n_pf : one or several numbers of draws. inflation : c in the place of the model's own, for all monomials or for each.

    Raises
    ------
    `ValueError` for a theory with other links or another determinant, and where weights are not finite numbers.
    """
    from tqdm import tqdm

    gauge_action(theory, model)  # refuses another theory
    inflations = _inflations(model, inflation)
    check_integer("n", n, 2)
    check_integer("chunk", chunk, 1)
    counts, (noise,) = conditional.draw_counts(n_pf), rng.spawn(1)
    marginal, averages, spectra, curvatures = [], [], [], []
    values: dict[str, list[Array]] = {name: [] for name in theory.observables}
    for start in tqdm(range(0, n, chunk), desc="evaluation", disable=None if progress else True, file=sys.stderr):
        x, log_q = model.marginal.sample(rng, min(chunk, n - start))
        w, curvature = conditional_spectra(model, x, inflations)
        marginal.append(-theory.action.action(x) - log_q)
        averages.append(conditional.log_weights([noise] * len(x), w, counts).sum(axis=1))
        spectra.append(w)
        curvatures.append(curvature)
        for name, observable in theory.observables.items():
            values[name].append(np.asarray(observable(x), np.float64))
    log_w, measured = np.concatenate(marginal), {name: np.concatenate(parts) for name, parts in values.items()}
    joint = log_w[:, None] + np.concatenate(averages)
    return JointEvaluation(
        evaluation_of(theory, log_w, measured),
        {count: evaluation_of(theory, joint[:, k], measured) for k, count in enumerate(counts)},
        np.concatenate(spectra),
        np.concatenate(curvatures),
        model.monomials,
        inflations,
    )


def conditional_spectra(
    model: JointModel, x: NDArray[Any], inflation: float | Sequence[float] | None = None
) -> tuple[Array, Array]:
    """Eigenvalues of W, ``(chain, monomial, rows)``, and the least of ``2 A_p - A_q``, ``(chain, monomial)``, at links ``x``."""
    forms = MonomialForms(model.monomials, x)
    one = np.broadcast_to(np.eye(forms.rows), (len(x), forms.rows, forms.rows))
    spectra, curvatures = [], []
    inflations = _inflations(model, inflation)
    for m, (own, _) in enumerate(model.dense(x)):
        transform = own * (inflations[m] / model.inflations[m])
        weight = forms.weight_matrix(m, transform)
        if lost := int((~np.isfinite(weight).all(axis=(1, 2))).sum()):
            raise ValueError(
                f"model: got {lost} of {len(x)} fields where D is singular or nearly so, or pseudofermions too large (inflation "
                f"{inflations[m]:g}), expected none"
            )
        try:
            spectra.append(conditional.weight_eigenvalues(weight))
        except ValueError as error:
            raise ValueError(
                f"model: got a flow of monomial {m} (inflation {inflations[m]:g}) that is singular to rounding: {error}"
            ) from error
        curvatures.append(conditional.smallest_curvature(transform, forms.weight_matrix(m, one)))
    return np.stack(spectra, axis=1), np.stack(curvatures, axis=1)


def _inflations(model: JointModel, inflation: float | Sequence[float] | None) -> tuple[float, ...]:
    """One for each monomial."""
    return (model if inflation is None else model.inflated(inflation)).inflations


def _listed(inflation: Sequence[float]) -> str:
    return ", ".join(f"{c:.4g}" for c in (inflation if len(set(inflation)) > 1 else inflation[:1]))


def _mean(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))


def _numbers(estimate: Estimate) -> tuple[str, str]:
    return f"{estimate.value:.4g}", f"{estimate.error:.2g}"
