"""``refimpl train flow`` and ``refimpl sample --kernel flow``."""

import numpy as np
import pytest

from refimpl import chains
from refimpl.kernels import IndependenceMetropolis, spawn_rngs
from refimpl.maps.coupling import AffineCoupling
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.plaquette_coupling import PlaquetteCoupling
from refimpl.maps.sun_coupling import SpectralCoupling
from refimpl.models import Haar, Normal, PureGauge, UniformAngles
from refimpl.theories import pure_gauge_beta
from refimpl.training import load_flow, load_flow_checkpoint
from tests.commands import run

U1 = "--theory u1 --beta 1 --shape 4 4 --layers 2 --hidden 2 --batch 4 --samples 16"


def train(capsys, out, options):
    return run(capsys, "train", "flow", *options.split(), "--out", str(out))


def test_a_training_is_printed_and_goes_on_bit_for_bit(capsys, tmp_path):
    once, parts = tmp_path / "once", tmp_path / "parts"
    code, out, err = train(capsys, once, f"{U1} --steps 4 --seed 5")
    assert (code, err) == (0, "")
    assert "4 steps; of the last 4: loss -" in out
    assert "of n = 4 draws (it falls with n)\n" in out
    assert out.endswith(f"in {once}\n")
    assert "16 draws: ESS/n" in out
    words = {line.split()[0]: line.split() for line in out.splitlines()[3:]}
    assert {"loss", "log", "plaquette", "charge^2"} <= words.keys()
    assert words["plaquette"][3] == "0.44639391"
    assert sorted(path.name for path in once.iterdir()) == ["checkpoint.npz", "weights.npz"]
    before = (once / "weights.npz").read_bytes()
    assert run(capsys, "train", "flow", "--resume", "--out", str(once))[0] == 0  # nothing left to do: the same bytes
    assert (once / "weights.npz").read_bytes() == before
    # A training that was interrupted after two steps.
    assert train(capsys, parts, f"{U1} --steps 4 --seed 5")[0] == 0
    interrupted(parts, 2)
    code, again, _ = run(capsys, "train", "flow", "--resume", "--out", str(parts))
    assert (code, again) == (0, out.replace(str(once), str(parts)))
    a, b = load_flow_checkpoint(once), load_flow_checkpoint(parts)
    assert np.array_equal(a.weights, b.weights)
    assert np.array_equal(a.average, b.average)
    assert (parts / "weights.npz").read_bytes() == before


def interrupted(folder, step):
    """The folder as it was when so many steps were done."""
    from dataclasses import replace

    from refimpl.training import fit_flow, flow_plan, save_flow, save_flow_checkpoint

    _, theory, recipe = load_flow(folder)
    plan = replace(flow_plan(theory, recipe.steps), layers=2, hidden=(2,), recipe=recipe, seed=recipe.seed)
    flow = plan.flow(theory)
    half = fit_flow(theory, flow, replace(recipe, steps=step))
    save_flow(folder, half.flow(flow), theory, recipe)
    save_flow_checkpoint(folder, half)


def test_options_are_those_of_the_flow_and_the_recipe(capsys, tmp_path):
    options = (
        "--base gauge:0.8 --pattern tiles --bins 3 --holonomies 1 --steps 3 --rate 0.01 --schedule staircase --decay 0.5 "
        "--rate-every 7 --warm-up 2 --weight-decay 0.01 --epsilon 0.02 --clip 3 --average 0.5 --anneal 0.5 "
        "--anneal-steps 2 --seed 9"
    )
    code, _, err = train(capsys, tmp_path / "m", f"{U1} {options}")
    assert (code, err) == (0, "")
    flow, _, recipe = load_flow(tmp_path / "m")
    assert flow.prior == PureGauge(0.8, (4, 4))
    kinds = [Holonomy, Holonomy, PlaquetteCoupling, Holonomy, Holonomy, PlaquetteCoupling, Holonomy, Holonomy]
    assert [type(layer) for layer in flow.map.layers] == kinds
    assert [layer.mu for layer in flow.map.layers[:2]] == [0, 1]
    coupling = flow.map.layers[5]
    assert (coupling.index, coupling.pattern, coupling.circle.bins, coupling.net.channels[1]) == (1, "tiles", 3, 2)
    assert flow.map.layers[0].circle.bins == 3
    rate = recipe.rate
    assert (rate.initial, rate.schedule, rate.decay, rate.every, rate.warm_up) == (0.01, "staircase", 0.5, 7, 2)
    assert (recipe.steps, recipe.batch, recipe.clip, recipe.average, recipe.seed) == (3, 4, 3.0, 0.5, 9)
    assert (recipe.weight_decay, recipe.epsilon) == (0.01, 0.02)
    assert (recipe.annealing.start, recipe.annealing.steps) == (0.5, 2)


@pytest.mark.parametrize(
    ("options", "prior", "layer"),
    [
        ("--theory u1 --beta 1 --shape 4 4", UniformAngles((4, 4)), PlaquetteCoupling),
        (
            "--theory schwinger --beta 1 --kappa 0.1 --shape 4 4",
            PureGauge(pure_gauge_beta(1.0, 0.1, (4, 4)), (4, 4)),
            Holonomy,
        ),
        ("--theory schwinger --beta 1 --kappa 0.1 --shape 4 4 --base uniform", UniformAngles((4, 4)), Holonomy),
        ("--theory phi4 --m2 1 --lam 1 --shape 4 6 --no-odd", Normal((4, 6)), AffineCoupling),
        ("--theory su2 --beta 1 --shape 4 4", Haar(2, (4, 4)), SpectralCoupling),
        ("--theory su3 --beta 1 --shape 4 8 --base gauge:0.5", PureGauge(0.5, (4, 8), 3), SpectralCoupling),
    ],
)
def test_every_theory_has_a_flow(capsys, tmp_path, options, prior, layer):
    code, out, err = train(capsys, tmp_path / "m", f"{options} --layers 1 --hidden 2 --batch 2 --steps 2 --samples 4")
    assert (code, err) == (0, "")
    assert ("phi^2" if "phi4" in options else "plaquette") in out
    flow = load_flow(tmp_path / "m")[0]
    assert flow.prior == prior
    assert isinstance(flow.map.layers[0], layer)
    assert getattr(flow.map.layers[0], "odd", False) is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--steps 3", "--theory: got nothing, expected one of phi4, u1"),
        ("--theory u1 --beta 1", "--shape: got nothing"),
        ("--theory u1 --beta 1 --shape 4 6", "shape: got extent X = 6, expected a multiple of 4"),
        ("--theory su2 --beta 1 --shape 6 4", "shape: got extent T = 6, expected a multiple of 4"),
        ("--theory phi4 --m2 1 --lam 1 --shape 5 4", "shape: got extent T = 5, expected an even extent"),
        ("--theory u1 --beta 1 --shape 4 4 --kappa 0.1", "--kappa: got it for theory u1"),
        ("--theory u1 --beta 1 --shape 4 4 --base gauge", "--base: got 'gauge', expected uniform or gauge:BETA"),
        ("--theory u1 --beta 1 --shape 4 4 --base gauge:-1", "base: got -1.0"),
        ("--theory u1 --beta 1 --shape 4 4 --average 1", "average: got 1.0"),
        ("--theory u1 --beta 1 --shape 4 4 --weight-decay -1", "weight_decay: got -1.0"),
        ("--theory u1 --beta 1 --shape 4 4 --bins 1", "bins: got 1"),
        ("--theory u1 --beta 1 --shape 4 4 --anneal-steps 3", "--anneal-steps: got 3 without --anneal"),
        ("--theory su2 --beta 1 --shape 4 4 --holonomies 1", "--holonomies: got 1 for su2, expected it with u1, schwinger"),
        ("--theory phi4 --m2 1 --lam 1 --shape 4 4 --pattern tiles", "--pattern: got 'tiles' for phi4"),
        ("--theory u1 --beta 1 --shape 4 4 --odd", "--odd: got True for u1, expected it with phi4"),
        ("--theory o2", "invalid choice: 'o2'"),
        ("--theory u1 --beta 1 --shape 4 4 --decay 0.5", "--decay: got 0.5 with the schedule cosine"),
        ("--theory u1 --beta 1 --shape 4 4 --schedule constant --rate-every 5", "--rate-every: got 5 with the schedule constant"),
        ("--theory u1 --beta 1 --shape 4 4 --schedule staircase", "--decay: got nothing, expected a number"),
        ("--theory u1 --beta 1 --shape 4 4 --schedule exponential", "--decay: got nothing, expected a number"),
        ("--theory u1 --beta 1 --shape 4 4 --schedule staircase --decay 0.5", "--rate-every: got nothing"),
        ("--theory u1 --beta 1 --shape 4 4 --steps 5 --warm-up 6", "--warm-up: got 6, expected at most the 5 steps"),
        ("--theory u1 --beta 1 --shape 4 4 --samples 1", "samples: got 1"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_any_work(capsys, tmp_path, options, message):
    code, _, err = train(capsys, tmp_path / "m", options)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1 or "usage" in err
    assert not (tmp_path / "m").exists()


def test_what_cannot_go_on_is_refused(capsys, tmp_path):
    assert train(capsys, tmp_path / "m", f"{U1} --steps 1")[0] == 0
    resume = ["train", "flow", "--resume", "--out", str(tmp_path / "m")]
    assert "--rate: got it with --resume" in run(capsys, *resume, "--rate", "1")[2]
    for option in ("--seed", "--samples", "--steps"):
        assert f"{option}: got it with --resume, expected only --out" in run(capsys, *resume, option, "3")[2]
    assert "exists already" in train(capsys, tmp_path / "m", f"{U1} --steps 1")[2]
    (tmp_path / "m" / "checkpoint.npz").write_bytes(b"damaged")
    code, _, err = run(capsys, *resume)
    assert code == 2
    assert "checkpoint.npz: got a file that cannot be read" in err
    assert "its flow can be used as weights.npz has it" in err
    (tmp_path / "m" / "weights.npz").write_bytes(b"damaged")
    assert "has to be trained anew" in run(capsys, *resume)[2]
    assert "weights.npz: got no such file" in run(capsys, "train", "flow", "--resume", "--out", str(tmp_path / "n"))[2]


def test_an_interrupted_training_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    from refimpl import training

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_flow", interrupt)
    code, _, err = train(capsys, tmp_path / "m", f"{U1} --steps 3")
    assert code == 130
    assert f"refimpl train flow --resume --out {tmp_path / 'm'} goes on" in err


def test_a_training_that_diverges_exits_1_and_keeps_its_checkpoint(capsys, tmp_path):
    code, _, err = train(capsys, tmp_path / "m", f"{U1} --steps 9 --rate 1e200")
    assert code == 1
    assert "training stopped at step 1" in err
    assert load_flow_checkpoint(tmp_path / "m").step == 0


def test_a_coupling_without_exact_values_is_refused_before_the_training(capsys, tmp_path):
    code, _, err = run(
        capsys,
        *["train", "flow", "--theory", "u1", "--beta", "300", "--shape", "4", "4", "--steps", "2", "--out"],
        str(tmp_path / "m"),
    )
    assert (code, err) == (2, "refimpl: beta: got 300.0, expected a number from 0 to 200\n")
    assert not (tmp_path / "m").exists()


def test_an_interruption_while_modules_are_loaded_is_one_line(capsys, monkeypatch):
    import builtins

    plain = builtins.__import__

    def interrupted_import(name, *args, **kwargs):
        if name == "refimpl.validation":
            raise KeyboardInterrupt
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", interrupted_import)
    assert run(capsys, "train", "flow", "--out", "x") == (130, "", "refimpl: interrupted\n")


def test_chains_of_a_flow_begin_with_its_draws_where_there_is_no_exact_sampler(capsys, tmp_path):
    model, out = tmp_path / "model", tmp_path / "run"
    theory = "--m2 -4 --lam 48 --shape 8 8"
    options = f"--theory phi4 {theory} --layers 1 --hidden 2 --batch 2 --steps 1 --samples 4"
    assert train(capsys, model, options)[0] == 0
    argv = ["sample", "phi4", *theory.split(), "--chains", "3", "--trajectories", "2", "--seed", "4"]
    assert (
        run(capsys, *argv, "--kernel", "flow", "--model", str(model), "--out", str(out), "--executor", "thread")[0] == 0
    )
    manifest = chains.read_manifest(out)
    assert manifest["configuration"]["start"] == "flow"
    x = load_flow(model)[0].sample(np.random.default_rng([4, 1]), 3)[0]
    assert np.array_equal(np.load(out / chains.folder.START)["x"], x)
    (model / "weights.npz").unlink()
    assert run(capsys, "sample", "--resume", str(out), "--trajectories", "3", "--executor", "thread")[0] == 0
    code, _, err = run(capsys, *argv, "--start", "flow", "--out", str(tmp_path / "other"))
    assert code == 2
    assert "--start: got flow with --kernel hmc, expected it with --kernel flow only" in err


# --- sample -----------------------------------------------------------------------------------------------------------
SAMPLE = "sample u1 --beta 1.5 --shape 4 4 --kernel flow --chains 5 --seed 3"


@pytest.fixture
def model(capsys, tmp_path):
    out = tmp_path / "model"
    assert train(capsys, out, f"{U1} --steps 2")[0] == 0
    return out


def test_chains_of_a_flow_have_the_same_bits_for_all_workers_and_go_on_without_the_model(capsys, tmp_path, model):
    one, two = tmp_path / "one", tmp_path / "two"
    argv = [*SAMPLE.split(), "--model", str(model)]
    code, out, err = run(
        capsys, *argv, "--trajectories", "6", "--workers", "1", "--executor", "thread", "--out", str(one)
    )
    assert code == 0
    assert "the model was trained at {'beta': 1.0, 'shape': [4, 4]}: exact here too" in err
    assert "plaquette" in out
    assert run(capsys, *argv, "--trajectories", "4", "--workers", "2", "--out", str(two))[0] == 0
    content = (model / "weights.npz").read_bytes()
    (model / "weights.npz").unlink()
    assert (two / "model" / "weights.npz").read_bytes() == content
    assert run(capsys, "sample", "--resume", str(two), "--trajectories", "6", "--workers", "2")[0] == 0
    first, second = chains.load(one), chains.load(two)
    for name, values in first.items():
        assert np.array_equal(values, second[name]), name
    flow, _, _ = load_flow(two / "model")
    from refimpl import theories

    theory = theories.u1(1.5, (4, 4))
    kernel = IndependenceMetropolis(theory.action, flow)
    state = kernel.init(theory.sample(np.random.default_rng([3, 1]), 5))
    rngs = spawn_rngs(np.random.SeedSequence([3, 0]), 5)
    for accepted in first["accepted"]:
        state, info = kernel.step(rngs, state)
        assert np.array_equal(info.accepted, accepted)


def test_a_flow_and_hmc_in_turn(capsys, tmp_path, model):
    argv = [
        *SAMPLE.split(),
        "--model",
        str(model),
        "--cycle",
        "2",
        "--steps",
        "3",
        "--executor",
        "thread",
        "--trajectories",
        "2",
    ]
    assert run(capsys, *argv, "--out", str(tmp_path / "run"))[0] == 0
    found = chains.load(tmp_path / "run")
    assert [name for name in found if name.startswith("accepted")] == [
        "accepted/HMC-1", "accepted/HMC-2", "accepted/IndependenceMetropolis",
    ]  # fmt: skip


def test_hmc_through_a_flow(capsys, tmp_path, model):
    argv = [
        "sample",
        "u1",
        "--beta",
        "1",
        "--shape",
        "4",
        "4",
        "--kernel",
        "flow-hmc",
        "--chains",
        "3",
        "--executor",
        "thread",
    ]
    sizes = ["--model", str(model), "--steps", "2", "--trajectories"]
    assert run(capsys, *argv, *sizes, "2", "--out", str(tmp_path / "run"))[0] == 0
    manifest = chains.read_manifest(tmp_path / "run")
    assert (manifest["kernel"]["class"], manifest["configuration"]["step_size"]) == ("FieldTransformationHMC", 0.05)
    assert (
        run(capsys, "sample", "--resume", str(tmp_path / "run"), "--trajectories", "4", "--executor", "thread")[0] == 0
    )
    assert run(capsys, *argv, *sizes, "4", "--out", str(tmp_path / "whole"))[0] == 0
    assert np.array_equal(chains.load(tmp_path / "run")["plaquette"], chains.load(tmp_path / "whole")["plaquette"])
    _, _, err = run(capsys, *argv, *sizes, "4", "--cycle", "2", "--out", str(tmp_path / "x"))
    assert "--cycle: got 2 with --kernel flow-hmc, expected it with l2hmc or flow only" in err


def test_a_flow_of_another_lattice_or_theory_is_refused(capsys, tmp_path, model):
    for argv, message in [
        ("u1 --beta 1 --shape 4 8", "expected u1 with (2, 4, 8)"),
        ("schwinger --beta 1 --kappa 0.1 --shape 4 4", "got a flow for u1 with fields (2, 4, 4), expected schwinger"),
        ("su2 --beta 1 --shape 4 4", "expected su2 with (2, 4, 4, 2, 2)"),
    ]:
        words = ["sample", *argv.split(), "--kernel", "flow", "--out", str(tmp_path / "run")]
        code, _, err = run(capsys, *words, "--model", str(model))
        assert code == 2
        assert message in err
        assert not (tmp_path / "run").exists()
    code, _, err = run(capsys, *SAMPLE.split(), "--out", str(tmp_path / "run"))
    assert "--model: got nothing, expected the folder of a model for --kernel flow" in err
    code, _, err = run(capsys, *SAMPLE.split(), "--out", str(tmp_path / "run"), "--model", str(model), "--steps", "3")
    assert "--steps: got it without HMC, expected --cycle N with it" in err
    words = ["sample", "u1", "--beta", "1", "--shape", "4", "4", "--kernel", "hmc", "--out", str(tmp_path / "run")]
    assert (
        "with --kernel hmc, expected it with l2hmc or flow or flow-hmc only"
        in run(capsys, *words, "--model", str(model))[2]
    )


def test_the_help_names_the_options(capsys):
    from refimpl.cli.flows import FLOW_THEORIES
    from refimpl.training.flow_plans import THEORIES

    assert FLOW_THEORIES == THEORIES
    text = " ".join(run(capsys, "train", "flow", "--help")[1].split())
    for shown in ("multiples of 4 for links", "uniform, or gauge:BETA", "--holonomies N", "goes on, bit for bit"):
        assert shown in text
