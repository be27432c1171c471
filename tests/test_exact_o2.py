"""Exact answers of the O(2) chain against transfer matrices, quadrature and U(1); its sampler against the answers."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scipy import stats

from refimpl.exact import o2, u1

BETAS = [0.0, 0.3, 1.0, 4.0, 20.0]
LENGTHS = [2, 3, 5, 8]
# A trapezoid over the circle is exact for these analytic functions; some hundred products of matrices of 96 angles.
EXACT = 1e-12
P_VALUE = 1e-6  # of each comparison with samples; seeds are fixed
SIGMAS = 4.9  # the same, two-sided, of a mean
ANGLES = 2 * np.pi * np.arange(96) / 96
BONDS = ANGLES[None, :] - ANGLES[:, None]

over_betas = pytest.mark.parametrize("beta", BETAS)
over_lengths = pytest.mark.parametrize("length", LENGTHS)


class TransferMatrix:
    """``T(x, x') = exp(-beta (1 - cos(x' - x)))`` on a fine grid of angles; traces of products are chains."""

    def __init__(self, beta, length):
        self.matrix, self.length = np.exp(-beta * (1 - np.cos(BONDS))) / len(ANGLES), length
        self.partition = np.trace(self.power(length))

    def power(self, n):
        return np.linalg.matrix_power(self.matrix, n)

    def mean(self, *functions):
        """The mean of the product of a function of each of the first bonds of the chain."""
        product = self.power(self.length - len(functions))
        for function in functions:
            product = product @ (self.matrix * function(BONDS))
        return np.trace(product) / self.partition

    def correlation(self, distance):
        return (self.power(distance) * np.cos(BONDS) * self.power(self.length - distance).T).sum() / self.partition


@over_betas
@over_lengths
def test_answers_equal_the_transfer_matrix(beta, length):
    chain = TransferMatrix(beta, length)
    assert o2.log_partition(beta, length) == pytest.approx(math.log(chain.partition), rel=EXACT, abs=EXACT)
    for r in range(length + 1):
        assert o2.correlation(beta, length, r) == pytest.approx(chain.correlation(r), rel=EXACT, abs=EXACT)
    total = sum(chain.correlation(r) for r in range(length))
    assert o2.susceptibility(beta, length) == pytest.approx(total, rel=EXACT)
    cos = o2.bond_cosine(beta, length)
    assert cos == pytest.approx(chain.mean(np.cos), rel=EXACT, abs=EXACT)

    def fluctuation(bonds):
        return np.cos(bonds) - cos

    single = chain.mean(lambda b: fluctuation(b) ** 2)
    pair = chain.mean(fluctuation, fluctuation)
    assert o2.single_bond_variance(beta, length) == pytest.approx(single, rel=1e-11, abs=EXACT)
    assert o2.bond_covariance(beta, length) == pytest.approx(pair, rel=1e-9, abs=EXACT)
    assert o2.bond_variance(beta, length) == pytest.approx((single + (length - 1) * pair) / length, rel=1e-11)
    sine = chain.mean(lambda b: np.sin(b) ** 2) + (length - 1) * chain.mean(np.sin, np.sin)
    assert o2.sine_winding_susceptibility(beta, length) == pytest.approx(sine / 4 / np.pi**2, rel=1e-10, abs=EXACT)


@over_betas
def test_two_and_three_sites_equal_direct_quadrature(beta):
    # One angle is at rest, by symmetry.
    two = np.exp(-2 * beta * (1 - np.cos(ANGLES)))
    assert o2.bond_cosine(beta, 2) == pytest.approx((two * np.cos(ANGLES)).sum() / two.sum(), rel=EXACT, abs=EXACT)
    x, y = ANGLES[:, None], ANGLES
    weight = np.exp(-beta * (3 - np.cos(x) - np.cos(y - x) - np.cos(y)))
    assert o2.log_partition(beta, 3) == pytest.approx(math.log(weight.mean()), rel=EXACT, abs=EXACT)
    mean = np.average((np.cos(x) + np.cos(y - x) + np.cos(y)) / 3, weights=weight)
    assert o2.correlation(beta, 3, 1) == pytest.approx(mean, rel=EXACT, abs=EXACT)
    square = np.average(((np.cos(x) + np.cos(y - x) + np.cos(y)) / 3 - mean) ** 2, weights=weight)
    assert o2.bond_variance(beta, 3) == pytest.approx(square, rel=1e-11)


@over_betas
@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (4, 4)])
def test_bonds_are_the_plaquettes_of_a_torus(beta, shape):
    length = shape[0] * shape[1]
    pairs = [
        (o2.log_partition, u1.log_partition),
        (o2.bond_cosine, u1.plaquette),
        (o2.single_bond_variance, u1.single_plaquette_variance),
        (o2.bond_covariance, u1.plaquette_covariance),
        (o2.bond_variance, u1.plaquette_variance),
        (o2.winding_susceptibility, u1.charge_susceptibility),
        (o2.sine_winding_susceptibility, u1.sine_charge_susceptibility),
    ]
    for mine, theirs in pairs:
        assert mine(beta, length) == pytest.approx(theirs(beta, shape), rel=EXACT, abs=0), theirs.__name__
    for r in range(length + 1):
        assert o2.correlation(beta, length, r) == u1.wilson_loop(beta, shape, r)


@over_betas
@pytest.mark.parametrize("length", [3, 8, 20])
def test_the_bond_cosine_and_its_variance_are_derivatives_of_the_partition_function(beta, length):
    h = 1e-3

    def slope(f):
        b = beta + 2 * h
        return (8 * (f(b + h, length) - f(b - h, length)) - (f(b + 2 * h, length) - f(b - 2 * h, length))) / (12 * h)

    # h^4/30 times fifth cumulants of N numbers of size 1, and rounding of log Z over h.
    tolerance = 1e-12 * length**5 / 30 + 1e-15 * (1 + beta * length) * 1.5 / h
    assert o2.bond_cosine(beta + 2 * h, length) == pytest.approx(1 + slope(o2.log_partition) / length, abs=tolerance)
    assert o2.bond_variance(beta + 2 * h, length) == pytest.approx(slope(o2.bond_cosine) / length, abs=tolerance)


def test_long_chains_decay_with_the_ratio_of_bessel_functions():
    from scipy.special import ive

    for r in (0, 1, 10, 40):
        assert o2.correlation(2.0, 200, r) == pytest.approx((ive(1, 2.0) / ive(0, 2.0)) ** r, rel=1e-12)


# --- winding ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("length", range(2, 12))
def test_winding_without_coupling_is_a_sum_of_uniform_numbers(length):
    def density(x):  # of the sum of N numbers uniform in [0, 1]
        terms = [(-1) ** k * math.comb(length, k) * (x - k) ** (length - 1) for k in range(length + 1) if k < x]
        return sum(terms, Fraction(0)) / math.factorial(length - 1)

    charges, p = o2.winding_distribution(0.0, length)
    values = [density(Fraction(length, 2) + int(q)) for q in charges]
    assert sum(values) == 1
    np.testing.assert_allclose(p, [float(value) for value in values], rtol=1e-14)
    square = sum(int(q) ** 2 * value for q, value in zip(charges, values, strict=True)) / length
    assert o2.winding_susceptibility(0.0, length) == pytest.approx(float(square), rel=1e-14)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0, 20.0])
def test_winding_of_three_sites_equals_quadrature(beta):
    y, w = np.polynomial.legendre.leggauss(80)
    b = np.pi * (y + 1) / 2
    c = np.pi - b[:, None] + b[:, None] * (y + 1) / 2  # b, c and 2 pi - b - c all in [0, pi]
    weight = np.pi / 2 * w[:, None] * b[:, None] / 2 * w
    integral = (weight * np.exp(beta * (np.cos(b)[:, None] + np.cos(c) + np.cos(b[:, None] + c) - 3))).sum()
    charges, p = o2.winding_distribution(beta, 3)
    np.testing.assert_array_equal(charges, [-1, 0, 1])
    expected = integral / (2 * np.pi) ** 2 / np.exp(o2.log_partition(beta, 3))
    np.testing.assert_allclose(p[[0, 2]], expected, rtol=EXACT)
    assert math.fsum(p) == pytest.approx(1, abs=1e-15)


@over_betas
@pytest.mark.parametrize("length", [2, 3, 4, 5, 7, 12, 33])
def test_winding_probabilities_are_a_symmetric_distribution(beta, length):
    charges, p = o2.winding_distribution(beta, length)
    np.testing.assert_array_equal(p, p[::-1])
    np.testing.assert_array_equal(charges, -charges[::-1])
    assert math.fsum(p) == pytest.approx(1, abs=1e-15 * len(p))
    assert np.abs(charges).max() < length / 2
    assert np.all(np.diff(p[charges >= 0]) < 0)


def test_answers_can_be_changed_without_changing_the_next():
    charges, p = o2.winding_distribution(1.0, 6)
    first = p.copy()
    p[...], charges[...] = 0, 0
    np.testing.assert_array_equal(o2.winding_distribution(1.0, 6)[1], first)


# --- the sampler -----------------------------------------------------------------------------------------------------
N_SAMPLES = 10000


@cache
def configurations(beta, length):
    x = o2.sample(np.random.default_rng(20), N_SAMPLES, beta, length)
    x.setflags(write=False)
    return x


def wrapped(x):
    return x - 2 * np.pi * np.rint(x / (2 * np.pi))


def assert_mean(values, exact):
    """The mean of independent values is within five standard errors, taken from the values themselves."""
    assert abs(values.mean() - exact) <= SIGMAS * values.std() / math.sqrt(len(values)) + EXACT


@over_betas
@over_lengths
def test_every_angle_is_uniform_in_the_half_open_interval(beta, length):
    x = configurations(beta, length)
    assert x.shape == (N_SAMPLES, length)
    assert x.min() >= -np.pi
    assert x.max() < np.pi
    for angle in x.T:
        assert stats.kstest(angle, "uniform", args=(-np.pi, 2 * np.pi), method="asymp").pvalue > P_VALUE


@over_betas
@over_lengths
def test_sampled_correlations_bonds_and_windings(beta, length):
    x = configurations(beta, length)
    for site in range(length):
        for r in range(1, length):
            assert_mean(np.cos(np.roll(x, -r, axis=1) - x)[:, site], o2.correlation(beta, length, r))
    bonds = wrapped(np.roll(x, -1, axis=1) - x)
    mean = np.cos(bonds).mean(axis=1)
    exact = o2.bond_cosine(beta, length)
    assert_mean(mean, exact)
    assert_mean((mean - exact) ** 2, o2.bond_variance(beta, length))
    assert_mean((np.cos(bonds[:, 0]) - exact) ** 2, o2.single_bond_variance(beta, length))
    assert_mean(np.abs(np.exp(1j * x).sum(axis=1)) ** 2 / length, o2.susceptibility(beta, length))
    # At beta = 20 only tails of the sine charge come from windings, p < 1e-9; its square is small and smooth.
    assert_mean((np.sin(bonds).sum(axis=1) / 2 / np.pi) ** 2 / length, o2.sine_winding_susceptibility(beta, length))
    winding = np.rint(bonds.sum(axis=1) / (2 * np.pi))
    charges, p = o2.winding_distribution(beta, length)
    common = N_SAMPLES * p >= 10
    observed = np.array([np.sum(winding == q) for q in charges[common]])
    rare = N_SAMPLES - observed.sum()
    # A sum over rare charges, not one minus the others, which may be negative.
    assert stats.binomtest(int(rare), N_SAMPLES, p[~common].sum()).pvalue > P_VALUE
    if common.sum() > 1:
        scale = observed.sum() / p[common].sum()
        assert stats.chisquare(observed, p[common] * scale).pvalue > P_VALUE


@over_betas
@over_lengths
def test_angles_reproduce_the_bonds_they_were_made_from(beta, length):
    drawn = u1.sample_plaquettes(np.random.default_rng(5), 100, beta, length)  # the first draws of `sample`
    x = o2.sample(np.random.default_rng(5), 100, beta, length)
    # N additions of numbers below N pi, each rounded to 1e-16 of itself.
    assert np.abs(wrapped(np.roll(x, -1, axis=1) - x - drawn)).max() < 1e-13


def test_the_orientation_does_not_depend_on_the_bonds():
    x = configurations(1.0, 5)
    bonds = np.roll(x, -1, axis=1) - x
    for weight in (np.cos(bonds[:, 0]), np.sin(bonds[:, 2]), np.ones(N_SAMPLES)):
        for phase in (x[:, 0], x[:, 3], 2 * x[:, 1], x[:, 0] + x[:, 2]):
            # n |mean|^2 is exponential with mean <weight^2>.
            bound = -math.log(P_VALUE) / N_SAMPLES * (weight**2).mean()
            assert abs((weight * np.exp(1j * phase)).mean()) ** 2 < bound


# --- bad input -------------------------------------------------------------------------------------------------------
ANSWERS = {
    "log_partition": o2.log_partition,
    "correlation": lambda beta, length: o2.correlation(beta, length, 0),
    "susceptibility": o2.susceptibility,
    "bond_cosine": o2.bond_cosine,
    "single_bond_variance": o2.single_bond_variance,
    "bond_covariance": o2.bond_covariance,
    "bond_variance": o2.bond_variance,
    "winding_distribution": o2.winding_distribution,
    "winding_susceptibility": o2.winding_susceptibility,
    "sine_winding_susceptibility": o2.sine_winding_susceptibility,
    "sample": lambda beta, length: o2.sample(np.random.default_rng(0), 1, beta, length),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_bad_arguments_are_named(answer):
    for beta in (-1.0, math.nan, math.inf, "1"):
        with pytest.raises(ValueError, match="beta: got"):
            answer(beta, 4)
    for length in (1, 0, -3, 2.5, None, True):
        with pytest.raises(ValueError, match="length: got"):
            answer(1.0, length)


def test_other_bad_arguments_are_named():
    for distance in (-1, 5, 0.5):
        with pytest.raises(ValueError, match=r"distance: got .* from 0 to the length 4"):
            o2.correlation(1.0, 4, distance)
    with pytest.raises(ValueError, match="n: got 0, expected an integer >= 1"):
        o2.sample(np.random.default_rng(0), 0, 1.0, 4)
    with pytest.raises(ValueError, match=r"beta: got 201\.0, expected a number from 0 to 200"):
        o2.winding_distribution(201.0, 4)
    with pytest.raises(ValueError, match="length: got 16385, expected an integer from 2 to 16384"):
        o2.winding_distribution(1.0, 16385)
