"""What a log is told of a long run, and that a short one is silent."""

import io
import re
import threading

import pytest

from refimpl.validation import check_target, progress
from refimpl.validation.mutants import BY_NAME, run_mutants
from refimpl.validation.progress import Log, watched
from refimpl.validation.wrappers.survey import survey
from tests.targets.loops import target


class Stream(io.StringIO):
    """Says when something was written."""

    def __init__(self):
        super().__init__()
        self.told = threading.Event()

    def write(self, text):
        super().write(text)
        if text.endswith("\n"):
            self.told.set()
        return len(text)


class Waits:
    """Stands for the event that ends a run: so many times that one waits it has not ended."""

    def __init__(self, times):
        self.left, self.asked = times, []

    def wait(self, seconds):
        self.asked.append(seconds)
        self.left -= 1
        return self.left < 0


def test_a_line_says_how_far_and_how_long():
    now = iter([100.0, 130.4, 190.0])
    log = Log(54, "checks", io.StringIO(), clock=lambda: next(now))
    log.done, log.at = 12, "maps.jacobian"
    assert log.line() == "refimpl: 12 of 54 checks, 30 s; at maps.jacobian"
    log.at = ""
    assert log.line() == "refimpl: 12 of 54 checks, 90 s"


def test_lines_come_every_thirty_seconds_until_the_end():
    now = iter([0.0, 30.0, 60.0])
    log = Log(2, "mutants", io.StringIO(), clock=lambda: next(now), ended=Waits(2))
    log.tell()
    assert log.ended.asked == [30.0, 30.0, 30.0]
    assert log.out.getvalue() == "refimpl: 0 of 2 mutants, 30 s\nrefimpl: 0 of 2 mutants, 60 s\n"


def test_a_log_that_nobody_reads_is_no_error():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    log = Log(2, "mutants", Closed(), ended=Waits(5))
    log.tell()
    assert len(log.ended.asked) == 1


def test_a_step_that_takes_long_is_told_of_while_it_lasts(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e-3)
    stream = Stream()
    monkeypatch.setattr("sys.stderr", stream)
    steps = watched(["first", "second"], "checks", True, str.upper)
    assert next(steps) == "first"
    assert stream.told.wait(60)
    assert stream.getvalue().startswith("refimpl: 0 of 2 checks, 0 s; at FIRST\n")
    assert list(steps) == ["second"]
    assert not [thread for thread in threading.enumerate() if "tell" in thread.name]


@pytest.mark.parametrize("silent", [False, True])
def test_no_stderr_and_no_wish_for_progress_are_silent(silent, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_logged", None)
    if silent:
        monkeypatch.setattr("sys.stderr", None)
    assert list(watched([1, 2], "checks", silent)) == [1, 2]
    assert capsys.readouterr().err == ""


@pytest.fixture
def seen(monkeypatch):
    """What is watched: the last line of each run."""
    lines = []

    def logged(steps, log, name):
        for done, step in enumerate(steps):
            log.done, log.at = done, name(step)
            yield step
        lines.append(re.sub(r", \d+ s;", ";", log.line()))

    monkeypatch.setattr(progress, "_logged", logged)
    return lines


def test_validate_says_where_it_is(seen):
    check_target(BY_NAME["DoubledForce"], level="smoke", seed=1, select="static.force", progress=True)
    assert seen == ["refimpl: 1 of 2 checks; at static.force_gradient"]


def test_the_search_for_smallest_failures_says_where_it_is(seen, tmp_path, monkeypatch):
    monkeypatch.setattr("refimpl.validation.failures.evidence.CASES", {})
    options = {"level": "smoke", "seed": 1, "select": "static.force", "progress": True, "failures": tmp_path}
    check_target(BY_NAME["DoubledForce"], **options)
    assert "refimpl: 1 of 2 checks searched for their smallest failures; at static.force_gradient" in seen[1:]


def test_mutants_say_where_they_are(seen, monkeypatch):
    from refimpl.validation.checks import CHECKS

    chosen = [check for check in CHECKS if check.id in ("static.force", "static.plaquette")]
    monkeypatch.setattr("refimpl.validation.wrappers.survey.CHECKS", chosen)
    survey(target, seed=1, select="DoubledForce", progress=True)
    assert seen == [
        "refimpl: 1 of 2 checks of the target itself; at static.plaquette",
        "refimpl: 0 of 1 mutants; at DoubledForce",
    ]
    run_mutants(["DoubledForce"], level="smoke", progress=True, only=["static.force"])
    assert seen[2:] == ["refimpl: 0 of 1 mutants; at DoubledForce"]
