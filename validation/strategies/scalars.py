"""Hypothesis strategies of two-dimensional phi^4: shapes, couplings, fields ``(chain, T, X)``."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from .lattices import Array, Shape

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
