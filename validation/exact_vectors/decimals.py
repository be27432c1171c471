"""Functions of decimal numbers to the precision of the context, and quadratures with their nodes: the standard library alone.

The same digits on every machine. Arguments of `cosine` and `sine` are of moderate size: a Taylor series of ``x`` up to some 20
loses as many digits as ``exp(|x|)`` has, which `spare` digits make up for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, getcontext, localcontext
from functools import lru_cache

ZERO, ONE, HALF = Decimal(0), Decimal(1), Decimal("0.5")


def total(terms: Iterable[Decimal]) -> Decimal:
    return sum(terms, ZERO)


def pi() -> Decimal:
    """To the precision of the context, by the arithmetic-geometric mean of Gauss and Legendre."""
    return _pi(getcontext().prec)


@lru_cache(maxsize=64)
def _pi(digits: int) -> Decimal:
    with localcontext() as context:
        context.prec = digits + 10
        a, b, t, p = ONE, 1 / Decimal(2).sqrt(), Decimal("0.25"), ONE
        while abs(a - b) > Decimal(10) ** (-digits - 5):
            mean = (a + b) / 2
            a, b, t, p = mean, (a * b).sqrt(), t - p * (a - mean) ** 2, 2 * p
        return (a + b) ** 2 / (4 * t)


def cosine(x: Decimal) -> Decimal:
    return _alternating(x, ONE, 0)


def sine(x: Decimal) -> Decimal:
    return _alternating(x, x, 1)


def _alternating(x: Decimal, first: Decimal, k: int) -> Decimal:
    """The terms ``x^k/k!`` of every other k, with signs that change."""
    with localcontext() as context:
        digits = context.prec
        context.prec += 5 + int(abs(x))
        term, result, square = first, first, x * x
        while abs(term) > Decimal(10) ** -(digits + 5) * abs(first):
            k += 2
            term *= -square / (k * (k - 1))
            result += term
    return +result


def circle(points: int) -> list[Decimal]:
    """``cos(2 pi j/N)`` for j = 0, ..., N - 1, by turning a unit vector; sines are those of a quarter turn before."""
    with localcontext() as context:
        context.prec += 10
        step = 2 * pi() / points
        c, s = cosine(step), sine(step)
        a, b, cosines = ONE, ZERO, []
        for _ in range(points // 2 + 1):
            cosines.append(a)
            a, b = a * c - b * s, a * s + b * c
    return [+cosines[min(j, points - j)] for j in range(points)]


def error_function(x: Decimal) -> Decimal:
    """``erf x = 2/sqrt(pi) sum_k (-1)^k x^(2 k + 1)/(k! (2 k + 1))``, for moderate x."""
    with localcontext() as context:
        digits = context.prec
        context.prec += 10 + int(x * x)
        power, result, k = x, x, 0
        while abs(power) > Decimal(10) ** -(digits + 10):
            k += 1
            power *= -x * x / k
            result += power / (2 * k + 1)
        result *= 2 / pi().sqrt()
    return +result


def arctangent(x: Decimal) -> Decimal:
    """By halving the angle until its series converges fast."""
    if abs(x) > 1:
        return (pi() / 2).copy_sign(x) - arctangent(1 / x)
    doublings = 0
    while abs(x) > Decimal("0.05"):
        x, doublings = x / (1 + (1 + x * x).sqrt()), doublings + 1
    term, result, k = x, x, 1
    while abs(term) > Decimal(10) ** -getcontext().prec:
        term *= -x * x
        k += 2
        result += term / k
    return result * 2**doublings


@lru_cache(maxsize=16)
def _legendre(n: int, digits: int) -> tuple[tuple[Decimal, Decimal], ...]:
    """Nodes and weights of Gauss and Legendre on [-1, 1], by Newton's method."""
    import math

    rule = []
    with localcontext() as context:
        context.prec = digits + 10
        for i in range((n + 1) // 2):
            x = Decimal(math.cos(math.pi * (i + 0.75) / (n + 0.5)))
            for _ in range(digits.bit_length() + 1):
                before, value = ONE, x
                for k in range(2, n + 1):
                    before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
                slope = n * (x * value - before) / (x * x - 1)
                step = value / slope
                x -= step
                if abs(step) < Decimal(10) ** -(digits // 2 + 5):  # the next would be of the size of its square
                    break
            weight = 2 / ((1 - x * x) * slope * slope)
            rule += [(x, weight), (-x, weight)] if 2 * i + 1 != n else [(ZERO, weight)]
    return tuple(rule)


def gauss(a: Decimal, b: Decimal, n: int) -> list[tuple[Decimal, Decimal]]:
    """Nodes and weights of n points on [a, b]."""
    middle, half = (a + b) / 2, (b - a) / 2
    return [(middle + half * x, half * w) for x, w in _legendre(n, getcontext().prec)]


def line(function: Callable[[Decimal], Decimal], step: Decimal, least: Decimal) -> Decimal:
    """The integral over the real line of a smooth function that falls fast, by the trapezoidal rule."""
    result, k = function(ZERO), 0
    while True:
        k += 1
        pair = function(k * step) + function(-k * step)
        result += pair
        if abs(pair) < least * abs(result):
            return result * step
