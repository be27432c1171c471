"""Observables against explicit loops and cases by hand, their symmetries, and the inputs they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl import observables
from refimpl.groups import SUN, wrap
from refimpl.groups.links import gauge_transform as matrix_gauge_transform
from refimpl.lattice import gauge_transform, plaquette_angles
from refimpl.validation import measure
from refimpl.validation.strategies import (
    gauge_transforms,
    lattice_shapes,
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
# Stated error of `sincos`, numpy's or libm's own rounding, and a mean over V <= 36: six levels of a tree, a division.
FUNCTION = 4e-16 + 10 * U

LOOPS = [(1, 1), (1, 2), (2, 1), (2, 2)]
OBSERVABLES: dict[str, Callable[..., np.ndarray]] = {
    "mean_plaquette": observables.mean_plaquette,
    "charge": observables.charge,
    "sine_charge": observables.sine_charge,
    **{f"wilson_loop {a}x{b}": partial(observables.wilson_loop, extent_t=a, extent_x=b) for a, b in LOOPS},
}
ODD = {"charge", "sine_charge"}


def rounding(name, x, angle):
    """Error of an observable whose plaquette angles have this error; a loop of eight links has twice that of four."""
    if name == "sine_charge":
        return x[0, 0].size / (2 * np.pi) * (angle + 2 * FUNCTION)
    return 4 * angle + 2 * FUNCTION  # a 2x2 loop encloses four plaquettes


def away_from_the_cut(x):
    """Chains no plaquette of which is so close to pi that rounding could change the charge."""
    return np.all(np.abs(np.abs(wrap(plaquette_angles(x))) - np.pi) > 1e-9, axis=(1, 2))


def assert_same_observables(x, moved, angle, conjugate=False):
    for name, function in OBSERVABLES.items():
        sign = -1 if conjugate and name in ODD else 1
        before, after = sign * function(x), function(moved)
        if name == "charge":
            np.testing.assert_array_equal(after[away_from_the_cut(x)], before[away_from_the_cut(x)])
        else:
            np.testing.assert_allclose(after, before, rtol=0, atol=rounding(name, x, angle), err_msg=name)


def hot(shape, chains=3, seed=0):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (chains, 2, *shape))


def links_of(plaquettes):
    """Links ``(1, 2, T, X)`` with these plaquette angles; the last one is what the others leave, modulo 2 pi."""
    x = np.zeros((1, 2, *plaquettes.shape))
    x[0, 1, 1:] = np.cumsum(plaquettes[:-1], axis=0)
    x[0, 0, -1, 1:] = -np.cumsum(plaquettes.sum(axis=0))[:-1]
    return x


# --- values ----------------------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS)
def test_mean_plaquette_equals_the_loop_over_plaquettes(x):
    expected = [measure.loop_mean_plaquette(links) for links in x]
    np.testing.assert_allclose(observables.mean_plaquette(x), expected, rtol=0, atol=2 * ANGLE + FUNCTION)


@QUICK
@given(FIELDS)
def test_sine_charge_equals_the_loop_over_plaquettes(x):
    expected = [measure.loop_sine_charge(links) for links in x]
    tolerance = x[0, 0].size * (2 * ANGLE + FUNCTION) / (2 * np.pi)
    np.testing.assert_allclose(observables.sine_charge(x), expected, rtol=0, atol=tolerance)


@QUICK
@given(FIELDS)
def test_three_at_once_are_the_same_bits(x):
    three = observables.plaquette_and_charges(x)
    for got, alone in zip(
        three, (observables.mean_plaquette, observables.sine_charge, observables.charge), strict=True
    ):
        expected = alone(x)
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected)


@QUICK
@given(FIELDS)
def test_charge_equals_the_loop_over_plaquettes(x):
    expected = np.rint([measure.loop_charge(links) for links in x])
    away = away_from_the_cut(x)
    np.testing.assert_array_equal(observables.charge(x)[away], expected[away])


@QUICK
@given(FIELDS)
def test_charge_is_a_64_bit_integer_and_the_sum_of_wrapped_plaquettes(x):
    charge = observables.charge(x)
    assert charge.dtype == np.int64
    assert charge.shape == (len(x),)
    total = [math.fsum(angles.flat) for angles in wrap(plaquette_angles(x))]
    # Unwrapped plaquettes add up to zero; wrapping rounds twice at a size of 4 pi, and moves 2 pi by u 2 pi.
    np.testing.assert_allclose(total, 2 * np.pi * charge, rtol=0, atol=x[0, 0].size * (ANGLE + 12 * U * np.pi))


@QUICK
@given(lattice_shapes(), st.integers(0, 10**6))
def test_charge_counts_the_flux_quanta_of_fields_built_from_their_plaquettes(shape, seed):
    plaquettes = np.random.default_rng(seed).uniform(-np.pi, np.pi, shape)
    plaquettes[-1, -1] = 0.0
    charge = round(plaquettes.sum() / (2 * np.pi))
    plaquettes[-1, -1] = 2 * np.pi * charge - plaquettes.sum()  # in [-pi, pi]: the sum is 2 pi times an integer
    x = links_of(plaquettes)
    if away_from_the_cut(x)[0]:
        np.testing.assert_array_equal(observables.charge(x), [charge])
        np.testing.assert_array_equal(observables.charge(wrap(x)), [charge])


@pytest.mark.parametrize(
    ("angle", "charge"), [(np.pi - 1e-6, 0), (np.pi + 1e-6, -1), (1e-6 - np.pi, 0), (-np.pi - 1e-6, 1)]
)
def test_charge_jumps_where_one_plaquette_passes_pi(angle, charge):
    plaquettes = np.full((3, 4), -angle / 11)
    plaquettes[1, 2] = angle
    x = links_of(plaquettes)
    np.testing.assert_allclose(plaquette_angles(x)[0], plaquettes, rtol=0, atol=1e-12)  # far above the rounding of 12
    np.testing.assert_array_equal(observables.charge(x), [charge])


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (4, 3), (4, 6)])
def test_constant_flux_has_every_charge_below_half_the_volume(shape):
    volume = shape[0] * shape[1]
    charges = np.arange(-((volume - 1) // 2), (volume + 1) // 2)
    x = np.concatenate([measure.flux_configuration(shape, charge) for charge in charges])
    np.testing.assert_array_equal(observables.charge(x), charges)
    # V equal plaquettes 2 pi Q/V.
    sines = volume * np.sin(2 * np.pi * charges / volume) / (2 * np.pi)
    np.testing.assert_allclose(observables.sine_charge(x), sines, rtol=0, atol=volume * (2 * ANGLE + FUNCTION))
    cosines = np.cos(2 * np.pi * charges / volume)
    np.testing.assert_allclose(observables.mean_plaquette(x), cosines, rtol=0, atol=2 * ANGLE + FUNCTION)


def test_the_cold_field_has_plaquette_one_and_no_charge():
    x = np.zeros((2, 2, 3, 4))
    np.testing.assert_array_equal(observables.mean_plaquette(x), [1.0, 1.0])
    np.testing.assert_array_equal(observables.charge(x), [0, 0])
    np.testing.assert_array_equal(observables.sine_charge(x), [0.0, 0.0])
    np.testing.assert_array_equal(observables.wilson_loop(x, 2, 3), [1.0, 1.0])


# --- Wilson loops ----------------------------------------------------------------------------------------------------
def loop_tolerance(extent_t, extent_x):
    """Two sums of ``n`` angles of size pi, one after the other: ``n^2/2 pi u`` each."""
    return (2 * (extent_t + extent_x)) ** 2 * U * np.pi + FUNCTION


@QUICK
@given(FIELDS)
def test_the_smallest_wilson_loop_is_the_mean_plaquette(x):
    np.testing.assert_allclose(
        observables.wilson_loop(x, 1, 1), observables.mean_plaquette(x), rtol=0, atol=2 * ANGLE + 2 * FUNCTION
    )


@QUICK
@given(FIELDS, st.data())
def test_wilson_loops_equal_the_walk_around_each_rectangle(x, data):
    a, b = (data.draw(st.integers(1, extent)) for extent in x.shape[2:])
    expected = [measure.loop_wilson_loop(links, a, b) for links in x]
    np.testing.assert_allclose(observables.wilson_loop(x, a, b), expected, rtol=0, atol=loop_tolerance(a, b))


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2), (4, 3)])
def test_wilson_loops_of_every_rectangle_are_cosines_of_the_enclosed_flux(shape):
    x = hot(shape, chains=2)
    angles = plaquette_angles(x)
    for a in range(1, shape[0] + 1):
        for b in range(1, shape[1] + 1):
            inside = sum(np.roll(angles, (-t, -s), axis=(1, 2)) for t in range(a) for s in range(b))
            # The flux: a b plaquettes of size 4 pi, added one after the other.
            tolerance = loop_tolerance(a, b) + a * b * (ANGLE + 2 * a * b * U * np.pi)
            np.testing.assert_allclose(
                observables.wilson_loop(x, a, b), np.cos(inside).mean(axis=(1, 2)), rtol=0, atol=tolerance
            )


@QUICK
@given(FIELDS)
def test_the_wilson_loop_around_the_whole_lattice_is_one(x):
    got = observables.wilson_loop(x, *x.shape[2:])
    # Its angle is zero up to rounding, and the cosine of that is 1 to second order.
    np.testing.assert_allclose(got, 1.0, rtol=0, atol=FUNCTION)


@QUICK
@given(FIELDS, st.data())
def test_a_loop_as_long_as_the_lattice_is_a_correlation_of_two_straight_lines(x, data):
    n_t, n_x = x.shape[2:]
    b = data.draw(st.integers(1, n_x - 1))
    line = x[:, 0].sum(axis=1)
    expected = np.cos(line - np.roll(line, -b, axis=1)).mean(axis=1)
    np.testing.assert_allclose(observables.wilson_loop(x, n_t, b), expected, rtol=0, atol=loop_tolerance(n_t, b))


@QUICK
@given(FIELDS, st.data())
def test_exchanging_time_and_space_exchanges_the_extents_of_a_loop_and_the_sign_of_the_charge(x, data):
    a, b = (data.draw(st.integers(1, extent)) for extent in x.shape[2:])
    y = x[:, ::-1].swapaxes(2, 3)
    np.testing.assert_allclose(
        observables.wilson_loop(y, b, a), observables.wilson_loop(x, a, b), rtol=0, atol=2 * loop_tolerance(a, b)
    )
    away = away_from_the_cut(x)
    np.testing.assert_array_equal(observables.charge(y)[away], -observables.charge(x)[away])


@pytest.mark.parametrize(
    ("extents", "match"),
    [
        ((0, 1), "extent_t: got 0, expected an integer from 1 to 3"),
        ((1, 0), "extent_x: got 0, expected an integer from 1 to 5"),
        ((4, 1), "extent_t: got 4"),
        ((1, 6), "extent_x: got 6"),
        ((-1, 1), "extent_t: got -1"),
        ((1.5, 1), "extent_t: got 1.5"),
        ((1, 2.5), "extent_x: got 2.5"),
    ],
)
def test_wilson_loop_names_a_bad_extent(extents, match):
    with pytest.raises(ValueError, match=match):
        observables.wilson_loop(hot((3, 5)), *extents)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_polyakov_loops_are_walks_along_time(n):
    shape, rng = (3, 4), np.random.default_rng(n)
    if n == 1:
        x = rng.uniform(-np.pi, np.pi, (2, 2, *shape))
        links, g = np.exp(1j * x)[..., None, None], rng.uniform(-np.pi, np.pi, (2, *shape))
        turned = gauge_transform(x, g)
    else:
        links = x = SUN(n).haar(rng, (2, 2, *shape))
        turned = matrix_gauge_transform(x, SUN(n).haar(rng, (2, *shape)))
    walks = [[np.trace(np.linalg.multi_dot(u[0, :, k])).real / n for k in range(4)] for u in links]
    np.testing.assert_allclose(observables.polyakov_loop(x), np.mean(walks, axis=1), rtol=0, atol=1e-14)  # rounding
    np.testing.assert_allclose(observables.polyakov_loop(turned), observables.polyakov_loop(x), rtol=0, atol=1e-14)


def test_wilson_loop_takes_numpy_integers_as_extents():
    x = hot((3, 5))
    extents = np.array([3, 4])
    np.testing.assert_array_equal(observables.wilson_loop(x, *extents), observables.wilson_loop(x, 3, 4))


# --- symmetries ------------------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, st.data())
def test_observables_are_gauge_invariant(x, data):
    moved = gauge_transform(x, data.draw(gauge_transforms(x.shape[2:], len(x))))
    # Links of 3 pi: four of them rounded by 2 + 3, and added (9 times 3), against 9; times pi u.
    assert_same_observables(x, moved, (4 * 5 + 27 + 9) * U * np.pi)


@QUICK
@given(FIELDS, st.integers(-6, 6), st.integers(-6, 6))
def test_observables_are_invariant_under_translations(x, t, s):
    assert_same_observables(x, np.roll(x, (t, s), axis=(2, 3)), 2 * ANGLE)


@QUICK
@given(FIELDS, st.integers(0, 10**6))
def test_observables_are_periodic_in_every_link(x, seed):
    moved = x + 2 * np.pi * np.random.default_rng(seed).integers(-1, 2, x.shape)
    # Links of 3 pi: four of them rounded by 3, and added (9 times 3), against 9; and four errors of 2 pi itself.
    assert_same_observables(x, moved, (4 * 3 + 27 + 9) * U * np.pi + 4 * 2 * U * np.pi)


@QUICK
@given(FIELDS)
def test_charges_change_sign_under_conjugation_and_the_others_do_not(x):
    assert_same_observables(x, -x, 2 * ANGLE, conjugate=True)


# --- memory, batches, bad input --------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, st.data())
def test_observables_have_the_same_bits_in_any_batch_and_memory_order_and_leave_links_alone(x, data):
    other = data.draw(memory_orders(x))
    for name, function in OBSERVABLES.items():
        together = function(x)
        assert together.shape == (len(x),)
        np.testing.assert_array_equal(function(other), together, err_msg=name)
        alone = np.concatenate([function(other[chain : chain + 1]) for chain in range(len(x))])
        np.testing.assert_array_equal(alone, together, err_msg=name)
    np.testing.assert_array_equal(other, x)


@pytest.mark.parametrize("name", OBSERVABLES)
def test_a_chain_of_a_large_batch_has_the_bits_it_has_alone(name):
    x = hot((6, 6), chains=60)  # 2160 plaquettes: more than SINCOS_SWITCH
    alone = np.concatenate([OBSERVABLES[name](x[i : i + 1]) for i in range(60)])
    np.testing.assert_array_equal(OBSERVABLES[name](x), alone)


@pytest.mark.parametrize("name", OBSERVABLES)
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
def test_observables_name_bad_links(name, x, error, match):
    with pytest.raises(error, match=match):
        OBSERVABLES[name](x)


# --- functions of charges --------------------------------------------------------------------------------------------
def test_charge_susceptibility_by_hand():
    assert observables.charge_susceptibility([1, -2, 0, 3], 7) == 14 / 4 / 7
    assert observables.charge_susceptibility([[1, -2], [0, 3]], 7) == 14 / 4 / 7
    assert observables.charge_susceptibility([2.0, 2.0], 16) == 0.25  # the mean is not subtracted
    assert isinstance(observables.charge_susceptibility(np.array([1], np.int64), 4), float)


def test_charge_susceptibility_does_not_overflow_small_integers():
    assert observables.charge_susceptibility(np.array([100, 100], np.int8), 4) == 2500.0


def test_tunnelling_rate_by_hand():
    charges = np.array([[0, 1], [1, 1], [-1, 1], [-1, 0]])
    np.testing.assert_array_equal(observables.tunnelling_rate(charges), [3 / 3, 1 / 3])
    np.testing.assert_array_equal(observables.tunnelling_rate([[0], [5]]), [5.0])
    np.testing.assert_array_equal(observables.tunnelling_rate(np.zeros((4, 2), np.int64)), [0.0, 0.0])


@pytest.mark.parametrize("shape", [(5,), (1, 3), (0, 3), (2, 3, 4)])
def test_tunnelling_rate_names_charges_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"charges: got shape .*expected \(step, chain\) with at least two steps"):
        observables.tunnelling_rate(np.zeros(shape, np.int64))
