"""Running the checks on a target."""

from __future__ import annotations

import contextlib
import fnmatch
import platform
import re
import secrets
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import __version__

from .checks import BY_ID, CHECKS, Check
from .checks.maps import Inconclusive
from .contract import CAPABILITIES, DEADLINE, Subject, TargetError, TargetFault
from .conventions import OURS, Convention, Converted, converted, named
from .conversion import Declined, Misdeclared, Untold
from .discovery import BASIC, CONTRACT, Discovery, discovered
from .evidence import EFFORTS, Effort, Evidence, Trial
from .known import known_failures
from .progress import watched
from .report import Report
from .theories import Unsampled
from .vectors import ChecksumError
from .verdict import FAIL, Verdict, skipped

ALPHA = 1e-6
TRANSLATED = "not searched for: a vector file asks in the conventions of the contract"


class Battery:
    """The checks that apply to one target, each with its share of the false-alarm level and its random stream.

    A check gives the same verdict whichever others run, and whenever: it is judged once and remembered. Arguments and errors
    are those of `check_target`.
    """

    def __init__(
        self,
        target: Any,
        *,
        level: str = "standard",
        alpha: float = ALPHA,
        seed: int | None = None,
        expected_failures: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        deadline: float = DEADLINE,
        convention: Convention = OURS,
    ) -> None:
        effort = checked_level(level)
        self.convention = convention
        self._made = partial(
            Battery, target, level=level, alpha=alpha, parameters=parameters, deadline=deadline
        )  # once more, in other conventions
        if convention.size:
            target = converted(target, convention, deadline=deadline)
        self.level, self.alpha, self.seed = level, checked_alpha(alpha), checked_seed(seed)
        added = known_failures({} if expected_failures is None else expected_failures, "expected_failures")
        self.subject = subject = Subject(target, deadline=deadline, parameters=parameters)
        self.told = subject.target.convention.told if isinstance(subject.target, Converted) else ""
        self.known = {**known_failures(subject.expected_failures, f"expected_failures of {subject.name}"), **added}
        self.applicable = [check for check in CHECKS if check.applies(subject)]
        share = self.alpha / max(1, sum(check.statistical and not check.missing(subject) for check in self.applicable))
        evidence = Evidence(subject, stream(self.seed, "evidence"))
        self.trial = Trial(share, effort.shared_out(subject.thrift), evidence)
        self._verdicts: dict[str, Verdict] = {}
        self._others: dict[Convention, Battery] = {}

    def verdict(self, check: Check) -> Verdict:
        """What the check says of the target, and whether that was expected."""
        if check.id not in self._verdicts:
            found = judge(check, self.subject, self.seed, self.trial)
            self._verdicts[check.id] = replace(found, expected_failure=self.known.get(check.id), convention=self.told)
        return self._verdicts[check.id]

    def under(self, convention: Convention) -> Battery:
        """The same checks of the same target, taken to have these conventions."""
        if convention == self.convention:
            return self
        if convention not in self._others:
            other = self._made(seed=self.seed, expected_failures=self.known, convention=convention)
            self._others[convention] = other
        return self._others[convention]

    def report(self, verdicts: Iterable[Verdict], seconds: float, convention: str = "") -> Report:
        """These verdicts with what they were made of."""
        theory = self.subject.theory
        steps = {name: self.subject.parameter(name) for name in ("step_size", "n_steps")}
        return Report(
            target=self.subject.name,
            parameters={
                "theory": theory.name,
                **{name: np.asarray(value).tolist() for name, value in theory.declared().items()},
                **{name: value for name, value in steps.items() if value is not None},
            },
            level=self.level,
            seed=self.seed,
            alpha=self.alpha,
            verdicts=tuple(verdicts),
            applicable=len(self.applicable),
            total=len(CHECKS),
            seconds=seconds,
            versions={"refimpl": __version__, "Python": platform.python_version(), "NumPy": np.__version__},
            implementation=_implementation(self.subject),
            offered=self.subject.capabilities,
            lacking=_lacking(self.subject, self.applicable),
            belonging=tuple(check.id for check in self.applicable),
            elsewhere=tuple(check.id for check in CHECKS if check not in self.applicable),
            convention=convention or self.told,
            thrift=self.subject.thrift // theory.thrift,
        )


def check_target(
    target: Any,
    *,
    level: str = "standard",
    alpha: float = ALPHA,
    seed: int | None = None,
    select: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    deadline: float = DEADLINE,
    progress: bool = False,
    failures: Path | None = None,
    command: str = "",
    conventions: str | Convention = "auto",
    spec: str = "",
    options: Sequence[str] = (),
) -> Report:
    """Judge a target by every check that applies to it.

    Parameters
    ----------
    target : an object or a factory as `refimpl.validation.contract` describes.
    level : "smoke", "standard" or "thorough": the sample sizes of the statistical checks.
    alpha : probability that a correct target fails anything at all; split evenly over the statistical checks that apply.
    seed : makes the run repeatable; drawn and reported if None. Each check has its own stream, whatever is selected.
    select : part of a check's id, or a pattern such as ``maps.*``.
    expected_failures : check id -> reason, added to the target's own; an unexpected pass counts as a failure.
    parameters : those of the theory (``beta``, ``shape``), ``step_size``, ``n_steps`` and the like, for a factory.
    deadline : seconds one call of the target may take.
    failures : folder for vector files with the smallest configurations that fail, made where any is found; None does not search.
    command : what was typed, for those files.
    conventions : those of the target: "auto" for the contract's, or where action, force, plaquette or charge do not have them,
        others under which they are right, if there are any (these failures stay, and every other verdict says under which
        conventions it is); "ours" for the contract's; a `Convention`, or the name of one, or names with ``+`` between.
    spec, options : what was typed as the target, and besides, for the commands that are shown with a failure.

    Raises
    ------
    TargetError : the target could not be made or declares nothing the oracle can judge.
    ValueError : an argument, or the id of an expected failure, is not known.
    """
    battery = Battery(
        target,
        level=level,
        alpha=alpha,
        seed=seed,
        expected_failures=expected_failures,
        parameters=parameters,
        deadline=deadline,
        convention=checked_conventions(conventions),
    )
    chosen = [check for check in battery.applicable if _matches(check.id, select)]
    date, start = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), time.perf_counter()
    basic = [check for check in chosen if check.id in CONTRACT]
    found = None if conventions == "auto" else Discovery()
    judged: dict[Check, Verdict] = {}
    ordered = [*basic, *(check for check in chosen if check not in basic)]
    for check in watched(ordered, "checks", progress, _name):
        if check not in basic and found is None:
            found = _discovery(battery, judged.values())
        judged[check] = (battery if check in basic else _assumed(battery, found)).verdict(check)
    found = found or _discovery(battery, judged.values())
    told = _with_evidence(battery, [judged[check] for check in chosen], failures, (command, spec), found, progress)
    seconds = time.perf_counter() - start
    return replace(
        battery.report(told, seconds, found.advice if found.convention else ""),
        date=date,
        spec=spec,
        options=tuple(options),
        option=found.option,
    )


def convention_of(
    target: Any,
    conventions: str | Convention,
    *,
    parameters: Mapping[str, Any] | None = None,
    deadline: float = DEADLINE,
) -> Convention:
    """That which is given, as to `check_target`, or for "auto" that under which the first checks pass, where one is found."""
    if conventions != "auto":
        return checked_conventions(conventions)
    battery = Battery(target, level="smoke", seed=0, parameters=parameters, deadline=deadline)
    basic = [check for check in battery.applicable if check.id in BASIC]
    return _discovery(battery, [battery.verdict(check) for check in basic]).convention or OURS


def _assumed(battery: Battery, found: Discovery | None) -> Battery:
    """In the conventions that were found, where there are any."""
    return battery.under(found.convention) if found is not None and found.convention is not None else battery


def _discovery(battery: Battery, verdicts: Iterable[Verdict]) -> Discovery:
    failed = [v.check for v in verdicts if _unexpected(v) and v.check in BASIC]
    try:
        return discovered(battery, failed) if failed else Discovery()
    except Exception:  # noqa: BLE001 (it fails in ways that the verdicts tell better)
        return Discovery()


def _name(check: Check) -> str:
    return check.id


def _with_evidence(
    battery: Battery,
    verdicts: list[Verdict],
    folder: Path | None,
    typed: tuple[str, str],
    found: Discovery,
    progress: bool,
) -> Iterable[Verdict]:
    """Failures with their likely causes and, where a folder is given, the smallest configurations that show them."""
    if all(verdict.good for verdict in verdicts):
        return verdicts
    from .failures import explained, with_evidence

    if found.convention is not None:
        return _by_conventions(battery, verdicts, found)
    told = explained(battery.subject, verdicts)
    if folder is not None and battery.told:
        return [replace(v, smallest=TRANSLATED) if _unexpected(v) else v for v in told]
    if folder is None:
        return told
    searched = watched(told, "checks searched for their smallest failures", progress, lambda verdict: verdict.check)
    return with_evidence(battery.subject, searched, folder, battery.seed, *typed)


def _by_conventions(battery: Battery, verdicts: list[Verdict], found: Discovery) -> Iterable[Verdict]:
    """Failures in the conventions of the contract have these as their cause; of others there is the likely one.

    A vector file would not help: the target answers it as it was not asked, or is asked for what it does not answer.
    """
    from .failures import explained

    under = battery.under(found.convention or OURS)
    marked = [verdict for verdict in verdicts if verdict.convention != battery.told]
    causes = {verdict.check: verdict for verdict in explained(under.subject, marked)}
    for verdict in verdicts:
        if verdict.check in causes:
            yield causes[verdict.check]
        elif _unexpected(verdict):
            yield replace(verdict, causes=_told_of(under.verdict(BY_ID[verdict.check]), found))
        else:
            yield verdict


def _told_of(under: Verdict, found: Discovery) -> tuple[str, ...]:
    """What conventions explain of a failure, from the same check under those that were found."""
    wrong = "" if under.status != FAIL else f"; but fails under that convention too: {under.detail}"
    return (f"conventions: {found.advice}{wrong}",)


def _unexpected(verdict: Verdict) -> bool:
    return verdict.status == FAIL and verdict.expected_failure is None


def judge(check: Check, subject: Subject, seed: int, trial: Trial) -> Verdict:
    """One verdict; whatever the target, or the check itself, does wrong becomes a FAIL, never an exception."""
    start = time.perf_counter()
    if missing := check.missing(subject):
        worth = "" if check.worth is None else f": {check.worth(trial)}"
        verdict = skipped(f"offers no {', no '.join(missing)}{worth}")
    else:
        try:
            with np.errstate(all="ignore"):
                rng = stream(seed, check.id)
                verdict = check.function(subject, rng, trial) if check.takes_trial else check.function(subject, rng)
        except (Inconclusive, Unsampled, Declined) as reason:
            verdict = skipped(str(reason))
            verdict = replace(verdict, declined=isinstance(reason, Declined) and not isinstance(reason, Untold))
        except Misdeclared as fault:
            verdict = Verdict(FAIL, "what the target declares", detail=str(fault))
        except TargetFault as fault:
            verdict = Verdict(FAIL, "the call itself", detail=str(fault))
        except TargetError as error:
            verdict = Verdict(FAIL, "making the target at other parameters", detail=str(error))
        except ChecksumError:
            raise  # our own files are damaged: that is no finding about the target
        except Exception as error:  # noqa: BLE001 (a mistake of ours must not hide what other checks found)
            verdict = Verdict(FAIL, "the check itself", detail=f"raised {type(error).__name__}: {str(error)[:300]}")
    return replace(verdict, check=check.id, seconds=time.perf_counter() - start)


def _implementation(subject: Subject) -> dict[str, str]:
    """Language and version, where the target says so."""
    told = {}
    for name in ("language", "version"):
        with contextlib.suppress(Misdeclared):
            if isinstance(value := subject.declared(name, None), str):
                told[name] = value
    return told


def _lacking(subject: Subject, applicable: Iterable[Check]) -> tuple[str, ...]:
    """Capabilities, not on offer, that checks which belong to the target ask for."""
    needs = [any_of for check in applicable for any_of in check.needs]
    wanted = {name for any_of in needs if not any(map(subject.has, any_of)) for name in any_of}
    return tuple(name for name in CAPABILITIES if name in wanted)


def checked_level(level: str) -> Effort:
    """The sample sizes of that name."""
    if not isinstance(level, str) or level not in EFFORTS:
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(EFFORTS)}")
    return EFFORTS[level]


def checked_conventions(conventions: str | Convention) -> Convention:
    """Those to begin with."""
    if isinstance(conventions, Convention):
        return conventions
    if not isinstance(conventions, str):
        raise ValueError(f"conventions: got {conventions!r}, expected auto, a Convention or the name of one")
    return OURS if conventions == "auto" else named(conventions)


def checked_alpha(alpha: float) -> float:
    """The false-alarm level of a run."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0 < alpha < 1:
        raise ValueError(f"alpha: got {alpha!r}, expected a probability between 0 and 1")
    return float(alpha)


def checked_seed(seed: int | None) -> int:
    """The seed of a run, drawn where none is given."""
    if seed is None:
        return secrets.randbelow(2**31)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, expected an integer >= 0")
    return int(seed)


def _matches(check_id: str, select: str | None) -> bool:
    if select is None:
        return True
    return fnmatch.fnmatchcase(check_id, select) or bool(re.search(re.escape(select), check_id))


def matching(select: str | None) -> list[str]:
    """The ids of the checks, of any theory, that are selected so."""
    return [check.id for check in CHECKS if _matches(check.id, select)]


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of a name: independent of which other checks run."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
