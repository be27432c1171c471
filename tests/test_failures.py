"""The smallest failing configuration: as small as promised, red on the mutant and green on the reference, from any target."""

import json
import shlex
import sys
from dataclasses import replace

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.cli.replay import _line
from refimpl.validation import signatures
from refimpl.validation.battery import check_target
from refimpl.validation.checks import BY_ID
from refimpl.validation.contract import Subject
from refimpl.validation.failure_text import again_command
from refimpl.validation.failures import NO_HYPOTHESIS, explained
from refimpl.validation.failures.cases import CASES
from refimpl.validation.failures.search import choices, smallest
from refimpl.validation.failures.words import described
from refimpl.validation.mutants import BY_NAME
from refimpl.validation.replay import checked_calls, compared, made_for, repeated
from refimpl.validation.report import Report
from refimpl.validation.signatures import Signature, agreement
from refimpl.validation.targets import target_named
from refimpl.validation.vector_files import read_vector, write_vector
from refimpl.validation.verdict import Verdict

PIECES = "u1.json"


def evidence(folder, target, check):
    """The verdict of one check, with the vector of its smallest failing configuration."""
    report = check_target(target, select=check, level="smoke", seed=1, failures=folder)
    (verdict,) = [each for each in report.verdicts if each.check == check]
    return verdict, read_vector(folder / verdict.reproduced_by.rpartition("/")[2])


@pytest.mark.parametrize(
    ("mutant", "check", "words"),
    [
        ("DoubledForce", "static.force", "2x2, beta = 1, all links 0 but theta_0(0, 0) = pi/2"),
        ("DroppedPlaquette", "static.action", "2x2, beta = 1, all links 0 but theta_0(1, 0) = pi/2"),
        (
            "ForwardLogdet",
            "maps.logdet_antisymmetry",
            "2x2, beta = 1, step_size = 0.42, n_steps = 1, all links 0, v = 0",
        ),
        ("ConsistentLogdet", "maps.jacobian", "2x2, beta = 1, step_size = 0.42, n_steps = 1, all links 0, v = 0"),
    ],
)
def test_it_is_small_and_repeats(tmp_path, mutant, check, words):
    verdict, vector = evidence(tmp_path, BY_NAME[mutant], check)
    assert verdict.smallest == words
    red, green = (
        repeated(made_for(Subject(target), vector)[0], vector) for target in (BY_NAME[mutant], target_named(None))
    )
    assert not all(one.good for one in red)
    assert green
    assert all(one.good for one in green)


@pytest.mark.parametrize(
    ("theory", "mutant", "check"),
    [
        ("phi4", "OneSidedLaplacian", "static.force"),
        ("su2", "ActionWithoutColours", "static.action"),
        ("schwinger", "PeriodicFermions", "fermions.dense"),
    ],
)
def test_other_theories_have_small_ones_too(tmp_path, theory, mutant, check):
    mutant = BY_NAME[mutant]
    _, vector = evidence(tmp_path, mutant, check)
    assert vector.shape in ((2, 2), (2, 3))  # a bond that is missing one way is there twice on an extent of 2
    cold = np.eye(2) if vector.x.ndim == 6 else 0
    assert np.count_nonzero(np.abs(vector.x - cold).reshape(1, -1) > 1e-12) <= 4
    assert not all(one.good for one in repeated(made_for(Subject(mutant), vector)[0], vector))
    at, told = made_for(Subject(target_named(None, theory)), vector)
    assert told == ""
    assert all(one.good for one in repeated(at, vector))


class Stranger:
    """Cannot be made at other parameters, and leaves out the force of one link."""

    theory, beta, shape = "u1", 2.0, (4, 4)

    def force(self, x):
        angles = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
        s = self.beta * np.sin(angles)
        force = np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)
        force[:, 0, 3, 3] = 0
        return force


def test_of_a_stranger_on_its_own_lattice(tmp_path):
    verdict, vector = evidence(tmp_path, Stranger(), "static.force")
    assert verdict.smallest.startswith("4x4, beta = 2, all links 0 but ")
    assert vector.about["parameters"] == {"beta": 2.0, "shape": [4, 4]}
    assert np.count_nonzero(vector.x) == 1
    (comparison,) = repeated(Subject(Stranger()), vector)
    assert comparison.worst == (0, 0, 3, 3)
    assert comparison.got == 0


def test_without_hypothesis_a_failure_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "refimpl.validation.failures.search", None)
    folder = tmp_path / "failures"
    report = check_target(BY_NAME["DoubledForce"], select="static.force", level="smoke", seed=1, failures=folder)
    assert report.verdicts[0].smallest == NO_HYPOTHESIS
    assert "refimpl[test]" in report.as_table()
    assert not folder.exists()


def test_a_good_target_leaves_no_folder_and_hypothesis_leaves_none_either(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "-k", "static.force", "--seed", "1"]) == 0
    assert main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1", "--failures", "none"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["refimpl-failures"]
    out, err = capsys.readouterr()
    assert "refimpl replay refimpl-failures/mutant-DoubledForce-static-force.json" in " ".join(out.split())
    assert "--failures none" in err


def test_replay_says_red_and_green(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1"])
    file = "refimpl-failures/mutant-DoubledForce-static-force.json"
    capsys.readouterr()
    assert main(["replay", file, "mutant:DoubledForce"]) == 1
    assert "got 4, expected 2 at (0, 0, 0, 0)" in capsys.readouterr().out
    assert main(["replay", file]) == 0
    assert main(["replay", file, file, "-v"]) == 0
    assert "force = [[[[" in capsys.readouterr().out
    assert main(["replay", "mutant:DoubledForce", file]) == 2
    assert main(["replay", "nothing.json"]) == 2
    assert main(["replay", file, "mutant:Nobody"]) == 3


def test_angles_are_compared_on_the_circle_and_said_to_be():
    got, expected = np.array([2 * np.pi]), np.array([0.0])
    line = _line(compared("forward", "x", got, expected, 1e-9, True), 0, 0)
    assert line.startswith("agrees")
    assert line.endswith("got 6.28318530718, expected 0 (mod 2 pi) at (0,)")
    assert "mod" not in _line(compared("forward", "x", got, expected, 1e-9), 0, 0)


AT_2 = {"beta": 2.0, "shape": [2, 2]}
OF_X = {"function": "plaquette", "arguments": ["x"], "returns": "plaquette", "tolerance": 1e-12}


@pytest.mark.parametrize(
    ("about", "call", "code", "words"),
    [
        ({}, {}, 0, "1 of 1 answers agree"),
        ({}, {"parameters": {"beta": -1.0}}, 5, "nothing ran: no call compares anything"),
        ({}, {"parameters": {"self": 1}}, 5, "nothing ran: no call compares anything"),
        ({"theory": "su3"}, {}, 2, "theory: got a target of u1, expected su3"),
        (
            {"parameters": AT_2 | {"shape": [3, 3]}},
            {},
            5,
            "nothing ran: x: got shape (1, 2, 2, 2), expected (chains, 2, 3, 3)",
        ),
        (
            {"parameters": AT_2 | {"beta": -1.0}},
            {},
            5,
            "nothing ran: the target cannot be made at beta = -1.0, shape = [2, 2]",
        ),
        ({}, {"arguments": ["x", *[1] * 500]}, 2, "plaquette: got 501 arguments, expected (x)"),
        ({}, {"arguments": []}, 2, "plaquette: got 0 arguments, expected (x)"),
        ({}, {"function": "forward", "arguments": [1]}, 2, "expected (z) as the contract has them"),
    ],
)
def test_what_was_not_compared_does_not_agree(tmp_path, capsys, about, call, code, words):
    told = {"format": 2, "id": "a/b", "theory": "u1", "parameters": AT_2, "shape": [2, 2], "flags": [], "comment": ""}
    told |= {"expected": "valid", "derivation": "", "tolerance": {"absolute": 0, "reason": ""}, "conventions": ""}
    arrays = {"x": np.zeros((1, 2, 2, 2)), "plaquette": np.ones(1)}
    write_vector(tmp_path, "b", told | about | {"calls": [OF_X | call]}, arrays)
    assert main(["replay", str(tmp_path / "b.json"), "builtin:u1"]) == code
    out, err = capsys.readouterr()
    assert words in out + err
    assert code == 0 or "answers agree" not in out


def test_answers_that_change_are_said_to(tmp_path):
    found = smallest(Subject(BY_NAME["NoisyMap"]), CASES["maps.repeat_call"])
    assert found is not None
    assert described(found.case).startswith("2x2, beta = 1")


def test_choices_end_with_what_the_target_has():
    options = choices(Subject(BY_NAME["DoubledForce"]))
    assert options["shape"][0] == (2, 2)
    assert options["shape"][-1] == (4, 4)
    assert options["n_steps"] == [1, 4]


@pytest.mark.parametrize(
    "calls",
    [
        7,
        [7],
        [{"function": "__class__", "arguments": []}],
        [{"operation": "eval", "arguments": ["x"]}],
        [{"function": "force", "operation": "total", "arguments": ["x"]}],
        [{"function": "force", "arguments": "x"}],
        [{"function": "force", "arguments": ["x"], "returns": "force", "tolerance": float("nan")}],
        [{"function": "force", "arguments": ["x"], "returns": "force"}],
    ],
)
def test_calls_of_strangers_are_refused(calls):
    with pytest.raises(ValueError, match="expected"):
        checked_calls(calls)


def test_agreement_counts_what_ran_on_both_and_factors():
    one = Signature("u1", frozenset("ab"), frozenset("c"), {"a": 2.0})
    assert agreement(one, one) == (1.0, 2, 2)
    assert agreement(one, Signature("u1", frozenset("ab"), frozenset("c"), {"a": 3.0})) == (2 / 3, 2, 2)
    assert agreement(one, Signature("u1", frozenset("ac"), frozenset("b"))) == (1 / 4, 1, 3)
    assert agreement(one, Signature("u1", frozenset("ad"), frozenset())) == (1 / 2, 1, 1)


# --- likely causes --------------------------------------------------------------------------------------------------------------
class HalfAsMuchAgain:
    """A stranger's force is too large by a factor that no mutant has, or by 2."""

    theory, beta, shape = "u1", 2.0, (4, 4)
    factor = 2.0

    def action(self, x):
        angles = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
        return self.beta * (1 - np.cos(angles)).sum(axis=(1, 2))

    def force(self, x):
        angles = x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]
        s = self.factor * self.beta * np.sin(angles)
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)


def test_the_likely_cause_of_a_strangers_doubled_force():
    report = check_target(HalfAsMuchAgain(), level="smoke", seed=1, select="static")
    assert report.failures
    assert all("mutant DoubledForce" in verdict.causes[0] for verdict in report.failures)
    assert len(report.failures[0].causes) <= signatures.SHOWN


def test_where_nothing_fits_it_says_so(monkeypatch):
    passed = frozenset({"static.action", "static.force"})
    seen = Signature("u1", frozenset({"static.plaquette"}), passed, {"static.plaquette": 17.0})
    assert signatures.causes(seen) == (signatures.NONE,)
    bank = {name: Signature("u1", seen.failed, passed, seen.factors) for name in "abcd"}
    monkeypatch.setattr(signatures, "known", lambda path: bank)
    assert signatures.causes(seen) == ("4 known mistakes alike, as mutants a, b, c",)
    del bank["d"]
    assert len(signatures.causes(seen)) == 3


def test_causes_are_those_of_the_theory_or_of_what_it_is_made_of():
    failed = frozenset({"static.force"})
    bank = {theory: Signature(theory, failed, frozenset()) for theory in ("u1", "su3")}
    for theory, expected in {"u1": {"u1"}, "schwinger": {"u1"}, "su2": {"su3"}, "su3": {"su3"}}.items():
        assert {name for _, name in signatures.ranked(Signature(theory, failed, frozenset()), bank)} == expected
    assert signatures.ranked(Signature("u1", failed, frozenset()), {"su3": bank["su3"]}) == []
    own = Signature("schwinger", failed, frozenset())
    assert signatures.ranked(own, {**bank, "own": own}) == [(1.0, "own")]  # others are not asked


def test_a_mistake_in_what_the_target_does_not_offer_is_no_cause():
    bank = signatures.known(signatures.FILE)
    assert not signatures.possible(bank["RejectionsDropped"], {"driver.outputs"})
    assert signatures.possible(bank["RejectionsDropped"], {"driver.resume"})
    assert signatures.possible(bank["DoubledForce"], {"maps.energy_scaling", "driver.outputs"})


@pytest.mark.parametrize("quantity", ["the call itself", "the check itself"])
def test_what_was_not_answered_has_no_cause(quantity):
    broken = Verdict("fail", quantity, detail="raised", check="static.force")
    wrong = Verdict("fail", "an energy", check="exact_start.energy_exchange")
    first, second = explained(Subject(HalfAsMuchAgain()), [broken, wrong])
    assert first.causes == ()
    assert second.causes == (signatures.NONE,)


def test_files_of_two_targets_of_one_name_stay_apart(tmp_path):
    for spec in ("one:MyHMC", "two:MyHMC", ""):
        check_target(HalfAsMuchAgain(), select="static.force", level="smoke", seed=1, failures=tmp_path, spec=spec)
    names = {path.name for path in tmp_path.glob("*.json")}
    assert {"one-MyHMC-static-force.json", "two-MyHMC-static-force.json"} < names
    assert "HalfAsMuchAgain-static-force.json" in names


class Broken:
    """Raises in its own code, and in NumPy's."""

    theory, beta, shape = "u1", 2.0, (4, 4)

    def action(self, x):
        raise NameError("name 'sed' is not defined")

    def force(self, x):
        return np.linalg.inv(np.zeros((2, 3)))


def test_an_exception_is_told_with_its_place_and_once_at_length():
    report = check_target(Broken(), select="static", level="smoke", seed=1)
    details = {v.check: v.detail for v in report.failures}
    line = Broken.action.__code__.co_firstlineno + 1
    action = f"action: raised NameError: name 'sed' is not defined (test_failures.py:{line})"
    assert details["static.action"] == action
    assert details["static.force"].endswith(f"(test_failures.py:{line + 3})")
    table = report.as_table(120)
    assert table.count(action) == 1
    assert "FAIL  static.gauge_invariance: the call itself, as static.action above" in table.splitlines()
    assert len(details) > 4


def test_the_signatures_belong_to_the_bank():
    content = json.loads(signatures.FILE.read_text(encoding="utf-8"))
    remedy = "; refimpl mutants --signatures data/mutants/signatures.json adds what is new"
    assert not set(content["mutants"]) - set(BY_NAME), "mutants that are gone" + remedy
    assert not set(content["checks"]) - set(BY_ID), "checks that are gone" + remedy
    assert not set(BY_NAME) - set(content["mutants"]), "mutants without a signature" + remedy
    assert signatures.as_json(signatures.known(signatures.FILE)) + "\n" == signatures.FILE.read_text(encoding="utf-8")


def test_a_damaged_file_of_signatures_ends_the_run(tmp_path, monkeypatch):
    text = signatures.FILE.read_text(encoding="utf-8")
    damaged = tmp_path / "signatures.json"
    damaged.write_text(text.replace('"verdicts": "F', '"verdicts": "p', 1))
    monkeypatch.setattr(signatures, "FILE", damaged)
    assert main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1", "--failures", "none"]) == 4


def test_unknown_ids_of_later_versions_are_no_matter(tmp_path):
    later = Signature("u1", frozenset({"later.check", "static.force"}), frozenset({"static.action"}))
    path = tmp_path / "signatures.json"
    path.write_text(signatures.as_json({"DoubledForce": later, "MutantOfTheFuture": later}))
    (only,) = signatures.known(path).items()
    assert only == ("DoubledForce", Signature("u1", frozenset({"static.force"}), frozenset({"static.action"})))


def test_signatures_are_added_to_a_file(tmp_path, capsys):
    path = tmp_path / "signatures.json"
    assert main(["mutants", "DoubledForce", "--signatures", str(path)]) == 0
    first = path.read_bytes()
    assert main(["mutants", "DoubledForce", "--signatures", str(path)]) == 0
    assert path.read_bytes() == first
    older = tmp_path / "older.json"
    older.write_text(signatures.as_json({"DoubledForce": Signature("u1", frozenset(), frozenset({"static.force"}))}))
    assert main(["mutants", "DoubledForce", "--signatures", str(older)]) == 0  # named: measured anew
    assert older.read_bytes() == first


# --- kinds of targets -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mutant", "check", "words"),
    [
        ("LogdetOfInverseNotNegated", "flows.logdet_antisymmetry", "2x2, m2 = 1, lam = 1, phi = 0"),
        ("PriorOfHalfTheLinks", "flows.prior", "4x4, beta = 1, all links 0"),
        ("LogdetOfTheOtherDirection", "conditional.round_trip", "2x2, beta = 1, kappa = 0.125, all links 0, chi = 0"),
        ("DivergenceDropped", "variates.divergence", "2x2, m2 = 1, lam = 1, phi = 0"),
        ("ComplexCountedOnce", "conditional.jacobian", "2x2, beta = 1, kappa = 0.125, all links 0, chi = 0"),
        ("NoisyVariate", "variates.batch", "2x2, beta = 1, all links 0"),
        (
            "MaskNotSwapped",
            "maps.moves_every_link",
            "2x2, beta = 1, 64 of 64 links not 0, 64 of 64 components of v not 0",
        ),
    ],
)
def test_flows_conditionals_and_variates_have_small_ones(tmp_path, mutant, check, words):
    mutant = BY_NAME[mutant]
    verdict, vector = evidence(tmp_path, mutant, check)
    assert verdict.smallest == words
    red, green = (made_for(Subject(target), vector)[0] for target in (mutant, mutant.__mro__[1]))
    assert not all(one.good for one in repeated(red, vector))
    assert all(one.good for one in repeated(green, vector))


def test_the_target_is_shown_as_it_was_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1", "--failures", "my files"]) == 1
    line = "      repeat it: refimpl replay 'my files/mutant-DoubledForce-static-force.json' mutant:DoubledForce"
    assert line in capsys.readouterr().out.splitlines()


def test_a_failure_is_repeated_bit_for_bit_by_the_command_that_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    typed = ["validate", "mutant:DoubledForce", "--beta", "1.3", "--shape", "3", "4", "--level", "smoke", "--seed", "7"]
    assert main([*typed, "--failures", "none", "--alpha", "1e-4", "-k", "static.force"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "again: " in line and line.endswith("-k static.force")]
    command = shlex.split(line.partition("again: ")[2])
    assert command[:3] == ["refimpl", "validate", "mutant:DoubledForce"]
    assert main(command[1:]) == 1
    judged = [[each for each in text if each.startswith("FAIL  static.force ")] for text in (lines, _out(capsys))]
    assert judged[0] == judged[1] != []
    report = Report("t", {}, "smoke", 1, 1e-4, (), 0, 0, 0.0, spec="cmd:./a b", options=("--beta", "1; x"))
    verdict = Verdict("fail", "q", check="static.force")
    assert again_command(verdict, report).startswith("refimpl validate 'cmd:./a b' --beta '1; x' --level smoke")
    assert again_command(verdict, replace(report, spec="", options=())).startswith("refimpl validate TARGET --level")


def _out(capsys):
    return capsys.readouterr().out.splitlines()


def test_pieces_are_replayed(tmp_path, monkeypatch, capsys):
    (path,) = [p for p in (signatures.FILE.parent.parent / "vectors").rglob("*.json") if p.name == PIECES]
    assert main(["replay", str(path)]) == 0
    (tmp_path / "mine.py").write_text("def plaquette(beta, shape):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    capsys.readouterr()
    assert main(["replay", str(path), "mine"]) == 1
    assert "FAIL    exact.u1.plaquette" in capsys.readouterr().out
    assert main(["replay", str(path), "mine:plaquette"]) == 5
