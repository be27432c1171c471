"""Exact answers of mixtures of normal distributions against quadrature, and the sampler against the answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from refimpl.exact import gaussian, mixture

CASES = {
    "one dimension": ([0.3, 0.7], [[-1.0], [0.5]], [[[0.2]], [[1.5]]]),
    "two gaussians": ([0.5, 0.5], [[-2.0, 0.0], [2.0, 0.0]], [0.1 * np.eye(2)] * 2),
    "three in a plane": (
        [0.2, 0.5, 0.3],
        [[-1.0, 2.0], [0.0, -1.0], [1.5, 0.5]],
        [[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 2.0]], [[0.7, -0.5], [-0.5, 0.9]]],
    ),
    "one component": ([1.0], [[0.5, -1.0, 0.0]], [[[1.0, 0.4, 0.1], [0.4, 2.0, -0.5], [0.1, -0.5, 0.8]]]),
}
EXACT = 1e-12  # sums of a few hundred rounded terms of size 100 or less
P_VALUE = 1e-6  # of each comparison with samples; seeds are fixed
SIGMAS = 4.9  # the same, two-sided, of a mean
OVER_CASES = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def nodes(case, count=8):
    """Gauss-Hermite points ``(n, D)`` about every component and their weights: exact for degree ``2 count - 1``."""
    y, w = np.polynomial.hermite_e.hermegauss(count)
    dimension = len(case[1][0])
    grid = np.array(list(itertools.product(y, repeat=dimension)))
    product = np.array([math.prod(c) for c in itertools.product(w / w.sum(), repeat=dimension)])
    points, weights = [], []
    for share, mean, covariance in zip(*case, strict=True):
        values, axes = np.linalg.eigh(covariance)
        points.append(np.array(mean) + (grid * np.sqrt(values)) @ axes.T)
        weights.append(share * product)
    return np.concatenate(points), np.concatenate(weights)


@OVER_CASES
def test_moments_equal_quadrature(case):
    x, w = nodes(case)
    for order in (1, 2, 3, 4, 6):
        for coordinates in itertools.combinations_with_replacement(range(x.shape[1]), order):
            expected = w @ np.prod(x[:, list(coordinates)], axis=1)
            assert mixture.moment(coordinates, *case) == pytest.approx(expected, rel=EXACT, abs=EXACT)
    np.testing.assert_allclose(mixture.mean(*case), w @ x, rtol=0, atol=EXACT)
    apart = x - w @ x
    np.testing.assert_allclose(mixture.covariance(*case), (apart.T * w) @ apart, rtol=0, atol=EXACT)


def test_the_example_of_the_paper_by_hand():
    case = CASES["two gaussians"]
    np.testing.assert_allclose(mixture.covariance(*case), np.diag([4.1, 0.1]), rtol=1e-15)
    assert mixture.moment((0, 0, 0, 0), *case) == pytest.approx(16 + 6 * 4 * 0.1 + 3 * 0.01, rel=1e-15)
    average, variance = mixture.absolute_moments(0, *case)
    # A mode has 1.3e-10 on the wrong side: the rest is a normal distribution about 2.
    assert average == pytest.approx(2, abs=1e-9)
    assert variance == pytest.approx(0.1, abs=1e-8)
    assert mixture.absolute_moments(1, *case)[0] == pytest.approx(math.sqrt(0.2 / math.pi), rel=1e-15)
    assert mixture.cumulative(0.0, 0, *case) == pytest.approx(0.5, rel=1e-15)


@OVER_CASES
def test_absolute_moments_and_cumulative_are_integrals_of_the_marginal_density(case):
    for i in range(len(case[1][0])):
        marginal = (case[0], [[m[i]] for m in case[1]], [[[s[i][i]]] for s in case[2]])

        def integral(f, low, high, marginal=marginal):
            # Panels shorter than any standard deviation here, of 20 Gauss-Legendre nodes.
            y, w = np.polynomial.legendre.leggauss(20)
            edges = np.linspace(low, high, 101)
            x = (edges[:-1, None] + np.diff(edges)[:, None] * (y + 1) / 2).ravel()
            weights = (np.diff(edges)[:, None] * w / 2).ravel()
            return weights @ (f(x) * np.exp(mixture.log_density(x[:, None], *marginal)))

        def both_sides(f, integral=integral):
            return integral(f, -20.0, 0.0) + integral(f, 0.0, 20.0)  # beyond are 1e-50

        average, variance = mixture.absolute_moments(i, *case)
        assert average == pytest.approx(both_sides(np.abs), rel=EXACT)
        assert variance == pytest.approx(both_sides(lambda x, a=average: (np.abs(x) - a) ** 2), rel=EXACT)
        assert average**2 + variance == pytest.approx(mixture.moment((i, i), *case), rel=EXACT)
        for t in (-1.3, 0.0, 0.4):
            assert mixture.cumulative(t, i, *case) == pytest.approx(integral(np.ones_like, -20.0, t), rel=EXACT)


@OVER_CASES
def test_density_and_responsibilities_are_the_textbook_formulas(case):
    x, _ = nodes(case, 4)
    joint = np.array([share * np.exp(gaussian.log_density(x, s, m)) for share, m, s in zip(*case, strict=True)])
    np.testing.assert_allclose(np.exp(mixture.log_density(x, *case)), joint.sum(axis=0), rtol=EXACT)
    np.testing.assert_allclose(mixture.responsibilities(x, *case), (joint / joint.sum(axis=0)).T, rtol=EXACT)
    far = np.full((1, x.shape[1]), 1e3)
    assert np.isfinite(mixture.log_density(far, *case)).all()
    assert mixture.responsibilities(far, *case).sum() == pytest.approx(1, rel=EXACT)


def test_the_mean_responsibility_is_the_weight():
    case = CASES["one dimension"]
    for m in range(2):
        mean = integrate.quad(
            lambda x, m=m: float(
                mixture.responsibilities(np.array([[x]]), *case)[0, m]
                * np.exp(mixture.log_density(np.array([[x]]), *case)[0])
            ),
            -12,
            12,
            points=[-1, 0.5],
            epsabs=1e-13,
        )[0]
        assert mean == pytest.approx(case[0][m], rel=1e-11)


@OVER_CASES
def test_samples_have_the_exact_law(case):
    n = 20000
    x = mixture.sample(np.random.default_rng(2), n, *case)
    dimension = len(case[1][0])
    assert x.shape == (n, dimension)
    for i in range(dimension):
        assert stats.kstest(x[:, i], lambda t, i=i: mixture.cumulative(t, i, *case)).pvalue > P_VALUE
        average, variance = mixture.absolute_moments(i, *case)
        assert abs(np.abs(x[:, i]).mean() - average) < SIGMAS * math.sqrt(variance / n)
    for order in (1, 2, 3):
        for coordinates in itertools.combinations_with_replacement(range(dimension), order):
            exact = mixture.moment(coordinates, *case)
            variance = mixture.moment(coordinates * 2, *case) - exact**2
            assert abs(np.prod(x[:, list(coordinates)], axis=1).mean() - exact) < SIGMAS * math.sqrt(variance / n)
    shares = mixture.responsibilities(x, *case)
    error = shares.std(axis=0) / math.sqrt(n)
    assert np.all(np.abs(shares.mean(axis=0) - case[0]) <= SIGMAS * error + EXACT)


@pytest.mark.parametrize("name", ["two gaussians", "three in a plane"])
def test_samples_have_the_exact_joint_law(name):
    case, n, cells = CASES[name], 40000, 8
    x = mixture.sample(np.random.default_rng(3), n, *case)
    edges = np.linspace(-3.2, 3.2, cells + 1)
    y, w = np.polynomial.legendre.leggauss(12)
    fine = (edges[:-1, None] + np.diff(edges)[:, None] * (y + 1) / 2).ravel()
    weight = np.tile(w / 2 * 0.8, cells)
    grid = np.stack(np.meshgrid(fine, fine, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(mixture.log_density(grid, *case)).reshape(len(fine), -1) * np.outer(weight, weight)
    p = density.reshape(cells, 12, cells, 12).sum(axis=(1, 3))
    counts, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=[edges, edges])
    enough = n * p > 10
    observed = np.append(counts[enough], n - counts[enough].sum())
    expected = np.append(n * p[enough], n * (1 - p[enough].sum()))
    keep = expected > 5
    if keep[-1]:
        assert stats.chisquare(observed, expected).pvalue > P_VALUE
    else:  # nothing to speak of lies outside
        assert stats.binomtest(int(observed[-1]), n, expected[-1] / n).pvalue > P_VALUE
        scale = observed[keep].sum() / expected[keep].sum()
        assert stats.chisquare(observed[keep], expected[keep] * scale).pvalue > P_VALUE


@pytest.mark.parametrize(
    ("case", "match"),
    [
        (([0.5, 0.6], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), "weights: got .*sum 1"),
        (([1.5, -0.5], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), "weights: got .*positive"),
        (([math.nan, 0.5], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), "weights: got"),
        (([0.5, 0.5], [0.0, 1.0], [[[1.0]], [[1.0]]]), r"means: got shape \(2,\), expected \(2, D\)"),
        (([0.5, 0.5], [[0.0], [1.0]], [[1.0]]), r"covariances: got shape \(1, 1\), expected \(2, 1, 1\)"),
        (([0.5, 0.5], [[0.0], [1.0]], [[[1.0]], [[-1.0]]]), "component 1: covariance: got .*positive-definite"),
        (([0.5, 0.5], [[0.0], [math.inf]], [[[1.0]], [[1.0]]]), "component 1: mean: got"),
    ],
)
def test_bad_arguments_are_named(case, match):
    calls = [
        mixture.mean,
        mixture.covariance,
        lambda *c: mixture.moment((0,), *c),
        lambda *c: mixture.absolute_moments(0, *c),
        lambda *c: mixture.cumulative(0.0, 0, *c),
        lambda *c: mixture.log_density(np.zeros((1, 1)), *c),
        lambda *c: mixture.sample(np.random.default_rng(0), 1, *c),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=match):
            call(*case)


def test_a_bad_number_of_points_is_named():
    with pytest.raises(ValueError, match="n: got 0, expected an integer >= 1"):
        mixture.sample(np.random.default_rng(0), 0, *CASES["one dimension"])
