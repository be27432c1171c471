"""The commands ``validate``, ``mutants`` without a target and ``explain``."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from refimpl.validation.conventions import NAMED
from tests.commands import run

ROOT = Path(__file__).resolve().parent.parent


def test_validate_takes_the_parameters_of_the_theory(capsys):
    parameters = ["--beta", "1.5", "--shape", "3", "4", "--step-size", "0.3", "--steps", "5"]
    code, out, _ = run(capsys, "validate", "tests.targets.loops:target", *parameters, "-k", "static", "--seed", "1")
    assert code == 0
    assert "beta = 1.5, shape = [3, 4], step_size = 0.3, n_steps = 5" in out


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("--theory o2 --beta 1.5 --length 6", "refimpl O(2) HMC: theory = o2, beta = 1.5, length = 6, step_size"),
        ("--theory gaussian --steps 3", "theory = gaussian, covariance = [[2.25, 0.6, 0.0]"),
        ("builtin:gmm", "theory = gmm, weights = [0.3, 0.7]"),
        ("builtin:u1 --theory u1 --shape 4 4", "theory = u1, beta = 4.0, shape = [4, 4]"),
        ("--theory phi4 --m2 -0.2 --lam 1.5 --shape 4 2", "theory = phi4, m2 = -0.2, lam = 1.5, shape = [4, 2]"),
    ],
)
def test_validate_chooses_the_built_in_target_of_a_theory(capsys, argv, shown):
    code, out, _ = run(capsys, "validate", *argv.split(), "-k", "static", "--seed", "1")
    assert code == 0
    assert shown in out
    assert re.search(r"ran (\d+) of \1 selected; \d+ apply here, \d+ in all", out)


def test_a_mutant_exits_1_and_names_the_check(capsys):
    code, out, _ = run(capsys, "validate", "mutant:DoubledForce", "-k", "static", "--seed", "1", "--failures", "none")
    assert code == 1
    assert "FAIL  static.force: max |force - loop|" in out
    assert "got = 2 times the expected everywhere" in out
    assert "refimpl explain static.force" in out


def test_json_goes_whole_into_a_file(capsys, tmp_path):
    out_file = tmp_path / "report.json"
    argv = ["validate", "-k", "static", "--seed", "1", "--format", "json", "--out", str(out_file)]
    code, out, _ = run(capsys, *argv)
    assert (code, out) == (0, "")
    assert json.loads(out_file.read_text())["summary"]["failed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_known_failures_come_from_a_file(capsys, tmp_path):
    known = tmp_path / "known.json"
    known.write_text('{"static.tau_int": "doubled by convention"}')
    assert run(capsys, "validate", "mutant:DoubledTau", "-k", "static", "--xfail", str(known))[0] == 0
    known.write_text('{"static.no_such": "?"}')
    code, _, err = run(capsys, "validate", "mutant:DoubledTau", "--xfail", str(known))
    assert code == 2
    assert "static.no_such" in err
    known.write_text("not json")
    assert run(capsys, "validate", "--xfail", str(known))[0] == 2
    known.write_text('["a list"]')
    assert run(capsys, "validate", "--xfail", str(known))[0] == 2


def test_mutants_table_and_json(capsys):
    assert run(capsys, "mutants", "DoubledTau")[0] == 0
    code, out, _ = run(capsys, "mutants", "DoubledTau", "StaleForceAfterReject", "--level", "smoke")
    assert code == 0
    assert "killed  DoubledTau" in out
    assert "exact_start.moves" in out
    assert "2 of 2 mutants killed" in out
    code, out, _ = run(capsys, "mutants", "DoubledTau", "--format", "json", "--all", "--level", "smoke")
    assert code == 0
    assert [v["check"] for v in json.loads(out)[0]["verdicts"]] == ["static.tau_int"]


def test_explain_lists_and_describes(capsys):
    code, out, _ = run(capsys, "explain")
    assert code == 0
    assert "maps.jacobian" in out
    code, out, _ = run(capsys, "explain", "maps.jacobian")
    assert code == 0
    assert "dense Jacobian" in out
    assert "kills: ConsistentLogdet" in out
    assert "reversals: flip, involution, direction" in out
    assert "theories: u1, o2, schwinger;" in run(capsys, "explain", "maps.periodicity")[1]
    assert "theories: schwinger, su2, su3\n" in run(capsys, "explain", "conditional.jacobian")[1]


@pytest.mark.parametrize("family", ["conditional", "joint", "pseudomarginal"])
def test_explain_lists_a_family(capsys, family):
    code, out, _ = run(capsys, "explain", family)
    lines = [line for line in run(capsys, "explain")[1].splitlines() if line.startswith(f"{family}.")]
    assert (code, out.splitlines()) == (0, lines)
    assert len(lines) > 3
    for check in (line.split()[0] for line in lines):
        assert "reversals" not in run(capsys, "explain", check)[1]


def test_explain_tells_what_there_is(capsys):
    _, _, err = run(capsys, "explain", "jont")
    assert "CHECK: got 'jont', expected a check, or a family of them: static, scalars," in err
    assert "static.action" not in err
    _, _, err = run(capsys, "explain", "joint.jacobian")
    assert "expected one of joint.parts, joint.seeds, joint.marginal, joint.law, joint.independent\n" in err


def test_explain_tells_names_of_conventions(capsys):
    _, out, _ = run(capsys, "explain", "conventions")
    assert [line.split()[0] for line in out.splitlines()] == list(NAMED)
    assert "phases            links as phases exp(i theta)\n" in out


def test_a_wrong_checksum_exits_4(capsys, monkeypatch, tmp_path):
    from refimpl.validation import vectors

    vectors.write_suites(tmp_path, ["u1"])
    (tmp_path / "u1" / "hot-2x2.npz").write_bytes(b"damaged")
    original = vectors.read_suite
    monkeypatch.setattr(vectors, "read_suite", lambda suite: original(suite, tmp_path))
    code, _, err = run(capsys, "validate", "-k", "golden")
    assert code == 4
    assert "hot-2x2.npz" in err


def test_validate_prints_the_table_and_exits_0_without_a_progress_bar_where_there_is_no_terminal():
    command = [sys.executable, "-m", "refimpl", "validate", "--level", "smoke", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    for shown in ("0 failed", "seed 1", "false alarms: at most 1e-06"):
        assert shown in done.stdout


def test_the_options_that_a_verdict_depends_on_are_told_again(capsys, tmp_path):
    known = tmp_path / "known.json"
    known.write_text("{}")
    typed = ("--beta 1.5", "--shape 2 3", "--steps 4", "--alpha 0.0001", "--conventions ours", "--deadline 60.0")
    argv = ["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1", "--failures", "none"]
    for options in ((), (*typed, f"--xfail {known}")):
        code, out, _ = run(capsys, *argv, *" ".join(options).split())
        (line,) = [line for line in out.splitlines() if line.strip().startswith("again: ")]
        assert code == 1
        assert [option for option in (*typed, f"--xfail {known}") if option in line] == list(options)
        assert line.endswith("--level standard --seed 1 -k static.force")


def test_failures_go_where_the_command_was_given(capsys, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lines = (
        "import os",
        "import numpy as np",
        "class Target:",
        "    theory, beta, shape = 'u1', 2.0, (2, 2)",
        "    def force(self, x):",
        f"        os.chdir({str(elsewhere)!r})",
        "        return np.ones(x.shape)",
    )
    (tmp_path / "roaming.py").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "validate", "roaming:Target", "-k", "static.force", "--failures", "here")
    assert code == 1
    assert "refimpl replay here/roaming-Target-static-force.json roaming:Target" in out
    assert (tmp_path / "here" / "roaming-Target-static-force.json").exists()
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_nobody_asked_for_and_cannot_be_is_no_matter(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refimpl-failures").write_text("a file")
    assert run(capsys, "validate", "mutant:DoubledForce", "-k", "static.force")[0] == 1
    assert (tmp_path / "refimpl-failures").read_text() == "a file"
    code, _, err = run(capsys, "validate", "-k", "static.force", "--failures", "refimpl-failures")
    assert code == 2
    assert "--failures: got 'refimpl-failures', expected a folder" in err


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("fermions.dense", "refimpl: fermions.dense: do not apply to this target: theory = u1, beta"),
        ("nothing-like-it", "refimpl: no check matches 'nothing-like-it'; refimpl explain lists them"),
    ],
)
def test_why_nothing_ran_is_told(capsys, select, told):
    code, _, err = run(capsys, "validate", "-k", select)
    assert code == 5
    assert told in err
