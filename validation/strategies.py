"""Hypothesis strategies for two-dimensional U(1) and phi^4: lattice shapes, couplings, fields, gauge transformations.

For property tests of an implementation, for instance::

    @given(u1_fields(), couplings())
    def test_action_is_even(x, beta):
        assert np.allclose(action(x, beta), action(-x, beta))

Links are float64 of shape ``(chain, 2, T, X)`` with angles in [-pi, pi), scalars of shape ``(chain, T, X)``. They are made to
shrink to something a person can read: the smallest lattice, one chain, and few links or sites that are not zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .measure import angle_difference, flux_configuration

try:
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays
except ImportError as error:
    raise ImportError("hypothesis is not installed: pip install 'refimpl[test]'") from error

Array = NDArray[np.float64]
Shape = tuple[int, int]

_BELOW_PI = float(np.nextafter(np.pi, 0))
# Zero, where cosines and sines are simple, an angle that is no fraction of pi, both sides of the cut, and anything.
_ANGLES = st.sampled_from(
    [0.0, np.pi / 2, -np.pi / 2, np.pi / 4, -np.pi / 4, 1.0, -1.0, -np.pi, _BELOW_PI]
) | st.floats(-np.pi, np.pi, exclude_max=True)


def lattice_shapes(min_extent: int = 2, max_extent: int = 6, even: bool = False) -> st.SearchStrategy[Shape]:
    """Shapes ``(T, X)``, both extents from ``min_extent`` to ``max_extent`` and, on request, even.

    Shrinks each extent to the smallest one allowed, so by default to ``(2, 2)``.
    """
    if min_extent < 2:
        raise ValueError(f"min_extent: got {min_extent}, expected at least 2")
    step = 2 if even else 1
    low, high = -(-min_extent // step), max_extent // step
    if low > high:
        kind = "an even extent" if even else "an extent"
        raise ValueError(f"max_extent: got {max_extent}, expected {kind} from min_extent = {min_extent} on")
    extents = st.integers(low, high).map(lambda k: step * k)
    return st.tuples(extents, extents)


def couplings(min: float = 0.01, max: float = 10) -> st.SearchStrategy[float]:
    """Inverse couplings ``beta`` from ``min`` to ``max``.

    Shrinks to the simplest number of the interval, by default to 1.0.
    """
    return st.floats(min, max)


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
    shape, n_chains = _shape_and_chains(draw, shapes, chains)
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
    shape, n_chains = _shape_and_chains(draw, shapes, chains)
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
    shape, n_chains = _shape_and_chains(draw, shapes, chains)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.uniform(-np.pi, np.pi, (n_chains, 2, *shape))


# Amplitudes of scalar fields, as parts of the largest: simple numbers, what quartic terms hardly see, and anything.
_AMPLITUDES = st.sampled_from([0.0, 1.0, -1.0, 0.5, -0.25, 1e-3, 1e-9]) | st.floats(-1, 1)


def scalar_shapes(min_extent: int = 1, max_extent: int = 5) -> st.SearchStrategy[Shape]:
    """Shapes ``(T, X)`` of scalar fields: extents of 2, where both neighbours are one site, and of 1, where it is itself.

    Shrinks each extent to the smallest one allowed.
    """
    if not 1 <= min_extent <= max_extent:
        raise ValueError(f"min_extent: got {min_extent}, expected from 1 to max_extent = {max_extent}")
    extents = st.integers(min_extent, max_extent)
    return st.tuples(extents, extents)


def phi4_couplings(max_m2: float = 4, max_lam: float = 30) -> st.SearchStrategy[tuple[float, float]]:
    """Couplings ``(m2, lam)`` with which ``exp(-S)`` is normalisable: free fields, and interacting ones of either sign of ``m2``.

    Shrinks to simple numbers of an interacting theory, ``(0.0, 1.0)`` by default.
    """
    interacting = st.tuples(st.floats(-max_m2, max_m2), st.floats(0.01, max_lam))
    return interacting | st.tuples(st.floats(0.01, max_m2), st.just(0.0))


@st.composite
def phi4_fields(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[Shape] | None = None,
    chains: st.SearchStrategy[int] | None = None,
    largest: float = 10.0,
) -> Array:
    """Real fields ``(chain, T, X)`` of at most ``largest`` in size, every chain of one of these kinds.

    Zero but for some sites; constant; a checkerboard; a kink and an antikink along time or space; uniform random numbers from a
    seed that is drawn. Amplitudes reach from 0 over tiny ones, where the quartic term is below rounding, to ``largest``.

    Shrinks to the smallest lattice, one chain, and a field of few numbers: zero, a constant, or few sites that are not zero.
    """
    if not largest > 0:
        raise ValueError(f"largest: got {largest!r}, expected a number > 0")
    shape = draw(scalar_shapes() if shapes is None else shapes)
    n_chains = draw(st.integers(1, 3) if chains is None else chains)
    t, x = np.indices(shape)
    field = np.empty((n_chains, *shape))
    for chain in field:
        kind = draw(st.sampled_from(["sites", "constant", "checkerboard", "kink", "random"]))
        if kind == "sites":
            chain[...] = largest * draw(arrays(np.float64, shape, elements=_AMPLITUDES, fill=st.just(0.0)))
            continue
        amplitude = largest * draw(_AMPLITUDES)
        if kind == "random":
            chain[...] = abs(amplitude) * np.random.default_rng(draw(st.integers(0, 2**32 - 1))).uniform(-1, 1, shape)
        elif kind == "kink":
            axis = draw(st.integers(0, 1))
            chain[...] = np.where((t, x)[axis] < draw(st.integers(0, shape[axis])), amplitude, -amplitude)
        else:
            chain[...] = amplitude * ((-1.0) ** (t + x) if kind == "checkerboard" else 1.0)
    return field


def gauge_transforms(shape: Shape, chains: int) -> st.SearchStrategy[Array]:
    """Gauge angles ``alpha`` of shape ``(chain, T, X)``, from the values that `u1_fields` gives a link.

    Shrinks to the identity but for as few sites as possible.
    """
    return arrays(np.float64, (chains, *shape), elements=_ANGLES, fill=st.just(0.0))


@st.composite
def memory_orders(draw: st.DrawFn, field: Array) -> Array:
    """The same values in other memory: C order, Fortran order, chains fastest, a strided or a reversed view.

    Always a copy, writable or read-only. Shrinks to a writable array in C order.
    """
    layouts: list[Callable[[Array], Array]] = [
        lambda a: np.array(a, order="C"),
        lambda a: np.array(a, order="F"),
        lambda a: np.moveaxis(np.array(np.moveaxis(a, 0, -1), order="C"), -1, 0),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: np.array(np.flip(a), order="C")[(slice(None, None, -1),) * a.ndim],
    ]
    out = draw(st.sampled_from(layouts))(field)
    out.flags.writeable = not draw(st.booleans())
    return out


def _shape_and_chains(
    draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None, chains: st.SearchStrategy[int] | None
) -> tuple[Shape, int]:
    """The shape and the number of chains of a field, from the given strategies or the default ones."""
    shape = draw(lattice_shapes() if shapes is None else shapes)
    return shape, draw(st.integers(1, 3) if chains is None else chains)
