"""Fourier-accelerated HMC: the readable algorithm, exact numbers of the free field, exact moments of phi^4, bits of a chain."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import O2Chain, Phi4, WilsonU1, phi4_action_definition, phi4_force_definition
from refimpl.exact import free_scalar, phi4, toy
from refimpl.kernels import HMC, Cycle, FourierHMC, spawn_rngs
from refimpl.maps import LEAPFROG, OMELYAN, Integrator
from refimpl.observables.scalars import correlator, phi_fourth, phi_squared

SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed
STRONG = Phi4(0.1, 24.0)


def mass_matrix(mass2, stiffness, shape):
    """``K`` as a dense matrix: the Hessian of a free action, with the derivative terms scaled."""
    unit = np.eye(math.prod(shape)).reshape(-1, *shape)
    laplacian = Phi4(1.0, 0.0).hessian_product(np.zeros_like(unit), unit).reshape(len(unit), -1) - np.eye(len(unit))
    return mass2 * np.eye(len(unit)) + stiffness * laplacian


def hot(n_chains, shape, seed=1):
    return 0.5 * np.random.default_rng(seed).standard_normal((n_chains, *shape))


UNEVEN = Integrator("drifts of two lengths", (0.2, 0.3, 0.3, 0.4, 0.3, 0.3, 0.2))


@pytest.mark.parametrize("integrator", [LEAPFROG, OMELYAN, UNEVEN])
@pytest.mark.parametrize("shape", [(3, 4), (5, 2), (2, 3), (1, 6)])
def test_a_step_is_the_readable_algorithm_with_dense_matrices(integrator, shape):
    m2, lam, mass2, stiffness, eps, n_steps = 0.1, 24.0, 1.7, 0.6, 0.1, 4
    x, k = hot(6, shape), mass_matrix(mass2, stiffness, shape)
    kernel = FourierHMC(Phi4(m2, lam), eps, n_steps, mass2, stiffness, integrator)
    v, u = kernel.noise(spawn_rngs(5, 6), x.shape)
    proposal, momenta, info = kernel.propose(kernel.init(x), v, u)
    inverse = np.linalg.inv(k)

    def velocity(w):
        return (w.reshape(6, -1) @ inverse).reshape(w.shape)

    y, w = x.copy(), v.copy()
    for _ in range(n_steps):
        for i, c in enumerate(integrator.coefficients):
            if i % 2 == 0:
                w = w - c * eps * phi4_force_definition(y, m2, lam)
            else:
                y = y + c * eps * velocity(w)
    kinetic = [(p * velocity(p)).sum(axis=(1, 2)) / 2 for p in (v, w)]
    delta_h = phi4_action_definition(y, m2, lam) - phi4_action_definition(x, m2, lam) + kinetic[1] - kinetic[0]
    # Fields and momenta of size 3, forces of size 30, some hundred operations in a row.
    np.testing.assert_allclose(proposal.x, y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(momenta, w, rtol=0, atol=1e-12)
    np.testing.assert_allclose(info.delta_h, delta_h, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(info.accepted, u < np.exp(-info.delta_h))


def test_with_unit_mass_it_is_hmc():
    plain, fourier = HMC(STRONG, 0.1, 6), FourierHMC(STRONG, 0.1, 6, mass2=1.0, stiffness=0.0)
    assert fourier.n_forces == plain.n_forces == 6
    results = []
    for kernel in (plain, fourier):
        state, rngs = kernel.init(hot(16, (4, 5))), spawn_rngs(3, 16)
        for _ in range(3):
            state, info = kernel.step(rngs, state)
        results.append((state.x, state.action, info.delta_h))
    # The transforms round some ten times more in every step; three trajectories let it grow a hundredfold at most.
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-11)


def test_momenta_have_the_covariance_of_the_free_precision():
    n, shape, mass2, stiffness = 4000, (3, 4), 0.3, 1.0
    kernel = FourierHMC(STRONG, 0.1, 1, mass2, stiffness)
    v, u = kernel.noise(spawn_rngs(2, n), (n, *shape))
    values, vectors = np.linalg.eigh(mass_matrix(mass2, stiffness, shape))
    white = v.reshape(n, -1) @ vectors / np.sqrt(values)
    error = np.sqrt((1 + np.eye(len(values))) / n)
    assert np.all(np.abs(white.T @ white / n - np.eye(len(values))) < SIGMAS * error)
    assert abs(u.mean() - 0.5) < SIGMAS / math.sqrt(12 * n)


@pytest.mark.parametrize("m2", [0.02, 1.0])
def test_all_modes_of_a_free_field_turn_at_one_frequency(m2):
    # V oscillators of frequency 1, whatever the mass: <dH> is V times that of one.
    n, shape, eps, n_steps = 2000, (4, 5), 1.0, 2
    kernel = FourierHMC(Phi4(m2, 0.0), eps, n_steps, mass2=m2)
    x = free_scalar.sample(np.random.default_rng(4), n, m2, shape)
    v, u = kernel.noise(spawn_rngs(5, n), x.shape)
    _, _, info = kernel.propose(kernel.init(x), v, u)
    expected = math.prod(shape) * toy.mean_energy_error(1.0, eps, n_steps)
    assert abs(info.delta_h.mean() - expected) < SIGMAS * info.delta_h.std() / math.sqrt(n)
    assert expected > 10 * info.delta_h.std() / math.sqrt(n)


def test_a_quarter_turn_forgets_a_free_field():
    # eps n_steps = pi/2: x' is the momentum, up to leapfrog's eps^2/8, and nothing is left of x in any mode.
    n, shape, m2 = 2000, (4, 3), 0.05
    kernel = FourierHMC(Phi4(m2, 0.0), math.pi / 40, 20, mass2=m2)
    x = free_scalar.sample(np.random.default_rng(6), n, m2, shape)
    v, u = kernel.noise(spawn_rngs(7, n), x.shape)
    new = kernel.propose(kernel.init(x), v, u)[0].x
    for one, two in ((x, new), (x.mean(axis=(1, 2)), new.mean(axis=(1, 2)))):
        overlap = (one * two).reshape(n, -1).mean(axis=1) / (one**2).mean()
        assert abs(overlap.mean()) < SIGMAS * overlap.std() / math.sqrt(n)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([LEAPFROG, OMELYAN]),
    st.floats(0.1, 4),
    st.integers(0, 99),
)
def test_a_trajectory_is_reversible(shape, integrator, mass2, seed):
    kernel = FourierHMC(STRONG, 0.1, 5, mass2, integrator=integrator)
    x = hot(3, shape, seed)
    v, u = kernel.noise(spawn_rngs(seed, 3), x.shape)
    state = kernel.init(x)
    there, momenta, info = kernel.propose(state, v, u)
    back, returned, info_back = kernel.propose(there, -momenta, u)
    # Rounding of some hundred operations on numbers of size 10, grown by the instability of the trajectory (below 10).
    np.testing.assert_allclose(back.x, x, rtol=0, atol=1e-11)
    np.testing.assert_allclose(returned, -v, rtol=0, atol=1e-11)
    np.testing.assert_allclose(info_back.delta_h, -info.delta_h, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("couplings", "shape", "mass2", "step_size"),
    [((0.1, 24.0), (6, 2), 2.0, 0.45), ((-1.0, 8.0), (2, 3), 0.7, 0.55), ((0.1, 0.5), (1, 5), 0.3, 0.8)],
)
@pytest.mark.parametrize("fourier", [True, False])
def test_exact_moments_are_kept(couplings, shape, mass2, step_size, fourier):
    n, steps = 1200, 3
    action, exact = Phi4(*couplings), phi4.answers(*couplings, shape)
    kernel = FourierHMC(action, step_size, 3, mass2) if fourier else HMC(action, 0.6 * step_size, 3)
    state = kernel.init(phi4.sample(np.random.default_rng(8), n, *couplings, shape))
    rngs = spawn_rngs(9, n)
    for i in range(steps):
        state, info = kernel.step(rngs, state)
        if i == 0:
            # In equilibrium <exp(-dH)> = 1 and, with it, the mean acceptance is that of the reversed flow.
            creutz = np.exp(-info.delta_h)
            assert abs(creutz.mean() - 1) < SIGMAS * creutz.std() / math.sqrt(n)
            assert 0.3 < info.acceptance.mean() < 0.95  # so coarse that a wrong decision would show
    for each, expected in [
        (phi_squared(state.x), exact.phi_squared),
        (phi_fourth(state.x), exact.phi_fourth),
        *zip(correlator(state.x).T, exact.correlator, strict=True),
    ]:
        assert abs(each.mean() - expected) < SIGMAS * each.std() / math.sqrt(n)


@settings(max_examples=10, deadline=None)
@given(n_chains=st.integers(1, 9), block=st.sampled_from([1, 20, 45, 10**6]), seed=st.integers(0, 2**32))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(n_chains, block, seed):
    x, kernel = hot(9, (4, 5)), FourierHMC(STRONG, 0.2, 4, 2.0)

    def run(chains):
        rngs, state = [spawn_rngs(seed, 9)[c] for c in chains], kernel.init(x[chains])
        for _ in range(3):
            state, info = kernel.step(rngs, state)
        return state.x, state.action, state.force, info.delta_h

    module = importlib.import_module("refimpl.kernels.metropolis")  # the package has a function of that name
    original = module.BLOCK_ELEMENTS
    whole = run(list(range(9)))
    try:
        module.BLOCK_ELEMENTS = block
        part = run(list(range(n_chains)))
    finally:
        module.BLOCK_ELEMENTS = original
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[:n_chains], b)


def test_inputs_are_kept_and_it_cycles_with_hmc():
    kernel, x = FourierHMC(STRONG, 0.2, 4, 2.0), hot(8, (4, 4))
    state = kernel.init(x)
    copies = x.copy(), state.x.copy(), state.action.copy(), state.force.copy()
    v, u = kernel.noise(spawn_rngs(1, 8), x.shape)
    v_copy = v.copy()
    kernel.propose(state, v, u)
    for original, copy in zip((x, state.x, state.action, state.force, v), (*copies, v_copy), strict=True):
        np.testing.assert_array_equal(original, copy)
    cycle = Cycle((kernel, HMC(STRONG, 0.1, 4)))
    state, _ = cycle.step(spawn_rngs(1, 8), cycle.init(x))
    np.testing.assert_allclose(state.action, STRONG.action(state.x), rtol=1e-14)


def test_a_field_that_runs_away_is_rejected_and_counted():
    kernel, x = FourierHMC(STRONG, 0.2, 4, 2.0), hot(3, (2, 2))
    v = np.zeros_like(x)
    v[1], v[2] = 1e200, np.nan
    _, _, info = kernel.propose(kernel.init(x), v, np.zeros(3))
    assert info.non_finite.tolist() == [False, True, True]
    assert info.accepted.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FourierHMC(STRONG, 0.0, 4, 1.0), "step_size: got 0.0"),
        (lambda: FourierHMC(STRONG, 0.1, 0, 1.0), "n_steps: got 0"),
        (lambda: FourierHMC(STRONG, 0.1, 4, 0.0), "mass2: got 0.0, expected a finite number > 0"),
        (lambda: FourierHMC(STRONG, 0.1, 4, 1.0, -1.0), "stiffness: got -1.0, expected a finite number >= 0"),
        (lambda: FourierHMC(WilsonU1(1.0), 0.1, 4, 1.0), "action: got WilsonU1.* expected an action of real fields"),
        (lambda: FourierHMC(O2Chain(1.0), 0.1, 4, 1.0), "action: got O2Chain"),
        (lambda: FourierHMC(STRONG, 0.1, 4, 1.0).init(np.zeros((3, 4))), r"x: got shape \(3, 4\)"),
        (lambda: FourierHMC(STRONG, 0.1, 4, 1.0).noise(spawn_rngs(1, 2), (3, 2, 2)), "rngs: got 2"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
