"""The command ``sample``: runs, resumed ones, starts, kernels, and a full disk."""

import argparse
import functools
import io
import json
import re
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from refimpl import chains
from refimpl.actions import WilsonSUN, WilsonU1, hasenbusch
from refimpl.cli import main
from refimpl.kernels import HMC, Level, NestedHMC, PureGauge
from refimpl.maps import OMELYAN
from refimpl.theories import pure_gauge_beta
from tests.commands import TRAIN, run
from tests.runs import run as by_library_run

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


def test_an_interrupted_sample_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("refimpl.chains.running.wait", interrupted)
        code, _, err = run(capsys, *SAMPLE, "--out", str(tmp_path / "run"))
    assert code == 130
    assert err.strip().endswith(f"refimpl sample --resume {tmp_path / 'run'} goes on")


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
