"""Forms of many columns against the action and force of every column, dense algebra of eq. 5 as written, and differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import Pseudofermion, WilsonDeterminant, hasenbusch
from refimpl.actions.pseudofermion_columns import MonomialForms, quadratic, weight_matrix
from refimpl.lattice import parity_mask
from refimpl.validation.strategies import lattice_shapes

from .gauge_fields import links
from .test_pseudofermion import CASES, KAPPA, MASSES, dense, kernel_of, moved

# Condition numbers of M are below 1e4 in these fields, and eps times that bounds what two ways of solving differ by.
SOLVED = 1e-11
# Fourth-order differences with step H: the fifth derivative is some thousand times H^4/30, and the rounding of a value of
# a thousand is divided by H.
H, DIFFERENCES = 1e-3, 1e-8


def n_rows(monomial, shape):
    return 2 * monomial.n * shape[0] * shape[1] // (1 + monomial.even_odd)


def random_columns(rng, monomial, x, k):
    shape = (len(x), n_rows(monomial, x.shape[2:4]), k)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def field(monomial, shape, column):
    """The spinor field of rows ``(chain, n)``."""
    colour = (monomial.n,) if monomial.n > 1 else ()
    phi = np.zeros((len(column), *shape, 2, *colour), complex)
    sites = parity_mask(shape) if monomial.even_odd else np.ones(shape, bool)
    phi[:, sites] = column.reshape(len(column), -1, 2, *colour)
    return phi


def summed(monomial, x, columns):
    """Value and force by the monomial itself, one column after the other."""
    parts = [
        monomial.action_and_force(x, field(monomial, x.shape[2:4], columns[..., k])) for k in range(columns.shape[2])
    ]
    return [np.sum(part, axis=0) for part in zip(*parts, strict=True)]


def difference(function, values=(-2, -1, 1, 2)):
    s = {k: function(k * H) for k in values}
    return (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * H)


@pytest.mark.parametrize("mu", [*MASSES, (1e-5, 0.3)])
@pytest.mark.parametrize(("n", "shape", "even_odd"), CASES)
def test_value_and_force_are_the_sums_over_columns(n, shape, even_odd, mu):
    rng = np.random.default_rng(1)
    x = links(rng, n, 2, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    columns = random_columns(rng, monomial, x, 3)
    value, _, force = quadratic(monomial, x, columns)
    expected, slope = summed(monomial, x, columns)
    np.testing.assert_allclose(value, expected, rtol=SOLVED, atol=0)
    np.testing.assert_allclose(force, slope, rtol=0, atol=SOLVED * np.abs(slope).max())


@pytest.mark.parametrize("mu", MASSES)
@pytest.mark.parametrize(("n", "shape", "even_odd"), CASES)
def test_the_weight_matrix_and_the_cotangent_are_those_of_dense_algebra(n, shape, even_odd, mu):
    rng = np.random.default_rng(2)
    x = links(rng, n, 1, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    columns = random_columns(rng, monomial, x, 5)
    p, c = kernel_of(monomial, x), columns[0]
    w = weight_matrix(monomial, x, columns)
    np.testing.assert_allclose(w[0], c.conj().T @ p @ c, rtol=0, atol=SOLVED * np.abs(w).max())
    np.testing.assert_array_equal(w, w.conj().swapaxes(1, 2))
    value, g, _ = quadratic(monomial, x, columns)
    np.testing.assert_allclose(value[0], np.trace(w[0]).real, rtol=SOLVED)
    np.testing.assert_allclose(g[0], 2 * p @ c, rtol=0, atol=SOLVED * np.abs(g).max())


@pytest.mark.parametrize(
    ("n", "shape", "even_odd"), [(1, (2, 4), True), (1, (3, 2), False), (2, (2, 2), True), (3, (2, 2), False)]
)
@pytest.mark.parametrize("mu", MASSES)
def test_derivatives_are_slopes(n, shape, even_odd, mu):
    rng = np.random.default_rng(3)
    x = links(rng, n, 1, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    columns = random_columns(rng, monomial, x, 4)
    value, g, force = quadratic(monomial, x, columns)
    w, c = rng.standard_normal(force.shape), random_columns(rng, monomial, x, 4)
    w, c = w / np.linalg.norm(w), c / np.linalg.norm(c)
    slope = difference(lambda h: quadratic(monomial, moved(x, h * w), columns)[0][0])
    assert abs(slope - (force * w).sum()) < DIFFERENCES * max(value[0], np.linalg.norm(force))
    slope = difference(lambda h: quadratic(monomial, x, columns + h * c)[0][0])
    assert abs(slope - (g.conj() * c).sum().real) < DIFFERENCES * max(value[0], np.linalg.norm(g))


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 3),
    shape=lattice_shapes(max_extent=4),
    antiperiodic=st.booleans(),
    kappa=st.floats(0, 0.3),
    data=st.data(),
)
def test_on_any_lattice_the_columns_of_the_heat_bath_have_the_unit_matrix(n, shape, antiperiodic, kappa, data):
    even_odd = not (shape[0] % 2 or shape[1] % 2) and data.draw(st.booleans())
    x = links(np.random.default_rng(data.draw(st.integers(0, 10**6))), n, 2, shape)
    mus = data.draw(st.sampled_from([(), (0.2,), (0.001, 0.3)]))
    monomials = hasenbusch(kappa, mus, even_odd=even_odd, mu_reg=1e-5, n=n, antiperiodic=antiperiodic)
    forms = MonomialForms(monomials, x)
    rows = n_rows(monomials[0], shape)
    assert forms.rows == rows
    sites = parity_mask(shape) if even_odd else np.ones(shape, bool)
    unit = np.tile(np.eye(rows), (2, 1))
    baths = []
    for m in monomials:
        phi = m.heat_bath(np.repeat(x, rows, axis=0), field(m, shape, unit))
        baths.append(phi[:, sites].reshape(2, rows, rows).swapaxes(1, 2))
    values = [forms.quadratic(k, bath)[0] for k, bath in enumerate(baths)]
    # Condition numbers of D_s are below 1e3 with this regulator, those of W a square of it: 1e6 eps times the rows.
    np.testing.assert_allclose(values, rows, rtol=1e-8)
    for k in range(len(monomials)):
        np.testing.assert_allclose(forms.weight_matrix(k, baths[k]), unit.reshape(2, rows, rows), atol=1e-8)


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_the_covariances_have_the_determinants_that_telescope(n, even_odd):
    x = links(np.random.default_rng(4), n, 2, (2, 4))
    forms = MonomialForms(hasenbusch(KAPPA, (0.01, 0.1), even_odd=even_odd, n=n), x)
    logs = forms.log_covariances()
    assert logs.shape == (2, 3)
    for k, monomial in enumerate(forms.monomials):
        expected = -np.linalg.slogdet(kernel_of(monomial, x))[1]
        assert abs(logs[0, k] - expected) < SOLVED * max(1, abs(expected))
    np.testing.assert_allclose(forms.log_determinant(), -WilsonDeterminant(KAPPA, n).action(x), rtol=1e-12)
    np.testing.assert_allclose(logs.sum(axis=1), forms.log_determinant(), rtol=1e-12)
    regular = MonomialForms(hasenbusch(KAPPA, (0.01, 0.1), even_odd=even_odd, mu_reg=1e-3, n=n), x)
    d = dense(x, even_odd)
    shifted = np.linalg.slogdet(d @ d.conj().T + 1e-3 * np.eye(len(d)))[1]
    np.testing.assert_allclose(regular.log_covariances().sum(axis=1)[0], shifted, rtol=1e-12)
    np.testing.assert_array_equal(regular.log_determinant(), forms.log_determinant())


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_monomials_together_are_the_monomials_one_by_one(n, even_odd):
    rng = np.random.default_rng(5)
    x = links(rng, n, 2, (2, 4))
    monomials = hasenbusch(KAPPA, (0.01, 0.1), even_odd=even_odd, n=n)
    columns = [random_columns(rng, m, x, k) for m, k in zip(monomials, (1, 4, 2), strict=True)]
    forms = MonomialForms(monomials, x)
    alone = [quadratic(m, x, c) for m, c in zip(monomials, columns, strict=True)]
    outer = 0
    for k, (value, g, _) in enumerate(alone):
        together = forms.quadratic(k, columns[k])
        np.testing.assert_array_equal(together[0], value)
        np.testing.assert_array_equal(together[1], g)
        outer = outer + together[2]
        np.testing.assert_array_equal(forms.weight_matrix(k, columns[k]), weight_matrix(monomials[k], x, columns[k]))
    force = forms.force(outer)
    total = sum(part[2] for part in alone)
    np.testing.assert_allclose(force, total, rtol=0, atol=1e-13 * np.abs(total).max())


def test_a_chain_has_the_same_bits_in_any_batch():
    rng = np.random.default_rng(6)
    x = links(rng, 1, 5, (4, 4))
    for even_odd in (False, True):
        monomial = Pseudofermion(KAPPA, 1, even_odd, 0.01, 0.2)
        columns = random_columns(rng, monomial, x, 7)
        whole = (*quadratic(monomial, x, columns), weight_matrix(monomial, x, columns))
        for c in (0, 3):
            here = slice(c, c + 1)
            alone = (*quadratic(monomial, x[here], columns[here]), weight_matrix(monomial, x[here], columns[here]))
            for a, b in zip(alone, whole, strict=True):
                np.testing.assert_array_equal(a[0], b[c])


@pytest.mark.parametrize("even_odd", [False, True])
def test_a_chain_without_a_solution_is_nan_and_leaves_the_others(even_odd):
    # Periodic at kappa = 1/4 the constant spinor is a zero mode.
    rng = np.random.default_rng(7)
    x = links(rng, 1, 4, (2, 2))
    x[1], x[2, 0, 1, 1] = 0, np.nan
    monomial = Pseudofermion(0.25, 1, even_odd, antiperiodic=False)
    columns = random_columns(rng, monomial, x, 2)
    results = (*quadratic(monomial, x, columns), weight_matrix(monomial, x, columns))
    kept = [0, 3]
    alone = (*quadratic(monomial, x[kept], columns[kept]), weight_matrix(monomial, x[kept], columns[kept]))
    for result, other in zip(results, alone, strict=True):
        assert np.isnan(result[[1, 2]]).all()
        np.testing.assert_array_equal(result[kept], other)
    regular = Pseudofermion(0.25, 1, even_odd, 0.1, antiperiodic=False)
    assert np.isfinite(quadratic(regular, x, columns)[0]).tolist() == [True, True, False, True]
    assert np.isnan(MonomialForms((monomial,), x).log_covariances()[1, 0])


M = Pseudofermion(KAPPA)
X = links(np.random.default_rng(8), 1, 1, (2, 2))
C = np.ones((1, 8, 1), complex)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quadratic(M, X, C[:, :, 0]), r"columns: got shape \(1, 8\), expected \(1, 8, k\)"),
        (lambda: quadratic(M, X, C[:, :4]), r"columns: got shape \(1, 4, 1\), expected \(1, 8, k\)"),
        (lambda: weight_matrix(M, X, np.repeat(C, 2, axis=0)), r"columns: got shape \(2, 8, 1\), expected \(1, 8, k\)"),
        (lambda: MonomialForms((), X), "monomials: got none, expected at least one"),
        (lambda: MonomialForms((M, Pseudofermion(0.2)), X), "expected one operator"),
        (lambda: quadratic(Pseudofermion(KAPPA, even_odd=True), np.zeros((1, 2, 3, 2)), C), "extent T = 3, expected an even"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
