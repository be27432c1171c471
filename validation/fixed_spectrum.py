"""Eigenvalues and eigenvectors of Hermitian matrices of fixed-point numbers, by Jacobi's rotations."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

from .fixed_point import BITS, ONE, Fixed

_DIGITS = 60
_SMALL = 1 << BITS // 4  # of an entry: one more sweep squares it


def eigensystem(a: Fixed) -> tuple[list[int], Fixed]:
    """Eigenvalues in rising order, fixed-point, and the unitary matrix whose columns are the eigenvectors."""
    n = len(a.re)
    a, v = Fixed(a.re.copy(), a.im.copy()), Fixed.eye(n)
    last = False
    while True:
        largest = 0
        for q in range(n):
            for p in range(q):
                largest = max(largest, _rotated(a, v, p, q))
        if last:
            break
        last = largest < _SMALL
    order = sorted(range(n), key=lambda k: int(a.re[k, k]))
    return [int(a.re[k, k]) for k in order], v[:, order]


def _rotated(a: Fixed, v: Fixed, p: int, q: int) -> int:
    """``a <- R^dag a R`` without the entry (p, q), ``v <- v R``; the size that the entry had."""
    re, im = int(a.re[p, q]), int(a.im[p, q])
    if not (re or im):
        return 0
    size = math.isqrt(
        (re * re + im * im) << 2 * BITS
    )  # with bits to spare: the phase of a small entry is to be exact too
    tau = (int(a.re[q, q] - a.re[p, p]) << 2 * BITS) // (2 * size)
    root = math.isqrt((ONE << BITS) + tau * tau)
    tangent = (ONE << BITS) // (abs(tau) + root)
    tangent = -tangent if tau < 0 else tangent
    cosine = (ONE << BITS) // math.isqrt((ONE << BITS) + tangent * tangent)
    sine = tangent * cosine >> BITS
    c, s = Fixed.of(0.0), Fixed.of(0.0)
    c.re[()] = cosine
    s.re[()], s.im[()] = (sine * re << BITS) // size, (sine * im << BITS) // size  # times the phase of the entry
    back = Fixed(s.re, -s.im)
    for m in (a, v):
        left, right = m[:, p].times(c) - m[:, q].times(back), m[:, q].times(c) + m[:, p].times(s)
        m[:, p], m[:, q] = left, right
    upper, lower = a[p].times(c) - a[q].times(s), a[q].times(c) + a[p].times(back)
    a[p], a[q] = upper, lower
    return size >> BITS


def decimal(value: int) -> Decimal:
    """A real fixed-point number."""
    return Decimal(value) / ONE


def form(a: Fixed, z: Fixed, function: Callable[[Decimal], Decimal]) -> float:
    """``z^dag f(a) z`` of a Hermitian matrix and a column, rounded once."""
    values, vectors = eigensystem(a)
    parts = vectors.dagger @ z
    with localcontext() as context:
        context.prec = _DIGITS
        weights = [(int(x) ** 2 + int(y) ** 2) >> BITS for x, y in zip(parts.re[:, 0], parts.im[:, 0], strict=True)]
        return float(sum((decimal(w) * function(decimal(k)) for w, k in zip(weights, values, strict=True)), Decimal(0)))
