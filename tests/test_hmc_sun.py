"""HMC of SU(N) links: reversible, second order, unitary, the same bits in any batch and any run, and exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl import chains
from refimpl.actions import WilsonSUN, sun_action_definition, sun_force_definition
from refimpl.exact import sun
from refimpl.groups import SUN
from refimpl.kernels import HMC, spawn_rngs
from refimpl.lattice import chain_last
from refimpl.maps import LEAPFROG, OMELYAN, Integrator, MolecularDynamics
from refimpl.observables import mean_plaquette
from refimpl.tuning import crossing_step_size

from .links import sun_fields

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
U = 2.0**-53


def hot(n, n_chains, shape=(4, 3), seed=1):
    return SUN(n).haar(np.random.default_rng(seed), (n_chains, 2, *shape))


@QUICK
@given(st.sampled_from([2, 3, 4]), st.sampled_from([LEAPFROG, OMELYAN]), st.integers(0, 10**6), st.data())
def test_a_trajectory_is_reversible_and_stays_in_the_group(n, integrator, seed, data):
    x = data.draw(sun_fields(n))
    v = np.random.default_rng(seed).standard_normal((*x.shape[:4], n * n - 1))
    md = MolecularDynamics(WilsonSUN(3.0, n), 0.1, 10, integrator)
    (y, w), logdet = md.forward((x, v))
    (x_back, v_back), _ = md.inverse((y, w))
    assert np.abs(x_back - x).max() < 1e-12
    assert np.abs(v_back - v).max() < 1e-12
    assert not logdet.any()
    # One Newton-Schulz step leaves the rounding of its own two products.
    assert np.abs(y.conj().swapaxes(-2, -1) @ y - np.eye(n)).max() < 20 * n * U
    assert np.abs(np.linalg.det(y) - 1).max() < 40 * n * U


UNEVEN = Integrator("drifts of two lengths", (0.2, 0.3, 0.3, 0.4, 0.3, 0.3, 0.2))


@pytest.mark.parametrize("integrator", [LEAPFROG, OMELYAN, UNEVEN])
@pytest.mark.parametrize("n", [2, 3])
def test_fast_step_is_the_readable_hmc(n, integrator):
    beta, step_size, n_steps, group = 4.0, 0.1, 6, SUN(n)
    x = hot(n, 8)
    kernel = HMC(WilsonSUN(beta, n), step_size, n_steps, integrator)
    state = kernel.init(x)
    v, u = kernel.noise(spawn_rngs(5, 8), state.force.shape)
    assert v.shape == (8, 2, 4, 3, n * n - 1)
    proposal, momenta, info = kernel.propose(state, v, u)
    y, w = x.copy(), v.copy()
    for _ in range(n_steps):
        for k, c in enumerate(integrator.coefficients):
            if k % 2 == 0:
                w = w - c * step_size * sun_force_definition(y, beta)
            else:
                y = group.exp_definition(c * step_size * w) @ y
    kinetic = 0.5 * (w**2 - v**2).sum(axis=(1, 2, 3, 4))
    delta_h = sun_action_definition(y, beta) - sun_action_definition(x, beta) + kinetic
    # Some 20 operations on numbers of size 10, grown by the instability of the trajectory (below 10).
    assert np.abs(proposal.x - y).max() < 1e-12
    assert np.abs(momenta - w).max() < 1e-12
    assert np.abs(info.delta_h - delta_h).max() < 1e-11
    assert np.array_equal(info.accepted, u < np.exp(-delta_h))


@pytest.mark.parametrize("n", [2, 3])
def test_the_energy_error_is_of_second_order(n):
    x = hot(n, 16)
    v = np.random.default_rng(2).standard_normal((16, 2, 4, 3, n * n - 1))
    errors = []
    for n_steps in (16, 32, 64):
        kernel = HMC(WilsonSUN(3.0, n), 0.5 / n_steps, n_steps)
        errors.append(kernel.propose(kernel.init(x), v, np.full(16, 0.5))[2].delta_h)
    # Halving the step divides the error by 4, up to the next order, eps^2 relative (1e-3 with factors below 30).
    assert np.abs(errors[0] - 4 * errors[1]).max() < 0.03 * np.abs(errors[0]).max()
    assert np.abs(errors[1] - 4 * errors[2]).max() < 0.01 * np.abs(errors[1]).max()


def test_unitarity_stays_at_rounding_over_many_trajectories():
    kernel, rngs = HMC(WilsonSUN(6.0, 3), 0.1, 10), spawn_rngs(3, 4)
    state = kernel.init(hot(3, 4))
    for _ in range(60):
        state, _ = kernel.step(rngs, state)
    # As after one step of Newton-Schulz; without projection 600 products add up to more.
    assert np.abs(state.x.conj().swapaxes(-2, -1) @ state.x - np.eye(3)).max() < 20 * U
    action, force = kernel.action.action_and_force(state.x)
    # The cached action is that of the end of the trajectory, before projection.
    np.testing.assert_allclose(state.action, action, rtol=0, atol=1e-11)
    np.testing.assert_allclose(state.force, force, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_chain_has_the_same_bits_in_any_batch_and_memory(n):
    kernel = HMC(WilsonSUN(4.0, n), 0.1, 5)
    x = hot(n, 23)
    state = kernel.init(x)
    rngs = spawn_rngs(7, 23)
    for _ in range(3):
        state, _ = kernel.step(rngs, state)
    for i in (0, 11, 22):
        alone, rng = kernel.init(x[i : i + 1]), [spawn_rngs(7, 23)[i]]
        for _ in range(3):
            alone, _ = kernel.step(rng, alone)
        assert np.array_equal(alone.x[0], state.x[i])
        assert np.array_equal(alone.action[0], state.action[i])
        assert np.array_equal(alone.force[0], state.force[i])


def test_components_are_slowest_in_memory():
    x = chain_last(5, 2, 4, 3, 2, 2, dtype=np.complex128)
    assert x.shape == (5, 2, 4, 3, 2, 2)
    assert x.strides == tuple(16 * k for k in (1, 60, 15, 5, 240, 120))
    v = chain_last(5, 2, 4, 3, 8)
    assert v.shape == (5, 2, 4, 3, 8)
    assert v.strides == tuple(8 * k for k in (1, 60, 15, 5, 120))


@pytest.mark.parametrize(("n", "beta", "n_chains"), [(2, 3.0, 4000), (3, 3.0, 3000)])
def test_hmc_leaves_the_exact_distribution(n, beta, n_chains):
    shape = (2, 3)
    x = sun.sample(np.random.default_rng(4), n_chains, beta, shape, n)
    kernel, rngs = HMC(WilsonSUN(beta, n), 0.35, 4), spawn_rngs(6, n_chains)
    state = kernel.init(x)
    infos = []
    for _ in range(5):
        state, info = kernel.step(rngs, state)
        infos.append(info)
    p, exact = mean_plaquette(state.x), sun.plaquette(beta, shape, n)
    variance = sun.plaquette_variance(beta, shape, n)
    # Chains are independent and in equilibrium from the start: five standard errors.
    assert abs(p.mean() - exact) < 5 * np.sqrt(variance / n_chains)
    square = (p - exact) ** 2
    assert abs(square.mean() - variance) < 5 * square.std() / np.sqrt(n_chains)
    # Creutz's equality <exp(-dH)> = 1 holds in equilibrium, with errors large enough here to be seen.
    ratio = np.exp(-infos[0].delta_h)
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(n_chains)
    assert 0.05 < 1 - infos[0].acceptance.mean() < 0.9


def test_chains_run_in_parallel_and_resume_with_the_same_bits(tmp_path):
    kernel, x = HMC(WilsonSUN(5.0, 3), 0.15, 5), hot(3, 6)
    common = {
        "n_chains": 6,
        "seed": 1,
        "observables": {"plaquette": mean_plaquette},
        "save_every": 2,
        "executor": "thread",
    }
    whole = chains.run(kernel, x, n_steps=6, out=tmp_path / "whole", workers=1, **common)
    parts = chains.run(kernel, x, n_steps=4, out=tmp_path / "parts", workers=2, **common)
    chains.run(kernel, None, n_steps=6, out=parts, workers=2, resume=True, **common)
    assert np.array_equal(chains.load(whole)["plaquette"], chains.load(parts)["plaquette"])
    fields = chains.load_fields(parts)
    assert fields.shape == (3, 6, 2, 4, 3, 3, 3)
    assert fields.dtype == np.complex128
    assert np.array_equal(fields, chains.load_fields(whole))
    assert np.array_equal(mean_plaquette(fields[-1]), chains.load(whole)["plaquette"][-1])


def test_the_step_size_search_takes_matrices():
    kernel = HMC(WilsonSUN(5.0, 2), 0.01, 4)
    assert 0.01 < crossing_step_size(kernel, hot(2, 8), 1) < 10
