"""Normalizing flows of this package as targets: a few layers, trained for a moment where that pays, or a model of a folder.

An update is the independence Metropolis step with their samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl import nets
from refimpl.actions import Action
from refimpl.kernels import IndependenceMetropolis, spawn_rngs
from refimpl.kernels.independence import ProposedState
from refimpl.maps.base import Chain, Inverse, Map, Params, parted
from refimpl.maps.coupling import AffineCoupling, affine_chain
from refimpl.maps.decimation import Decimation
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.plaquette_coupling import PlaquetteCoupling, gauge_chain
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.spectral import SpectralKernel
from refimpl.maps.splines import CircularSpline, IntervalSpline
from refimpl.maps.sun_coupling import SpectralCoupling
from refimpl.models import Flow, Haar, Normal, PureGauge, UniformAngles
from refimpl.models.files import KIND as FLOW
from refimpl.nets.convolution import ConvNet
from refimpl.theories import Theory, by_name
from refimpl.training import FlowRecipe, Rate, fit_flow, load_flow
from refimpl.training.checkpoints import WEIGHTS

from .kernels import Updates

Array = NDArray[np.float64]
Field = NDArray[Any]
Shape = tuple[int, int]

SEED = 20261126
MASK_PERIOD = 4  # of stripes and tiles; checkerboards have 2
STAPLED = (0, 1)  # layers with staples, one of links in time and one of links in space


class ReferenceFlow(Updates):
    """A flow for a theory; it is made when it is first used."""

    def __init__(self, theory: Theory, made: Callable[[], Flow], name: str) -> None:
        self.name, self.theory, self._theory, self._made = name, theory.name, theory, made
        for key, value in theory.parameters.items():
            setattr(self, key, tuple(value) if key == "shape" else value)
        self.flow_updates = True
        self.thrift = {"su2": 8, "su3": 16}.get(theory.name, 4)

    @cached_property
    def flow(self) -> Flow:
        return self._made()

    @property
    def sampled(self) -> Action:
        return self._theory.action

    @cached_property
    def kernel(self) -> Any:
        return IndependenceMetropolis(self.sampled, self.flow)

    def run(self, x: Field, n: int, seed: int) -> tuple[Field, Any]:
        """With ``log q`` of the field carried along."""
        kernel = self.kernel
        return self._advance(spawn_rngs(seed, len(x)), ProposedState.of(kernel.proposal, kernel.init(x)), n)

    def flow_forward(self, z: Field) -> tuple[Field, Array]:
        return self.flow.map.forward(z)

    def flow_inverse(self, x: Field) -> tuple[Field, Array]:
        return self.flow.map.inverse(x)

    def log_prob(self, x: Field) -> Array:
        return self.flow.log_prob(x)

    def prior_log_prob(self, z: Field) -> Array:
        return self.flow.prior.log_prob(z)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        return self.flow.sample(spawn_rngs(seed, n), n)

    @property
    def flow_with_weights(self) -> Callable[..., tuple[Field, Array]] | None:
        """Of the theories that there are files for."""
        return None if self.theory == "schwinger" else flow_with_weights

    @property
    def flow_prior(self) -> str:
        """By the class of the prior."""
        return {Normal: "normal", UniformAngles: "uniform", Haar: "haar", PureGauge: "pure_gauge"}[
            type(self.flow.prior)
        ]

    @property
    def flow_prior_beta(self) -> float | None:
        """Of pure gauge theory."""
        return self.flow.prior.beta if isinstance(self.flow.prior, PureGauge) else None

    @property
    def flow_symmetries(self) -> tuple[str, ...]:
        """What all layers have."""
        return tuple(sorted(set.intersection(*(set(_symmetries(layer)) for layer in layers(self.flow.map)))))

    @property
    def flow_period(self) -> int:
        return 2 if isinstance(self.flow.prior, Normal) else MASK_PERIOD

    @property
    def flow_moves(self) -> str:
        """Decimation leaves gauge and holonomies as they are, which are uniform before and after."""
        alone = all(isinstance(layer, Decimation) for layer in layers(self.flow.map))
        return "plaquettes" if alone else "links"


def flow_with_weights(params: Params, record: Mapping[str, Any], z: Field, d: int) -> tuple[Field, Array]:
    """The layers of a weight file (for ``d = -1`` their inverse), as the contract describes it."""
    channels, family = tuple(record["channels"]), record["family"]
    own = parted(params, len(record["layers"]))
    if family == "affine":
        net = ConvNet(channels, final="tanh")
        made: Sequence[Any] = [AffineCoupling(p, net, False, w) for p, w in zip(record["layers"], own, strict=True)]
    elif family == "spectral":
        kernel = SpectralKernel(z.shape[-1], IntervalSpline(record["bins"]), conditioned=False)
        made = [
            SpectralCoupling(z.shape[2:4], i, "stripes", kernel, ConvNet(channels), False, False, w)
            for i, w in zip(record["layers"], own, strict=True)
        ]
    else:
        circle = ProjectionMixture(channels[-1] - 1) if family == "projections" else CircularSpline(record["bins"])
        made = [
            PlaquetteCoupling(z.shape[2:], i, "stripes", circle, ConvNet(channels), "none", False, False, False, w)
            for i, w in zip(record["layers"], own, strict=True)
        ]
    whole = Chain(tuple(made))
    return whole.forward(z) if d > 0 else whole.inverse(z)


def layers(of: Map) -> tuple[Any, ...]:
    """The layers of a map, whatever their direction."""
    if isinstance(of, Chain):
        return tuple(layer for part in of.layers for layer in layers(part))
    return layers(of.of) if isinstance(of, Inverse) else (of,)


def _symmetries(layer: Any) -> tuple[str, ...]:
    if isinstance(layer, AffineCoupling):
        return ("translation", "parity") if layer.odd else ("translation",)
    if isinstance(layer, Decimation):
        return ("gauge", "conjugation")
    return ("gauge",) if isinstance(layer, Holonomy) else ("gauge", "translation")


# --- the targets that come with the package ----------------------------------------------------------------------------------
def affine(m2: float = 0.5, lam: float = 2.0, shape: Shape = (4, 2), steps: int = 150) -> ReferenceFlow:
    """Odd affine couplings of phi^4."""

    def made(rng: np.random.Generator) -> Flow:
        return Flow(Normal(shape), affine_chain(rng, 6, hidden=(8,), odd=True))

    return _trained("phi4", made, steps, "affine couplings", m2=m2, lam=lam, shape=shape)


def plaquettes(beta: float = 1.0, shape: Shape = (4, 4), steps: int = 100) -> ReferenceFlow:
    """Splines of U(1) plaquettes, from uniform links."""

    def made(rng: np.random.Generator) -> Flow:
        return Flow(UniformAngles(shape), gauge_chain(rng, shape, 8, hidden=(8,), last=0.3))

    return _trained("u1", made, steps, "plaquette couplings", beta=beta, shape=shape)


def holonomies(beta: float = 1.0, kappa: float = 0.2, shape: Shape = (4, 4), steps: int = 0) -> ReferenceFlow:
    """Splines of plaquettes and holonomies, from pure gauge theory, for the Schwinger model."""

    def made(rng: np.random.Generator) -> Flow:
        moved = gauge_chain(rng, shape, 8, hidden=(8,), last=0.05).layers
        turned = tuple(Holonomy.init(rng, shape, mu, last=0.3) for mu in (0, 1))
        return Flow(PureGauge(1.1 * beta, shape), Chain((*moved, *turned)))

    return _trained("schwinger", made, steps, "plaquette and holonomy layers", beta=beta, kappa=kappa, shape=shape)


def decimation(beta: float = 2.0, shape: Shape = (4, 4)) -> ReferenceFlow:
    """The exact flow of U(1)."""
    theory = by_name("u1", beta=beta, shape=shape)
    return ReferenceFlow(theory, lambda: Flow(UniformAngles(shape), Decimation(beta, shape)), "refimpl decimation flow")


def spectra(n: int, beta: float = 1.0, shape: Shape = (4, 4), steps: int = 30) -> ReferenceFlow:
    """Splines of the spectra of SU(n) plaquettes, from Haar-distributed links."""

    def made(rng: np.random.Generator) -> Flow:
        return Flow(Haar(n, shape), spectral_layers(rng, n, shape, hidden=(8,), last=0.3))

    return _trained(f"su{n}", made, steps, "spectral couplings", beta=beta, shape=shape)


def spectral_layers(rng: np.random.Generator, n: int, shape: Shape, hidden: tuple[int, ...], last: float) -> Chain:
    """Every link once, by layers with staples and without; spectra are what they cost, two with and one without."""
    return Chain(
        tuple(SpectralCoupling.init(rng, n, shape, i, hidden=hidden, staples=i in STAPLED, last=last) for i in range(8))
    )


def _trained(
    theory: str, made: Callable[[np.random.Generator], Flow], steps: int, name: str, **parameters: Any
) -> ReferenceFlow:
    """A target with so many steps of training."""
    of = by_name(theory, **parameters)
    made(np.random.default_rng(SEED))  # lattices that the masks do not divide are refused at once

    def trained() -> Flow:
        flow = made(np.random.default_rng(SEED))
        if not steps:
            return flow
        recipe = FlowRecipe(steps=steps, batch=64, rate=Rate(1e-2, "cosine", every=steps), average=0.0, seed=SEED)
        return fit_flow(of, flow, recipe).flow(flow)

    return ReferenceFlow(of, trained, f"refimpl {name} of {theory}")


def is_flow(folder: Path) -> bool:
    """Whether the model in a folder is one; what is missing or damaged is none."""
    try:
        return bool(nets.load(Path(folder) / WEIGHTS)[1].get("kind") == FLOW)
    except (OSError, ValueError):
        return False


def trained_flow(folder: Path, **parameters: Any) -> ReferenceFlow:
    """A flow of ``refimpl train flow``, for the theory it was trained for, or for other couplings; raises `ValueError`."""
    own = load_flow(folder)[1]
    theory = by_name(own.name, **{**own.parameters, **parameters})
    flow = load_flow(folder, theory)[0]
    return ReferenceFlow(theory, lambda: flow, f"flow in {folder}")
