"""The command `mutants` with a target: exit codes, output, parameters, and what is refused."""

import json

import pytest

from refimpl.cli import main
from refimpl.validation.checks import CHECKS

LOOPS = "tests.targets.loops:target"


@pytest.fixture(autouse=True)
def _few_checks(monkeypatch):
    """The quick ones among those that force and plaquette need."""
    chosen = [check for check in CHECKS if check.id in ("static.force", "static.plaquette", "static.charge")]
    monkeypatch.setattr("refimpl.validation.wrappers.survey.CHECKS", chosen)


def _mutants(*arguments):
    return main(["mutants", *arguments, "--seed", "1"])


def test_all_seen(capsys):
    assert _mutants(LOOPS, "-k", "DoubledForce") == 0
    out = capsys.readouterr().out
    assert "seen    DoubledForce" in out
    assert "static.force" in out
    assert "Of 1 bugs that could be in your code, your set-up would see 1" in out


def test_one_missed(capsys):
    assert _mutants(LOOPS, "-k", "ActionSign") == 1
    assert "MISSED  ActionSign" in capsys.readouterr().out


def test_a_target_that_fails_itself(capsys):
    assert _mutants("mutant:DoubledForce", "-k", "PlaquettePerLink") == 1
    out = capsys.readouterr().out
    assert "seen    PlaquettePerLink" in out
    assert "static.force fails on the target as it is" in out


def test_none_applies(capsys):
    assert _mutants(LOOPS, "-k", "VariateSign") == 5
    assert "Of 0 bugs" in capsys.readouterr().out


def test_parameters_are_handed_on(capsys):
    assert _mutants(LOOPS, "-k", "DoubledForce", "--beta", "1.5", "--shape", "2", "3", "--steps", "3") == 0
    out = capsys.readouterr().out
    assert "beta = 1.5" in out
    assert "shape = (2, 3)" in out


def test_json_in_a_file(tmp_path, capsys):
    path = tmp_path / "found.json"
    assert _mutants(LOOPS, "-k", "*Force", "--shape", "2", "3", "--format", "json", "--out", str(path)) in (0, 1)
    assert capsys.readouterr().out == ""
    found = json.loads(path.read_text())
    status = {mutant["name"]: mutant["status"] for mutant in found["mutants"]}
    assert status["DoubledForce"] == "seen"
    assert found["seed"] == 1
    assert found["parameters"]["shape"] == [2, 3]
    assert found["seen"] == sum(one == "seen" for one in status.values())
    assert found["seen"] + found["missed"] + found["change_nothing"] == len(status)
    seen_by = next(mutant for mutant in found["mutants"] if mutant["name"] == "DoubledForce")["seen_by"]
    assert [one["check"] for one in seen_by] == ["static.force"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((LOOPS, "-k", "Nothing"), "-k: got 'Nothing'"),
        ((LOOPS, "DoubledForce"), "expected names of the bank or one TARGET"),
        ((LOOPS, "--signatures", "x.json"), "--signatures: got it with TARGET"),
        ((LOOPS, "--out", "/nowhere/x"), "--out: got '/nowhere/x'"),
        (("NoSuchMutant",), "NAME: got NoSuchMutant, expected a TARGET (with a colon), or one of"),
        (("DoubledForce", "--beta", "1"), "--beta: got it without TARGET"),
        (("DoubledForce", "--steps", "3"), "--steps: got it without TARGET"),
        (("DoubledForce", "--deadline", "3"), "--deadline: got it without TARGET"),
        (("-k", "Nothing"), "-k: got 'Nothing'"),
    ],
)
def test_what_is_refused(arguments, told, capsys):
    assert _mutants(*arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [((LOOPS, "--length", "4"), "length"), (("no.such:it",), "no.such")])
def test_a_target_that_does_not_start(arguments, told, capsys):
    assert _mutants(*arguments) == 3
    assert told in capsys.readouterr().err


def test_without_a_target_it_is_the_bank(capsys):
    assert _mutants("-k", "DoubledForce", "--level", "smoke") == 0
    assert "1 of 1 mutants killed by every check they name" in capsys.readouterr().out
