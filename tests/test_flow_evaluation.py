"""Flows against their theories: pooled weights and exact partition functions; trainings of flows on disk."""

import math
from dataclasses import replace

import numpy as np
import pytest

from refimpl import nets, theories
from refimpl.estimators.reweighting import pareto_shape, relative_ess
from refimpl.exact import free_scalar
from refimpl.kernels.independence import pool_acceptance
from refimpl.maps import Chain
from refimpl.maps.plaquette_coupling import PlaquetteCoupling
from refimpl.models import Flow, Haar, Normal, PureGauge, UniformAngles, files
from refimpl.theories import log_partition
from refimpl.training import (
    FlowRecipe,
    evaluate,
    fit_flow,
    flow_plan,
    load_flow,
    load_flow_checkpoint,
    save_flow,
    save_flow_checkpoint,
    start_flow,
)

from .flow_layers import Diagonal, Knobs
from .test_training_flow import FREE, same, scalar_flow

pytestmark = pytest.mark.slow

IDENTITY = Chain(())


@pytest.fixture
def known(monkeypatch):
    """The classes of these tests, known to files."""
    for cls in (Diagonal, Knobs):
        monkeypatch.setitem(files.CLASSES, cls.__name__, cls)


# --- exact partition functions ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("theory", "prior"),
    [
        (theories.u1(0.8, (2, 3)), UniformAngles((2, 3))),
        (theories.schwinger(0.7, 0.2, (2, 2)), PureGauge(0.8, (2, 2))),
        (theories.su2(0.9, (2, 2)), Haar(2, (2, 2))),
        (theories.su3(1.2, (2, 2)), Haar(3, (2, 2))),
        (theories.phi4(1.5, 0.8, (2, 2)), Normal((2, 2))),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_partition_functions_are_mean_weights(theory, prior):
    n = 20_000 if theory.colours == 1 else 4000
    x = prior.sample(np.random.default_rng(7), n)
    w = np.exp(-theory.action.action(x) - prior.log_prob(x) - log_partition(theory))
    error = w.std() / math.sqrt(n)
    assert abs(w.mean() - 1) < 5 * error
    assert error < 0.03


def test_partition_functions_that_are_not_known():
    assert log_partition(theories.schwinger(1.0, 0.2, (2, 4))) is None
    assert log_partition(theories.su2(1.0, (2, 2), 0.1)) is None
    assert log_partition(theories.su2(200.0, (2, 2))) is None
    assert log_partition(theories.phi4(1.0, 1.0, (4, 4))) is None
    assert log_partition(theories.gmm()) is None
    assert log_partition(theories.phi4(1.0, 0.0, (4, 6))) == free_scalar.log_partition(1.0, (4, 6))


# --- evaluation -------------------------------------------------------------------------------------------------------
def test_a_perfect_flow_has_equal_weights():
    theory = theories.u1(1.7, (3, 4))
    found = evaluate(Flow(PureGauge(1.7, (3, 4)), IDENTITY), theory, np.random.default_rng(0), 300)
    assert found.ess == pytest.approx(1, abs=1e-12)
    assert found.acceptance == pytest.approx(1, abs=1e-12)
    assert found.log_z.value == pytest.approx(log_partition(theory), rel=1e-13)
    assert found.loss.value == pytest.approx(-log_partition(theory), rel=1e-13)
    assert (found.loss.exact, found.log_z.exact) == (-log_partition(theory), log_partition(theory))
    assert abs(found.observables["plaquette"].deviation) < 4
    assert found.observables["charge^2"].exact == theory.exact["charge^2"]


def test_an_evaluation_is_what_its_formulas_say():
    theory, flow = theories.u1(1.0, (2, 2)), Flow(PureGauge(0.6, (2, 2)), IDENTITY)
    found = evaluate(flow, theory, np.random.default_rng(3), 500, chunk=500)
    x, log_prob = flow.sample(np.random.default_rng(3), 500)
    log_w = -theory.action.action(x) - log_prob
    np.testing.assert_allclose(found.log_weights, log_w, rtol=1e-13)
    w = np.exp(log_w - log_w.max())
    assert found.n == 500
    assert found.ess == relative_ess(log_w)
    assert found.acceptance == pool_acceptance(found.log_weights)
    assert found.loss.value == pytest.approx(-log_w.mean(), rel=1e-14)
    assert found.loss.error == pytest.approx(log_w.std() / math.sqrt(500), rel=1e-12)
    assert found.log_z.error == pytest.approx(math.sqrt((1 / found.ess - 1) / 499), rel=1e-12)
    assert found.shape == pareto_shape(found.log_weights)
    p = theory.observables["plaquette"](x)
    mean = np.average(p, weights=w)
    assert found.observables["plaquette"].value == pytest.approx(mean, rel=1e-13)
    spread = math.sqrt(np.sum((w * (p - mean)) ** 2)) / w.sum()
    # The jackknife divides every term by 1 - w_i/sum w, and w_i is at most twenty times the mean here.
    assert w.sum() > 25
    assert found.observables["plaquette"].error == pytest.approx(spread, rel=0.05)


def test_reweighting_finds_exact_values_that_the_flow_does_not_have():
    theory = theories.u1(1.0, (2, 3))
    found = evaluate(Flow(UniformAngles((2, 3)), IDENTITY), theory, np.random.default_rng(2), 30_000, chunk=7000)
    for name in ("plaquette", "charge^2", "sine_charge"):
        assert abs(found.observables[name].deviation) < 5
    assert found.observables["plaquette"].error < 0.01 < found.observables["plaquette"].value
    assert abs(found.log_z.deviation) < 5
    assert found.loss.value > -log_partition(theory) + 1


def test_an_evaluation_as_text():
    theory = theories.u1(1.0, (2, 2))
    text = str(evaluate(Flow(PureGauge(0.9, (2, 2)), IDENTITY), theory, np.random.default_rng(0), 50))
    assert text.startswith("50 draws: ESS/n 0.9")
    rows = {line.split()[0]: line.split() for line in text.splitlines()[2:]}
    assert rows["plaquette"][3] == f"{theory.exact['plaquette']:.8g}"
    assert len(rows["loss"]) == 3  # the perfect loss is no expectation to deviate from
    assert f"The least possible loss, of a perfect flow, is -log Z = {-log_partition(theory):.8g}." in text
    assert "exact" in text
    assert "!" not in text
    assert "heavy tail" not in text
    assert "heavy tail" in str(
        replace(evaluate(Flow(PureGauge(0.9, (2, 2)), IDENTITY), theory, np.random.default_rng(0), 9), shape=0.5)
    )


def test_an_evaluation_says_where_errors_are_none():
    theory = theories.u1(1.0, (2, 2))
    found = evaluate(Flow(PureGauge(0.9, (2, 2)), IDENTITY), theory, np.random.default_rng(0), 50)
    few = replace(found, log_weights=found.log_weights[:9], ess=1.0)  # 9 equal weights
    assert "! Few draws have the weight (ESS 9.0," in str(few)
    one = found.log_weights.copy()
    one[7] = np.logaddexp.reduce(np.delete(one, 7)) + math.log(0.3)  # a share of 0.23
    assert "the largest 23% of all): errors mean nothing" in str(replace(found, log_weights=one))
    steep = theories.phi4(1e6, 0.0, (2, 2))
    lone = evaluate(Flow(Normal((2, 2)), IDENTITY), steep, np.random.default_rng(0), 500)
    assert lone.shape == math.inf
    assert "heavy tail" in str(lone)


def test_bad_evaluations_are_refused():
    flow = Flow(UniformAngles((2, 2)), IDENTITY)
    with pytest.raises(ValueError, match="theory: got fields"):
        evaluate(flow, theories.u1(1.0, (2, 3)), np.random.default_rng(0), 10)
    with pytest.raises(ValueError, match="n: got 1"):
        evaluate(flow, theories.u1(1.0, (2, 2)), np.random.default_rng(0), 1)

    class Broken:
        def action(self, x):
            return np.where(np.arange(len(x)) == 3, np.inf, 0.0)

    with pytest.raises(ValueError, match="got 2 of 10 weights that are not finite"):
        evaluate(flow, replace(theories.u1(1.0, (2, 2)), action=Broken()), np.random.default_rng(0), 10, chunk=5)


# --- files ------------------------------------------------------------------------------------------------------------
def test_a_training_goes_on_from_its_files_bit_for_bit(tmp_path, known):
    flow, recipe = scalar_flow(), FlowRecipe(steps=8, batch=4, average=0.5, seed=3)
    half = fit_flow(FREE, flow, replace(recipe, steps=3))
    save_flow(tmp_path, half.flow(flow), FREE, recipe)
    save_flow_checkpoint(tmp_path, half)
    again, theory, other = load_flow(tmp_path)
    assert (theory.name, theory.parameters, other) == (FREE.name, FREE.parameters, recipe)
    assert np.array_equal(again.map.params["0/s"], half.flow(flow).map.params["0/s"])
    # The flow is that of the averaged weights: those of the checkpoint take their place.
    assert same(fit_flow(theory, again, other, load_flow_checkpoint(tmp_path)), fit_flow(FREE, flow, recipe))


def test_files_of_other_trainings_are_refused(tmp_path, known):
    flow, recipe = scalar_flow(), FlowRecipe(steps=2, batch=4)
    with pytest.raises(ValueError, match=r"weights.npz: got no such file"):
        load_flow(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint.npz: got no such file"):
        load_flow_checkpoint(tmp_path)
    save_flow(tmp_path, flow, FREE, recipe)
    with pytest.raises(ValueError, match=r"got a flow for phi4 with fields \(2, 2\), expected phi4 with \(2, 3\)"):
        load_flow(tmp_path, theories.phi4(1.0, 0.0, (2, 3)))
    assert load_flow(tmp_path, theories.phi4(3.0, 1.0, (2, 2)))[1].parameters == FREE.parameters
    save_flow_checkpoint(tmp_path, start_flow(flow, recipe))
    path = tmp_path / "checkpoint.npz"
    arrays, meta = nets.load(path)
    for bad, other, message in [
        (arrays, {**meta, "kind": "training"}, "got a file of kind 'training'"),
        ({**arrays, "first": np.zeros(3)}, meta, r"got shapes .*'first': \(3,\)"),
        (arrays, {**meta, "step": 4}, "expected one and 4 rows"),
        (arrays, {**meta, "step": -1}, "step: got -1"),
        ({key: value for key, value in arrays.items() if key != "second"}, meta, "KeyError"),
    ]:
        nets.save(path, bad, other)
        with pytest.raises(ValueError, match=rf"checkpoint.npz: .*{message}"):
            load_flow_checkpoint(tmp_path)
    arrays, meta = nets.load(tmp_path / "weights.npz")
    meta["meta"]["recipe"]["rate"]["initial"] = -1.0
    nets.save(tmp_path / "weights.npz", arrays, meta)
    with pytest.raises(ValueError, match=r"weights.npz: got a record with .*initial: got -1"):
        load_flow(tmp_path)


def plaquette_ceiling(theory, prior, n, m, rng):
    """The largest ESS/n of densities ``q(plaquettes)`` with uniform holonomies h, from n fields of m holonomies each.

    ``E_q[w]^2/E_q[w^2]`` is largest for ``q ~ sqrt(E_h p^2)``: with r = p/prior it is ``(E r)^2/(E sqrt(E_h r^2))^2``.
    """
    x = np.repeat(prior.sample(rng, n), m, axis=0)
    turns = rng.uniform(-np.pi, np.pi, (2, n * m, 1))
    x[:, 0, 0] += turns[0]
    x[:, 1, :, 0] += turns[1]
    log_r = (-theory.action.action(x) - prior.log_prob(x)).reshape(n, m)
    r = np.exp(log_r - log_r.max())
    return r.mean() ** 2 / np.sqrt((r**2).mean(axis=1)).mean() ** 2


def test_layers_of_plaquettes_stay_below_their_ceiling_and_holonomy_layers_do_not():
    theory = theories.schwinger(2.0, 0.265, (4, 4))
    plan = flow_plan(theory, 120)
    whole, rng = plan.flow(theory), np.random.default_rng(3)
    ceiling = plaquette_ceiling(theory, whole.prior, 400, 32, rng)
    assert 0.57 < ceiling < 0.61  # 0.587 of 72,000 determinants; 0.003 is its error here, and 32 holonomies are few
    layers = tuple(
        PlaquetteCoupling.init(rng, (4, 4), i, pattern="tiles", polyakov=False, last=0.1) for i in range(plan.layers)
    )
    sizes = []
    for flow in (Flow(whole.prior, Chain(layers)), whole):
        trained = fit_flow(theory, flow, replace(plan.recipe, batch=32)).flow(flow)
        sizes.append(evaluate(trained, theory, np.random.default_rng(1), 2048).ess)
    # Of 2048 draws the error of an ESS is 0.02; 0.49 and 0.81 were seen.
    assert 0.4 < sizes[0] < ceiling
    assert sizes[1] > ceiling + 0.1
