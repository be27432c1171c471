"""Independence Metropolis: a transition matrix, its acceptance, reweighting, bits, and the beta of the proposals."""

import importlib
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import chains, theories
from refimpl.actions import WilsonDeterminant, WilsonU1
from refimpl.exact import u1
from refimpl.kernels import HMC, Cycle, IndependenceMetropolis, OrbitMetropolis, PureGauge, matched_beta, spawn_rngs
from refimpl.kernels.independence import ProposedState, pool_acceptance
from refimpl.kernels.metropolis import State
from refimpl.observables import charge, mean_plaquette
from refimpl.statistics import integrated_autocorrelation_time

SIGMA = 5  # seeds are fixed, so this is about where the limits lie, not about false alarms
BETA, KAPPA, SHAPE = 2.0, 0.265, (4, 4)
QUARKS = WilsonU1(BETA) + WilsonDeterminant(KAPPA)
SAMPLER = IndependenceMetropolis(QUARKS, PureGauge(2.3, SHAPE))


# --- a finite set of fields ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Levels:
    """An action of one-number fields 0, 1, ..., read off a table, up to a constant; and draws from its density."""

    table: tuple[float, ...]
    constant: float = 0.0
    angular = False

    def action(self, x):
        return np.array(self.table)[np.rint(x[:, 0]).astype(int)] + self.constant

    def force(self, x):
        return x + 0.5

    def draw(self, rngs):
        p = np.exp(-np.array(self.table))
        x = np.array([[float(rng.choice(len(p), p=p / p.sum()))] for rng in rngs])
        return x, self.action(x)


TARGET, PROPOSAL = Levels((0.0, 1.3, 0.2, 2.5, 0.9), 3.0), Levels((0.5, 0.1, 1.9, 0.7, 0.6), -7.0)


def transition_matrix(kernel):
    n = len(kernel.action.table)
    state = kernel.init(np.arange(n)[:, None] * 1.0)
    q = np.exp(-np.array(kernel.proposal.table))
    matrix = np.zeros((n, n))
    for j, chance in enumerate(q / q.sum()):
        y = np.full((n, 1), float(j))
        proposal, _, info = kernel.propose(state, y, kernel.proposal.action(y), np.full(n, 0.5))
        assert np.array_equal(proposal.x, y)
        matrix[:, j] += chance * info.acceptance
        matrix[np.arange(n), np.arange(n)] += chance * (1 - info.acceptance)
    return matrix


def test_it_keeps_the_target_and_is_reversible():
    p, pi = transition_matrix(IndependenceMetropolis(TARGET, PROPOSAL)), np.exp(-np.array(TARGET.table))
    pi /= pi.sum()
    flow = pi[:, None] * p
    # numbers of order 1, some twenty operations
    assert np.abs(pi @ p - pi).max() < 1e-14
    assert np.abs(flow - flow.T).max() < 1e-14
    off_diagonal = p[~np.eye(5, dtype=bool)]
    assert 0.001 < off_diagonal.min() < off_diagonal.max() < 0.5
    # the acceptance in equilibrium, and its estimate from weights of independent proposals
    q = np.exp(-np.array(PROPOSAL.table))
    q /= q.sum()
    w = pi / q
    acceptance = np.sum(np.outer(q, q) * np.minimum.outer(w, w)) / np.sum(q * w)
    draws = np.repeat(np.log(w), np.rint(20000 * q).astype(int))
    assert pool_acceptance(draws) == pytest.approx(acceptance, abs=1e-3)  # 20000 rounds q to 1e-4 of 0.1, thrice


def test_a_step_takes_the_proposal_where_it_accepts():
    kernel = IndependenceMetropolis(TARGET, PROPOSAL)
    x = np.arange(100)[:, None] % 5 * 1.0
    y, s_q, u = kernel.noise(spawn_rngs(1, 100), x.shape)
    state, info = kernel.step(spawn_rngs(1, 100), kernel.init(x))
    log_w = s_q - TARGET.action(y)
    before = PROPOSAL.action(x) - TARGET.action(x)
    assert np.array_equal(info.accepted, np.log(u) < log_w - before)
    assert 10 < info.accepted.sum() < 95
    assert np.array_equal(state.x[:, 0], np.where(info.accepted, y[:, 0], x[:, 0]))
    assert np.array_equal(state.action, TARGET.action(state.x))
    assert np.array_equal(state.force, TARGET.force(state.x))


# --- with quarks ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def proposals():
    """Independent proposals, ``log w``, and a step from each of them."""
    x = u1.sample(np.random.default_rng(5), 3000, 2.3, SHAPE)
    old = SAMPLER.init(x)
    return x, 2.3 * WilsonU1(1.0).action(x) - old.action, *SAMPLER.step(spawn_rngs(1, len(x)), old)


def test_acceptance_is_that_of_independent_weights(proposals):
    _, log_w, _, info = proposals
    w = np.exp(log_w - log_w.max())
    seen, expected = np.sum(w * info.acceptance) / w.sum(), pool_acceptance(log_w)
    # Both have the noise of w (max over mean below 10) and of the acceptance, at most that of a coin per effective field.
    error = 1 / np.sqrt(np.sum(w) ** 2 / np.sum(w**2))
    print(f"acceptance {seen:.3f}, from weights {expected:.3f}, error {error:.3f}")
    assert 0.3 < expected < 0.9
    assert abs(seen - expected) < 2 * error


def test_pool_acceptance_by_pairs():
    log_w = np.random.default_rng(1).normal(size=40)
    w = np.exp(log_w)
    pairs = np.minimum.outer(w, w)[~np.eye(40, dtype=bool)]
    assert pool_acceptance(log_w + 900) == pytest.approx(pairs.mean() / w.mean(), rel=1e-13)
    assert pool_acceptance(np.zeros(3)) == 1.0


def test_equal_weights_are_always_accepted():
    x = u1.sample(np.random.default_rng(1), 50, 3.0, (4, 6))
    kernel = IndependenceMetropolis(WilsonU1(3.0), PureGauge(3.0, (4, 6)))
    state = kernel.init(x)
    for _ in range(3):
        state, info = kernel.step(spawn_rngs(2, 50), state)
        assert np.array_equal(info.delta_h, np.zeros(50))
        assert np.all(info.accepted)
    assert np.abs(state.x - x).max() > 1


def test_one_step_keeps_reweighted_averages(proposals):
    x, log_w, new, _ = proposals
    w = np.exp(log_w - log_w.max())
    for f in (mean_plaquette, lambda y: charge(y) ** 2.0, WilsonU1(1.0).action):
        terms = w * (f(np.asarray(new.x)) - f(x))  # independent, of mean zero, bounded
        assert abs(terms.sum()) < SIGMA * np.sqrt(np.sum(terms**2))


def test_chains_agree_with_reweighting(proposals):
    x, log_w, _, _ = proposals
    w = np.exp(log_w - log_w.max())
    kernel = Cycle([SAMPLER, OrbitMetropolis(QUARKS)])
    # 15 steps that keep x with probability below 1/2 forget a start from the proposals, whose averages are off by percents
    state, rngs = kernel.init(x[:150]), spawn_rngs(4, 150)
    rows = []
    for step in range(55):
        state, _ = kernel.step(rngs, state)
        if step >= 15:
            rows.append([mean_plaquette(np.asarray(state.x)), charge(np.asarray(state.x)) ** 2.0])
    series = np.array(rows)  # (step, observable, chain)
    for i, f in enumerate((mean_plaquette, lambda y: charge(y) ** 2.0)):
        own = series[:, i].mean(axis=0)
        value, error = own.mean(), own.std(ddof=1) / np.sqrt(own.size)
        expected = np.sum(w * f(x)) / w.sum()
        spread = np.sqrt(np.sum(w**2 * (f(x) - expected) ** 2)) / w.sum()
        print(f"{value:.4f} +- {error:.4f}, reweighted {expected:.4f} +- {spread:.4f}")
        assert abs(value - expected) < SIGMA * np.hypot(error, spread)
    assert integrated_autocorrelation_time(series[:, 1]).tau < 2


def test_state_keeps_the_action_and_force_of_its_field():
    x = u1.sample(np.random.default_rng(1), 20, 2.0, SHAPE)
    state, rngs = SAMPLER.init(x), spawn_rngs(1, 20)
    for _ in range(4):
        state, _ = SAMPLER.step(rngs, state)
    # actions of some tens, forces of some units, both from determinants of 16 rows
    assert np.abs(state.action - QUARKS.action(state.x)).max() < 1e-12
    assert np.abs(state.force - QUARKS.force(state.x)).max() < 1e-12


@dataclass(frozen=True)
class Counted(Levels):
    """Counts how often its action is asked for."""

    asked: ClassVar[list[int]] = []

    def action(self, x):
        self.asked.append(len(x))
        return super().action(x)

    def draw(self, rngs):
        return Levels(self.table, self.constant).draw(rngs)


def test_a_state_that_knows_its_proposal_action_is_not_asked_for_it():
    """One-number fields: their tabulated actions are the same bits however they are come by, and so are all decisions."""
    proposal = Counted(PROPOSAL.table, PROPOSAL.constant)
    kernel = IndependenceMetropolis(TARGET, proposal)
    plain = kernel.init(np.zeros((50, 1)))
    knowing = ProposedState.of(proposal, plain)
    rngs, again = spawn_rngs(1, 50), spawn_rngs(1, 50)
    for _ in range(6):
        plain, info = kernel.step(rngs, plain)
        asked = len(proposal.asked)
        knowing, same = kernel.step(again, knowing)
        assert len(proposal.asked) == asked
        assert 0 < info.accepted.sum() < 50
        assert vars(info).keys() == vars(same).keys()
        for name in ("x", "action", "force"):
            np.testing.assert_array_equal(getattr(knowing, name), getattr(plain, name))
        for name, values in vars(info).items():
            np.testing.assert_array_equal(getattr(same, name), values)
        np.testing.assert_array_equal(knowing.proposal_action, Levels.action(proposal, knowing.x))
    assert ProposedState.of(proposal, knowing) is knowing


def test_another_kernel_drops_what_it_does_not_know():
    """Or the old action of the proposal would be taken for that of the new field."""
    state = ProposedState.of(SAMPLER.proposal, SAMPLER.init(u1.sample(np.random.default_rng(1), 5, 2.0, SHAPE)))
    after, _ = HMC(QUARKS, 0.1, 2).step(spawn_rngs(1, 5), state)
    assert type(after) is State
    assert type(SAMPLER.step(spawn_rngs(1, 5), state)[0]) is ProposedState
    assert type(SAMPLER.step(spawn_rngs(1, 5), after)[0]) is State


# --- bits, pickles, runs -------------------------------------------------------------------------------------------------
@settings(max_examples=10, deadline=None)
@given(which=st.lists(st.integers(0, 5), min_size=1, unique=True), block=st.sampled_from([1, 48, 130, 10**6]))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(which, block):
    x = u1.sample(np.random.default_rng(1), 6, 2.0, SHAPE)

    def run(which):
        rngs, state = [spawn_rngs(2, 6)[c] for c in which], SAMPLER.init(x[which])
        for _ in range(2):
            state, info = SAMPLER.step(rngs, state)
        return *vars(state).values(), *vars(info).values()

    module = importlib.import_module("refimpl.kernels.metropolis")
    original = module.BLOCK_ELEMENTS
    whole = run(list(range(6)))
    try:
        module.BLOCK_ELEMENTS = block
        part = run(which)
    finally:
        module.BLOCK_ELEMENTS = original
    for a, b in zip(whole, part, strict=True):
        assert np.array_equal(a[which], b)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (8, 8)])
def test_a_generator_each_makes_the_configuration_that_it_makes_alone(shape):
    together = u1.sample(spawn_rngs(3, 7), 7, 4.0, shape)
    alone = np.concatenate([u1.sample([rng], 1, 4.0, shape) for rng in spawn_rngs(3, 7)])
    assert np.array_equal(together, alone)


def test_a_generator_each_samples_the_exact_charges():
    n = 2000
    q = charge(u1.sample(spawn_rngs(3, n), n, 2.0, (4, 4)))
    charges, p = u1.charge_distribution(2.0, (4, 4))
    for number, chance in zip(charges, p, strict=True):
        assert abs(np.sum(q == number) - n * chance) < SIGMA * np.sqrt(n * chance) + 3
    # Two free angles and a pair that closes the sum: each has the exact plaquette.
    cosines = np.cos(u1.sample_plaquettes(spawn_rngs(4, n), n, 2.0, 4)).mean(axis=0)
    error = np.sqrt(u1.single_plaquette_variance(2.0, (2, 2)) / n)
    assert np.abs(cosines - u1.plaquette(2.0, (2, 2))).max() < SIGMA * error


def test_it_runs_in_chains(tmp_path):
    kernel = Cycle([HMC(QUARKS, 0.2, 2), SAMPLER])
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    theory = theories.u1(BETA, SHAPE)
    options = {"n_chains": 3, "n_steps": 3, "seed": 1, "observables": theory.recorded}
    folder = chains.run(kernel, theory.start, out=tmp_path / "run", executor="thread", **options)
    assert chains.load(folder)["accepted/IndependenceMetropolis"].shape == (3, 3)
    described = chains.read_manifest(folder)["kernel"]["kernels"][1]
    assert described["proposal"] == {"class": "PureGauge", "beta": 2.3, "shape": [4, 4]}


# --- beta of the proposals -----------------------------------------------------------------------------------------------
@settings(deadline=None)  # scipy is imported
@given(st.floats(1e-3, 1e4))
def test_matched_beta_is_the_inverse_of_the_plaquette(beta):
    from scipy.special import ive

    plaquette = ive(1, beta) / ive(0, beta)
    # 1e-16 of the plaquette is 2 beta^2 1e-16 of beta, and as much relative at small beta
    assert matched_beta(plaquette) == pytest.approx(beta, rel=1e-14 + 1e-15 * beta)


def test_matched_beta_at_the_ends():
    assert matched_beta(0.0) == 0.0
    assert matched_beta(1e-12) == pytest.approx(2e-12, rel=1e-12)
    assert matched_beta(1 - 1e-9) == pytest.approx(5e8, rel=1e-6)
    assert matched_beta(1 - 2.0**-50) == 2.0**49 + 0.25


def test_matched_beta_near_one_goes_on_from_the_root():
    # The root at 1.001e-5 and the expansion at 0.999e-5 have the digits of 1 - plaquette: some 1e-11 of the ratio.
    below, above = (matched_beta(1 - q) - 1 / (2 * q) - 3 * q / 8 for q in (0.999e-5, 1.001e-5))
    assert below == pytest.approx(0.25, abs=1e-6)
    assert above == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: matched_beta(1.0), "plaquette: got 1.0"),
        (lambda: matched_beta(-0.1), "plaquette: got -0.1"),
        (lambda: PureGauge(-1.0, (4, 4)), "beta: got -1.0"),
        (lambda: PureGauge(1.0, (4, 1)), "shape: got"),
        (lambda: PureGauge(1e9, (4, 4)), r"beta: got 1000000000.0, expected at most 1e\+08"),
        (lambda: IndependenceMetropolis(QUARKS, None), "proposal: got None, expected an object with action and draw"),  # type: ignore[arg-type]
        (lambda: pool_acceptance(np.zeros(1)), r"log_weights: got shape \(1,\), expected \(n,\)"),
        (lambda: pool_acceptance(np.zeros((2, 2))), r"log_weights: got shape \(2, 2\), expected \(n,\)"),
        (lambda: pool_acceptance(np.array([0.0, np.nan])), "log_weights: got a largest of nan"),
        (lambda: pool_acceptance(np.full(3, -np.inf)), "log_weights: got a largest of -inf"),
        (lambda: SAMPLER.noise(spawn_rngs(1, 2), (3, 2, 4, 4)), "rngs: got 2"),
        (lambda: IndependenceMetropolis(QUARKS, PureGauge(1.0, (4, 6))).step(
            spawn_rngs(1, 1), SAMPLER.init(np.zeros((1, 2, 4, 4)))), "proposal: got fields of shape"),
        (lambda: u1.sample(spawn_rngs(1, 2), 3, 1.0, (4, 4)), "rng: got 2 generators"),
        (lambda: u1.sample(spawn_rngs(1, 3), 3, 1.0, (4, 4), charge=0), "rng: got 3 generators"),
    ],
)  # fmt: skip
def test_bad_input_names_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
