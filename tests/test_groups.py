"""Wrapping of angles at the cut and far from it; sine and cosine by both methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refimpl.groups import SINCOS_SWITCH, TWO_PI, sincos, wrap
from refimpl.validation.strategies import memory_orders, u1_fields

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

U = 2.0**-53
BELOW_PI = np.nextafter(np.pi, 0)


def around(centre, ulps=6):
    """The doubles next to ``centre`` on either side, and ``centre``."""
    return centre + np.arange(-ulps, ulps + 1) * np.spacing(abs(centre))


def formula(theta):
    return theta - TWO_PI * np.floor((theta + np.pi) / TWO_PI)


# Both sides of the cut, as angles and as they come out of sums of multiples of 2 pi.
CUTS = np.concatenate([around(k * np.pi) for k in [*range(-41, 42, 2), 10**4 + 1, 10**8 + 1, -(10**8) - 1]])
ANGLES = st.floats(-1e6, 1e6) | st.sampled_from(CUTS.tolist()) | st.floats(-np.pi, np.pi)
ANY_FINITE = ANGLES | st.floats(-1e300, 1e300)


def assert_in_range(wrapped):
    assert np.all(wrapped >= -np.pi)
    assert np.all(wrapped < np.pi)


# --- wrap ------------------------------------------------------------------------------------------------------------
@QUICK
@given(arrays(np.float64, st.integers(1, 5), elements=ANY_FINITE))
def test_wrap_stays_in_the_half_open_interval_however_large_the_angle(theta):
    assert_in_range(wrap(theta))


def test_wrap_stays_in_the_half_open_interval_next_to_every_cut():
    assert_in_range(wrap(CUTS))


@pytest.mark.parametrize("theta", [1e15, 1e16, 1e18, 1e22, 1e100, np.finfo(np.float64).max])
def test_wrap_stays_in_the_half_open_interval_for_huge_angles(theta):
    assert_in_range(wrap(theta * np.array([1.0, -1.0])))


def assert_formula(theta):
    raw, wrapped = formula(theta), wrap(theta)
    inside = (raw >= -np.pi) & (raw < np.pi)
    np.testing.assert_array_equal(wrapped[inside], raw[inside])
    assert np.all(np.isin(wrapped[~inside], [-np.pi, BELOW_PI]))  # what misses the interval goes to an edge of it
    return inside


@QUICK
@given(arrays(np.float64, st.integers(1, 5), elements=ANY_FINITE))
def test_wrap_is_the_formula_wherever_the_formula_is_in_range(theta):
    assert_formula(theta)


def test_wrap_is_the_formula_wherever_the_formula_is_in_range_next_to_every_cut():
    inside = assert_formula(CUTS)
    assert 0 < inside.sum() < inside.size  # the cases that need the correction are among them


@QUICK
@given(ANGLES)
def test_wrap_moves_an_angle_by_a_multiple_of_two_pi(theta):
    distance = math.remainder(float(wrap(theta)) - math.remainder(theta, TWO_PI), TWO_PI)
    # The multiple of 2 pi and the difference are rounded; a clamped value moves by no more than that.
    assert abs(distance) <= 2 * U * (abs(theta) + TWO_PI)


@QUICK
@given(ANGLES)
def test_wrap_is_idempotent(theta):
    once = wrap(np.array([theta]))
    if once[0] != BELOW_PI:  # see the next test
        np.testing.assert_array_equal(wrap(once), once)


def test_wrap_moves_the_last_double_below_pi_by_at_most_one_ulp_of_the_circle():
    # (theta + pi)/2 pi rounds up to 1 there; pi and -pi are the same angle
    moved = wrap(np.array([BELOW_PI]))[0]
    assert moved in (BELOW_PI, -np.pi)


@QUICK
@given(arrays(np.float64, 4, elements=st.floats(-np.pi, BELOW_PI, exclude_max=True)))
def test_wrap_leaves_angles_of_the_interval_alone(theta):
    np.testing.assert_array_equal(wrap(theta), theta)


@pytest.mark.parametrize(
    ("theta", "expected"),
    [
        (0.0, 0.0),
        (np.pi, -np.pi),
        (-np.pi, -np.pi),
        (3.5, 3.5 - TWO_PI),
        (-3.5, TWO_PI - 3.5),
        (TWO_PI, 0.0),
        (10.0, 10.0 - 2 * TWO_PI),
    ],
)
def test_wrap_by_hand(theta, expected):
    assert wrap(np.array([theta]))[0] == expected  # one exact product and one subtraction


@QUICK
@given(u1_fields(), st.data())
def test_wrap_keeps_shape_and_dtype_and_leaves_its_argument_alone(x, data):
    theta = data.draw(memory_orders(3 * x))
    wrapped = wrap(theta)
    assert wrapped.shape == theta.shape
    assert wrapped.dtype == np.float64
    assert not np.shares_memory(wrapped, theta)
    np.testing.assert_array_equal(theta, 3 * x)
    np.testing.assert_array_equal(wrapped, wrap(3 * x))


@pytest.mark.parametrize("theta", [4.0, np.float64(4.0), np.array(4.0), 4])
def test_wrap_takes_a_single_angle(theta):
    assert float(wrap(theta)) == 4.0 - TWO_PI


# --- sincos ----------------------------------------------------------------------------------------------------------
# The bound of the docstring, and half a unit in the last place (of numbers below 1) for numpy's own sine and cosine.
SINCOS_BOUND = 4e-16 + U


@QUICK
@given(arrays(np.float64, 5, elements=st.floats(-100, 100) | st.sampled_from(CUTS[np.abs(CUTS) < 100].tolist())))
def test_the_half_angle_form_agrees_with_sine_and_cosine(x):
    s, c = sincos(x, "tan")
    np.testing.assert_allclose(s, np.sin(x), rtol=0, atol=SINCOS_BOUND)
    np.testing.assert_allclose(c, np.cos(x), rtol=0, atol=SINCOS_BOUND)


@pytest.mark.parametrize("limit", [1e-8, 1.0, np.pi, 100.0])
def test_the_half_angle_form_agrees_with_sine_and_cosine_on_many_angles(limit):
    x = np.random.default_rng(1).uniform(-limit, limit, 200_000)
    s, c = sincos(x, "tan")
    np.testing.assert_allclose(s, np.sin(x), rtol=0, atol=SINCOS_BOUND)
    np.testing.assert_allclose(c, np.cos(x), rtol=0, atol=SINCOS_BOUND)


@pytest.mark.parametrize("multiple", range(-8, 9))
def test_the_half_angle_form_agrees_next_to_multiples_of_half_pi(multiple):
    x = around(multiple * np.pi / 2, 50)
    s, c = sincos(x, "tan")
    np.testing.assert_allclose(s, np.sin(x), rtol=0, atol=SINCOS_BOUND)
    np.testing.assert_allclose(c, np.cos(x), rtol=0, atol=SINCOS_BOUND)


@pytest.mark.skipif(bool(np.finfo(np.longdouble).eps > 1e-18), reason="no extended precision on this platform")
def test_the_half_angle_form_keeps_its_stated_error():
    x = np.random.default_rng(2).uniform(-100, 100, 400_000)
    s, c = sincos(x, "tan")
    exact = x.astype(np.longdouble)
    assert np.max(np.abs(s - np.sin(exact))) < 4e-16
    assert np.max(np.abs(c - np.cos(exact))) < 4e-16


def test_libm_is_numpy_bit_by_bit():
    x = np.linspace(-10, 10, 3 * SINCOS_SWITCH)
    s, c = sincos(x, "libm")
    np.testing.assert_array_equal(s, np.sin(x))
    np.testing.assert_array_equal(c, np.cos(x))


@pytest.mark.parametrize(("size", "method"), [(SINCOS_SWITCH - 1, "libm"), (SINCOS_SWITCH, "tan"), (1, "libm")])
def test_auto_switches_on_the_number_of_elements(size, method):
    x = np.random.default_rng(3).uniform(-np.pi, np.pi, size)
    for automatic, named in zip(sincos(x), sincos(x, method), strict=True):
        np.testing.assert_array_equal(automatic, named)


def test_the_two_methods_can_be_told_apart_at_the_switch():
    x = np.random.default_rng(3).uniform(-np.pi, np.pi, SINCOS_SWITCH)
    assert not np.array_equal(sincos(x, "tan")[0], sincos(x, "libm")[0])


def test_auto_counts_all_axes():
    x = np.random.default_rng(4).uniform(-np.pi, np.pi, (2, SINCOS_SWITCH // 2))
    np.testing.assert_array_equal(sincos(x)[1], sincos(x, "tan")[1])


@pytest.mark.parametrize("method", ["tan", "libm"])
def test_sincos_takes_a_single_angle_and_leaves_arrays_alone(method):
    assert [float(value) for value in sincos(np.array(0.0), method)] == [0.0, 1.0]
    x = np.array([1.0, 2.0])
    x.flags.writeable = False
    sincos(x, method)
    np.testing.assert_array_equal(x, [1.0, 2.0])


@pytest.mark.parametrize("method", ["sin", "", "TAN", None])
def test_sincos_names_a_bad_method(method):
    with pytest.raises(ValueError, match=f"method: got {method!r}, expected 'auto', 'tan' or 'libm'"):
        sincos(np.zeros(3), method)
