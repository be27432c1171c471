"""The O(2) chain and scaled actions: definitions, automatic differentiation, symmetries; bad input."""

from __future__ import annotations

import math

import autograd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refimpl.actions import Gaussian, O2Chain, Scaled, WilsonU1, scaled, two_gaussians
from refimpl.validation.strategies import couplings, memory_orders

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANGLES = st.sampled_from([0.0, np.pi / 2, -np.pi, float(np.nextafter(np.pi, 0))]) | st.floats(-np.pi, np.pi)
FIELDS = st.tuples(st.integers(1, 3), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=ANGLES)
)
SEEDS = st.integers(0, 10**6)

U = 2.0**-53
# A bond is at most 2 pi and rounded once; then some ten operations on numbers of size 1 or 2, on either side.
TERM = 2 * 2 * np.pi * U + 20 * U


def action_rounding(beta, length, term=TERM):
    return beta * length * (term + 2 * length * U)


def direction(x, seed):
    return np.random.default_rng(seed).uniform(-1, 1, x.shape)


@QUICK
@given(FIELDS, couplings(), SEEDS, st.data())
def test_action_force_and_hessian_product_in_any_memory_order(x, beta, seed, data):
    action, w = O2Chain(beta), direction(x, seed)
    other = data.draw(memory_orders(x))
    value, force = action.action(other), action.force(other)
    loop = [sum(beta * (1 - math.cos(row[i] - row[i - 1])) for i in range(len(row))) for row in x]
    for expected in (loop, action.definition(x)):
        np.testing.assert_allclose(value, expected, rtol=0, atol=action_rounding(beta, x.shape[1]))
    np.testing.assert_allclose(
        force, autograd.grad(lambda y: action.definition(y).sum())(x), rtol=0, atol=2 * beta * TERM
    )
    # A cosine times a difference of at most 2, from two bonds.
    np.testing.assert_allclose(
        action.hessian_product(other, data.draw(memory_orders(w))),
        autograd.hessian_vector_product(lambda y: action.definition(y).sum())(x, w),
        rtol=0,
        atol=2 * beta * 2 * (TERM + 4 * U),
    )
    np.testing.assert_array_equal(other, x)


@QUICK
@given(FIELDS, couplings(), SEEDS)
def test_force_and_hessian_product_equal_central_differences(x, beta, seed):
    action, w, h = O2Chain(beta), direction(x, seed), 1e-3
    n = x.shape[1]
    for of, at in (
        (action.action, lambda: (action.force(x) * w).sum(axis=1)),
        (action.force, lambda: action.hessian_product(x, w)),
    ):
        f = {k: of(x + k * h * w) for k in (-2, -1, 1, 2)}
        slope = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
        # h^4/30 times the fifth derivative, 2^5 a bond, and rounding over h.
        tolerance = h**4 / 30 * 32 * n * beta + 1.5 / h * action_rounding(beta, n, 2 * TERM)
        np.testing.assert_allclose(at(), slope, rtol=0, atol=tolerance)


def test_one_angle_by_hand():
    x = np.array([[0.0, 0.75, 0.0, 0.0]])
    action, force = O2Chain(2.0).action_and_force(x)
    np.testing.assert_allclose(action, [4 * (1 - math.cos(0.75))], rtol=0, atol=40 * U)
    np.testing.assert_allclose(force, 2 * math.sin(0.75) * np.array([[-1, 2, -1, 0]]), rtol=0, atol=40 * U)
    product = O2Chain(2.0).hessian_product(x, np.array([[0.0, 1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(product, 2 * math.cos(0.75) * np.array([[-1, 2, -1, 0]]), rtol=0, atol=40 * U)


@pytest.mark.parametrize("angle", [1e-3, 1e-9, 1e-150])
def test_the_action_of_small_angles_keeps_its_relative_precision(angle):
    x = np.array([[0.0, angle, 0.0]])
    np.testing.assert_allclose(O2Chain(2.0).action(x), [8 * math.sin(angle / 2) ** 2], rtol=20 * U, atol=0)


@QUICK
@given(FIELDS, couplings(), SEEDS, st.integers(-5, 5), st.floats(-3, 3))
def test_symmetries(x, beta, seed, steps, angle):
    action, n = O2Chain(beta), x.shape[1]
    value, force = action.action(x), action.force(x)
    turns = 2 * np.pi * np.random.default_rng(seed).integers(-1, 2, x.shape)
    cases = {
        "translation": (np.roll(x, steps, axis=1), np.roll(force, steps, axis=1)),
        "reflection of the chain": (x[:, ::-1], force[:, ::-1]),
        "rotation": (x + angle, force),
        "conjugation": (-x, -force),
        "2 pi": (x + turns, force),
    }
    for name, (moved, expected) in cases.items():
        # Angles of 3 pi rounded once each in a bond of up to 6 pi, and 2 pi itself, on top of what either side has.
        term = 2 * TERM + (2 * 3 + 6 + 2) * np.pi * U
        np.testing.assert_allclose(
            action.action(moved), value, rtol=0, atol=action_rounding(beta, n, term), err_msg=name
        )
        np.testing.assert_allclose(action.force(moved), expected, rtol=0, atol=2 * beta * term, err_msg=name)


@QUICK
@given(FIELDS, couplings(), SEEDS)
def test_the_hessian_is_symmetric_and_a_rotation_is_flat(x, beta, seed):
    action, n = O2Chain(beta), x.shape[1]
    rows = [action.hessian_product(x, np.tile(row, (len(x), 1))) for row in np.eye(n)]
    hessian = np.stack(rows, axis=1)
    np.testing.assert_array_equal(hessian, np.swapaxes(hessian, 1, 2))  # products with 0 and 1, sums of two
    np.testing.assert_array_equal(action.hessian_product(x, np.full_like(x, 0.3)), 0)


@pytest.mark.parametrize("action", [O2Chain(2.0), Scaled(O2Chain(2.0), 0.5)], ids=["chain", "scaled"])
def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone(action):
    x = np.random.default_rng(0).uniform(-np.pi, np.pi, (101, 13))
    w = direction(x, 1)
    for method in (
        lambda i: action.action(x[i]),
        lambda i: action.force(x[i]),
        lambda i: action.hessian_product(x[i], w[i]),
    ):
        alone = np.concatenate([method(slice(i, i + 1)) for i in range(101)])
        np.testing.assert_array_equal(alone, method(slice(None)))


@QUICK
@given(FIELDS, couplings(), st.floats(-2, 2), SEEDS)
def test_a_kick_subtracts_the_scaled_force_at_the_current_angles(x, beta, scale, seed):
    for action in (O2Chain(beta), Scaled(O2Chain(beta), 0.5)):
        y, w = x.copy(), direction(x, seed)
        v = w.copy()
        dynamics = action.dynamics(y, v)
        for factor in (1.0, 0.5):
            y *= factor
            v[...] = w
            dynamics.kick(scale)
            # Two sums of size 1 + 2 scale beta against one, and the force itself.
            tolerance = abs(scale) * 2 * beta * TERM + 3 * (1 + 2 * abs(scale) * beta) * U
            np.testing.assert_allclose(v, w - scale * action.force(y), rtol=0, atol=tolerance)
            for got, expected in zip(dynamics.action_and_force(), (action.action(y), action.force(y)), strict=True):
                np.testing.assert_array_equal(got, expected)


# --- scaled ----------------------------------------------------------------------------------------------------------
def test_a_coupling_is_scaled_where_there_is_one():
    assert scaled(WilsonU1(4.0), 0.25) == WilsonU1(1.0)
    assert scaled(O2Chain(4.0), 0.25) == O2Chain(1.0)
    base = Gaussian(np.eye(2))
    assert scaled(scaled(base, 0.5), 0.5) == Scaled(base, 0.25)


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0, 3.0])
def test_every_method_is_scaled(factor):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 2))
    base = two_gaussians()
    action = scaled(base, factor)
    assert action.angular is False
    assert Scaled(O2Chain(1.0), 2.0).angular is True
    for method, arguments in (("action", (x,)), ("force", (x,)), ("hessian_product", (x, w)), ("definition", (x,))):
        np.testing.assert_array_equal(getattr(action, method)(*arguments), factor * getattr(base, method)(*arguments))
    v = w.copy()
    dynamics = action.dynamics(x, v)
    dynamics.kick(0.5)
    np.testing.assert_array_equal(v, w - 0.5 * factor * base.force(x))
    for pair in (action.action_and_force(x), dynamics.action_and_force()):
        np.testing.assert_array_equal(pair[0], factor * base.action(x))
        np.testing.assert_array_equal(pair[1], factor * base.force(x))


def test_a_scaled_gaussian_is_the_gaussian_of_smaller_covariance():
    x = np.random.default_rng(0).standard_normal((5, 2))
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    # The two inverses round apart.
    np.testing.assert_allclose(
        scaled(Gaussian(covariance), 4.0).force(x), Gaussian(covariance / 4).force(x), rtol=1e-13
    )


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "2", None])
def test_a_bad_coupling_or_factor_is_named(value):
    with pytest.raises(ValueError, match=r"beta: got .*, expected a finite number >= 0"):
        O2Chain(value)
    for action in (O2Chain(1.0), two_gaussians()):
        with pytest.raises(ValueError, match=r"factor: got .*, expected a finite number >= 0"):
            scaled(action, value)
    with pytest.raises(ValueError, match="factor: got"):
        Scaled(two_gaussians(), value)


def test_bad_fields_are_named():
    action, x = O2Chain(1.0), np.zeros((3, 4))
    for method in (action.action, action.force, lambda y: action.hessian_product(y, x)):
        with pytest.raises(TypeError, match="x: got dtype int64"):
            method(x.astype(np.int64))
        for bad in (x[0], x[:, :1], x[None]):
            with pytest.raises(ValueError, match=r"x: got shape .* expected \(chain, N\) with N of at least 2"):
                method(bad)
        with pytest.raises(ValueError, match="x: got zero chains"):
            method(x[:0])
    with pytest.raises(ValueError, match=r"w: got shape \(3, 3\), expected the shape \(3, 4\) of x"):
        action.hessian_product(x, x[:, :3])
