"""The built-in generalized leapfrog before the oracle: every net, both kernels, five weight regimes."""

import numpy as np
import pytest

from refimpl.exact import u1
from refimpl.validation import TargetError, check_target
from refimpl.validation.contract import Subject
from refimpl.validation.references.l2hmc import NETS, REGIMES, ReferenceL2HMC, ReferenceL2HMCMixture

pytestmark = pytest.mark.slow

CASES = [(net, merged, regime) for net in NETS for merged in (False, True) for regime in REGIMES]
SMALL = {"shape": (2, 4), "n_layers": 2}  # the least that shows the order of layers


def transition(target, n, seed=0):
    rng = np.random.default_rng(seed)
    x = u1.sample(rng, n, target.beta, target.shape)
    noise = [rng.standard_normal(x.shape), rng.random(n)]
    if not target.map.involution:
        noise.append(np.where(rng.random(n) < 0.5, -1.0, 1.0))
    return target.transition(x, *noise)


def problems(report):
    return [f"{v.check}: {v.status} {v.detail}" for v in report.verdicts if v.status == "fail"]


@pytest.mark.parametrize(("net", "merged", "regime"), CASES)
def test_the_map_is_exact(net, merged, regime):
    target = ReferenceL2HMC(net=net, merged=merged, regime=regime, **SMALL)
    report = check_target(target, level="smoke", seed=1, select="maps.*")
    assert not problems(report)
    assert sum(v.status == "pass" for v in report.verdicts) >= 6


@pytest.mark.parametrize(("net", "merged"), [("scalars", True), ("conv", False), ("dense", True)])
def test_the_whole_battery_passes_where_the_logdet_matters(net, merged):
    assert not problems(check_target(ReferenceL2HMC(net=net, merged=merged, **SMALL), level="smoke", seed=2))


@pytest.mark.parametrize("merged", [False, True])
def test_winding_inside_the_trajectory(merged):
    target = ReferenceL2HMC(net="scalars", winding=1, merged=merged, shape=(2, 4))
    assert target.reversal == "direction"
    assert not problems(check_target(target, level="smoke", seed=3))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("regime", REGIMES)
def test_position_updates_on_the_real_line(merged, regime):
    target = ReferenceL2HMCMixture(merged=merged, regime=regime, n_layers=2)
    assert not problems(check_target(target, level="smoke", seed=4, select="maps.*"))


def test_the_whole_battery_passes_on_the_real_line():
    assert not problems(check_target(ReferenceL2HMCMixture(n_layers=2), level="smoke", seed=5))


@pytest.mark.parametrize("net", NETS)
def test_coherent_scaling_is_where_a_logdet_shows(net):
    record = transition(ReferenceL2HMC(net=net), 500)
    assert 0.5 < np.abs(record["logdet"]).mean() < 4
    assert 0.3 < record["accept"].mean() < 0.9


def test_an_unknown_regime_is_refused():
    with pytest.raises(ValueError, match="regime: got 'tepid', expected one of zero"):
        _ = ReferenceL2HMC(regime="tepid").map


@pytest.mark.parametrize("mask", ["stripes", "checkerboard"])
def test_a_target_that_refuses_a_shape_in_what_it_declares_is_not_asked_again(mask):
    target = ReferenceL2HMC(shape=(4, 4), mask=mask)
    report = check_target(target, level="smoke", select="maps.*", seed=1)
    assert [(v.check, v.detail) for v in report.failures] == []
    assert Subject(target).replace(shape=(2, 3)) is None  # these masks need even extents
    with pytest.raises(TargetError, match="reading what it declares raised ValueError"):
        Subject(ReferenceL2HMC(shape=(2, 3), mask=mask))
