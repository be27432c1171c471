"""The kernels of the command ``sample``: their options, the record of them that a run keeps, and the kernels themselves."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import count, non_negative, positive, positives
from .recipes import called_options

if TYPE_CHECKING:
    from refimpl.models import Flow
    from refimpl.theories import Theory

KERNELS = {
    "hmc": "Hybrid Monte Carlo, with fermions of their exact determinant",
    "l2hmc": "the generalized leapfrog of --model",
    "fourier": "HMC whose momenta are those of a free field, without critical slowing down",
    "winding": "HMC and a winding step in turn",
    "flux": "HMC and a flux heat bath in turn",
    "orbit": "HMC and a flux drawn from pure gauge theory (C1) in turn",
    "independence": "HMC and an exact pure gauge configuration as proposal in turn",
    "pseudofermion": "HMC with pseudofermions, on nested time scales",
    "flow": "the flow of --model as proposal; of a joint model its links, with the exact determinant",
    "pseudomarginal": "the joint model of --model as proposal, with the determinant estimated by its pseudofermions",
    "flow-hmc": "HMC of the field that the flow of --model maps to the physical one",
}
FLOWS = ("flow", "flow-hmc")
PLAIN, SUN = ("hmc", "l2hmc"), ("hmc", "pseudofermion", *FLOWS, "pseudomarginal")
OF_THEORY = {
    "u1": ("hmc", "l2hmc", "winding", "flux", *FLOWS),
    "schwinger": ("hmc", "pseudofermion", "winding", "orbit", "independence", *FLOWS, "pseudomarginal"),
    "su2": SUN,
    "su3": SUN,
    "phi4": ("hmc", "fourier", "l2hmc", *FLOWS),
}
DRAWING = ("flow", "pseudomarginal")  # whose flow a run may start from
ALONE = ("l2hmc", *DRAWING)  # without HMC, but for --cycle
TRAINED = (*ALONE, "flow-hmc")  # with a model
# Options that belong to one kernel, and those of its trajectories that all with HMC have.
OF_KERNEL = {
    "model": TRAINED,
    "cycle": ALONE,
    "mass2": ("fourier",),
    "stiffness": ("fourier",),
    "proposal_beta": ("independence",),
    "even_odd": ("pseudofermion",),
    "mus": ("pseudofermion",),
    "inner_steps": ("pseudofermion",),
    "n_pf": ("pseudomarginal",),
    "inflation": ("pseudomarginal",),
}
HMC_OPTIONS = ("integrator", "step_size", "steps")
OPTIONS = ("kernel", *OF_KERNEL, *HMC_OPTIONS)
HMC_DEFAULTS = {"integrator": "leapfrog", "step_size": 0.2, "steps": 10}
# At 0.2 the zero mode of phi^4 at m2 = 0.1, lam = 24 turns by almost pi in a trajectory, and keeps its size.
STEP_SIZES = {"phi4": 0.15}
# Forces through splines and nets with kinks vary over small distances.
FLOW_STEP_SIZE = 0.05
N_PF = 16
GAUGE_STEPS = 4  # of the gauge action in a step of the pseudofermions, whose force is smaller and costs far more


def kernel_options(parser: argparse.ArgumentParser, theory: str) -> None:
    """The options of the kernels that a theory has."""
    kernels = OF_THEORY.get(theory, PLAIN)
    listed = "; ".join(f"{name}: {KERNELS[name]}" for name in kernels)
    parser.add_argument("--kernel", choices=list(kernels), help=f"default hmc; {listed}")
    if trained := [name for name in TRAINED if name in kernels]:
        commands = {"l2hmc": "l2hmc", "flow": "flow", "pseudomarginal": "joint"}
        made = " or ".join(f"`refimpl train {made}`" for name, made in commands.items() if name in trained)
        parser.add_argument("--model", metavar="DIR", help=f"folder made by {made}")
        text = f"with {' or '.join(name for name in ALONE if name in kernels)}: N HMC updates before each of its own"
        parser.add_argument("--cycle", type=count, metavar="N", help=text)
    parser.add_argument("--integrator", choices=["leapfrog", "omelyan"], help="of HMC (default leapfrog)")
    own_size = f"; {FLOW_STEP_SIZE} with flow-hmc" if "flow-hmc" in kernels else ""
    parser.add_argument("--step-size", type=positive, help=f"of HMC (default {STEP_SIZES.get(theory, 0.2)}{own_size})")
    parser.add_argument("--steps", type=count, help="integrator steps of HMC (default 10)")
    if "fourier" in kernels:
        own = parser.add_argument_group("fourier", "momenta have the covariance stiffness k^2 + mass2")
        own.add_argument("--mass2", type=positive, help="default: mass squared of the closest free field")
        own.add_argument("--stiffness", type=non_negative, help="default 1; at 0, with --mass2 1, it is HMC")
    if "independence" in kernels:
        text = "of the proposed configurations (default: the closest pure gauge theory)"
        parser.add_argument("--proposal-beta", type=non_negative, metavar="BETA", help=text)
    if "pseudofermion" in kernels:
        own = parser.add_argument_group("pseudofermion")
        flag = argparse.BooleanOptionalAction
        text = "of the Schur complement of the even sites (default where both extents are even)"
        own.add_argument("--even-odd", action=flag, default=None, help=text)
        text = "Hasenbusch masses, increasing (default none): as many monomials and one more"
        own.add_argument("--mus", type=positive, nargs="+", metavar="MU", help=text)
        text = (
            f"one number: gauge steps in each of the --steps of all monomials (default {GAUGE_STEPS}); or, with k masses, k + 1 "
            "numbers: steps of the 2nd, 3rd, ... monomial, each within a step of the one before, and last of the gauge action"
        )
        own.add_argument("--inner-steps", type=count, nargs="+", metavar="N", help=text)
    if "pseudomarginal" in kernels:
        own = parser.add_argument_group("pseudomarginal")
        text = f"pseudofermions of every monomial in an estimate (default {N_PF}); whatever it is, the chain is exact"
        own.add_argument("--n-pf", type=count, metavar="N", help=text)
        text = "factor on pseudofermions, or one for each monomial: larger, estimates have lighter tails (default: the model's)"
        own.add_argument("--inflation", type=positives, metavar="C,...", help=text)


def kernel_configuration(arguments: argparse.Namespace, theory: Theory) -> dict[str, Any]:
    """The options of the kernel with all defaults filled in; raises `ValueError` for those that do not fit together."""
    own = {option: getattr(arguments, option, None) for option in OPTIONS}
    own["kernel"] = name = own["kernel"] or "hmc"
    if own["model"] is not None:
        own["model"] = os.path.abspath(own["model"])
    if name in TRAINED and own["model"] is None:
        raise ValueError(f"--model: got nothing, expected the folder of a model for --kernel {name}")
    for option, kernels in OF_KERNEL.items():
        if name not in kernels and own[option] is not None:
            here = [kernel for kernel in kernels if kernel in OF_THEORY.get(theory.name, PLAIN)]
            raise ValueError(
                f"--{option.replace('_', '-')}: got {own[option]!r} with --kernel {name}, expected it with "
                f"{' or '.join(here)} only"
            )
    hmc = name not in ALONE or own["cycle"] is not None
    defaults = HMC_DEFAULTS | ({"step_size": STEP_SIZES[theory.name]} if theory.name in STEP_SIZES else {})
    if name == "flow-hmc":
        defaults["step_size"] = FLOW_STEP_SIZE
    for option, default in defaults.items():
        if not hmc and own[option] is not None:
            raise ValueError(f"--{option.replace('_', '-')}: got it without HMC, expected --cycle N with it")
        if hmc and own[option] is None:
            own[option] = default
    if name == "pseudofermion":
        own |= _pseudofermions(own, theory)
    if name == "pseudomarginal":
        _check_fermions(name, theory)
        own["n_pf"] = own["n_pf"] or N_PF
    if name == "fourier":
        own |= _fourier(own, theory)
    if name == "independence" and own["proposal_beta"] is None:
        from refimpl.theories import pure_gauge_beta

        p = theory.parameters
        own["proposal_beta"] = pure_gauge_beta(p["beta"], p["kappa"], tuple(p["shape"]))
    return {option: value for option, value in own.items() if value is not None}


def _fourier(own: dict[str, Any], theory: Theory) -> dict[str, Any]:
    """The options of Fourier acceleration: those of the closest free field by default, all of whose modes turn alike."""
    from refimpl.exact import phi4

    p = theory.parameters
    mass2 = phi4.free_mass(p["m2"], p["lam"], tuple(p["shape"])) if own["mass2"] is None else own["mass2"]
    return {"mass2": mass2, "stiffness": 1.0 if own["stiffness"] is None else own["stiffness"]}


def _pseudofermions(own: dict[str, Any], theory: Theory) -> dict[str, Any]:
    """The options of pseudofermions; raises `ValueError` for those that there cannot be."""
    shape = theory.parameters["shape"]
    _check_fermions("pseudofermion", theory)
    even = not any(extent % 2 for extent in shape)
    if own["even_odd"] and not even:
        raise ValueError(f"--even-odd: got it for the shape {shape}, expected even extents")
    mus = own["mus"] or []
    if sorted(set(mus)) != mus:
        raise ValueError(f"--mus: got {mus}, expected increasing masses")
    inner = own["inner_steps"] or [GAUGE_STEPS]
    if len(inner) not in (1, len(mus) + 1):
        each = f" or {len(mus) + 1}, one more than Hasenbusch masses" if mus else ", as there is one monomial"
        raise ValueError(f"--inner-steps: got {len(inner)} numbers, expected 1{each}")
    return {"even_odd": even if own["even_odd"] is None else own["even_odd"], "mus": mus, "inner_steps": inner}


def _check_fermions(name: str, theory: Theory) -> None:
    """Raises `ValueError` for a theory without fermions."""
    if not theory.parameters["kappa"]:
        raise ValueError(f"--kernel: got {name} for {theory.name} without fermions, expected --kappa above 0")


def kernel_from(configuration: dict[str, Any], theory: Theory, folder: Path) -> Any:
    """The update that a configuration names, with the model in a folder."""
    from refimpl.kernels import Cycle, FluxHeatBath, IndependenceMetropolis, Kernel, OrbitMetropolis, PureGauge, Winding

    name, action = configuration["kernel"], theory.action
    hmc: list[Kernel] = [trajectories_from(configuration, theory, folder)] if "step_size" in configuration else []
    if name in ("hmc", "fourier", "pseudofermion", "flow-hmc"):
        return hmc[0]
    if name == "winding":
        return Cycle([*hmc, Winding(action)])
    if name == "flux":
        return Cycle([*hmc, FluxHeatBath(action)])  # type: ignore[arg-type]
    if name == "orbit":
        return Cycle([*hmc, OrbitMetropolis(action)])  # type: ignore[arg-type]
    if name == "independence":
        proposal = PureGauge(configuration["proposal_beta"], tuple(theory.parameters["shape"]))
        return Cycle([*hmc, IndependenceMetropolis(action, proposal)])
    kernel = _trained(configuration, theory, folder)
    return Cycle([*hmc * configuration["cycle"], kernel]) if hmc else kernel


def _trained(configuration: dict[str, Any], theory: Theory, folder: Path) -> Any:
    """The kernel of a model in a folder."""
    from refimpl.kernels import IndependenceMetropolis
    from refimpl.kernels.l2hmc import L2HMC
    from refimpl.training import load_model

    if configuration["kernel"] == "pseudomarginal":
        return _pseudomarginal(configuration, theory, folder)
    if configuration["kernel"] == "flow":
        return IndependenceMetropolis(theory.action, _told(theory, folder))
    _tell_other(load_model(folder)[1], theory)
    return L2HMC(load_model(folder, theory)[0])


def _pseudomarginal(configuration: dict[str, Any], theory: Theory, folder: Path) -> Any:
    """The joint model in a folder as proposal and as estimator."""
    from refimpl.kernels import JointDeterminant, PseudomarginalMetropolis
    from refimpl.training import load_joint

    model, trained, recipe = load_joint(folder, theory)
    _tell_other(trained, theory)
    _tell_unfinished(folder, recipe.steps)
    with called_options(argparse.Namespace(**configuration)):
        model = model.inflated(configuration.get("inflation", model.inflation))
    gauge = theory.action.terms[0]  # type: ignore[attr-defined]  # a Sum: the theory has fermions
    return PseudomarginalMetropolis(gauge, model.marginal, JointDeterminant(model, configuration["n_pf"]))


def flow_of(theory: Theory, folder: Path) -> Flow:
    """The flow in a folder, or the marginal of a joint model; raises `ValueError` for one of other fields than the theory has."""
    return _loaded(theory, folder)[0]


def _told(theory: Theory, folder: Path) -> Flow:
    """`flow_of`, with a word to the user where it was trained at other parameters, or not to the end."""
    flow, trained, steps = _loaded(theory, folder)
    _tell_other(trained, theory)
    _tell_unfinished(folder, steps)
    return flow


def _loaded(theory: Theory, folder: Path) -> tuple[Flow, Theory, int]:
    """The flow in a folder, or the marginal of a joint model, the theory that it is trained for, and the steps of that training."""
    from refimpl.models.records import KindError
    from refimpl.training import load_flow, load_joint

    try:
        flow, trained, recipe = load_flow(folder, theory)
    except KindError:
        model, trained, joint_recipe = load_joint(folder, theory)
        return model.marginal, trained, joint_recipe.steps
    return flow, trained, recipe.steps


def _tell_other(trained: Theory, theory: Theory) -> None:
    """Say so where a model is used at other parameters than it was trained at."""
    if dict(trained.parameters) != dict(theory.parameters):
        own = dict(trained.parameters)
        print(f"refimpl: the model was trained at {own}: exact here too, but less efficient", file=sys.stderr)


def _tell_unfinished(folder: Path, steps: int) -> None:
    """Say so where the training of a model in its folder has not come to its end; the copy that a run keeps does not know."""
    from refimpl.training.states import steps_done

    done = steps_done(folder)
    if done is not None and done < steps:
        print(
            f"refimpl: the training of the model is not finished, {done} of {steps} steps: exact all the same, but less efficient",
            file=sys.stderr,
        )


def trajectories_from(configuration: dict[str, Any], theory: Theory, folder: Path) -> Any:
    """The HMC of a kernel, with the flow in a folder where it has one."""
    from refimpl.kernels import HMC, FieldTransformationHMC, FourierHMC
    from refimpl.maps import INTEGRATORS

    name = configuration["kernel"]
    if name == "pseudofermion":
        return _nested(configuration, theory)
    integrator, action = INTEGRATORS[configuration["integrator"]], theory.action
    step_size, steps = configuration["step_size"], configuration["steps"]
    if name == "fourier":
        own = {name: configuration[name] for name in ("mass2", "stiffness")}
        return FourierHMC(action, step_size, steps, integrator=integrator, **own)
    if name == "flow-hmc":
        layers: Any = _told(theory, folder).map
        return FieldTransformationHMC(action, layers, step_size, steps, integrator)
    return HMC(action, step_size, steps, integrator)


def _nested(configuration: dict[str, Any], theory: Theory) -> Any:
    """HMC with pseudofermions: the monomials outside, from the lightest on, and the gauge action inside."""
    from refimpl.actions import hasenbusch
    from refimpl.kernels import Level, NestedHMC
    from refimpl.maps import INTEGRATORS

    gauge = theory.action.terms[0]  # type: ignore[attr-defined]  # a Sum: the theory has fermions
    monomials = hasenbusch(
        theory.parameters["kappa"], configuration["mus"], even_odd=configuration["even_odd"], n=theory.colours
    )
    inner, integrator = configuration["inner_steps"], INTEGRATORS[configuration["integrator"]]
    groups = [monomials, (gauge,)] if len(inner) == 1 else [*((one,) for one in monomials), (gauge,)]
    steps = [configuration["steps"], *inner]
    levels = tuple(Level(terms, n, integrator) for terms, n in zip(groups, steps, strict=True))
    return NestedHMC(levels, configuration["step_size"] * configuration["steps"])
