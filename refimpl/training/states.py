"""The state of a training on disk, ``checkpoint.npz``: all parameters in one array, their average, Adam, the Generator, history."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import nets
from ..lattice import check_integer
from .checkpoints import STATE, WEIGHTS
from .descent import ALL, Descent
from .optimise import Adam

OF_PARAMETERS = ("weights", "average", "first", "second")


class Kind(NamedTuple):
    """What is trained, in the file and in messages."""

    kind: str
    training: str
    model: str


def save_state(folder: Path, of: Kind, state: Descent) -> None:
    """Write ``checkpoint.npz``."""
    arrays = {
        "weights": state.weights,
        "average": state.average,
        "first": state.adam.first[ALL],
        "second": state.adam.second[ALL],
        "history": state.history,
    }
    nets.save(Path(folder) / STATE, arrays, {"kind": of.kind, "step": state.step, "rng": state.rng_state})


def steps_done(folder: Path) -> int | None:
    """Steps of the training whose checkpoint is in a folder; None where there is none that can be read."""
    try:
        return check_integer("step", nets.load(Path(folder) / STATE)[1]["step"], 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def load_state(folder: Path, of: Kind, columns: int | None = None) -> dict[str, Any]:
    """The fields of the `Descent` written by `save_state`, with so many columns of the history, or any number.

    Raises `ValueError` on a file that is missing, damaged or foreign.
    """
    path = Path(folder) / STATE
    try:
        arrays, meta = nets.load(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: got no such file, expected the checkpoint of {of.training}") from error
    except ValueError as error:
        raise ValueError(
            f"{error}; the training cannot go on, but its {of.model} can be used as {WEIGHTS} has it"
        ) from error
    if meta.get("kind") != of.kind:
        raise ValueError(f"{path}: got a file of kind {meta.get('kind')!r}, expected {of.kind!r}")
    try:
        step = check_integer("step", meta["step"], 0)
        adam = Adam({ALL: arrays["first"]}, {ALL: arrays["second"]}, step)
        weights, average, history = (arrays[name] for name in ("weights", "average", "history"))
        np.random.PCG64().state = meta["rng"]
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{path}: got a record with {error!r}, expected the checkpoint of {of.training}") from error
    shapes = {name: arrays[name].shape for name in OF_PARAMETERS}
    rows = (step, *history.shape[1:]) if columns is None and history.ndim == 2 else (step, columns)
    if weights.ndim != 1 or len(set(shapes.values())) != 1 or history.shape != rows:
        raise ValueError(f"{path}: got shapes {shapes}, history {history.shape}, expected one and {step} rows")
    return {
        "step": step, "weights": weights, "average": average, "adam": adam, "rng_state": meta["rng"], "history": history,
    }  # fmt: skip
