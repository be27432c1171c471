"""Closed forms for leapfrog on the harmonic oscillator against the leapfrog itself.

The steps are written out here and averaged over equilibrium by quadrature, or put into a matrix; nothing is taken from the
closed forms but what they claim.
"""

import math

import numpy as np
import pytest
from scipy import optimize, special

from refimpl.exact import toy

# omega, step_size, n_steps: small and large steps, full and half turns of phase space, close to the stability limit.
CASES = [
    (1.0, 0.1, 1),
    (1.0, 0.1, 10),
    (1.0, 0.5, 4),
    (2.0, 0.5, 7),
    (0.3, 2.0, 5),
    (1.0, 1.0, 2),
    (1.0, math.sqrt(2), 3),
    (5.0, 0.3, 1),
    (1.0, 1.9, 1),
    (1.0, 1.99, 6),
]
EXACT = 1e-12


def leapfrog(x, v, omega, step_size, n_steps):
    """Half kick, drift, half kick, ``S = omega^2 x^2/2``."""
    for _ in range(n_steps):
        v = v - step_size / 2 * omega**2 * x
        x = x + step_size * v
        v = v - step_size / 2 * omega**2 * x
    return x, v


def energy(x, v, omega):
    return (omega**2 * x**2 + v**2) / 2


def energy_error(x, v, case):
    omega = case[0]
    return energy(*leapfrog(x, v, *case), omega) - energy(x, v, omega)


def phase_space_matrix(omega, step_size, n_steps):
    """The linear map of ``(x, v)`` made by the steps, read off from two starting points."""
    return np.array([leapfrog(1.0, 0.0, omega, step_size, n_steps), leapfrog(0.0, 1.0, omega, step_size, n_steps)]).T


@pytest.mark.parametrize("case", CASES)
def test_mean_energy_error_is_the_gaussian_average_of_the_leapfrog(case):
    # Gauss-Hermite with 4 nodes is exact for the quadratic H' - H; x has variance 1/omega^2, v variance 1.
    node, weight = np.polynomial.hermite_e.hermegauss(4)
    average = np.outer(weight, weight) / weight.sum() ** 2
    expected = (average * energy_error(node[:, None] / case[0], node, case)).sum()
    # Rounding of the error itself: 1e-16 of the energy for each step, and <dH> is a second-order small difference.
    assert toy.mean_energy_error(*case) == pytest.approx(expected, rel=EXACT, abs=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_energy_error_scale_is_the_spread_of_the_singular_values(case):
    omega = case[0]
    m = np.diag([omega, 1]) @ phase_space_matrix(*case) @ np.diag([1 / omega, 1])
    stretch, squeeze = np.linalg.svd(m, compute_uv=False)
    assert stretch * squeeze == pytest.approx(1, rel=EXACT)  # leapfrog preserves area
    # <H' - H> = (stretch^2 + squeeze^2)/2 - 1 = (stretch - squeeze)^2/2; differences of two numbers of rounding 1e-15.
    assert toy.energy_error_scale(*case) == pytest.approx(stretch - squeeze, rel=EXACT, abs=1e-14 * stretch)


@pytest.mark.parametrize("case", CASES)
def test_acceptance_is_the_average_of_the_metropolis_probability(case):
    # On the ray at this angle H' - H = q(angle) u, where u = H is exponentially distributed: the radial average of
    # min(1, exp(-q u)) is 1/(1 + max(q, 0)), and the angle is integrated between the kinks at q = 0.
    def q(angle):
        return energy_error(np.cos(angle) / case[0], np.sin(angle), case) * 2

    grid = np.linspace(0, np.pi, 2001)
    values = q(grid)
    brackets = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
    kinks = [optimize.brentq(q, grid[i], grid[i + 1], xtol=1e-15) for i in brackets]
    node, weight = np.polynomial.legendre.leggauss(20)
    edges = np.unique(np.concatenate([np.linspace(0, np.pi, 201), kinks]))  # panels resolve the peaks of small stretch
    half, centre = np.diff(edges)[:, None] / 2, ((edges[1:] + edges[:-1]) / 2)[:, None]
    expected = (half * weight / (1 + np.maximum(q(centre + half * node), 0))).sum() / np.pi
    assert toy.acceptance(*case) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("case", [(1.0, 0.5, 4), (2.0, 0.5, 7), (1.0, 1.9, 1)])
def test_acceptance_is_the_average_over_a_grid_of_starting_points(case):
    # Cruder, but without polar coordinates: midpoints u of a 2000 x 2000 grid in the two Gaussian quantiles. The kink and
    # the edges leave an error of one cell in a few, 1e-5.
    z = special.ndtri((np.arange(2000) + 0.5) / 2000)
    expected = np.exp(-np.maximum(energy_error(z[:, None] / case[0], z, case), 0)).mean()
    assert toy.acceptance(*case) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 13])
@pytest.mark.parametrize(("omega", "step_size"), [(1.0, 0.1), (1.0, 0.5), (2.0, 0.4), (0.3, 3.0), (1.0, 1.8)])
def test_unadjusted_variance_is_the_stationary_covariance_of_the_leapfrog(omega, step_size, n_steps):
    (a, b), _ = phase_space_matrix(omega, step_size, n_steps)
    # x' = a x + b v with a fresh v of variance 1: stationary where s = a^2 s + b^2.
    stationary = b**2 / (1 - a**2)
    # 1 - a^2 is at least 0.01 here: two digits of the rounding of a cancel.
    assert toy.unadjusted_variance(omega, step_size) == pytest.approx(stationary, rel=EXACT)
    # And the iteration from a wrong start ends there.
    variance = 7.0
    for _ in range(5000):
        variance = a**2 * variance + b**2
    assert variance == pytest.approx(toy.unadjusted_variance(omega, step_size), rel=EXACT)


def test_unadjusted_chain_is_wider_than_the_target_by_a_visible_amount():
    assert toy.unadjusted_variance(2.0, 0.5) * 2.0**2 == pytest.approx(4 / 3, rel=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_answers_depend_on_step_size_times_omega_only(case):
    omega, step_size, n_steps = case
    for answer in (toy.energy_error_scale, toy.mean_energy_error, toy.acceptance):
        # Not to the last bit: 1 - h^2/4 cancels to 0.01 in the last case, and 1/kappa - kappa is 0.0025 in the first.
        assert answer(1.0, step_size * omega, n_steps) == pytest.approx(answer(*case), rel=1e-12)
    assert toy.unadjusted_variance(1.0, step_size * omega) == pytest.approx(
        toy.unadjusted_variance(omega, step_size) * omega**2, rel=EXACT
    )


def test_a_full_turn_of_phase_space_has_no_energy_error():
    # h = 1: mu = pi/3, and six (or three) steps come back to the start (or minus it).
    for n_steps in (3, 6, 12):
        assert toy.energy_error_scale(1.0, 1.0, n_steps) == pytest.approx(0, abs=1e-14)
        assert toy.acceptance(1.0, 1.0, n_steps) == pytest.approx(1, abs=1e-14)


def test_many_dimensional_formula_is_off_by_a_quarter_at_worst_in_one_dimension():
    def excess(step_size, n_steps):
        formula = math.erfc(math.sqrt(toy.mean_energy_error(1.0, step_size, n_steps)) / 2)
        return toy.acceptance(1.0, step_size, n_steps) - formula

    worst = max(excess(step_size, n) for step_size in np.linspace(1.5, 1.999, 2000) for n in (1, 2, 3))
    # max over d of (4/pi) atan(2/(d + sqrt(d^2 + 4))) - erfc(d/sqrt(8)): 0.25116 at d = 3.70, flat on this grid.
    assert worst == pytest.approx(0.25116, abs=1e-5)


@pytest.mark.parametrize("step_size", [1e-2, 1e-3, 1e-4])
def test_small_steps_keep_their_digits(step_size):
    # One step: |sin mu| = h kappa and 1/kappa - kappa = h^2/(4 kappa), so d = h^3/4 exactly.
    assert toy.energy_error_scale(1.0, step_size, 1) == pytest.approx(step_size**3 / 4, rel=EXACT, abs=0)


@pytest.mark.parametrize("answer", [toy.energy_error_scale, toy.mean_energy_error, toy.acceptance])
@pytest.mark.parametrize(
    ("omega", "step_size"),
    [(1.0, 2.0), (4.0, 0.5), (1.0, 3.0), (1.0, 0.0), (1.0, -0.1), (1.0, math.nan), (1.0, math.inf)],
)
def test_unstable_or_meaningless_step_is_refused(answer, omega, step_size):
    with pytest.raises(ValueError, match=r"step_size \* omega: got"):
        answer(omega, step_size, 3)
    with pytest.raises(ValueError, match=r"step_size \* omega: got"):
        toy.unadjusted_variance(omega, step_size)


def test_the_leapfrog_does_blow_up_where_it_is_called_unstable():
    assert np.abs(phase_space_matrix(1.0, 2.01, 500)).max() > 1e6
    assert np.abs(phase_space_matrix(1.0, 1.99, 500)).max() < 20
