"""What the benchmark of joint models compares is the same model in PyTorch; nothing here is timed."""

import importlib.util

import numpy as np
import pytest

from refimpl.actions import WilsonU1
from refimpl.training.joint import joint_loss, regularised
from refimpl.validation.bench import joint

CHAINS = 3


@pytest.fixture(params=["even-odd", "whole"])
def model(request):
    """The model of the benchmark, and one with all sites, other widths and larger matrices."""
    return joint.model() if request.param == "even-odd" else joint.model(even_odd=False, n_pt=3, features=3, gain=1.0)


def peers():
    torch = pytest.importorskip("torch", reason="torch is in the extra 'bench'")
    from refimpl.validation.peers import flow_torch, joint_torch

    return torch, flow_torch, joint_torch


def test_losses_and_gradients_of_joint_models_are_those_of_torch(model):
    torch, flow_torch, joint_torch = peers()
    z = model.marginal.prior.sample(np.random.default_rng(3), CHAINS)
    losses, grads = joint_loss(WilsonU1(joint.BETA), model, z, mu_reg=joint.MU_REG)
    peer, log_prior = joint_torch.Joint(model), torch.from_numpy(model.marginal.prior.log_prob(z))
    monomials = regularised(model.monomials, joint.MU_REG)
    theirs = joint_torch.losses(peer, monomials, torch.from_numpy(z), log_prior, flow_torch.wilson(joint.BETA))
    theirs.mean().backward()
    # Rounding of the layers, 1e-14, times condition numbers of M below 1e4 (it is some 1e3 for random links).
    assert np.max(np.abs(theirs.detach().numpy() - losses.total)) < 1e-10 * np.max(np.abs(losses.total))
    assert set(peer.params) == set(grads)
    largest = max(np.abs(g).max() for g in grads.values())
    for key, g in grads.items():
        assert np.max(np.abs(peer.params[key].grad.numpy() - g)) < 1e-10 * largest, key
    assert min(np.abs(g).max() for key, g in grads.items() if "bias" not in key) > 1e-9 * largest


def test_weights_of_joint_models_are_those_of_torch(model):
    torch, flow_torch, joint_torch = peers()
    rng = np.random.default_rng(4)
    z, chi = model.marginal.prior.sample(rng, CHAINS), model.noise(rng, CHAINS)
    x, logdet = model.marginal.map.forward(z)
    phi, logdet_phi = model.forward(x, chi)
    first = model.conditionals[0]
    base = -first.rows * np.log(np.pi) - np.square(np.abs(chi)).reshape(*chi.shape[:2], -1).sum(axis=2)
    log_weights = -WilsonU1(joint.BETA).action(x) - model.marginal.prior.log_prob(z) + logdet
    log_weights -= (base - logdet_phi).sum(axis=1)
    for m, monomial in enumerate(model.monomials):
        log_weights -= monomial.action(x, phi[:, m])
    peer, log_prior = joint_torch.Joint(model), torch.from_numpy(model.marginal.prior.log_prob(z))
    noise = torch.from_numpy(np.stack([first.rows_of(chi[:, m]) for m in range(len(model.monomials))], axis=1))
    links, theirs = joint_torch.weighted(peer, torch.from_numpy(z), log_prior, flow_torch.wilson(joint.BETA), noise)
    assert np.max(np.abs(np.sin(links.detach().numpy() - x))) < 1e-12
    # As for losses; weights are sums of many numbers of order 10 to 1000.
    assert np.max(np.abs(theirs.detach().numpy() - log_weights)) < 1e-10 * np.max(np.abs(log_weights))


@pytest.mark.parametrize("what", ["sample", "train"])
def test_items_of_joint_models_move(what):
    competitors = joint.joint_step(what, CHAINS)
    assert len(competitors) == (2 if importlib.util.find_spec("torch") else 1)
    for step in competitors.values():
        first, second = step(), step()
        if what == "train":
            assert np.isfinite([first, second]).all()
            assert first != second
        else:
            assert first[0].shape == (CHAINS, 2, 4, 4)
            assert first[1].shape == (CHAINS,)
            assert np.isfinite(first[1]).all()
            assert np.any(first[1] != second[1])


def test_layers_that_torch_does_not_have_are_refused():
    *_, joint_torch = peers()
    with pytest.raises(ValueError, match="model: got an inflation of"):
        joint_torch.Joint(joint.model().inflated(1.1))
