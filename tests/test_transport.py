"""Parallel transport: convolutions site by site, the Dirac operator as one of them, equivariance, adjoints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions.dirac import SIGMA, signed_links, wilson_dirac
from refimpl.maps import transport
from refimpl.maps.pseudofermion_definition import gathered
from refimpl.validation.strategies import lattice_shapes

from .gauge_fields import generators
from .pseudofermion_flows import (
    COLOURS,
    complex_normal,
    gauge_field,
    gauge_transformation,
    rotated,
    site_convolution,
    transformed_links,
    transformed_spinors,
)

# Rounding of sums of up to 5 * 3 * 3 products of size 1 to 5.
ROUNDING = 1e-13


def inner(a, b):
    """``Re sum(conj(a) b)``."""
    return float(np.sum(np.conj(a) * b).real)


def convolved(moved, m, phi):
    """The fast form of one convolution, of spinors."""
    chains, n_t, n_x, features, n = phi.shape
    psi = phi.reshape(chains, n_t * n_x, features * n, 1)
    stencils = transport.stencils(m.reshape(chains, n_t * n_x, *m.shape[3:]), moved.u)
    out = stencils @ transport.gathered(psi, transport.neighbours((n_t, n_x)))
    return out.reshape(chains, n_t, n_x, m.shape[3], n)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from(COLOURS),
    shape=lattice_shapes(max_extent=4),
    features=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    antiperiodic=st.booleans(),
)
def test_convolutions_are_those_site_by_site(seed, n, shape, features, antiperiodic):
    rng = np.random.default_rng(seed)
    x = gauge_field(rng, n, shape)
    m = complex_normal(rng, (2, *shape, features[1], 5 * features[0]))
    phi = complex_normal(rng, (2, *shape, features[0], n))
    expected = site_convolution(x, m, phi, antiperiodic)
    assert (
        np.max(np.abs(convolved(transport.transport(x, antiperiodic=antiperiodic), m, phi) - expected)) < ROUNDING * 10
    )
    written = np.einsum("ctxhg,ctxga->ctxha", m, gathered(signed_links(x, antiperiodic=antiperiodic), phi))
    assert np.max(np.abs(written - expected)) < ROUNDING * 10


@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("shape", [(4, 6), (2, 2), (3, 2)])
@pytest.mark.parametrize("antiperiodic", [True, False])
def test_the_dirac_operator_is_a_convolution(n, shape, antiperiodic):
    rng = np.random.default_rng(n)
    x, kappa, one = gauge_field(rng, n, shape), 0.27, np.eye(2)
    blocks = [one] + [-kappa * (one + sign * SIGMA[mu]) for mu in (0, 1) for sign in (-1, 1)]
    m = np.broadcast_to(np.concatenate(blocks, axis=1), (2, *shape, 2, 10))
    phi = complex_normal(rng, (2, *shape, 2, n))
    dirac = wilson_dirac(x, kappa, antiperiodic=antiperiodic)
    expected = dirac.apply(phi.reshape(dirac.spinor_shape)).reshape(phi.shape)
    out = convolved(transport.transport(x, antiperiodic=antiperiodic), m, phi)
    assert np.max(np.abs(out - expected)) < ROUNDING


@pytest.mark.parametrize("n", COLOURS)
def test_convolutions_are_equivariant(n):
    rng = np.random.default_rng(10 + n)
    x, m, phi = gauge_field(rng, n, (4, 3)), complex_normal(rng, (2, 4, 3, 3, 10)), complex_normal(rng, (2, 4, 3, 2, n))
    g = gauge_transformation(rng, x)
    out = convolved(transport.transport(transformed_links(x, g)), m, transformed_spinors(phi, g))
    assert np.max(np.abs(out - transformed_spinors(convolved(transport.transport(x), m, phi), g))) < 10 * ROUNDING


@pytest.mark.parametrize("n", COLOURS)
def test_transporters_are_one_and_unitary(n):
    x = gauge_field(np.random.default_rng(20), n, (3, 4))
    moved = transport.transport(x)
    assert (moved.shape, moved.colours) == ((3, 4), n)
    assert moved.u.shape == (2, 12, 5, n, n)
    assert np.array_equal(moved.u[:, :, 0], np.broadcast_to(np.eye(n), (2, 12, n, n)))
    assert np.max(np.abs(moved.u @ moved.u.conj().swapaxes(-1, -2) - np.eye(n))) < ROUNDING
    # what goes there and back is 1
    there, back = transport.neighbours((3, 4))[[1, 3]], moved.u[:, :, [2, 4]]
    for d in (0, 1):
        assert np.max(np.abs(moved.u[:, :, 1 + 2 * d] @ back[:, there[d], d] - np.eye(n))) < ROUNDING


@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (2, 2)])
def test_the_pullback_of_gathering_is_its_adjoint(n, some, shape):
    rng = np.random.default_rng(30 + n)
    table = transport.neighbours(shape)
    table = table[:, rng.permutation(table.shape[1])[:3]] if some else table
    psi = complex_normal(rng, (2, shape[0] * shape[1], 2 * n, 4))
    seen = transport.gathered(psi, table)
    g = complex_normal(rng, seen.shape)
    back = transport.gathered_pullback(g, table, psi.shape[1])
    assert back.shape == psi.shape
    # sums of thousands of products
    assert abs(inner(g, seen) - inner(back, psi)) < 1e-11


@pytest.mark.parametrize("n", COLOURS)
def test_the_pullback_of_stencils_is_their_adjoint_in_each_argument(n):
    rng = np.random.default_rng(40 + n)
    m, u = complex_normal(rng, (2, 6, 3, 10)), complex_normal(rng, (2, 6, 5, n, n))
    g = complex_normal(rng, (2, 6, 3 * n, 10 * n))
    g_m, g_u = transport.stencils_pullback(m, u, g)
    assert (g_m.shape, g_u.shape) == (m.shape, u.shape)
    other_m, other_u = complex_normal(rng, m.shape), complex_normal(rng, u.shape)
    assert abs(inner(g, transport.stencils(other_m, u)) - inner(g_m, other_m)) < 1e-11
    assert abs(inner(g, transport.stencils(m, other_u)) - inner(g_u, other_u)) < 1e-11


@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("antiperiodic", [True, False])
def test_the_pullback_to_the_links_is_the_derivative(n, antiperiodic):
    rng = np.random.default_rng(50 + n)
    x = gauge_field(rng, n, (3, 4))
    moved = transport.transport(x, antiperiodic=antiperiodic)
    g = complex_normal(rng, moved.u.shape)
    force = moved.pullback(g)
    w = rng.standard_normal(force.shape)
    assert force.shape == (x.shape if n == 1 else (*x.shape[:4], n * n - 1))
    # transporters are linear in the links: along U -> U + i eps w_a T_a U nothing but rounding is left
    u = np.exp(1j * x)[..., None, None] if n == 1 else x
    turn = w[..., None, None] if n == 1 else np.einsum("cmtxa,aij->cmtxij", w, generators(n))
    change = transport.transport(1j * turn @ u, antiperiodic=antiperiodic).u
    change[:, :, 0] = 0.0
    assert abs(inner(g, change) - np.sum(force * w)) < 1e-11
    step = 1e-5
    ends = [transport.transport(rotated(x, sign * step * w), antiperiodic=antiperiodic).u for sign in (1, -1)]
    assert abs(inner(g, ends[0] - ends[1]) / (2 * step) - np.sum(force * w)) < 1e-6


def test_translations_of_the_boundary_are_gauge_transformations():
    rng = np.random.default_rng(60)
    x, m, phi = gauge_field(rng, 1, (4, 2)), complex_normal(rng, (2, 4, 2, 2, 10)), complex_normal(rng, (2, 4, 2, 2, 1))
    flip = np.array([-1.0, 1, 1, 1]).reshape(4, 1, 1, 1)
    expected = flip * np.roll(convolved(transport.transport(x), m, phi), 1, 1)
    there = transport.transport(np.roll(x, 1, 2))
    out = convolved(there, np.roll(m, 1, 1), flip * np.roll(phi, 1, 1))
    assert np.max(np.abs(out - expected)) < ROUNDING * 10
    assert np.max(np.abs(convolved(there, np.roll(m, 1, 1), np.roll(phi, 1, 1)) - flip * expected)) > 0.1


@pytest.mark.parametrize("n", COLOURS)
def test_a_chain_has_the_same_bits_in_any_batch(n):
    rng = np.random.default_rng(70 + n)
    x, m = gauge_field(rng, n, (4, 4), 9), complex_normal(rng, (9, 16, 2, 10))
    moved = transport.transport(x)
    g = complex_normal(rng, moved.u.shape)
    for chains in (slice(0, 1), slice(3, 6)):
        some = transport.transport(x[chains])
        assert np.array_equal(some.u, moved.u[chains])
        assert np.array_equal(transport.stencils(m[chains], some.u), transport.stencils(m, moved.u)[chains])
        assert np.array_equal(some.pullback(g[chains]), moved.pullback(g)[chains])
