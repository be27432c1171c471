"""How a command ends that has started processes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP are as Ctrl-C, so that targets in other processes end too; the exit code is 128 and the signal's number.

    A signal that is ignored, as under ``nohup``, stays so.
    """
    got: list[int] = []

    def interrupt(number: int, _: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        got.append(number)
        raise KeyboardInterrupt  # which nobody takes for an exception of a target

    main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    before = {number: signal.getsignal(number) for number in SIGNALS if main}
    before = {number: handler for number, handler in before.items() if handler == signal.SIG_DFL}
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield
    except KeyboardInterrupt:
        if not got:
            raise
        print(f"refimpl: ended by {signal.Signals(got[0]).name}", file=sys.stderr)
        raise SystemExit(128 + got[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
