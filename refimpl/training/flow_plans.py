"""Flows and recipes that are known to work: what ``refimpl train flow`` trains unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..lattice import check_integer, check_number, check_shape
from ..maps import coupling, holonomy, plaquette_coupling, spectral, sun_coupling
from ..maps.base import Chain, Layer
from ..models import Flow, Haar, Normal, Prior, PureGauge, UniformAngles
from ..theories import Theory, pure_gauge_beta
from .flow import FlowRecipe
from .optimise import Rate

THEORIES = ("phi4", "u1", "schwinger", "su2", "su3")
PATTERN = "tiles"  # trains faster than stripes: U(1), 8 x 8, beta = 2

# Schwinger flows of all lattices begin with the pure gauge theory that is closest on this one, where its coupling is larger than
# on larger ones. Training reaches more from there: for 8 x 8, beta = 2, kappa = 0.265 an ESS of 0.57 of 3072 draws after 300
# steps from 2.4, of 0.49 from 2.256.
BASE_SHAPE = (4, 4)


@dataclass(frozen=True)
class FlowPlan:
    """A flow before it has numbers, and how to train it.

    Parameters
    ----------
    layers : coupling layers. hidden : channels of the convolutions between input and output of a layer's net.
    recipe : see `FlowRecipe`.
    base : coupling of the exact pure gauge theory that the flow begins with; None for uniform links (or normal numbers).
    pattern : of the masks of gauge flows, see `refimpl.maps.stripes`. bins : of their splines.
    staples : of gauge flows, whether plaquettes move in the frame of the loops around their links.
    odd : for scalars, whether the layers are odd functions of the field, as the theory is even.
    holonomies : for angles, two holonomy layers in front of every so many couplings and at the end; 0 for none.
    last : factor on the weights of the last convolutions at the start: 0 would begin with the base itself. seed : of the weights.
    """

    layers: int
    hidden: tuple[int, ...]
    recipe: FlowRecipe
    base: float | None = None
    pattern: str = PATTERN
    bins: int = 8
    staples: bool = True
    odd: bool = True
    holonomies: int = 0
    last: float = 0.1
    seed: int = 0

    def flow(self, theory: Theory) -> Flow:
        """The untrained flow for this theory; raises `ValueError` for lattices that the masks do not divide."""
        check_integer("layers", self.layers, 1)
        check_integer("holonomies", self.holonomies, 0)
        check_integer("bins", self.bins, 2)
        rng = np.random.default_rng([check_integer("seed", self.seed, 0), 1])
        shape: tuple[int, int] = tuple(theory.parameters["shape"])
        if theory.name == "phi4":
            layers = coupling.affine_chain(rng, self.layers, self.hidden, odd=self.odd, last=self.last)
            return Flow(Normal(check_shape(shape, even=True)), layers)
        if theory.colours > 1:
            kernel = replace(spectral.SPLINE, bins=self.bins)
            layers = sun_coupling.spectral_chain(
                rng, theory.colours, shape, self.layers, last=self.last, pattern=self.pattern, hidden=self.hidden,
                staples=self.staples, kernel=spectral.SpectralKernel(theory.colours, kernel),
            )  # fmt: skip
            return Flow(self._gauge_base(theory), layers)
        return Flow(self._gauge_base(theory), self._angular(rng, shape))

    def _gauge_base(self, theory: Theory) -> Prior:
        shape: tuple[int, int] = tuple(theory.parameters["shape"])
        if self.base is not None:
            return PureGauge(check_number("base", self.base, 0), shape, theory.colours)
        return UniformAngles(shape) if theory.colours == 1 else Haar(theory.colours, shape)

    def _angular(self, rng: np.random.Generator, shape: tuple[int, int]) -> Chain:
        circle = replace(plaquette_coupling.SPLINE, bins=self.bins)
        layers: list[Layer] = []

        def add_holonomies() -> None:
            for mu in (0, 1):
                layers.append(holonomy.Holonomy.init(rng, shape, mu, circle=circle, last=self.last))

        for index in range(self.layers):
            if self.holonomies and index % self.holonomies == 0:
                add_holonomies()
            layers.append(
                plaquette_coupling.PlaquetteCoupling.init(
                    rng,
                    shape,
                    index,
                    pattern=self.pattern,
                    circle=circle,
                    hidden=self.hidden,
                    staples=self.staples,
                    last=self.last,
                )
            )
        if self.holonomies:
            add_holonomies()
        return Chain(tuple(layers))


def flow_plan(theory: Theory, steps: int | None = None) -> FlowPlan:
    """What is known to work for a theory, with the learning rate falling to zero in ``steps``; raises `ValueError` for others."""
    if theory.name not in THEORIES:
        raise ValueError(f"theory: got {theory.name!r}, expected one of {', '.join(THEORIES)}")
    if theory.name == "phi4":
        recipe = _recipe(steps or 4000, 8e-3)
        return FlowPlan(8, (8, 8), replace(recipe, rate=replace(recipe.rate, warm_up=20), average=0.98), last=0.3)
    if theory.colours > 1:
        return FlowPlan(16, (8,), _recipe(steps or 500, 5e-3))
    if theory.name == "schwinger":
        base = pure_gauge_beta(theory.parameters["beta"], theory.parameters["kappa"], BASE_SHAPE)
        return FlowPlan(8, (16,), _recipe(steps or 500, 2e-3), base=base, staples=False, holonomies=4)
    # 8 x 8, beta = 2: ESS 0.57 of 16384 draws after 1400 steps, 0.71 after 5000, in 4 and 14 CPU minutes.
    return FlowPlan(24, (16,), _recipe(steps or 1400, 2e-3), staples=False)


def _recipe(steps: int, rate: float) -> FlowRecipe:
    return FlowRecipe(steps=steps, rate=Rate(rate, "cosine", every=steps))
