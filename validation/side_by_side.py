"""Processes that do the same with many things, some at a time, and that end together."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

GRACE = 5.0  # seconds between the request to end and the end

T = TypeVar("T")
R = TypeVar("R")


class Ended(Exception):
    """A process that is not started any more."""


class Children:
    """Processes of this one; `end` ends those that run, and lets no other begin."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], seconds: float | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """The command when it is done, with what it said; raises `subprocess.TimeoutExpired` where it takes longer."""
        with self._lock:
            if self._ended:
                raise Ended
            child = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self._running.add(child)
        try:
            said, told = child.communicate(timeout=seconds)
        except BaseException:
            _stopped([child])
            child.communicate()
            raise
        finally:
            with self._lock:
                self._running.discard(child)
        return subprocess.CompletedProcess(command, child.returncode, said, told)

    def end(self) -> None:
        """Ask all to end, which lets them end those of their own, and make them."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        _stopped(running)


def _stopped(children: Iterable[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()


def side_by_side(
    things: Sequence[T], work: Callable[[T, Children], R], jobs: int, told: Callable[[int, R], None]
) -> list[R]:
    """What ``work`` makes of every thing, ``jobs`` at a time, begun in this order; ``told`` hears the how manyth ended, and how.

    Whatever ends this early, such as Ctrl-C, ends the processes too.
    """
    children = Children()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, thing, children) for thing in things]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                told(done, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
    return [future.result() for future in futures]
