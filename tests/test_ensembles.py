"""Configurations of phi^4 by Fourier-accelerated HMC: their moments, their seeds."""

import numpy as np
import pytest

from refimpl import ensembles, exact
from refimpl.actions import Phi4
from refimpl.observables import FieldMoment
from refimpl.statistics import integrated_autocorrelation_time, mean

SHAPE = (10, 2)


def test_fields_have_the_exact_moments_and_are_independent():
    x = ensembles.phi4_fields(Phi4(0.1, 24.0), SHAPE, 4000, 1)
    assert x.shape == (4000, *SHAPE)
    answers = exact.phi4.answers(0.1, 24.0, SHAPE)
    for power, value in ((2, answers.phi_squared), (4, answers.phi_fourth)):
        found = mean(FieldMoment(power)(x))
        assert abs(found.value - value) < 5 * found.error  # p = 6e-7, for one fixed seed
    tau = integrated_autocorrelation_time(FieldMoment(2)(x).reshape(-1, ensembles.CHAINS))
    assert tau.tau < 0.5 + 4 * tau.error


def test_the_seed_decides_and_few_are_the_first_of_many():
    action, ticks = Phi4(0.1, 24.0), []
    x = ensembles.phi4_fields(action, (4, 3), 150, 5, ticks.append)
    np.testing.assert_array_equal(x, ensembles.phi4_fields(action, (4, 3), 150, 5))
    np.testing.assert_array_equal(x[:120], ensembles.phi4_fields(action, (4, 3), 120, np.random.SeedSequence(5)))
    assert ticks == [100, 150]
    assert not np.array_equal(x, ensembles.phi4_fields(action, (4, 3), 150, 6))


def test_free_fields_are_exact_samples():
    x = ensembles.phi4_fields(Phi4(0.5, 0.0), (6, 5), 2000, 3)
    found = mean(FieldMoment(2)(x))
    assert abs(found.value - exact.free_scalar.second_moment(0.5, (6, 5))) < 5 * found.error


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n: got 0"):
        ensembles.phi4_fields(Phi4(0.1, 1.0), (4, 4), 0, 1)
    for seed in (None, 1.5, "a", -1):
        with pytest.raises(ValueError, match=f"seed: got {seed!r}, expected an integer of at least 0"):
            ensembles.phi4_fields(Phi4(0.1, 1.0), (4, 4), 10, seed)
    with pytest.raises(ValueError, match="shape"):
        ensembles.phi4_fields(Phi4(0.1, 1.0), (4,), 10, 1)
