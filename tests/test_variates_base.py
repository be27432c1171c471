"""What a variate is worth, and the names of observables."""

import numpy as np
import pytest

from refimpl import observables
from refimpl.estimators import variates
from refimpl.estimators.variates.base import check_enough, checked_configurations, improvement
from refimpl.observables import scalars
from refimpl.statistics import mean


class Proportional:
    """``f = a (x_0 - 0)`` of standard normal numbers: mean zero."""

    field_shape = (3,)

    def __init__(self, a):
        self.a = a

    def __call__(self, x):
        return self.a * x[:, 0]


class Fit:
    def fit(self, x, observable):
        values = observable(x)
        return Proportional(np.mean(values * x[:, 0]) / np.mean(x[:, 0] ** 2))


def observable(x):
    return 5 + 2 * x[:, 0] + 0.5 * x[:, 1]


def test_the_known_ratio_is_found():
    x = np.random.default_rng(1).standard_normal((40_000, 3))
    found = variates.improve(x, observable, Proportional(2.0))
    assert (
        abs(found.ratio - np.sqrt(17)) < 5 * found.ratio_error
    )  # sqrt(4.25/0.25); five errors, p = 6e-7, one fixed seed
    assert found.ratio_error < 0.03  # sqrt(17) sqrt(1/n) = 0.02 for two nearly independent variances of n = 40,000
    assert abs(found.value - 5) < 5 * found.error
    assert found.error == pytest.approx(0.5 / 200, rel=0.05)
    assert found.raw_error == pytest.approx(np.sqrt(4.25) / 200, rel=0.05)
    assert abs(found.kurtosis - 3) < 5 * np.sqrt(24 / 40_000)
    by_chain = variates.improve(x.reshape(400, 100, 3), observable, Proportional(2.0))
    assert by_chain.value == found.value
    assert by_chain.ratio == found.ratio
    assert "sigma ratio 4.1" in str(found)


def test_correlated_configurations_have_larger_errors():
    rng = np.random.default_rng(2)
    x = np.repeat(rng.standard_normal((2_000, 3)), 4, axis=0)
    assert variates.improve(x, observable, Proportional(2.0)).error == pytest.approx(0.5 / np.sqrt(2000), rel=0.2)


def test_short_series_do_not_pretend_to_be_better_than_independent_ones():
    values = np.random.default_rng(190).standard_normal(
        200
    )  # the window of the Gamma method gives a third of the error
    found = improvement(values, values)
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    assert mean(values).error < 0.5 * found.error


def test_an_error_is_not_below_rounding():
    found = improvement(np.full(100, 3.0), np.full(100, 3.0))
    assert found.error == 3 * 2.0**-50


def test_configurations_of_another_law_pull_the_mean_of_the_variate():
    x = np.random.default_rng(4).standard_normal((400, 3))
    assert variates.improve(x, observable, Proportional(2.0)).pull < 5
    other = variates.improve(x + 1, observable, Proportional(2.0))
    assert other.pull == pytest.approx(1 / 0.05, rel=0.2)  # 1 over 1/sqrt(400), in units of the standard deviation
    assert other.variate_value == pytest.approx(2, rel=0.1)


def test_cross_fit_judges_nothing_by_its_own_fit():
    x = np.random.default_rng(3).standard_normal((100, 3))
    found, fitted = variates.cross_fit(Fit(), x, observable, folds=5)
    assert found.n == 100
    assert len(fitted) == 5
    changed = x.copy()
    changed[:20] += 1  # the first fold
    again = variates.cross_fit(Fit(), changed, observable, folds=5)[1]
    assert again[0].a == fitted[0].a
    assert all(one.a != other.a for one, other in zip(again[1:], fitted[1:], strict=True))


def test_bad_configurations_are_named():
    with pytest.raises(ValueError, match=r"configurations: got shape \(4, 2\), expected \(n, 3\)"):
        variates.improve(np.zeros((4, 2)), observable, Proportional(1.0))
    with pytest.raises(ValueError, match="not finite in field 2"):
        variates.improve(np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 0.0), observable, Proportional(1.0))
    with pytest.raises(ValueError, match="configurations: got 1, expected at least 2"):
        variates.improve(np.zeros((1, 3)), observable, Proportional(1.0))
    with pytest.raises(ValueError, match="one for each configuration"):
        variates.improve(np.zeros((4, 3)), lambda x: x, Proportional(1.0))
    with pytest.raises(ValueError, match="got 7 for 7 features"):
        check_enough(7, 7)
    with pytest.raises(ValueError, match="at least one field"):
        checked_configurations(np.zeros((0, 3)))
    for values in (
        np.zeros((4, 3), dtype="M8[s]"), np.zeros((4, 3), dtype=[("a", float)]), np.zeros((4, 3), dtype=bool),
        np.ones((4, 3)) * 1j, np.full((4, 3), "1"), np.full((4, 3), None),
    ):  # fmt: skip
        for refuses in (
            checked_configurations,
            lambda x: variates.improve(x, observable, Proportional(1.0)),
            lambda x: variates.cross_fit(Fit(), x, observable, folds=2),
        ):
            with pytest.raises(
                ValueError, match=r"configurations: got dtype .*, expected real floating or integer numbers"
            ):
                refuses(values)
    with pytest.raises(ValueError, match="configurations: got what makes no array"):
        checked_configurations([[1.0], [1.0, 2.0]])
    for dtype in (np.float32, np.int64, np.uint8):
        assert checked_configurations(np.ones((4, 3), dtype=dtype)).dtype == np.float64
    with pytest.raises(ValueError, match="folds"):
        variates.cross_fit(Fit(), np.zeros((5, 3)), observable, folds=3)


def test_quantities_are_the_observables_of_their_names():
    rng = np.random.default_rng(4)
    x, links = rng.standard_normal((3, 5, 4)), rng.uniform(-np.pi, np.pi, (3, 2, 5, 4))
    for name, values in {
        "correlator_2": scalars.correlator(x)[:, 2],
        "correlator_0": scalars.correlator(x)[:, 0],
        "phi^2": scalars.phi_squared(x),
        "phi^4": scalars.phi_fourth(x),
        "phi^6": (x**6).mean(axis=(1, 2)),
    }.items():
        assert str(observables.quantity(name)) == name
        np.testing.assert_allclose(observables.quantity(name)(x), values, rtol=1e-14)  # few roundings of 20 sites
    assert observables.quantity("plaquette")(links) == pytest.approx(observables.mean_plaquette(links))
    loop = observables.quantity("wilson_loop_3x2")
    assert (str(loop), loop.extent_t, loop.extent_x) == ("wilson_loop_3x2", 3, 2)
    assert loop(links) == pytest.approx(observables.wilson_loop(links, 3, 2))
    for name in ("correlator", "phi^3", "phi", "loop_2x2"):
        with pytest.raises(ValueError, match=r"(name|power): got"):
            observables.quantity(name)
    with pytest.raises(ValueError, match="t: got 5"):
        observables.Correlator(5)(x)
