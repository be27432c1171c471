"""Which of the bugs that could be in a target its set-up would see: every mutant of it is judged until a check fails."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..battery import ALPHA, judge, stream
from ..checks import CHECKS, Check
from ..contract import DEADLINE, Subject, TargetError
from ..evidence import EFFORTS, Effort, Evidence, Trial
from ..progress import watched
from ..verdict import FAIL, PASS, Verdict
from . import BUGS, named_so
from .advice import Advice, advice_for
from .killers import KILLERS
from .same import changes_nothing
from .wrapped import Bug, as_offered, broken, listening

# Seconds: before checks that take longer, the mutant is compared with the target.
QUICK = 0.05
SEEN, MISSED, NOTHING = "seen", "missed", "changes nothing"


@dataclass(frozen=True)
class Outcome:
    """What became of one bug.

    ``status`` is "seen" (``verdicts`` has the checks that failed, the first one first), "missed" (``advice`` has what would see
    it) or "changes nothing": the target behaves as before, so there is no bug to see.
    """

    bug: str
    description: str
    status: str
    verdicts: tuple[Verdict, ...] = ()
    advice: tuple[Advice, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Survey:
    """The outcomes of all bugs that apply to a target, and how the target itself did."""

    target: str
    parameters: dict[str, Any]
    level: str
    seed: int
    own: tuple[Verdict, ...]
    outcomes: tuple[Outcome, ...]
    total: int
    seconds: float
    convention: str = ""  # of the target, in words, where it is not the contract's

    def of(self, status: str) -> list[Outcome]:
        """The outcomes of this status."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def failing(self) -> list[Verdict]:
        """Checks that the target fails as it is: they say nothing about bugs and are left out."""
        return [verdict for verdict in self.own if verdict.status == FAIL]


@dataclass
class _Judging:
    """A target, its own verdicts, and which functions each check calls."""

    target: Any
    parameters: dict[str, Any]
    effort: Effort
    seed: int
    deadline: float
    subject: Subject = field(init=False)
    share: float = field(init=False)
    own: dict[str, Verdict] = field(default_factory=dict)
    called: dict[str, set[str]] = field(default_factory=dict)
    _sound: dict[tuple[Any, ...], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.subject = Subject(self.target, deadline=self.deadline, parameters=self.parameters)
        able = [check for check in CHECKS if check.applies(self.subject) and not check.missing(self.subject)]
        self.share = ALPHA / max(1, sum(check.statistical for check in able))
        self.able = able

    def made(self, bug: Bug) -> Subject:
        return Subject(
            broken(self.target, bug, deadline=self.deadline), deadline=self.deadline, parameters=self.parameters
        )

    def trial(self, subject: Subject) -> Trial:
        evidence = Evidence(subject, stream(self.seed, "evidence"))
        return Trial(self.share, self.effort.shared_out(subject.thrift), evidence)

    def judge_itself(self, progress: Callable[[list[Check]], Iterable[Check]]) -> None:
        """Every check that can run, with a note of the functions it calls.

        Checks that take a trial share what it has drawn: what one of them needs counts as called by all.
        """
        heard: set[str] = set()
        subject = self.made(listening(heard))
        trial = self.trial(subject)
        for check in progress(self.able):
            heard.clear()
            self.own[check.id] = judge(check, subject, self.seed, trial)
            needed = {name for any_of in check.needs for name in any_of if subject.has(name)}
            self.called[check.id] = heard | (needed if check.takes_trial else set())

    def checks(self, replaced: set[str], likely: tuple[str, ...]) -> list[Check]:
        """Those that pass and call a replaced function: the likeliest first, deterministic before statistical, quick ones first."""
        passing = [c for c in self.able if self.own[c.id].status == PASS and self.called[c.id] & replaced]
        return sorted(passing, key=lambda c: (c.statistical, c.id not in likely, self.own[c.id].seconds))

    def outcome(self, bug: Bug, likely: tuple[str, ...], everything: bool) -> Outcome | None:
        """What becomes of a bug, or None where it does not apply."""
        replaced = set(bug.replaced(self.subject))
        if not replaced:
            return None
        start = time.perf_counter()
        status, verdicts = self._judged(bug, replaced, likely, everything)
        advice = advice_for(bug.name, self.subject, self.own) if status == MISSED else ()
        return Outcome(bug.name, bug.description, status, verdicts, advice, time.perf_counter() - start)

    def _judged(
        self, bug: Bug, replaced: set[str], likely: tuple[str, ...], everything: bool
    ) -> tuple[str, tuple[Verdict, ...]]:
        try:
            subject = self.made(bug)
        except TargetError as error:  # its constructor calls what is broken
            return SEEN, (Verdict(FAIL, "making it", detail=str(error)),)
        trial, failed, compared = self.trial(subject), list[Verdict](), False
        for check in self.checks(replaced, likely):
            if not failed and not compared and (check.statistical or self.own[check.id].seconds > QUICK):
                compared = True
                if self._changes_nothing(bug, subject, replaced):
                    return NOTHING, ()
            verdict = judge(check, subject, self.seed, trial)
            if verdict.status == FAIL and self._sound_for(bug, check, replaced):
                failed.append(verdict)
                if not everything:
                    break
        if not failed and not compared and self._changes_nothing(bug, subject, replaced):
            return NOTHING, ()
        return (SEEN if failed else MISSED), tuple(failed)

    def _changes_nothing(self, bug: Bug, subject: Subject, replaced: set[str]) -> bool:
        return changes_nothing(self.made(bug.mended), subject, replaced, stream(self.seed, f"same {bug.name}"))

    def _sound_for(self, bug: Bug, check: Check, replaced: set[str]) -> bool:
        """Whether the same functions without the mistake pass the check: else it failed what was put together, not the bug."""
        if bug.honest is as_offered:
            return True
        key = bug.honest, frozenset(replaced), check.id
        if key not in self._sound:
            subject = self.made(bug.mended)
            self._sound[key] = judge(check, subject, self.seed, self.trial(subject)).status != FAIL
        return self._sound[key]


def survey(
    target: Any,
    *,
    level: str | Effort = "smoke",
    seed: int | None = None,
    select: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    deadline: float = DEADLINE,
    everything: bool = False,
    progress: bool = False,
) -> Survey:
    """Break a target in every way that applies to it, one at a time, and judge each until a check sees it.

    Parameters
    ----------
    target, parameters, deadline, seed : as for `refimpl.validation.check_target`.
    level : the sample sizes; a bug that is missed at one level may be seen at the next.
    select : part of the name of a bug, or a pattern such as ``*Force``.
    everything : go on after the first check that fails, and name all of them.
    """
    if isinstance(level, str) and level not in EFFORTS:
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(EFFORTS)}")
    seed = secrets.randbelow(2**31) if seed is None else int(seed)
    start, effort = time.perf_counter(), EFFORTS[level] if isinstance(level, str) else level
    chosen = [bug for bug in BUGS if named_so(bug.name, select)]
    if not chosen:
        raise ValueError(f"-k: got {select!r}, expected part of a name, such as Force, or a pattern of one")
    judging = _Judging(target, dict(parameters or {}), effort, seed, deadline)

    judging.judge_itself(
        lambda checks: watched(checks, "checks of the target itself", progress, lambda check: check.id)
    )
    outcomes = [
        outcome
        for bug in watched(chosen, "mutants", progress, lambda bug: bug.name)
        if (outcome := judging.outcome(bug, tuple(KILLERS.get(bug.name, {})), everything)) is not None
    ]
    subject = judging.subject
    return Survey(
        subject.name,
        {"theory": subject.theory.name, **subject.theory.declared()},
        effort.name,
        seed,
        tuple(judging.own.values()),
        tuple(outcomes),
        len(chosen),
        time.perf_counter() - start,
    )
