"""Timing of competitors in turn, and the table of ratios."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

Stepper = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Median seconds per call of one competitor, and its time over ours: median, least and largest over the rounds."""

    case: str
    name: str
    seconds: float
    ratio: float
    ratio_low: float
    ratio_high: float


@contextmanager
def one_processor() -> Iterator[None]:
    """One processor for this process, and so for every thread a peer starts, where the system lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Item:
    """What is timed: a function that sets up the competitors, and the cases it is called with, by label.

    ``parallel``: it may use all processors, and not only one.
    """

    setup: Callable[..., dict[str, Stepper]]
    cases: Mapping[str, tuple[Any, ...]]
    parallel: bool = False


def timings(item: Item, name: str, seconds: float) -> list[Timing]:
    """Time every case of an item, about this many seconds a case, the competitors in turn within each round."""
    if not item.parallel:
        with one_processor():
            return _timings(item, name, seconds)
    return _timings(item, name, seconds)


def _timings(item: Item, name: str, seconds: float) -> list[Timing]:
    timings = []
    for label, case in tqdm(item.cases.items(), desc=name, disable=None, file=sys.stderr, leave=False):
        competitors = item.setup(*case)
        for call in competitors.values():
            call()
        repeat = {name: max(1, round(0.02 / _seconds(call, 1))) for name, call in competitors.items()}
        rounds: list[list[float]] = []
        end = time.perf_counter() + seconds
        while len(rounds) < 5 or time.perf_counter() < end:
            rounds.append([_seconds(call, repeat[name]) for name, call in competitors.items()])
        times = np.array(rounds)
        ratios = times / times[:, :1]
        for k, competitor in enumerate(competitors):
            values = (np.median(times[:, k]), np.median(ratios[:, k]), ratios[:, k].min(), ratios[:, k].max())
            timings.append(Timing(label, competitor, *map(float, values)))
    return timings


def _seconds(call: Stepper, repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def table(timings: list[Timing]) -> str:
    """The timings as text: ratios above 1 mean that the reference is faster."""
    lines = [f"{'case':<26}{'implementation':<16}{'ms per call':>12}{'their time / ours':>20}{'least':>8}{'most':>8}"]
    for t in timings:
        lines.append(
            f"{t.case:<26}{t.name:<16}{1e3 * t.seconds:>12.3f}{t.ratio:>20.2f}{t.ratio_low:>8.2f}{t.ratio_high:>8.2f}"
        )
    return "\n".join(lines)
