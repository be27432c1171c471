"""SU(N) Wilson action: the fast form against the definition, force against differences on the group, gauge invariance; loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import WilsonSUN, WilsonU1, sun_action_definition, sun_force_definition
from refimpl.groups import SUN
from refimpl.groups.links import gauge_transform, plaquettes, plaquettes_definition
from refimpl.groups.matrices import components, field
from refimpl.observables import mean_plaquette, wilson_loop
from refimpl.validation.strategies import couplings, memory_orders

from .links import sun_fields

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
U = 2.0**-53
SIZES = [2, 3, 4]


def rounding(x, beta):
    # Products of five unitary matrices, n terms each, in both forms; sums of two plaquettes for a force, of V for an action.
    return 40 * x.shape[-1] * beta * U


@QUICK
@given(st.sampled_from(SIZES), couplings(), st.data())
def test_the_fast_form_is_the_definition_in_any_memory_order(n, beta, data):
    x = data.draw(sun_fields(n))
    y, action = data.draw(memory_orders(x)), WilsonSUN(beta, n)
    volume = x.shape[2] * x.shape[3]
    expected = sun_action_definition(x, beta)
    np.testing.assert_allclose(action.action(y), expected, rtol=0, atol=volume * rounding(x, beta))
    np.testing.assert_allclose(action.force(y), sun_force_definition(x, beta), rtol=0, atol=rounding(x, beta))
    s, f = action.action_and_force(y)
    assert np.array_equal(s, action.action(y))
    assert np.array_equal(f, action.force(y))
    v = np.random.default_rng(0).standard_normal(f.shape)
    kicked = v.copy()
    action.dynamics(y, kicked).kick(0.3)
    np.testing.assert_allclose(kicked, v - 0.3 * f, rtol=0, atol=rounding(x, beta) + 8 * U * np.abs(v).max())


@QUICK
@given(st.sampled_from(SIZES), couplings(), st.integers(0, 10**6), st.data())
def test_the_force_is_the_derivative_along_the_group(n, beta, seed, data):
    x = data.draw(sun_fields(n))
    group, action, h = SUN(n), WilsonSUN(beta, n), 2e-3
    f = action.force(x)
    # One link and one generator at a time: every component of the force has its own derivative.
    rng = np.random.default_rng(seed)
    for _ in range(4):
        index = tuple(rng.integers(f.shape[1:]))
        w = np.zeros(f.shape)
        w[(slice(None), *index)] = 1.0
        s = {k: action.action(group.multiply(group.exp(k * h * w), x)) for k in (-2, -1, 1, 2)}
        slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
        # h^4/30 of the fifth derivative (eigenvalues of T_a are at most 1/2, two plaquettes) is below 1e-12 beta; the
        # rounding of S, V plaquettes of some 10 U, is divided by h.
        assert np.abs(f[(slice(None), *index)] - slope).max() < 1e-8
        assert np.abs(f[(slice(None), *index)] - slope).max() < 1e-12 * beta + 100 * beta * f[0, 0, ..., 0].size * U / h


@QUICK
@given(st.sampled_from(SIZES), couplings(), st.integers(0, 10**6), st.data())
def test_gauge_transformations_leave_the_action_and_turn_the_force(n, beta, seed, data):
    x = data.draw(sun_fields(n))
    group, action = SUN(n), WilsonSUN(beta, n)
    g = group.haar(np.random.default_rng(seed), (len(x), *x.shape[2:4]))
    y = gauge_transform(x, g)
    volume = x.shape[2] * x.shape[3]
    np.testing.assert_allclose(action.action(y), action.action(x), rtol=0, atol=2 * volume * rounding(x, beta))
    turned = g[:, None] @ group.algebra(action.force(x)) @ g[:, None].conj().swapaxes(-2, -1)
    np.testing.assert_allclose(group.algebra(action.force(y)), turned, rtol=0, atol=4 * rounding(x, beta))
    np.testing.assert_allclose(mean_plaquette(y), mean_plaquette(x), rtol=0, atol=rounding(x, 2.0))


@pytest.mark.parametrize("n", SIZES)
def test_diagonal_links_are_copies_of_u1(n):
    # diag(e^(i t), e^(-i t), 1, ...) has Re Tr P = 2 cos t_P + n - 2; T of the diagonal pair is diag(1/2, -1/2, 0, ...).
    theta = np.random.default_rng(1).uniform(-np.pi, np.pi, (3, 2, 4, 3))
    x = np.zeros((*theta.shape, n, n), np.complex128)
    x[..., range(n), range(n)] = 1
    x[..., 0, 0], x[..., 1, 1] = np.exp(1j * theta), np.exp(-1j * theta)
    beta, volume = 1.7, 12
    u1 = WilsonU1(2 * beta / n)
    expected = u1.action(theta) - beta * volume
    np.testing.assert_allclose(WilsonSUN(beta, n).action(x), expected, rtol=0, atol=volume * rounding(x, beta))
    np.testing.assert_allclose(WilsonSUN(beta, n).force(x)[..., 2], u1.force(theta) / 2, rtol=0, atol=rounding(x, beta))
    # A Wilson loop of U(1) as well.
    loops = (2 * wilson_loop(theta, 2, 3) + n - 2) / n
    np.testing.assert_allclose(wilson_loop(x, 2, 3), loops, rtol=0, atol=rounding(x, 1.0))


@QUICK
@given(st.sampled_from(SIZES), st.data())
def test_plaquettes_and_loops_are_those_of_a_walk(n, data):
    x = data.draw(sun_fields(n))
    p = plaquettes_definition(x)
    np.testing.assert_allclose(field(plaquettes(components(x, 2)), 2), p, rtol=0, atol=rounding(x, 1.0))
    np.testing.assert_allclose(
        mean_plaquette(x), np.einsum("ctxii->c", p).real / n / p[0, ..., 0, 0].size, rtol=0, atol=rounding(x, 1.0)
    )
    chains, _, n_t, n_x = x.shape[:4]
    extent_t, extent_x = data.draw(st.integers(1, n_t)), data.draw(st.integers(1, n_x))
    total = np.zeros(chains)
    for t in range(n_t):
        for s in range(n_x):
            u = np.broadcast_to(np.eye(n, dtype=complex), (chains, n, n))
            for mu, steps, forward in (
                (0, extent_t, True),
                (1, extent_x, True),
                (0, extent_t, False),
                (1, extent_x, False),
            ):
                for _ in range(steps):
                    if forward:
                        u = u @ x[:, mu, t % n_t, s % n_x]
                    t, s = (t + (1 if forward else -1), s) if mu == 0 else (t, s + (1 if forward else -1))
                    if not forward:
                        u = u @ x[:, mu, t % n_t, s % n_x].conj().swapaxes(1, 2)
            total += np.trace(u, axis1=1, axis2=2).real / n
    np.testing.assert_allclose(
        wilson_loop(x, extent_t, extent_x), total / (n_t * n_x), rtol=0, atol=2 * rounding(x, 2.0)
    )


def test_actions_add():
    x = SUN(3).haar(np.random.default_rng(3), (2, 2, 3, 4))
    total = WilsonSUN(2.0, 3) + WilsonSUN(1.0, 3)
    np.testing.assert_allclose(total.force(x), WilsonSUN(3.0, 3).force(x), rtol=0, atol=rounding(x, 3.0))
    np.testing.assert_allclose(total.action(x), WilsonSUN(3.0, 3).action(x), rtol=0, atol=12 * rounding(x, 3.0))


GOOD = SUN(3).haar(np.random.default_rng(2), (1, 2, 4, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: WilsonSUN(-1.0, 3), ValueError, "beta: got -1.0"),
        (lambda: WilsonSUN(1.0, 1), ValueError, "n: got 1"),
        (
            lambda: WilsonSUN(1.0, 3).action(GOOD.astype(np.complex64)),
            TypeError,
            "x: got dtype complex64, expected complex128",
        ),
        (lambda: WilsonSUN(1.0, 2).action(GOOD), ValueError, r"expected \(chain, 2, T, X, 2, 2\)"),
        (lambda: WilsonSUN(1.0, 3).force(GOOD[:, :1]), ValueError, "x: got shape"),
        (lambda: WilsonSUN(1.0, 3).force(GOOD[:0]), ValueError, "x: got zero chains"),
        (lambda: WilsonSUN(1.0, 3).action(GOOD[:, :, :1]), ValueError, "extents of at least 2"),
        (lambda: WilsonSUN(1.0, 3).action(1.01 * GOOD), ValueError, "U.dag U off 1 by 0.02"),
        (lambda: mean_plaquette(1.01 * GOOD), ValueError, "U.dag U off 1"),
        (lambda: wilson_loop(GOOD, 5, 1), ValueError, "extent_t: got 5"),
        (lambda: wilson_loop(GOOD[0], 1, 1), ValueError, r"x: got shape \(2, 4, 4, 3, 3\)"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
