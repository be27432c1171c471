"""Determinants estimated by joint models: fields of the model, means by quadrature, and chains from exact starts."""

import pickle
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from refimpl import chains, theories
from refimpl.actions import WilsonU1, hasenbusch
from refimpl.actions.pseudofermion_columns import MonomialForms
from refimpl.exact.schwinger_2x2 import two_by_two
from refimpl.kernels import HMC, Cycle, JointDeterminant, PseudomarginalMetropolis, spawn_rngs
from refimpl.kernels.joint_determinant import eigenvalues, log_mean_weight
from refimpl.maps.base import Chain
from refimpl.maps.context import Context
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.models import Flow, PureGauge
from refimpl.models.conditional import LOG_PI, Conditional
from refimpl.models.joint import JointModel
from refimpl.observables import charge, mean_plaquette
from tests.runs import by_hand, run

BETA, KAPPA = 2.0, 0.16


def joint(shape=(2, 2), mus=(0.1,), *, even_odd=True, n=1, kappa=KAPPA, beta=BETA, inflation=1.0):
    """Pure gauge links, and two layers in every conditional, not trained."""
    rng = np.random.default_rng(17)
    monomials = hasenbusch(kappa, mus, even_odd=even_odd, n=n)
    context = Context.init(rng, 4, positions=False)
    options = {"even_odd": even_odd, "colours": n, "n_pt": 2, "hidden": 4, "gain": 0.3}
    conditionals = tuple(
        Conditional(m, tuple(PseudofermionLayer.init(rng, shape, i, **options) for i in range(2))) for m in monomials
    )
    marginal = Flow(PureGauge(beta, shape, n), Chain(()))
    return JointModel(marginal, context, conditionals, inflation)


class Given:
    """A Generator of known exponential numbers."""

    def __init__(self, values):
        self.values = values

    def standard_exponential(self, shape):
        assert shape == self.values.shape
        return self.values


@pytest.mark.parametrize(
    "options",
    [{}, {"even_odd": False, "inflation": 1.2}, {"n": 2, "kappa": 0.1}, {"mus": ()}],
    ids=["even-odd", "all sites", "su2", "one"],
)
def test_estimates_are_weights_of_fields_of_the_model(options):
    """Fields made of the eigenvectors of W and of the numbers drawn; their actions and densities by the model.

    1e-9: energies of up to 100, and solutions, of condition numbers below 1e3, are of 1e-13 relative.
    """
    model = joint(**options)
    n_chains, n_pf, n_monomials = 3, 2, len(model.monomials)
    x = model.marginal.sample(np.random.default_rng(1), n_chains)[0]
    n = model.conditionals[0].rows
    e = np.random.default_rng(2).standard_exponential((n_chains, n_monomials, n_pf, n))
    e_target = e.copy()
    expected, expected_start = np.zeros((2, n_chains))
    forms, dense = MonomialForms(model.monomials, x), model.dense(x)
    for m, monomial in enumerate(model.monomials):
        w, vectors = np.linalg.eigh(forms.weight_matrix(m, dense[m][0]))
        e_target[:, m, 0] /= w
        for numbers, out in ((e, expected), (e_target, expected_start)):
            log_weights = np.empty((n_pf, n_chains))
            for i in range(n_pf):
                chi = vectors @ np.sqrt(numbers[:, m, i, :, None]).astype(np.complex128)
                fields = [np.zeros_like(chi)] * n_monomials
                fields[m] = chi
                spinors = np.stack(
                    [c.spinors_of(field) for c, field in zip(model.conditionals, fields, strict=True)], axis=1
                )
                phi, _ = model.forward(x, spinors)
                log_q = model.log_prob(x, phi)[1][:, m]
                log_weights[i] = -n * LOG_PI - monomial.action(x, phi[:, m]) - log_q
            out += np.log(np.exp(log_weights).mean(axis=0))
    estimator, rngs = JointDeterminant(model, n_pf), [Given(part) for part in e]
    assert np.allclose(estimator.log_determinant_estimate(rngs, x), expected, rtol=0, atol=1e-9)
    assert np.allclose(estimator.start_estimate(rngs, x), expected_start, rtol=0, atol=1e-9)


def test_the_mean_of_estimates_is_the_determinant_and_starts_have_their_law_at_equilibrium():
    """Gauss-Laguerre of every number, for matrices of one row: polynomials of degree 199 are exact.

    With v = w - 1 of at most 1/2 the weight has singular points at 1/|v|, and 100 points give rounding, 1e-14 of sums.
    """
    nodes, weights = np.polynomial.laguerre.laggauss(100)
    chance = np.outer(weights, weights).ravel()
    e = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    for value in (0.7, 1.0, 1.5):
        w = np.full((len(e), 1), value)
        d, started = np.exp(log_mean_weight(w, e)), np.exp(log_mean_weight(w, e, first_from_target=True))
        assert abs(chance @ d - 1 / value) < 1e-12
        for f in (lambda d: 1 / (2 + d), lambda d: d / (3 + d) ** 2):
            assert abs(chance @ f(started) - value * (chance @ (f(d) * d))) < 1e-9


def test_matrices_that_are_not_positive_or_not_finite_have_no_eigenvalues():
    w = np.array([np.diag([1.0, 2.0]), np.diag([-1.0, 2.0]), np.diag([np.nan, 2.0]), [[2, 1j], [-1j, 2]]])
    assert np.allclose(eigenvalues(w)[[0, 3]], [[1, 2], [1, 3]], rtol=0, atol=1e-15)
    assert np.isnan(eigenvalues(w)[1, 0])
    assert np.all(np.isnan(eigenvalues(w)[2]))


THEORY = theories.schwinger(BETA, KAPPA, (2, 2))
MODEL = joint(beta=2.2)
KERNEL = PseudomarginalMetropolis(WilsonU1(BETA), MODEL.marginal, JointDeterminant(MODEL, 2))


def test_chains_from_exact_starts_stay_exact():
    """Plaquette and charge squared against closed forms, at 5 standard deviations of independent chains, after every step.

    So is the mean of ``det M/d``, which is 1 at equilibrium.
    """
    n, exact = 1500, two_by_two(BETA, KAPPA)
    state = KERNEL.init(THEORY.sample(np.random.default_rng(3), n))
    rngs = spawn_rngs(9, n)
    for step in range(3):
        state, info = KERNEL.step(rngs, state)
        ratio = np.exp(state.action - THEORY.action.action(state.x))
        for values, expected in (
            (mean_plaquette(state.x), exact.plaquette),
            (charge(state.x) ** 2, exact.charge_squared),
            (ratio, 1.0),
        ):
            assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(n), step
    assert 0.3 < info.accepted.mean() < 0.95


def test_a_chain_has_the_same_bits_in_any_batch():
    n = 9
    x = THEORY.near(np.random.default_rng(3), n)
    state, rngs = KERNEL.init(x), spawn_rngs(4, n)
    edges = [(0, 1), (1, 6), (6, 9)]
    parts, streams = [KERNEL.init(x[a:b]) for a, b in edges], spawn_rngs(4, n)
    for _ in range(3):
        state, info = KERNEL.step(rngs, state)
        for i, (a, b) in enumerate(edges):
            parts[i], its = KERNEL.step(streams[a:b], parts[i])
            assert np.array_equal(parts[i].action, state.action[a:b])
            assert np.array_equal(parts[i].x, state.x[a:b])
            assert np.array_equal(its.delta_h, info.delta_h[a:b])


@pytest.mark.parametrize("n", [1, 2])
def test_links_that_are_there_several_times_have_the_bits_of_one_alone(n):
    model = joint(n=n, kappa=0.1)
    x = np.repeat(model.marginal.sample(np.random.default_rng(4), 2)[0], 3, axis=0)
    estimator = JointDeterminant(model, 3)
    together = estimator.log_determinant_estimate(spawn_rngs(9, 6), x)
    alone = [estimator.log_determinant_estimate([rng], x[[k]])[0] for k, rng in enumerate(spawn_rngs(9, 6))]
    assert together.tolist() == alone


def test_a_run_that_is_resumed_has_the_bits_of_a_plain_loop(tmp_path):
    """By a kernel that went to another process and back."""
    options = {"record": ("accepted", "delta_h", "action"), "workers": 2}
    sent = pickle.loads(pickle.dumps(KERNEL))
    out = run(tmp_path / "run", 3, sent, THEORY, **options)
    run(out, 8, sent, THEORY, resume=True, **options)
    expected, fields = by_hand(8, KERNEL, THEORY, options["record"])
    got = chains.load(out)
    for name, values in expected.items():
        assert np.array_equal(got[name], values), name
    assert np.array_equal(chains.last_fields(out), fields[-1])
    assert chains.read_manifest(out)["kernel"]["estimator"]["n_pf"] == 2


def test_it_takes_turns_with_hmc():
    cycle = Cycle([HMC(THEORY.action, 0.3, 3), KERNEL])
    rngs = spawn_rngs(4, 4)
    state, infos = cycle.step(rngs, cycle.init(THEORY.near(np.random.default_rng(3), 4)))
    assert np.array_equal(state.action, THEORY.action.action(state.x))
    assert len(infos) == 2
    same = PseudomarginalMetropolis(KERNEL.gauge, joint(beta=2.2).marginal, JointDeterminant(joint(beta=2.2), 2))
    assert Cycle([KERNEL, same]).one_state_action
    other = PseudomarginalMetropolis(KERNEL.gauge, MODEL.marginal, JointDeterminant(MODEL, 3))
    assert not Cycle([KERNEL, other]).one_state_action


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="n_pf: got 0, expected an integer of at least 1"):
        JointDeterminant(MODEL, 0)
    with pytest.raises(ValueError, match=re.escape("rngs: got 2 generators, expected one per chain (3)")):
        JointDeterminant(MODEL).start_estimate(spawn_rngs(1, 2), THEORY.near(np.random.default_rng(3), 3))
    with pytest.raises(ValueError, match=re.escape("x: got links (2, 2, 4), expected (2, 2, 2)")):
        JointDeterminant(MODEL).start_estimate(spawn_rngs(1, 3), np.zeros((3, 2, 2, 4)))


def test_many_fields_are_drawn_for_few_chains_at_a_time(monkeypatch):
    x, seen, dense = THEORY.near(np.random.default_rng(3), 5), [], JointModel.dense
    many = replace(KERNEL.estimator, n_pf=1000)
    each = len(many.model.monomials) * many.n_pf * many.model.conditionals[0].rows
    monkeypatch.setattr(sys.modules["refimpl.kernels.metropolis"], "BLOCK_ELEMENTS", 2 * each)
    monkeypatch.setattr(JointModel, "dense", lambda model, x: seen.append(len(x)) or dense(model, x))
    many.log_determinant_estimate(spawn_rngs(4, 5), x)
    assert seen == [2, 2, 1]
