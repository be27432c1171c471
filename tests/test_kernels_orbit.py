"""Moves along the orbit of the unit flux with quarks: transition matrices of whole orbits, reweighting, bits, bad input."""

import importlib
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import chains, theories
from refimpl.actions import Sum, WilsonDeterminant, WilsonU1
from refimpl.actions.determinant import log_determinant
from refimpl.actions.dirac import wilson_dirac
from refimpl.exact import u1
from refimpl.groups import wrap
from refimpl.kernels import HMC, Cycle, OrbitHeatBath, OrbitMetropolis, OrbitPool, Winding, spawn_rngs
from refimpl.kernels.topology import drawn
from refimpl.observables import charge, mean_plaquette

from .targets.orbit import FAULTS, Inverted, MovingWindow, WrongSoftmax, broken, orbit, stationary, transition_matrix

SIGMA = 5  # seeds are fixed, so this is about where the limits lie, not about false alarms
# Probabilities from actions of a few tens, whose determinants and sums are rounded to some ulps (3e-15) each, at most once per
# factor; the matrix is doubly rounded again. Seen: 1.1e-15.
ROUNDING = 1e-14
QUARKS = WilsonU1(1.3) + WilsonDeterminant(0.23)


def moves_of(action):
    return {
        "W": Winding(action),
        "C1": OrbitMetropolis(action),
        "CM": OrbitPool(action, 3),
        "full": OrbitHeatBath(action),
    }


def field(shape, seed=1, beta=1.0):
    return u1.sample(np.random.default_rng(seed), 1, beta, shape)[0]


def violations(kernel, members):
    """Largest entries of ``pi P - pi``, of the flow's antisymmetric part, and of the row sums less 1."""
    p, pi = transition_matrix(kernel, members), stationary(kernel.action, members)
    flow = pi[:, None] * p
    return np.abs(pi @ p - pi).max(), np.abs(flow - flow.T).max(), np.abs(p.sum(axis=1) - 1).max()


# --- transition matrices -------------------------------------------------------------------------------------------------
ACTIONS = {
    "quarks": QUARKS,
    "light quarks, first in the sum": WilsonDeterminant(0.28) + WilsonU1(0.7),
    "two kinds of quarks": WilsonU1(0.8) + WilsonDeterminant(0.2) + WilsonDeterminant(0.26, antiperiodic=False),
}


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3)])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", ["W", "C1", "CM", "full"])
def test_moves_keep_the_target_and_are_reversible(name, action, shape):
    kernel = moves_of(ACTIONS[action])[name]
    if name == "CM" and shape != (2, 2):
        kernel = OrbitPool(ACTIONS[action], 2)
    for seed in (1, 2):
        members = orbit(field(shape, seed))
        pi = stationary(kernel.action, members)
        assert np.sum(pi > 1e-3) > 2
        assert max(violations(kernel, members)) < ROUNDING


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["C1", "CM", "full"])
def test_faults_are_seen(name, fault):
    kernel = broken(moves_of(QUARKS)[name], fault)
    stationarity, balance, _ = violations(kernel, orbit(field((2, 3))))
    assert stationarity > 1e-4
    assert balance > 1e-4


@pytest.mark.parametrize("reach", [1, 2])
def test_a_window_that_moves_with_the_field_is_seen(reach):
    # 2 K + 1 < V: a window that is the whole orbit is right
    stationarity, balance, rows = violations(MovingWindow(QUARKS, reach), orbit(field((2, 3))))
    assert rows < ROUNDING
    assert stationarity > 1e-3
    assert balance > 1e-3
    assert max(violations(MovingWindow(QUARKS, 4), orbit(field((3, 3))))) < ROUNDING


def test_full_orbit_forgets_the_member_it_came_from():
    members = orbit(field((3, 3)))
    pi = stationary(QUARKS, members)
    assert np.abs(transition_matrix(OrbitHeatBath(QUARKS), members) - pi).max() < ROUNDING


def test_more_candidates_come_closer_to_the_heat_bath():
    members = orbit(field((2, 2)))
    stay = [np.trace(transition_matrix(OrbitPool(QUARKS, m), members)) for m in (1, 2, 4)]
    assert stay[0] > stay[1] > stay[2] > np.trace(transition_matrix(OrbitHeatBath(QUARKS), members)) - ROUNDING
    assert np.trace(transition_matrix(OrbitMetropolis(QUARKS), members)) < stay[0]  # Metropolis stays less than Barker


# --- steps do what the matrices say --------------------------------------------------------------------------------------
def counted(kernel, members, noise):
    """How often each member of the orbit follows each, with every noise once for every member, as fractions."""
    volume, n = len(members), len(noise[0])
    state = kernel.init(np.repeat(members, n, axis=0))
    proposal, k, info = kernel.propose(state, *(np.concatenate([u] * volume) for u in noise))
    start = np.repeat(np.arange(volume), n)
    end = (start + np.where(info.accepted, k, 0).astype(int)) % volume
    taken = np.where(info.accepted[:, None, None, None], proposal.x, state.x)
    assert np.abs(wrap(taken - members[end])).max() < 1e-13
    counts = np.zeros((volume, volume))
    np.add.at(counts, (start, end), 1 / n)
    return counts


def grid(n, dimensions):
    """All tuples of n equally spaced uniforms, ``(n^dimensions, dimensions)``."""
    return np.array(list(itertools.product((np.arange(n) + 0.5) / n, repeat=dimensions)))


@pytest.mark.parametrize("name", ["C1", "CM", "full"])
def test_proposals_and_decisions_have_these_probabilities(name):
    # A grid of n uniforms in each variable counts every interval right to 1/n, and there are less than V + 1 of them.
    members = orbit(field((2, 2)))
    kernel, n, dimensions = {
        "C1": (OrbitMetropolis(QUARKS), 60, 2),
        "CM": (OrbitPool(QUARKS, 1), 60, 2),
        "full": (OrbitHeatBath(QUARKS), 2000, 1),
    }[name]
    points = grid(n, dimensions)
    noise = (points[:, :1] if name == "CM" else points[:, 0], points[:, 1]) if dimensions == 2 else (points[:, 0],)
    difference = counted(kernel, members, noise) - transition_matrix(kernel, members)
    assert np.abs(difference).max() < 5 * dimensions / n


def test_a_pool_of_two_draws_both_and_chooses_among_three():
    members, n = orbit(field((2, 2))), 4000
    kernel, u = OrbitPool(QUARKS, 2), np.random.default_rng(1).random((n, 3))
    p = transition_matrix(kernel, members)
    difference = counted(kernel, members, (u[:, :2], u[:, 2])) - p
    assert np.abs(difference / np.sqrt((p * (1 - p) + 1e-3) / n)).max() < SIGMA


@pytest.mark.parametrize("kernel", [OrbitPool(QUARKS, 3), OrbitHeatBath(QUARKS)], ids=["CM", "full"])
def test_acceptance_is_the_probability_of_another_slot(kernel):
    state = kernel.init(u1.sample(np.random.default_rng(2), 20, 1.3, (2, 2)))
    *candidates, u = kernel.noise(spawn_rngs(3, 20), state.x.shape)
    info = kernel.propose(state, *candidates, u)[2]
    chosen = [kernel.propose(state, *candidates, np.full(20, v))[2].accepted for v in (np.arange(100) + 0.5) / 100]
    # A grid of 100 uniforms counts an interval that begins at 0 right to half a cell.
    assert np.abs(np.mean(chosen, axis=0) - info.acceptance).max() <= 0.5 / 100 + 1e-12
    assert np.ptp(info.acceptance) > 0.05


def test_drawn_shapes():
    weights = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 5.0]])
    u = np.array([[0.1, 0.0], [0.3, 0.5], [0.9, 1 - 2.0**-53]])
    assert np.array_equal(drawn(weights, u), [[0, 2], [1, 2], [2, 2]])
    assert np.array_equal(drawn(weights, u[1]), [1, 2])


# --- state and information -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["W", "C1", "CM", "full", "cycle"])
def test_state_keeps_the_action_and_force_of_its_field(name):
    x = u1.sample(np.random.default_rng(1), 20, 2.0, (4, 4))
    kernel = Cycle([HMC(QUARKS, 0.2, 3), OrbitPool(QUARKS)]) if name == "cycle" else moves_of(QUARKS)[name]
    state, rngs = kernel.init(x), spawn_rngs(1, 20)
    for _ in range(4):
        state, _ = kernel.step(rngs, state)
    # actions of some tens, forces of some units, both from determinants of 16 rows
    assert np.abs(state.action - QUARKS.action(state.x)).max() < 1e-12
    assert np.abs(state.force - QUARKS.force(state.x)).max() < 1e-12
    assert np.any(charge(state.x) != charge(x))


def counting(monkeypatch):
    calls = []
    original = WilsonDeterminant.action

    def counted(self, x):
        calls.append(len(x))
        return original(self, x)

    monkeypatch.setattr(WilsonDeterminant, "action", counted)
    return calls


@pytest.mark.parametrize("name", ["C1", "CM", "full"])
def test_evaluations_are_those_of_new_fields_only(name, monkeypatch):
    x = u1.sample(np.random.default_rng(1), 60, 1.3, (4, 4))
    kernel = moves_of(QUARKS)[name]
    state, rngs = kernel.init(x), spawn_rngs(1, 60)
    calls = counting(monkeypatch)
    noise = kernel.noise(rngs, x.shape)
    proposal, k, info = kernel.propose(state, *noise)
    assert sum(calls) == info.evaluations.sum()
    for old, new in zip(vars(state).values(), vars(proposal).values(), strict=True):
        assert np.array_equal(old[k == 0], new[k == 0])  # to the bit: nothing was computed anew
    if name == "C1":
        assert np.array_equal(info.evaluations, k != 0)
        assert 0.2 < np.mean(k == 0) < 0.9
        still = k == 0
        assert np.all(info.accepted[still])
        assert np.array_equal(info.delta_h[still], np.zeros(still.sum()))
    elif name == "CM":
        pool = drawn(np.exp(kernel.log_softmax(x)), noise[0].T)
        assert list(info.evaluations) == [len(set(own) - {0}) for own in pool.T]
        assert len(set(info.evaluations)) > 2
    else:
        assert np.all(info.evaluations == 15)


def test_metropolis_decides_by_the_square_of_the_determinant():
    x = u1.sample(np.random.default_rng(1), 200, 1.3, (4, 4))
    kernel = OrbitMetropolis(QUARKS)
    state = kernel.init(x)
    candidate, u = kernel.noise(spawn_rngs(2, 200), x.shape)
    proposal, k, info = kernel.propose(state, candidate, u)
    old, new = (2 * log_determinant(wilson_dirac(y, 0.23))[0] for y in (x, np.asarray(proposal.x)))
    assert np.abs(info.delta_h - np.where(k == 0, 0, old - new)).max() < 1e-12
    assert np.array_equal(info.accepted, np.log(u) < -info.delta_h)
    assert 20 < np.sum(~info.accepted) < 180


class Wall:
    """No weight at all outside charge 0; NaN in charge 1: what an action does that fails."""

    angular = True

    def action(self, x):
        q = charge(x)
        return np.where(q == 0, 0.0, np.where(q == 1, np.nan, np.inf))

    def force(self, x):
        return np.zeros_like(x)


@pytest.mark.parametrize("make", [OrbitMetropolis, OrbitPool, OrbitHeatBath])
def test_members_without_weight_are_never_taken_and_counted(make):
    x = u1.sample(np.random.default_rng(1), 200, 1.5, (4, 4))
    x = x[charge(x) == 0]
    kernel = make(Sum((WilsonU1(1.5), Wall())))
    state, rngs = kernel.init(x), spawn_rngs(1, len(x))
    broken_ones = 0
    for _ in range(3):
        state, info = kernel.step(rngs, state)
        broken_ones += info.non_finite.sum()
    assert np.array_equal(charge(state.x), np.zeros(len(x)))
    assert broken_ones > 50
    assert np.all(np.isfinite(state.action))


# --- against reweighting -------------------------------------------------------------------------------------------------
BETA, KAPPA, SHAPE = 1.0, 0.24, (4, 4)  # an orbit wide enough that a window of three members matters


@pytest.fixture(scope="module")
def weighted():
    """Exact pure gauge fields and their weights ``det D^2``: exactly the theory with quarks."""
    x = u1.sample(np.random.default_rng(5), 3000, BETA, SHAPE)
    log_w = -WilsonDeterminant(KAPPA).action(x)
    return x, np.exp(log_w - log_w.max())


def weighted_changes(kernel, x, w):
    """``sum w (f(y) - f(x)) / error`` of one step from weighted fields, for several f: standard normal, if exact.

    The terms are independent, of mean zero in a stationary step, and bounded (a determinant is, by that of free quarks): the sum
    of thousands is normal.
    """
    old = kernel.init(x)
    new, _ = kernel.step(spawn_rngs(6, len(x)), old)
    found = {}
    for name, f in {
        "plaquette": lambda state: mean_plaquette(np.asarray(state.x)),
        "charge^2": lambda state: charge(np.asarray(state.x)) ** 2.0,
        "sector 1": lambda state: 1.0 * (np.abs(charge(np.asarray(state.x))) == 1),
        "action": lambda state: state.action,
    }.items():
        terms = w * (f(new) - f(old))
        found[name] = terms.sum() / np.sqrt(np.sum(terms**2))
    return found


@pytest.mark.parametrize("name", ["W", "C1", "CM", "full"])
def test_one_step_keeps_reweighted_averages(name, weighted):
    kernel = moves_of(WilsonU1(BETA) + WilsonDeterminant(KAPPA))[name]
    n = 1000 if name == "full" else 2000
    found = weighted_changes(kernel, *(part[:n] for part in weighted))
    assert max(map(abs, found.values())) < SIGMA, found


def test_wrong_moves_change_reweighted_averages(weighted):
    action = WilsonU1(BETA) + WilsonDeterminant(KAPPA)
    for kernel in (
        broken(OrbitMetropolis(action), Inverted),
        broken(OrbitPool(action), WrongSoftmax),
        MovingWindow(action),
    ):
        found = weighted_changes(kernel, *weighted)
        assert max(map(abs, found.values())) > SIGMA, found


# --- bits, pickles, runs -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["C1", "CM", "full"])
@settings(max_examples=5, deadline=None)
@given(which=st.lists(st.integers(0, 5), min_size=1, unique=True), block=st.sampled_from([1, 48, 130, 10**6]))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(name, which, block):
    x = u1.sample(np.random.default_rng(1), 6, 2.0, (4, 4))
    kernel = moves_of(QUARKS)[name]

    def run(which):
        rngs, state = [spawn_rngs(2, 6)[c] for c in which], kernel.init(x[which])
        for _ in range(2):
            state, info = kernel.step(rngs, state)
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


def test_moves_run_in_other_processes(tmp_path):
    kernel = Cycle([HMC(QUARKS, 0.2, 2), OrbitMetropolis(QUARKS), OrbitPool(QUARKS, 2), OrbitHeatBath(QUARKS)])
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    theory = theories.u1(1.3, (2, 4))
    options = {
        "n_chains": 3,
        "n_steps": 3,
        "seed": 1,
        "observables": theory.recorded,
        "record": ("accepted", "delta_h"),
    }
    folder = chains.run(kernel, theory.start, out=tmp_path / "run", executor="thread", **options)
    series = chains.load(folder)
    assert series["accepted/OrbitPool"].shape == (3, 3)
    described = chains.read_manifest(folder)["kernel"]["kernels"][2]
    assert described["class"] == "OrbitPool"
    assert described["candidates"] == 2
    assert [term["class"] for term in described["action"]["terms"]] == ["WilsonU1", "WilsonDeterminant"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OrbitMetropolis(WilsonU1(1.0)), "action: got"),  # type: ignore[arg-type]
        (lambda: OrbitHeatBath(WilsonDeterminant(0.1) + WilsonDeterminant(0.2)), "action: got"),
        (lambda: OrbitPool(WilsonU1(1.0) + WilsonU1(2.0) + WilsonDeterminant(0.2)), "action: got"),
        (lambda: OrbitPool(QUARKS, 0), "candidates: got 0"),
        (lambda: OrbitPool(QUARKS, 1.5), "candidates: got 1.5"),  # type: ignore[arg-type]
        (lambda: OrbitMetropolis(QUARKS).init(np.zeros((2, 8))), "x: got shape"),
        (lambda: OrbitPool(QUARKS).noise(spawn_rngs(1, 2), (3, 2, 2, 2)), "rngs: got 2"),
        (lambda: Cycle([OrbitMetropolis(QUARKS), Winding(WilsonU1(1.3))]), "kernels: got actions"),
    ],
)
def test_bad_input_names_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
