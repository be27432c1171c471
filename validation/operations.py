"""What can be asked of a process: for every capability of the contract its arrays, its parameters and its results.

`validation/PROTOCOL.md` has this as a table, for those who write the other side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .contract import TRANSITION_FIELDS
from .conversion import PSEUDOMARGINAL_FIELDS

# Shapes, in words: of every array the chain axis is the first but where it is written otherwise.
CHAIN, FIELD, MOMENTUM = "(chain,)", "x", "v"
SPINOR, PSEUDOFERMION, MONOMIAL = "spinor", "phi", "(chain, field)"
OPAQUE, WEIGHTS = "bytes", "weights"

Tree = str | tuple[Any, ...]


class Operation(NamedTuple):
    """One op: arrays and parameters by name, results by name, and how the function of the contract takes and returns them.

    ``takes`` are the names of the arguments in their order, a tuple for a tuple; ``gives`` is a name, or a tuple, or None for a
    mapping of all results.
    """

    arrays: Mapping[str, str]
    params: Mapping[str, str]
    results: Mapping[str, str]
    takes: tuple[Tree, ...]
    gives: Tree | None


def _op(
    arrays: Mapping[str, str],
    results: Mapping[str, str] | str,
    params: Mapping[str, str] | None = None,
    takes: tuple[Tree, ...] | None = None,
    gives: Tree | None = None,
) -> Operation:
    params = params or {}
    results = {"": results} if isinstance(results, str) else results
    return Operation(arrays, params, results, takes or (*arrays, *params), gives)


_INTEGER, _SEED = "integer >= 1", "integer >= 0"
_ONE_FIELD, _DIRECTION, _RECORD = {"x": FIELD}, "1 or -1", "object"
_MAP = {"x_proposed": FIELD, "v_proposed": MOMENTUM, "logdet": CHAIN}
_POINT: Tree = (("x_proposed", "v_proposed"), "logdet")
_UPDATE = {
    name: FIELD if name.startswith("x") else MOMENTUM if name.startswith("v") else CHAIN for name in TRANSITION_FIELDS
}
_CONDITIONAL = {"x": FIELD, "chi": PSEUDOFERMION}
_RUN = {"configurations": "(n, *x)", "state_next": OPAQUE}
_WITH_WEIGHTS = {"architecture": _RECORD, "d": _DIRECTION}

# A single result is named as its op.
_ALONE: dict[str, Operation] = {
    **dict.fromkeys(("action", "plaquette", "charge", "sine_charge"), _op(_ONE_FIELD, CHAIN)),
    **dict.fromkeys(("logdet_dirac", "control_variate", "log_prob"), _op(_ONE_FIELD, CHAIN)),
    "force": _op(_ONE_FIELD, MOMENTUM),
    "control_variate_field": _op(_ONE_FIELD, FIELD),
    "prior_log_prob": _op({"z": FIELD}, CHAIN),
    "wilson_loop": _op(_ONE_FIELD, CHAIN, {"extent_t": _INTEGER, "extent_x": _INTEGER}),
    "correlator": _op(_ONE_FIELD, CHAIN, {"t": "integer"}),
    "field_moment": _op(_ONE_FIELD, CHAIN, {"k": _INTEGER}),
    "step": _op(_ONE_FIELD, FIELD, {"seed": _SEED}),
    "integrated_autocorrelation_time": _op({"series": "(step,)"}, "()"),
    "dirac_dense": _op(_ONE_FIELD, "(chain, N, N)"),
    "dirac_apply": _op({"x": FIELD, "psi": SPINOR}, SPINOR),
    "pseudofermion_action": _op({"x": FIELD, "phi": PSEUDOFERMION}, CHAIN),
    "pseudofermion_force": _op({"x": FIELD, "phi": PSEUDOFERMION}, MOMENTUM),
    "pseudofermion_heat_bath": _op(_ONE_FIELD, PSEUDOFERMION, {"seed": _SEED}),
    "determinant_estimate": _op(_ONE_FIELD, "(chain, n)", {"n": _INTEGER, "seed": _SEED}),
    "conditional_log_prob": _op({"x": FIELD, "phi": PSEUDOFERMION}, MONOMIAL),
    "pseudomarginal_start": _op(_ONE_FIELD, CHAIN, {"seed": _SEED}),
}
_MANY: dict[str, Operation] = {
    "forward": _op({"x": FIELD, "v": MOMENTUM}, _MAP, takes=(("x", "v"),), gives=_POINT),
    "inverse": _op({"x": FIELD, "v": MOMENTUM}, _MAP, takes=(("x", "v"),), gives=_POINT),
    "map_with_weights": _op(
        {"x": FIELD, "v": MOMENTUM, "params": WEIGHTS}, _MAP, _WITH_WEIGHTS,
        takes=("params", "architecture", ("x", "v"), "d"), gives=_POINT,
    ),
    "transition": _op({"x": FIELD, "v": MOMENTUM, "u": CHAIN}, _UPDATE),
    "transcript": _op(_ONE_FIELD, {**_UPDATE, "v": MOMENTUM, "u": CHAIN}, {"seed": _SEED}),
    "run": _op(_ONE_FIELD, _RUN, {"n": _INTEGER, "seed": _SEED}, gives=("configurations", "state_next")),
    "resume": _op({"state": OPAQUE}, _RUN, {"n": _INTEGER}, gives=("configurations", "state_next")),
    "flow_forward": _op({"z": FIELD}, {"x": FIELD, "logdet": CHAIN}, gives=("x", "logdet")),
    "flow_inverse": _op(_ONE_FIELD, {"z": FIELD, "logdet": CHAIN}, gives=("z", "logdet")),
    "flow_with_weights": _op(
        {"z": FIELD, "params": WEIGHTS}, {"image": FIELD, "logdet": CHAIN}, _WITH_WEIGHTS,
        takes=("params", "architecture", "z", "d"), gives=("image", "logdet"),
    ),
    "sample": _op({}, {"x": FIELD, "log_prob": CHAIN}, {"n": _INTEGER, "seed": _SEED}, gives=("x", "log_prob")),
    "conditional_forward": _op(
        _CONDITIONAL, {"phi": PSEUDOFERMION, "logdet": MONOMIAL}, gives=("phi", "logdet")
    ),
    "conditional_inverse": _op(
        {"x": FIELD, "phi": PSEUDOFERMION}, {"chi": PSEUDOFERMION, "logdet": MONOMIAL}, gives=("chi", "logdet")
    ),
    "conditional_sample": _op(
        _ONE_FIELD, {"phi": PSEUDOFERMION, "log_prob": MONOMIAL}, {"seed": _SEED}, gives=("phi", "log_prob")
    ),
    "conditional_with_weights": _op(
        {**_CONDITIONAL, "params": WEIGHTS}, {"image": PSEUDOFERMION, "logdet": MONOMIAL}, _WITH_WEIGHTS,
        takes=("params", "architecture", "x", "chi", "d"), gives=("image", "logdet"),
    ),
    "joint_sample": _op(
        {}, {"x": FIELD, "phi": PSEUDOFERMION, "log_prob": CHAIN}, {"n": _INTEGER, "seed": _SEED},
        gives=("x", "phi", "log_prob"),
    ),
    "pseudomarginal": _op(
        {"x": FIELD, "log_w": CHAIN},
        {name: FIELD if name.startswith("x") else CHAIN for name in PSEUDOMARGINAL_FIELDS},
        {"seed": _SEED},
    ),
}  # fmt: skip
OPERATIONS: Mapping[str, Operation] = {
    **{name: op._replace(results={name: op.results[""]}, gives=name) for name, op in _ALONE.items()},
    **_MANY,
}


def operation(name: str, *, directed: bool = False, pseudofermions: bool = False) -> Operation:
    """The op as a target has it whose updates draw a direction, or pseudofermions, besides."""
    op = OPERATIONS[name]
    extra = {**({"d": CHAIN} if directed else {}), **({"phi": PSEUDOFERMION} if pseudofermions else {})}
    if name == "transition":
        return op._replace(arrays={**op.arrays, **extra}, takes=(*op.takes, *extra))
    return op._replace(results={**op.results, **extra}) if name == "transcript" else op


def flattened(op: Operation, arguments: tuple[Any, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a function as parameters and arrays by name; those of a net as ``params/KEY``, of which KEY is its own."""
    named = dict(_leaves(op.takes, arguments))
    params = {name: _plain(named[name]) for name in op.params}
    arrays: dict[str, Any] = {}
    for name, shape in op.arrays.items():
        if shape == WEIGHTS:
            arrays |= {f"{name}/{key}": value for key, value in named[name].items()}
        else:
            arrays[name] = named[name]
    return params, arrays


def arguments(op: Operation, params: Mapping[str, Any], arrays: Mapping[str, Any]) -> tuple[Any, ...]:
    """The inverse of `flattened`; raises KeyError with the name of what is missing."""

    def value(name: Tree) -> Any:
        if isinstance(name, tuple):
            return tuple(map(value, name))
        if op.arrays.get(name) == WEIGHTS:
            return {key.partition("/")[2]: array for key, array in arrays.items() if key.startswith(f"{name}/")}
        return params[name] if name in op.params else arrays[name]

    return tuple(value(name) for name in op.takes)


def returned(op: Operation, results: Mapping[str, Any]) -> Any:
    """Results by name as the function of the contract returns them."""

    def value(name: Tree) -> Any:
        return tuple(map(value, name)) if isinstance(name, tuple) else results[name]

    return dict(results) if op.gives is None else value(op.gives)


def named_results(op: Operation, result: Any) -> dict[str, Any]:
    """What a function returned, by name; raises ValueError where it has another structure."""
    if op.gives is not None:
        return dict(_leaves((op.gives,), (result,)))
    if not isinstance(result, Mapping) or (missing := [name for name in op.results if name not in result]):
        got = f"no {', '.join(missing)}" if isinstance(result, Mapping) else type(result).__name__
        raise ValueError(f"got {got}, expected a mapping with {', '.join(op.results)}")
    return {name: result[name] for name in op.results}


def _leaves(names: tuple[Tree, ...], values: Any) -> Iterator[tuple[str, Any]]:
    try:
        pairs = list(zip(names, values, strict=True))
    except (TypeError, ValueError):
        raise ValueError(f"got {type(values).__name__}, expected {len(names)}: {names}") from None
    for name, value in pairs:
        if isinstance(name, tuple):
            yield from _leaves(name, value)
        else:
            yield name, value


def _plain(value: Any) -> Any:
    """A NumPy number as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
