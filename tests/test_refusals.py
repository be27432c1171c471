"""What a target may refuse, seeds beyond 31 bits and invalid fields, it refuses in words: to crash or to hang is no refusal."""

import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from refimpl.validation.battery import check_target
from refimpl.validation.contract import Subject, TargetFault
from refimpl.validation.conversion import Lost, Raised
from refimpl.validation.remote import RemoteFactory
from refimpl.validation.replay import repeated
from refimpl.validation.transcripts import played, recorded
from refimpl.validation.vector_files import read_vector

from .sessions import InProcess, Patient

X = np.zeros((3, 2, 2, 2))
VECTORS = Path(__file__).parents[1] / "data" / "vectors" / "v1"


def judged(beyond):
    """The verdict on a target that answers seeds beyond 31 bits by this."""

    def step(x, seed):
        return x + np.random.default_rng(seed).standard_normal(x.shape) if seed < 1 << 31 else beyond(x)

    target = SimpleNamespace(theory="u1", beta=2.0, shape=(2, 2), step=step)
    (verdict,) = check_target(target, level="smoke", seed=1, select="driver.seeds", deadline=2.0).verdicts
    return verdict


def refusing(x):
    raise OverflowError("seed: too large")


def test_a_refusal_is_no_fault():
    assert judged(refusing).status == "pass"


def test_nonsense_is_a_fault():
    found = judged(lambda x: np.full_like(x, np.nan))
    assert found.status == "fail"
    assert "NaN" in found.detail


def test_a_hang_is_a_fault():
    until = threading.Event()
    try:
        found = judged(lambda x: until.wait(60.0))
    finally:
        until.set()
    assert found.status == "fail"
    assert "did not return within 2 s" in found.detail


class Words(Patient):
    """Fails in three ways, as the functions of a process do."""

    def action(self, x):
        raise Raised("in words")

    def charge(self, x):
        raise Lost("by a crash")

    def plaquette(self, x):
        raise TargetFault("by nonsense")


def test_a_transcript_keeps_whether_the_target_raised(tmp_path):
    kinds = []
    with recorded(RemoteFactory(InProcess(Words())), tmp_path / "t.zip", {"seed": 1}) as writing:
        kinds.append(faults(Subject(writing)))
    again = Subject(played(tmp_path / "t.zip"))
    kinds.append(faults(again))
    again.target._source.close()
    assert kinds == [[Raised, Lost, TargetFault]] * 2


@pytest.mark.parametrize(("fault", "good"), [(Raised, True), (TargetFault, True), (Lost, False)])
def test_words_and_nan_refuse_an_invalid_field_but_a_crash_does_not(fault, good, monkeypatch):
    vector = read_vector(VECTORS / "u1_loops" / "nan-4x4.json")
    subject = Subject(SimpleNamespace(theory="u1", beta=2.0, shape=(4, 4), action=np.zeros_like))
    monkeypatch.setattr(subject, "action", Mock(side_effect=fault("as it is")))
    with nullcontext() if good else pytest.raises(Lost):
        found = repeated(subject, vector)
        assert found
        assert all(one.good for one in found)


def faults(at):
    kinds = []
    for function in (at.action, at.charge, at.plaquette):
        with pytest.raises(TargetFault) as fault:
            function(X)
        kinds.append(type(fault.value))
    return kinds


def hardly_accepting(rate, cut):
    """An independent field for a chain in so many, from a seed without what is above the cut."""

    def step(x, seed):
        rng = np.random.default_rng(seed & cut)
        moved = rng.random(len(x)) < rate
        return np.where(moved[:, None, None, None], rng.uniform(-np.pi, np.pi, x.shape), x)

    target = SimpleNamespace(theory="u1", beta=2.0, shape=(2, 2), step=step)
    (verdict,) = check_target(target, level="smoke", seed=1, select="driver.seeds").verdicts
    return verdict


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.03])  # by none of 584 chains with probability 2e-8 at the least of them
def test_a_bit_that_is_dropped_is_seen_at_a_small_acceptance(rate):
    found = hardly_accepting(rate, (1 << 48) - 1)
    assert found.status == "fail"
    assert "bit 48, 62 alone" in found.detail
    assert hardly_accepting(rate, -1).status == "pass"


def test_where_nothing_moves_nothing_is_said_of_seeds():
    found = hardly_accepting(0.0, 1)
    assert found.status == "skip"
    assert "step moved none of 512 chains" in found.detail
