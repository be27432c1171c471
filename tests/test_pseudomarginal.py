"""Pseudomarginal Metropolis: exact transition matrices of a toy, estimates that are kept, runs that are resumed."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from refimpl import chains
from refimpl.actions import WilsonU1
from refimpl.kernels import Cycle, IndependenceMetropolis, PseudomarginalMetropolis, spawn_rngs
from refimpl.kernels.metropolis import State
from refimpl.maps import Chain
from refimpl.models import Flow, UniformAngles
from tests.runs import by_hand, run


# --- three fields, and estimates of three values each -------------------------------------------------------------------
@dataclass(frozen=True)
class Levels:
    """An action of the one-number fields 0, 1, 2, read off a table; and draws from its density."""

    table: tuple[float, ...]
    angular = False

    def action(self, x):
        return np.array(self.table)[np.rint(x[:, 0]).astype(int)]

    def force(self, x):
        return np.zeros_like(x)

    def draw(self, rngs):
        p = np.exp(-np.array(self.table))
        x = np.array([[float(rng.choice(len(p), p=p / p.sum()))] for rng in rngs])
        return x, self.action(x)


# Chances of the estimates by the field, and the estimates over what they estimate, of mean 1.
CHANCES = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.25, 0.5, 0.25]])
VALUES = np.array([[0.25, 1.0, 8.0], [0.125, 0.5, 3.0], [0.75, 1.0, 1.5]])
VALUES /= (CHANCES * VALUES).sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Noisy:
    """Estimates of ``exp(-S)`` that have these values."""

    determinant: Levels

    def log_determinant_estimate(self, rngs, x):
        return self._drawn(rngs, x, CHANCES)

    def start_estimate(self, rngs, x):
        return self._drawn(rngs, x, CHANCES * VALUES)

    def _drawn(self, rngs, x, chances):
        levels = np.rint(x[:, 0]).astype(int)
        k = [rng.choice(3, p=chances[level]) for rng, level in zip(rngs, levels, strict=True)]
        return np.log(VALUES[levels, k]) - self.determinant.action(x)


GAUGE = Levels((0.3, -0.4, 0.1))
FERMIONS = Levels(tuple(-np.log([1.0, 2.0, 4.0]) - np.array(GAUGE.table)))  # together: weights 1 : 2 : 4
TARGET = np.array([1.0, 2.0, 4.0]) / 7
PROPOSAL = Levels((0.2, 0.5, 1.1))
KERNEL = PseudomarginalMetropolis(GAUGE, PROPOSAL, Noisy(FERMIONS))  # type: ignore[arg-type]  # a toy: levels in place of actions
PAIRS = [(level, k) for level in range(3) for k in range(3)]


def acceptances(kernel=KERNEL):
    """``(from pair, to pair)``: as the kernel decides for every pair of (field, value of the estimate)."""
    x = np.array([[float(level)] for level, _ in PAIRS])
    log_d = np.log(VALUES).ravel() - FERMIONS.action(x)
    state = kernel.init(x)
    state.action[...] = GAUGE.action(x) - log_d
    columns = []
    for y, its in zip(x, log_d, strict=True):
        there = np.tile(y, (len(x), 1))
        proposal, _, info = kernel.propose(
            state, there, PROPOSAL.action(there), np.full(len(x), its), np.full(len(x), 0.5)
        )
        assert np.array_equal(proposal.x, there)
        columns.append(info.acceptance)
    return np.array(columns).T


def moves(acceptance):
    """The transition matrix of a chain of pairs: the field from the proposal, its estimate, and the decision."""
    q = np.exp(-np.array(PROPOSAL.table))
    matrix = acceptance * (q[:, None] / q.sum() * CHANCES).ravel()
    return matrix + np.diag(1 - matrix.sum(axis=1))


def stationary(matrix):
    """The left eigenvector of eigenvalue 1."""
    system = np.vstack([matrix.T - np.eye(len(matrix)), np.ones(len(matrix))])
    return np.linalg.lstsq(system, np.append(np.zeros(len(matrix)), 1.0), rcond=None)[0]


def test_the_pair_of_field_and_estimate_is_stationary_and_reversible_and_the_field_has_the_target():
    matrix = moves(acceptances())
    law = (TARGET[:, None] * CHANCES * VALUES).ravel()
    assert np.abs(law @ matrix - law).max() < 1e-15
    flow = law[:, None] * matrix
    assert np.abs(flow - flow.T).max() < 1e-15
    # One eigenvalue is 1, so that this is the law: lstsq loses digits by the gap, which is above 0.1.
    assert np.sort(np.abs(np.linalg.eigvals(matrix)))[-2] < 0.9
    assert np.abs(stationary(matrix).reshape(3, 3).sum(axis=1) - TARGET).max() < 1e-14


def redrawn(chances):
    """The transition matrix of drawing the estimate anew, the field staying."""
    return np.kron(np.eye(3), np.ones((3, 1))) @ np.array(
        [[0.0] * 3 * i + list(chances[i]) + [0.0] * 3 * (2 - i) for i in range(3)]
    )


def test_an_estimate_drawn_anew_from_its_own_law_gives_another_distribution_and_as_a_start_gives_the_same():
    """Before every step: from the law of the estimates (MCWM) it is biased, from that of `start_estimate` a Gibbs step."""
    moved = moves(acceptances())
    biased = stationary(redrawn(CHANCES) @ moved).reshape(3, 3).sum(axis=1)
    assert np.abs(biased - TARGET).max() > 0.02
    law = (TARGET[:, None] * CHANCES * VALUES).ravel()
    assert np.abs(law @ redrawn(CHANCES * VALUES) @ moved - law).max() < 1e-15


def in_equilibrium(n):
    return np.random.default_rng(5).choice(3, size=(n, 1), p=TARGET).astype(float)


def test_chains_from_the_target_have_it_after_every_step():
    """Chains from exact fields: the frequencies of a step are within 5 standard deviations, and those of the estimates too."""
    n = 3000
    rngs = spawn_rngs(3, n)
    state = KERNEL.init(in_equilibrium(n))
    law = TARGET[:, None] * CHANCES * VALUES
    for step in range(4):
        state, _ = KERNEL.step(rngs, state)
        ratio = np.exp(GAUGE.action(state.x) + FERMIONS.action(state.x) - state.action)
        levels = state.x[:, 0].astype(int)
        k = np.abs(VALUES[levels] - ratio[:, None]).argmin(axis=1)
        counts = np.bincount(3 * levels + k, minlength=9)
        assert np.all(np.abs(counts / n - law.ravel()) < 5 * np.sqrt(law.ravel() / n)), step


def test_the_estimate_is_kept_to_the_bit_where_a_proposal_is_rejected():
    n = 200
    rngs = spawn_rngs(8, n)
    state = KERNEL.started(rngs, KERNEL.init(in_equilibrium(n)))
    again = KERNEL.started(rngs, state)
    assert again is state
    for _ in range(5):
        new, info = KERNEL.step(rngs, state)
        assert 0.2 < info.accepted.mean() < 0.9
        assert np.array_equal(new.action[~info.accepted], state.action[~info.accepted])
        assert np.array_equal(new.x[~info.accepted], state.x[~info.accepted])
        state = new


def test_a_start_is_drawn_where_there_is_no_estimate_and_nowhere_else():
    state = KERNEL.init(np.array([[0.0], [1.0], [2.0]]))
    state.action[1] = 0.75
    before = state.action.copy()
    started = KERNEL.started(spawn_rngs(np.random.SeedSequence(4), 3), state)
    assert started.action[1] == 0.75
    assert np.isfinite(started.action).all()
    assert np.array_equal(state.action, before, equal_nan=True)  # the state is another's


def test_proposed_angles_are_kept_by_their_representatives():
    uniform = Flow(UniformAngles((2, 2)), Chain(()))
    kernel = PseudomarginalMetropolis(WilsonU1(1.0), uniform, Noisy(FERMIONS))
    x = np.zeros((1, 2, 2, 2))
    y = np.full(x.shape, 4.0)
    proposal, _, _ = kernel.propose(State(x, np.zeros(1), np.zeros((1, 0))), y, *np.zeros((3, 1)))
    assert np.abs(proposal.x - (4.0 - 2 * np.pi)).max() < 1e-15


def test_a_chain_has_the_same_bits_in_any_batch():
    n = 12
    state, rngs = KERNEL.init(in_equilibrium(n)), spawn_rngs(4, n)
    parts = [KERNEL.init(in_equilibrium(n)[k : k + 3]) for k in range(0, n, 3)]
    streams = spawn_rngs(4, n)
    for _ in range(5):
        state, info = KERNEL.step(rngs, state)
        for i, part in enumerate(parts):
            parts[i], its = KERNEL.step(streams[3 * i : 3 * i + 3], part)
            assert np.array_equal(parts[i].action, state.action[3 * i : 3 * i + 3])
            assert np.array_equal(parts[i].x, state.x[3 * i : 3 * i + 3])
            assert np.array_equal(its.delta_h, info.delta_h[3 * i : 3 * i + 3])


def level(x):
    return x[:, 0]


class Plain:
    """As much of a theory as `tests.runs` needs."""

    has_sectors = False
    observables = recorded = {"level": level}  # noqa: RUF012

    def start(self, rng, n):
        return rng.choice(3, size=(n, 1), p=TARGET).astype(float)


@pytest.mark.parametrize("workers", [1, 3])
def test_runs_that_are_cut_and_resumed_keep_every_estimate(tmp_path, workers):
    options = {"record": ("accepted", "delta_h", "action"), "workers": workers}
    out = run(tmp_path / "run", 3, KERNEL, Plain(), segment_seconds=0.0, **options)
    run(out, 9, KERNEL, Plain(), resume=True, segment_seconds=0.0, **options)
    run(out, 20, KERNEL, Plain(), resume=True, **options)
    expected, _ = by_hand(20, KERNEL, Plain(), options["record"])
    got = chains.load(out)
    for name, values in expected.items():
        assert np.array_equal(got[name], values), name


# --- beside other kernels ------------------------------------------------------------------------------------------------
EXACT = IndependenceMetropolis(KERNEL.action, PROPOSAL)


def test_beside_a_kernel_of_the_exact_action_every_state_is_made_anew():
    """The exact kernel sees the exact action, and the estimate is drawn from its law at the field that it left."""
    n = 3000
    cycle = Cycle([EXACT, KERNEL])
    assert not cycle.one_state_action
    rngs, state = spawn_rngs(6, n), cycle.init(in_equilibrium(n))
    for step in range(3):
        state, infos = cycle.step(rngs, state)
        assert np.array_equal(state.action, KERNEL.action.action(state.x))
        frequencies = np.bincount(state.x[:, 0].astype(int), minlength=3) / n
        assert np.all(np.abs(frequencies - TARGET) < 5 * np.sqrt(TARGET / n)), step
    assert 0.3 < infos[1].accepted.mean() < 0.9


def test_two_of_the_same_share_the_estimate():
    n = 50
    cycle = Cycle([KERNEL, PseudomarginalMetropolis(GAUGE, Levels((0.0, 0.0, 0.0)), KERNEL.estimator)])
    assert cycle.one_state_action
    rngs, by_itself = spawn_rngs(6, n), spawn_rngs(6, n)
    state, _ = cycle.step(rngs, cycle.init(in_equilibrium(n)))
    expected = KERNEL.init(in_equilibrium(n))
    for kernel in cycle.kernels:
        expected, _ = kernel.step(by_itself, expected)
    assert np.array_equal(state.action, expected.action)


# --- errors ----------------------------------------------------------------------------------------------------------------
class Without:
    """An estimator whose estimates are something else."""

    determinant = FERMIONS

    def __init__(self, value):
        self.value = value

    def log_determinant_estimate(self, rngs, x):
        return np.where(np.arange(len(x)) % 2, self.value, -FERMIONS.action(x))

    def start_estimate(self, rngs, x):
        return -FERMIONS.action(x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_proposal_without_a_finite_estimate_is_rejected_and_counted(value):
    kernel = PseudomarginalMetropolis(GAUGE, PROPOSAL, Without(value))
    rngs = spawn_rngs(1, 20)
    state = kernel.started(rngs, kernel.init(in_equilibrium(20)))
    new, info = kernel.step(rngs, state)
    assert np.array_equal(info.non_finite, np.arange(20) % 2 == 1)
    assert not info.accepted[1::2].any()
    assert np.array_equal(new.action[1::2], state.action[1::2])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="proposal: got 3, expected an object with action and draw"):
        PseudomarginalMetropolis(GAUGE, 3, Noisy(FERMIONS))
    message = "estimator: got .*, expected an object with determinant, log_determinant_estimate and start_estimate"
    with pytest.raises(ValueError, match=message):
        PseudomarginalMetropolis(GAUGE, PROPOSAL, PROPOSAL)
    with pytest.raises(ValueError, match=re.escape("rngs: got 2 generators, expected one per chain (3)")):
        KERNEL.step(spawn_rngs(1, 2), KERNEL.init(in_equilibrium(3)))
    state = KERNEL.init(np.zeros((2, 1)))
    with pytest.raises(ValueError, match=re.escape("proposal: got fields of shape (2, 2), expected (2, 1)")):
        KERNEL.propose(state, np.zeros((2, 2)), np.zeros(2), np.zeros(2), np.full(2, 0.5))


def test_a_start_without_a_finite_estimate_is_refused():
    class Bad(Without):
        def start_estimate(self, rngs, x):
            return np.full(len(x), self.value)

    for value in (np.nan, np.inf, -np.inf):
        kernel = PseudomarginalMetropolis(GAUGE, PROPOSAL, Bad(value))
        with pytest.raises(ValueError, match=r"x: got a field of estimated action .*, expected a finite one"):
            kernel.step(spawn_rngs(1, 2), kernel.init(in_equilibrium(2)))
