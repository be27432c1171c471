"""Uniform flux, winding step, flux heat bath and cycles: orbits by explicit loops, exact laws, exact ceilings, bits."""

import copy
import importlib
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refimpl.actions import WilsonU1, u1_action_definition, u1_force_definition
from refimpl.exact import u1
from refimpl.groups import wrap
from refimpl.kernels import HMC, Cycle, FluxHeatBath, State, Winding, spawn_rngs, wind
from refimpl.lattice import plaquette_angles_definition, unit_flux
from refimpl.observables import charge, tunnelling_rate
from refimpl.statistics import integrated_autocorrelation_time, sign_test
from refimpl.validation import check_target
from refimpl.validation.strategies import u1_fields, u1_flux_fields, u1_hot_fields

from .targets import topology

pytestmark = pytest.mark.slow

QUICK = settings(max_examples=30, deadline=None)
FIELDS = st.one_of(u1_fields(), u1_flux_fields(), u1_hot_fields())
SIGMA = 5  # seeds are fixed, so this is about where the limits lie, not about false alarms


def equilibrium(n_chains, beta, shape=(8, 8), seed=1):
    return u1.sample(np.random.default_rng(seed), n_chains, beta, shape)


def kernels_of(beta):
    action = WilsonU1(beta)
    hmc = HMC(action, 0.35 / np.sqrt(beta), 10)
    return {
        "winding": Winding(action),
        "flux": FluxHeatBath(action),
        "winding cycle": Cycle([hmc, Winding(action)]),
        "flux cycle": Cycle([hmc, hmc, FluxHeatBath(action)]),
    }


def orbit_actions(x, beta):
    """``S(x + k I)`` of one configuration for all k, from the readable action, shape ``(V,)``."""
    flux = unit_flux(x.shape[1:])
    return np.array([u1_action_definition((x + k * flux)[None], beta)[0] for k in range(flux[0].size)])


def chi_square_p(counts, probabilities):
    """p-value of counts against probabilities, all cells expected less than 10 times pooled."""
    from scipy.stats import chi2

    expected = counts.sum() * probabilities
    large = expected >= 10
    rest = counts.sum() - counts[large].sum(), counts.sum() - expected[large].sum()
    observed = np.append(counts[large], rest[0]) if rest[1] >= 10 else counts[large]
    expected = np.append(expected[large], rest[1]) if rest[1] >= 10 else expected[large]
    return chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


# --- the map -----------------------------------------------------------------------------------------------------------
@QUICK
@given(x=FIELDS, k=st.integers(-100, 100))
def test_wind_moves_every_plaquette_by_k_units_and_comes_back(x, k):
    ks = np.full(len(x), k)
    y, logdet = wind(x, ks)
    volume = x[0, 0].size
    move = plaquette_angles_definition(y) - plaquette_angles_definition(x) - 2 * np.pi * k / volume
    # a dozen roundings of angles of up to 4 pi, and of k units of up to 100 * 2 pi
    assert np.max(np.abs(wrap(move))) < 2e-13
    assert np.array_equal(logdet, np.zeros(len(x)))
    assert np.all((y >= -np.pi) & (y < np.pi))
    back, _ = wind(y, -ks)
    assert np.max(np.abs(wrap(back - x))) < 1e-14  # two sums and two wraps of angles below 2 pi


@QUICK
@given(x=FIELDS, k=st.integers(-3, 3))
def test_charge_changes_by_k_less_the_plaquettes_that_cross_the_cut(x, k):
    step = 2 * np.pi * k / x[0, 0].size
    p = wrap(plaquette_angles_definition(x))
    assume(np.min(np.pi - np.abs(p)) > 1e-9)
    assume(np.min(np.abs(np.pi - np.abs(p + step))) > 1e-9)
    crossings = (p + step >= np.pi).sum(axis=(1, 2)) - (p + step < -np.pi).sum(axis=(1, 2))
    assert np.array_equal(charge(wind(x, np.full(len(x), k))[0]) - charge(x), k - crossings)


def test_charge_changes_by_exactly_d_where_no_plaquette_is_near_the_cut():
    # beta = 20: a plaquette of 2.9 or more (pi less two units on 8x8) has probability below 1e-15
    x, kernel = equilibrium(500, 20.0), Winding(WilsonU1(20.0))
    assert np.abs(wrap(plaquette_angles_definition(x))).max() < 2.9
    d, u = kernel.noise(spawn_rngs(1, 500), x.shape)
    proposal, _, _ = kernel.propose(kernel.init(x), d, u)
    assert np.array_equal(charge(proposal.x) - charge(x), d.astype(int))
    assert abs(d.sum()) < SIGMA * np.sqrt(500)
    two, _, _ = Winding(WilsonU1(20.0), flux=2).propose(kernel.init(x), d, u)
    assert np.array_equal(charge(two.x) - charge(x), 2 * d.astype(int))


# --- state and information -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", kernels_of(4.0))
def test_state_keeps_the_action_and_force_of_its_field(name):
    beta, x = 4.0, equilibrium(40, 4.0, (4, 6))
    kernel, rngs = kernels_of(beta)[name], spawn_rngs(3, 40)
    state = kernel.init(x)
    for _ in range(6):
        state, _ = kernel.step(rngs, state)
    # 24 plaquettes with slope up to beta, each rounded to 1e-15
    assert np.max(np.abs(state.action - u1_action_definition(state.x, beta))) < 1e-12
    assert np.max(np.abs(state.force - u1_force_definition(state.x, beta))) < 1e-13
    assert np.any(charge(state.x) != charge(x))


def test_winding_decides_by_the_change_of_the_action():
    beta, x = 4.0, equilibrium(200, 4.0, (4, 6))
    kernel = Winding(WilsonU1(beta))
    d, u = kernel.noise(spawn_rngs(4, 200), x.shape)
    assert set(d) == {-1.0, 1.0}
    state, info = kernel.step(spawn_rngs(4, 200), kernel.init(x))
    proposed = x + d[:, None, None, None] * unit_flux((4, 6))
    delta = u1_action_definition(proposed, beta) - u1_action_definition(x, beta)
    assert np.max(np.abs(info.delta_h - delta)) < 1e-12
    assert np.array_equal(info.accepted, u < np.exp(-delta))
    assert 0 < info.accepted.sum() < 200
    assert np.max(np.abs(wrap(state.x - np.where(info.accepted[:, None, None, None], proposed, x)))) < 1e-14


def test_flux_heat_bath_accepts_all_and_reports_the_change_of_the_action():
    beta, x = 4.0, equilibrium(50, 4.0, (4, 6))
    kernel = FluxHeatBath(WilsonU1(beta))
    state, info = kernel.step(spawn_rngs(4, 50), kernel.init(x))
    assert np.all(info.accepted)
    assert not np.any(info.non_finite)
    assert np.array_equal(info.acceptance, np.ones(50))
    assert np.array_equal(info.logdet, np.zeros(50))
    assert np.max(np.abs(info.delta_h - (u1_action_definition(state.x, beta) - u1_action_definition(x, beta)))) < 1e-12


# --- detailed balance and rates ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["winding", "flux"])
@pytest.mark.parametrize("beta", [1.5, 4.0])
def test_detailed_balance_from_exact_starts(name, beta):
    # 20,000 chains: a sign that comes up in 52 of 100 moves gives p of 1e-8; an unadjusted step raises S in most.
    x = equilibrium(20_000, beta, (6, 6))
    kernel = kernels_of(beta)[name]
    old = kernel.init(x)
    new, _ = kernel.step(spawn_rngs(5, len(x)), old)
    before, after = charge(x), charge(new.x)
    assert np.mean(before != after) > 0.1
    assert sign_test(after - before) > 1e-4
    assert sign_test(np.where(new.action == old.action, 0.0, new.action - old.action)) > 1e-4
    assert sign_test(np.abs(after) - np.abs(before)) > 1e-4
    assert sign_test(np.abs(before) * new.action - np.abs(after) * old.action) > 1e-4


@pytest.mark.parametrize("beta", [2.0, 4.0, 7.0])
def test_winding_tunnels_at_its_ceiling(beta):
    shape, n = (8, 8), 10_000
    x, kernel = equilibrium(n, beta), Winding(WilsonU1(beta))
    state = kernel.init(x)
    up_and_down = np.zeros(n)
    for d in (-1.0, 1.0):  # the rate given x, averaged over both directions and the uniform: little noise is left
        proposal, _, info = kernel.propose(state, np.full(n, d), np.zeros(n))
        up_and_down += 0.5 * info.acceptance * np.abs(charge(proposal.x) - charge(x))
    rate, error = up_and_down.mean(), up_and_down.std() / np.sqrt(n)
    ceiling = u1.winding_ceiling(beta, shape)
    # A unit of flux carries 2 pi rho(pi) = exp(-beta)/I_0(beta) plaquettes across the cut; each costs a charge move.
    crossings = np.exp(-beta) / np.i0(beta)
    print(f"beta = {beta:g}: rate {rate:.4f} +- {error:.4f}, ceiling {ceiling:.4f}, crossings {crossings:.2g}")
    # The orbits differ in |z|, which costs less than 1 per cent by concavity of the minimum.
    assert ceiling * (1 - crossings - 0.01) - SIGMA * error < rate < ceiling + SIGMA * error
    if beta >= 4:
        assert abs(rate / ceiling - 1) < 0.05
    new, _ = kernel.step(spawn_rngs(6, n), state)
    moved = tunnelling_rate(np.array([charge(x), charge(new.x)])).mean()
    assert abs(moved - rate) < SIGMA * np.sqrt(rate / n)


# --- the law of the heat bath --------------------------------------------------------------------------------------------
@QUICK
@given(x=FIELDS, beta=st.floats(0.01, 20))
def test_weights_are_the_boltzmann_factors_of_the_orbit(x, beta):
    weights = FluxHeatBath(WilsonU1(beta)).weights(x)
    for chain, configuration in enumerate(x):
        actions = orbit_actions(configuration, beta)
        # actions of up to 36 plaquettes and beta = 20, rounded; the flux k I itself to k ulps
        assert np.max(np.abs(weights[:, chain] - np.exp(actions.min() - actions))) < 1e-11


@pytest.mark.parametrize(("beta", "shape"), [(0.5, (3, 3)), (2.0, (4, 4)), (7.0, (8, 8))])
def test_conditional_law_of_the_heat_bath_by_brute_force(beta, shape):
    # Each of N equally spaced uniforms takes its part of the cumulative sum: counts are right to one.
    n, x = 5000, equilibrium(1, beta, shape, seed=3)
    actions = orbit_actions(x[0], beta)
    p = np.exp(actions.min() - actions)
    p /= p.sum()
    assert np.sum(p > 0.01) > 2
    kernel, crowd = FluxHeatBath(WilsonU1(beta)), np.repeat(x, n, axis=0)
    state = kernel.init(crowd)
    new, k, _ = kernel.propose(state, (np.arange(n) + 0.5) / n)
    assert np.max(np.abs(np.bincount(k.astype(int), minlength=len(p)) - n * p)) <= 1 + 1e-6
    assert np.max(np.abs(new.action - actions[k.astype(int)])) < 1e-11
    _, ends, _ = kernel.propose(kernel.init(crowd[:2]), np.array([0.0, 1 - 2.0**-53]))
    assert ends[0] <= ends[1] < len(p)
    # and by the kernel's own noise; which k it drew is read off the field
    drawn, _ = kernel.step(spawn_rngs(7, n), state)
    moved = drawn.x[:, 1, 1, 0] - state.x[:, 1, 1, 0]
    counts = np.bincount(np.rint(moved * len(p) / (2 * np.pi)).astype(int) % len(p), minlength=len(p))
    assert chi_square_p(counts, p) > 1e-6


@pytest.mark.parametrize(
    ("beta", "shape", "n"),
    [(2.0, (4, 4), 100_000), (7.0, (8, 8), 100_000), (20.0, (8, 8), 20_000), (20.0, (32, 32), 2000)],
)
def test_heat_bath_keeps_the_exact_charge_distribution(beta, shape, n):
    kernel, x = FluxHeatBath(WilsonU1(beta)), equilibrium(n, beta, shape)
    state, _ = kernel.step(spawn_rngs(8, n), kernel.init(x))
    before, after = charge(x), charge(state.x)
    charges, p = u1.charge_distribution(beta, shape)
    assert chi_square_p(np.array([np.sum(after == q) for q in charges]), p) > 1e-6
    assert np.mean(before != after) > np.sum(p * (1 - p)) / 2  # of independent charges, sum p (1 - p) differ


# --- cycles --------------------------------------------------------------------------------------------------------------
def charges_of(kernel, beta, n_steps):
    state, rngs = kernel.init(equilibrium(64, beta)), spawn_rngs(9, 64)
    series = np.empty((n_steps, 64))
    for i in range(n_steps):
        state, _ = kernel.step(rngs, state)
        series[i] = charge(state.x)
    return series


@pytest.mark.parametrize("beta", [4.0, 7.0])
def test_cycle_with_the_heat_bath_forgets_the_charge(beta):
    hmc, flux = HMC(WilsonU1(beta), 0.35 / np.sqrt(beta), 10), FluxHeatBath(WilsonU1(beta))
    tau = integrated_autocorrelation_time(charges_of(Cycle([hmc, flux]), beta, 500))
    print(f"beta = {beta:g}: tau_int(Q) = {tau.tau:.3f} +- {tau.error:.3f}")
    assert tau.error < 0.02
    assert 0.45 < tau.tau < 0.6


def test_cycle_with_winding_ends_the_freezing():
    # HMC alone: thousands of trajectories at beta = 7. A walk that moves with the rate of the ceiling: 1.5.
    hmc, winding = HMC(WilsonU1(7.0), 0.13, 10), Winding(WilsonU1(7.0))
    tau = integrated_autocorrelation_time(charges_of(Cycle([hmc, winding]), 7.0, 500))
    assert tau.error < 0.2
    assert 1 < tau.tau < 2.2


def test_cycle_is_its_kernels_in_turn():
    hmc, winding = HMC(WilsonU1(4.0), 0.2, 3), Winding(WilsonU1(4.0))
    cycle, x = Cycle([hmc] * 2 + [winding]), equilibrium(10, 4.0, (4, 6))
    state, infos = cycle.step(spawn_rngs(1, 10), cycle.init(x))
    by_hand, rngs, expected = hmc.init(x), spawn_rngs(1, 10), []
    for kernel in (hmc, hmc, winding):
        by_hand, info = kernel.step(rngs, by_hand)
        expected.append(info)
    assert_same(vars(state).values(), vars(by_hand).values())
    assert len(infos) == 3
    for got, wanted in zip(infos, expected, strict=True):
        assert_same(vars(got).values(), vars(wanted).values())
    assert cycle.action == WilsonU1(4.0)
    nested = Cycle([Cycle([hmc, hmc]), winding])
    assert_same(vars(nested.step(spawn_rngs(1, 10), nested.init(x))[0]).values(), vars(state).values())


# --- bits ----------------------------------------------------------------------------------------------------------------
def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", kernels_of(4.0))
@settings(max_examples=10, deadline=None)
@given(chains=st.lists(st.integers(0, 8), min_size=1, unique=True), block=st.sampled_from([1, 48, 130, 10**6]))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(name, chains, block):
    kernel, x = kernels_of(4.0)[name], equilibrium(9, 4.0, (4, 6))

    def run(which):
        rngs, state = [spawn_rngs(2, 9)[c] for c in which], kernel.init(x[which])
        for _ in range(3):
            state, _ = kernel.step(rngs, state)
        return vars(state).values()

    whole = run(list(range(9)))
    module = importlib.import_module("refimpl.kernels.metropolis")  # the package has a function of that name
    original = module.BLOCK_ELEMENTS
    try:
        module.BLOCK_ELEMENTS = block
        part = run(chains)
    finally:
        module.BLOCK_ELEMENTS = original
    assert_same([values[chains] for values in whole], part)


def test_a_hot_chain_is_not_lost_beside_a_cold_one():
    # their largest exponents differ by more than a double can hold: beta V = 1280 against about beta sqrt(V)
    x = np.concatenate([np.zeros((1, 2, 8, 8)), np.random.default_rng(1).uniform(-np.pi, np.pi, (1, 2, 8, 8))])
    kernel = FluxHeatBath(WilsonU1(20.0))
    assert np.array_equal(kernel.weights(x)[:, 1], kernel.weights(x[1:])[:, 0])
    assert np.array_equal(kernel.weights(x).max(axis=0), [1.0, 1.0])


@pytest.mark.parametrize("name", kernels_of(4.0))
def test_a_run_resumed_from_its_state_is_the_run_that_was_not_interrupted(name):
    kernel, rngs = kernels_of(4.0)[name], spawn_rngs(2, 6)
    state = kernel.init(equilibrium(6, 4.0, (4, 6)))
    for _ in range(3):
        state, _ = kernel.step(rngs, state)
    saved, saved_rngs = State(*(a.copy() for a in vars(state).values())), copy.deepcopy(rngs)
    kept = state
    for _ in range(3):
        state, _ = kernel.step(rngs, state)
    assert_same(vars(kept).values(), vars(saved).values())  # nothing was changed in place
    for _ in range(3):
        saved, _ = kernel.step(saved_rngs, saved)
    assert_same(vars(state).values(), vars(saved).values())


# --- bad input and the oracle --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Quadratic:
    """An action whose ``==`` raises, as it holds arrays."""

    matrix: np.ndarray
    angular = False


@dataclass(frozen=True)
class Dummy:
    action: Quadratic

    def init(self, x):
        return x

    step = init


def test_cycle_compares_actions_that_hold_arrays():
    ones, twos = Quadratic(np.ones((2, 2))), Quadratic(np.full((2, 2), 2.0))
    Cycle([Dummy(ones), Dummy(Quadratic(np.ones((2, 2))))])
    with pytest.raises(ValueError, match="kernels: got actions"):
        Cycle([Dummy(ones), Dummy(twos)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cycle([]), "kernels: got none"),
        (lambda: Cycle([HMC(WilsonU1(1.0), 0.1, 3), Winding(WilsonU1(2.0))]), "kernels: got actions"),
        (lambda: Winding(WilsonU1(1.0), 0), "flux: got 0"),
        (lambda: Winding(WilsonU1(1.0), 1.5), "flux: got 1.5"),  # type: ignore[arg-type]
        (lambda: FluxHeatBath(2.0), "action: got 2.0"),  # type: ignore[arg-type]
        (lambda: Winding(WilsonU1(1.0)).init(np.zeros((2, 8))), "x: got shape"),
        (lambda: FluxHeatBath(WilsonU1(1.0)).init(np.zeros((2, 8))), "x: got shape"),
        (lambda: Winding(WilsonU1(1.0)).noise(spawn_rngs(1, 2), (3, 2, 2, 2)), "rngs: got 2"),
        (lambda: FluxHeatBath(WilsonU1(1.0)).noise(spawn_rngs(1, 4), (3, 2, 2, 2)), "rngs: got 4"),
    ],
)
def test_bad_input_names_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("target", [topology.winding, topology.flux, topology.winding_cycle, topology.flux_cycle])
def test_the_oracle_passes_the_kernels(target):
    report = check_target(target, level="smoke", seed=1, parameters={"beta": 2.0, "shape": (4, 4)})
    assert report.exit_code == 0, report.as_table()
