"""Geometry: the fast slices against the readable definitions and explicit loops, in any shape and memory order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refimpl import lattice
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

# Where a bulk or an edge slice is empty, is everything, or overlaps its source.
EDGE_SHAPES = [(2, 2), (2, 3), (3, 2), (3, 3), (2, 7), (7, 2)]


def hot(shape, chains=3, seed=0):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (chains, 2, *shape))


def scalars(x, seed):
    """A scalar field on the lattice of ``x``, of size at most 1."""
    return np.random.default_rng(seed).uniform(-1, 1, (len(x), *x.shape[2:]))


# --- shapes and links ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(2, 2), [3, 5], np.array([4, 6]), (np.int32(2), 8)])
def test_check_shape_returns_two_ints(shape):
    checked = lattice.check_shape(shape)
    assert isinstance(checked, tuple)
    assert [type(extent) for extent in checked] == [int, int]
    assert list(checked) == [int(extent) for extent in shape]


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((4,), r"shape: got \(4,\)"),
        ((2, 2, 2), r"shape: got \(2, 2, 2\)"),
        ((1, 4), "shape: got extent T = 1"),
        ((4, 1), "shape: got extent X = 1"),
        ((0, 4), "shape: got extent T = 0"),
        ((4, -2), "shape: got extent X = -2"),
        ((2.5, 4), "shape: got extent T = 2.5"),
        ((2, float("nan")), "shape: got extent X = nan"),
        (4, "shape: got 4"),
    ],
)
def test_check_shape_names_the_bad_extent(shape, match):
    with pytest.raises(ValueError, match=match):
        lattice.check_shape(shape)


def test_check_shape_wants_even_extents_only_on_request():
    assert lattice.check_shape((3, 5)) == (3, 5)
    assert lattice.check_shape((4, 6), even=True) == (4, 6)
    with pytest.raises(ValueError, match="shape: got extent T = 3, expected an even extent"):
        lattice.check_shape((3, 4), even=True)
    with pytest.raises(ValueError, match="shape: got extent X = 5, expected an even extent"):
        lattice.check_shape((4, 5), even=True)


def test_check_links_returns_good_links_themselves():
    x = hot((2, 3))
    assert lattice.check_links(x) is x


def test_check_links_takes_nested_lists():
    x = hot((2, 3))
    np.testing.assert_array_equal(lattice.check_links(x.tolist()), x)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.complex128, np.bool_, object])
def test_check_links_names_a_wrong_dtype(dtype):
    with pytest.raises(TypeError, match=f"links: got dtype {np.dtype(dtype)}, expected float64"):
        lattice.check_links(np.zeros((1, 2, 4, 4), dtype), "links")


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((2, 4, 4), r"x: got shape \(2, 4, 4\)"),
        ((1, 1, 2, 4, 4), r"x: got shape \(1, 1, 2, 4, 4\)"),
        ((1, 3, 4, 4), r"x: got shape \(1, 3, 4, 4\)"),
        ((0, 2, 4, 4), "x: got zero chains"),
        ((1, 2, 1, 4), "shape: got extent T = 1"),
        ((1, 2, 4, 1), "shape: got extent X = 1"),
    ],
)
def test_check_links_names_a_wrong_shape(shape, match):
    with pytest.raises(ValueError, match=match):
        lattice.check_links(np.zeros(shape))


# --- shifts and masks ------------------------------------------------------------------------------------------------
@QUICK
@given(lattice_shapes(), st.integers(0, 1), st.integers(-7, 7))
def test_shift_reads_the_neighbour_at_n_plus_mu(shape, mu, steps):
    field = np.arange(2.0 * shape[0] * shape[1]).reshape(2, *shape)
    shifted = lattice.shift(field, mu, steps)
    for t in range(shape[0]):
        for x in range(shape[1]):
            there = ((t + steps * (mu == 0)) % shape[0], (x + steps * (mu == 1)) % shape[1])
            np.testing.assert_array_equal(shifted[:, t, x], field[:, there[0], there[1]])


def test_shift_goes_one_step_forward_by_default():
    np.testing.assert_array_equal(lattice.shift(np.array([[[0.0, 1.0, 2.0]]]), 1), [[[1.0, 2.0, 0.0]]])


@QUICK
@given(lattice_shapes(even=True), st.integers(-3, 3))
def test_parity_mask_is_true_where_t_plus_x_has_the_parity(shape, parity):
    mask = lattice.parity_mask(shape, parity)
    assert mask.dtype == np.bool_
    expected = [[(t + x - parity) % 2 == 0 for x in range(shape[1])] for t in range(shape[0])]
    np.testing.assert_array_equal(mask, expected)


@QUICK
@given(lattice_shapes(even=True))
def test_parity_masks_alternate_across_the_boundary_too(shape):
    even, odd = lattice.parity_mask(shape), lattice.parity_mask(shape, 1)
    np.testing.assert_array_equal(even, ~odd)
    for axis in (0, 1):
        np.testing.assert_array_equal(np.roll(even, 1, axis), odd)


@pytest.mark.parametrize(("shape", "name"), [((3, 4), "T = 3"), ((4, 5), "X = 5")])
def test_parity_mask_rejects_odd_extents(shape, name):
    with pytest.raises(ValueError, match=f"shape: got extent {name}, expected an even extent"):
        lattice.parity_mask(shape)


@QUICK
@given(st.integers(0, 1), st.integers(1, 4), st.integers(1, 3), st.integers(2, 5), st.integers(-5, 5))
def test_stripe_mask_is_true_at_the_offset_modulo_the_period(mu, period, repeats, other, offset):
    extent = max(2, period * repeats) if period > 1 else repeats + 1
    shape = (extent, other) if mu == 0 else (other, extent)
    mask = lattice.stripe_mask(shape, mu, period, offset)
    assert mask.dtype == np.bool_
    for site in np.ndindex(shape):
        assert mask[site] == ((site[mu] - offset) % period == 0)


def test_stripe_masks_of_all_offsets_cover_every_site_once():
    np.testing.assert_array_equal(sum(lattice.stripe_mask((6, 4), 0, 3, k).astype(int) for k in range(3)), 1)


@pytest.mark.parametrize(("mu", "period"), [(0, 3), (1, 2), (0, 0), (0, -2), (1, 10)])
def test_stripe_mask_rejects_a_period_that_does_not_divide_the_extent(mu, period):
    with pytest.raises(ValueError, match=f"period: got {period}, expected a divisor of the extent .* mu = {mu}"):
        lattice.stripe_mask((4, 5), mu, period)


def test_stripe_mask_rejects_a_bad_shape():
    with pytest.raises(ValueError, match="shape: got extent T = 1"):
        lattice.stripe_mask((1, 4), 0)


# --- plaquettes ------------------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS)
def test_plaquette_definition_equals_the_loop_around_each_plaquette(x):
    expected = np.reshape([measure.loop_angles(links) for links in x], (len(x), *x.shape[2:]))
    # Both add the four angles once.
    np.testing.assert_allclose(lattice.plaquette_angles_definition(x), expected, rtol=0, atol=2 * ANGLE)


@QUICK
@given(FIELDS.flatmap(memory_orders))
def test_plaquettes_by_slices_equal_the_definition_in_any_memory_order(x):
    before = x.copy()
    # Both add the four angles once.
    np.testing.assert_allclose(
        lattice.plaquette_angles(x), lattice.plaquette_angles_definition(x), rtol=0, atol=2 * ANGLE
    )
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("shape", EDGE_SHAPES)
def test_slices_equal_the_definitions_on_small_and_narrow_lattices(shape):
    x, s = hot(shape), hot(shape)[:, 0]
    np.testing.assert_allclose(
        lattice.plaquette_angles(x), lattice.plaquette_angles_definition(x), rtol=0, atol=2 * ANGLE
    )
    v = np.zeros_like(x)
    lattice.run(lattice.gradient_program(s, v))
    np.testing.assert_array_equal(v, -lattice.plaquette_gradient_definition(s))  # one subtraction on either side


@QUICK
@given(u1_hot_fields(chains=st.integers(2, 3)))
def test_plaquettes_have_the_memory_order_of_the_links(x):
    chain_last = lattice.chain_last(*x.shape)
    chain_last[...] = x
    assert lattice.plaquette_angles(x).flags.c_contiguous
    assert lattice.plaquette_angles(np.asfortranarray(x)).flags.f_contiguous
    assert lattice.plaquette_angles(chain_last).strides == lattice.chain_last(len(x), *x.shape[2:]).strides


@QUICK
@given(FIELDS)
def test_plaquettes_of_a_torus_add_up_to_zero(x):
    total = [math.fsum(angles.flat) for angles in lattice.plaquette_angles(x)]
    np.testing.assert_allclose(total, 0, atol=x[0, 0].size * ANGLE)  # V plaquettes with the rounding of their angles


@QUICK
@given(FIELDS, st.integers(-6, 6), st.integers(-6, 6))
def test_plaquettes_move_with_the_links_bit_by_bit(x, t, s):
    moved = lattice.plaquette_angles(np.roll(x, (t, s), axis=(2, 3)))
    np.testing.assert_array_equal(moved, np.roll(lattice.plaquette_angles(x), (t, s), axis=(1, 2)))


@QUICK
@given(FIELDS)
def test_a_plaquette_program_reads_the_current_links_on_every_run(x):
    out = np.empty((len(x), *x.shape[2:]))
    x = x.copy()
    program = lattice.plaquette_program(x, out)
    for factor in (1.0, 0.5):
        x *= factor
        lattice.run(program)
        np.testing.assert_array_equal(out, lattice.plaquette_angles(x))


# --- the transpose of the plaquette map ------------------------------------------------------------------------------
@QUICK
@given(FIELDS, st.integers(0, 100))
def test_the_gradient_is_the_transpose_of_the_plaquette_map(x, seed):
    s = scalars(x, seed)
    left = math.fsum((s * lattice.plaquette_angles_definition(x)).flat)
    right = math.fsum((lattice.plaquette_gradient_definition(s) * x).flat)
    # Per plaquette: the angle 9 and its product 4; two links each with a component 2, its product 2; times pi u.
    assert abs(left - right) <= s.size * (9 + 4 + 2 * (2 + 2)) * U * np.pi


@QUICK
@given(FIELDS, st.integers(0, 100))
def test_the_gradient_of_one_plaquette_has_the_signs_of_its_four_links(x, seed):
    n_t, n_x = x.shape[2:]
    t, s = seed % n_t, seed // n_t % n_x
    one = np.zeros((1, n_t, n_x))
    one[0, t, s] = 1.0
    expected = np.zeros((1, 2, n_t, n_x))
    expected[0, 0, t, s] += 1
    expected[0, 1, (t + 1) % n_t, s] += 1
    expected[0, 0, t, (s + 1) % n_x] -= 1
    expected[0, 1, t, s] -= 1
    np.testing.assert_array_equal(lattice.plaquette_gradient_definition(one), expected)


@QUICK
@given(FIELDS, st.integers(0, 100), st.data())
def test_the_gradient_program_subtracts_the_gradient_in_any_memory_order(x, seed, data):
    original = scalars(x, seed)
    s = data.draw(memory_orders(original))
    v = data.draw(memory_orders(x).filter(lambda a: a.flags.writeable))
    lattice.run(lattice.gradient_program(s, v))
    # Two sums of size pi + 1 and pi + 2 against a component of size 2 and one sum of size pi + 2.
    np.testing.assert_allclose(v, x - lattice.plaquette_gradient_definition(original), rtol=0, atol=(3 * np.pi + 7) * U)
    np.testing.assert_array_equal(s, original)


# --- gauge transformations -------------------------------------------------------------------------------------------
@QUICK
@given(FIELDS, st.data())
def test_a_gauge_transformation_adds_alpha_here_and_subtracts_it_there(x, data):
    alpha = data.draw(gauge_transforms(x.shape[2:], len(x)))
    before = x.copy()
    got = lattice.gauge_transform(x, alpha)
    n_t, n_x = x.shape[2:]
    for t, s in np.ndindex(n_t, n_x):
        np.testing.assert_array_equal(got[:, 0, t, s], x[:, 0, t, s] + (alpha[:, t, s] - alpha[:, (t + 1) % n_t, s]))
        np.testing.assert_array_equal(got[:, 1, t, s], x[:, 1, t, s] + (alpha[:, t, s] - alpha[:, t, (s + 1) % n_x]))
    np.testing.assert_array_equal(x, before)


@QUICK
@given(FIELDS, st.data())
def test_plaquettes_are_gauge_invariant(x, data):
    moved = lattice.gauge_transform(x, data.draw(gauge_transforms(x.shape[2:], len(x))))
    # Links of 3 pi: four of them rounded by 2 + 3, and added (9 times 3), against 9; times pi u.
    np.testing.assert_allclose(
        lattice.plaquette_angles(moved), lattice.plaquette_angles(x), rtol=0, atol=(4 * 5 + 27 + 9) * U * np.pi
    )


# --- sums over sites -------------------------------------------------------------------------------------------------
SITE_FIELDS = lattice_shapes(max_extent=9).flatmap(
    lambda shape: arrays(np.float64, (3, *shape), elements=st.floats(-1e9, 1e9), fill=st.floats(-1e9, 1e9))
)


@QUICK
@given(SITE_FIELDS)
def test_site_sum_is_the_sum_up_to_rounding_by_the_depth_of_the_tree(field):
    depth = math.ceil(math.log2(field[0].size))
    exact = [math.fsum(chain.flat) for chain in field]
    size = np.array([math.fsum(abs(chain).flat) for chain in field])
    # Every term is rounded once per level; 1.01 for the higher orders, and fsum itself rounds once.
    assert np.all(np.abs(lattice.site_sum(field) - exact) <= (1.01 * depth + 1) * U * size)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100])
def test_site_sum_takes_every_site_exactly_once(size):
    field = 2.0 ** (np.arange(size) % 50) * np.ones((2, 1))
    np.testing.assert_array_equal(lattice.site_sum(field), [math.fsum(field[0])] * 2)  # sums below 2^53 are exact


@QUICK
@given(SITE_FIELDS, st.data())
def test_site_sum_has_the_same_bits_in_any_batch_and_memory_order(field, data):
    expected = lattice.site_sum(field)
    other = data.draw(memory_orders(field))
    np.testing.assert_array_equal(lattice.site_sum(other), expected)
    for chain in range(3):
        np.testing.assert_array_equal(lattice.site_sum(other[chain : chain + 1]), expected[chain : chain + 1])
    np.testing.assert_array_equal(lattice.site_sum(np.concatenate([other, other[::-1]])), [*expected, *expected[::-1]])
    np.testing.assert_array_equal(other, field)


def test_site_sum_adds_all_axes_but_the_first():
    field = np.arange(48.0).reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(lattice.site_sum(field), [sum(range(24)), sum(range(24, 48))])
    np.testing.assert_array_equal(lattice.site_sum(np.array([3.0, 4.0])), [3.0, 4.0])


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 1), (1, 2, 2), (3, 2, 2)])
def test_site_sum_returns_a_new_array(shape):
    field = np.ones(shape)
    total = lattice.site_sum(field)
    assert total.shape == shape[:1]
    assert not np.shares_memory(total, field)


@pytest.mark.parametrize("shape", [(1, 4), (3, 2, 5, 4), (7, 2, 2)])
def test_chain_last_has_the_chain_axis_fastest_in_memory(shape):
    a = lattice.chain_last(*shape)
    assert a.shape == shape
    assert a.dtype == np.float64
    assert np.moveaxis(a, 0, -1).flags.c_contiguous


@pytest.mark.parametrize("n_chains", [1, 3, 64, 20_000])
def test_memory_of_work_arrays_begins_at_a_cache_line(n_chains):
    for dtype in (np.float64, np.complex128):
        arrays = [lattice.chain_last(n_chains, 2, 3, dtype=dtype) for _ in range(3)]
        assert all(a.ctypes.data % 64 == 0 and a.dtype == dtype and a.flags.writeable for a in arrays)


def test_components_of_matrices_are_slowest_in_memory():
    a = lattice.chain_last(7, 2, 4, 5, 3, 3, dtype=np.complex128)
    assert a.shape == (7, 2, 4, 5, 3, 3)
    assert np.moveaxis(a, (4, 5, 1, 2, 3, 0), range(6)).flags.c_contiguous


# --- uniform flux ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [*EDGE_SHAPES, (8, 8), (4, 6), (32, 16)])
def test_unit_flux_is_uniform_and_of_charge_one(shape):
    flux, volume = lattice.unit_flux(shape)[None], shape[0] * shape[1]
    assert flux.shape == (1, 2, *shape)
    assert np.all((flux >= -np.pi) & (flux < np.pi))
    # four angles in [-pi, pi), each a multiple of 2 pi/V rounded twice, and one turn taken off
    assert (
        np.abs(measure.angle_difference(lattice.plaquette_angles_definition(flux), 2 * np.pi / volume)).max()
        < 3 * ANGLE
    )
    assert measure.charge(flux) == 1
    assert measure.charge(-flux) == -1


@QUICK
@given(x=FIELDS, data=st.data())
def test_add_flux_is_k_times_the_unit(x, data):
    k = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=len(x), max_size=len(x))))
    flux = lattice.unit_flux(x.shape[2:])
    before = x.copy()
    y = lattice.add_flux(x, k)
    assert np.array_equal(x, before)
    # k units by multiplication carry k roundings
    assert np.abs(measure.angle_difference(y, x + k[:, None, None, None] * flux)).max() < 100 * ANGLE
    assert np.array_equal(lattice.add_flux(x, k, out=x), y)
    whole = lattice.add_flux(before, x[0, 0].size * k)  # V units are no flux at all, bit for bit
    assert np.array_equal(whole, before)


@pytest.mark.parametrize(
    ("numbers", "kept", "repeats"),
    [
        ([5], [5], 1), ([5, 5, 5], [5], 3), ([1, 1, 2, 2], [1, 2], 2), ([1, 1, 2], [1, 1, 2], 1), ([3] * 4 + [1, 1], [3, 3, 1], 2),
        ([1, 1, 2, 2, 2], [1, 1, 2, 2, 2], 1),
    ],
)  # fmt: skip
def test_repetitions_in_a_row_are_taken_out(numbers, kept, repeats):
    x = np.array(numbers, dtype=np.float64)[:, None, None] * np.ones((2, 3))
    fields, found = lattice.once(x)
    assert found == repeats
    assert fields[:, 0, 0].tolist() == kept
    np.testing.assert_array_equal(np.repeat(fields, found, axis=0), x)
