"""The command line as a user meets it: usage, exit codes, messages."""

import subprocess
import sys
from pathlib import Path

import pytest

from refimpl.cli import main
from tests.commands import run

ROOT = Path(__file__).resolve().parent.parent


PSEUDOFERMION = "sample schwinger --beta 2 --kappa 0.2 --kernel pseudofermion --shape"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ("validate no.such:thing", 3, "no.such"),
        ("validate mutant:Nobody", 3, "got mutant 'Nobody', expected one of"),
        ("validate refimpl.exact.u1:plaquette", 3, "raised TypeError"),
        ("validate --beta -1", 2, "argument --beta: got '-1', expected a finite number > 0"),
        ("validate --beta nan", 2, "argument --beta"),
        ("validate --shape 8 1", 2, "argument --shape: got '1', expected an integer of at least 2"),
        ("validate --alpha 2", 2, "argument --alpha"),
        ("validate --level huge", 2, "invalid choice"),
        ("validate --theory phi6", 2, "invalid choice"),
        ("validate builtin:nothing", 3, "got builtin 'nothing', expected one of u1, o2, gaussian, gmm"),
        ("validate mutant:DoubledForce --theory gmm", 2, "--theory: got gmm, but the target declares u1"),
        ("validate --theory gmm --beta 2", 3, "unexpected keyword argument 'beta'"),
        ("validate --length 1", 2, "argument --length: got '1', expected an integer of at least 2"),
        ("validate --out no/such/folder/file", 2, "--out"),
        ("validate --xfail no-such-file", 2, "no-such-file"),
        ("validate -k nothing-like-it", 5, ""),
        ("mutants Nobody", 2, "Nobody"),
        ("explain no.such", 2, "no.such"),
        ("bench no-such-item", 2, "no-such-item"),
        ("exact u1 --beta 4 --shape 8", 2, "expected 2 arguments"),
        ("exact u1 --beta inf --shape 8 8", 2, "argument --beta"),
        ("exact phi3 --beta 4 --shape 8 8", 2, "invalid choice"),
        ("sample u1 --beta 4 --shape 8 8 --out no/such/folder/run", 2, "--out"),
        ("sample u1 --beta 4 --shape 8 8", 2, "--out: got nothing, expected a new folder"),
        (
            "sample",
            2,
            "THEORY: got nothing, expected one of u1, schwinger, su2, su3, o2, gaussian, gmm, phi4, or --resume DIR",
        ),
        ("sample schwinger --beta 2 --shape 4 4 --out x", 2, "--kappa: got nothing, expected it for theory schwinger"),
        (
            "sample schwinger --beta 2 --kappa 0 --shape 4 4 --out x",
            2,
            "--kappa: got 0.0, expected a finite number > 0: without fermions take u1",
        ),
        ("sample schwinger --beta 2 --kappa -1 --shape 4 4 --out x", 2, "argument --kappa: got '-1'"),
        ("sample schwinger --beta 2 --kappa inf --shape 4 4 --out x", 2, "argument --kappa: got 'inf'"),
        ("sample u1 --beta 2 --kappa 0.2 --shape 4 4 --out x", 2, "unrecognized arguments: --kappa"),
        ("sample su3 --beta 2 --shape 4 4 --kernel flux --out x", 2, "invalid choice: 'flux'"),
        (
            "sample su3 --beta 2 --shape 4 4 --kernel pseudofermion --out x",
            2,
            "--kernel: got pseudofermion for su3 without fermions, expected --kappa above 0",
        ),
        ("sample su3 --beta 2 --shape 4 4 --start gauge --out x", 2, "--start: got gauge for su3 with beta = 2.0"),
        (
            "sample schwinger --beta 2 --kappa 0.2 --shape 8 8 --start exact --out x",
            2,
            "--start: got exact for schwinger with beta = 2.0, kappa = 0.2, shape = [8, 8], expected one of gauge, hot, cold",
        ),
        (
            f"{PSEUDOFERMION} 4 5 --even-odd --out x",
            2,
            "--even-odd: got it for the shape [4, 5], expected even extents",
        ),
        (f"{PSEUDOFERMION} 4 4 --mus 0.5 0.1 --out x", 2, "--mus: got [0.5, 0.1], expected increasing masses"),
        (f"{PSEUDOFERMION} 4 4 --mus 0 --out x", 2, "argument --mus: got '0', expected a finite number > 0"),
        (
            f"{PSEUDOFERMION} 4 4 --mus 0.5 --inner-steps 1 2 3 --out x",
            2,
            "--inner-steps: got 3 numbers, expected 1 or",
        ),
        (
            "sample schwinger --beta 2 --kappa 0.2 --shape 4 4 --mus 0.5 --out x",
            2,
            "--mus: got [0.5] with --kernel hmc, expected it with pseudofermion only",
        ),
        (
            "train l2hmc --theory schwinger --beta 2 --kappa 0.2 --shape 4 4 --out x",
            2,
            "--theory: got schwinger, expected one of u1, o2, gaussian, gmm, phi4: training needs second derivatives",
        ),
        ("train l2hmc --theory su3 --out x", 2, "--theory: got su3, expected one of u1"),
        ("sample --resume no/such/run", 2, "got no manifest.json, expected the folder of a run"),
        ("sample u1 --beta 4 --shape 8 8 --out x --workers 0", 2, "workers: got 0"),
        (
            "sample --executor cloud u1 --beta 4 --shape 8 8 --out x",
            2,
            "executor: got 'cloud', expected process, thread",
        ),
        (
            "sample u1 --beta 4 --shape 8 8 --chains 0 --out x",
            2,
            "argument --chains: got '0', expected an integer of at least 1",
        ),
        ("", 2, "COMMAND"),
    ],
)
def test_bad_usage_gives_a_message_and_its_exit_code(capsys, monkeypatch, argv, code, message):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # or bench would start itself again
    got, _, err = run(capsys, *argv.split())
    assert got == code
    assert message in err
    assert "Traceback" not in err


def test_whoever_has_read_enough_gets_no_message():
    command = f"{sys.executable} -m refimpl exact u1 --beta 2 --shape 4 4 | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # 0: it was all written before


@pytest.mark.parametrize(
    "words", ["exact u1 --beta 1 --shape 4 4", "fit-cv u1 --beta 1 --shape 4 4 --observable plaquette"]
)
def test_a_closed_output_is_told_before_any_work(words):
    command = f"{sys.executable} -m refimpl {words} >&-"
    done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr == "refimpl: standard output is closed, expected one to write to, such as /dev/null\n"


def test_reproduce_lists_and_runs(capsys, tmp_path):
    assert main(["reproduce"]) == 0
    assert "freezing" in capsys.readouterr().out
    assert main(["reproduce", "reversibility", "--quick"]) == 0
    assert "wrapped scaling" in capsys.readouterr().out


def test_the_names_of_experiments_are_shown(capsys):
    from refimpl.reproduce import DESCRIPTIONS, EXPERIMENTS

    words = " ".join(run(capsys, "reproduce", "--help")[1].split())
    assert ", ".join(EXPERIMENTS) in words
    lines = run(capsys, "reproduce")[1].splitlines()
    assert [line.split("  ")[0] for line in lines if "--paper" not in line] == list(DESCRIPTIONS)


def test_an_unknown_option_shows_the_usage_of_its_command(capsys):
    for argv in ("exact u1 --beta 2 --shape 4 4 --kappa 0.2", "sample u1 --kappa 0.2", "reproduce --fast"):
        code, _, err = run(capsys, *argv.split())
        assert code == 2
        assert f"usage: refimpl {' '.join(argv.split('--')[0].split())} " in err
        assert "unrecognized arguments: --" in err
