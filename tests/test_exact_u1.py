"""Exact answers of two-dimensional U(1) against second derivations that share no code and no formula with them.

Three other routes to the same numbers, none of which uses the package's recurrences or its decimal sums:

* the integral over the three free plaquettes of a 2x2 lattice on an equispaced grid: no character expansion at all;
* the character expansion from mpmath's Bessel functions, observables put in as shifted orders, derivatives of log Z;
* charge sectors in real space: the density of a sum of von Mises angles at 2 pi Q, from positive terms only, so that
  probabilities of 1e-76 keep all their digits.

Then the sampler, against those exact answers.
"""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from refimpl import lattice
from refimpl.exact import u1

BETAS = [0.01, 0.3, 1.0, 4.0, 7.0, 50.0]
SHAPES = [(2, 2), (2, 3), (3, 3), (8, 8), (64, 64)]
LARGE = [((32, 32), 50.0), ((64, 64), 0.3), ((64, 64), 7.0)]  # charge sectors take seconds at 64x64, beta = 50
EXACT = 1e-12  # relative; the package promises every digit, the second routes reach this

QUANTITIES = {
    "log_partition": u1.log_partition,
    "plaquette": u1.plaquette,
    "single_plaquette_variance": u1.single_plaquette_variance,
    "plaquette_covariance": u1.plaquette_covariance,
    "plaquette_variance": u1.plaquette_variance,
    "sine_correlation": u1.sine_correlation,
    "sine_charge_susceptibility": u1.sine_charge_susceptibility,
    "charge_susceptibility": u1.charge_susceptibility,
    "charge_distribution": u1.charge_distribution,
    "winding_ceiling": u1.winding_ceiling,
}


def volume_of(shape):
    return shape[0] * shape[1]


# --- Route 1: the integral over the three free plaquettes of 2x2 -----------------------------------------------------


@pytest.mark.parametrize("beta", BETAS)
def test_2x2_answers_equal_the_integral_over_its_three_free_plaquettes(beta):
    # N equispaced points are wrong by aliases a_N/a_0 = exp(-N^2/(2 beta)): below 1e-30 at N = 96, beta = 50.
    points = 96
    angle = 2 * np.pi * np.arange(points) / points
    a, b, c = angle[:, None, None], angle[None, :, None], angle[None, None, :]
    d = -(a + b + c)
    cosines, sines = [np.cos(x) for x in (a, b, c, d)], [np.sin(x) for x in (a, b, c, d)]
    weight = np.exp(-beta * (4 - sum(cosines)))
    z = weight.mean()

    def average(values):
        return (weight * values).mean() / z

    mean = average(cosines[3])
    fluctuations = [values - mean for values in cosines]
    expected = {
        "log_partition": math.log(z),
        "plaquette": mean,
        "single_plaquette_variance": average(fluctuations[3] ** 2),
        "plaquette_covariance": average(fluctuations[0] * fluctuations[3]),
        "plaquette_variance": average((sum(fluctuations) / 4) ** 2),
        "sine_correlation": average(sines[1] * sines[3]),
        "sine_charge_susceptibility": average(sum(sines) ** 2) / (4 * 4 * np.pi**2),
    }
    answers = {name: QUANTITIES[name](beta, (2, 2)) for name in expected}
    # Absolute: at beta = 0.01 terms of size 1/2 cancel down to 1e-5; an average of 1e6 roundings of 1e-16 stays < 1e-17.
    assert answers == pytest.approx(expected, rel=EXACT, abs=1e-17)
    for area, loop in enumerate([0 * a, a, a + b, a + b + c, a + b + c + d]):
        assert u1.wilson_loop(beta, (2, 2), area) == pytest.approx(average(np.cos(loop)), rel=EXACT, abs=1e-17)


# --- Route 2: character sums and derivatives in mpmath ---------------------------------------------------------------


@pytest.fixture
def mp():
    mpmath = pytest.importorskip("mpmath", reason="the second route to the character sums needs mpmath")
    with mpmath.workdps(60):
        yield mpmath


@cache
def bessel_row(beta, digits):
    """``exp(-beta) I_n(beta)`` for n = 0, 1, ... to this many digits, ``beta`` an mpmath number."""
    import mpmath

    row = []
    while not row or row[-1] > mpmath.mpf(10) ** -digits:
        row.append(mpmath.exp(-beta) * mpmath.besseli(len(row), beta))
    return row


def character_sum(mp, beta, volume, area=0):
    """``sum_n a_n^(V - A) a_(n + 1)^A``: Z, or for A > 0 the unnormalised Wilson loop of area A."""
    row = bessel_row(mp.mpf(beta), mp.mp.dps)
    orders = range(-len(row) + 1, len(row) - 1)
    return mp.fsum(row[abs(n)] ** (volume - area) * row[abs(n + 1)] ** area for n in orders)


def log_z(mp, volume):
    return lambda beta: mp.log(character_sum(mp, beta, volume))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_partition_is_the_sum_of_powers_of_bessel_functions(mp, shape, beta):
    expected = float(log_z(mp, volume_of(shape))(mp.mpf(beta)))
    assert u1.log_partition(beta, shape) == pytest.approx(expected, rel=EXACT, abs=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_plaquette_and_its_variance_are_derivatives_of_log_partition(mp, shape, beta):
    volume = volume_of(shape)
    # S = beta sum (1 - cos): d log Z/d beta = -V (1 - <cos>), d^2 log Z/d beta^2 = V^2 var(mean plaquette).
    with mp.workdps(20):  # the differences inside are taken with several times as many digits
        first, second = (mp.diff(log_z(mp, volume), mp.mpf(beta), order) for order in (1, 2))
    assert u1.plaquette(beta, shape) == pytest.approx(float(1 + first / volume), rel=EXACT, abs=0)
    assert u1.plaquette_variance(beta, shape) == pytest.approx(float(second / volume**2), rel=EXACT, abs=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_correlations_equal_character_sums_with_shifted_orders(mp, shape, beta):
    volume = volume_of(shape)
    row = bessel_row(mp.mpf(beta), mp.mp.dps)
    orders = range(-len(row) + 3, len(row) - 2)
    a = {n: row[abs(n)] for n in range(-len(row) + 1, len(row))}
    z = sum(a[n] ** volume for n in orders)
    weight = {n: a[n] ** volume / z for n in orders}
    # A cosine (sine) of one plaquette turns its a_n into the half sum (half difference over i) of its neighbours.
    cos = {n: (a[n - 1] + a[n + 1]) / (2 * a[n]) for n in orders}
    sin = {n: (a[n - 1] - a[n + 1]) / (2 * a[n]) for n in orders}
    cos_twice = sum(weight[n] * (a[n - 2] + a[n + 2]) / (2 * a[n]) for n in orders)
    mean = sum(weight[n] * cos[n] for n in orders)
    sin_sin = -sum(weight[n] * sin[n] ** 2 for n in orders)
    covariance = sum(weight[n] * cos[n] ** 2 for n in orders) - mean**2  # 60 digits, of which it keeps 30
    single = (1 + cos_twice) / 2 - mean**2
    expected = {
        "plaquette": mean,
        "single_plaquette_variance": single,
        "plaquette_covariance": covariance,
        "plaquette_variance": (single + (volume - 1) * covariance) / volume,
        "sine_correlation": sin_sin,
        "sine_charge_susceptibility": ((1 - cos_twice) / 2 + (volume - 1) * sin_sin) / (4 * mp.pi**2),
    }
    for name, value in expected.items():
        floor = 1e-30 if name == "plaquette_covariance" else 0  # a difference of numbers below 1, above
        assert QUANTITIES[name](beta, shape) == pytest.approx(float(value), rel=EXACT, abs=floor), name


@pytest.mark.parametrize(("shape", "beta"), [((8, 8), 0.01), ((64, 64), 0.01), ((64, 64), 7.0)])
def test_tiny_plaquette_covariance_keeps_its_digits(mp, shape, beta):
    row = bessel_row(mp.mpf(beta), mp.mp.dps)
    # Only n = -1, 0, 1 count here: 2 w_1 (c_1 - c_0)^2, with w_1 = (a_1/a_0)^V and c_n = (a_(n-1) + a_(n+1))/2 a_n.
    step = (row[0] + row[2]) / (2 * row[1]) - row[1] / row[0]
    expected = 2 * (row[1] / row[0]) ** volume_of(shape) * step**2
    assert u1.plaquette_covariance(beta, shape) == pytest.approx(float(expected), rel=EXACT, abs=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_wilson_loops_are_ratios_of_character_sums(mp, shape, beta):
    volume = volume_of(shape)
    for area in {0, 1, 2, 3, volume // 3, volume // 2, volume - 1, volume}:
        expected = float(character_sum(mp, beta, volume, area) / character_sum(mp, beta, volume))
        assert u1.wilson_loop(beta, shape, area) == pytest.approx(expected, rel=EXACT, abs=0), area


# --- Route 3: charge sectors in real space ---------------------------------------------------------------------------


def gauss_panels(low, high, panels):
    """Nodes and weights of 20-point Gauss-Legendre on equal panels (many-point rules have worse weights)."""
    x, w = np.polynomial.legendre.leggauss(20)
    half = (high - low) / panels / 2
    centres = low + half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * x).ravel(), np.tile(half * w, panels)


def panels_for(beta):
    """Panels over 2 pi that resolve ``exp(-beta (1 - cos))`` to 1e-14; found by halving them until digits were lost."""
    return 4 if beta < 10 else 8


def density_of_two(beta, u):
    """Density, up to a factor, of the sum of two angles of density ``exp(-beta (1 - cos)) on (-pi, pi)``, at ``|u| < 2 pi``."""
    u = np.abs(u)[..., None]
    t, w = gauss_panels(-1, 1, panels_for(beta))
    half = np.pi - u / 2  # both angles within (-pi, pi): u - pi < y < pi
    y = u / 2 + half * t
    return (np.exp(-beta * (2 - np.cos(y) - np.cos(u - y))) * half * w).sum(axis=-1)


def density_of_three(beta, s):
    """The same for three angles, at ``|s| < 3 pi``: split where the density of two has its kink, or its end."""
    t, w = gauss_panels(-1, 1, panels_for(beta))
    out = []
    for value in np.abs(s):
        pieces = [(-np.pi, value), (value, np.pi)] if value < np.pi else [(value - 2 * np.pi, np.pi)]
        total = 0.0
        for low, high in pieces:
            y = (low + high) / 2 + (high - low) / 2 * t
            total += (np.exp(-beta * (1 - np.cos(y))) * density_of_two(beta, value - y) * w).sum() * (high - low) / 2
        out.append(total)
    return np.array(out)


@cache
def sectors_by_convolution(beta, volume):
    """``p(0), p(1), ...`` of 2x2 and 2x3: the sum of all angles at 2 pi Q, as two halves, split at multiples of pi."""
    if volume == 4:
        x, w = gauss_panels(0, 2 * np.pi, panels_for(beta))
        f = density_of_two(beta, x)
        weights = [2 * (w * f * f).sum(), (w * f * f[::-1]).sum()]  # the other half is at 2 pi Q - x
    else:
        x, w = gauss_panels(np.pi, 3 * np.pi, panels_for(beta))
        outer, inner = density_of_three(beta, x), density_of_three(beta, 2 * np.pi - x)
        weights = [
            (w * inner**2).sum() + 2 * (w * outer**2).sum(),
            2 * (w * outer * inner).sum(),
            (w * outer * outer[::-1]).sum(),
        ]
    return np.array(weights) / (weights[0] + 2 * sum(weights[1:]))


@cache
def log_sector_weight(beta, volume, charge):
    """``log`` of the density of the sum of V angles at ``2 pi Q``, by a Fourier sum of the exponentially tilted density.

    The angles, less their share ``2 pi Q/V``, get a factor ``exp(k angle)`` each, which makes their mean vanish and drops
    out at a sum of zero. A sum confined to ``|s| < V pi`` lets steps of ``1/(V + 1)`` in frequency be exact.
    """
    nodes, w = gauss_panels(-np.pi, np.pi, panels=30 if volume == 9 else 16)  # four nodes a cycle at least
    x = nodes - 2 * np.pi * charge / volume

    def tilted(k):
        exponent = -beta * (1 - np.cos(nodes)) + k * x
        return w * np.exp(exponent - exponent.max()), exponent.max()

    k = optimize.brentq(lambda k: (tilted(k)[0] * x).sum(), 0, 1000) if charge else 0.0
    density, scale = tilted(k)
    norm, kept = math.fsum(density), density > 1e-25
    total, start = 0.5, 1
    while start < 150 * (volume + 1):  # at V = 9 the terms fall like (3/frequency)^9 at worst: to 5e-16 at 150
        frequencies = np.arange(start, start + 200) / (volume + 1)
        phase = np.outer(frequencies, x[kept])
        terms = (np.cos(phase) @ density[kept] / norm + 1j * (np.sin(phase) @ density[kept] / norm)) ** volume
        total += terms.real.sum()
        start += 200
        if np.abs(terms).max() < 1e-18:
            break
    return volume * (math.log(norm) + scale) + math.log(total)


def sectors_by_tilting(beta, volume, charges):
    """``p(Q)/p(0)``."""
    logs = np.array([log_sector_weight(beta, volume, int(charge)) for charge in charges])
    return np.exp(logs - log_sector_weight(beta, volume, 0))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", [(2, 2), (2, 3)])
def test_charge_distribution_of_few_plaquettes_is_a_convolution_in_real_space(shape, beta):
    expected = sectors_by_convolution(beta, volume_of(shape))
    charges, probabilities = u1.charge_distribution(beta, shape)
    # All terms are positive: nothing cancels, and p(1) = 6e-77 at beta = 50 is as accurate as p(0).
    assert probabilities[charges >= 0] == pytest.approx(expected[: charges[-1] + 1], rel=EXACT, abs=0)
    assert np.all(expected[charges[-1] + 1 :] < u1.SMALLEST_PROBABILITY)


@pytest.mark.parametrize(("shape", "beta"), [(s, b) for s in [(3, 3), (8, 8)] for b in BETAS] + LARGE)
def test_charge_distribution_of_many_plaquettes_is_a_tilted_fourier_sum(shape, beta):
    volume = volume_of(shape)
    charges, probabilities = u1.charge_distribution(beta, shape)
    largest = charges[-1]
    chosen = np.unique([0, 1, largest // 2, largest])
    # V-th powers of numbers good to about 1e-16 each, with a margin.
    tolerance = max(EXACT, 2e-15 * volume)
    ratios = probabilities[largest + chosen] / probabilities[largest]
    assert ratios == pytest.approx(sectors_by_tilting(beta, volume, chosen), rel=tolerance, abs=0)
    assert probabilities.sum() == pytest.approx(1, abs=1e-14)  # fixes the common factor; sectors left out are < 1e-30


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_charge_susceptibility_equals_a_second_derivation(shape, beta):
    volume = volume_of(shape)
    if volume <= 6:
        p = sectors_by_convolution(beta, volume)
    elif volume <= 64:
        # Nine standard deviations, sqrt(V/12) at most: what is left out is below 1e-16 of the sum.
        p = sectors_by_tilting(beta, volume, range(1 + min((volume - 1) // 2, 21 if beta < 4 else 10)))
        p = p / (p[0] + 2 * p[1:].sum())
    else:
        assert u1.charge_susceptibility(beta, shape) == pytest.approx(
            susceptibility_by_moments(beta, volume), rel=EXACT
        )
        return
    expected = 2 * (np.arange(len(p)) ** 2 * p).sum() / volume
    assert u1.charge_susceptibility(beta, shape) == pytest.approx(expected, rel=EXACT, abs=0)


def susceptibility_by_moments(beta, volume):
    """``<Q^2>/V = [<theta^2> + (V - 1) <theta theta'>]/4 pi^2``; loses digits where Q is rare, not at 64x64."""
    theta, w = gauss_panels(-np.pi, np.pi, panels=40)
    w = w * np.exp(-beta * (1 - np.cos(theta)))
    norm, orders = math.fsum(w), range(-40, 41)
    a = np.array([math.fsum(w * np.cos(n * theta)) / norm for n in orders])
    square = np.array([math.fsum(w * theta**2 * np.cos(n * theta)) / norm for n in orders])
    odd = np.array([math.fsum(w * theta * np.sin(n * theta)) / norm for n in orders])
    same, different = (a ** (volume - 1) * square).sum(), -(a ** (volume - 2) * odd**2).sum()
    return (same + (volume - 1) * different) / (a**volume).sum() / (4 * np.pi**2)


@pytest.mark.parametrize(("shape", "beta"), [(s, b) for s in SHAPES[:4] for b in BETAS] + LARGE)
def test_charge_distribution_is_normalised_and_gives_the_charge_susceptibility(shape, beta):
    charges, probabilities = u1.charge_distribution(beta, shape)
    assert charges.dtype == np.int64
    assert np.array_equal(charges, np.arange(-charges[-1], charges[-1] + 1))
    assert charges[-1] >= 1
    assert 2 * charges[-1] < volume_of(shape)
    assert np.array_equal(probabilities, probabilities[::-1])
    assert probabilities.min() > 0
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-14)
    susceptibility = math.fsum(charges**2 * probabilities) / volume_of(shape)
    assert u1.charge_susceptibility(beta, shape) == pytest.approx(susceptibility, rel=EXACT, abs=0)


@pytest.mark.parametrize(
    ("shape", "beta"), [((8, 8), 2.0), ((8, 8), 7.0), ((4, 6), 1.0), ((32, 32), 7.0), ((2, 2), 0.5)]
)
def test_winding_ceiling_telescopes_to_the_weight_of_charged_sectors(shape, beta):
    # p(Q) falls with |Q|: the sum of the smaller of neighbours is twice the sum over Q > 0.
    charges, probabilities = u1.charge_distribution(beta, shape)
    assert u1.winding_ceiling(beta, shape) == pytest.approx(1 - probabilities[charges == 0][0], rel=0, abs=1e-14)


def test_winding_ceiling_keeps_its_digits_where_the_charge_is_frozen():
    charges, probabilities = u1.charge_distribution(50.0, (2, 2))
    assert u1.winding_ceiling(50.0, (2, 2)) == pytest.approx(2 * probabilities[charges == 1][0], rel=1e-14, abs=0)


def test_a_rare_sector_keeps_its_digits():
    # The least action at Q = 1 on 2x2, beta = 50, is 200: exp(-200) = 1e-87 times a large volume of near-minima.
    charges, probabilities = u1.charge_distribution(50.0, (2, 2))
    assert list(charges) == [-1, 0, 1]
    assert 1e-77 < probabilities[2] < 1e-75
    assert u1.charge_susceptibility(50.0, (2, 2)) == pytest.approx(probabilities[2] / 2, rel=EXACT, abs=0)


def test_charge_distribution_gives_the_charge_susceptibility_at_large_beta():
    beta, shape = 75.0, (2, 2)  # p(1) = 5e-115: Z(theta) to 1e-130 takes more than a hundred orders
    charges, probabilities = u1.charge_distribution(beta, shape)
    susceptibility = math.fsum(charges**2 * probabilities) / volume_of(shape)
    assert susceptibility > 0
    assert susceptibility == pytest.approx(u1.charge_susceptibility(beta, shape), rel=EXACT, abs=0)


def test_plaquette_of_a_very_large_beta():
    # 3 Gaussian angles out of 4: 1 - <cos> = 3/(8 beta), with corrections of relative order 1/beta.
    assert 1 - u1.plaquette(2e4, (2, 2)) == pytest.approx(3 / (8 * 2e4), rel=1e-3)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES[:4])
def test_theta_partition_function_is_the_fourier_series_of_the_charge_distribution(shape, beta):
    volume = volume_of(shape)
    charges, probabilities = u1.charge_distribution(beta, shape)
    # At large n c ~ exp(-2 beta)/(pi n): a sum cut at N misses 2 (exp(-2 beta)/(pi c(0)))^V/((V - 1) N^(V - 1)) of the
    # ratio below, 6e-14 at most.
    largest_order = 150 if volume > 4 else 1000 if beta >= 1 else 5000
    n = np.arange(-largest_order, largest_order + 1)

    def coefficients(k):
        """``c(k)``, the Fourier transform of ``exp(-beta (1 - cos theta))`` on ``(-pi, pi)``, at real k."""
        if volume == 4:  # far out the quadrature would need too many nodes
            orders = np.arange(-90, 91)
            return np.sinc(k[:, None] - orders) @ special.ive(np.abs(orders), beta)
        x, w = gauss_panels(-np.pi, np.pi, panels=30)
        return np.cos(np.outer(k, x)) @ (w * np.exp(-beta * (1 - np.cos(x)))) / (2 * np.pi)

    largest = special.ive(0, beta)
    for theta in (0.5, 2.0, np.pi):
        ratio = ((coefficients(n + theta / (2 * np.pi)) / largest) ** volume).sum()
        ratio /= ((special.ive(np.abs(n), beta) / largest) ** volume).sum()
        assert ratio == pytest.approx((probabilities * np.cos(theta * charges)).sum(), rel=EXACT, abs=EXACT)


def test_charge_distribution_hands_out_its_own_arrays():
    first = u1.charge_distribution(1.0, (2, 3))
    for array in first:
        array[:] = 0
    assert u1.charge_distribution(1.0, (2, 3))[1].sum() == pytest.approx(1, abs=1e-14)


# --- Identities, limits, robustness ----------------------------------------------------------------------------------


def schwinger_dyson_defect(beta, shape):
    """``beta (<sin^2> - <sin sin'>)/<cos> - 1``."""
    sin_squared = 1 - u1.single_plaquette_variance(beta, shape) - u1.plaquette(beta, shape) ** 2
    return beta * (sin_squared - u1.sine_correlation(beta, shape)) / u1.plaquette(beta, shape) - 1


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_schwinger_dyson_identity(shape, beta):
    assert schwinger_dyson_defect(beta, shape) == pytest.approx(0, abs=EXACT)  # 1 - <cos^2> >= 0.01: two digits cancel


@pytest.mark.parametrize("shape", [*SHAPES, (2, 5), (3, 5)])
def test_limit_of_beta_zero(shape):
    volume = volume_of(shape)
    # Independent uniform plaquettes, any V - 1 of them: <cos^2> = <sin^2> = 1/2, <theta^2> = pi^2/3.
    expected = {
        "log_partition": 0,
        "plaquette": 0,
        "single_plaquette_variance": 1 / 2,
        "plaquette_covariance": 0,
        "plaquette_variance": 1 / (2 * volume),
        "sine_correlation": 0,
        "sine_charge_susceptibility": 1 / (8 * math.pi**2),
        "charge_susceptibility": 1 / 12,
    }
    assert {name: QUANTITIES[name](0.0, shape) for name in expected} == pytest.approx(expected, rel=1e-15, abs=0)
    assert [u1.wilson_loop(0.0, shape, area) for area in (1, 2, volume - 2, volume - 1)] == [0, 0, 0, 0]


@pytest.mark.parametrize("area", [0, 6])
def test_wilson_loop_around_nothing_is_one_at_beta_zero(area):
    assert u1.wilson_loop(0.0, (2, 3), area) == 1


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (3, 5), (8, 8)])
def test_charge_distribution_at_beta_zero_is_that_of_a_sum_of_uniform_angles(shape):
    volume = volume_of(shape)

    def sum_density(x):
        """Density at x of the sum of V numbers uniform on (0, 1) (Irwin-Hall), in rational arithmetic."""
        terms = (Fraction((-1) ** k * math.comb(volume, k)) * (x - k) ** (volume - 1) for k in range(math.floor(x) + 1))
        return sum(terms, Fraction(0)) / math.factorial(volume - 1)

    charges, probabilities = u1.charge_distribution(0.0, shape)
    expected = [float(sum_density(Fraction(volume, 2) + int(charge))) for charge in charges]
    assert probabilities == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3)])
def test_strong_coupling_expansion(shape):
    # a_n = (beta/2)^|n|/|n|! to leading order, corrections of relative order beta^2 = 1e-12.
    beta, volume = 1e-6, volume_of(shape)
    winding_one = 2 * (beta / 2) ** volume  # weight of n = 1 and -1 together
    expected = {
        "log_partition": -volume * beta + volume * beta**2 / 4,
        "plaquette": beta / 2,
        "single_plaquette_variance": 1 / 2,
        "plaquette_covariance": winding_one / beta**2,
        "sine_correlation": -winding_one / beta**2,
    }
    assert {name: QUANTITIES[name](beta, shape) for name in expected} == pytest.approx(expected, rel=1e-11, abs=0)
    for area in range(1, volume):
        loop = (beta / 2) ** area + (beta / 2) ** (volume - area)
        assert u1.wilson_loop(beta, shape, area) == pytest.approx(loop, rel=1e-11, abs=0)


def test_infinite_volume_plaquette_is_the_wrong_reference_on_a_small_lattice():
    difference = abs(u1.plaquette(7.0, (8, 8)) - special.ive(1, 7.0) / special.ive(0, 7.0))
    assert 1e-4 < difference < 2e-4
    assert u1.plaquette(7.0, (64, 64)) == pytest.approx(special.ive(1, 7.0) / special.ive(0, 7.0), rel=1e-13)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    beta=st.floats(0.01, 50),
    n_t=st.integers(2, 64),
    n_x=st.integers(2, 64),
    fraction=st.fractions(0, 1, max_denominator=9),
)
@example(beta=0.01, n_t=64, n_x=64, fraction=Fraction(1, 2))  # a_n^V down to 1e-9000
@example(beta=50.0, n_t=2, n_x=2, fraction=Fraction(1, 2))
def test_every_answer_is_finite_and_within_its_bounds(beta, n_t, n_x, fraction):
    shape, volume = (n_t, n_x), n_t * n_x
    value = {name: f(beta, shape) for name, f in QUANTITIES.items() if name != "charge_distribution"}
    assert all(type(v) is float and math.isfinite(v) for v in value.values())
    assert -beta * volume <= value["log_partition"] < 0
    assert 0 < value["plaquette"] < 1
    assert 0 < value["single_plaquette_variance"] <= 1
    assert 0 <= value["plaquette_covariance"] < value["single_plaquette_variance"]
    assert -1 < value["sine_correlation"] <= 0
    assert 0 < value["plaquette_variance"] < value["single_plaquette_variance"]
    assert 0 < value["sine_charge_susceptibility"] < 1 / 12
    assert 0 < value["charge_susceptibility"] < 1 / 12
    assert schwinger_dyson_defect(beta, shape) == pytest.approx(0, abs=EXACT)
    area = int(fraction * volume)
    loop = u1.wilson_loop(beta, shape, area)
    assert 0 <= loop <= 1
    assert loop == u1.wilson_loop(beta, shape, volume - area)  # the outside of a loop on a torus is a loop too
    assert u1.plaquette(beta, (n_x, n_t)) == value["plaquette"]


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(beta=st.floats(0.01, 50), n_t=st.integers(2, 12), n_x=st.integers(2, 12))
def test_charge_distribution_is_a_distribution_at_any_coupling_and_shape(beta, n_t, n_x):
    charges, probabilities = u1.charge_distribution(beta, (n_t, n_x))
    assert np.all(np.isfinite(probabilities))
    assert np.all(np.diff(probabilities[charges >= 0]) < 0)  # log-concave and symmetric
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-14)
    susceptibility = math.fsum(charges**2 * probabilities) / (n_t * n_x)
    assert susceptibility == pytest.approx(u1.charge_susceptibility(beta, (n_t, n_x)), rel=EXACT, abs=0)


# --- The sampler -----------------------------------------------------------------------------------------------------

SAMPLED_SHAPES = [(2, 2), (2, 3), (3, 5), (8, 8)]
SAMPLED_BETAS = [0.0, 1.0, 4.0, 7.0, 50.0]
SIGMAS = 5  # two-sided probability 5.7e-7 each; with about 1000 such comparisons in this file, 1 in 2000 overall
P_VALUE = 5.7e-7


def over_samples(test):
    test = pytest.mark.parametrize("beta", SAMPLED_BETAS)(test)
    return pytest.mark.parametrize("shape", SAMPLED_SHAPES)(test)


def wrapped(x):
    return x - 2 * np.pi * np.rint(x / (2 * np.pi))


def plaquettes(links):
    """``x_0(n) + x_1(n + 0) - x_0(n + 1) - x_1(n)`` wrapped, written apart from the package."""
    x_0, x_1 = links[:, 0], links[:, 1]
    return wrapped(x_0 + np.roll(x_1, -1, axis=1) - np.roll(x_0, -1, axis=2) - x_1)


@cache
def configurations(shape, beta):
    n = {4: 20000, 6: 20000, 15: 10000, 64: 3000}[volume_of(shape)]
    links = u1.sample(np.random.default_rng(20), n, beta, shape)
    links.setflags(write=False)
    return links, plaquettes(links)


def assert_mean(values, exact):
    """The mean of independent values is within five standard errors, taken from the values themselves."""
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - exact) < SIGMAS * error, f"{values.mean()} +- {error} against {exact}"


@over_samples
def test_samples_are_links_in_the_half_open_interval(shape, beta):
    links, _ = configurations(shape, beta)
    assert links.dtype == np.float64
    assert links.shape[1:] == (2, *shape)
    assert links.min() >= -np.pi
    assert links.max() < np.pi


@over_samples
def test_links_reproduce_the_plaquettes_they_were_made_from(shape, beta):
    volume = volume_of(shape)
    links = u1.sample(np.random.default_rng(5), 200, beta, shape)
    drawn = u1.sample_plaquettes(np.random.default_rng(5), 200, beta, volume)  # the first draws of `sample`
    # About V additions of numbers below V pi, each rounded to 1e-16 of itself.
    assert np.abs(wrapped(plaquettes(links).reshape(200, volume) - drawn)).max() < 1e-12
    assert np.abs(wrapped(lattice.plaquette_angles(links).reshape(200, volume) - drawn)).max() < 1e-12
    for angles in (plaquettes(links).reshape(200, volume), drawn):
        assert np.abs(wrapped(angles.sum(axis=1))).max() < 1e-12


@over_samples
def test_sampled_mean_plaquette_and_its_variance(shape, beta):
    _, angles = configurations(shape, beta)
    values = np.cos(angles).mean(axis=(1, 2))
    exact = u1.plaquette(beta, shape)
    # The standard error of a mean of n independent values is sqrt(variance/n), here with the exact variance.
    error = math.sqrt(u1.plaquette_variance(beta, shape) / len(values))
    assert abs(values.mean() - exact) < SIGMAS * error
    assert_mean((values - exact) ** 2, u1.plaquette_variance(beta, shape))


@over_samples
def test_every_plaquette_and_every_pair_has_its_exact_moments(shape, beta):
    _, angles = configurations(shape, beta)
    n, volume = len(angles), volume_of(shape)
    cos, sin = np.cos(angles).reshape(n, volume), np.sin(angles).reshape(n, volume)
    fluctuation = cos - u1.plaquette(beta, shape)
    exact = {"cos": u1.plaquette_covariance(beta, shape), "sin": u1.sine_correlation(beta, shape)}
    for name, data in (("cos", fluctuation), ("sin", sin)):
        # Per plaquette: means zero. Per pair: the mean of a product, its error from the mean of the squared product.
        assert np.all(np.abs(data.mean(axis=0)) < SIGMAS * data.std(axis=0) / math.sqrt(n)), name
        product, product_squared = data.T @ data / n, (data**2).T @ data**2 / n
        error = np.sqrt((product_squared - product**2) / n)
        different = ~np.eye(volume, dtype=bool)
        assert np.all((np.abs(product - exact[name]) < SIGMAS * error)[different]), name


@over_samples
def test_sampled_sine_charge(shape, beta):
    _, angles = configurations(shape, beta)
    values = np.sin(angles).sum(axis=(1, 2)) / (2 * np.pi)
    assert_mean(values, 0)
    # At 8x8, beta = 50 a fifth of <Q_sin^2> comes from |Q| = 1, p = 5e-7: no sample, so not in the error. Q_sin^2 <= Q^2
    # there, as for the uniform flux V sin(2 pi Q/V)/2 pi: that much may be missing, and no more.
    charges, p = u1.charge_distribution(beta, shape)
    unseen = (charges**2 * p)[p * len(values) < 0.1].sum()
    exact = u1.sine_charge_susceptibility(beta, shape) * volume_of(shape)
    mean, error = (values**2).mean(), (values**2).std() / math.sqrt(len(values))
    assert exact - unseen - SIGMAS * error < mean < exact + SIGMAS * error


@over_samples
def test_sampled_charges_follow_the_charge_distribution(shape, beta):
    _, angles = configurations(shape, beta)
    total = angles.sum(axis=(1, 2)) / (2 * np.pi)
    charge = np.rint(total)
    assert np.abs(total - charge).max() < 1e-12
    n = len(charge)
    charges, p = u1.charge_distribution(beta, shape)
    # var(Q^2) = <Q^4> - <Q^2>^2 from the exact law: the errors hold also where no sample leaves Q = 0.
    square, fourth = (charges**2 * p).sum(), (charges**4 * p).sum()
    assert abs(charge.mean()) < SIGMAS * math.sqrt(square / n) + 1e-300
    assert abs((charge**2).mean() - square) < SIGMAS * math.sqrt((fourth - square**2) / n)
    common = n * p >= 10
    observed = [np.sum(charge == q) for q in charges[common]]
    rare = n - sum(observed)
    if common.sum() > 1:
        expected = n * p[common]
        assert stats.chisquare(observed, expected * (sum(observed) / expected.sum())).pvalue > P_VALUE
    assert stats.binomtest(rare, n, p[~common].sum()).pvalue > P_VALUE


@over_samples
def test_sampled_wilson_loops(shape, beta):
    links, _ = configurations(shape, beta)
    n_t, n_x = shape
    for r, s in {(1, 1), (1, n_x - 1), (n_t - 1, 1), (n_t - 1, n_x - 1), (1, 2), (n_t // 2, n_x // 2), (n_t, 1)}:
        side_t = sum(np.roll(links[:, 0], -k, axis=1) for k in range(r))
        side_x = sum(np.roll(links[:, 1], -k, axis=2) for k in range(s))
        loop = np.cos(side_t + np.roll(side_x, -r, axis=1) - np.roll(side_t, -s, axis=2) - side_x)
        assert_mean(loop.mean(axis=(1, 2)), u1.wilson_loop(beta, shape, r * s))


@over_samples
def test_every_link_is_uniform(shape, beta):
    links, _ = configurations(shape, beta)
    for link in links.reshape(len(links), -1).T:
        assert stats.kstest(link, "uniform", args=(-np.pi, 2 * np.pi), method="asymp").pvalue > P_VALUE


@over_samples
def test_open_strings_of_links_average_to_zero(shape, beta):
    links, _ = configurations(shape, beta)
    # Not gauge invariant: exp(i angle) is uniform on the circle, and n |mean|^2 is exponential with mean one.
    bound = -math.log(P_VALUE) / len(links)
    x_0, x_1 = links[:, 0], links[:, 1]
    for angle in (x_0 - x_1, x_0 + x_1, x_0 + np.roll(x_1, -1, axis=1), x_1 - np.roll(x_1, -1, axis=1)):
        assert np.all(np.abs(np.exp(1j * angle).mean(axis=0)) ** 2 < bound)


@over_samples
def test_polyakov_loops_are_uniform_and_independent_of_the_plaquettes(shape, beta):
    links, angles = configurations(shape, beta)
    n = len(links)
    alpha = np.random.default_rng(8).uniform(-np.pi, np.pi, (n, *shape))
    rotated = lattice.gauge_transform(links, alpha)  # a loop that is not closed would become uniform for free
    loops = [links[:, mu].sum(axis=1 + mu) for mu in (0, 1)]
    for mu in (0, 1):
        turned = rotated[:, mu].sum(axis=1 + mu)
        assert np.abs(wrapped(turned - loops[mu])).max() < 1e-12  # sums of a few angles of size 2 pi
        for loop in turned.T:
            assert stats.kstest(wrapped(loop), "uniform", args=(-np.pi, 2 * np.pi), method="asymp").pvalue > P_VALUE
    along_t, along_x = loops[0][:, 0], loops[1][:, 0]
    for phase in (along_t + along_x, along_t - along_x, 2 * along_t, along_t + 2 * along_x):
        for weight in (np.ones(n), angles[:, 0, 0], angles[:, -1, -1], np.sin(angles).sum(axis=(1, 2))):
            # n |mean|^2 is exponential with mean <weight^2>.
            bound = -math.log(P_VALUE) / n * (weight**2).mean()
            assert abs((weight * np.exp(1j * phase)).mean()) ** 2 < bound


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0, 50.0])
def test_three_plaquettes_have_their_exact_joint_law(beta):
    n, cells = 40000, 8
    angles = u1.sample_plaquettes(np.random.default_rng(3), n, beta, 3)
    assert np.abs(wrapped(angles.sum(axis=1))).max() < 1e-14
    edges = np.linspace(-np.pi, np.pi, cells + 1) / (1 if beta < 10 else 6)
    x, w = gauss_panels(edges[0], edges[-1], panels=cells)
    density = np.exp(beta * (np.cos(x[:, None]) + np.cos(x) + np.cos(x[:, None] + x) - 3)) * np.outer(w, w)
    # Probability of a cell: Gauss-Legendre over the two free angles; the cells of beta = 50 hold all but 1e-4 of it.
    p = density.reshape(cells, 20, cells, 20).sum(axis=(1, 3))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        counts, _, _ = np.histogram2d(angles[:, first], angles[:, second], bins=[edges, edges])
        expected = p / p.sum() * counts.sum()
        enough = expected > 10
        observed = np.append(counts[enough], counts[~enough].sum())
        predicted = np.append(expected[enough], expected[~enough].sum())
        observed, predicted = observed[predicted > 0], predicted[predicted > 0]
        assert stats.chisquare(observed, predicted).pvalue > P_VALUE


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0, 50.0])
@pytest.mark.parametrize("volume", [3, 4, 5, 10])
def test_every_position_of_the_sampled_plaquettes_has_the_exact_marginal(volume, beta):
    angles = u1.sample_plaquettes(np.random.default_rng(4), 5000, beta, volume)
    assert angles.shape == (5000, volume)
    assert np.abs(angles).max() <= np.pi
    orders, k = np.arange(-100, 101), np.arange(1, 41)
    a = special.ive(np.abs(orders), beta)
    shifted = special.ive(np.abs(orders + k[:, None]), beta)
    moments = shifted @ a ** (volume - 1) / (a**volume).sum()  # <cos k theta> of one plaquette

    def cumulative(theta):
        return 0.5 + theta / (2 * np.pi) + np.sin(np.outer(theta, k)) @ (moments / (np.pi * k))

    for position in angles.T:
        assert stats.kstest(position, cumulative, method="asymp").pvalue > P_VALUE


class CountingGenerator(np.random.Generator):
    """Counts the von Mises angles drawn through it."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.angles = 0

    def vonmises(self, *args, **kwargs):
        values = super().vonmises(*args, **kwargs)
        self.angles += np.size(values)
        return values


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0, 7.0])
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (8, 8), (16, 16)])
def test_few_angles_are_drawn_per_plaquette(shape, beta):
    rng, n, volume = CountingGenerator(1), 1000, volume_of(shape)
    u1.sample_plaquettes(rng, n, beta, volume)
    assert volume - 1 <= rng.angles / n <= 1.7 * volume  # the last angle is fixed by the others


def test_sampler_is_a_function_of_its_seed():
    first, second = (u1.sample(np.random.default_rng(9), 10, 4.0, (2, 3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, u1.sample(np.random.default_rng(10), 10, 4.0, (2, 3)))


@pytest.mark.parametrize(
    ("shape", "beta", "charge"),
    [((2, 2), 1.0, 0), ((2, 2), 1.0, 1), ((2, 3), 0.3, -2), ((3, 5), 4.0, -1), ((8, 8), 4.0, 0), ((8, 8), 7.0, 1)],
)
def test_configurations_of_a_fixed_charge(shape, beta, charge):
    links = u1.sample(np.random.default_rng(6), 500, beta, shape, charge=charge)
    assert links.shape == (500, 2, *shape)
    angles = plaquettes(links)
    assert np.all(np.rint(angles.sum(axis=(1, 2)) / (2 * np.pi)) == charge)

    def log_weight(b):
        charges, p = u1.charge_distribution(b, shape)
        return u1.log_partition(b, shape) + math.log(p[charges == charge][0])

    # <cos> within the sector is 1 + d log(Z p(Q))/d beta/V: a central difference, wrong by h^2 = 1e-6 at most.
    h, volume = 1e-3, volume_of(shape)
    exact = 1 + (log_weight(beta + h) - log_weight(beta - h)) / (2 * h * volume)
    assert_mean(np.cos(angles).mean(axis=(1, 2)), exact)


@pytest.mark.parametrize(("shape", "beta", "charge"), [((2, 2), 7.0, 1), ((2, 2), 0.0, 2), ((8, 8), 4.0, -5)])
def test_an_improbable_charge_is_refused(shape, beta, charge):
    with pytest.raises(ValueError, match=f"charge: got {charge}, .*probability"):
        u1.sample(np.random.default_rng(0), 10, beta, shape, charge=charge)


# --- Bad input -------------------------------------------------------------------------------------------------------

WITH_BETA = {
    **QUANTITIES,
    "wilson_loop": lambda beta, shape: u1.wilson_loop(beta, shape, 1),
    "sample": lambda beta, shape: u1.sample(np.random.default_rng(0), 1, beta, shape),
}


@pytest.mark.parametrize("name", WITH_BETA)
@pytest.mark.parametrize("beta", [-1.0, -1e-300, math.nan, math.inf, -math.inf, "1"])
def test_bad_beta_is_refused(name, beta):
    with pytest.raises(ValueError, match="beta: got"):
        WITH_BETA[name](beta, (2, 2))


@pytest.mark.parametrize("beta", [np.float32(0.640625), np.int64(13)])
def test_numpy_scalars_are_couplings(beta):
    # Values used nowhere else: a cached answer for the equal Python number would hide the failure.
    assert u1.plaquette(beta, (2, 2)) == u1.plaquette(float(beta), (2, 2))


@pytest.mark.parametrize("name", WITH_BETA)
@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (0, 4), (-2, 4), (2, 2, 2), (4,), (), (2.5, 4), (math.nan, 4), 4])
def test_bad_shape_is_refused(name, shape):
    with pytest.raises(ValueError, match="shape: got"):
        WITH_BETA[name](1.0, shape)


@pytest.mark.parametrize("area", [-1, 5, 1.5, math.nan])
def test_bad_area_is_refused(area):
    with pytest.raises(ValueError, match="area: got"):
        u1.wilson_loop(1.0, (2, 2), area)


@pytest.mark.parametrize("n", [0, -1, 1.5, math.nan])
def test_bad_number_of_configurations_is_refused(n):
    with pytest.raises(ValueError, match="n: got"):
        u1.sample(np.random.default_rng(0), n, 1.0, (2, 2))


@pytest.mark.parametrize("function", [u1.charge_distribution, u1.charge_susceptibility])
def test_charges_beyond_the_largest_beta_are_refused(function):
    with pytest.raises(ValueError, match=r"beta: got 201\.0, expected a number from 0 to 200"):
        function(201.0, (4, 4))
    assert u1.plaquette(201.0, (4, 4)) > 0.99
