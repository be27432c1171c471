"""Flows and the states of their training on disk: ``weights.npz`` and ``checkpoint.npz`` in a folder, as of all training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from .. import models
from ..models import Flow
from ..models.records import KindError
from ..theories import Theory, by_name
from .checkpoints import WEIGHTS
from .flow import COLUMNS, FlowCheckpoint, FlowRecipe, flow_recipe_from
from .states import Kind, load_state, save_state

KIND = Kind("training of a flow", "a flow's training", "flow")


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
    except KindError:
        raise
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
    save_state(folder, KIND, checkpoint)


def load_flow_checkpoint(folder: Path) -> FlowCheckpoint:
    """The inverse of `save_flow_checkpoint`; raises `ValueError` on a file that is missing, damaged or foreign."""
    return FlowCheckpoint(**load_state(folder, KIND, len(COLUMNS)))
