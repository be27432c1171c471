"""A target with one thing broken: everything else passes through, whatever the target is.

A `Bug` says which functions it replaces; `broken(target, bug)` is the target with these, a factory where the target is one. Bugs
see the target as a `Subject`, so what they get are checked arrays, and use nothing but what it offers, its theory and its
declarations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..contract import CAPABILITIES, DEADLINE, Subject

Functions = Mapping[str, Callable[..., Any]]


def as_offered(s: Subject) -> Functions:
    """The functions of the target as they are."""
    return {name: getattr(s.target, name) for name in s.capabilities}


@dataclass(frozen=True)
class Bug:
    """One mistake, for any target that offers what it breaks.

    Attributes
    ----------
    name : that of the bank of mutants where it is the same mistake there.
    description : what is wrong, as a docstring of the bank.
    functions : of a target, what replaces its functions; those that it does not offer are left out.
    honest : the functions that these would be without the mistake, where they are not those of the target: an update that is
        put together anew from its parts.
    """

    name: str
    description: str
    functions: Callable[[Subject], Functions]
    honest: Callable[[Subject], Functions] = as_offered

    def replaced(self, s: Subject) -> Functions:
        """What is replaced of this target; nothing where the bug does not apply."""
        return {name: function for name, function in self.functions(s).items() if s.has(name)}

    @property
    def mended(self) -> Bug:
        """The same functions, without the mistake."""

        def functions(s: Subject) -> Functions:
            honest = self.honest(s)
            return {name: honest[name] for name in self.replaced(s) if name in honest}

        return Bug(self.name, "nothing", functions)


class Wrapped:
    """The target of a subject with the functions of a bug in place of its own."""

    def __init__(self, subject: Subject, bug: Bug) -> None:
        self._wrapped_subject, self._wrapped_bug = subject, bug
        self._wrapped_functions = bug.replaced(subject)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_wrapped_"):  # before they are set, as in a copy
            raise AttributeError(name)
        if name in self._wrapped_functions:
            return self._wrapped_functions[name]
        found = getattr(self._wrapped_subject.target, name)
        return self._replaced if name == "replace" and callable(found) else found

    def _replaced(self, **changes: Any) -> Wrapped:
        subject = self._wrapped_subject
        return Wrapped(Subject(subject.target.replace(**changes), deadline=subject.deadline), self._wrapped_bug)


def broken(target: Any, bug: Bug, *, deadline: float = DEADLINE) -> Any:
    """The target, or the factory of it, with this bug."""
    if hasattr(target, "theory") and not isinstance(target, type):
        return Wrapped(Subject(target, deadline=deadline), bug)
    if not callable(target):
        return target  # no target: `Subject` says so

    def made(**parameters: Any) -> Wrapped:
        return Wrapped(Subject(target, deadline=deadline, parameters=parameters), bug)

    made.__name__ = getattr(target, "__name__", type(target).__name__)
    made.__signature__ = inspect.signature(target)  # type: ignore[attr-defined]  # which parameters it can be asked for
    return made


def listening(heard: set[str]) -> Bug:
    """No bug: it notes which functions are called."""

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            heard.add(name)
            return function(*arguments, **named)

        return call

    def functions(s: Subject) -> Functions:
        return {name: noted(name, getattr(s.target, name)) for name in CAPABILITIES if s.has(name)}

    return Bug("None", "nothing", functions)
