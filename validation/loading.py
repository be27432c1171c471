"""Finding and making targets: by name, or by calling a factory."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .conversion import TargetError


def load_target(spec: str) -> Any:
    """The object named ``package.module:object``; raises `TargetError` with what went wrong."""
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise TargetError(f"TARGET: got {spec!r}, expected package.module:object")
    found = load_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"TARGET: module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    return found


def load_module(name: str) -> Any:
    """The module, also of the working directory; raises `TargetError`."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # importing a stranger's module may raise anything
        raise TargetError(f"TARGET: importing {name!r} raised {type(error).__name__}: {error}") from error


def made(factory: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    try:
        return factory(**parameters)
    except TargetError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's factory may raise anything
        raise TargetError(
            f"target: making it with {dict(parameters)} raised {type(error).__name__}: {error}"
        ) from error


def accepts(factory: Callable[..., Any], names: Iterable[str]) -> bool:
    by_position = inspect.Parameter.POSITIONAL_ONLY
    parameters = [p for p in inspect.signature(factory).parameters.values() if p.kind is not by_position]
    return any(p.kind is p.VAR_KEYWORD for p in parameters) or set(names) <= {p.name for p in parameters}
