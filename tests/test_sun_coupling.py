"""Spectral coupling layers: links of SU(N) that follow the spectra of plaquettes."""

from dataclasses import replace

import numpy as np
import pytest

from refimpl import exact
from refimpl.actions import WilsonSUN
from refimpl.groups import SUN
from refimpl.groups.links import gauge_transform, plaquettes
from refimpl.groups.matrices import components, dagger, product, trace
from refimpl.maps import Chain
from refimpl.maps.frames import frame, passive_sites
from refimpl.maps.spectral import SpectralKernel
from refimpl.maps.splines import IntervalSpline
from refimpl.maps.stripes import PERIOD, SPACING
from refimpl.maps.sun_coupling import SpectralCoupling, layer_channels, spectral_chain
from refimpl.models import Flow, Haar
from tests.test_spectral import derivatives

# Both directions of each pattern, with and without the frame of staples.
CASES = [
    (n, pattern, index, staples)
    for n in (2, 3)
    for pattern, index, staples in (
        ("stripes", 0, True),
        ("stripes", 3, True),
        ("stripes", 5, False),
        ("tiles", 1, False),
        ("tiles", 6, True),
    )
]


def layer(n, pattern="stripes", index=0, shape=(4, 8), seed=0, **options):
    """A layer far from the identity, without kinks in its net."""
    options = {"hidden": (6,), "activation": "tanh", "last": 4.0} | options
    return SpectralCoupling.init(np.random.default_rng(seed), n, shape, index, pattern=pattern, **options)


def links(rng, n, chains=2, shape=(4, 8)):
    return SUN(n).haar(rng, (chains, 2, *shape))


@pytest.mark.parametrize(("n", "pattern", "index", "staples"), CASES)
def test_round_trip_gauge_and_definition(n, pattern, index, staples):
    rng = np.random.default_rng(index)
    coupling, x = layer(n, pattern, index, staples=staples), links(rng, n)
    y, logdet = coupling.forward(x)
    assert np.abs(logdet).min() > 0.1  # not near the identity
    back, back_logdet = coupling.inverse(y)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(logdet + back_logdet, 0, atol=1e-12)
    SUN(n).check(y)

    expected, expected_logdet = coupling.definition(coupling.params, x)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(logdet, expected_logdet, atol=1e-11)

    g = SUN(n).haar(rng, (2, 4, 8))
    turned, same = coupling.forward(gauge_transform(x, g))
    np.testing.assert_allclose(turned, gauge_transform(y, g), atol=1e-12)
    np.testing.assert_allclose(same, logdet, atol=1e-12)

    moved = np.abs(y - x).max(axis=(0, 4, 5)) > 0
    assert np.array_equal(moved[coupling.masks.mu], coupling.masks.active)
    assert not moved[1 - coupling.masks.mu].any()


@pytest.mark.parametrize("n", [2, 3])
def test_translations_that_keep_the_masks(n):
    coupling, x = layer(n, index=1), links(np.random.default_rng(1), n)
    y, logdet = coupling.forward(x)
    for axis, step in ((2, SPACING), (3, 1), (3, SPACING)):
        if np.array_equal(np.roll(coupling.masks.active, step, axis - 2), coupling.masks.active):
            shifted, same = coupling.forward(np.roll(x, step, axis))
            np.testing.assert_allclose(shifted, np.roll(y, step, axis), atol=1e-12)
            np.testing.assert_allclose(same, logdet, atol=1e-12)


def test_eight_layers_move_every_link():
    for pattern in ("stripes", "tiles"):
        chain = spectral_chain(np.random.default_rng(2), 2, (4, 4), PERIOD, pattern=pattern, last=2.0)
        x = links(np.random.default_rng(3), 2, 1, (4, 4))
        y, _ = chain.forward(x)
        assert np.all(np.abs(y - x).max(axis=(0, 4, 5)) > 1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_logdet_is_that_of_the_dense_jacobian(n):
    """All links of a 4 x 4 lattice of SU(2), and of SU(3) the active ones and a few others, by differences on the group."""
    rng = np.random.default_rng(4)
    coupling = layer(n, shape=(4, 4), index=1)
    x = links(rng, n, 1, (4, 4))
    y, logdet = coupling.forward(x)
    group, size = SUN(n), n * n - 1
    where = np.argwhere(np.ones((2, 4, 4)))
    if n == 3:
        active = np.stack([np.full(4, coupling.masks.mu), *np.nonzero(coupling.masks.active)], axis=1)
        where = np.unique(np.concatenate([active, [[0, 1, 1], [1, 0, 2], [1, 3, 3]]]), axis=0)
    directions = [(mu, t, s, a) for mu, t, s in where for a in range(size)]
    step = 1e-4

    def along(eps):
        w = np.zeros((len(directions), 2, 4, 4, size))
        for i, direction in enumerate(directions):
            w[(i, *direction)] = eps
        return coupling.forward(group.multiply(group.exp(w), np.repeat(x, len(w), axis=0)))

    change, _ = derivatives(along, step)
    moves = group.coordinates(-1j * group.multiply(change, np.repeat(group.inverse(y), len(change), axis=0)))
    jacobian = np.stack([moves[:, mu, t, s, a] for mu, t, s, a in directions])
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], logdet[0], atol=1e-7)


@pytest.mark.parametrize(("n", "pattern", "index", "staples"), CASES)
def test_pullback_by_differences(n, pattern, index, staples):
    rng = np.random.default_rng(5)
    coupling, x, group = layer(n, pattern, index, staples=staples), links(np.random.default_rng(6), n), SUN(n)
    y, logdet, pull = coupling.forward_with_pullback(x)
    again, same = coupling.forward(x)
    assert np.array_equal(y, again)
    assert np.array_equal(logdet, same)
    g_y, g_logdet = rng.standard_normal((2, 2, 4, 8, n * n - 1)), rng.standard_normal(2)
    g_x, grads = pull(g_y, g_logdet)

    def change_of_loss(path):
        change, slope = derivatives(path, 1e-6)
        moves = group.coordinates(-1j * group.multiply(change, group.inverse(y)))
        return (g_y * moves).sum(axis=(1, 2, 3, 4)) + g_logdet * slope

    # 1e-15/1e-6 of rounding for each of some hundred numbers of order 1.
    w = rng.standard_normal(g_y.shape)
    expected = change_of_loss(lambda eps: coupling.forward(group.multiply(group.exp(eps * w), x)))
    np.testing.assert_allclose((g_x * w).sum(axis=(1, 2, 3, 4)), expected, atol=1e-7)
    d = {key: rng.standard_normal(value.shape) for key, value in coupling.params.items()}

    def in_params(eps):
        params = {key: value + eps * d[key] for key, value in coupling.params.items()}
        return coupling.with_params(params).forward(x)

    expected = change_of_loss(in_params).sum()
    assert sum((grads[key] * d[key]).sum() for key in d) == pytest.approx(expected, abs=2e-7)
    assert grads.keys() == coupling.params.keys()


@pytest.mark.parametrize("n", [2, 3])
def test_pullback_of_a_chain_of_layers(n):
    # Of a gauge invariant loss: what moves along gauge transformations has no derivative.
    rng = np.random.default_rng(7)
    chain = spectral_chain(rng, n, (4, 4), 4, hidden=(5,), last=2.0)
    x, group, action = links(rng, n, 2, (4, 4)), SUN(n), WilsonSUN(2.0, n)
    y, _, pull = chain.forward_with_pullback(x)
    g_x, _ = pull(action.force(y), -np.ones(2))
    # Generators of the transformation at site 0: its own links turn from the left, those that end there from the right.
    w = rng.standard_normal((2, n * n - 1))
    change = np.zeros(2)
    for mu in (0, 1):
        change += (g_x[:, mu, 0, 0] * w).sum(axis=1)
        ending = x[:, mu, -1, 0] if mu == 0 else x[:, mu, 0, -1]
        turned = group.coordinates(ending @ group.algebra(w) @ group.inverse(ending))
        change -= ((g_x[:, mu, -1, 0] if mu == 0 else g_x[:, mu, 0, -1]) * turned).sum(axis=1)
    np.testing.assert_allclose(change, 0, atol=1e-11)
    assert np.abs(g_x).max() > 0.1


@pytest.mark.parametrize("n", [2, 3])
def test_deep_flows_with_large_weights_stay_on_the_group(n):
    # Exponents of up to 48, by which powers must not multiply the rounding of determinants.
    rng = np.random.default_rng(16)
    chain = spectral_chain(rng, n, (4, 4), 16, hidden=(8,), last=100.0)
    for image in (chain.forward, chain.inverse):
        u = image(links(rng, n, 64, (4, 4)))[0]
        # A link is turned twice, by matrices off by some 1e-15.
        assert np.abs(np.linalg.det(u) - 1).max() < 1e-13
        assert np.abs(u.conj().swapaxes(-2, -1) @ u - np.eye(n)).max() < 1e-13


@pytest.mark.parametrize("n", [2, 3, 4])
def test_links_of_the_centre_return(n):
    # Loops are elements of the centre, where powers have no limit and logdets of SU(3) have none.
    rng = np.random.default_rng(17)
    chain = spectral_chain(rng, n, (4, 4), 4, hidden=(4,), last=1.0)
    x = np.zeros((3, 2, 4, 4, n, n), np.complex128)
    x[...] = np.eye(n)
    x[0, 0, 0, 1] *= np.exp(2j * np.pi / n)
    x[1] *= np.exp(2j * np.pi * rng.integers(0, n, (2, 4, 4)) / n)[..., None, None]
    # The same up to a gauge, which leaves rounding.
    x[2] = x[1]
    x = gauge_transform(x, SUN(n).haar(rng, (3, 4, 4)))
    for there, back in ((chain.forward, chain.inverse), (chain.inverse, chain.forward)):
        y, logdet = there(x)
        again, back_logdet = back(y)
        np.testing.assert_allclose(again, x, atol=1e-13)
        np.testing.assert_allclose(logdet + back_logdet, 0, atol=1e-12)
    _, _, pull = chain.forward_with_pullback(x)
    g_x, grads = pull(rng.standard_normal((3, 2, 4, 4, n * n - 1)), np.ones(3))
    assert all(np.all(np.isfinite(g)) for g in (g_x, *grads.values()))


def test_a_field_has_the_same_bits_in_any_batch():
    coupling, x = layer(3), links(np.random.default_rng(8), 3, 5)
    y, logdet = coupling.forward(x)
    own, own_logdet = coupling.forward(x[3:4])
    assert np.array_equal(own[0], y[3])
    assert own_logdet[0] == logdet[3]


@pytest.mark.parametrize("n", [2, 3])
def test_partition_function_from_an_untrained_flow(n):
    beta, shape = 0.5, (4, 4)
    rng = np.random.default_rng(9)
    flow = Flow(Haar(n, shape), spectral_chain(rng, n, shape, 4, hidden=(4,), last=1.0))
    x, log_prob = flow.sample(rng, 1500 if n == 2 else 500)
    weights = np.exp(-WilsonSUN(beta, n).action(x) - log_prob - exact.sun.log_partition(beta, shape, n))
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.15
    assert abs(weights.mean() - 1) < 4.5 * error  # fails by chance once in 1e5
    np.testing.assert_allclose(flow.log_prob(x), log_prob, atol=1e-9)


def test_the_frame_turns_the_density_of_a_link_of_su2_into_a_class_function():
    # What `refimpl.maps.frames` says: Re tr L + Re tr Q = 2 cos(w/2) Re tr L W^(-1/2), +-w/2 the phases of W.
    rng = np.random.default_rng(15)
    for index in (0, 1):
        masks = layer(2, index=index).masks
        x = np.ascontiguousarray(components(links(rng, 2), 2))
        p = plaquettes(x)
        t, s = np.nonzero(masks.active)
        loop = p[:, :, t, s] if masks.mu == 0 else dagger(p[:, :, t, s])
        at = frame(x, p, loop, np.full(loop.shape[2:], -0.5), masks)
        both = trace(product(at.passive, loop)).real
        t, s = passive_sites(masks)
        two_plaquettes = trace(loop).real + trace(p[:, :, t, s]).real
        turned = trace(product(loop, at.turn)).real
        np.testing.assert_allclose(two_plaquettes, 2 * np.sqrt(np.maximum(0.5 + both / 4, 0)) * turned, atol=1e-13)


def test_close_to_unit_links():
    # All plaquettes at or near a corner of the cell: cold starts go through.
    rng = np.random.default_rng(10)
    for n in (2, 3):
        coupling = layer(n)
        for scale in (0.0, 1e-14, 1e-8, 1e-3):
            x = SUN(n).exp(scale * rng.standard_normal((1, 2, 4, 8, n * n - 1)))
            y, logdet = coupling.forward(x)
            back, _ = coupling.inverse(y)
            np.testing.assert_allclose(back, x, atol=1e-12)
            assert np.isfinite(logdet).all()
            g_x, grads = coupling.forward_with_pullback(x)[2](np.ones((1, 2, 4, 8, n * n - 1)), -np.ones(1))
            assert np.isfinite(g_x).all()
            assert all(np.isfinite(grad).all() for grad in grads.values())


def test_channels_and_chain():
    assert layer_channels(2, (4, 4), 0) == 3
    assert layer_channels(3, (4, 4), 0) == 6
    assert layer_channels(3, (4, 4), 0, loops=False) == 2
    chain = spectral_chain(np.random.default_rng(11), 3, (4, 4), 3)
    assert isinstance(chain, Chain)
    assert [part.index for part in chain.layers] == [0, 1, 2]


def test_errors():
    coupling, x = layer(2), links(np.random.default_rng(12), 2)
    with pytest.raises(ValueError, match=r"x: got matrices with U\^dag U off 1"):
        coupling.forward(1.01 * x)
    with pytest.raises(ValueError, match="x: got matrices with U\\^dag U off 1 by nan"):
        coupling.inverse(np.where(np.arange(8)[:, None, None] == 3, np.nan, x))
    with pytest.raises(TypeError, match="expected complex128"):
        coupling.forward(x.real)
    with pytest.raises(ValueError, match=r"x: got links of shape \(2, 4, 4, 2, 2\), expected \(2, 4, 8, 2, 2\)"):
        coupling.forward(x[:, :, :, :4])
    with pytest.raises(ValueError, match=r"expected \(chain, 2, T, X, 2, 2\)"):
        coupling.forward(links(np.random.default_rng(13), 3))
    with pytest.raises(ValueError, match="shape: got extent X = 6, expected a multiple of 4"):
        layer(2, shape=(4, 6))
    with pytest.raises(ValueError, match=r"kernel: got one of n = 3, expected n = 2"):
        layer(2, kernel=SpectralKernel(3))
    with pytest.raises(ValueError, match=r"net: got \(3, 26\) channels in and out, expected \(3, 23\)"):
        replace(coupling, kernel=SpectralKernel(2, IntervalSpline(7)))
    with pytest.raises(ValueError, match="params: got keys"):
        coupling.with_params({})
    with pytest.raises(ValueError, match="loops: got 2"):
        layer(2, loops=2)
    with pytest.raises(ValueError, match="staples: got 'no'"):
        layer(2, staples="no")
    with pytest.raises(ValueError, match="n_layers: got 0"):
        spectral_chain(np.random.default_rng(14), 2, (4, 4), 0)
