"""What a run was, in words that JSON can hold and that can be compared."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import scipy


def description(value: Any) -> Any:
    """A kernel, action, map, ... as JSON: the class and the parameters of dataclasses, large arrays by their sha256."""
    if is_dataclass(value) and not isinstance(value, type):
        parameters = {f.name: description(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": type(value).__name__, **parameters}
    if isinstance(value, Mapping):
        return {str(key): description(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [description(part) for part in value]
    if isinstance(value, np.ndarray) and value.size > 16:
        content = np.ascontiguousarray(value).tobytes()
        return {"array": f"{value.dtype} {value.shape}", "sha256": hashlib.sha256(content).hexdigest()}
    if isinstance(value, np.ndarray | np.generic):
        return description(value.tolist())
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Lines ``NAME: the run has OLD, got NEW`` for all that differs in two descriptions."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))]
    return [] if old == new else [f"{name}: the run has {_short(old)}, got {_short(new)}"]


def versions() -> dict[str, str]:
    """Versions of what the bits may depend on."""
    from .. import __version__

    return {
        "refimpl": __version__, "numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version(),
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """What kind of machine this is."""
    return {"system": platform.platform(), "processor": _processor(), "processors": os.cpu_count()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
