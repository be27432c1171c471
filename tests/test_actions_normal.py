"""Gaussian and mixture: against their definitions, exact densities, automatic differentiation; symmetries; bad input."""

from __future__ import annotations

import dataclasses
import math
import pickle

import autograd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import Gaussian, Mixture, two_gaussians
from refimpl.exact import gaussian, mixture
from refimpl.validation.strategies import memory_orders

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS, DIMENSIONS, COMPONENTS = st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4)
U = 2.0**-53
# Covariances have eigenvalues from 1/2 to 2: an inverse, a determinant or a product is wrong by condition times D^2 u or so.
STEP = 100 * 4 * 25 * U
SPREAD = 3.0  # of points and means, in every coordinate; squares of distances in units of the variance are at most:
SQUARE = 2 * 5 * (2 * SPREAD) ** 2
FORCE = 2 * math.sqrt(5) * 2 * SPREAD
ACTION_ROUNDING = STEP * SQUARE
# Responsibilities are wrong by the rounding of their exponents; so is the average that they make.
FORCE_ROUNDING = (STEP + 2 * ACTION_ROUNDING) * FORCE
HESSIAN_ROUNDING = (STEP + 8 * ACTION_ROUNDING) * FORCE**2


def covariance(rng, dimension):
    axes, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    matrix = (axes * np.exp(rng.uniform(-math.log(2), math.log(2), dimension))) @ axes.T
    return (matrix + matrix.T) / 2


def gaussian_action(rng, dimension):
    return Gaussian(covariance(rng, dimension), rng.uniform(-SPREAD, SPREAD, dimension))


def mixture_action(rng, dimension, components):
    weights = rng.uniform(0.1, 1, components)
    means = rng.uniform(-SPREAD, SPREAD, (components, dimension))
    return Mixture(weights / weights.sum(), means, [covariance(rng, dimension) for _ in range(components)])


def points(rng, dimension, chains=4):
    return rng.uniform(-SPREAD, SPREAD, (chains, dimension))


@st.composite
def actions(draw):
    """A Gaussian or a mixture, points and a direction of length one for each."""
    rng, dimension = np.random.default_rng(draw(SEEDS)), draw(DIMENSIONS)
    components = draw(st.integers(0, 4))
    action = mixture_action(rng, dimension, components) if components else gaussian_action(rng, dimension)
    w = rng.standard_normal((4, dimension))
    return action, points(rng, dimension), w / np.linalg.norm(w, axis=1, keepdims=True)


# --- values ----------------------------------------------------------------------------------------------------------
@QUICK
@given(actions(), st.data())
def test_the_action_equals_its_definition_and_the_force_its_derivative_in_any_memory_order(case, data):
    action, x, _ = case
    other = data.draw(memory_orders(x))
    value, force = action.action(other), action.force(other)
    assert value.shape == (4,)
    assert force.shape == x.shape
    np.testing.assert_allclose(value, action.definition(x), rtol=0, atol=ACTION_ROUNDING)
    expected = autograd.grad(lambda y: action.definition(y).sum())(x)
    np.testing.assert_allclose(force, expected, rtol=0, atol=FORCE_ROUNDING)
    np.testing.assert_array_equal(other, x)


@QUICK
@given(actions(), st.data())
def test_the_hessian_product_equals_automatic_differentiation_in_any_memory_order(case, data):
    action, x, w = case
    expected = autograd.hessian_vector_product(lambda y: action.definition(y).sum())(x, w)
    got = action.hessian_product(data.draw(memory_orders(x)), data.draw(memory_orders(w)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=HESSIAN_ROUNDING)


@QUICK
@given(actions())
def test_force_and_hessian_product_equal_central_differences(case):
    action, x, w = case
    h = 1e-3
    for of, at in (
        (action.action, lambda: (action.force(x) * w).sum(axis=1)),
        (action.force, lambda: action.hessian_product(x, w)),
    ):
        f = {k: of(x + k * h * w) for k in (-2, -1, 1, 2)}
        slope = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
        # h^4/30 times the sixth cumulant of forces up to 27: at most 16 * 27^6 = 6e9, of two alike at the extremes.
        np.testing.assert_allclose(at(), slope, rtol=0, atol=h**4 / 30 * 1e10 + 1.5 / h * FORCE_ROUNDING)


@QUICK
@given(actions())
def test_the_hessian_is_symmetric(case):
    action, x, _ = case
    dimension = x.shape[1]
    rows = [action.hessian_product(x, np.tile(row, (len(x), 1))) for row in np.eye(dimension)]
    hessian = np.stack(rows, axis=1)
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), rtol=0, atol=HESSIAN_ROUNDING)


@QUICK
@given(SEEDS, DIMENSIONS, COMPONENTS)
def test_the_mixture_is_minus_the_log_of_the_exact_density(seed, dimension, components):
    rng = np.random.default_rng(seed)
    action = mixture_action(rng, dimension, components)
    x = points(rng, dimension)
    expected = -mixture.log_density(x, action.weights, action.means, action.covariances)
    np.testing.assert_allclose(action.action(x), expected, rtol=0, atol=ACTION_ROUNDING)


@QUICK
@given(SEEDS, DIMENSIONS)
def test_the_gaussian_is_minus_the_log_of_the_exact_density_but_for_the_norm(seed, dimension):
    rng = np.random.default_rng(seed)
    action, x = gaussian_action(rng, dimension), points(rng, dimension)
    peak = gaussian.log_density(action.mean[None], action.covariance, action.mean)
    expected = peak - gaussian.log_density(x, action.covariance, action.mean)
    np.testing.assert_allclose(action.action(x), expected, rtol=0, atol=ACTION_ROUNDING)


def test_one_dimension_by_hand():
    action = Gaussian([[4.0]], [1.0])
    x = np.array([[3.0], [1.0], [0.0]])
    np.testing.assert_array_equal(action.action(x), [0.5, 0, 0.125])
    np.testing.assert_array_equal(action.force(x), [[0.5], [0], [-0.25]])
    np.testing.assert_array_equal(action.hessian_product(x, x), x / 4)
    assert np.array_equal(Gaussian([[4.0]]).mean, [0.0])


def test_the_example_of_the_paper():
    action = two_gaussians()
    # Both modes alike at the saddle: -log of 2 pi 0.1 below exp(-4/0.2); the curvature along x_1 is 10 - (10 * 2)^2.
    x, w = np.zeros((1, 2)), np.array([[1.0, 1.0]])
    np.testing.assert_allclose(action.action(x), [math.log(2 * math.pi * 0.1) + 20], rtol=20 * U)
    np.testing.assert_allclose(action.force(x), [[0, 0]], rtol=0, atol=20 * 20 * U)
    np.testing.assert_allclose(action.hessian_product(x, w), [[-390, 10]], rtol=20 * U)
    mode = np.array([[-2.0, 0.0], [2.0, 0.0]])
    np.testing.assert_allclose(action.action(mode), math.log(4 * math.pi * 0.1), rtol=20 * U)


@pytest.mark.parametrize("far", [10.0, 1e4, 1e100])
def test_far_from_every_mode_the_nearest_one_counts(far):
    x = np.array([[far, 0.0], [-far, 0.0]])
    action, force = two_gaussians().action_and_force(x)
    # exp(-S) underflows here by far; of order ten roundings.
    expected = math.log(4 * math.pi * 0.1) + (far - 2) ** 2 / 0.2
    np.testing.assert_allclose(action, expected, rtol=20 * U)
    np.testing.assert_allclose(force, [[(far - 2) / 0.1, 0], [-(far - 2) / 0.1, 0]], rtol=20 * U)


# --- symmetries ------------------------------------------------------------------------------------------------------
@QUICK
@given(SEEDS, DIMENSIONS)
def test_the_gaussian_is_affine_covariant(seed, dimension):
    rng = np.random.default_rng(seed)
    action, x, shift = gaussian_action(rng, dimension), points(rng, dimension), rng.uniform(-1, 1, dimension)
    a = np.linalg.cholesky(covariance(rng, dimension))
    moved = a @ action.covariance @ a.T
    other = Gaussian((moved + moved.T) / 2, a @ action.mean + shift)
    y = x @ a.T + shift
    # The condition number grows by that of a squared, 4.
    np.testing.assert_allclose(other.action(y), action.action(x), rtol=0, atol=8 * ACTION_ROUNDING)
    np.testing.assert_allclose(other.force(y) @ a, action.force(x), rtol=0, atol=8 * FORCE_ROUNDING)


@QUICK
@given(SEEDS, DIMENSIONS, COMPONENTS)
def test_the_order_of_the_components_does_not_matter(seed, dimension, components):
    rng = np.random.default_rng(seed)
    action, x = mixture_action(rng, dimension, components), points(rng, dimension)
    p = rng.permutation(components)
    other = Mixture(action.weights[p], action.means[p], action.covariances[p])
    np.testing.assert_allclose(other.action(x), action.action(x), rtol=0, atol=ACTION_ROUNDING)
    np.testing.assert_allclose(other.force(x), action.force(x), rtol=0, atol=FORCE_ROUNDING)


@QUICK
@given(SEEDS, DIMENSIONS, COMPONENTS, st.floats(0.1, 0.9))
def test_a_component_in_two_parts_is_the_component(seed, dimension, components, share):
    rng = np.random.default_rng(seed)
    action, x = mixture_action(rng, dimension, components), points(rng, dimension)
    weights = np.concatenate([[share, 1 - share] * action.weights[:1], action.weights[1:]])
    twice = [0, *range(components)]
    other = Mixture(weights, action.means[twice], action.covariances[twice])
    np.testing.assert_allclose(other.action(x), action.action(x), rtol=0, atol=ACTION_ROUNDING)
    np.testing.assert_allclose(other.force(x), action.force(x), rtol=0, atol=FORCE_ROUNDING)


@QUICK
@given(SEEDS, DIMENSIONS)
def test_a_mixture_of_one_component_is_the_gaussian_with_its_norm(seed, dimension):
    rng = np.random.default_rng(seed)
    one, x = gaussian_action(rng, dimension), points(rng, dimension)
    mix, w = Mixture([1.0], one.mean[None], one.covariance[None]), points(rng, dimension)
    norm = 0.5 * np.linalg.slogdet(2 * np.pi * one.covariance)[1]
    np.testing.assert_allclose(mix.action(x), one.action(x) + norm, rtol=0, atol=ACTION_ROUNDING)
    np.testing.assert_array_equal(mix.force(x), one.force(x))
    np.testing.assert_array_equal(mix.hessian_product(x, w), one.hessian_product(x, w))


# --- bits and dynamics -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dimension", [1, 2, 3, 20])
@pytest.mark.parametrize("components", [0, 1, 3])
def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone(dimension, components):
    rng = np.random.default_rng(3)
    action = mixture_action(rng, dimension, components) if components else gaussian_action(rng, dimension)
    x, w = points(rng, dimension, 101), points(rng, dimension, 101)
    for method in (
        lambda i: action.action(x[i]),
        lambda i: action.force(x[i]),
        lambda i: action.hessian_product(x[i], w[i]),
    ):
        alone = np.concatenate([method(slice(i, i + 1)) for i in range(101)])
        np.testing.assert_array_equal(alone, method(slice(None)))


@QUICK
@given(actions(), st.floats(-2, 2))
def test_a_kick_subtracts_the_scaled_force_at_the_current_point(case, scale):
    action, x, w = case
    v = w.copy()
    dynamics = action.dynamics(x, v)
    for factor in (1.0, 0.5):
        x *= factor
        v[...] = w
        dynamics.kick(scale)
        np.testing.assert_array_equal(v, w - scale * action.force(x))
        for got, expected in zip(dynamics.action_and_force(), (action.action(x), action.force(x)), strict=True):
            np.testing.assert_array_equal(got, expected)


# --- bad input -------------------------------------------------------------------------------------------------------
EYE = np.eye(2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([[1.0, 0.5], [0.4, 1.0]],), "covariance: got .*symmetric"),
        (([[1.0, 2.0], [2.0, 1.0]],), "covariance: got .*positive-definite"),
        (([[0.0]],), "covariance: got .*positive-definite"),
        (([[np.nan]],), "covariance: got .*finite"),
        (([1.0, 2.0],), r"covariance: got shape \(2,\), expected \(any, any\)"),
        (([[1.0, 0.0]],), "covariance: got .*symmetric"),
        (("one",), "covariance: got 'one', expected an array of numbers"),
        ((np.zeros((0, 0)),), "covariance: got shape"),
        ((EYE, [0.0]), r"mean: got shape \(1,\), expected \(2,\)"),
        ((EYE, [0.0, np.inf]), "mean: got .*finite"),
    ],
)
def test_bad_parameters_of_the_gaussian_are_named(arguments, match):
    with pytest.raises(ValueError, match=f"(?s){match}"):
        Gaussian(*arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([0.5, 0.6], np.zeros((2, 2)), [EYE, EYE]), "weights: got .*sum 1"),
        (([1.5, -0.5], np.zeros((2, 2)), [EYE, EYE]), "weights: got .*positive"),
        (([1.0, 0.0], np.zeros((2, 2)), [EYE, EYE]), "weights: got .*positive"),
        (([], np.zeros((0, 2)), np.zeros((0, 2, 2))), "weights: got shape"),
        (([0.5, 0.5], np.zeros((3, 2)), [EYE, EYE]), r"means: got shape \(3, 2\), expected \(2, any\)"),
        (([0.5, 0.5], np.zeros((2, 2)), EYE), r"covariances: got shape \(2, 2\), expected \(2, 2, 2\)"),
        (([0.5, 0.5], np.zeros((2, 2)), [EYE, -EYE]), r"covariances\[1\]: got .*positive-definite"),
    ],
)
def test_bad_parameters_of_the_mixture_are_named(arguments, match):
    with pytest.raises(ValueError, match=f"(?s){match}"):
        Mixture(*arguments)


@pytest.mark.parametrize("action", [Gaussian(EYE), two_gaussians()], ids=["gaussian", "mixture"])
def test_bad_fields_are_named(action):
    x = np.zeros((3, 2))
    for method in (action.action, action.force, lambda y: action.hessian_product(y, x)):
        with pytest.raises(TypeError, match="x: got dtype float32"):
            method(x.astype(np.float32))
        for bad in (x[0], x[:, :1], x[None], np.zeros((3, 3))):
            with pytest.raises(ValueError, match=r"x: got shape .* expected \(chain, 2\)"):
                method(bad)
        with pytest.raises(ValueError, match="x: got zero chains"):
            method(x[:0])
    with pytest.raises(ValueError, match=r"w: got shape \(2, 2\), expected the shape \(3, 2\) of x"):
        action.hessian_product(x, x[:2])
    with pytest.raises(TypeError, match="w: got dtype int64"):
        action.hessian_product(x, np.zeros((3, 2), np.int64))


def test_actions_are_frozen_hashable_and_can_be_sent_to_other_processes():
    given_covariance = 2 * np.eye(2)
    action = Gaussian(given_covariance)
    given_covariance[0, 0] = 7.0
    assert action.covariance[0, 0] == 2
    with pytest.raises(ValueError, match="read-only"):
        action.covariance[0, 0] = 7.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        action.mean = np.ones(2)
    x = np.ones((1, 2))
    for one in (action, two_gaussians()):
        assert one == one
        assert len({one, one}) == 1
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).force(x), one.force(x))
