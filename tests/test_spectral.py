"""Spectra of SU(N) matrices, and the maps that move them and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.groups import SUN
from refimpl.groups.matrices import components, coordinates, dagger, field, hermitian, product
from refimpl.groups.spectrum import spectrum, with_phases
from refimpl.maps.spectral import SpectralKernel, _cell
from refimpl.maps.spectral_definition import spectral_map
from refimpl.maps.splines import IntervalSpline
from tests.links import algebra_elements

# Of a dozen rotations and products, each some rounding errors of 1.1e-16.
ROUNDING = 5e-15


def kernels(n):
    return st.builds(SpectralKernel, st.just(n), st.builds(IntervalSpline, st.integers(1, 6)), st.booleans())


def matrices(w, n):
    """Component first, of coordinates ``(site, n^2 - 1)``."""
    return np.ascontiguousarray(components(SUN(n).exp(w), 2))


def haar(rng, n, sites):
    return np.ascontiguousarray(components(SUN(n).haar(rng, (sites,)), 2))


def numbers(rng, kernel, sites, scale=0.7):
    return scale * rng.standard_normal((kernel.outputs, sites))


def gapped(rng, n, sites, gap):
    """Matrices with two eigenphases ``gap`` apart."""
    t = rng.uniform(-3, 3, (sites, n))
    t[:, 1] = t[:, 0] + gap
    t -= t.mean(axis=1, keepdims=True)
    vectors = SUN(n).haar(rng, (sites,))
    p = (vectors * np.exp(1j * t)[:, None]) @ vectors.conj().swapaxes(1, 2)
    return np.ascontiguousarray(components(p, 2))


def centre(n, k):
    return np.eye(n, dtype=np.complex128)[..., None] * np.exp(2j * np.pi * k / n)


def check_spectrum(p):
    n = len(p)
    t, v = spectrum(p)
    np.testing.assert_allclose(with_phases(v, t), p, atol=ROUNDING, rtol=0)
    np.testing.assert_allclose(product(dagger(v), v) - np.eye(n)[..., None], 0, atol=ROUNDING)
    np.testing.assert_allclose(t.sum(axis=0), 0, atol=ROUNDING)
    assert np.all(np.diff(t, axis=0) >= -ROUNDING)
    assert np.all(t[-1] <= t[0] + 2 * np.pi + ROUNDING)
    return t


@pytest.mark.parametrize("n", [2, 3, 4])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_spectra_at_any_gap(n, data):
    check_spectrum(matrices(data.draw(algebra_elements(n)), n))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_spectra_of_centre_and_permutations(n):
    for k in range(n):
        t = check_spectrum(centre(n, k))
        expected = np.array([2 * np.pi * k / n] * (n - k) + [2 * np.pi * k / n - 2 * np.pi] * k)
        np.testing.assert_allclose(t[:, 0], np.sort(expected), atol=ROUNDING)
    rng = np.random.default_rng(1)
    # Matrices on which sweeps of Jacobi rotations could stand still: all entries of equal size, or zero and one.
    turns = np.exp(2j * np.pi * rng.integers(0, 8, (500, n)) / 8)
    fourier = np.exp(2j * np.pi * np.outer(range(n), range(n)) / n) / np.sqrt(n)
    for matrix in (np.roll(np.eye(n), 1, axis=0), fourier):
        p = matrix * turns[:, None]
        p /= np.linalg.det(p)[:, None, None] ** (1 / n)
        check_spectrum(components(p, 2))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_what_determinants_are_off_is_left_out(n):
    p = haar(np.random.default_rng(12), n, 200)
    t, _ = spectrum(p)
    off, _ = spectrum(p * np.exp(1e-10j))
    np.testing.assert_allclose(off, t, atol=ROUNDING, rtol=0)
    # Also beside the walls and at corners of the cell.
    for k in range(n):
        t, _ = spectrum(centre(n, k) * np.exp(1e-10j))
        np.testing.assert_allclose(t.sum(axis=0), 0, atol=ROUNDING)
        np.testing.assert_allclose(t, spectrum(centre(n, k))[0], atol=ROUNDING)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_round_trip_where_all_eigenvalues_are_equal(n):
    rng = np.random.default_rng(13)
    kernel, g = SpectralKernel(n), haar(rng, n, 20)
    for k in range(n):
        # Conjugated, which leaves gaps of rounding: their ratios are not to be seen.
        p = product(product(g, centre(n, k)), dagger(g))
        raw = numbers(rng, kernel, 20)
        turn, logdet = kernel.forward(p, raw)
        moved = product(turn, p)
        np.testing.assert_allclose(moved, np.broadcast_to(centre(n, k), p.shape), atol=ROUNDING)
        turn, back = kernel.inverse(moved, raw)
        np.testing.assert_allclose(product(turn, moved), p, atol=ROUNDING)
        np.testing.assert_allclose(logdet + back, 0, atol=1e-13)
        assert np.abs(logdet).max() > 0.1


def test_spectra_have_the_same_bits_in_any_batch():
    p = haar(np.random.default_rng(2), 3, 5000)
    t, v = spectrum(p)
    for part in (slice(7, 8), slice(2040, 2060)):
        own_t, own_v = spectrum(p[..., part])
        assert np.array_equal(own_t, t[:, part])
        assert np.array_equal(own_v, v[..., part])


@pytest.mark.parametrize("n", [2, 3, 4])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_round_trip_and_unitarity(n, data):
    kernel = data.draw(kernels(n))
    p = matrices(data.draw(algebra_elements(n)), n)
    raw = numbers(np.random.default_rng(data.draw(st.integers(0, 100))), kernel, p.shape[-1])
    turn, logdet = kernel.forward(p, raw)
    moved = product(turn, p)
    back, back_logdet = kernel.inverse(moved, raw)
    np.testing.assert_allclose(product(dagger(moved), moved) - np.eye(n)[..., None], 0, atol=ROUNDING)
    # A slope of 1/30, which such numbers have, loses as much of the 1e-15 of the phases.
    np.testing.assert_allclose(product(back, moved), p, atol=1e-12)
    assert np.all(np.isfinite(logdet))
    if n < 4:
        # b' is known to 1e-16/b' and the logdet to the same where several gaps are small at once.
        gaps = np.diff(spectrum(p)[0], axis=0)
        wide = np.min(np.concatenate([gaps, 2 * np.pi - gaps.sum(axis=0, keepdims=True)]), axis=0) > 1e-3
        np.testing.assert_allclose((logdet + back_logdet)[wide], 0, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3])
def test_agrees_with_the_definition(n):
    rng = np.random.default_rng(3)
    p = haar(rng, n, 30)
    for conditioned in (False, True):
        kernel = SpectralKernel(n, conditioned=conditioned)
        raw = numbers(rng, kernel, 30)
        turn, logdet = kernel.forward(p, raw)
        moved = field(product(turn, p), 2)
        for i in range(30):
            expected, part = spectral_map(kernel, p[..., i], raw[:, i])
            np.testing.assert_allclose(moved[i], expected, atol=1e-13)
            assert logdet[i] == pytest.approx(part, abs=1e-11)


@pytest.mark.parametrize("n", [2, 3])
def test_conjugation_equivariance(n):
    rng = np.random.default_rng(4)
    kernel = SpectralKernel(n)
    p, g, raw = haar(rng, n, 50), haar(rng, n, 50), numbers(rng, kernel, 50)
    turn, logdet = kernel.forward(p, raw)
    turned, same = kernel.forward(product(product(g, p), dagger(g)), raw)
    np.testing.assert_allclose(turned, product(product(g, turn), dagger(g)), atol=1e-13)
    np.testing.assert_allclose(same, logdet, atol=1e-11)


def derivatives(function, step):
    """Central differences of fourth order of ``function(eps)``, an array or a tuple of arrays."""
    values = [function(s * step) for s in (1, -1, 2, -2)]
    return [(8 * (a - b) - (c - d)) / (12 * step) for a, b, c, d in zip(*values, strict=True)]


def moved(kernel, p, raw):
    turn, logdet = kernel.forward(p, raw)
    return product(turn, p), logdet


@pytest.mark.parametrize("n", [2, 3, 4])
def test_logdet_and_pullback_by_differences_on_the_group(n):
    rng = np.random.default_rng(5)
    sites, size = 40, n * n - 1
    kernel = SpectralKernel(n)
    p, raw = haar(rng, n, sites), numbers(rng, kernel, sites)
    turn, logdet, pull = kernel.forward_with_pullback(p, raw)
    image = product(turn, p)
    jacobian, slopes = np.empty((size, size, sites)), np.empty((size, sites))
    for a in range(size):

        def along(eps, a=a):
            step = matrices(eps * np.eye(size)[a][None], n)
            return moved(kernel, product(step, p), raw)

        change, slopes[a] = derivatives(along, 1e-5)
        jacobian[:, a] = coordinates(-1j * product(change, dagger(image)))
    # Differences: 1e-15/1e-5 of rounding, larger where slopes and their changes are.
    dense = np.linalg.slogdet(jacobian.transpose(2, 0, 1))[1]
    np.testing.assert_allclose(logdet, dense, atol=1e-7)
    w, g_logdet = rng.standard_normal((size, sites)), rng.standard_normal(sites)
    g, g_raw = pull(2 * hermitian(w, n), g_logdet)
    expected = np.einsum("as,abs->bs", w, jacobian) + g_logdet * slopes
    np.testing.assert_allclose(coordinates(g) / 2, expected, atol=1e-7 * (1 + np.abs(expected).max()))
    direction = rng.standard_normal(raw.shape)
    change, slope = derivatives(lambda eps: moved(kernel, p, raw + eps * direction), 1e-5)
    expected = (w * coordinates(-1j * product(change, dagger(image)))).sum(axis=0) + g_logdet * slope
    np.testing.assert_allclose((g_raw * direction).sum(axis=0), expected, atol=1e-7 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("gap", [1e-3, 1e-5, 1e-7])
def test_derivatives_close_to_a_wall(n, gap):
    rng = np.random.default_rng(6)
    sites, size = 20, n * n - 1
    kernel = SpectralKernel(n)
    p, raw = gapped(rng, n, sites, gap), numbers(rng, kernel, sites)
    turn, _, pull = kernel.forward_with_pullback(p, raw)
    image = product(turn, p)
    w, direction = rng.standard_normal((2, size, sites))
    g, _ = pull(2 * hermitian(w, n), np.zeros(sites))
    # Differences within the gap: some 1e-15/step of rounding; and of the change of the derivative, of order 100 gap, the fourth
    # power of what the step takes of the gap, 0.03 at most.
    step = 0.01 * gap

    def along(eps):
        return moved(kernel, product(matrices(eps * direction.T, n), p), raw)

    change, _ = derivatives(along, step)
    expected = (w * coordinates(-1j * product(change, dagger(image)))).sum(axis=0)
    atol = 3e-14 / step + 1e-4 * gap
    np.testing.assert_allclose((direction * coordinates(g) / 2).sum(axis=0), expected, atol=atol)


@pytest.mark.parametrize("n", [2, 3])
def test_limit_of_logdet_on_a_wall(n):
    rng = np.random.default_rng(7)
    kernel = SpectralKernel(n)
    raw = numbers(rng, kernel, 20)
    on_wall = kernel.forward(gapped(np.random.default_rng(8), n, 20, 0.0), raw)[1]
    for gap in (1e-15, 1e-13, 1e-9, 1e-6):
        p = gapped(np.random.default_rng(8), n, 20, gap)
        distance = np.min(_cell(spectrum(p)[0]).box, axis=(0, 1))
        # The slope of the logdet is some 1000 at most here. With a ratio of roundings it would be off by 1 at 1e-15.
        assert np.all(np.abs(kernel.forward(p, raw)[1] - on_wall) <= 5000 * distance + 1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_centre_elements_stay_and_have_finite_derivatives(n):
    rng = np.random.default_rng(9)
    kernel = SpectralKernel(n)
    raw = numbers(rng, kernel, 1)
    for k in range(n):
        turn, logdet, pull = kernel.forward_with_pullback(centre(n, k), raw)
        np.testing.assert_allclose(product(turn, centre(n, k)), centre(n, k), atol=ROUNDING)
        g, g_raw = pull(2 * hermitian(rng.standard_normal((n * n - 1, 1)), n), np.zeros(1))
        assert all(np.all(np.isfinite(array)) for array in (logdet, g.view(float), g_raw))
        back, back_logdet = kernel.inverse(centre(n, k), raw)
        np.testing.assert_allclose(back, np.eye(n)[..., None], atol=ROUNDING)
        np.testing.assert_allclose(logdet + back_logdet, 0, atol=1e-10)


def test_su2_is_the_spline_of_its_angle():
    # A rotation by alpha has phases -+alpha/2 and Haar density sin^2(alpha/2): everything by hand.
    kernel = SpectralKernel(2)
    rng = np.random.default_rng(10)
    raw = numbers(rng, kernel, 50)
    half = rng.uniform(0.01, np.pi - 0.01, 50)
    p = matrices(np.stack([np.zeros(50), np.zeros(50), 2 * half], axis=1), 2)
    turn, logdet = kernel.forward(p, raw)
    new, log_slope = kernel.spline.forward(half / np.pi, raw)
    np.testing.assert_allclose(np.angle(product(turn, p)[0, 0]), np.pi * new, atol=1e-13)
    np.testing.assert_allclose(logdet, log_slope + 2 * np.log(np.sin(np.pi * new) / np.sin(half)), atol=1e-11)


@pytest.mark.parametrize("n", [2, 3])
def test_densities_stay_normalised(n):
    # The mean over Haar of exp(logdet) is the volume of the image, 1.
    rng = np.random.default_rng(11)
    kernel = SpectralKernel(n)
    raw = np.repeat(numbers(rng, kernel, 1, 1.0), 20_000, axis=1)
    weights = np.exp(kernel.forward(haar(rng, n, 20_000), raw)[1])
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.05
    assert abs(weights.mean() - 1) < 4.5 * error  # fails by chance once in 1e5


def test_raw_zero_is_the_identity():
    for n in (2, 3):
        kernel = SpectralKernel(n)
        p = haar(np.random.default_rng(12), n, 10)
        turn, logdet = kernel.forward(p, np.zeros((kernel.outputs, 10)))
        np.testing.assert_allclose(turn - np.eye(n)[..., None], 0, atol=1e-14)
        np.testing.assert_allclose(logdet, 0, atol=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="n: got 1"):
        SpectralKernel(1)
    with pytest.raises(ValueError, match="spline: got 8"):
        SpectralKernel(2, 8)
    with pytest.raises(ValueError, match="conditioned: got 3"):
        SpectralKernel(3, conditioned=3)
    kernel = SpectralKernel(3)
    with pytest.raises(ValueError, match=r"raw: got shape \(5, 2\), expected \(75, 2\)"):
        kernel.forward(haar(np.random.default_rng(13), 3, 2), np.zeros((5, 2)))
