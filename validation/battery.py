"""Running the checks on a target: `check_target` for a report, `parametrize_with_checks` for pytest."""

from __future__ import annotations

import contextlib
import fnmatch
import math
import platform
import re
import secrets
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from tqdm import tqdm

from refimpl import __version__

from .checks import BY_ID, CHECKS, Check
from .checks.maps import Inconclusive
from .contract import CAPABILITIES, DEADLINE, Subject, TargetError, TargetFault
from .conversion import Misdeclared
from .evidence import EFFORTS, Effort, Evidence, Trial
from .report import Report
from .theories import Unsampled
from .vectors import ChecksumError
from .verdict import FAIL, Verdict, skipped

ALPHA = 1e-6
SILENCE = 60.0  # seconds, after which a run that is watched by a log says where it is


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

    Raises
    ------
    TargetError : the target could not be made or declares nothing the oracle can judge.
    ValueError : an argument, or the id of an expected failure, is not known.
    """
    effort = _effort(level)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: got {alpha!r}, expected a probability between 0 and 1")
    seed = secrets.randbelow(2**31) if seed is None else int(seed)
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected an integer >= 0")
    subject = Subject(target, deadline=deadline, parameters=parameters)
    known = {**subject.expected_failures, **(expected_failures or {})}
    if unknown := sorted(set(known) - set(BY_ID)):
        raise ValueError(f"expected_failures: got {', '.join(unknown)}, expected ids of checks")
    applicable = [check for check in CHECKS if check.applies(subject)]
    chosen = [check for check in applicable if _matches(check.id, select)]
    share = alpha / max(1, sum(check.statistical and not check.missing(subject) for check in applicable))
    trial = Trial(share, effort.shared_out(subject.theory.thrift), Evidence(subject, stream(seed, "evidence")))
    verdicts: list[Verdict] = []
    date, start = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), time.perf_counter()
    bar = tqdm(chosen, disable=None if progress else True, file=sys.stderr, leave=False, delay=2)
    silent = start if progress and not sys.stderr.isatty() else math.inf  # a log gets a line now and then, not a bar
    for check in bar:
        bar.set_description(check.id)
        if (now := time.perf_counter()) > silent + SILENCE:
            silent = now
            print(
                f"refimpl: {len(verdicts)} of {len(chosen)} checks done, {check.id} begins", file=sys.stderr, flush=True
            )
        verdicts.append(replace(judge(check, subject, seed, trial), expected_failure=known.get(check.id)))
    return Report(
        target=subject.name,
        parameters={
            "theory": subject.theory.name,
            **{name: _shown(value) for name, value in subject.theory.declared().items()},
            **{
                name: subject.parameter(name)
                for name in ("step_size", "n_steps")
                if subject.parameter(name) is not None
            },
        },
        level=level,
        seed=seed,
        alpha=alpha,
        verdicts=tuple(verdicts),
        applicable=len(applicable),
        total=len(CHECKS),
        seconds=time.perf_counter() - start,
        date=date,
        versions={"refimpl": __version__, "Python": platform.python_version(), "NumPy": np.__version__},
        implementation=_implementation(subject),
        offered=subject.capabilities,
        lacking=_lacking(subject, applicable),
        unselected=tuple(check.id for check in applicable if check not in chosen),
        elsewhere=tuple(check.id for check in CHECKS if check not in applicable),
    )


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
        except (Inconclusive, Unsampled) as reason:
            verdict = skipped(str(reason))
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


def parametrize_with_checks(
    targets: Iterable[Any], *, level: str = "smoke", alpha: float = ALPHA, seed: int = 0
) -> Callable[[Any], Any]:
    """A pytest decorator: the test runs once per target and check, as ``def test(target, check): check(target)``.

    ``check(target)`` raises `AssertionError` on a failure (or an unexpected pass), and skips with the reason where the
    target does not offer what the check needs.
    """
    import pytest

    effort = _effort(level)
    share = alpha / sum(check.statistical for check in CHECKS)
    subjects: dict[int, tuple[Subject, Trial]] = {}

    def runner(check: Check) -> Callable[[Any], None]:
        def run(target: Any) -> None:
            if id(target) not in subjects:
                subject = Subject(target)
                evidence = Evidence(subject, stream(seed, "evidence"))
                subjects[id(target)] = subject, Trial(share, effort.shared_out(subject.theory.thrift), evidence)
            subject, trial = subjects[id(target)]
            if not check.applies(subject):
                pytest.skip(f"does not apply to theory {subject.theory.name}, reversal {subject.reversal}")
            verdict = replace(
                judge(check, subject, seed, trial), expected_failure=subject.expected_failures.get(check.id)
            )
            if verdict.expected_failure is not None and not verdict.good:
                raise AssertionError(f"{check.id}: passed, but is declared to fail: {verdict.expected_failure}")
            if verdict.status == FAIL and verdict.expected_failure is not None:
                pytest.xfail(verdict.expected_failure)
            if verdict.status == FAIL:
                raise AssertionError(f"{check.id}: {verdict.quantity} = {verdict.value}: {verdict.detail}")
            if verdict.status == "skip":
                pytest.skip(verdict.detail)

        run.__name__ = check.id
        return run

    pairs = [
        pytest.param(target, runner(check), id=f"{getattr(target, '__name__', type(target).__name__)}-{check.id}")
        for target in targets
        for check in CHECKS
    ]
    return pytest.mark.parametrize(("target", "check"), pairs)


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


def _shown(value: Any) -> Any:
    return np.asarray(value).tolist()


def _effort(level: str) -> Effort:
    if level not in EFFORTS:
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(EFFORTS)}")
    return EFFORTS[level]


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
