"""The benchmark's competitors do the same physics; nothing here is timed."""

import importlib.util

import numpy as np
import pytest
from autograd import value_and_grad

from refimpl import theories
from refimpl.actions import Phi4, WilsonU1, log_determinant, wilson_dirac
from refimpl.exact import phi4, sun, u1
from refimpl.groups import SUN
from refimpl.kernels import HMC, spawn_rngs
from refimpl.maps.architecture import Architecture
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.maps.plaquette_coupling import gauge_chain
from refimpl.maps.splines import CircularSpline
from refimpl.models import Flow, Normal, UniformAngles
from refimpl.nets import Net
from refimpl.observables import mean_plaquette
from refimpl.training.flow import reverse_kl
from refimpl.training.losses import LOSSES, acceptance, expected_loss
from refimpl.validation import bench, check_target
from refimpl.validation.bench import chains, flow, l2hmc
from refimpl.validation.bench import phi4 as bench_phi4
from refimpl.validation.bench.u1 import roll_hmc_stepper

PARAMETERS = (4.0, 0.2, 5)


def test_roll_form_makes_the_same_chain():
    x = u1.sample(np.random.default_rng(1), 16, 4.0, (4, 6))
    step = roll_hmc_stepper(*PARAMETERS, x, seed=3)
    kernel = HMC(WilsonU1(PARAMETERS[0]), *PARAMETERS[1:])
    state, rngs = kernel.init(x), spawn_rngs(3, 16)
    for _ in range(3):
        links = step()
        state, _ = kernel.step(rngs, state)
    assert np.max(np.abs(np.sin(links - state.x))) < 1e-11  # rounding of 15 steps, amplified by less than 1000


@pytest.mark.parametrize(("package", "module"), [("torch", "u1_torch"), ("jax", "u1_jax"), ("numba", "u1_numba")])
def test_peers_leave_equilibrium_alone(package, module):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is in the extra 'bench'")
    stepper = importlib.import_module(f"refimpl.validation.peers.{module}").hmc_stepper
    x = u1.sample(np.random.default_rng(2), 4096, 4.0, (4, 4))
    step = stepper(*PARAMETERS, x, 5)
    for _ in range(3):
        links = np.array(step())
    p = np.cos(links[:, 0] + np.roll(links[:, 1], -1, 1) - np.roll(links[:, 0], -1, 2) - links[:, 1]).mean(axis=(1, 2))
    assert np.any(links != x)
    assert abs(p.mean() - u1.plaquette(4.0, (4, 4))) < 5 * p.std() / np.sqrt(len(p))


def test_the_roll_form_of_phi4_makes_the_same_chain():
    action, x = Phi4(-0.5, 3.0), np.random.default_rng(1).standard_normal((16, 4, 6))
    step = bench_phi4.roll_hmc_stepper(action, 0.1, 5, x, seed=3)
    kernel = HMC(action, 0.1, 5)
    state, rngs = kernel.init(x), spawn_rngs(3, 16)
    for _ in range(3):
        field = step()
        state, _ = kernel.step(rngs, state)
    assert np.max(np.abs(field - state.x)) < 1e-11  # rounding of 15 steps, amplified by less than 1000


@pytest.mark.parametrize("autograd", [False, True])
def test_the_peer_of_phi4_leaves_equilibrium_alone(autograd):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is in the extra 'bench'")
    stepper = importlib.import_module("refimpl.validation.peers.phi4_torch").hmc_stepper
    m2, lam, shape, n = 0.1, 24.0, (3, 2), 4096
    x = phi4.sample(np.random.default_rng(2), n, m2, lam, shape)
    step = stepper(m2, lam, 0.3, 5, x, 5, autograd)
    for _ in range(3):
        field = np.array(step())
    values, expected = np.square(field).mean(axis=(1, 2)), phi4.answers(m2, lam, shape).phi_squared
    assert np.any(field != x)
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(n)


DENSE, CONV = Net("dense", units=(7, 5)), Net("conv", filters=(3, 4))
ARCHITECTURES = [
    Architecture((2, 4, 4), True, 3, DENSE, Net("dense", units=(6,), activation="tanh"), time=True),
    Architecture((2, 4, 6), True, 2, CONV, Net("conv", filters=(3,)), mask="checkerboard", shared=True),
    Architecture((2, 4, 4), True, 2, Net("conv", filters=(3,), units=(5,)), Net("dense", units=(3,), outputs="tq")),
    Architecture((2, 4, 4), True, 2, DENSE, CONV, mask="combined"),
    Architecture((2, 4, 4), True, 5, Net("scalars")),
    Architecture((2, 4, 4), True, 2, None, Net("scalars"), mask="stripes"),
]


def random_model(architecture, merged):
    rng = np.random.default_rng(4)
    params = {
        key: value + (0.15 if "/" in key else 0.02) * rng.standard_normal(value.shape)
        for key, value in architecture.init(rng, 0.2).items()
    }
    return GeneralizedLeapfrog(WilsonU1(3.0), architecture, params, merged=merged)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generalized_leapfrog_and_its_gradient_are_those_of_torch(architecture, merged, direction):
    torch = pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import l2hmc_torch

    rng, model = np.random.default_rng(5), random_model(architecture, merged)
    x = u1.sample(rng, 6, 3.0, architecture.field_shape[1:])
    v = rng.standard_normal(x.shape)
    energy, force = model.action.action_and_force(x)
    end, pull = model.run_with_pullback(x, v, force, direction)
    peer = l2hmc_torch.L2HMC(architecture, model.params, 3.0, merged)
    links, momenta = torch.from_numpy(x), torch.from_numpy(v)
    theirs = peer.run(links, momenta, direction)
    # Rounding of at most 10 layers of numbers of order 1 to 10, amplified by less than 100.
    for name in ("x", "v", "logdet", "action"):
        difference = getattr(theirs, name).detach().numpy() - getattr(end, name)
        assert np.max(np.abs(np.sin(difference) if name == "x" else difference)) < 1e-12

    def loss_of(parts):
        x_end, v_end, logdet, action = parts
        delta_h = action - energy + 0.5 * ((v_end**2).sum((1, 2, 3)) - (v**2).sum((1, 2, 3)))
        return expected_loss(LOSSES["charge"], x, x_end, acceptance(delta_h, logdet), False)

    loss, cotangents = value_and_grad(loss_of)((end.x, end.v, end.logdet, end.action))
    grads = pull(*cotangents)
    their_loss = l2hmc_torch.charge_loss(peer, links, momenta, torch.full((6,), float(direction)))
    their_loss.backward()
    largest = max(np.abs(g).max() for g in grads.values())
    assert largest > 1e-6
    assert abs(float(their_loss.detach()) - loss) < 1e-12
    for key, g in grads.items():
        assert np.max(np.abs(peer.params[key].grad.numpy() - g)) < 1e-10 * largest


def test_torch_peer_passes():
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers.l2hmc_torch import target

    report = check_target(target(merged=True), level="smoke", seed=3)
    assert [v.check for v in report.failures] == []


@pytest.mark.parametrize("kind", l2hmc.ARCHITECTURES)
@pytest.mark.parametrize("setup", [l2hmc.l2hmc_sample, l2hmc.l2hmc_train])
def test_l2hmc_items_move(setup, kind):
    competitors = setup(kind, 4)
    assert len(competitors) == (2 if importlib.util.find_spec("torch") else 1)
    for step in competitors.values():
        first, second = step(), step()
        if setup is l2hmc.l2hmc_train:
            assert first != second
            assert max(first, second) <= 0


@pytest.mark.parametrize("what", ["apply", "log det", "force"])
def test_fermions_of_torch_are_ours(what):
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    ours, theirs = bench.ITEMS["dirac"].setup(what, 3, 6).values()
    # The condition number is some ten at this size, and vectors and forces are of order one.
    assert np.max(np.abs(theirs().numpy() - ours())) < 1e-12


@pytest.mark.parametrize("what", ["exp", "force"])
def test_matrices_of_torch_are_ours(what):
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    ours, theirs = bench.ITEMS["su3"].setup(what, 3, 4).values()
    # Some hundred roundings of numbers below ten.
    assert np.max(np.abs(theirs().numpy() - ours())) < 1e-12


def test_trajectories_with_the_determinant_leave_equilibrium_alone_in_torch():
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import dirac_torch

    beta, kappa = 2.0, 0.265
    rng = np.random.default_rng(6)
    x = u1.sample(rng, 20_000, beta, (2, 2))
    weights = np.exp(2 * log_determinant(wilson_dirac(x, kappa))[0])
    expected = np.average(mean_plaquette(x), weights=weights)
    start = x[rng.choice(len(x), 4000, p=weights / weights.sum())]
    step = dirac_torch.hmc_stepper(beta, kappa, 0.2, 5, start, 7)
    for _ in range(3):
        links = np.array(step())
    p = mean_plaquette(links)
    error = np.hypot(p.std() / np.sqrt(len(p)), p.std() * np.sqrt((weights**2).sum()) / weights.sum())
    assert np.any(links != start)
    assert abs(p.mean() - expected) < 5 * error


def test_trajectories_of_matrices_leave_equilibrium_alone_in_torch():
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import sun_torch

    x = np.ascontiguousarray(sun.sample(np.random.default_rng(8), 1000, 6.0, (2, 2), 3))
    step = sun_torch.hmc_stepper(6.0, 0.1, 5, x, np.ascontiguousarray(SUN(3).basis), 9)
    for _ in range(3):
        links = np.array(step())
    p = mean_plaquette(links)
    assert np.any(links != x)
    assert abs(p.mean() - sun.plaquette(6.0, (2, 2), 3)) < 5 * p.std() / np.sqrt(len(p))


@pytest.mark.parametrize(("item", "case"), [("dirac", ("HMC", 2, 4)), ("su3", ("HMC", 2, 2))])
def test_trajectories_of_the_items_move(item, case):
    for step in bench.ITEMS[item].setup(*case).values():
        before, after = np.array(step()), np.array(step())
        assert before.shape == after.shape
        assert np.any(before != after)


@pytest.mark.parametrize("kind", ["affine", "projections", "splines", "tiles"])
def test_flows_and_their_gradients_are_those_of_torch(kind):
    torch = pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import flow_torch

    if kind == "tiles":
        spline = CircularSpline(5)
        options = {"pattern": "tiles", "circle": spline, "hidden": (3,), "dilations": (1, 2), "loops": "across"}
        chain = gauge_chain(np.random.default_rng(1), (8, 4), 8, polyakov=False, masked_values=True, **options)
        model = Flow(UniformAngles((8, 4)), chain)
    else:
        model = flow.model(kind)
    shape = model.field_shape[-2:]
    theory = (
        theories.by_name("phi4", m2=-4.0, lam=48.0, shape=shape)
        if kind == "affine"
        else theories.by_name("u1", beta=2.0, shape=shape)
    )
    z = model.prior.sample(np.random.default_rng(3), 5)
    x, logdet = model.map.forward(z)
    losses, grads = reverse_kl(theory, model, z)
    peer = flow_torch.Flow(model.map, shape)
    their_x, their_logdet = peer.forward(torch.from_numpy(z))
    # Rounding of 8 layers of numbers of order 1 to 10.
    difference = their_x.detach().numpy() - x
    assert np.max(np.abs(difference if kind == "affine" else np.sin(difference))) < 1e-12
    assert np.max(np.abs(their_logdet.detach().numpy() - logdet)) < 1e-12 * x[0].size
    action = flow_torch.phi4(-4.0, 48.0) if kind == "affine" else flow_torch.wilson(2.0)
    their_losses = torch.from_numpy(model.prior.log_prob(z)) - their_logdet + action(their_x)
    their_losses.mean().backward()
    assert np.max(np.abs(their_losses.detach().numpy() - losses)) < 1e-11 * np.max(np.abs(losses))
    largest = max(np.abs(g).max() for g in grads.values())
    for key, g in grads.items():
        assert np.max(np.abs(peer.params[key].grad.numpy() - g)) < 1e-10 * largest, key


def test_couplings_that_torch_does_not_have_are_refused():
    pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import flow_torch

    with pytest.raises(ValueError, match="chain: got a plaquette coupling with staples"):
        flow_torch.Flow(gauge_chain(np.random.default_rng(0), (4, 4), 1, staples=True), (4, 4))


def test_priors_of_flows_in_torch_are_normalised():
    torch = pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import flow_torch

    for peer, prior in ((flow_torch.normal, Normal((4, 6))), (flow_torch.uniform_angles, UniformAngles((4, 6)))):
        z, log_prob = peer(7, (4, 6))(torch.Generator().manual_seed(1))
        assert np.max(np.abs(log_prob.numpy() - prior.log_prob(z.numpy()))) < 1e-12


@pytest.mark.parametrize("kind", ["affine", "projections", "splines"])
@pytest.mark.parametrize("setup", [flow.flow_sample, flow.flow_train])
def test_items_of_flows_move(setup, kind):
    competitors = setup(kind, 4)
    assert len(competitors) == (2 if importlib.util.find_spec("torch") else 1)
    for step in competitors.values():
        first, second = step(), step()
        if setup is flow.flow_train:
            assert np.isfinite(first)
            assert first != second
        else:
            assert np.any(first[0] != second[0])
            assert first[0].shape[0] == len(first[1]) == 4


def test_items_are_selected_by_their_beginning():
    assert bench.selected("l2hmc") == ["l2hmc-sample", "l2hmc-train"]
    assert bench.selected("u1-hmc") == ["u1-hmc"]
    assert bench.selected(None) == list(bench.ITEMS)
    with pytest.raises(ValueError, match="ITEM: got 'hmc'"):
        bench.selected("hmc")


def test_table_and_ratios(monkeypatch):
    monkeypatch.setitem(
        bench.ITEMS, "tiny", bench.Item(lambda n: {"ours": lambda: n, "theirs": lambda: n}, {"case": (1,)})
    )
    timings = bench.run("tiny", seconds=0.01)
    assert [t.name for t in timings] == ["ours", "theirs"]
    assert timings[0].ratio == 1.0
    assert timings[1].ratio_low <= timings[1].ratio <= timings[1].ratio_high
    assert "their time / ours" in bench.table(timings)


def test_what_runs_are_compared_with_is_the_same_chain_measured_or_not():
    kernel = HMC(WilsonU1(4.0), 0.2, 10)
    x = u1.sample(np.random.default_rng(1), 3, 4.0, (4, 4))
    state, rngs = kernel.init(x), spawn_rngs(1, 3)
    for _ in range(5):
        state, _ = kernel.step(rngs, state)
    for measured in (False, True):
        assert chains._loop(3, 4, 5, measured) == state.x.sum()
    for item in ("chains-workers", "chains-recording"):
        for competitor in bench.ITEMS[item].setup(4, 4, 2).values():
            assert competitor() is not None
