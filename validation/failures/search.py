"""The search: Hypothesis draws cases, keeps those on which the target fails, and makes them small."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, configuration, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from ..contract import Subject, TargetError, TargetFault
from ..conversion import Declined
from ..theories import Phi4
from .case import BrokenCall, Build, Case
from .drawing import KINDS, Draws

EXAMPLES = 150  # cases that are tried of each kind of field, before one that fails is made smaller
CALLS = 2000  # cases in all for one check
SECONDS = 20.0  # for one check, where cases take long

NONE_FAILS = "none: one or two small configurations at a time, all of those that were tried, show nothing"
NONE_MADE = "none: the target allows no experiment on a small configuration, or rounding would hide what it shows"

_SHAPES = ((2, 2), (2, 3), (3, 2), (3, 3), (2, 4), (4, 2), (4, 4))
_SETTINGS = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)


class _Enough(KeyboardInterrupt):
    """Ends a search at once: the one kind of exception that Hypothesis takes for no failure."""


@dataclass(frozen=True)
class Found:
    """The smallest failing case and what made it, what the target raised if that is how it fails, whether it fails every time."""

    build: Build
    case: Case
    fault: str
    repeats: bool


def smallest(subject: Subject, builds: Sequence[Build], faults: bool = False) -> Found | str:
    """The first of these experiments that fails on the target, made small, or why there is none.

    ``faults``: a call that raises is a failure too.
    """
    places, end, left, made = Places(subject), time.monotonic() + SECONDS, CALLS, False
    with _no_folder():
        for kind, build in itertools.product(KINDS, builds):
            trial = _Trial(end, left, faults)
            # None found, enough tried, or answers that change from call to call.
            with contextlib.suppress(_Enough, HypothesisException):
                hypothesis.find(_cases(places, build, kind), trial, settings=_SETTINGS)
            left, made = left - trial.calls, made or trial.made
            if trial.case is not None:
                case = trial.case
                return Found(build, case, trial.fault, all(failure(case, faults) is not None for _ in range(3)))
            if left <= 0 or time.monotonic() > end:
                break
    return NONE_FAILS if made else NONE_MADE


@contextlib.contextmanager
def _no_folder() -> Iterator[None]:
    """Hypothesis keeps notes in a folder of its own, which nobody asked for: here a temporary one."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def failure(case: Case, faults: bool) -> str | None:
    """What is wrong: what the target raised, or ``""`` where an answer is off; None where nothing is."""
    try:
        with np.errstate(all="ignore"):
            return "" if any(not one.good for one in case.comparisons()) else None
    except TargetFault as fault:
        return str(fault) if faults else None
    except Declined:  # a transcript without the call, say
        return None


class _Trial:
    """The condition that Hypothesis looks for, with the last case that met it: they only get smaller."""

    def __init__(self, end: float, most: int, faults: bool) -> None:
        self._end, self._most, self._faults = end, most, faults
        self.case: Case | None = None
        self.fault, self.calls, self.made = "", 0, False

    def __call__(self, case: Case | None) -> bool:
        self.calls += 1
        if self.calls > self._most or time.monotonic() > self._end:
            raise _Enough
        self.made = self.made or case is not None
        if case is None or (wrong := failure(case, self._faults)) is None:
            return False
        self.case, self.fault = case, wrong
        return True


@st.composite
def _cases(draw: st.DrawFn, places: Places, build: Build, kind: str) -> Case | None:
    at = places.drawn(draw)
    try:
        with np.errstate(all="ignore"):
            return build(at, Draws(draw, at, kind))
    except BrokenCall as broken:
        return broken.case
    except (TargetFault, Declined, np.linalg.LinAlgError):
        return None


class Places:
    """The target at parameters that are smaller or simpler than its own, as far as it can be made there."""

    def __init__(self, subject: Subject) -> None:
        self._subject, self._made = subject, dict[tuple[Any, ...], Subject | None]()
        self._choices = choices(subject)
        own = {name: values[-1] for name, values in self._choices.items()}
        if self._at(own) is None:  # it cannot be made anywhere
            self._choices = {name: values[-1:] for name, values in self._choices.items()}
        self._made[tuple(own.values())] = subject

    def drawn(self, draw: st.DrawFn) -> Subject:
        """The target at some of them; what it refuses is no example."""
        at = self._at({name: draw(st.sampled_from(values)) for name, values in self._choices.items()})
        if at is None:
            hypothesis.reject()
        return at

    def _at(self, values: dict[str, Any]) -> Subject | None:
        key = tuple(values.values())
        if key not in self._made:
            try:
                self._made[key] = self._subject.replace(**values)
            except (TargetFault, TargetError, Declined):
                self._made[key] = None
        return self._made[key]


def choices(subject: Subject) -> dict[str, list[Any]]:
    """Values of each parameter, simple ones first and its own last."""
    theory, declared = subject.theory, subject.theory.declared()
    out: dict[str, list[Any]] = {}
    if "shape" in declared:
        own = tuple(declared["shape"])
        out["shape"] = [*(s for s in _SHAPES if s[0] * s[1] < own[0] * own[1]), own]
    if "length" in declared:
        out["length"] = [*(n for n in (2, 3, 4) if n < declared["length"]), declared["length"]]
    if "beta" in declared:
        out["beta"] = [1.0, declared["beta"]]
    if isinstance(theory, Phi4):
        out |= {"m2": [1.0, theory.m2], "lam": [1.0, theory.lam]}
    if declared.get("kappa"):
        out["kappa"] = [0.125, declared["kappa"]]
    if subject.parameter("n_steps") is not None:
        out["n_steps"] = [1, subject.parameter("n_steps")]
    return out
