"""What targets return, taken as checked arrays; and what may go wrong with a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Seconds one call of the target may take before it is taken to hang.
DEADLINE = 120.0


class TargetFault(Exception):
    """The target raised, hung or returned something the contract does not allow."""


class Raised(TargetFault):
    """The target says itself that it cannot do this: it raised, or its process answered ``errored``, and lives on."""


class Lost(TargetFault):
    """No answer came: the target hung, or its process crashed or broke the protocol."""


class Misdeclared(TargetFault):
    """An attribute of the target that a check goes by makes no sense."""


class TargetError(Exception):
    """The target could not be started, or declares something the oracle cannot judge."""


class Declined(Exception):
    """The target says that it does not do this, with a reason, and not that it went wrong. Becomes a skip with this reason."""


class Untold(Declined):
    """Not the target declines, but what stands before it: a transcript without the call, conventions that are not translated."""


class Timed:
    """A target, or a factory of one, that keeps the deadline of its calls itself, in seconds, and raises what there is to say."""

    deadline: float = DEADLINE


PER_CHAIN = frozenset({"logdet", "delta_h", "accept", "u", "d"})
FINITE = frozenset({"x_next", "accept", "v", "u", "d"})  # a proposal may diverge, what is kept may not
FIELDS = frozenset({"x_proposed", "x_next"})


def transition_record(
    name: str, result: Any, x: Array, v_shape: tuple[int, ...], fields: tuple[str, ...]
) -> dict[str, Array]:
    """A mapping with these fields, for fields like ``x`` and momenta of this shape."""
    if not isinstance(result, Mapping):
        raise TargetFault(f"{name}: got {kind_of(result)}, expected a mapping with {', '.join(fields)}")
    missing = [field for field in fields if field not in result]
    if missing:
        raise TargetFault(f"{name}: got no {', '.join(missing)}, expected a mapping with {', '.join(fields)}")
    out = {}
    for field in fields:
        shape = x.shape[:1] if field in PER_CHAIN else x.shape if field in FIELDS else v_shape
        kind = x.dtype if field in FIELDS else np.float64
        out[field] = checked_array(f"{name}: {field}", result[field], shape, field in FINITE, kind)
    return out


PSEUDOMARGINAL_FIELDS = ("x_proposed", "log_w_proposed", "u", "accept", "x_next", "log_w_next")


def pseudomarginal_record(name: str, result: Any, x: Array) -> dict[str, Array]:
    """A mapping with `PSEUDOMARGINAL_FIELDS`, for links like ``x``."""
    if not isinstance(result, Mapping) or (missing := [f for f in PSEUDOMARGINAL_FIELDS if f not in result]):
        got = f"no {', '.join(missing)}" if isinstance(result, Mapping) else kind_of(result)
        raise TargetFault(f"{name}: got {got}, expected a mapping with {', '.join(PSEUDOMARGINAL_FIELDS)}")
    return {
        field: checked_array(
            f"{name}: {field}",
            result[field],
            x.shape if field in FIELDS else x.shape[:1],
            dtype=x.dtype if field in FIELDS else np.float64,
        )
        for field in PSEUDOMARGINAL_FIELDS
    }


def checked_array(
    name: str, value: Any, shape: tuple[int, ...], finite: bool = True, dtype: Any = np.float64
) -> NDArray[Any]:
    array = converted(name, value, dtype)
    if array.shape != shape:
        raise TargetFault(f"{name}: got shape {array.shape}, expected {shape}")
    if finite and not np.all(np.isfinite(array)):
        raise TargetFault(f"{name}: got {np.sum(~np.isfinite(array))} NaN or infinite values, expected finite ones")
    return array


def converted(name: str, value: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Anything array-like (torch and JAX arrays through ``__array__``) as a float64 or complex128 copy."""
    try:
        value = value.detach().cpu() if hasattr(value, "detach") else value
        array = np.asarray(value.resolve_conj() if hasattr(value, "resolve_conj") else value)
    except (Exception, SystemExit) as error:  # conversion runs a stranger's code
        raise TargetFault(f"{name}: got {kind_of(value)}, expected an array") from error
    if array.dtype.kind not in ("biufc" if np.dtype(dtype).kind == "c" else "biuf"):
        hint = " (links as phases: --conventions phases)" if array.dtype.kind == "c" and array.ndim == 4 else ""
        raise TargetFault(f"{name}: got dtype {array.dtype}, expected {np.dtype(dtype)}{hint}")
    return np.array(array, dtype=dtype)


def kind_of(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
