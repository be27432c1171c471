"""Joint flows before the oracle: right ones pass, whatever part of one is offered; what the oracle draws and moves is right."""

import re
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import kstest

from refimpl.validation import check_target, measure_dirac, vectors
from refimpl.validation.builtin import BUILT_IN, trained
from refimpl.validation.checks import conditional, covariances, pseudomarginal
from refimpl.validation.checks.conditional_samples import _steadiest
from refimpl.validation.contract import Subject, TargetError
from refimpl.validation.mutants.conditional import InflationWithoutLogdet, PeriodicTransports
from refimpl.validation.mutants.joint import EstimateRefreshed
from refimpl.validation.mutants.joint_clay import ColourClay, ConditionalClay, HeatBathClay, JointClay
from refimpl.validation.references.joint import conditional_with_weights
from refimpl.validation.verdict import FAIL, PASS, SKIP


def judged(target, select, seed=1, **parameters):
    report = check_target(target, level="smoke", seed=seed, select=select, parameters=parameters)
    return {verdict.check: verdict for verdict in report.verdicts}


def problems(verdicts):
    return {check: verdict.detail for check, verdict in verdicts.items() if verdict.status == FAIL}


def skips(verdicts):
    return {check for check, verdict in verdicts.items() if verdict.status == SKIP}


def only(clay, *names, **attributes):
    """A target that offers these functions of a clay, and declares what it does."""
    declared = ("theory", "beta", "kappa", "shape", "even_odd", "mus", "n_pf")
    kept = {name: getattr(clay, name) for name in (*declared, *names) if hasattr(clay, name)}
    return SimpleNamespace(**kept, name="part", **attributes)


# --- right ones ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("clay", "skipped"),
    [
        (ConditionalClay(), {"conditional.exact", "conditional.golden"}),
        (ColourClay(shape=(2, 2)), {"conditional.exact", "conditional.golden"}),
        (
            HeatBathClay(),
            {"conditional.golden", "conditional.gauge_equivariance", "conditional.translation"},
        ),
    ],
    ids=["U(1)", "SU(2)", "heat bath"],
)
def test_the_clay_of_the_mutants_passes(clay, skipped):
    verdicts = judged(clay, "conditional.*")
    assert problems(verdicts) == {}
    assert skips(verdicts) == skipped
    assert len(verdicts) == 11


def test_samples_of_the_clay_pass():
    verdicts = judged(ConditionalClay(shape=(2, 2)), "conditional_samples.*")
    assert {verdict.status for verdict in verdicts.values()} == {PASS}
    assert "w_min > 1/2 at 100%" in verdicts["conditional_samples.determinant"].sensitivity


@pytest.mark.parametrize("select", ["joint.[psl]*", "pseudomarginal.[dku]*", "pseudomarginal.s[et][ea][dr][st]*"])
def test_joint_samples_and_chains_of_the_clay_pass(select):
    verdicts = judged(JointClay(shape=(2, 2)), select)
    assert verdicts
    assert {verdict.status for verdict in verdicts.values()} == {PASS}


@pytest.mark.parametrize(
    ("names", "n"),
    [
        (("conditional_forward",), 3),
        (("conditional_inverse",), 3),
        (("conditional_inverse", "conditional_sample"), 4),
        (("conditional_log_prob",), 1),
        (("conditional_log_prob", "conditional_sample"), 3),
        (("conditional_sample",), 1),
    ],
)
def test_any_part_of_one_is_judged(names, n):
    verdicts = judged(only(ConditionalClay(shape=(2, 2)), *names), "conditional.*")
    assert problems(verdicts) == {}
    assert sum(verdict.status == PASS for verdict in verdicts.values()) == n


@pytest.mark.parametrize("name", ["conditional_forward", "conditional_inverse", "conditional_log_prob"])
def test_any_part_says_what_the_law_of_samples_is(name):
    clay = only(ConditionalClay(shape=(2, 2)), name, "conditional_sample")
    assert judged(clay, "conditional_samples.d*")["conditional_samples.determinant"].status == PASS
    alone = judged(only(ConditionalClay(shape=(2, 2)), "conditional_sample"), "conditional_samples.*")
    assert {verdict.status for verdict in alone.values()} == {SKIP}


def test_a_gaussian_is_read_off_its_log_density():
    clay = ConditionalClay(shape=(2, 2))
    whole, density = Subject(clay), Subject(only(clay, "conditional_log_prob"))
    x = covariances.links(whole, np.random.default_rng(3), 4)
    one, other = (covariances.factors(subject, x) for subject in (whole, density))
    both = [f @ f.conj().swapaxes(-1, -2) for f in (one, other)]
    np.testing.assert_allclose(*both, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "select"), [("joint", "conditional.[lrtjds]*"), ("joint-su2", "conditional.ga*")])
def test_flows_of_the_package_pass(name, select):
    verdicts = judged(BUILT_IN[name], select)
    assert verdicts
    assert {verdict.status for verdict in verdicts.values()} == {PASS}


def test_flows_of_the_package_have_weights_with_a_variance_and_are_not_the_identity():
    for name in ("joint", "joint-su2"):
        subject = Subject(BUILT_IN[name])
        own = covariances.Covariances.of(subject, subject.sample(4, 3)[0])
        assert np.isfinite(own.variances).all(), name
        assert np.abs(own.factor - np.eye(own.factor.shape[-1])).max() > 0.1, name


def test_the_chain_of_the_package_passes():
    verdicts = judged(BUILT_IN["joint"], "pseudomarginal.[dk]*")
    assert {verdict.status for verdict in verdicts.values()} == {PASS}


def test_all_sites_and_one_monomial_pass():
    verdicts = judged(BUILT_IN["joint"], "conditional.[jr]*", even_odd=False, mus=())
    assert problems(verdicts) == {}
    assert verdicts["conditional.jacobian"].status == PASS
    assert judged(BUILT_IN["joint"], "conditional.even_sites", even_odd=False)["conditional.even_sites"].status == SKIP


# --- what the oracle does itself --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize(("mu", "by"), [(0, 1), (0, 3), (1, 2)])
def test_translations_commute_with_the_operator(antiperiodic, mu, by):
    """To rounding of the operator, whose entries are below 2."""
    subject = Subject(SimpleNamespace(theory="schwinger", beta=1.0, kappa=0.2, shape=(4, 2), antiperiodic=antiperiodic))
    rng = np.random.default_rng(4)
    x = rng.uniform(-np.pi, np.pi, (3, 2, 4, 2))
    phi = covariances.noise(rng, subject, x)
    turn = covariances.translated(subject, mu, by)

    def applied(links, field):
        d = measure_dirac.dirac_matrix(links, 0.2, antiperiodic)
        return np.einsum("nij,nj->ni", d, field.reshape(3, -1)).reshape(field.shape)

    np.testing.assert_allclose(applied(np.roll(x, by, 2 + mu), turn(phi)), turn(applied(x, phi)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("theory", ["schwinger", "su2"])
def test_gauge_transformations_commute_with_the_operator(theory):
    subject = Subject(SimpleNamespace(theory=theory, beta=1.0, kappa=0.2, shape=(2, 4)))
    rng = np.random.default_rng(5)
    x = covariances.fields_of_all_sizes(subject.links, rng, 3)
    phi = covariances.noise(rng, subject, x)
    moved, turn = covariances.gauge(subject, rng, x)

    def applied(links, field):
        d = measure_dirac.dirac_matrix(links, 0.2)
        return np.einsum("nij,nj->ni", d, field.reshape(3, -1)).reshape(field.shape)

    np.testing.assert_allclose(applied(moved, turn(phi)), turn(applied(x, phi)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_pf", [1, 4])
def test_estimates_of_the_oracle_have_the_mean_and_variance_of_their_law(n_pf):
    """Five standard errors; the fourth moment exists for w above 3/4."""
    rng, n = np.random.default_rng(6), 100_000
    w = np.array([[[0.9, 1.1, 1.3], [1.0, 1.2, 0.8]]])
    r = np.exp(pseudomarginal.simulated(rng, w, n_pf, n, False)[0])
    x = np.prod(w**2 / (2 * w - 1), axis=-1)[0] - 1
    variance = np.prod(1 + x / n_pf) - 1
    assert abs(r.mean() - 1) < 5 * np.sqrt(variance / n)
    assert abs(r.var() / variance - 1) < 5 * np.sqrt(np.mean((r - 1) ** 4) / variance**2 / n)
    started = np.exp(-pseudomarginal.simulated(rng, w, n_pf, n, True)[0])
    assert abs(started.mean() - 1) < 5 * started.std() / np.sqrt(n)


def test_ranks_are_uniform_also_where_all_weights_are_alike():
    at = Subject(JointClay(shape=(2, 2)))
    rng = np.random.default_rng(7)
    u, width = pseudomarginal.ranks(at, rng, np.ones((2000, 2, 4)), 1e-13 * rng.standard_normal(2000), False)
    assert kstest(u, "uniform").pvalue > 1e-6
    assert u.max() > 0.99  # of 2000: fails with a probability of 2e-9
    assert width.max() < 1e-12


@pytest.mark.parametrize("scale", [1e-9])
def test_ranks_are_uniform_where_rounding_is_as_wide_as_the_law(scale):
    """Exchangeable numbers on a grid have uniform ranks; fails by chance with a probability of 1e-6."""
    at = Subject(JointClay(shape=(2, 2)))
    rng = np.random.default_rng(8)
    w = np.full((1000, 1, 2), 1 + scale)
    u, _ = pseudomarginal.ranks(at, rng, w, pseudomarginal.simulated(rng, w, 1, 1, False)[:, 0], False)
    assert kstest(u, "uniform").pvalue > 1e-6


def test_many_draws_take_fewer_estimates_of_the_oracle_and_are_refused_at_last():
    counts = []
    for n_pf in (1, 2**10, 2**30):
        at = Subject(type("Many", (JointClay,), {"n_pf": n_pf})(shape=(2, 2)))
        counts.append(pseudomarginal.rivals(at, 1024))
    assert (counts[0], counts[2]) == (pseudomarginal.RANKS, 0)
    assert pseudomarginal.FEWEST_RANKS <= counts[1] < pseudomarginal.RANKS


def test_copies_of_noise_are_found_but_for_a_phase_or_a_conjugate():
    rng = np.random.default_rng(9)
    white = rng.standard_normal((100, 4)) + 1j * rng.standard_normal((100, 4))
    assert covariances.copies(white) == 0
    assert covariances.copies(np.concatenate([white, -white[:3], white[5:7].conj(), 1j * white[9:10]])) == 6


def test_the_variance_is_that_of_the_gaussian_integral():
    clay = ConditionalClay(shape=(2, 2))
    own = covariances.Covariances.of(Subject(clay), covariances.links(Subject(clay), np.random.default_rng(8), 2))
    precision = np.linalg.inv(own.factor @ own.factor.conj().swapaxes(-1, -2))
    both = 2 * own.precisions - precision
    expected = 2 * np.linalg.slogdet(own.precisions)[1] - np.linalg.slogdet(precision)[1] - np.linalg.slogdet(both)[1]
    assert (np.linalg.eigvalsh(both) > 0).all()
    np.testing.assert_allclose(np.log1p(own.variances), expected, rtol=1e-9)


def test_gauge_fields_without_a_variance_are_left_out():
    variances = np.array([[0.5, np.inf], [np.inf, 5.0], [3.0, np.inf]])
    assert _steadiest(variances).tolist() == [[0, 0], [2, 0]]
    assert _steadiest(np.full((5, 2), np.inf)).shape == (0, 2)


def test_the_share_of_gauge_fields_without_a_variance_is_told():
    class Narrow(ConditionalClay):
        inflation = 0.6

    verdict = judged(Narrow(), "conditional_samples.determinant")["conditional_samples.determinant"]
    assert verdict.status == SKIP
    assert "w_min > 1/2 at 0%, 0% of the gauge fields" in verdict.detail


def test_a_small_lattice_has_gauge_fields_with_a_moderate_variance():
    """Weights of more components vary more: at 2 x 2 a wrong constant is seen where on the lattice of the target nothing would."""

    @dataclass(frozen=True)
    class Wide(ConditionalClay):
        inflation: ClassVar[float] = 1.6

    class Off(Wide):
        def conditional_sample(self, x, seed):
            phi, log_q = super().conditional_sample(x, seed)
            return phi, log_q - 43.2  # e^43.2 = 5.7e18

    check = "conditional_samples.determinant"
    at = Subject(Wide(shape=(4, 4)))
    own = covariances.Covariances.of(at, covariances.links(at, np.random.default_rng(8), 8))
    assert own.variances.min() > 4
    assert judged(Wide, check, shape=(4, 4))[check].status == PASS
    wrong = judged(Off, check, shape=(4, 4))[check]
    assert wrong.status == FAIL
    assert re.search(r"over pi\^N det K = \d\.\d+e\+18, ", wrong.detail)
    assert "shape (2, 2)" in wrong.detail
    fixed = only(Wide(shape=(4, 4)), "conditional_forward", "conditional_sample")
    alone = judged(fixed, check)[check]  # cannot be made there
    assert alone.status == SKIP
    assert "a target that can be made at the shape (2, 2)" in alone.detail


@pytest.mark.parametrize(
    ("clay", "factor", "told"),
    [
        (ConditionalClay, 0.5, "(half the dense one everywhere: a complex number counts as two real ones)"),
        (ConditionalClay, 2.0, "(twice the dense one everywhere: a complex number counts as two real ones)"),
        (ConditionalClay, 3.0, "(3 times the dense one everywhere)"),
        (
            partial(ColourClay, shape=(2, 2)),
            0.5,
            "(half the dense one everywhere: a complex number counts as two real ones, or every colour counts once)",
        ),
    ],
)
def test_a_common_factor_of_logdets_is_told(clay, factor, told):
    right = clay()

    def forward(x, chi):
        phi, logdet = right.conditional_forward(x, chi)
        return phi, factor * logdet

    def inverse(x, phi):
        chi, logdet = right.conditional_inverse(x, phi)
        return chi, factor * logdet

    wrong = only(right)
    wrong.conditional_forward, wrong.conditional_inverse = forward, inverse
    assert told in judged(wrong, "conditional.jacobian")["conditional.jacobian"].detail


def test_logdets_without_a_common_factor_have_none():
    detail = judged(InflationWithoutLogdet, "conditional.jacobian")["conditional.jacobian"].detail
    assert "dense" in detail
    assert "everywhere" not in detail


# --- symmetries and what is declared -------------------------------------------------------------------------------------------
def test_a_period_that_is_the_lattice_is_looked_at_on_twice_the_lattice():
    @dataclass(frozen=True)
    class Right(ConditionalClay):
        conditional_period: ClassVar[int] = (4, 2)

    @dataclass(frozen=True)
    class Periodic(PeriodicTransports):
        conditional_period: ClassVar[int] = (4, 2)

    assert judged(Right, "conditional.translation")["conditional.translation"].status == PASS
    assert judged(Periodic, "conditional.translation")["conditional.translation"].status == FAIL
    fixed = only(Right(), "conditional_forward", conditional_symmetries=("translation",), conditional_period=(4, 2))
    verdict = judged(fixed, "conditional.translation")["conditional.translation"]
    assert verdict.status == SKIP
    assert "cannot be made at twice that" in verdict.detail


@pytest.mark.parametrize(
    ("declared", "check", "message"),
    [
        ({"conditional_symmetries": "gauge"}, "conditional.gauge_equivariance", "conditional_symmetries: got 'gauge'"),
        ({"conditional_period": 0}, "conditional.translation", "integers of at least 1"),
        ({"conditional_period": 3}, "conditional.translation", "does not divide the lattice"),
        ({"conditional_period": "two"}, "conditional.translation", "conditional_period: got 'two'"),
        ({"conditional_symmetries": None}, "conditional.translation", "conditional_symmetries: got None"),
        ({"conditional_period": (2, 2, 2)}, "conditional.translation", "conditional_period: got (2, 2, 2)"),
        ({"conditional_is_exact": "no"}, "conditional.exact", "conditional_is_exact: got 'no'"),
        ({"n_pf": property(lambda self: 1 // 0)}, "pseudomarginal.starts", "n_pf: reading it raised ZeroDivisionError"),
        ({"n_pf": 0}, "pseudomarginal.proposals", "n_pf: got 0"),
        ({"n_pf": 1.5}, "pseudomarginal.proposals", "n_pf: got 1.5"),
        ({"pseudomarginal_constant": "one"}, "pseudomarginal.starts", "pseudomarginal_constant: got 'one'"),
        ({"mus": (0.3, 0.1)}, "conditional.linear", "masses that increase"),
    ],
)
def test_what_is_declared_wrongly_is_named(declared, check, message):
    wrong = type("Wrong", (JointClay,), {**declared, "monomials": 2})(shape=(4, 2))
    assert message in judged(wrong, check)[check].detail


def test_a_constant_that_is_declared_is_taken():
    class Shifted(JointClay):
        pseudomarginal_constant: ClassVar[float] = 5.0

        def estimate(self, x, rngs, start):
            return super().estimate(x, rngs, start) + 5.0

    verdicts = judged(Shifted(shape=(2, 2)), "pseudomarginal.starts")
    assert problems(verdicts) == {}
    Shifted.pseudomarginal_constant = 0.0
    assert set(problems(judged(Shifted(shape=(2, 2)), "pseudomarginal.starts"))) == {"pseudomarginal.starts"}


@pytest.mark.parametrize(
    ("functions", "check", "message"),
    [
        ({"conditional_forward": lambda x, chi: chi}, "conditional.linear", "expected (field, logdet)"),
        (
            {"conditional_forward": lambda x, chi: (chi, np.zeros(len(x)))},
            "conditional.linear",
            "logdet: got shape (8,), expected (8, 2)",
        ),
        (
            {"conditional_log_prob": lambda x, phi: np.zeros(len(x))},
            "conditional.normalised",
            "conditional_log_prob: got",
        ),
        (
            {"conditional_log_prob": lambda x, phi: np.full(phi.shape[:2], np.nan)},
            "conditional.normalised",
            "NaN or infinite",
        ),
        ({"joint_sample": lambda n, seed: (1, 2)}, "joint.seeds", "expected (x, phi, log_prob)"),
        ({"pseudomarginal": lambda x, log_w, seed: x}, "pseudomarginal.kept", "expected a mapping with x_proposed"),
        ({"pseudomarginal": lambda x, log_w, seed: {"u": 1}}, "pseudomarginal.kept", "got no x_proposed"),
    ],
)
def test_wrong_structures_are_named(functions, check, message):
    verdicts = (
        judged(only(ConditionalClay(), **{}), check)
        if not functions
        else judged(SimpleNamespace(**vars(only(ConditionalClay())), **functions), check)
    )
    assert message in verdicts[check].detail


def test_even_sites_take_even_extents():
    target = only(replace(ConditionalClay(), shape=(3, 2)), "conditional_forward")
    assert "expected even extents" in judged(target, "conditional.linear")["conditional.linear"].detail


def test_a_theory_without_fermions_is_spared():
    target = SimpleNamespace(theory="u1", beta=1.0, shape=(4, 2), conditional_forward=lambda x, chi: None)
    assert judged(target, "conditional*") == {}


def test_a_decision_names_the_estimate_that_the_oracle_chose():
    verdict = judged(EstimateRefreshed(shape=(2, 2)), "pseudomarginal.decision")["pseudomarginal.decision"]
    assert verdict.status == FAIL
    assert "log_w_proposed - log_w" in verdict.detail


# --- files -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("vector", vectors.read_suite("conditionals"), ids=lambda vector: vector.name)
def test_the_layers_of_the_vectors_are_those_of_the_package(vector):
    """Rounding of two layers of numbers below 100."""
    params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
    assert all(np.all(value != 0) for value in params.values())
    chi, phi, logdet = (vector.expected[name] for name in ("chi", "phi", "logdet"))
    got, log = conditional_with_weights(params, vector.about["architecture"], vector.x, chi, 1)
    np.testing.assert_allclose(got, phi, rtol=0, atol=1e-12 * np.abs(phi).max())
    np.testing.assert_allclose(log, logdet, rtol=0, atol=1e-12)
    assert np.abs(phi - chi).max() > 0.1


def test_a_trained_joint_model_is_a_target(tmp_path):
    from refimpl.training.joint import JointRecipe
    from refimpl.training.joint_files import save_joint

    own = BUILT_IN["joint"]()
    save_joint(tmp_path, own.joint, own._theory, JointRecipe(steps=1, batch=2))
    made = trained(str(tmp_path))
    verdicts = judged(made, "conditional.[jr]*")
    assert {verdict.status for verdict in verdicts.values()} == {PASS}
    with pytest.raises(TargetError, match="expected schwinger with"):
        Subject(partial(made, shape=(6, 6)))


def test_tolerances_are_far_below_single_precision():
    """1e-7 of a field of size 3 or of its logdet: what single precision would leave."""
    subject = Subject(ConditionalClay())
    rng = np.random.default_rng(9)
    x = covariances.links(subject, rng, 4)
    field, log = conditional.tolerances(subject, x, subject.conditional_forward, covariances.noise(rng, subject, x))
    assert max(field, log) < 3e-9
