"""The command ``train l2hmc``, and what is done with its models."""

import pytest

from refimpl import chains
from refimpl.cli import main
from tests.commands import TRAIN, run


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


def test_an_interrupted_training_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    from refimpl import training

    monkeypatch.setattr(training, "fit", interrupted)
    code, _, err = run(capsys, *TRAIN, "--out", str(tmp_path / "m"))
    assert code == 130
    assert f"refimpl train l2hmc --resume --out {tmp_path / 'm'} goes on" in err
