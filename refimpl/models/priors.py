"""Densities that are known and drawn from exactly: where flows begin.

``sample(rngs, n)`` draws n fields, from one Generator or from one for each field, which then has the same bits whatever others
are drawn with it. ``log_prob`` is normalised: with respect to ``d phi`` for scalars, ``d theta`` for angles, and Haar measure of
volume 1 for links of SU(N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import exact
from ..actions import WilsonSUN, WilsonU1
from ..groups import SUN
from ..groups.links import check_matrix_links
from ..lattice import check_integer, check_links, check_number, check_rngs, check_scalars, check_shape, site_sum

Array = NDArray[np.float64]
Field = NDArray[Any]
# One for all fields, or one for each.
Streams = np.random.Generator | Sequence[np.random.Generator]
Shape = tuple[int, int]


class Prior(Protocol):
    """A normalised density of fields ``(chain, *field_shape)``."""

    @property
    def field_shape(self) -> tuple[int, ...]: ...
    def sample(self, rngs: Streams, n: int) -> Field: ...
    def log_prob(self, x: Field) -> Array: ...


@dataclass(frozen=True)
class Normal:
    """Independent N(0, 1) on every site of a lattice ``(T, X)``."""

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape(self.shape))

    @property
    def field_shape(self) -> tuple[int, ...]:
        return self.shape

    def sample(self, rngs: Streams, n: int) -> Array:
        """Fields ``(n, T, X)``."""
        check_streams(rngs, n)
        if isinstance(rngs, np.random.Generator):
            return rngs.standard_normal((n, *self.shape))
        return np.stack([rng.standard_normal(self.shape) for rng in rngs])

    def log_prob(self, x: Array) -> Array:
        """``-sum phi^2/2 - (V/2) log 2 pi``."""
        check_field("x", check_scalars(x), self.field_shape)
        return -0.5 * site_sum(x * x) - 0.5 * math.prod(self.shape) * math.log(2 * math.pi)


@dataclass(frozen=True)
class UniformAngles:
    """Uniform link angles of U(1) in [-pi, pi): its Haar measure."""

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape(self.shape))

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    def sample(self, rngs: Streams, n: int) -> Array:
        """Links ``(n, 2, T, X)``."""
        check_streams(rngs, n)
        if isinstance(rngs, np.random.Generator):
            return rngs.uniform(-np.pi, np.pi, (n, *self.field_shape))
        return np.stack([rng.uniform(-np.pi, np.pi, self.field_shape) for rng in rngs])

    def log_prob(self, x: Array) -> Array:
        """``-2 V log 2 pi``."""
        check_field("x", check_links(x), self.field_shape)
        return np.full(len(x), -math.prod(self.field_shape) * math.log(2 * math.pi))


@dataclass(frozen=True)
class Haar:
    """Independent Haar-distributed links of SU(n)."""

    n: int
    shape: Shape

    def __post_init__(self) -> None:
        SUN(self.n)  # checks n
        object.__setattr__(self, "shape", check_shape(self.shape))

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape, self.n, self.n)

    def sample(self, rngs: Streams, n: int) -> Field:
        """Links ``(n, 2, T, X, N, N)``."""
        check_streams(rngs, n)
        group, shape = SUN(self.n), (2, *self.shape)
        return group.haar(rngs, (n, *shape))

    def log_prob(self, x: Field) -> Array:
        """Zero: the measure is Haar."""
        check_field("x", check_matrix_links(x, self.n), self.field_shape)
        return np.zeros(len(x))


@dataclass(frozen=True)
class PureGauge:
    """Exact pure gauge theory of U(1), for ``n = 1``, or SU(n): density ``exp(-S)/Z`` of the Wilson action at ``beta``.

    Raises `ValueError` for a beta that the exact sampler cannot do, when it is made.
    """

    beta: float
    shape: Shape
    n: int = 1
    _log_partition: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0)
        check_integer("n", self.n, 1)
        object.__setattr__(self, "shape", check_shape(self.shape))
        object.__setattr__(self, "_log_partition", self._log_z())

    def _log_z(self) -> float:
        if self.n == 1:
            return exact.u1.log_partition(self.beta, self.shape) + math.prod(self.field_shape) * math.log(2 * math.pi)
        return exact.sun.log_partition(self.beta, self.shape, self.n)

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape) if self.n == 1 else (2, *self.shape, self.n, self.n)

    def sample(self, rngs: Streams, n: int) -> Field:
        """Links ``(n, 2, T, X)`` or ``(n, 2, T, X, N, N)``."""
        check_streams(rngs, n)
        if self.n == 1:
            return exact.u1.sample(rngs, n, self.beta, self.shape)
        return exact.sun.sample(rngs, n, self.beta, self.shape, self.n)

    def log_prob(self, x: Field) -> Array:
        """``-S(x) - log Z``, for U(1) with respect to ``d theta``."""
        check_field("x", np.asarray(x), self.field_shape)
        energy = WilsonU1(self.beta).action(x) if self.n == 1 else WilsonSUN(self.beta, self.n).action(x)
        return -energy - self._log_partition


def check_streams(rngs: Streams, n: int) -> None:
    """Raises `ValueError` or `TypeError` unless there is one Generator, or one for each of n fields."""
    if isinstance(n, bool):
        raise TypeError(f"n: got {n}, expected an integer of at least 1")
    check_integer("n", n, 1)
    if isinstance(rngs, np.random.Generator):
        return
    check_rngs(rngs, n)
    for i, rng in enumerate(rngs):
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rngs[{i}]: got {rng!r:.60}, expected a numpy.random.Generator")


def check_field(name: str, x: Field, field_shape: tuple[int, ...]) -> None:
    """Raises `ValueError` for fields of another lattice."""
    if x.shape[1:] != field_shape:
        raise ValueError(f"{name}: got fields of shape {x.shape[1:]}, expected {field_shape}")
