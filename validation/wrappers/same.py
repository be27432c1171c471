"""Whether a bug changes anything at all: the same questions to the target with it and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Field, Subject, TargetFault
from ..evidence import Noise, noise, sampler
from ..measure_dirac import random_spinors

CHAINS, UPDATES, SEEDS = 64, 4, 4
SEEDED = ("step", "transcript", "resume", "pseudofermion_heat_bath", "conditional_sample", "pseudomarginal_start")
ALIKE = 1e-13  # relative, of roundings in another order


def changes_nothing(honest: Subject, broken: Subject, replaced: set[str], rng: np.random.Generator) -> bool:
    """Whether all replaced functions answer as before, in some hundred calls or updates; not where they raise."""
    x = sampler(honest, rng, CHAINS)
    if hasattr(honest.theory, "configurations"):
        x = np.concatenate([x, honest.theory.configurations(rng)])
    drawn = [noise(honest, rng, x) for _ in range(UPDATES)]
    for name in sorted(replaced):
        for ask in questions(honest, name, x, drawn, rng):
            try:
                if not _alike(ask(honest), ask(broken)):
                    return False
            except TargetFault:
                return False
    return True


def questions(
    s: Subject, name: str, x: Field, drawn: list[Noise], rng: np.random.Generator
) -> list[Callable[[Subject], Any]]:
    """Calls of a function, to be put to two targets."""
    if name == "integrated_autocorrelation_time":
        series = rng.standard_normal(1000).cumsum()
        return [lambda t: np.array([t.integrated_autocorrelation_time(series)])]
    return [partial(_asked, name=name, arguments=arguments) for arguments in _arguments(s, name, x, drawn, rng)]


def _asked(t: Subject, name: str, arguments: tuple[Any, ...]) -> Any:
    """The answer, without what is only handed back to the target."""
    if name == "run":
        return t.run(*arguments)[0]
    if name == "resume":
        x, seed = arguments
        return t.resume(t.resume(t.run(x, 2, seed)[1], 2, x)[1], 2, x)[0]
    return getattr(t, name)(*arguments)


def _arguments(
    s: Subject, name: str, x: Field, drawn: list[Noise], rng: np.random.Generator
) -> Iterable[tuple[Any, ...]]:
    """What a function is asked."""
    seeds = [int(seed) for seed in rng.integers(2**31, size=SEEDS)]
    if name in ("forward", "inverse"):
        return [((x, one.v),) for one in drawn]
    if name == "transition":
        return [(x, *one) for one in drawn]
    if name == "run":
        return [(x, UPDATES, seed) for seed in seeds]
    if name in ("sample", "joint_sample"):
        return [(CHAINS, seed) for seed in seeds]
    if name == "determinant_estimate":
        return [(x, 4, seed) for seed in seeds]
    if name == "pseudomarginal":
        log_w = rng.standard_normal(len(x))
        return [(x, log_w, seed) for seed in seeds]
    if name in SEEDED:
        return [(x, seed) for seed in seeds]
    return [(x, *others) for others in _others(s, name, x, rng)]


def _others(s: Subject, name: str, x: Field, rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """The arguments after the field."""
    if name == "wilson_loop":
        return [(1, 1), (1, 2), (2, 1)]
    if name == "correlator":
        return [(0,), (1,)]
    if name == "field_moment":
        return [(1,), (2,), (3,)]
    if name == "dirac_apply":
        return [(random_spinors(rng, s.spinor_shape(x)),)]
    if name in ("pseudofermion_action", "pseudofermion_force"):
        return [(random_spinors(rng, s.pseudofermion_shape(x)),)]
    if name in ("conditional_forward", "conditional_inverse", "conditional_log_prob"):
        return [(random_spinors(rng, s.pseudofermion_shape(x)),)]
    return [()]


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_alike(one, other) for one, other in zip(a, b, strict=True))
    left: NDArray[Any] = np.asarray(a)
    right: NDArray[Any] = np.asarray(b)
    return left.shape == right.shape and bool(np.allclose(left, right, rtol=ALIKE, atol=ALIKE, equal_nan=True))
