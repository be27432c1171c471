"""Holonomy layers of U(1): definition, Jacobian, symmetries, and that no plaquette moves."""

import itertools
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from refimpl.actions import WilsonU1
from refimpl.groups import wrap
from refimpl.kernels import FieldTransformationHMC, spawn_rngs
from refimpl.lattice import chain_last, gauge_transform, plaquette_angles_definition, shift
from refimpl.maps.base import Chain
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.plaquette_coupling import gauge_chain
from refimpl.maps.projections import ProjectionMixture

SHAPE = (3, 4)
# Sums of a dozen angles, and slopes between exp(-3) and exp(3); the phase of random loops loses 1/|sum| besides.
EXACT, DENSE = 1e-12, 1e-10
CASES = list(itertools.product((0, 1), (None, 2)))
every_case = pytest.mark.parametrize(("mu", "line"), CASES)


def layer(mu, line, shape=SHAPE, seed=0, **options):
    """A layer far from the identity."""
    return Holonomy.init(np.random.default_rng(seed), shape, mu, index=1, line=line, last=5.0, **options)


def links(seed, chains=4, shape=SHAPE):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (chains, 2, *shape))


def distance(a, b):
    return np.max(np.abs(wrap(a - b)))


@every_case
def test_is_its_definition(mu, line):
    for options in ({}, {"circle": ProjectionMixture(2), "harmonics": 1, "neurons": 5}):
        made, x = layer(mu, line, **options), links(1)
        y, logdet = made.forward(x)
        expected, logdet_expected = made.definition(made.params, x)
        assert distance(y, expected) < EXACT
        assert np.max(np.abs(logdet - logdet_expected)) < EXACT
        assert np.max(np.abs(y)) <= np.pi
        assert np.max(np.abs(logdet)) > 0.1


@every_case
def test_logdet_is_that_of_the_dense_jacobian(mu, line):
    made, x = layer(mu, line), links(2, 1)
    before, back = made.inverse(x)
    for start, logdet in ((x, made.forward(x)[1]), (before, -back)):
        copies = np.repeat(start, x.size, axis=0)
        vjp, _ = autograd.make_vjp(lambda z: made.definition(made.params, z)[0])(copies)
        jacobian = vjp(np.eye(x.size).reshape(copies.shape)).reshape(x.size, x.size)
        assert abs(np.linalg.slogdet(jacobian)[1] - logdet[0]) < DENSE


@every_case
def test_round_trips(mu, line):
    made, x = layer(mu, line), links(3)
    for there, back in ((made.forward, made.inverse), (made.inverse, made.forward)):
        y, logdet = there(x)
        again, logdet_back = back(y)
        assert distance(again, x) < EXACT
        assert np.max(np.abs(logdet + logdet_back)) < EXACT


@every_case
def test_pullback_is_the_derivative_of_the_definition(mu, line):
    made, x, rng = layer(mu, line), links(4), np.random.default_rng(5)
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
def test_gauge_equivariance(mu, line):
    made, x = layer(mu, line), links(6)
    alpha = np.random.default_rng(7).uniform(-4, 4, (4, *SHAPE))
    y, logdet = made.forward(x)
    turned, logdet_turned = made.forward(wrap(gauge_transform(x, alpha)))
    assert distance(turned, gauge_transform(y, alpha)) < EXACT
    assert np.max(np.abs(logdet - logdet_turned)) < EXACT


@every_case
def test_loops_move_together_and_plaquettes_stay(mu, line):
    made, x = layer(mu, line), links(8)
    y, _ = made.forward(x)
    assert distance(plaquette_angles_definition(y), plaquette_angles_definition(x)) < EXACT
    moves = wrap(y.sum(axis=2 + mu)[:, mu] - x.sum(axis=2 + mu)[:, mu])  # (chain, line)
    assert np.max(np.abs(wrap(moves - moves[:, :1]))) < EXACT
    assert np.min(np.abs(moves)) > 1e-3
    still = np.ones((2, *SHAPE), bool)
    still[mu] = np.indices(SHAPE)[mu] != 1
    assert np.array_equal(y[:, still], x[:, still])


@pytest.mark.parametrize("mu", [0, 1])
def test_translations(mu):
    """The phase of all loops does not know where lines are: along nu links move with the field, along mu up to a gauge."""
    made, x = layer(mu, None), links(9)
    y, logdet = made.forward(x)
    nu = 1 - mu
    moved, logdet_moved = made.forward(shift(x, nu))
    assert distance(moved, shift(y, nu)) < EXACT
    assert np.max(np.abs(logdet - logdet_moved)) < EXACT
    moved, logdet_moved = made.forward(shift(x, mu))
    assert np.max(np.abs(logdet - logdet_moved)) < EXACT
    # Links of two neighbouring slices along mu differ by a and -a.
    a = wrap(y - x)[:, mu].max(axis=(1, 2)) + wrap(y - x)[:, mu].min(axis=(1, 2))
    alpha = a[:, None, None] * (np.indices(SHAPE)[mu] == 1)
    assert distance(gauge_transform(moved, -alpha), shift(y, mu)) < EXACT
    # One line is singled out: there a translation does something else.
    single = layer(mu, 2)
    assert np.max(np.abs(single.forward(x)[1] - single.forward(shift(x, nu))[1])) > 1e-3


@every_case
def test_a_constant_map_gives_its_density(mu, line):
    """From uniform holonomies: the density of the phase is that of the circle map, whatever the plaquettes do."""
    made = layer(mu, line, circle=ProjectionMixture(1))
    params = {key: np.zeros_like(value) for key, value in made.params.items()}
    params["bias/1"][:] = 0.8, 0.3
    x = links(10, 4000)
    y, logdet = made.with_params(params).forward(x)
    loops = y[:, mu].sum(axis=1 + mu)
    phase = loops[:, 2] if line == 2 else np.angle(np.exp(1j * loops).mean(axis=1))
    # h' = 2 atan(e^s tan(h/2)) + t of uniform h: the Cauchy of the circle, <exp(i h')> = -tanh(s/2) exp(i t).
    mean = np.exp(1j * phase).mean()
    # variance at most 1 in each part, 4000 draws: five standard errors
    assert abs(mean + np.tanh(0.4) * np.exp(0.3j)) < 5 * np.sqrt(2 / 4000)
    # d h'/d h at h: (cosh s - sinh s cos h)^-1, and in terms of h' - t: cosh s + sinh s cos(h' - t).
    assert np.max(np.abs(logdet - np.log(np.cosh(0.8) + np.sinh(0.8) * np.cos(phase - 0.3)))) < EXACT


@every_case
def test_a_chain_has_the_same_bits_alone(mu, line):
    made, x = layer(mu, line), links(11, 5)
    for method in (made.forward, made.inverse):
        y, logdet = method(x)
        for i in (0, 4):
            alone, logdet_alone = method(x[i : i + 1])
            assert np.array_equal(alone[0], y[i])
            assert logdet_alone[0] == logdet[i]


@every_case
def test_a_chain_has_the_same_pullback_alone(mu, line):
    # Lines of more than eight links, and cotangents as forces are kept: their sums depend on what NumPy makes of the strides.
    shape = (9, 10)
    made, x, rng = layer(mu, line, shape), links(12, 37, shape), np.random.default_rng(13)
    g_y = chain_last(*x.shape)
    g_y[...] = rng.standard_normal(x.shape)
    g_logdet = rng.standard_normal(37)
    together = made.forward_with_pullback(x)[2](g_y, g_logdet)[0]
    for part in (slice(0, 1), slice(36, 37), slice(3, 20)):
        alone = chain_last(*x[part].shape)
        alone[...] = g_y[part]
        assert np.array_equal(made.forward_with_pullback(x[part])[2](alone, g_logdet[part])[0], together[part])


def test_trajectories_through_holonomies_have_the_same_bits_alone():
    # An order of holonomies and couplings as in the flows of the Schwinger model.
    rng, shape = np.random.default_rng(14), (4, 4)
    couplings = gauge_chain(rng, shape, 2, hidden=(4,)).layers
    flow = Chain((*(layer(mu, None, shape) for mu in (0, 1)), *couplings, layer(0, 1, shape)))
    kernel = FieldTransformationHMC(WilsonU1(2.0), flow, 0.05, 3)
    x = links(15, 37, shape)
    together, _ = kernel.step(spawn_rngs(16, 37), kernel.init(x))
    alone, _ = kernel.step(spawn_rngs(16, 37)[:1], kernel.init(x[:1]))
    assert np.array_equal(alone.x[0], together.x[0])
    assert alone.action[0] == together.action[0]


def test_inputs_are_checked():
    rng = np.random.default_rng(0)
    made = layer(0, None)
    for options, message in (
        ({"mu": 2}, "mu: got 2"),
        ({"mu": 0, "index": 3}, "index: got 3"),
        ({"mu": 0, "line": 4}, "line: got 4"),
        ({"mu": 0, "harmonics": 0}, "harmonics: got 0"),
        ({"mu": 0, "neurons": 0}, "neurons: got 0"),
        ({"mu": 0, "last": -1.0}, "last: got"),
    ):
        with pytest.raises(ValueError, match=message):
            Holonomy.init(rng, SHAPE, **options)
    with pytest.raises(ValueError, match="circle: got"):
        replace(made, circle=None)
    with pytest.raises(ValueError, match="params"):
        made.with_params({})
    with pytest.raises(ValueError, match=r"x: got links of shape .*, expected"):
        made.forward(links(0, shape=(4, 4)))
    with pytest.raises(TypeError, match="x: got dtype float32"):
        made.forward(links(0).astype(np.float32))
