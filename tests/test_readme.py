"""What the README says is so: its code runs, its numbers are those of the code, its failure is what is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from refimpl.cli import main
from refimpl.validation.checks import CHECKS
from refimpl.validation.contract import Subject
from refimpl.validation.mutants import MUTANTS
from refimpl.validation.references.kernels import ReferenceU1

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def example(word):
    """The one example of the README with this word."""
    (found,) = (block for block in PYTHON_BLOCKS if word in block)
    return found


def python(folder, *argv):
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    environment = {"PYTHONPATH": str(ROOT), **threads}
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, cwd=folder, check=False, env=environment
    )


def test_the_users_sampler_is_validated_from_command_line_and_pytest(tmp_path):
    (tmp_path / "mycode.py").write_text(example("class MyHMC"))
    (tmp_path / "test_mycode.py").write_text(example("parametrize_with_checks"))
    argv = [
        "-m",
        "refimpl",
        "validate",
        "mycode:MyHMC",
        "--level",
        "smoke",
        "--seed",
        "1",
        "--shape",
        "6",
        "4",
        "--beta",
        "1",
    ]
    done = python(tmp_path, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shape = [6, 4]" in done.stdout
    assert re.search(r"[1-9]\d passed, 0 failed", done.stdout)
    # the statistics are those above, and take most of the time
    done = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not exact_start and not momenta")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_library_example_runs(tmp_path):
    done = python(tmp_path, "-W", "error", "-c", example("tau_int"))
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.86\d\d \+- 0\.00\d\d, exact 0\.8635", done.stdout)


def test_the_parallel_example_runs(tmp_path):
    (tmp_path / "parallel.py").write_text(example("chains.run"))
    done = python(tmp_path, "-W", "error", "parallel.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(500, 64)\n"


def test_the_failure_shown_is_the_failure_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "1"]) == 1
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    shown = README[README.index("FAIL  static.force: max") :].split("```")[0].strip().splitlines()
    words = " ".join(printed)
    for line in (" ".join(line.split()) for line in shown):
        assert line in " ".join(words.split()), line


def test_the_example_with_quarks_runs(tmp_path):
    done = python(tmp_path, "-W", "error", "-c", example("NestedHMC"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("True")  # the estimates have a variance


def test_the_example_with_control_variates_runs(tmp_path):
    done = python(tmp_path, "-W", "error", "-c", example("TwoStage"))
    assert done.returncode == 0, done.stderr
    ratios = [float(ratio) for ratio in re.findall(r"sigma ratio ([\d.]+)", done.stdout)]
    assert len(ratios) == 6
    assert min(ratios) > 20


def test_the_control_variate_passes(tmp_path):
    (tmp_path / "mycode.py").write_text(example("class MyVariate"))
    done = python(tmp_path, "-m", "refimpl", "validate", "mycode:MyVariate", "-k", "variates", "--level", "smoke")
    assert done.returncode == 0, done.stdout
    assert re.search(r"5 passed, 0 failed, 0 skipped", done.stdout)


def test_the_flow_passes_and_fails_with_a_wrong_jacobian(tmp_path):
    flow, argv = (
        example("class MyFlow"),
        ("-m", "refimpl", "validate", "mycode:MyFlow", "-k", "flow", "--level", "smoke"),
    )
    (tmp_path / "mycode.py").write_text(flow)
    done = python(tmp_path, *argv)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d passed, 0 failed", done.stdout)
    (tmp_path / "mycode.py").write_text(flow.replace("d * (s * ~frozen)", "-d * (s * ~frozen)"))
    done = python(tmp_path, *argv)
    assert done.returncode == 1, done.stdout
    assert "FAIL  flows.jacobian" in done.stdout
    assert "pass  flows.round_trip" in done.stdout


def test_the_conditional_passes_and_fails_without_the_boundary_sign(tmp_path):
    flow, argv = (
        example("class MyConditional"),
        ("-m", "refimpl", "validate", "mycode:MyConditional", "-k", "conditional", "--level", "smoke"),
    )
    (tmp_path / "mycode.py").write_text(flow)
    done = python(tmp_path, *argv)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b5 passed, 0 failed", done.stdout)
    (tmp_path / "mycode.py").write_text(flow.replace("u[:, -1] *= -1", "pass"))
    done = python(tmp_path, *argv)
    assert done.returncode == 1, done.stdout
    assert "FAIL  conditional.translation" in done.stdout
    assert re.search(r"\b4 passed, 1 failed", done.stdout)


def test_counts_are_those_of_the_code():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    subject = Subject(ReferenceU1())
    mine = sum(check.applies(subject) for check in CHECKS)
    assert f"{mine} passed, 0 failed, 0 skipped" in README
    assert f"{mine} apply here, {len(CHECKS)} in all" in README
    assert f"{len(MUTANTS)} wrong implementations" in README
    assert f"{len(CHECKS)} checks" in changelog
    assert f"{len(MUTANTS)} mutants" in changelog


def test_every_command_in_the_table_exists(capsys):
    for command in re.findall(r"^\| `refimpl ([\w-]+)", README, re.MULTILINE):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
    assert "usage: refimpl bench" in capsys.readouterr().out
