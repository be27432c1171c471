"""What counts as seen in a survey: by checks that the target passes, and not what was put together wrongly around a bug."""

import numpy as np
import pytest

from refimpl.validation.checks import BY_ID
from refimpl.validation.contract import Subject, TargetError
from refimpl.validation.evidence import EFFORTS
from refimpl.validation.verdict import FAIL, PASS, Verdict
from refimpl.validation.wrappers.advice import Advice
from refimpl.validation.wrappers.same import changes_nothing
from refimpl.validation.wrappers.survey import MISSED, SEEN, Outcome, _Judging
from refimpl.validation.wrappers.told import grouped
from refimpl.validation.wrappers.wrapped import Bug, broken


class Forces:
    """U(1), its force alone."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def force(self, x):
        angles = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
        s = self.beta * np.sin(angles)
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)


def times(factor):
    return lambda s: {"force": lambda x: factor * s.force(x)}


def raising(s):
    def force(x):
        raise ValueError("no force")

    return {"force": force}


@pytest.fixture
def judging():
    return _Judging(Forces(), {}, EFFORTS["smoke"], 1, 20.0)


FORCE = BY_ID["static.force"]


def test_a_bug_that_is_put_together_of_what_fails_anyhow_is_not_seen(judging):
    for honest, sound in ((times(2), False), (times(1), True)):
        assert judging._sound_for(Bug("B", "", times(3), honest), FORCE, {"force"}) is sound
    assert judging._sound_for(Bug("B", "", times(3)), FORCE, {"force"})


def test_checks_that_fail_on_the_target_say_nothing_of_bugs(judging):
    judging.called = {check.id: {"force"} for check in judging.able}
    judging.own = {check.id: Verdict(PASS, "q", sensitivity="s") for check in judging.able}
    assert FORCE in judging.checks({"force"}, ())
    assert judging.checks({"action"}, ()) == []
    judging.own[FORCE.id] = Verdict(FAIL, "q")
    assert FORCE not in judging.checks({"force"}, ())
    assert judging.checks({"force"}, ()) != []


def test_what_raises_is_no_bug_that_changes_nothing():
    honest, rng = Subject(Forces()), np.random.default_rng(1)
    for change, same in ((times(1), True), (times(1 + 1e-9), False), (raising, False)):
        other = Subject(broken(Forces(), Bug("B", "", change)))
        assert changes_nothing(honest, other, {"force"}, rng) is same


def test_a_target_that_cannot_be_made_with_a_bug_shows_it(judging, monkeypatch):
    def refused(self, bug):
        raise TargetError("the constructor calls force")

    monkeypatch.setattr(_Judging, "made", refused)
    outcome = judging.outcome(Bug("B", "", times(2)), (), everything=False)
    assert outcome.status == SEEN
    assert outcome.verdicts[0].detail == "the constructor calls force"


def test_a_larger_sample_is_advised_before_functions():
    offer, level = Advice("offer", "force", "static.force"), Advice("level", "standard", "driver.seeds")
    for advice in ((offer, level), (level, offer)):
        ((told, bugs),) = grouped([Outcome("B", "", MISSED, advice=advice)])
        assert told == [level]
        assert bugs == ["B"]
