"""Hypothesis strategies of what maps are made of: masks, and the parameters of nets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from .lattices import Array, checked_integer, checked_size

Mask = NDArray[np.bool_]


def masks(shape: tuple[int, ...]) -> st.SearchStrategy[Mask]:
    """Masks of this shape, of a field without its chain axis: ``(T, X)``, ``(2, T, X)`` or ``(N,)``; True and False both occur.

    A checkerboard of the last two axes, or the last one, of either parity; stripes, one line in each period, which divides the
    extent; a single entry; a random half, from a seed.

    Shrinks to the checkerboard that is True at the origin, else to the stripes, the entry, or the first seed.
    """
    if not isinstance(shape, tuple | list) or not shape:
        raise ValueError(f"shape: got {shape!r}, expected that of a field without its chain axis")
    extents = tuple(checked_integer("shape", extent, 1) for extent in shape)
    if np.prod(extents[-2:]) < 2:
        raise ValueError(f"shape: got {shape!r}, expected a lattice of two sites at least")
    return _masks(extents)


@st.composite
def _masks(draw: st.DrawFn, shape: tuple[int, ...]) -> Mask:
    kind = draw(st.sampled_from(["checkerboard", "stripes", "entry", "random"]))
    places = np.indices(shape)
    if kind == "checkerboard":
        return np.asarray(places[-2:].sum(axis=0) % 2 == draw(st.integers(0, 1)))
    if kind == "stripes":
        axis, period, offset = draw(
            st.sampled_from(_stripes(shape))
        )  # one choice, as of the other kinds: the shorter wins
        return np.asarray(places[axis] % period == offset)
    size = int(np.prod(shape))
    mask = np.zeros(size, bool)
    if kind == "entry":
        mask[draw(st.integers(0, size - 1))] = True
    else:
        mask[np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permutation(size)[: size // 2]] = True
    return mask.reshape(shape)


def _stripes(shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Axis, period and offset."""
    return [
        (axis, period, offset)
        for axis, extent in enumerate(shape)
        for period in range(2, extent + 1)
        for offset in range(period)
        if axis >= len(shape) - 2 and extent % period == 0
    ]


def net_parameters(shapes: Any, largest: float = 2.0) -> st.SearchStrategy[Any]:
    """Parameters of a net, zero but for some weights and biases: float64 arrays in the structure of ``shapes``.

    ``shapes`` is a mapping, which may be nested, as from `refimpl.nets.init`; its leaves are arrays, of which the shape is taken,
    or shapes, as tuples of integers. Entries are of at most ``largest`` in size, any weight and any bias may be other than zero.
    What is named ``variance`` stays positive: 1, but for some entries from 1/4 to 4.

    Shrinks to zero, and variances of 1, but for as few entries as possible.
    """
    size = checked_size("largest", largest)
    simple = st.sampled_from([0.0, size, -size, size / 2, -size / 4])
    entries, variances = simple | st.floats(-size, size), st.sampled_from([1.0, 4.0, 0.25]) | st.floats(0.25, 4)

    def leaf(name: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
        positive = name.endswith("variance")
        fill = st.just(1.0 if positive else 0.0)
        return arrays(np.float64, shape, elements=variances if positive else entries, fill=fill)

    return _joined(_mapped("shapes", shapes, leaf))


def hot_net_parameters(shapes: Any, std: float = 0.5) -> st.SearchStrategy[Any]:
    """The same with all entries normal of this spread, and variances their exponentials: none is zero, biases least of all.

    Shrinks the seed only.
    """
    spread = checked_size("std", std)

    def drawn(seed: int) -> Any:
        rng = np.random.default_rng(seed)

        def leaf(name: str, shape: tuple[int, ...]) -> Array:
            value = np.asarray(spread * rng.standard_normal(shape))
            return np.exp(value) if name.endswith("variance") else value

        return _mapped("shapes", shapes, leaf)

    _mapped("shapes", shapes, lambda name, shape: None)  # a bad argument is refused now
    return st.integers(0, 2**32 - 1).map(drawn)


def _joined(tree: Any) -> st.SearchStrategy[Any]:
    """A strategy of the mapping of what the strategies at its leaves draw."""
    if isinstance(tree, dict):
        return st.fixed_dictionaries({key: _joined(value) for key, value in tree.items()})
    found: st.SearchStrategy[Any] = tree
    return found


def _mapped(name: str, shapes: Any, leaf: Callable[[str, tuple[int, ...]], Any]) -> Any:
    """The mapping with ``leaf(name, shape)`` in place of arrays and shapes."""
    if isinstance(shapes, Mapping):
        return {key: _mapped(str(key), value, leaf) for key, value in shapes.items()}
    shape = shapes.shape if hasattr(shapes, "shape") else shapes
    if not isinstance(shape, tuple | list):
        raise ValueError(f"{name}: got {shapes!r}, expected a mapping, an array or a shape")
    return leaf(name, tuple(checked_integer(name, extent, 1) for extent in shape))
