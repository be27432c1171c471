"""SU(N): Haar moments, algebra, exponential against eigenvectors, logarithm, projection, and the interface that U(1) shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl.groups import SUN, U1
from refimpl.groups.matrices import components, field
from refimpl.validation.strategies import memory_orders

from .links import algebra_elements

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

U = 2.0**-53
SIZES = [2, 3, 4]
GELL_MANN = {
    0: [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    1: [[0, -1j, 0], [1j, 0, 0], [0, 0, 0]],
    2: [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
    4: [[0, 0, -1j], [0, 0, 0], [1j, 0, 0]],
    5: [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
    7: np.diag([1, 1, -2]) / np.sqrt(3),
}


def dagger(u):
    return u.conj().swapaxes(-2, -1)


def rounding(w):
    # Eigenvalues of w_a T_a are at most |w|; an eigensolver, and the closed forms, err by some ten roundings of them and of 1.
    return 40 * U * (1 + np.abs(w).sum(axis=-1).max())


# --- Haar measure ------------------------------------------------------------------------------------------------------
def test_haar_su3_has_the_moments_that_catch_a_skipped_phase():
    # <|tr|^2> = 1, <|tr|^4> = 2, <Re tr^3> = 1: numbers of invariants in products of 3 and 3bar. Five standard errors.
    count = 40_000
    t = np.einsum("cii->c", SUN(3).haar(np.random.default_rng(1), (count,)))
    for value, expected in ((np.abs(t) ** 2, 1), (np.abs(t) ** 4, 2), ((t**3).real, 1)):
        assert abs(value.mean() - expected) < 5 * value.std() / np.sqrt(count)


@pytest.mark.parametrize(("n", "fourth"), [(2, 2), (4, 2)])
def test_haar_moments_of_the_trace(n, fourth):
    # <|tr|^4> = 2 for every n >= 2: two irreducible parts in n x n.
    count = 20_000
    t = np.abs(np.einsum("cii->c", SUN(n).haar(np.random.default_rng(2), (count,))))
    for value, expected in ((t**2, 1), (t**4, fourth)):
        assert abs(value.mean() - expected) < 5 * value.std() / np.sqrt(count)


@pytest.mark.parametrize("n", SIZES)
def test_haar_elements_are_in_the_group_whatever_the_shape(n):
    for shape in ((), (3,), (2, 2, 3)):
        u = SUN(n).haar(np.random.default_rng(3), shape)
        assert u.shape == (*shape, n, n)
        # Householder QR of an n x n matrix is unitary to some n^2 roundings.
        assert np.abs(dagger(u) @ u - np.eye(n)).max() < 100 * U
        assert np.abs(np.linalg.det(u) - 1).max() < 100 * U


# --- algebra -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", SIZES)
def test_generators_are_hermitian_traceless_and_normalised(n):
    basis = SUN(n).basis
    assert basis.shape == (n * n - 1, n, n)
    assert np.array_equal(basis, dagger(basis))
    # n terms of size at most 1/2, square roots rounded.
    assert np.abs(np.trace(basis, axis1=1, axis2=2)).max() < 2 * n * U
    assert np.abs(np.einsum("aij,bji->ab", basis, basis) - np.eye(n * n - 1) / 2).max() < 2 * n * U


def test_generators_of_su2_and_su3_are_half_of_pauli_and_gell_mann():
    pauli = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
    assert np.array_equal(SUN(2).basis, np.array(pauli) / 2)
    for a, matrix in GELL_MANN.items():
        assert np.abs(SUN(3).basis[a] - np.array(matrix) / 2).max() < 2 * U


@QUICK
@given(st.sampled_from(SIZES), st.data())
def test_coordinates_invert_algebra(n, data):
    group, w = SUN(n), data.draw(algebra_elements(n))
    q = group.algebra(w)
    np.testing.assert_allclose(q, np.einsum("ca,aij->cij", w, group.basis), rtol=0, atol=rounding(w) / 4)
    np.testing.assert_allclose(group.coordinates(q), w, rtol=0, atol=rounding(w) / 4)
    shifted = q + 0.5 * np.eye(n)
    np.testing.assert_allclose(group.coordinates(shifted), w, rtol=0, atol=rounding(w))


# --- exponential and logarithm -----------------------------------------------------------------------------------------
@QUICK
@given(st.sampled_from(SIZES), st.data())
def test_exp_is_that_of_the_eigenvalues_even_where_they_are_equal(n, data):
    group, w = SUN(n), data.draw(algebra_elements(n))
    u = group.exp(data.draw(memory_orders(w)))
    np.testing.assert_allclose(u, group.exp_definition(w), rtol=0, atol=rounding(w))
    np.testing.assert_allclose(dagger(u) @ u, np.broadcast_to(np.eye(n), u.shape), rtol=0, atol=rounding(w))
    np.testing.assert_allclose(group.inverse(u), group.exp(-w), rtol=0, atol=rounding(w))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("size", [1e-12, 1e-6])
def test_exp_of_a_small_element_is_one_plus_it(n, size):
    w = size * np.random.default_rng(4).standard_normal((10, n * n - 1))
    # The second order, |w|^2/2 in norm, and rounding of the unit.
    difference = SUN(n).exp(w) - np.eye(n) - 1j * SUN(n).algebra(w)
    assert np.abs(difference).max() < (w**2).sum(axis=1).max() + 20 * U


def test_exp_by_hand():
    u = SUN(2).exp(np.array([0, 0, np.pi]))
    assert np.abs(u - np.diag([1j, -1j])).max() < 4 * U  # exp(i pi sigma_3/2)
    centre = SUN(3).exp(np.array([0, 0, 0, 0, 0, 0, 0, 4 * np.pi / np.sqrt(3)]))
    assert np.abs(centre - np.exp(2j * np.pi / 3) * np.eye(3)).max() < 40 * U  # an element of the centre; |w| = 7


@QUICK
@given(st.sampled_from(SIZES), st.integers(0, 10**6))
def test_log_inverts_exp_and_is_the_shortest(n, seed):
    group = SUN(n)
    u = group.haar(np.random.default_rng(seed), (3,))
    w = group.log(u)
    np.testing.assert_allclose(group.exp(w), u, rtol=0, atol=2 * rounding(w))
    # No eigenphase is 2 pi away from another, or swapping them would be shorter.
    values = np.linalg.eigvalsh(group.algebra(w))
    assert np.all(values[:, -1] - values[:, 0] <= 2 * np.pi + 1e-12)
    small = 0.1 * w
    np.testing.assert_allclose(group.log(group.exp(small)), small, rtol=0, atol=2 * rounding(w))


def test_log_of_elements_with_equal_eigenvalues():
    for diagonal in ([1, 1, 1], [-1, -1, 1], [1j, 1j, -1]):
        u = np.diag(np.array(diagonal, np.complex128))
        # Eigenphases up to pi, to a few roundings.
        assert np.abs(SUN(3).exp(SUN(3).log(u)) - u).max() < 40 * U


# --- product and projection --------------------------------------------------------------------------------------------
@QUICK
@given(st.sampled_from(SIZES), st.integers(0, 10**6), st.integers(1, 40), st.data())
def test_the_unrolled_product_is_matmul_in_any_memory_order(n, seed, sites, data):
    u, v = SUN(n).haar(np.random.default_rng(seed), (2, sites))
    got = SUN(n).multiply(data.draw(memory_orders(u)), data.draw(memory_orders(v)))
    # 2n products of numbers of at most 1, added.
    np.testing.assert_allclose(got, u @ v, rtol=0, atol=8 * n * U)


@pytest.mark.parametrize("n", SIZES)
def test_a_matrix_has_the_same_bits_in_any_batch(n):
    group, rng = SUN(n), np.random.default_rng(5)
    u, w = group.haar(rng, (70,)), rng.standard_normal((70, n * n - 1))
    moved = u.copy()
    group.rotate(moved, w)
    for i in (0, 1, 37, 69):
        alone = u[i : i + 1].copy()
        group.rotate(alone, w[i : i + 1])
        assert np.array_equal(alone[0], moved[i])
        assert np.array_equal(group.reunitarised(u[i : i + 1])[0], group.reunitarised(u)[i])


@pytest.mark.parametrize("n", SIZES)
def test_project_gives_the_element_that_was_disturbed(n):
    group, rng = SUN(n), np.random.default_rng(6)
    u = group.haar(rng, (50,))
    q = group.algebra(rng.standard_normal((50, n * n - 1)))
    stretched = u @ (3 * np.eye(n) + 0.1 * q)  # polar form: unitary times positive
    assert np.abs(group.project(stretched) - u).max() < 400 * U  # condition number below 2, an SVD
    phase = np.exp(0.3j / n)
    assert np.abs(group.project(phase * stretched) - u).max() < 400 * U


@pytest.mark.parametrize("n", SIZES)
def test_reunitarised_squares_the_deviation(n):
    group, rng = SUN(n), np.random.default_rng(7)
    u = group.haar(rng, (50,))
    noise = rng.standard_normal((2, 50, n, n))
    for size in (1e-4, 1e-7, 1e-12):
        off = u + size * (noise[0] + 1j * noise[1])
        # Norm of the noise at most 20; the quadratic remainders have factors below 1.
        assert np.abs(group.reunitarised(off) - group.project(off)).max() < 400 * size**2 + 40 * U


# --- interface ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3)], ids=["u1", "su2", "su3"])
def test_the_groups_share_one_interface(group):
    u = group.haar(np.random.default_rng(8), (4, 3))
    v = group.haar(np.random.default_rng(9), (4, 3))
    group.check(u)
    assert group.log(u).shape[:2] == (4, 3)

    def distance(a, b):
        return np.abs(group.log(group.project(group.multiply(a, group.inverse(b))))).max()

    # Rounding of angles up to pi, or of the Schur form.
    assert distance(group.exp(group.log(u)), u) < 100 * U
    assert distance(group.multiply(group.multiply(u, v), group.inverse(v)), u) < 100 * U
    assert distance(group.project(u), u) < 100 * U


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (4, 2, 3, 5)])
def test_components_and_back(shape):
    u = SUN(2).haar(np.random.default_rng(10), shape)
    assert components(u, 2).shape == (2, 2, *shape[1:], *shape[:1])
    assert np.array_equal(field(components(u, 2), 2), u)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SUN(1), ValueError, "n: got 1, expected an integer of at least 2"),
        (lambda: SUN(2).check(np.eye(2)), TypeError, "u: got dtype float64, expected complex128"),
        (lambda: SUN(3).check(np.eye(2) + 0j, "x"), ValueError, r"x: got shape \(2, 2\), expected \(..., 3, 3\)"),
        (lambda: SUN(2).check(np.ones((0, 2, 2)) + 0j), ValueError, "expected at least one matrix"),
        (lambda: SUN(2).check(1.001 * np.eye(2) + 0j), ValueError, "U.dag U off 1 by 0.002, expected elements of SU"),
        (lambda: SUN(2).check(1j * np.eye(2)), ValueError, "det U off 1 by 2"),
        (lambda: SUN(2).check(np.full((2, 2), np.nan + 0j)), ValueError, "off 1 by nan"),
        (lambda: SUN(2).exp(np.zeros(4)), ValueError, r"w: got shape \(4,\), expected \(..., 3\)"),
        (lambda: SUN(2).exp(np.zeros(3, np.float32)), TypeError, "w: got dtype float32"),
        (lambda: U1().check(np.zeros(3, np.float32)), TypeError, "u: got dtype float32"),
        (lambda: U1().check(np.array([np.inf])), ValueError, "u: got NaN or infinite"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
