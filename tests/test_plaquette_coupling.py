"""Coupling layers of U(1) against their definition, their symmetries, and what they may not move."""

import itertools
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.groups import wrap
from refimpl.lattice import gauge_transform, plaquette_angles_definition, shift
from refimpl.maps.plaquette_coupling import EXPONENT, SPLINE, PlaquetteCoupling, gauge_chain
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.splines import CircularSpline
from refimpl.maps.stripes import PATTERNS, PERIOD, masks

SHAPE = (4, 8)
# Sums of some hundred angles and slopes of order 1, times what a map of slope exp(3) makes of them.
EXACT, DENSE = 1e-12, 1e-10
OPTIONS = [
    {},
    {"circle": ProjectionMixture(3), "loops": "none", "polyakov": False, "masked_values": True},
    {"circle": CircularSpline(4), "loops": "across", "masked_values": True, "hidden": (6, 5), "dilations": (1, 2, 1)},
    {"loops": "across", "polyakov": False, "activation": "tanh"},
    {"staples": True, "loops": "none", "circle": ProjectionMixture(2)},
    {"staples": True},
]
CASES = [(p, i, o) for (p, i), o in zip(itertools.product(PATTERNS, (0, 1, 2, 5, 6, 7)), OPTIONS * 2, strict=True)]


def layer(pattern, index, options, seed=0):
    """A layer far from the identity."""
    return PlaquetteCoupling.init(np.random.default_rng(seed), SHAPE, index, pattern=pattern, last=3.0, **options)


def links(seed, chains=3, shape=SHAPE):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (chains, 2, *shape))


def distance(a, b):
    return np.max(np.abs(wrap(a - b)))


every_case = pytest.mark.parametrize(("pattern", "index", "options"), CASES)


@every_case
def test_is_its_definition(pattern, index, options):
    made, x = layer(pattern, index, options), links(1)
    y, logdet = made.forward(x)
    expected, logdet_expected = made.definition(made.params, x)
    assert distance(y, expected) < EXACT
    assert np.max(np.abs(logdet - logdet_expected)) < EXACT
    assert np.max(np.abs(y)) <= np.pi
    assert np.max(np.abs(logdet)) > 0.1  # far from the identity


@every_case
def test_logdet_is_that_of_the_dense_jacobian(pattern, index, options):
    made, x = layer(pattern, index, options), links(2, 1)
    before, back = made.inverse(x)
    for start, logdet in ((x, made.forward(x)[1]), (before, -back)):
        assert abs(dense_logdet(made, start) - logdet[0]) < DENSE


def dense_logdet(made, x):
    """Of one field: as many copies of it as it has links, of each of which one link of the result is asked for."""
    copies = np.repeat(x, x.size, axis=0)
    vjp, _ = autograd.make_vjp(lambda z: made.definition(made.params, z)[0])(copies)
    jacobian = vjp(np.eye(x.size).reshape(copies.shape)).reshape(x.size, x.size)
    return np.linalg.slogdet(jacobian)[1]


@every_case
def test_round_trips(pattern, index, options):
    made, x = layer(pattern, index, options), links(3)
    for there, back in ((made.forward, made.inverse), (made.inverse, made.forward)):
        y, logdet = there(x)
        again, logdet_back = back(y)
        assert distance(again, x) < EXACT
        assert np.max(np.abs(logdet + logdet_back)) < EXACT


@every_case
def test_pullback_is_the_derivative_of_the_definition(pattern, index, options):
    made, x, rng = layer(pattern, index, options), links(4), np.random.default_rng(5)
    g_y, g_logdet = rng.standard_normal(x.shape), rng.standard_normal(len(x))

    def inner(params, x):
        y, logdet = made.definition(params, x)
        return anp.sum(g_y * y) + anp.sum(g_logdet * logdet)

    y, logdet, pull = made.forward_with_pullback(x)
    assert all(np.array_equal(a, b) for a, b in zip((y, logdet), made.forward(x), strict=True))
    g_x, grads = pull(g_y, g_logdet)
    grads_expected, expected = autograd.grad(inner, (0, 1))(dict(made.params), x)
    assert np.max(np.abs(g_x - expected)) < DENSE
    assert list(grads) == list(made.params)
    assert all(np.max(np.abs(grads[key] - grads_expected[key])) < DENSE for key in grads)


@every_case
def test_gauge_equivariance(pattern, index, options):
    made, x = layer(pattern, index, options), links(6)
    alpha = np.random.default_rng(7).uniform(-4, 4, (3, *SHAPE))
    y, logdet = made.forward(x)
    turned, logdet_turned = made.forward(wrap(gauge_transform(x, alpha)))
    assert distance(turned, gauge_transform(y, alpha)) < EXACT
    assert np.max(np.abs(logdet - logdet_turned)) < EXACT


@every_case
def test_translation_equivariance(pattern, index, options):
    """By 4 along both axes; stripes along their lines by 1; not by other steps across."""
    made, x = layer(pattern, index, options), links(8, shape=(8, 8))
    made = replace(made, shape=(8, 8))
    mu = made.masks.mu
    y, logdet = made.forward(x)
    for axis, step in itertools.product((0, 1), (1, 2, 4)):
        moved, logdet_moved = made.forward(shift(x, axis, step))
        if step == 4 or (pattern == "stripes" and axis == mu):
            assert distance(moved, shift(y, axis, step)) < EXACT
            assert np.max(np.abs(logdet - logdet_moved)) < EXACT
        elif pattern == "stripes" or step == 1:
            assert distance(moved, shift(y, axis, step)) > 0.1


@every_case
def test_only_active_links_move(pattern, index, options):
    made, x = layer(pattern, index, options), links(9)
    y, _ = made.forward(x)
    layer_masks = made.masks
    still = np.ones((2, *SHAPE), bool)
    still[layer_masks.mu] = ~layer_masks.active
    assert np.array_equal(y[:, still], x[:, still])
    assert np.mean(np.abs(wrap(y - x))[:, ~still] > 1e-3) > 0.9
    # What is frozen decides alone: another active link changes neither the moves of the others nor their numbers.
    other = x.copy()
    first = tuple(np.argwhere(~still)[0])
    other[(slice(None), *first)] += 0.3
    changed = np.abs(wrap(made.forward(other)[0] - y)) > 1e-14
    assert changed[(slice(None), *first)].all()
    assert changed.sum() == len(x)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_link_moves_once_in_a_period(pattern):
    chain = gauge_chain(np.random.default_rng(0), SHAPE, PERIOD, pattern=pattern, hidden=(4,))
    x = links(10)
    count = np.zeros(x.shape[1:], int)
    for part in chain.layers:
        count += np.any(part.forward(x)[0] != x, axis=0)
    assert np.array_equal(count, np.ones_like(count))
    assert chain.layers[3].index == 3


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(PATTERNS),
    st.integers(0, 7),
    st.integers(0, 1),
    st.floats(0.1, np.pi),
    st.sampled_from(["none", "all"]),
)
def test_without_polyakov_loops_no_layer_sees_a_holonomy(pattern, index, mu, angle, loops):
    """Which is why such flows have a ceiling; with them it sees those of the other direction."""
    x = links(11)
    turned = x.copy()
    if mu == 0:
        turned[:, 0, 0] += angle
    else:
        turned[:, 1, :, 0] += angle
    assert distance(plaquette_angles_definition(turned), plaquette_angles_definition(x)) < EXACT
    for polyakov in (False, True):
        made = layer(pattern, index, {"loops": loops, "polyakov": polyakov})
        (y, logdet), (y_turned, logdet_turned) = made.forward(x), made.forward(turned)
        if polyakov and mu != made.masks.mu:
            assert np.max(np.abs(logdet - logdet_turned)) > 1e-4
        else:
            assert distance(y_turned - turned, y - x) < EXACT
            assert np.max(np.abs(logdet - logdet_turned)) < EXACT


@pytest.mark.parametrize("masked_values", [False, True])
@pytest.mark.parametrize(("loops", "n"), [("none", 2), ("across", 6), ("all", 6)])
def test_channels_are_in_the_published_order(loops, n, masked_values):
    """A net that hands one channel on from a neighbour: links grow by what was there, by hand.

    Layer 0 of stripes on 4x4 moves theta_0 at x = 0, frozen plaquettes are at x = 1 and 2, the loop around the active links
    begins at x = 3.
    """
    shape = (4, 4)
    x = links(12, 2, shape)
    p = plaquette_angles_definition(x)
    w = [p + shift(p, 0), p + shift(p, 1)]
    keep = {"none": [], "across": [(), (1,)], "all": [(1, 2), (1, 3)]}[loops]
    angles = [(p, (1, 2)), *zip(w, keep, strict=False)]
    cosines, sines = [], []
    for angle, at in angles:
        mask = np.isin(np.arange(4), at)
        cosines.append(np.where(mask, np.cos(angle), 0.0 if masked_values else 1.0))
        sines.append(np.where(mask, np.sin(angle), 0.0))
    line = np.repeat(x[:, 1].sum(axis=2, keepdims=True), 4, axis=2)
    channels = [cosines[0], sines[0], *cosines[1:], *sines[1:], np.cos(line), np.sin(line)]
    made = PlaquetteCoupling.init(
        np.random.default_rng(0),
        shape,
        0,
        circle=ProjectionMixture(1),
        hidden=(),
        loops=loops,
        masked_values=masked_values,
    )
    assert made.net.channels[0] == len(channels) == n + 2
    for (k, channel), step in itertools.product(enumerate(channels), (-1, 1)):
        params = {key: np.zeros_like(value) for key, value in made.params.items()}
        params["weight/0"][1, k, 1, 1 + step] = 1.0
        y, logdet = made.with_params(params).forward(x)
        assert distance(y[:, 0, :, 0] - x[:, 0, :, 0], channel[:, :, step % 4]) < EXACT
        assert np.max(np.abs(logdet)) < EXACT


def test_active_plaquettes_move_by_the_circle_map():
    """One constant map for all: its values at the plaquettes are the new plaquettes, in both directions of links."""
    for index in (0, 1):
        made = layer("tiles", 4 * index, {})
        params = {key: np.zeros_like(value) for key, value in made.params.items()}
        raw = np.random.default_rng(3).standard_normal(SPLINE.outputs)
        params["bias/1"] = raw
        x = links(13)
        y, logdet = made.with_params(params).forward(x)
        before, after = plaquette_angles_definition(x), plaquette_angles_definition(y)
        new, log_slopes = SPLINE.definition(before, np.multiply.outer(raw, np.ones_like(before)))
        found = made.masks
        assert distance(after[:, found.active], new[:, found.active]) < EXACT
        assert distance(after[:, found.frozen], before[:, found.frozen]) < EXACT
        assert np.max(np.abs(logdet - (log_slopes * found.active).sum(axis=(1, 2)))) < EXACT


def local_weights(made, x):
    """``-S + logdet`` of what a layer makes of links, S of pure gauge theory with beta = 2."""
    y, logdet = made.forward(x)
    return 2.0 * np.cos(plaquette_angles_definition(y)).sum(axis=(1, 2)) + logdet


@pytest.mark.parametrize(("pattern", "index"), list(itertools.product(PATTERNS, (0, 5))))
def test_staples_are_the_centre_of_the_weights_of_a_link(pattern, index):
    """With an odd g and a = 1/2, links and their reflections ``P -> W - P`` have the same weight; in no other frame."""
    made = layer(pattern, index, {"circle": ProjectionMixture(1), "staples": True})
    masks, x = made.masks, links(16)
    p = plaquette_angles_definition(x)
    passive = np.roll(p, 1, axis=2 - masks.mu)
    reflected = x.copy()
    reflected[:, masks.mu] += np.where(masks.active, (passive - p) * (1 if masks.mu == 0 else -1), 0.0)
    assert distance(plaquette_angles_definition(reflected)[:, masks.active], passive[:, masks.active]) < EXACT
    params = {key: np.zeros_like(value) for key, value in made.params.items()}
    for a in (EXPONENT, 0.0, 0.4):
        params["bias/1"] = np.array([0.7, 0.0, a])
        one, other = (local_weights(made.with_params(params), field) for field in (x, wrap(reflected)))
        assert np.max(np.abs(one - local_weights(made, x))) > 0.1
        assert np.max(np.abs(one - other)) < EXACT if a == EXPONENT else np.min(np.abs(one - other)) > 1e-2


@pytest.mark.parametrize("mu", [0, 1])
def test_with_no_exponent_it_is_the_layer_of_the_papers(mu):
    made, x = layer("tiles", 4 * mu, {"staples": True}), links(17)
    params = {key: value.copy() for key, value in made.params.items()}
    params["weight/1"][-1], params["bias/1"][-1] = 0.0, 0.0
    published = layer("tiles", 4 * mu, {}).with_params(
        {key: value[:-1] if key.endswith("1") else value for key, value in params.items()}
    )
    for one, other in zip(made.with_params(params).forward(x), published.forward(x), strict=True):
        assert np.array_equal(one, other)


def test_exponents_begin_at_a_half():
    made = PlaquetteCoupling.init(np.random.default_rng(0), SHAPE, 0, staples=True, last=0.0)
    assert made.params["bias/1"][-1] == EXPONENT == 0.5
    x = links(18)
    assert distance(made.forward(x)[0], x) < EXACT


@every_case
def test_a_chain_has_the_same_bits_alone(pattern, index, options):
    made, x = layer(pattern, index, options), links(14, 5)
    for method in (made.forward, made.inverse):
        y, logdet = method(x)
        for i in (0, 4):
            alone, logdet_alone = method(x[i : i + 1])
            assert np.array_equal(alone[0], y[i])
            assert logdet_alone[0] == logdet[i]


def test_inputs_are_not_modified_and_any_memory_order_will_do():
    made, x = layer("stripes", 0, {}), links(15)
    kept = x.copy()
    y, _ = made.forward(x)
    made.inverse(x)
    made.forward_with_pullback(x)[2](np.ones_like(x), np.ones(3))
    assert np.array_equal(x, kept)
    last = np.empty((2, *SHAPE, 3)).transpose(3, 0, 1, 2)
    last[...] = x
    assert np.array_equal(made.forward(last)[0], y)


def test_inputs_are_checked():
    rng = np.random.default_rng(0)
    made = layer("stripes", 0, {})
    for options, message in (
        ({"pattern": "squares"}, "pattern: got"),
        ({"loops": "some"}, "loops: got"),
        ({"polyakov": 1}, "polyakov: got"),
        ({"masked_values": None}, "masked_values: got"),
        ({"staples": "no"}, "staples: got"),
        ({"hidden": (0,)}, "channels: got"),
    ):
        with pytest.raises(ValueError, match=message):
            PlaquetteCoupling.init(rng, SHAPE, 0, **options)
    for shape in ((6, 8), (4, 10), (4,)):
        with pytest.raises(ValueError, match="shape: got"):
            PlaquetteCoupling.init(rng, shape, 0)
    with pytest.raises(ValueError, match="index: got -1"):
        PlaquetteCoupling.init(rng, SHAPE, -1)
    with pytest.raises(ValueError, match="circle: got"):
        replace(made, circle=None)
    with pytest.raises(ValueError, match="staples: got 0"):
        replace(made, staples=0)
    with pytest.raises(ValueError, match=r"net: got .* channels in and out, expected"):
        replace(made, loops="none")
    with pytest.raises(ValueError, match=r"net: got .* channels in and out, expected"):
        replace(made, staples=True)
    with pytest.raises(ValueError, match="params"):
        made.with_params({})
    with pytest.raises(ValueError, match="params"):
        made.with_params({**made.params, "bias/0": np.zeros(3)})
    with pytest.raises(ValueError, match=r"x: got links of shape .*, expected"):
        made.forward(links(0, shape=(8, 8)))
    with pytest.raises(TypeError, match="x: got dtype float32"):
        made.forward(links(0).astype(np.float32))
    with pytest.raises(ValueError, match="n_layers: got 0"):
        gauge_chain(rng, SHAPE, 0)
    assert masks("stripes", 0, SHAPE).mu == 0
