"""Targets by what a user types.

``package.module:object``, ``builtin:NAME``, ``mutant:NAME``, ``model:DIR``, ``cmd:COMMAND`` or ``transcript:FILE``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .builtin import BUILT_IN, trained
from .contract import TargetError
from .loading import load_target
from .mutants import BY_NAME
from .remote import remote_target
from .transcripts import played


def target_named(spec: str | None, theory: str | None = None) -> Any:
    """The target, or a factory of it; without ``spec`` the built-in one of the theory (u1). Raises `TargetError`."""
    kind, _, name = (spec or f"builtin:{theory or 'u1'}").partition(":")
    if kind == "model":
        return trained(name)
    if kind == "cmd":
        return remote_target(name)
    if kind == "transcript":
        return played(Path(name))
    named = {"builtin": BUILT_IN, "mutant": BY_NAME}
    if kind not in named:
        return load_target(spec or "")
    if name not in named[kind]:
        raise TargetError(f"TARGET: got {kind} {name!r}, expected one of {', '.join(named[kind])}")
    return named[kind][name]
