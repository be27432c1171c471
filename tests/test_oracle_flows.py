"""Normalizing flows before the oracle: right ones pass, whatever part of one is offered; what is declared wrongly is named."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refimpl import models
from refimpl.maps.decimation import Decimation
from refimpl.models import Flow, UniformAngles
from refimpl.validation import check_target
from refimpl.validation.builtin import trained
from refimpl.validation.checks.flow_weights import second_moment
from refimpl.validation.contract import Subject
from refimpl.validation.mutants import BY_NAME, flow_clay
from refimpl.validation.mutants.flow_clay import GaugeFlow, MatrixFlow, PureGaugeFlow, ScalarFlow, SplineFlow
from refimpl.validation.mutants.flows import OlderWeights
from refimpl.validation.references import flows as reference_flows
from refimpl.validation.sequential import above_one_wealth, detectable_excess, moment_wealth
from refimpl.validation.theories import SU2, U1, Phi4, Schwinger
from refimpl.validation.theories.density import nearest, pure_gauge
from refimpl.validation.verdict import FAIL, PASS, SKIP

from .targets.flow_loops import LoopsFlow


def judged(target, select="flow", seed=1, **parameters):
    report = check_target(target, level="smoke", seed=seed, select=select, parameters=parameters)
    return {verdict.check: verdict for verdict in report.verdicts}


def statuses(verdicts):
    return {check: verdict.status for check, verdict in verdicts.items()}


def all_pass(verdicts):
    """But for the golden vectors, of weight files that few load."""
    return all(v.status == PASS or (check == "flows.golden" and v.status == SKIP) for check, v in verdicts.items())


# --- right flows ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("target", "n"), [(ScalarFlow(), 19), (OlderWeights(), 19), (GaugeFlow(), 20)])
def test_the_clay_of_the_mutants_passes(target, n):
    verdicts = judged(target)
    assert all_pass(verdicts), verdicts
    assert len(verdicts) == n


def test_the_clay_with_a_pure_gauge_prior_passes():
    verdicts = judged(PureGaugeFlow())
    assert verdicts.pop("flow_samples.images").status == SKIP
    assert all_pass(verdicts), verdicts


@pytest.mark.parametrize("target", [SplineFlow(), MatrixFlow()])
def test_the_clay_with_splines_and_matrices_passes(target):
    assert all_pass(judged(target, "flows.[!bj]*"))


def test_a_stranger_in_loops_passes():
    assert all_pass(judged(LoopsFlow(), "flows.[!b]*"))


@pytest.mark.parametrize("shape", [(2, 4), (6, 2)])
def test_clay_passes_on_rectangles(shape):
    assert all_pass(judged(ScalarFlow(shape=shape), "flows.[!b]*"))


@pytest.mark.parametrize(
    ("target", "select"),
    [
        (partial(reference_flows.affine, steps=0), "flows.*"),
        (partial(reference_flows.plaquettes, steps=0), "flows.[!bj]*"),
        (reference_flows.holonomies, "flows.[!bj]*"),
        (reference_flows.decimation, "flows.[!bj]*"),
        (partial(reference_flows.decimation, shape=(3, 2)), "flows.[!b]*"),
        (partial(reference_flows.spectra, 2, steps=0), "flows.[!bj]*"),
        (partial(reference_flows.spectra, 3, steps=0), "flows.[rs]*"),
    ],
    ids=["phi4", "u1", "schwinger", "decimation", "decimation 3x2", "su2", "su3"],
)
def test_flows_of_the_package_pass(target, select):
    # Dense Jacobians of these are in the tests of the layers; many fields at once take a second.
    verdicts = judged(target, select)
    assert all_pass(verdicts), verdicts


@pytest.mark.parametrize(
    ("name", "theory"),
    [
        ("affine-4x4", "phi4"),
        ("projections-4x4", "u1"),
        ("spline-4x4", "u1"),
        ("spectral-su2-4x4", "su2"),
        ("spectral-su3-4x4", "su3"),
    ],
)
def test_the_flows_of_the_vectors_are_those_of_the_package(name, theory):
    from refimpl.validation import vectors

    (vector,) = [each for each in vectors.read_suite("flows") if each.name == name]
    assert vector.about["theory"] == theory
    params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
    assert all(np.all(value != 0) for value in params.values())
    x, logdet = reference_flows.flow_with_weights(params, vector.about["architecture"], vector.x, 1)
    np.testing.assert_allclose(x, vector.expected["image"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(logdet, vector.expected["logdet"], rtol=0, atol=1e-12)


def test_a_short_training_passes_the_statistics():
    assert all_pass(judged(partial(reference_flows.affine, steps=50), "flow_weights.*"))


def test_the_exact_flow_is_seen_to_be_exact():
    verdicts = judged(reference_flows.decimation, "flow_weights.[pn]*")
    assert all_pass(verdicts)
    for verdict in verdicts.values():
        assert "ESS/n = 1 " in verdict.detail
        assert "e-07, too" in verdict.sensitivity  # rounding is forgiven up to 1e-6


def test_the_heat_kernel_is_another_theory_and_a_right_flow():
    flow = Flow(UniformAngles((4, 4)), Decimation(4.0, (4, 4), "heat"))
    theory = reference_flows.decimation(beta=4.0)._theory
    verdicts = judged(reference_flows.ReferenceFlow(theory, lambda: flow, "heat kernel"), "flow_weights.[pn]*")
    assert all_pass(verdicts)
    share = float(verdicts["flow_weights.partition"].detail.split("ESS/n = ")[1].split()[0])
    assert 0.1 < share < 0.95


# --- right flows far from the theory ---------------------------------------------------------------------------------------
class Identity(ScalarFlow):
    layers = 0


class Wide(ScalarFlow):
    """A right flow, then a scaling by `e^width`."""

    width = 1.5

    def flow_forward(self, z):
        x, logdet = super().flow_forward(z)
        return x * np.exp(self.width), logdet + x[0].size * self.width

    def flow_inverse(self, x):
        z, logdet = super().flow_inverse(x * np.exp(-self.width))
        return z, logdet - x[0].size * self.width


class Narrow(Wide):
    width = -1.5


class Peaked(GaugeFlow):
    def circle(self, i, angles, context, sign):
        return flow_clay.projected(angles, 0.1 * np.cos(context) - 3.0, 0 * context, sign)


@pytest.mark.parametrize(
    "target",
    [Identity(shape=(8, 8)), ScalarFlow(shape=(16, 16)), Wide(), Narrow(), Peaked(beta=2.0), GaugeFlow((8, 8), 4.0)],
    ids=["identity", "large lattice", "wide", "narrow", "peaked", "cold"],
)
def test_flows_far_from_the_theory_are_right_all_the_same(target):
    verdicts = judged(target, "flow_weights.[pnbe]*")
    assert FAIL not in statuses(verdicts).values(), verdicts
    (exchange,) = (verdict for check, verdict in verdicts.items() if check.endswith("exchange"))
    assert exchange.status == PASS or "overlap too little" in exchange.detail


def gaussian_ratios(rng, size, c, n):
    """Of p = N(0, 1) and q = N(0, c^2) on every site: log p/q over samples of q, and of p."""
    squares = c**2 * rng.chisquare(size, n), rng.chisquare(size, n)
    return [(1 / c**2 - 1) / 2 * square + size * np.log(c) for square in squares]


def collapsed_ratios(rng, shift, n):
    """Of p with two peaks, at +-shift, of which q has one."""
    fields = rng.standard_normal(n) + shift, rng.standard_normal(n) + shift * rng.choice([-1, 1], n)
    return [np.logaddexp(0, -2 * shift * x) - np.log(2) for x in fields]


@pytest.mark.parametrize("ratios", [partial(gaussian_ratios, size=size) for size in (4, 32, 256)] + [collapsed_ratios])
def test_bets_on_weights_alarm_at_most_with_alpha_however_far_the_flow(ratios):
    rng, alpha, alarms, bets = np.random.default_rng(9), 1e-3, 0, 0
    for value in (0.1, 0.5, 0.65, 0.8, 0.9, 0.98, 1.02, 1.1, 1.5, 5.0):
        for _ in range(8):
            over_q, over_p = ratios(rng, **{"shift" if ratios is collapsed_ratios else "c": value}, n=1024)
            for log_r, elsewhere in ((over_q, over_p), (-over_p, -over_q)):
                bound, untrusted = second_moment(log_r, elsewhere, 512, alpha, "")
                bets += not untrusted
                later = np.expm1(np.minimum(log_r[512:], 300))
                alarms += not untrusted and moment_wealth(later, bound, alpha).alarm_at is not None
    assert bets >= 5
    assert alarms <= 3  # of 160, Poisson of mean 0.16: P(> 3) = 2e-5


# --- samples ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", [MatrixFlow(), SplineFlow(), LoopsFlow(), Identity(), Peaked()])
def test_samples_of_right_flows_are_independent_and_of_one_law(target):
    verdicts = judged(target, "flow_samples.*")
    assert set(statuses(verdicts).values()) == {PASS}, verdicts


def test_a_law_without_symmetry_is_no_correlation():
    # A flow whose samples are i.i.d. of a law without symmetry: nothing but exchange makes signs balance.
    class Lopsided(ScalarFlow):
        def draw(self, rngs):
            x, log_prob = super().draw(rngs)
            return np.exp(3 * x), log_prob

    verdicts = [judged(Lopsided(), "flow_samples.in*", seed=seed) for seed in range(5)]
    assert all(verdict.status == PASS for each in verdicts for verdict in each.values())


class ConstantDensity(GaugeFlow):
    """Uniform angles, whose log q has an error of rounding that depends on the size of the call."""

    layers = 0

    def sample(self, n, seed):
        x, log_prob = super().sample(n, seed)
        return x, log_prob * (1 + 1e-15 * (n < 20))


def test_rounding_that_depends_on_the_size_of_a_call_is_no_other_law():
    assert judged(ConstantDensity(), "flow_samples.calls")["flow_samples.calls"].status == PASS


@pytest.mark.parametrize(
    ("wrong", "check", "message"),
    [
        ("Antithetic", "flow_samples.independent", "the field, samples i, i + n/2: 0 positive"),
        ("PairsShareNoise", "flow_samples.independent", "samples i, i + 1"),
        ("NoiseOfNoSeed", "flow_samples.independent", "samples i of two seeds"),
        ("SeedPlusIndex", "flows.samples", "63 of them in the next seed: is it added to?"),
        ("PriorOfOtherWidth", "flow_samples.images", "log q: "),
        ("WideInSmallCalls", "flow_samples.calls", "<phi dS/dphi>: "),
    ],
)
def test_how_samples_depend_on_each_other_is_told(wrong, check, message):
    verdict = judged(BY_NAME[wrong](), check)[check]
    assert verdict.status == FAIL
    assert message in verdict.detail


def test_a_prior_that_is_declared_wrongly_is_seen_without_a_density():
    target = offering(BY_NAME["PriorOfOtherWidth"](), "flow_forward", "sample")
    target.flow_prior = "normal"
    failed = {check for check, status in statuses(judged(target, "flow*")).items() if status == FAIL}
    assert failed == {"flow_samples.images"}


def test_a_seed_that_is_ignored_is_guessed():
    class NoSeed(ScalarFlow):
        def sample(self, n, seed):
            return super().sample(n, 3)

    verdict = judged(NoSeed(), "flows.samples")["flows.samples"]
    assert verdict.status == FAIL
    assert "is the seed ignored?" in verdict.detail


def test_failures_name_what_was_probably_meant():
    class LinksOfTimeAlone(GaugeFlow):
        def active(self, i):
            return super().active(i) & (i % 2 == 0)

    class Reversed(ScalarFlow):
        def through(self, x, order, sign):
            x, logdet = super().through(x, order, sign)
            return x, -logdet

    verdict = judged(LinksOfTimeAlone(), "flows.moves*")["flows.moves_every_link"]
    assert verdict.status == FAIL
    assert 'declare flow_moves = "plaquettes"' in verdict.detail
    assert judged(Reversed(), "flows.jacobian")["flows.jacobian"].detail.endswith("the sign is reversed")


# --- parts of a flow -------------------------------------------------------------------------------------------------------
def offering(flow, *names):
    return SimpleNamespace(
        theory=flow.theory, m2=flow.m2, lam=flow.lam, shape=flow.shape, **{name: getattr(flow, name) for name in names}
    )


@pytest.mark.parametrize(
    ("names", "passed"),
    [
        (("log_prob",), {"flows.batch", "flow_weights.normalised"}),
        (("sample",), {"flows.samples", "flow_samples.independent", "flow_samples.calls", "flow_weights.partition"}),
        (("flow_forward",), {"flows.jacobian", "flows.moves_every_link", "flows.batch"}),
        (("flow_inverse",), {"flows.jacobian", "flows.moves_every_link", "flows.batch"}),
        (
            ("sample", "log_prob"),
            {
                "flows.batch",
                "flows.sample_log_prob",
                "flows.samples",
                "flow_samples.independent",
                "flow_samples.calls",
                "flow_weights.partition",
                "flow_weights.normalised",
                "flow_weights.bridge",
                "flow_weights.exchange",
            },
        ),
    ],
)
def test_any_part_of_a_flow_is_judged(names, passed):
    verdicts = judged(offering(ScalarFlow(), *names))
    assert {check for check, status in statuses(verdicts).items() if status == PASS} == passed
    assert FAIL not in statuses(verdicts).values()
    assert all(verdict.detail for verdict in verdicts.values() if verdict.status == SKIP)


def test_a_flow_without_log_prob_has_the_density_of_its_samples():
    flow = ScalarFlow()
    target = offering(flow, "sample", "flow_inverse", "prior_log_prob")
    assert judged(target, "flows.density")["flows.density"].status == PASS
    target.sample = lambda n, seed: (flow.sample(n, seed)[0], flow.sample(n, seed)[1] + 1e-6)
    assert judged(target, "flows.density")["flows.density"].status == FAIL


def test_checks_of_flows_do_not_belong_to_other_targets():
    from refimpl.validation.references.kernels import ReferenceU1

    assert judged(ReferenceU1()) == {}


def test_the_identity_shows_nothing():
    class Untrained(ScalarFlow):
        layers = 0

    verdict = judged(Untrained(), "flows.moves")["flows.moves_every_link"]
    assert verdict.status == SKIP
    assert "judge it at other weights" in verdict.detail


def test_updates_are_judged_as_those_of_the_flow_only_where_that_is_said():
    class Silent(ScalarFlow):
        flow_updates = False

    assert judged(Silent(), "flow_weights.acceptance")["flow_weights.acceptance"].status == SKIP


# --- what is declared --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Declaring(ScalarFlow):
    """A right flow that says other things of itself."""

    flow_prior: Any = "normal"  # type: ignore[misc]
    flow_symmetries: Any = ("translation",)  # type: ignore[misc]
    flow_period: Any = 2  # type: ignore[misc]
    flow_moves: Any = "links"
    flow_updates: Any = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("declared", "check", "message"),
    [
        ({"flow_prior": "uniform"}, "flows.prior", "flow_prior: got 'uniform', expected 'normal' for phi4"),
        ({"flow_symmetries": ("gauge",)}, "flows.equivariance", "expected a tuple of translation, parity"),
        ({"flow_symmetries": "parity"}, "flows.equivariance", "flow_symmetries: got 'parity'"),
        ({"flow_period": 0}, "flows.equivariance", "flow_period: got 0, expected integers of at least 1"),
        ({"flow_period": (2, 2.5)}, "flows.equivariance", "flow_period: got (2, 2.5), expected an integer or two"),
        ({"flow_moves": "plaquettes"}, "flows.moves_every_link", "flow_moves: got 'plaquettes'"),
        ({"flow_updates": "yes"}, "flow_weights.acceptance", "flow_updates: got 'yes', expected True or False"),
    ],
)
def test_what_is_declared_wrongly_is_named(declared, check, message):
    verdict = judged(Declaring(**declared), check)[check]
    assert verdict.status == FAIL
    assert message in verdict.detail


def test_a_pure_gauge_prior_has_a_coupling():
    verdict = judged(PureGaugeFlow(flow_prior_beta=None), "flows.prior")["flows.prior"]
    assert verdict.status == FAIL
    assert "flow_prior_beta: got None, expected the coupling" in verdict.detail


@pytest.mark.parametrize(
    ("period", "status"), [(1, FAIL), (2, PASS), ((2, 1), FAIL), ((4, 2), PASS)], ids=["1", "2", "2 1", "4 2"]
)
def test_the_period_of_a_mask_is_taken_at_its_word(period, status):
    assert judged(Declaring(flow_period=period), "flows.equivariance")["flows.equivariance"].status == status


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda n: np.zeros((n, 4, 2)), "sample: got ndarray"),
        (lambda n: (np.zeros((n, 2, 4)), np.zeros(n)), f"sample: x: got shape {(64, 2, 4)}, expected {(64, 4, 2)}"),
        (lambda n: (np.zeros((n, 4, 2)), np.full(n, np.nan)), "sample: log_prob: got 64 NaN or infinite values"),
    ],
)
def test_what_is_returned_wrongly_is_named(returned, message):
    target = offering(ScalarFlow(), "log_prob")
    target.sample = lambda n, seed: returned(n)
    verdict = judged(target, "flows.samples")["flows.samples"]
    assert verdict.status == FAIL
    assert message in verdict.detail


# --- densities and bets ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("theory", "name", "other"),
    [
        (U1(1.0, (3, 2)), "the theory itself", lambda: pure_gauge(0.8, (3, 2), 1)),
        (SU2(1.0, (2, 2)), "the theory itself", lambda: pure_gauge(0.8, (2, 2), 2)),
        (SU2(1.0, (2, 2), kappa=0.1), "pure gauge theory at beta = 1", lambda: pure_gauge(0.8, (2, 2), 2)),
        (Schwinger(1.0, (2, 2), 0.15), "the theory itself", lambda: pure_gauge(1.2, (2, 2), 1)),
        (Schwinger(1.0, (2, 3), 0.15), "pure gauge theory at beta = 1", lambda: pure_gauge(1.2, (2, 3), 1)),
        (Phi4(0.5, 1.0, (4, 2)), "the theory itself", lambda: nearest(Phi4(0.8, 0.0, (4, 2)))),
        (Phi4(0.5, 1.0, (3, 4)), "the free field of mass squared 0.6", lambda: nearest(Phi4(0.6, 0.0, (3, 4)))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_known_densities_are_normalised(theory, name, other):
    p, q, n = nearest(theory), other(), 4000
    assert p.name.startswith(name)
    for a, b in ((p, q), (q, p)):
        x = a.sample(np.random.default_rng(5), n)
        ratio = np.exp(b.log_prob(x) - a.log_prob(x))
        assert ratio.std() < 1
        assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / np.sqrt(n))


def test_uniform_angles_and_haar_links_fix_the_measures():
    rng = np.random.default_rng(6)
    x = rng.uniform(-np.pi, np.pi, (4000, 2, 3, 2))
    p = nearest(U1(0.5, (3, 2)))
    ratio = np.exp(p.log_prob(x) + 12 * np.log(2 * np.pi))  # over the uniform density
    assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / np.sqrt(4000))


def test_bets_on_a_mean_above_one_need_no_second_moment():
    # Pareto: E[r] = 1, the variance is infinite. Of 400 sequences about none may alarm at 1e-3.
    rng = np.random.default_rng(7)
    tail = 1.5
    alarms = 0
    for _ in range(400):
        r = (1 - rng.random(2000)) ** (-1 / tail) * (tail - 1) / tail
        alarms += above_one_wealth(np.log(r), 1e-3).alarm_at is not None
    assert alarms <= 3  # Poisson of mean 0.4: P(> 3) = 8e-4


def test_bets_find_the_excess_that_they_say():
    rng = np.random.default_rng(8)
    log_r = 0.3 * rng.standard_normal(4000) - 0.045
    seen = detectable_excess(log_r, 1e-6)
    assert 0.02 < seen < 0.1
    found = [
        above_one_wealth(0.3 * rng.standard_normal(4000) - 0.045 + c * seen, 1e-6).alarm_at is not None
        for c in (1.1, 1.1, 1.1, 0.1, -1.0)
    ]
    assert found == [True, True, True, False, False]


@pytest.mark.parametrize(("shift", "killed"), [(0.5, {"partition", "bridge"}), (-0.5, {"normalised", "bridge"})])
def test_a_wrong_constant_is_seen_on_the_side_where_tails_do_not_matter(shift, killed):
    class Off(ScalarFlow):
        def prior_log_prob(self, z):
            return super().prior_log_prob(z) - shift

    failed = {check for check, status in statuses(judged(Off(), "flow_weights.[pnb]*")).items() if status == FAIL}
    assert {f"flow_weights.{name}" for name in killed} <= failed


# --- models in folders -------------------------------------------------------------------------------------------------------
def test_a_trained_flow_is_a_target(tmp_path):
    from refimpl.theories import by_name
    from refimpl.training import FlowRecipe, save_flow

    flow = reference_flows.plaquettes(steps=0).flow
    theory = by_name("u1", beta=1.0, shape=(4, 4))
    save_flow(tmp_path, flow, theory, FlowRecipe(steps=1))
    assert models.load(tmp_path / "weights.npz")[1]["theory"]["name"] == "u1"
    target = trained(str(tmp_path))
    verdicts = judged(target, "flows.[pds]*")
    assert len(verdicts) == 5
    assert all_pass(verdicts)
    assert Subject(target, parameters={"beta": 1.5}).theory.beta == 1.5
    assert Subject(target).replace(shape=(8, 8)) is None


def test_clay_refuses_lattices_that_its_masks_do_not_divide():
    with pytest.raises(ValueError, match="multiples of 4"):
        flow_clay.GaugeFlow(shape=(4, 6))
    with pytest.raises(ValueError, match="even extents"):
        flow_clay.ScalarFlow(shape=(3, 4))


def test_samples_are_judged_where_the_theory_cannot_be_sampled():
    verdicts = judged(ScalarFlow(shape=(16, 16)), "flow_samples.[ci]*")
    assert set(statuses(verdicts).values()) == {PASS}, verdicts
