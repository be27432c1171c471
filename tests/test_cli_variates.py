"""The command ``fit-cv``: what it prints, keeps and refuses."""

import json

import numpy as np
import pytest

from refimpl import exact
from refimpl.cli import main

PHI4 = ["phi4", "--m2", "0.1", "--lam", "24", "--shape", "10", "2", "--observable", "correlator_5"]
U1 = ["u1", "--beta", "2", "--shape", "4", "4", "--observable", "wilson_loop_2x2"]
FEW = ["--train", "300", "--test", "300"]


def fitted(capsys, *arguments):
    assert main(["fit-cv", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_fit_is_exact_within_its_much_smaller_error(capsys):
    found = fitted(capsys, *PHI4, *FEW)
    assert found["exact"] == pytest.approx(exact.phi4.answers(0.1, 24.0, (10, 2)).correlator[5], rel=1e-12)
    assert abs(found["value"] - found["exact"]) < 6 * found["error"]  # heavy tails: six errors, one fixed seed
    assert found["error"] < found["raw_error"] / 50
    assert (found["n"], found["observable"]) == (300, "correlator_5")


def test_a_variate_is_kept_and_used_again(capsys, tmp_path):
    path = tmp_path / "variate.npz"
    first = fitted(capsys, *PHI4, *FEW, "--save", str(path))
    again = fitted(capsys, "--load", str(path), "--seed", "5")
    assert again["value"] != first["value"]
    assert abs(again["value"] - again["exact"]) < 6 * again["error"]
    assert again["ratio"] > 50


def test_a_variate_is_not_judged_by_what_it_was_fitted_to(capsys, tmp_path):
    path, fields = tmp_path / "variate.npz", tmp_path / "fields.npy"
    np.save(fields, exact.phi4.sample(np.random.default_rng(1), 700, 0.1, 24.0, (10, 2)))
    mine = ["--configurations", str(fields)]
    first = fitted(capsys, *PHI4, "--train", "300", *mine, "--save", str(path))
    again = fitted(capsys, "--load", str(path), *mine)
    assert {**again, "method": ""} == {**first, "method": ""}
    assert "without the 300 configurations it was fitted to" in again["method"]
    np.save(fields, np.load(fields)[:301])
    assert main(["fit-cv", "--load", str(path), *mine]) == 2
    assert "of which 300 were fitted" in capsys.readouterr().err
    # What the command makes for itself is new for a variate that was saved, with the same seed too.
    own = fitted(capsys, *PHI4, *FEW, "--save", str(path))
    assert fitted(capsys, "--load", str(path))["raw_value"] != own["raw_value"]
    assert "without" not in fitted(capsys, "--load", str(path))["method"]


def test_configurations_of_another_coupling_are_noticed(capsys, tmp_path):
    np.save(tmp_path / "hot.npy", np.random.default_rng(1).uniform(-np.pi, np.pi, (200, 2, 4, 4)))
    arguments = [*U1, "--observable", "plaquette", "--train", "50", "--configurations", str(tmp_path / "hot.npy")]
    assert main(["fit-cv", *arguments]) == 1
    shown = capsys.readouterr()
    assert "errors from zero" in shown.err
    assert "infinite: it takes all of the variance" in shown.out  # rounding is left, of a ratio of 1e15


def test_a_variate_that_takes_everything_is_shown_as_such(capsys):
    arguments = ["u1", "--beta", "2", "--shape", "4", "4", "--observable", "plaquette", *FEW]
    assert main(["fit-cv", *arguments]) == 0
    assert "infinite: it takes all of the variance" in capsys.readouterr().out
    found = fitted(capsys, *arguments)
    assert found["value"] == pytest.approx(found["exact"], rel=1e-13)
    assert all(value is None or value == value for value in found.values())


@pytest.mark.parametrize("method", ["factorised", "linear", "free", "neural"])
def test_every_method_of_phi4_is_unbiased(capsys, method):
    steps = ["--steps", "200", "--layers", "1"] if method == "neural" else []
    found = fitted(capsys, *PHI4, *FEW, "--method", method, *steps)
    assert abs(found["value"] - found["exact"]) < 6 * found["error"]


@pytest.mark.parametrize("method", ["conditional-mean", "groups", "neural"])
def test_every_method_of_u1_is_unbiased(capsys, method):
    observable = ["--observable", "plaquette"] if method == "neural" else []
    found = fitted(
        capsys, *U1, *observable, *FEW, "--method", method, *(["--steps", "50"] if method == "neural" else [])
    )
    value = exact.u1.plaquette(2.0, (4, 4)) if observable else exact.u1.wilson_loop(2.0, (4, 4), 4)
    assert found["exact"] == pytest.approx(value, rel=1e-12)
    assert abs(found["value"] - found["exact"]) < 6 * found["error"]


@pytest.mark.parametrize("method", ["two-stage", "linear", "free", "neural"])
def test_a_ring_is_a_lattice_of_phi4(capsys, method):
    steps = ["--steps", "200", "--layers", "1"] if method == "neural" else []
    found = fitted(
        capsys,
        *PHI4[:5],
        "--shape",
        "6",
        "1",
        *PHI4[8:],
        *FEW,
        "--observable",
        "correlator_3",
        "--method",
        method,
        *steps,
    )
    assert found["exact"] == pytest.approx(exact.phi4.answers(0.1, 24.0, (6, 1)).correlator[3], rel=1e-12)
    assert abs(found["value"] - found["exact"]) < 6 * found["error"]


def test_folds_judge_all_configurations(capsys):
    found = fitted(capsys, *PHI4, "--train", "400", "--folds", "2")
    assert found["n"] == 400
    assert found["error"] < found["raw_error"] / 50


def test_configurations_of_a_run_and_of_a_file(capsys, tmp_path):
    run = tmp_path / "run"
    sample = [
        "sample",
        *PHI4[:8],
        "--kernel",
        "fourier",
        "--chains",
        "100",
        "--trajectories",
        "30",
        "--save-every",
        "5",
    ]
    assert main([*sample, "--executor", "thread", "--out", str(run)]) == 0
    capsys.readouterr()
    found = fitted(capsys, *PHI4, "--train", "300", "--configurations", str(run))
    assert found["n"] == 300
    assert abs(found["value"] - found["exact"]) < 6 * found["error"]
    rng = np.random.default_rng(1)
    np.save(tmp_path / "fields.npy", exact.phi4.sample(rng, 700, 0.1, 24.0, (10, 2)))
    assert fitted(capsys, *PHI4, "--train", "300", "--configurations", str(tmp_path / "fields.npy"))["n"] == 400


def test_the_table_shows_errors_with_their_digits(capsys):
    assert main(["fit-cv", *PHI4, *FEW]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    value, error = lines["with the variate"].split(" +- ")
    assert len(value.split(".")[1]) == 1 - int(np.floor(np.log10(float(error))))
    assert "kurtosis" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "THEORY: got nothing"),
        ([*PHI4, "--method", "linear", "--steps", "5"], "--steps: got it with linear"),
        ([*U1, "--method", "neural", "--layers", "2"], "--layers: got it for theory u1"),
        ([*PHI4, "--train", "5"], "got 5 for"),
        ([*PHI4, "--folds", "2", "--save", "x.npz"], "--folds: got it with --save"),
        ([*PHI4, "--observable", "correlator_11"], "t: got 11"),
        ([*PHI4, "--observable", "charge"], "name: got 'charge'"),
        ([*PHI4, "--observable", "plaquette"], "got plaquette, expected a Correlator (correlator_T)"),
        ([*U1, "--observable", "phi^2"], "observable: got phi^2, expected a Plaquette"),
        ([*U1, "--observable", "wilson_loop_0x1"], "extent_t: got 0, expected an integer of at least 1"),
        (
            [*PHI4, "--observable", "phi^2", "--method", "factorised"],
            "have the methods two-stage, linear, free and neural",
        ),
        ([*PHI4, "--shape", "10", "1", "--method", "factorised"], "shape: got (10, 1), expected extents of at least 2"),
        ([*PHI4, "--save", "/proc/x.npz"], "--save: got '/proc/x.npz', "),
        ([*PHI4, "--configurations", "nowhere.npy"], "nowhere.npy"),
        (["--load", "nowhere.npz"], "nowhere.npz"),
        ([*PHI4, "--save", "no/such/folder/x.npz"], "--save"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, words):
    assert main(["fit-cv", *arguments]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert len(shown.splitlines()) == 1


def test_foreign_configurations_are_refused(capsys, tmp_path):
    np.save(tmp_path / "links.npy", np.zeros((10, 2, 4, 4)))
    (tmp_path / "text.npy").write_text("no numbers")
    fields = np.zeros((400, 10, 2))
    fields[7, 1, 1] = np.nan
    np.save(tmp_path / "nan.npy", fields)
    for kind, dtype in (("complex128", complex), ("bool", bool), ("datetime64[s]", "M8[s]")):
        np.save(tmp_path / "kind.npy", np.zeros((400, 10, 2)).astype(dtype))
        assert main(["fit-cv", *PHI4, "--train", "300", "--configurations", str(tmp_path / "kind.npy")]) == 2
        assert f"--configurations: got dtype {kind}, expected real" in capsys.readouterr().err
    for name, words in (("links", "got shape (10, 2, 4, 4)"), ("text", ".npy"), ("nan", "not finite in field 7")):
        path = str(tmp_path / f"{name}.npy")
        assert main(["fit-cv", *PHI4, "--train", "300", "--configurations", path]) == 2
        assert words in capsys.readouterr().err
