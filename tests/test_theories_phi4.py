"""The phi^4 theory: its observables against exact values, where it is sampled exactly, signs, starts, and its training."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from refimpl import analysis, theories
from refimpl.exact import free_scalar, phi4
from refimpl.kernels import spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.nets import Net
from refimpl.training import fit, recipes, start

STRONG = theories.phi4(0.1, 24.0, (10, 2))
BROKEN = theories.phi4(-1.0, 6.0, (2, 4))
WITHOUT_EXACT = {"|magnetisation|"}  # known at lam = 0 only


@pytest.mark.parametrize("theory", [STRONG, BROKEN, theories.phi4(0.01, 0.1, (4, 1))], ids=["10x2", "2x4", "4x1"])
def test_exact_values_are_those_of_the_exact_sampler(theory):
    n = 8000
    x = theory.sample(np.random.default_rng(0), n)
    assert set(theory.observables) - set(theory.exact) == WITHOUT_EXACT
    for name, expected in theory.exact.items():
        values = theory.observables[name](x)
        # five standard errors of independent configurations
        assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(n), name


def test_the_free_field_knows_its_absolute_magnetisation_on_any_lattice():
    theory = theories.phi4(0.3, 0.0, (12, 7))
    assert set(theory.exact) == set(theory.observables)
    assert theory.exact["|magnetisation|"] == free_scalar.absolute_magnetisation(0.3, (12, 7))
    assert theory.exact["correlator_6"] == pytest.approx(free_scalar.correlator(0.3, (12, 7))[6], rel=1e-12)
    assert theory.sample is not None


def test_large_interacting_lattices_know_what_symmetry_says():
    theory = theories.phi4(0.1, 24.0, (12, 12))
    assert dict(theory.exact) == {"magnetisation": 0.0}
    assert theory.sector_probabilities() == {-1: 0.5, 1: 0.5}
    spread = theories.phi4(1e-6, 1e-9, (4, 2))  # over more points than a quadrature takes
    with pytest.raises(ValueError, match="spreads over more points"):
        phi4.answers(1e-6, 1e-9, (4, 2))
    assert dict(spread.exact) == {"magnetisation": 0.0}


def test_correlators_reach_half_of_the_time_and_not_beyond_twenty():
    def times(shape):
        return [int(name.split("_")[1]) for name in theories.phi4(1.0, 1.0, shape).observables if "_" in name]

    assert times((7, 3)) == [0, 1, 2, 3]
    assert times((3, 40)) == [0, 1]
    assert times((1, 2)) == [0]
    assert times((50, 2)) == list(range(21))


def test_one_pass_records_what_the_observables_say_one_by_one():
    x = np.random.default_rng(1).standard_normal((6, 10, 2))
    ((names, function),) = STRONG.recorded.items()
    values = dict(zip(names, pickle.loads(pickle.dumps(function))(x), strict=True))
    assert set(names) == {*STRONG.observables, "sign"} - {"magnetisation^2"}  # which is a square of what is recorded
    for name, f in STRONG.observables.items():
        if name in values:
            assert np.array_equal(values[name], pickle.loads(pickle.dumps(f))(x)), name
    assert np.array_equal(values["sign"], STRONG.sector(x))
    assert values["sign"].dtype == np.int64


def test_observables_are_what_their_names_say():
    x = np.random.default_rng(2).standard_normal((3, 10, 2)) - 0.2
    f, mean = STRONG.observables, x.mean(axis=(1, 2))
    assert np.allclose(f["phi^2"](x), (x**2).mean(axis=(1, 2)), rtol=1e-13)
    assert np.allclose(f["phi^4"](x), (x**4).mean(axis=(1, 2)), rtol=1e-13)
    assert np.allclose(f["|magnetisation|"](x), np.abs(mean), rtol=1e-13)
    assert np.allclose(f["magnetisation^2"](x), mean**2, rtol=1e-13)
    slices = x.mean(axis=2)
    for t in (0, 1, 4):
        expected = (slices * np.roll(slices, -t, axis=1)).mean(axis=1)
        assert np.allclose(f[f"correlator_{t}"](x), expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="t: got -1"):
        theories.Correlator(-1)


def test_sectors_are_signs():
    x = np.zeros((4, 10, 2))
    x[0] += 0.1
    x[1] -= 0.1
    x[2, 3, 1] = -5.0
    assert list(STRONG.sector(x)) == [1, -1, -1, 1]
    assert STRONG.symmetric
    signs = BROKEN.sector(BROKEN.sample(np.random.default_rng(3), 4000))
    assert abs(signs.mean()) < 5 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("couplings", "sampled", "refused"),
    [
        ((0.1, 24.0), (8, 8), (12, 12)),
        ((0.01, 0.1), (40, 10), (100, 100)),
        ((0.1, 0.5), (20, 20), (40, 40)),
        ((-1.0, 6.0), (4, 4), (8, 8)),
        ((2.0, 0.0), (1024, 1024), None),
    ],
)
def test_there_is_an_exact_sampler_where_its_acceptance_is_bounded(couplings, sampled, refused):
    assert theories.phi4(*couplings, sampled).sample is not None
    assert refused is None or theories.phi4(*couplings, refused).sample is None


def test_the_closest_free_field_is_where_to_start_from():
    mass2 = phi4.free_mass(0.1, 24.0, (10, 2))
    x = STRONG.near(np.random.default_rng(4), 100)
    assert np.array_equal(x, free_scalar.sample(np.random.default_rng(4), 100, mass2, (10, 2)))
    assert mass2 == pytest.approx(0.1 + 12 * free_scalar.second_moment(mass2, (10, 2)), rel=1e-12)
    # 6 % off, where the field of largest acceptance is off by a third
    assert free_scalar.second_moment(mass2, (10, 2)) == pytest.approx(STRONG.exact["phi^2"], rel=0.1)


def test_the_magnetisation_has_no_error_where_its_sign_rarely_changes():
    rng, n = np.random.default_rng(5), 400
    changes = rng.random((n, 4)) < 0.009
    assert 10 < changes[1:].sum() < analysis.estimates.LEAST_EVENTS  # the Gamma method alone would find a window
    sign = np.where(np.cumsum(changes, axis=0) % 2 == 0, 1, -1)
    m = sign * (1 + 0.1 * rng.standard_normal((n, 4)))
    series = {"magnetisation": m, "|magnetisation|": np.abs(m), "sign": sign}
    found = {e.name: e for e in analysis.analyse(series, BROKEN).estimates}
    assert {e.name: e for e in analysis.analyse(series, replace(BROKEN, odd=())).estimates}["magnetisation"].error
    assert found["magnetisation"].error is None
    assert found["sign"].error is None
    assert found["|magnetisation|"].error == pytest.approx(0.1 / np.sqrt(4 * n), rel=0.3)
    assert found["magnetisation^2"].error is not None


@pytest.mark.parametrize(
    ("net", "mask"),
    [
        (Net("dense", units=(8,), activation="tanh"), "checkerboard"),
        (Net("conv", filters=(4,), activation="tanh"), "stripes"),
    ],
)
def test_generalized_leapfrogs_train_and_keep_the_distribution(net, mask):
    theory = BROKEN
    plan = recipes.dense_plan(theory, n_layers=2, steps=20)
    plan = replace(plan, architecture=replace(plan.architecture, v_net=net, x_net=net, mask=mask))
    recipe = replace(plan.recipe, chains=32, steps=20)
    done = fit(theory, plan.model(theory), recipe, start(theory, plan.model(theory), recipe, 0))
    assert np.isfinite(done.history).all()
    kernel = L2HMC(plan.model(theory).replace(params=done.params))
    n = 2000
    state, rngs = kernel.init(theory.sample(np.random.default_rng(6), n)), spawn_rngs(7, n)
    for _ in range(3):
        state, _ = kernel.step(rngs, state)
    for name, expected in theory.exact.items():
        values = theory.observables[name](state.x)
        # chains are independent and stay in equilibrium: five standard errors
        assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(n), name
