"""What would see a bug that a set-up misses: from the checks that see it on a built-in target that offers everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from ..checks import BY_ID, Check
from ..contract import Subject
from ..verdict import FAIL, PASS, Verdict
from . import BY_NAME
from .killers import KILLERS


@dataclass(frozen=True)
class Advice:
    """What to do, and which check would then see the bug.

    ``kind`` is "offer" (``what``: the functions to offer; one piece of advice for each
    alternative), "mend" (the target fails the check as it is),
    "skipped" (``what``: why) or "level" (``what``: the level at which the check is strong enough on the built-in target).
    """

    kind: str
    what: str
    check: str


def advice_for(bug: str, subject: Subject, own: Mapping[str, Verdict]) -> tuple[Advice, ...]:
    """Computed from the needs of the checks that see the same bug on a built-in target."""
    found, changed = [], set(BY_NAME[bug].functions(subject)) if bug in BY_NAME else set()
    for check_id, level in KILLERS.get(bug, {}).items():
        check = BY_ID[check_id]
        if not check.applies(subject) or not (check.missing(subject) or check_id in own):
            continue
        if needs := _lacking(subject, check, changed):
            found += [Advice("offer", " and ".join(dict.fromkeys(way)), check_id) for way in product(*needs)]
        elif own[check_id].status == FAIL:
            found.append(Advice("mend", check_id, check_id))
        elif own[check_id].status != PASS:
            found.append(Advice("skipped", own[check_id].detail, check_id))
        else:
            found.append(Advice("level", level, check_id))
    return tuple(found)


def _lacking(subject: Subject, check: Check, changed: set[str]) -> list[list[str]]:
    """The needs of a check that are not met; of alternatives, those that the bug changes: the others are right and show nothing."""
    needs = [[name for name in any_of if name in changed] or list(any_of) for any_of in check.needs]
    return [need for need in needs if not any(map(subject.has, need))]
