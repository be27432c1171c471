"""What the groups share, U(1), and how a field of any kind is moved by its momenta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .angles import wrap
from .sun import SUN

Array = NDArray[np.float64]
Elements = NDArray[Any]


class Group(Protocol):
    """A gauge group: elements are angles ``shape`` for U(1), matrices ``(*shape, n, n)`` for SU(N).

    Algebra elements are real coordinates ``w``: of the shape of the angles for U(1), ``(*shape, n^2 - 1)`` for SU(N), with
    ``exp(w) = exp(i w_a T_a)`` and ``log`` its inverse of smallest norm. ``project`` is the nearest element of the group, and
    ``check`` raises `TypeError` or `ValueError` unless it is given elements.
    """

    def haar(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Elements: ...
    def exp(self, w: Array) -> Elements: ...
    def log(self, u: Elements) -> Array: ...
    def multiply(self, u: Elements, v: Elements) -> Elements: ...
    def inverse(self, u: Elements) -> Elements: ...
    def project(self, u: Elements) -> Elements: ...
    def check(self, u: ArrayLike, name: str = "u") -> Elements: ...


@dataclass(frozen=True)
class U1:
    """The group U(1), elements as angles in [-pi, pi)."""

    def haar(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Uniform angles."""
        return rng.uniform(-np.pi, np.pi, shape)

    def exp(self, w: Array) -> Array:
        """The angle ``w`` modulo 2 pi."""
        return wrap(w)

    def log(self, u: Array) -> Array:
        """The angle in [-pi, pi)."""
        return wrap(u)

    def multiply(self, u: Array, v: Array) -> Array:
        """The product, a sum of angles."""
        return wrap(u + v)

    def inverse(self, u: Array) -> Array:
        """The inverse, minus the angle."""
        return wrap(-u)

    def project(self, u: Array) -> Array:
        """The angle in [-pi, pi)."""
        return wrap(u)

    def check(self, u: ArrayLike, name: str = "u") -> Array:
        """``u`` as finite float64 angles; raises `TypeError` or `ValueError` otherwise."""
        u = np.asarray(u)
        if u.dtype != np.float64:
            raise TypeError(f"{name}: got dtype {u.dtype}, expected float64")
        if not np.all(np.isfinite(u)):
            raise ValueError(f"{name}: got NaN or infinite angles, expected finite ones")
        return u


def drift(x: Elements, v: Array, scale: float = 1.0) -> None:
    """Move a field along its momenta, in place: ``x += scale v``, or ``U -> exp(i scale v_a T_a) U`` for complex ``x``.

    Complex fields are SU(N) links ``(chain, mu, t, x, a, b)`` with momenta ``(chain, mu, t, x, generator)``; real ones are
    angles, not wrapped here, or real numbers.
    """
    if np.iscomplexobj(x):
        SUN(x.shape[-1]).rotate(x, v if scale == 1 else scale * v)
    elif scale == 1:
        np.add(x, v, x)
    else:
        x += v * scale


def representative(x: Elements, angular: bool) -> Elements:
    """The field as it is stored: angles in [-pi, pi), matrices unitary to rounding again, real numbers as they are."""
    if np.iscomplexobj(x):
        return SUN(x.shape[-1]).reunitarised(x)
    return wrap(x) if angular else x
