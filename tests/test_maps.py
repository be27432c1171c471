"""Integrators as coefficient lists and as maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import WilsonU1
from refimpl.exact import u1
from refimpl.maps import INTEGRATORS, LEAPFROG, OMELYAN, Integrator, MolecularDynamics


def phase_point(seed, n=4, shape=(3, 4), beta=3.0):
    rng = np.random.default_rng(seed)
    x = u1.sample(rng, n, beta, shape)
    return x, rng.standard_normal(x.shape)


def rms_energy_error(integrator, step_size, n_steps):
    action, (x, v) = WilsonU1(3.0), phase_point(0, 64)
    (y, w), _ = MolecularDynamics(action, step_size, n_steps, integrator).forward((x, v))
    error = action.action(y) - action.action(x) + 0.5 * (w**2 - v**2).sum(axis=(1, 2, 3))
    return np.sqrt(np.mean(error**2))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(INTEGRATORS)), n_steps=st.integers(1, 8))
def test_inverse_undoes_forward_both_ways(seed, name, n_steps):
    dynamics = MolecularDynamics(WilsonU1(3.0), 0.2, n_steps, INTEGRATORS[name])
    z = phase_point(seed)
    for there, back in ((dynamics.forward, dynamics.inverse), (dynamics.inverse, dynamics.forward)):
        y, logdet = there(z)
        x, logdet_back = back(y)
        # 8 steps, each rounding links of size 10 to 1e-15; the trajectory amplifies by less than 50
        assert np.max(np.abs(np.sin(x[0] - z[0]))) < 1e-12
        assert np.max(np.abs(x[1] - z[1])) < 1e-12
        assert np.all(logdet == 0)
        assert np.all(logdet_back == 0)
        assert logdet.shape == (4,)


@pytest.mark.parametrize("integrator", [LEAPFROG, OMELYAN])
def test_energy_error_is_second_order(integrator):
    # the next term of the expansion is of relative size (eps omega)^2 = 0.05^2 * 24: below 6 per cent
    ratio = rms_energy_error(integrator, 0.1, 10) / rms_energy_error(integrator, 0.05, 20)
    assert abs(ratio / 4 - 1) < 0.06


def test_omelyan_has_the_smaller_error_at_equal_cost():
    # two forces a step: compare with leapfrog at half the step. The minimum-norm scheme wins by about 10 in the norm.
    assert rms_energy_error(OMELYAN, 0.1, 10) < 0.5 * rms_energy_error(LEAPFROG, 0.05, 20)


def test_steps_compose():
    action, z = WilsonU1(3.0), phase_point(1)
    five, one = MolecularDynamics(action, 0.1, 5), MolecularDynamics(action, 0.1, 1)
    y, _ = five.forward(z)
    for _ in range(5):
        z, _ = one.forward(z)
    assert np.max(np.abs(np.sin(y[0] - z[0]))) < 1e-13  # rounding of five steps
    assert np.max(np.abs(y[1] - z[1])) < 1e-13


def test_inputs_are_not_modified_and_links_come_back_wrapped():
    z = phase_point(2)
    copies = z[0].copy(), z[1].copy()
    (x, _), _ = MolecularDynamics(WilsonU1(3.0), 0.5, 10).forward(z)
    assert np.array_equal(z[0], copies[0])
    assert np.array_equal(z[1], copies[1])
    assert np.all((x >= -np.pi) & (x < np.pi))


@pytest.mark.parametrize(
    "coefficients", [(1.0,), (0.5, 1.0), (0.4, 1.0, 0.6), (0.5, 0.9, 0.5), (0.5, 0.5, 0.1, 0.5, 0.5)]
)
def test_bad_coefficients_are_refused(coefficients):
    with pytest.raises(ValueError, match="coefficients"):
        Integrator("bad", coefficients)
