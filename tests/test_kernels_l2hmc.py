"""The kernels of the generalized leapfrog: exact for any weights, one chain at a time, either direction."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import observables, theories
from refimpl.exact import u1
from refimpl.kernels import HMC, Cycle, metropolis, spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.nets import Net

from .models import HMC_WEIGHTS, THEORIES, build, distance, maps

DENSE, SCALARS = Net("dense", units=(4,)), Net("scalars")
MODES = {"direction": {}, "merged": {"merged": True}, "winding": {"merged": True, "winding": 1}}


def coherent(theory, s, n_layers=2, **options):
    """Nets whose S is ``s`` everywhere, with weights on the field too: logdet of one sign in all chains."""
    model = build(theory, 1, size=0, n_layers=n_layers, v_net=DENSE, x_net=DENSE, **options)
    params = dict(model.params)
    for which in "vx":
        params[f"{which}/head/s/scale"] = np.full_like(params[f"{which}/head/s/scale"], 2 * s)
        params[f"{which}/head/s/bias"] = np.full_like(params[f"{which}/head/s/bias"], np.arctanh(0.5))
        params[f"{which}/head/t/bias"] = np.full_like(params[f"{which}/head/t/bias"], 0.2)
    return model.replace(params=params)


def kinetic(v):
    return 0.5 * np.square(v).reshape(len(v), -1).sum(axis=1)


# --- one step --------------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(case=maps(), seed=st.integers(0, 2**32))
def test_a_step_is_the_metropolis_step_of_the_map(case, seed):
    theory, model = case
    kernel = L2HMC(model)
    x = theory.sample(np.random.default_rng(seed), 6)
    state = kernel.init(x)
    new, info = kernel.step(spawn_rngs(seed, 6), state)
    noise = kernel.noise(spawn_rngs(seed, 6), x.shape)
    assert kernel.directed == (not model.merged or model.architecture.winding != 0)
    assert len(noise) == 3 if kernel.directed else 2
    v, u, d = noise if kernel.directed else (*noise, np.ones(6))
    assert set(np.unique(d)) <= {-1.0, 1.0}
    for c in range(6):
        (y, w), logdet = (model.forward if d[c] > 0 else model.inverse)((x[c : c + 1], v[c : c + 1]))
        energies = [theory.action.action(field) + kinetic(p) for field, p in ((x[c : c + 1], v[c : c + 1]), (y, w))]
        delta_h = (energies[1] - energies[0])[0]
        # energies up to 100, rounded twice
        assert abs(info.delta_h[c] - delta_h) < 1e-11
        assert abs(info.logdet[c] - logdet[0]) < 1e-12
        assert abs(info.acceptance[c] - min(1, np.exp(min(0, logdet[0] - delta_h)))) < 1e-10
        assert info.accepted[c] == (np.log(u[c]) < info.logdet[c] - info.delta_h[c])
        assert distance(theory, new.x[c], y[0] if info.accepted[c] else x[c]) < 1e-12
    assert not info.non_finite.any()
    if theory.action.angular:
        far = kernel.propose(state, v + 20.0, *noise[1:])[0].x
        assert all(np.all((field >= -np.pi) & (field < np.pi)) for field in (far, new.x))
    assert np.allclose(new.action, theory.action.action(new.x), rtol=0, atol=1e-11)
    assert np.allclose(new.force, theory.action.force(new.x), rtol=0, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(case=maps(), seed=st.integers(0, 2**32), block=st.integers(1, 200))
def test_bits_do_not_depend_on_batch_or_block(case, seed, block):
    theory, model = case
    kernel = L2HMC(model)
    x = theory.sample(np.random.default_rng(seed), 9)

    def run(chains):
        rngs = [spawn_rngs(seed, 9)[c] for c in chains]
        state = kernel.init(x[chains])
        infos = []
        for _ in range(2):
            state, info = kernel.step(rngs, state)
            infos.append(info)
        return [state.x, state.action, state.force, *(part for info in infos for part in vars(info).values())]

    whole = run(list(range(9)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("refimpl.kernels.metropolis"), "BLOCK_ELEMENTS", block)
        assert all(np.array_equal(a, b) for a, b in zip(whole, run(list(range(9))), strict=True))
    for chains in ([0], [8, 3]):
        assert all(np.array_equal(a[chains], b) for a, b in zip(whole, run(chains), strict=True))


def test_directions_are_fair_coins_and_each_chain_has_its_own():
    kernel = L2HMC(build(THEORIES["gmm"], n_layers=1))
    v, u, d = kernel.noise(spawn_rngs(3, 4000), (4000, 2))
    assert set(np.unique(d)) == {-1.0, 1.0}
    error = 5 / np.sqrt(4000)  # five standard errors of a coin, a normal, a uniform times sqrt(12)
    assert abs(d.mean()) < error
    assert abs(v.mean()) < error
    assert abs(np.mean(v**2) - 1) < error * np.sqrt(2)
    assert abs(u.mean() - 0.5) < error / np.sqrt(12)
    assert abs(np.corrcoef(d, u)[0, 1]) < error
    assert abs(np.corrcoef(d, v[:, 0])[0, 1]) < error
    assert u.min() > 0
    assert u.max() < 1


def test_without_nets_it_is_hmc():
    theory = THEORIES["u1"]
    model = build(theory, n_layers=5, v_net=DENSE, x_net=DENSE, weights=HMC_WEIGHTS)
    model = model.replace(params=model.params | {"eps_x": np.full(5, 0.2), "eps_v": np.full(5, 0.2)})
    x = theory.sample(np.random.default_rng(4), 8)
    ours, theirs = L2HMC(model), HMC(theory.action, 0.2, 5)
    v, u, _ = ours.noise(spawn_rngs(5, 8), x.shape)
    for d in (np.ones(8), None):
        a, b = ours.propose(ours.init(x), v, u, d), theirs.propose(theirs.init(x), v, u)
        assert distance(theory, a[0].x, b[0].x) < 1e-13  # rounding of five steps
        assert np.max(np.abs(a[1] - b[1])) < 1e-13
        assert np.max(np.abs(a[2].delta_h - b[2].delta_h)) < 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_the_proposal_comes_back(mode):
    theory = THEORIES["u1"]
    kernel = L2HMC(coherent(theory, 0.3, **MODES[mode]))
    x = theory.sample(np.random.default_rng(6), 10)
    state = kernel.init(x)
    noise = kernel.noise(spawn_rngs(7, 10), x.shape)
    proposal, v, info = kernel.propose(state, *noise)
    d = [-noise[2]] if kernel.directed else []
    again, w, back = kernel.propose(proposal, v, noise[1], *d)
    assert kernel.directed == (mode != "merged")
    assert distance(theory, proposal.x, x) > 0.1
    assert distance(theory, again.x, x) < 1e-12  # rounding of eight layers
    assert np.max(np.abs(w - noise[0])) < 1e-12
    assert np.max(np.abs(back.logdet + info.logdet)) < 1e-12
    assert np.max(np.abs(back.delta_h + info.delta_h)) < 1e-11
    if mode == "winding":
        for sign in (1.0, -1.0):
            forced, _, _ = kernel.propose(state, *noise[:2], np.full(10, sign))
            assert (distance(theory, forced.x, proposal.x) == 0) == bool(np.all(noise[2] == sign))


@pytest.mark.parametrize("mode", MODES)
def test_proposals_that_are_not_finite_are_rejected_and_counted(mode):
    theory = THEORIES["u1"]
    kernel = L2HMC(coherent(theory, 0.3, **MODES[mode]))
    x = theory.sample(np.random.default_rng(8), 3)
    state = kernel.init(x)
    v, _, *d = kernel.noise(spawn_rngs(9, 3), x.shape)
    v[1, 0, 0, 0] = np.inf
    v[2] = 1e200
    _, _, info = kernel.propose(state, v, np.full(3, 1e-300), *d)
    assert list(info.non_finite) == [False, True, True]
    assert list(info.accepted[1:]) == [False, False]
    assert list(info.acceptance[1:]) == [0.0, 0.0]


@pytest.mark.parametrize("mode", ["direction", "merged"])
def test_a_step_that_explodes_keeps_its_chains(mode):
    theory = THEORIES["gmm"]
    model = build(theory, n_layers=2, v_net=Net("scalars", outputs="s"), size=0, step_size=1e3, **MODES[mode])
    model.params["v/scalar/s"][:] = 3.0
    kernel = L2HMC(model)
    x = theory.sample(np.random.default_rng(10), 5)
    state, info = kernel.step(spawn_rngs(11, 5), kernel.init(x))
    assert info.non_finite.any()
    assert not info.accepted.any()
    assert np.array_equal(state.x, x)
    assert np.array_equal(state.action, theory.action.action(x))


def test_a_cycle_with_hmc_is_one_after_the_other():
    theory = THEORIES["u1"]
    ours, theirs = L2HMC(coherent(theory, 0.2)), HMC(theory.action, 0.2, 5)
    cycle = Cycle([theirs, ours])
    x = theory.sample(np.random.default_rng(12), 6)
    state, infos = cycle.step(spawn_rngs(13, 6), cycle.init(x))
    rngs = spawn_rngs(13, 6)
    middle, first = theirs.step(rngs, theirs.init(x))
    end, second = ours.step(rngs, middle)
    assert np.array_equal(state.x, end.x)
    assert np.array_equal(infos[0].delta_h, first.delta_h)
    assert np.array_equal(infos[1].logdet, second.logdet)
    with pytest.raises(ValueError, match="expected one action"):
        Cycle([HMC(theories.u1(1.0, (4, 4)).action, 0.2, 5), ours])


def test_bad_fields_and_generators_are_refused():
    kernel = L2HMC(build(THEORIES["gmm"], n_layers=1))
    with pytest.raises(ValueError, match=r"x: got shape \(3, 4\), expected \(chain, 2\)"):
        kernel.init(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"x: got shape \(3, 2, 4, 6\), expected \(chain, 2, 4, 4\)"):
        L2HMC(build(THEORIES["u1"], n_layers=1)).init(np.zeros((3, 2, 4, 6)))
    with pytest.raises(ValueError, match=r"rngs: got 2 generators, expected one per chain \(3\)"):
        kernel.step(spawn_rngs(0, 2), kernel.init(np.zeros((3, 2))))


# --- many steps from exact starts ------------------------------------------------------------------------------------
def paired(before, after):
    """Mean change and its standard error: zero for a stationary kernel started from exact configurations."""
    change = after - before
    return change.mean(), change.std(ddof=1) / np.sqrt(len(change))


@pytest.mark.parametrize("mode", MODES)
def test_u1_stays_in_equilibrium_under_coherent_scaling(mode):
    theory = theories.u1(2.0, (4, 4))
    # direction: logdet of 1 to 3 at acceptance 0.3 to 0.8; merged: the way back takes it away again
    kernel = L2HMC(coherent(theory, 0.16, **MODES[mode]))
    n = 4000
    x = theory.sample(np.random.default_rng(14), n)
    state, rngs = kernel.init(x), spawn_rngs(15, n)
    for _ in range(3):
        state, info = kernel.step(rngs, state)
    if mode == "direction":
        assert 0.5 < np.mean(np.abs(info.logdet)) < 3
    assert 0.2 < info.acceptance.mean() < 0.95
    mean, error = paired(observables.mean_plaquette(x), observables.mean_plaquette(state.x))
    assert error < 0.004
    assert abs(mean) < 5 * error
    # and against the exact answer, from which a paired difference cannot drift unseen
    plaquettes = observables.mean_plaquette(state.x)
    assert abs(plaquettes.mean() - u1.plaquette(2.0, (4, 4))) < 5 * plaquettes.std() / np.sqrt(n)
    # the drift of links has a sign under T: gauge-invariant observables do not see it
    drift = np.sin(state.x - x).mean(axis=(1, 2, 3))
    # three reversible steps are reversible: (x, x') and (x', x) are equally likely
    assert abs(drift.mean()) < 5 * drift.std() / np.sqrt(n)
    # detailed balance: <min(1, r)> over the proposals is the mean of r on both sides; <exp(logdet - delta_h)> = 1
    v_noise = kernel.noise(spawn_rngs(16, n), x.shape)
    _, _, info = kernel.propose(kernel.init(x), *v_noise)
    weights = np.exp(np.minimum(info.logdet - info.delta_h, 20))
    assert abs(weights.mean() - 1) < 5 * weights.std() / np.sqrt(n)


@pytest.mark.parametrize("mode", ["direction", "merged"])
def test_the_mixture_keeps_its_occupancy(mode):
    theory = theories.gmm((0.3, 0.7), ((-1.0, 0.0), (1.0, 0.5)), (((0.4, 0.1), (0.1, 0.3)), ((0.3, 0.0), (0.0, 0.5))))
    kernel = L2HMC(coherent(theory, 0.4, n_layers=3, mask="checkerboard", step_size=0.3, **MODES[mode]))
    n = 8000
    x = theory.sample(np.random.default_rng(17), n)
    state, rngs = kernel.init(x), spawn_rngs(18, n)
    hops = 0.0
    for _ in range(3):
        before = theory.sector(state.x)
        state, info = kernel.step(rngs, state)
        hops += np.mean(theory.sector(state.x) != before)
    assert hops > 0.05
    assert 0.2 < info.acceptance.mean() < 0.98
    for name, exact in theory.exact.items():
        mean, error = paired(theory.observables[name](x), theory.observables[name](state.x))
        assert error < 0.05
        assert abs(mean) < 5 * error, name
        values = theory.observables[name](state.x)
        assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(n), name


def test_the_decision_counts_logdet_once():
    # the formula of the decision, at numbers
    info = metropolis(np.array([0.5, 0.5, -1.0]), np.array([0.2, -0.2, -3.0]), np.array([0.74, 0.5, 0.13]))
    assert np.allclose(info.acceptance, np.exp([-0.3, -0.7, -2.0]), rtol=1e-15)
    assert list(info.accepted) == [True, False, True]
