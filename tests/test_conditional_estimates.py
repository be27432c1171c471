"""Gaussian conditionals at fixed gauge field: weights by hand, their exact law, moments, the laws in N_pf, and inflation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import hasenbusch, log_determinant, wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix, even_odd_indices, schur_complement
from refimpl.estimators import conditional
from refimpl.estimators.determinant import averaged_log_weight, complex_normal
from refimpl.kernels import spawn_rngs

from .gauge_fields import links

KAPPA = 0.265
P_VALUE = 1e-7  # of each statistical test, with a fixed seed
SIGMAS = 5.3  # of a normal variable, two-sided
# Condition numbers of M below 1e4 for the fields here, times 1e-16, some ten roundings.
ROUNDING = 1e-10


def operator(dirac, even_odd):
    return schur_complement(dirac) if even_odd else dense_matrix(dirac)


def precisions(monomials, dirac):
    """``P_m`` as matrices, from (37) and (38): ``(chain, monomial, n, n)``."""
    d = operator(dirac, monomials[0].even_odd)
    m, one = d @ d.conj().swapaxes(1, 2), np.eye(d.shape[-1])
    found = []
    for monomial in monomials:
        inverse = np.linalg.inv(m + monomial.mu * one)
        found.append(inverse if monomial.mu_next is None else one + (monomial.mu_next - monomial.mu) * inverse)
    return np.stack(found, axis=1)


def root(precision):
    """``K^(1/2)``, the Hermitian one."""
    values, vectors = np.linalg.eigh(precision)
    return (vectors / np.sqrt(values)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)


def near_one(rng, shape, n, size=0.02, layers=4):
    """Products of four matrices ``1 + small``, as flows of a few layers have at their start."""
    out = np.broadcast_to(np.eye(n, dtype=np.complex128), (*shape, n, n))
    for _ in range(layers):
        out = out @ (np.eye(n) + size * complex_normal(rng, (*shape, n, n)))
    return out


def log_det(transform):
    return 2 * np.linalg.slogdet(transform)[1]


def spectrum(transform, precision):
    return conditional.weight_eigenvalues(conditional.weight_matrix(transform, precision))


def bernstein(variance, largest, n):
    """t with ``P(|mean - expectation| > t) <= p``, n values from 0 to ``largest``: ``n t^2 = 2 log(2/p) (var + largest t/3)``."""
    log = np.log(2 / P_VALUE)
    b = largest * log / (3 * n)
    return b + np.sqrt(b * b + 2 * log * variance / n)


def many_log_weights(seed, w, n_pf, draws):
    """`log_weights` of fields that all have these ``w (monomial, n)``, ``(draws, monomial, n_pf)``; drawn as many monomials."""
    chains = 50
    copies = np.tile(w, (chains, draws // chains, 1))
    values = conditional.log_weights(spawn_rngs(seed, chains), copies, n_pf)
    return values.reshape(draws, len(w), len(n_pf))


def sum_below(rates, values):
    """``P(sum r e <= v)`` for Exp(1) numbers e and distinct rates of both signs, by partial fractions of ``prod 1/(1 - r t)``."""
    below = np.zeros(len(values))
    for r in rates:
        share = np.prod([r / (r - other) for other in rates if other != r])
        if r > 0:
            below += np.where(values >= 0, share * (1 - np.exp(-np.maximum(values, 0) / r)), 0.0)
        else:
            below += np.where(values < 0, share * np.exp(-np.minimum(values, 0) / r), share)
    return below


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("mus", [(), (0.05, 0.5)])
def test_a_perfect_conditional_has_one_weight(even_odd, mus):
    rng = np.random.default_rng(1)
    dirac = wilson_dirac(links(rng, 1, 3, (4, 4)), KAPPA)
    p = precisions(hasenbusch(KAPPA, mus, even_odd=even_odd), dirac)
    perfect = [root(p)]
    if not mus:
        perfect.append(operator(dirac, even_odd)[:, None])  # phi = D chi
    for transform in perfect:
        w = spectrum(transform, p)
        np.testing.assert_allclose(w, 1, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(conditional.kl(w), 0, rtol=0, atol=1e-15)
        np.testing.assert_allclose(conditional.relative_variance(w), 0, rtol=0, atol=1e-15)
        assert conditional.finite_moment(w, 100).all()
        values = conditional.log_weights(spawn_rngs(2, 3), w, (1, 4))
        np.testing.assert_allclose(values, 0, rtol=0, atol=1e-8)  # sums of n e of some hundred in all, times ROUNDING
        kernels = conditional.log_kernel_determinant(log_det(transform), w)
        np.testing.assert_allclose(kernels.sum(1), 2 * log_determinant(dirac)[0], rtol=0, atol=1e-8)
        # 2 P - A_q = P: the least eigenvalue of P itself.
        np.testing.assert_allclose(
            conditional.smallest_curvature(transform, p), np.linalg.eigvalsh(p)[..., 0], rtol=0, atol=ROUNDING * 1e4
        )


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("mus", [(), (0.05,)])
def test_weights_of_fields_are_those_of_the_eigenvalues(even_odd, mus):
    rng = np.random.default_rng(3)
    x = links(rng, 1, 2, (4, 4))
    dirac = wilson_dirac(x, KAPPA)
    monomials = hasenbusch(KAPPA, mus, even_odd=even_odd)
    p = precisions(monomials, dirac)
    n = p.shape[-1]
    transform = root(p) @ near_one(rng, p.shape[:2], n, 0.05)
    matrix = conditional.weight_matrix(transform, p)
    np.testing.assert_array_equal(matrix, matrix.conj().swapaxes(-1, -2))
    values, vectors = np.linalg.eigh(matrix)
    kernels = -np.linalg.slogdet(p)[1]
    np.testing.assert_allclose(
        conditional.log_kernel_determinant(log_det(transform), values), kernels, rtol=0, atol=1e-8
    )
    even = even_odd_indices(dirac)[0] if even_odd else slice(None)
    for _ in range(3):
        chi = complex_normal(rng, (*p.shape[:2], n))
        phi = np.einsum("cmij,cmj->cmi", transform, chi)
        spinors = np.zeros((len(monomials), 2, 32), np.complex128)
        spinors[..., even] = phi.swapaxes(0, 1)
        actions = [m.action(x, field.reshape(2, 4, 4, 2)) for m, field in zip(monomials, spinors, strict=True)]
        explicit = conditional.field_log_weight(np.stack(actions, axis=1), chi, log_det(transform))
        e = np.abs(np.einsum("cmji,cmj->cmi", vectors.conj(), chi)) ** 2
        single = conditional.single_log_weight(values, e)
        np.testing.assert_allclose(explicit, single + kernels, rtol=0, atol=1e-8)


def test_drawn_fields_have_the_exact_law():
    # -(log weight - sum log w) = sum (w - 1) e. Kolmogorov: P(sqrt(n) D > t) <= 2 exp(-2 t^2) (Massart).
    rng = np.random.default_rng(4)
    n, draws = 5, 4000
    transform = np.eye(n) + 0.35 * complex_normal(rng, (n, n))
    precision = np.linalg.inv(near_one(rng, (), n, 0.2))
    precision = precision @ precision.conj().T
    w = spectrum(transform, precision)
    assert w[0] < 0.5 < 1 < w[-1]
    bound = math.sqrt(math.log(2 / P_VALUE) / 2 / draws)
    chi = complex_normal(rng, (draws, n))
    phi = chi @ transform.T
    action = np.einsum("di,ij,dj->d", phi.conj(), precision, phi).real
    by_fields = conditional.field_log_weight(action, chi, log_det(transform))
    by_law = conditional.log_weights(
        spawn_rngs(5, draws),
        np.tile(w, (draws, 1, 1)),
        log_kernel=np.full((draws, 1), -np.linalg.slogdet(precision)[1]),
    )[:, 0]
    for log_w in (by_fields, by_law):
        sums = np.sort(log_det(transform) - log_w)
        law = sum_below(w - 1, sums)
        assert law[0] < 0.01 < 0.99 < law[-1]
        steps = np.arange(draws + 1) / draws
        assert max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max()) < bound
        np.testing.assert_allclose(
            (log_w + np.linalg.slogdet(precision)[1]).mean(),
            -conditional.kl(w),
            rtol=0,
            atol=SIGMAS * math.sqrt(conditional.log_variance(w) / draws),
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.4, 3.0), min_size=1, max_size=4), st.integers(1, 4))
def test_moments_are_integrals(w, k):
    w = np.array(w)
    if k * (1 - w.min()) > 0.8:
        return  # close to divergence the rule needs more nodes
    # Every mode is Exp(1): w^k E exp(-k (w - 1) e) by Gauss and Laguerre.
    nodes, weights = np.polynomial.laguerre.laggauss(100)
    moment = (weights * np.exp(-k * (w[:, None] - 1) * nodes)).sum(1) * w**k
    np.testing.assert_allclose(conditional.log_moment(w, k), np.log(moment).sum(), rtol=0, atol=1e-6)
    assert conditional.finite_moment(w, k)
    if k == 2:
        np.testing.assert_allclose(
            conditional.relative_variance(w), moment.prod() - 1, rtol=0, atol=1e-5 * moment.prod()
        )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.2))
def test_closed_forms_are_those_of_the_matrices(seed, size):
    """KL and X of method sec. 3.1 by traces and determinants of ``A_p`` and ``A_q``."""
    rng = np.random.default_rng(seed)
    n = 4
    transform, other = near_one(rng, (2,), n, size)
    a_p = np.linalg.inv(other @ other.conj().T)
    a_q = np.linalg.inv(transform @ transform.conj().T)
    w = spectrum(transform, a_p)
    ratio = a_p @ np.linalg.inv(a_q)
    kl = np.trace(ratio).real - n - np.linalg.slogdet(ratio)[1]
    np.testing.assert_allclose(conditional.kl(w), kl, rtol=1e-9, atol=1e-10)
    rest = ratio - np.eye(n)
    np.testing.assert_allclose(conditional.log_variance(w), np.trace(rest @ rest).real, rtol=1e-9, atol=1e-10)
    least = np.linalg.eigvalsh(2 * a_p - a_q)[0]
    np.testing.assert_allclose(conditional.smallest_curvature(transform, a_p), least, rtol=1e-8, atol=1e-10)
    assert abs(least) < 1e-9 or conditional.finite_moment(w) == (least > 0)
    x = conditional.relative_variance(w)
    if least < 0:
        assert x == np.inf
    elif least > 1e-3:
        det = np.linalg.det(a_p) ** 2 / (np.linalg.det(a_q) * np.linalg.det(2 * a_p - a_q))
        np.testing.assert_allclose(1 + x, det.real, rtol=1e-8)
        np.testing.assert_allclose(1 + x, np.exp(conditional.log_moment(w, 2)), rtol=1e-10)


def test_below_one_half_the_variance_is_infinite():
    w = np.array([[0.5, 2.0], [0.4999, 1.0], [0.5001, 1.0], [0.76, 1.0], [0.74, 3.0]])
    np.testing.assert_array_equal(conditional.finite_moment(w), [False, False, True, True, True])
    np.testing.assert_array_equal(np.isfinite(conditional.relative_variance(w)), [False, False, True, True, True])
    np.testing.assert_array_equal(conditional.finite_moment(w, 4), [False, False, False, True, False])
    np.testing.assert_array_equal(np.isfinite(conditional.log_moment(w, 4)), [False, False, False, True, False])
    assert np.isfinite(conditional.kl(w)).all()
    np.testing.assert_allclose(conditional.kl([0.5, 2.0]), 0.5, rtol=1e-15)
    np.testing.assert_allclose(conditional.relative_variance([0.75, 2.0]), 0.75**2 / 0.5 * 4 / 3 - 1, rtol=1e-14)


def test_weights_have_the_determinant_as_mean_and_X_as_variance():
    # All w >= 1 bound the weights by prod w, and Bernstein's inequality is rigorous.
    w = np.array([[1.0, 1.3, 1.6], [1.1, 1.2, 2.0]])
    law, largest = conditional.relative_variance(w), w.prod(-1)
    values = np.exp(many_log_weights(6, w, (1, 4), 100_000))
    chains = len(values)
    assert np.all(values <= largest[:, None] * (1 + 1e-12))
    for k, n_pf in enumerate((1, 4)):
        bound = bernstein(law / n_pf, largest, chains)
        assert bound.max() < 0.05
        assert np.all(np.abs(values[..., k].mean(0) - 1) < bound)
        squares = values[..., k] ** 2
        second = bernstein(squares.var(0), largest**2, chains)
        assert second.max() < 0.3
        assert np.all(np.abs(squares.mean(0) - 1 - law / n_pf) < second)


def test_draws_are_nested_and_averaged_in_logarithms():
    w = np.random.default_rng(7).uniform(0.6, 1.6, (3, 2, 5))
    values = conditional.log_weights(spawn_rngs(8, 3), w, (1, 2, 8))
    assert values.shape == (3, 2, 3)
    e = spawn_rngs(8, 3)[1].standard_exponential((8, 2, 5))
    single = conditional.single_log_weight(w[1], e)
    np.testing.assert_array_equal(single, np.log(w[1]).sum(-1) - ((w[1] - 1) * e).sum(-1))
    for k, count in enumerate((1, 2, 8)):
        np.testing.assert_array_equal(values[1, :, k], averaged_log_weight(single[:count].T))
        np.testing.assert_array_equal(conditional.log_weights(spawn_rngs(8, 3), w, count), values[..., k])
    np.testing.assert_array_equal(conditional.log_weights(spawn_rngs(8, 3)[1:2], w[1:2], (1, 2, 8))[0], values[1])
    kernels = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    shifted = conditional.log_weights(spawn_rngs(8, 3), w, (1, 2, 8), log_kernel=kernels)
    np.testing.assert_array_equal(shifted, values + kernels[..., None])


def test_the_toy_of_two_monomials_follows_the_product_law():
    # One mode each with X = 1/2 and 1/3: w^2 = (1 + X)(2 w - 1), on the side where the weights are bounded.
    w, n_pf = np.array([[(3 + math.sqrt(3)) / 2], [2.0]]), (1, 8)
    x, flat = conditional.relative_variance(w), np.zeros(7)
    np.testing.assert_allclose(x, [1 / 2, 1 / 3], rtol=1e-14)
    fields = np.tile(x, (7, 1))
    np.testing.assert_allclose(1 / conditional.product_law(flat, fields, n_pf), [2.0, 17 / 16 * 25 / 24], rtol=1e-13)
    np.testing.assert_allclose(1 / conditional.linear_law(flat, fields, n_pf), [2.0, 1.125], rtol=1e-13)
    values = many_log_weights(9, w, n_pf, 200_000).sum(axis=1)
    chains = len(values)
    largest = w.prod()
    squares = np.exp(2 * values)
    bound = bernstein(squares.var(axis=0), largest**2, chains)
    assert bound[1] < 0.02  # so that 1.125, the linear law, and 1.1067 are told apart
    assert np.all(np.abs(squares.mean(axis=0) - [2.0, 1.1067708333]) < bound)


def test_laws_weigh_fields_by_the_square_of_the_marginal_weight():
    log_w, x = np.log([1.0, 2.0, 0.5]), np.array([[0.3, 1.0], [0.2, 0.5], [4.0, 0.1]])
    w = np.exp(log_w)
    for n_pf in (1, 3, 64):
        product = w.mean() ** 2 / (w**2 * (1 + x / n_pf).prod(1)).mean()
        np.testing.assert_allclose(conditional.product_law(log_w + 700, x, n_pf), [product], rtol=1e-12)
        c = (w**2 * ((1 + x).prod(1) - 1)).sum() / (w**2).sum()
        linear = w.mean() ** 2 / (w**2).mean() / (1 + c / n_pf)
        np.testing.assert_allclose(conditional.linear_law(log_w + 700, x, n_pf), [linear], rtol=1e-12)
        np.testing.assert_allclose(
            conditional.linear_law(log_w, x[:, :1], n_pf), conditional.product_law(log_w, x[:, :1], n_pf), rtol=1e-12
        )
    x[1, 0] = np.inf
    np.testing.assert_array_equal(conditional.product_law(log_w, x, (1, 8)), 0)
    np.testing.assert_array_equal(conditional.linear_law(log_w, x, (1, 8)), 0)
    dropped = np.where([False, True, False], -np.inf, log_w)
    np.testing.assert_allclose(  # a field without weight may have any variance
        conditional.product_law(dropped, x, 1),
        w[[0, 2]].sum() ** 2 / 3 / (w[[0, 2]] ** 2 * (1 + x[[0, 2]]).prod(1)).sum(),
        rtol=1e-12,
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.01, 1.0), st.sampled_from([2, 3, 4]))
def test_the_smallest_inflation_is_enough_and_no_smaller_one_is(seed, fields, share, k):
    w = np.exp(np.random.default_rng(seed).normal(-0.3, 0.5, (fields, 2, 3)))
    c = conditional.smallest_inflation(w, share, k)

    def reached(c):
        return conditional.finite_moment(conditional.inflated(w, c).reshape(fields, -1), k).mean()

    assert c >= 1
    assert reached(c) >= share - 1e-9
    assert c == 1 or reached(c * (1 - 1e-12)) < share


def test_an_inflation_is_that_of_the_transform():
    rng = np.random.default_rng(10)
    transform, other = near_one(rng, (2, 3), 4, 0.1)
    precision = other @ other.conj().swapaxes(-1, -2)
    w = spectrum(transform, precision)
    np.testing.assert_allclose(conditional.inflated(w, 1.1), spectrum(1.1 * transform, precision), rtol=1e-12)
    # det K does not know of c: logdet grows by 2 n log c.
    np.testing.assert_allclose(
        conditional.log_kernel_determinant(log_det(transform) + 8 * math.log(1.1), conditional.inflated(w, 1.1)),
        conditional.log_kernel_determinant(log_det(transform), w),
        rtol=0,
        atol=1e-12,
    )
    best = conditional.best_inflation(w)
    means = [
        np.log1p(conditional.relative_variance(conditional.inflated(w, c * best))).mean() for c in (0.999, 1, 1.001)
    ]
    assert np.argmin(means) == 1
    own = conditional.field_inflation(w)
    assert own.shape == (3,)
    for field, c in zip(w.reshape(-1, 4), own.ravel(), strict=True):
        np.testing.assert_allclose(c, conditional.best_inflation(field), rtol=1e-12)
    # On the KL: its derivative by log c is 2 sum (c^2 w - 1).
    step = 1e-4
    slope = conditional.kl(conditional.inflated(w, math.exp(step))) - conditional.kl(
        conditional.inflated(w, math.exp(-step))
    )
    np.testing.assert_allclose(slope / (2 * step), 2 * (w - 1).sum(-1), rtol=0, atol=1e-5)


def test_wrong_arguments_are_named():
    w = np.ones((2, 1, 3))
    rngs = spawn_rngs(1, 2)
    for call, message in [
        (lambda: conditional.kl([1.0, 0.0]), "w: got 0.0"),
        (lambda: conditional.kl([1.0, np.nan]), "w: got nan"),
        (lambda: conditional.kl([]), "w: got shape"),
        (lambda: conditional.weight_eigenvalues(-np.eye(2)), "w: got -1.0"),
        (lambda: conditional.log_weights(rngs, w[0]), "w: got shape"),
        (lambda: conditional.log_weights(rngs[:1], w), "rngs: got 1"),
        (lambda: conditional.log_weights(rngs, w, (1, 0)), "n_pf: got 0"),
        (lambda: conditional.log_weights(rngs, w, ()), "n_pf: got none"),
        (lambda: conditional.smallest_inflation(w, 0.0), "share: got"),
        (lambda: conditional.smallest_inflation(w, 1.5), "share: got"),
        (lambda: conditional.smallest_inflation(w, 1.0, 1), "k: got 1"),
        (lambda: conditional.inflated(w, 0.0), "c: got"),
        (lambda: conditional.product_law([0.0, 0.0], np.ones((3, 1)), 1), "variances: got"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_share_of_fields_knows_of_rounding():
    assert 0.07 * 100 > 7
    assert [conditional.kept_fields(100, share) for share in (0.07, 0.071, 1.0, 1e-9)] == [7, 8, 100, 1]
