"""Networks of parallel transport convolutions against the product of their matrices on the whole lattice."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.maps import ptcn
from refimpl.maps.transport import DIRECTIONS, neighbours

ROUNDING = 1e-12  # of products of a few matrices with entries of order one
CHAINS = 2


def normals(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def whole_matrix(shape, stencils):
    """The matrix of one PTC on all sites, ``(chain, V H, V K)``, number by number."""
    chains, volume, h, width = stencils.shape
    k = width // DIRECTIONS
    out = np.zeros((chains, volume, h, volume, k), np.complex128)
    for d, y in itertools.product(range(DIRECTIONS), range(volume)):
        out[:, y, :, neighbours(shape)[d, y]] += stencils[:, y, :, d * k : (d + 1) * k]
    return out.reshape(chains, volume * h, volume * k)


def rows_of(sites, width, chosen):
    """Rows of the whole lattice for ``chosen`` rows of these sites."""
    return (sites[:, None] * width + np.arange(width)).ravel()[chosen]


@st.composite
def networks(draw):
    """A network, stencils on all sites and at its own ones, and the rows of the whole lattice that go in and come out."""
    shape = draw(st.sampled_from([(2, 2), (2, 4), (4, 2), (3, 4), (4, 4)]))
    widths = draw(st.lists(st.integers(1, 3), min_size=2, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    volume = shape[0] * shape[1]
    order = rng.permutation(volume)
    cut = rng.integers(1, volume)
    frozen, active = np.sort(order[:cut]), np.sort(order[cut:][: rng.integers(1, volume)])
    starts, ends = (
        np.flatnonzero(rng.random(len(sites) * width) < 0.7)
        for sites, width in ((frozen, widths[0]), (active, widths[-1]))
    )
    network = ptcn.Network(ptcn.ptcs(shape, frozen, active, widths), starts, ends)
    full = [normals(rng, CHAINS, volume, h, DIRECTIONS * k) for k, h in itertools.pairwise(widths)]
    own = [stencil[:, ptc.sites] for stencil, ptc in zip(full, network.ptcs, strict=True)]
    rows = rows_of(active, widths[-1], ends), rows_of(frozen, widths[0], starts)
    product = whole_matrix(shape, full[0])
    for stencil in full[1:]:
        product = whole_matrix(shape, stencil) @ product
    return rng, network, own, product[:, rows[0][:, None], rows[1]]


@given(networks(), st.booleans())
def test_networks_are_products_of_matrices_on_the_whole_lattice(drawn, many):
    rng, network, stencils, expected = drawn
    psi = normals(rng, CHAINS, len(network.starts), len(network.starts) + 1 if many else max(1, len(network.starts)))
    out, _ = ptcn.shift(network, stencils, psi)
    assert out.shape == (CHAINS, len(network.ends), psi.shape[2])
    scale = max(1.0, np.abs(expected).max(initial=0)) * (1 + len(network.starts))
    assert np.max(np.abs(out - expected @ psi), initial=0) < ROUNDING * scale


@given(networks())
def test_both_ways_through_a_network_have_one_pullback(drawn):
    rng, network, stencils, expected = drawn
    n = len(network.starts)
    psi, g = normals(rng, CHAINS, n, n + 1), normals(rng, CHAINS, len(network.ends), n + 1)
    g_psi, grads = ptcn.shift(network, stencils, psi)[1](g)
    scale = max(1.0, np.abs(expected).max(initial=0)) * (1 + n) ** 2
    assert np.max(np.abs(g_psi - expected.conj().swapaxes(1, 2) @ g), initial=0) < ROUNDING * scale
    # Column by column, which is the other way; cotangents of stencils add.
    walked = [ptcn.shift(network, stencils, psi[:, :, [i]])[1](g[:, :, [i]]) for i in range(n + 1)] if n else []
    for i, (g_column, _) in enumerate(walked):
        assert np.max(np.abs(g_column[:, :, 0] - g_psi[:, :, i]), initial=0) < ROUNDING * scale
    for i, grad in enumerate(grads):
        assert grad.shape == stencils[i].shape
        total = sum((own[i] for _, own in walked), np.zeros_like(grad))
        assert np.max(np.abs(grad - total), initial=0) < ROUNDING * scale * max(1.0, np.abs(grad).max(initial=0))


@given(networks())
def test_cotangents_of_stencils_are_derivatives(drawn):
    rng, network, stencils, _ = drawn
    psi, g = normals(rng, CHAINS, len(network.starts), 1), normals(rng, CHAINS, len(network.ends), 1)
    grads = ptcn.shift(network, stencils, psi)[1](g)[1]
    for i, grad in enumerate(grads):
        change = normals(rng, *grad.shape)
        changed = [*stencils[:i], change, *stencils[i + 1 :]]  # the network is linear in each of its stencils
        moved = np.vdot(g, ptcn.shift(network, changed, psi)[0]).real
        scale = 1 + np.abs(moved) + np.linalg.norm(grad) * np.linalg.norm(change)
        assert abs(moved - np.vdot(grad, change).real) < ROUNDING * scale


@pytest.mark.parametrize(("n_pt", "sites"), [(2, [4, 8, 4]), (6, [4, 12, 16, 16, 16, 12, 4])])
def test_convolutions_stop_at_what_frozen_sites_reach_and_active_ones_see(n_pt, sites):
    # Every second row of the even sites of 4 x 4. First only the odd sites between, with more in between all of the lattice.
    frozen, active = np.array([5, 7, 13, 15]), np.array([0, 2, 8, 10])
    found = ptcn.ptcs((4, 4), frozen, active, [2] * (n_pt + 1))
    assert [found[0].before, *(len(ptc.sites) for ptc in found)] == sites
