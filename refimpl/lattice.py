"""Geometry of the periodic two-dimensional lattice: shifts, masks, plaquettes, sums over sites.

Axes: scalars are ``(chain, t, x)``, U(1) link angles ``(chain, mu, t, x)`` with ``mu = 0`` time and ``mu = 1`` space.
Functions named ``*_definition`` are the readable form built on `shift`; the form without the suffix is the fast one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.float64]
Program = list[tuple[np.ufunc, Array, Array, Array]]
CACHE_LINE = 64  # bytes


def check_integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """``value`` as an int from ``least`` to ``most``; raises `ValueError` naming the argument otherwise."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: got {value!r}, expected an integer {expected}")
    return number


def check_number(name: str, value: object, least: float, *, above: bool = False) -> float:
    """``value`` as a finite float, at least (or ``above``) ``least``; raises `ValueError` naming the argument otherwise."""
    plain = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    try:
        number = float(value) if plain else math.nan  # type: ignore[arg-type]  # what is plain is a number
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < least or (above and number == least):
        raise ValueError(f"{name}: got {value!r}, expected a finite number {'>' if above else '>='} {least:g}")
    return number


def check_flag(name: str, value: object) -> None:
    """Raises `ValueError` naming the argument unless ``value`` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: got {value!r}, expected True or False")


def check_rngs(rngs: Sequence[np.random.Generator], n_chains: int) -> None:
    """Raises `ValueError` unless there is one Generator per chain."""
    if not hasattr(rngs, "__len__"):
        raise ValueError(f"rngs: got {rngs!r}, expected a list of generators, one per chain ({n_chains})")
    if len(rngs) != n_chains:
        raise ValueError(f"rngs: got {len(rngs)} generators, expected one per chain ({n_chains})")


def check_shape(shape: tuple[int, ...], *, even: bool = False) -> tuple[int, int]:
    """The lattice shape ``(T, X)`` as two ints.

    Raises `ValueError` unless there are two integer extents, each at least 2 (and even where a checkerboard needs it).
    """
    if np.ndim(shape) != 1 or len(shape) != 2:
        raise ValueError(f"shape: got {shape!r}, expected two extents (T, X)")
    for name, extent in zip("TX", shape, strict=True):
        if not isinstance(extent, int | np.integer) or extent < 2:
            raise ValueError(f"shape: got extent {name} = {extent!r}, expected an integer of at least 2")
        if even and extent % 2:
            raise ValueError(f"shape: got extent {name} = {extent}, expected an even extent (a checkerboard needs it)")
    return int(shape[0]), int(shape[1])


def check_links(x: ArrayLike, name: str = "x") -> Array:
    """``x`` as float64 U(1) link angles of shape ``(chain, 2, T, X)``; raises `ValueError` or `TypeError` otherwise."""
    x = np.asarray(x)
    if x.dtype != np.float64:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected float64")
    if x.ndim != 4 or x.shape[1] != 2:
        raise ValueError(f"{name}: got shape {x.shape}, expected (chain, 2, T, X)")
    if x.shape[0] == 0:
        raise ValueError(f"{name}: got zero chains, expected at least one")
    check_shape(x.shape[2:])
    return x


def check_scalars(x: ArrayLike, name: str = "x") -> Array:
    """``x`` as a float64 scalar field ``(chain, T, X)``, extents of at least 1; raises `ValueError` or `TypeError` otherwise."""
    x = np.asarray(x)
    if x.dtype != np.float64:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected float64")
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(f"{name}: got shape {x.shape}, expected (chain, T, X)")
    if x.shape[0] == 0:
        raise ValueError(f"{name}: got zero chains, expected at least one")
    return x


def shift(field: Array, mu: int, steps: int = 1) -> Array:
    """The field at ``n + steps mu^``: ``shift(f, mu)[n] = f[n + mu^]``, periodic. The last two axes are ``(t, x)``."""
    return np.roll(field, -steps, axis=mu - 2)


def parity_mask(shape: tuple[int, int], parity: int = 0) -> NDArray[np.bool_]:
    """Checkerboard of shape ``(T, X)``: True where ``(t + x) mod 2 == parity``. Both extents must be even."""
    extents = check_shape(shape, even=True)
    t, x = np.indices(extents)
    return (t + x) % 2 == parity % 2


def stripe_mask(shape: tuple[int, int], mu: int, period: int = 2, offset: int = 0) -> NDArray[np.bool_]:
    """Stripes of shape ``(T, X)``: True where the coordinate along ``mu`` is ``offset`` modulo ``period``."""
    extents = check_shape(shape)
    check_integer("mu", mu, 0, 1)
    if period < 1 or extents[mu] % period:
        raise ValueError(f"period: got {period}, expected a divisor of the extent {extents[mu]} along mu = {mu}")
    return np.indices(extents)[mu] % period == offset % period


def plaquette_angles_definition(x: Array) -> Array:
    """Plaquette angles ``theta_0(n) + theta_1(n + 0^) - theta_0(n + 1^) - theta_1(n)``, not wrapped, ``(chain, T, X)``."""
    theta_0, theta_1 = x[:, 0], x[:, 1]
    return theta_0 + shift(theta_1, 0) - shift(theta_0, 1) - theta_1


def plaquette_angles(x: Array) -> Array:
    """As `plaquette_angles_definition`, by slices; the result has the memory order of ``x``."""
    out = np.empty_like(x[:, 0])
    run(plaquette_program(x, out))
    return out


def plaquette_gradient_definition(s: Array) -> Array:
    """Transpose of the plaquette map: ``sum_P s_P d theta_P / d theta_mu(n)``, shape ``(chain, 2, T, X)``."""
    return np.stack([s - shift(s, 1, -1), shift(s, 0, -1) - s], axis=1)


def run(program: Program) -> None:
    """Carry out the array operations of a program in order."""
    for ufunc, left, right, out in program:
        ufunc(left, right, out)


def plaquette_program(x: Array, out: Array) -> Program:
    """Operations that fill ``out`` with the plaquette angles of ``x``: `plaquette_angles_definition` by slices.

    `numpy.roll` costs more than the arithmetic on a small lattice; a program holds its slices ready for many runs on
    the same arrays.
    """
    theta_0, theta_1 = x[:, 0], x[:, 1]
    return [
        (np.subtract, theta_0, theta_1, out),
        *_shifted(np.add, out, theta_1, axis=1),
        *_shifted(np.subtract, out, theta_0, axis=2),
    ]


def gradient_program(s: Array, v: Array) -> Program:
    """Operations that do ``v -= plaquette_gradient_definition(s)``, by slices."""
    v_0, v_1 = v[:, 0], v[:, 1]
    return [
        (np.subtract, v_0, s, v_0),
        *_shifted(np.add, v_0, s, axis=2, backward=True),
        (np.add, v_1, s, v_1),
        *_shifted(np.subtract, v_1, s, axis=1, backward=True),
    ]


def neighbour_program(x: Array, mu: int, out: Array) -> Program:
    """Operations that do ``out = x(n + mu^) + x(n - mu^)`` for scalars ``(chain, T, X)``, by slices."""
    n, before = x.shape[1 + mu], (slice(None),) * (1 + mu)
    rows_x, rows_out = x.transpose(1, 2, 0), out.transpose(1, 2, 0)
    program: Program = []
    if mu == 1 and n > 2 and rows_x.flags.c_contiguous and rows_out.flags.c_contiguous:
        # Without regard to the ends of the rows, which come last: slices of short rows take several times as long.
        flat_x, flat_out, step = rows_x.reshape(-1), rows_out.reshape(-1), len(x)
        program.append((np.add, flat_x[2 * step :], flat_x[: -2 * step], flat_out[step:-step]))
    elif n > 2:
        ahead, behind, middle = ((*before, part) for part in (slice(2, None), slice(None, -2), slice(1, -1)))
        program.append((np.add, x[ahead], x[behind], out[middle]))
    # Both ends at once: slices that step over what is between them, or go backwards.
    ends, right = (*before, slice(None, None, max(1, n - 1))), (*before, slice(min(1, n - 1), None, -1))
    left = (*before, slice(None, n - 3, -1)) if n > 2 else right
    program.append((np.add, x[right], x[left], out[ends]))
    return program


def difference_program(x: Array, mu: int, out: Array) -> Program:
    """Operations that do ``out = x(n) - x(n + mu^)`` for scalars ``(chain, T, X)``, by slices."""
    return _shifted(np.subtract, out, x, axis=1 + mu, left=x)


def _shifted(
    ufunc: np.ufunc, out: Array, source: Array, axis: int, backward: bool = False, left: Array | None = None
) -> Program:
    """``out = ufunc(left, source shifted by one site along axis)``, ``left`` being ``out`` by default: a bulk and an edge."""
    left = out if left is None else left
    low, high, first, last = slice(None, -1), slice(1, None), slice(0, 1), slice(-1, None)
    pairs = [(high, low), (first, last)] if backward else [(low, high), (last, first)]
    before = (slice(None),) * axis
    return [(ufunc, left[(*before, a)], source[(*before, b)], out[(*before, a)]) for a, b in pairs]


def gauge_transform(x: Array, alpha: Array) -> Array:
    """``theta_mu(n) + alpha(n) - alpha(n + mu^)`` for ``alpha`` of shape ``(chain, T, X)``; not wrapped."""
    return x + np.stack([alpha - shift(alpha, 0), alpha - shift(alpha, 1)], axis=1)


def add_flux(x: Array, k: ArrayLike, out: Array | None = None) -> Array:
    """``x + k I`` with `unit_flux` ``I``, not wrapped, for integers ``k`` of shape ``(chain,)`` or one for all chains.

    Every plaquette moves by ``2 pi k/V`` modulo ``2 pi``. Links are whole multiples of ``2 pi/V``, reduced as integers, so
    that a large ``k`` is as exact as a small one. ``out`` may be ``x``.
    """
    n_t, n_x = x.shape[2:]
    volume, k = n_t * n_x, np.broadcast_to(np.asarray(k), len(x))[:, None]
    if out is None:
        out = np.empty_like(x)
    if out is not x:
        out[...] = x
    # At t -> t + 1 the space links grow by 2 pi/V; the time links of the last slice make up for the drop at its end.
    out[:, 1] += (2 * np.pi / volume * _centred(k * np.arange(n_t), volume))[:, :, None]
    out[:, 0, -1] += 2 * np.pi / n_x * _centred(-k * np.arange(n_x), n_x)
    return out


def unit_flux(shape: tuple[int, int]) -> Array:
    """Link angles ``(2, T, X)`` in [-pi, pi) of the uniform field of charge +1: every plaquette ``2 pi/V`` modulo ``2 pi``."""
    return add_flux(np.zeros((1, 2, *check_shape(shape))), 1)[0]


def _centred(k: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The representative of ``k`` modulo ``n`` in ``[-n/2, n/2)``."""
    return (k + n // 2) % n - n // 2


def site_sum(field: Array) -> Array:
    """Sum over all axes but the first, by a fixed pairwise tree.

    `numpy.sum` adds in an order that depends on memory layout and on the number of chains; here a chain has the same
    bits in any batch, and rounding grows with the logarithm of the volume.
    """
    n_chains = field.shape[0]
    rows = field.transpose(*range(1, field.ndim), 0).reshape(-1, n_chains)
    n = len(rows)
    if n == 1:
        return rows[0].copy()
    keep = n - n // 2
    total = np.empty_like(rows[:keep])
    np.add(rows[: n - keep], rows[keep:], total[: n - keep])
    total[n - keep :] = rows[n - keep : keep]
    while (n := keep) > 1:
        keep = n - n // 2
        total[: n - keep] += total[keep:n]
    return total[0].copy()


def over(per_chain: NDArray[Any], ndim: int) -> NDArray[Any]:
    """A ``(chain,)`` array with axes of length 1 appended, to broadcast over a field of so many axes."""
    return per_chain.reshape((-1,) + (1,) * (ndim - 1))


def chain_last(n_chains: int, *shape: int, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Uninitialised array ``(chain, *shape)`` whose chain axis is fastest in memory.

    Axes behind ``(chain, mu, t, x)``, the components of matrices and of their momenta, are slowest. Memory begins at a cache
    line: that of `numpy.empty` does not where it is large, and arithmetic with vectors that cross lines takes twice as long.
    """
    extents, kind = (*shape[3:], *shape[:3], n_chains), np.dtype(dtype)
    n_bytes = math.prod(extents) * kind.itemsize
    raw = np.empty(n_bytes + CACHE_LINE, np.uint8)
    begin = -raw.__array_interface__["data"][0] % CACHE_LINE
    memory = raw[begin : begin + n_bytes].view(kind).reshape(extents)
    components, last = len(shape[3:]), memory.ndim - 1
    return memory.transpose(last, *range(components, last), *range(components))


def once(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Fields without their repetitions, and how often in a row each of them is there: what is dear may be computed once."""
    flat = x.reshape(len(x), -1)
    changes = np.flatnonzero((flat[1:] != flat[:-1]).any(axis=1)) + 1
    repeats = int(np.gcd.reduce(np.diff(changes, prepend=0, append=len(x))))
    return x[::repeats], repeats
