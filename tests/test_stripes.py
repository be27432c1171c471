"""Mask patterns of gauge flows, against links that move one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.lattice import plaquette_angles_definition, shift
from refimpl.maps.stripes import PATTERNS, PERIOD, check_pattern, masks

SHAPES = [(4, 4), (4, 8), (12, 4), (8, 8)]
patterns, shapes = st.sampled_from(PATTERNS), st.sampled_from(SHAPES)


def moves(pattern, index, shape):
    """Changes ``(link, T, X)`` of the plaquettes when one active link after the other moves by 1."""
    layer = masks(pattern, index, shape)
    sites = np.argwhere(layer.active)
    x = np.zeros((len(sites), 2, *shape))
    x[np.arange(len(sites)), layer.mu, sites[:, 0], sites[:, 1]] = 1.0
    return plaquette_angles_definition(x), sites


@given(patterns, shapes, st.integers(0, 3 * PERIOD))
def test_plaquettes_are_active_passive_or_frozen(pattern, shape, index):
    layer = masks(pattern, index, shape)
    change, sites = moves(pattern, index, shape)
    assert np.array_equal(layer.frozen, np.all(change == 0, axis=0))
    # Each active plaquette contains one active link, the one at its own site, and no other; each passive one its neighbour's.
    assert np.array_equal(layer.active, np.abs(change).sum(axis=0) * layer.active == 1)
    assert np.array_equal(layer.passive, np.abs(change).sum(axis=0) * layer.passive == 1)
    sign = 1 if layer.mu == 0 else -1
    assert all(change[i, t, x] == sign for i, (t, x) in enumerate(sites))
    assert np.array_equal(layer.active.astype(int) + layer.passive + layer.frozen, np.ones(shape))
    assert layer.active.sum() * 4 == np.prod(shape)


@given(patterns, shapes, st.integers(0, 3 * PERIOD))
def test_loops_contain_no_active_link(pattern, shape, index):
    layer = masks(pattern, index, shape)
    change, _ = moves(pattern, index, shape)
    for rho in (0, 1):
        still = np.all(change + shift(change, rho) == 0, axis=0)
        assert np.array_equal(layer.loops[rho], still)
    around = layer.passive & layer.loops[1 - layer.mu]
    assert around.sum() == layer.active.sum()


@given(patterns, shapes, st.integers(0, 20))
def test_every_link_is_active_once_in_a_period(pattern, shape, first):
    count = np.zeros((2, *shape), int)
    for index in range(first, first + PERIOD):
        layer = masks(pattern, index, shape)
        count[layer.mu] += layer.active
    assert np.array_equal(count, np.ones_like(count))


def test_patterns_are_the_published_ones():
    """First layers of each, as printed by the public codes: 1 active, 2 passive, 0 frozen."""
    assert picture("stripes", 0) == ["1002"] * 4
    assert picture("stripes", 1) == ["1111", "0000", "0000", "2222"]
    assert picture("stripes", 4) == ["0210"] * 4
    assert picture("tiles", 0) == ["1212", "0000", "2121", "0000"]
    assert picture("tiles", 1) == ["0000", "1212", "0000", "2121"]
    assert picture("tiles", 4) == ["1020", "2010", "1020", "2010"]


def picture(pattern, index):
    layer = masks(pattern, index, (4, 4))
    return ["".join(map(str, row)) for row in layer.active * 1 + layer.passive * 2]


def test_inputs_are_checked():
    with pytest.raises(ValueError, match="pattern: got 'squares', expected one of"):
        masks("squares", 0, (4, 4))
    for shape in [(6, 4), (4, 10), (2, 4)]:
        with pytest.raises(ValueError, match=r"shape: got extent . = .*, expected a multiple of 4"):
            check_pattern("stripes", shape)
    with pytest.raises(ValueError, match="index: got -1"):
        masks("tiles", -1, (4, 4))
    with pytest.raises(ValueError, match="read-only"):
        masks("tiles", 0, (4, 4)).active[0, 0] = True
