"""The targets that come with the package, by name, and trained models as targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from refimpl import observables
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.theories import Theory, by_name
from refimpl.training import load_model
from refimpl.training.checkpoints import WEIGHTS

from .contract import TargetError
from .references import flows, joint
from .references.chains import ReferenceChains
from .references.fermions import ReferencePseudofermion, ReferenceSchwinger, ReferenceSUN
from .references.kernels import KernelTarget, ReferenceGaussian, ReferenceMixture, ReferenceO2, ReferenceU1
from .references.l2hmc import ReferenceL2HMC, ReferenceL2HMCMixture, map_with_weights
from .references.phi4 import ReferenceFourierHMC, ReferencePhi4
from .references.variates import ReferenceGaugeVariate, ReferenceVariate

# ``refimpl validate builtin:NAME``; ``--theory NAME`` alone picks the one of that name.
BUILT_IN: Mapping[str, Callable[..., Any]] = {
    "u1": ReferenceU1,
    "o2": ReferenceO2,
    "gaussian": ReferenceGaussian,
    "gmm": ReferenceMixture,
    "l2hmc": ReferenceL2HMC,
    "l2hmc-merged": partial(ReferenceL2HMC, merged=True),
    "l2hmc-scalars": partial(ReferenceL2HMC, net="scalars"),
    "l2hmc-conv": partial(ReferenceL2HMC, net="conv"),
    "l2hmc-stencil": partial(ReferenceL2HMC, net="stencil"),
    "l2hmc-plaquette": partial(ReferenceL2HMC, net="plaquette"),
    "l2hmc-winding": partial(ReferenceL2HMC, net="scalars", winding=1),
    "l2hmc-gmm": ReferenceL2HMCMixture,
    "chains": ReferenceChains,
    "schwinger": ReferenceSchwinger,
    "schwinger-pseudofermion": ReferencePseudofermion,
    "su2": partial(ReferenceSUN, 2),
    "su3": partial(ReferenceSUN, 3),
    "phi4": ReferencePhi4,
    "fourier": ReferenceFourierHMC,
    "flow": flows.plaquettes,
    "flow-phi4": flows.affine,
    "flow-schwinger": flows.holonomies,
    "flow-su2": partial(flows.spectra, 2),
    "flow-su3": partial(flows.spectra, 3, beta=1.5, steps=20),
    "decimation": flows.decimation,
    "joint": joint.angles,
    "joint-su2": partial(joint.matrices, 2),
    "joint-su3": partial(joint.matrices, 3),
    "control_variate": ReferenceVariate,
    "control_variate-factorised": partial(ReferenceVariate, method="factorised"),
    "control_variate-linear": partial(ReferenceVariate, method="linear"),
    "control_variate-free": partial(ReferenceVariate, method="free"),
    "control_variate-neural": partial(ReferenceVariate, method="neural"),
    "gauge_variate": ReferenceGaugeVariate,
    "gauge_variate-loop": partial(ReferenceGaugeVariate, observable="wilson_loop_2x2"),
    "gauge_variate-neural": partial(ReferenceGaugeVariate, method="neural"),
    "gauge_variate-conditional": partial(ReferenceGaugeVariate, method="conditional", observable="wilson_loop_2x2"),
}


class TrainedModel(KernelTarget):
    """A model from `refimpl train l2hmc`, at the theory it was trained for."""

    def __init__(self, model: GeneralizedLeapfrog, theory: Theory, name: str) -> None:
        self._model, self._theory, self.name = model, theory, name
        self.theory = theory.name
        for key, value in theory.parameters.items():
            setattr(self, key, tuple(value) if key == "shape" else value)
        if theory.name == "u1":
            self.plaquette, self.charge = observables.mean_plaquette, observables.charge
            self.sine_charge, self.wilson_loop = observables.sine_charge, observables.wilson_loop

    @property
    def map(self) -> GeneralizedLeapfrog:
        return self._model

    @property
    def sampled(self) -> Any:
        return self._theory.action

    map_with_weights = staticmethod(map_with_weights)

    @property
    def equivariant(self) -> bool:
        return self._model.architecture.affine_kicks and not self._model.architecture.winding


def trained(folder: str) -> Callable[..., TrainedModel | flows.ReferenceFlow]:
    """A factory of the model in a folder as a target, at its own parameters or others; raises `TargetError` without one."""
    if not folder:
        raise TargetError("TARGET: got model: without a folder, expected model:DIR")
    path = Path(folder) / WEIGHTS
    if not path.exists():
        raise TargetError(
            f"TARGET: {path}: got no such file, expected a folder made by refimpl train l2hmc, refimpl train flow or refimpl "
            "train joint"
        )
    try:
        if joint.is_joint(Path(folder)):
            joint.trained_joint(Path(folder))
            return partial(joint.trained_joint, Path(folder))
        if flows.is_flow(Path(folder)):
            flows.trained_flow(Path(folder))
            return partial(flows.trained_flow, Path(folder))
        own = load_model(Path(folder))[1]
    except (ValueError, OSError) as error:
        raise TargetError(f"TARGET: {error}") from error

    def made(**parameters: Any) -> TrainedModel:
        theory = by_name(own.name, **{**own.parameters, **parameters})
        return TrainedModel(load_model(Path(folder), theory)[0], theory, f"model in {folder}")

    return made
