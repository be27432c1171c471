"""One process that answers a line with a line: started, asked with a deadline, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .protocol import LONGEST_LINE, ProtocolError, encoded, plain, shown

GRACE = 2.0  # seconds to exit in, once told to
_LAST_WORDS = 0.5  # seconds for an exit code and the rest of standard error, once standard output is closed
_GLANCE = 0.1  # seconds without a word after which it is looked whether the process still runs
_TAIL = 1 << 16  # bytes of standard error that are kept
_LINES = 8  # of which so many lines are shown
_HINT = "standard output is for answers, print other things to standard error"


class Crashed(Exception):
    """The process is gone, or has closed its standard output, or was killed at its deadline."""


class Child:
    """A command that runs, in a process group of its own; raises `OSError` or `ValueError` where it cannot be started."""

    def __init__(self, command: str) -> None:
        words = shlex.split(command)
        if not words:
            raise ValueError("got an empty command")
        self.command = command
        self._mark = f"REFIMPL_CHILD_{secrets.token_hex(16)}"
        pipe, marked = subprocess.PIPE, {**os.environ, self._mark: "1"}
        self._process = subprocess.Popen(
            words, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=marked
        )
        self._stdin, self._stdout = _handle(self._process.stdin), _handle(self._process.stdout)
        self._buffer = bytearray()
        self._tail: deque[bytes] = deque()
        self._reader = threading.Thread(target=_drained, args=(self._process.stderr, self._tail), daemon=True)
        self._reader.start()

    def ask(self, line: bytes, deadline: float) -> bytes:
        """Write a line and return the next one; raises `Crashed` and `ProtocolError`, and the process is ended then."""
        try:
            return self._asked(line, time.monotonic() + deadline, deadline)
        except BaseException:  # whatever comes of it now would be taken for the answer to something else
            self.kill()
            raise

    def _asked(self, line: bytes, until: float, deadline: float) -> bytes:
        if self._buffer:
            raise ProtocolError(f"got {shown(bytes(self._buffer))} before it was asked, expected nothing; {_HINT}")
        rest, ended = memoryview(line), False
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while True:
                left = until - time.monotonic()
                if left <= 0:
                    self.kill()
                    raise Crashed(
                        f"did not answer within {deadline:g} s (--deadline){self._silence()}{self.last_words()}"
                    )
                events = selector.select(min(left, _GLANCE))
                if not events and ended:  # another process holds its standard output open
                    raise Crashed(self._gone())
                if not events:
                    ended = _has_ended(self._process.pid)
                for key, _ in events:
                    if key.fd == self._stdin:
                        rest = rest[self._written(rest) :]
                        if not rest:
                            selector.unregister(self._stdin)
                    elif (answer := self._line()) is not None:
                        return answer

    def _written(self, data: memoryview) -> int:
        try:
            return os.write(self._stdin, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:  # it reads no more; what it may have said of that comes by the other pipe
            return len(data)

    def _line(self) -> bytes | None:
        """The next line without its newline, where it is complete."""
        try:
            data = os.read(self._stdout, 1 << 16)
        except BlockingIOError:
            return None
        if not data:
            raise Crashed(self._gone())
        self._buffer += data
        line, newline, rest = self._buffer.partition(b"\n")
        if len(line) > LONGEST_LINE:
            raise ProtocolError(
                f"got {shown(bytes(line), 60)} and so on, expected at most {LONGEST_LINE} bytes a line; {_HINT}"
            )
        if not newline:
            return None
        self._buffer = bytearray(rest)
        return bytes(line)

    def _silence(self) -> str:
        return f": got {shown(bytes(self._buffer))} without a newline" if self._buffer else ""

    def _gone(self) -> str:
        """What there is to tell where no more comes."""
        unfinished = f" in the middle of a line, {shown(bytes(self._buffer))}," if self._buffer else ""
        return f"{self._ending()}{unfinished} before it answered{self.last_words()}"

    def _ending(self) -> str:
        """How the process ended, or that it only closed its standard output; it is gone then."""
        code = self.kill(_LAST_WORDS)
        if code is None:
            return "closed its standard output"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"was ended by {name}"
        return f"exited with code {code}"

    def last_words(self) -> str:
        """The last lines of standard error, for a message; nothing where there are none."""
        self._reader.join(_LAST_WORDS)
        text = b"".join(self._tail.copy()).decode("utf-8", "backslashreplace")
        lines = [plain(line, 160) for line in text.splitlines() if line.strip()][-_LINES:]
        return f"; standard error ends with: {' | '.join(lines)}" if lines else ""

    def ended_words(self) -> str:
        """Its last words, once it is ended."""
        self.kill()
        return self.last_words()

    @property
    def alive(self) -> bool:
        """Whether it was not ended yet; one that died by itself is found out when it is asked."""
        return self._process.returncode is None

    def stop(self) -> None:
        """Tell it that there is nothing more to do; whether it obeys is seen by `wait`."""
        if self.alive:
            self._written(memoryview(encoded({"type": "stop"})))
            self.close_input()

    def close_input(self) -> None:
        """Let it read the end of its standard input."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def wait(self, seconds: float) -> bool:
        """Whether it ends by itself, which is not noted: its group can still be killed without hitting another's."""
        until = time.monotonic() + seconds
        while self._process.returncode is None and not _has_ended(self._process.pid):
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)
        return True

    def kill(self, grace: float = 0.0) -> int | None:
        """End it, its process group, and where there is a ``/proc`` what it started in others.

        Its exit code, or None where it was still running. Its number is free only after that.
        """
        if self._process.returncode is not None:
            return self._process.returncode
        ended = self.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where all is dead
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        _kill_marked(self._mark.encode())
        self.close_input()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code if ended else None


def _handle(pipe: IO[bytes] | None) -> int:
    """The number of a pipe, which from now on never blocks."""
    if pipe is None:
        raise TypeError("pipe: got None, expected one")
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()


def _drained(pipe: IO[bytes], tail: deque[bytes]) -> None:
    """Read all of it for as long as there is any, and keep the end."""
    kept = 0
    with pipe:
        while data := os.read(pipe.fileno(), 1 << 15):
            tail.append(data)
            kept += len(data)
            while kept - len(tail[0]) > _TAIL:
                kept -= len(tail.popleft())


def _kill_marked(mark: bytes) -> None:
    """End the processes in whose environment this name stands, which they have from who started them, in whatever session.

    What begins while they are looked for is found the next time.
    """
    for _ in range(3):
        found = list(_marked(mark))
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _marked(mark: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark + b"=" in path.read_bytes():
                yield int(path.parent.name)


def _has_ended(pid: int) -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13: whoever has not ended by the end of the grace is killed
        return False
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
