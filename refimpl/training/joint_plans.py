"""Joint models and recipes that are known to work: what ``refimpl train joint`` trains unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..actions import Pseudofermion, hasenbusch
from ..actions.pseudofermion import monomial_masses
from ..lattice import check_flag, check_integer, check_number, check_shape
from ..maps.context import Context
from ..maps.pseudofermion_layer import PseudofermionLayer
from ..models import Conditional, JointModel
from ..theories import Theory
from .flow_plans import FlowPlan, flow_plan
from .joint import JointRecipe
from .joint_evaluation import evaluate_joint
from .optimise import Adam, Rate

THEORIES = ("schwinger", "su2", "su3")
PARTITIONS = ("spatial", "spin", "alternating")
MUS = {"schwinger": (0.001, 0.01, 0.05), "su2": (0.3,), "su3": (0.3,)}  # Abbott 2022, IV A and B
MAPS_OF_A_PTCN = {True: 6, False: 3}  # Abbott 2022, B 3, by even_odd
# Layers of ratios and of the last monomial, in which nearly all that is difficult about the determinant sits. Alternating layers
# have moved every number of a field after four.
LAYERS = {True: (2, 8), False: (4, 8)}  # by whether links are angles
MU_REG = 1e-5  # Abbott 2022, IV A
SETTLED = 0.999  # of the fields
# With the epsilon of the paper, 0.02 for batches of 4096 (B 3), small gradients move nothing: 120 steps of 32 fields, 4 x 4, leave
# a KL of the last monomial of 3.0, and of 1.1 with the epsilon of Adam.
# The Schwinger model with three Hasenbusch masses, 4 x 4, 800 steps of 64 fields: an ESS of the marginal of 0.85, and KLs of 5e-5,
# 2e-3, 0.016 and 0.12. At twice this rate the last one ends at 0.4, at four times it explodes.
RATE = 5e-3


@dataclass(frozen=True)
class JointPlan:
    """A joint model before it has numbers, and how to train it.

    Parameters
    ----------
    marginal : of the gauge flow; its recipe is not used. recipe : of all parts together, see `JointRecipe`.
    even_odd : of the pseudofermions. mus : their Hasenbusch masses, increasing; empty for a single monomial.
    layers : pseudofermion layers, a number for each of the ``len(mus) + 1`` monomials, or one for all.
    n_pt : parallel transport convolutions of a layer (B 3); None for 6 where ``even_odd``, otherwise 3.
    features : H, between these. hidden : channels of the context. positions : whether it sees sites modulo 4.
    gain : of the weights of context and conditionals at the start.
    partition : what a layer moves: {"spatial", "spin", "alternating"}, see `PseudofermionLayer`; None for "spatial" on angles and
        "alternating" on matrices, which begins with a spatial layer.
    seed : of the weights.
    """

    marginal: FlowPlan
    recipe: JointRecipe
    even_odd: bool = True
    mus: tuple[float, ...] = ()
    layers: tuple[int, ...] = (8,)
    n_pt: int | None = None
    features: int = 2
    hidden: int = 16
    positions: bool = True
    partition: str | None = None
    gain: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_flag("even_odd", self.even_odd)
        check_flag("positions", self.positions)
        layers = tuple(check_integer("layers", n, 1) for n in self.layers)
        self._check_number_of("layers", layers)
        object.__setattr__(self, "layers", layers)
        for name in ("features", "hidden"):
            check_integer(name, getattr(self, name), 1)
        check_integer("seed", self.seed, 0)
        monomial_masses(self.mus, self.recipe.mu_reg)
        if self.recipe.inflation is not None:
            self._check_number_of("inflation", self.recipe.inflation)
        check_number("gain", self.gain, 0, above=True)
        if self.n_pt is not None:
            check_integer("n_pt", self.n_pt, 1)
        if self.even_odd and self.n_pt == 1:
            raise ValueError("n_pt: got 1, expected at least 2 for even_odd: one convolution joins no two even sites")
        if self.partition is not None and self.partition not in PARTITIONS:
            raise ValueError(f"partition: got {self.partition!r}, expected one of {', '.join(PARTITIONS)}")

    def _check_number_of(self, name: str, values: tuple[float, ...]) -> None:
        """Raises `ValueError` unless there is one for all monomials, or one for each."""
        masses = len(self.mus)
        if len(values) not in (1, masses + 1):
            each = f" or {masses + 1}, one more than Hasenbusch masses" if masses else ", as there is one monomial"
            raise ValueError(f"{name}: got {len(values)} numbers, expected 1{each}")

    def monomials(self, theory: Theory) -> tuple[Pseudofermion, ...]:
        """Of the determinant of this theory, without a regulator; raises `ValueError` for masses that do not increase."""
        kappa = theory.parameters["kappa"]
        return hasenbusch(kappa, self.mus, even_odd=self.even_odd, n=theory.colours)

    def model(self, theory: Theory) -> JointModel:
        """The untrained model for this theory, not inflated; raises `ValueError` for lattices that the masks do not divide."""
        check_theory(theory)
        shape = check_shape(tuple(theory.parameters["shape"]), even=self.even_odd)
        monomials = self.monomials(theory)
        marginal = self.marginal.flow(theory)
        rng = np.random.default_rng([self.seed, 3])
        context = Context.init(rng, self.hidden, self.gain, positions=self.positions)
        numbers = self.layers if len(self.layers) > 1 else self.layers * len(monomials)
        conditionals = tuple(
            Conditional(monomial, self._layers(rng, shape, monomial, n))
            for monomial, n in zip(monomials, numbers, strict=True)
        )
        return JointModel(marginal, context, conditionals)

    def _layers(
        self, rng: np.random.Generator, shape: tuple[int, int], monomial: Pseudofermion, n: int
    ) -> tuple[PseudofermionLayer, ...]:
        n_pt = MAPS_OF_A_PTCN[self.even_odd] if self.n_pt is None else self.n_pt
        partition = self.partition or ("spatial" if monomial.n == 1 else "alternating")
        kinds = ("spatial", "spin") if partition == "alternating" else (partition,)
        return tuple(
            PseudofermionLayer.init(
                rng, shape, i // len(kinds), partition=kinds[i % len(kinds)], even_odd=self.even_odd, colours=monomial.n,
                n_pt=n_pt, features=self.features, hidden=self.hidden, gain=self.gain,
            )
            for i in range(n)
        )  # fmt: skip


def joint_plan(
    theory: Theory,
    steps: int | None = None,
    *,
    even_odd: bool = True,
    mus: Sequence[float] | None = None,
    layers: Sequence[int] | None = None,
    mu_reg: float = MU_REG,
) -> JointPlan:
    """What is known to work for a theory, with the learning rate falling to zero in ``steps``; raises `ValueError` for others.

    Parameters
    ----------
    even_odd, mus : of the pseudofermions; ``mus`` are those of the paper by default.
    layers : of each monomial, by default 2 for the ratios, which are easy to learn (4 on matrices), and 8 for the last one.
    mu_reg : regulator in training, below all masses.
    """
    check_theory(theory)
    masses = tuple(MUS[theory.name] if mus is None else mus)
    angular = theory.colours == 1
    ratio, last = LAYERS[angular]
    own = (ratio,) * len(masses) + (last,)
    steps = steps or (800 if angular else 400)
    recipe = JointRecipe(
        steps=steps, batch=64 if angular else 16, rate=Rate(RATE, "cosine", every=steps), weight_decay=0.01,
        epsilon=Adam.EPSILON, mu_reg=mu_reg, samples=1024,
    )  # fmt: skip
    features = 2 if angular else 4
    marginal = flow_plan(theory, steps)
    if not angular:
        marginal = replace(marginal, base=_near_beta(theory))
    return JointPlan(marginal, recipe, even_odd, masses, own if layers is None else tuple(layers), features=features)


def _near_beta(theory: Theory) -> float:
    """The coupling of a pure gauge theory that is near, to leading order in kappa; `pure_gauge_beta` of SU(3) takes seconds."""
    beta, kappa = theory.parameters["beta"], theory.parameters["kappa"]
    return float(beta + 16 * theory.colours * kappa**4)


def settled(model: JointModel, theory: Theory, recipe: JointRecipe, *, progress: bool = False) -> JointModel:
    """The trained model with the inflation of its recipe.

    By default that is the one for which single weights of pseudofermions have the least variance, at as many links as judge the
    model, but for the thousandth part that would need most: the reverse Kullback-Leibler divergence leaves the last monomial too
    narrow, and its weights without a variance on many fields.
    """
    if recipe.inflation is not None:
        return model.inflated(recipe.inflation if len(recipe.inflation) > 1 else recipe.inflation[0])
    rng = np.random.default_rng([recipe.seed, 4])
    found = evaluate_joint(model, theory, rng, recipe.samples, progress=progress)
    return model.inflated(found.best_inflation(SETTLED))


def check_theory(theory: Theory) -> None:
    """Raises `ValueError` for a theory without fermions."""
    if theory.name not in THEORIES:
        raise ValueError(f"theory: got {theory.name!r}, expected one of {', '.join(THEORIES)}")
    if not theory.parameters["kappa"]:
        raise ValueError(f"theory: got {theory.name} without fermions, expected kappa above 0")
