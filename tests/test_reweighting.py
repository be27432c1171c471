"""Weights of draws from another density: closed forms of a normal pair, coverage of errors, shapes of tails, bad input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.estimators.reweighting import (
    largest_share,
    log_partition,
    pareto_shape,
    pooled_ess,
    relative_ess,
    reweighted_mean,
)
from refimpl.statistics import jackknife

SIGMAS = 5  # two-sided probability 6e-7 of each comparison; seeds are fixed

weights = st.lists(st.floats(-40, 40), min_size=2, max_size=40).map(np.array)


def normal_pair(rng, n, mean=0.6):
    """Draws of N(0, 1) and log weights to ``exp(-(x - mean)^2/2 + 3)``: ``log Z = log sqrt(2 pi) + 3``, ``1/ESS = exp(mean^2)``."""
    x = rng.standard_normal(n)
    return x, 3 - (x - mean) ** 2 / 2 + x**2 / 2 + math.log(2 * math.pi) / 2


# --- as written ----------------------------------------------------------------------------------------------------------
@given(weights, st.floats(-1e4, 1e4))
def test_formulas_as_written(log_w, constant):
    w = np.exp(log_w)
    n = len(w)
    # A constant of 1e4 leaves 1e-12 of a logarithm, and a few rounding errors of w the rest.
    assert relative_ess(log_w + constant) == pytest.approx(w.sum() ** 2 / (n * np.sum(w**2)), rel=1e-11)
    assert largest_share(log_w + constant) == pytest.approx(w.max() / w.sum(), rel=1e-11)
    value, error = log_partition(log_w + constant)
    assert value == pytest.approx(math.log(w.mean()) + constant, abs=1e-11)
    assert error == pytest.approx(math.sqrt((1 / relative_ess(log_w) - 1) / (n - 1)), rel=1e-9, abs=1e-7)


@given(weights, st.integers(0, 2**32 - 1))
def test_means_are_ratios_with_jackknife_errors(log_w, seed):
    f = 5 + np.random.default_rng(seed).normal(size=(len(log_w), 2))
    log_w = log_w / 10  # no draw with nearly all of the weight: its jackknife would keep no digits
    value, error = reweighted_mean(log_w - 700, f)
    for i in (0, 1):
        rows = np.stack([np.exp(log_w) * f[:, i], np.exp(log_w)], axis=1)
        expected = jackknife(rows, lambda mean: mean[0] / mean[1], bins=len(log_w))
        assert value[i] == pytest.approx(expected[0], rel=1e-12)
        assert error[i] == pytest.approx(expected[1], rel=1e-6, abs=1e-7)  # theirs cancels
    one = reweighted_mean(log_w, f[:, 0])
    assert one.value == pytest.approx(value[0], rel=1e-12)
    assert one.error == pytest.approx(error[0], rel=1e-9)


@given(weights, st.integers(1, 5))
def test_chunks_are_pooled(log_w, pieces):
    assert pooled_ess(iter(np.array_split(log_w, min(pieces, len(log_w))))) == pytest.approx(
        relative_ess(log_w), rel=1e-12
    )


def test_the_pool_knows_what_its_chunks_do_not():
    chunks = [np.zeros(10)] * 9 + [np.append(np.zeros(9), math.log(20))]
    assert pooled_ess(chunks) == pytest.approx(119**2 / (100 * (99 + 400)), rel=1e-13)
    assert np.mean([relative_ess(chunk) for chunk in chunks]) > 0.9


def test_equal_weights_are_plain_averages():
    f = np.random.default_rng(1).normal(3.0, 1.0, 50)
    assert relative_ess(np.full(50, -800.0)) == 1.0
    assert largest_share(np.full(50, 800.0)) == pytest.approx(1 / 50, rel=1e-14)
    assert log_partition(np.full(50, 800.0)) == (800.0, 0.0)
    value, error = reweighted_mean(np.full(50, 1e4), f)
    assert value == pytest.approx(f.mean(), rel=1e-14)
    assert error == pytest.approx(f.std(ddof=1) / math.sqrt(50), rel=1e-12)


def test_draws_without_weight():
    log_w = np.array([0.0, -np.inf, 0.0, -np.inf])
    assert relative_ess(log_w) == 0.5
    assert pooled_ess([log_w[1:2], log_w]) == pytest.approx(0.4, rel=1e-14)
    assert log_partition(log_w)[0] == math.log(0.5)
    assert reweighted_mean(log_w, np.array([1.0, 9e9, 3.0, -4e9])).value == 2.0
    assert reweighted_mean(np.array([-np.inf, 3.0]), [[5.0], [7.0]]) == ([7.0], [np.inf])


# --- closed forms and coverage --------------------------------------------------------------------------------------------
def test_closed_forms_of_a_normal_pair():
    x, log_w = normal_pair(np.random.default_rng(2), 200_000)
    n, chi2 = len(x), math.exp(0.36) - 1
    # Var of w^2/<w^2> is exp(4 * 0.36) exp(...) of order 10: the ESS is good to some 5 sqrt(10/n).
    assert relative_ess(log_w) == pytest.approx(math.exp(-0.36), abs=0.03)
    value, error = log_partition(log_w)
    assert error == pytest.approx(math.sqrt(chi2 / n), rel=0.05)
    assert abs(value - 3 - math.log(2 * math.pi) / 2) < SIGMAS * error
    mean, spread = reweighted_mean(log_w, np.stack([x, x**2], axis=1))
    assert np.all(np.abs(mean - [0.6, 1.36]) < SIGMAS * spread)
    # The delta method: <w^2 (x - mean)^2>/<w>^2 = exp(mean^2) (1 + mean^2), under N(2 mean, 1).
    assert spread[0] == pytest.approx(math.sqrt(math.exp(0.36) * 1.36 / n), rel=0.05)


def test_errors_cover():
    rng, repeats = np.random.default_rng(3), 2000
    inside = np.zeros(3)
    for _ in range(repeats):
        x, log_w = normal_pair(rng, 400)
        mean, error = reweighted_mean(log_w, np.stack([x, x > 0.5], axis=1))
        log_z, log_z_error = log_partition(log_w)
        pulls = [*((mean - [0.6, 0.5398278]) / error), (log_z - 3 - math.log(2 * math.pi) / 2) / log_z_error]
        inside += np.abs(pulls) < 1.96
    # Of bounded or nearly bounded terms; 95 % but for the skewness of weights at n = 400 (1 % seen), binomial error 0.5 %.
    assert np.all(np.abs(inside / repeats - 0.95) < 0.03)


# --- tails ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [0.3, 0.5, 1.0])
def test_shape_of_a_pareto_tail(k):
    u = np.random.default_rng(4).random(20_000)
    shapes = pareto_shape(
        -k * np.log(u) - 50
    )  # w = u^-k: a Pareto law, whose excesses are generalized Pareto of shape k
    # The 425 largest: error (1 + k)/sqrt(425) = 0.06 to 0.1, and the prior's pull of 10 in 435.
    assert shapes == pytest.approx(k, abs=0.25)


def test_shape_is_the_likeliest_one_drawn_to_a_half():
    from scipy.stats import genpareto

    log_w = np.random.default_rng(7).normal(0, 1.5, 1000)
    w = np.sort(np.exp(log_w))
    likeliest = genpareto.fit(w[-95:] - w[-96], floc=0)[0]  # the 3 sqrt(1000) largest
    # The posterior mean is the likeliest value but for terms of order 1/95, 0.03 here; the statistical error is 0.13.
    assert pareto_shape(log_w) == pytest.approx((95 * likeliest + 5) / 105, abs=0.05)


def test_light_tails_have_no_shape():
    rng = np.random.default_rng(5)
    assert pareto_shape(np.log(rng.random(2000))) < -0.5  # a tail that ends has -1, less the prior's 10 in 145
    assert pareto_shape(np.log(rng.exponential(size=20_000))) == pytest.approx(0, abs=0.2)
    assert pareto_shape(np.zeros(100)) == -math.inf


@pytest.mark.parametrize("scale", [30.0, 300.0, 3000.0, 1e6])
def test_few_draws_with_all_of_the_weight_are_the_heaviest_of_tails(scale):
    log_w = scale * np.random.default_rng(8).standard_normal(4096)
    # Spacings of the largest are some scale/10: above 1000 no five of 192 are above 1e-200 of the largest.
    assert pareto_shape(log_w) == math.inf if scale >= 3000 else pareto_shape(log_w) > 2
    assert pareto_shape(np.append(np.zeros(4000), [900.0] * 4)) == math.inf


@pytest.mark.parametrize(
    "estimate", [relative_ess, log_partition, largest_share, lambda w: reweighted_mean(w, np.zeros(len(w)))]
)
@pytest.mark.parametrize(
    ("log_w", "message"),
    [
        (np.array([1.0, np.nan, np.nan]), "log_weights: got 2 NaN among 3"),
        (np.full(3, -np.inf), "log_weights: got 3 of -inf, expected one with weight"),
        (np.array([1.0, np.inf]), "log_weights: got inf"),
        (np.zeros(1), "log_weights: got .*1.*, expected"),
        (np.zeros((3, 2)), r"log_weights: got shape \(3, 2\), expected \(n,\)"),
    ],
)  # fmt: skip
def test_bad_weights_are_named(estimate, log_w, message):
    with pytest.raises(ValueError, match=message):
        estimate(log_w)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: reweighted_mean(np.zeros(3), np.zeros(4)), r"values: got shape \(4,\), expected \(3, ...\)"),
        (lambda: reweighted_mean(np.zeros(3), [1, 2, np.nan]), "values: got NaN"),
        (lambda: pareto_shape(np.zeros(20)), "log_weights: got 20, expected at least 21"),
        (lambda: pooled_ess([]), "log_weights: got 0 in all"),
        (lambda: relative_ess(np.zeros(3, complex)), "log_weights: got complex128 numbers, expected real ones"),
        (lambda: reweighted_mean(np.zeros(3), np.zeros(3, complex)), "values: got complex128 numbers"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
