"""The search for small configurations: calls that are not answered, and why nothing was found; with a few examples each."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, configuration, settings

from refimpl.validation import check_target
from refimpl.validation.battery import TRANSLATED
from refimpl.validation.contract import Subject
from refimpl.validation.conversion import Untold
from refimpl.validation.failures import conditional, evidence, explained, files, known, search
from refimpl.validation.failures.cases import CASES
from refimpl.validation.failures.evidence import NOT_SEARCHED, SAMPLES_ALONE, Hunt
from refimpl.validation.failures.search import NONE_FAILS, NONE_MADE, Found, smallest
from refimpl.validation.failures.words import described
from refimpl.validation.mutants import BY_NAME
from refimpl.validation.mutants.u1 import DoubledForce
from refimpl.validation.mutants.variates import DivergenceDropped
from refimpl.validation.verdict import Verdict


@pytest.fixture(autouse=True)
def _few_examples(monkeypatch):
    monkeypatch.setattr(search, "_SETTINGS", settings(search._SETTINGS, max_examples=12, phases=(Phase.generate,)))


class Undefined(DivergenceDropped):
    """Has no answer at all."""

    def control_variate(self, x):
        return np.full(len(x), np.nan)


@pytest.mark.parametrize("check", ["variates.batch", "variates.symmetry", "variates.divergence"])
def test_a_variate_without_an_answer_has_a_small_one(check):
    found = smallest(Subject(Undefined), CASES[check], faults=True)
    assert described(found.case) == "2x2, m2 = 1, lam = 1, phi = 0"
    assert "NaN" in found.fault


def test_monomials_that_are_mixed_are_seen_where_determinants_are_not():
    found = smallest(Subject(BY_NAME["MonomialsMixed"]), (conditional.monomials_apart,))
    assert found.repeats
    assert smallest(Subject(BY_NAME["ComplexCountedOnce"]), (conditional.monomials_apart,)) == NONE_FAILS


class Untelling(DoubledForce):
    """Has answers at its own parameters alone, and no other force, as a transcript."""

    asked = 0

    def force(self, x):
        type(self).asked += 1
        raise Untold("this call is not in the transcript")

    def plaquette(self, x):
        raise Untold("this call is not in the transcript")


def test_what_is_declined_is_no_failure():
    def experiment(at, draw):
        at.plaquette(np.zeros((1, *at.theory.field_shape)))

    assert smallest(Subject(Untelling), (known.force,)) == NONE_FAILS
    assert Untelling.asked > 0
    assert smallest(Subject(Untelling), (experiment,)) == NONE_MADE


def test_under_other_conventions_it_says_why_there_is_none(tmp_path):
    report = check_target(
        BY_NAME["DoubledForce"], select="static.force", seed=1, conventions="space-first", failures=tmp_path
    )
    (failed,) = [v for v in report.verdicts if v.check == "static.force"]
    assert failed.smallest == TRANSLATED
    assert TRANSLATED in report.as_table()


def test_where_nothing_is_found_it_says_why(tmp_path, monkeypatch):
    subject, asked = Subject(BY_NAME["DoubledForce"]), []
    assert smallest(subject, (lambda at, draw: asked.append(at),)) == NONE_MADE
    first = iter([True])  # one experiment, then none
    once = smallest(subject, (lambda at, draw: known.plaquette(at, draw) if next(first, False) else None,))
    assert once == smallest(subject, (known.plaquette, known.charge)) == NONE_FAILS
    monkeypatch.setattr("refimpl.validation.failures.search.smallest", lambda *a, **k: asked.append(a) or NONE_MADE)
    hunt = Hunt(subject, tmp_path, 1, "")
    asked.clear()
    failed = Verdict("fail", "q", check="static.force")
    assert [hunt.seen(failed).smallest for _ in range(2)] == [NONE_MADE] * 2
    assert len(asked) == 1
    assert hunt.seen(replace(failed, check="driver.seeds")).smallest == NOT_SEARCHED
    assert hunt.seen(replace(failed, check="exact_start.drift")).smallest == SAMPLES_ALONE


def test_searches_share_their_time_and_what_they_found(tmp_path, monkeypatch):
    hunt = Hunt(Subject(BY_NAME["DoubledForce"]), tmp_path, 1, "")
    failed = Verdict("fail", "q", check="static.force")
    first = hunt.seen(failed)
    monkeypatch.setattr(search, "smallest", None)  # not asked again
    assert hunt.seen(replace(failed, check="maps.energy_scaling")).reproduced_by == first.reproduced_by != ""
    hanging = replace(failed, check="static.plaquette", detail="plaquette: did not return within 2 s")
    assert hunt.seen(hanging).smallest == "not searched: the target does not return"
    hunt.end = time.monotonic() - 1
    assert "were enough for other failures" in hunt.seen(replace(failed, check="static.charge")).smallest


def test_what_takes_long_is_ended(monkeypatch):
    monkeypatch.setattr(search, "SECONDS", 0.0)
    calls = []
    smallest(Subject(BY_NAME["DoubledForce"]), (lambda at, draw: calls.append(at),))
    assert len(calls) <= 1
    monkeypatch.undo()
    monkeypatch.setattr(search, "CALLS", 5)
    calls.clear()
    smallest(Subject(BY_NAME["DoubledForce"]), (lambda at, draw: calls.append(at),))
    assert 5 <= len(calls) <= 6


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    seen = Hunt(Subject(BY_NAME["DoubledForce"]), place, 1, "").seen(Verdict("fail", "q", check="static.force"))
    assert "not written: " in seen.smallest
    assert seen.reproduced_by == ""


def test_the_experiment_that_the_failure_names_comes_first():
    builds = CASES["static.gauge_invariance"]
    named = evidence._likely(builds, "max |charge(x) - charge(gx)|")
    assert named[:2] == (known.charge, builds[0])
    assert set(named) == set(builds)


def test_answers_that_change_are_told_to(tmp_path, monkeypatch):
    subject = Subject(BY_NAME["DoubledForce"])
    case = smallest(subject, CASES["static.force"]).case
    for repeats in (True, False):
        monkeypatch.setattr(search, "smallest", lambda *a, r=repeats, **k: Found(known.force, case, "", r))
        seen = Hunt(subject, tmp_path, 1, "").seen(Verdict("fail", "q", check="static.force"))
        assert ("not every time" in seen.smallest) is not repeats


def test_declared_failures_have_no_likely_cause():
    failed = Verdict("fail", "q", check="static.force", detail="got = 2 times the expected everywhere")
    first, second = explained(
        Subject(BY_NAME["DoubledForce"]), [failed, replace(failed, expected_failure="as published")]
    )
    assert first.causes != ()
    assert second.causes == ()


def test_names_of_files_are_short_and_apart():
    names = {files._plain(f"{'x' * 80}:{target}") for target in ("one", "two")}
    assert len(names) == 2
    assert {len(name) for name in names} == {60}
    assert files._plain("cmd:./a b") == "cmd-a-b"
    assert files._plain("::") == "target"


def test_hypothesis_gets_its_folder_back():
    before = getattr(configuration, "__hypothesis_home_directory", None)
    with search._no_folder():
        assert getattr(configuration, "__hypothesis_home_directory", None) != before
    assert getattr(configuration, "__hypothesis_home_directory", None) == before
