"""The deciding rules: false-alarm rates under the null, power at the stated sensitivity."""

import numpy as np
import pytest

from refimpl.validation.sequential import (
    RAISED,
    detectable_mean,
    detectable_moment,
    detectable_sign_excess,
    mean_zero_wealth,
    moment_wealth,
    multinomial_wealth,
    sequential_p_values,
    trusted_kurtosis,
)

ALPHA = 0.05


def rate_bound(n, p):
    """Largest count out of n that a true rate of at most p exceeds with probability below 1e-4 (four standard errors)."""
    return n * p + 4 * np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("kind", ["sign", "uniform", "skewed", "rare"])
def test_wealth_alarms_at_most_with_alpha_at_any_time(kind):
    rng = np.random.default_rng(1)
    draw = {
        "sign": lambda: rng.choice([-1.0, 1.0], 2000),
        "uniform": lambda: rng.uniform(-1, 1, 2000),
        "skewed": lambda: np.where(rng.random(2000) < 0.8, 0.25, -1.0),
        "rare": lambda: np.where(rng.random(2000) < 0.02, rng.choice([-1.0, 1.0], 2000), 0.0),
    }[kind]
    alarms = sum(mean_zero_wealth(draw(), ALPHA).alarm_at is not None for _ in range(600))
    assert alarms <= rate_bound(600, ALPHA)


def test_wealth_counts_the_samples_to_the_alarm_and_never_misses_a_gross_bias():
    y = np.full(10_000, 0.2)
    wealth = mean_zero_wealth(y, 1e-8)
    # the best bet gains log(1 + 0.6 * 0.2) a value and must pay for 1e-8 and the mixture of eight
    assert wealth.alarm_at == int(np.ceil(np.log(8e8) / np.log(1.12)))
    assert mean_zero_wealth(-y, 1e-8).alarm_at == pytest.approx(np.log(8e8) / np.log(1.12), abs=2)


@pytest.mark.parametrize("scale", [0.1, 0.4, 1.0])
def test_stated_sensitivity_is_reached(scale):
    # found with probability 0.999; 300 trials see at least 296 (Poisson of mean 0.3 exceeds 4 with probability 2e-5)
    rng, alpha, n = np.random.default_rng(2), 1e-6, 3000
    shift = detectable_mean(scale * rng.uniform(-1, 1, n), alpha)
    found = 0
    for _ in range(300):
        y = np.clip(scale * rng.uniform(-1, 1, n) + shift, -1, 1)
        found += mean_zero_wealth(y, alpha).alarm_at is not None
    assert shift < 1
    assert found >= 296


def test_sensitivity_of_nothing_is_one():
    assert detectable_mean(np.zeros(3), 1e-6) == 1.0


def test_values_outside_the_bound_are_refused():
    with pytest.raises(ValueError, match="y: got values outside"):
        mean_zero_wealth(np.array([1.5]), 0.1)


def test_multinomial_wealth_is_calibrated_and_sees_a_shift():
    rng, p = np.random.default_rng(3), np.array([0.02, 0.2, 0.56, 0.2, 0.02])
    alarms = sum(multinomial_wealth(rng.choice(5, 800, p=p), p, ALPHA).alarm_at is not None for _ in range(500))
    assert alarms <= rate_bound(500, ALPHA)
    assert multinomial_wealth(rng.choice(5, 5000, p=[0.03, 0.23, 0.48, 0.23, 0.03]), p, 1e-8).alarm_at is not None


def test_sequential_p_values_alarm_at_most_with_alpha():
    rng = np.random.default_rng(4)
    alarms = sum(sequential_p_values(lambda n: (float(rng.random(3).min()), 3), 0.2, 10).alarm for _ in range(3000))
    assert alarms <= rate_bound(3000, 0.2)
    assert alarms > 0


def test_sequential_p_values_draws_more_when_in_doubt_and_decides():
    sizes = []

    def doubtful(n):
        sizes.append(n)
        return (1e-3, 1) if len(sizes) < 3 else (1e-12, 1)

    decision = sequential_p_values(doubtful, 1e-6, 100)
    assert decision.alarm
    assert sizes == [100, 400, 400]
    assert decision.samples == 900


def test_stated_sign_excess_is_found():
    rng, alpha, n = np.random.default_rng(5), 1e-6, 2000
    from refimpl.statistics import sign_test

    excess = detectable_sign_excess(n, alpha)
    heads = rng.binomial(n, (1 + excess) / 2, 300)
    found = sum(sign_test(np.repeat([1, -1], [h, n - h])) <= alpha for h in heads)
    assert found >= 296  # as above


# --- means of values without a bound ---------------------------------------------------------------------------------
HEAVY = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "square of a normal": lambda rng, n: rng.standard_normal(n) ** 2 - 1,
    "less the square": lambda rng, n: 1 - rng.standard_normal(n) ** 2,
    "lognormal": lambda rng, n: np.exp(rng.standard_normal(n)) - np.exp(0.5),
    "less the lognormal": lambda rng, n: np.exp(0.5) - np.exp(rng.standard_normal(n)),
}


@pytest.mark.parametrize("law", HEAVY)
def test_bets_on_a_second_moment_alarm_at_most_with_alpha_however_heavy_the_tails(law):
    rng = np.random.default_rng(3)
    moment = {"normal": 1.0, "lognormal": np.e**2 - np.e, "less the lognormal": np.e**2 - np.e}.get(law, 2.0)
    alarms = sum(moment_wealth(HEAVY[law](rng, 1000), moment, ALPHA).alarm_at is not None for _ in range(300))
    assert alarms <= rate_bound(300, ALPHA)
    # Means below zero are the null too, where only too large a mean is bet against.
    below = sum(
        moment_wealth(HEAVY[law](rng, 1000) - 0.5, moment + 0.25, ALPHA, above=True).alarm_at is not None
        for _ in range(50)
    )
    assert below == 0


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("law", ["normal", "square of a normal"])
def test_the_stated_sensitivity_of_a_second_moment_is_reached(law, above):
    # as above: at least 296 of 300, less the scatter of the statement itself, which is made from one sample
    rng, alpha, n = np.random.default_rng(4), 1e-6, 3000
    y = HEAVY[law](rng, n)
    bound = RAISED * float(np.mean(y * y))
    shift = detectable_moment(y, bound, alpha, above=above)
    found = sum(
        moment_wealth(HEAVY[law](rng, n) + shift, bound, alpha, above=above).alarm_at is not None for _ in range(100)
    )
    assert shift < np.sqrt(bound)
    assert found >= 97


def test_a_second_moment_is_a_bound_up_to_the_trusted_kurtosis():
    from scipy.stats import binom

    for n in (500, 4000, 100_000):
        for alpha in (1e-3, 1e-8):
            # Y^2 = 1 with probability p has kurtosis 1/p, and is the worst there is up to a factor.
            p = 1 / trusted_kurtosis(n, alpha)
            failing = binom.cdf(np.floor(n * p / RAISED), n, p) if p < 1 else 0.0
            assert failing <= alpha
            assert p >= 1 or failing > alpha**3  # not wasteful beyond that
