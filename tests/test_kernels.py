"""HMC: exact numbers on the harmonic oscillator, bit reproducibility, caching, rejected non-finite proposals."""

import importlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import WilsonU1, u1_action_definition, u1_force_definition
from refimpl.exact import toy, u1
from refimpl.kernels import HMC, blocks, metropolis, spawn_rngs
from refimpl.maps import LEAPFROG, OMELYAN, trajectory


@dataclass(frozen=True)
class Harmonic:
    """``S = omega^2 x^2/2`` for every entry; infinite beyond ``wall``, where the force is NaN."""

    omega: float = 1.0
    wall: float = np.inf
    angular: ClassVar[bool] = False

    def action(self, x):
        return self.action_and_force(x)[0]

    def force(self, x):
        return self.action_and_force(x)[1]

    def action_and_force(self, x):
        outside = np.abs(x) > self.wall
        energy = np.where(outside, np.inf, 0.5 * self.omega**2 * x * x)
        return energy.sum(axis=tuple(range(1, x.ndim))), np.where(outside, np.nan, self.omega**2 * x)

    def dynamics(self, x, v):
        action = self

        class Dynamics:
            def kick(self, scale):
                v[...] -= scale * action.force(x)

            def action_and_force(self):
                return action.action_and_force(x)

        return Dynamics()


def equilibrium(n_chains, beta=4.0, shape=(4, 6), seed=1):
    return u1.sample(np.random.default_rng(seed), n_chains, beta, shape)


def test_harmonic_acceptance_and_energy_error_are_the_closed_forms():
    # 1e5 independent chains: 5 standard errors, 5 * 0.5/sqrt(1e5) = 0.008 for the acceptance, measured for <dH>.
    omega, step_size, n_steps, n = 1.3, 0.9, 3, 100_000
    rng = np.random.default_rng(2)
    x, v = rng.standard_normal((n, 1, 1, 1)) / omega, rng.standard_normal((n, 1, 1, 1))
    kernel = HMC(Harmonic(omega), step_size, n_steps)
    _, _, info = kernel.propose(kernel.init(x), v, rng.random(n))
    error = 5 * info.delta_h.std() / np.sqrt(n)
    assert abs(info.delta_h.mean() - toy.mean_energy_error(omega, step_size, n_steps)) < error
    assert abs(info.accepted.mean() - toy.acceptance(omega, step_size, n_steps)) < 0.008
    assert abs(info.acceptance.mean() - toy.acceptance(omega, step_size, n_steps)) < 0.008


def test_accept_reject_is_on():
    # Without it the variance would be 1/(1 - h^2/4) = 1.56 for h = 1.2; with it 1, within 5 standard errors sqrt(2/n).
    rngs, n = spawn_rngs(3, 20_000), 20_000
    kernel = HMC(Harmonic(), 1.2, 2)
    state = kernel.init(np.random.default_rng(4).standard_normal((n, 1, 1, 1)))
    for _ in range(20):
        state, _ = kernel.step(rngs, state)
    assert toy.unadjusted_variance(1.0, 1.2) > 1.5
    assert abs(state.x.var() - 1) < 5 * np.sqrt(2 / n)


@pytest.mark.parametrize("integrator", [LEAPFROG, OMELYAN])
def test_fast_step_is_the_readable_hmc(integrator):
    beta, step_size, n_steps = 4.0, 0.15, 6
    x = equilibrium(16)
    kernel = HMC(WilsonU1(beta), step_size, n_steps, integrator)
    v, u = kernel.noise(spawn_rngs(5, 16), x.shape)
    proposal, momenta, info = kernel.propose(kernel.init(x), v, u)
    theta, w = x.copy(), v.copy()
    for _ in range(n_steps):
        for k, c in enumerate(integrator.coefficients):
            if k % 2 == 0:
                w = w - c * step_size * u1_force_definition(theta, beta)
            else:
                theta = theta + c * step_size * w
    delta_h = (
        u1_action_definition(theta, beta) - u1_action_definition(x, beta) + 0.5 * (w**2 - v**2).sum(axis=(1, 2, 3))
    )
    # rounding of some 20 operations on numbers of size 10, grown by the instability of the trajectory (below 10)
    assert np.max(np.abs(np.sin(proposal.x - theta))) < 1e-12
    assert np.max(np.abs(momenta - w)) < 1e-12
    assert np.max(np.abs(info.delta_h - delta_h)) < 1e-11
    assert np.array_equal(info.accepted, u < np.exp(-delta_h))


def test_state_is_the_proposal_where_accepted_and_the_old_field_elsewhere():
    kernel, x = HMC(WilsonU1(4.0), 0.3, 5), equilibrium(64)
    state = kernel.init(x)
    v, u = kernel.noise(spawn_rngs(8, 64), x.shape)
    proposal, _, info = kernel.propose(state, v, u)
    new, _ = kernel.step(spawn_rngs(8, 64), state)
    assert 0 < info.accepted.sum() < 64
    for got, candidate, old in ((new.x, proposal.x, state.x), (new.force, proposal.force, state.force)):
        assert np.array_equal(got[info.accepted], candidate[info.accepted])
        assert np.array_equal(got[~info.accepted], old[~info.accepted])


def test_cached_action_and_force_are_those_of_the_field():
    kernel = HMC(WilsonU1(4.0), 0.3, 5)
    state, rngs = kernel.init(equilibrium(32)), spawn_rngs(6, 32)
    for _ in range(10):
        state, _ = kernel.step(rngs, state)
    # wrapping rounds a link by 4e-16; an action has 24 plaquettes with slope up to beta, a force two
    assert np.max(np.abs(state.action - kernel.action.action(np.ascontiguousarray(state.x)))) < 1e-12
    assert np.max(np.abs(state.force - kernel.action.force(np.ascontiguousarray(state.x)))) < 1e-13


@settings(max_examples=20, deadline=None)
@given(n_chains=st.integers(1, 9), block=st.sampled_from([1, 48, 96, 200, 10**6]), seed=st.integers(0, 2**32))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(n_chains, block, seed):
    x = equilibrium(9)
    kernel = HMC(WilsonU1(4.0), 0.2, 4)

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
        assert np.array_equal(a[:n_chains], b)


@pytest.mark.parametrize(
    ("shape", "size"), [((5000, 2, 8, 8), 1024), ((5000, 128), 1024), ((3, 2, 512, 512), 1), ((7, 4), 32768)]
)
def test_blocks_cover_the_chains_and_count_entries_of_the_field(shape, size):
    chains = np.arange(shape[0])
    parts = [chains[block] for block in blocks(shape)]
    assert np.array_equal(np.concatenate(parts), chains)
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert len(parts[-1]) <= size


def test_generators_are_counted_before_blocks_are_cut():
    kernel, x = HMC(WilsonU1(1.0), 0.1, 1), np.zeros((2048, 2, 8, 8))  # two blocks, either of which has enough of them
    with pytest.raises(ValueError, match="rngs: got 2049"):
        kernel.step(spawn_rngs(1, 2049), kernel.init(x))


def test_inputs_are_not_modified():
    kernel, x = HMC(WilsonU1(4.0), 0.2, 4), equilibrium(8)
    state = kernel.init(x)
    copies = x.copy(), state.x.copy(), state.action.copy(), state.force.copy()
    kernel.step(spawn_rngs(1, 8), state)
    for original, copy in zip((x, state.x, state.action, state.force), copies, strict=True):
        assert np.array_equal(original, copy)


def test_generators_are_independent_and_repeatable():
    kernel = HMC(WilsonU1(4.0), 0.2, 4)
    v, u = kernel.noise(spawn_rngs(1, 50), (50, 2, 4, 4))
    again, _ = kernel.noise(spawn_rngs(1, 50), (50, 2, 4, 4))
    assert np.array_equal(v, again)
    assert len(np.unique(v)) == v.size
    assert len(np.unique(u)) == 50
    assert np.all((u >= 0) & (u <= 1))


def test_non_finite_proposals_are_rejected_and_counted():
    kernel = HMC(Harmonic(wall=2.0), 1.0, 1)
    x = np.full((3, 1, 1, 1), 1.0)
    v = np.array([0.1, 5.0, np.nan]).reshape(3, 1, 1, 1)
    _, _, info = kernel.propose(kernel.init(x), v, np.zeros(3))
    assert info.non_finite.tolist() == [False, True, True]
    assert info.accepted.tolist() == [True, False, False]
    assert info.acceptance[1:].tolist() == [0.0, 0.0]


def test_metropolis_accepts_downhill_always_and_uphill_with_the_exponential():
    info = metropolis(np.array([-1.0, 1.0, 1.0, 0.0]), np.zeros(4), np.array([0.999, 0.36, 0.37, 0.5]))
    assert info.accepted.tolist() == [True, True, False, True]
    assert metropolis(np.array([1.0]), np.array([2.0]), np.array([0.99])).accepted[0]  # logdet counts
    assert not metropolis(np.array([-np.inf]), np.zeros(1), np.zeros(1)).accepted[0]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: HMC(WilsonU1(1.0), 0.0, 3), "step_size"),
        (lambda: HMC(WilsonU1(1.0), float("nan"), 3), "step_size"),
        (lambda: HMC(WilsonU1(1.0), 0.1, 0), "n_steps"),
        (lambda: HMC(WilsonU1(1.0), 0.1, 1.5), "n_steps"),  # type: ignore[arg-type]
        (lambda: spawn_rngs(1, 0), "n_chains"),
        (lambda: HMC(WilsonU1(1.0), 0.1, 3).noise(spawn_rngs(1, 2), (3, 2, 2, 2)), "rngs"),
        (lambda: HMC(Harmonic(wall=1.0), 0.1, 3).init(np.full((1, 1, 1, 1), 2.0)), "x: got a field of action inf"),
        (lambda: HMC(WilsonU1(1.0), 0.1, 3).init(np.zeros((0, 2, 2, 2))), "x: got zero chains"),
    ],
)
def test_bad_input_names_the_argument(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_trajectory_returns_the_final_action_and_force():
    action, x = WilsonU1(2.0), equilibrium(4)
    z, v = x.copy(), np.random.default_rng(0).standard_normal(x.shape)
    end_action, end_force = trajectory(action, LEAPFROG, 0.1, 5, z, v, action.force(x))
    assert np.array_equal(end_action, action.action(z))
    assert np.array_equal(end_force, action.force(z))
