"""Linear, free-field and factorised variates of phi^4: dense divergences, exact correlators, refusals, files."""

import numpy as np
import pytest

from refimpl.actions import Gaussian, Phi4
from refimpl.estimators.variates import improve, load, save
from refimpl.estimators.variates.factorised import Factorised, FactorisedVariate, monomials
from refimpl.estimators.variates.linear import SPACES, FreeField, FreeFieldVariate, Linear, LinearVariate, n_features
from refimpl.exact import phi4
from refimpl.nets import files
from refimpl.observables.quantities import Correlator, FieldMoment

STEP = 1e-25  # of complex derivatives
ACTION = Phi4(-0.2, 3.0)


def force(x):
    """Of fields ``(..., T, X)``, real or complex."""
    neighbours = sum(np.roll(x, step, axis) for axis in (-1, -2) for step in (1, -1))
    return (4 + ACTION.m2) * x + ACTION.lam * x**3 / 6 - neighbours


def divergence(g, x):
    """``div g - g . F`` of one field ``(T, X)`` by complex steps; g takes fields ``(n, T, X)``."""
    moved = g(x + 1j * STEP * np.eye(x.size).reshape(-1, *x.shape)).imag / STEP
    return np.trace(moved.reshape(x.size, -1)) - float(np.sum(g(x[None])[0] * force(x)))


def normal_fields(n, shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.7, (n, *shape))


def assert_is_divergence(variate, g, tolerance=1e-9):
    x = normal_fields(2, variate.field_shape, seed=9)
    expected = np.array([divergence(g, row) for row in x])
    scale = np.abs(expected).max() + np.abs(variate.observable(x)).max()
    assert np.abs(variate(x) - expected).max() < tolerance * scale


# --- linear --------------------------------------------------------------------------------------------------------------
def kernel_of(variate):
    """``m(r)`` of ``g(x) = sum_r m(r) phi(x - r)``: its mode m(k) is minus the coefficient of Z(k), split among the images of k."""
    n_t, n_x = variate.field_shape
    modes = np.zeros((n_t, n_x), dtype=complex)
    if variate.space == "all":  # sum_k c (Re Z + Im Z): the even part of c goes with Re Z, the odd part with Im Z
        c = variate.coefficients.reshape(n_t, n_x)
        mirrored = np.roll(c[::-1, ::-1], (1, 1), (0, 1))
        return np.fft.ifft2(-((c + mirrored) + 1j * (c - mirrored)) / 2).real
    for k, row in enumerate(variate.coefficients.reshape(n_t // 2 + 1, -1)):
        for j, c in enumerate(row):
            images = {(a % n_t, b % n_x) for a in (k, -k) for b in (j, -j)}
            for image in images:
                modes[image] = -c / len(images)
    return np.fft.ifft2(modes).real


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("shape", [(6, 3), (3, 4)])
def test_linear_variates_are_divergences_of_linear_fields(space, shape):
    variate = Linear(ACTION, space).fit(normal_fields(60, shape), Correlator(1))
    m = kernel_of(variate)
    sites = list(np.ndindex(shape))
    dense = np.array([[m[(a - c) % shape[0], (b - d) % shape[1]] for c, d in sites] for a, b in sites])
    assert_is_divergence(variate, lambda x: (x.reshape(len(x), -1) @ dense.T).reshape(x.shape))


@pytest.mark.parametrize("observable", [Correlator(2), FieldMoment(2)])
def test_free_fields_have_no_variance_left(observable):
    action, shape = Phi4(0.4, 0.0), (6, 4)
    x = phi4.sample(np.random.default_rng(1), 120, 0.4, 0.0, shape)
    answers = phi4.answers(0.4, 0.0, shape)
    exact = answers.correlator[2] if isinstance(observable, Correlator) else answers.phi_squared
    y = normal_fields(4, shape)
    free = FreeField(action).fit(x, observable)
    assert free.mass2 == pytest.approx(0.4, rel=1e-5)
    assert free.scale == pytest.approx(1, abs=1e-5)
    assert np.abs(observable(y) - free(y) - exact).max() < 1e-5  # the mass is found by a search
    linear = Linear(action).fit(x, observable)
    assert np.abs(observable(y) - linear(y) - exact).max() < 1e-8


def test_closed_forms_are_unbiased_and_better():
    x = phi4.sample(np.random.default_rng(3), 6000, 0.1, 24.0, (10, 2))
    answers, action = phi4.answers(0.1, 24.0, (10, 2)), Phi4(0.1, 24.0)
    cases = [
        (Linear(action), Correlator(5), answers.correlator[5], 3.3),
        (Linear(action, "all"), Correlator(2), answers.correlator[2], 2.5),
        (FreeField(action), Correlator(4), answers.correlator[4], 3.3),
        (Linear(action), FieldMoment(4), answers.phi_fourth, 4),
        (FreeField(action), FieldMoment(2), answers.phi_squared, 3),
        (Factorised(action), Correlator(5), answers.correlator[5], 25),
    ]
    for method, observable, exact, least in cases:
        result = improve(x[1000:], observable, method.fit(x[:1000], observable))
        assert abs(result.value - exact) < 4.5 * result.error, method  # 4e-5 for all of them
        assert result.ratio > least, method


# --- factorised ----------------------------------------------------------------------------------------------------------
def factorised_field(variate, x):
    """``mean_a [g^a P_b + g^b R_a]`` of fields ``(n, T, X)``, from the definitions."""
    n_t = variate.field_shape[0]
    s = sum(np.roll(x, step, axis) for axis in (1, 2) for step in (1, -1)) / 4
    h = np.stack([x**i * s**j for i, j in monomials(variate.degree)])
    slopes = np.stack([i * x ** max(i - 1, 0) * s**j for i, j in monomials(variate.degree)])
    distance = np.abs(np.arange(n_t)[:, None] - np.arange(n_t))
    distance = np.minimum(distance, n_t - distance)
    window = np.where(distance <= variate.width, distance, 0)
    weights = np.where((distance <= variate.width)[..., None], variate.kernel[window], 0)  # (a, y, k)
    g = np.einsum("ayk,knyx->anyx", weights, h)
    d = np.einsum("ayk,knyx->an", weights, slopes - h * force(x))
    means = x.mean(axis=2).T
    rest, b = means - d, (np.arange(n_t) + variate.observable.t) % n_t
    return (g * means[b][:, :, None, None] + g[b] * rest[:, :, None, None]).mean(axis=0)


@pytest.mark.parametrize(("shape", "t", "width"), [((8, 3), 4, 1), ((8, 3), 2, 0), ((9, 2), 5, 1), ((4, 4), 2, 0)])
def test_factorised_variates_are_dense_divergences(shape, t, width):
    variate = Factorised(ACTION, width, degree=4).fit(normal_fields(60, shape), Correlator(t))
    assert_is_divergence(variate, lambda x: factorised_field(variate, x))


def test_overlapping_supports_would_be_wrong():
    variate = Factorised(ACTION, 1, degree=4).fit(normal_fields(60, (8, 3)), Correlator(4))
    near = object.__new__(FactorisedVariate)  # what the refusals below are for
    for name in ("action", "field_shape", "degree", "kernel"):
        object.__setattr__(near, name, getattr(variate, name))
    object.__setattr__(near, "observable", Correlator(3))
    with pytest.raises(AssertionError):
        assert_is_divergence(near, lambda x: factorised_field(near, x), tolerance=1e-4)


def test_overlapping_supports_are_refused():
    x = normal_fields(60, (12, 3))
    with pytest.raises(ValueError, match=r"width: got 2, expected at most 1 at t = 5 on T = 12.* overlap"):
        Factorised(ACTION, 2, 2).fit(x, Correlator(5))
    with pytest.raises(ValueError, match=r"width: got 2, expected at most 1 at t = 8 on T = 12.* overlap"):
        Factorised(ACTION, 2, 2).fit(x, Correlator(8))
    for t in (0, 1, 11):
        with pytest.raises(ValueError, match=rf"observable\.t: got {t} on T = 12.* overlap"):
            Factorised(ACTION).fit(x, Correlator(t))
    assert Factorised(ACTION, degree=2).fit(x, Correlator(6)).width == 2
    assert Factorised(ACTION, degree=2).fit(x, Correlator(5)).width == 1


def test_both_axes_of_a_square_lattice_are_used():
    x = normal_fields(40, (6, 6))
    method = Factorised(ACTION, degree=2)
    kernels = [method.fit(fields, Correlator(3)).kernel for fields in (x, np.ascontiguousarray(x.swapaxes(1, 2)))]
    assert np.allclose(*kernels, rtol=1e-9, atol=0)


# --- promises ------------------------------------------------------------------------------------------------------------
METHODS = [Linear(ACTION), Linear(ACTION, "all"), FreeField(ACTION), Factorised(ACTION, degree=4)]


@pytest.fixture(scope="module")
def variates():
    x = normal_fields(100, (6, 3))
    return [method.fit(x, Correlator(3)) for method in METHODS] + [FreeField(ACTION).fit(x, FieldMoment(2))]


def test_a_field_has_the_same_bits_in_any_batch(variates):
    x = normal_fields(40, (6, 3), seed=5)
    for variate in variates:
        assert np.array_equal(np.concatenate([variate(row[None]) for row in x]), variate(x))


def test_variates_share_the_symmetries_of_the_action(variates):
    x = normal_fields(3, (6, 3), seed=6)
    for variate in variates:
        f = variate(x)
        images = [np.roll(x, 2, 1), np.roll(x, 1, 2), -x]
        if getattr(variate, "space", "") != "all":  # whose kernels need not be even
            images += [x[:, ::-1], x[:, :, ::-1]]
        assert all(np.abs(variate(image) - f).max() < 1e-12 * np.abs(f).max() for image in images)


def test_files_give_the_same_variate(variates, tmp_path):
    x = normal_fields(3, (6, 3), seed=7)
    for variate in variates:
        save(variate, tmp_path / "variate.npz")
        again = load(tmp_path / "variate.npz")
        assert isinstance(again, LinearVariate | FreeFieldVariate | FactorisedVariate)
        assert again.observable == variate.observable
        assert np.array_equal(again(x), variate(x))


def test_wrong_fields_are_refused(variates):
    broken = np.zeros((2, 6, 3))
    broken[1, 2, 1] = np.nan
    for variate in variates:
        with pytest.raises(ValueError, match=r"x: got shape \(2, 3, 6\), expected \(n, 6, 3\)"):
            variate(np.zeros((2, 3, 6)))
        with pytest.raises(ValueError, match="x: got numbers that are not finite in field 1"):
            variate(broken)


def test_fields_that_tell_nothing_are_refused():
    for x in (
        np.zeros((30, 6, 3)),
        np.full((30, 6, 3), 0.7),
        np.where(np.arange(30) % 2, 0.7, -0.7)[:, None, None] + np.zeros((6, 3)),
    ):
        for observable in (Correlator(3), FieldMoment(2)):
            with pytest.raises(ValueError, match="configurations: got fields on which no feature varies"):
                FreeField(ACTION).fit(x, observable)
    for method in METHODS:
        with pytest.raises(
            ValueError, match=r"configurations: got numbers up to .*e\+60, expected fields of at most 1e\+12"
        ):
            method.fit(1e60 * normal_fields(30, (6, 3)), Correlator(3))


@pytest.mark.filterwarnings("error")
def test_the_largest_fields_have_values(variates):
    x = normal_fields(3, (6, 3))
    for variate in variates:
        assert np.isfinite(variate(x * (1e12 / np.abs(x).max()))).all()
        with pytest.raises(ValueError, match=r"x: got numbers up to .*e\+200, expected fields"):
            variate(1e200 * x)


def edited(path, **changes):
    """The file with other meta data."""
    arrays, meta = files.load(path)
    files.save(path, arrays, meta | changes)


def test_edited_files_are_refused_by_name(variates, tmp_path):
    path = tmp_path / "variate.npz"
    for variate in variates:
        for changes in (
            {"variate": ["a"]}, {"variate": None}, {"shape": [6, -4]}, {"shape": [6.5, 3]}, {"shape": 6}, {"observable": "a"},
            {"observable": 3}, {"action": {"m2": "a", "lam": 1.0}}, {"action": {"m2": True, "lam": 1.0}}, {"action": [1]},
        ):  # fmt: skip
            save(variate, path)
            edited(path, **changes)
            with pytest.raises(ValueError, match=r"variate\.npz: got a"):
                load(path)


def test_fits_refuse_what_cannot_be_fitted():
    x = normal_fields(18, (6, 3))
    with pytest.raises(ValueError, match="configurations: got 18 for 18 features"):
        Linear(ACTION, "all").fit(x, Correlator(1))
    with pytest.raises(ValueError, match="configurations: got 8 for 9 features"):
        Factorised(ACTION, 0, 4).fit(x[:8], Correlator(3))
    with pytest.raises(ValueError, match="configurations: got 2 for 2 features"):
        FreeField(ACTION).fit(x[:2], Correlator(3))
    with pytest.raises(ValueError, match="space: got 'even'"):
        Linear(ACTION, "even")
    with pytest.raises(ValueError, match="degree: got 3, expected an even number"):
        Factorised(ACTION, degree=3)
    with pytest.raises(
        ValueError, match=r"observable: got phi\^2, expected a Correlator .* have the methods two-stage"
    ):
        Factorised(ACTION).fit(x, FieldMoment(2))
    for method in METHODS:
        with pytest.raises(ValueError, match=r"observable\.t: got 6, expected an integer from 0 to 5"):
            method.fit(x, Correlator(6))
        with pytest.raises(ValueError, match="not finite in field 0"):
            method.fit(np.full((30, 6, 3), np.nan), Correlator(3))
        with pytest.raises(ValueError, match="action: got Gaussian"):
            type(method)(Gaussian(np.eye(2)))
    assert n_features((6, 3), "reflection") == 8
