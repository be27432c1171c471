"""Mutants around any target: what passes through, what is seen on the built-in targets, and what is advised where it is not."""

import inspect
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from refimpl.validation import check_target
from refimpl.validation.battery import judge
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.checks import BY_ID, CHECKS
from refimpl.validation.contract import Subject
from refimpl.validation.evidence import EFFORTS
from refimpl.validation.mutants import BY_NAME as BANK
from refimpl.validation.verdict import FAIL, PASS, Verdict
from refimpl.validation.wrappers import BUGS, BY_NAME, Wrapped, broken, named_so
from refimpl.validation.wrappers.advice import Advice, advice_for
from refimpl.validation.wrappers.killers import AT_HOME, AT_STANDARD, HOMES, KILLERS
from refimpl.validation.wrappers.same import changes_nothing
from refimpl.validation.wrappers.survey import MISSED, NOTHING, SEEN, Outcome, _Judging, survey
from refimpl.validation.wrappers.told import grouped, summary, table

from .targets import loops

TINY = replace(EFFORTS["smoke"], name="tiny", chains=512, driver_chains=64, driver_steps=5, decisions=2)
U1 = {"beta": 2.0, "shape": (4, 4), "step_size": 0.4, "n_steps": 4}


def opaque(**parameters):
    """A target of which only `step` is known."""
    own = {**U1, **parameters}
    return SimpleNamespace(theory="u1", **own, step=BUILT_IN["u1"](**own).step)


@pytest.fixture
def deterministic(monkeypatch):
    """Only checks that take no samples, but for some that take long all the same."""
    chosen = [
        c for c in CHECKS if not c.statistical and c.id not in ("maps.energy_scaling", "driver.seeds", "static.golden")
    ]
    monkeypatch.setattr("refimpl.validation.wrappers.survey.CHECKS", chosen)


# --- what passes through --------------------------------------------------------------------------------------------------
def test_everything_but_the_bug_passes_through():
    whole = BUILT_IN["u1"](**U1)
    wrapped = broken(whole, BY_NAME["DoubledForce"])
    x = np.random.default_rng(0).uniform(-3, 3, (2, 2, 4, 4))
    assert isinstance(wrapped, Wrapped)
    np.testing.assert_array_equal(wrapped.force(x), 2 * whole.force(x))
    np.testing.assert_array_equal(wrapped.action(x), whole.action(x))
    assert (wrapped.theory, wrapped.beta, wrapped.step_size) == ("u1", 2.0, 0.4)
    assert Subject(wrapped).capabilities == Subject(whole).capabilities
    other = wrapped.replace(beta=3.0)
    assert other.beta == 3.0
    np.testing.assert_array_equal(other.force(x), 2 * whole.replace(beta=3.0).force(x))
    with pytest.raises(AttributeError):
        _ = wrapped.dirac_dense


def test_a_factory_stays_a_factory_with_its_parameters():
    made = broken(loops.target, BY_NAME["DoubledForce"])
    assert inspect.signature(made) == inspect.signature(loops.target)
    subject = Subject(made, parameters={"shape": (3, 5)})
    assert subject.theory.shape == (3, 5)
    again = subject.replace(step_size=0.1)
    x = subject.theory.sample(np.random.default_rng(0), 2)
    np.testing.assert_array_equal(again.force(x), 2 * loops.target(shape=(3, 5)).force(x))
    assert subject.replace(nothing=1) is None


def test_bugs_of_the_same_name_are_described_as_in_the_bank():
    assert len(BY_NAME) == len(BUGS) >= 100
    for name in set(BY_NAME) & set(BANK):
        assert BY_NAME[name].description == " ".join((BANK[name].__doc__ or "").split()), name


# --- what is seen at home -----------------------------------------------------------------------------------------------
QUICK_HOMES = ("u1", "phi4", "schwinger")


def _quick(home, check):
    """Of functions, maps and records; checks of runs and statistical ones take their time."""
    return home in QUICK_HOMES and not BY_ID[check].statistical and not check.startswith(("driver.", "maps.energy"))


def _alive(home, level, known, chosen):
    """The bugs that a check does not see, of those it is said to."""
    name, parameters = HOMES[home]
    judging = _Judging(BUILT_IN[name], parameters, EFFORTS[level], 1, 120.0)
    alive = []
    for bug, checks in known.items():
        subject = judging.made(BY_NAME[bug])
        trial = judging.trial(subject)
        verdicts = [judge(BY_ID[check], subject, 1, trial) for check in checks.split() if chosen(check)]
        alive += [
            (bug, verdict.check, verdict.status, verdict.detail) for verdict in verdicts if verdict.status != FAIL
        ]
    return alive


@pytest.mark.parametrize("home", QUICK_HOMES)
def test_bugs_are_seen_by_the_checks_that_are_said_to(home):
    assert not _alive(home, "smoke", AT_HOME[home], lambda check: _quick(home, check))


@pytest.mark.slow
@pytest.mark.parametrize("home", AT_HOME)
def test_bugs_are_seen_by_the_slow_checks_that_are_said_to(home):
    assert not _alive(home, "smoke", AT_HOME[home], lambda check: not _quick(home, check))


@pytest.mark.slow
def test_bugs_are_seen_with_more_samples():
    assert not _alive("schwinger", "standard", AT_STANDARD, lambda check: True)


def test_every_bug_but_those_of_no_check_has_a_check_that_sees_it():
    assert set(BY_NAME) == set(KILLERS)
    assert all(KILLERS.values())


# --- surveys ----------------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("deterministic")
def test_a_survey_of_a_step_alone_says_what_to_offer():
    missed = survey(opaque(), level=TINY, seed=1, select="RejectedRedrawn").outcomes[0]
    assert missed.status == MISSED
    assert any(advice.kind == "offer" and "transcript" in advice.what for advice in missed.advice)
    assert survey(opaque(), level=TINY, seed=1, select="PairedStreams").outcomes[0].status == SEEN
    assert not survey(opaque(), level=TINY, seed=1, select="DoubledForce").outcomes


@pytest.mark.usefixtures("deterministic")
def test_a_bug_that_changes_nothing_is_not_counted_as_missed():
    found = survey(BUILT_IN["u1"], level=TINY, seed=1, select="Logdet*", parameters=U1)
    status = {outcome.bug: outcome.status for outcome in found.outcomes}
    assert status["LogdetForgotten"] == status["LogdetNotUsed"] == NOTHING
    assert status["LogdetConstant"] == SEEN
    assert not found.of(MISSED)


@pytest.mark.usefixtures("deterministic")
def test_checks_that_the_target_fails_itself_see_nothing():
    wrong = broken(BUILT_IN["u1"], BY_NAME["DoubledForce"])
    found = survey(wrong, level=TINY, seed=1, select="HalvedForce", parameters=U1)
    assert {"static.force", "static.force_gradient"} <= {verdict.check for verdict in found.failing}
    # twice and half: the force is right again, and nothing that the wrong one fails may count
    assert {verdict.check for outcome in found.outcomes for verdict in outcome.verdicts}.isdisjoint(
        verdict.check for verdict in found.failing
    )
    assert "fails on the target as it is" in " ".join(summary(found))


@pytest.mark.usefixtures("deterministic")
def test_a_target_in_plain_loops_is_surveyed():
    found = survey(loops.target, level=TINY, seed=1, select="*Force", parameters={"shape": (2, 2)})
    assert {outcome.bug for outcome in found.of(SEEN)} >= {"DoubledForce", "HalvedForce", "FlippedForce", "StaleForce"}
    assert "your set-up would see" in table(found)


def test_bugs_are_alike_only_where_nothing_differs():
    honest = Subject(BUILT_IN["u1"], parameters=U1)
    rng = np.random.default_rng(0)
    assert changes_nothing(honest, honest, {"force", "step", "run", "resume", "wilson_loop"}, rng)
    for bug, name in (
        ("PlaquetteFourthDigit", "plaquette"),
        ("SinglePrecision", "action"),
        ("RestartedStreams", "resume"),
    ):
        wrong = Subject(broken(BUILT_IN["u1"], BY_NAME[bug]), parameters=U1)
        assert not changes_nothing(honest, wrong, {name}, rng), bug


def test_advice_is_grouped_by_what_helps_most():
    offer, level = Advice("offer", "transition", "transcript.decision"), Advice("level", "standard", "driver.plaquette")
    a, b, c = (
        Outcome(name, "", MISSED, (), advice) for name, advice in (("A", (offer,)), ("B", (offer, level)), ("C", ()))
    )
    assert grouped([a, b, c]) == [([offer, offer], ["A", "B"]), ([], ["C"])]
    subject = Subject(opaque())
    own = {check: Verdict(FAIL, "x") for check in BY_ID}
    assert Advice("mend", "driver.streams", "driver.streams") in advice_for("SharedStream", subject, own)


def test_functions_that_a_bug_does_not_change_are_not_advised():
    """`transition` would be right with a `step` that keeps chains where they were; `transcript` shows the step's own update."""
    whole = BUILT_IN["u1"](**U1)
    known = SimpleNamespace(theory="u1", **U1, step=whole.step, transition=whole.transition)
    passed = {check: Verdict(PASS, "x", sensitivity="all") for check in BY_ID}
    for target in (opaque(), known):
        offers = [advice.what for advice in advice_for("StuckChains", Subject(target), passed)]
        assert offers == ["transcript"]
    offers = [advice.what for advice in advice_for("FullEndKicks", Subject(opaque()), passed)]
    assert set(offers) == {"forward", "transition"}


def test_selections_and_levels():
    assert named_so("DoubledForce", "Force")
    assert named_so("DoubledForce", "*Force")
    assert not named_so("DoubledForce", "Force*")
    with pytest.raises(ValueError, match="level: got 'quick'"):
        survey(opaque(), level="quick")
    with pytest.raises(ValueError, match="-k: got 'Nothing'"):
        survey(opaque(), select="Nothing")


def test_a_wrapped_target_is_judged_like_any_other():
    report = check_target(
        broken(BUILT_IN["u1"](**U1), BY_NAME["DoubledForce"]), level="smoke", seed=1, select="static.force"
    )
    assert {verdict.check for verdict in report.failures} == {"static.force", "static.force_gradient"}
