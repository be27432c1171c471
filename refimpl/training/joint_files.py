"""Joint models and the states of their training on disk: ``weights.npz`` and ``checkpoint.npz``, as of all training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from .. import models
from ..models import JointModel
from ..models.records import KindError
from ..theories import Theory, by_name
from .checkpoints import WEIGHTS
from .joint import JointCheckpoint, JointRecipe, gauge_action, joint_columns, joint_recipe_from
from .states import Kind, load_state, save_state

KIND = Kind("training of a joint model", "a joint model's training", "model")


def save_joint(folder: Path, model: JointModel, theory: Theory, recipe: JointRecipe) -> None:
    """Write ``weights.npz``: the model, the theory it is trained for, and the recipe."""
    meta = {"theory": {"name": theory.name, "parameters": dict(theory.parameters)}, "recipe": asdict(recipe)}
    models.save_joint(Path(folder) / WEIGHTS, model, meta)


def load_joint(folder: Path, theory: Theory | None = None) -> tuple[JointModel, Theory, JointRecipe]:
    """The joint model saved in a folder, the theory it was trained for, and the recipe.

    For a ``theory`` of the same kind with other couplings, the monomials are those of its determinant.

    Raises `ValueError` for a file that is missing, damaged or foreign, and for a model of other fields than those of ``theory``.
    """
    path = Path(folder) / WEIGHTS
    try:
        model, meta = models.load_joint(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: got no such file, expected the joint model of a training") from error
    except KindError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}; without a copy of it the joint model has to be trained anew") from error
    try:
        own = by_name(meta["theory"]["name"], **meta["theory"]["parameters"])
        recipe = joint_recipe_from(meta["recipe"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: got a record with {error!r}, expected a joint model with its theory and recipe"
        ) from error
    try:
        gauge_action(own, model)
    except ValueError as error:
        raise ValueError(f"{path}: got a model of another theory than that of its record: {error}") from error
    if theory is None:
        return model, own, recipe
    if (theory.name, theory.field_shape) != (own.name, model.field_shape):
        raise ValueError(
            f"{path}: got a joint model for {own.name} with links {model.field_shape}, expected {theory.name} with "
            f"{theory.field_shape}"
        )
    return at_kappa(model, theory.parameters["kappa"]), own, recipe


def at_kappa(model: JointModel, kappa: float) -> JointModel:
    """The same maps for the monomials of another hopping parameter."""
    conditionals = tuple(replace(one, monomial=replace(one.monomial, kappa=kappa)) for one in model.conditionals)
    return replace(model, conditionals=conditionals)


def save_joint_checkpoint(folder: Path, checkpoint: JointCheckpoint) -> None:
    """Write ``checkpoint.npz``."""
    save_state(folder, KIND, checkpoint)


def load_joint_checkpoint(folder: Path, model: JointModel | None = None) -> JointCheckpoint:
    """The inverse of `save_joint_checkpoint`; of the training of this ``model``, if there is one.

    Raises `ValueError` on a file that is missing, damaged or foreign.
    """
    columns = None if model is None else len(joint_columns(len(model.conditionals)))
    return JointCheckpoint(**load_state(folder, KIND, columns))
