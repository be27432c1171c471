"""The commands for phi^4: exact answers, runs with their kernels, starts and tuning, and what they refuse."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from refimpl import chains, theories
from refimpl.cli import main
from refimpl.exact import free_scalar, phi4
from refimpl.kernels import HMC, FourierHMC
from refimpl.maps import OMELYAN
from tests.commands import run

COUPLINGS = ("--m2", "0.1", "--lam", "24", "--shape")
SIZES = ("--chains", "4", "--executor", "thread", "--trajectories")


def test_exact_answers_are_those_of_the_library(capsys):
    code, out, _ = run(capsys, "exact", "phi4", *COUPLINGS, "5", "2", "--json")
    assert code == 0
    content, expected = json.loads(out), phi4.answers(0.1, 24.0, (5, 2))
    assert content.pop("shape") == [5, 2]
    assert content.pop("correlator") == expected.correlator.tolist()
    assert content == {
        "m2": 0.1, "lam": 24.0, "magnetisation": 0.0,
        "log_partition": expected.log_partition, "phi_squared": expected.phi_squared, "phi_fourth": expected.phi_fourth,
        "magnetisation_squared": expected.susceptibility / 10, "magnetisation_fourth": expected.magnetisation_fourth,
        "susceptibility": expected.susceptibility, "binder": expected.binder, "gap": expected.gap, "error": expected.error,
    }  # fmt: skip
    code, out, _ = run(capsys, "exact", "phi4", *COUPLINGS, "5", "1")
    assert code == 0
    assert f"correlator_2                {phi4.answers(0.1, 24.0, (5, 1)).correlator[2]:.15g}" in out
    assert "correlator_3" not in out  # the same as at 2
    assert "correlator_1" not in run(capsys, "exact", "phi4", *COUPLINGS, "1", "5")[1]  # time is the first extent


def test_exact_answers_of_free_fields_and_of_a_site(capsys):
    _, out, _ = run(capsys, "exact", "phi4", "--m2", "0.3", "--lam", "0", "--shape", "7", "5", "--json")
    content = json.loads(out)
    assert content["absolute_magnetisation"] == free_scalar.absolute_magnetisation(0.3, (7, 5))
    assert content["correlator"] == pytest.approx(free_scalar.correlator(0.3, (7, 5)).tolist(), rel=1e-12)
    _, out, _ = run(capsys, "exact", "phi4", "--m2", "-1", "--lam", "6", "--shape", "1", "1")
    assert f"phi_squared                 {phi4.answers(-1.0, 6.0, (1, 1)).phi_squared:.15g}" in out
    assert "gap" not in out  # a quadrature has none


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", None])
def test_exact_starts_again_in_one_thread_unless_the_environment_says_how_many(capsys, monkeypatch, name):
    for variable in [variable for variable in os.environ if variable.endswith("_NUM_THREADS")]:
        monkeypatch.delenv(variable)
    if name is not None:
        monkeypatch.setenv(name, "2")
    words, again = ["exact", "phi4", *COUPLINGS, "1", "2"], []
    monkeypatch.setattr(sys, "argv", ["refimpl", *words])
    monkeypatch.setattr(os, "execve", lambda path, argv, environment: again.append((path, argv, environment)))
    assert main() == 0
    if name is not None:
        assert again == []
        return
    ((path, argv, environment),) = again
    assert [path, *argv[1:]] == [sys.executable, "-m", "refimpl", *words]
    assert environment == os.environ | {"OMP_NUM_THREADS": "1"}
    again.clear()
    assert main(words) == 0  # a program that calls it is not replaced
    assert again == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("exact phi4 --m2 0.1 --lam 24 --shape 8 8", "--shape: got 8 8 at lam = 24, expected an extent of 1 or 2, or --lam 0"),
        ("exact phi4 --m2 0.1 --shape 8 8", "--lam: got nothing, expected it for theory phi4"),
        ("exact phi4 --m2 -0.1 --lam 0 --shape 8 8", "m2: got -0.1 at lam = 0, expected a number > 0"),
        ("exact phi4 --m2 nan --lam 1 --shape 8 2", "argument --m2: got 'nan', expected a finite number"),
        ("exact phi4 --m2 1 --lam -1 --shape 8 2", "argument --lam: got '-1', expected a finite number >= 0"),
        ("exact phi4 --m2 1 --lam 1 --shape 8 0", "argument --shape: got '0', expected an integer of at least 1"),
        ("exact phi4 --m2 1e-6 --lam 1e-9 --shape 4 2", "where the field spreads over more points than fit"),
        (
            "sample phi4 --m2 0.1 --lam 24 --shape 12 12 --start exact --out x",
            "--start: got exact for phi4 with m2 = 0.1, lam = 24.0, shape = [12, 12], expected one of free, hot, cold",
        ),
        ("sample phi4 --m2 0.1 --lam 24 --shape 4 4 --start gauge --out x", "invalid choice: 'gauge'"),
        ("sample phi4 --m2 0.1 --lam 24 --shape 4 4 --mass2 2 --out x", "--mass2: got 2.0 with --kernel hmc"),
        ("sample phi4 --m2 0.1 --lam 24 --shape 4 4 --kernel fourier --mass2 0 --out x", "argument --mass2: got '0'"),
        ("sample phi4 --m2 0.1 --lam 24 --shape 4 4 --kernel winding --out x", "invalid choice: 'winding'"),
        ("sample u1 --beta 2 --shape 4 4 --kernel fourier --out x", "invalid choice: 'fourier'"),
        ("sample u1 --beta 2 --shape 1 4 --out x", "argument --shape: got '1', expected an integer of at least 2"),
    ],
)  # fmt: skip
def test_bad_usage_is_told(capsys, argv, message):
    code, _, err = run(capsys, *argv.split())
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kernel", ["hmc", "fourier"])
def test_a_run_is_sampled_resumed_and_analysed(capsys, tmp_path, kernel):
    words = ("sample", "phi4", *COUPLINGS, "3", "1", "--kernel", kernel, *SIZES)
    part, whole = tmp_path / "part", tmp_path / "whole"
    assert run(capsys, *words, "8", "--out", str(part))[0] == 0
    assert run(capsys, "sample", "--resume", str(part), "--executor", "thread", "--trajectories", "20")[0] == 0
    code, text, _ = run(capsys, *words, "20", "--out", str(whole))
    assert code == 0
    assert "Distribution of the sign" in text
    assert "20 trajectories of 4 chains" in text
    series, other = chains.load(part), chains.load(whole)
    assert set(series) == {
        *theories.phi4(0.1, 24.0, (3, 1)).observables, "sign", "accepted", "delta_h",
    } - {"magnetisation^2"}  # fmt: skip
    assert all(np.array_equal(series[name], other[name]) for name in series)
    code, text, _ = run(capsys, "analyse", str(whole), "--format", "json")
    assert code == 0
    found = {e["name"]: e for e in json.loads(text)["estimates"]}
    exact = phi4.answers(0.1, 24.0, (3, 1))
    assert found["phi^2"]["exact"] == exact.phi_squared
    assert found["correlator_1"]["exact"] == exact.correlator[1]
    assert found["magnetisation^2"]["exact"] == exact.susceptibility / 3
    assert found["magnetisation"]["exact"] == found["sign"]["exact"] == 0
    assert json.loads(text)["sector"]["exact"] == [0.5, 0.5]


def test_kernels_are_what_the_options_say():
    from refimpl.cli import kernels

    theory = theories.phi4(0.1, 24.0, (4, 6))

    def kernel(text):
        parser = argparse.ArgumentParser()
        kernels.kernel_options(parser, "phi4")
        configuration = kernels.kernel_configuration(parser.parse_args(text.split()), theory)
        return kernels.kernel_from(json.loads(json.dumps(configuration)), theory, Path())

    assert kernel("") == HMC(theory.action, 0.15, 10)
    assert kernel("--kernel fourier") == FourierHMC(theory.action, 0.15, 10, phi4.free_mass(0.1, 24.0, (4, 6)), 1.0)
    options = "--kernel fourier --mass2 2 --stiffness 0 --integrator omelyan --steps 3 --step-size 0.5"
    assert kernel(options) == FourierHMC(theory.action, 0.5, 3, 2.0, 0.0, OMELYAN)


def test_starts_are_equilibrium_where_they_can_be_and_otherwise_told(capsys, tmp_path):
    words = ("sample", "phi4", *COUPLINGS)
    assert run(capsys, *words, "1", "3", *SIZES, "2", "--out", str(tmp_path / "small"))[0] == 0
    assert chains.read_manifest(tmp_path / "small")["configuration"]["start"] == "exact"
    code, _, err = run(capsys, *words, "12", "12", *SIZES, "2", "--out", str(tmp_path / "large"))
    assert code == 0
    assert f"start: free fields of mass squared {phi4.free_mass(0.1, 24.0, (12, 12)):.4g}, the closest" in err
    assert chains.read_manifest(tmp_path / "large")["configuration"]["start"] == "free"


def test_fourier_acceleration_is_tuned(capsys, tmp_path, monkeypatch):
    from refimpl import tuning
    from refimpl.cli import sampling

    monkeypatch.setattr(tuning, "tune", functools.partial(tuning.tune, adaptation=6))
    monkeypatch.setattr(tuning, "largest_tau", functools.partial(tuning.largest_tau, trajectories=12))
    monkeypatch.setattr(sampling, "TUNING_STEPS", (1, 2))
    monkeypatch.setattr(sampling, "TUNING_CHAINS", 4)
    words = ("sample", "phi4", *COUPLINGS, "1", "4", "--kernel", "fourier", "--mass2", "2.5", "--tune", *SIZES, "2")
    code, _, err = run(capsys, *words, "--out", str(tmp_path / "run"))
    assert code == 0
    assert "tuned by phi^2, |magnetisation|:" in err
    kernel = chains.read_manifest(tmp_path / "run")["kernel"]
    assert kernel["class"] == "FourierHMC"
    assert kernel["mass2"] == 2.5
    assert kernel["n_steps"] in (1, 2)
    assert kernel["step_size"] not in (0.1, 0.15)


def test_the_help_says_where_errors_are_absolute(capsys):
    _, out, _ = run(capsys, "exact", "phi4", "--help")
    assert "relative to each answer (absolute for gap and log_partition where they are below 1)" in " ".join(
        out.split()
    )
