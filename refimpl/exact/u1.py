"""Two-dimensional U(1) on a periodic T x X lattice: exact answers and an exact independent sampler.

Density ``exp(-beta sum_P (1 - cos theta_P)) / Z`` with Haar measure ``d theta / 2 pi`` on every link; ``V = T X``
plaquettes. With ``a_n = exp(-beta) I_n(beta)`` the character expansion gives ``Z = sum_n a_n^V`` over all integers, and
every expectation below is an average over ``n`` with weights ``w_n = a_n^V / Z`` (Abbott 2022 uses the same weights).

The sums are done in decimal arithmetic of 50 digits or more and rounded once, so every digit returned is right: the
susceptibilities cancel by many orders at large beta, and powers ``a_n^V`` at ``V = 4096`` would lose three digits.
The infinite-volume ``I_1/I_0`` is the wrong reference for a small lattice: at 8x8, beta = 7 it is off by 1e-4.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = tuple[int, int]
# One for all configurations, or one for each: then a configuration has the same bits whatever others are drawn with it.
Streams = np.random.Generator | Sequence[np.random.Generator]

_DIGITS = 50
# The sums over charges grow with beta and with the volume: seconds to a minute at these.
LARGEST_BETA = 200.0
LARGEST_VOLUME = 128 * 128
# Beyond it even the plaquette takes many seconds.
HIGHEST_BETA = 1e8
# Charge sectors less probable than this are not listed (neighbours of sector 0 always are).
SMALLEST_PROBABILITY = 1e-30
# Terms of the theta sum that are summed one by one where it falls slowly; beyond, the tail has a closed form.
_THETA_TERMS = 100


def log_partition(beta: float, shape: Shape) -> float:
    """``log Z = log sum_n a_n^V``: zero at ``beta = 0``, negative otherwise."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        return float(_partition(beta, volume).ln())


def plaquette(beta: float, shape: Shape) -> float:
    """``<cos theta_P> = sum_n w_n c_n``, ``c_n = I_n'(beta)/I_n(beta)``."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        return float(_average(beta, volume, _cos))


def single_plaquette_variance(beta: float, shape: Shape) -> float:
    """``<cos^2 theta_P> - <cos theta_P>^2`` of one plaquette."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        return float(_average(beta, volume, _cos_squared) - _average(beta, volume, _cos) ** 2)


def plaquette_covariance(beta: float, shape: Shape) -> float:
    """``<cos cos'> - <cos>^2`` of two different plaquettes: ``sum_n w_n (c_n - <c>)^2``, the same at any distance."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        return float(_plaquette_covariance(beta, volume))


def plaquette_variance(beta: float, shape: Shape) -> float:
    """Variance, over configurations, of the mean plaquette ``sum_P cos theta_P / V``; equals ``(1/V) d<cos>/d beta``."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        single = _average(beta, volume, _cos_squared) - _average(beta, volume, _cos) ** 2
        return float((single + (volume - 1) * _plaquette_covariance(beta, volume)) / volume)


def wilson_loop(beta: float, shape: Shape, area: int) -> float:
    """``<cos>`` of a contractible loop enclosing ``area`` plaquettes: ``sum_n a_n^(V-A) a_(n+1)^A / Z``."""
    volume = _volume(beta, shape)
    if not _is_integer(area) or not 0 <= area <= volume:
        raise ValueError(f"area: got {area!r}, expected an integer from 0 to the volume {volume}")
    with decimal.localcontext(_context(_DIGITS)):
        a = _bessel(beta, _DIGITS)
        total = sum(
            (_power(a[abs(n)], volume - area) * _power(a[abs(n + 1)], area) for n in range(-len(a) + 1, len(a) - 1)),
            Decimal(0),
        )
        return float(total / _partition(beta, volume))


def sine_correlation(beta: float, shape: Shape) -> float:
    """``<sin theta_P sin theta_P'>`` of two different plaquettes: ``- sum_n w_n (n/beta)^2``."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        return float(_average(beta, volume, _sine_correlation))


def sine_charge_susceptibility(beta: float, shape: Shape) -> float:
    """``<Q_sin^2>/V = (<sin^2> + (V-1) <sin sin'>) / 4 pi^2``."""
    volume = _volume(beta, shape)
    with decimal.localcontext(_context(_DIGITS)):
        sin_squared = 1 - _average(beta, volume, _cos_squared)
        total = sin_squared + (volume - 1) * _average(beta, volume, _sine_correlation)
        return float(total / (4 * _pi() ** 2))


def charge_susceptibility(beta: float, shape: Shape) -> float:
    """``<Q^2>/V`` of the integer charge, from the curvature of the theta partition function at 0.

    ``Z(theta) = sum_n c(n + theta/2 pi)^V`` with ``c(k) = sum_m a_m sinc(k - m)``, hence ``<Q^2> = - sum_n (c^V)''(n) /
    (4 pi^2 Z)``; at an integer ``c(n) = a_n``, and the derivatives of sinc are ``(-1)^j/j`` and ``-2 (-1)^j/j^2``. For
    ``beta <= LARGEST_BETA``.
    """
    volume = _volume(beta, shape, largest_beta=LARGEST_BETA)
    digits = _charge_digits(beta, volume)
    with decimal.localcontext(_context(digits)):
        a = _bessel(beta, digits)
        pi, total = _pi(), Decimal(0)
        for n in range(len(a)):
            if a[n] == 0:
                break
            slope, curve = Decimal(0), -a[n] * pi**2 / 3
            for m in range(-len(a) + 1, len(a)):
                j = n - m
                if j:
                    slope += (1 - 2 * (j % 2)) * a[abs(m)] / j
                    curve -= 2 * (1 - 2 * (j % 2)) * a[abs(m)] / j**2
            term = volume * a[n] ** (volume - 2) * (a[n] * curve + (volume - 1) * slope**2)
            total += term if n == 0 else 2 * term
        return float(-total / (4 * pi**2 * _partition(beta, volume, digits)) / volume)


def charge_distribution(beta: float, shape: Shape) -> tuple[NDArray[np.int64], Array]:
    """Integer charges and their probabilities ``p(Q)``, symmetric in Q.

    Lists every sector with ``p(Q) >= SMALLEST_PROBABILITY``, and Q = -1, 0, 1 always. ``p(Q) = (1/M) sum_j Z(2 pi j/M)
    cos(2 pi Q j/M) / Z`` is free of aliasing for ``M > V``, because ``|Q| < V/2``. For ``beta <= LARGEST_BETA``.
    """
    volume = _volume(beta, shape, largest_beta=LARGEST_BETA)
    charges, probabilities = _charge_distribution(float(beta), volume)
    return charges.copy(), probabilities.copy()


def winding_ceiling(beta: float, shape: Shape) -> float:
    """``sum_Q min(p(Q), p(Q + 1))``: the largest rate of charge changes of a Metropolis step that proposes ``Q +- 1``.

    With a direction chosen by a fair coin, a step from Q to Q + 1 happens at a rate of at most ``min(p(Q), p(Q + 1))/2``,
    and as often back. Equal to ``1 - p(0)`` where p(Q) falls with ``|Q|``, without its cancellation. For ``beta <=
    LARGEST_BETA``.
    """
    _, p = charge_distribution(beta, shape)
    return math.fsum(np.minimum(p[1:], p[:-1]))


@lru_cache(maxsize=64)
def _charge_distribution(beta: float, volume: int) -> tuple[NDArray[np.int64], Array]:
    digits = _charge_digits(beta, volume)
    with decimal.localcontext(_context(digits)):
        points = volume + 1
        rotation = _cos_sin_table(points)
        z = [_theta_partition(beta, volume, j, points, rotation) for j in range(points // 2 + 1)]
        # Z(theta) is even: points j and M - j count twice, j = 0 (and M/2) once.
        z = [value if 2 * j % points == 0 else 2 * value for j, value in enumerate(z)]
        norm = points * _partition(beta, volume, digits)
        half = []
        for charge in range((volume + 1) // 2):
            p = float(sum((z[j] * rotation[charge * j % points][0] for j in range(len(z))), Decimal(0)) / norm)
            if charge > 1 and p < SMALLEST_PROBABILITY:
                break
            half.append(p)
    largest = len(half) - 1
    return np.arange(-largest, largest + 1), np.array(half[:0:-1] + half)


def _theta_partition(beta: float, volume: int, j: int, points: int, rotation: list[tuple[Decimal, Decimal]]) -> Decimal:
    """``Z(2 pi kappa) = sum_m c(kappa + m)^V`` at ``kappa = j/points``.

    Off the integers ``c(z) = sin(pi z)/pi h(z)``, ``h(z) = sum_n (-1)^n a_n/(z - n)``. Far out ``h(z) = exp(-2 beta) [1/z -
    beta/z^3 + ...]``, an algebraic tail that only few plaquettes let matter and that Hurwitz zeta functions sum.
    """
    digits = decimal.getcontext().prec
    if j == 0:
        return _partition(beta, volume, digits)
    a = _bessel(beta, digits)
    kappa = Decimal(j) / points
    # sin(pi kappa) from the table of angles 2 pi k/M: the half angle of 2 pi kappa, 0 < kappa <= 1/2.
    scale = ((1 - rotation[j][0]) / 2).sqrt() / _pi()
    negligible = _partition(beta, volume, digits) * Decimal(10) ** -digits
    signed = [(n * n, (-1) ** n * value) for n, value in enumerate(a)][1:]
    total = Decimal(0)
    # c(k)^V falls like exp(-k^2 V/2 beta) until its algebraic tail, for which 100 terms more are left.
    terms = _THETA_TERMS + math.ceil(math.sqrt(2 * beta * digits * math.log(10) / volume))
    for direction in (1, -1):
        for m in range(terms) if direction == 1 else range(-1, -terms - 1, -1):
            z = kappa + m
            z_squared = z * z
            h = a[0] / z + 2 * z * sum((value / (z_squared - square) for square, value in signed), Decimal(0))
            term = ((1 - 2 * (m % 2)) * scale * h) ** volume
            total += term
            if abs(term) < negligible:
                break
        else:
            total += _theta_tail(beta, volume, terms, float(kappa if direction == 1 else 1 - kappa), scale)
    return total


def _theta_tail(beta: float, volume: int, terms: int, fraction: float, scale: Decimal) -> Decimal:
    """``sum_{m >= terms} ((-1)^m scale h(m + fraction))^V`` to the second order in ``1/z^2``; alternating where V is odd."""
    from scipy.special import zeta

    def power_sum(power: int) -> float:
        start = terms + fraction
        if volume % 2 == 0:
            return float(zeta(power, start))
        halves = zeta(power, start / 2) - zeta(power, start / 2 + 0.5)
        return math.ldexp((1 - 2 * (terms % 2)) * float(halves), -power)

    powers = power_sum(volume) - volume * beta * power_sum(volume + 2)
    return (scale * (-2 * Decimal(float(beta))).exp()) ** volume * Decimal(powers)


def _charge_digits(beta: float, volume: int) -> int:
    """Digits that leave 50 in ``p(1)``: its action is at most that of a uniform flux, or of one plaquette at pi."""
    cost = beta * min(volume * (1 - math.cos(2 * math.pi / volume)), 2 + math.pi**2 / 2 / (volume - 1))
    return _DIGITS + math.ceil(cost / math.log(10))


def _volume(beta: float, shape: Shape, largest_beta: float = math.inf) -> int:
    if isinstance(beta, int | float) and HIGHEST_BETA < beta < math.inf:
        raise ValueError(f"beta: got {beta!r}, expected at most {HIGHEST_BETA:g}: the number of terms grows with it")
    if not (
        isinstance(beta, int | float | np.integer | np.floating) and math.isfinite(beta) and 0 <= beta <= largest_beta
    ):
        limit = "a finite number >= 0" if largest_beta == math.inf else f"a number from 0 to {largest_beta:g}"
        raise ValueError(f"beta: got {beta!r}, expected {limit}")
    if not isinstance(shape, tuple | list) or len(shape) != 2 or not all(_is_integer(e) and e >= 2 for e in shape):
        raise ValueError(f"shape: got {shape!r}, expected two integer extents (T, X) of at least 2")
    volume = int(shape[0]) * int(shape[1])
    if largest_beta < math.inf and volume > LARGEST_VOLUME:
        raise ValueError(f"shape: got {shape!r}, expected at most {LARGEST_VOLUME} sites for sums over charges")
    return volume


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _context(digits: int) -> decimal.Context:
    return decimal.Context(prec=digits, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


@lru_cache(maxsize=64)
def _ratios(beta: float, digits: int) -> list[Decimal]:
    """``I_(n+1)(beta)/I_n(beta)`` for n = 0, 1, ... by the downward recurrence ``r_(n-1) = beta/(2 n + beta r_n)``."""
    # More orders than `_bessel` keeps: a_n/a_0 is about exp(-n^2/(2 beta + n)), solved for n.
    depth = (digits + 10) * math.log(10)
    top = math.ceil(depth / 2 + math.sqrt(depth**2 / 4 + 2 * beta * depth)) + 10
    with decimal.localcontext(_context(digits + 10)):
        b, r = Decimal(float(beta)), Decimal(0)
        ratios = [r] * top
        for n in range(top, 0, -1):
            r = b / (2 * n + b * r)
            ratios[n - 1] = r
    return ratios


@lru_cache(maxsize=64)
def _bessel(beta: float, digits: int) -> list[Decimal]:
    """``a_n = exp(-beta) I_n(beta)`` for n = 0, 1, ..., normalised by ``a_0 + 2 sum a_n = 1``, down to 10^-digits."""
    with decimal.localcontext(_context(digits + 10)):
        a = [Decimal(1)]
        for ratio in _ratios(beta, digits):
            a.append(a[-1] * ratio)
            if a[-1] < Decimal(10) ** -(digits + 5):
                break
        norm = a[0] + 2 * sum(a[1:], Decimal(0))
        return [value / norm for value in a]


@lru_cache(maxsize=64)
def _partition(beta: float, volume: int, digits: int = _DIGITS) -> Decimal:
    a = _bessel(beta, digits)
    return a[0] ** volume + 2 * sum((value**volume for value in a[1:]), Decimal(0))


def _average(beta: float, volume: int, value: Callable[[float, int], Decimal]) -> Decimal:
    """``sum_n w_n value(n)`` for a quantity even in n."""
    a = _bessel(beta, _DIGITS)
    total = value(beta, 0) * a[0] ** volume
    for n in range(1, len(a)):
        if a[n] > 0:
            total += 2 * a[n] ** volume * value(beta, n)
    return total / _partition(beta, volume)


def _power(value: Decimal, exponent: int) -> Decimal:
    """``value ** exponent`` with ``0 ** 0 = 1``, which decimal refuses."""
    return value**exponent if exponent else Decimal(1)


def _cos(beta: float, n: int) -> Decimal:
    """``I_n'/I_n = I_(n+1)/I_n + n/beta``; n = 0 is the only order that exists at beta = 0."""
    ratio = _ratios(beta, _DIGITS)[n]
    return ratio if n == 0 else ratio + n / Decimal(float(beta))


def _cos_squared(beta: float, n: int) -> Decimal:
    """``I_n''/I_n = 1 + (n/beta)^2 - c_n/beta`` by Bessel's equation; ``1/2 + I_2/(2 I_0)`` at n = 0."""
    if n == 0:
        ratios = _ratios(beta, _DIGITS)
        return (1 + ratios[0] * ratios[1]) / 2
    b = Decimal(float(beta))
    return 1 + (n / b) ** 2 - _cos(beta, n) / b


def _sine_correlation(beta: float, n: int) -> Decimal:
    return Decimal(0) if n == 0 else -((n / Decimal(float(beta))) ** 2)


def _plaquette_covariance(beta: float, volume: int) -> Decimal:
    centre = _cos(beta, 0)  # the mean differs from it by little, and by nothing that 50 digits hold where w_1 is tiny
    mean = _average(beta, volume, lambda b, n: _cos(b, n) - centre)
    return _average(beta, volume, lambda b, n: (_cos(b, n) - centre) ** 2) - mean**2


def _pi() -> Decimal:
    """Pi to the current precision, by Machin's formula."""

    def arctan_inverse(q: int) -> Decimal:
        power, total, k = Decimal(1) / q, Decimal(0), 1
        while power > Decimal(10) ** -(decimal.getcontext().prec + 5):
            total += power / k if k % 4 == 1 else -power / k
            power, k = power / (q * q), k + 2
        return total

    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def _cos_sin_table(points: int) -> list[tuple[Decimal, Decimal]]:
    """``(cos, sin)(2 pi k/points)`` for k = 0, ..., points - 1, by Taylor series and rotation."""
    with decimal.localcontext() as context:
        context.prec += 10
        angle = 2 * _pi() / points
        c = s = Decimal(0)
        term, k = Decimal(1), 0
        while abs(term) > Decimal(10) ** -context.prec:
            if k % 2 == 0:
                c += term if k % 4 == 0 else -term
            else:
                s += term if k % 4 == 1 else -term
            k += 1
            term = term * angle / k
        table = [(Decimal(1), Decimal(0))]
        for _ in range(points - 1):
            x, y = table[-1]
            table.append((x * c - y * s, x * s + y * c))
        return table


def sample(rng: Streams, n: int, beta: float, shape: Shape, charge: int | None = None) -> Array:
    """``n`` independent configurations of link angles in [-pi, pi), exactly distributed, shape ``(n, 2, T, X)``.

    Plaquettes from `sample_plaquettes`, the two holonomies and a gauge transformation uniform: an automorphism of the
    torus group, so Haar goes to Haar. With ``charge`` given, configurations of that integer charge only, by rejection,
    for sectors of probability at least 1e-4; not with a Generator for each configuration.
    """
    _volume(beta, shape)
    if not _is_integer(n) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    if not isinstance(rng, np.random.Generator) and (len(rng) != n or charge is not None):
        raise ValueError(f"rng: got {len(rng)} generators, expected one per configuration ({n}), and no charge")
    n_t, n_x = shape
    p = _plaquettes_of_charge(rng, n, beta, shape, charge).reshape(n, n_t, n_x)
    links = np.zeros((n, 2, n_t, n_x))
    links[:, 0, 0, 0] = _uniform(rng, n)
    links[:, 0, :, 1:] = links[:, 0, :, :1] - np.cumsum(p[:, :, :-1], axis=2)
    links[:, 1, 0, -1] = _uniform(rng, n)
    links[:, 1, 1:, -1] = links[:, 1, :1, -1] + np.cumsum(p.sum(axis=2), axis=1)[:, :-1]
    alpha = _uniform(rng, n, n_t, n_x)
    links[:, 0] += alpha - np.roll(alpha, -1, axis=1)
    links[:, 1] += alpha - np.roll(alpha, -1, axis=2)
    return _wrapped(links)


def _plaquettes_of_charge(rng: Streams, n: int, beta: float, shape: Shape, charge: int | None) -> Array:
    volume = shape[0] * shape[1]
    if charge is None:
        return sample_plaquettes(rng, n, beta, volume)
    charges, probabilities = charge_distribution(beta, shape)
    probability = float(probabilities[charges == charge].sum())
    if probability < 1e-4:
        raise ValueError(f"charge: got {charge}, a sector of probability {probability:.1e}, expected at least 1e-4")
    kept = np.empty((0, volume))
    while len(kept) < n:
        wanted = math.ceil(1.1 * (n - len(kept)) / probability) + 10
        angles = sample_plaquettes(rng, min(wanted, 10 + 2**23 // volume), beta, volume)  # at most 64 MB at a time
        kept = np.concatenate([kept, angles[np.rint(angles.sum(axis=1) / (2 * np.pi)) == charge]])
    return kept[:n]


def sample_plaquettes(rng: Streams, n: int, beta: float, volume: int) -> Array:
    """``volume`` (at least 2) von Mises(beta) angles conditioned on a sum of 0 modulo 2 pi; shape ``(n, volume)``.

    Also the bond angles of the periodic O(2) chain. A halving tree: of ``m`` angles left with required sum ``s``, draw
    half freely with sum ``y``, accept with ``g_r(s - y)/g_r(0)``, where ``g_r`` is the density of the sum of the other ``r``;
    the last two come from their exact conditional law. Only rejected configurations are drawn again.
    """
    if not _is_integer(volume) or volume < 2:
        raise ValueError(f"volume: got {volume!r}, expected an integer of at least 2")
    angles = np.empty((n, volume))
    required = np.zeros(n)
    filled = 0
    while (left := volume - filled) > 2:
        m = left // 2
        density = _sum_density(beta, left - m)
        todo = np.arange(n)
        while todo.size:
            draw = _vonmises(rng, todo, beta, m)
            rest = required[todo] - draw.sum(axis=1)
            accept = _random(rng, todo) < density(rest)
            angles[todo[accept], filled : filled + m] = draw[accept]
            required[todo[accept]] = rest[accept]
            todo = todo[~accept]
        filled += m
    # a and s - a both von Mises(beta): a is von Mises about s/2 with concentration 2 beta cos(s/2).
    c = np.cos(required / 2)
    mean = _wrapped(required / 2 + np.where(c < 0, np.pi, 0.0))
    angles[:, -2] = _last_vonmises(rng, mean, 2 * beta * np.abs(c))
    angles[:, -1] = _wrapped(required - angles[:, -2])
    return angles


def _sum_density(beta: float, m: int) -> Callable[[Array], Array]:
    """``s -> g_m(s)/g_m(0)``, ``g_m(s) = 1 + 2 sum_n (I_n/I_0)^m cos(n s)``: the density of a sum of m von Mises angles."""
    coefficients = _sum_coefficients(float(beta), m)
    peak = sum(coefficients)

    def density(s: Array) -> Array:
        return np.asarray(np.polynomial.chebyshev.chebval(np.cos(s), coefficients) / peak, dtype=np.float64)

    return density


@lru_cache(maxsize=256)
def _sum_coefficients(beta: float, m: int) -> tuple[float, ...]:
    a = _bessel(beta, _DIGITS)
    terms = [float((value / a[0]) ** m) for value in a[1:]]
    return (1.0, *(2 * term for term in terms if term > 1e-18))


def _uniform(rng: Streams, n: int, *shape: int) -> Array:
    """Angles in [-pi, pi), ``(n, *shape)``."""
    if isinstance(rng, np.random.Generator):
        return rng.uniform(-np.pi, np.pi, (n, *shape))
    return np.array([own.uniform(-np.pi, np.pi, shape) for own in rng])


def _vonmises(rng: Streams, chosen: NDArray[np.int64], beta: float, m: int) -> Array:
    """``m`` von Mises angles about 0 for each of the chosen configurations."""
    if isinstance(rng, np.random.Generator):
        return rng.vonmises(0.0, beta, (chosen.size, m))
    return np.array([rng[i].vonmises(0.0, beta, m) for i in chosen])


def _random(rng: Streams, chosen: NDArray[np.int64]) -> Array:
    """One number in [0, 1) for each of the chosen configurations."""
    return (
        rng.random(chosen.size) if isinstance(rng, np.random.Generator) else np.array([rng[i].random() for i in chosen])
    )


def _last_vonmises(rng: Streams, mean: Array, concentration: Array) -> Array:
    """One von Mises angle for each configuration, about its own mean."""
    if isinstance(rng, np.random.Generator):
        return rng.vonmises(mean, concentration)
    return np.array([own.vonmises(*pair) for own, *pair in zip(rng, mean, concentration, strict=True)])


def _wrapped(x: Array) -> Array:
    x = x - 2 * np.pi * np.floor((x + np.pi) / (2 * np.pi))
    return np.where(x >= np.pi, -np.pi, x)
