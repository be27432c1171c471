"""Flows and the states of their training on disk: ``weights.npz`` and ``checkpoint.npz`` in a folder, as of all training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import models, nets
from ..lattice import check_integer
from ..models import Flow
from ..theories import Theory, by_name
from .checkpoints import STATE, WEIGHTS
from .descent import ALL
from .flow import COLUMNS, FlowCheckpoint, FlowRecipe, flow_recipe_from
from .optimise import Adam

KIND = "training of a flow"


def save_flow(folder: Path, flow: Flow, theory: Theory, recipe: FlowRecipe) -> None:
    """Write ``weights.npz``: the flow, the theory it is trained for, and the recipe."""
    meta = {"theory": {"name": theory.name, "parameters": dict(theory.parameters)}, "recipe": asdict(recipe)}
    models.save(Path(folder) / WEIGHTS, flow, meta)


def load_flow(folder: Path, theory: Theory | None = None) -> tuple[Flow, Theory, FlowRecipe]:
    """The flow saved in a folder, the theory it was trained for, and the recipe.

    Raises `ValueError` for a file that is missing, damaged or foreign, and for a flow of other fields than those of ``theory``.
    """
    path = Path(folder) / WEIGHTS
    try:
        flow, meta = models.load(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: got no such file, expected the flow of a training") from error
    except ValueError as error:
        raise ValueError(f"{error}; without a copy of it the flow has to be trained anew") from error
    try:
        own = by_name(meta["theory"]["name"], **meta["theory"]["parameters"])
        recipe = flow_recipe_from(meta["recipe"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: got a record with {error!r}, expected a flow with its theory and recipe") from error
    if theory is not None and (theory.name, theory.field_shape) != (own.name, flow.field_shape):
        raise ValueError(
            f"{path}: got a flow for {own.name} with fields {flow.field_shape}, expected {theory.name} with {theory.field_shape}"
        )
    return flow, own, recipe


def save_flow_checkpoint(folder: Path, checkpoint: FlowCheckpoint) -> None:
    """Write ``checkpoint.npz``."""
    arrays = {
        "weights": checkpoint.weights,
        "average": checkpoint.average,
        "first": checkpoint.adam.first[ALL],
        "second": checkpoint.adam.second[ALL],
        "history": checkpoint.history,
    }
    nets.save(Path(folder) / STATE, arrays, {"kind": KIND, "step": checkpoint.step, "rng": checkpoint.rng_state})


def load_flow_checkpoint(folder: Path) -> FlowCheckpoint:
    """The inverse of `save_flow_checkpoint`; raises `ValueError` on a file that is missing, damaged or foreign."""
    path = Path(folder) / STATE
    try:
        arrays, meta = nets.load(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: got no such file, expected the checkpoint of a flow's training") from error
    except ValueError as error:
        raise ValueError(f"{error}; the training cannot go on, but its flow can be used as {WEIGHTS} has it") from error
    if meta.get("kind") != KIND:
        raise ValueError(f"{path}: got a file of kind {meta.get('kind')!r}, expected {KIND!r}")
    try:
        step = check_integer("step", meta["step"], 0)
        adam = Adam({ALL: arrays["first"]}, {ALL: arrays["second"]}, step)
        state: Mapping[str, Any] = meta["rng"]
        checkpoint = FlowCheckpoint(step, arrays["weights"], arrays["average"], adam, state, arrays["history"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: got a record with {error!r}, expected the checkpoint of a flow's training"
        ) from error
    shapes = {name: arrays[name].shape for name in ("weights", "average", "first", "second")}
    if (
        checkpoint.weights.ndim != 1
        or len(set(shapes.values())) != 1
        or checkpoint.history.shape != (step, len(COLUMNS))
    ):
        raise ValueError(
            f"{path}: got shapes {shapes}, history {checkpoint.history.shape}, expected one and {step} rows"
        )
    return checkpoint
