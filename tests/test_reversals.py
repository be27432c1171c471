"""The oracle on maps that do not preserve volume: three ways to reverse a proposal, declared rightly and wrongly."""

import numpy as np
import pytest

from refimpl.validation import TargetError, check_target
from refimpl.validation.checks import CHECKS
from refimpl.validation.checks.maps import along, backward, proposal, rounding
from refimpl.validation.contract import Subject
from refimpl.validation.mutants import L2HMC, Clay
from refimpl.validation.mutants.l2hmc_clay import REGIMES
from refimpl.validation.references.kernels import ReferenceU1
from refimpl.validation.verdict import FAIL, PASS, SKIP
from tests.targets.affine import Affine

pytestmark = pytest.mark.slow


def statuses(report):
    return {verdict.check: verdict.status for verdict in report.verdicts}


@pytest.mark.parametrize("kernel", ["direction", "merged"])
@pytest.mark.parametrize("regime", REGIMES)
def test_the_clay_passes_every_deterministic_check_of_maps_in_every_regime(kernel, regime):
    report = check_target(L2HMC(kernel=kernel, regime=regime), seed=1, level="smoke", select="maps.*")
    assert [v.detail for v in report.failures] == []
    skips = {check for check, status in statuses(report).items() if status == SKIP}
    assert skips == {"maps.energy_scaling", "maps.equivariance"}


@pytest.mark.parametrize("kernel", ["direction", "merged"])
def test_the_clay_passes_the_whole_battery(kernel):
    report = check_target(L2HMC(kernel=kernel, shape=(2, 2)), seed=2, level="smoke")
    assert [v.detail for v in report.failures] == []
    assert statuses(report).get("transcript.direction", "absent") == (PASS if kernel == "direction" else "absent")


@pytest.mark.parametrize("regime", [r for r in REGIMES if r != "large"])
def test_the_clay_proposes_well_enough_to_be_judged_by_statistics(regime):
    rng = np.random.default_rng(0)
    target = L2HMC(regime=regime)
    x = Subject(target).theory.sample(rng, 500)
    record = target.transition(x, rng.standard_normal(x.shape), rng.random(500), rng.choice([-1.0, 1.0], 500))
    assert 0.3 < record["accept"].mean() < 0.85
    if regime == "coherent_s":
        assert 1.5 < np.abs(record["logdet"]).mean() < 2.5


def test_zero_weights_are_the_leapfrog():
    rng = np.random.default_rng(1)
    z = rng.uniform(-np.pi, np.pi, (5, 2, 4, 4)), rng.standard_normal((5, 2, 4, 4))
    clay, hmc = L2HMC(regime="zero", eps=0.3, n_layers=3), Clay(step_size=0.3, n_steps=3)
    ((x, v), logdet), ((y, w), _) = clay.forward(z), hmc.forward(z)
    np.testing.assert_allclose(np.exp(1j * x), np.exp(1j * y), atol=1e-13)  # some ulp of pi in each of nine updates
    np.testing.assert_allclose(v, w, atol=1e-13)
    np.testing.assert_allclose(logdet, 0, atol=1e-13)


def test_a_sampler_on_the_real_line_passes():
    report = check_target(Affine, seed=3, level="smoke")
    assert [v.detail for v in report.failures] == []
    assert statuses(report)["maps.energy_scaling"] == SKIP


def test_a_logdet_left_out_on_the_real_line_is_seen():
    class NoLogdet(Affine):
        def logdet(self, x):
            return np.zeros(len(x))

    assert statuses(check_target(NoLogdet, seed=3, level="smoke", select="jacobian"))["maps.jacobian"] == FAIL


@pytest.mark.parametrize(
    ("target", "declared", "killers"),
    [
        (L2HMC(shape=(2, 2)), "flip", {"maps.reversal"}),
        (L2HMC(shape=(2, 2)), "involution", {"maps.reversal"}),
        (L2HMC(shape=(2, 2), kernel="merged"), "flip", {"maps.reversal"}),
        (ReferenceU1(shape=(2, 2)), "involution", {"maps.reversal"}),
    ],
)
def test_a_reversal_that_is_declared_wrongly_is_seen(target, declared, killers):
    class Declared:
        theory, beta, shape, reversal = "u1", target.beta, target.shape, declared
        forward, inverse = staticmethod(target.forward), staticmethod(target.inverse)

    found = statuses(check_target(Declared(), seed=4, level="smoke", select="maps"))
    assert {check for check in killers if found[check] != FAIL} == set()


def test_an_unknown_reversal_is_refused():
    with pytest.raises(TargetError, match="reversal: got 'mirror', expected one of flip, involution, direction"):
        Subject(type("T", (), {"theory": "u1", "beta": 1.0, "shape": (2, 2), "reversal": "mirror"})())


def test_a_direction_needs_an_inverse_or_a_transition():
    clay = L2HMC(shape=(2, 2))

    class OneWay:
        theory, beta, shape, reversal, equivariant = "u1", clay.beta, clay.shape, "direction", False
        forward = staticmethod(clay.forward)

    report = check_target(OneWay(), seed=1, level="smoke", select="maps.round_trip")
    assert "offers neither inverse nor transition" in report.verdicts[0].detail
    OneWay.transition = staticmethod(clay.transition)
    assert check_target(OneWay(), seed=1, level="smoke", select="maps").failures == []


def test_directions_are_mixed_chain_by_chain():
    subject = Subject(L2HMC(shape=(2, 2)))
    rng = np.random.default_rng(2)
    z = rng.uniform(-np.pi, np.pi, (4, 2, 2, 2)), rng.standard_normal((4, 2, 2, 2))
    (x, _), logdet = along(subject, z, np.array([1.0, -1.0, -1.0, 1.0]))
    (ahead, _), up = proposal(subject, z)
    (back, _), down = backward(subject, z)
    np.testing.assert_allclose(x, np.stack([ahead[0], back[1], back[2], ahead[3]]), atol=1e-13)
    np.testing.assert_allclose(logdet, [up[0], down[1], down[2], up[3]], atol=1e-13)


def test_noise_inside_a_map_is_a_failure_not_a_skip():
    class Noisy(L2HMC):
        def hidden(self, h):
            return np.tanh(h + 1e-4 * np.random.default_rng().standard_normal(h.shape))

    report = check_target(Noisy(shape=(2, 2)), seed=1, level="smoke", select="maps.round_trip")
    assert "two calls with one input differ" in report.failures[0].detail


def test_a_hot_trajectory_lifts_the_rounding_bound_but_not_to_single_precision():
    subject = Subject(L2HMC(shape=(2, 2), regime="large", kernel="merged"))
    rng = np.random.default_rng(3)
    z = subject.theory.sample(rng, 4), rng.standard_normal((4, 2, 2, 2))
    assert rounding(subject, z, rng) < 1e-8


def test_checks_that_belong_elsewhere_are_not_counted():
    hmc, l2hmc = (check_target(t, seed=1, select="nothing").applicable for t in (Clay, L2HMC))
    assert l2hmc - hmc == 2  # the direction, and weights
    assert hmc == sum("u1" in check.theories and "flip" in check.reversals and not check.offering for check in CHECKS)
