"""The decimation flow: constant weights, densities against Bessel series, Jacobians, symmetries, and the control that fails."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive

from refimpl.actions import WilsonU1
from refimpl.estimators.reweighting import relative_ess
from refimpl.exact import u1
from refimpl.groups import wrap
from refimpl.lattice import gauge_transform, plaquette_angles
from refimpl.maps.decimation import Decimation, cuts
from refimpl.maps.plaquette_sums import even_series, heat_time, log_density, part
from refimpl.models import Flow, UniformAngles
from refimpl.observables import charge

SHAPES = [(2, 2), (4, 4), (4, 8), (3, 2), (3, 5)]
shapes = st.sampled_from(SHAPES)
betas = st.sampled_from([0.0, 0.01, 2.0, 12.0, 50.0])
kernels = st.sampled_from(["exact", "heat"])


def flow(beta, shape, kernel="exact"):
    return Flow(UniformAngles(shape), Decimation(beta, shape, kernel))


def uniform(n, shape, seed=1):
    return UniformAngles(shape).sample(np.random.default_rng(seed), n)


def weights(beta, shape, n, kernel="exact"):
    """``log w - log Z`` of n draws, and the draws."""
    x, log_q = flow(beta, shape, kernel).sample(np.random.default_rng(2), n)
    log_z = u1.log_partition(beta, shape) + 2 * math.prod(shape) * math.log(2 * math.pi)
    return -WilsonU1(beta).action(x) - log_q - log_z, x


# --- exact weights -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [2.0, 4.0, 7.0, 12.0])
@pytest.mark.parametrize(("extent", "n"), [(4, 128), (8, 32), (16, 8)])
def test_weights_are_constant(extent, n, beta):
    excess, _ = weights(beta, (extent, extent), n)
    # Sums of 2 V log 2 pi (900 at L = 16) and of V angles that are right to 1e-14 at slopes of up to beta: 5e-13 seen.
    assert np.abs(excess).max() <= 1e-11
    assert 1 - relative_ess(excess) <= 1e-12


@given(betas, shapes)
@settings(max_examples=12, deadline=None)
def test_any_rectangle_and_beta(beta, shape):
    excess, _ = weights(beta, shape, 3)
    assert np.abs(excess).max() <= 1e-11


@pytest.mark.parametrize(("beta", "bound"), [(2.0, 0.9), (4.0, 0.95)])
def test_the_heat_kernel_is_not_exact(beta, bound):
    excess, _ = weights(beta, (8, 8), 128, "heat")
    ess = relative_ess(excess)
    print(f"beta {beta}: ESS {ess:.3f} of the heat kernel")
    assert 0.01 < ess < bound
    assert np.abs(excess).max() > 0.5


def test_samples_have_the_exact_charges_and_plaquettes():
    shape, n, beta = (4, 4), 4000, 2.0
    x, _ = flow(beta, shape).sample(np.random.default_rng(4), n)
    q, p = u1.charge_distribution(beta, shape)
    seen = np.array([np.sum(charge(x) == number) for number in q])
    likely = n * p > 20
    assert likely.sum() >= 3
    assert np.all(np.abs(seen - n * p)[likely] < 5 * np.sqrt(n * p * (1 - p))[likely])  # 5 sigma, seed fixed
    # Each plaquette, wherever it stands in the tree, and what two of them have to do with each other.
    cosines, sines = np.cos(plaquette_angles(x)).reshape(n, -1), np.sin(plaquette_angles(x)).reshape(n, -1)
    error = math.sqrt(u1.single_plaquette_variance(beta, shape) / n)
    assert np.abs(cosines.mean(axis=0) - u1.plaquette(beta, shape)).max() < 5 * error
    off = (sines.T @ sines / n)[~np.eye(16, dtype=bool)]
    assert np.abs(off - u1.sine_correlation(beta, shape)).max() < 5 * 0.5 / math.sqrt(n)  # var(sin sin') < 1/4


# --- the law of sums ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [0.5, 4.0, 50.0])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 30])
def test_densities_are_series_of_bessel_ratios(beta, n):
    k = np.arange(1, 200)
    r = (ive(k, beta) / ive(0, beta)) ** n
    x = np.linspace(-np.pi, np.pi, 41)
    series = (1 + 2 * np.cos(np.outer(x, k)) @ r) / (1 + 2 * r.sum())
    # The series is right to some 1e-15 of its peak; the log density to 1e-16 of its range, which is 100 or less.
    np.testing.assert_allclose(np.exp(even_series(log_density(beta, n, "exact"), x)), series, rtol=0, atol=3e-14)


@pytest.mark.parametrize("beta", [1.0, 12.0, 50.0])
def test_densities_of_two_keep_their_digits_far_out(beta):
    x = np.linspace(-np.pi, np.pi, 41)
    c = 2 * beta * np.cos(x / 2)  # g_2 is I_0(2 beta cos(x/2)), up to a factor
    expected = np.log(ive(0, c) / ive(0, 2 * beta)) + np.abs(c) - 2 * beta
    np.testing.assert_allclose(even_series(log_density(beta, 2, "exact"), x), expected, rtol=0, atol=1e-14 * (1 + beta))


@pytest.mark.parametrize("n", [1, 4])
def test_heat_kernels_have_gaussian_modes(n):
    x, k = np.linspace(-np.pi, np.pi, 41), np.arange(1, 60)
    r = np.exp(-n * heat_time(4.0) / 2 * k**2)
    assert r[0] == pytest.approx((ive(1, 4.0) / ive(0, 4.0)) ** n, rel=1e-13)
    series = (1 + 2 * np.cos(np.outer(x, k)) @ r) / (1 + 2 * r.sum())
    np.testing.assert_allclose(np.exp(even_series(log_density(4.0, n, "heat"), x)), series, rtol=0, atol=1e-14)


@given(betas, kernels, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_quantiles_invert_distribution_functions(beta, kernel, a, b, seed):
    # The heat kernel's log density is kinked at pi, as sharply as 1/beta squared: many modes.
    law, rng = part(min(beta, 4.0) if kernel == "heat" else beta, a, b, kernel), np.random.default_rng(seed)
    u, s = rng.uniform(-np.pi, np.pi, (2, 50))
    x, log_h = law.quantile(u, s)
    back, again = law.uniform(x, s)
    # F is solved to CLOSE = 2e-15, times 2 pi, and rounds as much once more.
    np.testing.assert_allclose(back, u, rtol=0, atol=5e-14)
    np.testing.assert_allclose(again, log_h, rtol=0, atol=1e-12)
    assert np.all(np.abs(x) <= np.pi)
    # h is the derivative of F: normalised on a fine grid, where the rule of equal weights is exact.
    grid = 2 * np.pi / 2048 * np.arange(2048) - np.pi
    h = np.exp(law.uniform(grid, np.full(2048, s[0]))[1])
    assert h.mean() == pytest.approx(1, abs=1e-12)


# --- the map -------------------------------------------------------------------------------------------------------------
@given(st.sampled_from([2.0, 12.0]), shapes, st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_round_trips(beta, shape, seed):
    layer, x = Decimation(beta, shape), uniform(3, shape, seed)
    kept = x.copy()
    y, logdet = layer.forward(x)
    back, minus = layer.inverse(y)
    assert np.array_equal(x, kept)
    assert np.all((y >= -np.pi) & (y < np.pi))
    # A sum of V/2 rounded angles at each of log_2 V levels, compressed by 2 pi h, at most sqrt(beta V).
    np.testing.assert_allclose(wrap(back - x), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(minus, -logdet, rtol=0, atol=1e-11)
    # The other way 1/2 pi h stretches the rounding of the uniform links, 1e-14.
    again, _ = layer.forward(back)
    slack = np.exp(np.array([stretch(layer, y_i[None]) for y_i in y])).max()
    np.testing.assert_allclose(wrap(again - y), 0, rtol=0, atol=1e-13 * max(1, slack))


def stretch(layer, y):
    """The largest ``- log 2 pi h`` of a node."""
    from refimpl.maps.decimation import sums

    return max(
        float(
            -part(layer.beta, cut.first, cut.t.shape[1] - cut.first, "exact")
            .uniform(*(s.ravel() for s in sums(y, cut)))[1]
            .min()
        )
        for cut in cuts(layer.shape)
    )


@pytest.mark.parametrize("kernel", ["exact", "heat"])
@pytest.mark.parametrize(("beta", "shape"), [(2.0, (2, 2)), (3.0, (3, 2)), (1.5, (2, 4))])
def test_jacobian_pullback_and_definition(kernel, beta, shape):
    import autograd
    import autograd.numpy as anp

    layer, x = Decimation(beta, shape, kernel), uniform(2, shape, 5)
    y, logdet, pull = layer.forward_with_pullback(x)
    np.testing.assert_array_equal(y, layer.forward(x)[0])
    written, written_logdet = layer.definition({}, x)
    np.testing.assert_allclose(wrap(written - y), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(written_logdet, logdet, rtol=0, atol=1e-12)
    jacobian = autograd.jacobian(lambda z: layer.definition({}, z[None])[0][0].ravel())(x[0])
    dense = np.linalg.slogdet(jacobian.reshape(x[0].size, -1))[1]
    assert dense == pytest.approx(logdet[0], abs=1e-10)
    assert abs(dense) > 0.1
    rng = np.random.default_rng(6)
    g_y, g_logdet = rng.standard_normal(y.shape), rng.standard_normal(2)

    def total(z):
        out, own = layer.definition({}, z)
        return anp.sum(g_y * out) + anp.sum(g_logdet * own)

    expected = autograd.grad(total)(x)
    g_x, grads = pull(g_y, g_logdet)
    assert grads == {}
    # Derivatives of size 10, products of up to three factors 1/h, each with the digits that Fourier series leave of h: 1e-12.
    np.testing.assert_allclose(g_x, expected, rtol=0, atol=1e-10)


def test_finite_differences_at_larger_beta():
    layer, x, eps = Decimation(12.0, (4, 4)), uniform(1, (4, 4), 7), 1e-5
    steps = eps * np.eye(32).reshape(32, 2, 4, 4)
    up, down = (layer.forward(np.concatenate([x + sign * steps]))[0] for sign in (1, -1))
    jacobian = wrap(up - down).reshape(32, 32) / (2 * eps)
    # eps^2 times third derivatives of a quantile (below 1e3) over its first.
    assert np.linalg.slogdet(jacobian)[1] == pytest.approx(float(layer.forward(x)[1][0]), abs=1e-6)


@given(st.sampled_from([2.0, 12.0]), shapes, st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_gauge_equivariance_and_reflection(beta, shape, seed):
    rng, layer, x = np.random.default_rng(seed), Decimation(beta, shape), uniform(2, shape, seed)
    alpha = rng.uniform(-np.pi, np.pi, (2, *shape))
    y, logdet = layer.forward(x)
    scale = 1e-13 * max(
        1, np.exp(stretch(layer, y[:1])), np.exp(stretch(layer, y[1:]))
    )  # rounded plaquettes, stretched
    for other, expected in ((gauge_transform(x, alpha), gauge_transform(y, alpha)), (-x, -y), (x + 0.7, None)):
        new, new_logdet = layer.forward(wrap(other))
        if expected is not None:
            np.testing.assert_allclose(wrap(new - expected), 0, rtol=0, atol=scale)
            np.testing.assert_allclose(new_logdet, logdet, rtol=0, atol=100 * scale)
    # Uniform shifts of the links of one direction move the holonomy alone, and pass through.
    np.testing.assert_allclose(wrap(new - y - 0.7), 0, rtol=0, atol=scale)


@pytest.mark.parametrize("shape", [*SHAPES, (8, 8), (16, 16)])
def test_every_node_is_cut_by_one_link_of_its_own(shape):
    moved = [
        link for cut in cuts(shape) for link in zip(*(np.broadcast_to(i, len(cut.t)) for i in cut.links), strict=True)
    ]
    assert len(moved) == len(set(moved)) == math.prod(shape) - 1
    # A unit change of the link raises the first half by `sign`, lowers the other, and changes no node cut before.
    for i, cut in enumerate(cuts(shape)):
        for node in range(len(cut.t)):
            x = np.zeros((1, 2, *shape))
            x[(0, *(index if np.ndim(index) == 0 else index[node] for index in cut.links))] = 1
            p = plaquette_angles(x)[0]
            values = p[cut.t[node], cut.x[node]]
            assert values[: cut.first].sum() == cut.sign
            assert values.sum() == 0
            for before in cuts(shape)[:i]:
                halves = p[before.t, before.x]
                assert not halves[:, : before.first].sum(axis=1).any()


def test_no_coupling_is_the_identity():
    x = uniform(3, (4, 6))
    y, logdet = Decimation(0.0, (4, 6)).forward(x)
    np.testing.assert_allclose(wrap(y - x), 0, rtol=0, atol=1e-13)
    np.testing.assert_allclose(logdet, 0, rtol=0, atol=1e-13)


@given(st.integers(1, 7), st.sampled_from([1000, 65536]), st.sampled_from([2.0, 7.0]))
@settings(max_examples=8, deadline=None)
def test_a_chain_has_the_same_bits_in_any_batch(n, block, beta):
    from refimpl.maps import plaquette_sums

    layer, x = Decimation(beta, (4, 4)), uniform(7, (4, 4))
    whole = layer.forward(x), layer.inverse(x)
    original, plaquette_sums.BLOCK_ELEMENTS = plaquette_sums.BLOCK_ELEMENTS, block
    try:
        parts = layer.forward(x[:n]), layer.inverse(np.asfortranarray(x[:n]))
    finally:
        plaquette_sums.BLOCK_ELEMENTS = original
    for a, b in zip(whole, parts, strict=True):
        for one, two in zip(a, b, strict=True):
            np.testing.assert_array_equal(one[:n], two)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decimation(50.1, (4, 4)), "beta: got 50.1, expected at most 50"),
        (lambda: Decimation(-1.0, (4, 4)), "beta: got -1.0"),
        (lambda: Decimation(np.nan, (4, 4)), "beta: got nan"),
        (lambda: Decimation(1.0, (4, 1)), "shape: got extent X = 1"),
        (lambda: Decimation(1.0, (4, 4), "gauss"), "kernel: got 'gauss', expected one of"),
        (lambda: Decimation(1.0, (4, 4)).with_params({"w": np.zeros(1)}), "params: got keys"),
        (lambda: Decimation(1.0, (4, 4)).forward(np.zeros((1, 2, 4, 6))), r"x: got a lattice of shape \(4, 6\)"),
        (lambda: Decimation(1.0, (4, 4)).inverse(np.zeros((2, 4, 4))), "y: got shape"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
