"""Observables of scalar fields: definitions by loops, exact values of the free field, symmetries; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.exact import free_scalar, phi4
from refimpl.lattice import chain_last
from refimpl.observables import scalars
from refimpl.statistics import jackknife
from refimpl.validation.strategies import memory_orders

from .scalar_fields import LARGEST, scalar_fields

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
U = 2.0**-53
SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed
PER_CHAIN = [
    scalars.slice_means,
    scalars.correlator,
    scalars.phi_squared,
    scalars.phi_fourth,
    scalars.magnetisation,
    scalars.magnetisation_moments,
]


@QUICK
@given(scalar_fields(), st.data())
def test_definitions_by_loops_in_any_memory_order(x, data):
    other = data.draw(memory_orders(x))
    n_t, n_x = x.shape[1:]
    # Sums of at most 25 terms, and a handful of operations.
    tolerance = 40 * U * LARGEST**2
    means = [[sum(row) / n_x for row in field] for field in x.tolist()]
    np.testing.assert_allclose(scalars.slice_means(other), means, rtol=0, atol=tolerance)
    loop = [[sum(p[(y + t) % n_t] * p[y] for y in range(n_t)) / n_t for t in range(n_t)] for p in means]
    result = scalars.correlator(other)
    np.testing.assert_allclose(result, loop, rtol=0, atol=tolerance)
    for t in range(n_t):
        np.testing.assert_array_equal(result[:, t], result[:, -t % n_t])
    values = [[v for row in field for v in row] for field in x.tolist()]
    for of, power in ((scalars.magnetisation, 1), (scalars.phi_squared, 2), (scalars.phi_fourth, 4)):
        expected = [math.fsum(v**power for v in row) / len(row) for row in values]
        np.testing.assert_allclose(of(other), expected, rtol=0, atol=40 * U * LARGEST**power)
    m = scalars.magnetisation(x)
    np.testing.assert_allclose(scalars.magnetisation_moments(other), np.stack([abs(m), m**2, m**4], axis=1), rtol=8 * U)
    np.testing.assert_array_equal(other, x)


@QUICK
@given(scalar_fields(), st.integers(-3, 3), st.integers(-3, 3))
def test_the_correlator_is_invariant_under_translation_reflection_and_parity(x, steps_t, steps_x):
    value, tolerance = scalars.correlator(x), 80 * U * LARGEST**2
    for moved in (np.roll(x, (steps_t, steps_x), (1, 2)), x[:, ::-1], x[:, :, ::-1], -x):
        np.testing.assert_allclose(scalars.correlator(moved), value, rtol=0, atol=tolerance)
    # Its mean over t is the square of the mean field.
    np.testing.assert_allclose(value.mean(axis=1), scalars.magnetisation(x) ** 2, rtol=0, atol=tolerance)


def test_time_is_the_first_axis():
    x = np.zeros((1, 4, 2))
    x[0, :, 0] = x[0, :, 1] = [1.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(scalars.correlator(x), [[0.25, 0, 0, 0]])
    np.testing.assert_array_equal(scalars.correlator(x.swapaxes(1, 2)), [[0.0625, 0.0625]])


@pytest.mark.parametrize("of", PER_CHAIN)
def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone(of):
    x = np.random.default_rng(0).standard_normal((101, 7, 9))
    last = chain_last(*x.shape)
    last[...] = x
    alone = np.concatenate([of(x[i : i + 1]) for i in range(101)])
    np.testing.assert_array_equal(alone, of(x))
    np.testing.assert_array_equal(alone, of(last))


def test_free_fields_have_the_exact_values():
    n, m2, shape = 4000, 0.2, (6, 4)
    x = free_scalar.sample(np.random.default_rng(1), n, m2, shape)
    moments = scalars.magnetisation_moments(x)
    volume = math.prod(shape)
    for each, exact in [
        (scalars.phi_squared(x), free_scalar.second_moment(m2, shape)),
        (scalars.phi_fourth(x), free_scalar.fourth_moment(m2, shape)),
        (moments[:, 0], free_scalar.absolute_magnetisation(m2, shape)),
        (volume * moments[:, 1], free_scalar.susceptibility(m2, shape)),
        *zip(scalars.correlator(x).T, free_scalar.correlator(m2, shape), strict=True),
    ]:
        assert abs(each.mean() - exact) < SIGMAS * each.std() / math.sqrt(n)
    for of, exact in (
        (scalars.binder_cumulant, 0.0),
        (lambda m: scalars.susceptibility(m, volume), 1 / m2),
        (lambda m: scalars.connected_susceptibility(m, volume), (1 - 2 / math.pi) / m2),
    ):
        value, error = jackknife(moments, of)
        assert abs(value - exact) < SIGMAS * error
        assert error < 0.1 * (exact or 1)


def test_binder_cumulant_of_an_interacting_field():
    exact = phi4.answers(-1.0, 8.0, (2, 2))
    x = phi4.sample(np.random.default_rng(2), 4000, -1.0, 8.0, (2, 2))
    value, error = jackknife(scalars.magnetisation_moments(x), scalars.binder_cumulant)
    assert abs(value - exact.binder) < SIGMAS * error < 0.1


def test_functions_of_moments_by_hand():
    moments = [0.5, 0.25, 0.0625]  # |m| = 1/2 always
    assert scalars.binder_cumulant(moments) == 1 - 1 / 3
    assert scalars.susceptibility(moments, 8) == 2
    assert scalars.connected_susceptibility(moments, 8) == 0


def test_the_three_point_mass_of_a_cosh_is_its_mass():
    m2, shape = 0.3, (9, 3)
    masses = scalars.three_point_mass(free_scalar.correlator(m2, shape))
    # The second difference of numbers that fall by exp(-4 m): rounding over m^2.
    np.testing.assert_allclose(masses, np.full(7, free_scalar.mass(m2)), rtol=1e-13)
    assert np.isnan(scalars.three_point_mass([1.0, 2.0, 1.0])).all()


@pytest.mark.parametrize("of", PER_CHAIN)
def test_bad_fields_are_named(of):
    with pytest.raises(TypeError, match="x: got dtype int64"):
        of(np.zeros((1, 2, 2), dtype=np.int64))
    with pytest.raises(ValueError, match=r"x: got shape \(2, 2\), expected \(chain, T, X\)"):
        of(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scalars.binder_cumulant([1.0, 2.0]), r"moments: got shape \(2,\)"),
        (lambda: scalars.susceptibility([1.0, 2.0, 3.0], 0), "volume: got 0"),
        (lambda: scalars.connected_susceptibility(np.zeros((4, 3)), 4), r"moments: got shape \(4, 3\)"),
        (lambda: scalars.three_point_mass([1.0, 2.0]), r"values: got shape \(2,\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
