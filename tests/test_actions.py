"""The Wilson action: against its definition, automatic differentiation and differences; symmetries; bad input."""

from __future__ import annotations

import dataclasses
import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import U1Dynamics, WilsonU1, u1_action_definition, u1_force_definition
from refimpl.lattice import gauge_transform
from refimpl.validation import measure
from refimpl.validation.strategies import (
    couplings,
    gauge_transforms,
    memory_orders,
    u1_fields,
    u1_flux_fields,
    u1_hot_fields,
)

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = st.one_of(u1_fields(), u1_flux_fields(), u1_hot_fields())

U = 2.0**-53
# Sum of four angles of size pi in any order: partial sums of at most 2, 3, 4 pi, each rounded once.
ANGLE = 9 * U * np.pi
# Error of a sine, or of 1 - cos: of its angle on either side, and some ten operations on numbers of size 1 or 2.
TERM = 2 * ANGLE + 20 * U


def action_rounding(beta, volume, term=TERM):
    """V terms of size 2, summed in any order."""
    return beta * volume * (term + 2 * volume * U)


def force_rounding(beta, term=TERM):
    """Two terms."""
    return 2 * beta * term


def hot(shape, chains=3, seed=0):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (chains, 2, *shape))


def autograd_action(x, beta):
    """The action of all chains together, to be differentiated."""
    angles = x[:, 0] + anp.roll(x[:, 1], -1, axis=1) - anp.roll(x[:, 0], -1, axis=2) - x[:, 1]
    return beta * anp.sum(1 - anp.cos(angles))


# --- definitions -----------------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, couplings())
def test_the_definitions_equal_loops_over_plaquettes_and_links(x, beta):
    action = [measure.loop_action(links, beta) for links in x]
    force = np.array([measure.loop_force(links, beta) for links in x])
    np.testing.assert_allclose(u1_action_definition(x, beta), action, rtol=0, atol=action_rounding(beta, x[0, 0].size))
    np.testing.assert_allclose(u1_force_definition(x, beta), force, rtol=0, atol=force_rounding(beta))


@QUICK
@given(FIELDS, couplings(), st.data())
def test_action_and_force_equal_the_definitions_in_any_memory_order(x, beta, data):
    other, wilson = data.draw(memory_orders(x)), WilsonU1(beta)
    action, force = wilson.action(other), wilson.force(other)
    assert action.shape == (len(x),)
    assert force.shape == x.shape
    np.testing.assert_allclose(action, u1_action_definition(x, beta), rtol=0, atol=action_rounding(beta, x[0, 0].size))
    np.testing.assert_allclose(force, u1_force_definition(x, beta), rtol=0, atol=force_rounding(beta))
    np.testing.assert_array_equal(other, x)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2), (3, 3), (2, 7), (7, 2)])
def test_action_and_force_equal_the_definitions_on_small_and_narrow_lattices(shape):
    x, beta = hot(shape), 2.5
    action, force = WilsonU1(beta).action_and_force(x)
    volume = shape[0] * shape[1]
    np.testing.assert_allclose(action, u1_action_definition(x, beta), rtol=0, atol=action_rounding(beta, volume))
    np.testing.assert_allclose(force, u1_force_definition(x, beta), rtol=0, atol=force_rounding(beta))


@QUICK
@given(FIELDS, couplings(), st.data())
def test_action_and_force_have_the_same_bits_in_any_batch_and_memory_order(x, beta, data):
    other, wilson = data.draw(memory_orders(x)), WilsonU1(beta)
    action, force = wilson.action(x), wilson.force(x)
    np.testing.assert_array_equal(wilson.action(other), action)
    np.testing.assert_array_equal(wilson.force(other), force)
    for chain in range(len(x)):
        alone = wilson.action_and_force(other[chain : chain + 1])
        np.testing.assert_array_equal(alone[0], action[chain : chain + 1])
        np.testing.assert_array_equal(alone[1], force[chain : chain + 1])


def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone():
    x, wilson = hot((6, 6), chains=60), WilsonU1(2.0)  # more elements than any switch between algorithms
    for together, method in ((wilson.action(x), wilson.action), (wilson.force(x), wilson.force)):
        np.testing.assert_array_equal(np.concatenate([method(x[i : i + 1]) for i in range(60)]), together)


# --- values ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [0.0, 0.5, 7.0])
def test_one_link_makes_two_plaquettes_by_hand(beta):
    x = np.zeros((1, 2, 3, 4))
    x[0, 0, 1, 2] = 0.75
    action, force = WilsonU1(beta).action_and_force(x)
    # 1 - cos rounds by u at 1, the rest by a few u of numbers of size beta.
    np.testing.assert_allclose(action, [2 * beta * (1 - math.cos(0.75))], rtol=0, atol=10 * beta * U)
    expected = np.zeros_like(x)
    expected[0, 0, 1, 2] = 2
    expected[0, 0, 1, [1, 3]] = -1  # a plaquette to the right, +0.75, and one to the left, -0.75, ...
    expected[0, 1, [2, 1], [2, 2]] = [1, -1]  # ... with the space links above and below
    expected[0, 1, [2, 1], [1, 1]] = [-1, 1]
    np.testing.assert_allclose(force, beta * math.sin(0.75) * expected, rtol=0, atol=10 * beta * U)


def test_the_cold_field_has_no_action_and_no_force():
    action, force = WilsonU1(3.0).action_and_force(np.zeros((2, 2, 3, 4)))
    np.testing.assert_array_equal(action, [0.0, 0.0])
    np.testing.assert_array_equal(force, np.zeros((2, 2, 3, 4)))


def test_plaquettes_of_exactly_pi_have_action_two_beta_each():
    x = np.zeros((1, 2, 2, 2))
    x[0, 0, 0, 0] = np.pi  # the tangent of half of it is 1.6e16
    action, force = WilsonU1(1.5).action_and_force(x)
    np.testing.assert_allclose(action, [2 * 2 * 1.5], rtol=0, atol=10 * 6 * U)  # a few operations on the result 6
    np.testing.assert_allclose(force, 0, atol=2 * 1.5 * 4 * U)  # sin of the double next to pi is 1.1 u


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (4, 3), (6, 5)])
def test_plaquettes_all_of_pi_have_the_largest_action(shape):
    x = np.zeros((1, 2, *shape))
    x[0, 1, ::2] = np.pi
    action, force = WilsonU1(1.5).action_and_force(x)
    np.testing.assert_allclose(action, [2 * 1.5 * shape[0] * shape[1]], rtol=20 * U)  # some ten operations
    np.testing.assert_allclose(force, 0, atol=2 * 1.5 * 4 * U)  # sin of the double next to pi is 1.1 u


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9, 1e-150])
def test_the_action_of_small_angles_keeps_its_relative_precision(angle):
    x = np.zeros((1, 2, 3, 3))
    x[0, 1, 1, 1] = angle
    expected = 2 * 2.0 * 2 * math.sin(angle / 2) ** 2
    np.testing.assert_allclose(WilsonU1(2.0).action(x), [expected], rtol=20 * U, atol=0)  # some ten operations


@QUICK
@given(u1_flux_fields())
def test_the_action_lies_between_zero_and_two_beta_per_plaquette(x):
    action = WilsonU1(3.0).action(x)
    assert np.all(action >= 0)
    assert np.all(action <= 2 * 3.0 * x[0, 0].size * (1 + 20 * U))  # t^2/(1 + t^2) rounds a few times


@QUICK
@given(FIELDS, couplings())
def test_action_and_force_are_proportional_to_beta(x, beta):
    # Products of the same factors with beta, one or two roundings each.
    np.testing.assert_allclose(WilsonU1(beta).action(x), beta * WilsonU1(1.0).action(x), rtol=4 * U, atol=0)
    np.testing.assert_allclose(WilsonU1(beta).force(x), beta * WilsonU1(1.0).force(x), rtol=0, atol=2 * beta * 4 * U)


# --- the force is the derivative -------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, couplings())
def test_the_force_equals_automatic_differentiation_of_the_action(x, beta):
    expected = autograd.grad(autograd_action)(x, beta)
    np.testing.assert_allclose(WilsonU1(beta).force(x), expected, rtol=0, atol=force_rounding(beta))
    np.testing.assert_allclose(u1_force_definition(x, beta), expected, rtol=0, atol=force_rounding(beta))
    assert force_rounding(beta) < 1e-12


@settings(QUICK, max_examples=25)
@given(st.one_of(*(fields(chains=st.just(1)) for fields in (u1_fields, u1_flux_fields, u1_hot_fields))), couplings())
def test_the_force_equals_central_differences_of_the_action_in_every_component(x, beta):
    h, volume = 0.01, x[0, 0].size
    directions = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    s = {k: WilsonU1(beta).action(x + k * directions) for k in (-2, -1, 1, 2)}
    slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
    # h^4/30 times the fifth derivative, of size beta in two plaquettes, and the rounding of the action times 1.5/h.
    tolerance = h**4 / 30 * 2 * beta + 1.5 / h * action_rounding(beta, volume)
    np.testing.assert_allclose(WilsonU1(beta).force(x).ravel(), slope, rtol=0, atol=tolerance)


# --- symmetries ------------------------------------------------------------------------------------------------------
def assert_covariant(x, moved, beta, angle, move_force=lambda force: force):
    wilson, term = WilsonU1(beta), angle + 40 * U
    np.testing.assert_allclose(
        wilson.action(moved), wilson.action(x), rtol=0, atol=action_rounding(beta, x[0, 0].size, term)
    )
    np.testing.assert_allclose(
        wilson.force(moved), move_force(wilson.force(x)), rtol=0, atol=force_rounding(beta, term)
    )


@QUICK
@given(FIELDS, couplings(), st.data())
def test_action_and_force_are_gauge_invariant(x, beta, data):
    moved = gauge_transform(x, data.draw(gauge_transforms(x.shape[2:], len(x))))
    # Links of 3 pi: four of them rounded by 2 + 3, and added (9 times 3), against 9; times pi u.
    assert_covariant(x, moved, beta, (4 * 5 + 27 + 9) * U * np.pi)


@QUICK
@given(FIELDS, couplings(), st.integers(-6, 6), st.integers(-6, 6))
def test_the_force_moves_with_the_links_and_the_action_stays(x, beta, t, s):
    def move(field):
        return np.roll(field, (t, s), axis=(2, 3))

    assert_covariant(x, move(x), beta, 2 * ANGLE, move)


@QUICK
@given(FIELDS, couplings(), st.integers(0, 10**6))
def test_action_and_force_are_periodic_in_every_link(x, beta, seed):
    moved = x + 2 * np.pi * np.random.default_rng(seed).integers(-1, 2, x.shape)
    # Links of 3 pi: four of them rounded by 3, and added (9 times 3), against 9; and four errors of 2 pi itself.
    assert_covariant(x, moved, beta, (4 * 3 + 27 + 9) * U * np.pi + 4 * 2 * U * np.pi)


@QUICK
@given(FIELDS, couplings())
def test_the_force_changes_sign_under_conjugation_and_the_action_does_not(x, beta):
    assert_covariant(x, -x, beta, 2 * ANGLE, np.negative)


# --- dynamics --------------------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, couplings(), st.floats(-2, 2), st.integers(0, 10**6), st.data())
def test_a_kick_subtracts_the_scaled_force_from_the_momenta_in_place(x, beta, scale, seed, data):
    momenta = np.random.default_rng(seed).uniform(-3, 3, x.shape)
    other, v = data.draw(memory_orders(x)), data.draw(memory_orders(momenta).filter(lambda a: a.flags.writeable))
    WilsonU1(beta).dynamics(other, v).kick(scale)
    # The scaled force, and two sums of size 3 + 2 scale beta against one.
    tolerance = abs(scale) * force_rounding(beta) + 3 * (3 + 2 * abs(scale) * beta) * U
    np.testing.assert_allclose(v, momenta - scale * u1_force_definition(x, beta), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(other, x)


@QUICK
@given(FIELDS, couplings())
def test_dynamics_read_the_current_links_on_every_call(x, beta):
    x, v = x.copy(), np.zeros_like(x)
    dynamics = U1Dynamics(beta, x, v)
    for factor in (1.0, 0.5):
        x *= factor
        expected = WilsonU1(beta).action_and_force(x)
        for got, fresh in zip(dynamics.action_and_force(), expected, strict=True):
            np.testing.assert_array_equal(got, fresh)
        v[...] = 0.0
        dynamics.kick(1.0)
        np.testing.assert_allclose(v, -expected[1], rtol=0, atol=force_rounding(beta))


def test_action_and_force_are_new_arrays_on_every_call():
    x = hot((3, 4))
    dynamics = WilsonU1(2.0).dynamics(x, np.zeros_like(x))
    first = dynamics.action_and_force()
    kept = [part.copy() for part in first]
    x += 1e-1 * hot((3, 4), seed=1)
    second = dynamics.action_and_force()
    for part, copy, other in zip(first, kept, second, strict=True):
        np.testing.assert_array_equal(part, copy)
        assert not np.shares_memory(part, other)


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [-1.0, -1e-300, math.nan, math.inf, -math.inf])
def test_a_bad_beta_is_named(beta):
    with pytest.raises(ValueError, match=r"beta: got .*, expected a finite number >= 0"):
        WilsonU1(beta)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(WilsonU1)])
def test_the_action_cannot_be_changed_past_its_checks(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(WilsonU1(1.0), field, -1.0)


@pytest.mark.parametrize("method", ["action", "force"])
@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.zeros((1, 2, 4, 4), np.float32), TypeError, "x: got dtype float32"),
        (np.zeros((1, 2, 4, 4), np.int64), TypeError, "x: got dtype int64"),
        (np.zeros((2, 4, 4)), ValueError, "x: got shape"),
        (np.zeros((1, 3, 4, 4)), ValueError, "x: got shape"),
        (np.zeros((0, 2, 4, 4)), ValueError, "x: got zero chains"),
        (np.zeros((1, 2, 1, 4)), ValueError, "shape: got extent T = 1"),
        (np.zeros((1, 2, 4, 1)), ValueError, "shape: got extent X = 1"),
    ],
    ids=["float32", "int64", "one configuration", "three directions", "zero chains", "T = 1", "X = 1"],
)
def test_action_and_force_name_bad_links(method, x, error, match):
    with pytest.raises(error, match=match):
        getattr(WilsonU1(1.0), method)(x)


@pytest.mark.parametrize("beta", ["2", None, [1.0], -1.0, float("nan"), float("inf")])
def test_a_bad_coupling_is_named(beta):
    with pytest.raises(ValueError, match=r"beta: got .* expected a finite number >= 0"):
        WilsonU1(beta)
