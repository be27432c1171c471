"""Targets inside pytest: the plugin, in processes of its own, and what `parametrize_with_checks` refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from refimpl.validation import check_target, parametrize_with_checks, pytest_plugin
from refimpl.validation.known import known_failures_in

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ("-p", "refimpl.validation.pytest_plugin")

TARGETS = """
import numpy as np

class Action:
    theory = "u1"
    name = "just an action"

    def __init__(self, beta=2.0, shape=(4, 4)):
        self.beta, self.shape = beta, shape

    def action(self, x):
        p = x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]
        return self.beta * (1 - np.cos(p)).sum((1, 2))

class Doubled(Action):
    def action(self, x):
        return 2 * super().action(x)

class Known(Doubled):
    expected_failures = {"static.action": "twice, by convention", "static.batch": "not really"}

class Nothing(Action):
    action = None

class Opaque(Action):
    def step(self, x, seed):
        return np.random.default_rng(seed).uniform(-np.pi, np.pi, x.shape)
"""

TESTS = """
import pytest
from hypothesis import given, settings
from strange import Action, Doubled, Known
from refimpl.validation import parametrize_with_checks
from refimpl.validation.strategies import u1_hot_fields

MINE = [Action, lambda shape: Known(3, shape), lambda shape: Known(4, shape), "strange:Action"]

@parametrize_with_checks(MINE, parameters={"shape": (2, 4)})
def test_mine(target, check):
    check(target)

def test_checks(refimpl_target, refimpl_check):
    refimpl_check(refimpl_target)

@settings(max_examples=3, deadline=None)
@given(x=u1_hot_fields())
def test_even(refimpl_target, x):
    assert refimpl_target.has("action") and abs(refimpl_target.action(x) - refimpl_target.action(-x)).max() < 1e-9

@parametrize_with_checks([Action()])
def test_others(target, check):
    check(Action())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("strange")
    (path / "strange.py").write_text(TARGETS)
    return path


def run(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


def outcomes(output):
    """The outcome of every test by its id, from the summary of ``-rA``."""
    lines = re.findall(r"^(PASSED|FAILED|XFAIL|XPASS|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return {name: outcome for outcome, name in lines}


# --- the plugin --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def judged(folder):
    """A run on two targets without any test file, with a report."""
    (folder / "known.json").write_text('{"static.gauge_invariance": "not really"}')
    targets = ("--refimpl-target", "strange:Doubled", "--refimpl-target", "strange:Opaque")
    options = ("--refimpl-parameter", "shape=[2,3]", "--refimpl-alpha", "1e-5", "--refimpl-seed", "7")
    files = ("--refimpl-xfail", "known.json", "--refimpl-report", "out.json")
    chosen = ("-k", "static.action or invariance or energy_exchange or streams or static.force")
    missing = ("--refimpl-target", "no.such:thing", "--continue-on-collection-errors")
    code, output = run(folder, *PLUGIN, *targets, *options, *files, *chosen, *missing)
    return code, output, json.loads((folder / "out.json").read_text())


def test_every_check_of_a_target_is_a_test_without_any_test_file(judged):
    code, output, _ = judged
    found = outcomes(output)
    assert code == 1
    assert found["strange:Doubled::static.action"] == "FAILED"
    assert found["strange:Opaque::static.action"] == "PASSED"
    assert found["strange:Opaque::exact_start.energy_exchange"] == "FAILED"  # it is stationary at beta = 0
    assert found["strange:Opaque::driver.streams"] == "PASSED"
    assert not any("fermions" in name or "scalars" in name for name in found)  # they belong to other theories
    assert "offers no force" in output


def test_a_failure_shows_what_the_oracle_says_and_no_traceback(judged):
    screen = judged[1].partition("strange:Doubled::static.action ___")[2].partition("\n__")[0]
    assert "static.action: max |action - loop| = " in screen
    assert ", bound " in screen
    assert "got = 2 times the expected" in screen
    assert "what it checks: The action against an explicit loop" in screen
    again = screen.partition("again: ")[2].splitlines()[0]
    assert again.startswith("pytest -p refimpl.validation.pytest_plugin --refimpl-target strange:Doubled")
    for part in ("--refimpl-seed 7", "--refimpl-alpha 1e-05", "'shape=[2, 3]'", "--refimpl-xfail known.json"):
        assert part in again
    assert again.endswith("-k static.action")
    assert "Traceback" not in screen
    assert "parametrize.py" not in screen


def test_an_unexpected_pass_fails(judged):
    assert outcomes(judged[1])["strange:Opaque::static.gauge_invariance"] == "FAILED"
    assert "[XPASS(strict)] not really" in judged[1]


def test_the_summary_shows_the_ledger_and_the_report_is_that_of_check_target(judged, folder):
    _, output, (doubled, opaque) = judged
    assert "strange:Opaque: theory = u1, beta = 2.0, shape = [2, 3]; level smoke, seed 7" in output
    assert doubled["ledger"] == {"alpha": 1e-5, "spent": 0.0, "remaining": 1e-5}
    assert 0 < opaque["ledger"]["spent"] < 1e-5
    assert f"at most 1e-05 for this target; spent {opaque['ledger']['spent']:.2g}, remaining" in output
    assert (doubled["exit_code"], doubled["seed"], opaque["summary"]["failed"]) == (1, 7, 1)
    namespace = {}
    exec(compile(TARGETS, "strange.py", "exec"), namespace)
    expected = check_target(
        namespace["Opaque"], level="smoke", alpha=1e-5, seed=7, select="energy_exchange", parameters={"shape": (2, 3)}
    ).verdicts[0]
    found = next(v for v in opaque["verdicts"] if v["check"] == "exact_start.energy_exchange")
    assert (found["value"], found["alpha"]) == (expected.value, expected.alpha)


def test_tests_of_ones_own(folder):
    (folder / "test_mine.py").write_text(TESTS)
    targets = ("--refimpl-target", "strange:Doubled", "--refimpl-target", "strange:Known")
    chosen = ("test_mine.py", "-k", "static.action or static.batch or even")
    code, output = run(folder, *PLUGIN, *targets, *chosen)
    found = outcomes(output)
    assert code == 1
    assert found["test_mine.py::test_checks[strange:Doubled-static.action]"] == "FAILED"
    assert found["test_mine.py::test_checks[strange:Doubled-static.batch]"] == "PASSED"
    assert found["test_mine.py::test_checks[strange:Known-static.action]"] == "XFAIL"
    assert found["strange:Known::static.action"] == "XFAIL"
    assert found["test_mine.py::test_even[strange:Doubled]"] == "PASSED"
    assert found["test_mine.py::test_mine[Action-static.action]"] == "PASSED"
    for name in ("just an action", "just an action-2"):  # two lambdas
        assert found[f"test_mine.py::test_mine[{name}-static.action]"] == "XFAIL"
        assert found[f"test_mine.py::test_mine[{name}-static.batch]"] == "FAILED"  # an unexpected pass
    assert found["test_mine.py::test_mine[strange:Action-static.action]"] == "PASSED"
    assert found["test_mine.py::test_others[just an action-static.action]"] == "FAILED"  # it is handed another object
    assert "expected the target that came with it" in output
    assert "refimpl/validation/parametrize.py" not in output  # our own frames are hidden
    seeds = re.findall(r"^strange:Doubled: .*; level smoke, seed (\d+)$", output, re.MULTILINE)
    assert len(seeds) == 1  # drawn once, and one ledger for the two ways to ask
    assert f"--refimpl-seed {seeds[0]}" in output


def test_a_target_that_cannot_be_made_is_an_error_without_a_traceback(judged):
    message = judged[1].partition("ERROR collecting no.such:thing ___")[2].splitlines()[1]
    assert message.startswith("--refimpl-target no.such:thing: TARGET: importing 'no.such' raised ModuleNotFoundError")
    assert "Traceback" not in judged[1]


GIVEN = {
    "target": ["strange:Action"], "level": "smoke", "seed": None, "alpha": 1e-6, "parameter": [], "xfail": None,
    "report": None, "deadline": 1.0, "conventions": "ours",
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("seed", -1, "seed: got -1, expected an integer >= 0"),
        ("alpha", 1.0, "alpha: got 1.0, expected a probability"),
        ("deadline", float("nan"), "deadline: got nan, expected a number > 0"),
        ("conventions", "backwards", "conventions: got 'backwards', expected one of ours"),
        ("parameter", ["beta"], "parameter: got 'beta', expected NAME=VALUE"),
        ("parameter", ["2=3"], "parameter: got '2=3', expected NAME=VALUE"),
        ("parameter", ["beta=two"], "parameter: got 'beta=two', expected a value in JSON"),
        ("parameter", ["beta=" + "[" * 10**5], "parameter: got .*, expected a value in JSON"),
        ("xfail", "no-such-file", "xfail: got 'no-such-file', expected a JSON file"),
        ("xfail", "\0", "xfail: got .*, expected a JSON file"),
        ("xfail", __file__, "xfail: .* is not JSON"),
        ("report", "no/such/folder/file", "report: got 'no/such/folder/file', expected a file in a folder that exists"),
        ("report", ".", "report: got '.', expected a file"),
    ],
)
def test_options_that_cannot_be_are_named(option, value, message):
    given = {f"refimpl_{name}": v for name, v in {**GIVEN, option: value}.items()}
    with pytest.raises(pytest.UsageError, match=f"^--refimpl-{message}"):
        pytest_plugin.pytest_configure(SimpleNamespace(option=SimpleNamespace(**given), stash={}))


def test_options_are_taken_as_they_are_meant():
    given = {**GIVEN, "target": ["a:b", "c:d", "a:b"], "parameter": ["shape=[2,3]", "mus=[0.1]", "beta=2"]}
    given = SimpleNamespace(**{f"refimpl_{name}": value for name, value in given.items()})
    config = SimpleNamespace(option=given, stash={}, pluginmanager=pytest.PytestPluginManager())
    pytest_plugin.pytest_configure(config)
    run = config.stash[pytest_plugin.RUN]
    assert run.targets == ["a:b", "c:d"]
    assert run.parameters == {"shape": (2, 3), "mus": [0.1], "beta": 2}


def test_the_workers_of_a_parallel_run_have_its_seed():
    given = SimpleNamespace(**{f"refimpl_{name}": value for name, value in GIVEN.items()})
    parent = SimpleNamespace(option=given, stash={}, pluginmanager=pytest.PytestPluginManager())
    pytest_plugin.pytest_configure(parent)
    workers = [SimpleNamespace(option=given, stash={}, workerinput={}) for _ in range(2)]
    for worker in workers:
        pytest_plugin.pytest_configure_node(SimpleNamespace(config=parent, workerinput=worker.workerinput))
        pytest_plugin.pytest_configure(worker)
    seeds = {config.stash[pytest_plugin.RUN].seed for config in (parent, *workers)}
    assert len(seeds) == 1


# --- the decorator -----------------------------------------------------------------------------------------------------
class Bare:
    theory = "u1"
    beta, shape = 2.0, (4, 4)

    def action(self, x):
        return x.sum((1, 2, 3))


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("no.such:thing", {}, r"\(\['no.such:thing'\]\): TARGET: importing 'no.such' raised ModuleNotFoundError"),
        (object, {}, r"\(\[object\]\): target: got an object without theory"),
        (Bare, {"parameters": {"gamma": 1}}, "making it with .*gamma.* raised TypeError"),
        (Bare, {"level": "huge"}, "level: got 'huge', expected one of smoke"),
        (Bare, {"level": ["smoke"]}, "level: got "),
        (Bare, {"alpha": 0}, "alpha: got 0, expected a probability"),
        (Bare, {"alpha": float("nan")}, "alpha: got nan"),
        (Bare, {"seed": 0.5}, "seed: got 0.5, expected an integer"),
        (Bare, {"expected_failures": {"no.such": "?"}}, "expected_failures: got 'no.such', expected ids of checks"),
        (Bare, {"expected_failures": {"static.action": ""}}, "expected_failures: static.action: got '', expected the reason"),
        (type("Empty", (Bare,), {"action": None}), {}, "got Empty with no function that a check of u1 needs"),
        (type("Odd", (Bare,), {"expected_failures": [1]}), {}, r"expected_failures of Odd: got \[1\], expected a mapping"),
        (type("Odder", (Bare,), {"expected_failures": {1: "x"}}), {}, "expected_failures of Odder: got 1, expected ids"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_an_error_of_the_collection(target, arguments, message):
    with pytest.raises(pytest.Collector.CollectError, match=f"^parametrize_with_checks.*{message}"):
        parametrize_with_checks([target], **arguments)


@pytest.mark.parametrize("targets", ["strange:Action", [], Bare, None])
def test_targets_are_a_list(targets):
    with pytest.raises(TypeError, match=r"targets: got .*, expected a list of targets"):
        parametrize_with_checks(targets)


def parameters(*targets, **arguments):
    return parametrize_with_checks(targets, **arguments).mark.args[1]


def test_the_share_of_alpha_is_that_of_check_target_and_what_fails_says_how_to_repeat_it():
    class Stepping(Bare):
        def step(self, x, seed):
            return x

    values = parameters(Stepping, alpha=1e-4, seed=5, parameters=None)
    battery = values[0].values[1].battery
    report = check_target(Stepping, alpha=1e-4, seed=5, level="smoke", select="exact_start.moves")
    spending = [bound.check for _, bound in (value.values for value in values) if bound.check.statistical]
    assert (
        battery.trial.alpha
        == report.verdicts[0].alpha
        == 1e-4 / sum(not check.missing(battery.subject) for check in spending)
    )
    assert len(values) == report.applicable
    with pytest.raises(
        AssertionError, match=r"static.action: .*\n(.*\n)+.*again: check_target\(Stepping, .*alpha=0.0001, seed=5, s"
    ):
        values[0].values[1](Stepping)


def test_a_target_given_by_name_repeats_by_name():
    bound = parameters("builtin:o2", parameters={"length": 6})[0].values[1]
    assert bound.again(bound.check.id) == (
        "check_target(target_named('builtin:o2'), level='smoke', alpha=1e-06, seed=0, parameters={'length': 6}, "
        "select='static.action')"
    )
    assert bound.battery.subject.theory.declared()["length"] == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100000, "is not JSON"),
        ("9" * 10000, "is not JSON"),
        ('{"static.action": "a", "static.action": "b"}', "'static.action' stands there twice"),
        ('{"static.action": "\\ud800"}', r"static.action: got '\\ud800', expected the reason"),
        ('{"\\ud800": "x"}', r"got '\\ud800', expected ids of checks"),
        ('{"static.action": {"a": 1}}', "expected the reason, as text"),
        ('"static.action"', "got 'static.action', expected a JSON object"),
        ("NaN", "got nan, expected a JSON object"),
    ],
)
def test_files_of_known_failures_say_what_is_wrong_with_them(text, message):
    with pytest.raises(ValueError, match=f"^file: .*{message}"):
        known_failures_in(text, "file")


def test_the_plugin_is_not_loaded_by_being_installed():
    assert "pytest11" not in (ROOT / "setup.cfg").read_text()
