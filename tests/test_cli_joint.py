"""``refimpl train joint``."""

import re

import numpy as np
import pytest

from refimpl import training
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.plaquette_coupling import PlaquetteCoupling
from refimpl.maps.sun_coupling import SpectralCoupling
from refimpl.models import PureGauge, UniformAngles
from refimpl.theories import by_name, pure_gauge_beta, schwinger
from refimpl.training import load_joint, load_joint_checkpoint
from refimpl.training.joint_evaluation import evaluate_joint
from tests.commands import run

SCHWINGER = "--theory schwinger --beta 2 --kappa 0.265 --shape 4 4"
SUN = SCHWINGER.replace("schwinger", "su{}")
SMALL = "--layers 1 --hidden 2 --holonomies 1 --pf-layers 2 --n-pt 2 --context-hidden 2 --batch 3 --samples 4 --n-pf 2"
TINY = f"{SCHWINGER} {SMALL} --mus 0.1"


def train(capsys, out, options):
    return run(capsys, "train", "joint", *options.split(), "--out", str(out))


def resume(capsys, out, *options):
    return run(capsys, "train", "joint", "--resume", "--out", str(out), *options)


def test_a_training_is_printed_and_goes_on_bit_for_bit(capsys, tmp_path, monkeypatch):
    once, parts = tmp_path / "once", tmp_path / "parts"
    code, out, err = train(capsys, once, f"{TINY} --steps 4 --seed 5")
    assert (code, err) == (0, "")
    assert out.startswith("4 steps; of the last 4: loss ")
    assert out.endswith(f"in {once}\n")
    assert sorted(path.name for path in once.iterdir()) == ["checkpoint.npz", "weights.npz"]
    before = (once / "weights.npz").read_bytes()
    assert resume(capsys, once)[:2] == (0, out)  # nothing left to do: the same bytes
    assert (once / "weights.npz").read_bytes() == before
    interrupted(monkeypatch, 2)
    code, _, err = train(capsys, parts, f"{TINY} --steps 4 --seed 5")
    assert code == 130
    assert f"refimpl: interrupted; refimpl train joint --resume --out {parts} goes on" in err
    monkeypatch.undo()
    assert load_joint_checkpoint(parts).step == 2
    assert (parts / "weights.npz").read_bytes() != before
    assert resume(capsys, parts)[:2] == (0, out.replace(str(once), str(parts)))
    assert (parts / "weights.npz").read_bytes() == before
    assert (parts / "checkpoint.npz").read_bytes() == (once / "checkpoint.npz").read_bytes()


def interrupted(monkeypatch, step):
    """Trainings are interrupted once that many steps are done."""
    step_once, calls = training.descent._step, []

    def stopped(*args, **kwargs):
        if len(calls) == step:
            raise KeyboardInterrupt
        calls.append(step)
        return step_once(*args, **kwargs)

    monkeypatch.setattr(training.descent, "_step", stopped)


def test_options_are_those_of_the_model_and_the_recipe(capsys, tmp_path):
    options = (
        "--base gauge:0.8 --pattern stripes --bins 3 --holonomies 1 --staples --layers 2 --hidden 2 --no-even-odd "
        "--mus 0.001,0.2 0.3 --pf-layers 1,2,3,4 --n-pt 4 --features 3 --partition alternating --context-hidden 5 "
        "--no-positions --gain 0.1 --inflation 1.5,1,1,2 --steps 2 --rate 0.01 --schedule staircase --decay 0.5 "
        "--rate-every 7 --warm-up 2 --weight-decay 0.1 --epsilon 0.2 --clip 3 --average 0.5 --mu-reg 1e-4 --chi sampled "
        "--seed 9 --batch 2 --samples 3 --n-pf 2,5"
    )
    code, _, err = train(capsys, tmp_path / "m", f"{SCHWINGER} {options}")
    assert (code, err) == (0, "")
    model, theory, recipe = load_joint(tmp_path / "m")
    assert (theory.name, theory.parameters) == ("schwinger", {"beta": 2.0, "kappa": 0.265, "shape": [4, 4]})
    assert model.marginal.prior == PureGauge(0.8, (4, 4))
    kinds = [Holonomy, Holonomy, PlaquetteCoupling, Holonomy, Holonomy, PlaquetteCoupling, Holonomy, Holonomy]
    assert [type(layer) for layer in model.marginal.map.layers] == kinds
    coupling = model.marginal.map.layers[5]
    assert (coupling.index, coupling.pattern, coupling.circle.bins, coupling.net.channels[1]) == (1, "stripes", 3, 2)
    assert coupling.staples
    assert model.inflation == (1.5, 1, 1, 2)
    assert (model.context.net.channels, model.context.positions) == ((2, 5), False)
    assert [(m.mu, m.mu_next) for m in model.monomials] == [(0, 0.001), (0.001, 0.2), (0.2, 0.3), (0.3, None)]
    assert not any(m.even_odd for m in model.monomials)
    assert [len(one.layers) for one in model.conditionals] == [1, 2, 3, 4]
    last = model.conditionals[3].layers
    assert [(layer.partition, layer.index) for layer in last] == [
        ("spatial", 0),
        ("spin", 0),
        ("spatial", 1),
        ("spin", 1),
    ]
    assert {(layer.n_pt, layer.features, layer.hidden) for layer in last} == {(4, 3, 5)}
    rate = recipe.rate
    assert (rate.initial, rate.schedule, rate.decay, rate.every, rate.warm_up) == (0.01, "staircase", 0.5, 7, 2)
    assert (recipe.steps, recipe.batch, recipe.clip, recipe.average, recipe.seed) == (2, 2, 3.0, 0.5, 9)
    assert (recipe.weight_decay, recipe.epsilon, recipe.mu_reg, recipe.chi) == (0.1, 0.2, 1e-4, "sampled")
    assert (recipe.samples, recipe.n_pf) == (3, (2, 5))


SPATIAL, TURNS = ("spatial", "spatial"), ("spatial", "spin")
NEAR = PureGauge(pure_gauge_beta(2.0, 0.265, (4, 4)), (4, 4))


def near(n):
    """The pure gauge theory with the coupling that two flavours add to leading order, ``16 N kappa^4``."""
    return PureGauge(2.0 + 16 * n * 0.265**4, (4, 4), n)


@pytest.mark.parametrize(
    ("options", "prior", "layer", "masses", "own"),
    [
        (SCHWINGER, NEAR, Holonomy, [0, 0.001, 0.01, 0.05], (*SPATIAL, 6, 2, True)),
        (
            "--theory schwinger --beta 1 --kappa 0.2 --shape 8 4 --base uniform --no-even-odd --mus none",
            UniformAngles((8, 4)),
            Holonomy,
            [0],
            (*SPATIAL, 3, 2, False),
        ),
        (SCHWINGER.replace("schwinger", "su2"), near(2), SpectralCoupling, [0, 0.3], (*TURNS, 6, 4, True)),
        (SCHWINGER.replace("schwinger", "su3"), near(3), SpectralCoupling, [0, 0.3], (*TURNS, 6, 4, True)),
    ],
    ids=["schwinger", "plain", "su2", "su3"],
)
def test_every_theory_has_a_model(capsys, tmp_path, options, prior, layer, masses, own):
    small = "--layers 1 --hidden 2 --pf-layers 2 --context-hidden 2 --batch 2 --samples 2 --n-pf 1 --steps 1"
    code, out, err = train(capsys, tmp_path / "m", f"{options} {small}")
    assert (code, err) == (0, "")
    assert out.startswith("1 steps; of the last 1: loss")
    model = load_joint(tmp_path / "m")[0]
    assert model.marginal.prior == prior
    assert isinstance(model.marginal.map.layers[0], layer)
    assert [monomial.mu for monomial in model.monomials] == masses
    first, second = model.conditionals[0].layers
    assert (first.partition, second.partition, first.n_pt, first.features, first.even_odd) == own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--steps 3", "--theory: got nothing, expected one of schwinger, su2, su3"),
        ("--theory u1 --beta 1", "invalid choice: 'u1'"),
        ("--theory schwinger --beta 1 --kappa 0.1", "--shape: got nothing"),
        ("--theory schwinger --beta 1 --shape 4 4", "--kappa: got nothing"),
        ("--theory su3 --beta 1 --shape 4 4", "--kappa: got nothing for su3, expected a number > 0: without fermions train a flow"),
        ("--theory su2 --beta 1 --shape 4 4 --kappa 0", "--kappa: got 0.0 for su2"),
        ("--theory schwinger --beta 1 --kappa 0.1 --shape 4 6", "--shape: got extent X = 6, expected a multiple of 4"),
        (f"{SCHWINGER} --mus 0.3,0.1", "--mus: got 0.3 0.1, expected increasing masses, or none"),
        (f"{SCHWINGER} --mus 0.1 0.1", "--mus: got 0.1 0.1, expected increasing masses"),
        (f"{SCHWINGER} --mus none 0.1", "--mus: got none 0.1, expected increasing masses, or none"),
        (f"{SCHWINGER} --mus 0", "argument --mus: got '0', expected a finite number > 0"),
        (f"{SCHWINGER} --mus some", "argument --mus: got 'some'"),
        (f"{SCHWINGER} --mu-reg 0.001", "--mus: got 0.001, expected a finite number > 0.001"),
        (f"{SCHWINGER} --mu-reg -1", "argument --mu-reg: got '-1'"),
        (f"{SCHWINGER} --pf-layers 1,2", "--pf-layers: got 2 numbers, expected 1 or 4, one more than Hasenbusch masses"),
        (f"{SCHWINGER} --mus none --pf-layers 1,2", "--pf-layers: got 2 numbers, expected 1, as there is one monomial"),
        (f"{SCHWINGER} --n-pt 1", "--n-pt: got 1, expected at least 2 for even_odd"),
        (f"{SCHWINGER} --no-even-odd --n-pt 1 --features 3", "--features: got 3 with --n-pt 1"),
        (f"{SCHWINGER} --inflation 0", "argument --inflation: got '0'"),
        (f"{SCHWINGER} --inflation 1,2", "--inflation: got 2 numbers, expected 1 or 4, one more than"),
        (f"{SCHWINGER} --base gauge", "--base: got 'gauge', expected uniform or gauge:BETA"),
        (f"{SCHWINGER} --average 1", "--average: got 1.0"),
        (f"{SCHWINGER} --weight-decay -1", "--weight-decay: got -1.0"),
        (f"{SCHWINGER} --bins 1", "--bins: got 1"),
        (f"{SCHWINGER} --decay 0.5", "--decay: got 0.5 with the schedule cosine"),
        (f"{SCHWINGER} --steps 5 --warm-up 6", "--warm-up: got 6, expected at most the 5 steps"),
        (f"{SCHWINGER} --samples 1", "--samples: got 1"),
        (f"{SCHWINGER} --n-pf 1,0", "argument --n-pf: got '0', expected an integer of at least 1"),
        (f"{SCHWINGER} --chi exact", "invalid choice: 'exact'"),
        ("--theory su2 --beta 1 --kappa 0.1 --shape 4 4 --holonomies 1", "--holonomies: got 1 for su2, expected it with schwinger"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_any_work(capsys, tmp_path, options, message):
    short = (
        "" if options.startswith("--steps") else "--steps 1 --batch 2 --samples 2 --n-pf 1 "
    )  # where one is not refused
    code, _, err = train(capsys, tmp_path / "m", f"{short}{options}")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1 or "usage" in err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("theory", "steps", "batch", "layers", "hidden"),
    [
        ("schwinger", "800;", "64;", "8;", "16;"),
        ("su2", "su2, su3: 400", "su2, su3: 16", "su2, su3: 16", "su2, su3: 8"),
    ],
)
def test_help_has_the_defaults_that_are_taken(capsys, theory, steps, batch, layers, hidden):
    text = " ".join(run(capsys, "train", "joint", "--help")[1].split())
    plan = training.joint_plan(by_name(theory, beta=2.0, kappa=0.2, shape=(4, 4)))
    for told, value, words in (
        (steps, plan.recipe.steps, "training steps"), (batch, plan.recipe.batch, "fields in a step"),
        (layers, plan.marginal.layers, "coupling layers"), (hidden, *plan.marginal.hidden, "such as 8,8"),
    ):  # fmt: skip
        assert told.rstrip(";").endswith(str(value))
        (own,) = re.findall(rf"{words} \(default ([^)]*)\)", text)
        assert told in own
    assert plan.recipe.rate.initial == 5e-3
    assert "learning rate of Adam (default 5e-3)" in text
    assert "must be multiples of 4" in text


def test_masses_may_be_below_the_usual_regulator_where_it_is_not_used(capsys, tmp_path):
    options = TINY.replace("--mus 0.1", "--mus 1e-6 --mu-reg 0 --steps 1")
    assert train(capsys, tmp_path / "m", options)[0] == 0
    model, _, recipe = load_joint(tmp_path / "m")
    assert ([monomial.mu for monomial in model.monomials], recipe.mu_reg) == ([0, 1e-6], 0)


@pytest.mark.parametrize("when", ["settled", "joint_evaluation.evaluate_joint"])
def test_an_evaluation_that_is_interrupted_goes_on(capsys, tmp_path, monkeypatch, when):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    once, out = tmp_path / "once", tmp_path / "m"
    expected = train(capsys, once, f"{TINY} --steps 1")[1]
    monkeypatch.setattr(f"refimpl.training.{when}", stopped)
    code, _, err = train(capsys, out, f"{TINY} --steps 1")
    assert code == 130
    assert f"refimpl: interrupted; refimpl train joint --resume --out {out} goes on" in err
    monkeypatch.undo()
    assert resume(capsys, out)[:2] == (0, expected.replace(str(once), str(out)))
    assert (out / "weights.npz").read_bytes() == (once / "weights.npz").read_bytes()


def test_what_cannot_go_on_is_refused(capsys, tmp_path):
    folder = tmp_path / "m"
    assert train(capsys, folder, f"{TINY} --steps 1")[0] == 0
    for option, value in (("--rate", "1"), ("--seed", "3"), ("--steps", "3"), ("--mus", "0.1"), ("--n-pf", "2")):
        assert f"{option}: got it with --resume, expected only --out" in resume(capsys, folder, option, value)[2]
    assert "exists already" in train(capsys, folder, f"{TINY} --steps 1")[2]
    (folder / "checkpoint.npz").write_bytes(b"damaged")
    code, _, err = resume(capsys, folder)
    assert code == 2
    assert "checkpoint.npz: got a file that cannot be read" in err
    assert "its model can be used as weights.npz has it" in err
    (folder / "weights.npz").write_bytes(b"damaged")
    assert "the joint model has to be trained anew" in resume(capsys, folder)[2]
    assert "weights.npz: got no such file, expected the joint model" in resume(capsys, tmp_path / "n")[2]


def test_a_training_that_diverges_exits_1_and_keeps_its_checkpoint(capsys, tmp_path):
    code, _, err = train(capsys, tmp_path / "m", f"{TINY} --steps 9 --rate 1e200")
    assert code == 1
    assert "training stopped at step 1" in err
    assert load_joint_checkpoint(tmp_path / "m").step == 0


@pytest.mark.parametrize("given", ["", "--inflation 1.5"])
def test_the_evaluation_is_of_the_inflated_model_of_averaged_weights(capsys, tmp_path, given):
    code, out, _ = train(capsys, tmp_path / "m", f"{TINY} --steps 2 --seed 3 {given}")
    assert code == 0
    model, theory, recipe = load_joint(tmp_path / "m")
    average = load_joint_checkpoint(tmp_path / "m").average
    assert np.array_equal(training.optimise.joined(model.params), average)
    if given:
        assert model.inflation == 1.5
    else:
        found = evaluate_joint(model.inflated(1.0), theory, np.random.default_rng([3, 4]), 4)
        assert model.inflation == found.best_inflation(0.999)
        assert training.settled(model.inflated(1.0), theory, recipe).inflation == model.inflation
    expected = str(evaluate_joint(model, theory, np.random.default_rng([3, 2]), 4, n_pf=(2,)))
    assert f"\n{expected}\nin " in out


def test_the_inflation_leaves_out_the_fields_that_need_most(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("refimpl.training.joint_plans.SETTLED", 0.5)
    assert train(capsys, tmp_path / "m", f"{TINY} --steps 1")[0] == 0
    model, theory, _ = load_joint(tmp_path / "m")
    found = evaluate_joint(model.inflated(1.0), theory, np.random.default_rng([0, 4]), 4)
    assert model.inflation == found.best_inflation(0.5) != found.best_inflation(1.0)


def test_an_interrupted_model_has_the_inflation_that_was_asked_for(capsys, tmp_path, monkeypatch):
    interrupted(monkeypatch, 1)
    assert train(capsys, tmp_path / "m", f"{TINY} --steps 4 --inflation 1.5")[0] == 130
    assert load_joint(tmp_path / "m")[0].inflation == 1.5


def test_another_kappa_is_that_of_the_monomials(capsys, tmp_path):
    assert train(capsys, tmp_path / "m", f"{TINY} --steps 1")[0] == 0
    model, own, _ = load_joint(tmp_path / "m", schwinger(1.5, 0.2, (4, 4)))
    assert own.parameters["kappa"] == 0.265
    assert [monomial.kappa for monomial in model.monomials] == [0.2, 0.2]
    with pytest.raises(
        ValueError, match=r"got a joint model for schwinger with links \(2, 4, 4\), expected .* \(2, 8, 4\)"
    ):
        load_joint(tmp_path / "m", schwinger(1.5, 0.2, (8, 4)))


def test_models_of_another_kind_are_refused_and_not_called_damaged(capsys, tmp_path):
    folder = tmp_path / "m"
    assert train(capsys, folder, f"{TINY} --steps 1")[0] == 0
    code, _, err = run(capsys, "train", "flow", "--resume", "--out", str(folder))
    assert (code, err) == (2, f"refimpl: {folder / 'weights.npz'}: got a file of kind 'joint', expected 'flow'\n")
    model, theory, _ = load_joint(folder)
    training.save_flow(folder, model.marginal, theory, training.FlowRecipe())
    assert resume(capsys, folder)[2].endswith("weights.npz: got a file of kind 'flow', expected 'joint'\n")
