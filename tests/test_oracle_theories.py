"""What the oracle holds for true of each theory: against other formulas, exact samples, and the built-in targets."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refimpl.cli.oracle import THEORIES as OFFERED
from refimpl.validation import TargetError, check_target
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.contract import Subject
from refimpl.validation.mutants import Toy
from refimpl.validation.references.kernels import ReferenceGaussian, ReferenceMixture
from refimpl.validation.theories import O2, THEORIES, U1, Gaussian, Mixture, Phi4, energy
from refimpl.validation.theories.scalar import SCALING
from refimpl.validation.verdict import PASS

COVARIANCE = np.array([[2.0, 0.3], [0.3, 0.1]])
SEVERAL = {
    "u1": U1(1.3, (3, 4)),
    "u1 cold": U1(9.0, (2, 2)),
    "o2": O2(1.7, 7),
    "o2 of two": O2(0.8, 2),
    "gaussian": Gaussian.parse({"covariance": COVARIANCE, "mean": [3.0, -1.0]}),
    "one": Gaussian.parse({"covariance": [[4.0]]}),
    "phi4": Phi4(-0.3, 6.0, (4, 2)),
    "phi4, free": Phi4(0.3, 0.0, (3, 1)),
    "phi4, square": Phi4(0.5, 2.0, (3, 3)),
    "gmm": Mixture.parse(
        {"weights": [0.2, 0.8], "means": [[-2.0, 0.0], [1.0, 1.0]], "covariances": [COVARIANCE, np.eye(2)]}
    ),
}


@pytest.fixture(params=SEVERAL)
def theory(request):
    return SEVERAL[request.param]


def test_the_vectorised_action_is_the_loop(theory):
    x = theory.configurations(np.random.default_rng(1))
    loops = np.array([theory.loop_action(c) for c in x])
    tolerance = 2 * theory.action_rounding(x)
    np.testing.assert_allclose(theory.action(x) - theory.action(x[:1]), loops - loops[0], rtol=0, atol=tolerance)


def test_the_force_is_the_slope_of_the_action(theory):
    rng = np.random.default_rng(2)
    x = theory.configurations(rng)
    h = 0.004 * theory.scale
    w = rng.standard_normal(x.shape)
    w /= np.linalg.norm(w.reshape(len(w), -1), axis=1).reshape(-1, *(1,) * (x.ndim - 1))
    s = {k: theory.action(x + k * h * w) for k in (-2, -1, 1, 2)}
    slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
    force = np.array([theory.loop_force(c) for c in x])
    assert force.shape == x.shape
    # Near the outermost points the action is a thousand and its slope some hundreds.
    np.testing.assert_allclose((force * w).reshape(len(x), -1).sum(axis=1), slope, rtol=1e-6, atol=1e-6)


def test_normal_densities_are_those_of_scipy():
    x = np.random.default_rng(3).standard_normal((6, 2)) * 3
    gaussian, mixture = SEVERAL["gaussian"], SEVERAL["gmm"]
    np.testing.assert_allclose(gaussian.action(x), -multivariate_normal([3, -1], COVARIANCE).logpdf(x), rtol=1e-12)
    density = 0.2 * multivariate_normal([-2, 0], COVARIANCE).pdf(x) + 0.8 * multivariate_normal([1, 1]).pdf(x)
    np.testing.assert_allclose(mixture.action(x), -np.log(density), rtol=1e-10)


def test_exact_samples_have_the_stated_means_and_deviations(theory):
    n = 40_000
    x = theory.sample(np.random.default_rng(4), n)
    assert x.shape == (n, *theory.field_shape)
    for name, function, mean, std, known in theory.observables:
        values = function(x)
        # Five standard errors; the scales of weights and of far correlations are stated too large on purpose.
        estimated = 0 if known else 5 * std / np.sqrt(SCALING)
        assert abs(values.mean() - mean) < 5 * std / np.sqrt(n) + 0.02 * std * (name == "<S>") + estimated, name
        assert 0.3 * std < values.std() < 1.1 * std or values.std() < 0.1, name


def test_means_of_weights_are_exact():
    x = SEVERAL["gmm"].sample(np.random.default_rng(5), 50_000)
    shares = {o.name: o.values(x).mean() for o in SEVERAL["gmm"].observables if "weight" in o.name}
    assert shares["<weight of component 0>"] == pytest.approx(0.2, abs=5 * 0.4 / np.sqrt(50_000))
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)


def test_symmetries_leave_the_action_alone_and_move_the_force(theory):
    rng = np.random.default_rng(6)
    x = theory.configurations(rng)
    for symmetry in theory.symmetries(rng, len(x)):
        moved = symmetry.field(x)
        np.testing.assert_allclose(theory.action(moved), theory.action(x), atol=8 * theory.action_rounding(x))
        force = np.array([theory.loop_force(c) for c in x])
        after = np.array([theory.loop_force(c) for c in moved])
        np.testing.assert_allclose(after, symmetry.tangent(force), atol=8 * theory.force_rounding(x))


def test_a_winding_chain_winds():
    chain = SEVERAL["o2"]
    x = chain.configurations(np.random.default_rng(7))
    assert {-2, -1, 0, 1, 2} <= set(chain.charge(x).tolist())
    q, p = chain.charge_distribution()
    sampled = chain.charge(chain.sample(np.random.default_rng(8), 40_000))
    assert np.mean(sampled == 0) == pytest.approx(float(p[q == 0][0]), abs=5 * 0.5 / np.sqrt(40_000))


def test_phase_fields_come_close_to_the_cut(theory):
    x = theory.phase_fields(np.random.default_rng(9), 6)
    assert x.shape == (6, *theory.field_shape)
    if theory.angular:
        assert np.all(np.pi - np.abs(x[3:]).reshape(3, -1).max(axis=1) < 2e-3)


def test_energy_adds_the_kinetic_term(theory):
    x = theory.configurations(np.random.default_rng(10))
    assert energy(theory, x, np.ones_like(x)) == pytest.approx(theory.action(x) + 0.5 * theory.size)


@pytest.mark.parametrize("name", ["o2", "gaussian", "gmm"])
def test_built_in_targets_pass(name):
    report = check_target(BUILT_IN[name], seed=1, level="smoke")
    assert [v.detail for v in report.failures] == []
    assert report.summary()["skipped"] == 0
    assert report.parameters["theory"] == name


@pytest.mark.parametrize("name", ["o2", "gaussian", "gmm"])
def test_the_clay_of_the_toys_passes(name):
    report = check_target(Toy(theory=name), seed=2, level="smoke", select="[msd][atr][apri]*")
    assert [v.detail for v in report.failures] == []
    assert report.summary()["passed"] > 10


def test_an_ill_conditioned_gaussian_is_judged():
    c = np.array([[1.0, 1 - 1e-6], [1 - 1e-6, 1.0]])
    target = BUILT_IN["gaussian"](covariance=c, mean=[1e3, -1e3], step_size=1e-3)
    report = check_target(target, seed=3, level="smoke", select="static")
    assert {v.status for v in report.verdicts} == {PASS}


def test_a_factory_is_made_at_other_parameters():
    assert Subject(BUILT_IN["o2"]).replace(length=5).theory.length == 5
    assert Subject(Toy(theory="o2")).replace(length=5).theory.length == 5
    weights = Subject(ReferenceMixture, parameters={"weights": [0.5, 0.5]}).theory.weights
    np.testing.assert_array_equal(weights, [0.5, 0.5])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"theory": "o2", "beta": 1.0}, "without length, expected theory and beta and length"),
        ({"theory": "o2", "beta": 0.0, "length": 4}, "expected beta > 0"),
        ({"theory": "o2", "beta": 1.0, "length": 1}, "a length of at least 2"),
        ({"theory": "o2", "beta": 1.0, "length": 4.5}, "expected a number and an integer"),
        ({"theory": "gaussian"}, "without covariance"),
        ({"theory": "gaussian", "covariance": [[1.0, 2.0], [2.0, 1.0]]}, "covariance"),
        ({"theory": "gaussian", "covariance": "x"}, "covariance|could not convert"),
        ({"theory": "gaussian", "covariance": np.diag([1.0, 1e-12])}, "condition number"),
        ({"theory": "gaussian", "covariance": np.eye(2), "mean": [1.0]}, "mean"),
        (
            {"theory": "gmm", "weights": [0.7, 0.7], "means": np.zeros((2, 1)), "covariances": np.ones((2, 1, 1))},
            "sum 1",
        ),
        ({"theory": "gmm", "weights": [1.0], "means": np.zeros((2, 1)), "covariances": np.ones((2, 1, 1))}, "means"),
        (
            {"theory": "gmm", "weights": [1.0], "means": np.zeros((1, 1)), "covariances": -np.ones((1, 1, 1))},
            "definite",
        ),
    ],
)
def test_parameters_that_make_no_theory_are_refused(declared, message):
    with pytest.raises(TargetError, match=message):
        Subject(type("T", (), declared)())


def test_the_command_line_offers_every_theory():
    assert tuple(THEORIES) == OFFERED
    assert set(OFFERED) <= set(BUILT_IN)


@pytest.mark.parametrize(
    "target",
    [
        ReferenceGaussian(covariance=[[2.0]], mean=[1.0]),
        ReferenceMixture(weights=[0.4, 0.6], means=[[-1.0], [1.0]], covariances=[[[0.5]], [[0.3]]]),
    ],
)
def test_one_degree_of_freedom_is_judged(target):
    report = check_target(target, level="smoke", seed=1)
    assert [(v.check, v.detail) for v in report.failures] == []
    assert {v.check: v.status for v in report.verdicts}["transcript.momenta"] == PASS


def test_a_slow_target_is_judged_by_fewer_samples_and_says_what_they_see():
    reports = [check_target(ReferenceGaussian(), level="smoke", seed=1, select="exact_start.observables")]

    class Slow(ReferenceGaussian):
        thrift = 8

    reports.append(check_target(Slow(), level="smoke", seed=1, select="exact_start.observables"))
    (quick, *_), (slow, *_) = (report.verdicts for report in reports)
    assert (quick.samples, slow.samples) == (4096, 512)
    assert quick.sensitivity != slow.sensitivity


@pytest.mark.parametrize("thrift", [0, 1.5, True, "4", 10**6])
def test_a_thrift_that_is_no_small_integer_is_refused(thrift):
    target = ReferenceGaussian()
    object.__setattr__(target, "thrift", thrift)
    with pytest.raises(TargetError, match="thrift: got"):
        check_target(target, level="smoke", select="static.action")
