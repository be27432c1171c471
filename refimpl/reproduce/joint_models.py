"""Joint models of links and pseudofermions for the figures of Abbott 2022: which, of what size, their training and their worth.

Models are smaller than the paper's, their lattices 4 x 4 (8 x 8 with ``--full``) in the place of 16 x 16 and 8 x 8, and they
train in minutes: the gauge flow begins with a pure gauge theory and moves holonomies, and the loss has the exact mean over the
noise of pseudofermions. KL divergences and the laws of weights of the conditionals are exact at every field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import theories
from ..estimators import conditional
from ..models import JointModel
from ..theories import Theory
from ..training.joint import fit_joint
from ..training.joint_evaluation import JointEvaluation, conditional_spectra, evaluate_joint
from ..training.joint_plans import JointPlan, joint_plan
from .table import bar

Array = NDArray[np.float64]

BETA, KAPPA = 2.0, 0.265  # Abbott 2022, IV A
SU3_BETA = 6.0  # IV B; the same kappa
MUS = (0.001, 0.01, 0.05)  # IV A
MOST = 0.999  # of the fields, where weights have a variance once pseudofermions are inflated
QUICK = "quick: shows that it runs, and nothing else"
CHUNK = 256


@dataclass(frozen=True)
class Sizes:
    """Of lattice, model and training by effort.

    Parameters
    ----------
    extent : of the square lattice. steps, batch : of the training.
    layers : of pseudofermions, for a ratio of Hasenbusch monomials and for the last one. gauge : couplings of links. None for those
        of `refimpl.training.joint_plan`.
    points : of a history. draws : of links that judge a trained model, four times as many as those of another point.
    """

    extent: int
    steps: int
    batch: int
    layers: tuple[int, int] | None
    gauge: int | None
    points: int
    draws: int


SIZES = {
    "quick": Sizes(4, 2, 2, (1, 2), 1, 2, 48),
    "full": Sizes(4, 800, 64, None, None, 8, 8192),
    "paper": Sizes(8, 3000, 64, None, None, 20, 8192),
}
SU3_SIZES = {
    "quick": Sizes(4, 2, 2, (1, 1), 1, 2, 24),
    "full": Sizes(4, 400, 16, None, None, 8, 2048),
    "paper": Sizes(8, 1500, 16, None, None, 10, 2048),
}


@dataclass(frozen=True)
class Target:
    """Monomials of the determinant, and the convolutions of a layer; ``n_pt`` as in `JointPlan`."""

    name: str
    even_odd: bool = True
    mus: tuple[float, ...] = ()
    n_pt: int | None = None


HASENBUSCH = Target("EO + 3", mus=MUS)
HEAVY_QUARKS = Target("EO + 1", mus=(0.3,))  # of SU(3), IV B


def schwinger(sizes: Sizes) -> Theory:
    """The theory of Figs. 2 to 4 and 6."""
    return theories.schwinger(BETA, KAPPA, (sizes.extent, sizes.extent))


def su3(sizes: Sizes) -> Theory:
    """The theory of Figs. 5 and 7."""
    return theories.su3(SU3_BETA, (sizes.extent, sizes.extent), KAPPA)


def plan_for(theory: Theory, sizes: Sizes, target: Target, seed: int) -> JointPlan:
    """The plan of `refimpl.training.joint_plan` for this target, of these sizes."""
    layers = None if sizes.layers is None else (*[sizes.layers[0]] * len(target.mus), sizes.layers[1])
    plan = joint_plan(theory, sizes.steps, even_odd=target.even_odd, mus=target.mus, layers=layers)
    gauge = plan.marginal.layers if sizes.gauge is None else sizes.gauge
    return replace(
        plan,
        n_pt=target.n_pt,
        seed=seed,
        marginal=replace(plan.marginal, layers=gauge, seed=seed),
        recipe=replace(plan.recipe, batch=sizes.batch, seed=seed),
    )


@dataclass(frozen=True, eq=False)
class Point:
    """A model, not inflated, after some steps of its training, and what it is worth.

    Attributes
    ----------
    worth : without inflation. inflation : the best one for every monomial on most of these fields.
    log_w : of links with one field of every monomial, inflated, ``(n,)``. seconds : CPU, of the training.
    """

    step: int
    model: JointModel
    worth: JointEvaluation
    inflation: tuple[float, ...]
    log_w: Array
    seconds: float

    @property
    def kls(self) -> list[float]:
        """``E_q(U) KL(q_m || p_m)`` of every monomial, without inflation: what is trained."""
        return [estimate.value for estimate in self.worth.kl_conditional]

    @property
    def finite(self) -> float:
        """The share of links where the weights have a variance, inflated."""
        return finite_share(inflated(self.worth.w, self.inflation))


def history(
    theory: Theory, plan: JointPlan, sizes: Sizes, what: str, progress: bool, stops: Sequence[int]
) -> Iterator[Point]:
    """`Point` by `Point` of one training, at ``stops``, the last of them judged by more draws."""
    model, checkpoint, seconds = plan.model(theory).inflated(1.0), None, 0.0
    for stop in bar(stops, what, progress):
        begun = time.process_time()
        if stop:
            checkpoint = fit_joint(theory, model, replace(plan.recipe, steps=stop), checkpoint)
        seconds += time.process_time() - begun
        trained = model if checkpoint is None else checkpoint.model(model)
        rng = np.random.default_rng([plan.seed, 2207, stop])
        worth = evaluate_joint(trained, theory, rng, sizes.draws if stop == stops[-1] else sizes.draws // 4)
        inflation = worth.best_inflation(MOST)
        log_w = joint_log_weights(rng, worth.marginal.log_weights, inflated(worth.w, inflation), (1,))[:, 0]
        yield Point(stop, trained, worth, inflation, log_w, seconds)


def even_stops(sizes: Sizes) -> list[int]:
    """Steps from 0 to the last, near enough evenly."""
    return sorted({round(sizes.steps * k / sizes.points) for k in range(sizes.points + 1)})


def trained(theory: Theory, plan: JointPlan, progress: bool) -> tuple[JointModel, float]:
    """The trained model, not inflated, and the CPU seconds of its training."""
    begun, model = time.process_time(), plan.model(theory).inflated(1.0)
    checkpoint = fit_joint(theory, model, plan.recipe, progress=progress)
    return checkpoint.model(model), time.process_time() - begun


@dataclass(frozen=True, eq=False)
class Draws:
    """Independent links of a model, without pseudofermions.

    Attributes
    ----------
    log_w : of the links with the exact determinant, ``(n,)``. w : eigenvalues of W, ``(n, monomial, rows)``, without inflation.
    values : of observables, ``(n,)`` each.
    """

    log_w: Array
    w: Array
    values: Mapping[str, Array]


def draws(
    model: JointModel,
    theory: Theory,
    rng: np.random.Generator,
    n: int,
    record: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]],
    what: str = "",
    progress: bool = False,
) -> Draws:
    """``n`` links of the model, which is not inflated."""
    log_w, spectra = [], []
    values: dict[str, list[Array]] = {name: [] for name in record}
    for start in bar(range(0, n, CHUNK), what, progress):
        x, log_q = model.marginal.sample(rng, min(CHUNK, n - start))
        log_w.append(-theory.action.action(x) - log_q)
        spectra.append(conditional_spectra(model, x)[0])
        for name, observable in record.items():
            values[name].append(np.asarray(observable(x), np.float64))
    return Draws(
        np.concatenate(log_w), np.concatenate(spectra), {name: np.concatenate(parts) for name, parts in values.items()}
    )


def inflated(w: Array, inflation: Sequence[float]) -> Array:
    """The eigenvalues ``(n, monomial, rows)`` for fields of every monomial ``c_m`` times as large."""
    return w * np.square(inflation)[:, None]


def best_inflation(w: Array, share: float = MOST) -> tuple[float, ...]:
    """The inflation of every monomial with the least mean of ``log (1 + X)`` over the fields that need the least of it."""
    order = np.argsort(-w.min(axis=(1, 2)), kind="stable")
    kept = w[order[: conditional.kept_fields(len(w), share)]]
    return tuple(conditional.best_inflation(one) for one in kept.swapaxes(0, 1))


def finite_share(w: Array) -> float:
    """The share of fields where the weights of all monomials have a variance."""
    return float(conditional.finite_moment(w).all(axis=1).mean())


def joint_log_weights(rng: np.random.Generator, log_w: Array, w: Array, n_pf: Sequence[int]) -> Array:
    """``log w`` (46) of links with the averages over ``n_pf`` fields of every monomial, ``(n, number of n_pf)``."""
    return np.asarray(log_w[:, None] + conditional.log_weights([rng] * len(w), w, n_pf).sum(axis=1))
