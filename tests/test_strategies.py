"""The Hypothesis strategies: what they draw, and that failures shrink to something a person can read."""

from __future__ import annotations

import importlib
import math
import random
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from refimpl.validation import measure
from refimpl.validation.strategies import (
    couplings,
    gauge_transforms,
    lattice_shapes,
    memory_orders,
    phi4_couplings,
    phi4_fields,
    scalar_shapes,
    u1_fields,
    u1_flux_fields,
    u1_hot_fields,
)

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIND = settings(
    max_examples=2000, deadline=None, database=None, report_multiple_bugs=False, phases=[Phase.generate, Phase.shrink]
)
FIELDS = [u1_fields, u1_flux_fields, u1_hot_fields]


def smallest(strategy, condition=lambda value: True):
    """What the strategy shrinks to under this condition, from a fixed seed."""
    return find(strategy, condition, settings=FIND, random=random.Random(0))


def action(x):
    """``sum_P (1 - cos theta_P)`` of the first chain."""
    return measure.loop_action(x[0], 1.0)


# --- shapes and couplings --------------------------------------------------------------------------------------------
@QUICK
@given(st.data(), st.integers(2, 5), st.integers(0, 4), st.booleans())
def test_lattice_shapes_stay_within_their_extents(data, low, more, even):
    high = low + more + even  # with one more, an even extent always fits
    shape = data.draw(lattice_shapes(low, high, even))
    assert len(shape) == 2
    assert all(type(extent) is int and low <= extent <= high for extent in shape)
    assert not (even and any(extent % 2 for extent in shape))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), (2, 2)), ((3,), (3, 3)), ((3, 6, True), (4, 4)), ((5, 5), (5, 5)), ((2, 3, True), (2, 2))],
)
def test_lattice_shapes_shrink_to_the_smallest(arguments, expected):
    assert smallest(lattice_shapes(*arguments)) == expected


def test_lattice_shapes_shrink_only_the_extent_that_may():
    assert smallest(lattice_shapes(), lambda shape: shape[1] >= 5) == (2, 5)


@pytest.mark.parametrize("wanted", [(2, 6), (6, 2), (3, 5), (6, 6)])
def test_lattice_shapes_reach_both_ends_of_the_range(wanted):
    assert smallest(lattice_shapes(), lambda shape: shape == wanted) == wanted


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, 4), "min_extent: got 1"),
        ((4, 3), "max_extent: got 3.*an extent from"),
        ((3, 3, True), "max_extent: got 3.*an even extent"),
    ],
)
def test_lattice_shapes_reject_bad_extents(arguments, match):
    with pytest.raises(ValueError, match=match):
        lattice_shapes(*arguments)


@QUICK
@given(couplings(), couplings(min=0.2, max=0.7))
def test_couplings_stay_in_their_interval(beta, weak):
    assert 0.01 <= beta <= 10
    assert 0.2 <= weak <= 0.7


def test_couplings_shrink_to_simple_numbers():
    assert smallest(couplings()) == 1.0
    assert smallest(couplings(), lambda beta: beta > 3.2) == 4.0
    assert smallest(couplings(min=0.2, max=0.7)) == 0.5


# --- fields ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fields", FIELDS)
def test_fields_are_links_in_the_half_open_interval(fields):
    @QUICK
    @given(fields())
    def check(x):
        assert x.dtype == np.float64
        assert x.ndim == 4
        assert 1 <= x.shape[0] <= 3
        assert x.shape[1] == 2
        assert all(2 <= extent <= 6 for extent in x.shape[2:])
        assert np.all(x >= -np.pi)
        assert np.all(x < np.pi)

    check()


@pytest.mark.parametrize("fields", FIELDS)
def test_fields_take_their_shape_and_chains_from_the_given_strategies(fields):
    @QUICK
    @given(fields(shapes=st.just((3, 7)), chains=st.just(5)))
    def check(x):
        assert x.shape == (5, 2, 3, 7)

    check()


@pytest.mark.parametrize("fields", FIELDS)
def test_fields_shrink_to_one_chain_of_the_smallest_lattice(fields):
    assert smallest(fields()).shape == (1, 2, 2, 2)


@pytest.mark.parametrize("fields", [u1_fields, u1_flux_fields])
def test_fields_shrink_to_the_cold_field(fields):
    assert not smallest(fields()).any()


@pytest.mark.parametrize("bound", [0.0, 0.5, 1.5, 3.0])
def test_a_field_of_large_action_shrinks_to_at_most_two_links(bound):
    x = smallest(u1_fields(), lambda x: action(x) > bound)
    assert x.shape == (1, 2, 2, 2)
    assert 1 <= np.count_nonzero(x) <= 2


def test_fields_are_zero_but_for_some_links():
    filled = []

    @settings(QUICK, derandomize=True)
    @given(u1_fields(st.just((12, 12))))
    def collect(x):
        filled.append(np.count_nonzero(x) / x.size)

    collect()
    assert np.mean(filled) < 0.3  # were every link drawn, most would not be zero
    assert max(filled) > 0


def test_a_field_on_a_large_lattice_shrinks_as_far():
    x = smallest(u1_fields(st.just((16, 16))), lambda x: action(x) > 1.5)
    assert len(x) == 1
    assert 1 <= np.count_nonzero(x) <= 2


def test_a_link_beyond_a_bound_shrinks_to_that_link_alone():
    x = smallest(u1_fields(), lambda x: x.max() > 0.9)
    assert np.count_nonzero(x) == 1
    assert x.max() in (1.0, 2.0, 3.0, np.pi / 2, np.nextafter(np.pi, 0))


def test_a_difference_between_chains_shrinks_to_one_link_of_two_chains():
    x = smallest(u1_fields(), lambda x: len(x) > 1 and not np.array_equal(x[0], x[1]))
    assert x.shape == (2, 2, 2, 2)
    assert np.count_nonzero(x) == 1


@pytest.mark.parametrize("angle", [np.pi / 2, -np.pi / 4, -np.pi, np.nextafter(np.pi, 0)])
def test_fields_contain_the_special_angles(angle):
    assert np.count_nonzero(smallest(u1_fields(), lambda x: np.any(x == angle))) == 1


@QUICK
@given(u1_flux_fields())
def test_flux_fields_stay_below_half_a_flux_quantum_per_plaquette(x):
    for links in x:
        volume = links[0].size
        angles = [math.remainder(angle, 2 * math.pi) for angle in measure.loop_angles(links)]
        flux = 2 * math.pi * round(math.fsum(angles) / (2 * math.pi)) / volume
        # The perturbation takes half of the distance to pi at most; 1e-13 is far above the rounding of four angles.
        assert abs(flux) < math.pi - 1e-13
        assert max(abs(angle - flux) for angle in angles) <= (math.pi - abs(flux)) / 2 + 1e-13


@pytest.mark.parametrize(
    ("shape", "charge"), [((2, 2), 1), ((2, 2), -1), ((2, 3), 2), ((3, 3), -4), ((4, 4), 7), ((4, 5), -9)]
)
def test_flux_fields_reach_every_charge_below_half_the_volume_and_lose_their_perturbation(shape, charge):
    x = smallest(u1_flux_fields(st.just(shape)), lambda x: round(measure.loop_charge(x[0])) == charge)
    expected = measure.flux_configuration(shape, charge)
    # A wrapped -pi and pi are the same angle; both computed alike, so nothing else differs but the wrap's rounding.
    np.testing.assert_allclose(measure.angle_difference(x, expected), 0, atol=4 * math.pi * 2.0**-52)


def test_hot_fields_shrink_to_the_first_seed():
    np.testing.assert_array_equal(
        smallest(u1_hot_fields()), np.random.default_rng(0).uniform(-np.pi, np.pi, (1, 2, 2, 2))
    )


@QUICK
@given(u1_hot_fields())
def test_hot_fields_have_no_special_links(x):
    assert np.all(x != 0)
    assert len(np.unique(x)) == x.size  # a repeated double in at most 216 links has probability 1e-12


@QUICK
@given(gauge_transforms((3, 5), 2))
def test_gauge_transforms_are_angles_of_sites(alpha):
    assert alpha.shape == (2, 3, 5)
    assert alpha.dtype == np.float64
    assert np.all((alpha >= -np.pi) & (alpha < np.pi))


def test_gauge_transforms_shrink_to_the_identity_and_to_one_site():
    assert not smallest(gauge_transforms((3, 4), 2)).any()
    assert np.count_nonzero(smallest(gauge_transforms((3, 4), 2), np.any)) == 1


# --- scalar fields ---------------------------------------------------------------------------------------------------
@QUICK
@given(phi4_fields(), phi4_couplings())
def test_scalar_fields_are_finite_and_bounded_and_their_couplings_bind(x, couplings):
    assert x.dtype == np.float64
    assert x.ndim == 3
    assert 1 <= len(x) <= 3
    assert all(1 <= extent <= 5 for extent in x.shape[1:])
    assert np.abs(x).max() <= 10
    m2, lam = couplings
    assert lam > 0 or (lam == 0 and m2 > 0)


@QUICK
@given(phi4_fields(st.just((3, 4)), st.just(2), largest=100.0))
def test_scalar_fields_take_shape_chains_and_size(x):
    assert x.shape == (2, 3, 4)
    assert np.abs(x).max() <= 100


def is_constant(x):
    return x.any() and np.all(x == x.flat[0])


def is_checkerboard(x):
    t, s = np.indices(x.shape[1:])
    return x.any() and np.array_equal(x[0], x[0, 0, 0] * (-1.0) ** (t + s))


def is_kink(x):
    """Of two values, whose change is along time."""
    return (
        np.array_equal(x[0], np.repeat(x[0, :, :1], 3, axis=1))
        and np.array_equal(x[0, [0, 2], 0], -x[0, [2, 0], 0])
        and x.any()
    )


@pytest.mark.parametrize(
    "condition",
    [
        lambda x: not x.any(),
        is_constant,
        is_checkerboard,
        is_kink,
        lambda x: np.abs(x).max() == 10,
        lambda x: 0 < np.abs(x).max() < 1e-6,
        lambda x: len(np.unique(np.abs(x))) == 9,
    ],
    ids=["zero", "constant", "checkerboard", "kink", "largest", "tiny", "random"],
)
def test_scalar_fields_are_of_every_kind(condition):
    found = smallest(phi4_fields(st.just((3, 3)), st.just(1)), condition)
    assert condition(found)


def test_scalar_fields_shrink_to_zero_to_a_constant_and_to_one_site():
    assert smallest(phi4_fields()).tolist() == [[[0.0]]]
    assert len(np.unique(smallest(phi4_fields(st.just((3, 4))), lambda x: x.max() > 2))) <= 2
    assert (
        np.count_nonzero(smallest(phi4_fields(st.just((3, 4)), st.just(1)), lambda x: np.any(x == 0) and x.any())) == 1
    )
    assert smallest(phi4_couplings()) == (0.0, 1.0)
    assert smallest(scalar_shapes(2, 6)) == (2, 2)


def test_bad_sizes_of_scalar_fields_are_refused():
    with pytest.raises(ValueError, match="min_extent: got 0"):
        scalar_shapes(0)
    with pytest.raises(ValueError, match="min_extent: got 4, expected from 1 to max_extent = 3"):
        scalar_shapes(4, 3)
    with pytest.raises(ValueError, match="largest: got 0"):
        smallest(phi4_fields(largest=0))


# --- memory orders ---------------------------------------------------------------------------------------------------
@QUICK
@given(u1_hot_fields(), st.data())
def test_memory_orders_are_copies_of_the_same_values(x, data):
    y = data.draw(memory_orders(x))
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize(
    "condition",
    [
        lambda y: y.flags.c_contiguous,
        lambda y: y.flags.f_contiguous,
        lambda y: y.strides[0] == 8 and not y.flags.f_contiguous,
        lambda y: min(y.strides) > 8,
        lambda y: max(y.strides) < 0,
    ],
    ids=["C", "Fortran", "chain-last", "strided", "reversed"],
)
@pytest.mark.parametrize("writeable", [True, False])
def test_memory_orders_offer_every_layout(condition, writeable):
    x = np.arange(48.0).reshape(2, 2, 3, 4)
    y = smallest(memory_orders(x), lambda y: condition(y) and y.flags.writeable == writeable)
    np.testing.assert_array_equal(y, x)


def test_memory_orders_shrink_to_a_writable_array_in_c_order():
    y = smallest(memory_orders(np.ones((2, 2, 3, 4))))
    assert y.flags.c_contiguous
    assert y.flags.writeable


def test_missing_hypothesis_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "refimpl.validation.strategies")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"hypothesis is not installed: pip install 'refimpl\[test\]'"):
        importlib.import_module("refimpl.validation.strategies")


@pytest.mark.parametrize("chains", [True, 1.0, "1", 0, None])
def test_numbers_of_chains_are_integers(chains):
    with pytest.raises(ValueError, match=r"chains: got .*, expected an integer of at least 1"):
        gauge_transforms((2, 2), chains)
    gauge_transforms((2, np.int64(2)), 1)
