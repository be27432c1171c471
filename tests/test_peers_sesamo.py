"""The PyPI package sesamo as targets of the oracle, and what its docstrings promise; skipped where it is not installed.

Once one of these fails, the docstring of the adapter is out of date.
"""

import importlib
import math

import numpy as np
import pytest

from refimpl.validation import check_target


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("sesamo", reason="the peer is in the extra 'sesamo'")
    return importlib.import_module("refimpl.validation.peers.sesamo")


def failures(target, select):
    report = check_target(target, level="smoke", seed=1, select=select)
    assert report.summary()["passed"] > 0
    return {v.check for v in report.failures}


def test_log_determinants_are_in_single_precision(peer):
    torch = peer.torch
    flow = peer.models.RealNVP([4, 4], dtype=torch.float64)
    z = torch.zeros(3, 4, 4, dtype=torch.float64)
    assert flow.couplings[0](z)[1].dtype == torch.float64
    assert flow(z)[1].dtype == flow.reverse(z)[1].dtype == torch.float32


def test_the_flow_passes_in_double_precision_alone(peer):
    assert failures(peer.target(), "flows.*") == {"flows.logdet_antisymmetry", "flows.jacobian", "flows.density"}
    assert failures(peer.in_double(), "flows.*") == set()


def test_the_action_is_ours(peer):
    for m2, lam in ((0.1, 6.0), (-1.0, 2.0), (0.5, 0.0)):
        assert failures(peer.target(m2=m2, lam=lam), "static.*") == set()


def planar(peer, modulation, n):
    """Samples of one complex site from a normal r of variance 1/2, with their log q and the action ``|phi|^2``."""
    from sesamo import Sesamo
    from sesamo.action import ComplexPhi4Action

    with peer.torch.random.fork_rng(devices=[]), peer.torch.no_grad():
        peer.torch.manual_seed(1)
        model = Sesamo(peer.models.GaussianPrior([1, 1, 1], var=0.5, verbose=False), [], modulation, [])
        x, log_q = model.sample_with_logprob(n)
    return x, log_q, ComplexPhi4Action(kappa=0, lambd=0)(x)


def test_log_q_of_a_turned_field_is_not_its_density(peer):
    """``(q(r) + q(-r))/(2 pi r)`` is the density in the plane, and q is even: what is missing is ``log(2/r)``."""
    x, log_q, _ = planar(peer, peer.models.U1Modulation(), 1000)
    r = np.sqrt((x.numpy() ** 2).sum(axis=(1, 2, 3)))
    density = math.log(2) - r**2 - 0.5 * math.log(math.pi) - np.log(2 * math.pi * r)
    # angles are drawn in single precision, which changes r^2 by a few 1e-8 of it; r^2 is below 10
    np.testing.assert_allclose(density - log_q.numpy(), np.log(2 / r), rtol=0, atol=2e-6)


def test_weights_say_that_wrong_samples_are_perfect(peer):
    """``exp(-|phi|^2)`` in the plane has ``<|phi|^2> = 1`` and ``Z = pi``."""
    from sesamo.ess import ess

    n = 100_000
    x, log_q, action = planar(peer, peer.models.U1Modulation(), n)
    assert ess(log_q, action) == pytest.approx(1, abs=1e-6)
    # the mean of r^2 over N(0, 1/2), whose standard deviation is sqrt(1/2)
    assert float((x**2).sum((1, 2, 3)).mean()) == pytest.approx(0.5, abs=6 * math.sqrt(0.5 / n))
    assert float((-action - log_q).mean()) == pytest.approx(math.log(2 * math.pi * math.sqrt(math.pi)), abs=1e-6)


@pytest.mark.parametrize("n", [4, 8])
def test_cells_are_wider_than_a_turn(peer, n):
    def penalty(angle):
        return float(peer.models.ZNRegularization(n)(peer.torch.tensor([[[math.cos(angle), math.sin(angle)]]])))

    edge = math.pi / n
    wide = math.atan(math.tan(edge) * (1 + math.tan(edge) ** 2))
    assert penalty(0.99 * wide) == penalty(1.01 * edge) == 0
    assert penalty(1.01 * wide) > 0


def test_signs_have_half_the_density_of_a_flow_that_stays_positive(peer):
    from sesamo import Sesamo

    models = peer.models
    prior = models.GaussianPrior([2, 2], mean=3, var=0.25, verbose=False)
    with peer.torch.random.fork_rng(devices=[]):
        peer.torch.manual_seed(1)
        x, log_q = Sesamo(prior, [], models.Z2Modulation(), []).sample_with_logprob(1000)
    density = peer.torch.logaddexp(prior.log_prob(x), prior.log_prob(-x)) + math.log(0.5)
    np.testing.assert_allclose(log_q.numpy(), density.numpy(), rtol=0, atol=1e-12)
    assert 400 < int((x.sum((1, 2)) > 0).sum()) < 600


def test_defaults_do_not_fit_together(peer):
    from sesamo import Sesamo

    models = peer.models
    prior, flow = models.GaussianPrior([1, 2], verbose=False), models.RealNVP([1, 2])
    with pytest.raises(RuntimeError, match="same dtype"):
        Sesamo(prior, flow, models.Z2Modulation(), models.Z2Regularization()).sample(2)
    with pytest.raises(UnboundLocalError, match="log_prob_stochmod"):
        Sesamo(prior, [], [], []).sample(2)
    with pytest.raises(TypeError, match="dtype"):
        models.VMONF([1, 2])
