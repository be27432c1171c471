"""The command line as a user meets it: output, exit codes, files, messages."""

import argparse
import functools
import io
import json
import re
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from refimpl import chains
from refimpl.actions import WilsonSUN, WilsonU1, hasenbusch
from refimpl.cli import main
from refimpl.exact import sun, u1
from refimpl.kernels import HMC, Level, NestedHMC, PureGauge
from refimpl.maps import OMELYAN
from refimpl.theories import pure_gauge_beta
from tests.runs import run as by_library_run

ROOT = Path(__file__).resolve().parent.parent


def run(capsys, *argv):
    """Exit code, standard output, standard error of one command."""
    try:
        code = main(list(argv))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


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


def test_exact_prints_every_digit(capsys):
    code, out, _ = run(capsys, "exact", "u1", "--beta", "4", "--shape", "8", "8", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["plaquette"] == u1.plaquette(4.0, (8, 8))
    assert content["charge_distribution"]["0"] == u1.charge_distribution(4.0, (8, 8))[1].max()
    code, out, _ = run(capsys, "exact", "u1", "--beta", "4", "--shape", "8", "8")
    assert code == 0
    assert "0.863530042512331" in out


def test_vectors_commands(capsys):
    code, out, _ = run(capsys, "vectors", "check", "u1")
    assert code == 0
    assert out == "14 vectors: checksums match, and they regenerate\n"
    code, out, _ = run(capsys, "vectors", "list")
    assert code == 0
    *rows, _ = out.splitlines()
    assert "BRANCH_CUT" in rows[0]
    assert len({row.index(" vectors  ") for row in rows}) == 1
    assert len({row.index(" kB  ") for row in rows}) == 1
    code, out, _ = run(capsys, "vectors", "list", "u1")
    assert code == 0
    assert "u1/one-link-4x4" in out


def test_columns_of_long_names_do_not_collide(capsys):
    """In every suite the second column begins behind the longest name, and at the same place in every row."""
    for suite in ("leapfrog", "omelyan", "readings"):
        rows = run(capsys, "vectors", "list", suite)[1].splitlines()
        assert len({len(row) - len(row.split(maxsplit=1)[1]) for row in rows}) == 1


def test_vectors_show_has_the_pieces(capsys):
    code, out, _ = run(capsys, "vectors", "show", "gaussian_models/inflations")
    assert code == 0
    assert '"piece": "estimators.conditional.best_inflation"' in out
    assert "calls:" not in out


def test_vectors_show_says_all_about_one(capsys):
    code, out, _ = run(capsys, "vectors", "show", "o2/one-angle-8")
    assert code == 0
    for part in ("o2/one-angle-8", '"beta": 2.0', "2x8", '"function": "force"', "20261201", "force = + d action"):
        assert part in out
    assert f"{-4 * np.sin(0.5):.17g}"[1:12] in out  # of the one angle 0.5, with two bonds at beta = 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show"], "SUITE/NAME: got None"),
        (["show", "u1"], "SUITE/NAME: got 'u1'"),
        (["show", "u1/../o2"], "SUITE/NAME: got 'u1/../o2', expected one of hot-2x2"),
        (["show", "none/hot"], "SUITE: got 'none', expected one of u1"),
        (["list", "../u1"], "SUITE: got '../u1'"),
        (["check", "none"], "SUITE: got 'none'"),
        (["write", "/dev/null"], "DIR: got '/dev/null', expected a folder"),
        (["write", ""], "DIR: got ''"),
    ],
)
def test_vectors_refuse_what_is_not_there(capsys, arguments, told):
    code, _, err = run(capsys, "vectors", *arguments)
    assert code == 2
    assert told in err


def test_vectors_check_sees_another_answer(capsys, monkeypatch):
    from refimpl.validation.field_vectors import o2

    monkeypatch.setattr(o2, "SUITE", o2.SUITE._replace(seed=1))
    code, _, err = run(capsys, "vectors", "check", "o2")
    assert code == 4
    assert "o2/hot-2: regenerating it gives another vector" in err


def test_a_wrong_checksum_exits_4(capsys, monkeypatch, tmp_path):
    from refimpl.validation import vectors

    vectors.write_suites(tmp_path, ["u1"])
    (tmp_path / "u1" / "hot-2x2.npz").write_bytes(b"damaged")
    original = vectors.read_suite
    monkeypatch.setattr(vectors, "read_suite", lambda suite: original(suite, tmp_path))
    code, _, err = run(capsys, "validate", "-k", "golden")
    assert code == 4
    assert "hot-2x2.npz" in err


SAMPLE = ["sample", "u1", "--beta", "4", "--shape", "4", "6", "--chains", "8", "--seed", "7", "--executor", "thread"]


def test_sample_writes_a_run_that_is_resumed_and_extended(capsys, tmp_path):
    out, whole = tmp_path / "run", tmp_path / "whole"
    code, text, _ = run(capsys, *SAMPLE, "--trajectories", "20", "--save-every", "15", "--out", str(out))
    assert code == 0
    assert "plaquette" in text
    assert "20 trajectories of 8 chains" in text
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["configuration"]["parameters"] == {"beta": 4.0, "shape": [4, 6]}
    assert manifest["seed"] == 7
    assert run(capsys, "sample", "--resume", str(out), "--trajectories", "50", "--workers", "1")[0] == 0
    assert run(capsys, "sample", "--executor", "thread", "--resume", str(out))[0] == 0  # nothing left to do
    again = [*SAMPLE, "--trajectories", "50", "--save-every", "15", "--record-every", "1", "--out", str(whole)]
    assert run(capsys, *again)[0] == 0
    first, second = chains.load(out), chains.load(whole)
    assert first["charge"].dtype == np.int64
    for name, values in second.items():
        assert values.shape == (50, 8)
        assert np.array_equal(first[name], values)
    assert np.array_equal(chains.load_fields(out), chains.load_fields(whole))
    assert chains.load_fields(out).shape == (3, 8, 2, 4, 6)
    code, _, err = run(capsys, *SAMPLE, "--out", str(out))
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize(
    "theory",
    [["u1", "--beta", "2", "--shape", "4", "4"], ["o2", "--beta", "2", "--length", "6"], ["gmm", "--start", "hot"]],
    ids=lambda argv: argv[0],
)
def test_sample_with_a_tuned_hmc(capsys, tmp_path, theory):
    argv = ["sample", *theory, "--chains", "4", "--trajectories", "8", "--executor", "thread", "--tune"]
    code, _, err = run(capsys, *argv, "--out", str(tmp_path / "run"))
    assert code == 0
    assert err.count("-> leapfrog, n_steps") == 1
    steps, size = re.search(r"-> leapfrog, n_steps (\d+), step_size ([\d.]+):", err).groups()
    kernel = chains.read_manifest(tmp_path / "run")["kernel"]
    assert kernel["n_steps"] == int(steps)
    assert kernel["step_size"] == pytest.approx(float(size), rel=1e-3)  # printed with four digits
    assert run(capsys, "sample", "--resume", str(tmp_path / "run"), "--trajectories", "9")[0] == 0
    assert (
        "--tune: got it with --resume" in run(capsys, "sample", *theory, "--tune", "--resume", str(tmp_path / "run"))[2]
    )
    assert "--steps: got it with --tune" in run(capsys, *argv, "--steps", "3", "--out", str(tmp_path / "x"))[2]


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("schwinger --kappa 0.2 --shape 2 4 --kernel winding", "accepted/Winding"),
        ("schwinger --kappa 0.2 --shape 2 4 --kernel orbit --steps 3", "accepted/OrbitMetropolis"),
        (
            "schwinger --kappa 0.2 --shape 2 4 --kernel independence --proposal-beta 2.1",
            "accepted/IndependenceMetropolis",
        ),
        ("schwinger --kappa 0.2 --shape 3 4 --kernel pseudofermion --start hot", "charge"),
        (
            "su2 --kappa 0.2 --shape 2 4 --kernel pseudofermion --mus 0.1 0.5 --inner-steps 1 2 3 --no-even-odd",
            "polyakov",
        ),
        ("su3 --shape 3 3 --start cold", "wilson_loop_2x2"),
    ],
)
def test_sample_gauge_theories_with_and_without_fermions(capsys, tmp_path, argv, shown):
    out, words = tmp_path / "run", ["sample", *argv.split(), "--beta", "2"]
    sizes = ["--chains", "4", "--executor", "thread", "--save-every", "2", "--trajectories"]
    assert run(capsys, *words, *sizes, "4", "--out", str(out))[0] == 0
    assert run(capsys, "sample", "--resume", str(out), "--trajectories", "6", "--executor", "thread")[0] == 0
    assert run(capsys, *words, *sizes, "6", "--resume", str(out))[0] == 0  # the same run
    whole = tmp_path / "whole"
    code, text, _ = run(capsys, *words, *sizes, "6", "--out", str(whole))
    assert code == 0
    assert shown in text
    assert np.array_equal(chains.load_fields(out), chains.load_fields(whole))
    assert shown in run(capsys, "analyse", str(out), "--thermalisation", "0")[1]
    code, _, err = run(capsys, *words, "--steps", "7", "--resume", str(out))
    assert code == 2
    assert "steps: the run has" in err


def test_the_kernels_of_fermions_are_what_the_options_say():
    def kernel(text):
        from refimpl import theories
        from refimpl.cli import kernels

        parser = argparse.ArgumentParser()
        name = text.split()[0]
        kernels.kernel_options(parser, name)
        theory = theories.by_name(name, beta=2.0, kappa=0.2, shape=(4, 6))
        configuration = kernels.kernel_configuration(parser.parse_args(text.split()[1:]), theory)
        return kernels.kernel_from(configuration, theory, Path()), theory

    made, theory = kernel("schwinger --kernel pseudofermion --steps 5 --step-size 0.1")
    assert made == NestedHMC((Level(hasenbusch(0.2, even_odd=True), 5), Level((WilsonU1(2.0),), 4)), 0.5)
    made, theory = kernel(
        "su3 --kernel pseudofermion --mus 0.1 0.5 --inner-steps 1 2 3 --no-even-odd --integrator omelyan"
    )
    light, middle, heavy = hasenbusch(0.2, (0.1, 0.5), n=3)
    assert made.levels == (
        Level((light,), 10, OMELYAN), Level((middle,), 1, OMELYAN), Level((heavy,), 2, OMELYAN),
        Level((WilsonSUN(2.0, 3),), 3, OMELYAN),
    )  # fmt: skip
    made, theory = kernel("schwinger --kernel independence --steps 3")
    assert made.kernels[0] == HMC(theory.action, 0.2, 3)
    assert made.kernels[1].proposal == PureGauge(pure_gauge_beta(2.0, 0.2, (4, 6)), (4, 6))


def test_a_start_that_is_not_equilibrium_is_told(capsys, tmp_path):
    argv = "sample schwinger --beta 2 --kappa 0.2 --shape 4 5 --chains 2 --trajectories 2 --steps 2 --executor thread"
    code, _, err = run(capsys, *argv.split(), "--out", str(tmp_path / "run"))
    assert code == 0
    assert f"start: exact pure gauge configurations at beta = {pure_gauge_beta(2.0, 0.2, (4, 5)):.4g}" in err
    assert chains.read_manifest(tmp_path / "run")["configuration"]["start"] == "gauge"
    code, _, err = run(
        capsys, "sample", "--resume", str(tmp_path / "run"), "--trajectories", "3", "--executor", "thread"
    )
    assert code == 0
    assert "start" not in err


def test_pseudofermions_are_tuned(capsys, tmp_path, monkeypatch):
    from refimpl import tuning
    from refimpl.cli import sampling

    monkeypatch.setattr(tuning, "tune", functools.partial(tuning.tune, adaptation=6))
    monkeypatch.setattr(tuning, "largest_tau", functools.partial(tuning.largest_tau, trajectories=12))
    monkeypatch.setattr(sampling, "TUNING_STEPS", (1, 2))
    argv = "sample schwinger --beta 2 --kappa 0.2 --shape 2 2 --kernel pseudofermion --tune --chains 2 --trajectories 2"
    code, _, err = run(capsys, *argv.split(), "--executor", "thread", "--out", str(tmp_path / "run"))
    assert code == 0
    steps, size = re.search(r"-> nested, leapfrog, n_steps (\d+), step_size ([\d.]+):", err).groups()
    kernel = chains.read_manifest(tmp_path / "run")["kernel"]
    assert kernel["levels"][0]["n_steps"] == int(steps)
    assert kernel["length"] == pytest.approx(float(size) * int(steps), rel=1e-3)  # printed with four digits


def test_resuming_as_something_else_shows_the_difference(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(capsys, *SAMPLE, "--trajectories", "2", "--out", str(out))[0] == 0
    other = ["--beta", "5", "--shape", "4", "6", "--steps", "3", "--chains", "8", "--integrator", "omelyan"]
    code, _, err = run(capsys, "sample", "u1", *other, "--resume", str(out))
    assert code == 2
    for line in (
        "beta: the run has 4.0, got 5.0",
        "steps: the run has 10, got 3",
        "integrator: the run has 'leapfrog'",
    ):
        assert line in err
    assert "chains" not in err.split("expected the same:")[1]
    assert run(capsys, "sample", "o2", "--beta", "4", "--length", "6", "--resume", str(out))[0] == 2
    assert run(capsys, "sample", "u1", "--beta", "4", "--resume", str(out))[0] == 0
    assert "--out: got it with --resume" in run(capsys, *SAMPLE, "--resume", str(out), "--out", str(tmp_path / "x"))[2]
    by_library_run(tmp_path / "library", 2)
    assert "a run of refimpl.chains.run" in run(capsys, "sample", "--resume", str(tmp_path / "library"))[2]


@pytest.mark.parametrize(
    "extra", [("--start", "hot"), ("--start", "cold"), ("--integrator", "omelyan"), ("--trajectories", "1")]
)
def test_sample_options(capsys, tmp_path, extra):
    assert run(capsys, *SAMPLE, "--trajectories", "3", *extra, "--out", str(tmp_path / "run"))[0] == 0


def test_a_full_disk_is_a_message_and_the_run_goes_on_later(capsys, tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("refimpl.chains.folder.write_segment", full_disk)
        code, _, err = run(capsys, *SAMPLE, "--trajectories", "5", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "No space left on device" in err
    assert f"refimpl sample --resume {tmp_path / 'run'} goes on" in err
    assert run(capsys, "sample", "--resume", str(tmp_path / "run"))[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        code, _, err = run(capsys, *SAMPLE, "--out", str(tmp_path / "other"))
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_keeps_its_own_copy_of_its_model(capsys, tmp_path):
    model, out = tmp_path / "model", tmp_path / "run"
    assert main([*TRAIN, "--steps", "3", "--out", str(model)]) == 0
    argv = ["sample", "u1", "--beta", "2", "--shape", "4", "4", "--kernel", "l2hmc"]
    sizes = ["--chains", "3", "--trajectories", "4", "--executor", "thread"]
    assert run(capsys, *argv, *sizes, "--model", str(model), "--out", str(out))[0] == 0
    model.rename(tmp_path / "moved")
    out.rename(tmp_path / "elsewhere")
    resume = ["--resume", str(tmp_path / "elsewhere"), "--executor", "thread"]
    assert run(capsys, "sample", *resume, "--trajectories", "6")[0] == 0
    assert run(capsys, *argv, "--model", str(tmp_path / "moved"), *resume)[0] == 0
    assert main([*TRAIN, "--steps", "4", "--out", str(model)]) == 0
    code, _, err = run(capsys, *argv, "--model", str(model), *resume)
    assert code == 2
    assert "model: the run has 'its own weights', got 'others'" in err
    assert "expected the folder of a model" in run(capsys, *argv, "--model", str(tmp_path), *resume)[2]
    code, _, err = run(capsys, "sample", *resume, "--trajectories", "5")
    assert code == 2
    assert "--trajectories: got 5, expected at least 6, which are done" in err


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


def test_an_interrupted_training_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    from refimpl import training

    monkeypatch.setattr(training, "fit", interrupted)
    code, _, err = run(capsys, *TRAIN, "--out", str(tmp_path / "m"))
    assert code == 130
    assert f"refimpl train l2hmc --resume --out {tmp_path / 'm'} goes on" in err


def test_an_interrupted_sample_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("refimpl.chains.running.wait", interrupted)
        code, _, err = run(capsys, *SAMPLE, "--out", str(tmp_path / "run"))
    assert code == 130
    assert err.strip().endswith(f"refimpl sample --resume {tmp_path / 'run'} goes on")


def test_validate_prints_the_table_and_exits_0_without_a_progress_bar_where_there_is_no_terminal():
    command = [sys.executable, "-m", "refimpl", "validate", "--level", "smoke", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    for shown in ("0 failed", "seed 1", "false alarms: at most 1e-06"):
        assert shown in done.stdout


TRAIN = ["train", "l2hmc", "--theory", "u1", "--beta", "2", "--shape", "4", "4", "--layers", "2", "--chains", "4"]


def test_train_resume_sample_and_validate_a_model(capsys, tmp_path):
    model = tmp_path / "model"
    assert main([*TRAIN, "--steps", "4", "--out", str(model)]) == 0
    assert sorted(path.name for path in model.iterdir()) == ["checkpoint.npz", "weights.npz"]
    before = (model / "weights.npz").read_bytes()
    assert main(["train", "l2hmc", "--resume", "--out", str(model)]) == 0  # nothing left to do: the same bytes
    assert (model / "weights.npz").read_bytes() == before
    sample = ["sample", "u1", "--beta", "2", "--shape", "4", "4", "--trajectories", "5", "--chains", "3"]
    kernel = ["--kernel", "l2hmc", "--model", str(model), "--cycle", "2", "--out", str(tmp_path / "run")]
    assert main([*sample, *kernel]) == 0
    assert chains.load(tmp_path / "run")["charge"].shape == (5, 3)
    assert "accepted/L2HMC" in chains.load(tmp_path / "run")  # two updates of HMC, and its own
    assert main(["validate", f"model:{model}", "-k", "maps.*", "--level", "smoke"]) == 0
    assert "model in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--units", "5,4", "--activation", "tanh"], ("dense", (5, 4))),
        (["--filters", "3"], ("conv", ())),
        (["--net", "stencil", "--filters", "2", "--rank", "1"], ("stencil", ())),
        (["--net", "scalars", "--winding", "1"], ("scalars", ())),
    ],
)
def test_train_options_make_the_net(tmp_path, extra, expected):
    from refimpl.training import load_model

    assert main([*TRAIN, "--steps", "2", *extra, "--out", str(tmp_path / "m")]) == 0
    net = load_model(tmp_path / "m")[0].architecture.v_net
    assert (net.kind, net.units) == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "l2hmc", "--out", "OUT"], "--theory: got nothing"),
        (["train", "l2hmc", "--theory", "u1", "--beta", "2", "--out", "OUT"], "--shape: got nothing"),
        ([*TRAIN, "--length", "4", "--out", "OUT"], "--length: got it for theory u1"),
        ([*TRAIN, "--loss", "speed", "--out", "OUT"], "loss: got 'speed', expected one of"),
        ([*TRAIN, "--units", "4", "--activation", "cube", "--out", "OUT"], "activation: got 'cube'"),
        (["train", "l2hmc", "--resume", "--out", "OUT"], "weights.npz"),
        (["sample", "gmm", "--kernel", "flux", "--out", "OUT"], "invalid choice: 'flux'"),
        (
            ["sample", "gmm", "--kernel", "l2hmc", "--out", "OUT"],
            "--model: got nothing, expected the folder of a model",
        ),
        (["reproduce", "wonders"], "NAME: got 'wonders', expected one of"),
        (
            ["validate", "model:OUT"],
            "weights.npz: got no such file, expected a folder made by refimpl train l2hmc, refimpl train flow or refimpl "
            "train joint",
        ),
    ],
)
def test_bad_training_and_sampling_options(capsys, tmp_path, argv, message):
    out = str(tmp_path / "out")
    code, _, error = run(capsys, *(word.replace("OUT", out) for word in argv))
    assert code in (2, 3)
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_training_that_diverges_exits_1_and_keeps_its_checkpoint(capsys, tmp_path):
    out = tmp_path / "m"
    assert main([*TRAIN, "--steps", "4", "--step-size", "1e200", "--out", str(out)]) == 1
    assert "training stopped at step 0: every proposal diverges" in capsys.readouterr().err
    assert (out / "checkpoint.npz").exists()


def test_exact_answers_of_every_theory(capsys):
    for argv, shown in (
        (["o2", "--beta", "2", "--length", "8"], "bond_cosine                 0.7216281226"),
        (["gaussian", "--covariance", "[[1, 0.5], [0.5, 2]]"], "x_1^2                       2"),
        (["gmm"], "x_0^2                       4.1"),
    ):
        assert main(["exact", *argv]) == 0
        assert shown in capsys.readouterr().out


def test_exact_answers_of_sun(capsys):
    code, out, _ = run(capsys, "exact", "su3", "--beta", "6", "--shape", "8", "8", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["plaquette"] == content["wilson_loop_1x1"] == sun.plaquette(6.0, (8, 8), 3)
    assert content["shape"] == [8, 8]
    code, out, _ = run(capsys, "exact", "su2", "--beta", "6", "--shape", "8", "8")
    assert code == 0
    assert "two-dimensional SU(2): beta = 6.0" in out
    assert "plaquette                   0.762726077181649" in out
    assert run(capsys, "exact", "su3", "--beta", "600", "--shape", "8", "8")[0] == 2
    assert "expected at most 100" in run(capsys, "exact", "su3", "--beta", "600", "--shape", "8", "8")[2]


def test_reproduce_lists_and_runs(capsys, tmp_path):
    assert main(["reproduce"]) == 0
    assert "freezing" in capsys.readouterr().out
    assert main(["reproduce", "reversibility", "--quick"]) == 0
    assert "wrapped scaling" in capsys.readouterr().out


def test_exact_answers_with_fermions(capsys):
    from refimpl.exact.schwinger_2x2 import two_by_two

    model = ("exact", "schwinger", "--beta", "2", "--kappa")
    code, out, _ = run(capsys, *model, "0.265", "--shape", "2", "2", "--json")
    assert code == 0
    exact = two_by_two(2.0, 0.265)
    assert json.loads(out)["plaquette"] == exact.plaquette
    assert json.loads(out)["charge_distribution"]["-1"] == exact.charge_distribution[-1]
    assert "p(Q = +-1)" in run(capsys, *model, "0.265", "--shape", "2", "2")[1]
    without = json.loads(run(capsys, *model, "0", "--shape", "4", "4", "--json")[1])
    assert without["plaquette"] == u1.plaquette(2.0, (4, 4))
    sampled = [*model, "0.265", "--shape", "2", "3", "--samples", "100", "--seed", "5"]
    table, record = run(capsys, *sampled)[1], json.loads(run(capsys, *sampled, "--json")[1])
    assert 0 < record["effective_fraction"] < 1
    assert record["charge_squared"] > 0 < record["errors"]["charge_squared"]
    assert re.search(rf"plaquette +{record['plaquette']:.3f}\(\d\d\)\n", table)
    assert record["errors"]["plaquette"] > 0.00095  # or it would have a fourth digit
    assert "samples = 100, seed = 5" in table


def test_exact_answers_of_sun_with_fermions(capsys):
    sampled = ("exact", "su2", "--beta", "1", "--kappa", "0.1", "--shape", "2", "2")
    record = json.loads(run(capsys, *sampled, "--samples", "50", "--json")[1])
    assert record["samples"] == 50
    assert record["errors"]["plaquette"] > 0
    assert re.search(r"plaquette +0\.\d+\(\d\d\)\n", run(capsys, *sampled, "--samples", "50")[1])
    code, _, err = run(capsys, *sampled, "--samples", "5")
    assert code == 2
    assert re.search(
        r"--samples: got 5, as good as [\d.]+ without weights; expected as good as 10: some \d+ samples", err
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.73624, 0.00123, "0.7362(12)"),
        (0.73624, 0.000996, "0.7362(10)"),  # the error rounds up to a power of ten
        (12.345, 1.26, "12.3(1.3)"),
        (1234.5, 26.0, "1234(26)"),
        (12345.0, 260.0, "12345(260)"),
        (-0.5, 0.1, "-0.50(10)"),
        (0.5, 0.0, "0.5"),
    ],
)
def test_an_error_has_two_digits(value, error, text):
    from refimpl.cli.answers import with_error

    assert with_error(value, error) == text


def test_no_charge_in_the_samples_is_an_upper_limit(capsys):
    frozen = ("exact", "schwinger", "--beta", "31", "--kappa", "0.2", "--shape", "4", "4", "--samples", "100")
    _, table, _ = run(capsys, *frozen)
    record = json.loads(run(capsys, *frozen, "--json")[1])
    limit = 3 / (100 * record["effective_fraction"])  # no event: fewer than 3 are expected, with 95 %
    assert record["charge_squared"] is None
    assert record["errors"]["charge_squared"] is None
    assert record["upper_limits"] == {"charge_squared": pytest.approx(limit)}
    assert "no sample has charge" in record["notes"][0]
    assert f"charge_squared              < {limit:#.2g}" in table
    assert "no sample has charge" in table
    assert "+-" not in table


def test_few_charged_samples_are_told(capsys):
    few = ("exact", "schwinger", "--beta", "3", "--kappa", "0.2", "--shape", "4", "4", "--samples", "60", "--seed", "1")
    _, table, _ = run(capsys, *few)
    record = json.loads(run(capsys, *few, "--json")[1])
    assert record["errors"]["charge_squared"] > 0.3 * record["charge_squared"]
    assert "samples with charge: its error is uncertain" in record["notes"][0]
    assert record["notes"][0] in table
    many = ("exact", "schwinger", "--beta", "1", "--kappa", "0.2", "--shape", "3", "3", "--samples", "200", "--json")
    assert json.loads(run(capsys, *many)[1])["notes"] == []


def test_exact_schwinger_defines_what_it_prints(capsys):
    from refimpl.exact.schwinger_2x2 import LARGEST_BETA

    _, text, _ = run(capsys, "exact", "schwinger", "--help")
    words = " ".join(text.split())
    for shown in (
        "condensate: <Re tr D^-1>", "sum over all source and sink sites", "charge_susceptibility: charge_squared/(T X)",
        "winding_ceiling:", f"at most {LARGEST_BETA:g}", "antiperiodic in time", '"errors"',
    ):  # fmt: skip
        assert shown in words
    assert "%%" not in words
    assert "winding_ceiling:" in run(capsys, "exact", "u1", "--help")[1]
    assert "antiperiodic in time" in " ".join(run(capsys, "sample", "schwinger", "--help")[1].split())
    argv = "exact schwinger --beta 2 --kappa 0 --shape 4 4 --json"
    without = json.loads(run(capsys, *argv.split())[1])
    assert without["charge_squared"] == 16 * without["charge_susceptibility"] > 0


def test_reweighting_shows_progress_on_a_terminal(capsys, monkeypatch):
    import tqdm

    shown = []
    monkeypatch.setattr(tqdm.tqdm, "update", lambda bar, n=1: shown.append(n))
    argv = "exact schwinger --beta 1 --kappa 0.1 --shape 12 12 --samples 300"
    assert run(capsys, *argv.split())[0] == 0
    assert sum(shown) == 300
    assert len(shown) > 5


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


def test_a_run_on_a_terminal_shows_its_bar_before_the_first_segment_ends(tmp_path, monkeypatch):
    from refimpl.chains import running

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(running, "FIRST_SHOWN", 0.02)
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = []
    monkeypatch.setattr(running, "wait", lambda *a, **k: shown.append(sys.stderr.getvalue()) or wait(*a, **k))
    by_library_run(tmp_path / "run", 3, progress=True, workers=1, observables={"slow": slow})
    assert any("chains:   0%" in text for text in shown)


def slow(x):
    """A measurement that takes a while."""
    time.sleep(0.1)
    return x.reshape(len(x), -1)[:, 0].real


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exact schwinger --beta 2 --kappa -1 --shape 2 2", "argument --kappa"),
        ("exact schwinger --beta 2 --shape 2 2", "--kappa"),
        ("exact schwinger --beta 99 --kappa 0.1 --shape 2 2", "expected a number from 0 to 30"),
        ("exact schwinger --beta 2 --kappa 0.1 --shape 2 2 --samples 9", "by quadrature; leave it out"),
        ("exact schwinger --beta 2 --kappa 0 --shape 4 4 --samples 9", "a sum; leave it out"),
        (
            "exact su2 --beta 2 --shape 2 2 --samples 9",
            "--samples: got it without fermions, where every answer is a sum; leave it out",
        ),
    ],
)
def test_exact_with_fermions_refuses(capsys, command, message):
    code, _, err = run(capsys, *command.split())
    assert code == 2
    assert message in err
