"""Theories by name: exact values against the exact samplers, sectors at configurations built by hand."""

import numpy as np
import pytest

from refimpl import actions, theories
from refimpl.exact import gaussian as exact_gaussian
from refimpl.exact import mixture as exact_mixture
from refimpl.exact import o2 as exact_o2
from refimpl.exact import u1 as exact_u1
from refimpl.lattice import add_flux

COVARIANCE, MEAN = [[1.0, 0.4], [0.4, 0.7]], [0.5, -1.0]
MIXTURE = ((0.3, 0.7), ((-2.0, 1.0), (1.0, 0.0)), (((0.5, 0.1), (0.1, 0.4)), ((0.3, 0.0), (0.0, 0.6))))
THEORIES = {
    "u1": theories.u1(2.5, (4, 6)),
    "o2": theories.o2(1.5, 7),
    "gaussian": theories.gaussian(COVARIANCE, MEAN),
    "gaussian centred": theories.gaussian(COVARIANCE),
    "gmm": theories.gmm(*MIXTURE),
    "gmm default": theories.gmm(),
}


@pytest.mark.parametrize("name", THEORIES)
def test_exact_values_are_those_of_the_exact_sampler(name):
    theory, n = THEORIES[name], 20_000
    x = theory.sample(np.random.default_rng(0), n)
    assert x.shape == (n, *theory.field_shape)
    assert x.dtype == np.float64
    assert set(theory.exact) == set(theory.observables)
    for key, exact in theory.exact.items():
        values = theory.observables[key](x)
        assert values.shape == (n,)
        error = values.std(ddof=1) / np.sqrt(n)
        assert 0 < error < 0.1
        # five standard errors of independent samples
        assert abs(values.mean() - exact) < 5 * error, key


@pytest.mark.parametrize("name", THEORIES)
def test_starts_are_the_initialisation_distribution(name):
    theory = THEORIES[name]
    x = theory.start(np.random.default_rng(1), 4000)
    assert x.shape == (4000, *theory.field_shape)
    values = np.sort(x.reshape(-1)[:4000])
    if theory.action.angular:
        assert np.all((x >= -np.pi) & (x < np.pi))
        cumulative = (values + np.pi) / (2 * np.pi)
    else:
        from scipy.special import ndtr

        cumulative = ndtr(values)
    # Kolmogorov-Smirnov at 4000 values, probability 1e-6: sqrt(log(2e6)/2)/sqrt(4000) = 0.043
    assert np.max(np.abs(cumulative - np.arange(1, 4001) / 4000)) < 0.043


@pytest.mark.parametrize("name", THEORIES)
def test_the_action_belongs_to_the_field(name):
    theory = THEORIES[name]
    x = theory.sample(np.random.default_rng(2), 3)
    assert theory.action.action(x).shape == (3,)
    assert theory.sector(x).shape == (3,)
    assert theory.sector(x).dtype == np.int64


def test_parameters_are_those_of_the_function():
    for theory in THEORIES.values():
        again = theories.by_name(theory.name, **theory.parameters)
        x = theory.sample(np.random.default_rng(3), 2)
        assert np.array_equal(again.action.action(x), theory.action.action(x))
        assert np.array_equal(again.sample(np.random.default_rng(3), 2), x)
        assert dict(again.exact) == dict(theory.exact)
        assert dict(again.parameters) == dict(theory.parameters)


def test_sectors_of_u1_are_charges():
    theory = THEORIES["u1"]
    x = add_flux(np.zeros((5, 2, 4, 6)), np.array([0, 1, -1, 3, -2]))
    assert list(theory.sector(x)) == [0, 1, -1, 3, -2]
    assert list(theory.observables["charge^2"](x)) == [0, 1, 1, 9, 4]
    sine = 24 * np.sin(2 * np.pi / 24) / (2 * np.pi)
    assert np.isclose(theory.observables["sine_charge^2"](x)[1], sine**2, rtol=1e-12)


def test_sectors_of_the_chain_are_windings():
    theory, i = THEORIES["o2"], np.arange(7)
    x = np.array([0 * i, 2 * np.pi * i / 7, -2 * np.pi * i / 7 + 1.0, 4 * np.pi * i / 7])
    assert list(theory.sector(x)) == [0, 1, -1, 2]
    # angles are what they are modulo 2 pi
    turned = x + 2 * np.pi * np.random.default_rng(4).integers(-2, 3, x.shape)
    assert list(theory.sector(turned)) == [0, 1, -1, 2]
    assert list(theory.observables["winding^2"](x)) == [0, 1, 1, 4]
    assert np.allclose(theory.observables["bond_cosine"](x), np.cos(2 * np.pi / 7 * np.array([0, 1, 1, 2])), rtol=1e-12)


def test_sectors_of_real_fields():
    x = np.array([[-1.9, 1.2], [1.4, -3.0], [-0.6, 0.6], [-0.5, 0.4]])
    # nearest to (-2, 1) or (1, 0): the border is x_1 = 3 x_0 + 2
    assert list(THEORIES["gmm"].sector(x)) == [0, 1, 0, 1]
    assert list(THEORIES["gaussian"].sector(x)) == [0, 0, 0, 0]


def test_exact_values_are_those_of_the_exact_module():
    u1, o2 = THEORIES["u1"].exact, THEORIES["o2"].exact
    assert u1["plaquette"] == exact_u1.plaquette(2.5, (4, 6))
    assert u1["charge^2"] == 24 * exact_u1.charge_susceptibility(2.5, (4, 6))
    assert u1["sine_charge^2"] == 24 * exact_u1.sine_charge_susceptibility(2.5, (4, 6))
    assert o2["winding^2"] == 7 * exact_o2.winding_susceptibility(1.5, 7)
    assert THEORIES["gaussian"].exact["x_1^2"] == exact_gaussian.moment((1, 1), COVARIANCE, MEAN) == pytest.approx(1.7)
    assert THEORIES["gaussian"].exact["x_1"] == -1.0
    assert THEORIES["gmm"].exact["|x_0|"] == exact_mixture.absolute_moments(0, *MIXTURE)[0]


@pytest.mark.parametrize("name", THEORIES)
def test_scaling_is_that_of_the_action(name):
    theory = THEORIES[name]
    half = theory.scaled(0.5)
    x = theory.sample(np.random.default_rng(5), 3)
    assert np.allclose(half.action.action(x), 0.5 * theory.action.action(x), rtol=1e-14)
    assert np.allclose(half.action.force(x), 0.5 * theory.action.force(x), rtol=1e-14, atol=1e-14)
    assert np.allclose(half.scaled(0.5).action.action(x), 0.25 * theory.action.action(x), rtol=1e-14)
    assert theory.scaled(1.0) is theory
    assert "exact" not in vars(half)  # many digits are not computed before they are asked for
    assert half.field_shape == theory.field_shape
    if theory.name in ("u1", "o2"):
        same = theories.by_name(theory.name, **{**theory.parameters, "beta": theory.parameters["beta"] / 2})
        assert dict(half.exact) == dict(same.exact)
        assert np.array_equal(half.sample(np.random.default_rng(6), 2), same.sample(np.random.default_rng(6), 2))
    else:
        assert half.sample is None
        assert half.exact == {}
    for factor in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="factor: got"):
            theory.scaled(factor)


def test_the_default_mixture_is_the_one_of_the_paper():
    action = theories.gmm().action
    assert isinstance(action, actions.Mixture)
    assert np.array_equal(action.means, [[-2, 0], [2, 0]])
    assert np.array_equal(action.covariances, 0.1 * np.eye(2) * np.ones((2, 1, 1)))
    assert theories.gmm().exact["x_0^2"] == pytest.approx(4.1, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("phi4", {}, "theory: got 'phi4', expected one of u1, schwinger, su2, su3, o2, gaussian, gmm"),
        ("u1", {"beta": 1.0}, "theory: got parameters .*'shape'"),
        ("u1", {"beta": 1.0, "shape": (4, 4), "mass": 1}, "theory: got parameters .*'mass'"),
        ("u1", {"beta": -1.0, "shape": (4, 4)}, "beta: got -1.0"),
        ("u1", {"beta": 1.0, "shape": (4,)}, r"shape: got \(4,\), expected two extents"),
        ("u1", {"beta": 1.0, "shape": 4}, "shape: got 4, expected two extents"),
        ("u1", {"beta": 1.0, "shape": (4.5, 4)}, r"shape: got extent T = 4\.5"),
        ("u1", {"beta": 1.0, "shape": (1, 4)}, "shape: got extent T = 1, expected an integer of at least 2"),
        ("o2", {"beta": 1.0, "length": 0}, "length: got 0"),
        ("o2", {"beta": 1.0, "length": 4.5}, "length: got 4.5"),
        ("o2", {"beta": "cold", "length": 4}, "beta: got 'cold'"),
        ("gaussian", {"covariance": [[1.0, 2.0], [2.0, 1.0]]}, "covariance: got"),
        ("gaussian", {"covariance": [[1.0]], "mean": [1.0, 2.0]}, "mean: got"),
        ("gmm", {"weights": (0.5, 0.6)}, "weights: got"),
        ("gmm", {"means": ((0.0, 0.0),)}, "means: got"),
    ],
)
def test_theories_that_do_not_exist_are_refused(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        theories.by_name(name, **parameters)
