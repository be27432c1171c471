"""The Wilson-Dirac operator: every form against every other, symmetries, boundary sign, two sites, bad input."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.actions import gamma5, wilson_dirac
from refimpl.actions.dirac import SIGMA, dirac_definition, signed_links
from refimpl.actions.dirac import apply as dirac_apply
from refimpl.actions.dirac.matrix import (
    dense_matrix,
    even_odd_blocks,
    even_odd_indices,
    schur_complement,
    sparse_even_odd_blocks,
    sparse_matrices,
)
from refimpl.lattice import gauge_transform
from refimpl.validation.strategies import lattice_shapes, memory_orders

from .gauge_fields import haar, links, spinor

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KAPPA = 0.265
SHAPES = [(2, 2), (2, 3), (3, 2), (4, 6), (5, 4)]
EVEN = [(2, 2), (2, 4), (4, 6)]
GROUPS = [1, 2, 3]

U = 2.0**-53


def apply_rounding(psi, n):
    """A component of D psi adds 1 + 8 n products of links and psi, each of at most 2 max|psi|, in at most as many roundings."""
    return (1 + 8 * n) * 2 * np.abs(psi).max() * (8 + 2 * n) * U


def flat(psi):
    return psi.reshape(len(psi), -1)


@QUICK
@given(
    lattice_shapes(),
    st.sampled_from(GROUPS),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 20, dirac_apply.SLAB]),
    st.integers(0, 10**6),
    st.data(),
)
def test_apply_is_the_definition_in_any_memory_order_and_slabs(shape, n, chains, antiperiodic, slab, seed, data):
    rng = np.random.default_rng(seed)
    x = data.draw(memory_orders(links(rng, n, chains, shape)))
    dirac = wilson_dirac(x, KAPPA, antiperiodic=antiperiodic)
    psi = data.draw(memory_orders(spinor(rng, dirac)))
    expected = dirac_definition(signed_links(x, antiperiodic=antiperiodic), psi.reshape(*psi.shape[:4], n), KAPPA)
    with mock.patch.object(dirac_apply, "SLAB", slab):
        got = dirac.apply(psi)
    np.testing.assert_allclose(got, expected.reshape(psi.shape), rtol=0, atol=apply_rounding(psi, n))


def test_the_definition_is_equation_5_written_in_loops():
    rng = np.random.default_rng(1)
    (n_t, n_x), n = (2, 3), 2
    x = links(rng, n, 1, (n_t, n_x))
    psi = spinor(rng, wilson_dirac(x, KAPPA))
    expected = psi.copy()
    for t in range(n_t):
        for r in range(n_x):
            ahead = [((t + 1) % n_t, r, -1 if t == n_t - 1 else 1), (t, (r + 1) % n_x, 1)]
            behind = [((t - 1) % n_t, r, -1 if t == 0 else 1), (t, (r - 1) % n_x, 1)]
            for mu in (0, 1):
                t1, r1, sign1 = ahead[mu]
                t2, r2, sign2 = behind[mu]
                forward = sign1 * (np.eye(2) - SIGMA[mu]) @ (psi[0, t1, r1] @ x[0, mu, t, r].T)
                backward = sign2 * (np.eye(2) + SIGMA[mu]) @ (psi[0, t2, r2] @ x[0, mu, t2, r2].conj())
                expected[0, t, r] -= KAPPA * (forward + backward)
    got = dirac_definition(signed_links(x), psi, KAPPA)
    np.testing.assert_allclose(got, expected, rtol=0, atol=apply_rounding(psi, n))


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_dense_matrix_is_the_operator_and_its_conjugate_transpose_the_adjoint(shape, n):
    rng = np.random.default_rng(2)
    dirac = wilson_dirac(links(rng, n, 3, shape), KAPPA)
    psi, matrix = spinor(rng, dirac), dense_matrix(dirac)
    for got, expected in (
        (dirac.apply(psi), np.einsum("cij,cj->ci", matrix, flat(psi))),
        (dirac.adjoint(psi), np.einsum("cji,cj->ci", matrix.conj(), flat(psi))),
    ):
        np.testing.assert_allclose(flat(got), expected, rtol=0, atol=apply_rounding(psi, n))


def test_on_two_sites_both_hops_are_added_and_the_one_across_the_boundary_has_its_sign():
    x = links(np.random.default_rng(3), 1, 1, (2, 2))
    matrix = dense_matrix(wilson_dirac(x, KAPPA))[0].reshape(2, 2, 2, 2, 2, 2)
    u = np.exp(1j * x[0])
    one = np.eye(2)
    time = (one - SIGMA[0]) * u[0, 0, 1] - (one + SIGMA[0]) * u[0, 1, 1].conj()
    space = (one - SIGMA[1]) * u[1, 1, 0] + (one + SIGMA[1]) * u[1, 1, 1].conj()
    # The links of the two sides differ by the rounding of exp, 4e-16.
    np.testing.assert_allclose(matrix[0, 1, :, 1, 1, :], -KAPPA * time, rtol=0, atol=1e-15)
    np.testing.assert_allclose(matrix[1, 0, :, 1, 1, :], -KAPPA * space, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", GROUPS)
def test_antiperiodic_time_is_a_sign_of_the_last_time_links(n):
    x = links(np.random.default_rng(4), n, 2, (3, 4))
    turned = x.copy()
    turned[:, 0, -1] = turned[:, 0, -1] + np.pi if n == 1 else -turned[:, 0, -1]
    antiperiodic, periodic = (
        dense_matrix(wilson_dirac(f, KAPPA, antiperiodic=a)) for f, a in ((x, True), (turned, False))
    )
    np.testing.assert_allclose(antiperiodic, periodic, rtol=0, atol=2e-15)  # of links, 4e-16 off for angles up to 2 pi


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_operator_is_gamma5_hermitian_and_its_determinant_real(shape, n):
    dirac = wilson_dirac(links(np.random.default_rng(5), n, 3, shape), KAPPA)
    matrix = dense_matrix(dirac)
    g = np.tile(np.repeat([1, -1], n), shape[0] * shape[1])
    np.testing.assert_array_equal(g[:, None] * matrix * g, matrix.conj().swapaxes(1, 2))
    phase, _ = np.linalg.slogdet(matrix)
    # LU is backward stable: n U times the condition number, some hundred here, for at most 144 rows.
    assert np.abs(phase.imag).max() < 1e-12


@pytest.mark.parametrize("n", GROUPS)
def test_the_adjoint_is_gamma5_on_both_sides(n):
    rng = np.random.default_rng(6)
    dirac = wilson_dirac(links(rng, n, 2, (4, 3)), KAPPA)
    psi = spinor(rng, dirac)
    np.testing.assert_array_equal(gamma5(psi), np.stack([psi[:, :, :, 0], -psi[:, :, :, 1]], 3))
    # The same operations but for signs.
    np.testing.assert_array_equal(dirac.adjoint(psi), gamma5(dirac.apply(gamma5(psi))))


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", [(2, 2), (3, 4)])
def test_the_operator_is_gauge_covariant(shape, n):
    rng = np.random.default_rng(7)
    x = links(rng, n, 2, shape)
    if n == 1:
        alpha = rng.uniform(-np.pi, np.pi, (2, *shape))
        y, omega = gauge_transform(x, alpha), np.exp(1j * alpha)[..., None, None]
    else:
        omega = haar(rng, (2, *shape), n)
        ahead = np.stack([np.roll(omega, -1, 1), np.roll(omega, -1, 2)], 1)
        y = omega[:, None] @ x @ ahead.conj().swapaxes(-1, -2)
    before, after = wilson_dirac(x, KAPPA), wilson_dirac(y, KAPPA)
    psi = spinor(rng, before)

    def rotated(field):
        return np.einsum("cyxab,cyxsb->cyxsa", omega, field.reshape(*field.shape[:4], n)).reshape(field.shape)

    # Angles up to 3 pi are added with an error of 1e-15, and 17 terms of at most 2 max|psi| follow.
    np.testing.assert_allclose(after.apply(rotated(psi)), rotated(before.apply(psi)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sparse_matrices_are_the_dense_ones(shape, n):
    dirac = wilson_dirac(links(np.random.default_rng(8), n, 2, shape), KAPPA)
    got = [matrix.toarray() for matrix in sparse_matrices(dirac)]
    np.testing.assert_array_equal(got, dense_matrix(dirac))


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", EVEN)
def test_even_odd_blocks_are_those_of_the_matrix_and_the_schur_complement_has_its_determinant(shape, n):
    rng = np.random.default_rng(9)
    dirac = wilson_dirac(links(rng, n, 3, shape), KAPPA)
    matrix, (even, odd) = dense_matrix(dirac), even_odd_indices(dirac)
    d_eo, d_oe = even_odd_blocks(dirac)
    np.testing.assert_array_equal(d_eo, matrix[:, even][:, :, odd])
    np.testing.assert_array_equal(d_oe, matrix[:, odd][:, :, even])
    for own in (even, odd):
        np.testing.assert_array_equal(matrix[:, own][:, :, own], np.broadcast_to(np.eye(len(own)), d_eo.shape))
    sparse = sparse_even_odd_blocks(dirac)
    np.testing.assert_array_equal([(a.toarray(), b.toarray()) for a, b in sparse], np.stack([d_eo, d_oe], 1))

    schur = schur_complement(dirac)
    psi = spinor(rng, dirac)
    flat(psi)[:, odd] = 0
    got = flat(dirac.schur(psi))
    # Twice the rounding of an application, of a vector at most 1 + 8 kappa n times as large.
    atol = 2 * (1 + 3 * n) * apply_rounding(psi, n)
    np.testing.assert_allclose(got[:, even], np.einsum("cij,cj->ci", schur, flat(psi)[:, even]), rtol=0, atol=atol)
    np.testing.assert_array_equal(got[:, odd], 0)
    # As in the test of the phase above.
    np.testing.assert_allclose(np.linalg.det(schur), np.linalg.det(matrix), rtol=1e-12, atol=0)


@pytest.mark.parametrize("function", [even_odd_blocks, schur_complement, sparse_even_odd_blocks, even_odd_indices])
def test_even_odd_refuses_odd_extents(function):
    dirac = wilson_dirac(np.zeros((1, 2, 4, 3)), KAPPA)
    with pytest.raises(ValueError, match="shape: got extent X = 3, expected an even extent"):
        function(dirac)
    with pytest.raises(ValueError, match="shape: got extent X = 3, expected an even extent"):
        dirac.schur(np.zeros(dirac.spinor_shape, complex))


@pytest.mark.parametrize("n", GROUPS)
def test_a_chain_has_the_same_bits_alone_and_in_any_batch(n):
    rng = np.random.default_rng(10)
    for chains in (37, 200):  # 200 chains of this size go by in two slabs
        x = links(rng, n, chains, (4, 6))
        dirac = wilson_dirac(x, KAPPA)
        psi = spinor(rng, dirac)
        together = dirac.apply(psi)
        for k in (1, 2):
            parts = [slice(c, c + k) for c in range(0, chains, k)]
            alone = np.concatenate([wilson_dirac(x[part], KAPPA).apply(psi[part]) for part in parts])
            np.testing.assert_array_equal(alone, together)


def test_arguments_are_not_modified():
    rng = np.random.default_rng(11)
    for n in GROUPS:
        x = links(rng, n, 2, (2, 4))
        kept = x.copy()
        dirac = wilson_dirac(x, KAPPA)
        psi = spinor(rng, dirac)
        kept_psi = psi.copy()
        dirac.apply(psi), dirac.adjoint(psi), dirac.schur(psi), gamma5(psi), dense_matrix(dirac)
        np.testing.assert_array_equal(x, kept)
        np.testing.assert_array_equal(psi, kept_psi)


@pytest.mark.parametrize("kappa", [-0.1, np.nan, np.inf, "a"])
def test_kappa_out_of_range_is_named(kappa):
    with pytest.raises(ValueError, match=r"kappa: got .*, expected a finite number >= 0"):
        wilson_dirac(np.zeros((1, 2, 2, 2)), kappa)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 2, 2)), ValueError, r"x: got shape \(1, 2, 2\), expected \(chain, 2, T, X\) or"),
        (np.zeros((1, 2, 2, 2, 1, 1)), ValueError, r"x: got shape \(1, 2, 2, 2, 1, 1\), expected"),
        (np.zeros((0, 2, 2, 2, 3, 3)), ValueError, r"x: got shape \(0, 2, 2, 2, 3, 3\), expected"),
        (np.zeros((1, 2, 1, 2)), ValueError, "shape: got extent T = 1"),
        (np.zeros((1, 2, 2, 1, 2, 2), complex), ValueError, "shape: got extent X = 1"),
        (np.zeros((1, 2, 2, 2), np.float32), TypeError, "x: got dtype float32, expected float64"),
        (np.zeros((1, 2, 2, 2, 2, 2)), TypeError, "x: got dtype float64, expected complex128"),
        (np.full((1, 2, 2, 2), np.nan), ValueError, "x: got nan among the links, expected finite"),
        (np.full((1, 2, 2, 2, 2, 2), np.inf + 0j), ValueError, "x: got .*inf.* among the links, expected finite"),
        (np.zeros((1, 2, 2, 2, 2, 2), complex), ValueError, r"x: got a link with .* = 1.0e\+00, expected unitary"),
    ],
)
def test_bad_links_are_named(x, error, message):
    with pytest.raises(error, match=message):
        wilson_dirac(x, KAPPA)


def test_bad_spinors_are_named():
    dirac = wilson_dirac(np.zeros((2, 2, 2, 3)), KAPPA)
    with pytest.raises(ValueError, match=r"psi: got shape \(2, 2, 3\), expected \(2, 2, 3, 2\)"):
        dirac.apply(np.zeros((2, 2, 3), complex))
    with pytest.raises(TypeError, match="psi: got dtype float64, expected complex128"):
        dirac.adjoint(np.zeros((2, 2, 3, 2)))
