"""Training of flows: the loss and its gradient, an optimum in closed form, resuming bit for bit, and what breaks."""

import json
import math
from dataclasses import asdict, replace

import autograd
import numpy as np
import pytest

from refimpl import theories
from refimpl.estimators.reweighting import relative_ess
from refimpl.exact import free_scalar
from refimpl.maps import Chain, Inverse
from refimpl.models import Flow, Haar, Normal, UniformAngles
from refimpl.training import (
    Adam,
    Annealing,
    FlowRecipe,
    Rate,
    TrainingError,
    fit_flow,
    flow_recipe_from,
    reverse_kl,
    start_flow,
)
from refimpl.training.optimise import joined, parted

from .flow_layers import Diagonal, Squeeze

FREE = theories.phi4(1.0, 0.0, (2, 2))


def scalar_flow(seed=0, layers=2):
    rng = np.random.default_rng(seed)
    return Flow(Normal((2, 2)), Chain([Diagonal.init(rng, (2, 2)) for _ in range(layers)]))


def same(a, b):
    """Equality of checkpoints to the last bit."""
    pairs = [(a.weights, b.weights), (a.average, b.average), (a.history, b.history)]
    pairs += [(a.adam.first["all"], b.adam.first["all"]), (a.adam.second["all"], b.adam.second["all"])]
    return (
        all(np.array_equal(x, y) for x, y in pairs)
        and (a.step, a.adam.steps) == (b.step, b.adam.steps)
        and json.dumps(a.rng_state) == json.dumps(b.rng_state)
    )


# --- loss and gradient ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_the_gradient_is_that_of_the_loss_as_written(factor):
    rng = np.random.default_rng(1)
    theory = theories.u1(1.5, (2, 3))
    flow = Flow(UniformAngles((2, 3)), Chain([Squeeze.init(rng, (2, 3), 0.4) for _ in range(3)]))
    z = flow.prior.sample(rng, 5)

    def loss(weights):
        x, logdet = flow.map.definition(parted(weights, flow.map.params), z)
        return np.mean(flow.prior.log_prob(z)) - autograd.numpy.mean(logdet - factor * theory.action.definition(x))

    weights = joined(flow.map.params)
    value, expected = autograd.value_and_grad(loss)(weights)
    losses, grads = reverse_kl(theory, flow, z, factor)
    # sums of some hundred terms of size 1
    assert math.isclose(losses.mean(), value, rel_tol=1e-13)
    np.testing.assert_allclose(joined(grads), expected, rtol=1e-11, atol=1e-12)


def test_loss_is_minus_the_log_weight_of_the_samples():
    flow = scalar_flow()
    z = flow.prior.sample(np.random.default_rng(2), 6)
    x, log_prob = flow.sample(np.random.default_rng(2), 6)
    np.testing.assert_allclose(reverse_kl(FREE, flow, z)[0], log_prob + FREE.action.action(x), rtol=1e-13)


# --- optimiser --------------------------------------------------------------------------------------------------------
def test_a_rate_warms_up():
    rate = Rate(0.8, "staircase", decay=0.5, every=4, warm_up=2)
    assert [rate.at(n) for n in (0, 1, 2, 3, 4, 8)] == [0.4, 0.8, 0.8, 0.8, 0.4, 0.2]
    with pytest.raises(ValueError, match="warm_up"):
        Rate(warm_up=-1)


def test_weight_decay_and_epsilon_are_those_of_adamw():
    params, grads = {"w": np.array([2.0, -1.0])}, {"w": np.array([0.5, 0.0])}
    plain, state = Adam.start(params).step(params, grads, 0.1, epsilon=0.5)
    # the first step of Adam is rate g/(|g| + epsilon)
    np.testing.assert_allclose(plain["w"], [2 - 0.1 * 0.5, -1.0], rtol=1e-14)
    decayed, other = Adam.start(params).step(params, grads, 0.1, weight_decay=0.2, epsilon=0.5)
    np.testing.assert_allclose(decayed["w"], plain["w"] - 0.1 * 0.2 * params["w"], rtol=1e-14)
    assert np.array_equal(state.first["w"], other.first["w"])


def test_parameters_joined_and_parted():
    params = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(7.0), "c": np.zeros((0, 2))}
    weights = joined(params)
    assert np.array_equal(weights, [0, 1, 2, 3, 4, 5, 7])
    again = parted(weights, params)
    assert again.keys() == params.keys()
    assert all(np.array_equal(again[key], params[key]) for key in params)
    assert joined({}).shape == (0,)


# --- training ---------------------------------------------------------------------------------------------------------
def test_training_finds_the_closest_product_of_normals():
    flow = scalar_flow()
    recipe = FlowRecipe(steps=500, batch=256, rate=Rate(3e-2, "cosine", every=500), average=0.9, seed=4)
    done = fit_flow(FREE, flow, recipe)
    # Of products of normals that with precisions K_ii = 1 + 4 is closest to exp(-x K x/2), at KL - log Z = -(V/2) log(2 pi/5).
    layers = done.flow(flow).map.layers
    scale = layers[0].params["s"] + layers[1].params["s"]
    mean = np.exp(layers[1].params["s"]) * layers[0].params["t"] + layers[1].params["t"]
    # The gradient in s of a batch has noise sqrt((2 + offdiagonal part)/256) < 0.15, averaged over 100 and more late steps.
    assert np.max(np.abs(scale + 0.5 * math.log(5))) < 0.05
    assert np.max(np.abs(mean)) < 0.05
    losses = reverse_kl(FREE, done.flow(flow), flow.prior.sample(np.random.default_rng(5), 20_000))[0]
    error = losses.std() / math.sqrt(20_000)
    assert abs(losses.mean() + 2 * math.log(2 * math.pi / 5)) < 5 * error + 4 * 0.05**2
    assert losses.mean() > -free_scalar.log_partition(1.0, (2, 2))


def test_history_holds_loss_spread_relative_ess_and_norm():
    flow, recipe = scalar_flow(), FlowRecipe(steps=3, batch=8, seed=9, clip=None)
    done = fit_flow(FREE, flow, recipe)
    z = flow.prior.sample(np.random.default_rng(9), 8)
    losses, grads = reverse_kl(FREE, flow, z)
    row = [
        losses.mean(),
        losses.std(),
        relative_ess(-losses),
        math.sqrt(sum(np.sum(g**2) for g in grads.values())),
    ]
    assert done.history.shape == (3, 4)
    np.testing.assert_allclose(done.history[0], row, rtol=1e-13)


def test_clipping_scales_the_gradient_of_a_step():
    flow = scalar_flow()
    steep = FlowRecipe(steps=1, batch=8, rate=Rate(1.0), epsilon=1.0, average=0.0)
    free, short = (fit_flow(FREE, flow, replace(steep, clip=clip)) for clip in (None, 0.01))
    # With epsilon 1 a first step is g/(|g| + 1): of a small gradient it is the gradient itself.
    norm = free.history[0, 3]
    moved = joined(flow.map.params) - short.weights
    assert norm > 1
    g = joined(reverse_kl(FREE, flow, flow.prior.sample(np.random.default_rng(0), 8))[1]) * 0.01 / norm
    np.testing.assert_allclose(moved, g / (np.abs(g) + 1), rtol=1e-12)


def test_every_step_has_the_rate_of_its_number():
    flow, recipe = scalar_flow(), FlowRecipe(steps=1, batch=4, rate=Rate(1e-2, "cosine", every=1))
    one, two = (fit_flow(FREE, flow, replace(recipe, steps=n)).weights for n in (1, 2))
    assert not np.array_equal(one, joined(flow.map.params))
    assert np.array_equal(one, two)  # the cosine is 0 at step 1


def test_the_average_forgets_the_start():
    flow = scalar_flow()
    recipe = FlowRecipe(steps=3, batch=4, average=0.25)
    expected = joined(flow.map.params)
    for n in (1, 2, 3):  # decays min(1/4, n/(n + 9)): 1/10, 2/11, 1/4
        weights = fit_flow(FREE, flow, replace(recipe, steps=n)).weights
        decay = min(0.25, n / (n + 9))
        expected = decay * expected + (1 - decay) * weights
    np.testing.assert_allclose(fit_flow(FREE, flow, recipe).average, expected, rtol=1e-14)
    assert np.array_equal(
        joined(fit_flow(FREE, flow, recipe).flow(flow).map.params), fit_flow(FREE, flow, recipe).average
    )


def test_annealing_scales_the_action():
    flow = scalar_flow()
    recipe = FlowRecipe(steps=1, batch=8, annealing=Annealing(0.25, 10, "gamma"))
    z = flow.prior.sample(np.random.default_rng(0), 8)
    assert math.isclose(
        fit_flow(FREE, flow, recipe).history[0, 0], reverse_kl(FREE, flow, z, 0.25)[0].mean(), rel_tol=1e-14
    )


@pytest.mark.parametrize("parts", [(1, 10), (4, 7, 10)])
def test_training_resumes_bit_for_bit(parts):
    flow = scalar_flow()
    recipe = FlowRecipe(steps=10, batch=8, rate=Rate(1e-2, "cosine", every=10, warm_up=3), weight_decay=0.01)
    once = fit_flow(FREE, flow, recipe)
    checkpoint = None
    for steps in parts:
        checkpoint = fit_flow(FREE, flow, replace(recipe, steps=steps), checkpoint)
    assert same(once, checkpoint)


def test_other_seeds_are_other_trainings():
    flow = scalar_flow()
    a, b = (fit_flow(FREE, flow, FlowRecipe(steps=1, batch=8, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(a.weights, b.weights)


# --- what breaks ------------------------------------------------------------------------------------------------------
class Breaking:
    """An action that is not finite from one call on."""

    angular = False

    def __init__(self, calls, value=np.nan):
        self.left, self.value = calls, value

    def action_and_force(self, x):
        self.left -= 1
        energy, force = FREE.action.action_and_force(x)
        return (energy, force) if self.left >= 0 else (energy * self.value, force * self.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(value):
    flow, recipe, kept = scalar_flow(), FlowRecipe(steps=10, batch=4), []
    with pytest.raises(TrainingError, match=r"stopped at step 3: loss .*of step 2, is kept"):
        fit_flow(replace(FREE, action=Breaking(3, value)), flow, recipe, save=kept.append, save_every=1)
    # Steps 0, 1, 2 had finite losses; the parameters after them made one that was not.
    assert same(kept[-1], fit_flow(FREE, flow, replace(recipe, steps=2)))


def test_fields_that_the_theory_refuses_keep_the_last_good_checkpoint():
    class Refusing(Breaking):
        def action_and_force(self, x):
            if self.left == 0:
                raise ValueError("x: got matrices with det U off 1")
            return super().action_and_force(x)

    flow, recipe, kept = scalar_flow(), FlowRecipe(steps=10, batch=4), []
    with pytest.raises(TrainingError, match=r"stopped at step 3: x: got matrices .*of step 2, is kept"):
        fit_flow(replace(FREE, action=Refusing(3)), flow, recipe, save=kept.append)
    assert same(kept[-1], fit_flow(FREE, flow, replace(recipe, steps=2)))


def test_a_first_loss_that_is_not_finite_keeps_the_start():
    flow, kept = scalar_flow(), []
    with pytest.raises(TrainingError, match="of step 0, is kept"):
        fit_flow(replace(FREE, action=Breaking(0)), flow, FlowRecipe(steps=10, batch=4), save=kept.append)
    assert same(kept[-1], start_flow(flow, FlowRecipe()))


def test_an_interruption_keeps_what_is_done():
    class Interrupting(Breaking):
        def action_and_force(self, x):
            if self.left == 0:
                raise KeyboardInterrupt
            return super().action_and_force(x)

    flow, recipe, kept = scalar_flow(), FlowRecipe(steps=10, batch=4), []
    with pytest.raises(KeyboardInterrupt):
        fit_flow(replace(FREE, action=Interrupting(3)), flow, recipe, save=kept.append)
    assert same(kept[-1], fit_flow(FREE, flow, replace(recipe, steps=3)))
    assert same(fit_flow(FREE, flow, recipe, kept[-1]), fit_flow(FREE, flow, recipe))


def test_what_does_not_belong_together_is_refused():
    flow, recipe = scalar_flow(), FlowRecipe(steps=1)
    with pytest.raises(ValueError, match=r"theory: got fields \(3, 3\), expected those of the flow, \(2, 2\)"):
        fit_flow(theories.phi4(1.0, 0.0, (3, 3)), flow, recipe)
    with pytest.raises(ValueError, match="got a map Inverse, expected one with a pullback"):
        fit_flow(FREE, replace(flow, map=Inverse(flow.map)), recipe)
    with pytest.raises(ValueError, match="got a map without parameters"):
        fit_flow(theories.su2(1.0, (2, 2)), Flow(Haar(2, (2, 2)), Chain([])), recipe)
    with pytest.raises(ValueError, match="got 24 parameters, expected 16: another architecture"):
        fit_flow(FREE, flow, recipe, start_flow(scalar_flow(layers=3), recipe))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"batch": 1}, "batch: got 1"),
        ({"clip": 0.0}, "clip: got 0"),
        ({"average": 1.0}, "average: got 1"),
        ({"epsilon": 0.0}, "epsilon: got 0"),
        ({"weight_decay": -0.1}, "weight_decay: got -0.1"),
        ({"rate": 1e-3}, "rate: got 0.001"),
        ({"annealing": 0.5}, "annealing: got 0.5"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FlowRecipe(**options)


def test_a_recipe_survives_json():
    recipe = FlowRecipe(7, 9, Rate(1e-3, "cosine", every=3), None, 0.5, annealing=Annealing(0.5, 4))
    assert flow_recipe_from(json.loads(json.dumps(asdict(recipe)))) == recipe
    with pytest.raises(ValueError, match="expected the record of a flow's recipe"):
        flow_recipe_from({**asdict(recipe), "chains": 3})
