"""Joint models on disk: as flows are, one ``.npz`` with the parameters under their keys, and the records of all parts.

The parts are the marginal flow, the context, and the conditionals, each a monomial and its layers (`records`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from .. import nets
from ..actions import Pseudofermion
from ..maps.base import Params
from ..maps.context import Context
from ..maps.pseudofermion_layer import PseudofermionLayer
from .conditional import Conditional
from .files import flow_record, made_flow
from .joint import CONDITIONAL, CONTEXT, MARGINAL, JointModel
from .records import check_kind, layered, made, reading, record

T = TypeVar("T")

KIND = "joint"
PARTS = (MARGINAL, CONTEXT, CONDITIONAL)
INFLATION = "inflation"


def save_joint(path: str | os.PathLike[str], model: JointModel, meta: Mapping[str, Any]) -> None:
    """Write a joint model to ``path``, whole or not at all; ``meta`` is anything else that JSON can hold.

    Raises `ValueError` for parts that `refimpl.models.records.CLASSES` does not know, and for parameters that are not finite.
    """
    found = {
        "kind": KIND,
        MARGINAL: flow_record(model.marginal),
        CONTEXT: record(CONTEXT, model.context),
        CONDITIONAL: [
            {name: record(f"conditionals[{m}].{name}", getattr(one, name)) for name in ("monomial", "layers")}
            for m, one in enumerate(model.conditionals)
        ],
        INFLATION: record(INFLATION, model.inflation),
        "meta": dict(meta),
    }
    nets.save(path, model.params, found)


def load_joint(path: str | os.PathLike[str]) -> tuple[JointModel, dict[str, Any]]:
    """The model and the ``meta`` written by `save_joint`.

    Raises `ValueError`, naming the file, for one that is damaged or no joint model, and for parameters of another
    architecture. A missing file raises `FileNotFoundError`.
    """
    arrays, found = nets.load(path)
    check_kind(path, found, KIND)
    with reading(path, "a joint model"):
        params = _by_part(arrays)
        model = JointModel(
            made_flow(found[MARGINAL], params[MARGINAL]),
            _is(Context, made(found[CONTEXT], params[CONTEXT])),
            tuple(_conditional(one, own) for one, own in layered(found[CONDITIONAL], params[CONDITIONAL])),
            made(found[INFLATION], {}),
        )
        return model, dict(found["meta"])


def _conditional(found: Mapping[str, Any], params: Params) -> Conditional:
    layers = tuple(_is(PseudofermionLayer, made(one, own)) for one, own in layered(found["layers"], params))
    return Conditional(_is(Pseudofermion, made(found["monomial"], {})), layers)


def _by_part(params: Params) -> dict[str, Params]:
    """The parameters of the `PARTS`, under their own keys."""
    parts: dict[str, Params] = {part: {} for part in PARTS}
    for key, value in params.items():
        part, _, own = key.partition("/")
        if part not in parts or not own:
            raise ValueError(f"the key {key!r}, expected one that begins with {'/, '.join(PARTS)}/")
        parts[part][own] = value
    return parts


def _is(kind: type[T], value: Any) -> T:
    """The value, if it is of this class; raises `TypeError`."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40}, expected a {kind.__name__}")
    return value
