"""Hypothesis strategies of SU(N) links, and their memory orders."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from refimpl.groups import SUN
from refimpl.lattice import chain_last
from refimpl.validation.strategies import lattice_shapes


@st.composite
def algebra_elements(draw, n):
    """Coordinates ``(site, n^2 - 1)`` of any size, many of them with equal or nearly equal eigenvalues."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    group, sites = SUN(n), draw(st.integers(1, 5))
    scale = draw(st.sampled_from([0.0, 1e-200, 1e-8, 1e-4, 0.1, 1.0, 3.0]))
    split = draw(st.sampled_from([0.0, 1e-14, 1e-9, 1e-6, 1e-3, 1.0]))
    values = rng.standard_normal((sites, n))
    values[:, 1] = values[:, 0] + split * (values[:, 1] - values[:, 0])
    values -= values.mean(axis=1, keepdims=True)
    vectors = group.haar(rng, (sites,))
    return group.coordinates(scale * (vectors * values[:, None, :]) @ vectors.conj().swapaxes(1, 2))


@st.composite
def sun_fields(draw, n, max_extent=4):
    """Haar links ``(chain, 2, T, X, n, n)``, or links close to 1, in C order or in the memory of the kernels."""
    shape, chains = draw(lattice_shapes(max_extent=max_extent)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        x = SUN(n).haar(rng, (chains, 2, *shape))
    else:
        x = SUN(n).exp(0.2 * rng.standard_normal((chains, 2, *shape, n * n - 1)))
    out = chain_last(*x.shape, dtype=x.dtype) if draw(st.booleans()) else np.empty(x.shape, x.dtype)
    out[...] = x
    return out
