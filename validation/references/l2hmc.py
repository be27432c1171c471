"""Built-in targets of the generalized leapfrog, in the weight regimes that show different mistakes.

Small random nets of mean zero hide a missing logdet, so the nets are also put where it matters: all S alike (``coherent_s``:
|logdet| of order one at an acceptance that is not 1), all T alike, and large (for what is deterministic only).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl import observables
from refimpl.actions import Mixture, SmoothAction, WilsonU1
from refimpl.maps import PhasePoint
from refimpl.maps.architecture import Architecture, Params
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.nets import Net
from refimpl.theories import by_name

from .kernels import COVARIANCES, MEANS, WEIGHTS, KernelTarget

Array = NDArray[np.float64]

REGIMES = ("zero", "small", "coherent_s", "coherent_t", "large")
NETS: dict[str, Net] = {
    "scalars": Net("scalars"),
    "dense": Net("dense", units=(16, 8), activation="tanh"),
    "conv": Net("conv", filters=(4,), activation="tanh"),
    "stencil": Net("stencil", filters=(4,), rank=2, activation="tanh"),
    "plaquette": Net("conv", filters=(4,), activation="tanh", outputs="tq"),
}


def regime_parameters(architecture: Architecture, regime: str, step_size: float, seed: int = 0) -> Params:
    """Parameters of an architecture in one of the `REGIMES`; raises `ValueError` for another name.

    ``small``: heads of size 0.1. ``coherent_s`` (``t``): all S (T) of the momentum nets biased alike, so that the logdet of
    the whole map is about 2 (the momenta are pushed by 0.2 in all). ``large``: everything of size one.
    """
    if regime not in REGIMES:
        raise ValueError(f"regime: got {regime!r}, expected one of {', '.join(REGIMES)}")
    rng = np.random.default_rng(seed)
    params = architecture.init(rng, step_size)
    size = {"zero": 0.0, "large": 1.0}.get(regime, 0.1)
    out = {}
    for key, value in params.items():
        noise = size * rng.standard_normal(value.shape)
        head = "/head/" in key or "/scalar/" in key
        out[key] = value + noise if head or (regime == "large" and "variance" not in key) else value
    for name in ("eps_x", "eps_v"):
        out[name] = params[name] * (1 + 0.1 * size * rng.standard_normal(params[name].shape))
    length, entries = architecture.n_layers * step_size, math.prod(architecture.field_shape)
    if regime == "coherent_s":
        _bias(out, "s", 2.0 / (length * entries))
    if regime == "coherent_t":
        _bias(out, "t", 0.2 / length)
    return out


def _bias(params: Params, letter: str, value: float) -> None:
    for key in params:
        if key == f"v/scalar/{letter}":
            params[key] = np.full_like(params[key], value)
        elif key == f"v/head/{letter}/bias":
            bounded = math.atanh(min(value, 0.9)) if letter == "s" else value
            params[key] = np.full_like(params[key], bounded)
        elif key == f"v/head/{letter}/scale":
            params[key] = np.ones_like(params[key])


def map_with_weights(params: Params, record: dict[str, Any], z: PhasePoint, d: int) -> tuple[PhasePoint, Array]:
    """The map (for ``d = -1`` its inverse) of a weight file, as the contract describes it."""
    net = Net("dense", tuple(record["units"]), record["activation"], record["outputs"])
    names = ("angular", "n_layers", "mask", "encoding", "shared", "time")
    fields = {name: record[name] for name in names}
    architecture = Architecture(tuple(record["field_shape"]), v_net=net, x_net=net, **fields)
    action = by_name(record["theory"], **record["parameters"]).smooth_action
    model = GeneralizedLeapfrog(action, architecture, params, merged=record["merged"])
    return model.forward(z) if d > 0 else model.inverse(z)


@dataclass(frozen=True)
class ReferenceL2HMC(KernelTarget):
    """The generalized leapfrog for two-dimensional U(1)."""

    beta: float = 2.0
    shape: tuple[int, int] = (4, 4)
    step_size: float = 0.15
    n_layers: int = 3
    net: str = "dense"
    regime: str = "coherent_s"
    merged: bool = False
    mask: str = "random"
    encoding: str = "cartesian"
    winding: int = 0
    seed: int = 0
    theory: ClassVar[str] = "u1"

    @property
    def name(self) -> str:
        kernel = "merged" if self.merged else "direction"
        return f"refimpl U(1) generalized leapfrog, {self.net}, {self.regime}, {kernel}"

    @property
    def architecture(self) -> Architecture:
        net = NETS[self.net]
        gauge_invariant = self.net == "plaquette"
        return Architecture(
            (2, *self.shape),
            True,
            self.n_layers,
            v_net=replace(net, outputs="stq") if gauge_invariant else net,
            x_net=None if self.net == "scalars" else net,
            mask=self.mask,
            encoding="plaquette" if gauge_invariant else self.encoding,
            winding=self.winding,
        )

    @property
    def thrift(self) -> int:
        """Nets that are evaluated at every site take many times longer."""
        return {"scalars": 1, "dense": 4 if self.merged else 2}.get(self.net, 8)

    @property
    def equivariant(self) -> bool:
        """Scalars are the same for every link; the nets see links, or have a mask that singles out some."""
        return self.net == "scalars" and not self.winding

    @property
    def sampled(self) -> SmoothAction:
        return WilsonU1(self.beta)

    @cached_property
    def map(self) -> GeneralizedLeapfrog:
        params = regime_parameters(self.architecture, self.regime, self.step_size, self.seed)
        return GeneralizedLeapfrog(self.sampled, self.architecture, params, merged=self.merged)

    map_with_weights = staticmethod(map_with_weights)

    plaquette = staticmethod(observables.mean_plaquette)
    charge = staticmethod(observables.charge)
    sine_charge = staticmethod(observables.sine_charge)
    wilson_loop = staticmethod(observables.wilson_loop)


@dataclass(frozen=True)
class ReferenceL2HMCMixture(KernelTarget):
    """The generalized leapfrog for a mixture of Gaussians: position updates on the real line."""

    weights: Any = WEIGHTS
    means: Any = MEANS
    covariances: Any = COVARIANCES
    step_size: float = 0.2
    n_layers: int = 4
    regime: str = "coherent_s"
    merged: bool = False
    seed: int = 0
    theory: ClassVar[str] = "gmm"
    thrift: ClassVar[int] = 4  # nets and a mixture, in every one of many chains

    @property
    def name(self) -> str:
        return f"refimpl mixture generalized leapfrog, {self.regime}, {'merged' if self.merged else 'direction'}"

    @property
    def architecture(self) -> Architecture:
        net = NETS["dense"]
        return Architecture((len(self.means[0]),), False, self.n_layers, v_net=net, x_net=net)

    @property
    def sampled(self) -> SmoothAction:
        return Mixture(np.array(self.weights), np.array(self.means), np.array(self.covariances))

    @cached_property
    def map(self) -> GeneralizedLeapfrog:
        params = regime_parameters(self.architecture, self.regime, self.step_size, self.seed)
        return GeneralizedLeapfrog(self.sampled, self.architecture, params, merged=self.merged)

    map_with_weights = staticmethod(map_with_weights)
