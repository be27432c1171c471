"""The neural control variate: its net against autograd, its divergence against a dense Jacobian, its mean against integrals."""

import importlib.util
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import nets, training
from refimpl.actions import Phi4, phi4_force_definition
from refimpl.estimators import variates
from refimpl.estimators.variates.neural import NeuralVariate
from refimpl.exact import free_scalar
from refimpl.nets import translates
from refimpl.observables.quantities import Correlator
from refimpl.training import Decline, FitError, Neural
from refimpl.training import variate as trainer
from refimpl.training.optimise import Adam
from tests.scalar_fields import scalar_fields

NETS = [(0, 1), (1, 3), (3, 2), (5, 4)]
SHAPES = [(3, 4), (5, 2), (1, 6)]
ACTION = Phi4(0.3, 6.0)


def net(layers, neurons, shape, seed=1):
    """Weights twice as large as at the start of training: arcsinh is far from linear."""
    params = translates.init(np.random.default_rng(seed), shape[0] * shape[1], layers, neurons)
    return {key: 2 * value for key, value in params.items()}


def variate(layers=2, neurons=3, shape=(3, 4), seed=1):
    return NeuralVariate(net(layers, neurons, shape, seed), ACTION, shape, Correlator(1))


# Rounding: sums of some ten terms of order one to ten through at most six layers, amplified by less than 100.
ROUNDING = 1e-12


@given(scalar_fields(), st.sampled_from(NETS), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_net_is_its_definition(x, size, seed):
    params = net(*size, x.shape[1:], seed)
    for value, expected in zip(
        translates.apply(params, translates.modes(x), x.shape[1:]), translates.definition(params, x), strict=False
    ):
        np.testing.assert_allclose(value, expected, rtol=0, atol=100 * ROUNDING)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", NETS)
def test_pullback_is_that_of_autograd(size, shape):
    rng, params = np.random.default_rng(2), net(*size, shape)
    x, cotangents = rng.standard_normal((3, *shape)), rng.standard_normal((2, 3, shape[0] * shape[1]))

    def contracted(params):
        g, derivative = translates.definition(params, x)
        return anp.sum(cotangents[0] * g + cotangents[1] * derivative)

    *_, cache = translates.apply(params, translates.modes(x), shape)
    grads, expected = translates.pullback(params, cache, *cotangents), autograd.grad(contracted)(params)
    assert list(grads) == list(params)
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, expected[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", NETS)
def test_variate_has_the_trace_of_the_dense_jacobian(size, shape):
    x = np.random.default_rng(3).standard_normal((2, *shape))
    params, v = net(*size, shape), shape[0] * shape[1]

    def g_0(field):
        for key, weight in params.items():
            field = anp.dot(field if key == "weight/0" else anp.arcsinh(field), weight)
        return field[0]

    def g(field):
        square = anp.reshape(field, shape)
        shifts = [(y // shape[1], y % shape[1]) for y in range(v)]
        return anp.stack([g_0(anp.ravel(anp.roll(anp.roll(square, -t, 0), -s, 1))) for t, s in shifts])

    found = NeuralVariate(params, ACTION, shape, Correlator(1))(x)
    for one, f in zip(x, found, strict=True):
        jacobian = autograd.jacobian(g)(one.ravel())
        force = phi4_force_definition(one[None], ACTION.m2, ACTION.lam).ravel()
        assert abs(np.trace(jacobian) - g(one.ravel()) @ force - f) < 1e-9
    np.testing.assert_allclose(
        NeuralVariate(params, ACTION, shape, Correlator(1)).g(x)[1].ravel(), g(x[1].ravel()), rtol=0, atol=ROUNDING
    )


@given(st.integers(0, 2), st.integers(0, 3), st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_variate_has_the_symmetries_of_the_action(t, s, seed):
    f, x = variate(), np.random.default_rng(seed).standard_normal((2, 3, 4))
    moved = np.roll(x, (-t, -s), (1, 2))
    np.testing.assert_allclose(f.g(moved), np.roll(f.g(x), (-t, -s), (1, 2)), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(f(moved), f(x), rtol=0, atol=100 * ROUNDING)
    np.testing.assert_allclose(f(-x), f(x), rtol=0, atol=100 * ROUNDING)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
@pytest.mark.parametrize("size", NETS)
def test_mean_is_zero_by_quadrature(size, shape):
    """The trapezoidal rule on [-4, 4]^2: at the ends exp(-S) is below 1e-27; it converges exponentially, at a rate given by
    the singularities of arcsinh, which lie at a distance that is the smaller the larger the weights."""
    nodes = np.linspace(-4, 4, 201)
    x = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, *shape)
    weights = np.exp(-ACTION.action(x))
    f = NeuralVariate(net(*size, shape), ACTION, shape, Correlator(0))(x)
    size_of_f = weights @ np.abs(f) / weights.sum()
    assert size_of_f > 0.3
    assert abs(weights @ f / weights.sum()) < 1e-10 * size_of_f


def test_a_chain_has_the_same_bits_in_any_batch():
    f, x = variate(5, 4, (6, 5)), np.random.default_rng(4).standard_normal((700, 6, 5))
    whole = f(x)
    assert np.array_equal(f(x[:1]), whole[:1])
    assert np.array_equal(f(x[333:340]), whole[333:340])
    assert np.array_equal(f(np.asfortranarray(x)), whole)


def test_files_hold_variates(tmp_path):
    f, x = variate(), np.random.default_rng(5).standard_normal((4, 3, 4))
    variates.save(f, tmp_path / "f.npz")
    again = variates.load(tmp_path / "f.npz")
    assert np.array_equal(again(x), f(x))
    assert (again.action, again.shape, again.observable) == (ACTION, (3, 4), Correlator(1))
    with pytest.raises(ValueError, match="observable: got"):
        variates.save(NeuralVariate(f.params, ACTION, (3, 4), np.mean), tmp_path / "g.npz")
    with pytest.raises(ValueError, match="action: got"):
        variates.save(NeuralVariate(f.params, ACTION + ACTION, (3, 4), Correlator(1)), tmp_path / "g.npz")
    arrays, meta = f.record()
    nets.save(tmp_path / "h.npz", arrays, {"variate": "NeuralVariate", **meta, "shape": [4, 4]})
    with pytest.raises(ValueError, match="does not hold together"):
        variates.load(tmp_path / "h.npz")


def test_wrong_fields_and_nets_are_named():
    f = variate()
    with pytest.raises(ValueError, match=r"x: got shape \(2, 4, 3\), expected \(n, 3, 4\)"):
        f(np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match="x: got numbers that are not finite in field 1"):
        f(np.where(np.arange(24).reshape(2, 3, 4) == 20, np.nan, 0.0))
    with pytest.raises(ValueError, match="params: got shapes"):
        NeuralVariate(f.params, ACTION, (4, 4), Correlator(1))
    with pytest.raises(ValueError, match="params: got keys"):
        NeuralVariate({}, ACTION, (4, 4), Correlator(1))
    with pytest.raises(ValueError, match="not finite"):
        NeuralVariate({"weight/0": np.full((12, 1), np.inf)}, ACTION, (3, 4), Correlator(1))


@pytest.mark.parametrize(("layers", "neurons"), [(0, 1), (2, 3)])
def test_regression_fits_the_last_layer(layers, neurons):
    """What is left is uncorrelated with the part of f that each neuron of the last layer makes."""
    f, x = variate(layers, neurons), free_scalar.sample(np.random.default_rng(6), 400, 0.5, (3, 4))
    best = f.regressed(x, Correlator(0))
    left = Correlator(0)(x) - best(x)
    assert best.observable == Correlator(0)
    parts = [f(x)]
    for n in range(neurons if layers else 0):
        alone = f.params[f"weight/{layers}"] * (np.arange(neurons) == n)[:, None]
        parts.append(NeuralVariate({**f.params, f"weight/{layers}": alone}, ACTION, (3, 4), Correlator(1))(x))
    assert np.max(np.abs(np.corrcoef(left, parts)[0, 1:])) < 1e-9  # rounding of 400 terms
    assert left.var() < 0.99 * Correlator(0)(x).var()
    with pytest.raises(ValueError, match=f"got {neurons} for {neurons} features"):
        f.regressed(x[:neurons], Correlator(0))


# --- training ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("delta", [0.0, 0.7])
def test_gradient_of_the_loss_is_that_of_autograd(delta):
    shape, params, rng = (3, 4), net(2, 3, (3, 4)), np.random.default_rng(7)
    x, targets, mu = rng.standard_normal((4, *shape)), rng.standard_normal(4), 0.3
    force = ACTION.force(x).reshape(4, -1)

    def loss(weights, mu):
        g, derivative = translates.definition(weights, x)
        squares = (targets - anp.sum(derivative - g * force, axis=1) - mu) ** 2
        return anp.mean(squares) + delta * sum(anp.sum(w**2) for w in weights.values())

    batch = trainer.Batch(translates.modes(x), force, targets)
    square, value, gradient = trainer.loss_and_gradient(trainer.joined(params, mu), params, batch, shape, delta)
    grads, mu_grad = trainer.parted(gradient, params)
    expected = autograd.grad(loss, (0, 1))(params, mu)
    assert abs(value - loss(params, mu)) < 1e-10 * value
    assert abs(value - square - delta * sum(np.sum(w**2) for w in params.values())) < 1e-10 * value
    assert abs(mu_grad - expected[1]) < 1e-10 * abs(expected[1])
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, expected[0][key], rtol=0, atol=1e-10 * np.abs(gradient).max())


def test_schedule_of_the_paper():
    rate = Decline()
    assert rate.at(0) == 1e-3
    assert rate.at(100_000) == pytest.approx(1e-3 * 0.99**100)
    assert rate.at(685_000) == pytest.approx(1.02e-6, rel=0.01)
    assert rate.at(685_001) == 1e-6
    short = Decline(initial=1e-2).within(1000)
    assert short.last == 950
    assert short.at(950) == pytest.approx(1e-2 * 0.99**685)
    assert short.at(951) == 1e-6
    for bad in ({"initial": 0.0}, {"decay": -1}, {"every": 0}, {"last": -1}, {"floor": -1e-6}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Decline(**bad)


FREE = Phi4(0.5, 0.0)
FAST = Decline(initial=1e-2)  # a small lattice has a small f, which asks for larger weights
LINEAR = Neural(FREE, layers=0, neurons=1, steps=2000, batch=4, schedule=FAST.within(2000))


@pytest.fixture(scope="module")
def fields():
    return free_scalar.sample(np.random.default_rng(8), 1400, 0.5, (6, 3))


def test_linear_variate_takes_most_of_a_free_correlator(fields):
    """A linear g leaves nothing of a free correlator at its best."""
    trained = LINEAR.train(fields[:400], Correlator(2), test=fields[400:600], every=800)
    found = variates.improve(fields[600:], Correlator(2), trained.variate)
    assert found.ratio > 100
    assert abs(found.value - free_scalar.correlator(0.5, (6, 3))[2]) < 5 * found.error
    assert trained.history.shape == (3, 3)
    assert trained.history[:, 0].tolist() == [800, 1600, 2000]
    assert trained.history[-1, 1] < 1e-4
    values, f = Correlator(2)(fields[400:600]), trained.variate(fields[400:600])
    assert trained.history[-1, 2] == pytest.approx(values.std() / (values - f).std())


def test_deep_nets_learn(fields):
    method = Neural(FREE, layers=2, neurons=3, steps=1500, schedule=FAST.within(1500))
    assert variates.improve(fields[600:], Correlator(2), method.fit(fields[:400], Correlator(2))).ratio > 2


def test_a_seed_makes_a_variate(fields):
    method = replace(LINEAR, layers=1, neurons=2, steps=50)
    first, again = (method.fit(fields[:100], Correlator(1)) for _ in range(2))
    other = replace(method, seed=1).fit(fields[:100], Correlator(1))
    assert all(np.array_equal(first.params[key], again.params[key]) for key in first.params)
    assert not np.array_equal(first.params["weight/0"], other.params["weight/0"])
    # What is watched changes nothing.
    watched = method.train(fields[:100], Correlator(1), test=fields[100:200], every=7).variate
    assert all(np.array_equal(first.params[key], watched.params[key]) for key in first.params)


def test_strength_shrinks_weights(fields):
    method = replace(LINEAR, steps=300)
    free, bound = (replace(method, delta=d).fit(fields[:100], Correlator(1)) for d in (0.0, 1e4))
    assert np.sum(bound.params["weight/0"] ** 2) < 0.1 * np.sum(free.params["weight/0"] ** 2)


def test_unit_is_a_choice_of_the_fit_and_not_of_its_goal(fields):
    """The same f from observables in other units; with unit None the net makes the observable as it stands."""
    method, x = replace(LINEAR, steps=200), fields[:100]
    one = method.fit(x, Correlator(1))
    thousand = method.fit(x, lambda x: 1000 * Correlator(1)(x))
    np.testing.assert_allclose(thousand(x), 1000 * one(x), rtol=1e-8)  # rounding, amplified by 200 steps
    spread = float(Correlator(1)(x).std())
    plain = replace(method, unit=None).fit(x, lambda x: Correlator(1)(x) / (0.1 * spread))
    np.testing.assert_allclose(plain(x), one(x) / (0.1 * spread), rtol=1e-8)


def test_transfer_starts_from_the_variate_before(fields):
    slices, later = [Correlator(3), Correlator(2), Correlator(1)], replace(LINEAR, steps=400, schedule=FAST.within(400))
    found = training.transferred(LINEAR, fields[:400], slices, later)
    for observable, one in zip(slices, found, strict=True):
        assert one.observable == observable
        assert variates.improve(fields[600:], observable, one).ratio > 10
        alone = later.fit(fields[:400], observable)
        assert variates.improve(fields[600:], observable, alone).ratio < 5
    short = training.transferred(replace(LINEAR, steps=20), fields[:400], slices[:2])[1]
    by_hand = replace(LINEAR, steps=2, schedule=Decline(initial=1e-3).within(2))
    start = replace(LINEAR, steps=20).fit(fields[:400], slices[0])
    expected = by_hand.train(fields[:400], slices[1], start=start).variate
    assert np.array_equal(short.params["weight/0"], expected.params["weight/0"])
    with pytest.raises(ValueError, match="start: got a net of 0 layers"):
        replace(LINEAR, layers=2).train(fields[:400], Correlator(2), start=found[0])


def test_every_configuration_has_its_turn():
    order = trainer._order(np.random.default_rng(9), 6, 7, 2)
    assert order.shape == (7, 2)
    assert sorted(order.ravel()[:6]) == list(range(6)) == sorted(order.ravel()[6:12])
    assert list(order.ravel()[:6]) != list(order.ravel()[6:12])


def test_a_loss_that_is_not_finite_ends_the_training_with_the_last_good_variate(fields):
    wild = replace(LINEAR, layers=1, neurons=2, schedule=Decline(initial=1e200), steps=20)
    with pytest.raises(FitError, match="training stopped at step 1: loss inf") as caught:
        wild.fit(fields[:50], Correlator(1))
    assert np.isfinite(caught.value.variate(fields[:5])).all()


def test_bad_fits_are_named(fields):
    for bad in (
        {"layers": -1},
        {"neurons": 0},
        {"delta": -1.0},
        {"steps": 0},
        {"batch": 0},
        {"unit": 0.0},
        {"schedule": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Neural(FREE, **bad)
    with pytest.raises(ValueError, match="configurations: got numbers that are not finite in field 0"):
        LINEAR.fit(np.full((3, 4, 4), np.nan), Correlator(1))
    with pytest.raises(ValueError, match=r"configurations: got shape \(3, 4\)"):
        LINEAR.fit(np.zeros((3, 4)), Correlator(1))
    with pytest.raises(ValueError, match="observable: got standard deviation 0"):
        LINEAR.fit(np.ones((3, 4, 4)), Correlator(1))
    with pytest.raises(ValueError, match="test: got shape"):
        LINEAR.train(fields[:3], Correlator(1), test=np.zeros((3, 4, 4)))


@pytest.mark.parametrize("first_layer", ["gather", "fft"])
def test_steps_of_jax_are_ours(first_layer):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is in the extra 'bench'")
    from refimpl.validation.peers import variate_jax

    shape, params, rng = (3, 4), net(2, 3, (3, 4)), np.random.default_rng(10)
    x, targets = rng.standard_normal((5, *shape)), rng.standard_normal(5)
    force = ACTION.force(x).reshape(5, -1)
    theirs = variate_jax.trainer(params, x, force, targets, 0.01, 0.1, first_layer)
    batch = trainer.Batch(translates.modes(x), force, targets)
    weights = trainer.joined(params, 0.0)
    adam = Adam.start({trainer.ALL: weights})
    for n in range(5):
        weights, adam, square = trainer.step(weights, adam, params, batch.take(np.array([n])), shape, 0.1, 0.01)
        assert abs(theirs() - square) < 1e-9 * square  # rounding, amplified by five steps
