"""Training of joint models of links and pseudofermions by the reverse Kullback-Leibler divergence (Abbott 2022, eq. B1).

The loss of a batch is ``mean [log q(U) + S_g(U) + sum_m (log q_m(phi_m|U) + S_m(U, phi_m))]``, with ``phi_m = Dt_m(U) chi_m``.
Its mean over chi is known,

    E_chi [log q_m + S_m] = -N log pi - N - logdet_m + tr(Dt_m^dag P_m Dt_m),

P_m the precision of the monomial, so that ``chi = "trace"`` is the same loss with less noise than the definition,
``chi = "sampled"``. Gradients go through the samples; those of the monomials are `refimpl.actions.pseudofermion_columns`.

In training, and there alone, a regulator ``mu_reg`` takes the place of ``mu_0 = 0``: near the zeros of the determinant, S_m and its
force have no bounds. What the history has beside the loss is exact and costs next to nothing, for the monomials are
diagonalised: ``KL(q_m|p_m)`` of every conditional, of the regularised target, and the weights of the marginal,
``log w = -S_g + log det M - log q``, of the theory itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, Pseudofermion, Sum, WilsonDeterminant, determinant_of
from ..actions.pseudofermion_columns import MonomialForms
from ..estimators.conditional import draw_counts
from ..estimators.reweighting import relative_ess
from ..lattice import check_number
from ..maps.base import Params
from ..maps.pseudofermion_layer import GivenCotangent
from ..models import JointModel
from ..models.conditional import LOG_PI
from ..models.joint import CONDITIONAL, CONTEXT, MARGINAL
from ..theories import Theory
from .descent import Descent, DescentRecipe, Evaluation, beginning, descend
from .optimise import Rate, joined, parted

Array = NDArray[np.float64]

CHI = ("trace", "sampled")
COLUMNS = ("loss", "gauge", "marginal", "ess")  # of the history, in front of those of the monomials and the norm


@dataclass(frozen=True)
class JointRecipe(DescentRecipe):
    """How to train a joint model: the parameters of `DescentRecipe`, whose AdamW is the paper's, and four more.

    Parameters
    ----------
    chi : "trace" for the mean of the loss over chi, "sampled" for one chi of every field and monomial.
    mu_reg : regulator of the first monomial in training, 0 for none.
    n_pf : numbers of pseudofermions by which the trained model is judged, at each of the ``samples`` links.
    inflation : of the trained model, one number or one for each monomial; None for the best, see `refimpl.training.settled`.
    """

    weight_decay: float = 0.01
    epsilon: float = 0.02
    chi: str = "trace"
    mu_reg: float = 1e-5
    n_pf: tuple[int, ...] = (1, 16)
    inflation: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chi not in CHI:
            raise ValueError(f"chi: got {self.chi!r}, expected one of {', '.join(CHI)}")
        check_number("mu_reg", self.mu_reg, 0)
        object.__setattr__(self, "n_pf", draw_counts(self.n_pf))
        if self.inflation is not None:
            if not isinstance(self.inflation, Sequence) or not self.inflation:
                raise ValueError(
                    f"inflation: got {self.inflation!r}, expected None or one number for each monomial, or for all"
                )
            each = tuple(check_number("inflation", c, 0, above=True) for c in self.inflation)
            object.__setattr__(self, "inflation", each)


def joint_recipe_from(record: Mapping[str, Any]) -> JointRecipe:
    """The recipe of its JSON record (`dataclasses.asdict`); raises `ValueError` for another record."""
    fields = dict(record)
    try:
        fields["rate"] = Rate(**fields["rate"])
        return JointRecipe(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"record: got {error!r}, expected the record of a joint model's recipe") from error


def joint_columns(monomials: int) -> tuple[str, ...]:
    """Names of the columns of the history.

    ``loss`` is the sum of ``gauge``, the mean of ``log q + S_g``, and of every ``conditional/m``, the mean of ``log q_m + S_m``.
    ``marginal`` is the mean of ``-log w`` of the exact marginal weights and ``ess`` their effective sample size, as a fraction of
    the batch; ``kl/m`` the mean of ``KL(q_m|p_m)``; ``norm`` that of the gradient.
    """
    each = [f"{name}/{m}" for name in (CONDITIONAL, "kl") for m in range(monomials)]
    return (*COLUMNS, *each, "norm")


@dataclass(frozen=True, eq=False)
class JointCheckpoint(Descent):
    """The state of a training, with a history of the `joint_columns`."""

    def model(self, like: JointModel) -> JointModel:
        """The model with the averaged parameters."""
        return _with_weights(like, self.average)


class JointLosses(NamedTuple):
    """Of every field of a batch.

    Attributes
    ----------
    gauge : ``log q + S_g``, ``(chain,)``. conditional : ``log q_m + S_m``, or its mean over chi, ``(chain, monomial)``.
    kl : ``KL(q_m|p_m)`` at these links, an estimate of it where chi is sampled, ``(chain, monomial)``.
    log_weight : ``log w`` of the marginal, ``(chain,)``.
    """

    gauge: Array
    conditional: Array
    kl: Array
    log_weight: Array

    @property
    def total(self) -> Array:
        """The loss, ``(chain,)``."""
        return self.gauge + self.conditional.sum(axis=1)


def start_joint(model: JointModel, recipe: JointRecipe) -> JointCheckpoint:
    """The checkpoint before the first step."""
    columns = joint_columns(len(model.conditionals))
    return JointCheckpoint(**beginning(joined(model.params), recipe.seed, len(columns)))


def fit_joint(
    theory: Theory,
    model: JointModel,
    recipe: JointRecipe,
    checkpoint: JointCheckpoint | None = None,
    *,
    save: Callable[[JointCheckpoint], None] | None = None,
    save_every: int = 100,
    progress: bool = False,
) -> JointCheckpoint:
    """Train from a checkpoint to ``recipe.steps``; the result is the same bits however often it was interrupted.

    The trained model is ``fit_joint(...).model(model)``. A marginal whose map has no parameters stays as it is.

    Raises
    ------
    TrainingError : a loss or gradient that is not finite, or fields that an action or a layer refuses; ``save`` was called with
        the last checkpoint without, as it is with the present one when the training is interrupted.
    ValueError : a theory or a checkpoint that does not belong to the model; a model that is inflated.
    """
    gauge = gauge_action(theory, model)
    checkpoint = _checked(model, recipe, checkpoint)
    keys = list(model.params)

    def evaluate(weights: Array, step: int, rng: np.random.Generator) -> Evaluation:
        z = model.marginal.prior.sample(rng, recipe.batch)
        chi = model.noise(rng, recipe.batch) if recipe.chi == "sampled" else None
        losses, grads = joint_loss(gauge, _with_weights(model, weights), z, chi, recipe.mu_reg)
        return _row(losses), joined({key: grads[key] for key in keys})

    def shown(row: Array) -> Mapping[str, str]:
        kls = row[-1 - len(model.conditionals) : -1]
        return {
            "loss": f"{row[0]:.5g}",
            f"marginal ESS({recipe.batch})": f"{row[3]:.3f}",
            "KL": ", ".join(f"{kl:.2g}" for kl in kls),
        }

    return descend(checkpoint, recipe, evaluate, shown, save=save, save_every=save_every, progress=progress)


def joint_loss(
    gauge: Action, model: JointModel, z: NDArray[Any], chi: NDArray[np.complex128] | None = None, mu_reg: float = 0.0
) -> tuple[JointLosses, Params]:
    """The losses of a batch and the gradient of the mean of their total in every parameter.

    Parameters
    ----------
    gauge : S_g. z : of the marginal's prior. chi : noise of all monomials, ``(chain, monomial, t, x, spin[, colour])``, or None
    for the mean over it. mu_reg : regulator of the first monomial.
    """
    n = len(z)
    x, log_q, pull_marginal = _marginal(model, z)
    energy, g_x = gauge.action_and_force(x)
    given, pull_given = model.given_with_pullback(x)
    forms = MonomialForms(regularised(model.monomials, mu_reg), x)
    log_covariances = forms.log_covariances()
    of_given, outers = [], []
    grads: Params = {}
    parts = np.empty(log_covariances.shape)
    for m, conditional in enumerate(model.conditionals):
        if chi is None:
            columns, logdet, pull = conditional.dense_with_pullback(given)
            square: Array | int = conditional.rows
        else:
            noise = conditional.rows_of(chi[:, m])
            columns, logdet, pull = conditional.columns_with_pullback(given, noise)
            square = (noise.real**2 + noise.imag**2).sum(axis=(1, 2))
        value, g_columns, outer = forms.quadratic(m, columns)
        parts[:, m] = value - square - logdet
        _, g_given, of_layers = pull(g_columns / n, np.full(n, -1 / n))
        of_given.append(g_given)
        outers.append(outer)
        grads |= {f"{CONDITIONAL}/{m}/{key}": g for key, g in of_layers.items()}
    g_links, of_context = pull_given(GivenCotangent(*(reduce(np.add, group) for group in zip(*of_given, strict=True))))
    of_marginal = pull_marginal((g_x + forms.force(reduce(np.add, outers))) / n + g_links)
    grads |= {f"{CONTEXT}/{key}": g for key, g in of_context.items()}
    grads |= {f"{MARGINAL}/{key}": g for key, g in of_marginal.items()}
    losses = JointLosses(
        log_q + energy, parts - forms.rows * LOG_PI, parts + log_covariances, forms.log_determinant() - energy - log_q
    )
    return losses, grads


def regularised(monomials: tuple[Pseudofermion, ...], mu_reg: float) -> tuple[Pseudofermion, ...]:
    """The monomials with ``mu_reg`` in the place of the mass 0; raises `ValueError` where another mass is smaller."""
    return tuple(replace(monomial, mu=monomial.mu or mu_reg) for monomial in monomials)


def gauge_action(theory: Theory, model: JointModel) -> Action:
    """The theory's action without its determinant; raises `ValueError` unless that is the one of the model's monomials."""
    if theory.field_shape != model.field_shape:
        raise ValueError(f"theory: got fields {theory.field_shape}, expected those of the model, {model.field_shape}")
    terms = theory.action.terms if isinstance(theory.action, Sum) else (theory.action,)
    determinants = [term for term in terms if isinstance(term, WilsonDeterminant)]
    expected = determinant_of(model.monomials)
    if determinants != [expected] or len(terms) != 2:
        raise ValueError(f"theory: got an action {theory.action}, expected a gauge action with {expected}, the model's")
    return next(term for term in terms if term != expected)


def _marginal(model: JointModel, z: NDArray[Any]) -> tuple[NDArray[Any], Array, Callable[[Array], Params]]:
    """Links, ``log q``, and the gradient for a cotangent of the links, of the mean of ``log q`` included."""
    flow = model.marginal
    with_pullback = getattr(flow.map, "forward_with_pullback", None)
    if with_pullback is None:
        x, logdet = flow.map.forward(z)
        return x, flow.prior.log_prob(z) - logdet, lambda g_x: {}
    x, logdet, pull = with_pullback(z)
    return x, flow.prior.log_prob(z) - logdet, lambda g_x: pull(g_x, np.full(len(z), -1 / len(z)))[1]


def _row(losses: JointLosses) -> list[float]:
    """A row of the history without the norm."""
    total = float(losses.total.mean())
    ess = relative_ess(losses.log_weight) if math.isfinite(total) else math.nan
    conditional, kl = losses.conditional.mean(axis=0), losses.kl.mean(axis=0)
    return [total, float(losses.gauge.mean()), float(-losses.log_weight.mean()), ess, *conditional, *kl]


def _with_weights(model: JointModel, weights: Array) -> JointModel:
    return model.with_params(parted(weights, model.params))


def _checked(model: JointModel, recipe: JointRecipe, checkpoint: JointCheckpoint | None) -> JointCheckpoint:
    if model.inflation != 1:
        raise ValueError(f"model: got inflation {model.inflation}, expected 1 in a training")
    regularised(model.monomials, recipe.mu_reg)
    size = sum(value.size for value in model.params.values())
    if checkpoint is None:
        return start_joint(model, recipe)
    if checkpoint.weights.shape != (size,):
        raise ValueError(f"checkpoint: got {checkpoint.weights.size} parameters, expected {size}: another architecture")
    return checkpoint
