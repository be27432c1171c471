"""How commands end that have started processes: by signals, once, with everything as it was before."""

import os
import signal
import time

import pytest

from refimpl.cli.endings import SIGNALS, ended_by_signals


@pytest.fixture(autouse=True)
def _default_handlers():
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _sent(number):
    os.kill(os.getpid(), number)
    time.sleep(5)  # the handler comes first


def _ended(number, cleaned):
    with ended_by_signals():
        try:
            _sent(number)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)  # the terminal closes meanwhile
            cleaned.append(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_another_signal_does_not_disturb_the_cleaning(number, capsys):
    cleaned = []
    with pytest.raises(SystemExit) as ending:
        _ended(number, cleaned)
    assert cleaned == [number]
    assert ending.value.code == 128 + number
    assert capsys.readouterr().err == f"refimpl: ended by {number.name}\n"
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 2


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL, signal.SIG_IGN]


def test_ctrl_c_is_no_signal_of_these():
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        raise KeyboardInterrupt
