"""Nested time scales: equal to HMC at one level, reversible, second order at every level, exact; cycles and runs with them."""

from __future__ import annotations

import copy
import importlib
import pickle
from functools import lru_cache

import numpy as np
import pytest

from refimpl import chains
from refimpl.actions import (
    Gaussian,
    O2Chain,
    Pseudofermion,
    WilsonDeterminant,
    WilsonSUN,
    WilsonU1,
    hasenbusch,
    log_determinant,
    two_gaussians,
    wilson_dirac,
)
from refimpl.chains.description import description
from refimpl.exact import u1
from refimpl.kernels import HMC, Cycle, Level, NestedHMC, State, Winding, spawn_rngs, wind
from refimpl.maps import LEAPFROG, OMELYAN, Integrator
from refimpl.observables import charge, mean_plaquette

from .gauge_fields import links

KAPPA, BETA = 0.265, 2.0
GAUGE = WilsonU1(BETA)
# A third palindrome, with drifts of two sizes.
UNEVEN = Integrator("uneven", (0.2, 0.3, 0.3, 0.4, 0.3, 0.3, 0.2))


def nested(mus=(), n_steps=4, inner=2, integrator=LEAPFROG, length=0.5, **options):
    monomials = hasenbusch(KAPPA, mus, **options)
    levels = [Level((monomial,), n_steps, integrator) for monomial in monomials]
    gauge = WilsonSUN(BETA, options["n"]) if options.get("n", 1) > 1 else GAUGE
    return NestedHMC((*levels, Level((gauge,), inner, integrator)), length)


@lru_cache
def pool(n=100_000):
    """Exact pure-gauge fields on 2 x 2 and the weights that the determinant gives them."""
    x = u1.sample(np.random.default_rng(12), n, BETA, (2, 2))
    return x, np.exp(2 * log_determinant(wilson_dirac(x, KAPPA))[0])


def reweighted(values):
    """The mean with the weight of the determinant, and its error."""
    weights = pool()[1]
    mean = np.average(values, weights=weights)
    return mean, np.sqrt((weights**2 * (values - mean) ** 2).sum()) / weights.sum()


def equilibrium(n, seed):
    """Fields of the whole target, taken from the pool."""
    x, weights = pool()
    return x[np.random.default_rng(seed).choice(len(x), n, p=weights / weights.sum())]


@pytest.mark.parametrize("integrator", [LEAPFROG, OMELYAN, UNEVEN])
@pytest.mark.parametrize("even_odd", [False, True])
def test_one_level_is_hmc_with_the_pseudofermions_fixed(even_odd, integrator):
    (monomial,) = hasenbusch(KAPPA, even_odd=even_odd)
    kernel = NestedHMC((Level((GAUGE, monomial), 6, integrator),), 0.9)
    state = kernel.init(links(np.random.default_rng(1), 1, 3, (4, 4)))
    v, u, chi = kernel.noise(spawn_rngs(2, 3), state.force.shape)
    new, momenta, info = kernel.propose(state, v, u, chi)
    hmc = HMC(GAUGE + monomial.at(monomial.heat_bath(state.x, chi)), 0.15, 6, integrator)
    expected, expected_momenta, expected_info = hmc.propose(hmc.init(state.x), v, u)
    np.testing.assert_allclose(new.x, expected.x, rtol=0, atol=1e-11)
    np.testing.assert_allclose(momenta, expected_momenta, rtol=0, atol=1e-11)
    np.testing.assert_allclose(info.delta_h, expected_info.delta_h, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(info.accepted, expected_info.accepted)
    # The state has the energy of the gauge action alone.
    np.testing.assert_allclose(new.action, GAUGE.action(new.x), rtol=1e-13)
    np.testing.assert_allclose(new.force, GAUGE.force(new.x), rtol=0, atol=1e-14)


def test_without_pseudofermions_it_is_hmc_and_one_level_may_do_nothing_of_its_own():
    hmc, x = HMC(GAUGE, 0.1, 10), links(np.random.default_rng(3), 1, 4, (4, 3))
    expected, _ = hmc.step(spawn_rngs(4, 4), hmc.init(x))
    for levels in ((Level((GAUGE,), 10),), (Level((WilsonU1(0.0),), 5), Level((GAUGE,), 2))):
        kernel = NestedHMC(levels, 1.0)
        state, _ = kernel.step(spawn_rngs(4, 4), kernel.init(x))
        np.testing.assert_allclose(state.x, expected.x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(state.force, expected.force, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("action", "shape"), [(Gaussian(np.eye(2)), (3, 2)), (two_gaussians(), (3, 2)), (O2Chain(1.0), (3, 5))]
)
def test_without_pseudofermions_it_is_hmc_of_any_action(action, shape):
    hmc, kernel = HMC(action, 0.1, 3), NestedHMC((Level((action,), 3),), 0.3)
    x = np.random.default_rng(5).normal(size=shape)
    expected, _ = hmc.step(spawn_rngs(4, 3), hmc.init(x))
    state, _ = kernel.step(spawn_rngs(4, 3), kernel.init(x))
    np.testing.assert_allclose(state.x, expected.x, rtol=0, atol=1e-13)


KERNELS = {
    "U(1)": (1, nested()),
    "U(1), even-odd, Hasenbusch": (1, nested((0.01, 0.1), even_odd=True, n_steps=2)),
    "SU(3), even-odd, Hasenbusch": (3, nested((0.3,), even_odd=True, n=3, integrator=OMELYAN, n_steps=2)),
    "uneven": (1, nested((0.1,), integrator=UNEVEN, n_steps=2)),
    "determinant": (1, NestedHMC((Level((WilsonDeterminant(KAPPA),), 3), Level((GAUGE,), 3, UNEVEN)), 0.5)),
    "SU(2), determinant": (
        2,
        NestedHMC((Level((WilsonDeterminant(KAPPA, 2),), 3), Level((WilsonSUN(BETA, 2),), 3)), 0.5),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_trajectory_is_reversible(name):
    n, kernel = KERNELS[name]
    x = kernel.init(links(np.random.default_rng(5), n, 2, (4, 2))).x
    v, _, *chis = kernel.noise(spawn_rngs(6, 2), kernel.init(x).force.shape)
    phis = tuple(m.heat_bath(x, chi) for m, chi in zip(kernel.monomials, chis, strict=True))
    y, w = kernel.evolve(x, v, phis)
    back, u = kernel.evolve(y, -w, phis)
    assert np.abs(y - x).max() > 0.1
    assert np.abs(back - x).max() < 1e-11
    assert np.abs(u + v).max() < 1e-11


def test_the_energy_error_is_of_second_order_in_the_step_of_every_level():
    outer, inner = hasenbusch(KAPPA, (0.1,), even_odd=True)
    x = 0.3 * links(np.random.default_rng(7), 1, 2, (4, 4))

    def error(*n_steps):
        terms = ((outer,), (inner,), (GAUGE,))
        kernel = NestedHMC(tuple(Level(t, n) for t, n in zip(terms, n_steps, strict=True)), 1.0)
        state = kernel.init(x)
        v, u, *chis = kernel.noise(spawn_rngs(8, 2), state.force.shape)
        return kernel.propose(state, v, u, *chis)[2].delta_h

    # A level that is made finer takes fewer steps of the level inside it, whose own step and error stay as they are.
    for level in range(3):
        counts = []
        for k in (1, 2, 4):
            steps = [8, 4, 4]
            steps[level] *= k
            if level < 2:
                steps[level + 1] //= k
            counts.append(error(*steps))
        ratio = (counts[0] - counts[1]) / (counts[1] - counts[2])
        # Corrections are of the square of the step, a few per cent of 4.
        np.testing.assert_allclose(ratio, 4, rtol=0.2, err_msg=str(level))


def test_forces_are_counted():
    calls = {}

    def counted(method, name):
        def call(*args):
            calls[name] = calls.get(name, 0) + 1
            return method(*args)

        return call

    class Counted(WilsonU1):
        def dynamics(self, x, v):
            dynamics, name = super().dynamics(x, v), self.beta
            for method in ("kick", "action_and_force"):
                setattr(dynamics, method, counted(getattr(dynamics, method), name))
            return dynamics

    kernel = NestedHMC((Level((Counted(1.0),), 3, OMELYAN), Level((Counted(2.0),), 2)), 1.0)
    state = kernel.init(links(np.random.default_rng(9), 1, 1, (2, 2)))
    calls.clear()
    kernel.propose(state, *kernel.noise(spawn_rngs(1, 1), state.force.shape))
    assert kernel.n_forces == (6, 13) == (calls[1.0], calls[2.0])
    assert NestedHMC((Level((GAUGE,), 10),), 1.0).n_forces == (10,)
    assert nested((0.1,), n_steps=2, inner=3).n_forces == (3, 5, 12)


@pytest.mark.parametrize(
    ("kernel", "seed"),
    [
        (nested((), n_steps=6, inner=1, length=1.4), 13),
        (nested((), n_steps=6, inner=1, length=1.4, even_odd=True), 14),
        (nested((0.05,), n_steps=3, inner=1, length=1.4, even_odd=True), 15),
        (NestedHMC((Level((WilsonDeterminant(KAPPA),), 4), Level((GAUGE,), 2)), 1.4), 16),
    ],
    ids=["plain", "even-odd", "Hasenbusch", "determinant"],
)
def test_the_plaquette_is_that_of_reweighted_exact_samples(kernel, seed):
    n, n_steps = 1500, 12
    plaquettes = mean_plaquette(pool()[0])
    expected, error = reweighted(plaquettes)
    state, rngs, sums, acceptance = kernel.init(equilibrium(n, seed)), spawn_rngs(seed, n), np.zeros(n), 0.0
    for _ in range(n_steps):
        state, info = kernel.step(rngs, state)
        sums += mean_plaquette(state.x) / n_steps
        acceptance += info.acceptance.mean() / n_steps
    # Started in equilibrium, chains are independent but for the pool that they start from, whose error is `error`.
    combined = 5 * np.hypot(error, sums.std() / np.sqrt(n))
    assert abs(sums.mean() - expected) < combined
    assert 0.6 < acceptance < 0.999
    assert abs(plaquettes.mean() - expected) > 2 * combined  # the test can tell the theories apart


def test_pseudofermions_are_new_at_every_step_and_belong_to_the_links():
    kernel = nested(even_odd=True)
    state = kernel.init(links(np.random.default_rng(17), 1, 2, (4, 4)))
    rngs = spawn_rngs(18, 2)
    first, second = (kernel.noise(rngs, state.force.shape) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert not np.isclose(a, b)[a != 0].any()
    # A kernel that remembered the pseudofermions of its first step would keep the distribution, but not be ergodic.
    once, _ = kernel.step(rngs, state)
    twins = copy.deepcopy(rngs)
    _, info = kernel.step(rngs, once)
    fresh = nested(even_odd=True)
    np.testing.assert_array_equal(info.delta_h, fresh.propose(once, *fresh.noise(twins, once.force.shape))[2].delta_h)
    v, u, chi = first
    # At the start of the trajectory the energy of the pseudofermions is |chi|^2.
    phi = kernel.monomials[0].heat_bath(state.x, chi)
    new, momenta, info = kernel.propose(state, v, u, chi)
    energies = [
        GAUGE.action(x) + kernel.monomials[0].action(x, phi) + 0.5 * (p**2).sum((1, 2, 3))
        for x, p in ((state.x, v), (new.x, momenta))
    ]
    np.testing.assert_allclose(info.delta_h, energies[1] - energies[0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        energies[0], GAUGE.action(state.x) + (np.abs(chi) ** 2).sum((1, 2, 3)) + 0.5 * (v**2).sum((1, 2, 3)), rtol=1e-12
    )


def test_a_chain_has_the_same_bits_in_any_batch_and_block(monkeypatch):
    kernel, x = nested((0.1,), even_odd=True), links(np.random.default_rng(19), 1, 6, (4, 4))

    def run(which):
        rngs, state = [spawn_rngs(20, 6)[c] for c in which], kernel.init(x[which])
        for _ in range(2):
            state, info = kernel.step(rngs, state)
        return state.x, state.action, state.force, info.delta_h

    whole = run(list(range(6)))
    module = importlib.import_module("refimpl.kernels.metropolis")  # the package has a function of that name
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 70)
    for a, b in zip(whole, run([4, 1, 2]), strict=True):
        np.testing.assert_array_equal(a[[4, 1, 2]], b)


def test_a_lost_chain_is_rejected_and_counted_and_the_others_go_on():
    # Periodic at kappa = 1/4 the constant spinor is a zero mode of the trivial field.
    monomial = Pseudofermion(0.25, antiperiodic=False)
    kernel = NestedHMC((Level((monomial,), 3), Level((GAUGE,), 2)), 0.3)
    x = links(np.random.default_rng(21), 1, 3, (2, 2))
    x[1] = 0
    state = kernel.init(x)
    noise = kernel.noise(spawn_rngs(22, 3), state.force.shape)
    new, info = kernel.step(spawn_rngs(22, 3), state)
    np.testing.assert_array_equal(info.non_finite, [False, True, False])
    np.testing.assert_array_equal(new.x[1], 0)
    others = kernel.propose(
        State(state.x[[0, 2]], state.action[[0, 2]], state.force[[0, 2]]), *(a[[0, 2]] for a in noise)
    )
    np.testing.assert_array_equal(info.delta_h[[0, 2]], others[2].delta_h)
    noise[0][0] = np.inf
    for each in (kernel, NestedHMC((Level((WilsonDeterminant(KAPPA),), 2), Level((GAUGE,), 2)), 0.3)):
        state = each.init(links(np.random.default_rng(23), 1, 3, (16, 8)))
        v, *rest = each.noise(spawn_rngs(24, 3), state.force.shape)
        v[0] = np.inf
        np.testing.assert_array_equal(each.propose(state, v, *rest)[2].non_finite, [True, False, False])


# --- cycles and runs -----------------------------------------------------------------------------------------------------
TARGET = GAUGE + WilsonDeterminant(KAPPA)


def test_the_action_is_the_whole_target_and_the_state_holds_what_needs_no_determinant():
    kernel = nested((0.1,))
    x = links(np.random.default_rng(25), 1, 2, (4, 4))
    np.testing.assert_allclose(kernel.action.action(x), TARGET.action(x), rtol=1e-14)
    np.testing.assert_array_equal(kernel.init(x).action, GAUGE.action(x))
    assert kernel.state_action == GAUGE
    exact = NestedHMC((Level((WilsonDeterminant(KAPPA),), 2), Level((GAUGE,), 2)), 1.0)
    assert exact.state_action == exact.action
    np.testing.assert_allclose(exact.init(x).action, TARGET.action(x), rtol=1e-14)
    Cycle([exact, kernel, HMC(TARGET, 0.1, 2)])  # the same target, whatever the order of its terms


def test_a_cycle_with_a_move_of_the_full_action_uses_its_energies():
    kernel, winding = nested(even_odd=True), Winding(TARGET)
    cycle, x = Cycle([kernel, winding]), links(np.random.default_rng(26), 1, 8, (4, 4))
    state, rngs = cycle.init(x), spawn_rngs(27, 8)
    assert cycle.state_action == GAUGE
    for _ in range(3):
        before = state
        rngs_twin = copy.deepcopy(rngs)
        twin, _ = kernel.step(rngs_twin, before)
        state, (_, info) = cycle.step(rngs, before)
        d, u = winding.noise(copy.deepcopy(rngs_twin), twin.x.shape)
        expected = TARGET.action(wind(twin.x, d.astype(int))[0]) - TARGET.action(twin.x)
        np.testing.assert_allclose(info.delta_h, expected, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(info.accepted, u < np.exp(-expected))
        # On the state that the kernel left, the move would see an action without the determinant before it.
        wrong = winding.propose(twin, d, u)[2].delta_h
        np.testing.assert_allclose(wrong - expected, WilsonDeterminant(KAPPA).action(twin.x), rtol=0, atol=1e-10)
        assert np.abs(wrong - expected).max() > 1
        np.testing.assert_allclose(state.action, GAUGE.action(state.x), rtol=1e-13)
        np.testing.assert_allclose(state.force, GAUGE.force(state.x), rtol=0, atol=1e-13)


def test_the_cycle_is_exact():
    n, n_steps = 1500, 8
    cycle = Cycle([nested((), n_steps=4, inner=1, length=1.0, even_odd=True), Winding(TARGET)])
    expected, error = reweighted(charge(pool()[0]) ** 2)
    state, rngs, sums = cycle.init(equilibrium(n, 28)), spawn_rngs(29, n), np.zeros(n)
    for _ in range(n_steps):
        state, _ = cycle.step(rngs, state)
        sums += charge(state.x) ** 2 / n_steps
    assert abs(sums.mean() - expected) < 5 * np.hypot(error, sums.std() / np.sqrt(n))


def test_a_run_is_the_kernel_stepped_by_hand_and_its_manifest_tells_what_it_was(tmp_path):
    kernel, x = nested((0.1,), even_odd=True), links(np.random.default_rng(30), 1, 3, (2, 2))
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    for start, n_steps in ((x, 2), (None, 4)):
        folder = chains.run(
            kernel, start, n_chains=3, n_steps=n_steps, seed=31, out=tmp_path / "run", resume=start is None,
            observables={"plaquette": mean_plaquette}, record=("delta_h", "non_finite"), executor="thread", workers=2,
        )  # fmt: skip
    loaded = chains.load(folder)
    state, rngs, expected = kernel.init(x), spawn_rngs(31, 3), []
    for _ in range(4):
        state, info = kernel.step(rngs, state)
        expected.append(info.delta_h)
    np.testing.assert_array_equal(loaded["delta_h"], np.array(expected))
    described = description(kernel)
    assert described["class"] == "NestedHMC"
    assert described["levels"][0]["terms"][0]["mu_next"] == 0.1
    assert described["levels"][2]["terms"][0] == {"class": "WilsonU1", "beta": BETA}


FERMION = hasenbusch(KAPPA, (0.1,))
FIELD = np.zeros((1, 2, 3, 2)), np.zeros((1, 2, 3, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Level((), 2), "terms: got none"),
        (lambda: Level((3,), 2), "terms: got 3, expected actions and Pseudofermions"),  # type: ignore[arg-type]
        (lambda: Level((GAUGE,), 0), "n_steps: got 0"),
        (lambda: Level((GAUGE,), 2, (0.5, 1, 0.5)), "integrator: got"),  # type: ignore[arg-type]
        (lambda: NestedHMC((), 1.0), "levels: got no action of the links alone"),
        (lambda: NestedHMC((Level(FERMION, 2),), 1.0), "levels: got no action of the links alone"),
        (lambda: NestedHMC((GAUGE,), 1.0), "levels: got WilsonU1.*, expected Level objects"),  # type: ignore[arg-type]
        (lambda: NestedHMC((Level((GAUGE,), 2),), 0), "length: got 0"),
        (lambda: NestedHMC((Level((*FERMION, WilsonSUN(2.0, 3)), 2),), 1.0), r"levels: got terms of \[1, 3\] colours"),
        (lambda: NestedHMC(Level((GAUGE,), 2), 1.0), "levels: got Level.*, expected Level objects"),  # type: ignore[arg-type]
        (lambda: Level(Level((GAUGE,), 2), 2), "terms: got Level.*, expected actions and Pseudofermions"),  # type: ignore[arg-type]
        (lambda: Cycle(HMC(GAUGE, 0.1, 2)), "kernels: got HMC.*, expected a list of kernels"),  # type: ignore[arg-type]
        (lambda: Cycle([1]), "kernels: got 1, expected kernels, which have action, init and step"),  # type: ignore[list-item]
        (lambda: nested().evolve(*FIELD), "phis: got 0 fields, expected one for every pseudofermion \\(1\\)"),
        (lambda: NestedHMC((Level((GAUGE,), 2),), 1.0).evolve(*FIELD, (0,)), "phis: got 1 fields, expected .*\\(0\\)"),  # type: ignore[arg-type]
        (lambda: nested().evolve(*FIELD, (np.zeros((1, 3, 2), complex),)), r"phis: got shape \(1, 3, 2\), expected"),
        (lambda: nested().evolve(FIELD[0], FIELD[1][..., :1], (np.zeros((1, 3, 2, 2), complex),)), "v: got shape"),
        (lambda: nested().evolve(FIELD[0][0], FIELD[1], (np.zeros((1, 3, 2, 2), complex),)), "x: got shape"),
        (lambda: nested(even_odd=True).evolve(*FIELD, (np.zeros((1, 3, 2, 2), complex),)), "shape: got extent T = 3"),
        (lambda: nested(even_odd=True).init(np.zeros((1, 2, 3, 2))), "shape: got extent T = 3, expected an even extent"),
        (lambda: NestedHMC((Level((FERMION[0], GAUGE), 2),), 1.0), "pseudofermions: got .* whose product is det M"),
        (lambda: NestedHMC((Level((FERMION[1], GAUGE), 2),), 1.0), "pseudofermions: got .* whose product is det M"),
        (lambda: NestedHMC((Level((*FERMION, *FERMION, GAUGE), 2),), 1.0), "pseudofermions: got"),
        (lambda: NestedHMC((Level((*hasenbusch(KAPPA, mu_reg=1e-5), GAUGE), 2),), 1.0), "pseudofermions: got .*1e-05"),
        (lambda: NestedHMC((Level((FERMION[0],), 2), Level((*hasenbusch(0.2, (0.1,))[1:], GAUGE), 2)), 1.0), "one operator"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
