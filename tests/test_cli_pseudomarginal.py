"""``refimpl sample --kernel pseudomarginal``, and ``--kernel flow`` with a joint model."""

from dataclasses import replace

import numpy as np
import pytest

from refimpl import chains, theories
from refimpl.actions import WilsonU1
from refimpl.kernels import IndependenceMetropolis, JointDeterminant, PseudomarginalMetropolis, spawn_rngs
from refimpl.training import (
    flow_plan,
    joint_plan,
    load_joint,
    save_flow,
    save_joint,
    save_joint_checkpoint,
    start_joint,
)
from tests.commands import run

THEORY = theories.schwinger(1.0, 0.1, (4, 4))
SAMPLE = "sample schwinger --beta 1 --kappa 0.1 --shape 4 4 --chains 4 --seed 3 --start flow"


def small(theory):
    """A joint model that is quick, not trained, in the folder of a training."""
    plan = joint_plan(theory, 10, mus=(0.1,), layers=(1, 1))
    plan = replace(plan, n_pt=2, hidden=2, marginal=replace(plan.marginal, layers=1, hidden=(2,)))
    return plan.model(theory).inflated(1.25), plan.recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("joint")
    own, recipe = small(THEORY)
    save_joint(out, own, THEORY, recipe)
    return out


def by_hand(kernel, start, n_steps):
    """Acceptances and estimated actions of a plain loop."""
    state, rngs = kernel.init(start), spawn_rngs(np.random.SeedSequence([3, 0]), len(start))
    rows = []
    for _ in range(n_steps):
        state, info = kernel.step(rngs, state)
        rows.append(info.accepted)
    return np.array(rows)


def test_a_run_has_the_bits_of_the_kernel_and_goes_on_without_the_model(capsys, tmp_path, model):
    out = tmp_path / "run"
    argv = [*SAMPLE.split(), "--kernel", "pseudomarginal", "--model", str(model), "--n-pf", "3"]
    code, text, err = run(
        capsys, *argv, "--trajectories", "4", "--workers", "2", "--executor", "thread", "--out", str(out)
    )
    assert (code, err) == (0, "")
    assert "plaquette" in text
    assert run(capsys, "sample", "--resume", str(out), "--trajectories", "9", "--executor", "thread")[0] == 0
    found, _, _ = load_joint(model, THEORY)
    kernel = PseudomarginalMetropolis(WilsonU1(1.0), found.marginal, JointDeterminant(found, 3))
    start = found.marginal.sample(np.random.default_rng([3, 1]), 4)[0]
    assert np.array_equal(chains.load(out)["accepted"], by_hand(kernel, start, 9))
    code, text, _ = run(capsys, "analyse", str(out))
    assert code == 0
    assert "charge^2" in text
    manifest = chains.read_manifest(out)
    assert (manifest["configuration"]["n_pf"], manifest["kernel"]["estimator"]["model"]["inflation"]) == (3, 1.25)
    _, _, err = run(capsys, "sample", "--resume", str(out), "schwinger", "--kernel", "pseudomarginal", "--n-pf", "4")
    assert "n_pf: the run has 3, got 4" in err


def test_inflation_and_numbers_of_fields_have_defaults(capsys, tmp_path, model):
    argv = [*SAMPLE.split(), "--kernel", "pseudomarginal", "--model", str(model), "--executor", "thread"]
    assert run(capsys, *argv, "--inflation", "1.5,2", "--trajectories", "1", "--out", str(tmp_path / "run"))[0] == 0
    manifest = chains.read_manifest(tmp_path / "run")
    assert (manifest["kernel"]["estimator"]["model"]["inflation"], manifest["configuration"]["n_pf"]) == ([1.5, 2], 16)
    resumed = ["sample", "--resume", str(tmp_path / "run"), "schwinger", "--inflation"]
    assert run(capsys, *resumed, "1.5,2", "--executor", "thread")[0] == 0
    assert "inflation: the run has [1.5, 2.0], got [1.5, 3.0]" in run(capsys, *resumed, "1.5,3")[2]


def test_in_turn_with_hmc_at_another_kappa(capsys, tmp_path, model):
    argv = "sample schwinger --beta 1 --kappa 0.12 --shape 4 4 --chains 2 --kernel pseudomarginal --steps 3"
    sizes = ["--cycle", "1", "--trajectories", "2", "--executor", "thread", "--model", str(model)]
    code, _, err = run(capsys, *argv.split(), *sizes, "--out", str(tmp_path / "run"))
    assert code == 0
    assert "the model was trained at {'beta': 1.0, 'kappa': 0.1, 'shape': [4, 4]}: exact here too" in err
    found = chains.load(tmp_path / "run")
    assert [name for name in found if name.startswith("accepted")] == [
        "accepted/HMC", "accepted/PseudomarginalMetropolis",
    ]  # fmt: skip
    kernel = chains.read_manifest(tmp_path / "run")["kernel"]["kernels"][1]
    assert {one["monomial"]["kappa"] for one in kernel["estimator"]["model"]["conditionals"]} == {0.12}


@pytest.mark.parametrize("kernel", ["pseudomarginal", "flow"])
def test_a_model_whose_training_is_not_finished_is_told(capsys, tmp_path, model, kernel):
    own, _, recipe = load_joint(model)
    unfinished = tmp_path / "model"
    unfinished.mkdir()
    save_joint(unfinished, own, THEORY, recipe)
    begun = start_joint(own.inflated(1.0), recipe)
    argv = [
        *SAMPLE.split(),
        "--kernel",
        kernel,
        "--model",
        str(unfinished),
        "--executor",
        "thread",
        "--trajectories",
        "1",
    ]
    for step, told in ((7, True), (10, False)):
        save_joint_checkpoint(unfinished, replace(begun, step=step))
        code, _, err = run(capsys, *argv, "--out", str(tmp_path / f"run {step}"))
        assert code == 0
        assert ("refimpl: the training of the model is not finished, 7 of 10 steps" in err) == told
        assert len(err.splitlines()) == told
    (unfinished / "checkpoint.npz").write_bytes(b"damaged")  # the model can be used
    assert run(capsys, *argv, "--out", str(tmp_path / "run"))[::2] == (0, "")


def test_the_links_of_a_joint_model_with_the_exact_determinant(capsys, tmp_path, model):
    argv = [*SAMPLE.split(), "--kernel", "flow", "--model", str(model), "--executor", "thread", "--trajectories", "6"]
    assert run(capsys, *argv, "--out", str(tmp_path / "run"))[0] == 0
    found, _, _ = load_joint(model, THEORY)
    start = found.marginal.sample(np.random.default_rng([3, 1]), 4)[0]
    expected = by_hand(IndependenceMetropolis(THEORY.action, found.marginal), start, 6)
    assert np.array_equal(chains.load(tmp_path / "run")["accepted"], expected)


def test_matrices(capsys, tmp_path):
    theory = theories.su2(1.0, (4, 4), 0.05)
    own, recipe = small(theory)
    save_joint(tmp_path, own, theory, recipe)
    argv = "sample su2 --beta 1 --kappa 0.05 --shape 4 4 --chains 2 --kernel pseudomarginal --trajectories 2"
    options = ["--executor", "thread", "--start", "flow", "--model", str(tmp_path), "--out", str(tmp_path / "run")]
    assert run(capsys, *argv.split(), *options)[0] == 0


def test_what_cannot_be_is_refused(capsys, tmp_path, model):
    flow = flow_plan(THEORY, 10)
    flow = replace(flow, layers=1, hidden=(2,))
    save_flow(tmp_path, flow.flow(THEORY), THEORY, flow.recipe)
    here = "schwinger --beta 1 --kappa 0.1 --shape 4 4"
    for options, message in [
        (
            "su2 --beta 1 --shape 4 4 --kernel pseudomarginal",
            "got pseudomarginal for su2 without fermions, expected --kappa above 0",
        ),
        (
            f"{here} --kernel flow --n-pf 4",
            "--n-pf: got 4 with --kernel flow, expected it with pseudomarginal only",
        ),
        (f"{here} --kernel hmc --inflation 2", "--model: got"),
        (
            f"{here} --kernel pseudomarginal --steps 4",
            "--steps: got it without HMC, expected --cycle N with it",
        ),
        (
            f"{here} --kernel pseudomarginal --inflation 1,2,3",
            "--inflation: got 3 numbers, expected 1 or 2, one for each monomial",
        ),
        ("schwinger --beta 1 --kappa 0.1 --shape 8 8 --kernel pseudomarginal", "expected schwinger with (2, 8, 8)"),
    ]:
        code, _, err = run(capsys, "sample", *options.split(), "--model", str(model), "--out", str(tmp_path / "x"))
        assert code == 2
        assert message in err
    own = ["--kernel", "pseudomarginal", "--out", str(tmp_path / "x")]
    assert "--model: got nothing, expected the folder of a model" in run(capsys, *SAMPLE.split(), *own)[2]
    assert (
        "got a file of kind 'flow', expected 'joint'" in run(capsys, *SAMPLE.split(), *own, "--model", str(tmp_path))[2]
    )
    assert "invalid choice: 'pseudomarginal'" in run(capsys, "sample", "u1", *own)[2]
    message = "got flow with --kernel hmc, expected it with --kernel flow or pseudomarginal only"
    assert message in run(capsys, *SAMPLE.split(), "--out", str(tmp_path / "x"))[2]
    assert not (tmp_path / "x").exists()
