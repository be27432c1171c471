"""Elimination of time slices: determinant and inverse against the whole matrix, and where it gives way to it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from refimpl import exact
from refimpl.actions import link_response, log_determinant, wilson_dirac
from refimpl.actions.determinant import dense_traces, determinant_and_response
from refimpl.actions.dirac import slices as dirac_slices
from refimpl.actions.dirac.slices import eliminated

from .gauge_fields import links

SHAPES = [(2, 2), (2, 3), (3, 2), (5, 4), (8, 2), (7, 3)]
GROUPS = [1, 2, 3]
KAPPA = 0.25
# Some twenty products of matrices of at most 42 rows, inverses of size one (g, G < 3), in roundings of 1e-16.
ROUNDING = 1e-13


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_determinant_and_inverse_are_those_of_the_whole_matrix(shape, n, antiperiodic):
    dirac = wilson_dirac(links(np.random.default_rng(1), n, 3, shape), KAPPA, antiperiodic=antiperiodic)
    slices = eliminated(dirac)
    assert slices.reliable.all()
    log, sign = log_determinant(dirac, "dense")
    got_log, got_sign = slices.log_determinant()
    np.testing.assert_allclose(got_log, log, rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(got_sign, sign)
    np.testing.assert_allclose(slices.traces(), dense_traces(dirac), rtol=0, atol=ROUNDING)


def test_chains_that_would_lose_digits_go_to_the_whole_matrix(monkeypatch):
    # Far beyond the physical hopping parameters slices alone may be nearly singular where D is not.
    dirac = wilson_dirac(links(np.random.default_rng(2), 1, 300, (4, 4)), 0.5)
    monkeypatch.setattr(dirac_slices, "GROWTH", 1e5)
    reliable = eliminated(dirac).reliable
    assert 10 < reliable.sum() < 290
    log, sign = log_determinant(dirac)
    expected, expected_sign = log_determinant(dirac, "dense")
    traces = dense_traces(dirac)
    together, response = determinant_and_response(dirac)
    np.testing.assert_array_equal(log[~reliable], expected[~reliable])
    np.testing.assert_array_equal(response[~reliable], (dirac.links * traces)[~reliable])
    # The promise of GROWTH, relative to the inverse.
    bound = 1e5 * 2.0**-52 * np.maximum(1, np.abs(traces).max((1, 2, 3, 4, 5)))
    assert (np.abs(log - expected) < bound).all()
    assert (np.abs(response - dirac.links * traces).max((1, 2, 3, 4, 5)) < bound).all()
    np.testing.assert_array_equal(sign, expected_sign)
    np.testing.assert_array_equal(together, log)
    np.testing.assert_array_equal(response, link_response(dirac))


@pytest.mark.parametrize("n", GROUPS)
def test_a_chain_has_the_same_bits_alone_and_in_any_batch(n):
    x = links(np.random.default_rng(3), n, 11, (4, 5))
    together, response = determinant_and_response(wilson_dirac(x, KAPPA))
    for chain in range(11):
        log, alone = determinant_and_response(wilson_dirac(x[chain : chain + 1], KAPPA))
        np.testing.assert_array_equal(log, together[chain : chain + 1])
        np.testing.assert_array_equal(alone, response[chain : chain + 1])


@pytest.mark.parametrize("n_t", [8, 16])
def test_what_passes_near_singular_slices_is_right(n_t):
    # Weak fields near kappa = 1/2: each slice is nearly singular, and growths of all levels multiply to errors of 1e22.
    z, passed = np.random.default_rng(5).standard_normal((160 // n_t, 2, n_t, 4)), 0
    # GROWTH promises 1e8 roundings of 2e-16; of these fields none has more than 0.004 of its estimate, most far less, and the dense
    # inverse has some 1e-13. With GROWTH = 1e12 errors reach 7e-12 for both extents.
    bound = 4e-12
    for eps, kappa in product((0, 1e-8, 1e-4, 0.01, 0.1, 0.3, 1), (0.49, 0.495, 0.5, 0.505, 0.51)):
        dirac = wilson_dirac(eps * z, kappa)
        slices = eliminated(dirac)
        ok = slices.reliable
        passed += ok.sum()
        if not ok.any():
            continue
        traces, expected = slices.traces()[ok], dense_traces(dirac)[ok]
        size = np.maximum(1, np.abs(expected).max((1, 2, 3, 4, 5)))
        assert (np.abs(traces - expected).max((1, 2, 3, 4, 5)) < bound * size).all()
        assert (np.abs(slices.log_determinant()[0] - log_determinant(dirac, "dense")[0])[ok] < bound).all()
    assert passed > 10


def test_thermal_fields_stay_with_the_slices():
    x = exact.u1.sample(np.random.default_rng(6), 500, 2.0, (8, 8))
    assert eliminated(wilson_dirac(x, 0.265)).reliable.all()


def test_a_singular_slice_leaves_other_chains_alone():
    # At kappa = 1/2 the constant spinor is a zero mode of a free slice, of two sites by itself; on four slices D is regular.
    x = links(np.random.default_rng(4), 1, 3, (4, 2))
    x[1] = 0
    dirac = wilson_dirac(x, 0.5)
    np.testing.assert_array_equal(eliminated(dirac).reliable, [True, False, True])
    np.testing.assert_array_equal(log_determinant(dirac)[0][1], log_determinant(dirac, "dense")[0][1])
    assert np.isfinite(link_response(dirac)).all()
