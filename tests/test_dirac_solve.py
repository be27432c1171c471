"""Solvers of the Wilson-Dirac operator: every method on every group, chains by themselves, failures that say so."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.actions import SolverError, WilsonDirac, gamma5, solve, wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix

from .gauge_fields import links, spinor

KAPPA = 0.265


@pytest.mark.parametrize("method", ["auto", "dense", "sparse", "cg"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (4, 6)])
def test_every_method_finds_the_solution(shape, n, method):
    rng = np.random.default_rng(1)
    dirac = wilson_dirac(links(rng, n, 3, shape), KAPPA)
    psi = spinor(rng, dirac)
    matrix = dense_matrix(dirac)
    got = solve(dirac, dirac.apply(psi), method, tolerance=1e-12)
    condition = np.linalg.cond(matrix).max()
    error = np.linalg.norm((got - psi).reshape(3, -1), axis=1) / np.linalg.norm(psi.reshape(3, -1), axis=1)
    assert error.max() < condition * 1.1e-12  # the residual that is promised, and rounding


@pytest.mark.parametrize("method", ["dense", "sparse", "cg"])
def test_the_adjoint_is_solved_through_gamma5(method):
    rng = np.random.default_rng(2)
    dirac = wilson_dirac(links(rng, 2, 2, (4, 4)), KAPPA)
    b = spinor(rng, dirac)
    psi = gamma5(solve(dirac, gamma5(b), method))
    assert np.linalg.norm(dirac.adjoint(psi) - b) < 2e-10 * np.linalg.norm(b)  # of two chains, 1e-10 each


@pytest.mark.parametrize("method", ["dense", "sparse", "cg"])
def test_a_chain_has_the_same_bits_alone_and_in_any_batch(method):
    rng = np.random.default_rng(3)
    x = links(rng, 1, 7, (4, 6))
    dirac = wilson_dirac(x, KAPPA)
    b = spinor(rng, dirac)
    alone = [solve(wilson_dirac(x[c : c + 1], KAPPA), b[c : c + 1], method)[0] for c in range(7)]
    np.testing.assert_array_equal(alone, solve(dirac, b, method))


@pytest.mark.parametrize("method", ["dense", "sparse", "cg"])
def test_zero_is_solved_by_zero_among_other_chains(method):
    rng = np.random.default_rng(4)
    dirac = wilson_dirac(links(rng, 1, 3, (4, 4)), KAPPA)
    b = spinor(rng, dirac)
    b[1] = 0
    np.testing.assert_array_equal(solve(dirac, b, method)[1], 0)


def test_large_lattices_take_the_sparse_method_by_themselves():
    rng = np.random.default_rng(5)
    dirac = wilson_dirac(links(rng, 1, 1, (12, 12)), KAPPA)
    b = spinor(rng, dirac)
    np.testing.assert_array_equal(solve(dirac, b), solve(dirac, b, "sparse"))
    small = wilson_dirac(links(rng, 1, 1, (8, 8)), KAPPA)
    b = spinor(rng, small)
    np.testing.assert_array_equal(solve(small, b), solve(small, b, "dense"))


@pytest.mark.parametrize("method", ["dense", "sparse", "cg"])
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (3, 4)])
def test_a_singular_operator_is_an_error(shape, method):
    dirac = wilson_dirac(np.zeros((2, 2, *shape)), 0.25, antiperiodic=False)
    with pytest.raises(SolverError, match="singular"):
        solve(dirac, np.ones(dirac.spinor_shape, complex), method)


@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_a_pivot_of_exactly_zero_is_the_same_error(method):
    links = np.zeros((1, 2, 2, 2, 1, 1), complex)
    links[:, 0] = 1  # no gauge field: hops in time only, so that D = 1 - (swap of two sites) at kappa = 1/2
    with pytest.raises(SolverError, match="got a singular operator, expected a regular one"):
        solve(WilsonDirac(links, 0.5), np.ones((1, 2, 2, 2), complex), method)


def test_too_few_iterations_are_an_error_that_names_the_chain():
    rng = np.random.default_rng(6)
    dirac = wilson_dirac(links(rng, 1, 3, (4, 4)), KAPPA)
    b = spinor(rng, dirac)
    b[0] = 0
    with pytest.raises(SolverError, match=r"in chain 1 by 'cg', expected at most 1e-10 .* max_iterations = 3"):
        solve(dirac, b, "cg", max_iterations=3)


@pytest.mark.parametrize("method", ["dense", "cg"])
def test_a_right_hand_side_that_is_not_finite_is_an_error(method):
    dirac = wilson_dirac(np.zeros((1, 2, 2, 2)), KAPPA)
    b = np.full(dirac.spinor_shape, np.nan + 0j)
    with pytest.raises(ValueError, match=r"b: got .*nan.*, expected finite numbers"):
        solve(dirac, b, method)


def test_bad_arguments_are_named():
    dirac = wilson_dirac(np.zeros((1, 2, 2, 2)), KAPPA)
    b = np.zeros(dirac.spinor_shape, complex)
    with pytest.raises(ValueError, match="method: got 'lu', expected one of auto, dense"):
        solve(dirac, b, "lu")
    with pytest.raises(ValueError, match="tolerance: got 0, expected"):
        solve(dirac, b, tolerance=0)
    with pytest.raises(ValueError, match="max_iterations: got 0, expected"):
        solve(dirac, b, max_iterations=0)
    with pytest.raises(ValueError, match=r"b: got shape \(2, 2, 2\), expected \(1, 2, 2, 2\)"):
        solve(dirac, b[0])
