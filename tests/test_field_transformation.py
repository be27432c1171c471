"""HMC through maps: forces, reversibility, orders, exact moments, perfect flows; and independence Metropolis with flows."""

import importlib
import math
import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import chains, theories
from refimpl.actions import Phi4, WilsonU1
from refimpl.exact import phi4, u1
from refimpl.groups import wrap
from refimpl.kernels import HMC, Cycle, FieldTransformationHMC, IndependenceMetropolis, spawn_rngs
from refimpl.kernels.independence import pool_acceptance
from refimpl.lattice import site_sum
from refimpl.maps import OMELYAN
from refimpl.maps.base import Chain
from refimpl.maps.coupling import affine_chain
from refimpl.maps.decimation import Decimation
from refimpl.maps.plaquette_coupling import gauge_chain
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.pulled_back import PulledBack
from refimpl.models import Flow, UniformAngles
from refimpl.observables import charge, mean_plaquette
from refimpl.observables.scalars import phi_fourth, phi_squared

SIGMAS = 4.9  # two-sided probability 1e-6 of each comparison; seeds are fixed
WELLS = Phi4(-1.0, 8.0)


# Far from the identity, and smooth: at the kinks of a leaky ReLU, or of the logdet of a spline, the force jumps.
SMOOTH = affine_chain(np.random.default_rng(1), 4, (4,), activation="tanh", last=4.0)
SMOOTH_GAUGE = gauge_chain(
    np.random.default_rng(2), (4, 4), 4, hidden=(4,), activation="tanh", circle=ProjectionMixture(2), last=0.5
)


CASES = {
    "phi4": (WELLS, SMOOTH, (4, 2)),
    "u1": (WilsonU1(2.0), SMOOTH_GAUGE, (2, 4, 4)),
    "decimation": (WilsonU1(3.0), Decimation(2.0, (4, 4)), (2, 4, 4)),
}


def start(name, n, seed=3):
    action, _, shape = CASES[name]
    if action.angular:
        return u1.sample(np.random.default_rng(seed), n, action.beta, shape[1:])
    return phi4.sample(np.random.default_rng(seed), n, action.m2, action.lam, shape)


def kernel_of(name, step_size=0.1, n_steps=5, **options):
    action, layer, _ = CASES[name]
    return FieldTransformationHMC(action, layer, step_size, n_steps, **options)


def change(info):
    """Of the energy of (z, v), which a trajectory keeps."""
    return info.delta_h - info.logdet


@dataclass(frozen=True, eq=False)
class Stretch:
    """``x = c z``: the layer whose numbers can be seen at once."""

    factor: float
    params: dict[str, Any] = field(default_factory=dict)

    def forward(self, x):
        return self.factor * x, np.full(len(x), x[0].size * math.log(self.factor))

    def inverse(self, y):
        return y / self.factor, np.full(len(y), -y[0].size * math.log(self.factor))

    def forward_with_pullback(self, x):
        return *self.forward(x), lambda g_y, g_logdet: (self.factor * g_y, {})


# --- the action of z -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_force_is_the_gradient_of_the_action_as_written(name):
    import autograd
    import autograd.numpy as anp

    action, layer, shape = CASES[name]
    pulled, z = PulledBack(action, layer), np.random.default_rng(4).uniform(-1, 1, (3, *shape))

    def written(z):
        x, logdet = layer.definition(layer.params, z)
        return action.definition(x) - logdet

    energy, force = pulled.action_and_force(z)
    np.testing.assert_allclose(energy, written(z), rtol=1e-11)
    np.testing.assert_allclose(pulled.action(z), energy, rtol=1e-13)
    gradient = autograd.grad(lambda z: anp.sum(written(z)))(z)
    # Sums of hundreds of products of size 10.
    np.testing.assert_allclose(force, gradient, rtol=0, atol=1e-11 * max(1, np.abs(gradient).max()))
    np.testing.assert_array_equal(pulled.force(z), force)
    assert pulled.angular == action.angular


def test_dynamics_kick_by_the_force():
    pulled, z = PulledBack(*CASES["phi4"][:2]), np.random.default_rng(5).standard_normal((3, 4, 2))
    v = np.ones_like(z)
    dynamics = pulled.dynamics(z, v)
    dynamics.kick(0.3)
    np.testing.assert_allclose(v, 1 - 0.3 * pulled.force(z), rtol=0, atol=1e-13)
    z += 1.0
    np.testing.assert_array_equal(dynamics.action_and_force()[0], pulled.action_and_force(z)[0])


# --- the kernel --------------------------------------------------------------------------------------------------------------
def test_a_stretch_is_hmc_with_another_step_size():
    # z = x/c: momenta of z move x by c eps, and are kicked by c dS/dx. So HMC of x with step c eps.
    x, eps, c = start("phi4", 5), 0.05, 1.7
    plain, through = HMC(WELLS, c * eps, 6), FieldTransformationHMC(WELLS, Stretch(c), eps, 6)
    v, u = plain.noise(spawn_rngs(1, 5), x.shape)
    one, v_one, info_one = plain.propose(plain.init(x), v, u)
    two, v_two, info_two = through.propose(through.init(x), v, u)
    for a, b in ((one.x, two.x), (v_one, v_two), (one.action, two.action), (one.force, two.force)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(info_two.delta_h, info_one.delta_h, rtol=0, atol=1e-12)
    assert through.n_forces == 6
    assert FieldTransformationHMC(WELLS, Stretch(c), eps, 6, OMELYAN).n_forces == 12


@pytest.mark.parametrize("name", CASES)
def test_it_is_hmc_of_the_pulled_back_action(name):
    kernel, x = kernel_of(name), start(name, 6)
    inner = HMC(kernel.pulled_back, kernel.step_size, kernel.n_steps)
    z, logdet = kernel.map.inverse(x)
    state, hidden = kernel.init(x), inner.init(z)
    np.testing.assert_allclose(hidden.action, state.action + logdet, rtol=0, atol=1e-10)
    for seed in (1, 2):
        state, info = kernel.step(spawn_rngs(seed, 6), state)
        hidden, hidden_info = inner.step(spawn_rngs(seed, 6), hidden)
        # Rounding of the inverse map, grown by a trajectory.
        np.testing.assert_allclose(change(info), hidden_info.delta_h, rtol=0, atol=1e-8)
        np.testing.assert_array_equal(info.accepted, hidden_info.accepted)
        image = kernel.map.forward(hidden.x)[0]
        difference = wrap(state.x - image) if kernel.action.angular else state.x - image
        np.testing.assert_allclose(difference, 0, rtol=0, atol=1e-8)
    np.testing.assert_allclose(state.action, kernel.action.action(state.x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(state.force, kernel.action.force(state.x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_trajectory_is_reversible_and_keeps_its_inputs(name):
    kernel, x = kernel_of(name), start(name, 6)
    state = kernel.init(x)
    v, u = kernel.noise(spawn_rngs(7, 6), x.shape)
    copies = [part.copy() for part in (x, v, state.x, state.action, state.force)]
    there, momenta, info = kernel.propose(state, v, u)
    for part, copy in zip((x, v, state.x, state.action, state.force), copies, strict=True):
        np.testing.assert_array_equal(part, copy)
    assert np.abs(there.x - x).max() > 0.1
    back, returned, info_back = kernel.propose(there, -momenta, u)
    difference = wrap(back.x - x) if kernel.action.angular else back.x - x
    np.testing.assert_allclose(difference, 0, rtol=0, atol=1e-8)
    np.testing.assert_allclose(returned, -v, rtol=0, atol=1e-8)
    np.testing.assert_allclose(info_back.delta_h, -info.delta_h, rtol=0, atol=1e-8)
    np.testing.assert_allclose(info_back.logdet, -info.logdet, rtol=0, atol=1e-8)
    # H of the physical field, and the Jacobian of (x, v) -> (x', v').
    kinetic = site_sum(momenta**2 - v**2) / 2
    np.testing.assert_allclose(info.delta_h, there.action - state.action + kinetic, rtol=0, atol=1e-10)
    jacobian = kernel.map.inverse(x)[1] - kernel.map.inverse(np.asarray(there.x))[1]
    np.testing.assert_allclose(info.logdet, jacobian, rtol=0, atol=1e-8)
    assert np.abs(jacobian).min() > 1e-3


@pytest.mark.parametrize("name", ["phi4", "u1"])
def test_energy_is_kept_to_the_second_order(name):
    x = start(name, 40)
    errors = []
    for n_steps in (20, 40):
        kernel = kernel_of(name, 0.4 / n_steps, n_steps)
        v, u = kernel.noise(spawn_rngs(8, 40), x.shape)
        errors.append(np.abs(change(kernel.propose(kernel.init(x), v, u)[2])).mean())
    print(f"{name}: mean |dH| {errors[0]:.2e}, {errors[1]:.2e}")
    assert errors[0] > 1e-6  # above rounding
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(("name", "step_size"), [("phi4", 0.2), ("u1", 0.2), ("decimation", 0.1)])
def test_exact_moments_are_kept(name, step_size):
    n = 150 if name == "decimation" else 400
    kernel = kernel_of(name, step_size, 3)
    action, _, shape = CASES[name]
    state, rngs = kernel.init(start(name, n)), spawn_rngs(9, n)
    for i in range(3):
        state, info = kernel.step(rngs, state)
        if i == 0:
            # In equilibrium <1{dH > 0} exp(-dH)> = <1{dH < 0}>: Creutz' identity in a form that is bounded.
            creutz = np.where(change(info) > 0, np.exp(-np.maximum(change(info), 0)), -1)
            assert abs(creutz.mean()) < SIGMAS * creutz.std() / math.sqrt(n)
            print(f"{name}: acceptance {info.acceptance.mean():.2f}")
            assert 0.2 < info.acceptance.mean() < 0.97  # so coarse that a wrong decision would show
    x = np.asarray(state.x)
    if name == "phi4":
        exact = phi4.answers(action.m2, action.lam, shape)
        pairs = [(phi_squared(x), exact.phi_squared), (phi_fourth(x), exact.phi_fourth)]
    else:
        pairs = [
            (mean_plaquette(x), u1.plaquette(action.beta, shape[1:])),
            (charge(x) ** 2.0, 16 * u1.charge_susceptibility(action.beta, shape[1:])),
        ]
    for each, expected in pairs:
        assert abs(each.mean() - expected) < SIGMAS * each.std() / math.sqrt(n)


def test_without_the_jacobian_moments_move():
    # The test above sees it: the same kernel with a logdet of zero samples another density.
    action, layer, shape = CASES["phi4"]

    class Silent(Chain):
        def forward(self, x):
            y, logdet = super().forward(x)
            return y, 0 * logdet

        def forward_with_pullback(self, x):
            y, logdet, pull = super().forward_with_pullback(x)
            return y, 0 * logdet, lambda g_y, g_logdet: pull(g_y, 0 * g_logdet)

    kernel = FieldTransformationHMC(action, Silent(layer.layers), 0.2, 4)
    state, rngs = kernel.init(start("phi4", 800)), spawn_rngs(9, 800)
    for _ in range(4):
        state, _ = kernel.step(rngs, state)
    each = phi_squared(np.asarray(state.x))
    expected = phi4.answers(action.m2, action.lam, shape).phi_squared
    assert abs(each.mean() - expected) > SIGMAS * each.std() / math.sqrt(800)


def test_a_perfect_flow_leaves_no_force():
    beta, n = 4.0, 100
    kernel = FieldTransformationHMC(WilsonU1(beta), Decimation(beta, (4, 4)), 1.0, 2)
    z = np.random.default_rng(1).uniform(-np.pi, np.pi, (n, 2, 4, 4))
    energy, force = kernel.pulled_back.action_and_force(z)
    np.testing.assert_allclose(energy, -u1.log_partition(beta, (4, 4)), rtol=0, atol=1e-11)
    # Two terms cancel that grow as 1/h of unlikely nodes, 1e4 among so many.
    assert np.abs(force).max() < 1e-8
    x = u1.sample(np.random.default_rng(2), n, beta, (4, 4))
    state, info = kernel.step(spawn_rngs(3, n), kernel.init(x))
    assert info.accepted.all()
    assert np.abs(change(info)).max() < 1e-6
    # Momenta of size 1 twice: as good as new, topology included.
    assert np.mean(charge(np.asarray(state.x)) != charge(x)) > 0.05
    overlap = site_sum(np.exp(1j * (np.asarray(state.x) - x)).real) / 32
    assert abs(overlap.mean()) < 0.2


@settings(max_examples=5, deadline=None)
@given(n=st.integers(1, 7), block=st.sampled_from([1, 70, 10**6]), name=st.sampled_from(sorted(CASES)))
def test_a_chain_has_the_same_bits_in_any_batch_and_block(n, block, name):
    kernel, x = kernel_of(name, n_steps=2), start(name, 7)

    def run(which: list[int]) -> tuple[np.ndarray, ...]:
        state, rngs = kernel.init(x[which]), [spawn_rngs(11, 7)[i] for i in which]
        for _ in range(2):
            state, info = kernel.step(rngs, state)
        return state.x, state.action, state.force, info.delta_h

    module = importlib.import_module("refimpl.kernels.metropolis")  # the package has a function of that name
    original, whole = module.BLOCK_ELEMENTS, run(list(range(7)))
    try:
        module.BLOCK_ELEMENTS = block
        part = run(list(range(n)))
    finally:
        module.BLOCK_ELEMENTS = original
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[:n], b)


def test_it_runs_in_chains_and_cycles(tmp_path):
    theory = theories.u1(3.0, (4, 4))
    kernel = Cycle([HMC(WilsonU1(3.0), 0.2, 2), kernel_of("decimation", 0.3, 2)])
    assert pickle.loads(pickle.dumps(kernel)).kernels[1].step_size == 0.3
    options = {"n_chains": 3, "n_steps": 3, "seed": 1, "observables": theory.recorded}
    folder = chains.run(kernel, theory.start, out=tmp_path / "run", executor="thread", **options)
    assert chains.load(folder)["accepted/FieldTransformationHMC"].shape == (3, 3)
    described = chains.read_manifest(folder)["kernel"]["kernels"][1]
    assert described["map"] == {"class": "Decimation", "beta": 2.0, "shape": [4, 4], "kernel": "exact", "params": {}}


def test_a_field_that_runs_away_is_rejected_and_counted():
    kernel, x = kernel_of("phi4"), start("phi4", 3)
    v = np.zeros_like(x)
    v[1], v[2] = 1e200, np.nan
    _, _, info = kernel.propose(kernel.init(x), v, np.zeros(3))
    assert info.non_finite.tolist() == [False, True, True]
    assert info.accepted.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PulledBack(None, Stretch(1.0)), "base: got None, expected an action"),  # type: ignore[arg-type]
        (lambda: PulledBack(WELLS, UniformAngles((4, 4))), "map: got UniformAngles.* with forward_with_pullback"),  # type: ignore[arg-type]
        (lambda: kernel_of("phi4", step_size=0.0), "step_size: got 0.0"),
        (lambda: kernel_of("phi4", n_steps=0), "n_steps: got 0"),
        (lambda: kernel_of("phi4").noise(spawn_rngs(1, 2), (3, 4, 2)), "rngs: got 2"),
        (lambda: kernel_of("decimation").init(np.zeros((2, 4, 4))), "x: got shape"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- independence Metropolis with flows ----------------------------------------------------------------------------------------
def proposal(beta, kernel="exact"):
    return Flow(UniformAngles((4, 4)), Decimation(beta, (4, 4), kernel))


def test_proposals_of_a_perfect_flow_are_all_accepted():
    x, sampler = start("decimation", 60), IndependenceMetropolis(WilsonU1(3.0), proposal(3.0))
    state = sampler.init(x)
    for seed in (1, 2):
        state, info = sampler.step(spawn_rngs(seed, 60), state)
        assert info.accepted.all()
        # log w of both fields, sums of 32 log 2 pi: rounding
        assert np.abs(info.delta_h).max() < 1e-11
    assert np.abs(state.x - x).max() > 1


@pytest.mark.parametrize(("beta", "kernel"), [(2.2, "exact"), (3.0, "heat")])
def test_acceptance_is_that_of_independent_weights(beta, kernel):
    n, flow = 300, proposal(beta, kernel)
    sampler = IndependenceMetropolis(WilsonU1(3.0), flow)
    x, log_q = flow.sample(spawn_rngs(5, 4 * n), 4 * n)
    expected = pool_acceptance(-WilsonU1(3.0).action(x) - log_q)
    _, info = sampler.step(spawn_rngs(6, n), sampler.init(start("decimation", n)))
    error = info.acceptance.std() / math.sqrt(n)
    print(f"beta {beta}, {kernel}: acceptance {info.acceptance.mean():.3f} +- {error:.3f}, from weights {expected:.3f}")
    assert 0.2 < expected < 0.95
    # The estimate from weights has four times as many draws.
    assert abs(info.acceptance.mean() - expected) < SIGMAS * 1.2 * error


def test_a_chain_of_proposals_has_the_same_bits_in_any_batch():
    sampler, x = IndependenceMetropolis(WilsonU1(3.0), proposal(2.0)), start("decimation", 6)

    def run(which, seed):
        state, rngs = sampler.init(x[which]), [spawn_rngs(seed, 6)[i] for i in which]
        for _ in range(4):
            state, info = sampler.step(rngs, state)
        return state.x, info.delta_h

    whole, other = run(range(6), 1), run(range(6), 2)
    for which in ([4], [0, 5], [3, 1, 2]):
        for a, b in zip(whole, run(which, 1), strict=True):
            np.testing.assert_array_equal(a[which], b)
    assert not np.any(whole[1] == other[1])
