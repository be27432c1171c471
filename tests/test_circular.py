"""Elementwise maps of the circle and of the unit interval: values, inverses, derivatives, edges."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.groups import TWO_PI, fold
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.splines import CircularSpline, IntervalSpline

MAPS = [
    CircularSpline(1),
    CircularSpline(8),
    CircularSpline(5, min_width=1e-3, min_height=2e-3, min_slope=1e-3, centred=True),
    IntervalSpline(1),
    IntervalSpline(8),
    IntervalSpline(1, unit_ends=True),
    IntervalSpline(6, min_width=1e-2, min_height=2e-2, min_slope=1e-3, centred=True, unit_ends=True),
    ProjectionMixture(1),
    ProjectionMixture(6),
]
CIRCLES = [m for m in MAPS if not isinstance(m, IntervalSpline)]
INTERVALS = [m for m in MAPS if isinstance(m, IntervalSpline)]
# Slopes of the random maps lie between exp(-8) and exp(8): rounding of y (some ulps of 2 pi, 1e-15) over the slope.
ROUNDING = 1e-11
EXACT = 1e-12


def elements(m, rng, size, scale=1.0):
    """Arguments ``(size,)`` and raw numbers of normal size; the ends of the interval among the arguments."""
    length = 1.0 if isinstance(m, IntervalSpline) else TWO_PI
    return rng.uniform(0, length, size), scale * rng.standard_normal((m.outputs, size))


def distance(a, b):
    """On the circle."""
    return np.abs((a - b + np.pi) % TWO_PI - np.pi)


@pytest.mark.parametrize("m", MAPS, ids=str)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 0.3, 1.0]))
def test_round_trip(m, seed, scale):
    x, raw = elements(m, np.random.default_rng(seed), 40, scale)
    y, log_slope = m.forward(x, raw)
    back, log_back = m.inverse(y, raw)
    condition = np.exp(-log_slope) + 1
    assert np.all(distance(back, x) < 2e-14 * condition)
    again, _ = m.forward(back, raw)
    assert np.all(distance(again, y) < 2e-14 * (np.exp(log_slope) + 1))
    assert np.all(np.abs(log_back + log_slope) < ROUNDING * condition)


@pytest.mark.parametrize("m", MAPS, ids=str)
def test_is_its_definition(m):
    x, raw = elements(m, np.random.default_rng(1), 60)
    y, log_slope = m.forward(x, raw)
    y_def, log_def = m.definition(x, raw)
    assert np.max(np.abs(y - y_def)) < EXACT
    assert np.max(np.abs(log_slope - log_def)) < EXACT
    slope = autograd.elementwise_grad(lambda x: m.definition(x, raw)[0])(x)
    assert np.max(np.abs(np.log(slope) - log_slope)) < EXACT


@pytest.mark.parametrize("m", MAPS, ids=str)
def test_pullback_is_the_derivative_of_the_definition(m):
    rng = np.random.default_rng(2)
    x, raw = elements(m, rng, 50)
    g_y, g_log = rng.standard_normal((2, 50))

    def inner(x, raw):
        y, log_slope = m.definition(x, raw)
        return anp.sum(g_y * y + g_log * log_slope)

    y, log_slope, pull = m.forward_with_pullback(x, raw)
    assert all(np.array_equal(a, b) for a, b in zip((y, log_slope), m.forward(x, raw), strict=True))
    for got, expected in zip(pull(g_y, g_log), autograd.grad(inner, (0, 1))(x, raw), strict=True):
        assert np.max(np.abs(got - expected)) < 1e-10 * (1 + np.max(np.abs(expected)))


@pytest.mark.parametrize("m", MAPS, ids=str)
def test_an_element_has_the_same_bits_alone(m):
    rng = np.random.default_rng(3)
    x, raw = elements(m, rng, 33)
    together = (*m.forward(x, raw), *m.inverse(x, raw))
    for i in (0, 17, 32):
        part = slice(i, i + 1)
        alone = (*m.forward(x[part], raw[:, part].copy()), *m.inverse(x[part], raw[:, part].copy()))
        assert all(a[i] == b[0] for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("m", MAPS, ids=str)
def test_any_shape_of_elements(m):
    x, raw = elements(m, np.random.default_rng(4), 24)
    shape = (2, 3, 4)
    for method in (m.forward, m.inverse):
        flat, shaped = method(x, raw), method(x.reshape(shape), raw.reshape(-1, *shape))
        assert all(np.array_equal(a.reshape(shape), b) for a, b in zip(flat, shaped, strict=True))
    with pytest.raises(ValueError, match=r"raw: got shape .* expected"):
        m.forward(x, raw[:-1])
    with pytest.raises(ValueError, match=r"raw: got shape .* expected"):
        m.inverse(x[:-1], raw)


@pytest.mark.parametrize("m", CIRCLES, ids=str)
def test_circle_has_degree_one(m):
    """The slope integrates to 2 pi, the map takes angles modulo 2 pi, and what comes out is in [0, 2 pi)."""
    rng = np.random.default_rng(5)
    n = 20_000
    raw = np.repeat(rng.standard_normal((m.outputs, 1)), n, axis=1)
    x = (np.arange(n) + 0.5) * TWO_PI / n
    y, log_slope = m.forward(x, raw)
    # The midpoint rule, of a slope with kinks: 1/n^2.
    assert abs(np.exp(log_slope).sum() * TWO_PI / n - TWO_PI) < 1e-5
    assert np.all((y >= 0) & (y < TWO_PI))
    assert np.max(distance(m.forward(x - 3 * TWO_PI, raw)[0], y)) < EXACT
    steps = (np.diff(y) + np.pi) % TWO_PI - np.pi
    assert np.all(steps > 0)


@pytest.mark.parametrize("m", CIRCLES, ids=str)
def test_edges_of_the_circle(m):
    """No angle comes out as 2 pi, whatever rounding does at the seam; the slope is continuous there."""
    tiny = np.array(
        [0.0, -1e-17, 1e-17, -1e-300, np.nextafter(TWO_PI, 0), TWO_PI, np.nextafter(TWO_PI, 7), -np.pi, np.pi]
    )
    raw = np.random.default_rng(6).standard_normal((m.outputs, 1)) + np.zeros(len(tiny))
    for shift in (0.0, -1e-17, TWO_PI, -TWO_PI):
        raw[-1] = shift
        for method in (m.forward, m.inverse):
            out, log_slope = method(tiny, raw)
            assert np.all((out >= 0) & (out < TWO_PI))
            seam = log_slope[:7]
            assert np.ptp(seam) < EXACT
            assert np.max(distance(out[:7], out[0])) < EXACT


@pytest.mark.parametrize("m", INTERVALS, ids=str)
def test_ends_of_the_interval_are_fixed(m):
    ends = np.array([0.0, 1.0, 5e-324, np.nextafter(1, 0)])
    raw = np.random.default_rng(7).standard_normal((m.outputs, 4))
    y, log_slope = m.forward(ends, raw)
    x, _ = m.inverse(ends, raw)
    for out in (y, x):
        assert np.array_equal(out[:2], [0.0, 1.0])
        assert np.all((out >= 0) & (out <= 1))
    if m.unit_ends:
        assert np.max(np.abs(log_slope)) < EXACT


def test_centred_splines_are_the_identity_at_zero():
    for m in (CircularSpline(4, 1e-3, 1e-3, 1e-2, True), IntervalSpline(4, 0.1, 0.1, 1e-2, True)):
        x, raw = elements(m, np.random.default_rng(8), 20, 0.0)
        y, log_slope = m.forward(x, raw)
        assert np.max(np.abs(y - x)) < 1e-14
        assert np.max(np.abs(log_slope)) < 1e-14
    m = CircularSpline(4)
    x, raw = elements(m, np.random.default_rng(8), 20, 0.0)
    assert np.max(np.abs(m.forward(x, raw)[1])) > 0.1  # slopes softplus(0) = log 2


def test_least_sizes_hold():
    """At raw numbers that put everything into one bin, knots and slopes keep their least values."""
    m = CircularSpline(4, min_width=0.05, min_height=0.1, min_slope=0.02)
    raw = np.zeros((m.outputs, 1))
    raw[0], raw[4], raw[8:12] = 800.0, 800.0, -800.0
    raw = np.repeat(raw, 3, axis=1)
    first = TWO_PI * (1 - 3 * 0.05)
    x = first + TWO_PI * 0.05 * np.arange(3)
    y, log_slope = m.forward(x, raw)
    assert np.max(np.abs(y - TWO_PI * (0.7 + 0.1 * np.arange(3)))) < EXACT
    assert np.max(np.abs(np.exp(log_slope) - 0.02)) < EXACT


def test_projection_is_the_line():
    """``tan(y/2) = e^s tan(x/2)`` for one projection without shift, on both sides of the pole, and at large s."""
    x = np.array([0.1, 1.0, 3.0, 3.5, 6.0])
    for s in (-30.0, -1.0, 0.0, 2.0, 30.0):
        raw = np.array([[s], [0.0]]) + np.zeros(5)
        y, log_slope = ProjectionMixture(1).forward(x, raw)
        ratio = np.tan(y / 2) / (np.exp(s) * np.tan(x / 2))
        slope = (1 / np.tan(x / 2) ** 2 + 1) * np.tan(x / 2) ** 2  # of x alone: sec^2
        exact = s + np.log(slope) - np.log1p(np.exp(2 * s) * np.tan(x / 2) ** 2)
        assert np.max(np.abs(log_slope - exact)) < EXACT
        if abs(s) < 3:
            assert np.max(np.abs(ratio - 1)) < 1e-13


@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_inverse_of_steep_projections(scale):
    """The bracket holds where Newton steps leave it: y comes back to rounding, whatever the slopes."""
    m, rng = ProjectionMixture(4), np.random.default_rng(9)
    y, raw = rng.uniform(0, TWO_PI, 200), scale * rng.standard_normal((5, 200))
    x, log_slope = m.inverse(y, raw)
    again, _ = m.forward(x, raw)
    # x is a number of [0, 2 pi): moving it by an ulp moves y by the slope.
    assert np.all(distance(again, y) < 1e-14 * (1 + np.exp(-log_slope)))


def test_inputs_are_checked():
    for make, message in (
        (lambda: CircularSpline(0), "bins"),
        (lambda: CircularSpline(8, min_width=0.125), "min_width"),
        (lambda: IntervalSpline(8, min_height=0.2), "min_height"),
        (lambda: IntervalSpline(8, min_slope=1.0), "min_slope"),
        (lambda: IntervalSpline(8, centred=1), "centred"),
        (lambda: IntervalSpline(8, unit_ends=None), "unit_ends"),
        (lambda: ProjectionMixture(0), "n_mix"),
    ):
        with pytest.raises(ValueError, match=f"{message}: got"):
            make()


def test_fold():
    assert np.array_equal(fold(np.array([-1e-17, TWO_PI, 0.0, -np.pi])), [0.0, 0.0, 0.0, np.pi])
