"""Training: losses and optimiser at numbers, fits that resume bit for bit, and what happens when something breaks."""

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import nets, observables, theories
from refimpl.kernels import spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.lattice import unit_flux
from refimpl.maps import definition
from refimpl.maps.architecture import NetWeights
from refimpl.nets import Net
from refimpl.training import (
    LOSSES,
    METRICS,
    Adam,
    Annealing,
    Rate,
    Recipe,
    Term,
    TrainingError,
    fit,
    load_checkpoint,
    load_model,
    loop,
    losses,
    recipes,
    save_checkpoint,
    save_model,
    start,
)
from refimpl.training import checkpoints as files
from refimpl.training.optimise import clipped, global_norm

from .models import THEORIES, build, distance
from .models import start as phase_point

DENSE, SCALARS = Net("dense", units=(4,)), Net("scalars")
NORMED = Net("conv", filters=(3,), activation="tanh", batch_norm=True)
U1 = theories.u1(2.0, (4, 4))


def same(a, b):
    """Equality of checkpoints to the last bit."""
    groups = [(a.params, b.params), (a.average, b.average), (a.best, b.best)]
    groups += [(a.adam.first, b.adam.first), (a.adam.second, b.adam.second)]
    return (
        all(x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x) for x, y in groups)
        and np.array_equal(a.x, b.x)
        and np.array_equal(a.history, b.history)
        and (a.step, a.adam.steps, a.best_score) == (b.step, b.adam.steps, b.best_score)
        and json.dumps(list(a.rng_states)) == json.dumps(list(b.rng_states))
    )


def small(merged=False, n_layers=2, **options):
    return build(
        U1, 1, size=0.1, n_layers=n_layers, merged=merged, **{"v_net": Net("scalars", outputs="sq"), **options}
    )


# --- losses ----------------------------------------------------------------------------------------------------------
def test_metrics_at_numbers():
    x, y = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[3.0, -3.0], [2.0, 2.5]])
    assert np.array_equal(METRICS["euclidean"](x, y), [25.0, 0.25])
    assert np.allclose(METRICS["circular"](x, y), [2 - math.cos(3) - math.cos(4), 1 - math.cos(0.5)], rtol=1e-15)
    cold = np.zeros((1, 2, 3, 3))
    flux = unit_flux((3, 3))[None]
    # nine plaquettes of 2 pi/9 modulo 2 pi
    angle = 2 * np.pi / 9
    assert np.allclose(METRICS["plaquette"](cold, flux), 9 * (1 - math.cos(angle)), rtol=1e-13)
    sine = 9 * math.sin(angle) / (2 * np.pi)
    assert np.allclose(METRICS["charge"](cold, flux), sine**2, rtol=1e-13)
    assert np.allclose(METRICS["charge_change"](flux, cold), sine, rtol=1e-13)


def test_charge_of_the_loss_is_the_observable():
    x = U1.start(np.random.default_rng(0), 5)
    y = U1.start(np.random.default_rng(1), 5)
    gap = observables.sine_charge(y) - observables.sine_charge(x)
    assert np.allclose(METRICS["charge"](x, y), gap**2, rtol=1e-12)
    assert np.allclose(METRICS["charge_change"](x, y), np.abs(gap), rtol=1e-12)
    one = np.zeros((1, 2, 4, 4))
    one[0, 0, 1, 2] = 0.3  # one link turns two plaquettes by 0.3
    assert np.allclose(METRICS["plaquette"](np.zeros_like(one), one), 2 * (1 - math.cos(0.3)), rtol=1e-13)


def test_terms_at_numbers():
    x, y, accept = np.zeros((3, 1)), np.array([[2.0], [2.0], [0.001]]), np.array([1.0, 0.5, 1.0])
    assert np.allclose(Term("euclidean", scale=0.5).value(x, y, accept), [-16.0, -8.0, -4e-6], rtol=1e-14)
    mixed = Term("euclidean", "mixed", scale=0.5, floor=1e-3).value(x, y, accept)
    # 0.25/4 - 4/0.25; 0.25/2 - 2/0.25; at the floor 0.25/0.001 - 0.001/0.25
    assert np.allclose(mixed, [0.0625 - 16, 0.125 - 8, 250 - 0.004], rtol=1e-14)
    terms = (Term("euclidean", weight=2.0, auxiliary=0.5), Term("circular", weight=0.0, auxiliary=3.0))
    a, b = np.mean(terms[0].value(x, y, accept)), np.mean(terms[1].value(x, y, accept))
    assert math.isclose(losses.expected_loss(terms, x, y, accept, False), 2 * a, rel_tol=1e-14)
    assert math.isclose(losses.expected_loss(terms, x, y, accept, True), 0.5 * a + 3 * b, rel_tol=1e-14)
    assert losses.expected_loss((Term("circular"),), x, y, accept, True) == 0


def test_the_floor_has_no_gradient_and_what_is_above_has_that_of_the_formula():
    def value(y):
        return Term("euclidean", "mixed", floor=0.04).value(np.zeros((1, 1)), anp.reshape(y, (1, 1)), np.ones(1))[0]

    assert autograd.grad(value)(0.1) == 0
    # d/dy (1/y^2 - y^2)
    assert math.isclose(autograd.grad(value)(0.5), -2 / 0.125 - 1.0, rel_tol=1e-14)


def test_named_losses_are_those_of_the_papers():
    kinds = {name: [(t.metric, t.form, t.weight, t.auxiliary) for t in terms] for name, terms in LOSSES.items()}
    assert kinds == {
        "esjd": [("euclidean", "mixed", 1, 1)],
        "esjd-plain": [("euclidean", "plain", 1, 0)],
        "circular": [("circular", "mixed", 1, 1)],
        "plaquette": [("plaquette", "mixed", 1, 1)],
        "plaquette-plain": [("plaquette", "plain", 1, 0)],
        "charge": [("charge", "plain", 1, 0)],
        "charge-mixed": [("charge", "mixed", 1, 1)],
        "topological": [("circular", "mixed", 1, 1), ("charge_change", "plain", 1, 1)],
    }
    assert all(term.floor == 1e-4 for terms in LOSSES.values() for term in terms)


def test_acceptance_is_the_formula():
    values = losses.acceptance(np.array([1.0, -1.0, 2.0]), np.array([0.5, 0.0, 3.0]))
    assert np.allclose(values, [math.exp(-0.5), 1.0, 1.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "far"}, "metric: got 'far', expected one of euclidean, circular"),
        ({"form": "best"}, "form: got 'best', expected one of mixed, plain"),
        ({"scale": 0.0}, "scale: got 0.0"),
        ({"floor": 0.0}, "floor: got 0.0"),
        ({"weight": -1.0}, "weight: got -1.0"),
        ({"auxiliary": math.nan}, "auxiliary: got nan"),
    ],
)
def test_bad_terms_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Term(**{"metric": "circular", **changes})


# --- optimiser -------------------------------------------------------------------------------------------------------
def test_rates_at_steps():
    assert Rate(0.1).at(10**6) == 0.1
    exponential, staircase = Rate(0.1, "exponential", 0.5, 10), Rate(0.1, "staircase", 0.5, 10)
    assert [exponential.at(n) for n in (0, 5, 20)] == pytest.approx([0.1, 0.1 * math.sqrt(0.5), 0.025], rel=1e-15)
    assert [staircase.at(n) for n in (0, 9, 10, 29)] == pytest.approx([0.1, 0.1, 0.05, 0.025], rel=1e-15)
    assert [Rate(0.1, "cosine", every=10).at(n) for n in (0, 5, 10, 20)] == pytest.approx([0.1, 0.05, 0, 0], abs=1e-16)
    default = Rate(schedule="staircase")
    assert default.at(100) == 0.96 * default.initial


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "fast"}, "schedule: got 'fast', expected one of constant, exponential, staircase, cosine"),
        ({"initial": 0.0}, "initial: got 0.0"),
        ({"decay": -1.0}, "decay: got -1.0"),
        ({"every": 0}, "every: got 0"),
    ],
)
def test_bad_rates_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Rate(**changes)


def test_adam_is_its_recursion():
    params, gradients = {"a": np.array([1.0, -2.0]), "b": np.array(3.0)}, [0.5, -0.2, 0.1]
    adam, m, v, expected = Adam.start(params), 0.0, 0.0, 1.0
    for n, g in enumerate(gradients, 1):
        before = adam.first["a"].copy()
        params, adam = adam.step(params, {"a": np.array([g, 0.0])}, 0.01)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 * (m / (1 - 0.9**n)) / (math.sqrt(v / (1 - 0.999**n)) + 1e-8)
        assert math.isclose(params["a"][0], expected, rel_tol=1e-14)
        assert n > 1 or np.all(before == 0)
    assert params["a"][1] == -2.0
    assert params["b"] == 3.0
    assert adam.steps == 3


def test_clipping_is_by_the_norm_of_all():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert global_norm(grads) == 5.0
    assert clipped(grads, 5.0) is grads
    short = clipped(grads, 1.0)
    assert np.allclose(short["a"], [0.6, 0.0], rtol=1e-15)
    assert np.allclose(short["b"], [[0.8]], rtol=1e-15)


# --- annealing -------------------------------------------------------------------------------------------------------
@settings(max_examples=100)
@given(begin=st.floats(0.01, 50), steps=st.integers(1, 1000), kind=st.sampled_from(["gamma", "temperature"]))
def test_annealing_ends_at_the_action_itself(begin, steps, kind):
    annealing = Annealing(begin, steps, kind)
    assert math.isclose(annealing.factor(0), begin, rel_tol=1e-15)
    assert annealing.factor(steps) == annealing.factor(steps + 7) == 1.0
    n = steps // 2
    if kind == "temperature":
        # T(n) = (T_i - T_f)(1 - n/N) + T_f (41); with beta(n) = factor * beta, 1/beta(n) = (1/b_i - 1/b_f)(1 - n/N) + 1/b_f (49)
        temperature, beta = 1 / begin, 3.0
        assert math.isclose(1 / annealing.factor(n), (temperature - 1) * (1 - n / steps) + 1, rel_tol=1e-12)
        inverse = (1 / (beta * begin) - 1 / beta) * (1 - n / steps) + 1 / beta
        assert math.isclose(1 / (beta * annealing.factor(n)), inverse, rel_tol=1e-12)
    else:
        assert math.isclose(annealing.factor(n), begin + (1 - begin) * n / steps, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 5), "start: got 0.0"), ((0.5, 0), "steps: got 0"), ((0.5, 5, "slow"), "kind: got 'slow', expected one of")],
)
def test_bad_annealing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Annealing(*arguments)


def test_annealed_training_samples_the_annealed_action():
    theory, seen = replace(THEORIES["gmm"]), []
    object.__setattr__(theory, "scaled", lambda factor: seen.append(factor) or THEORIES["gmm"].scaled(factor))
    model = build(THEORIES["gmm"], n_layers=1, v_net=SCALARS)
    recipe = Recipe(steps=6, chains=4, loss="esjd-plain", annealing=Annealing(0.2, 4))
    fit(theory, model, recipe, start(theory, model, recipe, 0))
    assert seen[-6:] == [recipe.factor(n) for n in range(6)]
    assert seen[-2:] == [1.0, 1.0]


def test_an_interrupted_training_keeps_every_finished_step(monkeypatch):
    model, recipe = small(), Recipe(steps=9, chains=3)
    whole, saved, own = fit(U1, model, recipe, start(U1, model, recipe, 1)), [], loop.loss_and_gradient
    calls = iter(range(100))

    def interrupted(*arguments, **options):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return own(*arguments, **options)

    monkeypatch.setattr(loop, "loss_and_gradient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(U1, model, recipe, start(U1, model, recipe, 1), save=saved.append)
    assert saved[-1].step == 4
    again = fit(U1, model, recipe, saved[-1])
    assert all(np.array_equal(again.params[key], whole.params[key]) for key in whole.params)


# --- the step --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("loss", ["charge", "topological"])
def test_loss_and_gradient_are_those_of_the_definition(merged, loss):
    model = build(U1, 2, n_layers=2, v_net=SCALARS, x_net=DENSE, merged=merged)
    x, terms = phase_point(U1, 5, 3)[0], LOSSES[loss]
    kernel = L2HMC(model)
    value, grads, info, x_moved, v = loop.loss_and_gradient(kernel, terms, x, spawn_rngs(4, 5))
    noise = kernel.noise(spawn_rngs(4, 5), x.shape)
    d = noise[2] if kernel.directed else np.ones(5)
    assert merged or len(set(d)) == 2
    assert np.array_equal(v, noise[0])

    def total(params):
        result = 0.0
        for sign in (1, -1):
            chains = np.flatnonzero(d == sign)
            if len(chains):
                y, w, logdet = definition.run(
                    U1.action, model.architecture, params, x[chains], v[chains], sign, model.net_weights, merged
                )
                h = [
                    U1.action.definition(q) + 0.5 * anp.sum(anp.reshape(p**2, (len(chains), -1)), axis=1)
                    for q, p in ((x[chains], v[chains]), (y, w))
                ]
                accept = anp.exp(anp.minimum(0.0, h[0] - h[1] + logdet))
                for term in terms:
                    result = result + term.weight * anp.sum(term.value(x[chains], y, accept)) / 5
        return result

    assert math.isclose(value, total(model.params), rel_tol=1e-11)
    expected = autograd.grad(total)(dict(model.params))
    size = max(np.max(np.abs(g)) for g in expected.values())
    for key, g in expected.items():
        assert np.max(np.abs(grads[key] - g)) < 1e-11 * size, key
    proposal, _, ours = kernel.propose(kernel.init(x), *noise)
    assert distance(U1, proposal.x, x_moved) < 1e-12
    assert np.array_equal(ours.accepted, info.accepted)


def test_the_auxiliary_term_is_the_loss_at_the_initialisation_distribution():
    model = small()
    terms = (Term("circular", "plain", auxiliary=0.7),)
    recipe = Recipe(steps=1, chains=6, loss=terms)
    begin = start(U1, model, recipe, 5)
    got = fit(U1, model, recipe, begin)
    rngs = spawn_rngs(0, 7)
    for rng, state in zip(rngs, begin.rng_states, strict=True):
        rng.bit_generator.state = state
    kernel = L2HMC(model)
    first = loop.loss_and_gradient(kernel, terms, begin.x, rngs[:-1])
    other = U1.start(rngs[-1], 6)
    second = loop.loss_and_gradient(kernel, terms, other, rngs[:-1], auxiliary=True)
    noise_free = Term("circular", "plain", weight=0.7)
    assert math.isclose(got.history[0, 0], first[0] + second[0], rel_tol=1e-14)
    assert second[0] != 0
    norm = global_norm({key: first[1][key] + second[1][key] for key in first[1]})
    assert math.isclose(got.history[0, 3], norm, rel_tol=1e-13)
    assert math.isclose(
        losses.expected_loss((noise_free,), other, other + 0.1, np.ones(6), False),
        losses.expected_loss(terms, other, other + 0.1, np.ones(6), True),
        rel_tol=1e-14,
    )


def test_history_holds_loss_acceptance_tunnelling_and_norm():
    model, recipe = small(), Recipe(steps=1, chains=8, rate=Rate(2e-3, "exponential", decay=0.5, every=1))
    begin = start(U1, model, recipe, 6)
    got = fit(U1, model, recipe, begin)
    rngs = spawn_rngs(0, 9)
    for rng, state in zip(rngs, begin.rng_states, strict=True):
        rng.bit_generator.state = state
    loss, grads, info, moved, _ = loop.loss_and_gradient(L2HMC(model), LOSSES["charge"], begin.x, rngs[:-1])
    hops = np.mean(info.acceptance * (observables.charge(moved) - observables.charge(begin.x)) ** 2)
    assert np.array_equal(got.history, [[loss, info.acceptance.mean(), hops, global_norm(grads)]])
    for c in range(8):
        assert np.array_equal(got.x[c], moved[c] if info.accepted[c] else begin.x[c])
    params, _ = Adam.start(model.params).step(model.params, clipped(grads, 0.1), 2e-3)
    assert all(np.array_equal(got.params[key], params[key]) for key in params)


def test_pretraining_changes_step_sizes_only():
    model = build(U1, 1, size=0.1, n_layers=2, v_net=DENSE)
    recipe = Recipe(steps=4, chains=4, pretrain=3)
    begin = start(U1, model, recipe, 7)
    three = fit(U1, model, replace(recipe, steps=3), begin)
    changed = {key for key in model.params if not np.array_equal(three.params[key], model.params[key])}
    assert changed == {"eps_x", "eps_v"}
    four = fit(U1, model, recipe, three)
    assert {key for key in model.params if not np.array_equal(four.params[key], model.params[key])} > changed


def test_average_and_best(monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 2)
    model, recipe = small(), Recipe(steps=6, chains=4, average=0.5)
    checkpoints = []
    end = fit(U1, model, recipe, start(U1, model, recipe, 8), save=checkpoints.append, save_every=1)
    assert [c.step for c in checkpoints] == [1, 2, 3, 4, 5, 6]
    average = checkpoints[0].params
    assert all(np.array_equal(checkpoints[0].average[key], average[key]) for key in average)
    for c in checkpoints[1:]:
        average = {key: 0.5 * average[key] + 0.5 * c.params[key] for key in average}
        assert all(np.allclose(c.average[key], average[key], rtol=1e-14) for key in average)
    assert checkpoints[0].best_score == -np.inf
    scores = end.history[:, 2].reshape(3, 2).mean(axis=1)
    assert end.best_score == scores.max()
    at = checkpoints[2 * int(np.argmax(scores)) + 1]
    assert all(np.array_equal(end.best[key], at.average[key]) for key in at.average)


def test_the_best_is_not_looked_for_while_annealing(monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 2)
    model = small()
    for settled in ({"annealing": Annealing(0.5, 3)}, {"warm_up": 3}, {"pretrain": 3}):
        recipe = Recipe(steps=6, chains=4, **settled)
        checkpoints = []
        fit(U1, model, recipe, start(U1, model, recipe, 8), save=checkpoints.append, save_every=1)
        assert [np.isfinite(c.best_score) for c in checkpoints] == [False] * 5 + [True]
    recipe = Recipe(steps=3, chains=4, warm_up=3)
    end = fit(U1, model, recipe, start(U1, model, recipe, 8))
    assert end.best_score == -np.inf
    assert end.best is end.average


def test_without_sectors_the_smallest_loss_is_the_best(monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 1)
    theory = THEORIES["gaussian"]
    model = build(theory, n_layers=1, v_net=SCALARS)
    recipe = Recipe(steps=5, chains=4, loss="esjd-plain")
    end = fit(theory, model, recipe, start(theory, model, recipe, 9))
    assert end.best_score == -end.history[:, 0].min()


def test_training_learns():
    # the step size of an untrained leapfrog, far too small, grows; a plain distance is what it is told to increase
    theory = THEORIES["gaussian"]
    model = build(theory, n_layers=2, size=0, step_size=0.05)
    recipe = Recipe(steps=60, chains=32, loss="esjd-plain", rate=Rate(0.02), clip=10.0, refresh="exact")
    end = fit(theory, model, recipe, start(theory, model, recipe, 10))
    assert end.params["eps_x"].min() > 0.3
    assert end.history[-10:, 0].mean() < 5 * end.history[:5, 0].mean()


# --- resuming --------------------------------------------------------------------------------------------------------
RESUMED = {
    "direction": (small(), Recipe(steps=20, chains=5)),
    "merged": (small(merged=True), Recipe(steps=20, chains=5, loss="topological", pretrain=4)),
    "exact": (small(merged=True), Recipe(steps=20, chains=5, refresh="exact", rate=Rate(1e-2, "cosine", every=20))),
    "annealed": (small(), Recipe(steps=20, chains=5, annealing=Annealing(0.3, 7), thermalise=1)),
    "annealed on": (small(), Recipe(steps=20, chains=5, annealing=Annealing(0.3, 15), thermalise=1)),
    "nets": (
        build(U1, 1, n_layers=2, v_net=NORMED, x_net=DENSE, mask="checkerboard"),
        Recipe(steps=20, chains=5, rate=Rate(1e-2, "staircase", every=7)),
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_resuming_is_going_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 4)
    model, recipe = RESUMED[name]
    begin = start(U1, model, recipe, 11)
    whole = fit(U1, model, recipe, begin)
    assert same(whole, fit(U1, model, recipe, start(U1, model, recipe, 11)))
    assert not same(whole, fit(U1, model, recipe, start(U1, model, recipe, 12)))

    class Stopped(Exception):
        pass

    def stop(checkpoint):
        save_checkpoint(tmp_path, checkpoint)
        raise Stopped

    for step in (3, 10):
        with pytest.raises(Stopped):
            fit(U1, model, recipe, begin, save=stop, save_every=step)
        half = load_checkpoint(tmp_path)
        assert half.step == step
        assert same(whole, fit(U1, model, recipe, half))
    # a training that was to end sooner, and is continued
    save_checkpoint(tmp_path, fit(U1, model, replace(recipe, steps=8), begin))
    assert same(whole, fit(U1, model, recipe, load_checkpoint(tmp_path)))
    save_checkpoint(tmp_path, whole)
    assert same(whole, load_checkpoint(tmp_path))
    assert same(whole, fit(U1, model, recipe, whole))
    save_checkpoint(tmp_path, begin)
    assert same(begin, load_checkpoint(tmp_path))


def test_thermalising_follows_a_change_of_the_action_only(monkeypatch):
    calls = []
    own = loop._thermalised
    monkeypatch.setattr(loop, "_thermalised", lambda at, *rest: calls.append(at.parameters["beta"]) or own(at, *rest))
    model, recipe = small(), Recipe(steps=6, chains=3, annealing=Annealing(0.5, 3, "gamma"), thermalise=2)
    fit(U1, model, recipe, start(U1, model, recipe, 13))
    assert np.allclose(calls, [2 * (0.5 + 0.5 / 3), 2 * (0.5 + 1 / 3), 2.0], rtol=1e-14)
    calls.clear()
    fit(U1, model, replace(recipe, refresh="exact"), start(U1, model, recipe, 13))
    assert calls == []


# --- batch normalisation ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("merged", [False, True])
def test_training_moves_the_statistics_and_sampling_does_not(merged):
    model = build(U1, 14, n_layers=2, v_net=NORMED, merged=merged)
    recipe = Recipe(steps=1, chains=6, statistics=0.25)
    begin = start(U1, model, recipe, 15)
    got = fit(U1, model, recipe, begin)
    v = L2HMC(model).noise(spawn_rngs_at(begin), begin.x.shape)[0]
    after = model.replace(params={**got.params, **{key: model.params[key] for key in STATISTICS}})
    expected = after.with_statistics(begin.x, v, 0.25)
    for key in STATISTICS:
        assert np.array_equal(got.params[key], expected[key])
        assert np.all(got.params[key] != model.params[key])
    still = fit(U1, model, replace(recipe, statistics=0.0), begin)
    assert all(np.array_equal(still.params[key], model.params[key]) for key in STATISTICS)
    kernel = L2HMC(model)
    copies = {key: value.copy() for key, value in model.params.items()}
    kernel.step(spawn_rngs(0, 6), kernel.init(begin.x))
    assert all(np.array_equal(model.params[key], copies[key]) for key in copies)


STATISTICS = ("v/norm/mean", "v/norm/variance")


def spawn_rngs_at(checkpoint):
    rngs = spawn_rngs(0, len(checkpoint.rng_states))
    for rng, state in zip(rngs, checkpoint.rng_states, strict=True):
        rng.bit_generator.state = state
    return rngs[:-1]


# --- what breaks -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Harmonic:
    """``S = x.x/2`` that fails in one of two ways: everywhere after some calls, or beyond a wall."""

    calls: list
    last: float = np.inf
    wall: float = np.inf
    angular: ClassVar[bool] = False

    def action_and_force(self, x):
        self.calls.append(len(x))
        bad = (np.abs(x) > self.wall) | (len(self.calls) > self.last)
        return np.where(bad, np.nan, 0.5 * x * x).sum(axis=1), np.where(bad, np.nan, x)

    def action(self, x):
        return np.where(np.abs(x) > self.wall, np.nan, 0.5 * x * x).sum(axis=1)

    def force(self, x):
        return np.array(x)

    def dynamics(self, x, v):
        return None

    def hessian_product(self, x, w):
        return w

    def definition(self, x):
        return anp.sum(0.5 * x * x, axis=1)


def harmonic(**failures):
    theory = replace(theories.gaussian(np.eye(2)), action=Harmonic([], **failures))
    model = build(theory, 1, n_layers=1, v_net=SCALARS, x_net=SCALARS, size=0, step_size=0.3)
    return theory, model


def test_an_action_that_fails_stops_training_at_a_good_checkpoint(tmp_path):
    theory, model = harmonic(last=8)
    recipe = Recipe(steps=10, chains=4, loss="esjd-plain")
    saved = []
    with pytest.raises(TrainingError, match=r"stopped at step 4: .*; the last good checkpoint, of step 4, is kept"):
        fit(
            theory,
            model,
            recipe,
            start(theory, model, recipe, 1),
            save=lambda c: saved.append(c) or save_checkpoint(tmp_path, c),
        )
    assert len(saved) == 1
    kept = load_checkpoint(tmp_path)
    assert kept.step == 4
    assert np.all(np.isfinite(kept.history))
    assert all(np.all(np.isfinite(value)) for value in kept.params.values())
    # and it goes on where the action is well again
    well, _ = harmonic()
    assert fit(well, model.replace(action=well.action), recipe, kept).step == 10


def test_a_start_without_action_stops_training():
    theory, model = harmonic(wall=1e-9)
    recipe = Recipe(steps=2, chains=4, loss="esjd-plain")
    with pytest.raises(TrainingError, match="stopped at step 0: x: got a field of action nan"):
        fit(theory, model, recipe, start(theory, model, recipe, 1))


@pytest.mark.parametrize("theory", ["u1", "gmm", "o2"])
def test_step_sizes_that_explode_stop_training(theory):
    theory = THEORIES[theory]
    model = build(theory, n_layers=3, v_net=SCALARS, x_net=DENSE, step_size=1e200)
    recipe = Recipe(steps=2, chains=3, loss="circular" if theory.action.angular else "esjd")
    with pytest.raises(TrainingError, match="stopped at step 0: every proposal diverges"):
        fit(theory, model, recipe, start(theory, model, recipe, 1))


def test_a_gradient_that_is_not_finite_stops_training(monkeypatch):
    own = loop.loss_and_gradient

    def broken(*arguments, **options):
        loss, grads, *rest = own(*arguments, **options)
        return loss, {**grads, "eps_x": np.full_like(grads["eps_x"], np.inf)}, *rest

    monkeypatch.setattr(loop, "loss_and_gradient", broken)
    model, recipe = small(), Recipe(steps=2, chains=3)
    with pytest.raises(TrainingError, match=r"stopped at step 0: loss .*norm of the gradient inf"):
        fit(U1, model, recipe, start(U1, model, recipe, 1))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("form", ["plain", "mixed"])
def test_single_chains_that_diverge_count_as_rejected(merged, form):
    _, model = harmonic(wall=2.0)
    model = model.replace(merged=merged)
    terms = (Term("euclidean", form),)
    x = np.array([[0.1, 0.2], [1.95, 0.0], [-0.3, 0.4], [0.5, 0.1]])
    seeds = [seed for seed in range(200) if self_diverges(model, x, seed) == [False, True, False, False]]
    assert len(seeds) > 5
    for seed in seeds[:5]:
        loss, grads, info, x_moved, _ = loop.loss_and_gradient(L2HMC(model), terms, x, spawn_rngs(seed, 4))
        rest = [c for c in range(4) if c != 1]
        rngs = [spawn_rngs(seed, 4)[c] for c in rest]
        other, expected, *_ = loop.loss_and_gradient(L2HMC(model), terms, x[rest], rngs)
        rejected = 1e4 - 1e-4 if form == "mixed" else 0.0
        assert math.isclose(loss, 0.75 * other + 0.25 * rejected, rel_tol=1e-12)
        assert all(np.allclose(grads[key], 0.75 * expected[key], rtol=1e-12, atol=1e-14) for key in grads)
        assert list(info.non_finite) == [False, True, False, False]
        assert not info.accepted[1]
        assert np.array_equal(x_moved[1], x[1])


def self_diverges(model, x, seed):
    kernel = L2HMC(model)
    _, _, info = kernel.propose(kernel.init(x), *kernel.noise(spawn_rngs(seed, len(x)), x.shape))
    return list(info.non_finite)


@pytest.mark.parametrize("name", ["u1", "gmm", "o2"])
def test_training_survives_a_chain_that_diverges(name, monkeypatch):
    theory = THEORIES[name]
    model = build(theory, n_layers=2, v_net=SCALARS, x_net=DENSE, size=0.1)
    own = L2HMC.noise

    def hot(self, rngs, shape):
        v, *rest = own(self, rngs, shape)
        v[0] = np.inf
        v[1] = 1e180
        return v, *rest

    monkeypatch.setattr(L2HMC, "noise", hot)
    recipe = Recipe(steps=5, chains=4, loss="circular" if theory.action.angular else "esjd")
    begin = start(theory, model, recipe, 1)
    end = fit(theory, model, recipe, begin)
    assert np.array_equal(end.x[:2], begin.x[:2])
    assert np.all(np.isfinite(end.history))
    assert end.history[:, 1].max() <= 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"chains": 0}, "chains: got 0"),
        ({"thermalise": -1}, "thermalise: got -1"),
        ({"pretrain": -1}, "pretrain: got -1"),
        ({"warm_up": -1}, "warm_up: got -1"),
        ({"clip": 0.0}, "clip: got 0.0"),
        ({"average": 1.0}, r"average: got 1\.0, expected a number from 0 to below 1"),
        ({"average": -0.1}, r"average: got -0\.1"),
        ({"statistics": 1.1}, r"statistics: got 1\.1, expected a number from 0 to 1"),
        ({"refresh": "never"}, "refresh: got 'never', expected one of chains, exact"),
        ({"loss": "best"}, "loss: got 'best', expected one of esjd"),
    ],
)
def test_bad_recipes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_recipes_that_do_not_fit_the_theory_are_refused():
    gmm, model = THEORIES["gmm"], build(THEORIES["gmm"], n_layers=1)
    cases = [
        (U1, model, Recipe(), r"theory: got fields \(2, 4, 4\), expected \(2,\)"),
        (gmm, model, Recipe(), "loss: got 'charge' on 'gmm', which has no plaquettes"),
        (U1, small(), Recipe(loss="esjd"), "loss: got 'euclidean' on the angles of 'u1'"),
        (
            gmm,
            model,
            Recipe(loss="esjd", refresh="exact", annealing=Annealing(0.5, 2)),
            "refresh: got 'exact', but 'gmm' at another temperature has no exact sampler",
        ),
    ]
    for theory, of, recipe, message in cases:
        with pytest.raises(ValueError, match=message):
            start(theory, of, recipe, 0)
    begin = start(U1, small(), Recipe(chains=3), 0)
    with pytest.raises(ValueError, match=r"checkpoint: got chains \(3, 2, 4, 4\), expected \(4, 2, 4, 4\)"):
        fit(U1, small(), Recipe(chains=4), begin)
    with pytest.raises(ValueError, match="params: got"):
        fit(U1, small(n_layers=3), Recipe(chains=3), begin)


# --- files -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("merged", [False, True])
def test_models_come_back_from_files(merged, tmp_path):
    options = {"mask": "stripes", "mask_seed": 3, "time": True, "encoding": "masked_angle", "winding": 1}
    weights = NetWeights(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    model = build(U1, 16, n_layers=3, v_net=NORMED, x_net=DENSE, merged=merged, weights=weights, **options)
    save_model(tmp_path, model, U1, {"steps": 7, "loss": "charge"})
    again, theory, recipe = load_model(tmp_path)
    assert again.architecture == model.architecture
    assert again.merged == merged
    assert again.net_weights == weights
    assert recipe == {"steps": 7, "loss": "charge"}
    assert (theory.name, dict(theory.parameters)) == ("u1", dict(U1.parameters))
    z = phase_point(U1, 3, 17)
    for run, other in ((model.forward, again.forward), (model.inverse, again.inverse)):
        ((x, v), logdet), ((y, w), logdet_again) = run(z), other(z)
        assert np.array_equal(x, y)
        assert np.array_equal(v, w)
        assert np.array_equal(logdet, logdet_again)


@pytest.mark.parametrize("name", THEORIES)
def test_every_theory_comes_back_from_files(name, tmp_path):
    theory = THEORIES[name]
    save_model(tmp_path, build(theory, n_layers=1, v_net=SCALARS), theory, {})
    again = load_model(tmp_path)[1]
    assert again.field_shape == theory.field_shape
    x = theory.sample(np.random.default_rng(0), 3)
    assert np.array_equal(again.action.action(x), theory.action.action(x))


def test_models_on_another_lattice(tmp_path):
    other = theories.u1(3.0, (6, 8))
    for v_net in (SCALARS, NORMED):
        save_model(tmp_path, build(U1, 18, n_layers=2, v_net=v_net), U1, {})
        model, theory, _ = load_model(tmp_path, other)
        assert theory is other
        assert model.architecture.field_shape == (2, 6, 8)
        assert model.action == other.action
        x, v = phase_point(other, 2, 19)
        (y, w), logdet = model.forward((x, v))
        (x_back, _), logdet_back = model.inverse((y, w))
        assert distance(other, x, x_back) < 1e-12
        assert np.max(np.abs(logdet + logdet_back)) < 1e-12
    warm = theories.u1(1.0, (4, 4))
    assert load_model(tmp_path, warm)[0].action == warm.action
    for net in (DENSE, Net("conv", filters=(2,), units=(3,)), Net("stencil", filters=(2,), rank=1)):
        save_model(tmp_path, build(U1, 18, n_layers=2, v_net=net), U1, {})
        with pytest.raises(ValueError, match=r"weights\.npz: params: got .*\(weights of a model on \(2, 4, 4\)\)"):
            load_model(tmp_path, other)
    with pytest.raises(ValueError, match="got weights for theory 'u1', expected 'gmm'"):
        load_model(tmp_path, THEORIES["gmm"])


def test_files_that_are_missing_damaged_or_foreign_are_refused(tmp_path):
    model, recipe = small(), Recipe(chains=3, steps=2)
    weights, state = tmp_path / files.WEIGHTS, tmp_path / files.STATE
    with pytest.raises(ValueError, match=r"weights\.npz: got no such file, expected one of kind 'l2hmc'"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint\.npz: got no such file, expected one of kind 'training'"):
        load_checkpoint(tmp_path)
    save_model(tmp_path, model, U1, {})
    save_checkpoint(tmp_path, start(U1, model, recipe, 0))
    for path, load in ((weights, load_model), (state, load_checkpoint)):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"not a zip", whole[:200] + b"\xff" * 40 + whole[240:]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=str(path.name)):
                load(tmp_path)
        path.write_bytes(whole)
        load(tmp_path)
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    (swapped / files.WEIGHTS).write_bytes(state.read_bytes())
    (swapped / files.STATE).write_bytes(weights.read_bytes())
    with pytest.raises(ValueError, match="got a file of kind 'training', expected 'l2hmc'"):
        load_model(swapped)
    with pytest.raises(ValueError, match="got a file of kind 'l2hmc', expected 'training'"):
        load_checkpoint(swapped)


@pytest.mark.parametrize(
    "change",
    [
        {"theory": None},
        {"theory": {"name": "su3", "parameters": {}}},
        {"theory": {"name": "u1", "parameters": {"beta": 2.0}}},
        {"architecture": {}},
        {"architecture": "large"},
        {"architecture": {"v_net": "dense", "x_net": None}},
        {"recipe": 3},
    ],
)
def test_records_that_make_no_model_are_refused(change, tmp_path):
    save_model(tmp_path, small(), U1, {})
    params, meta = nets.load(tmp_path / files.WEIGHTS)
    nets.save(tmp_path / files.WEIGHTS, params, {**meta, **change})
    with pytest.raises(
        ValueError, match=r"weights\.npz: got a record with .*, expected weights of a generalized leapfrog"
    ):
        load_model(tmp_path)
    nets.save(tmp_path / files.WEIGHTS, {**params, "eps_x": np.zeros(7)}, meta)
    with pytest.raises(ValueError, match=r"weights\.npz: params: got eps_x of float64 \(7,\), expected float64 \(2,\)"):
        load_model(tmp_path)


def test_checkpoints_without_a_part_are_refused(tmp_path):
    save_checkpoint(tmp_path, start(U1, small(), Recipe(chains=3), 0))
    arrays, meta = nets.load(tmp_path / files.STATE)
    for without in ("x", "history"):
        nets.save(tmp_path / files.STATE, {key: a for key, a in arrays.items() if key != without}, meta)
        with pytest.raises(ValueError, match=f"KeyError.'{without}'.*, expected a training checkpoint"):
            load_checkpoint(tmp_path)
    for without in ("step", "rngs", "best_score", "adam_steps"):
        nets.save(tmp_path / files.STATE, arrays, {key: value for key, value in meta.items() if key != without})
        with pytest.raises(ValueError, match=f"KeyError.'{without}'.*, expected a training checkpoint"):
            load_checkpoint(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    model = small()
    begin = start(U1, model, Recipe(chains=3), 0)
    save_checkpoint(tmp_path, begin)
    before = (tmp_path / files.STATE).read_bytes()

    def full(*arguments, **arrays):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, replace(begin, step=5))
    assert (tmp_path / files.STATE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [files.STATE]


# --- recipes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["scalars", "convolutional", "mixture", "mixture merged"])
def test_recipes_run(name):
    if name.startswith("mixture"):
        theory = theories.gmm()
        model, recipe = recipes.mixture(theory, steps=3, merged=name.endswith("merged"))
    else:
        theory = theories.u1(4.0, (4, 4))
        model, recipe = {"scalars": recipes.scalars, "convolutional": recipes.convolutional}[name](theory, 4, steps=3)
    recipe = replace(recipe, chains=8)
    end = fit(theory, model, recipe, start(theory, model, recipe, 1))
    assert end.step == 3
    assert np.all(np.isfinite(end.history))
    assert np.all(end.history[:, 1] > 0.01)
    assert any(not np.array_equal(end.params[key], model.params[key]) for key in end.params)


def test_tempering_heats_and_cools():
    theory = theories.u1(4.0, (4, 4))
    model = recipes.tempering(theory, 3, 0.2, 0.5)
    assert model.merged
    z = phase_point(theory, 2, 0)
    _, logdet = model.forward(z)
    assert np.max(np.abs(logdet)) < 1e-12
    _, logdet = model.replace(merged=False).forward(z)
    assert np.allclose(logdet, 3 * 0.2 * 0.5 * 32, rtol=1e-13)


@pytest.mark.parametrize(
    "net", [SCALARS, DENSE, Net("dense", units=(4,), rank=2), NORMED, Net("stencil", filters=(2,), rank=1)]
)
def test_heated_nets_return_their_heat(net):
    model = build(U1, 20, n_layers=2, v_net=net, size=0)
    params = recipes.heated(model.architecture, model.params, 0.4)
    _, logdet = model.replace(params=params).forward(phase_point(U1, 3, 21))
    # eps s summed over two layers of 32 links; weights of a hundredth move s by a few per cent
    assert np.allclose(logdet, 2 * 0.15 * 0.4 * 32, rtol=0.1)
    assert np.all(model.replace(params=model.params).forward(phase_point(U1, 3, 21))[1] == 0)


def test_recipes_refuse_what_they_cannot_do():
    for recipe in (recipes.scalars, recipes.convolutional):
        with pytest.raises(ValueError, match="theory: got 'gmm', expected 'u1'"):
            recipe(THEORIES["gmm"])
    model = build(U1, n_layers=1, v_net=DENSE)
    with pytest.raises(ValueError, match=r"s: got 1\.0, expected a number below 1"):
        recipes.heated(model.architecture, model.params, 1.0)
    for net in (None, Net("scalars", outputs="q")):
        other = build(U1, n_layers=1, v_net=net)
        with pytest.raises(ValueError, match="architecture: got no momentum net with an output 's'"):
            recipes.heated(other.architecture, other.params, 0.5)


def test_heat_and_step_size_at_couplings():
    assert recipes.tuned_step_size(4.0) == 0.175
    assert [recipes.heat(beta) for beta in (0.1, 4.0, 6.0, 20.0)] == pytest.approx([0.05, 0.3, 0.44, 0.6])
