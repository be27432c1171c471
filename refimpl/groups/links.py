"""SU(N) link fields ``(chain, mu, t, x, a, b)``: checks, plaquettes, gauge transformations.

Functions on fields ``links`` take and return component-first arrays ``(n, n, ..., t, x, chain)`` (`refimpl.groups.matrices`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .matrices import components, dagger, field, product
from .sun import SUN

Matrices = NDArray[np.complex128]


def check_matrix_links(x: ArrayLike, n: int | None = None, name: str = "x") -> Matrices:
    """``x`` as complex128 links of SU(n) (any n by default), shape ``(chain, 2, T, X, n, n)``.

    Raises `TypeError` or `ValueError` where dtype, shape or unitarity is wrong.
    """
    x = np.asarray(x)
    size = "n" if n is None else str(n)
    if x.dtype != np.complex128:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected complex128")
    if x.ndim != 6 or x.shape[1] != 2 or min(x.shape[2:]) < 2 or x.shape[4:] != (n or x.shape[4],) * 2:
        raise ValueError(
            f"{name}: got shape {x.shape}, expected (chain, 2, T, X, {size}, {size}), extents of at least 2"
        )
    if x.shape[0] == 0:
        raise ValueError(f"{name}: got zero chains, expected at least one")
    return SUN(x.shape[-1]).check(x, name)


def plaquettes_definition(x: Matrices) -> Matrices:
    """``U_0(n) U_1(n + 0^) U_0(n + 1^)^dag U_1(n)^dag`` as written, shape ``(chain, T, X, n, n)``."""
    u0, u1 = x[:, 0], x[:, 1]
    return u0 @ np.roll(u1, -1, 1) @ np.roll(u0, -1, 2).conj().swapaxes(-2, -1) @ u1.conj().swapaxes(-2, -1)


def plaquettes(links: Matrices) -> Matrices:
    """As `plaquettes_definition`, for links ``(n, n, 2, T, X, chain)``: ``(U_0(n) U_1(n + 0^)) (U_1(n) U_0(n + 1^))^dag``."""
    u0, u1 = links[:, :, 0], links[:, :, 1]
    return product(product(u0, np.roll(u1, -1, 2)), dagger(product(u1, np.roll(u0, -1, 3))))


def gauge_transform(x: Matrices, g: Matrices) -> Matrices:
    """``g(n) U_mu(n) g(n + mu^)^dag`` for ``g`` of shape ``(chain, T, X, n, n)``."""
    links, turn = components(x, 2), components(g, 2)
    turned = [product(product(turn, links[:, :, mu]), dagger(np.roll(turn, -1, 2 + mu))) for mu in (0, 1)]
    return field(np.stack(turned, axis=2), 2)
