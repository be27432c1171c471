"""What statistical checks share: it is drawn once, is the same whoever asks first, and follows the thrift of the target."""

from dataclasses import fields
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from refimpl.validation import evidence
from refimpl.validation.battery import judge, stream
from refimpl.validation.checks import BY_ID
from refimpl.validation.checks.driver import _number_of_seeds
from refimpl.validation.checks.transcript import OwnNoise
from refimpl.validation.contract import Subject, TargetFault
from refimpl.validation.evidence import EFFORTS, LATER, LEARNING, Draws, Effort, Evidence, FlowEvidence, Trial
from refimpl.validation.references.kernels import ReferenceGaussian, ReferenceU1
from refimpl.validation.references.variates import ReferenceGaugeVariate

TINY = Effort("tiny", 80, 32, 3, 2)


class Counted(ReferenceU1):
    """How many updates of a chain each call made."""

    def run(self, x, n, seed):
        self.__dict__.setdefault("updates", []).append(n * len(x))
        return super().run(x, n, seed)

    def step(self, x, seed):
        self.__dict__.setdefault("updates", []).append(len(x))
        return super().step(x, seed)


def thrifty(target, thrift):
    object.__setattr__(target, "thrift", thrift)
    return target


def trial(target, effort=TINY):
    subject = Subject(target)
    return subject, Trial(1e-8, effort, Evidence(subject, stream(7, "evidence")))


@pytest.mark.parametrize(
    ("thrift", "of_the_theory", "reversible", "expected"),
    [
        (1, 1, True, 64),
        (2, 1, True, 32),
        (3, 1, True, 21),
        (4, 1, True, 16),
        (4096, 1, True, 16),
        (4, 4, True, 64),  # the theory's thrift is not the target's
        (8, 4, True, 32),
        (64, 16, True, 16),
        (8, 1, False, 64),  # what a cycle repeats by right is told from a shared seed by all 64
    ],
)
def test_number_of_seeds(thrift, of_the_theory, reversible, expected):
    theory = SimpleNamespace(thrift=of_the_theory)
    assert _number_of_seeds(SimpleNamespace(thrift=thrift, theory=theory, reversible=reversible)) == expected


@pytest.mark.parametrize(("thrift", "n"), [(1, 64), (3, 21), (8, 16)])
def test_the_verdict_says_how_many_seeds_there_were(thrift, n):
    subject, tried = trial(thrifty(ReferenceGaussian(), thrift))
    found = judge(BY_ID["driver.seeds"], subject, 1, tried)
    assert (found.status, found.samples) == ("pass", n + 2)
    assert f"two seeds alike in {n}" in found.sensitivity


@pytest.mark.parametrize("thrift", [1, 8, 64])
def test_features_are_slices_of_the_chains_that_thrift_leaves(thrift):
    target = thrifty(Counted(shape=(2, 4)), thrift)
    subject, _ = trial(target)
    effort = EFFORTS["smoke"].shared_out(thrift)
    assert effort.chains == max(256, EFFORTS["smoke"].chains // thrift)
    evidence, n = Evidence(subject, stream(7, "evidence")), 300
    whole = evidence.features(0, n)
    learning = max(64, LEARNING // thrift)
    assert sum(target.updates) == LATER * (learning + n)  # nothing else was drawn
    part, later = evidence.features(37, 201), evidence.features(n, n + 20)
    assert sum(target.updates) == LATER * (learning + n + 20)
    again = evidence.features(0, n + 20)
    for field in fields(whole):
        column = getattr(whole, field.name)
        assert column.shape[1] == n, field.name
        assert np.array_equal(getattr(part, field.name), column[:, 37:201]), field.name
        assert np.array_equal(getattr(again, field.name)[:, :n], column), field.name
        assert np.array_equal(getattr(again, field.name)[:, n:], getattr(later, field.name)), field.name
    assert whole.energy.shape == (LATER + 1, n)
    assert np.ptp(whole.energy[0]) > 0


def test_what_is_shared_is_made_once_whoever_asks_first():
    _, tried = trial(ReferenceGaussian())
    _, other = trial(ReferenceGaussian())
    draw = np.random.Generator.random
    first = [tried.evidence.shared(name, draw) for name in ("runs", "noise", "runs")]
    second = [other.evidence.shared(name, draw) for name in ("noise", "runs", "noise")]
    assert first == [second[1], second[0], second[1]]
    assert first[0] != first[1]


def test_what_failed_is_drawn_again_from_the_start():
    _, tried = trial(ReferenceGaussian())
    _, other = trial(ReferenceGaussian())

    def broken(rng):
        rng.random()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        tried.evidence.shared("runs", broken)
    draw = np.random.Generator.random
    assert tried.evidence.shared("runs", draw) == other.evidence.shared("runs", draw)


@pytest.mark.parametrize(
    "names",
    [
        ("driver.plaquette", "driver.charge_distribution"),
        ("transcript.momenta", "transcript.uniforms"),
        ("transcript.energy", "transcript.next_state"),
    ],
)
def test_a_verdict_does_not_depend_on_the_order(names):
    found = []
    for order in (names, names[::-1]):
        subject, tried = trial(ReferenceU1(shape=(2, 2)))
        verdicts = {name: judge(BY_ID[name], subject, 3, tried) for name in order}
        found.append([(verdicts[n].status, verdicts[n].value, verdicts[n].detail) for n in names])
    assert found[0] == found[1]
    assert [status for status, *_ in found[0]] == ["pass", "pass"]


def test_runs_and_records_are_made_once():
    target = Counted(shape=(2, 2))
    subject, tried = trial(target)
    judge(BY_ID["driver.plaquette"], subject, 3, tried)
    calls = list(target.updates)
    assert calls == [TINY.driver_steps * TINY.driver_chains]
    judge(BY_ID["driver.charge_distribution"], subject, 3, tried)
    assert target.updates == calls


def test_every_reader_of_the_noise_begins_with_the_first_call():
    subject, _ = trial(ReferenceU1(shape=(2, 2)))
    noise = OwnNoise(subject, stream(1, "noise"))
    assert noise.chains == 2**13 // subject.theory.size
    first, later = noise.calls(0, 2), noise.calls(2, 1)
    assert [set(call) for call in first] == [{"v", "u"}] * 2
    assert noise.calls(0, 3) == [*first, *later]
    assert not np.array_equal(first[0]["v"], first[1]["v"])


def test_variates_are_read_from_the_first_configuration():
    _, tried = trial(ReferenceGaugeVariate(fitted_to=100))
    values = tried.evidence.variates
    few = values.values(10, lambda x: x[:, 0, 0, 0]).copy()
    many = values.values(25, lambda x: x[:, 0, 0, 0])
    assert many.shape == (2, 25)
    assert np.array_equal(many[:, :10], few)
    assert len(np.unique(many[1])) == 25


def white(x):
    return -np.square(x).sum(axis=1) / 2


@pytest.fixture
def flow(monkeypatch):
    """A flow that is exact for a Gaussian, whose draws the checks of flows would share; a function, as each has its own."""
    theory = SimpleNamespace(observables=(), volume=2)
    density = SimpleNamespace(theory=theory, sample=lambda rng, n: rng.standard_normal((n, 2)), log_prob=white)
    monkeypatch.setattr(evidence, "lattice_theory", Mock())
    monkeypatch.setattr(evidence, "nearest", Mock(return_value=density))
    monkeypatch.setattr(FlowEvidence, "_seen", lambda self, x, log_q: Draws(log_q, x))

    def sample(n, seed):
        x = np.random.default_rng(seed).standard_normal((n, 2))
        return x, white(x)

    return lambda: FlowEvidence(SimpleNamespace(log_prob=white, sample=sample), np.random.default_rng(7))


def test_draws_of_a_flow_do_not_depend_on_which_density_is_asked_first(flow):
    ratios = []
    for order in (("known", "drawn"), ("drawn", "known"), ("drawn",)):
        flows = flow()
        ratios.append({name: getattr(flows, name)(20).log_ratio for name in order})
    for name in ("known", "drawn"):
        assert np.array_equal(ratios[0][name], ratios[1][name])
    assert np.array_equal(ratios[0]["drawn"], ratios[2]["drawn"])


class RunFails(ReferenceU1):
    """The other driver works."""

    def run(self, x, n, seed):
        raise RuntimeError("run fails")


def test_a_fault_in_shared_chains_is_met_by_every_check_that_asks():
    _, tried = trial(RunFails(shape=(2, 2)))
    for _ in range(2 + LEARNING // 64):
        with pytest.raises(TargetFault, match="run fails"):
            tried.evidence.features(0, TINY.chains)


@pytest.mark.parametrize(("name", "method"), [("known", "log_prob"), ("drawn", "sample")])
def test_a_fault_leaves_the_stream_of_a_flow_as_it_was(name, method, flow, monkeypatch):
    flows = flow()
    with monkeypatch.context() as patched:
        patched.setattr(flows._subject, method, Mock(side_effect=TargetFault("once")))
        with pytest.raises(TargetFault):
            getattr(flows, name)(20)
    assert np.array_equal(getattr(flows, name)(20).log_ratio, getattr(flow(), name)(20).log_ratio)


def test_a_fault_leaves_the_stream_of_the_variates_as_it_was(monkeypatch):
    _, whole = trial(ReferenceGaugeVariate(fitted_to=100))
    subject, tried = trial(ReferenceGaugeVariate(fitted_to=100))
    with monkeypatch.context() as patched:
        patched.setattr(subject, "control_variate", Mock(side_effect=TargetFault("once")))
        with pytest.raises(TargetFault):
            tried.evidence.variates.values(10, None)
    assert np.array_equal(tried.evidence.variates.values(10, None), whole.evidence.variates.values(10, None))
