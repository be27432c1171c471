"""Affine couplings: inverse, Jacobian and pullback are those of the definition; only the active sites move."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.maps import Chain
from refimpl.maps.coupling import AffineCoupling, affine_chain
from refimpl.nets.convolution import ConvNet

# |s| < 1: each layer amplifies the rounding of its numbers of order 1 to 10 by less than 10.
ROUND_TRIP = 1e-12
LOGDET = 1e-10
EVEN = st.sampled_from([2, 4, 6])


@st.composite
def cases(draw, max_layers=3):
    """A chain of layers away from the identity, and fields."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    chain = affine_chain(
        rng,
        draw(st.integers(1, max_layers)),
        draw(st.lists(st.integers(1, 4), max_size=2)),
        activation=draw(st.sampled_from(["leaky_relu", "tanh", "swish"])),
        odd=draw(st.booleans()),
    )
    # Weights four times those of a start: s and t of order 1.
    chain = chain.with_params({key: 4 * value for key, value in chain.params.items()})
    return chain, rng.standard_normal((draw(st.sampled_from([1, 3, 17])), draw(EVEN), draw(EVEN))), rng


@settings(max_examples=40, deadline=None)
@given(cases())
def test_round_trips_and_definition(case):
    chain, x, _ = case
    before = x.copy()
    y, logdet = chain.forward(x)
    back, inverse_logdet = chain.inverse(y)
    assert np.array_equal(x, before)
    assert np.max(np.abs(back - x)) < ROUND_TRIP
    assert np.max(np.abs(logdet + inverse_logdet)) < ROUND_TRIP * x[0].size
    z, _ = chain.inverse(x)
    assert np.max(np.abs(chain.forward(z)[0] - x)) < ROUND_TRIP
    for theirs, ours in zip(chain.definition(chain.params, x), (y, logdet), strict=True):
        assert np.max(np.abs(theirs - ours)) < ROUND_TRIP * x[0].size


@settings(max_examples=5, deadline=None)
@given(cases())
def test_logdets_are_those_of_the_dense_jacobian_in_both_directions(case):
    chain, x, _ = case
    x = x[:1, :4, :4]
    for point, result in ((x, chain.forward(x)[1]), (chain.inverse(x)[0], -chain.inverse(x)[1])):
        # The Jacobian of the inverse at x is the inverse of that of the map at the point it comes from.
        jacobian = autograd.jacobian(lambda flat: chain.definition(chain.params, flat.reshape(x.shape))[0])(
            point.ravel()
        )
        assert abs(np.linalg.slogdet(jacobian.reshape(x.size, x.size))[1] - result[0]) < LOGDET
        assert abs(result[0]) > 1e-3


@settings(max_examples=25, deadline=None)
@given(cases())
def test_pullback_is_the_gradient_of_the_definition(case):
    chain, x, rng = case
    y, logdet, pull = chain.forward_with_pullback(x)
    assert all(np.array_equal(a, b) for a, b in zip((y, logdet), chain.forward(x), strict=True))
    g_y, g_logdet = rng.standard_normal(y.shape), rng.standard_normal(len(x))
    before = g_y.copy()
    g_x, grads = pull(g_y, g_logdet)
    assert np.array_equal(g_y, before)

    def weighted(params, x):
        y, logdet = chain.definition(params, x)
        return anp.sum(y * g_y) + anp.sum(logdet * g_logdet)

    expected, expected_x = autograd.grad(weighted, (0, 1))(chain.params, x)
    assert list(grads) == list(chain.params)
    for key in grads:
        assert np.max(np.abs(grads[key] - expected[key])) <= LOGDET * max(1, np.max(np.abs(expected[key]))), key
    assert np.max(np.abs(g_x - expected_x)) <= LOGDET * max(1, np.max(np.abs(expected_x)))


@pytest.mark.parametrize("parity", [0, 1])
def test_a_layer_moves_the_sites_of_its_parity(parity):
    layer = affine_chain(np.random.default_rng(1), 2).layers[parity]
    x = np.random.default_rng(2).standard_normal((2, 4, 6))
    y, logdet = layer.forward(x)
    t, n = np.indices((4, 6))
    moved = (t + n) % 2 == parity
    assert np.array_equal(y[:, ~moved], x[:, ~moved])
    assert np.all(y[:, moved] != x[:, moved])
    # What moves is affine in itself, and s is the logarithm of the slope.
    far = x.copy()
    far[:, moved] += 1.0
    slopes = (layer.forward(far)[0] - y)[:, moved]
    assert np.max(np.abs(np.log(slopes).sum(axis=1) - logdet)) < 1e-12
    assert np.array_equal(layer.forward(far)[1], logdet)


def test_layers_commute_with_translations_and_odd_ones_with_the_sign():
    x = np.random.default_rng(3).standard_normal((2, 4, 6))
    for odd in (False, True):
        chain = affine_chain(np.random.default_rng(4), 3, odd=odd)
        y, logdet = chain.forward(x)
        for steps in ((1, 1), (2, 0), (3, 5)):
            moved, same = chain.forward(np.roll(x, steps, axis=(1, 2)))
            assert np.max(np.abs(moved - np.roll(y, steps, axis=(1, 2)))) < 1e-13
            assert np.max(np.abs(same - logdet)) < 1e-13
        mirrored, same = chain.forward(-x)
        assert (np.max(np.abs(mirrored + y)) == 0) == odd
        assert np.array_equal(same, logdet) == odd


def test_a_chain_has_the_same_bits_in_any_batch():
    x = np.random.default_rng(5).standard_normal((37, 8, 8))
    for odd in (False, True):
        chain = affine_chain(np.random.default_rng(6), 4, odd=odd)
        whole = chain.forward(x)
        for part in (slice(0, 1), slice(9, 30), slice(None, None, -1)):
            for a, b in zip(chain.forward(x[part]), whole, strict=True):
                assert np.array_equal(a, b[part])


def test_the_tutorial_has_sixteen_layers_of_its_net():
    chain = affine_chain(np.random.default_rng(7))
    assert isinstance(chain, Chain)
    assert [layer.parity for layer in chain.layers] == [0, 1] * 8
    assert {layer.net for layer in chain.layers} == {ConvNet((1, 8, 8, 2), 3, 1, "leaky_relu", "tanh")}
    assert sum(value.size for value in chain.params.values()) == 16 * (72 + 8 + 576 + 8 + 144 + 2)
    assert not affine_chain(np.random.default_rng(7), 2, last=0.0).forward(np.ones((1, 4, 4)))[1].any()


def test_bad_arguments_are_refused():
    net = ConvNet((1, 4, 2))
    rng = np.random.default_rng(8)
    layer = AffineCoupling.init(rng, 0, net)
    for shape in ((3, 4), (4, 5)):
        for run in (layer.forward, layer.inverse, layer.forward_with_pullback):
            with pytest.raises(ValueError, match=r"extent . = .*even"):
                run(np.zeros((2, *shape)))
    with pytest.raises(ValueError, match=r"x: got shape \(4, 4\)"):
        layer.forward(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="parity: got 2"):
        AffineCoupling.init(rng, 2, net)
    with pytest.raises(ValueError, match="odd: got 1"):
        AffineCoupling.init(rng, 0, net, odd=1)
    with pytest.raises(ValueError, match="net: got 2 channels in and 2 out, expected 1 and 2"):
        AffineCoupling.init(rng, 0, ConvNet((2, 4, 2)))
    with pytest.raises(ValueError, match=r"params\['weight/0'\]: got float64 of shape \(4, 1, 3, 3\)"):
        AffineCoupling(0, ConvNet((1, 5, 2)), params=layer.params)
    with pytest.raises(ValueError, match="n_layers: got 0"):
        affine_chain(rng, 0)
