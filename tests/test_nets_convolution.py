"""Convolutions of flows: the fast form, its reverse mode and the definition are one function; a chain does not know its batch."""

import itertools

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refimpl.nets import convolution, lanes
from refimpl.nets.activations import ACTIVATIONS
from refimpl.nets.convolution import FINAL, ConvNet

# Rounding of sums of up to 25 * 5 terms of size 1, carried through three layers of gain below 10.
ROUNDING = 1e-12


@st.composite
def cases(draw):
    """A net, a lattice and sites of it, or None."""
    channels = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    n = len(channels) - 1
    net = ConvNet(
        channels,
        draw(st.one_of(st.sampled_from([1, 3, 5]), st.lists(st.sampled_from([1, 3, 5]), min_size=n, max_size=n))),
        draw(st.one_of(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=n, max_size=n))),
        draw(st.sampled_from(sorted(ACTIVATIONS))),
        draw(st.sampled_from(FINAL)),
    )
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    volume = shape[0] * shape[1]
    chosen = draw(st.one_of(st.none(), st.lists(st.integers(0, volume - 1), min_size=1, max_size=volume)))
    if chosen is None:
        return net, shape, None
    sites = np.zeros(volume, bool)
    sites[chosen] = True
    return net, shape, sites.reshape(shape)


def built(seed, net, shape, n_chains=3):
    rng = np.random.default_rng(seed)
    params = {key: 0.5 * rng.standard_normal(size) for key, size in net.shapes().items()}
    return rng, params, rng.standard_normal((n_chains, net.channels[0], *shape))


def close(a, b):
    return a.shape == b.shape and np.max(np.abs(a - b), initial=0) <= ROUNDING * max(1, np.max(np.abs(b), initial=0))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases(), n_chains=st.sampled_from([1, 3, 26]))
@example(seed=1, case=(ConvNet((2, 3, 2), 3, (3, 2)), (8, 6), None), n_chains=50)
def test_the_fast_form_and_its_pullback_are_those_of_the_definition(seed, case, n_chains):
    net, shape, sites = case
    rng, params, x = built(seed, net, shape, n_chains)
    out, cache = convolution.apply(net, params, x, sites)
    assert close(out, convolution.definition(net, params, x, sites))
    g = rng.standard_normal(out.shape)
    before = [array.copy() for array in (*params.values(), x, g, out)]
    grads, g_x = convolution.pullback(net, params, cache, g)
    assert all(np.array_equal(a, b) for a, b in zip(before, (*params.values(), x, g, out), strict=True))
    expected, expected_x = autograd.grad(
        lambda params, x: anp.sum(convolution.definition(net, params, x, sites) * g), (0, 1)
    )(params, x)
    assert list(grads) == list(params)
    for key in params:
        assert close(grads[key], expected[key]), key
    assert close(g_x, expected_x)


def test_the_definition_is_the_cross_correlation_of_the_paper():
    net = ConvNet((2, 3), 3, 2)
    _, params, x = built(2, net, (4, 5))
    out = convolution.definition(net, params, x)
    for o, t, n in itertools.product(range(3), range(4), range(5)):
        taps = itertools.product(range(2), range(3), range(3))
        expected = params["bias/0"][o] + sum(
            params["weight/0"][o, i, a, b] * x[0, i, (t + 2 * (a - 1)) % 4, (n + 2 * (b - 1)) % 5] for i, a, b in taps
        )
        assert abs(out[0, o, t, n] - expected) < 1e-14  # 18 terms of size 1


def test_nets_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    net = ConvNet((2, 8, 8, 3), 3, (1, 2, 3), final="tanh")
    _, params, x = built(3, net, (8, 6))
    layers = []
    for i, step in enumerate(net.steps):
        layer = torch.nn.Conv2d(*net.channels[i : i + 2], 3, padding=step, dilation=step, padding_mode="circular")
        layer.weight.data, layer.bias.data = (torch.from_numpy(params[f"{key}/{i}"]) for key in ("weight", "bias"))
        layers += [layer, torch.nn.LeakyReLU() if i < 2 else torch.nn.Tanh()]
    theirs = torch.nn.Sequential(*layers)(torch.from_numpy(x)).detach().numpy()
    assert close(convolution.apply(net, params, x)[0], theirs)


@pytest.mark.parametrize("channels", [(1, 8, 8, 2), (2, 8, 8, 7), (6, 32, 25), (3, 1, 4)])
@pytest.mark.parametrize("shape", [(4, 4), (8, 8), (3, 5), (4, 16), (2, 40)])
@pytest.mark.parametrize("few", [False, True])
def test_a_chain_has_the_same_bits_in_any_batch(channels, shape, few):
    net = ConvNet(channels, 3, (*(1,) * (len(channels) - 2), 2))
    _, params, x = built(4, net, shape, 2 * lanes.lanes(shape[1]) + 3)
    sites = np.indices(shape).sum(axis=0) % 4 == 0 if few else None
    whole, _ = convolution.apply(net, params, x, sites)
    for chains in (slice(0, 1), slice(5, 9), slice(len(x) - 4, None), slice(None, None, -1)):
        assert np.array_equal(convolution.apply(net, params, x[chains], sites)[0], whole[chains])


@pytest.mark.parametrize("order", ["chains last", "reversed", "strided"])
def test_memory_order_does_not_matter(order):
    net = ConvNet((2, 3, 2))
    rng, params, x = built(5, net, (4, 6), 20)
    other = {
        "chains last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
        "reversed": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
        "strided": lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    }[order]
    (out, cache), (same, same_cache) = (convolution.apply(net, params, field) for field in (x, other(x)))
    assert np.array_equal(out, same)
    g = rng.standard_normal(out.shape)
    assert np.array_equal(
        convolution.pullback(net, params, cache, g)[1], convolution.pullback(net, params, same_cache, other(g))[1]
    )


def test_starts_are_those_of_torch_with_a_smaller_last_layer():
    net = ConvNet((4, 30, 20), (3, 5))
    params = convolution.init(net, np.random.default_rng(6), last=0.1)
    assert list(params) == ["weight/0", "bias/0", "weight/1", "bias/1"]
    for key, bound in {
        "weight/0": 1 / 6,
        "bias/0": 1 / 6,
        "weight/1": 0.1 / np.sqrt(750),
        "bias/1": 0.1 / np.sqrt(750),
    }.items():
        assert 0.8 * bound < np.max(np.abs(params[key])) <= bound  # misses with probability 0.8^20
        assert params[key].shape == net.shapes()[key]
    assert not convolution.apply(net, convolution.init(net, np.random.default_rng(6), last=0.0), np.ones((1, 4, 3, 3)))[
        0
    ].any()


def test_xavier_starts_are_those_of_torch_in_spread_and_have_no_biases():
    net = ConvNet((4, 40, 20), (3, 5))
    params = convolution.xavier_normal(net, np.random.default_rng(8), gain=0.5)
    assert {key: array.shape for key, array in params.items()} == net.shapes()
    # fans 9 * 4 and 9 * 40, 25 * 40 and 25 * 20; a spread of n numbers is off by 1/sqrt(2 n) of it, here 0.019 and 0.005
    for key, fans, most in (("weight/0", 36 + 360, 0.08), ("weight/1", 1000 + 500, 0.02)):
        assert abs(np.std(params[key]) / (0.5 * np.sqrt(2 / fans)) - 1) < most
        assert np.max(np.abs(params[key])) > 3 * np.std(params[key])  # normal, not uniform
    assert not params["bias/0"].any()
    assert not params["bias/1"].any()
    with pytest.raises(ValueError, match="gain: got -1"):
        convolution.xavier_normal(net, np.random.default_rng(0), -1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3,),), "channels: got"),
        (((1, 0),), "channels: got 0"),
        (((1, 2, 3), (3,)), "kernel_size: got .*for each of 2 layers"),
        (((1, 2), 4), "kernel_size: got 4, expected an odd"),
        (((1, 2), 3, 0), "dilations: got 0"),
        (((1, 2), 3, 1, "sine"), "activation: got 'sine'"),
        (((1, 2), 3, 1, "tanh", "exp"), "final: got 'exp'"),
    ],
)
def test_bad_nets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(*arguments)


def test_bad_arguments_are_refused():
    net = ConvNet((2, 3, 1))
    _, params, x = built(7, net, (4, 6))
    _, cache = convolution.apply(net, params, x)
    for bad, message in ((x[:, :1], r"x: got shape \(3, 1, 4, 6\)"), (x[:0], "x: got shape"), (x[0], "x: got shape")):
        with pytest.raises(ValueError, match=message):
            convolution.apply(net, params, bad)
    with pytest.raises(TypeError, match="x: got dtype float32"):
        convolution.apply(net, params, x.astype(np.float32))
    for sites in (np.ones((4, 5), bool), np.zeros((4, 6), bool), np.ones((4, 6))):
        with pytest.raises(ValueError, match="sites: got"):
            convolution.apply(net, params, x, sites)
    with pytest.raises(ValueError, match="g: got shape"):
        convolution.pullback(net, params, cache, np.ones((3, 2, 4, 6)))
    with pytest.raises(ValueError, match="last: got -1"):
        convolution.init(net, np.random.default_rng(0), last=-1.0)
