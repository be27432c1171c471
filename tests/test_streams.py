"""Streams made all at once are those that numpy spawns one by one."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.kernels import spawn_rngs
from refimpl.streams import states, streams

# Below, at and above the four words that numpy's pool has.
SEEDS = st.one_of(
    st.integers(0, 2**32), st.sampled_from([0, 2**32 - 1, 2**32, 2**127, 2**128 - 1, 2**128]), st.integers(0, 2**300)
)


@given(seed=SEEDS, n=st.integers(1, 40))
def test_states_are_those_of_numpys_children(seed, n):
    expected = [child.generate_state(4, np.uint64) for child in np.random.SeedSequence(seed).spawn(n)]
    np.testing.assert_array_equal(states(seed, n), expected)


def test_the_generators_are_numpys():
    expected = [np.random.default_rng(child) for child in np.random.SeedSequence(7).spawn(300)]
    for ours, numpys in zip(streams(7, 300), expected, strict=True):
        assert ours.bit_generator.state == numpys.bit_generator.state
    for ours, numpys in zip(spawn_rngs(7, 3), expected, strict=False):
        assert ours.random() == numpys.random()
    more = spawn_rngs(np.random.SeedSequence(7), 300)
    assert more[299].bit_generator.state == expected[299].bit_generator.state


def test_streams_have_children_and_pickle_as_numpys_do():
    (ours,), (numpys,) = streams(3, 1), map(np.random.default_rng, np.random.SeedSequence(3).spawn(1))
    for _ in range(2):  # the second children are others than the first
        for a, b in zip(ours.spawn(2), numpys.spawn(2), strict=True):
            assert a.bit_generator.state == b.bit_generator.state
    seeds = ours.bit_generator.seed_seq
    np.testing.assert_array_equal(seeds.generate_state(7), numpys.bit_generator.seed_seq.generate_state(7))
    copied = pickle.loads(pickle.dumps(ours))
    assert copied.bit_generator.state == numpys.bit_generator.state
    assert copied.spawn(1)[0].random() == numpys.spawn(1)[0].random()


def test_a_sequence_spawns_other_streams_the_second_time():
    root = np.random.SeedSequence(5)
    first, second = spawn_rngs(root, 2), spawn_rngs(root, 2)
    assert len({rng.random() for rng in (*first, *second)}) == 4


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_a_seed_that_is_none_is_refused(seed, error):
    with pytest.raises(error):
        spawn_rngs(seed, 2)
