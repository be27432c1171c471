"""What is added to failed verdicts: the smallest configuration and the file that repeats it, and the likely cause."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import signatures
from ..checks import BY_ID, CHECKS
from ..contract import Subject
from ..verdict import FAIL, Verdict
from .case import Build
from .cases import CASES

if TYPE_CHECKING:  # it needs Hypothesis
    from .search import Found

NO_HYPOTHESIS = "pip install 'refimpl[test]' would give the smallest configuration (it takes Hypothesis)"
SAMPLES_ALONE = "none: samples show it, no single configuration is wrong"
NOT_SEARCHED = "not searched for: no experiment on a single configuration is written for this check"
SECONDS = 60.0  # for all searches of a run


def explained(subject: Subject, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """With the mutants that fail alike beside every failure."""
    answered = [v for v in verdicts if v.quantity not in signatures.UNANSWERED]
    missing = {check.id for check in CHECKS if check.missing(subject)}
    causes = signatures.causes(signatures.Signature.of(subject.theory.name, answered), missing)
    return tuple(
        replace(v, causes=causes) if _is_news(v) and v.quantity not in signatures.UNANSWERED else v for v in verdicts
    )


def with_evidence(
    subject: Subject, verdicts: Iterable[Verdict], folder: Path, seed: int, command: str = "", spec: str = ""
) -> tuple[Verdict, ...]:
    """With the smallest failing configuration of every failure, written into the folder, which is made if there is any."""
    hunt = Hunt(subject, folder, seed, command, spec)
    return tuple(hunt.seen(v) if _is_news(v) else v for v in verdicts)


def _is_news(verdict: Verdict) -> bool:
    return verdict.status == FAIL and verdict.expected_failure is None


@dataclass
class Hunt:
    """The searches of one run, which share their time and what they found."""

    subject: Subject
    folder: Path
    seed: int
    command: str
    spec: str = ""
    end: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    known: dict[Build, tuple[str, str]] = field(default_factory=dict)  # in words, and the path
    vain: dict[tuple[Build, ...], str] = field(default_factory=dict)  # why there is none

    def seen(self, verdict: Verdict) -> Verdict:
        """The verdict with the smallest configuration, or with why there is none."""
        builds = _likely(CASES.get(verdict.check, ()), verdict.detail)
        if BY_ID[verdict.check].statistical:
            return replace(verdict, smallest=SAMPLES_ALONE)
        if not builds:
            return replace(verdict, smallest=NOT_SEARCHED)
        if (build := next((build for build in builds if build in self.known), None)) is not None:
            words, path = self.known[build]
            return replace(verdict, smallest=words, reproduced_by=path)
        if "did not return" in verdict.detail:
            return replace(verdict, smallest="not searched: the target does not return")
        if time.monotonic() > self.end:
            return replace(verdict, smallest=f"not searched: {SECONDS:g} s were enough for other failures")
        try:
            from .search import smallest
        except ImportError:
            return replace(verdict, smallest=NO_HYPOTHESIS)
        if builds in self.vain:
            return replace(verdict, smallest=self.vain[builds])
        found = smallest(self.subject, builds, faults=verdict.quantity == "the call itself")
        if isinstance(found, str):
            self.vain[builds] = found
            return replace(verdict, smallest=found)
        words, path = self._written(verdict, found)
        self.known[found.build] = words, path
        return replace(verdict, smallest=words, reproduced_by=path)

    def _written(self, verdict: Verdict, found: Found) -> tuple[str, str]:
        from .files import written
        from .words import described

        words = described(found.case)
        if found.fault:
            words += f": {found.fault}"
        if not found.repeats:
            words += " (not every time: the answers change from call to call)"
        try:
            return words, str(written(self.folder, verdict, found, words, self.seed, self.command, self.spec))
        except OSError as error:
            return f"{words} (not written: {error.strerror or error})", ""


def _likely(builds: tuple[Build, ...], detail: str) -> tuple[Build, ...]:
    """Those first that the failure names."""
    named = [build for build in builds if re.search(rf"\b{getattr(build, '__name__', '')}\b", detail)]
    return (*named, *(build for build in builds if build not in named))
