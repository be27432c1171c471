"""Training of joint models: the loss as defined, its gradient, trace and samples of chi, exact diagnostics, resuming, refusals."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest

from refimpl import theories
from refimpl.actions import WilsonU1, hasenbusch
from refimpl.actions.pseudofermion_columns import MonomialForms, weight_matrix
from refimpl.estimators.reweighting import relative_ess
from refimpl.maps import Chain, Inverse
from refimpl.maps.context import Context
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.models import Conditional, Flow, Haar, JointModel, UniformAngles
from refimpl.training import (
    FlowPlan,
    FlowRecipe,
    JointRecipe,
    Rate,
    TrainingError,
    fit_joint,
    joint_columns,
    joint_loss,
    joint_recipe_from,
    start_joint,
)
from refimpl.training.joint import gauge_action, regularised
from refimpl.training.optimise import global_norm, joined

from .test_training_flow import same

SHAPE, BETA, KAPPA = (4, 4), 2.0, 0.265
MUS = (0.05,)
REGULATOR = 1e-3
# Two ways to the same solution differ by eps times condition numbers, below 1e4 for these fields, of sums of some hundred.
SOLVED = 1e-10
# Of central differences: rounding of a loss of a hundred, 1e-13, over H, and H^2 times a third derivative. Steps are so short
# that the leaky units of the marginal have no kink within them.
H, DIFFERENCES = 1e-5, 1e-6


@cache
def theory_of(n):
    return theories.schwinger(BETA, KAPPA, SHAPE) if n == 1 else theories.su2(BETA, SHAPE, KAPPA)


@cache
def model_of(n=1, even_odd=True, mus=MUS, seed=0, gain=0.5):
    """A marginal of two coupling layers (and holonomies), and conditionals of two layers."""
    theory, rng = theory_of(n), np.random.default_rng(seed)
    plan = FlowPlan(
        2 if n == 1 else 4, (3,), FlowRecipe(), bins=3, staples=False, holonomies=2 if n == 1 else 0, last=0.5
    )
    conditionals = tuple(
        Conditional(
            monomial,
            tuple(
                PseudofermionLayer.init(
                    rng, SHAPE, index, gain=gain, even_odd=even_odd, colours=n, n_pt=2, features=1, hidden=3
                )
                for index in (0, 1)
            ),
        )
        for monomial in hasenbusch(KAPPA, mus, even_odd=even_odd, n=n)
    )
    return JointModel(plan.flow(theory), Context.init(rng, 3, gain), conditionals)


def batch_of(model, n, seed=1):
    return model.marginal.prior.sample(np.random.default_rng(seed), n)


def gauge_of(model):
    return gauge_action(theory_of(model.monomials[0].n), model)


# --- loss and gradient ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mu_reg", [0.0, REGULATOR])
@pytest.mark.parametrize(("n", "even_odd", "mus"), [(1, True, MUS), (1, False, ()), (2, True, MUS)])
def test_the_loss_of_samples_is_the_log_density_and_the_action_as_defined(n, even_odd, mus, mu_reg):
    model = model_of(n, even_odd, mus)
    z = batch_of(model, 3)
    chi = model.noise(np.random.default_rng(2), 3)
    losses, _ = joint_loss(gauge_of(model), model, z, chi, mu_reg)
    x, logdet = model.marginal.map.forward(z)
    log_q, gauge = model.marginal.prior.log_prob(z) - logdet, gauge_of(model).action(x)
    np.testing.assert_allclose(losses.gauge, log_q + gauge, rtol=SOLVED)
    phi, _ = model.forward(x, chi)
    _, log_q_phi = model.log_prob(x, phi)
    targets = hasenbusch(KAPPA, mus, even_odd=even_odd, mu_reg=mu_reg, n=n)
    actions = [monomial.action(x, phi[:, m]) for m, monomial in enumerate(targets)]
    np.testing.assert_allclose(losses.conditional, log_q_phi + np.stack(actions, axis=1), rtol=SOLVED, atol=SOLVED)
    np.testing.assert_allclose(losses.total, losses.gauge + losses.conditional.sum(axis=1), rtol=1e-14)
    # The exact marginal weight knows nothing of the regulator.
    np.testing.assert_allclose(losses.log_weight, -theory_of(n).action.action(x) - log_q, rtol=SOLVED)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(
    ("n", "even_odd", "mus", "mu_reg"),
    [(1, True, MUS, REGULATOR), (1, False, (), 0.0), (1, True, (0.001, 0.01), 1e-5), (2, True, MUS, REGULATOR)],
)
def test_the_gradient_is_the_slope_of_the_loss_in_every_group_of_parameters(n, even_odd, mus, mu_reg, sampled):
    model, rng = model_of(n, even_odd, mus), np.random.default_rng(3)
    gauge, z = gauge_of(model), batch_of(model, 2)
    chi = model.noise(rng, 2) if sampled else None
    _, grads = joint_loss(gauge, model, z, chi, mu_reg)
    assert grads.keys() == model.params.keys()

    def loss(h, direction):
        moved = {key: value + h * direction.get(key, 0.0) for key, value in model.params.items()}
        return joint_loss(gauge, model.with_params(moved), z, chi, mu_reg)[0].total.mean()

    for group in ("marginal", "context", *(f"conditional/{m}" for m in range(len(mus) + 1))):
        own = {key: g for key, g in grads.items() if key.startswith(group + "/")}
        length = global_norm(own)
        assert length > 1e-3
        noise = {key: rng.standard_normal(g.shape) for key, g in own.items()}
        # As much along the gradient as across.
        unit = {key: g / length + noise[key] / global_norm(noise) for key, g in own.items()}
        slope = (loss(H, unit) - loss(-H, unit)) / (2 * H)
        expected = sum(np.sum(own[key] * d) for key, d in unit.items())
        assert abs(slope - expected) < DIFFERENCES * length


@pytest.mark.parametrize("even_odd", [True, False])
def test_the_mean_over_unit_vectors_is_the_trace(even_odd):
    # chi = sqrt(N) e_i, i = 1..N, have the second moments of the noise, and the loss is quadratic in it: means are equal exactly.
    model = model_of(even_odd=even_odd)
    gauge, z, conditional = gauge_of(model), batch_of(model, 2), model.conditionals[0]
    rows = conditional.rows
    losses, grads = joint_loss(gauge, model, z, None, REGULATOR)
    mean, slope = 0.0, 0.0
    for unit in np.eye(rows, dtype=complex) * math.sqrt(rows):
        spinor = conditional.spinors_of(np.broadcast_to(unit[:, None], (2, rows, 1)))
        chi = np.stack([spinor] * len(model.conditionals), axis=1)
        other, own = joint_loss(gauge, model, z, chi, REGULATOR)
        mean = mean + np.concatenate([other.conditional, other.kl], axis=1) / rows
        slope = slope + joined({key: own[key] for key in grads}) / rows
    expected = np.concatenate([losses.conditional, losses.kl], axis=1)
    np.testing.assert_allclose(mean, expected, rtol=SOLVED, atol=SOLVED)
    np.testing.assert_allclose(slope, joined(grads), rtol=0, atol=SOLVED * np.abs(slope).max())


def test_samples_have_the_mean_of_the_trace_and_the_variance_of_the_weight_matrices():
    model, draws = model_of(), 400
    gauge, z = gauge_of(model), batch_of(model, 1)
    exact = joint_loss(gauge, model, z, None, REGULATOR)[0].total[0]
    many = np.repeat(z, draws, axis=0)
    sampled = joint_loss(gauge, model, many, model.noise(np.random.default_rng(5), draws), REGULATOR)[0].total
    x, _ = model.marginal.map.forward(z)
    targets = regularised(model.monomials, REGULATOR)
    # chi^dag (W - 1) chi has variance tr (W - 1)^2.
    w = [weight_matrix(m, x, dt)[0] for m, (dt, _) in zip(targets, model.dense(x), strict=True)]
    variance = sum(np.sum(np.abs(m - np.eye(len(m))) ** 2) for m in w)
    assert variance > 1
    assert abs(sampled.mean() - exact) < 5 * math.sqrt(variance / draws)
    # A quadratic form of exponential numbers has a kurtosis of at most 9, that of one of them.
    assert abs(sampled.var() / variance - 1) < 5 * math.sqrt(8 / draws)


@pytest.mark.parametrize(("n", "even_odd"), [(1, True), (1, False), (2, True)])
def test_divergences_are_those_of_the_eigenvalues_of_the_weight_matrix(n, even_odd):
    model = model_of(n, even_odd)
    z = batch_of(model, 2)
    losses, _ = joint_loss(gauge_of(model), model, z, None, REGULATOR)
    x, _ = model.marginal.map.forward(z)
    targets = regularised(model.monomials, REGULATOR)
    for m, (monomial, (dt, _)) in enumerate(zip(targets, model.dense(x), strict=True)):
        w = np.linalg.eigvalsh(weight_matrix(monomial, x, dt))
        np.testing.assert_allclose(losses.kl[:, m], (w - 1 - np.log(w)).sum(axis=1), rtol=SOLVED)
    # KL + (log q + S_g - log det(M + mu_reg)) is the loss up to the pi of the integrals over fields.
    forms = MonomialForms(targets, x)
    exact = losses.gauge - forms.log_covariances().sum(axis=1) + losses.kl.sum(axis=1)
    np.testing.assert_allclose(losses.total, exact - len(targets) * forms.rows * math.log(math.pi), rtol=SOLVED)


def test_the_regulator_takes_the_place_of_the_mass_0_only():
    monomials = hasenbusch(KAPPA, (0.01, 0.1))
    assert regularised(monomials, 1e-5) == hasenbusch(KAPPA, (0.01, 0.1), mu_reg=1e-5)
    assert regularised(monomials, 0.0) == monomials
    assert regularised(hasenbusch(KAPPA), 1e-5) == hasenbusch(KAPPA, mu_reg=1e-5)
    model = model_of()
    trained = fit_joint(theory_of(1), model, JointRecipe(steps=1, batch=2)).model(model)
    assert trained.monomials == model.monomials


# --- training ---------------------------------------------------------------------------------------------------------
def test_history_holds_the_loss_and_its_parts():
    model, recipe = model_of(), JointRecipe(steps=2, batch=4, seed=9, clip=None)
    done = fit_joint(theory_of(1), model, recipe)
    losses, grads = joint_loss(gauge_of(model), model, batch_of(model, 4, seed=9), None, recipe.mu_reg)
    expected = {
        "loss": losses.total.mean(),
        "gauge": losses.gauge.mean(),
        "marginal": -losses.log_weight.mean(),
        "ess": relative_ess(losses.log_weight),
        "conditional/0": losses.conditional[:, 0].mean(),
        "conditional/1": losses.conditional[:, 1].mean(),
        "kl/0": losses.kl[:, 0].mean(),
        "kl/1": losses.kl[:, 1].mean(),
        "norm": math.sqrt(sum(np.sum(g**2) for g in grads.values())),
    }
    assert tuple(expected) == joint_columns(2)
    assert done.history.shape == (2, 9)
    np.testing.assert_allclose(done.history[0], list(expected.values()), rtol=1e-13)


def test_one_generator_draws_the_links_and_then_chi():
    model, recipe = model_of(), JointRecipe(steps=1, batch=3, seed=7, chi="sampled", mu_reg=0.0)
    rng = np.random.Generator(np.random.PCG64(7))
    z = model.marginal.prior.sample(rng, 3)
    losses, _ = joint_loss(gauge_of(model), model, z, model.noise(rng, 3))
    done = fit_joint(theory_of(1), model, recipe)
    assert math.isclose(done.history[0, 0], losses.total.mean(), rel_tol=1e-13)
    assert done.rng_state == rng.bit_generator.state


@pytest.mark.parametrize("chi", ["trace", "sampled"])
def test_training_resumes_bit_for_bit(chi):
    model = model_of()
    recipe = JointRecipe(steps=5, batch=3, rate=Rate(1e-2, "cosine", every=5, warm_up=2), chi=chi)
    once = fit_joint(theory_of(1), model, recipe)
    checkpoint, kept = None, []
    for steps in (1, 3, 5):
        checkpoint = fit_joint(theory_of(1), model, replace(recipe, steps=steps), checkpoint, save=kept.append)
    assert same(once, checkpoint)
    assert [c.step for c in kept] == [1, 3, 5]
    assert np.array_equal(joined(once.model(model).params), once.average)
    assert not np.array_equal(once.weights, joined(model.params))


def test_the_average_is_short_at_the_start():
    recipe = JointRecipe(steps=2, batch=2, average=0.15)
    saved = []
    end = fit_joint(theory_of(1), model_of(), recipe, save=saved.append, save_every=1)
    first = saved[0]
    # (n + 1)/(n + 10) = 1/10, then the recipe's, less than 2/11
    start = start_joint(model_of(), recipe).weights
    assert np.allclose(first.average, 0.1 * start + 0.9 * first.weights, rtol=1e-14, atol=1e-16)
    assert np.allclose(end.average, 0.15 * first.average + 0.85 * end.weights, rtol=1e-14, atol=1e-16)


def test_training_brings_conditionals_nearer_to_their_targets():
    model = model_of(gain=0.1)
    # A rate at which rounding stays rounding: at 3e-2 the losses of two orders of summation differ by 0.2 after 12 steps.
    recipe = JointRecipe(steps=30, batch=16, rate=Rate(1e-2, "cosine", every=30), epsilon=1e-8, average=0.5, seed=3)
    done = fit_joint(theory_of(1), model, recipe)
    before, after = (joint_loss(gauge_of(m), m, batch_of(m, 32))[0] for m in (model, done.model(model)))
    assert after.kl.sum(axis=1).mean() < 0.8 * before.kl.sum(axis=1).mean()
    assert after.total.mean() < before.total.mean() - 1
    assert np.all(after.kl > 0)


@pytest.mark.parametrize("layers", [Chain(()), Inverse(Chain(()))])
def test_a_marginal_without_parameters_stays(layers):
    model = replace(model_of(), marginal=Flow(UniformAngles(SHAPE), layers))
    done = fit_joint(theory_of(1), model, JointRecipe(steps=2, batch=3))
    assert done.weights.size == sum(value.size for key, value in model.params.items() if not key.startswith("marginal"))
    x = batch_of(model, 2)
    np.testing.assert_array_equal(done.model(model).marginal.log_prob(x), model.marginal.log_prob(x))


# --- what breaks ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "message"), [(np.nan, "loss nan"), (1e200, "")])
def test_a_loss_that_is_not_finite_keeps_the_start(size, message):
    model, kept = model_of(), []
    params = {k: v * size if k == "conditional/0/0/weight" else v for k, v in model.params.items()}
    if np.isfinite(size):  # a tanh of anything is finite: links are not
        params = {k: v * size if k.startswith("marginal") else v for k, v in model.params.items()}
    broken = model.with_params(params)
    with pytest.raises(TrainingError, match=rf"stopped at step 0: {message}.*of step 0, is kept"):
        fit_joint(theory_of(1), broken, JointRecipe(steps=3, batch=3), save=kept.append)
    assert kept[-1].step == 0
    np.testing.assert_array_equal(kept[-1].weights, joined(broken.params))


def test_what_does_not_belong_together_is_refused():
    model, recipe = model_of(), JointRecipe(steps=1, batch=2)
    with pytest.raises(ValueError, match=r"theory: got fields \(2, 8, 4\), expected those of the model, \(2, 4, 4\)"):
        fit_joint(theories.schwinger(BETA, KAPPA, (8, 4)), model, recipe)
    for other in (theories.schwinger(BETA, 0.2, SHAPE), theories.u1(BETA, SHAPE)):
        with pytest.raises(
            ValueError, match=r"theory: got an action .*, expected a gauge action with WilsonDeterminant"
        ):
            fit_joint(other, model, recipe)
    with pytest.raises(ValueError, match=r"model: got inflation 1.1, expected 1 in a training"):
        fit_joint(theory_of(1), model.inflated(1.1), recipe)
    with pytest.raises(ValueError, match=r"mu_next: got 0.05, expected a finite number > 0.06"):
        fit_joint(theory_of(1), model, replace(recipe, mu_reg=0.06))
    with pytest.raises(ValueError, match=r"parameters, expected .*: another architecture"):
        fit_joint(theory_of(1), model, recipe, start_joint(model_of(mus=()), recipe))
    with pytest.raises(ValueError, match="save_every: got 0"):
        fit_joint(theory_of(1), model, recipe, save_every=0)


def test_the_gauge_action_is_that_of_the_theory():
    assert gauge_of(model_of()) == WilsonU1(BETA)
    assert gauge_of(model_of(2)).beta == BETA
    assert isinstance(model_of(2).marginal.prior, Haar)
    theory = theory_of(1)
    with pytest.raises(ValueError, match="theory: got an action"):  # which of the terms would be S_g?
        gauge_action(replace(theory, action=theory.action + WilsonU1(0.5)), model_of())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chi": "mean"}, "chi: got 'mean', expected one of trace, sampled"),
        ({"mu_reg": -1.0}, "mu_reg: got -1"),
        ({"batch": 1}, "batch: got 1"),
        ({"rate": 1e-3}, "rate: got 0.001"),
        ({"n_pf": ()}, "n_pf: got none, expected at least one number of draws"),
        ({"n_pf": (2, 0)}, "n_pf: got 0"),
        ({"inflation": ()}, r"inflation: got \(\), expected None or one number"),
        ({"inflation": 1.2}, "inflation: got 1.2, expected None or one number"),
        ({"inflation": (1.2, 0.0)}, "inflation: got 0.0"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        JointRecipe(**options)


def test_a_recipe_begins_with_the_numbers_of_the_paper():
    recipe = JointRecipe()
    assert (recipe.epsilon, recipe.weight_decay, recipe.mu_reg, recipe.chi) == (0.02, 0.01, 1e-5, "trace")


def test_a_recipe_survives_json():
    recipe = JointRecipe(7, 9, Rate(1e-3, "cosine", every=3), None, 0.5, chi="sampled", mu_reg=0.0)
    assert joint_recipe_from(json.loads(json.dumps(asdict(recipe)))) == recipe
    with pytest.raises(ValueError, match="expected the record of a joint model's recipe"):
        joint_recipe_from({**asdict(recipe), "annealing": None})
