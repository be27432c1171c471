"""A small configuration in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .case import Case

Array = NDArray[Any]

FEW = 4  # numbers that are told one by one
_FRACTIONS = {1: "pi", 2: "pi/2", 3: "pi/3", 4: "pi/4"}
_INPUTS = {"v": "v", "u": "u", "d": "d", "psi": "psi", "phi": "phi", "z": "z", "chi": "chi"}


def described(case: Case) -> str:
    """As ``2x2, beta = 1, all links 0 but theta_0(1, 1) = pi/2``."""
    parts = [parameters(case.at.theory.declared() | _numbers(case))]
    parts += [_field(case)] if "x" in case.arrays else []
    parts += [_few(case.arrays[name], label) for name, label in _INPUTS.items() if name in case.arrays]
    seeds = [
        entry["arguments"][-1] for entry in case.calls if entry.get("function") in ("transcript", "step", "sample")
    ]
    parts += [f"seed {seed}" for seed in seeds[:1] if isinstance(seed, int)]
    return ", ".join(part for part in parts if part)


def parameters(values: Mapping[str, Any]) -> str:
    """As ``2x2, beta = 1``."""
    out: list[str] = []
    for name, value in values.items():
        if name == "shape":
            out.insert(0, "x".join(map(str, value)))
        elif np.ndim(value) == 0 and not isinstance(value, bool):
            out.append(f"{name} = {value:.6g}")
    return ", ".join(out)


def _numbers(case: Case) -> dict[str, Any]:
    names = ("step_size", "n_steps") if any(e.get("function") in _MOVING for e in case.calls) else ()
    return {name: case.at.parameter(name) for name in names if case.at.parameter(name) is not None}


_MOVING = ("forward", "inverse", "transition", "transcript", "step")


def _field(case: Case) -> str:
    x = case.arrays["x"]
    if np.iscomplexobj(x) and x.ndim == 6:
        cold = np.eye(x.shape[-1])
        far = np.argwhere(np.abs(x - cold).max(axis=(-2, -1)) > 1e-12)
        if not len(far):
            return "all links 1"
        if len(far) > FEW:
            return f"{len(far)} of {x[..., 0, 0].size} links not 1"
        return "all links 1 but " + ", ".join(_place("U", x, where) for where in far)
    if case.at.theory.name in ("u1", "schwinger"):
        return _few(x, "theta", "links")
    return _few(x, "phi" if case.at.theory.name == "phi4" else "x", "")


def _few(a: Array, label: str, what: str = "") -> str:
    """The numbers of an array that are not zero, if they are few."""
    far = np.argwhere(a != 0)
    every = f"all {what}" if what else label
    if not len(far):
        return f"{every} = 0" if not what else f"{every} 0"
    if a.size == 1:
        return f"{label} = {_number(a.flat[0])}"
    if len(far) > FEW:
        return f"{len(far)} of {a.size} {what or 'components of ' + label} not 0"
    told = ", ".join(f"{_place(label, a, where)} = {_number(a[tuple(where)])}" for where in far)
    return f"{every}{' 0' if what else ' = 0'} but {told}"


def _place(label: str, a: Array, where: Array) -> str:
    """The name of a component: chains are told where there are two, directions as an index."""
    chain, *rest = (int(k) for k in where)
    gauge = label in ("theta", "U", "v") and a.ndim >= 4
    name = f"{label}_{rest[0]}" if gauge else label
    site = ", ".join(map(str, rest[1:] if gauge else rest))
    return f"{name}({site})" + (f" of chain {chain}" if len(a) > 1 else "")


def _number(value: Any) -> str:
    """As a fraction of pi where it is one."""
    if np.iscomplexobj(value):
        value = complex(value)
        return _number(value.real) if value.imag == 0 else f"{value:.4g}"
    value = float(value)
    for k, name in _FRACTIONS.items():
        if abs(abs(value) - math.pi / k) < 1e-12:
            return ("-" if value < 0 else "") + name
    return f"{value:.6g}"
