"""Hypothesis strategies of SU(2) and SU(3): links ``(chain, 2, T, X, N, N)`` and gauge transformations."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ..measure_matrices import exponential, random_elements
from .lattices import Shape, checked_integer, checked_shape, shape_and_chains

Complex = NDArray[np.complex128]

# Of components along the generators: close to the identity, where the linear term and rounding compete, halfway, and anything.
_COMPONENTS = st.sampled_from([0.0, 1.0, -1.0, 1e-8, 1e-4, np.pi / 2, np.pi, 2 * np.pi]) | st.floats(-np.pi, np.pi)
# The roots of one, exact to rounding.
_CENTRE = {2: (1.0, -1.0), 3: (1.0, complex(-0.5, 0.75**0.5), complex(-0.5, -(0.75**0.5)))}


def sun_links(
    n: int, shapes: st.SearchStrategy[Shape] | None = None, chains: st.SearchStrategy[int] | None = None
) -> st.SearchStrategy[Complex]:
    """Links ``(chain, 2, T, X, n, n)`` of SU(2) or SU(3) that are the identity but for some, each of them drawn.

    These are elements of the centre times ``exp(i w_a T_a)``, with few components that are not zero: tiny ones (1e-8, 1e-4), where
    an element is close to the identity, 1, multiples of pi/2, and all floats in [-pi, pi].

    Shrinks to the smallest lattice, one chain, and as few links as possible that are not the identity, each of them an element of
    the centre or the exponential of one component.
    """
    _check_colours(n)
    return _sun_links(n, shapes, chains)


@st.composite
def _sun_links(
    draw: st.DrawFn, n: int, shapes: st.SearchStrategy[Shape] | None, chains: st.SearchStrategy[int] | None
) -> Complex:
    shape, n_chains = shape_and_chains(draw, shapes, chains)
    return draw(_elements(n, (n_chains, 2, *shape)))


def sun_hot_links(
    n: int, shapes: st.SearchStrategy[Shape] | None = None, chains: st.SearchStrategy[int] | None = None
) -> st.SearchStrategy[Complex]:
    """Links ``(chain, 2, T, X, n, n)`` all over SU(2) or SU(3) (not Haar distributed): a shape, chains and a seed are drawn.

    No link is special, and none ever becomes so: shrinks the shape, the number of chains and the seed only.
    """
    _check_colours(n)
    return _sun_hot_links(n, shapes, chains)


@st.composite
def _sun_hot_links(
    draw: st.DrawFn, n: int, shapes: st.SearchStrategy[Shape] | None, chains: st.SearchStrategy[int] | None
) -> Complex:
    shape, n_chains = shape_and_chains(draw, shapes, chains)
    return random_elements(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), (n_chains, 2, *shape), n)


def sun_gauge_transforms(n: int, shape: Shape, chains: int) -> st.SearchStrategy[Complex]:
    """Gauge transformations ``(chain, T, X, n, n)``, ``U_mu(n) -> g(n) U_mu(n) g(n + mu^)^dag``, elements as in `sun_links`.

    Shrinks to the identity but for as few sites as possible.
    """
    _check_colours(n)
    return _elements(n, (checked_integer("chains", chains, 1), *checked_shape(shape)))


def _elements(n: int, shape: tuple[int, ...]) -> st.SearchStrategy[Complex]:
    """Elements of SU(n), the identity but for some."""
    components = arrays(np.float64, (*shape, n * n - 1), elements=_COMPONENTS, fill=st.just(0.0))
    powers = arrays(np.int64, shape, elements=st.integers(0, n - 1), fill=st.just(0))

    def made(drawn: tuple[NDArray[Any], NDArray[Any]]) -> Complex:
        w, k = drawn
        u = np.zeros((*shape, n, n), np.complex128)
        u[...] = np.eye(n)
        moved = np.any(w != 0, axis=-1)
        u[moved] = exponential(w[moved], n)
        return u * np.array(_CENTRE[n])[k][..., None, None]

    return st.tuples(components, powers).map(made)


def _check_colours(n: Any) -> None:
    if isinstance(n, bool) or n not in (2, 3):
        raise ValueError(f"n: got {n!r}, expected 2 or 3")
