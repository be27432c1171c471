"""Known failures: which checks a target is declared to fail, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .checks import BY_ID


def known_failures(given: Any, source: str) -> dict[str, str]:
    """Reasons by the ids of checks, as declared; raises `ValueError` that begins with ``source`` for anything else."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{source}: got {_shown(given)}, expected a mapping from ids of checks to reasons")
    for check, reason in given.items():
        if not isinstance(check, str) or check not in BY_ID:
            raise ValueError(f"{source}: got {_shown(check)}, expected ids of checks; refimpl explain lists them")
        if not isinstance(reason, str) or not reason.strip() or not _printable(reason):
            raise ValueError(f"{source}: {check}: got {_shown(reason)}, expected the reason, as text")
    return dict(given)


def known_failures_in(text: str, source: str) -> dict[str, str]:
    """The same from JSON, an object of check ids and reasons."""
    try:
        given = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: is not JSON of check ids and reasons: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{source}: got {_shown(given)}, expected a JSON object of check ids and reasons")
    return known_failures(given, source)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"{_shown(twice)} stands there twice")
    return found


def _printable(text: str) -> bool:
    """Whether there are no halves of characters in it, which no terminal or file takes."""
    return text == text.encode(errors="replace").decode()


def _shown(value: Any) -> str:
    """Short, in ASCII: whatever was read goes to a terminal."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
