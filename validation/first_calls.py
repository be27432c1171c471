"""The calls of the first suites, whose vectors do not say what is to be called: the content of their ``calls.json``.

Of phi^4 that file has correlators and moments alone: action and force are given there term by term, which is no call; suite
``phi4_couplings`` has them with couplings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .vector_format import call

Calls = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def of(suite: str, about: Mapping[str, Any], arrays: Arrays) -> Calls:
    """``parameters`` and ``calls`` of a vector of this suite; nothing for one that has its own."""
    return {} if "format" in about or suite not in _SUITES else _SUITES[suite](about, arrays)


def _u1(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    volume = int(np.prod(about["shape"]))
    angle = 1e-14  # of a sum of four angles, and a function of it
    calls = [
        call("force", ["x"], "force", 4 * angle),
        call("plaquette", ["x"], "plaquette", 4 * angle),
        call("charge", ["x"], "charge", 1e-9),
        call("sine_charge", ["x"], "sine_charge", volume * angle),
    ]
    if len(arrays["x"]) > 1:
        calls.insert(0, call("action", ["x"], "action", 4 * volume * angle, up_to_constant=True))
    return {"parameters": {"beta": 1.0, "shape": list(about["shape"])}, "calls": calls}


def _l2hmc(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    record = {name: about[name] for name in ("theory", "parameters", "masks")} | about["architecture"]
    calls = []
    for d, way in ((1, "forward"), (-1, "inverse")):
        arguments = [{"arrays": "params/"}, {"value": record}, ["x", "v"], d]
        angles = {"angles": [f"x_{way}"]} if about["theory"] == "u1" else {}
        calls.append(call("map_with_weights", arguments, [[f"x_{way}", f"v_{way}"], f"logdet_{way}"], 2e-12, **angles))
    return {"parameters": about["parameters"], "calls": calls}


def _fermions(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    def largest(name: str) -> float:
        return 1e-11 * max(1.0, float(np.ceil(np.abs(arrays[name]).max())))

    calls = [
        call("dirac_apply", ["x", "psi"], "dirac_psi", largest("dirac_psi")),
        call("logdet_dirac", ["x"], "log_determinant", largest("log_determinant")),
        call("plaquette", ["x"], "plaquette", 1e-13),
    ]
    for kind, parameters in about["pseudofermions"].items():
        for answer in ("action", "force"):
            name = f"{kind}/{answer}"
            arguments = ["x", f"{kind}/phi"]
            calls.append(call(f"pseudofermion_{answer}", arguments, name, largest(name), parameters=dict(parameters)))
    return {"parameters": {"beta": 1.0, "kappa": about["kappa"], "shape": list(about["shape"])}, "calls": calls}


def _phi4(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    """Of moments the sum of sizes is at most that of the largest site, to the power."""
    top = max(1.0, float(np.abs(arrays["x"]).max()))
    calls = [
        call("correlator", ["x", t], f"correlator:{t}", float(f"{1e-15 * top**2 * arrays['x'][0].size:.1g}"))
        for t in range(about["shape"][0])
    ]
    for k in range(1, 5):
        rounding = float(f"{1e-15 * top**k * arrays['x'][0].size:.1g}")
        calls.append(call("field_moment", ["x", k], f"moments:{k - 1}", rounding))
    return {"parameters": {"m2": 1.0, "lam": 1.0, "shape": list(about["shape"])}, "calls": calls}


def _flows(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    weights = [{"arrays": "params/"}, {"value": about["architecture"]}]
    angles = {"angles": ["image", "x"]} if about["theory"] == "u1" else {}
    return {
        "parameters": {"shape": list(about["shape"])},
        "calls": [
            call("flow_with_weights", [*weights, "x", 1], ["image", "logdet"], 1e-10, **angles),
            call("flow_with_weights", [*weights, "image", -1], ["x", None], 1e-10, **angles),
        ],
    }


def _conditionals(about: Mapping[str, Any], arrays: Arrays) -> Calls:
    weights = [{"arrays": "params/"}, {"value": about["architecture"]}, "x"]
    return {
        "parameters": {"shape": list(about["shape"])},
        "calls": [
            call("conditional_with_weights", [*weights, "chi", 1], ["phi", "logdet"], 1e-10),
            call("conditional_with_weights", [*weights, "phi", -1], ["chi", None], 1e-10),
        ],
    }


_SUITES: dict[str, Callable[[Mapping[str, Any], Arrays], Calls]] = {
    "u1": _u1,
    "l2hmc": _l2hmc,
    "fermions": _fermions,
    "phi4": _phi4,
    "flows": _flows,
    "conditionals": _conditionals,
}
