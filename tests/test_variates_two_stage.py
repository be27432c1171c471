"""The preconditioned two-stage variate against dense divergences, exact correlators and its own promises."""

import dataclasses

import numpy as np
import pytest

from refimpl.actions import Phi4
from refimpl.estimators.variates import improve, load, save
from refimpl.estimators.variates.monomials import LocalFields, Propagator
from refimpl.estimators.variates.slices import EVEN, ODD, PRODUCTS, Stage
from refimpl.estimators.variates.two_stage import TwoStage, TwoStageVariate, joint_values, n_features
from refimpl.exact import phi4
from refimpl.nets import files
from refimpl.observables.quantities import Correlator, FieldMoment, Plaquette

STEP = 1e-25  # of complex derivatives, which have no rounding of differences


# --- the same variate, on one field, with dense matrices and complex derivatives -----------------------------------------
class Dense:
    """Vector fields g of the variate as functions of fields in columns, real or complex; no formula is the package's."""

    def __init__(self, variate):
        stage = variate.stage
        self.shape, self.kernel, self.coefficients = variate.field_shape, stage.kernel, variate.coefficients
        self.m2, self.lam, mass2 = stage.action.m2, stage.action.lam, stage.propagator.mass2
        n_t, n_x = self.shape
        eye = np.eye(n_t * n_x).reshape(-1, n_t, n_x)
        laplace = sum(2 * eye - np.roll(eye, 1, axis) - np.roll(eye, -1, axis) for axis in (1, 2))
        self.laplace = laplace.reshape(len(eye), -1)
        self.g = np.linalg.inv(self.laplace + mass2 * np.eye(len(eye)))
        mean = np.broadcast_to(eye.mean(axis=2, keepdims=True), eye.shape).reshape(len(eye), -1)
        self.linear = (np.eye(len(eye)), mean, mass2 * self.g)
        self.time = np.repeat(np.arange(n_t), n_x)

    def force(self, x):
        return self.laplace @ x + self.m2 * x + self.lam * x**3 / 6

    def monomial(self, powers, x):
        return np.prod([(s @ x) ** k for s, k in zip(self.linear, powers, strict=True)], axis=0)

    def bracket(self, powers, x):
        """A[G (w h)] = sum_x w(x) B(x); the derivatives of h by hand are those of a product."""
        result = -self.monomial(powers, x) * (self.g @ self.force(x))
        for i, k in enumerate(powers):
            if k:
                lower = [power - (j == i) for j, power in enumerate(powers)]
                result = result + (self.linear[i] @ self.g)[0, 0] * k * self.monomial(lower, x)
        return result

    def weights(self, a):
        """``c_k(|x_0 - a|)/X``, ``(monomial, site)``."""
        n_t, n_x = self.shape
        p = 2 * np.pi * np.arange(n_t) / n_t
        kernel = self.kernel[np.minimum(np.arange(n_t), n_t - np.arange(n_t))]
        c = np.einsum("pk,pd->kd", kernel, np.cos(np.outer(p, np.arange(n_t)))) / n_t
        return c[:, (self.time - a) % n_t] / n_x

    def slice_mean(self, a, x):
        return (self.time == a) @ x / self.shape[1]

    def slice_field(self, a, x):
        """``g^a``."""
        return self.g @ sum(w[:, None] * self.monomial(h, x) for w, h in zip(self.weights(a), EVEN, strict=True))

    def rest(self, a, x):
        """``R_a = P_a - D_a``."""
        brackets = (w @ self.bracket(powers, x) for w, powers in zip(self.weights(a), EVEN, strict=True))
        return self.slice_mean(a, x) - sum(brackets)

    def correlator_field(self, t, x):
        n_t = self.shape[0]
        means, fields, rests = ([f(a, x) for a in range(n_t)] for f in (self.slice_mean, self.slice_field, self.rest))
        pairs = [(a, (a + step) % n_t) for a in range(n_t) for step in (t, -t)]
        return sum(fields[a] * means[b] + fields[b] * rests[a] for a, b in pairs) / len(pairs)

    def regression_field(self, x):
        n_t, n_x = self.shape
        local, products = self.coefficients[: len(ODD)], self.coefficients[len(ODD) :].reshape(len(PRODUCTS), -1)
        result = sum(c * self.monomial(powers, x) / len(x) for c, powers in zip(local, ODD, strict=True))
        for powers, row in zip(PRODUCTS, products, strict=True):
            for j, c in enumerate(row):
                for wave in (f(2 * np.pi * j * self.time / n_t)[:, None] for f in (np.cos, np.sin)):
                    result = result + c * wave * self.monomial(powers, x) / n_x * np.sum(wave * x, axis=0) / n_x
        return self.g @ result

    def divergence(self, field, x):
        """``div g - g . F`` at one field by complex steps."""
        x = x.reshape(-1, 1)
        trace = np.trace(field(x + 1j * STEP * np.eye(len(x))).imag) / STEP
        return trace - float(np.sum(field(x) * self.force(x)))


def fitted(action, shape, observables, n=300, seed=3):
    rng = np.random.default_rng(seed)
    return TwoStage(action).fit_all(rng.normal(0, 0.6, (n, *shape)), observables)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (5, 2)])
def test_variates_are_dense_divergences(shape):
    action = Phi4(-0.3, 5.0)
    observables = (Correlator(0), Correlator(1), Correlator(shape[0] - 1), FieldMoment(4))
    variates = fitted(action, shape, observables)
    x = np.random.default_rng(1).normal(0, 0.8, (2, *shape))
    for variate in variates:
        dense = Dense(variate)

        def field(y, variate=variate, dense=dense):
            regression = dense.regression_field(y)
            if isinstance(variate.observable, FieldMoment):
                return regression
            return dense.correlator_field(variate.observable.t, y) + regression

        expected = np.array([dense.divergence(field, row) for row in x])
        scale = np.abs(expected).max() + np.abs(variate.observable(x)).max()
        assert np.abs(variate(x) - expected).max() < 1e-9 * scale


def test_brackets_are_divergences_of_their_monomials():
    action, shape = Phi4(0.2, 3.0), (4, 3)
    variate = fitted(action, shape, (Correlator(0),))[0]
    dense = Dense(variate)
    x = np.random.default_rng(2).normal(0, 1, (1, *shape))
    fields = LocalFields(action, variate.stage.propagator, x)
    for powers in (*EVEN, *ODD):
        weight = np.random.default_rng(sum(powers)).normal(size=12)
        expected = dense.divergence(lambda y, h=powers, w=weight: dense.g @ (w[:, None] * dense.monomial(h, y)), x)
        got = fields.bracket(powers).ravel() @ weight
        assert abs(got - expected) < 1e-10 * max(1, abs(expected)), powers


# --- unbiased, and better ------------------------------------------------------------------------------------------------
class WithoutOverlaps(Stage):
    """A wrong stage 1: slices as if the supports of their variates never met."""

    def overlap(self, fields):
        return np.zeros((len(fields.x), len(self.kernel)))


SMALL, STRONG = (10, 2), (0.1, 24.0)
TIMES = tuple(range(6))


@pytest.fixture(scope="module")
def small():
    """Variates of the 10 x 2 lattice, other configurations, all independent, and the exact correlator."""
    x = phi4.sample(np.random.default_rng(7), 7000, *STRONG, SMALL)
    return TwoStage(Phi4(*STRONG)).fit_slices(x[:1000], TIMES), x[1000:], phi4.answers(*STRONG, SMALL)


def test_correlators_are_unbiased_at_every_distance(small):
    variates, x, answers = small
    improved = np.stack([variate.observable(x) for variate in variates], axis=1) - joint_values(variates, x)
    raw = np.stack([variate.observable(x) for variate in variates], axis=1)
    error = improved.std(axis=0) / np.sqrt(len(x))
    # 4.5 standard errors of each of 6 means, 4e-5 in all: single values have a kurtosis of hundreds, a mean of 6000 next to none.
    assert (np.abs(improved.mean(axis=0) - answers.correlator[:6]) < 4.5 * error).all()
    assert (raw.std(axis=0) / improved.std(axis=0) > 50).all()


def test_without_overlap_terms_the_correlator_is_wrong(small):
    variates, x, answers = small
    stage = variates[0].stage
    wrong = WithoutOverlaps(stage.action, stage.propagator, stage.kernel)
    mutants = tuple(dataclasses.replace(variate, stage=wrong) for variate in variates)
    improved = np.stack([variate.observable(x) for variate in variates], axis=1) - joint_values(mutants, x)
    error = improved.std(axis=0) / np.sqrt(len(x))
    assert (np.abs(improved.mean(axis=0) - answers.correlator[:6]) > 50 * error).all()


def test_moments_of_the_field_are_unbiased(small):
    _, x, answers = small
    variates = TwoStage(Phi4(*STRONG)).fit_all(x[:1000], (FieldMoment(2), FieldMoment(4)))
    for variate, exact in zip(variates, (answers.phi_squared, answers.phi_fourth), strict=True):
        result = improve(x[1000:], variate.observable, variate)
        assert abs(result.value - exact) < 4.5 * result.error
        assert result.ratio > 30


def test_a_free_field_has_no_variance_left():
    action, shape = Phi4(0.3, 0.0), (6, 4)
    x = phi4.sample(np.random.default_rng(1), 200, 0.3, 0.0, shape)
    variates = TwoStage(action).fit_slices(x, range(6))
    exact = phi4.answers(0.3, 0.0, shape).correlator
    y = np.random.default_rng(2).normal(size=(5, *shape))
    for variate in variates:
        assert np.abs(variate.observable(y) - variate(y) - exact[variate.observable.t]).max() < 1e-9


# --- promises ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pair():
    return fitted(Phi4(0.1, 2.0), (5, 4), (Correlator(2), FieldMoment(2)), n=200)


def test_variates_share_the_symmetries_of_the_action(pair):
    x = np.random.default_rng(4).normal(size=(3, 5, 4))
    for variate in pair:
        f = variate(x)
        images = (np.roll(x, 2, 1), np.roll(x, 1, 2), x[:, ::-1], x[:, :, ::-1], -x)
        assert all(np.abs(variate(image) - f).max() < 1e-11 * np.abs(f).max() for image in images)


def test_a_field_has_the_same_bits_in_any_batch(pair):
    x = np.random.default_rng(5).normal(size=(40, 5, 4))
    for variate in pair:
        assert np.array_equal(np.concatenate([variate(row[None]) for row in x]), variate(x))
    assert np.array_equal(joint_values(pair, x), np.stack([variate(x) for variate in pair], axis=1))


def test_files_give_the_same_variate(pair, tmp_path):
    x = np.random.default_rng(6).normal(size=(3, 5, 4))
    for variate in pair:
        save(variate, tmp_path / "variate.npz")
        again = load(tmp_path / "variate.npz")
        assert isinstance(again, TwoStageVariate)
        assert again.observable == variate.observable
        assert np.array_equal(again(x), variate(x))


@pytest.mark.parametrize(
    "changes", [{"mass2": "a"}, {"mass2": -1}, {"mass2": True}, {"shape": [5, -4]}, {"shape": [5.5, 4]}], ids=str
)
def test_edited_files_are_refused_by_name(pair, tmp_path, changes):
    path = tmp_path / "variate.npz"
    save(pair[0], path)
    arrays, meta = files.load(path)
    files.save(path, arrays, meta | changes)
    with pytest.raises(ValueError, match=rf"variate\.npz: got a TwoStageVariate .*\({next(iter(changes))}: got"):
        load(path)


@pytest.mark.filterwarnings("error")
def test_fields_that_tell_nothing_or_are_too_large_are_refused(pair):
    method, x = TwoStage(Phi4(0.1, 1.0)), np.random.default_rng(0).normal(size=(100, 6, 3))
    with pytest.raises(ValueError, match="configurations: got fields on which no force acts"):
        method.fit(np.zeros((100, 6, 3)), Correlator(1))
    with pytest.raises(
        ValueError, match=r"configurations: got numbers up to .*e\+60, expected fields of at most 1e\+12"
    ):
        method.fit(1e60 * x, Correlator(1))
    with pytest.raises(ValueError, match="configurations: got fields whose features leave float64"):
        TwoStage(Phi4(0.1, 1.0), 1e-300).fit(x, Correlator(1))
    large = np.random.default_rng(0).normal(size=(3, 5, 4))
    for variate in pair:
        assert np.isfinite(variate(large * (1e12 / np.abs(large).max()))).all()
        with pytest.raises(ValueError, match=r"x: got numbers up to .*e\+200, expected fields"):
            variate(1e200 * large)


def test_axes_are_not_swapped(pair):
    for variate in pair:
        with pytest.raises(ValueError, match=r"x: got shape \(2, 4, 5\), expected \(n, 5, 4\)"):
            variate(np.zeros((2, 4, 5)))
        broken = np.zeros((2, 5, 4))
        broken[1, 0, 0] = np.nan
        with pytest.raises(ValueError, match="x: got numbers that are not finite in field 1"):
            variate(broken)


def test_fits_refuse_what_cannot_be_fitted():
    method, shape = TwoStage(Phi4(0.1, 1.0)), (6, 3)
    x = np.random.default_rng(0).normal(size=(100, *shape))
    n = n_features(6)
    with pytest.raises(ValueError, match=f"configurations: got {n} for {n} features"):
        method.fit(x[:n], Correlator(1))
    with pytest.raises(ValueError, match=r"observable\.t: got 6, expected an integer from 0 to 5"):
        method.fit(x, Correlator(6))
    with pytest.raises(ValueError, match="observable: got plaquette, expected"):
        method.fit(x, Plaquette())
    with pytest.raises(ValueError, match=r"configurations: got shape \(100, 18\), expected \(n, T, X\)"):
        method.fit(x.reshape(100, 18), Correlator(1))
    x[3, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite in field 3"):
        method.fit(x, Correlator(1))
    with pytest.raises(ValueError, match=r"mass2: got -1\.0"):
        TwoStage(Phi4(0.1, 1.0), -1.0)
    with pytest.raises(ValueError, match="variates: got some with another stage 1"):
        joint_values(
            (*fitted(Phi4(0.1, 1.0), (2, 2), (Correlator(0),)), *fitted(Phi4(0.1, 1.0), (2, 2), (Correlator(0),))), x
        )


def test_a_propagator_inverts_its_operator():
    propagator = Propagator((5, 3), 0.7)
    x = np.random.default_rng(3).normal(size=(2, 5, 3))
    y = propagator(x)
    operator = 4.7 * y - sum(np.roll(y, step, axis) for axis in (1, 2) for step in (1, -1))
    assert np.abs(operator - x).max() < 1e-13
