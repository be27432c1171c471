"""Hypothesis strategies of angles: links ``(chain, 2, T, X)`` of U(1), spins ``(chain, N)`` of O(2), gauge transformations."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ..measure import angle_difference, flux_configuration
from .lattices import Array, Shape, checked_integer, checked_shape, shape_and_chains

_BELOW_PI = float(np.nextafter(np.pi, 0))
# Zero, where cosines and sines are simple, an angle that is no fraction of pi, both sides of the cut, and anything.
_ANGLES = st.sampled_from(
    [0.0, np.pi / 2, -np.pi / 2, np.pi / 4, -np.pi / 4, 1.0, -1.0, -np.pi, _BELOW_PI]
) | st.floats(-np.pi, np.pi, exclude_max=True)


@st.composite
def u1_fields(
    draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None = None, chains: st.SearchStrategy[int] | None = None
) -> Array:
    """Link angles ``(chain, 2, T, X)`` that are zero but for some links, each of them drawn.

    Draws a shape (`lattice_shapes` by default), a number of chains (1 to 3), and links from 0, +-pi/2, +-pi/4, +-1,
    -pi, the number just below pi, and all floats in [-pi, pi). Plaquettes of exactly pi, where the charge jumps, are
    common.

    Shrinks to the smallest lattice, one chain, and as few non-zero links as possible, often one; their angles become
    one of that list or a number of few digits.
    """
    shape, n_chains = shape_and_chains(draw, shapes, chains)
    return draw(arrays(np.float64, (n_chains, 2, *shape), elements=_ANGLES, fill=st.just(0.0)))


@st.composite
def u1_flux_fields(
    draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None = None, chains: st.SearchStrategy[int] | None = None
) -> Array:
    """Link angles of known topology: a constant flux in every chain, its charge drawn, and a small perturbation.

    With ``|Q| < V/2`` every plaquette is ``theta = 2 pi Q/V`` modulo 2 pi: ``theta_1(t, x) = theta t``,
    ``theta_0(T-1, x) = -theta T x``, all other ``theta_0`` zero. The perturbation moves a plaquette by at most half its
    distance to +-pi, so a chain keeps its charge. Angles are wrapped to [-pi, pi).

    Shrinks to the smallest lattice, one chain, charge zero and no perturbation: the cold field.
    """
    shape, n_chains = shape_and_chains(draw, shapes, chains)
    volume = shape[0] * shape[1]
    limit = (volume - 1) // 2
    charges = [draw(st.integers(-limit, limit)) for _ in range(n_chains)]
    smooth = np.concatenate([flux_configuration(shape, charge) for charge in charges])
    # Four links to a plaquette: half of its distance pi (V - 2|Q|)/V to +-pi is shared by them.
    largest = np.array([np.pi * (volume - 2 * abs(charge)) / (8 * volume) for charge in charges])
    noise = draw(arrays(np.float64, smooth.shape, elements=st.floats(-1, 1), fill=st.just(0.0)))
    x = angle_difference(smooth + largest[:, None, None, None] * noise, np.zeros(1))
    x[x >= np.pi] = -np.pi
    return x


@st.composite
def u1_hot_fields(
    draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None = None, chains: st.SearchStrategy[int] | None = None
) -> Array:
    """Link angles ``(chain, 2, T, X)`` uniform in [-pi, pi): a shape, a number of chains and a seed are drawn.

    No link has a special value, and none ever becomes one: shrinks the shape, the number of chains and the seed only.
    """
    shape, n_chains = shape_and_chains(draw, shapes, chains)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.uniform(-np.pi, np.pi, (n_chains, 2, *shape))


def gauge_transforms(shape: Shape, chains: int) -> st.SearchStrategy[Array]:
    """Gauge angles ``alpha`` of shape ``(chain, T, X)``, from the values that `u1_fields` gives a link.

    Shrinks to the identity but for as few sites as possible.
    """
    size = (checked_integer("chains", chains, 1), *checked_shape(shape))
    return arrays(np.float64, size, elements=_ANGLES, fill=st.just(0.0))


@st.composite
def o2_fields(
    draw: st.DrawFn, lengths: st.SearchStrategy[int] | None = None, chains: st.SearchStrategy[int] | None = None
) -> Array:
    """Angles ``(chain, N)`` of the spins of a chain, zero but for some, from the values that `u1_fields` gives a link.

    Draws a length (2 to 8 by default) and a number of chains (1 to 3). Shrinks to two spins, one chain, and as few angles that
    are not zero as possible.
    """
    length = draw(st.integers(2, 8) if lengths is None else lengths)
    n_chains = draw(st.integers(1, 3) if chains is None else chains)
    return draw(arrays(np.float64, (n_chains, length), elements=_ANGLES, fill=st.just(0.0)))
