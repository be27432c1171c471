"""Where a long run is: a bar on a terminal that is watched, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 30.0  # seconds between two lines


@dataclass
class Log:
    """Lines about a run of ``total`` steps, which `step` is told of.

    They come from a thread of their own: one step may take longer than all others together.
    """

    total: int
    noun: str
    out: TextIO
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    at: str = ""
    start: float = field(init=False)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.start = self.clock()

    def line(self) -> str:
        """Such as ``refimpl: 12 of 54 checks, 30 s; at maps.jacobian``."""
        at = f"; at {self.at}" if self.at else ""
        return f"refimpl: {self.done} of {self.total} {self.noun}, {self.clock() - self.start:.0f} s{at}"

    def tell(self) -> None:
        """A line every `EVERY` seconds until the run has ended."""
        while not self.ended.wait(EVERY):
            try:
                print(self.line(), file=self.out, flush=True)
            except (OSError, ValueError):  # nobody reads any more
                return


def watched(steps: Sequence[T], noun: str, progress: bool, name: Callable[[T], str] = str) -> Iterator[T]:
    """The steps, and on stderr where the run is, if there is to be ``progress``."""
    if not progress or sys.stderr is None or not steps:
        yield from steps
    elif sys.stderr.isatty():
        bar = tqdm(steps, file=sys.stderr, leave=False, delay=2)
        for step in bar:
            bar.set_description(name(step))
            yield step
    else:
        yield from _logged(steps, Log(len(steps), noun, sys.stderr), name)


def _logged(steps: Sequence[T], log: Log, name: Callable[[T], str]) -> Iterator[T]:
    thread = threading.Thread(target=log.tell, daemon=True)
    thread.start()
    try:
        for done, step in enumerate(steps):
            log.done, log.at = done, name(step)
            yield step
    finally:
        log.ended.set()
        thread.join()
