"""Checks as tests of pytest: `parametrize_with_checks`, and what it shares with `refimpl.validation.pytest_plugin`."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .battery import ALPHA, Battery, convention_of
from .checks import Check
from .contract import DEADLINE, TargetError
from .conventions import OURS, Convention, option
from .failure_text import replay_command
from .report import printable
from .reports import wording
from .targets import target_named
from .verdict import FAIL, SKIP, Verdict

WIDTH = 100


class BoundCheck:
    """A check of one target: calling it raises `AssertionError` with the oracle's words on a failure, and skips with a reason.

    ``battery`` makes the verdict, ``label`` is what the target is called, ``again`` says how to repeat a check, or all for None.
    """

    def __init__(
        self, battery: Battery, check: Check, label: str, target: Any, again: Callable[[str | None], str]
    ) -> None:
        self.battery, self.check, self.label, self.target = battery, check, label, target
        self.verdict: Verdict | None = None
        self.again = again
        self.__name__ = check.id

    def __repr__(self) -> str:
        return f"<{self.check.id} of {self.label}>"

    def __call__(self, target: Any = None) -> None:
        """Judge the target; one that is handed over must be the one that the check was made for."""
        __tracebackhide__ = True
        import pytest

        if target is not None and target is not self.target:
            raise TypeError(f"{self.check.id}: got {target!r}, expected the target that came with it, {self.target!r}")
        self.verdict = verdict = self.battery.verdict(self.check)
        if verdict.status == SKIP:
            pytest.skip(verdict.detail)
        if verdict.status == FAIL:
            raise AssertionError(screen(verdict, self.check.explanation, self.again(self.check.id)))

    @property
    def marks(self) -> list[Any]:
        """A declared failure is an xfail that must fail."""
        import pytest

        reason = self.battery.known.get(self.check.id)
        return [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)]


def bound_checks(battery: Battery, label: str, target: Any, again: Callable[[str | None], str]) -> list[BoundCheck]:
    """All checks that apply; raises `TargetError` for a target that offers nothing that any of them needs."""
    if all(check.missing(battery.subject) for check in battery.applicable):
        raise TargetError(f"target: got {label} with no function that a check of {battery.subject.theory.name} needs")
    return [BoundCheck(battery, check, label, target, again) for check in battery.applicable]


def screen(verdict: Verdict, explanation: str, again: str) -> str:
    """What failed, where, against which bound, what the check means, and how to repeat it."""
    verdict = printable(verdict)
    lines = [f"{verdict.check}: {wording.measured(verdict)}"]
    lines += _indented(verdict.detail)
    for cause in verdict.causes:
        lines += _indented(f"likely: {cause}")
    lines += _indented(verdict.smallest)
    if verdict.reproduced_by:
        lines.append(f"  smallest configuration: {replay_command(verdict)}")
    lines += _indented(f"what it checks: {explanation.splitlines()[0]} (refimpl explain {verdict.check})")
    return "\n".join([*lines, f"  again: {again}"])


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def parametrize_with_checks(
    targets: Iterable[Any],
    *,
    level: str = "smoke",
    alpha: float = ALPHA,
    seed: int | None = 0,
    parameters: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    deadline: float = DEADLINE,
    conventions: str | Convention = "ours",
) -> Callable[[Any], Any]:
    """A pytest decorator: the test runs once per target and check, as ``def test(target, check): check(target)``.

    Every check that applies to the theory and the kind of target is a test, named ``MyHMC-static.force``. ``check(target)``
    raises `AssertionError` on a failure, and skips with the reason where the target does not offer what the check needs. A
    failure that is declared, with a reason, is an xfail, and fails when it passes.

    Parameters
    ----------
    targets : objects, factories, or what the command line takes: ``"mycode:MyHMC"``, ``"builtin:u1"``.
    level, alpha, seed, parameters, expected_failures, deadline : as of `check_target`, for each of the targets: they are judged
        with the same bounds and the same random numbers. The seed is 0 unless given; None draws one.
    conventions : those of the targets: "ours", a `Convention`, the name of one (or names with ``+`` between), or "auto" to look for
        them where action, force, plaquette or charge are not as in the contract.

    Targets are made, and asked what they are, while tests are collected. Then, what cannot be judged, or is not known, is an error
    of the collection that says so.
    """
    import pytest

    if isinstance(targets, str) or not isinstance(targets, Iterable) or not (given := list(targets)):
        raise TypeError(f"targets: got {targets!r}, expected a list of targets")
    taken: set[str] = set()
    pairs = []
    for target in given:
        try:
            found = target_named(target) if isinstance(target, str) else target
            battery = Battery(
                found,
                level=level,
                alpha=alpha,
                seed=seed,
                parameters=parameters,
                expected_failures=expected_failures,
                deadline=deadline,
                convention=convention_of(found, conventions, parameters=parameters, deadline=deadline),
            )
            name = _name(target, battery)
            label = _unused(name, taken)
            checks = bound_checks(battery, label, found, _Call(target, name, battery, parameters))
        except (TargetError, ValueError) as error:
            raise pytest.Collector.CollectError(f"parametrize_with_checks([{_shown(target)}]): {error}") from error
        pairs += [pytest.param(found, bound, id=f"{label}-{bound.check.id}", marks=bound.marks) for bound in checks]
    return pytest.mark.parametrize(("target", "check"), pairs)


def _shown(target: Any) -> str:
    return target.__name__ if isinstance(target, type) else repr(target)


def _name(target: Any, battery: Battery) -> str:
    """What its user calls it, in the names of tests."""
    if isinstance(target, str):
        return target
    name = getattr(target, "__name__", "<lambda>")
    return battery.subject.name if name == "<lambda>" else str(name)


def _unused(label: str, taken: set[str]) -> str:
    """The label, numbered from the second one of the same name on."""
    numbered = (label if k == 1 else f"{label}-{k}" for k in itertools.count(1))
    taken.add(found := next(name for name in numbered if name not in taken))
    return found


@dataclass(frozen=True)
class _Call:
    """The call of `check_target` that repeats a check."""

    target: Any
    name: str
    battery: Battery
    parameters: Mapping[str, Any] | None

    def __call__(self, check_id: str | None) -> str:
        target = f"target_named({self.target!r})" if isinstance(self.target, str) else self.name
        arguments = {"level": self.battery.level, "alpha": self.battery.alpha, "seed": self.battery.seed}
        if self.battery.convention != OURS:
            arguments["conventions"] = option(self.battery.convention) or self.battery.convention
        if self.parameters:
            arguments["parameters"] = dict(self.parameters)
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"check_target({target}, {shown}" + (")" if check_id is None else f", select={check_id!r})")
