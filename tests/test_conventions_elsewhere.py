"""A target whose conventions are not those of the contract, in the commands and tests beside `validate`."""

import json
from pathlib import Path

import pytest

from refimpl.cli import main
from refimpl.validation import Convention, parametrize_with_checks, pytest_plugin
from refimpl.validation.battery import convention_of
from refimpl.validation.conventions import NAMED, OURS
from refimpl.validation.mutants.clay import Clay

VECTOR = str(Path(__file__).resolve().parent.parent / "data" / "vectors" / "v1" / "u1" / "hot-4x4.json")
SPEC = "tests.test_conventions_elsewhere:Minus"


class Minus:
    """Action, and the derivative with the other sign."""

    theory = "u1"

    def __init__(self, beta=2.0, shape=(4, 4)):
        self.beta, self.shape = beta, shape
        self.clay = Clay(beta=beta, shape=shape)

    def action(self, x):
        return self.clay.action(x)

    def force(self, x):
        return -self.clay.force(x)


@pytest.mark.parametrize(
    ("target", "conventions", "found"),
    [
        (Minus, "minus-force", NAMED["minus-force"]),
        (Minus, "auto", NAMED["minus-force"]),
        (Minus, "ours", OURS),
        (Clay(), "auto", OURS),
        (Minus, Convention(orientation=-1), Convention(orientation=-1)),
    ],
)
def test_a_convention_is_given_or_looked_for(target, conventions, found):
    assert convention_of(target, conventions) == found


@pytest.mark.parametrize(("name", "code"), [(None, 1), ("ours", 1), ("minus-force", 0), ("auto", 0), ("backwards", 2)])
def test_replay_takes_them(name, code, capsys):
    assert main(["replay", VECTOR, SPEC, *(["--conventions", name] if name else [])]) == code
    out = capsys.readouterr().out
    assert ("conventions: F -> -F" in out) == (code == 0)


@pytest.mark.parametrize(("name", "failing"), [("ours", True), ("minus-force", False), ("auto", False)])
def test_mutants_of_a_target_take_them(name, failing, tmp_path):
    out = tmp_path / "mutants.json"
    argv = ["mutants", SPEC, "-k", "DoubledForce", "--seed", "1", "--conventions", name, "--format", "json"]
    main([*argv, "--out", str(out)])
    found = json.loads(out.read_text())
    assert ("static.force" in [entry["check"] for entry in found["own_failures"]]) == failing
    assert found["convention"] == ("" if failing else "F -> -F")


def test_the_bank_of_mutants_has_none(capsys):
    assert main(["mutants", "DoubledForce", "--conventions", "minus-force"]) == 2
    assert "--conventions: got it without TARGET, for which it is" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["minus-force", "auto"])
def test_tests_of_a_target_take_them(name):
    mark = parametrize_with_checks([Minus], conventions=name)
    target, bound = next(p.values for p in mark.args[1] if p.values[1].check.id == "static.force")
    bound(target)
    assert "conventions='minus-force'" in bound.again("static.force")
    plain = parametrize_with_checks([Minus])
    target, bound = next(p.values for p in plain.args[1] if p.values[1].check.id == "static.force")
    with pytest.raises(AssertionError, match=r"static\.force: max"):
        bound(target)


def run_of(conventions):
    return pytest_plugin.Run(
        targets=[SPEC], level="smoke", alpha=1e-6, seed=1, parameters={}, xfail=None, known={}, deadline=120.0,
        conventions=conventions,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["minus-force", "auto"])
def test_the_plugin_takes_them(name):
    run = run_of(name)
    bound = next(bound for bound in run.checks(SPEC) if bound.check.id == "static.force")
    bound()
    assert f"--refimpl-conventions {name}" in bound.again("static.force")
    ours = run_of("ours")
    bound = next(bound for bound in ours.checks(SPEC) if bound.check.id == "static.force")
    assert "--refimpl-conventions" not in bound.again("static.force")
    with pytest.raises(AssertionError, match=r"static\.force: max"):
        bound()
