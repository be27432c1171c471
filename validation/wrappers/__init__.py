"""Mutants around any target: one thing broken at a time, everything else as the target has it."""

from __future__ import annotations

import fnmatch

from . import answers, decisions, densities, driver, maps
from .wrapped import Bug, Wrapped, broken

__all__ = ["BUGS", "BY_NAME", "Bug", "Wrapped", "broken", "named_so"]

BUGS: tuple[Bug, ...] = (*answers.BUGS, *maps.BUGS, *decisions.BUGS, *driver.BUGS, *densities.BUGS)
BY_NAME: dict[str, Bug] = {bug.name: bug for bug in BUGS}


def named_so(name: str, select: str | None) -> bool:
    """Whether the name of a mutant has this part, or matches this pattern."""
    return select is None or select in name or fnmatch.fnmatchcase(name, select)
