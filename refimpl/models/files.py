"""Flows on disk: one ``.npz`` with the parameters under their keys and, as JSON, what the flow is made of (`records`)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from .. import nets
from .flow import Flow
from .records import CLASSES, Params, check_kind, made, made_map, parameters, reading, record

KIND = "flow"
LARGEST_FIELD = 2**24  # numbers: masks of larger ones take memory before anything is noticed

__all__ = ["CLASSES", "KIND", "flow_record", "load", "made_flow", "save"]


def save(path: str | os.PathLike[str], flow: Flow, meta: Mapping[str, Any]) -> None:
    """Write a flow to ``path``, whole or not at all (`refimpl.nets.save`); ``meta`` is anything else that JSON can hold.

    Raises `ValueError` for a prior or a layer that `CLASSES` does not know, and for parameters that are not finite.
    """
    nets.save(path, parameters(flow.map), {"kind": KIND, **flow_record(flow), "meta": dict(meta)})


def load(path: str | os.PathLike[str]) -> tuple[Flow, dict[str, Any]]:
    """The flow and the ``meta`` written by `save`.

    Raises `ValueError`, naming the file, for one that is damaged or no flow, and for parameters of another architecture. A
    missing file raises `FileNotFoundError`.
    """
    arrays, found = nets.load(path)
    check_kind(path, found, KIND)
    with reading(path, "a flow"):
        return made_flow(found, arrays), dict(found["meta"])


def flow_record(flow: Flow) -> dict[str, Any]:
    """The records of its prior and its map."""
    return {"prior": record("prior", flow.prior), "map": record("map", flow.map)}


def made_flow(found: Mapping[str, Any], params: Params) -> Flow:
    """The flow of such records, with these parameters."""
    prior = made(found["prior"], {})
    if not hasattr(prior, "log_prob"):
        raise TypeError(f"the prior {prior!r:.40}")
    if math.prod(prior.field_shape) > LARGEST_FIELD:
        raise ValueError(f"fields {prior.field_shape}, expected at most {LARGEST_FIELD} numbers")
    return Flow(prior, made_map(found["map"], params))
