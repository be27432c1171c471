"""Theories by name: exact values against the exact samplers, sectors at configurations built by hand."""

import numpy as np
import pytest

from refimpl import actions, observables, theories
from refimpl.exact import gaussian as exact_gaussian
from refimpl.exact import mixture as exact_mixture
from refimpl.exact import o2 as exact_o2
from refimpl.exact import schwinger as exact_schwinger
from refimpl.exact import u1 as exact_u1
from refimpl.lattice import add_flux
from refimpl.training import recipes

COVARIANCE, MEAN = [[1.0, 0.4], [0.4, 0.7]], [0.5, -1.0]
MIXTURE = ((0.3, 0.7), ((-2.0, 1.0), (1.0, 0.0)), (((0.5, 0.1), (0.1, 0.4)), ((0.3, 0.0), (0.0, 0.6))))
THEORIES = {
    "u1": theories.u1(2.5, (4, 6)),
    "su2": theories.su2(2.0, (3, 4)),
    "su3": theories.su3(6.0, (2, 3)),
    "o2": theories.o2(1.5, 7),
    "gaussian": theories.gaussian(COVARIANCE, MEAN),
    "gaussian centred": theories.gaussian(COVARIANCE),
    "gmm": theories.gmm(*MIXTURE),
    "gmm default": theories.gmm(),
    "phi4 free": theories.phi4(0.7, 0.0, (5, 3)),
}
COUNTS = {"su2": 2000, "su3": 400}  # matrices take longer to draw
MATRICES = tuple(COUNTS)
FERMIONS = {
    "schwinger": theories.schwinger(2.0, 0.2, (2, 4)),
    "su2": theories.su2(2.0, (2, 2), 0.15),
    "su3": theories.su3(5.0, (2, 3), 0.22),
}


@pytest.mark.parametrize("name", THEORIES)
def test_exact_values_are_those_of_the_exact_sampler(name):
    theory, n = THEORIES[name], COUNTS.get(name, 20_000)
    x = theory.sample(np.random.default_rng(0), n)
    assert x.shape == (n, *theory.field_shape)
    assert x.dtype == (np.complex128 if name in MATRICES else np.float64)
    assert set(theory.exact) == set(theory.observables)
    for key, exact in theory.exact.items():
        values = theory.observables[key](x)
        assert values.shape == (n,)
        error = values.std(ddof=1) / np.sqrt(n)
        assert 0 < error < 0.1
        # five standard errors of independent samples
        assert abs(values.mean() - exact) < 5 * error, key


@pytest.mark.parametrize("name", [name for name in THEORIES if name not in MATRICES])
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
    if theory.name in ("u1", "o2", "su2", "su3"):
        same = theories.by_name(theory.name, **{**theory.parameters, "beta": theory.parameters["beta"] / 2})
        assert dict(half.exact) == dict(same.exact)
        assert np.array_equal(half.sample(np.random.default_rng(6), 2), same.sample(np.random.default_rng(6), 2))
    else:
        assert half.sample is None
        assert half.exact == {}
    for factor in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="factor: got"):
            theory.scaled(factor)


@pytest.mark.parametrize("name", MATRICES)
def test_starts_of_matrices_are_haar_and_cold_ones_are_one(name):
    theory = THEORIES[name]
    n = theory.colours
    assert n == int(name[-1])
    x = theory.start(np.random.default_rng(1), 200)
    assert x.shape == (200, *theory.field_shape)
    assert np.abs(x @ x.conj().swapaxes(-1, -2) - np.eye(n)).max() < 1e-13  # rounding
    squares = np.abs(np.einsum("...ii->...", x)).reshape(200, -1) ** 2
    # <|tr U|^2> = 1: five standard errors of independent chains
    assert abs(squares.mean() - 1) < 5 * squares.mean(axis=1).std(ddof=1) / np.sqrt(200)
    assert np.array_equal(theory.cold(2), np.broadcast_to(np.eye(n), (2, *theory.field_shape)))
    assert np.allclose(theory.observables["plaquette"](theory.cold(2)), 1, rtol=1e-15)
    assert np.array_equal(THEORIES["u1"].cold(3), np.zeros((3, 2, 4, 6)))


def test_theories_of_one_sector_record_none():
    for name in ("su2", "su3", "gaussian"):
        assert not THEORIES[name].has_sectors
        assert "sector" not in THEORIES[name].recorded
        assert THEORIES[name].sector_probabilities() == {}
    for theory in (THEORIES["u1"], THEORIES["o2"], FERMIONS["schwinger"]):
        assert theory.has_sectors
        assert theory.sector_name in [name for key in theory.recorded for name in np.atleast_1d(key)]
    assert sum(THEORIES["u1"].sector_probabilities().values()) == pytest.approx(1, rel=1e-12)
    assert THEORIES["u1"].sector_probabilities()[0] == exact_u1.charge_distribution(2.5, (4, 6))[1].max()


@pytest.mark.parametrize("name", FERMIONS)
def test_the_action_with_fermions_is_gauge_action_and_determinant(name):
    theory = FERMIONS[name]
    x = theory.start(np.random.default_rng(4), 5)
    without = (
        theories.u1(2.0, (2, 4)) if name == "schwinger" else theories.by_name(name, **theory.parameters | {"kappa": 0})
    )
    fermions = -2 * exact_schwinger.log_determinant(x, theory.parameters["kappa"])  # by explicit loops over sites
    # rounding of LU of at most 36 rows, of a well conditioned matrix
    assert np.allclose(theory.action.action(x) - without.action.action(x), fermions, rtol=0, atol=1e-11)
    assert (
        theory.action.force(x).shape
        == (5, *theory.field_shape[:3], max(1, theory.colours**2 - 1))[: 4 + (name != "schwinger")]
    )
    again = theories.by_name(name, **theory.parameters)
    assert np.array_equal(again.action.action(x), theory.action.action(x))
    assert again.parameters == theory.parameters


@pytest.mark.parametrize("name", ["schwinger", "su2"])
def test_exact_configurations_with_fermions_are_those_of_reweighting(name):
    theory, n = FERMIONS[name], {"schwinger": 1500, "su2": 600}[name]
    kappa = theory.parameters["kappa"]
    plaquette, polyakov = (theory.observables[key] for key in ("plaquette", "polyakov"))
    x = theory.sample(np.random.default_rng(1), n)
    y = exact_schwinger.pure_gauge(np.random.default_rng(2), n, 2.0, tuple(theory.parameters["shape"]), theory.colours)
    w = np.exp(2 * exact_schwinger.log_determinant(y, kappa))
    for f in (plaquette, polyakov):
        a, b = f(x), f(y)
        mean = w @ b / w.sum()
        error = np.hypot(a.std() / np.sqrt(n), np.sqrt(w**2 @ (b - mean) ** 2) / w.sum())
        assert abs(a.mean() - mean) < 5 * error
    # the quarks are seen: along time they walk around the lattice
    assert polyakov(x).mean() > 5 * polyakov(x).std() / np.sqrt(n)


def test_with_fermions_there_is_an_exact_sampler_on_small_lattices_only():
    assert theories.schwinger(2.0, 0.2, (4, 4)).sample is not None
    assert theories.su2(2.0, (4, 4), 0.2).sample is not None
    for theory in (
        theories.schwinger(2.0, 0.2, (4, 5)),
        theories.schwinger(2.0, 0.6, (4, 4)),
        theories.su2(2.0, (4, 6), 0.2),
        FERMIONS["su3"],
    ):
        assert theory.sample is None
    x = theories.schwinger(2.0, 0.2, (4, 5)).near(np.random.default_rng(3), 2)
    beta = theories.pure_gauge_beta(2.0, 0.2, (4, 5))
    assert np.array_equal(x, exact_u1.sample(np.random.default_rng(3), 2, beta, (4, 5)))
    assert theories.pure_gauge_beta(2.0, 0.2, [4, 5]) == beta
    with pytest.raises(ValueError, match="kappa: got None"):
        theories.pure_gauge_beta(2.0, None, (4, 5))
    assert THEORIES["su3"].near is None


@pytest.mark.parametrize(("n", "beta"), [(1, 2.0), (2, 3.0)])
def test_the_closest_pure_gauge_theory_is_that_of_the_hopping_expansion(n, beta):
    # 16 n kappa^4, and longer loops, relative order kappa^2 = 1 % each; loops around the lattice are noise, and kappa^8 for U(1)
    shift = theories.pure_gauge_beta(beta, 0.1, (8, 8), n) - beta
    assert shift == pytest.approx(16 * n * 1e-4, rel=0.2 if n == 1 else 0.5)
    assert theories.pure_gauge_beta(beta, 0.0, (4, 4)) == pytest.approx(beta, rel=1e-12)


def test_the_closest_pure_gauge_theory_has_the_plaquette():
    x = theories.schwinger(1.5, 0.25, (4, 4)).sample(np.random.default_rng(5), 500)
    values = observables.mean_plaquette(x)
    expected = exact_u1.plaquette(theories.pure_gauge_beta(1.5, 0.25, (4, 4)), (4, 4))
    # 500 configurations here, and there 400 whose weights leave at least 150
    assert abs(values.mean() - expected) < 5 * values.std() * np.sqrt(1 / 500 + 1 / 150)


def test_the_schwinger_model_has_exact_answers_on_four_sites():
    theory, n = theories.schwinger(2.0, 0.265, (2, 2)), 2000
    x = theory.sample(np.random.default_rng(6), n)
    assert set(theory.exact) == {"plaquette", "sine_charge", "charge^2"}
    for key, expected in theory.exact.items():
        values = theory.observables[key](x)
        assert abs(values.mean() - expected) < 5 * values.std(ddof=1) / np.sqrt(n), key
    probabilities = theory.sector_probabilities()
    assert set(probabilities) == {-1, 0, 1}
    assert 2 * probabilities[1] == pytest.approx(theory.exact["charge^2"], rel=1e-12)
    for other in (theories.schwinger(2.0, 0.265, (2, 4)), theories.schwinger(40.0, 0.265, (2, 2))):
        assert dict(other.exact) == {"sine_charge": 0.0}
        assert other.sector_probabilities() == {}


@pytest.mark.parametrize("name", FERMIONS)
def test_powers_of_a_determinant_and_their_training_are_refused(name):
    theory = FERMIONS[name]
    assert theory.scaled(1.0) is theory
    with pytest.raises(ValueError, match=r"factor: got 0\.5 for .* with fermions, expected 1"):
        theory.scaled(0.5)
    for without in (theory, THEORIES["su3"]):
        with pytest.raises(ValueError, match=r"theory: got .*, expected u1, o2, gaussian, gmm or phi4"):
            without.smooth_action  # noqa: B018
        with pytest.raises(ValueError, match=r"theory: got .*, expected u1, o2, gaussian, gmm or phi4"):
            recipes.dense_plan(without)


def test_the_default_mixture_is_the_one_of_the_paper():
    action = theories.gmm().action
    assert isinstance(action, actions.Mixture)
    assert np.array_equal(action.means, [[-2, 0], [2, 0]])
    assert np.array_equal(action.covariances, 0.1 * np.eye(2) * np.ones((2, 1, 1)))
    assert theories.gmm().exact["x_0^2"] == pytest.approx(4.1, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("phi3", {}, "theory: got 'phi3', expected one of u1, schwinger, su2, su3, o2, gaussian, gmm, phi4"),
        ("phi4", {"m2": 1.0, "lam": 0.1}, "theory: got parameters .*'shape'"),
        ("phi4", {"m2": -1.0, "lam": 0.0, "shape": (4, 4)}, "m2: got -1.0 at lam = 0, expected a number > 0"),
        ("phi4", {"m2": 1.0, "lam": -0.1, "shape": (4, 4)}, "lam: got -0.1"),
        ("phi4", {"m2": 1.0, "lam": 0.1, "shape": (4, 0)}, r"shape: got \(4, 0\), expected two integers"),
        ("u1", {"beta": 1.0}, "theory: got parameters .*'shape'"),
        ("schwinger", {"beta": 1.0, "kappa": -0.1, "shape": (4, 4)}, "kappa: got -0.1, expected a finite number > 0"),
        ("schwinger", {"beta": 1.0, "kappa": 0.0, "shape": (4, 4)}, "kappa: got 0.0, expected a finite number > 0"),
        ("schwinger", {"beta": 1.0, "kappa": float("inf"), "shape": (4, 4)}, "kappa: got inf"),
        ("schwinger", {"beta": 1.0, "shape": (4, 4)}, "theory: got parameters .*'kappa'"),
        ("su3", {"beta": 1.0, "kappa": -0.1, "shape": (4, 4)}, "kappa: got -0.1"),
        ("su2", {"beta": -1.0, "shape": (4, 4)}, "beta: got -1.0"),
        ("su3", {"beta": 1.0, "shape": (1, 4)}, "shape: got extent T = 1"),
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
