"""phi^4: definitions, automatic differentiation, finite differences, symmetries, conventions; bad input."""

from __future__ import annotations

import decimal
import math

import autograd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import (
    Hopping,
    Phi4,
    Scaled,
    Unhalved,
    from_hopping,
    from_quartic,
    from_unhalved,
    phi4_action_definition,
    phi4_force_definition,
    to_hopping,
    to_unhalved,
)
from refimpl.kernels import HMC, spawn_rngs
from refimpl.lattice import chain_last, difference_program, neighbour_program, run, shift
from refimpl.validation.strategies import memory_orders

from .scalar_fields import LARGEST, phi4_couplings, scalar_fields

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 10**6)
U = 2.0**-53


def site_size(m2, lam, size=LARGEST):
    """The most that the terms of one site add up to: two bonds of (2 size)^2/2, and the potential."""
    return 4 * size**2 + abs(m2) * size**2 / 2 + lam * size**4 / 24


def slope_size(m2, lam, size=LARGEST):
    """The most that the terms of the force of a site add up to."""
    return (8 + abs(m2)) * size + lam * size**3 / 6


# Some ten operations on either side, and a sum over at most 25 sites of a tree on one side, one by one on the other.
ACTION_ROUNDINGS, FORCE_ROUNDINGS = 2 * 10 + 25, 2 * 10


def action_by_loop(x, m2, lam):
    n_t, n_x = len(x), len(x[0])
    total = 0.0
    for t in range(n_t):
        for i in range(n_x):
            here = x[t][i]
            total += ((x[(t + 1) % n_t][i] - here) ** 2 + (x[t][(i + 1) % n_x] - here) ** 2) / 2
            total += m2 * here**2 / 2 + lam * here**4 / 24
    return total


def direction(x, seed):
    return np.random.default_rng(seed).uniform(-1, 1, x.shape)


@QUICK
@given(scalar_fields(), phi4_couplings(), SEEDS, st.data())
def test_action_force_and_hessian_product_in_any_memory_order(x, couplings, seed, data):
    action, w, volume = Phi4(*couplings), direction(x, seed), x[0].size
    other = data.draw(memory_orders(x))
    tolerance = ACTION_ROUNDINGS * U * volume * site_size(*couplings)
    loop = [action_by_loop(row.tolist(), *couplings) for row in x]
    for expected in (loop, action.definition(x), phi4_action_definition(x, *couplings)):
        np.testing.assert_allclose(action.action(other), expected, rtol=0, atol=tolerance)
    tolerance = FORCE_ROUNDINGS * U * slope_size(*couplings)
    derivative = autograd.grad(lambda y: action.definition(y).sum())(x)
    for expected in (derivative, phi4_force_definition(x, *couplings)):
        np.testing.assert_allclose(action.force(other), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        action.hessian_product(other, data.draw(memory_orders(w))),
        autograd.hessian_vector_product(lambda y: action.definition(y).sum())(x, w),
        rtol=0,
        atol=FORCE_ROUNDINGS * U * (8 + abs(couplings[0]) + couplings[1] * LARGEST**2 / 2),
    )
    np.testing.assert_array_equal(other, x)


@QUICK
@given(scalar_fields(), phi4_couplings(), SEEDS)
def test_force_and_hessian_product_equal_central_differences(x, couplings, seed):
    action, w, h = Phi4(*couplings), direction(x, seed), 0.25
    volume, size = x[0].size, LARGEST + 2 * h
    for of, at, scale in (
        (
            action.action,
            (action.force(x) * w).sum(axis=(1, 2)),
            ACTION_ROUNDINGS * volume * site_size(*couplings, size),
        ),
        (action.force, action.hessian_product(x, w), FORCE_ROUNDINGS * slope_size(*couplings, size)),
    ):
        f = {k: of(x + k * h * w) for k in (-2, -1, 1, 2)}
        # Exact for polynomials of degree 4: rounding alone is left, of four values over h, and of the product on the left.
        slope = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
        np.testing.assert_allclose(at, slope, rtol=0, atol=(1.5 / h + volume) * U * scale)


@pytest.mark.parametrize(
    ("shape", "bonds"), [((1, 1), 0), ((2, 1), 2), ((1, 2), 2), ((2, 2), 4), ((3, 1), 2), ((3, 4), 4), ((2, 3), 4)]
)
def test_one_site_by_hand(shape, bonds):
    m2, lam, a = -0.75, 24.0, 0.5
    x = np.zeros((1, *shape))
    x[0, -1, -1] = a
    action, force = Phi4(m2, lam).action_and_force(x)
    # Numbers with few bits: no rounding.
    assert action[0] == bonds * a**2 / 2 + m2 * a**2 / 2 + a**4
    assert force[0, -1, -1] == (bonds + m2) * a + 4 * a**3
    assert force.sum() == m2 * a + 4 * a**3
    assert Phi4(m2, lam).hessian_product(x, x)[0, -1, -1] == (bonds + m2) * a + 12 * a**3


def test_the_potential_stands_once_per_site():
    # Eq. (14) as printed would count it once for every direction.
    x = np.full((1, 3, 5), 2.0)
    assert Phi4(1.0, 3.0).action(x)[0] == 15 * (1.0 * 4 / 2 + 3.0 * 16 / 24)


def test_the_action_of_a_large_smooth_field_keeps_its_relative_precision():
    x = 1e8 + np.indices((4, 4)).sum(axis=0) % 2 * np.ones((1, 1, 1))
    # All 32 bonds are of size 1; the mass term is 16 * 1e-18 * 1e16/2 = 0.08.
    np.testing.assert_allclose(Phi4(1e-18, 0.0).action(x), [16 + 0.5e-18 * (x * x).sum()], rtol=40 * U, atol=0)


@QUICK
@given(scalar_fields(), phi4_couplings(), st.integers(-3, 3), st.integers(-3, 3))
def test_symmetries(x, couplings, steps_t, steps_x):
    action = Phi4(*couplings)
    value, force = action.action(x), action.force(x)
    cases = {
        "translation": (np.roll(x, (steps_t, steps_x), (1, 2)), np.roll(force, (steps_t, steps_x), (1, 2))),
        "reflection of time": (x[:, ::-1], force[:, ::-1]),
        "reflection of space": (x[:, :, ::-1], force[:, :, ::-1]),
        "exchange of axes": (x.swapaxes(1, 2), force.swapaxes(1, 2)),
        "parity": (-x, -force),
    }
    for name, (moved, expected) in cases.items():
        tolerance = ACTION_ROUNDINGS * U * x[0].size * site_size(*couplings)
        np.testing.assert_allclose(action.action(moved), value, rtol=0, atol=tolerance, err_msg=name)
        tolerance = FORCE_ROUNDINGS * U * slope_size(*couplings)
        np.testing.assert_allclose(action.force(moved), expected, rtol=0, atol=tolerance, err_msg=name)


@QUICK
@given(scalar_fields(), phi4_couplings())
def test_the_hessian_is_symmetric(x, couplings):
    action, n = Phi4(*couplings), x[0].size
    rows = [action.hessian_product(x, np.tile(row.reshape(x[0].shape), (len(x), 1, 1))) for row in np.eye(n)]
    hessian = np.stack(rows, axis=1).reshape(len(x), n, n)
    np.testing.assert_array_equal(hessian, np.swapaxes(hessian, 1, 2))  # off the diagonal, small integers


@QUICK
@given(scalar_fields(), st.integers(0, 1), st.data())
def test_neighbours_and_differences_are_the_shifts(x, mu, data):
    for layout in (x, data.draw(memory_orders(x)), np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0)):
        for program, expected in (
            (neighbour_program, shift(x, mu) + shift(x, mu, -1)),
            (difference_program, x - shift(x, mu)),
        ):
            for out in (np.full_like(x, np.nan), np.full_like(layout, np.nan), chain_last(*x.shape)):
                run(program(layout, mu, out))
                np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("action", [Phi4(-0.3, 2.0), Scaled(Phi4(-0.3, 2.0), 0.5), Phi4(-0.3, 2.0) + Phi4(1.0, 0.0)])
def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone(action):
    x = np.random.default_rng(0).standard_normal((53, 5, 3))
    last = chain_last(*x.shape)
    last[...] = x
    methods = [action.action, action.force]
    if not isinstance(action, type(Phi4(1.0, 0.0) + Phi4(1.0, 0.0))):
        methods.append(lambda y: action.hessian_product(y, np.cos(y)))
    for method in methods:
        alone = np.concatenate([method(x[i : i + 1]) for i in range(len(x))])
        np.testing.assert_array_equal(alone, method(x))
        np.testing.assert_array_equal(alone, method(last))


@QUICK
@given(scalar_fields(), phi4_couplings(), st.floats(-2, 2), SEEDS)
def test_a_kick_subtracts_the_scaled_force_at_the_current_field(x, couplings, scale, seed):
    action = Phi4(*couplings)
    y, w = x.copy(), direction(x, seed)
    v = w.copy()
    dynamics = action.dynamics(y, v)
    for factor in (1.0, 0.5):
        y *= factor
        v[...] = w
        dynamics.kick(scale)
        tolerance = 2 * U * (1 + abs(scale) * slope_size(*couplings))  # a product and a sum on either side
        np.testing.assert_allclose(v, w - scale * action.force(y), rtol=0, atol=tolerance)
        for got, expected in zip(dynamics.action_and_force(), (action.action(y), action.force(y)), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_actions_add():
    x = np.random.default_rng(1).standard_normal((4, 3, 5))
    both = Phi4(0.5, 2.0) + Phi4(0.25, 1.0)
    for got, one, two in zip(
        both.action_and_force(x), Phi4(0.5, 2.0).action_and_force(x), Phi4(0.25, 1.0).action_and_force(x), strict=True
    ):
        np.testing.assert_array_equal(got, one + two)


def test_hmc_takes_it_as_it_is():
    kernel = HMC(Phi4(0.1, 24.0), 0.1, 8)
    assert kernel.action.angular is False  # nothing is wrapped
    x = 0.4 * np.random.default_rng(2).standard_normal((8, 4, 6))
    state = kernel.init(x)
    state, info = kernel.step(spawn_rngs(1, 8), state)
    assert info.accepted.any()
    assert not np.array_equal(state.x, x)
    np.testing.assert_array_equal(state.action, Phi4(0.1, 24.0).action(state.x))


# --- conventions -----------------------------------------------------------------------------------------------------
# Relative rounding of a round trip: kappa loses up to (4 + m2)^2/(4 + m2)... digits where 1 - 2 lam cancels, never more than 1e4 U.
ROUND_TRIP = 1e4 * U


@QUICK
@given(phi4_couplings())
def test_couplings_of_other_conventions_round_trip(couplings):
    m2, lam = couplings
    for there, back in ((to_hopping, from_hopping), (to_unhalved, from_unhalved)):
        other, shrink = there(m2, lam)
        action, stretch = back(*other)
        np.testing.assert_allclose([action.m2, action.lam], couplings, rtol=ROUND_TRIP, atol=ROUND_TRIP)
        assert math.isclose(shrink * stretch, 1, rel_tol=4 * U)
    assert from_quartic(m2, lam / 24).lam == pytest.approx(lam, rel=2 * U)


@QUICK
@given(scalar_fields(), phi4_couplings())
def test_actions_of_other_conventions_are_the_same_numbers(x, couplings):
    action, volume = Phi4(*couplings), x[0].size
    value = action.action(x)
    # The sums on either side, with terms up to twice as large in hopping form; and the couplings' own rounding.
    tolerance = (2 * ROUND_TRIP + 8 * ACTION_ROUNDINGS * U) * volume * site_size(*couplings)
    (kappa, quartic), scale = to_hopping(*couplings)
    y = scale * x
    hops = sum(y * np.roll(y, -1, axis) for axis in (1, 2))
    hopping = (-2 * kappa * hops + y**2 + quartic * (y**2 - 1) ** 2).sum(axis=(1, 2)) - volume * quartic
    (mass2, quartic), scale = to_unhalved(*couplings)
    y = scale * x
    squares = sum((np.roll(y, -1, axis) - y) ** 2 for axis in (1, 2))
    unhalved = (squares + mass2 * y**2 + quartic * y**4).sum(axis=(1, 2))
    np.testing.assert_allclose(hopping, value, rtol=0, atol=tolerance)
    np.testing.assert_allclose(unhalved, value, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("m2", "lam"), [(-8.0, 1e-9), (4.0, 1e-9), (-4.0, 3.0)])
def test_the_hopping_parameter_is_the_root_to_the_last_digits(m2, lam):
    with decimal.localcontext(decimal.Context(prec=50)):
        b, third = decimal.Decimal(m2) + 4, decimal.Decimal(lam) / 3
        root = ((b * b + 4 * third).sqrt() - b) / (2 * third)
    assert to_hopping(m2, lam)[0].kappa == pytest.approx(float(root), rel=8 * U)


def test_conventions_by_hand():
    # lam kappa^2/3 = 1 at m2 = -4; the couplings of arXiv:2101.08176.
    hopping, scale = to_hopping(-4.0, 48.0)
    assert hopping == Hopping(0.25, 0.5)
    assert scale == pytest.approx(math.sqrt(2), rel=2 * U)
    assert to_unhalved(-4.0, 48.0)[0] == Unhalved(-4.0, 8.0)
    assert from_unhalved(-4.0, 8.0)[0] == Phi4(-4.0, 48.0)
    assert from_quartic(-4.0, 2.0) == Phi4(-4.0, 48.0)
    assert to_hopping(1.0, 0.0)[0] == Hopping(0.2, 0.0)  # free: kappa = 1/(4 + m2)


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Phi4(math.nan, 1.0), "m2: got nan"),
        (lambda: Phi4(math.inf, 1.0), "m2: got inf"),
        (lambda: Phi4("1", 1.0), "m2: got '1'"),  # type: ignore[arg-type]
        (lambda: Phi4(1.0, -0.1), "lam: got -0.1, expected a finite number >= 0"),
        (lambda: Phi4(0.0, 0.0), "m2: got 0.0 at lam = 0, expected a number > 0"),
        (lambda: Phi4(-1.0, 0.0), "m2: got -1.0 at lam = 0"),
        (lambda: to_hopping(-1.0, 0.0), "m2: got -1.0 at lam = 0"),
        (lambda: to_unhalved(1.0, -1.0), "lam: got -1.0"),
        (lambda: from_hopping(0.0, 0.1), "kappa: got 0.0, expected a finite number > 0"),
        (lambda: from_hopping(0.3, 0.0), "m2: got .* at lam = 0"),  # beyond the critical hopping of a free field
    ],
)
def test_bad_couplings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_fields_are_named():
    action, x = Phi4(1.0, 1.0), np.zeros((3, 4, 5))
    for method in (action.action, action.force, lambda y: action.hessian_product(y, x)):
        with pytest.raises(TypeError, match="x: got dtype float32"):
            method(x.astype(np.float32))
        for bad in (x[0], x[:, :0], x[None]):
            with pytest.raises(ValueError, match=r"x: got shape .* expected \(chain, T, X\)"):
                method(bad)
        with pytest.raises(ValueError, match="x: got zero chains"):
            method(x[:0])
    with pytest.raises(ValueError, match=r"w: got shape \(3, 4, 4\), expected the shape \(3, 4, 5\) of x"):
        action.hessian_product(x, x[:, :, :4])
