"""Exact SU(2), SU(3): against Weyl quadrature, closed forms, strong coupling, finite differences; the sampler against all of it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import iv

from refimpl.exact import sun
from refimpl.groups import SUN
from refimpl.groups.links import check_matrix_links, plaquettes_definition
from refimpl.kernels import spawn_rngs
from refimpl.observables import mean_plaquette, wilson_loop

BETAS = st.floats(0.1, 12.0)
POINTS = 96  # equispaced, exact for trigonometric polynomials of less than this degree: exp(12 cos) falls below 1e-30 long before


@functools.lru_cache
def weyl_grid(n):
    """Eigenphases of SU(n) on a grid, and their weights in Haar measure (Weyl)."""
    axis = 2 * np.pi * np.arange(POINTS) / POINTS
    free = np.stack(np.meshgrid(*[axis] * (n - 1), indexing="ij"), axis=-1).reshape(-1, n - 1)
    z = np.exp(1j * np.concatenate([free, -free.sum(axis=1, keepdims=True)], axis=1))
    weight = np.prod([np.abs(z[:, i] - z[:, j]) ** 2 for j in range(n) for i in range(j)], axis=0)
    return z, weight / weight.sum()


def character(rows, z):
    """Schur polynomial of a Young diagram by the Jacobi-Trudi determinant of complete symmetric polynomials."""
    n = len(rows)
    h = [np.ones(len(z), np.complex128)]
    power_sums = [np.sum(z**k, axis=1) for k in range(1, rows[0] + n)]
    for m in range(1, rows[0] + n):
        h.append(sum(power_sums[k - 1] * h[m - k] for k in range(1, m + 1)) / m)
    entry = [[h[rows[i] - i + j] if rows[i] - i + j >= 0 else 0 * h[0] for j in range(n)] for i in range(n)]
    return np.linalg.det(np.moveaxis(np.array(entry), -1, 0))


@functools.lru_cache
def diagrams(n, length=14):
    rows = [(a, 0) for a in range(length)] if n == 2 else [(a, b, 0) for a in range(length) for b in range(a + 1)]
    z, weight = weyl_grid(n)
    return rows, np.array([weight * character(r, z).conj() for r in rows])


def quadrature(beta, n):
    """``a_r``, ``a_r'`` and ``a_r''`` of the leading representations by Weyl quadrature, divided by ``exp(beta)``."""
    rows, projections = diagrams(n)
    real_trace = weyl_grid(n)[0].real.sum(axis=1) / n
    density = np.exp(beta * (real_trace - 1))
    d = np.array([sun.dimension(r) for r in rows])
    return [(projections @ (density * real_trace**k)).real / d for k in range(3)]


# Rounding of sums over the grid against representations that count, and what the cut at length 14 leaves of a_r^4 at beta = 12.
QUADRATURE = 1e-11


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 3]), BETAS, st.sampled_from([(2, 2), (2, 3), (4, 4), (8, 8)]))
def test_every_average_equals_weyl_quadrature(n, beta, shape):
    volume = shape[0] * shape[1]
    a, slope, curvature = quadrature(beta, n)
    seen = a > 1e-9 * a[0]  # others are of the size of the quadrature's rounding, and to the power V they are nothing
    a, slope, curvature = a[seen], slope[seen], curvature[seen]
    weights = (a / a[0]) ** volume
    w = weights / weights.sum()
    mean, square = w @ (slope / a), w @ (curvature / a)
    log_z = volume * (beta + np.log(a[0])) + np.log(weights.sum())
    assert abs(sun.log_partition(beta, shape, n) - log_z) < QUADRATURE * volume * (1 + beta)
    assert abs(sun.plaquette(beta, shape, n) - mean) < QUADRATURE
    assert abs(sun.single_plaquette_variance(beta, shape, n) - (square - mean**2)) < QUADRATURE
    covariance = w @ (slope / a - mean) ** 2
    assert abs(sun.plaquette_covariance(beta, shape, n) - covariance) < QUADRATURE
    variance = (square - mean**2 + (volume - 1) * covariance) / volume
    assert abs(sun.plaquette_variance(beta, shape, n) - variance) < QUADRATURE


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 60.0), st.sampled_from([(2, 2), (3, 5), (8, 8)]))
def test_su2_by_modified_bessel_functions(beta, shape):
    # a_n = 2 I_n(beta)/beta for n = 1, 2, ...: scipy's I_n to some 1e-14 relative, to the power V.
    volume = shape[0] * shape[1]
    log_a = np.log(2 * iv(np.arange(1, 60), beta) / beta)
    log_z = volume * log_a[0] + np.log(np.exp(volume * (log_a - log_a[0])).sum())
    assert abs(sun.log_partition(beta, shape, 2) - log_z) < 1e-13 * volume * (1 + beta)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([2, 3]), BETAS, st.sampled_from([(2, 2), (3, 4)]))
def test_answers_are_derivatives_of_each_other(n, beta, shape):
    volume, h = shape[0] * shape[1], 1e-3
    log_z = {k: sun.log_partition(beta + k * h, shape, n) for k in (-2, -1, 0, 1, 2)}
    first = (8 * (log_z[1] - log_z[-1]) - (log_z[2] - log_z[-2])) / (12 * h)
    second = (16 * (log_z[1] + log_z[-1]) - (log_z[2] + log_z[-2]) - 30 * log_z[0]) / (12 * h**2)
    # h^4 times high cumulants of V plaquettes (below V^2), and rounding of log Z (some V beta) over h and h^2.
    assert abs(sun.plaquette(beta, shape, n) * volume - first) < h**4 * volume**2 + 2e-16 * volume * 12 * 4 / h
    assert (
        abs(sun.plaquette_variance(beta, shape, n) * volume**2 - second)
        < h**4 * volume**2 + 2e-16 * volume * 300 / h**2
    )


@pytest.mark.parametrize("n", [2, 3])
def test_strong_coupling(n):
    beta, shape = 1e-5, (2, 3)
    # a_f = beta/2n^2 to leading order (beta/n^2 for SU(2), where the trace is its conjugate), the next smaller by beta.
    leading = beta / (4 if n == 2 else 2 * n * n)
    assert abs(sun.plaquette(beta, shape, n) / leading - 1) < beta
    assert abs(sun.wilson_loop(beta, shape, 2, n) / leading**2 - 1) < 2 * beta
    assert sun.plaquette(0.0, shape, n) == 0
    assert sun.log_partition(0.0, shape, n) == 0


@pytest.mark.parametrize("n", [2, 3])
def test_wilson_loops_at_the_ends(n):
    for beta in (0.0, 0.5, 6.0):
        assert sun.wilson_loop(beta, (2, 3), 0, n) == 1
        # One plaquette; both are rounded once, from sums of positive terms.
        assert abs(sun.wilson_loop(beta, (2, 3), 1, n) - sun.plaquette(beta, (2, 3), n)) < 1e-15
    # Around all plaquettes the loop is the commutator of the holonomies, for a free field Haar: <tr [a, b]>/n = 1/n^2.
    assert abs(sun.wilson_loop(0.0, (2, 3), 6, n) - 1 / n**2) < 1e-15


def test_the_area_law_of_a_large_lattice():
    # All weight is in the trivial representation, where W(A) = (a_f/a_0)^A; the next is (0.42)^64 times less at SU(3), beta = 6.
    for n, power in ((2, 1e-7), (3, 1e-20)):
        p = sun.plaquette(6.0, (8, 8), n)
        assert abs(sun.wilson_loop(6.0, (8, 8), 4, n) / p**4 - 1) < power + 1e-14


def test_reference_numbers():
    # From these series in 70 digits; the plaquettes agree with Weyl quadrature to 1e-14.
    assert abs(sun.plaquette(6.0, (8, 8), 2) - 0.7627260771816493) < 1e-15
    assert abs(sun.plaquette(6.0, (8, 8), 3) - 0.4225317396499835) < 1e-15


# --- sampler -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "beta"), [(2, 0.0), (2, 6.0), (3, 6.0), (3, 40.0)])
def test_single_plaquettes_have_their_density(n, beta):
    count = 30_000
    p = sun.sample_plaquettes(np.random.default_rng(1), count, beta, n)
    SUN(n).check(p)
    # In a large volume the plaquettes are free of each other. Moments of the trace, five standard errors.
    real, trace = np.einsum("cii->c", p).real / n, np.einsum("cii->c", p)
    mean = sun.plaquette(beta, (30, 30), n)
    second = sun.single_plaquette_variance(beta, (30, 30), n) + mean**2
    for values, expected in ((real, mean), (real**2, second), (trace.imag, 0.0)):
        assert abs(values.mean() - expected) <= 5 * values.std() / np.sqrt(count) + 1e-15
    # Eigenvectors are Haar: a diagonal element is like one in any other direction.
    values = np.abs(p[:, 0, 0]) ** 2 - np.abs(p.mean(axis=(1, 2)) * n) ** 2
    for part in (values, p[:, 0, 0].real - p[:, -1, -1].real):
        assert abs(part.mean()) <= 5 * part.std() / np.sqrt(count) + 1e-15


def test_the_envelope_is_above_the_density():
    rng = np.random.default_rng(2)
    for n, beta in ((2, 5.0), (3, 0.0), (3, 9.0)):
        _, bound, cells = sun._envelope(beta, n)
        free = rng.uniform(-np.pi, np.pi, (200_000, n - 1))
        theta = np.concatenate([free, -free.sum(axis=1, keepdims=True)], axis=1)
        cell = np.ravel_multi_index(tuple(((free + np.pi) / (2 * np.pi) * cells).astype(int).T), (cells,) * (n - 1))
        assert np.all(sun._weyl(theta, beta) <= bound[cell])


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_density_of_a_product_is_the_character_expansion(n, m):
    beta = 1.5
    rows, _ = diagrams(n)
    u = SUN(n).haar(np.random.default_rng(5), (50,))
    d = np.array([sun.dimension(r) for r in rows])
    weights = d * (quadrature(beta, n)[0] / quadrature(beta, n)[0][0]) ** m
    characters = np.array([character(r, np.linalg.eigvals(u)).real for r in rows])
    # Weights of 1e-14 of the largest and determinants of size d^2: rounding, and what the cut at length 14 leaves at beta = 1.5.
    np.testing.assert_allclose(
        sun._product_density(u, beta, n, m), weights @ characters / (weights @ d), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(
    ("n", "beta", "shape", "count", "each"),
    [
        (2, 3.0, (2, 3), 6000, False),
        (2, 8.0, (2, 2), 2000, True),
        (3, 3.0, (3, 2), 5000, False),
        (3, 3.0, (2, 2), 1500, True),
    ],
)
def test_the_sampler_has_the_exact_averages(n, beta, shape, count, each):
    x = sun.sample(spawn_rngs(3, count) if each else np.random.default_rng(3), count, beta, shape, n)
    assert x.shape == (count, 2, *shape, n, n)
    check_matrix_links(x, n)
    mean = mean_plaquette(x)
    exact, variance = sun.plaquette(beta, shape, n), sun.plaquette_variance(beta, shape, n)
    assert abs(mean.mean() - exact) < 5 * np.sqrt(variance / count)
    square = (mean - exact) ** 2
    assert abs(square.mean() - variance) < 5 * square.std() / np.sqrt(count)
    # Every plaquette, the last as the first, and their covariance.
    p = np.einsum("ctxii->ctx", plaquettes_definition(x)).real / n
    sigma = np.sqrt(sun.single_plaquette_variance(beta, shape, n) / count)
    assert np.abs(p.mean(axis=0) - exact).max() < 5 * sigma
    for extent_t, extent_x in ((1, 2), (2, 1)):
        if extent_t * extent_x < shape[0] * shape[1] and (extent_t < shape[0] and extent_x < shape[1]):
            loops = wilson_loop(x, extent_t, extent_x)
            assert abs(loops.mean() - sun.wilson_loop(beta, shape, 2, n)) < 5 * loops.std() / np.sqrt(count)
    # Gauge: a single link has no direction.
    links = np.einsum("cmtxii->cmtx", x)
    assert np.abs(links.mean(axis=0)).max() < 5 * np.sqrt(1 / count)  # <|tr|^2> = 1


@pytest.mark.parametrize("n", [2, 3])
def test_a_generator_each_makes_the_configuration_that_it_makes_alone(n):
    together = sun.sample(spawn_rngs(3, 7), 7, 3.0, (2, 3), n)
    alone = np.concatenate([sun.sample([rng], 1, 3.0, (2, 3), n) for rng in spawn_rngs(3, 7)])
    assert np.array_equal(together, alone)
    assert len(np.unique(together[:, 0, 0, 0, 0, 0])) == 7


@pytest.mark.parametrize("n", [2, 3])
def test_haar_links_of_a_generator_each(n):
    together = SUN(n).haar(spawn_rngs(3, 5), (5, 2, 3))
    alone = np.concatenate([SUN(n).haar(rng, (1, 2, 3)) for rng in spawn_rngs(3, 5)])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sun.plaquette(1.0, (4, 4), 4), "n: got 4, expected 2 or 3"),
        (lambda: sun.plaquette(1.0, (4, 1), 3), "shape: got"),
        (lambda: sun.plaquette(-1.0, (4, 4), 3), "beta: got -1.0"),
        (lambda: sun.plaquette(1e3, (4, 4), 3), "beta: got 1000.0, expected at most 100"),
        (lambda: sun.wilson_loop(1.0, (4, 4), 17, 2), "area: got 17"),
        (lambda: sun.sample_plaquettes(np.random.default_rng(1), 1, 1.0, 4), "n: got 4, expected 2 or 3"),
        (lambda: sun.sample(np.random.default_rng(1), 0, 1.0, (2, 2), 2), "count: got 0"),
        (
            lambda: sun.sample(spawn_rngs(1, 3), 2, 1.0, (2, 2), 2),
            "rng: got 3 generators, expected one per configuration",
        ),
        (
            lambda: sun.sample(np.random.default_rng(1), 1, 50.0, (2, 2), 3),
            "beta: got 50, where a pair of plaquettes takes",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
