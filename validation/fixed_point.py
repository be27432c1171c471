"""Complex arrays of Python integers: numbers with 51 digits behind the point, the same on every machine.

An entry ``(re, im)`` stands for ``(re + i im)/2^BITS``. Sums are exact; a product of matrices is cut once, by the shift at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BITS = 170
ONE = 1 << BITS
_DIGITS = 60

Integers = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Fixed:
    """An array of complex fixed-point numbers; `of` makes it from floats, which it holds exactly down to ``2^-BITS``."""

    re: Integers
    im: Integers

    @classmethod
    def of(cls, values: ArrayLike) -> Fixed:
        z = np.asarray(values, dtype=np.complex128)
        return cls(_integers(z.real), _integers(z.imag))

    @classmethod
    def zeros(cls, *shape: int) -> Fixed:
        return cls(*(np.zeros((2, *shape), dtype=np.int64).astype(object)))

    @classmethod
    def eye(cls, n: int) -> Fixed:
        return cls.of(np.eye(n))

    @property
    def dagger(self) -> Fixed:
        return Fixed(self.re.T, -self.im.T)

    def __getitem__(self, index: Any) -> Fixed:
        return Fixed(np.asarray(self.re[index], dtype=object), np.asarray(self.im[index], dtype=object))

    def __setitem__(self, index: Any, value: Fixed) -> None:
        self.re[index], self.im[index] = value.re, value.im

    def __add__(self, other: Fixed) -> Fixed:
        return Fixed(self.re + other.re, self.im + other.im)

    def __sub__(self, other: Fixed) -> Fixed:
        return Fixed(self.re - other.re, self.im - other.im)

    def __matmul__(self, other: Fixed) -> Fixed:
        re = (self.re @ other.re - self.im @ other.im) >> BITS
        im = (self.re @ other.im + self.im @ other.re) >> BITS
        return Fixed(re, im)

    def times(self, other: Fixed) -> Fixed:
        """Entry by entry, with broadcasting."""
        re = (self.re * other.re - self.im * other.im) >> BITS
        return Fixed(re, (self.re * other.im + self.im * other.re) >> BITS)

    def rotated(self, unit: complex) -> Fixed:
        """Times 0, 1, -1, i or -i, exactly."""
        re, im = int(unit.real), int(unit.imag)
        return Fixed(self.re * re - self.im * im, self.re * im + self.im * re)

    def rounded(self) -> NDArray[np.complex128]:
        """To float64, each part once."""
        parts = [np.array([k / ONE for k in part.ravel()]).reshape(part.shape) for part in (self.re, self.im)]
        return parts[0] + 1j * parts[1]


def _integers(values: NDArray[np.float64]) -> Integers:
    ratios = [float(v).as_integer_ratio() for v in values.ravel()]
    out = np.empty(len(ratios), dtype=object)
    out[:] = [(numerator << BITS) // denominator for numerator, denominator in ratios]
    return out.reshape(values.shape)


def phases(angles: ArrayLike) -> Fixed:
    """``exp(i theta)`` of float64 angles; ``|theta|`` at most some 10."""
    return turned(_integers(np.asarray(angles, dtype=np.float64)))


def turned(angles: Integers) -> Fixed:
    """The same of fixed-point angles, by the Taylor series with 30 bits to spare."""
    theta, bits = angles << 30, BITS + 30
    term = [np.zeros_like(theta) + (1 << bits), np.zeros_like(theta)]
    total = list(term)
    for k in range(1, 100):
        term = [-(term[1] * theta >> bits) // k, (term[0] * theta >> bits) // k]
        total = [t + d for t, d in zip(total, term, strict=True)]
    return Fixed(total[0] >> 30, total[1] >> 30)


def square_root(value: int) -> int:
    """Of a fixed-point number that is not negative."""
    return math.isqrt(value << BITS)


def reciprocal(re: int, im: int) -> tuple[int, int]:
    """``1/z`` of one number."""
    size = re * re + im * im
    return (re << 2 * BITS) // size, (-im << 2 * BITS) // size


def solved(a: Fixed, b: Fixed) -> tuple[Fixed, Fixed]:
    """``det a`` and ``a^-1 b`` by elimination, the largest entry of a column as its pivot."""
    n = len(a.re)
    work = Fixed(np.concatenate([a.re, b.re], axis=1), np.concatenate([a.im, b.im], axis=1))
    det = Fixed.of(1.0)
    for k in range(n):
        pivot = max(range(k, n), key=lambda row: abs(work.re[row, k]) + abs(work.im[row, k]))
        if pivot != k:
            work[[k, pivot]] = work[[pivot, k]]
            det = det.rotated(-1)
        det = det.times(work[k, k])
        inverse = Fixed(*(np.array(part, dtype=object) for part in reciprocal(work.re[k, k], work.im[k, k])))
        work[k, k:] = inverse.times(work[k, k:])
        work[k + 1 :, k:] = work[k + 1 :, k:] - work[k + 1 :, k, None].times(work[k, None, k:])
    x = work[:, n:]
    for k in range(n - 2, -1, -1):
        x[k] = x[k] - work[k, k + 1 : n] @ x[k + 1 :]
    return det, x


def log_absolute(z: Fixed) -> float:
    """``log |z|`` of one number, rounded once."""
    return float(log_size(z))


def log_size(z: Fixed) -> Decimal:
    """The same before it is rounded."""
    with localcontext() as context:
        context.prec = _DIGITS
        size = Decimal(int(z.re)) ** 2 + Decimal(int(z.im)) ** 2
        return size.ln() / 2 - BITS * Decimal(2).ln()
