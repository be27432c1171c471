"""Models and training states on disk: ``weights.npz`` and ``checkpoint.npz`` in a folder, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nets
from ..lattice import check_integer
from ..maps.architecture import Architecture, NetWeights, Params
from ..maps.l2hmc import GeneralizedLeapfrog
from ..theories import Theory, by_name
from .optimise import Adam

Array = NDArray[np.float64]

WEIGHTS, STATE = "weights.npz", "checkpoint.npz"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything a training needs to go on: parameters, their average, Adam, chains, random states, the best so far."""

    step: int
    params: Params
    average: Params
    adam: Adam
    x: Array
    rng_states: tuple[Mapping[str, Any], ...]
    best: Params
    best_score: float
    history: Array


def save_model(folder: Path, model: GeneralizedLeapfrog, theory: Theory, recipe: dict[str, Any]) -> None:
    """Write ``weights.npz``: the parameters under their keys, and as JSON what they belong to."""
    meta = {
        "kind": "l2hmc",
        "theory": {"name": theory.name, "parameters": dict(theory.parameters)},
        "architecture": asdict(model.architecture),
        "merged": model.merged,
        "net_weights": asdict(model.net_weights),
        "recipe": recipe,
    }
    nets.save(folder / WEIGHTS, model.params, meta)


def load_model(folder: Path, theory: Theory | None = None) -> tuple[GeneralizedLeapfrog, Theory, dict[str, Any]]:
    """The map saved in a folder, its theory (or it at another ``theory`` of the same kind), and the recipe.

    On another lattice the parameters must have the same shapes: scalars and convolutions do, dense nets do not.

    Raises
    ------
    ValueError : a file that is missing, corrupt or foreign, or weights for another lattice or architecture.
    """
    path = Path(folder) / WEIGHTS
    params, meta = _read(path, "l2hmc")
    try:
        own = by_name(meta["theory"]["name"], **meta["theory"]["parameters"])
        architecture = architecture_from(meta["architecture"])
        merged, recipe = meta["merged"], dict(meta["recipe"])
        if not isinstance(merged, bool):
            raise TypeError(f"merged = {merged!r}")
        weights = NetWeights(**meta["net_weights"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: got a record with {error!r}, expected weights of a generalized leapfrog") from error
    theory = own if theory is None else theory
    if theory.name != own.name:
        raise ValueError(f"{path}: got weights for theory {own.name!r}, expected {theory.name!r}")
    if theory.field_shape != own.field_shape:
        architecture = replace(architecture, field_shape=theory.field_shape)
    try:
        return GeneralizedLeapfrog(theory.smooth_action, architecture, params, weights, merged), theory, recipe
    except ValueError as error:
        raise ValueError(f"{path}: {error} (weights of a model on {own.field_shape})") from error


def architecture_from(record: dict[str, Any]) -> Architecture:
    """The `Architecture` of its JSON record."""
    fields = dict(record)
    for which in ("v_net", "x_net"):
        if fields[which] is not None:
            net: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in fields[which].items()
            }
            fields[which] = nets.Net(**net)
    return Architecture(**{**fields, "field_shape": tuple(fields["field_shape"])})


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint.npz``."""
    groups = {
        "params": checkpoint.params,
        "average": checkpoint.average,
        "first": checkpoint.adam.first,
        "second": checkpoint.adam.second,
        "best": checkpoint.best,
    }
    arrays = {f"{name}/{key}": value for name, group in groups.items() for key, value in group.items()}
    arrays |= {"x": checkpoint.x, "history": checkpoint.history}
    score = None if checkpoint.best_score == -np.inf else checkpoint.best_score
    meta = {"kind": "training", "step": checkpoint.step, "adam_steps": checkpoint.adam.steps, "best_score": score}
    nets.save(folder / STATE, arrays, {**meta, "rngs": list(checkpoint.rng_states)})


def load_checkpoint(folder: Path) -> Checkpoint:
    """The inverse of `save_checkpoint`; raises `ValueError` on a file that is missing, corrupt or foreign."""
    path = Path(folder) / STATE
    arrays, meta = _read(path, "training")

    def group(name: str) -> Params:
        return {key.removeprefix(name + "/"): value for key, value in arrays.items() if key.startswith(name + "/")}

    try:
        checkpoint = Checkpoint(
            step=check_integer("step", meta["step"], 0),
            params=group("params"),
            average=group("average"),
            adam=Adam(group("first"), group("second"), check_integer("adam_steps", meta["adam_steps"], 0)),
            x=arrays["x"],
            rng_states=tuple(meta["rngs"]),
            best=group("best"),
            best_score=-np.inf if meta["best_score"] is None else float(meta["best_score"]),
            history=arrays["history"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: got a record with {error!r}, expected a training checkpoint") from error
    keys = {key: value.shape for key, value in checkpoint.params.items()}
    others = (checkpoint.average, checkpoint.best, checkpoint.adam.first, checkpoint.adam.second)
    if any({key: value.shape for key, value in other.items()} != keys for other in others):
        raise ValueError(f"{path}: got parameters, averages and moments of different keys or shapes, expected the same")
    if checkpoint.history.shape != (checkpoint.step, 4):
        raise ValueError(f"{path}: got a history {checkpoint.history.shape}, expected {(checkpoint.step, 4)}")
    return checkpoint


def _read(path: Path, kind: str) -> tuple[Params, dict[str, Any]]:
    try:
        arrays, meta = nets.load(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: got no such file, expected one of kind {kind!r}") from error
    if meta.get("kind") != kind:
        raise ValueError(f"{path}: got a file of kind {meta.get('kind')!r}, expected {kind!r}")
    return arrays, meta
