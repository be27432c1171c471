"""Hypothesis strategies of what every theory has: lattice shapes, couplings, memory orders; and checks of arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = tuple[int, int]


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


def shape_and_chains(
    draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None, chains: st.SearchStrategy[int] | None
) -> tuple[Shape, int]:
    """The shape and the number of chains of a field, from the given strategies or the default ones."""
    shape = draw(lattice_shapes() if shapes is None else shapes)
    return shape, draw(st.integers(1, 3) if chains is None else chains)


def checked_integer(name: str, value: Any, least: int) -> int:
    """An integer of at least this much; raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least {least}")
    return int(value)


def checked_shape(shape: Any) -> Shape:
    """Two extents of at least 1; raises `ValueError` for anything else."""
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape: got {shape!r}, expected two extents (T, X)")
    t, x = (checked_integer("shape", extent, 1) for extent in shape)
    return t, x


def checked_size(name: str, value: Any) -> float:
    """A finite number above 0; raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise ValueError(f"{name}: got {value!r}, expected a finite number > 0")
    return float(value)
