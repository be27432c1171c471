"""The oracle with fermions and SU(N) links: its own operator and theories, the contract, the bets, built-in and strange targets."""

from types import SimpleNamespace

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.exact import fermions as free
from refimpl.exact import schwinger
from refimpl.validation import TargetError, check_target, measure_dirac, measure_matrices
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.checks.estimates import dependence
from refimpl.validation.checks.pseudofermions import Pseudofermions, _adjoint_gain
from refimpl.validation.contract import Subject
from refimpl.validation.hamiltonian import Hamiltonian
from refimpl.validation.mutants import BY_NAME
from refimpl.validation.mutants.fermions_clay import SIGMA_X, SIGMA_Y, OrbitClay, PseudofermionClay, SchwingerClay
from refimpl.validation.mutants.matrices_clay import MatrixClay
from refimpl.validation.sequential import RATIO_BETS, _ratio_gains, detectable_factor, positive_mean_wealth
from refimpl.validation.theories import SU2, SU3, Monomials, Schwinger, Unsampled
from refimpl.validation.theories.fermions import LEAST_SINGULAR
from refimpl.validation.verdict import FAIL, PASS, SKIP
from tests.targets.schwinger_loops import target as loops

SEVERAL = {
    "schwinger": Schwinger(1.5, (2, 4), 0.22),
    "schwinger, odd, periodic": Schwinger(1.0, (3, 2), 0.2, False),
    "su2": SU2(2.0, (2, 3)),
    "su2 with fermions": SU2(1.0, (2, 2), 0.15),
    "su3": SU3(2.0, (2, 2)),
    "su3 with fermions": SU3(1.0, (2, 2), 0.1),
}


@pytest.fixture(params=SEVERAL)
def theory(request):
    return SEVERAL[request.param]


def problems(report):
    return [(v.check, v.detail) for v in report.failures]


def hot(rng, colours, shape, n=3):
    if colours == 1:
        return rng.uniform(-np.pi, np.pi, (n, 2, *shape))
    return measure_matrices.random_elements(rng, (n, 2, *shape), colours)


# --- what the oracle holds for true --------------------------------------------------------------------------------------
@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize(("colours", "shape"), [(1, (2, 2)), (1, (4, 3)), (2, (2, 3)), (3, (2, 2))])
def test_the_operator_is_that_of_the_exact_answers(colours, shape, antiperiodic):
    x = hot(np.random.default_rng(1), colours, shape)
    mine = measure_dirac.dirac_matrix(x, 0.23, antiperiodic)
    np.testing.assert_allclose(mine, schwinger.dirac_matrix(x, 0.23, antiperiodic), atol=1e-15)
    expected = np.linalg.slogdet(mine)[1]
    np.testing.assert_allclose(measure_dirac.log_determinant(x, 0.23, antiperiodic), expected, atol=1e-12)
    angles = (0.3, -0.2)
    constant = np.broadcast_to(np.array(angles)[:, None, None], (1, 2, *shape))
    np.testing.assert_allclose(
        measure_dirac.log_determinant(constant, 0.23, antiperiodic),
        free.log_determinant(0.23, shape, angles, antiperiodic=antiperiodic),
        atol=1e-12,
    )


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("mu_reg", [0.0, 0.05])
def test_the_kernels_telescope_and_their_derivatives_are_slopes(even_odd, mu_reg):
    rng, h, mus = np.random.default_rng(2), 1e-5, (0.2, 0.7)
    x = hot(rng, 2, (2, 2))
    w = rng.standard_normal((3, 2, 2, 2, 3))

    def at(eps):
        moved = measure_matrices.exponential(eps * w, 2) @ x
        return measure_dirac.cores(measure_dirac.dirac_matrix(moved, 0.2), (2, 2), even_odd)

    kernels = measure_dirac.kernels(at(0.0), mus, mu_reg)
    m = at(0.0) @ at(0.0).conj().swapaxes(-1, -2) + mu_reg * np.eye(at(0.0).shape[-1])
    total = -sum(np.linalg.slogdet(kernel)[1] for kernel in kernels)
    np.testing.assert_allclose(total, np.linalg.slogdet(m)[1], atol=1e-11)
    d = measure_dirac.dirac_matrix(x, 0.2)
    dd = measure_dirac.derivative(x, w, measure_matrices.GENERATORS[2], 0.2)
    slopes = measure_dirac.kernel_derivatives(
        at(0.0), measure_dirac.core_derivative(d, dd, (2, 2), even_odd), mus, mu_reg
    )
    above, below = (measure_dirac.kernels(at(eps), mus, mu_reg) for eps in (h, -h))
    for slope, up, down in zip(slopes, above, below, strict=True):
        # Second-order differences: rounding 1e-16 x 1e2 / 1e-5, truncation 1e-10 x the third derivative.
        np.testing.assert_allclose(slope, (up - down) / (2 * h), atol=1e-6)


def test_the_vectorised_action_is_the_loop_and_the_force_its_slope(theory):
    rng = np.random.default_rng(3)
    x = theory.configurations(rng)
    loops_of = np.array([theory.loop_action(c) for c in x])
    np.testing.assert_allclose(theory.action(x), loops_of, rtol=0, atol=2 * theory.action_rounding(x))
    w, h = rng.standard_normal((len(x), *theory.momentum_shape)), 1e-4
    w /= np.linalg.norm(w.reshape(len(w), -1), axis=1).reshape(-1, *(1,) * (w.ndim - 1))
    s = {k: theory.action(theory.pushed(x, k * h * w)) for k in (-2, -1, 1, 2)}
    slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
    force = np.array([theory.loop_force(c) for c in x])
    # Rounding of the action, 1e-15 x 100, over h.
    np.testing.assert_allclose((force * w).reshape(len(x), -1).sum(axis=1), slope, atol=1e-8)


def test_symmetries_leave_the_action_alone_and_move_the_force(theory):
    rng = np.random.default_rng(4)
    x = theory.configurations(rng)
    force = np.array([theory.loop_force(c) for c in x])
    for symmetry in (*theory.symmetries(rng, len(x)), theory.conjugation()):
        moved = symmetry.field(x)
        np.testing.assert_allclose(theory.action(moved), theory.action(x), atol=8 * theory.action_rounding(x))
        after = np.array([theory.loop_force(c) for c in moved])
        np.testing.assert_allclose(after, symmetry.tangent(force), atol=8 * theory.force_rounding(x))


@pytest.mark.parametrize("n", [2, 3])
def test_distances_of_matrices(n):
    theory = {2: SU2, 3: SU3}[n](2.0, (2, 2))
    rng = np.random.default_rng(5)
    a, b = hot(rng, n, (2, 2)), hot(rng, n, (2, 2))
    np.testing.assert_allclose(theory.displacement(a, b), -theory.displacement(b, a), atol=1e-14)
    w = 1e-4 * rng.standard_normal((3, *theory.momentum_shape))
    np.testing.assert_allclose(theory.difference(theory.pushed(a, w), a), w, atol=1e-10)
    centre = np.exp(2j * np.pi / n)
    assert np.abs(theory.displacement(np.real_if_close(centre) * a, a)).max() < 1 + 1e-12
    assert np.abs(theory.difference(centre * a, a)).max() > 1


def test_means_that_are_known_are_those_of_the_samples(theory):
    x = theory.sample(np.random.default_rng(6), 500)
    for observable in theory.observables:
        values = observable.values(x)
        # Five standard errors of either mean.
        assert abs(values.mean() - observable.mean) < 5 * observable.std * (500**-0.5 + 512**-0.5) + 1e-9


# --- declarations --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"theory": "schwinger", "beta": 1.0, "shape": (4, 4)}, "without kappa"),
        ({"theory": "schwinger", "beta": 1.0, "shape": (4, 4), "kappa": 0.0}, "the theory is u1"),
        ({"theory": "schwinger", "beta": 1.0, "shape": (4, 4), "kappa": "x"}, "expected a number and True or False"),
        ({"theory": "su2", "beta": 1.0, "shape": (4, 4), "kappa": 0.7}, "from 0 to 0.5"),
        ({"theory": "su3", "beta": -1.0, "shape": (4, 4)}, "expected beta > 0"),
        ({"theory": "su3", "beta": 1.0, "shape": (4, 1)}, "extents of at least 2"),
    ],
)
def test_parameters_that_make_no_theory_are_refused(declared, message):
    with pytest.raises(TargetError, match=message):
        Subject(type("T", (), declared)())


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"mus": (0.3, 0.2)}, "masses that increase"),
        ({"mus": (0.3,), "mu_reg": 0.4}, "masses that increase"),
        ({"mu_reg": -1.0}, "masses that increase"),
        ({"mus": "abc"}, "expected a bool, numbers"),
        ({"mus": 0.3}, "expected a bool, numbers"),
        ({"mus": (float("inf"),)}, "expected finite masses"),
        ({"even_odd": "False"}, "expected a bool, numbers"),
    ],
)
def test_monomials_that_make_no_sense_fail_the_check(declared, message):
    functions = {"pseudofermion_action": lambda self, x, phi: np.zeros(len(x))}
    target = type("T", (), {"theory": "schwinger", "beta": 1.0, "kappa": 0.2, "shape": (2, 2), **declared, **functions})
    report = check_target(target(), seed=1, select="pseudofermions.action", level="smoke")
    assert message in report.failures[0].detail


def test_monomials_are_read_off_the_target():
    assert Monomials.declared(object()) == (False, (), 0.0)
    assert Monomials.declared(SchwingerClay()) == (True, (0.2, 0.6), 0.0)
    assert Subject(SchwingerClay).pseudofermion_shape(np.zeros((5, 2, 2, 4))) == (5, 3, 2, 4, 2)
    assert Subject(MatrixClay).spinor_shape(np.zeros((5, 2, 2, 4, 2, 2), complex)) == (5, 2, 4, 2, 2)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: np.zeros((len(x), 8, 7)), "8, 7), expected (10, 8, 8)"),
        (lambda x: np.full((len(x), 8, 8), np.nan), "NaN"),
        (lambda x: "nonsense", "expected complex128"),
    ],
)
def test_wrong_matrices_are_named(result, message):
    target = type("T", (), {"theory": "schwinger", "beta": 1.0, "kappa": 0.2, "shape": (2, 2)})()
    target.dirac_dense = result
    report = check_target(target, seed=1, select="fermions.dense", level="smoke")
    assert message in report.failures[0].detail


def test_declarations_of_numpy_are_those_of_python():
    declared = {"even_odd": np.True_, "mus": np.array([0.1, 0.2]), "mu_reg": np.float64(0.05)}
    assert Monomials.declared(type("T", (), declared)()) == Monomials(True, (0.1, 0.2), 0.05)
    given = {"theory": "schwinger", "beta": 1.0, "kappa": 0.2, "shape": (2, 2), "antiperiodic": np.False_}
    assert Subject(type("T", (), given)()).theory == Schwinger(1.0, (2, 2), 0.2, False)


@pytest.mark.parametrize("variance", ["x", np.ones(3), -1, np.nan, np.inf, "1.0"])
def test_a_variance_that_makes_no_sense_fails_the_check(variance):
    target = type("T", (SchwingerClay,), {"determinant_variance": variance})(shape=(2, 2))
    (verdict,) = check_target(target, seed=1, level="smoke", select="estimates").failures
    assert verdict.quantity == "what the target declares"
    assert "determinant_variance: got" in verdict.detail
    assert "expected a finite number >= 0" in verdict.detail


def test_a_declared_variance_needs_no_bound_on_eigenvalues():
    """Those of ``D D^dag`` at kappa = 0.3 exceed 2, but the estimates are off by a fifth up or down, variance 0.04."""
    target = type("T", (), {"theory": "schwinger", "beta": 2.0, "kappa": 0.3, "shape": (4, 4)})()
    target.determinant_variance = 0.1
    target.determinant_estimate = lambda x, n, seed: (
        np.repeat(np.exp(2 * measure_dirac.log_determinant(x, 0.3))[:, None], n, axis=1)
        * np.random.default_rng(seed).choice([0.8, 1.2], (len(x), n))
    )
    (verdict,) = check_target(target, seed=1, level="smoke", select="estimates").verdicts
    assert verdict.status == PASS


def test_checks_that_exist_but_do_not_apply_are_named(capsys):
    assert main(["validate", "--theory", "su2", "-k", "fermions.dense", "--seed", "1"]) == 5
    message = capsys.readouterr().err
    assert "fermions.dense: do not apply to this target: theory = su2" in message
    assert main(["validate", "--theory", "su2", "-k", "no such", "--seed", "1"]) == 5
    assert "no check matches 'no such'" in capsys.readouterr().err


def test_momenta_of_the_wrong_shape_are_named():
    clay = MatrixClay()
    target = type("T", (), {"theory": "su2", "beta": 2.0, "shape": (2, 4)})()
    target.forward = lambda z: ((z[0], clay.forward(z)[0][1][..., :2]), np.zeros(len(z[0])))
    report = check_target(target, seed=1, select="maps.repeat_call", level="smoke")
    assert "forward: v: got shape (4, 2, 2, 4, 2), expected (4, 2, 2, 4, 3)" in report.failures[0].detail


def test_a_failure_says_which_mistake_it_is():
    report = check_target(BY_NAME["PeriodicFermions"], seed=1, select="fermions.dense", level="smoke")
    assert "it is the other boundary condition in time" in report.failures[0].detail
    report = check_target(BY_NAME["TwiceKappa"], seed=1, select="fermions.dense", level="smoke")
    assert "it is twice the kappa" in report.failures[0].detail


@pytest.mark.parametrize(
    "select", ["dense", "apply", "gamma5_hermiticity", "gauge_covariance", "determinant", "golden"]
)
def test_single_precision_is_told(select):
    class Single(SchwingerClay):
        def dirac_dense(self, x):
            return super().dirac_dense(x).astype(np.complex64)

        def dirac_apply(self, x, psi):
            return super().dirac_apply(x, psi).astype(np.complex64)

        def logdet_dirac(self, x):
            return super().logdet_dirac(x).astype(np.float32)

    report = check_target(Single, seed=1, select=f"[f]ermions.{select}", level="smoke", parameters={"shape": (2, 2)})
    (verdict,) = report.failures
    assert "an error of the size of single precision" in verdict.detail


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gammas": lambda self: (SIGMA_Y, SIGMA_X)}, "it is sigma_x and sigma_y exchanged"),
        ({"gammas": lambda self: (SIGMA_X, np.diag([1, -1]).astype(complex))}, "it has the same determinant"),
        ({"links": lambda self, x: phased(x, (0, 0), -1)}, "it is the boundary sign on the first time slice"),
        ({"links": lambda self, x: phased(x, (0,), np.exp(1j * np.pi / len(x[0, 0])))}, "sign spread over all time"),
        ({"links": lambda self, x: phased(x, (0,), np.exp(-1j * np.pi / len(x[0, 0])))}, "sign spread over all time"),
        ({"links": lambda self, x: phased(x, (1, slice(None), -1), -1)}, "it is the boundary sign in space"),
    ],
)
def test_a_failure_says_which_other_convention_it_is(changes, message):
    target = type("T", (SchwingerClay,), changes)
    report = check_target(target, seed=1, select="fermions.dense", level="smoke")
    assert message in report.failures[0].detail


def phased(x, where, phase):
    """Links, some times a phase."""
    u = np.exp(1j * x)
    u[(slice(None), *where)] *= phase
    return u


def test_the_action_of_the_other_order_is_named():
    report = check_target(BY_NAME["AdjointKernels"], seed=1, level="smoke", select="pseudofermions.action")
    assert "it is that of M = D^dag D" in report.failures[0].detail


def test_a_field_on_odd_sites_fails():
    class Stray(SchwingerClay):
        def pseudofermion_heat_bath(self, x, seed):
            return super().pseudofermion_heat_bath(x, seed) + 1e-3

    report = check_target(Stray, seed=1, select="heat_bath", level="smoke")
    assert report.failures[0].quantity == "largest field on odd sites"


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", ["pseudofermion_force", "pseudofermion_action"])
def test_the_sensitivity_told_is_that_of_a_common_factor(name, alone):
    """Twice what is told fails and half of it passes, whether the target can be made elsewhere or not."""
    right = BUILT_IN["schwinger"](kappa=0.265)

    def verdict(factor):
        scaled = type(
            "T",
            (type(right),),
            {name: lambda self, x, phi: factor * getattr(right.replace(**place(self)), name)(x, phi)},
        )
        target = scaled(kappa=0.265)
        if alone:
            target = SimpleNamespace(
                theory="schwinger", beta=2.0, kappa=0.265, shape=(4, 4), **{name: getattr(target, name)}
            )
        (out,) = check_target(target, seed=1, level="smoke", select=f"pseudofermions.{name.split('_')[1]}").verdicts
        return out

    def place(target):
        return {"kappa": target.kappa, "shape": target.shape}

    told = float(verdict(1.0).sensitivity.split()[-1])
    assert told < 1e-9
    assert verdict(1 + 2 * told).status == FAIL
    assert verdict(1 + 0.5 * told).status == PASS


# --- where equilibrium is out of reach, and D singular ------------------------------------------------------------------------
REACH = {"beta": 0.1, "kappa": 0.265, "shape": (8, 8), "n_steps": 2}


@pytest.mark.parametrize(
    ("name", "parameters", "select"),
    [
        ("schwinger", REACH, "static.[acps]*"),
        ("schwinger", REACH, "fermions.d*"),
        ("schwinger", REACH, "transcript.[de]*"),
        ("schwinger", REACH, "driver.outputs"),
        ("su3", {"beta": 6.0, "kappa": 0.265, "shape": (2, 2)}, "static"),
    ],
)
def test_what_needs_no_equilibrium_is_judged_where_there_is_none(name, parameters, select):
    report = check_target(BUILT_IN[name], seed=1, level="smoke", select=select, parameters=parameters)
    assert problems(report) == []
    assert report.summary()["passed"] > 0
    skipped = [v.detail for v in report.verdicts if v.status == SKIP]
    assert not any("equilibrium" in reason for reason in skipped)


@pytest.mark.parametrize(
    ("name", "parameters", "elsewhere"),
    [
        ("schwinger", REACH, "shape 4x4 or 2x4 or 2x2"),
        ("su3", {"beta": 6.0, "kappa": 0.265, "shape": (2, 2)}, "a smaller kappa"),
    ],
)
def test_what_needs_equilibrium_is_skipped_where_there_is_none(name, parameters, elsewhere):
    for select in ("exact_start", "driver.observables", "driver.independent_chains"):
        report = check_target(BUILT_IN[name], seed=1, level="smoke", select=select, parameters=parameters)
        assert {v.status for v in report.verdicts} == {SKIP}
        for verdict in report.verdicts:
            assert "needs exact equilibrium, and the sampler by rejection accepts" in verdict.detail
            assert f"judge it at {elsewhere}" in verdict.detail


def test_a_refused_sampler_never_draws_and_a_fast_one_is_used():
    rng = np.random.default_rng(1)
    with pytest.raises(Unsampled, match=r"accepts 1\.4e-06 of its draws"):
        Schwinger(0.1, (8, 8), 0.265).sample(rng, 1)
    assert len(Schwinger(2.0, (4, 4), 0.265).sample(rng, 8)) == 8


@pytest.mark.parametrize("name", ["schwinger", "su2"])
def test_fields_with_a_singular_operator_are_left_out(name):
    """Massless free fermions, periodic: D of the cold field has a zero mode."""
    parameters = {"shape": (2, 2), "kappa": 0.25, "antiperiodic": False}
    report = check_target(BUILT_IN[name], seed=1, level="smoke", select="[sfp]*", parameters=parameters)
    assert problems(report) == []
    x = Subject(BUILT_IN[name], parameters=parameters).theory.configurations(np.random.default_rng(1))
    d = measure_dirac.dirac_matrix(x, 0.25, False)
    assert len(x) >= 3
    assert np.linalg.svd(d, compute_uv=False)[:, -1].min() >= LEAST_SINGULAR


def test_a_heat_bath_in_the_other_order_is_named():
    report = check_target(BY_NAME["HeatBathOfTheAdjoint"], seed=1, level="smoke", select="heat_bath")
    assert "heat bath of M = D^dag D" in report.failures[0].detail
    report = check_target(BY_NAME["RealVariance"], seed=1, level="smoke", select="heat_bath")
    assert "D^dag D" not in report.failures[0].detail


def test_the_bet_on_the_other_order_has_mean_one():
    """At a small kappa the ratio of densities scatters little: its mean over 4096 fields within five standard errors of 1."""
    subject = Subject(SchwingerClay(kappa=0.12))
    x = np.repeat(hot(np.random.default_rng(1), 1, (2, 4), 1), 4096, axis=0)
    own, phi = Pseudofermions(subject, x[:1]), subject.pseudofermion_heat_bath(x, 2)
    ratios = np.exp([_adjoint_gain(own, phi[k : k + 1]) for k in range(len(phi))])
    assert 0 < ratios.std() < 1
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / 64


# --- kernels with pseudofermions -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"theory": "u1", "pseudofermions": True}, "expected a theory with fermions"),
        ({"theory": "su2", "pseudofermions": True}, "expected a theory with fermions"),
        (
            {"theory": "schwinger", "kappa": 0.2, "pseudofermions": True, "reversal": "direction"},
            "'flip' or 'involution'",
        ),
        ({"theory": "schwinger", "kappa": 0.2, "pseudofermions": (1, 2)}, "expected True or False"),
    ],
)
def test_pseudofermions_declared_where_there_can_be_none(declared, message):
    with pytest.raises(TargetError, match=message):
        Subject(type("T", (), {"beta": 1.0, "shape": (2, 2), **declared})())


@pytest.mark.parametrize(
    ("clay", "parameters"),
    [
        (PseudofermionClay, {"shape": (2, 2)}),
        (BUILT_IN["schwinger-pseudofermion"], {"shape": (2, 4), "n_steps": 2, "kappa": 0.265}),
        (BUILT_IN["schwinger-pseudofermion"], {"shape": (3, 2), "n_steps": 2, "even_odd": False, "mus": ()}),
    ],
)
def test_updates_with_pseudofermions_are_replayed(clay, parameters):
    for select in ("transcript.[ednras]*", "transcript.pseudofermions"):
        report = check_target(clay, seed=6, level="smoke", select=select, parameters=parameters)
        assert problems(report) == []
        assert {v.status for v in report.verdicts} == {PASS}


def test_the_oracles_own_fields_are_whitened_to_what_they_were_made_of():
    subject, rng = Subject(PseudofermionClay(shape=(2, 4))), np.random.default_rng(8)
    h, x = Hamiltonian(subject), hot(rng, 1, (2, 4), 400)
    phi = h.draw(rng, x)
    assert h.stray(phi) == 0
    np.testing.assert_allclose(h.pseudofermion_action(x, phi), subject.pseudofermion_action(x, phi), rtol=1e-9)
    # 3 fields of 8 components: a Gamma law of mean and variance 24, five standard errors.
    assert abs(h.pseudofermion_action(x, phi).mean() - 24) < 5 * np.sqrt(24 / 400)


def test_a_transcript_without_the_fields_and_a_field_on_odd_sites_fail():
    class Silent(PseudofermionClay):
        def transcript(self, x, seed):
            return {name: part for name, part in super().transcript(x, seed).items() if name != "phi"}

    class Stray(PseudofermionClay):
        def fields(self, x, rngs):
            return super().fields(x, rngs) + 1e-3

    report = check_target(Silent, seed=1, level="smoke", select="transcript.energy")
    assert "transcript: got no phi" in report.failures[0].detail
    report = check_target(Stray, seed=1, level="smoke", select="transcript.pseudofermions")
    assert report.failures[0].quantity == "largest field on odd sites"


def test_a_declared_regulator_is_no_part_of_the_hamiltonian():
    class Regulated(PseudofermionClay):
        mu_reg = 0.1

        def steps(self):
            return [(0.1, self.mus[0]), *super().steps()[1:]]

    report = check_target(Regulated, seed=1, level="smoke", select="pseudofermions.action")
    assert problems(report) == []
    report = check_target(Regulated, seed=1, level="smoke", select="transcript.energy")
    assert [v.check for v in report.failures] == ["transcript.energy"]


def test_the_map_of_a_kernel_with_pseudofermions_is_not_asked_for():
    report = check_target(PseudofermionClay, seed=1, level="smoke", select="maps")
    assert report.verdicts == ()


# --- bets on a positive mean -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9])
def test_no_bet_gains_on_two_values_of_mean_one(p):
    """``r`` is a with probability p and b else, of mean 1: every factor of the wealth has an expectation of at most 1."""
    for a in (0.0, 0.5, 0.9):
        b = (1 - p * a) / (1 - p)
        variance = p * (a - 1) ** 2 + (1 - p) * (b - 1) ** 2
        gains = np.exp(_ratio_gains(np.array([a, b]), np.full(2, variance)))
        expectation = p * gains[0] + (1 - p) * gains[1]
        assert np.all(expectation <= 1 + 1e-12)
        np.testing.assert_allclose(expectation[: len(RATIO_BETS)], 1, atol=1e-12)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_the_bets_find_a_wrong_mean_and_no_other(factor):
    rng, s = np.random.default_rng(7), 0.5
    alarms = []
    for _ in range(40):
        r = factor * np.exp(s * rng.standard_normal(8000) - s * s / 2)
        wealth = positive_mean_wealth(r, np.full(8000, np.exp(s * s) - 1), 1e-6)
        alarms.append(wealth.alarm_at is not None)
    assert all(alarms) if factor != 1 else not any(alarms)
    assert detectable_factor(r, np.full(8000, np.exp(s * s) - 1), 1e-6) < 0.1


def test_bets_on_each_of_several_sequences_find_means_that_cancel():
    rng, s = np.random.default_rng(8), 0.5
    r = np.exp(s * rng.standard_normal((4000, 2)) - s * s / 2)
    variance = np.full(r.shape, np.exp(s * s) - 1)
    assert positive_mean_wealth(r, variance, 1e-6).alarm_at is None
    assert positive_mean_wealth(r * [0.8, 1.2], variance, 1e-6).alarm_at is not None


@pytest.mark.parametrize("law", [lambda rng, size: rng.random(size), lambda rng, size: rng.integers(0, 3, size)])
def test_independent_estimates_of_any_law_are_not_taken_for_dependent(law):
    """Forty trials of seven exact p-values: one below 1e-5 has a probability of 0.3 per cent. Copies are all found."""
    rng = np.random.default_rng(9)
    for _ in range(40):
        first, second = law(rng, (2, 8, 64)).astype(float)
        assert min(dependence(first, second, rng).values()) > 1e-5
    tile = np.tile(first[:, :32], (1, 2))
    assert dependence(first, first, rng)["the same from seed to seed"] < 1e-9
    assert dependence(np.broadcast_to(first[:1], first.shape), second, rng)["correlated between chains 4 apart"] < 1e-9
    assert min(dependence(np.repeat(tile[:, ::2], 2, axis=1), second, rng).values()) < 1e-3
    assert set(dependence(np.ones((8, 64)), np.ones((8, 64)), rng).values()) == {1.0}


def test_a_seed_that_does_not_repeat_its_estimates_fails():
    class Unseeded(SchwingerClay):
        def rngs(self, seed, n):
            return [np.random.default_rng() for _ in range(n)]

    (verdict,) = check_target(Unseeded, seed=1, level="smoke", select="estimates").verdicts
    assert verdict.status == FAIL
    assert "same arguments and seed" in verdict.detail


# --- targets -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "parameters", "select"),
    [
        ("schwinger", {"shape": (2, 2), "kappa": 0.265, "n_steps": 2}, None),
        ("schwinger-pseudofermion", {"shape": (2, 2), "n_steps": 2}, "exact_start"),
        ("su2", {"shape": (2, 2), "n_steps": 2}, None),
    ],
)
def test_built_in_targets_pass_the_battery(name, parameters, select):
    report = check_target(BUILT_IN[name], seed=1, level="smoke", parameters=parameters, select=select)
    assert problems(report) == []
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("schwinger", {"shape": (3, 4), "antiperiodic": False}),
        ("schwinger", {"shape": (2, 4), "even_odd": True, "mus": (0.1, 0.5), "mu_reg": 0.01}),
        ("su2", {"shape": (2, 2), "kappa": 0.1, "even_odd": True}),
        ("su3", {"shape": (2, 2), "kappa": 0.1, "mus": (0.4,)}),
    ],
)
def test_built_in_targets_pass_what_needs_no_samples(name, parameters):
    subject = Subject(BUILT_IN[name], parameters=parameters)
    for select in ("static", "fermions", "pseudofermions.[afd]*", "maps.[rb]*"):
        report = check_target(subject.target, seed=2, level="smoke", select=select)
        assert problems(report) == []


def test_a_target_without_fermions_is_spared_their_checks():
    report = check_target(BUILT_IN["su2"], seed=1, level="smoke", select="fermions")
    assert report.verdicts == ()


@pytest.mark.parametrize(
    "select", ["static", "fermions", "maps.[rb]*", "transcript.[de]*", "estimates", "driver.outputs"]
)
def test_the_stranger_passes(select):
    report = check_target(loops, seed=3, level="smoke", select=select, parameters={"n_steps": 2})
    assert problems(report) == []
    skipped = {v.check for v in report.verdicts if v.status == SKIP}
    assert skipped <= {"pseudofermions.force", "estimates.determinant"}


@pytest.mark.parametrize("clay", [SchwingerClay, PseudofermionClay, MatrixClay])
def test_the_clay_of_the_mutants_passes(clay):
    target = clay(shape=(2, 2), n_steps=2)
    assert problems(check_target(target, seed=4, level="smoke", select="[sfpe]*")) == []
    assert problems(check_target(target, seed=4, level="smoke", select="maps.[rb]*")) == []


def test_fields_alone_are_judged_on_odd_and_singular_lattices():
    """Massless periodic fermions have a singular D on the cold field; even-odd fields need even extents."""
    for parameters in ({"kappa": 0.25, "antiperiodic": False, "shape": (2, 2)}, {"even_odd": True, "shape": (2, 3)}):
        report = check_target(
            BUILT_IN["schwinger"], seed=1, level="smoke", select="fermions.batch", parameters=parameters
        )
        assert problems(report) == []


def test_another_lattice_is_named():
    report = check_target(BY_NAME["ExtentsInAQuotient"], seed=1, level="smoke", select="static.action")
    assert report.failures[0].detail.startswith("shape 4x6: worst at") or "shape 6x4" in report.failures[0].detail


def test_flux_drawn_along_the_whole_orbit_passes_where_a_moving_window_fails():
    assert problems(check_target(OrbitClay, seed=5, level="smoke", select="exact_start.observables")) == []


def test_estimates_are_skipped_where_they_have_no_variance():
    target = type("T", (), {"theory": "schwinger", "beta": 2.0, "kappa": 0.3, "shape": (4, 4)})()
    target.determinant_estimate = SchwingerClay(shape=(4, 4), kappa=0.3).determinant_estimate
    (verdict,) = check_target(target, seed=1, level="smoke", select="estimates").verdicts
    assert verdict.status == SKIP
    assert "eigenvalue above 2" in verdict.detail


def test_a_declared_variance_is_taken():
    class Noisy(SchwingerClay):
        determinant_variance = 20.0

        def determinant_estimate(self, x, n, seed):
            coins = np.random.default_rng(seed).random((len(x), n)) < 0.1
            return super().determinant_estimate(x, n, seed) * np.where(coins, 9.1, 0.1)

    (verdict,) = check_target(Noisy, seed=1, level="smoke", select="estimates").verdicts
    assert verdict.status == SKIP  # with such a variance nothing would be seen
    (verdict,) = check_target(SchwingerClay, seed=1, level="smoke", select="estimates").verdicts
    assert verdict.status == PASS


def test_the_command_line_takes_kappa(capsys):
    argv = [
        "validate",
        "--theory",
        "schwinger",
        "--kappa",
        "0.1",
        "--shape",
        "2",
        "2",
        "-k",
        "fermions.dense",
        "--seed",
        "1",
    ]
    assert main(argv) == 0
    assert "kappa = 0.1, shape = [2, 2]" in capsys.readouterr().out
    assert main(["validate", "--theory", "u1", "--kappa", "0.1"]) == 3
    assert "unexpected keyword argument 'kappa'" in capsys.readouterr().err
