"""The shared part of the context function: inputs as in the paper, gauge invariance, and a pullback that is the derivative."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import lattice
from refimpl.groups import SUN, links
from refimpl.maps.context import Context
from refimpl.nets.convolution import ConvNet

from . import gauge_fields

# Rounding of plaquettes, of size n <= 3, carried through sums of 9 * 4 terms with positions up to 3.
ROUNDING = 1e-13
COLOURS = (1, 2, 3)


def fields(rng, n, chains=3, shape=(8, 4)):
    """Uniform angles, or Haar matrices."""
    return gauge_fields.links(rng, n, chains, shape) if n == 1 else SUN(n).haar(rng, (chains, 2, *shape))


def context(rng, **options):
    """Weights and biases of size 0.3, so that ELUs are met on both sides."""
    start = Context.init(rng, **{"hidden": 5, **options})
    return start.with_params({key: 0.3 * rng.standard_normal(a.shape) for key, a in start.params.items()})


def gauge_transformed(rng, x):
    if x.ndim == 4:
        return lattice.gauge_transform(x, rng.uniform(-np.pi, np.pi, (len(x), *x.shape[2:])))
    return links.gauge_transform(x, SUN(x.shape[-1]).haar(rng, (len(x), *x.shape[2:4])))


def test_inputs_of_a_uniform_field_are_known():
    x = lattice.unit_flux((8, 4))[None]
    seen = Context.init(np.random.default_rng(0)).inputs(x)
    assert seen.shape == (1, 4, 8, 4)
    angle = 2 * np.pi / 32
    assert np.max(np.abs(seen[0, 0] - np.cos(angle))) < 1e-14
    assert np.max(np.abs(seen[0, 1] - np.sin(angle))) < 1e-14
    assert all(seen[0, 2, t, n] == t % 4 and seen[0, 3, t, n] == n % 4 for t in range(8) for n in range(4))


@pytest.mark.parametrize("n", COLOURS)
def test_inputs_are_plaquettes_of_periodic_links_and_positions(n):
    rng = np.random.default_rng(n)
    x = fields(rng, n)
    seen = context(rng).inputs(x)
    u = np.exp(1j * x)[..., None, None] if n == 1 else x
    for t, s in np.ndindex(8, 4):
        above, right = ((t + 1) % 8, s), (t, (s + 1) % 4)
        back = u[:, 1][:, t, s] @ u[:, 0][(slice(None), *right)]
        loop = u[:, 0][:, t, s] @ u[:, 1][(slice(None), *above)] @ back.conj().swapaxes(1, 2)
        trace = np.einsum("cii->c", loop)
        expected = np.stack([trace.real, trace.imag, np.full(3, t % 4.0), np.full(3, s % 4.0)], axis=1)
        assert np.max(np.abs(seen[:, :, t, s] - expected)) < ROUNDING
    assert np.array_equal(context(rng, positions=False).inputs(x), seen[:, :2])


def test_hidden_channels_are_an_elu_of_one_periodic_convolution():
    rng = np.random.default_rng(5)
    x = fields(rng, 3)
    own = context(rng)
    seen, hidden = own.inputs(x), own.apply(x)
    assert hidden.shape == (3, 5, 8, 4)
    for t, s in np.ndindex(8, 4):
        patch = seen[:, :, [(t + d) % 8 for d in (-1, 0, 1)]][..., [(s + d) % 4 for d in (-1, 0, 1)]]
        z = own.params["bias/0"] + np.einsum("oiab,ciab->co", own.params["weight/0"], patch)
        assert np.max(np.abs(hidden[:, :, t, s] - np.where(z > 0, z, np.expm1(z)))) < ROUNDING
    assert np.min(hidden) < -0.1
    assert np.max(hidden) > 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.sampled_from(COLOURS), positions=st.booleans())
def test_hidden_channels_are_gauge_invariant(seed, n, positions):
    rng = np.random.default_rng(seed)
    x = fields(rng, n, 2, (4, 4))
    own = context(rng, positions=positions)
    hidden = own.apply(x)
    # 1e-13 of inputs of size 3, through 36 weights of size 0.3
    assert np.max(np.abs(own.apply(gauge_transformed(rng, x)) - hidden)) < 1e-13 * max(1, np.max(np.abs(hidden)))


@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("axis", [0, 1])
def test_translations_by_four_sites_move_the_channels_along_and_by_one_without_positions(n, axis):
    rng = np.random.default_rng(6 + n)
    x = fields(rng, n, shape=(8, 8))
    own, free = context(rng), context(rng, positions=False)
    for net, step, same in ((own, 4, True), (own, 1, False), (own, 2, False), (free, 1, True)):
        apart = net.apply(np.roll(x, step, 2 + axis)) - np.roll(net.apply(x), step, 2 + axis)
        assert (np.max(np.abs(apart)) < ROUNDING) == same


@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("options", [{}, {"positions": False}, {"hidden": (3, 4), "kernel_size": (1, 3)}])
def test_the_pullback_is_the_derivative_of_the_definition(n, options):
    rng = np.random.default_rng(10 + n)
    x, own = fields(rng, n, 2, (4, 4)), context(rng, **options)
    params = dict(own.params)
    hidden, pull = own.apply_with_pullback(x)
    assert np.array_equal(hidden, own.apply(x))
    assert np.max(np.abs(hidden - own.definition(params, x))) < ROUNDING * max(1, np.max(np.abs(hidden)))
    g = rng.standard_normal(hidden.shape)
    kept = [array.copy() for array in (x, g, hidden, *params.values())]
    g_x, grads = pull(g)
    assert all(np.array_equal(a, b) for a, b in zip(kept, (x, g, hidden, *params.values()), strict=True))
    basis = None if n == 1 else gauge_fields.generators(n)

    def loss(params, w):
        # d(exp(i w_a T_a) U) = i dw_a T_a U at w = 0
        links = x + w if n == 1 else x + 1j * anp.einsum("cmtxa,aij,cmtxjk->cmtxik", w, basis, x)
        return anp.sum(g * own.definition(params, links))

    w = np.zeros(x.shape if n == 1 else (*x.shape[:4], n * n - 1))
    expected_params, expected_x = autograd.grad(loss, (0, 1))(params, w)
    assert g_x.shape == w.shape
    assert list(grads) == list(params)
    # sums of 32 sites and 9 * 4 weights of size 1
    assert np.max(np.abs(g_x - expected_x)) < 1e-12
    assert all(np.max(np.abs(grads[key] - expected_params[key])) < 1e-11 for key in params)


@pytest.mark.parametrize("n", COLOURS)
def test_the_pullback_is_the_derivative_along_the_group(n):
    rng = np.random.default_rng(20 + n)
    x, own = fields(rng, n, 1, (4, 4)), context(rng)
    hidden, pull = own.apply_with_pullback(x)
    g = rng.standard_normal(hidden.shape)
    g_x, _ = pull(g)
    w = rng.standard_normal(g_x.shape)
    step = 1e-5

    def value(eps):
        return np.sum(g * own.apply(x + eps * w if n == 1 else SUN(n).multiply(SUN(n).exp(eps * w), x)))

    slope = (value(step) - value(-step)) / (2 * step)
    # step^2 times third derivatives; no unit of ELU crosses 0, where its second derivative jumps, by more than step
    assert abs(slope - np.sum(g_x * w)) < 1e-6 * max(1, abs(slope))


@pytest.mark.parametrize("n", COLOURS)
def test_a_chain_has_the_same_bits_in_any_batch(n):
    rng = np.random.default_rng(30 + n)
    x, own = fields(rng, n, 40), context(rng)  # 40 * 32 sites are more than `refimpl.groups.angles.SINCOS_SWITCH`
    g = rng.standard_normal((40, 5, 8, 4))
    hidden, pull = own.apply_with_pullback(x)
    for chains in (slice(0, 1), slice(7, 12), slice(None, None, -1)):
        some, pull_some = own.apply_with_pullback(x[chains])
        assert np.array_equal(some, hidden[chains])
        assert np.array_equal(pull_some(g[chains])[0], pull(g)[0][chains])


def test_starts_have_the_spread_of_xavier():
    own = Context.init(np.random.default_rng(40))
    assert own.net == ConvNet((4, 16), 3, activation="elu", final="elu")
    assert own.positions
    assert own.hidden == 16
    weight = own.params["weight/0"]
    expected = 0.5 * np.sqrt(2 / (9 * (4 + 16)))
    # the standard error of a standard deviation of 576 numbers is 1/sqrt(2 * 576) = 0.03 of it
    assert abs(np.std(weight) / expected - 1) < 0.12
    assert not own.params["bias/0"].any()
    wide = Context.init(np.random.default_rng(40), gain=1.0, positions=False)
    assert not wide.positions
    assert wide.params["weight/0"].shape == (16, 2, 3, 3)
    assert abs(np.std(wide.params["weight/0"]) / np.sqrt(2 / (9 * 18)) - 1) < 0.16


def test_other_extents_are_refused_only_with_positions():
    rng = np.random.default_rng(50)
    x = fields(rng, 1, 1, (6, 4))
    with pytest.raises(ValueError, match=r"x: got links on a lattice of shape \(6, 4\), expected multiples of 4"):
        context(rng).apply(x)
    with pytest.raises(ValueError, match=r"shape \(4, 6\), expected multiples of 4"):
        context(rng).apply(np.swapaxes(x, 2, 3))
    assert context(rng, positions=False).apply(x).shape == (1, 5, 6, 4)


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(51)
    own = context(rng)
    with pytest.raises(ValueError, match="net: got 3 input channels, expected 4, or 2"):
        Context(ConvNet((3, 5), final="elu"), {})
    with pytest.raises(TypeError, match="net: got 7, expected a ConvNet"):
        Context(7, {})
    with pytest.raises(ValueError, match="params: got keys"):
        own.with_params({})
    with pytest.raises(ValueError, match="positions: got 1"):
        Context.init(rng, positions=1)
    with pytest.raises(ValueError, match="gain: got -1"):
        Context.init(rng, gain=-1.0)
    for bad, message in ((np.zeros((2, 4, 4)), "x: got shape"), (np.zeros((0, 2, 4, 4)), "x: got zero chains")):
        with pytest.raises(ValueError, match=message):
            own.apply(bad)
    with pytest.raises(ValueError, match="x: got matrices with"):
        own.apply(2 * fields(rng, 2))
    with pytest.raises(ValueError, match="g: got shape"):
        own.apply_with_pullback(fields(rng, 1))[1](np.zeros((3, 4, 8, 4)))
