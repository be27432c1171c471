"""Second derivatives of the Wilson action: against automatic differentiation, differences, identities; bad input."""

from __future__ import annotations

import autograd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import WilsonU1, u1_action_definition
from refimpl.validation.strategies import couplings, gauge_transforms, memory_orders, u1_fields, u1_hot_fields

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = st.one_of(u1_fields(), u1_hot_fields())

U = 2.0**-53
# A cosine to an absolute 2 ANGLE + 20 U, see test_actions.py; its factor G w is at most 4 |w|, and two terms are added.
COSINE = 2 * 9 * U * np.pi + 20 * U


def product_rounding(beta, w):
    return 2 * beta * 4 * np.abs(w).max(initial=0) * (COSINE + 8 * U)


def direction(x, seed):
    return np.random.default_rng(seed).standard_normal(x.shape)


@QUICK
@given(FIELDS, couplings())
def test_the_traceable_definition_is_the_definition(x, beta):
    # The same operations, but for the order of a sum of at most 36 terms of size 2.
    np.testing.assert_allclose(
        WilsonU1(beta).definition(x), u1_action_definition(x, beta), rtol=0, atol=beta * 2 * 36 * 36 * U
    )


@QUICK
@given(FIELDS, couplings(), st.integers(0, 10**6), st.data())
def test_the_hessian_product_equals_automatic_differentiation_in_any_memory_order(x, beta, seed, data):
    wilson, w = WilsonU1(beta), direction(x, seed)
    expected = autograd.hessian_vector_product(lambda y: wilson.definition(y).sum())(x, w)
    got = wilson.hessian_product(data.draw(memory_orders(x)), data.draw(memory_orders(w)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=product_rounding(beta, w))


@QUICK
@given(FIELDS, couplings(), st.integers(0, 10**6))
def test_the_hessian_product_equals_central_differences_of_the_force(x, beta, seed):
    wilson, w, h = WilsonU1(beta), direction(x, seed), 1e-3
    f = {k: wilson.force(x + k * h * w) for k in (-2, -1, 1, 2)}
    slope = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
    # h^4/30 times the fifth derivative of two sines, at most (4 |w|)^5 each, and rounding of forces over h.
    tolerance = 2 * beta * (h**4 / 30 * (4 * np.abs(w).max()) ** 5 + 1.5 / h * (COSINE + 40 * U))
    np.testing.assert_allclose(wilson.hessian_product(x, w), slope, rtol=0, atol=tolerance)


@QUICK
@given(FIELDS, couplings(), st.integers(0, 10**6))
def test_the_hessian_is_symmetric(x, beta, seed):
    wilson, a, b = WilsonU1(beta), direction(x, seed), direction(x, seed + 1)
    left, right = (a * wilson.hessian_product(x, b)).sum(), (b * wilson.hessian_product(x, a)).sum()
    assert abs(left - right) <= x.size * (np.abs(a).max() * product_rounding(beta, b) * 2 + x.size * U * 100 * beta)


@QUICK
@given(u1_hot_fields(), couplings(), st.data())
def test_gauge_directions_are_flat(x, beta, data):
    alpha = data.draw(gauge_transforms(x.shape[2:], len(x)))
    w = np.stack([alpha - np.roll(alpha, -1, 1), alpha - np.roll(alpha, -1, 2)], axis=1)
    # G w is zero but for rounding of four links of size 2 pi, each made by a rounded difference.
    atol = 2 * beta * 8 * 4 * np.pi * U
    np.testing.assert_allclose(WilsonU1(beta).hessian_product(x, w), 0, rtol=0, atol=atol)


def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone():
    x = np.random.default_rng(0).uniform(-np.pi, np.pi, (60, 2, 6, 6))
    w, wilson = direction(x, 1), WilsonU1(2.0)
    alone = np.concatenate([wilson.hessian_product(x[i : i + 1], w[i : i + 1]) for i in range(60)])
    np.testing.assert_array_equal(alone, wilson.hessian_product(x, w))


def test_a_direction_of_another_shape_is_named():
    x = np.zeros((1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"w: got shape \(1, 2, 4, 3\), expected the shape \(1, 2, 4, 4\) of x"):
        WilsonU1(1.0).hessian_product(x, x[..., :3])
    with pytest.raises(TypeError, match="w: got dtype float32"):
        WilsonU1(1.0).hessian_product(x, x.astype(np.float32))
