"""Evaluation of joint models: explicit weights, perfect conditionals, laws in N_pf, inflation, and what is printed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from refimpl import theories
from refimpl.actions import hasenbusch
from refimpl.estimators import conditional
from refimpl.kernels.independence import pool_acceptance
from refimpl.maps.base import Chain
from refimpl.maps.context import Context
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.models import Conditional, Flow, Haar, JointModel, PureGauge
from refimpl.training import JointRecipe, Rate, evaluate, evaluate_joint, fit_joint
from refimpl.training.joint import gauge_action, joint_loss
from refimpl.training.joint_evaluation import MOST, TRUST, conditional_spectra

SHAPE = (4, 4)
SIGMAS = 5.3  # of a normal variable, two-sided: 1e-7
BETA = 2.0
INFLATION = (0.9, 1.15)
LIGHT = 0.1  # a hopping parameter where weights of untrained conditionals have all moments that the tests need
# Condition numbers of M below 1e4, times 1e-16, some hundred terms.
ROUNDING = 1e-9


def joint_model(kappa, mus=(), *, even_odd=True, n=1, gain=0.1, layers=2, seed=0, kind=JointModel):
    """Untrained: the exact pure gauge theory at a coupling a little off, and random layers."""
    rng = np.random.default_rng(seed)
    options = {"even_odd": even_odd, "colours": n, "n_pt": 2, "hidden": 3, "gain": gain}
    conditionals = tuple(
        Conditional(monomial, tuple(PseudofermionLayer.init(rng, SHAPE, i, **options) for i in range(layers)))
        for monomial in hasenbusch(kappa, mus, even_odd=even_odd, n=n)
    )
    prior = PureGauge(1.05 * BETA, SHAPE) if n == 1 else Haar(n, SHAPE)
    return kind(Flow(prior, Chain(())), Context.init(rng, 3), conditionals)


class Perfect(JointModel):
    """Conditionals that are the targets: ``Dt = K^(1/2)``."""

    def dense(self, x):
        given = super().dense(x)
        found = []
        for monomial, (_, _) in zip(self.monomials, given, strict=True):
            values, vectors = np.linalg.eigh(precision(monomial, x))
            root = (vectors / np.sqrt(values)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
            found.append((root, -np.log(values).sum(axis=1)))
        return found


def precision(monomial, x):
    """``P_m``, dense, from the heat bath of unit vectors, which knows nothing of the forms: ``K = B B^dag``."""
    n_sites, spins = math.prod(SHAPE), 2 * monomial.n
    even = (np.indices(SHAPE).sum(0) % 2 == 0).ravel()
    sites = np.flatnonzero(even) if monomial.even_odd else np.arange(n_sites)
    rows = (sites[:, None] * spins + np.arange(spins)).ravel()
    colour = (monomial.n,) if monomial.n > 1 else ()
    bath = np.empty((len(x), len(rows), len(rows)), np.complex128)
    for k, row in enumerate(rows):
        chi = np.zeros((len(x), n_sites * spins), np.complex128)
        chi[:, row] = 1
        bath[:, :, k] = monomial.heat_bath(x, chi.reshape(len(x), *SHAPE, 2, *colour)).reshape(len(x), -1)[:, rows]
    return np.linalg.inv(bath @ bath.conj().swapaxes(1, 2))


def explicit_log_weights(model, gauge, x, log_q, phi, log_q_phi):
    """``log w`` (40), from ``S_g``, actions and densities alone, with ``pi^-N`` for every monomial."""
    pseudofermions = sum(m.action(x, np.ascontiguousarray(phi[:, i])) for i, m in enumerate(model.monomials))
    constant = len(model.monomials) * model.conditionals[0].rows * math.log(math.pi)
    return -gauge - pseudofermions - log_q - log_q_phi.sum(axis=1) - constant


def gauge_part(model, theory, x):
    return theory.action.action(x) + log_determinant(model, x)


def log_determinant(model, x):
    return sum(-np.linalg.slogdet(precision(m, x))[1] for m in model.monomials)


@cache
def evaluated():
    """Two monomials of heavy quarks, inflated so that weights have finite fourth moments, with several N_pf."""
    model, theory = joint_model(LIGHT, (0.3,)), theories.schwinger(BETA, LIGHT, SHAPE)
    found = evaluate_joint(model, theory, np.random.default_rng(2), 800, n_pf=(1, 4, 64), inflation=INFLATION)
    return model, theory, found


@pytest.mark.parametrize(("even_odd", "mus", "n"), [(True, (0.05,), 1), (False, (), 1), (True, (0.1,), 2)])
def test_weights_of_sampled_fields_are_those_of_the_eigenvalues(even_odd, mus, n):
    model = joint_model(0.2, mus, even_odd=even_odd, n=n).inflated(1.07)
    theory = theories.schwinger(BETA, 0.2, SHAPE) if n == 1 else theories.su2(BETA, SHAPE, 0.2)
    x, log_q, phi, log_q_phi = model.sample(np.random.default_rng(1), 3)
    explicit = explicit_log_weights(model, gauge_part(model, theory, x), x, log_q, phi, log_q_phi)
    w, curvature = conditional_spectra(model, x)
    chi, _ = model.inverse(x, phi)
    total = -theory.action.action(x) - log_q
    for m, (monomial, (transform, logdet)) in enumerate(zip(model.monomials, model.dense(x), strict=True)):
        p = precision(monomial, x)
        weight = conditional.weight_matrix(transform, p)
        values, vectors = np.linalg.eigh(weight)
        np.testing.assert_allclose(w[:, m], values, rtol=1e-8, atol=ROUNDING)
        np.testing.assert_allclose(curvature[:, m], conditional.smallest_curvature(transform, p), rtol=1e-7, atol=1e-8)
        kernels = conditional.log_kernel_determinant(logdet, w[:, m])
        np.testing.assert_allclose(kernels, -np.linalg.slogdet(p)[1], rtol=0, atol=ROUNDING)
        rows = model.conditionals[m].rows_of(chi[:, m])
        rows = rows.reshape(len(x), -1)
        e = np.abs(np.einsum("cji,cj->ci", vectors.conj(), rows)) ** 2
        total = total + conditional.single_log_weight(values, e)
    np.testing.assert_allclose(explicit, total, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("even_odd", "mus", "kappa", "c"), [(True, (), LIGHT, 1.0), (True, (0.1,), LIGHT, 1.0), (False, (), 0.05, 1.05)]
)
def test_the_mean_of_explicit_weights_over_pseudofermions_is_the_determinant(even_odd, mus, kappa, c):
    model = joint_model(kappa, mus, even_odd=even_odd, gain=0.03).inflated(c)
    theory, draws = theories.schwinger(BETA, kappa, SHAPE), 1000
    x, log_q = model.marginal.sample(np.random.default_rng(3), 1)
    chi, many = model.noise(np.random.default_rng(4), draws), np.repeat(x, draws, axis=0)
    phi, logdet = model.forward(many, chi)
    squares = (np.abs(chi) ** 2).reshape(draws, len(model.monomials), -1).sum(axis=2)
    log_q_phi = -squares - model.conditionals[0].rows * math.log(math.pi) - logdet
    weights = explicit_log_weights(model, gauge_part(model, theory, x), many, log_q, phi, log_q_phi)
    w, _ = conditional_spectra(model, x)
    assert conditional.finite_moment(w, 4).all()  # so that the error of the mean is one
    law = np.prod(1 + conditional.relative_variance(w[0])) - 1
    error = SIGMAS * math.sqrt(law / draws)
    assert 0.01 < error < 0.3
    ratio = np.exp(weights + theory.action.action(x) + log_q)  # over exp(-S_g) det M/q(U)
    assert abs(ratio.mean() - 1) < error


@pytest.mark.parametrize("mus", [(), (0.05, 0.5)])
def test_with_perfect_conditionals_the_joint_model_is_its_marginal(mus):
    model, theory = joint_model(0.265, mus, kind=Perfect), theories.schwinger(BETA, 0.265, SHAPE)
    found = evaluate_joint(model, theory, np.random.default_rng(5), 60, n_pf=(1, 3))
    for n_pf in (1, 3):
        np.testing.assert_allclose(found.joint[n_pf].log_weights, found.marginal.log_weights, rtol=0, atol=1e-7)
        assert abs(found.joint[n_pf].ess - found.marginal.ess) < 1e-7
        assert abs(found.law(n_pf) - found.marginal.ess) < 1e-10
        assert abs(found.finite_ess(n_pf) - found.marginal.ess) < 1e-7
    assert found.finite_share == 1
    assert found.curvature.min() > 0  # that of P
    assert max(kl.value for kl in found.kl_conditional) < 1e-12
    assert abs(found.kl_joint.value - found.kl_marginal.value) < 1e-12
    assert not any("infinite" in note for note in found.notes())


def test_the_marginal_is_that_of_its_own_evaluation_and_draws_are_nested():
    model, theory, found = evaluated()
    alone = evaluate(model.marginal, theory, np.random.default_rng(2), 800, chunk=256)
    np.testing.assert_array_equal(found.marginal.log_weights, alone.log_weights)
    assert (found.marginal.ess, found.marginal.log_z) == (alone.ess, alone.log_z)
    assert found.marginal.observables == alone.observables
    single = evaluate_joint(model, theory, np.random.default_rng(2), 256, n_pf=64, inflation=INFLATION)
    np.testing.assert_array_equal(single.joint[64].log_weights, found.joint[64].log_weights[:256])
    for n_pf, joint in found.joint.items():
        assert joint.acceptance == pool_acceptance(joint.log_weights), n_pf


def test_divergences_are_the_split_of_the_loss():
    """Mean of ``log q + S_g + sum_m E_chi[log q_m + S_m]`` is KL of all, less ``log Z`` and ``N log pi`` for every monomial."""
    model, theory, found = evaluated()
    n = 40
    x, log_q = model.marginal.sample(np.random.default_rng(6), n)
    loss = log_q + theory.action.action(x) + log_determinant(model, x)
    for monomial, (transform, logdet) in zip(model.monomials, model.dense(x), strict=True):
        rows = transform.shape[-1]
        trace = np.einsum("cii->c", conditional.weight_matrix(transform, precision(monomial, x))).real
        loss = loss - rows - logdet + trace  # of log q_m + S_m, with pi^-N taken out of both
    few = evaluate_joint(model, theory, np.random.default_rng(6), n, n_pf=2)
    np.testing.assert_allclose(few.kl_joint.value, loss.mean() + few.marginal.log_z.value, rtol=0, atol=ROUNDING)
    total = few.kl_marginal.value + sum(kl.value for kl in few.kl_conditional)
    np.testing.assert_allclose(few.kl_joint.value, total, rtol=0, atol=1e-12)
    np.testing.assert_allclose([kl.value for kl in few.kl_conditional], few.kls.mean(axis=0), rtol=1e-12)
    # The error is that of a ratio: seen in 30 parts of the draws, to 1/sqrt(58), with five errors.
    log_w = found.marginal.log_weights[:780].reshape(30, -1)
    parts = np.log(np.exp(log_w - log_w.max()).mean(1)) + log_w.max() - log_w.mean(1)
    seen = parts.std(ddof=1) / math.sqrt(30) * math.sqrt(780 / 800)
    assert abs(found.kl_marginal.error / seen - 1) < 5 / math.sqrt(58)
    exact = replace(found, marginal=replace(found.marginal, log_z=found.marginal.log_z._replace(exact=40.0)))
    assert exact.kl_marginal.value == 40 - found.marginal.log_weights.mean()


def test_a_little_training_lowers_the_divergences_that_it_saw():
    model, theory = joint_model(0.265, (0.05,)), theories.schwinger(BETA, 0.265, SHAPE)
    z = model.marginal.prior.sample(np.random.default_rng(9), 64)
    losses, _ = joint_loss(gauge_action(theory, model), model, z)
    before = evaluate_joint(model, theory, np.random.default_rng(9), 64)
    np.testing.assert_allclose(before.marginal.log_weights, losses.log_weight, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(before.kls, losses.kl, rtol=1e-7, atol=ROUNDING)
    trained = fit_joint(theory, model, JointRecipe(steps=25, batch=16, rate=Rate(2e-2), average=0.0)).model(model)
    after = evaluate_joint(trained, theory, np.random.default_rng(9), 64)
    np.testing.assert_array_equal(after.marginal.log_weights, before.marginal.log_weights)  # a base without parameters
    assert after.kl_conditional[1].value < 0.7 * before.kl_conditional[1].value
    assert after.kl_joint.value < before.kl_joint.value


def test_effective_sizes_rise_with_the_draws_as_the_product_law_says():
    _, _, found = evaluated()
    assert found.finite_share == 1
    assert conditional.finite_moment(found.w, 4).all()
    sizes = [found.joint[n_pf].ess for n_pf in (1, 4, 64)]
    assert sizes[0] < sizes[1] < sizes[2] < found.marginal.ess
    assert found.joint[1].acceptance < found.joint[64].acceptance < found.marginal.acceptance
    log_w = found.marginal.log_weights
    squares = np.exp(2 * (log_w - log_w.max()))
    for n_pf, joint in found.joint.items():
        factors = np.prod(1 + found.variances / n_pf, axis=1)
        first, second = np.exp(joint.log_weights - log_w.max()), np.exp(2 * (joint.log_weights - log_w.max()))
        law = np.exp(log_w - log_w.max()).mean() ** 2 / (squares * factors).mean()
        np.testing.assert_allclose(found.law(n_pf), law, rtol=1e-10)
        assert found.finite_ess(n_pf) == joint.ess
        # At given fields numerator and denominator have means as in the law: the error from what each field deviates.
        deviations = (
            2 * (first - np.exp(log_w - log_w.max())) / first.mean() - (second - squares * factors) / second.mean()
        )
        assert abs(math.log(joint.ess / law)) < SIGMAS * deviations.std() / math.sqrt(found.n) + 0.005
    np.testing.assert_allclose(found.law(1000000), found.marginal.ess, rtol=1e-5)
    linear = conditional.linear_law(log_w, found.variances, 4)
    assert linear < found.law(4) * 0.999  # (45) is not the law of two monomials


def test_inflation_changes_conditionals_alone():
    model, theory, found = evaluated()
    assert found.inflation == INFLATION
    own = evaluate_joint(model.inflated(1.1), theory, np.random.default_rng(2), 100, n_pf=(1, 4))
    again = evaluate_joint(model.inflated(3.0), theory, np.random.default_rng(2), 100, n_pf=(1, 4), inflation=1.1)
    some = evaluate_joint(model, theory, np.random.default_rng(2), 256, inflation=INFLATION)
    np.testing.assert_array_equal(some.marginal.log_weights, found.marginal.log_weights[:256])
    other = evaluate_joint(model, theory, np.random.default_rng(2), 100)
    assert other.inflation == (1.0, 1.0)
    np.testing.assert_array_equal(other.marginal.log_weights, own.marginal.log_weights)
    for c, inflated in (
        (1.1, own),
        (INFLATION, evaluate_joint(model, theory, np.random.default_rng(2), 100, inflation=INFLATION)),
    ):
        np.testing.assert_allclose(inflated.w, other.w * np.square(np.broadcast_to(c, 2))[:, None], rtol=1e-9)
    assert own.inflation == (1.1, 1.1)
    np.testing.assert_allclose(again.w, own.w, rtol=1e-9)
    np.testing.assert_allclose(again.curvature, own.curvature, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(again.joint[4].log_weights, own.joint[4].log_weights, rtol=0, atol=1e-8)


def test_fields_of_infinite_variance_are_counted_and_an_inflation_mends_them():
    model, theory = joint_model(0.22), theories.schwinger(BETA, 0.22, SHAPE)
    found = evaluate_joint(model, theory, np.random.default_rng(7), 200, n_pf=(1, 8))
    least = found.w.min(axis=(1, 2))
    assert 0 < (least > 0.5).mean() < 1  # a regime with some of both
    np.testing.assert_array_equal(found.finite, least > 0.5)
    np.testing.assert_array_equal(found.finite, found.curvature.min(axis=1) > 0)  # the same by Sylvester's law
    kept = np.flatnonzero(found.finite)
    assert found.finite_share == len(kept) / 200
    np.testing.assert_allclose(
        found.law(8), conditional.product_law(found.marginal.log_weights[kept], found.variances[kept], 8)[0], rtol=1e-12
    )
    text = str(found)
    assert f"! {200 - len(kept)} of 200 fields have weights of infinite variance" in text
    for share, k in ((0.9, 2), (1.0, 2), (0.95, 4)):
        (c,) = found.inflation_for(share, k)
        mended = evaluate_joint(model, theory, np.random.default_rng(7), 200, inflation=c)
        reached = conditional.finite_moment(mended.w.reshape(200, -1), k).mean()
        assert share <= reached < share + 0.006
        assert ("infinite" in str(mended)) == (mended.finite_share < 1)
    best = found.best_inflation()
    assert evaluate_joint(model, theory, np.random.default_rng(7), 200, inflation=best).finite_share == 1
    assert f"Inflations of {found.best_inflation(MOST)[0]:.4g}, the best, would make it finite on 99.9%." in text
    none = evaluate_joint(
        joint_model(0.265), theories.schwinger(BETA, 0.265, SHAPE), np.random.default_rng(8), 30, inflation=0.3
    )
    assert none.finite_share == 0
    assert math.isnan(none.law(1))
    assert "30 of 30 fields" in str(none)


def test_the_fields_left_out_of_an_inflation_need_most():
    _, _, found = evaluated()
    w = np.ones((4, 2, 3))
    w[0, 0, 0], w[1, 1, 0], w[2, 0, 0], w[2, 1, 0] = 0.1, 0.2, 0.3, 0.4
    some = replace(found, w=w, curvature=w[..., 0], inflation=(1.0, 2.0))
    expected = {0.25: (1, 2), 0.5: (math.sqrt(0.5 / 0.3), 2 * math.sqrt(0.5 / 0.4)),
                0.75: (math.sqrt(0.5 / 0.3), 2 * math.sqrt(0.5 / 0.2)), 1.0: (math.sqrt(5), 2 * math.sqrt(2.5))}  # fmt: skip
    for share, inflation in expected.items():
        np.testing.assert_allclose(some.inflation_for(share), inflation, rtol=1e-8)
    np.testing.assert_array_equal(some.finite, [False, False, False, True])
    np.testing.assert_allclose(
        np.divide(some.best_inflation(), replace(some, inflation=(1.0, 1.0)).best_inflation()), [1, 2]
    )


def test_every_effective_size_is_printed_with_what_it_means():
    _, _, found = evaluated()
    lines = str(found).splitlines()
    assert lines[0] == "800 draws, 2 monomials (even-odd), inflation 0.9, 1.15"
    trust = ["100.00%", f"{found.w.min():.4g}", f"{found.curvature.min():.4g}"]
    assert lines[1].split("  ")[-1].strip() == TRUST[-1]
    rows = {line.split("  ")[0]: line.split() for line in lines[2:6]}
    assert list(rows) == ["marginal", "joint, N_pf = 1", "joint, N_pf = 4", "joint, N_pf = 64"]
    for row in rows.values():
        assert row[-3:] == trust
    assert rows["marginal"][1] == f"{found.marginal.ess:.4f}"
    own = rows["joint, N_pf = 4"]
    assert own[4:8] == [
        f"{found.joint[4].ess:.4f}", f"{found.law(4):.4f}", f"{found.finite_ess(4) / found.law(4):.4g}",
        f"{found.joint[4].acceptance:.4f}",
    ]  # fmt: skip
    (last,) = (line for line in lines if line.startswith("monomial 1, mu = 0.3"))
    assert f"{found.kl_conditional[1].value:.4g}" in last
    assert any(line.startswith("monomial 0, mu = 0 over 0.3") for line in lines)
    (plaquette,) = (line for line in lines if line.startswith("plaquette"))
    for part in (found.marginal, *found.joint.values()):
        value, error, _ = part.observables["plaquette"]
        assert f"{value:.6g} +- {error:.2g}" in plaquette
    assert not [line for line in lines if line.startswith("!")]
    few = replace(found, joint={1: replace(found.joint[1], shape=0.6)})
    assert "! joint, N_pf = 1: The weights have a heavy tail" in str(few)
    w = found.w.copy()
    w[7, 1, 0] = 0.5 + 1e-9
    text = str(replace(found, w=w))
    assert "% of the second moment in the law: law and ESS/law are not reliable." in text
    assert "! N_pf = 64: ESS/law is" not in text  # said once
    w[7, 1, 0] = 0.4
    lines = str(replace(found, w=w)).splitlines()
    shares = [line.split()[-3] for line in lines if line.startswith(("marginal  ", "monomial", "joint, "))]
    assert shares[:4] == ["99.88%"] * 4  # 1 of 800, on the lines of the ESS
    assert shares[-2:] == ["100.00%", "99.88%"]


def test_a_law_that_a_few_fields_decide_is_not_trusted():
    """Eight fields of 800 with a variance of some thousands, none of which was met by the draws, have all of the second moment."""
    _, _, found = evaluated()
    flat = replace(found.marginal, log_weights=np.zeros(800))
    w = np.ones_like(found.w)
    w[:8, 0, 0] = 0.5 + 4.0 ** -np.arange(8.0, 16.0)  # X = w^2/(2 w - 1) - 1, four times as large for the next
    some = replace(found, marginal=flat, joint={16: replace(found.joint[4], log_weights=np.zeros(800))}, w=w)
    assert some.deciding_fields(16) == 1  # the last has three quarters
    assert "one field has 75% of the second moment in the law: law and ESS/law are not reliable." in str(some)
    w[:8, 0, 0] = 0.5 + 2.0**-20  # equal ones: an eighth each
    equal = replace(some, w=w)
    assert equal.law_share(16) < 0.125
    assert equal.deciding_fields(16) == 5  # the others have a little
    (note,) = (note for note in equal.notes() if note.startswith("! N_pf = 16"))
    ratio = equal.finite_ess(16) / equal.law(16)
    assert ratio == pytest.approx(1 + 8 / 800 / 16 * (2.0**17 * (1 + 2.0**-18)), rel=1e-2)
    assert f"ESS/law is {ratio:.3g}, far from 1: 5 of 800 fields have half of the second moment in the law" in note
    w[:8, 0, 0] = 1
    assert not [note for note in replace(some, w=w).notes() if note.startswith("! N_pf")]


def test_one_monomial_is_one():
    model, theory = joint_model(LIGHT), theories.schwinger(BETA, LIGHT, SHAPE)
    assert str(evaluate_joint(model, theory, np.random.default_rng(2), 2)).startswith("2 draws, 1 monomial (even-odd)")


def test_other_theories_are_refused():
    model, theory, _ = evaluated()
    rng = np.random.default_rng(0)
    for other, message in [
        (theories.schwinger(BETA, LIGHT, (4, 8)), "theory: got fields"),
        (theories.schwinger(BETA, 0.2, SHAPE), "theory: got an action"),
        (theories.u1(BETA, SHAPE), "theory: got an action"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_joint(model, other, rng, 10)
    for options, message in [
        ({"n": 1}, "n: got 1"), ({"chunk": 0}, "chunk: got 0"), ({"n_pf": (0,)}, "n_pf: got 0"), ({"n_pf": ()}, "n_pf: got none"),
        ({"inflation": 0.0}, "inflation: got 0.0"), ({"inflation": (1.0,) * 3}, "inflation: got 3 numbers"),
        ({"inflation": 1e200}, r"pseudofermions too large \(inflation 1e\+200\)"),
        ({"inflation": 1e-200}, r"monomial 0 \(inflation 1e-200\) that is singular to rounding"),
        ({"inflation": 10**400}, "inflation: got 1000"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            evaluate_joint(model, theory, rng, **{"n": 10, **options})
