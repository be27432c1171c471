"""Exact answers of the normal distribution against quadrature, and its sampler against the answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from refimpl.exact import gaussian

CASES = {
    1: ([[0.7]], [0.4]),
    2: ([[2.0, -0.6], [-0.6, 0.5]], [1.0, -0.3]),
    3: ([[1.0, 0.4, 0.1], [0.4, 2.0, -0.5], [0.1, -0.5, 0.8]], [0.0, 2.0, -1.0]),
}
EXACT = 1e-12  # sums of a few hundred rounded terms of size 100 or less
P_VALUE = 1e-6  # of each comparison with samples; seeds are fixed
SIGMAS = 4.9  # the same, two-sided, of a mean
OVER_DIMENSIONS = pytest.mark.parametrize("dimension", CASES)


def nodes(covariance, mean, count=8):
    """Gauss-Hermite points ``(n, D)`` and weights: exact for polynomials of degree ``2 count - 1``."""
    y, w = np.polynomial.hermite_e.hermegauss(count)
    dimension = len(covariance)
    grid = np.array(list(itertools.product(y, repeat=dimension)))
    weights = np.array([math.prod(c) for c in itertools.product(w / w.sum(), repeat=dimension)])
    values, axes = np.linalg.eigh(covariance)  # any root of the covariance will do; the package takes another
    return np.array(mean) + (grid * np.sqrt(values)) @ axes.T, weights


@OVER_DIMENSIONS
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 6])
def test_every_moment_equals_quadrature(dimension, order):
    covariance, mean = CASES[dimension]
    x, w = nodes(covariance, mean)
    for coordinates in itertools.combinations_with_replacement(range(dimension), order):
        expected = w @ np.prod(x[:, list(coordinates)], axis=1)
        assert gaussian.moment(coordinates, covariance, mean) == pytest.approx(expected, rel=EXACT, abs=EXACT)


def test_moments_of_the_standard_normal_are_double_factorials():
    assert [gaussian.moment([0] * n, [[1.0]]) for n in range(9)] == [1, 0, 1, 0, 3, 0, 15, 0, 105]


@OVER_DIMENSIONS
def test_moments_do_not_depend_on_the_order_of_the_coordinates(dimension):
    covariance, mean = CASES[dimension]
    coordinates = [0, dimension - 1, dimension // 2, 0]
    first = gaussian.moment(coordinates, covariance, mean)
    for other in itertools.permutations(coordinates):
        assert gaussian.moment(other, covariance, mean) == pytest.approx(first, rel=EXACT)


@OVER_DIMENSIONS
def test_action_moments_equal_quadrature(dimension):
    covariance, mean = CASES[dimension]
    x, w = nodes(covariance, mean)
    action = 0.5 * np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(covariance), x - mean)
    average, variance = gaussian.action_moments(covariance, mean)
    assert average == pytest.approx(w @ action, rel=EXACT)
    assert variance == pytest.approx(w @ (action - average) ** 2, rel=EXACT)


@pytest.mark.parametrize("mean", [0.0, 0.1, -0.5, 2.0, -7.0])
@pytest.mark.parametrize("variance", [0.1, 1.0, 9.0])
def test_absolute_moments_and_cumulative_equal_quadrature(mean, variance):
    std = math.sqrt(variance)

    def integral(f, low, high):
        def density(x):
            return f(x) * math.exp(-((x - mean) ** 2) / 2 / variance) / math.sqrt(2 * math.pi * variance)

        cuts = [max(min(c, high), low) for c in (low, mean - std, mean + std, high)]
        return sum(integrate.quad(density, a, b, epsabs=1e-15, epsrel=1e-13)[0] for a, b in itertools.pairwise(cuts))

    low, high = mean - 12 * std, mean + 12 * std  # beyond are 1e-32
    middle = min(max(0.0, low), high)
    first = integral(lambda x: -x, low, middle) + integral(lambda x: x, middle, high)
    average, spread = gaussian.absolute_moments(0, [[variance]], [mean])
    assert average == pytest.approx(first, rel=EXACT)
    second = integral(lambda x: (-x - first) ** 2, low, middle) + integral(lambda x: (x - first) ** 2, middle, high)
    assert spread == pytest.approx(second, rel=EXACT)
    for t in (mean - 2 * std, mean, mean + 0.3 * std):
        expected = integral(lambda x: 1.0, low, t)
        assert gaussian.cumulative(t, 0, [[variance]], [mean]) == pytest.approx(expected, rel=EXACT)


def test_absolute_moments_by_hand():
    assert gaussian.absolute_moments(1, [[9.0, 1.0], [1.0, 4.0]])[0] == pytest.approx(2 * math.sqrt(2 / math.pi))
    assert gaussian.absolute_moments(0, [[1e-6]], [1e3]) == pytest.approx((1e3, 1e-6), rel=1e-15)  # does not cancel


@OVER_DIMENSIONS
def test_the_density_is_the_textbook_formula(dimension):
    covariance, mean = CASES[dimension]
    x, _ = nodes(covariance, mean, 4)
    squares = np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(covariance), x - mean)
    density = np.exp(-squares / 2) / math.sqrt(np.linalg.det(2 * np.pi * np.array(covariance)))
    np.testing.assert_allclose(np.exp(gaussian.log_density(x, covariance, mean)), density, rtol=EXACT)


@OVER_DIMENSIONS
def test_samples_have_the_exact_law(dimension):
    covariance, mean = CASES[dimension]
    n = 20000
    x = gaussian.sample(np.random.default_rng(1), n, covariance, mean)
    assert x.shape == (n, dimension)
    for i in range(dimension):
        assert stats.kstest(x[:, i], lambda t, i=i: gaussian.cumulative(t, i, covariance, mean)).pvalue > P_VALUE
    squares = np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(covariance), x - mean)
    assert stats.kstest(squares, "chi2", args=(dimension,)).pvalue > P_VALUE
    for order in (1, 2, 3):
        for coordinates in itertools.combinations_with_replacement(range(dimension), order):
            values = np.prod(x[:, list(coordinates)], axis=1)
            exact = gaussian.moment(coordinates, covariance, mean)
            variance = gaussian.moment(coordinates * 2, covariance, mean) - exact**2
            assert abs(values.mean() - exact) < SIGMAS * math.sqrt(variance / n), coordinates


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gaussian.moment([0], [[1.0, 0.5], [0.4, 1.0]]), "covariance: got .*symmetric"),
        (lambda: gaussian.moment([0], [[1.0, 2.0], [2.0, 1.0]]), "covariance: got .*positive-definite"),
        (lambda: gaussian.moment([0], [1.0]), r"covariance: got shape \(1,\)"),
        (lambda: gaussian.moment([0], [[math.nan]]), "covariance: got .*finite"),
        (lambda: gaussian.moment([0], [[1.0]], [0.0, 0.0]), "mean: got .*expected 1 finite"),
        (lambda: gaussian.moment([0], [[1.0]], [math.inf]), "mean: got .*finite"),
        (lambda: gaussian.moment([0, 1], [[1.0]]), "coordinate: got 1, expected an integer from 0 to 0"),
        (lambda: gaussian.absolute_moments(-1, [[1.0]]), "coordinate: got -1"),
        (lambda: gaussian.cumulative(0.0, 1, [[1.0]]), "coordinate: got 1"),
        (lambda: gaussian.sample(np.random.default_rng(0), 0, [[1.0]]), "n: got 0, expected an integer >= 1"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
