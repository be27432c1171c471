"""Layers and joint models of pseudofermions with weights of some size, for tests, and the layers site by site."""

from __future__ import annotations

import itertools

import numpy as np

from refimpl import lattice
from refimpl.groups import SUN, links
from refimpl.lattice import parity_mask
from refimpl.maps.pseudofermion_layer import Given, PseudofermionLayer
from refimpl.maps.transport import transport

# Kinds of layers: the partition, whether fields live on even sites, whether A is a number where it need not be.
KINDS = [
    ("spatial", False, False),
    ("spatial", False, True),
    ("spatial", True, False),
    ("spatial", True, True),
    ("spin", False, False),
    ("spin", True, False),
]
COLOURS = (1, 2, 3)
HIDDEN = 3


def gauge_field(rng, n, shape, chains=2):
    """Uniform angles, or Haar matrices."""
    if n == 1:
        return rng.uniform(-np.pi, np.pi, (chains, 2, *shape))
    return SUN(n).haar(rng, (chains, 2, *shape))


def gauge_transformation(rng, x):
    """Angles ``(chain, T, X)`` or matrices ``(chain, T, X, N, N)``."""
    if x.ndim == 4:
        return rng.uniform(-np.pi, np.pi, (len(x), *x.shape[2:]))
    return SUN(x.shape[-1]).haar(rng, (len(x), *x.shape[2:4]))


def transformed_links(x, g):
    return lattice.gauge_transform(x, g) if x.ndim == 4 else links.gauge_transform(x, g)


def transformed_spinors(phi, g):
    """``g(n) phi(n)`` for spinors ``(chain, t, x, spin, colour)``, with one colour for angles."""
    g = np.exp(1j * g)[..., None, None] if g.ndim == 3 else g
    return np.einsum("ctxab,ctxsb->ctxsa", g, phi)


def rotated(x, w):
    """``exp(i w_a T_a) U``, for U(1) ``theta + w``."""
    return x + w if x.ndim == 4 else SUN(x.shape[-1]).multiply(SUN(x.shape[-1]).exp(w), x)


def built_layer(rng, shape, index, kind, n=1, n_pt=2, size=0.15, **options):
    """A layer whose weights and biases are normal of spread ``size``."""
    partition, even_odd, scalar = kind
    layer = PseudofermionLayer.init(
        rng,
        shape,
        index,
        partition=partition,
        even_odd=even_odd,
        scalar=scalar,
        colours=n,
        n_pt=n_pt,
        **{"hidden": HIDDEN, **options},
    )
    return layer.with_params({key: size * rng.standard_normal(a.shape) for key, a in layer.params.items()})


def known_of(x, hidden, kernel_size=3):
    """What layers know of links, with channels that need not be a context's."""
    return Given.of(transport(x), hidden, kernel_size)


def complex_normal(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def living_rows(layer):
    """Rows of flattened spinors that columns have: those of the even sites where ``even_odd``."""
    there = parity_mask(layer.shape) if layer.even_odd else np.ones(layer.shape, bool)
    return np.flatnonzero(np.repeat(there.ravel(), 2 * layer.colours))


def spinors(layer, psi):
    """Columns ``(chain, n, k)`` as spinors ``(k, chain, t, x, spin, colour)``, zero where there is no row."""
    chains, _, k = psi.shape
    out = np.zeros((k, chains, 2 * layer.colours * layer.shape[0] * layer.shape[1]), np.complex128)
    out[:, :, living_rows(layer)] = np.moveaxis(psi, 2, 0)
    return out.reshape(k, chains, *layer.shape, 2, layer.colours)


def columns(layer, phi):
    """The inverse of `spinors`, of one field."""
    return phi.reshape(len(phi), -1)[:, living_rows(layer), None]


def site_convolution(x, m, phi, antiperiodic=True):
    """A parallel transport convolution (26) of one field, by a loop over sites, ``(chain, t, x, H, N)``.

    Takes links without boundary sign, ``m`` ``(chain, t, x, H, 5 K)`` and ``phi`` ``(chain, t, x, K, N)``.
    """
    u = np.exp(1j * x)[..., None, None] if x.ndim == 4 else x
    n_t, n_x = x.shape[2:4]
    out = np.zeros((*phi.shape[:3], m.shape[3], phi.shape[4]), np.complex128)
    for chain, t, s in itertools.product(range(len(x)), range(n_t), range(n_x)):
        above, below, right, left = (t + 1) % n_t, (t - 1) % n_t, (s + 1) % n_x, (s - 1) % n_x
        up = -1 if antiperiodic and t == n_t - 1 else 1
        down = -1 if antiperiodic and t == 0 else 1
        seen = [
            phi[chain, t, s],
            up * phi[chain, above, s] @ u[chain, 0, t, s].T,
            down * phi[chain, below, s] @ u[chain, 0, below, s].conj(),
            phi[chain, t, right] @ u[chain, 1, t, s].T,
            phi[chain, t, left] @ u[chain, 1, t, left].conj(),
        ]
        out[chain, t, s] = m[chain, t, s] @ np.concatenate(seen)
    return out
